//! The one way a row comes into the log, with everything that may fail on it.

use std::path::PathBuf;
use std::sync::PoisonError;

use evidence::hash::Hash;

use super::day::DayFile;
use super::{Buffer, BufferError, FileInfo, Head, Row, at, no_file, remove_database};
use crate::clock::UtcDay;
use crate::faults::{Step, Strike, planned};
use crate::quarantine::set_aside;

/// Makes the chain's state as bytes; costly for large tables, so only when a file begins.
pub type Snapshot<'a> = &'a (dyn Fn() -> Vec<u8> + Send + Sync);

/// What a new day file needs to know.
struct Beginning<'a> {
    head: Head,
    day: UtcDay,
    snapshot: Snapshot<'a>,
}

impl Buffer {
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
}
