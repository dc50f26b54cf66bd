//! Polling throughput over 50 connections, beside a bare `tokio-modbus` loop in the same run.
//!
//! Both read 100 holding registers per request from the same servers, one request at a time per
//! connection, with the same library. Ours guards its socket and checks every field of the answer,
//! keeps back-off, decodes 100 points and takes each request through the link's queue; the bare
//! loop does none of it. The ratio is what counts:
//! absolute figures depend on the machine.

#![expect(clippy::print_stdout, reason = "a benchmark reports to the terminal")]

use std::time::Duration;

use evidence::measurement::Table;
use evidence::value::{Format, Kind, Order};
use gateway::config::LineConfig;
use gateway::modbus::device::DeviceReader;
use gateway::modbus::register_map::{RegisterMap, Value};
use gateway::modbus::{Link, LinkOptions};
use gateway::plan::{Limits, Span};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_modbus::client::{Reader as _, tcp};

const CONNECTIONS: u16 = 50;
const REGISTERS: u16 = 100;
const ROUND: Duration = Duration::from_secs(3);

fn main() {
    // The servers have a thread of their own, the client has one as well.
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let address = listener.local_addr().expect("bound");
            sender.send(address).expect("the main thread waits");
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream));
            }
        });
    });
    let address = receiver.recv().expect("the server has started");
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        ours.push(runtime.block_on(poll_checked(address)));
        bare.push(runtime.block_on(poll_bare(address)));
    }
    let best = |rates: &[f64]| rates.iter().copied().fold(0.0, f64::max);
    let (ours, bare) = (best(&ours), best(&bare));
    println!(
        "{CONNECTIONS} connections, {REGISTERS} registers a request, one client thread, best of 3"
    );
    println!("gateway, checked and decoded : {ours:>9.0} requests/s");
    println!("bare tokio-modbus loop       : {bare:>9.0} requests/s");
    println!("ratio                        : {:>9.2}", ours / bare);
}

/// Answers every request with the registers' own addresses.
async fn serve(mut stream: TcpStream) {
    let mut request = [0; 12];
    while stream.read_exact(&mut request).await.is_ok() {
        let [t0, t1, _, _, _, _, unit, function, a0, a1, ..] = request;
        let first = u16::from_be_bytes([a0, a1]);
        let bytes = u8::try_from(REGISTERS * 2).expect("fits a frame");
        let mut answer = vec![t0, t1, 0, 0, 0, bytes + 3, unit, function, bytes];
        answer.extend((first..first + REGISTERS).flat_map(u16::to_be_bytes));
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

/// Requests per second of the gateway's device readers, one link each.
async fn poll_checked(address: std::net::SocketAddr) -> f64 {
    let mut tasks = JoinSet::new();
    let until = Instant::now() + ROUND;
    for _ in 0..CONNECTIONS {
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
    rate(tasks).await
}

/// Requests per second of `tokio-modbus` alone.
async fn poll_bare(address: std::net::SocketAddr) -> f64 {
    let mut tasks = JoinSet::new();
    let until = Instant::now() + ROUND;
    for _ in 0..CONNECTIONS {
        tasks.spawn(async move {
            let mut context = tcp::connect(address).await.expect("the server listens");
            let mut requests = 0_u32;
            while Instant::now() < until {
                let words = context
                    .read_holding_registers(0, REGISTERS)
                    .await
                    .expect("answered");
                assert_eq!(words.expect("no exception").len(), usize::from(REGISTERS));
                requests += 1;
            }
            requests
        });
    }
    rate(tasks).await
}

async fn rate(tasks: JoinSet<u32>) -> f64 {
    let requests: u32 = tasks.join_all().await.into_iter().sum();
    f64::from(requests) / ROUND.as_secs_f64()
}
