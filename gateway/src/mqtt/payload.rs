//! From a message's bytes to the text of a number.

use std::borrow::Cow;

use serde_json::Value;

/// A number's text longer than this is no measured value.
const MOST_DIGITS: usize = 64;

/// Why a message has no number for a point. The codes are the detail byte of `MALFORMED`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The point has a JSON pointer and the message is not JSON.
    #[error("the message is not JSON")]
    NotJson,
    /// The JSON pointer leads nowhere.
    #[error("the JSON pointer finds nothing")]
    Nothing,
    /// What is there is not a number.
    #[error("the value is not a number")]
    NotANumber,
    /// The message is larger than anything a meter sends.
    #[error("the message is larger than 1 MiB")]
    TooLarge,
}

impl Malformed {
    /// The detail byte to seal.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::NotJson => 1,
            Self::Nothing => 2,
            Self::NotANumber => 3,
            Self::TooLarge => 4,
        }
    }
}

/// A message, parsed as JSON when the first point asks for a pointer.
#[derive(Debug)]
pub struct Payload<'m> {
    bytes: &'m [u8],
    json: Option<Result<Value, Malformed>>,
}

impl<'m> Payload<'m> {
    /// Wraps a message's bytes.
    #[must_use]
    pub const fn new(bytes: &'m [u8]) -> Self {
        Self { bytes, json: None }
    }

    /// The text of the number at `pointer`, or of the whole message without one, exactly as written.
    ///
    /// A JSON string that holds a number counts as the number: many devices quote.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn number(&mut self, pointer: Option<&str>) -> Result<Cow<'_, str>, Malformed> {
        if self.bytes.len() > super::MOST_MESSAGE_BYTES {
            return Err(Malformed::TooLarge);
        }
        let text = match pointer {
            None => {
                let text =
                    std::str::from_utf8(self.bytes).map_err(|_binary| Malformed::NotANumber)?;
                Cow::Borrowed(text.trim_matches([' ', '\t', '\r', '\n']))
            }
            Some(pointer) => {
                let bytes = self.bytes;
                let parse = || serde_json::from_slice(bytes).map_err(|_syntax| Malformed::NotJson);
                let json = self
                    .json
                    .get_or_insert_with(parse)
                    .as_ref()
                    .map_err(|error| *error)?;
                match json.pointer(pointer).ok_or(Malformed::Nothing)? {
                    // Arbitrary precision keeps the digits as they were sent.
                    Value::Number(number) => Cow::Owned(number.to_string()),
                    Value::String(text) => Cow::Borrowed(text.as_str()),
                    _ => return Err(Malformed::NotANumber),
                }
            }
        };
        if is_number(&text) {
            Ok(text)
        } else {
            Err(Malformed::NotANumber)
        }
    }
}

/// JSON's grammar of numbers, which excludes NaN, infinity, hexadecimal and decimal commas.
fn is_number(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (number, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((number, exponent)) => (
            number,
            Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)),
        ),
        None => (unsigned, None),
    };
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (number, None),
    };
    text.len() <= MOST_DIGITS
        && digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(digits)
}

#[cfg(test)]
mod tests {
    use super::{Malformed, Payload};
    use evidence::value::json_mantissa;
    use proptest::prelude::{any, prop_assert, proptest};

    fn number(bytes: &[u8], pointer: Option<&str>) -> Result<String, Malformed> {
        Payload::new(bytes)
            .number(pointer)
            .map(|text| text.into_owned())
    }

    #[test]
    fn digits_come_out_as_they_were_sent() {
        let json =
            br#"{"a":[{"flow":12.50}],"big":12345678901234567890.123,"exp":1.5e-3,"q":"7.0"}"#;
        assert_eq!(number(json, Some("/a/0/flow")).unwrap(), "12.50");
        assert_eq!(
            number(json, Some("/big")).unwrap(),
            "12345678901234567890.123"
        );
        assert_eq!(
            json_mantissa(number(json, Some("/exp")).unwrap().as_bytes(), 4),
            Some(15)
        );
        assert_eq!(number(json, Some("/q")).unwrap(), "7.0");
        assert_eq!(number(b" 21.5\r\n", None).unwrap(), "21.5");
    }

    #[test]
    fn what_is_no_number_is_named() {
        let json = br#"{"a":null,"b":true,"c":"on","d":{},"e":"0x10","f":"1,5","g":"NaN"}"#;
        for pointer in ["/a", "/b", "/c", "/d", "/e", "/f", "/g"] {
            assert_eq!(
                number(json, Some(pointer)),
                Err(Malformed::NotANumber),
                "{pointer}"
            );
        }
        assert_eq!(number(json, Some("/x/0")), Err(Malformed::Nothing));
        assert_eq!(number(b"12.5", Some("/x")), Err(Malformed::Nothing));
        assert_eq!(number(b"{", Some("/x")), Err(Malformed::NotJson));
        for plain in [
            &b""[..],
            b" ",
            b"NaN",
            b"inf",
            b"01",
            b"+1",
            b"1.",
            b".5",
            b"1 2",
            b"\xff",
        ] {
            assert_eq!(number(plain, None), Err(Malformed::NotANumber), "{plain:?}");
        }
        assert_eq!(
            number(&vec![b'1'; (1 << 20) + 1], None),
            Err(Malformed::TooLarge)
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), json in "[\\[\\]{}\",:0-9a-z.\\-]{0,60}") {
            for bytes in [bytes.as_slice(), json.as_bytes()] {
                let _plain = number(bytes, None);
                let _pointed = number(bytes, Some("/a/0"));
            }
        }

        #[test]
        fn every_json_number_is_accepted_and_keeps_its_value(value in any::<i32>(), decimals in 0_u8..4) {
            let text = evidence::decimal::format_mantissa(i128::from(value), decimals);
            let json = format!("{{\"v\":{text}}}");
            let found = number(json.as_bytes(), Some("/v")).unwrap();
            prop_assert!(json_mantissa(found.as_bytes(), decimals) == Some(i64::from(value)), "{}", found);
        }
    }
}
