//! A gateway of the bed: its directory, its process, and its log on disk.

use std::path::PathBuf;
use std::sync::Arc;

use evidence::hash::{Hash, Origin};
use evidence::note::Vkey;
use gateway::buffer::{LogReader, Row};
use gateway::clock::{Clock, SystemClock, TimeSource};
use gateway::collector::Collector;
use gateway::config::GatewayConfig;
use gateway::delivery::{Delivery, DeliveryParts, Outcome, Progress};
use gateway::enrol::Enrolment;
use gateway::identity::Identity;
use gateway::recorder::Software;
use ring::rand::SystemRandom;
use system_tests::gateway_config::{GatewayFile, Points};
use system_tests::history::History;
use system_tests::processes::{self, Program};
use system_tests::site::Site;
use tokio::sync::watch;

use crate::bed::{Bed, SEED, eventually, write};

pub(crate) const MINUTE_MS: i64 = 60_000;

pub(crate) struct Gateway {
    pub(crate) origin: String,
    pub(crate) vkey: String,
    pub(crate) config: GatewayConfig,
    file: PathBuf,
    program: Option<Program>,
}

impl Gateway {
    /// Writes the configuration of a gateway at this plant: one tick a second, segments of 10 s.
    fn configure(bed: &Bed, origin: &str) -> (PathBuf, GatewayConfig) {
        let directory = bed.dir.path().join(origin.replace('/', "-"));
        std::fs::create_dir_all(&directory).unwrap();
        let file = GatewayFile {
            origin: origin.to_owned(),
            data_dir: directory.join("data"),
            collector: Some((format!("https://localhost:{}", bed.between.port()), None)),
            segment_s: 10,
            interval_s: 1,
            modbus: bed.meters.addresses(),
            mqtt_port: bed.meters.broker_port(),
            points: Points::All,
            clock_source: Some("system".to_owned()),
        };
        let path = directory.join("gateway.toml");
        write(&path, &file.text());
        let config = GatewayConfig::load(&path).unwrap();
        (path, config)
    }

    /// A new gateway, begun by its own `init`.
    pub(crate) async fn init(bed: &Bed, origin: &str) -> Self {
        let (file, config) = Self::configure(bed, origin);
        let mut gateway = Self {
            origin: origin.to_owned(),
            vkey: String::new(),
            config,
            file,
            program: None,
        };
        let printed = gateway.command(&["init"]).await;
        let vkey = printed
            .lines()
            .find_map(|line| line.strip_prefix("vkey "))
            .unwrap();
        gateway.vkey = vkey.trim().to_owned();
        gateway
    }

    /// A gateway that has measured before: from `from_ms` to `to_ms`, made by its own recorder with
    /// the clock as a value.
    pub(crate) async fn with_past(bed: &Bed, origin: &str, from_ms: i64, to_ms: i64) -> Self {
        let (file, config) = Self::configure(bed, origin);
        let history = History {
            config: config.clone(),
            from_ms: u64::try_from(from_ms).unwrap(),
            to_ms: u64::try_from(to_ms).unwrap(),
            publish_every_ms: 20_000,
        };
        let software = Software {
            version: "past".to_owned(),
            binary: Hash([1; 32]),
        };
        history
            .make(&Site::new(SEED), software, |_| {})
            .await
            .unwrap();
        Self::existing(origin, config, file)
    }

    /// A gateway whose log is in the data directory already.
    pub(crate) fn existing(origin: &str, config: GatewayConfig, file: PathBuf) -> Self {
        let parsed = Origin::parse(origin).unwrap();
        let vkey = Identity::open(&config.data_dir, &parsed)
            .unwrap()
            .vkey()
            .to_string();
        Self {
            origin: origin.to_owned(),
            vkey,
            config,
            file,
            program: None,
        }
    }

    /// Gives the gateway verifier keys of independent witnesses of its own.
    pub(crate) fn knows_witnesses(&mut self, keys: &[&Vkey]) {
        let text = std::fs::read_to_string(&self.file).unwrap();
        let keys: Vec<String> = keys.iter().map(|key| format!("\"{key}\"")).collect();
        let witnesses = format!("[collector]\nwitnesses = [{}]", keys.join(", "));
        assert!(text.contains("[collector]"), "{text}");
        write(&self.file, &text.replace("[collector]", &witnesses));
        self.config = GatewayConfig::load(&self.file).unwrap();
    }

    /// Carries out a command of the program and returns what it prints.
    pub(crate) async fn command(&self, command: &[&str]) -> String {
        let file = self.file.display().to_string();
        let line = ["--config", &file]
            .into_iter()
            .chain(command.iter().copied());
        processes::done("fieldseal-gateway", line).await.unwrap()
    }

    pub(crate) async fn enrol(&self, bed: &Bed) {
        let code = bed.code().await;
        self.command(&["enroll", &code]).await;
    }

    pub(crate) async fn run(&mut self) {
        let file = self.file.display().to_string();
        let mut program = Program::start("fieldseal-gateway", ["--config", &file, "run"]).unwrap();
        program.hear("Recording").await.unwrap();
        self.program = Some(program);
    }

    pub(crate) async fn kill(&mut self) {
        self.program.take().unwrap().kill().await.unwrap();
    }

    pub(crate) async fn stop(&mut self) {
        self.program.take().unwrap().stop().await.unwrap();
    }

    /// How many entries are sealed now.
    pub(crate) async fn sealed(&self) -> u64 {
        LogReader::of_dir(&self.config.data_dir.join("log"))
            .await
            .unwrap()
            .bounds()
            .1
    }

    /// Waits until the collector has what is sealed now, and this many entries at least.
    pub(crate) async fn delivered(&self, bed: &Bed, at_least: u64) -> u64 {
        let wanted = self.sealed().await.max(at_least);
        eventually("the entries at the collector", async || {
            bed.stored(&self.origin)
                .await
                .filter(|size| *size >= wanted)
        })
        .await
    }

    /// Waits until something new was sealed and delivered.
    pub(crate) async fn progress(&self, bed: &Bed) -> u64 {
        let before = self.sealed().await;
        self.delivered(bed, before + 1).await
    }

    /// Every row of the log.
    pub(crate) async fn rows(&self) -> Vec<Row> {
        let mut reader = LogReader::of_dir(&self.config.data_dir.join("log"))
            .await
            .unwrap();
        let (first, end) = reader.bounds();
        assert_eq!(first, 0, "the log starts at 0");
        let mut rows: Vec<Row> = Vec::new();
        while let at = u64::try_from(rows.len()).unwrap()
            && at < end
        {
            rows.extend(reader.rows(at, end, 1_000, usize::MAX).await.unwrap());
        }
        rows
    }

    /// Delivers what is left after the process has ended, with the process's own code.
    pub(crate) async fn flush(&self) {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new(TimeSource::TrustSystem));
        let enrolment = Enrolment::load(&self.config.data_dir).unwrap().unwrap();
        let collector = Collector::new(
            self.config.collector.as_ref().unwrap(),
            &self.config.origin,
            enrolment.pin(),
            Some(enrolment.token.clone()),
            Arc::clone(&clock),
        )
        .unwrap();
        let reader = LogReader::of_dir(&self.config.data_dir.join("log"))
            .await
            .unwrap();
        let (_keep, released) = watch::channel(reader.bounds().1);
        let outcome = Outcome::load(&self.config.data_dir);
        let mut delivery = Delivery::new(DeliveryParts {
            collector,
            origin: self.config.origin.clone(),
            independent: Vec::new(),
            witness: enrolment.witness().unwrap(),
            reader,
            released,
            outcome: outcome.clone(),
            data_dir: self.config.data_dir.clone(),
            clock: Arc::clone(&clock),
            random: Arc::new(SystemRandom::new()),
        });
        loop {
            match delivery.step().await {
                Progress::Idle => break,
                Progress::Sent(_) => {}
                Progress::Wait(ms) => {
                    let status = outcome.snapshot();
                    assert!(!status.refused, "the collector refuses: {:?}", status.error);
                    clock.sleep_until_monotonic(clock.monotonic_ms() + ms).await;
                }
            }
        }
    }
}
