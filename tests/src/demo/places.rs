//! Where the demo keeps its things, and the ports it took at its first start.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// The demo's directory. Ports stay the same from start to start: the gateway's configuration and
/// people's bookmarks name them.
#[derive(Debug)]
pub(super) struct Places {
    root: PathBuf,
    /// Taken out once, by the daemon that serves there.
    api: Mutex<Option<TcpListener>>,
    collector: Mutex<Option<TcpListener>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ports {
    api: u16,
    collector: u16,
}

impl Places {
    /// Makes or finds the directory and takes its ports.
    pub(super) fn open(root: &Path, wanted_api: Option<u16>) -> anyhow::Result<Self> {
        std::fs::create_dir_all(root).with_context(|| format!("make {}", root.display()))?;
        let root = root
            .canonicalize()
            .with_context(|| format!("find {}", root.display()))?;
        for below in ["collector", "api", "live", "past", "broker", "proof"] {
            std::fs::create_dir_all(root.join(below))?;
        }
        let file = root.join("ports.json");
        let known: Option<Ports> = match std::fs::read(&file) {
            Ok(bytes) => Some(
                serde_json::from_slice(&bytes)
                    .with_context(|| format!("{} is damaged; delete it", file.display()))?,
            ),
            Err(_none) => None,
        };
        let api = take(wanted_api.or(known.as_ref().map(|ports| ports.api)), 8443)?;
        let collector = take(known.as_ref().map(|ports| ports.collector), 7443)?;
        let ports = Ports {
            api: api.local_addr()?.port(),
            collector: collector.local_addr()?.port(),
        };
        write(&file, &serde_json::to_vec(&ports)?)?;
        Ok(Self {
            root,
            api: Mutex::new(Some(api)),
            collector: Mutex::new(Some(collector)),
        })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn collector(&self) -> PathBuf {
        self.root.join("collector")
    }

    pub(super) fn api(&self) -> PathBuf {
        self.root.join("api")
    }

    /// Configuration and data of the live gateway.
    pub(super) fn live(&self) -> PathBuf {
        self.root.join("live")
    }

    /// Configuration and data of the gateway of the past period.
    pub(super) fn past(&self) -> PathBuf {
        self.root.join("past")
    }

    pub(super) fn broker(&self) -> PathBuf {
        self.root.join("broker")
    }

    /// What a verifier would have on his own disk.
    pub(super) fn proof(&self) -> PathBuf {
        self.root.join("proof")
    }

    pub(super) fn api_listener(&self) -> anyhow::Result<TcpListener> {
        once(&self.api)
    }

    pub(super) fn collector_listener(&self) -> anyhow::Result<TcpListener> {
        once(&self.collector)
    }
}

fn once(listener: &Mutex<Option<TcpListener>>) -> anyhow::Result<TcpListener> {
    let mut listener = listener
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    listener.take().context("the port is served already")
}

/// Takes a port that must be this one, or else the usual one, or else any.
fn take(must: Option<u16>, usual: u16) -> anyhow::Result<TcpListener> {
    match must {
        Some(port) => TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| {
            format!(
                "port {port} is taken, by an earlier start of the demo perhaps; stop that first"
            )
        }),
        None => TcpListener::bind((Ipv4Addr::LOCALHOST, usual))
            .or_else(|_taken| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .context("no port is free on 127.0.0.1"),
    }
}

/// Writes a file of the demo's own, which can be made again.
pub(super) fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    #[expect(
        clippy::disallowed_methods,
        reason = "everything the demo writes itself is written again at the next start"
    )]
    std::fs::write(path, bytes).with_context(|| format!("write {}", path.display()))
}
