//! `fieldseal-verify witness`: an independent witness (C2SP tlog-witness) that a verifier's body, a
//! registry or any third party runs.
//!
//! It sees sizes and roots, never readings. It holds one size and root per log and cosigns a new one
//! only with the proof that it continues the held one; what it decides is `evidence::witness`, what it
//! stores is [`state`]. Everything arrives as a value: [`server::serve`] takes the listener, the clock
//! and the shutdown, so that tests start the real thing.
//!
//! Network and SQL exist in this module (and in `fetch`) and nowhere else in this program: the check of
//! a bundle uses neither.

pub mod clock;
pub mod key;
pub mod server;
pub mod state;

mod rates;
mod status;
mod tls;

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use evidence::hash::Origin;
use evidence::note::{SignatureKind, Vkey};

use crate::args::{LogAction, WitnessAction, WitnessArgs};
use clock::{Clock as _, SystemClock};
use server::Settings;
use state::{Added, State};

/// The key's file in the directory of a witness.
pub const KEY_FILE: &str = "witness.key";
/// The state's file in the directory of a witness.
pub const STATE_FILE: &str = "witness.db";

/// Carries out a command and returns what it prints; `run` returns when it was stopped.
///
/// # Errors
/// What went wrong, with its causes and the remedy.
pub async fn run(args: &WitnessArgs) -> anyhow::Result<String> {
    let now_s = SystemClock.now_ms() / 1000;
    match &args.action {
        WitnessAction::Init { directory, name } => init(directory, name, now_s).await,
        WitnessAction::Run(run) => {
            let listener = std::net::TcpListener::bind(run.listen).with_context(|| {
                format!("cannot listen on {}; choose another --listen", run.listen)
            })?;
            let settings = Settings {
                tls: run
                    .tls_certificate
                    .as_deref()
                    .zip(run.tls_key.as_deref())
                    .map(|(certificate, key)| tls::load(certificate, key))
                    .transpose()?,
                per_minute: run.per_minute,
            };
            let (state, key) = open(&run.directory).await?;
            server::serve(
                state,
                key,
                settings,
                listener,
                Arc::new(SystemClock),
                stop_signal()?,
            )
            .await?;
            Ok(String::new())
        }
        WitnessAction::Log { action } => match action {
            LogAction::Add {
                key,
                origin,
                directory,
            } => add_log(directory, key, origin.as_deref(), now_s).await,
            LogAction::List { directory } => {
                let (state, _key) = open(directory).await?;
                list(&state).await
            }
        },
        WitnessAction::Status { directory, json } => {
            let (state, key) = open(directory).await?;
            let report = status::Report::read(&state, key.vkey(), now_s).await?;
            state.close().await;
            Ok(if *json {
                format!("{}\n", serde_json::to_string_pretty(&report)?)
            } else {
                report.text()
            })
        }
    }
}

/// Opens what `init` made. A witness never begins anew by itself: without its state it would cosign
/// a second history of every log.
async fn open(directory: &Path) -> anyhow::Result<(State, evidence::cosigner::Cosigner)> {
    let key = key::load(&directory.join(KEY_FILE))?;
    let state = State::open(&directory.join(STATE_FILE), key.vkey()).await?;
    Ok((state, key))
}

async fn init(directory: &Path, name: &str, now_s: i64) -> anyhow::Result<String> {
    std::fs::create_dir_all(directory)
        .with_context(|| format!("cannot make the directory {}", directory.display()))?;
    // The key first: without it there is no state that could belong to it. Dying in between leaves a
    // key that never signed anything; the message of the next `init` says to remove it.
    let key = key::create(&directory.join(KEY_FILE), name)?;
    let state = State::create(&directory.join(STATE_FILE), key.vkey(), now_s).await?;
    state.close().await;
    let shown = directory.display();
    Ok(format!(
        "made      {shown}/{KEY_FILE} (private) and {shown}/{STATE_FILE}\n\
         your key  {vkey}\n\n\
         Give this key line to the operator of each collector and to every verifier.\n\
         Next, for each log, with the key from its commissioning record:\n  \
         fieldseal-verify witness log add KEY --directory {shown}\n  \
         fieldseal-verify witness run --directory {shown}\n\n\
         Back up {KEY_FILE} once, offline. Never restore an old copy of {STATE_FILE}: this\n\
         witness would sign again from there, also another history.\n",
        vkey = key.vkey()
    ))
}

async fn add_log(
    directory: &Path,
    text: &str,
    origin: Option<&str>,
    now_s: i64,
) -> anyhow::Result<String> {
    let vkey = Vkey::parse(text.trim())?;
    anyhow::ensure!(
        vkey.kind() == SignatureKind::Ed25519,
        "`{}` is a witness's key (type 04); a log is added with its own key (type 01), which is in its commissioning record",
        vkey.name()
    );
    let origin = Origin::parse(origin.unwrap_or(vkey.name()))?;
    let (state, _key) = open(directory).await?;
    let added = state.add_log(&origin, &vkey, now_s).await?;
    state.close().await;
    let id = origin.id();
    Ok(match added {
        Added::Log => format!(
            "added     {origin}\nshown at  /{id}/checkpoint once it was cosigned\n\
             A running witness knows it at once.\n"
        ),
        Added::Key => {
            format!("added     a further key of {origin}; what is held of this log stays\n")
        }
        Added::Nothing => format!("known     {origin} with this key already; nothing changed\n"),
    })
}

async fn list(state: &State) -> anyhow::Result<String> {
    let mut text = String::new();
    for log in state.logs().await? {
        for key in state.keys(&log.origin).await? {
            writeln!(text, "{key}")?;
        }
    }
    state.close().await;
    if text.is_empty() {
        text.push_str("no log yet; `fieldseal-verify witness log add KEY` adds one\n");
    }
    Ok(text)
}

/// Ready at SIGTERM or Ctrl-C.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate()).context("wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("wait for Ctrl-C")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
