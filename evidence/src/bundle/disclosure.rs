//! What of a log's readings a bundle shows: everything, listed points, or nothing but commitments.
//!
//! Entries are always whole, so order, completeness and time are proven in every class. What is not
//! shown is still bound: each entry signs the root over its chunks, hidden ones included.

use crate::chunk::{ChunkError, View};
use crate::hash::leaf_hash;
use crate::measurement::MeasurementConfig;

/// How much of a log's readings is shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Disclosure {
    /// Class A: every point.
    #[default]
    All,
    /// Class B: the points of these names, ascending; of every other chunk its hash.
    Listed(Vec<String>),
    /// Class C: no reading; what was measured is bound by the signed roots alone.
    Commitments,
}

/// More names than this are no list.
const MOST_NAMES: usize = 10_000;
/// The longest `disclosure` file: the names of all points a table can have.
pub(crate) const MOST_DISCLOSURE_BYTES: u64 = 4 << 20;

impl Disclosure {
    /// Class B with these points, in any order, each once or more.
    ///
    /// # Errors
    /// In words: no name at all, one that cannot stand on a line, or too many.
    pub fn listed(names: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut names: Vec<String> = names.into_iter().collect();
        names.sort_unstable();
        names.dedup();
        check_names(&names)?;
        Ok(Self::Listed(names))
    }

    /// Reads a `disclosure` file; what is accepted is exactly what [`Self::to_text`] writes.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_e| "not UTF-8".to_owned())?;
        match text {
            "A\n" => return Ok(Self::All),
            "C\n" => return Ok(Self::Commitments),
            _ => {}
        }
        let names = text
            .strip_prefix("B\n")
            .and_then(|rest| rest.strip_suffix('\n'))
            .ok_or("it is neither `A`, `C`, nor `B` and one point's name a line")?;
        let names: Vec<String> = names.split('\n').map(str::to_owned).collect();
        check_names(&names)?;
        Ok(Self::Listed(names))
    }

    /// The file.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Self::All => "A\n".to_owned(),
            Self::Listed(names) => format!("B\n{}\n", names.join("\n")),
            Self::Commitments => "C\n".to_owned(),
        }
    }

    /// `A`, `B` or `C`.
    #[must_use]
    pub const fn class(&self) -> char {
        match self {
            Self::All => 'A',
            Self::Listed(_) => 'B',
            Self::Commitments => 'C',
        }
    }

    /// Whether the readings of the point of this name are shown by name.
    #[must_use]
    pub fn names(&self, point: &str) -> bool {
        match self {
            Self::All => true,
            Self::Listed(names) => names
                .binary_search_by(|known| known.as_str().cmp(point))
                .is_ok(),
            Self::Commitments => false,
        }
    }

    /// For each point of a table, whether its chunks are shown: the listed ones, and those whose value
    /// a listed one needs as its scale factor.
    #[must_use]
    pub fn shown(&self, config: &MeasurementConfig) -> Vec<bool> {
        let mut shown: Vec<bool> = config
            .points
            .iter()
            .map(|point| self.names(&point.name))
            .collect();
        for point in &config.points {
            if let Some(factor) = point.scale_from.filter(|_| self.names(&point.name))
                && let Some(slot) = shown.get_mut(usize::from(factor))
            {
                *slot = true;
            }
        }
        shown
    }

    /// What `payload.bin` holds of one payload: all of it; in class B its length and then each chunk
    /// that is shown, else the chunk's hash; in class C nothing.
    ///
    /// # Errors
    /// [`ChunkError`] when the payload does not split into the chunks of the stream.
    pub fn part(
        &self,
        config: &MeasurementConfig,
        stream: u16,
        payload: &[u8],
    ) -> Result<Vec<u8>, ChunkError> {
        match self {
            Self::All => return Ok(payload.to_vec()),
            Self::Commitments => return Ok(Vec::new()),
            Self::Listed(_) => {}
        }
        let shown = self.shown(config);
        let mut part = vec![0; PREFIX_BYTES];
        let mut rest = payload;
        for (point, _) in config.points_of(stream) {
            let (_, used) = View::parse(rest)?;
            let (chunk, after) = rest.split_at_checked(used).ok_or(ChunkError::Truncated)?;
            rest = after;
            if shown.get(usize::from(point)) == Some(&true) {
                part.extend_from_slice(chunk);
            } else {
                part.extend_from_slice(&leaf_hash(chunk).0);
            }
        }
        if !rest.is_empty() {
            return Err(ChunkError::PayloadShape);
        }
        let length = u32::try_from(part.len() - PREFIX_BYTES).map_err(|_e| ChunkError::TooLarge)?;
        if let Some(prefix) = part.first_chunk_mut::<PREFIX_BYTES>() {
            *prefix = length.to_be_bytes();
        }
        Ok(part)
    }
}

/// In class B each part begins with its length, because no signed length says it.
pub(crate) const PREFIX_BYTES: usize = 4;

fn check_names(names: &[String]) -> Result<(), String> {
    if names.is_empty() || names.len() > MOST_NAMES {
        return Err(format!("class B lists 1 to {MOST_NAMES} points"));
    }
    if let Some(name) = names
        .iter()
        .find(|name| name.is_empty() || name.chars().any(char::is_control))
    {
        return Err(format!("`{}` cannot be listed", name.escape_debug()));
    }
    if names.is_sorted_by(|a, b| a < b) {
        Ok(())
    } else {
        Err("the names do not ascend".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::Disclosure;

    #[test]
    fn a_disclosure_is_read_as_it_is_written_and_in_one_writing_only() {
        let listed =
            Disclosure::listed(["b".to_owned(), "a x".to_owned(), "b".to_owned()]).unwrap();
        assert_eq!(listed.to_text(), "B\na x\nb\n");
        for disclosure in [Disclosure::All, listed, Disclosure::Commitments] {
            assert_eq!(
                Disclosure::parse(disclosure.to_text().as_bytes()),
                Ok(disclosure)
            );
        }
        for text in [
            "",
            "A",
            "B\n",
            "B\n\n",
            "B\nb\na\n",
            "B\na\na\n",
            "B\na",
            "C\na\n",
            "D\n",
            "B\na\t\n",
        ] {
            assert!(Disclosure::parse(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(Disclosure::listed([]).is_err());
        assert!(Disclosure::listed(["a\nb".to_owned()]).is_err());
    }
}
