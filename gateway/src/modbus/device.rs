//! Reads one device's points of one stream, and learns the holes in its register map.
//!
//! A device that refuses a joined request (exception 2 or 3) is asked for each of its values alone,
//! once; then the readable ones are joined again without touching undeclared registers. What it
//! refuses alone is a hole: reported as *illegal address* and asked again only now and then.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use evidence::quality::Quality;
use evidence::value::Format;
use tokio::time::Instant;
use tracing::{info, warn};

use super::backoff::Permit;
use super::connection::Failure;
use super::frame::{Answer, Request, exception_text};
use super::link::{Link, Reply};
use crate::config::modicon_text;
use crate::plan::{Block, Limits, Span, plan};

/// How long a refused value is left alone before it is asked for again.
const HOLE_AGAIN: Duration = Duration::from_secs(600);

/// One value of the device.
#[derive(Debug, Clone)]
pub struct Value {
    /// The point's position in the measurement table.
    pub point: u16,
    /// The point's name, for messages.
    pub name: String,
    /// Where it lies.
    pub span: Span,
    /// How its words become a column value.
    pub format: Format,
}

/// What reading one value gave.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The column value, or why there is none.
    pub result: Result<i64, Absence>,
    /// How long the request took that tried to read it; zero when none was sent.
    pub round_trip: Duration,
}

/// Why there is no value.
#[derive(Debug, Clone)]
pub struct Absence {
    /// The quality to seal.
    pub quality: Quality,
    /// The Modbus exception code, or 0.
    pub aux: u8,
    /// The reason in words, for people.
    pub why: Arc<str>,
}

/// One device in one stream.
#[derive(Debug)]
pub struct DeviceReader {
    name: String,
    link: Link,
    unit: u8,
    timeout: Duration,
    limits: Limits,
    values: Vec<Value>,
    groups: Vec<Group>,
    /// What is known about each value asked for alone.
    verdicts: Vec<Verdict>,
}

/// What asking for a value alone has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Not asked for alone yet.
    Unknown,
    /// It was answered.
    Present,
    /// It was refused with this exception code; asked for again then.
    Hole { code: u8, again: Instant },
}

/// Values that are read with one request, or were once.
#[derive(Debug)]
struct Group {
    stage: Stage,
    /// The request that was planned first.
    whole: Block,
    blocks: Vec<Block>,
}

/// How far a group has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// One request, holes included.
    Joined,
    /// The request was refused: every value is asked for alone, to find out which exist.
    Parted,
    /// The values that exist, joined without holes.
    Declared,
    /// That was refused as well: one request per value.
    Alone,
}

/// Whether the rest of the device may still be asked in this tick.
enum Go {
    On,
    Stop(Absence),
}

impl DeviceReader {
    /// Plans the requests for `values`, all of the unit `unit` behind `link`.
    #[must_use]
    pub fn new(
        name: &str,
        link: Link,
        unit: u8,
        timeout: Duration,
        limits: Limits,
        values: Vec<Value>,
    ) -> Self {
        let spans: Vec<Span> = values.iter().map(|value| value.span).collect();
        let groups = plan(&spans, limits)
            .into_iter()
            .map(|whole| Group {
                stage: Stage::Joined,
                blocks: vec![whole.clone()],
                whole,
            })
            .collect();
        let verdicts = vec![Verdict::Unknown; values.len()];
        Self {
            name: name.to_owned(),
            link,
            unit,
            timeout,
            limits,
            values,
            groups,
            verdicts,
        }
    }

    /// The device's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How long one answer may take.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The values, in the order of [`DeviceReader::read`]'s outcomes.
    #[must_use]
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// The requests of the next tick.
    pub fn requests(&self) -> impl Iterator<Item = Span> {
        self.groups
            .iter()
            .flat_map(|group| group.blocks.iter().map(|block| block.span))
    }

    /// Reads every value once, by `deadline` at the latest; one outcome per value.
    pub async fn read(&mut self, deadline: Instant) -> Vec<Outcome> {
        let mut outcomes =
            vec![absent(Quality::NOT_POLLED, 0, "not asked", Duration::ZERO); self.values.len()];
        let go = match self.link.permit(self.unit) {
            Permit::Ready => Go::On,
            Permit::Wait => Go::Stop(backed_off()),
            Permit::Probe => self.probe(deadline, &mut outcomes).await,
        };
        if let Err(absence) = self.read_groups(go, deadline, &mut outcomes).await {
            // Everything that was not asked in this tick says why; what was asked keeps its own.
            for outcome in outcomes.iter_mut().filter(|outcome| is_unasked(outcome)) {
                outcome.result = Err(absence.clone());
            }
        }
        outcomes
    }

    /// Asks a silent device for its cheapest value before the rest.
    async fn probe(&mut self, deadline: Instant, outcomes: &mut [Outcome]) -> Go {
        let cheapest = (0..self.values.len())
            .filter(|&place| !self.is_hole(place))
            .min_by_key(|&place| self.values.get(place).map(|value| value.span.count));
        let Some(block) = self.alone(cheapest.unwrap_or(0)) else {
            return Go::On;
        };
        let reply = self.ask(block.span, deadline, true).await;
        self.settle(&block, reply, outcomes)
    }

    async fn read_groups(
        &mut self,
        go: Go,
        deadline: Instant,
        outcomes: &mut [Outcome],
    ) -> Result<(), Absence> {
        if let Go::Stop(absence) = go {
            return Err(absence);
        }
        for place in 0..self.groups.len() {
            self.read_group(place, deadline, outcomes).await?;
        }
        Ok(())
    }

    async fn read_group(
        &mut self,
        place: usize,
        deadline: Instant,
        outcomes: &mut [Outcome],
    ) -> Result<(), Absence> {
        let Some(group) = self.groups.get(place) else {
            return Ok(());
        };
        let stage = group.stage;
        let mut blocks = group.blocks.clone();
        if stage == Stage::Parted {
            // A slow device may need several ticks until every value was asked for alone once.
            blocks.sort_by_key(|block| block.values.iter().any(|&value| self.is_judged(value)));
        }
        for block in blocks {
            if self.is_known_hole(&block, outcomes) {
                continue;
            }
            let reply = self.ask(block.span, deadline, false).await;
            let refused = match reply.result {
                Ok(Answer::Exception(code @ (2 | 3))) if block.values.len() > 1 => Some(code),
                _ => None,
            };
            if let Some(code) = refused {
                return self.part(place, code, deadline, outcomes).await;
            }
            if let Go::Stop(absence) = self.settle(&block, reply, outcomes) {
                return Err(absence);
            }
        }
        if stage == Stage::Parted {
            self.rejoin(place);
        }
        Ok(())
    }

    /// A joined request was refused: ask for each value alone, in this tick as far as time allows.
    async fn part(
        &mut self,
        place: usize,
        code: u8,
        deadline: Instant,
        outcomes: &mut [Outcome],
    ) -> Result<(), Absence> {
        let Some(group) = self.groups.get(place) else {
            return Ok(());
        };
        let (span, values) = (group.whole.span, group.whole.values.clone());
        let stage = if group.stage == Stage::Joined {
            Stage::Parted
        } else {
            Stage::Alone
        };
        warn!(
            device.name = self.name,
            "Device {} refuses {} in one request ({}); its {} values are read one by one",
            self.name,
            describe(span),
            exception_text(code),
            values.len()
        );
        let blocks: Vec<Block> = values
            .iter()
            .filter_map(|&value| self.alone(value))
            .collect();
        if let Some(group) = self.groups.get_mut(place) {
            (group.stage, group.blocks) = (stage, blocks);
        }
        Box::pin(self.read_group(place, deadline, outcomes)).await
    }

    /// Once every value of a parted group was asked for alone, joins those that exist.
    fn rejoin(&mut self, place: usize) {
        let Some(group) = self.groups.get(place) else {
            return;
        };
        let whole = group.whole.clone();
        if !whole.values.iter().all(|&value| self.is_judged(value)) {
            return;
        }
        let (missing, present): (Vec<usize>, Vec<usize>) =
            whole.values.iter().partition(|&&value| self.is_hole(value));
        let spans: Vec<Span> = present
            .iter()
            .filter_map(|&value| self.values.get(value))
            .map(|value| value.span)
            .collect();
        let mut blocks = plan(
            &spans,
            Limits {
                gap: 0,
                ..self.limits
            },
        );
        for block in &mut blocks {
            block.values = block
                .values
                .iter()
                .filter_map(|&at| present.get(at).copied())
                .collect();
        }
        let mut stage = Stage::Declared;
        if blocks.iter().any(|block| block.span == whole.span) {
            // No hole explains the refusal: the request was too long for the device.
            stage = Stage::Alone;
            blocks = present
                .iter()
                .filter_map(|&value| self.alone(value))
                .collect();
        }
        let (name, of, now) = (&self.name, whole.values.len(), blocks.len());
        if missing.is_empty() {
            info!(
                device.name = name,
                "Device {name} answers all {of} values of {} in {now} requests; lower max_registers or max_gap to start so",
                describe(whole.span)
            );
        } else {
            warn!(
                device.name = name,
                "Device {name} has no register for {}; the other values are read in {now} requests",
                self.names(&missing)
            );
        }
        blocks.extend(missing.iter().filter_map(|&value| self.alone(value)));
        if let Some(group) = self.groups.get_mut(place) {
            (group.stage, group.blocks) = (stage, blocks);
        }
    }

    fn is_hole(&self, value: usize) -> bool {
        matches!(self.verdicts.get(value), Some(Verdict::Hole { .. }))
    }

    fn is_judged(&self, value: usize) -> bool {
        self.verdicts
            .get(value)
            .is_some_and(|verdict| *verdict != Verdict::Unknown)
    }

    fn judge(&mut self, value: usize, verdict: Verdict) {
        if let Some(slot) = self.verdicts.get_mut(value) {
            *slot = verdict;
        }
    }

    fn names(&self, values: &[usize]) -> String {
        let values = values.iter().filter_map(|&value| self.values.get(value));
        let names: Vec<String> = values
            .map(|value| format!("{} at {}", value.name, describe(value.span)))
            .collect();
        names.join(", ")
    }

    fn alone(&self, value: usize) -> Option<Block> {
        self.values.get(value).map(|found| Block {
            span: found.span,
            values: vec![value],
        })
    }

    /// A value that was refused alone a while ago is not asked for again yet.
    fn is_known_hole(&self, block: &Block, outcomes: &mut [Outcome]) -> bool {
        let [value] = block.values.as_slice() else {
            return false;
        };
        match self.verdicts.get(*value) {
            Some(&Verdict::Hole { code, again }) if Instant::now() < again => {
                set(outcomes, *value, &refused(code, true, Duration::ZERO));
                true
            }
            _ => false,
        }
    }

    async fn ask(&self, span: Span, deadline: Instant, probe: bool) -> Reply {
        let request = Request {
            unit: self.unit,
            span,
        };
        self.link.ask(request, self.timeout, deadline, probe).await
    }

    /// Turns a reply into outcomes.
    fn settle(&mut self, block: &Block, reply: Reply, outcomes: &mut [Outcome]) -> Go {
        let round_trip = reply.round_trip;
        let alone = block.values.len() == 1;
        match reply.result {
            Ok(Answer::Words(words)) => {
                for &place in &block.values {
                    let Some((value, outcome)) =
                        self.values.get(place).zip(outcomes.get_mut(place))
                    else {
                        continue;
                    };
                    let first = usize::from(value.span.address - block.span.address);
                    let raw = words
                        .get(first..first + usize::from(value.span.count))
                        .and_then(|words| value.format.raw(words));
                    // `None` cannot happen: the answer has as many words as the block.
                    *outcome = match raw {
                        Some(raw) => Outcome {
                            result: Ok(raw),
                            round_trip,
                        },
                        None => absent(
                            Quality::DROPPED,
                            0,
                            "the words do not fit the type",
                            round_trip,
                        ),
                    };
                    if alone {
                        self.judge(place, Verdict::Present);
                    }
                }
                Go::On
            }
            Ok(Answer::Exception(code)) => {
                let outcome = refused(code, alone, round_trip);
                for &place in &block.values {
                    if alone && matches!(code, 2 | 3) {
                        self.judge(
                            place,
                            Verdict::Hole {
                                code,
                                again: Instant::now() + HOLE_AGAIN,
                            },
                        );
                    }
                    set(outcomes, place, &outcome);
                }
                // 10 and 11 come from a serial server whose device is silent.
                if matches!(code, 10 | 11) {
                    Go::Stop(backed_off())
                } else {
                    Go::On
                }
            }
            Err(failure) => {
                let failed = absence(&failure);
                let outcome = Outcome {
                    result: Err(failed.clone()),
                    round_trip,
                };
                for &place in &block.values {
                    set(outcomes, place, &outcome);
                }
                let rest = if matches!(failure, Failure::NotAsked) {
                    failed
                } else {
                    backed_off()
                };
                Go::Stop(rest)
            }
        }
    }
}

fn set(outcomes: &mut [Outcome], place: usize, outcome: &Outcome) {
    if let Some(slot) = outcomes.get_mut(place) {
        *slot = outcome.clone();
    }
}

/// Only a value asked for alone can be said not to exist.
fn refused(code: u8, alone: bool, round_trip: Duration) -> Outcome {
    let quality = if code == 2 && alone {
        Quality::ILLEGAL_ADDRESS
    } else {
        Quality::EXCEPTION
    };
    absent(
        quality,
        code,
        &format!("exception {code} ({})", exception_text(code)),
        round_trip,
    )
}

fn is_unasked(outcome: &Outcome) -> bool {
    matches!(&outcome.result, Err(absence) if absence.quality == Quality::NOT_POLLED)
}

fn absent(quality: Quality, aux: u8, why: &str, round_trip: Duration) -> Outcome {
    Outcome {
        result: Err(Absence {
            quality,
            aux,
            why: why.into(),
        }),
        round_trip,
    }
}

fn backed_off() -> Absence {
    Absence {
        quality: Quality::BACKED_OFF,
        aux: 0,
        why: Failure::BackedOff.to_string().into(),
    }
}

fn absence(failure: &Failure) -> Absence {
    let quality = match failure {
        Failure::Timeout => Quality::TIMEOUT,
        Failure::NotAsked => Quality::NOT_POLLED,
        Failure::BackedOff => Quality::BACKED_OFF,
        _ => Quality::LINK_ERROR,
    };
    let why = match std::error::Error::source(failure) {
        Some(cause) => format!("{failure}: {cause}"),
        None => failure.to_string(),
    };
    Absence {
        quality,
        aux: 0,
        why: why.into(),
    }
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.quality, self.why)
    }
}

/// `holding 107-109 (4x00108-4x00110)`.
#[must_use]
pub fn describe(span: Span) -> String {
    let last = u16::try_from(span.end().saturating_sub(1)).unwrap_or(u16::MAX);
    let (first_text, last_text) = (
        modicon_text(span.table, span.address),
        modicon_text(span.table, last),
    );
    if span.count == 1 {
        format!("{} {} ({first_text})", span.table.name(), span.address)
    } else {
        format!(
            "{} {}-{last} ({first_text}-{last_text})",
            span.table.name(),
            span.address
        )
    }
}
