//! Modbus over real sockets: a server by others, and one that misbehaves in every way we know.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::atomic::Ordering;
use std::time::Duration;

use evidence::measurement::Table;
use evidence::quality::Quality;
use evidence::value::{Format, Kind, Order};
use gateway::config::{GatewayConfig, LineConfig};
use gateway::modbus::device::DeviceReader;
use gateway::modbus::frame::{Answer, Misbehaviour, Request};
use gateway::modbus::outcome::Outcome;
use gateway::modbus::register_map::{RegisterMap, Value};
use gateway::modbus::{Failure, Link, LinkOptions};
use gateway::plan::{Limits, Span};
use gateway::sample::SampleValue;
use gateway::sample::{PointSample, PolledSource as _};
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
    let options = LinkOptions::of(&LineConfig::tcp("127.0.0.1", port)).first_transaction(0xFFFE);
    Link::start(match cap {
        Some(cap) => options.shared(cap),
        None => options,
    })
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
    // The answer to the question before: right in every field but the transaction.
    for act in [Act::Transaction, Act::Previous] {
        server.epoch.fetch_add(1, Ordering::SeqCst);
        server.then(&[act, act]);
        let failure = ask(&link, request, PATIENCE).await.unwrap_err();
        let expected = matches!(
            failure,
            Failure::Misbehaved(Misbehaviour::Transaction { .. })
        );
        assert!(expected, "{act:?}: {failure:?}");
        server.then(&[Act::Answer]);
        let answer = ask(&link, request, PATIENCE).await.unwrap();
        assert_eq!(answer, words(&server, request));
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
        4 => Just(Act::Previous),
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
        steps in proptest::collection::vec((acts(), 1_u8..3, 0_u16..4, 1_u16..3), 1..14),
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
        barriers: [].into(),
    };
    let values = (0..)
        .zip(addresses)
        .map(|(point, address)| value(point, *address))
        .collect();
    let map = RegisterMap::new(&format!("unit-{unit}"), limits, values);
    DeviceReader::new(link.clone(), unit, timeout, map)
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
                Ok(raw) => assert_eq!(
                    *raw,
                    SampleValue::Int(i64::from(server.register(1, address)))
                ),
                Err(absence) => {
                    assert_eq!((address, absence.quality), (5, Quality::ILLEGAL_ADDRESS));
                }
            }
        }
    };
    // The tick that finds it out already has every other value: one refusal, then the declared
    // registers by themselves.
    good(device.read(Instant::now() + PATIENCE).await);
    let parts = [(1, 1, 2), (1, 5, 1), (1, 9, 1), (1, 14, 2)];
    assert_eq!(server.requests(), [&[(1, 1, 15)], &parts[..]].concat());
    // From then on: declared registers joined, the hole not asked for.
    good(device.read(Instant::now() + PATIENCE).await);
    assert_eq!(server.requests(), [(1, 1, 2), (1, 9, 1), (1, 14, 2)]);
}

#[tokio::test]
async fn one_hole_among_many_values_is_found_by_halves() {
    let server = Scripted::start().await;
    server.remove(41);
    let link = link(server.port, None);
    let addresses: Vec<u16> = (0..64).collect();
    let mut device = reader(&link, 1, PATIENCE, &addresses);
    for requests in [13, 2, 2] {
        let outcomes = device.read(Instant::now() + PATIENCE).await;
        for (outcome, address) in outcomes.iter().zip(&addresses) {
            match &outcome.result {
                Ok(raw) => assert_eq!(
                    *raw,
                    SampleValue::Int(i64::from(server.register(1, *address)))
                ),
                Err(absence) => {
                    assert_eq!((*address, absence.quality), (41, Quality::ILLEGAL_ADDRESS));
                }
            }
        }
        // Six times in halves, then what lies below the hole and what lies above it.
        assert_eq!(server.requests().len(), requests);
    }
}

#[tokio::test]
async fn a_device_that_refuses_long_requests_is_asked_for_shorter_ones_from_then_on() {
    let server = Scripted::start().await;
    server.limit(20);
    let link = link(server.port, None);
    let addresses: Vec<u16> = (0..50).collect();
    let mut device = reader(&link, 1, PATIENCE, &addresses);
    let quarters = [(1, 0, 12), (1, 12, 13), (1, 25, 12), (1, 37, 13)];
    for requests in [7, 4, 4] {
        let outcomes = device.read(Instant::now() + PATIENCE).await;
        assert_eq!(qualities(outcomes), [Quality::GOOD; 50]);
        let mut seen = server.requests();
        assert_eq!(seen.len(), requests);
        seen.retain(|(_, _, count)| *count <= 20);
        seen.sort_unstable();
        assert_eq!(seen, quarters);
    }
}

#[tokio::test]
async fn a_refusal_that_does_not_happen_again_costs_a_request_more_and_no_value() {
    let server = Scripted::start().await;
    let link = link(server.port, Some(Duration::from_millis(500)));
    let mut device = reader(&link, 1, PATIENCE, &[1, 2, 3]);
    server.then(&[Act::Exception(3)]);
    for _ in 0..2 {
        let outcomes = device.read(Instant::now() + PATIENCE).await;
        assert_eq!(qualities(outcomes), [Quality::GOOD; 3]);
    }
    let parts = [(1, 1, 1), (1, 2, 2)];
    assert_eq!(
        server.requests(),
        [&[(1, 1, 3)], &parts[..], &parts[..]].concat()
    );
    // A device that was away may be another one: the joined request is tried, and holds.
    lose_and_find(&server, &mut device).await;
    device.read(Instant::now() + PATIENCE).await;
    assert_eq!(server.requests(), [(1, 1, 1), (1, 1, 3), (1, 1, 3)]);
}

/// The device falls silent and comes back.
async fn lose_and_find(server: &Scripted, device: &mut DeviceReader) {
    server.silence(1);
    let lost = qualities(device.read(Instant::now() + PATIENCE).await);
    assert!(lost.contains(&Quality::TIMEOUT), "{lost:?}");
    server.speak(1);
    server.requests();
    while !qualities(device.read(Instant::now() + PATIENCE).await).contains(&Quality::GOOD) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_device_that_returns_and_still_refuses_loses_no_value_by_being_tried() {
    let server = Scripted::start().await;
    server.remove(2);
    let link = link(server.port, Some(Duration::from_millis(500)));
    let mut device = reader(&link, 1, PATIENCE, &[1, 2, 3]);
    let hole = [Quality::GOOD, Quality::ILLEGAL_ADDRESS, Quality::GOOD];
    let outcomes = device.read(Instant::now() + PATIENCE).await;
    assert_eq!(qualities(outcomes), hole);
    lose_and_find(&server, &mut device).await;
    let tried = [(1, 1, 1), (1, 1, 3), (1, 1, 1), (1, 3, 1)];
    assert_eq!(server.requests(), tried);
    let outcomes = device.read(Instant::now() + PATIENCE).await;
    assert_eq!(qualities(outcomes), hole);
    assert_eq!(
        server.requests(),
        [(1, 1, 1), (1, 3, 1)],
        "the hole is remembered"
    );
}

#[tokio::test]
async fn a_device_that_refuses_everything_while_it_starts_is_read_as_planned_when_it_has_started() {
    let server = Scripted::start().await;
    let link = link(server.port, None);
    let mut device = reader(&link, 1, PATIENCE, &[1, 2, 3, 200]);
    let planned: Vec<Span> = device.requests().collect();
    // 1-3, then 1 and 2-3, then 2 and 3; and 200, which is a group by itself.
    server.then(&[Act::Exception(2); 6]);
    let outcomes = device.read(Instant::now() + PATIENCE).await;
    assert_eq!(qualities(outcomes), [Quality::ILLEGAL_ADDRESS; 4]);
    assert_eq!(server.requests().len(), 6);
    assert_eq!(device.requests().collect::<Vec<_>>(), planned);
    let outcomes = device.read(Instant::now() + PATIENCE).await;
    assert_eq!(qualities(outcomes), [Quality::GOOD; 4]);
    assert_eq!(server.requests(), [(1, 1, 3), (1, 200, 1)]);
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
            qualities(of_alive),
            [Quality::GOOD; 2],
            "the other unit is not affected"
        );
        let cost = of_silent
            .iter()
            .map(|outcome| outcome.round_trip)
            .max()
            .unwrap();
        assert!(
            cost < PATIENCE / 4,
            "half a second, not its own patience: {cost:?}"
        );
        seen.push(qualities(of_silent));
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
        if qualities(outcomes) == [Quality::GOOD; 3] {
            break;
        }
        assert_eq!(qualities(outcomes), [Quality::BACKED_OFF; 3]);
        tokio::task::yield_now().await;
    }
    assert_eq!(server.requests(), [(7, 0, 1), (7, 0, 2), (7, 200, 1)]);
}

#[tokio::test]
async fn a_link_that_returns_serves_its_units_even_if_the_one_that_probed_it_is_silent() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let link = link(port, Some(Duration::from_millis(200)));
    let mut silent = reader(&link, 7, PATIENCE, &[0]);
    let mut alive = reader(&link, 1, PATIENCE, &[0]);
    let first = silent.read(Instant::now() + PATIENCE).await;
    assert_eq!(qualities(first), [Quality::LINK_ERROR]);
    let waiting = alive.read(Instant::now() + PATIENCE).await;
    assert_eq!(
        qualities(waiting),
        [Quality::BACKED_OFF],
        "one attempt tells for all units"
    );
    let server = Scripted::start_on(port).await;
    server.silence(7);
    // The silent unit gets the probe, because it asks first.
    while qualities(silent.read(Instant::now() + PATIENCE).await) != [Quality::TIMEOUT] {
        tokio::task::yield_now().await;
    }
    let outcomes = alive.read(Instant::now() + PATIENCE).await;
    assert_eq!(qualities(outcomes), [Quality::GOOD]);
}

#[tokio::test]
async fn a_busy_device_keeps_its_connection_and_its_rhythm() {
    let server = Scripted::start().await;
    let link = link(server.port, None);
    let mut device = reader(&link, 1, PATIENCE, &[0, 200]);
    server.then(&[Act::Exception(6)]);
    let outcomes = device.read(Instant::now() + PATIENCE).await;
    assert_eq!(qualities(outcomes), [Quality::EXCEPTION, Quality::GOOD]);
    assert_eq!(outcomes[0].result.as_ref().unwrap_err().aux, 6);
    let outcomes = device.read(Instant::now() + PATIENCE).await;
    assert_eq!(qualities(outcomes), [Quality::GOOD; 2]);
}

#[tokio::test]
async fn a_stream_with_a_silent_device_is_back_before_its_next_tick() {
    let (alive, silent) = (Scripted::start().await, Scripted::start().await);
    silent.silence(1);
    let device = |name: &str, port: u16| {
        format!(
            "[[modbus]]\nname = \"{name}\"\nhost = \"127.0.0.1\"\nport = {port}\naddress_base = \"pdu\"\ntimeout_ms = 5000\n\
             [[modbus.point]]\nname = \"{name}-1\"\ntable = \"holding\"\naddress = 1\ntype = \"u16\"\ndecimals = 0\nunit = \"1\"\nkind = \"instant\"\n"
        )
    };
    let text = format!(
        "[gateway]\norigin = \"example.com/gw/1\"\ndata_dir = \"/nowhere\"\n{}{}",
        device("silent", silent.port),
        device("alive", alive.port)
    );
    let config = GatewayConfig::parse("test", &text).unwrap();
    // On a busy machine a wake-up may come late; a poll that uses up its tick fails every time.
    let mut in_time = false;
    for tick in 0..5 {
        let streams = sampling::start(&config, &SystemRandom::new());
        let [mut stream] = <[sampling::PolledStream; 1]>::try_from(streams).unwrap();
        let deadline = Instant::now() + Duration::from_secs(1);
        let samples = stream.poll(tick, deadline).await.samples;
        in_time |= Instant::now() < deadline;
        assert_eq!(samples[0].qualities, [(Quality::TIMEOUT, 0)]);
        let expected = PointSample::good(1, i64::from(alive.register(1, 1)));
        assert_eq!(samples[1], expected, "the other device is not affected");
        if in_time {
            break;
        }
    }
    assert!(in_time, "the next tick of the other device would be missed");
}

#[tokio::test]
async fn values_that_belong_together_are_never_read_apart_not_even_to_find_a_hole() {
    let server = Scripted::start().await;
    let link = link(server.port, None);
    let limits = Limits {
        registers: 125,
        bits: 2_000,
        gap: 31,
        barriers: [].into(),
    };
    // 1 and 9 are read together; 5 lies between them, 20 behind.
    let values = (0..).zip([1, 5, 9, 20]);
    let values: Vec<Value> = values
        .map(|(point, address)| value(point, address))
        .collect();
    let whole = Span {
        table: Table::Holding,
        address: 1,
        count: 9,
    };
    let map = RegisterMap::grouped("m", limits, values, &[0, 1, 0, 2]);
    let mut device = DeviceReader::new(link, 1, PATIENCE, map);
    let read = async |device: &mut DeviceReader| {
        let outcomes = device.read(Instant::now() + Duration::from_secs(20)).await;
        let said: Vec<Option<Quality>> = outcomes
            .iter()
            .map(|outcome| outcome.result.as_ref().err().map(|absence| absence.quality))
            .collect();
        said
    };
    assert_eq!(read(&mut device).await, [None; 4]);
    // The hole parts the request; the two stay one, and which of them is missing nobody can say.
    server.remove(9);
    let refused = Some(Quality::EXCEPTION);
    assert_eq!(read(&mut device).await, [refused, None, refused, None]);
    assert!(device.requests().any(|request| request == whole));
    let apart = device
        .requests()
        .any(|request| matches!(request.address, 1 | 9) && request.count == 1);
    assert!(!apart, "{:?}", device.requests().collect::<Vec<_>>());
}
