//! The stored log, applied entry by entry to an empty chain: how the state is rebuilt when its
//! snapshot cannot be used, and how the store is inspected. The same code that admits an upload.

use evidence::Rejection;
use evidence::chain::{Applied, Chain};
use evidence::hash::{Hash, Origin};
use store::{Head, LogRef, Row, Store, StoreError};

/// Rows per step: some 25 ms of checking.
const PAGE: u32 = 256;

/// Why the stored rows are not the log that they were.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row is not there.
    #[error("entry {0} is missing")]
    Missing(u64),
    /// A row breaks a rule of the format, which it did not when it entered.
    #[error("entry {index}: {rejection}")]
    Entry {
        /// Its index.
        index: u64,
        /// The rule.
        rejection: Rejection,
    },
    /// All entries are good, and their root is not the head's.
    #[error("the stored entries lead to root {found}, the head states {expected}")]
    Root {
        /// The head's.
        expected: String,
        /// The entries'.
        found: String,
    },
    /// The origin or the checking itself failed.
    #[error("{0}")]
    Failed(String),
}

/// A replay under way.
#[derive(Debug)]
pub(crate) struct Replay<'a> {
    store: &'a Store,
    log: LogRef,
    size: u64,
    chain: Option<Chain>,
}

impl<'a> Replay<'a> {
    pub(crate) fn new(store: &'a Store, head: &Head) -> Result<Self, ReplayError> {
        let origin = Origin::parse(&head.log.origin)
            .map_err(|error| ReplayError::Failed(error.to_string()))?;
        let chain = Some(Chain::new(origin));
        Ok(Self {
            store,
            log: head.log.log,
            size: head.log.size,
            chain,
        })
    }

    /// Applies the next rows and returns them; none at the end.
    pub(crate) async fn step(&mut self) -> Result<Vec<(Row, Applied)>, ReplayError> {
        // Away only while a step works on it; a step that failed is the last.
        let mut chain = self
            .chain
            .take()
            .ok_or_else(|| ReplayError::Failed("the replay has failed before".to_owned()))?;
        let next = chain.size();
        let rows = self
            .store
            .rows(self.log, next..self.size, PAGE, true)
            .await?;
        if rows.is_empty() && next < self.size {
            return Err(ReplayError::Missing(next));
        }
        let working = tokio::task::spawn_blocking(move || {
            let mut done = Vec::with_capacity(rows.len());
            for row in rows {
                if row.index != chain.size() {
                    return Err(ReplayError::Missing(chain.size()));
                }
                let applied =
                    chain
                        .apply(&row.entry, row.payload.as_deref())
                        .map_err(|rejection| ReplayError::Entry {
                            index: row.index,
                            rejection,
                        })?;
                done.push((row, applied));
            }
            Ok((chain, done))
        });
        let worked = working
            .await
            .map_err(|panicked| ReplayError::Failed(panicked.to_string()))?;
        let (chain, done) = worked?;
        self.chain = Some(chain);
        Ok(done)
    }

    /// The tick length of a stream, in milliseconds; 0 if there was none of this number.
    pub(crate) fn tick_ms(&self, stream: u16) -> u32 {
        let chain = self.chain.as_ref();
        let state = chain.and_then(|chain| chain.stream(stream));
        state.map_or(0, |stream| stream.tick_ms)
    }

    /// The chain after all steps, if it leads to the head's root.
    pub(crate) fn end(self, head: &Head) -> Result<Chain, ReplayError> {
        let chain = self
            .chain
            .ok_or_else(|| ReplayError::Failed("the replay has failed before".to_owned()))?;
        let expected = Hash(head.log.root);
        if chain.size() != head.log.size || chain.root() != expected {
            let (expected, found) = (expected.to_base64(), chain.root().to_base64());
            return Err(ReplayError::Root { expected, found });
        }
        Ok(chain)
    }
}

/// The chain at a log's head: from its snapshot, or from the log itself when the snapshot is of
/// another version or does not fit.
///
/// The snapshot is a short cut, not a source of truth: a program that reads it otherwise, after an
/// update, takes a second per 15,000 entries once, and then writes its own.
pub(crate) async fn chain_at(store: &Store, head: &Head) -> Result<Chain, ReplayError> {
    let why = match Chain::decode(&head.chain) {
        Ok(chain) if chain.size() == head.log.size && chain.root().0 == head.log.root => {
            return Ok(chain);
        }
        Ok(chain) => format!("it is of size {}", chain.size()),
        Err(error) => error.to_string(),
    };
    tracing::warn!(
        log.origin = head.log.origin,
        log.size = head.log.size,
        why,
        "The snapshot of a log's state cannot be used; the log is read again from its beginning"
    );
    let mut replay = Replay::new(store, head)?;
    while !replay.step().await?.is_empty() {}
    replay.end(head)
}
