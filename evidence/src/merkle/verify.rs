//! Checking proofs, from sizes and hashes alone.
//!
//! The number of hashes of a proof follows from index and sizes, so it is compared first: a proof
//! that is shortened or lengthened fails by its length, whatever it holds.

use super::ProofError;
use crate::hash::{Hash, empty_root, node_hash};

/// Checks that the leaf with hash `leaf` stands at `index` in the tree of `size` leaves with `root`.
///
/// # Errors
/// [`ProofError`] names what does not fit.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    if root_from_inclusion(leaf, index, size, proof)? == *root {
        Ok(())
    } else {
        Err(ProofError::RootDiffers)
    }
}

/// Returns the root of `size` leaves that `proof` gives for the leaf at `index`; the caller compares
/// it with a root it trusts.
///
/// # Errors
/// [`ProofError::IndexOutsideTree`], [`ProofError::WrongLength`].
pub fn root_from_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
) -> Result<Hash, ProofError> {
    if index >= size {
        return Err(ProofError::IndexOutsideTree { index, size });
    }
    // Up to the level where the leaf's path meets the right edge there is one sibling per level;
    // above it only the left siblings exist, one per 1 in the index.
    let inner = 64 - (index ^ (size - 1)).leading_zeros();
    let above = index.checked_shr(inner).unwrap_or(0);
    let needed = length(inner + above.count_ones());
    if proof.len() != needed {
        return Err(ProofError::WrongLength {
            found: proof.len(),
            needed,
        });
    }
    let (inner_part, above_part) = proof.split_at(length(inner));
    let mut hash = *leaf;
    for (level, sibling) in inner_part.iter().enumerate() {
        hash = if (index >> level) & 1 == 0 {
            node_hash(&hash, sibling)
        } else {
            node_hash(sibling, &hash)
        };
    }
    Ok(above_part
        .iter()
        .fold(hash, |hash, left| node_hash(left, &hash)))
}

/// Checks that the tree of `old` leaves with `old_root` is the beginning of the tree of `new` leaves
/// with `new_root`.
///
/// The proof is empty exactly if `old` is 0 or equals `new`; an empty old tree must have the root of
/// the empty tree.
///
/// # Errors
/// [`ProofError`] names what does not fit.
pub fn verify_consistency(
    old: u64,
    new: u64,
    proof: &[Hash],
    old_root: &Hash,
    new_root: &Hash,
) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::TreeShrinks { old, new });
    }
    if old == 0 || old == new {
        return without_hashes(old, new, proof, old_root, new_root);
    }
    // The old tree ends with a complete subtree of 2^shift leaves; the proof begins at its root.
    let shift = old.trailing_zeros();
    let index = (old - 1) >> shift;
    let last = (new - 1) >> shift;
    let inner = 64 - (index ^ last).leading_zeros();
    let above = index.checked_shr(inner).unwrap_or(0);
    // An old tree that is one complete subtree is known already: its root is `old_root`.
    let whole = old.is_power_of_two();
    let needed = length(inner + above.count_ones() + u32::from(!whole));
    if proof.len() != needed {
        return Err(ProofError::WrongLength {
            found: proof.len(),
            needed,
        });
    }
    let (seed, siblings) = match proof.split_first() {
        Some((first, rest)) if !whole => (first, rest),
        _ => (old_root, proof),
    };
    let (inner_part, above_part) = siblings.split_at(length(inner));
    let (mut from_old, mut from_new) = (*seed, *seed);
    for (level, sibling) in inner_part.iter().enumerate() {
        if (index >> level) & 1 == 0 {
            // A right sibling lies beyond the old tree: only the new one has it.
            from_new = node_hash(&from_new, sibling);
        } else {
            from_old = node_hash(sibling, &from_old);
            from_new = node_hash(sibling, &from_new);
        }
    }
    for left in above_part {
        from_old = node_hash(left, &from_old);
        from_new = node_hash(left, &from_new);
    }
    if from_old != *old_root {
        return Err(ProofError::OldRootDiffers);
    }
    if from_new != *new_root {
        return Err(ProofError::RootDiffers);
    }
    Ok(())
}

/// The two cases that need no proof: nothing before, nothing new.
fn without_hashes(
    old: u64,
    new: u64,
    proof: &[Hash],
    old_root: &Hash,
    new_root: &Hash,
) -> Result<(), ProofError> {
    if !proof.is_empty() {
        return Err(ProofError::WrongLength {
            found: proof.len(),
            needed: 0,
        });
    }
    if old == 0 && *old_root != empty_root() {
        return Err(ProofError::OldRootDiffers);
    }
    if old == new && old_root != new_root {
        return Err(ProofError::RootDiffers);
    }
    Ok(())
}

/// A count of at most 129 as a length.
fn length(count: u32) -> usize {
    usize::try_from(count).expect("a count of bits fits a usize")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::{leaf_hash, root_of};
    use crate::merkle::{LeafHashes, consistency_proof, inclusion_proof};

    const LARGEST: u64 = 64;

    fn leaves() -> Vec<Hash> {
        (0..LARGEST).map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    fn root(leaves: &[Hash], size: u64) -> Hash {
        root_of(&leaves[..usize::try_from(size).unwrap()])
    }

    /// Every proof that differs from `proof` by one bit, one hash more, or one hash less.
    fn altered(proof: &[Hash]) -> Vec<Vec<Hash>> {
        let mut all = Vec::new();
        for (i, bit) in (0..proof.len()).flat_map(|i| (0..256).map(move |bit| (i, bit))) {
            let mut one = proof.to_vec();
            one[i].0[bit / 8] ^= 1 << (bit % 8);
            all.push(one);
        }
        for i in 0..proof.len() {
            let mut shorter = proof.to_vec();
            shorter.remove(i);
            all.push(shorter);
        }
        for i in 0..=proof.len() {
            let mut longer = proof.to_vec();
            longer.insert(i, Hash::default());
            all.push(longer);
        }
        all
    }

    #[test]
    fn every_inclusion_proof_up_to_64_leaves_verifies_and_only_where_it_belongs() {
        let leaves = leaves();
        for size in 1..=LARGEST {
            let root = root(&leaves, size);
            for index in 0..size {
                let leaf = &leaves[usize::try_from(index).unwrap()];
                let proof = inclusion_proof(&mut LeafHashes(&leaves), index, size).unwrap();
                assert_eq!(verify_inclusion(leaf, index, size, &proof, &root), Ok(()));
                for other in 0..=LARGEST {
                    if other != index {
                        verify_inclusion(leaf, other, size, &proof, &root).unwrap_err();
                    }
                }
                verify_inclusion(leaf, index, size, &proof, &leaf_hash(b"other")).unwrap_err();
                verify_inclusion(&leaf_hash(b"other"), index, size, &proof, &root).unwrap_err();
            }
        }
    }

    #[test]
    fn an_inclusion_proof_of_another_size_fails_or_has_the_same_shape_and_another_root() {
        let leaves = leaves();
        for size in 1..=LARGEST {
            for index in 0..size {
                let leaf = &leaves[usize::try_from(index).unwrap()];
                let proof = inclusion_proof(&mut LeafHashes(&leaves), index, size).unwrap();
                for other in (1..=LARGEST).filter(|other| *other != size) {
                    let its_root = root(&leaves, other);
                    verify_inclusion(leaf, index, other, &proof, &its_root).unwrap_err();
                }
            }
        }
    }

    #[test]
    fn every_consistency_proof_up_to_64_leaves_verifies_and_only_for_its_roots() {
        let leaves = leaves();
        for new in 0..=LARGEST {
            let new_root = root(&leaves, new);
            for old in 0..=new {
                let old_root = root(&leaves, old);
                let proof = consistency_proof(&mut LeafHashes(&leaves), old, new).unwrap();
                assert_eq!(
                    verify_consistency(old, new, &proof, &old_root, &new_root),
                    Ok(())
                );
                let wrong = leaf_hash(b"other");
                verify_consistency(old, new, &proof, &wrong, &new_root).unwrap_err();
                if old != 0 {
                    verify_consistency(old, new, &proof, &old_root, &wrong).unwrap_err();
                }
                for other in (0..=new).filter(|other| *other != old) {
                    verify_consistency(other, new, &proof, &old_root, &new_root).unwrap_err();
                }
            }
        }
    }

    /// A proof of another length is refused for that, without looking at a hash.
    fn refused(result: Result<(), ProofError>, by_length: bool) {
        let named = matches!(result, Err(ProofError::WrongLength { .. }));
        assert!(result.is_err() && named == by_length, "{result:?}");
    }

    #[test]
    fn every_change_of_one_bit_or_of_the_length_breaks_a_proof() {
        let leaves = leaves();
        for size in [1, 2, 3, 7, 8, 13, 33, 64] {
            let root_here = root(&leaves, size);
            for index in 0..size {
                let leaf = &leaves[usize::try_from(index).unwrap()];
                let proof = inclusion_proof(&mut LeafHashes(&leaves), index, size).unwrap();
                for bad in altered(&proof) {
                    let result = verify_inclusion(leaf, index, size, &bad, &root_here);
                    refused(result, bad.len() != proof.len());
                }
            }
            for old in 0..=size {
                let old_root = root(&leaves, old);
                let proof = consistency_proof(&mut LeafHashes(&leaves), old, size).unwrap();
                for bad in altered(&proof) {
                    let result = verify_consistency(old, size, &bad, &old_root, &root_here);
                    refused(result, bad.len() != proof.len());
                }
            }
        }
    }

    #[test]
    fn there_is_no_proof_outside_a_tree() {
        let leaves = leaves();
        for outside in [5, 6, u64::MAX] {
            assert_eq!(
                inclusion_proof(&mut LeafHashes(&leaves), outside, 5),
                Ok(vec![])
            );
            assert_eq!(
                consistency_proof(&mut LeafHashes(&leaves), outside, 5),
                Ok(vec![])
            );
        }
    }

    #[test]
    fn impossible_sizes_are_named() {
        let hash = Hash::default();
        let outside = ProofError::IndexOutsideTree { index: 5, size: 5 };
        assert_eq!(verify_inclusion(&hash, 5, 5, &[], &hash), Err(outside));
        let shrinks = ProofError::TreeShrinks { old: 6, new: 5 };
        assert_eq!(verify_consistency(6, 5, &[], &hash, &hash), Err(shrinks));
        assert_eq!(
            verify_consistency(0, 5, &[], &hash, &hash),
            Err(ProofError::OldRootDiffers)
        );
        assert_eq!(
            verify_inclusion(&hash, u64::MAX - 1, u64::MAX, &[], &hash),
            Err(ProofError::WrongLength {
                found: 0,
                needed: 63
            })
        );
        assert_eq!(
            verify_consistency(1, u64::MAX, &[], &hash, &hash),
            Err(ProofError::WrongLength {
                found: 0,
                needed: 64
            })
        );
    }
}
