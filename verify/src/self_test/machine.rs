//! What a record says of the machine and of the program's own file.

use ring::digest::{Context, SHA256};
use serde::Serialize;

/// The machine and the program's file, as far as they can be read; `unknown` otherwise.
#[derive(Debug, Serialize)]
pub(super) struct Machine {
    /// The program's file.
    pub(super) binary: String,
    /// SHA-256 of it, to compare with the published one.
    pub(super) binary_sha256: String,
    /// Operating system and kernel.
    pub(super) system: String,
    pub(super) architecture: String,
    pub(super) processor: String,
    pub(super) processors: u16,
    pub(super) host: String,
}

impl Machine {
    pub(super) fn here() -> Self {
        let unknown = || "unknown".to_owned();
        let first_line = |path: &str| {
            let text = std::fs::read_to_string(path).ok()?;
            Some(text.lines().next()?.trim().to_owned())
        };
        let binary = std::env::current_exe().ok();
        let named = |name: &str, path: &str| {
            let text = std::fs::read_to_string(path).ok()?;
            let line = text.lines().find(|line| line.starts_with(name))?;
            let value = line.split_once([':', '='])?.1;
            Some(value.trim().trim_matches('"').to_owned())
        };
        let kernel = first_line("/proc/sys/kernel/osrelease").unwrap_or_default();
        let system = named("PRETTY_NAME", "/etc/os-release")
            .unwrap_or_else(|| std::env::consts::OS.to_owned());
        Self {
            binary_sha256: binary.as_deref().and_then(hash).unwrap_or_else(unknown),
            binary: binary.map_or_else(unknown, |path| path.display().to_string()),
            system: format!("{system}, kernel {kernel}"),
            architecture: std::env::consts::ARCH.to_owned(),
            processor: named("model name", "/proc/cpuinfo").unwrap_or_else(unknown),
            processors: crate::pipeline::available_threads(),
            host: first_line("/proc/sys/kernel/hostname").unwrap_or_else(unknown),
        }
    }
}

/// The hash of a file, a piece at a time.
fn hash(path: &std::path::Path) -> Option<String> {
    use std::io::Read as _;
    let mut file = std::fs::File::open(path).ok()?;
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer).ok()?;
        if read == 0 {
            return Some(hex::encode(context.finish()));
        }
        context.update(buffer.get(..read)?);
    }
}
