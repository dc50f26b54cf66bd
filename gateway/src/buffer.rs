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

use evidence::entry::Entry;
use evidence::hash::Hash;
use evidence::merkle::CompactRange;
use thiserror::Error;

use crate::clock::UtcDay;
use crate::durable;
use crate::faults::{Faults, Step, Strike, planned};
use crate::journal::{is_damage, set_aside};
use crate::sqlite::is_full;

mod day;
mod reader;
pub(crate) mod space;

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

    /// Appends `row` after `head` in one transaction and reads it back.
    ///
    /// `snapshot` makes the chain's state before this row, when a new file begins. On return the
    /// row is on disk and the returned row is what a second connection read from it; the caller
    /// verifies it before it may leave. After a failed commit the file is closed, reopened and
    /// read: if the row is there it counts, otherwise the same bytes are inserted once more; after a
    /// second failure a new file is begun and the failed one set aside, which the returned sentence
    /// says.
    ///
    /// # Errors
    ///
    /// [`BufferError::Full`] when there is no room (nothing was appended),
    /// [`BufferError::Forked`] when the position is taken, otherwise what failed last.
    pub async fn append(
        &mut self,
        row: &Row,
        head: Head,
        leaf: Hash,
        day: UtcDay,
        snapshot: Snapshot<'_>,
    ) -> Result<(Row, Option<String>), BufferError> {
        let begins = Beginning {
            head,
            day,
            snapshot,
        };
        if self.begins_anew(day) {
            self.begin_file(&begins).await?;
        }
        let mut said = None;
        if let Err(first) = self.try_append(row, head, leaf).await {
            if let BufferError::Died(_) | BufferError::Forked { .. } = first {
                return Err(first);
            }
            tracing::warn!(
                index = row.index,
                "Reopening the day file after a failed commit: {first}"
            );
            self.reopen().await?;
            if !self.holds(row).await? {
                if let BufferError::Full { .. } = first {
                    return Err(first);
                }
                if let Err(second) = self.try_append(row, head, leaf).await {
                    match second {
                        BufferError::Died(_)
                        | BufferError::Forked { .. }
                        | BufferError::Full { .. } => return Err(second),
                        _ => {}
                    }
                    if !self.reopen_and_look(row).await {
                        said = Some(self.abandon_newest(&begins, &second).await?);
                        self.try_append(row, head, leaf).await?;
                    }
                }
            }
        }
        self.extend_catalogue(row.index + 1);
        self.die_if(Step::Committed)?;
        let stored = match self.read_back(row).await {
            Ok(stored) => stored,
            Err(BufferError::Died(step)) => return Err(BufferError::Died(step)),
            Err(first) => {
                // It has not left, and what is inserted again are the same bytes.
                tracing::warn!(index = row.index, "Reading a row again: {first}");
                self.reopen().await?;
                match self.read_back(row).await {
                    Ok(stored) => stored,
                    Err(second) => {
                        said = Some(self.abandon_newest(&begins, &second).await?);
                        self.try_append(row, head, leaf).await?;
                        self.extend_catalogue(row.index + 1);
                        self.read_back(row).await?
                    }
                }
            }
        };
        Ok((stored, said))
    }

    async fn try_append(&mut self, row: &Row, head: Head, leaf: Hash) -> Result<(), BufferError> {
        let strike = self.faults.strike(Step::Commit);
        if strike == Strike::Die {
            return Err(BufferError::Died(Step::Commit));
        }
        let dir = self.dir.clone();
        let file = self.newest.as_mut().ok_or_else(|| no_file(&dir))?;
        let path = file.path().to_owned();
        if strike == Strike::Fail {
            return Err(at(&path)(planned(Step::Commit)));
        }
        let moved = file.append(row, head, leaf).await.map_err(at(&path))?;
        if strike == Strike::FailButPersist {
            return Err(at(&path)(planned(Step::Commit)));
        }
        // The head is elsewhere: our own row from an attempt that reported failure, or a fork.
        if moved || self.holds(row).await? {
            Ok(())
        } else {
            Err(BufferError::Forked {
                index: row.index,
                path,
            })
        }
    }

    /// Whether the newest file holds exactly this row; other bytes at its place are a fork.
    async fn holds(&mut self, row: &Row) -> Result<bool, BufferError> {
        let dir = self.dir.clone();
        let file = self.newest.as_mut().ok_or_else(|| no_file(&dir))?;
        let path = file.path().to_owned();
        match file.row(row.index).await.map_err(at(&path))? {
            None => Ok(false),
            Some(stored) if stored == *row => Ok(true),
            Some(_) => Err(BufferError::Forked {
                index: row.index,
                path,
            }),
        }
    }

    /// After a second failure: whether the row is there after all. A file that does not even open
    /// does not hold it for us; it is set aside next.
    async fn reopen_and_look(&mut self, row: &Row) -> bool {
        self.reopen().await.is_ok() && self.holds(row).await.unwrap_or(false)
    }

    /// Closes the newest file and opens it again, so that nothing of a failed connection is reused.
    async fn reopen(&mut self) -> Result<(), BufferError> {
        let Some(info) = self.files().last().cloned() else {
            return Ok(());
        };
        if let Some(file) = self.newest.take() {
            file.abandon().await;
        }
        let file = DayFile::open(&info, self.max_file_bytes)
            .await
            .map_err(at(&info.path))?;
        self.newest = Some(file);
        Ok(())
    }

    async fn begin_file(&mut self, begins: &Beginning<'_>) -> Result<(), BufferError> {
        let strike = self.faults.strike(Step::NewFile);
        if strike == Strike::Die {
            return Err(BufferError::Died(Step::NewFile));
        }
        let path = self.free_name(begins.day);
        if strike == Strike::Fail {
            return Err(at(&path)(planned(Step::NewFile)));
        }
        let file = DayFile::create(
            &path,
            begins.day,
            begins.head,
            &(begins.snapshot)(),
            self.max_file_bytes,
        )
        .await;
        let file = match file {
            Ok(file) => file,
            Err(error) => {
                // Nothing was committed to it, and the next attempt starts from nothing.
                remove_database(&path)?;
                return Err(at(&path)(error));
            }
        };
        if let Some(old) = self.newest.replace(file) {
            let path = old.path().to_owned();
            old.close().await.map_err(at(&path))?;
        }
        let info = FileInfo {
            path,
            first: begins.head.size,
            end: begins.head.size,
        };
        self.catalogue
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(info);
        if strike == Strike::FailButPersist {
            return Err(no_file(&self.dir));
        }
        Ok(())
    }

    /// Sets the newest file aside after two failures and begins another at the same position.
    ///
    /// Its earlier rows stay readable from the quarantine as far as the file can be read at all.
    async fn abandon_newest(
        &mut self,
        begins: &Beginning<'_>,
        why: &BufferError,
    ) -> Result<String, BufferError> {
        if let Some(file) = self.newest.take() {
            file.abandon().await;
        }
        let old = {
            let mut files = self
                .catalogue
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            files.pop()
        };
        let mut said = format!("a day file failed twice ({why})");
        if let Some(mut info) = old {
            let from = info.path.clone();
            info.path = set_aside(&from, &self.quarantine)?;
            info.end = begins.head.size;
            said = format!(
                "day file {} failed twice ({why}) and was moved to {}",
                from.display(),
                info.path.display()
            );
            if info.first < info.end {
                self.catalogue
                    .write()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(info);
            }
        }
        self.begin_file(begins).await?;
        Ok(said)
    }

    /// The row as a second connection reads it, if it is what was written.
    async fn read_back(&self, row: &Row) -> Result<Row, BufferError> {
        let index = row.index;
        let path = self
            .files()
            .last()
            .map(|info| info.path.clone())
            .unwrap_or_default();
        match self.faults.strike(Step::ReadBack) {
            Strike::Die => return Err(BufferError::Died(Step::ReadBack)),
            Strike::Fail | Strike::FailButPersist => {
                return Err(at(&path)(planned(Step::ReadBack)));
            }
            Strike::Nothing => {}
        }
        let file = self.newest.as_ref().ok_or_else(|| no_file(&self.dir))?;
        let why = match file.read_back(index).await.map_err(at(&path))? {
            Some(stored) if stored == *row => return Ok(stored),
            Some(_) => "its bytes differ",
            None => "it is not there",
        };
        Err(BufferError::Unreadable {
            index,
            path,
            why: why.to_owned(),
        })
    }

    fn extend_catalogue(&self, end: u64) {
        let mut files = self
            .catalogue
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(info) = files.last_mut() {
            info.end = end;
        }
    }

    fn die_if(&self, step: Step) -> Result<(), BufferError> {
        if self.faults.strike(step) == Strike::Die {
            Err(BufferError::Died(step))
        } else {
            Ok(())
        }
    }

    /// `log-<day>.db`, or with a number behind the day when that file exists: the clock went back, or
    /// the first file of the day was set aside.
    fn free_name(&self, day: UtcDay) -> PathBuf {
        let plain = self.dir.join(format!("log-{day}.db"));
        if !plain.exists() {
            return plain;
        }
        (2_u32..)
            .map(|number| self.dir.join(format!("log-{day}.{number}.db")))
            .find(|path| !path.exists())
            .unwrap_or(plain)
    }

    /// Removes the oldest file if all its entries are below `acknowledged` and it is not the newest.
    ///
    /// # Errors
    ///
    /// Any error of the file system.
    pub fn forget_oldest(&self, acknowledged: u64) -> std::io::Result<Option<PathBuf>> {
        let mut files = self.catalogue.write().unwrap_or_else(PoisonError::into_inner);
        let removable = files.len() > 1 && files.first().is_some_and(|info| info.end <= acknowledged);
        if !removable {
            return Ok(None);
        }
        let info = files.remove(0);
        drop(files);
        remove_database(&info.path)?;
        Ok(Some(info.path))
    }

    /// Removes files whose every entry is below `acknowledged` and was sealed before `unix_ms`.
    ///
    /// # Errors
    ///
    /// [`BufferError`].
    pub async fn forget_before(
        &self,
        unix_ms: u64,
        acknowledged: u64,
    ) -> Result<Vec<PathBuf>, BufferError> {
        let mut removed = Vec::new();
        loop {
            let files = self.files();
            let (Some(oldest), true) = (files.first(), files.len() > 1) else { break };
            if oldest.end > acknowledged {
                break;
            }
            let last = self.reader().row(oldest.end - 1).await?;
            let sealed_ms = last
                .and_then(|row| Entry::parse(&row.entry).ok().map(|signed| signed.entry.clock.unix_ms));
            // A file whose last entry cannot be read or had no time goes with its successor.
            if sealed_ms.is_none_or(|sealed_ms| sealed_ms >= unix_ms) {
                break;
            }
            removed.extend(self.forget_oldest(acknowledged)?);
        }
        Ok(removed)
    }

    /// Drops the payloads of the data entries in `from..to`. Entries and control bodies stay.
    ///
    /// # Errors
    ///
    /// [`BufferError`].
    pub async fn drop_payloads(&mut self, from: u64, to: u64) -> Result<(), BufferError> {
        let files = self.files();
        let newest = files.len().saturating_sub(1);
        for (position, info) in files.iter().enumerate() {
            let (from, to) = (from.max(info.first), to.min(info.end));
            if from >= to {
                continue;
            }
            let dropped = if position == newest {
                let dir = self.dir.clone();
                let file = self.newest.as_mut().ok_or_else(|| no_file(&dir))?;
                file.drop_payloads(from, to).await
            } else {
                day::drop_payloads_of(&info.path, from, to).await
            };
            dropped.map_err(at(&info.path))?;
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

/// Makes the chain's state as bytes; costly for large tables, so only when a file begins.
pub type Snapshot<'a> = &'a (dyn Fn() -> Vec<u8> + Send + Sync);

/// What a new day file needs to know.
struct Beginning<'a> {
    head: Head,
    day: UtcDay,
    snapshot: Snapshot<'a>,
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

/// Removes a database and its side files, the database last.
pub(crate) fn remove_database(path: &Path) -> std::io::Result<()> {
    for suffix in ["-wal", "-shm", "-journal", ""] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        durable::remove_file(Path::new(&name))?;
    }
    Ok(())
}
