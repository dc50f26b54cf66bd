//! Recognising a device: its identity and settings are read before its values count.
//!
//! Read at the first answer on a connection, after every silence, and once an hour. What cannot be
//! read is tried again later and later, and the values are recorded meanwhile, flagged as unchecked;
//! a register that the device refuses is itself a reading, which a person has to accept.

use evidence::control::DeviceRole;
use evidence::quality::Quality;
use std::sync::Arc;
use tokio::time::Instant;

use super::device::{DeviceReader, Stop};
use super::outcome::{Absence, Outcome};
use super::register_map::{RegisterMap, Value};
use crate::config::{DeviceWatch, RegisterSpec, WatchedWord, bits_of};
use crate::plan::{Limits, Span};
use crate::sample::SampleValue;
use crate::watch::{Due, Flags, Gate, reading_of, refused};

/// What is watched of a device while its values are read.
#[derive(Debug)]
pub struct Watching {
    gate: Arc<Gate>,
    limits: Limits,
    registers: Vec<(DeviceRole, RegisterSpec)>,
    statuses: Vec<Status>,
}

#[derive(Debug)]
struct Status {
    word: WatchedWord,
    /// The points it speaks of, by index; `None`: all.
    points: Option<Vec<u16>>,
    /// What it said last, to be told when it changes.
    last: Option<u64>,
}

/// What the watch says of the values of one tick.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Said of every value.
    pub flags: Flags,
    /// What status words say.
    pub raised: Vec<Raised>,
    /// How often the device was confirmed: values before and after do not continue one another.
    pub confirmations: u64,
}

/// One flag of a status word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raised {
    /// What the values get; `None`: shown only.
    pub quality: Option<Quality>,
    /// The points it speaks of; `None`: all of the device.
    pub points: Option<Vec<u16>>,
    /// In words.
    pub means: String,
}

impl Verdict {
    /// The qualities that a point's value gets.
    pub fn qualities(&self, point: u16) -> impl Iterator<Item = Quality> {
        let meant = move |raised: &&Raised| {
            let points = raised.points.as_ref();
            points.is_none_or(|points| points.contains(&point))
        };
        let raised = self.raised.iter().filter(meant);
        self.flags
            .qualities()
            .chain(raised.filter_map(|raised| raised.quality))
    }

    /// Whether nothing speaks against any value.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.raised.is_empty() && self.flags == Flags::default()
    }
}

impl Watching {
    /// Watches what `watch` names, through `gate`; `index` gives the position of a point by its name.
    #[must_use]
    pub fn new(
        gate: Arc<Gate>,
        limits: Limits,
        watch: &DeviceWatch,
        index: impl Fn(&str) -> Option<u16>,
    ) -> Self {
        let registers = watch
            .registers()
            .map(|(role, watched)| (role, watched.register.clone()))
            .collect();
        let statuses = watch
            .statuses
            .iter()
            .map(|word| Status {
                points: (!word.points.is_empty())
                    .then(|| word.points.iter().filter_map(|name| index(name)).collect()),
                word: word.clone(),
                last: None,
            })
            .collect();
        Self {
            gate,
            limits,
            registers,
            statuses,
        }
    }

    /// The gate.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// The status words as values to be read with the points.
    pub fn status_values(&self) -> impl Iterator<Item = Value> {
        let words = self.statuses.iter().map(|status| &status.word.register);
        words.map(|register| value(0, register))
    }

    /// What is said of a tick whose values came on `session`.
    pub(super) fn judge(&mut self, session: Option<u64>, words: &[Outcome]) -> Verdict {
        let (flags, confirmations) = self.gate.flags(session);
        let mut raised = Vec::new();
        for (status, outcome) in self.statuses.iter_mut().zip(words) {
            let points = &status.points;
            let word = match &outcome.result {
                Ok(SampleValue::Int(raw)) => bits_of(status.word.register.format.kind, *raw),
                Ok(_) => continue, // texts are refused where status words are read from the file
                Err(absence) => {
                    // Whether the device reports a fault is unknown.
                    raised.push(Raised {
                        quality: Some(Quality::UNCHECKED),
                        points: points.clone(),
                        means: format!("{} cannot be read: {absence}", status.word.register.name),
                    });
                    continue;
                }
            };
            let said = status.word.flags.iter().filter(|flag| flag.is_raised(word));
            let said: Vec<_> = said.collect();
            let before = status.last.replace(word);
            if before.unwrap_or(0) != word {
                let means: Vec<&str> = said.iter().map(|flag| flag.means.as_str()).collect();
                tracing::info!(
                    "{} of {} is {word:#06x} now ({})",
                    status.word.register.name,
                    self.gate.device(),
                    if means.is_empty() {
                        "nothing declared".to_owned()
                    } else {
                        means.join(", ")
                    }
                );
            }
            raised.extend(said.into_iter().map(|flag| Raised {
                quality: flag.quality,
                points: points.clone(),
                means: flag.means.clone(),
            }));
        }
        Verdict {
            flags,
            raised,
            confirmations,
        }
    }

    /// Reads identity and settings and tells the gate. The reader is the device's own.
    pub(super) async fn recognise(
        &self,
        device: &DeviceReader,
        when: Due,
        deadline: Instant,
    ) -> Result<(), Stop> {
        let values = (0..).zip(&self.registers);
        let values = values.map(|(index, (_, register))| value(index, register));
        // Planned anew each time: another device may have registers where this one had holes.
        let map = RegisterMap::new(device.name(), self.limits.clone(), values.collect());
        let mut reader = device.beside(map);
        let (outcomes, stopped) = reader.read_all(deadline).await;
        // There was no time for all of it: nothing was learnt, and nothing speaks against the device.
        let is_cut = |outcome: &Outcome| {
            let absence = outcome.result.as_ref().err();
            absence.is_some_and(|absence| absence.quality == Quality::NOT_POLLED)
        };
        if when == Due::Again && outcomes.iter().any(is_cut) {
            return stopped;
        }
        let now = Instant::now();
        let mut readings = Vec::new();
        let mut trouble: Option<String> = None;
        for ((role, register), outcome) in self.registers.iter().zip(outcomes) {
            match &outcome.result {
                Ok(value) => readings.push(reading_of(*role, register, value)),
                Err(absence) => match refusal(absence) {
                    Some(code) => readings.push(refused(*role, register, code)),
                    // That the rest was not asked behind a failure is no reason.
                    None if trouble.is_none() || absence.quality != Quality::BACKED_OFF => {
                        trouble = Some(format!("{}: {absence}", register.name));
                    }
                    None => {}
                },
            }
        }
        match (trouble, reader.session()) {
            (None, Some(session)) => self.gate.observed(readings, session, now),
            (None, None) => self
                .gate
                .failed("the connection was replaced in between", now),
            (Some(why), _) => self.gate.failed(&why, now),
        }
        stopped
    }
}

/// The exception code with which a device says for good that it has no such register.
fn refusal(absence: &Absence) -> Option<u8> {
    let refused = [Quality::EXCEPTION, Quality::ILLEGAL_ADDRESS].contains(&absence.quality);
    (refused && matches!(absence.aux, 1..=3)).then_some(absence.aux)
}

fn value(point: u16, register: &RegisterSpec) -> Value {
    Value {
        point,
        name: register.name.clone(),
        span: Span {
            table: register.table,
            address: register.address,
            count: u16::from(register.words),
        },
        format: register.format,
    }
}
