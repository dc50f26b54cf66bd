//! Other people's CBOR and COSE code reads our entries and agrees about every byte of them.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use coset::{CborSerializable as _, TaggedCborSerializable as _, iana};
use ed25519_dalek::{Signature, VerifyingKey};
use evidence::chain::Chain;
use evidence::control::{Control, Genesis};
use evidence::entry::{Boot, ClockReading, ClockStatus, Entry};
use evidence::hash::Origin;
use evidence::key::SigningKey;

fn genesis_entry() -> (Origin, SigningKey, Vec<u8>) {
    let origin = Origin::parse("example.com/gw/0001").unwrap();
    let key = SigningKey::from_seed([1; 32]);
    let genesis = Genesis {
        origin: origin.as_str().to_owned(),
        log_key: SigningKey::from_seed([2; 32]).public(),
        entry_key: key.public(),
        software: "oracle".into(),
    };
    let (body, _) = Control::Genesis(genesis).into_body();
    let boot = Boot {
        counter: 1,
        id: [9; 8],
        monotonic_ms: 12,
    };
    let clock = ClockReading {
        unix_ms: 1_767_225_600_000,
        status: ClockStatus::Ntp,
        error_ms: 5,
    };
    let bytes = Chain::new(origin.clone())
        .next_entry(boot, clock, None, body)
        .sign(&origin, &key);
    (origin, key, bytes)
}

#[test]
fn coset_reads_an_entry_and_ed25519_dalek_accepts_its_signature_over_coset_s_own_structure() {
    let (origin, key, bytes) = genesis_entry();
    let sign1 = coset::CoseSign1::from_tagged_slice(&bytes).unwrap();
    let algorithm = coset::RegisteredLabelWithPrivate::Assigned(iana::Algorithm::Ed25519);
    assert_eq!(sign1.protected.header.alg, Some(algorithm));
    assert_eq!(sign1.protected.header.key_id, key.public().key_id());
    assert!(sign1.unprotected.is_empty());
    let aad = format!("fieldseal/entry/v1\n{}", origin.as_str());
    let dalek = VerifyingKey::from_bytes(key.public().bytes()).unwrap();
    sign1
        .verify_signature(aad.as_bytes(), |signature, message| {
            dalek.verify_strict(message, &Signature::from_slice(signature).unwrap())
        })
        .unwrap();
    assert_eq!(
        sign1.to_tagged_vec().unwrap(),
        bytes,
        "coset writes the very same bytes"
    );
}

#[test]
fn what_coset_signs_we_accept_and_what_it_tolerates_beyond_the_format_we_refuse() {
    let (origin, key, bytes) = genesis_entry();
    let signed = Entry::parse(&bytes).unwrap();
    signed.verify(&origin, &key.public()).unwrap();
    let mut sign1 = coset::CoseSign1::from_tagged_slice(&bytes).unwrap();
    sign1.unprotected.key_id = vec![1];
    let with_unprotected = sign1.to_tagged_vec().unwrap();
    assert!(coset::CoseSign1::from_tagged_slice(&with_unprotected).is_ok());
    assert!(
        Entry::parse(&with_unprotected).is_err(),
        "nothing stands outside the signature"
    );
    let untagged = coset::CoseSign1::from_tagged_slice(&bytes)
        .unwrap()
        .to_vec()
        .unwrap();
    assert!(Entry::parse(&untagged).is_err());
}

#[test]
fn minicbor_reads_the_signed_map_to_its_end() {
    let (_, _, bytes) = genesis_entry();
    let sign1 = coset::CoseSign1::from_tagged_slice(&bytes).unwrap();
    let payload = sign1.payload.unwrap();
    let mut decoder = minicbor::Decoder::new(&payload);
    decoder.skip().unwrap();
    assert_eq!(decoder.position(), payload.len());
    assert_eq!(evidence::cbor::validate(&payload), Ok(()));
}
