//! `[[modbus]]`: the devices on the lines, and their points.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;

use super::address::AddressBase;
use super::line::LineMode;
use super::lines::Lines;
use super::of_template::{self, Chosen};
use super::order;
use super::point::{self, PointConfig};
use super::problem::not_one_of;
use super::reader::Section;
use super::register::{self, Defaults, Quantity};
use super::template::{self, Barrier, PlacedModel, Template};
use super::together;
use super::watch::{self, DeviceWatch};
use super::{Names, PATHS};

/// One device on a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModbusDevice {
    /// The name, unique in the file.
    pub name: String,
    /// Its line: a position in [`super::GatewayConfig::lines`].
    pub line: usize,
    /// The unit id on the line.
    pub unit_id: u8,
    /// How the file writes addresses (for messages to people).
    pub address_base: AddressBase,
    /// How long an answer may take; on a serial port without the time of the bytes on the wire.
    pub timeout: Duration,
    /// Most registers in one request, 4–125.
    pub max_registers: u16,
    /// Most coils or discrete inputs in one request, 1–2000.
    pub max_bits: u16,
    /// Most unwanted registers that are read to save a request; 0 reads declared ones only.
    pub max_gap: u16,
    /// What stands between the instrument and the gateway.
    pub path: &'static str,
    /// Registers that no request may touch.
    pub barriers: Vec<Barrier>,
    /// What describes the device, if it is described by a template.
    pub template: Option<Arc<Template>>,
    /// Where the template's models stand in this device.
    pub models: Vec<PlacedModel>,
    /// The points, in the order of the file.
    pub points: Vec<PointConfig>,
    /// What is watched of the device beside them.
    pub watch: DeviceWatch,
}

/// A hole of this many registers costs as much as another request on TCP.
const GAP_TCP: u16 = 31;

/// And on RTU, whose frames have fewer bytes beside the values.
const GAP_RTU: u16 = 7;

/// Reads one `[[modbus]]` table.
pub(super) fn device(
    section: &Section<'_, '_>,
    names: &mut Names,
    lines: &mut Lines<'_>,
    folder: &Path,
) -> Option<ModbusDevice> {
    let name = point::name(section);
    if let Some(name) = &name {
        names.device(section, name);
    }
    let line = lines.of_device(section);
    let rtu = line
        .and_then(|line| lines.get(line))
        .is_some_and(|line| line.endpoint.is_rtu());
    let chosen = Chosen::of(section, folder);
    let bases = [("pdu", AddressBase::Pdu), ("4x", AddressBase::Modicon)];
    if !section.has("address_base") && !chosen.is_named() {
        section.missing(
            "address_base",
            "write \"pdu\" when addresses count from 0 as sent, or \"4x\" for 40001 as printed in many manuals",
        );
    }
    let base = section
        .choice("address_base", "an address base", &bases)
        .map(Spanned::into_inner)
        .or(chosen.get().map(|template| template.address_base));
    let mut device = ModbusDevice {
        name: String::new(),
        line: 0,
        unit_id: section.number_or(
            "unit_id",
            0..=255,
            chosen.get().map_or(1, |template| template.default_unit_id),
        ),
        address_base: base.unwrap_or(AddressBase::Pdu),
        timeout: chosen.timeout(section),
        max_registers: chosen.limit(
            section,
            "max_registers",
            4..=125,
            |limits| limits.max_registers,
            125,
        ),
        max_bits: chosen.limit(
            section,
            "max_bits",
            1..=2_000,
            |limits| limits.max_bits,
            2_000,
        ),
        max_gap: chosen.limit(
            section,
            "max_gap",
            0..=121,
            |limits| limits.max_gap,
            if rtu { GAP_RTU } else { GAP_TCP },
        ),
        path: section
            .choice("path", "a path", &PATHS)
            .map_or("meter", Spanned::into_inner),
        barriers: template::barriers(section),
        template: None,
        models: Vec::new(),
        points: Vec::new(),
        watch: DeviceWatch::default(),
    };
    let points = section.sections("point");
    let shown = name.as_ref().map_or("", |name| name.get_ref());
    let by_default = chosen.default_points(section, shown, names);
    if points.is_empty() && !section.has("points") {
        section.missing(
            "point",
            if chosen.is_named() {
                "add a [[modbus.point]] with from = \"…\" for each quantity to read, or points = \"default\""
            } else {
                "add a [[modbus.point]] table for each quantity to read"
            },
        );
    }
    let defaults = Defaults {
        base,
        table: None,
        order: match chosen.get() {
            Some(template) if !section.has("order") => template.order,
            _ => order::of_device(section),
        },
        quantity: Quantity::Measured,
    };
    // Without a base no address can be judged; the rest of the points is still checked.
    let own = points.iter().filter_map(|below| {
        let found = if below.has("from") {
            chosen.point(below, names)
        } else {
            point(below, defaults, names)
        };
        found.map(|point| (below, point))
    });
    let mut read: Vec<(&Section<'_, '_>, PointConfig)> = by_default
        .into_iter()
        .map(|point| (section, point))
        .chain(own)
        .collect();
    of_template::name_factors(&mut read);
    companions(&read);
    device.points = read.iter().map(|(_, point)| point.clone()).collect();
    chosen.complete(section, &mut device);
    together::check(&read, &device);
    if let Some(line) = line {
        chosen.pause(section, lines.get(line));
        if let Some(line) = lines.get_mut(line) {
            chosen.connect_delay(section, line);
        }
        lines.unit(section, line, device.unit_id, shown);
    }
    let point_names: Vec<&str> = device
        .points
        .iter()
        .map(|point| point.name.as_str())
        .collect();
    let of_template = chosen.watch();
    let watch = watch::read(section, defaults, of_template.as_ref(), Some(&point_names));
    let heard = line.and_then(|line| lines.get(line));
    if heard.is_some_and(|line| line.mode == LineMode::Listen) {
        watch::unheard(section, of_template.as_ref());
    }
    section.finish();
    device.watch = watch?;
    device.watch.add(of_template.unwrap_or_default());
    (device.name, device.line) = (name?.into_inner(), line?);
    Some(device)
}

fn point(section: &Section<'_, '_>, defaults: Defaults, names: &mut Names) -> Option<PointConfig> {
    let register = register::register(section, defaults);
    if let Some(register) = &register {
        names.point(section, &register.name, &section.place("name"));
    }
    let decimals = register.as_ref().map(|register| register.decimals);
    let plausible = if register::is_text(section) {
        Some(point::of_text(section))
    } else {
        point::plausible(section, decimals)
    };
    let interval = interval(section);
    section.finish();
    Some(PointConfig::polled(register?, plausible?, interval?))
}

/// The point beside which another one must move is read in the same tick, from the same device.
fn companions(points: &[(&Section<'_, '_>, PointConfig)]) {
    for (section, point) in points {
        let frozen = point.rules.frozen.as_ref();
        let Some((name, above)) = frozen.and_then(|frozen| frozen.while_above.as_ref()) else {
            continue;
        };
        let beside: Vec<&PointConfig> = points
            .iter()
            .map(|(_, other)| other)
            .filter(|other| other.interval_s == point.interval_s && other.name != point.name)
            .collect();
        match beside.iter().find(|other| other.name == *name) {
            Some(other) if above.on_grid(other.decimals).is_none() => {
                let text = format!(
                    "{above} has more decimals than `{name}`, which has {}",
                    other.decimals
                );
                section.report(&section.place("frozen_above"), "frozen_above", text);
            }
            Some(_) => {}
            None => {
                let names: Vec<&str> = beside.iter().map(|other| other.name.as_str()).collect();
                let what = "another point of this device with the same interval_s";
                let text = not_one_of(name, what, &names);
                section.report(&section.place("frozen_while"), "frozen_while", text);
            }
        }
    }
}

/// Whole seconds that divide an hour, so that no segment crosses one.
pub(super) fn interval(section: &Section<'_, '_>) -> Option<u16> {
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
