//! Random histories against a queue: what was accepted is in the log, in order, once, and nothing else.
//!
//! The seed is printed; `MODEL_SEED=<seed>` replays it.

use std::collections::VecDeque;

use evidence::quality::Quality;
use gateway::clock::{Clock as _, ManualClock};
use gateway::recorder::Recorder;
use gateway::sample::PointSample;

use crate::support::{MARCH, MESSAGES, POLLED, Site, partition, samples};

/// `SplitMix64`: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

#[derive(Default)]
struct Model {
    ticks: VecDeque<u64>,
    messages: VecDeque<i64>,
    next_message: i64,
}

async fn history(seed: u64) {
    let mut random = Random(seed);
    let start = MARCH - 1_000 * random.below(100);
    let mut site = Site::new(ManualClock::trusted(start, 5_000));
    let mut model = Model::default();
    let mut recorder: Option<Recorder> = Some(site.start().await);
    for _operation in 0..250 {
        if recorder.is_none() {
            recorder = Some(site.start().await);
        }
        let running = recorder.as_mut().unwrap();
        match random.below(100) {
            0..=64 => {
                let axis = running.axes().borrow().streams[&POLLED];
                let tick = axis.tick_at(site.clock.monotonic_ms());
                site.clock.advance(1_000);
                if running.next_tick(POLLED).is_some_and(|next| tick >= next) {
                    let before = running.axes().borrow().generation;
                    running.record(tick, samples(tick)).await.unwrap();
                    if running.axes().borrow().generation == before {
                        model.ticks.push_back(tick);
                    }
                }
            }
            65..=84 => {
                site.clock.advance(random.below(400));
                let sample = vec![PointSample::good(2, model.next_message)];
                let now = site.clock.monotonic_ms();
                running
                    .record_message(MESSAGES, now, sample, None)
                    .await
                    .unwrap();
                model.messages.push_back(model.next_message);
                model.next_message += 1;
            }
            85..=89 => running.tend().await.unwrap(),
            90..=92 => site.clock.advance(random.below(30_000)),
            93 => {
                let ms = i64::try_from(random.below(4_000)).unwrap() - 2_000;
                site.clock.step(ms);
            }
            94 => {
                let ms = i64::try_from(random.below(200_000_000)).unwrap() - 100_000_000;
                site.clock.step(ms);
            }
            95 => recorder.take().unwrap().close().await.unwrap(),
            96 => drop(recorder.take()),
            97 => {
                drop(recorder.take());
                site.os_boot = format!("boot-{}", random.next());
                let now = site.clock.now().unix_ms + random.below(100_000);
                site.clock = ManualClock::trusted(now, 3_000 + random.below(10_000));
            }
            _ => running.acknowledge(running.status().size),
        }
        if let Some(running) = &recorder {
            site.left.take_from(running).await;
        }
    }
    if recorder.is_none() {
        recorder = Some(site.start().await);
    }
    recorder.unwrap().close().await.unwrap();
    let applied = site.whole().await;
    for stream in [POLLED, MESSAGES] {
        let parts = partition(&applied, stream);
        assert!(
            parts.windows(2).all(|pair| pair[0].1 == pair[1].0),
            "{parts:?}"
        );
    }
    for segment in applied.iter().filter_map(|step| step.segment.as_ref()) {
        let column = &segment.columns[0];
        for (sample, value) in column.values.iter().enumerate() {
            if segment.ticks.stream == MESSAGES {
                assert_eq!(
                    model.messages.pop_front(),
                    Some(*value),
                    "messages in order, once"
                );
            } else if column.quality(sample) == Quality::GOOD {
                let tick = segment.ticks.first + u64::try_from(sample).unwrap();
                assert_eq!(model.ticks.pop_front(), Some(tick), "ticks in order, once");
                assert_eq!(*value, i64::try_from(tick % 4_000_000_000).unwrap());
            } else {
                assert_eq!(column.quality(sample), Quality::NOT_POLLED);
            }
        }
    }
    assert!(
        model.ticks.is_empty(),
        "accepted but not sealed: {:?}",
        model.ticks
    );
    assert!(
        model.messages.is_empty(),
        "accepted but not sealed: {:?}",
        model.messages
    );
}

#[tokio::test]
async fn random_histories_end_in_the_log_that_the_model_expects() {
    if let Ok(seed) = std::env::var("MODEL_SEED") {
        history(seed.parse().unwrap()).await;
        return;
    }
    let first = std::process::id();
    for round in 0..12 {
        let seed = u64::from(first) * 1_000 + round;
        eprintln!("MODEL_SEED={seed}");
        history(seed).await;
    }
}

#[tokio::test]
async fn the_same_three_histories_run_every_time() {
    for seed in [1, 2, 3] {
        history(seed).await;
    }
}
