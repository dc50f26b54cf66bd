//! The samples of one row as the journal keeps them, on disk and in memory.
//!
//! A segment of 5,000 points holds 300,000 samples until it is sealed, so an open segment keeps the
//! bytes that went to the journal (three per ordinary sample) and nothing else. Private to this
//! program, never sent or signed. The journal outlives an update, so the first byte is a version;
//! rows of version 1 are read as well.
//!
//! Per sample, ascending by point, a head byte and what it announces:
//!
//! ```text
//! bits 7-6  0 no value, 1 an integer, 2 a text
//! bit  5    the point's index follows (2 bytes); otherwise it is the one after the sample before
//! bit  4    qualities follow: their number (1 byte), then code and detail byte of each
//! bits 2-0  the length of the integer less one
//! then      the integer's significant bytes, two's complement, or a length (4 bytes) and the text
//! ```

use std::fmt;

use evidence::quality::Quality;

use crate::sample::{PointSample, SampleValue};

const VERSION: u8 = 2;
const ABSENT: u8 = 0;
const INT: u8 = 1;
const TEXT: u8 = 2;
const POINT_FOLLOWS: u8 = 1 << 5;
const QUALITIES_FOLLOW: u8 = 1 << 4;
const UNUSED: u8 = 1 << 3;

/// The samples of one row, ascending by point, samples of the same point in their order.
///
/// Every value of this type decodes: it was made from samples, or from bytes that were checked.
#[derive(Clone, PartialEq, Eq)]
pub struct PackedSamples(Box<[u8]>);

/// One sample as it stands in the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedSample<'a> {
    /// Position in `MeasurementConfig::points`.
    pub point: u16,
    /// The column value.
    pub value: PackedValue<'a>,
    qualities: &'a [u8],
}

/// The column value of a [`PackedSample`]; see [`SampleValue`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackedValue<'a> {
    /// An integer.
    Int(i64),
    /// A text.
    Text(&'a [u8]),
    /// No value.
    Absent,
}

/// Walks over the samples of a row.
#[derive(Debug, Clone)]
pub struct PackedIter<'a> {
    rest: &'a [u8],
    /// The index of the next sample that names none.
    next: u16,
}

impl PackedSamples {
    /// Packs samples; those that are not in the order of the points are put into it.
    #[must_use]
    pub fn of(samples: &[PointSample]) -> Self {
        if samples.is_sorted_by_key(|sample| sample.point) {
            return Self(pack(samples.iter(), samples.len()));
        }
        let mut sorted: Vec<&PointSample> = samples.iter().collect();
        sorted.sort_by_key(|sample| sample.point);
        Self(pack(sorted.into_iter(), samples.len()))
    }

    /// Takes bytes from the journal, or `None` when they are not a row.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (1, rest) => Some(Self::of(&version_1(rest)?)),
            (&VERSION, rest) => {
                let mut walk = PackedIter { rest, next: 0 };
                let mut last = 0;
                while !walk.rest.is_empty() {
                    let sample = walk.step()?;
                    if sample.point < last || sample.has_unknown_quality() {
                        return None;
                    }
                    last = sample.point;
                }
                Some(Self(bytes.into()))
            }
            _ => None,
        }
    }

    /// The bytes that the journal keeps.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The samples, ascending by point.
    #[must_use]
    pub fn iter(&self) -> PackedIter<'_> {
        PackedIter {
            rest: self.0.get(1..).unwrap_or_default(),
            next: 0,
        }
    }

    /// The samples, unpacked.
    #[must_use]
    pub fn unpack(&self) -> Vec<PointSample> {
        self.iter().map(PackedSample::unpack).collect()
    }
}

impl fmt::Debug for PackedSamples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.iter().map(PackedSample::unpack))
            .finish()
    }
}

impl<'a> IntoIterator for &'a PackedSamples {
    type Item = PackedSample<'a>;
    type IntoIter = PackedIter<'a>;

    fn into_iter(self) -> PackedIter<'a> {
        self.iter()
    }
}

impl<'a> PackedSample<'a> {
    /// The quality records with their detail bytes, ascending by code; none means good.
    pub fn qualities(self) -> impl Iterator<Item = (Quality, u8)> + use<'a> {
        let pairs = self.qualities.as_chunks::<2>().0;
        pairs
            .iter()
            .filter_map(|&[code, aux]| Some((Quality::from_code(code)?, aux)))
    }

    fn has_unknown_quality(self) -> bool {
        self.qualities().count() * 2 != self.qualities.len()
    }

    fn unpack(self) -> PointSample {
        PointSample {
            point: self.point,
            value: match self.value {
                PackedValue::Int(value) => SampleValue::Int(value),
                PackedValue::Text(text) => SampleValue::Text(text.to_vec()),
                PackedValue::Absent => SampleValue::Absent,
            },
            qualities: self.qualities().collect(),
        }
    }
}

impl<'a> PackedIter<'a> {
    /// The next sample, or `None` where the bytes end or are not a sample.
    fn step(&mut self) -> Option<PackedSample<'a>> {
        let (&head, mut rest) = self.rest.split_first()?;
        if head & UNUSED != 0 {
            return None;
        }
        let mut point = self.next;
        if head & POINT_FOLLOWS != 0 {
            let (index, after) = rest.split_first_chunk::<2>()?;
            (point, rest) = (u16::from_be_bytes(*index), after);
        }
        let mut qualities: &[u8] = &[];
        if head & QUALITIES_FOLLOW != 0 {
            let (&count, after) = rest.split_first()?;
            (qualities, rest) = after.split_at_checked(2 * usize::from(count))?;
        }
        let value = match head >> 6 {
            ABSENT => PackedValue::Absent,
            INT => {
                let (bytes, after) = rest.split_at_checked(usize::from(head & 7) + 1)?;
                rest = after;
                PackedValue::Int(widen(bytes))
            }
            TEXT => {
                let (length, after) = rest.split_first_chunk::<4>()?;
                let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
                let (text, after) = after.split_at_checked(length)?;
                rest = after;
                PackedValue::Text(text)
            }
            _ => return None,
        };
        self.rest = rest;
        self.next = point.wrapping_add(1);
        Some(PackedSample {
            point,
            value,
            qualities,
        })
    }
}

impl<'a> Iterator for PackedIter<'a> {
    type Item = PackedSample<'a>;

    fn next(&mut self) -> Option<PackedSample<'a>> {
        self.step()
    }
}

fn pack<'a>(samples: impl Iterator<Item = &'a PointSample>, count: usize) -> Box<[u8]> {
    let mut out = Vec::with_capacity(1 + count * 4);
    out.push(VERSION);
    let mut next = 0;
    for sample in samples {
        let (kind, integer) = match sample.value {
            SampleValue::Absent => (ABSENT, None),
            SampleValue::Int(value) => (INT, Some(value)),
            SampleValue::Text(_) => (TEXT, None),
        };
        let length = integer.map_or(1, significant);
        let mut head = kind << 6 | (length - 1);
        if sample.point != next {
            head |= POINT_FOLLOWS;
        }
        if !sample.qualities.is_empty() {
            head |= QUALITIES_FOLLOW;
        }
        out.push(head);
        if sample.point != next {
            out.extend(sample.point.to_be_bytes());
        }
        if !sample.qualities.is_empty() {
            // A sample names each quality once and there are fewer than 64 codes: the count fits.
            let count = u8::try_from(sample.qualities.len()).unwrap_or(u8::MAX);
            out.push(count);
            for (quality, aux) in sample.qualities.iter().take(usize::from(count)) {
                out.extend([quality.code(), *aux]);
            }
        }
        if let Some(value) = integer {
            let bytes = value.to_be_bytes();
            out.extend(bytes.iter().skip(8 - usize::from(length)));
        }
        if let SampleValue::Text(text) = &sample.value {
            let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
            out.extend(length.to_be_bytes());
            out.extend(text);
        }
        next = sample.point.wrapping_add(1);
    }
    out.into_boxed_slice()
}

/// The bytes that a two's complement needs, 1 to 8.
fn significant(value: i64) -> u8 {
    // The bits that differ from the sign, and the sign itself.
    let bits = 65 - (value ^ (value >> 63)).leading_zeros();
    u8::try_from(bits.div_ceil(8)).unwrap_or(8)
}

/// Significant bytes, most significant first, as a number.
fn widen(bytes: &[u8]) -> i64 {
    let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    let sign = if negative { -1 } else { 0 };
    bytes
        .iter()
        .fold(sign, |value, &byte| (value << 8) | i64::from(byte))
}

/// The samples of a row of version 1: each with its point (2 bytes), a byte of kind and number of
/// qualities, these, then a length byte and the integer, or a text as today.
fn version_1(mut rest: &[u8]) -> Option<Vec<PointSample>> {
    let mut samples = Vec::new();
    while !rest.is_empty() {
        let (point, after) = rest.split_first_chunk::<2>()?;
        let (&head, mut after) = after.split_first()?;
        let mut qualities = Vec::new();
        for _ in 0..head & 0x3f {
            let (&[code, aux], tail) = after.split_first_chunk::<2>()?;
            qualities.push((Quality::from_code(code)?, aux));
            after = tail;
        }
        let value = match head >> 6 {
            ABSENT => SampleValue::Absent,
            INT => {
                let (&length, tail) = after.split_first()?;
                let (bytes, tail) = tail.split_at_checked(usize::from(length))?;
                if !(1..=8).contains(&length) {
                    return None;
                }
                after = tail;
                SampleValue::Int(widen(bytes))
            }
            TEXT => {
                let (length, tail) = after.split_first_chunk::<4>()?;
                let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
                let (text, tail) = tail.split_at_checked(length)?;
                after = tail;
                SampleValue::Text(text.to_vec())
            }
            _ => return None,
        };
        samples.push(PointSample {
            point: u16::from_be_bytes(*point),
            value,
            qualities,
        });
        rest = after;
    }
    Some(samples)
}

#[cfg(test)]
mod tests {
    use evidence::quality::Quality;
    use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
    use proptest::strategy::{Just, Strategy};

    use super::PackedSamples;
    use crate::sample::{PointSample, SampleValue};

    fn sample() -> impl Strategy<Value = PointSample> {
        let value = prop_oneof![
            Just(SampleValue::Absent),
            any::<i64>().prop_map(SampleValue::Int),
            (0_u32..63).prop_map(|bit| SampleValue::Int(-1 << bit)),
            (-300_i64..300).prop_map(SampleValue::Int),
            prop::collection::vec(any::<u8>(), 0..40).prop_map(SampleValue::Text),
        ];
        let quality = prop::sample::select(Quality::ALL);
        let qualities = prop::collection::vec((quality, any::<u8>()), 0..3);
        let point = prop_oneof![0_u16..8, any::<u16>()];
        (point, value, qualities).prop_map(|(point, value, qualities)| PointSample {
            point,
            value,
            qualities,
        })
    }

    proptest! {
        #[test]
        fn every_row_comes_back_in_the_order_of_its_points(
            samples in prop::collection::vec(sample(), 0..20)
        ) {
            let packed = PackedSamples::of(&samples);
            let mut sorted = samples;
            sorted.sort_by_key(|sample| sample.point);
            prop_assert_eq!(packed.unpack(), sorted);
            prop_assert_eq!(PackedSamples::from_bytes(packed.as_bytes()), Some(packed));
        }

        #[test]
        fn bytes_that_are_taken_for_a_row_are_its_samples_and_no_others(
            samples in prop::collection::vec(sample(), 1..5),
            cut in any::<prop::sample::Index>(),
            change in any::<(prop::sample::Index, u8)>(),
        ) {
            let packed = PackedSamples::of(&samples);
            let mut bytes = packed.as_bytes().to_vec();
            let cut = cut.index(bytes.len());
            if let Some(row) = PackedSamples::from_bytes(&bytes[..cut]) {
                prop_assert!(row.unpack().len() < samples.len());
            }
            let place = change.0.index(bytes.len());
            bytes[place] = change.1;
            if let Some(row) = PackedSamples::from_bytes(&bytes) {
                let again = row.unpack();
                prop_assert!(again.is_sorted_by_key(|sample| sample.point));
                prop_assert_eq!(PackedSamples::of(&again).unpack(), again);
            }
        }
    }

    #[test]
    fn an_ordinary_sample_takes_three_bytes() {
        let samples: Vec<_> = (0..100)
            .map(|point| PointSample::good(point, 30_000))
            .collect();
        assert_eq!(PackedSamples::of(&samples).as_bytes().len(), 1 + 300);
    }

    #[test]
    fn a_row_of_the_version_before_is_read_and_sorted() {
        let bytes = [
            1,
            0,
            9,
            0b0100_0001,
            32,
            0,
            2,
            0xff,
            0x38, // point 9: -200, sentinel
            0,
            4,
            0b0000_0001,
            1,
            7, // point 4: no value, timeout, detail 7
            0,
            5,
            0b1000_0000,
            0,
            0,
            0,
            2,
            b'h',
            b'i', // point 5: a text
        ];
        let mut flagged = PointSample::good(9, -200);
        flagged.flag(Quality::SENTINEL);
        let text = PointSample {
            point: 5,
            value: SampleValue::Text(b"hi".to_vec()),
            qualities: Vec::new(),
        };
        let expected = vec![PointSample::absent(4, Quality::TIMEOUT, 7), text, flagged];
        let row = PackedSamples::from_bytes(&bytes).unwrap();
        assert_eq!(row.unpack(), expected);
        for cut in 0..bytes.len() {
            let row = PackedSamples::from_bytes(&bytes[..cut]);
            assert!(row.is_none_or(|row| row.unpack().len() < 3), "cut at {cut}");
        }
    }
}
