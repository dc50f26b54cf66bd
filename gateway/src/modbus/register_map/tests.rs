use std::time::Duration;

use evidence::measurement::Table;
use evidence::value::{Format, Kind, Order};
use tokio::time::Instant;

use super::{HOLE_AGAIN, RegisterMap, Value};
use crate::plan::{Limits, Span};

fn span(address: u16, count: u16) -> Span {
    Span {
        table: Table::Holding,
        address,
        count,
    }
}

/// Three registers from 1 on, in one request.
fn map() -> RegisterMap {
    let limits = Limits {
        registers: 125,
        bits: 2_000,
        gap: 31,
        barriers: [].into(),
    };
    let value = |address| Value {
        point: address,
        name: format!("p{address}"),
        span: span(address, 1),
        format: Format {
            kind: Kind::U16,
            order: Order::Abcd,
        },
    };
    RegisterMap::new("m", limits, [1, 2, 3].map(value).into())
}

fn requests(map: &RegisterMap) -> Vec<Span> {
    let mut requests: Vec<Span> = map.requests().collect();
    requests.sort_unstable();
    requests
}

/// Takes the group apart at `now`; the device refuses the registers in `holes`, and the whole.
fn take_apart(map: &mut RegisterMap, holes: &[u16], now: Instant) {
    let whole = map.whole(0).unwrap().clone();
    let mut blocks = map.part(0, &whole, 2);
    while let Some(block) = blocks.pop() {
        let addresses = u32::from(block.span.address)..block.span.end();
        let refused = holes
            .iter()
            .any(|&hole| addresses.contains(&u32::from(hole)));
        match block.values.as_slice() {
            &[item] if refused => map.refused(item, 2, now),
            _ if refused => blocks.extend(map.part(0, &block, 2)),
            _ => map.answered(0, &block),
        }
    }
    map.rejoin(0, now);
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_split_is_tried_whole_after_ten_minutes_and_healed_by_an_answer() {
    let (mut map, now) = (map(), Instant::now());
    take_apart(&mut map, &[], now);
    assert_eq!(requests(&map), [span(1, 1), span(2, 2)]);
    let almost = now + HOLE_AGAIN - seconds(1);
    assert_eq!(map.whole_again(0, almost), None);
    let tried = map.whole_again(0, now + HOLE_AGAIN).map(|whole| whole.span);
    assert_eq!(tried, Some(span(1, 3)));
    map.whole_answered(0);
    assert_eq!(requests(&map), [span(1, 3)]);
    assert!(map.whole(0).is_some());
}

#[test]
fn a_real_hole_stays_remembered_and_is_tried_again_every_ten_minutes() {
    let (mut map, mut now) = (map(), Instant::now());
    take_apart(&mut map, &[2], now);
    let split = [span(1, 1), span(2, 1), span(3, 1)];
    for _ in 0..3 {
        assert_eq!(requests(&map), split);
        assert_eq!(map.known_hole(1, now + seconds(599)), Some(2));
        assert_eq!(map.known_hole(1, now + HOLE_AGAIN), None);
        assert_eq!(map.whole_again(0, now + seconds(599)), None);
        now += HOLE_AGAIN;
        assert!(map.whole_again(0, now).is_some());
        map.whole_refused(0, false, now);
        map.refused(1, 2, now);
        map.rejoin(0, now);
    }
}

#[test]
fn a_joined_request_that_is_met_with_silence_is_tried_ever_more_seldom() {
    let (mut map, mut now) = (map(), Instant::now());
    take_apart(&mut map, &[2], now);
    now += HOLE_AGAIN;
    for times in [2, 4, 8] {
        map.whole_refused(0, true, now);
        // It returns from the silence that its trial was: that is no reason for another one.
        map.returned(now);
        let again = now + HOLE_AGAIN * times;
        assert_eq!(map.whole_again(0, again - seconds(1)), None);
        assert!(map.whole_again(0, again).is_some());
        now = again;
    }
    map.whole_refused(0, false, now);
    map.returned(now);
    assert!(map.whole_again(0, now).is_some());
}

#[test]
fn a_group_of_which_every_value_is_refused_stays_as_planned_and_is_taken_apart_ever_more_seldom() {
    let (mut map, mut now) = (map(), Instant::now());
    for pause in [0, 2, 4, 6] {
        assert!(map.may_part(0, now));
        take_apart(&mut map, &[1, 2, 3], now);
        assert_eq!(requests(&map), [span(1, 3)]);
        assert_eq!(map.whole(0).map(|whole| whole.span), Some(span(1, 3)));
        for item in 0..3 {
            assert_eq!(map.known_hole(item, now), None);
        }
        if pause > 0 {
            assert!(!map.may_part(0, now + seconds(pause - 1)));
        }
        now += seconds(pause);
    }
    // One that exists ends it: the others are holes.
    take_apart(&mut map, &[1, 2], now);
    assert_eq!(map.known_hole(0, now), Some(2));
    assert_eq!(map.known_hole(2, now), None);
    assert!(map.may_part(0, now));
}

#[test]
fn a_burst_of_refusals_after_a_hole_was_found_ends_in_the_whole_request_again() {
    let (mut map, now) = (map(), Instant::now());
    take_apart(&mut map, &[2], now);
    map.refused(0, 2, now);
    map.refused(2, 2, now);
    map.rejoin(0, now);
    assert_eq!(requests(&map), [span(1, 3)]);
    // And then the hole is found as at first.
    take_apart(&mut map, &[2], now);
    assert_eq!(map.known_hole(1, now), Some(2));
    assert_eq!(requests(&map), [span(1, 1), span(2, 1), span(3, 1)]);
}
