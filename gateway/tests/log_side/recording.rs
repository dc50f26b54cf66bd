//! Recording in fair weather: segments, restarts, gaps, past periods.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use evidence::control::kind;
use evidence::entry::ClockStatus;
use evidence::entry::GapReason;
use evidence::quality::Quality;
use gateway::clock::{Clock as _, ManualClock};
use gateway::recorder::RecorderError;
use gateway::sample::{Ack, PointSample, SampleValue, TickSamples};

use crate::support::{
    MARCH, MESSAGES, POLLED, Site, controls, partition, samples, second, seconds,
};

#[tokio::test]
async fn segments_end_at_their_multiples_and_hold_what_was_read() {
    let mut site = Site::new(ManualClock::trusted(MARCH + 3_000, 5_000));
    let mut recorder = site.start().await;
    seconds(&mut recorder, &site.clock, 25).await;
    recorder.close().await.unwrap();
    let applied = site.whole().await;
    let first = MARCH / 1000;
    let expected = vec![
        (first + 3, first + 10, None, Some(0)),
        (first + 10, first + 20, None, Some(0)),
        (first + 20, first + 28, None, Some(0)),
    ];
    assert_eq!(partition(&applied, POLLED), expected);
    assert_eq!(
        partition(&applied, MESSAGES),
        expected,
        "silence is stated, too"
    );
    assert_eq!(
        controls(&applied),
        [kind::GENESIS, kind::SOFTWARE, kind::CONFIG]
    );
    for segment in applied.iter().filter_map(|step| step.segment.as_ref()) {
        for column in &segment.columns {
            assert!(column.all_good());
            if segment.ticks.stream == POLLED && column.point == 1 {
                let read: Vec<i64> = (segment.ticks.first..segment.ticks.end())
                    .map(|tick| i64::try_from(tick % 30_000).unwrap())
                    .collect();
                assert_eq!(column.values, read);
            }
        }
    }
}

#[tokio::test]
async fn a_missed_tick_is_a_quality_and_a_stop_is_a_gap() {
    let mut site = Site::new(ManualClock::trusted(MARCH, 5_000));
    let mut recorder = site.start().await;
    let first = MARCH / 1000;
    seconds(&mut recorder, &site.clock, 4).await;
    site.clock.advance(3_000);
    seconds(&mut recorder, &site.clock, 5).await;
    recorder.close().await.unwrap();
    // The machine goes on; the gateway is off for 100.4 s.
    site.clock.advance(100_400);
    let mut recorder = site.start().await;
    seconds(&mut recorder, &site.clock, 3).await;
    recorder.close().await.unwrap();
    let applied = site.whole().await;
    let operator = Some(GapReason::Operator);
    assert_eq!(
        partition(&applied, POLLED),
        [
            (first, first + 10, None, Some(0)),
            (first + 10, first + 12, None, Some(0)),
            (first + 12, first + 113, operator, Some(0)),
            (first + 113, first + 115, None, Some(0)),
        ]
    );
    let segment = applied
        .iter()
        .filter_map(|step| step.segment.as_ref())
        .find(|segment| segment.ticks.stream == POLLED && segment.ticks.first == first);
    let column = &segment.unwrap().columns[0];
    let qualities: Vec<Quality> = (0..10).map(|sample| column.quality(sample)).collect();
    for (sample, quality) in qualities.into_iter().enumerate() {
        let missed = (4..7).contains(&sample);
        let expected = if missed {
            Quality::NOT_POLLED
        } else {
            Quality::GOOD
        };
        assert_eq!(quality, expected, "sample {sample}");
    }
}

#[tokio::test]
async fn a_restart_of_machine_or_process_names_its_gap() {
    let mut site = Site::new(ManualClock::trusted(MARCH, 5_000));
    for (boot, expected) in [
        ("boot-a", None),
        ("boot-a", Some(GapReason::Startup)),
        ("boot-b", Some(GapReason::Power)),
    ] {
        site.os_boot = boot.to_owned();
        let mut recorder = site.start().await;
        seconds(&mut recorder, &site.clock, 7).await;
        drop(recorder);
        site.clock.advance(60_000);
        let applied = site.whole().await;
        let last_gap = partition(&applied, POLLED)
            .into_iter()
            .filter_map(|part| part.2)
            .next_back();
        assert_eq!(last_gap, expected);
    }
    let recorder = site.start().await;
    recorder.close().await.unwrap();
    let parts = partition(&site.whole().await, POLLED);
    let sampled: u64 = parts
        .iter()
        .filter(|part| part.2.is_none())
        .map(|part| part.1 - part.0)
        .sum();
    assert_eq!(
        sampled, 21,
        "the journal's samples were sealed by the next start"
    );
    assert!(
        parts.windows(2).all(|pair| pair[0].1 == pair[1].0),
        "the partition is exact"
    );
}

#[tokio::test]
async fn only_one_process_records_into_a_directory() {
    let site = Site::new(ManualClock::trusted(MARCH, 5_000));
    let recorder = site.start().await;
    assert!(matches!(
        site.try_start().await,
        Err(RecorderError::Running(_))
    ));
    recorder.close().await.unwrap();
    site.start().await.close().await.unwrap();
}

#[tokio::test]
async fn messages_keep_their_offsets_and_are_acknowledged_after_the_sync() {
    let mut site = Site::new(ManualClock::trusted(MARCH, 5_000));
    let mut recorder = site.start().await;
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let ack = || {
        let acknowledged = Arc::clone(&acknowledged);
        Some(Ack::new(move || {
            acknowledged.fetch_add(1, Ordering::SeqCst);
        }))
    };
    let now = site.clock.monotonic_ms();
    for (delay, value) in [(100, 1_013), (900, 1_014), (1_500, 1_015)] {
        let sample = PointSample::good(2, value);
        recorder
            .record_message(MESSAGES, now + delay, vec![sample], ack())
            .await
            .unwrap();
    }
    assert_eq!(
        acknowledged.load(Ordering::SeqCst),
        0,
        "nothing is durable yet"
    );
    let mut text = PointSample::good(2, 0);
    text.value = SampleValue::Text(b"1.0155".to_vec());
    recorder
        .record_message(MESSAGES, now + 1_600, vec![text], ack())
        .await
        .unwrap();
    second(&mut recorder, &site.clock).await.unwrap();
    second(&mut recorder, &site.clock).await.unwrap();
    assert_eq!(acknowledged.load(Ordering::SeqCst), 4);
    recorder.close().await.unwrap();
    let applied = site.whole().await;
    let mut segments = applied.iter().filter_map(|step| step.segment.as_ref());
    let segment = segments
        .find(|segment| segment.ticks.stream == MESSAGES)
        .unwrap();
    let column = &segment.columns[0];
    assert_eq!(
        column.offsets_ms.as_deref(),
        Some([100, 900, 1_500, 1_600].as_slice())
    );
    assert_eq!(column.values[..3], [1_013, 1_014, 1_015]);
    assert_eq!(column.quality(3), Quality::OFF_GRID);
    assert_eq!(column.texts.as_ref().unwrap()[3], b"1.0155");
}

#[tokio::test]
async fn a_late_or_repeated_tick_changes_nothing() {
    let mut site = Site::new(ManualClock::trusted(MARCH, 5_000));
    let mut recorder = site.start().await;
    seconds(&mut recorder, &site.clock, 12).await;
    let first = MARCH / 1000;
    for tick in [first + 3, first + 11] {
        let zero = vec![PointSample::good(0, 0), PointSample::good(1, 0)];
        recorder
            .record(
                tick,
                TickSamples {
                    stream: POLLED,
                    samples: zero,
                },
            )
            .await
            .unwrap();
    }
    assert_eq!(recorder.status().late_samples, 2);
    recorder.close().await.unwrap();
    let last = site
        .whole()
        .await
        .into_iter()
        .filter_map(|step| step.segment)
        .next_back();
    assert!(last.is_some());
}

#[tokio::test]
async fn the_entry_key_changes_with_the_utc_day() {
    let mut site = Site::new(ManualClock::trusted(MARCH - 15_000, 5_000));
    let mut recorder = site.start().await;
    let first_key = *recorder.log().chain().entry_key().unwrap();
    seconds(&mut recorder, &site.clock, 45).await;
    assert_ne!(*recorder.log().chain().entry_key().unwrap(), first_key);
    recorder.close().await.unwrap();
    let recorder = site.start().await;
    recorder.close().await.unwrap();
    let applied = site.whole().await;
    let keys = controls(&applied)
        .into_iter()
        .filter(|&control| control == kind::KEY_ADD)
        .count();
    assert_eq!(keys, 1, "once a day, also over a restart");
    let files: Vec<String> = std::fs::read_dir(site.log_dir())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".db"))
        .collect();
    assert_eq!(files.len(), 2, "{files:?}");
}

#[tokio::test]
async fn a_key_that_began_while_the_clock_was_unset_is_replaced_when_the_time_is_known() {
    // The day of the guessed time is the true one: only the entry that named the key tells that nobody
    // knew it then.
    let clock = ManualClock::unset(5_000);
    clock.set(MARCH + 3_600_000, ClockStatus::Unset);
    let mut site = Site::new(clock);
    let mut recorder = site.start().await;
    let first_key = *recorder.log().chain().entry_key().unwrap();
    seconds(&mut recorder, &site.clock, 12).await;
    assert_eq!(*recorder.log().chain().entry_key().unwrap(), first_key);
    site.clock.set(MARCH + 3_630_000, ClockStatus::Ntp);
    seconds(&mut recorder, &site.clock, 12).await;
    let second_key = *recorder.log().chain().entry_key().unwrap();
    assert_ne!(second_key, first_key);
    recorder.close().await.unwrap();
    // Off for three days: one rotation, late, with the first entry.
    site.clock.advance(3 * 86_400_000);
    let recorder = site.start().await;
    assert_ne!(*recorder.log().chain().entry_key().unwrap(), second_key);
    recorder.close().await.unwrap();
    let applied = site.whole().await;
    let keys = controls(&applied)
        .into_iter()
        .filter(|&control| control == kind::KEY_ADD)
        .count();
    assert_eq!(keys, 2);
}

#[tokio::test]
async fn a_past_period_is_recorded_at_sampling_by_a_clock_that_is_moved() {
    let mut site = Site::new(ManualClock::trusted(MARCH, 5_000));
    site.settings.table.streams[0].tick_ms = 10_000;
    site.settings.segment_ms = 300_000;
    site.settings.sync_interval_ms = 60_000;
    let started = Instant::now();
    let mut recorder = site.start().await;
    let days = 2;
    for _ in 0..days * 8_640 {
        let tick = recorder.axes().borrow().streams[&POLLED].tick_at(site.clock.monotonic_ms());
        site.clock.advance(10_000);
        recorder.record(tick, samples(tick)).await.unwrap();
    }
    recorder.tend().await.unwrap();
    recorder.close().await.unwrap();
    eprintln!("{days} days of 10 s ticks took {:?}", started.elapsed());
    let parts = partition(&site.whole().await, POLLED);
    assert_eq!(parts.len(), days * 288);
    assert!(parts.iter().all(|part| part.1 - part.0 == 30));
}

#[tokio::test]
async fn a_flood_of_messages_closes_segments_early_and_loses_none() {
    let mut site = Site::new(ManualClock::trusted(MARCH, 5_000));
    let mut recorder = site.start().await;
    let mut sent = 0_i64;
    for _second in 0..3 {
        let now = site.clock.monotonic_ms();
        for _ in 0..2_600 {
            // Everything that can be said of a value is said: 16 records each.
            let mut sample = PointSample::good(2, sent);
            for code in 32..64 {
                if let Some(quality) = Quality::from_code(code) {
                    sample.flag(quality);
                }
            }
            recorder
                .record_message(MESSAGES, now, vec![sample], None)
                .await
                .unwrap();
            sent += 1;
        }
        second(&mut recorder, &site.clock).await.unwrap();
    }
    recorder.close().await.unwrap();
    let applied = site.whole().await;
    let sealed: Vec<i64> = applied
        .iter()
        .filter_map(|step| step.segment.as_ref())
        .filter(|segment| segment.ticks.stream == MESSAGES)
        .flat_map(|segment| segment.columns[0].values.clone())
        .collect();
    assert_eq!(sealed, (0..sent).collect::<Vec<_>>());
    let parts = partition(&applied, MESSAGES);
    assert!(parts.len() >= 2, "{parts:?}");
    assert!(
        !controls(&applied).contains(&kind::ANNOTATION),
        "all of it encodes"
    );
}
