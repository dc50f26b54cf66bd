//! What can go wrong in the store, one variant each.

/// Why a call of the store failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The address of the database cannot be used.
    #[error("store address `{url}` cannot be used: {why}")]
    Address {
        /// The address, its password left out.
        url: String,
        /// What is wrong and what to write instead.
        why: String,
    },
    /// The database was made by another version of this program.
    #[error("database schema: {0}")]
    Schema(String),
    /// A write needs a thing that is not there.
    #[error("{what} is not in the store")]
    Absent {
        /// The thing, with its name.
        what: String,
    },
    /// A thing of this name exists already, and is another one.
    #[error("{what} exists already")]
    Exists {
        /// The thing, with its name.
        what: String,
    },
    /// The caller broke a rule of the call; a mistake in the program, never in its input.
    #[error("wrong use of the store: {0}")]
    Misuse(String),
    /// A stored value has a shape that this program never writes.
    #[error("the database holds a damaged value: {0}")]
    Damaged(String),
    /// Others held the database for too long; nothing was changed, the call may be repeated.
    #[error("the database is busy: {what} gave up after {attempts} attempts")]
    Busy {
        /// The call that gave up.
        what: &'static str,
        /// How often it was tried.
        attempts: u32,
        /// The last refusal.
        #[source]
        source: sqlx::Error,
    },
    /// The database or the way to it failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl StoreError {
    /// Whether the same call may succeed later without anybody acting: busy, or the way is down.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Busy { .. } => true,
            Self::Database(error) => {
                is_conflict(error)
                    || matches!(
                        error,
                        sqlx::Error::Io(_)
                            | sqlx::Error::PoolTimedOut
                            | sqlx::Error::PoolClosed
                            | sqlx::Error::WorkerCrashed
                    )
            }
            _ => false,
        }
    }
}

/// Whether the database refused only because another transaction was in the way, having changed
/// nothing: PostgreSQL 40001 (serialisation) and 40P01 (deadlock), SQLite's `BUSY` and `LOCKED`.
pub(crate) fn is_conflict(error: &sqlx::Error) -> bool {
    let Some(code) = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
    else {
        return false;
    };
    if code == "40001" || code == "40P01" {
        return true;
    }
    // SQLite's extended codes carry the primary one in the low byte: 5 `BUSY`, 6 `LOCKED`. The
    // codes of PostgreSQL have five characters and none of them is a number below 1000.
    code.len() <= 4 && matches!(code.parse::<u32>().map(|code| code & 0xff), Ok(5 | 6))
}

/// A whole number on its way into the database, which knows only signed ones.
pub(crate) fn to_db(what: &'static str, number: u64) -> Result<i64, StoreError> {
    i64::try_from(number)
        .map_err(|_too_big| StoreError::Misuse(format!("{what} {number} is above 2^63 - 1")))
}

/// A whole number on its way out of the database.
pub(crate) fn from_db<T: TryFrom<i64>>(what: &'static str, number: i64) -> Result<T, StoreError> {
    T::try_from(number).map_err(|_range| StoreError::Damaged(format!("{what} is {number}")))
}

/// Thirty-two bytes on their way out of the database.
pub(crate) fn hash_from_db(what: &'static str, bytes: &[u8]) -> Result<[u8; 32], StoreError> {
    <[u8; 32]>::try_from(bytes)
        .map_err(|_length| StoreError::Damaged(format!("{what} has {} bytes, not 32", bytes.len())))
}
