//! Hourly aggregates: exact, rebuildable, written with the segments they summarise.

use std::ops::Range;

use crate::engine::{Store, reading};
use crate::error::{StoreError, from_db, to_db};
use crate::ids::LogRef;

/// What one aggregate row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HourKey {
    /// The stream.
    pub stream: u16,
    /// The point's position in the config.
    pub point: u16,
    /// Whole hours since 1970-01-01T00:00Z.
    pub hour: i64,
    /// Index of the config entry in force.
    pub config: u64,
}

/// One aggregate, encoded by whoever made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hour {
    /// What it is about.
    pub key: HourKey,
    /// The encoded aggregate.
    pub data: Vec<u8>,
}

/// Makes one encoded aggregate of the stored one and a later one.
pub type Merge = fn(stored: &[u8], later: &[u8]) -> Result<Vec<u8>, String>;

pub(crate) type RawHour = (i64, i64, i64, i64, Vec<u8>);

pub(crate) fn hour_from_db(raw: RawHour) -> Result<Hour, StoreError> {
    let (stream, point, hour, config, data) = raw;
    let key = HourKey {
        stream: from_db("hours.stream", stream)?,
        point: from_db("hours.point", point)?,
        hour,
        config: from_db("hours.config", config)?,
    };
    Ok(Hour { key, data })
}

/// Columns of a number of aggregates, as the bulk statements want them.
#[derive(Default)]
pub(crate) struct HourColumns {
    pub(crate) stream: Vec<i64>,
    pub(crate) point: Vec<i64>,
    pub(crate) hour: Vec<i64>,
    pub(crate) config: Vec<i64>,
    pub(crate) data: Vec<Vec<u8>>,
}

impl HourColumns {
    pub(crate) fn of(hours: &[Hour]) -> Result<Self, StoreError> {
        let mut columns = Self::default();
        for Hour { key, data } in hours {
            columns.stream.push(key.stream.into());
            columns.point.push(key.point.into());
            columns.hour.push(key.hour);
            columns.config.push(to_db("config index", key.config)?);
            columns.data.push(data.clone());
        }
        Ok(columns)
    }
}

/// Merges new aggregates with the stored ones of the same keys. Two of `new` with one key are
/// merged too.
pub(crate) fn merge_all(
    stored: Vec<Hour>,
    new: &[Hour],
    merge: Merge,
) -> Result<Vec<Hour>, StoreError> {
    let mut merged: std::collections::BTreeMap<HourKey, Vec<u8>> = stored
        .into_iter()
        .map(|hour| (hour.key, hour.data))
        .collect();
    for Hour { key, data } in new {
        let data = match merged.get(key) {
            Some(held) => merge(held, data).map_err(|why| {
                StoreError::Damaged(format!("aggregate of {key:?} cannot be merged: {why}"))
            })?,
            None => data.clone(),
        };
        merged.insert(*key, data);
    }
    Ok(merged
        .into_iter()
        .map(|(key, data)| Hour { key, data })
        .collect())
}

impl Store {
    /// Returns the aggregates of one point for the hours `[from, to)` (whole hours since 1970),
    /// by hour, then config index. Hours without a segment have no row.
    pub async fn hours(
        &self,
        log: LogRef,
        stream: u16,
        point: u16,
        hours: Range<i64>,
    ) -> Result<Vec<Hour>, StoreError> {
        let raw: Vec<RawHour> = reading!(self, "hours", |conn| {
            sqlx::query_as(
                "SELECT stream, point, hour, config, data FROM hours WHERE site_id = $1 \
                 AND log_id = $2 AND stream = $3 AND point = $4 AND hour >= $5 AND hour < $6 \
                 ORDER BY hour, config",
            )
            .bind(log.site.0)
            .bind(&log.log.0[..])
            .bind(i64::from(stream))
            .bind(i64::from(point))
            .bind(hours.start)
            .bind(hours.end)
            .fetch_all(&mut *conn)
            .await?
        })?;
        raw.into_iter().map(hour_from_db).collect()
    }

    /// Returns the aggregates of all points of a log for the hours `[from, to)`, by stream, point,
    /// hour, config index.
    pub async fn hours_of_log(
        &self,
        log: LogRef,
        hours: Range<i64>,
    ) -> Result<Vec<Hour>, StoreError> {
        let raw: Vec<RawHour> = reading!(self, "hours of log", |conn| {
            sqlx::query_as(
                "SELECT stream, point, hour, config, data FROM hours WHERE site_id = $1 \
                 AND log_id = $2 AND hour >= $3 AND hour < $4 \
                 ORDER BY stream, point, hour, config",
            )
            .bind(log.site.0)
            .bind(&log.log.0[..])
            .bind(hours.start)
            .bind(hours.end)
            .fetch_all(&mut *conn)
            .await?
        })?;
        raw.into_iter().map(hour_from_db).collect()
    }
}
