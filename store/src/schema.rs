//! The migrations: one SQL text for both engines, embedded, applied in order, never edited.
//!
//! Not sqlx's own migrator: on PostgreSQL it takes an advisory lock, on SQLite none at all, and
//! collector and API may open one empty database at the same moment.

use sqlx::AssertSqlSafe;

use crate::engine::{Engine, Store, transaction};
use crate::error::{StoreError, is_conflict};
use crate::ids::sha256;

/// All migrations, oldest first; the version of one is its position, from 1.
const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001_first.sql"),
    include_str!("../migrations/0002_trail_by_size.sql"),
    include_str!("../migrations/0003_relay.sql"),
    include_str!("../migrations/0004_project_log.sql"),
];

/// Codes of PostgreSQL when two sessions make the same table at once: unique violation in the
/// catalogue, duplicate table. The loser starts again and finds the work done.
const RACES: &[&str] = &["23505", "42P07"];

/// Brings an empty or older database to this program's schema, all or nothing.
pub(crate) async fn migrate(store: &Store) -> Result<(), StoreError> {
    let mut attempts = 0;
    loop {
        match migrate_once(store).await {
            Err(StoreError::Database(error)) if lost_a_race(&error) && attempts < 20 => {
                attempts += 1;
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            outcome => return outcome,
        }
    }
}

async fn migrate_once(store: &Store) -> Result<(), StoreError> {
    let bytes = match &*store.engine {
        Engine::Sqlite { .. } => "BLOB",
        Engine::Postgres { .. } => "BYTEA",
    };
    let history = "CREATE TABLE IF NOT EXISTS schema_history \
                   (version BIGINT NOT NULL PRIMARY KEY, digest TEXT NOT NULL)";
    transaction!(store, "migrate", |conn| {
        sqlx::query(history).execute(&mut *conn).await?;
        let applied: Vec<(i64, String)> =
            sqlx::query_as("SELECT version, digest FROM schema_history ORDER BY version")
                .fetch_all(&mut *conn)
                .await?;
        check_history(&applied)?;
        for (version, text) in (1i64..).zip(MIGRATIONS).skip(applied.len()) {
            let text_for_engine = text.replace("BYTES", bytes);
            sqlx::raw_sql(AssertSqlSafe(text_for_engine))
                .execute(&mut *conn)
                .await?;
            sqlx::query("INSERT INTO schema_history (version, digest) VALUES ($1, $2)")
                .bind(version)
                .bind(hex::encode(sha256(text.as_bytes())))
                .execute(&mut *conn)
                .await?;
        }
    })
}

/// Refuses a database that this program does not know.
fn check_history(applied: &[(i64, String)]) -> Result<(), StoreError> {
    if applied.len() > MIGRATIONS.len() {
        return Err(StoreError::Schema(format!(
            "the database has version {}, this program knows {}; start a newer program",
            applied.len(),
            MIGRATIONS.len()
        )));
    }
    for ((expected, text), (version, digest)) in (1i64..).zip(MIGRATIONS).zip(applied) {
        if *version != expected || *digest != hex::encode(sha256(text.as_bytes())) {
            return Err(StoreError::Schema(format!(
                "migration {version} in the database is not this program's migration {expected}; \
                 use the program that made the database, or restore it from a backup"
            )));
        }
    }
    Ok(())
}

fn lost_a_race(error: &sqlx::Error) -> bool {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    is_conflict(error) || code.is_some_and(|code| RACES.contains(&&*code))
}
