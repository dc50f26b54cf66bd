//! One value in a device's registers: where it lies and how its words become a number.
//!
//! Points, settings, status words and identity registers are written with the same keys, in
//! `gateway.toml` and in device templates alike; this is the one place that reads them.

use evidence::decimal::Decimal;
use evidence::measurement::{Source, Table};
use evidence::value::{Format, Kind, Order};
use toml::Spanned;

use super::address::{self, AddressBase};
use super::kind;
use super::order;
use super::point;
use super::reader::{IntegerOrText, Section};

/// Where a value lies and how its words become a number, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterSpec {
    /// The name.
    pub name: String,
    /// The table.
    pub table: Table,
    /// The PDU address: as sent in the request, from 0.
    pub address: u16,
    /// How many registers (or bits) it takes, at least 1.
    pub words: u8,
    /// The layout of its words.
    pub format: Format,
    /// Multiplies the number read.
    pub scale: Decimal,
    /// Added after scaling.
    pub offset: Decimal,
    /// Decimals of the value, 0–15.
    pub decimals: u8,
    /// The unit's symbol.
    pub unit: &'static str,
    /// Column values that mean "not available".
    pub sentinels: Vec<i64>,
    /// The name of the register of the same device that holds the exponent of ten of this value.
    pub scale_from: Option<String>,
    /// A label: values of a device with the same label are read in one request.
    pub together: Option<String>,
}

/// What holds for all registers of a device unless a register says otherwise.
#[derive(Debug, Clone, Copy)]
pub(super) struct Defaults {
    /// How addresses are written; without it no address can be judged, the rest still is.
    pub(super) base: Option<AddressBase>,
    /// The table of registers that name none.
    pub(super) table: Option<Table>,
    /// The order of values of two and four registers.
    pub(super) order: Order,
    /// Whether `decimals` and `unit` must be written.
    pub(super) quantity: Quantity,
}

/// What kind of value a register holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quantity {
    /// A quantity that is measured: `decimals` and `unit` must be written.
    Measured,
    /// A setting, a status word, a serial number: a whole number without unit unless it says otherwise.
    Plain,
}

/// The names of the tables.
pub(super) const TABLES: [(&str, Table); 4] = [
    ("coil", Table::Coil),
    ("discrete", Table::Discrete),
    ("input", Table::Input),
    ("holding", Table::Holding),
];

impl RegisterSpec {
    /// Where the value is read, as it is sealed.
    #[must_use]
    pub const fn source(&self) -> Source {
        Source::Modbus {
            table: self.table,
            address: self.address,
            words: self.words,
        }
    }
}

/// Reads `name`, `table`, `address`, `type`, `words`, `order`, `scale`, `offset`, `decimals`, `unit`,
/// `sentinels`, `scale_from` and `together` of one table. The caller reads what else it allows and calls [`Section::finish`].
pub(super) fn register(section: &Section<'_, '_>, defaults: Defaults) -> Option<RegisterSpec> {
    let name = point::name(section);
    let kind = kind::of(section);
    let words = kind.and_then(|kind| kind::words(section, kind));
    // A text, a setting, a status word needs no unit.
    let plain = defaults.quantity == Quantity::Plain || kind == Some(Kind::Text);
    let optional = |key| plain && !section.has(key);
    let decimals = if optional("decimals") {
        Some(0)
    } else {
        point::decimals(section)
    };
    let unit = if optional("unit") {
        Some("1")
    } else {
        point::unit(section)
    };
    let table = section.choice("table", "a table", &TABLES);
    let place = place(section, table.as_ref(), defaults);
    let format = kind.map(|kind| Format {
        kind,
        order: order::of(section, kind, defaults.order),
    });
    let table = place
        .map(|(table, _)| table)
        .or(table.map(Spanned::into_inner));
    if let (Some(kind), Some(table)) = (kind, table) {
        kind::fits_table(section, kind, table);
    }
    if let (Some(words), Some((_, address))) = (words, place)
        && usize::from(address) + usize::from(words) > 65_536
    {
        let text = format!("address {address} with {words} registers ends beyond 65535");
        section.report(&section.place("address"), "address", text);
    }
    let (scale, offset) = (section.decimal("scale"), section.decimal("offset"));
    let scale_from = section.text("scale_from");
    if let Some(format) = format {
        if scale_from.is_some() {
            takes_scale_factor(section, format);
        } else {
            scaling(section, format, decimals, scale.as_ref(), offset.as_ref());
        }
    }
    let sentinels = section
        .integers_or_texts("sentinels")
        .into_iter()
        .filter_map(|written| sentinel(section, &written, format?))
        .collect();
    let together = section.text("together");
    let (format, (table, address)) = (format?, place?);
    Some(RegisterSpec {
        name: name?.into_inner(),
        table,
        address,
        words: words?,
        format,
        scale: scale.map_or(Decimal::ONE, Spanned::into_inner),
        offset: offset.map_or(Decimal::ZERO, Spanned::into_inner),
        decimals: decimals?,
        unit: unit?,
        sentinels,
        scale_from: scale_from.map(Spanned::into_inner),
        together: together.map(Spanned::into_inner),
    })
}

/// Table and PDU address.
fn place(
    section: &Section<'_, '_>,
    table: Option<&Spanned<Table>>,
    defaults: Defaults,
) -> Option<(Table, u16)> {
    let written = section.integer_or_text("address");
    if !section.has("address") {
        section.missing("address", "write the register's address");
    }
    let (written, base) = (written?, defaults.base?);
    match address::parse(written.get_ref(), base) {
        Err(text) => {
            section.report(&written.span(), "address", text);
            None
        }
        Ok((Some(named), address)) => {
            if let Some(other) = table.filter(|table| *table.get_ref() != named) {
                let text = format!(
                    "`{}` contradicts the address, whose first digit means table `{}`",
                    other.get_ref().name(),
                    named.name()
                );
                section.report(&other.span(), "table", text);
            }
            Some((named, address))
        }
        Ok((None, address)) => {
            let table = table.map(|table| *table.get_ref()).or(defaults.table);
            if table.is_none() && !section.has("table") {
                section.missing("table", "write one of coil, discrete, input, holding");
            }
            table.map(|table| (table, address))
        }
    }
}

/// Whether a table describes a text, with or without mistakes in the rest of it.
pub(super) fn is_text(section: &Section<'_, '_>) -> bool {
    let kind = section.text("type");
    kind.is_some_and(|kind| kind.get_ref() == "text")
}

/// What a point with a scale factor must be: a whole number without a scale of its own.
fn takes_scale_factor(section: &Section<'_, '_>, format: Format) {
    if !format.takes_scale_factor() {
        let text = format!(
            "only whole numbers (u16 to i64) have a scale factor, not {}",
            format.kind.name()
        );
        section.report(&section.place("scale_from"), "scale_from", text);
    }
    for key in ["scale", "offset"] {
        if section.has(key) {
            let text = "the device's scale factor is all that is applied: leave this out and declare \
                        the unit that the device sends";
            section.report(&section.place(key), key, text);
        }
    }
}

fn scaling(
    section: &Section<'_, '_>,
    format: Format,
    decimals: Option<u8>,
    scale: Option<&Spanned<Decimal>>,
    offset: Option<&Spanned<Decimal>>,
) {
    if format.takes_no_scale() {
        let neutral = scale
            .filter(|scale| !scale.get_ref().is_one())
            .map(|scale| ("scale", scale.span()));
        let shifted = offset
            .filter(|offset| !offset.get_ref().is_zero())
            .map(|offset| ("offset", offset.span()));
        for (key, span) in neutral.into_iter().chain(shifted) {
            let text = format!(
                "type {} takes no scale or offset; declare the unit that the device sends",
                format.kind.name()
            );
            section.report(&span, key, text);
        }
        return;
    }
    if let Some(scale) = scale.filter(|scale| scale.get_ref().is_zero()) {
        section.report(&scale.span(), "scale", "must not be 0");
    }
    if let Some(decimals) = decimals {
        point::on_grid(section, "scale", scale, decimals);
        point::on_grid(section, "offset", offset, decimals);
    }
}

/// A sentinel as written in a manual (0xFFFF, -32768, "nan") becomes the column value it shows up as.
/// Of a float a number is the bit pattern and a text the value.
fn sentinel(
    section: &Section<'_, '_>,
    written: &Spanned<IntegerOrText>,
    format: Format,
) -> Option<i64> {
    let report = |text: String| section.report(&written.span(), "sentinels", text);
    let number = match (written.get_ref(), format.kind) {
        (_, Kind::Text) => {
            report("a text has no sentinels".to_owned());
            return None;
        }
        (IntegerOrText::Integer(number) | IntegerOrText::Hex(number), _) => *number,
        (IntegerOrText::Text(text), kind @ (Kind::F32 | Kind::F64)) => {
            let bits = float_bits(text, kind);
            if bits.is_none() {
                report(format!(
                    "`{text}` is no value of type {}: write \"nan\", \"inf\", a number like \"-9999\", \
                     or the bit pattern without quotes, like 0x7FC00000",
                    kind.name()
                ));
            }
            return bits;
        }
        (IntegerOrText::Text(text), kind) => {
            report(format!(
                "`{text}` does not fit type {}: write a whole number without quotes, like 0xFFFF or -32768",
                kind.name()
            ));
            return None;
        }
    };
    let bits = u32::from(format.words()) * 16;
    let unsigned_most = (1_i128 << bits) - 1;
    let signed = matches!(format.kind, Kind::I16 | Kind::I32 | Kind::I64);
    let least = if signed { -(1_i128 << (bits - 1)) } else { 0 };
    if !(least..=unsigned_most).contains(&number) {
        report(format!("{number} does not fit type {}", format.kind.name()));
        return None;
    }
    // The bit pattern, sign-extended for signed types and bit-cast at 64 bits, as columns hold it.
    let wraps = (signed || bits == 64) && number > unsigned_most / 2;
    i64::try_from(if wraps {
        number - (unsigned_most + 1)
    } else {
        number
    })
    .ok()
}

/// The column value of a float written as a text.
fn float_bits(text: &str, kind: Kind) -> Option<i64> {
    Some(match kind {
        Kind::F32 => i64::from(text.parse::<f32>().ok()?.to_bits()),
        _ => text.parse::<f64>().ok()?.to_bits().cast_signed(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::problem::Problem;
    use super::super::reader::{Reader, Section};
    use super::{Defaults, Quantity, RegisterSpec, register};
    use crate::config::AddressBase;
    use evidence::measurement::Table;
    use evidence::value::Order;
    use toml::de::DeTable;

    const BY_DEFAULT: Defaults = Defaults {
        base: Some(AddressBase::Pdu),
        table: None,
        order: Order::Cdab,
        quantity: Quantity::Plain,
    };

    fn read(text: &str, defaults: Defaults) -> (Option<RegisterSpec>, Vec<Problem>) {
        let table = DeTable::parse(text).unwrap();
        let reader = Reader::new(text);
        let section = Section::root(&reader, table.get_ref());
        let found = register(&section, defaults);
        section.finish();
        (found, reader.into_problems())
    }

    #[test]
    fn a_setting_needs_neither_unit_nor_decimals_and_follows_the_devices_order() {
        let text = "name = \"ct_primary\"\ntable = \"holding\"\naddress = 5\ntype = \"u32\"\n";
        let (found, problems) = read(text, BY_DEFAULT);
        assert_eq!(problems, []);
        let found = found.unwrap();
        assert_eq!((found.table, found.address), (Table::Holding, 5));
        assert_eq!((found.words, found.decimals, found.unit), (2, 0, "1"));
        assert_eq!(found.format.order, Order::Cdab);
        // One register has no order of words.
        let (found, _) = read(&text.replace("u32", "u16"), BY_DEFAULT);
        assert_eq!(found.unwrap().format.order, Order::Abcd);
        // A measured quantity says its unit and decimals.
        let measured = Defaults {
            quantity: Quantity::Measured,
            ..BY_DEFAULT
        };
        let (found, problems) = read(text, measured);
        assert!(found.is_none());
        let keys: Vec<&str> = problems
            .iter()
            .map(|problem| problem.key.as_str())
            .collect();
        assert_eq!(keys, ["decimals", "unit"]);
    }
}
