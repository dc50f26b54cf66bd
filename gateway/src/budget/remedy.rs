//! What would make a line's intervals possible, computed with the same model.

use std::time::Duration;

use super::cost::Cost;
use super::{DeviceBudget, Interval, Times};
use crate::config::{Characters, Endpoint, LineConfig};

/// The usual speeds of serial lines, ascending.
const BAUDS: [u32; 8] = [1_200, 2_400, 4_800, 9_600, 19_200, 38_400, 57_600, 115_200];

/// Remedies in words, the least expensive first. At least one is always there.
pub(super) fn of(
    line: &LineConfig,
    devices: &[DeviceBudget],
    intervals: &[Interval],
) -> Vec<String> {
    let mut remedies = Vec::new();
    if let Some(late) = intervals.iter().find(|interval| !interval.met) {
        remedies.push(match longer_interval(line, devices, late.every_s) {
            Some(longer) => format!(
                "interval_s = {longer} instead of {} for the points on this line",
                late.every_s
            ),
            None => String::from("fewer devices on this line"),
        });
    }
    remedies.extend(higher_baud(line, devices));
    remedies.extend(measured(line, devices));
    remedies.push(String::from("fewer points"));
    if devices.len() > 1 {
        remedies.push(format!(
            "a second line for some of its {} devices",
            devices.len()
        ));
    }
    remedies
}

/// The costs of all requests, each with its interval and line as `change` has them.
fn times(devices: &[DeviceBudget], line: &LineConfig, change: impl Fn(u16) -> u16) -> Times {
    Times::of(devices, |request| {
        (change(request.every_s), Cost::on(line).of(request.span))
    })
}

/// The shortest interval at which the points of the one that is too short, and of any below it, fit.
fn longer_interval(line: &LineConfig, devices: &[DeviceBudget], every_s: u16) -> Option<u16> {
    let allowed = (every_s + 1..=3_600).filter(|longer| 3_600 % longer == 0);
    allowed.into_iter().find(|&longer| {
        let stretched = |other: u16| {
            if other == every_s { longer } else { other }
        };
        times(devices, line, stretched).all_met()
    })
}

/// Whether the assumption decides.
fn measured(line: &LineConfig, devices: &[DeviceBudget]) -> Option<String> {
    let at_once = LineConfig {
        answer: Some(Duration::ZERO),
        ..line.clone()
    };
    let decides = line.answer.is_none() && times(devices, &at_once, |every_s| every_s).all_met();
    decides.then(|| {
        format!(
            "answer_ms for the line, if its devices answer faster than the {} ms assumed",
            Cost::on(line).answer().as_millis()
        )
    })
}

/// The lowest speed above the present one that is enough.
fn higher_baud(line: &LineConfig, devices: &[DeviceBudget]) -> Option<String> {
    let present = Cost::on(line).characters()?;
    let enough = BAUDS
        .into_iter()
        .filter(|baud| *baud > present.baud)
        .find(|baud| {
            let mut faster = line.clone();
            match &mut faster.endpoint {
                Endpoint::Serial(port) => port.baud = *baud,
                _ => {
                    faster.converter = Some(Characters {
                        baud: *baud,
                        ..present
                    });
                }
            }
            times(devices, &faster, |every_s| every_s).all_met()
        });
    Some(match enough {
        Some(baud) => match (&line.endpoint, line.converter) {
            (Endpoint::Serial(_), _) => format!("baud = {baud}, set in the devices as well"),
            (_, Some(_)) => format!("baud = {baud}, set in the converter and the devices as well"),
            (_, None) => format!(
                "baud = {baud} in the [[line]], if the converter and the devices are set to it; \
                 {present} is assumed"
            ),
        },
        None if line.pause > Duration::from_millis(5) => {
            format!(
                "a pause_ms below {}, if the devices bear it",
                line.pause.as_millis()
            )
        }
        None => return None,
    })
}
