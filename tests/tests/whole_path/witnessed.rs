//! Two independent witnesses beside the collector: from a meter's register to a verdict of class 2, with
//! a witness killed before its answer left, a log that forks, and a gateway that pins what they sign.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use evidence::checkpoint::{Checkpoint, sign_checkpoint};
use evidence::cosignature::verify_cosignature;
use evidence::entry::FreshnessKind;
use evidence::hash::{Origin, leaf_hash, sha256};
use evidence::note::{Note, Vkey};
use evidence::witness::Request;
use gateway::identity::Identity;
use reqwest::Client;
use serde_json::Value;
use store::{LogId, Store};
use system_tests::gateway_config::plan_text;
use system_tests::processes::{self, Program, port_after};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::bed::{Bed, Engine, eventually, write};
use crate::gateway::{Gateway, MINUTE_MS};
use crate::proof;
use crate::reader::{Reader, last_day};

/// A witness as its operator runs it, and the line to it, on which answers can be lost.
struct Witness {
    directory: PathBuf,
    vkey: Vkey,
    program: Option<Program>,
    port: Arc<AtomicU16>,
    loses_answers: Arc<AtomicBool>,
    lost: Arc<AtomicBool>,
    url: String,
}

impl Witness {
    async fn start(bed: &Bed, name: &str) -> Self {
        let directory = bed.dir.path().join(name);
        let path = directory.display().to_string();
        let init = ["witness", "init", "--directory", &path, "--name"];
        let named = format!("{name}.test/w");
        let said = processes::done("fieldseal-verify", init.into_iter().chain([named.as_str()]))
            .await
            .unwrap();
        let vkey = said
            .lines()
            .find_map(|line| line.strip_prefix("your key  "))
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut witness = Self {
            directory,
            vkey: Vkey::parse(vkey).unwrap(),
            program: None,
            port: Arc::default(),
            loses_answers: Arc::default(),
            lost: Arc::default(),
            url: format!("http://{}", listener.local_addr().unwrap()),
        };
        let (port, loses, lost) = (
            Arc::clone(&witness.port),
            Arc::clone(&witness.loses_answers),
            Arc::clone(&witness.lost),
        );
        tokio::spawn(async move {
            while let Ok((from, _peer)) = listener.accept().await {
                let (port, loses, lost) =
                    (Arc::clone(&port), Arc::clone(&loses), Arc::clone(&lost));
                tokio::spawn(async move {
                    let port = port.load(Ordering::SeqCst);
                    // A witness that is down: the connection ends.
                    if let Ok(to) = TcpStream::connect(("127.0.0.1", port)).await {
                        carry(from, to, &loses, &lost).await;
                    }
                });
            }
        });
        witness.run().await;
        witness
    }

    async fn run(&mut self) {
        let path = self.directory.display().to_string();
        let run = [
            "witness",
            "run",
            "--directory",
            &path,
            "--listen",
            "127.0.0.1:0",
        ];
        let run = run.into_iter().chain(["--per-minute", "6000"]);
        let mut program = Program::start("fieldseal-verify", run).unwrap();
        let line = program.hear("listens on http://127.0.0.1:").await.unwrap();
        let port = port_after("listens on http://127.0.0.1:", &line).unwrap();
        self.port.store(port, Ordering::SeqCst);
        self.program = Some(program);
    }

    async fn kill(&mut self) {
        self.program.take().unwrap().kill().await.unwrap();
    }

    async fn add(&self, vkey: &str) {
        let path = self.directory.display().to_string();
        let add = ["witness", "log", "add", vkey, "--directory", &path];
        processes::done("fieldseal-verify", add).await.unwrap();
    }

    fn table(&self, name: &str) -> String {
        format!(
            "\n[[witness]]\nname = \"{name}\"\nkey = \"{}\"\nurl = \"{}\"\ninterval_s = 1\n",
            self.vkey, self.url
        )
    }

    /// What it shows to everybody.
    async fn shown(&self, origin: &str) -> Option<Note> {
        let id = Origin::parse(origin).unwrap().id();
        let port = self.port.load(Ordering::SeqCst);
        let url = format!("http://127.0.0.1:{port}/{id}/checkpoint");
        let client = Client::builder().no_proxy().build().unwrap();
        let answer = client.get(url).send().await.ok()?.error_for_status().ok()?;
        Note::parse(&answer.bytes().await.ok()?).ok()
    }

    async fn size(&self, origin: &str) -> Option<u64> {
        let note = self.shown(origin).await?;
        Some(Checkpoint::parse_body(&note.text).unwrap().size)
    }

    /// Waits until it has cosigned this many entries.
    async fn cosigned(&self, origin: &str, at_least: u64) -> u64 {
        eventually("the witness's cosignature", async || {
            self.size(origin).await.filter(|size| *size >= at_least)
        })
        .await
    }

    async fn post(&self, request: &Request) -> (u16, String) {
        let port = self.port.load(Ordering::SeqCst);
        let url = format!("http://127.0.0.1:{port}/add-checkpoint");
        let client = Client::builder().no_proxy().build().unwrap();
        let answer = client
            .post(url)
            .body(request.to_bytes())
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}

/// Carries bytes both ways, or loses what comes back.
async fn carry(from: TcpStream, to: TcpStream, loses: &AtomicBool, lost: &AtomicBool) {
    let (mut from_read, mut from_write) = from.into_split();
    let (mut to_read, mut to_write) = to.into_split();
    let there = tokio::spawn(async move { tokio::io::copy(&mut from_read, &mut to_write).await });
    let mut piece = [0; 4096];
    while let Ok(length @ 1..) = to_read.read(&mut piece).await {
        if loses.load(Ordering::SeqCst) {
            lost.store(true, Ordering::SeqCst);
            break;
        }
        if from_write.write_all(&piece[..length]).await.is_err() {
            break;
        }
    }
    there.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_two_witnesses_beside_the_collector_a_bundle_is_proven_class_2() {
    let mut bed = Bed::start(Engine::Sqlite).await;
    let mut one = Witness::start(&bed, "w1").await;
    let two = Witness::start(&bed, "w2").await;
    bed.stop_collector().await;
    let file = bed.collector_file();
    let text = std::fs::read_to_string(&file).unwrap();
    write(
        &file,
        &format!("{text}{}{}", one.table("W1"), two.table("W2")),
    );
    bed.start_collector().await;

    let (midnight, day) = last_day();
    let origin = "whole-path.test/gw/witnessed";
    let from_ms = midnight - 10 * MINUTE_MS;
    let mut gateway = Gateway::with_past(&bed, origin, from_ms, midnight + MINUTE_MS).await;
    gateway.knows_witnesses(&[&one.vkey, &two.vkey]);
    one.add(&gateway.vkey).await;
    two.add(&gateway.vkey).await;
    gateway.enrol(&bed).await;
    gateway.run().await;
    let size = gateway.progress(&bed).await;
    one.cosigned(origin, size).await;
    two.cosigned(origin, size).await;
    pins_what_a_witness_signed(&bed, &gateway, &[&one.vkey, &two.vkey]).await;

    // The witness signs and stores, its answer is lost, and it dies: what it signed it still knows.
    one.lost.store(false, Ordering::SeqCst);
    one.loses_answers.store(true, Ordering::SeqCst);
    eventually("a lost answer", async || {
        one.lost.load(Ordering::SeqCst).then_some(())
    })
    .await;
    one.kill().await;
    let before = one.directory.clone();
    assert!(before.join("witness.db").exists());
    one.loses_answers.store(false, Ordering::SeqCst);
    one.run().await;
    let held = one.size(origin).await.unwrap();
    assert!(held >= size, "{held} after {size}");
    let more = gateway.progress(&bed).await.max(held + 1);
    one.cosigned(origin, more).await;
    two.cosigned(origin, more).await;

    refuses_a_fork(&gateway, &one).await;

    let plan = plan_text("WITNESSED", "A witnessed gateway", origin, &gateway.vkey);
    let reader = Reader::of_plan(&bed, "WITNESSED", &plan).await;
    let (id, report) = reader.report(&bed, &day, &day).await;
    assert!(report["totals"]["re"].is_string(), "{report}");
    let bundle = reader.bundle(&bed, &id).await;
    let verdict = verify(&bed, &bundle, &plan, &day, [&one.vkey, &two.vkey]).await;
    assert_eq!(verdict["class"], 2, "{verdict:#}");
    assert_eq!(verdict["policy"]["split_view_number"], 3);
    let log = &verdict["logs"][0];
    for name in ["W0", "W1", "W2"] {
        assert!(
            log["cosigned"][name].as_u64().unwrap() > 0,
            "{name}: {log:#}"
        );
    }

    let file = bed.collector_file().display().to_string();
    let status = processes::done("fieldseal-collector", ["status", "--config", &file]).await;
    let status = status.unwrap();
    assert!(status.contains("witness W1: signed size"), "{status}");
    gateway.stop().await;
    gateway.flush().await;
    proof::everywhere(&bed, &gateway).await;
    bed.stop_collector().await;
}

/// The entries of a running gateway pin a note that one of its witnesses signed.
async fn pins_what_a_witness_signed(bed: &Bed, gateway: &Gateway, keys: &[&Vkey]) {
    let config = collector::Config::load(&bed.collector_file()).unwrap();
    let store = Store::open(&config.store.url().unwrap()).await.unwrap();
    let log = LogId::of_origin(&gateway.origin);
    let (log, _token) = store.locate(log).await.unwrap().unwrap();
    let note = eventually("an entry that pins a witness's note", async || {
        let rows = gateway.rows().await;
        let pinned = rows.iter().rev().find_map(|row| {
            let signed = evidence::entry::Entry::parse(&row.entry).unwrap();
            signed.entry.freshness
        })?;
        assert_eq!(pinned.kind, FreshnessKind::CosignedNote);
        let notes = store.trail_notes_by_size(log, 0, u64::MAX).await.unwrap();
        let kept = notes.iter().find(|kept| sha256(&kept.note) == pinned.hash);
        Some(Note::parse(&kept.unwrap().note).unwrap())
    })
    .await;
    let signed = |key: &&&Vkey| verify_cosignature(&note, key).unwrap().is_some();
    assert!(keys.iter().any(|key| signed(&key)), "{note:?}");
    store.close().await;
}

/// Somebody with the log's own key shows another history.
async fn refuses_a_fork(gateway: &Gateway, witness: &Witness) {
    let identity = Identity::open(&gateway.config.data_dir, &gateway.config.origin).unwrap();
    let forged = |old, size| Request {
        old,
        proof: Vec::new(),
        note: sign_checkpoint(
            &Checkpoint {
                origin: gateway.config.origin.clone(),
                size,
                root: leaf_hash(b"another history"),
            },
            &identity.log_key,
        ),
    };
    let (status, held) = witness.post(&forged(0, 1_000_000)).await;
    assert_eq!(status, 409);
    // The log goes on meanwhile, so the size that it held a moment ago may be told instead.
    let refused = eventually("a refusal of the fork", async || {
        let held = witness.size(&gateway.origin).await?;
        let (status, _why) = witness.post(&forged(held, held)).await;
        assert!([409, 422].contains(&status), "{status}");
        (status == 422).then_some(status)
    });
    refused.await;
    assert!(held.trim_end().parse::<u64>().unwrap() > 0);
    let path = witness.directory.display().to_string();
    let status = ["witness", "status", "--directory", &path, "--json"];
    let status = processes::done("fieldseal-verify", status).await.unwrap();
    let status: Value = serde_json::from_str(&status).unwrap();
    let refused = &status["logs"][0]["refused"][0]["reason"];
    assert!(
        refused.as_str().unwrap().contains("two roots for size"),
        "{status:#}"
    );
}

/// As a verifier who demands all three, on the command line.
async fn verify(bed: &Bed, bundle: &[u8], plan: &str, day: &str, keys: [&Vkey; 2]) -> Value {
    let path = |name: &str| bed.dir.path().join(name).display().to_string();
    let files = ["bundle.tar", "own.plan.toml", "own.policy"].map(path);
    let [file, own_plan, policy] = &files;
    tokio::fs::write(file, bundle).await.unwrap();
    write(Path::new(own_plan), plan);
    let [one, two] = keys;
    let rules = format!(
        "witness W0 {}\nwitness W1 {one}\nwitness W2 {two}\ngroup three all W0 W1 W2\nquorum three\n",
        bed.witness
    );
    write(Path::new(policy), &rules);
    // The day may have ended almost a day ago, and the witnesses saw it today.
    let line = [
        "bundle",
        file,
        "--plan",
        own_plan,
        "--policy",
        policy,
        "--json",
        "--from",
        day,
        "--to",
        day,
        "--gap-limit-percent",
        "100",
        "--max-delay-h",
        "48",
    ];
    let (code, printed, complained) = processes::run("fieldseal-verify", line).await.unwrap();
    assert_eq!(code, 0, "{printed}{complained}");
    serde_json::from_str(&printed).unwrap()
}
