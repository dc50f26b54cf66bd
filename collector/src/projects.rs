//! Project logs: written by the verifier API into the same store, checked and cosigned here.
//!
//! The collector is the first witness of them as it is of gateways' logs. What it cosigned last is a
//! row of its own (`store`'s `cosign` moves it by compare-and-swap); the head belongs to the writer. A
//! new checkpoint is cosigned only after every entry up to it was checked from the beginning of the
//! log on, so that it also continues the one before. Refused material stays where it is, uncosigned,
//! and the reason is in the log: nobody loses an entry, and no verifier takes it for witnessed.

use std::collections::HashMap;
use std::time::Duration;

use evidence::checkpoint::Checkpoint;
use evidence::hash::{Hash, Origin};
use evidence::note::{Note, Vkey};
use evidence::project::ProjectLog;
use store::{Appended, Cosign, LogId, StoreError, Witnessed};

use crate::clock::second_to_cosign;
use crate::server::Collector;

/// How often the heads are looked at.
const EVERY: Duration = Duration::from_secs(2);
/// A log at rest is cosigned again after this long, so that its next entry has a young note to pin.
const AGAIN_S: u64 = 86_400;
/// Rows read at once.
const PAGE: u32 = 256;

/// Why a head is not cosigned.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// The store failed; the next look may succeed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log's checkpoint, entries or clock.
    #[error("{0}")]
    Why(String),
}

fn why(reason: impl std::fmt::Display) -> Refused {
    Refused::Why(reason.to_string())
}

/// What was checked so far. It can be thrown away at any time: the store has everything.
#[derive(Debug, Default)]
pub(crate) struct Projects {
    checked: HashMap<LogId, ProjectLog>,
    /// What was said of a log, so that it is said once.
    said: HashMap<LogId, String>,
}

/// Looks at all project logs again and again. Never ends.
pub(crate) async fn follow(collector: &Collector) {
    let mut projects = Projects::default();
    loop {
        projects.look(collector).await;
        tokio::time::sleep(EVERY).await;
    }
}

impl Projects {
    /// Cosigns every head that has moved and stands up to the check.
    pub(crate) async fn look(&mut self, collector: &Collector) {
        let logs = match collector.store.project_logs().await {
            Ok(logs) => logs,
            Err(error) => {
                tracing::warn!(%error, "Project logs were not looked at");
                return;
            }
        };
        for log in logs {
            match self.one(collector, &log).await {
                Ok(Some(size)) => {
                    self.said.remove(&log.log.log);
                    tracing::info!(log.origin = log.origin, size, "Cosigned a project log");
                }
                Ok(None) => {}
                Err(refused) => {
                    // Checked again from the beginning next time: what was read may have been wrong.
                    self.checked.remove(&log.log.log);
                    let reason = refused.to_string();
                    if self.said.insert(log.log.log, reason.clone()).as_ref() != Some(&reason) {
                        tracing::error!(
                            log.origin = log.origin,
                            reason,
                            "A project log is not cosigned"
                        );
                    }
                }
            }
        }
    }

    /// Cosigns one log if its head moved or the last cosignature is old; returns the size.
    pub(crate) async fn one(
        &mut self,
        collector: &Collector,
        log: &store::ProjectLog,
    ) -> Result<Option<u64>, Refused> {
        let store = &collector.store;
        let at = log.log;
        let state = store.witnessed(at).await?;
        let state = state.ok_or_else(|| why("the store has no witness state for it"))?;
        let head = store.head(at).await?;
        let head = head.ok_or_else(|| why("the store has no head of it"))?;
        let now_ms = collector.clock.now_ms();
        let now_s = u64::try_from(now_ms / 1000).unwrap_or(0);
        if head.log.size < state.size {
            return Err(why(format!(
                "the head went back to {} entries, {} are cosigned: restore the store from its newest backup",
                head.log.size, state.size
            )));
        }
        if head.log.size == state.size && now_s < state.cosigned_s.saturating_add(AGAIN_S) {
            return Ok(None);
        }
        collector
            .watch
            .check(&*collector.clock)
            .map_err(|doubt| why(doubt.reason))?;
        let second =
            second_to_cosign(now_ms, state.cosigned_s).map_err(|doubt| why(doubt.reason))?;
        let vkey = Vkey::parse(&log.log_vkey).map_err(why)?;
        let root = self
            .check(collector, log, &vkey, &state, head.log.size)
            .await?;
        let note = Note::parse(&head.note).map_err(why)?;
        let checkpoint = Checkpoint::open(&note, &vkey).map_err(why)?;
        if (checkpoint.size, checkpoint.root) != (head.log.size, root) {
            return Err(why(format!(
                "the checkpoint states size {} and root {}, the {} entries lead to {root}",
                checkpoint.size, checkpoint.root, head.log.size
            )));
        }
        let line = note.signatures.iter().find(|line| line.claims(&vkey));
        let line = line.ok_or_else(|| why("the checkpoint is not signed by the log"))?;
        let cosigned = collector.cosigner.cosign(&note.text, line.clone(), second);
        let cosign = Cosign {
            log: at,
            old_size: state.size,
            new_size: head.log.size,
            new_root: root.0,
            note: cosigned.to_bytes(),
            cosigned_s: second,
            now_ms,
        };
        match store.cosign(&cosign).await? {
            Appended::At(size) => Ok(Some(size)),
            // Another collector was faster; the next look sees what it did.
            Appended::HeadMoved { .. } => Ok(None),
        }
    }

    /// Checks the entries up to `size` and returns their root.
    async fn check(
        &mut self,
        collector: &Collector,
        log: &store::ProjectLog,
        vkey: &Vkey,
        state: &Witnessed,
        size: u64,
    ) -> Result<Hash, Refused> {
        // What is remembered must not be beyond what is cosigned: that root is compared on the way.
        let known = self.checked.remove(&log.log.log);
        let mut known = match known.filter(|known| known.size() <= state.size) {
            Some(known) => known,
            None => ProjectLog::new(Origin::parse(&log.origin).map_err(why)?),
        };
        while known.size() < size {
            let from = known.size();
            let rows = collector
                .store
                .rows(log.log, from..size, PAGE, true)
                .await?;
            if rows.is_empty() {
                return Err(why(format!("entry {from} is not in the store")));
            }
            for row in rows {
                compare(&known, state)?;
                known
                    .apply(&row.entry, row.payload.as_deref())
                    .map_err(|rejection| why(format!("entry {}: {rejection}", row.index)))?;
            }
        }
        compare(&known, state)?;
        let genesis = known.chain().genesis();
        if genesis.is_none_or(|genesis| genesis.log_key != *vkey.key()) {
            return Err(why(
                "the genesis entry names another log key than the store",
            ));
        }
        let root = known.chain().root();
        self.checked.insert(log.log.log, known);
        Ok(root)
    }
}

/// At the size that was cosigned last the root is the one that was cosigned.
fn compare(known: &ProjectLog, state: &Witnessed) -> Result<(), Refused> {
    let same = state.root == known.chain().root().0;
    if state.size > 0 && known.size() == state.size && !same {
        return Err(why(format!(
            "the first {} entries lead to another root than was cosigned: the store was changed",
            state.size
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
