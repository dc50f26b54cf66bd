//! An MQTT broker of one's own: Mosquitto, started on a free port of the loopback interface with
//! its files in a given directory.
//!
//! A broker written by others, so that what the gateway believes about sessions, retained values
//! and acknowledgements is tried against someone else's reading of the specification.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::Instant;

/// How long a start may take before it counts as failed.
const START_WITHIN: Duration = Duration::from_secs(10);

/// Who serves the directory, for a start after the one who began it was killed.
const PID_FILE: &str = "mosquitto.pid";

/// A running Mosquitto. Dropping it kills the process.
#[derive(Debug)]
pub struct Broker {
    port: u16,
    directory: PathBuf,
    child: Child,
}

impl Broker {
    /// Starts a broker with its files in `directory`, on a free port.
    ///
    /// # Errors
    ///
    /// When Mosquitto is not installed (`apt-get install mosquitto`) or does not listen within ten
    /// seconds; its own words are in `mosquitto.log` in the directory.
    pub async fn start(directory: &Path) -> io::Result<Self> {
        // Another process may take the port between finding it and Mosquitto's bind.
        let mut last = io::Error::other("not tried");
        for _ in 0..5 {
            let port = free_port().await?;
            match Self::start_on(directory, port).await {
                Ok(broker) => return Ok(broker),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Starts a broker on this port; sessions and retained values of an earlier one in the same
    /// directory are still there.
    ///
    /// # Errors
    ///
    /// As [`Broker::start`], and when the port is taken.
    pub async fn start_on(directory: &Path, port: u16) -> io::Result<Self> {
        tokio::fs::create_dir_all(directory).await?;
        end_orphan(directory).await?;
        let file = directory.join("mosquitto.conf");
        let log = directory.join("mosquitto.log");
        let user = tokio::fs::metadata(directory)
            .await
            .map(|found| owner(&found))?;
        tokio::fs::write(&file, configuration(directory, port, user)).await?;
        let log_file = std::fs::File::create(&log)?;
        let mut child = Command::new(program()?)
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log_file)
            .kill_on_drop(true)
            // A Ctrl-C at the terminal is for the one who started the broker: it ends it in order.
            .process_group(0)
            .spawn()?;
        if let Some(id) = child.id() {
            tokio::fs::write(directory.join(PID_FILE), id.to_string()).await?;
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let deadline = Instant::now() + START_WITHIN;
        loop {
            if let Some(status) = child.try_wait()? {
                return Err(io::Error::other(format!(
                    "mosquitto ended at once ({status}); see {}",
                    log.display()
                )));
            }
            if TcpStream::connect(address).await.is_ok() {
                break;
            }
            if Instant::now() > deadline {
                return Err(io::Error::other(format!(
                    "mosquitto does not listen on {address}; see {}",
                    log.display()
                )));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(Self {
            port,
            directory: directory.to_owned(),
            child,
        })
    }

    /// Returns the port it listens on, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills the broker without warning, as a power cut would, and starts it again on the same
    /// port.
    ///
    /// # Errors
    ///
    /// As [`Broker::start_on`].
    pub async fn crash_and_restart(mut self) -> io::Result<Self> {
        self.child.kill().await?;
        Self::start_on(&self.directory, self.port).await
    }

    /// Stops the broker and returns its port and directory for a later [`Broker::start_on`].
    ///
    /// # Errors
    ///
    /// When the process cannot be killed.
    pub async fn stop(mut self) -> io::Result<(PathBuf, u16)> {
        self.child.kill().await?;
        Ok((self.directory, self.port))
    }
}

/// Ends the broker of this directory whose parent was killed before it could end it. Two brokers
/// would write one session file.
async fn end_orphan(directory: &Path) -> io::Result<()> {
    let file = directory.join(PID_FILE);
    let Ok(id) = tokio::fs::read_to_string(&file).await else {
        return Ok(());
    };
    // The number may belong to somebody else by now: only a process that names our file is ours.
    let command = tokio::fs::read_to_string(format!("/proc/{}/cmdline", id.trim())).await;
    let config = directory.join("mosquitto.conf").display().to_string();
    if command.is_ok_and(|command| command.split('\0').any(|word| word == config)) {
        Command::new("kill")
            .arg("-KILL")
            .arg(id.trim())
            .status()
            .await?;
    }
    tokio::fs::remove_file(&file).await
}

/// Root's Mosquitto would change to a user who cannot write here; everyone else stays themselves.
fn owner(directory: &std::fs::Metadata) -> Option<&'static str> {
    use std::os::unix::fs::MetadataExt as _;
    (directory.uid() == 0).then_some("root")
}

fn configuration(directory: &Path, port: u16, user: Option<&str>) -> String {
    let user = user
        .map(|user| format!("user {user}\n"))
        .unwrap_or_default();
    format!(
        "{user}listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\n\
         persistence_location {}/\nautosave_interval 1\nautosave_on_changes true\n\
         log_dest stderr\n",
        directory.display()
    )
}

/// Debian puts the broker where only root's PATH looks.
fn program() -> io::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|directory| directory.join("mosquitto"))
        .find(|file| file.is_file())
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                "no `mosquitto` found; install it: apt-get install mosquitto",
            )
        })
}

async fn free_port() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    Ok(listener.local_addr()?.port())
}
