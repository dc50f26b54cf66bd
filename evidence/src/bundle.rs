//! The evidence bundle: one uncompressed tar that carries everything a verifier needs but his trust.
//!
//! ```text
//! README.txt                         what this is and how to check it with ordinary tools
//! plan.toml                          information: the verifier's own copy decides
//! report/report.json                 the claim under test, if there is one
//! logs/<sha256(origin)>/origin       the log's name, one line
//!   checkpoint                       the final cosigned note: size N, root R
//!   range-start                      size a and the subtree hashes of the tree before entry a
//!   disclosure                       `A` every point, `B` listed points, `C` commitments only
//!   control/<index>.entry, .proof    every control entry below N, with its inclusion under R
//!   blobs/<leaf hash>                control bodies too long for their entry
//!   trail/<size>-<n>                 cosigned notes, n counting those of one size from 0
//!   entries.bin                      entries a..N-1, each behind its length (u16, big-endian)
//!   payload.bin                      payloads of the data entries, joined, but of those declared dropped;
//!                                    in class B hashes stand for hidden chunks, in class C it is empty
//! project/                           the project log from its first entry on, if the bundle carries it:
//!   origin, checkpoint, blobs/, trail/, entries.bin
//! inputs/<sha256>                    attachments that its records name
//! ```
//!
//! The archive is POSIX ustar with every free choice taken away: regular files in exactly this order,
//! mode 0644, no owner, time 0, no extensions, two zero blocks at the end and nothing after them.
//! Equal contents give equal bytes, and [`Bundle::read`] refuses every other byte string. No file is
//! ever a trust input: a wrong one leads to a failed check, never to a wrong verdict.

mod disclosure;
mod reader;
mod readme;
mod tar;
mod writer;

pub use disclosure::Disclosure;
pub(crate) use disclosure::{MOST_DISCLOSURE_BYTES, PREFIX_BYTES};
pub use reader::{Bundle, BundleLog, BundleProject, Control, FileSpan, ReadAt, Timestamp, Trail};
pub use readme::README;
pub use tar::{MAX_FILE_BYTES, TarError};
pub use writer::{
    BundleWriter, ControlPart, LogParts, ProjectParts, entries_bytes, range_start_text,
};

use crate::hash::Hash;
use crate::merkle::CompactRange;

/// Why an archive is not a bundle, or contents make none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The bytes could not be read or written.
    #[error("reading or writing the bundle: {0}")]
    Io(#[from] std::io::Error),
    /// A header of the archive is refused.
    #[error("archive header at byte {offset}: {error}")]
    Header {
        /// The header's position in the file.
        offset: u64,
        /// What is wrong.
        error: TarError,
    },
    /// The archive ends inside a file or without its end mark.
    #[error("the archive ends at byte {0}, before its end mark")]
    Truncated(u64),
    /// Bytes between a file's end and the next header that are not zero.
    #[error("the padding after `{path}` (byte {offset}) is not zero")]
    Padding {
        /// The file before.
        path: String,
        /// Where the padding begins.
        offset: u64,
    },
    /// Bytes after the end mark, or an end mark of another form.
    #[error("bytes follow the end of the archive at byte {0}")]
    Trailing(u64),
    /// A name that is not in the list of a bundle's files.
    #[error("`{0}` is not a file of a bundle")]
    UnknownFile(String),
    /// A file that stands twice.
    #[error("`{0}` is in the archive twice")]
    Duplicate(String),
    /// A file that stands after one that must follow it.
    #[error("`{path}` stands after `{after}`; the order of files is fixed")]
    Order {
        /// The file.
        path: String,
        /// The file before it.
        after: String,
    },
    /// A file that every bundle has.
    #[error("`{0}` is missing")]
    Missing(String),
    /// No log at all.
    #[error("the bundle holds no log")]
    Empty,
    /// A file longer than its kind can be.
    #[error("`{path}` has {found} bytes; at most {most} are read")]
    TooLarge {
        /// The file.
        path: String,
        /// Its length.
        found: u64,
        /// The limit.
        most: u64,
    },
    /// More files than a bundle can need.
    #[error("more than {0} files")]
    TooManyFiles(usize),
    /// A file whose contents are not of its form.
    #[error("`{path}`: {problem}")]
    Contents {
        /// The file.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// The writer was given something else than was announced.
    #[error("writing a bundle: {0}")]
    Writer(String),
}

/// Reads a `range-start` file: the size on the first line, then one hash in base64 a line.
///
/// # Errors
/// What is wrong, in words.
pub fn parse_range_start(bytes: &[u8]) -> Result<CompactRange, String> {
    let text = std::str::from_utf8(bytes).map_err(|_e| "not UTF-8".to_owned())?;
    let body = text
        .strip_suffix('\n')
        .ok_or("the last line has no newline")?;
    let mut lines = body.split('\n');
    let size = lines
        .next()
        .and_then(crate::checkpoint::parse_decimal)
        .ok_or("line 1 is no size in decimal digits")?;
    let hashes: Vec<Hash> = lines
        .map(|line| Hash::from_base64(line).map_err(|error| error.to_string()))
        .collect::<Result<_, _>>()?;
    CompactRange::from_parts(size, hashes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
