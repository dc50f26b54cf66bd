//! One device that clients may read, and how a client's question is answered.
//!
//! First from what the line said a short while ago; only then from the device, in a pause between
//! the gateway's own polls. What a client's question does to the device or the line never counts
//! against the device: the gateway's own back-off knows nothing of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::request::{BUSY, NO_PATH, SILENT};
use crate::modbus::Link;
use crate::modbus::backoff::{Backoff, Permit};
use crate::modbus::frame::{Answer, Request};
use crate::modbus::lane::Lane;
use crate::modbus::listen::heard::Heard;
use crate::modbus::recent::Recent;
use crate::plan::{Limits, Span};

/// How long a client waits for a pause of the line before it is told to ask again.
const PATIENCE: Duration = Duration::from_secs(1);

/// A device behind the proxy.
#[derive(Debug)]
pub struct Offer {
    /// The device's unit id on its line.
    pub unit: u8,
    /// What requests to it must respect, whoever asks.
    pub limits: Limits,
    /// Where its answers come from.
    pub source: Source,
}

/// Where answers come from.
#[derive(Debug)]
pub enum Source {
    /// A line the gateway polls.
    Polled(Polled),
    /// A line it only hears: there is nothing to ask.
    Heard(Arc<Heard>),
}

/// A device on a line the gateway polls.
#[derive(Debug)]
pub struct Polled {
    /// The line.
    pub link: Link,
    /// The pauses between the gateway's polls.
    pub lane: Arc<Lane>,
    /// What the line said a short while ago.
    pub recent: Arc<Recent>,
    /// How long a client's question may take, and how long the line may be busy with it.
    pub room: Option<Room>,
    /// Questions of clients that the device did not answer.
    pub silence: Mutex<Backoff>,
}

/// The time a client's question may take on a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// How long the device may take to answer.
    pub timeout: Duration,
    /// How long the line may be busy with it at worst, with everything that follows a silence.
    pub need: Duration,
}

/// An answer for a client and what it cost.
#[derive(Debug, PartialEq, Eq)]
pub struct Served {
    /// The answer.
    pub answer: Answer,
    /// Whether the line was asked for it.
    pub is_from_line: bool,
}

impl Served {
    const fn unasked(answer: Answer) -> Self {
        Self {
            answer,
            is_from_line: false,
        }
    }
}

impl Offer {
    /// Answers a client's question, from memory if that is not older than `max_age`.
    pub async fn read(&self, span: Span, max_age: Duration) -> Served {
        let request = Request {
            unit: self.unit,
            span,
        };
        match &self.source {
            Source::Heard(heard) => {
                let now = Instant::now();
                let since = now.checked_sub(max_age).unwrap_or(now);
                let words = heard.words(self.unit, span, since);
                Served::unasked(words.map_or(Answer::Exception(SILENT), Answer::Words))
            }
            Source::Polled(polled) => match self.limits.objection(span) {
                Some(code) => Served::unasked(Answer::Exception(code)),
                None => polled.read(request, max_age).await,
            },
        }
    }
}

impl Polled {
    async fn read(&self, request: Request, max_age: Duration) -> Served {
        let now = Instant::now();
        if let Some(answer) = self.recent.find(request, max_age, now) {
            return Served::unasked(answer);
        }
        if !self.link.is_answering(request.unit) {
            return Served::unasked(Answer::Exception(SILENT));
        }
        let Some(room) = self.room else {
            return Served::unasked(Answer::Exception(NO_PATH));
        };
        let Some(_window) = self.lane.window(room.need, now + PATIENCE).await else {
            return Served::unasked(Answer::Exception(BUSY));
        };
        // While this client waited, another one or the gateway may have asked the same.
        let now = Instant::now();
        if let Some(answer) = self.recent.find(request, max_age, now) {
            return Served::unasked(answer);
        }
        if self.with_silence(|silence| silence.permit(now)) == Permit::Wait {
            return Served::unasked(Answer::Exception(SILENT));
        }
        let until = now + room.timeout;
        let reply = self.link.ask_as_guest(request, room.timeout, until).await;
        let answer = match reply.result {
            Ok(answer) => {
                self.with_silence(Backoff::answered);
                self.recent.keep(request, &answer, Instant::now());
                answer
            }
            Err(failure) => {
                self.with_silence(|silence| silence.failed(Instant::now()));
                let code = if failure.is_connect() {
                    NO_PATH
                } else {
                    SILENT
                };
                Answer::Exception(code)
            }
        };
        Served {
            answer,
            is_from_line: true,
        }
    }

    fn with_silence<T>(&self, change: impl FnOnce(&mut Backoff) -> T) -> T {
        // Never held across an await; every change is whole.
        change(&mut self.silence.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
