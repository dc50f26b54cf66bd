//! The read-only proxy with clients by others, hostile ones and many at once, before a meter by others.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream as StdStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use evidence::quality::Quality;
use gateway::config::GatewayConfig;
use gateway::proxy::{Proxy, State};
use gateway::sample::{PolledSource as _, SampleValue};
use gateway::sampling::field::offers;
use gateway::sampling::{self, Field};
use ring::rand::SystemRandom;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// Long enough for an answer on a busy machine; no test waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(20);

fn python() -> String {
    std::env::var("FIELDSEAL_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

fn script(name: &str) -> String {
    format!("{}/tests/support/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// pymodbus in a process of its own; ends when dropped.
struct Meter {
    process: Child,
    said: BufReader<ChildStdout>,
    port: u16,
}

impl Meter {
    fn start() -> Self {
        let mut process = Command::new(python())
            .arg(script("shared_meter.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        let port = line
            .trim()
            .parse()
            .expect("pymodbus prints its port; is it installed? tests/run does it");
        Self {
            process,
            said,
            port,
        }
    }

    /// How often each function has reached the meter.
    fn arrived(&mut self) -> Value {
        self.process
            .stdin
            .as_mut()
            .unwrap()
            .write_all(b"\n")
            .unwrap();
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// A gateway's field side that polls two registers every second, and a proxy in front of it that
/// offers the meter's unit 7 as unit 1.
struct Site {
    field: Field,
    proxy: Proxy,
}

impl Site {
    fn start(meter: u16, more: &str) -> Self {
        Self::of(config(meter, "", more))
    }

    fn of(mut config: GatewayConfig) -> Self {
        // A free port of the system's choice.
        config.proxies[0].listen.set_port(0);
        let field = sampling::open(&config, &SystemRandom::new());
        let [offers] = offers(&config, &field.lines).try_into().unwrap();
        let proxy = Proxy::start(config.proxies[0].clone(), offers);
        Self { field, proxy }
    }

    async fn address(&self) -> SocketAddr {
        address(&self.proxy.state()).await
    }

    /// Polls for good, a second a tick; every sample must be good. Returns how many ticks it was.
    async fn poll_until(self, mut done: tokio::sync::oneshot::Receiver<()>) -> u64 {
        let [mut stream] = self.field.streams.try_into().unwrap();
        let stream: &mut sampling::PolledStream = &mut stream;
        let mut next = Instant::now();
        let mut tick = 0;
        while done.try_recv().is_err() {
            next += Duration::from_secs(1);
            let samples = stream.poll(tick, next).await.samples;
            tick += 1;
            let values: Vec<_> = samples
                .iter()
                .map(|sample| (&sample.value, &sample.qualities))
                .collect();
            let good = Vec::<(Quality, u8)>::new();
            let expected = [
                (&SampleValue::Int(10), &good),
                (&SampleValue::Int(300 << 16 | 301), &good),
            ];
            assert_eq!(values, expected, "tick {tick}");
            tokio::time::sleep_until(next).await;
        }
        tick
    }
}

async fn address(state: &Arc<State>) -> SocketAddr {
    let listening = async {
        loop {
            if let Some(address) = state.address() {
                return address;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, listening).await.unwrap()
}

fn config(meter: u16, device: &str, more: &str) -> GatewayConfig {
    let text = format!(
        "[gateway]\norigin = \"example.com/gw/1\"\ndata_dir = \"/nowhere\"\n\
         [[modbus]]\nname = \"sdm\"\nhost = \"127.0.0.1\"\nport = {meter}\nunit_id = 7\naddress_base = \"pdu\"\n{device}\n\
         [[modbus.point]]\nname = \"a\"\ntable = \"holding\"\naddress = 10\ntype = \"u16\"\ndecimals = 0\nunit = \"1\"\nkind = \"instant\"\n\
         [[modbus.point]]\nname = \"b\"\ntable = \"input\"\naddress = 300\ntype = \"u32\"\ndecimals = 0\nunit = \"1\"\nkind = \"instant\"\n\
         [[proxy]]\nlisten = \"127.0.0.1:1502\"\n{more}\n[[proxy.unit]]\nunit_id = 1\ndevice = \"sdm\"\n"
    );
    GatewayConfig::parse("test", &text).unwrap()
}

/// A request in MBAP.
fn request(transaction: u16, unit: u8, pdu: &[u8]) -> Vec<u8> {
    let [t0, t1] = transaction.to_be_bytes();
    let length = u8::try_from(pdu.len() + 1).unwrap();
    [&[t0, t1, 0, 0, 0, length, unit], pdu].concat()
}

async fn answer(stream: &mut TcpStream) -> Vec<u8> {
    let reading = async {
        let mut header = [0; 7];
        stream.read_exact(&mut header).await.unwrap();
        let mut pdu = vec![0; usize::from(header[5]) - 1];
        stream.read_exact(&mut pdu).await.unwrap();
        [&header[..], &pdu].concat()
    };
    timeout(PATIENCE, reading).await.unwrap()
}

/// Asks again while the line has no pause.
async fn ask(stream: &mut TcpStream, unit: u8, pdu: &[u8]) -> Vec<u8> {
    loop {
        stream.write_all(&request(9, unit, pdu)).await.unwrap();
        let answer = answer(stream).await;
        assert_eq!(answer[..5], [0, 9, 0, 0, 0]);
        if answer[7..] != [pdu[0] | 0x80, 6] {
            return answer[7..].to_vec();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_system_by_others_reads_the_right_values_and_can_change_nothing() {
    let mut meter = Meter::start();
    let site = Site::start(meter.port, "");
    let port = site.address().await.port();
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let polling = tokio::spawn(site.poll_until(stopped));
    let scada = tokio::process::Command::new(python())
        .args([&script("scada.py"), &port.to_string(), "1"])
        .output();
    let output = timeout(PATIENCE * 2, scada).await.unwrap().unwrap();
    let said: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let bits = |first: u16, count: u16, padded: u16| -> Vec<bool> {
        (0..padded)
            .map(|place| place < count && (first + place).is_multiple_of(3))
            .collect()
    };
    assert_eq!(
        said["read"],
        json!({
            "holding": [10, 11, 12, 13, 14],
            "input": (390..400).collect::<Vec<_>>(),
            "most": (0..125).collect::<Vec<_>>(),
            "hole": { "exception": 2 },
            "coils": bits(0, 20, 24),
            "discrete": bits(3, 9, 16),
        })
    );
    let refused = said["refused"].as_object().unwrap();
    assert_eq!(refused.len(), 16);
    for (name, code) in refused {
        assert_eq!(*code, json!(1), "{name}");
    }
    stop.send(()).unwrap();
    assert!(polling.await.unwrap() > 0);
    // What the meter itself has seen: reads and nothing else.
    let arrived = meter.arrived();
    let mut functions: Vec<&String> = arrived.as_object().unwrap().keys().collect();
    functions.sort();
    assert_eq!(functions, ["1", "2", "3", "4"], "{arrived}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_gateway_polls_itself_costs_the_line_nothing() {
    let mut meter = Meter::start();
    let site = Site::start(meter.port, "max_age_ms = 60000");
    let address = site.address().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let [mut polled] = site.field.streams.try_into().unwrap();
    let polled: &mut sampling::PolledStream = &mut polled;
    polled.poll(0, Instant::now() + PATIENCE).await;
    let before = meter.arrived();
    for _ in 0..40 {
        assert_eq!(ask(&mut stream, 1, &[3, 0, 10, 0, 1]).await, [3, 2, 0, 10]);
        let word = [4, 2, 301_u16.to_be_bytes()[0], 301_u16.to_be_bytes()[1]];
        assert_eq!(ask(&mut stream, 1, &[4, 1, 45, 0, 1]).await, word);
    }
    assert_eq!(meter.arrived(), before);
    let status = site.proxy.state().status();
    assert_eq!((status.from_memory, status.from_line), (80, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_request_may_touch_and_what_is_too_long_never_reaches_the_device() {
    let mut meter = Meter::start();
    let device =
        "max_registers = 16\n[[modbus.barrier]]\ntable = \"holding\"\nfrom = 40\nto = 41\n";
    let mut site = Site::of(config(meter.port, device, "max_age_ms = 0"));
    let mut stream = TcpStream::connect(site.address().await).await.unwrap();
    let before = {
        let polled: &mut sampling::PolledStream = &mut site.field.streams[0];
        polled.poll(0, Instant::now() + PATIENCE).await;
        meter.arrived()
    };
    for (pdu, code) in [
        ([3, 0, 40, 0, 1], 2),
        ([3, 0, 30, 0, 11], 2),
        ([3, 0, 41, 0, 10], 2),
        ([3, 0, 0, 0, 17], 3),
        ([4, 0, 0, 0, 125], 3),
    ] {
        let refused = [pdu[0] | 0x80, code];
        assert_eq!(ask(&mut stream, 1, &pdu).await, refused, "{pdu:?}");
    }
    assert_eq!(meter.arrived(), before);
    // Beside the barrier, and in the other table.
    for pdu in [[3, 0, 42, 0, 1], [4, 0, 40, 0, 1]] {
        assert_eq!(ask(&mut stream, 1, &pdu).await, [pdu[0], 2, 0, pdu[2]]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateways_ticks_stay_complete_while_a_hundred_clients_flood() {
    let mut meter = Meter::start();
    let site = Site::start(meter.port, "max_clients = 100\nmax_age_ms = 0");
    let state = site.proxy.state();
    let address = site.address().await;
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let polling = tokio::spawn(site.poll_until(stopped));
    let until = Instant::now() + Duration::from_secs(6);
    let clients = (0..100_u16).map(|client| {
        tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let mut answers = 0_u32;
            // Each asks for something else, ten questions at a time.
            while Instant::now() < until {
                for place in 0..10_u16 {
                    let [a0, a1] = (client + place).to_be_bytes();
                    stream
                        .write_all(&request(place, 1, &[4, a0, a1, 0, 2]))
                        .await
                        .unwrap();
                }
                for place in 0..10_u16 {
                    let found = answer(&mut stream).await;
                    let [a, b] = [client + place, client + place + 1].map(u16::to_be_bytes);
                    let right = [4, 4, a[0], a[1], b[0], b[1]];
                    assert!(found[7..] == right || found[7..] == [0x84, 6], "{found:?}");
                    answers += u32::from(found[7..] == right);
                }
            }
            answers
        })
    });
    let mut answers = 0;
    for client in clients.collect::<Vec<_>>() {
        answers += client.await.unwrap();
    }
    stop.send(()).unwrap();
    // `poll_until` has found every sample of every tick good.
    let ticks = polling.await.unwrap();
    assert!(ticks >= 6, "{ticks} ticks in 6 s");
    assert!(answers > 0, "and the clients were served between the polls");
    assert_eq!(state.status().from_line, u64::from(answers));
    assert!(meter.arrived().as_object().unwrap().len() <= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_bytes_end_their_connection_and_nothing_else() {
    let mut meter = Meter::start();
    let site = Site::start(meter.port, "max_clients = 4\nidle_timeout_s = 5");
    let state = site.proxy.state();
    let address = site.address().await;
    for hostile in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        &[0, 1, 0, 0, 0, 0, 1],
        &[0, 1, 0, 0, 0, 1, 1],
        &[0, 1, 0, 0, 0xFF, 0xFF, 1],
        &[0, 1, 0, 7, 0, 6, 1, 3, 0, 0, 0, 1],
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(hostile).await.unwrap();
        let mut rest = Vec::new();
        // Closed, with a reset where bytes were left unread.
        let end = timeout(PATIENCE, stream.read_to_end(&mut rest))
            .await
            .unwrap();
        assert!(
            end.is_err() || rest.is_empty(),
            "{hostile:?} was answered {rest:?}"
        );
    }
    assert_eq!(state.status().malformed, 5);
    // A write whose byte count lies is an illegal function like any other, and the line goes on.
    let mut stream = TcpStream::connect(address).await.unwrap();
    let lying = [0x10, 0, 0, 0xFF, 0xFF, 2, 0, 1];
    assert_eq!(ask(&mut stream, 1, &lying).await, [0x90, 1]);
    assert_eq!(ask(&mut stream, 1, &[0]).await, [0x80, 1]);
    assert_eq!(ask(&mut stream, 1, &[0xFF]).await, [0xFF, 1]);
    assert_eq!(
        ask(&mut stream, 7, &[3, 0, 0, 0, 1]).await,
        [0x83, 10],
        "a unit not offered"
    );
    assert_eq!(ask(&mut stream, 1, &[3, 0, 0, 0, 0]).await, [0x83, 3]);
    assert_eq!(ask(&mut stream, 1, &[3, 0xFF, 0xFF, 0, 2]).await, [0x83, 2]);
    assert_eq!(meter.arrived(), json!({}), "none of this reached the meter");
    // One byte and then nothing: closed after the time of a request.
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(&[0]).await.unwrap();
    let mut rest = Vec::new();
    let begun = Instant::now();
    let end = timeout(PATIENCE, slow.read_to_end(&mut rest))
        .await
        .unwrap();
    assert!(end.is_err() || rest.is_empty());
    assert!(begun.elapsed() >= Duration::from_secs(4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_are_never_more_connections_than_places_nor_strangers_among_them() {
    let meter = Meter::start();
    let site = Site::start(meter.port, "max_clients = 2");
    let state = site.proxy.state();
    let address = site.address().await;
    let mut first = TcpStream::connect(address).await.unwrap();
    let mut second = TcpStream::connect(address).await.unwrap();
    ask(&mut first, 1, &[6, 0, 0, 0, 0]).await;
    ask(&mut second, 1, &[6, 0, 0, 0, 0]).await;
    let mut third = TcpStream::connect(address).await.unwrap();
    let mut rest = Vec::new();
    let end = timeout(PATIENCE, third.read_to_end(&mut rest))
        .await
        .unwrap();
    assert!(end.is_err() || rest.is_empty(), "there was no place");
    assert_eq!(state.status().full, 1);
    drop(first);
    let place = async {
        loop {
            let mut again = TcpStream::connect(address).await.unwrap();
            again
                .write_all(&request(9, 1, &[6, 0, 0, 0, 0]))
                .await
                .unwrap();
            let mut header = [0; 9];
            if again.read_exact(&mut header).await.is_ok() {
                return;
            }
        }
    };
    timeout(PATIENCE, place).await.unwrap();

    let strangers = Site::start(meter.port, "allow = [\"192.0.2.0/24\"]");
    let state = strangers.proxy.state();
    let mut stream = TcpStream::connect(strangers.address().await).await.unwrap();
    let mut rest = Vec::new();
    let end = timeout(PATIENCE, stream.read_to_end(&mut rest))
        .await
        .unwrap();
    assert!(end.is_err() || rest.is_empty());
    assert_eq!(state.status().turned_away, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_taken_is_said_with_its_remedy_and_recording_goes_on() {
    let meter = Meter::start();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = config(meter.port, "", "");
    config.proxies[0].listen = taken.local_addr().unwrap();
    let mut field = sampling::open(&config, &SystemRandom::new());
    let [offers] = offers(&config, &field.lines).try_into().unwrap();
    let proxy = Proxy::start(config.proxies[0].clone(), offers);
    let state = proxy.state();
    let said = async {
        loop {
            if let Some(trouble) = state.status().trouble {
                return trouble;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    let trouble = timeout(PATIENCE, said).await.unwrap();
    assert!(
        trouble.contains("another program has the port (`ss -ltnp"),
        "{trouble}"
    );
    let samples = field.streams[0]
        .poll(0, Instant::now() + PATIENCE)
        .await
        .samples;
    assert!(samples.iter().all(gateway::sample::PointSample::is_good));
    // The port is free again: the proxy takes it by itself.
    drop(taken);
    let address = address(&state).await;
    let mut stream = StdStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&request(1, 1, &[5, 0, 0, 0, 0])).unwrap();
    let mut refusal = [0; 9];
    stream.read_exact(&mut refusal).unwrap();
    assert_eq!(refusal[7..], [0x85, 1]);
    assert_eq!(state.status().trouble, None);
}
