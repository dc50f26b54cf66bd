//! The gateway beside what else is used for the work: a pymodbus script and collectd's modbus plugin.
//!
//! All run at the same time, each against 50 meters of its own, so that whatever else the machine
//! does it does to all of them. The requests are counted by the meters. The script keeps its values
//! in memory and collectd passes them to no one; the gateway seals and stores them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use system_tests::modbus_server::ModbusServer;
use system_tests::processes::Program;
use tokio::process::{Child, Command};

use crate::cost::delivered;
use crate::setup::{Receiver, Size, write};
use crate::usage::Usage;
use crate::{exact, until_a_whole_segment};

const SIZE: Size = Size {
    devices: 50,
    registers: 100,
};
/// Each window ends with a segment sealed in it; the median of them counts.
const WINDOW: Duration = Duration::from_secs(60);
const WINDOWS: usize = 3;

/// A process that reads meters.
struct Contender {
    name: &'static str,
    process: Process,
    meters: Vec<ModbusServer>,
    last: Option<Usage>,
    /// Per window: percent of a core, and requests a second.
    windows: Vec<(f64, f64)>,
}

enum Process {
    Ours(Program),
    /// Killed when dropped.
    Peer(Child),
}

pub(crate) async fn compare() -> anyhow::Result<String> {
    let directory = tempfile::tempdir()?;
    let folder = |name: &str| -> anyhow::Result<PathBuf> {
        // collectd takes a space in a path for the end of it.
        let path = directory.path().join(name.replace(' ', "-"));
        std::fs::create_dir_all(&path)?;
        Ok(path)
    };
    let receiver = Receiver::start(&folder("collector")?).await?;
    let mut contenders = Vec::new();
    for (name, receiver) in [
        ("fieldseal-gateway", None),
        ("fieldseal-gateway, forwarding", Some(&receiver)),
    ] {
        let meters = SIZE.meters().await?;
        let gateway = SIZE.gateway(&folder(name)?, &meters, receiver).await?;
        contenders.push(Contender::new(name, Process::Ours(gateway), meters));
    }
    let mut text = String::new();
    for (name, starts) in [
        ("pymodbus script", pymodbus as Start),
        ("collectd modbus", collectd as Start),
    ] {
        let meters = SIZE.meters().await?;
        match starts(&meters, &folder(name)?) {
            Ok(child) => contenders.push(Contender::new(name, Process::Peer(child), meters)),
            Err(why) => writeln!(text, "{name} is left out: {why:#}")?,
        }
    }
    until_a_whole_segment().await?;
    for contender in &mut contenders {
        contender.begin()?;
    }
    for _ in 0..WINDOWS {
        tokio::time::sleep(WINDOW).await;
        for contender in &mut contenders {
            contender.end_window()?;
        }
    }
    table(&mut text, &contenders)?;
    for contender in contenders {
        if let Process::Ours(program) = contender.process {
            program.stop().await?;
        }
    }
    delivered(&receiver.file).await?;
    receiver.program.stop().await?;
    Ok(text)
}

type Start = fn(&[ModbusServer], &Path) -> anyhow::Result<Child>;

impl Contender {
    const fn new(name: &'static str, process: Process, meters: Vec<ModbusServer>) -> Self {
        Self {
            name,
            process,
            meters,
            last: None,
            windows: Vec::new(),
        }
    }

    fn usage(&self) -> anyhow::Result<Usage> {
        let id = match &self.process {
            Process::Ours(program) => program.id(),
            Process::Peer(child) => child.id(),
        };
        Usage::of(id.with_context(|| format!("{} ended", self.name))?)
            .with_context(|| format!("{} ended", self.name))
    }

    fn requests(&self) -> usize {
        let seen = self.meters.iter().map(|meter| meter.take_seen().len());
        seen.sum()
    }

    fn begin(&mut self) -> anyhow::Result<()> {
        self.requests();
        self.last = Some(self.usage()?);
        Ok(())
    }

    fn end_window(&mut self) -> anyhow::Result<()> {
        let now = self.usage()?;
        let before = self.last.replace(now).context("a window was begun")?;
        let seconds = now.at.duration_since(before.at).as_secs_f64();
        let percent = (now.cpu_s - before.cpu_s) / seconds * 100.0;
        let requests = exact(u64::try_from(self.requests())?) / seconds;
        self.windows.push((percent, requests));
        Ok(())
    }

    fn median(&self, of: impl Fn(&(f64, f64)) -> f64) -> f64 {
        let mut figures: Vec<f64> = self.windows.iter().map(of).collect();
        figures.sort_by(f64::total_cmp);
        figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

/// The figures, and the processor time of each as a multiple of the gateway's that forwards nothing.
fn table(text: &mut String, contenders: &[Contender]) -> anyhow::Result<()> {
    let ours = contenders
        .first()
        .context("the gateway is measured")?
        .median(|window| window.0);
    writeln!(
        text,
        "{} × {} registers every second, at the same time, median of {WINDOWS} × {} s\n\
         {:<30} {:>9} {:>7} {:>9} {:>9} {:>9}",
        SIZE.devices,
        SIZE.registers,
        WINDOW.as_secs(),
        "",
        "% of core",
        "× ours",
        "MB",
        "MB, most",
        "requests"
    )?;
    for contender in contenders {
        let usage = contender.last.context("measured")?;
        let (percent, requests) = (
            contender.median(|window| window.0),
            contender.median(|window| window.1),
        );
        ensure!(requests > 0.0, "{} asked for nothing", contender.name);
        writeln!(
            text,
            "{:<30} {percent:>9.2} {:>7.1} {:>9.1} {:>9.1} {requests:>9.0}",
            contender.name,
            percent / ours,
            usage.resident_mb,
            usage.highest_mb,
        )?;
    }
    Ok(())
}

fn pymodbus(meters: &[ModbusServer], _folder: &Path) -> anyhow::Result<Child> {
    let python = std::env::var("FIELDSEAL_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let found = std::process::Command::new(&python)
        .args(["-c", "import pymodbus"])
        .stderr(Stdio::null())
        .status();
    ensure!(
        found.is_ok_and(|status| status.success()),
        "`{python} -c 'import pymodbus'` fails; `pip install pymodbus==3.16.1` in a virtual \
         environment and name it in FIELDSEAL_TEST_PYTHON"
    );
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/benches/gateway/peers/pymodbus_poll.py"
    );
    let ports = meters
        .iter()
        .map(|meter| meter.address().port().to_string());
    started(
        Command::new(python)
            .arg(script)
            .arg(SIZE.registers.to_string())
            .args(ports),
    )
}

fn collectd(meters: &[ModbusServer], folder: &Path) -> anyhow::Result<Child> {
    const PLUGIN: &str = "/usr/lib/collectd/modbus.so";
    let remedy = "`apt-get install collectd-core libmodbus5`";
    ensure!(
        Path::new(PLUGIN).exists() && Path::new("/usr/sbin/collectd").exists(),
        "{PLUGIN} is not there; {remedy}"
    );
    let linked = std::process::Command::new("ldd").arg(PLUGIN).output()?;
    ensure!(
        !String::from_utf8_lossy(&linked.stdout).contains("not found"),
        "{PLUGIN} lacks its library; {remedy}"
    );
    let mut text = format!(
        "Hostname \"bench\"\nBaseDir \"{0}\"\nPIDFile \"{0}/pid\"\nPluginDir \"/usr/lib/collectd\"\n\
         TypesDB \"/usr/share/collectd/types.db\"\nInterval 1\nLoadPlugin modbus\n<Plugin modbus>\n",
        folder.display()
    );
    for address in 0..SIZE.registers {
        write!(
            text,
            "<Data \"r{address}\">\nRegisterBase {address}\nRegisterType uint16\n\
             RegisterCmd ReadHolding\nType gauge\nInstance \"r{address}\"\n</Data>\n"
        )?;
    }
    for (number, meter) in meters.iter().enumerate() {
        write!(
            text,
            "<Host \"meter-{number}\">\nAddress \"127.0.0.1\"\nPort \"{}\"\nInterval 1\n<Slave 1>\n\
             Instance \"meter\"\n",
            meter.address().port()
        )?;
        for address in 0..SIZE.registers {
            writeln!(text, "Collect \"r{address}\"")?;
        }
        text += "</Slave>\n</Host>\n";
    }
    text += "</Plugin>\n";
    let file = folder.join("collectd.conf");
    write(&file, &text)?;
    started(
        Command::new("/usr/sbin/collectd")
            .arg("-f")
            .arg("-C")
            .arg(file),
    )
}

fn started(command: &mut Command) -> anyhow::Result<Child> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("start")
}
