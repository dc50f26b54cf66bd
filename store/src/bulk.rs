//! Many rows in few statements: the only place where the two engines need different SQL.
//!
//! PostgreSQL takes arrays (`unnest`), one statement however many rows. SQLite takes rows of
//! values; its statements cost microseconds, but each is a message to the driver's thread.

use sqlx::{PgConnection, QueryBuilder, Sqlite, SqliteConnection};

use crate::append::NewRow;
use crate::error::{StoreError, to_db};
use crate::hours::{Hour, HourColumns, Merge, RawHour, hour_from_db, merge_all};
use crate::ids::LogRef;

/// SQLite allows 32,766 values per statement; this many rows of 12 stay well below, and bound the
/// size of a statement's text.
const ROWS: usize = 200;

pub(crate) trait Bulk {
    /// Inserts entries; the caller has taken the head.
    async fn insert_rows(&mut self, log: LogRef, rows: &[NewRow]) -> Result<(), StoreError>;

    /// Merges aggregates into the stored ones. The head's row lock keeps other appends of this log
    /// out between the reading and the writing.
    async fn merge_hours(
        &mut self,
        log: LogRef,
        hours: &[Hour],
        merge: Merge,
    ) -> Result<(), StoreError>;
}

/// The numbers of a row's segment, each null without one.
type Ticks = (
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
);

fn ticks_of(row: &NewRow) -> Result<Ticks, StoreError> {
    let Some(segment) = row.segment else {
        return Ok((None, None, None, None, None));
    };
    Ok((
        Some(segment.stream.into()),
        Some(to_db("first tick", segment.first_tick)?),
        Some(to_db("ticks", segment.ticks)?),
        segment.time_ms.map(|(from, _)| from),
        segment.time_ms.map(|(_, to)| to),
    ))
}

impl Bulk for SqliteConnection {
    async fn insert_rows(&mut self, log: LogRef, rows: &[NewRow]) -> Result<(), StoreError> {
        for rows in rows.chunks(ROWS) {
            let mut values = Vec::with_capacity(rows.len());
            for row in rows {
                values.push((row, to_db("index", row.index)?, ticks_of(row)?));
            }
            let mut insert = QueryBuilder::<Sqlite>::new(
                "INSERT INTO segments (site_id, log_id, idx, leaf, kind, entry, payload, stream, \
                 first_tick, ticks, from_ms, to_ms) ",
            );
            insert.push_values(values, |mut tuple, (row, index, ticks)| {
                let (stream, first_tick, count, from_ms, to_ms) = ticks;
                tuple
                    .push_bind(log.site.0)
                    .push_bind(log.log.0.to_vec())
                    .push_bind(index)
                    .push_bind(row.leaf.to_vec())
                    .push_bind(i64::from(row.kind))
                    .push_bind(row.entry.clone())
                    .push_bind(row.payload.clone())
                    .push_bind(stream)
                    .push_bind(first_tick)
                    .push_bind(count)
                    .push_bind(from_ms)
                    .push_bind(to_ms);
            });
            insert.build().execute(&mut *self).await?;
        }
        Ok(())
    }

    async fn merge_hours(
        &mut self,
        log: LogRef,
        hours: &[Hour],
        merge: Merge,
    ) -> Result<(), StoreError> {
        for hours in hours.chunks(ROWS) {
            let keys = HourColumns::of(hours)?;
            let keys = (keys.stream.into_iter().zip(keys.point))
                .zip(keys.hour.into_iter().zip(keys.config));
            let mut select =
                QueryBuilder::<Sqlite>::new("WITH wanted (stream, point, hour, config) AS (");
            select.push_values(keys, |mut tuple, ((stream, point), (hour, config))| {
                tuple
                    .push_bind(stream)
                    .push_bind(point)
                    .push_bind(hour)
                    .push_bind(config);
            });
            select.push(
                ") SELECT h.stream, h.point, h.hour, h.config, h.data FROM wanted w \
                 CROSS JOIN hours h ON h.stream = w.stream AND h.point = w.point \
                 AND h.hour = w.hour AND h.config = w.config AND h.site_id = ",
            );
            select
                .push_bind(log.site.0)
                .push(" AND h.log_id = ")
                .push_bind(log.log.0.to_vec());
            let stored: Vec<RawHour> = select.build_query_as().fetch_all(&mut *self).await?;
            let stored = stored
                .into_iter()
                .map(hour_from_db)
                .collect::<Result<Vec<_>, _>>()?;

            let merged = HourColumns::of(&merge_all(stored, hours, merge)?)?;
            let rows = (merged.stream.into_iter().zip(merged.point))
                .zip(merged.hour.into_iter().zip(merged.config))
                .zip(merged.data);
            let mut upsert = QueryBuilder::<Sqlite>::new(
                "INSERT INTO hours (site_id, log_id, stream, point, hour, config, data) ",
            );
            upsert.push_values(
                rows,
                |mut tuple, (((stream, point), (hour, config)), data)| {
                    tuple
                        .push_bind(log.site.0)
                        .push_bind(log.log.0.to_vec())
                        .push_bind(stream)
                        .push_bind(point)
                        .push_bind(hour)
                        .push_bind(config)
                        .push_bind(data);
                },
            );
            upsert.push(
                " ON CONFLICT (site_id, log_id, stream, point, hour, config) \
                 DO UPDATE SET data = excluded.data",
            );
            upsert.build().execute(&mut *self).await?;
        }
        Ok(())
    }
}

impl Bulk for PgConnection {
    async fn insert_rows(&mut self, log: LogRef, rows: &[NewRow]) -> Result<(), StoreError> {
        let mut index = Vec::with_capacity(rows.len());
        let mut ticks = Vec::with_capacity(rows.len());
        for row in rows {
            index.push(to_db("index", row.index)?);
            ticks.push(ticks_of(row)?);
        }
        sqlx::query(
            "INSERT INTO segments (site_id, log_id, idx, leaf, kind, entry, payload, stream, \
             first_tick, ticks, from_ms, to_ms) \
             SELECT $1, $2, * FROM unnest($3::bigint[], $4::bytea[], $5::bigint[], $6::bytea[], \
             $7::bytea[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], \
             $12::bigint[])",
        )
        .bind(log.site.0)
        .bind(&log.log.0[..])
        .bind(index)
        .bind(rows.iter().map(|row| &row.leaf[..]).collect::<Vec<_>>())
        .bind(
            rows.iter()
                .map(|row| i64::from(row.kind))
                .collect::<Vec<_>>(),
        )
        .bind(rows.iter().map(|row| &*row.entry).collect::<Vec<_>>())
        .bind(
            rows.iter()
                .map(|row| row.payload.as_deref())
                .collect::<Vec<_>>(),
        )
        .bind(ticks.iter().map(|ticks| ticks.0).collect::<Vec<_>>())
        .bind(ticks.iter().map(|ticks| ticks.1).collect::<Vec<_>>())
        .bind(ticks.iter().map(|ticks| ticks.2).collect::<Vec<_>>())
        .bind(ticks.iter().map(|ticks| ticks.3).collect::<Vec<_>>())
        .bind(ticks.iter().map(|ticks| ticks.4).collect::<Vec<_>>())
        .execute(&mut *self)
        .await?;
        Ok(())
    }

    async fn merge_hours(
        &mut self,
        log: LogRef,
        hours: &[Hour],
        merge: Merge,
    ) -> Result<(), StoreError> {
        if hours.is_empty() {
            return Ok(());
        }
        let keys = HourColumns::of(hours)?;
        let stored: Vec<RawHour> = sqlx::query_as(
            "SELECT h.stream, h.point, h.hour, h.config, h.data \
             FROM unnest($3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[]) \
             AS w (stream, point, hour, config) JOIN hours h ON h.site_id = $1 AND h.log_id = $2 \
             AND h.stream = w.stream AND h.point = w.point AND h.hour = w.hour \
             AND h.config = w.config",
        )
        .bind(log.site.0)
        .bind(&log.log.0[..])
        .bind(keys.stream)
        .bind(keys.point)
        .bind(keys.hour)
        .bind(keys.config)
        .fetch_all(&mut *self)
        .await?;
        let stored = stored
            .into_iter()
            .map(hour_from_db)
            .collect::<Result<Vec<_>, _>>()?;
        let merged = HourColumns::of(&merge_all(stored, hours, merge)?)?;
        sqlx::query(
            "INSERT INTO hours (site_id, log_id, stream, point, hour, config, data) \
             SELECT $1, $2, * FROM unnest($3::bigint[], $4::bigint[], $5::bigint[], \
             $6::bigint[], $7::bytea[]) \
             ON CONFLICT (site_id, log_id, stream, point, hour, config) \
             DO UPDATE SET data = excluded.data",
        )
        .bind(log.site.0)
        .bind(&log.log.0[..])
        .bind(merged.stream)
        .bind(merged.point)
        .bind(merged.hour)
        .bind(merged.config)
        .bind(merged.data)
        .execute(&mut *self)
        .await?;
        Ok(())
    }
}
