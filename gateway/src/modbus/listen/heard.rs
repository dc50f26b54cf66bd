//! What was heard on a line, kept until the tick is over.
//!
//! Answers are kept whole, one for each question the other master asks, so a value is always cut
//! out of one answer: half of a counter from before a carry and half from after it is never joined.
//! Of several answers that hold a value the last one counts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evidence::quality::Quality;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until};

use super::decoder::{Event, Pair, Reason};
use crate::modbus::frame::{Answer, Request};
use crate::modbus::outcome::{Outcome, describe};
use crate::modbus::register_map::Value;
use crate::plan::Span;

/// Questions that are remembered; a master that asks more has the oldest forgotten.
const MOST_QUESTIONS: usize = 1_024;

/// How often a single reading looks whether everything was heard.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What is heard on one line; shared by the tap and the devices.
#[derive(Debug)]
pub struct Heard {
    name: Arc<str>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Why nothing is heard at present: the port is not open.
    closed: Option<Arc<str>>,
    questions: HashMap<(u8, Span), Question>,
    counts: Counts,
}

/// One question of the other master.
#[derive(Debug, Default)]
struct Question {
    asked: Option<Instant>,
    words: Option<(Instant, Vec<u16>)>,
    exception: Option<(Instant, u8)>,
    dropped: Option<(Instant, Reason)>,
    /// Between the last two answers.
    period: Option<Duration>,
}

/// Everything that was counted on a line since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Questions with their answers.
    pub pairs: u64,
    /// Questions of the other master without an answer before the next question.
    pub unanswered: u64,
    /// Questions and answers that were dropped for another reason.
    pub dropped: u64,
    /// The last reason for dropping, in words.
    pub last_dropped: Option<String>,
    /// Frames of other functions than 1 to 4, mostly writes of the other master.
    pub other_functions: u64,
    /// Bytes that belong to no frame.
    pub noise_bytes: u64,
}

impl Heard {
    /// Nothing heard yet on the line called `name`.
    #[must_use]
    pub fn new(name: &str) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            inner: Mutex::new(Inner {
                closed: Some("the port is not open yet".into()),
                ..Inner::default()
            }),
        })
    }

    /// The line's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes what the decoder said at `now`.
    pub fn take(&self, events: &[Event], now: Instant) {
        if events.is_empty() {
            return;
        }
        self.with(|inner| {
            for event in events {
                inner.take(event, now);
            }
        });
    }

    /// The port was opened.
    pub fn opened(&self) {
        self.with(|inner| inner.closed = None);
    }

    /// The port was lost, for this reason.
    pub fn closed(&self, why: &str) {
        self.with(|inner| inner.closed = Some(why.into()));
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.with(|inner| inner.counts.clone())
    }

    /// Why nothing is heard at present, if the port is not open.
    #[must_use]
    pub fn trouble(&self) -> Option<Arc<str>> {
        self.with(|inner| inner.closed.clone())
    }

    /// How often a value of a unit is heard; `None` until it was heard twice.
    #[must_use]
    pub fn period(&self, unit: u8, span: Span) -> Option<Duration> {
        self.with(|inner| {
            inner
                .covering(unit, span)
                .filter_map(|found| found.period)
                .min()
        })
    }

    /// The newest answer that holds all of `span`, if it was heard at `since` or later.
    #[must_use]
    pub fn words(&self, unit: u8, span: Span, since: Instant) -> Option<Vec<u16>> {
        self.with(|inner| inner.words(unit, span, span, since))
    }

    fn with<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        // Never held across an await; every change is whole.
        change(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Inner {
    fn take(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Asked(request, at) => self.question(*request).asked = Some(*at),
            Event::Pair(pair) => self.pair(pair),
            Event::Dropped {
                reason,
                unit: _,
                request,
            } => {
                if *reason == Reason::Unanswered {
                    self.counts.unanswered += 1;
                } else {
                    self.counts.dropped += 1;
                    self.counts.last_dropped = Some(reason.text().to_owned());
                }
                if let Some(request) = request {
                    self.question(*request).dropped = Some((now, *reason));
                }
            }
            Event::Skipped { .. } => self.counts.other_functions += 1,
            Event::Noise(bytes) => {
                let bytes = u64::try_from(*bytes).unwrap_or(u64::MAX);
                self.counts.noise_bytes = self.counts.noise_bytes.saturating_add(bytes);
            }
        }
    }

    fn pair(&mut self, pair: &Pair) {
        self.counts.pairs += 1;
        let question = self.question(pair.request);
        match &pair.answer {
            Answer::Words(words) => {
                if let Some((before, _)) = question.words {
                    question.period = Some(pair.at.saturating_duration_since(before));
                }
                question.words = Some((pair.at, words.clone()));
            }
            Answer::Exception(code) => question.exception = Some((pair.at, *code)),
        }
    }

    fn question(&mut self, request: Request) -> &mut Question {
        let key = (request.unit, request.span);
        if self.questions.len() >= MOST_QUESTIONS && !self.questions.contains_key(&key) {
            let oldest = self
                .questions
                .iter()
                .min_by_key(|(_, question)| question.asked);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                self.questions.remove(&oldest);
            }
        }
        self.questions.entry(key).or_default()
    }

    /// The questions whose answers hold a value.
    fn covering(&self, unit: u8, span: Span) -> impl Iterator<Item = &Question> {
        self.questions
            .iter()
            .filter(move |((asked, whole), _)| *asked == unit && whole.contains(span))
            .map(|(_, question)| question)
    }

    /// The words of `span` out of the newest answer that holds all of `all`.
    fn words(&self, unit: u8, span: Span, all: Span, since: Instant) -> Option<Vec<u16>> {
        let newest = self
            .questions
            .iter()
            .filter(|((asked, whole), _)| *asked == unit && whole.contains(all))
            .filter_map(|((_, whole), question)| {
                let (at, words) = question.words.as_ref()?;
                (*at >= since).then_some((*at, *whole, words))
            })
            .max_by_key(|(at, _, _)| *at);
        let (_, whole, words) = newest?;
        let first = usize::from(span.address.checked_sub(whole.address)?);
        let found = words.get(first..first + usize::from(span.count))?;
        Some(found.to_vec())
    }

    /// What was heard of a value; `all` is what must be heard in one answer with it.
    fn outcome(&self, unit: u8, value: &Value, all: Span, since: Instant) -> Outcome {
        let absent = |quality, why: &str| Outcome::absent(quality, 0, why, Duration::ZERO);
        if let Some(words) = self.words(unit, value.span, all, since) {
            return match value.sample(&words) {
                Some(sample) => Outcome {
                    result: Ok(sample),
                    round_trip: Duration::ZERO,
                },
                None => absent(Quality::DROPPED, "the words do not fit the type"),
            };
        }
        if let Some(why) = &self.closed {
            return absent(Quality::LINK_ERROR, why);
        }
        let newest = |at: Option<Instant>| at.filter(|at| *at >= since);
        let exception = self
            .covering(unit, all)
            .filter_map(|found| found.exception.filter(|(at, _)| *at >= since))
            .max();
        if let Some((_, code)) = exception {
            return Outcome::refused(code, false, Duration::ZERO);
        }
        let dropped = self
            .covering(unit, all)
            .filter_map(|found| found.dropped.filter(|(at, _)| *at >= since))
            .max_by_key(|(at, _)| *at);
        match dropped {
            Some((_, Reason::Unanswered)) => absent(
                Quality::TIMEOUT,
                "the device did not answer the other master",
            ),
            Some((_, reason)) => absent(Quality::LINK_ERROR, reason.text()),
            None if self
                .covering(unit, all)
                .any(|found| newest(found.asked).is_some()) =>
            {
                absent(Quality::TIMEOUT, "no answer was heard within the tick")
            }
            None => {
                let why = format!(
                    "the other master did not read {} within the tick",
                    describe(all)
                );
                absent(Quality::TIMEOUT, &why)
            }
        }
    }
}

/// The points of one device in one stream, on a line that is only heard.
#[derive(Debug)]
pub struct ListenedDevice {
    name: String,
    unit: u8,
    heard: Arc<Heard>,
    values: Vec<Value>,
    /// What must be heard in one answer with each value: its registers, and those of the values that
    /// are read together with it.
    all: Vec<Span>,
    /// How long before its end a tick is taken.
    margin: Duration,
    /// Until when the ticks before have taken what was heard.
    taken: Option<Instant>,
    /// What was heard in the last tick.
    outcomes: Vec<Outcome>,
}

impl ListenedDevice {
    /// Takes the values of the unit `unit` from what is heard. Values with one number belong
    /// together: they come from one answer. `margin` is how long before its end a tick is taken.
    #[must_use]
    pub fn new(
        name: String,
        unit: u8,
        heard: Arc<Heard>,
        values: Vec<(Value, usize)>,
        margin: Duration,
    ) -> Self {
        let all = values.iter().map(|(value, number)| {
            let others = values.iter().filter(|(_, other)| other == number);
            others.fold(value.span, |all, (other, _)| joined(all, other.span))
        });
        let all = all.collect();
        let values = values.into_iter().map(|(value, _)| value).collect();
        Self {
            all,
            name,
            unit,
            heard,
            values,
            margin,
            taken: None,
            outcomes: Vec::new(),
        }
    }

    /// The device's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the last [`ListenedDevice::read`] gave, one outcome per value.
    #[must_use]
    pub fn outcomes(&self) -> &[Outcome] {
        &self.outcomes
    }

    /// The values, in the order of [`ListenedDevice::read`]'s outcomes.
    #[must_use]
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// Waits until `deadline` and returns what was heard since the tick before was taken, or since
    /// this one's beginning. A tick is taken a margin before it ends and so begins a margin early:
    /// nothing falls between two ticks.
    pub async fn read(&mut self, deadline: Instant) -> &[Outcome] {
        let now = Instant::now();
        let begin = now.checked_sub(self.margin).unwrap_or(now);
        let since = self.taken.map_or(begin, |taken| taken.max(begin));
        sleep_until(deadline).await;
        self.taken = Some(Instant::now());
        self.outcomes = self.heard_since(since);
        &self.outcomes
    }

    /// Waits until every value was heard, at most until `deadline`.
    pub async fn read_once(&self, deadline: Instant) -> Vec<Outcome> {
        let since = Instant::now();
        loop {
            let outcomes = self.heard_since(since);
            let now = Instant::now();
            if now >= deadline || outcomes.iter().all(|outcome| outcome.result.is_ok()) {
                return outcomes;
            }
            sleep_until((now + LOOK_EVERY).min(deadline)).await;
        }
    }

    fn heard_since(&self, since: Instant) -> Vec<Outcome> {
        // All at once: what is heard meanwhile belongs to the next look.
        self.heard.with(|inner| {
            let values = self.values.iter().zip(&self.all);
            values
                .map(|(value, all)| inner.outcome(self.unit, value, *all, since))
                .collect()
        })
    }
}

/// The registers from the first of both to the last of both. They lie in one table, or no answer
/// could hold them.
fn joined(one: Span, other: Span) -> Span {
    let address = one.address.min(other.address);
    let end = one.end().max(other.end());
    let count = u16::try_from(end - u32::from(address)).unwrap_or(u16::MAX);
    Span {
        table: one.table,
        address,
        count,
    }
}
