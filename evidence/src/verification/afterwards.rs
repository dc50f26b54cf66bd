//! What later control entries say about earlier entries: their time, or that their payload is gone.

use crate::control::Control;

/// Ranges that control entries declared over entries before them.
#[derive(Debug, Clone, Default)]
pub struct Afterwards {
    placed: Vec<crate::control::Placed>,
    dropped: Vec<(u64, u64)>,
}

impl Afterwards {
    /// Collects the declarations of control entries, in index order.
    #[must_use]
    pub fn new<'a>(controls: impl IntoIterator<Item = &'a Control>) -> Self {
        let mut afterwards = Self::default();
        for control in controls {
            match control {
                Control::Clock(event) => afterwards.placed.extend(&event.placed),
                Control::Dropped { from, to, .. } => afterwards.dropped.push((*from, *to)),
                _ => {}
            }
        }
        afterwards
    }

    /// The shift of an entry that was sealed without a time; of several, the first declared holds.
    #[must_use]
    pub fn shift(&self, stream: u16, index: u64) -> Option<i64> {
        self.placed
            .iter()
            .find(|placed| placed.stream == stream && (placed.from..=placed.to).contains(&index))
            .map(|placed| placed.shift)
    }

    /// Whether the payload of this entry was declared dropped.
    #[must_use]
    pub fn is_dropped(&self, index: u64) -> bool {
        self.dropped
            .iter()
            .any(|(from, to)| (*from..=*to).contains(&index))
    }
}
