//! Programs written by others that tests talk to, started from `tests/peers`.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};

/// Returns the Python that has pymodbus and cryptography: what `tests/run` prepared, else the
/// system's.
pub fn python() -> PathBuf {
    std::env::var_os("FIELDSEAL_TEST_PYTHON").map_or_else(|| "python3".into(), PathBuf::from)
}

/// Returns the path of a script in `tests/peers`.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("peers")
        .join(name)
}

/// A pymodbus server; see `tests/peers/modbus_meter.py` for what it shows. Dropping it ends it.
#[derive(Debug)]
pub struct PymodbusMeter {
    address: SocketAddr,
    // The script serves until its standard input closes; the child is killed with us besides.
    _input: Option<ChildStdin>,
    _child: Child,
}

impl PymodbusMeter {
    /// Starts the server on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// When Python or pymodbus is missing (`tests/run` installs both); the script's own words are
    /// on standard error.
    pub async fn start() -> io::Result<Self> {
        let mut child = Command::new(python())
            .arg(script("modbus_meter.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = child
            .stdout
            .take()
            .ok_or_else(|| io::Error::other("no output"))?;
        let line = BufReader::new(output).lines().next_line().await?;
        let port = line
            .as_deref()
            .and_then(|line| line.trim().parse().ok())
            .ok_or_else(|| {
                io::Error::other("the pymodbus server did not start; tests/run installs pymodbus")
            })?;
        Ok(Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            _input: child.stdin.take(),
            _child: child,
        })
    }

    /// Returns where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
