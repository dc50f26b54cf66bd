//! The two engines: how a database is opened, and how a transaction is run on either.
//!
//! Two concrete pools and one SQL text: the macros below expand a body once per engine, so that
//! every statement is checked by the compiler against both drivers, and written once.

use std::fmt;
use std::path::Path;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, PgConnection, PgPool, SqlitePool};

use crate::error::{StoreError, is_conflict};
use crate::schema;

/// How long a SQLite file that other programs are opening for the first time is tried, every 20 ms.
const OPENING_PATIENCE: Duration = Duration::from_secs(5);

/// The central store. Cheap to clone; all clones share the pools.
#[derive(Clone)]
pub struct Store {
    pub(crate) engine: Arc<Engine>,
}

/// The pools of one engine.
pub(crate) enum Engine {
    /// One writer: SQLite has one write lock per file, and waiting for it in our own queue is fair
    /// and silent, while waiting for it in SQLite is polling. Readers never wait (WAL).
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
    },
    Postgres {
        pool: PgPool,
    },
}

/// Runs one write transaction, again while others are in the way.
///
/// The body sees `$conn` and ends in a value; `?` inside it rolls back. On SQLite the write lock is
/// taken at once (`BEGIN IMMEDIATE`): a transaction that read first and wanted to write later could
/// otherwise fail half way with `SQLITE_BUSY` and no amount of waiting would help it.
macro_rules! transaction {
    ($store:expr, $what:literal, |$conn:ident| $body:block) => {{
        let mut attempts = $crate::engine::Attempts::new($what);
        loop {
            let outcome: Result<_, $crate::StoreError> = match &*$store.engine {
                $crate::engine::Engine::Sqlite { writer, .. } => {
                    async {
                        let mut tx = writer.begin_with("BEGIN IMMEDIATE").await?;
                        let value = {
                            let $conn = &mut *tx;
                            $body
                        };
                        tx.commit().await?;
                        Ok(value)
                    }
                    .await
                }
                $crate::engine::Engine::Postgres { pool } => {
                    async {
                        let mut tx = pool.begin().await?;
                        let value = {
                            let $conn = &mut *tx;
                            $body
                        };
                        tx.commit().await?;
                        Ok(value)
                    }
                    .await
                }
            };
            match attempts.settle(outcome).await {
                Some(outcome) => break outcome,
                None => continue,
            }
        }
    }};
}

/// Runs one reading statement on either engine, again while others are in the way.
macro_rules! reading {
    ($store:expr, $what:literal, |$conn:ident| $body:block) => {{
        let mut attempts = $crate::engine::Attempts::new($what);
        loop {
            let outcome: Result<_, $crate::StoreError> = match &*$store.engine {
                $crate::engine::Engine::Sqlite { readers, .. } => {
                    async {
                        let mut held = readers.acquire().await?;
                        let $conn = &mut *held;
                        Ok($body)
                    }
                    .await
                }
                $crate::engine::Engine::Postgres { pool } => {
                    async {
                        let mut held = pool.acquire().await?;
                        let $conn = &mut *held;
                        Ok($body)
                    }
                    .await
                }
            };
            match attempts.settle(outcome).await {
                Some(outcome) => break outcome,
                None => continue,
            }
        }
    }};
}

pub(crate) use {reading, transaction};

/// Counts the attempts at one transaction and waits between them.
pub(crate) struct Attempts {
    what: &'static str,
    made: u32,
    since: Instant,
}

impl Attempts {
    /// Ten attempts with waits of 5 ms doubling to 1.28 s: about 2.5 s of our own waiting.
    const MOST: u32 = 10;
    /// No further attempt after this long. SQLite waits up to 5 s by itself in each one that meets
    /// another process's lock, so there are two or three of those.
    const LONGEST: Duration = Duration::from_secs(10);

    pub(crate) fn new(what: &'static str) -> Self {
        Self {
            what,
            made: 0,
            since: Instant::now(),
        }
    }

    /// Returns the outcome if it is final, or waits and returns `None` for another attempt.
    pub(crate) async fn settle<T>(
        &mut self,
        outcome: Result<T, StoreError>,
    ) -> Option<Result<T, StoreError>> {
        self.made += 1;
        let (what, attempts) = (self.what, self.made);
        match outcome {
            Err(StoreError::Database(source)) if is_conflict(&source) => {
                if attempts >= Self::MOST || self.since.elapsed() >= Self::LONGEST {
                    return Some(Err(StoreError::Busy {
                        what,
                        attempts,
                        source,
                    }));
                }
                tracing::debug!(
                    store.call = what,
                    attempts,
                    "Another transaction was in the way"
                );
                tokio::time::sleep(Duration::from_millis(5 << (attempts - 1))).await;
                None
            }
            outcome => Some(outcome),
        }
    }
}

impl Store {
    /// Opens a database, making its tables if it is empty.
    ///
    /// `sqlite:PATH` names a file (made if absent; its directory must exist);
    /// `postgres://user:password@host/database` a PostgreSQL server, 13 or newer. Several processes
    /// may open one database, also at the same moment.
    ///
    /// # Errors
    ///
    /// [`StoreError::Address`] with the remedy, [`StoreError::Schema`] if a newer program made it.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let engine = if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            open_sqlite(Path::new(path)).await?
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            open_postgres(url).await?
        } else {
            return Err(StoreError::Address {
                url: without_password(url),
                why: "it must begin with `sqlite:` or `postgres://`".to_owned(),
            });
        };
        let store = Self {
            engine: Arc::new(engine),
        };
        schema::migrate(&store).await?;
        Ok(store)
    }

    /// Closes all connections after the calls under way; later calls fail.
    pub async fn close(&self) {
        match &*self.engine {
            Engine::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Engine::Postgres { pool } => pool.close().await,
        }
    }

    /// Returns `"sqlite"` or `"postgres"`, for messages.
    pub fn engine_name(&self) -> &'static str {
        match &*self.engine {
            Engine::Sqlite { .. } => "sqlite",
            Engine::Postgres { .. } => "postgres",
        }
    }

    /// Asks the database for nothing; `Ok` says that it answers.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`] if it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        reading!(self, "ping", |conn| {
            sqlx::query("SELECT 1").execute(&mut *conn).await?;
        })
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address is not kept: it may hold a password.
        f.debug_struct("Store")
            .field("engine", &self.engine_name())
            .finish_non_exhaustive()
    }
}

async fn open_sqlite(path: &Path) -> Result<Engine, StoreError> {
    let address = |why: String| StoreError::Address {
        url: format!("sqlite:{}", path.display()),
        why,
    };
    if path.as_os_str().is_empty() || path.as_os_str() == ":memory:" {
        return Err(address(
            "name a file: evidence must outlive the process".to_owned(),
        ));
    }
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    if let Some(directory) = directory.filter(|directory| !directory.is_dir()) {
        return Err(address(format!(
            "directory `{0}` does not exist; make it with `mkdir -p {0}`",
            directory.display()
        )));
    }
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(5))
        .foreign_keys(true);
    let begun = Instant::now();
    let writer = loop {
        let pool = SqlitePoolOptions::new()
            .min_connections(1)
            .max_connections(1);
        match pool.connect_with(options.clone()).await {
            Ok(writer) => break writer,
            // Turning an empty file to WAL does not wait for others who do the same, whatever the
            // busy timeout says; the one who came first is done in a moment.
            Err(error) if is_conflict(&error) && begun.elapsed() < OPENING_PATIENCE => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => return Err(address(error.to_string())),
        }
    };
    let readers = SqlitePoolOptions::new()
        .max_connections(4)
        .connect_with(options.create_if_missing(false).pragma("query_only", "ON"))
        .await
        .map_err(|error| address(error.to_string()))?;
    Ok(Engine::Sqlite { writer, readers })
}

async fn open_postgres(url: &str) -> Result<Engine, StoreError> {
    let address = |error: sqlx::Error| StoreError::Address {
        url: without_password(url),
        why: error.to_string(),
    };
    let options = PgConnectOptions::from_str(url)
        .map_err(address)?
        .application_name("fieldseal");
    // Asked once by itself: the pool would go on asking a server that is not there for 10 s.
    PgConnection::connect_with(&options)
        .await
        .map_err(address)?
        .close()
        .await
        .map_err(address)?;
    let pool = PgPoolOptions::new()
        .max_connections(16)
        .acquire_timeout(Duration::from_secs(10))
        .connect_with(options)
        .await
        .map_err(address)?;
    Ok(Engine::Postgres { pool })
}

/// Leaves out what stands between `user:` and `@`, and everything after `?`.
fn without_password(url: &str) -> String {
    let url = url
        .split_once('?')
        .map_or(url, |(address, _options)| address);
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let Some((user, host)) = rest.rsplit_once('@') else {
        return url.to_owned();
    };
    let name = user.split_once(':').map_or(user, |(name, _password)| name);
    format!("{scheme}://{name}@{host}")
}

#[cfg(test)]
mod tests {
    use super::without_password;

    #[test]
    fn a_password_never_reaches_a_message() {
        assert_eq!(
            without_password("postgres://op:s3:c@ret@db.example/x?sslmode=require&password=p"),
            "postgres://op@db.example/x"
        );
        assert_eq!(
            without_password("sqlite:/var/lib/x.db"),
            "sqlite:/var/lib/x.db"
        );
    }
}
