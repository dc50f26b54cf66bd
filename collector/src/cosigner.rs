//! The collector's own key: it says when it saw a checkpoint, and stands for having stored it.

use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use evidence::cosignature;
use evidence::key::{KeyError, SigningKey};
use evidence::note::{Note, NoteSignature, SignatureKind, Vkey, VkeyError};
use ring::rand::SystemRandom;

use crate::durable;

/// The first words of a key file, as other tools of this kind write them.
const PREFIX: &str = "PRIVATE+KEY+";
/// The type byte of a cosigner's key.
const TYPE: u8 = 4;

/// The key with its name.
pub struct Cosigner {
    key: SigningKey,
    vkey: Vkey,
}

/// Why a key file cannot be used or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CosignerError {
    /// The file cannot be read or written.
    #[error("cosigner key file `{path}`")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file holds something else.
    #[error(
        "cosigner key file `{path}` must hold one line `PRIVATE+KEY+<name>+<8 hex>+<base64>`; make one with `fieldseal-collector init`, or restore yours from its backup"
    )]
    Form {
        /// The file.
        path: PathBuf,
    },
    /// Others may read the file.
    #[error("cosigner key file `{path}` may be read by others; run `chmod 600 {path}`")]
    NotPrivate {
        /// The file.
        path: PathBuf,
    },
    /// The name is not one that signatures can carry.
    #[error("cosigner name: {0}")]
    Name(#[from] VkeyError),
    /// No randomness.
    #[error("cosigner key: {0}")]
    Key(#[from] KeyError),
}

impl Cosigner {
    /// Makes a new key and its file (0600), which must not exist yet.
    ///
    /// The key is the collector's identity to every gateway and verifier: back the file up where
    /// the store's backups are *not*.
    ///
    /// # Errors
    ///
    /// [`CosignerError`]; an existing file is never touched.
    pub fn create(path: &Path, name: &str) -> Result<Self, CosignerError> {
        let (key, seed) = SigningKey::generate(&SystemRandom::new())?;
        let cosigner = Self::of(name, key)?;
        let mut typed = vec![TYPE];
        typed.extend_from_slice(&seed);
        let hash = hex::encode(cosigner.vkey.key_hash());
        let line = format!("{PREFIX}{name}+{hash}+{}\n", STANDARD.encode(typed));
        durable::create(path, line.as_bytes(), 0o600).map_err(|source| CosignerError::File {
            path: path.to_owned(),
            source,
        })?;
        Ok(cosigner)
    }

    /// Reads a key file.
    ///
    /// # Errors
    ///
    /// [`CosignerError`], with the remedy; also if others may read the file.
    pub fn load(path: &Path) -> Result<Self, CosignerError> {
        use std::os::unix::fs::PermissionsExt as _;

        let file = |source| CosignerError::File {
            path: path.to_owned(),
            source,
        };
        let form = || CosignerError::Form {
            path: path.to_owned(),
        };
        let mode = std::fs::metadata(path).map_err(file)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(CosignerError::NotPrivate {
                path: path.to_owned(),
            });
        }
        let text = std::fs::read_to_string(path).map_err(file)?;
        let rest = text.trim_end().strip_prefix(PREFIX).ok_or_else(form)?;
        let mut parts = rest.splitn(3, '+');
        let (Some(name), Some(hash), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(form());
        };
        let typed = STANDARD.decode(key).map_err(|_error| form())?;
        let seed = typed.strip_prefix(&[TYPE]).ok_or_else(form)?;
        let seed = <[u8; 32]>::try_from(seed).map_err(|_length| form())?;
        let cosigner = Self::of(name, SigningKey::from_seed(seed))?;
        // Guards against a name or key changed by hand: gateways would refuse what it signs.
        if hex::encode(cosigner.vkey.key_hash()) != hash {
            return Err(form());
        }
        Ok(cosigner)
    }

    fn of(name: &str, key: SigningKey) -> Result<Self, CosignerError> {
        let vkey = Vkey::new(name, SignatureKind::Cosignature, key.public())?;
        Ok(Self { key, vkey })
    }

    /// The public half in text form: what gateways and verifiers are told.
    pub const fn vkey(&self) -> &Vkey {
        &self.vkey
    }

    /// Cosigns a checkpoint at a second: the log's own signature line and ours, nothing else.
    ///
    /// The caller lets the result out only after the store has committed what the checkpoint
    /// states, by the compare-and-swap that makes it the only one of its size.
    pub(crate) fn cosign(&self, text: &str, log_line: NoteSignature, unix_s: u64) -> Note {
        let ours = cosignature::cosign(text, self.vkey.name(), &self.key, unix_s);
        Note {
            text: text.to_owned(),
            signatures: vec![log_line, ours],
        }
    }
}

impl fmt::Debug for Cosigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cosigner({})", self.vkey)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::{Cosigner, CosignerError};

    #[test]
    fn a_key_file_reads_back_as_the_same_key() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cosigner.key");
        let made = Cosigner::create(&path, "collector.example/w0").unwrap();
        let read = Cosigner::load(&path).unwrap();
        assert_eq!(made.vkey().to_string(), read.vkey().to_string());
        assert!(matches!(
            Cosigner::create(&path, "other"),
            Err(CosignerError::File { .. })
        ));
    }

    #[test]
    fn a_key_file_that_was_changed_or_that_others_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cosigner.key");
        Cosigner::create(&path, "collector.example/w0").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let changed = directory.path().join("changed.key");
        crate::durable::create(&changed, text.replace("/w0", "/w1").as_bytes(), 0o600).unwrap();
        assert!(matches!(
            Cosigner::load(&changed),
            Err(CosignerError::Form { .. })
        ));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = Cosigner::load(&path).unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
}
