//! The decoder against a simulated bus: devices that answer late, twice, wrongly or never, a master
//! that believes whatever comes, noise, and bytes that arrive in pieces.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use evidence::measurement::Table;
use proptest::prelude::{
    Just, ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest,
};
use tokio::time::Instant;

use super::{Decoder, Event, LATE, Pair, Reason, Timing};
use crate::modbus::frame::{Answer, Request};
use crate::modbus::listen::rtu::frame;
use crate::plan::Span;

const TIMEOUT: Duration = Duration::from_millis(300);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn request(unit: u8, table: Table, address: u16, count: u16) -> Request {
    Request {
        unit,
        span: Span {
            table,
            address,
            count,
        },
    }
}

fn holding(address: u16, count: u16) -> Request {
    request(1, Table::Holding, address, count)
}

/// Every register of every unit and table has a value of its own.
fn word(request: Request, place: u16) -> u16 {
    let address = request.span.address + place;
    if request.span.is_bits() {
        return u16::from((address ^ (address >> 3)).count_ones() % 2 == 1);
    }
    let table = if request.span.table == Table::Input {
        100
    } else {
        0
    };
    (u16::from(request.unit) * 1_000 + table).wrapping_add(address)
}

fn words(request: Request) -> Vec<u16> {
    (0..request.span.count)
        .map(|place| word(request, place))
        .collect()
}

fn function(request: Request) -> u8 {
    match request.span.table {
        Table::Coil => 1,
        Table::Discrete => 2,
        Table::Holding => 3,
        Table::Input => 4,
    }
}

fn asked(request: Request) -> Vec<u8> {
    let Span { address, count, .. } = request.span;
    let ([a0, a1], [c0, c1]) = (address.to_be_bytes(), count.to_be_bytes());
    frame(&[request.unit, function(request), a0, a1, c0, c1])
}

fn answered(request: Request) -> Vec<u8> {
    let values = words(request);
    let bytes: Vec<u8> = if request.span.is_bits() {
        let pack = |bits: &[u16]| {
            bits.iter()
                .rev()
                .fold(0, |byte, &bit| byte << 1 | u8::from(bit == 1))
        };
        values.chunks(8).map(pack).collect()
    } else {
        values.iter().flat_map(|word| word.to_be_bytes()).collect()
    };
    let head = [
        request.unit,
        function(request),
        u8::try_from(bytes.len()).unwrap(),
    ];
    frame(&[&head[..], &bytes].concat())
}

fn refused(request: Request, code: u8) -> Vec<u8> {
    frame(&[request.unit, function(request) | 0x80, code])
}

fn decoder() -> Decoder {
    Decoder::new(Timing::with_timeout(TIMEOUT), HashMap::new())
}

/// A line and what was heard on it.
struct Line {
    decoder: Decoder,
    now: Instant,
    events: Vec<Event>,
}

impl Line {
    fn new() -> Self {
        Self {
            decoder: decoder(),
            now: Instant::now(),
            events: Vec::new(),
        }
    }

    /// Bytes arrive after a while.
    fn hear(&mut self, after_ms: u64, bytes: &[u8]) -> &mut Self {
        self.now += ms(after_ms);
        self.decoder.push(bytes, self.now);
        self.events.extend(self.decoder.events());
        self
    }

    /// A question and, 20 ms later, its answer; often enough that the unit's pace is known.
    fn know(&mut self, request: Request) -> &mut Self {
        for _ in 0..=super::KNOWN_PACE {
            self.hear(100, &asked(request)).hear(20, &answered(request));
        }
        self.rest(100);
        self.events.clear();
        self
    }

    fn rest(&mut self, after_ms: u64) -> &mut Self {
        self.now += ms(after_ms);
        self.decoder.advance(self.now);
        self.events.extend(self.decoder.events());
        self
    }

    fn pairs(&self) -> Vec<Pair> {
        let pair = |event: &Event| match event {
            Event::Pair(pair) => Some(pair.clone()),
            _ => None,
        };
        self.events.iter().filter_map(pair).collect()
    }

    fn read(&self) -> Vec<Request> {
        self.pairs().iter().map(|pair| pair.request).collect()
    }

    fn reasons(&self) -> Vec<Reason> {
        let reason = |event: &Event| match event {
            Event::Dropped { reason, .. } => Some(*reason),
            _ => None,
        };
        self.events.iter().filter_map(reason).collect()
    }
}

#[test]
fn an_answer_directly_behind_its_question_is_a_pair() {
    let mut line = Line::new();
    for request in [
        holding(10, 3),
        request(9, Table::Input, 65_530, 2),
        request(2, Table::Coil, 7, 13),
        request(2, Table::Discrete, 0, 1),
    ] {
        line.hear(30, &asked(request)).hear(20, &answered(request));
        line.rest(1_000);
        let pair = line.pairs().pop().unwrap();
        assert_eq!(pair.answer, Answer::Words(words(request)));
        assert_eq!((pair.request, pair.latency), (request, ms(20)));
    }
    line.hear(30, &asked(holding(1, 1)))
        .hear(20, &refused(holding(1, 1), 2));
    line.rest(1_000);
    assert_eq!(line.pairs().pop().unwrap().answer, Answer::Exception(2));
    assert_eq!(line.reasons(), []);
}

#[test]
fn whatever_stands_between_question_and_answer_drops_the_pair() {
    let (a, b) = (holding(10, 2), request(2, Table::Holding, 50, 2));
    for (between, expected) in [
        (vec![0xFF], Reason::Noise),
        (asked(b), Reason::Unanswered),
        (answered(b), Reason::Mismatch),
        (frame(&[1, 6, 0, 1, 0, 7]), Reason::OtherFunction),
    ] {
        let mut line = Line::new();
        line.hear(0, &asked(a))
            .hear(10, &between)
            .hear(10, &answered(a));
        line.rest(1_000);
        assert_eq!(line.read(), [], "{expected:?}");
        assert_eq!(line.reasons().first(), Some(&expected));
    }
}

#[test]
fn an_answer_of_another_length_function_or_after_the_timeout_is_no_answer() {
    let a = holding(10, 2);
    for (wait, bytes, expected) in [
        (10, answered(holding(10, 3)), Reason::Mismatch),
        (
            10,
            answered(request(1, Table::Input, 10, 2)),
            Reason::Mismatch,
        ),
        (
            10,
            refused(request(1, Table::Input, 10, 2), 2),
            Reason::Mismatch,
        ),
        (301, answered(a), Reason::Late),
    ] {
        let mut line = Line::new();
        line.hear(0, &asked(a)).hear(wait, &bytes).rest(1_000);
        assert_eq!(line.read(), []);
        assert_eq!(line.reasons(), [expected]);
    }
}

#[test]
fn a_late_answer_behind_the_next_question_is_not_that_questions_answer() {
    let (a, b) = (holding(10, 2), holding(20, 2));
    let mut line = Line::new();
    line.know(a);
    line.hear(0, &asked(a))
        .hear(400, &asked(b))
        .hear(20, &answered(a))
        .hear(20, &answered(b));
    line.rest(100);
    assert_eq!(line.read(), []);
    assert_eq!(
        line.reasons(),
        [Reason::Unanswered, Reason::Doubtful, Reason::Stray]
    );
    // Both came: nothing is owed any more, and the next answer counts again.
    line.hear(10, &asked(b)).hear(20, &answered(b)).rest(100);
    assert_eq!(line.read(), [b]);
}

#[test]
fn a_device_that_stays_one_answer_behind_is_never_believed() {
    let all: Vec<Request> = (0..5).map(|place| holding(place * 10, 2)).collect();
    let mut line = Line::new();
    line.know(all[0]);
    line.hear(0, &asked(all[0]));
    for round in 1..200 {
        line.hear(40, &asked(all[round % 5]))
            .hear(20, &answered(all[(round - 1) % 5]));
    }
    line.rest(1_000);
    assert_eq!(line.read(), []);
}

#[test]
fn an_answer_that_never_comes_costs_two_pairs_at_most_where_the_master_pauses() {
    let all: Vec<Request> = (0..5).map(|place| holding(place * 10, 2)).collect();
    let mut line = Line::new();
    line.know(all[0]);
    // All five blocks are of one length, one after the other every second; the third is lost once.
    for round in 0..4 {
        for (place, &block) in all.iter().enumerate() {
            line.hear(10, &asked(block));
            if round == 1 && place == 2 {
                line.rest(290);
            } else {
                line.hear(20, &answered(block));
            }
        }
        line.rest(800);
    }
    let read = line.read();
    assert_eq!(read.len(), 4 * 5 - 3, "{:?}", line.reasons());
    assert_eq!(read[read.len() - 10..], [&all[..], &all[..]].concat());
}

#[test]
fn an_answer_of_a_length_that_nothing_else_asked_for_settles_the_doubt() {
    let (a, b, long) = (holding(10, 2), holding(20, 2), holding(30, 9));
    let mut line = Line::new();
    line.hear(0, &asked(a))
        .hear(300, &asked(b))
        .hear(20, &answered(b));
    line.hear(10, &asked(long)).hear(20, &answered(long));
    line.hear(10, &asked(a)).hear(20, &answered(a)).rest(1_000);
    assert_eq!(line.read(), [long, a]);
    assert_eq!(line.reasons(), [Reason::Unanswered, Reason::Doubtful]);
}

#[test]
fn an_answer_sent_twice_takes_the_first_back() {
    let (a, b) = (holding(10, 2), holding(20, 2));
    let mut line = Line::new();
    line.hear(0, &asked(a))
        .hear(20, &answered(a))
        .hear(5, &answered(a));
    // A repeated answer behind the next question, and that question's own.
    line.hear(30, &asked(b))
        .hear(20, &answered(a))
        .hear(20, &answered(b));
    line.rest(1_000);
    assert_eq!(line.read(), []);
}

#[test]
fn a_dead_device_casts_no_doubt_on_the_others() {
    let mut line = Line::new();
    let (alive, dead) = (holding(10, 2), request(7, Table::Holding, 10, 2));
    for _ in 0..50 {
        line.hear(10, &asked(alive)).hear(20, &answered(alive));
        line.hear(10, &asked(dead)).rest(300);
    }
    assert_eq!(line.read(), vec![alive; 50]);
}

#[test]
fn twenty_bits_that_look_like_a_question_are_dropped() {
    let a = request(1, Table::Coil, 0, 20);
    let mut line = Line::new();
    line.hear(0, &asked(a))
        .hear(20, &frame(&[1, 1, 3, 0xD0, 0, 4]))
        .rest(1_000);
    assert_eq!(line.read(), []);
    assert_eq!(line.reasons(), [Reason::Doubtful]);
}

#[test]
fn writes_of_the_other_master_are_skipped_and_counted() {
    let mut line = Line::new();
    let single = frame(&[1, 6, 0, 1, 0, 7]);
    line.hear(0, &single).hear(20, &single);
    line.hear(20, &frame(&[1, 16, 0, 1, 0, 2, 4, 0, 1, 0, 2]))
        .hear(20, &frame(&[1, 16, 0, 1, 0, 2]));
    line.hear(20, &asked(holding(1, 2)))
        .hear(20, &answered(holding(1, 2)))
        .rest(1_000);
    let skipped = |event: &&Event| matches!(event, Event::Skipped { .. });
    assert_eq!(line.events.iter().filter(skipped).count(), 4);
    assert_eq!((line.read(), line.reasons()), (vec![holding(1, 2)], vec![]));
}

#[test]
fn what_came_while_the_gateway_was_held_up_has_no_time_and_is_dropped() {
    let a = holding(10, 2);
    let mut line = Line::new();
    line.hear(0, &asked(a));
    line.decoder.held_up();
    line.hear(20, &answered(a)).rest(1_000);
    assert_eq!(line.read(), []);
    assert_eq!(line.reasons(), [Reason::HeldUp, Reason::Stray]);
}

#[test]
fn a_single_block_that_is_asked_without_a_pause_counts_again_after_an_answer_was_lost() {
    let a = holding(10, 2);
    let mut line = Line::new();
    line.know(a);
    line.hear(0, &asked(a)).rest(290);
    for _ in 0..100 {
        line.hear(10, &asked(a)).hear(20, &answered(a));
    }
    line.rest(100);
    assert_eq!(line.read(), vec![a; 99], "the repeated question is dropped");
    assert_eq!(line.reasons(), [Reason::Unanswered, Reason::Doubtful]);
}

#[test]
fn for_ten_timeouts_after_the_line_was_opened_nothing_counts_and_then_everything() {
    let (a, b) = (holding(10, 2), holding(20, 2));
    let mut line = Line::new();
    line.decoder.opened(line.now);
    // Both of one length, with pauses shorter than the timeout.
    for _ in 0..40 {
        line.hear(100, &asked(a)).hear(20, &answered(a));
        line.hear(10, &asked(b)).hear(20, &answered(b));
    }
    line.rest(100);
    let (heard, dropped) = (line.read().len(), line.reasons());
    assert_eq!(heard, 2 * 40 - dropped.len());
    // Three seconds at 150 ms a round.
    assert_eq!(dropped, vec![Reason::Doubtful; 39]);
}

/// What a device does with a question.
#[derive(Debug, Clone, Copy)]
enum Act {
    Answer,
    /// Blocked this long, then answers everything in order.
    Late(u64),
    Lost,
    Twice,
    Refuse(u8),
    Garbled,
    /// Repeats its last answer before this one.
    Again,
    /// Noise before the answer.
    Noise,
}

/// One question of the other master: what, what the device does, the pause before it, noise before it.
#[derive(Debug, Clone)]
struct Step {
    request: Request,
    act: Act,
    pause: u64,
    noise: Vec<u8>,
}

fn acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        12 => Just(Act::Answer),
        2 => (20_u64..2_900).prop_map(Act::Late),
        2 => Just(Act::Lost),
        1 => Just(Act::Twice),
        1 => (1_u8..12).prop_map(Act::Refuse),
        1 => Just(Act::Garbled),
        1 => Just(Act::Again),
        1 => Just(Act::Noise),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let table = prop_oneof![
        6 => Just(Table::Holding),
        1 => Just(Table::Input),
        1 => Just(Table::Coil),
    ];
    let count = prop_oneof![5 => Just(2_u16), 1 => Just(3_u16), 1 => Just(20_u16)];
    let request = (1_u8..3, table, 0_u16..6, count)
        .prop_map(|(unit, table, place, count)| request(unit, table, place * 30, count));
    let noise = prop_oneof![
        9 => Just(Vec::new()),
        1 => proptest::collection::vec(any::<u8>(), 1..12),
    ];
    let pause = prop_oneof![4 => 4_u64..60, 1 => 60_u64..700];
    let step = (request, acts(), pause, noise).prop_map(|(request, act, pause, noise)| Step {
        request,
        act,
        pause,
        noise,
    });
    proptest::collection::vec(step, 1..80)
}

/// A device: answers in order, 20 ms after the question or after it is free again. What it owes after
/// a silence it answers at that pace, before it falls silent again.
#[derive(Default)]
struct Device {
    free_at: u64,
    last: Option<Vec<u8>>,
}

/// The bytes on the line, in the order of their times in milliseconds.
fn simulate(steps: &[Step]) -> Vec<(u64, Vec<u8>)> {
    const PACE: u64 = 20;
    /// The other master waits this long.
    const PATIENCE: u64 = 300;
    let mut devices: HashMap<u8, Device> = HashMap::new();
    let mut pending: VecDeque<(u64, Vec<u8>)> = VecDeque::new();
    let mut line: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut now = 0_u64;
    for step in steps {
        now += step.pause;
        // Late answers come when they come, also between the master's questions.
        while pending.front().is_some_and(|(at, _)| *at <= now) {
            line.extend(pending.pop_front());
        }
        if !step.noise.is_empty() {
            line.push((now, step.noise.clone()));
            now += 1;
        }
        line.push((now, asked(step.request)));
        let device = devices.entry(step.request.unit).or_default();
        let start = now.max(device.free_at);
        let last = device.last.clone();
        let mut say = |at: u64, bytes: Vec<u8>, last: Vec<u8>| {
            device.last = Some(last);
            let place = pending.iter().take_while(|(other, _)| *other <= at).count();
            pending.insert(place, (at, bytes));
            device.free_at = at;
        };
        let answer = answered(step.request);
        match step.act {
            Act::Answer => say(start + PACE, answer.clone(), answer),
            Act::Late(blocked) if start == now => say(now + blocked, answer.clone(), answer),
            Act::Late(_) => say(start + PACE, answer.clone(), answer),
            Act::Lost => {}
            // Both at once: a master that asks on after the first cannot be told from one that does not.
            Act::Twice => say(
                start + PACE,
                [answer.clone(), answer.clone()].concat(),
                answer,
            ),
            Act::Refuse(code) => {
                let refusal = refused(step.request, code);
                say(start + PACE, refusal.clone(), refusal);
            }
            Act::Garbled => {
                let mut bytes = answer;
                bytes[3] ^= 0x10;
                say(start + PACE, bytes, Vec::new());
            }
            Act::Again => {
                let last = last.unwrap_or_default();
                say(start + PACE, [last, answer.clone()].concat(), answer);
            }
            Act::Noise => {
                let noisy = [vec![0x00, 0xFF, 0x13], answer.clone()].concat();
                say(start + PACE, noisy, answer);
            }
        }
        // The master takes the first thing that comes for its answer, or gives up.
        let until = now + PATIENCE;
        match pending.pop_front() {
            Some((at, bytes)) if at <= until => {
                now = at.max(now);
                line.push((now, bytes));
            }
            other => {
                if let Some(other) = other {
                    pending.push_front(other);
                }
                now = until;
            }
        }
    }
    line.extend(pending);
    line
}

/// Feeds a line's bytes in pieces, from the frame number `opened` on if it is not the first; returns
/// the pairs.
fn listen(line: &[(u64, Vec<u8>)], cuts: &[usize], opened: usize) -> (Vec<Pair>, Vec<Event>) {
    let mut decoder = decoder();
    let start = Instant::now();
    let line = line.get(opened..).unwrap_or_default();
    if let (1.., Some((first, _))) = (opened, line.first()) {
        decoder.opened(start + ms(*first));
    }
    let mut cuts = cuts.iter().cycle();
    let mut events = Vec::new();
    let mut now = start;
    for (at, bytes) in line {
        now = now.max(start + ms(*at));
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let cut = (*cuts.next().unwrap()).clamp(1, rest.len());
            let (piece, after) = rest.split_at(cut);
            decoder.push(piece, now);
            now += Duration::from_micros(300);
            rest = after;
            assert!(decoder.waiting() <= 512);
        }
        events.extend(decoder.events());
    }
    decoder.advance(now + TIMEOUT * LATE);
    events.extend(decoder.events());
    let pairs = events.iter().filter_map(|event| match event {
        Event::Pair(pair) => Some(pair.clone()),
        _ => None,
    });
    (pairs.collect(), events)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    /// The heart of the matter: every register has a value of its own, so a wrong pair shows.
    #[test]
    fn whatever_happens_on_the_line_no_pair_holds_other_registers(
        steps in steps(), cuts in proptest::collection::vec(1_usize..40, 1..20),
        opened in prop_oneof![Just(0_usize), 1_usize..100],
    ) {
        let (pairs, _) = listen(&simulate(&steps), &cuts, opened);
        for pair in pairs {
            if let Answer::Words(found) = pair.answer {
                prop_assert_eq!(found, words(pair.request), "{:?}", pair.request);
            }
        }
    }

    /// Nothing is lost on a line where nothing goes wrong, however its bytes are cut.
    #[test]
    fn on_a_clean_line_every_answer_is_heard(
        steps in steps(), cuts in proptest::collection::vec(1_usize..40, 1..20),
    ) {
        let clean: Vec<Step> = steps
            .into_iter()
            .map(|step| Step { act: Act::Answer, noise: Vec::new(), ..step })
            // Twenty bits can look like a question.
            .filter(|step| !step.request.span.is_bits() || step.request.span.count != 20)
            .collect();
        let (pairs, events) = listen(&simulate(&clean), &cuts, 0);
        let read: Vec<Request> = pairs.iter().map(|pair| pair.request).collect();
        let asked: Vec<Request> = clean.iter().map(|step| step.request).collect();
        prop_assert_eq!(read, asked, "{:?}", events);
    }

    #[test]
    fn random_bytes_never_panic_and_are_not_kept(
        pieces in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..600), 0_u64..400), 0..30),
    ) {
        let mut decoder = decoder();
        let mut now = Instant::now();
        for (bytes, pause) in pieces {
            decoder.push(&bytes, now);
            now += ms(pause);
            decoder.advance(now);
            prop_assert!(decoder.waiting() <= 512);
            decoder.events();
        }
    }
}
