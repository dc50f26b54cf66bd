//! Fetching back what the collector holds of this log and this device lost.
//!
//! After a lost or damaged file, or an old copy of the device, positions that were signed before must
//! never be signed again. The collector has the very bytes: they are verified with the same state
//! machine as ever, entered into the day files, and the log goes on behind them. Where the collector
//! does not reach as far as the journal says was sealed, nothing can be continued: a new origin begins.

use std::time::Duration;

use evidence::chain::Chain;
use evidence::checkpoint::{Checkpoint, sign_checkpoint};
use evidence::cosignature::verify_cosignature;
use evidence::entry::Entry;
use evidence::note::{Note, Vkey};
use evidence::tiles::{decode_entry_bundle, entries_path};
use thiserror::Error;

use crate::buffer::{Buffer, Head, Row};
use crate::clock::UtcDay;
use crate::collector::{Collector, CollectorError};
use crate::identity::Identity;
use crate::journal::{HeadNote, Journal};
use crate::log::LogError;
use crate::recorder::{RecorderError, Settings, Surroundings};
use crate::replay::{lock_dir, replay};

/// Entries in one bundle of the reading side.
const BUNDLE: u64 = 256;
/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why nothing could be fetched back.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The data directory cannot be used.
    #[error(transparent)]
    Recorder(#[from] RecorderError),
    /// The collector cannot be used.
    #[error(transparent)]
    Collector(#[from] CollectorError),
    /// The collector shows no head of this log.
    #[error("the collector has nothing of this log")]
    Nothing,
    /// The collector's head is not good enough.
    #[error(
        "{noted} entries were sealed here but the collector has only {theirs}: the rest is lost with \
         this device and the log cannot be continued. Begin a new one: another origin and data_dir in \
         the configuration, then `fieldseal-gateway init --after` with the old data_dir"
    )]
    TooShort {
        /// Entries sealed according to the journal.
        noted: u64,
        /// Entries at the collector.
        theirs: u64,
    },
    /// What the collector sent does not continue our log.
    #[error("entry {index} from the collector does not continue this log: {why}")]
    Foreign {
        /// The position.
        index: u64,
        /// The rule.
        why: String,
    },
}

impl From<LogError> for RestoreError {
    fn from(error: LogError) -> Self {
        Self::Recorder(error.into())
    }
}

/// Brings the log on disk up to the collector's head and returns (entries before, entries after).
///
/// May be repeated: what was fetched stays, and the next call goes on there.
///
/// # Errors
///
/// [`RestoreError`].
pub async fn restore(
    settings: &Settings,
    around: &Surroundings,
    collector: &Collector,
    witness: &Vkey,
) -> Result<(u64, u64), RestoreError> {
    let dir = &settings.data_dir;
    let _lock = lock_dir(dir)?;
    let mut identity = Identity::open(dir, &settings.origin).map_err(RecorderError::from)?;
    let quarantine = dir.join("quarantine");
    let (mut journal, _said) = Journal::open(dir, &quarantine)
        .await
        .map_err(RecorderError::from)?;
    let noted = journal.head().await.map_err(RecorderError::from)?;
    let faults = std::sync::Arc::clone(&around.faults);
    let max_bytes = settings.limits.max_bytes;
    let opened = Buffer::open(&dir.join("log"), &quarantine, max_bytes, faults)
        .await
        .map_err(LogError::from)?;
    let mut buffer = opened.buffer;
    let mut chain = loop {
        match replay(&buffer, &settings.origin, noted).await {
            Ok(chain) => break chain,
            Err(RecorderError::Damaged { index, why }) => {
                tracing::warn!(index, "Setting the newest day file aside: {why}");
                buffer.set_newest_aside().await.map_err(LogError::from)?;
            }
            Err(error) => return Err(error.into()),
        }
    };
    let before = chain.size();
    let target = head(collector, witness, &identity).await?;
    if let Some(noted) = noted.filter(|noted| noted.size > target.size) {
        return Err(RestoreError::TooShort {
            noted: noted.size,
            theirs: target.size,
        });
    }
    while chain.size() < target.size {
        let first = chain.size() / BUNDLE * BUNDLE;
        let width = (target.size - first).min(BUNDLE);
        let path = entries_path(first / BUNDLE, u16::try_from(width).unwrap_or(0));
        let bundle = collector
            .get(&path, PATIENCE)
            .await?
            .ok_or(RestoreError::Nothing)?;
        let entries = decode_entry_bundle(&bundle)
            .map_err(|error| CollectorError::Nonsense(error.to_string()))?;
        let skip = usize::try_from(chain.size() - first).unwrap_or(usize::MAX);
        if entries.len() <= skip {
            return Err(CollectorError::Nonsense(String::from("an empty bundle")).into());
        }
        for entry in entries.into_iter().skip(skip) {
            take(&mut chain, &mut buffer, &identity, collector, entry).await?;
        }
    }
    if chain.root() != target.root {
        let why = String::from("the entries do not have the root that it cosigned");
        return Err(RestoreError::Foreign {
            index: target.size,
            why,
        });
    }
    if let Some(key) = chain.entry_key() {
        identity.settle(key).map_err(RecorderError::from)?;
    }
    if let Some(leaf) = chain.previous() {
        let note = HeadNote {
            size: chain.size(),
            leaf: *leaf,
        };
        journal
            .sealed(note, None)
            .await
            .map_err(RecorderError::from)?;
    }
    journal.close().await.map_err(RecorderError::from)?;
    buffer.close().await.map_err(LogError::from)?;
    Ok((before, target.size))
}

/// The collector's head: cosigned by the key we know, and signed by our own log key.
async fn head(
    collector: &Collector,
    witness: &Vkey,
    identity: &Identity,
) -> Result<Checkpoint, RestoreError> {
    let nonsense = |why: String| CollectorError::Nonsense(format!("its head: {why}"));
    let bytes = collector
        .get("checkpoint", PATIENCE)
        .await?
        .ok_or(RestoreError::Nothing)?;
    let note = Note::parse(&bytes).map_err(|error| nonsense(error.to_string()))?;
    let time = verify_cosignature(&note, witness).map_err(|error| nonsense(error.to_string()))?;
    if time.is_none() {
        return Err(nonsense(String::from("not cosigned by the collector we know")).into());
    }
    let checkpoint =
        Checkpoint::open(&note, &identity.vkey()).map_err(|error| nonsense(error.to_string()))?;
    Ok(checkpoint)
}

/// Verifies one entry with its payload and appends it.
async fn take(
    chain: &mut Chain,
    buffer: &mut Buffer,
    identity: &Identity,
    collector: &Collector,
    entry: &[u8],
) -> Result<(), RestoreError> {
    let index = chain.size();
    let foreign = |why: String| RestoreError::Foreign { index, why };
    let parsed = Entry::parse(entry)
        .map_err(|rejection| foreign(rejection.to_string()))?
        .entry;
    let payload = match parsed.payload_ref() {
        // Absent there as well: it was dropped, and a later entry has to declare it.
        Some(_) => collector.get(&format!("payload/{index}"), PATIENCE).await?,
        None => None,
    };
    let argument = match parsed.payload_ref() {
        Some(_) => payload.as_deref(),
        None => Some(&[][..]),
    };
    let mut next = chain.clone();
    let applied = next
        .apply(entry, argument)
        .map_err(|rejection| foreign(rejection.to_string()))?;
    // The signature is deterministic: these are the bytes that were signed the first time.
    let checkpoint = Checkpoint {
        origin: identity.origin.clone(),
        size: next.size(),
        root: next.root(),
    };
    let row = Row {
        index,
        entry: entry.to_vec(),
        payload,
        checkpoint: sign_checkpoint(&checkpoint, &identity.log_key).to_bytes(),
        range: next.range().clone(),
    };
    let head = chain.previous().map_or(Head::EMPTY, |leaf| Head {
        size: index,
        leaf: *leaf,
    });
    let day = UtcDay::of(parsed.clock.unix_ms);
    let state = &*chain;
    let snapshot = || state.encode();
    buffer
        .append(&row, head, applied.leaf, day, &snapshot)
        .await
        .map_err(LogError::from)?;
    *chain = next;
    Ok(())
}
