//! What registers showed before a start is found in the log, whatever else was reconfigured.

use evidence::decimal::Decimal;
use gateway::clock::{Clock as _, ManualClock};
use gateway::last_good::registers;
use gateway::recorder::Recorder;
use gateway::sample::{PointSample, TickSamples};

use crate::support::{MARCH, POLLED, Site};

/// Records one tick with this energy; without it none could be read.
async fn tick(recorder: &mut Recorder, clock: &ManualClock, energy: Option<i64>) {
    let axis = recorder.axes().borrow().streams[&POLLED];
    let tick = axis.tick_at(clock.monotonic_ms());
    clock.advance(1_000);
    let energy = match energy {
        Some(value) => PointSample::good(0, value),
        None => PointSample::absent(0, evidence::quality::Quality::TIMEOUT, 0),
    };
    let samples = vec![energy, PointSample::good(1, 7)];
    if recorder.next_tick(POLLED).is_some_and(|next| tick >= next) {
        let samples = TickSamples {
            stream: POLLED,
            samples,
        };
        recorder.record(tick, samples).await.unwrap();
    }
    recorder.tend().await.unwrap();
}

async fn found(recorder: &Recorder) -> Option<i64> {
    let config = recorder.log().chain().config().unwrap();
    let found = registers(recorder.reader(), config).await.unwrap();
    assert!(!found.contains_key("power"), "it is no register");
    found.get("energy").copied()
}

#[tokio::test]
async fn the_last_good_value_of_a_register_is_known_at_the_next_start() {
    let mut site = Site::new(ManualClock::trusted(MARCH + 500, 5_000));
    let mut recorder = site.start().await;
    assert_eq!(found(&recorder).await, None, "a new log");
    for energy in [Some(100), Some(101), Some(102), None, None] {
        for _ in 0..3 {
            tick(&mut recorder, &site.clock, energy).await;
        }
    }
    recorder.close().await.unwrap();
    site.clock.advance(3_600_000);
    let recorder = site.start().await;
    assert_eq!(found(&recorder).await, Some(102));
    recorder.close().await.unwrap();
    // Another point is described anew: the register is the same.
    site.settings.table.points[1].unit = "W".to_owned();
    site.settings.table.points[0].max = Decimal::parse("1000000").ok();
    let recorder = site.start().await;
    assert_eq!(found(&recorder).await, Some(102));
    recorder.close().await.unwrap();
    // And once more, before anything was sealed.
    site.settings.table.points[1].unit = "kW".to_owned();
    let recorder = site.start().await;
    assert_eq!(found(&recorder).await, Some(102));
    recorder.close().await.unwrap();
    // Read in another way, it cannot be compared.
    site.settings.table.points[0].scale = Decimal::parse("10").unwrap();
    let recorder = site.start().await;
    assert_eq!(found(&recorder).await, None);
    recorder.close().await.unwrap();
}
