//! What the verifier saw before: one checkpoint per log and audit, in a file of his own.
//!
//! Whoever audits the same log again is his own witness: a log that shows another history than last
//! time is found out, even if every other witness helped to forge it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use evidence::checkpoint::Checkpoint;
use evidence::hash::Hash;
use evidence::note::{Note, Vkey};
use serde::{Deserialize, Serialize};

use crate::durable;

const FORMAT: &str = "fieldseal-state/1";
/// Checkpoints kept per log; the oldest go. Audits are rare: this is for ever.
const MOST_PER_LOG: usize = 1_000;

/// The checkpoints of earlier audits.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    format: String,
    /// By origin, ascending by size.
    logs: BTreeMap<String, Vec<Seen>>,
}

/// A checkpoint seen in an earlier audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// Entries.
    pub size: u64,
    /// Root, hexadecimal.
    pub root: String,
    /// The whole note with its signatures: with a contradicting one it proves the fork to anybody.
    pub note: String,
}

/// A checkpoint seen before, its note checked: size, root, note.
pub type SeenNote = (u64, Hash, String);

/// The file, read.
#[derive(Debug)]
pub struct State {
    path: PathBuf,
    /// Whether there was none yet.
    pub begun: bool,
    contents: Contents,
}

impl State {
    /// Reads the file; one that does not exist is begun.
    ///
    /// # Errors
    /// A file that is no such state, with what to do.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let (text, begun) = match std::fs::read_to_string(path) {
            Ok(text) => (Some(text), false),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => (None, true),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read the state {shown}"));
            }
        };
        let contents = match text {
            None => Contents {
                format: FORMAT.to_owned(),
                logs: BTreeMap::new(),
            },
            Some(text) => serde_json::from_str::<Contents>(&text)
                .ok()
                .filter(|contents| contents.format == FORMAT)
                .with_context(|| {
                    format!(
                        "the state {shown} is no file of the form {FORMAT}; name the right file, or a \
                         new one to begin again (what was seen before is then forgotten)"
                    )
                })?,
        };
        Ok(Self {
            path: path.to_owned(),
            begun,
            contents,
        })
    }

    /// The checkpoints seen of a log, each checked against its key: size, root, note.
    ///
    /// # Errors
    /// One that this key did not sign: the file was changed, or the plan's key was.
    pub fn seen(&self, anchor: &Vkey) -> anyhow::Result<Vec<SeenNote>> {
        let seen = self.contents.logs.get(anchor.name());
        seen.into_iter()
            .flatten()
            .map(|seen| {
                let checkpoint = Note::parse(seen.note.as_bytes())
                    .map_err(anyhow::Error::from)
                    .and_then(|note| Ok(Checkpoint::open(&note, anchor)?))
                    .with_context(|| {
                        format!(
                            "the state {}: the checkpoint of size {} of {} is not signed by the key you \
                             bring; find out which of the two was changed",
                            self.path.display(),
                            seen.size,
                            anchor.name()
                        )
                    })?;
                anyhow::ensure!(
                    checkpoint.size == seen.size && checkpoint.root.to_hex() == seen.root,
                    "the state {}: size and root of a checkpoint of {} are not those of its note",
                    self.path.display(),
                    anchor.name()
                );
                Ok((seen.size, checkpoint.root, seen.note.clone()))
            })
            .collect()
    }

    /// Adds the checkpoint of a log that was proven.
    pub fn add(&mut self, origin: &str, size: u64, root: &Hash, note: &[u8]) {
        let seen = self.contents.logs.entry(origin.to_owned()).or_default();
        if seen.iter().any(|known| known.size == size) {
            return;
        }
        seen.push(Seen {
            size,
            root: root.to_hex(),
            note: String::from_utf8_lossy(note).into_owned(),
        });
        seen.sort_by_key(|known| known.size);
        let extra = seen.len().saturating_sub(MOST_PER_LOG);
        seen.drain(..extra);
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn save(&self) -> anyhow::Result<()> {
        let mut text = serde_json::to_string_pretty(&self.contents)?;
        text.push('\n');
        durable::write_file(&self.path, text.as_bytes())
            .context("the state is as before; what this audit saw is not remembered")
    }
}

#[cfg(test)]
mod tests {
    use evidence::checkpoint::{Checkpoint, log_vkey, sign_checkpoint};
    use evidence::hash::{Hash, Origin};
    use evidence::key::SigningKey;

    use super::State;

    #[test]
    fn what_was_seen_is_read_back_and_a_changed_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seen.json");
        let (origin, key) = (
            Origin::parse("example.com/gw/1").unwrap(),
            SigningKey::from_seed([3; 32]),
        );
        let anchor = log_vkey(&origin, &key.public());
        let mut state = State::load(&path).unwrap();
        assert!(state.begun);
        for size in [9, 4, 9] {
            let root = Hash([7; 32]);
            let checkpoint = Checkpoint {
                origin: origin.clone(),
                size,
                root,
            };
            let note = sign_checkpoint(&checkpoint, &key).to_bytes();
            state.add(origin.as_str(), size, &root, &note);
        }
        state.save().unwrap();
        let state = State::load(&path).unwrap();
        let seen = state.seen(&anchor).unwrap();
        let sizes: Vec<u64> = seen.iter().map(|(size, _, _)| *size).collect();
        assert_eq!((sizes, state.begun), (vec![4, 9], false));
        let other = log_vkey(&origin, &SigningKey::from_seed([4; 32]).public());
        let error = format!("{:#}", state.seen(&other).unwrap_err());
        assert!(error.contains("not signed by the key you bring"), "{error}");
        let text = std::fs::read_to_string(&path).unwrap();
        for (from, to) in [("\"size\": 4", "\"size\": 5"), ("fieldseal-state/1", "x/1")] {
            super::durable::write_file(&path, text.replace(from, to).as_bytes()).unwrap();
            let refused = State::load(&path).and_then(|state| state.seen(&anchor));
            assert!(refused.is_err(), "{from}");
        }
    }
}
