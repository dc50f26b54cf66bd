//! The worked example of `FORMAT.md`: fixed keys, three leaves, every byte that follows from them.
//! A change here is a change of the format.

use evidence::checkpoint::{Checkpoint, log_vkey, sign_checkpoint};
use evidence::cosignature::cosign;
use evidence::hash::{Hash, Origin, leaf_hash, node_hash, root_of};
use evidence::key::SigningKey;
use evidence::merkle::{LeafHashes, consistency_proof, inclusion_proof};
use evidence::note::{SignatureKind, Vkey};
use evidence::policy::Policy;
use evidence::proof::TlogProof;

const LEAVES: [&[u8]; 3] = [b"one", b"two", b"three"];

const LOG_VKEY: &str = "example.com/gw/0001+6bd98662+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c";
const WITNESS_VKEY: &str =
    "witness.example.org/w1+6d7ef907+BIE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOU";

const PROOF: &str = "\
c2sp.org/tlog-proof@v1
index 1
0Nc2CrefWKseHj/mStd+LqC8B+NrX0btIiPt2SmN+ek=
Zx8UbF5HHooag6PCFM5LqQe486WIjRTMjNPOdbsS75Q=

example.com/gw/0001
3
Wqx3HImawpLnS/Gv4ubjAvi1WIOy0b8Ze0amvqbavKk=

— example.com/gw/0001 a9mGYpnUpaC+HTGuxfYD+9RlhMslGlFLZRevBVDtowx9SnHFvY6bHDLd5PCzw7+qHJX7D7aP6w05Zm74BM0JdkQHOgo=
— witness.example.org/w1 bX75BwAAAABpVbkAUPyOJ6rCPNBKXruyujUUkMNtdJEKq5W/jZHPMNApa/LD0/pgAw922/GwOBGOOUutUxLfQx6A3W90OfjF3QLqBw==
";

fn leaves() -> Vec<Hash> {
    LEAVES.iter().map(|bytes| leaf_hash(bytes)).collect()
}

#[test]
fn the_hashes_of_the_example_are_those_printed() {
    let leaves = leaves();
    let hex = [
        "d0d7360ab79f58ab1e1e3fe64ad77e2ea0bc07e36b5f46ed2223edd9298df9e9",
        "ab1ab7f07c7c8fe0eff4ba6faa53c7e4412e91a599153e8aa4e01beece5b7825",
        "671f146c5e471e8a1a83a3c214ce4ba907b8f3a5888d14cc8cd3ce75bb12ef94",
    ];
    assert_eq!(
        leaves.iter().map(|leaf| leaf.to_hex()).collect::<Vec<_>>(),
        hex
    );
    assert_eq!(
        node_hash(&leaves[0], &leaves[1]).to_hex(),
        "4f55f619d9215235778b2b9f17d6f4915b16171214d152381293669764de722e"
    );
    assert_eq!(
        root_of(&leaves).to_hex(),
        "5aac771c899ac292e74bf1afe2e6e302f8b55883b2d1bf197b46a6bea6dabca9"
    );
    let proof = consistency_proof(&mut LeafHashes(&leaves), 2, 3).unwrap();
    assert_eq!(proof, [leaves[2]]);
}

#[test]
fn the_keys_of_the_example_have_the_names_printed() {
    let origin = Origin::parse("example.com/gw/0001").unwrap();
    let (log, witness) = (
        SigningKey::from_seed([1; 32]),
        SigningKey::from_seed([2; 32]),
    );
    assert_eq!(
        origin.id().to_hex(),
        "ee808db5c5c4ff0e4e4aeee96470674bb103d43030df22b797fa3fd55d52c778"
    );
    assert_eq!(
        log.public().key_id(),
        [0x0c, 0xa7, 0x60, 0x68, 0x74, 0xe3, 0xc9, 0x38]
    );
    assert_eq!(log_vkey(&origin, &log.public()).to_string(), LOG_VKEY);
    let vkey = Vkey::new(
        "witness.example.org/w1",
        SignatureKind::Cosignature,
        witness.public(),
    )
    .unwrap();
    assert_eq!(vkey.to_string(), WITNESS_VKEY);
}

#[test]
fn the_proof_file_of_the_example_is_written_and_read_byte_for_byte() {
    let leaves = leaves();
    let origin = Origin::parse("example.com/gw/0001").unwrap();
    let checkpoint = Checkpoint {
        origin,
        size: 3,
        root: root_of(&leaves),
    };
    let mut note = sign_checkpoint(&checkpoint, &SigningKey::from_seed([1; 32]));
    let witness = SigningKey::from_seed([2; 32]);
    note.signatures.push(cosign(
        &note.text,
        "witness.example.org/w1",
        &witness,
        1_767_225_600, // 2026-01-01T00:00:00Z
    ));
    let hashes = inclusion_proof(&mut LeafHashes(&leaves), 1, 3).unwrap();
    let proof = TlogProof {
        extra: None,
        index: 1,
        hashes,
        checkpoint: note,
    };
    assert_eq!(String::from_utf8(proof.to_bytes()).unwrap(), PROOF);

    let read = TlogProof::parse(PROOF.as_bytes()).unwrap();
    assert_eq!(read.verify(&leaves[1]).unwrap(), checkpoint);
    let text = format!("log {LOG_VKEY}\nwitness W1 {WITNESS_VKEY}\nquorum W1\n");
    let quorum = Policy::parse(&text)
        .unwrap()
        .evaluate(&read.checkpoint)
        .unwrap();
    assert_eq!((quorum.met, quorum.time), (true, Some(1_767_225_600)));
}

#[test]
fn the_format_text_shows_this_proof_file() {
    let format = include_str!("../FORMAT.md");
    assert!(format.contains(PROOF), "section T1 of FORMAT.md");
}
