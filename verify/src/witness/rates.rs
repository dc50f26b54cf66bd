//! How often one log may be cosigned.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// A minute's worth of cosignatures per log at once, refilled evenly.
///
/// What makes a tree grow and what cosigns the same tree again are counted apart: anybody can repeat
/// a published checkpoint, but only the log's key makes a larger one, so nobody can use up the log's
/// own share. In memory: it guards the machine, not the state.
#[derive(Debug)]
pub(super) struct Rates {
    per_minute: u32,
    // A std mutex: held for a map operation, never across an await.
    buckets: Mutex<HashMap<(String, bool), Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// In thousandths of a cosignature, so that refilling loses nothing to rounding.
    left: i64,
    at_ms: i64,
}

const UNIT: i64 = 1000;

impl Rates {
    pub(super) fn new(per_minute: u32) -> Self {
        Self {
            per_minute,
            buckets: Mutex::default(),
        }
    }

    /// Takes one, or says after how many seconds to come back. Only known logs come here, so the map
    /// is as long as the list of logs.
    pub(super) fn take(&self, origin: &str, grows: bool, now_ms: i64) -> Result<(), u64> {
        let per_minute = i64::from(self.per_minute);
        let full = per_minute * UNIT;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.entry((origin.to_owned(), grows)).or_insert(Bucket {
            left: full,
            at_ms: now_ms,
        });
        let passed = now_ms.saturating_sub(bucket.at_ms).clamp(0, 60_000);
        bucket.left = full.min(bucket.left + passed * per_minute / 60);
        bucket.at_ms = now_ms;
        if bucket.left >= UNIT {
            bucket.left -= UNIT;
            return Ok(());
        }
        let wait_ms = (UNIT - bucket.left) * 60 / per_minute;
        Err(u64::try_from(wait_ms / 1000).unwrap_or(0) + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeating_a_checkpoint_uses_up_nothing_of_what_a_growing_log_may() {
        let rates = Rates::new(2);
        assert_eq!(
            (0..9).filter(|_| rates.take("a", false, 0).is_ok()).count(),
            2
        );
        assert_eq!(
            (0..9).filter(|_| rates.take("a", true, 0).is_ok()).count(),
            2
        );
        assert_eq!(
            (0..9).filter(|_| rates.take("b", true, 0).is_ok()).count(),
            2
        );
        assert_eq!(rates.take("a", true, 0), Err(31));
        assert_eq!(rates.take("a", true, 30_000), Ok(()));
        assert!(rates.take("a", true, 30_000).is_err());
    }
}
