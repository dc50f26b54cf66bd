//! What a command takes from the machine it runs on: clock, boot, program.

use std::path::Path;
use std::sync::Arc;

use evidence::hash::Hash;
use ring::rand::SystemRandom;

use crate::clock::{Clock, SystemClock};
use crate::config::GatewayConfig;
use crate::faults::NoFaults;
use crate::notify::Notifier;
use crate::recorder::{Software, Surroundings};
use crate::run::Environment;

/// What `run` needs.
pub(super) fn environment(config: &GatewayConfig, notifier: Notifier) -> Environment {
    Environment {
        clock: Arc::new(SystemClock::new(config.clock)),
        os_boot: os_boot(),
        software: software(),
        random: Arc::new(SystemRandom::new()),
        notifier,
    }
}

/// The kernel's id of this boot; constant where there is none, so that every restart counts as the
/// death of the process.
pub(super) fn os_boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map_or_else(|_none| String::from("unknown"), |id| id.trim().to_owned())
}

/// This program: its version and the hash of its file.
pub(super) fn software() -> Software {
    let binary = std::env::current_exe().and_then(|path| hash_of(&path));
    Software {
        version: format!("fieldseal-gateway {}", env!("CARGO_PKG_VERSION")),
        binary: binary.unwrap_or_else(|_unreadable| Hash::default()),
    }
}

/// The hash of a file, read in pieces: the program is larger than what it needs to run.
fn hash_of(path: &Path) -> std::io::Result<Hash> {
    use std::io::Read as _;

    let mut file = std::fs::File::open(path)?;
    let mut hashing = ring::digest::Context::new(&ring::digest::SHA256);
    let mut piece = vec![0; 64 << 10];
    while let count @ 1.. = file.read(&mut piece)? {
        hashing.update(piece.get(..count).unwrap_or_default());
    }
    let mut hash = Hash::default();
    hash.0.copy_from_slice(hashing.finish().as_ref());
    Ok(hash)
}

/// The machine's clock, asked once.
pub(super) async fn clock(config: &GatewayConfig) -> Arc<dyn Clock> {
    let clock = SystemClock::new(config.clock);
    clock.refresh().await;
    Arc::new(clock)
}

/// What the recorder needs.
pub(super) fn around(clock: Arc<dyn Clock>) -> Surroundings {
    Surroundings {
        clock,
        os_boot: os_boot(),
        faults: Arc::new(NoFaults),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_file_is_hashed_in_pieces_as_it_is_as_a_whole() {
        let path = std::env::current_exe().unwrap();
        let whole = evidence::hash::sha256(&std::fs::read(&path).unwrap());
        assert_eq!(super::hash_of(&path).unwrap(), whole);
    }
}
