//! Projects, who is signed in, and who read what.

use axum::Json;
use axum::extract::State;
use quantification::plan::State as PlanState;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::{App, Shared};
use crate::auth::{Caller, Scope};
use crate::problem::{Answer, Asked, Problem, asked};
use crate::role::Role;
use crate::time;

/// The projects that the caller's token covers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Projects {
    pub(crate) projects: Vec<ProjectLine>,
}

/// A project in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProjectLine {
    pub(crate) id: String,
    pub(crate) name: String,
}

pub(crate) async fn of_caller(app: &App, caller: &Caller) -> Answer<Vec<ProjectLine>> {
    let projects = app.store.projects().await?;
    Ok(projects
        .into_iter()
        .filter(|project| caller.covers(&project.id))
        .map(|project| ProjectLine {
            id: project.id,
            name: project.name,
        })
        .collect())
}

/// The projects that the token covers.
#[utoipa::path(get, path = "/v1/projects", tag = "project",
    responses((status = 200, body = Projects),
        (status = 401, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(State(app): State<Shared>, caller: Caller) -> Answer<Json<Projects>> {
    let projects = of_caller(&app, &caller).await?;
    Ok(Json(Projects { projects }))
}

/// A project as its plan describes it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ProjectView {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) sites: Vec<String>,
    /// What the newest plan says; null before one is applied.
    pub(crate) plan: Option<PlanSummary>,
}

/// The heads of a plan.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct PlanSummary {
    /// `demo`, `draft` or `registered`.
    pub(crate) state: String,
    pub(crate) country: String,
    pub(crate) participants: Vec<String>,
    pub(crate) methodology: String,
    /// Periods and vintages are cut at midnight of this IANA zone.
    pub(crate) reporting_zone: String,
    pub(crate) version: u64,
    /// SHA-256 of the file, hexadecimal.
    pub(crate) sha256: String,
    /// The verification keys of the logs as the plan has them.
    pub(crate) anchors: Vec<String>,
}

impl PlanSummary {
    /// The first digits of the hash, which people compare at a glance.
    pub(crate) fn short_hash(&self) -> &str {
        self.sha256.get(..16).unwrap_or(&self.sha256)
    }
}

pub(crate) async fn view(app: &App, scope: &Scope) -> Answer<ProjectView> {
    let mut sites = Vec::new();
    for site in &scope.sites {
        sites.extend(app.store.site(*site).await?.map(|site| site.name));
    }
    let plan = crate::plan::newest(app, scope.id()).await?;
    let plan = plan.map(|(stored, plan)| PlanSummary {
        state: match plan.state {
            PlanState::Demo => "demo",
            PlanState::Draft => "draft",
            PlanState::Registered => "registered",
        }
        .to_owned(),
        anchors: plan.logs.iter().map(|log| log.anchor.to_string()).collect(),
        country: plan.project.country,
        participants: plan.project.participants,
        methodology: plan.methodology_id,
        reporting_zone: plan.reporting_zone,
        version: stored.version,
        sha256: hex::encode(stored.hash),
    });
    Ok(ProjectView {
        id: scope.project.id.clone(),
        name: scope.project.name.clone(),
        sites,
        plan,
    })
}

/// One project.
#[utoipa::path(get, path = "/v1/projects/{project}", tag = "project",
    params(("project" = String, Path, description = "The project's id")),
    responses((status = 200, body = ProjectView),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn project(State(app): State<Shared>, scope: Scope) -> Answer<Json<ProjectView>> {
    Ok(Json(view(&app, &scope).await?))
}

/// Who is asking.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Whoami {
    /// The token's label.
    pub(crate) who: String,
    pub(crate) role: Role,
    /// The projects of the token; empty for all.
    pub(crate) projects: Vec<String>,
    pub(crate) expires: String,
}

/// Whose token this is.
#[utoipa::path(get, path = "/v1/session", tag = "session",
    responses((status = 200, body = Whoami),
        (status = 401, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn whoami(caller: Caller) -> Json<Whoami> {
    Json(Whoami {
        who: caller.token.label,
        role: caller.role,
        projects: caller.token.projects,
        expires: time::utc(caller.token.expires_ms),
    })
}

/// Which part of the access log.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AccessQuery {
    /// The first instant after the range; without it until now. Give the oldest time of one answer
    /// to get what lies before it.
    to: Option<String>,
}

/// Who read which evidence, newest first, at most 1000 lines.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Accesses {
    pub(crate) accesses: Vec<AccessView>,
}

/// A read of evidence.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AccessView {
    pub(crate) at: String,
    /// The token's label, or a gateway's origin.
    pub(crate) who: String,
    pub(crate) what: String,
    /// The log's id, if it was one.
    pub(crate) log: Option<String>,
}

const MOST_ACCESSES: u32 = 1000;

/// Who read the project's evidence.
#[utoipa::path(get, path = "/v1/projects/{project}/accesses", tag = "project",
    params(("project" = String, Path, description = "The project's id"), AccessQuery),
    responses((status = 200, body = Accesses),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn accesses(
    State(app): State<Shared>,
    scope: Scope,
    query: Asked<AccessQuery>,
) -> Answer<Json<Accesses>> {
    let query = asked(query)?;
    let to = match &query.to {
        Some(text) => time::instant("to", text)?,
        None => i64::MAX,
    };
    let mut found = Vec::new();
    let entered = store::SiteId::of_project(scope.id());
    for site in scope.sites.iter().chain([&entered]) {
        found.extend(
            app.store
                .accesses(*site, i64::MIN..to, MOST_ACCESSES)
                .await?,
        );
    }
    found.sort_by_key(|access| std::cmp::Reverse(access.at_ms));
    found.truncate(MOST_ACCESSES.try_into().unwrap_or(usize::MAX));
    let accesses = found.into_iter().map(|access| AccessView {
        at: time::utc(access.at_ms),
        who: access.who,
        what: access.what,
        log: access.log.map(|log| log.to_hex()),
    });
    Ok(Json(Accesses {
        accesses: accesses.collect(),
    }))
}
