//! What journal and day files share: opening SQLite the one way we trust.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};

/// The first SQLite without the WAL-reset corruption; older libraries are refused.
const OLDEST_SQLITE: [u32; 3] = [3, 51, 3];

/// SQLite's primary code for "database or disk is full".
const SQLITE_FULL: i64 = 13;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Every commit is synced before it returns.
    SyncedWriter,
    /// A commit survives the death of the process; only a synced one survives a power cut.
    JournalWriter,
    /// Reads beside a writer, never writes.
    Reader,
}

/// Opens (and for a writer creates) one file.
pub(crate) async fn open(path: &Path, mode: Mode) -> Result<SqliteConnection, sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(Duration::from_secs(5))
        .foreign_keys(false)
        .statement_cache_capacity(16)
        .disable_statement_logging();
    let options = match mode {
        Mode::SyncedWriter => options
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full),
        Mode::JournalWriter => options
            .create_if_missing(true)
            // Before WAL mode is entered: afterwards the page size is fixed.
            .page_size(1024)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal),
        Mode::Reader => options.read_only(true),
    };
    let mut connection = options.connect().await?;
    // The cache is per connection and there are four; rows are appended and read once, so 128 KiB each
    // is plenty. A WAL of one megabyte instead of four: it counts against the buffer's room.
    sqlx::raw_sql("PRAGMA cache_size = -128; PRAGMA wal_autocheckpoint = 256")
        .execute(&mut connection)
        .await?;
    Ok(connection)
}

/// Refuses a library that can corrupt a WAL file.
///
/// # Errors
///
/// The version found, in words, when it is older than 3.51.3.
pub(crate) async fn assert_version() -> Result<(), String> {
    let failed = |error: sqlx::Error| format!("SQLite does not start: {error}");
    let mut memory = SqliteConnection::connect("sqlite::memory:")
        .await
        .map_err(failed)?;
    let version: String = sqlx::query_scalar("SELECT sqlite_version()")
        .fetch_one(&mut memory)
        .await
        .map_err(failed)?;
    let parts: Vec<u32> = version
        .split('.')
        .filter_map(|part| part.parse().ok())
        .collect();
    if parts.as_slice() < OLDEST_SQLITE.as_slice() {
        return Err(format!(
            "SQLite {version} is older than 3.51.3, the first without the WAL-reset corruption; \
             use a build with the bundled library"
        ));
    }
    memory.close().await.map_err(failed)
}

/// Whether an error says that there is no room: the file's page limit or the disk.
pub(crate) fn is_full(error: &sqlx::Error) -> bool {
    if let sqlx::Error::Io(error) = error {
        return error.kind() == std::io::ErrorKind::StorageFull;
    }
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .and_then(|code| code.parse::<i64>().ok())
        .is_some_and(|code| code & 0xff == SQLITE_FULL)
}

/// An index or size as SQLite stores it.
///
/// Sizes of logs stay far below 2^63; a larger number can only come from a damaged file.
pub(crate) fn to_sql(number: u64) -> Result<i64, sqlx::Error> {
    i64::try_from(number).map_err(|error| sqlx::Error::Encode(Box::new(error)))
}

/// The reverse of [`to_sql`]; a negative number is a damaged file.
pub(crate) fn from_sql(number: i64) -> Result<u64, sqlx::Error> {
    u64::try_from(number).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn the_bundled_sqlite_is_new_enough() {
        super::assert_version().await.unwrap();
    }
}
