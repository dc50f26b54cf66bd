//! The logs of a project: sizes, checkpoints, entries with their proofs, declared gaps.

use axum::Json;
use axum::extract::{Path, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use evidence::entry::{Body, Entry};
use evidence::note::Note;
use evidence::proof::TlogProof;
use evidence::segment::tick_time;
use serde::{Deserialize, Serialize};
use store::Log;
use utoipa::{IntoParams, ToSchema};

use crate::app::{App, Shared};
use crate::auth::{Caller, Scope};
use crate::facts::Facts;
use crate::nodes;
use crate::problem::{Answer, Asked, Problem, asked};
use crate::time;

/// The logs of a project.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Logs {
    pub(crate) logs: Vec<LogView>,
}

/// A gateway's log.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct LogView {
    /// SHA-256 of the origin.
    pub(crate) id: String,
    pub(crate) origin: String,
    /// The site's name.
    pub(crate) site: String,
    /// The verification key as enrolled. A verifier takes it from the registered document, never
    /// from here.
    pub(crate) vkey: String,
    /// Entries stored and cosigned.
    pub(crate) size: u64,
    /// Root of the tree, base64.
    pub(crate) root: String,
    /// When the newest checkpoint was cosigned; null before the first.
    pub(crate) cosigned: Option<String>,
    /// Names of those who signed the newest checkpoint besides the log.
    pub(crate) witnesses: Vec<String>,
    /// The newest checkpoint, a signed note.
    pub(crate) checkpoint: String,
}

pub(crate) async fn views(app: &App, scope: &Scope) -> Answer<Vec<LogView>> {
    let mut views = Vec::new();
    for log in scope.logs(app).await? {
        views.push(view(app, log).await?);
    }
    Ok(views)
}

async fn view(app: &App, log: Log) -> Answer<LogView> {
    let head = app.store.head(log.log).await?;
    let note = head.map(|head| head.note).unwrap_or_default();
    let witnesses = match Note::parse(&note) {
        Ok(note) => note
            .signatures
            .iter()
            .map(|signature| signature.name.clone())
            .collect(),
        Err(_no_checkpoint_yet) => Vec::new(),
    };
    let site = app.store.site(log.log.site).await?;
    Ok(LogView {
        id: log.log.log.to_hex(),
        site: site.map_or_else(String::new, |site| site.name),
        vkey: log.log_vkey,
        size: log.size,
        root: STANDARD.encode(log.root),
        cosigned: i64::try_from(log.cosigned_s)
            .ok()
            .filter(|s| *s > 0)
            .map(|s| time::utc(s * 1000)),
        witnesses: witnesses
            .into_iter()
            .filter(|name| *name != log.origin)
            .collect(),
        checkpoint: String::from_utf8_lossy(&note).into_owned(),
        origin: log.origin,
    })
}

/// The logs of a project.
#[utoipa::path(get, path = "/v1/projects/{project}/logs", tag = "evidence",
    params(("project" = String, Path, description = "The project's id")),
    responses((status = 200, body = Logs),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn logs(State(app): State<Shared>, scope: Scope) -> Answer<Json<Logs>> {
    let logs = views(&app, &scope).await?;
    Ok(Json(Logs { logs }))
}

/// An entry of a log with the proof that it is in the newest cosigned tree.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EntryView {
    pub(crate) index: u64,
    /// Leaf hash, hexadecimal.
    pub(crate) leaf: String,
    /// `control`, `data` or `gap`.
    pub(crate) kind: String,
    /// The signed bytes, base64.
    pub(crate) entry: String,
    /// Bytes of its payload; null if it has none here.
    pub(crate) payload_bytes: Option<usize>,
    /// A c2sp.org/tlog-proof: index, inclusion proof and cosigned checkpoint.
    pub(crate) proof: String,
}

/// One entry with its proof.
#[utoipa::path(get, path = "/v1/projects/{project}/logs/{log}/entries/{index}", tag = "evidence",
    params(("project" = String, Path, description = "The project's id"),
        ("log" = String, Path, description = "The log's id, 64 hexadecimal digits"),
        ("index" = u64, Path, description = "The entry's index, from 0")),
    responses((status = 200, body = EntryView),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn entry(
    State(app): State<Shared>,
    caller: Caller,
    scope: Scope,
    Path((_project, log, index)): Path<(String, String, String)>,
) -> Answer<Json<EntryView>> {
    let log = scope.log(&app, &log).await?;
    let missing = || Problem::not_found("entry");
    let index: u64 = index.parse().map_err(|_not_a_number| missing())?;
    let at = log.log;
    app.note_access(caller.who(), at.site, Some(at), format!("entry {index}"))
        .await?;
    // Head first: rows below it never change.
    let head = app.store.head(at).await?.ok_or_else(missing)?;
    let Some(past) = index.checked_add(1).filter(|_| index < head.log.size) else {
        return Err(missing());
    };
    let rows = app.store.rows(at, index..past, 1, true).await?;
    let row = rows.into_iter().next().ok_or_else(missing)?;
    let facts = Facts::load(&app.store, log).await?;
    let kind = match facts.signed(&row)?.entry.body {
        Body::Control { .. } => "control",
        Body::Data { .. } => "data",
        Body::Gap { .. } => "gap",
    };
    let checkpoint = Note::parse(&head.note).map_err(|error| Problem::internal(&error))?;
    let proof = TlogProof {
        extra: None,
        index,
        hashes: nodes::proof(&app.store, at, index, head.log.size).await?,
        checkpoint,
    };
    let leaf = evidence::hash::leaf_hash(&row.entry);
    proof
        .verify(&leaf)
        .map_err(|error| Problem::internal(&error))?;
    Ok(Json(EntryView {
        index,
        leaf: leaf.to_hex(),
        kind: kind.to_owned(),
        payload_bytes: row.payload.as_ref().map(Vec::len),
        proof: String::from_utf8_lossy(&proof.to_bytes()).into_owned(),
        entry: STANDARD.encode(row.entry),
    }))
}

/// Which gaps.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct GapsQuery {
    /// The first instant; without it from the beginning.
    from: Option<String>,
    /// The first instant after the range; without it to the end.
    to: Option<String>,
}

/// Signed gaps: ticks that the gateway declares it did not sample.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Gaps {
    pub(crate) gaps: Vec<GapView>,
}

/// A signed gap of a stream.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GapView {
    /// The log's id.
    pub(crate) log: String,
    pub(crate) entry: u64,
    pub(crate) stream: u16,
    /// The beginning; null while the entry has no time.
    pub(crate) from: Option<String>,
    /// The first instant after it.
    pub(crate) to: Option<String>,
    pub(crate) ticks: u64,
    /// `startup`, `power`, `storage` or `operator`.
    pub(crate) reason: String,
    pub(crate) text: Option<String>,
}

/// Gap entries are stored as kind 2.
const GAP_KINDS: std::ops::Range<u16> = 2..3;

/// The signed gaps of a project's logs. Readings that are missing inside a segment are not here:
/// each has its quality in the readings, and a report lists both.
#[utoipa::path(get, path = "/v1/projects/{project}/gaps", tag = "evidence",
    params(("project" = String, Path, description = "The project's id"), GapsQuery),
    responses((status = 200, body = Gaps),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn gaps(
    State(app): State<Shared>,
    caller: Caller,
    scope: Scope,
    query: Asked<GapsQuery>,
) -> Answer<Json<Gaps>> {
    let query = asked(query)?;
    let bound = |key, text: &Option<String>, open: i64| match text {
        Some(text) => time::instant(key, text),
        None => Ok(open),
    };
    let range = bound("from", &query.from, i64::MIN)?..bound("to", &query.to, i64::MAX)?;
    let mut gaps = Vec::new();
    for log in scope.logs(&app).await? {
        app.note_access(caller.who(), log.log.site, Some(log.log), "gaps".to_owned())
            .await?;
        let facts = Facts::load(&app.store, log).await?;
        let mut after = None;
        loop {
            let rows = app
                .store
                .rows_of_kind(facts.log.log, GAP_KINDS, after, 256)
                .await?;
            let Some(last) = rows.last() else { break };
            after = Some(last.index);
            for row in &rows {
                gaps.extend(
                    gap(&facts, row)?
                        .filter(|(ms, _)| overlaps(*ms, &range))
                        .map(|(_, gap)| gap),
                );
            }
        }
    }
    Ok(Json(Gaps { gaps }))
}

/// A gap without a time may lie anywhere, so it is always shown.
fn overlaps(gap: Option<(i64, i64)>, range: &std::ops::Range<i64>) -> bool {
    gap.is_none_or(|(from, to)| from < range.end && to > range.start)
}

type Placed<T> = (Option<(i64, i64)>, T);

fn gap(facts: &Facts, row: &store::Row) -> Answer<Option<Placed<GapView>>> {
    let signed = facts.signed(row)?;
    let Entry {
        body: Body::Gap {
            ticks,
            reason,
            text,
        },
        clock,
        ..
    } = &signed.entry
    else {
        return Ok(None);
    };
    let config = facts.config_at(row.index);
    let tick_ms = config.and_then(|config| Some(config.config.stream(ticks.stream)?.tick_ms));
    let shift = facts.shift(ticks.stream, row.index, clock.status);
    let times = tick_ms.zip(shift).and_then(|(tick_ms, shift)| {
        Some((
            tick_time(ticks.first, shift, tick_ms)?,
            tick_time(ticks.end(), shift, tick_ms)?,
        ))
    });
    let view = GapView {
        log: facts.log.log.log.to_hex(),
        entry: row.index,
        stream: ticks.stream,
        from: times.map(|(from, _)| time::utc(from)),
        to: times.map(|(_, to)| time::utc(to)),
        ticks: ticks.count,
        reason: reason.name().to_owned(),
        text: text.clone(),
    };
    Ok(Some((times, view)))
}
