//! The server under test with its store, clock, people and certificate.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use evidence::quality::Quality;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;
use store::Store;
use tokio_util::sync::CancellationToken;
use verifier_api::project_log::Writer;
use verifier_api::tokens::{self, NewToken};
use verifier_api::{Clock, Role, Settings, apply, serve};

use crate::plant::{ORIGIN, Plant};

/// 2026-03-10T00:00 in the plan's zone (Asia/Makassar, UTC+8).
pub(crate) const MIDNIGHT: i64 = 1_773_072_000_000;
/// The project of the solar example.
pub(crate) const PROJECT: &str = "ID_DEMO2";
/// Its project log.
pub(crate) const PROJECT_LOG: &str = "example.com/project/ID_DEMO2";
const SOLAR: &str = include_str!("../../../quantification/examples/solar.plan.toml");

#[derive(Debug)]
pub(crate) struct ManualClock(AtomicI64);

impl ManualClock {
    pub(crate) fn now(&self) -> i64 {
        self.now_ms()
    }

    pub(crate) fn set(&self, ms: i64) {
        self.0.store(ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

pub(crate) struct Bed {
    pub(crate) store: Store,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) address: SocketAddr,
    pub(crate) client: Client,
    pub(crate) plant: Plant,
    pub(crate) directory: tempfile::TempDir,
    stop: CancellationToken,
    served: tokio::task::JoinHandle<anyhow::Result<()>>,
}

/// The solar plan with the anchor of a plant.
pub(crate) fn plan_text(plant: &Plant) -> String {
    let old = SOLAR
        .split("anchor = \"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    SOLAR.replace(old, &plant.vkey())
}

pub(crate) fn client() -> Client {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    // Another test of this process may have been first.
    drop(provider.as_ref().clone().install_default());
    Client::builder()
        .tls_danger_accept_invalid_certs(true)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
}

impl Bed {
    /// A server on an empty store with one enrolled log; readings from an hour before midnight on.
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store_url = format!("sqlite:{}", directory.path().join("central.db").display());
        let store = Store::open(&store_url).await.unwrap();
        let plant = Plant::enrol(&store, "Solar field", ORIGIN, MIDNIGHT - 3_600_000).await;
        let clock = Arc::new(ManualClock(AtomicI64::new(MIDNIGHT)));
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let tls = verifier_api::config::server_config(
            vec![made.cert.der().clone()],
            PrivateKeyDer::Pkcs8(key),
        );
        let settings = Settings {
            store: store.clone(),
            tls: Some(tls.unwrap()),
            methodologies: Vec::new(),
            session_hours: 12,
            data_dir: Some(directory.path().join("api")),
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let clock_of_server: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let served = tokio::spawn(serve(settings, listener, clock_of_server, stopped));
        Self {
            store,
            clock,
            address,
            client: client(),
            plant,
            stop,
            served,
            directory,
        }
    }

    /// The same with the plan applied and readings until a quarter past midnight: one sample at
    /// 00:00:20 timed out, and the mains failed from 00:05 for a minute.
    pub(crate) async fn with_readings() -> Self {
        let mut bed = Self::new().await;
        bed.apply().await;
        let missing = BTreeMap::from([(bed.plant.tick + 360 + 2, Quality::TIMEOUT)]);
        bed.plant.measure(65, &missing);
        bed.plant.pause(6);
        bed.plant.measure(9, &missing);
        bed.clock.set(bed.plant.now_ms() + 1000);
        let now_ms = bed.clock.now_ms();
        bed.plant.upload(&bed.store, now_ms).await;
        bed
    }

    pub(crate) async fn apply(&self) {
        let text = plan_text(&self.plant);
        let plan = apply::check(&self.store, &text, "plan.toml", &[])
            .await
            .unwrap();
        apply::store(&self.store, &text, &plan, "decision 1", "test", MIDNIGHT)
            .await
            .unwrap();
    }

    /// Begins the project's log, as `log init` does; its key.
    pub(crate) async fn project_log(&self) -> String {
        let writer = Writer::new(Some(self.directory.path().join("api")));
        let origin = evidence::hash::Origin::parse(PROJECT_LOG).unwrap();
        let now_ms = self.clock.now_ms();
        let key = writer.init(&self.store, PROJECT, &origin, now_ms).await;
        writer
            .enter_versions(&self.store, PROJECT, now_ms)
            .await
            .unwrap();
        key.unwrap().to_string()
    }

    pub(crate) async fn token(&self, role: Role, projects: &[&str]) -> String {
        let new = NewToken {
            label: format!("{} of {}", role.name(), projects.join("+")),
            role,
            projects: projects.iter().map(|id| (*id).to_owned()).collect(),
            days: 30,
        };
        tokens::create(&self.store, &new, self.clock.now_ms())
            .await
            .unwrap()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.address.port())
    }

    pub(crate) fn get(&self, token: &str, path: &str) -> RequestBuilder {
        self.client.get(self.url(path)).bearer_auth(token)
    }

    pub(crate) async fn json(&self, token: &str, path: &str) -> Value {
        let response = self.get(token, path).send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert_eq!(status, StatusCode::OK, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Stops the server as its shutdown does and waits for its end.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.served.await.unwrap().unwrap();
        self.store.close().await;
    }
}

/// The path under the project.
pub(crate) fn of_project(path: &str) -> String {
    format!("/v1/projects/{PROJECT}{path}")
}

/// What a problem document says.
pub(crate) async fn problem(response: Response) -> (u16, String, String) {
    let status = response.status().as_u16();
    let kind = response.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    let body: Value = response.json().await.unwrap();
    assert_eq!(kind, "application/problem+json", "{body}");
    assert_eq!(body["status"], status);
    let text = |key: &str| body[key].as_str().unwrap().to_owned();
    (status, text("type"), text("detail"))
}
