//! How much one log, or one peer, may ask of the collector.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

/// A bucket per log or peer: as many requests at once as a minute allows, refilled evenly.
///
/// Kept in memory: after a restart everybody starts full, and several collectors beside one another
/// count apart. It guards the machine, not the evidence.
#[derive(Debug)]
pub(crate) struct Rates<K> {
    per_minute: u32,
    // A std mutex: held for a few map operations, never across an await.
    buckets: Mutex<HashMap<K, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// In thousandths of a request, so that refilling loses nothing to rounding.
    left: i64,
    at_ms: i64,
}

/// Full buckets are forgotten when there are more than this.
const MOST_BUCKETS: usize = 10_000;
const UNIT: i64 = 1000;

impl<K: Copy + Debug + Eq + Hash> Rates<K> {
    pub(crate) fn new(per_minute: u32) -> Self {
        Self {
            per_minute,
            buckets: Mutex::new(HashMap::new()),
        }
    }

    /// Takes one request out of a bucket, or says after how many seconds to come back.
    pub(crate) fn take(&self, key: K, now_ms: i64) -> Result<(), u64> {
        let full = i64::from(self.per_minute) * UNIT;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() > MOST_BUCKETS {
            buckets.retain(|_key, bucket| bucket.left < full && now_ms - bucket.at_ms < 60_000);
        }
        let bucket = buckets.entry(key).or_insert(Bucket {
            left: full,
            at_ms: now_ms,
        });
        // Thousandths per millisecond: per_minute * 1000 / 60000. A clock that went back gives
        // nothing and takes nothing.
        let passed = (now_ms - bucket.at_ms).clamp(0, 60_000);
        bucket.left = full.min(bucket.left + passed * i64::from(self.per_minute) / 60);
        bucket.at_ms = now_ms;
        if bucket.left >= UNIT {
            bucket.left -= UNIT;
            return Ok(());
        }
        let wait_ms = (UNIT - bucket.left) * 60 / i64::from(self.per_minute);
        Err(u64::try_from(wait_ms / 1000).unwrap_or(0) + 1)
    }

    /// Gives back what [`Rates::take`] took: that request does not count.
    pub(crate) fn give_back(&self, key: K) {
        let full = i64::from(self.per_minute) * UNIT;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.get_mut(&key) {
            bucket.left = full.min(bucket.left + UNIT);
        }
    }
}

/// Who is behind an address: of IPv6 the /64, which one subscriber has whole.
pub(crate) fn peer_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use store::LogId;

    use super::{Rates, peer_of};

    #[test]
    fn what_is_given_back_can_be_taken_again_and_no_more() {
        let rates = Rates::new(2);
        rates.give_back(1);
        assert_eq!((rates.take(1, 0), rates.take(1, 0)), (Ok(()), Ok(())));
        rates.give_back(1);
        assert_eq!(rates.take(1, 0), Ok(()));
        assert!(rates.take(1, 0).is_err());
        for _ in 0..9 {
            rates.give_back(1);
        }
        assert_eq!((0..9).filter(|_| rates.take(1, 0).is_ok()).count(), 2);
    }

    #[test]
    fn a_peer_is_an_ipv4_address_or_an_ipv6_network() {
        let peer = |text: &str| peer_of(text.parse::<IpAddr>().unwrap()).to_string();
        assert_eq!(peer("192.0.2.7"), "192.0.2.7");
        assert_eq!(peer("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(peer("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }

    #[test]
    fn a_minutes_worth_at_once_then_evenly_and_each_log_for_itself() {
        let rates = Rates::new(60);
        let (one, two) = (LogId([1; 32]), LogId([2; 32]));
        assert_eq!((0..60).filter(|_| rates.take(one, 0).is_ok()).count(), 60);
        assert_eq!(rates.take(one, 0), Err(2));
        assert_eq!(rates.take(two, 0), Ok(()));
        assert_eq!(rates.take(one, 500), Err(1));
        assert_eq!(rates.take(one, 1000), Ok(()));
        assert_eq!(rates.take(one, 1000), Err(2));
        // The clock goes back: nothing is given, nothing is lost for long.
        assert!(rates.take(one, -50_000).is_err());
        assert_eq!(rates.take(one, -49_000), Ok(()));
    }
}
