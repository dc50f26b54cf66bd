//! The API described by itself: OpenAPI 3.1, made from the handlers.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi, ToSchema};

use crate::app::Shared;
use crate::problem::{Answer, Problem};
use crate::project_log::routes as project_log;
use crate::session::SECURE_COOKIE;
use crate::{bundle, live, logs, plan, points, projects, readings, reports, today};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Fieldseal verifier API",
        description = "Sealed measurement readings of JCM project sites: live values, raw readings, \
            monitoring reports, evidence bundles. Times are UTC, decimals are strings, errors are \
            RFC 9457 problem documents. Nothing here is proof; a bundle is.",
    ),
    paths(
        projects::whoami, projects::list, projects::project, projects::accesses, plan::plan,
        plan::plan_file, logs::logs, logs::entry, logs::gaps, points::points, readings::readings,
        live::live, today::today, reports::list, reports::create, reports::one, reports::file,
        bundle::bundle, bundle::hash, project_log::list, project_log::enter, project_log::one,
        project_log::upload, project_log::attachment, document, health
    ),
    modifiers(&Security),
    security(("token" = []), ("session" = []))
)]
struct Document;

struct Security;

impl Modify for Security {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let token = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("From `fieldseal-verifier-api token create`"))
            .build();
        let session = ApiKeyValue::with_description(SECURE_COOKIE, "What the sign-in page sets");
        if let Some(components) = &mut openapi.components {
            components.add_security_scheme("token", SecurityScheme::Http(token));
            let session = SecurityScheme::ApiKey(ApiKey::Cookie(session));
            components.add_security_scheme("session", session);
        }
    }
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "service", security(()),
    responses((status = 200, body = Object)))]
pub(crate) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}

/// Whether the server can do its work.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `sqlite` or `postgres`; it answered just now.
    store: String,
    version: String,
}

/// Asks the store for a sign of life.
#[utoipa::path(get, path = "/v1/health", tag = "service", security(()),
    responses((status = 200, body = Health),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn health(State(app): State<Shared>) -> Answer<Json<Health>> {
    app.store.ping().await.map_err(|error| {
        tracing::warn!("health: {}", crate::problem::chain_text(&error));
        Problem::busy("the store does not answer")
    })?;
    Ok(Json(Health {
        store: app.store.engine_name().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }))
}
