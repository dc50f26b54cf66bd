//! Logs and their heads.

use crate::engine::{Store, reading, transaction};
use crate::error::{StoreError, from_db, hash_from_db};
use crate::ids::{LogId, LogRef, SiteId};

/// A log as lists and pages show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Which log, of which site.
    pub log: LogRef,
    /// Its origin.
    pub origin: String,
    /// Its public key (Ed25519).
    pub log_key: [u8; 32],
    /// The same key in text form, name and key hash included.
    pub log_vkey: String,
    /// Entries stored and cosigned.
    pub size: u64,
    /// Root of the tree of `size` leaves.
    pub root: [u8; 32],
    /// The second of the newest cosignature.
    pub cosigned_s: u64,
    /// When the log was enrolled.
    pub created_ms: i64,
    /// When the head last moved.
    pub changed_ms: i64,
}

/// The head of a log: all that is needed to append to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The log.
    pub log: Log,
    /// The chain's state after the last row, as [`crate::Append::chain`] gave it.
    pub chain: Vec<u8>,
    /// The cosigned checkpoint of this size.
    pub note: Vec<u8>,
    /// When the newest trail note was kept; 0 if none was.
    pub trail_ms: i64,
}

type RawLog = (
    i64,
    Vec<u8>,
    String,
    Vec<u8>,
    String,
    i64,
    Vec<u8>,
    i64,
    i64,
    i64,
);

fn log_from_db(raw: RawLog) -> Result<Log, StoreError> {
    let (site, log, origin, log_key, log_vkey, size, root, cosigned_s, created_ms, changed_ms) =
        raw;
    Ok(Log {
        log: LogRef {
            site: SiteId(site),
            log: LogId(hash_from_db("logs.log_id", &log)?),
        },
        origin,
        log_key: hash_from_db("logs.log_key", &log_key)?,
        log_vkey,
        size: from_db("logs.size", size)?,
        root: hash_from_db("logs.root", &root)?,
        cosigned_s: from_db("logs.cosigned_s", cosigned_s)?,
        created_ms,
        changed_ms,
    })
}

impl Store {
    /// Finds the site of a log by the log's id alone, with the SHA-256 of its gateway's token.
    pub async fn locate(&self, log: LogId) -> Result<Option<(LogRef, [u8; 32])>, StoreError> {
        let row: Option<(i64, Vec<u8>)> = reading!(self, "locate log", |conn| {
            sqlx::query_as("SELECT site_id, token FROM origins WHERE log_id = $1")
                .bind(&log.0[..])
                .fetch_optional(&mut *conn)
                .await?
        })?;
        let Some((site, token)) = row else {
            return Ok(None);
        };
        Ok(Some((
            LogRef {
                site: SiteId(site),
                log,
            },
            hash_from_db("origins.token", &token)?,
        )))
    }

    /// Returns a log without the bulk of its head.
    pub async fn log(&self, log: LogRef) -> Result<Option<Log>, StoreError> {
        let raw: Option<RawLog> = reading!(self, "log", |conn| {
            sqlx::query_as(
                "SELECT site_id, log_id, origin, log_key, log_vkey, size, root, cosigned_s, \
                 created_ms, changed_ms FROM logs WHERE site_id = $1 AND log_id = $2",
            )
            .bind(log.site.0)
            .bind(&log.log.0[..])
            .fetch_optional(&mut *conn)
            .await?
        })?;
        raw.map(log_from_db).transpose()
    }

    /// Returns the head of a log.
    pub async fn head(&self, log: LogRef) -> Result<Option<Head>, StoreError> {
        type RawHead = (
            i64,
            Vec<u8>,
            String,
            Vec<u8>,
            String,
            i64,
            Vec<u8>,
            i64,
            i64,
            i64,
            Vec<u8>,
            Vec<u8>,
            i64,
        );
        let raw: Option<RawHead> = reading!(self, "head", |conn| {
            sqlx::query_as(
                "SELECT site_id, log_id, origin, log_key, log_vkey, size, root, cosigned_s, \
                 created_ms, changed_ms, chain, note, trail_ms FROM logs \
                 WHERE site_id = $1 AND log_id = $2",
            )
            .bind(log.site.0)
            .bind(&log.log.0[..])
            .fetch_optional(&mut *conn)
            .await?
        })?;
        let Some((
            site,
            id,
            origin,
            key,
            vkey,
            size,
            root,
            cosigned,
            made,
            changed,
            chain,
            note,
            trail,
        )) = raw
        else {
            return Ok(None);
        };
        let log = log_from_db((
            site, id, origin, key, vkey, size, root, cosigned, made, changed,
        ))?;
        Ok(Some(Head {
            log,
            chain,
            note,
            trail_ms: trail,
        }))
    }

    /// Lists the logs of a site by origin.
    pub async fn logs_of_site(&self, site: SiteId) -> Result<Vec<Log>, StoreError> {
        let raw: Vec<RawLog> = reading!(self, "logs of site", |conn| {
            sqlx::query_as(
                "SELECT site_id, log_id, origin, log_key, log_vkey, size, root, cosigned_s, \
                 created_ms, changed_ms FROM logs WHERE site_id = $1 ORDER BY origin",
            )
            .bind(site.0)
            .fetch_all(&mut *conn)
            .await?
        })?;
        raw.into_iter().map(log_from_db).collect()
    }

    /// Replaces the token of a log's gateway, given as its SHA-256; the old one is worthless at once.
    ///
    /// # Errors
    ///
    /// [`StoreError::Absent`] if there is no such log.
    pub async fn replace_gateway_token(
        &self,
        log: LogId,
        token: [u8; 32],
    ) -> Result<(), StoreError> {
        let done = transaction!(self, "replace gateway token", |conn| {
            sqlx::query("UPDATE origins SET token = $1 WHERE log_id = $2")
                .bind(&token[..])
                .bind(&log.0[..])
                .execute(&mut *conn)
                .await?
                .rows_affected()
        })?;
        if done == 0 {
            return Err(StoreError::Absent {
                what: format!("log {log}"),
            });
        }
        Ok(())
    }
}
