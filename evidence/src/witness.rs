//! The witness protocol (C2SP tlog-witness, `add-checkpoint`): what is asked, and what a witness may
//! answer.
//!
//! A witness keeps one thing per log, the size and root it cosigned last ([`Held`]). It signs a new
//! checkpoint only if a proof shows that the tree it knows is the beginning of the new one, so no two
//! trees that contradict one another ever both carry its cosignature. The steps are types: [`Request`]
//! is read, [`Request::authenticate`] checks the log's signature, [`Authentic::decide`] compares with
//! what is held, and only [`Accepted`] can be cosigned.
//!
//! The caller's share: between reading [`Held`] and storing [`Accepted::held`] nothing else may store
//! one for this log (one transaction), and that transaction is durable before the cosignature leaves.
//! Killed before it, nothing was promised; killed after it, the log asks again with its old size, is
//! told the new one, and gets a cosignature over the same tree.

mod answer;

use thiserror::Error;

pub use answer::{AnswerError, read_cosignature, read_size};

use crate::checkpoint::{Checkpoint, CheckpointError, parse_decimal};
use crate::cosigner::Cosigner;
use crate::hash::{Hash, empty_root};
use crate::merkle::{ProofError, verify_consistency};
use crate::note::{Note, NoteError, NoteSignature, Vkey};

/// Longest consistency proof of trees of at most 2^63 - 1 leaves.
const MAX_HASHES: usize = 63;

/// The content type of an answer 409.
pub const SIZE_CONTENT_TYPE: &str = "text/x.tlog.size";

/// The body of `POST <witness>/add-checkpoint`, taken apart. It means nothing yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Size of the tree that the witness cosigned last, as the sender believes.
    pub old: u64,
    /// The consistency proof from there to the checkpoint's size.
    pub proof: Vec<Hash>,
    /// The new checkpoint with its log's signature; others do no harm.
    pub note: Note,
}

/// What a witness stores of a log, and must not lose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Leaves of the tree it cosigned last.
    pub size: u64,
    /// The root of that tree.
    pub root: Hash,
}

impl Held {
    /// A log that was never cosigned: the empty tree, which every tree continues.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            size: 0,
            root: empty_root(),
        }
    }
}

/// A request whose checkpoint its log signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authentic<'r> {
    request: &'r Request,
    checkpoint: Checkpoint,
    /// The checkpoint with the signatures of the known keys of its log and no others.
    note: Note,
}

/// A checkpoint that continues what is held. Store [`Self::held`] durably, then cosign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Size and root.
    pub checkpoint: Checkpoint,
    /// The checkpoint with the verified signatures of its log.
    pub note: Note,
}

/// Why a body is no request: always status 400.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Longer than [`Request::MAX_BYTES`].
    #[error("request of {0} bytes; at most {max} are read", max = Request::MAX_BYTES)]
    TooLarge(usize),
    /// Not UTF-8 before the empty line.
    #[error("the lines before the checkpoint are not UTF-8")]
    NotUtf8,
    /// No empty line.
    #[error("no empty line before the checkpoint")]
    NoCheckpoint,
    /// Another first line.
    #[error("line 1 is not `old`, one space and a decimal size without leading zeros")]
    OldSize,
    /// A line that is no hash.
    #[error("line {0} is no hash in canonical base64")]
    Hash(usize),
    /// More than 63 hashes.
    #[error("{0} proof lines; no proof needs more than {MAX_HASHES}")]
    TooManyHashes(usize),
    /// What follows the empty line is no signed note.
    #[error("the checkpoint: {0}")]
    Note(#[from] NoteError),
}

/// Why nothing is cosigned, with the status that the protocol demands.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// 400: no request.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// 404: the witness knows no log of this origin.
    #[error("this witness does not know the log `{0}`")]
    UnknownLog(String),
    /// 403: not signed by a known key of the log, or a line of such a key that does not verify.
    #[error("the checkpoint of `{origin}`: {source}")]
    NotSigned {
        /// The log.
        origin: String,
        /// What does not verify.
        source: NoteError,
    },
    /// 400: signed by the log, and no checkpoint that this format takes.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// 400: the old size is beyond the checkpoint's.
    #[error("the old size {old} is larger than the checkpoint's {size}")]
    OldIsLarger {
        /// The old size of the request.
        old: u64,
        /// The size of the checkpoint.
        size: u64,
    },
    /// 409: the witness holds another size than the sender believes.
    #[error("the newest cosigned checkpoint has size {0}")]
    SizeIs(u64),
    /// 422: an empty tree with another root than the empty tree's.
    #[error("the checkpoint states an empty tree with a root that is not the empty tree's")]
    RootOfEmptyTree,
    /// 422: two roots for one size. Held and refused checkpoint together prove that the log's key
    /// signed two histories.
    #[error("two roots for size {size}: cosigned was {held}, this one is {found}")]
    OtherRoot {
        /// The size of both.
        size: u64,
        /// The root that was cosigned.
        held: Hash,
        /// The root of the request.
        found: Hash,
    },
    /// 422: the proof does not lead from the held tree to the new one. The log or whoever sent this
    /// is wrong; it proves nothing against the log by itself.
    #[error("consistency from size {old} to {size}: {source}")]
    Proof {
        /// The held size.
        old: u64,
        /// The size of the checkpoint.
        size: u64,
        /// What does not fit.
        source: ProofError,
    },
}

impl Refusal {
    /// Returns the HTTP status of the answer.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Request(_) | Self::Checkpoint(_) | Self::OldIsLarger { .. } => 400,
            Self::NotSigned { .. } => 403,
            Self::UnknownLog(_) => 404,
            Self::SizeIs(_) => 409,
            Self::RootOfEmptyTree | Self::OtherRoot { .. } | Self::Proof { .. } => 422,
        }
    }

    /// Returns the content type of the answer.
    #[must_use]
    pub const fn content_type(&self) -> &'static str {
        match self {
            Self::SizeIs(_) => SIZE_CONTENT_TYPE,
            _ => "text/plain; charset=utf-8",
        }
    }

    /// Returns the body of the answer: the size for 409, else the reason for people.
    #[must_use]
    pub fn body(&self) -> String {
        match self {
            Self::SizeIs(size) => format!("{size}\n"),
            other => format!("{other}\n"),
        }
    }
}

impl Request {
    /// Longest body: 63 hashes, the old size, and the longest note.
    pub const MAX_BYTES: usize = Note::MAX_BYTES + 4096;

    /// Reads a body, strictly: what is accepted is exactly what [`Self::to_bytes`] writes.
    ///
    /// # Errors
    /// [`RequestError`] names the line.
    pub fn parse(body: &[u8]) -> Result<Self, RequestError> {
        if body.len() > Self::MAX_BYTES {
            return Err(RequestError::TooLarge(body.len()));
        }
        let end = body
            .windows(2)
            .position(|two| two == b"\n\n")
            .ok_or(RequestError::NoCheckpoint)?;
        let (head, note) = body.split_at(end);
        let head = std::str::from_utf8(head).map_err(|_e| RequestError::NotUtf8)?;
        let mut lines = head.split('\n');
        let old = lines
            .next()
            .and_then(|line| line.strip_prefix("old "))
            .and_then(parse_decimal)
            .ok_or(RequestError::OldSize)?;
        let proof: Vec<Hash> = lines
            .enumerate()
            .map(|(i, line)| Hash::from_base64(line).map_err(|_e| RequestError::Hash(i + 2)))
            .collect::<Result<_, _>>()?;
        if proof.len() > MAX_HASHES {
            return Err(RequestError::TooManyHashes(proof.len()));
        }
        let note = Note::parse(note.get(2..).unwrap_or_default())?;
        Ok(Self { old, proof, note })
    }

    /// Returns the body.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut head = format!("old {}\n", self.old);
        for hash in &self.proof {
            head.push_str(&hash.to_base64());
            head.push('\n');
        }
        head.push('\n');
        let mut body = head.into_bytes();
        body.extend_from_slice(&self.note.to_bytes());
        body
    }

    /// Returns the first line of the checkpoint: which log's keys and state are asked for. Nobody
    /// has vouched for it yet.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.note.text.split('\n').next().unwrap_or_default()
    }

    /// Checks that a key of the log signed the checkpoint. `known` are the keys that the witness's
    /// operator was given for [`Self::origin`]; none means that the log is unknown.
    ///
    /// # Errors
    /// [`Refusal`] with status 404, 403 or 400, in this order.
    pub fn authenticate(&self, known: &[Vkey]) -> Result<Authentic<'_>, Refusal> {
        let origin = self.origin();
        if known.is_empty() {
            return Err(Refusal::UnknownLog(origin.to_owned()));
        }
        self.note
            .verify(known)
            .map_err(|source| Refusal::NotSigned {
                origin: origin.to_owned(),
                source,
            })?;
        let checkpoint = Checkpoint::parse_any_root(&self.note.text)?;
        if self.old > checkpoint.size {
            return Err(Refusal::OldIsLarger {
                old: self.old,
                size: checkpoint.size,
            });
        }
        let of_log = |line: &&NoteSignature| known.iter().any(|vkey| line.claims(vkey));
        let note = Note {
            text: self.note.text.clone(),
            signatures: self
                .note
                .signatures
                .iter()
                .filter(of_log)
                .cloned()
                .collect(),
        };
        Ok(Authentic {
            request: self,
            checkpoint,
            note,
        })
    }
}

impl Authentic<'_> {
    /// Returns what the log signed.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Decides, given what is held of this log now.
    ///
    /// # Errors
    /// [`Refusal`] with status 409 or 422.
    pub fn decide(&self, held: Held) -> Result<Accepted, Refusal> {
        let Checkpoint { size, root, .. } = self.checkpoint;
        if self.request.old != held.size {
            return Err(Refusal::SizeIs(held.size));
        }
        if size == 0 && root != empty_root() {
            return Err(Refusal::RootOfEmptyTree);
        }
        if size == held.size && root != held.root {
            return Err(Refusal::OtherRoot {
                size,
                held: held.root,
                found: root,
            });
        }
        verify_consistency(held.size, size, &self.request.proof, &held.root, &root).map_err(
            |source| Refusal::Proof {
                old: held.size,
                size,
                source,
            },
        )?;
        Ok(Accepted {
            checkpoint: self.checkpoint.clone(),
            note: self.note.clone(),
        })
    }
}

impl Accepted {
    /// Returns what is held from now on.
    #[must_use]
    pub const fn held(&self) -> Held {
        Held {
            size: self.checkpoint.size,
            root: self.checkpoint.root,
        }
    }

    /// Cosigns at `unix_s`, which the caller took from a clock it trusts and which is not before the
    /// last cosignature of this log. Returns our line, and the note that carries it after the log's.
    #[must_use]
    pub fn cosign(&self, cosigner: &Cosigner, unix_s: u64) -> (NoteSignature, Note) {
        let line = cosigner.cosign(&self.note.text, unix_s);
        let mut note = self.note.clone();
        // The note was read, so it has at most 64 lines; ours must be among them.
        note.signatures.truncate(Note::MAX_SIGNATURES - 1);
        note.signatures.push(line.clone());
        (line, note)
    }
}

#[cfg(test)]
mod tests;
