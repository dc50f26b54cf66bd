//! What a client may take from a witness's answer.

use thiserror::Error;

use crate::checkpoint::parse_decimal;
use crate::cosignature::verify_cosignature;
use crate::merkle::MAX_SIZE;
use crate::note::{Note, NoteError, NoteSignature, Vkey};

/// Why an answer 200 brings no cosignature.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// Not signature lines, or a line of the witness's key that does not verify.
    #[error("the witness's answer: {0}")]
    Note(#[from] NoteError),
    /// Signature lines, and none by the key that was asked for.
    #[error(
        "the witness's answer holds no cosignature of `{0}`; is its verifier key the right one?"
    )]
    OtherKey(String),
}

/// Reads the answer 200 to a request for `note`: the line of `witness` and its time in Unix seconds.
///
/// Lines of other keys are ignored; of several lines of the witness the earliest counts.
///
/// # Errors
/// [`AnswerError`]. Nothing of the answer is to be kept then.
pub fn read_cosignature(
    note: &Note,
    answer: &[u8],
    witness: &Vkey,
) -> Result<(NoteSignature, u64), AnswerError> {
    // As the specification says: put behind the checkpoint, the answer makes a note.
    let mut whole = note.text.clone().into_bytes();
    whole.push(b'\n');
    whole.extend_from_slice(answer);
    let whole = Note::parse(&whole)?;
    if whole.text != note.text {
        // The answer itself held an empty line.
        return Err(NoteError::NoSignatures.into());
    }
    let other = || AnswerError::OtherKey(witness.name().to_owned());
    let time = verify_cosignature(&whole, witness)?.ok_or_else(other)?;
    let earliest = time.to_be_bytes();
    whole
        .signatures
        .into_iter()
        .find(|line| line.claims(witness) && line.bytes.starts_with(&earliest))
        .map(|line| (line, time))
        .ok_or_else(other)
}

/// Reads the body of an answer 409: the size that the witness holds, decimal and a newline.
#[must_use]
pub fn read_size(body: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(body).ok()?;
    parse_decimal(text.strip_suffix('\n')?).filter(|size| *size <= MAX_SIZE)
}
