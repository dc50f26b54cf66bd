//! What a recorder is told once, and what surrounds it.

use std::path::PathBuf;
use std::sync::Arc;

use evidence::hash::{Hash, Origin};
use evidence::measurement::MeasurementConfig;

use crate::buffer::SpaceLimits;
use crate::clock::Clock;
use crate::config::{FullPolicy, GatewayConfig};
use crate::faults::Faults;

/// What the recorder is told once.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The log's name.
    pub origin: Origin,
    /// Where keys, journal and day files are.
    pub data_dir: PathBuf,
    /// What is measured. `first_tick` of the streams is decided by the recorder.
    pub table: MeasurementConfig,
    /// Length of a segment in milliseconds; divides an hour.
    pub segment_ms: u32,
    /// How often the journal is synced, in milliseconds.
    pub sync_interval_ms: u64,
    /// The bounds of the buffer.
    pub limits: SpaceLimits,
    /// What happens when they are reached.
    pub policy: FullPolicy,
    /// Days that acknowledged files are kept where the room allows.
    pub keep_days: u32,
    /// The program that seals.
    pub software: Software,
}

/// The running program, as it is named in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Software {
    /// Its version.
    pub version: String,
    /// SHA-256 of its file.
    pub binary: Hash,
}

/// What the recorder is surrounded by, as values.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The kernel's id of this boot: tells a power cut from the death of the process.
    pub os_boot: String,
    /// Planned faults; [`crate::faults::NoFaults`] in the field.
    pub faults: Arc<dyn Faults>,
}

impl Settings {
    /// The recorder's part of a configuration.
    #[must_use]
    pub fn of(config: &GatewayConfig, software: Software) -> Self {
        const MEGABYTE: u64 = 1_000_000;
        Self {
            origin: config.origin.clone(),
            data_dir: config.data_dir.clone(),
            table: config.measurement(|_| 0),
            segment_ms: config.segment_s * 1_000,
            sync_interval_ms: u64::from(config.sync_interval_s) * 1_000,
            limits: SpaceLimits {
                max_bytes: config.buffer.max_mb * MEGABYTE,
                min_free_bytes: config.buffer.min_free_mb * MEGABYTE,
                ballast_bytes: 4 * MEGABYTE,
            },
            policy: config.buffer.policy,
            keep_days: config.buffer.keep_days,
            software,
        }
    }
}
