//! The state machine of a log: which entry may stand next.
//!
//! The gateway runs it over what it is about to send, the collector over what it is about to store
//! and cosign, the verifier over what it was handed. One implementation, so that none of them is
//! laxer than another. A refused entry leaves the state as it was.
//!
//! [`Chain::apply`] checks everything about one entry. [`Chain::advance`] does only what needs the
//! order of entries and hands back a [`Step`], whose signature and payload can then be checked on
//! another thread; the verifier of a year uses that.

mod resume;
mod snapshot;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::control::{ClockEvent, Control, Genesis, Placed, kind};
use crate::entry::{
    Body, Boot, ClockReading, ClockStatus, ControlBody, Entry, Freshness, PayloadRef, SignedEntry,
    Ticks,
};
use crate::hash::{Hash, Origin};
use crate::key::VerifyingKey;
use crate::measurement::{MeasurementConfig, MeasurementError, Point, PointKind};
use crate::merkle::CompactRange;
use crate::project;
use crate::rejection::Rejection;
use crate::segment::{ConfigInForce, Segment, check_shape};

pub use snapshot::SnapshotError;

/// The state after the entries applied so far.
#[derive(Debug, Clone)]
pub struct Chain {
    origin: Origin,
    /// Whether it is a project's log, which holds keys and records, or a gateway's.
    of_project: bool,
    range: CompactRange,
    /// The leaf hash of the last entry; none before the first entry seen.
    previous: Option<Hash>,
    control: Option<(u64, Hash)>,
    genesis: Option<Genesis>,
    entry_key: Option<VerifyingKey>,
    key_since: u64,
    retired_keys: Vec<[u8; 8]>,
    config: Option<Arc<ConfigInForce>>,
    streams: BTreeMap<u16, StreamState>,
    /// Every point name ever sealed and what it is: a name is never reused for the other kind.
    /// Shared: the state is copied with every entry that a gateway tries out.
    point_kinds: Arc<BTreeMap<String, PointKind>>,
    boot: Option<Boot>,
    /// Whether an entry was sealed without a time and no clock event has placed the axes since.
    clock_lost: bool,
    /// The first entry of the current boot that was sealed without a time, while that lasts.
    unset_since: Option<u64>,
    /// Reading began in the middle of a boot, so its entries before are not known.
    boot_start_unseen: bool,
    /// Ranges of entries whose payload was not handed in and not declared dropped yet.
    absent: Vec<(u64, u64)>,
    /// Per stream, the last entry that got its time afterwards. Not in a snapshot: what a receiver
    /// continues with is bounded by `unset_since` anyway.
    placed_to: BTreeMap<u16, u64>,
}

/// The most samples of polled points in one entry: what a few bytes may unfold to is bounded.
pub const MOST_SAMPLES: u64 = 1 << 22;

/// Where a stream's axis stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamState {
    /// The next tick; none when reading began in the middle of a log and the stream was not met yet.
    pub next_tick: Option<u64>,
    /// Time = (tick + shift) × tick length.
    pub shift: i64,
    /// The tick length in milliseconds.
    pub tick_ms: u32,
    /// Whether the configuration in force has the stream.
    pub active: bool,
}

/// What became of one entry.
#[derive(Debug)]
pub struct Applied {
    /// The entry.
    pub entry: Entry,
    /// Its leaf hash.
    pub leaf: Hash,
    /// The decoded samples of a data entry whose payload was handed in.
    pub segment: Option<Segment>,
    /// The body of a control entry.
    pub control: Option<Control>,
    /// The shift that gives a data or gap entry its time; none while nobody knows it.
    pub shift: Option<i64>,
    /// The tick length of a data or gap entry's stream, 0 for control entries.
    pub tick_ms: u32,
}

/// An entry that may stand where it stands; signature and payload are still to be checked.
#[derive(Debug)]
pub struct Step<'a> {
    /// The entry as received.
    pub signed: SignedEntry<'a>,
    /// Its leaf hash.
    pub leaf: Hash,
    /// The body of a control entry, whose signature has been checked already.
    pub control: Option<Control>,
    /// The shift that gives a data or gap entry its time; none while nobody knows it.
    pub shift: Option<i64>,
    /// The tick length of a data or gap entry's stream, 0 for control entries.
    pub tick_ms: u32,
    key: VerifyingKey,
    config: Option<Arc<ConfigInForce>>,
}

/// What the samples of a data entry are checked against.
type SignedSamples<'a> = (&'a Arc<ConfigInForce>, Ticks, &'a PayloadRef);

impl Step<'_> {
    /// Checks the signature.
    ///
    /// # Errors
    /// [`Rejection::BadSignature`].
    pub fn verify(&self, origin: &Origin) -> Result<(), Rejection> {
        self.signed.verify(origin, &self.key)
    }

    /// Checks and decodes the payload of a data entry; for other entries the payload must be empty.
    ///
    /// # Errors
    /// The payload's [`Rejection`].
    pub fn open(&self, payload: &[u8]) -> Result<Option<Segment>, Rejection> {
        match self.samples(payload)? {
            Some((config, ticks, signed)) => {
                Segment::open(config, ticks, self.shift, signed, payload).map(Some)
            }
            None => Ok(None),
        }
    }

    /// As [`Self::open`], of a payload in which hashes stand for the chunks of points not shown.
    ///
    /// # Errors
    /// The payload's [`Rejection`].
    pub fn open_shown(&self, payload: &[u8], shown: &[bool]) -> Result<Option<Segment>, Rejection> {
        match self.samples(payload)? {
            Some((config, ticks, signed)) => {
                Segment::open_shown(config, ticks, self.shift, signed, payload, Some(shown))
                    .map(Some)
            }
            None => Ok(None),
        }
    }

    /// Checks what [`Self::open`] checks without keeping the samples.
    ///
    /// # Errors
    /// The payload's [`Rejection`].
    pub fn check(&self, payload: &[u8]) -> Result<(), Rejection> {
        match self.samples(payload)? {
            Some((config, ticks, signed)) => Segment::check(config, ticks, signed, payload),
            None => Ok(()),
        }
    }

    /// What the samples of a data entry are checked against; `None` for an entry without samples.
    fn samples(&self, payload: &[u8]) -> Result<Option<SignedSamples<'_>>, Rejection> {
        match (&self.signed.entry.body, &self.config) {
            (
                Body::Data {
                    ticks,
                    payload: signed,
                },
                Some(config),
            ) => Ok(Some((config, *ticks, signed))),
            (Body::Data { ticks, .. }, None) => Err(Rejection::UnknownStream(ticks.stream)),
            (
                Body::Control {
                    body: ControlBody::Payload(_),
                    ..
                },
                _,
            ) => Ok(None),
            _ if payload.is_empty() => Ok(None),
            _ => Err(Rejection::PayloadUnexpected),
        }
    }

    /// The configuration that decodes a data entry.
    #[must_use]
    pub const fn config(&self) -> Option<&Arc<ConfigInForce>> {
        self.config.as_ref()
    }
}

impl Chain {
    /// The empty log of this name.
    #[must_use]
    pub fn new(origin: Origin) -> Self {
        Self {
            origin,
            of_project: false,
            range: CompactRange::new(),
            previous: None,
            control: None,
            genesis: None,
            entry_key: None,
            key_since: 0,
            retired_keys: Vec::new(),
            config: None,
            streams: BTreeMap::new(),
            point_kinds: Arc::default(),
            boot: None,
            clock_lost: false,
            unset_since: None,
            boot_start_unseen: false,
            absent: Vec::new(),
            placed_to: BTreeMap::new(),
        }
    }

    /// The empty log of a project; [`crate::project::ProjectLog`] has the rules about its records.
    #[must_use]
    pub(crate) fn of_project(origin: Origin) -> Self {
        Self {
            of_project: true,
            ..Self::new(origin)
        }
    }

    /// The log's name.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The number of entries.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.range.size()
    }

    /// The root over all entries.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.range.root()
    }

    /// The right edge of the tree.
    #[must_use]
    pub const fn range(&self) -> &CompactRange {
        &self.range
    }

    /// The leaf hash of the last entry.
    #[must_use]
    pub const fn previous(&self) -> Option<&Hash> {
        self.previous.as_ref()
    }

    /// What the next entry must pin: index and leaf hash of the latest control entry.
    #[must_use]
    pub const fn control_pin(&self) -> Option<(u64, Hash)> {
        self.control
    }

    /// The first entry's contents.
    #[must_use]
    pub const fn genesis(&self) -> Option<&Genesis> {
        self.genesis.as_ref()
    }

    /// The key that must sign the next entry.
    #[must_use]
    pub const fn entry_key(&self) -> Option<&VerifyingKey> {
        self.entry_key.as_ref()
    }

    /// The first index that the key in force may sign.
    #[must_use]
    pub const fn key_since(&self) -> u64 {
        self.key_since
    }

    /// Whether an entry key of this id was replaced before: only such a key can be revoked.
    #[must_use]
    pub fn is_retired(&self, key_id: [u8; 8]) -> bool {
        self.retired_keys.contains(&key_id)
    }

    /// The configuration in force.
    #[must_use]
    pub const fn config(&self) -> Option<&Arc<ConfigInForce>> {
        self.config.as_ref()
    }

    /// Where a stream stands, also after it was removed from the configuration.
    #[must_use]
    pub fn stream(&self, id: u16) -> Option<&StreamState> {
        self.streams.get(&id)
    }

    /// All streams that ever were.
    pub fn streams(&self) -> impl Iterator<Item = (u16, &StreamState)> {
        self.streams.iter().map(|(id, state)| (*id, state))
    }

    /// The last entry's boot.
    #[must_use]
    pub const fn boot(&self) -> Option<&Boot> {
        self.boot.as_ref()
    }

    /// Whether the axes wait for a clock event.
    #[must_use]
    pub const fn clock_lost(&self) -> bool {
        self.clock_lost
    }

    /// The first entry of the current boot that was sealed without a time, while that lasts.
    #[must_use]
    pub const fn unset_since(&self) -> Option<u64> {
        self.unset_since
    }

    /// Ranges of entries whose payload was not handed in and not declared dropped.
    #[must_use]
    pub fn undeclared_absent(&self) -> &[(u64, u64)] {
        &self.absent
    }

    /// The entry that would stand next with this body; the caller signs it.
    #[must_use]
    pub fn next_entry(
        &self,
        boot: Boot,
        clock: ClockReading,
        freshness: Option<Freshness>,
        body: Body,
    ) -> Entry {
        Entry {
            index: self.size(),
            previous: self.previous.unwrap_or(Hash([0; 32])),
            control: self.control,
            freshness: freshness.filter(|_| self.size() > 0),
            boot,
            clock,
            body,
        }
    }

    /// Checks one entry completely and takes it in. `payload` is `None` when an entry's payload is
    /// not at hand; such an entry is taken in and remembered until its loss is declared.
    ///
    /// # Errors
    /// The [`Rejection`]; the state is as before.
    pub fn apply(&mut self, bytes: &[u8], payload: Option<&[u8]>) -> Result<Applied, Rejection> {
        // The payload is checked against the state before, on which it depends, then the step is taken.
        let step = self.prepare(bytes, payload)?;
        step.verify(&self.origin)?;
        let segment = match payload {
            Some(payload) => step.open(payload)?,
            None => None,
        };
        self.commit(&step, payload.is_none());
        let Step {
            signed,
            leaf,
            control,
            shift,
            tick_ms,
            ..
        } = step;
        Ok(Applied {
            entry: signed.entry,
            leaf,
            segment,
            control,
            shift,
            tick_ms,
        })
    }

    /// As [`Self::apply`], for who does not read the values: nothing of the payload is kept, however
    /// many samples it holds. Returns the leaf hash.
    ///
    /// # Errors
    /// The [`Rejection`]; the state is as before.
    pub fn admit(&mut self, bytes: &[u8], payload: Option<&[u8]>) -> Result<Hash, Rejection> {
        let step = self.prepare(bytes, payload)?;
        step.verify(&self.origin)?;
        if let Some(payload) = payload {
            step.check(payload)?;
        }
        self.commit(&step, payload.is_none());
        Ok(step.leaf)
    }

    /// Takes in an entry by everything that needs the order of entries. The caller checks
    /// [`Step::verify`] and [`Step::open`] later and throws everything away when one fails.
    /// Control entries are checked completely here; `control_payload` is for a body too long for the entry.
    ///
    /// # Errors
    /// The [`Rejection`]; the state is as before.
    pub fn advance<'a>(
        &mut self,
        bytes: &'a [u8],
        control_payload: Option<&[u8]>,
    ) -> Result<Step<'a>, Rejection> {
        let step = self.prepare(bytes, control_payload)?;
        if step.control.is_some() {
            step.verify(&self.origin)?;
        }
        self.commit(&step, false);
        Ok(step)
    }

    /// Every check but signature and data payload; changes nothing.
    fn prepare<'a>(&self, bytes: &'a [u8], payload: Option<&[u8]>) -> Result<Step<'a>, Rejection> {
        let signed = Entry::parse(bytes)?;
        let entry = &signed.entry;
        if entry.index != self.size() {
            return Err(Rejection::IndexDiffers {
                expected: self.size(),
                found: entry.index,
            });
        }
        if self.previous.map_or(
            self.size() == 0 && entry.previous != Hash([0; 32]),
            |leaf| leaf != entry.previous,
        ) {
            return Err(Rejection::PreviousHashDiffers);
        }
        if entry.control != self.control {
            return Err(Rejection::ControlPinDiffers);
        }
        self.check_boot(&entry.boot)?;
        let control = match &entry.body {
            Body::Control { kind, body } => {
                self.check_kind(*kind)?;
                Some(Control::decode(*kind, control_bytes(body, payload)?)?)
            }
            _ => None,
        };
        let key = match (&control, &self.entry_key) {
            (Some(Control::Genesis(genesis)), None) => genesis.entry_key,
            (_, Some(key)) => *key,
            (_, None) => return Err(Rejection::Genesis),
        };
        if signed.key_id != key.key_id() {
            return Err(Rejection::KeyNotInForce {
                expected: crate::hash::to_hex(&key.key_id()),
                found: crate::hash::to_hex(&signed.key_id),
            });
        }
        if let Some(control) = &control {
            self.check_control(entry, control)?;
        }
        let (mut shift, mut tick_ms) = (None, 0);
        if let Some(ticks) = entry.ticks() {
            let state = self.streams.get(&ticks.stream).filter(|state| state.active);
            let state = state.ok_or(Rejection::UnknownStream(ticks.stream))?;
            let trusted = entry.clock.status != ClockStatus::Unset;
            if trusted && self.clock_lost {
                return Err(Rejection::TimeWithoutClockEvent);
            }
            shift = trusted.then_some(state.shift);
            tick_ms = state.tick_ms;
            check_ticks(ticks, state, shift, matches!(entry.body, Body::Gap { .. }))?;
            if let Body::Data { ticks, payload } = &entry.body
                && ticks.count.saturating_mul(payload.chunks) > MOST_SAMPLES
            {
                return Err(Rejection::SegmentShape);
            }
        }
        let leaf = signed.leaf();
        Ok(Step {
            signed,
            leaf,
            control,
            shift,
            tick_ms,
            key,
            config: self.config.clone(),
        })
    }

    /// Records stand in project logs, everything else but keys in logs of gateways.
    fn check_kind(&self, kind: u64) -> Result<(), Rejection> {
        let anywhere = matches!(kind, kind::GENESIS | kind::KEY_ADD | kind::KEY_REVOKE);
        if anywhere || self.of_project == project::Kind::from_number(kind).is_some() {
            Ok(())
        } else {
            Err(Rejection::KindElsewhere(kind))
        }
    }

    fn check_boot(&self, boot: &Boot) -> Result<(), Rejection> {
        let Some(last) = &self.boot else {
            return Ok(());
        };
        if (last.id == boot.id) != (last.counter == boot.counter) || boot.counter < last.counter {
            return Err(Rejection::BootInconsistent);
        }
        if last.id == boot.id && boot.monotonic_ms < last.monotonic_ms {
            return Err(Rejection::MonotonicDecreased);
        }
        Ok(())
    }

    fn check_control(&self, entry: &Entry, control: &Control) -> Result<(), Rejection> {
        match control {
            Control::Genesis(genesis) if self.genesis.is_some() || genesis.origin.is_empty() => {
                Err(Rejection::Genesis)
            }
            Control::Genesis(genesis) if genesis.origin != self.origin.as_str() => {
                Err(Rejection::OriginDiffers(genesis.origin.clone()))
            }
            Control::Genesis(_) => Ok(()),
            Control::Config(config) => self.check_config(config),
            Control::KeyRevoke { key_id, .. } if !self.retired_keys.contains(key_id) => {
                Err(Rejection::Revocation)
            }
            Control::Clock(event) => self.check_clock(entry, event),
            Control::Dropped { from, to, .. } if from > to || *to >= entry.index => {
                Err(Rejection::DroppedRange)
            }
            _ => Ok(()),
        }
    }

    fn check_config(&self, config: &MeasurementConfig) -> Result<(), Rejection> {
        for stream in &config.streams {
            let Some(state) = self.streams.get(&stream.id) else {
                continue;
            };
            if let Some(expected) = state
                .next_tick
                .filter(|expected| *expected != stream.first_tick)
            {
                return Err(Rejection::StreamStart {
                    stream: stream.id,
                    expected,
                    found: stream.first_tick,
                });
            }
            if state.tick_ms != stream.tick_ms {
                let place = format!("stream {}", stream.id);
                let rule = "a stream keeps its tick length; another interval needs another id";
                return Err(Rejection::Configuration(MeasurementError::Rule {
                    place,
                    rule,
                }));
            }
        }
        for point in &config.points {
            if self
                .point_kinds
                .get(&point.name)
                .is_some_and(|known| *known != point.kind)
            {
                return Err(Rejection::PointReused(point.name.clone()));
            }
        }
        Ok(())
    }

    fn check_clock(&self, entry: &Entry, event: &ClockEvent) -> Result<(), Rejection> {
        if event.source == ClockStatus::Unset || entry.clock.status == ClockStatus::Unset {
            return Err(Rejection::ClockEvent(
                "a clock event needs a source of time",
            ));
        }
        let active = self
            .streams
            .iter()
            .filter(|(_, state)| state.active)
            .map(|(id, _)| *id);
        if !active.eq(event.shifts.iter().map(|(stream, _)| *stream)) {
            return Err(Rejection::ClockEvent(
                "it must give the shift of every stream, ascending",
            ));
        }
        self.check_placed(entry.index, &event.placed)?;
        // What was sealed with a time keeps it: only this boot's entries without one are placed.
        let since = self.unset_since.unwrap_or(u64::MAX);
        let first = event.placed.iter().map(|placed| placed.from).min();
        if first.is_some_and(|first| first < since) && !self.boot_start_unseen {
            return Err(Rejection::ClockEvent(
                "it may place only entries of this boot sealed without a time",
            ));
        }
        Ok(())
    }

    /// An entry gets a time afterwards at most once: the ranges of a stream ascend over the whole log.
    fn check_placed(&self, index: u64, ranges: &[Placed]) -> Result<(), Rejection> {
        let mut last: Option<&Placed> = None;
        for placed in ranges {
            if !self.streams.contains_key(&placed.stream) {
                return Err(Rejection::UnknownStream(placed.stream));
            }
            let same_stream = last
                .filter(|last| last.stream == placed.stream)
                .map(|last| last.to);
            let before = same_stream.or_else(|| self.placed_to.get(&placed.stream).copied());
            let ascends = last.is_none_or(|last| last.stream <= placed.stream)
                && before.is_none_or(|before| before < placed.from);
            if placed.from > placed.to || placed.to >= index || !ascends {
                return Err(Rejection::ClockEvent(
                    "placed ranges lie before the event and ascend by stream and index",
                ));
            }
            last = Some(placed);
        }
        Ok(())
    }

    /// Takes the step; nothing here can fail.
    fn commit(&mut self, step: &Step<'_>, payload_absent: bool) {
        let entry = &step.signed.entry;
        if self.boot.is_some_and(|last| last.id != entry.boot.id) {
            self.unset_since = None;
            self.boot_start_unseen = false;
        }
        self.boot = Some(entry.boot);
        if entry.clock.status == ClockStatus::Unset {
            self.clock_lost = true;
            self.unset_since.get_or_insert(entry.index);
        }
        if let Some(ticks) = entry.ticks()
            && let Some(state) = self.streams.get_mut(&ticks.stream)
        {
            state.next_tick = Some(ticks.end());
        }
        if payload_absent && matches!(entry.body, Body::Data { .. }) {
            match self.absent.last_mut() {
                Some((_, to)) if *to + 1 == entry.index => *to = entry.index,
                _ => self.absent.push((entry.index, entry.index)),
            }
        }
        if let Some(control) = &step.control {
            self.take_control(entry.index, control);
            self.control = Some((entry.index, step.leaf));
        }
        self.range.append(&step.leaf);
        self.previous = Some(step.leaf);
    }

    fn take_control(&mut self, index: u64, control: &Control) {
        match control {
            Control::Genesis(genesis) => {
                self.entry_key = Some(genesis.entry_key);
                self.genesis = Some(genesis.clone());
            }
            Control::Config(config) => self.take_config(index, config),
            Control::KeyAdd(key) => {
                if let Some(old) = self.entry_key.replace(*key) {
                    self.retired_keys.push(old.key_id());
                }
                self.key_since = index + 1;
            }
            Control::Clock(event) => {
                self.placed_to
                    .extend(event.placed.iter().map(|placed| (placed.stream, placed.to)));
                for (stream, shift) in &event.shifts {
                    if let Some(state) = self.streams.get_mut(stream) {
                        state.shift = *shift;
                    }
                }
                self.clock_lost = false;
                self.unset_since = None;
            }
            Control::Dropped { from, to, .. } => self.absent = without(&self.absent, *from, *to),
            _ => {}
        }
    }

    fn take_config(&mut self, index: u64, config: &Arc<MeasurementConfig>) {
        self.streams
            .values_mut()
            .for_each(|state| state.active = false);
        for stream in &config.streams {
            let fresh = StreamState {
                next_tick: Some(stream.first_tick),
                shift: 0,
                tick_ms: stream.tick_ms,
                active: true,
            };
            self.streams.entry(stream.id).or_insert(fresh).active = true;
        }
        let fresh = |point: &&Point| !self.point_kinds.contains_key(&point.name);
        if config.points.iter().any(|point| fresh(&point)) {
            let known = Arc::make_mut(&mut self.point_kinds);
            for point in &config.points {
                known.insert(point.name.clone(), point.kind);
            }
        }
        let in_force = ConfigInForce::new(Arc::clone(config), index);
        self.config = Some(Arc::new(in_force));
    }
}

/// The control body, from the entry or from its payload.
fn control_bytes<'a>(
    body: &'a ControlBody,
    payload: Option<&'a [u8]>,
) -> Result<&'a [u8], Rejection> {
    match body {
        ControlBody::Inline(bytes) => Ok(bytes),
        ControlBody::Payload(signed) => {
            let bytes = payload.ok_or(Rejection::PayloadMissing)?;
            let found = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            if found != signed.bytes {
                return Err(Rejection::PayloadLength {
                    expected: signed.bytes,
                    found,
                });
            }
            if signed.chunks != 1 || crate::hash::leaf_hash(bytes) != signed.root {
                return Err(Rejection::PayloadRootDiffers);
            }
            Ok(bytes)
        }
    }
}

/// Data and gap ticks partition the axis exactly; a gap may be longer than an hour, data may not.
fn check_ticks(
    ticks: &Ticks,
    state: &StreamState,
    shift: Option<i64>,
    gap: bool,
) -> Result<(), Rejection> {
    if let Some(expected) = state.next_tick {
        let (stream, found) = (ticks.stream, ticks.first);
        if found > expected {
            return Err(Rejection::TickGap {
                stream,
                expected,
                found,
            });
        }
        if found < expected {
            return Err(Rejection::TickOverlap {
                stream,
                expected,
                found,
            });
        }
    }
    if gap {
        let valid = ticks.count > 0 && ticks.first.checked_add(ticks.count).is_some();
        return if valid {
            Ok(())
        } else {
            Err(Rejection::SegmentShape)
        };
    }
    check_shape(ticks, state.tick_ms, shift)
}

/// The ranges without what a declaration covers.
fn without(ranges: &[(u64, u64)], from: u64, to: u64) -> Vec<(u64, u64)> {
    let mut left = Vec::new();
    for &(start, end) in ranges {
        if end < from || start > to {
            left.push((start, end));
            continue;
        }
        if start < from {
            left.push((start, from - 1));
        }
        if end > to {
            left.push((to + 1, end));
        }
    }
    left
}
