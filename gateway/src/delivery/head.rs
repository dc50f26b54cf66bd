//! Whether the collector's log is a beginning of ours.

use std::time::Duration;

use evidence::checkpoint::Checkpoint;
use evidence::cosignature::verify_cosignature;
use evidence::note::{Note, Vkey};

use crate::buffer::LogReader;
use crate::collector::{Collector, CollectorError};

/// How the collector's log stands to ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadCheck {
    /// It shows no head of this log (yet); an upload will tell where it is.
    Nothing,
    /// Its log is a beginning of ours, or all of it.
    Same {
        /// Its size.
        size: u64,
    },
    /// It is longer than ours.
    Ahead {
        /// Its size.
        size: u64,
    },
    /// It differs from ours.
    Forked {
        /// Its size.
        size: u64,
    },
}

/// Compares the collector's cosigned head with the log on disk.
///
/// # Errors
///
/// [`CollectorError`]; a head without the collector's valid cosignature is nonsense, not a head.
pub async fn check_head(
    collector: &Collector,
    witness: &Vkey,
    reader: &mut LogReader,
    our_size: u64,
) -> Result<HeadCheck, CollectorError> {
    let nonsense = |why: String| CollectorError::Nonsense(format!("its head: {why}"));
    let Some(bytes) = collector.get("checkpoint", Duration::from_secs(5)).await? else {
        return Ok(HeadCheck::Nothing);
    };
    let note = Note::parse(&bytes).map_err(|error| nonsense(error.to_string()))?;
    let cosigned =
        verify_cosignature(&note, witness).map_err(|error| nonsense(error.to_string()))?;
    if cosigned.is_none() {
        return Err(nonsense(String::from(
            "it is not cosigned by the collector we know",
        )));
    }
    let theirs = Checkpoint::parse_body(&note.text).map_err(|error| nonsense(error.to_string()))?;
    let size = theirs.size;
    if size > our_size {
        return Ok(HeadCheck::Ahead { size });
    }
    let Some(last) = size.checked_sub(1) else {
        return Ok(HeadCheck::Same { size });
    };
    match reader.row(last).await {
        Ok(Some(row)) if row.range.root() == theirs.root => Ok(HeadCheck::Same { size }),
        Ok(_) => Ok(HeadCheck::Forked { size }),
        // Only acknowledged files are ever removed: what is not there any more was confirmed once.
        Err(_gone) => Ok(HeadCheck::Same { size }),
    }
}
