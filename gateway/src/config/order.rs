//! The names of byte and word orders in manuals and tools, and the four orders behind them.
//!
//! Letters and digits name the bytes of the value, `A` and `1` the most significant, in the order in
//! which they are sent. Case, `-`, `_` and spaces make no difference.

use evidence::value::{Format, Kind, Order};

use super::problem::{did_you_mean, not_one_of};
use super::reader::Section;

/// How many bytes a name speaks of: its value must have as many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    /// A name in words, or the four letters: two and four registers.
    Any,
    Bytes(u8),
}

/// Every name of two and more registers, in the normal form of [`plain`].
const ORDERS: [(&str, Names, Order); 32] = [
    ("ABCD", Names::Any, Order::Abcd),
    ("CDAB", Names::Any, Order::Cdab),
    ("BADC", Names::Any, Order::Badc),
    ("DCBA", Names::Any, Order::Dcba),
    ("big_endian", Names::Any, Order::Abcd),
    ("word_swap", Names::Any, Order::Cdab),
    ("byte_swap", Names::Any, Order::Badc),
    ("little_endian", Names::Any, Order::Dcba),
    ("big_endian_word_swap", Names::Any, Order::Cdab),
    ("big_endian_byte_swap", Names::Any, Order::Badc),
    ("little_endian_word_swap", Names::Any, Order::Badc),
    ("little_endian_byte_swap", Names::Any, Order::Cdab),
    ("word_and_byte_swap", Names::Any, Order::Dcba),
    ("byte_and_word_swap", Names::Any, Order::Dcba),
    ("high_word_first", Names::Any, Order::Abcd),
    ("low_word_first", Names::Any, Order::Cdab),
    ("msw_first", Names::Any, Order::Abcd),
    ("lsw_first", Names::Any, Order::Cdab),
    ("msw_lsw", Names::Any, Order::Abcd),
    ("lsw_msw", Names::Any, Order::Cdab),
    ("1234", Names::Bytes(4), Order::Abcd),
    ("3412", Names::Bytes(4), Order::Cdab),
    ("2143", Names::Bytes(4), Order::Badc),
    ("4321", Names::Bytes(4), Order::Dcba),
    ("ABCDEFGH", Names::Bytes(8), Order::Abcd),
    ("GHEFCDAB", Names::Bytes(8), Order::Cdab),
    ("BADCFEHG", Names::Bytes(8), Order::Badc),
    ("HGFEDCBA", Names::Bytes(8), Order::Dcba),
    ("12345678", Names::Bytes(8), Order::Abcd),
    ("78563412", Names::Bytes(8), Order::Cdab),
    ("21436587", Names::Bytes(8), Order::Badc),
    ("87654321", Names::Bytes(8), Order::Dcba),
];

/// The names of one register, which has only an order of bytes.
const ONE_REGISTER: [(&str, Order); 7] = [
    ("big_endian", Order::Abcd),
    ("little_endian", Order::Badc),
    ("byte_swap", Order::Badc),
    ("AB", Order::Abcd),
    ("BA", Order::Badc),
    ("12", Order::Abcd),
    ("21", Order::Badc),
];

/// The order of a type's words: the key `order`, or the device's default.
pub(super) fn of(section: &Section<'_, '_>, kind: Kind, default: Order) -> Order {
    let format = |order| Format { kind, order };
    // The characters of a text stand in the order of the registers; only the bytes may be swapped.
    let words = format(default).words().max(1);
    let default = if words == 1 {
        byte_order(default)
    } else {
        default
    };
    let Some(text) = section.text("order") else {
        return default;
    };
    let found = if words == 1 {
        one_register(text.get_ref(), &kind.name())
    } else {
        parse(text.get_ref(), Some((words, &kind.name())))
    };
    found.unwrap_or_else(|wrong| {
        section.report(&text.span(), "order", wrong);
        default
    })
}

/// The order that a device states for all its registers; `ABCD` when it states none.
pub(super) fn of_device(section: &Section<'_, '_>) -> Order {
    let Some(text) = section.text("order") else {
        return Order::Abcd;
    };
    parse(text.get_ref(), None).unwrap_or_else(|wrong| {
        section.report(&text.span(), "order", wrong);
        Order::Abcd
    })
}

/// What is left of an order where there is one register: whether its bytes are swapped.
const fn byte_order(order: Order) -> Order {
    match order {
        Order::Abcd | Order::Cdab => Order::Abcd,
        Order::Badc | Order::Dcba => Order::Badc,
    }
}

fn one_register(written: &str, kind: &str) -> Result<Order, String> {
    let plain = plain(written);
    ONE_REGISTER
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(&plain))
        .map(|(_, order)| *order)
        .ok_or_else(|| {
            let which = if kind == "text" {
                "has an order of bytes in each register only"
            } else {
                "is one register"
            };
            format!("`{written}` does not fit type {kind}, which {which}: allowed: AB, BA")
        })
}

/// The order of a name for values of `words` registers of a type, or of any number of them.
fn parse(written: &str, of: Option<(u8, &str)>) -> Result<Order, String> {
    let plain = plain(written);
    let known = ORDERS
        .iter()
        .find(|(name, _, _)| name.eq_ignore_ascii_case(&plain));
    match (known, of) {
        (Some((_, Names::Bytes(bytes), _)), Some((words, kind))) if *bytes != 2 * words => {
            let size = 2 * words;
            Err(format!(
                "`{written}` names {bytes} bytes, but type {kind} has {size}: allowed: {}",
                NAMES.join(", ")
            ))
        }
        (Some((_, _, order)), _) => Ok(*order),
        (None, _) if is_numbered_from_zero(written) => Err(format!(
            "`{written}` counts the bytes from 0, and makers count from either end of the value; \
             compare a reading with the display and write one of {}",
            NAMES.join(", ")
        )),
        (None, _) => {
            let mut text = not_one_of(written, "an order", &NAMES);
            let all: Vec<&str> = ORDERS.iter().map(|(name, _, _)| *name).collect();
            if !text.contains("did you mean")
                && let Some(meant) = did_you_mean(&plain, &all)
            {
                text.push_str(&format!("; did you mean `{meant}`?"));
            }
            Err(text)
        }
    }
}

/// The names that messages list; the rest of [`ORDERS`] is understood as well.
const NAMES: [&str; 8] = [
    "ABCD",
    "CDAB",
    "BADC",
    "DCBA",
    "big_endian",
    "word_swap",
    "byte_swap",
    "little_endian",
];

/// A name in the form of the table: words joined by `_`, digits and letters without separators.
fn plain(written: &str) -> String {
    let joined: String = written
        .trim()
        .chars()
        .map(|letter| match letter {
            '-' | ' ' | '/' => '_',
            other => other,
        })
        .collect();
    let parts: Vec<&str> = joined.split('_').filter(|part| !part.is_empty()).collect();
    // `AB CD`, `3-4-1-2`, `12_34`: pieces of one name.
    let bytes = parts.iter().all(|part| {
        part.len() <= 2
            && part.bytes().all(|byte| {
                byte.is_ascii_digit() || matches!(byte.to_ascii_uppercase(), b'A'..=b'H')
            })
    });
    parts.join(if bytes { "" } else { "_" })
}

/// `0-1-2-3`, `1-0-3-2` and the like.
fn is_numbered_from_zero(written: &str) -> bool {
    let digits: Vec<u8> = written.bytes().filter(u8::is_ascii_digit).collect();
    digits.contains(&b'0')
        && matches!(digits.len(), 2 | 4 | 8)
        && written
            .bytes()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b' '))
}

#[cfg(test)]
mod tests {
    use super::{ORDERS, one_register, parse};
    use evidence::value::Order;

    #[test]
    fn the_names_of_manuals_and_tools_mean_the_four_orders() {
        for (names, order) in [
            (
                "ABCD abcd AB_CD 1234 1-2-3-4 big-endian Big_Endian msw_first ABCDEFGH",
                Order::Abcd,
            ),
            (
                "CDAB 3412 word-swap little-endian-byte-swap low_word_first GHEFCDAB",
                Order::Cdab,
            ),
            (
                "BADC 2143 byte_swap big-endian-byte-swap BADCFEHG",
                Order::Badc,
            ),
            ("DCBA 4321 little_endian HGFEDCBA 87654321", Order::Dcba),
        ] {
            for name in names.split(' ') {
                assert_eq!(parse(name, None), Ok(order), "{name}");
            }
        }
        assert_eq!(parse("big-endian byte swap", None), Ok(Order::Badc));
        assert_eq!(parse("Little endian byte swap", None), Ok(Order::Cdab));
        for (name, _, order) in ORDERS {
            assert_eq!(parse(name, None), Ok(order), "{name}");
        }
    }

    /// The names are worked out once more, from the letters: where each byte of the value stands.
    #[test]
    fn names_in_letters_and_digits_say_where_each_byte_stands() {
        for (name, _, order) in ORDERS {
            let letters: Option<Vec<u8>> = name
                .bytes()
                .map(|byte| match byte {
                    b'A'..=b'H' => Some(byte - b'A'),
                    b'1'..=b'8' => Some(byte - b'1'),
                    _ => None,
                })
                .collect();
            let Some(sent) = letters else { continue };
            let kind = if sent.len() == 4 { "u32" } else { "u64" };
            let format = evidence::value::Format::from_names(kind, order.name()).unwrap();
            // Byte n of the value holds the number n.
            let value: Vec<u8> = (0_u8..).take(sent.len()).collect();
            let raw = value
                .iter()
                .fold(0, |sum, byte| (sum << 8) | i64::from(*byte));
            let wire: Vec<u8> = format
                .wire_words(raw)
                .iter()
                .flat_map(|word| word.to_be_bytes())
                .collect();
            assert_eq!(wire, sent, "{name}");
        }
    }

    #[test]
    fn a_name_of_other_bytes_or_of_no_order_is_refused_with_what_was_meant() {
        let two = Some((2, "u32"));
        assert!(
            parse("ABCDEFGH", two)
                .unwrap_err()
                .starts_with("`ABCDEFGH` names 8 bytes, but type u32 has 4: allowed: ABCD, ")
        );
        assert!(
            parse("1234", Some((4, "u64")))
                .unwrap_err()
                .contains("names 4 bytes, but type u64 has 8")
        );
        assert!(
            parse("ABDC", two)
                .unwrap_err()
                .contains("did you mean `ABCD`?")
        );
        assert!(
            parse("low_word_frist", two)
                .unwrap_err()
                .contains("did you mean `low_word_first`?")
        );
        assert!(
            parse("1-0-3-2", two)
                .unwrap_err()
                .contains("makers count from either end")
        );
        assert_eq!(one_register("ba", "u16"), Ok(Order::Badc));
        assert_eq!(
            one_register("CDAB", "u16").unwrap_err(),
            "`CDAB` does not fit type u16, which is one register: allowed: AB, BA"
        );
    }
}
