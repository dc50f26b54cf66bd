//! Checkpoints that the verifier saw in an earlier audit, held against what a bundle shows now.

use super::open::LogVerifier;
use super::{Failure, Problem};
use crate::hash::Hash;

/// A checkpoint that was seen before, and what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remembered {
    /// Its size.
    pub size: u64,
    /// Its root.
    pub root: Hash,
    /// What this bundle says about it.
    pub now: Now,
}

/// What a bundle says about a checkpoint that was seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Now {
    /// Not reached yet: the pass stopped before it.
    Open,
    /// The bundle's tree continues it.
    Continued,
    /// The bundle's tree has another root at that size: two histories under one key.
    Forked(Hash),
    /// It is larger than the bundle's final checkpoint: the bundle is of an older state.
    Older,
    /// It lies before the bundle's first entry: nothing here can show that the tree continues it.
    Before,
}

impl LogVerifier<'_> {
    /// Holds the log against a checkpoint seen before. To be called before the pass.
    ///
    /// # Errors
    /// [`Problem::Forked`] when a signed note of the bundle contradicts it at once.
    pub fn remember(&mut self, size: u64, root: Hash) -> Result<(), Failure> {
        let signed = self.times.roots.iter().find(|(of, _)| *of == size);
        if let Some((_, found)) = signed.filter(|(_, found)| *found != root) {
            let problem = Problem::Forked {
                size,
                remembered: root,
                found: *found,
            };
            return Err(Failure::new(problem).of_log(self.origin.as_str()));
        }
        let now = match size {
            0 => Now::Continued,
            _ if size > self.size => Now::Older,
            _ if size < self.first => Now::Before,
            _ if size == self.first => judge(root, self.chain.root()),
            _ => Now::Open,
        };
        self.remembered.push(Remembered { size, root, now });
        self.remembered.sort_by_key(|known| known.size);
        Ok(())
    }

    /// Takes note of the running root, if a remembered checkpoint has this size.
    pub(super) fn compare_remembered(&mut self, size: u64) {
        if self.remembered.is_empty() {
            return;
        }
        let root = self.chain.root();
        for known in self
            .remembered
            .iter_mut()
            .filter(|known| known.size == size)
        {
            known.now = judge(known.root, root);
        }
    }

    /// Contradictions that stand: the entries that show them lead to the final root.
    pub(super) fn forks(&self) -> Vec<Problem> {
        let whole = self.chain.size() == self.size;
        let forked = |known: &Remembered| match known.now {
            Now::Forked(found) => Some(Problem::Forked {
                size: known.size,
                remembered: known.root,
                found,
            }),
            _ => None,
        };
        self.remembered
            .iter()
            .filter(|_| whole)
            .filter_map(forked)
            .collect()
    }
}

fn judge(root: Hash, found: Hash) -> Now {
    if root == found {
        Now::Continued
    } else {
        Now::Forked(found)
    }
}
