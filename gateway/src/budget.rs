//! What the requests of a configuration cost on each line, and whether every interval can be met.
//!
//! A line carries one request at a time. [`Budget::of`] takes the requests that will be sent (the
//! same planning as at run time), puts the cost model on each ([`cost`]), and asks for every
//! interval: are all requests that are due by its end, and one longer-lived request that may have
//! just begun, over in time? The link serves whoever must be finished first, so that is enough.
//! Identity and settings count as work that is due once an hour, which is how they are read: behind a
//! tick's values, in the time these leave ([`crate::watch::Gate::due`]). At a connect they come first, and
//! that tick may go without some of its values: [`LineBudget::recognition_us`] says how long it takes.
//! A configuration for which the answer is no is refused before it runs: it would lose ticks for ever.

use std::collections::BTreeMap;
use std::time::Duration;

use evidence::measurement::MeasurementConfig;
use serde::Serialize;

use crate::config::{
    Barrier, Endpoint, GatewayConfig, LineConfig, LineMode, ModbusDevice, RegisterSpec,
    polled_streams,
};
use crate::modbus::outcome::describe;
use crate::plan::{Block, Span, plan};
use crate::sampling::{limits, margin, span, values};

pub mod cost;
mod remedy;
mod report;

use cost::Cost;
pub use report::report;

/// How often identity and settings are read while a connection lasts, in seconds.
const RECOGNISED_EVERY_S: u16 = 3_600;

/// Every line's share of time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Budget {
    /// The lines that are polled or listened on, in the order of the file.
    pub lines: Vec<LineBudget>,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LineBudget {
    /// The line's name.
    pub line: String,
    /// Where it leads, with its settings.
    pub endpoint: String,
    /// Whether nothing is ever asked on it.
    pub listens: bool,
    /// What the converter of an RTU-over-TCP line speaks on its bus: `9600 8N1`.
    pub converter: Option<String>,
    /// Whether that is assumed: the line has no `baud`.
    pub converter_is_assumed: bool,
    /// What a device takes to answer, in microseconds.
    pub answer_us: u64,
    /// Whether that is assumed: the line has no `answer_ms`.
    pub answer_is_assumed: bool,
    /// The pause after each request, in microseconds.
    pub pause_us: u64,
    /// The share of the time in which the line is occupied, in percent; above 100 it cannot work.
    pub load_percent: f64,
    /// By interval, ascending.
    pub intervals: Vec<Interval>,
    /// How long identity and settings of all devices occupy the line, at every connect and once an
    /// hour, in microseconds.
    pub recognition_us: u64,
    /// What would help, if an interval cannot be met.
    pub remedies: Vec<String>,
    /// By device, in the order of the file.
    pub devices: Vec<DeviceBudget>,
}

/// All requests of one line and interval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Interval {
    /// The interval.
    pub every_s: u16,
    /// Requests each time.
    pub requests: usize,
    /// Registers (bits count as one each) each time, read for nothing or not.
    pub registers: u32,
    /// How long they occupy the line, in microseconds.
    pub busy_us: u64,
    /// How long the line is needed until the interval is over, in microseconds: by these requests, by
    /// those of shorter intervals as often as they are due, and by one that may have just begun.
    pub needed_us: u64,
    /// How much of that there is: the interval but for the moment at which requests are given up.
    pub available_us: u64,
    /// Whether that can be met, now and whenever longer intervals end together.
    pub met: bool,
}

/// One device's requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceBudget {
    /// The device's name.
    pub device: String,
    /// Its unit id.
    pub unit_id: u8,
    /// Most registers in one of its requests.
    pub max_registers: u16,
    /// Most bits in one of its requests.
    pub max_bits: u16,
    /// Largest hole that is read to save a request, in registers.
    pub max_gap: u16,
    /// Registers that no request touches.
    pub barriers: Vec<String>,
    /// Its requests, by interval and address.
    pub requests: Vec<RequestCost>,
    /// What is read besides at every connect and once an hour: identity and settings. The tick in which
    /// that happens has so much less time for its values.
    pub recognition: Vec<RequestCost>,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RequestCost {
    /// How often it is sent.
    pub every_s: u16,
    /// `coil`, `discrete`, `input` or `holding`.
    pub table: &'static str,
    /// The first register or bit as it is sent, counted from 0.
    pub address: u16,
    /// How many.
    pub count: u16,
    /// How many of them no point asked for.
    pub holes: u16,
    /// The points that it answers, by address.
    pub points: Vec<String>,
    /// How long it occupies the line, in microseconds.
    pub time_us: u64,
    #[serde(skip)]
    span: Span,
}

impl Budget {
    /// Plans every line of a configuration.
    #[must_use]
    pub fn of(config: &GatewayConfig) -> Self {
        let table = config.measurement(|_| 0);
        let lines = (0..)
            .zip(&config.lines)
            .map(|(place, line)| LineBudget::of(config, &table, place, line));
        Self {
            lines: lines.collect(),
        }
    }

    /// Why this configuration must not run, with what would help; `None` if every interval can be met.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let late: Vec<String> = self.lines.iter().filter_map(LineBudget::refusal).collect();
        (!late.is_empty()).then(|| late.join("\n"))
    }
}

impl LineBudget {
    fn of(
        config: &GatewayConfig,
        table: &MeasurementConfig,
        place: usize,
        line: &LineConfig,
    ) -> Self {
        let on_line = (0_u16..)
            .zip(&config.modbus)
            .filter(|(_, device)| device.line == place);
        let streams = polled_streams(config);
        let devices: Vec<DeviceBudget> = on_line
            .map(|(index, device)| DeviceBudget::of(table, index, device, &streams, line))
            .collect();
        let listens = line.mode == LineMode::Listen;
        let mut times = Times::default();
        if !listens {
            times = Times::of(&devices, |request| {
                (request.every_s, Duration::from_micros(request.time_us))
            });
        }
        let intervals: Vec<Interval> = times
            .intervals()
            .map(|every_s| Interval::of(every_s, &devices, &times))
            .collect();
        let remedies = if intervals.iter().all(|interval| interval.met) {
            Vec::new()
        } else {
            remedy::of(line, &devices, &intervals)
        };
        let cost = Cost::on(line);
        let is_converter = matches!(line.endpoint, Endpoint::RtuOverTcp { .. });
        let converter = cost.characters().filter(|_| is_converter);
        Self {
            line: line.name.clone(),
            endpoint: match &line.endpoint {
                // The name of a line that a device made says it already.
                Endpoint::Tcp { .. } if line.name == line.endpoint.address() => {
                    String::from("Modbus TCP")
                }
                Endpoint::Tcp { .. } => format!("{}, Modbus TCP", line.endpoint),
                other => other.to_string(),
            },
            listens,
            converter: converter.map(|spoken| spoken.to_string()),
            converter_is_assumed: is_converter && line.converter.is_none(),
            answer_us: micros(cost.answer()),
            answer_is_assumed: line.answer.is_none(),
            pause_us: micros(cost.pause()),
            load_percent: times.load_percent(),
            recognition_us: micros(times.recognition.0),
            intervals,
            remedies,
            devices,
        }
    }

    fn refusal(&self) -> Option<String> {
        let late = self.intervals.iter().find(|interval| !interval.met)?;
        let Interval {
            every_s, requests, ..
        } = late;
        let (needed, line, load) = (
            seconds(late.needed_us),
            &self.line,
            self.load_percent.round(),
        );
        Some(format!(
            "line {line}: its {requests} requests every {every_s} s are not all answered before the \
             next ones are due: that takes {needed} s, load {load} %. Any of these helps: {}",
            self.remedies.join("; ")
        ))
    }
}

impl DeviceBudget {
    fn of(
        table: &MeasurementConfig,
        index: u16,
        device: &ModbusDevice,
        streams: &[u16],
        line: &LineConfig,
    ) -> Self {
        let requests = streams.iter().flat_map(|&every_s| {
            let reads = reads(table, index, device, every_s);
            planned(&reads, every_s, device, line)
        });
        let watched = device
            .watch
            .registers()
            .map(|(_, watched)| &watched.register);
        let watched: Vec<(Span, String)> = watched.filter_map(named).collect();
        Self {
            device: device.name.clone(),
            unit_id: device.unit_id,
            max_registers: device.max_registers,
            max_bits: device.max_bits,
            max_gap: device.max_gap,
            barriers: device.barriers.iter().copied().map(barrier).collect(),
            requests: requests.collect(),
            recognition: planned(&watched, RECOGNISED_EVERY_S, device, line),
        }
    }
}

/// What is read every so often: the points of the stream and, with any of them, the status words.
fn reads(
    table: &MeasurementConfig,
    index: u16,
    device: &ModbusDevice,
    every_s: u16,
) -> Vec<(Span, String)> {
    let mut reads: Vec<(Span, String)> = values(table, index, Some(every_s))
        .into_iter()
        .map(|value| (value.span, value.name))
        .collect();
    if !reads.is_empty() {
        let words = device.watch.statuses.iter().map(|word| &word.register);
        reads.extend(words.filter_map(named));
    }
    reads
}

fn named(register: &RegisterSpec) -> Option<(Span, String)> {
    span(&register.source()).map(|span| (span, register.name.clone()))
}

fn planned(
    reads: &[(Span, String)],
    every_s: u16,
    device: &ModbusDevice,
    line: &LineConfig,
) -> Vec<RequestCost> {
    let spans: Vec<Span> = reads.iter().map(|(span, _)| *span).collect();
    plan(&spans, &limits(device))
        .iter()
        .map(|block| RequestCost::of(every_s, block, reads, line))
        .collect()
}

fn barrier(barrier: Barrier) -> String {
    let count = barrier.to.saturating_sub(barrier.from).saturating_add(1);
    describe(Span {
        table: barrier.table,
        address: barrier.from,
        count,
    })
}

impl RequestCost {
    fn of(every_s: u16, block: &Block, names: &[(Span, String)], line: &LineConfig) -> Self {
        let mut answered: Vec<&(Span, String)> = block
            .values
            .iter()
            .filter_map(|&place| names.get(place))
            .collect();
        answered.sort_by_key(|(span, _)| *span);
        Self {
            every_s,
            table: block.span.table.name(),
            address: block.span.address,
            count: block.span.count,
            holes: holes(
                block.span,
                &answered.iter().map(|(span, _)| *span).collect::<Vec<_>>(),
            ),
            points: answered.iter().map(|(_, name)| name.clone()).collect(),
            time_us: micros(Cost::on(line).of(block.span)),
            span: block.span,
        }
    }
}

/// Registers of a request that belong to none of the values in it, ascending by address.
fn holes(request: Span, values: &[Span]) -> u16 {
    let mut end = u32::from(request.address);
    let mut holes = 0;
    for value in values {
        holes += u32::from(value.address).saturating_sub(end);
        end = end.max(value.end());
    }
    u16::try_from(holes).unwrap_or(u16::MAX)
}

impl Interval {
    fn of(every_s: u16, devices: &[DeviceBudget], times: &Times) -> Self {
        let requests = devices
            .iter()
            .flat_map(|device| &device.requests)
            .filter(|request| request.every_s == every_s);
        let available = Duration::from_secs(u64::from(every_s)) - margin_of(every_s);
        Self {
            every_s,
            requests: requests.clone().count(),
            registers: requests.map(|request| u32::from(request.count)).sum(),
            busy_us: micros(times.busy(every_s)),
            needed_us: micros(times.due_by(every_s)),
            available_us: micros(available),
            met: times.meets(every_s),
        }
    }
}

/// How long each interval's requests occupy a line.
#[derive(Debug, Clone, Default)]
struct Times {
    /// By interval in seconds: all its requests together, and the longest of them.
    by_interval: BTreeMap<u16, (Duration, Duration)>,
    /// The same of what is read once an hour, in the time that the intervals leave.
    recognition: (Duration, Duration),
}

impl Times {
    /// The times of all requests; `cost` says how often one is sent and how long it takes.
    fn of(devices: &[DeviceBudget], cost: impl Fn(&RequestCost) -> (u16, Duration)) -> Self {
        let mut times = Self::default();
        for request in devices.iter().flat_map(|device| &device.requests) {
            let (every_s, time) = cost(request);
            add(times.by_interval.entry(every_s).or_default(), time);
        }
        for request in devices.iter().flat_map(|device| &device.recognition) {
            add(&mut times.recognition, cost(request).1);
        }
        times
    }

    fn intervals(&self) -> impl Iterator<Item = u16> {
        self.by_interval.keys().copied()
    }

    fn busy(&self, every_s: u16) -> Duration {
        self.by_interval
            .get(&every_s)
            .map_or(Duration::ZERO, |(sum, _)| *sum)
    }

    fn load_percent(&self) -> f64 {
        let share = |(every_s, (sum, _)): (&u16, &(Duration, Duration))| {
            sum.as_secs_f64() / f64::from(*every_s) * 100.0
        };
        let hourly = share((&RECOGNISED_EVERY_S, &self.recognition));
        self.by_interval.iter().map(share).sum::<f64>() + hourly
    }

    /// When everything is answered that must be by the second `end` after all intervals began
    /// together, if a request that has more time was begun just before.
    fn due_by(&self, end: u16) -> Duration {
        let due: Duration = self
            .by_interval
            .range(..=end)
            .map(|(every_s, (sum, _))| *sum * u32::from(end / every_s))
            .sum();
        let after = self.by_interval.range(end.saturating_add(1)..);
        let begun = after.map(|(_, (_, longest))| *longest).max();
        let (all, longest) = self.recognition;
        // Due at the end of the hour, and before that somebody else's turn.
        if end >= RECOGNISED_EVERY_S {
            due + all
        } else {
            due + begun.unwrap_or_default().max(longest)
        }
    }

    /// Whether the interval's requests are answered in time at each of its ends until the longest
    /// interval is over, with identity and settings the hour; from there everything repeats at least as
    /// easily.
    fn meets(&self, every_s: u16) -> bool {
        let longest = if self.recognition.0.is_zero() {
            self.intervals().last().unwrap_or(every_s)
        } else {
            RECOGNISED_EVERY_S
        };
        (1..=longest / every_s)
            .map(|round| round * every_s)
            .all(|end| self.due_by(end) + margin_of(every_s) <= Duration::from_secs(u64::from(end)))
    }

    fn all_met(&self) -> bool {
        self.intervals().all(|every_s| self.meets(every_s))
    }
}

/// What is left of an interval when its requests are given up.
fn margin_of(every_s: u16) -> Duration {
    margin(u64::from(every_s) * 1_000)
}

/// Adds a request to a sum and its longest.
fn add((sum, longest): &mut (Duration, Duration), request: Duration) {
    *sum += request;
    *longest = (*longest).max(request);
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// `1.42` of 1 420 000 µs.
fn seconds(micros: u64) -> String {
    let hundredths = micros.div_ceil(10_000);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Budget, Times, add, report};
    use crate::columns::TERMINAL;
    use crate::config::GatewayConfig;

    fn times(requests: &[(u16, u64)]) -> Times {
        let mut times = Times::default();
        for &(every_s, millis) in requests {
            let request = Duration::from_millis(millis);
            add(times.by_interval.entry(every_s).or_default(), request);
        }
        times
    }

    #[test]
    fn identity_and_settings_count_as_work_of_an_hour_that_may_have_just_begun() {
        // 3 600 × 975 ms leave 90 s of the hour: two requests of 80 s, each no longer than 50 ms.
        let with = |each_ms: u64, sum_s: u64| {
            let mut times = times(&[(1, 925)]);
            times.recognition = (Duration::from_secs(sum_s), Duration::from_millis(each_ms));
            times
        };
        assert!(with(45, 80).all_met());
        assert!(
            !with(60, 80).meets(1),
            "a value's second is not over after it"
        );
        assert!(
            !with(45, 271).meets(1),
            "the hour has no room for all of it"
        );
        let load = with(45, 36).load_percent();
        assert!((load - 93.5).abs() < 1e-9, "{load}");
        let text = "[gateway]\norigin = \"example.com/gw/1\"\ndata_dir = \"data\"\n\
            [[line]]\nname = \"bus\"\nserial = \"/dev/serial/by-id/port\"\nbaud = 9600\n\
            [[modbus]]\nname = \"meter\"\nline = \"bus\"\naddress_base = \"pdu\"\n\
            [[modbus.identity]]\nname = \"serial_number\"\ntable = \"holding\"\naddress = 10\n\
            type = \"u32\"\n\
            [[modbus.point]]\nname = \"p\"\ntable = \"input\"\naddress = 0\ntype = \"f32\"\n\
            decimals = 1\nunit = \"V\"\nkind = \"instant\"\ninterval_s = 1\n";
        let budget = Budget::of(&GatewayConfig::parse("gateway.toml", text).unwrap());
        // 17 characters of 10 bits at 9600 baud, 20 ms until it answers, 30 ms pause.
        let [line] = &budget.lines[..] else {
            panic!("{budget:?}")
        };
        assert_eq!(
            (line.recognition_us, line.intervals[0].needed_us),
            (67_708, 135_416)
        );
        assert!(report(&budget).contains("Identity and settings: 0.07 s more"));
    }

    #[test]
    fn a_request_with_more_time_may_have_just_begun_when_the_fast_ones_are_due() {
        // 900 ms each second, given up 25 ms before its end; 70 ms fit besides, 80 do not.
        assert!(times(&[(1, 500), (1, 400), (10, 70)]).all_met());
        let late = times(&[(1, 500), (1, 400), (10, 80)]);
        assert!(!late.meets(1));
        assert!(late.meets(10));
        // Of two slow requests only one can stand in the way.
        assert!(times(&[(1, 900), (10, 70), (10, 70)]).all_met());
    }

    #[test]
    fn a_line_asked_for_more_than_all_its_time_meets_nothing_for_long() {
        // 60 % and 50 %: the second interval is too short for its own and all of the first.
        let late = times(&[(1, 600), (2, 1_000)]);
        assert!(!late.meets(2));
        assert!((late.load_percent() - 110.0).abs() < 1e-9);
        // 2 s and 3 s are due together every 6 s: 3 × 0.8 + 2 × 1.1 = 4.6 s.
        let fits = times(&[(2, 800), (3, 1_100)]);
        assert_eq!(fits.due_by(6), Duration::from_millis(4_600));
        assert!(fits.all_met());
    }

    #[test]
    fn the_example_is_planned_within_a_terminal_with_its_holes_and_points() {
        let example = include_str!("../examples/gateway.toml");
        let config = GatewayConfig::parse("gateway.toml", example).unwrap();
        let budget = Budget::of(&config);
        assert_eq!(budget.refusal(), None);
        let text = report(&budget);
        for expected in [
            "power-meter, unit 1",
            "1 s    holding 100-111  4x00101-4x00112     12      8",
            "energy-export, active-power",
            "every 10 s:  1 request,",
            "load of the line:",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
        for line in text.lines() {
            assert!(line.chars().count() <= TERMINAL, "{line}");
        }
    }

    /// A device of ten values that cannot be joined, on a line with these settings.
    fn serial(line: &str, interval_s: u16) -> Budget {
        on("serial = \"/dev/serial/by-id/port\"", line, interval_s)
    }

    fn on(place: &str, line: &str, interval_s: u16) -> Budget {
        let mut text = format!(
            "[gateway]\norigin = \"example.com/gw/1\"\ndata_dir = \"data\"\n\
             [[line]]\nname = \"bus\"\n{place}\n{line}\n\
             [[modbus]]\nname = \"meter\"\nline = \"bus\"\naddress_base = \"pdu\"\n"
        );
        for point in 0..10 {
            text.push_str(&format!(
                "[[modbus.point]]\nname = \"p{point}\"\ntable = \"input\"\naddress = {}\n\
                 type = \"f32\"\ndecimals = 1\nunit = \"V\"\nkind = \"instant\"\n\
                 interval_s = {interval_s}\n",
                point * 200
            ));
        }
        Budget::of(&GatewayConfig::parse("gateway.toml", &text).unwrap())
    }

    /// The same ten values behind a converter.
    fn converter(line: &str) -> Budget {
        let line = format!("protocol = \"rtu_over_tcp\"\n{line}");
        on("host = \"10.0.0.9\"", &line, 1)
    }

    #[test]
    fn behind_a_converter_9600_8n1_is_assumed_and_said_to_be_unless_the_line_has_its_baud() {
        // 17 characters of 10 bits at 9600 baud, 30 ms, 30 ms: 77.7 ms, ten times.
        let assumed = converter("");
        assert_eq!(assumed.refusal(), None);
        assert!((assumed.lines[0].load_percent - 77.7).abs() < 0.1);
        let text = report(&assumed);
        assert!(text.contains("9600 8N1 behind the converter"), "{text}");
        assert!(text.contains("(assumed; baud of the line"), "{text}");
        let refused = converter("pause_ms = 60").refusal().unwrap();
        assert!(refused.contains("9600 8N1 is assumed"), "{refused}");
        let stated = converter("baud = 1200\nparity = \"even\"");
        let text = report(&stated);
        assert!(text.contains("1200 8E1 behind the converter,"), "{text}");
        let refused = stated.refusal().unwrap();
        assert!(
            refused.contains("baud = 9600, set in the converter"),
            "{refused}"
        );
        assert_eq!(converter("baud = 9600\nparity = \"even\"").refusal(), None);
    }

    #[test]
    fn every_remedy_that_is_named_works() {
        // 17 characters of 10 bits at 1200 baud, 20 ms, 30 ms: 191.7 ms, ten times.
        let refused = serial("baud = 1200", 1).refusal().unwrap();
        for expected in [
            "line bus: its 10 requests every 1 s",
            "1.92 s, load 192 %",
            "interval_s = 2",
            "baud = 4800",
        ] {
            assert!(refused.contains(expected), "{expected}\n{refused}");
        }
        assert_eq!(serial("baud = 1200", 2).refusal(), None);
        assert_eq!(serial("baud = 4800", 1).refusal(), None);
        assert!(serial("baud = 2400", 1).refusal().is_some());
        // What was measured counts more than what is assumed.
        let slow = serial("baud = 4800\nanswer_ms = 60", 1).refusal().unwrap();
        assert!(slow.contains("baud = 38400"), "{slow}");
        let fast = serial("baud = 2400\nanswer_ms = 0\npause_ms = 0", 1);
        assert_eq!(fast.refusal(), None);
    }
}
