//! Tokens of timestamp authorities (RFC 3161) over trail notes, kept for ever, byte for byte.

use crate::engine::{Store, reading, transaction};
use crate::error::{StoreError, from_db, to_db};
use crate::ids::LogRef;

/// A kept token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimestampToken {
    /// When it was kept.
    pub at_ms: i64,
    /// The size that the note's checkpoint states.
    pub size: u64,
    /// SHA-256 of the note's bytes, which the token states too.
    pub note: [u8; 32],
    /// The authority's whole answer (`TimeStampResp`), as `openssl ts` reads it.
    pub token: Vec<u8>,
}

impl Store {
    /// Keeps a token; one of the same moment and size is left as it is.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn keep_timestamp(
        &self,
        log: LogRef,
        token: &TimestampToken,
    ) -> Result<(), StoreError> {
        let size = to_db("size", token.size)?;
        transaction!(self, "keep timestamp", |conn| {
            sqlx::query(
                "INSERT INTO timestamps (site_id, log_id, at_ms, size, note, token) \
                 VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
            )
            .bind(log.site.0)
            .bind(&log.log.0[..])
            .bind(token.at_ms)
            .bind(size)
            .bind(&token.note[..])
            .bind(&*token.token)
            .execute(&mut *conn)
            .await?;
        })
    }

    /// Lists the tokens over notes of sizes in `[from, to]`, smallest first: what a bundle carries.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn timestamps_by_size(
        &self,
        log: LogRef,
        from: u64,
        to: u64,
    ) -> Result<Vec<TimestampToken>, StoreError> {
        let (from, to) = (
            to_db("from size", from)?,
            i64::try_from(to).unwrap_or(i64::MAX),
        );
        let raw: Vec<(i64, i64, Vec<u8>, Vec<u8>)> = reading!(self, "timestamps", |conn| {
            sqlx::query_as(
                "SELECT at_ms, size, note, token FROM timestamps WHERE site_id = $1 \
                 AND log_id = $2 AND size >= $3 AND size <= $4 ORDER BY size, at_ms",
            )
            .bind(log.site.0)
            .bind(&log.log.0[..])
            .bind(from)
            .bind(to)
            .fetch_all(&mut *conn)
            .await?
        })?;
        raw.into_iter()
            .map(|(at_ms, size, note, token)| {
                Ok(TimestampToken {
                    at_ms,
                    size: from_db("timestamps.size", size)?,
                    note: crate::error::hash_from_db("timestamps.note", &note)?,
                    token,
                })
            })
            .collect()
    }
}
