//! Reading the log back at a start: verified row by row, and compared with what the journal noted.

use std::fs::{File, TryLockError};
use std::path::Path;

use evidence::chain::Chain;
use evidence::hash::Origin;

use crate::buffer::{Buffer, BufferError, FileInfo, Row};
use crate::journal::HeadNote;
use crate::log::LogError;
use crate::recorder::RecorderError;

/// Verifies the newest file row by row and returns the state of the log.
///
/// Each file holds the state before its first row, so only the newest is read. A state written by
/// another version of the program may not decode; then the file before is read as well, and so on.
pub(crate) async fn replay(
    buffer: &Buffer,
    origin: &Origin,
    noted: Option<HeadNote>,
) -> Result<Chain, RecorderError> {
    let files = buffer.files();
    let mut start = files.len();
    let mut chain = Chain::new(origin.clone());
    while start > 0 {
        start -= 1;
        let snapshot = buffer.snapshot(start).await.map_err(LogError::from)?;
        match snapshot.as_deref().map(Chain::decode) {
            Some(Ok(decoded)) if decoded.origin() == origin => {
                chain = decoded;
                break;
            }
            Some(Err(error)) => {
                tracing::warn!("The state stored in a day file does not decode: {error}");
            }
            Some(Ok(_)) | None => {}
        }
    }
    let mut reader = buffer.reader();
    let end = files.last().map_or(0, |info| info.end);
    for FileInfo {
        first,
        end: file_end,
        ..
    } in files.iter().skip(start)
    {
        let mut index = chain.size();
        if index < *first {
            return Err(damaged(
                index,
                String::from("the entries before it are in no file"),
            ));
        }
        while index < (*file_end).min(end) {
            let rows = reader
                .rows(index, *file_end, 256, 4 << 20)
                .await
                .map_err(LogError::from)?;
            for row in rows {
                take(&mut chain, &row)?;
                index += 1;
            }
        }
    }
    if let Some(noted) = noted
        && noted.size == chain.size()
        && chain.previous() != Some(&noted.leaf)
    {
        return Err(damaged(
            noted.size - 1,
            String::from("it is not the entry that was sealed"),
        ));
    }
    Ok(chain)
}

fn take(chain: &mut Chain, row: &Row) -> Result<(), RecorderError> {
    chain
        .admit(&row.entry, row.payload.as_deref())
        .map_err(|rejection| damaged(row.index, rejection.to_string()))?;
    if *chain.range() == row.range {
        Ok(())
    } else {
        Err(damaged(
            row.index,
            String::from("its compact range is of another tree"),
        ))
    }
}

fn damaged(index: u64, why: String) -> RecorderError {
    RecorderError::Damaged { index, why }
}

/// The head must be at or past what the journal says was sealed, and on the same branch.
pub(crate) async fn check_head(
    dir: &Path,
    buffer: &Buffer,
    chain: &Chain,
    noted: Option<HeadNote>,
) -> Result<(), RecorderError> {
    let Some(noted) = noted else { return Ok(()) };
    if noted.size > chain.size() {
        return Err(RecorderError::HeadBehind {
            dir: dir.to_owned(),
            found: chain.size(),
            noted: noted.size,
        });
    }
    let Some(last) = noted.size.checked_sub(1) else {
        return Ok(());
    };
    match buffer.reader().row(last).await {
        Ok(Some(row)) if evidence::hash::leaf_hash(&row.entry) != noted.leaf => Err(damaged(
            last,
            String::from("it is not the entry that was sealed"),
        )),
        // An older file may have been dropped or set aside; the newest was verified above.
        Ok(_) | Err(BufferError::Missing { .. }) => Ok(()),
        Err(error) => Err(LogError::from(error).into()),
    }
}

/// Takes the directory for this process, for as long as the file is held.
pub(crate) fn lock_dir(dir: &Path) -> Result<File, RecorderError> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(dir.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(RecorderError::Running(dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}
