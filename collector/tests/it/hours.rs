//! Hourly aggregates when segments do not come in the order of their time: always those of the
//! readings in that order, and `verify` computes the same.

use collector::inspect::inspect;
use evidence::aggregate::HourAggregate;
use evidence::control::{ClockEvent, Control, Placed};
use evidence::entry::{Boot, ClockReading, ClockStatus};

use crate::bed::{Bed, NOW, Serving};
use crate::checks::{assert_whole, located};
use crate::edge::{Edge, FIRST_TICK};
use crate::on_both;

/// Reboots a gateway into a time without a clock.
fn reboot(edge: &mut Edge) {
    let counter = edge.boot.counter + 1;
    edge.boot = Boot {
        counter,
        id: [u8::try_from(counter).unwrap(); 8],
        monotonic_ms: 0,
    };
    edge.clock = ClockReading {
        unix_ms: 5,
        status: ClockStatus::Unset,
        error_ms: 0,
    };
}

/// The clock comes back: a new shift, and entries `placed` by it.
fn learn_time(edge: &mut Edge, shift: i64, placed: Option<(u64, u64)>) {
    edge.clock = ClockReading {
        unix_ms: NOW.unsigned_abs(),
        status: ClockStatus::Ntp,
        error_ms: 5,
    };
    let placed = placed.map(|(from, to)| Placed {
        stream: 0,
        from,
        to,
        shift,
    });
    edge.seal_control(Control::Clock(ClockEvent {
        source: ClockStatus::Ntp,
        error_ms: 5,
        shifts: vec![(0, shift)],
        placed: placed.into_iter().collect(),
        note: String::new(),
    }));
}

/// Sends everything, in uploads of at most so many entries.
async fn send_all(edge: &Edge, serving: &Serving, step: usize) {
    let count = edge.entries.len();
    for from in (1..count).step_by(step) {
        edge.deliver(serving, from, count.min(from + step)).await;
    }
}

/// The one hour of the one point is that of these readings, one a second from `NOW` plus so many
/// seconds on, in the order given.
async fn assert_hour(bed: &Bed, edge: &Edge, segments: &[(i64, &[i64])]) {
    let log = located(bed, edge).await;
    let hours = bed.store.hours(log, 0, 0, 0..i64::MAX).await.unwrap();
    assert_eq!(hours.len(), 1);
    let hour = HourAggregate::decode(&hours[0].data).unwrap();
    let values: Vec<i64> = segments
        .iter()
        .flat_map(|(_, values)| values.to_vec())
        .collect();
    let steps = values.windows(2).map(|pair| pair[1] - pair[0]);
    let rises: i64 = steps.clone().filter(|step| *step > 0).sum();
    let resets = steps.filter(|step| *step < 0).count();
    assert_eq!(
        (hour.rises, hour.resets),
        (i128::from(rises), resets as u64)
    );
    assert_eq!(hour.good(), values.len() as u64);
    let first = segments
        .iter()
        .map(|(at, values)| (NOW + at * 1000, values[0]))
        .min();
    assert_eq!(hour.first, first);
    let found = inspect(&bed.store, log, &bed.witness)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.damage, Vec::<String>::new());
    assert_whole(bed, edge).await;
}

on_both! {
    async fn placed_segments_between_others_count_where_they_belong(bed: &Bed) {
        // In one upload, and entry by entry.
        for step in [99, 1] {
            let serving = bed.serve();
            let mut edge = Edge::new(&format!("example.com/{}/{step}", bed.unique));
            let answer: serde_json::Value =
                edge.enrol(&serving, &bed.code().await).await.json().await.unwrap();
            answer["token"].as_str().unwrap().clone_into(&mut edge.token);
            edge.seal_control(Control::Config(crate::edge::table().into()));
            edge.seal_data(&[100, 101]);
            reboot(&mut edge);
            edge.seal_data(&[90, 95, 96]);
            edge.seal_data(&[98]);
            learn_time(&mut edge, 10, Some((3, 4)));
            edge.seal_data(&[97, 99]);
            send_all(&edge, &serving, step).await;
            let order: &[(i64, &[i64])] = &[(0, &[100, 101]), (12, &[90, 95, 96, 98]), (16, &[97, 99])];
            assert_hour(bed, &edge, order).await;
            serving.stop().await;
        }
    }

    async fn segments_placed_before_others_count_before_them(bed: &Bed) {
        let serving = bed.serve();
        let mut edge = Edge::enrolled(bed, &serving).await;
        // Ten minutes into the hour.
        learn_time(&mut edge, 600, None);
        edge.seal_data(&[100, 101]);
        edge.seal_data(&[103]);
        reboot(&mut edge);
        edge.seal_data(&[90, 95]);
        edge.deliver(&serving, 1, 5).await;
        learn_time(&mut edge, 598, Some((5, 5)));
        edge.seal_data(&[104]);
        edge.deliver(&serving, 5, edge.entries.len()).await;
        // Placed at 601 s, beside the first segment and before the second; the last one at 603 s.
        let order: &[(i64, &[i64])] =
            &[(600, &[100, 101]), (601, &[90, 95]), (602, &[103]), (603, &[104])];
        assert_hour(bed, &edge, order).await;
        serving.stop().await;
    }

    async fn segments_sealed_after_the_clock_went_back_count_where_they_belong(bed: &Bed) {
        let serving = bed.serve();
        let mut edge = Edge::enrolled(bed, &serving).await;
        learn_time(&mut edge, 600, None);
        edge.seal_data(&[100, 101]);
        edge.seal_data(&[103]);
        edge.deliver(&serving, 1, 5).await;
        learn_time(&mut edge, 300, None);
        edge.seal_data(&[70, 80]);
        edge.deliver(&serving, 5, 7).await;
        edge.seal_data(&[85]);
        edge.deliver(&serving, 7, 8).await;
        let order: &[(i64, &[i64])] =
            &[(303, &[70, 80]), (305, &[85]), (600, &[100, 101]), (602, &[103])];
        assert_hour(bed, &edge, order).await;
        serving.stop().await;
    }
}

#[test]
fn a_stored_time_that_was_altered_is_found() {
    crate::bed::on_sqlite(async |bed| {
        let serving = bed.serve();
        let mut edge = Edge::enrolled(bed, &serving).await;
        edge.seal_data(&[1, 2, 3]);
        edge.deliver(&serving, 1, 2).await;
        serving.stop().await;
        let log = located(bed, &edge).await;
        let head = bed.store.head(log).await.unwrap().unwrap();
        let (entry, payload) = edge.entries[2].clone();
        let from = i64::try_from(FIRST_TICK).unwrap() * 1000;
        let append = store::Append {
            log,
            old_size: 2,
            new_size: 3,
            new_root: edge.root_at(3).0,
            chain: edge.chain.encode(),
            rows: vec![store::NewRow {
                index: 2,
                leaf: evidence::hash::leaf_hash(&entry).0,
                kind: 1,
                entry,
                payload: Some(payload),
                segment: Some(store::Segment {
                    stream: 0,
                    first_tick: FIRST_TICK,
                    ticks: 3,
                    time_ms: Some((from + 1000, from + 4000)),
                }),
            }],
            hours: Vec::new(),
            replaced: Vec::new(),
            merge: |_stored, _later| Err("there is nothing to merge".to_owned()),
            placements: Vec::new(),
            note: head.note,
            cosigned_s: head.log.cosigned_s,
            trail: false,
            now_ms: NOW,
        };
        bed.store.append(&append).await.unwrap();
        let found = inspect(&bed.store, log, &bed.witness)
            .await
            .unwrap()
            .unwrap();
        let said = |words: &str| found.damage.iter().any(|damage| damage.contains(words));
        assert!(
            said("entry 2: its stored time is wrong"),
            "{:?}",
            found.damage
        );
    });
}
