//! What the benchmarks share: Modbus TCP servers on a thread of their own, and the bare loop that
//! every figure is set against.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_modbus::client::{Reader as _, tcp};

/// Devices, each behind a connection of its own.
pub(crate) const CONNECTIONS: u16 = 50;
/// Registers of each device, read by one request.
pub(crate) const REGISTERS: u16 = 100;

/// Starts as many servers as there are connections, all on one thread, and returns where they listen.
pub(crate) fn servers() -> Vec<SocketAddr> {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            for _ in 0..CONNECTIONS {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
                let address = listener.local_addr().expect("bound");
                sender.send(address).expect("the main thread waits");
                tokio::spawn(async move {
                    while let Ok((stream, _)) = listener.accept().await {
                        tokio::spawn(serve(stream));
                    }
                });
            }
            std::future::pending::<()>().await;
        });
    });
    receiver.iter().take(usize::from(CONNECTIONS)).collect()
}

/// Answers every request with registers that rise by one with each answer.
async fn serve(mut stream: TcpStream) {
    // As a device does; otherwise answers wait for the acknowledgement of the one before.
    stream.set_nodelay(true).expect("a TCP socket");
    let mut request = [0; 12];
    let mut answered = 0_u16;
    let bytes = u8::try_from(REGISTERS * 2).expect("fits a frame");
    let mut answer = Vec::with_capacity(9 + usize::from(bytes));
    while stream.read_exact(&mut request).await.is_ok() {
        let [t0, t1, _, _, _, _, unit, function, a0, a1, ..] = request;
        let first = u16::from_be_bytes([a0, a1]).wrapping_add(answered);
        answer.clear();
        answer.extend([t0, t1, 0, 0, 0, bytes + 3, unit, function, bytes]);
        answer.extend((0..REGISTERS).flat_map(|at| first.wrapping_add(at).to_be_bytes()));
        if stream.write_all(&answer).await.is_err() {
            return;
        }
        answered = answered.wrapping_add(1);
    }
}

/// Requests per second of `tokio-modbus` alone over all servers, one request at a time on each.
pub(crate) async fn poll_bare(servers: &[SocketAddr], round: Duration) -> f64 {
    let mut tasks = JoinSet::new();
    let until = Instant::now() + round;
    for &address in servers {
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
    rate(tasks, round).await
}

/// What the tasks counted together, per second.
pub(crate) async fn rate(tasks: JoinSet<u32>, round: Duration) -> f64 {
    let requests: u32 = tasks.join_all().await.into_iter().sum();
    f64::from(requests) / round.as_secs_f64()
}

/// The middle one of several measurements; machines have good and bad moments.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(0.0)
}
