//! A value that does not move although it should.

use evidence::measurement::Point;
use evidence::quality::Quality;

use crate::config::FrozenRule;
use crate::sample::{PointSample, SampleValue};

/// Watches one point for standing still. Silence is not stillness: only the time between samples
/// that were both read counts, two ticks at most.
#[derive(Debug, Clone)]
pub struct Frozen {
    after_ms: u64,
    tick_ms: u64,
    companion: Option<Companion>,
    last: Option<(i64, u64)>,
    still_ms: u64,
}

/// The point beside whose value stillness counts.
#[derive(Debug, Clone)]
struct Companion {
    index: u16,
    above: i64,
}

impl Frozen {
    /// Watches a point by `rule`; `point` finds a point of the table by its name.
    #[must_use]
    pub fn new<'p>(
        rule: &FrozenRule,
        tick_ms: u64,
        point: impl Fn(&str) -> Option<(u16, &'p Point)>,
    ) -> Self {
        let companion = rule.while_above.as_ref().and_then(|(name, above)| {
            let (index, companion) = point(name)?;
            Some(Companion {
                index,
                above: above.on_grid(companion.decimals)?,
            })
        });
        Self {
            after_ms: u64::from(rule.after_s) * 1_000,
            tick_ms,
            companion,
            last: None,
            still_ms: 0,
        }
    }

    /// The point whose value decides whether stillness counts.
    #[must_use]
    pub fn companion(&self) -> Option<u16> {
        self.companion.as_ref().map(|companion| companion.index)
    }

    /// Flags the sample if the value has not moved for too long. `companion` is the other point's value
    /// in the same tick, on its grid, if it has one.
    pub fn check(&mut self, sample: &mut PointSample, companion: Option<i64>, at_ms: u64) {
        let SampleValue::Int(raw) = sample.value else {
            return;
        };
        match self.last.replace((raw, at_ms)) {
            Some((before, then)) if before == raw => {
                if self.should_move(companion) {
                    let between = at_ms.saturating_sub(then);
                    self.still_ms += between.min(2 * self.tick_ms);
                }
            }
            _ => self.still_ms = 0,
        }
        if self.still_ms >= self.after_ms {
            sample.flag(Quality::FROZEN);
        }
    }

    fn should_move(&self, beside: Option<i64>) -> bool {
        let Some(companion) = &self.companion else {
            return true;
        };
        beside.is_some_and(|value| value > companion.above)
    }
}
