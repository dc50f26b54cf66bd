//! A line of RTU frames and two processes that would speak on it.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(
    clippy::disallowed_methods,
    reason = "nothing here runs on a runtime that a sleep could block"
)]

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gateway::modbus::listen::rtu::frame;

/// No test waits this long when all is well.
const PATIENCE: Duration = Duration::from_secs(40);

/// A converter with one meter behind it, unit 1, whose registers hold their own address.
struct Converter {
    port: u16,
    connections: Arc<AtomicUsize>,
    questions: Arc<AtomicUsize>,
}

impl Converter {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (connections, questions) = (Arc::default(), Arc::default());
        let this = Self {
            port,
            connections: Arc::clone(&connections),
            questions: Arc::clone(&questions),
        };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                connections.fetch_add(1, Ordering::SeqCst);
                let questions = Arc::clone(&questions);
                std::thread::spawn(move || {
                    let mut question = [0; 8];
                    while stream.read_exact(&mut question).is_ok() {
                        questions.fetch_add(1, Ordering::SeqCst);
                        if question[0] != 1 {
                            continue;
                        }
                        let word = |at: usize| u16::from_be_bytes([question[at], question[at + 1]]);
                        let (address, count) = (word(2), word(4));
                        let bytes = u8::try_from(count * 2).unwrap();
                        let mut answer = vec![1, question[1], bytes];
                        (0..count).for_each(|n| {
                            answer.extend(address.wrapping_add(n).to_be_bytes());
                        });
                        if stream.write_all(&frame(&answer)).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        this
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn wait_for_questions(&self, more_than: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.questions.load(Ordering::SeqCst) <= more_than {
            assert!(Instant::now() < deadline, "nothing was asked");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

struct Site {
    dir: tempfile::TempDir,
    host: String,
}

impl Site {
    fn new(port: u16) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = format!(
            "[gateway]\norigin = \"example.com/gw/claim\"\ndata_dir = \"data\"\nsegment_s = 10\n\n\
             [clock]\nsource = \"system\"\n\n\
             [[line]]\nname = \"converter\"\nhost = \"localhost\"\nport = {port}\n\
             protocol = \"rtu_over_tcp\"\nbaud = 115200\n\n\
             [[modbus]]\nname = \"meter\"\nline = \"converter\"\nunit_id = 1\n\
             address_base = \"pdu\"\ntimeout_ms = 200\n\n\
             [[modbus.point]]\nname = \"energy\"\ntable = \"holding\"\naddress = 100\n\
             type = \"u32\"\ndecimals = 0\nunit = \"kWh\"\nkind = \"register\"\ninterval_s = 1\n"
        );
        let path = dir.path().join("gateway.toml");
        gateway::durable::write_file(&path, config.as_bytes(), gateway::durable::Access::All)
            .unwrap();
        // The same place by another name.
        let host = format!("127.0.0.1:{port}");
        Self { dir, host }
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("gateway.toml")
    }

    fn output(&self, words: &[&str]) -> Output {
        command(&self.config(), words).output().unwrap()
    }

    fn probe(&self) -> Output {
        self.output(&[
            "probe",
            "--host",
            &self.host,
            "--rtu-over-tcp",
            "--address",
            "100",
            "--count",
            "2",
        ])
    }
}

fn command(config: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fieldseal-gateway"));
    command.arg("--config").arg(config).args(words);
    command.stdin(Stdio::null());
    command
}

/// A running gateway; ends when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn while_a_gateway_polls_a_converter_no_command_speaks_on_it_and_afterwards_each_does() {
    let converter = Converter::start();
    let site = Site::new(converter.port);
    assert!(site.output(&["init"]).status.success());
    let gateway = command(&site.config(), &["run"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let gateway = Running(gateway.unwrap());
    converter.wait_for_questions(0);
    let connections = converter.connections();
    let process = format!("(process {})", gateway.0.id());
    let scan = ["scan", "--host", &site.host, "--rtu-over-tcp"];
    for words in [
        &scan[..],
        &["check", "--live"],
        &["probe", "meter"],
        &["read", "--once"],
    ] {
        let output = site.output(words);
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        // Tables are broken to the width of a terminal.
        let said = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in [&process, "is in use by `fieldseal-gateway", "stop it first"] {
            assert!(said.contains(part), "{words:?}: {part}\n{text}");
        }
        // What shows values shows them all the same, each with this reason.
        let code = if words[0] == "read" { 0 } else { 69 };
        assert_eq!(output.status.code(), Some(code), "{words:?}\n{text}");
    }
    let probe = site.probe();
    assert_eq!(probe.status.code(), Some(69));
    assert_eq!(
        converter.connections(),
        connections,
        "nobody but the gateway was ever connected"
    );
    drop(gateway);
    let probe = site.probe();
    let text = String::from_utf8_lossy(&probe.stdout).into_owned();
    assert!(probe.status.success(), "{text}");
    assert!(text.contains("100") && text.contains("0064"), "{text}");
}

#[test]
fn a_gateway_that_finds_its_line_taken_records_that_and_asks_when_it_is_free() {
    let converter = Converter::start();
    let site = Site::new(converter.port);
    assert!(site.output(&["init"]).status.success());
    // A search that takes a while: units that are not there, one after the other.
    let scan = [
        "scan",
        "--host",
        &site.host,
        "--rtu-over-tcp",
        "--units",
        "2-247",
    ];
    let scan = command(&site.config(), &scan)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let scan = Running(scan.unwrap());
    converter.wait_for_questions(0);
    let gateway = command(&site.config(), &["run"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _gateway = Running(gateway.unwrap());
    let point = |status: &serde_json::Value| status["points"][0]["quality"].clone();
    let status = || -> serde_json::Value {
        let output = site.output(&["status", "--json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    };
    let wait = |qualities: &[&str]| {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = status();
            if qualities.iter().any(|quality| point(&status) == *quality) {
                return;
            }
            assert!(Instant::now() < deadline, "never {qualities:?}: {status}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    wait(&["link error", "backed off"]);
    drop(scan);
    wait(&["good"]);
}
