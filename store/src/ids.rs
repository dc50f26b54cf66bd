//! Ids: which site, which log. All of them come from the application, none from the database.

use std::fmt;

/// A site, the unit by which the store shards; 63 bits of the SHA-256 of its name.
///
/// Derived from the name, so that creating the same site twice, or on two machines, gives one id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteId(pub(crate) i64);

impl SiteId {
    /// Returns the id of the site of this name.
    pub fn of_name(name: &str) -> Self {
        Self::of_text(&format!("fieldseal/site/v1\n{name}"))
    }

    /// Returns the number under which the log of a project lies. It is no site that anybody lists.
    pub fn of_project(project: &str) -> Self {
        Self::of_text(&format!("fieldseal/project-log/v1\n{project}"))
    }

    fn of_text(text: &str) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        let mut first = [0; 8];
        for (to, from) in first.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Self(i64::from_be_bytes(first) & i64::MAX)
    }

    /// Returns the number that the database holds; never negative.
    pub const fn number(self) -> i64 {
        self.0
    }

    /// Makes an id of a number that [`SiteId::number`] gave.
    pub const fn from_number(number: i64) -> Self {
        Self(number)
    }
}

/// A log: SHA-256 of its origin, the id that stands in every address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId(pub [u8; 32]);

impl LogId {
    /// Returns the id of the log of this origin.
    pub fn of_origin(origin: &str) -> Self {
        Self(sha256(origin.as_bytes()))
    }

    /// Reads 64 lower-case hexadecimal digits, the only accepted form; `None` for anything else.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut id = [0; 32];
        hex::decode_to_slice(text, &mut id).ok()?;
        (hex::encode(id) == text).then_some(Self(id))
    }

    /// Writes the id as 64 lower-case hexadecimal digits.
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Debug for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

/// A log with the site it belongs to: what every question about a log is asked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogRef {
    /// The site, given when the log was enrolled; it never changes.
    pub site: SiteId,
    /// The log.
    pub log: LogId,
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let mut hash = [0; 32];
    hash.copy_from_slice(digest.as_ref());
    hash
}
