//! A plant with a register that the test turns, a collector, and a verifier API.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use reqwest::{Certificate, Client};
use system_tests::between::Between;
use system_tests::broker::Broker;
use system_tests::modbus_server::{Image, ModbusServer, plant_image};
use system_tests::mqtt_publisher::Publisher;
use system_tests::plant::machine_clock;
use system_tests::processes::{self, PATIENCE, Program, port_after};
use system_tests::registers::{Server, Table};
use system_tests::site::Site;

pub(crate) const SEED: u64 = 23;
/// Where the collector keeps its entries.
#[derive(Debug, Clone)]
pub(crate) enum Engine {
    Sqlite,
    Postgres(String),
}

/// Both Modbus servers, the broker and its sensors.
pub(crate) struct Meters {
    wellpad: ModbusServer,
    powerhouse: ModbusServer,
    broker: Broker,
    _sensors: Publisher,
    pressure: Arc<AtomicU16>,
}

/// Everything but gateways.
pub(crate) struct Bed {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) engine: Engine,
    pub(crate) meters: Meters,
    pub(crate) between: Between,
    /// The cosigner's key in text form.
    pub(crate) witness: String,
    collector: Option<Program>,
    collector_port: u16,
    api: Option<Program>,
    api_port: u16,
    clients: [Client; 2],
}

impl Meters {
    async fn start(directory: &Path) -> Self {
        let site = Site::new(SEED);
        let now = machine_clock();
        let pressure = Arc::new(AtomicU16::new(7_000));
        let image = |server| plant_image(site.clone(), server, Arc::clone(&now));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let wells = turned(image(Server::Wellpad), Arc::clone(&pressure));
        let broker = Broker::start(directory).await.unwrap();
        let every = Duration::from_secs(2);
        Self {
            wellpad: ModbusServer::start(address, wells).await.unwrap(),
            powerhouse: ModbusServer::start(address, image(Server::Powerhouse))
                .await
                .unwrap(),
            _sensors: Publisher::start(broker.port(), site, Arc::clone(&now), every),
            broker,
            pressure,
        }
    }

    pub(crate) fn addresses(&self) -> [SocketAddr; 2] {
        [self.wellpad.address(), self.powerhouse.address()]
    }

    pub(crate) fn broker_port(&self) -> u16 {
        self.broker.port()
    }

    /// Sets the pressure register of well 1, in kPa.
    pub(crate) fn turn_pressure(&self, kpa: u16) {
        self.pressure.store(kpa, Ordering::SeqCst);
    }
}

/// The plant, but with the pressure of well 1 (unit 1, holding register 6) in the test's hand.
fn turned(plant: Arc<Image>, pressure: Arc<AtomicU16>) -> Arc<Image> {
    Arc::new(move |unit, table, start, count| {
        let mut words = plant(unit, table, start, count)?;
        if unit == 1
            && table == Table::Holding
            && let Some(word) = 6_u16
                .checked_sub(start)
                .and_then(|at| words.get_mut(usize::from(at)))
        {
            *word = pressure.load(Ordering::SeqCst);
        }
        Ok(words)
    })
}

#[expect(clippy::disallowed_methods, reason = "a test's own files")]
pub(crate) fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

fn client(certificate: &Path) -> Client {
    // The first one of a process installs it; the others find it there.
    let _second = rustls::crypto::ring::default_provider().install_default();
    let pem = std::fs::read(certificate).unwrap();
    Client::builder()
        .tls_certs_only([Certificate::from_pem(&pem).unwrap()])
        .no_proxy()
        .timeout(PATIENCE)
        .build()
        .unwrap()
}

fn words<'a>(words: &[&'a str], path: &'a Path) -> Vec<&'a std::ffi::OsStr> {
    let mut all: Vec<&std::ffi::OsStr> = words.iter().map(|word| (*word).as_ref()).collect();
    all.push(path.as_os_str());
    all
}

impl Bed {
    pub(crate) async fn start(engine: Engine) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let meters = Meters::start(&dir.path().join("broker")).await;
        let (collector, api) = (dir.path().join("collector"), dir.path().join("api"));
        std::fs::create_dir_all(&collector).unwrap();
        std::fs::create_dir_all(&api).unwrap();

        let mut init = vec![
            "init",
            "--name",
            "whole-path.test/w0",
            "--host",
            "localhost",
        ];
        init.push("--directory");
        let said = processes::done("fieldseal-collector", words(&init, &collector))
            .await
            .unwrap();
        let witness = said
            .lines()
            .find_map(|line| line.strip_prefix("cosigner key  "))
            .unwrap();
        let witness = witness.trim().to_owned();
        let file = collector.join("collector.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let mut text = text.replace("[::]:7443", "127.0.0.1:0");
        let mut store = format!("sqlite:{}", collector.join("central.db").display());
        if let Engine::Postgres(url) = &engine {
            text = text.replace("sqlite:central.db", url);
            store.clone_from(url);
        }
        write(&file, &text);

        let file = api.join("verifier-api.toml");
        let named = words(&["init", "--config"], &file);
        processes::done("fieldseal-verifier-api", named)
            .await
            .unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        let text = text
            .replace("0.0.0.0:8443", "127.0.0.1:0")
            .replace("sqlite:central.db", &store);
        write(&file, &text);

        let files = collector::Config::load(&collector.join("collector.toml"))
            .unwrap()
            .tls;
        let clients = [
            client(&files.certificate),
            client(&api.join("tls/cert.pem")),
        ];
        let mut bed = Self {
            between: Between::start(&files).unwrap(),
            dir,
            engine,
            meters,
            witness,
            collector: None,
            collector_port: 0,
            api: None,
            api_port: 0,
            clients,
        };
        bed.start_collector().await;
        bed.start_api().await;
        bed
    }

    pub(crate) fn collector_file(&self) -> PathBuf {
        self.dir.path().join("collector/collector.toml")
    }

    pub(crate) async fn start_collector(&mut self) {
        let file = self.collector_file();
        let mut program = Program::start("fieldseal-collector", words(&["run"], &file)).unwrap();
        let line = program.hear("listens on 127.0.0.1:").await.unwrap();
        self.collector_port = port_after("listens on 127.0.0.1:", &line).unwrap();
        self.between.lead_to(self.collector_port);
        self.collector = Some(program);
    }

    pub(crate) async fn kill_collector(&mut self) {
        self.collector.take().unwrap().kill().await.unwrap();
    }

    pub(crate) async fn stop_collector(&mut self) {
        self.collector.take().unwrap().stop().await.unwrap();
    }

    fn api_words<'a>(file: &'a Path, command: &[&'a str]) -> Vec<&'a std::ffi::OsStr> {
        let mut all = words(&["--config"], file);
        all.extend(command.iter().map(|word| std::ffi::OsStr::new(*word)));
        all
    }

    pub(crate) async fn start_api(&mut self) {
        let file = self.dir.path().join("api/verifier-api.toml");
        let line = Self::api_words(&file, &["run"]);
        let mut program = Program::start("fieldseal-verifier-api", line).unwrap();
        let line = program.hear("serving https://127.0.0.1:").await.unwrap();
        self.api_port = port_after("serving https://127.0.0.1:", &line).unwrap();
        self.api = Some(program);
    }

    pub(crate) async fn kill_api(&mut self) {
        self.api.take().unwrap().kill().await.unwrap();
    }

    /// Carries out a command of the API's operator and returns what it prints.
    pub(crate) async fn api_command(&self, command: &[&str]) -> anyhow::Result<String> {
        let file = self.dir.path().join("api/verifier-api.toml");
        processes::done("fieldseal-verifier-api", Self::api_words(&file, command)).await
    }

    /// A fresh enrolment code.
    pub(crate) async fn code(&self) -> String {
        let file = self.collector_file();
        let command = ["enrolment-code", "--site", "Simulated wellpad", "--config"];
        let printed = processes::done("fieldseal-collector", words(&command, &file)).await;
        printed.unwrap().trim().to_owned()
    }

    /// Client and base address of the collector itself, without anybody in between.
    pub(crate) fn collector(&self) -> (&Client, String) {
        (
            &self.clients[0],
            format!("https://localhost:{}", self.collector_port),
        )
    }

    /// Client and base address of the API.
    pub(crate) fn api(&self) -> (&Client, String) {
        (
            &self.clients[1],
            format!("https://localhost:{}", self.api_port),
        )
    }

    /// The size of a log at the collector, from its open checkpoint.
    pub(crate) async fn stored(&self, origin: &str) -> Option<u64> {
        let id = evidence::hash::Origin::parse(origin).unwrap().id().to_hex();
        let (client, base) = self.collector();
        let response = client
            .get(format!("{base}/logs/{id}/checkpoint"))
            .send()
            .await
            .ok()?;
        let text = response.error_for_status().ok()?.text().await.ok()?;
        text.lines().nth(1)?.parse().ok()
    }
}

/// Waits until something is there.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "never came: {what}");
        // Not a guess of how long it takes: the pause between two looks.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
