//! The tree as static files (C2SP tlog-tiles): paths, hash tiles and entry bundles.
//!
//! A tile holds up to 256 hashes of one level; level L counts in steps of 8 levels of the tree. An
//! entry bundle holds the entries under a tile of level 0. Full ones never change.

use std::fmt;

use thiserror::Error;

use crate::checkpoint::parse_decimal;
use crate::hash::{Hash, root_of};
use crate::merkle::NodeReader;

/// Hashes of a full tile, entries of a full bundle.
pub const FULL_WIDTH: u16 = 256;

/// Longest entry an entry bundle can hold: its length is a `u16`.
pub const MAX_ENTRY_BYTES: usize = u16::MAX as usize;

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileKind {
    /// Node hashes of level 8 × this number, 0 to 63.
    Hashes(u8),
    /// Entries.
    Entries,
}

/// One tile or entry bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    /// What it holds.
    pub kind: TileKind,
    /// Its place in its level, from 0.
    pub index: u64,
    /// Hashes or entries in it: 256 if full, else 1 to 255.
    pub width: u16,
}

/// Why a path, a tile or a bundle is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TileError {
    /// Not the path of a tile in its one form.
    #[error(
        "{0:?} is no tile path; the form is tile/<level 0-63 or `entries`>/<index, e.g. x001/x234/067>[.p/<width 1-255>]"
    )]
    Path(String),
    /// A tile of other than 32 bytes per hash, or of no or over 256 hashes.
    #[error("a hash tile is 1 to 256 times 32 bytes, not {0} bytes")]
    TileLength(usize),
    /// A bundle of no or over 256 entries.
    #[error("an entry bundle has 1 to 256 entries, not {0}")]
    BundleCount(usize),
    /// An entry that does not fit a bundle.
    #[error("entry {position} of the bundle has {bytes} bytes; at most {MAX_ENTRY_BYTES} fit")]
    EntryTooLong {
        /// Place in the bundle, from 0.
        position: usize,
        /// Its length.
        bytes: usize,
    },
    /// A bundle that ends inside an entry.
    #[error("the entry bundle ends inside entry {position}")]
    BundleCut {
        /// Place in the bundle, from 0.
        position: usize,
    },
}

/// Returns the path of a hash tile, for example `tile/0/x001/x234/067.p/8`.
///
/// A `width` of 1 to 255 makes the path of a partial tile, anything else that of the full one.
#[must_use]
pub fn tile_path(level: u8, index: u64, width: u16) -> String {
    Tile {
        kind: TileKind::Hashes(level),
        index,
        width,
    }
    .to_string()
}

/// Returns the path of an entry bundle, for example `tile/entries/005`; `width` as in [`tile_path`].
#[must_use]
pub fn entries_path(index: u64, width: u16) -> String {
    Tile {
        kind: TileKind::Entries,
        index,
        width,
    }
    .to_string()
}

/// Reads a path without leading slash; one tile has one path.
///
/// # Errors
/// [`TileError::Path`].
pub fn parse_tile_path(path: &str) -> Result<Tile, TileError> {
    let tile = read_path(path).ok_or_else(|| TileError::Path(path.to_owned()))?;
    // Written back, it must be the same: no superfluous `x000`, no short element.
    if tile.to_string() == path {
        Ok(tile)
    } else {
        Err(TileError::Path(path.to_owned()))
    }
}

fn read_path(path: &str) -> Option<Tile> {
    let (kind, rest) = path.strip_prefix("tile/")?.split_once('/')?;
    let kind = match kind {
        "entries" => TileKind::Entries,
        level => {
            let level = parse_decimal(level).filter(|level| *level < 64)?;
            TileKind::Hashes(u8::try_from(level).ok()?)
        }
    };
    let (index, width) = match rest.split_once(".p/") {
        None => (rest, FULL_WIDTH),
        Some((index, width)) => {
            let width = parse_decimal(width).filter(|width| (1..256).contains(width))?;
            (index, u16::try_from(width).ok()?)
        }
    };
    let index = index.split('/').try_fold(0_u64, |so_far, element| {
        let digits = element.strip_prefix('x').unwrap_or(element).as_bytes();
        if digits.len() != 3 || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let value = digits
            .iter()
            .fold(0, |value, digit| value * 10 + u64::from(digit - b'0'));
        so_far.checked_mul(1000)?.checked_add(value)
    })?;
    Some(Tile { kind, index, width })
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Hashes(level) => write!(f, "tile/{level}")?,
            TileKind::Entries => f.write_str("tile/entries")?,
        }
        // u64 has at most seven groups of three digits; all but the last carry an `x`.
        let mut divisor = 1_000_u64.pow(6);
        while divisor > 1 {
            if self.index >= divisor {
                write!(f, "/x{:03}", self.index / divisor % 1000)?;
            }
            divisor /= 1000;
        }
        write!(f, "/{:03}", self.index % 1000)?;
        if self.is_partial() {
            write!(f, ".p/{}", self.width)
        } else {
            Ok(())
        }
    }
}

impl Tile {
    /// Whether this is a partial tile.
    #[must_use]
    pub const fn is_partial(&self) -> bool {
        matches!(self.width, 1..FULL_WIDTH)
    }

    /// Returns how wide this tile is in a log of `size` entries, 1 to 256, or `None` if such a log
    /// has no such tile. A server may serve any width up to this.
    #[must_use]
    pub fn width_at(&self, size: u64) -> Option<u16> {
        let level = match self.kind {
            TileKind::Hashes(level) => level,
            TileKind::Entries => 0,
        };
        let nodes = size.checked_shr(u32::from(level) * 8)?;
        let first = self.index.checked_mul(u64::from(FULL_WIDTH))?;
        let width = nodes.checked_sub(first)?.min(u64::from(FULL_WIDTH));
        u16::try_from(width).ok().filter(|width| *width > 0)
    }
}

/// Returns the bytes of a hash tile: the hashes of level 8 × `level` from 256 × `index` on.
///
/// # Errors
/// Those of the reader.
pub fn read_tile<R: NodeReader>(
    reader: &mut R,
    level: u8,
    index: u64,
    width: u16,
) -> Result<Vec<u8>, R::Error> {
    let first = index.saturating_mul(u64::from(FULL_WIDTH));
    let mut bytes = Vec::with_capacity(usize::from(width) * 32);
    for i in 0..u64::from(width.min(FULL_WIDTH)) {
        let hash = reader.node(level.saturating_mul(8), first.saturating_add(i))?;
        bytes.extend_from_slice(hash.as_bytes());
    }
    Ok(bytes)
}

/// Takes a hash tile apart.
///
/// # Errors
/// [`TileError::TileLength`].
pub fn parse_tile(bytes: &[u8]) -> Result<Vec<Hash>, TileError> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() || hashes.is_empty() || hashes.len() > usize::from(FULL_WIDTH) {
        return Err(TileError::TileLength(bytes.len()));
    }
    Ok(hashes.iter().map(|hash| Hash(*hash)).collect())
}

/// Returns the bytes of an entry bundle: per entry its length as big-endian `u16`, then itself.
///
/// # Errors
/// [`TileError::BundleCount`], [`TileError::EntryTooLong`].
pub fn encode_entry_bundle(entries: &[&[u8]]) -> Result<Vec<u8>, TileError> {
    count_fits(entries.len())?;
    let mut bytes = Vec::with_capacity(entries.iter().map(|entry| entry.len() + 2).sum());
    for (position, entry) in entries.iter().enumerate() {
        let length = u16::try_from(entry.len()).map_err(|_e| TileError::EntryTooLong {
            position,
            bytes: entry.len(),
        })?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(entry);
    }
    Ok(bytes)
}

/// Takes an entry bundle apart.
///
/// # Errors
/// [`TileError::BundleCount`], [`TileError::BundleCut`].
pub fn decode_entry_bundle(bytes: &[u8]) -> Result<Vec<&[u8]>, TileError> {
    let mut entries = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let cut = || TileError::BundleCut {
            position: entries.len(),
        };
        let (length, after) = rest.split_first_chunk::<2>().ok_or_else(cut)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, after) = after.split_at_checked(length).ok_or_else(cut)?;
        entries.push(entry);
        rest = after;
    }
    count_fits(entries.len())?;
    Ok(entries)
}

const fn count_fits(count: usize) -> Result<(), TileError> {
    match count {
        1..=256 => Ok(()),
        _ => Err(TileError::BundleCount(count)),
    }
}

/// A [`NodeReader`] over hash tiles of a log of `size` entries, through `fetch(tile)`, which returns
/// the hashes of at least the tile's width (a full tile may stand in for a partial one).
///
/// What is fetched need not be trusted: a wrong hash makes a proof that fails. Nothing is cached;
/// `fetch` may.
#[derive(Debug)]
pub struct TileNodes<F> {
    size: u64,
    fetch: F,
}

/// What goes wrong when reading nodes from tiles.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TileNodeError<E> {
    /// `fetch` failed.
    #[error(transparent)]
    Fetch(E),
    /// A log of this size has no such node, or the tile fetched lacks it.
    #[error("the log's tiles do not hold node {index} of level {level}")]
    Missing {
        /// Level of the node, 0 for leaves.
        level: u8,
        /// Index in the level.
        index: u64,
    },
}

impl<F> TileNodes<F> {
    /// Reads the tiles of a log of `size` entries through `fetch`.
    pub const fn new(size: u64, fetch: F) -> Self {
        Self { size, fetch }
    }
}

impl<E, F: FnMut(&Tile) -> Result<Vec<Hash>, E>> NodeReader for TileNodes<F> {
    type Error = TileNodeError<E>;

    fn node(&mut self, level: u8, index: u64) -> Result<Hash, Self::Error> {
        let missing = || TileNodeError::Missing { level, index };
        // A node between two tile levels is the root over 2^(level mod 8) hashes of the lower one.
        let (tile_level, span) = (level / 8, 1_u64 << (level % 8));
        let first = index.checked_mul(span).ok_or_else(missing)?;
        let full = u64::from(FULL_WIDTH);
        let mut tile = Tile {
            kind: TileKind::Hashes(tile_level),
            index: first / full,
            width: FULL_WIDTH,
        };
        tile.width = tile.width_at(self.size).ok_or_else(missing)?;
        let hashes = (self.fetch)(&tile).map_err(TileNodeError::Fetch)?;
        let start = usize::try_from(first % full).map_err(|_e| missing())?;
        let span = usize::try_from(span).map_err(|_e| missing())?;
        hashes
            .get(start..start + span)
            .map(root_of)
            .ok_or_else(missing)
    }
}

#[cfg(test)]
mod tests;
