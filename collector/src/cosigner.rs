//! The collector's own key: it says when it saw a checkpoint, and stands for having stored it.

use std::fmt;
use std::path::{Path, PathBuf};

use evidence::note::{Note, NoteSignature, Vkey};
use ring::rand::SystemRandom;

use crate::durable;

/// The key with its name.
pub struct Cosigner(evidence::cosigner::Cosigner);

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
    /// The name is not one that signatures can carry, or there is no randomness.
    #[error("cosigner: {0}")]
    Make(evidence::cosigner::CosignerError),
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
        let made = evidence::cosigner::Cosigner::generate(name, &SystemRandom::new());
        let (cosigner, line) = made.map_err(CosignerError::Make)?;
        durable::create(path, line.as_bytes(), 0o600).map_err(|source| CosignerError::File {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self(cosigner))
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
        let mode = std::fs::metadata(path).map_err(file)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(CosignerError::NotPrivate {
                path: path.to_owned(),
            });
        }
        let text = std::fs::read_to_string(path).map_err(file)?;
        let cosigner = evidence::cosigner::Cosigner::parse(&text);
        cosigner.map(Self).map_err(|_form| CosignerError::Form {
            path: path.to_owned(),
        })
    }

    /// The public half in text form: what gateways and verifiers are told.
    pub const fn vkey(&self) -> &Vkey {
        self.0.vkey()
    }

    /// Cosigns a checkpoint at a second: the log's own signature line and ours, nothing else.
    ///
    /// The caller lets the result out only after the store has committed what the checkpoint
    /// states, by the compare-and-swap that makes it the only one of its size.
    pub(crate) fn cosign(&self, text: &str, log_line: NoteSignature, unix_s: u64) -> Note {
        Note {
            text: text.to_owned(),
            signatures: vec![log_line, self.0.cosign(text, unix_s)],
        }
    }
}

impl fmt::Debug for Cosigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
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
