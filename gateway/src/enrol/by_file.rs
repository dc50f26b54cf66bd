//! Enrolment without a network: the request and its answer travel as files.
//!
//! The trust is that of the network. The request is the one that would have been sent: its HMAC under
//! the code's secret proves to the collector that who wrote it was given the code. Where TLS and the
//! pinned key would prove the collector, the answer carries an HMAC under the same secret over every
//! field and the log it is for. Whoever carries the files can lose them, but not alter them.

use std::path::Path;

use evidence::hash::Origin;
use evidence::note::Vkey;
use ring::hmac;
use serde::Deserialize;

use super::{Answer, EnrolError, Enrolment, EnrolmentCode, accepted, keep, pending, request};
use crate::buffer::Row;
use crate::config::CollectorConfig;
use crate::durable::{self, Access};

/// What the collector's operator sends back.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerFile {
    token: String,
    witness_vkey: String,
    log_id: String,
    mac: String,
}

/// Writes the enrolment request for the kept code. `first` is entry 0 with its checkpoint.
///
/// # Errors
///
/// [`EnrolError::NothingPending`] without a code; what the file system refused.
pub fn request_file(
    data_dir: &Path,
    log_vkey: &Vkey,
    first: &Row,
    to: &Path,
) -> Result<(), EnrolError> {
    let code = pending(data_dir)?;
    let text = request(&code, log_vkey, first)?;
    durable::write_file(to, &text, Access::Owner)?;
    Ok(())
}

/// Takes the collector's answer in, if it was made for this log by who knows the code. The code is kept
/// until the collector's first acknowledgement, in case this was not its newest answer.
///
/// # Errors
///
/// [`EnrolError::Forged`] and nothing is changed; what the file system refused.
pub fn accept_answer(
    data_dir: &Path,
    origin: &Origin,
    config: &CollectorConfig,
    from: &Path,
) -> Result<Enrolment, EnrolError> {
    // The collector gives another token each time it takes the request in, and only the newest is good:
    // until one was accepted, a newer answer replaces an older.
    let before = Enrolment::load(data_dir)?;
    if before.is_some() && accepted(data_dir) {
        return Err(EnrolError::Enrolled);
    }
    let code = match pending(data_dir) {
        Err(EnrolError::NothingPending) if before.is_some() => return Err(EnrolError::Enrolled),
        other => other?,
    };
    let path = from.display().to_string();
    let forged = |why| EnrolError::Forged {
        path: path.clone(),
        why,
    };
    let bytes = std::fs::read(from)?;
    let file: AnswerFile =
        serde_json::from_slice(&bytes).map_err(|_bad| forged("it has another form"))?;
    if !code.vouches_for(&file) {
        return Err(forged(
            "it was made for another code, or altered on the way",
        ));
    }
    if file.log_id != origin.id().to_hex() {
        return Err(forged("it is for another log"));
    }
    if before.is_some_and(|before| before.token == file.token) {
        return Err(EnrolError::Enrolled);
    }
    let answer = Answer {
        token: file.token,
        witness_vkey: file.witness_vkey,
    };
    keep(data_dir, config, &code, answer)
}

impl EnrolmentCode {
    fn vouches_for(&self, file: &AnswerFile) -> bool {
        let Ok(mac) = hex::decode(&file.mac) else {
            return false;
        };
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.secret);
        // No field can hold a line break: the token and key are checked, the id is compared.
        let said = format!(
            "fieldseal enrolment answer\n{}\n{}\n{}\n",
            file.log_id, file.token, file.witness_vkey
        );
        // ring compares in constant time.
        hmac::verify(&key, said.as_bytes(), &mac).is_ok()
    }
}
