//! Ours accepts a subset: whatever bytes one of our readers accepts, independent readers of the same
//! formats accept too, and read the same from them.
//!
//! Well-formed bytes are changed at random, so that most inputs are near the border; the run is the same
//! every time, and as long as one likes with `FIELDSEAL_FUZZ_ROUNDS`. Each reader must accept many inputs,
//! or the comparison would say nothing.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use coset::TaggedCborSerializable as _;
use evidence::checkpoint::Checkpoint;
use evidence::entry::Entry;
use evidence::hash::{Hash, leaf_hash, root_of};
use evidence::key::{SigningKey, VerifyingKey};
use evidence::merkle::{
    LeafHashes, consistency_proof, inclusion_proof, verify_consistency, verify_inclusion,
};
use evidence::note::{Note, SignatureKind, Vkey};
use evidence::proof::TlogProof;
use evidence::tiles::{TileKind, parse_tile_path};
use signed_note::Verifier as _;

/// Inputs for each reader, if `FIELDSEAL_FUZZ_ROUNDS` does not say otherwise.
const ROUNDS: u64 = 20_000;

/// A small generator with a fixed beginning (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % end.max(1)
    }

    /// None to three changes, so that some inputs stay well-formed.
    fn mutate(&mut self, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        for _ in 0..self.below(4) {
            let at = self.below(bytes.len() + 1);
            let byte = self.next().to_be_bytes()[0];
            match self.below(7) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 if at < bytes.len() => bytes[at] = [0, 1, b'0', b' ', b'\n', 0xFF][self.below(6)],
                2 if at < bytes.len() => drop(bytes.drain(at..=at)),
                3 if at < bytes.len() => bytes[at] = bytes[at].wrapping_add(1),
                4 => bytes.insert(at, byte),
                5 => bytes.truncate(at),
                _ => {
                    let other = &seeds[self.below(seeds.len())];
                    let from = self.below(other.len());
                    let to = (from + self.below(30)).min(other.len());
                    bytes.splice(at..at, other[from..to].iter().copied());
                }
            }
        }
    }
}

/// Changes seeds and hands them to a reader, which says whether ours accepted and compares if so.
fn fuzz(seeds: &[Vec<u8>], reader: impl Fn(&[u8]) -> bool) {
    let rounds = std::env::var("FIELDSEAL_FUZZ_ROUNDS");
    let rounds = rounds.map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut accepted = 0;
    for _ in 0..rounds {
        let mut bytes = seeds[random.below(seeds.len())].clone();
        random.mutate(&mut bytes, seeds);
        accepted += u64::from(reader(&bytes));
    }
    assert!(
        accepted > rounds / 50,
        "only {accepted} of {rounds} were accepted"
    );
    assert!(accepted < rounds, "nothing was refused");
}

/// The blocks of the format's worked examples: entries in hex, and texts.
fn blocks() -> Vec<String> {
    let format = include_str!("../FORMAT.md");
    let blocks = format.split("```").skip(1).step_by(2);
    blocks
        .filter_map(|block| Some(block.split_once('\n')?.1.to_owned()))
        .collect()
}

fn entries() -> Vec<Vec<u8>> {
    let hex = |text: &str| -> Option<Vec<u8>> {
        let digits: String = text.split_whitespace().collect();
        (0..digits.len() / 2)
            .map(|at| u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok())
            .collect()
    };
    let entries: Vec<Vec<u8>> = blocks()
        .iter()
        .filter_map(|block| hex(block))
        .filter(|bytes| Entry::parse(bytes).is_ok())
        .collect();
    assert!(entries.len() >= 3, "the worked example");
    entries
}

#[test]
fn coset_reads_every_entry_that_we_read_and_finds_the_same_in_it() {
    fuzz(&entries(), |bytes| {
        let Ok(signed) = Entry::parse(bytes) else {
            return false;
        };
        let theirs = coset::CoseSign1::from_tagged_slice(bytes).unwrap();
        assert!(
            theirs.unprotected.is_empty(),
            "nothing outside the signature"
        );
        assert_eq!(theirs.protected.header.key_id, signed.key_id);
        assert_eq!(theirs.signature.len(), 64);
        assert_eq!(
            theirs.clone().to_tagged_vec().unwrap(),
            bytes,
            "one encoding"
        );
        let mut decoder = minicbor::Decoder::new(theirs.payload.as_ref().unwrap());
        let pairs = decoder.map().unwrap().expect("a definite length");
        assert!(pairs >= 7);
        let mut number = || decoder.u64().unwrap();
        let [key, kind, next, index] = [number(), number(), number(), number()];
        assert!((key, next) == (0, 1) && kind <= 2);
        assert_eq!(index, signed.entry.index);
        true
    });
}

#[test]
fn minicbor_and_ciborium_read_all_the_cbor_that_we_read_and_write_it_back_unchanged() {
    let mut seeds: Vec<Vec<u8>> = entries()
        .iter()
        .map(|entry| {
            let sign1 = coset::CoseSign1::from_tagged_slice(entry).unwrap();
            sign1.payload.unwrap()
        })
        .collect();
    seeds.extend([
        vec![0],
        vec![0x20],
        vec![0xf6],
        vec![0x82, 0x01, 0x61, 0x61],
    ]);
    fuzz(&seeds, |bytes| {
        if evidence::cbor::validate(bytes).is_err() {
            return false;
        }
        let mut decoder = minicbor::Decoder::new(bytes);
        decoder.skip().unwrap();
        assert_eq!(decoder.position(), bytes.len(), "to the end");
        let value: coset::cbor::Value = coset::cbor::from_reader(bytes).unwrap();
        let mut again = Vec::new();
        coset::cbor::into_writer(&value, &mut again).unwrap();
        assert_eq!(again, bytes, "the one encoding");
        true
    });
}

fn keys() -> (SigningKey, SigningKey) {
    (
        SigningKey::from_seed([1; 32]),
        SigningKey::from_seed([2; 32]),
    )
}

fn notes() -> Vec<Vec<u8>> {
    let (log, witness) = keys();
    let checkpoint = |size| Checkpoint {
        origin: evidence::hash::Origin::parse("example.com/gw/0001").unwrap(),
        size,
        root: root_of(&leaves(size)),
    };
    [1, 5, 64]
        .map(|size| {
            let mut note = evidence::checkpoint::sign_checkpoint(&checkpoint(size), &log);
            let line =
                evidence::cosignature::cosign(&note.text, "w.example/1", &witness, 1_767_225_600);
            note.signatures.push(line);
            note.to_bytes()
        })
        .to_vec()
}

fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|at| leaf_hash(&at.to_be_bytes())).collect()
}

#[test]
fn signed_note_and_tlog_tiles_read_every_note_and_checkpoint_that_we_read() {
    let (log, _) = keys();
    let origin = evidence::hash::Origin::parse("example.com/gw/0001").unwrap();
    let vkey = evidence::checkpoint::log_vkey(&origin, &log.public());
    let known = [vkey.clone()];
    let theirs = signed_note::StandardVerifier::new(&vkey.to_string()).unwrap();
    fuzz(&notes(), |bytes| {
        let Ok(note) = Note::parse(bytes) else {
            return false;
        };
        let read = signed_note::Note::from_bytes(bytes).unwrap();
        assert_eq!(read.text(), note.text.as_bytes());
        assert_eq!(read.to_bytes(), bytes);
        if note.verify(&known).is_ok() {
            let line = note
                .signatures
                .iter()
                .find(|line| line.name == vkey.name())
                .unwrap();
            assert!(theirs.verify(note.text.as_bytes(), &line.bytes));
        }
        if let Ok(checkpoint) = Checkpoint::parse_body(&note.text) {
            let read = tlog_tiles::Checkpoint::from_bytes(note.text.as_bytes()).unwrap();
            assert_eq!(read.origin(), checkpoint.origin.as_str());
            assert_eq!(read.size(), checkpoint.size);
            assert_eq!(read.hash().0, checkpoint.root.0);
            assert_eq!(read.extension(), "", "what we refuse");
        }
        true
    });
}

#[test]
fn signed_note_reads_every_log_key_that_we_read() {
    let (log, witness) = keys();
    let key =
        |key: &SigningKey, kind| Vkey::new("example.com/gw/0001", kind, key.public()).unwrap();
    let seeds: Vec<Vec<u8>> = [
        key(&log, SignatureKind::Ed25519),
        key(&witness, SignatureKind::Ed25519),
        key(&witness, SignatureKind::Cosignature),
    ]
    .iter()
    .map(|vkey| vkey.to_string().into_bytes())
    .collect();
    fuzz(&seeds, |bytes| {
        let Some(vkey) = std::str::from_utf8(bytes)
            .ok()
            .and_then(|text| Vkey::parse(text).ok())
        else {
            return false;
        };
        if vkey.kind() == SignatureKind::Ed25519 {
            let theirs = signed_note::StandardVerifier::new(&vkey.to_string()).unwrap();
            assert_eq!(theirs.name(), vkey.name());
            assert_eq!(theirs.key_id().to_be_bytes(), vkey.key_hash());
        }
        true
    });
}

#[test]
fn tlog_tiles_reads_every_tile_path_that_we_read() {
    let seeds: Vec<Vec<u8>> = [
        "tile/0/x001/x234/067.p/8",
        "tile/3/000",
        "tile/entries/005.p/255",
        "tile/entries/x001/000",
    ]
    .iter()
    .map(|path| path.as_bytes().to_vec())
    .collect();
    fuzz(&seeds, |bytes| {
        let Some(tile) = std::str::from_utf8(bytes)
            .ok()
            .and_then(|path| parse_tile_path(path).ok())
        else {
            return false;
        };
        // Theirs writes the height into the path, `tile/8/…`, and `data` for entries.
        let path = tile.to_string();
        let rest = path.strip_prefix("tile/").unwrap();
        let in_their_form = match tile.kind {
            TileKind::Hashes(_) => format!("tile/8/{rest}"),
            TileKind::Entries => format!("tile/8/data/{}", rest.strip_prefix("entries/").unwrap()),
        };
        let theirs = tlog_tiles::Tile::from_path(&in_their_form).unwrap();
        assert_eq!(theirs.level_index(), tile.index);
        assert_eq!(theirs.width(), u32::from(tile.width));
        true
    });
}

#[test]
fn tlog_tiles_accepts_every_inclusion_and_consistency_proof_that_we_accept() {
    const MOST: u64 = 40;
    let all = leaves(MOST);
    // size, index or old size, then the hashes.
    let mut inclusion = Vec::new();
    let mut consistency = Vec::new();
    for size in 1..MOST {
        for at in (0..size).step_by(7) {
            let proof = |hashes: Vec<Hash>, at: u64| {
                let mut bytes = vec![u8::try_from(size).unwrap(), u8::try_from(at).unwrap()];
                hashes.iter().for_each(|hash| bytes.extend(hash.0));
                bytes
            };
            let Ok(hashes) = inclusion_proof(&mut LeafHashes(&all), at, size);
            inclusion.push(proof(hashes, at));
            let Ok(hashes) = consistency_proof(&mut LeafHashes(&all), at + 1, size);
            consistency.push(proof(hashes, at + 1));
        }
    }
    let read = |bytes: &[u8]| -> Option<(u64, u64, Vec<Hash>)> {
        let (head, rest) = bytes.split_first_chunk::<2>()?;
        let hashes = rest
            .chunks_exact(32)
            .map(|hash| Hash::from_slice(hash).unwrap())
            .collect();
        let fits = rest.len().is_multiple_of(32) && u64::from(head[0]) <= MOST;
        fits.then_some((u64::from(head[0]), u64::from(head[1]), hashes))
    };
    let first = |size: u64| root_of(&all[..usize::try_from(size).unwrap()]);
    let theirs = |hashes: &[Hash]| -> Vec<tlog_tiles::Hash> {
        hashes.iter().map(|hash| tlog_tiles::Hash(hash.0)).collect()
    };
    let as_theirs = |hash: Hash| tlog_tiles::Hash(hash.0);
    fuzz(&inclusion, |bytes| {
        let Some((size, index, hashes)) = read(bytes) else {
            return false;
        };
        let Some(leaf) = all.get(usize::try_from(index).unwrap()) else {
            return false;
        };
        let root = first(size);
        let accepted = verify_inclusion(leaf, index, size, &hashes, &root).is_ok();
        if index < size {
            let judged = tlog_tiles::check_record(
                &theirs(&hashes),
                size,
                as_theirs(root),
                index,
                as_theirs(*leaf),
            );
            assert_eq!(judged.is_ok(), accepted, "both judge alike");
        } else {
            assert!(!accepted);
        }
        accepted
    });
    fuzz(&consistency, |bytes| {
        let Some((size, old, hashes)) = read(bytes) else {
            return false;
        };
        if old > MOST {
            return false;
        }
        let (before, after) = (first(old), first(size));
        let accepted = verify_consistency(old, size, &hashes, &before, &after).is_ok();
        // Theirs has no proof from the empty tree; ours is the empty one.
        if (1..=size).contains(&old) {
            let judged = tlog_tiles::check_tree(
                &theirs(&hashes),
                size,
                as_theirs(after),
                old,
                as_theirs(before),
            );
            assert_eq!(judged.is_ok(), accepted, "both judge alike");
        }
        accepted
    });
}

#[test]
fn a_proof_file_that_we_read_holds_a_note_that_signed_note_reads() {
    let all = leaves(5);
    let Ok(hashes) = inclusion_proof(&mut LeafHashes(&all), 3, 5);
    let seeds: Vec<Vec<u8>> = [None, Some(b"more".to_vec())]
        .into_iter()
        .map(|extra| {
            let proof = TlogProof {
                extra,
                index: 3,
                hashes: hashes.clone(),
                checkpoint: Note::parse(&notes()[1]).unwrap(),
            };
            proof.to_bytes()
        })
        .collect();
    fuzz(&seeds, |bytes| {
        let Ok(proof) = TlogProof::parse(bytes) else {
            return false;
        };
        let note = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap() + 2;
        let theirs = signed_note::Note::from_bytes(&bytes[note..]).unwrap();
        assert_eq!(theirs.text(), proof.checkpoint.text.as_bytes());
        true
    });
}

#[test]
fn ed25519_dalek_accepts_every_signature_that_we_accept() {
    use ed25519_dalek::Verifier as _;
    let message = b"a reading";
    let seeds: Vec<Vec<u8>> = (1..20_u8)
        .map(|seed| {
            let key = SigningKey::from_seed([seed; 32]);
            [&key.public().bytes()[..], &key.sign(message)].concat()
        })
        .collect();
    fuzz(&seeds, |bytes| {
        let Some((key, signature)) = bytes.split_first_chunk::<32>() else {
            return false;
        };
        let Some(signature) = signature
            .first_chunk::<64>()
            .filter(|_| signature.len() == 64)
        else {
            return false;
        };
        let Ok(ours) = VerifyingKey::from_bytes(key) else {
            return false;
        };
        let accepted = ours.verify(message, signature).is_ok();
        let theirs = ed25519_dalek::VerifyingKey::from_bytes(key);
        if accepted {
            let signature = ed25519_dalek::Signature::from_bytes(signature);
            theirs.unwrap().verify(message, &signature).unwrap();
        }
        accepted
    });
}
