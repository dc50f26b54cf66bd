//! One reading, proven by itself: a file of less than 2 KB for a usual segment.
//!
//! It leads from a sample to what witnesses saw: the chunk that holds it, the path from the chunk to
//! the root that the entry signs, the entry, the path from the entry to the root of a cosigned
//! checkpoint. Whoever has the log's key and a policy needs nothing else.
//!
//! What a reading *means* (name, unit, scale) stands in a configuration entry. A [`TableProof`] proves
//! one in the same way, once for all readings made under it.

mod form;
mod paths;
mod table;

pub use paths::Paths;
pub use table::{Meaning, TableProof};

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::chunk::{ChunkError, Exception, View};
use crate::entry::{Body, Entry};
use crate::hash::{Hash, leaf_hash};
use crate::measurement::MeasurementConfig;
use crate::merkle::{ProofError, verify_inclusion};
use crate::note::{Note, Vkey};
use crate::policy::{EvaluationError, Policy};
use crate::rejection::Rejection;

/// What a proof of a usual segment stays below, in bytes.
pub const USUAL_BYTES: usize = 2_048;
/// The longest proof that is read: an hour's chunk of long texts fits.
pub const MOST_BYTES: usize = 16 << 20;
/// Stands for the sample of a chunk that has none: no message came.
pub const NO_SAMPLE: u16 = u16::MAX;

/// A proof, taken apart. It proves nothing until [`Self::verify`] agrees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpotProof {
    /// The data entry's bytes.
    pub entry: Vec<u8>,
    /// Which of the payload's chunks it is, from 0.
    pub position: u32,
    /// The chunk's bytes.
    pub chunk: Vec<u8>,
    /// Which sample of the chunk, from 0; [`NO_SAMPLE`] for a chunk without any.
    pub sample: u16,
    /// From the chunk to the root that the entry signs.
    pub inner: Vec<Hash>,
    /// From the entry to the checkpoint's root.
    pub outer: Vec<Hash>,
    /// The checkpoint with its cosignatures.
    pub checkpoint: Note,
}

/// What is proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The entry's index.
    pub index: u64,
    /// Its leaf hash.
    pub leaf: Hash,
    /// Index and leaf hash of the latest control entry before it.
    pub control: Option<(u64, Hash)>,
    /// The stream.
    pub stream: u16,
    /// The tick of a polled sample; for messages the first tick of their segment.
    pub tick: u64,
    /// Messages: milliseconds from the start of the segment.
    pub offset_ms: Option<u32>,
    /// The point's index in the configuration in force.
    pub point: u16,
    /// What was read.
    pub raw: Raw,
    /// What is said of the sample; nothing of a good one.
    pub said: Vec<Exception>,
    /// The checkpoint it leads to.
    pub checkpoint: Checkpoint,
    /// Witnesses of the policy that cosigned it, with their unix seconds.
    pub cosigned: Vec<(String, u64)>,
}

/// A sample as it was sealed, before scale and decimals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Raw {
    /// A column value.
    Number(i64),
    /// A byte string.
    Text(Vec<u8>),
    /// No message came in the segment.
    Nothing,
}

/// Why a proof proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpotError {
    /// The bytes are no such file.
    #[error("{0}")]
    Form(String),
    /// The checkpoint is not the log's.
    #[error("the checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// A cosignature is bad, or the policy does not know the log.
    #[error("the checkpoint: {0}")]
    Policy(#[from] EvaluationError),
    /// Witnesses are missing.
    #[error("the quorum {quorum} is not met: cosigned by {found}")]
    Quorum {
        /// The quorum in words.
        quorum: String,
        /// Who did cosign.
        found: String,
    },
    /// The entry is malformed or of another kind.
    #[error("the entry: {0}")]
    Entry(#[from] Rejection),
    /// The entry is not in the tree of the checkpoint.
    #[error("the entry is not in the log: {0}")]
    Outer(ProofError),
    /// The chunk is not in the payload that the entry signs.
    #[error("the chunk is not of this entry: {0}")]
    Inner(ProofError),
    /// The chunk is malformed.
    #[error("the chunk: {0}")]
    Chunk(#[from] ChunkError),
    /// The chunk has no such sample, or the chunk does not fit the entry.
    #[error("{0}")]
    Sample(String),
    /// The table does not belong to the reading.
    #[error("{0}")]
    Table(String),
}

impl SpotError {
    /// A stable code for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Form(_) => "S01",
            Self::Checkpoint(_) | Self::Policy(_) => "S02",
            Self::Quorum { .. } => "S03",
            Self::Entry(_) => "S04",
            Self::Outer(_) => "S05",
            Self::Inner(_) => "S06",
            Self::Chunk(_) | Self::Sample(_) => "S07",
            Self::Table(_) => "S08",
        }
    }
}

impl SpotProof {
    /// Checks the proof under the log's key and a policy.
    ///
    /// The entry's own signature is not looked at: its key is made known by other entries, and the
    /// log's signature over the root already says that this entry stands in the log.
    ///
    /// # Errors
    /// [`SpotError`] names the first link that does not hold.
    pub fn verify(&self, anchor: &Vkey, policy: &Policy) -> Result<Reading, SpotError> {
        let (checkpoint, cosigned) = judge(&self.checkpoint, anchor, policy)?;
        let signed = Entry::parse(&self.entry)?;
        let entry = &signed.entry;
        let leaf = leaf_hash(&self.entry);
        let (size, root) = (checkpoint.size, &checkpoint.root);
        verify_inclusion(&leaf, entry.index, size, &self.outer, root).map_err(SpotError::Outer)?;
        let Body::Data { ticks, payload } = &entry.body else {
            let problem = "it is no data entry and holds no reading".to_owned();
            return Err(SpotError::Sample(problem));
        };
        let position = u64::from(self.position);
        let chunk = leaf_hash(&self.chunk);
        verify_inclusion(&chunk, position, payload.chunks, &self.inner, &payload.root)
            .map_err(SpotError::Inner)?;
        let (view, used) = View::parse(&self.chunk)?;
        let mut values = Vec::new();
        view.check(&mut values)?;
        if used != self.chunk.len() || !view.messages && u64::from(view.count) != ticks.count {
            let problem = "the chunk does not fill the ticks of the entry".to_owned();
            return Err(SpotError::Sample(problem));
        }
        let at = usize::from(self.sample);
        let (raw, said) = if self.sample == NO_SAMPLE && view.count == 0 {
            (Raw::Nothing, Vec::new())
        } else if self.sample < view.count {
            let text = view.texts().and_then(|mut texts| texts.nth(at));
            let raw = match (text, values.get(at)) {
                (Some(text), _) => Raw::Text(text.to_vec()),
                (None, value) => Raw::Number(value.copied().unwrap_or_default()),
            };
            let of_sample = |said: &Exception| said.sample == self.sample;
            (raw, view.exceptions().filter(of_sample).collect())
        } else {
            let problem = format!("the chunk has {} samples, not {}", view.count, self.sample);
            return Err(SpotError::Sample(problem));
        };
        let offset_ms = view.offsets().and_then(|mut offsets| offsets.nth(at));
        let tick = if view.messages {
            ticks.first
        } else {
            ticks.first.saturating_add(u64::from(self.sample))
        };
        Ok(Reading {
            index: entry.index,
            leaf,
            control: entry.control,
            stream: ticks.stream,
            tick,
            offset_ms,
            point: view.point,
            raw,
            said,
            checkpoint,
            cosigned,
        })
    }
}

/// One chunk of a payload, or what stands for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'p> {
    /// The point's index.
    pub point: u16,
    /// The chunk's leaf hash.
    pub leaf: Hash,
    /// The chunk; none when only its hash is shown.
    pub chunk: Option<&'p [u8]>,
}

/// The chunks of a stream's payload, in order. `shown` as in [`crate::segment::Segment::open_shown`],
/// which must have accepted it.
///
/// # Errors
/// [`ChunkError`] when it does not split.
pub fn chunks_of<'p>(
    config: &MeasurementConfig,
    stream: u16,
    shown: Option<&[bool]>,
    payload: &'p [u8],
) -> Result<Vec<Piece<'p>>, ChunkError> {
    let mut rest = payload;
    let mut pieces = Vec::new();
    for (point, _) in config.points_of(stream) {
        let hidden = shown.is_some_and(|shown| shown.get(usize::from(point)) != Some(&true));
        let piece = if hidden {
            let (leaf, after) = rest
                .split_first_chunk::<32>()
                .ok_or(ChunkError::Truncated)?;
            rest = after;
            Piece {
                point,
                leaf: Hash(*leaf),
                chunk: None,
            }
        } else {
            let (_, used) = View::parse(rest)?;
            let (chunk, after) = rest.split_at_checked(used).ok_or(ChunkError::Truncated)?;
            rest = after;
            Piece {
                point,
                leaf: leaf_hash(chunk),
                chunk: Some(chunk),
            }
        };
        pieces.push(piece);
    }
    Ok(pieces)
}

/// The checkpoint under the log's key, and who of the policy cosigned it: the quorum must be met.
fn judge(
    note: &Note,
    anchor: &Vkey,
    policy: &Policy,
) -> Result<(Checkpoint, Vec<(String, u64)>), SpotError> {
    let checkpoint = Checkpoint::open(note, anchor)?;
    let quorum = policy.evaluate(note)?;
    if !quorum.met {
        let names: Vec<&str> = quorum.valid.iter().map(|(name, _)| name.as_str()).collect();
        let found = if names.is_empty() {
            "nobody of the policy".to_owned()
        } else {
            names.join(", ")
        };
        let quorum = policy.describe();
        return Err(SpotError::Quorum { quorum, found });
    }
    Ok((checkpoint, quorum.valid))
}

#[cfg(test)]
mod tests;
