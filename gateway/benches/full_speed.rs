//! The gateway as fast as it can: from registers to sealed and durable, beside a bare loop.
//!
//!     cargo bench -p gateway --bench full_speed
//!
//! The real polled stream and the real recorder, joined by a queue as in the running gateway, over
//! 50 Modbus TCP connections with 100 registers each. The clock is moved by hand, so a tick of one
//! second begins as soon as the one before is recorded: journal, checks at the edge, segments of a
//! minute, signatures, read-back and day files are those of the field. The bare loop asks the same
//! servers in the same run with the same two threads, and keeps nothing.

#![expect(clippy::print_stdout, reason = "a benchmark reports to the terminal")]

#[path = "support/servers.rs"]
mod support;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use evidence::entry::Entry;
use evidence::hash::Hash;
use gateway::clock::ManualClock;
use gateway::config::GatewayConfig;
use gateway::faults::NoFaults;
use gateway::identity::Identity;
use gateway::recorder::{Recorder, Settings, Software, Surroundings};
use gateway::sample::PolledSource as _;
use gateway::sampling::{self, PolledStream};
use ring::rand::SystemRandom;
use support::{CONNECTIONS, REGISTERS, median, poll_bare, servers};
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::time::Instant;

const ROUND: Duration = Duration::from_secs(10);
const ROUNDS: u8 = 3;
const STREAM: u16 = 1;
const TICK_MS: u64 = 1_000;
/// 2026-01-01 00:00 UTC.
const BEGIN_MS: u64 = 1_767_225_600_000;

/// One round of ours.
struct Round {
    points_per_s: f64,
    requests_per_s: f64,
    requests_per_tick: usize,
}

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let servers = servers();
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(runtime.block_on(poll_bare(&servers, ROUND / 3)));
        ours.push(runtime.block_on(record(&servers)));
    }
    let points = median(ours.iter().map(|round| round.points_per_s).collect());
    let requests = median(ours.iter().map(|round| round.requests_per_s).collect());
    let planned = ours.first().map_or(0, |round| round.requests_per_tick);
    let bare = median(bare);
    println!(
        "{CONNECTIONS} connections, {REGISTERS} registers each, two threads, median of {ROUNDS}"
    );
    println!("requests planned from the point list : {planned:>10} a tick");
    println!("gateway, sealed and durable          : {points:>10.0} points/s");
    println!("                                     : {requests:>10.0} requests/s");
    println!("bare tokio-modbus loop, keeps nothing: {bare:>10.0} requests/s");
    println!(
        "ratio                                : {:>10.2}",
        requests / bare
    );
}

fn configuration(servers: &[SocketAddr], data_dir: &Path) -> GatewayConfig {
    let mut text = format!(
        "[gateway]\norigin = \"bench.test/gw/1\"\ndata_dir = \"{}\"\n",
        data_dir.display()
    );
    for (number, server) in servers.iter().enumerate() {
        write!(
            text,
            "[[modbus]]\nname = \"meter-{number}\"\nhost = \"127.0.0.1\"\nport = {}\n\
             address_base = \"pdu\"\n",
            server.port()
        )
        .expect("a string grows");
        for address in 0..REGISTERS {
            write!(
                text,
                "[[modbus.point]]\nname = \"meter-{number}.r{address}\"\ntable = \"holding\"\n\
                 address = {address}\ntype = \"u16\"\ndecimals = 0\nunit = \"W\"\n\
                 kind = \"instant\"\ninterval_s = 1\n"
            )
            .expect("a string grows");
        }
    }
    GatewayConfig::parse("bench", &text).expect("a valid configuration")
}

/// Polls and records for a while, closes, and counts what is sealed in the files.
async fn record(servers: &[SocketAddr]) -> Round {
    let directory = tempfile::tempdir().expect("a directory");
    let config = configuration(servers, directory.path());
    Identity::create(&config.data_dir, &config.origin).expect("an empty directory");
    let software = Software {
        version: "bench".to_owned(),
        binary: Hash([0; 32]),
    };
    let clock = ManualClock::trusted(BEGIN_MS, 60_000);
    let around = Surroundings {
        clock: Arc::new(clock.clone()),
        os_boot: "bench".to_owned(),
        faults: Arc::new(NoFaults),
    };
    let settings = Settings::of(&config, software);
    let mut recorder = Recorder::open(settings, around).await.expect("a recorder");
    let mut streams = sampling::start(&config, &SystemRandom::new());
    let mut stream = streams.pop().expect("one interval");
    let requests_per_tick = stream.request_count();
    let first = recorder.next_tick(STREAM).expect("the stream is active");
    // Connections are made before the time runs.
    let opened = stream.poll(first, Instant::now() + ROUND).await;
    assert!(opened.samples.iter().all(|sample| sample.is_good()));

    let begun = Instant::now();
    let (sender, mut receiver) = mpsc::channel(4);
    let polling = tokio::spawn(poll(stream, first, begun + ROUND, sender));
    let (mut ticks, mut bad) = (0_u32, 0_usize);
    while let Some((tick, samples)) = receiver.recv().await {
        bad += samples
            .samples
            .iter()
            .filter(|sample| !sample.is_good())
            .count();
        clock.advance(TICK_MS);
        recorder.record(tick, samples).await.expect("recorded");
        ticks += 1;
        if ticks.is_multiple_of(60) {
            recorder.tend().await.expect("tended");
        }
    }
    polling.await.expect("polled to the end");
    let mut reader = recorder.reader();
    // Seals what is open and syncs every file: only then does the time stop.
    recorder.close().await.expect("closed");
    let seconds = begun.elapsed().as_secs_f64();
    assert_eq!(bad, 0, "a loopback read failed");

    let mut sealed = 0_u64;
    for index in 0..reader.bounds().1 {
        let row = reader.row(index).await.expect("readable").expect("within");
        let entry = Entry::parse(&row.entry).expect("an entry").entry;
        if entry
            .payload_ref()
            .is_some_and(|payload| payload.chunks > 1)
        {
            sealed += entry.ticks().map_or(0, |ticks| ticks.count);
        }
    }
    assert_eq!(
        sealed,
        u64::from(ticks),
        "every tick that was read is sealed"
    );
    let per_s = f64::from(ticks) / seconds;
    Round {
        points_per_s: per_s * f64::from(CONNECTIONS) * f64::from(REGISTERS),
        requests_per_s: per_s * f64::from(CONNECTIONS),
        requests_per_tick,
    }
}

/// Polls tick after tick until the time is over.
async fn poll(
    mut stream: PolledStream,
    first: u64,
    until: Instant,
    sender: mpsc::Sender<(u64, gateway::sample::TickSamples)>,
) {
    for tick in first.. {
        if Instant::now() >= until {
            return;
        }
        let samples = stream.poll(tick, Instant::now() + ROUND).await;
        if sender.send((tick, samples)).await.is_err() {
            return;
        }
    }
}
