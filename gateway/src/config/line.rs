//! `[[line]]`: the physical ports and connections that devices are read on.
//!
//! A line is one serial port or one `host:port`. A device names its line (`line = "bus-1"`) or
//! writes `host` and `port` itself, which makes a line of Modbus TCP of that name. Every device on
//! a line takes its turn there, so no port may be two lines. [`super::lines`] reads them.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// One port or connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineConfig {
    /// The name, unique in the file; `host:port` for a line that a device made by itself.
    pub name: String,
    /// Where it leads and how it is spoken to.
    pub endpoint: Endpoint,
    /// Whether we ask on it or only listen.
    pub mode: LineMode,
    /// Pause between two requests; on RTU never less than 3.5 characters.
    pub pause: Duration,
    /// Pause between connecting and the first request.
    pub connect_delay: Duration,
    /// How long a device takes to answer, for `plan`; where the file gives none, it assumes.
    pub answer: Option<Duration>,
    /// What the converter of an RTU-over-TCP line speaks on its bus, for `plan` alone; where the file
    /// does not say, it assumes 9600 8N1.
    pub converter: Option<Characters>,
}

/// Where a line leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// Modbus TCP.
    Tcp {
        /// Host name or address.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// Modbus/TCP Security: Modbus TCP inside TLS, both sides with a certificate.
    Tls {
        /// Host name or address, as in the device's certificate.
        host: String,
        /// TCP port.
        port: u16,
        /// Whom we trust and who we are.
        files: TlsFiles,
    },
    /// RTU frames through a TCP connection, as many serial converters do it.
    RtuOverTcp {
        /// Host name or address.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// RTU on a serial port.
    Serial(SerialPort),
}

/// The PEM files of a TLS line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates that the device's certificate must come from.
    pub ca_file: PathBuf,
    /// Our certificate chain.
    pub cert_file: PathBuf,
    /// The key to it.
    pub key_file: PathBuf,
}

/// A serial port and its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SerialPort {
    /// The port, best by its name under `/dev/serial/by-id`.
    pub path: PathBuf,
    /// Bits per second, 1200–115200.
    pub baud: u32,
    /// The parity bit.
    pub parity: Parity,
    /// Stop bits, 1 or 2.
    pub stop_bits: u8,
    /// Data bits: RTU has 8.
    pub data_bits: u8,
    /// Who switches the direction of an RS-485 pair.
    pub rs485: Rs485,
}

/// What a character of 8 data bits is on a bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Characters {
    /// Bits per second, 1200–115200.
    pub baud: u32,
    /// The parity bit.
    pub parity: Parity,
    /// Stop bits, 1 or 2.
    pub stop_bits: u8,
}

/// The parity bit of a serial character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Parity {
    /// None.
    None,
    /// Even: what the Modbus specification asks for by default.
    Even,
    /// Odd.
    Odd,
}

/// Who switches an RS-485 pair between sending and receiving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rs485 {
    /// The converter or the port's hardware by itself.
    Converter,
    /// The kernel's driver. It is told so outside of the gateway (device tree, `rs485conf`): the
    /// request (`TIOCSRS485`) cannot be made without unsafe code, and the gateway has none.
    Kernel,
}

/// Whether a line is asked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineMode {
    /// We are the master and ask.
    Poll,
    /// Another master asks; we receive only and never send.
    Listen,
}

/// The pause between RTU requests when the file gives none.
pub(super) const RTU_PAUSE_MS: u64 = 30;

impl LineConfig {
    /// A line with the usual pauses, polled, named after its endpoint.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        let pause_ms = if endpoint.is_rtu() { RTU_PAUSE_MS } else { 0 };
        Self {
            name: endpoint.address(),
            mode: LineMode::Poll,
            pause: Duration::from_millis(pause_ms),
            connect_delay: Duration::ZERO,
            answer: None,
            converter: None,
            endpoint,
        }
    }

    /// A line of Modbus TCP.
    #[must_use]
    pub fn tcp(host: &str, port: u16) -> Self {
        let host = host.to_owned();
        Self::new(Endpoint::Tcp { host, port })
    }

    /// How long one character takes on the wire; `None` where the line is no serial port of ours.
    #[must_use]
    pub fn byte_time(&self) -> Option<Duration> {
        match &self.endpoint {
            Endpoint::Serial(port) => Some(port.characters().time()),
            _ => None,
        }
    }

    /// How long a question and its answer of so many bytes take on the wire, without the device's
    /// time to think and without the pause. Zero where the line is no serial port of ours.
    #[must_use]
    pub fn wire_time(&self, question: usize, answer: usize) -> Duration {
        let characters = u32::try_from(question.saturating_add(answer)).unwrap_or(u32::MAX);
        self.byte_time()
            .unwrap_or_default()
            .saturating_mul(characters)
    }

    /// How long an RTU line must be silent before it counts as silent: 3.5 characters, at least 50 ms.
    #[must_use]
    pub fn silence(&self) -> Duration {
        self.gap().max(Duration::from_millis(50))
    }

    /// 3.5 characters: what parts two RTU frames.
    #[must_use]
    pub fn gap(&self) -> Duration {
        self.byte_time().unwrap_or_default() * 7 / 2
    }
}

impl Endpoint {
    /// Whether frames are RTU: no transaction numbers, a CRC, silence between frames.
    #[must_use]
    pub const fn is_rtu(&self) -> bool {
        matches!(self, Self::RtuOverTcp { .. } | Self::Serial(_))
    }

    /// The protocol's name as it is sealed.
    #[must_use]
    pub const fn protocol(&self) -> &'static str {
        match self {
            Self::Tcp { .. } => "modbus-tcp",
            Self::Tls { .. } => "modbus-tls",
            Self::RtuOverTcp { .. } => "modbus-rtu-over-tcp",
            Self::Serial(_) => "modbus-rtu",
        }
    }

    /// `host:port`, or the port's path.
    #[must_use]
    pub fn address(&self) -> String {
        match self {
            Self::Tcp { host, port }
            | Self::Tls { host, port, .. }
            | Self::RtuOverTcp { host, port } => format!("{host}:{port}"),
            Self::Serial(port) => port.path.display().to_string(),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address())?;
        match self {
            Self::Tcp { .. } => Ok(()),
            Self::Tls { .. } => f.write_str(" over TLS"),
            Self::RtuOverTcp { .. } => f.write_str(", RTU over TCP"),
            Self::Serial(port) => write!(f, ", RTU {}", port.characters()),
        }
    }
}

impl SerialPort {
    /// A port with the settings that most meters leave the factory with: 9600 8N1.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            baud: 9_600,
            parity: Parity::None,
            stop_bits: 1,
            data_bits: 8,
            rs485: Rs485::Converter,
        }
    }

    /// What its characters are.
    #[must_use]
    pub const fn characters(&self) -> Characters {
        Characters {
            baud: self.baud,
            parity: self.parity,
            stop_bits: self.stop_bits,
        }
    }
}

impl Default for Characters {
    /// 9600 8N1.
    fn default() -> Self {
        Self {
            baud: 9_600,
            parity: Parity::None,
            stop_bits: 1,
        }
    }
}

impl fmt::Display for Characters {
    /// `9600 8N1`, as engineers write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parity = match self.parity {
            Parity::None => 'N',
            Parity::Even => 'E',
            Parity::Odd => 'O',
        };
        write!(f, "{} 8{parity}{}", self.baud, self.stop_bits)
    }
}

impl Characters {
    /// Bits of one character: start, data, parity if there is one, stop.
    #[must_use]
    pub fn bits(self) -> u32 {
        1 + 8 + u32::from(self.parity != Parity::None) + u32::from(self.stop_bits)
    }

    /// How long one character takes.
    #[must_use]
    pub fn time(self) -> Duration {
        Duration::from_secs(1) * self.bits() / self.baud.max(1)
    }
}
