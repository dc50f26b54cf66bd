//! Which points a message belongs to, and what their samples are.

use std::collections::{BTreeSet, HashMap};

use evidence::measurement::{MeasurementConfig, Point, Source};
use evidence::quality::Quality;
use evidence::value::json_mantissa;
use rumqttc::matches;

use super::payload::Payload;
use crate::checks::Watch;
use crate::sample::{PointSample, SampleValue};

/// A point fed by messages.
struct Target {
    point: u16,
    pointer: Option<String>,
    decimals: u8,
    watch: Watch,
}

/// The points of one message stream by topic.
pub(super) struct Routes {
    targets: Vec<Target>,
    /// Positions in `targets` by the topics without wildcards.
    plain: HashMap<String, Vec<usize>>,
    /// Positions by the filters with wildcards.
    patterns: Vec<(String, Vec<usize>)>,
}

impl Routes {
    pub(super) fn new(stream: u16, table: &MeasurementConfig) -> Self {
        let mut routes = Self {
            targets: Vec::new(),
            plain: HashMap::new(),
            patterns: Vec::new(),
        };
        for (index, point) in table.points_of(stream) {
            let Source::Message { topic, pointer } = &point.source else {
                continue;
            };
            routes.add(index, point, topic, pointer.clone());
        }
        routes
    }

    fn add(&mut self, index: u16, point: &Point, topic: &str, pointer: Option<String>) {
        let place = self.targets.len();
        self.targets.push(Target {
            point: index,
            pointer,
            decimals: point.decimals,
            watch: Watch::new(point),
        });
        if !rumqttc::has_wildcards(topic) {
            self.plain.entry(topic.to_owned()).or_default().push(place);
        } else if let Some((_, places)) =
            self.patterns.iter_mut().find(|(filter, _)| filter == topic)
        {
            places.push(place);
        } else {
            self.patterns.push((topic.to_owned(), vec![place]));
        }
    }

    /// Everything to subscribe to, each filter once.
    pub(super) fn filters(&self) -> BTreeSet<&str> {
        let patterns = self.patterns.iter().map(|(filter, _)| filter.as_str());
        self.plain
            .keys()
            .map(String::as_str)
            .chain(patterns)
            .collect()
    }

    /// The samples of one message; empty when no point reads this topic. `at_ms` grows with time.
    pub(super) fn samples(
        &mut self,
        topic: &str,
        bytes: &[u8],
        retained: bool,
        at_ms: u64,
    ) -> Vec<PointSample> {
        let places: Vec<usize> = match self.plain.get(topic) {
            Some(places) => places.clone(),
            None => {
                let hit = self
                    .patterns
                    .iter()
                    .filter(|(filter, _)| matches(topic, filter));
                hit.flat_map(|(_, places)| places.iter().copied()).collect()
            }
        };
        let mut payload = Payload::new(bytes);
        let targets = places.into_iter().filter_map(|place| {
            let target = self.targets.get_mut(place)?;
            Some(target.sample(&mut payload, retained, at_ms))
        });
        targets.collect()
    }

    /// One sample per point that says why nothing comes.
    pub(super) fn disconnected(&self) -> Vec<PointSample> {
        self.targets
            .iter()
            .map(|target| PointSample::absent(target.point, Quality::DISCONNECTED, 0))
            .collect()
    }
}

impl Target {
    fn sample(&mut self, payload: &mut Payload<'_>, retained: bool, at_ms: u64) -> PointSample {
        let mut sample = match payload.number(self.pointer.as_deref()) {
            Err(malformed) => PointSample::absent(self.point, Quality::MALFORMED, malformed.code()),
            Ok(text) => match json_mantissa(text.as_bytes(), self.decimals) {
                Some(mantissa) => PointSample::good(self.point, mantissa),
                None => {
                    let value = SampleValue::Text(text.as_bytes().to_vec());
                    let qualities = vec![(Quality::OFF_GRID, 0)];
                    PointSample {
                        point: self.point,
                        value,
                        qualities,
                    }
                }
            },
        };
        if sample.value != SampleValue::Absent {
            if retained {
                sample.flag(Quality::RETAINED);
            }
            self.watch.check(&mut sample, at_ms);
        }
        sample
    }
}
