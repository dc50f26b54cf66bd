//! Open segments: from the rows of the journal to data and gap entries.

use std::sync::Arc;

use evidence::control::Control;
use evidence::entry::{Body, ClockReading, GapReason, Ticks};

use super::clock_event::Unplaced;
use super::{HOUR_MS, Recorder, RecorderError, cut_text};
use crate::durable::{self, Access};
use crate::journal::JournalRow;
use crate::log::LogError;
use crate::sample::PointSample;
use crate::seal::{self, Payload, SealError};

/// The samples of a stream that are not sealed yet.
#[derive(Debug)]
pub(super) struct OpenSegment {
    pub(super) messages: bool,
    pub(super) first: u64,
    pub(super) end: u64,
    /// The tick after the last one that is complete.
    pub(super) next: u64,
    pub(super) rows: Vec<JournalRow>,
}

impl OpenSegment {
    /// First tick, and the tick after the last one that has samples or was listened to.
    pub(super) fn complete(&self) -> (u64, u64) {
        let after_rows = self.rows.last().map_or(self.first, |row| row.tick + 1);
        (self.first, self.next.max(after_rows))
    }
}

impl Recorder {
    /// Counts the ticks of a message stream before `now` as listened to, sealing what is complete.
    pub(super) async fn cover(&mut self, stream: u16, now: u64) -> Result<(), RecorderError> {
        if self.stalled.is_some() {
            return Ok(());
        }
        let tick_ms = self
            .timeline
            .axis(stream)
            .map_or(1, |axis| u64::from(axis.tick_ms));
        while let Some(open) = self.open.get(&stream).filter(|open| open.messages) {
            if now < open.end {
                break;
            }
            if (now - open.next.min(now)) * tick_ms > HOUR_MS {
                self.skip(stream, now).await?;
                break;
            }
            let end = open.end;
            if !self.close_segment(stream, end).await? {
                return Ok(());
            }
        }
        let shift = self.timeline.axis(stream).and_then(|axis| axis.shift);
        let Some(open) = self.open.get_mut(&stream) else {
            return Ok(());
        };
        if open.messages && now > open.next {
            open.next = now;
            if let Some(journal) = &mut self.journal {
                // Losing this note costs an empty second after a crash, never a message.
                if let Err(error) = journal.cover(stream, now - 1, shift).await {
                    self.replace_journal(&error).await?;
                }
            }
        }
        Ok(())
    }

    /// Seals ticks `first..end` of a stream's open segment and begins the next one; `false` when there
    /// is no room, and the samples stay where they are.
    pub(super) async fn close_segment(
        &mut self,
        stream: u16,
        end: u64,
    ) -> Result<bool, RecorderError> {
        let Some(open) = self.open.get(&stream) else {
            return Ok(true);
        };
        let first = open.first;
        let encoded = match self.log.chain().config() {
            Some(config) => seal::payload(&config.config, stream, first, end, &open.rows),
            None => return Ok(true),
        };
        let sealed = self
            .seal_data(stream, first, end, encoded, None, self.stamp())
            .await;
        let Some(index) = sealed? else {
            return Ok(false);
        };
        if !self.timeline.is_trusted() {
            self.unplaced.push(Unplaced {
                stream,
                index,
                shift: None,
            });
        }
        self.begin_segment(stream, end);
        Ok(true)
    }

    /// Begins a segment at `first`, taking over rows that are already beyond it.
    pub(super) fn begin_segment(&mut self, stream: u16, first: u64) {
        let Some(axis) = self.timeline.axis(stream) else {
            return;
        };
        let table = self.log.chain().config();
        let messages = table
            .and_then(|config| config.config.stream(stream))
            .is_some_and(|stream| stream.messages);
        let end = axis.segment_end(first, self.settings.segment_ms);
        let old = self.open.remove(&stream);
        let mut rows = old.map(|open| open.rows).unwrap_or_default();
        rows.retain(|row| row.tick >= first);
        let next = rows
            .last()
            .map_or(first, |row| if messages { first } else { row.tick + 1 });
        self.open.insert(
            stream,
            OpenSegment {
                messages,
                first,
                end,
                next,
                rows,
            },
        );
    }

    /// The process was suspended for more than an hour: what is open is sealed as far as it goes, and
    /// the rest until `tick` is a gap.
    pub(super) async fn skip(&mut self, stream: u16, tick: u64) -> Result<(), RecorderError> {
        let (first, next) = self
            .open
            .get(&stream)
            .map_or((tick, tick), OpenSegment::complete);
        if next > first && !self.close_segment(stream, next).await? {
            return Ok(());
        }
        let text = "the gateway did not run although the machine did";
        self.gap(stream, next, tick, GapReason::Startup, Some(text))
            .await?;
        Ok(())
    }

    /// Seals a gap and begins the next segment behind it; `false` when there is no room.
    pub(super) async fn gap(
        &mut self,
        stream: u16,
        first: u64,
        end: u64,
        reason: GapReason,
        text: Option<&str>,
    ) -> Result<bool, RecorderError> {
        if end <= first {
            return Ok(true);
        }
        let ticks = Ticks {
            stream,
            first,
            count: end - first,
        };
        let body = Body::Gap {
            ticks,
            reason,
            text: text.map(str::to_owned),
        };
        let Some(index) = self
            .append(body, None, self.stamp(), Some((stream, end)))
            .await?
        else {
            return Ok(false);
        };
        if !self.timeline.is_trusted() {
            self.unplaced.push(Unplaced {
                stream,
                index,
                shift: None,
            });
        }
        self.begin_segment(stream, end);
        Ok(true)
    }

    /// Samples as the format accepts them, whatever the source delivered.
    pub(super) fn make_sealable(&self, stream: u16, samples: &mut [PointSample]) {
        let Some(config) = self.log.chain().config() else {
            return;
        };
        for sample in samples {
            seal::make_sealable(&config.config, stream, sample);
        }
    }

    /// Seals ticks `first..end` of a stream; `None` when there is no room. `recovered` are the rows it
    /// was encoded from, if they are not those of the open segment.
    ///
    /// Samples that do not encode or do not pass our own check are a defect, but no reason to die at
    /// every start from then on: they are written to the quarantine as text, the ticks are sealed as
    /// not polled, and the log says so.
    pub(super) async fn seal_data(
        &mut self,
        stream: u16,
        first: u64,
        end: u64,
        encoded: Result<Payload, SealError>,
        recovered: Option<&[JournalRow]>,
        stamp: ClockReading,
    ) -> Result<Option<u64>, RecorderError> {
        let Some(config) = self.log.chain().config().map(Arc::clone) else {
            return Ok(None);
        };
        let ticks = Ticks {
            stream,
            first,
            count: end - first,
        };
        let forget = Some((stream, end));
        let why = match encoded {
            Ok(payload) => {
                let body = Body::Data {
                    ticks,
                    payload: payload.signed,
                };
                match self.append(body, Some(payload.bytes), stamp, forget).await {
                    Err(RecorderError::Log(error @ LogError::OwnCheck { .. })) => error.to_string(),
                    result => return result,
                }
            }
            Err(error) => error.to_string(),
        };
        tracing::error!(stream, first, end, "Samples cannot be sealed: {why}");
        let quarantine = self.log.buffer().quarantine().to_owned();
        durable::create_dir(&quarantine)?;
        let name = format!("unsealable-{stream}-{first}.txt");
        let open = self.open.get(&stream).map(|open| open.rows.as_slice());
        let rows = recovered.or(open).unwrap_or_default();
        let text = format!("{why}\n{rows:#?}\n");
        durable::write_file(&quarantine.join(&name), text.as_bytes(), Access::All)?;
        let payload = seal::payload(&config.config, stream, first, end, &[])?;
        let body = Body::Data {
            ticks,
            payload: payload.signed,
        };
        let index = self
            .append(body, Some(payload.bytes), stamp, forget)
            .await?;
        if let Some(index) = index {
            let text =
                format!("samples of this entry could not be sealed and are in {name}: {why}");
            let annotation = Control::Annotation {
                from: index,
                to: index,
                text: cut_text(&text, 1_000),
                person: None,
            };
            self.control(&annotation, stamp).await?;
        }
        Ok(index)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use evidence::decimal::Decimal;
    use evidence::entry::Entry;
    use evidence::hash::{Hash, Origin};
    use evidence::measurement::{
        Device, MeasurementConfig, Point, PointKind, Source, Stream, Table,
    };
    use evidence::value::{Format, Kind, Order};

    use super::{Recorder, SealError};
    use crate::buffer::SpaceLimits;
    use crate::clock::ManualClock;
    use crate::config::FullPolicy;
    use crate::faults::NoFaults;
    use crate::identity::Identity;
    use crate::recorder::{Settings, Software, Surroundings};
    use crate::sample::{PointSample, TickSamples};

    fn table() -> MeasurementConfig {
        let point = Point {
            name: "power".to_owned(),
            stream: 1,
            device: 0,
            source: Source::Modbus {
                table: Table::Input,
                address: 0,
                words: 1,
            },
            format: Format {
                kind: Kind::U16,
                order: Order::Abcd,
            },
            scale: Decimal::ONE,
            offset: Decimal::ZERO,
            decimals: 0,
            unit: "kW".to_owned(),
            kind: PointKind::Instant,
            sentinels: Vec::new(),
            scale_from: None,
            min: None,
            max: None,
            max_step_per_s: None,
            stale_after_s: None,
        };
        MeasurementConfig {
            streams: vec![Stream {
                id: 1,
                tick_ms: 1000,
                first_tick: 0,
                messages: false,
            }],
            devices: vec![Device {
                name: "meter".to_owned(),
                protocol: "modbus-tcp".to_owned(),
                unit_id: Some(1),
                template: None,
                path: "meter".to_owned(),
            }],
            points: vec![point],
        }
    }

    #[tokio::test]
    async fn samples_that_do_not_encode_are_set_aside_and_the_log_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let origin = Origin::parse("example.com/gw/1").unwrap();
        Identity::create(dir.path(), &origin).unwrap();
        let settings = Settings {
            origin,
            data_dir: dir.path().to_owned(),
            table: table(),
            segment_ms: 10_000,
            sync_interval_ms: 10_000,
            limits: SpaceLimits {
                max_bytes: 10_000_000,
                min_free_bytes: 0,
                ballast_bytes: 0,
            },
            policy: FullPolicy::Stop,
            keep_days: 1,
            software: Software {
                version: "test".to_owned(),
                binary: Hash([0; 32]),
            },
        };
        let clock = ManualClock::trusted(1_772_323_200_000, 1_000);
        let around = Surroundings {
            clock: Arc::new(clock.clone()),
            os_boot: "boot".to_owned(),
            faults: Arc::new(NoFaults),
        };
        let mut recorder = Recorder::open(settings, around).await.unwrap();
        let first = recorder.next_tick(1).unwrap();
        let samples = vec![PointSample::good(0, 4_711)];
        let tick = TickSamples { stream: 1, samples };
        recorder.record(first, tick).await.unwrap();
        let refused = Err(SealError::TooLong(1));
        let stamp = recorder.stamp();
        let index = recorder
            .seal_data(1, first, first + 1, refused, None, stamp)
            .await
            .unwrap()
            .unwrap();
        recorder.begin_segment(1, first + 1);
        let kept = dir
            .path()
            .join(format!("quarantine/unsealable-1-{first}.txt"));
        let text = std::fs::read_to_string(kept).unwrap();
        assert!(text.contains("4711"), "what was read is not lost: {text}");
        let row = recorder.reader().row(index + 1).await.unwrap().unwrap();
        let annotation = Entry::parse(&row.entry).unwrap().entry;
        assert_eq!(annotation.index, index + 1);
        clock.advance(20_000);
        recorder.close().await.unwrap();
    }
}
