//! The project log over HTTP.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, JsonRejection};
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use evidence::Rejection;
use evidence::hash::Hash;
use evidence::note::Note;
use evidence::project::{Attachment, Kind, Person, ProjectLog, Record, Replaces};
use evidence::proof::TlogProof;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::view::{RecordView, view};
use super::writer::WriteError;
use crate::app::{App, Shared};
use crate::auth::{Caller, Scope};
use crate::nodes;
use crate::problem::{Answer, Asked, Problem, asked};
use crate::role::Role;

impl From<WriteError> for Problem {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::NoLog(_) | WriteError::NoDataDir | WriteError::NoKeys(_) => {
                Self::conflict(error.to_string())
            }
            WriteError::Rejected(_) => Self::unfit(error.to_string()),
            WriteError::Clock(_) | WriteError::Busy => Self::busy(error.to_string()),
            WriteError::Store(error) => error.into(),
            error => Self::internal(&crate::problem::chain_text(&error)),
        }
    }
}

/// The project log and a page of its records.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProjectLogView {
    pub(crate) origin: String,
    /// The log's id: its checkpoint and tiles are at the collector under `/logs/<id>/`, open to all.
    pub(crate) id: String,
    /// The verification key. It belongs into the registered plan; a verifier takes it from there.
    pub(crate) vkey: String,
    /// Entries, keys included.
    pub(crate) size: u64,
    /// Entries that the collector has cosigned.
    pub(crate) witnessed: u64,
    /// The newest checkpoint, a signed note.
    pub(crate) checkpoint: String,
    /// Records by index.
    pub(crate) records: Vec<RecordView>,
    /// Ask with `after` = this for the next page; null at the end.
    pub(crate) next: Option<u64>,
}

/// Which records.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RecordsQuery {
    /// Only records behind this index.
    after: Option<u64>,
    /// At most so many entries are looked through, 1 to 256; 100 without it.
    limit: Option<u32>,
}

/// The records of the project log, oldest first.
#[utoipa::path(get, path = "/v1/projects/{project}/log", tag = "project log",
    params(("project" = String, Path, description = "The project's id"), RecordsQuery),
    responses((status = 200, body = ProjectLogView),
        (status = 409, body = Problem, content_type = "application/problem+json",
            description = "The project has no log yet")))]
pub(crate) async fn list(
    State(app): State<Shared>,
    caller: Caller,
    scope: Scope,
    query: Asked<RecordsQuery>,
) -> Answer<Json<ProjectLogView>> {
    let query = asked(query)?;
    let (row, log) = app.project_logs.log(&app.store, scope.id()).await?;
    let what = "records of the project log".to_owned();
    app.note_access(caller.who(), row.log.site, Some(row.log), what)
        .await?;
    let witnessed = witnessed(&app, &row).await?;
    let from = query.after.map_or(0, |after| after.saturating_add(1));
    let most = query.limit.unwrap_or(100).clamp(1, 256);
    let rows = app
        .store
        .rows(row.log, from..log.size(), most, true)
        .await?;
    let last = rows.last().map(|row| row.index);
    let mut records = Vec::new();
    for stored in &rows {
        records.extend(view(&log, stored, witnessed)?);
    }
    let head = app.store.head(row.log).await?;
    let note = head.map(|head| head.note).unwrap_or_default();
    Ok(Json(ProjectLogView {
        id: row.log.log.to_hex(),
        origin: row.origin,
        vkey: row.log_vkey,
        size: log.size(),
        witnessed,
        checkpoint: String::from_utf8_lossy(&note).into_owned(),
        records,
        next: last.filter(|last| last + 1 < log.size()),
    }))
}

async fn witnessed(app: &App, row: &store::ProjectLog) -> Answer<u64> {
    let state = app.store.witnessed(row.log).await?;
    Ok(state.map_or(0, |state| state.size))
}

/// An entry of the project log with its proof.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProvenRecord {
    pub(crate) index: u64,
    /// Null for genesis and keys.
    pub(crate) record: Option<RecordView>,
    /// The signed bytes, base64.
    pub(crate) entry: String,
    /// The body, base64, when it is too long to stand in the entry.
    pub(crate) body: Option<String>,
    /// A c2sp.org/tlog-proof that leads to the newest checkpoint.
    pub(crate) proof: String,
}

/// One entry with its proof.
#[utoipa::path(get, path = "/v1/projects/{project}/log/{entry}", tag = "project log",
    params(("project" = String, Path, description = "The project's id"),
        ("entry" = u64, Path, description = "The entry's index, from 0")),
    responses((status = 200, body = ProvenRecord),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn one(
    State(app): State<Shared>,
    caller: Caller,
    scope: Scope,
    Path((_project, index)): Path<(String, String)>,
) -> Answer<Json<ProvenRecord>> {
    let (row, log) = app.project_logs.log(&app.store, scope.id()).await?;
    let missing = || Problem::not_found("entry");
    let index: u64 = index.parse().map_err(|_not_a_number| missing())?;
    let what = format!("entry {index} of the project log");
    app.note_access(caller.who(), row.log.site, Some(row.log), what)
        .await?;
    let head = app.store.head(row.log).await?.ok_or_else(missing)?;
    let size = head.log.size;
    let past = index.checked_add(1).filter(|past| *past <= size);
    let past = past.ok_or_else(missing)?;
    let stored = app.store.rows(row.log, index..past, 1, true).await?.pop();
    let stored = stored.ok_or_else(missing)?;
    // The head may have grown since the log was read; such an entry is there at the next call.
    let record = match log.known(index) {
        Some(_) => view(&log, &stored, witnessed(&app, &row).await?)?,
        None => return Err(missing()),
    };
    let checkpoint = Note::parse(&head.note).map_err(|error| Problem::internal(&error))?;
    let proof = TlogProof {
        extra: None,
        index,
        hashes: nodes::proof(&app.store, row.log, index, size).await?,
        checkpoint,
    };
    proof
        .verify(&evidence::hash::leaf_hash(&stored.entry))
        .map_err(|error| Problem::internal(&error))?;
    Ok(Json(ProvenRecord {
        index,
        record,
        entry: STANDARD.encode(&stored.entry),
        body: stored.payload.map(|body| STANDARD.encode(body)),
        proof: String::from_utf8_lossy(&proof.to_bytes()).into_owned(),
    }))
}

/// A record to be entered. Who enters it is the token's owner; a person in here would be refused.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRecord {
    /// See `kind` of a record.
    kind: String,
    /// What it is about: monitoring point, parameter, document, finding, report, methodology, period.
    subject: String,
    /// The fields of the kind; numbers are written as text.
    #[schema(value_type = Object)]
    fields: BTreeMap<String, String>,
    /// Files uploaded before.
    #[serde(default)]
    attachments: Vec<NewAttachment>,
    /// The record that this one corrects: of the same kind and subject, and not corrected yet.
    replaces: Option<NewReplaces>,
}

/// A file uploaded before.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAttachment {
    /// SHA-256, as the upload answered.
    sha256: String,
    /// The file's name.
    name: String,
}

/// A correction.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewReplaces {
    /// The entry that it corrects.
    index: u64,
    /// Why.
    reason: String,
}

/// Who may enter what by hand. Versions of plan and report are entered by the program.
fn may(role: Role, kind: Kind) -> bool {
    let prepares = matches!(
        kind,
        Kind::Certificate | Kind::Exchange | Kind::HandValue | Kind::Document | Kind::Annotation
    );
    let administers = matches!(kind, Kind::Transition | Kind::Method | Kind::PeriodClose);
    match role {
        Role::Admin => prepares || administers,
        Role::Preparer => prepares,
        Role::Verifier => matches!(kind, Kind::Finding | Kind::Annotation),
        Role::Supervisor | Role::Participant => false,
    }
}

/// Enters a record.
#[utoipa::path(post, path = "/v1/projects/{project}/log", tag = "project log",
    request_body = NewRecord,
    params(("project" = String, Path, description = "The project's id")),
    responses((status = 200, body = RecordView, description = "It is sealed; the collector cosigns it within seconds"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json",
            description = "Preparers enter certificates, exchanges, values and documents; verifiers findings; admins the life cycle"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn enter(
    State(app): State<Shared>,
    caller: Caller,
    scope: Scope,
    body: Result<Json<NewRecord>, JsonRejection>,
) -> Answer<Json<RecordView>> {
    let (row, _log) = app.project_logs.log(&app.store, scope.id()).await?;
    let Json(new) = body.map_err(|wrong| Problem::request(wrong.body_text()))?;
    let kind = Kind::from_name(&new.kind).ok_or_else(|| {
        let all = Kind::ALL.map(Kind::name).join(", ");
        Problem::request(format!("there is no kind `{}`; there are: {all}", new.kind))
    })?;
    if !may(caller.role, kind) {
        let role = caller.role.name();
        let detail = format!(
            "the role `{role}` does not enter records of kind `{}`",
            new.kind
        );
        return Err(Problem::forbidden(detail));
    }
    let mut attachments = Vec::new();
    for attachment in &new.attachments {
        let unfit = || Problem::unfit(format!("`{}` is no SHA-256", attachment.sha256));
        let hash = Hash::from_hex(&attachment.sha256).map_err(|_error| unfit())?;
        if app.store.attachment(row.log, hash.0).await?.is_none() {
            let text = format!("no file with SHA-256 {hash} was uploaded; upload it first");
            return Err(Problem::unfit(text));
        }
        let name = attachment.name.clone();
        attachments.push(Attachment { hash, name });
    }
    let person = Person {
        id: caller.id.clone(),
        name: caller.who().to_owned(),
        role: caller.role.name().to_owned(),
    };
    let make = |log: &ProjectLog| {
        let replaces = match &new.replaces {
            None => None,
            Some(replaces) => Some(named(log, replaces.index, &replaces.reason)?),
        };
        let fields = new.fields.iter();
        let fields = fields.map(|(key, text)| (key.as_str(), text.as_str()));
        let (person, attachments) = (person.clone(), attachments.clone());
        Record::enter(kind, &new.subject, person, attachments, replaces, fields).map_err(|error| {
            Rejection::Record {
                kind: kind.number(),
                error,
            }
        })
    };
    let written = app
        .project_logs
        .enter(&app.store, scope.id(), app.now_ms(), make)
        .await?;
    let (row, log) = app.project_logs.log(&app.store, scope.id()).await?;
    let stored = app
        .store
        .rows(row.log, written.index..written.index + 1, 1, true)
        .await?
        .pop();
    let entered = match stored {
        Some(stored) => view(&log, &stored, 0)?,
        None => None,
    };
    entered
        .map(Json)
        .ok_or_else(|| Problem::internal(&"an entry is gone after it was stored"))
}

/// The entry of an index, as a correction names it.
pub(super) fn named(log: &ProjectLog, index: u64, reason: &str) -> Result<Replaces, Rejection> {
    let known = log.known(index).ok_or(Rejection::ReplacesUnknown(index))?;
    Ok(Replaces {
        index,
        leaf: known.leaf,
        reason: reason.to_owned(),
    })
}

/// A file that was taken in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Uploaded {
    /// SHA-256, hexadecimal: what records name it by.
    pub(crate) sha256: String,
    pub(crate) bytes: usize,
}

/// Takes in a file that a record will name.
#[utoipa::path(post, path = "/v1/projects/{project}/log/attachments", tag = "project log",
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "At most 16 MiB"),
    params(("project" = String, Path, description = "The project's id")),
    responses((status = 200, body = Uploaded),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn upload(
    State(app): State<Shared>,
    scope: Scope,
    body: Result<Bytes, BytesRejection>,
) -> Answer<Json<Uploaded>> {
    let (row, _log) = app.project_logs.log(&app.store, scope.id()).await?;
    let content = body.map_err(|wrong| {
        Problem::request(format!("{}; a file has at most 16 MiB", wrong.body_text()))
    })?;
    if content.is_empty() {
        return Err(Problem::request("the file is empty"));
    }
    let hash = app
        .store
        .put_attachment(row.log, &content, app.now_ms())
        .await?;
    Ok(Json(Uploaded {
        sha256: hex::encode(hash),
        bytes: content.len(),
    }))
}

/// A file that was uploaded, byte for byte.
#[utoipa::path(get, path = "/v1/projects/{project}/log/attachments/{hash}", tag = "project log",
    params(("project" = String, Path, description = "The project's id"),
        ("hash" = String, Path, description = "SHA-256, 64 hexadecimal digits")),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn attachment(
    State(app): State<Shared>,
    caller: Caller,
    scope: Scope,
    Path((_project, hash)): Path<(String, String)>,
) -> Answer<Response> {
    let (row, _log) = app.project_logs.log(&app.store, scope.id()).await?;
    let missing = || Problem::not_found("attachment");
    let hash = Hash::from_hex(&hash).map_err(|_error| missing())?;
    let what = format!("attachment {hash}");
    app.note_access(caller.who(), row.log.site, Some(row.log), what)
        .await?;
    let content = app.store.attachment(row.log, hash.0).await?;
    let content = content.ok_or_else(missing)?;
    // Never shown by a browser as a page of ours.
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CONTENT_DISPOSITION, "attachment"),
    ];
    Ok((headers, content).into_response())
}
