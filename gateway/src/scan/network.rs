//! The units behind hosts and ports.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;

use super::{Extent, Life, Progress, Report, Watcher, found, life, quick_units};
use crate::config::{Endpoint, LineConfig};
use crate::inquiry::Inquiry;

/// What to search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts {
    /// Hosts with their ports.
    pub places: Vec<(String, u16)>,
    /// RTU frames through the connection instead of Modbus TCP.
    pub rtu_over_tcp: bool,
    /// How much is tried.
    pub extent: Extent,
    /// The unit ids, instead of those of the extent.
    pub units: Option<Vec<u8>>,
    /// How long connecting or an answer may take.
    pub timeout: Duration,
}

/// How many places are asked at the same time; each has a connection of its own.
const AT_ONCE: usize = 16;

impl Hosts {
    fn units(&self) -> Vec<u8> {
        match (&self.units, self.extent) {
            (Some(units), _) => units.clone(),
            // 255 and 0 are where a device of its own often answers, beside any other.
            (None, Extent::Quick) if self.rtu_over_tcp => quick_units().collect(),
            (None, Extent::Quick) => quick_units().chain([255, 0]).collect(),
            (None, Extent::Full) if self.rtu_over_tcp => (1..=247).collect(),
            (None, Extent::Full) => (1..=255).chain([0]).collect(),
        }
    }

    fn line(&self, (host, port): &(String, u16)) -> LineConfig {
        let (host, port) = (host.clone(), *port);
        LineConfig::new(if self.rtu_over_tcp {
            Endpoint::RtuOverTcp { host, port }
        } else {
            Endpoint::Tcp { host, port }
        })
    }
}

/// Searches hosts. What is found stands in `report` at every moment, should the search be given up.
pub async fn network(hosts: &Hosts, report: &mut Report, watcher: &Watcher<'_>) {
    let units = hosts.units();
    let of = units.len() * hosts.places.len();
    let taken = Mutex::new(Vec::new());
    {
        let shared = Mutex::new(&mut *report);
        let each = stream::iter(&hosts.places)
            .map(|place| one(hosts, place, &units, of, &shared, &taken, watcher));
        each.buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    }
    report.found.sort_by_key(|found| {
        let place = |place: &(String, u16)| hosts.line(place).endpoint.to_string() == found.line;
        (hosts.places.iter().position(place), found.unit_id)
    });
    // Whom another process asks just now was not asked here: the last notes say so.
    let taken = taken.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.complete = taken.is_empty();
    report.notes.extend(taken);
}

async fn one(
    hosts: &Hosts,
    place: &(String, u16),
    units: &[u8],
    of: usize,
    shared: &Mutex<&mut Report>,
    taken: &Mutex<Vec<String>>,
    watcher: &Watcher<'_>,
) {
    // A std mutex: it is never held across an await.
    let with = |change: &mut dyn FnMut(&mut Report)| {
        change(&mut shared.lock().unwrap_or_else(PoisonError::into_inner));
    };
    let line = hosts.line(place);
    let inquiry = Inquiry::on(&line, hosts.timeout);
    let (mut alive, mut garbled) = (0, None);
    for (place, &unit) in units.iter().enumerate() {
        with(&mut |report| {
            report.asked += 1;
            watcher(&Progress {
                done: report.asked - 1,
                of,
                found: report.found.len(),
                now: format!("{}, unit {unit}", line.endpoint),
            });
        });
        match life(&inquiry, unit, hosts.extent == Extent::Full).await {
            Life::Alive(proof, took) => {
                alive += 1;
                let found = found(&inquiry, &line, unit, proof, took).await;
                with(&mut |report| report.found.push(found.clone()));
            }
            Life::Silent => {}
            Life::Garbled(why) => garbled = Some(why),
            Life::Unreachable { why, port } => {
                let left = units.len() - place - 1;
                let note = format!("{}: {why}", line.endpoint);
                with(&mut |report| {
                    report.asked += left;
                    if !port {
                        report.notes.push(note.clone());
                    }
                });
                if port {
                    let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
                    taken.push(note);
                }
                return;
            }
        }
    }
    let note = match (alive, garbled) {
        (0, Some(why)) if place.1 == 802 => Some(format!(
            "open, but no plain Modbus ({why}): port 802 is Modbus/TCP Security, which needs \
             certificates; configure a [[line]] with protocol = \"tls\""
        )),
        (0, Some(why)) => Some(format!("open, but does not speak this protocol: {why}")),
        (0, None) => Some(String::from(
            "open, but no unit id answers; --full asks all of them, --rtu-over-tcp another protocol",
        )),
        (count, _) if count == units.len() && count > quick_units().count() => {
            with(&mut |report| keep_one(report, &line));
            Some(String::from(
                "answers as every unit id: a device of its own, for which the unit id does not matter; \
                 shown once",
            ))
        }
        _ => None,
    };
    if let Some(note) = note {
        with(&mut |report| report.notes.push(format!("{}: {note}", line.endpoint)));
    }
}

/// Of a device that answers as every unit id, keeps the units that gave a value, or the first.
fn keep_one(report: &mut Report, line: &LineConfig) {
    let place = line.endpoint.to_string();
    let here: Vec<_> = report
        .found
        .iter()
        .filter(|found| found.line == place)
        .collect();
    let value = here.iter().find(|found| found.proof.ends_with("answered"));
    let Some(kept) = value.or(here.first()).map(|found| found.unit_id) else {
        return;
    };
    report
        .found
        .retain(|found| found.line != place || found.unit_id == kept);
}
