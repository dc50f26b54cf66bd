//! What a witness remembers: one SQLite file, written with `synchronous = FULL`.
//!
//! The state is the whole of a witness's worth. It is made once by `init`, never made anew by itself,
//! belongs to one key, and forgets no log. [`State::cosign`] is the one write that matters.

use std::path::Path;
use std::time::Duration;

use evidence::cosigner::Cosigner;
use evidence::hash::{Hash, Origin, sha256};
use evidence::note::{NoteSignature, Vkey};
use evidence::witness::{Held, Refusal, Request};
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

/// The tables. The triggers are a net below the code: also somebody with a SQL shell is stopped before
/// he makes this witness sign two histories by accident.
const SCHEMA: &str = "
CREATE TABLE witness (
    vkey      TEXT    NOT NULL,
    created_s INTEGER NOT NULL
);
CREATE TABLE logs (
    origin     TEXT    NOT NULL PRIMARY KEY,
    id         TEXT    NOT NULL UNIQUE,
    added_s    INTEGER NOT NULL,
    size       INTEGER NOT NULL,
    root       BLOB    NOT NULL,
    cosigned_s INTEGER NOT NULL,
    note       BLOB
);
CREATE TABLE log_keys (
    origin TEXT NOT NULL REFERENCES logs (origin),
    vkey   TEXT NOT NULL,
    PRIMARY KEY (origin, vkey)
);
CREATE TABLE refused (
    origin  TEXT    NOT NULL REFERENCES logs (origin),
    digest  BLOB    NOT NULL,
    first_s INTEGER NOT NULL,
    last_s  INTEGER NOT NULL,
    seen    INTEGER NOT NULL,
    reason  TEXT    NOT NULL,
    request BLOB    NOT NULL,
    PRIMARY KEY (origin, digest)
);
CREATE TRIGGER no_log_is_removed BEFORE DELETE ON logs
    BEGIN SELECT RAISE(ABORT, 'a log is never removed from a witness'); END;
CREATE TRIGGER no_log_shrinks BEFORE UPDATE ON logs
    WHEN NEW.size < OLD.size OR NEW.cosigned_s < OLD.cosigned_s OR NEW.origin <> OLD.origin
        OR (NEW.size = OLD.size AND OLD.size > 0 AND NEW.root <> OLD.root)
    BEGIN SELECT RAISE(ABORT, 'a log never goes back in a witness'); END;
PRAGMA user_version = 1;
";

/// The version of [`SCHEMA`].
const VERSION: i64 = 1;
/// Refused requests that are kept of one log.
const MOST_REFUSED: i64 = 100;

/// The state of one witness. Cheap to clone.
#[derive(Debug, Clone)]
pub struct State {
    pool: SqlitePool,
}

/// A log as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogState {
    /// Its origin.
    pub origin: String,
    /// Size that was cosigned last, 0 before the first time.
    pub size: u64,
    /// The root of that size.
    pub root: Hash,
    /// Unix second of the newest cosignature, 0 before the first.
    pub cosigned_s: u64,
    /// Kinds of requests that were signed by the log and refused.
    pub refused: Vec<RefusedState>,
}

/// A refused request that the log had signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedState {
    /// How often it came.
    pub seen: u64,
    /// Unix second it came last.
    pub last_s: u64,
    /// Why it was refused.
    pub reason: String,
}

/// What became of a log that was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It is new here.
    Log,
    /// The log was known, with other keys.
    Key,
    /// Log and key were known.
    Nothing,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Stored, and only then signed.
    Cosigned(NoteSignature),
    /// Not stored, not signed.
    Refused(Refusal),
    /// Nothing is signed at this time: it is before that of the log's last cosignature, this one.
    ClockBehind(u64),
}

/// Why the state cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The file is not there.
    #[error(
        "the witness's state {0} is not there. If it was lost, this key must never sign again: run `witness init` with a new name in a new directory, and give the new key to everybody. If this is a new witness, run `witness init`"
    )]
    Absent(String),
    /// The file exists and should not.
    #[error(
        "{0} exists already: this directory is a witness; use another --directory for a new one"
    )]
    Exists(String),
    /// Made by a newer program, or no state at all.
    #[error(
        "{path} is no state that this program knows (version {found}, known is {VERSION}); use the program that made it"
    )]
    Version {
        /// The file.
        path: String,
        /// The version found.
        found: i64,
    },
    /// It belongs to another key.
    #[error(
        "the state {path} belongs to the key {of}, not to {given}; put the right {} back",
        super::KEY_FILE
    )]
    OtherKey {
        /// The file.
        path: String,
        /// Whose it is.
        of: String,
        /// Whose key was given.
        given: String,
    },
    /// A value that this program did not write.
    #[error("the witness's state is damaged ({0}); stop this witness and keep the file")]
    Damaged(&'static str),
    /// The database.
    #[error("the witness's state: {0}")]
    Database(#[from] sqlx::Error),
}

impl State {
    /// Makes the state of a new witness; the file must not exist.
    ///
    /// # Errors
    /// [`StateError::Exists`], those of the database.
    pub async fn create(path: &Path, vkey: &Vkey, now_s: i64) -> Result<Self, StateError> {
        if path.exists() {
            return Err(StateError::Exists(path.display().to_string()));
        }
        let pool = connect(path, true).await?;
        let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::raw_sql(SCHEMA).execute(&mut *tx).await?;
        sqlx::query("INSERT INTO witness (vkey, created_s) VALUES ($1, $2)")
            .bind(vkey.to_string())
            .bind(now_s)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(Self { pool })
    }

    /// Opens the state of the witness with this key.
    ///
    /// # Errors
    /// [`StateError`] with the remedy; an absent file is never made.
    pub async fn open(path: &Path, vkey: &Vkey) -> Result<Self, StateError> {
        let shown = path.display().to_string();
        if !path.exists() {
            return Err(StateError::Absent(shown));
        }
        let pool = connect(path, false).await?;
        let found: i64 = sqlx::query_scalar("PRAGMA user_version")
            .fetch_one(&pool)
            .await?;
        if found != VERSION {
            return Err(StateError::Version { path: shown, found });
        }
        let of: String = sqlx::query_scalar("SELECT vkey FROM witness")
            .fetch_one(&pool)
            .await?;
        let given = vkey.to_string();
        if of != given {
            return Err(StateError::OtherKey {
                path: shown,
                of,
                given,
            });
        }
        Ok(Self { pool })
    }

    /// Closes the file after the calls under way.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Adds a log, or a further key of a known one. What is held of it stays.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn add_log(
        &self,
        origin: &Origin,
        vkey: &Vkey,
        now_s: i64,
    ) -> Result<Added, StateError> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let nothing = Held::nothing();
        let log = sqlx::query(
            "INSERT INTO logs (origin, id, added_s, size, root, cosigned_s) \
             VALUES ($1, $2, $3, 0, $4, 0) ON CONFLICT DO NOTHING",
        )
        .bind(origin.as_str())
        .bind(origin.id().to_hex())
        .bind(now_s)
        .bind(&nothing.root.0[..])
        .execute(&mut *tx)
        .await?;
        let key = sqlx::query(
            "INSERT INTO log_keys (origin, vkey) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        )
        .bind(origin.as_str())
        .bind(vkey.to_string())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(match (log.rows_affected(), key.rows_affected()) {
            (1, _) => Added::Log,
            (_, 1) => Added::Key,
            _ => Added::Nothing,
        })
    }

    /// The keys of a log; none if it is unknown.
    ///
    /// # Errors
    /// Those of the database, [`StateError::Damaged`].
    pub async fn keys(&self, origin: &str) -> Result<Vec<Vkey>, StateError> {
        let lines: Vec<String> =
            sqlx::query_scalar("SELECT vkey FROM log_keys WHERE origin = $1 ORDER BY vkey")
                .bind(origin)
                .fetch_all(&self.pool)
                .await?;
        lines
            .iter()
            .map(|line| Vkey::parse(line).map_err(|_error| StateError::Damaged("a key of a log")))
            .collect()
    }

    /// The newest cosigned checkpoint of the log with this id, 64 hexadecimal digits.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn checkpoint(&self, id: &str) -> Result<Option<Vec<u8>>, StateError> {
        let note: Option<Option<Vec<u8>>> =
            sqlx::query_scalar("SELECT note FROM logs WHERE id = $1")
                .bind(id)
                .fetch_optional(&self.pool)
                .await?;
        Ok(note.flatten())
    }

    /// All logs by origin.
    ///
    /// # Errors
    /// Those of the database, [`StateError::Damaged`].
    pub async fn logs(&self) -> Result<Vec<LogState>, StateError> {
        let rows: Vec<(String, i64, Vec<u8>, i64)> =
            sqlx::query_as("SELECT origin, size, root, cosigned_s FROM logs ORDER BY origin")
                .fetch_all(&self.pool)
                .await?;
        let mut logs = Vec::with_capacity(rows.len());
        for (origin, size, root, cosigned_s) in rows {
            let refused: Vec<(i64, i64, String)> = sqlx::query_as(
                "SELECT seen, last_s, reason FROM refused WHERE origin = $1 ORDER BY last_s DESC, digest",
            )
            .bind(&origin)
            .fetch_all(&self.pool)
            .await?;
            logs.push(LogState {
                origin,
                size: number(size)?,
                root: Hash::from_slice(&root).map_err(|_error| StateError::Damaged("a root"))?,
                cosigned_s: number(cosigned_s)?,
                refused: refused
                    .into_iter()
                    .map(|(seen, last_s, reason)| {
                        Ok(RefusedState {
                            seen: number(seen)?,
                            last_s: number(last_s)?,
                            reason,
                        })
                    })
                    .collect::<Result<_, StateError>>()?,
            });
        }
        Ok(logs)
    }

    /// Decides a request and, if it is granted, stores and signs: in one transaction that takes the
    /// write lock before it reads, so that of two requests at one size only one is granted.
    ///
    /// Killed before the commit, nothing happened. Killed after it and before the answer, the new size
    /// is held and nobody has the cosignature: the log asks again, is told the size (409), and gets a
    /// cosignature over the same tree.
    ///
    /// # Errors
    /// Those of the database; nothing was signed then.
    pub async fn cosign(
        &self,
        request: &Request,
        keys: &[Vkey],
        cosigner: &Cosigner,
        now_s: u64,
    ) -> Result<Outcome, StateError> {
        let authentic = match request.authenticate(keys) {
            Ok(authentic) => authentic,
            Err(refusal) => return Ok(Outcome::Refused(refusal)),
        };
        let origin = request.origin();
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let held: Option<(i64, Vec<u8>, i64)> =
            sqlx::query_as("SELECT size, root, cosigned_s FROM logs WHERE origin = $1")
                .bind(origin)
                .fetch_optional(&mut *tx)
                .await?;
        let Some((size, root, cosigned_s)) = held else {
            return Ok(Outcome::Refused(Refusal::UnknownLog(origin.to_owned())));
        };
        let held = Held {
            size: number(size)?,
            root: Hash::from_slice(&root).map_err(|_error| StateError::Damaged("a root"))?,
        };
        let accepted = match authentic.decide(held) {
            Ok(accepted) => accepted,
            Err(refusal) => {
                drop(tx);
                if refusal.status() == 422 {
                    self.keep_refused(request, &refusal, now_s).await?;
                }
                return Ok(Outcome::Refused(refusal));
            }
        };
        if now_s < number(cosigned_s)? {
            return Ok(Outcome::ClockBehind(number(cosigned_s)?));
        }
        let (line, note) = accepted.cosign(cosigner, now_s);
        let new = accepted.held();
        let swapped = sqlx::query(
            "UPDATE logs SET size = $1, root = $2, cosigned_s = $3, note = $4 \
             WHERE origin = $5 AND size = $6 AND root = $7",
        )
        .bind(stored(new.size)?)
        .bind(&new.root.0[..])
        .bind(stored(now_s)?)
        .bind(note.to_bytes())
        .bind(origin)
        .bind(size)
        .bind(&root)
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if swapped != 1 {
            return Err(StateError::Damaged(
                "the row of a log changed under its lock",
            ));
        }
        // The commit point: synced to the disk when this returns. The signature made above is dropped
        // if it fails.
        tx.commit().await?;
        Ok(Outcome::Cosigned(line))
    }

    /// Keeps a request that the log signed and that does not continue what is held: it may prove that
    /// the log shows two histories.
    async fn keep_refused(
        &self,
        request: &Request,
        refusal: &Refusal,
        now_s: u64,
    ) -> Result<(), StateError> {
        let bytes = request.to_bytes();
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let again = sqlx::query(
            "UPDATE refused SET seen = seen + 1, last_s = $1 WHERE origin = $2 AND digest = $3",
        )
        .bind(stored(now_s)?)
        .bind(request.origin())
        .bind(&sha256(&bytes).0[..])
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if again == 0 {
            sqlx::query(
                "INSERT INTO refused (origin, digest, first_s, last_s, seen, reason, request) \
                 SELECT $1, $2, $3, $3, 1, $4, $5 \
                 WHERE (SELECT COUNT(*) FROM refused WHERE origin = $1) < $6",
            )
            .bind(request.origin())
            .bind(&sha256(&bytes).0[..])
            .bind(stored(now_s)?)
            .bind(refusal.to_string())
            .bind(bytes)
            .bind(MOST_REFUSED)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

async fn connect(path: &Path, create: bool) -> Result<SqlitePool, sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(create)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(5))
        .foreign_keys(true);
    // One connection: requests queue here and not in SQLite; `log add` is another process.
    SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(Duration::from_secs(10))
        .connect_with(options)
        .await
}

fn number(stored: i64) -> Result<u64, StateError> {
    u64::try_from(stored).map_err(|_error| StateError::Damaged("a negative number"))
}

fn stored(number: u64) -> Result<i64, StateError> {
    i64::try_from(number).map_err(|_error| StateError::Damaged("a size or time beyond 2^63 - 1"))
}
