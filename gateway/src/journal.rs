//! The write-ahead file: every sample of the open segments, and what must survive beside the log.
//!
//! One SQLite file, `journal.db`, owned by the recorder. Each tick is committed on its own without
//! waiting for the disk: the pages are with the kernel, so a killed process loses nothing it had
//! read. Every `sync_interval_s` one commit is made with `synchronous=FULL`; SQLite then syncs the
//! WAL file as a whole, and with it everything committed before. A power cut therefore loses at most
//! the interval. (`synchronous=OFF` would allow a corrupt file after a cut; `NORMAL` in WAL mode
//! cannot corrupt, it only forgets the newest commits, in order.)
//!
//! The page size is 1 KiB: one tick of 50 points changes one page, and the pages written are the
//! wear of the card.

use std::path::{Path, PathBuf};

use evidence::hash::Hash;
use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use thiserror::Error;

use crate::quarantine::{is_damage, set_aside};
use crate::sqlite::{self, Mode, to_sql};

mod packed;
mod recovery;

pub use packed::{PackedIter, PackedSample, PackedSamples, PackedValue};

/// Why the journal cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JournalError {
    /// SQLite refused.
    #[error("the journal `{path}` failed")]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: sqlx::Error,
    },
    /// The file system refused.
    #[error("the journal's directory failed")]
    Files(#[from] std::io::Error),
    /// A row does not decode: the file was changed by somebody else.
    #[error("the journal `{path}` holds an unreadable sample of stream {stream}, tick {tick}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The stream.
        stream: u16,
        /// The tick.
        tick: u64,
    },
}

/// One committed row: the samples of one tick, or one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalRow {
    /// The stream's id.
    pub stream: u16,
    /// The tick on the stream's axis.
    pub tick: u64,
    /// Messages: milliseconds from the start of the tick; polled streams: 0.
    pub offset_ms: u32,
    /// The shift that places the tick in time, or `None` when the clock was unset.
    pub shift: Option<i64>,
    /// The samples.
    pub samples: PackedSamples,
}

/// The head of the log as the journal last noted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadNote {
    /// Number of entries.
    pub size: u64,
    /// Leaf hash of the last entry.
    pub leaf: Hash,
}

/// The open journal. Owned by the recorder; nobody else writes.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    connection: SqliteConnection,
    next_row: i64,
    unsynced_rows: u64,
}

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS sample (
    id INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL,
    tick INTEGER NOT NULL,
    offset_ms INTEGER NOT NULL,
    shift INTEGER,
    body BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS covered (
    stream INTEGER PRIMARY KEY,
    tick INTEGER NOT NULL,
    shift INTEGER
) STRICT;
CREATE TABLE IF NOT EXISTS note (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
";

impl Journal {
    /// Opens `journal.db` in `dir`, creating it if absent.
    ///
    /// An unreadable file is moved to `quarantine` and a new one started; the second value then
    /// says so in words. What it held is lost: at most the open segments.
    ///
    /// # Errors
    ///
    /// [`JournalError`] when even a new file cannot be opened.
    pub async fn open(
        dir: &Path,
        quarantine: &Path,
    ) -> Result<(Self, Option<String>), JournalError> {
        let path = dir.join("journal.db");
        match Self::try_open(&path).await {
            Ok(journal) => Ok((journal, None)),
            Err(error) if is_damage(&error) => {
                let kept = set_aside(&path, quarantine)?;
                let journal = Self::try_open(&path).await.map_err(failed(&path))?;
                let said = format!(
                    "the journal was unreadable ({error}); it was moved to `{}` and a new one begun",
                    kept.display()
                );
                Ok((journal, Some(said)))
            }
            Err(error) => Err(failed(&path)(error)),
        }
    }

    async fn try_open(path: &Path) -> Result<Self, sqlx::Error> {
        let mut connection = sqlite::open(path, Mode::JournalWriter).await?;
        sqlx::raw_sql(SCHEMA).execute(&mut connection).await?;
        let next_row: i64 = sqlx::query_scalar("SELECT coalesce(max(id), 0) + 1 FROM sample")
            .fetch_one(&mut connection)
            .await?;
        Ok(Self {
            path: path.to_owned(),
            connection,
            next_row,
            unsynced_rows: 0,
        })
    }

    /// Commits one row; on return it survives the death of the process.
    ///
    /// # Errors
    ///
    /// [`JournalError::Database`]; the row is then to be counted as not written.
    pub async fn append(&mut self, row: &JournalRow) -> Result<(), JournalError> {
        let path = self.path.clone();
        self.try_append(row).await.map_err(failed(&path))
    }

    async fn try_append(&mut self, row: &JournalRow) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO sample (id, stream, tick, offset_ms, shift, body) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(self.next_row)
        .bind(i64::from(row.stream))
        .bind(to_sql(row.tick)?)
        .bind(i64::from(row.offset_ms))
        .bind(row.shift)
        .bind(row.samples.as_bytes())
        .execute(&mut self.connection)
        .await?;
        self.next_row += 1;
        self.unsynced_rows += 1;
        Ok(())
    }

    /// Notes that a message stream was listened to up to the end of `tick`, messages or not.
    ///
    /// # Errors
    ///
    /// [`JournalError::Database`].
    pub async fn cover(
        &mut self,
        stream: u16,
        tick: u64,
        shift: Option<i64>,
    ) -> Result<(), JournalError> {
        let path = self.path.clone();
        let tick = to_sql(tick).map_err(failed(&path))?;
        sqlx::query("INSERT OR REPLACE INTO covered (stream, tick, shift) VALUES ($1, $2, $3)")
            .bind(i64::from(stream))
            .bind(tick)
            .bind(shift)
            .execute(&mut self.connection)
            .await
            .map_err(failed(&path))?;
        self.unsynced_rows += 1;
        Ok(())
    }

    /// After a seal: notes the head and forgets the stream's rows before `tick`, in one commit.
    ///
    /// If the process dies before this, the rows are found again at the next start and skipped,
    /// because the log's own tick is past them.
    ///
    /// # Errors
    ///
    /// [`JournalError::Database`].
    pub async fn sealed(
        &mut self,
        head: HeadNote,
        forget: Option<(u16, u64)>,
    ) -> Result<(), JournalError> {
        let path = self.path.clone();
        self.try_sealed(head, forget).await.map_err(failed(&path))
    }

    async fn try_sealed(
        &mut self,
        head: HeadNote,
        forget: Option<(u16, u64)>,
    ) -> Result<(), sqlx::Error> {
        let mut value = head.size.to_be_bytes().to_vec();
        value.extend(head.leaf.as_bytes());
        let mut transaction = self.connection.begin().await?;
        if let Some((stream, tick)) = forget {
            sqlx::query("DELETE FROM sample WHERE stream = $1 AND tick < $2")
                .bind(i64::from(stream))
                .bind(to_sql(tick)?)
                .execute(&mut *transaction)
                .await?;
        }
        sqlx::query("INSERT OR REPLACE INTO note (name, value) VALUES ('head', $1)")
            .bind(value)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        self.unsynced_rows += 1;
        Ok(())
    }

    /// The head as last noted.
    ///
    /// # Errors
    ///
    /// [`JournalError::Database`].
    pub async fn head(&mut self) -> Result<Option<HeadNote>, JournalError> {
        Ok(self.note("head").await?.and_then(|value| {
            let (size, leaf) = value.split_first_chunk::<8>()?;
            let leaf = Hash::from_slice(leaf).ok()?;
            Some(HeadNote {
                size: u64::from_be_bytes(*size),
                leaf,
            })
        }))
    }

    /// A named value.
    ///
    /// # Errors
    ///
    /// [`JournalError::Database`].
    pub async fn note(&mut self, name: &'static str) -> Result<Option<Vec<u8>>, JournalError> {
        let path = self.path.clone();
        sqlx::query_scalar("SELECT value FROM note WHERE name = $1")
            .bind(name)
            .fetch_optional(&mut self.connection)
            .await
            .map_err(failed(&path))
    }

    /// Sets a named value; it survives a power cut after the next [`Journal::sync`].
    ///
    /// # Errors
    ///
    /// [`JournalError::Database`].
    pub async fn set_note(&mut self, name: &'static str, value: &[u8]) -> Result<(), JournalError> {
        let path = self.path.clone();
        sqlx::query("INSERT OR REPLACE INTO note (name, value) VALUES ($1, $2)")
            .bind(name)
            .bind(value)
            .execute(&mut self.connection)
            .await
            .map_err(failed(&path))?;
        self.unsynced_rows += 1;
        Ok(())
    }

    /// Makes everything committed so far survive a power cut.
    ///
    /// # Errors
    ///
    /// [`JournalError::Database`]; the journal must then not be used any more: what is on the disk
    /// is unknown. The recorder sets the file aside and writes the open segments into a new one.
    pub async fn sync(&mut self) -> Result<(), JournalError> {
        if self.unsynced_rows == 0 {
            return Ok(());
        }
        let path = self.path.clone();
        self.try_sync().await.map_err(failed(&path))
    }

    async fn try_sync(&mut self) -> Result<(), sqlx::Error> {
        sqlx::raw_sql("PRAGMA synchronous = FULL")
            .execute(&mut self.connection)
            .await?;
        sqlx::query("INSERT OR REPLACE INTO note (name, value) VALUES ('synced', $1)")
            .bind(self.next_row.to_be_bytes().to_vec())
            .execute(&mut self.connection)
            .await?;
        sqlx::raw_sql("PRAGMA synchronous = NORMAL")
            .execute(&mut self.connection)
            .await?;
        self.unsynced_rows = 0;
        Ok(())
    }

    /// Whether something waits for [`Journal::sync`].
    #[must_use]
    pub const fn has_unsynced(&self) -> bool {
        self.unsynced_rows > 0
    }

    /// Syncs and closes.
    ///
    /// # Errors
    ///
    /// [`JournalError::Database`].
    pub async fn close(mut self) -> Result<(), JournalError> {
        self.sync().await?;
        let path = self.path;
        self.connection.close().await.map_err(failed(&path))
    }
}

fn failed(path: &Path) -> impl Fn(sqlx::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError::Database {
        path: path.clone(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use evidence::hash::Hash;
    use evidence::quality::Quality;

    use super::{HeadNote, Journal, JournalRow, PackedSamples};
    use crate::sample::PointSample;

    fn row(tick: u64) -> JournalRow {
        let absent = PointSample::absent(1, Quality::TIMEOUT, 0);
        let mut flagged = PointSample::good(2, i64::MIN);
        flagged.flag(Quality::SENTINEL);
        let samples = PackedSamples::of(&[PointSample::good(0, -7), absent, flagged]);
        JournalRow {
            stream: 3,
            tick,
            offset_ms: 17,
            shift: Some(-5),
            samples,
        }
    }

    #[tokio::test]
    async fn rows_come_back_as_they_were_and_go_when_sealed() {
        let dir = tempfile::tempdir().unwrap();
        let quarantine = dir.path().join("quarantine");
        let (mut journal, said) = Journal::open(dir.path(), &quarantine).await.unwrap();
        assert_eq!(said, None);
        for tick in 10..15 {
            journal.append(&row(tick)).await.unwrap();
        }
        journal.cover(4, 99, None).await.unwrap();
        journal.close().await.unwrap();

        let (mut journal, _) = Journal::open(dir.path(), &quarantine).await.unwrap();
        assert_eq!(
            journal.rows().await.unwrap(),
            (10..15).map(row).collect::<Vec<_>>()
        );
        assert_eq!(journal.covered().await.unwrap()[&4], (99, None));
        let head = HeadNote {
            size: 8,
            leaf: Hash([9; 32]),
        };
        journal.sealed(head, Some((3, 13))).await.unwrap();
        assert_eq!(journal.rows().await.unwrap(), [row(13), row(14)]);
        assert_eq!(journal.head().await.unwrap(), Some(head));
    }

    #[tokio::test]
    async fn an_unreadable_journal_is_set_aside_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let quarantine = dir.path().join("quarantine");
        crate::durable::write_file(
            &dir.path().join("journal.db"),
            &[0x5a; 9000],
            crate::durable::Access::All,
        )
        .unwrap();
        let (mut journal, said) = Journal::open(dir.path(), &quarantine).await.unwrap();
        assert!(said.unwrap().contains("0001-journal.db"));
        assert_eq!(journal.rows().await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_replaced_journal_keeps_its_notes() {
        let dir = tempfile::tempdir().unwrap();
        let quarantine = dir.path().join("quarantine");
        let (mut journal, _) = Journal::open(dir.path(), &quarantine).await.unwrap();
        journal.set_note("software", b"0.1").await.unwrap();
        journal.append(&row(1)).await.unwrap();
        let mut journal = journal.replace(dir.path(), &quarantine).await.unwrap();
        assert_eq!(journal.note("software").await.unwrap().unwrap(), b"0.1");
        assert_eq!(journal.rows().await.unwrap(), []);
    }
}
