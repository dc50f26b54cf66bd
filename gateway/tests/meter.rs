//! Modbus against a server by others: pymodbus, whose registers hold their own address.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use evidence::quality::Quality;
use gateway::config::GatewayConfig;
use gateway::read_once::read_once;
use gateway::sample::{PolledSource as _, SampleValue};
use gateway::sampling;
use ring::rand::SystemRandom;
use tokio::time::Instant;

/// Long enough for an answer on a busy machine; no test waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(20);

/// pymodbus in a process of its own; ends when dropped.
struct Meter {
    process: Child,
    port: u16,
}

impl Meter {
    fn start() -> Self {
        let python =
            std::env::var("FIELDSEAL_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/meter.py");
        let mut process = Command::new(&python)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("start {python}: {error}; set FIELDSEAL_TEST_PYTHON"));
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let port = line
            .trim()
            .parse()
            .expect("pymodbus prints its port; is it installed? tests/run does it");
        Self { process, port }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// A configuration of two units behind one address, with every type and order.
fn config_of(port: u16) -> (GatewayConfig, Vec<(String, i64)>) {
    let mut text =
        String::from("[gateway]\norigin = \"example.com/gw/1\"\ndata_dir = \"/nowhere\"\n");
    let mut expected = Vec::new();
    for (unit, shift) in [(1_i64, 0_i64), (2, 1_000)] {
        text.push_str(&format!(
            "[[modbus]]\nname = \"unit-{unit}\"\nhost = \"127.0.0.1\"\nport = {port}\nunit_id = {unit}\naddress_base = \"pdu\"\ntimeout_ms = 20000\n"
        ));
        let mut point = |name: String, table: &str, address: i64, rest: &str, raw: i64| {
            text.push_str(&format!(
                "[[modbus.point]]\nname = \"{name}\"\ntable = \"{table}\"\naddress = {address}\n{rest}\ndecimals = 0\nunit = \"1\"\nkind = \"instant\"\n"
            ));
            expected.push((name, raw));
        };
        for address in (0..200).step_by(7).chain([399]) {
            for table in ["holding", "input"] {
                point(
                    format!("{table}-{unit}-{address}"),
                    table,
                    address,
                    "type = \"u16\"",
                    address + shift,
                );
            }
        }
        for address in 0..40 {
            for table in ["coil", "discrete"] {
                let raw = i64::from(address % 3 == 0);
                point(
                    format!("{table}-{unit}-{address}"),
                    table,
                    address,
                    "type = \"bit\"",
                    raw,
                );
            }
        }
        let word = |address: i64| address + shift;
        let swapped = |address: i64| (word(address) & 0xFF) << 8 | word(address) >> 8;
        let two = |high: i64, low: i64| high << 16 | low;
        for (order, raw) in [
            ("ABCD", two(word(300), word(301))),
            ("CDAB", two(word(301), word(300))),
            ("BADC", two(swapped(300), swapped(301))),
            ("DCBA", two(swapped(301), swapped(300))),
        ] {
            let rest = format!("type = \"u32\"\norder = \"{order}\"");
            point(format!("u32-{unit}-{order}"), "holding", 300, &rest, raw);
        }
        let four = (0..4).fold(0, |sum, place| sum << 16 | word(310 + place));
        point(format!("u64-{unit}"), "input", 310, "type = \"u64\"", four);
        point(
            format!("swapped-{unit}"),
            "holding",
            320,
            "type = \"u16\"\norder = \"BA\"",
            swapped(320),
        );
    }
    (GatewayConfig::parse("test", &text).unwrap(), expected)
}

#[tokio::test]
async fn registers_that_hold_their_own_address_come_out_of_a_server_by_others_unmixed() {
    let meter = Meter::start();
    let (config, expected) = config_of(meter.port);
    let table = config.measurement(|_| 0);
    let [stream] = sampling::start(&config, &SystemRandom::new())
        .try_into()
        .unwrap();
    let mut stream: sampling::PolledStream = stream;
    for tick in 0..3 {
        let samples = stream.poll(tick, Instant::now() + PATIENCE).await.samples;
        assert_eq!(samples.len(), expected.len(), "one sample per point");
        for (index, sample) in samples.iter().enumerate() {
            let name = &table.points[index].name;
            assert_eq!(usize::from(sample.point), index);
            assert_eq!(
                sample.value,
                SampleValue::Int(expected[index].1),
                "{name} {:?}",
                sample.qualities
            );
            // A 64-bit count of this size is read and kept, but too large to be exact everywhere.
            let flags = if name.starts_with("u64") {
                vec![(Quality::OUT_OF_RANGE, 0)]
            } else {
                vec![]
            };
            assert_eq!(sample.qualities, flags, "{name}");
            assert_eq!(*name, expected[index].0);
        }
    }
}

#[tokio::test]
async fn a_hole_of_a_server_by_others_is_an_illegal_address() {
    let meter = Meter::start();
    let point = |name: &str, address: u16| {
        format!(
            "[[modbus.point]]\nname = \"{name}\"\ntable = \"holding\"\naddress = {address}\ntype = \"u16\"\ndecimals = 0\nunit = \"1\"\nkind = \"instant\"\n"
        )
    };
    let text = format!(
        "[gateway]\norigin = \"example.com/gw/1\"\ndata_dir = \"/nowhere\"\n[[modbus]]\nname = \"m\"\nhost = \"127.0.0.1\"\nport = {}\naddress_base = \"pdu\"\ntimeout_ms = 20000\n{}{}{}",
        meter.port,
        point("before", 198),
        point("within", 210),
        point("behind", 221),
    );
    let config = GatewayConfig::parse("test", &text).unwrap();
    let rows = read_once(&config, Duration::ZERO, &SystemRandom::new())
        .await
        .unwrap();
    let lines: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row.point.as_str(),
                row.value.as_deref(),
                row.raw.as_deref(),
                row.quality.as_str(),
            )
        })
        .collect();
    assert_eq!(
        lines,
        [
            ("before", Some("198"), Some("00C6"), "good"),
            (
                "within",
                None,
                None,
                "illegal address: exception 2 (illegal data address)"
            ),
            ("behind", Some("221"), Some("00DD"), "good"),
        ]
    );
    assert!(gateway::read_once::table(&rows).contains("illegal address"));
}
