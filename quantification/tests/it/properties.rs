//! Laws that hold for every log.

use proptest::prelude::{Strategy, any, proptest};
use quantification::exact::Exact;
use quantification::period::Period;
use quantification::plan::Bound;
use quantification::report::Report;

use crate::support::{
    GW1, GW2, INJECTION, Log, SOLAR_POINTS, Spec, bound, changed, period, report, solar,
};

const HOUR: i64 = 3_600_000;

/// Per hour: an advance (or a reset), a power, and whether each of the two is missing.
type Hour = (u32, i32, bool, bool);

fn hours(count: usize) -> impl Strategy<Value = Vec<Hour>> {
    proptest::collection::vec(
        (
            0_u32..1_000_000,
            -1_000_i32..100_000,
            proptest::bool::weighted(0.1),
            proptest::bool::weighted(0.1),
        ),
        count,
    )
}

fn log_of(start: i64, hours: &[Hour]) -> Log {
    let mut registers = vec![0_i64];
    for (advance, ..) in hours {
        // One value in a hundred is a register that starts again.
        let last = *registers.last().unwrap();
        registers.push(if advance % 97 == 0 {
            0
        } else {
            last + i64::from(*advance)
        });
    }
    let mut log = Log::new(GW1, 3_600_000, &SOLAR_POINTS);
    let end = start + HOUR * i64::try_from(hours.len()).unwrap();
    log.fill(start, end, 1, |point, time| {
        let hour = usize::try_from((time - start) / HOUR).unwrap();
        let (_, power, no_energy, no_power) = hours[hour];
        if point == 0 {
            (!no_energy).then_some(registers[hour])
        } else {
            (!no_power).then_some(i64::from(power))
        }
    });
    log
}

fn value(report: &Report, name: &str) -> Exact {
    report.parameter(name).unwrap().value
}

fn edges_not_counted(report: &Report) -> Exact {
    let energy = report.parameter("EG[revenue]").unwrap();
    let not_counted = energy
        .measured
        .as_ref()
        .unwrap()
        .totaliser
        .as_ref()
        .unwrap()
        .not_counted;
    not_counted.divided_by(Exact::whole(1000)).unwrap()
}

fn days(bound: &Bound) -> [Period; 3] {
    [
        period(bound, "2026-06-10", "2026-06-11"),
        period(bound, "2026-06-10", "2026-06-10"),
        period(bound, "2026-06-11", "2026-06-11"),
    ]
}

proptest! {
    #[test]
    fn two_halves_make_the_whole_but_for_the_advances_listed_at_the_cut(hours in hours(60)) {
        let bound = bound(&solar(&[]));
        let [whole, first, second] = days(&bound);
        let log = log_of(whole.start_ms() - 3 * HOUR, &hours);
        let [whole, first, second] = [&whole, &first, &second].map(|period| report(&bound, period, &[&log]));
        let sum = |name| value(&first, name).plus(value(&second, name)).unwrap();
        // Each part is converted from kW·ms and rounded once.
        let difference = sum("EC_aux").minus(value(&whole, "EC_aux")).unwrap().absolute();
        assert!(difference <= Exact::new(2, 18).unwrap(), "{difference}");
        // Over the cut an advance across a gap is listed on both sides: nothing is counted twice.
        assert!(sum("EG[revenue]") <= value(&whole, "EG[revenue]"));
        let lost = value(&whole, "EG[revenue]").minus(sum("EG[revenue]")).unwrap();
        let listed = edges_not_counted(&first).plus(edges_not_counted(&second)).unwrap();
        assert!(lost <= listed, "{lost} lost, {listed} listed");
        assert_eq!(lost, Exact::ZERO, "nothing that counts lies over the cut: a gap does not count either way");
    }

    #[test]
    fn an_amount_is_never_negative_and_never_more_than_the_register_moved(hours in hours(60)) {
        let bound = bound(&solar(&[]));
        let period = period(&bound, "2026-06-10", "2026-06-11");
        let report = report(&bound, &period, &[&log_of(period.start_ms() - 3 * HOUR, &hours)]);
        let moved: i64 = hours.iter().map(|(advance, ..)| i64::from(*advance)).sum();
        let energy = value(&report, "EG[revenue]");
        assert!(energy >= Exact::ZERO);
        assert!(energy <= Exact::new(i128::from(moved), 6).unwrap());
    }

    #[test]
    fn every_millisecond_has_a_value_or_lies_in_a_listed_gap(hours in hours(60)) {
        let bound = bound(&solar(&[]));
        let period = period(&bound, "2026-06-10", "2026-06-11");
        let report = report(&bound, &period, &[&log_of(period.start_ms() - 3 * HOUR, &hours)]);
        for name in ["EG[revenue]", "EC_aux"] {
            let parameter = report.parameter(name).unwrap();
            let valid: i64 = parameter.intervals.iter().map(|interval| interval.valid_ms).sum();
            let gaps: i64 = parameter.gaps.iter().map(|gap| gap.length_ms).sum();
            assert_eq!(valid + gaps, period.end_ms() - period.start_ms(), "{name}");
            let measured = parameter.measured.as_ref().unwrap();
            assert_eq!(measured.good + measured.not_good, 48);
        }
    }

    #[test]
    fn the_report_does_not_depend_on_the_order_of_unrelated_logs(seed in any::<u16>()) {
        // Well 1 hangs on one gateway, everything else on another that has nothing to do with it.
        let bound = bound(&two_gateways());
        let period = period(&bound, "2026-02-10", "2026-02-10");
        let start = period.start_ms() - HOUR;
        let value = |point: usize, time: i64| {
            let hour = (time - start) / HOUR;
            let noise = (i64::from(seed) * 7919 + hour * 104_729) % 1000;
            Some(if point < 2 { hour * 5000 + noise } else { 9000 + noise })
        };
        let (mut a, mut b) = (Log::new(GW1, 3_600_000, &A), Log::new(GW2, 3_600_000, &B));
        a.fill(start, period.end_ms() + HOUR, 1, value);
        b.fill(start, period.end_ms() + HOUR, 1, value);
        let forward = report(&bound, &period, &[&a, &b]);
        let backward = report(&bound, &period, &[&b, &a]);
        assert!(forward.totals.re > Exact::ZERO);
        assert_eq!(forward.to_json(), backward.to_json());
    }

    #[test]
    fn how_a_log_is_cut_into_segments_does_not_matter(hours in hours(30), minutes in 1_usize..60) {
        // The same samples, one a minute, once in whole hours and once in shorter segments.
        let bound = bound(&solar(&[]));
        let period = period(&bound, "2026-06-10", "2026-06-10");
        let start = period.start_ms() - 3 * HOUR;
        let value = |point: usize, time: i64| {
            let (advance, power, no_energy, no_power) = hours[usize::try_from((time - start) / HOUR).unwrap()];
            let minute = (time - start) / 60_000;
            if point == 0 {
                (!(no_energy && minute % 7 < 2)).then_some(minute * 1000 + i64::from(advance % 500))
            } else {
                (!(no_power && minute % 11 == 0)).then_some(i64::from(power))
            }
        };
        let (mut whole, mut cut) = (Log::new(GW1, 60_000, &SOLAR_POINTS), Log::new(GW1, 60_000, &SOLAR_POINTS));
        whole.fill(start, start + 30 * HOUR, 60, value);
        for hour in 0..30 {
            cut.fill(start + hour * HOUR, start + (hour + 1) * HOUR, minutes, value);
        }
        let (whole, cut) = (report(&bound, &period, &[&whole]), report(&bound, &period, &[&cut]));
        for (a, b) in whole.parameters.iter().zip(&cut.parameters) {
            assert_eq!((a.value, &a.intervals, &a.gaps), (b.value, &b.intervals, &b.gaps), "{}", a.name);
        }
        assert_eq!(whole.totals, cut.totals);
    }
}

const A: [Spec; 3] = [
    ("w1.mass", "kg", 0, true),
    ("site.energy", "kWh", 1, true),
    ("w1.co2", "wt%", 2, false),
];
const B: [Spec; 3] = [
    ("w2.mass", "kg", 0, true),
    ("unused", "kWh", 1, true),
    ("w2.co2", "wt%", 2, false),
];

fn two_gateways() -> String {
    let plan = changed(INJECTION, &[("succeeds = \"example.com/gw/0001\"\n", "")]);
    // Whatever named both logs names one.
    let mut text = String::new();
    for line in plan.lines() {
        let line = line.replace(
            ", { log = \"example.com/gw/0002\", point = \"w1.co2\" }",
            "",
        );
        let line = line.replace(
            "{ log = \"example.com/gw/0001\", point = \"w2.co2\" }, ",
            "",
        );
        let line = line.replace(
            ", { log = \"example.com/gw/0002\", point = \"site.energy\" }",
            "",
        );
        let line = line.replace(
            ", { log = \"example.com/gw/0002\", point = \"genset.fuel\" }",
            "",
        );
        let drop = line.trim() == "{ log = \"example.com/gw/0002\", point = \"w1.mass\" },"
            || line.trim() == "{ log = \"example.com/gw/0001\", point = \"w2.mass\" },";
        if !drop {
            text.push_str(&line);
            text.push('\n');
        }
    }
    text
}
