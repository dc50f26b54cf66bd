//! The link never lies: whatever a line delivers, and however late, no value that comes out good is
//! another register's or another time's.
//!
//! Thousands of random scripts run over a line in memory (`support/wire.rs`). On RTU this holds under
//! one assumption, which the scripted device keeps by time stamps: it answers a question once (or
//! again before it has heard the next one), and within twice its timeout or never. The last two
//! tests show why the rule is needed and where it ends.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use evidence::measurement::Table;
use futures_util::future::join_all;
use gateway::config::{Endpoint, LineConfig, SerialPort};
use gateway::modbus::frame::{Answer, Request};
use gateway::modbus::{Link, LinkOptions, rtu};
use gateway::plan::Span;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_assert, prop_oneof, proptest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};
use tokio_modbus::client::Reader as _;
use tokio_modbus::slave::Slave;

#[path = "support/wire.rs"]
mod wire;

use wire::{Act, Frames, Line, Rules, register};

/// No script takes this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the scripted device is given to answer.
const TIMEOUT: Duration = Duration::from_millis(80);

/// Twice the timeout: what the rule excludes.
const WITHIN: Duration = Duration::from_millis(160);

/// One question of a script.
#[derive(Debug, Clone)]
struct Step {
    act: Act,
    unit: u8,
    address: u16,
    count: u16,
    /// The caller goes away after so many milliseconds.
    cancel: Option<u64>,
}

#[derive(Debug, Clone)]
struct Script {
    frames: Frames,
    serial: bool,
    keeps: bool,
    /// Unit 2 is dead.
    dead: bool,
    /// Asked by two streams at once, each its own steps.
    steps: [Vec<Step>; 2],
}

fn noise() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 1..12)
}

fn acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => Just(Act::Answer),
        4 => (1_u64..80).prop_map(Act::Late),
        6 => (80_u64..170).prop_map(Act::Late),
        2 => (1_usize..8).prop_map(Act::Pieces),
        3 => (0_u64..4).prop_map(Act::Twice),
        1 => (4_u64..150).prop_map(Act::Twice),
        1 => Just(Act::Short),
        1 => Just(Act::Long),
        1 => Just(Act::Cut),
        1 => Just(Act::ByteCount),
        1 => Just(Act::Unit),
        1 => Just(Act::Function),
        1 => Just(Act::Transaction),
        3 => Just(Act::Previous),
        1 => any::<u8>().prop_map(Act::Exception),
        1 => noise().prop_map(Act::Noise),
        1 => noise().prop_map(Act::NoiseThenAnswer),
        1 => noise().prop_map(Act::AnswerThenNoise),
        1 => Just(Act::Echo),
        1 => Just(Act::Silence),
        1 => Just(Act::Close),
        1 => Just(Act::AnswerThenClose),
    ]
}

fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let cancel = proptest::option::weighted(0.1, 0_u64..100);
    // Mostly questions of one form, whose answers only the rules can tell apart.
    let unit = prop_oneof![4 => Just(1_u8), 1 => Just(2)];
    let count = prop_oneof![1 => Just(1_u16), 4 => Just(2)];
    let step = (acts(), unit, 0_u16..6, count, cancel);
    let step = step.prop_map(|(act, unit, address, count, cancel)| Step {
        act,
        unit,
        address,
        count,
        cancel,
    });
    proptest::collection::vec(step, 0..most)
}

fn scripts() -> impl Strategy<Value = Script> {
    let frames = prop_oneof![1 => Just(Frames::Mbap), 3 => Just(Frames::Rtu)];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let parts = (frames, flags, steps(9), steps(4));
    parts.prop_map(|(frames, (serial, keeps, dead), first, second)| Script {
        frames,
        serial,
        keeps,
        dead,
        steps: [first, second],
    })
}

fn link(frames: Frames, serial: bool, line: &Line) -> Link {
    link_after(frames, serial, line, Duration::ZERO)
}

/// A link whose line rests first.
fn link_after(frames: Frames, serial: bool, line: &Line, rest: Duration) -> Link {
    let (host, port) = ("memory".to_owned(), 1);
    let endpoint = match frames {
        Frames::Mbap => Endpoint::Tcp { host, port },
        Frames::Rtu if serial => Endpoint::Serial(SerialPort {
            baud: 115_200,
            ..SerialPort::new("/dev/memory")
        }),
        Frames::Rtu => Endpoint::RtuOverTcp { host, port },
    };
    let config = LineConfig {
        pause: Duration::from_millis(4),
        ..LineConfig::new(endpoint)
    };
    Link::start(LinkOptions::of(&config).through(line.opener()).rest(rest))
}

fn holding(unit: u8, address: u16, count: u16) -> Request {
    let table = Table::Holding;
    let span = Span {
        table,
        address,
        count,
    };
    Request { unit, span }
}

/// What came out good, and whether it is what the registers held when they were asked for.
///
/// Nothing else is asked between this question and its answer, so its generation is the newest one
/// whose question was for this unit and these registers.
fn is_true(line: &Line, request: Request, words: &[u16]) -> bool {
    let wanted = (request.unit, request.span.address, request.span.count);
    let questions = line.questions();
    let asked = (1_u16..)
        .zip(&questions)
        .filter(|(_, (_, asked))| *asked == wanted);
    let Some((generation, _)) = asked.last() else {
        return false;
    };
    let expected = (0..request.span.count)
        .map(|place| register(request.unit, request.span.address + place, generation));
    expected.eq(words.iter().copied())
}

/// Runs a script; returns how many values came out good, or the first that was a lie.
async fn run(script: &Script) -> Result<usize, String> {
    let rules = Rules {
        within: WITHIN,
        once: true,
        keeps: script.keeps,
    };
    let line = Line::new(script.frames, rules);
    if script.dead {
        line.kill(2);
    }
    let link = link(script.frames, script.serial, &line);
    let one_stream = async |stream: usize| {
        let mut good = 0;
        for step in &script.steps[stream] {
            line.then(step.act.clone());
            // Two streams ask for different registers, so that each knows its own question.
            let address = step.address + 8 * u16::try_from(stream).unwrap();
            let request = holding(step.unit, address, step.count);
            let asking = link.ask(request, TIMEOUT, Instant::now() + PATIENCE, false);
            let reply = match step.cancel {
                Some(ms) => match timeout(Duration::from_millis(ms), asking).await {
                    Ok(reply) => reply,
                    Err(_went_away) => continue,
                },
                None => asking.await,
            };
            if let Ok(Answer::Words(words)) = reply.result {
                if !is_true(&line, request, &words) {
                    return Err(format!("{request:?} gave {words:?} at {step:?}"));
                }
                good += 1;
            }
        }
        Ok(good)
    };
    let [first, second] = [0, 1].map(one_stream);
    let (first, second) = tokio::join!(first, second);
    Ok(first? + second?)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 60, ..ProptestConfig::default() })]

    /// Six times six hundred scripts, six hundred at once: they mostly wait.
    #[test]
    fn whatever_a_line_delivers_no_value_that_comes_out_good_is_another_registers(
        scripts in proptest::collection::vec(scripts(), 600),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let runs = runtime.block_on(join_all(scripts.iter().map(run)));
        let mut good = 0;
        for (script, run) in scripts.iter().zip(runs) {
            match run {
                Ok(values) => good += values,
                Err(lie) => prop_assert!(false, "{lie}\n{script:?}"),
            }
        }
        // A link that never answers does not lie either; this one answers. How many fit into the time
        // they have is a matter of how busy the machine is.
        let asked: usize = scripts.iter().flat_map(|script| &script.steps).map(Vec::len).sum();
        prop_assert!(good * 20 > asked, "{good} of {asked} questions were answered");
    }
}

/// As [`TIMEOUT`] where the device must be in time: a busy machine does not make it late.
const AMPLE: Duration = Duration::from_millis(1_500);

#[tokio::test]
async fn each_act_of_a_line_costs_its_question_at_most_and_the_next_one_is_answered() {
    let acts = [
        Act::Late(1_700),
        Act::Twice(0),
        Act::Short,
        Act::Long,
        Act::Cut,
        Act::ByteCount,
        Act::Unit,
        Act::Function,
        Act::Transaction,
        Act::Noise(vec![1, 3, 4]),
        Act::NoiseThenAnswer(vec![0]),
        Act::AnswerThenNoise(vec![0, 0]),
        Act::Echo,
        Act::Silence,
        Act::Close,
        Act::AnswerThenClose,
    ];
    let cases = [Frames::Mbap, Frames::Rtu].into_iter();
    let cases = cases.flat_map(|frames| acts.clone().map(|act| (frames, act)));
    // All at once: they mostly wait.
    join_all(cases.map(|(frames, act)| async move {
        let rules = Rules {
            within: AMPLE * 2,
            once: true,
            keeps: true,
        };
        let line = Line::new(frames, rules);
        let link = link(frames, true, &line);
        line.then(act.clone());
        for address in [0, 3] {
            let request = holding(1, address, 2);
            let deadline = Instant::now() + PATIENCE;
            let reply = link.ask(request, AMPLE, deadline, false).await;
            match reply.result {
                Ok(Answer::Words(words)) => assert!(is_true(&line, request, &words), "{act:?}"),
                other if address == 3 => panic!("{frames:?} {act:?}: {other:?}"),
                _ => {}
            }
        }
    }))
    .await;
}

/// The reason for the rule: the library's own client, with a timeout around it as everybody writes
/// it, returns the registers of the question before as the answer to this one, for ever.
#[tokio::test]
async fn the_plain_client_with_a_timeout_returns_the_previous_registers_as_good() {
    let (ours, mut device) = tokio::io::duplex(256);
    let mut client = tokio_modbus::client::rtu::attach_slave(ours, Slave(1));
    // A device whose first answer is a little late, and which answers properly ever after.
    let answering = async {
        let mut late = None;
        for _ in 0..4 {
            let mut question = [0; rtu::FRAME];
            device.read_exact(&mut question).await.unwrap();
            let address = question[3];
            let body = [1, 3, 2, 0, address];
            let answer = [&body[..], &rtu::crc(&body)].concat();
            if let Some(before) = late.replace(answer) {
                device.write_all(&before).await.unwrap();
            }
        }
    };
    let asking = async {
        let mut found = Vec::new();
        for address in 10..14 {
            let reading = client.read_holding_registers(address, 1);
            found.push(match timeout(Duration::from_millis(50), reading).await {
                Ok(answer) => answer.unwrap().unwrap(),
                Err(_elapsed) => Vec::new(),
            });
        }
        found
    };
    let (found, ()) = tokio::join!(asking, answering);
    // Asked for 10, 11, 12, 13.
    assert_eq!(found, [vec![], vec![10], vec![11], vec![12]]);
}

/// A process that was killed right after its question has a successor that does not know of it.
#[tokio::test]
async fn a_gateway_that_starts_again_does_not_believe_the_answer_to_what_was_asked_before_it() {
    for serial in [true, false] {
        let rules = Rules {
            within: WITHIN,
            once: true,
            keeps: true,
        };
        let line = Line::new(Frames::Rtu, rules);
        let deadline = Instant::now() + PATIENCE;
        line.then(Act::Late(150));
        let killed = link(Frames::Rtu, serial, &line);
        let asking = killed.ask(holding(1, 0, 2), TIMEOUT, deadline, false);
        timeout(Duration::from_millis(70), asking)
            .await
            .unwrap_err();
        drop(killed);
        // Its own answer is later than the other one would be on a line that did not rest.
        line.then(Act::Late(70));
        let successor = link_after(Frames::Rtu, serial, &line, WITHIN);
        let request = holding(1, 8, 2);
        let reply = successor.ask(request, TIMEOUT, deadline, false).await;
        match reply.result {
            Ok(Answer::Words(words)) => assert!(is_true(&line, request, &words), "{words:?}"),
            // A loaded machine may make the answer late; it is not a lie then.
            other => assert!(other.is_err(), "{other:?}"),
        }
    }
}

/// Where the rule ends: a device that breaks its assumption is believed. Nothing in an RTU frame
/// could tell.
#[tokio::test]
async fn a_device_that_answers_the_previous_question_again_is_believed_on_rtu_and_not_on_tcp() {
    for (frames, believed) in [(Frames::Rtu, true), (Frames::Mbap, false)] {
        let rules = Rules {
            within: PATIENCE,
            once: false,
            keeps: true,
        };
        let line = Line::new(frames, rules);
        let link = link(frames, true, &line);
        line.then(Act::Answer);
        line.then(Act::Previous);
        line.then(Act::Previous);
        let ask = async |address| {
            let deadline = Instant::now() + PATIENCE;
            let reply = link.ask(holding(1, address, 1), TIMEOUT, deadline, false);
            reply.await.result
        };
        ask(0).await.unwrap();
        let second = ask(1).await;
        let first_register = Answer::Words(vec![register(1, 0, 1)]);
        assert_eq!(
            matches!(&second, Ok(answer) if *answer == first_register),
            believed,
            "{second:?}"
        );
    }
}
