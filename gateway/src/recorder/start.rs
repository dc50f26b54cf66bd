//! Starting: what an earlier run left is taken up, sealed, and what was not sampled is declared.
//!
//! The order is fixed (evidence format, "write path and recovery"): the log's newest file is verified
//! row by row, journal and head are compared, the journal's samples are sealed under the
//! configuration they were taken with, then software, configuration, time, and the gaps.

use std::collections::BTreeMap;
use std::sync::Arc;

use evidence::chain::Chain;
use evidence::control::Control;
use evidence::entry::{ClockReading, ClockStatus, GapReason};
use evidence::hash::{Origin, sha256};
use evidence::measurement::{MeasurementConfig, Stream};
use tokio::sync::watch;

use super::clock_event::Unplaced;
use super::{Axes, Recorder, RecorderError, Settings, Surroundings, Timeline, unset};
use crate::buffer::Buffer;
use crate::clock::{DAY_MS, STEP_LIMIT_MS, utc_text};
use crate::delivery::Outcome;
use crate::durable;
use crate::identity::Identity;
use crate::journal::{Journal, JournalRow, PackedSamples};
use crate::log::{Log, LogError, genesis};
use crate::replay::{check_head, lock_dir, replay};
use crate::seal;
use crate::sqlite;
use crate::timeline::Axis;

/// How the last run ended, as far as its traces tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LastRun {
    /// There was none.
    None,
    /// It was stopped in order.
    Stopped,
    /// The process died; the machine did not.
    Died,
    /// The machine started again without an orderly stop.
    PowerLost,
    /// It had no room left to record.
    NoRoom,
}

impl Recorder {
    /// Opens the data directory, recovers, and is ready to record.
    ///
    /// The identity must exist (`init`); it is never made here. On an empty log the genesis entry is
    /// sealed first.
    ///
    /// # Errors
    ///
    /// [`RecorderError`].
    pub async fn open(settings: Settings, around: Surroundings) -> Result<Self, RecorderError> {
        sqlite::assert_version()
            .await
            .map_err(RecorderError::Library)?;
        durable::create_dir(&settings.data_dir)?;
        let lock = lock_dir(&settings.data_dir)?;
        let mut identity = Identity::open(&settings.data_dir, &settings.origin)?;
        let quarantine = settings.data_dir.join("quarantine");
        let (mut journal, journal_said) = Journal::open(&settings.data_dir, &quarantine).await?;
        let opened = Buffer::open(
            &settings.data_dir.join("log"),
            &quarantine,
            settings.limits.max_bytes,
            Arc::clone(&around.faults),
        )
        .await
        .map_err(LogError::from)?;
        let noted = journal.head().await?;
        let chain = replay(&opened.buffer, &settings.origin, noted).await?;
        check_head(&settings.data_dir, &opened.buffer, &chain, noted).await?;
        if let Some(key) = chain.entry_key() {
            identity.settle(key)?;
        }
        let last_run = last_run(&mut journal, &around.os_boot, chain.size()).await?;
        let counter = chain.boot().map_or(1, |boot| boot.counter + 1);
        let boot_id = boot_id(&settings.origin, &around.os_boot, counter);
        let clock = Arc::clone(&around.clock);
        let faults = Arc::clone(&around.faults);
        let mut log = Log::new(identity, chain, opened.buffer, boot_id, clock, faults);
        log.find_key_day().await?;
        let acknowledged = *Outcome::load(&settings.data_dir).acknowledged.borrow();
        let mut recorder = Self {
            clock: around.clock,
            faults: around.faults,
            timeline: Timeline::default(),
            axes: watch::Sender::new(Axes::default()),
            journal: Some(journal),
            log,
            open: BTreeMap::new(),
            unplaced: Vec::new(),
            waiting: Vec::new(),
            waiting_since_ms: 0,
            synced_at_ms: 0,
            stalled: None,
            // Known before anything is sealed: what the collector holds is never declared dropped here.
            acknowledged,
            dropped_to: 0,
            tidied_at_ms: 0,
            late_samples: 0,
            settings,
            _lock: lock,
        };
        recorder.begin(last_run, &around.os_boot).await?;
        let said = opened
            .set_aside
            .into_iter()
            .chain(journal_said)
            .collect::<Vec<_>>();
        recorder.name_in_log(&said).await?;
        Ok(recorder)
    }

    /// Seals the genesis entry of a new log, and the recovery entry that names its `predecessor`, and
    /// closes it again: what `init` does.
    ///
    /// # Errors
    ///
    /// [`RecorderError`].
    pub async fn begin_log(
        settings: Settings,
        around: Surroundings,
        predecessor: Option<Control>,
    ) -> Result<(), RecorderError> {
        let mut nothing = settings;
        nothing.table = MeasurementConfig::default();
        let mut recorder = Self::open(nothing, around).await?;
        if let Some(recovery) = predecessor {
            let now = recorder.stamp();
            recorder.control(&recovery, now).await?;
        }
        recorder.close().await
    }

    async fn begin(&mut self, last_run: LastRun, os_boot: &str) -> Result<(), RecorderError> {
        self.place_ballast()?;
        let now = self.clock.now();
        let monotonic_ms = self.clock.monotonic_ms();
        if self.log.chain().size() == 0 {
            let genesis = genesis(self.log.identity(), &self.settings.software.version);
            self.control(&genesis, now).await?;
        }
        self.seal_recovered(now).await?;
        self.name_software(now).await?;
        self.seal_configuration(now).await?;
        if now.status == ClockStatus::Unset {
            for (stream, state) in active(self.log.chain()) {
                let next = state.next_tick.unwrap_or(0);
                self.timeline
                    .go_on(stream, state.tick_ms, next, monotonic_ms);
                self.begin_segment(stream, next);
            }
            self.publish_axes();
        } else {
            self.join_trusted_time(now, monotonic_ms, last_run).await?;
        }
        if self.stalled.is_some() {
            // Going on would declare a gap over samples that the journal still holds.
            return Err(RecorderError::NoRoom(self.settings.data_dir.clone()));
        }
        if let Some(journal) = &mut self.journal {
            journal.clear(self.log.chain()).await?;
            journal.set_note("closed", b"").await?;
            journal.set_note("os_boot", os_boot.as_bytes()).await?;
            journal.sync().await?;
        }
        self.synced_at_ms = monotonic_ms;
        Ok(())
    }

    /// Seals what the journal holds beyond the log, under the configuration it was taken with.
    async fn seal_recovered(&mut self, now: ClockReading) -> Result<(), RecorderError> {
        let Some(journal) = &mut self.journal else {
            return Ok(());
        };
        let rows = journal.rows().await?;
        let covered = journal.covered().await?;
        for (stream, state) in active(self.log.chain()) {
            let next = state.next_tick.unwrap_or(0);
            // A tick a day ahead of the log was never sampled by us: the row is damaged.
            let furthest = next + DAY_MS / u64::from(state.tick_ms);
            let rows: Vec<JournalRow> = rows
                .iter()
                .filter(|row| row.stream == stream && (next..furthest).contains(&row.tick))
                .cloned()
                .map(|mut row| {
                    let mut samples = row.samples.unpack();
                    self.make_sealable(stream, &mut samples);
                    row.samples = PackedSamples::of(&samples);
                    row
                })
                .collect();
            let covered = covered
                .get(&stream)
                .copied()
                .filter(|(tick, _)| (next..furthest).contains(tick));
            let mut spans: Vec<(u64, Option<i64>)> =
                rows.iter().map(|row| (row.tick + 1, row.shift)).collect();
            spans.extend(covered.map(|(tick, shift)| (tick + 1, shift)));
            self.seal_spans(stream, state.tick_ms, &rows, &spans, now)
                .await?;
        }
        Ok(())
    }

    /// Seals a stream's recovered rows segment by segment. `spans` are (tick after, shift) of all that
    /// is known to have been sampled.
    async fn seal_spans(
        &mut self,
        stream: u16,
        tick_ms: u32,
        rows: &[JournalRow],
        spans: &[(u64, Option<i64>)],
        now: ClockReading,
    ) -> Result<(), RecorderError> {
        let mut first = self
            .log
            .chain()
            .stream(stream)
            .and_then(|s| s.next_tick)
            .unwrap_or(0);
        while let Some(&(_, shift)) = spans.iter().find(|(end, _)| *end > first) {
            let axis = Axis {
                tick_ms,
                origin_ms: 0,
                shift,
            };
            let segment_end = axis.segment_end(first, self.settings.segment_ms);
            // Not beyond what has the same relation to time: that changes only between segments.
            let same = spans
                .iter()
                .filter(|(end, other)| *end > first && *other == shift);
            let last = same.map(|(end, _)| *end).max().unwrap_or(segment_end);
            let end = segment_end.min(last);
            let state = self.log.chain().stream(stream).copied();
            let placed_by_chain = now.status != ClockStatus::Unset
                && !self.log.chain().clock_lost()
                && state.is_some_and(|state| Some(state.shift) == shift);
            // Otherwise the entry is called unset: its ticks were taken under another relation to time
            // than the one in force. A clock event of this run places it if that relation is known.
            let stamp = if placed_by_chain { now } else { unset(now) };
            let Some(config) = self.log.chain().config() else {
                return Ok(());
            };
            let encoded = seal::payload(&config.config, stream, first, end, rows);
            let sealed = self.seal_data(stream, first, end, encoded, Some(rows), stamp);
            let Some(index) = sealed.await? else {
                return Ok(());
            };
            if !placed_by_chain && shift.is_some() {
                self.unplaced.push(Unplaced {
                    stream,
                    index,
                    shift,
                });
            }
            tracing::info!(
                index,
                stream,
                first,
                end,
                "Sealed samples of an earlier run"
            );
            first = end;
        }
        Ok(())
    }

    async fn name_software(&mut self, now: ClockReading) -> Result<(), RecorderError> {
        let software = self.settings.software.clone();
        let name = format!("{} {}", software.version, software.binary.to_hex());
        let Some(journal) = &mut self.journal else {
            return Ok(());
        };
        if journal.note("software").await?.as_deref() == Some(name.as_bytes()) {
            return Ok(());
        }
        let control = Control::Software {
            version: software.version,
            binary: software.binary,
        };
        if self.control(&control, now).await?
            && let Some(journal) = &mut self.journal
        {
            // Lost in a crash, the same statement is sealed once more: true, and harmless.
            journal.set_note("software", name.as_bytes()).await?;
        }
        Ok(())
    }

    /// Seals the configuration if it differs from the one in force.
    async fn seal_configuration(&mut self, now: ClockReading) -> Result<(), RecorderError> {
        // From here on the sealed one describes the points: thousands of them are not kept twice.
        let mut wanted = std::mem::take(&mut self.settings.table);
        for stream in &mut wanted.streams {
            let known = self
                .log
                .chain()
                .stream(stream.id)
                .and_then(|state| state.next_tick);
            let fresh = if now.status == ClockStatus::Unset || self.log.chain().clock_lost() {
                0
            } else {
                // Shift 0: the tick number is the time itself.
                now.unix_ms.div_ceil(u64::from(stream.tick_ms))
            };
            stream.first_tick = known.unwrap_or(fresh);
        }
        let in_force = self.log.chain().config();
        if in_force.is_none() && wanted.streams.is_empty() {
            return Ok(());
        }
        if in_force.is_some_and(|config| same_table(&config.config, &wanted)) {
            return Ok(());
        }
        self.control(&Control::Config(Arc::new(wanted)), now)
            .await?;
        Ok(())
    }

    /// With a trusted clock: a clock event where the axes have no true place, then the gaps.
    async fn join_trusted_time(
        &mut self,
        now: ClockReading,
        monotonic_ms: u64,
        last_run: LastRun,
    ) -> Result<(), RecorderError> {
        let went_back = active(self.log.chain()).into_iter().any(|(_, state)| {
            let first = state.next_tick.unwrap_or(0);
            let behind = state.shift - Timeline::shift_from_now(first, state.tick_ms, &now);
            // A restart within a tick or a small correction: sampling waits until its tick comes.
            behind.saturating_mul(i64::from(state.tick_ms))
                > STEP_LIMIT_MS.max(2 * i64::from(state.tick_ms))
        });
        if self.log.chain().clock_lost() || went_back {
            let note = if went_back && !self.log.chain().clock_lost() {
                "the clock went back while the gateway was not running"
            } else {
                "time is known at the start"
            };
            let mut event = self.event_from(now, monotonic_ms, note);
            if !self.log.chain().clock_lost() {
                // Streams whose clock did not go back keep their place, and get a gap below.
                for (stream, shift) in &mut event.shifts {
                    let state = self.log.chain().stream(*stream);
                    *shift = state.map_or(*shift, |state| state.shift.min(*shift));
                }
            }
            self.control(&Control::Clock(event), now).await?;
            self.unplaced.clear();
        }
        self.timeline.trust(&now, monotonic_ms);
        let shifts: Vec<(u16, i64)> = active(self.log.chain())
            .into_iter()
            .map(|(id, state)| (id, state.shift))
            .collect();
        self.place_streams(&shifts);
        let (reason, text) = match last_run {
            LastRun::None | LastRun::Died => (GapReason::Startup, None),
            LastRun::Stopped => (GapReason::Operator, Some("stopped in order")),
            LastRun::PowerLost => (GapReason::Power, None),
            LastRun::NoRoom => (GapReason::Storage, Some("no room was left in the buffer")),
        };
        for (stream, state) in active(self.log.chain()) {
            let first = state.next_tick.unwrap_or(0);
            let until = state.shift_to(&now);
            if until > first {
                tracing::info!(
                    stream,
                    ticks = until - first,
                    reason = reason.name(),
                    "Declared what was not sampled until {}",
                    utc_text(now.unix_ms)
                );
                self.gap(stream, first, until, reason, text).await?;
            }
        }
        self.publish_axes();
        Ok(())
    }

    async fn name_in_log(&mut self, said: &[String]) -> Result<(), RecorderError> {
        for text in said {
            tracing::error!("{text}");
            let to = self.log.chain().size().saturating_sub(1);
            let text = super::cut_text(text, 1_000);
            let annotation = Control::Annotation {
                from: to,
                to,
                text,
                person: None,
            };
            self.control(&annotation, self.stamp()).await?;
        }
        Ok(())
    }
}

/// A stream of the configuration in force.
#[derive(Debug, Clone, Copy)]
struct Active {
    next_tick: Option<u64>,
    shift: i64,
    tick_ms: u32,
}

impl Active {
    /// The tick that starts with the first whole tick of wall time from now on.
    fn shift_to(&self, now: &ClockReading) -> u64 {
        let wall = now.unix_ms.div_ceil(u64::from(self.tick_ms));
        wall.saturating_add_signed(-self.shift)
    }
}

fn active(chain: &Chain) -> Vec<(u16, Active)> {
    chain
        .streams()
        .filter(|(_, state)| state.active)
        .map(|(id, state)| {
            let (next_tick, shift, tick_ms) = (state.next_tick, state.shift, state.tick_ms);
            (
                id,
                Active {
                    next_tick,
                    shift,
                    tick_ms,
                },
            )
        })
        .collect()
}

/// Whether two tables measure the same; where their streams begin does not count.
fn same_table(left: &MeasurementConfig, right: &MeasurementConfig) -> bool {
    let same_stream = |(left, right): (&Stream, &Stream)| {
        let first_tick = left.first_tick;
        *left
            == Stream {
                first_tick,
                ..*right
            }
    };
    left.devices == right.devices
        && left.points == right.points
        && left.streams.len() == right.streams.len()
        && left.streams.iter().zip(&right.streams).all(same_stream)
}

async fn last_run(
    journal: &mut Journal,
    os_boot: &str,
    size: u64,
) -> Result<LastRun, RecorderError> {
    let closed = journal.note("closed").await?;
    let boot = journal.note("os_boot").await?;
    Ok(match (closed.as_deref(), boot.as_deref()) {
        (Some(b"storage"), _) => LastRun::NoRoom,
        (Some([_, ..]), _) => LastRun::Stopped,
        (_, Some(boot)) if boot == os_boot.as_bytes() => LastRun::Died,
        (_, Some(_)) => LastRun::PowerLost,
        (_, None) if size == 0 => LastRun::None,
        (_, None) => LastRun::Died,
    })
}

/// The id of this run: changes with the machine's boot and with every run that seals.
fn boot_id(origin: &Origin, os_boot: &str, counter: u64) -> [u8; 8] {
    let text = format!(
        "fieldseal/boot/v1\n{}\n{os_boot}\n{counter}\n",
        origin.as_str()
    );
    let hash = sha256(text.as_bytes());
    let mut id = [0; 8];
    id.iter_mut()
        .zip(hash.as_bytes())
        .for_each(|(to, from)| *to = *from);
    id
}
