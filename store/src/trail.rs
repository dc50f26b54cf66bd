//! Trail notes: one cosigned checkpoint an hour, kept for ever, byte for byte.
//!
//! Written by [`Store::append`] when told so, and by [`Store::keep_trail_note`] after an
//! independent witness cosigned.

use std::ops::Range;

use crate::engine::{Store, reading, transaction};
use crate::error::{StoreError, from_db, to_db};
use crate::ids::LogRef;

/// A kept note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrailNote {
    /// When it was kept.
    pub at_ms: i64,
    /// The size that its checkpoint states.
    pub size: u64,
    /// The note.
    pub note: Vec<u8>,
}

fn trail_from_db((at_ms, size, note): (i64, i64, Vec<u8>)) -> Result<TrailNote, StoreError> {
    Ok(TrailNote {
        at_ms,
        size: from_db("trail.size", size)?,
        note,
    })
}

impl Store {
    /// Keeps a note, and says whether: one of the same moment and size is left as it is.
    pub async fn keep_trail_note(&self, log: LogRef, note: &TrailNote) -> Result<bool, StoreError> {
        let size = to_db("size", note.size)?;
        transaction!(self, "keep trail note", |conn| {
            sqlx::query(
                "INSERT INTO trail (site_id, log_id, at_ms, size, note) \
                 VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
            )
            .bind(log.site.0)
            .bind(&log.log.0[..])
            .bind(note.at_ms)
            .bind(size)
            .bind(&*note.note)
            .execute(&mut *conn)
            .await?
            .rows_affected()
                == 1
        })
    }

    /// Returns the newest trail note of a log, as [`Store::newest_trail_notes`] has it.
    pub async fn newest_trail_note(&self, log: LogRef) -> Result<Option<TrailNote>, StoreError> {
        Ok(self.newest_trail_notes(log, 1).await?.pop())
    }

    /// Lists the newest trail notes of a log, at most `most`, the largest size first. A tree that is
    /// larger is younger, whatever clock its note was made by; of one size, the note kept last has the
    /// most cosignatures.
    pub async fn newest_trail_notes(
        &self,
        log: LogRef,
        most: u32,
    ) -> Result<Vec<TrailNote>, StoreError> {
        let raw: Vec<(i64, i64, Vec<u8>)> = reading!(self, "newest trail notes", |conn| {
            sqlx::query_as(
                "SELECT at_ms, size, note FROM trail WHERE site_id = $1 AND log_id = $2 \
                 ORDER BY size DESC, at_ms DESC LIMIT $3",
            )
            .bind(log.site.0)
            .bind(&log.log.0[..])
            .bind(i64::from(most))
            .fetch_all(&mut *conn)
            .await?
        })?;
        raw.into_iter().map(trail_from_db).collect()
    }

    /// Lists the trail notes kept in `[from, to)` (unix milliseconds), oldest first.
    pub async fn trail_notes(
        &self,
        log: LogRef,
        kept_ms: Range<i64>,
    ) -> Result<Vec<TrailNote>, StoreError> {
        let raw: Vec<(i64, i64, Vec<u8>)> = reading!(self, "trail notes", |conn| {
            sqlx::query_as(
                "SELECT at_ms, size, note FROM trail WHERE site_id = $1 AND log_id = $2 \
                 AND at_ms >= $3 AND at_ms < $4 ORDER BY at_ms, size",
            )
            .bind(log.site.0)
            .bind(&log.log.0[..])
            .bind(kept_ms.start)
            .bind(kept_ms.end)
            .fetch_all(&mut *conn)
            .await?
        })?;
        raw.into_iter().map(trail_from_db).collect()
    }

    /// Lists the trail notes of sizes in `[from, to]`, smallest first: what a bundle carries.
    pub async fn trail_notes_by_size(
        &self,
        log: LogRef,
        from: u64,
        to: u64,
    ) -> Result<Vec<TrailNote>, StoreError> {
        let (from, to) = (
            to_db("from size", from)?,
            i64::try_from(to).unwrap_or(i64::MAX),
        );
        let raw: Vec<(i64, i64, Vec<u8>)> = reading!(self, "trail notes by size", |conn| {
            sqlx::query_as(
                "SELECT at_ms, size, note FROM trail WHERE site_id = $1 AND log_id = $2 \
                 AND size >= $3 AND size <= $4 ORDER BY size, at_ms",
            )
            .bind(log.site.0)
            .bind(&log.log.0[..])
            .bind(from)
            .bind(to)
            .fetch_all(&mut *conn)
            .await?
        })?;
        raw.into_iter().map(trail_from_db).collect()
    }
}
