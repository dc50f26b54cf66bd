//! Reading the log beside its writer: delivery, verification, status.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use sqlx::sqlite::SqliteConnection;

use super::{BufferError, Catalogue, FileInfo, Row, at, day, day_files, with_set_aside};
use crate::sqlite::{self, Mode, to_sql};

/// Reads rows in index order across day files. Keeps one file open.
#[derive(Debug)]
pub struct LogReader {
    catalogue: Catalogue,
    open: Option<(PathBuf, SqliteConnection)>,
}

impl LogReader {
    pub(super) const fn new(catalogue: Catalogue) -> Self {
        Self {
            catalogue,
            open: None,
        }
    }

    /// A reader of a directory that a running gateway may be writing to.
    ///
    /// Opens read-only and never changes a file; what is sealed later is not seen.
    ///
    /// # Errors
    ///
    /// [`BufferError`] when the directory cannot be read. Unreadable files are left out.
    pub async fn of_dir(dir: &std::path::Path) -> Result<Self, BufferError> {
        let mut files = Vec::new();
        for path in day_files(dir)? {
            let Ok(mut connection) = sqlite::open(&path, Mode::Reader).await else {
                continue;
            };
            let bounds: Result<(Option<i64>, Option<i64>), sqlx::Error> =
                sqlx::query_as("SELECT min(idx), max(idx) FROM entry")
                    .fetch_one(&mut connection)
                    .await;
            if let Ok((Some(first), Some(last))) = bounds {
                let first = sqlite::from_sql(first).map_err(at(&path))?;
                let last = sqlite::from_sql(last).map_err(at(&path))?;
                files.push(FileInfo {
                    path,
                    first,
                    end: last + 1,
                });
            }
        }
        files.sort_by_key(|info| (info.first, info.end));
        if let Some(data_dir) = dir.parent() {
            files = with_set_aside(files, &data_dir.join("quarantine")).await;
        }
        Ok(Self::new(Arc::new(RwLock::new(files))))
    }

    /// The index after the last row, and the index of the first.
    #[must_use]
    pub fn bounds(&self) -> (u64, u64) {
        let files = self
            .catalogue
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let first = files.first().map_or(0, |info| info.first);
        let end = files.last().map_or(0, |info| info.end);
        (first, end)
    }

    /// The files, oldest first.
    #[must_use]
    pub fn files(&self) -> Vec<FileInfo> {
        self.catalogue
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Rows from `first` on, below `end`, at most `most_rows` of one file; stops after the row that
    /// makes the sum of entries and payloads reach `most_bytes`.
    ///
    /// Empty only when `first` is not below `end`.
    ///
    /// # Errors
    ///
    /// [`BufferError::Missing`] when no file holds `first`.
    pub async fn rows(
        &mut self,
        first: u64,
        end: u64,
        most_rows: u32,
        most_bytes: usize,
    ) -> Result<Vec<Row>, BufferError> {
        if first >= end {
            return Ok(Vec::new());
        }
        let info = self.file_of(first)?;
        let end = end.min(info.end);
        let mut rows = Vec::new();
        let mut bytes = 0;
        // Row by row: one payload in memory at a time beside what is returned.
        for index in (first..end).take(usize::try_from(most_rows).unwrap_or(usize::MAX)) {
            let connection = self.connection(&info).await?;
            let row = day::row_of(connection, index)
                .await
                .map_err(at(&info.path))?;
            let Some(row) = row else { break };
            bytes += row.entry.len() + row.payload.as_ref().map_or(0, Vec::len);
            rows.push(row);
            if bytes >= most_bytes {
                break;
            }
        }
        if rows.is_empty() {
            return Err(self.missing(first, info.end));
        }
        Ok(rows)
    }

    /// One row, or `None` past the end.
    ///
    /// # Errors
    ///
    /// [`BufferError`].
    pub async fn row(&mut self, index: u64) -> Result<Option<Row>, BufferError> {
        if index >= self.bounds().1 {
            return Ok(None);
        }
        Ok(self.rows(index, index + 1, 1, usize::MAX).await?.pop())
    }

    /// The chain's state before the oldest row, as its file holds it; `None` for an empty directory.
    ///
    /// # Errors
    ///
    /// [`BufferError`].
    pub async fn beginning(&self) -> Result<Option<Vec<u8>>, BufferError> {
        let Some(oldest) = self.files().first().cloned() else {
            return Ok(None);
        };
        day::snapshot(&oldest.path)
            .await
            .map(Some)
            .map_err(at(&oldest.path))
    }

    /// The first index of the newest file and the chain's state before it; `None` for an empty
    /// directory.
    ///
    /// # Errors
    ///
    /// [`BufferError`].
    pub async fn newest_state(&self) -> Result<Option<(u64, Vec<u8>)>, BufferError> {
        self.state_of_newest(1).await
    }

    /// As [`LogReader::newest_state`], before the newest `count` files, or as many of them as follow
    /// each other without a gap.
    ///
    /// # Errors
    ///
    /// [`BufferError`].
    pub async fn state_of_newest(
        &self,
        count: usize,
    ) -> Result<Option<(u64, Vec<u8>)>, BufferError> {
        let mut files = self.files();
        let Some(mut newest) = files.pop() else {
            return Ok(None);
        };
        for _ in 1..count {
            match files.pop() {
                Some(before) if before.end == newest.first => newest = before,
                _ => break,
            }
        }
        let state = day::snapshot(&newest.path).await;
        let state = state.map_err(at(&newest.path))?;
        Ok(Some((newest.first, state)))
    }

    /// The first entry in `from..end` whose payload is in its file.
    ///
    /// # Errors
    ///
    /// [`BufferError`].
    pub async fn first_payload(&mut self, from: u64, end: u64) -> Result<Option<u64>, BufferError> {
        for info in self.files() {
            if info.end <= from || info.first >= end {
                continue;
            }
            let connection = self.connection(&info).await?;
            let first: Option<i64> = sqlx::query_scalar(
                "SELECT min(idx) FROM entry WHERE idx >= $1 AND idx < $2 AND payload IS NOT NULL",
            )
            .bind(to_sql(from).map_err(at(&info.path))?)
            .bind(to_sql(end).map_err(at(&info.path))?)
            .fetch_one(connection)
            .await
            .map_err(at(&info.path))?;
            if let Some(first) = first {
                return sqlite::from_sql(first).map(Some).map_err(at(&info.path));
            }
        }
        Ok(None)
    }

    /// Bytes of entries and payloads in `first..end`.
    ///
    /// # Errors
    ///
    /// [`BufferError`].
    pub async fn payload_bytes(&mut self, first: u64, end: u64) -> Result<u64, BufferError> {
        let mut total = 0_u64;
        for info in self.files() {
            if info.end <= first || info.first >= end {
                continue;
            }
            let connection = self.connection(&info).await?;
            let bytes: i64 = sqlx::query_scalar(
                "SELECT coalesce(sum(length(entry) + coalesce(length(payload), 0)), 0) FROM entry \
                 WHERE idx >= $1 AND idx < $2",
            )
            .bind(to_sql(first).map_err(at(&info.path))?)
            .bind(to_sql(end).map_err(at(&info.path))?)
            .fetch_one(connection)
            .await
            .map_err(at(&info.path))?;
            total += sqlite::from_sql(bytes).map_err(at(&info.path))?;
        }
        Ok(total)
    }

    fn file_of(&self, index: u64) -> Result<FileInfo, BufferError> {
        let files = self
            .catalogue
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let found = files
            .iter()
            .rfind(|info| info.first <= index && index < info.end)
            .cloned();
        let next = files
            .iter()
            .map(|info| info.first)
            .find(|&first| first > index);
        drop(files);
        found.ok_or_else(|| self.missing(index, next.unwrap_or(index + 1)))
    }

    fn missing(&self, missing_from: u64, missing_to: u64) -> BufferError {
        let files = self
            .catalogue
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let dir = files
            .last()
            .and_then(|info| info.path.parent())
            .map(PathBuf::from);
        BufferError::Missing {
            missing_from,
            missing_to,
            dir: dir.unwrap_or_default(),
        }
    }

    async fn connection(&mut self, info: &FileInfo) -> Result<&mut SqliteConnection, BufferError> {
        if self
            .open
            .as_ref()
            .is_none_or(|(path, _)| *path != info.path)
        {
            let connection = sqlite::open(&info.path, Mode::Reader)
                .await
                .map_err(at(&info.path))?;
            self.open = Some((info.path.clone(), connection));
        }
        self.open
            .as_mut()
            .map(|(_, connection)| connection)
            .ok_or_else(|| missing_connection(info))
    }
}

fn missing_connection(info: &FileInfo) -> BufferError {
    BufferError::Files(std::io::Error::other(format!(
        "`{}` is not open",
        info.path.display()
    )))
}
