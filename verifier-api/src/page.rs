//! The pages: server-rendered, with one small script of our own.

use askama::Template;
use axum::body::Bytes;
use axum::extract::{OriginalUri, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use serde::Deserialize;

use crate::app::Shared;
use crate::auth::{self, Caller, Scope};
use crate::catalogue::Language;
use crate::logs::LogView;
use crate::plan::tagged;
use crate::points::PointView;
use crate::problem::{Answer, Problem};
use crate::projects::{self, ProjectLine, ProjectView};
use crate::reports::ReportLine;
use crate::role::Need;

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    lang: Language,
    failed: bool,
    /// The page that was wanted.
    next: String,
}

#[derive(Template)]
#[template(path = "projects.html")]
struct ProjectsPage {
    lang: Language,
    projects: Vec<ProjectLine>,
}

#[derive(Template)]
#[template(path = "project.html")]
struct ProjectPage {
    lang: Language,
    project: ProjectView,
    points: Vec<PointView>,
    logs: Vec<LogView>,
    reports: Vec<ReportLine>,
    may_prepare: bool,
    now_ms: i64,
}

fn html(page: &impl Template) -> Answer<Response> {
    let text = page.render().map_err(|error| Problem::internal(&error))?;
    Ok(Html(text).into_response())
}

/// The language of the pages, from the address or the browser.
#[derive(Debug, Deserialize)]
pub(crate) struct PageQuery {
    lang: Option<String>,
    next: Option<String>,
}

fn query(uri: &axum::http::Uri) -> Option<PageQuery> {
    Some(Query::<PageQuery>::try_from_uri(uri).ok()?.0)
}

/// Where to go after signing in: a project's page that was asked for, else the list. Never another
/// server, however it is written.
fn next_page(uri: &axum::http::Uri) -> String {
    let wanted = query(uri).and_then(|query| query.next).unwrap_or_default();
    let id = wanted.strip_prefix("/projects/").unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !id.is_empty() && id.chars().all(plain) {
        wanted
    } else {
        "/".to_owned()
    }
}

const LANGUAGE_COOKIE: &str = "fieldseal-lang";

fn language(uri: &axum::http::Uri, headers: &HeaderMap) -> (Language, bool) {
    let query = query(uri).and_then(|query| query.lang);
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let cookie = text(header::COOKIE).and_then(|cookies| {
        let mut pairs = cookies
            .split(';')
            .filter_map(|pair| pair.trim().split_once('='));
        pairs
            .find(|(name, _)| *name == LANGUAGE_COOKIE)
            .map(|(_, value)| value)
    });
    let chosen = Language::choose(query.as_deref(), cookie, text(header::ACCEPT_LANGUAGE));
    (chosen, query.is_some())
}

/// Remembers a choice made in the address.
fn remember(mut response: Response, (language, chosen): (Language, bool)) -> Response {
    let code = language.code();
    let cookie = format!("{LANGUAGE_COOKIE}={code}; Path=/; SameSite=Strict; Max-Age=31536000");
    if chosen && let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The caller, or the page where one signs in and then comes back.
async fn caller(app: &Shared, headers: &HeaderMap, path: &str) -> Result<Caller, Response> {
    let found = auth::identify(app, &axum::http::Method::GET, headers).await;
    found.map_err(|problem| match problem.status() {
        StatusCode::UNAUTHORIZED if path == "/" => Redirect::to("/login").into_response(),
        StatusCode::UNAUTHORIZED => Redirect::to(&format!("/login?next={path}")).into_response(),
        _ => problem.into_response(),
    })
}

/// The projects of whoever is signed in; straight to the project if it is the only one.
pub(crate) async fn home(
    State(app): State<Shared>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Answer<Response> {
    let caller = match caller(&app, &headers, uri.path()).await {
        Ok(caller) => caller,
        Err(response) => return Ok(response),
    };
    let projects = projects::of_caller(&app, &caller).await?;
    if let [only] = projects.as_slice() {
        return Ok(Redirect::to(&format!("/projects/{}", only.id)).into_response());
    }
    let lang = language(&uri, &headers);
    let page = ProjectsPage {
        lang: lang.0,
        projects,
    };
    Ok(remember(html(&page)?, lang))
}

/// A project: today's figures, live values, gateways, reports, how to check.
pub(crate) async fn project(
    State(app): State<Shared>,
    Path(id): Path<String>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Answer<Response> {
    let caller = match caller(&app, &headers, uri.path()).await {
        Ok(caller) => caller,
        Err(response) => return Ok(response),
    };
    let scope: Scope = auth::scope(&app, &caller, &id).await?;
    let lang = language(&uri, &headers);
    let page = ProjectPage {
        lang: lang.0,
        project: projects::view(&app, &scope).await?,
        points: crate::points::of_project(&app, &scope).await?,
        logs: crate::logs::views(&app, &scope).await?,
        reports: crate::reports::lines(&app, &scope).await?,
        may_prepare: caller.role.may(Need::Prepare),
        now_ms: app.now_ms(),
    };
    Ok(remember(html(&page)?, lang))
}

/// The page where a token is pasted.
pub(crate) async fn login_page(
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Answer<Response> {
    let lang = language(&uri, &headers);
    let page = LoginPage {
        lang: lang.0,
        failed: false,
        next: next_page(&uri),
    };
    Ok(remember(html(&page)?, lang))
}

#[derive(Deserialize)]
struct LoginForm {
    token: String,
}

/// Reads a form's body, which is written like a query.
fn form(body: &Bytes) -> Option<LoginForm> {
    let text = std::str::from_utf8(body).ok()?;
    let uri = format!("/?{text}").parse().ok()?;
    Some(Query::<LoginForm>::try_from_uri(&uri).ok()?.0)
}

/// Exchanges a token for a session cookie.
pub(crate) async fn login(
    State(app): State<Shared>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<Response> {
    if !auth::from_own_page(&headers) {
        return Err(Problem::forbidden("sign in on our own page"));
    }
    let token = form(&body)
        .map(|form| form.token.trim().to_owned())
        .unwrap_or_default();
    match auth::check(&app, &token).await {
        Ok(_caller) => {}
        Err(problem) if problem.status() == StatusCode::UNAUTHORIZED => {
            let lang = language(&uri, &headers);
            let page = LoginPage {
                lang: lang.0,
                failed: true,
                next: next_page(&uri),
            };
            let mut response = remember(html(&page)?, lang);
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            return Ok(response);
        }
        Err(problem) => return Err(problem),
    }
    let cookie = app.sessions.open(token, app.random()?, app.now_ms());
    Ok(with_cookie(
        Redirect::to(&next_page(&uri)).into_response(),
        &app.sessions.set_cookie(&cookie, app.tls),
    ))
}

/// Ends the session.
pub(crate) async fn logout(State(app): State<Shared>, headers: HeaderMap) -> Answer<Response> {
    if !auth::from_own_page(&headers) {
        return Err(Problem::forbidden("sign out on our own page"));
    }
    if let Some(cookie) = auth::cookie(&headers, app.tls) {
        app.sessions.close(cookie);
    }
    let gone = app.sessions.set_cookie("", app.tls);
    Ok(with_cookie(Redirect::to("/login").into_response(), &gone))
}

fn with_cookie(mut response: Response, cookie: &str) -> Response {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// Style, script and icon, which are part of the program.
pub(crate) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Answer<Response> {
    let (content_type, bytes): (_, &'static [u8]) = match name.as_str() {
        "page.css" => (
            "text/css; charset=utf-8",
            include_bytes!("../assets/page.css"),
        ),
        "page.js" => (
            "text/javascript; charset=utf-8",
            include_bytes!("../assets/page.js"),
        ),
        "icon.svg" => ("image/svg+xml", include_bytes!("../assets/icon.svg")),
        _ => return Err(Problem::not_found("file")),
    };
    let tag = format!("\"{}\"", evidence::hash::sha256(bytes).to_hex());
    let file = ([(header::CONTENT_TYPE, content_type)], bytes).into_response();
    let mut response = tagged(&headers, &tag, file);
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;

    use super::{form, next_page};

    #[test]
    fn after_signing_in_one_stays_on_this_server() {
        let next = |uri: &str| next_page(&uri.parse().unwrap());
        assert_eq!(next("/login?next=/projects/ID_1.a-b"), "/projects/ID_1.a-b");
        assert_eq!(next("/login"), "/");
        for evil in [
            "https://evil.example",
            "//evil.example",
            "/projects//evil",
            "/projects/",
            "/projects/a%0Ab",
        ] {
            assert_eq!(next(&format!("/login?next={evil}")), "/", "{evil}");
        }
    }

    #[test]
    fn a_form_is_read_with_its_escapes() {
        let read = form(&Bytes::from_static(b"token=fsv_a%2Bb")).unwrap();
        assert_eq!(read.token, "fsv_a+b");
        assert!(form(&Bytes::from_static(b"other=1")).is_none());
        assert!(form(&Bytes::from_static(&[0xff])).is_none());
    }
}
