//! What is known of every device, over restarts: sealed in the log, copied into `devices.json`.
//!
//! The order is seal, then copy. A copy that is older than the log is brought up to date at the next
//! start by reading the control entries behind the place it names, backwards along the pin that
//! every entry carries; a copy that is missing or unreadable is made from the whole log in the same
//! way. Where the log's beginning is no longer on this device, nobody can say what was known of a
//! device: its values are flagged until a person confirms it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use evidence::control::{Control, DeviceEvent, DeviceReading, DeviceRole, DeviceStatement, kind};
use evidence::entry::{Body, ControlBody, Entry};
use evidence::hash::sha256;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::gate::Gate;
use super::known::Known;
use super::rules;
use crate::buffer::{BufferError, LogReader};
use crate::config::GatewayConfig;
use crate::durable::{self, Access};
use crate::quarantine::set_aside;
use crate::recorder::{Recorder, RecorderError};
use crate::requests::{Listener, Sealed};

const FILE: &str = "devices.json";
/// The copy is renewed at the latest after this many entries: a day or two.
const KEEP_EVERY: u64 = 2_000;

/// Why the book cannot be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BookError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] BufferError),
    /// The file system refused.
    #[error(transparent)]
    Files(#[from] std::io::Error),
}

/// See the module. Owned by whoever owns the recorder.
#[derive(Debug)]
pub struct Book {
    data_dir: PathBuf,
    /// One per Modbus device, in the order of the configuration.
    gates: Vec<Arc<Gate>>,
    known: BTreeMap<String, Known>,
    /// Statements below this index are in `known`.
    upto: u64,
    /// Some of them are not: they were lost, and nobody knows of which device they spoke.
    lost: bool,
    /// The same of the copy on disk.
    kept_upto: Option<u64>,
    /// The rules of this configuration that are not in the measurement table, in words.
    rules: Vec<String>,
    /// The hash of those that were sealed last.
    rules_sealed: Option<String>,
}

/// A device whose values are flagged, and why, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The device.
    pub device: String,
    /// What is wrong and what to do about it.
    pub text: String,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    upto: u64,
    /// Statements were lost: a device that is not among `devices` is no new one.
    #[serde(default)]
    lost: bool,
    /// The hash of the rules that were sealed last.
    #[serde(default)]
    rules: Option<String>,
    devices: BTreeMap<String, StoredDevice>,
}

#[derive(Serialize, Deserialize)]
struct StoredDevice {
    accepted: Vec<StoredReading>,
    seen: Vec<StoredReading>,
    exchanged: bool,
    changed: bool,
    doubted: bool,
}

#[derive(Serialize, Deserialize)]
struct StoredReading {
    is_setting: bool,
    name: String,
    text: String,
    words: Vec<u16>,
}

impl Book {
    /// Opens what is known and prepares a gate for every Modbus device. Writes nothing.
    ///
    /// # Errors
    ///
    /// The log or the copy cannot be read for a reason that is not its content.
    pub async fn open(config: &GatewayConfig, reader: LogReader) -> Result<Self, BookError> {
        let mut book = Self {
            data_dir: config.data_dir.clone(),
            gates: Vec::new(),
            known: BTreeMap::new(),
            upto: 0,
            lost: false,
            kept_upto: None,
            rules: rules::lines(config),
            rules_sealed: None,
        };
        let copy = durable::read_file(&config.data_dir.join(FILE))?;
        let copy = copy.map(|bytes| serde_json::from_slice::<Stored>(&bytes));
        match copy {
            Some(Ok(stored)) => book.take_copy(stored),
            Some(Err(error)) => {
                tracing::error!("{FILE} is unreadable ({error}); it is made again from the log");
            }
            None => {}
        }
        book.read_log(reader).await?;
        for device in &config.modbus {
            let known = book.of(&device.name).clone();
            book.gates
                .push(Arc::new(Gate::new(&device.name, &device.watch, known)));
        }
        Ok(book)
    }

    /// The gates, in the order of the Modbus devices of the configuration.
    #[must_use]
    pub fn gates(&self) -> &[Arc<Gate>] {
        &self.gates
    }

    /// The gate of a device.
    #[must_use]
    pub fn gate(&self, device: &str) -> Option<&Arc<Gate>> {
        self.gates.iter().find(|gate| gate.device() == device)
    }

    /// Every device whose values are flagged for what it is or how it is set.
    #[must_use]
    pub fn waiting(&self) -> Vec<Waiting> {
        let said = |gate: &Arc<Gate>| {
            let device = gate.device().to_owned();
            gate.waiting().into_iter().map(move |text| Waiting {
                device: device.clone(),
                text,
            })
        };
        self.gates.iter().flat_map(said).collect()
    }

    /// Seals what the gates have found since the last call. What finds no room waits for the next.
    ///
    /// # Errors
    ///
    /// [`RecorderError`]: stop using the recorder and start again.
    pub async fn settle(&mut self, recorder: &mut Recorder) -> Result<(), RecorderError> {
        if !self.name_rules(recorder).await? {
            return Ok(());
        }
        for gate in self.gates.clone() {
            while let Some(statement) = gate.unsealed() {
                let control = Control::Device(statement.clone());
                let Some((index, _)) = recorder.seal_control(&control).await? else {
                    return Ok(());
                };
                gate.sealed();
                self.apply(&statement, index);
                self.keep();
            }
        }
        // Every statement passes through here, so the log up to its end holds no other one. Without
        // this a copy could fall behind what is left of a pruned log.
        let size = recorder.log().chain().size();
        if self.kept_upto.is_none_or(|kept| size >= kept + KEEP_EVERY) {
            self.upto = size;
            self.keep();
        }
        Ok(())
    }

    /// Seals the rules that decide which values count and are not in the measurement table, when they
    /// differ from those sealed last. `false` when there is no room.
    async fn name_rules(&mut self, recorder: &mut Recorder) -> Result<bool, RecorderError> {
        let hash = sha256(self.rules.join("\n").as_bytes()).to_hex();
        let as_before = match &self.rules_sealed {
            Some(sealed) => *sealed == hash,
            None => self.rules.is_empty(),
        };
        if as_before {
            return Ok(true);
        }
        let parts = rules::parts(&self.rules);
        for text in parts {
            let to = recorder.log().chain().size().saturating_sub(1);
            let annotation = Control::Annotation {
                from: to,
                to,
                text,
                person: None,
            };
            if recorder.seal_control(&annotation).await?.is_none() {
                return Ok(false);
            }
        }
        // Lost in a crash, the same words are sealed once more: true, and harmless.
        self.rules_sealed = Some(hash);
        self.keep();
        Ok(true)
    }

    fn apply(&mut self, statement: &DeviceStatement, index: u64) {
        self.upto = self.upto.max(index + 1);
        if let Some((event, readings)) = &statement.event {
            self.of(&statement.device).apply(event, readings);
        }
    }

    /// What is known of a device. Where statements were lost, one that nothing is known of is in doubt, and
    /// stays so over restarts.
    fn of(&mut self, device: &str) -> &mut Known {
        let doubted = self.lost;
        let entry = self.known.entry(device.to_owned());
        entry.or_insert_with(|| Known {
            doubted,
            ..Known::default()
        })
    }

    /// Writes the copy. The log has it all, so a failure costs time at the next start and nothing else.
    fn keep(&mut self) {
        let stored = Stored {
            upto: self.upto,
            lost: self.lost,
            rules: self.rules_sealed.clone(),
            devices: self
                .known
                .iter()
                .map(|(name, known)| (name.clone(), StoredDevice::from(known)))
                .collect(),
        };
        let path = self.data_dir.join(FILE);
        let written = serde_json::to_vec_pretty(&stored)
            .map_err(std::io::Error::other)
            .and_then(|bytes| {
                if path.exists() && !is_readable(&path) {
                    set_aside(&path, &self.data_dir.join("quarantine"))?;
                }
                durable::write_file(&path, &bytes, Access::All)
            });
        match written {
            Ok(()) => self.kept_upto = Some(self.upto),
            Err(error) => {
                tracing::warn!("What is known of the devices stays in the log only: {error}");
            }
        }
    }

    fn take_copy(&mut self, stored: Stored) {
        (self.upto, self.lost) = (stored.upto, stored.lost);
        self.kept_upto = Some(stored.upto);
        self.rules_sealed = stored.rules;
        self.known = stored
            .devices
            .into_iter()
            .map(|(name, device)| (name, Known::from(device)))
            .collect();
    }

    /// Takes the statements from `upto` on, and notes if the log does not reach back that far.
    async fn read_log(&mut self, mut reader: LogReader) -> Result<(), BookError> {
        let (first, end) = reader.bounds();
        let mut next = end.checked_sub(1);
        let mut found: Vec<(u64, DeviceStatement)> = Vec::new();
        let mut whole = true;
        while let Some(index) = next.filter(|&index| index >= self.upto) {
            let row = if index < first {
                None
            } else {
                match reader.row(index).await {
                    Ok(row) => row,
                    Err(BufferError::Missing { .. }) => None,
                    Err(error) => return Err(error.into()),
                }
            };
            let Some(row) = row else {
                whole = false;
                break;
            };
            let Ok(signed) = Entry::parse(&row.entry) else {
                whole = false;
                break;
            };
            if let Body::Control {
                kind: kind::DEVICE,
                body,
            } = &signed.entry.body
            {
                let bytes = match body {
                    ControlBody::Inline(bytes) => Some(bytes.as_slice()),
                    ControlBody::Payload(_) => row.payload.as_deref(),
                };
                let decoded = bytes.map(|bytes| Control::decode(kind::DEVICE, bytes));
                match decoded {
                    Some(Ok(Control::Device(statement))) => found.push((index, statement)),
                    _ => whole = false,
                }
            }
            next = signed.entry.control.map(|(index, _leaf)| index);
        }
        self.lost |= !whole;
        for (index, statement) in found.iter().rev() {
            self.apply(statement, *index);
        }
        if !whole {
            for known in self.known.values_mut() {
                // What lies between the copy and what is left of the log is unknown.
                known.doubted = true;
            }
            tracing::error!(
                "Entries that may speak of devices are no longer on this device; \
                 their values are flagged until each device is confirmed"
            );
        }
        Ok(())
    }
}

/// Requests to confirm a device.
impl Listener for Book {
    fn objection(&self, control: &Control) -> Option<String> {
        let Control::Device(statement) = control else {
            return None;
        };
        let device = &statement.device;
        let Some((DeviceEvent::Confirmed { .. }, readings)) = &statement.event else {
            return Some(String::from(
                "of a device only a confirmation can be asked for",
            ));
        };
        let Some(gate) = self.gate(device) else {
            return Some(format!("the configuration has no Modbus device `{device}`"));
        };
        if !gate.known().is(readings) {
            return Some(format!(
                "{device} says something else by now; look at `fieldseal-gateway status` and confirm again"
            ));
        }
        if gate.unsealed().is_some() {
            return Some(format!(
                "what {device} said last is not in the log yet; ask again in a moment"
            ));
        }
        let contradictions = gate.contradictions();
        (!contradictions.is_empty()).then(|| format!("{device}: {}", contradictions.join("; ")))
    }

    fn sealed(&mut self, control: &Control, at: Sealed) -> std::io::Result<()> {
        let Control::Device(statement) = control else {
            return Ok(());
        };
        // Told again after a crash: the log was read since.
        if at.index < self.upto {
            return Ok(());
        }
        if let Some((event, readings)) = &statement.event
            && let Some(gate) = self.gate(&statement.device)
        {
            gate.confirmed(event, readings);
        }
        self.apply(statement, at.index);
        self.keep();
        Ok(())
    }
}

/// What is unreadable is kept aside, not overwritten.
fn is_readable(path: &Path) -> bool {
    durable::read_file(path)
        .ok()
        .flatten()
        .is_some_and(|bytes| serde_json::from_slice::<Stored>(&bytes).is_ok())
}

impl From<&Known> for StoredDevice {
    fn from(known: &Known) -> Self {
        let stored = |list: &[DeviceReading]| {
            list.iter()
                .map(|reading| StoredReading {
                    is_setting: reading.role == DeviceRole::Setting,
                    name: reading.name.clone(),
                    text: reading.text.clone(),
                    words: reading.words.clone(),
                })
                .collect()
        };
        Self {
            accepted: stored(&known.accepted),
            seen: stored(&known.seen),
            exchanged: known.exchanged,
            changed: known.changed,
            doubted: known.doubted,
        }
    }
}

impl From<StoredDevice> for Known {
    fn from(stored: StoredDevice) -> Self {
        let read = |list: Vec<StoredReading>| {
            list.into_iter()
                .map(|reading| DeviceReading {
                    role: if reading.is_setting {
                        DeviceRole::Setting
                    } else {
                        DeviceRole::Identity
                    },
                    name: reading.name,
                    text: reading.text,
                    words: reading.words,
                })
                .collect()
        };
        Self {
            accepted: read(stored.accepted),
            seen: read(stored.seen),
            exchanged: stored.exchanged,
            changed: stored.changed,
            doubted: stored.doubted,
        }
    }
}
