//! The compact range: what must be kept of a tree to go on appending to it.

use super::{MAX_SIZE, ProofError};
use crate::hash::{Hash, empty_root, node_hash};

/// The right edge of a tree: its size and the roots of the complete subtrees it is made of.
///
/// There is one hash for each 1 in the binary form of `size`, largest subtree first. Appending is
/// one node hash on average, and the root is at most 63 more.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CompactRange {
    size: u64,
    hashes: Vec<Hash>,
}

impl CompactRange {
    /// Returns the empty tree.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            size: 0,
            hashes: Vec::new(),
        }
    }

    /// Puts a stored range together again. Wrong hashes are not noticed here: they lead to a root
    /// that no checkpoint carries.
    ///
    /// # Errors
    /// [`ProofError::RangeMismatch`] if the number of hashes does not fit `size`,
    /// [`ProofError::SizeTooLarge`].
    pub fn from_parts(size: u64, hashes: Vec<Hash>) -> Result<Self, ProofError> {
        if size > MAX_SIZE {
            return Err(ProofError::SizeTooLarge(size));
        }
        let needed = ones(size);
        if hashes.len() != needed {
            return Err(ProofError::RangeMismatch {
                size,
                found: hashes.len(),
                needed,
            });
        }
        Ok(Self { size, hashes })
    }

    /// Returns the number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Returns the subtree roots, largest subtree (leftmost) first.
    #[must_use]
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// Appends one leaf, given by its hash.
    pub fn append(&mut self, leaf: &Hash) {
        self.append_each(leaf, |_, _, _| {});
    }

    /// Appends one leaf and hands every complete subtree it finishes, the leaf included, to
    /// `visit(level, index, hash)`: these are exactly the nodes a [`super::NodeReader`] serves.
    pub fn append_each(&mut self, leaf: &Hash, mut visit: impl FnMut(u8, u64, &Hash)) {
        let (mut level, mut index, mut hash) = (0_u8, self.size, *leaf);
        visit(level, index, &hash);
        // While the subtree is a right child, its left sibling is the last hash kept.
        while index & 1 == 1 {
            let Some(left) = self.hashes.pop() else { break };
            hash = node_hash(&left, &hash);
            level += 1;
            index >>= 1;
            visit(level, index, &hash);
        }
        self.hashes.push(hash);
        self.size += 1;
    }

    /// Returns the root of the tree as it stands.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut smallest_first = self.hashes.iter().rev();
        let Some(last) = smallest_first.next() else {
            return empty_root();
        };
        smallest_first.fold(*last, |right, left| node_hash(left, &right))
    }
}

fn ones(size: u64) -> usize {
    usize::try_from(size.count_ones()).expect("at most 64")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::{leaf_hash, root_of, sha256};

    /// RFC 6962, section 2.1, word for word: split at the largest power of two below n.
    fn recursive_root(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => sha256(b""),
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                node_hash(&recursive_root(left), &recursive_root(right))
            }
        }
    }

    #[test]
    fn the_compact_range_has_the_recursive_root_for_0_to_300_leaves() {
        let leaves: Vec<Hash> = (0..300_u32).map(|i| leaf_hash(&i.to_be_bytes())).collect();
        let mut range = CompactRange::new();
        assert_eq!(range.root(), recursive_root(&[]));
        for (i, leaf) in leaves.iter().enumerate() {
            range.append(leaf);
            let so_far = &leaves[..=i];
            assert_eq!(range.root(), recursive_root(so_far), "{} leaves", i + 1);
            assert_eq!(root_of(so_far), range.root());
            assert_eq!(range.hashes().len(), ones(range.size()));
        }
    }

    #[test]
    fn the_reference_tree_of_eight_leaves_has_its_published_roots() {
        // Inputs and roots of the reference tree used by the Certificate Transparency projects.
        let inputs: [&[u8]; 8] = [
            b"",
            &[0x00],
            &[0x10],
            &[0x20, 0x21],
            &[0x30, 0x31],
            &[0x40, 0x41, 0x42, 0x43],
            &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
            &[
                0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d,
                0x6e, 0x6f,
            ],
        ];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut range = CompactRange::new();
        for (input, root) in inputs.iter().zip(roots) {
            range.append(&leaf_hash(input));
            assert_eq!(range.root().to_hex(), root);
        }
    }

    #[test]
    fn a_stored_range_continues_as_if_never_stored() {
        let mut range = CompactRange::new();
        for i in 0..200_u8 {
            let mut again =
                CompactRange::from_parts(range.size(), range.hashes().to_vec()).unwrap();
            assert_eq!(again, range);
            range.append(&leaf_hash(&[i]));
            again.append(&leaf_hash(&[i]));
            assert_eq!(again.root(), range.root());
        }
    }

    #[test]
    fn parts_that_do_not_fit_together_are_refused() {
        let mismatch = |size, found, needed| ProofError::RangeMismatch {
            size,
            found,
            needed,
        };
        let parts = |size, n| CompactRange::from_parts(size, vec![Hash::default(); n]);
        assert_eq!(parts(0, 1), Err(mismatch(0, 1, 0)));
        assert_eq!(parts(5, 1), Err(mismatch(5, 1, 2)));
        assert_eq!(parts(5, 3), Err(mismatch(5, 3, 2)));
        assert_eq!(parts(1 << 63, 1), Err(ProofError::SizeTooLarge(1 << 63)));
        assert!(parts(MAX_SIZE, 63).is_ok());
    }

    #[test]
    fn every_complete_subtree_is_visited_once() {
        let leaves: Vec<Hash> = (0..37_u8).map(|i| leaf_hash(&[i])).collect();
        let mut seen = Vec::new();
        let mut range = CompactRange::new();
        for leaf in &leaves {
            range.append_each(leaf, |level, index, hash| seen.push((level, index, *hash)));
        }
        let mut expected = Vec::new();
        for level in 0..6_u8 {
            for (index, part) in leaves.chunks_exact(1 << level).enumerate() {
                expected.push((level, u64::try_from(index).unwrap(), recursive_root(part)));
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, expected);
    }
}
