//! `[[modbus]]`: devices read over Modbus TCP.

use std::time::Duration;

use evidence::decimal::Decimal;
use evidence::measurement::{Source, Table};
use evidence::value::{Format, Kind, Order};
use toml::Spanned;

use super::address::{self, AddressBase};
use super::point::{self, PointConfig};
use super::problem::not_one_of;
use super::reader::Section;
use super::{Names, PATHS};

/// One device on a Modbus TCP connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModbusDevice {
    /// The name, unique in the file.
    pub name: String,
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The unit id behind the connection.
    pub unit_id: u8,
    /// How the file writes addresses (for messages to people).
    pub address_base: AddressBase,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Pause between connecting and the first request.
    pub connect_delay: Duration,
    /// Most registers in one request, 4–125.
    pub max_registers: u16,
    /// Most coils or discrete inputs in one request, 1–2000.
    pub max_bits: u16,
    /// Most unwanted registers that are read to save a request; 0 reads declared ones only.
    pub max_gap: u16,
    /// What stands between the instrument and the gateway.
    pub path: &'static str,
    /// The points, in the order of the file.
    pub points: Vec<PointConfig>,
}

/// A hole of this many registers costs as much as another request on TCP.
const GAP_TCP: u16 = 31;

const TABLES: [(&str, Table); 4] = [
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

const ORDERS: [(&str, Order); 8] = [
    ("ABCD", Order::Abcd),
    ("CDAB", Order::Cdab),
    ("BADC", Order::Badc),
    ("DCBA", Order::Dcba),
    ("big_endian", Order::Abcd),
    ("word_swap", Order::Cdab),
    ("byte_swap", Order::Badc),
    ("little_endian", Order::Dcba),
];

/// Reads one `[[modbus]]` table.
pub(super) fn device(section: &Section<'_, '_>, names: &mut Names) -> Option<ModbusDevice> {
    let name = point::name(section);
    if let Some(name) = &name {
        names.device(section, name);
    }
    let host = point::host(
        section,
        "write the device's address, e.g. host = \"192.168.1.20\"",
    );
    let bases = [("pdu", AddressBase::Pdu), ("4x", AddressBase::Modicon)];
    if !section.has("address_base") {
        section.missing(
            "address_base",
            "write \"pdu\" when addresses count from 0 as sent, or \"4x\" for 40001 as printed in many manuals",
        );
    }
    let base = section
        .choice("address_base", "an address base", &bases)
        .map(Spanned::into_inner);
    let mut device = ModbusDevice {
        name: String::new(),
        host: String::new(),
        port: section.number_or("port", 1..=65_535, 502),
        unit_id: section.number_or("unit_id", 0..=255, 1),
        address_base: base.unwrap_or(AddressBase::Pdu),
        timeout: Duration::from_millis(section.number_or("timeout_ms", 10..=60_000, 1_000)),
        connect_delay: Duration::from_millis(section.number_or("connect_delay_ms", 0..=30_000, 0)),
        max_registers: section.number_or("max_registers", 4..=125, 125),
        max_bits: section.number_or("max_bits", 1..=2_000, 2_000),
        max_gap: section.number_or("max_gap", 0..=121, GAP_TCP),
        path: section
            .choice("path", "a path", &PATHS)
            .map_or("meter", Spanned::into_inner),
        points: Vec::new(),
    };
    let points = section.sections("point");
    if points.is_empty() {
        section.missing(
            "point",
            "add a [[modbus.point]] table for each quantity to read",
        );
    }
    // Without a base no address can be judged; the rest of the points is still checked.
    for below in points {
        device.points.extend(point(&below, base, names));
    }
    section.finish();
    (device.name, device.host) = (name?.into_inner(), host?.into_inner());
    Some(device)
}

fn point(
    section: &Section<'_, '_>,
    base: Option<AddressBase>,
    names: &mut Names,
) -> Option<PointConfig> {
    let common = point::common(section);
    if let Some(common) = &common {
        names.point(section, &common.name, &common.name_span);
    }
    let table = section.choice("table", "a table", &TABLES);
    let place = register(section, table.as_ref(), base);
    let kind = kind(section);
    let format = kind.map(|kind| Format {
        kind,
        order: order(section, kind),
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
    if let (Some(format), Some(common)) = (format, &common) {
        scaling(
            section,
            format,
            common.decimals,
            scale.as_ref(),
            offset.as_ref(),
        );
    }
    let sentinels = section
        .integers("sentinels")
        .into_iter()
        .filter_map(|number| sentinel(section, &number, format?))
        .collect();
    let interval = interval(section);
    section.finish();
    let (common, format, (table, address)) = (common?, format?, place?);
    Some(PointConfig {
        name: common.name,
        source: Source::Modbus {
            table,
            address,
            words: format.words(),
        },
        format,
        scale: scale.map_or(Decimal::ONE, Spanned::into_inner),
        offset: offset.map_or(Decimal::ZERO, Spanned::into_inner),
        decimals: common.decimals,
        unit: common.unit,
        kind: common.kind,
        sentinels,
        min: common.min,
        max: common.max,
        max_step_per_s: common.max_step_per_s,
        interval_s: Some(interval?),
        stale_after_s: None,
    })
}

/// Table and PDU address.
fn register(
    section: &Section<'_, '_>,
    table: Option<&Spanned<Table>>,
    base: Option<AddressBase>,
) -> Option<(Table, u16)> {
    let written = section.integer_or_text("address");
    if !section.has("address") {
        section.missing("address", "write the register's address");
    }
    let (written, base) = (written?, base?);
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
            if !section.has("table") {
                section.missing("table", "write one of coil, discrete, input, holding");
            }
            table.map(|table| (*table.get_ref(), address))
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

/// One register has only a byte order: `AB` or `BA`. Two and four have the four-letter names.
fn order(section: &Section<'_, '_>, kind: Kind) -> Order {
    let words = Format {
        kind,
        order: Order::Abcd,
    }
    .words();
    if words > 1 {
        return section
            .choice("order", "an order", &ORDERS)
            .map_or(Order::Abcd, Spanned::into_inner);
    }
    let Some(text) = section.text("order") else {
        return Order::Abcd;
    };
    match text.get_ref().as_str() {
        "AB" => Order::Abcd,
        "BA" => Order::Badc,
        other => {
            let text_of = format!(
                "`{other}` does not fit type {}, which is one register: allowed: AB, BA",
                kind.name()
            );
            section.report(&text.span(), "order", text_of);
            Order::Abcd
        }
    }
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

/// Whole seconds that divide an hour, so that no segment crosses one.
fn interval(section: &Section<'_, '_>) -> Option<u16> {
    if !section.has("interval_s") {
        return Some(1);
    }
    let interval: u16 = section.number("interval_s", 1..=3_600)?;
    if 3_600 % interval == 0 {
        return Some(interval);
    }
    let below = (1..interval)
        .rev()
        .find(|other| 3_600 % other == 0)
        .unwrap_or(1);
    let above = (interval..=3_600)
        .find(|other| 3_600 % other == 0)
        .unwrap_or(3_600);
    let text =
        format!("{interval} does not divide an hour; the nearest that do are {below} and {above}");
    section.report(&section.place("interval_s"), "interval_s", text);
    None
}
