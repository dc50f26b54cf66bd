//! The keys of project logs: one folder per log in `data_dir`, files for their owner only.
//!
//! `log.key` signs checkpoints for the life of the log. `entry-<id>.key` signs entries; the newest is
//! certified in the log by the one before, and the file of that one is removed once this is durable.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use evidence::hash::Origin;
use evidence::key::SigningKey;
use ring::rand::SystemRandom;

/// Why keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// The folder or a file.
    #[error("key file {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Others may read it.
    #[error("key file {0} may be read by others; run `chmod 600` on it")]
    NotPrivate(PathBuf),
    /// Something else is in it.
    #[error("key file {0} does not hold 64 hexadecimal digits; restore it from its backup")]
    Form(PathBuf),
    /// No randomness.
    #[error("a new key: {0}")]
    Random(#[from] evidence::key::KeyError),
}

/// The keys of one log.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    folder: PathBuf,
}

impl Keys {
    /// Where the keys of a log are, whether they are there or not.
    pub(crate) fn of(data_dir: &Path, origin: &Origin) -> Self {
        Self {
            folder: data_dir.join("project-logs").join(origin.id().to_hex()),
        }
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes both keys of a new log; fails if there are any already.
    pub(crate) fn create(&self) -> Result<(SigningKey, SigningKey), KeysError> {
        let made = std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder);
        made.map_err(|source| Self::failed(&self.folder, source))?;
        let (log_key, seed) = SigningKey::generate(&SystemRandom::new())?;
        self.write("log.key", &seed)?;
        Ok((log_key, self.add_entry_key()?))
    }

    /// Whether the keys of the log are here.
    pub(crate) fn exist(&self) -> bool {
        self.folder.join("log.key").exists()
    }

    pub(crate) fn log_key(&self) -> Result<SigningKey, KeysError> {
        self.read("log.key")
    }

    /// The entry key of this id.
    pub(crate) fn entry_key(&self, id: [u8; 8]) -> Result<SigningKey, KeysError> {
        self.read(&entry_name(id))
    }

    /// Makes the next entry key, durable before it is returned: the log will name it.
    pub(crate) fn add_entry_key(&self) -> Result<SigningKey, KeysError> {
        let (key, seed) = SigningKey::generate(&SystemRandom::new())?;
        self.write(&entry_name(key.public().key_id()), &seed)?;
        Ok(key)
    }

    /// Removes an entry key that the log never named, or no longer needs. What cannot be removed now
    /// is removed at the next rotation.
    pub(crate) fn forget(&self, id: [u8; 8]) {
        let path = self.folder.join(entry_name(id));
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::warn!(%error, "the replaced entry key {} stays for now", path.display());
        }
    }

    fn failed(path: &Path, source: std::io::Error) -> KeysError {
        KeysError::File {
            path: path.to_owned(),
            source,
        }
    }

    fn write(&self, name: &str, seed: &[u8; 32]) -> Result<(), KeysError> {
        let path = self.folder.join(name);
        let written = || {
            let mut file = std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)?;
            file.write_all(format!("{}\n", hex::encode(seed)).as_bytes())?;
            file.sync_all()?;
            File::open(&self.folder)?.sync_all()
        };
        written().map_err(|source| Self::failed(&path, source))
    }

    fn read(&self, name: &str) -> Result<SigningKey, KeysError> {
        let path = self.folder.join(name);
        let failed = |source| Self::failed(&path, source);
        let mode = std::fs::metadata(&path)
            .map_err(failed)?
            .permissions()
            .mode();
        if mode & 0o077 != 0 {
            return Err(KeysError::NotPrivate(path));
        }
        let text = std::fs::read_to_string(&path).map_err(failed)?;
        let mut seed = [0; 32];
        match hex::decode_to_slice(text.trim_end(), &mut seed) {
            Ok(()) => Ok(SigningKey::from_seed(seed)),
            Err(_not_hex) => Err(KeysError::Form(path)),
        }
    }
}

fn entry_name(id: [u8; 8]) -> String {
    format!("entry-{}.key", hex::encode(id))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use evidence::hash::Origin;

    use super::{Keys, KeysError};

    #[test]
    fn keys_are_private_made_once_and_found_by_their_id() {
        let directory = tempfile::tempdir().unwrap();
        let origin = Origin::parse("example.com/project/T").unwrap();
        let keys = Keys::of(directory.path(), &origin);
        assert!(!keys.exist());
        let (log_key, entry_key) = keys.create().unwrap();
        assert!(keys.exist());
        assert_eq!(keys.log_key().unwrap().public(), log_key.public());
        let id = entry_key.public().key_id();
        assert_eq!(keys.entry_key(id).unwrap().public(), entry_key.public());
        assert!(
            matches!(keys.create(), Err(KeysError::File { .. })),
            "nothing is overwritten"
        );
        let path = keys.folder().join("log.key");
        let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode));
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        mode(0o640).unwrap();
        assert!(matches!(keys.log_key(), Err(KeysError::NotPrivate(_))));
        keys.forget(id);
        assert!(matches!(keys.entry_key(id), Err(KeysError::File { .. })));
    }
}
