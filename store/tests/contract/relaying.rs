//! Leases of relays, and timestamp tokens.

use store::{Relay, TimestampToken};

use crate::bed::{Bed, NOW};
use crate::on_both;

on_both! {
    async fn a_lease_is_given_once_and_ends_by_itself(bed: &Bed) {
        let log = bed.log("example.com/gw/1").await;
        let claim = |target, now_ms, until_ms| bed.store.claim_relay(log, target, now_ms, until_ms);
        let first = claim("w1", NOW, NOW + 100).await.unwrap().unwrap();
        assert_eq!((first.size, first.done_ms, first.failures, first.error.clone()), (0, 0, 0, None));
        assert_eq!(claim("w1", NOW + 99, NOW + 500).await.unwrap(), None);
        assert!(claim("w2", NOW, NOW + 100).await.unwrap().is_some());
        assert!(claim("w1", NOW + 100, NOW + 200).await.unwrap().is_some());
        let done = Relay {
            size: 7,
            done_ms: NOW + 150,
            due_ms: NOW + 1000,
            failures: 3,
            error: Some("busy".to_owned()),
            ..first
        };
        bed.store.settle_relay(log, &done).await.unwrap();
        assert_eq!(claim("w1", NOW + 999, NOW + 2000).await.unwrap(), None);
        let again = claim("w1", NOW + 1000, NOW + 2000).await.unwrap().unwrap();
        assert_eq!(again, Relay { due_ms: NOW + 2000, ..done });
        let all = bed.store.relays_of_site(log.site).await.unwrap();
        let mine: Vec<&str> = all
            .iter()
            .filter(|(of, _relay)| *of == log.log)
            .map(|(_of, relay)| relay.target.as_str())
            .collect();
        assert_eq!(mine, ["w1", "w2"]);
    }

    async fn of_many_collectors_one_gets_the_lease(bed: &Bed) {
        let log = bed.log("example.com/gw/1").await;
        let claims = (0..8).map(|_| {
            let store = bed.store.clone();
            tokio::spawn(async move { store.claim_relay(log, "w1", NOW, NOW + 100).await.unwrap() })
        });
        let mut given = 0;
        for claim in claims.collect::<Vec<_>>() {
            given += usize::from(claim.await.unwrap().is_some());
        }
        assert_eq!(given, 1);
    }

    async fn timestamp_tokens_are_kept_and_listed_by_size(bed: &Bed) {
        let log = bed.log("example.com/gw/1").await;
        let token = |at_ms, size, token: &[u8]| TimestampToken {
            at_ms,
            size,
            note: [5; 32],
            token: token.to_vec(),
        };
        let (small, large) = (token(NOW + 1, 3, b"a"), token(NOW, 300, b"b"));
        for kept in [&large, &small, &token(NOW, 300, b"another")] {
            bed.store.keep_timestamp(log, kept).await.unwrap();
        }
        let listed = |from, to| bed.store.timestamps_by_size(log, from, to);
        assert_eq!(listed(0, u64::MAX).await.unwrap(), [small.clone(), large.clone()]);
        assert_eq!(listed(4, 300).await.unwrap(), [large]);
        assert_eq!(listed(3, 299).await.unwrap(), [small]);
    }
}
