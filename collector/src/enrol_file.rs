//! Enrolment by file: for a gateway whose site has no network yet.
//!
//! The request is what the network would have carried and is judged by the same code. The answer
//! carries an HMAC under the enrolment code's secret over every field, in place of the TLS key that
//! the gateway would have pinned.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use ring::hmac;
use serde::Serialize;
use store::Store;

use crate::answer::Answer;
use crate::clock::Clock;
use crate::config::Config;
use crate::cosigner::Cosigner;
use crate::enrol::Request;
use crate::server::{Collector, know_cosigner, right_clock};

/// What the gateway takes in with `fieldseal-gateway enroll --from FILE`.
#[derive(Serialize)]
struct AnswerFile {
    token: String,
    witness_vkey: String,
    log_id: String,
    mac: String,
}

/// Enrols the log of a request file, and returns the answer file's text.
///
/// May be repeated with the same request: the gateway is enrolled still, the answer has a fresh token
/// and the one before is void. Works beside a running collector.
///
/// # Errors
///
/// The request is malformed or refused, in the words a gateway would be told; the store's.
pub(crate) async fn enrol_file(
    config: &Config,
    request: &[u8],
    clock: Arc<dyn Clock>,
) -> anyhow::Result<String> {
    let request: Request = serde_json::from_slice(request).context(
        "this is no enrolment request; `fieldseal-gateway enroll CODE --to FILE` writes one",
    )?;
    right_clock(&*clock)?;
    let cosigner = Cosigner::load(&config.cosigner_key_file)?;
    let store = Store::open(&config.store.url()?).await?;
    know_cosigner(&store, &cosigner).await?;
    let collector = Collector::new(store.clone(), cosigner, clock, config.limits);
    let outcome = collector.enrol(&request).await;
    let code = store.code(request.code_id()).await?;
    store.close().await;
    let response = match outcome {
        Ok(response) => response,
        Err(Answer::Refused { reason, .. } | Answer::Later { reason, .. }) => bail!(reason),
        Err(Answer::SizeIs(_) | Answer::Failed) => bail!("the store failed; the log says how"),
    };
    // Enrolled, so the code is there.
    let code = code.context("the code is gone")?;
    let (token, witness_vkey, log_id) = response.into_parts();
    let said = format!("fieldseal enrolment answer\n{log_id}\n{token}\n{witness_vkey}\n");
    let key = hmac::Key::new(hmac::HMAC_SHA256, &code.secret);
    let file = AnswerFile {
        mac: hex::encode(hmac::sign(&key, said.as_bytes())),
        token,
        witness_vkey,
        log_id,
    };
    Ok(format!("{}\n", serde_json::to_string_pretty(&file)?))
}
