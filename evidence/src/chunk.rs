//! Column chunks: all samples of one point in one segment, delta-coded and bit-packed.
//!
//! A chunk has exactly one encoding. The reader checks that it was given that one: the smallest bit
//! width, no stray bits, quality records ascending, empty slots filled by the rule.

use crate::entry::PayloadRef;
use crate::hash::{Hash, leaf_hash, root_of};
use crate::quality::Quality;

/// The bytes before a chunk's columns.
pub const HEADER_BYTES: usize = 16;
/// The widest delta that codec 1 packs.
const MOST_BITS: u32 = 56;
/// In codec 3, the width that says that texts follow instead of packed deltas.
const TEXTS_FOLLOW: u8 = 255;

/// Why bytes are not a chunk, or a chunk has no encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkError {
    /// The chunk ends early.
    #[error("the chunk ends early")]
    Truncated,
    /// A codec byte outside 1–3.
    #[error("codec {0} is unknown")]
    UnknownCodec(u8),
    /// A bit width that the deltas do not need, or that no codec has.
    #[error("the bit width {0} is not the smallest that holds the deltas")]
    WidthNotSmallest(u8),
    /// Bits behind the last delta are set.
    #[error("unused bits are not zero")]
    StrayBits,
    /// A header field that must be zero is not.
    #[error("a header field that this codec leaves unused is not zero")]
    StrayHeader,
    /// A delta leaves the range of a column value.
    #[error("a delta leaves the range of a column value")]
    Overflow,
    /// A quality record with an unregistered code.
    #[error("quality code {0} is not registered")]
    UnknownQuality(u8),
    /// Quality records out of order, repeated, or beyond the samples.
    #[error("quality records are not ascending within the samples")]
    QualityOrder,
    /// A sample without a value does not hold what the fill rule says.
    #[error("sample {0} has no value but does not repeat its predecessor")]
    NotFilled(u16),
    /// Message offsets go backwards.
    #[error("message offsets decrease")]
    OffsetsDecrease,
    /// More samples, records or bytes than the fields can count.
    #[error("the chunk is too large")]
    TooLarge,
    /// A payload does not split into the chunks that were signed.
    #[error("the payload does not hold exactly the signed chunks")]
    PayloadShape,
}

/// The samples of one point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Column {
    /// Column values ([`crate::value`]).
    Ints(Vec<i64>),
    /// Byte strings as received; an integer that codec 1 cannot pack is eight bytes, big-endian.
    Texts(Vec<Vec<u8>>),
}

/// One quality record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exception {
    /// The sample's position in the chunk.
    pub sample: u16,
    /// What is said of it; never [`Quality::GOOD`].
    pub quality: Quality,
    /// The Modbus exception code, or 0.
    pub aux: u8,
}

/// A chunk in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The point's index in the configuration in force.
    pub point: u16,
    /// Messages only: each sample's milliseconds from the start of the segment.
    pub offsets_ms: Option<Vec<u32>>,
    /// The samples.
    pub column: Column,
    /// Quality records, ascending by sample and code.
    pub exceptions: Vec<Exception>,
}

impl Column {
    /// The number of samples.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self {
            Self::Ints(values) => values.len(),
            Self::Texts(texts) => texts.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Fills slots without a value: with the predecessor, before the first value with the first value,
/// or with zero when there is none at all.
#[must_use]
pub fn fill_missing(values: &[Option<i64>]) -> Vec<i64> {
    let mut last = values.iter().flatten().next().copied().unwrap_or(0);
    values
        .iter()
        .map(|value| {
            last = value.unwrap_or(last);
            last
        })
        .collect()
}

const fn zigzag(delta: i64) -> u64 {
    (delta.cast_unsigned() << 1) ^ (delta >> 63).cast_unsigned()
}

const fn unzigzag(code: u64) -> i64 {
    (code >> 1).cast_signed() ^ -((code & 1).cast_signed())
}

/// The width of codec 1 for a column, or `None` when a delta needs more than 56 bits.
fn width(values: &[i64]) -> Option<u8> {
    let mut all = 0;
    for (previous, next) in values.iter().zip(values.iter().skip(1)) {
        all |= zigzag(next.checked_sub(*previous)?);
    }
    let bits = u64::BITS - all.leading_zeros();
    if bits > MOST_BITS {
        None
    } else {
        u8::try_from(bits).ok()
    }
}

impl Chunk {
    /// The one encoding of this chunk.
    ///
    /// # Errors
    /// [`ChunkError`] when a rule of the format is broken by the contents.
    pub fn encode(&self) -> Result<Vec<u8>, ChunkError> {
        let count = u16::try_from(self.column.len()).map_err(|_many| ChunkError::TooLarge)?;
        let records = u16::try_from(self.exceptions.len()).map_err(|_many| ChunkError::TooLarge)?;
        let widened;
        let (texts, packed) = match &self.column {
            Column::Texts(texts) => (Some(texts), None),
            Column::Ints(values) => match width(values) {
                Some(bits) => (None, Some((values, bits))),
                None if self.offsets_ms.is_some() => return Err(ChunkError::Overflow),
                None => {
                    widened = values
                        .iter()
                        .map(|value| value.to_be_bytes().to_vec())
                        .collect();
                    (Some(&widened), None)
                }
            },
        };
        let (codec, bits) = match (&self.offsets_ms, packed) {
            (None, Some((_, bits))) => (1, bits),
            (None, None) => (2, 0),
            (Some(_), Some((_, bits))) => (3, bits),
            (Some(_), None) => (3, TEXTS_FOLLOW),
        };
        let first = packed
            .and_then(|(values, _)| values.first().copied())
            .unwrap_or(0);
        let mut out =
            Vec::with_capacity(HEADER_BYTES + 4 * self.exceptions.len() + usize::from(count) * 2);
        out.extend([codec, bits]);
        for field in [self.point, count, records] {
            out.extend(field.to_le_bytes());
        }
        out.extend(first.to_le_bytes());
        if let Some(offsets) = &self.offsets_ms {
            if offsets.len() != self.column.len() {
                return Err(ChunkError::PayloadShape);
            }
            offsets
                .iter()
                .for_each(|offset| out.extend(offset.to_le_bytes()));
        }
        if let Some((values, bits)) = packed {
            pack(values, u32::from(bits), &mut out);
        }
        for text in texts.into_iter().flatten() {
            let length = u16::try_from(text.len()).map_err(|_long| ChunkError::TooLarge)?;
            out.extend(length.to_le_bytes());
            out.extend_from_slice(text);
        }
        for exception in &self.exceptions {
            out.extend(exception.sample.to_le_bytes());
            out.extend([exception.quality.code(), exception.aux]);
        }
        // One reader for everybody, the writer included: what it would refuse is not written.
        let (view, used) = View::parse(&out)?;
        view.check(&mut Vec::new())?;
        if used == out.len() {
            Ok(out)
        } else {
            Err(ChunkError::PayloadShape)
        }
    }

    /// Reads one chunk from the front of `bytes` and returns the bytes it took.
    ///
    /// # Errors
    /// [`ChunkError`] for anything but the one encoding of a valid chunk.
    pub fn decode(bytes: &[u8]) -> Result<(Self, usize), ChunkError> {
        let (view, used) = View::parse(bytes)?;
        let mut values = Vec::new();
        view.check(&mut values)?;
        let column = match view.texts() {
            Some(texts) => Column::Texts(texts.map(<[u8]>::to_vec).collect()),
            None => Column::Ints(values),
        };
        Ok((
            Self {
                point: view.point,
                offsets_ms: view.offsets().map(Iterator::collect),
                column,
                exceptions: view.exceptions().collect(),
            },
            used,
        ))
    }
}

fn pack(values: &[i64], bits: u32, out: &mut Vec<u8>) {
    let mut pending: u128 = 0;
    let mut filled = 0;
    for (previous, next) in values.iter().zip(values.iter().skip(1)) {
        pending |= u128::from(zigzag(next - previous)) << filled;
        filled += bits;
        while filled >= 8 {
            out.extend(pending.to_le_bytes().first());
            pending >>= 8;
            filled -= 8;
        }
    }
    if filled > 0 {
        out.extend(pending.to_le_bytes().first());
    }
}

/// A chunk whose parts are still where they were received.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The point's index.
    pub point: u16,
    /// The number of samples.
    pub count: u16,
    /// Whether the chunk holds messages (codec 3).
    pub messages: bool,
    first: i64,
    /// Bits per delta, or none when texts follow.
    bits: Option<u8>,
    offsets: &'a [u8],
    column: &'a [u8],
    records: &'a [u8],
}

fn split_at(bytes: &[u8], middle: usize) -> Result<(&[u8], &[u8]), ChunkError> {
    bytes.split_at_checked(middle).ok_or(ChunkError::Truncated)
}

impl<'a> View<'a> {
    /// Finds the parts of the chunk at the front of `bytes`; returns the bytes it takes.
    ///
    /// # Errors
    /// [`ChunkError`] when the header or the lengths are wrong. [`Self::check`] checks the rest.
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, usize), ChunkError> {
        let (header, rest) = bytes
            .split_first_chunk::<HEADER_BYTES>()
            .ok_or(ChunkError::Truncated)?;
        let [codec, bits, p0, p1, n0, n1, e0, e1, first @ ..] = *header;
        let count = u16::from_le_bytes([n0, n1]);
        let first = i64::from_le_bytes(first);
        let (messages, bits) = match (codec, bits) {
            (1, bits) => (false, Some(bits)),
            (2, 0) => (false, None),
            (2, _) => return Err(ChunkError::StrayHeader),
            (3, TEXTS_FOLLOW) => (true, None),
            (3, bits) => (true, Some(bits)),
            (other, _) => return Err(ChunkError::UnknownCodec(other)),
        };
        if (bits.is_none() || count == 0) && first != 0 {
            return Err(ChunkError::StrayHeader);
        }
        if count == 0 && (bits.is_none() || !messages) {
            return Err(ChunkError::StrayHeader);
        }
        let (offsets, rest) = split_at(rest, if messages { usize::from(count) * 4 } else { 0 })?;
        let column_bytes = match bits {
            Some(bits) if u32::from(bits) > MOST_BITS => {
                return Err(ChunkError::WidthNotSmallest(bits));
            }
            Some(bits) => (usize::from(count.saturating_sub(1)) * usize::from(bits)).div_ceil(8),
            None => {
                let mut scan = rest;
                let mut used = 0;
                for _text in 0..count {
                    let (_, after) = next_text(scan)?;
                    used += scan.len() - after.len();
                    scan = after;
                }
                used
            }
        };
        let (column, rest) = split_at(rest, column_bytes)?;
        let (records, rest) = split_at(rest, usize::from(u16::from_le_bytes([e0, e1])) * 4)?;
        let view = Self {
            point: u16::from_le_bytes([p0, p1]),
            count,
            messages,
            first,
            bits,
            offsets,
            column,
            records,
        };
        Ok((view, bytes.len() - rest.len()))
    }

    /// Checks everything [`Self::parse`] did not and leaves the integer column, if it is one, in `values`.
    ///
    /// # Errors
    /// [`ChunkError`] when this is not the one encoding of a valid chunk.
    pub fn check(&self, values: &mut Vec<i64>) -> Result<(), ChunkError> {
        values.clear();
        if let Some(bits) = self.bits {
            self.unpack(bits, values)?;
        }
        if let Some(mut offsets) = self.offsets() {
            let mut last = 0;
            if !offsets.all(|offset| std::mem::replace(&mut last, offset) <= offset) {
                return Err(ChunkError::OffsetsDecrease);
            }
        }
        if self.records.is_empty() {
            Ok(())
        } else {
            self.check_records(values)
        }
    }

    /// The texts, unless the column is packed integers.
    #[must_use]
    pub fn texts(&self) -> Option<impl Iterator<Item = &'a [u8]> + use<'a>> {
        let mut rest = self.column;
        self.bits.is_none().then(|| {
            (0..self.count).map_while(move |_| {
                let (text, after) = next_text(rest).ok()?;
                rest = after;
                Some(text)
            })
        })
    }

    /// Each message's milliseconds from the start of the segment.
    #[must_use]
    pub fn offsets(&self) -> Option<impl Iterator<Item = u32> + use<'a>> {
        let quads = self.offsets.as_chunks::<4>().0;
        self.messages
            .then(|| quads.iter().map(|offset| u32::from_le_bytes(*offset)))
    }

    /// Whether every sample is good.
    #[must_use]
    pub const fn all_good(&self) -> bool {
        self.records.is_empty()
    }

    /// The quality records, in order. Call after [`Self::check`], which refuses unregistered codes.
    pub fn exceptions(&self) -> impl Iterator<Item = Exception> + use<'a> {
        self.records
            .as_chunks::<4>()
            .0
            .iter()
            .map(|&[low, high, code, aux]| Exception {
                sample: u16::from_le_bytes([low, high]),
                quality: Quality::from_code(code).unwrap_or(Quality::DROPPED),
                aux,
            })
    }

    fn unpack(&self, bits: u8, values: &mut Vec<i64>) -> Result<(), ChunkError> {
        if self.count == 0 {
            return if bits == 0 {
                Ok(())
            } else {
                Err(ChunkError::WidthNotSmallest(bits))
            };
        }
        let deltas = usize::from(self.count) - 1;
        values.reserve(deltas + 1);
        values.push(self.first);
        if bits == 0 {
            values.resize(deltas + 1, self.first);
            return Ok(());
        }
        let width = usize::from(bits);
        let mask = u64::MAX >> (u64::BITS - u32::from(bits));
        let mut value = self.first;
        let mut all = 0;
        let mut overflow = false;
        let mut step = |code: u64| {
            all |= code;
            let (sum, wrapped) = value.overflowing_add(unzigzag(code));
            overflow |= wrapped;
            value = sum;
            sum
        };
        // Eight whole bytes hold any delta that starts inside the first of them; near the end of the
        // column, and only there, the bytes are copied so that the load stays inside.
        let whole = self.column.len().saturating_sub(8) * 8 / width;
        for at in 0..deltas.min(whole) {
            let bit = at * width;
            let word = self
                .column
                .get(bit / 8..)
                .and_then(<[u8]>::first_chunk::<8>)
                .ok_or(ChunkError::Truncated)?;
            values.push(step((u64::from_le_bytes(*word) >> (bit % 8)) & mask));
        }
        for at in deltas.min(whole)..deltas {
            let bit = at * width;
            let mut word = [0_u8; 8];
            for (to, from) in word
                .iter_mut()
                .zip(self.column.get(bit / 8..).unwrap_or_default())
            {
                *to = *from;
            }
            values.push(step((u64::from_le_bytes(word) >> (bit % 8)) & mask));
        }
        if overflow {
            return Err(ChunkError::Overflow);
        }
        if u64::BITS - all.leading_zeros() != u32::from(bits) {
            return Err(ChunkError::WidthNotSmallest(bits));
        }
        let used = deltas * width % 8;
        if used != 0 && self.column.last().is_some_and(|last| last >> used != 0) {
            return Err(ChunkError::StrayBits);
        }
        Ok(())
    }

    fn check_records(&self, values: &[i64]) -> Result<(), ChunkError> {
        let mut last: Option<(u16, u8)> = None;
        let mut absent = vec![false; usize::from(self.count)];
        for &[low, high, code, _aux] in self.records.as_chunks::<4>().0 {
            let sample = u16::from_le_bytes([low, high]);
            let quality = Quality::from_code(code).ok_or(ChunkError::UnknownQuality(code))?;
            if last.is_some_and(|last| last >= (sample, code)) {
                return Err(ChunkError::QualityOrder);
            }
            last = Some((sample, code));
            let slot = absent
                .get_mut(usize::from(sample))
                .ok_or(ChunkError::QualityOrder)?;
            *slot |= !quality.has_value();
        }
        match self.texts() {
            None => check_filled(values.iter(), &absent, &0),
            // An integer column that needs texts has eight-byte zeros, a text column empty strings.
            Some(texts) => {
                let texts: Vec<&[u8]> = texts.collect();
                let zero: &[u8] = if texts.first().is_some_and(|text| text.len() == 8) {
                    &[0; 8]
                } else {
                    &[]
                };
                check_filled(texts.iter(), &absent, &zero)
            }
        }
    }
}

/// Slots without a value hold their predecessor, or the first value, or `none` when there is no value.
fn check_filled<'v, T: PartialEq + 'v>(
    slots: impl Iterator<Item = &'v T> + Clone,
    absent: &[bool],
    none: &'v T,
) -> Result<(), ChunkError> {
    let with_absent = slots.zip(absent);
    let first = with_absent
        .clone()
        .find(|(_, absent)| !**absent)
        .map_or(none, |(value, _)| value);
    let mut last = first;
    for (sample, (value, absent)) in (0_u16..).zip(with_absent) {
        if *absent && value != last {
            return Err(ChunkError::NotFilled(sample));
        }
        last = value;
    }
    Ok(())
}

fn next_text(bytes: &[u8]) -> Result<(&[u8], &[u8]), ChunkError> {
    let (length, rest) = bytes
        .split_first_chunk::<2>()
        .ok_or(ChunkError::Truncated)?;
    split_at(rest, usize::from(u16::from_le_bytes(*length)))
}

/// Joins chunks into a payload; returns it with what an entry signs about it.
///
/// # Errors
/// The first chunk's own error.
pub fn payload(chunks: &[Chunk]) -> Result<(Vec<u8>, PayloadRef), ChunkError> {
    let mut bytes = Vec::new();
    let mut leaves = Vec::with_capacity(chunks.len());
    for chunk in chunks {
        let encoded = chunk.encode()?;
        leaves.push(leaf_hash(&encoded));
        bytes.extend(encoded);
    }
    let count = |length: usize| u64::try_from(length).map_err(|_long| ChunkError::TooLarge);
    let signed = PayloadRef {
        root: root_of(&leaves),
        chunks: count(leaves.len())?,
        bytes: count(bytes.len())?,
    };
    Ok((bytes, signed))
}

/// Splits a payload into its chunks, as many as were signed, with nothing left over.
///
/// # Errors
/// [`ChunkError::PayloadShape`] when the count does not match, or the first chunk's own error.
pub fn split(payload: &[u8], count: u64) -> Result<Vec<View<'_>>, ChunkError> {
    let mut views = Vec::new();
    let mut rest = payload;
    while !rest.is_empty() {
        if u64::try_from(views.len()).is_ok_and(|found| found >= count) {
            return Err(ChunkError::PayloadShape);
        }
        let (view, used) = View::parse(rest)?;
        views.push(view);
        rest = rest.get(used..).unwrap_or_default();
    }
    if u64::try_from(views.len()).is_ok_and(|found| found == count) {
        Ok(views)
    } else {
        Err(ChunkError::PayloadShape)
    }
}

/// The root of the inner tree over a payload's chunks.
///
/// # Errors
/// The first chunk's own error.
pub fn inner_root(payload: &[u8]) -> Result<Hash, ChunkError> {
    let mut leaves = Vec::new();
    let mut rest = payload;
    while !rest.is_empty() {
        let (_, used) = View::parse(rest)?;
        let (chunk, after) = split_at(rest, used)?;
        leaves.push(leaf_hash(chunk));
        rest = after;
    }
    Ok(root_of(&leaves))
}

#[cfg(test)]
mod tests;
