//! Consistency proofs from the hashes that the store keeps.
//!
//! The proof functions of `evidence` ask for one node after the other and cannot wait. So they run
//! against what is known already; what they lack is fetched, and they run again: at most once per
//! hash of the proof and its parts, some 130 times.

use std::collections::HashMap;

use evidence::hash::{Hash, root_of};
use evidence::merkle::{NodeReader, consistency_proof};
use store::{LogRef, Store, StoreError};

#[derive(Default)]
struct Known(HashMap<(u8, u64), Hash>);

/// A node that was asked for and is not known yet.
struct Missing(u8, u64);

impl NodeReader for Known {
    type Error = Missing;

    fn node(&mut self, level: u8, index: u64) -> Result<Hash, Missing> {
        let known = self.0.get(&(level, index)).copied();
        known.ok_or(Missing(level, index))
    }
}

/// The consistency proof of a log from its first `old` entries to its first `new`.
pub(super) async fn between(
    store: &Store,
    log: LogRef,
    old: u64,
    new: u64,
) -> Result<Vec<Hash>, StoreError> {
    let mut known = Known::default();
    loop {
        match consistency_proof(&mut known, old, new) {
            Ok(proof) => return Ok(proof),
            Err(Missing(level, index)) => {
                let hash = fetch(store, log, level, index).await?;
                known.0.insert((level, index), hash);
            }
        }
    }
}

/// The hash of a complete subtree: kept are the levels 0, 8, 16, …; others are at most 128 hashes
/// above one of them.
async fn fetch(store: &Store, log: LogRef, level: u8, index: u64) -> Result<Hash, StoreError> {
    let (kept, above) = (level / 8 * 8, level % 8);
    let (from, to) = (index << above, (index + 1) << above);
    let hashes = store.hashes(log, kept, from, to).await?;
    let hashes: Vec<Hash> = hashes.into_iter().map(Hash).collect();
    if u64::try_from(hashes.len()).is_ok_and(|found| found != to - from) {
        return Err(StoreError::Damaged(format!(
            "subtree {index} of level {level} of log {} is not complete",
            log.log
        )));
    }
    Ok(root_of(&hashes))
}
