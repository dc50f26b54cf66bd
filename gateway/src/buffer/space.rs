//! How much room the log may take and what is left: byte limit, free-space floor, ballast.

use std::io;
use std::path::{Path, PathBuf};

use crate::durable::{self, Access};

/// The bounds of the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpaceLimits {
    /// Most bytes of all day files together.
    pub max_bytes: u64,
    /// Bytes that stay free on the file system, whatever `max_bytes` allows.
    pub min_free_bytes: u64,
    /// Size of the ballast file in bytes: room for the record that says why it stopped.
    pub ballast_bytes: u64,
}

/// What is used and what is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes of all day files with their WAL.
    pub used_bytes: u64,
    /// Bytes that the file system would still give.
    pub free_bytes: u64,
}

impl Space {
    /// Measures the directory of the day files.
    ///
    /// # Errors
    ///
    /// Any error of the file system.
    pub fn of(dir: &Path) -> io::Result<Self> {
        let mut used_bytes = 0;
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("log-") {
                // A file that vanishes while we look no longer counts.
                used_bytes += entry.metadata().map_or(0, |metadata| metadata.len());
            }
        }
        let volume = rustix::fs::statvfs(dir)?;
        Ok(Self {
            used_bytes,
            free_bytes: volume.f_bavail * volume.f_frsize,
        })
    }

    /// Bytes that may still be written within `limits`.
    #[must_use]
    pub fn room(&self, limits: &SpaceLimits) -> u64 {
        let by_limit = limits.max_bytes.saturating_sub(self.used_bytes);
        by_limit.min(self.free_bytes.saturating_sub(limits.min_free_bytes))
    }
}

/// The ballast: a file without meaning that is given up when the disk is full.
fn ballast_path(dir: &Path) -> PathBuf {
    dir.join("ballast")
}

/// Puts the ballast in place if it is absent and there is room for it.
///
/// # Errors
///
/// Any error of the file system other than a full disk.
pub(crate) fn place_ballast(dir: &Path, bytes: u64) -> io::Result<()> {
    let path = ballast_path(dir);
    let present = std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() == bytes);
    if present || bytes == 0 {
        return Ok(());
    }
    // Bytes that no file system stores as a hole or compresses away.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let length = usize::try_from(bytes).unwrap_or(0);
    let content: Vec<u8> = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_be_bytes()
    })
    .flatten()
    .take(length)
    .collect();
    match durable::write_file(&path, &content, Access::All) {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => durable::remove_file(&path),
        result => result,
    }
}

/// Gives the ballast up.
///
/// # Errors
///
/// Any error of the file system other than absence.
pub(crate) fn release_ballast(dir: &Path) -> io::Result<()> {
    durable::remove_file(&ballast_path(dir))
}

#[cfg(test)]
mod tests {
    use super::{Space, SpaceLimits, place_ballast, release_ballast};

    #[test]
    fn room_is_the_smaller_of_limit_and_floor() {
        let limits = SpaceLimits {
            max_bytes: 1000,
            min_free_bytes: 300,
            ballast_bytes: 0,
        };
        assert_eq!(
            Space {
                used_bytes: 400,
                free_bytes: 5000
            }
            .room(&limits),
            600
        );
        assert_eq!(
            Space {
                used_bytes: 400,
                free_bytes: 350
            }
            .room(&limits),
            50
        );
        assert_eq!(
            Space {
                used_bytes: 1400,
                free_bytes: 100
            }
            .room(&limits),
            0
        );
    }

    #[test]
    fn ballast_takes_room_until_it_is_released() {
        let dir = tempfile::tempdir().unwrap();
        place_ballast(dir.path(), 40_000).unwrap();
        assert_eq!(
            std::fs::metadata(dir.path().join("ballast")).unwrap().len(),
            40_000
        );
        assert_eq!(
            Space::of(dir.path()).unwrap().used_bytes,
            0,
            "ballast is not the log"
        );
        release_ballast(dir.path()).unwrap();
        release_ballast(dir.path()).unwrap();
    }
}
