//! Real serial lines: pseudo-terminals made by `socat`, against a server by others (pymodbus in RTU
//! mode) and against a device that misbehaves.
//!
//! Not tried on hardware: parity, stop bits and the direction of an RS-485 pair have no effect on a
//! pseudo-terminal. The settings asked for are asserted where they are made (`modbus::serial`).

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use evidence::measurement::Table;
use evidence::quality::Quality;
use gateway::config::{Endpoint, GatewayConfig, LineConfig, SerialPort};
use gateway::modbus::frame::{Answer, Misbehaviour, Request};
use gateway::modbus::{Failure, Link, LinkOptions, rtu};
use gateway::plan::Span;
use gateway::read_once::read_once;
use ring::rand::SystemRandom;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep, timeout};
use tokio_serial::SerialStream;

/// Long enough for anything on a busy machine; no test waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a device is given to answer.
const TIMEOUT: Duration = Duration::from_millis(400);

/// A process that ends when dropped.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A wire between two pseudo-terminals.
struct Cable {
    _socat: Peer,
    ours: PathBuf,
    theirs: PathBuf,
}

impl Cable {
    async fn plug_in(dir: &Path) -> Self {
        let (ours, theirs) = (dir.join("ours"), dir.join("theirs"));
        let end = |path: &Path| format!("pty,raw,echo=0,link={}", path.display());
        let socat = Command::new("socat")
            .args([end(&ours), end(&theirs)])
            .spawn()
            .unwrap_or_else(|error| panic!("start socat: {error}; tests/run installs it"));
        let mut socat = Peer(socat);
        let plugged = async {
            while !(ours.exists() && theirs.exists()) {
                let ended = socat.0.try_wait().unwrap();
                assert_eq!(ended, None, "socat made no pseudo-terminals");
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, plugged).await.unwrap();
        Self {
            _socat: socat,
            ours,
            theirs,
        }
    }

    fn line(&self) -> LineConfig {
        let port = SerialPort {
            baud: 115_200,
            ..SerialPort::new(&self.ours)
        };
        LineConfig::new(Endpoint::Serial(port))
    }

    /// The other end in the test's own hands.
    fn device(&self) -> SerialStream {
        let other = SerialPort {
            baud: 115_200,
            ..SerialPort::new(&self.theirs)
        };
        SerialStream::open(&gateway::modbus::serial::builder(&other)).unwrap()
    }
}

/// pymodbus on a serial port, or behind a TCP port without one; and what it printed.
fn meter(port: Option<&Path>) -> (Peer, String) {
    let python = std::env::var("FIELDSEAL_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/meter.py");
    let mut process = Command::new(&python)
        .arg(script)
        .arg(port.unwrap_or(Path::new("rtu")))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("start {python}: {error}; set FIELDSEAL_TEST_PYTHON"));
    let stdout = process.stdout.take().unwrap();
    let peer = Peer(process);
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    assert!(
        !line.is_empty(),
        "pymodbus and pyserial are needed; tests/run installs them"
    );
    (peer, line.trim().to_owned())
}

fn read(unit: u8, table: Table, address: u16, count: u16) -> Request {
    let span = Span {
        table,
        address,
        count,
    };
    Request { unit, span }
}

fn holding(unit: u8, address: u16, count: u16) -> Request {
    read(unit, Table::Holding, address, count)
}

async fn ask(link: &Link, request: Request) -> Result<Answer, Failure> {
    link.ask(request, TIMEOUT, Instant::now() + PATIENCE, false)
        .await
        .result
}

/// Asks until there is an answer: a line that comes back does so by itself.
async fn ask_until_answered(link: &Link, request: Request) -> Answer {
    let asking = async {
        loop {
            match ask(link, request).await {
                Ok(answer) => return answer,
                Err(_not_yet) => sleep(Duration::from_millis(20)).await,
            }
        }
    };
    timeout(PATIENCE, asking).await.unwrap()
}

#[tokio::test]
async fn two_units_of_a_server_by_others_are_read_over_a_serial_line() {
    let dir = tempfile::tempdir().unwrap();
    let cable = Cable::plug_in(dir.path()).await;
    let _meter = meter(Some(&cable.theirs));
    let mut text = format!(
        "[gateway]\norigin = \"example.com/gw/1\"\ndata_dir = \"/nowhere\"\n\
         [[line]]\nname = \"bus-1\"\nserial = \"{}\"\nbaud = 115200\npause_ms = 1\n",
        cable.ours.display()
    );
    let mut expected = Vec::new();
    for (unit, shift) in [(1, 0), (2, 1_000)] {
        text.push_str(&format!(
            "[[modbus]]\nname = \"unit-{unit}\"\nline = \"bus-1\"\nunit_id = {unit}\naddress_base = \"pdu\"\ntimeout_ms = 5000\n"
        ));
        for (table, kind, address, raw) in [
            ("holding", "u16", 7, 7 + shift),
            ("holding", "u16", 210, -1),
            ("holding", "u16", 399, 399 + shift),
            ("input", "u16", 300, 300 + shift),
            ("coil", "bit", 33, 1),
            ("discrete", "bit", 34, 0),
        ] {
            let name = format!("{table}-{unit}-{address}");
            text.push_str(&format!(
                "[[modbus.point]]\nname = \"{name}\"\ntable = \"{table}\"\naddress = {address}\ntype = \"{kind}\"\ndecimals = 0\nunit = \"1\"\nkind = \"instant\"\n"
            ));
            expected.push((name, raw));
        }
    }
    let config = GatewayConfig::parse("test", &text).unwrap();
    assert_eq!(
        config.measurement(|_| 0).devices[0].protocol,
        "modbus-rtu",
        "what is sealed says how it was read"
    );
    let rows = read_once(&config, PATIENCE, &SystemRandom::new())
        .await
        .unwrap();
    assert_eq!(rows.len(), expected.len());
    for (name, raw) in expected {
        let row = rows.iter().find(|row| row.point == name).unwrap();
        if raw < 0 {
            // The server has no such register, and says so: an exception, not a link error.
            assert!(
                row.quality.contains(Quality::ILLEGAL_ADDRESS.name()),
                "{row:?}"
            );
        } else {
            assert_eq!(
                row.value.as_deref(),
                Some(raw.to_string().as_str()),
                "{row:?}"
            );
        }
    }
}

#[tokio::test]
async fn rtu_frames_are_read_through_tcp_from_a_server_by_others() {
    let (_meter, port) = meter(None);
    let line = LineConfig::new(Endpoint::RtuOverTcp {
        host: "127.0.0.1".to_owned(),
        port: port.parse().unwrap(),
    });
    let link = Link::start(LinkOptions::of(&line));
    for address in [0, 20, 350] {
        let words = Answer::Words((1_000 + address..1_010 + address).collect());
        assert_eq!(ask(&link, holding(2, address, 10)).await.unwrap(), words);
    }
    let coils = Answer::Words((0..20).map(|bit| u16::from(bit % 3 == 0)).collect());
    let found = ask(&link, read(1, Table::Coil, 0, 20)).await.unwrap();
    assert_eq!(found, coils);
    let hole = ask(&link, holding(1, 205, 1)).await.unwrap();
    assert_eq!(hole, Answer::Exception(2));
    // A refusal leaves the line as it was.
    let found = ask(&link, holding(1, 5, 1)).await.unwrap();
    assert_eq!(found, Answer::Words(vec![5]));
}

/// Receives one question and returns its unit, first address and count.
async fn question(device: &mut SerialStream) -> (u8, u16, u16) {
    let mut frame = [0; rtu::FRAME];
    device.read_exact(&mut frame).await.unwrap();
    let [unit, _, a0, a1, c0, c1, ..] = frame;
    let (address, count) = (u16::from_be_bytes([a0, a1]), u16::from_be_bytes([c0, c1]));
    (unit, address, count)
}

/// A right answer: every register holds its own address.
fn answer((unit, address, count): (u8, u16, u16)) -> Vec<u8> {
    let mut frame = vec![unit, 3, u8::try_from(count * 2).unwrap()];
    frame.extend((address..address + count).flat_map(u16::to_be_bytes));
    frame.extend(rtu::crc(&frame));
    frame
}

#[tokio::test]
async fn after_noise_an_echo_a_cut_or_a_late_answer_the_next_question_gets_its_own_answer() {
    let dir = tempfile::tempdir().unwrap();
    let cable = Cable::plug_in(dir.path()).await;
    let mut device = cable.device();
    let link = Link::start(LinkOptions::of(&cable.line()));

    // In pieces with pauses, as a USB adapter hands it over.
    let asking = ask(&link, holding(1, 10, 2));
    let answering = async {
        let frame = answer(question(&mut device).await);
        for piece in frame.chunks(3) {
            device.write_all(piece).await.unwrap();
            sleep(Duration::from_millis(5)).await;
        }
    };
    assert_eq!(
        tokio::join!(asking, answering).0.unwrap(),
        Answer::Words(vec![10, 11])
    );

    // Bytes that nobody asked for wait on the line: an old answer of the same shape.
    device.write_all(&answer((1, 50, 2))).await.unwrap();
    let asking = ask(&link, holding(1, 20, 2));
    let answering = async {
        let asked = question(&mut device).await;
        device.write_all(&answer(asked)).await.unwrap();
    };
    assert_eq!(
        tokio::join!(asking, answering).0.unwrap(),
        Answer::Words(vec![20, 21])
    );

    type Spoil = fn(Vec<u8>) -> Vec<u8>;
    type Named = fn(&Misbehaviour) -> bool;
    let spoilt: [(Spoil, Named); 4] = [
        (
            |mut frame| {
                frame[4] ^= 0x20;
                frame
            },
            |found| *found == Misbehaviour::CheckSum,
        ),
        (
            |mut frame| {
                frame.insert(0, 0);
                frame
            },
            |found| matches!(found, Misbehaviour::Unit { answered: 0, .. }),
        ),
        (
            |mut frame| {
                frame.truncate(6);
                frame
            },
            |found| matches!(found, Misbehaviour::Length { found: 6, .. }),
        ),
        (
            |_| rtu::question(holding(1, 30, 2)).to_vec(),
            |found| *found == Misbehaviour::Echo,
        ),
    ];
    for (spoil, expected) in spoilt {
        let asking = ask(&link, holding(1, 30, 2));
        let answering = async {
            let frame = answer(question(&mut device).await);
            device.write_all(&spoil(frame)).await.unwrap();
        };
        match tokio::join!(asking, answering).0 {
            Err(Failure::Misbehaved(found)) => assert!(expected(&found), "{found:?}"),
            other => panic!("{other:?}"),
        }
        let asking = ask_until_answered(&link, holding(1, 40, 2));
        let answering = async {
            let asked = question(&mut device).await;
            device.write_all(&answer(asked)).await.unwrap();
        };
        assert_eq!(
            tokio::join!(asking, answering).0,
            Answer::Words(vec![40, 41])
        );
    }

    // Late: it comes while nobody waits for it, and is not the answer to the next question.
    let asking = async {
        let first = ask(&link, holding(1, 60, 2)).await;
        assert!(matches!(first, Err(Failure::Timeout)), "{first:?}");
        ask_until_answered(&link, holding(1, 70, 2)).await
    };
    let answering = async {
        let late = answer(question(&mut device).await);
        sleep(TIMEOUT + TIMEOUT / 4).await;
        device.write_all(&late).await.unwrap();
        let asked = question(&mut device).await;
        device.write_all(&answer(asked)).await.unwrap();
    };
    let (found, ()) = tokio::join!(asking, answering);
    assert_eq!(found, Answer::Words(vec![70, 71]));
}

#[tokio::test]
async fn a_port_that_vanishes_is_a_link_error_and_is_used_again_when_it_returns() {
    let dir = tempfile::tempdir().unwrap();
    let cable = Cable::plug_in(dir.path()).await;
    let link = Link::start(LinkOptions::of(&cable.line()));
    let server = meter(Some(&cable.theirs));
    assert_eq!(
        ask_until_answered(&link, holding(1, 3, 1)).await,
        Answer::Words(vec![3])
    );
    drop((server, cable));
    let mut failures = Vec::new();
    for _ in 0..3 {
        failures.push(ask(&link, holding(1, 3, 1)).await.unwrap_err());
    }
    let gone = failures.iter().find(|failure| failure.is_connect());
    let text = std::error::Error::source(gone.unwrap())
        .unwrap()
        .to_string();
    assert!(text.contains("does not exist"), "{failures:?}");
    let cable = Cable::plug_in(dir.path()).await;
    let _server = meter(Some(&cable.theirs));
    assert_eq!(
        ask_until_answered(&link, holding(2, 4, 1)).await,
        Answer::Words(vec![1_004])
    );
}

#[tokio::test]
async fn a_port_that_another_program_holds_is_named_as_busy() {
    let dir = tempfile::tempdir().unwrap();
    let cable = Cable::plug_in(dir.path()).await;
    let line = LineConfig::new(Endpoint::Serial(SerialPort::new(&cable.theirs)));
    let _held = cable.device();
    let failure = ask(&Link::start(LinkOptions::of(&line)), holding(1, 0, 1))
        .await
        .unwrap_err();
    let Failure::Port(why) = &failure else {
        panic!("{failure:?}")
    };
    assert!(
        why.to_string().contains("in use by another program"),
        "{why}"
    );
}
