//! Checkpoints (C2SP tlog-checkpoint): what a log says its tree is, in three lines.

use thiserror::Error;

use crate::hash::{Hash, HashError, Origin, OriginError, empty_root};
use crate::key::{SigningKey, VerifyingKey};
use crate::merkle::MAX_SIZE;
use crate::note::{Note, NoteError, NoteSignature, SignatureKind, Vkey};

/// Size and root of a log's tree at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Name of the log.
    pub origin: Origin,
    /// Number of leaves, at most 2^63 - 1.
    pub size: u64,
    /// RFC 6962 root over them.
    pub root: Hash,
}

/// Why a text is no checkpoint of ours, or not signed by its log.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// Not exactly three lines. Extension lines are allowed by C2SP, but no witness vouches for
    /// what they say, so they are refused here.
    #[error(
        "a checkpoint has exactly three lines (origin, size, root), each ended by a newline; extension lines are refused"
    )]
    NotThreeLines,
    /// The first line.
    #[error("line 1 of the checkpoint: {0}")]
    Origin(#[from] OriginError),
    /// The second line.
    #[error(
        "line 2 of the checkpoint, {0:?}, is no tree size: decimal digits without leading zeros, at most 2^63 - 1"
    )]
    Size(String),
    /// The third line.
    #[error("line 3 of the checkpoint is no root: {0}")]
    Root(#[from] HashError),
    /// An empty tree with a root that is not the empty tree's.
    #[error("the checkpoint states an empty tree with a root that is not the empty tree's")]
    RootOfEmptyTree,
    /// The note around it.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// A checkpoint of another log than the key's.
    #[error("the checkpoint is of log `{found}`, the key is of `{expected}`")]
    OtherOrigin {
        /// Name of the key.
        expected: String,
        /// First line of the checkpoint.
        found: String,
    },
    /// A witness's key where the log's is needed.
    #[error("`{0}` is a cosigner's key (0x04); a log signs its checkpoints with type 0x01")]
    NotALogKey(String),
}

impl Checkpoint {
    /// Returns the three lines that are signed.
    #[must_use]
    pub fn body(&self) -> String {
        format!(
            "{}\n{}\n{}\n",
            self.origin,
            self.size,
            self.root.to_base64()
        )
    }

    /// Reads the three lines, strictly: what is accepted is exactly what [`Self::body`] writes.
    ///
    /// # Errors
    /// [`CheckpointError`] names the line.
    pub fn parse_body(text: &str) -> Result<Self, CheckpointError> {
        let checkpoint = Self::parse_any_root(text)?;
        if checkpoint.size == 0 && checkpoint.root != empty_root() {
            return Err(CheckpointError::RootOfEmptyTree);
        }
        Ok(checkpoint)
    }

    /// As [`Self::parse_body`], but for the root of an empty tree, which a witness answers in its own
    /// way.
    pub(crate) fn parse_any_root(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.split('\n');
        let (Some(origin), Some(size), Some(root), Some(""), None) = (
            lines.next(),
            lines.next(),
            lines.next(),
            lines.next(),
            lines.next(),
        ) else {
            return Err(CheckpointError::NotThreeLines);
        };
        let origin = Origin::parse(origin)?;
        let size = parse_decimal(size)
            .filter(|size| *size <= MAX_SIZE)
            .ok_or_else(|| CheckpointError::Size(size.to_owned()))?;
        let root = Hash::from_base64(root)?;
        Ok(Self { origin, size, root })
    }

    /// Verifies that `log` signed `note`, and returns the checkpoint. Cosignatures are not looked at.
    ///
    /// # Errors
    /// [`CheckpointError::NotALogKey`], [`CheckpointError::OtherOrigin`], those of [`Note::verify`]
    /// and of [`Self::parse_body`].
    pub fn open(note: &Note, log: &Vkey) -> Result<Self, CheckpointError> {
        if log.kind() != SignatureKind::Ed25519 {
            return Err(CheckpointError::NotALogKey(log.name().to_owned()));
        }
        note.verify(std::slice::from_ref(log))?;
        let checkpoint = Self::parse_body(&note.text)?;
        if checkpoint.origin.as_str() != log.name() {
            return Err(CheckpointError::OtherOrigin {
                expected: log.name().to_owned(),
                found: checkpoint.origin.to_string(),
            });
        }
        Ok(checkpoint)
    }
}

/// Returns the verifier key of a log: named as its origin, type 0x01.
#[must_use]
pub fn log_vkey(origin: &Origin, key: &VerifyingKey) -> Vkey {
    Vkey::of_checked_name(origin.as_str(), SignatureKind::Ed25519, *key)
}

/// Signs `checkpoint` with its log's key.
///
/// The log must have committed the tree first: two checkpoints that contradict one another are a
/// proof against it for ever.
#[must_use]
pub fn sign_checkpoint(checkpoint: &Checkpoint, log_key: &SigningKey) -> Note {
    let text = checkpoint.body();
    let signature = NoteSignature {
        name: checkpoint.origin.to_string(),
        key_hash: log_vkey(&checkpoint.origin, &log_key.public()).key_hash(),
        bytes: log_key.sign(text.as_bytes()).to_vec(),
    };
    Note {
        text,
        signatures: vec![signature],
    }
}

/// Reads an unsigned decimal in its one canonical form: digits only, no leading zero but in `0`.
pub(crate) fn parse_decimal(text: &str) -> Option<u64> {
    let canonical = match text.as_bytes() {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if canonical { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str =
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    #[test]
    fn the_example_of_the_specification_is_read_and_written_back() {
        let checkpoint = Checkpoint::parse_body(BODY).unwrap();
        assert_eq!(checkpoint.origin.as_str(), "example.com/behind-the-sofa");
        assert_eq!(checkpoint.size, 20_852_163);
        assert_eq!(checkpoint.body(), BODY);
    }

    #[test]
    fn a_malformed_body_is_refused_by_its_line() {
        let size = |text: &str| CheckpointError::Size(text.to_owned());
        for (text, error) in [
            (String::new(), CheckpointError::NotThreeLines),
            (BODY.trim_end().to_owned(), CheckpointError::NotThreeLines),
            (format!("{BODY}extension\n"), CheckpointError::NotThreeLines),
            (format!("{BODY}\n"), CheckpointError::NotThreeLines),
            (
                BODY.replacen('\n', "\n\n", 1),
                CheckpointError::NotThreeLines,
            ),
            (
                BODY.replace("example.com/behind-the-sofa", ""),
                OriginError::Empty.into(),
            ),
            (BODY.replace("20852163", "020852163"), size("020852163")),
            (BODY.replace("20852163", "+1"), size("+1")),
            (BODY.replace("20852163", " 1"), size(" 1")),
            (BODY.replace("20852163", ""), size("")),
            (
                BODY.replace("20852163", "9223372036854775808"),
                size("9223372036854775808"),
            ),
            (
                BODY.replace("20852163", "99999999999999999999"),
                size("99999999999999999999"),
            ),
            (BODY.replace("q2I=", "q2J="), HashError::NotBase64.into()),
            (BODY.replace("q2I=", "q2I"), HashError::NotBase64.into()),
            (
                BODY.replace("20852163", "0"),
                CheckpointError::RootOfEmptyTree,
            ),
        ] {
            assert_eq!(Checkpoint::parse_body(&text), Err(error), "{text:?}");
        }
        let largest = BODY.replace("20852163", "9223372036854775807");
        assert_eq!(Checkpoint::parse_body(&largest).unwrap().size, MAX_SIZE);
    }

    #[test]
    fn a_signed_checkpoint_opens_with_its_own_log_key_only() {
        let key = SigningKey::from_seed([1; 32]);
        let checkpoint = Checkpoint::parse_body(BODY).unwrap();
        let note = Note::parse(&sign_checkpoint(&checkpoint, &key).to_bytes()).unwrap();
        let vkey = log_vkey(&checkpoint.origin, &key.public());
        assert_eq!(Checkpoint::open(&note, &vkey), Ok(checkpoint.clone()));

        let other = log_vkey(&checkpoint.origin, &SigningKey::from_seed([2; 32]).public());
        assert!(matches!(
            Checkpoint::open(&note, &other),
            Err(CheckpointError::Note(NoteError::NoKnownSignature(_)))
        ));
        let witness = Vkey::new(vkey.name(), SignatureKind::Cosignature, key.public()).unwrap();
        assert!(matches!(
            Checkpoint::open(&note, &witness),
            Err(CheckpointError::NotALogKey(_))
        ));
    }

    #[test]
    fn a_log_key_opens_no_checkpoint_of_another_origin() {
        let key = SigningKey::from_seed([1; 32]);
        let mine = Vkey::new("example.com/mine", SignatureKind::Ed25519, key.public()).unwrap();
        let signature = NoteSignature {
            name: mine.name().to_owned(),
            key_hash: mine.key_hash(),
            bytes: key.sign(BODY.as_bytes()).to_vec(),
        };
        let note = Note {
            text: BODY.to_owned(),
            signatures: vec![signature],
        };
        assert!(matches!(
            Checkpoint::open(&note, &mine),
            Err(CheckpointError::OtherOrigin { .. })
        ));
    }
}
