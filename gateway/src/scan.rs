//! `scan`: who answers on a serial line or at the hosts given.
//!
//! Only reads are asked, of one register. A device that refuses is as alive as one that answers;
//! what a serial server says of a unit behind it that is not there (exceptions 10 and 11) is no sign
//! of life. Nothing is guessed about who a device is: [`identify`] reads what it says of itself.

use std::time::Duration;

use evidence::measurement::Table;
use serde::Serialize;

use crate::config::{Endpoint, LineConfig, Parity};
use crate::inquiry::Inquiry;
use crate::plan::Span;
use crate::sunspec::Map;

pub mod identify;
mod network;
mod serial;

pub use identify::Likeness;
pub use network::{Hosts, network};
pub use serial::{Port, serial};

/// How much is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// The settings and unit ids that most devices have.
    Quick,
    /// All of them.
    Full,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// Whoever answered, in the order of asking.
    pub found: Vec<Found>,
    /// What else is worth knowing.
    pub notes: Vec<String>,
    /// How many questions were asked.
    pub asked: usize,
    /// Whether everything was asked that was to be.
    pub complete: bool,
}

/// A unit that is alive.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Found {
    /// The line as a message names it: `/dev/ttyUSB0, RTU 9600 8N1`.
    pub line: String,
    /// The line and the unit as the other commands take them: `--port … --baud 9600 … --unit 1`.
    pub options: String,
    /// Its unit id.
    pub unit_id: u8,
    /// How it proved to be alive.
    pub proof: String,
    /// How long it took to answer, in milliseconds.
    pub answered_in_ms: u64,
    /// What it says of itself by SunSpec.
    pub sunspec: Option<Map>,
    /// The templates whose registers it has, the likeliest first.
    pub like: Vec<Likeness>,
}

/// How far a scan has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Questions asked.
    pub done: usize,
    /// Questions there are, if nobody answers before.
    pub of: usize,
    /// Units found.
    pub found: usize,
    /// What is being asked now.
    pub now: String,
}

/// Told after every question.
pub type Watcher<'w> = dyn Fn(&Progress) + Sync + 'w;

/// What one question showed of a unit.
enum Life {
    /// It is there; how it showed, and how long that took.
    Alive(String, Duration),
    /// Nothing came.
    Silent,
    /// Something came that was no answer to the question.
    Garbled(String),
    /// There is no line to ask on; `port`: it is not to be had, whatever its settings.
    Unreachable { why: String, port: bool },
}

/// The register that is asked for: nearly every device has one at address 0 of one of the tables,
/// and those without refuse.
const fn first(table: Table) -> Span {
    Span {
        table,
        address: 0,
        count: 1,
    }
}

/// Asks one unit whether it is there. `thorough` asks for an input register as well, as a few devices
/// are silent about functions they do not have instead of refusing.
async fn life(line: &Inquiry, unit: u8, thorough: bool) -> Life {
    let started = tokio::time::Instant::now();
    let mut last = Life::Silent;
    for table in [Table::Holding, Table::Input] {
        match line.read(unit, first(table)).await {
            Ok((_, took)) => {
                return Life::Alive(format!("{} 0 answered", table.name()), took);
            }
            Err(why) if why.proves_life() => {
                return Life::Alive(format!("{} 0: {why}", table.name()), started.elapsed());
            }
            Err(why) if why.is_unreachable() => {
                return Life::Unreachable {
                    port: why.is_port(),
                    why: why.to_string(),
                };
            }
            Err(why) if why.is_silence() => {}
            Err(why) => last = Life::Garbled(why.to_string()),
        }
        if !thorough {
            break;
        }
    }
    last
}

/// What was found of a unit that is alive, with what it says of itself.
async fn found(
    line: &Inquiry,
    place: &LineConfig,
    unit: u8,
    proof: String,
    took: Duration,
) -> Found {
    Found {
        line: place.endpoint.to_string(),
        options: format!("{} --unit {unit}", options(&place.endpoint)),
        unit_id: unit,
        proof,
        answered_in_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        sunspec: identify::sunspec(line, unit).await,
        like: identify::like(line, unit).await,
    }
}

/// The unit ids to ask, for [`Extent::Quick`]: where devices leave the factory.
fn quick_units() -> impl Iterator<Item = u8> {
    (1..=10).chain([247])
}

/// An endpoint in the options of `probe` and `config template`; those that stand for the usual are left
/// out.
fn options(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Tcp { host, port } | Endpoint::Tls { host, port, .. } => {
            format!("--host {host}:{port}")
        }
        Endpoint::RtuOverTcp { host, port } => format!("--host {host}:{port} --rtu-over-tcp"),
        Endpoint::Serial(port) => {
            let mut text = format!("--port {} --baud {}", port.path.display(), port.baud);
            match port.parity {
                Parity::None => {}
                Parity::Even => text.push_str(" --parity even"),
                Parity::Odd => text.push_str(" --parity odd"),
            }
            if port.stop_bits != 1 {
                text.push_str(&format!(" --stop-bits {}", port.stop_bits));
            }
            text
        }
    }
}
