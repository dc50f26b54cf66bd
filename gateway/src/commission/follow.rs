//! What the log seals of a point, as it is sealed.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use evidence::chain::{Applied, Chain};
use evidence::hash::Origin;
use evidence::segment::{DecodedColumn, Segment};

use super::InForce;
use crate::buffer::{BufferError, LogReader};
use crate::clock::utc_text;

/// How far from the moment a value still counts as sealed around it, or a tick where that is longer: a
/// person needs a moment to read, and a counter moves from one tick to the next.
const AROUND_MS: u64 = 2_000;

/// Segments with samples of the point that are kept: the moment lies in the newest few.
const SEGMENTS_KEPT: usize = 64;

/// What was sealed for one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sealed {
    /// The value in units of the last decimal; none where the sample has no number.
    pub value: Option<i64>,
    /// The smallest and largest good value that held within `around_ms` of the moment.
    pub around: Option<(i64, i64)>,
    /// 2 s, or a tick where that is longer, in milliseconds.
    pub around_ms: u64,
    /// Decimals of the values.
    pub decimals: u8,
    /// The sample's quality in words.
    pub quality: String,
    /// The start of its tick, or when the message came; unix milliseconds.
    pub at_ms: u64,
    /// For messages: how old it was at the moment, in milliseconds.
    pub age_ms: Option<u64>,
    /// The entry it is sealed in.
    pub index: u64,
}

/// Why no sealed value was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] BufferError),
    /// Its newest file does not begin with a state.
    #[error("the log's newest file cannot be read on from: {0}")]
    State(String),
    /// It does not verify.
    #[error("entry {index} of the log does not verify: {why}")]
    Rejected {
        /// The entry.
        index: u64,
        /// The rule it breaks.
        why: String,
    },
    /// There is nothing to read.
    #[error("there is no log in `{0}`; run `fieldseal-gateway init` first")]
    NoLog(PathBuf),
    /// Nobody seals.
    #[error(
        "nothing was sealed for {point} at that moment within {} s: is the gateway running, and is its \
         clock set? `fieldseal-gateway status` says both", .waited.as_secs()
    )]
    NothingSealed {
        /// The point.
        point: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The log goes on behind the moment, but does not have it.
    #[error(
        "the log has no tick of {point} at {} (it has later ones): the gateway was not recording then. \
         `fieldseal-gateway status` shows whether it is now",
        utc_text(*.moment_ms)
    )]
    NotRecorded {
        /// The point.
        point: String,
        /// The moment, unix milliseconds.
        moment_ms: u64,
    },
    /// No message before the moment.
    #[error(
        "the log has no message of {point} before {} (its newest two days were looked through): wait \
         until the source has sent one, `fieldseal-gateway status` shows it",
        utc_text(*.moment_ms)
    )]
    NoMessage {
        /// The point.
        point: String,
        /// The moment, unix milliseconds.
        moment_ms: u64,
    },
    /// The value was sealed under another description of the point.
    #[error(
        "the configuration of {0} changed around that moment: ask again, and read the display anew"
    )]
    Changed(String),
    /// The sealed configuration does not have the point.
    #[error(
        "the log's configuration has no point `{0}`: has the gateway been restarted since it was added?"
    )]
    UnknownPoint(String),
}

/// Reads on in a log that a gateway is writing; every entry is verified.
#[derive(Debug)]
pub struct Follower {
    dir: PathBuf,
    point: String,
    chain: Chain,
    /// Data entries with samples of the point, the newest ones.
    segments: VecDeque<(u64, Segment)>,
    /// Up to when the point's stream is sealed, unix milliseconds.
    sealed_to_ms: i64,
}

/// A value for as long as it held.
struct Held {
    from_ms: u64,
    to_ms: u64,
    value: i64,
    quality: String,
    good: bool,
    index: u64,
    changed: bool,
}

impl Follower {
    /// Begins with the log's newest file. A message may be older than that: for points that come in
    /// messages it begins with the file before, if that is there.
    ///
    /// # Errors
    /// [`FollowError`].
    pub async fn of(
        data_dir: &Path,
        origin: &Origin,
        point: &str,
        messages: bool,
    ) -> Result<Self, FollowError> {
        let dir = data_dir.join("log");
        let nothing = || FollowError::NoLog(data_dir.to_owned());
        if !dir.exists() {
            return Err(nothing());
        }
        let reader = LogReader::of_dir(&dir).await?;
        if reader.bounds().1 == 0 {
            return Err(nothing());
        }
        let chain = match reader.state_of_newest(if messages { 2 } else { 1 }).await? {
            Some((first, state)) if first > 0 => {
                Chain::decode(&state).map_err(|error| FollowError::State(error.to_string()))?
            }
            _ => Chain::new(origin.clone()),
        };
        let mut follower = Self {
            dir,
            point: point.to_owned(),
            chain,
            segments: VecDeque::new(),
            sealed_to_ms: i64::MIN,
        };
        follower.read_on().await?;
        Ok(follower)
    }

    async fn read_on(&mut self) -> Result<(), FollowError> {
        let mut reader = LogReader::of_dir(&self.dir).await?;
        let end = reader.bounds().1;
        while self.chain.size() < end {
            for row in reader.rows(self.chain.size(), end, 1_000, 8 << 20).await? {
                let applied: Applied = self
                    .chain
                    .apply(&row.entry, row.payload.as_deref())
                    .map_err(|rejection| FollowError::Rejected {
                        index: row.index,
                        why: rejection.to_string(),
                    })?;
                if let Some(segment) = applied.segment {
                    self.take(row.index, segment);
                }
            }
        }
        Ok(())
    }

    /// Keeps what is of the point's stream.
    fn take(&mut self, index: u64, segment: Segment) {
        let point = segment.config.config.point(&self.point);
        if point.is_none_or(|(_, point)| point.stream != segment.ticks.stream) {
            return;
        }
        if let Some(end_ms) = segment.end_ms() {
            self.sealed_to_ms = self.sealed_to_ms.max(end_ms);
        }
        // A stream of messages is sealed through, whether or not one came.
        if column_of(&segment, &self.point).is_none_or(|column| column.values.is_empty()) {
            return;
        }
        if self.segments.len() >= SEGMENTS_KEPT {
            self.segments.pop_front();
        }
        self.segments.push_back((index, segment));
    }

    /// The point as the newest sealed configuration describes it.
    ///
    /// # Errors
    /// [`FollowError::UnknownPoint`].
    pub fn in_force(&self) -> Result<InForce, FollowError> {
        let config = self.chain.config();
        config
            .and_then(|config| InForce::of(&config.config, &self.point))
            .ok_or_else(|| FollowError::UnknownPoint(self.point.clone()))
    }

    /// Waits until the value of `moment_ms`, and those around it, are sealed.
    ///
    /// # Errors
    /// [`FollowError::NothingSealed`] when that is not so after `patience`.
    pub async fn sealed_at(
        &mut self,
        moment_ms: u64,
        patience: Duration,
    ) -> Result<Sealed, FollowError> {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            if let Some(found) = self.find(moment_ms)? {
                return Ok(found);
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(FollowError::NothingSealed {
                    point: self.point.clone(),
                    waited: patience,
                });
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
            self.read_on().await?;
        }
    }

    /// `None` until the moment and its surroundings are sealed.
    fn find(&self, moment_ms: u64) -> Result<Option<Sealed>, FollowError> {
        let in_force = self.in_force()?;
        let around_ms = AROUND_MS.max(u64::from(in_force.tick_ms));
        let to_ms = moment_ms.saturating_add(around_ms);
        if u64::try_from(self.sealed_to_ms).is_ok_and(|sealed| sealed >= to_ms) {
            let held = self.held(&in_force);
            return self.among(&held, &in_force, moment_ms, around_ms).map(Some);
        }
        Ok(None)
    }

    fn among(
        &self,
        held: &[Held],
        in_force: &InForce,
        moment_ms: u64,
        around_ms: u64,
    ) -> Result<Sealed, FollowError> {
        let point = self.point.clone();
        let close: Vec<&Held> = held
            .iter()
            .filter(|held| {
                held.from_ms <= moment_ms.saturating_add(around_ms)
                    && held.to_ms.saturating_add(around_ms) > moment_ms
            })
            .collect();
        if close.iter().any(|held| held.changed) {
            return Err(FollowError::Changed(point));
        }
        let good = close.iter().filter(|held| held.good).map(|held| held.value);
        let around = good.fold(None, |around: Option<(i64, i64)>, value| {
            let (low, high) = around.unwrap_or((value, value));
            Some((low.min(value), high.max(value)))
        });
        let last = held.iter().rfind(|held| held.from_ms <= moment_ms);
        let Some(last) = last.filter(|held| in_force.messages || moment_ms < held.to_ms) else {
            return Err(if in_force.messages {
                FollowError::NoMessage { point, moment_ms }
            } else {
                FollowError::NotRecorded { point, moment_ms }
            });
        };
        if last.changed {
            return Err(FollowError::Changed(point));
        }
        let expired = moment_ms >= last.to_ms;
        let quality = match in_force.point.stale_after_s {
            Some(holds_s) if expired && last.good => {
                format!("{}, but expired: a value holds {holds_s} s", last.quality)
            }
            _ => last.quality.clone(),
        };
        Ok(Sealed {
            value: last.good.then_some(last.value),
            around,
            around_ms,
            decimals: in_force.point.decimals,
            quality,
            at_ms: last.from_ms,
            age_ms: in_force.messages.then(|| moment_ms - last.from_ms),
            index: last.index,
        })
    }

    /// The samples that are kept, in the order of time. A polled value holds for its tick, a message
    /// until the next one, at most as long as the configuration says.
    fn held(&self, in_force: &InForce) -> Vec<Held> {
        let tick_ms = u64::from(in_force.tick_ms);
        let longest_ms = if in_force.messages {
            let longest = in_force.point.stale_after_s;
            longest.map_or(u64::MAX, |seconds| u64::from(seconds) * 1_000)
        } else {
            tick_ms
        };
        let mut all = Vec::new();
        for (index, segment) in &self.segments {
            let changed = InForce::of(&segment.config.config, &self.point)
                .is_none_or(|then| then != *in_force);
            let Some(column) = column_of(segment, &self.point) else {
                continue;
            };
            for (sample, value) in column.values.iter().enumerate() {
                let at = segment.sample_ms(column, sample);
                let Some(from_ms) = at.and_then(|at| u64::try_from(at).ok()) else {
                    continue;
                };
                let quality = column.quality(sample);
                all.push(Held {
                    from_ms,
                    to_ms: from_ms.saturating_add(longest_ms),
                    value: *value,
                    quality: quality.to_string(),
                    good: quality.is_good(),
                    index: *index,
                    changed,
                });
            }
        }
        all.sort_by_key(|held| held.from_ms);
        let mut next_ms = u64::MAX;
        for held in all.iter_mut().rev() {
            held.to_ms = held.to_ms.min(next_ms);
            next_ms = held.from_ms;
        }
        all
    }
}

/// The point's samples, if the segment is of its stream.
fn column_of<'s>(segment: &'s Segment, point: &str) -> Option<&'s DecodedColumn> {
    let (place, _) = segment.config.config.point(point)?;
    let mut columns = segment.columns.iter();
    columns.find(|column| column.point == place)
}
