//! Values that come as messages hold until the next one, or until they are stale.

use evidence::quality::Quality;
use quantification::exact::Exact;
use quantification::period::Period;
use quantification::plan::Bound;
use quantification::report::Report;

use crate::support::{GW1, Log, SOLAR_POINTS, bound, period, report, solar};

const MINUTE: i64 = 60_000;
const SECOND: u32 = 1000;

/// The auxiliary power comes as messages; the revenue meter is not read.
fn compute(messages: impl Fn(i64, &mut Log)) -> (Bound, Period, Report) {
    let bound = bound(&solar(&[]));
    let period = period(&bound, "2026-06-10", "2026-06-10");
    let mut log = Log::of_messages(GW1, 60_000, &SOLAR_POINTS[1..], 600);
    messages(period.start_ms(), &mut log);
    let report = report(&bound, &period, &[&log]);
    (bound, period, report)
}

/// An energy given in kW·min, in the parameter's unit.
fn energy(kw_minutes: i64) -> Exact {
    Exact::whole(kw_minutes)
        .divided_by(Exact::whole(60_000))
        .unwrap()
}

#[test]
fn a_message_holds_until_the_next_or_until_it_is_stale() {
    let (.., report) = compute(|start, log| {
        // 6 kW from 0:00, 12 kW from 0:04, then nothing more.
        log.messages(start, 30, &[(0, Ok(600)), (240 * SECOND, Ok(1200))]);
        log.messages(start + 30 * MINUTE, 30, &[]);
    });
    let auxiliary = report.parameter("EC_aux").unwrap();
    assert_eq!(auxiliary.value, energy(6 * 4 + 12 * 10));
    assert_eq!(auxiliary.intervals[0].valid_ms, 14 * MINUTE);
    assert_eq!(auxiliary.gaps.len(), 1);
    assert_eq!(auxiliary.gaps[0].from, "2026-06-09T16:14:00Z");
}

#[test]
fn a_message_from_before_the_period_holds_into_it() {
    let (.., report) = compute(|start, log| {
        log.messages(start - 2 * MINUTE, 2, &[(0, Ok(600))]);
        log.messages(start, 60, &[(180 * SECOND, Ok(0))]);
    });
    let auxiliary = report.parameter("EC_aux").unwrap();
    assert_eq!(auxiliary.value, energy(6 * 3));
    assert_eq!(auxiliary.measured.as_ref().unwrap().good, 1);
}

#[test]
fn a_lost_source_ends_what_held() {
    let (.., report) = compute(|start, log| {
        log.messages(
            start,
            60,
            &[
                (0, Ok(600)),
                (120 * SECOND, Err(Quality::DISCONNECTED)),
                (300 * SECOND, Ok(600)),
                (360 * SECOND, Ok(0)),
            ],
        );
    });
    let auxiliary = report.parameter("EC_aux").unwrap();
    assert_eq!(auxiliary.value, energy(6 * 3));
    assert_eq!(auxiliary.gaps[0].reason, "disconnected");
    assert_eq!(auxiliary.gaps[0].length_ms, 3 * MINUTE);
}

#[test]
fn nothing_holds_over_ticks_that_no_entry_covers() {
    let (.., report) = compute(|start, log| {
        log.messages(start, 1, &[(0, Ok(600))]);
        log.messages(start + 5 * MINUTE, 55, &[(0, Ok(0))]);
    });
    let auxiliary = report.parameter("EC_aux").unwrap();
    assert_eq!(
        auxiliary.value,
        energy(6),
        "one minute was covered, not the ten for which it would hold"
    );
    assert_eq!(auxiliary.gaps[0].reason, "no entry covers this time");
}
