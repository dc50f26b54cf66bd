//! A past period of the plant, made by the gateway's own recorder with a clock that is moved.
//!
//! The samples enter where those of a device enter: raw words of a register image, numbers of a
//! message, checked at the edge, recorded tick by tick. From there on it is the code that runs in
//! the field: journal, segments, daily keys, day files. What is *not* made is a cosignature:
//! nobody outside saw this log while it grew, so a verifier finds one time bracket as wide as the
//! whole period, and says so.

use std::collections::BTreeMap;
use std::sync::Arc;

use evidence::measurement::{self, MeasurementConfig, Source};
use evidence::quality::Quality;
use evidence::value::json_mantissa;
use gateway::checks::Watch;
use gateway::clock::{Clock as _, ManualClock};
use gateway::config::{GatewayConfig, MESSAGE_STREAMS_FROM, polled_streams};
use gateway::faults::NoFaults;
use gateway::identity::{Identity, IdentityError};
use gateway::mqtt::payload::Payload;
use gateway::recorder::{Recorder, RecorderError, Settings, Software, Surroundings};
use gateway::sample::{PointSample, TickSamples};
use thiserror::Error;

use crate::mqtt_publisher::{AMBIENT_TOPIC, GAS_TOPIC, ambient_message, gas_message};
use crate::registers::{self, DEVICES, Table};
use crate::site::{Site, SiteState};

/// Why a past period could not be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// The period does not consist of whole ticks in order.
    #[error("the period {from_ms}..{to_ms} is not made of whole ticks of {tick_ms} ms")]
    Period {
        /// First instant, unix milliseconds.
        from_ms: u64,
        /// End, unix milliseconds.
        to_ms: u64,
        /// The tick.
        tick_ms: u64,
    },
    /// The configuration polls at more than one interval, or not at all.
    #[error("a history is made of one polled stream, the configuration has {0}")]
    Streams(usize),
    /// The keys could not be made.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The recorder stopped.
    #[error(transparent)]
    Recorder(#[from] RecorderError),
}

/// A period to make.
#[derive(Debug, Clone)]
pub struct History {
    /// What is read, and where the log is kept; the directory must hold no log yet.
    pub config: GatewayConfig,
    /// First instant, unix milliseconds; a multiple of the polling interval.
    pub from_ms: u64,
    /// End, unix milliseconds; likewise.
    pub to_ms: u64,
    /// How often the analyser and the thermometer publish, in milliseconds; a multiple of the
    /// polling interval.
    pub publish_every_ms: u64,
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Entries in the log.
    pub entries: u64,
    /// Samples recorded, polled and published.
    pub samples: u64,
}

impl History {
    /// Makes the log: keys, configuration, and every tick of the period, ended by an orderly stop.
    /// `progress` is told the unix milliseconds reached, once a simulated day.
    ///
    /// Safe to repeat after a crash only in an empty directory: a half-made log would go on where
    /// it stopped with a gap that never was.
    ///
    /// # Errors
    ///
    /// [`HistoryError`].
    pub async fn make(
        &self,
        site: &Site,
        software: Software,
        mut progress: impl FnMut(u64),
    ) -> Result<Made, HistoryError> {
        let streams = polled_streams(&self.config);
        let [stream] = *streams else {
            return Err(HistoryError::Streams(streams.len()));
        };
        let tick_ms = u64::from(stream) * 1_000;
        let whole = |ms: u64| ms.is_multiple_of(tick_ms);
        if self.to_ms <= self.from_ms
            || !(whole(self.from_ms) && whole(self.to_ms) && whole(self.publish_every_ms))
        {
            return Err(HistoryError::Period {
                from_ms: self.from_ms,
                to_ms: self.to_ms,
                tick_ms,
            });
        }
        Identity::create(&self.config.data_dir, &self.config.origin)?;
        // The machine started a minute before the period.
        let clock = ManualClock::trusted(self.from_ms, 60_000);
        let mut settings = Settings::of(&self.config, software);
        // What a power cut would cost matters to nobody here, and syncing a simulated year would.
        settings.sync_interval_ms = 3_600_000;
        let around = Surroundings {
            clock: Arc::new(clock.clone()),
            os_boot: "simulated".to_owned(),
            faults: Arc::new(NoFaults),
        };
        let mut recorder = Recorder::open(settings, around).await?;
        let mut instruments = Instruments::new(&self.config, stream);
        let mut samples = 0_u64;
        let mut now_ms = self.from_ms;
        while now_ms < self.to_ms {
            let state = site.state_at(i64::try_from(now_ms).unwrap_or(i64::MAX));
            if now_ms.is_multiple_of(self.publish_every_ms) {
                for published in instruments.published(&state, now_ms) {
                    samples += u64::try_from(published.len()).unwrap_or(0);
                    let received_ms = clock.monotonic_ms();
                    recorder
                        .record_message(MESSAGE_STREAMS_FROM, received_ms, published, None)
                        .await?;
                }
            }
            let polled = instruments.polled(&state, now_ms);
            samples += u64::try_from(polled.samples.len()).unwrap_or(0);
            let begun_ms = clock.monotonic_ms();
            clock.advance(tick_ms);
            let axis = recorder.axes().borrow().streams.get(&stream).copied();
            if let Some(axis) = axis {
                recorder.record(axis.tick_at(begun_ms), polled).await?;
            }
            now_ms += tick_ms;
            if now_ms.is_multiple_of(60_000) {
                recorder.tend().await?;
            }
            if now_ms.is_multiple_of(86_400_000) {
                progress(now_ms);
            }
        }
        let mut released = recorder.released();
        recorder.close().await?;
        let entries = *released.borrow_and_update();
        Ok(Made { entries, samples })
    }
}

/// What stands between the plant's state and the recorder: the gateway's own decoding and checks,
/// fed from the register images and messages that the sockets of the live plant show.
struct Instruments<'a> {
    config: &'a GatewayConfig,
    stream: u16,
    table: MeasurementConfig,
    /// By point.
    watches: BTreeMap<u16, Watch>,
}

impl<'a> Instruments<'a> {
    fn new(config: &'a GatewayConfig, stream: u16) -> Self {
        let table = config.measurement(|_| 0);
        let watches = (0_u16..)
            .zip(&table.points)
            .map(|(index, point)| (index, Watch::new(point)))
            .collect();
        Self {
            config,
            stream,
            table,
            watches,
        }
    }

    /// One sample per polled point.
    fn polled(&mut self, state: &SiteState, at_ms: u64) -> TickSamples {
        let mut samples = Vec::new();
        for (index, point) in self.table.points_of(self.stream) {
            let device = self.table.devices.get(usize::from(point.device));
            let raw = device
                .and_then(|device| words(&device.name, &point.source, state))
                .and_then(|words| point.format.raw(&words));
            let mut sample = match raw {
                Some(raw) => PointSample::good(index, raw),
                None => PointSample::absent(index, Quality::ILLEGAL_ADDRESS, 0),
            };
            if let Some(watch) = self.watches.get_mut(&index) {
                watch.check(&mut sample, at_ms);
            }
            samples.push(sample);
        }
        TickSamples {
            stream: self.stream,
            samples,
        }
    }

    /// The samples of each message that the sensors publish now, those of one message together.
    fn published(&mut self, state: &SiteState, at_ms: u64) -> Vec<Vec<PointSample>> {
        if self.config.mqtt.is_empty() {
            return Vec::new();
        }
        let messages = [
            (GAS_TOPIC, gas_message(state)),
            (AMBIENT_TOPIC, ambient_message(state)),
        ];
        let mut all = Vec::new();
        for (topic, message) in messages {
            let mut payload = Payload::new(message.as_bytes());
            let mut samples = Vec::new();
            for (index, point) in self.table.points_of(MESSAGE_STREAMS_FROM) {
                let Source::Message {
                    topic: wanted,
                    pointer,
                } = &point.source
                else {
                    continue;
                };
                if wanted != topic {
                    continue;
                }
                let mantissa = payload
                    .number(pointer.as_deref())
                    .ok()
                    .and_then(|text| json_mantissa(text.as_bytes(), point.decimals));
                let mut sample = match mantissa {
                    Some(mantissa) => PointSample::good(index, mantissa),
                    None => PointSample::absent(index, Quality::MALFORMED, 0),
                };
                if let Some(watch) = self.watches.get_mut(&index) {
                    watch.check(&mut sample, at_ms);
                }
                samples.push(sample);
            }
            if !samples.is_empty() {
                all.push(samples);
            }
        }
        all
    }
}

/// What a device's register holds, as it would come over the wire.
fn words(device: &str, source: &Source, state: &SiteState) -> Option<Vec<u16>> {
    let Source::Modbus {
        table,
        address,
        words,
    } = source
    else {
        return None;
    };
    let table = match table {
        measurement::Table::Discrete => Table::Discrete,
        measurement::Table::Holding => Table::Holding,
        measurement::Table::Input => Table::Input,
        measurement::Table::Coil => return None,
    };
    let device = DEVICES.iter().find(|known| known.name == device)?;
    registers::image(device, table, *address, u16::from(*words), state)
}
