//! What reading one value gave, and the words for it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use evidence::quality::Quality;

use super::failure::Failure;
use super::frame::exception_text;
use crate::config::modicon_text;
use crate::plan::Span;
use crate::sample::SampleValue;

/// What reading one value gave.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The column value or the bytes of a text; or why there is neither.
    pub result: Result<SampleValue, Absence>,
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

impl Outcome {
    pub(super) fn absent(quality: Quality, aux: u8, why: &str, round_trip: Duration) -> Self {
        Self {
            result: Err(Absence {
                quality,
                aux,
                why: why.into(),
            }),
            round_trip,
        }
    }

    /// The outcome of an exception. Only a value asked for alone can be said not to exist.
    pub(super) fn refused(code: u8, alone: bool, round_trip: Duration) -> Self {
        let quality = match code {
            2 if alone => Quality::ILLEGAL_ADDRESS,
            _ => Quality::EXCEPTION,
        };
        let why = format!("exception {code} ({})", exception_text(code));
        Self::absent(quality, code, &why, round_trip)
    }
}

impl Absence {
    pub(super) fn backed_off() -> Self {
        Self::from(&Failure::BackedOff)
    }
}

impl From<&Failure> for Absence {
    fn from(failure: &Failure) -> Self {
        let quality = match failure {
            Failure::Timeout => Quality::TIMEOUT,
            Failure::NotAsked | Failure::Draining | Failure::ListenOnly => Quality::NOT_POLLED,
            Failure::BackedOff => Quality::BACKED_OFF,
            _ => Quality::LINK_ERROR,
        };
        let why = match std::error::Error::source(failure) {
            Some(cause) => format!("{failure}: {cause}"),
            None => failure.to_string(),
        };
        Self {
            quality,
            aux: 0,
            why: why.into(),
        }
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
    let (name, first) = (span.table.name(), span.address);
    let last = u16::try_from(span.end().saturating_sub(1)).unwrap_or(u16::MAX);
    let first_text = modicon_text(span.table, first);
    if span.count == 1 {
        return format!("{name} {first} ({first_text})");
    }
    format!(
        "{name} {first}-{last} ({first_text}-{})",
        modicon_text(span.table, last)
    )
}
