//! One header of the archive: POSIX ustar, of which only one form per name and length is written and read.

use std::ops::Range;

/// The unit of a tar.
pub(super) const BLOCK: usize = 512;
/// The longest file: eleven octal digits.
pub const MAX_FILE_BYTES: u64 = (1 << 33) - 1;

const NAME: Range<usize> = 0..100;
const SIZE: Range<usize> = 124..136;
const CHECKSUM: Range<usize> = 148..156;
const TYPE: usize = 156;
const MAGIC: Range<usize> = 257..265;
const PREFIX: Range<usize> = 345..500;

/// Why a header is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TarError {
    /// Not `ustar` version `00`.
    #[error("this is not a POSIX ustar header")]
    NotUstar,
    /// The sum over the header's bytes is another one.
    #[error("the header's checksum is wrong")]
    Checksum,
    /// A link, folder, device, or an extension header.
    #[error("type `{0}` is not a regular file; links, folders and extension headers are refused")]
    NotARegularFile(char),
    /// A length in base 256.
    #[error("the length is in base 256")]
    Base256,
    /// A length that is not eleven octal digits.
    #[error("the length is not eleven octal digits")]
    Length,
    /// A path that starts at the root.
    #[error("the path `{0}` is absolute")]
    Absolute(String),
    /// A path with `..`, `.` or an empty part.
    #[error("the path `{0}` has a part `.`, `..` or an empty one")]
    Relative(String),
    /// A path with characters that no file of a bundle has.
    #[error("the path has bytes that no file of a bundle has")]
    Name,
    /// Any other freedom of the format that was used.
    #[error("a field is not as a bundle writes it (mode 0644, owner 0, time 0, unused bytes zero)")]
    NotCanonical,
    /// Longer than a header can say, on writing.
    #[error("a file of {0} bytes does not fit a ustar header; cut the period")]
    TooLong(u64),
}

/// The header of a regular file.
///
/// Files of a log carry `logs/<id>` in the prefix field, so that every name fits.
pub(super) fn header(path: &str, size: u64) -> Result<[u8; BLOCK], TarError> {
    if size > MAX_FILE_BYTES {
        return Err(TarError::TooLong(size));
    }
    let (prefix, name) = split(path);
    let mut block = [0_u8; BLOCK];
    let mut put = |at: usize, bytes: &[u8], most: usize| {
        let fits = bytes.len() <= most;
        for (slot, byte) in block.iter_mut().skip(at).zip(bytes) {
            *slot = *byte;
        }
        if fits { Ok(()) } else { Err(TarError::Name) }
    };
    put(NAME.start, name.as_bytes(), NAME.len())?;
    put(100, b"0000644\x000000000\x000000000\0", 24)?;
    put(SIZE.start, format!("{size:011o}\0").as_bytes(), 12)?;
    put(136, b"00000000000\0", 12)?;
    put(CHECKSUM.start, b"        ", 8)?;
    put(TYPE, b"0", 1)?;
    put(MAGIC.start, b"ustar\x0000", 8)?;
    put(329, b"0000000\x000000000\0", 16)?;
    put(PREFIX.start, prefix.as_bytes(), PREFIX.len())?;
    let sum = format!("{:06o}\0 ", checksum(&block));
    for (slot, byte) in block.iter_mut().skip(CHECKSUM.start).zip(sum.bytes()) {
        *slot = byte;
    }
    Ok(block)
}

/// Reads a header: path and length.
pub(super) fn parse(block: &[u8; BLOCK]) -> Result<(String, u64), TarError> {
    let field = |range: Range<usize>| block.get(range).unwrap_or_default();
    if field(MAGIC) != b"ustar\x0000" {
        return Err(TarError::NotUstar);
    }
    if field(CHECKSUM) != format!("{:06o}\0 ", checksum(block)).as_bytes() {
        return Err(TarError::Checksum);
    }
    match block.get(TYPE) {
        Some(b'0') => {}
        other => {
            return Err(TarError::NotARegularFile(char::from(
                other.copied().unwrap_or(0),
            )));
        }
    }
    let size = field(SIZE);
    if size.first().is_some_and(|first| *first >= 0x80) {
        return Err(TarError::Base256);
    }
    let digits = size
        .strip_suffix(b"\0")
        .filter(|digits| digits.iter().all(|d| (b'0'..=b'7').contains(d)));
    let size = digits
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .and_then(|digits| u64::from_str_radix(digits, 8).ok())
        .ok_or(TarError::Length)?;
    let text = |range: Range<usize>| {
        let bytes = field(range);
        let end = bytes
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(bytes.len());
        let bytes = bytes.get(..end).unwrap_or_default();
        let known = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-/".contains(byte);
        if bytes.iter().all(known) {
            Ok(String::from_utf8_lossy(bytes).into_owned())
        } else {
            Err(TarError::Name)
        }
    };
    let (prefix, name) = (text(PREFIX)?, text(NAME)?);
    let path = if prefix.is_empty() {
        name
    } else {
        format!("{prefix}/{name}")
    };
    if path.starts_with('/') {
        return Err(TarError::Absolute(path));
    }
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(TarError::Relative(path));
    }
    // Every freedom that is left must be used as we use it: then equal contents are equal bytes.
    if header(&path, size)? == *block {
        Ok((path, size))
    } else {
        Err(TarError::NotCanonical)
    }
}

/// The length of the padding after a file.
pub(super) const fn padding(size: u64) -> u64 {
    (512 - size % 512) % 512
}

fn split(path: &str) -> (&str, &str) {
    let after_logs = path
        .strip_prefix("logs/")
        .and_then(|rest| rest.split_once('/'));
    match after_logs {
        Some((_, name)) => {
            let prefix = path.len() - name.len() - 1;
            (path.get(..prefix).unwrap_or_default(), name)
        }
        None => ("", path),
    }
}

/// The sum of all bytes, the checksum's own counted as spaces.
fn checksum(block: &[u8; BLOCK]) -> u32 {
    let inside = |at: usize| CHECKSUM.contains(&at);
    block
        .iter()
        .enumerate()
        .map(|(at, byte)| if inside(at) { 32 } else { u32::from(*byte) })
        .sum()
}
