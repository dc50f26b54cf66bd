//! One line, from the question to its answer: it answers or it is cleaned before the next question.
//!
//! **Modbus TCP and TLS.** Every failure closes the connection, so a late answer has nothing to
//! arrive on. Transaction numbers go on across reconnects and start anywhere, because cheap serial
//! converters deliver what was asked on the old connection on the new one.
//!
//! **RTU**, on a serial port or through TCP. A frame does not say which question it answers. So
//! before a question leaves, the line must be known to be quiet:
//!
//! - The question makes the line *dirty* before its first byte is sent; only an answer right in
//!   every field cleans it. Whatever happens in between, cancelling included, leaves it dirty.
//! - A dirty line is closed; opened again when the device asked has had its whole time to answer;
//!   and what then comes is discarded until it was silent for max(3.5 characters, 50 ms). A line
//!   opened for the first time is listened to as well.
//! - The unit that failed is not asked again before twice its configured timeout, counted from the
//!   question, is over: only an answer of the same unit could be taken for another one of it.
//! - A gateway that starts does not know what was asked before it: the line begins dirty, for twice
//!   the longest configured timeout on it ([`super::link::LinkOptions::rest`]).
//! - Nothing may be waiting when a question is sent. What is, is discarded until the line is silent.
//!
//! What remains: an answer of the right unit, function and length to an earlier question about other
//! addresses cannot be told from the present one by its bytes. The rules above exclude it under one
//! assumption: **a device answers a question once, and within twice its configured `timeout_ms` or
//! never.** A device or converter that repeats an answer after the pause, or is slower than that
//! while a second stream asks it, breaks the assumption; `tests/link_never_lies.rs` shows the place.

use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::claim::Claim;
use super::failure::Failure;
use super::frame::{Answer, Misbehaviour, Request};
use super::wire::{Place, Wire};
use super::{mbap, rtu};
use crate::config::{Endpoint, LineConfig};

/// How long one question may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// When nobody needs the answer any more.
    pub until: Instant,
    /// The present.
    pub now: Instant,
    /// How long we wait: on TCP with connecting, on RTU from the question, without the bytes' time
    /// on the wire.
    pub wait: Duration,
    /// How long the device may take to answer, from the question and without the bytes' time on the
    /// wire. At least `wait`; an RTU line rests for the difference.
    pub device: Duration,
    /// The longest the device is ever given: its configured timeout. At least `device`.
    pub longest: Duration,
    /// Whether to wait for a unit that may still answer an earlier question, or to leave it out.
    pub wait_for_unit: bool,
}

/// Many converters take one connection only and close every other at once.
const TAKEN: &str =
    "closed before anything was asked; another program may be connected to the converter";

/// More than the longest frame (260 bytes on TCP, 256 on RTU), so that excess bytes show in the
/// same read.
const MOST_BYTES: usize = 300;

/// A line that is opened when it is needed.
#[derive(Debug)]
pub struct Connection {
    place: Place,
    /// Kept while the line is closed and rests: nobody else may ask on it in between.
    claim: Claim,
    framing: Framing,
    connect_delay: Duration,
    pause: Duration,
    wire: Option<Wire>,
    /// When the device may next be asked, if not at once: after connecting, and after an answer.
    usable_from: Option<Instant>,
    /// Where an answer is gathered.
    buffer: [u8; MOST_BYTES],
    /// Connections made so far; 0 for ever on a serial port.
    session: u64,
    is_port: bool,
}

#[derive(Debug)]
enum Framing {
    Mbap {
        transaction: u16,
        /// Whether the open connection has already answered something.
        proven: bool,
    },
    Rtu(Rtu),
}

#[derive(Debug)]
struct Rtu {
    silence: Duration,
    character: Duration,
    /// `Some` from before a question is sent until its answer was found right: until then an
    /// answer to it may come.
    dirty_until: Option<Instant>,
    /// Whether the line was heard to be silent since it was opened and since anything unasked came.
    quiet: bool,
    /// Units that may still answer an earlier question.
    held: Vec<(u8, Instant)>,
}

/// An answer and how long it took, from the question's first byte to its own last one.
#[derive(Debug)]
pub struct Answered {
    /// What was answered.
    pub answer: Answer,
    /// How long it took.
    pub took: Duration,
    /// When its last byte was here.
    pub ended: Instant,
    /// The connection it came on: who answers on another one may be another device. A serial port
    /// has one for ever: it is opened again after every failure, and a unit that was taken off the
    /// wire has failed itself.
    pub session: u64,
}

impl Connection {
    /// Prepares a line; `first_transaction` should be random. On RTU nothing is asked before `rest` is
    /// over: a question that was asked before this line was made may still be answered.
    pub(super) fn new(
        line: &LineConfig,
        place: Place,
        first_transaction: u16,
        rest: Duration,
    ) -> Self {
        let framing = if line.endpoint.is_rtu() {
            Framing::Rtu(Rtu {
                silence: line.silence(),
                character: line.byte_time().unwrap_or_default(),
                dirty_until: (!rest.is_zero()).then(|| Instant::now() + rest),
                quiet: false,
                held: Vec::new(),
            })
        } else {
            Framing::Mbap {
                transaction: first_transaction,
                proven: false,
            }
        };
        let pause = line.pause.max(line.gap());
        Self {
            place,
            claim: Claim::default(),
            framing,
            connect_delay: line.connect_delay.max(pause),
            pause,
            wire: None,
            usable_from: None,
            buffer: [0; MOST_BYTES],
            session: 0,
            is_port: matches!(line.endpoint, Endpoint::Serial(_)),
        }
    }

    /// Asks once and returns the answer by `patience.until` at the latest.
    ///
    /// On TCP a kept connection that turns out stale is replaced and the question put once more: a
    /// device that closes idle connections costs nothing. On RTU nothing is ever asked twice.
    ///
    /// # Errors
    /// [`Failure`]; the line is closed afterwards unless nothing was sent.
    pub async fn ask(&mut self, request: Request, patience: Patience) -> Result<Answered, Failure> {
        let proven = match self.framing {
            Framing::Rtu(_) => return self.ask_rtu(request, patience).await,
            Framing::Mbap { proven, .. } => proven,
        };
        let until = patience.until.min(patience.now + patience.wait);
        match self.ask_mbap(request, patience.now, until).await {
            Err(failure) if proven && failure.is_stale() && Instant::now() < until => {
                self.ask_mbap(request, Instant::now(), until).await
            }
            other => other,
        }
    }

    async fn ask_mbap(
        &mut self,
        request: Request,
        now: Instant,
        until: Instant,
    ) -> Result<Answered, Failure> {
        let mut asked_at = now;
        // Neither a late or double answer waits on a kept connection, nor the end of the stream.
        let mut wire = match self.kept() {
            Some(wire) => wire,
            None => {
                let opened = self.open(until).await?;
                asked_at = Instant::now();
                opened
            }
        };
        if self.usable_from.is_some() {
            if !self.pause(until).await {
                self.wire = Some(wire);
                return Err(Failure::NotAsked);
            }
            asked_at = Instant::now();
        }
        let Framing::Mbap {
            transaction,
            proven,
        } = &mut self.framing
        else {
            return Err(Failure::NotAsked);
        };
        *transaction = transaction.wrapping_add(1);
        // The wire is dropped on every path but the last, cancelling included: that closes it.
        *proven = false;
        wire.send(&mbap::question(request, *transaction), until)
            .await?;
        let mut filled = 0;
        let answer = loop {
            // Never an empty buffer: a complete answer is shorter than it.
            let room = self.buffer.get_mut(filled..).unwrap_or_default();
            filled += wire.receive(room, until).await?;
            let received = self.buffer.get(..filled).unwrap_or_default();
            if let Some(pdu) = mbap::judge(request, *transaction, received)? {
                break request.read(pdu)?;
            }
        };
        *proven = true;
        Ok(self.answered(wire, answer, asked_at))
    }

    fn answered(&mut self, wire: Wire, answer: Answer, asked_at: Instant) -> Answered {
        let ended = Instant::now();
        self.usable_from = (!self.pause.is_zero()).then(|| ended + self.pause);
        self.wire = Some(wire);
        Answered {
            answer,
            took: ended - asked_at,
            ended,
            session: self.session,
        }
    }

    /// The kept connection, if nothing waits on it.
    fn kept(&mut self) -> Option<Wire> {
        let mut wire = self.wire.take()?;
        matches!(wire.waiting(), Ok(0)).then_some(wire)
    }

    async fn ask_rtu(&mut self, request: Request, patience: Patience) -> Result<Answered, Failure> {
        self.wait_for_unit(request.unit, patience).await?;
        let mut wire = self.quiet_wire(patience.until).await?;
        let Framing::Rtu(rtu) = &mut self.framing else {
            return Err(Failure::NotAsked);
        };
        let question = rtu::question(request);
        let bytes = question.len() + rtu::answer_bytes(request);
        let on_wire = rtu.character * u32::try_from(bytes).unwrap_or(u32::MAX);
        let asked_at = Instant::now();
        let answered_by = asked_at + patience.device + on_wire;
        let until = patience.until.min(asked_at + patience.wait + on_wire);
        // From here on an answer may come, whatever becomes of us.
        rtu.dirty_until = Some(answered_by);
        rtu.hold(request.unit, asked_at + patience.longest * 2 + on_wire);
        wire.send(&question, until).await?;
        let mut filled = 0;
        let (answer, excess) = loop {
            let room = self.buffer.get_mut(filled..).unwrap_or_default();
            filled += match wire.receive(room, until).await {
                Err(Failure::Timeout) if filled > 0 => {
                    return Err(Failure::Misbehaved(Misbehaviour::Length {
                        expected: rtu::answer_bytes(request),
                        found: filled,
                    }));
                }
                other => other?,
            };
            let received = self.buffer.get(..filled).unwrap_or_default();
            if let Some(complete) = rtu::judge(request, received)? {
                break (request.read(complete.pdu)?, complete.excess);
            }
        };
        rtu.dirty_until = None;
        rtu.held.retain(|(unit, _)| *unit != request.unit);
        // Bytes behind a right answer (many RS-485 drivers make one when they switch off) do not
        // speak against it, but the line must be silent before the next question.
        rtu.quiet = excess == 0;
        Ok(self.answered(wire, answer, asked_at))
    }

    /// A unit that has not answered yet may do so still.
    async fn wait_for_unit(&mut self, unit: u8, patience: Patience) -> Result<(), Failure> {
        let Framing::Rtu(rtu) = &mut self.framing else {
            return Ok(());
        };
        let now = Instant::now();
        rtu.held.retain(|(_, until)| *until > now);
        let held = rtu.held.iter().find(|(held, _)| *held == unit);
        let Some(&(_, until)) = held else {
            return Ok(());
        };
        if !patience.wait_for_unit || until >= patience.until {
            return Err(Failure::BackedOff);
        }
        sleep_until(until).await;
        Ok(())
    }

    /// The line, open, rested, and known to be silent.
    async fn quiet_wire(&mut self, until: Instant) -> Result<Wire, Failure> {
        let mut wire = self.wire.take();
        if let Framing::Rtu(rtu) = &mut self.framing
            && let Some(dirty_until) = rtu.dirty_until
        {
            // The device asked may still answer; on the closed line nobody hears it.
            drop(wire.take());
            if dirty_until >= until {
                return Err(Failure::Draining);
            }
            sleep_until(dirty_until).await;
            (rtu.dirty_until, rtu.quiet) = (None, false);
        }
        loop {
            let mut open = match wire.take() {
                Some(wire) => wire,
                None => {
                    let opened = self.open(until).await?;
                    self.mark(false);
                    opened
                }
            };
            if !self.listen(&mut open, until).await? || !self.pause(until).await {
                self.wire = Some(open);
                return Err(Failure::Draining);
            }
            // Lets the runtime notice what has come; nothing may be waiting.
            tokio::task::yield_now().await;
            match open.waiting() {
                Ok(0) => return Ok(open),
                Ok(_) => {
                    self.mark(false);
                    wire = Some(open);
                }
                // The other side closed an idle connection: nothing was asked on it.
                Err(_closed) => {}
            }
            if Instant::now() >= until {
                return Err(Failure::NeverSilent);
            }
        }
    }

    /// Discards what comes until nothing has come for the silence that is asked for. False if the
    /// time was too short for it.
    async fn listen(&mut self, wire: &mut Wire, until: Instant) -> Result<bool, Failure> {
        let Framing::Rtu(rtu) = &mut self.framing else {
            return Ok(true);
        };
        let mut scratch = [0; MOST_BYTES];
        let mut heard = false;
        while !rtu.quiet {
            let silent_at = Instant::now() + rtu.silence;
            match wire.receive(&mut scratch, silent_at.min(until)).await {
                Err(Failure::Timeout) if silent_at <= until => rtu.quiet = true,
                Err(Failure::Timeout) if heard => return Err(Failure::NeverSilent),
                Err(Failure::Timeout) => return Ok(false),
                // Nothing was asked: this is not about a unit.
                Err(Failure::Broken(error)) => return Err(Failure::Connect(error)),
                Err(_closed) => return Err(Failure::Connect(io::Error::other(TAKEN))),
                Ok(_discarded) => heard = true,
            }
        }
        Ok(true)
    }

    fn mark(&mut self, quiet: bool) {
        if let Framing::Rtu(rtu) = &mut self.framing {
            rtu.quiet = quiet;
        }
    }

    async fn open(&mut self, until: Instant) -> Result<Wire, Failure> {
        if let Framing::Mbap { proven, .. } = &mut self.framing {
            *proven = false;
        }
        let wire = timeout_at(until, self.place.open(&mut self.claim))
            .await
            .map_err(|_elapsed| Failure::ConnectTimeout)??;
        let delay = self.connect_delay;
        self.usable_from = (!delay.is_zero()).then(|| Instant::now() + delay);
        self.session += u64::from(!self.is_port);
        Ok(wire)
    }

    /// Waits until the device may be asked. False if that is after `until`: the line is kept for
    /// the next tick then.
    #[expect(
        clippy::needless_pass_by_ref_mut,
        reason = "what is shared across an await must be Sync, and a stream need not be"
    )]
    async fn pause(&mut self, until: Instant) -> bool {
        if let Some(usable_from) = self.usable_from.filter(|at| *at > Instant::now()) {
            if usable_from >= until {
                return false;
            }
            sleep_until(usable_from).await;
        }
        true
    }
}

impl Rtu {
    fn hold(&mut self, unit: u8, until: Instant) {
        self.held.retain(|(held, _)| *held != unit);
        self.held.push((unit, until));
    }
}
