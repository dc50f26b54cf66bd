//! The hashes of the tree and the name of a log.
//!
//! One hash function, SHA-256, with the domain separation of RFC 6962: a leaf is hashed behind the
//! byte 0x00, an inner node behind 0x01, so no node can be shown as a leaf. The same rules hold for
//! the log (leaves = entries) and for the tree inside a payload (leaves = chunks).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest;
use thiserror::Error;

use crate::merkle::CompactRange;

/// A SHA-256 value: a leaf hash, a node hash, a root or an id.
///
/// `Debug` and `Display` print lowercase hex; checkpoints use base64 ([`Hash::to_base64`]).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hash(pub [u8; 32]);

/// Why a text is no hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HashError {
    /// Not 64 lowercase hexadecimal digits.
    #[error("a hash in hex is 64 digits 0-9 a-f, lowercase")]
    NotHex,
    /// Not the canonical base64 of 32 bytes.
    #[error("a hash in base64 is 44 characters, standard alphabet, padded, unused bits zero")]
    NotBase64,
    /// A byte string of another length than 32.
    #[error("a hash is 32 bytes, not {0}")]
    WrongLength(usize),
}

impl Hash {
    /// Returns the 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Takes exactly 32 bytes.
    ///
    /// # Errors
    /// [`HashError::WrongLength`] for any other length.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, HashError> {
        <[u8; 32]>::try_from(bytes)
            .map(Self)
            .map_err(|_e| HashError::WrongLength(bytes.len()))
    }

    /// Returns 64 lowercase hexadecimal digits.
    #[must_use]
    pub fn to_hex(self) -> String {
        to_hex(&self.0)
    }

    /// Reads 64 lowercase hexadecimal digits; upper case is refused, so one hash has one text.
    ///
    /// # Errors
    /// [`HashError::NotHex`].
    pub fn from_hex(text: &str) -> Result<Self, HashError> {
        from_hex(text).map(Self).ok_or(HashError::NotHex)
    }

    /// Returns the 44 characters of standard padded base64.
    #[must_use]
    pub fn to_base64(self) -> String {
        STANDARD.encode(self.0)
    }

    /// Reads standard padded base64; non-canonical forms are refused.
    ///
    /// # Errors
    /// [`HashError::NotBase64`].
    pub fn from_base64(text: &str) -> Result<Self, HashError> {
        decode_base64_32(text).map(Self).ok_or(HashError::NotBase64)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Returns plain SHA-256 of `bytes`: for ids and file hashes, never for tree nodes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Hash {
    finish(&digest::digest(&digest::SHA256, bytes))
}

/// Returns the hash of a leaf with content `bytes`: SHA-256(0x00 ‖ bytes).
#[must_use]
pub fn leaf_hash(bytes: &[u8]) -> Hash {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&[0x00]);
    context.update(bytes);
    finish(&context.finish())
}

/// Returns the hash of the node over `left` and `right`: SHA-256(0x01 ‖ left ‖ right).
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    // One buffer on the stack and one update: 65 bytes are two blocks, and no allocation.
    let mut input = [0x01_u8; 65];
    let (_, rest) = input.split_at_mut(1);
    let (l, r) = rest.split_at_mut(32);
    l.copy_from_slice(&left.0);
    r.copy_from_slice(&right.0);
    finish(&digest::digest(&digest::SHA256, &input))
}

/// Returns the root of the tree without leaves: SHA-256 of the empty string.
#[must_use]
pub fn empty_root() -> Hash {
    sha256(b"")
}

/// Returns the RFC 6962 root over `leaves`, which are leaf hashes, not contents.
#[must_use]
pub fn root_of(leaves: &[Hash]) -> Hash {
    let mut range = CompactRange::new();
    for leaf in leaves {
        range.append(leaf);
    }
    range.root()
}

fn finish(value: &digest::Digest) -> Hash {
    Hash::from_slice(value.as_ref()).expect("SHA-256 gives 32 bytes")
}

/// Returns lowercase hexadecimal digits.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a String takes every write");
            text
        })
}

/// Reads exactly `N` bytes of lowercase hex.
pub(crate) fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    if text.len() != N * 2 {
        return None;
    }
    let mut out = [0_u8; N];
    for (slot, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *slot = (digit(*high)? << 4) | digit(*low)?;
    }
    Some(out)
}

/// Canonical base64 of exactly 32 bytes.
pub(crate) fn decode_base64_32(text: &str) -> Option<[u8; 32]> {
    if text.len() != 44 {
        return None;
    }
    // 44 characters may hold 33 bytes; only the form with one `=` holds 32.
    let mut buffer = [0_u8; 33];
    let length = STANDARD.decode_slice(text, &mut buffer).ok()?;
    buffer.get(..length)?.try_into().ok()
}

/// The name of one log, first line of each of its checkpoints: 1 to 200 bytes of UTF-8 without
/// white space, control characters or `+`.
///
/// By custom `<operator domain>/<gateway id>`, for example `example.com/gw/0001`. It is bound into
/// the signature of every entry, so an entry of one log never passes in another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(String);

/// Why a text is no origin.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OriginError {
    /// No characters at all.
    #[error("an origin is not empty; use <domain>/<gateway id>, e.g. `example.com/gw/0001`")]
    Empty,
    /// Longer than 200 bytes.
    #[error("an origin is at most {max} bytes, this one has {0}", max = Origin::MAX_BYTES)]
    TooLong(usize),
    /// White space, a control character or a plus sign.
    #[error("origin {0:?} holds {1:?}; white space, control characters and `+` are not allowed")]
    ForbiddenCharacter(String, char),
}

impl Origin {
    /// Longest origin in bytes.
    pub const MAX_BYTES: usize = 200;

    /// Checks `text`.
    ///
    /// # Errors
    /// [`OriginError`] names the rule broken.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        if text.is_empty() {
            return Err(OriginError::Empty);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(OriginError::TooLong(text.len()));
        }
        match text.chars().find(|c| forbidden_in_name(*c)) {
            Some(c) => Err(OriginError::ForbiddenCharacter(text.to_owned(), c)),
            None => Ok(Self(text.to_owned())),
        }
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns SHA-256 of the text: the log's name in URLs, folders and tables (as hex).
    #[must_use]
    pub fn id(&self) -> Hash {
        sha256(self.0.as_bytes())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        Self::parse(text)
    }
}

/// Characters that no origin and no key name may hold.
pub(crate) fn forbidden_in_name(c: char) -> bool {
    c.is_whitespace() || c.is_control() || c == '+'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaf_and_node_hashes_are_those_of_rfc_6962() {
        assert_eq!(
            empty_root().to_hex(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(
            leaf_hash(b"").to_hex(),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        );
        let (left, right) = (leaf_hash(b""), leaf_hash(&[0]));
        assert_eq!(
            node_hash(&left, &right).to_hex(),
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
        );
    }

    #[test]
    fn a_hash_has_one_hex_and_one_base64_text() {
        let hash = sha256(b"x");
        assert_eq!(Hash::from_hex(&hash.to_hex()), Ok(hash));
        assert_eq!(Hash::from_base64(&hash.to_base64()), Ok(hash));
        assert_eq!(
            Hash::from_hex(&hash.to_hex().to_uppercase()),
            Err(HashError::NotHex)
        );
        let base64 = Hash([0; 32]).to_base64();
        assert_eq!(base64, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        for bad in [
            base64.replace('=', ""),
            base64.replace("A=", "B="), // a bit set that no byte holds
            base64.replace('=', "A"),   // 33 bytes
            format!("{base64}\n"),
            base64.replace('A', "-"),
            String::new(),
        ] {
            assert_eq!(
                Hash::from_base64(&bad),
                Err(HashError::NotBase64),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn an_origin_has_no_space_no_plus_and_at_most_200_bytes() {
        for good in ["a", "example.com/gw/0001", "例え.jp/gw", &"x".repeat(200)] {
            assert_eq!(Origin::parse(good).expect(good).as_str(), good);
        }
        for bad in [
            "",
            "a b",
            "a+b",
            "a\n",
            "a\u{a0}b",
            "a\u{3000}b",
            "a\u{7f}",
            &"x".repeat(201),
        ] {
            assert!(Origin::parse(bad).is_err(), "{bad:?}");
        }
    }
}
