//! Properties of the tree side's readers: they never panic, they accept only what they would write,
//! and what they accept another implementation accepts with the same meaning.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use evidence::checkpoint::{Checkpoint, log_vkey, sign_checkpoint};
use evidence::cosignature::cosign;
use evidence::hash::{Hash, Origin, leaf_hash, root_of};
use evidence::key::SigningKey;
use evidence::merkle::{
    CompactRange, LeafHashes, consistency_proof, inclusion_proof, verify_consistency,
    verify_inclusion,
};
use evidence::note::{Note, SignatureKind, Vkey};
use evidence::policy::Policy;
use evidence::proof::TlogProof;
use evidence::tiles::{decode_entry_bundle, encode_entry_bundle, parse_tile, parse_tile_path};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::Index;
use proptest::{prop_assert, prop_assert_eq, proptest};

fn leaves(count: usize) -> Vec<Hash> {
    (0..count)
        .map(|i| leaf_hash(&u64::try_from(i).unwrap().to_be_bytes()))
        .collect()
}

/// A cosigned checkpoint.
fn sample_note() -> Vec<u8> {
    let origin = Origin::parse("example.com/gw/0001").unwrap();
    let checkpoint = Checkpoint {
        origin,
        size: 5,
        root: root_of(&leaves(5)),
    };
    let mut note = sign_checkpoint(&checkpoint, &SigningKey::from_seed([1; 32]));
    let witness = SigningKey::from_seed([2; 32]);
    note.signatures
        .push(cosign(&note.text, "w.example", &witness, 1_800_000_000));
    note.to_bytes()
}

fn sample_proof() -> Vec<u8> {
    let leaves = leaves(5);
    TlogProof {
        extra: Some(b"extra".to_vec()),
        index: 3,
        hashes: inclusion_proof(&mut LeafHashes(&leaves), 3, 5).unwrap(),
        checkpoint: Note::parse(&sample_note()).unwrap(),
    }
    .to_bytes()
}

fn sample_policy() -> Vec<u8> {
    let origin = Origin::parse("example.com/gw/0001").unwrap();
    let log = log_vkey(&origin, &SigningKey::from_seed([1; 32]).public());
    let witness = |seed: u8| {
        let public = SigningKey::from_seed([seed; 32]).public();
        Vkey::new("w.example", SignatureKind::Cosignature, public).unwrap()
    };
    format!(
        "log {log}\nwitness A {}\nwitness B {}\ngroup g 2 A B\nquorum g\n",
        witness(2),
        witness(3)
    )
    .into_bytes()
}

/// One edit of a text: the kinds of damage that keep most of its form.
#[derive(Debug, Clone)]
enum Edit {
    Set(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Repeat(Index, Index),
    Cut(Index),
}

impl Edit {
    fn any() -> impl Strategy<Value = Self> {
        let byte = || {
            prop_oneof![
                any::<u8>(),
                Just(b'\n'),
                Just(b' '),
                Just(b'\r'),
                Just(b'='),
                Just(b'+'),
                Just(b'0'),
            ]
        };
        prop_oneof![
            (any::<Index>(), byte()).prop_map(|(at, byte)| Self::Set(at, byte)),
            (any::<Index>(), byte()).prop_map(|(at, byte)| Self::Insert(at, byte)),
            any::<Index>().prop_map(Self::Remove),
            (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Self::Repeat(a, b)),
            any::<Index>().prop_map(Self::Cut),
        ]
    }

    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        match self {
            Self::Set(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            Self::Insert(at, byte) => bytes.insert(at.index(bytes.len()), *byte),
            Self::Remove(at) => drop(bytes.remove(at.index(bytes.len()))),
            Self::Repeat(a, b) => {
                let (a, b) = (a.index(bytes.len()), b.index(bytes.len()));
                let part = bytes[a.min(b)..a.max(b)].to_vec();
                bytes.splice(a.max(b)..a.max(b), part);
            }
            Self::Cut(at) => bytes.truncate(at.index(bytes.len())),
        }
    }
}

fn edited(mut bytes: Vec<u8>, edits: &[Edit]) -> Vec<u8> {
    for edit in edits {
        edit.apply(&mut bytes);
    }
    bytes
}

proptest! {
    #[test]
    fn an_accepted_note_is_written_back_and_accepted_by_another_reader(
        edits in vec(Edit::any(), 0..4),
    ) {
        let bytes = edited(sample_note(), &edits);
        if let Ok(note) = Note::parse(&bytes) {
            prop_assert_eq!(note.to_bytes(), bytes.clone());
            let theirs = signed_note::Note::from_bytes(&bytes).unwrap();
            prop_assert_eq!(theirs.text(), note.text.as_bytes());
            prop_assert_eq!(theirs.to_bytes(), bytes);
            if let Ok(checkpoint) = Checkpoint::parse_body(&note.text) {
                prop_assert_eq!(checkpoint.body(), note.text.clone());
                let theirs = tlog_tiles::Checkpoint::from_bytes(note.text.as_bytes()).unwrap();
                prop_assert_eq!(theirs.size(), checkpoint.size);
                prop_assert_eq!(theirs.hash().0, checkpoint.root.0);
                prop_assert_eq!(theirs.extension(), "");
            }
        }
    }

    #[test]
    fn an_edited_note_never_verifies_with_another_text(edits in vec(Edit::any(), 1..4)) {
        let origin = Origin::parse("example.com/gw/0001").unwrap();
        let log = log_vkey(&origin, &SigningKey::from_seed([1; 32]).public());
        let original = Note::parse(&sample_note()).unwrap();
        if let Ok(note) = Note::parse(&edited(sample_note(), &edits))
            && note.verify(&[log]).is_ok()
        {
            prop_assert_eq!(note.text, original.text);
        }
    }

    #[test]
    fn an_accepted_proof_file_is_written_back(edits in vec(Edit::any(), 0..4)) {
        let bytes = edited(sample_proof(), &edits);
        if let Ok(proof) = TlogProof::parse(&bytes) {
            prop_assert_eq!(proof.to_bytes(), bytes);
        }
    }

    #[test]
    fn an_edited_policy_is_read_or_refused_by_line(edits in vec(Edit::any(), 0..4)) {
        if let Ok(text) = String::from_utf8(edited(sample_policy(), &edits))
            && let Ok(policy) = Policy::parse(&text)
        {
            let witnesses = u32::try_from(policy.witnesses().len()).unwrap();
            prop_assert!(policy.split_view_number() <= witnesses);
            let _judged = policy.evaluate(&Note::parse(&sample_note()).unwrap());
        }
    }

    #[test]
    fn no_reader_panics_on_any_bytes(bytes in vec(any::<u8>(), 0..600)) {
        let text = String::from_utf8_lossy(&bytes);
        let _note = Note::parse(&bytes);
        let _proof = TlogProof::parse(&bytes);
        let _policy = Policy::parse(&text);
        let _vkey = Vkey::parse(&text);
        let _body = Checkpoint::parse_body(&text);
        let _path = parse_tile_path(&text);
        let _tile = parse_tile(&bytes);
        if let Ok(entries) = decode_entry_bundle(&bytes) {
            prop_assert_eq!(encode_entry_bundle(&entries).unwrap(), bytes);
        }
    }

    #[test]
    fn an_accepted_tile_path_is_written_back(path in "tile/[0-9a-z/.]{1,24}") {
        if let Ok(tile) = parse_tile_path(&path) {
            prop_assert_eq!(tile.to_string(), path);
        }
    }

    #[test]
    fn proofs_hold_in_trees_of_any_size(size in 1_usize..3000, at in any::<Index>()) {
        let leaves = leaves(size);
        let (at, size) = (at.index(size), u64::try_from(size).unwrap());
        let (index, root) = (u64::try_from(at).unwrap(), root_of(&leaves));
        let proof = inclusion_proof(&mut LeafHashes(&leaves), index, size).unwrap();
        prop_assert_eq!(verify_inclusion(&leaves[at], index, size, &proof, &root), Ok(()));
        let old_root = root_of(&leaves[..at]);
        let proof = consistency_proof(&mut LeafHashes(&leaves), index, size).unwrap();
        prop_assert_eq!(verify_consistency(index, size, &proof, &old_root, &root), Ok(()));
    }

    #[test]
    fn a_range_cut_anywhere_and_continued_reaches_the_same_root(
        size in 0_usize..3000,
        at in any::<Index>(),
    ) {
        let leaves = leaves(size);
        let (before, after) = leaves.split_at(at.index(size + 1));
        let mut range = CompactRange::new();
        before.iter().for_each(|leaf| range.append(leaf));
        let mut range =
            CompactRange::from_parts(range.size(), range.hashes().to_vec()).unwrap();
        after.iter().for_each(|leaf| range.append(leaf));
        prop_assert_eq!(range.root(), root_of(&leaves));
    }

    #[test]
    fn any_proof_that_is_not_the_right_one_fails(
        size in 1_u64..=u64::MAX,
        index in any::<u64>(),
        hashes in vec(any::<[u8; 32]>(), 0..70),
    ) {
        let hashes: Vec<Hash> = hashes.into_iter().map(Hash).collect();
        let root = leaf_hash(b"no proof leads here");
        prop_assert!(verify_inclusion(&root, index, size, &hashes, &root).is_err()
            || (size == 1 && index == 0 && hashes.is_empty()));
        let old_root = leaf_hash(b"nor here");
        prop_assert!(verify_consistency(index, size, &hashes, &old_root, &root).is_err());
    }
}
