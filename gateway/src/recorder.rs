//! The recorder: takes samples tick by tick and turns them into the log.
//!
//! It owns journal, log and time axes, and is the only one that writes in the data directory. The run
//! loop feeds it from devices and brokers; a simulation feeds it with a clock that it moves itself:
//! the code from here on is the same.
//!
//! Promises: a sample that [`Recorder::record`] accepted survives the death of the process, and after
//! the next sync a power cut; the ticks of a stream partition its axis exactly into data and declared
//! gaps; nothing is sealed that the gateway's own check refuses.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use evidence::entry::{ClockReading, ClockStatus, Freshness};
use evidence::hash::Hash;
use thiserror::Error;
use tokio::sync::watch;

use crate::buffer::{BufferError, LogReader};
use crate::clock::Clock;
use crate::faults::{Faults, Step};
use crate::identity::IdentityError;
use crate::journal::{Journal, JournalError, JournalRow, PackedSamples};
use crate::log::{Log, LogError};
use crate::sample::{Ack, PointSample, TickSamples};
use crate::seal::SealError;
use crate::timeline::{Axes, Timeline};

mod clock_event;
mod durability;
mod room;
mod sealing;
mod segments;
mod settings;
mod start;

pub use settings::{Settings, Software, Surroundings};

use clock_event::Unplaced;
use segments::OpenSegment;

/// A message stream's segment is closed early at this many messages: a chunk counts them, and what is
/// said of them (at most 16 records each, one for every flag), in 16 bits.
const MOST_MESSAGES: usize = 4_000;
/// How long a polled stream may be late before its segment is closed without it, in milliseconds.
const PATIENCE_MS: u64 = 5_000;
/// How often a recorder without room looks for room again, in milliseconds.
const RETRY_MS: u64 = 10_000;
/// Ticks that were not recorded while the process was suspended become a gap from here on.
const HOUR_MS: u64 = 3_600_000;

/// Why recording cannot go on. The process ends and starts again: recovery is the normal start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecorderError {
    /// Another process records into this directory.
    #[error("another process is recording into `{0}`; stop it first (`fieldseal-gateway status`)")]
    Running(PathBuf),
    /// The SQLite library is not usable.
    #[error("{0}")]
    Library(String),
    /// The keys are not usable.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The journal is not usable.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The log is not usable.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Samples do not encode.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The log on disk is shorter than what the journal says was sealed.
    #[error(
        "the log in `{dir}` has {found} entries but {noted} were sealed; its newest file is lost or an \
         old copy was restored. These positions must never be signed again: fetch the entries back \
         from the collector (`fieldseal-gateway restore`), or begin a new origin"
    )]
    HeadBehind {
        /// The directory.
        dir: PathBuf,
        /// Entries on disk.
        found: u64,
        /// Entries noted.
        noted: u64,
    },
    /// A row of the log does not verify.
    #[error(
        "entry {index} of the log on disk does not verify ({why}); the file was changed. Fetch the \
         entries back from the collector (`fieldseal-gateway restore`), or begin a new origin"
    )]
    Damaged {
        /// The position.
        index: u64,
        /// The rule.
        why: String,
    },
    /// There is no room to begin with.
    #[error(
        "no room is left in `{0}`, not even for what an earlier run recorded; free space or raise \
         [buffer] max_mb. Nothing is lost: the journal keeps it"
    )]
    NoRoom(PathBuf),
    /// The file system refused.
    #[error(transparent)]
    Files(#[from] std::io::Error),
}

/// See the module.
#[derive(Debug)]
pub struct Recorder {
    settings: Settings,
    clock: Arc<dyn Clock>,
    faults: Arc<dyn Faults>,
    timeline: Timeline,
    axes: watch::Sender<Axes>,
    journal: Option<Journal>,
    log: Log,
    open: BTreeMap<u16, OpenSegment>,
    unplaced: Vec<Unplaced>,
    waiting: Vec<Ack>,
    waiting_since_ms: u64,
    synced_at_ms: u64,
    /// Since when there is no room, and when to look again, in monotonic milliseconds.
    stalled: Option<Stall>,
    acknowledged: u64,
    /// Payloads below this index were dropped in this run.
    dropped_to: u64,
    tidied_at_ms: u64,
    late_samples: u64,
    /// Held as long as this recorder lives: one process per directory.
    _lock: File,
}

#[derive(Debug, Clone, Copy)]
struct Stall {
    since_unix_ms: u64,
    retry_at_ms: u64,
}

/// What a status page shows of the recorder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecorderStatus {
    /// Number of entries in the log.
    pub size: u64,
    /// Root over them.
    pub root: Hash,
    /// The clock.
    pub clock: ClockReading,
    /// Since when there is no room to record, in unix milliseconds.
    pub stalled_since_ms: Option<u64>,
    /// Samples that came for a tick that was already closed, since the start.
    pub late_samples: u64,
}

impl Recorder {
    /// The axes as samplers need them; changes after clock events.
    #[must_use]
    pub fn axes(&self) -> watch::Receiver<Axes> {
        self.axes.subscribe()
    }

    /// The number of entries that may leave the device; grows with each seal.
    #[must_use]
    pub fn released(&self) -> watch::Receiver<u64> {
        self.log.released()
    }

    /// Reads the log beside this recorder.
    #[must_use]
    pub fn reader(&self) -> LogReader {
        self.log.buffer().reader()
    }

    /// The log's state.
    #[must_use]
    pub const fn log(&self) -> &Log {
        &self.log
    }

    /// The tick that a stream records next.
    #[must_use]
    pub fn next_tick(&self, stream: u16) -> Option<u64> {
        self.open.get(&stream).map(|open| open.next)
    }

    /// What a status page shows.
    #[must_use]
    pub fn status(&self) -> RecorderStatus {
        RecorderStatus {
            size: self.log.chain().size(),
            root: self.log.chain().root(),
            clock: self.clock.now(),
            stalled_since_ms: self.stalled.map(|stall| stall.since_unix_ms),
            late_samples: self.late_samples,
        }
    }

    /// Pins an outside statement in the entries from now on. The caller has verified it.
    pub const fn set_freshness(&mut self, freshness: Freshness) {
        self.log.set_freshness(freshness);
    }

    /// Takes note that entries below `size`, and no others, are acknowledged by a verified
    /// cosignature. A collector that was restored from a backup may acknowledge less than before.
    pub const fn acknowledge(&mut self, size: u64) {
        self.acknowledged = size;
    }

    /// Records one tick of a polled stream.
    ///
    /// On return the samples survive the death of the process. Ticks come in ascending order; ticks
    /// left out are sealed as *not polled*, a tick that was closed already is ignored and counted.
    /// The tick that completes a segment seals it.
    ///
    /// While there is no room the samples are not taken; the gap is declared when there is.
    ///
    /// # Errors
    ///
    /// [`RecorderError`]: stop using this recorder and start again.
    pub async fn record(&mut self, tick: u64, samples: TickSamples) -> Result<(), RecorderError> {
        let generation = self.timeline.axes().generation;
        self.look_at_clock().await?;
        if self.timeline.axes().generation != generation {
            // Taken at a place that the axis has just left: it belongs to no tick any more.
            return Ok(());
        }
        let TickSamples {
            stream,
            mut samples,
        } = samples;
        self.make_sealable(stream, &mut samples);
        if self.stalled.is_some() {
            return Ok(());
        }
        let Some(axis) = self.timeline.axis(stream).copied() else {
            return Ok(());
        };
        let Some(open) = self.open.get(&stream) else {
            return Ok(());
        };
        if tick < open.next {
            self.late_samples += 1;
            return Ok(());
        }
        if (tick - open.next) * u64::from(axis.tick_ms) > HOUR_MS {
            self.skip(stream, tick).await?;
        }
        while self.open.get(&stream).is_some_and(|open| tick >= open.end) {
            let end = self.open.get(&stream).map_or(tick, |open| open.end);
            if !self.close_segment(stream, end).await? {
                return Ok(());
            }
        }
        let row = JournalRow {
            stream,
            tick,
            offset_ms: 0,
            shift: axis.shift,
            samples: PackedSamples::of(&samples),
        };
        if !self.keep(row).await? {
            return Ok(());
        }
        let Some(open) = self.open.get_mut(&stream) else {
            return Ok(());
        };
        open.next = tick + 1;
        if open.next == open.end {
            let end = open.end;
            self.close_segment(stream, end).await?;
        }
        self.sync_if_due().await
    }

    /// Records one message, received at `received_ms` of monotonic time.
    ///
    /// `ack` is called once the message is on durable storage. A message is never refused: one
    /// received before the open segment began counts at its beginning.
    ///
    /// # Errors
    ///
    /// [`RecorderError`]: stop using this recorder and start again.
    pub async fn record_message(
        &mut self,
        stream: u16,
        received_ms: u64,
        mut samples: Vec<PointSample>,
        ack: Option<Ack>,
    ) -> Result<(), RecorderError> {
        self.look_at_clock().await?;
        if self.stalled.is_some() {
            // Without an acknowledgement the broker keeps the message.
            return Ok(());
        }
        let Some(axis) = self.timeline.axis(stream).copied() else {
            return Ok(());
        };
        self.cover(stream, axis.tick_at(received_ms)).await?;
        let Some(open) = self.open.get(&stream) else {
            return Ok(());
        };
        let mut place = (axis.tick_at(received_ms), 0);
        if place.0 >= open.first {
            let within = received_ms.saturating_sub(axis.start_of(place.0));
            place.1 = u32::try_from(within).unwrap_or(0).min(axis.tick_ms - 1);
        } else {
            place = (open.first, 0);
        }
        // Offsets never decrease, also when the axis was corrected by some milliseconds meanwhile.
        if let Some(last) = open.rows.last() {
            place = place.max((last.tick, last.offset_ms));
        }
        let crowded = open.rows.len() >= MOST_MESSAGES;
        self.make_sealable(stream, &mut samples);
        let (tick, offset_ms) = place;
        if crowded && !self.close_segment(stream, tick + 1).await? {
            return Ok(());
        }
        let tick = tick.max(self.open.get(&stream).map_or(0, |open| open.first));
        let row = JournalRow {
            stream,
            tick,
            offset_ms,
            shift: axis.shift,
            samples: PackedSamples::of(&samples),
        };
        if !self.keep(row).await? {
            return Ok(());
        }
        if let Some(ack) = ack {
            if self.waiting.is_empty() {
                self.waiting_since_ms = self.clock.monotonic_ms();
            }
            self.waiting.push(ack);
        }
        self.sync_if_due().await
    }

    /// What is to be done without a sample: follows the clock, closes what is due, syncs, tidies.
    ///
    /// To be called about once a second.
    ///
    /// # Errors
    ///
    /// [`RecorderError`]: stop using this recorder and start again.
    pub async fn tend(&mut self) -> Result<(), RecorderError> {
        self.look_at_clock().await?;
        let monotonic_ms = self.clock.monotonic_ms();
        if let Some(stall) = self.stalled {
            if monotonic_ms < stall.retry_at_ms {
                return Ok(());
            }
            self.note_end("storage").await;
            if !self.resume_after_stall(stall).await? {
                return Ok(());
            }
            self.note_end("").await;
        }
        for stream in self.open.keys().copied().collect::<Vec<_>>() {
            let Some(axis) = self.timeline.axis(stream).copied() else {
                continue;
            };
            let Some(open) = self.open.get(&stream) else {
                continue;
            };
            if open.messages {
                self.cover(stream, axis.tick_at(monotonic_ms)).await?;
            } else if monotonic_ms > axis.start_of(open.end) + PATIENCE_MS + u64::from(axis.tick_ms)
            {
                // The sampler is stuck; what it did not deliver was not polled.
                let end = open.end;
                self.close_segment(stream, end).await?;
            }
        }
        self.annotate_news().await?;
        self.sync_if_due().await?;
        self.tidy().await
    }

    /// Seals the open segments, notes the orderly stop, and closes every file.
    ///
    /// Samples that cannot be sealed stay in the journal for the next start.
    ///
    /// # Errors
    ///
    /// [`RecorderError`]; the next start then recovers as after a crash.
    pub async fn close(mut self) -> Result<(), RecorderError> {
        let monotonic_ms = self.clock.monotonic_ms();
        for stream in self.open.keys().copied().collect::<Vec<_>>() {
            let Some(axis) = self.timeline.axis(stream).copied() else {
                continue;
            };
            if self.open.get(&stream).is_some_and(|open| open.messages) {
                self.cover(stream, axis.tick_at(monotonic_ms)).await?;
            }
            let (first, end) = self.open.get(&stream).map_or((0, 0), OpenSegment::complete);
            if end > first && !self.close_segment(stream, end).await? {
                break;
            }
        }
        if let Some(mut journal) = self.journal.take() {
            journal.set_note("closed", b"operator").await?;
            journal.close().await?;
        }
        self.waiting.drain(..).for_each(Ack::durable);
        self.log.close().await.map_err(LogError::from)?;
        Ok(())
    }
}

/// The same reading, called unset.
const fn unset(now: ClockReading) -> ClockReading {
    ClockReading {
        unix_ms: now.unix_ms,
        status: ClockStatus::Unset,
        error_ms: 0,
    }
}

fn died(step: Step) -> RecorderError {
    RecorderError::Log(LogError::Buffer(BufferError::Died(step)))
}

fn cut_text(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}
