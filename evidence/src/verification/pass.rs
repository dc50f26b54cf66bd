//! The pass over a log's entries: order here, signatures and payloads wherever the caller likes.

use std::sync::Arc;

use super::open::{KeyUse, LogVerifier};
use super::partition::{Axis, Run};
use super::{Event, Failure, LogFacts, Problem};
use crate::bundle::{Disclosure, PREFIX_BYTES, ReadAt};
use crate::chain::Step;
use crate::control::Control;
use crate::entry::{Body, ClockStatus, Entry, GapReason, Ticks};
use crate::hash::{Hash, Origin};
use crate::rejection::Rejection;
use crate::segment::{ConfigInForce, Segment, tick_time};

/// More than this without a new key is worth saying, milliseconds.
const LONG_KEY_MS: u64 = 25 * 3_600_000;

/// An entry that may stand where it stands, with everything that checking the rest of it needs.
#[derive(Debug)]
pub struct Task<'b> {
    /// The index.
    pub index: u64,
    /// Whether the entry counts: false behind a hand-over.
    pub counted: bool,
    /// The length of its payload in `payload.bin`; 0 when it has none there.
    pub payload_bytes: u64,
    /// Where in the archive those bytes begin; known after [`LogVerifier::place_payload`].
    pub payload_at: u64,
    /// The number of values in memory once decoded, about.
    pub samples: u64,
    step: Step<'b>,
    shift: Option<i64>,
    dropped: bool,
    entry_at: u64,
    shown: Option<Arc<Vec<bool>>>,
    disclosed: bool,
}

/// Ticks of a stream without samples, placed in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tick {
    /// The stream.
    pub stream: u16,
    /// The first instant, unix milliseconds.
    pub from_ms: i64,
    /// The first instant after.
    pub to_ms: i64,
    /// The reason's name.
    pub reason: &'static str,
}

/// An entry that was checked completely.
#[derive(Debug)]
pub struct Checked {
    /// The index.
    pub index: u64,
    /// The leaf hash.
    pub leaf: Hash,
    /// Whether it counts: false behind a hand-over.
    pub counted: bool,
    /// The decoded samples of a data entry, with the shift that places it, if any does.
    pub segment: Option<Segment>,
    /// The time of a gap entry, or of a data entry whose payload was declared dropped.
    pub gap: Option<Tick>,
    /// Samples, all points.
    pub samples: u64,
    /// Samples that are not good, by the lowest code said of each.
    pub not_good: Vec<(u8, u64)>,
}

/// The entries in a piece of `entries.bin`.
#[derive(Debug, Clone)]
pub struct Frames<'b> {
    rest: &'b [u8],
    at: u64,
}

impl<'b> Frames<'b> {
    /// The frames of whole entries; `at` is the position of the piece in the archive.
    #[must_use]
    pub const fn new(piece: &'b [u8], at: u64) -> Self {
        Self { rest: piece, at }
    }
}

impl<'b> Iterator for Frames<'b> {
    /// The position of the entry in the archive, and the entry.
    type Item = (u64, &'b [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (length, rest) = self.rest.split_first_chunk::<2>()?;
        let length = u16::from_be_bytes(*length);
        let (entry, rest) = rest.split_at_checked(usize::from(length))?;
        self.rest = rest;
        let at = self.at + 2;
        self.at = at + u64::from(length);
        Some((at, entry))
    }
}

impl LogVerifier<'_> {
    /// The next piece of `entries.bin`: whole entries, about `most` bytes, and its position in the
    /// archive. Empty at the end.
    ///
    /// # Errors
    /// [`Problem::LeftOver`] when the file ends inside an entry.
    pub fn read_entries(
        &mut self,
        source: &dyn ReadAt,
        most: usize,
    ) -> Result<(Vec<u8>, u64), Failure> {
        let file = &self.files.entries;
        let at = file.offset + self.entries_read;
        let left = file.size - self.entries_read;
        let wanted = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(most.max(1 << 17));
        let mut piece = vec![0; wanted];
        source
            .read_exact_at(&mut piece, at)
            .map_err(|error| self.failure(crate::bundle::BundleError::Io(error)))?;
        let mut frames = Frames::new(&piece, 0);
        while frames.next().is_some() {}
        let read = frames.at;
        let whole = usize::try_from(read).unwrap_or(0);
        if whole == 0 && wanted > 0 {
            let problem = Problem::LeftOver("entries.bin ends inside an entry".to_owned());
            return Err(self
                .failure(problem)
                .of_entry(self.chain.size())
                .at(&file.path, at));
        }
        piece.truncate(whole);
        self.entries_read += read;
        Ok((piece, at))
    }

    /// The next bytes of `payload.bin`.
    ///
    /// # Errors
    /// [`Problem::LeftOver`] when the file is shorter than what was signed.
    pub fn read_payloads(&mut self, source: &dyn ReadAt, bytes: u64) -> Result<Vec<u8>, Failure> {
        let file = &self.files.payload;
        let at = file.offset + self.payload_read;
        let left = file.size - self.payload_read;
        let length = usize::try_from(bytes).ok().filter(|_| bytes <= left);
        let Some(length) = length else {
            let problem = Problem::LeftOver(format!(
                "payload.bin ends {} bytes early",
                bytes - left.min(bytes)
            ));
            return Err(self
                .failure(problem)
                .at(&file.path, file.offset + file.size));
        };
        let mut piece = vec![0; length];
        source
            .read_exact_at(&mut piece, at)
            .map_err(|error| self.failure(crate::bundle::BundleError::Io(error)))?;
        self.payload_read += bytes;
        Ok(piece)
    }

    /// Says where a task's payload stands and how long it is. For each task once, in order, before
    /// [`Self::read_payloads`]: only class B needs to look into the file for it.
    ///
    /// # Errors
    /// [`Problem::LeftOver`] when the file ends before the length, the payload's rejection when that
    /// is longer than what was signed can be, or than what is left.
    pub fn place_payload(
        &mut self,
        source: &dyn ReadAt,
        task: &mut Task<'_>,
    ) -> Result<(), Failure> {
        let file = &self.files.payload;
        task.payload_at = file.offset.saturating_add(self.payload_placed);
        if let (Body::Data { payload, .. }, Some(_), false) =
            (&task.step.signed.entry.body, &task.shown, task.dropped)
        {
            let here = |problem: Problem| {
                self.failure(problem)
                    .of_entry(task.index)
                    .at(&file.path, task.payload_at)
            };
            let mut prefix = [0; PREFIX_BYTES];
            let prefix_bytes = u64::try_from(PREFIX_BYTES).unwrap_or(u64::MAX);
            if file.size.saturating_sub(self.payload_placed) < prefix_bytes {
                let problem = "payload.bin ends before the length of this entry's part";
                return Err(here(Problem::LeftOver(problem.to_owned())));
            }
            source
                .read_exact_at(&mut prefix, task.payload_at)
                .map_err(|error| self.failure(crate::bundle::BundleError::Io(error)))?;
            let found = u64::from(u32::from_be_bytes(prefix));
            let most = payload
                .bytes
                .saturating_add(payload.chunks.saturating_mul(32));
            let left = file.size - self.payload_placed - prefix_bytes;
            if found > most.min(left) {
                let expected = payload.bytes;
                return Err(here(Problem::Entry(Rejection::PayloadLength {
                    expected,
                    found,
                })));
            }
            task.payload_bytes = found + prefix_bytes;
        }
        self.payload_placed = self.payload_placed.saturating_add(task.payload_bytes);
        Ok(())
    }

    /// How many payload bytes are not read yet.
    #[must_use]
    pub const fn payload_left(&self) -> u64 {
        self.files.payload.size - self.payload_read
    }

    fn failure(&self, problem: impl Into<Problem>) -> Failure {
        Failure::new(problem).of_log(self.origin.as_str())
    }

    /// Takes the next entry: its order, key, ticks, root and time. `at` is its position in the archive.
    ///
    /// # Errors
    /// The first [`Failure`]; the proof cannot go on after it.
    pub fn step<'b>(&mut self, bytes: &'b [u8], at: u64) -> Result<Task<'b>, Failure> {
        let index = self.chain.size();
        let path = &self.files.entries.path;
        let here = |problem: Problem| {
            Failure::new(problem)
                .of_log(self.origin.as_str())
                .of_entry(index)
                .at(path, at)
        };
        if index >= self.size {
            return Err(here(Problem::LeftOver(
                "an entry stands behind the last one of the checkpoint".to_owned(),
            )));
        }
        let expected = self
            .controls
            .get(self.next_control)
            .filter(|known| known.index == index);
        let body = expected
            .and_then(|known| known.blob.as_ref())
            .and_then(|hash| self.blobs.get(hash));
        let before = self.chain.config().cloned();
        if self.void_from == Some(index) {
            self.active_at_void = Some(super::open::active_streams(&self.chain));
        }
        let step = match self.chain.advance(bytes, body.map(Vec::as_slice)) {
            Ok(step) => step,
            Err(rejection) => {
                let ticks = Entry::parse(bytes)
                    .ok()
                    .and_then(|signed| signed.entry.ticks().copied());
                return Err(here(Problem::Entry(rejection)).of_ticks(ticks));
            }
        };
        if step.control.is_some() != expected.is_some()
            || expected.is_some_and(|known| known.leaf != step.leaf)
        {
            return Err(here(Problem::ControlDiffers));
        }
        let size = index + 1;
        if let Some((_, root)) = self
            .times
            .roots
            .get(self.next_root)
            .filter(|(of, _)| *of == size)
        {
            if *root != self.chain.root() {
                // An altered signature changes the leaf as well; it is the better name for it.
                step.verify(&self.origin)
                    .map_err(|rejection| here(Problem::Entry(rejection)))?;
                let which = if size == self.size {
                    "final checkpoint"
                } else {
                    "trail note of that size"
                };
                return Err(here(Problem::Root { size, which }));
            }
            self.next_root += 1;
            self.roots_met += 1;
        }
        let counted =
            self.hand_over.is_none_or(|end| index <= end.last_index) && !self.is_void(index);
        if let Some(end) = self.hand_over.filter(|end| end.last_index == index)
            && end.last_leaf != step.leaf
        {
            let problem =
                "it names another entry at that index: the logs do not belong together".to_owned();
            return Err(here(Problem::HandOver {
                successor: String::new(),
                problem,
            }));
        }
        self.compare_remembered(size);
        let entry = &step.signed.entry;
        self.times.pin(entry.freshness.as_ref());
        self.note_key(step.signed.key_id, entry.clock.unix_ms, entry.clock.status);
        if let Some(control) = &step.control {
            self.next_control += 1;
            self.note_control(
                index,
                control,
                before.as_ref().map(|config| &*config.config),
                counted,
            );
        }
        let dropped = matches!(entry.body, Body::Data { .. }) && self.afterwards.is_dropped(index);
        self.dropped += u64::from(dropped);
        let shift = match entry.ticks() {
            Some(ticks) => step
                .shift
                .or_else(|| self.afterwards.shift(ticks.stream, index)),
            None => None,
        };
        let (mut payload_bytes, mut samples) = (0, 0);
        if let (Body::Data { ticks, payload }, false) = (&entry.body, dropped) {
            if self.disclosure == Disclosure::All {
                payload_bytes = payload.bytes;
            }
            if self.disclosure != Disclosure::Commitments {
                samples = ticks.count.saturating_mul(payload.chunks);
            }
        }
        if counted && let Some(ticks) = entry.ticks() {
            let run = match &entry.body {
                Body::Gap { reason, .. } => Run::Gap(*reason),
                _ if dropped => Run::Dropped,
                _ => Run::Measured,
            };
            let config = step.config().map(|config| config.index);
            self.take_ticks(index, *ticks, step.tick_ms, shift, run, config);
        }
        Ok(Task {
            index,
            counted,
            payload_bytes,
            samples,
            step,
            shift,
            dropped,
            entry_at: at,
            payload_at: 0,
            shown: self.shown.clone(),
            disclosed: self.disclosure != Disclosure::Commitments,
        })
    }

    fn take_ticks(
        &mut self,
        index: u64,
        ticks: Ticks,
        tick_ms: u32,
        shift: Option<i64>,
        run: Run,
        config: Option<u64>,
    ) {
        let (first, trust) = (self.first, self.trust);
        let at_start = self.sampled_at_start.contains(&ticks.stream);
        let axis = self.axes.entry(ticks.stream).or_insert_with(|| {
            Axis::new(
                ticks.stream,
                tick_ms,
                (trust.from_ms, trust.to_ms),
                first == 0 || !at_start,
            )
        });
        let position = shift.and_then(|shift| i64::try_from(ticks.first).ok()?.checked_add(shift));
        let times = shift.and_then(|shift| {
            Some((
                tick_time(ticks.first, shift, tick_ms)?,
                tick_time(ticks.end(), shift, tick_ms)?,
            ))
        });
        let (Some(position), Some((from_ms, to_ms))) = (position, times) else {
            axis.facts.unplaced += ticks.count;
            return;
        };
        let measured = axis.take(position, ticks.count, run);
        // Every entry with a time is held to its bracket, in or out of the period: a wrong time
        // anywhere decides where the ticks around it stand.
        self.times.place(index, measured, to_ms, trust);
        if let Some(config) = config {
            self.configurations.used(config, measured);
        }
        for number in self.carried.get(&ticks.stream).into_iter().flatten() {
            if let Some(covered) = self.covered.get_mut(*number) {
                *covered = match *covered {
                    Some((from, to)) => Some((from.min(from_ms), to.max(to_ms))),
                    None => Some((from_ms, to_ms)),
                };
            }
        }
    }

    fn note_key(&mut self, id: [u8; 8], unix_ms: u64, status: ClockStatus) {
        if self.keys.last().is_none_or(|key| key.id != id) {
            self.keys.push(KeyUse { id, clock_ms: None });
        }
        if let Some(key) = self.keys.last_mut()
            && status != ClockStatus::Unset
        {
            key.clock_ms = match key.clock_ms {
                Some((from, to)) => Some((from.min(unix_ms), to.max(unix_ms))),
                None => Some((unix_ms, unix_ms)),
            };
        }
    }

    fn note_control(
        &mut self,
        index: u64,
        control: &Control,
        before: Option<&crate::measurement::MeasurementConfig>,
        counted: bool,
    ) {
        if matches!(control, Control::Config(_)) && !self.is_void(index) {
            self.take_config();
        }
        if counted {
            let approved = self.approvals.get(&index).cloned();
            self.events
                .extend(Event::of(index, control, before, approved));
        }
    }

    /// Closes the proof: checks 6, 7, 8 and 10, and hands over what was found.
    ///
    /// All entries must have passed and all tasks have been checked; failures here are about the log
    /// as a whole, and several may be found.
    #[must_use]
    pub fn finish(mut self) -> (LogFacts, Vec<Failure>) {
        let mut failures = Vec::new();
        let origin = self.origin.clone();
        let mut fail =
            |problem: Problem| failures.push(Failure::new(problem).of_log(origin.as_str()));
        if self.chain.size() != self.size {
            fail(Problem::EntriesEnd {
                found: self.chain.size(),
                size: self.size,
            });
        } else if self.payload_placed != self.files.payload.size {
            let (placed, size) = (self.payload_placed, self.files.payload.size);
            fail(Problem::LeftOver(if placed < size {
                format!(
                    "payload.bin has {} bytes that no entry signed",
                    size - placed
                )
            } else {
                format!("payload.bin ends {} bytes early", placed - size)
            }));
        }
        for problem in self.forks() {
            fail(problem);
        }
        if let Some(end) = self.hand_over.filter(|end| end.last_index >= self.size) {
            fail(Problem::EntriesEnd {
                found: self.size,
                size: end.last_index + 1,
            });
        }
        // Streams that a configuration has and no entry ever filled are part of the account too.
        let known: Vec<(u16, u32)> = self
            .chain
            .streams()
            .map(|(id, state)| (id, state.tick_ms))
            .collect();
        for (id, tick_ms) in known {
            let at_start = self.sampled_at_start.contains(&id);
            let (first, trust) = (self.first, self.trust);
            self.axes.entry(id).or_insert_with(|| {
                Axis::new(
                    id,
                    tick_ms,
                    (trust.from_ms, trust.to_ms),
                    first == 0 || !at_start,
                )
            });
        }
        let void = self.void_from;
        let mut streams = Vec::new();
        for (id, axis) in std::mem::take(&mut self.axes) {
            let is_relevant = self.relevant.contains(&id);
            let ended = match &self.active_at_void {
                Some(active) => !active.contains(&id),
                None => self.chain.stream(id).is_some_and(|state| !state.active),
            };
            let (mut facts, problem) =
                axis.finish(self.role.succeeds, self.hand_over.is_some(), ended);
            facts.relevant = is_relevant;
            match problem {
                Some(problem @ Problem::Unexplained { .. }) => fail(problem),
                Some(
                    Problem::StartNotCovered { missing, .. }
                    | Problem::EndNotCovered { missing, .. },
                ) if is_relevant && void.is_some() => fail(Problem::Void {
                    stream: id,
                    missing,
                    from: void.unwrap_or(0),
                }),
                Some(problem) if is_relevant && self.chain.size() == self.size => fail(problem),
                _ => {}
            }
            streams.push(facts);
        }
        for (name, found) in self.role.points.iter().zip(&self.found) {
            if !found {
                fail(Problem::PointMissing(name.clone()));
            }
        }
        let unapproved = self.configurations.unapproved();
        if let Some(first) = unapproved
            .first()
            .filter(|_| self.trust.approvals.are_required())
        {
            let problem = Problem::Unapproved {
                ticks: unapproved.iter().map(|found| found.ticks).sum(),
            };
            failures.push(
                Failure::new(problem)
                    .of_log(origin.as_str())
                    .of_entry(first.index),
            );
        }
        if let Some((index, end_ms, bound)) = self.times.first_outside.take() {
            let problem = Problem::OutsideBracket {
                count: self.times.facts.outside,
                claimed: super::times::utc(end_ms),
                bound,
            };
            failures.push(
                Failure::new(problem)
                    .of_log(origin.as_str())
                    .of_entry(index),
            );
        }
        let long_keys = self
            .keys
            .iter()
            .filter_map(|key| key.clock_ms.map(|(from, to)| (key, to - from)))
            .filter(|(_, used)| *used > LONG_KEY_MS)
            .map(|(key, used)| (crate::hash::to_hex(&key.id), used / 3_600_000))
            .collect();
        let facts = LogFacts {
            origin: self.origin.to_string(),
            first: self.first,
            size: self.size,
            root: self.root,
            controls: u64::try_from(self.controls.len()).unwrap_or(u64::MAX),
            entry_keys: u64::try_from(self.keys.len()).unwrap_or(u64::MAX),
            long_keys,
            cosigned: self.times.cosigned,
            quorum_met: self.times.quorum_met,
            roots: self.roots_met,
            streams,
            time: self.times.facts,
            points: self.role.points.iter().cloned().zip(self.covered).collect(),
            events: self.events,
            dropped: self.dropped,
            disclosure: self.disclosure,
            remembered: self.remembered,
            unapproved,
            revocations: self.revocations,
            void_from: self.void_from,
        };
        (facts, failures)
    }
}

impl Task<'_> {
    /// The entry.
    #[must_use]
    pub const fn entry(&self) -> &Entry {
        &self.step.signed.entry
    }

    /// Its leaf hash.
    #[must_use]
    pub const fn leaf(&self) -> &Hash {
        &self.step.leaf
    }

    /// The configuration in force.
    #[must_use]
    pub const fn config(&self) -> Option<&Arc<ConfigInForce>> {
        self.step.config()
    }

    /// First instant and first instant after of its ticks, unix milliseconds; none without ticks or
    /// while nobody knows their time.
    #[must_use]
    pub fn span_ms(&self) -> Option<(i64, i64)> {
        let (ticks, shift) = (self.entry().ticks()?, self.shift?);
        let at = |tick| tick_time(tick, shift, self.step.tick_ms);
        Some((at(ticks.first)?, at(ticks.end())?))
    }

    /// The tick length of its stream in milliseconds, 0 for control entries.
    #[must_use]
    pub const fn tick_ms(&self) -> u32 {
        self.step.tick_ms
    }

    /// What places its ticks in time, if anything does.
    #[must_use]
    pub const fn shift(&self) -> Option<i64> {
        self.shift
    }

    /// In class B, which points of the configuration are shown; none when all are.
    #[must_use]
    pub fn shown(&self) -> Option<&[bool]> {
        self.shown.as_ref().map(|shown| shown.as_slice())
    }

    /// What [`crate::spot::chunks_of`] takes of the bytes that stand for its payload.
    #[must_use]
    pub fn part<'p>(&self, payload: &'p [u8]) -> &'p [u8] {
        match &self.shown {
            Some(_) => payload.get(PREFIX_BYTES..).unwrap_or_default(),
            None => payload,
        }
    }

    /// Whether the bundle holds readings of it: a data entry, not dropped, in class A or B.
    #[must_use]
    pub fn has_readings(&self) -> bool {
        matches!(self.entry().body, Body::Data { .. }) && self.disclosed && !self.dropped
    }

    /// Checks what needs no order: the signature, and the payload against what was signed.
    ///
    /// # Errors
    /// The [`Failure`], named with entry, ticks and place.
    pub fn check(
        &self,
        origin: &Origin,
        entries_path: &str,
        payload: &[u8],
    ) -> Result<Checked, Failure> {
        let ticks = self.step.signed.entry.ticks().copied();
        let refuse = |rejection| {
            Failure::new(Problem::Entry(rejection))
                .of_log(origin.as_str())
                .of_entry(self.index)
                .of_ticks(ticks)
                .at(entries_path, self.entry_at)
        };
        // Control entries were verified in the pass, because what follows depends on them.
        if self.step.control.is_none() {
            self.step.verify(origin).map_err(refuse)?;
        }
        let is_data = matches!(self.step.signed.entry.body, Body::Data { .. });
        let mut segment = match &self.shown {
            _ if self.dropped || is_data && !self.disclosed => None,
            Some(shown) if is_data => {
                let part = payload.get(PREFIX_BYTES..).unwrap_or_default();
                self.step.open_shown(part, shown).map_err(refuse)?
            }
            _ => self.step.open(payload).map_err(refuse)?,
        };
        if let Some(segment) = &mut segment {
            segment.shift = self.shift;
        }
        let reason = match &self.step.signed.entry.body {
            Body::Gap { reason, .. } => Some(reason.name()),
            Body::Data { .. } if self.dropped => Some(GapReason::Storage.name()),
            _ => None,
        };
        let gap = reason
            .zip(ticks)
            .zip(self.shift)
            .and_then(|((reason, ticks), shift)| {
                Some(Tick {
                    stream: ticks.stream,
                    from_ms: tick_time(ticks.first, shift, self.step.tick_ms)?,
                    to_ms: tick_time(ticks.end(), shift, self.step.tick_ms)?,
                    reason,
                })
            });
        let (samples, not_good) = segment.as_ref().map_or((0, Vec::new()), count);
        Ok(Checked {
            index: self.index,
            leaf: self.step.leaf,
            counted: self.counted,
            segment,
            gap,
            samples,
            not_good,
        })
    }
}

/// All samples, and those that are not good by the lowest code said of each.
fn count(segment: &Segment) -> (u64, Vec<(u8, u64)>) {
    let mut samples = 0;
    let mut codes: Vec<(u8, u64)> = Vec::new();
    for column in &segment.columns {
        samples += u64::try_from(column.values.len()).unwrap_or(u64::MAX);
        let mut last = None;
        for exception in &column.exceptions {
            if last.replace(exception.sample) == Some(exception.sample) {
                continue;
            }
            let code = exception.quality.code();
            match codes.iter_mut().find(|(known, _)| *known == code) {
                Some((_, count)) => *count += 1,
                None => codes.push((code, 1)),
            }
        }
    }
    (samples, codes)
}
