//! From raw words to a value on the point's grid, the same in every language.
//!
//! A *column value* is what a chunk holds: the registers of one sample, put into the declared order,
//! as one integer. The step is a permutation of bytes, so the words as they stood on the wire can
//! always be recovered, and a corrected template re-decodes old evidence without touching it.

mod decoder;

pub use decoder::{Decoder, json_mantissa};

/// Values of 2^53 and more in magnitude are not exact in every reader's arithmetic and are refused.
pub const MANTISSA_LIMIT: i64 = 1 << 53;

/// The layout of a point's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// The type.
    pub kind: Kind,
    /// The order of bytes and words.
    pub order: Order,
}

/// The type of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One register, unsigned.
    U16,
    /// One register, two's complement.
    I16,
    /// Two registers, unsigned.
    U32,
    /// Two registers, two's complement.
    I32,
    /// Four registers, unsigned.
    U64,
    /// Four registers, two's complement.
    I64,
    /// Two registers, IEEE 754.
    F32,
    /// Four registers, IEEE 754.
    F64,
    /// One bit (0–15) of one register, or a coil.
    Bit(u8),
    /// Bits `low`–`high` (0–15, the first below the second) of one register, unsigned.
    Bits {
        /// The lowest bit, which counts 1.
        low: u8,
        /// The highest bit.
        high: u8,
    },
    /// One register of four decimal digits.
    Bcd16,
    /// Two registers of eight decimal digits.
    Bcd32,
    /// Four registers of sixteen decimal digits.
    Bcd64,
    /// Characters; never a number.
    Text,
    /// A number from a message, as an integer on the point's grid.
    Number,
}

/// The order of the bytes of a value; `ABCD` is big-endian throughout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Most significant word first, most significant byte first.
    Abcd,
    /// Least significant word first.
    Cdab,
    /// Most significant word first, bytes swapped within words.
    Badc,
    /// Least significant word first, bytes swapped within words.
    Dcba,
}

impl Order {
    const NAMES: [(Self, &'static str); 4] = [
        (Self::Abcd, "ABCD"),
        (Self::Cdab, "CDAB"),
        (Self::Badc, "BADC"),
        (Self::Dcba, "DCBA"),
    ];

    /// The name, e.g. `CDAB`.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(order, _)| *order == self)
            .map_or("ABCD", |(_, name)| name)
    }

    /// The order of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(order, _)| *order)
    }

    const fn swaps_words(self) -> bool {
        matches!(self, Self::Cdab | Self::Dcba)
    }

    const fn swaps_bytes(self) -> bool {
        matches!(self, Self::Badc | Self::Dcba)
    }
}

impl Kind {
    const NAMES: [(Self, &'static str); 13] = [
        (Self::U16, "u16"),
        (Self::I16, "i16"),
        (Self::U32, "u32"),
        (Self::I32, "i32"),
        (Self::U64, "u64"),
        (Self::I64, "i64"),
        (Self::F32, "f32"),
        (Self::F64, "f64"),
        (Self::Bcd16, "bcd16"),
        (Self::Bcd32, "bcd32"),
        (Self::Bcd64, "bcd64"),
        (Self::Text, "text"),
        (Self::Number, "number"),
    ];

    /// The name in configurations and in the sealed body; bits are `bit0`–`bit15`, bit fields
    /// `bits0-1`–`bits14-15`.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Bit(bit) => format!("bit{bit}"),
            Self::Bits { low, high } => format!("bits{low}-{high}"),
            other => Self::NAMES
                .iter()
                .find(|(kind, _)| *kind == other)
                .map_or("", |(_, name)| name)
                .to_owned(),
        }
    }

    /// The kind of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let bit = |digits: &str| (0..16).find(|bit: &u8| bit.to_string() == digits);
        if let Some(range) = name.strip_prefix("bits") {
            let (low, high) = range.split_once('-')?;
            let (low, high) = (bit(low)?, bit(high)?);
            return (low < high).then_some(Self::Bits { low, high });
        }
        if let Some(digits) = name.strip_prefix("bit") {
            return bit(digits).map(Self::Bit);
        }
        Self::NAMES
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(kind, _)| *kind)
    }
}

impl Format {
    /// The format of a type name and an order name.
    #[must_use]
    pub fn from_names(kind: &str, order: &str) -> Option<Self> {
        Some(Self {
            kind: Kind::from_name(kind)?,
            order: Order::from_name(order)?,
        })
    }

    /// The number of registers; 0 for texts (any number) and messages (none).
    #[must_use]
    pub const fn words(self) -> u8 {
        match self.kind {
            Kind::U16 | Kind::I16 | Kind::Bit(_) | Kind::Bits { .. } | Kind::Bcd16 => 1,
            Kind::U32 | Kind::I32 | Kind::F32 | Kind::Bcd32 => 2,
            Kind::U64 | Kind::I64 | Kind::F64 | Kind::Bcd64 => 4,
            Kind::Text | Kind::Number => 0,
        }
    }

    /// Whether scale and offset must be neutral.
    #[must_use]
    pub const fn takes_no_scale(self) -> bool {
        matches!(
            self.kind,
            Kind::F32 | Kind::F64 | Kind::Text | Kind::Number | Kind::Bit(_)
        )
    }

    /// The column value of registers as they were read, or `None` when their number is wrong or the
    /// format has no integer column (texts, messages).
    #[must_use]
    #[inline]
    pub fn raw(self, words: &[u16]) -> Option<i64> {
        if let ([word], Kind::U16) = (words, self.kind) {
            // Most registers of most devices.
            let swapped = self.order.swaps_bytes();
            return Some(i64::from(if swapped { word.swap_bytes() } else { *word }));
        }
        self.raw_joined(words)
    }

    fn raw_joined(self, words: &[u16]) -> Option<i64> {
        if words.is_empty() || words.len() != usize::from(self.words()) {
            return None;
        }
        let word = |word: &u16| {
            if self.order.swaps_bytes() {
                word.swap_bytes()
            } else {
                *word
            }
        };
        let join = |sum: u64, word: u16| (sum << 16) | u64::from(word);
        let bits = match words {
            [only] => u64::from(word(only)),
            _ if self.order.swaps_words() => words.iter().rev().map(word).fold(0, join),
            _ => words.iter().map(word).fold(0, join),
        };
        Some(match self.kind {
            Kind::I16 => sign_extend(bits, 16),
            Kind::I32 => sign_extend(bits, 32),
            _ => bits.cast_signed(),
        })
    }

    /// The registers of a column value, as they stood on the wire; the inverse of [`Self::raw`].
    #[must_use]
    pub fn wire_words(self, raw: i64) -> Vec<u16> {
        let bytes = raw.to_be_bytes();
        let used = 2 * usize::from(self.words());
        let mut words: Vec<u16> = bytes
            .get(8 - used.min(8)..)
            .unwrap_or_default()
            .chunks_exact(2)
            .map(|pair| {
                pair.iter()
                    .fold(0_u16, |word, &byte| (word << 8) | u16::from(byte))
            })
            .map(|word| {
                if self.order.swaps_bytes() {
                    word.swap_bytes()
                } else {
                    word
                }
            })
            .collect();
        if self.order.swaps_words() {
            words.reverse();
        }
        words
    }

    /// Whether a column value can come from registers of this format.
    #[must_use]
    pub fn is_column_value(self, raw: i64) -> bool {
        match self.kind {
            Kind::U16 | Kind::Bit(_) | Kind::Bits { .. } | Kind::Bcd16 => {
                u16::try_from(raw).is_ok()
            }
            Kind::I16 => i16::try_from(raw).is_ok(),
            Kind::U32 | Kind::F32 | Kind::Bcd32 => u32::try_from(raw).is_ok(),
            Kind::I32 => i32::try_from(raw).is_ok(),
            Kind::U64 | Kind::I64 | Kind::F64 | Kind::Bcd64 | Kind::Number => true,
            Kind::Text => false,
        }
    }
}

impl Format {
    /// The bytes of a text's registers as they were read, the first byte of each register first:
    /// what a chunk holds.
    #[must_use]
    pub fn text_bytes(words: &[u16]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    /// The characters of a text point's bytes for people: put into the declared order of bytes,
    /// without the zeros and spaces that pad it. Bytes that are not UTF-8 are read as Latin-1;
    /// control characters are written as `\u{7}`.
    #[must_use]
    pub fn characters(self, bytes: &[u8]) -> String {
        let swapped: Vec<u8>;
        let bytes = if self.order.swaps_bytes() {
            let (pairs, rest) = bytes.as_chunks::<2>();
            swapped = pairs
                .iter()
                .flat_map(|[first, second]| [*second, *first])
                .chain(rest.iter().copied())
                .collect();
            &swapped
        } else {
            bytes
        };
        let padding = |letter: char| letter == '\0' || letter == ' ';
        let text = std::str::from_utf8(bytes).map_or_else(
            |_latin| bytes.iter().copied().map(char::from).collect(),
            str::to_owned,
        );
        text.trim_matches(padding)
            .chars()
            .flat_map(|letter| {
                let control = letter.is_control();
                let escaped = control.then(|| letter.escape_default());
                let plain = (!control).then_some(letter);
                escaped.into_iter().flatten().chain(plain)
            })
            .collect()
    }

    /// Whether a scale factor of another point may be applied: whole numbers.
    #[must_use]
    pub const fn takes_scale_factor(self) -> bool {
        matches!(
            self.kind,
            Kind::U16 | Kind::I16 | Kind::U32 | Kind::I32 | Kind::U64 | Kind::I64
        )
    }
}

fn sign_extend(bits: u64, width: u32) -> i64 {
    (bits << (64 - width)).cast_signed() >> (64 - width)
}

#[cfg(test)]
mod tests;
