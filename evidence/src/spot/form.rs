//! The two files as bytes: integers big endian, each part behind its length, the note at the end.

use super::{MOST_BYTES, SpotError, SpotProof, TableProof};
use crate::hash::Hash;
use crate::note::Note;

const READING: &[u8] = b"fieldseal-reading/1\n";
const TABLE: &[u8] = b"fieldseal-table/1\n";
/// Longest path in a tree of at most 2^63 - 1 leaves.
const MOST_HASHES: usize = 63;

fn form(problem: &str) -> SpotError {
    SpotError::Form(problem.to_owned())
}

/// Takes a file apart from the front.
struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    fn new(bytes: &'a [u8], first_line: &[u8]) -> Result<Self, SpotError> {
        if bytes.len() > MOST_BYTES {
            return Err(SpotError::Form(format!(
                "{} bytes; at most {MOST_BYTES} are read",
                bytes.len()
            )));
        }
        let rest = bytes.strip_prefix(first_line);
        rest.map(Self).ok_or_else(|| {
            SpotError::Form(format!(
                "it does not begin with the line `{}`: another file or version",
                String::from_utf8_lossy(first_line).trim_end()
            ))
        })
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], SpotError> {
        let (part, rest) = self
            .0
            .split_at_checked(length)
            .ok_or_else(|| form("it ends early"))?;
        self.0 = rest;
        Ok(part)
    }

    fn number<const N: usize>(&mut self) -> Result<u64, SpotError> {
        let part = self.take(N)?;
        Ok(part
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn bytes<const N: usize>(&mut self) -> Result<Vec<u8>, SpotError> {
        let length = usize::try_from(self.number::<N>()?).unwrap_or(usize::MAX);
        Ok(self.take(length)?.to_vec())
    }

    fn hashes(&mut self) -> Result<Vec<Hash>, SpotError> {
        let count = usize::try_from(self.number::<1>()?).unwrap_or(usize::MAX);
        if count > MOST_HASHES {
            return Err(form("no path has more than 63 hashes"));
        }
        let (hashes, _) = self.take(count * 32)?.as_chunks::<32>();
        Ok(hashes.iter().map(|hash| Hash(*hash)).collect())
    }

    fn note(self) -> Result<Note, SpotError> {
        Note::parse(self.0).map_err(|error| SpotError::Form(error.to_string()))
    }
}

fn put(out: &mut Vec<u8>, length_bytes: usize, part: &[u8]) {
    let length = u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes();
    out.extend_from_slice(length.get(8 - length_bytes..).unwrap_or_default());
    out.extend_from_slice(part);
}

fn put_hashes(out: &mut Vec<u8>, hashes: &[Hash]) {
    out.push(u8::try_from(hashes.len()).unwrap_or(u8::MAX));
    for hash in hashes {
        out.extend_from_slice(&hash.0);
    }
}

impl SpotProof {
    /// Reads a proof file; what is accepted is exactly what [`Self::to_bytes`] writes.
    ///
    /// # Errors
    /// [`SpotError::Form`].
    pub fn parse(bytes: &[u8]) -> Result<Self, SpotError> {
        let mut parts = Parts::new(bytes, READING)?;
        let entry = parts.bytes::<2>()?;
        let position = u32::try_from(parts.number::<4>()?).unwrap_or(u32::MAX);
        let chunk = parts.bytes::<4>()?;
        let sample = u16::try_from(parts.number::<2>()?).unwrap_or(u16::MAX);
        let inner = parts.hashes()?;
        let outer = parts.hashes()?;
        Ok(Self {
            entry,
            position,
            chunk,
            sample,
            inner,
            outer,
            checkpoint: parts.note()?,
        })
    }

    /// The file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = READING.to_vec();
        put(&mut out, 2, &self.entry);
        out.extend_from_slice(&self.position.to_be_bytes());
        put(&mut out, 4, &self.chunk);
        out.extend_from_slice(&self.sample.to_be_bytes());
        put_hashes(&mut out, &self.inner);
        put_hashes(&mut out, &self.outer);
        out.extend_from_slice(&self.checkpoint.to_bytes());
        out
    }
}

impl TableProof {
    /// Reads a proof file; what is accepted is exactly what [`Self::to_bytes`] writes.
    ///
    /// # Errors
    /// [`SpotError::Form`].
    pub fn parse(bytes: &[u8]) -> Result<Self, SpotError> {
        let mut parts = Parts::new(bytes, TABLE)?;
        let entry = parts.bytes::<2>()?;
        let body = parts.bytes::<4>()?;
        let outer = parts.hashes()?;
        Ok(Self {
            entry,
            body,
            outer,
            checkpoint: parts.note()?,
        })
    }

    /// The file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = TABLE.to_vec();
        put(&mut out, 2, &self.entry);
        put(&mut out, 4, &self.body);
        put_hashes(&mut out, &self.outer);
        out.extend_from_slice(&self.checkpoint.to_bytes());
        out
    }
}
