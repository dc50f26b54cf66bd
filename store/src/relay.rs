//! Who was shown which size of a log, and when it is to be shown again.
//!
//! A target is whoever is shown checkpoints: a witness by its verifier key, a timestamp authority by
//! its address. Several collectors share one store, so each takes a lease before it asks anybody:
//! [`Store::claim_relay`] moves the due time on, and only one of them moves it. A collector that dies
//! with a lease loses nothing: the lease ends by itself.

use crate::engine::{Store, reading, transaction};
use crate::error::{StoreError, from_db, hash_from_db, to_db};
use crate::ids::{LogId, LogRef, SiteId};

/// How it stands between a log and one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// The target.
    pub target: String,
    /// The size that the target vouched for last; 0 before the first time.
    pub size: u64,
    /// When that was; 0 before the first time.
    pub done_ms: i64,
    /// When it is asked again.
    pub due_ms: i64,
    /// Attempts that failed since.
    pub failures: u32,
    /// Why the last attempt failed; `None` after a success.
    pub error: Option<String>,
}

type RawRelay = (String, i64, i64, i64, i64, Option<String>);

fn relay_from_db(raw: RawRelay) -> Result<Relay, StoreError> {
    let (target, size, done_ms, due_ms, failures, error) = raw;
    Ok(Relay {
        target,
        size: from_db("relays.size", size)?,
        done_ms,
        due_ms,
        failures: u32::try_from(failures).unwrap_or(u32::MAX),
        error,
    })
}

impl Store {
    /// Takes the lease of a log and target until `until_ms`, if it is due at `now_ms`; a target that is
    /// new is due. `None`: not due, or another collector was faster.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn claim_relay(
        &self,
        log: LogRef,
        target: &str,
        now_ms: i64,
        until_ms: i64,
    ) -> Result<Option<Relay>, StoreError> {
        let raw: Option<RawRelay> = transaction!(self, "claim relay", |conn| {
            sqlx::query(
                "INSERT INTO relays (site_id, log_id, target, size, done_ms, due_ms, failures) \
                 VALUES ($1, $2, $3, 0, 0, 0, 0) ON CONFLICT DO NOTHING",
            )
            .bind(log.site.0)
            .bind(&log.log.0[..])
            .bind(target)
            .execute(&mut *conn)
            .await?;
            let claimed = sqlx::query(
                "UPDATE relays SET due_ms = $1 \
                 WHERE site_id = $2 AND log_id = $3 AND target = $4 AND due_ms <= $5",
            )
            .bind(until_ms)
            .bind(log.site.0)
            .bind(&log.log.0[..])
            .bind(target)
            .bind(now_ms)
            .execute(&mut *conn)
            .await?
            .rows_affected();
            if claimed == 1 {
                sqlx::query_as(
                    "SELECT target, size, done_ms, due_ms, failures, error FROM relays \
                     WHERE site_id = $1 AND log_id = $2 AND target = $3",
                )
                .bind(log.site.0)
                .bind(&log.log.0[..])
                .bind(target)
                .fetch_optional(&mut *conn)
                .await?
            } else {
                None
            }
        })?;
        raw.map(relay_from_db).transpose()
    }

    /// Writes down what came of an attempt.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn settle_relay(&self, log: LogRef, relay: &Relay) -> Result<(), StoreError> {
        let size = to_db("size", relay.size)?;
        transaction!(self, "settle relay", |conn| {
            sqlx::query(
                "UPDATE relays SET size = $1, done_ms = $2, due_ms = $3, failures = $4, error = $5 \
                 WHERE site_id = $6 AND log_id = $7 AND target = $8",
            )
            .bind(size)
            .bind(relay.done_ms)
            .bind(relay.due_ms)
            .bind(i64::from(relay.failures))
            .bind(relay.error.as_deref())
            .bind(log.site.0)
            .bind(&log.log.0[..])
            .bind(&relay.target)
            .execute(&mut *conn)
            .await?;
        })
    }

    /// Lists how it stands between the logs of a site and their targets.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn relays_of_site(&self, site: SiteId) -> Result<Vec<(LogId, Relay)>, StoreError> {
        type RawOfSite = (Vec<u8>, String, i64, i64, i64, i64, Option<String>);
        let raw: Vec<RawOfSite> = reading!(self, "relays of site", |conn| {
            sqlx::query_as(
                "SELECT log_id, target, size, done_ms, due_ms, failures, error FROM relays \
                 WHERE site_id = $1 ORDER BY log_id, target",
            )
            .bind(site.0)
            .fetch_all(&mut *conn)
            .await?
        })?;
        raw.into_iter()
            .map(|(log, target, size, done_ms, due_ms, failures, error)| {
                let log = LogId(hash_from_db("relays.log_id", &log)?);
                let relay = (target, size, done_ms, due_ms, failures, error);
                Ok((log, relay_from_db(relay)?))
            })
            .collect()
    }
}
