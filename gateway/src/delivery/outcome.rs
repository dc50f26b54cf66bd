//! What the delivery knows and tells: to the recorder, the live lane, and the status.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use evidence::entry::Freshness;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::durable;

/// What a status page shows of the delivery.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryStatus {
    /// Entries below this index are acknowledged by a verified cosignature.
    pub acknowledged: u64,
    /// The time of the newest cosignature, in unix seconds.
    pub cosigned_unix_s: Option<u64>,
    /// What went wrong last, in words; `None` after a success.
    pub error: Option<String>,
    /// Whether it stopped until somebody looks (it tries hourly).
    pub refused: bool,
    /// How the collector's head stands to ours.
    pub head: HeadState,
}

/// How the collector's head stands to ours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadState {
    /// Not asked yet, or not reached.
    #[default]
    Unconfirmed,
    /// Its log is a beginning of ours.
    Confirmed,
    /// It has entries that we do not have.
    Ahead,
    /// It has other entries than we have.
    Forked,
}

/// The durable memory of the delivery.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Memory {
    pub(super) acknowledged: u64,
    pub(super) cosigned_unix_s: Option<u64>,
}

/// What the delivery tells the rest of the gateway.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Entries below this index are acknowledged.
    pub acknowledged: watch::Sender<u64>,
    /// The newest verified statement to pin.
    pub freshness: watch::Sender<Option<Freshness>>,
    /// For how many seconds somebody watches live values.
    pub watch_for_s: watch::Sender<u32>,
    /// For the status page.
    pub status: Arc<Mutex<DeliveryStatus>>,
}

impl Outcome {
    /// Starts from what the data directory remembers.
    ///
    /// A damaged memory counts as none.
    #[must_use]
    pub fn load(data_dir: &Path) -> Self {
        let memory = durable::read_file(&memory_path(data_dir)).ok().flatten();
        let memory: Option<Memory> = memory.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let acknowledged = memory.as_ref().map_or(0, |memory| memory.acknowledged);
        let cosigned_unix_s = memory.and_then(|memory| memory.cosigned_unix_s);
        let status = DeliveryStatus {
            acknowledged,
            cosigned_unix_s,
            ..DeliveryStatus::default()
        };
        Self {
            acknowledged: watch::Sender::new(acknowledged),
            freshness: watch::Sender::new(None),
            watch_for_s: watch::Sender::new(0),
            status: Arc::new(Mutex::new(status)),
        }
    }

    /// The status as it is.
    #[must_use]
    pub fn snapshot(&self) -> DeliveryStatus {
        self.status
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut DeliveryStatus)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

pub(super) fn memory_path(data_dir: &Path) -> PathBuf {
    data_dir.join("delivery.json")
}
