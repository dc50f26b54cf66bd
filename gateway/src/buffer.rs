//! The buffer: the gateway's own copy of its log, one SQLite file per UTC day.
//!
//! The newest row is the head of the log and the only source of truth. A row holds everything of
//! one entry and is written in one transaction that also moves the head by compare-and-swap; it is
//! read back and checked by the recorder before a byte of it may leave. Entries are never deleted
//! one by one: retention unlinks whole files.
//!
//! Who can write these files can destroy unsent readings; he cannot change one unnoticed once the
//! collector has cosigned it, and without the entry key not even before.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use evidence::hash::Hash;
use evidence::merkle::CompactRange;
use thiserror::Error;

use crate::clock::UtcDay;
use crate::durable;
use crate::faults::{Faults, Step};
use crate::quarantine::{is_damage, set_aside};
use crate::sqlite::is_full;

mod append;
mod day;
mod reader;
mod retention;
pub(crate) mod space;

pub use append::Snapshot;
pub use reader::LogReader;
pub use space::{Space, SpaceLimits};

use day::{DayFile, Opened};

/// Why the buffer cannot do what was asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BufferError {
    /// SQLite refused.
    #[error("the day file `{path}` failed")]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: sqlx::Error,
    },
    /// The file system refused.
    #[error("the buffer's directory failed")]
    Files(#[from] std::io::Error),
    /// No room: the disk, or the page limit of the file.
    #[error("no room is left for `{path}`")]
    Full {
        /// The file that could not grow.
        path: PathBuf,
    },
    /// The position holds other bytes than ours: two writers, or a manipulated file.
    #[error(
        "index {index} of the log is already taken by other bytes in `{path}`; \
         is a second gateway writing to this directory?"
    )]
    Forked {
        /// The position.
        index: u64,
        /// The file.
        path: PathBuf,
    },
    /// A row is not as it was written.
    #[error("row {index} of `{path}` does not read back as written: {why}")]
    Unreadable {
        /// The position.
        index: u64,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The files do not join into one log.
    #[error(
        "entries {missing_from} to {missing_to} of the log are in no readable file under `{dir}`"
    )]
    Missing {
        /// First missing index.
        missing_from: u64,
        /// The index after the last missing one.
        missing_to: u64,
        /// The directory.
        dir: PathBuf,
    },
    /// A planned death, in tests only.
    #[error("the process died by plan at {0:?}")]
    Died(Step),
}

/// One entry with all that belongs to it, exactly as signed, stored and sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Position in the log.
    pub index: u64,
    /// The signed entry.
    pub entry: Vec<u8>,
    /// The payload; `None` when the entry has none or it was dropped.
    pub payload: Option<Vec<u8>>,
    /// The signed checkpoint of size `index + 1`.
    pub checkpoint: Vec<u8>,
    /// The compact range at size `index + 1`.
    pub range: CompactRange,
}

/// Size of the log and leaf hash of its last entry (zeros for the empty log).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Number of entries.
    pub size: u64,
    /// Leaf hash of entry `size - 1`.
    pub leaf: Hash,
}

impl Head {
    /// The head of a log without entries.
    pub const EMPTY: Self = Self {
        size: 0,
        leaf: Hash([0; 32]),
    };
}

/// What is known of one file without opening it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileInfo {
    /// Where it is.
    pub path: PathBuf,
    /// Index of its first row.
    pub first: u64,
    /// Index after its last row.
    pub end: u64,
}

/// The files of the log, oldest first; shared between the buffer and its readers.
pub(crate) type Catalogue = Arc<RwLock<Vec<FileInfo>>>;

/// The writer of the log. There is one per directory; the recorder owns it.
#[derive(Debug)]
pub struct Buffer {
    dir: PathBuf,
    quarantine: PathBuf,
    catalogue: Catalogue,
    newest: Option<DayFile>,
    max_file_bytes: u64,
    faults: Arc<dyn Faults>,
}

/// What opening a buffer found.
#[derive(Debug)]
pub struct Recovered {
    /// The buffer, ready to append.
    pub buffer: Buffer,
    /// Sentences about files that were set aside, for a control entry and the status.
    pub set_aside: Vec<String>,
}

impl Buffer {
    /// Opens every day file of `dir`. An unreadable file is moved to `quarantine`, never fatal.
    ///
    /// `max_file_bytes` bounds each day file.
    ///
    /// # Errors
    ///
    /// [`BufferError`] when the directory itself fails.
    pub async fn open(
        dir: &Path,
        quarantine: &Path,
        max_file_bytes: u64,
        faults: Arc<dyn Faults>,
    ) -> Result<Recovered, BufferError> {
        durable::create_dir(dir)?;
        let mut said = Vec::new();
        let mut files = Vec::new();
        for path in day_files(dir)? {
            match day::open_existing(&path).await {
                Ok(Opened::Log(info)) => files.push(info),
                // The creation was interrupted before its first commit: nothing was ever in it.
                Ok(Opened::NeverBegun) => remove_database(&path)?,
                Err(error) if is_damage(&error) || matches!(error, sqlx::Error::Decode(_)) => {
                    let kept = set_aside(&path, quarantine)?;
                    said.push(format!(
                        "day file {} was unreadable ({error}) and was moved to {}",
                        path.display(),
                        kept.display()
                    ));
                }
                Err(source) => return Err(BufferError::Database { path, source }),
            }
        }
        files.sort_by_key(|info| (info.first, info.end));
        let files = with_set_aside(files, quarantine).await;
        let newest = match files.last() {
            Some(info) => Some(
                DayFile::open(info, max_file_bytes)
                    .await
                    .map_err(at(&info.path))?,
            ),
            None => None,
        };
        let buffer = Self {
            dir: dir.to_owned(),
            quarantine: quarantine.to_owned(),
            catalogue: Arc::new(RwLock::new(files)),
            newest,
            max_file_bytes,
            faults,
        };
        Ok(Recovered {
            buffer,
            set_aside: said,
        })
    }

    /// The head: the newest row of the newest file.
    ///
    /// # Errors
    ///
    /// [`BufferError`] when it cannot be read.
    pub async fn head(&mut self) -> Result<Head, BufferError> {
        match &mut self.newest {
            None => Ok(Head::EMPTY),
            Some(file) => {
                let path = file.path().to_owned();
                file.head().await.map_err(at(&path))
            }
        }
    }

    /// Whether the newest file is of another UTC day, or there is none.
    #[must_use]
    pub fn begins_anew(&self, day: UtcDay) -> bool {
        self.newest.as_ref().is_none_or(|file| !file.is_of(day))
    }

    /// The chain's state before the first row of file number `position`, as stored there.
    ///
    /// # Errors
    ///
    /// [`BufferError`] when it cannot be read.
    pub async fn snapshot(&self, position: usize) -> Result<Option<Vec<u8>>, BufferError> {
        let Some(info) = self.files().get(position).cloned() else {
            return Ok(None);
        };
        day::snapshot(&info.path)
            .await
            .map(Some)
            .map_err(at(&info.path))
    }

    /// The files, oldest first.
    #[must_use]
    pub fn files(&self) -> Vec<FileInfo> {
        self.catalogue
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// A reader beside this writer. It may read past what was released: callers bound it.
    #[must_use]
    pub fn reader(&self) -> LogReader {
        LogReader::new(Arc::clone(&self.catalogue))
    }

    /// Where unreadable files go.
    #[must_use]
    pub fn quarantine(&self) -> &Path {
        &self.quarantine
    }

    /// Sets the newest file aside because its rows do not verify; the one before is the newest then.
    ///
    /// # Errors
    ///
    /// [`BufferError`].
    pub async fn set_newest_aside(&mut self) -> Result<(), BufferError> {
        if let Some(file) = self.newest.take() {
            file.abandon().await;
        }
        let (removed, newest) = {
            let mut files = self
                .catalogue
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            (files.pop(), files.last().cloned())
        };
        if let Some(info) = removed {
            set_aside(&info.path, &self.quarantine)?;
        }
        if let Some(info) = newest {
            let file = DayFile::open(&info, self.max_file_bytes)
                .await
                .map_err(at(&info.path))?;
            self.newest = Some(file);
        }
        Ok(())
    }

    /// Closes the newest file in order.
    ///
    /// # Errors
    ///
    /// [`BufferError::Database`].
    pub async fn close(mut self) -> Result<(), BufferError> {
        match self.newest.take() {
            None => Ok(()),
            Some(file) => {
                let path = file.path().to_owned();
                file.close().await.map_err(at(&path))
            }
        }
    }
}

fn at(path: &Path) -> impl Fn(sqlx::Error) -> BufferError {
    let path = path.to_owned();
    move |source| {
        if is_full(&source) {
            BufferError::Full { path: path.clone() }
        } else {
            BufferError::Database {
                path: path.clone(),
                source,
            }
        }
    }
}

fn no_file(dir: &Path) -> BufferError {
    BufferError::Files(std::io::Error::other(format!(
        "no day file is open in `{}`",
        dir.display()
    )))
}

/// The paths of all day files of a directory, by name.
pub(crate) fn day_files(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("log-") && name.ends_with(".db") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Fills holes between files from the quarantine: a file that failed while it was written to is still
/// read for the rows it had before.
pub(crate) async fn with_set_aside(files: Vec<FileInfo>, quarantine: &Path) -> Vec<FileInfo> {
    let holes: Vec<(u64, u64)> = std::iter::once(0)
        .chain(files.iter().map(|info| info.end))
        .zip(files.iter().map(|info| info.first))
        .filter(|(end, next)| end < next)
        .collect();
    let Ok(entries) = std::fs::read_dir(quarantine) else {
        return files;
    };
    let mut all = files;
    if holes.is_empty() {
        return all;
    }
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !(name.contains("-log-") && name.ends_with(".db")) {
            continue;
        }
        let Ok(Opened::Log(info)) = day::open_existing(&path).await else {
            continue;
        };
        for &(from, to) in &holes {
            let (first, end) = (info.first.max(from), info.end.min(to));
            if first < end {
                all.push(FileInfo {
                    path: path.clone(),
                    first,
                    end,
                });
            }
        }
    }
    all.sort_by_key(|info| (info.first, info.end));
    all
}

/// Removes a database and its side files, the database last.
pub(crate) fn remove_database(path: &Path) -> std::io::Result<()> {
    for suffix in ["-wal", "-shm", "-journal", ""] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        durable::remove_file(Path::new(&name))?;
    }
    Ok(())
}
