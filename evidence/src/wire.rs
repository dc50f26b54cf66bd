//! What a gateway and a collector say to each other.
//!
//! An upload carries entries in index order with their payloads, and one checkpoint that covers them:
//!
//! ```text
//! "FSU1"  u64 BE old size  u32 BE count  u32 BE note length  note
//! count × { u16 BE entry length, entry, u32 BE payload length + 1 or 0 when not at hand, payload }
//! ```

/// The magic number of an upload.
const MAGIC: &[u8; 4] = b"FSU1";
/// The most entries one upload carries.
pub const MOST_RECORDS: u32 = 4_096;

/// An upload, borrowed from the bytes it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload<'a> {
    /// The size of the log the sender believes the receiver has.
    pub old: u64,
    /// The checkpoint that covers the last record.
    pub note: &'a [u8],
    /// The entries from index `old` on.
    pub records: Vec<Record<'a>>,
}

/// An entry and its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// The entry as signed.
    pub entry: &'a [u8],
    /// Its payload: empty when it signs none, `None` when it was dropped at the edge.
    pub payload: Option<&'a [u8]>,
}

/// Why bytes are not an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UploadError {
    /// Not the magic number.
    #[error("this is not an upload: it does not start with FSU1")]
    Magic,
    /// The bytes end early.
    #[error("the upload ends early")]
    Truncated,
    /// Bytes follow the last record.
    #[error("bytes follow the last record")]
    Trailing,
    /// More records than allowed.
    #[error("an upload carries at most {MOST_RECORDS} entries")]
    TooMany,
}

impl<'a> Upload<'a> {
    /// The bytes to send.
    ///
    /// # Errors
    /// [`UploadError::TooMany`] when a count or length does not fit its field.
    pub fn encode(&self) -> Result<Vec<u8>, UploadError> {
        let length =
            |bytes: &[u8]| u32::try_from(bytes.len()).map_err(|_long| UploadError::TooMany);
        let count = u32::try_from(self.records.len()).map_err(|_many| UploadError::TooMany)?;
        if count > MOST_RECORDS {
            return Err(UploadError::TooMany);
        }
        let mut out = MAGIC.to_vec();
        out.extend(self.old.to_be_bytes());
        out.extend(count.to_be_bytes());
        out.extend(length(self.note)?.to_be_bytes());
        out.extend_from_slice(self.note);
        for record in &self.records {
            let entry = u16::try_from(record.entry.len()).map_err(|_long| UploadError::TooMany)?;
            out.extend(entry.to_be_bytes());
            out.extend_from_slice(record.entry);
            let payload = match record.payload {
                Some(payload) => length(payload)?
                    .checked_add(1)
                    .ok_or(UploadError::TooMany)?,
                None => 0,
            };
            out.extend(payload.to_be_bytes());
            out.extend_from_slice(record.payload.unwrap_or_default());
        }
        Ok(out)
    }

    /// Reads an upload; the entries are checked by [`crate::chain`].
    ///
    /// # Errors
    /// [`UploadError`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, UploadError> {
        let rest = bytes
            .strip_prefix(MAGIC.as_slice())
            .ok_or(UploadError::Magic)?;
        let (old, rest) = rest
            .split_first_chunk::<8>()
            .ok_or(UploadError::Truncated)?;
        let (count, rest) = take_u32(rest)?;
        if count > MOST_RECORDS {
            return Err(UploadError::TooMany);
        }
        let (length, rest) = take_u32(rest)?;
        let (note, mut rest) = take(rest, length)?;
        let mut records = Vec::new();
        for _record in 0..count {
            let (length, after) = rest
                .split_first_chunk::<2>()
                .ok_or(UploadError::Truncated)?;
            let (entry, after) = take(after, u32::from(u16::from_be_bytes(*length)))?;
            let (length, after) = take_u32(after)?;
            let (payload, after) = match length.checked_sub(1) {
                Some(length) => {
                    let (payload, after) = take(after, length)?;
                    (Some(payload), after)
                }
                None => (None, after),
            };
            records.push(Record { entry, payload });
            rest = after;
        }
        if rest.is_empty() {
            Ok(Self {
                old: u64::from_be_bytes(*old),
                note,
                records,
            })
        } else {
            Err(UploadError::Trailing)
        }
    }
}

fn take(bytes: &[u8], length: u32) -> Result<(&[u8], &[u8]), UploadError> {
    usize::try_from(length)
        .ok()
        .and_then(|length| bytes.split_at_checked(length))
        .ok_or(UploadError::Truncated)
}

fn take_u32(bytes: &[u8]) -> Result<(u32, &[u8]), UploadError> {
    let (value, rest) = bytes
        .split_first_chunk::<4>()
        .ok_or(UploadError::Truncated)?;
    Ok((u32::from_be_bytes(*value), rest))
}

#[cfg(test)]
mod tests {
    use super::{Record, Upload, UploadError};

    #[test]
    fn an_upload_reads_back_and_every_truncation_is_refused() {
        let records = vec![
            Record {
                entry: b"first",
                payload: Some(b""),
            },
            Record {
                entry: b"second",
                payload: None,
            },
            Record {
                entry: b"third",
                payload: Some(b"payload"),
            },
        ];
        let upload = Upload {
            old: 7,
            note: b"note\n",
            records,
        };
        let bytes = upload.encode().unwrap();
        assert_eq!(Upload::decode(&bytes), Ok(upload));
        for end in 0..bytes.len() {
            assert!(Upload::decode(&bytes[..end]).is_err(), "{end}");
        }
        let mut longer = bytes;
        longer.push(0);
        assert_eq!(Upload::decode(&longer), Err(UploadError::Trailing));
    }
}
