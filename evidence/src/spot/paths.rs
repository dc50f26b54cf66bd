//! Inclusion paths of a few leaves of a long log, from its leaf hashes in order, in little memory.

use std::collections::{BTreeSet, HashMap};

use crate::hash::Hash;
use crate::merkle::{CompactRange, NodeReader, inclusion_proof};

/// Collects the nodes that the paths of chosen leaves need while the log's leaves go by.
#[derive(Debug)]
pub struct Paths {
    range: CompactRange,
    wanted: BTreeSet<(u8, u64)>,
    nodes: HashMap<(u8, u64), Hash>,
}

/// A node that was never handed in: the leaves that went by were not all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the subtree {index} of level {level} was not seen")]
pub struct NotSeen {
    level: u8,
    index: u64,
}

impl Paths {
    /// For the leaves `wanted`, which lie behind the tree `start`.
    #[must_use]
    pub fn new(start: CompactRange, wanted: impl IntoIterator<Item = u64>) -> Self {
        let mut siblings = BTreeSet::new();
        for leaf in wanted {
            for level in 0..63_u8 {
                siblings.insert((level, (leaf >> level) ^ 1));
            }
        }
        let mut paths = Self {
            range: start,
            wanted: siblings,
            nodes: HashMap::new(),
        };
        paths.keep_edge();
        paths
    }

    /// Takes the next leaf.
    pub fn append(&mut self, leaf: &Hash) {
        let (wanted, nodes) = (&self.wanted, &mut self.nodes);
        self.range.append_each(leaf, |level, index, hash| {
            if wanted.contains(&(level, index)) {
                nodes.insert((level, index), *hash);
            }
        });
    }

    /// The tree so far.
    #[must_use]
    pub const fn range(&self) -> &CompactRange {
        &self.range
    }

    /// The path of a chosen leaf in the tree so far.
    ///
    /// # Errors
    /// [`NotSeen`] for a leaf that was not chosen.
    pub fn path(&mut self, leaf: u64) -> Result<Vec<Hash>, NotSeen> {
        self.keep_edge();
        let size = self.range.size();
        inclusion_proof(self, leaf, size)
    }

    /// The complete subtrees of the right edge belong to some paths.
    fn keep_edge(&mut self) {
        let size = self.range.size();
        let mut at = 0_u64;
        let levels = (0..63_u8).rev().filter(|level| size >> level & 1 == 1);
        for (level, hash) in levels.zip(self.range.hashes()) {
            self.nodes.insert((level, at >> level), *hash);
            at += 1 << level;
        }
    }
}

impl NodeReader for Paths {
    type Error = NotSeen;

    fn node(&mut self, level: u8, index: u64) -> Result<Hash, NotSeen> {
        let node = self.nodes.get(&(level, index)).copied();
        node.ok_or(NotSeen { level, index })
    }
}

#[cfg(test)]
mod tests {
    use super::Paths;
    use crate::hash::leaf_hash;
    use crate::merkle::{CompactRange, verify_inclusion};

    #[test]
    fn the_paths_of_chosen_leaves_lead_to_the_root_wherever_reading_begins() {
        let leaves: Vec<_> = (0..150_u32).map(|i| leaf_hash(&i.to_be_bytes())).collect();
        for size in [1, 2, 63, 64, 65, 150] {
            for first in [0, 1, 31, 64, 100] {
                if first >= size {
                    continue;
                }
                let mut start = CompactRange::new();
                leaves
                    .iter()
                    .take(first)
                    .for_each(|leaf| start.append(leaf));
                let wanted = [first, (first + size) / 2, size - 1];
                let as_u64 = |i: usize| u64::try_from(i).unwrap();
                let mut paths = Paths::new(start, wanted.map(as_u64));
                for leaf in leaves.iter().take(size).skip(first) {
                    paths.append(leaf);
                }
                let root = paths.range().root();
                for i in wanted {
                    let path = paths.path(as_u64(i)).unwrap();
                    verify_inclusion(&leaves[i], as_u64(i), as_u64(size), &path, &root).unwrap();
                }
            }
        }
    }
}
