//! Modbus over real sockets: a server by others, and one that misbehaves in every way we know.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use evidence::measurement::Table;
use evidence::quality::Quality;
use evidence::value::{Format, Kind, Order};
use gateway::config::GatewayConfig;
use gateway::modbus::device::{DeviceReader, Outcome, Value};
use gateway::modbus::frame::{Answer, Misbehaviour, Request};
use gateway::modbus::{Failure, Link, LinkOptions};
use gateway::plan::{Limits, Span};
use gateway::read_once::read_once;
use gateway::sample::{PolledSource as _, SampleValue};
use gateway::sampling;
use proptest::prelude::{Just, ProptestConfig, Strategy, prop_assert, prop_oneof, proptest};
use ring::rand::SystemRandom;
use tokio::time::Instant;

#[path = "support/scripted.rs"]
mod scripted;

use scripted::{Act, Scripted};

/// Long enough for an answer on a busy machine; no test waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(20);

fn link(port: u16, cap: Option<Duration>) -> Link {
    let host = "127.0.0.1".to_owned();
    let options = LinkOptions {
        host,
        port,
        connect_delay: Duration::ZERO,
        cap,
        first_transaction: 0xFFFE,
    };
    Link::start(options).0
}

fn read(unit: u8, address: u16, count: u16) -> Request {
    Request {
        unit,
        span: Span {
            table: Table::Holding,
            address,
            count,
        },
    }
}

async fn ask(link: &Link, request: Request, timeout: Duration) -> Result<Answer, Failure> {
    link.ask(request, timeout, Instant::now() + PATIENCE, false)
        .await
        .result
}

fn words(server: &Scripted, request: Request) -> Answer {
    let addresses = request.span.address..request.span.address + request.span.count;
    Answer::Words(
        addresses
            .map(|address| server.register(request.unit, address))
            .collect(),
    )
}

#[tokio::test]
async fn each_misbehaviour_is_named_and_the_next_question_gets_its_own_answer() {
    let server = Scripted::start().await;
    let link = link(server.port, None);
    let request = read(1, 10, 3);
    let length = |found| Misbehaviour::Length { expected: 9, found };
    for (act, expected) in [
        (Act::Short, length(7)),
        (Act::Long, length(11)),
        (
            Act::ByteCount,
            Misbehaviour::ByteCount {
                expected: 6,
                found: 8,
            },
        ),
        (
            Act::Unit,
            Misbehaviour::Unit {
                asked: 1,
                answered: 2,
            },
        ),
        (
            Act::Function,
            Misbehaviour::Function {
                asked: 3,
                answered: 4,
            },
        ),
        (Act::Protocol, Misbehaviour::Protocol(1)),
        (Act::Excess, Misbehaviour::Unasked),
        (Act::Twice, Misbehaviour::Unasked),
    ] {
        // Twice the act: a kept connection that turns out stale is replaced once.
        server.then(&[act, act]);
        match ask(&link, request, PATIENCE).await {
            Err(Failure::Misbehaved(found)) => assert_eq!(found, expected, "{act:?}"),
            // Two answers may come in two packets: the first is right, the second is found later.
            Ok(answer) if act == Act::Twice || act == Act::Excess => {
                assert_eq!(answer, words(&server, request));
            }
            other => panic!("{act:?}: {other:?}"),
        }
        // Whatever is left of the script is used up before the next act.
        loop {
            if matches!(ask(&link, request, PATIENCE).await, Ok(answer) if answer == words(&server, request))
            {
                break;
            }
        }
    }
    for code in [1, 2, 6, 11] {
        server.then(&[Act::Exception(code)]);
        assert_eq!(
            ask(&link, request, PATIENCE).await.unwrap(),
            Answer::Exception(code)
        );
    }
}

#[tokio::test]
async fn a_connection_that_the_device_closes_between_questions_costs_nothing() {
    let server = Scripted::start().await;
    let link = link(server.port, None);
    for _ in 0..5 {
        server.then(&[Act::AnswerThenClose]);
        assert_eq!(
            ask(&link, read(1, 0, 2), PATIENCE).await.unwrap(),
            words(&server, read(1, 0, 2))
        );
    }
    // Closed upon the question, once: asked again on a fresh connection.
    server.then(&[Act::Answer, Act::Close]);
    for _ in 0..2 {
        ask(&link, read(1, 0, 2), PATIENCE).await.unwrap();
    }
}

#[tokio::test]
async fn an_answer_after_the_end_of_the_tick_is_a_timeout() {
    let server = Scripted::start().await;
    let link = link(server.port, None);
    server.then(&[Act::Late(100)]);
    let deadline = Instant::now() + Duration::from_millis(20);
    let reply = link.ask(read(1, 0, 1), PATIENCE, deadline, false).await;
    assert!(matches!(reply.result, Err(Failure::Timeout)), "{reply:?}");
    server.epoch.store(1, Ordering::SeqCst);
    // The late answer has nothing to arrive on; the next one is of the present.
    assert_eq!(
        ask(&link, read(1, 0, 1), PATIENCE).await.unwrap(),
        words(&server, read(1, 0, 1))
    );
}

#[tokio::test]
async fn nothing_listening_is_a_link_error_and_is_said_as_such() {
    let port = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let failure = ask(&link(port, None), read(1, 0, 1), PATIENCE)
        .await
        .unwrap_err();
    assert!(failure.is_connect(), "{failure:?}");
}

fn acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Answer),
        1 => Just(Act::Dribble),
        1 => Just(Act::Twice),
        1 => (15_u64..45).prop_map(Act::Late),
        1 => Just(Act::Short),
        1 => Just(Act::Long),
        1 => Just(Act::Excess),
        1 => Just(Act::ByteCount),
        1 => Just(Act::Unit),
        1 => Just(Act::Function),
        1 => Just(Act::Transaction),
        2 => Just(Act::Previous),
        1 => Just(Act::Protocol),
        1 => (0_u8..=255).prop_map(Act::Exception),
        1 => Just(Act::Garbage),
        1 => Just(Act::Silence),
        1 => Just(Act::HalfThenClose),
        1 => Just(Act::Close),
        1 => Just(Act::AnswerThenClose),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 40, ..ProptestConfig::default() })]

    /// The heart of the matter. Every register changes with every question, so an answer that
    /// belongs to another question, another address or another time shows in its value.
    #[test]
    fn whatever_a_device_does_no_wrong_value_comes_out_good(
        steps in proptest::collection::vec((acts(), 1_u8..3, 0_u16..4, 1_u16..4), 1..14),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = Scripted::start().await;
            let link = link(server.port, None);
            for (epoch, (act, unit, address, count)) in (0_u16..).zip(steps) {
                server.epoch.store(epoch, Ordering::SeqCst);
                server.then(&[act]);
                let request = read(unit, address, count);
                if let Ok(Answer::Words(found)) = ask(&link, request, Duration::from_millis(20)).await {
                    prop_assert!(Answer::Words(found.clone()) == words(&server, request), "{act:?} gave {found:?}");
                }
            }
            Ok(())
        })?;
    }
}

fn value(point: u16, address: u16) -> Value {
    Value {
        point,
        name: format!("p{point}"),
        span: Span {
            table: Table::Holding,
            address,
            count: 1,
        },
        format: Format {
            kind: Kind::U16,
            order: Order::Abcd,
        },
    }
}

fn reader(link: &Link, unit: u8, timeout: Duration, addresses: &[u16]) -> DeviceReader {
    let limits = Limits {
        registers: 125,
        bits: 2_000,
        gap: 31,
    };
    let values = (0..)
        .zip(addresses)
        .map(|(point, address)| value(point, *address))
        .collect();
    DeviceReader::new(
        &format!("unit-{unit}"),
        link.clone(),
        unit,
        timeout,
        limits,
        values,
    )
}

fn qualities(outcomes: &[Outcome]) -> Vec<Quality> {
    outcomes
        .iter()
        .map(|outcome| {
            outcome
                .result
                .as_ref()
                .map_or_else(|absence| absence.quality, |_| Quality::GOOD)
        })
        .collect()
}

#[tokio::test]
async fn a_hole_in_the_register_map_is_found_once_remembered_and_costs_the_others_nothing() {
    let server = Scripted::start().await;
    server.remove(5);
    server.remove(12);
    let link = link(server.port, None);
    let mut device = reader(&link, 1, PATIENCE, &[1, 2, 5, 9, 14, 15]);
    let good = |outcomes: &[Outcome]| {
        for (outcome, address) in outcomes.iter().zip([1, 2, 5, 9, 14, 15]) {
            match &outcome.result {
                Ok(raw) => assert_eq!(*raw, i64::from(server.register(1, address))),
                Err(absence) => {
                    assert_eq!((address, absence.quality), (5, Quality::ILLEGAL_ADDRESS))
                }
            }
        }
    };
    // The tick that finds it out already has every other value: one refusal, six single requests.
    good(&device.read(Instant::now() + PATIENCE).await);
    assert_eq!(server.requests().len(), 7);
    // From then on: declared registers joined, the hole not asked for.
    good(&device.read(Instant::now() + PATIENCE).await);
    assert_eq!(server.requests(), [(1, 1, 2), (1, 9, 1), (1, 14, 2)]);
}

#[tokio::test]
async fn a_device_that_refuses_long_requests_ends_up_with_one_request_per_value() {
    let server = Scripted::start().await;
    let link = link(server.port, None);
    let mut device = reader(&link, 1, PATIENCE, &[1, 2, 3]);
    server.then(&[Act::Exception(3)]);
    for _ in 0..2 {
        let outcomes = device.read(Instant::now() + PATIENCE).await;
        assert_eq!(qualities(&outcomes), [Quality::GOOD; 3]);
    }
    assert_eq!(
        server.requests(),
        [
            (1, 1, 3),
            (1, 1, 1),
            (1, 2, 1),
            (1, 3, 1),
            (1, 1, 1),
            (1, 2, 1),
            (1, 3, 1)
        ]
    );
}

#[tokio::test]
async fn a_silent_unit_is_backed_off_and_the_others_on_its_link_keep_their_rhythm() {
    let server = Scripted::start().await;
    server.silence(7);
    let cap = Duration::from_millis(500);
    let link = link(server.port, Some(cap));
    let mut silent = reader(&link, 7, PATIENCE, &[0, 1, 200]);
    let mut alive = reader(&link, 1, PATIENCE, &[0, 1]);
    let mut seen = Vec::new();
    for _ in 0..4 {
        let deadline = Instant::now() + PATIENCE;
        let (of_silent, of_alive) = tokio::join!(silent.read(deadline), alive.read(deadline));
        assert_eq!(
            qualities(&of_alive),
            [Quality::GOOD; 2],
            "the other unit is not affected"
        );
        seen.push(qualities(&of_silent));
    }
    let backed_off = vec![Quality::BACKED_OFF; 3];
    let first = vec![Quality::TIMEOUT, Quality::TIMEOUT, Quality::BACKED_OFF];
    assert_eq!(
        seen,
        [first, backed_off.clone(), backed_off.clone(), backed_off]
    );
    // It comes back by itself, after one cheap probe.
    server.speak(7);
    server.requests();
    loop {
        let outcomes = silent.read(Instant::now() + PATIENCE).await;
        if qualities(&outcomes) == [Quality::GOOD; 3] {
            break;
        }
        assert_eq!(qualities(&outcomes), [Quality::BACKED_OFF; 3]);
        tokio::task::yield_now().await;
    }
    assert_eq!(server.requests(), [(7, 0, 1), (7, 0, 2), (7, 200, 1)]);
}

#[tokio::test]
async fn a_busy_device_keeps_its_connection_and_its_rhythm() {
    let server = Scripted::start().await;
    let link = link(server.port, None);
    let mut device = reader(&link, 1, PATIENCE, &[0, 200]);
    server.then(&[Act::Exception(6)]);
    let outcomes = device.read(Instant::now() + PATIENCE).await;
    assert_eq!(qualities(&outcomes), [Quality::EXCEPTION, Quality::GOOD]);
    assert_eq!(outcomes[0].result.as_ref().unwrap_err().aux, 6);
    let outcomes = device.read(Instant::now() + PATIENCE).await;
    assert_eq!(qualities(&outcomes), [Quality::GOOD; 2]);
}

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
