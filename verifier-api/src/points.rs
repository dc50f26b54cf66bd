//! The points of a project's logs, as sealed, and what the plan makes of them.

use axum::Json;
use axum::extract::State;
use evidence::measurement::{PointKind, Source};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::{App, Shared};
use crate::auth::Scope;
use crate::facts::Facts;
use crate::problem::{Answer, Problem};

/// The points of the newest sealed configurations.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Points {
    pub(crate) points: Vec<PointView>,
}

/// A point.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct PointView {
    /// The name, unique in its log.
    pub(crate) name: String,
    /// The log's id.
    pub(crate) log: String,
    pub(crate) origin: String,
    pub(crate) unit: String,
    /// `register` (only its advance means something) or `instant`.
    pub(crate) kind: String,
    /// Digits after the decimal point.
    pub(crate) decimals: u8,
    /// The stream: points that are sealed together.
    pub(crate) stream: u16,
    /// Milliseconds between readings; of messages the resolution of segments.
    pub(crate) tick_ms: u32,
    /// The device it is read from.
    pub(crate) device: String,
    /// Register or topic.
    pub(crate) source: String,
    /// What the plan uses it for; null if the plan does not.
    pub(crate) plan: Option<PlannedPoint>,
}

/// A monitoring point of the plan.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct PlannedPoint {
    /// The monitoring point's number.
    pub(crate) number: String,
    /// The parameter it feeds, e.g. `Q`.
    pub(crate) parameter: String,
    /// The member of the parameter's index, e.g. `W-1`.
    pub(crate) member: Option<String>,
}

pub(crate) const fn kind_name(kind: PointKind) -> &'static str {
    match kind {
        PointKind::Register => "register",
        PointKind::Instant => "instant",
    }
}

fn source_text(source: &Source) -> String {
    match source {
        Source::Modbus {
            table,
            address,
            words,
        } => {
            format!("{} {address}, {words} word(s)", table.name())
        }
        Source::Message { topic, pointer } => match pointer {
            Some(pointer) => format!("{topic} {pointer}"),
            None => topic.clone(),
        },
    }
}

/// The points of one log.
pub(crate) fn of_log(facts: &Facts, plan: Option<&quantification::plan::Plan>) -> Vec<PointView> {
    let Some(config) = facts.config() else {
        return Vec::new();
    };
    let planned = |name: &str| {
        let mut points = plan.into_iter().flat_map(|plan| &plan.points);
        let fed_by = |source: &quantification::plan::PointReference| {
            source.point == name && source.origin == facts.origin
        };
        points
            .find(|point| point.sources.iter().any(fed_by))
            .map(|point| PlannedPoint {
                number: point.number.clone(),
                parameter: point.parameter.clone(),
                member: point.member.clone(),
            })
    };
    let table = &config.config;
    let view = |point: &evidence::measurement::Point| PointView {
        name: point.name.clone(),
        log: facts.log.log.log.to_hex(),
        origin: facts.log.origin.clone(),
        unit: point.unit.clone(),
        kind: kind_name(point.kind).to_owned(),
        decimals: point.decimals,
        stream: point.stream,
        tick_ms: table
            .stream(point.stream)
            .map_or(0, |stream| stream.tick_ms),
        device: table
            .devices
            .get(usize::from(point.device))
            .map_or_else(String::new, |device| device.name.clone()),
        source: source_text(&point.source),
        plan: planned(&point.name),
    };
    table.points.iter().map(view).collect()
}

/// The points of all logs of a project.
pub(crate) async fn of_project(app: &App, scope: &Scope) -> Answer<Vec<PointView>> {
    let plan = crate::plan::newest(app, scope.id()).await?;
    let mut points = Vec::new();
    for log in scope.logs(app).await? {
        let facts = Facts::load(&app.store, log).await?;
        points.extend(of_log(&facts, plan.as_ref().map(|(_, plan)| plan)));
    }
    Ok(points)
}

/// The points of a project.
#[utoipa::path(get, path = "/v1/projects/{project}/points", tag = "project",
    params(("project" = String, Path, description = "The project's id")),
    responses((status = 200, body = Points),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn points(State(app): State<Shared>, scope: Scope) -> Answer<Json<Points>> {
    let points = of_project(&app, &scope).await?;
    Ok(Json(Points { points }))
}
