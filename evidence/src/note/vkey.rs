//! Verifier keys: one line of text that names a key, says what it signs, and holds it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use super::is_key_name;
use crate::hash::{from_hex, sha256, to_hex};
use crate::key::{KeyError, VerifyingKey};

/// What a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignatureKind {
    /// 0x01: the note's text as it stands. Logs sign so.
    Ed25519,
    /// 0x04: time and text. Witnesses sign so.
    Cosignature,
}

impl SignatureKind {
    /// Returns the type byte of signed notes.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::Cosignature => 0x04,
        }
    }

    /// Returns the kind of a type byte, if it is one of ours.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0x01 => Some(Self::Ed25519),
            0x04 => Some(Self::Cosignature),
            _ => None,
        }
    }
}

/// Why a text is no verifier key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum VkeyError {
    /// Not three parts.
    #[error("{0:?} is no verifier key; it has the form <name>+<8 hex digits>+<base64>")]
    Malformed(String),
    /// An empty name, or one with white space or `+`.
    #[error("{0:?} is no key name; it is not empty and has no white space and no `+`")]
    KeyName(String),
    /// A type byte we do not verify.
    #[error(
        "verifier key `{name}` is of signature type 0x{code:02x}; supported are 0x01 (Ed25519) and 0x04 (Ed25519 cosignature)"
    )]
    UnsupportedKind {
        /// The key's name.
        name: String,
        /// Its type byte.
        code: u8,
    },
    /// The key itself is refused.
    #[error("verifier key `{name}`: {source}")]
    Key {
        /// The key's name.
        name: String,
        /// Why.
        source: KeyError,
    },
    /// The hex part does not belong to name and key: the line was altered or mistyped.
    #[error(
        "verifier key `{name}` states key hash {stated}, but name and key give {computed}; copy the line again from its source"
    )]
    KeyHashDiffers {
        /// The key's name.
        name: String,
        /// What the text says.
        stated: String,
        /// What name, kind and key give.
        computed: String,
    },
}

/// A verifier key: `<name>+<key hash>+<base64 of kind and key>`.
///
/// This one line is the trust anchor of a log or witness; it is compared with `==`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vkey {
    name: String,
    kind: SignatureKind,
    key: VerifyingKey,
    key_hash: [u8; 4],
}

impl Vkey {
    /// Names a key.
    ///
    /// # Errors
    /// [`VkeyError::KeyName`].
    pub fn new(name: &str, kind: SignatureKind, key: VerifyingKey) -> Result<Self, VkeyError> {
        if !is_key_name(name) {
            return Err(VkeyError::KeyName(name.to_owned()));
        }
        Ok(Self::of_checked_name(name, kind, key))
    }

    /// As [`Self::new`], for a name that was checked already.
    pub(crate) fn of_checked_name(name: &str, kind: SignatureKind, key: VerifyingKey) -> Self {
        let mut input = Vec::with_capacity(name.len() + 2 + 32);
        input.extend_from_slice(name.as_bytes());
        input.push(b'\n');
        input.push(kind.code());
        input.extend_from_slice(key.bytes());
        let hash = sha256(&input);
        let (key_hash, _) = hash.0.split_first_chunk::<4>().expect("32 bytes hold 4");
        Self {
            name: name.to_owned(),
            kind,
            key,
            key_hash: *key_hash,
        }
    }

    /// Reads the text form, strictly: canonical base64, lowercase hex, and a key hash that fits.
    ///
    /// # Errors
    /// [`VkeyError`] names the rule.
    pub fn parse(text: &str) -> Result<Self, VkeyError> {
        let malformed = || VkeyError::Malformed(text.to_owned());
        // Base64 may hold `+`; names and hex may not.
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(hex), Some(base64)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed());
        };
        let stated: [u8; 4] = from_hex(hex).ok_or_else(malformed)?;
        let material = STANDARD.decode(base64).map_err(|_e| malformed())?;
        let (code, key) = material.split_first().ok_or_else(malformed)?;
        let name_owned = || name.to_owned();
        let kind = SignatureKind::from_code(*code).ok_or_else(|| VkeyError::UnsupportedKind {
            name: name_owned(),
            code: *code,
        })?;
        let key = VerifyingKey::from_slice(key).map_err(|source| VkeyError::Key {
            name: name_owned(),
            source,
        })?;
        let vkey = Self::new(name, kind, key)?;
        if vkey.key_hash != stated {
            let computed = to_hex(&vkey.key_hash);
            return Err(VkeyError::KeyHashDiffers {
                name: name_owned(),
                stated: hex.to_owned(),
                computed,
            });
        }
        Ok(vkey)
    }

    /// Returns the name, as it stands in signature lines.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what the key signs.
    #[must_use]
    pub const fn kind(&self) -> SignatureKind {
        self.kind
    }

    /// Returns the key.
    #[must_use]
    pub const fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// Returns the first four bytes of SHA-256(name ‖ 0x0A ‖ kind ‖ key).
    #[must_use]
    pub const fn key_hash(&self) -> [u8; 4] {
        self.key_hash
    }
}

impl fmt::Display for Vkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut material = [self.kind.code(); 33];
        let [_, key @ ..] = &mut material;
        *key = *self.key.bytes();
        write!(
            f,
            "{}+{}+{}",
            self.name,
            to_hex(&self.key_hash),
            STANDARD.encode(material)
        )
    }
}

impl std::str::FromStr for Vkey {
    type Err = VkeyError;

    fn from_str(text: &str) -> Result<Self, VkeyError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

    #[test]
    fn a_verifier_key_is_written_as_it_was_read() {
        let vkey = Vkey::parse(VKEY).unwrap();
        assert_eq!(vkey.to_string(), VKEY);
        assert_eq!(vkey.name(), "example.com/foo");
        assert_eq!(vkey.kind(), SignatureKind::Ed25519);
        assert_eq!(vkey.key_hash(), [0x53, 0x0d, 0x90, 0x3a]);
    }

    #[test]
    fn one_key_has_another_hash_for_each_kind_and_name() {
        let key = *Vkey::parse(VKEY).unwrap().key();
        let of = |name, kind| Vkey::new(name, kind, key).unwrap().key_hash();
        let plain = of("example.com/foo", SignatureKind::Ed25519);
        assert_ne!(plain, of("example.com/foo", SignatureKind::Cosignature));
        assert_ne!(plain, of("example.com/bar", SignatureKind::Ed25519));
    }

    #[test]
    fn a_malformed_verifier_key_is_refused_by_name() {
        let malformed = |text: &str| VkeyError::Malformed(text.to_owned());
        let hash = |name: &str, stated: &str, computed: &str| VkeyError::KeyHashDiffers {
            name: name.to_owned(),
            stated: stated.to_owned(),
            computed: computed.to_owned(),
        };
        for (text, error) in [
            (String::new(), malformed("")),
            ("a+b".into(), malformed("a+b")),
            (
                VKEY.replace("530d903a", "530D903A"),
                malformed(&VKEY.replace("530d903a", "530D903A")),
            ),
            (
                VKEY.replace("530d903a", "530d903"),
                malformed(&VKEY.replace("530d903a", "530d903")),
            ),
            (format!("{VKEY}\n"), malformed(&format!("{VKEY}\n"))),
            (
                VKEY.replace("530d903a", "530d903b"),
                hash("example.com/foo", "530d903b", "530d903a"),
            ),
            (
                VKEY.replace("foo+5", " foo+5"),
                VkeyError::KeyName("example.com/ foo".into()),
            ),
            (
                VKEY.replace("+Aek", "+Bek"),
                VkeyError::UnsupportedKind {
                    name: "example.com/foo".into(),
                    code: 5,
                },
            ),
            (
                "x+00000000+AQAA".into(),
                VkeyError::Key {
                    name: "x".into(),
                    source: KeyError::WrongLength(2),
                },
            ),
        ] {
            assert_eq!(Vkey::parse(&text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_small_order_key_makes_no_verifier_key() {
        let text = format!(
            "x+00000000+{}",
            STANDARD.encode([&[1, 1][..], &[0; 31]].concat())
        );
        let small = |e| {
            matches!(
                e,
                VkeyError::Key {
                    source: KeyError::SmallOrder(_),
                    ..
                }
            )
        };
        assert!(small(Vkey::parse(&text).unwrap_err()));
    }
}
