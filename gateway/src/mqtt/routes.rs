//! Which points a message belongs to, and what their samples are.

use std::collections::{BTreeSet, HashMap};

use evidence::measurement::{MeasurementConfig, Point, Source};
use evidence::quality::Quality;
use evidence::value::json_mantissa;
use tracing::warn;

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
    /// The filters with wildcards.
    patterns: Vec<Pattern>,
}

/// A filter with wildcards and what it feeds.
struct Pattern {
    filter: String,
    /// Positions in `targets`.
    places: Vec<usize>,
    /// The first topic that matched, and whether a second one was already complained about.
    first: Option<(String, bool)>,
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
            return;
        }
        match self
            .patterns
            .iter_mut()
            .find(|pattern| pattern.filter == topic)
        {
            Some(pattern) => pattern.places.push(place),
            None => {
                let (filter, places) = (topic.to_owned(), vec![place]);
                self.patterns.push(Pattern {
                    filter,
                    places,
                    first: None,
                });
            }
        }
    }

    /// Everything to subscribe to, each filter once.
    pub(super) fn filters(&self) -> BTreeSet<&str> {
        let patterns = self.patterns.iter().map(|pattern| pattern.filter.as_str());
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
            // The configuration refuses filters that overlap: at most one matches.
            None => match self
                .patterns
                .iter_mut()
                .find(|pattern| matches(topic, &pattern.filter))
            {
                Some(pattern) => {
                    pattern.note(topic);
                    pattern.places.clone()
                }
                None => Vec::new(),
            },
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

impl Pattern {
    /// Two instruments feeding one point would make one number of two: said once, by name.
    fn note(&mut self, topic: &str) {
        match &mut self.first {
            None => self.first = Some((topic.to_owned(), false)),
            Some((first, told)) if first != topic && !*told => {
                *told = true;
                let filter = &self.filter;
                warn!(
                    "Topics {first} and {topic} both feed the points of {filter}: give each its own point"
                );
            }
            Some(_) => {}
        }
    }
}

/// Whether a topic matches a filter (MQTT 3.1.1, section 4.7). `rumqttc::matches` would panic on a
/// topic that begins with a letter outside ASCII.
fn matches(topic: &str, filter: &str) -> bool {
    if topic.starts_with('$') && !filter.starts_with('$') {
        return false;
    }
    let (mut levels, mut wanted) = (topic.split('/'), filter.split('/'));
    loop {
        match (levels.next(), wanted.next()) {
            (_, Some("#")) | (None, None) => return true,
            (Some(level), Some(want)) if want == "+" || want == level => {}
            _ => return false,
        }
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

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn topics_match_filters_as_the_specification_says() {
        for (topic, filter) in [
            ("a/b", "a/b"),
            ("a/b", "a/+"),
            ("a/b", "+/b"),
            ("a", "a/#"),
            ("a/b/c", "a/#"),
            ("/x", "+/x"),
            ("温度/1", "+/1"),
            ("a//b", "a/+/b"),
            ("a/", "a/+"),
            ("x", "#"),
            ("$site/x", "$site/+"),
        ] {
            assert!(matches(topic, filter), "{topic} {filter}");
        }
        for (topic, filter) in [
            ("a/b", "a"),
            ("a", "a/+"),
            ("a/b/c", "a/+"),
            ("A", "a"),
            ("$SYS/x", "#"),
            ("$SYS/x", "+/x"),
            ("b/a", "a/#"),
        ] {
            assert!(!matches(topic, filter), "{topic} {filter}");
        }
    }
}
