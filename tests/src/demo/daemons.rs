//! The plant and the three daemons, started as tasks and stopped in order.

use std::ffi::OsString;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::Parser as _;
use collector::cosigner::Cosigner;
use collector::install::Install;
use gateway::buffer::LogReader;
use gateway::cli::{Cli, Failure};
use gateway::enrol::Enrolment;
use gateway::identity::Identity;
use gateway::notify::Notifier;
use store::Store;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use verifier_api::Role;
use verifier_api::apply;
use verifier_api::tokens::{self, NewToken};

use super::places::{Places, write};
use super::{LIVE_PROJECT, SEED};
use crate::gateway_config::{Points, plan_text};
use crate::plant::{Plant, machine_clock};
use crate::site::Site;

/// The live log.
pub(super) const LIVE_ORIGIN: &str = "demo.example/gw/live";

/// A daemon's task: it ends after its token is cancelled, or by itself with an error.
struct Part {
    name: &'static str,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

/// Everything that runs.
pub(super) struct Daemons {
    plant: Plant,
    /// In the order in which they stop: the gateway first, so that its last segment arrives.
    parts: tokio::sync::Mutex<Vec<Part>>,
    store: Store,
    collector: collector::Config,
    collector_url: String,
    cosigner_vkey: String,
    live_vkey: String,
    live_entries: u64,
    api_port: u16,
}

impl Daemons {
    pub(super) async fn start(places: &Places) -> anyhow::Result<Self> {
        let now = machine_clock();
        let site = Site::new(SEED);
        let plant = Plant::start(
            &places.broker(),
            site,
            Arc::clone(&now),
            Duration::from_secs(2),
        )
        .await
        .context("start the plant")?;

        let (collector, listener) = install_collector(places, now())?;
        let collector_url = format!("https://localhost:{}", listener.local_addr()?.port());
        let cosigner_vkey = Cosigner::load(&collector.cosigner_key_file)?
            .vkey()
            .to_string();
        let config = collector.clone();
        let receiving = part("collector", |stop| async move {
            let clock = Arc::new(collector::SystemClock);
            collector::serve(&config, listener, clock, stop.cancelled_owned()).await?;
            Ok(())
        });

        let store_url = collector.store.url()?;
        let listener = places.api_listener()?;
        let api_port = listener.local_addr()?.port();
        let settings = api_settings(places, &listener, &store_url).await?;
        let store = settings.store.clone();
        let reading = part("verifier API", |stop| async move {
            let clock = Arc::new(verifier_api::SystemClock);
            verifier_api::serve(settings, listener, clock, stop.cancelled_owned()).await
        });

        let mut daemons = Self {
            plant,
            parts: tokio::sync::Mutex::default(),
            store,
            collector,
            collector_url,
            cosigner_vkey,
            live_vkey: String::new(),
            live_entries: 0,
            api_port,
        };
        let recording = daemons.start_gateway(&places.live()).await?;
        daemons.parts = tokio::sync::Mutex::new(vec![recording, reading, receiving]);
        Ok(daemons)
    }

    async fn start_gateway(&mut self, directory: &Path) -> anyhow::Result<Part> {
        let data_dir = directory.join("data");
        let mut file = self
            .plant
            .gateway_file(LIVE_ORIGIN, &data_dir, 2, Points::All);
        file.collector = Some((self.collector_url.clone(), None));
        // A gateway hears that somebody watches with the answer to its next segment: nobody should
        // wait a minute for the first value here.
        file.segment_s = 10;
        // Whether this machine is synchronised is unknown; that it has a time is declared.
        file.clock_source = Some("system".to_owned());
        let config = directory.join("gateway.toml");
        write(&config, file.text().as_bytes())?;
        self.begin_log(&config, &data_dir, LIVE_ORIGIN).await?;
        self.live_vkey = vkey(&data_dir, LIVE_ORIGIN)?;
        self.live_entries = LogReader::of_dir(&data_dir.join("log")).await?.bounds().1;
        self.enrol(&config, &data_dir, "Simulated wellpad").await?;
        let cli = gateway_command(&config, &["run"])?;
        let stop = CancellationToken::new();
        let asked = stop.clone().cancelled_owned();
        // A thread of its own, as the program has a process of its own; it is driven by the same
        // runtime.
        let task = tokio::task::spawn_blocking(move || {
            let run = gateway::cli::execute(cli, Notifier::new(None), || asked);
            let ran = tokio::runtime::Handle::current().block_on(run);
            ran.map(drop).map_err(|failure| told(&failure))
        });
        Ok(Part {
            name: "gateway",
            stop,
            task,
        })
    }

    /// `init`, unless there is a log.
    pub(super) async fn begin_log(
        &self,
        config: &Path,
        data_dir: &Path,
        origin: &str,
    ) -> anyhow::Result<()> {
        if vkey(data_dir, origin).is_err() {
            gateway_once(config, &["init"]).await?;
        }
        Ok(())
    }

    /// `enroll`, with a code of the collector, unless that was done.
    pub(super) async fn enrol(
        &self,
        config: &Path,
        data_dir: &Path,
        site: &str,
    ) -> anyhow::Result<()> {
        if Enrolment::load(data_dir)?.is_some() {
            return Ok(());
        }
        let clock = collector::SystemClock;
        let code = collector::cli::enrolment_code(&self.collector, site, 1, &clock).await?;
        // The collector's task may not listen yet.
        retried("enrol the gateway", Duration::from_secs(20), || {
            let code = code.to_string();
            async move { gateway_once(config, &["enroll", &code]).await.map(drop) }
        })
        .await
    }

    /// Applies a plan as soon as the collector has what the plan names.
    pub(super) async fn apply(&self, text: &str, decision: &str) -> anyhow::Result<()> {
        let plan = retried(
            "the gateway's configuration to arrive",
            Duration::from_secs(60),
            || apply::check(&self.store, text, "plan.toml", &[]),
        )
        .await?;
        let now_ms = machine_clock()();
        apply::store(&self.store, text, &plan, decision, "the demo", now_ms).await?;
        Ok(())
    }

    /// Makes a fresh token of a role and revokes that of an earlier start, which nobody can look up
    /// again.
    pub(super) async fn token(&self, role: Role, projects: &[&str]) -> anyhow::Result<String> {
        let now_ms = machine_clock()();
        let label = format!("demo, {}", role.name());
        self.store.revoke_tokens(&label, now_ms).await?;
        let new = NewToken {
            label,
            role,
            projects: projects.iter().map(|&project| project.to_owned()).collect(),
            days: 30,
        };
        tokens::create(&self.store, &new, now_ms).await
    }

    pub(super) fn live_plan(&self) -> String {
        plan_text(LIVE_PROJECT.0, LIVE_PROJECT.1, LIVE_ORIGIN, &self.live_vkey)
    }

    /// Entries in the live log when this start found it.
    pub(super) fn live_entries(&self) -> u64 {
        self.live_entries
    }

    pub(super) fn collector_url(&self) -> &str {
        &self.collector_url
    }

    pub(super) fn cosigner_vkey(&self) -> String {
        self.cosigner_vkey.clone()
    }

    pub(super) fn api_port(&self) -> u16 {
        self.api_port
    }

    pub(super) fn plant(&self) -> &Plant {
        &self.plant
    }

    /// Completes when a part ends by itself, with its reason.
    pub(super) async fn failed(&self) -> String {
        loop {
            {
                let mut parts = self.parts.lock().await;
                if let Some(at) = parts.iter().position(|part| part.task.is_finished()) {
                    let part = parts.remove(at);
                    let reason = match part.task.await {
                        Ok(Ok(())) => "without a reason".to_owned(),
                        Ok(Err(error)) => format!("{error:#}"),
                        Err(error) => error.to_string(),
                    };
                    return format!("{}: {reason}", part.name);
                }
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Stops everything in order; the first failure is returned, and the rest is stopped all the
    /// same.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        let mut result = Ok(());
        for part in self.parts.into_inner() {
            part.stop.cancel();
            let ended = match tokio::time::timeout(Duration::from_secs(30), part.task).await {
                Ok(Ok(ended)) => ended,
                Ok(Err(error)) => Err(error.into()),
                Err(_late) => Err(anyhow!("did not stop within 30 s")),
            };
            result = result.and(ended.with_context(|| format!("stop the {}", part.name)));
        }
        result.and(self.plant.stop().await.context("stop the plant"))
    }
}

fn part<F>(name: &'static str, start: impl FnOnce(CancellationToken) -> F) -> Part
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let stop = CancellationToken::new();
    let task = tokio::spawn(start(stop.clone()));
    Part { name, stop, task }
}

fn install_collector(
    places: &Places,
    now_ms: i64,
) -> anyhow::Result<(collector::Config, TcpListener)> {
    let directory = places.collector();
    let file = directory.join("collector.toml");
    if !file.exists() {
        let install = Install {
            directory,
            name: "demo.example/collector".to_owned(),
            hosts: vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
            tls: None,
        };
        install.run(now_ms).context("set the collector up")?;
    }
    Ok((
        collector::Config::load(&file)?,
        places.collector_listener()?,
    ))
}

async fn api_settings(
    places: &Places,
    listener: &TcpListener,
    store: &str,
) -> anyhow::Result<verifier_api::Settings> {
    let tls = verifier_api::config::TlsFiles {
        cert_file: places.api().join("cert.pem"),
        key_file: places.api().join("key.pem"),
    };
    if !tls.key_file.exists() {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names)?;
        write(&tls.cert_file, made.cert.pem().as_bytes())?;
        write(&tls.key_file, made.signing_key.serialize_pem().as_bytes())?;
    }
    let config = verifier_api::Config {
        listen: listener.local_addr()?,
        store: store.to_owned(),
        tls: Some(tls),
        session_hours: 24,
        methodology_files: Vec::new(),
        data_dir: None,
    };
    verifier_api::Settings::open(&config).await
}

/// Returns the verification key of the log in a directory.
pub(super) fn vkey(data_dir: &Path, origin: &str) -> anyhow::Result<String> {
    let origin = evidence::hash::Origin::parse(origin)?;
    Ok(Identity::open(data_dir, &origin)?.vkey().to_string())
}

fn gateway_command(config: &Path, arguments: &[&str]) -> anyhow::Result<Cli> {
    let mut words: Vec<OsString> = vec!["fieldseal-gateway".into(), "--config".into()];
    words.push(config.into());
    words.extend(arguments.iter().map(OsString::from));
    Ok(Cli::try_parse_from(words)?)
}

/// Carries out a command of the gateway that ends by itself, exactly as its command line does.
pub(super) async fn gateway_once(config: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let cli = gateway_command(config, arguments)?;
    let done = gateway::cli::execute(cli, Notifier::new(None), std::future::pending::<()>).await;
    done.map_err(|failure| told(&failure))
}

fn told(failure: &Failure) -> anyhow::Error {
    anyhow!("{}", failure.text)
}

/// Tries until it succeeds or the time is over; the last failure is the reason.
pub(super) async fn retried<T, F>(
    what: &str,
    within: Duration,
    mut attempt: impl FnMut() -> F,
) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    let deadline = tokio::time::Instant::now() + within;
    loop {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(error) if tokio::time::Instant::now() > deadline => {
                bail!("waited {} s for {what}: {error:#}", within.as_secs());
            }
            Err(_not_yet) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}
