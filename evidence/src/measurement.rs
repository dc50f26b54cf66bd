//! The measurement table: what a gateway reads and how raw words become values.
//!
//! It is sealed as the body of a `config` control entry (deterministic CBOR, text keys) and takes
//! effect from the next entry on. It holds what decoding needs and nothing else: never delivery,
//! credentials or network addresses. A point's index is its position in [`MeasurementConfig::points`].

use crate::cbor::{CborError, Reader, Writer};
use crate::decimal::{Decimal, MAX_DECIMALS};
use crate::hash::Hash;
use crate::unit;
use crate::value::{Format, Kind};

/// The resolved measurement table of one gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MeasurementConfig {
    /// The streams, ascending by id.
    pub streams: Vec<Stream>,
    /// The devices that points refer to by position.
    pub devices: Vec<Device>,
    /// All points; a point's position is its index in chunks.
    pub points: Vec<Point>,
}

/// Points that are sampled together, at one interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    /// The stream's id, never reused for another interval.
    pub id: u16,
    /// The tick length in milliseconds; divides an hour.
    pub tick_ms: u32,
    /// The first tick of the stream that this configuration describes, on the stream's own axis.
    pub first_tick: u64,
    /// Whether the points are messages (codec 3: any number of samples per tick).
    pub messages: bool,
}

/// A device or message source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The name an engineer gave it.
    pub name: String,
    /// `modbus-tcp`, `modbus-rtu` or `mqtt`.
    pub protocol: String,
    /// The Modbus unit id.
    pub unit_id: Option<u8>,
    /// The device template and the SHA-256 of its file.
    pub template: Option<(String, Hash)>,
    /// What stands between the instrument and the gateway: `meter`, `converter`, `plc`, `broker`, `hand`.
    pub path: String,
}

/// One quantity of one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// The name; with the origin it identifies the point for ever.
    pub name: String,
    /// The id of the stream the point belongs to.
    pub stream: u16,
    /// The position of its device in [`MeasurementConfig::devices`].
    pub device: u16,
    /// Where the value is read.
    pub source: Source,
    /// How its words are laid out.
    pub format: Format,
    /// Multiplies the number read; 1 for floats and messages.
    pub scale: Decimal,
    /// Added after scaling; 0 for floats and messages.
    pub offset: Decimal,
    /// The value's grid: it is an integer times `10^-decimals`, 0–15.
    pub decimals: u8,
    /// The unit's symbol, one of [`unit::SYMBOLS`].
    pub unit: String,
    /// Whether the number counts up for ever or shows a state.
    pub kind: PointKind,
    /// Column values that mean "not available".
    pub sentinels: Vec<i64>,
    /// The point whose value is the exponent of ten that this point's number is multiplied with, read
    /// in the same request: its position in [`MeasurementConfig::points`].
    pub scale_from: Option<u16>,
    /// The smallest plausible value.
    pub min: Option<Decimal>,
    /// The largest plausible value.
    pub max: Option<Decimal>,
    /// The largest plausible change per second.
    pub max_step_per_s: Option<Decimal>,
    /// Messages only: how many seconds a value holds at most.
    pub stale_after_s: Option<u32>,
}

/// Whether a point accumulates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PointKind {
    /// A totaliser: only its advance means something.
    Register,
    /// A momentary value.
    Instant,
}

/// Where a value is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Modbus words.
    Modbus {
        /// The table.
        table: Table,
        /// The address as sent in the request (counted from 0).
        address: u16,
        /// The number of registers or bits, 1–125.
        words: u8,
    },
    /// A message.
    Message {
        /// The topic.
        topic: String,
        /// The JSON pointer into the message; none when the message is the number.
        pointer: Option<String>,
    },
}

/// The four Modbus tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Function 1.
    Coil,
    /// Function 2.
    Discrete,
    /// Function 4.
    Input,
    /// Function 3.
    Holding,
}

impl Table {
    const NAMES: [(Self, &'static str); 4] = [
        (Self::Coil, "coil"),
        (Self::Discrete, "discrete"),
        (Self::Input, "input"),
        (Self::Holding, "holding"),
    ];

    /// The name in configurations and in the sealed body.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(table, _)| *table == self)
            .map_or("holding", |(_, name)| name)
    }

    /// The table of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(table, _)| *table)
    }
}

/// What is wrong with a measurement table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MeasurementError {
    /// The bytes are not the CBOR expected.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// A field holds something its rules forbid.
    #[error("{place}: {rule}")]
    Rule {
        /// Which stream, device or point.
        place: String,
        /// The rule that is broken.
        rule: &'static str,
    },
}

/// Every sealed point has more bytes than this.
const LEAST_POINT: usize = 64;

/// An hour in milliseconds; tick lengths divide it.
pub const HOUR_MS: u32 = 3_600_000;
/// The longest name, topic or symbol, in bytes.
const MOST_TEXT: usize = 200;
/// More points than this do not fit one gateway.
const MOST_POINTS: usize = 10_000;

impl MeasurementConfig {
    /// Checks every rule that decoding relies on.
    ///
    /// # Errors
    /// The first broken rule and its place.
    pub fn validate(&self) -> Result<(), MeasurementError> {
        let rule = |place: String, rule| Err(MeasurementError::Rule { place, rule });
        let mut last_stream = None;
        for stream in &self.streams {
            let place = || format!("stream {}", stream.id);
            if last_stream.is_some_and(|last| last >= stream.id) {
                return rule(place(), "stream ids must be ascending and unique");
            }
            if stream.tick_ms == 0 || !HOUR_MS.is_multiple_of(stream.tick_ms) {
                return rule(place(), "the tick length must divide an hour");
            }
            last_stream = Some(stream.id);
        }
        if self.points.len() > MOST_POINTS || self.devices.len() > MOST_POINTS {
            return rule("points".to_owned(), "too many points or devices");
        }
        let mut names = std::collections::HashSet::new();
        for point in &self.points {
            let place = || format!("point `{}`", point.name);
            if point.name.is_empty() || !names.insert(point.name.as_str()) {
                return rule(place(), "point names must be unique and not empty");
            }
            let Some(stream) = self.stream(point.stream) else {
                return rule(place(), "its stream does not exist");
            };
            if self.devices.get(usize::from(point.device)).is_none() {
                return rule(place(), "its device does not exist");
            }
            if let Err(broken) = point.validate(stream) {
                return rule(place(), broken);
            }
            if let Some(broken) = self.broken_scale_factor(point) {
                return rule(place(), broken);
            }
        }
        Ok(())
    }

    /// The rules between a point and the point that holds its scale factor.
    fn broken_scale_factor(&self, point: &Point) -> Option<&'static str> {
        let Some(factor) = self.points.get(usize::from(point.scale_from?)) else {
            return Some("the point of its scale factor does not exist");
        };
        let whole = factor.format.kind == Kind::I16
            && factor.decimals == 0
            && factor.scale.is_one()
            && factor.offset.is_zero();
        if !point.format.takes_scale_factor() {
            Some("only whole numbers take a scale factor")
        } else if !(point.scale.is_one() && point.offset.is_zero()) {
            Some("a point with a scale factor has scale 1 and offset 0")
        } else if (factor.stream, factor.device) != (point.stream, point.device) {
            Some("a scale factor is a point of the same device and stream")
        } else if !whole || factor.kind != PointKind::Instant || factor.scale_from.is_some() {
            Some("a scale factor is an i16 without decimals, scale and offset, and momentary")
        } else {
            None
        }
    }

    /// The stream with this id.
    #[must_use]
    pub fn stream(&self, id: u16) -> Option<&Stream> {
        self.streams.iter().find(|stream| stream.id == id)
    }

    /// The indices of a stream's points, ascending: the chunks of each of its segments.
    pub fn points_of(&self, stream: u16) -> impl Iterator<Item = (u16, &Point)> {
        (0_u16..)
            .zip(&self.points)
            .filter(move |(_, point)| point.stream == stream)
    }

    /// The index and description of a named point.
    #[must_use]
    pub fn point(&self, name: &str) -> Option<(u16, &Point)> {
        (0_u16..)
            .zip(&self.points)
            .find(|(_, point)| point.name == name)
    }

    /// The body to be sealed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.map(3).text("points").array(self.points.len());
        for point in &self.points {
            point.write(&mut writer);
        }
        writer.text("devices").array(self.devices.len());
        for device in &self.devices {
            device.write(&mut writer);
        }
        writer.text("streams").array(self.streams.len());
        for stream in &self.streams {
            writer
                .array(4)
                .uint(stream.id)
                .uint(stream.tick_ms)
                .uint(stream.first_tick)
                .boolean(stream.messages);
        }
        writer.into_bytes()
    }

    /// Reads and checks a sealed body.
    ///
    /// # Errors
    /// [`MeasurementError`] for the first byte or rule that is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, MeasurementError> {
        let reader = &mut Reader::new(bytes);
        let mut fields = reader.map()?;
        fields.required(reader, "points")?;
        let count = reader.array()?;
        // What is promised is believed as far as there are bytes for it: a table of thousands of points
        // takes the memory that it needs and no more.
        let mut points = Vec::with_capacity(count.min(bytes.len() / LEAST_POINT));
        for _ in 0..count {
            points.push(Point::read(reader)?);
        }
        fields.required(reader, "devices")?;
        let devices = (0..reader.array()?)
            .map(|_| Device::read(reader))
            .collect::<Result<_, _>>()?;
        fields.required(reader, "streams")?;
        let streams = (0..reader.array()?)
            .map(|_| {
                reader.tuple(4)?;
                Ok(Stream {
                    id: reader.small()?,
                    tick_ms: reader.small()?,
                    first_tick: reader.uint()?,
                    messages: reader.boolean()?,
                })
            })
            .collect::<Result<_, CborError>>()?;
        fields.finish(reader)?;
        reader.end()?;
        let config = Self {
            streams,
            devices,
            points,
        };
        config.validate()?;
        Ok(config)
    }
}

impl Device {
    fn write(&self, writer: &mut Writer) {
        let pairs = 3 + usize::from(self.unit_id.is_some()) + usize::from(self.template.is_some());
        writer
            .map(pairs)
            .text("name")
            .text(&self.name)
            .text("path")
            .text(&self.path);
        if let Some(unit_id) = self.unit_id {
            writer.text("unit_id").uint(unit_id);
        }
        writer.text("protocol").text(&self.protocol);
        if let Some((name, hash)) = &self.template {
            writer
                .text("template")
                .array(2)
                .text(name)
                .byte_string(&hash.0);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut fields = reader.map()?;
        fields.required(reader, "name")?;
        let name = reader.text(MOST_TEXT)?.to_owned();
        fields.required(reader, "path")?;
        let path = reader.text(MOST_TEXT)?.to_owned();
        let unit_id = if fields.optional(reader, "unit_id") {
            Some(reader.small()?)
        } else {
            None
        };
        fields.required(reader, "protocol")?;
        let protocol = reader.text(MOST_TEXT)?.to_owned();
        let template = if fields.optional(reader, "template") {
            reader.tuple(2)?;
            Some((reader.text(MOST_TEXT)?.to_owned(), Hash(reader.array_of()?)))
        } else {
            None
        };
        fields.finish(reader)?;
        Ok(Self {
            name,
            protocol,
            unit_id,
            template,
            path,
        })
    }
}

impl Point {
    /// The rules that hold for one point alone.
    fn validate(&self, stream: &Stream) -> Result<(), &'static str> {
        let message = matches!(self.source, Source::Message { .. });
        if message != stream.messages {
            return Err("message points and polled points are in streams of their own");
        }
        if message != (self.format.kind == Kind::Number) {
            return Err("the format `number` is for messages, and the only one for them");
        }
        if let Source::Modbus {
            words,
            address,
            table,
        } = self.source
        {
            if words != self.format.words() && self.format.kind != Kind::Text {
                return Err("the number of words does not match the format");
            }
            if words == 0 || words > 125 || usize::from(address) + usize::from(words) > 65_536 {
                return Err("the registers lie outside the table");
            }
            if matches!(table, Table::Coil | Table::Discrete)
                && !matches!(self.format.kind, Kind::Bit(0))
            {
                return Err("a coil or discrete input has the format `bit0`");
            }
        }
        if self.decimals > MAX_DECIMALS {
            return Err("at most 15 decimals");
        }
        if self.format.takes_no_scale() && !(self.scale.is_one() && self.offset.is_zero()) {
            return Err(
                "floats, texts and messages take no scale or offset; state the unit they are in",
            );
        }
        if self.scale.is_zero() {
            return Err("the scale must not be zero");
        }
        let grid = |value: Decimal| value.on_grid(self.decimals).is_some();
        if !grid(self.scale) || !grid(self.offset) {
            return Err("the scale or offset has more decimals than the point");
        }
        if [self.min, self.max]
            .into_iter()
            .flatten()
            .any(|bound| !grid(bound))
        {
            return Err("a bound has more decimals than the point");
        }
        if unit::parse(&self.unit).is_none() {
            return Err("the unit is not in the list of symbols");
        }
        Ok(())
    }

    fn write(&self, writer: &mut Writer) {
        let optional = [
            self.max.is_some(),
            self.min.is_some(),
            self.max_step_per_s.is_some(),
            !self.sentinels.is_empty(),
            self.scale_from.is_some(),
            self.stale_after_s.is_some(),
        ];
        writer.map(10 + optional.into_iter().filter(|present| *present).count());
        let decimal = |writer: &mut Writer, value: Decimal| {
            writer.array(2).int(value.mantissa()).uint(value.decimals());
        };
        for (key, value) in [("max", self.max), ("min", self.min)] {
            if let Some(value) = value {
                writer.text(key);
                decimal(writer, value);
            }
        }
        writer.text("kind").text(match self.kind {
            PointKind::Register => "register",
            PointKind::Instant => "instant",
        });
        writer
            .text("name")
            .text(&self.name)
            .text("unit")
            .text(&self.unit)
            .text("scale");
        decimal(writer, self.scale);
        writer
            .text("device")
            .uint(self.device)
            .text("format")
            .array(2);
        writer
            .text(&self.format.kind.name())
            .text(self.format.order.name())
            .text("offset");
        decimal(writer, self.offset);
        writer.text("source");
        match &self.source {
            Source::Modbus {
                table,
                address,
                words,
            } => {
                writer
                    .array(4)
                    .text("modbus")
                    .text(table.name())
                    .uint(*address)
                    .uint(*words);
            }
            Source::Message { topic, pointer } => {
                writer.array(3).text("message").text(topic);
                match pointer {
                    Some(pointer) => writer.text(pointer),
                    None => writer.null(),
                };
            }
        }
        writer
            .text("stream")
            .uint(self.stream)
            .text("decimals")
            .uint(self.decimals);
        if let Some(step) = self.max_step_per_s {
            writer.text("max_step");
            decimal(writer, step);
        }
        if !self.sentinels.is_empty() {
            writer.text("sentinels").array(self.sentinels.len());
            for sentinel in &self.sentinels {
                writer.int(*sentinel);
            }
        }
        if let Some(point) = self.scale_from {
            writer.text("scale_from").uint(point);
        }
        if let Some(seconds) = self.stale_after_s {
            writer.text("stale_after_s").uint(seconds);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut fields = reader.map()?;
        let max = if fields.optional(reader, "max") {
            Some(read_decimal(reader)?)
        } else {
            None
        };
        let min = if fields.optional(reader, "min") {
            Some(read_decimal(reader)?)
        } else {
            None
        };
        fields.required(reader, "kind")?;
        let offset = reader.offset();
        let kind = match reader.text(MOST_TEXT)? {
            "register" => PointKind::Register,
            "instant" => PointKind::Instant,
            _ => {
                return Err(CborError::Type {
                    offset,
                    expected: "`register` or `instant`",
                });
            }
        };
        fields.required(reader, "name")?;
        let name = reader.text(MOST_TEXT)?.to_owned();
        fields.required(reader, "unit")?;
        let unit = reader.text(MOST_TEXT)?.to_owned();
        fields.required(reader, "scale")?;
        let scale = read_decimal(reader)?;
        fields.required(reader, "device")?;
        let device = reader.small()?;
        fields.required(reader, "format")?;
        reader.tuple(2)?;
        let at = reader.offset();
        let format = Format::from_names(reader.text(MOST_TEXT)?, reader.text(MOST_TEXT)?).ok_or(
            CborError::Type {
                offset: at,
                expected: "a known format and order",
            },
        )?;
        fields.required(reader, "offset")?;
        let offset = read_decimal(reader)?;
        fields.required(reader, "source")?;
        let source = Source::read(reader)?;
        fields.required(reader, "stream")?;
        let stream = reader.small()?;
        fields.required(reader, "decimals")?;
        let decimals = reader.small()?;
        let max_step_per_s = if fields.optional(reader, "max_step") {
            Some(read_decimal(reader)?)
        } else {
            None
        };
        let mut sentinels = Vec::new();
        if fields.optional(reader, "sentinels") {
            let at = reader.offset();
            sentinels = (0..reader.array()?)
                .map(|_| reader.int())
                .collect::<Result<_, _>>()?;
            if sentinels.is_empty() {
                return Err(CborError::Type {
                    offset: at,
                    expected: "a list that is not empty",
                });
            }
        }
        let scale_from = if fields.optional(reader, "scale_from") {
            Some(reader.small()?)
        } else {
            None
        };
        let stale_after_s = if fields.optional(reader, "stale_after_s") {
            Some(reader.small()?)
        } else {
            None
        };
        fields.finish(reader)?;
        Ok(Self {
            name,
            stream,
            device,
            source,
            format,
            scale,
            offset,
            decimals,
            unit,
            kind,
            sentinels,
            scale_from,
            min,
            max,
            max_step_per_s,
            stale_after_s,
        })
    }
}

impl Source {
    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let at = reader.offset();
        let expected = "[\"modbus\", table, address, words] or [\"message\", topic, pointer]";
        let wrong = CborError::Type {
            offset: at,
            expected,
        };
        let count = reader.array()?;
        match (reader.text(MOST_TEXT)?, count) {
            ("modbus", 4) => Ok(Self::Modbus {
                table: Table::from_name(reader.text(MOST_TEXT)?).ok_or(wrong)?,
                address: reader.small()?,
                words: reader.small()?,
            }),
            ("message", 3) => Ok(Self::Message {
                topic: reader.text(MOST_TEXT)?.to_owned(),
                pointer: if reader.null() {
                    None
                } else {
                    Some(reader.text(MOST_TEXT)?.to_owned())
                },
            }),
            _ => Err(wrong),
        }
    }
}

fn read_decimal(reader: &mut Reader<'_>) -> Result<Decimal, CborError> {
    let at = reader.offset();
    reader.tuple(2)?;
    Decimal::new(reader.int()?, reader.small()?).ok_or(CborError::Range(at))
}
