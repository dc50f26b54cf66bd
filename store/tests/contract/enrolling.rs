//! Enrolment: a code works once, for one log, in its time.

use store::{Enrolled, StoreError};

use crate::bed::{Bed, NOW, append, enrol};
use crate::on_both;

on_both! {
    async fn an_enrolled_log_is_found_with_its_genesis_entry(bed: &Bed) {
        let log = bed.log("example.com/gw/1").await;
        let (found, token) = bed.store.locate(log.log).await.unwrap().unwrap();
        assert_eq!((found, token), (log, [1; 32]));
        let head = bed.store.head(log).await.unwrap().unwrap();
        assert_eq!(head.log.size, 1);
        assert_eq!(head.log.origin, "example.com/gw/1");
        assert_eq!(head.log.log_key, [7; 32]);
        assert_eq!(head.chain, b"chain at 1");
        assert_eq!(head.note, b"note at 1");
        assert_eq!(bed.store.logs_of_site(log.site).await.unwrap(), vec![head.log]);
        let code = bed.store.code("c0de0001").await.unwrap().unwrap();
        assert_eq!(code.used, Some((NOW + 1, log)));
        assert_eq!(code.secret, b"secret");
    }

    async fn a_used_code_enrols_no_other_log(bed: &Bed) {
        let log = bed.log("example.com/gw/1").await;
        let other = enrol("c0de0001", log.site, "example.com/gw/2");
        assert_eq!(bed.store.enrol(&other).await.unwrap(), Enrolled::Used);
        assert_eq!(bed.store.locate(other.genesis.log.log).await.unwrap(), None);
        assert_eq!(bed.store.log(other.genesis.log).await.unwrap(), None);
    }

    async fn an_enrolment_whose_answer_was_lost_is_repeated_with_a_new_token(bed: &Bed) {
        let log = bed.log("example.com/gw/1").await;
        let mut again = enrol("c0de0001", log.site, "example.com/gw/1");
        again.token = [2; 32];
        assert_eq!(bed.store.enrol(&again).await.unwrap(), Enrolled::Again(log));
        let (_, token) = bed.store.locate(log.log).await.unwrap().unwrap();
        assert_eq!(token, [2; 32]);
        assert_eq!(bed.size(log).await, 1);
    }

    async fn a_used_code_takes_no_token_away_once_the_log_has_delivered(bed: &Bed) {
        let log = bed.log("example.com/gw/1").await;
        bed.append(&append(log, 1, 1)).await;
        let mut again = enrol("c0de0001", log.site, "example.com/gw/1");
        again.token = [2; 32];
        assert_eq!(bed.store.enrol(&again).await.unwrap(), Enrolled::Delivered(log));
        let (_, token) = bed.store.locate(log.log).await.unwrap().unwrap();
        assert_eq!(token, [1; 32]);
        // A gateway that lost its token is given another code.
        bed.code("c0de0002", log.site).await;
        let mut other = enrol("c0de0002", log.site, "example.com/gw/1");
        other.token = [3; 32];
        assert_eq!(bed.store.enrol(&other).await.unwrap(), Enrolled::Again(log));
        assert_eq!(bed.size(log).await, 2);
    }

    async fn an_origin_with_other_first_bytes_is_taken_and_the_code_stays_good(bed: &Bed) {
        let log = bed.log("example.com/gw/1").await;
        bed.code("c0de0002", log.site).await;
        let mut other = enrol("c0de0002", log.site, "example.com/gw/1");
        other.genesis.rows[0].entry = b"another genesis".to_vec();
        assert_eq!(bed.store.enrol(&other).await.unwrap(), Enrolled::OriginTaken);
        assert_eq!(bed.store.code("c0de0002").await.unwrap().unwrap().used, None);
        let fresh = enrol("c0de0002", log.site, "example.com/gw/2");
        assert!(matches!(bed.store.enrol(&fresh).await.unwrap(), Enrolled::New(_)));
    }

    async fn unknown_and_expired_codes_are_refused(bed: &Bed) {
        let site = bed.store.create_site("Site A", NOW).await.unwrap().id;
        bed.code("c0de0001", site).await;
        let unknown = enrol("deadbeef", site, "example.com/gw/1");
        assert_eq!(bed.store.enrol(&unknown).await.unwrap(), Enrolled::UnknownCode);
        let mut late = enrol("c0de0001", site, "example.com/gw/1");
        late.genesis.now_ms = NOW + 1000;
        assert_eq!(bed.store.enrol(&late).await.unwrap(), Enrolled::Expired);
        assert_eq!(bed.store.log(late.genesis.log).await.unwrap(), None);
    }

    async fn a_code_id_is_never_given_twice(bed: &Bed) {
        let site = bed.store.create_site("Site A", NOW).await.unwrap().id;
        bed.code("c0de0001", site).await;
        let code = bed.store.code("c0de0001").await.unwrap().unwrap();
        assert!(matches!(
            bed.store.create_code(&code).await,
            Err(StoreError::Exists { .. })
        ));
    }

    async fn of_many_enrolments_with_one_code_one_log_gets_in(bed: &Bed) {
        let site = bed.store.create_site("Site A", NOW).await.unwrap().id;
        bed.code("c0de0001", site).await;
        let mut racing = tokio::task::JoinSet::new();
        for number in 0..6 {
            let store = bed.store.clone();
            let enrol = enrol("c0de0001", site, &format!("example.com/gw/{number}"));
            racing.spawn(async move { store.enrol(&enrol).await.unwrap() });
        }
        let outcomes = racing.join_all().await;
        let new = outcomes.iter().filter(|outcome| matches!(outcome, Enrolled::New(_))).count();
        let used = outcomes.iter().filter(|outcome| **outcome == Enrolled::Used).count();
        assert_eq!((new, used), (1, 5), "{outcomes:?}");
        assert_eq!(bed.store.logs_of_site(site).await.unwrap().len(), 1);
    }

    async fn of_many_enrolments_of_one_origin_by_different_codes_one_genesis_gets_in(bed: &Bed) {
        let site = bed.store.create_site("Site A", NOW).await.unwrap().id;
        let mut racing = tokio::task::JoinSet::new();
        for number in 0..6u8 {
            let code = format!("c0de000{number}");
            bed.code(&code, site).await;
            let store = bed.store.clone();
            let mut enrol = enrol(&code, site, "example.com/gw/1");
            enrol.genesis.rows[0].entry = vec![number];
            racing.spawn(async move { (code, store.enrol(&enrol).await.unwrap()) });
        }
        let mut new = 0;
        for (code, outcome) in racing.join_all().await {
            let used = bed.store.code(&code).await.unwrap().unwrap().used.is_some();
            let entered = matches!(outcome, Enrolled::New(_));
            assert!(entered || outcome == Enrolled::OriginTaken, "{outcome:?}");
            assert_eq!(used, entered, "a refusal uses no code up");
            new += u32::from(entered);
        }
        assert_eq!(new, 1);
    }

    async fn a_replaced_gateway_token_takes_the_old_ones_place(bed: &Bed) {
        let log = bed.log("example.com/gw/1").await;
        bed.store.replace_gateway_token(log.log, [9; 32]).await.unwrap();
        assert_eq!(bed.store.locate(log.log).await.unwrap().unwrap().1, [9; 32]);
        let absent = store::LogId::of_origin("example.com/gw/none");
        assert!(matches!(
            bed.store.replace_gateway_token(absent, [9; 32]).await,
            Err(StoreError::Absent { .. })
        ));
    }

    async fn an_append_to_a_log_that_was_never_enrolled_is_refused(bed: &Bed) {
        let site = bed.store.create_site("Site A", NOW).await.unwrap().id;
        let enrol = enrol("c0de0001", site, "example.com/gw/1");
        assert!(matches!(
            bed.store.append(&append(enrol.genesis.log, 0, 1)).await,
            Err(StoreError::Absent { .. })
        ));
    }
}
