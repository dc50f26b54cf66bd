//! Published vectors, embedded: what the primitives and formats must do, by other people's word.

use evidence::checkpoint::Checkpoint;
use evidence::hash::{Hash, leaf_hash, root_of, sha256};
use evidence::key::VerifyingKey;
use evidence::note::{Note, Vkey};
use evidence::proof::TlogProof;
use serde::Deserialize;

use super::Case;

fn case(group: &str, name: impl Into<String>, expected: &str, found: &str) -> Case {
    Case {
        group: group.to_owned(),
        name: name.into(),
        expected: expected.to_owned(),
        found: found.to_owned(),
        passed: expected == found,
    }
}

/// Every vector, in order of its group.
pub(super) fn all() -> Vec<Case> {
    let mut cases = hashes();
    cases.extend(signatures());
    cases.extend(wycheproof());
    cases.extend(small_order());
    cases.extend(trees());
    cases.extend(notes());
    cases
}

/// FIPS 180-4, as published by NIST with the standard.
fn hashes() -> Vec<Case> {
    let vectors = [
        (
            "",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
        (
            "abc",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ),
        (
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
    ];
    let tried = |(text, hash): (&str, &str)| {
        let found = sha256(text.as_bytes()).to_hex();
        case("SHA-256 (FIPS 180-4)", format!("`{text}`"), hash, &found)
    };
    vectors.into_iter().map(tried).collect()
}

const VALID: &str = "valid";
const INVALID: &str = "invalid";

fn verified(key: &[u8], message: &[u8], signature: &[u8]) -> &'static str {
    let key = VerifyingKey::from_slice(key);
    let signature = <&[u8; 64]>::try_from(signature);
    match (key, signature) {
        (Ok(key), Ok(signature)) if key.verify(message, signature).is_ok() => VALID,
        _ => INVALID,
    }
}

/// RFC 8032, section 7.1: tests 1 to 3, each also with one bit of the signature changed.
fn signatures() -> Vec<Case> {
    let vectors = [
        (
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
    ];
    let mut cases = Vec::new();
    for (number, (key, message, signature)) in (1..).zip(vectors) {
        let bytes = |text: &str| hex::decode(text).unwrap_or_default();
        let (key, message, mut signature) = (bytes(key), bytes(message), bytes(signature));
        let group = "Ed25519 (RFC 8032)";
        let found = verified(&key, &message, &signature);
        cases.push(case(group, format!("test {number}"), VALID, found));
        if let Some(byte) = signature.last_mut() {
            *byte ^= 1;
        }
        let found = verified(&key, &message, &signature);
        cases.push(case(
            group,
            format!("test {number}, one bit changed"),
            INVALID,
            found,
        ));
    }
    cases
}

#[derive(Deserialize)]
struct Published {
    vectors: Vec<(u32, String, String, String, bool)>,
}

/// All Ed25519 vectors of Project Wycheproof.
fn wycheproof() -> Vec<Case> {
    let group = "Ed25519 (Wycheproof)";
    let text = include_str!("../../testdata/published/ed25519.json");
    let Ok(published) = serde_json::from_str::<Published>(text) else {
        return vec![case(group, "the vectors are read", "read", "not read")];
    };
    let bytes = |text: &str| hex::decode(text).unwrap_or_default();
    let tried = |(number, key, message, signature, valid): &(u32, String, String, String, bool)| {
        let found = verified(&bytes(key), &bytes(message), &bytes(signature));
        let expected = if *valid { VALID } else { INVALID };
        case(group, format!("vector {number}"), expected, found)
    };
    published.vectors.iter().map(tried).collect()
}

/// The public keys under which one signature fits any message (CCTV, `low_order_A`).
fn small_order() -> Vec<Case> {
    let keys = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    ];
    let tried = |key: &str| {
        let read = VerifyingKey::from_slice(&hex::decode(key).unwrap_or_default());
        let found = if read.is_err() { "refused" } else { "accepted" };
        case("small-order keys (CCTV)", key, "refused", found)
    };
    keys.into_iter().map(tried).collect()
}

/// The reference tree of the Certificate Transparency projects: roots over its first 1 to 8 leaves.
fn trees() -> Vec<Case> {
    let leaves: [&[u8]; 8] = [
        b"",
        &[0x00],
        &[0x10],
        &[0x20, 0x21],
        &[0x30, 0x31],
        &[0x40, 0x41, 0x42, 0x43],
        &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
        &[
            0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d,
            0x6e, 0x6f,
        ],
    ];
    let roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let hashes: Vec<Hash> = leaves.iter().map(|leaf| leaf_hash(leaf)).collect();
    let tried = |(count, root): (usize, &str)| {
        let found = root_of(hashes.get(..count).unwrap_or_default()).to_hex();
        case(
            "Merkle tree (RFC 6962)",
            format!("{count} leaves"),
            root,
            &found,
        )
    };
    (1..).zip(roots).map(tried).collect()
}

/// The example of the signed-note specification.
const NOTE_KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const NOTE: &str = "This is an example message.\n\n\
    — example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
/// A proof of the worked example of FORMAT.md, T1, which two other implementations read.
const PROOF: &str = "c2sp.org/tlog-proof@v1\nindex 1\n\
    0Nc2CrefWKseHj/mStd+LqC8B+NrX0btIiPt2SmN+ek=\nZx8UbF5HHooag6PCFM5LqQe486WIjRTMjNPOdbsS75Q=\n\n\
    example.com/gw/0001\n3\nWqx3HImawpLnS/Gv4ubjAvi1WIOy0b8Ze0amvqbavKk=\n\n\
    — example.com/gw/0001 a9mGYpnUpaC+HTGuxfYD+9RlhMslGlFLZRevBVDtowx9SnHFvY6bHDLd5PCzw7+qHJX7D7aP6w05Zm74BM0JdkQHOgo=\n\
    — witness.example.org/w1 bX75BwAAAABpVbkAUPyOJ6rCPNBKXruyujUUkMNtdJEKq5W/jZHPMNApa/LD0/pgAw922/GwOBGOOUutUxLfQx6A3W90OfjF3QLqBw==\n";
const PROOF_LOG: &str = "example.com/gw/0001+6bd98662+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c";
const PROOF_WITNESS: &str =
    "witness.example.org/w1+6d7ef907+BIE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOU";

/// Whether every key's line of a note verifies.
fn signed(note: &str, keys: &[&str]) -> &'static str {
    let keys: Option<Vec<Vkey>> = keys.iter().map(|key| Vkey::parse(key).ok()).collect();
    let note = Note::parse(note.as_bytes());
    match (keys, note) {
        (Some(keys), Ok(note)) => match note.verify(&keys) {
            Ok(verified) if verified.len() == keys.len() => VALID,
            _ => INVALID,
        },
        _ => INVALID,
    }
}

/// Signed note, checkpoint, cosignature and proof as C2SP describes them.
fn notes() -> Vec<Case> {
    let group = "notes and proofs (C2SP)";
    let included = |leaf: &[u8], proof: &str| {
        let judged = TlogProof::parse(proof.as_bytes()).and_then(|p| p.verify(&leaf_hash(leaf)));
        if judged.is_ok() { VALID } else { INVALID }
    };
    let checkpoint = PROOF.split_once("\n\n").map_or("", |(_, note)| note);
    let opened = |log: &str| {
        let (Ok(note), Ok(key)) = (Note::parse(checkpoint.as_bytes()), Vkey::parse(log)) else {
            return INVALID;
        };
        if Checkpoint::open(&note, &key).is_ok_and(|checkpoint| checkpoint.size == 3) {
            VALID
        } else {
            INVALID
        }
    };
    let changed = NOTE.replace("message", "massage");
    let cosigned = checkpoint.replace("AAAABpVbkA", "AAAABpVbkB");
    let windows = NOTE.replace('\n', "\r\n");
    let other = PROOF.replace("index 1", "index 2");
    vec![
        case(
            group,
            "the signed note of the specification",
            VALID,
            signed(NOTE, &[NOTE_KEY]),
        ),
        case(
            group,
            "its text changed",
            INVALID,
            signed(&changed, &[NOTE_KEY]),
        ),
        case(
            group,
            "its lines ended as on Windows",
            INVALID,
            signed(&windows, &[NOTE_KEY]),
        ),
        case(
            group,
            "a checkpoint under its log's key",
            VALID,
            opened(PROOF_LOG),
        ),
        case(
            group,
            "a checkpoint under another key",
            INVALID,
            opened(NOTE_KEY),
        ),
        case(
            group,
            "a checkpoint with its log's and its witness's signature",
            VALID,
            signed(checkpoint, &[PROOF_LOG, PROOF_WITNESS]),
        ),
        case(
            group,
            "the time of the cosignature changed",
            INVALID,
            signed(&cosigned, &[PROOF_LOG, PROOF_WITNESS]),
        ),
        case(
            group,
            "a proof of inclusion",
            VALID,
            included(b"two", PROOF),
        ),
        case(
            group,
            "a proof for another entry",
            INVALID,
            included(b"three", PROOF),
        ),
        case(
            group,
            "a proof for another place",
            INVALID,
            included(b"two", &other),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::all;

    #[test]
    fn every_published_vector_comes_out_as_published() {
        let cases = all();
        assert!(cases.len() > 190, "{}", cases.len());
        for case in &cases {
            assert!(case.passed, "{case:?}");
        }
        let groups: std::collections::BTreeSet<_> = cases.iter().map(|case| &case.group).collect();
        assert_eq!(groups.len(), 6);
        // Both answers are expected often enough: a verifier that says one thing only would fail.
        for answer in ["valid", "invalid"] {
            assert!(cases.iter().filter(|case| case.expected == answer).count() > 20);
        }
    }
}
