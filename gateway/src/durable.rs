//! Small files that survive a power cut: written beside, synced, renamed, directory synced.
//!
//! Every file of the gateway that is not SQLite goes through here. After a failed sync the state
//! of a file is unknown on Linux; the callers therefore treat an error as "not written" and write
//! the whole file again, never a part of it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Mode 0600: keys and tokens.
    Owner,
    /// Mode 0644: state that anyone on the machine may read.
    All,
}

impl Access {
    const fn mode(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::All => 0o644,
        }
    }
}

/// Replaces or creates `path` with `bytes`; on return the content survives a power cut.
///
/// If the process dies inside, the old content (or absence) is still there, with at most a
/// leftover `<name>.tmp` that the next call overwrites.
///
/// # Errors
///
/// Any error of the file system, with the path; the old content is then still in place unless the
/// directory's own sync failed, in which case either content may be found.
pub fn write_file(path: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
    replace(path, access, true, |file| file.write_all(bytes))
        .map_err(|error| named(path, "write", &error))
}

/// Replaces `path` by what `content` writes, at once for readers, without waiting for the disk.
///
/// For files that are worth nothing after a power cut, such as the published status.
///
/// # Errors
///
/// Any error of `content` or of the file system, with the path; the old content is then in place.
pub fn publish_file(
    path: &Path,
    access: Access,
    content: impl FnOnce(&mut BufWriter<&mut File>) -> io::Result<()>,
) -> io::Result<()> {
    let buffered = |file: &mut File| {
        let mut buffered = BufWriter::new(file);
        content(&mut buffered)?;
        buffered.flush()
    };
    replace(path, access, false, buffered).map_err(|error| named(path, "write", &error))
}

fn replace(
    path: &Path,
    access: Access,
    sync: bool,
    content: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let temporary = temporary_name(path)?;
    match std::fs::remove_file(&temporary) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(access.mode())
        .open(&temporary)?;
    content(&mut file)?;
    if sync {
        file.sync_all()?;
    }
    drop(file);
    rustix::fs::rename(&temporary, path)?;
    if sync {
        sync_parent(path)?;
    }
    Ok(())
}

/// Creates `path` with `bytes` and fails if something is already there.
///
/// For key seeds: an existing identity is never overwritten. A crash inside leaves either nothing
/// under `path` or the whole content.
///
/// # Errors
///
/// [`io::ErrorKind::AlreadyExists`] when `path` exists; otherwise any error of the file system.
pub fn create_file(path: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
    if path.exists() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!(
                "`{}` exists already and is never overwritten",
                path.display()
            ),
        ));
    }
    write_file(path, bytes, access)
}

/// Moves a file within one file system; on return the move survives a power cut.
///
/// # Errors
///
/// Any error of the file system, with the path.
pub fn move_file(from: &Path, to: &Path) -> io::Result<()> {
    let moved = rustix::fs::rename(from, to).map_err(io::Error::from);
    moved
        .and_then(|()| sync_parent(to))
        .and_then(|()| sync_parent(from))
        .map_err(|error| named(from, "move", &error))
}

/// Removes a file; absence is fine. On return the removal survives a power cut.
///
/// # Errors
///
/// Any error of the file system other than absence, with the path.
pub fn remove_file(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Ok(()) => sync_parent(path).map_err(|error| named(path, "remove", &error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(named(path, "remove", &error)),
    }
}

/// Overwrites a secret with zeros, syncs, and removes it.
///
/// Best effort by nature: wear levelling and snapshots may keep the old blocks. The log's defence
/// does not rest on this alone (witnesses bound what a recovered old key can do).
///
/// # Errors
///
/// Any error of the file system other than absence, with the path.
pub fn erase_file(path: &Path) -> io::Result<()> {
    let length = match std::fs::metadata(path) {
        Ok(metadata) => usize::try_from(metadata.len()).unwrap_or(4096),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(named(path, "erase", &error)),
    };
    let overwritten = OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| {
            file.write_all(&vec![0; length])?;
            file.sync_all()
        });
    overwritten.map_err(|error| named(path, "erase", &error))?;
    remove_file(path)
}

/// Reads a small file; `None` when it does not exist.
///
/// # Errors
///
/// Any error of the file system other than absence, or a file larger than 1 MiB, with the path.
pub fn read_file(path: &Path) -> io::Result<Option<Vec<u8>>> {
    const LIMIT: u64 = 1 << 20;
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(named(path, "read", &error)),
    };
    let mut bytes = Vec::new();
    file.take(LIMIT + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| named(path, "read", &error))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > LIMIT {
        let error = io::Error::new(io::ErrorKind::InvalidData, "larger than 1 MiB");
        return Err(named(path, "read", &error));
    }
    Ok(Some(bytes))
}

/// Creates a directory (mode 0750, parents included) if it is absent, and syncs its parent.
///
/// # Errors
///
/// Any error of the file system, with the path.
pub fn create_dir(path: &Path) -> io::Result<()> {
    make_dir(path, 0o750)
}

/// Creates a directory that only its owner may enter (mode 0700), and syncs its parent.
///
/// # Errors
///
/// Any error of the file system, with the path.
pub fn create_private_dir(path: &Path) -> io::Result<()> {
    make_dir(path, 0o700)
}

fn make_dir(path: &Path, mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .and_then(|()| sync_parent(path))
        .map_err(|error| named(path, "create directory", &error))
}

/// Makes the names inside `path`'s directory survive a power cut.
///
/// # Errors
///
/// Any error of the file system.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent)?.sync_all()
}

fn temporary_name(path: &Path) -> io::Result<PathBuf> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "path has no file name"))?;
    let mut temporary = name.to_os_string();
    temporary.push(".tmp");
    Ok(path.with_file_name(temporary))
}

fn named(path: &Path, what: &str, error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("cannot {what} `{}`: {error}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::{Access, create_file, erase_file, read_file, remove_file, write_file};

    #[test]
    fn a_file_is_replaced_as_a_whole_and_keeps_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        write_file(&path, b"first", Access::Owner).unwrap();
        write_file(&path, b"2", Access::Owner).unwrap();
        assert_eq!(read_file(&path).unwrap().unwrap(), b"2");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!dir.path().join("token.tmp").exists());
    }

    #[test]
    fn an_existing_key_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.key");
        create_file(&path, b"seed", Access::Owner).unwrap();
        let error = create_file(&path, b"other", Access::Owner).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
        assert_eq!(read_file(&path).unwrap().unwrap(), b"seed");
    }

    #[test]
    fn erasing_and_removing_what_is_absent_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("entry.key");
        write_file(&path, b"seed", Access::Owner).unwrap();
        erase_file(&path).unwrap();
        assert_eq!(read_file(&path).unwrap(), None);
        erase_file(&path).unwrap();
        remove_file(&path).unwrap();
    }

    #[test]
    fn a_leftover_of_a_crash_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        write_file(&dir.path().join("state.tmp"), b"torn", Access::All).unwrap();
        write_file(&path, b"whole", Access::All).unwrap();
        assert_eq!(read_file(&path).unwrap().unwrap(), b"whole");
    }
}
