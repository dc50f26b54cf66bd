//! The reader's side of Fieldseal: HTTP API, live events, one page per project, reports, bundles.
//!
//! Promises:
//!
//! - Nothing is shown that does not verify: every reading comes from a segment whose signature and
//!   payload root were checked on the way; a report walks every entry through
//!   `evidence::chain::Chain` to the root of a cosigned checkpoint. The store is never trusted.
//! - Nothing here is proof. A bundle is, checked offline with a verifier's own keys and plan.
//! - A token sees its projects only; what it may not see answers like what does not exist. Every
//!   read of evidence is in an access log before a byte of it is handed out.
//! - Streams are bounded: readings and bundles of any length pass through a few pages of memory, and
//!   a transfer that fails breaks, so that nobody takes a part for the whole.
//!
//! [`serve`] takes its listener, clock and shutdown as values: tests and the demo start the real thing.

mod app;
pub mod apply;
mod auth;
mod bundle;
mod catalogue;
pub mod cli;
pub mod clock;
mod compute;
pub mod config;
mod facts;
mod job;
#[expect(unused_qualifications, reason = "utoipa's macro writes paths in full")]
mod live;
#[expect(unused_qualifications, reason = "utoipa's macro writes paths in full")]
mod logs;
mod nodes;
mod openapi;
mod page;
mod plan;
mod points;
mod problem;
pub mod project_log;
#[expect(unused_qualifications, reason = "utoipa's macro writes paths in full")]
mod projects;
#[expect(unused_qualifications, reason = "utoipa's macro writes paths in full")]
mod readings;
#[expect(unused_qualifications, reason = "utoipa's macro writes paths in full")]
mod reports;
mod role;
mod routes;
mod session;
mod time;
mod today;
pub mod tokens;
mod walk;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use hyper_util::rt::TokioTimer;
use quantification::methodology::Methodology;
use store::Store;
use tokio_util::sync::CancellationToken;

pub use clock::{Clock, SystemClock};
pub use config::Config;
pub use role::{Need, Role};
pub use routes::{Route, routes};

use app::App;

/// What a server needs besides its listener, clock and shutdown.
#[derive(Debug)]
pub struct Settings {
    /// The collector's store.
    pub store: Store,
    /// TLS; none only on a loopback address.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Methodologies besides the shipped ones.
    pub methodologies: Vec<Methodology>,
    /// How long a page stays signed in, in hours.
    pub session_hours: u32,
    /// Where the keys of project logs are; without it nothing can be entered.
    pub data_dir: Option<std::path::PathBuf>,
}

impl Settings {
    /// Opens what a configuration names.
    ///
    /// # Errors
    /// A file that cannot be read or used, or a store that cannot be opened, by name.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let tls = config
            .tls
            .as_ref()
            .map(config::TlsFiles::server_config)
            .transpose()?;
        let mut methodologies = Vec::new();
        for file in &config.methodology_files {
            let name = file.display().to_string();
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("methodology_files: cannot read {name}"))?;
            methodologies.push(Methodology::parse(&text, &name)?);
        }
        let store = Store::open(&config.store).await?;
        Ok(Self {
            store,
            tls,
            methodologies,
            session_hours: config.session_hours,
            data_dir: config.data_dir.clone(),
        })
    }
}

/// Requests under way get so long to end after the shutdown was asked for.
const GRACE: Duration = Duration::from_secs(5);
/// A connection on which no whole request head arrives for so long is closed.
const IDLE: Duration = Duration::from_secs(60);

/// Serves until `shutdown` completes, then ends streams and waits some seconds for the rest.
///
/// # Errors
/// The listener cannot be used.
pub async fn serve(
    settings: Settings,
    listener: TcpListener,
    clock: Arc<dyn Clock>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    listener.set_nonblocking(true).context("the listener")?;
    let stop = CancellationToken::new();
    let app = Arc::new(App {
        store: settings.store,
        clock,
        sessions: session::Sessions::new(settings.session_hours),
        live: live::Hub::new(stop.clone()),
        jobs: job::Jobs::default(),
        today: today::Today::default(),
        project_logs: project_log::Writer::new(settings.data_dir),
        methodologies: settings.methodologies,
        tls: settings.tls.is_some(),
        random: ring::rand::SystemRandom::new(),
    });
    let service = routes::router(&app).into_make_service();
    let following = tokio::spawn(live::follow(Arc::clone(&app)));
    let handle = axum_server::Handle::new();
    let ending = tokio::spawn({
        let (handle, stop) = (handle.clone(), stop.clone());
        async move {
            tokio::select! {
                () = shutdown => {}
                () = stop.cancelled() => return,
            }
            // Streams first: they would otherwise hold the shutdown back for the whole grace.
            stop.cancel();
            handle.graceful_shutdown(Some(GRACE));
        }
    });
    let served = match settings.tls {
        Some(tls) => {
            let tls = axum_server::tls_rustls::RustlsConfig::from_config(tls);
            let mut server = axum_server::from_tcp_rustls(listener, tls)?;
            let http = server.http_builder();
            http.http1()
                .timer(TokioTimer::new())
                .header_read_timeout(IDLE);
            server.handle(handle).serve(service).await
        }
        None => {
            let mut server = axum_server::from_tcp(listener)?;
            let http = server.http_builder();
            http.http1()
                .timer(TokioTimer::new())
                .header_read_timeout(IDLE);
            server.handle(handle).serve(service).await
        }
    };
    stop.cancel();
    for task in [following, ending] {
        task.await.context("a task of the server")?;
    }
    served.context("serving")
}
