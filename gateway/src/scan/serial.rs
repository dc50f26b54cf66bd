//! The settings and units of a serial line.
//!
//! All units of a bus share its settings, so the search ends with the settings at which somebody
//! answered.

use std::path::PathBuf;
use std::time::Duration;

use super::{Extent, Life, Progress, Report, Watcher, found, life, quick_units};
use crate::config::{Endpoint, LineConfig, Parity, SerialPort};
use crate::inquiry::Inquiry;

/// What to search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The port.
    pub path: PathBuf,
    /// How much is tried.
    pub extent: Extent,
    /// The unit ids, instead of those of the extent.
    pub units: Option<Vec<u8>>,
    /// How long a device may think.
    pub timeout: Duration,
}

/// Speed, parity and stop bits.
type Settings = (u32, Parity, u8);

/// What meters and converters leave the factory with, the most usual first.
const USUAL: [Settings; 11] = [
    (9_600, Parity::None, 1),
    (9_600, Parity::Even, 1),
    (19_200, Parity::Even, 1),
    (19_200, Parity::None, 1),
    (38_400, Parity::None, 1),
    (38_400, Parity::Even, 1),
    (115_200, Parity::None, 1),
    (115_200, Parity::Even, 1),
    (4_800, Parity::None, 1),
    (2_400, Parity::None, 1),
    (2_400, Parity::Even, 1),
];

/// Every setting that is in use.
fn all_settings() -> Vec<Settings> {
    let bauds = [9_600, 19_200, 38_400, 115_200, 57_600, 4_800, 2_400, 1_200];
    let characters = [
        (Parity::None, 1),
        (Parity::Even, 1),
        (Parity::Odd, 1),
        (Parity::None, 2),
    ];
    let every = bauds
        .into_iter()
        .flat_map(|baud| characters.map(|(parity, stop)| (baud, parity, stop)))
        .filter(|settings| !USUAL.contains(settings));
    USUAL.into_iter().chain(every).collect()
}

/// Settings with the units to ask at each, in order.
fn rounds(port: &Port) -> Vec<(Settings, Vec<u8>)> {
    let settings = match port.extent {
        Extent::Quick => USUAL.to_vec(),
        Extent::Full => all_settings(),
    };
    let each = |units: Vec<u8>| {
        let settings = settings.clone();
        settings.into_iter().map(move |one| (one, units.clone()))
    };
    match (&port.units, port.extent) {
        (Some(units), _) => each(units.clone()).collect(),
        (None, Extent::Quick) => each(quick_units().collect()).collect(),
        // The likely units at all settings first: a bus is found in minutes, not in an hour.
        (None, Extent::Full) => each(quick_units().collect())
            .chain(each(rest().collect()))
            .collect(),
    }
}

/// The units that a quick round leaves out.
fn rest() -> impl Iterator<Item = u8> {
    (1..=247).filter(|unit| quick_units().all(|quick| quick != *unit))
}

/// Searches a port. What is found stands in `report` at every moment, should the search be given up.
pub async fn serial(port: &Port, report: &mut Report, watcher: &Watcher<'_>) {
    let rounds = rounds(port);
    let of = rounds.iter().map(|(_, units)| units.len()).sum();
    let thorough = port.extent == Extent::Full;
    for (settings, mut units) in rounds {
        let line = line(port, settings);
        let mut heard = false;
        let before = report.found.len();
        let inquiry = Inquiry::on(&line, port.timeout);
        let mut asked = 0;
        while let Some(unit) = units.get(asked).copied() {
            watcher(&Progress {
                done: report.asked,
                of,
                found: report.found.len(),
                now: format!("{}, unit {unit}", line.endpoint),
            });
            report.asked += 1;
            asked += 1;
            // Twice the questions to all of them would take twice the hour.
            let likely = quick_units().any(|quick| quick == unit);
            match life(&inquiry, unit, thorough && likely).await {
                Life::Alive(proof, took) => {
                    let alive = found(&inquiry, &line, unit, proof, took).await;
                    report.found.push(alive);
                    // Somebody lives here: in a full search all of its neighbours are asked.
                    if thorough && port.units.is_none() {
                        let more = rest().filter(|other| !units.contains(other));
                        units.extend(more.collect::<Vec<_>>());
                    }
                }
                Life::Garbled(why) if !heard => {
                    heard = true;
                    report.notes.push(format!(
                        "at {} something answers unit {unit} that cannot be read ({why}): wrong \
                         settings, two devices with one unit id, or a disturbed line",
                        line.endpoint
                    ));
                }
                Life::Silent | Life::Garbled(_) => {}
                Life::Unreachable { why, port: true } => {
                    report.notes.push(format!("{}: {why}", port.path.display()));
                    return;
                }
                Life::Unreachable { why, port: false } => {
                    report.notes.push(format!("{}: {why}", line.endpoint));
                    report.asked += units.len() - asked;
                    break;
                }
            }
        }
        // The next settings open the port again.
        drop(inquiry);
        if report.found.len() > before {
            let (_, parity, stop_bits) = settings;
            if parity == Parity::None {
                report.notes.push(format!(
                    "the stop bits are those that were asked with, {stop_bits}: an answer does not show \
                     whether the device is set to 1 or 2, its menu does"
                ));
            }
            break;
        }
    }
    report.complete = true;
}

fn line(port: &Port, (baud, parity, stop_bits): Settings) -> LineConfig {
    LineConfig::new(Endpoint::Serial(SerialPort {
        baud,
        parity,
        stop_bits,
        ..SerialPort::new(&port.path)
    }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::{Extent, Port, rounds};

    fn port(extent: Extent) -> Port {
        Port {
            path: "/dev/ttyUSB0".into(),
            extent,
            units: None,
            timeout: Duration::from_millis(300),
        }
    }

    #[test]
    fn a_full_search_asks_every_unit_at_every_setting_once_and_the_likely_ones_first() {
        let rounds = rounds(&port(Extent::Full));
        let asked: Vec<_> = rounds
            .iter()
            .flat_map(|(settings, units)| {
                units
                    .iter()
                    .map(move |unit| (format!("{settings:?}"), *unit))
            })
            .collect();
        let distinct: BTreeSet<_> = asked.iter().collect();
        assert_eq!((asked.len(), distinct.len()), (32 * 247, 32 * 247));
        assert!(
            asked
                .iter()
                .take(11)
                .all(|(settings, _)| settings == "(9600, None, 1)")
        );
        assert_eq!(
            rounds.iter().position(|(_, units)| units.len() > 11),
            Some(32)
        );
    }

    #[test]
    fn a_quick_search_asks_units_1_to_10_and_247() {
        for (_, units) in rounds(&port(Extent::Quick)) {
            assert_eq!(units, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 247]);
        }
        let some = Port {
            units: Some(vec![33]),
            ..port(Extent::Quick)
        };
        assert!(rounds(&some).iter().all(|(_, units)| *units == [33]));
    }
}
