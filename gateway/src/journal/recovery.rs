//! Reading the journal at a start, and replacing it after a failure.

use std::collections::BTreeMap;
use std::path::Path;

use evidence::chain::Chain;
use sqlx::{Connection as _, Row as _};

use super::{Journal, JournalError, JournalRow, PackedSamples, failed};
use crate::quarantine::set_aside;
use crate::sqlite::from_sql;

impl Journal {
    /// All rows in the order in which they were committed.
    ///
    /// # Errors
    ///
    /// [`JournalError`].
    pub async fn rows(&mut self) -> Result<Vec<JournalRow>, JournalError> {
        let path = self.path.clone();
        let stored =
            sqlx::query("SELECT stream, tick, offset_ms, shift, body FROM sample ORDER BY id")
                .fetch_all(&mut self.connection)
                .await
                .map_err(failed(&path))?;
        let mut rows = Vec::with_capacity(stored.len());
        for row in &stored {
            let (stream, tick) = stream_and_tick(row).map_err(failed(&path))?;
            let unreadable = || JournalError::Unreadable {
                path: path.clone(),
                stream,
                tick,
            };
            let offset_ms: i64 = row.try_get("offset_ms").map_err(failed(&path))?;
            let bytes: &[u8] = row.try_get("body").map_err(failed(&path))?;
            rows.push(JournalRow {
                stream,
                tick,
                offset_ms: u32::try_from(offset_ms).map_err(|_range| unreadable())?,
                shift: row.try_get("shift").map_err(failed(&path))?,
                samples: PackedSamples::from_bytes(bytes).ok_or_else(unreadable)?,
            });
        }
        Ok(rows)
    }

    /// Up to which tick each message stream was listened to, with the shift in force then.
    ///
    /// # Errors
    ///
    /// [`JournalError`].
    pub async fn covered(&mut self) -> Result<BTreeMap<u16, (u64, Option<i64>)>, JournalError> {
        let path = self.path.clone();
        let stored = sqlx::query("SELECT stream, tick, shift FROM covered")
            .fetch_all(&mut self.connection)
            .await
            .map_err(failed(&path))?;
        let mut covered = BTreeMap::new();
        for row in &stored {
            let (stream, tick) = stream_and_tick(row).map_err(failed(&path))?;
            covered.insert(stream, (tick, row.try_get("shift").map_err(failed(&path))?));
        }
        Ok(covered)
    }

    /// Forgets rows that are in the log, or of streams that no configuration has any more.
    ///
    /// # Errors
    ///
    /// [`JournalError::Database`].
    pub async fn clear(&mut self, chain: &Chain) -> Result<(), JournalError> {
        let path = self.path.clone();
        let next: BTreeMap<u16, u64> = chain
            .streams()
            .map(|(id, state)| (id, state.next_tick.unwrap_or(0)))
            .collect();
        let rows: Vec<(i64, i64, i64)> = sqlx::query_as("SELECT id, stream, tick FROM sample")
            .fetch_all(&mut self.connection)
            .await
            .map_err(failed(&path))?;
        for (id, stream, tick) in rows {
            let beyond = u16::try_from(stream)
                .ok()
                .and_then(|stream| next.get(&stream))
                .is_some_and(|&next| u64::try_from(tick).is_ok_and(|tick| tick >= next));
            if !beyond {
                sqlx::query("DELETE FROM sample WHERE id = $1")
                    .bind(id)
                    .execute(&mut self.connection)
                    .await
                    .map_err(failed(&path))?;
            }
        }
        sqlx::raw_sql("DELETE FROM covered")
            .execute(&mut self.connection)
            .await
            .map_err(failed(&path))?;
        self.unsynced_rows += 1;
        Ok(())
    }

    /// Sets the file aside and starts a new one with the same notes as far as they can be read.
    ///
    /// For use after a failed commit or sync; the caller appends its open segments again.
    ///
    /// # Errors
    ///
    /// [`JournalError`] when no new file can be made.
    pub async fn replace(self, dir: &Path, quarantine: &Path) -> Result<Self, JournalError> {
        let Self {
            path,
            mut connection,
            ..
        } = self;
        let notes: Vec<(String, Vec<u8>)> = sqlx::query_as("SELECT name, value FROM note")
            .fetch_all(&mut connection)
            .await
            .unwrap_or_default();
        if let Err(error) = connection.close_hard().await {
            tracing::debug!("Closing the failed journal failed as well: {error}");
        }
        set_aside(&path, quarantine)?;
        let (mut journal, _said) = Self::open(dir, quarantine).await?;
        for (name, value) in notes {
            sqlx::query("INSERT OR REPLACE INTO note (name, value) VALUES ($1, $2)")
                .bind(name)
                .bind(value)
                .execute(&mut journal.connection)
                .await
                .map_err(failed(&path))?;
        }
        journal.unsynced_rows += 1;
        Ok(journal)
    }
}

fn stream_and_tick(row: &sqlx::sqlite::SqliteRow) -> Result<(u16, u64), sqlx::Error> {
    let stream: i64 = row.try_get("stream")?;
    let tick: i64 = row.try_get("tick")?;
    let stream = u16::try_from(stream).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    Ok((stream, from_sql(tick)?))
}
