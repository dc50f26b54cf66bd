//! Builds logs of segments as a gateway would seal them, without sealing them.

use std::sync::Arc;

use evidence::chunk::Exception;
use evidence::decimal::Decimal;
use evidence::entry::Ticks;
use evidence::hash::{Hash, leaf_hash};
use evidence::measurement::{Device, MeasurementConfig, Point, PointKind, Source, Stream, Table};
use evidence::quality::Quality;
use evidence::segment::{ConfigInForce, DecodedColumn, Segment};
use evidence::value::{Format, Kind, Order};
use quantification::computation::{Computation, ComputationError};
use quantification::period::{Period, date};
use quantification::plan::{Bound, Plan};
use quantification::report::Report;

pub(crate) const GW1: &str = "example.com/gw/0001";
pub(crate) const GW2: &str = "example.com/gw/0002";
pub(crate) const INJECTION: &str = include_str!("../../examples/injection.plan.toml");
pub(crate) const SOLAR: &str = include_str!("../../examples/solar.plan.toml");

pub(crate) fn bound(plan: &str) -> Bound {
    let plan = Plan::parse(plan, "plan.toml").unwrap();
    let methodology = quantification::methodology::shipped(&plan.methodology_id).unwrap();
    plan.bind(&methodology).unwrap()
}

pub(crate) fn period(bound: &Bound, from: &str, to: &str) -> Period {
    bound
        .plan
        .period(date(from).unwrap(), date(to).unwrap())
        .unwrap()
}

/// A point: name, unit, decimals, whether it is a totaliser.
pub(crate) type Spec = (&'static str, &'static str, u8, bool);

/// A log with one stream; every sample of a column is good unless said otherwise.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    pub(crate) origin: &'static str,
    pub(crate) config: Arc<ConfigInForce>,
    pub(crate) tick_ms: u32,
    pub(crate) next_entry: u64,
    pub(crate) segments: Vec<(u64, Hash, Segment)>,
}

pub(crate) fn config(tick_ms: u32, points: &[Spec], messages: Option<u32>) -> MeasurementConfig {
    let point = |(name, unit, decimals, register): &Spec| Point {
        name: (*name).to_owned(),
        stream: 0,
        device: 0,
        source: match messages {
            None => Source::Modbus {
                table: Table::Holding,
                address: 0,
                words: 2,
            },
            Some(_) => Source::Message {
                topic: (*name).to_owned(),
                pointer: None,
            },
        },
        format: Format {
            kind: if messages.is_some() {
                Kind::Number
            } else {
                Kind::U32
            },
            order: Order::Abcd,
        },
        scale: Decimal::ONE,
        offset: Decimal::ZERO,
        decimals: *decimals,
        unit: (*unit).to_owned(),
        kind: if *register {
            PointKind::Register
        } else {
            PointKind::Instant
        },
        sentinels: Vec::new(),
        scale_from: None,
        min: None,
        max: None,
        max_step_per_s: None,
        stale_after_s: messages,
    };
    MeasurementConfig {
        streams: vec![Stream {
            id: 0,
            tick_ms,
            first_tick: 0,
            messages: messages.is_some(),
        }],
        devices: vec![Device {
            name: "meter".to_owned(),
            protocol: "modbus-tcp".to_owned(),
            unit_id: Some(1),
            template: None,
            path: "meter".to_owned(),
        }],
        points: points.iter().map(point).collect(),
    }
}

impl Log {
    pub(crate) fn new(origin: &'static str, tick_ms: u32, points: &[Spec]) -> Self {
        let config = Arc::new(ConfigInForce::new(config(tick_ms, points, None), 1));
        Self {
            origin,
            config,
            tick_ms,
            next_entry: 2,
            segments: Vec::new(),
        }
    }

    pub(crate) fn of_messages(
        origin: &'static str,
        tick_ms: u32,
        points: &[Spec],
        stale_after_s: u32,
    ) -> Self {
        let config = Arc::new(ConfigInForce::new(
            config(tick_ms, points, Some(stale_after_s)),
            1,
        ));
        Self {
            origin,
            config,
            tick_ms,
            next_entry: 2,
            segments: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, segment: Segment) {
        let leaf = leaf_hash(format!("{} {}", self.origin, self.next_entry).as_bytes());
        self.segments.push((self.next_entry, leaf, segment));
        self.next_entry += 1;
    }

    /// Appends samples from `start_ms` on, cut into segments of at most `per_segment` ticks;
    /// `value(point, time)` is none for a sample that timed out.
    pub(crate) fn fill(
        &mut self,
        start_ms: i64,
        end_ms: i64,
        per_segment: usize,
        mut value: impl FnMut(usize, i64) -> Option<i64>,
    ) {
        let tick_ms = i64::from(self.tick_ms);
        let mut time = start_ms;
        while time < end_ms {
            let left = usize::try_from((end_ms - time + tick_ms - 1) / tick_ms).unwrap();
            let count = left.min(per_segment);
            let columns = (0..self.config.config.points.len())
                .map(|point| {
                    let mut exceptions = Vec::new();
                    let values = (0..count)
                        .map(|i| {
                            let at = time + i64::try_from(i).unwrap() * tick_ms;
                            value(point, at).unwrap_or_else(|| {
                                let sample = u16::try_from(i).unwrap();
                                exceptions.push(Exception {
                                    sample,
                                    quality: Quality::TIMEOUT,
                                    aux: 0,
                                });
                                i64::MIN
                            })
                        })
                        .collect();
                    let point = u16::try_from(point).unwrap();
                    DecodedColumn {
                        point,
                        values,
                        texts: None,
                        offsets_ms: None,
                        exceptions,
                    }
                })
                .collect();
            let first = u64::try_from(time / tick_ms).unwrap();
            let ticks = Ticks {
                stream: 0,
                first,
                count: u64::try_from(count).unwrap(),
            };
            let config = Arc::clone(&self.config);
            self.push(Segment {
                config,
                ticks,
                tick_ms: self.tick_ms,
                shift: Some(0),
                columns,
            });
            time += i64::try_from(count).unwrap() * tick_ms;
        }
    }

    /// Appends one segment of messages: (offset, value or quality).
    pub(crate) fn messages(
        &mut self,
        start_ms: i64,
        ticks: u64,
        messages: &[(u32, Result<i64, Quality>)],
    ) {
        let mut exceptions = Vec::new();
        let values = messages
            .iter()
            .enumerate()
            .map(|(i, (_, value))| {
                value.unwrap_or_else(|quality| {
                    exceptions.push(Exception {
                        sample: u16::try_from(i).unwrap(),
                        quality,
                        aux: 0,
                    });
                    0
                })
            })
            .collect();
        let offsets_ms = Some(messages.iter().map(|(offset, _)| *offset).collect());
        let columns = vec![DecodedColumn {
            point: 0,
            values,
            texts: None,
            offsets_ms,
            exceptions,
        }];
        let first = u64::try_from(start_ms / i64::from(self.tick_ms)).unwrap();
        let config = Arc::clone(&self.config);
        let ticks = Ticks {
            stream: 0,
            first,
            count: ticks,
        };
        self.push(Segment {
            config,
            ticks,
            tick_ms: self.tick_ms,
            shift: Some(0),
            columns,
        });
    }

    pub(crate) fn feed(&self, computation: &mut Computation<'_>) -> Result<(), ComputationError> {
        for (entry, leaf, segment) in &self.segments {
            computation.segment(self.origin, *entry, leaf, segment)?;
        }
        Ok(())
    }
}

pub(crate) fn report(bound: &Bound, period: &Period, logs: &[&Log]) -> Report {
    let mut computation = Computation::new(bound, period);
    for log in logs {
        log.feed(&mut computation).unwrap();
    }
    computation.finish().unwrap()
}

/// A solar plan with other text in place of some of the example's.
pub(crate) fn solar(changes: &[(&str, &str)]) -> String {
    changed(SOLAR, changes)
}

pub(crate) fn changed(plan: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(plan.to_owned(), |plan, (from, to)| {
        assert!(
            plan.contains(from),
            "the example plan does not contain {from:?}"
        );
        plan.replacen(from, to, 1)
    })
}

/// Replaces what begins with `start` and goes up to the `end` after it.
pub(crate) fn replaced(plan: &str, start: &str, end: &str, with: &str) -> String {
    let (before, rest) = plan.split_once(start).unwrap();
    let (_, after) = rest.split_once(end).unwrap();
    format!("{before}{with}{end}{after}")
}

pub(crate) const SOLAR_POINTS: [Spec; 2] = [
    ("export.energy", "kWh", 3, true),
    ("aux.power", "kW", 2, false),
];
