//! The live lane: one row per log, overwritten; and who is watching.

use crate::engine::{Store, reading, transaction};
use crate::error::{StoreError, from_db, hash_from_db};
use crate::ids::{LogId, LogRef, SiteId};

/// The newest unsealed values of a log, and its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveRow {
    /// The log.
    pub log: LogRef,
    /// Entries stored and cosigned.
    pub size: u64,
    /// The second of the newest cosignature.
    pub cosigned_s: u64,
    /// Counts the posts of this log, from 1; 0 if there was none yet. With `size` it names this
    /// state of the log: an event id.
    pub version: u64,
    /// When the row or the head last changed, by the clock of the collector that changed it.
    pub changed_ms: i64,
    /// The JSON text of the post, `None` before the first one.
    pub body: Option<String>,
}

/// Until when somebody watches a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// The log.
    pub log: LogRef,
    /// The end; extended while somebody looks.
    pub until_ms: i64,
}

impl Store {
    /// Overwrites the live row of a log and returns its new version. Latest arrival wins.
    pub async fn put_live(&self, log: LogRef, body: &str, now_ms: i64) -> Result<u64, StoreError> {
        let version: i64 = transaction!(self, "put live", |conn| {
            sqlx::query_scalar(
                "INSERT INTO live (site_id, log_id, version, changed_ms, body) \
                 VALUES ($1, $2, 1, $3, $4) ON CONFLICT (site_id, log_id) DO UPDATE SET \
                 version = live.version + 1, changed_ms = excluded.changed_ms, \
                 body = excluded.body RETURNING version",
            )
            .bind(log.site.0)
            .bind(&log.log.0[..])
            .bind(now_ms)
            .bind(body)
            .fetch_one(&mut *conn)
            .await?
        })?;
        from_db("live.version", version)
    }

    /// Returns every log whose live row or head changed at `since_ms` or later, oldest change
    /// first; `i64::MIN` for all.
    ///
    /// A follower asks with the greatest `changed_ms` it has seen, less the seconds by which clocks
    /// of several collectors may differ, and leaves out what it knows by (`size`, `version`): no
    /// change is missed, and none is told twice.
    pub async fn live_changed_since(&self, since_ms: i64) -> Result<Vec<LiveRow>, StoreError> {
        type Raw = (
            i64,
            Vec<u8>,
            i64,
            i64,
            i64,
            Option<i64>,
            Option<i64>,
            Option<String>,
        );
        let raw: Vec<Raw> = reading!(self, "live changed since", |conn| {
            sqlx::query_as(
                "SELECT g.site_id, g.log_id, g.size, g.cosigned_s, g.changed_ms, l.version, \
                 l.changed_ms, l.body FROM logs g LEFT JOIN live l \
                 ON l.site_id = g.site_id AND l.log_id = g.log_id \
                 WHERE g.changed_ms >= $1 OR l.changed_ms >= $1",
            )
            .bind(since_ms)
            .fetch_all(&mut *conn)
            .await?
        })?;
        let mut rows = raw
            .into_iter()
            .map(
                |(site, log, size, cosigned_s, head_ms, version, live_ms, body)| {
                    let log = LogId(hash_from_db("logs.log_id", &log)?);
                    Ok(LiveRow {
                        log: LogRef {
                            site: SiteId(site),
                            log,
                        },
                        size: from_db("logs.size", size)?,
                        cosigned_s: from_db("logs.cosigned_s", cosigned_s)?,
                        version: from_db("live.version", version.unwrap_or(0))?,
                        changed_ms: head_ms.max(live_ms.unwrap_or(i64::MIN)),
                        body,
                    })
                },
            )
            .collect::<Result<Vec<_>, StoreError>>()?;
        rows.sort_by_key(|row| (row.changed_ms, row.log));
        Ok(rows)
    }

    /// Says that somebody watches a log until a moment; never shortens it.
    pub async fn set_watch(&self, watch: Watch) -> Result<(), StoreError> {
        transaction!(self, "set watch", |conn| {
            sqlx::query(
                "INSERT INTO watch (site_id, log_id, until_ms) VALUES ($1, $2, $3) \
                 ON CONFLICT (site_id, log_id) DO UPDATE SET until_ms = \
                 CASE WHEN watch.until_ms > excluded.until_ms THEN watch.until_ms \
                 ELSE excluded.until_ms END",
            )
            .bind(watch.log.site.0)
            .bind(&watch.log.log.0[..])
            .bind(watch.until_ms)
            .execute(&mut *conn)
            .await?;
        })
    }

    /// Returns until when somebody watches a log; 0 if nobody ever did.
    pub async fn watched_until(&self, log: LogRef) -> Result<i64, StoreError> {
        let until: Option<i64> = reading!(self, "watched until", |conn| {
            sqlx::query_scalar("SELECT until_ms FROM watch WHERE site_id = $1 AND log_id = $2")
                .bind(log.site.0)
                .bind(&log.log.0[..])
                .fetch_optional(&mut *conn)
                .await?
        })?;
        Ok(until.unwrap_or(0))
    }
}
