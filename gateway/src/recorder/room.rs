//! When the disk or the byte limit is reached: what is given up, in which order, and what is said.
//!
//! 1. Day files that the collector has cosigned completely, oldest first.
//! 2. With `drop_oldest`: the payloads of the oldest unacknowledged entries, declared in the log
//!    *before* they go.
//! 3. Otherwise recording stops; the samples of the open segments stay in the journal, and when there
//!    is room again the time in between is declared as a gap of reason *storage*.

use evidence::control::Control;
use evidence::entry::GapReason;

use super::{OpenSegment, RETRY_MS, Recorder, RecorderError, Stall};
use crate::buffer::Space;
use crate::buffer::space::{place_ballast, release_ballast};
use crate::clock::DAY_MS;
use crate::config::FullPolicy;
use crate::log::LogError;

/// Bytes that one entry takes beside its payload: entry, checkpoint, range, pages.
const ROW_BYTES: u64 = 16_384;

/// How often old files are looked at, in milliseconds.
const TIDY_MS: u64 = 3_600_000;

/// Entries whose payloads are dropped at a time.
const DROP_AT_ONCE: u64 = 256;

impl Recorder {
    pub(super) fn place_ballast(&self) -> Result<(), RecorderError> {
        let limits = &self.settings.limits;
        let space = Space::of(&self.log_dir())?;
        if space.room(limits) > 2 * limits.ballast_bytes {
            place_ballast(&self.settings.data_dir, limits.ballast_bytes)?;
        }
        Ok(())
    }

    fn log_dir(&self) -> std::path::PathBuf {
        self.settings.data_dir.join("log")
    }

    /// Whether an entry with a payload of this size fits within the limits.
    pub(super) fn has_room(&self, payload_bytes: usize) -> Result<bool, RecorderError> {
        let needed = ROW_BYTES + u64::try_from(payload_bytes).unwrap_or(u64::MAX) * 2;
        Ok(Space::of(&self.log_dir())?.room(&self.settings.limits) >= needed)
    }

    /// Gives up what may be given up; whether there is room now.
    pub(super) async fn make_room(&mut self) -> Result<bool, RecorderError> {
        while let Some(freed) = self.log.buffer().forget_oldest(self.acknowledged)? {
            tracing::warn!(
                "The buffer is full: removed {}, which the collector holds",
                freed.display()
            );
            if self.has_room(0)? {
                return Ok(true);
            }
        }
        if self.settings.policy == FullPolicy::DropOldest {
            return Box::pin(self.drop_oldest()).await;
        }
        Ok(false)
    }

    /// Declares and drops the oldest unacknowledged payloads.
    async fn drop_oldest(&mut self) -> Result<bool, RecorderError> {
        // The declaration has to be written although there is no room: that is what ballast is for.
        release_ballast(&self.settings.data_dir)?;
        let end = self.log.chain().size();
        let mut from = self.acknowledged.max(self.dropped_to);
        while let Some(first) = self.first_payload(from, end).await? {
            from = first;
            let to = (from + DROP_AT_ONCE).min(end);
            let reason = String::from("the buffer was full");
            let control = Control::Dropped {
                from,
                to: to - 1,
                reason,
            };
            let Some(journal) = &mut self.journal else {
                return Ok(false);
            };
            // The clock as it is: a start seals this before its axes are placed, and a statement without
            // a time would make the next entries wait for a clock event that is not coming.
            match self.log.control(journal, &control, self.clock.now()).await {
                Ok(sealed) => self.take_sealed(sealed).await?,
                Err(error) if error.is_full() => return Ok(false),
                Err(error) => return Err(error.into()),
            }
            tracing::error!(
                from,
                to,
                "The buffer is full: the oldest payloads were dropped"
            );
            self.dropped_to = to;
            // If the process dies here, the payloads are still there although declared dropped. The
            // declaration decides: they count as lost everywhere, and are given back with the next drop.
            if let Err(error) = self.log.buffer_mut().drop_payloads(from, to).await {
                // What is dropped but not given back yet is given back with the next attempt.
                tracing::error!("Room could not be given back: {error}");
                return Ok(false);
            }
            if self.has_room(0)? {
                return Ok(true);
            }
            from = to;
        }
        Ok(false)
    }

    /// The first entry from `from` on whose payload is still there: what an earlier run dropped is not
    /// declared again.
    async fn first_payload(&self, from: u64, end: u64) -> Result<Option<u64>, RecorderError> {
        let mut reader = self.log.buffer().reader();
        let first = reader.first_payload(from, end).await;
        Ok(first.map_err(LogError::from)?)
    }

    /// Stops recording until there is room.
    pub(super) fn stall(&mut self) {
        let retry_at_ms = self.clock.monotonic_ms() + RETRY_MS;
        let since_unix_ms = match self.stalled {
            Some(stall) => stall.since_unix_ms,
            None => {
                tracing::error!("No room is left: recording stops until there is");
                self.clock.now().unix_ms
            }
        };
        self.stalled = Some(Stall {
            since_unix_ms,
            retry_at_ms,
        });
    }

    /// Notes how this run would have ended if the process died now; only the reason of a gap hangs on
    /// it, so a full disk is no error here.
    pub(super) async fn note_end(&mut self, how: &str) {
        if let Some(journal) = &mut self.journal
            && let Err(error) = journal.set_note("closed", how.as_bytes()).await
        {
            tracing::debug!("The journal took no note: {error}");
        }
    }

    /// Tries to go on: seals what was held, declares the time without recording. Whether it worked.
    pub(super) async fn resume_after_stall(&mut self, stall: Stall) -> Result<bool, RecorderError> {
        let monotonic_ms = self.clock.monotonic_ms();
        if !self.has_room(0)? && !self.make_room().await? {
            self.stall();
            return Ok(false);
        }
        self.stalled = None;
        for stream in self.open.keys().copied().collect::<Vec<_>>() {
            let Some(axis) = self.timeline.axis(stream).copied() else {
                continue;
            };
            // What was held may reach beyond one segment's end when the clock was corrected.
            while let Some(open) = self.open.get(&stream) {
                let (first, complete) = OpenSegment::complete(open);
                let end = complete.min(open.end);
                if end <= first {
                    break;
                }
                if !self.close_segment(stream, end).await? {
                    self.stalled = self.stalled.map(|again| Stall {
                        since_unix_ms: stall.since_unix_ms,
                        ..again
                    });
                    return Ok(false);
                }
            }
            let first = self.open.get(&stream).map_or(0, |open| open.first);
            let until = axis.tick_at(monotonic_ms) + 1;
            let text = Some("no room was left in the buffer");
            if !self
                .gap(stream, first, until, GapReason::Storage, text)
                .await?
            {
                return Ok(false);
            }
        }
        tracing::info!("There is room again: recording goes on");
        self.place_ballast()?;
        Ok(true)
    }

    /// Once an hour: removes files that are older than the retention and acknowledged completely.
    pub(super) async fn tidy(&mut self) -> Result<(), RecorderError> {
        let monotonic_ms = self.clock.monotonic_ms();
        if monotonic_ms < self.tidied_at_ms + TIDY_MS || !self.timeline.is_trusted() {
            return Ok(());
        }
        self.tidied_at_ms = monotonic_ms;
        let kept_ms = u64::from(self.settings.keep_days) * DAY_MS;
        let before_ms = self.clock.now().unix_ms.saturating_sub(kept_ms);
        let buffer = self.log.buffer();
        let removed = buffer
            .forget_before(before_ms, self.acknowledged)
            .await
            .map_err(LogError::from)?;
        for path in removed {
            tracing::info!(
                "Removed {}: acknowledged and older than the retention",
                path.display()
            );
        }
        Ok(())
    }
}
