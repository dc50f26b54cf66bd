//! What others published about the formats we share with them: the examples of the C2SP specifications,
//! Go's signed notes, and the proofs of RFC 6962 trees of transparency-dev/merkle, most of them wrong.
//!
//! The examples are quoted from <https://github.com/C2SP/C2SP> at 5ba5ee830903e91240fc6f9f3a7a9293d49e69c9 (CC BY 4.0:
//! signed-note, tlog-checkpoint, tlog-cosignature, tlog-proof, tlog-policy, tlog-tiles) and from the
//! documentation of Go's `sumdb/note` (BSD).
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use evidence::checkpoint::Checkpoint;
use evidence::hash::{Hash, empty_root, leaf_hash, root_of};
use evidence::key::SigningKey;
use evidence::merkle::{verify_consistency, verify_inclusion};
use evidence::note::{Note, NoteError, SignatureKind, Vkey};
use evidence::policy::{Met, Policy};
use evidence::proof::TlogProof;
use evidence::tiles::tile_path;
use serde_json::Value;

const MESSAGE: &str = "This is an example message.\n\n\
    — example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
const MESSAGE_KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const POEM: &str = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n\
    — quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";
const CHECKPOINT: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
    — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
    — witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";

fn vkey(text: &str) -> Vkey {
    Vkey::parse(text).unwrap()
}

#[test]
fn the_signed_note_of_the_specification_verifies_and_a_changed_one_does_not() {
    let key = [vkey(MESSAGE_KEY)];
    let note = Note::parse(MESSAGE.as_bytes()).unwrap();
    assert_eq!(note.to_bytes(), MESSAGE.as_bytes());
    assert_eq!(note.text, "This is an example message.\n");
    assert_eq!(note.verify(&key).unwrap().len(), 1);
    let changed = MESSAGE.replace("message", "massage");
    assert!(matches!(
        Note::parse(changed.as_bytes()).unwrap().verify(&key),
        Err(NoteError::BadSignature(_))
    ));
    let stranger = Note::parse(POEM.as_bytes()).unwrap();
    assert!(matches!(
        stranger.verify(&key),
        Err(NoteError::NoKnownSignature(_))
    ));
    // The text may hold empty lines; the last one separates.
    assert!(stranger.text.ends_with("sole:\n\ned è subito sera.\n"));
    assert_eq!(stranger.to_bytes(), POEM.as_bytes());
}

#[test]
fn go_s_notes_verify_with_both_signers_with_one_and_with_an_unknown_one() {
    let text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
    let peter = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    let enoch = "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n";
    let keys = [
        vkey("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"),
        vkey("EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"),
    ];
    let both = format!("{text}\n{peter}{enoch}");
    let note = Note::parse(both.as_bytes()).unwrap();
    assert_eq!(note.verify(&keys).unwrap().len(), 2);
    assert_eq!(note.verify(&keys[1..]).unwrap().len(), 1, "one is unknown");
    // A bad line of a known key refuses the note, although the other one is good.
    let bad = both.replace("x08go/ZJ", "x08go/ZK");
    let note = Note::parse(bad.as_bytes()).unwrap();
    assert!(matches!(
        note.verify(&keys),
        Err(NoteError::BadSignature(_))
    ));
    assert_eq!(note.verify(&keys[1..]).unwrap().len(), 1);
}

#[test]
fn the_specification_s_checkpoint_and_cosigned_checkpoint_are_read_byte_for_byte() {
    let note = Note::parse(CHECKPOINT.as_bytes()).unwrap();
    assert_eq!(note.to_bytes(), CHECKPOINT.as_bytes());
    let checkpoint = Checkpoint::parse_body(&note.text).unwrap();
    assert_eq!(checkpoint.origin.as_str(), "example.com/behind-the-sofa");
    assert_eq!(checkpoint.size, 20_852_163);
    assert_eq!(checkpoint.body(), note.text);
    let cosigned = &note.signatures[1];
    assert_eq!(cosigned.name, "witness.example.com/w1");
    assert_eq!(cosigned.bytes.len(), 72, "a time and a signature");
    let time = u64::from_be_bytes(cosigned.bytes[..8].try_into().unwrap());
    assert_eq!(time, 1_679_315_147, "its time, 2023-03-20");
}

#[test]
fn a_proof_file_in_the_specification_s_form_is_read_with_and_without_extra_data() {
    // The specification abbreviates the signatures and its extra data; its own checkpoint stands in.
    let hashes = "gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=\nB95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=\n\
        EKNzoDWG8LGC0Yp9o+sv3qllpMP9uHQ9B20KNL+Q1zs=\n";
    let extra = "extra YWdlLXYxLjIuMS1kYXJ3aW4tYXJtNjQudGFyLmd6";
    let with = format!("c2sp.org/tlog-proof@v1\n{extra}\nindex 73894\n{hashes}\n{CHECKPOINT}");
    let without = format!("c2sp.org/tlog-proof@v1\nindex 73894\n{hashes}\n{CHECKPOINT}");
    for file in [&with, &without] {
        let proof = TlogProof::parse(file.as_bytes()).unwrap();
        assert_eq!((proof.index, proof.hashes.len()), (73_894, 3));
        assert_eq!(proof.to_bytes(), file.as_bytes());
        assert!(
            proof.verify(&Hash([0; 32])).is_err(),
            "three hashes prove nothing in a tree of 20 million leaves"
        );
    }
    for wrong in [
        with.replace("@v1", "@v2"),
        with.replace("index 7", "index 07"),
        with.replace("index ", "index  "),
        format!("{without}\n"),
        without.replace("\n\nexample", "\nexample"),
        with.replace(extra, "extra "),
    ] {
        assert!(TlogProof::parse(wrong.as_bytes()).is_err(), "{wrong}");
    }
}

#[test]
fn the_specification_s_policy_is_met_by_exactly_the_sets_it_describes() {
    let witness = |seed: u8| {
        let name = format!("w{seed}.example");
        let key = SigningKey::from_seed([seed; 32]).public();
        Vkey::new(&name, SignatureKind::Cosignature, key).unwrap()
    };
    let [x1, x2, x3, y1, y2, y3] = [1, 2, 3, 4, 5, 6].map(witness);
    let text = format!(
        "log {MESSAGE_KEY}\n\nwitness X1 {x1}\nwitness X2 {x2}\nwitness X3 {x3}\ngroup X-witnesses 2 X1 X2 X3\n\n\
        witness Y1 {y1}\nwitness Y2 {y2}\nwitness Y3 {y3}\ngroup Y-witnesses any Y1 Y2 Y3\n\n\
        group X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n"
    );
    let policy = Policy::parse(&text).unwrap();
    for set in 0..64_u64 {
        let times: Vec<Option<u64>> = (0..6)
            .map(|bit| (set >> bit & 1 == 1).then_some(100 + bit))
            .collect();
        let (x, y) = ((set & 7).count_ones(), (set >> 3).count_ones());
        let met = policy.met(&times) != Met::Never;
        assert_eq!(met, x >= 2 && y >= 1, "witnesses {set:06b}");
    }
    // Two of three must lie for two views to be signed, and any of the others may do so too.
    assert_eq!(policy.split_view_number(), 1);
    for (wrong, with) in [
        (
            "a name before its line",
            text.replace("Y1 Y2 Y3", "Y1 Y2 Z3"),
        ),
        (
            "a threshold above its members",
            text.replace(" 2 X1", " 4 X1"),
        ),
        ("a threshold of nothing", text.replace(" 2 X1", " 0 X1")),
        ("a member twice", text.replace("X1 X2 X3\n", "X1 X2 X2\n")),
        ("two quorums", format!("{text}quorum X1\n")),
        ("no quorum", text.replace("quorum X-and-Y\n", "")),
        ("a carriage return", text.replace('\n', "\r\n")),
        (
            "one key twice",
            text.replace(&y1.to_string(), &x1.to_string()),
        ),
        ("an unknown line", format!("{text}witnesses all\n")),
    ] {
        assert!(Policy::parse(&with).is_err(), "{wrong}");
    }
    let busy = text
        .replace("\n\n", "\n\t # a comment\n \n")
        .replace(' ', " \t");
    assert!(Policy::parse(&busy).is_ok(), "blanks and comments");
}

#[test]
fn a_tile_s_path_is_the_specification_s_example() {
    assert_eq!(tile_path(0, 1_234_067, 256), "tile/0/x001/x234/067");
    assert_eq!(tile_path(0, 1_234_067, 8), "tile/0/x001/x234/067.p/8");
}

fn published() -> Vec<Value> {
    serde_json::from_str(include_str!("../testdata/rfc6962/proofs.json")).unwrap()
}

fn hash(value: &Value) -> Option<Hash> {
    Hash::from_base64(value.as_str()?).ok()
}

/// Whether we accept a published case. What has no 32 bytes is no hash, and is refused when it is read.
fn accepted(case: &Value) -> bool {
    let number = |key: &str| case[key].as_u64().unwrap();
    let none = Vec::new();
    let proof: Option<Vec<Hash>> = case["proof"]
        .as_array()
        .unwrap_or(&none)
        .iter()
        .map(hash)
        .collect();
    let Some(proof) = proof else { return false };
    if case["case"].as_str().unwrap().starts_with("inclusion") {
        let (Some(leaf), Some(root)) = (hash(&case["leafHash"]), hash(&case["root"])) else {
            return false;
        };
        verify_inclusion(&leaf, number("leafIdx"), number("treeSize"), &proof, &root).is_ok()
    } else {
        let (Some(first), Some(second)) = (hash(&case["root1"]), hash(&case["root2"])) else {
            return false;
        };
        verify_consistency(number("size1"), number("size2"), &proof, &first, &second).is_ok()
    }
}

#[test]
fn every_published_proof_has_its_published_result() {
    let cases = published();
    let (mut right, mut wrong) = (0, 0);
    for case in &cases {
        // One case has two roots that are no hashes, for readers that never look at them when sizes are equal.
        let no_hashes = case["root1"] == "ZG9uJ3QgY2FyZSAy" && case["root2"] == case["root1"];
        let refuse = no_hashes || case["wantErr"].as_bool().unwrap();
        assert_eq!(accepted(case), !refuse, "{case}");
        if refuse {
            wrong += 1;
        } else {
            right += 1;
        }
    }
    assert_eq!((right, wrong), (11, 185));
}

/// The tree of RFC 6962's reference implementation: eight leaves, and the root of each size.
#[test]
fn the_reference_tree_has_its_published_roots() {
    let inputs = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
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
    let bytes = |text: &str| -> Vec<u8> {
        (0..text.len() / 2)
            .map(|at| u8::from_str_radix(text.get(2 * at..2 * at + 2).unwrap(), 16).unwrap())
            .collect()
    };
    let leaves: Vec<Hash> = inputs.iter().map(|text| leaf_hash(&bytes(text))).collect();
    for (size, root) in (1..).zip(roots) {
        assert_eq!(root_of(&leaves[..size]).to_hex(), root, "{size} leaves");
    }
    assert_eq!(
        empty_root().to_hex(),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
}
