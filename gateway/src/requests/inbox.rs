//! The side of whoever holds the recorder: takes requests up, seals them, answers.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use evidence::chain::Chain;
use evidence::control::{Control, kind};
use evidence::entry::{Body, ControlBody, Entry};
use serde::Serialize;

use super::{Answer, Listener, Note, Outcome, Request, Sealed, folder};
use crate::buffer::{BufferError, LogReader};
use crate::durable::{self, Access};
use crate::faults::{Faults, Step, Strike};
use crate::log::LogError;
use crate::recorder::{Recorder, RecorderError};

/// What may be asked for. Everything else follows from what the gateway itself does, and some of it
/// would end the log.
const ON_REQUEST: [u64; 5] = [
    kind::KEY_REVOKE,
    kind::ANNOTATION,
    kind::DEVICE,
    kind::COMMISSIONING,
    kind::APPROVAL,
];
/// An answer that nobody fetched is removed after this long.
const ANSWER_KEPT_MS: u64 = 3_600_000;

/// The folder of requests, as the holder of the recorder sees it.
#[derive(Debug)]
pub struct Inbox {
    dir: PathBuf,
    faults: Arc<dyn Faults>,
    /// What was said of which file, so that it is said once and not at every look.
    said: Mutex<BTreeMap<String, String>>,
}

impl Inbox {
    /// The inbox of a data directory; touches nothing.
    #[must_use]
    pub fn new(data_dir: &Path, faults: &Arc<dyn Faults>) -> Self {
        Self {
            dir: folder(data_dir),
            faults: Arc::clone(faults),
            said: Mutex::default(),
        }
    }

    /// Seals and answers everything that waits. Cheap when nothing does.
    ///
    /// While there is no room to seal, requests wait. One that cannot be read is answered with the
    /// reason. Trouble with the folder itself is logged and tried again: it must not stop recording.
    ///
    /// # Errors
    ///
    /// [`RecorderError`]: stop using the recorder and start again; nothing that was claimed is lost.
    pub async fn serve(
        &self,
        recorder: &mut Recorder,
        listener: &mut dyn Listener,
    ) -> Result<(), RecorderError> {
        let mut waiting = match self.waiting(recorder)? {
            Ok(waiting) => {
                self.forget_said("");
                waiting
            }
            Err(error) => {
                self.say("", &format!("requests cannot be taken: {error}"));
                return Ok(());
            }
        };
        // What may be in the log already is settled before anything else is sealed: the same words
        // behind its note must be its own.
        waiting.sort_by_key(|id| !self.place(id, "note").exists());
        for id in waiting {
            if let Err(error) = self.finish(&id, recorder, listener).await? {
                self.say(&id, &format!("it is not finished yet: {error}"));
                if self.is_unsettled(&id) {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Whether a request was about to be sealed and its note does not say that it was.
    fn is_unsettled(&self, id: &str) -> bool {
        match self.note(id) {
            Ok(note) => note.is_some_and(|note| note.sealed.is_none()),
            Err(_unreadable) => true,
        }
    }

    /// Says something about an item, unless that was the last thing said about it.
    fn say(&self, item: &str, text: &str) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.insert(item.to_owned(), text.to_owned()).as_deref() != Some(text) {
            tracing::error!(request.id = item, "Trouble with a request: {text}");
        }
    }

    /// What was said is over: said again if it comes back.
    fn forget_said(&self, item: &str) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.remove(item);
    }

    /// Forgets what was said of items that are gone.
    fn forget_gone(&self, names: &[String]) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.retain(|item, _| names.iter().any(|name| name.starts_with(item.as_str())));
    }

    /// The ids of claimed requests, and of new ones after claiming them. What is no plain file, or
    /// cannot be claimed, is left where it is and said; it keeps nothing else waiting.
    fn waiting(&self, recorder: &Recorder) -> Result<io::Result<Vec<String>>, RecorderError> {
        let names = match self.names() {
            Ok(names) => names,
            Err(error) => return Ok(Err(error)),
        };
        let mut ids = Vec::new();
        for name in &names {
            let Some((id, state)) = name.rsplit_once('.') else {
                continue;
            };
            match self.is_plain(name) {
                Ok(true) => {}
                Ok(false) => {
                    self.say(name, "it is not a plain file; remove it");
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    self.say(name, &error.to_string());
                    continue;
                }
            }
            match (id, state) {
                (id, "claimed") => ids.push(id.to_owned()),
                (id, "request") => {
                    // From here on it will be sealed or refused; before, the command may take it back.
                    let claimed = self.step(Step::RequestClaimed, || {
                        durable::move_file(&self.dir.join(name), &self.place(id, "claimed"))
                    });
                    match claimed? {
                        Ok(()) => ids.push(id.to_owned()),
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                        Err(error) => self.say(id, &error.to_string()),
                    }
                }
                (id, "answer") => {
                    if let Err(error) = self.forget_old_answer(id, recorder) {
                        self.say(id, &error.to_string());
                    }
                }
                // Everything else of it is gone, so it was answered.
                (id, "note") if !names.contains(&format!("{id}.claimed")) => {
                    if let Err(error) = durable::remove_file(&self.place(id, "note")) {
                        self.say(id, &error.to_string());
                    }
                }
                _ => {}
            }
        }
        Ok(Ok(ids))
    }

    /// The names in the folder, sorted.
    fn names(&self) -> io::Result<Vec<String>> {
        let listed = match std::fs::read_dir(&self.dir) {
            Ok(listed) => listed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for item in listed {
            names.extend(item?.file_name().into_string());
        }
        self.forget_gone(&names);
        if !names.is_empty() {
            self.assert_private()?;
        }
        names.sort();
        Ok(names)
    }

    /// Whether this is a file and nothing that would block or lead elsewhere.
    fn is_plain(&self, name: &str) -> io::Result<bool> {
        Ok(std::fs::symlink_metadata(self.dir.join(name))?.is_file())
    }

    /// Another user who could write here could put words into the log.
    fn assert_private(&self) -> io::Result<()> {
        let ours = self.dir.parent().unwrap_or(&self.dir);
        let (folder, parent) = (std::fs::metadata(&self.dir)?, std::fs::metadata(ours)?);
        if folder.uid() == parent.uid() && folder.permissions().mode() & 0o022 == 0 {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "`{}` belongs to or can be written by others than the owner of the data directory; \
             make it the owner's alone (chown {} and chmod 700) and look at what lies in it",
            self.dir.display(),
            parent.uid()
        )))
    }

    fn forget_old_answer(&self, id: &str, recorder: &Recorder) -> io::Result<()> {
        let path = self.place(id, "answer");
        let Ok(metadata) = std::fs::metadata(&path) else {
            return Ok(()); // fetched in this moment
        };
        let written_ms = u64::try_from(metadata.mtime()).unwrap_or(0) * 1_000;
        if recorder.status().clock.unix_ms > written_ms.saturating_add(ANSWER_KEPT_MS) {
            durable::remove_file(&path)?;
        }
        Ok(())
    }

    /// Brings one claimed request to its end. The inner error leaves it claimed.
    async fn finish(
        &self,
        id: &str,
        recorder: &mut Recorder,
        listener: &mut dyn Listener,
    ) -> Result<io::Result<()>, RecorderError> {
        let outcome = match self.read(id) {
            Ok(Some((request, control))) => {
                let sealed = self
                    .seal(id, &request, &control, recorder, listener)
                    .await?;
                let outcome = match sealed {
                    Ok(Some(outcome)) => outcome,
                    Ok(None) => return Ok(Ok(())), // no room: it waits
                    Err(error) => return Ok(Err(error)),
                };
                if let Outcome::Sealed(at) = outcome {
                    let noted = self.step(Step::RequestNoted, || listener.sealed(&control, at))?;
                    if let Err(error) = noted {
                        return Ok(Err(error));
                    }
                }
                outcome
            }
            Ok(None) => return Ok(Ok(())), // the command has its answer and cleaned up
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Outcome::Refused(error.to_string())
            }
            Err(error) => return Ok(Err(error)),
        };
        if let Outcome::Refused(why) = &outcome {
            tracing::warn!(request.id = %id, "A request was not sealed: {why}");
        }
        let answer = Answer {
            id: id.to_owned(),
            outcome,
        };
        let answered = self.step(Step::RequestAnswered, || self.write(id, "answer", &answer))?;
        if let Err(error) = answered {
            return Ok(Err(error));
        }
        // The note goes last: what is claimed without one would be sealed again.
        self.step(Step::RequestForgotten, || {
            durable::remove_file(&self.place(id, "claimed"))?;
            durable::remove_file(&self.place(id, "note"))
        })
    }

    fn read(&self, id: &str) -> io::Result<Option<(Request, Control)>> {
        let wrong = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
        let Some(bytes) = durable::read_file(&self.place(id, "claimed"))? else {
            return Ok(None);
        };
        let request: Request = serde_json::from_slice(&bytes)
            .map_err(|error| wrong(format!("the request does not read: {error}")))?;
        if !ON_REQUEST.contains(&request.kind) {
            return Err(wrong(format!(
                "control entries of kind {} are not sealed on request",
                request.kind
            )));
        }
        let body = hex::decode(&request.body)
            .map_err(|error| wrong(format!("the request's body does not read: {error}")))?;
        let control = Control::decode(request.kind, &body)
            .map_err(|error| wrong(format!("the request's body does not read: {error}")))?;
        Ok(Some((request, control)))
    }

    /// Seals a request, or finds out that it was sealed before. `None` when there is no room.
    async fn seal(
        &self,
        id: &str,
        request: &Request,
        control: &Control,
        recorder: &mut Recorder,
        listener: &dyn Listener,
    ) -> Result<io::Result<Option<Outcome>>, RecorderError> {
        let lost = |why: &str| {
            Ok(Ok(Some(Outcome::Refused(format!(
                "it was about to be sealed when the gateway ended, and nobody can tell whether it was: \
                 {why}; look for it in the log here or at the collector, then ask again"
            )))))
        };
        let noted = match self.note(id) {
            Ok(noted) => noted,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return lost("its note is damaged");
            }
            Err(error) => return Ok(Err(error)),
        };
        if let Some(sealed) = noted.and_then(|note| note.sealed) {
            return Ok(Ok(Some(Outcome::Sealed(sealed))));
        }
        let before = match noted {
            None => None,
            Some(Note { since, .. }) => {
                match sealed_before(since, control, recorder.reader()).await {
                    Ok(found) => found.map(|sealed| (since, sealed)),
                    Err(BufferError::Missing { .. }) => {
                        return lost("the entries from then are in a file that was set aside");
                    }
                    Err(error) => return Err(LogError::from(error).into()),
                }
            }
        };
        let (since, sealed) = match before {
            Some(found) => found,
            None => {
                let objection = objection(recorder.log().chain(), control);
                if let Some(why) = objection.or_else(|| listener.objection(control)) {
                    return Ok(Ok(Some(Outcome::Refused(why))));
                }
                let since = recorder.status().size;
                let intent = Note {
                    since,
                    sealed: None,
                };
                // Before anything is sealed: after a crash it is what tells to look for the statement.
                let intended =
                    self.step(Step::RequestIntended, || self.write(id, "note", &intent))?;
                if let Err(error) = intended {
                    return Ok(Err(error));
                }
                let Some((index, unix_ms)) = recorder.seal_control(control).await? else {
                    // It waits, and others of the same words may be sealed before it.
                    let forgotten = durable::remove_file(&self.place(id, "note"));
                    return Ok(forgotten.map(|()| None));
                };
                tracing::info!(index, request.id = %id, "Sealed on request: {}", request.words);
                (since, Sealed { index, unix_ms })
            }
        };
        let place = Note {
            since,
            sealed: Some(sealed),
        };
        let noted = self.step(Step::RequestSealed, || self.write(id, "note", &place))?;
        Ok(noted.map(|()| Some(Outcome::Sealed(sealed))))
    }

    /// The note of a request, if it was about to be sealed.
    fn note(&self, id: &str) -> io::Result<Option<Note>> {
        let Some(bytes) = durable::read_file(&self.place(id, "note"))? else {
            return Ok(None);
        };
        let damaged = |_| io::Error::new(io::ErrorKind::InvalidData, "the note does not read");
        serde_json::from_slice(&bytes).map(Some).map_err(damaged)
    }

    fn write(&self, id: &str, state: &str, content: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_vec(content).map_err(io::Error::other)?;
        durable::write_file(&self.place(id, state), &text, Access::Owner)
    }

    fn place(&self, id: &str, state: &str) -> PathBuf {
        self.dir.join(format!("{id}.{state}"))
    }

    /// Does one step. A test can make it fail, fail although it took effect, or be the last one.
    fn step(
        &self,
        step: Step,
        action: impl FnOnce() -> io::Result<()>,
    ) -> Result<io::Result<()>, RecorderError> {
        let failed = || io::Error::other(format!("planned failure at {step:?}"));
        match self.faults.strike(step) {
            Strike::Nothing => Ok(action()),
            Strike::Fail => Ok(Err(failed())),
            Strike::FailButPersist => Ok(action().and_then(|()| Err(failed()))),
            Strike::Die => {
                action()?;
                Err(LogError::Buffer(BufferError::Died(step)).into())
            }
        }
    }
}

/// Why the log's own rules would refuse a statement, where a person may ask for such a one.
fn objection(chain: &Chain, control: &Control) -> Option<String> {
    let size = chain.size();
    match control {
        Control::KeyRevoke { key_id, .. } => {
            let in_force = chain.entry_key().is_some_and(|key| key.key_id() == *key_id);
            let used = in_force || chain.is_retired(*key_id);
            (!used).then(|| {
                format!(
                    "this log never used an entry key of id {}; look at the id again",
                    hex::encode(key_id)
                )
            })
        }
        Control::Annotation { from, to, .. } if from > to || *to >= size => Some(format!(
            "entries {from} to {to} are not in the log, which has {size} entries, numbered from 0"
        )),
        Control::Approval { index, .. } if *index >= size => Some(format!(
            "entry {index} is not in the log, which has {size} entries, numbered from 0"
        )),
        _ => None,
    }
}

/// The same statement among the entries from `since` on: the request whose note says so, sealed before a
/// crash.
async fn sealed_before(
    since: u64,
    control: &Control,
    mut reader: LogReader,
) -> Result<Option<Sealed>, BufferError> {
    let body = control.encode();
    let (first, end) = reader.bounds();
    let mut index = since.max(first);
    while index < end {
        for row in reader.rows(index, end, 256, 4 << 20).await? {
            index = row.index + 1;
            let Ok(signed) = Entry::parse(&row.entry) else {
                continue;
            };
            let Body::Control { kind, body: stored } = &signed.entry.body else {
                continue;
            };
            let stored = match stored {
                ControlBody::Inline(bytes) => Some(bytes.as_slice()),
                ControlBody::Payload(_) => row.payload.as_deref(),
            };
            if *kind == control.kind() && stored == Some(body.as_slice()) {
                let unix_ms = signed.entry.clock.unix_ms;
                return Ok(Some(Sealed {
                    index: row.index,
                    unix_ms,
                }));
            }
        }
    }
    Ok(None)
}
