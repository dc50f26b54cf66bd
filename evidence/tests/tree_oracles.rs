//! The tree side against independent implementations of the same specifications: `signed_note` and
//! `tlog_tiles` read what we write, and we read what they write.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

use std::convert::Infallible;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::Verifier as _;
use evidence::checkpoint::{Checkpoint, log_vkey, sign_checkpoint};
use evidence::cosignature::{cosign, verify_cosignature};
use evidence::hash::{Hash, Origin, leaf_hash, root_of};
use evidence::key::SigningKey;
use evidence::merkle::{
    LeafHashes, consistency_proof, inclusion_proof, verify_consistency, verify_inclusion,
};
use evidence::note::{Note, SignatureKind, Vkey};
use evidence::tiles::{
    Tile, TileKind, TileNodes, decode_entry_bundle, encode_entry_bundle, parse_tile,
    parse_tile_path, read_tile, tile_path,
};
use signed_note::{Signer as _, StandardSigner, StandardVerifier, Verifier, VerifierList};

const LEAVES: u64 = 70;

fn theirs(hash: &Hash) -> tlog_tiles::Hash {
    tlog_tiles::Hash(hash.0)
}

fn all_theirs(hashes: &[Hash]) -> Vec<tlog_tiles::Hash> {
    hashes.iter().map(theirs).collect()
}

fn ours(hashes: &[tlog_tiles::Hash]) -> Vec<Hash> {
    hashes.iter().map(|hash| Hash(hash.0)).collect()
}

fn record(i: u64) -> [u8; 8] {
    i.to_be_bytes()
}

fn our_leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|i| leaf_hash(&record(i))).collect()
}

fn first(leaves: &[Hash], size: u64) -> &[Hash] {
    &leaves[..usize::try_from(size).unwrap()]
}

/// Their dense storage of node hashes, filled by their code.
#[derive(Default)]
struct TheirStorage(Vec<tlog_tiles::Hash>);

impl tlog_tiles::HashReader for TheirStorage {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        Ok(indexes
            .iter()
            .map(|i| self.0[usize::try_from(*i).unwrap()])
            .collect())
    }
}

impl TheirStorage {
    fn of(count: u64) -> Self {
        let mut storage = Self::default();
        for i in 0..count {
            let new = tlog_tiles::stored_hashes(i, &record(i), &storage).unwrap();
            storage.0.extend(new);
        }
        storage
    }
}

#[test]
fn roots_and_proofs_are_equal_and_each_side_accepts_the_other() {
    let leaves = our_leaves(LEAVES);
    let storage = TheirStorage::of(LEAVES);
    for size in 1..=LEAVES {
        let root = root_of(first(&leaves, size));
        assert_eq!(tlog_tiles::tree_hash(size, &storage).unwrap().0, root.0);
        for index in 0..size {
            let leaf = &leaves[usize::try_from(index).unwrap()];
            let proof = inclusion_proof(&mut LeafHashes(&leaves), index, size).unwrap();
            let their_proof = tlog_tiles::prove_record(size, index, &storage).unwrap();
            assert_eq!(ours(&their_proof), proof);
            verify_inclusion(leaf, index, size, &ours(&their_proof), &root).unwrap();
            let as_theirs = all_theirs(&proof);
            tlog_tiles::check_record(&as_theirs, size, theirs(&root), index, theirs(leaf)).unwrap();

            let old = index + 1;
            let old_root = root_of(first(&leaves, old));
            let proof = consistency_proof(&mut LeafHashes(&leaves), old, size).unwrap();
            let their_proof = tlog_tiles::prove_tree(size, old, &storage).unwrap();
            assert_eq!(ours(&their_proof), proof);
            verify_consistency(old, size, &ours(&their_proof), &old_root, &root).unwrap();
            let as_theirs = all_theirs(&proof);
            tlog_tiles::check_tree(&as_theirs, size, theirs(&root), old, theirs(&old_root))
                .unwrap();
        }
    }
}

#[test]
fn both_sides_judge_an_altered_proof_alike() {
    let leaves = our_leaves(LEAVES);
    for (old, size) in [
        (1, 2),
        (3, 7),
        (6, 7),
        (8, 20),
        (33, 70),
        (64, 70),
        (69, 70),
    ] {
        let (old_root, root) = (root_of(first(&leaves, old)), root_of(first(&leaves, size)));
        let proof = consistency_proof(&mut LeafHashes(&leaves), old, size).unwrap();
        for i in 0..proof.len() {
            let mut bad = proof.clone();
            bad[i].0[31] ^= 1;
            let mut short = proof.clone();
            short.remove(i);
            let mut long = proof.clone();
            long.insert(i, root);
            for altered in [bad, short, long] {
                verify_consistency(old, size, &altered, &old_root, &root).unwrap_err();
                let altered = all_theirs(&altered);
                tlog_tiles::check_tree(&altered, size, theirs(&root), old, theirs(&old_root))
                    .unwrap_err();
            }
        }
    }
}

/// Their path has the tile height as an extra element; tlog-tiles fixes it to 8 and leaves it out.
fn in_their_form(path: &str) -> String {
    path.replacen("tile/", "tile/8/", 1)
        .replacen("tile/8/entries", "tile/8/data", 1)
}

#[test]
fn tile_paths_are_those_of_the_other_implementation() {
    for index in [0, 1, 999, 1000, 1_234_067, 1_000_000_000, u64::MAX / 256] {
        for width in [1, 8, 255, 256] {
            for level in [0, 1, 7] {
                let path = tile_path(level, index, width);
                let tile = tlog_tiles::Tile::new(8, level, index, u32::from(width), false);
                assert_eq!(in_their_form(&path), tile.path());
                assert_eq!(
                    tlog_tiles::Tile::from_path(&in_their_form(&path)).unwrap(),
                    tile
                );
            }
            let entries = Tile {
                kind: TileKind::Entries,
                index,
                width,
            };
            let tile = tlog_tiles::Tile::new(8, 0, index, u32::from(width), true);
            assert_eq!(in_their_form(&entries.to_string()), tile.path());
        }
    }
}

/// Our tiles, served to their client.
struct OurTiles(Vec<Hash>);

impl tlog_tiles::TileReader for OurTiles {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[tlog_tiles::Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        let read = |tile: &tlog_tiles::Tile| {
            let path = tile.path().replacen("tile/8/", "tile/", 1);
            let tile = parse_tile_path(&path).unwrap();
            let TileKind::Hashes(level) = tile.kind else {
                panic!("asked for {path}")
            };
            read_tile(&mut LeafHashes(&self.0), level, tile.index, tile.width).unwrap()
        };
        Ok(tiles.iter().map(read).collect())
    }

    fn save_tiles(&self, _tiles: &[tlog_tiles::Tile], _data: &[Vec<u8>]) {}
}

#[test]
fn their_client_authenticates_our_tiles_and_proves_from_them() {
    for size in [1_u64, 200, 256, 257, 1000, 66_000] {
        let leaves = our_leaves(size);
        let root = root_of(&leaves);
        let tiles = OurTiles(leaves.clone());
        let reader = tlog_tiles::TileHashReader::new(size, theirs(&root), &tiles);
        for index in [0, size / 2, size - 1] {
            let proof = tlog_tiles::prove_record(size, index, &reader).unwrap();
            let leaf = &leaves[usize::try_from(index).unwrap()];
            verify_inclusion(leaf, index, size, &ours(&proof), &root).unwrap();
        }
        // The tiles they would publish are exactly those that exist to us.
        for tile in tlog_tiles::Tile::new_tiles(8, 0, size) {
            let mine = Tile {
                kind: TileKind::Hashes(tile.level()),
                index: tile.level_index(),
                width: 256,
            };
            assert_eq!(mine.width_at(size).map(u32::from), Some(tile.width()));
        }
    }
}

#[test]
fn our_client_proves_from_their_tiles() {
    let size = 700;
    let storage = TheirStorage::of(size);
    let leaves = our_leaves(size);
    let fetch = |tile: &Tile| -> Result<Vec<Hash>, Infallible> {
        let TileKind::Hashes(level) = tile.kind else {
            panic!("not a hash tile")
        };
        let tile = tlog_tiles::Tile::new(8, level, tile.index, u32::from(tile.width), false);
        Ok(parse_tile(&tile.read_data(&storage).unwrap()).unwrap())
    };
    let mut tiles = TileNodes::new(size, fetch);
    let root = root_of(&leaves);
    for index in [0, 255, 256, 511, 512, 699] {
        let proof = inclusion_proof(&mut tiles, index, size).unwrap();
        let leaf = theirs(&leaves[usize::try_from(index).unwrap()]);
        tlog_tiles::check_record(&all_theirs(&proof), size, theirs(&root), index, leaf).unwrap();
    }
}

#[test]
fn an_entry_bundle_holds_the_records_of_its_level_0_tile() {
    let records: Vec<_> = (0..256).map(record).collect();
    let slices: Vec<&[u8]> = records.iter().map(<[u8; 8]>::as_slice).collect();
    let bundle = encode_entry_bundle(&slices).unwrap();
    let hashes: Vec<u8> = decode_entry_bundle(&bundle)
        .unwrap()
        .into_iter()
        .flat_map(|entry| tlog_tiles::record_hash(entry).0)
        .collect();
    assert_eq!(
        hashes,
        read_tile(&mut LeafHashes(&our_leaves(256)), 0, 0, 256).unwrap()
    );
}

fn origin() -> Origin {
    Origin::parse("example.com/gw/0001").unwrap()
}

#[test]
fn they_read_and_verify_our_checkpoints() {
    let key = SigningKey::from_seed([1; 32]);
    for size in [0, 1, 3, 70] {
        let checkpoint = Checkpoint {
            origin: origin(),
            size,
            root: root_of(&our_leaves(size)),
        };
        let bytes = sign_checkpoint(&checkpoint, &key).to_bytes();
        let vkey = log_vkey(&checkpoint.origin, &key.public()).to_string();

        let note = signed_note::Note::from_bytes(&bytes).unwrap();
        let known = VerifierList::new(vec![Box::new(StandardVerifier::new(&vkey).unwrap())]);
        let (verified, unknown) = note.verify(&known).unwrap();
        assert_eq!((verified.len(), unknown.len()), (1, 0));
        let read = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
        assert_eq!((read.origin(), read.size()), (origin().as_str(), size));
        assert_eq!(read.hash().0, checkpoint.root.0);
        assert_eq!(read.extension(), "");
    }
}

/// Their signer from a seed, in their private text form.
fn their_signer(name: &str, seed: [u8; 32]) -> StandardSigner {
    let public = ed25519_dalek::SigningKey::from_bytes(&seed).verifying_key();
    let id = signed_note::key_id(name, &[&[1][..], public.as_bytes()].concat());
    let private = STANDARD.encode([&[1][..], &seed].concat());
    StandardSigner::new(&format!("PRIVATE+KEY+{name}+{id:08x}+{private}")).unwrap()
}

#[test]
fn we_read_and_verify_their_checkpoints() {
    let root = root_of(&our_leaves(70));
    let text = tlog_tiles::Checkpoint::new(origin().as_str(), 70, theirs(&root), "")
        .unwrap()
        .to_bytes();
    let mut note = signed_note::Note::new(&text, &[]).unwrap();
    let signer = their_signer(origin().as_str(), [1; 32]);
    let stranger = their_signer("somebody.example", [2; 32]);
    note.add_sigs(&[&stranger, &signer]).unwrap();

    let note = Note::parse(&note.to_bytes()).unwrap();
    let vkey = log_vkey(&origin(), &SigningKey::from_seed([1; 32]).public());
    assert_eq!(u32::from_be_bytes(vkey.key_hash()), signer.key_id());
    let checkpoint = Checkpoint::open(&note, &vkey).unwrap();
    assert_eq!(
        checkpoint,
        Checkpoint {
            origin: origin(),
            size: 70,
            root
        }
    );

    // A checkpoint with an extension line is well-formed to them; it is not ours.
    let extended =
        tlog_tiles::Checkpoint::new(origin().as_str(), 70, theirs(&root), "more\n").unwrap();
    let extended = String::from_utf8(extended.to_bytes()).unwrap();
    Checkpoint::parse_body(&extended).unwrap_err();
}

/// A cosigner's key written from the specification, over the other Ed25519 and SHA-256.
struct TheirCosigner {
    name: String,
    key: ed25519_dalek::VerifyingKey,
}

impl Verifier for TheirCosigner {
    fn name(&self) -> &str {
        &self.name
    }

    fn key_id(&self) -> u32 {
        signed_note::key_id(&self.name, &[&[4][..], self.key.as_bytes()].concat())
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let Some((time, signature)) = signature.split_first_chunk::<8>() else {
            return false;
        };
        let mut signed = b"cosignature/v1\ntime ".to_vec();
        signed.extend(u64::from_be_bytes(*time).to_string().bytes());
        signed.push(b'\n');
        signed.extend(message);
        ed25519_dalek::Signature::from_slice(signature)
            .is_ok_and(|signature| self.key.verify(&signed, &signature).is_ok())
    }
}

#[test]
fn a_cosignature_of_ours_verifies_as_the_specification_says() {
    let root = root_of(&our_leaves(3));
    let log = SigningKey::from_seed([1; 32]);
    let witness = SigningKey::from_seed([2; 32]);
    let mut note = sign_checkpoint(
        &Checkpoint {
            origin: origin(),
            size: 3,
            root,
        },
        &log,
    );
    note.signatures.push(cosign(
        &note.text,
        "witness.example/w1",
        &witness,
        1_800_000_000,
    ));

    let key = ed25519_dalek::SigningKey::from_bytes(&[2; 32]).verifying_key();
    let cosigner = TheirCosigner {
        name: "witness.example/w1".into(),
        key,
    };
    let read = signed_note::Note::from_bytes(&note.to_bytes()).unwrap();
    let (verified, unknown) = read
        .verify(&VerifierList::new(vec![Box::new(cosigner)]))
        .unwrap();
    assert_eq!((verified.len(), unknown.len()), (1, 1));

    let vkey = Vkey::new(
        "witness.example/w1",
        SignatureKind::Cosignature,
        witness.public(),
    );
    let time = verify_cosignature(&note, &vkey.unwrap()).unwrap();
    assert_eq!(time, Some(1_800_000_000));
}
