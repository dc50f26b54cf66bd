//! Small files that people carry between a gateway, a collector and an authority's desk.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use crate::chain::Chain;
use crate::control::Control;
use crate::entry::{Body, ClockReading, ControlBody, Entry};
use crate::hash::{Hash, Origin, leaf_hash};
use crate::merkle::CompactRange;
use crate::rejection::Rejection;

/// The first line of a file of control entries.
const CONTROLS: &str = "fieldseal/controls/v1";

/// All control entries of a log, carried to the desk of whoever is to approve one.
///
/// Each pins the one before it, so that the newest one's leaf hash fixes them all: nobody can show an
/// approver another "before" than the log has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Controls {
    /// The log.
    pub origin: Origin,
    /// Each entry, and its body where that is too long to stand in it.
    pub entries: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// One control entry of a file, proven to follow the one before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedControl {
    /// Its position in the log.
    pub index: u64,
    /// Its leaf hash.
    pub leaf: Hash,
    /// The gateway's clock at sealing.
    pub clock: ClockReading,
    /// What it says.
    pub control: Control,
}

/// Why a file of control entries is refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ControlsError {
    /// Not such a file, or of another version.
    #[error("its first line is not `{0}`; use the version of this program that made it")]
    Unknown(&'static str),
    /// A line that breaks its form.
    #[error("line {0} is malformed")]
    Line(usize),
    /// An entry that does not follow.
    #[error("control entry {index} does not follow the one before it: {rejection}")]
    Entry {
        /// Where it stands, or the lowest index it could have.
        index: u64,
        /// The rule.
        rejection: Rejection,
    },
}

impl Controls {
    /// The file: text, one line an entry.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut text = format!("{CONTROLS}\n{}\n", self.origin.as_str());
        for (entry, body) in &self.entries {
            STANDARD.encode_string(entry, &mut text);
            text.push(' ');
            match body {
                Some(body) => STANDARD.encode_string(body, &mut text),
                None => text.push('-'),
            }
            text.push('\n');
        }
        text.into_bytes()
    }

    /// Reads a file; proves nothing yet.
    ///
    /// # Errors
    /// [`ControlsError`] names the line.
    pub fn parse(bytes: &[u8]) -> Result<Self, ControlsError> {
        let text = std::str::from_utf8(bytes).map_err(|_bytes| ControlsError::Unknown(CONTROLS))?;
        let mut lines = text.lines();
        if lines.next() != Some(CONTROLS) {
            return Err(ControlsError::Unknown(CONTROLS));
        }
        let origin = lines.next().ok_or(ControlsError::Line(2))?;
        let origin = Origin::parse(origin).map_err(|_invalid| ControlsError::Line(2))?;
        let mut entries = Vec::new();
        for (number, line) in (3..).zip(lines) {
            let wrong = || ControlsError::Line(number);
            let decode = |text: &str| STANDARD.decode(text).map_err(|_form| wrong());
            let (entry, body) = line.split_once(' ').ok_or_else(wrong)?;
            let body = match body {
                "-" => None,
                body => Some(decode(body)?),
            };
            entries.push((decode(entry)?, body));
        }
        Ok(Self { origin, entries })
    }

    /// Checks that the entries are one chain from the log's first entry on: pins, keys, signatures.
    ///
    /// # Errors
    /// [`ControlsError::Entry`].
    pub fn check(&self) -> Result<Vec<CheckedControl>, ControlsError> {
        let malformed = |rejection| ControlsError::Entry {
            index: 0,
            rejection,
        };
        let mut found = Vec::with_capacity(self.entries.len());
        for (bytes, long) in &self.entries {
            let entry = Entry::parse(bytes).map_err(malformed)?.entry;
            let index = entry.index;
            let refuse = |rejection| ControlsError::Entry { index, rejection };
            let Body::Control { kind, body } = &entry.body else {
                return Err(refuse(Rejection::UnknownControl(0)));
            };
            let body = match (body, long) {
                (ControlBody::Inline(body), None) => body,
                (ControlBody::Payload(_), Some(body)) => body,
                (ControlBody::Inline(_), Some(_)) => {
                    return Err(refuse(Rejection::PayloadUnexpected));
                }
                (ControlBody::Payload(_), None) => return Err(refuse(Rejection::PayloadMissing)),
            };
            found.push(CheckedControl {
                index,
                leaf: leaf_hash(bytes),
                clock: entry.clock,
                control: Control::decode(*kind, body).map_err(refuse)?,
            });
        }
        let size = found.last().map_or(0, |last| last.index.saturating_add(1));
        // Only the length plays a part here; the subtree hashes of the log do not.
        let ones = usize::try_from(size.count_ones()).unwrap_or(64);
        let range = CompactRange::from_parts(size, vec![Hash([0; 32]); ones])
            .map_err(|_size| ControlsError::Line(3))?;
        let entries = self
            .entries
            .iter()
            .map(|(entry, body)| (entry.as_slice(), body.as_deref()));
        Chain::resume(self.origin.clone(), range, entries)
            .map_err(|(index, rejection)| ControlsError::Entry { index, rejection })?;
        Ok(found)
    }
}

/// The first line of a file that names the end of a log.
const END: &str = "fieldseal/log-end/v1";

/// The last entry of a log that a new one continues: what the new log's recovery entry names.
///
/// Nothing in it is trusted. A wrong hash is found by whoever verifies both logs (V16).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEnd {
    /// The log that ends.
    pub origin: Origin,
    /// Its last entry.
    pub last_index: u64,
    /// That entry's leaf hash.
    pub last_leaf: Hash,
}

impl LogEnd {
    /// The file.
    #[must_use]
    pub fn encode(&self) -> String {
        format!(
            "{END}\n{}\n{}\n{}\n",
            self.origin.as_str(),
            self.last_index,
            self.last_leaf.to_base64()
        )
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`ControlsError::Unknown`] for another version, [`ControlsError::Line`] for a malformed line.
    pub fn parse(text: &str) -> Result<Self, ControlsError> {
        let lines: Vec<&str> = text.lines().collect();
        match lines.as_slice() {
            [END, origin, index, leaf] => Ok(Self {
                origin: Origin::parse(origin).map_err(|_invalid| ControlsError::Line(2))?,
                last_index: index.parse().map_err(|_digits| ControlsError::Line(3))?,
                last_leaf: Hash::from_base64(leaf).map_err(|_form| ControlsError::Line(4))?,
            }),
            [END, ..] => Err(ControlsError::Line(lines.len())),
            _ => Err(ControlsError::Unknown(END)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ControlsError, LogEnd};
    use crate::hash::{Hash, Origin};

    #[test]
    fn the_end_of_a_log_is_read_back_and_another_version_is_refused() {
        let end = LogEnd {
            origin: Origin::parse("example.com/gw/1").unwrap(),
            last_index: 12,
            last_leaf: Hash([3; 32]),
        };
        assert_eq!(LogEnd::parse(&end.encode()).unwrap(), end);
        let other = end.encode().replace("/v1", "/v2");
        assert!(matches!(
            LogEnd::parse(&other),
            Err(ControlsError::Unknown(_))
        ));
        let short = "fieldseal/log-end/v1\nexample.com/gw/1\n";
        assert!(matches!(LogEnd::parse(short), Err(ControlsError::Line(2))));
    }
}
