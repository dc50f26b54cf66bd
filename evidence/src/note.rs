//! Signed notes (C2SP signed-note): a short text and lines of signatures under it.
//!
//! A checkpoint and everything that vouches for it travel as one note. The text means nothing until
//! [`Note::verify`] found the signature of a key the caller brought: parsing proves nothing.

mod vkey;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use crate::cosignature;
pub use vkey::{SignatureKind, Vkey, VkeyError};

/// A text with its signatures. [`Note::parse`] only makes well-formed ones; whoever builds one by
/// hand keeps the rules of [`NoteError`], or the other side refuses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What is signed: UTF-8, ends in a newline, no control characters but newlines.
    pub text: String,
    /// The signature lines in their order, of known and unknown keys alike.
    pub signatures: Vec<NoteSignature>,
}

/// One signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// Name of the key, without spaces or `+`.
    pub name: String,
    /// First four bytes of a hash over name, kind and key; selects a key, proves nothing.
    pub key_hash: [u8; 4],
    /// The signature as its kind lays it out: 64 bytes, or time and 64 bytes.
    pub bytes: Vec<u8>,
}

/// One signature that verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified<'k> {
    /// The caller's key that made it.
    pub vkey: &'k Vkey,
    /// Unix seconds for a cosignature, `None` for a plain signature.
    pub time: Option<u64>,
}

/// Why a note is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NoteError {
    /// More than 64 KiB.
    #[error("note of {0} bytes; at most {max} are read", max = Note::MAX_BYTES)]
    TooLarge(usize),
    /// Not UTF-8.
    #[error("note is not UTF-8 from byte {0} on")]
    NotUtf8(usize),
    /// A byte below 0x20 other than a newline, for example CR of a Windows editor.
    #[error("note line {line} holds the control character 0x{byte:02x}; only newline is allowed")]
    ControlCharacter {
        /// Line, from 1.
        line: usize,
        /// The byte found.
        byte: u8,
    },
    /// The last line is cut.
    #[error("note does not end in a newline; its end may be missing")]
    NoFinalNewline,
    /// No empty line between text and signatures.
    #[error("note has no empty line between text and signatures")]
    NoSeparator,
    /// Nothing after the empty line.
    #[error("note has no signature line")]
    NoSignatures,
    /// More than 64 signature lines.
    #[error("note has {0} signature lines; at most {max} are read", max = Note::MAX_SIGNATURES)]
    TooManySignatures(usize),
    /// Not `— <name> <base64>`.
    #[error(
        "signature line {0} of the note is not an em dash, a name and base64, one space between"
    )]
    MalformedSignatureLine(usize),
    /// An empty name, or one with white space or `+`.
    #[error("signature line {0} of the note has an empty key name, or one with white space or `+`")]
    MalformedKeyName(usize),
    /// Not canonical base64, or not more than the four bytes of the key hash.
    #[error("signature line {0} of the note is not canonical base64 of at least 5 bytes")]
    MalformedSignature(usize),
    /// A key the caller knows, and a signature it did not make.
    #[error("the signature of `{0}` does not verify: the text or the signature was altered")]
    BadSignature(String),
    /// A known cosigner's line that is not 8 bytes of time and 64 of signature.
    #[error("the cosignature of `{name}` has {found} bytes instead of 72")]
    CosignatureLength {
        /// Name of the cosigner.
        name: String,
        /// Bytes found.
        found: usize,
    },
    /// A cosignature time beyond 2^63 - 1.
    #[error("the cosignature of `{0}` states a time beyond 2^63 - 1 seconds")]
    CosignatureTime(String),
    /// Two different keys with one name and one key hash.
    #[error("two different keys are configured as `{0}` with the same key hash; remove one")]
    AmbiguousKey(String),
    /// None of the caller's keys signed.
    #[error("no signature by a known key; signed by: {0}")]
    NoKnownSignature(String),
    /// A plain key where a cosigner's is needed.
    #[error("`{0}` is a key for plain signatures (0x01), not for cosignatures (0x04)")]
    NotACosigner(String),
}

impl Note {
    /// Longest note in bytes.
    pub const MAX_BYTES: usize = 64 * 1024;
    /// Most signature lines.
    pub const MAX_SIGNATURES: usize = 64;

    /// Reads a note, strictly: what is accepted is exactly what [`Self::to_bytes`] writes.
    ///
    /// # Errors
    /// [`NoteError`] names line and rule.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(NoteError::TooLarge(bytes.len()));
        }
        let whole = std::str::from_utf8(bytes).map_err(|e| NoteError::NotUtf8(e.valid_up_to()))?;
        let mut line = 1;
        for byte in whole.bytes() {
            match byte {
                b'\n' => line += 1,
                0..0x20 => return Err(NoteError::ControlCharacter { line, byte }),
                _ => {}
            }
        }
        let body = whole.strip_suffix('\n').ok_or(NoteError::NoFinalNewline)?;
        // The text may hold empty lines, so the last one separates.
        let Some((text, lines)) = body.rsplit_once("\n\n") else {
            // "text\n\n" lost its second newline to the final one above.
            let cut = body.ends_with('\n');
            return Err(if cut {
                NoteError::NoSignatures
            } else {
                NoteError::NoSeparator
            });
        };
        if body.ends_with('\n') {
            return Err(NoteError::NoSignatures);
        }
        let count = lines.split('\n').count();
        if count > Self::MAX_SIGNATURES {
            return Err(NoteError::TooManySignatures(count));
        }
        let signatures = lines
            .split('\n')
            .enumerate()
            .map(|(i, line)| NoteSignature::parse(line, i + 1))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            text: format!("{text}\n"),
            signatures,
        })
    }

    /// Returns the bytes of the note.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut whole = String::with_capacity(self.text.len() + 1 + self.signatures.len() * 160);
        whole.push_str(&self.text);
        whole.push('\n');
        for signature in &self.signatures {
            signature.write(&mut whole);
        }
        whole.into_bytes()
    }

    /// Verifies every signature that names one of `known`, and returns those, in the order of the
    /// lines. One key may have signed more than once, for example at two times.
    ///
    /// Signatures of unknown keys are ignored, also where name or key hash alone is known.
    ///
    /// # Errors
    /// [`NoteError::BadSignature`] and its kin if a known key's line does not verify (the whole note
    /// is refused then), [`NoteError::NoKnownSignature`] if none of `known` signed.
    pub fn verify<'k>(&self, known: &'k [Vkey]) -> Result<Vec<Verified<'k>>, NoteError> {
        let mut verified = Vec::new();
        for signature in &self.signatures {
            let mut matching = known.iter().filter(|vkey| signature.claims(vkey));
            let Some(vkey) = matching.next() else {
                continue;
            };
            if matching.any(|other| other != vkey) {
                return Err(NoteError::AmbiguousKey(signature.name.clone()));
            }
            let time = signature.verify(&self.text, vkey)?;
            verified.push(Verified { vkey, time });
        }
        if verified.is_empty() {
            let names: Vec<_> = self.signatures.iter().map(|s| s.name.as_str()).collect();
            return Err(NoteError::NoKnownSignature(names.join(", ")));
        }
        Ok(verified)
    }

    /// Adds the lines of `other` that this note does not have yet, if both sign the same text.
    /// Returns whether they do. Nothing is verified; lines beyond the limit of 64 are left out.
    pub fn merge(&mut self, other: &Self) -> bool {
        if self.text != other.text {
            return false;
        }
        for signature in &other.signatures {
            if self.signatures.len() < Self::MAX_SIGNATURES && !self.signatures.contains(signature)
            {
                self.signatures.push(signature.clone());
            }
        }
        true
    }
}

impl NoteSignature {
    /// `number` is the line's place among the signature lines, from 1.
    fn parse(line: &str, number: usize) -> Result<Self, NoteError> {
        let (name, base64) = line
            .strip_prefix("— ")
            .and_then(|rest| rest.split_once(' '))
            .ok_or(NoteError::MalformedSignatureLine(number))?;
        if !is_key_name(name) {
            return Err(NoteError::MalformedKeyName(number));
        }
        let bytes = STANDARD
            .decode(base64)
            .map_err(|_e| NoteError::MalformedSignature(number))?;
        match bytes.split_first_chunk::<4>() {
            Some((key_hash, rest)) if !rest.is_empty() => Ok(Self {
                name: name.to_owned(),
                key_hash: *key_hash,
                bytes: rest.to_vec(),
            }),
            _ => Err(NoteError::MalformedSignature(number)),
        }
    }

    /// Returns the line, its newline included: `— <name> <base64>`.
    #[must_use]
    pub fn to_line(&self) -> String {
        let mut line = String::new();
        self.write(&mut line);
        line
    }

    fn write(&self, whole: &mut String) {
        whole.push_str("— ");
        whole.push_str(&self.name);
        whole.push(' ');
        let mut bytes = Vec::with_capacity(4 + self.bytes.len());
        bytes.extend_from_slice(&self.key_hash);
        bytes.extend_from_slice(&self.bytes);
        STANDARD.encode_string(&bytes, whole);
        whole.push('\n');
    }

    /// Whether the line says that `vkey` made it.
    #[must_use]
    pub fn claims(&self, vkey: &Vkey) -> bool {
        self.key_hash == vkey.key_hash() && self.name == vkey.name()
    }

    /// Verifies a line that claims `vkey` over `text`, and returns the time of a cosignature.
    pub(crate) fn verify(&self, text: &str, vkey: &Vkey) -> Result<Option<u64>, NoteError> {
        match vkey.kind() {
            SignatureKind::Cosignature => cosignature::verify_line(text, self, vkey).map(Some),
            SignatureKind::Ed25519 => {
                let bad = || NoteError::BadSignature(self.name.clone());
                let bytes = self.bytes.as_slice().try_into().map_err(|_e| bad())?;
                vkey.key()
                    .verify(text.as_bytes(), bytes)
                    .map_err(|_e| bad())?;
                Ok(None)
            }
        }
    }
}

/// Whether `name` may stand in a signature line: not empty, no Unicode white space, no `+`.
pub(crate) fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c == '+')
}

#[cfg(test)]
mod tests;
