//! The bytes of one journal row: private to this version of the gateway, never sent or signed.
//!
//! Per sample: point (u16), a byte of kind and number of qualities, the qualities with their detail
//! bytes, then the value. The journal outlives an update of the program, so the first byte is a
//! version.

use evidence::quality::Quality;

use crate::sample::{PointSample, SampleValue};

const VERSION: u8 = 1;
const ABSENT: u8 = 0;
const INT: u8 = 1;
const TEXT: u8 = 2;

/// Encodes the samples of a row.
pub(super) fn encode(samples: &[PointSample]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + samples.len() * 6);
    out.push(VERSION);
    for sample in samples {
        out.extend(sample.point.to_be_bytes());
        let kind = match &sample.value {
            SampleValue::Absent => ABSENT,
            SampleValue::Int(_) => INT,
            SampleValue::Text(_) => TEXT,
        };
        // A sample names each quality once and there are fewer than 64 codes: the count fits.
        let count = u8::try_from(sample.qualities.len().min(63)).unwrap_or(63);
        out.push(kind << 6 | count);
        for (quality, aux) in sample.qualities.iter().take(63) {
            out.extend([quality.code(), *aux]);
        }
        match &sample.value {
            SampleValue::Absent => {}
            SampleValue::Int(value) => put_int(&mut out, *value),
            SampleValue::Text(text) => {
                let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
                out.extend(length.to_be_bytes());
                out.extend(text);
            }
        }
    }
    out
}

/// Decodes a row, or `None` when the bytes are not one.
pub(super) fn decode(bytes: &[u8]) -> Option<Vec<PointSample>> {
    let (&version, mut rest) = bytes.split_first()?;
    if version != VERSION {
        return None;
    }
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
        let (value, tail) = match head >> 6 {
            ABSENT => (SampleValue::Absent, after),
            INT => take_int(after).map(|(value, tail)| (SampleValue::Int(value), tail))?,
            TEXT => {
                let (length, tail) = after.split_first_chunk::<4>()?;
                let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
                let (text, tail) = tail.split_at_checked(length)?;
                (SampleValue::Text(text.to_vec()), tail)
            }
            _ => return None,
        };
        samples.push(PointSample {
            point: u16::from_be_bytes(*point),
            value,
            qualities,
        });
        rest = tail;
    }
    Some(samples)
}

/// A length byte and as many significant bytes of the two's complement, most significant first.
fn put_int(out: &mut Vec<u8>, value: i64) {
    let bytes = value.to_be_bytes();
    let sign: u8 = if value < 0 { 0xff } else { 0 };
    let needed = (1..=8_usize)
        .find(|&needed| {
            let (cut, kept) = bytes.split_at(8 - needed);
            let kept_sign = kept.first().is_some_and(|byte| byte & 0x80 != 0);
            cut.iter().all(|&byte| byte == sign) && kept_sign == (value < 0)
        })
        .unwrap_or(8);
    out.push(u8::try_from(needed).unwrap_or(8));
    out.extend(bytes.iter().skip(8 - needed));
}

fn take_int(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    let length = usize::from(length);
    if !(1..=8).contains(&length) {
        return None;
    }
    let (kept, rest) = rest.split_at_checked(length)?;
    let fill = if kept.first().is_some_and(|byte| byte & 0x80 != 0) {
        0xff
    } else {
        0
    };
    let mut value = [fill; 8];
    value
        .iter_mut()
        .skip(8 - length)
        .zip(kept)
        .for_each(|(to, from)| *to = *from);
    Some((i64::from_be_bytes(value), rest))
}

#[cfg(test)]
mod tests {
    use evidence::quality::Quality;
    use proptest::prelude::{any, prop, prop_oneof, proptest};
    use proptest::strategy::{Just, Strategy};

    use super::{decode, encode};
    use crate::sample::{PointSample, SampleValue};

    fn sample() -> impl Strategy<Value = PointSample> {
        let value = prop_oneof![
            Just(SampleValue::Absent),
            any::<i64>().prop_map(SampleValue::Int),
            (-300_i64..300).prop_map(SampleValue::Int),
            prop::collection::vec(any::<u8>(), 0..40).prop_map(SampleValue::Text),
        ];
        (any::<u16>(), value, prop::bool::ANY, any::<u8>()).prop_map(|(point, value, bad, aux)| {
            let qualities = if bad {
                vec![(Quality::TIMEOUT, aux)]
            } else {
                Vec::new()
            };
            PointSample {
                point,
                value,
                qualities,
            }
        })
    }

    proptest! {
        #[test]
        fn every_row_decodes_to_itself(samples in prop::collection::vec(sample(), 0..20)) {
            assert_eq!(decode(&encode(&samples)), Some(samples));
        }

        #[test]
        fn a_cut_row_is_refused_or_shorter_but_never_panics(
            samples in prop::collection::vec(sample(), 1..5), cut in any::<prop::sample::Index>()
        ) {
            let bytes = encode(&samples);
            let cut = cut.index(bytes.len());
            assert_ne!(decode(&bytes[..cut]), Some(samples));
        }
    }
}
