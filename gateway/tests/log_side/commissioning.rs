//! What a commissioning sheet finds in the log: the value of a moment, and what the device said.

use std::time::Duration;

use gateway::clock::{Clock as _, ManualClock};
use gateway::commission::{FollowError, Follower, Sealed};
use gateway::sample::PointSample;

use crate::support::{MARCH, MESSAGES, Site, seconds};

async fn sealed_at(site: &Site, point: &str, moment_ms: u64) -> Result<Sealed, FollowError> {
    let (dir, origin) = (site.dir.path(), &site.settings.origin);
    let messages = point == "pressure";
    let mut follower = Follower::of(dir, origin, point, messages).await?;
    follower.sealed_at(moment_ms, Duration::ZERO).await
}

#[tokio::test]
async fn a_sparse_message_is_found_with_its_age_also_across_midnight_and_until_it_expires() {
    // A minute before midnight.
    let begin = MARCH + 86_400_000 - 60_000;
    let site = Site::new(ManualClock::trusted(begin, 5_000));
    let mut recorder = site.start().await;
    seconds(&mut recorder, &site.clock, 40).await;
    let came_ms = site.clock.now().unix_ms;
    let sample = PointSample::good(2, 1_013);
    let now = site.clock.monotonic_ms();
    recorder
        .record_message(MESSAGES, now, vec![sample], None)
        .await
        .unwrap();
    seconds(&mut recorder, &site.clock, 100).await;
    recorder.close().await.unwrap();
    assert!(std::fs::read_dir(site.log_dir()).unwrap().count() >= 2);

    let found = sealed_at(&site, "pressure", came_ms + 45_000)
        .await
        .unwrap();
    assert_eq!((found.value, found.age_ms), (Some(1_013), Some(45_000)));
    assert_eq!(found.around, Some((1_013, 1_013)));
    assert_eq!((found.at_ms, found.quality.as_str()), (came_ms, "good"));
    // The configuration lets a value hold for 60 s: then nothing is compared, and it is said.
    let late = sealed_at(&site, "pressure", came_ms + 70_000)
        .await
        .unwrap();
    assert_eq!((late.around, late.age_ms), (None, Some(70_000)));
    assert_eq!(late.quality, "good, but expired: a value holds 60 s");
    let early = sealed_at(&site, "pressure", came_ms - 1).await;
    assert!(
        matches!(early, Err(FollowError::NoMessage { .. })),
        "{early:?}"
    );
    // Beyond what is sealed nobody knows whether another message came.
    let beyond = sealed_at(&site, "pressure", came_ms + 3_600_000).await;
    assert!(
        matches!(beyond, Err(FollowError::NothingSealed { .. })),
        "{beyond:?}"
    );
}

#[tokio::test]
async fn a_slow_point_is_compared_with_everything_within_a_tick_on_both_sides() {
    let mut site = Site::new(ManualClock::trusted(MARCH + 5_000, 5_000));
    site.settings.table.streams[0].tick_ms = 10_000;
    site.settings.segment_ms = 60_000;
    let mut recorder = site.start().await;
    seconds(&mut recorder, &site.clock, 180).await;
    recorder.close().await.unwrap();
    // The middle of a tick; energy counts the ticks.
    let found = sealed_at(&site, "energy", MARCH + 65_000).await.unwrap();
    let value = found.value.unwrap();
    assert_eq!(found.around_ms, 10_000);
    assert_eq!(found.around, Some((value - 1, value + 1)));
    assert_eq!((found.at_ms, found.age_ms), (MARCH + 60_000, None));
    let gone = sealed_at(&site, "energy", MARCH - 3_600_000).await;
    assert!(
        matches!(gone, Err(FollowError::NotRecorded { .. })),
        "{gone:?}"
    );
    let unknown = sealed_at(&site, "voltage", MARCH + 65_000).await;
    assert!(
        matches!(unknown, Err(FollowError::UnknownPoint(_))),
        "{unknown:?}"
    );
}
