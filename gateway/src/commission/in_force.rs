//! A point as a sealed configuration describes it: what a sheet may say of the value's origin.
//!
//! The configuration file says how a value *will* be read after the next start. The value on the sheet
//! was read as the configuration in the log says, so that is what the sheet tells.

use std::fmt::Write as _;

use evidence::measurement::{Device, MeasurementConfig, Point, Source};

use crate::modbus::outcome::describe;
use crate::sampling;

/// A point and its device, free of positions that differ from one configuration to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    /// The point; its positions in the table are zero.
    pub point: Point,
    /// Its device.
    pub device: Device,
    /// The tick of its stream in milliseconds.
    pub tick_ms: u32,
    /// Whether it comes in messages.
    pub messages: bool,
    /// The point that holds the exponent of ten.
    scale_from: Option<String>,
}

impl InForce {
    /// The point of this name; `None` if the configuration does not have it.
    #[must_use]
    pub fn of(config: &MeasurementConfig, name: &str) -> Option<Self> {
        let (_, point) = config.point(name)?;
        let stream = config.stream(point.stream)?;
        let device = config.devices.get(usize::from(point.device))?;
        let scale_from = point
            .scale_from
            .and_then(|at| config.points.get(usize::from(at)))
            .map(|point| point.name.clone());
        Some(Self {
            point: Point {
                device: 0,
                scale_from: None,
                ..point.clone()
            },
            device: device.clone(),
            tick_ms: stream.tick_ms,
            messages: stream.messages,
            scale_from,
        })
    }

    /// The device in words.
    #[must_use]
    pub fn device_text(&self) -> String {
        let Device {
            name,
            protocol,
            unit_id,
            template,
            ..
        } = &self.device;
        let mut text = format!("{name}, {protocol}");
        // Writing to a String cannot fail.
        if let Some(unit_id) = unit_id {
            let _infallible = write!(text, ", unit {unit_id}");
        }
        if let Some((template, _)) = template {
            let _infallible = write!(text, ", template {template}");
        }
        text
    }

    /// What is read and how, in words.
    #[must_use]
    pub fn reads(&self) -> String {
        let Point {
            source,
            format,
            scale,
            offset,
            ..
        } = &self.point;
        let mut text = match source {
            Source::Message { topic, pointer } => {
                let mut text = format!("topic {topic}");
                if let Some(pointer) = pointer {
                    let _infallible = write!(text, ", at {pointer} of the message");
                }
                text
            }
            modbus @ Source::Modbus { .. } => {
                let span = sampling::span(modbus).map_or_else(String::new, describe);
                format!("{span}, {} {}", format.kind.name(), format.order.name())
            }
        };
        if !scale.is_one() {
            let _infallible = write!(text, ", times {scale}");
        }
        if let Some(exponent) = &self.scale_from {
            let _infallible = write!(text, ", times ten to the power of {exponent}");
        }
        if !offset.is_zero() {
            let _infallible = write!(text, ", plus {offset}");
        }
        text
    }

    /// What differs from another description of the point, in the words of the configuration.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let (one, two) = (&self.point, &other.point);
        let limits = |point: &Point| (point.min, point.max, point.max_step_per_s);
        let parts = [
            ("device", self.device == other.device),
            ("register or topic", one.source == two.source),
            ("type and order", one.format == two.format),
            ("scale", one.scale == two.scale),
            ("scale_from", self.scale_from == other.scale_from),
            ("offset", one.offset == two.offset),
            ("decimals", one.decimals == two.decimals),
            ("unit", one.unit == two.unit),
            ("kind", one.kind == two.kind),
            ("sentinels", one.sentinels == two.sentinels),
            ("min, max or max_step_per_s", limits(one) == limits(two)),
            ("stale_after_s", one.stale_after_s == two.stale_after_s),
            (
                "interval",
                (self.tick_ms, self.messages, one.stream)
                    == (other.tick_ms, other.messages, two.stream),
            ),
        ];
        let differs = parts.into_iter().filter(|(_, same)| !same);
        differs.map(|(name, _)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use evidence::decimal::Decimal;
    use evidence::measurement::{
        Device, MeasurementConfig, Point, PointKind, Source, Stream, Table,
    };
    use evidence::value::{Format, Kind, Order};

    use super::InForce;

    fn table() -> MeasurementConfig {
        let format = Format {
            kind: Kind::U32,
            order: Order::Abcd,
        };
        MeasurementConfig {
            streams: vec![Stream {
                id: 1,
                tick_ms: 1_000,
                first_tick: 0,
                messages: false,
            }],
            devices: vec![Device {
                name: "meter".to_owned(),
                protocol: "modbus-tcp".to_owned(),
                unit_id: Some(3),
                template: None,
                path: "meter".to_owned(),
            }],
            points: vec![Point {
                name: "energy".to_owned(),
                stream: 1,
                device: 0,
                source: Source::Modbus {
                    table: Table::Holding,
                    address: 72,
                    words: 2,
                },
                format,
                scale: Decimal::parse("0.01").unwrap(),
                offset: Decimal::ZERO,
                decimals: 2,
                unit: "kWh".to_owned(),
                kind: PointKind::Register,
                sentinels: Vec::new(),
                scale_from: None,
                min: None,
                max: None,
                max_step_per_s: None,
                stale_after_s: None,
            }],
        }
    }

    #[test]
    fn a_point_is_told_as_it_is_sealed_and_a_changed_register_or_scale_is_noticed() {
        let sealed = InForce::of(&table(), "energy").unwrap();
        assert_eq!(sealed.device_text(), "meter, modbus-tcp, unit 3");
        assert_eq!(
            sealed.reads(),
            "holding 72-73 (4x00073-4x00074), u32 ABCD, times 0.01"
        );
        // Another place in the table is no difference.
        let mut moved = table();
        moved.devices.insert(0, moved.devices[0].clone());
        moved.points[0].device = 1;
        let moved = InForce::of(&moved, "energy").unwrap();
        assert_eq!(sealed.differences(&moved), [""; 0]);
        let mut edited = table();
        edited.points[0].scale = Decimal::parse("0.1").unwrap();
        edited.points[0].source = Source::Modbus {
            table: Table::Holding,
            address: 74,
            words: 2,
        };
        edited.devices[0].unit_id = Some(4);
        let edited = InForce::of(&edited, "energy").unwrap();
        assert_eq!(
            sealed.differences(&edited),
            ["device", "register or topic", "scale"]
        );
        assert_eq!(InForce::of(&table(), "power"), None);
    }
}
