//! The one write that matters: entries enter a log, all of it or nothing.

use crate::bulk::Bulk as _;
use crate::engine::{Store, transaction};
use crate::error::{StoreError, from_db, to_db};
use crate::hours::{Hour, Merge};
use crate::ids::LogRef;

/// One entry with what is known of it, as it enters the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRow {
    /// Position in the log.
    pub index: u64,
    /// RFC 6962 leaf hash of `entry`.
    pub leaf: [u8; 32],
    /// The entry's type number (0 control, 1 data, 2 gap, 4 back-fill); for a control entry the
    /// control kind plus 100, so that "all control entries" is one range of one index.
    pub kind: u16,
    /// The entry, byte for byte as it was signed.
    pub entry: Vec<u8>,
    /// The payload below it, byte for byte; `None` if it has none.
    pub payload: Option<Vec<u8>>,
    /// What the entry says of ticks; `None` for control entries.
    pub segment: Option<crate::rows::Segment>,
}

/// Earlier entries of a stream get their time: a clock event sealed the shift of an index range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The stream.
    pub stream: u16,
    /// The first index of the range.
    pub from_index: u64,
    /// The last index of the range, itself included.
    pub to_index: u64,
    /// Tick `t` of these entries begins at `(t + shift) * tick_ms`.
    pub shift: i64,
    /// The stream's tick length in milliseconds.
    pub tick_ms: u32,
}

/// A number of entries, and everything that must become true together with them.
#[derive(Clone, Debug)]
pub struct Append {
    /// The log.
    pub log: LogRef,
    /// The size that the caller saw; the append happens only if the head still has it.
    pub old_size: u64,
    /// The size after it: `old_size + rows.len()`.
    pub new_size: u64,
    /// The root of the tree of `new_size` leaves.
    pub new_root: [u8; 32],
    /// The chain's state after the last row, opaque to the store.
    pub chain: Vec<u8>,
    /// The entries, by index, without a hole.
    pub rows: Vec<NewRow>,
    /// Hourly aggregates of the rows, to be merged into what is there.
    pub hours: Vec<Hour>,
    /// Hourly aggregates that take the place of what is there, because merging would be wrong: made
    /// of every segment of their hour, as the store has them at `old_size` and the rows bring them.
    /// No key stands here and in `hours`.
    pub replaced: Vec<Hour>,
    /// How two encoded aggregates become one.
    pub merge: Merge,
    /// Segments without a time, earlier ones or of `rows`, that get theirs by one of the rows.
    pub placements: Vec<Placement>,
    /// The checkpoint of `new_size` with the log's signature and the collector's cosignature.
    pub note: Vec<u8>,
    /// The second that the cosignature states; never less than the head's.
    pub cosigned_s: u64,
    /// Whether `note` is also kept for ever as trail note.
    pub trail: bool,
    /// The moment of the append.
    pub now_ms: i64,
}

/// What became of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// Durable; the log has this size.
    At(u64),
    /// Nothing happened: the log has this size, not `old_size`.
    HeadMoved {
        /// The size of the log now.
        size: u64,
    },
}

impl Store {
    /// Appends entries in one transaction, if the log still has the size that the caller saw.
    ///
    /// Of several appends at one size exactly one succeeds. After [`Appended::HeadMoved`] nothing
    /// was changed; the caller compares what is stored ([`Store::rows`]) with what it has.
    ///
    /// # Errors
    ///
    /// [`StoreError::Absent`] if there is no such log, [`StoreError::Misuse`] if rows, sizes and
    /// times contradict one another.
    pub async fn append(&self, append: &Append) -> Result<Appended, StoreError> {
        check_append(append)?;
        transaction!(self, "append", |conn| { apply_append!(conn, append) })
    }
}

pub(crate) fn check_append(append: &Append) -> Result<(), StoreError> {
    let rows = append.old_size..append.new_size;
    if rows.is_empty() || !append.rows.iter().map(|row| row.index).eq(rows) {
        return Err(StoreError::Misuse(format!(
            "{} rows, first {:?}, do not lead from size {} to size {}",
            append.rows.len(),
            append.rows.first().map(|row| row.index),
            append.old_size,
            append.new_size
        )));
    }
    Ok(())
}

/// The statements of an append, in the order that makes it right on both engines.
///
/// The head goes first: the update takes the row's lock, so appends to one log queue up here and
/// the second finds its size gone. Everything after it is unopposed. A crash before the commit
/// leaves the old head and none of the rows; after it, the new head and all of them.
macro_rules! apply_append {
    ($conn:ident, $append:expr) => {{
        let append: &$crate::append::Append = $append;
        let (site, log) = (append.log.site.0, &append.log.log.0[..]);
        let swapped = sqlx::query(
            "UPDATE logs SET size = $1, root = $2, chain = $3, note = $4, cosigned_s = $5, \
             trail_ms = CASE WHEN $6 > 0 THEN $6 ELSE trail_ms END, changed_ms = $7 \
             WHERE site_id = $8 AND log_id = $9 AND size = $10 AND cosigned_s <= $5",
        )
        .bind($crate::error::to_db("new size", append.new_size)?)
        .bind(&append.new_root[..])
        .bind(&*append.chain)
        .bind(&*append.note)
        .bind($crate::error::to_db("cosignature time", append.cosigned_s)?)
        .bind(if append.trail { append.now_ms } else { 0 })
        .bind(append.now_ms)
        .bind(site)
        .bind(log)
        .bind($crate::error::to_db("old size", append.old_size)?)
        .execute(&mut *$conn)
        .await?
        .rows_affected();
        if swapped == 1 {
            $conn.insert_rows(append.log, &append.rows).await?;
            for placement in &append.placements {
                $crate::append::place!($conn, append.log, placement);
            }
            if append.trail {
                sqlx::query(
                    "INSERT INTO trail (site_id, log_id, at_ms, size, note) \
                     VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
                )
                .bind(site)
                .bind(log)
                .bind(append.now_ms)
                .bind($crate::error::to_db("new size", append.new_size)?)
                .bind(&*append.note)
                .execute(&mut *$conn)
                .await?;
            }
            $crate::tiles::store_complete_tiles!(
                $conn,
                append.log,
                append.old_size,
                append.new_size
            );
            $conn
                .merge_hours(append.log, &append.hours, append.merge)
                .await?;
            // What is stored cannot have changed since the caller read it: the head had not moved.
            $conn
                .merge_hours(
                    append.log,
                    &append.replaced,
                    |_stored, new| Ok(new.to_vec()),
                )
                .await?;
            $crate::append::Appended::At(append.new_size)
        } else {
            let head: Option<(i64, i64)> = sqlx::query_as(
                "SELECT size, cosigned_s FROM logs WHERE site_id = $1 AND log_id = $2",
            )
            .bind(site)
            .bind(log)
            .fetch_optional(&mut *$conn)
            .await?;
            $crate::append::not_swapped(append, head)?
        }
    }};
}

/// Gives a range of segments its time. A segment that has one keeps it: what was sealed with a time
/// is not moved afterwards, and of two clock events that place it the first one counts.
macro_rules! place {
    ($conn:ident, $log:expr, $placement:expr) => {{
        let (log, placement): ($crate::LogRef, &$crate::Placement) = ($log, $placement);
        sqlx::query(
            "UPDATE segments SET from_ms = (first_tick + $1) * $2, \
             to_ms = (first_tick + ticks + $1) * $2 \
             WHERE site_id = $3 AND log_id = $4 AND idx BETWEEN $5 AND $6 AND stream = $7 \
             AND from_ms IS NULL",
        )
        .bind(placement.shift)
        .bind(i64::from(placement.tick_ms))
        .bind(log.site.0)
        .bind(&log.log.0[..])
        .bind($crate::error::to_db("from index", placement.from_index)?)
        .bind($crate::error::to_db("to index", placement.to_index)?)
        .bind(i64::from(placement.stream))
        .execute(&mut *$conn)
        .await?;
    }};
}

pub(crate) use {apply_append, place};

/// Why the head was not swapped.
pub(crate) fn not_swapped(
    append: &Append,
    head: Option<(i64, i64)>,
) -> Result<Appended, StoreError> {
    let Some((size, cosigned_s)) = head else {
        return Err(StoreError::Absent {
            what: format!("log {}", append.log.log),
        });
    };
    let size: u64 = from_db("logs.size", size)?;
    if size == append.old_size && cosigned_s > to_db("cosignature time", append.cosigned_s)? {
        return Err(StoreError::Misuse(format!(
            "a cosignature at second {} after one at second {cosigned_s}",
            append.cosigned_s
        )));
    }
    Ok(Appended::HeadMoved { size })
}
