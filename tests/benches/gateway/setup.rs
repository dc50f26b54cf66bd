//! What is measured, installed: meters, gateway, collector.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use system_tests::modbus_server::{Image, ModbusServer};
use system_tests::plant::machine_clock;
use system_tests::processes::{self, Program, port_after};

use crate::relay::Relay;

/// Meters with the same number of registers each, one point a register, read every second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) devices: u16,
    pub(crate) registers: u16,
}

/// A collector with the relay in front of it.
pub(crate) struct Receiver {
    pub(crate) program: Program,
    pub(crate) file: String,
    pub(crate) relay: Relay,
}

impl Size {
    pub(crate) fn points(self) -> u32 {
        u32::from(self.devices) * u32::from(self.registers)
    }

    /// Starts the meters, each on a port of its own.
    pub(crate) async fn meters(self) -> anyhow::Result<Vec<ModbusServer>> {
        let mut meters = Vec::new();
        for _ in 0..self.devices {
            let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            meters.push(ModbusServer::start(free, meter()).await?);
        }
        Ok(meters)
    }

    /// Installs a gateway in a directory, enrols it if there is a collector, starts it, and waits until
    /// it records.
    pub(crate) async fn gateway(
        self,
        directory: &Path,
        meters: &[ModbusServer],
        receiver: Option<&Receiver>,
    ) -> anyhow::Result<Program> {
        let file = directory.join("gateway.toml");
        let collector = receiver.map(|receiver| receiver.relay.port);
        write(&file, &self.configuration(collector, meters)?)?;
        let file = file.display().to_string();
        processes::done("fieldseal-gateway", ["--config", &file, "init"]).await?;
        if let Some(receiver) = receiver {
            let command = [
                "enrolment-code",
                "--site",
                "bench",
                "--config",
                &receiver.file,
            ];
            let code = processes::done("fieldseal-collector", command).await?;
            processes::done(
                "fieldseal-gateway",
                ["--config", &file, "enroll", code.trim()],
            )
            .await?;
        }
        let mut gateway = Program::start("fieldseal-gateway", ["--config", &file, "run"])?;
        gateway.hear("Recording").await?;
        Ok(gateway)
    }

    fn configuration(
        self,
        collector: Option<u16>,
        meters: &[ModbusServer],
    ) -> anyhow::Result<String> {
        let mut text = format!(
            "[gateway]\norigin = \"bench.test/gw/{}\"\ndata_dir = \"data\"\n\n\
             [clock]\nsource = \"system\"\n",
            self.points()
        );
        if let Some(port) = collector {
            write!(text, "\n[collector]\nurl = \"https://localhost:{port}\"\n")?;
        }
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

impl Receiver {
    /// Installs a collector on SQLite in a directory and starts it.
    pub(crate) async fn start(directory: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let named = directory.display().to_string();
        let init = ["init", "--name", "bench.test/w0", "--directory", &named];
        processes::done("fieldseal-collector", init).await?;
        let file = directory.join("collector.toml");
        let text = std::fs::read_to_string(&file)?;
        write(&file, &text.replace("[::]:7443", "127.0.0.1:0"))?;
        let file = file.display().to_string();
        let mut program = Program::start("fieldseal-collector", ["run", &file])?;
        let line = program.hear("listens on 127.0.0.1:").await?;
        let relay = Relay::start(port_after("listens on 127.0.0.1:", &line)?).await?;
        Ok(Self {
            program,
            file,
            relay,
        })
    }
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

#[expect(clippy::disallowed_methods, reason = "a benchmark's own files")]
pub(crate) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
