//! A line that another master polls: both sides of it by others, the gateway hears the third end.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use evidence::quality::Quality;
use gateway::config::GatewayConfig;
use gateway::read_once::read_through;
use gateway::sample::{PointSample, PolledSource as _, SampleValue};
use gateway::sampling;
use gateway::sampling::field::Lookout;
use gateway::watch::{Gate, Known};
use ring::rand::SystemRandom;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, timeout};

/// Long enough for anything on a busy machine; no test waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(30);

/// Another master and its devices (pymodbus) on pseudo-terminals; ends when dropped.
struct OtherMaster {
    process: Child,
    said: BufReader<ChildStdout>,
    /// The end that hears both.
    tap: String,
}

impl OtherMaster {
    fn start(period_s: f64, commands: &[&str]) -> Self {
        let python =
            std::env::var("FIELDSEAL_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/other_master.py");
        let mut process = Command::new(&python)
            .args([script, &period_s.to_string()])
            .args(commands)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("start {python}: {error}; set FIELDSEAL_TEST_PYTHON"));
        let mut said = BufReader::new(process.stdout.take().unwrap());
        let mut tap = String::new();
        said.read_line(&mut tap).unwrap();
        assert!(
            !tap.is_empty(),
            "pymodbus and pyserial are needed; tests/run installs them"
        );
        Self {
            process,
            said,
            tap: tap.trim().to_owned(),
        }
    }

    /// How many bytes the listener has sent.
    fn sent(&mut self) -> u64 {
        self.process
            .stdin
            .as_mut()
            .unwrap()
            .write_all(b"\n")
            .unwrap();
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim().parse().unwrap()
    }
}

impl Drop for OtherMaster {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Two units of the bus. `line` is how the bus is reached.
fn config(line: &str) -> GatewayConfig {
    let mut text = format!(
        "[gateway]\norigin = \"example.com/gw/1\"\ndata_dir = \"/nowhere\"\n\
         [[line]]\nname = \"bus\"\nmode = \"listen\"\n{line}\n"
    );
    let device = |unit: u8| {
        format!(
            "[[modbus]]\nname = \"unit-{unit}\"\nline = \"bus\"\nunit_id = {unit}\naddress_base = \"pdu\"\ntimeout_ms = 300\n"
        )
    };
    let point = |name: &str, table: &str, address: u16, kind: &str| {
        format!(
            "[[modbus.point]]\nname = \"{name}\"\ntable = \"{table}\"\naddress = {address}\ntype = \"{kind}\"\ndecimals = 0\nunit = \"1\"\nkind = \"instant\"\n"
        )
    };
    text += &device(1);
    text += &point("first", "holding", 0, "u16");
    text += &point("wide", "holding", 7, "u32");
    text += &point("total", "holding", 100, "u32");
    text += &point("input", "input", 22, "u16");
    text += &point("coil", "coil", 6, "bit");
    // The other master reads 0 to 9 and 100 to 101: half of this value, and never the rest.
    text += &point("half", "holding", 9, "u32");
    // Each is read, but never in one answer with the other.
    for (name, address) in [("sum", 1), ("overflow", 100)] {
        text += &point(name, "holding", address, "u16");
        text += "together = \"totaliser\"\n";
    }
    text += &device(2);
    text += &point("second", "holding", 5, "u16");
    text += &device(9);
    text += &point("dead", "holding", 3, "u16");
    GatewayConfig::parse("test", &text).unwrap()
}

fn serial(path: &str) -> String {
    format!("serial = \"{path}\"\nbaud = 19200")
}

/// What the other master's registers must give.
fn check(samples: &[PointSample], tick: u64) {
    let good = [0, 7 << 16 | 8, 100 << 16 | 101, 22, 1];
    for (sample, expected) in samples.iter().zip(good) {
        assert_eq!(
            sample.value,
            SampleValue::Int(expected),
            "{sample:?} in tick {tick}"
        );
        assert!(sample.is_good());
    }
    let [half, sum, overflow, second, dead] = &samples[5..] else {
        panic!("{samples:?}");
    };
    for part in [sum, overflow] {
        assert_eq!(
            part.qualities,
            [(Quality::TIMEOUT, 0)],
            "parts of two answers"
        );
    }
    assert_eq!(
        half.qualities,
        [(Quality::TIMEOUT, 0)],
        "nobody reads all of it"
    );
    assert_eq!(second.value, SampleValue::Int(1_005), "of unit 2");
    assert_eq!(dead.qualities, [(Quality::TIMEOUT, 0)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_master_reads_is_sampled_in_the_tick_it_was_heard_and_nothing_is_sent() {
    let mut other = OtherMaster::start(0.25, &["writes", "silent"]);
    let config = config(&serial(&other.tap));
    let field = sampling::open(&config, &SystemRandom::new());
    let lookout = Lookout::new(&config, &field.lines, &[]);
    let [mut stream] = field.streams.try_into().unwrap();
    let stream: &mut sampling::PolledStream = &mut stream;
    assert_eq!(stream.request_count(), 0);
    let counts = || lookout.listening().remove(0).counts;
    // Until the units' pace is known a pair waits a little; the other master is there by then.
    let begun = Instant::now();
    while counts().pairs < 60 {
        assert!(begun.elapsed() < PATIENCE, "{:?}", lookout.listening());
        sleep(Duration::from_millis(20)).await;
    }
    let before = counts();
    let mut next = Instant::now();
    for tick in 0..5 {
        next += Duration::from_secs(1);
        let samples = stream.poll(tick, next).await.samples;
        assert!(Instant::now() < next, "back before the next tick");
        check(&samples, tick);
        tokio::time::sleep_until(next).await;
    }
    let after = counts();
    assert!(
        after.unanswered > before.unanswered,
        "the dead unit: {after:?}"
    );
    assert!(
        after.other_functions > before.other_functions,
        "the writes: {after:?}"
    );
    assert_eq!(after.noise_bytes, before.noise_bytes, "{after:?}");
    assert_eq!(other.sent(), 0, "the gateway has sent something");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_polls_too_seldom_is_told_apart_from_one_that_is_gone() {
    let other = OtherMaster::start(2.5, &[]);
    let config = config(&serial(&other.tap));
    let field = sampling::open(&config, &SystemRandom::new());
    let lookout = Lookout::new(&config, &field.lines, &[]);
    let [mut stream] = field.streams.try_into().unwrap();
    let stream: &mut sampling::PolledStream = &mut stream;
    let told = async {
        loop {
            let seldom = lookout.listening().remove(0).seldom;
            let first = seldom.iter().find(|seldom| seldom.point == "first");
            if let Some(ms) = first.and_then(|first| first.heard_every_ms) {
                return ms;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    let heard_every_ms = timeout(PATIENCE, told).await.unwrap();
    assert!((2_000..4_000).contains(&heard_every_ms), "{heard_every_ms}");
    let mut found = Vec::new();
    let mut next = Instant::now();
    for tick in 0..6 {
        next += Duration::from_secs(1);
        let samples = stream.poll(tick, next).await.samples;
        let first = &samples[0];
        match &first.value {
            SampleValue::Int(value) => assert_eq!(*value, 0),
            other => assert_eq!(
                (other, &first.qualities[..]),
                (&SampleValue::Absent, &[(Quality::TIMEOUT, 0)][..])
            ),
        }
        found.push(first.is_good());
        tokio::time::sleep_until(next).await;
    }
    let heard = found.iter().filter(|good| **good).count();
    assert!(
        (1..=3).contains(&heard),
        "a value counts in the tick it was heard in only: {found:?}"
    );
    drop(other);
    // The terminal is gone with the other master: that is an error of the line.
    let lost = async {
        loop {
            let samples = stream
                .poll(99, Instant::now() + Duration::from_millis(200))
                .await
                .samples;
            if samples
                .iter()
                .all(|sample| sample.qualities == [(Quality::LINK_ERROR, 0)])
            {
                return;
            }
        }
    };
    timeout(PATIENCE, lost).await.unwrap();
    assert!(lookout.listening()[0].trouble.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_reading_waits_until_everything_was_heard() {
    let other = OtherMaster::start(0.2, &[]);
    let config = config(&serial(&other.tap));
    let wait = Duration::from_secs(6);
    // Nothing is found out here, but what was known of a device is not forgotten.
    let exchanged = Known {
        exchanged: true,
        ..Known::default()
    };
    let gates: Vec<_> = config
        .modbus
        .iter()
        .zip([exchanged, Known::default(), Known::default()])
        .map(|(device, known)| Arc::new(Gate::new(&device.name, &device.watch, known)))
        .collect();
    let rows = read_through(&config, wait, &SystemRandom::new(), &gates)
        .await
        .unwrap();
    let value = |name: &str| rows.iter().find(|row| row.point == name).unwrap();
    assert_eq!(value("total").value.as_deref(), Some("6553701"));
    assert_eq!(value("total").quality, "device exchanged");
    assert_eq!(value("second").value.as_deref(), Some("1005"));
    assert_eq!(value("second").quality, "good");
    assert_eq!(
        value("half").quality,
        "timeout: the other master did not read holding 9-10 (4x00010-4x00011) within the tick"
    );
}

/// A converter that passes on what it hears: a TCP server that sends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_converter_that_passes_on_what_it_hears_is_listened_to_and_again_after_it_was_gone() {
    let converter = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = converter.local_addr().unwrap().port();
    let config = config(&format!(
        "host = \"127.0.0.1\"\nport = {port}\nprotocol = \"rtu_over_tcp\""
    ));
    let field = sampling::open(&config, &SystemRandom::new());
    let [mut stream] = field.streams.try_into().unwrap();
    let stream: &mut sampling::PolledStream = &mut stream;
    let framed = gateway::modbus::listen::rtu::frame;
    let question = framed(&[2, 3, 0, 5, 0, 1]);
    let answer = framed(&[2, 3, 2, 0x03, 0xED]);
    for round in 0..2 {
        let (mut connection, _) = timeout(PATIENCE, converter.accept())
            .await
            .unwrap()
            .unwrap();
        let sending = async {
            loop {
                connection.write_all(&question).await.unwrap();
                sleep(Duration::from_millis(10)).await;
                connection.write_all(&answer).await.unwrap();
                sleep(Duration::from_millis(40)).await;
            }
        };
        // Ten timeouts after the line was opened no answer can belong to what was asked before.
        let reading = async {
            let mut tick = 100 * round;
            loop {
                let samples = stream
                    .poll(tick, Instant::now() + Duration::from_secs(1))
                    .await;
                match &samples.samples[8] {
                    good if good.is_good() => return good.value.clone(),
                    other => assert_eq!(other.qualities, [(Quality::LINK_ERROR, 0)]),
                }
                tick += 1;
            }
        };
        let value = tokio::select! {
            value = timeout(PATIENCE, reading) => value.unwrap(),
            () = sending => panic!("it never ends"),
        };
        assert_eq!(value, SampleValue::Int(1_005));
        // Nothing was sent and the sending half was not closed either: there is nothing to read yet.
        let nothing = connection.try_read(&mut [0; 8]);
        assert!(nothing.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
        drop(connection);
    }
}
