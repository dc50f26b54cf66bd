//! What the bits of a status word mean, in a template and in a configuration alike.
//!
//! A flag that can never be raised would leave a fault of the device unseen for ever, so bits that the
//! register does not have, and registers whose value is no set of bits, are mistakes.

use evidence::quality::Quality;
use evidence::value::Kind;
use toml::Spanned;

use super::reader::Section;
use super::register::RegisterSpec;

/// Some bits of a status word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WordFlag {
    /// The bits.
    pub mask: u64,
    /// Raised when the bits are exactly this; without it, when one of them is set.
    pub equals: Option<u64>,
    /// In words.
    pub means: String,
    /// What the values get; `None`: it is shown only.
    pub quality: Option<Quality>,
}

/// What a status word may say of the values.
const QUALITIES: [(&str, Quality); 6] = [
    ("device_fault", Quality::DEVICE_FAULT),
    ("maintenance", Quality::MAINTENANCE),
    ("settling", Quality::SETTLING),
    ("out_of_range", Quality::OUT_OF_RANGE),
    ("frozen", Quality::FROZEN),
    ("reversed", Quality::REVERSED),
];

impl WordFlag {
    /// Whether the word raises it.
    #[must_use]
    pub const fn is_raised(&self, word: u64) -> bool {
        match self.equals {
            None => word & self.mask != 0,
            Some(equals) => word & self.mask == equals,
        }
    }
}

/// Reads the `[[…flag]]` tables of a status word; `register` is the word, where it could be read.
pub(super) fn of_word(
    section: &Section<'_, '_>,
    register: Option<&RegisterSpec>,
) -> Option<Vec<WordFlag>> {
    let width = register.and_then(|register| {
        let width = width(register);
        if width.is_none() {
            let text = format!(
                "`{}` is of type {}; a status word is a number of bits: u16, u32, u64, bit or bits",
                register.name,
                register.format.kind.name()
            );
            section.report(&section.place("type"), "type", text);
        }
        width
    });
    let flags: Vec<_> = section
        .sections("flag")
        .into_iter()
        .map(|below| flag(&below, width))
        .collect();
    if flags.is_empty() && !section.has("flag") {
        section.missing("flag", "add a [[status.flag]] with mask, means and quality");
    }
    flags.into_iter().collect()
}

/// The bits that flags speak of. A column holds the whole register, also where the type is one bit or a
/// field of bits of it.
#[must_use]
pub fn bits_of(kind: Kind, column: i64) -> u64 {
    let bits = column.cast_unsigned();
    match kind {
        Kind::Bit(bit) => bits.checked_shr(u32::from(bit)).unwrap_or(0) & 1,
        Kind::Bits { low, high } => {
            let width = u32::from(high.saturating_sub(low)) + 1;
            let mask = 1_u64.checked_shl(width).map_or(u64::MAX, |end| end - 1);
            bits.checked_shr(u32::from(low)).unwrap_or(0) & mask
        }
        _ => bits,
    }
}

/// How many bits the word has; `None` where its value is no set of bits.
fn width(register: &RegisterSpec) -> Option<u32> {
    match register.format.kind {
        Kind::Bit(_) => Some(1),
        Kind::Bits { low, high } => Some(u32::from(high.checked_sub(low)?) + 1),
        Kind::U16 | Kind::I16 | Kind::U32 | Kind::I32 | Kind::U64 | Kind::I64 => {
            Some(u32::from(register.words) * 16)
        }
        _ => None,
    }
}

fn flag(section: &Section<'_, '_>, width: Option<u32>) -> Option<WordFlag> {
    if !section.has("mask") {
        section.missing("mask", "write the bits, e.g. mask = 0x0001");
    }
    let mask: Option<u64> = section.number("mask", 1..=i128::from(u64::MAX));
    let equals: Option<u64> = section.number("equals", 0..=i128::from(u64::MAX));
    if let (Some(mask), Some(width)) = (mask, width)
        && u128::from(mask) >> width != 0
    {
        let text = format!(
            "{mask:#x} has bits that the register, of {width} bits, does not have: they are never set"
        );
        section.report(&section.place("mask"), "mask", text);
    }
    if let (Some(mask), Some(equals)) = (mask, equals)
        && equals & !mask != 0
    {
        let text = format!("{equals:#x} has bits outside of mask {mask:#x}: it can never be");
        section.report(&section.place("equals"), "equals", text);
    }
    let means = section.required_text("means", "say in words what the bits mean");
    let quality = section.choice("quality", "a quality", &QUALITIES);
    section.finish();
    Some(WordFlag {
        mask: mask?,
        equals,
        means: means?.into_inner(),
        quality: quality.map(Spanned::into_inner),
    })
}
