//! The RFC 6962 Merkle tree: running roots, inclusion and consistency proofs.
//!
//! Nothing here stores a tree. A root is kept up to date by a [`CompactRange`] of at most 64
//! hashes; proofs are built through a [`NodeReader`], which knows where node hashes are kept, and
//! are checked against roots alone.

mod build;
mod range;
mod verify;

use thiserror::Error;

pub use build::{LeafHashes, NodeReader, consistency_proof, inclusion_proof, subtree_hash};
pub use range::CompactRange;
pub use verify::{root_from_inclusion, verify_consistency, verify_inclusion};

/// Largest size of a log: 2^63 - 1 entries, so that sizes fit a signed 64-bit integer everywhere.
pub const MAX_SIZE: u64 = i64::MAX.unsigned_abs();

/// Why a proof proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The leaf is not in a tree of this size.
    #[error("leaf {index} is not in a tree of {size} leaves")]
    IndexOutsideTree {
        /// Index of the leaf, from 0.
        index: u64,
        /// Leaves in the tree.
        size: u64,
    },
    /// Consistency is from a smaller tree to a larger one.
    #[error("the older tree ({old} leaves) is larger than the newer one ({new})")]
    TreeShrinks {
        /// Leaves of the older tree.
        old: u64,
        /// Leaves of the newer tree.
        new: u64,
    },
    /// The number of hashes follows from the sizes and is another one.
    #[error("the proof has {found} hashes, this tree needs {needed}")]
    WrongLength {
        /// Hashes in the proof.
        found: usize,
        /// Hashes that index and sizes demand.
        needed: usize,
    },
    /// The hashes do not lead to the newer (or only) root.
    #[error("the proof leads to another root")]
    RootDiffers,
    /// The hashes do not lead to the older root.
    #[error("the proof leads to another root of the older tree: history was rewritten")]
    OldRootDiffers,
    /// Parts of a compact range that do not belong together.
    #[error("{found} subtree hashes given for a tree of {size} leaves, which has {needed}")]
    RangeMismatch {
        /// Leaves of the tree.
        size: u64,
        /// Hashes given.
        found: usize,
        /// Hashes such a tree has: the ones in the binary form of `size`.
        needed: usize,
    },
    /// A size beyond [`MAX_SIZE`].
    #[error("a log of {0} entries is beyond the limit of 2^63 - 1")]
    SizeTooLarge(u64),
}
