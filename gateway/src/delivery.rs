//! Delivery: sealed entries leave in index order and are resent as the same bytes until cosigned.
//!
//! Only what the recorder released is read, and it is read from the files: nothing is encoded or
//! signed here. An entry counts as acknowledged when a note with our own checkpoint text carries the
//! collector's valid cosignature; the size is then remembered durably. Losing that memory costs one
//! question, nothing else: the collector says how far it is.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use evidence::checkpoint::Checkpoint;
use evidence::cosignature::verify_cosignature;
use evidence::entry::{ClockStatus, Freshness, FreshnessKind};
use evidence::hash::{Origin, sha256};
use evidence::note::{Note, Vkey};
use evidence::wire::{Record, Upload};
use ring::rand::SecureRandom;
use serde::Deserialize;
use tokio::sync::watch;

use crate::buffer::{LogReader, Row};
use crate::clock::Clock;
use crate::collector::{Collector, CollectorError};
use crate::durable::{self, Access};
use crate::enrol;

mod head;
mod outcome;

pub use head::{HeadCheck, check_head};
pub use outcome::{DeliveryStatus, HeadState, Outcome};

use outcome::{Memory, memory_path};

/// A cosignature further ahead of a synchronised clock is not taken, in seconds.
const MOST_AHEAD_S: u64 = 600;
/// Entries in one upload at most.
const MOST_ENTRIES: u32 = 64;
/// Bytes of one upload at which no further entry is added.
const MOST_BYTES: usize = 1 << 20;
/// Bytes a second while there is a backlog: the line also carries other things.
const BACKLOG_BYTES_PER_S: u64 = 2 << 20;
/// The longest wait between tries, in milliseconds.
const LONGEST_WAIT_MS: u64 = 60_000;
/// How long sending rests after a permanent refusal, in milliseconds.
const REFUSED_WAIT_MS: u64 = 3_600_000;
/// Over how long the gateways spread their sending, in milliseconds.
const SPREAD_MS: u64 = 2_000;
/// How long one upload may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The answer to an upload.
#[derive(Debug, Deserialize)]
struct Ack {
    size: u64,
    note: String,
    #[serde(default)]
    trail: Option<String>,
    #[serde(default)]
    watch_for_s: u32,
}

/// Sends one log to one collector.
#[derive(Debug)]
pub struct Delivery {
    collector: Collector,
    origin: Origin,
    witness: Vkey,
    independent: Vec<Vkey>,
    reader: LogReader,
    released: watch::Receiver<u64>,
    outcome: Outcome,
    memory: PathBuf,
    clock: Arc<dyn Clock>,
    random: Arc<dyn SecureRandom + Send + Sync>,
    /// The entry that is sent next. Where the collector says it is, verified or not; only what is
    /// verified is called acknowledged.
    cursor: u64,
    most_entries: u32,
    failures: u32,
}

/// What one try came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// Everything released is acknowledged.
    Idle,
    /// So many bytes were acknowledged; there may be more.
    Sent(u64),
    /// Try again after so many milliseconds.
    Wait(u64),
}

/// Why a trail note is not pinned.
enum NotPinned {
    /// The collector's line alone, although independent witnesses are configured.
    NoWitness,
    Wrong(String),
}

/// What a [`Delivery`] is made of.
#[derive(Debug)]
pub struct DeliveryParts {
    /// The connection.
    pub collector: Collector,
    /// The log's name.
    pub origin: Origin,
    /// The collector's cosigning key, pinned at enrolment.
    pub witness: Vkey,
    /// The keys of independent witnesses, from this gateway's own configuration.
    pub independent: Vec<Vkey>,
    /// Reads the log.
    pub reader: LogReader,
    /// How far may be read.
    pub released: watch::Receiver<u64>,
    /// Where to tell.
    pub outcome: Outcome,
    /// Where to remember.
    pub data_dir: PathBuf,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// For the jitter of waiting times.
    pub random: Arc<dyn SecureRandom + Send + Sync>,
}

impl Delivery {
    /// Prepares; sends nothing.
    #[must_use]
    pub fn new(parts: DeliveryParts) -> Self {
        let cursor = *parts.outcome.acknowledged.borrow();
        Self {
            cursor,
            collector: parts.collector,
            origin: parts.origin,
            witness: parts.witness,
            independent: parts.independent,
            reader: parts.reader,
            released: parts.released,
            outcome: parts.outcome,
            memory: memory_path(&parts.data_dir),
            clock: parts.clock,
            random: parts.random,
            most_entries: MOST_ENTRIES,
            failures: 0,
        }
    }

    /// Delivers until the recorder is gone. Dropping the future at any point loses nothing.
    pub async fn run(mut self) {
        loop {
            match self.step().await {
                Progress::Idle => {
                    if self.released.changed().await.is_err() {
                        return;
                    }
                    // All gateways seal at the same full minute; each has its own moment to send.
                    self.pause(self.spread_ms()).await;
                }
                Progress::Sent(bytes) => {
                    let backlog = *self.released.borrow() > self.cursor;
                    if backlog {
                        self.pause(bytes * 1000 / BACKLOG_BYTES_PER_S).await;
                    }
                }
                Progress::Wait(ms) => self.pause(ms).await,
            }
        }
    }

    /// This log's delay behind the minute: from its name, so always the same.
    fn spread_ms(&self) -> u64 {
        let id = self.origin.id();
        let two = id
            .as_bytes()
            .first_chunk::<2>()
            .map_or(0, |two| u16::from_be_bytes(*two));
        u64::from(two) * SPREAD_MS / 65_536
    }

    async fn pause(&self, ms: u64) {
        self.clock
            .sleep_until_monotonic(self.clock.monotonic_ms() + ms)
            .await;
    }

    /// One try: the head is confirmed first, then one upload is sent.
    pub async fn step(&mut self) -> Progress {
        if self.outcome.snapshot().head != HeadState::Confirmed
            && let Some(progress) = self.confirm().await
        {
            return progress;
        }
        let released = *self.released.borrow_and_update();
        let from = self.cursor;
        if from >= released {
            return Progress::Idle;
        }
        match self.send(from, released).await {
            Ok(bytes) => {
                self.failures = 0;
                self.outcome.change(|status| {
                    status.error = None;
                    status.refused = false;
                });
                Progress::Sent(bytes)
            }
            Err(error) => self.failed(&error),
        }
    }

    /// Asks for the collector's head and compares; `None` when sending may go on.
    async fn confirm(&mut self) -> Option<Progress> {
        let released = *self.released.borrow();
        match check_head(&self.collector, &self.witness, &mut self.reader, released).await {
            Ok(HeadCheck::Same { size }) => {
                // Its head is cosigned and a beginning of our log: as good as an acknowledgement. And
                // what it has not stored, although it once said so, has to be sent again.
                let known = *self.outcome.acknowledged.borrow();
                if size < known {
                    tracing::warn!(
                        size,
                        "The collector has less than it acknowledged: sending again"
                    );
                }
                self.outcome.change(|status| {
                    status.head = HeadState::Confirmed;
                    status.acknowledged = size;
                });
                self.outcome.acknowledged.send_replace(size);
                self.cursor = size;
                None
            }
            Ok(HeadCheck::Nothing) => {
                self.outcome
                    .change(|status| status.head = HeadState::Confirmed);
                None
            }
            Ok(HeadCheck::Ahead { size }) => {
                self.outcome.change(|status| status.head = HeadState::Ahead);
                let text = format!(
                    "the collector has {size} entries, we have {released}: an old copy of this device \
                     was restored or it was cloned; stop it and run `fieldseal-gateway restore`"
                );
                Some(self.stop(text))
            }
            Ok(HeadCheck::Forked { size }) => {
                self.outcome
                    .change(|status| status.head = HeadState::Forked);
                let text = format!(
                    "the collector holds another history of this log at size {size}: the device was \
                     cloned or restored; keep both and begin a new origin"
                );
                Some(self.stop(text))
            }
            Err(error) => Some(self.failed(&error)),
        }
    }

    async fn send(&mut self, from: u64, released: u64) -> Result<u64, CollectorError> {
        let rows = self
            .reader
            .rows(from, released, self.most_entries, MOST_BYTES)
            .await
            .map_err(|error| CollectorError::Nonsense(format!("our own log: {error}")))?;
        let Some(last) = rows.last() else {
            return Ok(0);
        };
        let body = upload(from, &rows, last)?;
        let bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
        let ack: Ack = self
            .collector
            .post("entries", "application/octet-stream", body, PATIENCE)
            .await?;
        let (size, checkpoint) = (last.index + 1, last.checkpoint.clone());
        self.accept(&ack, size, &checkpoint)?;
        if let Some(trail) = &ack.trail {
            self.pin(trail, size).await;
        }
        tracing::debug!(from, to = size, bytes, "Entries were acknowledged");
        Ok(bytes)
    }

    /// Verifies an acknowledgement and takes it in.
    fn accept(&mut self, ack: &Ack, size: u64, checkpoint: &[u8]) -> Result<(), CollectorError> {
        let nonsense = |why: &str| CollectorError::Nonsense(why.to_owned());
        let note = Note::parse(ack.note.as_bytes())
            .map_err(|error| nonsense(&format!("the note of the acknowledgement: {error}")))?;
        let ours = Note::parse(checkpoint)
            .map_err(|error| nonsense(&format!("our own checkpoint: {error}")))?;
        if ack.size != size || note.text != ours.text {
            return Err(nonsense(
                "the acknowledgement is not for the checkpoint we sent",
            ));
        }
        let time = verify_cosignature(&note, &self.witness)
            .map_err(|error| nonsense(&format!("the cosignature: {error}")))?
            .ok_or_else(|| {
                nonsense("the acknowledgement carries no cosignature of the collector")
            })?;
        if let Some(ahead_s) = self.ahead_s(time) {
            return Err(nonsense(&format!(
                "it was cosigned {ahead_s} s ahead of this device's synchronised clock; the collector's clock is wrong"
            )));
        }
        let memory = Memory {
            acknowledged: size,
            cosigned_unix_s: Some(time),
        };
        let remembered = serde_json::to_vec(&memory)
            .map_err(std::io::Error::other)
            .and_then(|text| durable::write_file(&self.memory, &text, Access::All));
        if let Err(error) = remembered {
            // Only the memory is lost; the collector tells it again.
            tracing::warn!("The acknowledged size could not be stored: {error}");
        } else if let Some(data_dir) = self.memory.parent()
            && let Err(error) = enrol::forget_code(data_dir)
        {
            tracing::warn!("The used enrolment code could not be removed: {error}");
        }
        self.outcome.change(|status| {
            status.acknowledged = size;
            status.cosigned_unix_s = Some(time);
        });
        self.cursor = size;
        self.outcome.acknowledged.send_replace(size);
        self.outcome.watch_for_s.send_replace(ack.watch_for_s);
        Ok(())
    }

    /// How far a cosignature is ahead of our clock, if more than can be believed of two synchronised
    /// clocks. A time from the future would stand in the evidence for ever.
    fn ahead_s(&self, cosigned_unix_s: u64) -> Option<u64> {
        let now = self.clock.now();
        let synchronised = matches!(now.status, ClockStatus::Ntp | ClockStatus::Gnss);
        let ahead_s = cosigned_unix_s.saturating_sub(now.unix_ms / 1_000);
        (synchronised && ahead_s > MOST_AHEAD_S).then_some(ahead_s)
    }

    /// Pins a trail note in the entries to come, if the keys that this device knows signed it.
    async fn pin(&mut self, trail: &str, our_size: u64) {
        match self.freshness_of(trail, our_size).await {
            Ok(freshness) => {
                self.outcome.freshness.send_replace(Some(freshness));
            }
            Err(NotPinned::NoWitness) => {
                tracing::debug!("The trail note has no cosignature of a configured witness yet");
            }
            Err(NotPinned::Wrong(why)) => {
                tracing::warn!("The trail note is not pinned: {why}");
            }
        }
    }

    /// A trail note of this log that the collector cosigned and, where this device knows independent
    /// witnesses, at least one of them. Every line of a known key must verify.
    async fn freshness_of(&mut self, trail: &str, our_size: u64) -> Result<Freshness, NotPinned> {
        let wrong = |why: &str| NotPinned::Wrong(why.to_owned());
        let note = Note::parse(trail.as_bytes()).map_err(|error| wrong(&error.to_string()))?;
        let of = Checkpoint::parse_body(&note.text).map_err(|error| wrong(&error.to_string()))?;
        if of.origin != self.origin || of.size > our_size {
            return Err(wrong("it is not about this log"));
        }
        let time_of = |key: &Vkey| match verify_cosignature(&note, key) {
            Ok(time) if time.is_some_and(|time| self.ahead_s(time).is_some()) => Err(wrong(
                "its time is ahead of this device's synchronised clock",
            )),
            Ok(time) => Ok(time),
            Err(error) => Err(wrong(&error.to_string())),
        };
        if time_of(&self.witness)?.is_none() {
            return Err(wrong("the collector did not cosign it"));
        }
        let mut witnessed = self.independent.is_empty();
        for key in &self.independent {
            witnessed |= time_of(key)?.is_some();
        }
        if !witnessed {
            return Err(NotPinned::NoWitness);
        }
        // Somebody holds this device's log key and shows the witnesses another history with it.
        if let Some(last) = of.size.checked_sub(1)
            && let Ok(Some(row)) = self.reader.row(last).await
            && row.range.root() != of.root
        {
            return Err(wrong(
                "IT IS ABOUT ANOTHER HISTORY of this log: the device was cloned, or its key was stolen",
            ));
        }
        Ok(Freshness {
            kind: FreshnessKind::CosignedNote,
            hash: sha256(trail.as_bytes()),
        })
    }

    /// What a failed try means for the next one.
    fn failed(&mut self, error: &CollectorError) -> Progress {
        let released = *self.released.borrow();
        match *error {
            CollectorError::Size { size } if size <= released => {
                tracing::info!(size, "The collector is elsewhere: going on from there");
                self.cursor = size;
                self.outcome
                    .change(|status| status.head = HeadState::Unconfirmed);
                self.back_off(None)
            }
            CollectorError::Size { .. } => {
                self.outcome
                    .change(|status| status.head = HeadState::Unconfirmed);
                self.back_off(None)
            }
            CollectorError::Refused { status: 413, .. } if self.most_entries > 1 => {
                self.most_entries /= 2;
                Progress::Wait(0)
            }
            CollectorError::Refused { .. } => self.stop(error.to_string()),
            CollectorError::Busy { retry_after, .. } => {
                self.note_error(error.to_string());
                self.back_off(retry_after)
            }
            CollectorError::Unreachable(_) | CollectorError::Nonsense(_) => {
                self.note_error(error.to_string());
                self.back_off(None)
            }
        }
    }

    fn note_error(&self, text: String) {
        let known = self.outcome.snapshot().error;
        if known.as_ref() != Some(&text) {
            tracing::warn!("Not delivered: {text}");
        }
        self.outcome.change(|status| status.error = Some(text));
    }

    /// A permanent refusal: sampling and sealing go on, sending rests for an hour.
    fn stop(&self, text: String) -> Progress {
        tracing::error!("Delivery rests for an hour: {text}");
        self.outcome.change(|status| {
            status.error = Some(text);
            status.refused = true;
        });
        Progress::Wait(REFUSED_WAIT_MS)
    }

    /// Doubling waits up to a minute, each between half and all of it, so that many gateways do not
    /// come back at once.
    fn back_off(&mut self, asked: Option<Duration>) -> Progress {
        self.failures = self.failures.saturating_add(1);
        let longest = (500_u64 << self.failures.min(8)).min(LONGEST_WAIT_MS);
        let mut byte = [0; 2];
        let random = self
            .random
            .fill(&mut byte)
            .map_or(0, |()| u64::from(u16::from_be_bytes(byte)));
        let own = longest / 2 + longest / 2 * random / 65_536;
        let asked = asked.map_or(0, |asked| {
            u64::try_from(asked.as_millis()).unwrap_or(u64::MAX)
        });
        Progress::Wait(own.max(asked.min(REFUSED_WAIT_MS)))
    }
}

fn upload(from: u64, rows: &[Row], last: &Row) -> Result<Vec<u8>, CollectorError> {
    let records = rows
        .iter()
        .map(|row| {
            let has_none = !signs_payload(&row.entry);
            let payload = row.payload.as_deref().or(has_none.then_some(&[][..]));
            Record {
                entry: &row.entry,
                payload,
            }
        })
        .collect();
    Upload {
        old: from,
        note: &last.checkpoint,
        records,
    }
    .encode()
    .map_err(|error| CollectorError::Nonsense(format!("our own upload: {error}")))
}

/// Whether an entry signs a payload, so that its absence is a loss and not its nature.
fn signs_payload(entry: &[u8]) -> bool {
    evidence::entry::Entry::parse(entry).is_ok_and(|signed| signed.entry.payload_ref().is_some())
}
