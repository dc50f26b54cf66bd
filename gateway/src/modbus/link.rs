//! One line and everybody who asks on it.
//!
//! Every unit on a line takes its turn ([`super::turn`]), one request at a time, so answers cannot be
//! mixed up. Those who wait are served by urgency: units that answer before units that are probed,
//! then the earlier end of tick, then the order of arrival; guests ([`Link::ask_as_guest`]) come last.
//!
//! # What a silent unit costs the others on its line
//!
//! - *How long it is waited for*: its configured timeout; on a shared line at most
//!   max(200 ms, 4 × the longest it took of late × (1 + failures in a row)), at most
//!   [`LinkOptions::shared`]'s cap, and at most its fair share of the tick. A line of its own needs
//!   none of this: nobody waits behind it.
//! - *How long the line rests afterwards*: on TCP until it is connected again; on RTU until the unit's
//!   time to answer is over (however short we waited) and then for max(3.5 characters, 50 ms).
//! - *How often*: after a failure in 2 s, then 4 s, up to 5 min; requests of the unit that already
//!   wait are sent away at its failure.
//!
//! So one question to a silent unit takes at most `min(timeout, cap)` and a connect on TCP, and at
//! most `timeout + wire time + silence` on RTU ([`cost_of_silence`]); with the back-off a unit that
//! stays dead takes at most 60 such questions in its first hour and 12 in every hour after the
//! sixth.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::backoff::{Backoff, Permit};
use super::connection::{Connection, Patience};
use super::failure::Failure;
use super::frame::{Answer, Request};
use super::rtu;
use super::turn::{NoTurn, Turn, Turns, Urgency};
use super::wire::{Opener, Place};
use crate::config::{LineConfig, LineMode};

/// What a link needs to know.
#[derive(Debug, Clone)]
pub struct LinkOptions {
    line: LineConfig,
    place: Place,
    cap: Option<Duration>,
    first_transaction: u16,
    rest: Duration,
}

impl LinkOptions {
    /// A line with one unit on it.
    #[must_use]
    pub fn of(line: &LineConfig) -> Self {
        Self {
            line: line.clone(),
            place: Place::Endpoint(line.endpoint.clone()),
            cap: None,
            first_transaction: 0,
            rest: Duration::ZERO,
        }
    }

    /// Another process may have asked on the line a moment ago (ours, before it was killed): on RTU
    /// its answer could be taken for ours, so nothing is asked for so long.
    #[must_use]
    pub const fn rest(mut self, rest: Duration) -> Self {
        self.rest = rest;
        self
    }

    /// Several units share the line: a request may take at most `cap`.
    #[must_use]
    pub const fn shared(mut self, cap: Duration) -> Self {
        self.cap = Some(cap);
        self
    }

    /// The first transaction number on TCP; best a random one.
    #[must_use]
    pub const fn first_transaction(mut self, number: u16) -> Self {
        self.first_transaction = number;
        self
    }

    /// The line's bytes come from streams that `opener` makes, instead of from its endpoint, which
    /// then only says which frames are spoken.
    #[must_use]
    pub fn through(mut self, opener: Opener) -> Self {
        self.place = Place::Made(opener);
        self
    }
}

/// How long after its deadline a request may still take to return.
pub const GRACE: Duration = Duration::from_millis(5);

/// Nobody on a shared line is given less than this to answer.
const LEAST_TIMEOUT: Duration = Duration::from_millis(200);

/// The longest RTU frames of a question and its answer.
const LONGEST_EXCHANGE: (usize, usize) = (rtu::FRAME, 255);

/// The most that one question to a silent unit costs the others on a shared line.
#[must_use]
pub fn cost_of_silence(line: &LineConfig, timeout: Duration, cap: Duration) -> Duration {
    if line.endpoint.is_rtu() {
        let (question, answer) = LONGEST_EXCHANGE;
        timeout + line.wire_time(question, answer) + line.silence()
    } else {
        timeout.min(cap)
    }
}

/// A request's outcome and how long it took on the wire.
#[derive(Debug)]
pub struct Reply {
    /// The answer.
    pub result: Result<Answer, Failure>,
    /// From sending to the last byte; with a failure, all the time it took. Zero when nothing was sent.
    pub round_trip: Duration,
    /// The connection the answer came on; 0 without one.
    pub session: u64,
}

impl Reply {
    const fn unasked(failure: Failure) -> Self {
        Self {
            result: Err(failure),
            round_trip: Duration::ZERO,
            session: 0,
        }
    }
}

/// A handle to a line; the line is closed when the last handle is dropped.
#[derive(Clone)]
pub struct Link {
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    listens: bool,
    cap: Option<Duration>,
    turns: Arc<Turns>,
    /// Whether the link or a unit has failed since it last answered; spares the lock if not.
    troubled: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    link: Backoff,
    /// The units heard of so far, a few.
    units: Vec<(u8, Unit)>,
}

impl State {
    fn unit(&mut self, id: u8) -> &mut Unit {
        let place = match self.units.iter().position(|(known, _)| *known == id) {
            Some(place) => place,
            None => {
                self.units.push((id, Unit::default()));
                self.units.len() - 1
            }
        };
        &mut self.units[place].1
    }
}

/// What is known about a unit.
#[derive(Debug, Default)]
struct Unit {
    backoff: Backoff,
    /// The longest it took to answer, slowly forgotten.
    longest: Option<Duration>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("name", &self.shared.name)
            .finish_non_exhaustive()
    }
}

impl Link {
    /// Prepares a line; it is opened at the first request. Must be called within a runtime.
    #[must_use]
    pub fn start(options: LinkOptions) -> Self {
        let LinkOptions {
            line,
            place,
            cap,
            first_transaction,
            rest,
        } = options;
        let connection = Connection::new(&line, place, first_transaction, rest);
        let shared = Shared {
            listens: line.mode == LineMode::Listen,
            name: line.name,
            cap,
            turns: Turns::new(connection, cap.is_some()),
            troubled: AtomicBool::new(false),
            state: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The line's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Whether a unit may be asked now. [`Permit::Probe`] is granted to one caller at a time, who
    /// must follow it with one call of [`Link::ask`] with `probe`.
    #[must_use]
    pub fn permit(&self, unit: u8) -> Permit {
        if !self.shared.troubled.load(Ordering::Acquire) {
            return Permit::Ready;
        }
        let now = Instant::now();
        self.with_state(|state| match state.link.permit(now) {
            Permit::Ready => state.unit(unit).backoff.permit(now),
            other => other,
        })
    }

    /// Asks once; returns at most a few milliseconds after `deadline`, whatever the device does.
    /// `timeout` is how long the device may take, on a serial port without the time of the bytes on
    /// the wire. May be cancelled: the line is cleaned before it is used again.
    pub async fn ask(
        &self,
        request: Request,
        timeout: Duration,
        deadline: Instant,
        probe: bool,
    ) -> Reply {
        let urgency = Urgency {
            guest: false,
            probe,
            deadline,
        };
        let mut turn = match self.turn(request.unit, urgency).await {
            Ok(turn) => turn,
            Err(failure) => return Reply::unasked(failure),
        };
        let Some(line) = turn.line() else {
            return Reply::unasked(Failure::NotAsked);
        };
        let reply = self.exchange(line, request, timeout, urgency).await;
        self.note(request.unit, &reply);
        // Before the turn goes on: nobody waits for what has just been found dead.
        match &reply.result {
            Err(failure) if failure.is_connect() => self.shared.turns.refuse(|_, _| true),
            Err(failure) if !failure.is_unasked() => {
                let meant = |unit, urgency: Urgency| unit == request.unit && !urgency.probe;
                self.shared.turns.refuse(meant);
            }
            _ => {}
        }
        reply
    }

    /// Asks for somebody else than the gateway: after everybody else who waits, and whatever comes of
    /// it says nothing about the unit or the line. Takes no longer than [`cost_of_silence`] with
    /// `timeout` as the cap, if nobody has the line and the line is open.
    pub async fn ask_as_guest(
        &self,
        request: Request,
        timeout: Duration,
        deadline: Instant,
    ) -> Reply {
        let urgency = Urgency {
            guest: true,
            probe: false,
            deadline,
        };
        match self.turn(request.unit, urgency).await {
            Ok(mut turn) => match turn.line() {
                Some(line) => self.exchange(line, request, timeout, urgency).await,
                None => Reply::unasked(Failure::NotAsked),
            },
            Err(failure) => Reply::unasked(failure),
        }
    }

    /// Whether the unit and its line answered the last time they were asked.
    #[must_use]
    pub fn is_answering(&self, unit: u8) -> bool {
        self.with_state(|state| {
            let unit = state.units.iter().find(|(other, _)| *other == unit);
            let failures = unit.map_or(0, |(_, unit)| unit.backoff.failures());
            state.link.failures() == 0 && failures == 0
        })
    }

    /// Waits for the turn.
    async fn turn(&self, unit: u8, urgency: Urgency) -> Result<Turn, Failure> {
        if self.shared.listens {
            return Err(Failure::ListenOnly);
        }
        let turns = &self.shared.turns;
        let turn = turns.take(unit, urgency, urgency.deadline + GRACE);
        turn.await.map_err(|why| match why {
            // Held up by others until the end.
            NoTurn::Late => Failure::NotAsked,
            NoTurn::Refused => Failure::BackedOff,
        })
    }

    async fn exchange(
        &self,
        line: &mut Connection,
        request: Request,
        timeout: Duration,
        urgency: Urgency,
    ) -> Reply {
        let started = Instant::now();
        let left = urgency.deadline.saturating_duration_since(started);
        if left.is_zero() {
            return Reply::unasked(Failure::NotAsked);
        }
        let (mut wait, mut device) = (timeout, timeout);
        if let Some(cap) = self.shared.cap.filter(|_| !urgency.guest) {
            device = self.device_timeout(request.unit, timeout);
            wait = device.min(cap).min(self.fair_share(left, urgency.deadline));
        }
        let patience = Patience {
            until: urgency.deadline,
            now: started,
            wait,
            device,
            longest: timeout,
            wait_for_unit: self.shared.cap.is_none(),
        };
        let result = line.ask(request, patience).await;
        match result {
            // An answer belongs to tick n only if it arrived before n+1.
            Ok(answered) if answered.ended < urgency.deadline => Reply {
                result: Ok(answered.answer),
                round_trip: answered.took,
                session: answered.session,
            },
            Ok(answered) => Reply {
                result: Err(Failure::Timeout),
                round_trip: answered.took,
                session: 0,
            },
            Err(failure) if failure.is_unasked() => Reply::unasked(failure),
            Err(failure) => Reply {
                result: Err(failure),
                round_trip: started.elapsed(),
                session: 0,
            },
        }
    }

    /// A request may take more than its share of the tick while the others need less than theirs,
    /// but never so much that they are left with nothing.
    fn fair_share(&self, left: Duration, deadline: Instant) -> Duration {
        let rivals = self.shared.turns.rivals(deadline);
        let share = left / u32::try_from(rivals).unwrap_or(u32::MAX).saturating_add(1);
        if rivals == 0 {
            left
        } else {
            share.max(left / 4)
        }
    }

    /// How long a unit on a shared line may take: several times the longest it took of late.
    fn device_timeout(&self, unit: u8, configured: Duration) -> Duration {
        self.with_state(|state| {
            let unit = state.unit(unit);
            let failures = unit.backoff.failures().saturating_add(1);
            unit.longest.map_or(configured, |longest| {
                (longest * 4)
                    .max(LEAST_TIMEOUT)
                    .saturating_mul(failures)
                    .min(configured)
            })
        })
    }

    /// Keeps the back-off states. Only silence and broken connections count as failures: a device
    /// that refuses is alive. A serial server's "target did not respond" is silence.
    fn note(&self, unit: u8, reply: &Reply) {
        match &reply.result {
            Ok(Answer::Exception(code @ (10 | 11))) => {
                self.note_silence(unit, &format_args!("exception {code}"));
            }
            Ok(_) => self.note_answer(unit, reply.round_trip),
            Err(failure) if failure.is_unasked() => {}
            Err(failure) if failure.is_connect() => self.note_unreachable(failure),
            Err(failure) => self.note_silence(unit, failure),
        }
    }

    fn note_answer(&self, unit: u8, took: Duration) {
        if self.shared.cap.is_none() && !self.shared.troubled.load(Ordering::Acquire) {
            return;
        }
        let failures = self.with_state(|state| {
            let found = state.unit(unit);
            // A sixteenth less with every answer: a single slow one is remembered for a while.
            let remembered = found.longest.unwrap_or_default() * 15 / 16;
            found.longest = Some(took.max(remembered));
            let failures = found.backoff.answered();
            let failures = state.link.answered().saturating_add(failures);
            let others = state.units.iter();
            let mut others = others.filter(|(_, unit)| unit.backoff.failures() > 0);
            let troubled = others.next().is_some();
            self.shared.troubled.store(troubled, Ordering::Release);
            failures
        });
        if failures > 0 {
            let name = self.name();
            info!(
                link.name = name,
                unit.id = unit,
                "Unit {unit} of {name} answers again"
            );
        }
    }

    /// There is a connection, but this unit does not answer on it: its neighbours are not held back.
    fn note_silence(&self, unit: u8, why: &dyn fmt::Display) {
        let (pause, failures) = self.with_state(|state| {
            self.shared.troubled.store(true, Ordering::Release);
            state.link.answered();
            let backoff = &mut state.unit(unit).backoff;
            (backoff.failed(Instant::now()), backoff.failures())
        });
        let name = self.name();
        let text = format!("Unit {unit} of {name}: {why}; asked again in {pause:?}");
        if failures == 1 {
            warn!(link.name = name, unit.id = unit, "{text}, then less often");
        } else {
            debug!(link.name = name, unit.id = unit, "{text}");
        }
    }

    fn note_unreachable(&self, failure: &Failure) {
        let (pause, failures) = self.with_state(|state| {
            self.shared.troubled.store(true, Ordering::Release);
            (state.link.failed(Instant::now()), state.link.failures())
        });
        let cause = std::error::Error::source(failure).map(|cause| format!(": {cause}"));
        let (name, cause) = (self.name(), cause.unwrap_or_default());
        let text = format!("No connection to {name}: {failure}{cause}; tried again in {pause:?}");
        if failures == 1 {
            warn!(link.name = name, "{text}, then less often");
        } else {
            debug!(link.name = name, "{text}");
        }
    }

    fn with_state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        // A std mutex: it is never held across an await, and the state stays consistent whatever panics.
        change(
            &mut self
                .shared
                .state
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}
