//! A line given on the command line instead of in a configuration file.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Failure;
use crate::config::{Endpoint, LineConfig, Parity, SerialPort};

/// Which line, and how it is set.
#[derive(Debug, Args)]
pub struct GivenLine {
    /// A device or converter on the network: HOST or HOST:PORT (502 if left out).
    #[arg(long, value_name = "HOST[:PORT]", conflicts_with = "port")]
    pub host: Option<String>,
    /// The converter behind --host passes RTU frames through.
    #[arg(long, requires = "host")]
    pub rtu_over_tcp: bool,
    /// A serial port, best by its name under /dev/serial/by-id.
    #[arg(long, value_name = "PORT")]
    pub port: Option<PathBuf>,
    /// Bits per second of the serial port.
    #[arg(long, default_value_t = 9_600)]
    pub baud: u32,
    /// Parity of the serial port.
    #[arg(long, value_enum, default_value_t = GivenParity::None)]
    pub parity: GivenParity,
    /// Stop bits of the serial port, 1 or 2.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    pub stop_bits: u8,
}

/// The parity bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GivenParity {
    /// No parity bit.
    None,
    /// Even.
    Even,
    /// Odd.
    Odd,
}

impl From<GivenParity> for Parity {
    fn from(given: GivenParity) -> Self {
        match given {
            GivenParity::None => Self::None,
            GivenParity::Even => Self::Even,
            GivenParity::Odd => Self::Odd,
        }
    }
}

impl GivenLine {
    /// The line, if one was given.
    ///
    /// # Errors
    /// The host is none.
    pub(super) fn line(&self) -> Result<Option<LineConfig>, Failure> {
        if let Some(path) = &self.port {
            let port = SerialPort {
                baud: self.baud,
                parity: self.parity.into(),
                stop_bits: self.stop_bits,
                ..SerialPort::new(path)
            };
            return Ok(Some(LineConfig::new(Endpoint::Serial(port))));
        }
        let Some(host) = &self.host else {
            return Ok(None);
        };
        let (host, port) = host_and_port(host, 502)?;
        let endpoint = if self.rtu_over_tcp {
            Endpoint::RtuOverTcp { host, port }
        } else {
            Endpoint::Tcp { host, port }
        };
        Ok(Some(LineConfig::new(endpoint)))
    }
}

/// `host`, `host:port`, `[v6]:port` or a bare v6 address.
pub(super) fn host_and_port(text: &str, standard: u16) -> Result<(String, u16), Failure> {
    let wrong = || Failure::usage(format!("`{text}` is not HOST or HOST:PORT"));
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or_else(wrong)?;
            match rest {
                "" => (host, None),
                rest => (host, Some(rest.strip_prefix(':').ok_or_else(wrong)?)),
            }
        }
        None if text.matches(':').count() == 1 => {
            let (host, port) = text.split_once(':').ok_or_else(wrong)?;
            (host, Some(port))
        }
        None => (text, None),
    };
    let unfit = |c: char| c.is_whitespace() || c.is_control() || c == '/';
    if host.is_empty() || host.contains(unfit) {
        return Err(wrong());
    }
    let port = port.map_or(Ok(standard), |port| port.parse().map_err(|_bad| wrong()))?;
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::host_and_port;

    #[test]
    fn a_host_may_carry_its_port() {
        let read = |text| host_and_port(text, 502).unwrap();
        assert_eq!(read("10.0.0.7"), ("10.0.0.7".to_owned(), 502));
        assert_eq!(read("meter.lan:1502"), ("meter.lan".to_owned(), 1_502));
        assert_eq!(read("[fe80::1]:802"), ("fe80::1".to_owned(), 802));
        assert_eq!(read("fe80::1"), ("fe80::1".to_owned(), 502));
        for wrong in ["", ":502", "a:b", "http://a", "[::1", "[::1]x"] {
            assert!(host_and_port(wrong, 502).is_err(), "{wrong}");
        }
    }
}
