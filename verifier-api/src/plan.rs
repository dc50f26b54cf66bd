//! The monitoring plan: kept byte for byte, known by its hash.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use quantification::methodology::{self, Methodology};
use quantification::plan::{Bound, Plan};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::{App, Shared};
use crate::auth::Scope;
use crate::problem::{Answer, Problem};
use crate::time;

/// The methodology of this id that ships with the program.
pub(crate) fn shipped(id: &str) -> Option<Methodology> {
    methodology::shipped(id)
}

/// The newest plan of a project, as stored and as read.
pub(crate) async fn newest(app: &App, project: &str) -> Answer<Option<(store::Plan, Plan)>> {
    let Some(stored) = app.store.newest_plan(project).await? else {
        return Ok(None);
    };
    let plan = Plan::parse(&stored.text, "plan.toml");
    // It was parsed before it was stored: only another version of this program can disagree.
    let plan = plan.map_err(|error| Problem::refused(format!("the stored plan: {error}")))?;
    Ok(Some((stored, plan)))
}

/// The newest plan, joined with its methodology: what computations need.
pub(crate) async fn bound(app: &App, project: &str) -> Answer<(store::Plan, Bound)> {
    let (stored, plan) = newest(app, project).await?.ok_or_else(no_plan)?;
    let methodology = app.methodology(&plan.methodology_id).ok_or_else(|| {
        let detail = format!(
            "the plan names methodology `{}`, which this server does not have; add its file to \
             `methodology_files` in verifier-api.toml",
            plan.methodology_id
        );
        Problem::refused(detail)
    })?;
    let bound = plan.bind(&methodology);
    let bound = bound.map_err(|error| Problem::refused(format!("the stored plan: {error}")))?;
    Ok((stored, bound))
}

fn no_plan() -> Problem {
    Problem::conflict("the project has no plan yet; `fieldseal-verifier-api plan apply` brings it")
}

/// The monitoring plan as it was applied.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct PlanView {
    /// Counted from 1.
    pub(crate) version: u64,
    /// SHA-256 of the file, hexadecimal. A verifier compares it with the registered document.
    pub(crate) sha256: String,
    /// The decision that approved it.
    pub(crate) decision: String,
    pub(crate) applied_by: String,
    pub(crate) applied: String,
    /// The file, byte for byte.
    pub(crate) text: String,
    /// Hashes of all versions, oldest first.
    pub(crate) versions: Vec<String>,
}

fn etag(hash: &[u8; 32]) -> String {
    format!("\"{}\"", hex::encode(hash))
}

/// Whether the caller has this state already.
pub(crate) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let sent = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    sent.is_some_and(|sent| {
        sent.split(',')
            .any(|known| known.trim() == tag || known.trim() == "*")
    })
}

/// An answer with its tag, or 304 when the caller has it.
pub(crate) fn tagged(headers: &HeaderMap, tag: &str, answer: Response) -> Response {
    let mut answer = if is_known(headers, tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        answer
    };
    if let Ok(tag) = HeaderValue::from_str(tag) {
        answer.headers_mut().insert(header::ETAG, tag);
    }
    answer
}

/// The newest monitoring plan with its hash.
#[utoipa::path(get, path = "/v1/projects/{project}/plan", tag = "project",
    params(("project" = String, Path, description = "The project's id")),
    responses((status = 200, body = PlanView), (status = 304, description = "As the caller has it"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "No plan was applied yet"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn plan(
    State(app): State<Shared>,
    scope: Scope,
    headers: HeaderMap,
) -> Answer<Response> {
    let plans = app.store.plans(scope.id()).await?;
    let stored = plans.last().cloned().ok_or_else(no_plan)?;
    let view = PlanView {
        version: stored.version,
        sha256: hex::encode(stored.hash),
        decision: stored.decision,
        applied_by: stored.applied_by,
        applied: time::utc(stored.applied_ms),
        text: stored.text,
        versions: plans.iter().map(|plan| hex::encode(plan.hash)).collect(),
    };
    Ok(tagged(
        &headers,
        &etag(&stored.hash),
        Json(view).into_response(),
    ))
}

/// The newest monitoring plan, byte for byte.
#[utoipa::path(get, path = "/v1/projects/{project}/plan.toml", tag = "project",
    params(("project" = String, Path, description = "The project's id")),
    responses((status = 200, body = String, content_type = "application/toml"),
        (status = 304, description = "As the caller has it"),
        (status = 409, body = Problem, content_type = "application/problem+json",
         description = "No plan was applied yet"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn plan_file(
    State(app): State<Shared>,
    scope: Scope,
    headers: HeaderMap,
) -> Answer<Response> {
    let stored = app
        .store
        .newest_plan(scope.id())
        .await?
        .ok_or_else(no_plan)?;
    let file = ([(header::CONTENT_TYPE, "application/toml")], stored.text).into_response();
    Ok(tagged(&headers, &etag(&stored.hash), file))
}
