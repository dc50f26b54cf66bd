//! What later control entries say about earlier entries: their time, or that their payload is gone.

use std::collections::BTreeMap;

use crate::control::{Control, Placed};

/// Ranges that control entries declared over entries before them.
#[derive(Debug, Clone, Default)]
pub struct Afterwards {
    /// Ascending and disjoint per stream, as the chain demands.
    placed: BTreeMap<u16, Vec<Placed>>,
    /// Ascending and disjoint.
    dropped: Vec<(u64, u64)>,
}

impl Afterwards {
    /// Collects the declarations of control entries that the chain has accepted, in index order.
    #[must_use]
    pub fn new<'a>(controls: impl IntoIterator<Item = &'a Control>) -> Self {
        let mut afterwards = Self::default();
        let mut dropped = Vec::new();
        for control in controls {
            match control {
                Control::Clock(event) => {
                    for placed in &event.placed {
                        afterwards
                            .placed
                            .entry(placed.stream)
                            .or_default()
                            .push(*placed);
                    }
                }
                Control::Dropped { from, to, .. } => dropped.push((*from, *to)),
                _ => {}
            }
        }
        dropped.sort_unstable();
        for (from, to) in dropped {
            match afterwards.dropped.last_mut() {
                Some((_, end)) if from <= end.saturating_add(1) => *end = to.max(*end),
                _ => afterwards.dropped.push((from, to)),
            }
        }
        afterwards
    }

    /// The shift of an entry that was sealed without a time.
    #[must_use]
    pub fn shift(&self, stream: u16, index: u64) -> Option<i64> {
        let ranges = self.placed.get(&stream)?;
        let next = ranges.partition_point(|placed| placed.from <= index);
        let placed = ranges.get(next.checked_sub(1)?)?;
        (index <= placed.to).then_some(placed.shift)
    }

    /// Whether the payload of this entry was declared dropped.
    #[must_use]
    pub fn is_dropped(&self, index: u64) -> bool {
        let next = self.dropped.partition_point(|(from, _)| *from <= index);
        next.checked_sub(1)
            .and_then(|at| self.dropped.get(at))
            .is_some_and(|(_, to)| index <= *to)
    }
}
