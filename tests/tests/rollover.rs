//! A totaliser that runs over its capacity: what the gateway flags, seals and the report counts.
//!
//! The two sides agree by construction on nothing but the sealed bytes, so this goes the whole way: the
//! gateway's checks and recorder, the log, the chain's rules, the computation of the report.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use std::sync::Arc;

use evidence::chain::Chain;
use evidence::hash::{Hash, leaf_hash};
use gateway::buffer::LogReader;
use gateway::checks::Watch;
use gateway::clock::{Clock as _, ManualClock};
use gateway::config::GatewayConfig;
use gateway::faults::NoFaults;
use gateway::identity::Identity;
use gateway::recorder::{Recorder, Settings, Software, Surroundings};
use gateway::sample::{PointSample, TickSamples};
use quantification::computation::Computation;
use quantification::exact::Exact;
use quantification::period::date;
use quantification::plan::Plan;
use quantification::report::Report;

const ORIGIN: &str = "example.com/gw/0001";
const MINUTE_MS: u64 = 60_000;

/// A meter that shows four digits of kWh, and a transducer that shows nothing.
fn config(data_dir: &Path) -> GatewayConfig {
    let text = format!(
        "[gateway]\norigin = \"{ORIGIN}\"\ndata_dir = \"{}\"\nsegment_s = 300\n\
         [[modbus]]\nname = \"meter\"\nhost = \"192.0.2.1\"\naddress_base = \"pdu\"\n\
         [[modbus.point]]\nname = \"export.energy\"\ntable = \"holding\"\naddress = 0\n\
         type = \"u32\"\ndecimals = 0\nunit = \"kWh\"\nkind = \"register\"\ninterval_s = 60\n\
         max_step_per_s = \"0.1\"\nrollover_at = \"10000\"\n\
         [[modbus.point]]\nname = \"aux.power\"\ntable = \"holding\"\naddress = 2\n\
         type = \"u16\"\ndecimals = 0\nunit = \"kW\"\nkind = \"instant\"\ninterval_s = 60\n",
        data_dir.display()
    );
    GatewayConfig::parse("gateway.toml", &text).unwrap()
}

/// Records `minutes` from `from_ms` on as the gateway does; `energy` is what the register shows.
async fn record(config: &GatewayConfig, from_ms: u64, minutes: u64, energy: impl Fn(u64) -> i64) {
    Identity::create(&config.data_dir, &config.origin).unwrap();
    let clock = ManualClock::trusted(from_ms, 60_000);
    let software = Software {
        version: "test 1".to_owned(),
        binary: Hash([7; 32]),
    };
    let mut settings = Settings::of(config, software);
    settings.sync_interval_ms = 3_600_000;
    let around = Surroundings {
        clock: Arc::new(clock.clone()),
        os_boot: "boot-a".to_owned(),
        faults: Arc::new(NoFaults),
    };
    let mut recorder = Recorder::open(settings, around).await.unwrap();
    let table = config.measurement(|_| 0);
    let rules = &config.modbus[0].points[0].rules;
    let mut watch = Watch::with_rules(&table.points[0], rules);
    for minute in 0..minutes {
        let mut sample = PointSample::good(0, energy(minute));
        watch.check(&mut sample, from_ms + minute * MINUTE_MS);
        let samples = TickSamples {
            stream: 60,
            samples: vec![sample, PointSample::good(1, 0)],
        };
        let begun_ms = clock.monotonic_ms();
        clock.advance(MINUTE_MS);
        let axis = recorder.axes().borrow().streams[&60];
        recorder
            .record(axis.tick_at(begun_ms), samples)
            .await
            .unwrap();
        recorder.tend().await.unwrap();
    }
    recorder.close().await.unwrap();
}

/// What the report of one day says of a log.
async fn report(config: &GatewayConfig, plan: &Plan, day: &str) -> Report {
    let methodology = quantification::methodology::shipped(&plan.methodology_id).unwrap();
    let bound = plan.clone().bind(&methodology).unwrap();
    let period = bound
        .plan
        .period(date(day).unwrap(), date(day).unwrap())
        .unwrap();
    let mut computation = Computation::new(&bound, &period);
    let mut reader = LogReader::of_dir(&config.data_dir.join("log"))
        .await
        .unwrap();
    let end = reader.bounds().1;
    let mut chain = Chain::new(config.origin.clone());
    while chain.size() < end {
        let rows = reader.rows(chain.size(), end, 500, usize::MAX).await;
        for row in rows.unwrap() {
            let applied = chain.apply(&row.entry, row.payload.as_deref()).unwrap();
            if let Some(segment) = &applied.segment {
                let leaf = leaf_hash(&row.entry);
                computation
                    .segment(ORIGIN, row.index, &leaf, segment)
                    .unwrap();
            }
        }
    }
    computation.finish().unwrap()
}

#[tokio::test]
async fn a_register_that_rolls_over_begins_a_new_epoch_and_nothing_is_counted_over_it() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path());
    let plan = include_str!("../../quantification/examples/solar.plan.toml");
    let plan = Plan::parse(plan, "plan.toml").unwrap();
    let day = "2026-06-10";
    let period = plan.period(date(day).unwrap(), date(day).unwrap()).unwrap();
    let start = u64::try_from(period.start_ms()).unwrap();
    // An hour before the day to an hour after it, one kWh a minute; at the day's minute 1000 the meter
    // shows 0.
    record(&config, start - 60 * MINUTE_MS, 1_560, |minute| {
        (8_940 + i64::try_from(minute).unwrap()) % 10_000
    })
    .await;
    let report = report(&config, &plan, day).await;
    let energy = report.parameter("EG[revenue]").unwrap();
    let measured = energy.measured.as_ref().unwrap();
    assert_eq!(
        (measured.by_quality.get("rollover"), measured.not_good),
        (Some(&1), 1),
        "the gateway flags the one sample behind it: {:?}",
        measured.by_quality
    );
    let totaliser = measured.totaliser.as_ref().unwrap();
    let [reset] = &totaliser.resets[..] else {
        panic!("{:?}", totaliser.resets)
    };
    assert_eq!(
        (reset.before.value, reset.after.value),
        (Exact::whole(9_999), Exact::whole(1))
    );
    // 999 kWh to the last value before it, 439 from the first good one behind it: the 2 kWh between are
    // not earned, and certainly not the 9998 that the register fell.
    assert_eq!(energy.value, Exact::parse("1.438").unwrap());
    assert!(
        report
            .warnings
            .iter()
            .any(|warning| warning.code == "reset"),
        "{:?}",
        report.warnings
    );
}
