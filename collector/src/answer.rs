//! Answers that are not a success: one text for the sender, one for the log.

use axum::Json;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use store::StoreError;

/// An answer other than success. What is in it goes to the sender.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The log has this size, not the one the sender believed: resume there.
    SizeIs(u64),
    /// Refused for good; sending the same again is pointless.
    Refused {
        status: StatusCode,
        /// The short code: a rule of the format (`E07`), or one of this protocol.
        code: &'static str,
        reason: String,
    },
    /// Not now; the same bytes are welcome after so many seconds.
    Later {
        status: StatusCode,
        after_s: u64,
        reason: String,
    },
    /// Our fault; the sender learns nothing of it, the log has it.
    Failed,
}

#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
    reason: &'a str,
    code: &'a str,
}

impl Answer {
    pub(crate) fn refused(
        status: StatusCode,
        code: &'static str,
        reason: impl Into<String>,
    ) -> Self {
        Self::Refused {
            status,
            code,
            reason: reason.into(),
        }
    }

    pub(crate) fn unknown_log() -> Self {
        Self::refused(
            StatusCode::NOT_FOUND,
            "unknown_log",
            "no log of this id is enrolled here; enrol the gateway with a code from `fieldseal-collector enrolment-code`",
        )
    }

    pub(crate) fn not_found(reason: impl Into<String>) -> Self {
        Self::refused(StatusCode::NOT_FOUND, "not_found", reason)
    }

    pub(crate) fn unauthorised() -> Self {
        Self::refused(
            StatusCode::UNAUTHORIZED,
            "token",
            "the bearer token is missing, expired or not this log's",
        )
    }

    pub(crate) fn bad_request(code: &'static str, reason: impl Into<String>) -> Self {
        Self::refused(StatusCode::BAD_REQUEST, code, reason)
    }

    pub(crate) fn too_many(after_s: u64) -> Self {
        let reason = "this log sends more often than it may; put more entries into one upload";
        Self::Later {
            status: StatusCode::TOO_MANY_REQUESTS,
            after_s,
            reason: reason.to_owned(),
        }
    }

    pub(crate) fn busy(after_s: u64, reason: &str) -> Self {
        Self::Later {
            status: StatusCode::SERVICE_UNAVAILABLE,
            after_s,
            reason: reason.to_owned(),
        }
    }
}

/// A store that is busy or away comes back; anything else is ours to look at. Logged here, once.
impl From<StoreError> for Answer {
    fn from(error: StoreError) -> Self {
        let chain = error_chain(&error);
        if error.is_transient() {
            tracing::warn!(
                error = chain,
                "The store does not answer; senders are told to wait"
            );
            return Self::busy(5, "the store does not answer just now");
        }
        tracing::error!(error = chain, "The store failed");
        Self::Failed
    }
}

/// An error with its causes, in one line.
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        match self {
            Self::SizeIs(size) => {
                let mut response = (StatusCode::CONFLICT, format!("{size}\n")).into_response();
                let kind = HeaderValue::from_static("text/x.tlog.size");
                response.headers_mut().insert(CONTENT_TYPE, kind);
                response
            }
            Self::Refused {
                status,
                code,
                reason,
            } => {
                let body = Json(Body {
                    error: "refused",
                    reason: &reason,
                    code,
                });
                (status, body).into_response()
            }
            Self::Later {
                status,
                after_s,
                reason,
            } => {
                let body = Json(Body {
                    error: "later",
                    reason: &reason,
                    code: "later",
                });
                let mut response = (status, body).into_response();
                response
                    .headers_mut()
                    .insert(RETRY_AFTER, HeaderValue::from(after_s));
                response
            }
            Self::Failed => {
                let reason = "the collector failed; its operator finds the cause in its log";
                let body = Json(Body {
                    error: "failed",
                    reason,
                    code: "internal",
                });
                (StatusCode::INTERNAL_SERVER_ERROR, body).into_response()
            }
        }
    }
}
