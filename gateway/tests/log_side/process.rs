//! The real process: started, killed at any moment, stopped in order, asked for its status.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use evidence::entry::GapReason;
use evidence::hash::Origin;
use evidence::quality::Quality;
use gateway::buffer::LogReader;

use crate::collector::{Collector, until};
use crate::support::{Left, partition, whole};

const ORIGIN: &str = "example.com/gw/killed";

/// No test waits this long when all is well.
const PATIENCE: Duration = Duration::from_secs(40);

/// A meter that answers function 3 with registers that hold their own address.
fn meter() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut request = [0; 12];
                while stream.read_exact(&mut request).is_ok() {
                    let address = u16::from_be_bytes([request[8], request[9]]);
                    let count = u16::from_be_bytes([request[10], request[11]]);
                    let bytes = u8::try_from(count * 2).unwrap();
                    let mut answer = request[..4].to_vec();
                    answer.extend((u16::from(bytes) + 3).to_be_bytes());
                    answer.extend([request[6], request[7], bytes]);
                    (address..address + count).for_each(|a| answer.extend(a.to_be_bytes()));
                    if stream.write_all(&answer).is_err() {
                        break;
                    }
                }
            });
        }
    });
    port
}

struct Gateway {
    dir: tempfile::TempDir,
}

impl Gateway {
    fn new() -> Self {
        Self::with("")
    }

    /// With further tables in the configuration.
    fn with(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = meter();
        let config = format!(
            "[gateway]\norigin = \"{ORIGIN}\"\ndata_dir = \"data\"\nsegment_s = 10\n\
             sync_interval_s = 1\n\n[clock]\nsource = \"system\"\n\n\
             [[modbus]]\nname = \"meter\"\nhost = \"127.0.0.1\"\nport = {port}\nunit_id = 1\n\
             address_base = \"pdu\"\npath = \"meter\"\n\n\
             [[modbus.point]]\nname = \"energy\"\ntable = \"holding\"\naddress = 100\n\
             type = \"u32\"\ndecimals = 0\nunit = \"kWh\"\nkind = \"register\"\ninterval_s = 1\n{more}"
        );
        let path = dir.path().join("gateway.toml");
        gateway::durable::write_file(&path, config.as_bytes(), gateway::durable::Access::All)
            .unwrap();
        Self { dir }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fieldseal-gateway"));
        command
            .arg("--config")
            .arg(self.dir.path().join("gateway.toml"))
            .args(words);
        command.stdin(Stdio::null());
        command
    }

    fn output(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    fn start(&self) -> Child {
        self.command(&["run"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Waits until the running gateway shows a value; returns its status.
    async fn shows_a_value(&self) -> serde_json::Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let json = self.output(&["status", "--json"]);
            let status: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
            let shown = status["points"]
                .as_array()
                .is_some_and(|points| !points.is_empty());
            if status["running"] == true && shown {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "no value was ever shown: {status}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }
}

async fn log_size(data: &Path) -> u64 {
    let reader = LogReader::of_dir(&data.join("log")).await;
    reader.unwrap().bounds().1
}

async fn wait_for(what: &str, data: &Path, size: u64) {
    let deadline = Instant::now() + PATIENCE;
    while log_size(data).await < size {
        assert!(Instant::now() < deadline, "never came: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_any_moment_leaves_a_log_that_goes_on() {
    let gateway = Gateway::new();
    assert!(gateway.output(&["init"]).status.success());
    let origin = Origin::parse(ORIGIN).unwrap();
    let mut left = Left::default();
    let mut random = 0x2545_f491_4f6c_dd1d_u64 ^ u64::from(std::process::id());
    eprintln!("delays from {random}");
    for round in 0..8 {
        let before = log_size(&gateway.data()).await;
        let down_long_enough_for_a_gap = round % 2 == 1;
        if down_long_enough_for_a_gap {
            tokio::time::sleep(Duration::from_millis(1_100)).await;
        }
        let mut child = gateway.start();
        if down_long_enough_for_a_gap {
            wait_for("an entry of this start", &gateway.data(), before + 1).await;
        }
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        // Otherwise the kill may come anywhere within the start.
        tokio::time::sleep(Duration::from_millis(random % 1_200)).await;
        // Read beside the running process: what is committed could leave at any moment.
        let mut reader = LogReader::of_dir(&gateway.data().join("log"))
            .await
            .unwrap();
        let committed = reader.bounds().1;
        left.take(&mut reader, committed).await;
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(
            log_size(&gateway.data()).await >= before,
            "the log never gets shorter"
        );
    }
    // How much the killed ones read depends on how busy the machine was; this one is waited for.
    let mut child = gateway.start();
    gateway.shows_a_value().await;
    terminate(&child);
    assert!(
        child.wait().unwrap().success(),
        "an orderly stop ends with 0"
    );
    let applied = whole(&gateway.data().join("log"), &origin).await;
    let mut reader = LogReader::of_dir(&gateway.data().join("log"))
        .await
        .unwrap();
    left.take(&mut reader, u64::try_from(applied.len()).unwrap())
        .await;
    let parts = partition(&applied, 1);
    assert!(
        parts.windows(2).all(|pair| pair[0].1 == pair[1].0),
        "{parts:?}"
    );
    assert!(
        parts.iter().any(|part| part.2 == Some(GapReason::Startup)),
        "{parts:?}"
    );
    let mut good = 0_usize;
    for segment in applied.iter().filter_map(|step| step.segment.as_ref()) {
        let column = &segment.columns[0];
        for (sample, value) in column.values.iter().enumerate() {
            if column.quality(sample) == Quality::GOOD {
                assert_eq!(
                    *value,
                    (100 << 16) + 101,
                    "registers hold their own address"
                );
                good += 1;
            }
        }
    }
    assert!(good > 0, "the last one read something");
}

#[tokio::test(flavor = "multi_thread")]
async fn whenever_a_stop_is_wished_for_within_the_start_it_is_an_orderly_one() {
    let gateway = Gateway::new();
    assert!(gateway.output(&["init"]).status.success());
    let mut size = log_size(&gateway.data()).await;
    for _ in 0..4 {
        let mut child = gateway.start();
        // The first thing a start does that can be seen; it is not recording yet.
        wait_for("the first entry of a start", &gateway.data(), size + 1).await;
        terminate(&child);
        let ended = child.wait().unwrap();
        assert!(ended.success(), "{ended:?}");
        size = log_size(&gateway.data()).await;
    }
    let verify = gateway.output(&["verify"]);
    assert!(verify.status.success(), "{verify:?}");
}

fn terminate(child: &Child) {
    let status = Command::new("kill")
        .arg("-TERM")
        .arg(child.id().to_string())
        .status()
        .unwrap();
    assert!(status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_a_new_device_say_what_they_do() {
    let gateway = Gateway::new();
    let run = gateway.output(&["run"]);
    let text = String::from_utf8_lossy(&run.stderr).into_owned();
    assert_eq!(run.status.code(), Some(1));
    assert!(text.contains("fieldseal-gateway init"), "{text}");

    let init = gateway.output(&["init"]);
    let text = String::from_utf8_lossy(&init.stdout).into_owned();
    assert!(
        init.status.success() && text.contains(&format!("{ORIGIN}+")),
        "{text}"
    );
    let again = gateway.output(&["init"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("never begun twice"));

    let enroll = gateway.output(&["enroll", "fs1.wrong"]);
    assert_eq!(
        enroll.status.code(),
        Some(64),
        "no [collector] is configured"
    );

    let mut child = gateway.start();
    wait_for("the configuration", &gateway.data(), 3).await;
    let status = gateway.shows_a_value().await;
    assert_eq!(status["running"], true);
    assert_eq!(status["points"][0]["value"], "6553701");
    assert_eq!(status["clock"], "free-running");
    let second = gateway.output(&["run"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("another process"));
    terminate(&child);
    assert!(child.wait().unwrap().success());

    let status = gateway.output(&["status"]);
    let text = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(
        text.contains("not running") && text.contains("not enrolled"),
        "{text}"
    );
    let verify = gateway.output(&["verify"]);
    let text = String::from_utf8_lossy(&verify.stdout).into_owned();
    assert!(
        verify.status.success() && text.contains("every signature"),
        "{text}"
    );

    for (words, code) in [
        (vec!["--help"], 0),
        (vec!["runn"], 64),
        (vec!["read"], 64),
        (vec!["status", "--yaml"], 64),
    ] {
        assert_eq!(
            gateway.output(&words).status.code(),
            Some(code),
            "{words:?}"
        );
    }
    let elsewhere = Command::new(env!("CARGO_BIN_EXE_fieldseal-gateway"))
        .args(["--config", "/nonexistent.toml", "check"])
        .output()
        .unwrap();
    assert_eq!(elsewhere.status.code(), Some(64));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enrolled_gateway_delivers_all_of_it_the_last_segment_included() {
    let origin = Origin::parse(ORIGIN).unwrap();
    let collector = Collector::start(&origin);
    let url = collector.config().url;
    let gateway = Gateway::with(&format!("\n[collector]\nurl = \"{url}\"\n"));
    assert!(gateway.output(&["init"]).status.success());
    // Recording goes on before anybody knows of this log.
    let mut child = gateway.start();
    wait_for("a log without a collector", &gateway.data(), 3).await;
    let code = collector.code();
    let data = gateway.data();
    let enroll = tokio::task::spawn_blocking(move || {
        let output = gateway.output(&["enroll", &code]);
        (gateway, output)
    });
    let (gateway, enroll) = enroll.await.unwrap();
    let text = String::from_utf8_lossy(&enroll.stderr).into_owned();
    assert!(enroll.status.success(), "{text}");
    collector.inner().watch_for_s = 60;
    until("the log at the collector", || {
        collector.inner().chain.size() > 3
    })
    .await;
    until("live values", || collector.inner().live.len() > 1).await;
    let live = collector.inner().live[0].clone();
    assert_eq!(live["points"][0]["name"], "energy");
    assert_eq!(live["points"][0]["value"], "6553701");
    terminate(&child);
    let stopped = tokio::task::spawn_blocking(move || child.wait().unwrap());
    assert!(stopped.await.unwrap().success());
    let size = log_size(&data).await;
    assert_eq!(
        collector.inner().chain.size(),
        size,
        "the stop seals and sends what was open"
    );
    let status = tokio::task::spawn_blocking(move || gateway.output(&["status", "--json"]));
    let status = status.await.unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["delivery"]["acknowledged"], size);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_goes_to_the_authority_s_desk_and_back_while_the_gateway_runs() {
    use evidence::control::{Control, kind};
    use evidence::hash::leaf_hash;
    use evidence::key::SigningKey;
    use evidence::statement::{Approval, Controls, Signed, Statement};

    let gateway = Gateway::new();
    assert!(gateway.output(&["init"]).status.success());
    let mut child = gateway.start();
    wait_for("the first entries", &gateway.data(), 4).await;
    let path = |name: &str| gateway.dir.path().join(name).display().to_string();
    let told = |output: &Output| {
        format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    };
    let asked = gateway.output(&["approval-request", "--out", &path("controls.txt")]);
    assert!(asked.status.success(), "{}", told(&asked));
    let controls = Controls::parse(&std::fs::read(path("controls.txt")).unwrap()).unwrap();
    let found = controls.check().unwrap();
    let config = found
        .iter()
        .find(|found| found.control.kind() == kind::CONFIG)
        .unwrap();
    let key = SigningKey::from_seed([200; 32]);
    let sign = |origin: &str, leaf| {
        let statement = Statement::Approval(Approval {
            origin: Origin::parse(origin).unwrap(),
            index: config.index,
            leaf,
        });
        let file = Signed::sign(statement, &key).unwrap().to_bytes();
        gateway::durable::write_file(
            path("approval.txt").as_ref(),
            &file,
            gateway::durable::Access::All,
        )
        .unwrap();
    };
    // Of another log, of another entry, and in the wrong command: nothing is sealed.
    sign("example.com/gw/other", config.leaf);
    let other = gateway.output(&["approve", &path("approval.txt")]);
    assert_eq!(other.status.code(), Some(64), "{}", told(&other));
    assert!(
        told(&other).contains("example.com/gw/other"),
        "{}",
        told(&other)
    );
    sign(ORIGIN, leaf_hash(b"another"));
    let other = gateway.output(&["approve", &path("approval.txt")]);
    assert_eq!(other.status.code(), Some(1), "{}", told(&other));
    sign(ORIGIN, config.leaf);
    let other = gateway.output(&["revoke-key", &path("approval.txt")]);
    assert!(
        told(&other).contains("fieldseal-gateway approve"),
        "{}",
        told(&other)
    );

    let sealed = gateway.output(&["approve", &path("approval.txt")]);
    assert!(sealed.status.success(), "{}", told(&sealed));
    let remark = gateway.output(&[
        "annotate",
        "--from",
        "0",
        "--to",
        "1",
        "--person",
        "R. Sato",
        "--text",
        "cabinet open",
    ]);
    assert!(remark.status.success(), "{}", told(&remark));
    child.kill().unwrap();
    child.wait().unwrap();
    let applied = whole(&gateway.data().join("log"), &Origin::parse(ORIGIN).unwrap()).await;
    let approvals = applied.iter().filter(|step| {
        matches!(&step.control, Some(Control::Approval { index, leaf, .. })
            if *index == config.index && *leaf == config.leaf)
    });
    assert_eq!(approvals.count(), 1);
    let remarks = applied.iter().filter(|step| {
        matches!(&step.control, Some(Control::Annotation { person: Some(person), .. }) if person == "R. Sato")
    });
    assert_eq!(remarks.count(), 1);
}
