//! What an authority signs at its own desk: that it approves a control entry, or that a key is stolen.
//!
//! The key is kept offline, away from gateway and collector. A statement travels as a signed note with
//! one line whose key name is the public key in hex, so the file says by itself who signed it. Whether
//! that key counts is decided by who reads it, never by the file.

mod carried;

use thiserror::Error;

use crate::hash::{Hash, Origin, from_hex, to_hex};
use crate::key::{KeyError, SigningKey, VerifyingKey};
use crate::note::{Note, NoteError, NoteSignature, SignatureKind, Vkey};

pub use carried::{CheckedControl, Controls, ControlsError, LogEnd};

/// The first line of an approval.
const APPROVE: &str = "fieldseal/approve/v1";
/// The first line of a revocation.
const REVOKE: &str = "fieldseal/revoke/v1";
/// The longest reason of a revocation, in bytes.
pub const MOST_REASON: usize = 1_000;

/// Why a file is no statement.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StatementError {
    /// Not a signed note.
    #[error("it is not a signed statement: {0}")]
    Note(#[from] NoteError),
    /// Not exactly one signature, or one under another name than its key.
    #[error("a statement has one signature line, named by its public key in hex")]
    Signer,
    /// The key is no key.
    #[error("the signing key is refused: {0}")]
    Key(#[from] KeyError),
    /// Another kind or version of statement.
    #[error(
        "its first line is `{0}`; this program knows {APPROVE} and {REVOKE}: use the version that made it"
    )]
    Unknown(String),
    /// A line that breaks its form.
    #[error("its {0} is malformed")]
    Line(&'static str),
    /// A reason that cannot be written on one line.
    #[error("a reason is one line of 1 to {MOST_REASON} bytes without control characters")]
    Reason,
}

/// A key of a log is in other hands since a moment.
///
/// What it signed and no witness had seen by then is void (V9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// The log.
    pub origin: Origin,
    /// The id of the entry key.
    pub key_id: [u8; 8],
    /// When it was stolen at the earliest, unix seconds.
    pub since_s: u64,
    /// Why, on one line.
    pub reason: String,
}

impl Revocation {
    /// The bytes that are signed.
    #[must_use]
    pub fn message(&self) -> String {
        format!(
            "{REVOKE}\n{}\n{}\n{}\n{}\n",
            self.origin.as_str(),
            to_hex(&self.key_id),
            self.since_s,
            self.reason
        )
    }

    /// Refuses a reason that does not stay on its line.
    ///
    /// # Errors
    /// [`StatementError::Reason`].
    pub fn assert_reason(&self) -> Result<(), StatementError> {
        let plain = !self.reason.trim().is_empty()
            && self.reason.len() <= MOST_REASON
            && !self.reason.chars().any(char::is_control);
        if plain {
            Ok(())
        } else {
            Err(StatementError::Reason)
        }
    }
}

/// A control entry of a log, by position and contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// The log.
    pub origin: Origin,
    /// The entry.
    pub index: u64,
    /// Its leaf hash.
    pub leaf: Hash,
}

impl Approval {
    /// The bytes that are signed.
    #[must_use]
    pub fn message(&self) -> String {
        format!(
            "{APPROVE}\n{}\n{}\n{}\n",
            self.origin.as_str(),
            self.index,
            self.leaf.to_base64()
        )
    }
}

/// What is stated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// The signer has looked at an entry and agrees with it.
    Approval(Approval),
    /// A key is stolen.
    Revocation(Revocation),
}

impl Statement {
    /// The bytes that are signed.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::Approval(approval) => approval.message(),
            Self::Revocation(revocation) => revocation.message(),
        }
    }

    /// The log it is about.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        match self {
            Self::Approval(approval) => &approval.origin,
            Self::Revocation(revocation) => &revocation.origin,
        }
    }
}

/// A statement whose signature is good. Whether the signer counts is another question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// What is stated.
    pub statement: Statement,
    /// By whom.
    pub key: VerifyingKey,
    /// The signature over [`Statement::message`].
    pub signature: [u8; 64],
}

impl Signed {
    /// Signs a statement.
    ///
    /// # Errors
    /// [`StatementError::Reason`].
    pub fn sign(statement: Statement, key: &SigningKey) -> Result<Self, StatementError> {
        if let Statement::Revocation(revocation) = &statement {
            revocation.assert_reason()?;
        }
        let signature = key.sign(statement.message().as_bytes());
        Ok(Self {
            statement,
            key: key.public(),
            signature,
        })
    }

    /// The file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let vkey = vkey_of(self.key);
        Note {
            text: self.statement.message(),
            signatures: vec![NoteSignature {
                name: vkey.name().to_owned(),
                key_hash: vkey.key_hash(),
                bytes: self.signature.to_vec(),
            }],
        }
        .to_bytes()
    }

    /// Reads a file and checks its signature.
    ///
    /// # Errors
    /// [`StatementError`] names what is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, StatementError> {
        let note = Note::parse(bytes)?;
        let [line] = note.signatures.as_slice() else {
            return Err(StatementError::Signer);
        };
        let key = from_hex::<32>(&line.name).ok_or(StatementError::Signer)?;
        let key = VerifyingKey::from_bytes(&key)?;
        let vkey = vkey_of(key);
        if !line.claims(&vkey) {
            return Err(StatementError::Signer);
        }
        note.verify(std::slice::from_ref(&vkey))?;
        let signature = line
            .bytes
            .as_slice()
            .try_into()
            .map_err(|_length| StatementError::Signer)?;
        Ok(Self {
            statement: read(&note.text)?,
            key,
            signature,
        })
    }
}

/// The key under its own name.
fn vkey_of(key: VerifyingKey) -> Vkey {
    Vkey::of_checked_name(&to_hex(key.bytes()), SignatureKind::Ed25519, key)
}

fn read(text: &str) -> Result<Statement, StatementError> {
    let lines: Vec<&str> = text
        .strip_suffix('\n')
        .unwrap_or(text)
        .split('\n')
        .collect();
    let origin = |text: &str| Origin::parse(text).map_err(|_invalid| StatementError::Line("log"));
    let statement = match lines.as_slice() {
        [APPROVE, log, index, leaf] => Statement::Approval(Approval {
            origin: origin(log)?,
            index: index
                .parse()
                .map_err(|_digits| StatementError::Line("index"))?,
            leaf: Hash::from_base64(leaf).map_err(|_form| StatementError::Line("leaf hash"))?,
        }),
        [REVOKE, log, key_id, since, reason] => {
            let revocation = Revocation {
                origin: origin(log)?,
                key_id: from_hex(key_id).ok_or(StatementError::Line("key id"))?,
                since_s: since
                    .parse()
                    .map_err(|_digits| StatementError::Line("time"))?,
                reason: (*reason).to_owned(),
            };
            revocation.assert_reason()?;
            Statement::Revocation(revocation)
        }
        [APPROVE | REVOKE, ..] => return Err(StatementError::Line("number of lines")),
        [first, ..] => return Err(StatementError::Unknown((*first).to_owned())),
        [] => return Err(StatementError::Line("number of lines")),
    };
    // One text for one meaning: `+5`, `05` and upper case are refused here.
    if statement.message() == text {
        Ok(statement)
    } else {
        Err(StatementError::Line("writing"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Approval, Revocation, Signed, Statement, StatementError};
    use crate::hash::{Hash, Origin};
    use crate::key::SigningKey;

    fn origin() -> Origin {
        Origin::parse("example.com/gw/0001").unwrap()
    }

    fn revocation(reason: &str) -> Statement {
        Statement::Revocation(Revocation {
            origin: origin(),
            key_id: [7; 8],
            since_s: 1_767_225_600,
            reason: reason.to_owned(),
        })
    }

    #[test]
    fn a_statement_is_read_back_as_it_was_signed_and_says_who_signed_it() {
        let key = SigningKey::from_seed([9; 32]);
        let approval = Statement::Approval(Approval {
            origin: origin(),
            index: 12,
            leaf: Hash([3; 32]),
        });
        for statement in [approval, revocation("the card was copied")] {
            let signed = Signed::sign(statement, &key).unwrap();
            let file = signed.to_bytes();
            let read = Signed::parse(&file).unwrap();
            assert_eq!(read, signed);
            assert_eq!(read.key, key.public());
            for at in 0..file.len() {
                let mut altered = file.clone();
                altered[at] ^= 1;
                assert!(Signed::parse(&altered).is_err(), "byte {at}");
            }
        }
    }

    #[test]
    fn a_statement_of_another_version_is_refused_by_its_name() {
        let key = SigningKey::from_seed([9; 32]);
        let signed = Signed::sign(revocation("x"), &key).unwrap();
        let text = String::from_utf8(signed.to_bytes()).unwrap();
        let vkey = super::vkey_of(key.public());
        let text = text.split("\n\n").next().unwrap().replace("/v1", "/v2") + "\n";
        let line = crate::note::NoteSignature {
            name: vkey.name().to_owned(),
            key_hash: vkey.key_hash(),
            bytes: key.sign(text.as_bytes()).to_vec(),
        };
        let note = crate::note::Note {
            text,
            signatures: vec![line],
        };
        let refused = Signed::parse(&note.to_bytes()).unwrap_err();
        assert!(matches!(refused, StatementError::Unknown(_)), "{refused}");
        assert!(refused.to_string().contains("fieldseal/revoke/v2"));
    }

    #[test]
    fn a_reason_stays_on_its_line() {
        let key = SigningKey::from_seed([9; 32]);
        for reason in ["", "  ", "a\nb", "a\u{85}b", &"x".repeat(1_001)] {
            let refused = Signed::sign(revocation(reason), &key);
            assert!(matches!(refused, Err(StatementError::Reason)), "{reason:?}");
        }
    }
}
