//! The witness's private key: one line in a file that nobody else may read.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::Context as _;
use evidence::cosigner::Cosigner;
use ring::rand::SystemRandom;

/// Makes a new key and its file (0600), which must not exist yet.
///
/// # Errors
/// An existing file, a name that signatures cannot carry, or a directory that cannot be written.
pub fn create(path: &Path, name: &str) -> anyhow::Result<Cosigner> {
    let shown = path.display();
    let (cosigner, line) = Cosigner::generate(name, &SystemRandom::new())
        .context("the witness's name is a host name with a path, such as witness.example.org/w1")?;
    // Written beside and linked: the file is whole or not there, and an existing one stays.
    let beside = path.with_extension("key.new");
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot write {}", beside.display()));
        }
        _ => {}
    }
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(line.as_bytes())?;
        file.sync_all()
    };
    write().with_context(|| format!("cannot write {}", beside.display()))?;
    let linked = std::fs::hard_link(&beside, path);
    std::fs::remove_file(&beside).with_context(|| format!("cannot remove {}", beside.display()))?;
    linked.with_context(|| {
        format!("{shown} cannot be made; if it exists, this directory is a witness already: use it, or remove the file if it never ran")
    })?;
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))
        .and_then(|directory| directory.sync_all())
        .with_context(|| format!("cannot sync the directory of {shown}"))?;
    Ok(cosigner)
}

/// Reads the key.
///
/// # Errors
/// A file that is absent, that others may read, or that holds something else; with the remedy.
pub fn load(path: &Path) -> anyhow::Result<Cosigner> {
    let shown = path.display();
    let mode = std::fs::metadata(path)
        .with_context(|| {
            format!(
                "cannot find the witness's key {shown}; `fieldseal-verify witness init` makes one"
            )
        })?
        .permissions()
        .mode();
    anyhow::ensure!(
        mode & 0o077 == 0,
        "the key {shown} may be read by others; run `chmod 600 {shown}`"
    );
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
    Cosigner::parse(&text)
        .with_context(|| format!("the key {shown} is damaged; restore it from its backup"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_private_is_never_overwritten_and_reads_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("witness.key");
        assert!(load(&path).unwrap_err().to_string().contains("init"));
        let made = create(&path, "w.example/1").unwrap();
        assert_eq!(load(&path).unwrap().vkey(), made.vkey());
        assert!(create(&path, "w.example/2").is_err());
        assert_eq!(load(&path).unwrap().vkey(), made.vkey());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = load(&path).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }
}
