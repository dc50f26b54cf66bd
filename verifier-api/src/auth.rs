//! Who is calling, and whether they may.
//!
//! Every route goes through [`authorise`] with its own [`Need`]. A program sends a bearer token, a
//! page its cookie. What a caller may not see answers like what does not exist.

use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use store::{Log, LogId, LogRef, Project, SiteId, Token, TokenState};

use crate::app::{App, Shared};
use crate::problem::{Answer, Problem};
use crate::role::{Need, Role};
use crate::session::cookie_of;

/// Whoever calls, known by a valid token.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) token: Token,
    pub(crate) role: Role,
    /// Names the token in what its owner enters, and lets nobody use it.
    pub(crate) id: String,
}

impl Caller {
    pub(crate) fn who(&self) -> &str {
        &self.token.label
    }

    /// Whether the token is for this project; one without projects is for all.
    pub(crate) fn covers(&self, project: &str) -> bool {
        self.token.projects.is_empty() || self.token.projects.iter().any(|own| own == project)
    }
}

/// The project in the address, which the caller may see.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    pub(crate) project: Project,
    pub(crate) sites: Vec<SiteId>,
}

impl Scope {
    pub(crate) fn id(&self) -> &str {
        &self.project.id
    }

    /// The logs of the project's sites, by site, then origin.
    pub(crate) async fn logs(&self, app: &App) -> Answer<Vec<Log>> {
        let mut logs = Vec::new();
        for site in &self.sites {
            logs.extend(app.store.logs_of_site(*site).await?);
        }
        Ok(logs)
    }

    /// A log in the address, if it belongs to the project.
    pub(crate) async fn log(&self, app: &App, id: &str) -> Answer<Log> {
        let missing = || Problem::not_found("log");
        let id = LogId::from_hex(id).ok_or_else(missing)?;
        let (at, _token) = app.store.locate(id).await?.ok_or_else(missing)?;
        if !self.sites.contains(&at.site) {
            return Err(missing());
        }
        let log = LogRef {
            site: at.site,
            log: id,
        };
        app.store.log(log).await?.ok_or_else(missing)
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

pub(crate) fn cookie(headers: &HeaderMap, tls: bool) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .find_map(|value| cookie_of(value, tls))
}

/// Whether a request that changes something comes from our own page. Browsers send both headers by
/// themselves and let no page forge them.
pub(crate) fn from_own_page(headers: &HeaderMap) -> bool {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let site = headers
        .get("sec-fetch-site")
        .and_then(|value| value.to_str().ok());
    if let Some(site) = site {
        return site == "same-origin";
    }
    match (text(header::ORIGIN), text(header::HOST)) {
        (Some(origin), Some(host)) => origin
            .split_once("://")
            .is_some_and(|(_, named)| named.eq_ignore_ascii_case(host)),
        _ => false,
    }
}

/// Finds out who calls: by bearer token, else by cookie.
pub(crate) async fn identify(app: &App, method: &Method, headers: &HeaderMap) -> Answer<Caller> {
    let now_ms = app.now_ms();
    let (secret, by_cookie) = match bearer(headers) {
        Some(token) => (token.to_owned(), false),
        None => {
            let cookie = cookie(headers, app.tls).ok_or_else(Problem::unauthorised)?;
            let token = app.sessions.token(cookie, now_ms);
            (token.ok_or_else(Problem::unauthorised)?, true)
        }
    };
    if by_cookie && !method.is_safe() && !from_own_page(headers) {
        return Err(Problem::forbidden(
            "a change with a cookie must come from our own page; a program sends a bearer token",
        ));
    }
    check(app, &secret).await
}

/// What a token is worth now.
pub(crate) async fn check(app: &App, secret: &str) -> Answer<Caller> {
    match app.store.check_token(secret, app.now_ms()).await? {
        TokenState::Valid(token) => {
            let role = Role::from_name(&token.role).ok_or_else(Problem::unauthorised)?;
            let hash = evidence::hash::sha256(secret.as_bytes()).to_hex();
            let id = format!("token {}", hash.get(..16).unwrap_or(&hash));
            Ok(Caller { token, role, id })
        }
        TokenState::Expired | TokenState::Revoked | TokenState::Unknown => {
            Err(Problem::unauthorised())
        }
    }
}

/// Lets a request pass to its handler, or answers it.
pub(crate) async fn authorise(
    State((app, need)): State<(Shared, Need)>,
    request: Request,
    next: Next,
) -> Response {
    match admit(&app, need, request).await {
        Ok(request) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

async fn admit(app: &Shared, need: Need, request: Request) -> Answer<Request> {
    if need == Need::Open {
        return Ok(request);
    }
    let caller = identify(app, request.method(), request.headers()).await?;
    let (mut parts, body) = request.into_parts();
    let params = RawPathParams::from_request_parts(&mut parts, app).await;
    let params = params.map_err(|_bad_utf8| Problem::request("the address is not UTF-8"))?;
    let project = params
        .iter()
        .find(|(name, _)| *name == "project")
        .map(|(_, id)| id.to_owned());
    if let Some(id) = project {
        // Scope before role: a caller from elsewhere learns nothing, not even that it exists.
        let scope = scope(app, &caller, &id).await?;
        parts.extensions.insert(scope);
    }
    if !caller.role.may(need) {
        let detail = format!(
            "this needs one of the roles {}; your token is for `{}`",
            need.roles().join(", "),
            caller.role.name()
        );
        return Err(Problem::forbidden(detail));
    }
    parts.extensions.insert(caller);
    Ok(Request::from_parts(parts, body))
}

/// The project of this id, if the caller may see it.
pub(crate) async fn scope(app: &App, caller: &Caller, id: &str) -> Answer<Scope> {
    let projects = app.store.projects().await?;
    let project = projects.into_iter().find(|project| project.id == id);
    let project = project
        .filter(|project| caller.covers(&project.id))
        .ok_or_else(|| Problem::not_found("project"))?;
    let sites = app.store.project_sites(&project.id).await?;
    Ok(Scope { project, sites })
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(Problem::unauthorised)
    }
}

impl<S: Sync> FromRequestParts<S> for Scope {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let scope = parts.extensions.get::<Self>().cloned();
        scope.ok_or_else(|| Problem::not_found("project"))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;

    use super::from_own_page;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn a_change_is_taken_only_from_our_own_page() {
        assert!(from_own_page(&headers(&[(
            "sec-fetch-site",
            "same-origin"
        )])));
        assert!(!from_own_page(&headers(&[(
            "sec-fetch-site",
            "cross-site"
        )])));
        assert!(!from_own_page(&headers(&[("sec-fetch-site", "same-site")])));
        let same = [
            ("origin", "https://a.example:8443"),
            ("host", "a.example:8443"),
        ];
        assert!(from_own_page(&headers(&same)));
        let other = [
            ("origin", "https://evil.example"),
            ("host", "a.example:8443"),
        ];
        assert!(!from_own_page(&headers(&other)));
        assert!(!from_own_page(&headers(&[])));
    }
}
