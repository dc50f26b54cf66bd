//! The proof of a project log: who entered what, when, and that nobody changed it afterwards.

use std::collections::BTreeSet;

use super::open::read_blobs;
use super::times::{Bracket, Times};
use super::{Failure, Problem, Trust};
use crate::bundle::{BundleError, BundleProject, FileSpan, ReadAt};
use crate::entry::{Body, ControlBody, Entry};
use crate::hash::{Hash, Origin, sha256};
use crate::note::{Note, Vkey};
use crate::project::{ProjectLog, Record};

/// The longest `entries.bin` of a project log: a million records.
const MOST_ENTRIES_BYTES: u64 = 1 << 30;
/// The longest attachment that is read.
const MOST_INPUT_BYTES: u64 = 1 << 28;

/// Everything that was found in a project log.
#[derive(Debug, Clone)]
pub struct ProjectFacts {
    /// The log's name.
    pub origin: String,
    /// Entries, all of which were checked.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
    /// How many entry keys signed them.
    pub entry_keys: u64,
    /// Per witness of the policy, how many notes it cosigned.
    pub cosigned: Vec<(String, u64)>,
    /// How many notes meet the policy by themselves.
    pub quorum_met: u64,
    /// How many roots of notes were reproduced.
    pub roots: u64,
    /// The records, in index order.
    pub records: Vec<RecordFacts>,
    /// The attachments that records name, ascending by hash.
    pub attachments: Vec<AttachmentFacts>,
}

/// A record and what is proven of it.
#[derive(Debug, Clone)]
pub struct RecordFacts {
    /// Its entry.
    pub index: u64,
    /// What it says.
    pub record: Record,
    /// When the centre says that it was entered, unix milliseconds.
    pub entered_ms: i64,
    /// Between which moments it was.
    pub bracket: Bracket,
    /// 0 the centre's signature only, 1 witnessed, 2 witnessed independently and in time.
    pub class: u8,
    /// The record that corrects it.
    pub replaced_by: Option<u64>,
}

/// An attachment that a record names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachmentFacts {
    /// SHA-256 of its bytes.
    pub hash: Hash,
    /// The name under which it was first entered.
    pub name: String,
    /// The first record that names it.
    pub index: u64,
    /// Whether the bundle holds it; then its bytes are those that were entered.
    pub present: bool,
}

/// Checks a project log from its first entry to its final note, and the attachments of a bundle.
///
/// # Errors
/// The first [`Failure`].
pub fn verify_project(
    source: &dyn ReadAt,
    files: &BundleProject,
    inputs: &[(Hash, FileSpan)],
    anchor: &Vkey,
    trust: &Trust,
) -> Result<ProjectFacts, Failure> {
    verify(source, files, inputs, anchor, trust).map_err(|failure| failure.of_log(anchor.name()))
}

fn verify(
    source: &dyn ReadAt,
    files: &BundleProject,
    inputs: &[(Hash, FileSpan)],
    anchor: &Vkey,
    trust: &Trust,
) -> Result<ProjectFacts, Failure> {
    let name = files.origin.read(source, 1_024).map_err(Failure::new)?;
    if name != format!("{}\n", anchor.name()).as_bytes() {
        let problem = Problem::Bundle(BundleError::Contents {
            path: files.origin.path.clone(),
            problem: "it is not the name of the plan's project log".to_owned(),
        });
        return Err(Failure::new(problem).at(&files.origin.path, files.origin.offset));
    }
    let origin = Origin::parse(anchor.name())
        .map_err(|error| Failure::new(Problem::Checkpoint(error.to_string())))?;
    let note = files
        .checkpoint
        .read(source, u64::try_from(Note::MAX_BYTES).unwrap_or(u64::MAX))
        .map_err(Failure::new)?;
    let (mut times, checkpoint) = Times::read(
        source,
        &files.checkpoint,
        (files.trail.as_slice(), [].as_slice()),
        &note,
        anchor,
        trust,
    )?;
    let blobs = read_blobs(source, &files.blobs)?;
    let mut unused: BTreeSet<Hash> = blobs.keys().copied().collect();
    let bytes = files
        .entries
        .read(source, MOST_ENTRIES_BYTES)
        .map_err(Failure::new)?;

    let mut log = ProjectLog::new(origin);
    let mut records: Vec<RecordFacts> = Vec::new();
    let (mut keys, mut last_key, mut roots) = (0, None, 0);
    let mut outside = None;
    let mut next_root = times.roots.partition_point(|(size, _)| *size == 0);
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let index = log.size();
        let offset = files.entries.offset + files.entries.size - size_of(rest);
        let at = |problem: Problem| {
            Failure::new(problem)
                .of_entry(index)
                .at(&files.entries.path, offset)
        };
        let ended = || {
            at(Problem::LeftOver(
                "the file ends inside an entry".to_owned(),
            ))
        };
        let (length, behind) = rest.split_first_chunk::<2>().ok_or_else(ended)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, behind) = behind.split_at_checked(length).ok_or_else(ended)?;
        rest = behind;
        if index >= checkpoint.size {
            let why = "an entry stands behind the last one of the checkpoint";
            return Err(at(Problem::LeftOver(why.to_owned())));
        }
        let refuse = |rejection| at(Problem::Entry(rejection));
        let signed = Entry::parse(entry).map_err(refuse)?;
        let long = match &signed.entry.body {
            Body::Control {
                body: ControlBody::Payload(payload),
                ..
            } => Some(payload.root),
            _ => None,
        };
        let body = long.and_then(|root| blobs.get(&root)).map(Vec::as_slice);
        let key_id = signed.key_id;
        let entered = log.apply(entry, body).map_err(refuse)?;
        if let Some(root) = long {
            unused.remove(&root);
        }
        if let Some((size, root)) = times.roots.get(next_root)
            && *size == log.size()
        {
            if *root != log.chain().root() {
                let which = if *size == checkpoint.size {
                    "final checkpoint"
                } else {
                    "trail note"
                };
                return Err(at(Problem::Root { size: *size, which }));
            }
            next_root += 1;
            roots += 1;
        }
        if last_key != Some(key_id) {
            (last_key, keys) = (Some(key_id), keys + 1);
        }
        times.pin(entered.entry.freshness.as_ref());
        let entered_ms = i64::try_from(entered.entry.clock.unix_ms).unwrap_or(i64::MAX);
        let judged = times.judge(index, entered_ms, trust);
        if let (Some(bound), None) = (judged.broken, &outside) {
            outside = Some((index, entered_ms, bound));
        }
        if let Some(record) = entered.record() {
            records.push(RecordFacts {
                index,
                record: record.clone(),
                entered_ms,
                bracket: judged.bracket,
                class: u8::try_from(judged.class).unwrap_or(0),
                replaced_by: None,
            });
        }
    }
    if log.size() < checkpoint.size {
        return Err(Failure::new(Problem::EntriesEnd {
            found: log.size(),
            size: checkpoint.size,
        }));
    }
    if log
        .chain()
        .genesis()
        .is_none_or(|genesis| genesis.log_key != *anchor.key())
    {
        let problem = "the genesis entry names another log key than the anchor".to_owned();
        return Err(Failure::new(Problem::Checkpoint(problem)).of_entry(0));
    }
    if let Some(hash) = unused.first() {
        let problem = format!("`project/blobs/{hash}` is the body of no entry");
        return Err(Failure::new(Problem::LeftOver(problem)));
    }
    if let Some((index, claimed_ms, bound)) = outside {
        let problem = Problem::OutsideBracket {
            count: 1,
            claimed: super::times::utc(claimed_ms),
            bound,
        };
        return Err(Failure::new(problem).of_entry(index));
    }
    for entered in &mut records {
        entered.replaced_by = log.known(entered.index).and_then(|known| known.replaced_by);
    }
    Ok(ProjectFacts {
        origin: anchor.name().to_owned(),
        size: checkpoint.size,
        root: checkpoint.root,
        entry_keys: keys,
        cosigned: times.cosigned.clone(),
        quorum_met: times.quorum_met,
        roots,
        attachments: attachments(source, inputs, &records)?,
        records,
    })
}

fn size_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// What records name, and what of it the bundle holds.
fn attachments(
    source: &dyn ReadAt,
    inputs: &[(Hash, FileSpan)],
    records: &[RecordFacts],
) -> Result<Vec<AttachmentFacts>, Failure> {
    let mut named: Vec<AttachmentFacts> = Vec::new();
    for entered in records {
        for attachment in &entered.record.attachments {
            named.push(AttachmentFacts {
                hash: attachment.hash,
                name: attachment.name.clone(),
                index: entered.index,
                present: false,
            });
        }
    }
    named.sort_by_key(|attachment| (attachment.hash, attachment.index));
    named.dedup_by_key(|attachment| attachment.hash);
    for (hash, file) in inputs {
        let content = file.read(source, MOST_INPUT_BYTES).map_err(Failure::new)?;
        let found = sha256(&content);
        let at = |problem| Failure::new(problem).at(&file.path, file.offset);
        if found != *hash {
            return Err(at(Problem::AttachmentDiffers(found)));
        }
        match named.binary_search_by_key(hash, |attachment| attachment.hash) {
            Ok(place) => {
                if let Some(attachment) = named.get_mut(place) {
                    attachment.present = true;
                }
            }
            Err(_nobody) => return Err(at(Problem::AttachmentUnknown)),
        }
    }
    Ok(named)
}
