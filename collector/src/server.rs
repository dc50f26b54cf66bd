//! The daemon: what is shared, which address does what, and how it starts and stops.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsConfig, from_tcp_rustls};
use evidence::note::Vkey;
use hyper_util::rt::TokioTimer;
use store::{LogId, Store, StoreError};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tower_http::catch_panic::CatchPanicLayer;

use crate::answer::Answer;
use crate::clock::{Clock, ClockWatch};
use crate::config::{Config, ConfigError, Limits};
use crate::cosigner::{Cosigner, CosignerError};
use crate::limits::Rates;
use crate::relay::{RelayError, Relayer};
use crate::tls::{TlsError, TlsFiles};
use crate::{enrol, ingest, live, mirror, projects};

/// What every request sees. Nothing here outlives the process but what the store holds.
#[derive(Clone, Debug)]
pub(crate) struct Collector {
    pub(crate) store: Store,
    pub(crate) cosigner: Arc<Cosigner>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) watch: Arc<ClockWatch>,
    pub(crate) limits: Limits,
    pub(crate) rates: Arc<Rates<LogId>>,
    pub(crate) live_rates: Arc<Rates<LogId>>,
    /// Refused enrolments, by peer.
    pub(crate) enrolments: Arc<Rates<IpAddr>>,
    pub(crate) uploads: Arc<Semaphore>,
    /// The keys of the independent witnesses.
    pub(crate) witnesses: Arc<[Vkey]>,
}

impl Collector {
    /// What requests see of a store and a cosigner.
    pub(crate) fn new(
        store: Store,
        cosigner: Cosigner,
        clock: Arc<dyn Clock>,
        limits: Limits,
    ) -> Self {
        Self {
            store,
            cosigner: Arc::new(cosigner),
            watch: Arc::new(ClockWatch::new(&*clock)),
            clock,
            limits,
            rates: Arc::new(Rates::new(limits.uploads_per_minute)),
            live_rates: Arc::new(Rates::new(limits.uploads_per_minute)),
            enrolments: Arc::new(Rates::new(ENROLMENTS_PER_MINUTE)),
            uploads: Arc::new(Semaphore::new(limits.uploads_at_once)),
            witnesses: Arc::new([]),
        }
    }
}

/// Why the collector could not start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The cosigner's key.
    #[error(transparent)]
    Cosigner(#[from] CosignerError),
    /// The certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The clock cannot be right.
    #[error(
        "the machine's clock says unix second {0}, which is before this program was written; set it (`timedatectl`) before a cosignature carries such a time"
    )]
    Clock(i64),
    /// The relay to the witnesses.
    #[error(transparent)]
    Relay(#[from] RelayError),
    /// The listener.
    #[error("the listener failed")]
    Listener(#[from] std::io::Error),
}

/// How long requests under way may take at a stop; an upload that is cut is sent again.
const STOP: Duration = Duration::from_secs(10);
/// How long a connection may be silent between requests.
const IDLE: Duration = Duration::from_secs(370);
/// 2025-01-01T00:00Z.
const EARLIEST_MS: i64 = 1_735_689_600_000;
/// Refused enrolments of one peer per minute.
const ENROLMENTS_PER_MINUTE: u32 = 60;

/// Runs the collector on a listener until `shutdown` is ready, then lets requests under way end
/// (10 s at most) and closes the store.
///
/// If the clock is set by more than a minute while it runs, nothing is cosigned until a restart:
/// uploads and `/healthz` are answered 503, and the log has it as `error`.
///
/// # Errors
///
/// [`ServeError`], with the remedy, before the first connection is taken; afterwards only if the
/// listener fails.
pub async fn serve(
    config: &Config,
    listener: TcpListener,
    clock: Arc<dyn Clock>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    right_clock(&*clock)?;
    let cosigner = Cosigner::load(&config.cosigner_key_file)?;
    if config.tls.renew_if_due(clock.now_ms())? {
        tracing::info!(
            "Renewed the self-signed certificate; its key, and so every pin, is the same"
        );
    }
    let tls = config.tls.load()?;
    let store = Store::open(&config.store.url()?).await?;
    know_cosigner(&store, &cosigner).await?;
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    tracing::info!(
        listen = %address,
        cosigner = %cosigner.vkey(),
        store.engine = store.engine_name(),
        "The collector listens on {address}"
    );
    let mut collector = Collector::new(store.clone(), cosigner, Arc::clone(&clock), config.limits);
    let keys = config.witnesses.iter().map(|witness| witness.key.clone());
    collector.witnesses = keys.collect();
    let timestamp = config.timestamp.as_ref();
    let relayer = Relayer::new(collector.clone(), &config.witnesses, timestamp)?;
    let tls = RustlsConfig::from_config(tls.config);
    let handle = Handle::new();
    let mut server = from_tcp_rustls(listener, tls.clone())?.handle(handle.clone());
    // Somebody who opens a connection and says nothing holds it for this long. Longer than the
    // longest segment (300 s): a gateway keeps its one connection, and a new TLS handshake would
    // cost it more bytes than a segment has.
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE);
    let witnessing = collector.clone();
    let serving =
        server.serve(router(collector).into_make_service_with_connect_info::<SocketAddr>());
    let stopping = async {
        shutdown.await;
        tracing::info!("Stopping: requests under way may end");
        handle.graceful_shutdown(Some(STOP));
        // The renewal below never ends by itself; the server ends both.
        std::future::pending::<()>().await;
    };
    // A task of its own: what it waits for delays no upload. It ends with this function.
    let mut relaying = JoinSet::new();
    relaying.spawn(relayer.run());
    let mut witnessing_projects = JoinSet::new();
    witnessing_projects.spawn(async move { projects::follow(&witnessing).await });
    let outcome = tokio::select! {
        outcome = serving => outcome,
        () = stopping => Ok(()),
        () = keep_certificate(&config.tls, &tls, &*clock) => Ok(()),
        _died = relaying.join_next() => {
            // Evidence goes on without it; silence about it would not be noticed.
            Err(std::io::Error::other("the relay to the witnesses died"))
        }
        _died = witnessing_projects.join_next() => {
            Err(std::io::Error::other("cosigning of project logs died"))
        }
    };
    store.close().await;
    tracing::info!("Stopped");
    Ok(outcome?)
}

/// Refuses a clock that was never set: a cosignature would carry its time.
pub(crate) fn right_clock(clock: &dyn Clock) -> Result<(), ServeError> {
    let now_ms = clock.now_ms();
    if now_ms < EARLIEST_MS {
        return Err(ServeError::Clock(now_ms / 1000));
    }
    Ok(())
}

/// Says loudly if this store was served with another key before: gateways and verifiers know that
/// one, and take no word from this one.
pub(crate) async fn know_cosigner(store: &Store, cosigner: &Cosigner) -> Result<(), StoreError> {
    const NAME: &str = "cosigner";

    let ours = cosigner.vkey().to_string();
    let before = store.meta(NAME).await?;
    if before.as_deref() == Some(ours.as_bytes()) {
        return Ok(());
    }
    if let Some(before) = before {
        tracing::warn!(
            cosigner = ours,
            cosigner.before = %String::from_utf8_lossy(&before),
            "The store was served with another cosigner's key before; gateways refuse this one \
             until they are enrolled again: restore the old key file if this is a mistake"
        );
    }
    store.put_meta(NAME, ours.as_bytes()).await
}

/// Looks every six hours whether the certificate is to be renewed. Never ends.
async fn keep_certificate(files: &TlsFiles, serving: &RustlsConfig, clock: &dyn Clock) {
    let mut looks = tokio::time::interval(Duration::from_secs(6 * 3600));
    looks.tick().await;
    loop {
        looks.tick().await;
        let renewed = files.renew_if_due(clock.now_ms());
        match renewed.and_then(|renewed| renewed.then(|| files.load()).transpose()) {
            Ok(None) => {}
            Ok(Some(tls)) => {
                serving.reload_from_config(tls.config);
                tracing::info!("Renewed the self-signed certificate; its key is the same");
            }
            // The old one still serves; gateways that pin the key do not mind its end.
            Err(error) => tracing::error!(
                error = crate::answer::error_chain(&error),
                "The certificate could not be renewed"
            ),
        }
    }
}

fn router(collector: Collector) -> Router {
    Router::new()
        .route("/healthz", get(health))
        .route("/v1/enrol", post(enrol::enrol))
        .route("/v1/logs/{id}/entries", post(ingest::entries))
        .route("/v1/logs/{id}/live", post(live::post))
        .route("/v1/logs/{id}/head", get(mirror::head))
        .route("/logs/{id}/checkpoint", get(mirror::checkpoint))
        .route("/logs/{id}/tile/{*path}", get(mirror::tile))
        .route("/logs/{id}/payload/{index}", get(mirror::payload))
        .fallback(async || Answer::not_found("no such address"))
        .layer(CatchPanicLayer::new())
        .with_state(collector)
}

/// Whether the collector can do its work: 200 if the store answers and the clock was not set.
async fn health(State(collector): State<Collector>) -> Result<&'static str, Answer> {
    collector.store.ping().await?;
    collector
        .watch
        .check(&*collector.clock)
        .map_err(|doubt| Answer::busy(doubt.after_s, &doubt.reason))?;
    Ok("ok\n")
}
