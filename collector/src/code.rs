//! The enrolment code: what a person carries from the centre to the edge.
//!
//! ```text
//! fs1.<id, 8 hex>.<secret, 32 hex>.<SHA-256 of the collector's public key, base64url>
//! ```
//!
//! The secret proves to the collector that the gateway was meant; the pin proves to the gateway that
//! it talks to the collector that was meant, whatever its clock and its certificates say.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A whole enrolment code. `Display` writes it with its secret: for the person who asked for it.
#[derive(Clone, PartialEq, Eq)]
pub struct Code {
    /// Names the code in the store; not secret.
    pub id: [u8; 4],
    /// 128 bit, shared between gateway and collector, worth nothing after its use.
    pub secret: [u8; 16],
    /// SHA-256 over the `SubjectPublicKeyInfo` of the collector's TLS certificate.
    pub pin: [u8; 32],
}

/// Why a text is no enrolment code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an enrolment code has the form fs1.<8 hex>.<32 hex>.<43 base64url>; copy it whole, as `fieldseal-collector enrolment-code` printed it"
)]
pub struct NotACode;

impl Code {
    /// Reads the one accepted form.
    ///
    /// # Errors
    ///
    /// [`NotACode`] for anything else.
    pub fn parse(text: &str) -> Result<Self, NotACode> {
        let mut parts = text.split('.');
        let (Some("fs1"), Some(id), Some(secret), Some(pin), None) = (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ) else {
            return Err(NotACode);
        };
        let mut code = Self {
            id: [0; 4],
            secret: [0; 16],
            pin: [0; 32],
        };
        hex::decode_to_slice(id, &mut code.id).map_err(|_error| NotACode)?;
        hex::decode_to_slice(secret, &mut code.secret).map_err(|_error| NotACode)?;
        let pin = URL_SAFE_NO_PAD.decode(pin).map_err(|_error| NotACode)?;
        code.pin = pin.try_into().map_err(|_length| NotACode)?;
        if code.to_string() == text {
            Ok(code)
        } else {
            Err(NotACode)
        }
    }

    /// The id as text, as it stands in the store and in an enrolment.
    pub fn id_text(&self) -> String {
        hex::encode(self.id)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, secret) = (hex::encode(self.id), hex::encode(self.secret));
        write!(f, "fs1.{id}.{secret}.{}", URL_SAFE_NO_PAD.encode(self.pin))
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Code")
            .field("id", &self.id_text())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{Code, NotACode};

    #[test]
    fn a_code_reads_back_and_nothing_else_does() {
        let code = Code {
            id: [0xab; 4],
            secret: [7; 16],
            pin: [9; 32],
        };
        let text = code.to_string();
        assert_eq!(Code::parse(&text), Ok(code));
        for wrong in [
            text.replace("fs1", "fs2"),
            text.to_uppercase(),
            format!("{text}="),
            format!("{text}.x"),
            text.replace("abab", "abxy"),
            text.chars().take(text.len() - 1).collect(),
            String::new(),
        ] {
            assert_eq!(Code::parse(&wrong), Err(NotACode), "{wrong}");
        }
    }

    #[test]
    fn debug_hides_the_secret() {
        let code = Code {
            id: [1; 4],
            secret: [0xcd; 16],
            pin: [9; 32],
        };
        assert!(!format!("{code:?}").contains("cdcd"));
    }
}
