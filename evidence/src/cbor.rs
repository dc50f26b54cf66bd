//! A strict reader and writer for the deterministic CBOR subset that entries and bodies use.
//!
//! RFC 8949 §4.2.1: unsigned and negative integers, byte and text strings, arrays, maps, `null`,
//! `true`, `false`, and tag 18 once at the front of an entry.
//!
//! The reader refuses everything a second encoder could have written differently: longer-than-needed
//! heads, indefinite lengths, floats, other simple values, maps whose keys are not strictly ascending.

/// Why bytes are not the CBOR that was expected. Offsets count from the start of the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CborError {
    /// The object ends in the middle of an item.
    #[error("CBOR ends early at byte {0}")]
    Truncated(usize),
    /// A head is longer than its value needs.
    #[error("CBOR head at byte {0} is not the shortest form")]
    NotShortest(usize),
    /// Indefinite lengths are not deterministic.
    #[error("CBOR item at byte {0} has an indefinite length")]
    Indefinite(usize),
    /// Another kind of item stands there.
    #[error("CBOR item at byte {offset} is not {expected}")]
    Type {
        /// Where.
        offset: usize,
        /// What was expected, in words.
        expected: &'static str,
    },
    /// A text string that is not UTF-8.
    #[error("CBOR text at byte {0} is not UTF-8")]
    Utf8(usize),
    /// A number outside the range of its field.
    #[error("CBOR number at byte {0} is out of range")]
    Range(usize),
    /// Map keys are not strictly ascending, or one is unknown or missing.
    #[error("CBOR map key at byte {0} is unknown, repeated, missing or out of order")]
    Key(usize),
    /// Bytes follow the object.
    #[error("bytes follow the CBOR object at byte {0}")]
    Trailing(usize),
    /// A string or list longer than the format allows.
    #[error("CBOR item at byte {0} is longer than the format allows")]
    TooLong(usize),
}

/// Reads one object from front to back.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The offset of the next byte to be read.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.at
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], CborError> {
        let end = self
            .at
            .checked_add(count)
            .ok_or(CborError::Truncated(self.at))?;
        let slice = self
            .bytes
            .get(self.at..end)
            .ok_or(CborError::Truncated(self.at))?;
        self.at = end;
        Ok(slice)
    }

    fn big_endian(&mut self, count: usize) -> Result<u64, CborError> {
        Ok(self
            .take(count)?
            .iter()
            .fold(0, |value, &byte| (value << 8) | u64::from(byte)))
    }

    /// Reads a head: major type and argument, shortest form only.
    fn head(&mut self) -> Result<(u8, u64), CborError> {
        let start = self.at;
        let initial = self.big_endian(1)?;
        let major = u8::try_from(initial >> 5).map_err(|_impossible| CborError::Range(start))?;
        let (value, least) = match initial & 31 {
            short @ 0..=23 => (short, 0),
            24 => (self.big_endian(1)?, 24),
            25 => (self.big_endian(2)?, 1 << 8),
            26 => (self.big_endian(4)?, 1 << 16),
            27 => (self.big_endian(8)?, 1 << 32),
            31 => return Err(CborError::Indefinite(start)),
            _ => {
                return Err(CborError::Type {
                    offset: start,
                    expected: "well-formed",
                });
            }
        };
        if value < least {
            Err(CborError::NotShortest(start))
        } else {
            Ok((major, value))
        }
    }

    fn expect(&mut self, major: u8, expected: &'static str) -> Result<u64, CborError> {
        let offset = self.at;
        match self.head()? {
            (found, value) if found == major => Ok(value),
            _ => Err(CborError::Type { offset, expected }),
        }
    }

    fn length(&mut self, major: u8, expected: &'static str) -> Result<usize, CborError> {
        let offset = self.at;
        let value = self.expect(major, expected)?;
        let length = usize::try_from(value).map_err(|_too_long| CborError::Truncated(offset))?;
        // Every element takes at least a byte, so a larger claim cannot be true: no huge allocation.
        if length > self.bytes.len() - self.at {
            Err(CborError::Truncated(offset))
        } else {
            Ok(length)
        }
    }

    /// Reads an unsigned integer.
    ///
    /// # Errors
    /// [`CborError`] as for every method here.
    pub fn uint(&mut self) -> Result<u64, CborError> {
        self.expect(0, "an unsigned integer")
    }

    /// Reads an unsigned integer that fits `T`.
    pub fn small<T: TryFrom<u64>>(&mut self) -> Result<T, CborError> {
        let offset = self.at;
        T::try_from(self.uint()?).map_err(|_out_of_range| CborError::Range(offset))
    }

    /// Reads a signed integer in the range of `i64`.
    pub fn int(&mut self) -> Result<i64, CborError> {
        let offset = self.at;
        let (major, value) = self.head()?;
        let value = i64::try_from(value).map_err(|_out_of_range| CborError::Range(offset))?;
        match major {
            0 => Ok(value),
            1 => Ok(-1 - value),
            _ => Err(CborError::Type {
                offset,
                expected: "an integer",
            }),
        }
    }

    /// Reads a byte string.
    pub fn bytes(&mut self) -> Result<&'a [u8], CborError> {
        let length = self.length(2, "a byte string")?;
        self.take(length)
    }

    /// Reads a byte string of exactly `N` bytes.
    pub fn array_of<const N: usize>(&mut self) -> Result<[u8; N], CborError> {
        let offset = self.at;
        let bytes = self.bytes()?;
        bytes.try_into().map_err(|_length| CborError::Type {
            offset,
            expected: "a byte string of the fixed length",
        })
    }

    /// Reads a text string of at most `most` bytes.
    pub fn text(&mut self, most: usize) -> Result<&'a str, CborError> {
        let offset = self.at;
        let length = self.length(3, "a text string")?;
        if length > most {
            return Err(CborError::TooLong(offset));
        }
        std::str::from_utf8(self.take(length)?).map_err(|_not_utf8| CborError::Utf8(offset))
    }

    /// Reads an array head and returns its length.
    pub fn array(&mut self) -> Result<usize, CborError> {
        self.length(4, "an array")
    }

    /// Reads an array head of exactly `count` elements.
    pub fn tuple(&mut self, count: usize) -> Result<(), CborError> {
        let offset = self.at;
        if self.array()? == count {
            Ok(())
        } else {
            Err(CborError::Type {
                offset,
                expected: "an array of the fixed length",
            })
        }
    }

    /// Reads a map head; the caller then reads its fields in ascending order.
    pub fn map(&mut self) -> Result<Fields, CborError> {
        let offset = self.at;
        let pairs = self.length(5, "a map")?;
        Ok(Fields {
            left: pairs,
            offset,
        })
    }

    /// Reads `true` or `false`.
    pub fn boolean(&mut self) -> Result<bool, CborError> {
        let offset = self.at;
        match self.head()? {
            (7, 20) => Ok(false),
            (7, 21) => Ok(true),
            _ => Err(CborError::Type {
                offset,
                expected: "true or false",
            }),
        }
    }

    /// Consumes `null` if it comes next.
    pub fn null(&mut self) -> bool {
        let is_null = self.bytes.get(self.at) == Some(&0xf6);
        if is_null {
            self.at += 1;
        }
        is_null
    }

    /// Consumes exactly these bytes.
    pub fn literal(
        &mut self,
        expected_bytes: &[u8],
        expected: &'static str,
    ) -> Result<(), CborError> {
        let offset = self.at;
        if self.take(expected_bytes.len())? == expected_bytes {
            Ok(())
        } else {
            Err(CborError::Type { offset, expected })
        }
    }

    /// Ends reading; nothing may follow.
    pub fn end(&self) -> Result<(), CborError> {
        if self.at == self.bytes.len() {
            Ok(())
        } else {
            Err(CborError::Trailing(self.at))
        }
    }
}

/// A key of a map: what the writer of the map wrote before the value.
pub trait Key: Copy {
    /// The key's encoding.
    fn encoded(self) -> Vec<u8>;
}

impl Key for u64 {
    fn encoded(self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.uint(self);
        writer.into_bytes()
    }
}

impl Key for &str {
    fn encoded(self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.text(self);
        writer.into_bytes()
    }
}

/// The pairs of one map that are still to be read. Fields are asked for in ascending order of their
/// encoded keys, so that order, repetition and unknown keys are all checked by the same step.
#[derive(Debug)]
#[must_use]
pub struct Fields {
    left: usize,
    offset: usize,
}

impl Fields {
    /// The next key must be `key`.
    ///
    /// # Errors
    /// [`CborError::Key`] when another key comes or the map has ended.
    pub fn required<K: Key>(&mut self, reader: &mut Reader<'_>, key: K) -> Result<(), CborError> {
        if self.optional(reader, key) {
            Ok(())
        } else {
            Err(CborError::Key(reader.offset()))
        }
    }

    /// Whether the next key is `key`; if so it is consumed.
    pub fn optional<K: Key>(&mut self, reader: &mut Reader<'_>, key: K) -> bool {
        let encoded = key.encoded();
        let rest = reader.bytes.get(reader.at..).unwrap_or_default();
        if self.left > 0 && rest.starts_with(&encoded) {
            self.left -= 1;
            reader.at += encoded.len();
            true
        } else {
            false
        }
    }

    /// All pairs must have been read.
    ///
    /// # Errors
    /// [`CborError::Key`] when some are left.
    pub fn finish(self, reader: &Reader<'_>) -> Result<(), CborError> {
        if self.left == 0 {
            Ok(())
        } else {
            Err(CborError::Key(reader.offset().max(self.offset)))
        }
    }
}

/// Writes deterministic CBOR. The caller writes map keys in ascending order of their encoding.
#[derive(Debug, Default, Clone)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty object.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    /// The finished bytes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn head(&mut self, major: u8, value: u64) -> &mut Self {
        let all = value.to_be_bytes();
        let (info, from) = match value {
            0..=23 => (all[7], 8),
            24..=0xff => (24, 7),
            0x100..=0xffff => (25, 6),
            0x1_0000..=0xffff_ffff => (26, 4),
            _ => (27, 0),
        };
        self.bytes.push((major << 5) | info);
        self.bytes.extend(all.iter().skip(from));
        self
    }

    fn length(&mut self, major: u8, length: usize) -> &mut Self {
        self.head(
            major,
            u64::try_from(length).expect("a length in memory fits u64"),
        )
    }

    /// Writes an unsigned integer.
    pub fn uint(&mut self, value: impl Into<u64>) -> &mut Self {
        self.head(0, value.into())
    }

    /// Writes a signed integer.
    pub fn int(&mut self, value: i64) -> &mut Self {
        match u64::try_from(value) {
            Ok(positive) => self.head(0, positive),
            // -1 - n is written as n, which is the bitwise complement.
            Err(_negative) => self.head(1, !value.cast_unsigned()),
        }
    }

    /// Writes a byte string.
    pub fn byte_string(&mut self, bytes: &[u8]) -> &mut Self {
        self.length(2, bytes.len());
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Writes a text string.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.length(3, text.len());
        self.bytes.extend_from_slice(text.as_bytes());
        self
    }

    /// Writes an array head.
    pub fn array(&mut self, count: usize) -> &mut Self {
        self.length(4, count)
    }

    /// Writes a map head.
    pub fn map(&mut self, pairs: usize) -> &mut Self {
        self.length(5, pairs)
    }

    /// Writes `null`.
    pub fn null(&mut self) -> &mut Self {
        self.bytes.push(0xf6);
        self
    }

    /// Writes `true` or `false`.
    pub fn boolean(&mut self, value: bool) -> &mut Self {
        self.bytes.push(if value { 0xf5 } else { 0xf4 });
        self
    }

    /// Appends bytes that are CBOR already.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }
}

/// Checks that bytes are one deterministic object of the subset, whatever its meaning.
///
/// # Errors
/// The first rule that is broken.
pub fn validate(bytes: &[u8]) -> Result<(), CborError> {
    let mut reader = Reader::new(bytes);
    validate_item(&mut reader, 0)?;
    reader.end()
}

fn validate_item(reader: &mut Reader<'_>, depth: u8) -> Result<(), CborError> {
    let offset = reader.offset();
    if depth > 16 {
        return Err(CborError::TooLong(offset));
    }
    match reader.clone().head()? {
        (0, _) => reader.uint().map(drop),
        (1, _) => reader.int().map(drop),
        (2, _) => reader.bytes().map(drop),
        (3, _) => reader.text(usize::MAX).map(drop),
        (4, _) => {
            for _element in 0..reader.array()? {
                validate_item(reader, depth + 1)?;
            }
            Ok(())
        }
        (5, _) => {
            let fields = reader.map()?;
            let mut previous: &[u8] = &[];
            for _pair in 0..fields.left {
                let key_at = reader.offset();
                validate_item(reader, depth + 1)?;
                let key = reader
                    .bytes
                    .get(key_at..reader.offset())
                    .unwrap_or_default();
                if key <= previous {
                    return Err(CborError::Key(key_at));
                }
                previous = key;
                validate_item(reader, depth + 1)?;
            }
            Ok(())
        }
        (7, 20..=22) => reader.take(1).map(drop),
        _ => Err(CborError::Type {
            offset,
            expected: "an item of the subset",
        }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{CborError, Reader, Writer, validate};

    #[test]
    fn integers_are_written_in_the_shortest_form_and_read_back() {
        for value in [
            0,
            23,
            24,
            255,
            256,
            65_535,
            65_536,
            u64::from(u32::MAX),
            1 << 32,
            u64::MAX,
        ] {
            let mut writer = Writer::new();
            writer.uint(value);
            let bytes = writer.into_bytes();
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.uint(), Ok(value));
            assert_eq!(reader.end(), Ok(()));
        }
    }

    #[test]
    fn a_longer_head_than_needed_is_refused() {
        assert_eq!(
            Reader::new(&[0x18, 23]).uint(),
            Err(CborError::NotShortest(0))
        );
        assert_eq!(
            Reader::new(&[0x19, 0, 255]).uint(),
            Err(CborError::NotShortest(0))
        );
        assert_eq!(
            Reader::new(&[0x1b, 0, 0, 0, 0, 1, 2, 3, 4]).uint(),
            Err(CborError::NotShortest(0))
        );
    }

    #[test]
    fn indefinite_lengths_floats_and_repeated_keys_are_refused() {
        assert_eq!(validate(&[0x9f, 0xff]), Err(CborError::Indefinite(0)));
        assert!(validate(&[0xf9, 0x3c, 0x00]).is_err());
        assert_eq!(
            validate(&[0xa2, 0x01, 0x00, 0x01, 0x00]),
            Err(CborError::Key(3))
        );
        assert_eq!(
            validate(&[0xa2, 0x02, 0x00, 0x01, 0x00]),
            Err(CborError::Key(3))
        );
        assert_eq!(validate(&[0xa1, 0x01, 0x00]), Ok(()));
    }

    #[test]
    fn a_claimed_length_beyond_the_object_is_refused_before_anything_is_allocated() {
        assert_eq!(
            Reader::new(&[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).bytes(),
            Err(CborError::Truncated(0))
        );
    }

    proptest! {
        #[test]
        fn signed_integers_round_trip(value: i64) {
            let mut writer = Writer::new();
            writer.int(value);
            let bytes = writer.into_bytes();
            prop_assert_eq!(Reader::new(&bytes).int(), Ok(value));
            prop_assert_eq!(minicbor::decode::<i64>(&bytes).ok(), Some(value));
        }

        #[test]
        fn whatever_the_strict_reader_accepts_minicbor_accepts_too(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if validate(&bytes).is_ok() {
                let mut other = minicbor::Decoder::new(&bytes);
                prop_assert!(other.skip().is_ok());
                prop_assert_eq!(other.position(), bytes.len());
            }
        }
    }
}
