//! Offline proofs of inclusion (C2SP tlog-proof): one text file that shows that an entry stands in
//! a cosigned tree.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use crate::checkpoint::{Checkpoint, CheckpointError, parse_decimal};
use crate::hash::Hash;
use crate::merkle::{ProofError, verify_inclusion};
use crate::note::{Note, NoteError};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// Longest inclusion proof of a tree of at most 2^63 - 1 leaves.
const MAX_HASHES: usize = 63;

/// A proof file, taken apart. It proves nothing until [`TlogProof::verify`] and a policy agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// Not authenticated, not used by us; `None` if the line is absent.
    pub extra: Option<Vec<u8>>,
    /// Index of the entry, from 0.
    pub index: u64,
    /// Sibling hashes from the leaf upwards.
    pub hashes: Vec<Hash>,
    /// The checkpoint the proof leads to, with all its signatures.
    pub checkpoint: Note,
}

/// Why a proof file is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TlogProofError {
    /// More than 256 KiB.
    #[error("proof file of {0} bytes; at most {max} are read", max = TlogProof::MAX_BYTES)]
    TooLarge(usize),
    /// Not UTF-8.
    #[error("proof file is not UTF-8 from byte {0} on")]
    NotUtf8(usize),
    /// Another first line.
    #[error("line 1 of the proof file is not `{FIRST_LINE}`: another format or version")]
    NotAProof,
    /// No empty line before the checkpoint.
    #[error("proof file has no empty line before its checkpoint")]
    NoCheckpoint,
    /// An `extra` line without canonical base64, or with none.
    #[error("line 2 of the proof file is not `extra` and canonical base64")]
    Extra,
    /// No `index` line where one belongs.
    #[error("line {0} of the proof file is not `index` and a decimal number without leading zeros")]
    Index(usize),
    /// A line that is no hash.
    #[error("line {0} of the proof file is no hash in canonical base64")]
    Hash(usize),
    /// More than 63 hashes.
    #[error("proof file with {0} hashes; no tree needs more than {MAX_HASHES}")]
    TooManyHashes(usize),
    /// The note at the end.
    #[error("checkpoint of the proof file: {0}")]
    Note(#[from] NoteError),
    /// The note's text is no checkpoint.
    #[error("checkpoint of the proof file: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The hashes do not lead from the entry to the root.
    #[error("inclusion of entry {index}: {source}")]
    Inclusion {
        /// Index the file states.
        index: u64,
        /// What does not fit.
        source: ProofError,
    },
}

impl TlogProof {
    /// Longest proof file in bytes.
    pub const MAX_BYTES: usize = 256 * 1024;

    /// Reads a proof file, strictly: what is accepted is exactly what [`Self::to_bytes`] writes.
    ///
    /// # Errors
    /// [`TlogProofError`] names line and rule.
    pub fn parse(bytes: &[u8]) -> Result<Self, TlogProofError> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(TlogProofError::TooLarge(bytes.len()));
        }
        let whole =
            std::str::from_utf8(bytes).map_err(|e| TlogProofError::NotUtf8(e.valid_up_to()))?;
        // No line before the checkpoint is empty, so the first empty line ends the proof.
        let (head, note) = match whole.split_once("\n\n") {
            Some(parts) => parts,
            None if whole.starts_with(FIRST_LINE) => return Err(TlogProofError::NoCheckpoint),
            None => return Err(TlogProofError::NotAProof),
        };
        let mut lines = head.split('\n').zip(1_usize..).peekable();
        if lines.next().is_none_or(|(line, _)| line != FIRST_LINE) {
            return Err(TlogProofError::NotAProof);
        }
        let mut extra = None;
        if let Some((line, _)) = lines.next_if(|(line, _)| line.starts_with("extra")) {
            let data = line
                .strip_prefix("extra ")
                .and_then(|base64| STANDARD.decode(base64).ok())
                .filter(|data| !data.is_empty());
            extra = Some(data.ok_or(TlogProofError::Extra)?);
        }
        let (line, number) = lines
            .next()
            .unwrap_or(("", 2 + usize::from(extra.is_some())));
        let index = line
            .strip_prefix("index ")
            .and_then(parse_decimal)
            .ok_or(TlogProofError::Index(number))?;
        let hashes = lines
            .map(|(line, number)| {
                Hash::from_base64(line).map_err(|_e| TlogProofError::Hash(number))
            })
            .collect::<Result<Vec<_>, _>>()?;
        if hashes.len() > MAX_HASHES {
            return Err(TlogProofError::TooManyHashes(hashes.len()));
        }
        let checkpoint = Note::parse(note.as_bytes())?;
        Ok(Self {
            extra,
            index,
            hashes,
            checkpoint,
        })
    }

    /// Returns the bytes of the file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut head = format!("{FIRST_LINE}\n");
        if let Some(extra) = self.extra.as_ref().filter(|extra| !extra.is_empty()) {
            head.push_str("extra ");
            STANDARD.encode_string(extra, &mut head);
            head.push('\n');
        }
        head.push_str("index ");
        head.push_str(&self.index.to_string());
        head.push('\n');
        for hash in &self.hashes {
            head.push_str(&hash.to_base64());
            head.push('\n');
        }
        head.push('\n');
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.checkpoint.to_bytes());
        bytes
    }

    /// Checks that the entry with hash `leaf` stands at the stated index under the stated root, and
    /// returns the checkpoint. Its signatures are not looked at: that is for a policy to judge.
    ///
    /// # Errors
    /// [`TlogProofError::Checkpoint`], [`TlogProofError::Inclusion`].
    pub fn verify(&self, leaf: &Hash) -> Result<Checkpoint, TlogProofError> {
        let checkpoint = Checkpoint::parse_body(&self.checkpoint.text)?;
        let (index, size) = (self.index, checkpoint.size);
        verify_inclusion(leaf, index, size, &self.hashes, &checkpoint.root)
            .map_err(|source| TlogProofError::Inclusion { index, source })?;
        Ok(checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{log_vkey, sign_checkpoint};
    use crate::hash::{Origin, leaf_hash, root_of};
    use crate::key::SigningKey;
    use crate::merkle::{LeafHashes, inclusion_proof};

    /// A file made by a prototype of this format, read by two other implementations.
    const EXAMPLE: &str = "c2sp.org/tlog-proof@v1
index 1
QL3E9Dp2r1QHKX0xsVOIs1g1YTsEa50xbOh4FQrF/Z8=
v3ZhEI6NFcOpInsxviKdy0kCYn5koME0vS2l5Qr22Zo=

example.com/gw/0001
3
sGBcN5+/lB2CQYt+jCI0VpJABkIqtJeneXFvzKhdWJY=

— example.com/gw/0001 a9mGYoissNzK1jJ95MjSHppJkegJhjHxv56Q1CLnMBZlpOKR5Rl63onN2bobKHTOkZIMHZ7gpfO0pr8iUi6/UjO+BAE=
— witness.example.org/w1 QuefFAAAAABpVblGAjh514jAfvpBqlubMhzxo8sFgzLqdlfNl3iPa+VqIXsNAS2eUMoCsPO0KXW8CLjYAikNQhmJECCFPXoAWUuBBA==
";

    #[test]
    fn the_example_is_read_and_written_back_unchanged() {
        let proof = TlogProof::parse(EXAMPLE.as_bytes()).unwrap();
        assert_eq!(proof.index, 1);
        assert_eq!(proof.extra, None);
        assert_eq!(proof.hashes.len(), 2);
        assert_eq!(proof.checkpoint.signatures.len(), 2);
        assert_eq!(proof.to_bytes(), EXAMPLE.as_bytes());
        let checkpoint = Checkpoint::parse_body(&proof.checkpoint.text).unwrap();
        assert_eq!(
            (checkpoint.origin.as_str(), checkpoint.size),
            ("example.com/gw/0001", 3)
        );
        // Its log key is the one of seed 0101..01.
        let key = SigningKey::from_seed([1; 32]).public();
        let vkey = log_vkey(&checkpoint.origin, &key);
        assert_eq!(Checkpoint::open(&proof.checkpoint, &vkey), Ok(checkpoint));
        // Its shape fits; the entry itself is not printed with it.
        assert!(matches!(
            proof.verify(&leaf_hash(b"another entry")),
            Err(TlogProofError::Inclusion {
                index: 1,
                source: ProofError::RootDiffers
            })
        ));
    }

    fn proof_of(index: u64, size: u64) -> (TlogProof, Hash) {
        let leaves: Vec<Hash> = (0..size).map(|i| leaf_hash(&i.to_be_bytes())).collect();
        let origin = Origin::parse("example.com/gw/0001").unwrap();
        let checkpoint = Checkpoint {
            origin,
            size,
            root: root_of(&leaves),
        };
        let proof = TlogProof {
            extra: None,
            index,
            hashes: inclusion_proof(&mut LeafHashes(&leaves), index, size).unwrap(),
            checkpoint: sign_checkpoint(&checkpoint, &SigningKey::from_seed([1; 32])),
        };
        (proof, leaf_hash(&index.to_be_bytes()))
    }

    #[test]
    fn a_proof_verifies_for_its_entry_only() {
        for (index, size) in [(0, 1), (0, 2), (6, 7), (3, 100), (99, 100)] {
            let (proof, leaf) = proof_of(index, size);
            let again = TlogProof::parse(&proof.to_bytes()).unwrap();
            assert_eq!(again, proof);
            assert_eq!(again.verify(&leaf).unwrap().size, size);
            assert!(again.verify(&leaf_hash(b"other")).is_err());
        }
    }

    #[test]
    fn extra_data_is_kept_as_it_is() {
        let (mut proof, leaf) = proof_of(2, 5);
        proof.extra = Some(b"\x00anything".to_vec());
        let bytes = proof.to_bytes();
        assert!(bytes.starts_with(b"c2sp.org/tlog-proof@v1\nextra AGFueXRoaW5n\nindex 2\n"));
        let again = TlogProof::parse(&bytes).unwrap();
        assert_eq!(again, proof);
        assert!(again.verify(&leaf).is_ok());
    }

    #[test]
    fn a_malformed_file_is_refused_by_its_line() {
        let with = |from: &str, to: &str| EXAMPLE.replacen(from, to, 1);
        let hash = "QL3E9Dp2r1QHKX0xsVOIs1g1YTsEa50xbOh4FQrF/Z8=\n";
        for (text, error) in [
            (String::new(), TlogProofError::NotAProof),
            (with("@v1", "@v2"), TlogProofError::NotAProof),
            (with("@v1\n", "@v1\r\n"), TlogProofError::NotAProof),
            (
                "c2sp.org/tlog-proof@v1\nindex 1\n".into(),
                TlogProofError::NoCheckpoint,
            ),
            (with("index 1\n", ""), TlogProofError::Index(2)),
            (with("index 1", "index 01"), TlogProofError::Index(2)),
            (with("index 1", "index  1"), TlogProofError::Index(2)),
            (
                with("index 1", "extra AA==\nindex -1"),
                TlogProofError::Index(3),
            ),
            (
                with("@v1\nindex 1\n", "@v1\n\nindex 1\n"),
                TlogProofError::Index(2),
            ),
            (with("index 1", "extra \nindex 1"), TlogProofError::Extra),
            (
                with("index 1", "extra AB==\nindex 1"),
                TlogProofError::Extra,
            ),
            (
                with("index 1", "extras AA==\nindex 1"),
                TlogProofError::Extra,
            ),
            (
                with("index 1", "index 1\nextra AA=="),
                TlogProofError::Hash(3),
            ),
            (with("QL3E", "QL3"), TlogProofError::Hash(3)),
            (with("22Zo=", "22Zp="), TlogProofError::Hash(4)),
            (
                with(hash, &hash.repeat(63)),
                TlogProofError::TooManyHashes(64),
            ),
            (
                with("— ", "- "),
                NoteError::MalformedSignatureLine(1).into(),
            ),
        ] {
            assert_eq!(TlogProof::parse(text.as_bytes()), Err(error), "{text:?}");
        }
        assert_eq!(TlogProof::parse(b"\xff"), Err(TlogProofError::NotUtf8(0)));
    }

    #[test]
    fn a_file_of_256_kib_is_read_and_one_more_group_of_extra_data_is_refused() {
        let of = |bytes: usize| {
            let extra = STANDARD.encode(vec![0; bytes]);
            EXAMPLE.replacen("index 1", &format!("extra {extra}\nindex 1"), 1)
        };
        let most = (TlogProof::MAX_BYTES - EXAMPLE.len() - "extra \n".len()) / 4 * 3;
        assert!(TlogProof::parse(of(most).as_bytes()).is_ok());
        let large = of(most + 3);
        let error = TlogProofError::TooLarge(large.len());
        assert_eq!(TlogProof::parse(large.as_bytes()), Err(error));
    }

    #[test]
    fn a_note_that_is_no_checkpoint_proves_nothing() {
        let text = EXAMPLE.replacen("\n3\n", "\n3\n\n", 1);
        let proof = TlogProof::parse(text.as_bytes()).unwrap();
        assert_eq!(
            proof.verify(&Hash::default()),
            Err(TlogProofError::Checkpoint(CheckpointError::NotThreeLines))
        );
    }
}
