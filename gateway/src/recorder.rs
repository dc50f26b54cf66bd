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

use evidence::control::Control;
use evidence::entry::{Body, ClockReading, ClockStatus, Freshness, GapReason, Ticks};
use evidence::hash::{Hash, Origin};
use evidence::measurement::MeasurementConfig;
use evidence::quality::Quality;
use evidence::value::Kind;
use thiserror::Error;
use tokio::sync::watch;

use crate::buffer::{BufferError, LogReader, SpaceLimits};
use crate::clock::Clock;
use crate::config::{FullPolicy, GatewayConfig};
use crate::faults::{Faults, Step, Strike, planned};
use crate::identity::IdentityError;
use crate::journal::{Journal, JournalError, JournalRow};
use crate::log::{Log, LogError, Sealed};
use crate::sample::{Ack, PointSample, SampleValue, TickSamples};
use crate::seal::{self, SealError};
use crate::timeline::{Axes, Axis, Observation, Timeline};

mod clock_event;
mod room;
mod start;

use clock_event::Unplaced;

/// Messages are synced at the latest when this many wait for their acknowledgement …
const MOST_WAITING_ACKS: usize = 10;
/// … or when the first has waited this long, in milliseconds.
const LONGEST_ACK_WAIT_MS: u64 = 1_000;
/// A message stream's segment is closed early at this many messages: a chunk counts them in 16 bits.
const MOST_MESSAGES: usize = 50_000;
/// The longest text that is sealed; a longer one is called malformed.
const LONGEST_TEXT: usize = 4_096;
/// How long a polled stream may be late before its segment is closed without it, in milliseconds.
const PATIENCE_MS: u64 = 5_000;
/// How often a recorder without room looks for room again, in milliseconds.
const RETRY_MS: u64 = 10_000;
/// Ticks that were not recorded while the process was suspended become a gap from here on.
const HOUR_MS: u64 = 3_600_000;

/// What the recorder is told once.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The log's name.
    pub origin: Origin,
    /// Where keys, journal and day files are.
    pub data_dir: PathBuf,
    /// What is measured. `first_tick` of the streams is decided by the recorder.
    pub table: MeasurementConfig,
    /// Length of a segment in milliseconds; divides an hour.
    pub segment_ms: u32,
    /// How often the journal is synced, in milliseconds.
    pub sync_interval_ms: u64,
    /// The bounds of the buffer.
    pub limits: SpaceLimits,
    /// What happens when they are reached.
    pub policy: FullPolicy,
    /// Days that acknowledged files are kept where the room allows.
    pub keep_days: u32,
    /// The program that seals.
    pub software: Software,
}

/// The running program, as it is named in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Software {
    /// Its version.
    pub version: String,
    /// SHA-256 of its file.
    pub binary: Hash,
}

/// What the recorder is surrounded by, as values.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The kernel's id of this boot: tells a power cut from the death of the process.
    pub os_boot: String,
    /// Planned faults; [`crate::faults::NoFaults`] in the field.
    pub faults: Arc<dyn Faults>,
}

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
    /// The file system refused.
    #[error(transparent)]
    Files(#[from] std::io::Error),
}

/// The samples of a stream that are not sealed yet.
#[derive(Debug)]
struct OpenSegment {
    messages: bool,
    first: u64,
    end: u64,
    /// The tick after the last one that is complete.
    next: u64,
    rows: Vec<JournalRow>,
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

/// What is to be sealed next.
enum Item<'a> {
    Control(&'a Control),
    Entry {
        body: Body,
        payload: Option<Vec<u8>>,
        forget: Option<(u16, u64)>,
    },
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

impl Settings {
    /// The recorder's part of a configuration.
    #[must_use]
    pub fn of(config: &GatewayConfig, software: Software) -> Self {
        const MEGABYTE: u64 = 1_000_000;
        Self {
            origin: config.origin.clone(),
            data_dir: config.data_dir.clone(),
            table: config.measurement(|_| 0),
            segment_ms: config.segment_s * 1_000,
            sync_interval_ms: u64::from(config.sync_interval_s) * 1_000,
            limits: SpaceLimits {
                max_bytes: config.buffer.max_mb * MEGABYTE,
                min_free_bytes: config.buffer.min_free_mb * MEGABYTE,
                ballast_bytes: 4 * MEGABYTE,
            },
            policy: config.buffer.policy,
            keep_days: config.buffer.keep_days,
            software,
        }
    }
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
        let TickSamples { stream, samples } = samples;
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
            samples,
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
        self.make_sealable(&mut samples);
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
            samples,
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
            if !self.resume_after_stall(stall).await? {
                return Ok(());
            }
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

    /// Counts the ticks of a message stream before `now` as listened to, sealing what is complete.
    async fn cover(&mut self, stream: u16, now: u64) -> Result<(), RecorderError> {
        if self.stalled.is_some() {
            return Ok(());
        }
        let tick_ms = self
            .timeline
            .axis(stream)
            .map_or(1, |axis| u64::from(axis.tick_ms));
        while let Some(open) = self.open.get(&stream).filter(|open| open.messages) {
            if now < open.end {
                break;
            }
            if (now - open.next.min(now)) * tick_ms > HOUR_MS {
                self.skip(stream, now).await?;
                break;
            }
            let end = open.end;
            if !self.close_segment(stream, end).await? {
                return Ok(());
            }
        }
        let shift = self.timeline.axis(stream).and_then(|axis| axis.shift);
        let Some(open) = self.open.get_mut(&stream) else {
            return Ok(());
        };
        if open.messages && now > open.next {
            open.next = now;
            if let Some(journal) = &mut self.journal {
                // Losing this note costs an empty second after a crash, never a message.
                if let Err(error) = journal.cover(stream, now - 1, shift).await {
                    self.replace_journal(&error).await?;
                }
            }
        }
        Ok(())
    }

    /// Puts a row into journal and open segment; `false` when there is no room.
    async fn keep(&mut self, row: JournalRow) -> Result<bool, RecorderError> {
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

    async fn write_to_journal(&mut self, row: &JournalRow) -> Result<(), RecorderError> {
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
    async fn replace_journal(&mut self, why: &JournalError) -> Result<(), RecorderError> {
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
    async fn sync_if_due(&mut self) -> Result<(), RecorderError> {
        let now_ms = self.clock.monotonic_ms();
        let interval_over = now_ms >= self.synced_at_ms + self.settings.sync_interval_ms;
        let messages_wait = self.waiting.len() >= MOST_WAITING_ACKS
            || (!self.waiting.is_empty() && now_ms >= self.waiting_since_ms + LONGEST_ACK_WAIT_MS);
        if !interval_over && !messages_wait {
            return Ok(());
        }
        self.sync().await
    }

    async fn sync(&mut self) -> Result<(), RecorderError> {
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

    /// Seals ticks `first..end` of a stream's open segment and begins the next one; `false` when there
    /// is no room, and the samples stay where they are.
    async fn close_segment(&mut self, stream: u16, end: u64) -> Result<bool, RecorderError> {
        let Some(open) = self.open.get(&stream) else {
            return Ok(true);
        };
        let first = open.first;
        let Some(config) = self.log.chain().config().map(Arc::clone) else {
            return Ok(true);
        };
        let payload = seal::payload(&config.config, stream, first, end, &open.rows)?;
        let ticks = Ticks {
            stream,
            first,
            count: end - first,
        };
        let body = Body::Data {
            ticks,
            payload: payload.signed,
        };
        let forget = Some((stream, end));
        let Some(index) = self
            .append(body, Some(payload.bytes), self.stamp(), forget)
            .await?
        else {
            return Ok(false);
        };
        if !self.timeline.is_trusted() {
            self.unplaced.push(Unplaced {
                stream,
                index,
                shift: None,
            });
        }
        self.begin_segment(stream, end);
        Ok(true)
    }

    /// Begins a segment at `first`, taking over rows that are already beyond it.
    fn begin_segment(&mut self, stream: u16, first: u64) {
        let Some(axis) = self.timeline.axis(stream) else {
            return;
        };
        let table = self.log.chain().config();
        let messages = table
            .and_then(|config| config.config.stream(stream))
            .is_some_and(|stream| stream.messages);
        let end = axis.segment_end(first, self.settings.segment_ms);
        let old = self.open.remove(&stream);
        let mut rows = old.map(|open| open.rows).unwrap_or_default();
        rows.retain(|row| row.tick >= first);
        let next = rows
            .last()
            .map_or(first, |row| if messages { first } else { row.tick + 1 });
        self.open.insert(
            stream,
            OpenSegment {
                messages,
                first,
                end,
                next,
                rows,
            },
        );
    }

    /// The process was suspended for more than an hour: what is open is sealed as far as it goes, and
    /// the rest until `tick` is a gap.
    async fn skip(&mut self, stream: u16, tick: u64) -> Result<(), RecorderError> {
        let (first, next) = self
            .open
            .get(&stream)
            .map_or((tick, tick), OpenSegment::complete);
        if next > first && !self.close_segment(stream, next).await? {
            return Ok(());
        }
        let text = "the gateway did not run although the machine did";
        self.gap(stream, next, tick, GapReason::Startup, Some(text))
            .await?;
        Ok(())
    }

    /// Seals a gap and begins the next segment behind it; `false` when there is no room.
    async fn gap(
        &mut self,
        stream: u16,
        first: u64,
        end: u64,
        reason: GapReason,
        text: Option<&str>,
    ) -> Result<bool, RecorderError> {
        if end <= first {
            return Ok(true);
        }
        let ticks = Ticks {
            stream,
            first,
            count: end - first,
        };
        let body = Body::Gap {
            ticks,
            reason,
            text: text.map(str::to_owned),
        };
        let Some(index) = self
            .append(body, None, self.stamp(), Some((stream, end)))
            .await?
        else {
            return Ok(false);
        };
        if !self.timeline.is_trusted() {
            self.unplaced.push(Unplaced {
                stream,
                index,
                shift: None,
            });
        }
        self.begin_segment(stream, end);
        Ok(true)
    }

    /// Seals a control entry; `false` when there is no room.
    async fn control(
        &mut self,
        control: &Control,
        now: ClockReading,
    ) -> Result<bool, RecorderError> {
        Ok(self.seal(&Item::Control(control), now).await?.is_some())
    }

    /// Seals a data or gap entry; `None` when there is no room.
    async fn append(
        &mut self,
        body: Body,
        payload: Option<Vec<u8>>,
        now: ClockReading,
        forget: Option<(u16, u64)>,
    ) -> Result<Option<u64>, RecorderError> {
        if !self.has_room(payload.as_ref().map_or(0, Vec::len))? && !self.make_room().await? {
            self.stall();
            return Ok(None);
        }
        self.seal(
            &Item::Entry {
                body,
                payload,
                forget,
            },
            now,
        )
        .await
    }

    /// Seals one entry, makes room once if there is none, and returns its index.
    async fn seal(
        &mut self,
        item: &Item<'_>,
        now: ClockReading,
    ) -> Result<Option<u64>, RecorderError> {
        let mut made_room = false;
        loop {
            match self.try_seal(item, now).await {
                Ok(index) => return Ok(Some(index)),
                Err(RecorderError::Log(error)) if error.is_full() => {
                    if made_room || !self.make_room().await? {
                        self.stall();
                        return Ok(None);
                    }
                    made_room = true;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn try_seal(&mut self, item: &Item<'_>, now: ClockReading) -> Result<u64, RecorderError> {
        if self.log.rotation_due(&now) {
            let sealed = self.log.rotate(journal(&mut self.journal)?).await?;
            self.take_sealed(sealed).await?;
        }
        let journal = journal(&mut self.journal)?;
        let sealed = match item {
            Item::Control(control) => self.log.control(journal, control, now).await?,
            Item::Entry {
                body,
                payload,
                forget,
            } => {
                self.log
                    .append(journal, body.clone(), payload.clone(), now, *forget)
                    .await?
            }
        };
        let index = sealed.index;
        self.take_sealed(sealed).await?;
        Ok(index)
    }

    async fn take_sealed(&mut self, sealed: Sealed) -> Result<(), RecorderError> {
        match sealed.journal_failed {
            None => Ok(()),
            Some(error) => self.replace_journal(&error).await,
        }
    }

    /// Files that were set aside are named in the log.
    async fn annotate_news(&mut self) -> Result<(), RecorderError> {
        for text in self.log.take_news() {
            tracing::error!("{text}");
            let size = self.log.chain().size();
            let to = size.saturating_sub(1);
            let text = cut_text(&text, 1_000);
            let annotation = Control::Annotation { from: to, to, text };
            self.control(&annotation, self.stamp()).await?;
        }
        Ok(())
    }

    /// The clock as an entry states it: unset until a clock event has given the axes their time, even
    /// if the time arrived a moment ago.
    fn stamp(&self) -> ClockReading {
        let now = self.clock.now();
        if self.timeline.is_trusted() {
            now
        } else {
            unset(now)
        }
    }

    /// Follows corrections, and seals an event for what is more.
    async fn look_at_clock(&mut self) -> Result<(), RecorderError> {
        let now = self.clock.now();
        match self.timeline.observe(&now, self.clock.monotonic_ms()) {
            Observation::Steady => Ok(()),
            Observation::Corrected(moved_ms) => {
                tracing::info!(moved_ms, "The clock was corrected and the ticks follow");
                self.publish_axes();
                Ok(())
            }
            Observation::FirstTime => {
                tracing::info!(status = now.status.name(), "Time is known");
                self.clock_event(now, "time is known").await
            }
            Observation::Stepped(moved_ms) => {
                tracing::warn!(moved_ms, "The clock stepped");
                let note = format!("the clock stepped by {moved_ms} ms");
                self.clock_event(now, &note).await
            }
        }
    }

    fn publish_axes(&self) {
        self.axes.send_replace(self.timeline.axes().clone());
    }

    /// Samples as the format accepts them, whatever the source delivered.
    fn make_sealable(&self, samples: &mut [PointSample]) {
        let Some(config) = self.log.chain().config() else {
            return;
        };
        for sample in samples {
            let SampleValue::Text(text) = &sample.value else {
                continue;
            };
            let point = config.config.points.get(usize::from(sample.point));
            if text.len() > LONGEST_TEXT {
                *sample = PointSample::absent(sample.point, Quality::MALFORMED, 0);
            } else if point.is_some_and(|point| point.format.kind == Kind::Number) {
                sample.flag(Quality::OFF_GRID);
            }
        }
    }
}

impl OpenSegment {
    /// First tick, and the tick after the last one that has samples or was listened to.
    fn complete(&self) -> (u64, u64) {
        let after_rows = self.rows.last().map_or(self.first, |row| row.tick + 1);
        (self.first, self.next.max(after_rows))
    }
}

/// The journal, which is absent only after it could not be replaced.
fn journal(journal: &mut Option<Journal>) -> Result<&mut Journal, RecorderError> {
    journal.as_mut().ok_or_else(|| {
        RecorderError::Files(std::io::Error::other(
            "the journal could not be replaced earlier",
        ))
    })
}

/// The same reading, called unset.
const fn unset(now: ClockReading) -> ClockReading {
    ClockReading {
        unix_ms: now.unix_ms,
        status: ClockStatus::Unset,
        error_ms: 0,
    }
}

fn is_full(error: &JournalError) -> bool {
    matches!(error, JournalError::Database { source, .. } if crate::sqlite::is_full(source))
}

fn died(step: Step) -> RecorderError {
    RecorderError::Log(LogError::Buffer(BufferError::Died(step)))
}

fn cut_text(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

/// The axis of a stream in the configuration in force, for tests and simulations.
#[must_use]
pub fn axis_of(axes: &Axes, stream: u16) -> Option<Axis> {
    axes.streams.get(&stream).copied()
}
