//! Sites: the places that logs belong to.

use crate::engine::{Store, reading, transaction};
use crate::error::StoreError;
use crate::ids::SiteId;

/// A site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Its id.
    pub id: SiteId,
    /// Its name, 1 to 100 characters, unique.
    pub name: String,
    /// When it was created.
    pub created_ms: i64,
}

impl Store {
    /// Creates a site, or returns the one of this name.
    ///
    /// # Errors
    ///
    /// [`StoreError::Misuse`] if the name is empty, longer than 100 characters or holds control
    /// characters.
    pub async fn create_site(&self, name: &str, now_ms: i64) -> Result<Site, StoreError> {
        if name.is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
            return Err(StoreError::Misuse(format!(
                "a site's name has 1 to 100 characters and no control characters, not {name:?}"
            )));
        }
        let id = SiteId::of_name(name);
        let created_ms: i64 = transaction!(self, "create site", |conn| {
            sqlx::query(
                "INSERT INTO sites (site_id, name, created_ms) VALUES ($1, $2, $3) \
                 ON CONFLICT (site_id) DO NOTHING",
            )
            .bind(id.0)
            .bind(name)
            .bind(now_ms)
            .execute(&mut *conn)
            .await?;
            sqlx::query_scalar("SELECT created_ms FROM sites WHERE site_id = $1")
                .bind(id.0)
                .fetch_one(&mut *conn)
                .await?
        })?;
        Ok(Site {
            id,
            name: name.to_owned(),
            created_ms,
        })
    }

    /// Lists all sites by name.
    pub async fn sites(&self) -> Result<Vec<Site>, StoreError> {
        let rows: Vec<(i64, String, i64)> = reading!(self, "sites", |conn| {
            sqlx::query_as("SELECT site_id, name, created_ms FROM sites ORDER BY name")
                .fetch_all(&mut *conn)
                .await?
        })?;
        Ok(rows
            .into_iter()
            .map(|(id, name, created_ms)| Site {
                id: SiteId(id),
                name,
                created_ms,
            })
            .collect())
    }

    /// Returns a site by its id.
    pub async fn site(&self, id: SiteId) -> Result<Option<Site>, StoreError> {
        let row: Option<(String, i64)> = reading!(self, "site", |conn| {
            sqlx::query_as("SELECT name, created_ms FROM sites WHERE site_id = $1")
                .bind(id.0)
                .fetch_optional(&mut *conn)
                .await?
        })?;
        Ok(row.map(|(name, created_ms)| Site {
            id,
            name,
            created_ms,
        }))
    }
}
