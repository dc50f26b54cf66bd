//! Quarantine: what was refused, with the reason, so that a person can look at it.

use crate::engine::{Store, reading, transaction};
use crate::error::{StoreError, from_db};
use crate::ids::{LogRef, sha256};

/// Bytes kept per log; beyond it the reason is kept and the bytes are not. The first ones are the
/// evidence, so later ones never push them out.
const MOST_BYTES: i64 = 64 << 20;
/// Refusals kept per log.
const MOST_ROWS: i64 = 10_000;

/// One refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// When it was first refused.
    pub at_ms: i64,
    /// The short code of the reason.
    pub code: String,
    /// The reason in words.
    pub reason: String,
    /// What was refused; empty if the quarantine was full.
    pub refused: Vec<u8>,
    /// For a fork, what the store holds at the same place.
    pub held: Option<Vec<u8>>,
    /// How often the same bytes came.
    pub seen: u64,
    /// When they last came.
    pub last_ms: i64,
}

/// What the quarantine kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Everything.
    Everything,
    /// These very bytes were there already; they are counted.
    Counted,
    /// Only the reason; the quarantine of this log is full.
    ReasonOnly,
    /// Nothing; even the list is full.
    Nothing,
}

impl Store {
    /// Puts refused material away, within the bounds of 64 MiB and 10,000 refusals per log.
    pub async fn quarantine(
        &self,
        log: LogRef,
        at_ms: i64,
        code: &str,
        reason: &str,
        refused: &[u8],
        held: Option<&[u8]>,
    ) -> Result<Kept, StoreError> {
        let digest = sha256(refused);
        transaction!(self, "quarantine", |conn| {
            let counted = sqlx::query(
                "UPDATE quarantine SET seen = seen + 1, last_ms = $1 \
                 WHERE site_id = $2 AND log_id = $3 AND digest = $4",
            )
            .bind(at_ms)
            .bind(log.site.0)
            .bind(&log.log.0[..])
            .bind(&digest[..])
            .execute(&mut *conn)
            .await?
            .rows_affected();
            if counted > 0 {
                Kept::Counted
            } else {
                let (rows, bytes): (i64, i64) = sqlx::query_as(
                    "SELECT COUNT(*), \
                     CAST(COALESCE(SUM(LENGTH(refused) + COALESCE(LENGTH(held), 0)), 0) AS BIGINT) \
                     FROM quarantine WHERE site_id = $1 AND log_id = $2",
                )
                .bind(log.site.0)
                .bind(&log.log.0[..])
                .fetch_one(&mut *conn)
                .await?;
                let coming = refused.len() + held.map_or(0, <[u8]>::len);
                let fits = i64::try_from(coming).is_ok_and(|coming| bytes + coming <= MOST_BYTES);
                if rows >= MOST_ROWS {
                    Kept::Nothing
                } else {
                    sqlx::query(
                        "INSERT INTO quarantine (site_id, log_id, digest, at_ms, code, reason, \
                         refused, held, seen, last_ms) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1, $4) ON CONFLICT DO NOTHING",
                    )
                    .bind(log.site.0)
                    .bind(&log.log.0[..])
                    .bind(&digest[..])
                    .bind(at_ms)
                    .bind(code)
                    .bind(reason)
                    .bind(if fits { refused } else { &[] })
                    .bind(held.filter(|_| fits))
                    .execute(&mut *conn)
                    .await?;
                    if fits {
                        Kept::Everything
                    } else {
                        Kept::ReasonOnly
                    }
                }
            }
        })
    }

    /// Lists what of a log is in quarantine, oldest first, at most `most`.
    pub async fn quarantined(
        &self,
        log: LogRef,
        most: u32,
    ) -> Result<Vec<Quarantined>, StoreError> {
        type Raw = (i64, String, String, Vec<u8>, Option<Vec<u8>>, i64, i64);
        let raw: Vec<Raw> = reading!(self, "quarantined", |conn| {
            sqlx::query_as(
                "SELECT at_ms, code, reason, refused, held, seen, last_ms FROM quarantine \
                 WHERE site_id = $1 AND log_id = $2 ORDER BY at_ms, digest LIMIT $3",
            )
            .bind(log.site.0)
            .bind(&log.log.0[..])
            .bind(i64::from(most))
            .fetch_all(&mut *conn)
            .await?
        })?;
        raw.into_iter()
            .map(|(at_ms, code, reason, refused, held, seen, last_ms)| {
                let seen = from_db("quarantine.seen", seen)?;
                Ok(Quarantined {
                    at_ms,
                    code,
                    reason,
                    refused,
                    held,
                    seen,
                    last_ms,
                })
            })
            .collect()
    }
}
