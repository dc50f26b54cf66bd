//! The journal under the open segments: every row, every sync, and what happens when they fail.

use super::{Recorder, RecorderError, died};
use crate::faults::{Step, Strike, planned};
use crate::journal::{JournalError, JournalRow};
use crate::sample::Ack;

/// Messages are synced at the latest when this many wait for their acknowledgement …
const MOST_WAITING_ACKS: usize = 10;
/// … or when the first has waited this long, in milliseconds.
const LONGEST_ACK_WAIT_MS: u64 = 1_000;

impl Recorder {
    /// Puts a row into journal and open segment; `false` when there is no room.
    pub(super) async fn keep(&mut self, row: JournalRow) -> Result<bool, RecorderError> {
        let written = self.write_to_journal(&row).await;
        let stream = row.stream;
        if let Some(open) = self.open.get_mut(&stream) {
            open.rows.push(row);
        }
        match written {
            Ok(()) => Ok(true),
            Err(RecorderError::Journal(error)) => {
                self.replace_journal(&error).await?;
                Ok(self.stalled.is_none())
            }
            Err(error) => Err(error),
        }
    }

    pub(super) async fn write_to_journal(&mut self, row: &JournalRow) -> Result<(), RecorderError> {
        let strike = self.faults.strike(Step::JournalAppend);
        let failure = || JournalError::Database {
            path: self.settings.data_dir.join("journal.db"),
            source: planned(Step::JournalAppend),
        };
        match strike {
            Strike::Die => return Err(died(Step::JournalAppend)),
            Strike::Fail => return Err(failure().into()),
            Strike::Nothing | Strike::FailButPersist => {}
        }
        let failure = failure();
        if let Some(journal) = &mut self.journal {
            journal.append(row).await?;
        }
        if strike == Strike::FailButPersist {
            Err(failure.into())
        } else {
            Ok(())
        }
    }

    /// Sets a failed journal aside and writes the open segments into a new one.
    pub(super) async fn replace_journal(
        &mut self,
        why: &JournalError,
    ) -> Result<(), RecorderError> {
        if is_full(why) {
            self.stall();
            return Ok(());
        }
        tracing::warn!("The journal failed and is replaced: {why}");
        let Some(journal) = self.journal.take() else {
            return Ok(());
        };
        let dir = self.settings.data_dir.clone();
        let mut journal = journal
            .replace(&dir, self.log.buffer().quarantine())
            .await?;
        for row in self.open.values().flat_map(|open| &open.rows) {
            journal.append(row).await?;
        }
        journal.sync().await?;
        self.journal = Some(journal);
        Ok(())
    }

    /// Syncs the journal when the interval is over or messages wait, and acknowledges them.
    pub(super) async fn sync_if_due(&mut self) -> Result<(), RecorderError> {
        let now_ms = self.clock.monotonic_ms();
        let interval_over = now_ms >= self.synced_at_ms + self.settings.sync_interval_ms;
        let messages_wait = self.waiting.len() >= MOST_WAITING_ACKS
            || (!self.waiting.is_empty() && now_ms >= self.waiting_since_ms + LONGEST_ACK_WAIT_MS);
        if !interval_over && !messages_wait {
            return Ok(());
        }
        self.sync().await
    }

    pub(super) async fn sync(&mut self) -> Result<(), RecorderError> {
        let strike = self.faults.strike(Step::JournalSync);
        if strike == Strike::Die {
            return Err(died(Step::JournalSync));
        }
        let Some(journal) = &mut self.journal else {
            return Ok(());
        };
        let synced = match strike {
            Strike::Nothing => journal.sync().await,
            _ => Err(JournalError::Database {
                path: self.settings.data_dir.join("journal.db"),
                source: planned(Step::JournalSync),
            }),
        };
        if let Err(error) = synced {
            // After a failed sync nobody knows what is on the disk: everything open is written again.
            self.replace_journal(&error).await?;
            if self.stalled.is_some() {
                return Ok(());
            }
        }
        self.synced_at_ms = self.clock.monotonic_ms();
        self.waiting.drain(..).for_each(Ack::durable);
        Ok(())
    }
}

fn is_full(error: &JournalError) -> bool {
    matches!(error, JournalError::Database { source, .. } if crate::sqlite::is_full(source))
}
