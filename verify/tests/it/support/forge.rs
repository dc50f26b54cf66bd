//! An attacker who holds every key that a test gives him: entries are edited, linked and signed again.

use evidence::checkpoint::{Checkpoint, sign_checkpoint};
use evidence::control::Control;
use evidence::cosignature::cosign;
use evidence::entry::{Body, Entry};
use evidence::hash::{Hash, leaf_hash};
use evidence::key::SigningKey;
use evidence::merkle::CompactRange;
use evidence::note::Note;

use super::gateway::Row;
use super::{Cosigner, Gateway};

impl Gateway {
    /// Edits the log as if every key, of the gateway and of the witnesses, were in one hand. Nothing is
    /// checked; notes of sizes that are left are made again with their old times.
    pub(crate) fn forge(
        &mut self,
        witnesses: &[Cosigner],
        edit: impl FnOnce(&mut Vec<(Entry, Row)>),
    ) {
        let mut rows: Vec<(Entry, Row)> = self
            .rows
            .iter()
            .map(|row| (Entry::parse(&row.entry).unwrap().entry, row.clone()))
            .collect();
        edit(&mut rows);
        let mut seed = self.first_seed + 1;
        let (mut previous, mut control) = (Hash([0; 32]), None);
        let mut range = CompactRange::new();
        self.rows.clear();
        self.leaves.clear();
        self.roots = vec![range.root()];
        for (index, (mut entry, mut row)) in (0_u64..).zip(rows) {
            entry.index = index;
            entry.previous = previous;
            entry.control = control;
            row.entry = entry.sign(&self.origin, &SigningKey::from_seed([seed; 32]));
            previous = leaf_hash(&row.entry);
            if matches!(entry.body, Body::Control { .. }) {
                control = Some((index, previous));
            }
            if matches!(row.control, Some(Control::KeyAdd(_))) {
                seed += 1;
            }
            range.append(&previous);
            self.leaves.push(previous);
            self.roots.push(range.root());
            self.rows.push(row);
        }
        let notes = std::mem::take(&mut self.trail);
        for note in notes {
            let note = Note::parse(&note).unwrap();
            let size = Checkpoint::parse_body(&note.text).unwrap().size;
            if let Some(root) = self.roots.get(usize::try_from(size).unwrap()) {
                let checkpoint = Checkpoint {
                    origin: self.origin.clone(),
                    size,
                    root: *root,
                };
                let mut made = sign_checkpoint(&checkpoint, &self.log_key);
                for signature in note.signatures.iter().skip(1) {
                    let witness = witnesses
                        .iter()
                        .find(|witness| witness.name == signature.name)
                        .unwrap();
                    let time = u64::from_be_bytes(signature.bytes[..8].try_into().unwrap());
                    made.signatures
                        .push(cosign(&made.text, witness.name, &witness.key, time));
                }
                self.trail.push(made.to_bytes());
            }
        }
    }

    /// A final note over the forged entries.
    pub(crate) fn forged_checkpoint(&self, unix_s: i64, witnesses: &[Cosigner]) -> Vec<u8> {
        let checkpoint = Checkpoint {
            origin: self.origin.clone(),
            size: self.size(),
            root: *self.roots.last().unwrap(),
        };
        let mut note = sign_checkpoint(&checkpoint, &self.log_key);
        for witness in witnesses {
            note.signatures.push(cosign(
                &note.text,
                witness.name,
                &witness.key,
                u64::try_from(unix_s).unwrap(),
            ));
        }
        note.to_bytes()
    }
}
