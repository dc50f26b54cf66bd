//! Trust policies (C2SP tlog-policy): which logs, which witnesses, and how many of them suffice.
//!
//! A policy is the verifier's own file; nothing in a bundle can change it. It decides whether a
//! checkpoint counts, from which time on, and how many witnesses would have had to lie for two
//! histories of one log to be shown to two verifiers.

mod parse;

use thiserror::Error;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::note::{Note, NoteError, SignatureKind, Vkey};
pub use parse::{LineError, PolicyError};

/// A parsed policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<Vkey>,
    /// Names are the policy's own; the key's name is another matter.
    witnesses: Vec<(String, Vkey)>,
    /// Witnesses and groups in the order of their lines, so members stand before their group.
    nodes: Vec<Node>,
    /// Position in `nodes`; `None` for `quorum none`.
    quorum: Option<usize>,
    /// Keys of the witnesses, then of the logs: what a note is verified with.
    keys: Vec<Vkey>,
}

/// One name of the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    /// Position in `witnesses`.
    Witness(usize),
    /// At least `threshold` of `members` (positions in `nodes`, all before this one). No node is a
    /// member twice, so the groups form trees.
    Group {
        threshold: usize,
        members: Vec<usize>,
    },
}

/// What a policy says of one checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quorum {
    /// The checkpoint that was judged.
    pub checkpoint: Checkpoint,
    /// Whether enough witnesses cosigned it.
    pub met: bool,
    /// Unix seconds of the cosignature that completed the quorum, taking the earliest ones; `None`
    /// if it is not met, and for `quorum none`, which says nothing of time.
    pub time: Option<u64>,
    /// Witnesses of the policy that cosigned, in its order, each with its earliest time.
    pub valid: Vec<(String, u64)>,
}

/// When witnesses satisfy a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Met {
    /// Not with these cosignatures.
    Never,
    /// `quorum none`: without any.
    Always,
    /// From this time on, in Unix seconds.
    At(u64),
}

/// Why a note is not judged at all.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EvaluationError {
    /// The note's text is no checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A line of a known key does not verify.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The policy names logs, and not this one.
    #[error("log `{0}` is not in the policy; add `log <its verifier key>` if it is to be trusted")]
    UnknownLog(String),
    /// No signature by this log's key.
    #[error("the checkpoint of `{0}` is not signed by the key the policy has for that log")]
    NotSignedByLog(String),
}

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// [`PolicyError`] names line, rule and remedy.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        parse::parse(text)
    }

    /// Returns the keys of the trusted logs. Empty: the caller knows the log from elsewhere and
    /// checks its signature itself ([`Checkpoint::open`]).
    #[must_use]
    pub fn logs(&self) -> &[Vkey] {
        &self.logs
    }

    /// Returns the witnesses, each with its name in the policy, in the order of their lines.
    #[must_use]
    pub fn witnesses(&self) -> &[(String, Vkey)] {
        &self.witnesses
    }

    /// Judges one checkpoint note: log signature, every cosignature by a witness of the policy, and
    /// the quorum. A quorum that is not met is an answer, not an error.
    ///
    /// # Errors
    /// [`EvaluationError`] if the note is no checkpoint of a log of this policy, or if any line of a
    /// known key does not verify.
    pub fn evaluate(&self, note: &Note) -> Result<Quorum, EvaluationError> {
        let checkpoint = Checkpoint::parse_body(&note.text)?;
        let origin = checkpoint.origin.as_str();
        if !self.logs.is_empty() && !self.logs.iter().any(|log| log.name() == origin) {
            return Err(EvaluationError::UnknownLog(origin.to_owned()));
        }
        let verified = match note.verify(&self.keys) {
            // Whether a log should have signed is decided below.
            Err(NoteError::NoKnownSignature(_)) => Vec::new(),
            other => other?,
        };
        let by_log = verified
            .iter()
            .any(|v| v.vkey.kind() == SignatureKind::Ed25519 && v.vkey.name() == origin);
        // Without log lines the log's signature is the caller's business.
        if !self.logs.is_empty() && !by_log {
            return Err(EvaluationError::NotSignedByLog(origin.to_owned()));
        }
        let times: Vec<Option<u64>> = self
            .witnesses
            .iter()
            .map(|(_, vkey)| {
                verified
                    .iter()
                    .filter(|v| v.vkey == vkey)
                    .filter_map(|v| v.time)
                    .min()
            })
            .collect();
        let valid = self
            .witnesses
            .iter()
            .zip(&times)
            .filter_map(|((name, _), time)| time.map(|time| (name.clone(), time)))
            .collect();
        let (met, time) = match self.met(&times) {
            Met::Never => (false, None),
            Met::Always => (true, None),
            Met::At(time) => (true, Some(time)),
        };
        Ok(Quorum {
            checkpoint,
            met,
            time,
            valid,
        })
    }

    /// Returns when the quorum is met, given for each witness (in the order of
    /// [`Self::witnesses`]) the earliest time it vouched, if it did.
    ///
    /// The times may stem from different checkpoints of one log: whoever cosigned a larger tree
    /// vouched for every leaf in it, so a leaf is proven once the quorum is met over sizes beyond it.
    #[must_use]
    pub fn met(&self, times: &[Option<u64>]) -> Met {
        let Some(quorum) = self.quorum else {
            return Met::Always;
        };
        // A group of threshold k is satisfied when its k-th member is.
        let by_node = self.fold(|node, done: &[Option<u64>]| match node {
            Node::Witness(i) => times.get(*i).copied().flatten(),
            Node::Group { threshold, members } => {
                let mut met: Vec<u64> = members
                    .iter()
                    .filter_map(|m| done.get(*m).copied().flatten())
                    .collect();
                met.sort_unstable();
                threshold
                    .checked_sub(1)
                    .and_then(|last| met.get(last).copied())
            }
        });
        by_node
            .get(quorum)
            .copied()
            .flatten()
            .map_or(Met::Never, Met::At)
    }

    /// Returns the smallest number of dishonest witnesses with which two contradicting histories of
    /// one log could both satisfy this policy. 0: no witness need lie.
    #[must_use]
    pub fn split_view_number(&self) -> u32 {
        u32::try_from(self.split_view_witnesses().len()).unwrap_or(u32::MAX)
    }

    /// Returns one smallest set of witnesses that could allow a split view together, by name, in
    /// the order of the policy.
    ///
    /// An honest witness signs for one of two histories. A group of k of n has both satisfied once
    /// b members count for both and the others are divided: b ≥ 2k - n. Groups are trees without
    /// shared members, so the cheapest choice in each group is the cheapest over all.
    #[must_use]
    pub fn split_view_witnesses(&self) -> Vec<&str> {
        let costs = self.fold(|node, done: &[usize]| match node {
            Node::Witness(_) => 1,
            Node::Group { threshold, members } => cheapest_for_both(*threshold, members, done)
                .iter()
                .map(|(cost, _)| cost)
                .sum(),
        });
        let mut liars = Vec::new();
        let mut open: Vec<usize> = self.quorum.into_iter().collect();
        while let Some(at) = open.pop() {
            match self.nodes.get(at) {
                Some(Node::Witness(i)) => liars.push(*i),
                Some(Node::Group { threshold, members }) => {
                    open.extend(
                        cheapest_for_both(*threshold, members, &costs)
                            .iter()
                            .map(|(_, m)| m),
                    );
                }
                None => {}
            }
        }
        liars.sort_unstable();
        liars
            .into_iter()
            .filter_map(|i| self.witnesses.get(i).map(|(name, _)| name.as_str()))
            .collect()
    }

    /// Returns the quorum in words: `none`, `W0`, `all of (W0, 2 of (A, B, C))`.
    #[must_use]
    pub fn describe(&self) -> String {
        let Some(quorum) = self.quorum else {
            return "none".to_owned();
        };
        let by_node = self.fold(|node, done: &[String]| match node {
            Node::Witness(i) => self
                .witnesses
                .get(*i)
                .map_or_else(String::new, |w| w.0.clone()),
            Node::Group { threshold, members } => {
                let names: Vec<&str> = members
                    .iter()
                    .filter_map(|m| done.get(*m))
                    .map(String::as_str)
                    .collect();
                let names = names.join(", ");
                match (*threshold, members.len()) {
                    (k, n) if k == n => format!("all of ({names})"),
                    (1, _) => format!("any of ({names})"),
                    (k, _) => format!("{k} of ({names})"),
                }
            }
        });
        by_node.get(quorum).cloned().unwrap_or_default()
    }

    /// Computes a value for every node from those before it, without recursion: a policy may nest
    /// its groups as deep as it has lines.
    fn fold<T>(&self, value: impl Fn(&Node, &[T]) -> T) -> Vec<T> {
        self.nodes
            .iter()
            .fold(Vec::with_capacity(self.nodes.len()), |mut done, node| {
                let next = value(node, &done);
                done.push(next);
                done
            })
    }
}

/// The members of a group that must count for both of two histories, with their costs: the cheapest
/// max(0, 2k - n); of equal ones, the first.
fn cheapest_for_both(threshold: usize, members: &[usize], costs: &[usize]) -> Vec<(usize, usize)> {
    let mut by_cost: Vec<(usize, usize)> = members
        .iter()
        .filter_map(|m| costs.get(*m).map(|cost| (*cost, *m)))
        .collect();
    by_cost.sort_by_key(|(cost, _)| *cost);
    by_cost.truncate((2 * threshold).saturating_sub(members.len()));
    by_cost
}

#[cfg(test)]
mod tests;
