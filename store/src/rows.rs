//! Reading entries and payloads back, in pages.

use std::ops::Range;

use crate::engine::{Store, reading};
use crate::error::{StoreError, from_db, hash_from_db, to_db};
use crate::ids::LogRef;

/// What an entry says of ticks, and the time they have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The stream.
    pub stream: u16,
    /// The first tick, counted from the log's beginning.
    pub first_tick: u64,
    /// The number of ticks.
    pub ticks: u64,
    /// `[from, to)` in unix milliseconds; `None` while the segment has no time (clock unset).
    pub time_ms: Option<(i64, i64)>,
}

/// One stored entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Position in the log.
    pub index: u64,
    /// RFC 6962 leaf hash of `entry`.
    pub leaf: [u8; 32],
    /// See [`crate::NewRow::kind`].
    pub kind: u16,
    /// The entry's bytes.
    pub entry: Vec<u8>,
    /// The payload's bytes; `None` if the entry has none, or it was not asked for.
    pub payload: Option<Vec<u8>>,
    /// What the entry says of ticks.
    pub segment: Option<Segment>,
}

type RawRow = (
    i64,
    Vec<u8>,
    i64,
    Vec<u8>,
    Option<Vec<u8>>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
);

fn row_from_db(raw: RawRow) -> Result<Row, StoreError> {
    let (index, leaf, kind, entry, payload, stream, first_tick, ticks, from_ms, to_ms) = raw;
    let segment = match (stream, first_tick, ticks) {
        (Some(stream), Some(first_tick), Some(ticks)) => Some(Segment {
            stream: from_db("segments.stream", stream)?,
            first_tick: from_db("segments.first_tick", first_tick)?,
            ticks: from_db("segments.ticks", ticks)?,
            time_ms: from_ms.zip(to_ms),
        }),
        _ => None,
    };
    Ok(Row {
        index: from_db("segments.idx", index)?,
        leaf: hash_from_db("segments.leaf", &leaf)?,
        kind: from_db("segments.kind", kind)?,
        entry,
        payload,
        segment,
    })
}

impl Store {
    /// Returns the rows of a range of indices, ascending, at most `most` of them.
    ///
    /// This is a page: read on from the last index + 1 until it comes back empty. Rows below the
    /// head never change and have no holes, so pages of different moments fit together. With
    /// `payloads` false they are left out, which saves most of the reading.
    pub async fn rows(
        &self,
        log: LogRef,
        range: Range<u64>,
        most: u32,
        payloads: bool,
    ) -> Result<Vec<Row>, StoreError> {
        let from = to_db("range start", range.start)?;
        let to = i64::try_from(range.end).unwrap_or(i64::MAX);
        let raw: Vec<RawRow> = reading!(self, "rows", |conn| {
            sqlx::query_as(
                "SELECT idx, leaf, kind, entry, CASE WHEN $1 = 1 THEN payload END, \
                 stream, first_tick, ticks, from_ms, to_ms FROM segments \
                 WHERE site_id = $2 AND log_id = $3 AND idx >= $4 AND idx < $5 \
                 ORDER BY idx LIMIT $6",
            )
            .bind(i64::from(payloads))
            .bind(log.site.0)
            .bind(&log.log.0[..])
            .bind(from)
            .bind(to)
            .bind(i64::from(most))
            .fetch_all(&mut *conn)
            .await?
        })?;
        raw.into_iter().map(row_from_db).collect()
    }

    /// Returns the rows of a stream that touch `[from_ms, to_ms)` (data, gaps, back-fills), by
    /// index, from index `after` (exclusive) on, at most `most` of them: a page, like
    /// [`Store::rows`].
    ///
    /// Segments without a time are not found by it.
    pub async fn segments_between(
        &self,
        log: LogRef,
        stream: u16,
        time_ms: Range<i64>,
        after: Option<u64>,
        most: u32,
        payloads: bool,
    ) -> Result<Vec<Row>, StoreError> {
        const HOUR_MS: i64 = 3_600_000;
        let after = match after {
            Some(after) => to_db("page start", after)?,
            None => -1,
        };
        let raw: Vec<RawRow> = reading!(self, "segments between", |conn| {
            // Data never spans more than an hour, so its index on from_ms has a lower bound too. A
            // gap may span weeks, but gaps are few: they are found by their kind. `+idx` keeps
            // SQLite, which has no statistics, from walking the primary key instead.
            sqlx::query_as(
                "SELECT idx, leaf, kind, entry, payload, stream, first_tick, ticks, from_ms, to_ms \
                 FROM (SELECT idx, leaf, kind, entry, CASE WHEN $1 = 1 THEN payload END AS payload, \
                 stream, first_tick, ticks, from_ms, to_ms FROM segments \
                 WHERE site_id = $2 AND log_id = $3 AND stream = $4 AND kind = 1 \
                 AND from_ms >= $5 AND from_ms < $6 AND to_ms > $7 AND +idx > $8 \
                 UNION ALL \
                 SELECT idx, leaf, kind, entry, CASE WHEN $1 = 1 THEN payload END AS payload, \
                 stream, first_tick, ticks, from_ms, to_ms FROM segments \
                 WHERE site_id = $2 AND log_id = $3 AND stream = $4 AND kind > 1 AND kind < 100 \
                 AND from_ms < $6 AND to_ms > $7 AND +idx > $8) AS found ORDER BY idx LIMIT $9",
            )
            .bind(i64::from(payloads))
            .bind(log.site.0)
            .bind(&log.log.0[..])
            .bind(i64::from(stream))
            .bind(time_ms.start.saturating_sub(HOUR_MS))
            .bind(time_ms.end)
            .bind(time_ms.start)
            .bind(after)
            .bind(i64::from(most))
            .fetch_all(&mut *conn)
            .await?
        })?;
        raw.into_iter().map(row_from_db).collect()
    }

    /// Returns the rows whose kind lies in a range (see [`crate::NewRow::kind`]; `100..200` is all
    /// control entries), by index, from index `after` (exclusive) on: a page with payloads.
    pub async fn rows_of_kind(
        &self,
        log: LogRef,
        kinds: Range<u16>,
        after: Option<u64>,
        most: u32,
    ) -> Result<Vec<Row>, StoreError> {
        let after = match after {
            Some(after) => to_db("page start", after)?,
            None => -1,
        };
        let raw: Vec<RawRow> = reading!(self, "rows of kind", |conn| {
            // `+idx`: by the index on kind, not along the primary key, which holds every segment.
            sqlx::query_as(
                "SELECT idx, leaf, kind, entry, payload, stream, first_tick, ticks, from_ms, to_ms \
                 FROM segments WHERE site_id = $1 AND log_id = $2 AND kind >= $3 AND kind < $4 \
                 AND +idx > $5 ORDER BY +idx LIMIT $6",
            )
            .bind(log.site.0)
            .bind(&log.log.0[..])
            .bind(i64::from(kinds.start))
            .bind(i64::from(kinds.end))
            .bind(after)
            .bind(i64::from(most))
            .fetch_all(&mut *conn)
            .await?
        })?;
        raw.into_iter().map(row_from_db).collect()
    }
}
