//! Uploads: stored whole, cosigned, aggregated; repeated without harm.

use evidence::aggregate::HourAggregate;
use evidence::control::{ClockEvent, Control, Placed};
use evidence::entry::{Boot, ClockReading, ClockStatus};
use evidence::wire::{Record, Upload};
use futures_util::StreamExt as _;

use crate::bed::{Bed, NOW, refusal};
use crate::checks::{assert_whole, cosigned_s, located};
use crate::edge::{Edge, FIRST_TICK};
use crate::on_both;

on_both! {
    async fn an_upload_is_stored_cosigned_and_aggregated(bed: &Bed) {
        let serving = bed.serve();
        let mut edge = Edge::enrolled(bed, &serving).await;
        edge.seal_data(&[100, 101, 103]);
        edge.seal_data(&[104; 57]);
        bed.clock.set(NOW + 90_000);
        let ack = edge.deliver(&serving, 1, 4).await;
        assert_eq!(ack.size, 4);
        assert_eq!(cosigned_s(bed, &ack), FIRST_TICK + 90);
        assert_eq!(ack.watch_for_s, 0);
        assert_whole(bed, &edge).await;
        let log = located(bed, &edge).await;
        let hours = bed.store.hours(log, 0, 0, 0..i64::MAX).await.unwrap();
        assert_eq!(hours.len(), 1);
        assert_eq!((hours[0].key.hour, hours[0].key.config), (NOW / 3_600_000, 1));
        let hour = HourAggregate::decode(&hours[0].data).unwrap();
        assert_eq!((hour.good(), hour.rises, hour.max), (60, 4, Some(104)));
        let found = bed.store.segments_between(log, 0, NOW..NOW + 1, None, 9, false).await.unwrap();
        assert_eq!(found.iter().map(|row| row.index).collect::<Vec<_>>(), vec![2]);
        let controls = bed.store.rows_of_kind(log, 100..200, None, 9).await.unwrap();
        assert_eq!(controls.iter().map(|row| row.kind).collect::<Vec<_>>(), vec![101, 102]);
        serving.stop().await;
    }

    async fn a_resent_upload_is_answered_the_same_and_stored_once(bed: &Bed) {
        let serving = bed.serve();
        let mut edge = Edge::enrolled(bed, &serving).await;
        edge.seal_data(&[1, 2, 3]);
        let first = edge.deliver(&serving, 1, 3).await;
        bed.clock.set(NOW + 5000);
        assert_eq!(edge.deliver(&serving, 1, 3).await, first);
        assert_eq!(edge.deliver(&serving, 2, 3).await, first);
        assert_eq!(edge.deliver(&serving, 3, 3).await, first);
        assert_whole(bed, &edge).await;
        let log = located(bed, &edge).await;
        let hours = bed.store.hours(log, 0, 0, 0..i64::MAX).await.unwrap();
        assert_eq!(HourAggregate::decode(&hours[0].data).unwrap().good(), 3);
        serving.stop().await;
    }

    async fn an_upload_that_repeats_and_goes_on_stores_only_what_is_new(bed: &Bed) {
        let serving = bed.serve();
        let mut edge = Edge::enrolled(bed, &serving).await;
        edge.seal_data(&[1, 2, 3]);
        edge.deliver(&serving, 1, 3).await;
        edge.seal_data(&[4, 5]);
        assert_eq!(edge.deliver(&serving, 1, 4).await.size, 4);
        assert_whole(bed, &edge).await;
        serving.stop().await;
    }

    async fn an_upload_ahead_of_the_head_is_told_where_to_resume(bed: &Bed) {
        let serving = bed.serve();
        let mut edge = Edge::enrolled(bed, &serving).await;
        edge.seal_data(&[1]);
        edge.seal_data(&[2]);
        let response = edge.send(&serving, edge.upload(3, 4)).await;
        assert_eq!(response.status(), 409);
        assert_eq!(response.headers()["content-type"], "text/x.tlog.size");
        assert_eq!(response.text().await.unwrap(), "1\n");
        edge.deliver(&serving, 1, 3).await;
        // A question about a size that is behind, with nothing to confirm.
        let response = edge.send(&serving, edge.upload(2, 2)).await;
        assert_eq!(response.status(), 409);
        assert_eq!(response.text().await.unwrap(), "3\n");
        edge.deliver(&serving, 3, 4).await;
        assert_whole(bed, &edge).await;
        serving.stop().await;
    }

    async fn of_two_uploads_at_one_moment_both_are_acknowledged_and_one_is_stored(bed: &Bed) {
        let (one, two) = (bed.serve(), bed.serve());
        let mut edge = Edge::enrolled(bed, &one).await;
        edge.deliver(&one, 1, 2).await;
        for _round in 0..5 {
            let from = edge.entries.len();
            edge.seal_data(&[1; 7]);
            let (first, second) =
                tokio::join!(edge.deliver(&one, from, from + 1), edge.deliver(&two, from, from + 1));
            assert_eq!(first.note, second.note);
            assert_whole(bed, &edge).await;
        }
        one.stop().await;
        two.stop().await;
    }

    async fn segments_sealed_without_a_clock_are_placed_and_aggregated_later(bed: &Bed) {
        let serving = bed.serve();
        let mut edge = Edge::enrolled(bed, &serving).await;
        edge.seal_data(&[10, 11]);
        edge.boot = Boot { counter: 2, id: [2; 8], monotonic_ms: 0 };
        edge.clock = ClockReading { unix_ms: 5, status: ClockStatus::Unset, error_ms: 0 };
        edge.seal_data(&[12, 13, 14]);
        edge.deliver(&serving, 1, 4).await;
        edge.seal_data(&[15; 4]);
        let log = located(bed, &edge).await;
        let good = async || {
            let hours = bed.store.hours(log, 0, 0, 0..i64::MAX).await.unwrap();
            let read = |data: &[u8]| HourAggregate::decode(data).unwrap();
            hours.iter().map(|h| (h.key.hour, read(&h.data).good())).collect::<Vec<_>>()
        };
        assert_eq!(good().await, vec![(NOW / 3_600_000, 2)]);
        // Two hours later by the clock; both unplaced segments, one of them not sent yet.
        let shift = 7200;
        edge.clock = ClockReading {
            unix_ms: (NOW + 7_300_000).unsigned_abs(),
            status: ClockStatus::Ntp,
            error_ms: 5,
        };
        edge.seal_control(Control::Clock(ClockEvent {
            source: ClockStatus::Ntp,
            error_ms: 5,
            shifts: vec![(0, shift)],
            placed: vec![Placed { stream: 0, from: 3, to: 4, shift }],
            note: "the network came up".to_owned(),
        }));
        bed.clock.set(NOW + 7_300_000);
        edge.deliver(&serving, 4, 6).await;
        assert_eq!(good().await, vec![(NOW / 3_600_000, 2), (NOW / 3_600_000 + 2, 7)]);
        let rows = bed.store.rows(log, 3..5, 9, false).await.unwrap();
        let times: Vec<_> = rows.iter().map(|row| row.segment.unwrap().time_ms).collect();
        let at = |ms: i64| NOW + 7_200_000 + ms;
        assert_eq!(times, vec![Some((at(2000), at(5000))), Some((at(5000), at(9000)))]);
        assert_whole(bed, &edge).await;
        serving.stop().await;
    }
}

#[test]
fn an_entry_whose_payload_was_dropped_at_the_edge_is_stored_without_it() {
    crate::bed::on_sqlite(async |bed| {
        let serving = bed.serve();
        let mut edge = Edge::enrolled(bed, &serving).await;
        edge.seal_data(&[1, 2, 3]);
        let note = edge.note_at(3);
        let config = Record {
            entry: &edge.entries[1].0,
            payload: Some(&[]),
        };
        let data = Record {
            entry: &edge.entries[2].0,
            payload: None,
        };
        let upload = Upload {
            old: 1,
            note: &note,
            records: vec![config, data],
        };
        let response = edge.send(&serving, upload.encode().unwrap()).await;
        assert_eq!(response.status(), 200);
        let log = located(bed, &edge).await;
        let row = bed
            .store
            .rows(log, 2..3, 1, true)
            .await
            .unwrap()
            .pop()
            .unwrap();
        assert_eq!((row.payload, row.entry), (None, edge.entries[2].0.clone()));
        assert!(
            bed.store
                .hours_of_log(log, 0..i64::MAX)
                .await
                .unwrap()
                .is_empty()
        );
        serving.stop().await;
    });
}

#[test]
fn a_stop_lets_a_request_under_way_end() {
    crate::bed::on_sqlite(async |bed| {
        let serving = bed.serve();
        let edge = Edge::enrolled(bed, &serving).await;
        // More than the sockets between us hold: when the client asks for the second part, the
        // collector has begun to read the first. Then it is told to stop, and the rest comes.
        let large = vec![0; 15 << 20];
        let (asked, asking) = tokio::sync::oneshot::channel::<()>();
        let (rest, coming) = tokio::sync::oneshot::channel::<Vec<u8>>();
        let first = futures_util::stream::iter(large.chunks(1 << 16).map(<[u8]>::to_vec).map(Ok));
        let first = first
            .collect::<Vec<Result<Vec<u8>, std::io::Error>>>()
            .await;
        let second = futures_util::stream::once(async move {
            asked.send(()).unwrap();
            Ok(coming.await.unwrap())
        });
        let body = futures_util::stream::iter(first).chain(second);
        let post = serving
            .post(&format!("/v1/logs/{}/entries", edge.id()))
            .bearer_auth(&edge.token)
            .body(reqwest::Body::wrap_stream(body));
        let sending = tokio::spawn(post.send());
        asking.await.unwrap();
        let stopping = tokio::spawn(serving.stop());
        rest.send(b"the end".to_vec()).unwrap();
        // Read to its end and judged: zeros are no upload.
        let (status, code, _) = refusal(sending.await.unwrap().unwrap()).await;
        assert_eq!((status, &*code), (400, "upload"));
        stopping.await.unwrap();
    });
}
