//! Tokens of people and programs, and the log of who read what.

use std::ops::Range;

use crate::engine::{Store, reading, transaction};
use crate::error::{StoreError, hash_from_db};
use crate::ids::{LogId, LogRef, SiteId, sha256};

/// A token, without the token itself: only its hash is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Whose it is, for lists and the access log.
    pub label: String,
    /// One of the roles of the API.
    pub role: String,
    /// The projects it may see; empty means all.
    pub projects: Vec<String>,
    /// When it was made.
    pub created_ms: i64,
    /// From this moment on it is worthless.
    pub expires_ms: i64,
    /// When it was revoked.
    pub revoked_ms: Option<i64>,
}

/// What a presented token is worth now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// Good.
    Valid(Token),
    /// Its time is over.
    Expired,
    /// It was revoked.
    Revoked,
    /// Nobody ever issued it.
    Unknown,
}

/// One read of evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// When.
    pub at_ms: i64,
    /// The site.
    pub site: SiteId,
    /// The log, if it was one.
    pub log: Option<LogId>,
    /// The token's label or the gateway's origin.
    pub who: String,
    /// What was read, in words.
    pub what: String,
}

type RawToken = (String, String, String, i64, i64, Option<i64>);

fn token_from_db(raw: RawToken) -> Result<Token, StoreError> {
    let (label, role, projects, created_ms, expires_ms, revoked_ms) = raw;
    let projects = serde_json::from_str(&projects)
        .map_err(|error| StoreError::Damaged(format!("tokens.projects: {error}")))?;
    Ok(Token {
        label,
        role,
        projects,
        created_ms,
        expires_ms,
        revoked_ms,
    })
}

impl Store {
    /// Stores a token's hash; the token itself is shown to its owner once and nowhere kept.
    ///
    /// # Errors
    ///
    /// [`StoreError::Exists`] if it is there already.
    pub async fn create_token(&self, secret: &str, token: &Token) -> Result<(), StoreError> {
        let hash = sha256(secret.as_bytes());
        let projects = serde_json::Value::from(token.projects.clone()).to_string();
        let done = transaction!(self, "create token", |conn| {
            sqlx::query(
                "INSERT INTO tokens (token, label, role, projects, created_ms, expires_ms, \
                 revoked_ms) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (token) DO NOTHING",
            )
            .bind(&hash[..])
            .bind(&*token.label)
            .bind(&*token.role)
            .bind(&*projects)
            .bind(token.created_ms)
            .bind(token.expires_ms)
            .bind(token.revoked_ms)
            .execute(&mut *conn)
            .await?
            .rows_affected()
        })?;
        if done == 0 {
            return Err(StoreError::Exists {
                what: format!("the token of `{}`", token.label),
            });
        }
        Ok(())
    }

    /// Says what a presented token is worth. It is looked up by its hash, so the time that takes
    /// tells nothing about other tokens.
    pub async fn check_token(&self, secret: &str, now_ms: i64) -> Result<TokenState, StoreError> {
        let hash = sha256(secret.as_bytes());
        let raw: Option<RawToken> = reading!(self, "check token", |conn| {
            sqlx::query_as(
                "SELECT label, role, projects, created_ms, expires_ms, revoked_ms FROM tokens \
                 WHERE token = $1",
            )
            .bind(&hash[..])
            .fetch_optional(&mut *conn)
            .await?
        })?;
        let Some(raw) = raw else {
            return Ok(TokenState::Unknown);
        };
        let token = token_from_db(raw)?;
        Ok(if token.revoked_ms.is_some() {
            TokenState::Revoked
        } else if token.expires_ms <= now_ms {
            TokenState::Expired
        } else {
            TokenState::Valid(token)
        })
    }

    /// Revokes every token of this label; returns how many were still good.
    pub async fn revoke_tokens(&self, label: &str, now_ms: i64) -> Result<u64, StoreError> {
        transaction!(self, "revoke tokens", |conn| {
            sqlx::query("UPDATE tokens SET revoked_ms = $1 WHERE label = $2 AND revoked_ms IS NULL")
                .bind(now_ms)
                .bind(label)
                .execute(&mut *conn)
                .await?
                .rows_affected()
        })
    }

    /// Lists all tokens by label, without what would let anybody use them.
    pub async fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        let raw: Vec<RawToken> = reading!(self, "tokens", |conn| {
            sqlx::query_as(
                "SELECT label, role, projects, created_ms, expires_ms, revoked_ms FROM tokens \
                 ORDER BY label, created_ms",
            )
            .fetch_all(&mut *conn)
            .await?
        })?;
        raw.into_iter().map(token_from_db).collect()
    }

    /// Says whether a token's projects cover a site. A token without projects covers all.
    pub async fn token_covers(&self, token: &Token, site: SiteId) -> Result<bool, StoreError> {
        if token.projects.is_empty() {
            return Ok(true);
        }
        let projects: Vec<String> = reading!(self, "projects of site", |conn| {
            sqlx::query_scalar("SELECT project_id FROM project_sites WHERE site_id = $1")
                .bind(site.0)
                .fetch_all(&mut *conn)
                .await?
        })?;
        Ok(projects
            .iter()
            .any(|project| token.projects.contains(project)))
    }

    /// Notes a read of evidence. `nonce` is a random number that keeps two reads of one
    /// millisecond apart.
    pub async fn note_access(&self, access: &Access, nonce: i64) -> Result<(), StoreError> {
        transaction!(self, "note access", |conn| {
            sqlx::query(
                "INSERT INTO access_log (site_id, at_ms, nonce, log_id, who, what) \
                 VALUES ($1, $2, $3, $4, $5, $6)",
            )
            .bind(access.site.0)
            .bind(access.at_ms)
            .bind(nonce)
            .bind(access.log.as_ref().map(|log| &log.0[..]))
            .bind(&*access.who)
            .bind(&*access.what)
            .execute(&mut *conn)
            .await?;
        })
    }

    /// Lists the reads of a site's evidence in `[from, to)`, newest first, at most `most`.
    pub async fn accesses(
        &self,
        site: SiteId,
        at_ms: Range<i64>,
        most: u32,
    ) -> Result<Vec<Access>, StoreError> {
        let raw: Vec<(i64, Option<Vec<u8>>, String, String)> =
            reading!(self, "accesses", |conn| {
                sqlx::query_as(
                    "SELECT at_ms, log_id, who, what FROM access_log WHERE site_id = $1 \
                 AND at_ms >= $2 AND at_ms < $3 ORDER BY at_ms DESC, nonce LIMIT $4",
                )
                .bind(site.0)
                .bind(at_ms.start)
                .bind(at_ms.end)
                .bind(i64::from(most))
                .fetch_all(&mut *conn)
                .await?
            })?;
        raw.into_iter()
            .map(|(at_ms, log, who, what)| {
                let log = log
                    .map(|log| hash_from_db("access_log.log_id", &log))
                    .transpose()?;
                Ok(Access {
                    at_ms,
                    site,
                    log: log.map(LogId),
                    who,
                    what,
                })
            })
            .collect()
    }

    /// Finds a log by its id, if a token covers the log's site: what a reader's address needs.
    pub async fn log_for(&self, token: &Token, log: LogId) -> Result<Option<LogRef>, StoreError> {
        let Some((log, _)) = self.locate(log).await? else {
            return Ok(None);
        };
        Ok(self.token_covers(token, log.site).await?.then_some(log))
    }
}
