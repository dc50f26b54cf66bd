//! A witness's private key with its name: one line of text, as other tools of this kind write it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SecureRandom;
use thiserror::Error;

use crate::cosignature::cosign;
use crate::hash::to_hex;
use crate::key::{KeyError, SigningKey};
use crate::note::{NoteSignature, SignatureKind, Vkey, VkeyError};

const PREFIX: &str = "PRIVATE+KEY+";

/// A cosigner: name, private key, and what verifiers are told. `Debug` shows the public half only.
pub struct Cosigner {
    key: SigningKey,
    vkey: Vkey,
}

/// Why there is no cosigner.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CosignerError {
    /// Another text, or a name, key or hash that was changed by hand.
    #[error(
        "not one line `PRIVATE+KEY+<name>+<8 hex digits>+<base64>` whose parts belong together"
    )]
    Form,
    /// A name that signatures cannot carry.
    #[error(transparent)]
    Name(#[from] VkeyError),
    /// No randomness.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl Cosigner {
    /// Makes a new key and the line to store before it is used.
    ///
    /// # Errors
    /// [`CosignerError::Name`], [`CosignerError::Key`].
    pub fn generate(
        name: &str,
        random: &dyn SecureRandom,
    ) -> Result<(Self, String), CosignerError> {
        let (key, seed) = SigningKey::generate(random)?;
        let cosigner = Self::of(name, key)?;
        let mut typed = vec![SignatureKind::Cosignature.code()];
        typed.extend_from_slice(&seed);
        let hash = to_hex(&cosigner.vkey.key_hash());
        let line = format!("{PREFIX}{name}+{hash}+{}\n", STANDARD.encode(typed));
        Ok((cosigner, line))
    }

    /// Reads the line; white space at its end does no harm.
    ///
    /// # Errors
    /// [`CosignerError::Form`], also where the key hash is another: name or key were changed, and
    /// nobody would accept what it signs.
    pub fn parse(text: &str) -> Result<Self, CosignerError> {
        let form = || CosignerError::Form;
        let rest = text.trim_end().strip_prefix(PREFIX).ok_or_else(form)?;
        let mut parts = rest.splitn(3, '+');
        let (Some(name), Some(hash), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(form());
        };
        let typed = STANDARD.decode(key).map_err(|_error| form())?;
        let seed = typed
            .strip_prefix(&[SignatureKind::Cosignature.code()])
            .ok_or_else(form)?;
        let seed = <[u8; 32]>::try_from(seed).map_err(|_length| form())?;
        let cosigner = Self::of(name, SigningKey::from_seed(seed))?;
        if to_hex(&cosigner.vkey.key_hash()) != hash {
            return Err(form());
        }
        Ok(cosigner)
    }

    fn of(name: &str, key: SigningKey) -> Result<Self, CosignerError> {
        let vkey = Vkey::new(name, SignatureKind::Cosignature, key.public())?;
        Ok(Self { key, vkey })
    }

    /// Returns the public half in text form: what logs, gateways and verifiers are told.
    #[must_use]
    pub const fn vkey(&self) -> &Vkey {
        &self.vkey
    }

    /// Signs a checkpoint's text at a Unix second. The caller has stored the checkpoint as the newest
    /// of its log first.
    #[must_use]
    pub fn cosign(&self, note_text: &str, unix_s: u64) -> NoteSignature {
        cosign(note_text, self.vkey.name(), &self.key, unix_s)
    }
}

impl fmt::Debug for Cosigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cosigner({})", self.vkey)
    }
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;

    use super::*;

    #[test]
    fn the_line_of_a_key_reads_back_as_the_same_key_and_an_altered_one_does_not() {
        let (made, line) = Cosigner::generate("w.example/1", &SystemRandom::new()).unwrap();
        let read = Cosigner::parse(&line).unwrap();
        assert_eq!(made.vkey(), read.vkey());
        assert_eq!(made.cosign("a\n", 5), read.cosign("a\n", 5));
        for altered in [
            line.replace("w.example/1", "w.example/2"),
            line.replace("PRIVATE", "PUBLIC"),
            made.vkey().to_string(),
            String::new(),
        ] {
            assert_eq!(Cosigner::parse(&altered).err(), Some(CosignerError::Form));
        }
        let secret = line.trim_end().rsplit('+').next().unwrap().to_owned();
        assert!(!format!("{read:?}").contains(&secret));
        let named = Cosigner::generate("a b", &SystemRandom::new());
        assert!(matches!(named, Err(CosignerError::Name(_))));
    }
}
