//! The append: everything or nothing, and one winner.

use store::{Appended, Placement, StoreError, TrailNote};

use crate::bed::{Bed, NOW, append, hour, leaf, root_at, row};
use crate::on_both;

on_both! {
    async fn an_append_moves_the_head_and_is_read_back_byte_for_byte(bed: &Bed) {
        let log = bed.log("example.com/gw/1").await;
        assert_eq!(bed.append(&append(log, 1, 3)).await, Appended::At(4));
        let head = bed.store.head(log).await.unwrap().unwrap();
        assert_eq!((head.log.size, head.log.root), (4, root_at(4)));
        assert_eq!(head.chain, b"chain at 4");
        assert_eq!(head.note, b"note at 4");
        assert_eq!(head.log.cosigned_s, 1_767_225_604);
        assert_eq!(head.log.changed_ms, NOW + 4);
        let rows = bed.store.rows(log, 0..10, 100, true).await.unwrap();
        assert_eq!(rows.len(), 4);
        for (read, written) in rows.iter().zip((0..4).map(row)) {
            assert_eq!(read.index, written.index);
            assert_eq!(read.leaf, written.leaf);
            assert_eq!(read.kind, written.kind);
            assert_eq!(read.entry, written.entry);
            assert_eq!(read.payload, written.payload);
            assert_eq!(read.segment, written.segment);
        }
    }

    async fn an_append_at_the_wrong_size_changes_nothing(bed: &Bed) {
        let log = bed.log("example.com/gw/1").await;
        bed.append(&append(log, 1, 3)).await;
        let mut late = append(log, 1, 5);
        late.hours = vec![hour(1, 490_000, 5)];
        late.trail = true;
        assert_eq!(bed.append(&late).await, Appended::HeadMoved { size: 4 });
        assert_eq!(bed.append(&append(log, 9, 1)).await, Appended::HeadMoved { size: 4 });
        assert_eq!(bed.size(log).await, 4);
        assert_eq!(bed.store.rows(log, 0..100, 100, false).await.unwrap().len(), 4);
        assert!(bed.store.hours_of_log(log, 0..i64::MAX).await.unwrap().is_empty());
        assert_eq!(bed.store.newest_trail_note(log).await.unwrap(), None);
    }

    async fn rows_that_do_not_fit_the_sizes_are_refused(bed: &Bed) {
        let log = bed.log("example.com/gw/1").await;
        for wrong in [
            { let mut a = append(log, 1, 3); a.rows.remove(1); a },
            { let mut a = append(log, 1, 3); a.rows.swap(0, 1); a },
            { let mut a = append(log, 1, 3); a.new_size = 5; a },
            append(log, 1, 0),
        ] {
            assert!(matches!(bed.store.append(&wrong).await, Err(StoreError::Misuse(_))));
        }
        assert_eq!(bed.size(log).await, 1);
    }

    async fn a_cosignature_never_goes_back_in_time(bed: &Bed) {
        let log = bed.log("example.com/gw/1").await;
        let mut early = append(log, 1, 1);
        early.cosigned_s = 1_767_225_600;
        assert!(matches!(bed.store.append(&early).await, Err(StoreError::Misuse(_))));
        assert_eq!(bed.size(log).await, 1);
        early.cosigned_s = 1_767_225_601;
        assert_eq!(bed.append(&early).await, Appended::At(2));
    }

    async fn of_many_appends_at_one_size_exactly_one_wins(bed: &Bed) {
        let log = bed.log("example.com/gw/1").await;
        let other = bed.open_again().await;
        for round in 1..6u64 {
            let old = bed.size(log).await;
            let mut racing = tokio::task::JoinSet::new();
            for racer in 0..8u8 {
                let store = if racer % 2 == 0 { bed.store.clone() } else { other.clone() };
                let mut mine = append(log, old, round);
                mine.rows[0].entry = vec![racer];
                mine.hours = vec![hour(1, 490_000, 1)];
                racing.spawn(async move { (racer, store.append(&mine).await.unwrap()) });
            }
            let outcomes = racing.join_all().await;
            let winners: Vec<_> =
                outcomes.iter().filter(|(_, won)| *won == Appended::At(old + round)).collect();
            assert_eq!(winners.len(), 1, "{outcomes:?}");
            let first = &bed.store.rows(log, old..old + 1, 1, false).await.unwrap()[0];
            assert_eq!(first.entry, vec![winners[0].0]);
        }
        // Five rounds, one winner each: its aggregate counted, and nobody else's.
        let hours = bed.store.hours(log, 3, 1, 0..i64::MAX).await.unwrap();
        assert_eq!(hours, vec![hour(1, 490_000, 5)]);
        other.close().await;
    }

    async fn logs_grow_side_by_side(bed: &Bed) {
        let first = bed.log("example.com/gw/1").await;
        bed.code("c0de0002", first.site).await;
        let enrol = crate::bed::enrol("c0de0002", first.site, "example.com/gw/2");
        bed.store.enrol(&enrol).await.unwrap();
        let second = enrol.genesis.log;
        let mut growing = tokio::task::JoinSet::new();
        for log in [first, second] {
            let store = bed.store.clone();
            growing.spawn(async move {
                for old in 1..20 {
                    assert_eq!(store.append(&append(log, old, 1)).await.unwrap(), Appended::At(old + 1));
                }
            });
        }
        growing.join_all().await;
        assert_eq!((bed.size(first).await, bed.size(second).await), (20, 20));
    }

    async fn aggregates_of_one_hour_are_merged_within_and_across_appends(bed: &Bed) {
        let log = bed.log("example.com/gw/1").await;
        let mut first = append(log, 1, 2);
        first.hours = vec![hour(1, 10, 100), hour(1, 10, 11), hour(2, 10, 7), hour(1, 11, 1)];
        bed.append(&first).await;
        let mut second = append(log, 3, 1);
        second.hours = vec![hour(1, 10, 1000), hour(2, 11, 2)];
        bed.append(&second).await;
        let point = bed.store.hours(log, 3, 1, 10..11).await.unwrap();
        assert_eq!(point, vec![hour(1, 10, 1111)]);
        let all = bed.store.hours_of_log(log, 10..12).await.unwrap();
        assert_eq!(all, vec![hour(1, 10, 1111), hour(1, 11, 1), hour(2, 10, 7), hour(2, 11, 2)]);
        assert!(bed.store.hours(log, 4, 1, 10..11).await.unwrap().is_empty());
    }

    async fn an_aggregate_that_cannot_be_merged_undoes_the_append(bed: &Bed) {
        let log = bed.log("example.com/gw/1").await;
        let mut first = append(log, 1, 1);
        first.hours = vec![hour(1, 10, 1)];
        bed.append(&first).await;
        let mut broken = append(log, 2, 1);
        broken.hours = vec![hour(1, 10, 1)];
        broken.hours[0].data = b"short".to_vec();
        assert!(matches!(bed.store.append(&broken).await, Err(StoreError::Damaged(_))));
        assert_eq!(bed.size(log).await, 2);
        assert_eq!(bed.store.rows(log, 0..9, 9, false).await.unwrap().len(), 2);
        assert_eq!(bed.store.hours(log, 3, 1, 10..11).await.unwrap(), vec![hour(1, 10, 1)]);
    }

    async fn more_rows_and_aggregates_than_one_statement_takes_arrive_whole(bed: &Bed) {
        let log = bed.log("example.com/gw/1").await;
        let mut large = append(log, 1, 1100);
        large.hours = (0..900).map(|point| hour(point, 10, u64::from(point))).collect();
        assert_eq!(bed.append(&large).await, Appended::At(1101));
        let rows = bed.store.rows(log, 1..1101, 2000, true).await.unwrap();
        assert!(rows.iter().map(|row| (row.index, row.leaf)).eq((1..1101).map(|i| (i, leaf(i)))));
        assert_eq!(bed.store.hours_of_log(log, 10..11).await.unwrap(), large.hours);
    }

    async fn a_trail_note_is_kept_when_asked_for(bed: &Bed) {
        let log = bed.log("example.com/gw/1").await;
        let mut first = append(log, 1, 1);
        first.trail = true;
        bed.append(&first).await;
        bed.append(&append(log, 2, 1)).await;
        let kept = TrailNote { at_ms: NOW + 2, size: 2, note: b"note at 2".to_vec() };
        assert_eq!(bed.store.newest_trail_note(log).await.unwrap(), Some(kept.clone()));
        assert_eq!(bed.store.head(log).await.unwrap().unwrap().trail_ms, NOW + 2);
        let witnessed = TrailNote { at_ms: NOW + 9, size: 3, note: b"two cosignatures".to_vec() };
        bed.store.keep_trail_note(log, &witnessed).await.unwrap();
        bed.store.keep_trail_note(log, &TrailNote { note: b"x".to_vec(), ..witnessed.clone() })
            .await
            .unwrap();
        let both = vec![kept.clone(), witnessed.clone()];
        assert_eq!(bed.store.trail_notes(log, NOW..NOW + 10).await.unwrap(), both);
        assert_eq!(bed.store.trail_notes(log, NOW..NOW + 9).await.unwrap(), vec![kept]);
        assert_eq!(bed.store.trail_notes_by_size(log, 3, u64::MAX).await.unwrap(), vec![witnessed]);
    }

    async fn the_newest_trail_note_is_that_of_the_largest_tree_whatever_the_clock_said(bed: &Bed) {
        let log = bed.log("example.com/gw/1").await;
        let kept = |at_ms, size, note: &[u8]| TrailNote { at_ms, size, note: note.to_vec() };
        let ahead = kept(NOW + 315_000_000_000, 2, b"in 2036");
        let right = kept(NOW, 3, b"the next one, at the right time");
        let witnessed = kept(NOW + 1, 3, b"cosigned once more");
        for note in [&ahead, &witnessed, &right] {
            bed.store.keep_trail_note(log, note).await.unwrap();
        }
        assert_eq!(bed.store.newest_trail_note(log).await.unwrap(), Some(witnessed));
    }

    async fn aggregates_made_again_take_the_place_of_the_stored_ones(bed: &Bed) {
        let log = bed.log("example.com/gw/1").await;
        let mut first = append(log, 1, 1);
        first.hours = vec![hour(0, 10, 5), hour(0, 11, 6)];
        bed.append(&first).await;
        let mut second = append(log, 2, 1);
        second.hours = vec![hour(0, 11, 1)];
        second.replaced = vec![hour(0, 10, 2), hour(1, 10, 3)];
        bed.append(&second).await;
        let stored = bed.store.hours_of_log(log, 0..99).await.unwrap();
        assert_eq!(stored, vec![hour(0, 10, 2), hour(0, 11, 7), hour(1, 10, 3)]);
    }

    async fn a_segment_that_has_a_time_is_not_moved_by_a_clock_event(bed: &Bed) {
        let log = bed.log("example.com/gw/1").await;
        bed.append(&append(log, 1, 1)).await;
        let mut event = append(log, 2, 1);
        event.rows[0].segment.as_mut().unwrap().time_ms = None;
        let place = |shift| Placement { stream: 3, from_index: 1, to_index: 2, shift, tick_ms: 500 };
        event.placements = vec![place(1000), place(2000)];
        bed.append(&event).await;
        let rows = bed.store.rows(log, 1..3, 9, false).await.unwrap();
        let times: Vec<_> = rows.iter().map(|row| row.segment.unwrap().time_ms).collect();
        let sealed = Some((NOW + 60_000, NOW + 120_000));
        // (120 + 1000) * 500, by the first of the two.
        assert_eq!(times, vec![sealed, Some((560_000, 590_000))]);
    }

    async fn a_clock_event_gives_earlier_segments_their_time(bed: &Bed) {
        let log = bed.log("example.com/gw/1").await;
        let mut unplaced = append(log, 1, 3);
        for row in &mut unplaced.rows {
            row.segment.as_mut().unwrap().time_ms = None;
        }
        bed.append(&unplaced).await;
        let found = |stream| bed.store.segments_between(log, stream, 0..i64::MAX, None, 9, false);
        assert!(found(3).await.unwrap().is_empty());
        let mut event = append(log, 4, 1);
        event.placements = vec![Placement {
            stream: 3,
            from_index: 1,
            to_index: 2,
            shift: 1000,
            tick_ms: 500,
        }];
        bed.append(&event).await;
        let rows = bed.store.rows(log, 1..4, 9, false).await.unwrap();
        let times: Vec<_> = rows.iter().map(|row| row.segment.unwrap().time_ms).collect();
        // (60 + 1000) * 500 and 60 ticks later; the third stays without a time.
        assert_eq!(times, vec![Some((530_000, 560_000)), Some((560_000, 590_000)), None]);
    }
}
