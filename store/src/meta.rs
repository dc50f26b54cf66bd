//! Small facts about the installation, by name. No keys: those are files.

use crate::engine::{Store, reading, transaction};
use crate::error::StoreError;

impl Store {
    /// Sets a fact, replacing what was there.
    pub async fn put_meta(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        transaction!(self, "put meta", |conn| {
            sqlx::query(
                "INSERT INTO meta (name, value) VALUES ($1, $2) \
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            )
            .bind(name)
            .bind(value)
            .execute(&mut *conn)
            .await?;
        })
    }

    /// Returns a fact.
    pub async fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        reading!(self, "meta", |conn| {
            sqlx::query_scalar("SELECT value FROM meta WHERE name = $1")
                .bind(name)
                .fetch_optional(&mut *conn)
                .await?
        })
    }
}
