//! Monitoring reports: computed in the background, kept as versions that never change.
//!
//! A report's id is its period; each computation makes the next version, pinned to the entries of
//! every log that it rests on. The stored bytes are exactly those of the computation.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use quantification::period::{self, Period};
use quantification::plan::Bound;
use serde::{Deserialize, Serialize};
use store::LogId;
use utoipa::{IntoParams, ToSchema};

use crate::app::{App, Shared};
use crate::auth::{Caller, Scope};
use crate::compute;
use crate::job::{JobView, Progress};
use crate::plan::{bound, tagged};
use crate::problem::{Answer, Asked, Problem, asked};
use crate::time;
use crate::walk::Span;

/// The period of a report: local dates of the plan's reporting zone, both included.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewReport {
    /// The first day, e.g. `2026-01-01`.
    from: String,
    /// The last day, included.
    to: String,
}

/// Which version.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct VersionQuery {
    /// Without it the newest.
    pub(crate) version: Option<u64>,
}

/// The reports of a project, newest first, at most 500.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Reports {
    pub(crate) reports: Vec<ReportLine>,
}

/// A version of a report.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ReportLine {
    /// The period, `2026-01-01_2026-03-31`.
    pub(crate) id: String,
    /// Counted from 1.
    pub(crate) version: u64,
    /// `draft`, or `provisional` while its numbers may still change.
    pub(crate) status: String,
    /// The first instant.
    pub(crate) from: String,
    /// The first instant after it.
    pub(crate) to: String,
    /// The hash of the plan it was computed with.
    pub(crate) plan_sha256: String,
    /// The entries it rests on.
    pub(crate) pinned: Vec<Pinned>,
    pub(crate) created_by: String,
    pub(crate) created: String,
}

/// The entries `[first, size)` of a log.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pinned {
    /// The log's id.
    pub(crate) log: String,
    pub(crate) origin: String,
    pub(crate) first: u64,
    /// The size of the cosigned checkpoint.
    pub(crate) size: u64,
    /// Its root, hexadecimal.
    pub(crate) root: String,
}

/// A report with its versions and the job under way.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReportView {
    pub(crate) id: String,
    /// The versions, newest first.
    pub(crate) versions: Vec<ReportLine>,
    /// The newest computation since this server started.
    pub(crate) job: Option<JobView>,
}

const MOST_REPORTS: u32 = 500;

fn line(summary: store::ReportSummary) -> Answer<ReportLine> {
    let pinned =
        serde_json::from_str(&summary.pinned).map_err(|error| Problem::internal(&error))?;
    Ok(ReportLine {
        id: summary.id,
        version: summary.version,
        status: summary.status,
        from: time::utc(summary.period_ms.0),
        to: time::utc(summary.period_ms.1),
        plan_sha256: hex::encode(summary.plan_hash),
        pinned,
        created_by: summary.created_by,
        created: time::utc(summary.created_ms),
    })
}

pub(crate) async fn lines(app: &App, scope: &Scope) -> Answer<Vec<ReportLine>> {
    let reports = app.store.reports(scope.id(), MOST_REPORTS).await?;
    reports.into_iter().map(line).collect()
}

/// The reports of a project.
#[utoipa::path(get, path = "/v1/projects/{project}/reports", tag = "reports",
    params(("project" = String, Path, description = "The project's id")),
    responses((status = 200, body = Reports),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(State(app): State<Shared>, scope: Scope) -> Answer<Json<Reports>> {
    let reports = lines(&app, &scope).await?;
    Ok(Json(Reports { reports }))
}

/// Computes the report of a period, in the background.
#[utoipa::path(post, path = "/v1/projects/{project}/reports", tag = "reports",
    request_body = NewReport,
    params(("project" = String, Path, description = "The project's id")),
    responses((status = 202, body = ReportView,
            description = "Under way; `Location` says where to ask"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn create(
    State(app): State<Shared>,
    caller: Caller,
    scope: Scope,
    body: Result<Json<NewReport>, JsonRejection>,
) -> Answer<Response> {
    let Json(wanted) = body.map_err(|wrong| Problem::request(wrong.body_text()))?;
    let date = |text: &str| period::date(text).map_err(|e| Problem::request(e.to_string()));
    let (from, to) = (date(&wanted.from)?, date(&wanted.to)?);
    let (stored, bound) = bound(&app, scope.id()).await?;
    let period = bound.plan.period(from, to);
    let period = period.map_err(|error| Problem::refused(error.to_string()))?;
    if app.now_ms() < period.start_ms() {
        let starts = period::utc(period.start_ms());
        return Err(Problem::refused(format!(
            "the period begins at {starts}, in the future"
        )));
    }
    let id = format!("{from}_{to}");
    let spans = compute::spans(&app, &bound, &period).await?;
    for span in &spans {
        let at = span.log.log;
        let what = format!("entries {} to {} for report {id}", span.first, span.size);
        app.note_access(caller.who(), at.site, Some(at), what)
            .await?;
    }
    let Some(progress) = app.jobs.begin(scope.id(), &id) else {
        return Err(Problem::conflict(
            "this report is being computed; ask for its state",
        ));
    };
    let location = format!("/v1/projects/{}/reports/{id}", scope.id());
    let work = Work {
        project: scope.id().to_owned(),
        id: id.clone(),
        who: caller.who().to_owned(),
        plan_hash: stored.hash,
        bound,
        period,
        spans,
    };
    tokio::spawn(work.run(Arc::clone(&app), progress));
    let view = report_view(&app, &scope, &id).await?;
    let mut response = (StatusCode::ACCEPTED, Json(view)).into_response();
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// A report to be made: everything as it was when it was asked for.
struct Work {
    project: String,
    id: String,
    who: String,
    plan_hash: [u8; 32],
    bound: Bound,
    period: Period,
    spans: Vec<Span>,
}

impl Work {
    async fn run(self, app: Shared, progress: Arc<Progress>) {
        let (project, id) = (self.project.clone(), self.id.clone());
        let slot = Arc::clone(&app.jobs.slots).acquire_owned().await;
        let end = self.make(&app, &progress).await;
        drop(slot);
        match &end {
            Ok(version) => {
                tracing::info!("report {id} of {project}: version {version} stored");
                enter_versions(&app, &project).await;
            }
            Err(problem) => tracing::warn!("report {id} of {project}: {}", problem.detail()),
        }
        app.jobs.end(&project, &id, end);
    }

    /// Keeps the checkpoints that the report is pinned to, before there is a report: a head's note is
    /// replaced by the next upload, and the bundle would have nothing to prove the report with.
    async fn keep_notes(&self, app: &App) -> Answer<()> {
        for span in &self.spans {
            let note = store::TrailNote {
                at_ms: app.now_ms(),
                size: span.size,
                note: span.note.clone(),
            };
            app.store.keep_trail_note(span.log.log, &note).await?;
        }
        Ok(())
    }

    async fn make(self, app: &App, progress: &Arc<Progress>) -> Answer<u64> {
        self.keep_notes(app).await?;
        let reasons = compute::provisional(&self.spans, &self.period, app.now_ms());
        let period_ms = (self.period.start_ms(), self.period.end_ms());
        let report =
            compute::compute(app, self.bound, self.period, &self.spans, reasons, progress).await?;
        let pinned: Vec<Pinned> = self.spans.iter().map(pin).collect::<Answer<_>>()?;
        let pinned = serde_json::to_string(&pinned).map_err(|error| Problem::internal(&error))?;
        let body = report.to_json();
        // Two servers may make the same version at once: the store lets one win, the other counts on.
        loop {
            let newest = app.store.report(&self.project, &self.id, None).await?;
            let version = newest.map_or(1, |newest| newest.summary.version + 1);
            let summary = store::ReportSummary {
                id: self.id.clone(),
                version,
                status: if report.provisional || !report.stated_reasons.is_empty() {
                    "provisional"
                } else {
                    "draft"
                }
                .to_owned(),
                period_ms,
                plan_hash: self.plan_hash,
                pinned: pinned.clone(),
                created_by: self.who.clone(),
                created_ms: app.now_ms(),
            };
            let body = body.clone();
            match app
                .store
                .add_report(&self.project, &store::Report { summary, body })
                .await
            {
                Ok(()) => return Ok(version),
                Err(store::StoreError::Exists { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Enters what was made into the project log, if the project has one here. What fails now is entered
/// with the next version, and the log says so.
async fn enter_versions(app: &App, project: &str) {
    use crate::project_log::WriteError;

    let entered = app
        .project_logs
        .enter_versions(&app.store, project, app.now_ms())
        .await;
    match entered {
        Ok(_) | Err(WriteError::NoLog(_)) => {}
        Err(error) => tracing::error!(
            "{project}: a version is not in the project log yet: {}",
            crate::problem::chain_text(&error)
        ),
    }
}

fn pin(span: &Span) -> Answer<Pinned> {
    let text = evidence::note::Note::parse(&span.note).map(|note| note.text);
    let text = text.map_err(|error| Problem::internal(&error))?;
    let checkpoint = evidence::checkpoint::Checkpoint::parse_body(&text);
    let checkpoint = checkpoint.map_err(|error| Problem::internal(&error))?;
    Ok(Pinned {
        log: span.log.log.log.to_hex(),
        origin: span.log.origin.clone(),
        first: span.first,
        size: span.size,
        root: checkpoint.root.to_hex(),
    })
}

async fn report_view(app: &App, scope: &Scope, id: &str) -> Answer<ReportView> {
    let mut versions = lines(app, scope).await?;
    versions.retain(|line| line.id == id);
    let job = app.jobs.view(scope.id(), id);
    if versions.is_empty() && job.is_none() {
        return Err(Problem::not_found("report"));
    }
    Ok(ReportView {
        id: id.to_owned(),
        versions,
        job,
    })
}

/// A report's versions and the state of its computation.
#[utoipa::path(get, path = "/v1/projects/{project}/reports/{report}", tag = "reports",
    params(("project" = String, Path, description = "The project's id"),
        ("report" = String, Path, description = "The report's id, `2026-01-01_2026-03-31`")),
    responses((status = 200, body = ReportView),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn one(
    State(app): State<Shared>,
    scope: Scope,
    Path((_project, id)): Path<(String, String)>,
) -> Answer<Json<ReportView>> {
    Ok(Json(report_view(&app, &scope, &id).await?))
}

/// A stored version of a report.
pub(crate) async fn stored(
    app: &App,
    scope: &Scope,
    id: &str,
    version: Option<u64>,
) -> Answer<store::Report> {
    let report = app.store.report(scope.id(), id, version).await?;
    report.ok_or_else(|| Problem::not_found("report"))
}

/// The report itself, byte for byte as it was computed.
#[utoipa::path(get, path = "/v1/projects/{project}/reports/{report}/report.json", tag = "reports",
    params(("project" = String, Path, description = "The project's id"),
        ("report" = String, Path, description = "The report's id"), VersionQuery),
    responses((status = 200, body = Object, content_type = "application/json",
            description = "Every value with its unit, its formula, and the entries it rests on"),
        (status = 304, description = "As the caller has it"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn file(
    State(app): State<Shared>,
    caller: Caller,
    scope: Scope,
    Path((_project, id)): Path<(String, String)>,
    query: Asked<VersionQuery>,
    headers: HeaderMap,
) -> Answer<Response> {
    let query = asked(query)?;
    let report = stored(&app, &scope, &id, query.version).await?;
    let what = format!("report {id} version {}", report.summary.version);
    for pinned in line(report.summary)?.pinned {
        let id = LogId::from_hex(&pinned.log).ok_or_else(|| Problem::internal(&"pinned log"))?;
        if let Some((at, _token)) = app.store.locate(id).await? {
            app.note_access(caller.who(), at.site, Some(at), what.clone())
                .await?;
        }
    }
    let tag = format!("\"{}\"", evidence::hash::sha256(&report.body).to_hex());
    let file = ([(header::CONTENT_TYPE, "application/json")], report.body).into_response();
    Ok(tagged(&headers, &tag, file))
}
