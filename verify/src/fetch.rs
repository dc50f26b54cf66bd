//! Downloading a bundle, in as many attempts as it takes. The only module here that opens a connection
//! to a server, and nothing of what it receives is believed: the verifier checks the file afterwards.
//!
//! Crash: what arrived is in `FILE.part`, what it is a part of in `FILE.part.json`, written before the
//! first byte. The name `FILE` is given only to a whole file that was synced.

mod transfer;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use ring::digest::{Context, SHA256};
use serde_json::json;

use crate::Progress;
use crate::args::FetchArgs;
use crate::durable;
use crate::print::number;
use transfer::{Server, Stated, Stop};

/// The form of the JSON.
const FORMAT: &str = "fieldseal-fetch/1";

/// What came of it.
#[derive(Debug)]
struct Fetched {
    bytes: u64,
    sha256: String,
    /// How much an earlier attempt had left.
    resumed_from: u64,
    /// Whether the server stated the same length and hash; none when it states no hash of these bytes.
    compared: Option<bool>,
}

/// Runs the command and writes what came of it to `out`; the exit code.
///
/// # Errors
/// Only when `out` cannot be written.
pub fn run(args: &FetchArgs, out: &mut dyn Write, progress: Progress<'_>) -> std::io::Result<u8> {
    let (exit, text, json) = match fetch(args, progress) {
        Ok(fetched) => told(args, &fetched),
        Err(Stop::Broken(error)) => {
            let text = format!("broken off: {error:#}; run the same command again to go on");
            (3, text.clone(), json!({ "error": text }))
        }
        Err(Stop::Mistake(error)) => {
            let text = format!("error: {error:#}");
            (6, text.clone(), json!({ "error": text }))
        }
    };
    if args.json {
        let mut json = json;
        json["format"] = FORMAT.into();
        json["exit"] = exit.into();
        serde_json::to_writer_pretty(&mut *out, &json)?;
        writeln!(out)?;
    } else {
        writeln!(out, "{text}")?;
    }
    Ok(exit)
}

fn told(args: &FetchArgs, fetched: &Fetched) -> (u8, String, serde_json::Value) {
    let file = args.out.display().to_string();
    let mut text = format!(
        "{file}\n{} bytes, sha256 {}\n",
        number(fetched.bytes),
        fetched.sha256
    );
    if fetched.resumed_from > 0 {
        text += &format!("went on from byte {}\n", number(fetched.resumed_from));
    }
    text += match fetched.compared {
        Some(true) => "length and hash are those the server states\n",
        Some(false) => "NOT what the server states; the file is kept as it arrived\n",
        None => "the server states no hash of these bytes; the verifier checks them anyway\n",
    };
    text += &format!("next: fieldseal-verify bundle {file} --plan … --policy …");
    let json = json!({
        "file": file,
        "bytes": fetched.bytes,
        "sha256": fetched.sha256,
        "resumed_from": fetched.resumed_from,
        "compared": fetched.compared,
    });
    (
        if fetched.compared == Some(false) {
            2
        } else {
            0
        },
        text,
        json,
    )
}

fn fetch(args: &FetchArgs, progress: Progress<'_>) -> Result<Fetched, Stop> {
    if args.out.exists() {
        return Err(Stop::Mistake(anyhow::anyhow!(
            "{} exists already; name another file or remove it",
            args.out.display()
        )));
    }
    let server = Server::new(args).map_err(Stop::Mistake)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Stop::Mistake(error.into()))?;
    runtime.block_on(attempts(args, &server, progress))
}

async fn attempts(
    args: &FetchArgs,
    server: &Server,
    progress: Progress<'_>,
) -> Result<Fetched, Stop> {
    let part = durable::beside(&args.out, ".part");
    let mut resumed_from = None;
    let mut left = args.retries;
    let mut pause = Duration::from_secs(1);
    let stated = loop {
        match transfer::attempt(server, &part, &mut resumed_from, progress).await {
            Ok(stated) => break stated,
            Err(Stop::Broken(error)) if left > 0 => {
                left -= 1;
                say_why(&error, pause);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(30));
            }
            Err(stop) => return Err(stop),
        }
    };
    finish(args, server, part, &stated, resumed_from.unwrap_or(0)).await
}

/// Says on standard error why there is a pause.
fn say_why(error: &anyhow::Error, pause: Duration) {
    let line = format!("{error:#}; trying again in {} s\n", pause.as_secs());
    // Nobody may be reading; that is no reason to stop.
    drop(std::io::stderr().write_all(line.as_bytes()));
}

/// The part is whole: its hash, what the server says about it, and its name.
async fn finish(
    args: &FetchArgs,
    server: &Server,
    part: PathBuf,
    stated: &Stated,
    resumed_from: u64,
) -> Result<Fetched, Stop> {
    let mistake = |error: anyhow::Error| Stop::Mistake(error);
    let (bytes, sha256) = hash(&part).map_err(mistake)?;
    let compared = server
        .hash_of(stated)
        .await
        .map(|hash| hash == (bytes, sha256.clone()));
    let placed = || -> anyhow::Result<()> {
        std::fs::File::open(&part)?.sync_all()?;
        durable::rename(&part, &args.out)?;
        std::fs::remove_file(durable::beside(&part, ".json"))?;
        Ok(())
    };
    placed()
        .with_context(|| format!("giving {} its name", args.out.display()))
        .map_err(mistake)?;
    Ok(Fetched {
        bytes,
        sha256,
        resumed_from,
        compared,
    })
}

/// Length and hash of a file.
fn hash(path: &std::path::Path) -> anyhow::Result<(u64, String)> {
    use std::io::Read as _;
    let mut file = std::fs::File::open(path)?;
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0_u64;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((bytes, hex::encode(context.finish())));
        }
        context.update(buffer.get(..read).unwrap_or_default());
        bytes += u64::try_from(read).unwrap_or(u64::MAX);
    }
}
