//! Modbus against a server by others: pymodbus, whose registers hold their own address.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use evidence::quality::Quality;
use evidence::segment::ConfigInForce;
use gateway::config::GatewayConfig;
use gateway::live::LiveTable;
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
            .args([script, "tcp"])
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

/// A device of which each point is given as its keys from `address` on.
fn device(port: u16, points: &[(&str, &str)]) -> GatewayConfig {
    let mut text = format!(
        "[gateway]\norigin = \"example.com/gw/1\"\ndata_dir = \"/nowhere\"\n[[modbus]]\nname = \"m\"\nhost = \"127.0.0.1\"\nport = {port}\naddress_base = \"pdu\"\ntimeout_ms = 20000\n"
    );
    for (name, keys) in points {
        text.push_str(&format!(
            "[[modbus.point]]\nname = \"{name}\"\ntable = \"holding\"\n{keys}\n"
        ));
    }
    GatewayConfig::parse("test", &text).unwrap()
}

#[tokio::test]
async fn texts_bit_fields_digits_and_scale_factors_come_out_of_a_server_by_others() {
    let meter = Meter::start();
    let rest = "unit = \"1\"\nkind = \"instant\"";
    let scaled = |factor: &str, decimals: u8| {
        format!(
            "address = 5\ntype = \"u16\"\ndecimals = {decimals}\nscale_from = \"{factor}\"\n{rest}"
        )
    };
    let plain = |address: u16, kind: &str| {
        format!("address = {address}\ntype = \"{kind}\"\ndecimals = 0\n{rest}")
    };
    // Every register holds its own address: 2 and 11 are the factors 10^2 and one too large.
    let points = [
        (
            "text",
            "address = 65\ntype = \"text\"\nwords = 3".to_owned(),
        ),
        (
            "swapped",
            "address = 65\ntype = \"text\"\nwords = 3\norder = \"BA\"".to_owned(),
        ),
        ("field", plain(365, "bits4-7")),
        ("bit", plain(365, "bit3")),
        ("digits", plain(0x123, "bcd16")),
        ("no-digits", plain(0x12a, "bcd16")),
        ("scaled", scaled("two", 1)),
        ("two", plain(2, "i16")),
        ("wild", scaled("eleven", 1)),
        ("eleven", plain(11, "i16")),
    ];
    let points: Vec<(&str, &str)> = points
        .iter()
        .map(|(name, keys)| (*name, keys.as_str()))
        .collect();
    let config = device(meter.port, &points);
    let [stream] = sampling::start(&config, &SystemRandom::new())
        .try_into()
        .unwrap();
    let mut stream: sampling::PolledStream = stream;
    let samples = stream.poll(0, Instant::now() + PATIENCE).await.samples;
    let text = SampleValue::Text(vec![0, 65, 0, 66, 0, 67]);
    let found: Vec<_> = samples
        .iter()
        .map(|sample| {
            let said: Vec<Quality> = sample.qualities.iter().map(|said| said.0).collect();
            (sample.value.clone(), said)
        })
        .collect();
    let good = |raw| (SampleValue::Int(raw), vec![]);
    let beyond = |raw| (SampleValue::Int(raw), vec![Quality::OUT_OF_RANGE]);
    assert_eq!(
        found,
        [
            (text.clone(), vec![]),
            (text, vec![]),
            good(365),
            good(365),
            good(0x123),
            beyond(0x12a),
            good(5),
            good(2),
            beyond(5),
            good(11),
        ]
    );

    // The same for people, once and live.
    let rows = read_once(&config, Duration::ZERO, &SystemRandom::new())
        .await
        .unwrap();
    let shown: Vec<Option<&str>> = rows.iter().map(|row| row.value.as_deref()).collect();
    let expected = [
        Some("A\\u{0}B\\u{0}C"),
        Some("A\\u{0}B\\u{0}C"),
        Some("6"),
        Some("1"),
        Some("123"),
        None,
        Some("500.0"),
        Some("2"),
        None,
        Some("11"),
    ];
    assert_eq!(shown, expected);
    assert_eq!(rows[0].raw.as_deref(), Some("0041 0042 0043"));
    assert_eq!(rows[8].quality, "out of range");
    let in_force = ConfigInForce::new(config.measurement(|_| 0), 1);
    let table = LiveTable::new(Some(Arc::new(in_force)));
    table.update(&samples, Some(0));
    let live: Vec<Option<String>> = table.values().iter().map(|value| value.value).collect();
    let expected: Vec<Option<String>> = expected
        .iter()
        .map(|text| text.map(str::to_owned))
        .collect();
    assert_eq!(live, expected);
}
