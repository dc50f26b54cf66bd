//! Single questions on a line, for the commands of an engineer on site.
//!
//! The same link as at run time asks them, so an answer is judged as strictly, and only reads can be
//! asked. There is no back-off: whoever stands in front of the meter wants to be told now.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::LineConfig;
use crate::modbus::Failure;
use crate::modbus::frame::{Answer, Request, exception_text};
use crate::modbus::{Link, LinkOptions};
use crate::plan::Span;

/// Time for opening a port or connection, besides the time for the answer.
const OPENING: Duration = Duration::from_secs(3);

/// An open line; it is closed when this is dropped.
#[derive(Debug)]
pub struct Inquiry {
    link: Link,
    timeout: Duration,
}

/// Why a question gave no words.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// The device is alive and refuses.
    #[error("{}", refusal(*.0))]
    Refused(u8),
    /// No answer, or none that could be accepted.
    #[error("{}{}", .0, cause(.0))]
    Failed(Failure),
}

fn refusal(code: u8) -> String {
    format!("exception {code} ({})", exception_text(code))
}

fn cause(failure: &Failure) -> String {
    std::error::Error::source(failure).map_or_else(String::new, |cause| format!(": {cause}"))
}

impl Unanswered {
    /// Whether this proves that the unit is there. A serial server says 10 and 11 of a unit that is not.
    #[must_use]
    pub const fn proves_life(&self) -> bool {
        match self {
            Self::Refused(code) => !matches!(code, 10 | 11),
            Self::Failed(_) => false,
        }
    }

    /// Whether nothing came at all.
    #[must_use]
    pub const fn is_silence(&self) -> bool {
        matches!(self, Self::Failed(Failure::Timeout))
    }

    /// Whether there is no line to ask on, so that asking on is of no use.
    #[must_use]
    pub const fn is_unreachable(&self) -> bool {
        match self {
            Self::Refused(_) => false,
            Self::Failed(failure) => failure.is_connect(),
        }
    }

    /// Whether the line is not to be had, whatever its settings: the serial port cannot be opened, or
    /// another process speaks on the line.
    #[must_use]
    pub const fn is_port(&self) -> bool {
        matches!(self, Self::Failed(Failure::Port(_) | Failure::Taken(_)))
    }
}

impl Inquiry {
    /// Prepares a line; it is opened by the first question. Must be called within a runtime.
    #[must_use]
    pub fn on(line: &LineConfig, timeout: Duration) -> Self {
        Self {
            link: Link::start(LinkOptions::of(line)),
            timeout,
        }
    }

    /// Reads once; how long it took comes with the words.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn read(&self, unit: u8, span: Span) -> Result<(Vec<u16>, Duration), Unanswered> {
        let request = Request { unit, span };
        let deadline = Instant::now() + self.timeout + OPENING;
        let reply = self.link.ask(request, self.timeout, deadline, false).await;
        match reply.result {
            Ok(Answer::Words(words)) => Ok((words, reply.round_trip)),
            Ok(Answer::Exception(code)) => Err(Unanswered::Refused(code)),
            Err(failure) => Err(Unanswered::Failed(failure)),
        }
    }
}
