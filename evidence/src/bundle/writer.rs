//! Writing a bundle piece by piece, without ever holding the entries or payloads of a log together.

use std::io::Write;

use super::{BundleError, Disclosure, README, tar};
use crate::checkpoint::Checkpoint;
use crate::hash::{Hash, Origin, leaf_hash, sha256};
use crate::merkle::CompactRange;
use crate::note::Note;
use crate::proof::TlogProof;

/// Everything of a log's part of a bundle but its entries and payloads, and how long those are.
///
/// What whoever fills this must see to, so that a verifier can follow:
///
/// - `checkpoint`: a note of this log, cosigned, of size N, such that every stream that matters has
///   an entry below N that reaches the end of the period, and every clock event that places entries
///   of the period and every declaration of dropped payloads stands below N.
/// - `start`: the tree before entry a. In every stream some entry from a on begins before the period
///   (going back two hours from the period's start does, with segments of at most an hour), unless
///   the log or the stream began inside it. At a = 0 the range is empty.
/// - `controls`: *all* control entries below N, not only those between a and N.
/// - `trail`: the kept cosigned notes with sizes from a to N, and the newest one or two before a, because
///   the first entries pin them; several of one size are all useful.
/// - `entries_bytes`: [`entries_bytes`] of the lengths of entries a..N-1.
/// - `payload_bytes`: the signed payload lengths of the *data* entries a..N-1, without those whose
///   index lies in the range of any [`crate::control::Control::Dropped`] below N. In classes B and C
///   the lengths of what [`Disclosure::part`] makes of those payloads.
#[derive(Debug, Clone)]
pub struct LogParts {
    /// The log's name.
    pub origin: Origin,
    /// The bytes of the final note.
    pub checkpoint: Vec<u8>,
    /// The tree before the first entry.
    pub start: CompactRange,
    /// All control entries below the checkpoint's size.
    pub controls: Vec<ControlPart>,
    /// The bytes of trail notes, in any order; equal ones are written once.
    pub trail: Vec<Vec<u8>>,
    /// Timestamps: the note of `trail` that each is over, and the authority's answer. Of several over
    /// one note the first is written; those over other notes are left out.
    pub timestamps: Vec<(Vec<u8>, Vec<u8>)>,
    /// The length of `entries.bin`.
    pub entries_bytes: u64,
    /// The length of `payload.bin`.
    pub payload_bytes: u64,
    /// What is shown; decides what of each payload is handed to [`BundleWriter::payload`].
    pub disclosure: Disclosure,
}

/// A control entry and its place in the tree of the checkpoint.
#[derive(Debug, Clone)]
pub struct ControlPart {
    /// The index.
    pub index: u64,
    /// The entry's bytes.
    pub entry: Vec<u8>,
    /// The inclusion proof in the tree of the checkpoint's size ([`crate::merkle::inclusion_proof`]).
    pub proof: Vec<Hash>,
    /// The body, when it is a payload of its own because it is too long for the entry.
    pub body: Option<Vec<u8>>,
}

/// The project log's part of a bundle: all of it, from the first entry on.
#[derive(Debug, Clone)]
pub struct ProjectParts {
    /// The log's name.
    pub origin: Origin,
    /// The bytes of the final note, cosigned.
    pub checkpoint: Vec<u8>,
    /// The bytes of trail notes, in any order; equal ones are written once.
    pub trail: Vec<Vec<u8>>,
    /// Bodies too long for their entry, in any order.
    pub bodies: Vec<Vec<u8>>,
    /// Every entry below the note's size, by index.
    pub entries: Vec<Vec<u8>>,
}

/// The length of `entries.bin` for entries of these lengths.
#[must_use]
pub fn entries_bytes(lengths: impl IntoIterator<Item = u64>) -> u64 {
    lengths
        .into_iter()
        .map(|length| length.saturating_add(2))
        .sum()
}

/// The `range-start` file of a tree.
#[must_use]
pub fn range_start_text(start: &CompactRange) -> String {
    let mut text = format!("{}\n", start.size());
    for hash in start.hashes() {
        text.push_str(&hash.to_base64());
        text.push('\n');
    }
    text
}

/// Writes a bundle to a sink.
///
/// The order of calls is the order of files: [`Self::begin`], then for each log [`Self::log`], all [`Self::entry`], all [`Self::payload`],
/// and at the end [`Self::finish`]. Logs come in ascending order of [`Origin::id`].
///
/// Nothing is held back: after each call all its bytes are in the sink. A caller that streams to a
/// network hands in a `Vec<u8>` and takes its contents through [`Self::sink`] after each call.
#[derive(Debug)]
pub struct BundleWriter<W> {
    sink: W,
    last_log: Option<Hash>,
    open: Open,
    /// What stands behind the logs: whether the project log is written, and the last attachment.
    project: bool,
    last_input: Option<Hash>,
}

/// What of the current log is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Nothing,
    Entries {
        left: u64,
        padding: u64,
        payload: u64,
    },
    Payload {
        left: u64,
        padding: u64,
    },
}

impl<W: Write> BundleWriter<W> {
    /// Writes what stands before the logs. `plan` is the plan as applied, `report` the claim.
    ///
    /// # Errors
    /// [`BundleError::Io`].
    pub fn begin(sink: W, plan: &[u8], report: Option<&[u8]>) -> Result<Self, BundleError> {
        let mut writer = Self {
            sink,
            last_log: None,
            open: Open::Nothing,
            project: false,
            last_input: None,
        };
        writer.file("README.txt", README.as_bytes())?;
        writer.file("plan.toml", plan)?;
        if let Some(report) = report {
            writer.file("report/report.json", report)?;
        }
        Ok(writer)
    }

    /// Where the bytes go.
    pub const fn sink(&mut self) -> &mut W {
        &mut self.sink
    }

    /// Writes the small files of a log and the header of its `entries.bin`.
    ///
    /// # Errors
    /// [`BundleError::Writer`] when the log before is not finished, the order is wrong or a note
    /// cannot be read; [`BundleError::Io`]; [`BundleError::Header`] for files beyond 8 GiB.
    pub fn log(&mut self, parts: &LogParts) -> Result<(), BundleError> {
        self.close_payload()?;
        let id = parts.origin.id();
        if self.project || self.last_input.is_some() || self.last_log.is_some_and(|last| last >= id)
        {
            let problem = format!(
                "log `{}` must come before the one written last (order of their ids)",
                parts.origin
            );
            return Err(BundleError::Writer(problem));
        }
        self.last_log = Some(id);
        let folder = format!("logs/{id}");
        let unreadable = |error: &dyn std::fmt::Display| {
            BundleError::Writer(format!("a note of `{}`: {error}", parts.origin))
        };
        let checkpoint = Note::parse(&parts.checkpoint).map_err(|error| unreadable(&error))?;
        self.file(
            &format!("{folder}/origin"),
            format!("{}\n", parts.origin).as_bytes(),
        )?;
        self.file(&format!("{folder}/checkpoint"), &parts.checkpoint)?;
        self.file(
            &format!("{folder}/range-start"),
            range_start_text(&parts.start).as_bytes(),
        )?;
        self.file(
            &format!("{folder}/disclosure"),
            parts.disclosure.to_text().as_bytes(),
        )?;
        let mut controls: Vec<&ControlPart> = parts.controls.iter().collect();
        controls.sort_by_key(|control| control.index);
        for control in &controls {
            let proof = TlogProof {
                extra: None,
                index: control.index,
                hashes: control.proof.clone(),
                checkpoint: checkpoint.clone(),
            };
            self.file(
                &format!("{folder}/control/{}.entry", control.index),
                &control.entry,
            )?;
            self.file(
                &format!("{folder}/control/{}.proof", control.index),
                &proof.to_bytes(),
            )?;
        }
        let mut blobs: Vec<(Hash, &[u8])> = controls
            .iter()
            .filter_map(|control| control.body.as_deref())
            .map(|body| (leaf_hash(body), body))
            .collect();
        blobs.sort_unstable();
        blobs.dedup();
        for (hash, body) in blobs {
            self.file(&format!("{folder}/blobs/{hash}"), body)?;
        }
        self.trail(&folder, &parts.trail, &parts.timestamps)?;
        self.header(&format!("{folder}/entries.bin"), parts.entries_bytes)?;
        self.open = Open::Entries {
            left: parts.entries_bytes,
            padding: tar::padding(parts.entries_bytes),
            payload: parts.payload_bytes,
        };
        Ok(())
    }

    /// Writes the project log, behind all logs.
    ///
    /// # Errors
    /// [`BundleError::Writer`] when the log before is not finished, it was written already, or a note
    /// cannot be read.
    pub fn project(&mut self, parts: &ProjectParts) -> Result<(), BundleError> {
        self.close_payload()?;
        if self.last_log.is_none() || self.project || self.last_input.is_some() {
            let why = "the project log stands once, between logs and attachments";
            return Err(BundleError::Writer(why.to_owned()));
        }
        self.project = true;
        self.file("project/origin", format!("{}\n", parts.origin).as_bytes())?;
        self.file("project/checkpoint", &parts.checkpoint)?;
        let mut bodies: Vec<(Hash, &[u8])> = parts
            .bodies
            .iter()
            .map(|body| (leaf_hash(body), body.as_slice()))
            .collect();
        bodies.sort_unstable();
        bodies.dedup();
        for (hash, body) in bodies {
            self.file(&format!("project/blobs/{hash}"), body)?;
        }
        self.trail("project", &parts.trail, &[])?;
        let mut entries = Vec::new();
        for entry in &parts.entries {
            let length = u16::try_from(entry.len())
                .map_err(|_e| BundleError::Writer("an entry is too long".to_owned()))?;
            entries.extend_from_slice(&length.to_be_bytes());
            entries.extend_from_slice(entry);
        }
        self.file("project/entries.bin", &entries)
    }

    /// Writes an attachment, behind logs and project log; ascending by SHA-256.
    ///
    /// # Errors
    /// [`BundleError::Writer`] when one of a larger or equal hash was written already.
    pub fn input(&mut self, content: &[u8]) -> Result<(), BundleError> {
        let hash = sha256(content);
        self.next_input(hash)?;
        self.file(&format!("inputs/{hash}"), content)
    }

    /// Writes the header and the padding of an attachment without its bytes, for who only measures.
    ///
    /// # Errors
    /// As [`Self::input`].
    pub fn leave_out_input(&mut self, hash: &Hash, size: u64) -> Result<(), BundleError> {
        self.next_input(*hash)?;
        self.header(&format!("inputs/{hash}"), size)?;
        self.zeros(tar::padding(size))
    }

    /// Takes the next attachment's place.
    fn next_input(&mut self, hash: Hash) -> Result<(), BundleError> {
        self.close_payload()?;
        if self.last_log.is_none() || self.last_input.is_some_and(|last| last >= hash) {
            let why = "attachments stand behind the logs, ascending by hash";
            return Err(BundleError::Writer(why.to_owned()));
        }
        self.last_input = Some(hash);
        Ok(())
    }

    /// Writes the next entry of the current log.
    ///
    /// # Errors
    /// [`BundleError::Writer`] when more is written than was announced.
    pub fn entry(&mut self, entry: &[u8]) -> Result<(), BundleError> {
        let Open::Entries { left, .. } = &mut self.open else {
            return Err(BundleError::Writer(
                "an entry stands where none is expected".to_owned(),
            ));
        };
        let length = u16::try_from(entry.len())
            .map_err(|_e| BundleError::Writer("an entry is too long".to_owned()))?;
        *left = left
            .checked_sub(u64::from(length) + 2)
            .ok_or_else(|| BundleError::Writer("more entries than announced".to_owned()))?;
        self.sink.write_all(&length.to_be_bytes())?;
        self.sink.write_all(entry)?;
        Ok(())
    }

    /// Writes the next payload of the current log, after all its entries.
    ///
    /// # Errors
    /// [`BundleError::Writer`] when entries are missing or more is written than was announced.
    pub fn payload(&mut self, payload: &[u8]) -> Result<(), BundleError> {
        self.close_entries()?;
        let Open::Payload { left, .. } = &mut self.open else {
            return Err(BundleError::Writer(
                "a payload stands where none is expected".to_owned(),
            ));
        };
        let length = u64::try_from(payload.len()).unwrap_or(u64::MAX);
        *left = left
            .checked_sub(length)
            .ok_or_else(|| BundleError::Writer("more payload bytes than announced".to_owned()))?;
        self.sink.write_all(payload)?;
        Ok(())
    }

    /// Passes over entries of the current log without writing them: what [`Self::entry`] would have
    /// written are `bytes` bytes. For whoever continues a bundle in the middle.
    ///
    /// # Errors
    /// [`BundleError::Writer`] when that is more than was announced.
    pub fn leave_out_entries(&mut self, bytes: u64) -> Result<(), BundleError> {
        match &mut self.open {
            Open::Entries { left, .. } if *left >= bytes => {
                *left -= bytes;
                Ok(())
            }
            _ => Err(BundleError::Writer(
                "more entries left out than announced".to_owned(),
            )),
        }
    }

    /// As [`Self::leave_out_entries`], for payloads; all entries must have been passed.
    ///
    /// # Errors
    /// As there; [`BundleError::Io`].
    pub fn leave_out_payload(&mut self, bytes: u64) -> Result<(), BundleError> {
        self.close_entries()?;
        match &mut self.open {
            Open::Payload { left, .. } if *left >= bytes => {
                *left -= bytes;
                Ok(())
            }
            _ => Err(BundleError::Writer(
                "more payload bytes left out than announced".to_owned(),
            )),
        }
    }

    /// Ends the entries of the current log, so that the header of its payloads is written.
    ///
    /// # Errors
    /// [`BundleError::Writer`] when entries are missing; [`BundleError::Io`].
    pub fn end_entries(&mut self) -> Result<(), BundleError> {
        self.close_entries()
    }

    /// Writes the end of the archive and hands the sink back.
    ///
    /// # Errors
    /// [`BundleError::Writer`] when something announced did not come.
    pub fn finish(mut self) -> Result<W, BundleError> {
        self.close_payload()?;
        if self.last_log.is_none() {
            return Err(BundleError::Empty);
        }
        self.zeros(1024)?;
        Ok(self.sink)
    }

    /// Ends `entries.bin`, if it is open, and writes the header of `payload.bin`.
    fn close_entries(&mut self) -> Result<(), BundleError> {
        let Open::Entries {
            left,
            padding,
            payload,
        } = self.open
        else {
            return Ok(());
        };
        if left > 0 {
            return Err(BundleError::Writer(format!(
                "{left} bytes of entries were announced and did not come"
            )));
        }
        self.zeros(padding)?;
        let folder = self
            .last_log
            .map(|id| format!("logs/{id}"))
            .unwrap_or_default();
        self.header(&format!("{folder}/payload.bin"), payload)?;
        self.open = Open::Payload {
            left: payload,
            padding: tar::padding(payload),
        };
        Ok(())
    }

    fn close_payload(&mut self) -> Result<(), BundleError> {
        self.close_entries()?;
        let Open::Payload { left, padding } = self.open else {
            return Ok(());
        };
        if left > 0 {
            return Err(BundleError::Writer(format!(
                "{left} bytes of payloads were announced and did not come"
            )));
        }
        self.zeros(padding)?;
        self.open = Open::Nothing;
        Ok(())
    }

    /// Writes trail notes, ascending by size, each once, and behind them the timestamps over them.
    fn trail(
        &mut self,
        folder: &str,
        notes: &[Vec<u8>],
        timestamps: &[(Vec<u8>, Vec<u8>)],
    ) -> Result<(), BundleError> {
        let unreadable = |error: &dyn std::fmt::Display| {
            BundleError::Writer(format!("a note in {folder} cannot be read: {error}"))
        };
        let mut trail: Vec<(u64, &[u8])> = Vec::with_capacity(notes.len());
        for note in notes {
            let text = Note::parse(note).map_err(|error| unreadable(&error))?.text;
            trail.push((
                Checkpoint::parse_body(&text)
                    .map_err(|error| unreadable(&error))?
                    .size,
                note,
            ));
        }
        trail.sort_unstable();
        trail.dedup();
        let (mut size, mut number) = (None, 0_u32);
        let mut stamps = Vec::new();
        for (of, note) in trail {
            number = if size == Some(of) { number + 1 } else { 0 };
            size = Some(of);
            let name = format!("{of}-{number}");
            self.file(&format!("{folder}/trail/{name}"), note)?;
            let stamped = timestamps.iter().find(|(over, _)| over == note);
            stamps.extend(stamped.map(|(_, answer)| (name, answer)));
        }
        for (name, answer) in stamps {
            self.file(&format!("{folder}/time/{name}.tsr"), answer)?;
        }
        Ok(())
    }

    fn file(&mut self, path: &str, contents: &[u8]) -> Result<(), BundleError> {
        let size = u64::try_from(contents.len()).unwrap_or(u64::MAX);
        self.header(path, size)?;
        self.sink.write_all(contents)?;
        self.zeros(tar::padding(size))
    }

    fn header(&mut self, path: &str, size: u64) -> Result<(), BundleError> {
        let block = tar::header(path, size)
            .map_err(|error| BundleError::Writer(format!("`{path}`: {error}")))?;
        self.sink.write_all(&block)?;
        Ok(())
    }

    fn zeros(&mut self, count: u64) -> Result<(), BundleError> {
        let block = [0_u8; 1024];
        let count = usize::try_from(count).unwrap_or(block.len());
        self.sink.write_all(block.get(..count).unwrap_or(&block))?;
        Ok(())
    }
}
