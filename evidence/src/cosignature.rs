//! Cosignatures (C2SP tlog-cosignature, Ed25519 form): a witness says when it saw a checkpoint.
//!
//! A cosignature states: at this time, this is the largest tree I have seen of this origin, and it
//! continues every smaller one I saw. The message begins with a label and the time, so it can never
//! pass as a plain signature, nor with another time.

use crate::key::SigningKey;
use crate::note::{Note, NoteError, NoteSignature, SignatureKind, Vkey};

/// Largest time of a cosignature, in Unix seconds.
pub const MAX_TIME: u64 = i64::MAX.unsigned_abs();

/// Signs `note_text` (a checkpoint body, newline included) at `unix_s` as cosigner `name`.
///
/// `name` follows the rules of key names: the caller holds a [`Vkey`] made from it. Whoever calls
/// this has stored the checkpoint as the newest of its log first; a second history must fail there.
#[must_use]
pub fn cosign(note_text: &str, name: &str, key: &SigningKey, unix_s: u64) -> NoteSignature {
    let vkey = Vkey::of_checked_name(name, SignatureKind::Cosignature, key.public());
    let mut bytes = Vec::with_capacity(72);
    bytes.extend_from_slice(&unix_s.to_be_bytes());
    bytes.extend_from_slice(&key.sign(message(note_text, unix_s).as_bytes()));
    NoteSignature {
        name: name.to_owned(),
        key_hash: vkey.key_hash(),
        bytes,
    }
}

/// Returns the earliest time, in Unix seconds, at which `vkey` cosigned `note`; `None` if it did
/// not. Every line that claims `vkey` is verified.
///
/// # Errors
/// [`NoteError::BadSignature`] and its kin for a line of `vkey` that does not verify,
/// [`NoteError::NotACosigner`] if `vkey` is no cosigner's key.
pub fn verify_cosignature(note: &Note, vkey: &Vkey) -> Result<Option<u64>, NoteError> {
    if vkey.kind() != SignatureKind::Cosignature {
        return Err(NoteError::NotACosigner(vkey.name().to_owned()));
    }
    let mut earliest: Option<u64> = None;
    for signature in note.signatures.iter().filter(|s| s.claims(vkey)) {
        let time = verify_line(&note.text, signature, vkey)?;
        earliest = Some(earliest.map_or(time, |other| other.min(time)));
    }
    Ok(earliest)
}

/// Verifies one line that claims the cosigner `vkey` and returns its time.
pub(crate) fn verify_line(
    note_text: &str,
    signature: &NoteSignature,
    vkey: &Vkey,
) -> Result<u64, NoteError> {
    let name = || signature.name.clone();
    let length = || NoteError::CosignatureLength {
        name: name(),
        found: signature.bytes.len(),
    };
    let (time, bytes) = signature
        .bytes
        .split_first_chunk::<8>()
        .ok_or_else(length)?;
    let bytes: &[u8; 64] = bytes.try_into().map_err(|_e| length())?;
    let time = u64::from_be_bytes(*time);
    if time > MAX_TIME {
        return Err(NoteError::CosignatureTime(name()));
    }
    vkey.key()
        .verify(message(note_text, time).as_bytes(), bytes)
        .map_err(|_e| NoteError::BadSignature(name()))?;
    Ok(time)
}

/// What a cosigner signs.
fn message(note_text: &str, unix_s: u64) -> String {
    format!("cosignature/v1\ntime {unix_s}\n{note_text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "example.com/gw/0001\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";

    fn cosigned(times: &[u64]) -> (Note, Vkey) {
        let key = SigningKey::from_seed([7; 32]);
        let vkey = Vkey::new("w1", SignatureKind::Cosignature, key.public()).unwrap();
        let signatures = times.iter().map(|t| cosign(TEXT, "w1", &key, *t)).collect();
        (
            Note {
                text: TEXT.to_owned(),
                signatures,
            },
            vkey,
        )
    }

    #[test]
    fn a_cosignature_states_its_time_in_eight_bytes_before_the_signature() {
        let (note, vkey) = cosigned(&[1_679_315_147]);
        let bytes = &note.signatures[0].bytes;
        assert_eq!(bytes.len(), 72);
        assert_eq!(bytes[..8], 1_679_315_147_u64.to_be_bytes());
        assert_eq!(verify_cosignature(&note, &vkey), Ok(Some(1_679_315_147)));
        let signed = format!("cosignature/v1\ntime 1679315147\n{TEXT}");
        vkey.key()
            .verify(signed.as_bytes(), bytes[8..].try_into().unwrap())
            .unwrap();
    }

    #[test]
    fn the_earliest_of_several_times_counts_and_all_are_verified() {
        let (mut note, vkey) = cosigned(&[300, 100, 200]);
        assert_eq!(verify_cosignature(&note, &vkey), Ok(Some(100)));
        note.signatures[2].bytes[20] ^= 1;
        assert_eq!(
            verify_cosignature(&note, &vkey),
            Err(NoteError::BadSignature("w1".into()))
        );
    }

    #[test]
    fn another_time_another_text_or_another_length_does_not_verify() {
        let (note, vkey) = cosigned(&[100]);
        let bad = Err(NoteError::BadSignature("w1".into()));
        for bit in 0..63 {
            let mut other = note.clone();
            other.signatures[0].bytes[7 - bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                verify_cosignature(&other, &vkey),
                bad,
                "bit {bit} of the time"
            );
        }
        let mut beyond = note.clone();
        beyond.signatures[0].bytes[0] |= 0x80;
        assert_eq!(
            verify_cosignature(&beyond, &vkey),
            Err(NoteError::CosignatureTime("w1".into()))
        );
        let other = Note {
            text: TEXT.replace("0001", "0002"),
            ..note.clone()
        };
        assert_eq!(verify_cosignature(&other, &vkey), bad);
        let mut longer = note;
        longer.signatures[0].bytes.push(0);
        assert_eq!(
            verify_cosignature(&longer, &vkey),
            Err(NoteError::CosignatureLength {
                name: "w1".into(),
                found: 73
            })
        );
    }

    #[test]
    fn a_plain_signature_never_passes_as_a_cosignature_nor_the_reverse() {
        let (note, vkey) = cosigned(&[100]);
        let plain = Vkey::new("w1", SignatureKind::Ed25519, *vkey.key()).unwrap();
        assert_eq!(
            verify_cosignature(&note, &plain),
            Err(NoteError::NotACosigner("w1".into()))
        );
        // The key hash differs by kind, so the line is not even the plain key's.
        assert!(matches!(
            note.verify(&[plain]),
            Err(NoteError::NoKnownSignature(_))
        ));
        assert_eq!(
            verify_cosignature(
                &Note {
                    signatures: vec![],
                    ..note
                },
                &vkey
            ),
            Ok(None)
        );
    }
}
