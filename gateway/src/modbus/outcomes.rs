//! The outcomes of one reading of a device: decoded where they stay, in memory that is used again.
//!
//! This is the gateway's busiest loop, thousands of values a second. So each value is written once,
//! in its place, and what the reading before left there is not wiped: [`Outcomes::settle`] replaces
//! every value that this reading has not told. Nothing of an earlier reading can be seen after it.

use std::time::Duration;

use evidence::quality::Quality;
use evidence::value::{Format, Kind};

use super::outcome::{Absence, Outcome};
use crate::plan::Span;
use crate::sample::SampleValue;

/// Where a value lies in an answer, and how it is read there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// The value's position in the map.
    value: usize,
    /// Its first word in the answer.
    at: u16,
    count: u16,
    format: Format,
    /// Most registers of most devices: one word, read as it stands.
    is_word: bool,
}

impl Field {
    /// The value at `span` in the answer to a request for `asked`, which holds it.
    #[must_use]
    pub fn new(value: usize, span: Span, format: Format, asked: Span) -> Self {
        let one_word = Format::raw(format, &[1]) == Some(1);
        Self {
            value,
            // No answer is so long: a value in front of the answer is found missing.
            at: span.address.checked_sub(asked.address).unwrap_or(u16::MAX),
            count: span.count,
            format,
            is_word: format.kind == Kind::U16 && span.count == 1 && one_word,
        }
    }

    #[inline]
    fn words(self, answer: &[u16]) -> Option<&[u16]> {
        let first = usize::from(self.at);
        answer.get(first..first + usize::from(self.count))
    }
}

/// The outcomes of the present reading, by value of the map.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    outcomes: Vec<Outcome>,
    /// Whether the present reading has told the value.
    told: Vec<bool>,
    /// How many it has not.
    untold: usize,
}

impl Outcomes {
    /// Begins a reading of `count` values.
    pub(super) fn begin(&mut self, count: usize) {
        self.outcomes.resize_with(count, || Outcome {
            result: Ok(SampleValue::Absent),
            round_trip: Duration::ZERO,
        });
        self.told.clear();
        self.told.resize(count, false);
        self.untold = count;
    }

    /// Decodes an answer; it took `round_trip`.
    pub(super) fn decode(
        &mut self,
        fields: impl Iterator<Item = Field>,
        answer: &[u16],
        round_trip: Duration,
    ) {
        for field in fields {
            if field.is_word
                && let Some(&word) = answer.get(usize::from(field.at))
            {
                self.tell_int(field.value, i64::from(word), round_trip);
            } else {
                self.decode_other(field, answer, round_trip);
            }
        }
    }

    fn decode_other(&mut self, field: Field, answer: &[u16], round_trip: Duration) {
        let words = field.words(answer);
        let sample = words.and_then(|words| match field.format.kind {
            Kind::Text => Some(SampleValue::Text(Format::text_bytes(words))),
            _ => field.format.raw(words).map(SampleValue::Int),
        });
        let outcome = match sample {
            Some(SampleValue::Int(raw)) => return self.tell_int(field.value, raw, round_trip),
            Some(sample) => Outcome {
                result: Ok(sample),
                round_trip,
            },
            // Cannot happen: an answer has as many words as its block, and a format as many as its span.
            None => Outcome::absent(
                Quality::DROPPED,
                0,
                "the words do not fit the type",
                round_trip,
            ),
        };
        self.tell(field.value, outcome);
    }

    /// Says what became of a value.
    pub(super) fn tell(&mut self, value: usize, outcome: Outcome) {
        if let Some((place, told)) = self.place(value) {
            *place = outcome;
            let was_told = std::mem::replace(told, true);
            self.untold -= usize::from(!was_told);
        }
    }

    /// As [`Self::tell`] for a number. A whole outcome built elsewhere and moved here takes several
    /// times as long; nearly always there was a number before, and only it changes.
    #[inline]
    fn tell_int(&mut self, value: usize, raw: i64, round_trip: Duration) {
        let Some((place, told)) = self.place(value) else {
            return;
        };
        match &mut place.result {
            Ok(SampleValue::Int(before)) => *before = raw,
            other => number(other, raw),
        }
        place.round_trip = round_trip;
        let was_told = std::mem::replace(told, true);
        self.untold -= usize::from(!was_told);
    }

    #[inline]
    fn place(&mut self, value: usize) -> Option<(&mut Outcome, &mut bool)> {
        Some((self.outcomes.get_mut(value)?, self.told.get_mut(value)?))
    }

    /// What was not told until the end has the reason that stopped the reading.
    pub(super) fn settle(&mut self, stopped: Option<&Absence>) {
        if self.untold == 0 {
            return;
        }
        for (outcome, told) in self.outcomes.iter_mut().zip(&self.told) {
            if *told {
                continue;
            }
            *outcome = match stopped {
                Some(absence) => Outcome {
                    result: Err(absence.clone()),
                    round_trip: Duration::ZERO,
                },
                // Cannot happen: who was not stopped has asked for every value.
                None => Outcome::absent(Quality::NOT_POLLED, 0, "not asked", Duration::ZERO),
            };
        }
    }

    /// The outcomes; what they are before [`Self::settle`] means nothing.
    pub(super) fn as_slice(&self) -> &[Outcome] {
        &self.outcomes
    }
}

/// Apart, so that the usual way needs nothing of what dropping takes.
#[cold]
#[inline(never)]
fn number(result: &mut Result<SampleValue, Absence>, raw: i64) {
    *result = Ok(SampleValue::Int(raw));
}

#[cfg(test)]
mod tests {
    use super::{Field, Outcomes};
    use crate::modbus::outcome::{Absence, Outcome};
    use crate::plan::Span;
    use crate::sample::SampleValue;
    use evidence::measurement::Table;
    use evidence::quality::Quality;
    use evidence::value::{Format, Kind, Order};
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};
    use std::time::Duration;

    const KINDS: [(Kind, Order, u16); 6] = [
        (Kind::U16, Order::Abcd, 1),
        (Kind::U16, Order::Badc, 1),
        (Kind::I16, Order::Abcd, 1),
        (Kind::U32, Order::Cdab, 2),
        (Kind::F64, Order::Dcba, 4),
        (Kind::Text, Order::Abcd, 3),
    ];

    fn span(address: u16, count: u16) -> Span {
        Span {
            table: Table::Holding,
            address,
            count,
        }
    }

    fn result(outcome: &Outcome) -> Result<SampleValue, (Quality, u8)> {
        let absence = |why: Absence| (why.quality, why.aux);
        outcome.result.clone().map_err(absence)
    }

    proptest! {
        /// Reading after reading in one memory: each shows what it was told and nothing of the others.
        #[test]
        fn a_reading_shows_nothing_of_the_one_before(
            readings in prop::collection::vec(
                (prop::collection::vec(0_u8..4, 1..20), any::<u16>(), any::<bool>()), 1..6,
            ),
        ) {
            let mut outcomes = Outcomes::default();
            let took = Duration::from_millis(7);
            for (kinds, seed, stopped) in readings {
                outcomes.begin(kinds.len());
                let mut expected = Vec::new();
                for (value, kind) in kinds.iter().enumerate() {
                    let (kind_of, order, count) = KINDS[(value + usize::from(seed)) % KINDS.len()];
                    let format = Format { kind: kind_of, order };
                    let words: Vec<u16> = (0..count + 2).map(|at| seed.wrapping_mul(31).wrapping_add(at)).collect();
                    let own = &words[1..=usize::from(count)];
                    expected.push(match kind {
                        // An answer that begins one register in front of the value.
                        0 => {
                            let field = Field::new(value, span(11, count), format, span(10, count + 2));
                            outcomes.decode([field].into_iter(), &words, took);
                            Ok(match kind_of {
                                Kind::Text => SampleValue::Text(Format::text_bytes(own)),
                                _ => SampleValue::Int(format.raw(own).unwrap()),
                            })
                        }
                        // An answer that does not hold it, behind its end or in front of it.
                        1 => {
                            let asked = if stopped { span(10, 1) } else { span(12, count + 2) };
                            let field = Field::new(value, span(11, count), format, asked);
                            outcomes.decode([field].into_iter(), &words[..1], took);
                            Err((Quality::DROPPED, 0))
                        }
                        2 => {
                            outcomes.tell(value, Outcome::refused(4, false, took));
                            Err((Quality::EXCEPTION, 4))
                        }
                        _ if stopped => Err((Quality::BACKED_OFF, 0)),
                        _ => Err((Quality::NOT_POLLED, 0)),
                    });
                }
                let why = Absence::backed_off();
                outcomes.settle(stopped.then_some(&why));
                let found: Vec<_> = outcomes.as_slice().iter().map(result).collect();
                prop_assert_eq!(found, expected);
            }
        }
    }
}
