//! The types of registers by name.

use evidence::measurement::Table;
use evidence::value::{Format, Kind, Order};

use super::problem::did_you_mean;
use super::reader::Section;

/// The types as messages list them.
const TYPES: &str = "u16, i16, u32, i32, u64, i64, f32, f64, bcd16, bcd32, bcd64, text, bit, \
                     bit0 to bit15, a bit field like bits4-7";

/// What a typing mistake may have meant.
const NAMES: [&str; 13] = [
    "u16", "i16", "u32", "i32", "u64", "i64", "f32", "f64", "bcd16", "bcd32", "bcd64", "text",
    "bit",
];

/// Names of manuals and other tools, for the hint; one thing has one name here.
const ELSEWHERE: [(&str, &str); 26] = [
    ("uint16", "u16"),
    ("int16", "i16"),
    ("uint32", "u32"),
    ("int32", "i32"),
    ("uint64", "u64"),
    ("int64", "i64"),
    ("ushort", "u16"),
    ("short", "i16"),
    ("word", "u16"),
    ("dword", "u32"),
    ("uint", "u16"),
    ("int", "i16"),
    ("long", "i32"),
    ("ulong", "u32"),
    ("float", "f32"),
    ("float32", "f32"),
    ("real", "f32"),
    ("double", "f64"),
    ("float64", "f64"),
    ("string", "text"),
    ("str", "text"),
    ("ascii", "text"),
    ("bool", "bit"),
    ("boolean", "bit"),
    ("bcd", "bcd16"),
    ("bitfield", "bits4-7"),
];

/// Reads `type`, which must be there.
pub(super) fn of(section: &Section<'_, '_>) -> Option<Kind> {
    let text = section.required_text("type", "write the register's type, e.g. type = \"u32\"")?;
    let written = text.get_ref().as_str();
    let kind = match written {
        "bit" => Some(Kind::Bit(0)),
        "number" => None,
        other => Kind::from_name(other),
    };
    if kind.is_none() {
        let lower = written.to_lowercase();
        let meant = ELSEWHERE
            .iter()
            .find(|(name, _)| *name == lower)
            .map(|(_, meant)| *meant)
            .or_else(|| did_you_mean(written, &NAMES));
        let mut problem = format!("`{written}` is not a type; allowed: {TYPES}");
        if written.starts_with("bits") {
            problem.push_str("; a bit field names its lowest bit first, both from 0 to 15");
        } else if let Some(meant) = meant {
            problem.push_str(&format!("; did you mean `{meant}`?"));
        }
        section.report(&text.span(), "type", problem);
    }
    kind
}

/// The registers of a value: those of its type; a text says how many in `words`.
pub(super) fn words(section: &Section<'_, '_>, kind: Kind) -> Option<u8> {
    let of_type = Format {
        kind,
        order: Order::Abcd,
    }
    .words();
    let written: Option<u8> = section.number("words", 1..=125);
    if kind == Kind::Text {
        if !section.has("words") {
            section.missing(
                "words",
                "write how many registers the text has, two characters each, e.g. words = 8",
            );
        }
        return written;
    }
    if let Some(words) = written.filter(|words| *words != of_type) {
        let text = format!(
            "type {} has {of_type} of them, not {words}: leave the key out",
            kind.name()
        );
        section.report(&section.place("words"), "words", text);
    }
    Some(of_type)
}

/// Coils and discrete inputs are bits.
pub(super) fn fits_table(section: &Section<'_, '_>, kind: Kind, table: Table) {
    let bits = matches!(table, Table::Coil | Table::Discrete);
    if bits && kind != Kind::Bit(0) {
        let text = format!("a {} is one bit: write type = \"bit\"", table.name());
        section.report(&section.place("type"), "type", text);
    }
}
