//! What was found in the project log, as data.

use std::collections::BTreeMap;

use evidence::verification::{ProjectFacts, RecordFacts};
use serde::Serialize;

/// What people entered, and what is proven of it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ProjectLogVerdict {
    /// The name of the log as the plan has it; none when the plan names none.
    pub origin: Option<String>,
    /// Whether the bundle carries a project log.
    pub carried: bool,
    /// Whether every check was passed; only then is there anything below.
    pub checked: bool,
    /// Entries.
    pub size: u64,
    /// The root over them.
    pub root: String,
    /// Entry keys that signed.
    pub entry_keys: u64,
    /// Notes per witness.
    pub cosigned: BTreeMap<String, u64>,
    /// Notes that meet the quorum by themselves.
    pub quorum_met: u64,
    /// Roots of notes reproduced.
    pub roots: u64,
    /// The records, in index order.
    pub records: Vec<RecordVerdict>,
    /// The attachments that records name, ascending by hash.
    pub attachments: Vec<AttachmentVerdict>,
}

/// A record.
#[derive(Debug, Clone, Serialize)]
pub struct RecordVerdict {
    /// Its entry.
    pub index: u64,
    /// The kind's name.
    pub kind: &'static str,
    /// What it is about.
    pub subject: String,
    /// The fields as people write them.
    pub fields: BTreeMap<&'static str, String>,
    /// Who entered it: name, role, id.
    pub person: (String, String, String),
    /// When the centre says that it was entered, unix milliseconds.
    pub entered_ms: i64,
    /// Not before, unix seconds; none when no trusted statement was pinned.
    pub after_s: Option<u64>,
    /// Not after, unix seconds; none when the policy asks for no witness.
    pub before_s: Option<u64>,
    /// 0 the centre's signature only, 1 witnessed, 2 witnessed independently and in time.
    pub class: u8,
    /// The entry it corrects, and why.
    pub replaces: Option<(u64, String)>,
    /// The record that corrects it.
    pub replaced_by: Option<u64>,
    /// SHA-256 of its attachments.
    pub attachments: Vec<String>,
}

/// An attachment.
#[derive(Debug, Clone, Serialize)]
pub struct AttachmentVerdict {
    /// SHA-256.
    pub sha256: String,
    /// The name under which it was first entered.
    pub name: String,
    /// The first record that names it.
    pub index: u64,
    /// Whether the bundle holds it.
    pub present: bool,
}

impl From<&RecordFacts> for RecordVerdict {
    fn from(facts: &RecordFacts) -> Self {
        let record = &facts.record;
        let person = &record.person;
        Self {
            index: facts.index,
            kind: record.kind.name(),
            subject: record.subject.clone(),
            fields: record
                .fields
                .iter()
                .map(|(key, value)| (*key, value.text()))
                .collect(),
            person: (person.name.clone(), person.role.clone(), person.id.clone()),
            entered_ms: facts.entered_ms,
            after_s: facts.bracket.after,
            before_s: facts.bracket.before,
            class: facts.class,
            replaces: record
                .replaces
                .as_ref()
                .map(|replaces| (replaces.index, replaces.reason.clone())),
            replaced_by: facts.replaced_by,
            attachments: record
                .attachments
                .iter()
                .map(|attachment| attachment.hash.to_hex())
                .collect(),
        }
    }
}

impl ProjectLogVerdict {
    /// What the proof says.
    #[must_use]
    pub fn new(facts: &ProjectFacts) -> Self {
        Self {
            origin: Some(facts.origin.clone()),
            carried: true,
            checked: true,
            size: facts.size,
            root: facts.root.to_hex(),
            entry_keys: facts.entry_keys,
            cosigned: facts.cosigned.iter().cloned().collect(),
            quorum_met: facts.quorum_met,
            roots: facts.roots,
            records: facts.records.iter().map(RecordVerdict::from).collect(),
            attachments: facts
                .attachments
                .iter()
                .map(|attachment| AttachmentVerdict {
                    sha256: attachment.hash.to_hex(),
                    name: attachment.name.clone(),
                    index: attachment.index,
                    present: attachment.present,
                })
                .collect(),
        }
    }
}
