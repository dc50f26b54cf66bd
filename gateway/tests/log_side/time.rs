//! Clocks that are unset, arrive late, or step.

use evidence::control::{Control, kind};
use evidence::entry::{ClockStatus, GapReason};
use gateway::clock::ManualClock;

use crate::support::{MARCH, MESSAGES, POLLED, Site, controls, partition, samples, seconds};

#[tokio::test]
async fn several_boots_in_1970_seal_and_the_last_is_placed_when_time_comes() {
    let mut site = Site::new(ManualClock::unset(30_000));
    for boot in ["boot-a", "boot-b"] {
        site.os_boot = boot.to_owned();
        site.clock = ManualClock::unset(30_000);
        let mut recorder = site.start().await;
        seconds(&mut recorder, &site.clock, 17).await;
        // Cut off: the next start seals what the journal holds.
        drop(recorder);
    }
    site.os_boot = "boot-c".to_owned();
    site.clock = ManualClock::unset(30_000);
    let mut recorder = site.start().await;
    seconds(&mut recorder, &site.clock, 25).await;
    // NTP answers: what was monotonic 55 s is 00:00:00.4 of the first of March.
    site.clock.set(MARCH + 400, ClockStatus::Ntp);
    seconds(&mut recorder, &site.clock, 15).await;
    recorder.close().await.unwrap();

    let applied = site.whole().await;
    let parts = partition(&applied, POLLED);
    assert!(
        parts.iter().all(|part| part.2.is_none()),
        "no gap is claimed without time: {parts:?}"
    );
    assert!(
        parts.windows(2).all(|pair| pair[0].1 == pair[1].0),
        "the axis goes on: {parts:?}"
    );
    let unplaced: u64 = parts
        .iter()
        .filter(|part| part.3.is_none())
        .map(|part| part.1 - part.0)
        .sum();
    assert_eq!(unplaced, 17 + 17 + 25);
    let event = applied
        .iter()
        .find_map(|step| match &step.control {
            Some(Control::Clock(event)) => Some(event.clone()),
            _ => None,
        })
        .unwrap();
    assert_eq!(event.source, ClockStatus::Ntp);
    // Tick 34 of the axis began 25 s before the time came: at 23:59:35.4.
    let placed: Vec<_> = event
        .placed
        .iter()
        .filter(|placed| placed.stream == POLLED)
        .collect();
    assert_eq!(placed.len(), 1);
    let (from, to) = (placed[0].from, placed[0].to);
    let first_of_boot_c = applied
        .iter()
        .find(|step| {
            step.entry
                .ticks()
                .is_some_and(|t| t.stream == POLLED && t.first == 34)
        })
        .unwrap();
    assert_eq!(from, first_of_boot_c.entry.index);
    assert!(to < u64::try_from(applied.len()).unwrap());
    let time = (34 + placed[0].shift) * 1000;
    let truth = i64::try_from(MARCH).unwrap() + 400 - 25_000;
    assert!(
        (time - truth).abs() <= 500,
        "placed at {time}, was at {truth}"
    );
    let after = parts.last().unwrap();
    let shift = after.3.unwrap();
    let first_after = parts.iter().find(|part| part.3.is_some()).unwrap();
    let begins = (i64::try_from(first_after.0).unwrap() + shift) * 1000;
    // The recorder looked a second later, at 1.4 s.
    assert_eq!(
        begins,
        i64::try_from(MARCH).unwrap() + 2_000,
        "the first whole second from then on"
    );
}

#[tokio::test]
async fn samples_of_a_trusted_run_keep_their_place_when_the_next_start_has_no_time() {
    let mut site = Site::new(ManualClock::trusted(MARCH, 30_000));
    let mut recorder = site.start().await;
    seconds(&mut recorder, &site.clock, 15).await;
    drop(recorder);
    site.os_boot = "boot-b".to_owned();
    site.clock = ManualClock::unset(20_000);
    let mut recorder = site.start().await;
    seconds(&mut recorder, &site.clock, 12).await;
    site.clock.set(MARCH + 100_000, ClockStatus::Ntp);
    seconds(&mut recorder, &site.clock, 5).await;
    recorder.close().await.unwrap();
    let applied = site.whole().await;
    let event = applied
        .iter()
        .find_map(|step| match &step.control {
            Some(Control::Clock(event)) => Some(event.clone()),
            _ => None,
        })
        .unwrap();
    let placed: Vec<_> = event
        .placed
        .iter()
        .filter(|placed| placed.stream == POLLED)
        .collect();
    assert_eq!(placed.len(), 2, "{placed:?}");
    assert_eq!(
        placed[0].shift, 0,
        "taken under trusted time, sealed without"
    );
    let recovered = &applied[usize::try_from(placed[0].from).unwrap()];
    let ticks = recovered.entry.ticks().unwrap();
    assert_eq!((ticks.first, ticks.count), (MARCH / 1000 + 10, 5));
    assert!(placed[1].shift > 60, "this run's axis stood 83 s later");
}

#[tokio::test]
async fn samples_without_time_are_not_given_one_by_a_later_start() {
    let mut site = Site::new(ManualClock::unset(30_000));
    let mut recorder = site.start().await;
    seconds(&mut recorder, &site.clock, 15).await;
    drop(recorder);
    site.clock = ManualClock::trusted(MARCH, 20_000);
    let mut recorder = site.start().await;
    seconds(&mut recorder, &site.clock, 12).await;
    recorder.close().await.unwrap();
    let applied = site.whole().await;
    let parts = partition(&applied, POLLED);
    let unplaced: u64 = parts
        .iter()
        .filter(|part| part.3.is_none())
        .map(|part| part.1 - part.0)
        .sum();
    assert_eq!(unplaced, 15);
    let placed = applied.iter().any(
        |step| matches!(&step.control, Some(Control::Clock(event)) if !event.placed.is_empty()),
    );
    assert!(!placed, "another run's axis is not placed by this one");
    let first_placed = parts.iter().find(|part| part.3.is_some()).unwrap();
    let begins = (i64::try_from(first_placed.0).unwrap() + first_placed.3.unwrap()) * 1000;
    assert_eq!(begins, i64::try_from(MARCH).unwrap());
}

#[tokio::test]
async fn a_step_is_an_event_and_a_correction_is_not() {
    let mut site = Site::new(ManualClock::trusted(MARCH, 30_000));
    let mut recorder = site.start().await;
    seconds(&mut recorder, &site.clock, 13).await;
    site.clock.step(1_900);
    seconds(&mut recorder, &site.clock, 10).await;
    site.clock.step(-1_500);
    seconds(&mut recorder, &site.clock, 10).await;
    assert!(!controls_of(&mut site).await.contains(&kind::CLOCK));
    site.clock.step(3_600_000);
    seconds(&mut recorder, &site.clock, 13).await;
    site.clock.step(-7_200_000);
    seconds(&mut recorder, &site.clock, 13).await;
    recorder.close().await.unwrap();
    let applied = site.whole().await;
    let events = controls(&applied)
        .into_iter()
        .filter(|&control| control == kind::CLOCK)
        .count();
    assert_eq!(events, 2);
    for stream in [POLLED, MESSAGES] {
        let parts = partition(&applied, stream);
        assert!(
            parts.windows(2).all(|pair| pair[0].1 == pair[1].0),
            "{parts:?}"
        );
        let shifts: Vec<i64> = parts.iter().map(|part| part.3.unwrap()).collect();
        let mut distinct = shifts.clone();
        distinct.dedup();
        assert_eq!(distinct.len(), 3, "{shifts:?}");
        assert!(distinct[1] - distinct[0] >= 3_600 && distinct[2] - distinct[1] <= -7_195);
    }
}

async fn controls_of(site: &mut Site) -> Vec<u64> {
    controls(&site.whole().await)
}

#[tokio::test]
async fn a_clock_that_went_back_between_two_runs_gets_a_new_place() {
    let mut site = Site::new(ManualClock::trusted(MARCH, 30_000));
    let mut recorder = site.start().await;
    seconds(&mut recorder, &site.clock, 20).await;
    recorder.close().await.unwrap();
    site.clock = ManualClock::trusted(MARCH - 3_600_000, 10_000);
    let mut recorder = site.start().await;
    seconds(&mut recorder, &site.clock, 5).await;
    recorder.close().await.unwrap();
    let applied = site.whole().await;
    assert!(controls(&applied).contains(&kind::CLOCK));
    let last = *partition(&applied, POLLED).last().unwrap();
    let begins = (i64::try_from(last.0).unwrap() + last.3.unwrap()) * 1000;
    assert_eq!(begins, i64::try_from(MARCH).unwrap() - 3_600_000);
}

#[tokio::test]
async fn a_suspended_gateway_declares_a_gap() {
    let mut site = Site::new(ManualClock::trusted(MARCH, 30_000));
    let mut recorder = site.start().await;
    seconds(&mut recorder, &site.clock, 5).await;
    site.clock.advance(3 * 3_600_000);
    let tick = MARCH / 1000 + 3 * 3_600 + 5;
    site.clock.advance(1_000);
    recorder.record(tick, samples(tick)).await.unwrap();
    recorder.close().await.unwrap();
    let parts = partition(&site.whole().await, POLLED);
    let first = MARCH / 1000;
    assert_eq!(
        parts,
        [
            (first, first + 5, None, Some(0)),
            (first + 5, tick, Some(GapReason::Startup), Some(0)),
            (tick, tick + 1, None, Some(0)),
        ]
    );
}

#[tokio::test]
async fn a_log_begun_without_time_has_its_streams_placed_by_the_first_event() {
    let mut site = Site::new(ManualClock::unset(10_000));
    let mut recorder = site.start().await;
    seconds(&mut recorder, &site.clock, 3).await;
    site.clock.set(MARCH, ClockStatus::Gnss);
    seconds(&mut recorder, &site.clock, 12).await;
    recorder.close().await.unwrap();
    let mut recorder = site.start().await;
    seconds(&mut recorder, &site.clock, 3).await;
    recorder.close().await.unwrap();
    let applied = site.whole().await;
    let events = controls(&applied)
        .into_iter()
        .filter(|&control| control == kind::CLOCK)
        .count();
    assert_eq!(events, 1, "a restart with trusted time needs no new place");
}
