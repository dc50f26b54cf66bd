//! Every route with what it asks of its caller: one table, from which the router is made.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, post};
use tower_http::catch_panic::CatchPanicLayer;

use crate::app::Shared;
use crate::auth::authorise;
use crate::problem::Problem;
use crate::project_log::routes as project_log;
use crate::role::Need;
use crate::{bundle, live, logs, openapi, page, plan, points, projects, readings, reports, today};

/// A route of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// The path with its parameters in braces.
    pub path: &'static str,
    /// What it asks of its caller.
    pub need: Need,
}

/// Attachments are not.
const MOST_ATTACHMENT_BYTES: usize = store::MOST_ATTACHMENT_BYTES;
/// Other bodies are small: the largest is a record of the project log.
const MOST_BODY_BYTES: usize = 64 * 1024;

fn table() -> Vec<(Route, MethodRouter<Shared>)> {
    let entry = |method, path, need, handler| (Route { method, path, need }, handler);
    let read = |path, handler| entry("GET", path, Need::Read, handler);
    let open = |path, handler| entry("GET", path, Need::Open, handler);
    vec![
        entry("GET", "/v1/session", Need::SignedIn, get(projects::whoami)),
        entry("GET", "/v1/projects", Need::SignedIn, get(projects::list)),
        read("/v1/projects/{project}", get(projects::project)),
        read("/v1/projects/{project}/plan", get(plan::plan)),
        read("/v1/projects/{project}/plan.toml", get(plan::plan_file)),
        read("/v1/projects/{project}/logs", get(logs::logs)),
        read(
            "/v1/projects/{project}/logs/{log}/entries/{index}",
            get(logs::entry),
        ),
        read("/v1/projects/{project}/points", get(points::points)),
        read("/v1/projects/{project}/readings", get(readings::readings)),
        read("/v1/projects/{project}/gaps", get(logs::gaps)),
        read("/v1/projects/{project}/live", get(live::live)),
        read("/v1/projects/{project}/today", get(today::today)),
        read("/v1/projects/{project}/log", get(project_log::list)),
        entry(
            "POST",
            "/v1/projects/{project}/log",
            Need::Enter,
            post(project_log::enter),
        ),
        read("/v1/projects/{project}/log/{entry}", get(project_log::one)),
        entry(
            "POST",
            "/v1/projects/{project}/log/attachments",
            Need::Enter,
            post(project_log::upload).layer(DefaultBodyLimit::max(MOST_ATTACHMENT_BYTES)),
        ),
        read(
            "/v1/projects/{project}/log/attachments/{hash}",
            get(project_log::attachment),
        ),
        read("/v1/projects/{project}/reports", get(reports::list)),
        entry(
            "POST",
            "/v1/projects/{project}/reports",
            Need::Prepare,
            post(reports::create),
        ),
        read("/v1/projects/{project}/reports/{report}", get(reports::one)),
        read(
            "/v1/projects/{project}/reports/{report}/report.json",
            get(reports::file),
        ),
        read(
            "/v1/projects/{project}/reports/{report}/bundle.tar",
            get(bundle::bundle),
        ),
        read(
            "/v1/projects/{project}/reports/{report}/bundle.sha256",
            get(bundle::hash),
        ),
        entry(
            "GET",
            "/v1/projects/{project}/accesses",
            Need::Audit,
            get(projects::accesses),
        ),
        open("/v1/openapi.json", get(openapi::document)),
        open("/v1/health", get(openapi::health)),
        // Pages look after themselves: whoever is not signed in is led to the sign-in page.
        open("/", get(page::home)),
        open("/login", get(page::login_page)),
        entry("POST", "/login", Need::Open, post(page::login)),
        entry("POST", "/logout", Need::Open, post(page::logout)),
        open("/projects/{project}", get(page::project)),
        open("/assets/{name}", get(page::asset)),
    ]
}

/// Every route with what it asks of its caller.
#[must_use]
pub fn routes() -> Vec<Route> {
    table().into_iter().map(|(route, _)| route).collect()
}

/// The router over all routes.
pub(crate) fn router(app: &Shared) -> Router {
    let mut router = Router::new();
    for (route, handler) in table() {
        let state = (Shared::clone(app), route.need);
        router = router.route(
            route.path,
            handler.route_layer(from_fn_with_state(state, authorise)),
        );
    }
    let tls = app.tls;
    router
        .fallback(|| async { Problem::not_found("address") })
        .method_not_allowed_fallback(|| async { Problem::method() })
        .layer(DefaultBodyLimit::max(MOST_BODY_BYTES))
        .layer(CatchPanicLayer::custom(
            |_panic: Box<dyn std::any::Any + Send>| {
                Problem::internal(&"a handler panicked").into_response()
            },
        ))
        .layer(map_response(move |response: Response| {
            std::future::ready(secured(response, tls))
        }))
        .with_state(Shared::clone(app))
}

/// What every answer says to browsers. No script but our own file runs, nothing is framed, nothing
/// is guessed, and addresses are told to nobody.
const HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
];

fn secured(mut response: Response, tls: bool) -> Response {
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if tls {
        let value = HeaderValue::from_static("max-age=31536000");
        headers.insert(header::STRICT_TRANSPORT_SECURITY, value);
    }
    // What is not said to be cacheable is private to its caller.
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("private, no-cache"));
    response
}
