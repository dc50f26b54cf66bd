//! What a device lost of its log comes back from the collector, byte by byte, or not at all.

use std::sync::Arc;

use evidence::control::Control;
use gateway::clock::ManualClock;
use gateway::collector as client;
use gateway::delivery::{Delivery, DeliveryParts, Outcome, Progress};
use gateway::faults::NoFaults;
use gateway::recorder::{Recorder, RecorderError, Surroundings};
use gateway::restore::{RestoreError, restore};
use ring::rand::SystemRandom;

use crate::collector::{Collector, TOKEN};
use crate::support::{MARCH, POLLED, Site, partition, seconds};

fn client_of(site: &Site, collector: &Collector) -> client::Collector {
    let (origin, clock) = (&site.settings.origin, Arc::new(site.clock.clone()));
    let (pin, token) = (Some(collector.pin), Some(TOKEN.to_owned()));
    client::Collector::new(&collector.config(), origin, pin, token, clock).unwrap()
}

async fn deliver(site: &Site, collector: &Collector, recorder: &Recorder) {
    let mut delivery = Delivery::new(DeliveryParts {
        collector: client_of(site, collector),
        origin: site.settings.origin.clone(),
        independent: Vec::new(),
        witness: collector.witness.clone(),
        reader: recorder.reader(),
        released: recorder.released(),
        outcome: Outcome::load(site.dir.path()),
        data_dir: site.dir.path().to_owned(),
        clock: Arc::new(site.clock.clone()),
        random: Arc::new(SystemRandom::new()),
    });
    while delivery.step().await != Progress::Idle {}
}

async fn bring_back(site: &Site, collector: &Collector) -> Result<(u64, u64), RestoreError> {
    let around = Surroundings {
        clock: Arc::new(site.clock.clone()),
        os_boot: site.os_boot.clone(),
        faults: Arc::new(NoFaults),
    };
    let client = client_of(site, collector);
    restore(&site.settings, &around, &client, &collector.witness).await
}

#[tokio::test]
async fn a_lost_newest_file_comes_back_and_the_log_goes_on_behind_it() {
    let mut site = Site::new(ManualClock::trusted(MARCH - 20_000, 5_000));
    let collector = Collector::start(&site.settings.origin);
    let mut recorder = site.start().await;
    seconds(&mut recorder, &site.clock, 60).await;
    site.left.take_from(&recorder).await;
    recorder.close().await.unwrap();
    let recorder = site.start().await;
    deliver(&site, &collector, &recorder).await;
    let size = recorder.status().size;
    site.left.take_from(&recorder).await;
    recorder.close().await.unwrap();
    std::fs::remove_file(site.log_dir().join("log-2026-03-01.db")).unwrap();
    assert!(matches!(
        site.try_start().await,
        Err(RecorderError::HeadBehind { .. })
    ));
    let (before, after) = bring_back(&site, &collector).await.unwrap();
    assert!(before < after);
    assert_eq!(after, size);
    let mut recorder = site.start().await;
    seconds(&mut recorder, &site.clock, 20).await;
    recorder.close().await.unwrap();
    // `whole` also compares with every byte that left before.
    let applied = site.whole().await;
    assert!(u64::try_from(applied.len()).unwrap() > size);
    let parts = partition(&applied, POLLED);
    assert!(
        parts.windows(2).all(|pair| pair[0].1 == pair[1].0),
        "{parts:?}"
    );
}

/// Seals for so many seconds, delivers, stops, and changes one byte of an entry on disk.
async fn damaged(for_seconds: u32) -> (Site, Collector) {
    let site = Site::new(ManualClock::trusted(MARCH, 5_000));
    let collector = Collector::start(&site.settings.origin);
    let mut recorder = site.start().await;
    seconds(&mut recorder, &site.clock, for_seconds).await;
    deliver(&site, &collector, &recorder).await;
    recorder.close().await.unwrap();
    let newest = site.log_dir().join("log-2026-03-01.db");
    let mut bytes = std::fs::read(&newest).unwrap();
    let signed = collector.inner().entries[3].0.clone();
    let end = &signed[signed.len() - 60..];
    // Every copy: a page may hold stale ones beside the row.
    let copies: Vec<usize> = (0..bytes.len() - end.len())
        .filter(|&at| bytes[at..].starts_with(end))
        .collect();
    assert!(!copies.is_empty());
    for at in copies {
        bytes[at] ^= 1;
    }
    gateway::durable::write_file(&newest, &bytes, gateway::durable::Access::All).unwrap();
    assert!(matches!(
        site.try_start().await,
        Err(RecorderError::Damaged { .. })
    ));
    (site, collector)
}

#[tokio::test]
async fn a_damaged_newest_file_is_set_aside_and_its_rows_come_back() {
    let (mut site, collector) = damaged(30).await;
    bring_back(&site, &collector).await.unwrap();
    assert!(
        site.dir
            .path()
            .join("quarantine/0001-log-2026-03-01.db")
            .exists()
    );
    let mut recorder = site.start().await;
    seconds(&mut recorder, &site.clock, 12).await;
    recorder.close().await.unwrap();
    let parts = partition(&site.whole().await, POLLED);
    assert!(
        parts.windows(2).all(|pair| pair[0].1 == pair[1].0),
        "{parts:?}"
    );
}

#[tokio::test]
async fn what_the_collector_never_had_is_not_made_up() {
    // The segment of the last five seconds was sealed by the stop, after the delivery.
    let (site, collector) = damaged(35).await;
    let refused = bring_back(&site, &collector).await;
    assert!(matches!(refused, Err(RestoreError::TooShort { .. })));
    assert!(refused.unwrap_err().to_string().contains("init --after"));
}

#[tokio::test]
async fn an_old_copy_of_the_device_fetches_what_it_sealed_since() {
    let mut site = Site::new(ManualClock::trusted(MARCH, 5_000));
    let collector = Collector::start(&site.settings.origin);
    let mut recorder = site.start().await;
    seconds(&mut recorder, &site.clock, 20).await;
    recorder.close().await.unwrap();
    let copy = tempfile::tempdir().unwrap();
    copy_all(site.dir.path(), copy.path());
    let mut recorder = site.start().await;
    seconds(&mut recorder, &site.clock, 40).await;
    deliver(&site, &collector, &recorder).await;
    let size = recorder.status().size;
    drop(recorder);
    // The card fails; the copy of an hour ago is put in.
    std::fs::remove_dir_all(site.dir.path()).unwrap();
    copy_all(copy.path(), site.dir.path());
    let (before, after) = bring_back(&site, &collector).await.unwrap();
    assert!(before < after && after == size);
    let mut recorder = site.start().await;
    seconds(&mut recorder, &site.clock, 20).await;
    deliver(&site, &collector, &recorder).await;
    recorder.close().await.unwrap();
    site.whole().await;
}

fn copy_all(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_all(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn a_log_that_cannot_be_continued_has_a_successor_that_names_it() {
    let old = Site::new(ManualClock::trusted(MARCH, 5_000));
    let mut recorder = old.start().await;
    seconds(&mut recorder, &old.clock, 20).await;
    let last_leaf = *recorder.log().chain().previous().unwrap();
    let last_index = recorder.status().size - 1;
    drop(recorder);
    let mut site = Site::new(old.clock.clone());
    let around = Surroundings {
        clock: Arc::new(site.clock.clone()),
        os_boot: site.os_boot.clone(),
        faults: Arc::new(NoFaults),
    };
    let recovery = Control::Recovery {
        origin: "example.com/gw/old".to_owned(),
        last_index,
        last_leaf,
        reason: "the card failed".to_owned(),
    };
    let begun = Recorder::begin_log(site.settings.clone(), around, Some(recovery.clone()));
    begun.await.unwrap();
    let mut recorder = site.start().await;
    seconds(&mut recorder, &site.clock, 12).await;
    recorder.close().await.unwrap();
    let applied = site.whole().await;
    assert!(
        applied
            .iter()
            .any(|step| step.control.as_ref() == Some(&recovery))
    );
}
