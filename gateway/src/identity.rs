//! The keys of the log on disk, and who may create them.
//!
//! `keys/log.key` signs checkpoints for the life of the log; `keys/entry.key` signs entries for one
//! UTC day. Both are 32-byte seeds in hex, mode 0600. Only `init` creates an identity, and never over
//! an existing one: a gateway that lost its keys must say so instead of becoming another log.

use std::path::{Path, PathBuf};

use evidence::checkpoint::log_vkey;
use evidence::hash::Origin;
use evidence::key::{SigningKey, VerifyingKey};
use evidence::note::Vkey;
use ring::rand::SystemRandom;
use thiserror::Error;

use crate::durable::{self, Access};

/// Why there is no usable identity.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// `init` was never run here.
    #[error(
        "no identity in `{0}`; run `fieldseal-gateway init` once, on the device that will seal"
    )]
    Absent(PathBuf),
    /// `init` was run here before.
    #[error(
        "`{0}` holds an identity already; a log is never begun twice. \
         `fieldseal-gateway status` shows it"
    )]
    Exists(PathBuf),
    /// The files are of another log than the configuration names.
    #[error(
        "`{path}` is the identity of log `{found}`, but the configuration says origin = \"{wanted}\"; \
         correct the configuration or use another data_dir"
    )]
    OtherOrigin {
        /// The directory.
        path: PathBuf,
        /// The origin on disk.
        found: String,
        /// The origin of the configuration.
        wanted: String,
    },
    /// A key file is not 64 hexadecimal digits.
    #[error("key file `{0}` is not 64 hexadecimal digits; restore it from where it was saved")]
    Malformed(PathBuf),
    /// The key that the log says is in force is not among the files.
    #[error(
        "the entry key in force ({wanted}) is not in `{dir}`; \
         without it the log cannot be continued and a new origin has to be begun"
    )]
    KeyLost {
        /// The directory.
        dir: PathBuf,
        /// Its public half, hex.
        wanted: String,
    },
    /// The system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    NoRandomness,
    /// The file system refused.
    #[error("the key directory failed")]
    Files(#[from] std::io::Error),
}

/// The keys of one log.
#[derive(Debug)]
pub struct Identity {
    dir: PathBuf,
    /// The log's name.
    pub origin: Origin,
    /// Signs checkpoints.
    pub log_key: SigningKey,
    /// Signs entries. Which of the files it came from is decided by [`Identity::settle`].
    pub entry_key: SigningKey,
}

impl Identity {
    /// Makes the keys of a new log under `data_dir/keys`, durably.
    ///
    /// A crash inside leaves keys without the name file; the next call then starts over, because
    /// nothing can have been signed by them.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Exists`] when there is one already, or what the system refused.
    pub fn create(data_dir: &Path, origin: &Origin) -> Result<Self, IdentityError> {
        let dir = data_dir.join("keys");
        durable::create_dir(data_dir)?;
        durable::create_dir(&dir)?;
        if dir.join("origin").exists() {
            return Err(IdentityError::Exists(dir));
        }
        let random = SystemRandom::new();
        for name in ["log.key", "entry.key"] {
            let (_key, seed) =
                SigningKey::generate(&random).map_err(|_no_bytes| IdentityError::NoRandomness)?;
            durable::write_file(&dir.join(name), seed_text(&seed).as_bytes(), Access::Owner)?;
        }
        // The name is the commit point: an identity exists when this file does.
        let name = format!("{}\n", origin.as_str());
        durable::create_file(&dir.join("origin"), name.as_bytes(), Access::All)?;
        Self::open(data_dir, origin)
    }

    /// Opens the keys under `data_dir/keys`.
    ///
    /// # Errors
    ///
    /// [`IdentityError`]: absent, of another log, or unreadable.
    pub fn open(data_dir: &Path, origin: &Origin) -> Result<Self, IdentityError> {
        let dir = data_dir.join("keys");
        let Some(found) = durable::read_file(&dir.join("origin"))? else {
            return Err(IdentityError::Absent(dir));
        };
        let found = String::from_utf8_lossy(&found).trim_end().to_owned();
        if found != origin.as_str() {
            let wanted = origin.as_str().to_owned();
            return Err(IdentityError::OtherOrigin {
                path: dir,
                found,
                wanted,
            });
        }
        let log_key = read_key(&dir.join("log.key"))?;
        // A rotation that was cut off while the old key was erased leaves zeros or nothing in its place,
        // and the key in force in the other file: `settle` finishes the exchange.
        let entry_key = match read_key(&dir.join("entry.key")) {
            Ok(Some(key)) => Ok(Some(key)),
            other => match read_key(&dir.join("entry.next.key")) {
                Ok(Some(next)) => Ok(Some(next)),
                Ok(None) | Err(_) => other,
            },
        }?;
        let (Some(log_key), Some(entry_key)) = (log_key, entry_key) else {
            return Err(IdentityError::Absent(dir));
        };
        Ok(Self {
            dir,
            origin: origin.clone(),
            log_key,
            entry_key,
        })
    }

    /// The line a verifier records: name, key hash and public log key.
    #[must_use]
    pub fn vkey(&self) -> Vkey {
        log_vkey(&self.origin, &self.log_key.public())
    }

    /// After a start: makes the entry key on disk the one the log says is in force.
    ///
    /// A rotation that was interrupted between the commit of its control entry and the exchange of
    /// the files is finished here; one that was interrupted before the commit is undone.
    ///
    /// # Errors
    ///
    /// [`IdentityError::KeyLost`] when neither file holds the key in force.
    pub fn settle(&mut self, in_force: &VerifyingKey) -> Result<(), IdentityError> {
        let next = self.dir.join("entry.next.key");
        match read_key(&next) {
            Ok(Some(key)) if key.public() == *in_force => {
                self.erase_replaced()?;
                self.take_next(key)
            }
            // Also what an interrupted erasure left of a key that was never used.
            Ok(_) | Err(IdentityError::Malformed(_)) if self.entry_key.public() == *in_force => {
                Ok(durable::erase_file(&next)?)
            }
            Err(error @ IdentityError::Files(_)) => Err(error),
            _ => Err(IdentityError::KeyLost {
                dir: self.dir.clone(),
                wanted: hex::encode(in_force.bytes()),
            }),
        }
    }

    /// Writes the seed of the next entry key, durably, before its control entry is sealed.
    ///
    /// # Errors
    ///
    /// What the system refused.
    pub fn prepare_next(&self) -> Result<SigningKey, IdentityError> {
        let (key, seed) = SigningKey::generate(&SystemRandom::new())
            .map_err(|_no_bytes| IdentityError::NoRandomness)?;
        let path = self.dir.join("entry.next.key");
        durable::write_file(&path, seed_text(&seed).as_bytes(), Access::Owner)?;
        Ok(key)
    }

    /// After the control entry of the next key is committed: the old key is erased. From here until
    /// [`Self::take_next`] the key in force is in the other file alone.
    ///
    /// # Errors
    ///
    /// What the system refused; the next start then finishes the exchange.
    pub fn erase_replaced(&self) -> Result<(), IdentityError> {
        Ok(durable::erase_file(&self.dir.join("entry.key"))?)
    }

    /// The next key takes the place of the erased one.
    ///
    /// # Errors
    ///
    /// What the system refused; the next start then finishes the exchange.
    pub fn take_next(&mut self, next: SigningKey) -> Result<(), IdentityError> {
        let current = self.dir.join("entry.key");
        durable::move_file(&self.dir.join("entry.next.key"), &current)?;
        self.entry_key = next;
        Ok(())
    }
}

fn seed_text(seed: &[u8; 32]) -> String {
    format!("{}\n", hex::encode(seed))
}

fn read_key(path: &Path) -> Result<Option<SigningKey>, IdentityError> {
    let Some(text) = durable::read_file(path)? else {
        return Ok(None);
    };
    let malformed = || IdentityError::Malformed(path.to_owned());
    let bytes = hex::decode(text.trim_ascii()).map_err(|_digits| malformed())?;
    let seed = <[u8; 32]>::try_from(bytes).map_err(|_length| malformed())?;
    Ok(Some(SigningKey::from_seed(seed)))
}

#[cfg(test)]
mod tests {
    use evidence::hash::Origin;

    use super::{Identity, IdentityError};

    fn origin() -> Origin {
        Origin::parse("example.com/gw/0001").unwrap()
    }

    #[test]
    fn an_identity_is_made_once_and_opened_as_the_same() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(
            Identity::open(dir.path(), &origin()),
            Err(IdentityError::Absent(_))
        ));
        let made = Identity::create(dir.path(), &origin()).unwrap();
        let opened = Identity::open(dir.path(), &origin()).unwrap();
        assert_eq!(made.vkey().to_string(), opened.vkey().to_string());
        assert!(matches!(
            Identity::create(dir.path(), &origin()),
            Err(IdentityError::Exists(_))
        ));
        let other = Origin::parse("example.com/gw/0002").unwrap();
        let error = Identity::open(dir.path(), &other).unwrap_err().to_string();
        assert!(error.contains("example.com/gw/0001") && error.contains("example.com/gw/0002"));
    }

    #[test]
    fn an_interrupted_rotation_is_finished_or_undone_by_what_the_log_says() {
        let dir = tempfile::tempdir().unwrap();
        let mut identity = Identity::create(dir.path(), &origin()).unwrap();
        let old = identity.entry_key.public();
        let next = identity.prepare_next().unwrap().public();
        // Died before the commit: the old key is in force, the next one is discarded.
        identity.settle(&old).unwrap();
        assert!(!dir.path().join("keys/entry.next.key").exists());
        // Died after the commit: the next key is in force.
        let next_again = identity.prepare_next().unwrap().public();
        assert_ne!(next, next_again);
        let mut reopened = Identity::open(dir.path(), &origin()).unwrap();
        reopened.settle(&next_again).unwrap();
        assert_eq!(reopened.entry_key.public(), next_again);
        let reopened = Identity::open(dir.path(), &origin()).unwrap();
        assert_eq!(reopened.entry_key.public(), next_again);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test's own files")]
    fn a_power_cut_while_a_key_is_erased_loses_no_key_that_is_in_force() {
        let zeros = [0; 65];
        for (what, old) in [("overwritten", Some(&zeros)), ("removed", None)] {
            let dir = tempfile::tempdir().unwrap();
            let identity = Identity::create(dir.path(), &origin()).unwrap();
            let in_force = identity.prepare_next().unwrap().public();
            let current = dir.path().join("keys/entry.key");
            match old {
                Some(zeros) => std::fs::write(&current, zeros).unwrap(),
                None => std::fs::remove_file(&current).unwrap(),
            }
            let mut reopened = Identity::open(dir.path(), &origin())
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            reopened.settle(&in_force).unwrap();
            assert_eq!(reopened.entry_key.public(), in_force, "{what}");
            let again = Identity::open(dir.path(), &origin()).unwrap();
            assert_eq!(again.entry_key.public(), in_force, "{what}");
            assert!(!dir.path().join("keys/entry.next.key").exists(), "{what}");
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test's own files")]
    fn an_erasure_of_an_unused_key_that_was_cut_off_is_finished() {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity::create(dir.path(), &origin()).unwrap();
        let in_force = identity.entry_key.public();
        let next = dir.path().join("keys/entry.next.key");
        std::fs::write(&next, [0; 65]).unwrap();
        let mut reopened = Identity::open(dir.path(), &origin()).unwrap();
        reopened.settle(&in_force).unwrap();
        assert!(!next.exists());
        // And where neither file holds the key in force, that is said.
        let stranger = reopened.prepare_next().unwrap().public();
        std::fs::remove_file(&next).unwrap();
        let lost = reopened.settle(&stranger).unwrap_err();
        assert!(matches!(lost, IdentityError::KeyLost { .. }), "{lost}");
    }
}
