//! What a wrong clock may cost: a delay, never a wrong time under the collector's key.

use evidence::entry::ClockStatus;
use reqwest::Response;

use crate::bed::{NOW, refusal};
use crate::checks::{assert_whole, cosigned_s, located};
use crate::edge::{Edge, FIRST_TICK};

/// 2036-01-01T00:00Z.
const YEAR_2036: i64 = 2_082_758_400_000;

/// The wait and the words of an answer that says "later".
async fn later(response: Response) -> (String, String) {
    let after = response.headers().get("retry-after").cloned();
    let (status, code, reason) = refusal(response).await;
    assert_eq!((status, &*code), (503, "later"), "{reason}");
    (after.unwrap().to_str().unwrap().to_owned(), reason)
}

#[test]
fn a_cosignature_states_the_present_or_is_not_made_and_a_trail_note_is_kept_an_hour() {
    crate::bed::on_sqlite(async |bed| {
        let serving = bed.serve();
        let mut edge = Edge::enrolled(bed, &serving).await;
        let mut times = Vec::new();
        let mut trails = Vec::new();
        let mut from = 1;
        for (at, wait) in [
            (NOW + 60_000, None),
            (NOW + 30_000, Some("60")),
            (NOW + 58_000, Some("2")),
            (NOW + 59_999, Some("1")),
            (NOW + 120_000, None),
            (NOW + 3_600_000, None),
            (NOW + 3_700_000, None),
        ] {
            bed.clock.set(at);
            edge.seal_data(&[1]);
            let to = edge.entries.len();
            if let Some(wait) = wait {
                let (after, reason) = later(edge.send(&serving, edge.upload(from, to)).await).await;
                assert_eq!(after, wait);
                assert!(reason.contains("went back"), "{reason}");
                let size = bed.store.log(located(bed, &edge).await).await.unwrap();
                assert_eq!(size.unwrap().size, from as u64);
                continue;
            }
            let ack = edge.deliver(&serving, from, to).await;
            from = to;
            times.push(cosigned_s(bed, &ack) - FIRST_TICK);
            trails.push(ack.trail.unwrap());
        }
        assert_eq!(times, vec![60, 120, 3600, 3700]);
        trails.dedup();
        assert_eq!(trails.len(), 2);
        let log = located(bed, &edge).await;
        let kept = bed.store.trail_notes(log, 0..i64::MAX).await.unwrap();
        let kept: Vec<_> = kept.iter().map(|note| note.at_ms - NOW).collect();
        assert_eq!(kept, vec![0, 3_600_000]);
        assert_whole(bed, &edge).await;
        serving.stop().await;
    });
}

#[test]
fn a_clock_that_jumps_to_2036_for_a_minute_leaves_no_trace() {
    crate::bed::on_sqlite(async |bed| {
        let serving = bed.serve();
        let mut edge = Edge::enrolled(bed, &serving).await;
        let first = edge.deliver(&serving, 1, 2).await;
        edge.seal_data(&[1, 2]);
        bed.clock.step_to(YEAR_2036);
        let (after, reason) = later(edge.send(&serving, edge.upload(2, 3)).await).await;
        assert_eq!(after, "60");
        assert!(reason.contains("was set by more than 60 s"), "{reason}");
        // What was cosigned before is answered as ever, and the operator's probe sees it.
        assert_eq!(edge.deliver(&serving, 1, 2).await, first);
        assert_eq!(serving.get("/healthz").send().await.unwrap().status(), 503);
        let stranger = Edge::new("example.com/stranger");
        later(stranger.enrol(&serving, &bed.code().await).await).await;
        assert_eq!(bed.store.locate(stranger.log()).await.unwrap(), None);
        // Back again: nobody here knows which of the two was right.
        bed.clock.step_to(NOW + 60_000);
        later(edge.send(&serving, edge.upload(2, 3)).await).await;
        serving.stop().await;
        let serving = bed.serve();
        let ack = edge.deliver(&serving, 2, 3).await;
        assert_eq!(cosigned_s(bed, &ack), FIRST_TICK + 60);
        let kept = bed
            .store
            .trail_notes(located(bed, &edge).await, NOW + 1..i64::MAX)
            .await;
        assert_eq!(kept.unwrap(), Vec::new());
        assert_whole(bed, &edge).await;
        serving.stop().await;
    });
}

#[test]
fn a_synchronised_gateway_far_ahead_waits_until_the_clocks_agree() {
    crate::bed::on_sqlite(async |bed| {
        let serving = bed.serve();
        let mut edge = Edge::enrolled(bed, &serving).await;
        edge.clock.unix_ms = NOW.unsigned_abs() + 600_001;
        edge.seal_data(&[1, 2]);
        let (_, reason) = later(edge.send(&serving, edge.upload(1, 3)).await).await;
        assert!(reason.contains("two clocks disagree: entry 2"), "{reason}");
        bed.clock.set(NOW + 1);
        edge.deliver(&serving, 1, 3).await;
        // A clock that runs on its own is no witness against ours, nor is an old entry.
        edge.clock.status = ClockStatus::FreeRunning;
        edge.clock.unix_ms = YEAR_2036.unsigned_abs();
        edge.seal_data(&[3]);
        edge.deliver(&serving, 3, 4).await;
        bed.clock.set(NOW + 86_400_000);
        edge.clock.status = ClockStatus::Gnss;
        edge.clock.unix_ms = NOW.unsigned_abs();
        edge.seal_data(&[4]);
        edge.deliver(&serving, 4, 5).await;
        assert_whole(bed, &edge).await;
        serving.stop().await;
    });
}
