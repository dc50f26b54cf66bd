//! Reading back: pages, time ranges, kinds, tiles, live rows, quarantine.

use store::{Kept, LiveRow, StoreError, Watch};

use crate::bed::{Bed, NOW, append, hash, leaf};
use crate::on_both;

/// RFC 6962's recursion, written as in the specification.
fn tree_root(from: u64, to: u64) -> [u8; 32] {
    if to - from == 1 {
        return leaf(from);
    }
    let split = (to - from).next_power_of_two() / 2;
    hash(&[
        &[1],
        &tree_root(from, from + split),
        &tree_root(from + split, to),
    ])
}

on_both! {
    async fn pages_cover_a_range_without_hole_or_overlap(bed: &Bed) {
        let log = bed.log("example.com/gw/1").await;
        bed.append(&append(log, 1, 49)).await;
        let mut next = 5;
        let mut seen = Vec::new();
        loop {
            let page = bed.store.rows(log, next..45, 7, false).await.unwrap();
            let Some(last) = page.last() else { break };
            next = last.index + 1;
            assert!(page.len() <= 7 && page.iter().all(|row| row.payload.is_none()));
            seen.extend(page.iter().map(|row| row.index));
        }
        assert!(seen.into_iter().eq(5..45));
        assert!(bed.store.rows(log, 50..u64::MAX, 9, true).await.unwrap().is_empty());
    }

    async fn a_time_range_finds_the_segments_that_touch_it(bed: &Bed) {
        let log = bed.log("example.com/gw/1").await;
        bed.append(&append(log, 1, 30)).await;
        // Segment i lies in [NOW + i min, NOW + (i + 1) min).
        let minute = |n: i64| NOW + n * 60_000;
        let indices = async |stream, from, to, after, most| {
            let rows =
                bed.store.segments_between(log, stream, from..to, after, most, true).await.unwrap();
            assert!(rows.iter().all(|row| row.payload.is_some()));
            rows.iter().map(|row| row.index).collect::<Vec<_>>()
        };
        assert_eq!(indices(3, minute(5), minute(8), None, 9).await, vec![5, 6, 7]);
        assert_eq!(indices(3, minute(5) + 1, minute(8) + 1, None, 9).await, vec![5, 6, 7, 8]);
        assert_eq!(indices(3, minute(5), minute(8), Some(5), 1).await, vec![6]);
        assert!(indices(4, minute(5), minute(8), None, 9).await.is_empty());
        assert!(indices(3, minute(31), minute(99), None, 9).await.is_empty());
    }

    async fn a_gap_is_found_however_long_ago_it_began(bed: &Bed) {
        let log = bed.log("example.com/gw/1").await;
        let mut mixed = append(log, 1, 3);
        mixed.rows[1].kind = 2;
        mixed.rows[1].segment.as_mut().unwrap().time_ms = Some((NOW, NOW + 40 * 86_400_000));
        mixed.rows[2].segment.as_mut().unwrap().time_ms =
            Some((NOW + 40 * 86_400_000, NOW + 40 * 86_400_000 + 60_000));
        bed.append(&mixed).await;
        let late = NOW + 39 * 86_400_000;
        let rows = bed.store.segments_between(log, 3, late..late + 1, None, 9, true).await.unwrap();
        assert_eq!(rows.iter().map(|row| (row.index, row.kind)).collect::<Vec<_>>(), vec![(2, 2)]);
        let whole = bed.store.segments_between(log, 3, NOW..i64::MAX, None, 9, true).await.unwrap();
        assert_eq!(whole.len(), 3);
    }

    async fn control_entries_are_found_by_their_kind(bed: &Bed) {
        let log = bed.log("example.com/gw/1").await;
        let mut mixed = append(log, 1, 9);
        mixed.rows[4].kind = 102;
        mixed.rows[6].kind = 109;
        bed.append(&mixed).await;
        let of = async |kinds, after| {
            let rows = bed.store.rows_of_kind(log, kinds, after, 9).await.unwrap();
            rows.iter().map(|row| (row.index, row.kind)).collect::<Vec<_>>()
        };
        assert_eq!(of(100..200, None).await, vec![(0, 101), (5, 102), (7, 109)]);
        assert_eq!(of(100..200, Some(0)).await, vec![(5, 102), (7, 109)]);
        assert_eq!(of(102..103, None).await, vec![(5, 102)]);
    }

    async fn hashes_of_full_tiles_are_the_roots_of_their_leaves(bed: &Bed) {
        let log = bed.log("example.com/gw/1").await;
        // Ends in front of, on, and behind the edges of tiles; some appends complete two.
        let mut size = 1;
        for next in [255, 256, 257, 511, 1024, 1300] {
            bed.append(&append(log, size, next - size)).await;
            size = next;
            let nodes = bed.store.hashes(log, 8, 0, 100).await.unwrap();
            let expected: Vec<_> =
                (0..size / 256).map(|tile| tree_root(tile * 256, (tile + 1) * 256)).collect();
            assert_eq!(nodes, expected, "at size {size}");
        }
        let leaves = bed.store.hashes(log, 0, 1290, 1400).await.unwrap();
        assert!(leaves.into_iter().eq((1290..1300).map(leaf)));
        assert!(bed.store.hashes(log, 16, 0, 9).await.unwrap().is_empty());
        for (level, to) in [(1, 9), (64, 9), (0, 65_537)] {
            assert!(matches!(
                bed.store.hashes(log, level, 0, to).await,
                Err(StoreError::Misuse(_))
            ));
        }
    }

    async fn the_live_row_is_overwritten_and_told_once_per_change(bed: &Bed) {
        let log = bed.log("example.com/gw/1").await;
        let all = bed.store.live_changed_since(i64::MIN).await.unwrap();
        let mut expected = LiveRow {
            log,
            size: 1,
            cosigned_s: 1_767_225_601,
            version: 0,
            changed_ms: NOW + 1,
            body: None,
        };
        assert_eq!(all, vec![expected.clone()]);
        assert_eq!(bed.store.put_live(log, "{\"seq\":1}", NOW + 50).await.unwrap(), 1);
        assert_eq!(bed.store.put_live(log, "{\"seq\":2}", NOW + 60).await.unwrap(), 2);
        expected.version = 2;
        expected.changed_ms = NOW + 60;
        expected.body = Some("{\"seq\":2}".to_owned());
        assert_eq!(bed.store.live_changed_since(NOW + 60).await.unwrap(), vec![expected.clone()]);
        assert!(bed.store.live_changed_since(NOW + 61).await.unwrap().is_empty());
        // A head that moves is a change too: values turn from live to sealed.
        let mut sealed = append(log, 1, 1);
        sealed.now_ms = NOW + 70;
        bed.append(&sealed).await;
        expected.size = 2;
        expected.cosigned_s += 1;
        expected.changed_ms = NOW + 70;
        assert_eq!(bed.store.live_changed_since(NOW + 61).await.unwrap(), vec![expected]);
    }

    async fn a_watch_is_extended_and_never_shortened(bed: &Bed) {
        let log = bed.log("example.com/gw/1").await;
        assert_eq!(bed.store.watched_until(log).await.unwrap(), 0);
        for (until_ms, expected) in [(NOW, NOW), (NOW + 30, NOW + 30), (NOW + 10, NOW + 30)] {
            bed.store.set_watch(Watch { log, until_ms }).await.unwrap();
            assert_eq!(bed.store.watched_until(log).await.unwrap(), expected);
        }
    }

    async fn refused_material_is_kept_once_with_its_reason_and_within_bounds(bed: &Bed) {
        let log = bed.log("example.com/gw/1").await;
        let put = async |at, refused: &[u8], held: Option<&[u8]>| {
            bed.store.quarantine(log, at, "E07", "tick gap", refused, held).await.unwrap()
        };
        assert_eq!(put(NOW, b"bad", Some(b"good")).await, Kept::Everything);
        assert_eq!(put(NOW + 1, b"bad", Some(b"good")).await, Kept::Counted);
        let large = vec![0; 40 << 20];
        assert_eq!(put(NOW + 2, &large, None).await, Kept::Everything);
        let too_much = vec![1; 30 << 20];
        assert_eq!(put(NOW + 3, &too_much, Some(b"held")).await, Kept::ReasonOnly);
        let kept = bed.store.quarantined(log, 9).await.unwrap();
        assert_eq!(kept.len(), 3);
        assert_eq!((kept[0].at_ms, kept[0].last_ms, kept[0].seen), (NOW, NOW + 1, 2));
        assert_eq!((&*kept[0].code, &*kept[0].reason), ("E07", "tick gap"));
        assert_eq!((&*kept[0].refused, kept[0].held.as_deref()), (&b"bad"[..], Some(&b"good"[..])));
        assert_eq!(kept[1].refused, large);
        assert_eq!((&*kept[2].refused, kept[2].held.as_deref()), (&b""[..], None));
    }

    async fn an_absent_log_reads_as_nothing(bed: &Bed) {
        let mut log = bed.log("example.com/gw/1").await;
        log.site = store::SiteId::of_name("elsewhere");
        assert_eq!(bed.store.log(log).await.unwrap(), None);
        assert_eq!(bed.store.head(log).await.unwrap(), None);
        assert!(bed.store.rows(log, 0..9, 9, true).await.unwrap().is_empty());
        assert!(bed.store.hashes(log, 0, 0, 9).await.unwrap().is_empty());
    }
}
