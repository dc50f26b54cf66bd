//! From the bytes of a line to pairs of question and answer, and never a wrong pair.
//!
//! An RTU answer does not say which registers it holds; only the question before it does. So an
//! answer counts only if it *directly* follows its question, with the same unit and function, the
//! right length, and within the unit's timeout. Everything else is dropped and said so.
//!
//! That alone is not enough. A device that answers late answers the question before last, and the
//! master that gave up has asked another one in between: the late answer directly follows the wrong
//! question. Therefore the decoder keeps, for each unit, the questions that were not answered
//! ([`Owed`]); while an answer could belong to one of those, it is dropped. Three things settle the
//! doubt, and only these:
//!
//! - an answer of a length that only the question directly before it asked for: devices answer in
//!   order, so nothing older will come;
//! - a pause before the next question, twice as long as the unit ever took to answer, after it has
//!   answered something: what it still owed would have come;
//! - [`LATE`] times the timeout since a question that was never answered, or since the line was
//!   opened: what was asked before is not known.
//!
//! A pair is also *held* until the next question, or such a pause, shows that nothing more came with
//! it: an answer sent twice, or two answers in a row, take it back.
//!
//! What this rests on, and a listener cannot check: a device answers in the order of the questions,
//! none later than [`LATE`] times its timeout; once it answers again after a silence it answers what
//! it still owes at its usual pace; it repeats an answer before the next question or not at all,
//! or else also answers that question; whole frames do not vanish from the line without a trace; and
//! the other master itself is in step with its devices when the gateway begins to listen.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::rtu::{LONGEST, Look, Piece, Reply, look};
use crate::modbus::frame::{Answer, Request};

/// After this many timeouts an unanswered question is not answered any more.
const LATE: u32 = 10;

/// Unanswered questions of one unit that are remembered one by one; beyond that everything from
/// the unit is in doubt until they are too old to be answered.
const MOST_OWED: usize = 32;

/// After this many certain answers of a unit its usual pace is known.
const KNOWN_PACE: u32 = 8;

/// Noise shorter than any answer, as drivers cause it when they let go of the line, does not cast
/// doubt on the answer before it.
const GLITCH: usize = 4;

/// The rhythm of a line.
#[derive(Debug, Clone)]
pub struct Timing {
    /// How long an answer may take. Not longer than the other master waits: it would be the time in
    /// which a question that was not heard could lend its answer to the one before.
    pub timeout: Duration,
    /// A silence that ends a frame, whatever is missing. Longer than a converter or a USB adapter
    /// holds bytes back within a frame.
    pub gap: Duration,
    /// The shortest silence that shows that an answer is alone.
    pub quiet: Duration,
}

impl Timing {
    /// The usual silences with a timeout.
    #[must_use]
    pub const fn with_timeout(timeout: Duration) -> Self {
        Self {
            timeout,
            gap: Duration::from_millis(200),
            quiet: Duration::from_millis(50),
        }
    }
}

/// A question and the answer to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// What was asked.
    pub request: Request,
    /// What was answered: as many words as were asked for, or the exception.
    pub answer: Answer,
    /// When the answer was complete and nothing spoke against it any more.
    pub at: Instant,
    /// From the end of the question to the end of the answer.
    pub latency: Duration,
}

/// Why a question or an answer led to no pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The next question came before an answer.
    Unanswered,
    /// Bytes that are no frame stood where the answer was due.
    Noise,
    /// The answer came after the timeout.
    Late,
    /// The answer was another unit's, of another function or of another length.
    Mismatch,
    /// The answer could also belong to an earlier question that was not answered.
    Doubtful,
    /// The answer was followed by another one: which of them was meant cannot be told.
    Repeated,
    /// An answer without a question before it.
    Stray,
    /// A write or another function stood between.
    OtherFunction,
    /// The gateway itself was held up and cannot tell when the bytes came.
    HeldUp,
}

impl Reason {
    /// For people.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Unanswered => "no answer before the next question",
            Self::Noise => "noise where the answer was due",
            Self::Late => "the answer came after the timeout",
            Self::Mismatch => "an answer of another unit, function or length",
            Self::Doubtful => "the answer may belong to an earlier question",
            Self::Repeated => "two answers to one question",
            Self::Stray => "an answer without a question",
            Self::OtherFunction => "another function stood between question and answer",
            Self::HeldUp => "the gateway was held up while the answer came",
        }
    }
}

/// What the decoder has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The other master asked for this.
    Asked(Request, Instant),
    /// A pair.
    Pair(Pair),
    /// A question that led to no pair; without a question for a stray answer of this unit.
    Dropped {
        /// Why.
        reason: Reason,
        /// The unit.
        unit: u8,
        /// The question, where it is known.
        request: Option<Request>,
    },
    /// A frame of another function than 1 to 4 was skipped.
    Skipped {
        /// The function.
        function: u8,
    },
    /// Bytes that belong to no frame.
    Noise(usize),
}

/// A question that was not answered.
#[derive(Debug, Clone, Copy)]
struct Owed {
    request: Request,
    /// When it was asked; for [`Owed::is_maybe`] when the unit's last answer came.
    since: Instant,
    /// The unit has answered something since.
    is_maybe: bool,
}

/// What is known about a unit.
#[derive(Debug, Default)]
struct Unit {
    owed: Vec<Owed>,
    /// More was owed than is remembered.
    blurred_until: Option<Instant>,
    /// Its last answer: what comes again may be the same one repeated.
    last: Option<Reply>,
    /// The longest that an answer took, and of how many.
    slowest: Duration,
    certain: u32,
}

/// What is uncertain about an answer directly behind a question of its shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    /// Nothing: only that question can be meant.
    None,
    /// It answers that question or the very same one asked before, since when the unit has talked
    /// without a pause: the registers are the right ones.
    When,
    /// It may be for other registers.
    Whose,
}

/// A question whose answer is due.
#[derive(Debug, Clone, Copy)]
struct Asked {
    request: Request,
    at: Instant,
}

/// Takes the bytes of one line as they arrive.
#[derive(Debug)]
pub struct Decoder {
    timing: Timing,
    /// Timeouts of units that have their own.
    timeouts: HashMap<u8, Duration>,
    buffer: Vec<u8>,
    /// Which bytes of the buffer came when: number of bytes and time, in order.
    arrivals: VecDeque<(usize, Instant)>,
    asked: Option<Asked>,
    /// The last pair, and whether it settles what its unit owed.
    held: Option<(Pair, bool)>,
    units: HashMap<u8, Unit>,
    events: Vec<Event>,
    noise: usize,
    opened_at: Option<Instant>,
}

impl Decoder {
    /// Starts with nothing known; `timeouts` are those of units that differ from `timing`.
    #[must_use]
    pub fn new(timing: Timing, timeouts: HashMap<u8, Duration>) -> Self {
        Self {
            timing,
            timeouts,
            buffer: Vec::with_capacity(2 * LONGEST),
            arrivals: VecDeque::new(),
            asked: None,
            held: None,
            units: HashMap::new(),
            events: Vec::new(),
            noise: 0,
            opened_at: None,
        }
    }

    /// Takes bytes that arrived at `at`. Times must not go backwards.
    pub fn push(&mut self, bytes: &[u8], at: Instant) {
        self.advance(at);
        // In pieces, so that the buffer stays short whatever arrives at once.
        for piece in bytes.chunks(LONGEST) {
            self.buffer.extend_from_slice(piece);
            self.arrivals.push_back((piece.len(), at));
            self.decode(false);
        }
    }

    /// Lets time pass: what was cut off becomes noise, what was held becomes a pair.
    pub fn advance(&mut self, now: Instant) {
        if let Some(&(_, last)) = self.arrivals.back()
            && now.saturating_duration_since(last) >= self.timing.gap
        {
            self.decode(true);
        }
        if let Some((held, _)) = &self.held
            && now.saturating_duration_since(held.at) >= self.quiet(held.request.unit)
        {
            self.release(now);
        }
    }

    /// When [`Decoder::advance`] next has something to do, if nothing arrives.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let cut = self
            .arrivals
            .back()
            .map(|&(_, last)| last + self.timing.gap);
        let held = self
            .held
            .as_ref()
            .map(|(held, _)| held.at + self.quiet(held.request.unit));
        cut.into_iter().chain(held).min()
    }

    /// The gateway was held up: nobody knows when the next bytes came. All that is open is dropped.
    pub fn held_up(&mut self) {
        self.noise += self.buffer.len();
        self.buffer.clear();
        self.arrivals.clear();
        self.report_noise();
        if let Some((held, _)) = self.held.take() {
            self.abandon(&held, Reason::HeldUp);
        }
        if let Some(asked) = self.asked.take() {
            self.owe(asked);
            self.drop_question(Reason::HeldUp, asked.request);
        }
    }

    /// The line was opened: answers to what was asked before may still come.
    pub fn opened(&mut self, now: Instant) {
        self.held_up();
        self.opened_at = Some(now);
    }

    /// What happened since the last call, in order.
    pub fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Bytes waiting for the rest of their frame.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.buffer.len()
    }

    fn decode(&mut self, ended: bool) {
        let mut start = 0;
        loop {
            let rest = self.buffer.get(start..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            match look(rest, ended) {
                Look::More => break,
                Look::Noise => {
                    self.noise += 1;
                    self.consume(1);
                    start += 1;
                }
                Look::Frame(piece, length) => {
                    let at = self.consume(length);
                    start += length;
                    self.report_noise();
                    if let Some(at) = at {
                        self.take(piece, at);
                    }
                }
            }
        }
        self.buffer.drain(..start);
        self.report_noise();
    }

    /// Removes the times of `count` bytes; returns when the last of them came.
    fn consume(&mut self, mut count: usize) -> Option<Instant> {
        while let Some((here, at)) = self.arrivals.front_mut() {
            let at = *at;
            if *here > count {
                *here -= count;
                return Some(at);
            }
            count -= *here;
            self.arrivals.pop_front();
            if count == 0 {
                return Some(at);
            }
        }
        None
    }

    /// Noise stands between question and answer like anything else.
    fn report_noise(&mut self) {
        let bytes = std::mem::take(&mut self.noise);
        if bytes == 0 {
            return;
        }
        self.events.push(Event::Noise(bytes));
        if bytes > GLITCH
            && let Some((held, _)) = self.held.take()
        {
            // It may be what is left of a second answer.
            self.abandon(&held, Reason::Noise);
        }
        if let Some(asked) = self.asked.take() {
            self.owe(asked);
            self.drop_question(Reason::Noise, asked.request);
        }
    }

    fn take(&mut self, piece: Piece, at: Instant) {
        match piece {
            Piece::Question(request) => self.question(request, at),
            Piece::Answer(reply) => self.answer(&reply, at),
            Piece::Either(request, reply) => self.either(request, &reply, at),
            Piece::Other { function, .. } => {
                // A write belongs to a master, or answers one: what was held stands alone.
                self.release(at);
                self.events.push(Event::Skipped { function });
                if let Some(asked) = self.asked.take() {
                    self.owe(asked);
                    self.drop_question(Reason::OtherFunction, asked.request);
                }
            }
        }
    }

    fn question(&mut self, request: Request, at: Instant) {
        self.release(at);
        if let Some(before) = self.asked.take() {
            self.owe(before);
            self.drop_question(Reason::Unanswered, before.request);
        }
        let quiet = self.quiet(request.unit);
        let late = self.timeout(request.unit) * LATE;
        if let Some(unit) = self.units.get_mut(&request.unit) {
            unit.owed.retain(|owed| {
                let longest = if owed.is_maybe { quiet } else { late };
                at.saturating_duration_since(owed.since) < longest
            });
            unit.blurred_until = unit.blurred_until.filter(|&until| at < until);
        }
        self.asked = Some(Asked { request, at });
        self.events.push(Event::Asked(request, at));
    }

    fn answer(&mut self, reply: &Reply, at: Instant) {
        let asked = self.asked.take();
        let Some(asked) = asked else {
            self.stray(reply, at);
            return;
        };
        let request = asked.request;
        let Some(answer) = reply.words(request) else {
            // An answer to an earlier question of this unit or of another one; its own may still come.
            self.owe(asked);
            self.drop_question(Reason::Mismatch, request);
            self.settle(reply, None, at);
            return;
        };
        let latency = at.saturating_duration_since(asked.at);
        let is_late = latency > self.timeout(request.unit);
        let is_new = self.is_new(request.unit, at);
        let doubt = self.doubt(reply, request);
        if is_late || is_new || doubt == Doubt::Whose {
            if is_new && !is_late {
                self.units.entry(request.unit).or_default().learn(latency);
            }
            // Only because the line is new, nothing is owed once that time is over.
            let unit = self.units.get(&request.unit);
            let is_owing = unit.is_some_and(|unit| !unit.owed.is_empty());
            let owed = (!is_new || is_owing).then_some(request);
            self.settle(reply, owed, at);
            let reason = if is_late {
                Reason::Late
            } else {
                Reason::Doubtful
            };
            self.drop_question(reason, request);
            return;
        }
        let pair = Pair {
            request,
            answer,
            at,
            latency,
        };
        if doubt == Doubt::None {
            // Only this question can be meant.
            self.units.entry(request.unit).or_default().last = Some(reply.clone());
            self.held = Some((pair, true));
        } else {
            self.settle(reply, Some(request), at);
            self.held = Some((pair, false));
        }
    }

    /// Eight bytes that are a question as well as an answer to the question before.
    fn either(&mut self, request: Request, reply: &Reply, at: Instant) {
        let pending = self.asked.map(|asked| asked.request);
        let answers = pending.is_some_and(|asked| reply.answers(asked) && reply.is_padded(asked));
        if !answers {
            self.question(request, at);
            return;
        }
        if let Some(asked) = self.asked.take() {
            self.owe(asked);
            self.drop_question(Reason::Doubtful, asked.request);
        }
        // If it was a question, its answer follows now and finds no question: a stray.
        self.owe(Asked { request, at });
    }

    /// An answer that no question stands before.
    fn stray(&mut self, reply: &Reply, at: Instant) {
        if self
            .held
            .as_ref()
            .is_some_and(|(held, _)| held.request.unit == reply.unit)
            && let Some((held, _)) = self.held.take()
        {
            // The first may have been a late one and this the right one.
            self.abandon(&held, Reason::Repeated);
        }
        self.settle(reply, None, at);
        self.events.push(Event::Dropped {
            reason: Reason::Stray,
            unit: reply.unit,
            request: None,
        });
    }

    /// Whether a unit may still answer what it was asked before the line was opened.
    fn is_new(&self, unit: u8, at: Instant) -> bool {
        let late = self.timeout(unit) * LATE;
        self.opened_at
            .is_some_and(|opened| at.saturating_duration_since(opened) < late)
    }

    /// Whether an answer could belong to a question that is still owed.
    fn doubt(&self, reply: &Reply, request: Request) -> Doubt {
        let Some(unit) = self.units.get(&reply.unit) else {
            return Doubt::None;
        };
        let mut fitting = unit
            .owed
            .iter()
            .filter(|owed| reply.answers(owed.request))
            .peekable();
        if unit.blurred_until.is_some() {
            Doubt::Whose
        } else if fitting.peek().is_none() {
            Doubt::None
        } else if fitting.all(|owed| owed.is_maybe && owed.request == request) {
            Doubt::When
        } else {
            Doubt::Whose
        }
    }

    /// An answer came that is not used. It may have been for the oldest question it fits, so that one
    /// and those older are not owed any more, unless it is the answer before once more. Those younger
    /// stay, and the question directly before it may have been answered or not.
    fn settle(&mut self, reply: &Reply, asked: Option<Request>, at: Instant) {
        let unit = self.units.entry(reply.unit).or_default();
        let oldest = unit
            .owed
            .iter()
            .position(|owed| reply.answers(owed.request));
        if let Some(oldest) = oldest.filter(|_| unit.last.as_ref() != Some(reply)) {
            unit.owed.drain(..=oldest);
        }
        unit.last = Some(reply.clone());
        // It talks, so what it owes comes at its usual pace: a pause will show that it has nothing more
        // to say, but not as long as it goes on talking.
        for owed in &mut unit.owed {
            (owed.is_maybe, owed.since) = (true, at);
        }
        if let Some(request) = asked {
            unit.remember(
                Owed {
                    request,
                    since: at,
                    is_maybe: true,
                },
                at + self.timing.timeout * LATE,
            );
        }
    }

    fn owe(&mut self, asked: Asked) {
        let until = asked.at + self.timeout(asked.request.unit) * LATE;
        let owed = Owed {
            request: asked.request,
            since: asked.at,
            is_maybe: false,
        };
        self.units
            .entry(asked.request.unit)
            .or_default()
            .remember(owed, until);
    }

    fn drop_question(&mut self, reason: Reason, request: Request) {
        self.events.push(Event::Dropped {
            reason,
            unit: request.unit,
            request: Some(request),
        });
    }

    /// What was held does not stand: its question may not have been answered yet.
    fn abandon(&mut self, held: &Pair, reason: Reason) {
        let until = held.at + self.timing.timeout * LATE;
        let owed = Owed {
            request: held.request,
            since: held.at,
            is_maybe: true,
        };
        let unit = self.units.entry(held.request.unit).or_default();
        unit.remember(owed, until);
        self.drop_question(reason, held.request);
    }

    /// What was held stands: nothing came with it.
    fn release(&mut self, at: Instant) {
        if let Some((held, settles)) = self.held.take() {
            let unit = self.units.entry(held.request.unit).or_default();
            if settles {
                // Devices answer in order: nothing older is owed.
                unit.owed.clear();
                unit.learn(held.latency);
            }
            self.events.push(Event::Pair(Pair { at, ..held }));
        }
    }

    fn timeout(&self, unit: u8) -> Duration {
        let own = self.timeouts.get(&unit).copied();
        own.unwrap_or(self.timing.timeout)
    }

    /// How long a silence of a unit shows that it has nothing more to say: twice what it ever took,
    /// and its timeout as long as that is not known.
    fn quiet(&self, unit: u8) -> Duration {
        let timeout = self.timeout(unit).max(self.timing.quiet);
        match self.units.get(&unit) {
            Some(known) if known.certain >= KNOWN_PACE => {
                (known.slowest * 2).clamp(self.timing.quiet, timeout)
            }
            _ => timeout,
        }
    }
}

impl Unit {
    fn learn(&mut self, latency: Duration) {
        self.slowest = self.slowest.max(latency);
        self.certain = self.certain.saturating_add(1);
    }

    fn remember(&mut self, owed: Owed, until: Instant) {
        if self.owed.len() >= MOST_OWED {
            let oldest = self.owed.remove(0);
            // Of one question asked over and over enough are left to stand for it.
            let is_kept = self
                .owed
                .iter()
                .any(|other| other.request == oldest.request);
            if !(oldest.is_maybe && is_kept) {
                self.blurred_until = self.blurred_until.max(Some(until));
            }
        }
        self.owed.push(owed);
    }
}

#[cfg(test)]
mod tests;
