//! Giving room back: whole files that are acknowledged, and payloads under `drop_oldest`.

use std::path::PathBuf;
use std::sync::PoisonError;

use evidence::entry::Entry;

use super::{Buffer, BufferError, at, day, no_file, remove_database};

impl Buffer {
    /// Removes the oldest file if all its entries are below `acknowledged` and it is not the newest.
    ///
    /// # Errors
    ///
    /// Any error of the file system.
    pub fn forget_oldest(&self, acknowledged: u64) -> std::io::Result<Option<PathBuf>> {
        let mut files = self
            .catalogue
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let removable =
            files.len() > 1 && files.first().is_some_and(|info| info.end <= acknowledged);
        if !removable {
            return Ok(None);
        }
        let info = files.remove(0);
        drop(files);
        remove_database(&info.path)?;
        Ok(Some(info.path))
    }

    /// Removes files whose every entry is below `acknowledged` and was sealed before `unix_ms`.
    ///
    /// # Errors
    ///
    /// [`BufferError`].
    pub async fn forget_before(
        &self,
        unix_ms: u64,
        acknowledged: u64,
    ) -> Result<Vec<PathBuf>, BufferError> {
        let mut removed = Vec::new();
        loop {
            let files = self.files();
            let (Some(oldest), true) = (files.first(), files.len() > 1) else {
                break;
            };
            if oldest.end > acknowledged {
                break;
            }
            let last = self.reader().row(oldest.end - 1).await?;
            let sealed_ms = last.and_then(|row| {
                Entry::parse(&row.entry)
                    .ok()
                    .map(|signed| signed.entry.clock.unix_ms)
            });
            // A file whose last entry cannot be read or had no time goes with its successor.
            if sealed_ms.is_none_or(|sealed_ms| sealed_ms >= unix_ms) {
                break;
            }
            removed.extend(self.forget_oldest(acknowledged)?);
        }
        Ok(removed)
    }

    /// Drops the payloads of the data entries in `from..to`. Entries and control bodies stay.
    ///
    /// # Errors
    ///
    /// [`BufferError`].
    pub async fn drop_payloads(&mut self, from: u64, to: u64) -> Result<(), BufferError> {
        let files = self.files();
        let newest = files.len().saturating_sub(1);
        for (position, info) in files.iter().enumerate() {
            let (from, to) = (from.max(info.first), to.min(info.end));
            if from >= to {
                continue;
            }
            let dropped = if position == newest {
                let dir = self.dir.clone();
                let file = self.newest.as_mut().ok_or_else(|| no_file(&dir))?;
                file.drop_payloads(from, to).await
            } else {
                day::drop_payloads_of(&info.path, from, to).await
            };
            dropped.map_err(at(&info.path))?;
        }
        Ok(())
    }
}
