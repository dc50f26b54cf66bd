//! Building proofs from wherever node hashes are kept.

use std::convert::Infallible;

use crate::hash::{Hash, empty_root, node_hash, root_of};

/// Where the hashes of complete subtrees are read from: a table, tiles, or leaves in memory.
pub trait NodeReader {
    /// What can go wrong when reading.
    type Error;

    /// Returns the hash of the complete subtree over the leaves
    /// `index << level .. (index + 1) << level`; level 0 is the leaf hash itself.
    ///
    /// Only asked for subtrees that lie wholly inside the tree a proof is built for.
    ///
    /// # Errors
    /// Whatever the store reports, for example that the node is missing.
    fn node(&mut self, level: u8, index: u64) -> Result<Hash, Self::Error>;
}

/// Leaf hashes in memory as a [`NodeReader`]; for trees inside a payload, and for tests.
///
/// Subtrees beyond the slice hash as if they ended with it, which leads to proofs that fail.
#[derive(Debug, Clone, Copy)]
pub struct LeafHashes<'a>(pub &'a [Hash]);

impl NodeReader for LeafHashes<'_> {
    type Error = Infallible;

    fn node(&mut self, level: u8, index: u64) -> Result<Hash, Infallible> {
        let bound = |i: u64| {
            i.checked_shl(u32::from(level))
                .and_then(|at| usize::try_from(at).ok())
                .map_or(self.0.len(), |at| at.min(self.0.len()))
        };
        let leaves = self.0.get(bound(index)..bound(index.saturating_add(1)));
        Ok(root_of(leaves.unwrap_or_default()))
    }
}

/// Returns the RFC 6962 inclusion proof of leaf `index` in the tree of the first `size` leaves:
/// the sibling hashes from the leaf upwards.
///
/// For `index >= size` there is no proof; the answer is empty, which verifies for no such leaf.
///
/// # Errors
/// Those of the reader.
pub fn inclusion_proof<R: NodeReader>(
    reader: &mut R,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, R::Error> {
    let mut proof = Vec::new();
    if index >= size {
        return Ok(proof);
    }
    let (mut start, mut end) = (0, size);
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            proof.push(subtree_hash(reader, middle, end)?);
            end = middle;
        } else {
            proof.push(subtree_hash(reader, start, middle)?);
            start = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// Returns the RFC 6962 consistency proof from the first `old` leaves to the first `new` leaves.
///
/// Empty for `old == 0` and `old == new`, where the roots alone decide. For `old > new` there is no
/// proof; the answer is empty, which verifies for no such pair.
///
/// # Errors
/// Those of the reader.
pub fn consistency_proof<R: NodeReader>(
    reader: &mut R,
    old: u64,
    new: u64,
) -> Result<Vec<Hash>, R::Error> {
    let mut proof = Vec::new();
    if old == 0 || old >= new {
        return Ok(proof);
    }
    let (mut start, mut end) = (0, new);
    // Walk down to the subtree that ends exactly where the old tree ends.
    while end != old {
        let middle = start + split(end - start);
        if old <= middle {
            proof.push(subtree_hash(reader, middle, end)?);
            end = middle;
        } else {
            proof.push(subtree_hash(reader, start, middle)?);
            start = middle;
        }
    }
    // A subtree that is the whole old tree is known to the verifier: it is the old root.
    if start != 0 {
        proof.push(subtree_hash(reader, start, end)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Returns the RFC 6962 hash over the leaves `start..end`, where `start` is a multiple of a power of
/// two not smaller than `end - start`: a node of some tree, complete or at its right edge.
///
/// # Errors
/// Those of the reader.
pub fn subtree_hash<R: NodeReader>(reader: &mut R, start: u64, end: u64) -> Result<Hash, R::Error> {
    // Complete subtrees from left to right, then folded from the right: the same as the recursion.
    let mut parts = Vec::new();
    let mut at = start;
    while at < end {
        let level = (end - at).ilog2();
        let level_u8 = u8::try_from(level).expect("below 64");
        parts.push(reader.node(level_u8, at >> level)?);
        at += 1 << level;
    }
    let mut smallest_first = parts.iter().rev();
    let Some(last) = smallest_first.next() else {
        return Ok(empty_root());
    };
    Ok(smallest_first.fold(*last, |right, left| node_hash(left, &right)))
}

/// The largest power of two below `n`, for `n >= 2`: where RFC 6962 splits.
const fn split(n: u64) -> u64 {
    1 << (n - 1).ilog2()
}
