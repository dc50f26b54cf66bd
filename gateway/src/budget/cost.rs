//! The cost model: how long one request occupies its line.
//!
//! | line | one request takes |
//! |---|---|
//! | serial (RTU) | (8 + answer) characters × bits per character ÷ baud, the device's time to answer, the pause |
//! | RTU over TCP | the same on the converter's bus, and one round trip to the converter |
//! | network | one round trip, and the pause if one is configured |
//!
//! An RTU answer is 5 bytes and 2 for each register, or 5 bytes and 1 for every 8 bits. The pause is
//! the line's `pause_ms`, but never less than the 3.5 characters that part two frames. What cannot be
//! computed is assumed and said to be: how long a device thinks, and how long a network takes
//! ([`ASSUMED_ANSWER_RTU`], [`ASSUMED_ROUND_TRIP`]), unless the line's `answer_ms` says what was measured;
//! and that a converter speaks 9600 8N1, unless the line's `baud` says what it is set to.
//! A retry costs more; there is none in a good tick.

use std::time::Duration;

use crate::config::{Characters, Endpoint, LineConfig};
use crate::plan::Span;

/// How long a meter on a serial line is assumed to take before it begins to answer. Makers state
/// 5 to 60 ms.
pub const ASSUMED_ANSWER_RTU: Duration = Duration::from_millis(20);

/// How long a device on a network is assumed to take from question to answer.
pub const ASSUMED_ROUND_TRIP: Duration = Duration::from_millis(10);

/// Bytes of an RTU question: unit, function, address, count, CRC.
const RTU_QUESTION: usize = 8;

/// Bytes of an RTU answer besides its values: unit, function, byte count, CRC.
const RTU_ANSWER: usize = 5;

/// What a request costs on one line.
#[derive(Debug, Clone, Copy)]
pub struct Cost<'l> {
    line: &'l LineConfig,
}

impl<'l> Cost<'l> {
    /// The costs on `line`.
    #[must_use]
    pub const fn on(line: &'l LineConfig) -> Self {
        Self { line }
    }

    /// What is spoken on the bus; `None` where there is none that we know of.
    #[must_use]
    pub fn characters(self) -> Option<Characters> {
        match &self.line.endpoint {
            Endpoint::Serial(port) => Some(port.characters()),
            Endpoint::RtuOverTcp { .. } => Some(self.line.converter.unwrap_or_default()),
            Endpoint::Tcp { .. } | Endpoint::Tls { .. } => None,
        }
    }

    fn byte_time(self) -> Duration {
        self.characters().map_or(Duration::ZERO, Characters::time)
    }

    /// How long a device takes here: thinking on a serial line, the round trip on a network, both
    /// behind a converter. What the line's `answer_ms` says, else an assumption.
    #[must_use]
    pub fn answer(self) -> Duration {
        self.line.answer.unwrap_or(match self.line.endpoint {
            Endpoint::Serial(_) => ASSUMED_ANSWER_RTU,
            Endpoint::RtuOverTcp { .. } => ASSUMED_ANSWER_RTU + ASSUMED_ROUND_TRIP,
            Endpoint::Tcp { .. } | Endpoint::Tls { .. } => ASSUMED_ROUND_TRIP,
        })
    }

    /// Silence after an answer before the next question.
    #[must_use]
    pub fn pause(self) -> Duration {
        self.line.pause.max(self.byte_time() * 7 / 2)
    }

    /// How long the line is occupied by one request, from the question to the end of the pause.
    #[must_use]
    pub fn of(self, request: Span) -> Duration {
        self.on_wire(request) + self.answer() + self.pause()
    }

    /// How long the bytes of a request and its answer take on the bus; on a network next to nothing.
    #[must_use]
    pub fn on_wire(self, request: Span) -> Duration {
        let count = usize::from(request.count);
        let values = if request.is_bits() {
            count.div_ceil(8)
        } else {
            count * 2
        };
        let bytes = u32::try_from(RTU_QUESTION + RTU_ANSWER + values).unwrap_or(u32::MAX);
        self.byte_time().saturating_mul(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use evidence::measurement::Table;

    use super::Cost;
    use crate::config::{Characters, Endpoint, LineConfig, Parity, SerialPort};
    use crate::plan::Span;

    fn span(table: Table, count: u16) -> Span {
        Span {
            table,
            address: 0,
            count,
        }
    }

    fn micros(line: &LineConfig, table: Table, count: u16) -> u128 {
        Cost::on(line).of(span(table, count)).as_micros()
    }

    #[test]
    fn a_request_takes_what_was_computed_by_hand() {
        // 10 registers at 9600 8N1: (8 + 5 + 20) = 33 characters of 10 bits = 34.375 ms on the wire,
        // 20 ms until the meter answers, 30 ms pause.
        let mut port = SerialPort::new("/dev/ttyUSB0");
        let line = LineConfig::new(Endpoint::Serial(port.clone()));
        assert_eq!(micros(&line, Table::Input, 10), 84_374);
        // 16 bits are 2 bytes: 15 characters = 15.625 ms; 17 bits are 3.
        assert_eq!(micros(&line, Table::Coil, 16), 65_624);
        assert_eq!(micros(&line, Table::Discrete, 17), 66_666);
        // 125 registers at 19200 8E1: 263 characters of 11 bits = 150.677 ms.
        (port.baud, port.parity) = (19_200, Parity::Even);
        let line = LineConfig::new(Endpoint::Serial(port.clone()));
        assert_eq!(micros(&line, Table::Holding, 125) / 1_000, 200);
        // Without a pause the 3.5 characters remain: at 1200 8E1, 32.083 ms.
        port.baud = 1_200;
        let line = LineConfig {
            pause: Duration::ZERO,
            ..LineConfig::new(Endpoint::Serial(port))
        };
        // 15 characters = 137.5 ms, + 20 + 32.083.
        assert_eq!(micros(&line, Table::Holding, 1) / 1_000, 189);
    }

    #[test]
    fn behind_a_converter_the_bytes_take_the_time_of_its_bus() {
        let (host, port) = ("10.0.0.1".to_owned(), 4_001);
        let mut line = LineConfig::new(Endpoint::RtuOverTcp { host, port });
        // As on a port of 9600 8N1, and 10 ms for the network: 34.375 + 20 + 10 + 30 ms.
        assert_eq!(micros(&line, Table::Input, 10), 94_374);
        // What the link waits for does not depend on what `plan` is told.
        assert_eq!(line.byte_time(), None);
        // 125 registers at 2400 8E1: 263 characters of 11 bits = 1205.416 ms.
        line.converter = Some(Characters {
            baud: 2_400,
            parity: Parity::Even,
            stop_bits: 1,
        });
        assert_eq!(line.byte_time(), None);
        assert_eq!(micros(&line, Table::Holding, 125) / 1_000, 1_265);
        line.answer = Some(Duration::from_millis(5));
        line.pause = Duration::ZERO;
        // 15 characters = 68.750 ms, 5 ms, 3.5 characters = 16.041 ms.
        assert_eq!(micros(&line, Table::Holding, 1) / 1_000, 89);
    }

    #[test]
    fn on_a_network_a_round_trip_is_assumed_whatever_its_length() {
        let mut line = LineConfig::tcp("10.0.0.1", 502);
        assert_eq!(micros(&line, Table::Holding, 1), 10_000);
        assert_eq!(micros(&line, Table::Holding, 125), 10_000);
        line.pause = Duration::from_millis(5);
        assert_eq!(micros(&line, Table::Holding, 125), 15_000);
        line.answer = Some(Duration::from_millis(2));
        assert_eq!(micros(&line, Table::Holding, 125), 7_000);
    }
}
