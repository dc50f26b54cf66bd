//! Hashes of the tree from the store, for proofs and for beginning in the middle of a log.
//!
//! The proof functions of `evidence` ask for one node after the other and cannot wait. So they run
//! against what is known already; what they lack is fetched, and they run again.

use std::collections::HashMap;

use evidence::hash::{Hash, node_hash};
use evidence::merkle::{CompactRange, NodeReader, inclusion_proof};
use store::{LogRef, Store};

use crate::problem::{Answer, Problem};

#[derive(Default)]
struct Known(HashMap<(u8, u64), Hash>);

/// A node that was asked for and is not known yet.
struct Missing {
    level: u8,
    index: u64,
}

impl NodeReader for Known {
    type Error = Missing;

    fn node(&mut self, level: u8, index: u64) -> Result<Hash, Missing> {
        self.0
            .get(&(level, index))
            .copied()
            .ok_or(Missing { level, index })
    }
}

/// The hash of a complete subtree: kept are the levels 0, 8, 16, …; others are at most 128 hashes
/// above one of them.
async fn fetch(store: &Store, log: LogRef, level: u8, index: u64) -> Answer<Hash> {
    let (kept, above) = (level / 8 * 8, level % 8);
    let (from, to) = (index << above, (index + 1) << above);
    let hashes = store.hashes(log, kept, from, to).await?;
    let mut hashes: Vec<Hash> = hashes.into_iter().map(Hash).collect();
    if u64::try_from(hashes.len()).is_ok_and(|found| found != to - from) {
        let text = format!(
            "log {}: subtree {index} of level {level} is not in the store",
            log.log
        );
        return Err(Problem::internal(&text));
    }
    while hashes.len() > 1 {
        hashes = hashes
            .as_chunks::<2>()
            .0
            .iter()
            .map(|[left, right]| node_hash(left, right))
            .collect();
    }
    hashes
        .pop()
        .ok_or_else(|| Problem::internal(&"an empty subtree was asked for"))
}

async fn with_nodes<T>(
    store: &Store,
    log: LogRef,
    mut run: impl FnMut(&mut Known) -> Result<T, Missing>,
) -> Answer<T> {
    let mut known = Known::default();
    loop {
        match run(&mut known) {
            Ok(done) => return Ok(done),
            Err(Missing { level, index }) => {
                let hash = fetch(store, log, level, index).await?;
                known.0.insert((level, index), hash);
            }
        }
    }
}

/// The inclusion proof of an entry in the tree of `size`.
pub(crate) async fn proof(store: &Store, log: LogRef, index: u64, size: u64) -> Answer<Vec<Hash>> {
    with_nodes(store, log, |known| inclusion_proof(known, index, size)).await
}

/// The right edge of the tree of the first `size` entries.
pub(crate) async fn range(store: &Store, log: LogRef, size: u64) -> Answer<CompactRange> {
    let mut hashes = Vec::new();
    let mut start = 0_u64;
    for level in (0..63_u8).rev() {
        if size & (1 << level) != 0 {
            hashes.push(fetch(store, log, level, start >> level).await?);
            start += 1 << level;
        }
    }
    CompactRange::from_parts(size, hashes).map_err(|error| Problem::internal(&error))
}
