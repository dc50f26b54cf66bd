//! The evidence bundle of a report, streamed: never whole in memory, whatever the period.
//!
//! A bundle is named by its bytes (`ETag`), so a transfer that broke continues where it stopped. What
//! is shown of the readings is asked for by class; participants get the plan's points unless they ask
//! for something else.

mod entered;
mod range;
mod stream;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use evidence::bundle::{ControlPart, Disclosure, LogParts};
use evidence::hash::Origin;
use quantification::plan::Plan;
use serde::{Deserialize, Serialize};
use store::{LogId, LogRef, Store};
use tokio::sync::mpsc;
use utoipa::ToSchema;

use crate::app::{App, Shared};
use crate::auth::{Caller, Scope};
use crate::facts::{Facts, control_rows};
use crate::nodes;
use crate::plan::is_known;
use crate::problem::{Answer, Asked, Problem, asked};
use crate::reports::{Pinned, stored};
use crate::role::Role;
use range::Part;
use stream::{Extent, Front};

/// Pieces on their way to a slow reader.
const PIECES_AHEAD: usize = 2;

/// Which bundle.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct BundleQuery {
    /// The report's version; without it the newest.
    version: Option<u64>,
    /// What of the readings is shown: `A` every point, `B` the listed points and of all others hashes,
    /// `C` no reading. Order, completeness and time are proven in each. Without it `A`; for
    /// participants `B` with the plan's points.
    disclosure: Option<String>,
    /// With `B`: names of points as sealed, separated by commas; without it those that the plan uses.
    points: Option<String>,
}

/// The whole bundle as it would be sent, for whoever has received it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct BundleHash {
    /// Its bytes.
    length: u64,
    /// SHA-256 of them, hexadecimal.
    sha256: String,
    /// The tag of the bytes, as `ETag` of the bundle.
    etag: String,
}

/// A bundle, opened: everything small is at hand.
struct Opened {
    front: Front,
    logs: Vec<LogPart>,
    length: u64,
    tag: String,
    version: u64,
}

/// The evidence bundle of a report: everything a verifier needs but his trust.
#[utoipa::path(get, path = "/v1/projects/{project}/reports/{report}/bundle.tar", tag = "reports",
    params(("project" = String, Path, description = "The project's id"),
        ("report" = String, Path, description = "The report's id"), BundleQuery),
    responses((status = 200, body = Vec<u8>, content_type = "application/x-tar",
            description = "One uncompressed tar; a broken transfer is an error of the connection, and \
                goes on with `Range` and `If-Range`"),
        (status = 206, body = Vec<u8>, content_type = "application/x-tar",
            description = "The bytes asked for"),
        (status = 304, description = "As the caller has it"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 416, body = Problem, content_type = "application/problem+json",
            description = "The bundle ends before these bytes")))]
pub(crate) async fn bundle(
    State(app): State<Shared>,
    caller: Caller,
    scope: Scope,
    Path((_project, id)): Path<(String, String)>,
    query: Asked<BundleQuery>,
    headers: HeaderMap,
) -> Answer<Response> {
    let query = asked(query)?;
    let opened = open(&app, &caller, &scope, &id, &query).await?;
    let (length, tag) = (opened.length, opened.tag.clone());
    let part = range::part(&headers, &tag, length);
    let (status, window) = match part {
        _ if is_known(&headers, &tag) => (StatusCode::NOT_MODIFIED, 0..0),
        Part::Whole => (StatusCode::OK, 0..length),
        Part::Bytes(window) => (StatusCode::PARTIAL_CONTENT, window),
        Part::Outside => (StatusCode::RANGE_NOT_SATISFIABLE, 0..0),
    };
    let mut response = if window.is_empty() {
        status.into_response()
    } else {
        let class = opened
            .logs
            .first()
            .map_or('A', |log| log.parts.disclosure.class());
        let version = opened.version;
        for log in &opened.logs {
            let from = if window.start > 0 {
                format!(", from byte {}", window.start)
            } else {
                String::new()
            };
            let what = format!("bundle of report {id} version {version}, class {class}{from}");
            app.note_access(caller.who(), log.at.site, Some(log.at), what)
                .await?;
        }
        if let Some(entered) = &opened.front.entered {
            let what = format!("project log in the bundle of report {id} version {version}");
            app.note_access(caller.who(), entered.at.site, Some(entered.at), what)
                .await?;
        }
        let name = format!("{}-{id}-v{version}.tar", scope.id());
        let mut response = (
            status,
            [(header::CONTENT_TYPE, "application/x-tar")],
            body(&app, opened, window.clone()),
        )
            .into_response();
        let name = format!("attachment; filename=\"{name}\"");
        put(&mut response, header::CONTENT_DISPOSITION, &name);
        put(
            &mut response,
            header::CONTENT_LENGTH,
            &(window.end - window.start).to_string(),
        );
        response
    };
    put(&mut response, header::ETAG, &tag);
    put(&mut response, header::ACCEPT_RANGES, "bytes");
    match status {
        StatusCode::PARTIAL_CONTENT => {
            let range = format!("bytes {}-{}/{length}", window.start, window.end - 1);
            put(&mut response, header::CONTENT_RANGE, &range);
        }
        StatusCode::RANGE_NOT_SATISFIABLE => {
            put(
                &mut response,
                header::CONTENT_RANGE,
                &format!("bytes */{length}"),
            );
        }
        _ => {}
    }
    Ok(response)
}

fn put(response: &mut Response, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// Length and hash of a bundle, for whoever has received it. Making them reads the whole bundle.
#[utoipa::path(get, path = "/v1/projects/{project}/reports/{report}/bundle.sha256", tag = "reports",
    params(("project" = String, Path, description = "The project's id"),
        ("report" = String, Path, description = "The report's id"), BundleQuery),
    responses((status = 200, body = BundleHash),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn hash(
    State(app): State<Shared>,
    caller: Caller,
    scope: Scope,
    Path((_project, id)): Path<(String, String)>,
    query: Asked<BundleQuery>,
) -> Answer<Json<BundleHash>> {
    let query = asked(query)?;
    // Whole logs are read: as many at once as reports are computed.
    let slot = app.jobs.slots.acquire().await;
    let opened = open(&app, &caller, &scope, &id, &query).await?;
    let (length, etag) = (opened.length, opened.tag.clone());
    let (sender, mut receiver) = mpsc::channel(PIECES_AHEAD);
    let store = app.store.clone();
    let writing = tokio::spawn(async move {
        stream::write(&store, &opened.front, &opened.logs, 0..length, &sender).await
    });
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let mut found = 0_u64;
    while let Some(piece) = receiver.recv().await {
        let piece = piece.map_err(|error| Problem::internal(&error))?;
        context.update(&piece);
        found = found.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
    }
    drop(slot);
    writing.await.map_err(|error| Problem::internal(&error))??;
    if found != length {
        return Err(Problem::internal(&"a bundle came out with another length"));
    }
    Ok(Json(BundleHash {
        length,
        sha256: hex::encode(context.finish()),
        etag,
    }))
}

async fn open(
    app: &App,
    caller: &Caller,
    scope: &Scope,
    id: &str,
    query: &BundleQuery,
) -> Answer<Opened> {
    let report = stored(app, scope, id, query.version).await?;
    let plans = app.store.plans(scope.id()).await?;
    let plan = plans
        .into_iter()
        .find(|plan| plan.hash == report.summary.plan_hash);
    let plan = plan.ok_or_else(|| Problem::internal(&"the report's plan is not in the store"))?;
    let pinned: Vec<Pinned> =
        serde_json::from_str(&report.summary.pinned).map_err(|error| Problem::internal(&error))?;
    let mut logs = Vec::new();
    for pinned in &pinned {
        let disclosure = disclosure(caller.role, query, &plan.text, &pinned.origin)?;
        logs.push(open_log(app, pinned, disclosure).await?);
    }
    if let Some(unknown) = unknown_point(query, &logs) {
        let problem = format!("no log of this report has sealed a point `{unknown}`");
        return Err(Problem::request(problem));
    }
    // The order in which a bundle has them.
    logs.sort_by_key(|log| log.parts.origin.id());
    let all = |log: &LogPart| log.parts.disclosure == Disclosure::All;
    let entered = entered::open(app, scope, logs.iter().all(all)).await?;
    let front = Front {
        plan: plan.text,
        report: report.body,
        entered,
    };
    let (length, tag) = stream::measure(&front, &logs)?;
    Ok(Opened {
        front,
        logs,
        length,
        tag,
        version: report.summary.version,
    })
}

/// The names given with `points`.
fn listed(query: &BundleQuery) -> Option<Vec<String>> {
    let names = query.points.as_deref()?.split(',');
    Some(names.map(|name| name.trim().to_owned()).collect())
}

/// The class that was asked for, or the role's own.
fn disclosure(role: Role, query: &BundleQuery, plan: &str, origin: &str) -> Answer<Disclosure> {
    let own = if role == Role::Participant { "B" } else { "A" };
    let class = query.disclosure.as_deref().unwrap_or(own);
    if query.points.is_some() && class != "B" {
        return Err(Problem::request(
            "`points` goes with `disclosure=B`, which shows listed points",
        ));
    }
    match class {
        "A" => Ok(Disclosure::All),
        "C" => Ok(Disclosure::Commitments),
        "B" => {
            let names = match listed(query) {
                Some(names) => names,
                None => planned(plan, origin)?,
            };
            // A log of which the plan uses nothing shows nothing.
            if names.is_empty() {
                return Ok(Disclosure::Commitments);
            }
            Disclosure::listed(names).map_err(Problem::request)
        }
        other => Err(Problem::request(format!(
            "`disclosure={other}`: there are A, B and C"
        ))),
    }
}

/// The points that the plan takes from a log.
fn planned(plan: &str, origin: &str) -> Answer<Vec<String>> {
    let plan = Plan::parse(plan, "plan.toml").map_err(|error| Problem::internal(&error))?;
    let sources = plan
        .points
        .iter()
        .flat_map(|point| point.sources.iter().map(move |source| (point, source)));
    Ok(sources
        .filter(|(_, source)| source.origin.as_str() == origin)
        .flat_map(|(point, source)| point.names_in(source))
        .collect())
}

/// A name of the list that no configuration of any log has: a slip that would show too little.
fn unknown_point(query: &BundleQuery, logs: &[LogPart]) -> Option<String> {
    let sealed = |name: &str| {
        logs.iter().any(|log| {
            let mut configs = log.facts.configs().iter();
            configs.any(|config| config.config.point(name).is_some())
        })
    };
    listed(query)?.into_iter().find(|name| !sealed(name))
}

/// The bytes of the window, made while they are read.
fn body(app: &App, opened: Opened, window: std::ops::Range<u64>) -> Body {
    let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
    let store = app.store.clone();
    tokio::spawn(async move {
        let written = stream::write(&store, &opened.front, &opened.logs, window, &sender).await;
        if let Err(problem) = written {
            tracing::warn!("a bundle broke off: {}", problem.detail());
            // Breaks the connection, so that nobody takes the part for the whole.
            let broken = std::io::Error::other("the bundle broke off");
            drop(sender.send(Err(broken)).await);
        }
    });
    Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(receiver))
}

/// A log's part of the bundle: the small things, and which entries.
struct LogPart {
    at: LogRef,
    indices: std::ops::Range<u64>,
    parts: LogParts,
    facts: Facts,
    extent: Extent,
}

async fn open_log(app: &App, pinned: &Pinned, disclosure: Disclosure) -> Answer<LogPart> {
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
    let extent = stream::extent(store, &facts, &disclosure, pinned.first..pinned.size).await?;
    let trail = trail(store, at, pinned).await?;
    Ok(LogPart {
        at,
        indices: pinned.first..pinned.size,
        parts: LogParts {
            origin,
            checkpoint: checkpoint(store, at, pinned).await?,
            start: nodes::range(store, at, pinned.first).await?,
            controls,
            timestamps: timestamps(store, at, &trail).await?,
            trail,
            entries_bytes: extent.entries,
            payload_bytes: extent.payload,
            disclosure,
        },
        facts,
        extent,
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

/// Cosigned notes of the entries, and the newest before them, of which the first entries pin one.
async fn trail(store: &Store, at: LogRef, pinned: &Pinned) -> Answer<Vec<Vec<u8>>> {
    const NEAR: u64 = 4096;
    let mut before = Vec::new();
    if let Some(last) = pinned.first.checked_sub(1) {
        before = store
            .trail_notes_by_size(at, pinned.first.saturating_sub(NEAR), last)
            .await?;
        if before.len() < 8 {
            before = store.trail_notes_by_size(at, 0, last).await?;
        }
    }
    // Of the newest ones, because an entry pins the newest that an independent witness signed.
    let skip = before.len().saturating_sub(8);
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

/// The timestamps over notes of the bundle.
async fn timestamps(
    store: &Store,
    at: LogRef,
    trail: &[Vec<u8>],
) -> Answer<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut stamped = Vec::new();
    for token in store.timestamps_by_size(at, 0, u64::MAX).await? {
        let over = trail
            .iter()
            .find(|note| evidence::hash::sha256(note).0 == token.note);
        if let Some(note) = over {
            stamped.push((note.clone(), token.token));
        }
    }
    Ok(stamped)
}
