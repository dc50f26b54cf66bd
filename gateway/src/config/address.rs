//! Register addresses as people write them, turned into what is sent.
//!
//! Two notations are in use and differ by one and more: the PDU address counts from 0 within a
//! table; the Modicon notation counts from 1 and puts the table into the first digit. A device
//! states which one its points use; nothing is guessed.

use evidence::measurement::Table;

use super::reader::IntegerOrText;

/// How a device's points write their addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressBase {
    /// As sent in the request, from 0; the table is a key of its own.
    Pdu,
    /// `40001` or `4x00001`: the first digit is the table, the rest counts from 1.
    Modicon,
}

/// Reads an address. The table comes with the Modicon notation and is otherwise `None`.
pub(super) fn parse(
    written: &IntegerOrText,
    base: AddressBase,
) -> Result<(Option<Table>, u16), String> {
    match base {
        AddressBase::Pdu => pdu(written).map(|address| (None, address)),
        AddressBase::Modicon => {
            let (table, address) = match written {
                IntegerOrText::Integer(number) => modicon(&number.to_string())?,
                IntegerOrText::Hex(number) => {
                    return Err(format!(
                        "{number:#X} is a number in hexadecimal, which has no table in its first digit: \
                         write 4x00001, or set address_base = \"pdu\" if the manual means the number sent"
                    ));
                }
                IntegerOrText::Text(text) => modicon(text)?,
            };
            Ok((Some(table), address))
        }
    }
}

/// An address from a command line: the number that is sent, from 0 (`72`, `0x48`), or with the table
/// as in manuals (`3x00073`).
///
/// # Errors
/// What is wrong with it.
pub fn register_address(text: &str) -> Result<(Option<Table>, u16), String> {
    if let Ok(number) = text.parse() {
        return pdu(&IntegerOrText::Integer(number)).map(|address| (None, address));
    }
    if hexadecimal(text).is_some() {
        return pdu(&IntegerOrText::Text(text.to_owned())).map(|address| (None, address));
    }
    if text.contains(['x', 'X']) {
        return modicon(text).map(|(table, address)| (Some(table), address));
    }
    Err(format!(
        "`{text}` is no address; write the number that is sent, from 0, or 4x00001"
    ))
}

fn pdu(written: &IntegerOrText) -> Result<u16, String> {
    let number = match written {
        IntegerOrText::Integer(number) | IntegerOrText::Hex(number) => *number,
        IntegerOrText::Text(text) => hexadecimal(text).ok_or_else(|| {
            not_a_register(text).unwrap_or_else(|| {
                format!(
                    "`{text}` is a text, but the device has address_base = \"pdu\": write the number \
                     that is sent, counted from 0, or set address_base = \"4x\""
                )
            })
        })?,
    };
    u16::try_from(number).map_err(|_outside| format!("address {number} is outside 0 to 65535"))
}

/// `0x9C41`, `9C41h`: the number that is sent.
fn hexadecimal(text: &str) -> Option<i128> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.strip_prefix("0x").or(lower.strip_suffix('h'))?;
    let plain = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    plain
        .then(|| i128::from_str_radix(digits, 16).ok())
        .flatten()
}

/// Why a notation that exists elsewhere names no register by itself.
fn not_a_register(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    if lower.starts_with('%') {
        return Some(format!(
            "`{text}` is a variable of a PLC program, and makers map it to registers in different ways \
             (%MW100 counts words in some, bytes in others): look up its Modbus address in the PLC's own table"
        ));
    }
    if lower.starts_with("db") || lower.starts_with("mw") || lower.starts_with("hr") {
        return Some(format!(
            "`{text}` is a variable name, and whether its numbers begin at 0 or 1 depends on the device: \
             look up its Modbus address and write it as a number"
        ));
    }
    if let Some((register, bit)) = lower.split_once('.')
        && !bit.is_empty()
        && bit.bytes().all(|digit| digit.is_ascii_digit())
    {
        return Some(format!(
            "`{text}` means a bit of a register: write address = {register} and type = \"bit{bit}\" \
             (bit 0 counts 1; some manuals number from the other end or from 1)"
        ));
    }
    if lower.contains(':') {
        return Some(format!(
            "`{text}`: what stands around a colon differs between tools (a table, a unit id, a count): \
             write 4x00001 with address_base = \"4x\", or the number that is sent with \"pdu\""
        ));
    }
    None
}

/// `40001` (5 digits), `400001` (6 digits), `4x00001`.
fn modicon(text: &str) -> Result<(Table, u16), String> {
    let remedy = "write 00001 to 465536 with the table as the first digit (0 coil, 1 discrete, \
                  3 input, 4 holding), or 4x00001, or set address_base = \"pdu\"";
    if let Some(why) = not_a_register(text) {
        return Err(why);
    }
    let wrong = || format!("`{text}` is no address in 4x notation: {remedy}");
    let (digit, number) = match text.split_once(['x', 'X']) {
        Some((digit, number)) => (digit.to_owned(), number.to_owned()),
        None => {
            // A TOML number has no leading zeros: 1 is coil 00001.
            let padded = format!("{text:0>5}");
            let mut digits = padded.chars();
            let first = digits.next().map(String::from).unwrap_or_default();
            (first, digits.collect())
        }
    };
    let table = match digit.as_str() {
        "0" => Table::Coil,
        "1" => Table::Discrete,
        "3" => Table::Input,
        "4" => Table::Holding,
        _ => return Err(wrong()),
    };
    let plain = (1..=6).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
    let counted: u32 = if plain {
        number.parse().map_err(|_empty| wrong())?
    } else {
        0
    };
    let address = counted
        .checked_sub(1)
        .and_then(|address| u16::try_from(address).ok());
    address.map(|address| (table, address)).ok_or_else(wrong)
}

/// The Modicon notation of a PDU address: `4x00001`.
#[must_use]
pub fn modicon_text(table: Table, address: u16) -> String {
    let digit = match table {
        Table::Coil => 0,
        Table::Discrete => 1,
        Table::Input => 3,
        Table::Holding => 4,
    };
    format!("{digit}x{:05}", u32::from(address) + 1)
}

#[cfg(test)]
mod tests {
    use super::{AddressBase, IntegerOrText, modicon_text, parse, register_address};
    use evidence::measurement::Table;

    fn text(address: &str) -> Result<(Option<Table>, u16), String> {
        parse(
            &IntegerOrText::Text(address.to_owned()),
            AddressBase::Modicon,
        )
    }

    #[test]
    fn modicon_addresses_of_five_and_six_digits_and_with_x_mean_the_same_register() {
        for written in ["40108", "400108", "4x108", "4x00108", "4X00108"] {
            assert_eq!(text(written), Ok((Some(Table::Holding), 107)), "{written}");
        }
        assert_eq!(text("30001"), Ok((Some(Table::Input), 0)));
        assert_eq!(text("00001"), Ok((Some(Table::Coil), 0)));
        assert_eq!(text("1x65536"), Ok((Some(Table::Discrete), 65_535)));
        assert_eq!(text("465536"), Ok((Some(Table::Holding), 65_535)));
        let number = IntegerOrText::Integer(40_001);
        assert_eq!(
            parse(&number, AddressBase::Modicon),
            Ok((Some(Table::Holding), 0))
        );
    }

    #[test]
    fn an_address_that_is_no_register_is_refused() {
        for written in [
            "40000", "4x0", "20001", "465537", "4x", "x1", "4x+1", "-1", "abc", "5x00001",
            "0x9C41", "4:00001", "%MW100", "40001.3", "HR100", "9C41h",
        ] {
            assert!(text(written).is_err(), "{written}");
        }
        let pdu = |written| parse(&written, AddressBase::Pdu);
        assert!(pdu(IntegerOrText::Integer(65_536)).is_err());
        assert!(
            pdu(IntegerOrText::Text("40001".to_owned()))
                .unwrap_err()
                .contains("address_base")
        );
    }

    #[test]
    fn hexadecimal_is_the_number_that_is_sent_and_has_no_table() {
        let pdu = |written| parse(&written, AddressBase::Pdu);
        for written in ["0x9C41", "0X9c41", "9C41h"] {
            assert_eq!(
                pdu(IntegerOrText::Text(written.to_owned())),
                Ok((None, 40_001)),
                "{written}"
            );
        }
        assert_eq!(pdu(IntegerOrText::Hex(0x9C41)), Ok((None, 40_001)));
        assert!(pdu(IntegerOrText::Text("0x".to_owned())).is_err());
        assert!(pdu(IntegerOrText::Text("0x10000".to_owned())).is_err());
        let refused = parse(&IntegerOrText::Hex(0x10), AddressBase::Modicon);
        assert!(
            refused
                .unwrap_err()
                .starts_with("0x10 is a number in hexadecimal")
        );
    }

    #[test]
    fn a_notation_with_several_meanings_is_refused_with_the_reason() {
        let pdu = |written: &str| {
            parse(&IntegerOrText::Text(written.to_owned()), AddressBase::Pdu).unwrap_err()
        };
        for (written, reason) in [
            ("%MW100", "a variable of a PLC program"),
            ("HR100", "begin at 0 or 1"),
            ("100.3", "type = \"bit3\""),
            ("4:0001", "around a colon differs between tools"),
        ] {
            assert!(pdu(written).contains(reason), "{written}");
            assert!(text(written).unwrap_err().contains(reason), "{written}");
        }
    }

    #[test]
    fn on_the_command_line_a_bare_number_is_what_is_sent() {
        assert_eq!(register_address("40001"), Ok((None, 40_001)));
        assert_eq!(register_address("0x9C41"), Ok((None, 40_001)));
        assert_eq!(register_address("3x00073"), Ok((Some(Table::Input), 72)));
        for wrong in ["", "65536", "-1", "4x0", "abc"] {
            assert!(register_address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_modicon_text_reads_back() {
        for (table, address) in [
            (Table::Coil, 0),
            (Table::Input, 9_999),
            (Table::Holding, 65_535),
        ] {
            assert_eq!(
                text(&modicon_text(table, address)),
                Ok((Some(table), address))
            );
        }
    }
}
