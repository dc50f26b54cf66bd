//! Sealing on request: how a command gets a statement into the log, whether or not the gateway runs.
//!
//! One process holds the recorder's lock. A command therefore never seals beside it: it puts a request
//! into `requests/` under the data directory, and whoever holds the recorder seals it and answers. That
//! is the running gateway, or the command itself when none runs. There is no other way in: no socket,
//! no port; who may write into the folder is who may write into the data directory.
//!
//! ```text
//! ID.request   the command asks            (it may still take it back)
//! ID.claimed   the gateway has taken it    (it will be sealed)
//! ID.note      the gateway is about to seal it, at what size of the log; then where it was sealed
//! ID.answer    the id, and where it was sealed or why it was refused
//! ```
//!
//! A request is sealed once, however often the same words are asked for. The order is claim, note the
//! intent, seal, note the place, do what follows from it, answer, forget; a process that dies anywhere in
//! it does the rest at its next start:
//!
//! - Claimed without a note: it was not sealed.
//! - A note with a place: it was.
//! - A note without one: the log itself tells, from the noted size on. Such a request is settled before
//!   any other is sealed, so no other one of the same words can stand there.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use evidence::control::Control;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::time::Instant;

use crate::durable::{self, Access};
use crate::recorder::{Recorder, RecorderError, Settings, Surroundings};
use crate::replay::lock_dir;

mod inbox;

pub use inbox::Inbox;

/// How long a command waits for the running gateway, which looks into its folder twice a second.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How often a waiting command looks for its answer.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Where a requested statement stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Position in the log.
    pub index: u64,
    /// The time its entry states, in unix milliseconds.
    pub unix_ms: u64,
}

/// Why a request was not sealed, or it is not known yet whether it was.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// There is no log.
    #[error("there is no log in `{0}`; run `fieldseal-gateway init` first")]
    NoLog(PathBuf),
    /// The command runs as somebody else.
    #[error(
        "`{path}` belongs to user {owner}, this command runs as user {caller}: what it would write the \
         gateway could not read. Run it as the owner: sudo -u '#{owner}' fieldseal-gateway …"
    )]
    NotOwner {
        /// The data directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who asks.
        caller: u32,
    },
    /// The gateway looked at the request and does not seal it.
    #[error("not sealed: {0}")]
    Refused(String),
    /// A gateway runs but did not look into the folder.
    #[error(
        "the running gateway did not take the request within {} s, so it was taken back: nothing was \
         sealed. `fieldseal-gateway status` says how it is; an older version does not know requests",
        .0.as_secs()
    )]
    NotTaken(Duration),
    /// A gateway took the request but has not sealed it yet.
    #[error(
        "the running gateway took the request but has not sealed it within {} s; it will, also after a \
         restart, so do not ask again. `fieldseal-gateway status` says what holds it up",
        .0.as_secs()
    )]
    NotAnswered(Duration),
    /// No gateway runs, and the request cannot be brought to its end now.
    #[error(
        "the request was taken up but is not sealed or not answered yet: there is no room in the buffer, or \
         the messages above say why. The next start goes on with it, so do not ask again"
    )]
    Waiting,
    /// The recorder could not be opened; the request was taken back.
    #[error(transparent)]
    Recorder(#[from] RecorderError),
    /// The recorder failed after the request was taken up.
    #[error(
        "{0}; whether the statement was sealed the next start finds out, and seals it if it was not"
    )]
    Unfinished(RecorderError),
    /// The request could not be taken back.
    #[error(
        "the request `{path}` could not be taken back ({error}): it may still be sealed. Remove the file \
         to prevent that, and look for the statement with `fieldseal-gateway verify` before asking again"
    )]
    NotWithdrawn {
        /// The request.
        path: PathBuf,
        /// What the file system said.
        #[source]
        error: io::Error,
    },
    /// The file system refused.
    #[error(transparent)]
    Files(#[from] io::Error),
}

/// What else happens to a request besides sealing.
pub trait Listener: Send + Sync {
    /// Why this statement must not be sealed now, if so.
    fn objection(&self, _control: &Control) -> Option<String> {
        None
    }

    /// The statement is in the log. Called again after a crash until it has succeeded once.
    ///
    /// # Errors
    ///
    /// What the system refused; the request then stays claimed and is finished later.
    fn sealed(&mut self, _control: &Control, _at: Sealed) -> io::Result<()> {
        Ok(())
    }
}

impl Listener for () {}

/// `ID.request`, `ID.claimed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    /// The control kind.
    kind: u64,
    /// The control body in hex, as it is sealed.
    body: String,
    /// For the gateway's own journal: what this is about.
    words: String,
}

/// `ID.note`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    /// Entries in the log just before the statement was to be sealed: it is not among them.
    since: u64,
    /// Where it was sealed, once that is known.
    sealed: Option<Sealed>,
}

/// `ID.answer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    /// The request that is answered.
    id: String,
    outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Outcome {
    Sealed(Sealed),
    Refused(String),
}

/// Seals a statement and says where it stands.
///
/// While a gateway runs on `settings.data_dir` it does the sealing; otherwise the recorder is opened
/// here, which also takes up whatever an earlier run left, as every start does. `words` say in the
/// gateway's messages what is sealed. Annotations, device statements, commissioning records,
/// approvals and revocations can be asked for; the rest of the log is the gateway's own.
///
/// # Errors
///
/// [`RequestError`]. [`RequestError::NotAnswered`], [`RequestError::Unfinished`],
/// [`RequestError::Waiting`], [`RequestError::NotWithdrawn`] and a failing disk leave open whether the statement is sealed; after every other error it is not in the log and will not be.
pub async fn seal(
    control: &Control,
    words: &str,
    settings: &Settings,
    around: &Surroundings,
    listener: &mut dyn Listener,
    patience: Duration,
) -> Result<Sealed, RequestError> {
    let dir = &settings.data_dir;
    if !dir.join("keys").join("origin").exists() {
        return Err(RequestError::NoLog(dir.clone()));
    }
    // Before anything is touched: a folder of another user would shut the gateway out.
    assert_owner(dir)?;
    let folder = prepare(dir)?;
    let id = new_id()?;
    let place = |state: &str| folder.join(format!("{id}.{state}"));
    let request = Request {
        kind: control.kind(),
        body: hex::encode(control.encode()),
        words: words.to_owned(),
    };
    let text = serde_json::to_vec(&request).map_err(io::Error::other)?;
    let asked = place("request");
    durable::write_file(&asked, &text, Access::Owner)?;
    let deadline = Instant::now() + patience;
    let mut served = false;
    loop {
        if let Some(outcome) = take_answer(&place("answer"), &id)? {
            // Should the gateway have died before it could; its note goes with its next look.
            durable::remove_file(&place("claimed"))?;
            return match outcome {
                Outcome::Sealed(sealed) => Ok(sealed),
                Outcome::Refused(why) => Err(RequestError::Refused(why)),
            };
        }
        match lock_dir(dir) {
            Err(RecorderError::Running(_)) if Instant::now() >= deadline => {
                // Whoever removes or renames the file first decides: it is taken back or taken.
                return Err(if withdraw(&asked)? {
                    RequestError::NotTaken(patience)
                } else {
                    RequestError::NotAnswered(patience)
                });
            }
            Err(RecorderError::Running(_)) => tokio::time::sleep(LOOK_EVERY).await,
            Err(error) => return Err(taken_back(&asked, error)?),
            // Every start leaves its entries in the log: once is enough to know that it does not go on.
            Ok(_free) if served => {
                return Err(if withdraw(&asked)? {
                    RequestError::Refused(String::from(
                        "it could not be taken up; the messages above say why",
                    ))
                } else {
                    RequestError::Waiting
                });
            }
            Ok(lock) => {
                drop(lock);
                match open_and_serve(settings, around, listener).await {
                    // A gateway was started in this very moment: it answers.
                    Err(RecorderError::Running(_)) => {}
                    Ok(()) => served = true,
                    Err(error) => return Err(taken_back(&asked, error)?),
                }
            }
        }
    }
}

/// No gateway runs: the recorder is opened here for as long as it takes.
async fn open_and_serve(
    settings: &Settings,
    around: &Surroundings,
    listener: &mut dyn Listener,
) -> Result<(), RecorderError> {
    let mut recorder = Recorder::open(settings.clone(), around.clone()).await?;
    let inbox = Inbox::new(&settings.data_dir, &around.faults);
    inbox.serve(&mut recorder, listener).await?;
    recorder.close().await
}

/// A request that nobody has claimed is withdrawn, so that the error is the whole truth.
fn taken_back(asked: &Path, error: RecorderError) -> Result<RequestError, RequestError> {
    Ok(if withdraw(asked)? {
        RequestError::Recorder(error)
    } else {
        RequestError::Unfinished(error)
    })
}

/// Takes a request back for good; `false` if it has been claimed. While the removal is not on the disk
/// a power cut could bring the request back, so a failing sync leaves open whether it will be sealed.
fn withdraw(asked: &Path) -> Result<bool, RequestError> {
    let failed = |error| RequestError::NotWithdrawn {
        path: asked.to_owned(),
        error,
    };
    match std::fs::remove_file(asked) {
        Ok(()) => durable::sync_parent(asked).map(|()| true).map_err(failed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

fn take_answer(path: &Path, id: &str) -> io::Result<Option<Outcome>> {
    let Some(bytes) = durable::read_file(path)? else {
        return Ok(None);
    };
    let answer: Answer = serde_json::from_slice(&bytes).map_err(io::Error::other)?;
    if answer.id != id {
        let text = format!(
            "`{}` answers another request, {}",
            path.display(),
            answer.id
        );
        return Err(io::Error::other(text));
    }
    durable::remove_file(path)?;
    Ok(Some(answer.outcome))
}

fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("requests")
}

/// Creates the folder of requests, if it is absent: at `init` and at every start, so that it is the
/// gateway's own before any command looks for it.
///
/// # Errors
///
/// What the file system refused.
pub fn prepare(data_dir: &Path) -> io::Result<PathBuf> {
    let folder = folder(data_dir);
    durable::create_private_dir(&folder)?;
    Ok(folder)
}

/// Refuses to go on under another name than the data directory's owner; touches nothing.
///
/// # Errors
///
/// [`RequestError::NotOwner`]; [`RequestError::NoLog`] without a data directory.
pub fn assert_owner(dir: &Path) -> Result<(), RequestError> {
    owned_by(dir, rustix::process::geteuid().as_raw())
}

fn owned_by(dir: &Path, caller: u32) -> Result<(), RequestError> {
    let metadata = std::fs::metadata(dir).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => RequestError::NoLog(dir.to_owned()),
        _ => RequestError::Files(error),
    })?;
    if metadata.uid() == caller {
        return Ok(());
    }
    Err(RequestError::NotOwner {
        path: dir.to_owned(),
        owner: metadata.uid(),
        caller,
    })
}

fn new_id() -> io::Result<String> {
    let mut id = [0; 16];
    SystemRandom::new()
        .fill(&mut id)
        .map_err(|_no_bytes| io::Error::other("the operating system gave no random bytes"))?;
    Ok(hex::encode(id))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::{RequestError, assert_owner, owned_by, prepare, withdraw};

    #[test]
    fn only_the_owner_of_the_data_directory_may_ask_and_nothing_is_touched_before() {
        let dir = tempfile::tempdir().unwrap();
        let owner = std::fs::metadata(dir.path()).unwrap().uid();
        assert_owner(dir.path()).unwrap();
        let error = owned_by(dir.path(), owner + 1).unwrap_err();
        assert!(matches!(error, RequestError::NotOwner { .. }), "{error}");
        assert!(
            error.to_string().contains(&format!("sudo -u '#{owner}'")),
            "{error}"
        );
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test's own files")]
    fn what_is_gone_was_claimed_and_what_cannot_be_removed_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let asked = prepare(dir.path()).unwrap().join("a.request");
        assert!(!withdraw(&asked).unwrap());
        std::fs::write(&asked, "x").unwrap();
        assert!(withdraw(&asked).unwrap());
        // A folder cannot be taken back as a file can: that is no "claimed".
        std::fs::create_dir(&asked).unwrap();
        let error = withdraw(&asked).unwrap_err();
        assert!(
            matches!(error, RequestError::NotWithdrawn { .. }),
            "{error}"
        );
    }
}
