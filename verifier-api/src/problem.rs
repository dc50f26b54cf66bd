//! Errors as RFC 9457 problem documents.
//!
//! What went wrong inside is logged and never told: an answer names what the caller can change.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// A problem document (`application/problem+json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Names the kind of problem; `urn:fieldseal:problem:` and a word.
    #[serde(rename = "type")]
    kind: String,
    /// The kind in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong this time, and what to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// Seconds after which a caller may try again when the store was busy.
const RETRY_AFTER_S: u16 = 2;

impl Problem {
    fn new(status: StatusCode, word: &str, title: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:fieldseal:problem:{word}"),
            title,
            status: status.as_u16(),
            detail: Some(detail.into()),
        }
    }

    /// 400: the request itself is wrong.
    pub(crate) fn request(detail: impl Into<String>) -> Self {
        let title = "The request cannot be understood";
        Self::new(StatusCode::BAD_REQUEST, "request", title, detail)
    }

    /// 401: one text for every reason, so that nobody learns which tokens exist.
    pub(crate) fn unauthorised() -> Self {
        let detail = "send `Authorization: Bearer <token>` with a token that is valid now";
        let title = "A valid token is needed";
        Self::new(StatusCode::UNAUTHORIZED, "token", title, detail)
    }

    /// 403: known, but not allowed.
    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        let title = "Not allowed";
        Self::new(StatusCode::FORBIDDEN, "forbidden", title, detail)
    }

    /// 404: also for what the caller may not see, so that nobody learns what exists.
    pub(crate) fn not_found(what: &str) -> Self {
        let detail = format!("there is no such {what}, or your token does not cover it");
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    /// 405.
    pub(crate) fn method() -> Self {
        let detail = "see /v1/openapi.json for the methods of this path";
        let title = "Method not allowed";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method", title, detail)
    }

    /// 409: the state of things does not allow it.
    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        let title = "The present state does not allow this";
        Self::new(StatusCode::CONFLICT, "conflict", title, detail)
    }

    /// 422: understood, but it cannot be done.
    pub(crate) fn refused(detail: impl Into<String>) -> Self {
        let title = "This cannot be computed";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "refused", title, detail)
    }

    /// 422: what was sent breaks a rule.
    pub(crate) fn unfit(detail: impl Into<String>) -> Self {
        let title = "This cannot be entered";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "unfit", title, detail)
    }

    /// 503.
    pub(crate) fn busy(detail: impl Into<String>) -> Self {
        let title = "Busy, try again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", title, detail)
    }

    /// 500: the log has the reason.
    pub(crate) fn internal(reason: &dyn std::fmt::Display) -> Self {
        tracing::error!("answered 500: {reason}");
        let detail = "the server's log says why; nothing was changed";
        let title = "The server failed";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", title, detail)
    }

    /// The detail, for pages and jobs.
    pub(crate) fn detail(&self) -> &str {
        self.detail.as_deref().unwrap_or(self.title)
    }

    /// The status.
    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"fieldseal\""),
            );
        }
        response
    }
}

impl From<store::StoreError> for Problem {
    fn from(error: store::StoreError) -> Self {
        if error.is_transient() {
            tracing::warn!("the store is busy: {}", chain_text(&error));
            Self::busy("the store is busy or away")
        } else {
            Self::internal(&chain_text(&error))
        }
    }
}

/// An error with its causes, in one line.
pub(crate) fn chain_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// The result of a handler.
pub(crate) type Answer<T> = Result<T, Problem>;

/// A query as it came, so that a wrong one is answered with a problem document too.
pub(crate) type Asked<T> =
    Result<axum::extract::Query<T>, axum::extract::rejection::QueryRejection>;

/// The query, or what is wrong with it.
pub(crate) fn asked<T>(query: Asked<T>) -> Answer<T> {
    let axum::extract::Query(query) = query.map_err(|wrong| Problem::request(wrong.body_text()))?;
    Ok(query)
}
