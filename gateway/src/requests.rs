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
//! ID.answer    where it was sealed, or why it was refused
//! ```
//!
//! A request is sealed at most once, and the log itself is what tells: each request names the size of
//! the log when it was written, and a statement that stands behind that size is not sealed again. The
//! order is claim, seal, take note, answer, forget; a process that dies anywhere in it does the rest at
//! its next start.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use evidence::control::Control;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::time::Instant;

use crate::buffer::{BufferError, LogReader};
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
    /// The recorder could not be opened; the request was taken back.
    #[error(transparent)]
    Recorder(#[from] RecorderError),
    /// The recorder failed after the request was taken up.
    #[error(
        "{0}; whether the statement was sealed the next start finds out, and seals it if it was not"
    )]
    Unfinished(RecorderError),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] BufferError),
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
    /// Entries in the log when this was written: the statement is not among them.
    since: u64,
    /// The control kind.
    kind: u64,
    /// The control body in hex, as it is sealed.
    body: String,
    /// For the gateway's own journal: what this is about.
    words: String,
}

/// `ID.answer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Answer {
    Sealed(Sealed),
    Refused(String),
}

/// Seals a statement and says where it stands.
///
/// While a gateway runs on `settings.data_dir` it does the sealing; otherwise the recorder is opened
/// here, which also takes up whatever an earlier run left, as every start does. `words` say in the
/// gateway's messages what is sealed. Annotations, device statements, commissioning records and
/// approvals can be asked for; the rest of the log is the gateway's own.
///
/// # Errors
///
/// [`RequestError`]. [`RequestError::NotAnswered`], [`RequestError::Unfinished`] and a failing disk leave
/// open whether the statement is sealed; after every other error it is not in the log and will not be.
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
    let folder = folder(dir);
    durable::create_private_dir(&folder)?;
    let since = LogReader::of_dir(&dir.join("log")).await?.bounds().1;
    let id = new_id()?;
    let place = |state: &str| folder.join(format!("{id}.{state}"));
    let request = Request {
        since,
        kind: control.kind(),
        body: hex::encode(control.encode()),
        words: words.to_owned(),
    };
    let text = serde_json::to_vec(&request).map_err(io::Error::other)?;
    let asked = place("request");
    durable::write_file(&asked, &text, Access::Owner)?;
    same_owner(dir, &asked)?;
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = take_answer(&place("answer"))? {
            durable::remove_file(&place("claimed"))?;
            return match answer {
                Answer::Sealed(sealed) => Ok(sealed),
                Answer::Refused(why) => Err(RequestError::Refused(why)),
            };
        }
        match lock_dir(dir) {
            Err(RecorderError::Running(_)) if Instant::now() >= deadline => {
                // Whoever removes or renames the file first decides: it is taken back or taken.
                return match std::fs::remove_file(&asked) {
                    Ok(()) => Err(RequestError::NotTaken(patience)),
                    Err(_taken) => Err(RequestError::NotAnswered(patience)),
                };
            }
            Err(RecorderError::Running(_)) => tokio::time::sleep(LOOK_EVERY).await,
            Err(error) => return Err(taken_back(&asked, error)),
            Ok(lock) => {
                drop(lock);
                match open_and_serve(settings, around, listener).await {
                    // A gateway was started in this very moment: it answers.
                    Ok(()) | Err(RecorderError::Running(_)) => {}
                    Err(error) => return Err(taken_back(&asked, error)),
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
fn taken_back(asked: &Path, error: RecorderError) -> RequestError {
    match std::fs::remove_file(asked) {
        Ok(()) => RequestError::Recorder(error),
        Err(_claimed) => RequestError::Unfinished(error),
    }
}

fn take_answer(path: &Path) -> io::Result<Option<Answer>> {
    let Some(bytes) = durable::read_file(path)? else {
        return Ok(None);
    };
    let answer = serde_json::from_slice(&bytes).map_err(io::Error::other)?;
    durable::remove_file(path)?;
    Ok(Some(answer))
}

fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("requests")
}

/// Refuses to ask under another name than the data directory's owner, and takes the request back.
fn same_owner(dir: &Path, asked: &Path) -> Result<(), RequestError> {
    let owner = std::fs::metadata(dir)?.uid();
    let caller = std::fs::metadata(asked)?.uid();
    if owner == caller {
        return Ok(());
    }
    durable::remove_file(asked)?;
    Err(RequestError::NotOwner {
        path: dir.to_owned(),
        owner,
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
