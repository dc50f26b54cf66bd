//! The centre, where people enter things: a project log and its writer.

use evidence::bundle::{BundleWriter, ProjectParts, entries_bytes};
use evidence::checkpoint::{Checkpoint, log_vkey, sign_checkpoint};
use evidence::control::{Control, Genesis};
use evidence::cosignature::cosign;
use evidence::entry::{Body, Boot, ClockReading, ClockStatus, Entry, Freshness, FreshnessKind};
use evidence::hash::{Hash, Origin, leaf_hash, sha256};
use evidence::key::SigningKey;
use evidence::merkle::CompactRange;
use evidence::note::Vkey;
use evidence::project::{Attachment, Kind, Person, ProjectLog, Record, Replaces};

use super::{Cosigner, Spec};

/// The log of the project `T` with what is attached to it.
#[derive(Debug, Clone)]
pub(crate) struct Office {
    pub(crate) origin: Origin,
    log: ProjectLog,
    next_seed: u8,
    pub(crate) entries: Vec<Vec<u8>>,
    pub(crate) bodies: Vec<Vec<u8>>,
    pub(crate) inputs: Vec<Vec<u8>>,
    pub(crate) trail: Vec<Vec<u8>>,
    pub(crate) checkpoint: Vec<u8>,
    pub(crate) now_ms: i64,
    pin: Option<Freshness>,
}

const LOG_SEED: [u8; 32] = [150; 32];
const FIRST_SEED: u8 = 151;

impl Office {
    pub(crate) fn new(now_ms: i64) -> Self {
        let origin = Origin::parse("example.com/project/T").unwrap();
        let mut office = Self {
            log: ProjectLog::new(origin.clone()),
            origin,
            next_seed: FIRST_SEED,
            entries: Vec::new(),
            bodies: Vec::new(),
            inputs: Vec::new(),
            trail: Vec::new(),
            checkpoint: Vec::new(),
            now_ms,
            pin: None,
        };
        let genesis = Genesis {
            origin: office.origin.to_string(),
            log_key: SigningKey::from_seed(LOG_SEED).public(),
            entry_key: office.key().public(),
            software: "test".to_owned(),
        };
        office.seal(Control::Genesis(genesis));
        office
    }

    pub(crate) fn vkey(&self) -> Vkey {
        log_vkey(&self.origin, &SigningKey::from_seed(LOG_SEED).public())
    }

    pub(crate) fn plan_lines(&self) -> String {
        format!(
            "\n[project_log]\norigin = \"{}\"\nkey = \"{}\"\n",
            self.origin,
            self.vkey()
        )
    }

    fn key(&self) -> SigningKey {
        SigningKey::from_seed([self.next_seed; 32])
    }

    fn seal(&mut self, control: Control) -> u64 {
        let (body, payload) = control.into_body();
        self.now_ms += 60_000;
        let boot = Boot {
            counter: 1,
            id: [7; 8],
            monotonic_ms: self.log.size(),
        };
        let clock = ClockReading {
            unix_ms: u64::try_from(self.now_ms).unwrap(),
            status: ClockStatus::FreeRunning,
            error_ms: 1_000,
        };
        let entry = self.log.next_entry(boot, clock, self.pin, body);
        let entry = entry.sign(&self.origin, &self.key());
        let entered = self.log.apply(&entry, Some(&payload)).unwrap();
        self.entries.push(entry);
        if !payload.is_empty() {
            self.bodies.push(payload);
        }
        entered.entry.index
    }

    pub(crate) fn rotate(&mut self) {
        let next = SigningKey::from_seed([self.next_seed + 1; 32]);
        self.seal(Control::KeyAdd(next.public()));
        self.next_seed += 1;
    }

    pub(crate) fn enter(
        &mut self,
        kind: Kind,
        subject: &str,
        attached: &[&str],
        replaces: Option<(u64, &str)>,
        fields: &[(&str, &str)],
    ) -> u64 {
        let attachments = attached.iter().map(|content| {
            self.inputs.push(content.as_bytes().to_vec());
            Attachment {
                hash: sha256(content.as_bytes()),
                name: format!("{}.pdf", content.replace(' ', "-")),
            }
        });
        let attachments = attachments.collect();
        let replaces = replaces.map(|(index, reason)| Replaces {
            index,
            leaf: leaf_hash(&self.entries[usize::try_from(index).unwrap()]),
            reason: reason.to_owned(),
        });
        let person = Person {
            id: "token 5f1c".to_owned(),
            name: "R. Sato".to_owned(),
            role: "preparer".to_owned(),
        };
        let fields = fields.iter().copied();
        let record = Record::enter(kind, subject, person, attachments, replaces, fields).unwrap();
        self.seal(Control::Record(Box::new(record)))
    }

    pub(crate) fn hand_value(&mut self, value: &str, replaces: Option<(u64, &str)>) -> u64 {
        let attached = format!("invoice over {value}");
        let fields = [
            ("from", "2026-01-05"),
            ("to", "2026-01-05"),
            ("value", value),
            ("unit", "GJ/t"),
            ("option", "B"),
            ("source", "invoice 12"),
        ];
        self.enter(Kind::HandValue, "NCV", &[&attached], replaces, &fields)
    }

    pub(crate) fn remark(&mut self, text: &str) -> u64 {
        self.enter(Kind::Annotation, "site", &[], None, &[("text", text)])
    }

    /// A finding too long for its entry: its body stands beside it.
    pub(crate) fn finding(&mut self) -> u64 {
        let long = "the reading of the display is missing; ".repeat(100);
        let fields = [
            ("sort", "CAR"),
            ("state", "open"),
            ("text", long.as_str()),
            ("requirement", long.as_str()),
            ("about", long.as_str()),
        ];
        self.enter(Kind::Finding, "CAR 01", &[], None, &fields)
    }

    pub(crate) fn certificate(&mut self) -> u64 {
        let fields = [
            ("number", "4711"),
            ("device", "23456789"),
            ("laboratory", "Example Laboratory"),
            ("accreditation", "LP-001"),
            ("standard", "reference meter"),
            ("calibrated", "2025-12-01"),
            ("due", "2026-11-30"),
            ("unit", "kW"),
            ("points", "10:0.12:0.01 100:-0.05:0.00"),
            ("uncertainty_percent", "0.04"),
        ];
        self.enter(Kind::Certificate, "MP-1", &["scan of 4711"], None, &fields)
    }

    fn note(&self, size: usize, by: &[&Cosigner]) -> Vec<u8> {
        let mut range = CompactRange::new();
        for entry in &self.entries[..size] {
            range.append(&leaf_hash(entry));
        }
        let checkpoint = Checkpoint {
            origin: self.origin.clone(),
            size: range.size(),
            root: range.root(),
        };
        let mut note = sign_checkpoint(&checkpoint, &SigningKey::from_seed(LOG_SEED));
        let second = u64::try_from(self.now_ms / 1000 + 20).unwrap();
        for witness in by {
            let line = cosign(&note.text, witness.name, &witness.key, second);
            note.signatures.push(line);
        }
        note.to_bytes()
    }

    /// The checkpoint of now, cosigned, kept and pinned by what follows.
    pub(crate) fn cosign(&mut self, by: &[&Cosigner]) {
        self.checkpoint = self.note(self.entries.len(), by);
        self.trail.push(self.checkpoint.clone());
        self.pin = Some(Freshness {
            kind: FreshnessKind::CosignedNote,
            hash: sha256(&self.checkpoint),
        });
    }

    /// The final note as whoever holds the log's key makes it, cosigned by these.
    pub(crate) fn sign_again(&mut self, by: &[&Cosigner]) {
        self.checkpoint = self.note(self.entries.len(), by);
    }

    /// Edits the entries as somebody with every entry key: numbers, links and signatures come out right.
    pub(crate) fn forge(&mut self, edit: impl FnOnce(&mut Vec<Entry>)) {
        let parsed = self
            .entries
            .iter()
            .map(|entry| Entry::parse(entry).unwrap().entry);
        let mut entries: Vec<Entry> = parsed.collect();
        edit(&mut entries);
        let (mut previous, mut control, mut seed) = (Hash([0; 32]), None, FIRST_SEED);
        self.entries.clear();
        for (index, mut entry) in (0_u64..).zip(entries) {
            (entry.index, entry.previous, entry.control) = (index, previous, control);
            let adds = matches!(entry.body, Body::Control { kind: 3, .. });
            let bytes = entry.sign(&self.origin, &SigningKey::from_seed([seed; 32]));
            seed += u8::from(adds);
            previous = leaf_hash(&bytes);
            control = Some((index, previous));
            self.entries.push(bytes);
        }
    }

    /// Signs one entry again after a change, and nothing else.
    pub(crate) fn sign_one(&mut self, index: usize, seed: u8, edit: impl FnOnce(&mut Entry)) {
        let mut entry = Entry::parse(&self.entries[index]).unwrap().entry;
        edit(&mut entry);
        self.entries[index] = entry.sign(&self.origin, &SigningKey::from_seed([seed; 32]));
    }

    fn parts(&self) -> ProjectParts {
        ProjectParts {
            origin: self.origin.clone(),
            checkpoint: self.checkpoint.clone(),
            trail: self.trail.clone(),
            bodies: self.bodies.clone(),
            entries: self.entries.clone(),
        }
    }
}

impl Spec {
    /// The bundle with the project log and its attachments behind the logs.
    pub(crate) fn write_with(&self, office: &Office) -> Vec<u8> {
        let mut writer =
            BundleWriter::begin(Vec::new(), &self.plan, self.report.as_deref()).unwrap();
        for log in &self.logs {
            let length = |bytes: &Vec<u8>| u64::try_from(bytes.len()).unwrap();
            let mut parts = log.parts.clone();
            parts.entries_bytes = entries_bytes(log.entries.iter().map(length));
            parts.payload_bytes = log.payloads.iter().map(length).sum();
            writer.log(&parts).unwrap();
            for entry in &log.entries {
                writer.entry(entry).unwrap();
            }
            for payload in &log.payloads {
                writer.payload(payload).unwrap();
            }
        }
        writer.project(&office.parts()).unwrap();
        let mut inputs = office.inputs.clone();
        inputs.sort_by_key(|content| sha256(content));
        inputs.dedup();
        for content in &inputs {
            writer.input(content).unwrap();
        }
        writer.finish().unwrap()
    }
}
