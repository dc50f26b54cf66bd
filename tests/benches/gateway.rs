//! What the gateway costs the device it runs on: memory and processor at 50 and 5,000 points × 1 Hz,
//! polled over Modbus TCP, sealed, durable, and forwarded to a collector on SQLite.
//!
//!     cargo build --release -p gateway -p collector
//!     cargo bench -p system-tests --bench gateway
//!
//! Gateway and collector are the release programs as processes of their own, so that the figures
//! are the kernel's about them alone; the meters and a relay that counts bytes are in this one. Each
//! case takes two to three minutes: up to a minute to the first whole segment, then 60 s measured.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use evidence::entry::Entry;
use gateway::buffer::LogReader;
use system_tests::modbus_server::{Image, ModbusServer};
use system_tests::plant::machine_clock;
use system_tests::processes::{self, Program, port_after};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

const MEASURED: Duration = Duration::from_secs(60);
/// Seconds after a full minute in which its segment has certainly been delivered.
const DELIVERED_S: u64 = 5;
/// Clock ticks per second in `/proc/PID/stat`: the same on every Linux that Rust runs on.
const USER_HZ: f64 = 100.0;

/// A case with the bars that it is held against.
struct Case {
    devices: u16,
    /// Registers of each device, one point each.
    registers: u16,
    most_megabytes: f64,
    most_percent: Option<f64>,
    most_bytes_per_reading: Option<f64>,
    most_megabytes_a_month: Option<f64>,
}

const CASES: [Case; 2] = [
    Case {
        devices: 5,
        registers: 10,
        most_megabytes: 12.0,
        most_percent: None,
        most_bytes_per_reading: Some(1.1),
        most_megabytes_a_month: Some(150.0),
    },
    Case {
        devices: 50,
        registers: 100,
        most_megabytes: 16.0,
        most_percent: Some(2.3),
        most_bytes_per_reading: None,
        most_megabytes_a_month: None,
    },
];

#[tokio::main]
async fn main() -> ExitCode {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!(
            "A benchmark of minutes: run it with `cargo bench -p system-tests --bench gateway`."
        );
        return ExitCode::SUCCESS;
    }
    for program in ["fieldseal-gateway", "fieldseal-collector"] {
        if processes::path(program).is_err() {
            println!("{program} is not built: `cargo build --release -p gateway -p collector`");
            return ExitCode::FAILURE;
        }
    }
    for case in &CASES {
        match case.measure().await {
            Ok(text) => println!("{text}"),
            Err(error) => {
                println!("error: {error:#}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// What the kernel says of a process.
struct Usage {
    cpu_s: f64,
    resident_mb: f64,
    highest_mb: f64,
    threads: u64,
}

impl Usage {
    fn of(id: u32) -> anyhow::Result<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
        // The name in parentheses may hold spaces; the fields after it do not.
        let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat")?;
        let field = |number: usize| -> anyhow::Result<f64> {
            let text = fields.split_whitespace().nth(number - 3);
            text.context("/proc/PID/stat is short")?
                .parse()
                .context("/proc/PID/stat")
        };
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = |name: &str| -> anyhow::Result<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let text = line.and_then(|line| line.split_whitespace().next());
            text.with_context(|| format!("no {name} of {id}"))?
                .parse()
                .context("status")
        };
        let threads = line("Threads:")?;
        Ok(Self {
            cpu_s: (field(14)? + field(15)?) / USER_HZ,
            resident_mb: line("VmRSS:")? * 1_024.0 / 1e6,
            highest_mb: line("VmHWM:")? * 1_024.0 / 1e6,
            threads: format!("{threads:.0}").parse()?,
        })
    }
}

impl Case {
    fn points(&self) -> u32 {
        u32::from(self.devices) * u32::from(self.registers)
    }

    async fn measure(&self) -> anyhow::Result<String> {
        let directory = tempfile::tempdir()?;
        let mut meters = Vec::new();
        for _ in 0..self.devices {
            let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            meters.push(ModbusServer::start(free, meter()).await?);
        }
        let collector_dir = directory.path().join("collector");
        std::fs::create_dir_all(&collector_dir)?;
        let collector_file = install_collector(&collector_dir).await?;
        let mut collector = Program::start("fieldseal-collector", ["run", &collector_file])?;
        let line = collector.hear("listens on 127.0.0.1:").await?;
        let relay = Relay::start(port_after("listens on 127.0.0.1:", &line)?).await?;

        let file = directory.path().join("gateway.toml");
        write(&file, &self.configuration(relay.port, &meters)?)?;
        let file = file.display().to_string();
        processes::done("fieldseal-gateway", ["--config", &file, "init"]).await?;
        let command = [
            "enrolment-code",
            "--site",
            "bench",
            "--config",
            &collector_file,
        ];
        let code = processes::done("fieldseal-collector", command).await?;
        processes::done(
            "fieldseal-gateway",
            ["--config", &file, "enroll", code.trim()],
        )
        .await?;
        let mut gateway = Program::start("fieldseal-gateway", ["--config", &file, "run"])?;
        gateway.hear("Recording").await?;

        // The segment that begins now is a part of a minute; the next is whole, and its delivery is
        // within what is measured.
        let now_s = u64::try_from(machine_clock()() / 1_000)?;
        let begin_s = (now_s / 60 + 1) * 60 + DELIVERED_S;
        tokio::time::sleep(Duration::from_secs(begin_s - now_s)).await;
        let id = gateway.id().context("the gateway ended")?;
        let (before, sent, received) = (Usage::of(id)?, relay.sent(), relay.received());
        for meter in &meters {
            drop(meter.take_seen());
        }
        let begun = Instant::now();
        tokio::time::sleep(MEASURED).await;
        let seconds = begun.elapsed().as_secs_f64();
        let after = Usage::of(id)?;
        let (sent, received) = (relay.sent() - sent, relay.received() - received);
        let requests: usize = meters.iter().map(|meter| meter.take_seen().len()).sum();
        ensure!(
            gateway.is_running(),
            "the gateway ended: {}",
            gateway.last()
        );
        gateway.stop().await?;
        let status = ["status", "--config", &collector_file];
        let status = processes::done("fieldseal-collector", status).await?;
        let entries = status
            .lines()
            .find_map(|line| line.trim().strip_prefix("entries "));
        let entries = entries
            .and_then(|rest| rest.split(',').next())
            .context("no entries")?;
        let entries: u64 = entries.parse()?;
        ensure!(entries >= 4, "nothing was forwarded: {status}");
        collector.stop().await?;

        let readings = f64::from(self.points()) * seconds;
        let percent = (after.cpu_s - before.cpu_s) / seconds * 100.0;
        let bytes = exact(sent) / readings;
        let mut text = format!(
            "{} points × 1 Hz ({} devices × {} registers), {seconds:.1} s\n",
            self.points(),
            self.devices,
            self.registers
        );
        let per_second = exact(u64::try_from(requests)?) / seconds;
        writeln!(text, "  requests            {per_second:8.1} /s")?;
        writeln!(
            text,
            "  processor           {percent:8.2} % of a core{}",
            bar(percent, self.most_percent)
        )?;
        writeln!(
            text,
            "  resident            {:8.1} MB{}",
            after.resident_mb,
            bar(after.resident_mb, Some(self.most_megabytes))
        )?;
        writeln!(
            text,
            "  resident, highest   {:8.1} MB{}  ({} threads)",
            after.highest_mb,
            bar(after.highest_mb, Some(self.most_megabytes)),
            after.threads
        )?;
        writeln!(
            text,
            "  entries delivered   {entries:8}, from the start to the stop"
        )?;
        let evidence = self
            .evidence_per_reading(&directory.path().join("data/log"))
            .await?;
        writeln!(
            text,
            "  sealed              {evidence:8.2} bytes per reading: entry, payload, checkpoint{}",
            bar(evidence, self.most_bytes_per_reading)
        )?;
        let month = (exact(sent) + exact(received)) / seconds * 30.0 * 86_400.0 / 1e6;
        writeln!(
            text,
            "  on the wire         {bytes:8.2} bytes per reading sent, TLS and idle live lane included; \
             {month:.0} MB a month both ways{}",
            bar(month, self.most_megabytes_a_month)
        )?;
        Ok(text)
    }

    /// Bytes that the newest whole segment costs: the archive keeps them, and so does the wire.
    async fn evidence_per_reading(&self, log: &Path) -> anyhow::Result<f64> {
        let mut reader = LogReader::of_dir(log).await?;
        let end = reader.bounds().1;
        let rows = reader.rows(0, end, u32::MAX, usize::MAX).await?;
        let whole = rows.iter().rev().find_map(|row| {
            let signed = Entry::parse(&row.entry).ok()?;
            let whole = signed.entry.ticks().is_some_and(|ticks| ticks.count == 60);
            let payload = row.payload.as_ref().filter(|_| whole)?;
            Some(row.entry.len() + payload.len() + row.checkpoint.len())
        });
        let bytes = whole.context("no whole segment was sealed")?;
        Ok(exact(u64::try_from(bytes)?) / (f64::from(self.points()) * 60.0))
    }

    fn configuration(&self, collector: u16, meters: &[ModbusServer]) -> anyhow::Result<String> {
        let mut text = format!(
            "[gateway]\norigin = \"bench.test/gw/{}\"\ndata_dir = \"data\"\n\n\
             [collector]\nurl = \"https://localhost:{collector}\"\n\n[clock]\nsource = \"system\"\n",
            self.points()
        );
        for (number, meter) in meters.iter().enumerate() {
            write!(
                text,
                "\n[[modbus]]\nname = \"meter-{number}\"\nhost = \"127.0.0.1\"\nport = {}\n\
                 address_base = \"pdu\"\n",
                meter.address().port()
            )?;
            for address in 0..self.registers {
                write!(
                    text,
                    "\n[[modbus.point]]\nname = \"meter-{number}.r{address}\"\ntable = \"holding\"\n\
                     address = {address}\ntype = \"u16\"\ndecimals = 0\nunit = \"W\"\n\
                     kind = \"instant\"\ninterval_s = 1\n"
                )?;
            }
        }
        Ok(text)
    }
}

/// A figure with its bar: how many times the bar it is.
fn bar(figure: f64, most: Option<f64>) -> String {
    most.map_or_else(String::new, |most| {
        let verdict = if figure <= most { "within" } else { "BEYOND" };
        format!(", {verdict} the bar of {most} ({:.2} ×)", figure / most)
    })
}

/// Counts of a minute are far below 2^53.
fn exact(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

/// Registers as a power meter has them: some rise steadily, some waver by a few units.
fn meter() -> Arc<Image> {
    let now = machine_clock();
    Arc::new(move |_unit, _table, start, count| {
        let second = u64::try_from(now() / 1_000).unwrap_or(0);
        let word = |address: u16| {
            let address = u64::from(address);
            let mixed = (second ^ (address << 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 61;
            let value = if address.is_multiple_of(2) {
                second * (address % 5)
            } else {
                20_000 + address * 100 + mixed
            };
            u16::try_from(value % 65_536).unwrap_or(0)
        };
        Ok((start..start.saturating_add(count)).map(word).collect())
    })
}

async fn install_collector(directory: &Path) -> anyhow::Result<String> {
    let named = directory.display().to_string();
    let init = ["init", "--name", "bench.test/w0", "--directory", &named];
    processes::done("fieldseal-collector", init).await?;
    let file = directory.join("collector.toml");
    let text = std::fs::read_to_string(&file)?;
    write(&file, &text.replace("[::]:7443", "127.0.0.1:0"))?;
    Ok(file.display().to_string())
}

#[expect(clippy::disallowed_methods, reason = "a benchmark's own files")]
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

/// Passes a TCP connection on and counts its bytes, TLS and all.
struct Relay {
    port: u16,
    counts: Arc<[AtomicU64; 2]>,
}

impl Relay {
    async fn start(to: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let counts = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let counted = Arc::clone(&counts);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await else {
                    continue;
                };
                let (near_read, near_write) = near.into_split();
                let (far_read, far_write) = far.into_split();
                tokio::spawn(copy(near_read, far_write, Arc::clone(&counted), 0));
                tokio::spawn(copy(far_read, near_write, Arc::clone(&counted), 1));
            }
        });
        Ok(Self { port, counts })
    }

    fn sent(&self) -> u64 {
        self.counts[0].load(Ordering::Relaxed)
    }

    fn received(&self) -> u64 {
        self.counts[1].load(Ordering::Relaxed)
    }
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    counts: Arc<[AtomicU64; 2]>,
    way: usize,
) {
    let mut buffer = vec![0; 16_384];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if let Some(counter) = counts.get(way) {
            counter.fetch_add(u64::try_from(count).unwrap_or(0), Ordering::Relaxed);
        }
        if to
            .write_all(buffer.get(..count).unwrap_or_default())
            .await
            .is_err()
        {
            break;
        }
    }
}
