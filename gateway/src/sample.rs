//! What the field side hands to the recorder: samples of polled streams and messages.
//!
//! A *sample* is one point's raw column value with what is known about its quality. Nothing here is
//! decoded or corrected: decoding belongs to the sealed configuration (`evidence::value`).
//!
//! The two traits are the seam between the field and the recorder. The recorder drives polled
//! sources tick by tick and is driven by message sources; a test or a simulation implements them
//! without a network.

use std::fmt;

use evidence::quality::Quality;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

/// One point's sample.
///
/// Invariant: `value` is [`SampleValue::Absent`] exactly when some quality has no value
/// (`!quality.has_value()`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointSample {
    /// Position in `MeasurementConfig::points`.
    pub point: u16,
    /// The column value as it will be sealed.
    pub value: SampleValue,
    /// Quality records with their detail byte (Modbus exception code or 0), ascending by code.
    /// Empty means good.
    pub qualities: Vec<(Quality, u8)>,
}

/// The column value of a sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SampleValue {
    /// Raw words as one integer (polled), or the mantissa on the point's grid (message).
    Int(i64),
    /// A message's number that does not fit the grid, or a text point: its bytes as received.
    Text(Vec<u8>),
    /// No value; the qualities say why.
    Absent,
}

/// One tick of one polled stream: exactly one sample per point, in the order of the points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TickSamples {
    /// The stream's id.
    pub stream: u16,
    /// The samples.
    pub samples: Vec<PointSample>,
}

/// What one message brought: one sample for every point that reads from its topic.
///
/// Also used for the marker that a source disconnected (one `DISCONNECTED` sample per point, no
/// acknowledgement).
#[derive(Debug)]
pub struct Message {
    /// The stream's id.
    pub stream: u16,
    /// When the message reached this process; the recorder turns it into tick and offset.
    pub received: Instant,
    /// The samples, in the order of the points.
    pub samples: Vec<PointSample>,
    /// To be called once the samples are on durable storage; `None` when nothing waits for it.
    pub ack: Option<Ack>,
}

/// The duty to tell the sender that its message is durable.
///
/// Dropped without [`Ack::durable`], the message stays unacknowledged and the broker delivers it
/// again after the next connect: after a crash a message comes twice rather than never.
pub struct Ack(Box<dyn FnOnce() + Send>);

impl Ack {
    /// Wraps what tells the sender.
    #[must_use]
    pub fn new(confirm: impl FnOnce() + Send + 'static) -> Self {
        Self(Box::new(confirm))
    }

    /// Tells the sender that the message is durable. Never blocks.
    pub fn durable(self) {
        (self.0)();
    }
}

impl fmt::Debug for Ack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ack")
    }
}

/// A stream that is read at every tick.
pub trait PolledSource: Send {
    /// The stream's id.
    fn stream(&self) -> u16;

    /// Reads every point once for tick number `tick` and returns at `deadline` (the start of the next tick) at
    /// the latest. A point without an answer by then has quality `timeout`: an answer belongs to
    /// tick n only if it arrived in [n, n+1).
    ///
    /// Ticks grow from call to call; skipped ones are allowed.
    fn poll(&mut self, tick: u64, deadline: Instant) -> BoxFuture<'_, TickSamples>;

    /// The samples of a tick at which the recorder could not ask, every point with `quality`
    /// (normally `NOT_POLLED`).
    fn missed(&self, quality: Quality) -> TickSamples;
}

/// A stream whose samples arrive on their own.
pub trait MessageSource: Send {
    /// The stream's id.
    fn stream(&self) -> u16;

    /// The next message. Cancel safe. `None` only after the source was closed.
    fn next(&mut self) -> BoxFuture<'_, Option<Message>>;

    /// Stops receiving, after the acknowledgements given so far have left. Takes a few seconds at most.
    fn close(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

impl PointSample {
    /// A sample read without objection.
    #[must_use]
    pub fn good(point: u16, raw: i64) -> Self {
        Self {
            point,
            value: SampleValue::Int(raw),
            qualities: Vec::new(),
        }
    }

    /// A sample without a value.
    ///
    /// `quality` must be one without value (codes 1–31); `aux` is the Modbus exception code or 0.
    #[must_use]
    pub fn absent(point: u16, quality: Quality, aux: u8) -> Self {
        debug_assert!(
            !quality.has_value(),
            "{quality:?} is a flag, not an absence"
        );
        Self {
            point,
            value: SampleValue::Absent,
            qualities: vec![(quality, aux)],
        }
    }

    /// Adds a flag (codes 32–63), keeping the records ascending and unique by code.
    pub fn flag(&mut self, quality: Quality) {
        debug_assert!(
            quality.has_value() && !quality.is_good(),
            "{quality:?} is not a flag"
        );
        if let Err(place) = self
            .qualities
            .binary_search_by_key(&quality, |&(present, _)| present)
        {
            self.qualities.insert(place, (quality, 0));
        }
    }

    /// Whether nothing speaks against the sample.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.qualities.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::{PointSample, SampleValue};
    use evidence::quality::Quality;

    #[test]
    fn flags_stay_ascending_and_are_kept_once() {
        let mut sample = PointSample::good(3, 7);
        assert!(sample.is_good());
        sample.flag(Quality::STEP);
        sample.flag(Quality::SENTINEL);
        sample.flag(Quality::STEP);
        assert_eq!(
            sample.qualities,
            vec![(Quality::SENTINEL, 0), (Quality::STEP, 0)]
        );
        assert_eq!(sample.value, SampleValue::Int(7));
    }
}
