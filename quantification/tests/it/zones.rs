//! Days that are not 24 hours long, and zones that are not whole hours from UTC.

use quantification::exact::Exact;

use crate::support::{GW1, Log, SOLAR_POINTS, bound, period, report, solar};

const HOUR: i64 = 3_600_000;

/// 6 kW all the time; one sample an hour, on the hours of UTC.
fn auxiliary(zone: &str, from: &str, to: &str) -> (Exact, Vec<(String, Exact)>) {
    let bound = bound(&solar(&[("Asia/Makassar", zone)]));
    let period = period(&bound, from, to);
    let mut log = Log::new(GW1, 3_600_000, &SOLAR_POINTS);
    let first = (period.start_ms() - 2 * HOUR).div_euclid(HOUR) * HOUR;
    log.fill(first, period.end_ms() + 2 * HOUR, 1, |point, _| {
        Some(if point == 0 { 0 } else { 600 })
    });
    let report = report(&bound, &period, &[&log]);
    let parameter = report.parameter("EC_aux").unwrap();
    assert!(parameter.gaps.is_empty(), "{:?}", parameter.gaps);
    let years = parameter
        .vintages
        .iter()
        .map(|v| (v.year.to_string(), v.value))
        .collect();
    (parameter.value, years)
}

fn mwh(hours: i64) -> Exact {
    Exact::new(i128::from(hours) * 6, 3).unwrap()
}

#[test]
fn a_day_has_as_many_hours_as_its_clocks_showed() {
    assert_eq!(
        auxiliary("Asia/Jakarta", "2026-03-29", "2026-03-29").0,
        mwh(24)
    );
    assert_eq!(
        auxiliary("Europe/Berlin", "2026-03-29", "2026-03-29").0,
        mwh(23)
    );
    assert_eq!(
        auxiliary("Europe/Berlin", "2026-10-25", "2026-10-25").0,
        mwh(25)
    );
}

#[test]
fn a_tick_over_a_local_midnight_is_cut_there() {
    // Nepal is 5:45 h from UTC: midnight falls into the middle of an hourly tick.
    let (value, years) = auxiliary("Asia/Kathmandu", "2025-12-31", "2026-01-01");
    assert_eq!(value, mwh(48));
    assert_eq!(
        years,
        [("2025".to_owned(), mwh(24)), ("2026".to_owned(), mwh(24))]
    );
}

#[test]
fn the_same_instants_belong_to_other_years_in_other_zones() {
    let years = |zone| auxiliary(zone, "2025-12-31", "2026-01-01").1;
    assert_eq!(
        years("Asia/Jakarta"),
        years("Asia/Makassar"),
        "each zone has its own two days"
    );
    assert_eq!(
        years("America/Santiago"),
        [("2025".to_owned(), mwh(24)), ("2026".to_owned(), mwh(24))]
    );
}
