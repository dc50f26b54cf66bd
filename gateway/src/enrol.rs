//! Enrolment: the collector learns whose log this is, the gateway learns whom to trust.
//!
//! The code carries a secret, which proves entry 0 to the collector, and the fingerprint of the
//! collector's TLS key, which proves the collector to us. What is to be sent is written to a pending
//! file first: should the process die between request and answer, the same request is made again.
//!
//! The collector gives another token each time, and only the newest is good. A command and the running
//! gateway may both want to enrol with one code, so one of them does ([`Turn`]) and the other finds it
//! done.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use evidence::hash::Origin;
use evidence::note::{SignatureKind, Vkey};
use ring::hmac;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::time::Instant;

use crate::buffer::Row;
use crate::clock::Clock;
use crate::collector::{Collector, CollectorError};
use crate::config::CollectorConfig;
use crate::delivery::Outcome;
use crate::durable::{self, Access};
use crate::tls::{Pin, TlsError};

mod by_file;

pub use by_file::{accept_answer, request_file};

const ENROLMENT: &str = "enrolment.json";
const PENDING: &str = "enrolment.pending.json";
/// How long another process may take to enrol: longer than any request to the collector.
const BUSY_AT_MOST: Duration = Duration::from_secs(60);
/// How often is looked whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Why there is no enrolment.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EnrolError {
    /// The text is not an enrolment code.
    #[error(
        "this is not an enrolment code ({0}); copy all of what `fieldseal-collector enrolment-code` printed"
    )]
    Code(&'static str),
    /// There is one already.
    #[error("this log is enrolled already; a second collector needs another log")]
    Enrolled,
    /// Another process does not come to an end with it.
    #[error(
        "another process has been enrolling this log for a minute; wait for it and look at `fieldseal-gateway status`"
    )]
    Busy,
    /// No code was given and none is waiting.
    #[error("no enrolment is waiting; run `fieldseal-gateway enroll CODE`")]
    NothingPending,
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The collector did not enrol us.
    #[error("not enrolled: {0}")]
    Collector(#[from] CollectorError),
    /// The answer cannot be used.
    #[error("the collector's answer to the enrolment makes no sense: {0}")]
    Answer(String),
    /// The file system refused.
    #[error(transparent)]
    Files(#[from] std::io::Error),
    /// The file is no answer to this gateway's request.
    #[error(
        "`{path}` is no answer to this log's request: {why}. `fieldseal-collector enrol` writes one \
         from the file that `enroll CODE --to FILE` wrote here"
    )]
    Forged {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A stored file does not read.
    #[error("`{0}` is damaged; remove it and enrol again")]
    Damaged(String),
}

/// `fs1.<id>.<secret>.<fingerprint>`, taken apart.
#[derive(Clone, PartialEq, Eq)]
pub struct EnrolmentCode {
    /// Names the code at the collector; 8 hexadecimal digits.
    pub id: String,
    secret: [u8; 16],
    /// SHA-256 of the collector's `SubjectPublicKeyInfo`.
    pub pin: Pin,
}

/// Without the secret: a code that stands in a message could be used by whoever reads it.
impl std::fmt::Debug for EnrolmentCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnrolmentCode")
            .field("id", &self.id)
            .field("pin", &self.pin)
            .finish_non_exhaustive()
    }
}

impl EnrolmentCode {
    /// Reads the text that the collector printed. Spaces and line breaks around it do not matter.
    ///
    /// # Errors
    ///
    /// [`EnrolError::Code`].
    pub fn parse(text: &str) -> Result<Self, EnrolError> {
        let mut parts = text.trim().split('.');
        let (Some("fs1"), Some(id), Some(secret), Some(pin), None) = (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ) else {
            return Err(EnrolError::Code(
                "it has the form fs1.ID.SECRET.FINGERPRINT",
            ));
        };
        let is_hex = |text: &str, length: usize| {
            text.len() == length
                && text
                    .bytes()
                    .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        if !is_hex(id, 8) {
            return Err(EnrolError::Code("its second part is 8 digits 0-9 a-f"));
        }
        let secret = is_hex(secret, 32)
            .then(|| {
                hex::decode(secret)
                    .ok()
                    .and_then(|bytes| bytes.try_into().ok())
            })
            .flatten()
            .ok_or(EnrolError::Code("its third part is 32 digits 0-9 a-f"))?;
        let pin = URL_SAFE_NO_PAD
            .decode(pin)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .map(Pin)
            .ok_or(EnrolError::Code(
                "its last part is a fingerprint of 43 characters",
            ))?;
        Ok(Self {
            id: id.to_owned(),
            secret,
            pin,
        })
    }

    /// HMAC-SHA256 over entry 0 under the secret, in hex: proves that who holds the code holds the log.
    #[must_use]
    pub fn mac(&self, entry0: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.secret);
        hex::encode(hmac::sign(&key, entry0))
    }
}

/// What the gateway keeps of an enrolment. The token opens the collector's door and proves nothing.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolment {
    /// The collector's address at enrolment.
    pub url: String,
    /// Hex of the pinned key fingerprint.
    pub spki_sha256: String,
    /// The bearer token.
    pub token: String,
    /// The collector's cosigning key.
    pub witness_vkey: String,
}

impl std::fmt::Debug for Enrolment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Enrolment")
            .field("url", &self.url)
            .field("witness_vkey", &self.witness_vkey)
            .finish_non_exhaustive()
    }
}

impl Enrolment {
    /// Reads the stored enrolment; `None` before there is one.
    ///
    /// # Errors
    ///
    /// [`EnrolError`].
    pub fn load(data_dir: &Path) -> Result<Option<Self>, EnrolError> {
        let path = data_dir.join(ENROLMENT);
        let Some(bytes) = durable::read_file(&path)? else {
            return Ok(None);
        };
        let enrolment: Self = serde_json::from_slice(&bytes)
            .map_err(|_bad| EnrolError::Damaged(path.display().to_string()))?;
        let usable = enrolment.pin().is_some() && enrolment.witness().is_ok();
        if usable {
            Ok(Some(enrolment))
        } else {
            Err(EnrolError::Damaged(path.display().to_string()))
        }
    }

    /// The pinned key.
    #[must_use]
    pub fn pin(&self) -> Option<Pin> {
        hex::decode(&self.spki_sha256)
            .ok()?
            .try_into()
            .ok()
            .map(Pin)
    }

    /// The collector's cosigning key.
    ///
    /// # Errors
    ///
    /// [`EnrolError::Answer`] when it is not one.
    pub fn witness(&self) -> Result<Vkey, EnrolError> {
        let vkey: Vkey = self
            .witness_vkey
            .parse()
            .map_err(|error| EnrolError::Answer(format!("its key is not a vkey: {error}")))?;
        if vkey.kind() == SignatureKind::Cosignature {
            Ok(vkey)
        } else {
            Err(EnrolError::Answer(String::from(
                "its key does not make cosignatures",
            )))
        }
    }
}

/// The right to enrol, for one process at a time; ends when it is dropped, or with the process.
#[derive(Debug)]
pub struct Turn {
    /// The data directory itself: nothing is created that could belong to another user.
    _dir: File,
}

impl Turn {
    /// Waits until nobody else enrols.
    ///
    /// # Errors
    ///
    /// [`EnrolError::Busy`] after a minute; what the file system refused.
    pub async fn take(data_dir: &Path) -> Result<Self, EnrolError> {
        let dir = File::open(data_dir)?;
        let deadline = Instant::now() + BUSY_AT_MOST;
        loop {
            match dir.try_lock() {
                Ok(()) => return Ok(Self { _dir: dir }),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                Err(TryLockError::WouldBlock) => return Err(EnrolError::Busy),
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
        }
    }
}

/// What waits for an answer.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pending {
    code: String,
}

#[derive(Serialize)]
struct Request<'a> {
    code_id: &'a str,
    entry0: String,
    checkpoint: &'a str,
    mac: String,
    log_vkey: String,
}

#[derive(Deserialize)]
struct Answer {
    token: String,
    witness_vkey: String,
}

/// Whether a code was given whose answer has not come.
#[must_use]
pub fn is_pending(data_dir: &Path) -> bool {
    data_dir.join(PENDING).exists()
}

/// Keeps a code for the running gateway (or the next start) to enrol with.
///
/// # Errors
///
/// [`EnrolError`].
pub fn keep_code(data_dir: &Path, code: &str) -> Result<(), EnrolError> {
    EnrolmentCode::parse(code)?;
    if Enrolment::load(data_dir)?.is_some() && accepted(data_dir) {
        return Err(EnrolError::Enrolled);
    }
    let pending = Pending {
        code: code.trim().to_owned(),
    };
    let text = serde_json::to_vec(&pending).map_err(std::io::Error::other)?;
    durable::write_file(&data_dir.join(PENDING), &text, Access::Owner)?;
    Ok(())
}

/// Enrols with the kept code. `first` is entry 0 with its checkpoint. The turn says that nobody else
/// does; where somebody has while it was waited for, that is the enrolment.
///
/// May be repeated at any time: the request is the same until the answer is stored.
///
/// # Errors
///
/// [`EnrolError`]; after a permanent refusal the code is forgotten.
pub async fn enrol(
    _turn: &Turn,
    data_dir: &Path,
    origin: &Origin,
    log_vkey: &Vkey,
    first: &Row,
    config: &CollectorConfig,
    clock: Arc<dyn Clock>,
) -> Result<Enrolment, EnrolError> {
    let code = match pending(data_dir) {
        Err(EnrolError::NothingPending) => {
            return Enrolment::load(data_dir)?.ok_or(EnrolError::NothingPending);
        }
        other => other?,
    };
    let collector = Collector::new(config, origin, Some(code.pin), None, clock)?;
    let body = request(&code, log_vkey, first)?;
    let answer: Answer = match collector.enrol(body).await {
        Ok(answer) => answer,
        Err(error) => {
            if error.is_permanent() {
                durable::remove_file(&data_dir.join(PENDING))?;
            }
            return Err(error.into());
        }
    };
    let enrolment = keep(data_dir, config, &code, answer)?;
    // Should the process die here, the next start finds both and the enrolment wins.
    durable::remove_file(&data_dir.join(PENDING))?;
    Ok(enrolment)
}

/// Whether the collector ever acknowledged something, so that the token is known to be good.
#[must_use]
pub fn accepted(data_dir: &Path) -> bool {
    *Outcome::load(data_dir).acknowledged.borrow() > 0
}

/// The token is good: the code is not needed any more. Costs nothing where it is gone.
///
/// # Errors
///
/// What the file system refused; called again at the next acknowledgement.
pub fn forget_code(data_dir: &Path) -> std::io::Result<()> {
    durable::remove_file(&data_dir.join(PENDING))
}

/// The code that waits for its answer.
fn pending(data_dir: &Path) -> Result<EnrolmentCode, EnrolError> {
    let path = data_dir.join(PENDING);
    let Some(bytes) = durable::read_file(&path)? else {
        return Err(EnrolError::NothingPending);
    };
    let pending: Pending = serde_json::from_slice(&bytes)
        .map_err(|_bad| EnrolError::Damaged(path.display().to_string()))?;
    EnrolmentCode::parse(&pending.code)
}

/// What the collector is told, by network or by file.
fn request(code: &EnrolmentCode, log_vkey: &Vkey, first: &Row) -> Result<Vec<u8>, EnrolError> {
    let checkpoint = String::from_utf8_lossy(&first.checkpoint);
    let request = Request {
        code_id: &code.id,
        entry0: STANDARD.encode(&first.entry),
        checkpoint: &checkpoint,
        mac: code.mac(&first.entry),
        log_vkey: log_vkey.to_string(),
    };
    Ok(serde_json::to_vec_pretty(&request).map_err(std::io::Error::other)?)
}

/// Keeps what the collector answered.
fn keep(
    data_dir: &Path,
    config: &CollectorConfig,
    code: &EnrolmentCode,
    answer: Answer,
) -> Result<Enrolment, EnrolError> {
    let enrolment = Enrolment {
        url: config.url.clone(),
        spki_sha256: hex::encode(code.pin.0),
        token: answer.token,
        witness_vkey: answer.witness_vkey,
    };
    enrolment.witness()?;
    if enrolment.token.is_empty() || enrolment.token.chars().any(|c| !c.is_ascii_graphic()) {
        return Err(EnrolError::Answer(String::from(
            "its token is not printable ASCII",
        )));
    }
    let text = serde_json::to_vec_pretty(&enrolment).map_err(std::io::Error::other)?;
    durable::write_file(&data_dir.join(ENROLMENT), &text, Access::Owner)?;
    Ok(enrolment)
}

#[cfg(test)]
mod tests {
    use super::{Enrolment, EnrolmentCode, is_pending, keep_code};

    const CODE: &str = "fs1.0a1b2c3d.000102030405060708090a0b0c0d0e0f.\
                        AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

    #[test]
    fn a_code_is_read_and_its_mac_is_hmac_sha256() {
        let code = EnrolmentCode::parse(&format!("  {CODE}\n")).unwrap();
        assert_eq!(code.id, "0a1b2c3d");
        assert_eq!(code.pin.0[31], 0x1f);
        let shown = format!("{code:?}");
        assert!(
            shown.contains("0a1b2c3d") && !shown.contains("0, 1, 2, 3, 4"),
            "{shown}"
        );
        // Computed with Python's hmac module.
        assert_eq!(
            code.mac(b"entry 0"),
            "6bb9b68a69ecc6b536d118ead579fe57ac1070822063f5412e660031ed375089"
        );
    }

    #[test]
    fn a_mistyped_code_says_which_part() {
        for (code, part) in [
            ("fs2.0a1b2c3d.00.AA", "fs1.ID"),
            ("fs1.0A1B2C3D.000102030405060708090a0b0c0d0e0f.AA", "second"),
            ("fs1.0a1b2c3d.0001.AA", "third"),
            ("fs1.0a1b2c3d.000102030405060708090a0b0c0d0e0f.AA", "last"),
        ] {
            let error = EnrolmentCode::parse(code).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_code_waits_for_its_answer_in_a_file_of_the_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        keep_code(dir.path(), CODE).unwrap();
        assert!(is_pending(dir.path()));
        let path = dir.path().join("enrolment.pending.json");
        assert_eq!(
            std::fs::metadata(path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(Enrolment::load(dir.path()).unwrap(), None);
    }
}
