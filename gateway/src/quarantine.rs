//! Files that cannot be used any more: moved aside under a free name, never deleted, never fatal.

use std::path::{Path, PathBuf};

use crate::durable;

/// Whether the file itself is bad (`SQLITE_CORRUPT` 11, `SQLITE_NOTADB` 26), not the disk around it.
pub(crate) fn is_damage(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .and_then(|code| code.parse::<i64>().ok())
        .is_some_and(|code| matches!(code & 0xff, 11 | 26))
}

/// Moves a database with its side files to the quarantine under a free name.
pub(crate) fn set_aside(path: &Path, quarantine: &Path) -> std::io::Result<PathBuf> {
    durable::create_dir(quarantine)?;
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let target = (1_u32..)
        .map(|number| quarantine.join(format!("{number:04}-{name}")))
        .find(|candidate| !candidate.exists())
        .unwrap_or_else(|| quarantine.join(&name));
    let beside = |path: &Path, suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    // The side files first: should the process die in between, the database is still in place and
    // is set aside at the next start.
    for suffix in ["-wal", "-shm"] {
        let side = beside(path, suffix);
        if side.exists() {
            durable::move_file(&side, &beside(&target, suffix))?;
        }
    }
    if path.exists() {
        durable::move_file(path, &target)?;
    }
    Ok(target)
}
