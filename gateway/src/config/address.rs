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
                IntegerOrText::Text(text) => modicon(text)?,
            };
            Ok((Some(table), address))
        }
    }
}

fn pdu(written: &IntegerOrText) -> Result<u16, String> {
    match written {
        IntegerOrText::Integer(number) => u16::try_from(*number)
            .map_err(|_outside| format!("address {number} is outside 0 to 65535")),
        IntegerOrText::Text(text) => Err(format!(
            "`{text}` is a text, but the device has address_base = \"pdu\": write the number that is \
             sent, counted from 0, or set address_base = \"4x\""
        )),
    }
}

/// `40001` (5 digits), `400001` (6 digits), `4x00001`.
fn modicon(text: &str) -> Result<(Table, u16), String> {
    let remedy = "write 00001 to 465536 with the table as the first digit (0 coil, 1 discrete, \
                  3 input, 4 holding), or 4x00001, or set address_base = \"pdu\"";
    let wrong = || format!("`{text}` is no address in 4x notation: {remedy}");
    let (digit, number) = match text.split_once('x') {
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
    use super::{AddressBase, IntegerOrText, modicon_text, parse};
    use evidence::measurement::Table;

    fn text(address: &str) -> Result<(Option<Table>, u16), String> {
        parse(
            &IntegerOrText::Text(address.to_owned()),
            AddressBase::Modicon,
        )
    }

    #[test]
    fn modicon_addresses_of_five_and_six_digits_and_with_x_mean_the_same_register() {
        for written in ["40108", "400108", "4x108", "4x00108"] {
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
