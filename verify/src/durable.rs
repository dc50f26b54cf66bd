//! Files that survive a power cut: written beside, synced, renamed, directory synced.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Replaces or creates `path` with `bytes`. If the process dies inside, the old content is still
/// there, with at most a leftover `<name>.tmp` that the next call overwrites.
///
/// # Errors
/// Any of the file system, with the path.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = beside(path, ".tmp");
    let replaced = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        rename(&temporary, path)
    };
    replaced().map_err(|error| {
        io::Error::new(error.kind(), format!("writing {}: {error}", path.display()))
    })
}

/// Moves a finished file to its name and syncs the directory.
///
/// # Errors
/// Any of the file system.
#[expect(clippy::disallowed_methods, reason = "the directory is synced here")]
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)?;
    let folder = match to.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

/// The path with something appended to its name.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
