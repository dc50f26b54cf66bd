//! What the log seals of a point, as it is sealed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use evidence::chain::{Applied, Chain};
use evidence::hash::Origin;
use evidence::segment::{DecodedColumn, Segment};

use crate::buffer::{BufferError, LogReader};
use crate::clock::utc_text;

/// How far from the moment a value still counts as sealed around it, or a tick where that is longer: a
/// person needs a moment to read, and a counter moves from one tick to the next.
const AROUND_MS: u64 = 2_000;

/// What was sealed for one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sealed {
    /// The value in units of the last decimal; none where the sample has no number.
    pub value: Option<i64>,
    /// The smallest and largest good value within `around_ms` of the moment.
    pub around: Option<(i64, i64)>,
    /// 2 s, or a tick where that is longer, in milliseconds.
    pub around_ms: u64,
    /// Decimals of the values.
    pub decimals: u8,
    /// The sample's quality in words.
    pub quality: String,
    /// The start of its tick, unix milliseconds.
    pub at_ms: u64,
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
    chain: Chain,
    /// Data entries of the newest file, as far as they may matter.
    segments: Vec<(u64, Segment)>,
}

impl Follower {
    /// Begins with the log's newest file.
    ///
    /// # Errors
    /// [`FollowError`].
    pub async fn of(data_dir: &Path, origin: &Origin) -> Result<Self, FollowError> {
        let dir = data_dir.join("log");
        let nothing = || FollowError::NoLog(data_dir.to_owned());
        if !dir.exists() {
            return Err(nothing());
        }
        let reader = LogReader::of_dir(&dir).await?;
        if reader.bounds().1 == 0 {
            return Err(nothing());
        }
        let chain = match reader.newest_state().await? {
            Some((first, state)) if first > 0 => {
                Chain::decode(&state).map_err(|error| FollowError::State(error.to_string()))?
            }
            _ => Chain::new(origin.clone()),
        };
        let mut follower = Self {
            dir,
            chain,
            segments: Vec::new(),
        };
        follower.read_on().await?;
        // What was sealed until now is past; only its last segments can be near the moment.
        let old = follower.segments.len().saturating_sub(64);
        follower.segments.drain(..old);
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
                self.segments
                    .extend(applied.segment.map(|segment| (row.index, segment)));
            }
        }
        Ok(())
    }

    /// Waits until the tick that contains `moment_ms`, and those around it, are sealed.
    ///
    /// # Errors
    /// [`FollowError::NothingSealed`] when that is not so after `patience`.
    pub async fn sealed_at(
        &mut self,
        point: &str,
        moment_ms: u64,
        patience: Duration,
    ) -> Result<Sealed, FollowError> {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            if let Some(found) = self.find(point, moment_ms)? {
                return Ok(found);
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(FollowError::NothingSealed {
                    point: point.to_owned(),
                    waited: patience,
                });
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
            self.read_on().await?;
        }
    }

    /// `None` until something later than the moment and its surroundings is sealed.
    fn find(&self, point: &str, moment_ms: u64) -> Result<Option<Sealed>, FollowError> {
        let mut found: Option<Sealed> = None;
        let mut around: Option<(i64, i64)> = None;
        let mut later = false;
        let mut known = self.segments.is_empty();
        for (index, segment) in &self.segments {
            let Some((place, decimals)) = place_of(segment, point) else {
                continue;
            };
            known = true;
            let Some(column) = column_of(segment, place) else {
                continue;
            };
            let tick_ms = u64::from(segment.tick_ms);
            let around_ms = AROUND_MS.max(tick_ms);
            for (sample, value) in column.values.iter().enumerate() {
                let at = segment.sample_ms(column, sample);
                let Some(at_ms) = at.and_then(|at| u64::try_from(at).ok()) else {
                    continue;
                };
                let end_ms = at_ms + tick_ms;
                let quality = column.quality(sample);
                let good = quality.is_good();
                later |= end_ms >= moment_ms + around_ms;
                if good && at_ms <= moment_ms + around_ms && end_ms + AROUND_MS > moment_ms {
                    let (low, high) = around.unwrap_or((*value, *value));
                    around = Some((low.min(*value), high.max(*value)));
                }
                if (at_ms..end_ms).contains(&moment_ms) {
                    found = Some(Sealed {
                        value: good.then_some(*value),
                        around: None,
                        around_ms,
                        decimals,
                        quality: quality.to_string(),
                        at_ms,
                        index: *index,
                    });
                }
            }
        }
        if !known {
            return Err(FollowError::UnknownPoint(point.to_owned()));
        }
        match (found, later) {
            (Some(found), true) => Ok(Some(Sealed { around, ..found })),
            (None, true) => Err(FollowError::NotRecorded {
                point: point.to_owned(),
                moment_ms,
            }),
            (_, false) => Ok(None),
        }
    }
}

/// The point's index and decimals, if the segment is of its stream's configuration.
fn place_of(segment: &Segment, point: &str) -> Option<(u16, u8)> {
    let points = (0_u16..).zip(&segment.config.config.points);
    let mut named = points.filter(|(_, known)| known.name == point);
    named.next().map(|(place, known)| (place, known.decimals))
}

fn column_of(segment: &Segment, point: u16) -> Option<&DecodedColumn> {
    segment.columns.iter().find(|column| column.point == point)
}
