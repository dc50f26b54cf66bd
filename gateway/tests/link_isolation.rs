//! One dead device on a shared line: what it costs the others is bounded, and they keep their rhythm.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use evidence::measurement::Table;
use evidence::quality::Quality;
use evidence::value::{Format, Kind, Order};
use futures_util::future::join_all;
use gateway::config::{Endpoint, LineConfig, SerialPort};
use gateway::modbus::device::DeviceReader;
use gateway::modbus::frame::Request;
use gateway::modbus::link::cost_of_silence;
use gateway::modbus::register_map::{RegisterMap, Value};
use gateway::modbus::{Failure, Link, LinkOptions};
use gateway::plan::{Limits, Span};
use tokio::time::{Instant, sleep_until};

#[path = "support/wire.rs"]
#[expect(dead_code, reason = "these tests need a part of it")]
mod wire;

use wire::{Frames, Line, Rules};

const TIMEOUT: Duration = Duration::from_millis(200);

/// The streams' interval.
const TICK: Duration = Duration::from_millis(800);

/// Half of it, as the gateway sets it.
const CAP: Duration = Duration::from_millis(400);

/// What a busy machine may add to any wait.
const SLACK: Duration = Duration::from_millis(300);

const DEAD: u8 = 9;

fn bus() -> (LineConfig, Line) {
    let rules = Rules {
        within: Duration::from_secs(60),
        once: true,
        keeps: false,
    };
    let port = SerialPort {
        baud: 19_200,
        ..SerialPort::new("/dev/memory")
    };
    let config = LineConfig::new(Endpoint::Serial(port));
    (config, Line::new(Frames::Rtu, rules))
}

fn span(address: u16, count: u16) -> Span {
    Span {
        table: Table::Holding,
        address,
        count,
    }
}

fn reader(link: &Link, unit: u8) -> DeviceReader {
    let value = |point, address| Value {
        point,
        name: format!("p{point}"),
        span: span(address, 1),
        format: Format {
            kind: Kind::U16,
            order: Order::Abcd,
        },
    };
    let limits = Limits {
        registers: 125,
        bits: 2_000,
        gap: 0,
        barriers: [].into(),
    };
    // Two requests a tick.
    let values = vec![value(0, 1), value(1, 7)];
    let map = RegisterMap::new(&format!("unit-{unit}"), limits, values);
    DeviceReader::new(link.clone(), unit, TIMEOUT, map)
}

/// A busy machine makes one run late; a bound that does not hold makes every run late.
async fn once_of_three<F: Future<Output = Result<(), String>>>(run: impl Fn() -> F) {
    let mut why = Vec::new();
    for _ in 0..3 {
        match run().await {
            Ok(()) => return,
            Err(late) => why.push(late),
        }
    }
    assert_eq!(why, [""; 0], "three times in a row");
}

#[tokio::test]
async fn a_dead_unit_costs_a_shared_serial_line_at_most_the_stated_bound() {
    once_of_three(a_dead_unit_costs).await;
}

/// Fails by what was late; panics at what is wrong however busy the machine is.
async fn a_dead_unit_costs() -> Result<(), String> {
    let (config, line) = bus();
    line.kill(DEAD);
    let link = Link::start(LinkOptions::of(&config).through(line.opener()).shared(CAP));
    let mut living: Vec<DeviceReader> = (1..=3).map(|unit| reader(&link, unit)).collect();
    let mut dead = reader(&link, DEAD);
    let started = Instant::now();
    let mut lost = 0;
    let ticks = 6;
    for tick in 0..ticks {
        sleep_until(started + TICK * tick).await;
        let deadline = started + TICK * (tick + 1);
        // The dead one asks first, and still goes last when it is probed.
        let of_dead = dead.read(deadline);
        let of_living = join_all(living.iter_mut().map(|reader| reader.read(deadline)));
        let (of_dead, of_living) = tokio::join!(of_dead, of_living);
        for outcome in of_dead {
            let quality = outcome.result.as_ref().unwrap_err().quality;
            assert!(
                [Quality::TIMEOUT, Quality::BACKED_OFF].contains(&quality),
                "{quality}"
            );
        }
        let outcomes = of_living.into_iter().flatten();
        lost += outcomes.filter(|outcome| outcome.result.is_err()).count();
    }
    // 200 ms, the wire time of the longest frames, 50 ms of silence.
    let bound = cost_of_silence(&config, TIMEOUT, CAP);
    assert!(bound < Duration::from_millis(400), "{bound:?}");
    let questions = line.questions();
    let mut asked_dead = 0;
    for pair in questions.windows(2) {
        let [(asked, (unit, ..)), (next, _)] = pair else {
            continue;
        };
        if *unit == DEAD && *next - *asked < TICK {
            let cost = *next - *asked;
            if cost >= bound + SLACK {
                return Err(format!("the others waited {cost:?}, bound {bound:?}"));
            }
        }
    }
    for (_, (unit, ..)) in &questions {
        asked_dead += usize::from(*unit == DEAD);
    }
    // At once, after 2 s, and not yet after 6 s.
    if !(2..=3).contains(&asked_dead) {
        return Err(format!("{asked_dead} questions to the dead unit"));
    }
    let most = ticks as usize * 6;
    if lost * 10 >= most {
        let text = format!("{lost} of {most} values of the living units were lost");
        return Err(text);
    }
    Ok(())
}

#[tokio::test]
async fn requests_that_wait_for_a_unit_that_falls_silent_are_not_sent_at_all() {
    let (config, line) = bus();
    line.kill(DEAD);
    let link = Link::start(LinkOptions::of(&config).through(line.opener()).shared(CAP));
    let ask = |unit, address| {
        let request = Request {
            unit,
            span: span(address, 1),
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        let link = link.clone();
        async move { link.ask(request, TIMEOUT, deadline, false).await.result }
    };
    let (first, second, third, other) =
        tokio::join!(ask(DEAD, 0), ask(DEAD, 1), ask(DEAD, 2), ask(1, 0));
    assert!(matches!(first, Err(Failure::Timeout)), "{first:?}");
    for waited in [second, third] {
        assert!(matches!(waited, Err(Failure::BackedOff)), "{waited:?}");
    }
    assert!(other.is_ok(), "{other:?}");
    let asked: Vec<u8> = line
        .questions()
        .iter()
        .map(|(_, (unit, ..))| *unit)
        .collect();
    assert_eq!(asked, [DEAD, 1]);
}

#[tokio::test]
async fn a_unit_known_to_be_quick_is_given_up_sooner_when_it_falls_silent() {
    once_of_three(a_quick_unit_is_given_up).await;
}

async fn a_quick_unit_is_given_up() -> Result<(), String> {
    let (config, line) = bus();
    let link = Link::start(LinkOptions::of(&config).through(line.opener()).shared(CAP));
    let patient = Duration::from_secs(20);
    let ask = async || {
        let request = Request {
            unit: 1,
            span: span(0, 1),
        };
        let deadline = Instant::now() + patient;
        link.ask(request, patient, deadline, false).await
    };
    assert!(ask().await.result.is_ok());
    line.kill(1);
    let reply = ask().await;
    assert!(matches!(reply.result, Err(Failure::Timeout)), "{reply:?}");
    // At least 200 ms, at most the cap and what a busy machine adds.
    let (least, most) = (Duration::from_millis(200), CAP + SLACK);
    assert!(reply.round_trip >= least, "{reply:?}");
    if reply.round_trip < most {
        Ok(())
    } else {
        Err(format!("{reply:?}"))
    }
}
