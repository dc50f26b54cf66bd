//! One file of the buffer: the entries sealed on one UTC day.

use std::path::{Path, PathBuf};

use evidence::entry::{Body, Entry};
use evidence::hash::Hash;
use evidence::merkle::CompactRange;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Connection as _, Row as _};
use tokio::sync::Mutex;

use super::{FileInfo, Head, Row};
use crate::clock::UtcDay;
use crate::sqlite::{self, Mode, from_sql, to_sql};

/// Bytes per page, SQLite's default; the unit of the file's limit.
const PAGE_BYTES: u64 = 4096;

const SCHEMA: &str = "
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE head (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    size INTEGER NOT NULL,
    leaf BLOB NOT NULL
) STRICT;
CREATE TABLE entry (
    idx INTEGER PRIMARY KEY,
    entry BLOB NOT NULL,
    payload BLOB,
    checkpoint BLOB NOT NULL,
    range BLOB NOT NULL
) STRICT;
";

/// An open day file: a writer, and a second connection that reads what the writer committed.
#[derive(Debug)]
pub(super) struct DayFile {
    path: PathBuf,
    day: String,
    writer: SqliteConnection,
    /// Behind a lock only because reading needs `&mut` and the recorder shares the buffer.
    reader: Mutex<SqliteConnection>,
}

/// What an existing file turned out to be.
pub(super) enum Opened {
    /// A file with a committed beginning.
    Log(FileInfo),
    /// A file whose creation never committed.
    NeverBegun,
}

/// Looks into an existing file, letting SQLite recover its WAL first.
pub(super) async fn open_existing(path: &Path) -> Result<Opened, sqlx::Error> {
    // A writer, not a reader: after a crash somebody has to replay the WAL.
    let mut connection = sqlite::open(path, Mode::SyncedWriter).await?;
    let begun: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE name = 'meta'")
        .fetch_one(&mut connection)
        .await?;
    if begun == 0 {
        connection.close().await?;
        return Ok(Opened::NeverBegun);
    }
    let first = number(&meta(&mut connection, "first").await?)?;
    let end = head_of(&mut connection).await?.size;
    connection.close().await?;
    Ok(Opened::Log(FileInfo {
        path: path.to_owned(),
        first,
        end,
    }))
}

/// The chain's state before the file's first row.
pub(super) async fn snapshot(path: &Path) -> Result<Vec<u8>, sqlx::Error> {
    let mut connection = sqlite::open(path, Mode::Reader).await?;
    let snapshot = meta(&mut connection, "chain").await?;
    connection.close().await?;
    Ok(snapshot)
}

impl DayFile {
    /// Creates a file that begins after `head`; its beginning is committed on return.
    pub(super) async fn create(
        path: &Path,
        day: UtcDay,
        head: Head,
        snapshot: &[u8],
        max_bytes: u64,
    ) -> Result<Self, sqlx::Error> {
        let mut writer = sqlite::open(path, Mode::SyncedWriter).await?;
        let mut transaction = writer.begin().await?;
        sqlx::raw_sql(SCHEMA).execute(&mut *transaction).await?;
        let first = head.size.to_be_bytes();
        let day_name = day.to_string();
        let values: [(&str, &[u8]); 4] = [
            ("format", b"fieldseal day file 1"),
            ("day", day_name.as_bytes()),
            ("first", &first),
            ("chain", snapshot),
        ];
        for (name, value) in values {
            sqlx::query("INSERT INTO meta (name, value) VALUES ($1, $2)")
                .bind(name)
                .bind(value)
                .execute(&mut *transaction)
                .await?;
        }
        sqlx::query("INSERT INTO head (one, size, leaf) VALUES (1, $1, $2)")
            .bind(to_sql(head.size)?)
            .bind(head.leaf.as_bytes().to_vec())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Self::finish(path, writer, max_bytes).await
    }

    /// Opens an existing file for appending.
    pub(super) async fn open(info: &FileInfo, max_bytes: u64) -> Result<Self, sqlx::Error> {
        let writer = sqlite::open(&info.path, Mode::SyncedWriter).await?;
        Self::finish(&info.path, writer, max_bytes).await
    }

    async fn finish(
        path: &Path,
        mut writer: SqliteConnection,
        max_bytes: u64,
    ) -> Result<Self, sqlx::Error> {
        let pages = (max_bytes / PAGE_BYTES).max(16);
        sqlx::raw_sql(AssertSqlSafe(format!("PRAGMA max_page_count = {pages}")))
            .execute(&mut writer)
            .await?;
        let day = String::from_utf8_lossy(&meta(&mut writer, "day").await?).into_owned();
        let reader = Mutex::new(sqlite::open(path, Mode::Reader).await?);
        Ok(Self {
            path: path.to_owned(),
            day,
            writer,
            reader,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn is_of(&self, day: UtcDay) -> bool {
        self.day == day.to_string()
    }

    pub(super) async fn head(&mut self) -> Result<Head, sqlx::Error> {
        head_of(&mut self.writer).await
    }

    /// Commits the row and moves the head from `head`; `false` when the head was elsewhere.
    ///
    /// The commit is synced before it returns. It is the point at which the entry exists.
    pub(super) async fn append(
        &mut self,
        row: &Row,
        head: Head,
        leaf: Hash,
    ) -> Result<bool, sqlx::Error> {
        let mut transaction = self.writer.begin().await?;
        let moved = sqlx::query(
            "UPDATE head SET size = $1, leaf = $2 WHERE one = 1 AND size = $3 AND leaf = $4",
        )
        .bind(to_sql(row.index + 1)?)
        .bind(leaf.as_bytes().to_vec())
        .bind(to_sql(head.size)?)
        .bind(head.leaf.as_bytes().to_vec())
        .execute(&mut *transaction)
        .await?;
        if moved.rows_affected() != 1 {
            transaction.rollback().await?;
            return Ok(false);
        }
        sqlx::query(
            "INSERT INTO entry (idx, entry, payload, checkpoint, range) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(to_sql(row.index)?)
        .bind(row.entry.as_slice())
        .bind(row.payload.as_deref())
        .bind(row.checkpoint.as_slice())
        .bind(range_bytes(&row.range))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// The row as the writing connection sees it.
    pub(super) async fn row(&mut self, index: u64) -> Result<Option<Row>, sqlx::Error> {
        row_of(&mut self.writer, index).await
    }

    /// The row as a second connection reads it from the file.
    pub(super) async fn read_back(&self, index: u64) -> Result<Option<Row>, sqlx::Error> {
        let mut reader = self.reader.lock().await;
        row_of(&mut reader, index).await
    }

    /// Sets payloads of `from..to` to NULL and gives the room back to the file system.
    pub(super) async fn drop_payloads(&mut self, from: u64, to: u64) -> Result<(), sqlx::Error> {
        drop_payloads(&mut self.writer, from, to).await
    }

    /// Closes in order: the WAL is moved into the file and removed.
    pub(super) async fn close(self) -> Result<(), sqlx::Error> {
        self.reader.into_inner().close().await?;
        self.writer.close().await
    }

    /// Closes without trusting the connection any more.
    pub(super) async fn abandon(self) {
        for connection in [self.reader.into_inner(), self.writer] {
            if let Err(error) = connection.close_hard().await {
                tracing::debug!("Closing a failed day file failed as well: {error}");
            }
        }
    }
}

/// Drops payloads of a file that is not the newest.
pub(super) async fn drop_payloads_of(path: &Path, from: u64, to: u64) -> Result<(), sqlx::Error> {
    let mut connection = sqlite::open(path, Mode::SyncedWriter).await?;
    drop_payloads(&mut connection, from, to).await?;
    connection.close().await
}

/// Drops the payloads of the data entries in `from..to` of a file and shrinks it.
async fn drop_payloads(
    writer: &mut SqliteConnection,
    from: u64,
    to: u64,
) -> Result<(), sqlx::Error> {
    for index in from..to {
        let entry: Option<Vec<u8>> = sqlx::query_scalar("SELECT entry FROM entry WHERE idx = $1")
            .bind(to_sql(index)?)
            .fetch_optional(&mut *writer)
            .await?;
        let is_data = entry.is_some_and(|bytes| {
            Entry::parse(&bytes).is_ok_and(|signed| matches!(signed.entry.body, Body::Data { .. }))
        });
        if is_data {
            sqlx::query("UPDATE entry SET payload = NULL WHERE idx = $1")
                .bind(to_sql(index)?)
                .execute(&mut *writer)
                .await?;
        }
    }
    // VACUUM copies what is left, which is small, and needs as much room for a moment.
    sqlx::raw_sql("VACUUM").execute(&mut *writer).await?;
    sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        .execute(&mut *writer)
        .await?;
    Ok(())
}

/// One row of a file.
pub(super) async fn row_of(
    connection: &mut SqliteConnection,
    index: u64,
) -> Result<Option<Row>, sqlx::Error> {
    sqlx::query("SELECT idx, entry, payload, checkpoint, range FROM entry WHERE idx = $1")
        .bind(to_sql(index)?)
        .fetch_optional(connection)
        .await?
        .map(|stored| row(&stored))
        .transpose()
}

pub(super) fn row(stored: &SqliteRow) -> Result<Row, sqlx::Error> {
    Ok(Row {
        index: from_sql(stored.try_get("idx")?)?,
        entry: stored.try_get("entry")?,
        payload: stored.try_get("payload")?,
        checkpoint: stored.try_get("checkpoint")?,
        range: range(stored.try_get("range")?)?,
    })
}

async fn head_of(connection: &mut SqliteConnection) -> Result<Head, sqlx::Error> {
    let stored = sqlx::query("SELECT size, leaf FROM head WHERE one = 1")
        .fetch_one(connection)
        .await?;
    let leaf: &[u8] = stored.try_get("leaf")?;
    let leaf = Hash::from_slice(leaf).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    Ok(Head {
        size: from_sql(stored.try_get("size")?)?,
        leaf,
    })
}

async fn meta(connection: &mut SqliteConnection, name: &str) -> Result<Vec<u8>, sqlx::Error> {
    sqlx::query_scalar("SELECT value FROM meta WHERE name = $1")
        .bind(name)
        .fetch_one(connection)
        .await
}

fn number(bytes: &[u8]) -> Result<u64, sqlx::Error> {
    let bytes = <[u8; 8]>::try_from(bytes).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    Ok(u64::from_be_bytes(bytes))
}

fn range_bytes(range: &CompactRange) -> Vec<u8> {
    let mut bytes = range.size().to_be_bytes().to_vec();
    range
        .hashes()
        .iter()
        .for_each(|hash| bytes.extend(hash.as_bytes()));
    bytes
}

fn range(bytes: &[u8]) -> Result<CompactRange, sqlx::Error> {
    let torn = || sqlx::Error::Decode("a compact range is 8 bytes and whole hashes".into());
    let (size, hashes) = bytes.split_first_chunk::<8>().ok_or_else(torn)?;
    let (hashes, rest) = hashes.as_chunks::<32>();
    if !rest.is_empty() {
        return Err(torn());
    }
    CompactRange::from_parts(
        u64::from_be_bytes(*size),
        hashes.iter().copied().map(Hash).collect(),
    )
    .map_err(|error| sqlx::Error::Decode(Box::new(error)))
}
