//! The witness's HTTP interface: three addresses, nothing to log in to.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State as Shared};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsConfig, from_tcp_rustls};
use evidence::cosigner::Cosigner;
use evidence::witness::{Refusal, Request, RequestError};
use hyper_util::rt::TokioTimer;
use rustls::ServerConfig;
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;

use super::clock::{Clock, Watched};
use super::rates::Rates;
use super::state::{Outcome, State, StateError};

const TEXT: &str = "text/plain; charset=utf-8";
/// Requests worked on at the same moment; each holds at most one body.
const AT_ONCE: usize = 64;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection may be silent between requests.
const IDLE: Duration = Duration::from_secs(60);
/// How long requests under way may take at a stop.
const STOP: Duration = Duration::from_secs(10);

/// How a witness serves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// TLS in the program itself; `None` behind a proxy that does it.
    pub tls: Option<Arc<ServerConfig>>,
    /// Cosignatures of one growing log per minute, at least 1.
    pub per_minute: u32,
}

/// What every request sees.
#[derive(Debug)]
struct Witness {
    state: State,
    cosigner: Cosigner,
    clock: Watched,
    rates: Rates,
    at_once: Semaphore,
}

/// Serves on a listener until `shutdown` is ready, then lets requests under way end (10 s at most).
///
/// # Errors
/// Those of the listener.
pub async fn serve(
    state: State,
    cosigner: Cosigner,
    settings: Settings,
    listener: TcpListener,
    clock: Arc<dyn Clock>,
    shutdown: impl Future<Output = ()>,
) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let scheme = if settings.tls.is_some() {
        "https"
    } else {
        "http"
    };
    tracing::info!(
        witness = %cosigner.vkey(),
        "The witness listens on {scheme}://{address}"
    );
    let witness = Arc::new(Witness {
        state: state.clone(),
        cosigner,
        clock: Watched::new(clock),
        rates: Rates::new(settings.per_minute.max(1)),
        at_once: Semaphore::new(AT_ONCE),
    });
    let service = router(witness).into_make_service();
    let handle = Handle::new();
    let stopping = async {
        shutdown.await;
        tracing::info!("Stopping: requests under way may end");
        handle.graceful_shutdown(Some(STOP));
        // The server ends the race below.
        std::future::pending::<()>().await;
    };
    let serving = async {
        if let Some(tls) = settings.tls {
            let mut server =
                from_tcp_rustls(listener, RustlsConfig::from_config(tls))?.handle(handle.clone());
            let mut http = server.http_builder().http1();
            http.timer(TokioTimer::new()).header_read_timeout(IDLE);
            server.serve(service).await
        } else {
            let mut server = axum_server::from_tcp(listener)?.handle(handle.clone());
            let mut http = server.http_builder().http1();
            http.timer(TokioTimer::new()).header_read_timeout(IDLE);
            server.serve(service).await
        }
    };
    let outcome = tokio::select! {
        outcome = serving => outcome,
        () = stopping => Ok(()),
    };
    state.close().await;
    outcome
}

fn router(witness: Arc<Witness>) -> Router {
    Router::new()
        .route("/", get(about))
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/{id}/checkpoint", get(checkpoint))
        .layer(CatchPanicLayer::new())
        .with_state(witness)
}

/// For a person who opens the address in a browser.
async fn about(Shared(witness): Shared<Arc<Witness>>) -> String {
    format!(
        "A witness of transparency logs (https://c2sp.org/tlog-witness).\n{}\n",
        witness.cosigner.vkey()
    )
}

async fn checkpoint(Shared(witness): Shared<Arc<Witness>>, Path(id): Path<String>) -> Response {
    match witness.state.checkpoint(&id).await {
        Ok(Some(note)) => {
            let mut response = answer(StatusCode::OK, TEXT, note);
            let cache = HeaderValue::from_static("no-cache");
            response.headers_mut().insert(CACHE_CONTROL, cache);
            response
        }
        Ok(None) => answer(
            StatusCode::NOT_FOUND,
            TEXT,
            "this witness has cosigned no checkpoint of such a log\n",
        ),
        Err(error) => failed(&error),
    }
}

async fn add_checkpoint(Shared(witness): Shared<Arc<Witness>>, body: Body) -> Response {
    let Ok(_permit) = witness.at_once.try_acquire() else {
        return later(
            StatusCode::SERVICE_UNAVAILABLE,
            2,
            "busy; come back in a moment",
        );
    };
    let reading = tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, Request::MAX_BYTES));
    let body = match reading.await {
        Ok(Ok(body)) => body,
        Ok(Err(_too_long_or_broken)) => {
            return refuse(&RequestError::TooLarge(Request::MAX_BYTES + 1).into());
        }
        Err(_elapsed) => {
            return later(StatusCode::REQUEST_TIMEOUT, 5, "the body took too long");
        }
    };
    match witness.take_in(&body).await {
        Ok(response) => response,
        Err(error) => failed(&error),
    }
}

impl Witness {
    async fn take_in(&self, body: &[u8]) -> Result<Response, StateError> {
        let request = match Request::parse(body) {
            Ok(request) => request,
            Err(error) => return Ok(refuse(&error.into())),
        };
        let keys = self.state.keys(request.origin()).await?;
        // Before the rate is counted: what a stranger sends uses up nothing of a log.
        let size = match request.authenticate(&keys) {
            Ok(authentic) => authentic.checkpoint().size,
            Err(refusal) => return Ok(refuse(&refusal)),
        };
        let (origin, grows) = (request.origin(), size > request.old);
        if let Err(after_s) = self.rates.take(origin, grows, self.clock.now_ms()) {
            let why = "this log asks more often than it may";
            return Ok(later(StatusCode::TOO_MANY_REQUESTS, after_s, why));
        }
        let now_s = match self.clock.second() {
            Ok(now_s) => now_s,
            Err(doubt) => {
                tracing::error!(
                    log.origin = origin,
                    doubt,
                    "Not cosigned: the time is in doubt"
                );
                return Ok(later(StatusCode::SERVICE_UNAVAILABLE, 60, &doubt));
            }
        };
        let outcome = self
            .state
            .cosign(&request, &keys, &self.cosigner, now_s)
            .await?;
        Ok(match outcome {
            Outcome::Cosigned(line) => {
                tracing::info!(log.origin = origin, log.size = size, "Cosigned");
                answer(StatusCode::OK, TEXT, line.to_line())
            }
            Outcome::Refused(refusal) => {
                match &refusal {
                    Refusal::OtherRoot { .. } => tracing::error!(
                        log.origin = origin, refusal.reason = %refusal,
                        "A LOG SHOWS TWO HISTORIES: its key signed two roots for one size"
                    ),
                    Refusal::SizeIs(held) => {
                        tracing::info!(log.origin = origin, log.size = held, "Told the held size");
                    }
                    other => tracing::warn!(
                        log.origin = origin, refusal.reason = %other,
                        "Refused what the log signed"
                    ),
                }
                refuse(&refusal)
            }
            Outcome::ClockBehind(last_s) => {
                let why = format!(
                    "this witness's clock says unix second {now_s}, and it cosigned this log at {last_s}; nothing is signed with a time before that"
                );
                tracing::error!(log.origin = origin, "Not cosigned: {why}");
                later(
                    StatusCode::SERVICE_UNAVAILABLE,
                    (last_s - now_s).min(3600),
                    &why,
                )
            }
        })
    }
}

fn refuse(refusal: &Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
    answer(status, refusal.content_type(), refusal.body())
}

fn later(status: StatusCode, after_s: u64, why: &str) -> Response {
    let mut response = answer(status, TEXT, format!("{why}\n"));
    let after = HeaderValue::from(after_s);
    response.headers_mut().insert(RETRY_AFTER, after);
    response
}

/// The state did not take it: nothing was signed, and the log may come again.
fn failed(error: &StateError) -> Response {
    tracing::error!(error = %error, "The state failed; nothing was signed");
    later(
        StatusCode::SERVICE_UNAVAILABLE,
        60,
        "the witness's state failed; its operator finds the cause in its log",
    )
}

fn answer(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = (status, body.into()).into_response();
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
