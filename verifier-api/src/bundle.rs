//! The evidence bundle of a report, streamed: never whole in memory, whatever the period.

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use evidence::bundle::{BundleError, BundleWriter, ControlPart, LogParts, entries_bytes};
use evidence::entry::{Body as EntryBody, Entry};
use evidence::hash::Origin;
use store::{LogId, LogRef, Row, Store};
use tokio::sync::mpsc;

use crate::app::{App, Shared};
use crate::auth::{Caller, Scope};
use crate::facts::{Facts, control_rows};
use crate::nodes;
use crate::problem::{Answer, Asked, Problem, asked};
use crate::reports::{Pinned, VersionQuery, stored};

/// Entries fetched at once.
const PAGE: u32 = 256;
/// Pieces on their way to a slow reader.
const PIECES_AHEAD: usize = 2;

/// The evidence bundle of a report: everything a verifier needs but his trust.
#[utoipa::path(get, path = "/v1/projects/{project}/reports/{report}/bundle.tar", tag = "reports",
    params(("project" = String, Path, description = "The project's id"),
        ("report" = String, Path, description = "The report's id"), VersionQuery),
    responses((status = 200, body = Vec<u8>, content_type = "application/x-tar",
            description = "One uncompressed tar; a broken transfer is an error of the connection"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn bundle(
    State(app): State<Shared>,
    caller: Caller,
    scope: Scope,
    Path((_project, id)): Path<(String, String)>,
    query: Asked<VersionQuery>,
) -> Answer<Response> {
    let query = asked(query)?;
    let report = stored(&app, &scope, &id, query.version).await?;
    let version = report.summary.version;
    let plans = app.store.plans(scope.id()).await?;
    let plan = plans
        .into_iter()
        .find(|plan| plan.hash == report.summary.plan_hash);
    let plan = plan.ok_or_else(|| Problem::internal(&"the report's plan is not in the store"))?;
    let pinned: Vec<Pinned> =
        serde_json::from_str(&report.summary.pinned).map_err(|error| Problem::internal(&error))?;
    let mut logs = Vec::new();
    for pinned in &pinned {
        let log = open_log(&app, pinned).await?;
        let what = format!("bundle of report {id} version {version}");
        app.note_access(caller.who(), log.at.site, Some(log.at), what)
            .await?;
        logs.push(log);
    }
    // The order in which a bundle has them.
    logs.sort_by_key(|log| log.parts.origin.id());

    let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
    let store = app.store.clone();
    tokio::spawn(async move {
        let written = write(&store, &plan.text, &report.body, &logs, &sender).await;
        if let Err(problem) = written {
            tracing::warn!("a bundle broke off: {}", problem.detail());
            // Breaks the connection, so that nobody takes the part for the whole.
            let broken = std::io::Error::other("the bundle broke off");
            drop(sender.send(Err(broken)).await);
        }
    });
    let body = Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(receiver));
    let mut response = ([(header::CONTENT_TYPE, "application/x-tar")], body).into_response();
    let name = format!(
        "attachment; filename=\"{}-{id}-v{version}.tar\"",
        scope.id()
    );
    if let Ok(name) = HeaderValue::from_str(&name) {
        response
            .headers_mut()
            .insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

/// A log's part of the bundle: the small things, and which entries.
struct LogPart {
    at: LogRef,
    indices: std::ops::Range<u64>,
    parts: LogParts,
    facts: Facts,
}

async fn open_log(app: &App, pinned: &Pinned) -> Answer<LogPart> {
    let store = &app.store;
    let gone = || Problem::internal(&format!("log {} is not in the store", pinned.origin));
    let id = LogId::from_hex(&pinned.log).ok_or_else(gone)?;
    let (at, _token) = store.locate(id).await?.ok_or_else(gone)?;
    let log = store.log(at).await?.ok_or_else(gone)?;
    let origin = Origin::parse(&log.origin).map_err(|error| Problem::internal(&error))?;
    let rows = control_rows(store, &log, pinned.size).await?;
    let facts = Facts::of_rows(log, &rows)?;
    let mut controls = Vec::new();
    for row in rows {
        controls.push(ControlPart {
            index: row.index,
            proof: nodes::proof(store, at, row.index, pinned.size).await?,
            entry: row.entry,
            body: row.payload,
        });
    }
    let (entries, payload_bytes) = lengths(store, &facts, pinned).await?;
    Ok(LogPart {
        at,
        indices: pinned.first..pinned.size,
        parts: LogParts {
            origin,
            checkpoint: checkpoint(store, at, pinned).await?,
            start: nodes::range(store, at, pinned.first).await?,
            controls,
            trail: trail(store, at, pinned).await?,
            entries_bytes: entries,
            payload_bytes,
        },
        facts,
    })
}

/// The best note of the pinned size: the head's, or the kept one with the most signatures.
async fn checkpoint(store: &Store, at: LogRef, pinned: &Pinned) -> Answer<Vec<u8>> {
    let kept = store
        .trail_notes_by_size(at, pinned.size, pinned.size)
        .await?;
    let mut notes: Vec<Vec<u8>> = kept.into_iter().map(|kept| kept.note).collect();
    if let Some(head) = store
        .head(at)
        .await?
        .filter(|head| head.log.size == pinned.size)
    {
        notes.push(head.note);
    }
    let mut merged: Option<evidence::note::Note> = None;
    for note in &notes {
        let note = evidence::note::Note::parse(note).map_err(|error| Problem::internal(&error))?;
        match &mut merged {
            None => merged = Some(note),
            Some(merged) => {
                merged.merge(&note);
            }
        }
    }
    if let Some(note) = merged {
        return Ok(note.to_bytes());
    }
    let detail = format!(
        "the checkpoint of size {} of log {} that this report was pinned to was not kept; make the \
         report again",
        pinned.size, pinned.origin
    );
    Err(Problem::conflict(detail))
}

/// Cosigned notes of the entries, and the newest two before them, which the first entries pin.
async fn trail(store: &Store, at: LogRef, pinned: &Pinned) -> Answer<Vec<Vec<u8>>> {
    const NEAR: u64 = 4096;
    let mut before = Vec::new();
    if let Some(last) = pinned.first.checked_sub(1) {
        before = store
            .trail_notes_by_size(at, pinned.first.saturating_sub(NEAR), last)
            .await?;
        if before.len() < 2 {
            before = store.trail_notes_by_size(at, 0, last).await?;
        }
    }
    let skip = before.len().saturating_sub(2);
    let within = store
        .trail_notes_by_size(at, pinned.first, pinned.size)
        .await?;
    Ok(before
        .into_iter()
        .skip(skip)
        .chain(within)
        .map(|kept| kept.note)
        .collect())
}

/// The payload that an entry signs, unless it was declared dropped.
fn payload_bytes(facts: &Facts, row: &Row) -> Answer<u64> {
    let signed =
        Entry::parse(&row.entry).map_err(|error| facts.damaged(row.index, error.to_string()))?;
    match &signed.entry.body {
        EntryBody::Data { payload, .. } if !facts.is_dropped(row.index) => Ok(payload.bytes),
        _ => Ok(0),
    }
}

/// The lengths of `entries.bin` and `payload.bin`, which a tar states before their contents.
async fn lengths(store: &Store, facts: &Facts, pinned: &Pinned) -> Answer<(u64, u64)> {
    let (mut entries, mut payload) = (0_u64, 0_u64);
    let mut next = pinned.first;
    while next < pinned.size {
        let rows = page(store, facts, next..pinned.size, false).await?;
        for row in &rows {
            let length = u64::try_from(row.entry.len()).unwrap_or(u64::MAX);
            entries = entries.saturating_add(entries_bytes([length]));
            payload = payload.saturating_add(payload_bytes(facts, row)?);
            next = row.index + 1;
        }
    }
    Ok((entries, payload))
}

async fn page(
    store: &Store,
    facts: &Facts,
    indices: std::ops::Range<u64>,
    payloads: bool,
) -> Answer<Vec<Row>> {
    let first = indices.start;
    let rows = store.rows(facts.log.log, indices, PAGE, payloads).await?;
    if rows.is_empty() {
        return Err(facts
            .damaged(first, "it is not in the store".to_owned())
            .into());
    }
    Ok(rows)
}

type Sender = mpsc::Sender<Result<Bytes, std::io::Error>>;
type Writer = BundleWriter<Vec<u8>>;

fn failed(error: &BundleError) -> Problem {
    Problem::internal(&crate::problem::chain_text(error))
}

/// Hands on what was written so far; `false` when the reader went away.
async fn flush(writer: &mut Writer, sender: &Sender) -> bool {
    let bytes = std::mem::take(writer.sink());
    bytes.is_empty() || sender.send(Ok(Bytes::from(bytes))).await.is_ok()
}

async fn write(
    store: &Store,
    plan: &str,
    report: &[u8],
    logs: &[LogPart],
    sender: &Sender,
) -> Answer<()> {
    let mut writer = BundleWriter::begin(Vec::new(), plan.as_bytes(), Some(report))
        .map_err(|error| failed(&error))?;
    for log in logs {
        writer.log(&log.parts).map_err(|error| failed(&error))?;
        for payloads in [false, true] {
            let mut next = log.indices.start;
            while next < log.indices.end {
                let rows = page(store, &log.facts, next..log.indices.end, payloads).await?;
                for row in &rows {
                    next = row.index + 1;
                    put(&mut writer, &log.facts, row, payloads)?;
                }
                if !flush(&mut writer, sender).await {
                    return Ok(());
                }
            }
        }
    }
    let rest = writer.finish().map_err(|error| failed(&error))?;
    // A reader that went away needs no end.
    drop(sender.send(Ok(Bytes::from(rest))).await);
    Ok(())
}

fn put(writer: &mut Writer, facts: &Facts, row: &Row, payloads: bool) -> Answer<()> {
    if !payloads {
        return writer.entry(&row.entry).map_err(|error| failed(&error));
    }
    if payload_bytes(facts, row)? == 0 {
        return Ok(());
    }
    match &row.payload {
        Some(payload) => writer.payload(payload).map_err(|error| failed(&error)),
        None => {
            let why = "its payload is missing and was not declared dropped";
            Err(facts.damaged(row.index, why.to_owned()).into())
        }
    }
}
