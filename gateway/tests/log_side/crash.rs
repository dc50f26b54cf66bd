//! The crash table: every step of the write path fails, fails although it took effect, or is the
//! last thing the process does. Afterwards the log is whole, and no index has left twice differently.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use evidence::quality::Quality;
use gateway::clock::{Clock as _, ManualClock};
use gateway::faults::{Faults, NoFaults, Step, Strike};
use gateway::recorder::Recorder;
use gateway::sample::PointSample;

use crate::support::{MARCH, MESSAGES, POLLED, Site, partition, samples};

/// Strikes the n-th time a step is reached, and `times` times from there.
#[derive(Debug)]
struct Plan {
    step: Step,
    strike: Strike,
    from: u32,
    times: u32,
    seen: AtomicU32,
}

impl Faults for Plan {
    fn strike(&self, step: Step) -> Strike {
        if step != self.step {
            return Strike::Nothing;
        }
        let seen = self.seen.fetch_add(1, Ordering::SeqCst);
        if (self.from..self.from + self.times).contains(&seen) {
            self.strike
        } else {
            Strike::Nothing
        }
    }
}

/// Ticks and messages that the recorder accepted.
#[derive(Default)]
struct Accepted {
    ticks: BTreeSet<u64>,
    messages: u32,
}

/// One second of everything; `Err` when the recorder gave up.
async fn second(
    recorder: &mut Recorder,
    site: &mut Site,
    accepted: &mut Accepted,
) -> Result<(), ()> {
    let axis = recorder.axes().borrow().streams[&POLLED];
    let before = site.clock.monotonic_ms();
    let tick = axis.tick_at(before);
    site.clock.advance(1000);
    let expected = recorder.next_tick(POLLED).is_some_and(|next| tick >= next);
    if expected {
        recorder
            .record(tick, samples(tick))
            .await
            .map_err(|_error| ())?;
        accepted.ticks.insert(tick);
    }
    let value = i64::from(accepted.messages);
    let message = vec![PointSample::good(2, value)];
    recorder
        .record_message(MESSAGES, before + 300, message, None)
        .await
        .map_err(|_error| ())?;
    accepted.messages += 1;
    recorder.tend().await.map_err(|_error| ())?;
    site.left.take_from(recorder).await;
    Ok(())
}

async fn run_case(step: Step, strike: Strike, from: u32, times: u32) {
    let name = format!("{step:?} {strike:?} from {from} {times} times");
    // Midnight comes after 15 s: a new file and a new key are part of the run.
    let mut site = Site::new(ManualClock::trusted(MARCH - 15_000, 5_000));
    let mut accepted = Accepted::default();
    // The first segment is sealed without faults, so that every fault meets a log.
    let mut recorder = site.start().await;
    for _ in 0..6 {
        second(&mut recorder, &mut site, &mut accepted)
            .await
            .unwrap();
    }
    drop(recorder);
    site.faults = Arc::new(Plan {
        step,
        strike,
        from,
        times,
        seen: AtomicU32::new(0),
    });
    let mut died = 0;
    for _round in 0..4 {
        let Ok(mut recorder) = site.try_start().await else {
            died += 1;
            continue;
        };
        for _ in 0..12 {
            if second(&mut recorder, &mut site, &mut accepted)
                .await
                .is_err()
            {
                died += 1;
                break;
            }
        }
        site.left.take_from(&recorder).await;
        drop(recorder);
    }
    site.faults = Arc::new(NoFaults);
    let mut recorder = site
        .try_start()
        .await
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    for _ in 0..3 {
        second(&mut recorder, &mut site, &mut accepted)
            .await
            .unwrap();
    }
    recorder
        .close()
        .await
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let applied = site.whole().await;
    if strike == Strike::Die {
        assert!(died > 0, "{name}: the plan never struck");
    }
    let parts = partition(&applied, POLLED);
    assert!(
        parts.windows(2).all(|pair| pair[0].1 == pair[1].0),
        "{name}: {parts:?}"
    );
    let mut sealed = BTreeSet::new();
    let mut messages = Vec::new();
    for segment in applied
        .iter()
        .filter_map(|applied| applied.segment.as_ref())
    {
        let column = &segment.columns[0];
        if segment.ticks.stream == POLLED {
            for (sample, tick) in (segment.ticks.first..segment.ticks.end()).enumerate() {
                if column.quality(sample) == Quality::GOOD {
                    assert_eq!(
                        column.values[sample],
                        i64::try_from(tick).unwrap(),
                        "{name}"
                    );
                    sealed.insert(tick);
                }
            }
        } else {
            messages.extend_from_slice(&column.values);
        }
    }
    let lost: Vec<_> = accepted.ticks.difference(&sealed).collect();
    assert!(
        lost.is_empty(),
        "{name}: accepted ticks are not in the log: {lost:?}"
    );
    // A message that the recorder refused may have been written all the same; none may be missing.
    let distinct: BTreeSet<i64> = messages.iter().copied().collect();
    let expected: BTreeSet<i64> = (0..i64::from(accepted.messages)).collect();
    assert!(
        distinct.is_superset(&expected),
        "{name}: messages {messages:?}"
    );
}

async fn run_steps(steps: &[Step]) {
    for &step in steps {
        for strike in [Strike::Fail, Strike::FailButPersist, Strike::Die] {
            // These happen once: at midnight.
            let rare = matches!(
                step,
                Step::NewFile | Step::KeyPrepared | Step::KeySealed | Step::KeyErased
            );
            for from in 0..if rare { 1 } else { 3 } {
                run_case(step, strike, from, 1).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_whole_after_any_fault_of_the_journal() {
    run_steps(&[Step::JournalAppend, Step::JournalSync, Step::JournalNote]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_whole_after_any_fault_of_a_commit() {
    run_steps(&[Step::Sealed, Step::Commit, Step::Committed]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_whole_after_any_fault_between_commit_and_release() {
    run_steps(&[Step::ReadBack, Step::Release]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_whole_after_any_fault_of_a_new_file_or_key() {
    run_steps(&[
        Step::NewFile,
        Step::KeyPrepared,
        Step::KeySealed,
        Step::KeyErased,
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_fails_twice_is_set_aside_and_named() {
    for strike in [Strike::Fail, Strike::FailButPersist] {
        for (step, times) in [(Step::Commit, 2), (Step::ReadBack, 2)] {
            let mut site = Site::new(ManualClock::trusted(MARCH, 5_000));
            let mut accepted = Accepted::default();
            let mut recorder = site.start().await;
            for _ in 0..12 {
                second(&mut recorder, &mut site, &mut accepted)
                    .await
                    .unwrap();
            }
            drop(recorder);
            let plan = Plan {
                step,
                strike,
                from: 3,
                times,
                seen: AtomicU32::new(0),
            };
            site.faults = Arc::new(plan);
            let mut recorder = site.start().await;
            for _ in 0..25 {
                second(&mut recorder, &mut site, &mut accepted)
                    .await
                    .unwrap();
            }
            recorder.close().await.unwrap();
            // Also what the set-aside file held before is still part of the whole.
            site.whole().await;
            site.start().await.close().await.unwrap();
            let applied = site.whole().await;
            let parts = partition(&applied, POLLED);
            assert!(
                parts.windows(2).all(|pair| pair[0].1 == pair[1].0),
                "{parts:?}"
            );
            let set_aside = std::fs::read_dir(site.dir.path().join("quarantine"))
                .map(|entries| entries.count())
                .unwrap_or(0);
            let kept_in_place = step == Step::Commit && strike == Strike::FailButPersist;
            if kept_in_place {
                assert_eq!(set_aside, 0, "what took effect is found and kept");
            } else {
                assert!(set_aside > 0, "{step:?} {strike:?}");
            }
        }
    }
}
