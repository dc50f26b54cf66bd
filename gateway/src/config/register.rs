//! One value in a device's registers: where it lies and how its words become a number.
//!
//! Points, settings, status words and identity registers are written with the same keys, in
//! `gateway.toml` and in device templates alike; this is the one place that reads them.

use evidence::decimal::Decimal;
use evidence::measurement::{Source, Table};
use evidence::value::{Format, Kind, Order};
use toml::Spanned;

use super::address::{self, AddressBase};
use super::order;
use super::point;
use super::problem::not_one_of;
use super::reader::Section;

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

const TYPES: [&str; 27] = [
    "u16", "i16", "u32", "i32", "u64", "i64", "f32", "f64", "bit", "bcd16", "bcd32", "bit0",
    "bit1", "bit2", "bit3", "bit4", "bit5", "bit6", "bit7", "bit8", "bit9", "bit10", "bit11",
    "bit12", "bit13", "bit14", "bit15",
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

/// Reads `name`, `table`, `address`, `type`, `order`, `scale`, `offset`, `decimals`, `unit` and
/// `sentinels` of one table. The caller reads what else it allows and calls [`Section::finish`].
pub(super) fn register(section: &Section<'_, '_>, defaults: Defaults) -> Option<RegisterSpec> {
    let name = point::name(section);
    let (decimals, unit) = match defaults.quantity {
        Quantity::Measured => (point::decimals(section), point::unit(section)),
        Quantity::Plain => (
            if section.has("decimals") {
                point::decimals(section)
            } else {
                Some(0)
            },
            if section.has("unit") {
                point::unit(section)
            } else {
                Some("1")
            },
        ),
    };
    let table = section.choice("table", "a table", &TABLES);
    let place = place(section, table.as_ref(), defaults);
    let format = kind(section).map(|kind| Format {
        kind,
        order: order::of(section, kind, defaults.order),
    });
    let table = place
        .map(|(table, _)| table)
        .or(table.map(Spanned::into_inner));
    if let (Some(format), Some(table)) = (format, table) {
        fits_table(section, format.kind, table);
    }
    if let (Some(format), Some((_, address))) = (format, place)
        && usize::from(address) + usize::from(format.words()) > 65_536
    {
        let text = format!(
            "address {address} with {} registers ends beyond 65535",
            format.words()
        );
        section.report(&section.place("address"), "address", text);
    }
    let (scale, offset) = (section.decimal("scale"), section.decimal("offset"));
    if let (Some(format), Some(decimals)) = (format, decimals) {
        scaling(section, format, decimals, scale.as_ref(), offset.as_ref());
    }
    let sentinels = section
        .integers("sentinels")
        .into_iter()
        .filter_map(|number| sentinel(section, &number, format?))
        .collect();
    let (format, (table, address)) = (format?, place?);
    Some(RegisterSpec {
        name: name?.into_inner(),
        table,
        address,
        words: format.words(),
        format,
        scale: scale.map_or(Decimal::ONE, Spanned::into_inner),
        offset: offset.map_or(Decimal::ZERO, Spanned::into_inner),
        decimals: decimals?,
        unit: unit?,
        sentinels,
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

fn kind(section: &Section<'_, '_>) -> Option<Kind> {
    let text = section.required_text("type", "write the register's type, e.g. type = \"u32\"")?;
    let kind = match text.get_ref().as_str() {
        "bit" => Some(Kind::Bit(0)),
        "text" | "number" => None,
        other => Kind::from_name(other),
    };
    if kind.is_none() {
        section.report(
            &text.span(),
            "type",
            not_one_of(text.get_ref(), "a type", &TYPES),
        );
    }
    kind
}

fn fits_table(section: &Section<'_, '_>, kind: Kind, table: Table) {
    let bits = matches!(table, Table::Coil | Table::Discrete);
    if bits && kind != Kind::Bit(0) {
        let text = format!("a {} is one bit: write type = \"bit\"", table.name());
        section.report(&section.place("type"), "type", text);
    }
}

fn scaling(
    section: &Section<'_, '_>,
    format: Format,
    decimals: u8,
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
    point::on_grid(section, "scale", scale, decimals);
    point::on_grid(section, "offset", offset, decimals);
}

/// A sentinel as written in a manual (0xFFFF, -32768) becomes the column value it shows up as.
fn sentinel(section: &Section<'_, '_>, written: &Spanned<i128>, format: Format) -> Option<i64> {
    let number = *written.get_ref();
    let bits = u32::from(format.words()) * 16;
    let unsigned_most = (1_i128 << bits) - 1;
    let signed = matches!(format.kind, Kind::I16 | Kind::I32 | Kind::I64);
    let least = if signed { -(1_i128 << (bits - 1)) } else { 0 };
    if !(least..=unsigned_most).contains(&number) {
        let text = format!("{number} does not fit type {}", format.kind.name());
        section.report(&written.span(), "sentinels", text);
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
