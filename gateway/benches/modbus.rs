//! Polling throughput over 50 connections, beside a bare `tokio-modbus` loop in the same run.
//!
//!     cargo bench -p gateway --bench modbus
//!
//! Both read 100 holding registers per request from the same servers, one request at a time per
//! connection. Ours waits for its turn on the line, checks every field of the answer, keeps back-off
//! and decodes 100 points; the bare loop does none of it. The ratio is what counts: absolute figures
//! depend on the machine.

#![expect(clippy::print_stdout, reason = "a benchmark reports to the terminal")]

#[path = "support/servers.rs"]
mod support;

use std::net::SocketAddr;
use std::time::Duration;

use evidence::measurement::Table;
use evidence::value::{Format, Kind, Order};
use gateway::config::LineConfig;
use gateway::modbus::device::DeviceReader;
use gateway::modbus::register_map::{RegisterMap, Value};
use gateway::modbus::{Link, LinkOptions};
use gateway::plan::{Limits, Span};
use support::{CONNECTIONS, REGISTERS, median, poll_bare, rate, servers};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::Instant;

const ROUND: Duration = Duration::from_secs(3);
const ROUNDS: u8 = 5;

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    // The servers have a thread of their own, the client has one as well.
    let servers = servers();
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(Pace::of(|| runtime.block_on(poll_checked(&servers))));
        bare.push(Pace::of(|| runtime.block_on(poll_bare(&servers, ROUND))));
    }
    let [ours, bare] = [ours, bare].map(|paces| Pace::median(&paces));
    println!(
        "{CONNECTIONS} connections, {REGISTERS} registers a request, one client thread, median of {ROUNDS}"
    );
    for (name, pace) in [
        ("gateway, checked and decoded", &ours),
        ("bare tokio-modbus loop", &bare),
    ] {
        let Pace { per_s, micros } = pace;
        println!(
            "{name:<28} : {per_s:>9.0} requests/s, {micros:>6.2} µs of the client's thread each"
        );
    }
    println!(
        "{:<28} : {:>9.2} of its requests/s, {:>6.2} of its time each",
        "ratio to the bare loop",
        ours.per_s / bare.per_s,
        ours.micros / bare.micros
    );
}

/// How fast one round went.
struct Pace {
    per_s: f64,
    /// Processor time of this thread for each request.
    micros: f64,
}

impl Pace {
    fn of(round: impl FnOnce() -> f64) -> Self {
        let before = thread_seconds();
        let per_s = round();
        let requests = per_s * ROUND.as_secs_f64();
        let micros = (thread_seconds() - before) / requests * 1e6;
        Self { per_s, micros }
    }

    fn median(paces: &[Self]) -> Self {
        Self {
            per_s: median(paces.iter().map(|pace| pace.per_s).collect()),
            micros: median(paces.iter().map(|pace| pace.micros).collect()),
        }
    }
}

/// Processor time that this thread has used.
fn thread_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanoseconds = text.split_whitespace().next().expect("three numbers");
    nanoseconds.parse::<f64>().expect("a number") / 1e9
}

/// Requests per second of the gateway's device readers, one link each.
async fn poll_checked(servers: &[SocketAddr]) -> f64 {
    let mut tasks = JoinSet::new();
    let until = Instant::now() + ROUND;
    for address in servers {
        let line = LineConfig::tcp(&address.ip().to_string(), address.port());
        let link = Link::start(LinkOptions::of(&line));
        let value = |point| Value {
            point,
            name: String::new(),
            span: Span {
                table: Table::Holding,
                address: point,
                count: 1,
            },
            format: Format {
                kind: Kind::U16,
                order: Order::Abcd,
            },
        };
        let limits = Limits {
            registers: 125,
            bits: 2_000,
            gap: 31,
            barriers: [].into(),
        };
        let map = RegisterMap::new("device", limits, (0..REGISTERS).map(value).collect());
        let mut reader = DeviceReader::new(link, 1, Duration::from_secs(5), map);
        tasks.spawn(async move {
            let mut requests = 0_u32;
            while Instant::now() < until {
                let outcomes = reader.read(Instant::now() + Duration::from_secs(5)).await;
                assert!(
                    outcomes.iter().all(|outcome| outcome.result.is_ok()),
                    "a request failed"
                );
                requests += 1;
            }
            requests
        });
    }
    rate(tasks, ROUND).await
}
