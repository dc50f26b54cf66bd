//! Full disks and byte limits: said, recorded, and nothing corrupted.

use std::path::Path;
use std::process::Command;

use evidence::control::{Control, kind};
use evidence::entry::{Body, GapReason};
use gateway::buffer::LogReader;
use gateway::clock::ManualClock;
use gateway::config::FullPolicy;
use gateway::recorder::RecorderError;

use crate::support::{MARCH, MESSAGES, POLLED, Site, controls, partition, second, seconds};

#[tokio::test]
async fn with_policy_stop_a_full_buffer_stops_recording_and_the_gap_says_why() {
    let mut site = Site::new(ManualClock::trusted(MARCH, 5_000));
    site.settings.limits.max_bytes = 200_000;
    site.settings.limits.ballast_bytes = 0;
    let mut recorder = site.start().await;
    let mut lasted = 0_u64;
    while recorder.status().stalled_since_ms.is_none() {
        second(&mut recorder, &site.clock).await.unwrap();
        lasted += 1;
        assert!(lasted < 10_000, "the limit never came");
    }
    let stopped_at = recorder.status().size;
    seconds(&mut recorder, &site.clock, 120).await;
    assert_eq!(
        recorder.status().size,
        stopped_at,
        "nothing is recorded while there is no room"
    );
    drop(recorder);
    site.settings.limits.max_bytes = 1_000;
    let refused = site.try_start().await.err().unwrap();
    assert!(matches!(refused, RecorderError::NoRoom(_)), "{refused}");
    // Restarted with a larger limit, as an operator would.
    site.settings.limits.max_bytes = 10_000_000;
    let mut recorder = site.start().await;
    seconds(&mut recorder, &site.clock, 30).await;
    recorder.close().await.unwrap();
    let parts = partition(&site.whole().await, POLLED);
    assert!(
        parts.windows(2).all(|pair| pair[0].1 == pair[1].0),
        "{parts:?}"
    );
    let gap = parts.iter().find(|part| part.2.is_some()).unwrap();
    assert_eq!(gap.2, Some(GapReason::Storage));
    let sampled: u64 = parts
        .iter()
        .filter(|part| part.2.is_none())
        .map(|part| part.1 - part.0)
        .sum();
    assert!(sampled >= lasted - 1 + 30, "{sampled} of {lasted} and 30");
}

#[tokio::test]
async fn files_go_when_they_are_old_and_acknowledged_and_not_before() {
    let mut site = Site::new(ManualClock::trusted(MARCH, 5_000));
    site.settings.keep_days = 2;
    let mut recorder = site.start().await;
    for _day in 0..5 {
        seconds(&mut recorder, &site.clock, 12).await;
        site.clock.advance(86_400_000);
    }
    seconds(&mut recorder, &site.clock, 12).await;
    let files = || {
        let names = std::fs::read_dir(site.log_dir()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name.ends_with(".db")).collect();
        names.sort();
        names
    };
    assert_eq!(files().len(), 6, "nothing is acknowledged: {:?}", files());
    let second_file = recorder.log().buffer().files()[1].clone();
    recorder.acknowledge(second_file.end);
    site.clock.advance(3_600_000);
    recorder.tend().await.unwrap();
    assert_eq!(
        files().len(),
        4,
        "two are acknowledged and old: {:?}",
        files()
    );
    recorder.acknowledge(recorder.status().size);
    site.clock.advance(3_600_000);
    recorder.tend().await.unwrap();
    assert_eq!(
        files(),
        ["log-2026-03-05.db", "log-2026-03-06.db"],
        "sealed within two days"
    );
    recorder.close().await.unwrap();
}

#[tokio::test]
async fn when_room_returns_recording_goes_on_behind_a_storage_gap() {
    let mut site = Site::new(ManualClock::trusted(MARCH - 900_000, 5_000));
    // Two files: the first, once acknowledged, may be given up.
    site.settings.limits.max_bytes = 2_000_000;
    site.settings.limits.ballast_bytes = 0;
    let mut recorder = site.start().await;
    while recorder.status().stalled_since_ms.is_none() {
        second(&mut recorder, &site.clock).await.unwrap();
    }
    seconds(&mut recorder, &site.clock, 50).await;
    recorder.acknowledge(recorder.status().size);
    seconds(&mut recorder, &site.clock, 30).await;
    assert_eq!(recorder.status().stalled_since_ms, None);
    recorder.close().await.unwrap();
    let mut reader = LogReader::of_dir(&site.log_dir()).await.unwrap();
    let (first, end) = reader.bounds();
    assert!(first > 0, "the acknowledged file is gone");
    let mut reasons = Vec::new();
    for row in reader.rows(first, end, 10_000, usize::MAX).await.unwrap() {
        let entry = evidence::entry::Entry::parse(&row.entry).unwrap().entry;
        if let Body::Gap { reason, ticks, .. } = entry.body
            && ticks.stream == POLLED
        {
            reasons.push((reason, ticks.count >= 50));
        }
    }
    assert!(reasons.contains(&(GapReason::Storage, true)), "{reasons:?}");
}

#[tokio::test]
async fn with_policy_drop_oldest_payloads_go_and_are_declared_first() {
    let mut site = Site::new(ManualClock::trusted(MARCH, 5_000));
    site.settings.policy = FullPolicy::DropOldest;
    site.settings.limits.max_bytes = 1_500_000;
    let mut recorder = site.start().await;
    for _ in 0..250_u32 {
        second(&mut recorder, &site.clock).await.unwrap();
        let mut samples = Vec::new();
        for _ in 0..12 {
            let mut sample = gateway::sample::PointSample::good(2, 0);
            sample.value = gateway::sample::SampleValue::Text(vec![b'x'; 1_000]);
            samples.push(sample);
        }
        use gateway::clock::Clock as _;
        let now = site.clock.monotonic_ms();
        recorder
            .record_message(MESSAGES, now, samples, None)
            .await
            .unwrap();
        assert_eq!(recorder.status().stalled_since_ms, None, "it makes room");
    }
    recorder.close().await.unwrap();
    let applied = site.whole_with_dropped().await;
    assert!(controls(&applied).contains(&kind::DROPPED));
    let declared: Vec<(u64, u64)> = applied
        .iter()
        .filter_map(|step| match step.control {
            Some(Control::Dropped { from, to, .. }) => Some((from, to)),
            _ => None,
        })
        .collect();
    for step in &applied {
        let is_data = matches!(step.entry.body, Body::Data { .. });
        if is_data && step.segment.is_none() {
            let index = step.entry.index;
            let covered = declared
                .iter()
                .any(|&(from, to)| (from..=to).contains(&index));
            assert!(covered, "the payload of {index} went without a word");
        }
    }
    let parts = partition(&applied, POLLED);
    assert!(
        parts.iter().all(|part| part.2.is_none()),
        "recording never stopped"
    );
}

/// A file system of one megabyte; `None` where it cannot be mounted (needs root).
fn tiny_disk(path: &Path) -> Option<Mounted> {
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .arg(path)
        .status();
    mount
        .is_ok_and(|status| status.success())
        .then(|| Mounted(path.to_owned()))
}

struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        Command::new("umount")
            .arg("-l")
            .arg(&self.0)
            .status()
            .unwrap();
    }
}

#[tokio::test]
async fn a_disk_that_is_really_full_corrupts_nothing() {
    let mut site = Site::new(ManualClock::trusted(MARCH, 5_000));
    let keys = site.dir.path().join("keys");
    let saved: Vec<_> = std::fs::read_dir(&keys)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            (
                path.file_name().unwrap().to_owned(),
                std::fs::read(&path).unwrap(),
            )
        })
        .collect();
    let Some(mounted) = tiny_disk(site.dir.path()) else {
        eprintln!("skipped: no tmpfs can be mounted here; the byte limit is tested instead");
        return;
    };
    std::fs::create_dir(&keys).unwrap();
    for (name, bytes) in saved {
        let path = keys.join(name);
        gateway::durable::write_file(&path, &bytes, gateway::durable::Access::Owner).unwrap();
    }
    // The limits do not know how small the disk is.
    site.settings.limits.ballast_bytes = 0;
    let mut recorder = site.start().await;
    let mut lasted = 0;
    while recorder.status().stalled_since_ms.is_none() {
        second(&mut recorder, &site.clock).await.unwrap();
        lasted += 1;
        assert!(lasted < 20_000, "the disk never filled");
    }
    let left = *recorder.released().borrow();
    site.left.take_from(&recorder).await;
    seconds(&mut recorder, &site.clock, 30).await;
    drop(recorder);
    let grown = Command::new("mount")
        .args(["-o", "remount,size=8m"])
        .arg(site.dir.path())
        .status()
        .unwrap();
    assert!(grown.success());
    let mut recorder = site.start().await;
    seconds(&mut recorder, &site.clock, 30).await;
    recorder.close().await.unwrap();
    let applied = site.whole().await;
    assert!(u64::try_from(applied.len()).unwrap() > left);
    let parts = partition(&applied, POLLED);
    assert!(parts.windows(2).all(|pair| pair[0].1 == pair[1].0));
    drop(mounted);
}

#[tokio::test]
async fn an_unreadable_older_file_is_set_aside_and_the_log_goes_on() {
    let site = Site::new(ManualClock::trusted(MARCH - 20_000, 5_000));
    let mut recorder = site.start().await;
    seconds(&mut recorder, &site.clock, 60).await;
    let size = recorder.status().size;
    recorder.close().await.unwrap();
    let oldest = site.log_dir().join("log-2026-02-28.db");
    gateway::durable::write_file(&oldest, &[0x55; 20_000], gateway::durable::Access::All).unwrap();
    let mut recorder = site.start().await;
    seconds(&mut recorder, &site.clock, 10).await;
    assert!(recorder.status().size > size);
    recorder.close().await.unwrap();
    assert!(
        site.dir
            .path()
            .join("quarantine/0001-log-2026-02-28.db")
            .exists()
    );
    let mut reader = LogReader::of_dir(&site.log_dir()).await.unwrap();
    let (first, end) = reader.bounds();
    let rows = reader.rows(first, end, 10_000, usize::MAX).await.unwrap();
    let named = rows.iter().any(|row| {
        let entry = evidence::entry::Entry::parse(&row.entry).unwrap().entry;
        match entry.body {
            Body::Control {
                kind: kind::ANNOTATION,
                body,
            } => {
                let evidence::entry::ControlBody::Inline(bytes) = body else {
                    return false;
                };
                String::from_utf8_lossy(&bytes).contains("log-2026-02-28.db")
            }
            _ => false,
        }
    });
    assert!(named, "the loss is named in the log");
}

#[tokio::test]
async fn a_lost_newest_file_or_an_old_copy_is_never_continued() {
    let site = Site::new(ManualClock::trusted(MARCH, 5_000));
    let mut recorder = site.start().await;
    seconds(&mut recorder, &site.clock, 25).await;
    recorder.close().await.unwrap();
    let newest = site.log_dir().join("log-2026-03-01.db");
    let kept = std::fs::read(&newest).unwrap();
    site.clock.advance(1_000);
    let mut recorder = site.start().await;
    seconds(&mut recorder, &site.clock, 25).await;
    recorder.close().await.unwrap();
    gateway::durable::write_file(&newest, &kept, gateway::durable::Access::All).unwrap();
    let error = site.try_start().await.err().unwrap().to_string();
    assert!(error.contains("never be signed again"), "{error}");
    std::fs::remove_file(&newest).unwrap();
    let error = site.try_start().await.err().unwrap().to_string();
    assert!(error.contains("never be signed again"), "{error}");
}

#[tokio::test]
async fn a_changed_byte_in_the_newest_file_is_found_at_the_start() {
    let mut site = Site::new(ManualClock::trusted(MARCH, 5_000));
    let mut recorder = site.start().await;
    seconds(&mut recorder, &site.clock, 25).await;
    recorder.close().await.unwrap();
    let row = {
        let mut reader = LogReader::of_dir(&site.log_dir()).await.unwrap();
        reader.row(4).await.unwrap().unwrap()
    };
    let newest = site.log_dir().join("log-2026-03-01.db");
    let mut bytes = std::fs::read(&newest).unwrap();
    let payload = row.payload.unwrap();
    // Every copy: a page may hold stale ones beside the row.
    let copies: Vec<usize> = (0..bytes.len() - payload.len())
        .filter(|&at| bytes[at..].starts_with(&payload))
        .collect();
    for at in copies {
        bytes[at + 8] ^= 1;
    }
    gateway::durable::write_file(&newest, &bytes, gateway::durable::Access::All).unwrap();
    let error = site.try_start().await.err().unwrap().to_string();
    assert!(error.contains("does not verify"), "{error}");
    site.left = crate::support::Left::default();
}
