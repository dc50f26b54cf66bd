//! Uploads: stored and cosigned whole, or refused with the reason, and one history only.

use collector::Ack;
use evidence::aggregate::HourAggregate;
use evidence::control::{ClockEvent, Control, Placed};
use evidence::cosignature::verify_cosignature;
use evidence::entry::{Boot, ClockReading, ClockStatus};
use evidence::hash::Hash;
use evidence::key::SigningKey;
use evidence::note::Note;
use evidence::wire::{Record, Upload};
use futures_util::StreamExt as _;
use store::LogRef;

use crate::bed::{Bed, NOW, refusal};
use crate::edge::{Edge, FIRST_TICK, table};
use crate::on_both;

fn cosigned_s(bed: &Bed, ack: &Ack) -> u64 {
    let note = Note::parse(ack.note.as_bytes()).unwrap();
    verify_cosignature(&note, &bed.witness).unwrap().unwrap()
}

async fn located(bed: &Bed, edge: &Edge) -> LogRef {
    bed.store.locate(edge.log()).await.unwrap().unwrap().0
}

/// Everything the store has of the log is what the gateway sealed, and is cosigned.
async fn assert_whole(bed: &Bed, edge: &Edge) {
    let log = located(bed, edge).await;
    let head = bed.store.head(log).await.unwrap().unwrap();
    let count = usize::try_from(head.log.size).unwrap();
    assert_eq!(head.log.root, edge.root_at(count).0);
    let rows = bed
        .store
        .rows(log, 0..u64::MAX, 10_000, true)
        .await
        .unwrap();
    assert_eq!(rows.len(), count);
    for (row, (entry, payload)) in rows.iter().zip(&edge.entries) {
        assert_eq!(&row.entry, entry);
        assert_eq!(row.payload.as_deref().unwrap_or_default(), payload);
    }
    let note = Note::parse(&head.note).unwrap();
    assert_eq!(
        verify_cosignature(&note, &bed.witness).unwrap(),
        Some(head.log.cosigned_s)
    );
}

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

    async fn a_second_history_is_refused_and_kept_beside_the_first(bed: &Bed) {
        let serving = bed.serve();
        let mut edge = Edge::enrolled(bed, &serving).await;
        edge.seal_data(&[1, 2, 3]);
        edge.deliver(&serving, 1, 3).await;
        // The same gateway from an older image: another entry at index 2, rightly signed.
        let mut other = Edge::new(edge.chain.origin().as_str());
        other.token.clone_from(&edge.token);
        other.seal_control(Control::Config(table()));
        other.seal_data(&[9, 9, 9]);
        other.seal_data(&[9]);
        let (status, code, reason) = refusal(other.send(&serving, other.upload(1, 4)).await).await;
        assert_eq!((status, &*code), (422, "fork"));
        assert!(reason.contains("entry 2"), "{reason}");
        let kept = bed.store.quarantined(located(bed, &edge).await, 9).await.unwrap();
        assert_eq!(kept.len(), 1);
        let refused = Upload::decode(&kept[0].refused).unwrap();
        assert_eq!((refused.old, refused.records[0].entry), (2, &*other.entries[2].0));
        assert_eq!(kept[0].held.as_ref(), Some(&edge.entries[2].0));
        assert_whole(bed, &edge).await;
        // Nor does a bare checkpoint of the other history get in, whatever its size.
        for size in [3, 2] {
            let note = edge.note_of(size, Hash([5; 32]));
            let upload = Upload { old: size, note: &note, records: Vec::new() }.encode().unwrap();
            let (status, code, _) = refusal(edge.send(&serving, upload).await).await;
            assert_eq!((status, &*code), (422, "fork"));
        }
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
fn a_cosignature_never_goes_back_in_time_and_a_trail_note_is_kept_an_hour() {
    crate::bed::on_sqlite(async |bed| {
        let serving = bed.serve();
        let mut edge = Edge::enrolled(bed, &serving).await;
        let mut times = Vec::new();
        let mut trails = Vec::new();
        let mut from = 1;
        for at in [
            NOW + 60_000,
            NOW + 30_000,
            NOW + 120_000,
            NOW + 3_600_000,
            NOW + 3_700_000,
        ] {
            bed.clock.set(at);
            edge.seal_data(&[1]);
            let ack = edge.deliver(&serving, from, edge.entries.len()).await;
            from = edge.entries.len();
            times.push(cosigned_s(bed, &ack) - FIRST_TICK);
            trails.push(ack.trail.unwrap());
        }
        assert_eq!(times, vec![60, 60, 120, 3600, 3700]);
        trails.dedup();
        assert_eq!(trails.len(), 2);
        let kept = bed
            .store
            .trail_notes(located(bed, &edge).await, 0..i64::MAX)
            .await
            .unwrap();
        let kept: Vec<_> = kept.iter().map(|note| note.at_ms - NOW).collect();
        assert_eq!(kept, vec![0, 3_600_000]);
        serving.stop().await;
    });
}

/// A wrong upload: what it is, its bytes, and the status, code and words it must be refused with.
type Wrong = (&'static str, Vec<u8>, u16, &'static str, &'static str);

/// An upload of configuration and data with these instead of what was sealed.
fn forged(edge: &Edge, config: &[u8], entry: &[u8], payload: &[u8]) -> Vec<u8> {
    let config = Record {
        entry: &edge.entries[1].0,
        payload: Some(config),
    };
    let data = Record {
        entry,
        payload: Some(payload),
    };
    Upload {
        old: 1,
        note: &edge.note_at(3),
        records: vec![config, data],
    }
    .encode()
    .unwrap()
}

fn wrong_uploads(edge: &mut Edge) -> Vec<Wrong> {
    let good = edge.upload(1, 3);
    let own = std::mem::replace(&mut edge.log_key, SigningKey::from_seed([77; 32]));
    let foreign = edge.upload(1, 3);
    edge.log_key = own;
    let edge = &*edge;
    let changed = |bytes: &[u8], at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1;
        bytes
    };
    let (entry, payload) = &edge.entries[2];
    let other_size = edge.upload_with(1, 3, &edge.note_at(2));
    let other_root = edge.upload_with(1, 3, &edge.note_of(3, Hash([3; 32])));
    let signature = forged(edge, &[], &changed(entry, entry.len() - 1), payload);
    let altered = forged(edge, &[], entry, &changed(payload, 8));
    let surplus = forged(edge, b"surplus", entry, payload);
    vec![
        ("no upload", b"hello".to_vec(), 400, "upload", "FSU1"),
        (
            "cut short",
            good[..good.len() - 1].to_vec(),
            400,
            "upload",
            "ends early",
        ),
        (
            "another key's checkpoint",
            foreign,
            403,
            "signature",
            "no signature by a known key",
        ),
        (
            "the checkpoint of another size",
            other_size,
            400,
            "checkpoint",
            "covers 2 entries",
        ),
        ("another root", other_root, 422, "root", "lead to root"),
        ("an altered signature", signature, 422, "E06", "entry 2"),
        ("an altered payload", altered, 422, "E15", "entry 2"),
        (
            "a payload where none was signed",
            surplus,
            422,
            "E14",
            "entry 1",
        ),
    ]
}

#[test]
fn every_kind_of_wrong_upload_is_refused_by_name_and_changes_nothing() {
    crate::bed::on_sqlite(async |bed| {
        let serving = bed.serve();
        let mut edge = Edge::enrolled(bed, &serving).await;
        edge.seal_data(&[1, 2, 3]);
        let log = located(bed, &edge).await;
        let wrong = wrong_uploads(&mut edge);
        for (count, (what, upload, status, code, words)) in (1..).zip(wrong) {
            let (found, found_code, text) = refusal(edge.send(&serving, upload).await).await;
            assert_eq!((found, &*found_code), (status, code), "{what}: {text}");
            assert!(text.contains(words), "{what}: {text}");
            assert_eq!(bed.store.log(log).await.unwrap().unwrap().size, 1, "{what}");
            let kept = bed.store.quarantined(log, 99).await.unwrap();
            assert_eq!(kept.len(), count, "{what}");
            assert!(
                kept.iter()
                    .any(|kept| kept.code == code && kept.reason == text),
                "{what}"
            );
        }
        // And the good one still enters.
        edge.deliver(&serving, 1, 3).await;
        assert_whole(bed, &edge).await;
        serving.stop().await;
    });
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
fn no_single_changed_byte_of_an_upload_gets_in() {
    crate::bed::on_sqlite(async |bed| {
        let mut config = bed.config.clone();
        config.limits.uploads_per_minute = 60_000;
        let serving = bed.serve_with(config);
        let mut edge = Edge::enrolled(bed, &serving).await;
        edge.seal_data(&[1, 2, 3]);
        let log = located(bed, &edge).await;
        let good = edge.upload(1, 3);
        for at in 0..good.len() {
            let mut changed = good.clone();
            changed[at] ^= 1 << (at % 8);
            let response = edge.send(&serving, changed).await;
            let status = response.status().as_u16();
            assert!(
                matches!(status, 400 | 403 | 409 | 422),
                "byte {at}: {status}"
            );
        }
        assert_eq!(bed.store.log(log).await.unwrap().unwrap().size, 1);
        edge.deliver(&serving, 1, 3).await;
        assert_whole(bed, &edge).await;
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
