//! What whoever holds keys can do: edit the log, link it again, sign it again.

use std::collections::HashMap;

use evidence::checkpoint::{Checkpoint, sign_checkpoint};
use evidence::cosignature::cosign;
use evidence::entry::{Body, Entry, Freshness};
use evidence::hash::{Hash, leaf_hash, sha256};
use evidence::merkle::{CompactRange, LeafHashes, inclusion_proof};
use evidence::note::Note;
use evidence::proof::TlogProof;

use super::draft::{Draft, Good};

/// An entry to be signed again.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) entry: Entry,
    pub(super) payload: Vec<u8>,
    /// Its position before; a row put in takes that of the row behind it.
    pub(super) was: usize,
}

/// Which notes the attacker can make.
#[derive(Clone, Copy)]
pub(super) enum Notes {
    /// None: those of the bundle stay.
    None,
    /// With the log's key and the first so many witnesses' keys; their times become what the function says.
    By(usize, fn(u64) -> u64),
}

impl std::fmt::Debug for Notes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::By(witnesses, _) => write!(f, "By({witnesses})"),
        }
    }
}

/// All notes of the log and nobody's witness but those held, at the times they had.
pub(super) const fn at_their_times(witnesses: usize) -> Notes {
    Notes::By(witnesses, |time| time)
}

/// Edits the rows and makes the log again with the keys that signed it. Only a bundle that begins at
/// entry 0 can be made again: the leaves of all entries are needed.
pub(super) fn forged(
    good: &Good,
    notes: Notes,
    edit: impl FnOnce(&mut Vec<Row>) -> Option<()>,
) -> Option<Draft> {
    let mut draft = good.draft();
    let mut rows: Vec<Row> = good
        .entries
        .iter()
        .zip(&draft.payloads)
        .enumerate()
        .map(|(was, (entry, payload))| Row {
            entry: entry.clone(),
            payload: payload.clone(),
            was,
        })
        .collect();
    if rows.first()?.entry.index != 0 {
        return None;
    }
    edit(&mut rows)?;
    let old_trail = draft.trail();
    let mut kept = HashMap::new();
    let old_notes: Vec<(usize, Note)> = old_trail
        .iter()
        .map(|at| {
            let note = Note::parse(&draft.members.get(*at)?.contents).ok()?;
            let size = Checkpoint::parse_body(&note.text).ok()?.size;
            Some((usize::try_from(size).ok()?, note))
        })
        .collect::<Option<_>>()?;
    let mut remade: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut waiting = old_notes.into_iter().peekable();
    let (mut previous, mut control) = (Hash([0; 32]), None);
    let (mut range, mut leaves) = (CompactRange::new(), Vec::new());
    draft.entries.clear();
    draft.payloads.clear();
    let mut controls = Vec::new();
    let all = rows.len();
    for (index, row) in (0_u64..).zip(rows) {
        // Notes over what stands before this row are made before it is signed, because it may pin them.
        while let Some((_, note)) = waiting.next_if(|(size, _)| *size <= row.was) {
            remake(good, notes, &note, &range, &mut remade, &mut kept);
        }
        let mut entry = row.entry;
        let key = good.key_of(row.was)?;
        (entry.index, entry.previous, entry.control) = (index, previous, control);
        if let Some(Freshness { hash, .. }) = &mut entry.freshness {
            *hash = kept.get(hash).copied().unwrap_or(*hash);
        }
        let bytes = entry.sign(&good.origin, key);
        previous = leaf_hash(&bytes);
        if matches!(entry.body, Body::Control { .. }) {
            control = Some((index, previous));
            controls.push((index, bytes.clone()));
        }
        range.append(&previous);
        leaves.push(previous);
        draft.entries.push(bytes);
        draft.payloads.push(row.payload);
    }
    for (_, note) in waiting {
        remake(good, notes, &note, &range, &mut remade, &mut kept);
    }
    let Notes::By(..) = notes else {
        return Some(draft);
    };
    let mut last = Vec::new();
    let note = Note::parse(draft.file("checkpoint")?).ok()?;
    remake(good, notes, &note, &range, &mut last, &mut kept);
    let (_, checkpoint) = last.pop()?;
    draft.file("checkpoint")?.clone_from(&checkpoint);
    draft.cut_trail(0);
    // The trail is empty now; the notes go in front of entries.bin, ascending.
    let at = draft.position("entries.bin")?;
    let folder = draft
        .members
        .get(at)?
        .path
        .strip_suffix("entries.bin")?
        .to_owned();
    let mut number = (u64::MAX, 0);
    for (place, (size, note)) in remade.into_iter().enumerate() {
        number = if number.0 == size {
            (size, number.1 + 1)
        } else {
            (size, 0)
        };
        let path = format!("{folder}trail/{size}-{}", number.1);
        let member = super::archive::Member {
            path,
            contents: note,
        };
        draft.members.insert(at + place, member);
    }
    let note = Note::parse(&checkpoint).ok()?;
    let mut files = Vec::new();
    for (index, entry) in controls {
        let Ok(hashes) = inclusion_proof(&mut LeafHashes(&leaves), index, u64::try_from(all).ok()?);
        let proof = TlogProof {
            extra: None,
            index,
            hashes,
            checkpoint: note.clone(),
        };
        files.push((format!("control/{index}.entry"), entry));
        files.push((format!("control/{index}.proof"), proof.to_bytes()));
    }
    draft.set_controls(files)?;
    Some(draft)
}

/// Makes a note again over the tree as it is now, by those whose keys are held, and remembers what it
/// stands for.
fn remake(
    good: &Good,
    notes: Notes,
    old: &Note,
    range: &CompactRange,
    remade: &mut Vec<(u64, Vec<u8>)>,
    kept: &mut HashMap<Hash, Hash>,
) {
    let Notes::By(witnesses, time) = notes else {
        return;
    };
    let checkpoint = Checkpoint {
        origin: good.origin.clone(),
        size: range.size(),
        root: range.root(),
    };
    let mut note = sign_checkpoint(&checkpoint, &good.keys.log);
    for line in &old.signatures {
        let held = good.keys.witnesses.iter().take(witnesses);
        for (name, key) in held.filter(|(name, _)| *name == line.name) {
            if let Some(at) = line.bytes.first_chunk::<8>() {
                let at = time(u64::from_be_bytes(*at));
                note.signatures.push(cosign(&note.text, name, key, at));
            }
        }
    }
    let bytes = note.to_bytes();
    kept.insert(sha256(&old.to_bytes()), sha256(&bytes));
    remade.push((range.size(), bytes));
}
