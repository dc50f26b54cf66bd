//! The fewest requests that read a device's values.
//!
//! Values of one table are joined into one request as long as the request stays within the device's
//! limit and the hole between two values is not larger than reading it is worth. A value is never
//! split: half of a 32-bit counter from before a carry and half from after it is a wrong number. For
//! the same reason values can be read [`together`]: a number with its scale factor, the parts of a
//! totaliser.

use std::sync::Arc;

use evidence::measurement::Table;

use crate::config::Barrier;

/// Where one value lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// The table.
    pub table: Table,
    /// The first register or bit, PDU address.
    pub address: u16,
    /// How many registers or bits, at least 1.
    pub count: u16,
}

/// What a device and its link allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Most registers in one request.
    pub registers: u16,
    /// Most bits in one request.
    pub bits: u16,
    /// Largest hole, in registers, that is read to save a request. Bits use 16 times as many: a
    /// register is as long on the wire as 16 bits.
    pub gap: u16,
    /// Registers that no request may touch.
    pub barriers: Arc<[Barrier]>,
}

/// One request and the values it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// What is asked for.
    pub span: Span,
    /// Positions of the values in the list that was planned, ascending by address.
    pub values: Vec<usize>,
}

impl Span {
    /// The address after the last one; up to 65 536.
    #[must_use]
    pub fn end(self) -> u32 {
        u32::from(self.address) + u32::from(self.count)
    }

    /// Whether the span is of single bits.
    #[must_use]
    pub fn is_bits(self) -> bool {
        matches!(self.table, Table::Coil | Table::Discrete)
    }

    /// Whether `inner` lies within this span.
    #[must_use]
    pub fn contains(self, inner: Self) -> bool {
        self.table == inner.table && self.address <= inner.address && inner.end() <= self.end()
    }
}

impl Limits {
    fn most(&self, bits: bool) -> u32 {
        u32::from(if bits { self.bits } else { self.registers })
    }

    fn hole(&self, bits: bool) -> u32 {
        u32::from(self.gap) * if bits { 16 } else { 1 }
    }

    /// The exception code that a request deserves which the device must not see: 2 where it touches a
    /// barrier, 3 where it is longer than the device allows.
    #[must_use]
    pub fn objection(&self, span: Span) -> Option<u8> {
        if self.bars(span, span.end()) {
            return Some(2);
        }
        (u32::from(span.count) > self.most(span.is_bits())).then_some(3)
    }

    /// Whether a request from `first` to before `end` would touch a barrier.
    fn bars(&self, first: Span, end: u32) -> bool {
        self.barriers.iter().any(|barrier| {
            barrier.table == first.table
                && first.address <= barrier.to
                && u32::from(barrier.from) < end
        })
    }
}

/// Joins values into requests.
///
/// No other set of requests within the limits and with holes no larger is smaller: the request that
/// reads the leftmost value still unread may as well begin at it and take every value it can reach.
/// A single value above the limit (which the configuration refuses) gets a request of its own.
#[must_use]
pub fn plan(values: &[Span], limits: &Limits) -> Vec<Block> {
    let mut order: Vec<(Span, usize)> = values.iter().copied().zip(0..).collect();
    order.sort_unstable();
    let mut blocks = Vec::new();
    while let Some(&(first, _)) = order.first() {
        let bits = first.is_bits();
        let mut end = first.end();
        let mut taken = Vec::new();
        order.retain(|&(value, place)| {
            let near =
                value.table == first.table && u32::from(value.address) <= end + limits.hole(bits);
            // In the same table `order` ascends, so the difference cannot be negative.
            let take = near
                && (value == first
                    || value.end() - u32::from(first.address) <= limits.most(bits)
                        && !limits.bars(first, end.max(value.end())));
            if take {
                end = end.max(value.end());
                taken.push(place);
            }
            !take
        });
        let count = u16::try_from(end - u32::from(first.address)).unwrap_or(u16::MAX);
        blocks.push(Block {
            span: Span { count, ..first },
            values: taken,
        });
    }
    blocks
}

/// Values that one request reads, and the span from the first of their registers to the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What one request must cover.
    pub span: Span,
    /// Positions of the values in the list that was given.
    pub values: Vec<usize>,
}

/// The values that carry one number in `groups` become one item; a value beyond `groups` is alone.
/// Values of two tables are never one item.
#[must_use]
pub fn together(values: &[Span], groups: &[usize]) -> Vec<Item> {
    let mut items: Vec<(Option<usize>, Item)> = Vec::new();
    for (place, &span) in values.iter().enumerate() {
        let group = groups.get(place).copied();
        let joined = items
            .iter_mut()
            .find(|(of, item)| group.is_some() && *of == group && item.span.table == span.table);
        if let Some((_, item)) = joined {
            let first = item.span.address.min(span.address);
            let end = item.span.end().max(span.end());
            item.span.address = first;
            item.span.count = u16::try_from(end - u32::from(first)).unwrap_or(u16::MAX);
            item.values.push(place);
        } else {
            let values = vec![place];
            items.push((group, Item { span, values }));
        }
    }
    items.into_iter().map(|(_, item)| item).collect()
}

/// As [`plan`], with the values of one group always in one request. A group wider than the limit
/// (which the configuration refuses) gets a request of its own.
#[must_use]
pub fn plan_together(values: &[Span], groups: &[usize], limits: &Limits) -> Vec<Block> {
    let items = together(values, groups);
    let spans: Vec<Span> = items.iter().map(|item| item.span).collect();
    let mut blocks = plan(&spans, limits);
    for block in &mut blocks {
        block.values = block
            .values
            .iter()
            .filter_map(|&item| items.get(item))
            .flat_map(|item| item.values.iter().copied())
            .collect();
        block
            .values
            .sort_by_key(|&place| values.get(place).map(|span| (span.address, place)));
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::{Barrier, Limits, Span, plan, plan_together, together};
    use evidence::measurement::Table;
    use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, proptest};
    use std::sync::Arc;

    fn tcp() -> Limits {
        Limits {
            registers: 125,
            bits: 2_000,
            gap: 31,
            barriers: Arc::default(),
        }
    }

    fn holding(address: u16, count: u16) -> Span {
        Span {
            table: Table::Holding,
            address,
            count,
        }
    }

    #[test]
    fn a_hole_is_read_when_that_is_cheaper_than_a_request() {
        let joined = plan(&[holding(0, 2), holding(33, 2)], &tcp());
        assert_eq!(joined.len(), 1);
        assert_eq!(joined[0].span, holding(0, 35));
        assert_eq!(plan(&[holding(0, 2), holding(34, 2)], &tcp()).len(), 2);
    }

    #[test]
    fn a_value_at_the_limit_is_not_split() {
        let blocks = plan(&[holding(0, 124), holding(124, 2)], &tcp());
        assert_eq!(
            blocks.iter().map(|block| block.span).collect::<Vec<_>>(),
            [holding(0, 124), holding(124, 2)]
        );
    }

    #[test]
    fn tables_are_never_mixed_and_the_last_address_is_reachable() {
        let input = Span {
            table: Table::Input,
            address: 0,
            count: 1,
        };
        assert_eq!(plan(&[holding(0, 1), input], &tcp()).len(), 2);
        assert_eq!(
            plan(&[holding(65_535, 1)], &tcp())[0].span,
            holding(65_535, 1)
        );
        assert_eq!(plan(&[], &tcp()), []);
    }

    /// The fewest requests by trying every way to split the sorted values into groups.
    fn brute_force(values: &[Span], limits: &Limits) -> usize {
        let feasible = |group: &[Span]| {
            // What lies on a barrier (which the configuration refuses) has a request of its own.
            if group.iter().all(|value| *value == group[0]) {
                return true;
            }
            let mut sorted = group.to_vec();
            sorted.sort_unstable();
            let mut end = u32::from(sorted[0].address);
            for value in &sorted {
                if u32::from(value.address) > end + u32::from(limits.gap) {
                    return false;
                }
                end = end.max(value.end());
            }
            end - u32::from(sorted[0].address) <= u32::from(limits.registers)
                && !limits.bars(sorted[0], end)
        };
        // Every assignment of values to at most `n` groups, in restricted growth form.
        fn assign(
            values: &[Span],
            groups: &mut Vec<Vec<Span>>,
            feasible: &dyn Fn(&[Span]) -> bool,
            best: &mut usize,
        ) {
            if groups.len() >= *best {
                return;
            }
            let Some((first, rest)) = values.split_first() else {
                if groups.iter().all(|group| feasible(group)) {
                    *best = groups.len();
                }
                return;
            };
            for place in 0..groups.len() {
                groups[place].push(*first);
                assign(rest, groups, feasible, best);
                groups[place].pop();
            }
            groups.push(vec![*first]);
            assign(rest, groups, feasible, best);
            groups.pop();
        }
        let mut best = values.len() + 1;
        assign(values, &mut Vec::new(), &feasible, &mut best);
        best
    }

    fn spans(most: usize, far: u16) -> impl Strategy<Value = Vec<Span>> {
        let span = (0..far, 1_u16..5).prop_map(|(address, count)| holding(address, count));
        proptest::collection::vec(span, 1..most)
    }

    fn barriers(far: u16) -> impl Strategy<Value = Vec<Barrier>> {
        let barrier = (0..far, 0_u16..4).prop_map(|(from, more)| Barrier {
            table: Table::Holding,
            from,
            to: from + more,
        });
        proptest::collection::vec(barrier, 0..4)
    }

    #[test]
    fn a_barrier_parts_what_would_be_read_at_once() {
        let limits = Limits {
            barriers: [Barrier {
                table: Table::Holding,
                from: 2,
                to: 2,
            }]
            .into(),
            ..tcp()
        };
        assert_eq!(plan(&[holding(0, 2), holding(3, 2)], &limits).len(), 2);
        assert_eq!(plan(&[holding(0, 2), holding(3, 2)], &tcp()).len(), 1);
        let input = |address| Span {
            table: Table::Input,
            ..holding(address, 2)
        };
        assert_eq!(
            plan(&[input(0), input(3)], &limits).len(),
            1,
            "of another table"
        );
    }

    #[test]
    fn a_value_and_its_scale_factor_share_a_request_even_where_two_would_do() {
        let values = [holding(0, 100), holding(110, 1), holding(125, 1)];
        assert_eq!(plan(&values, &tcp()).len(), 2);
        // The last two belong together: the first request may not take one of them.
        let blocks = plan_together(&values, &[0, 1, 1], &tcp());
        let spans: Vec<(Span, Vec<usize>)> = blocks
            .into_iter()
            .map(|block| (block.span, block.values))
            .collect();
        assert_eq!(
            spans,
            [(holding(0, 100), vec![0]), (holding(110, 16), vec![1, 2])]
        );
    }

    #[test]
    fn values_of_two_tables_are_no_item() {
        let input = Span {
            table: Table::Input,
            ..holding(1, 1)
        };
        assert_eq!(together(&[holding(0, 1), input], &[0, 0]).len(), 2);
    }

    proptest! {
        #[test]
        fn a_group_is_in_one_request_and_the_requests_are_still_the_fewest(
            values in spans(7, 60), groups in proptest::collection::vec(0_usize..5, 7), gap in 0_u16..12,
        ) {
            let limits = Limits { registers: 64, bits: 2_000, gap, barriers: Arc::default() };
            let blocks = plan_together(&values, &groups, &limits);
            let items = together(&values, &groups);
            for item in &items {
                let whole = blocks.iter().filter(|block| block.span.contains(item.span));
                let reads = |place: &usize| blocks.iter().filter(|block| block.values.contains(place)).count();
                prop_assert!(whole.count() >= 1, "{blocks:?}");
                prop_assert!(item.values.iter().all(|place| reads(place) == 1));
                let of = |place: &usize| blocks.iter().position(|block| block.values.contains(place));
                prop_assert!(item.values.iter().all(|place| of(place) == of(&item.values[0])));
            }
            prop_assert!(blocks.iter().all(|block| block.span.count <= limits.registers));
            let hulls: Vec<Span> = items.iter().map(|item| item.span).collect();
            prop_assert_eq!(blocks.len(), brute_force(&hulls, &limits));
        }

        #[test]
        fn every_value_is_read_exactly_once_within_the_limits(
            values in spans(60, 2_000), registers in 4_u16..=125, gap in 0_u16..60,
            barriers in barriers(2_000),
        ) {
            let limits = Limits { registers, gap, barriers: barriers.into(), ..tcp() };
            let blocks = plan(&values, &limits);
            let mut read: Vec<usize> = blocks.iter().flat_map(|block| block.values.clone()).collect();
            read.sort_unstable();
            prop_assert_eq!(read, (0..values.len()).collect::<Vec<_>>());
            for block in &blocks {
                prop_assert!(block.span.count <= registers);
                prop_assert!(block.values.iter().all(|&place| block.span.contains(values[place])));
                let alone = block.values.iter().all(|&place| values[place] == block.span);
                prop_assert!(alone || !limits.bars(block.span, block.span.end()));
            }
        }

        #[test]
        fn no_plan_by_hand_needs_fewer_requests(
            values in spans(8, 40), registers in 4_u16..12, gap in 0_u16..6,
            barriers in barriers(40),
        ) {
            let limits = Limits { registers, gap, barriers: barriers.into(), ..tcp() };
            prop_assert_eq!(plan(&values, &limits).len(), brute_force(&values, &limits));
        }
    }
}
