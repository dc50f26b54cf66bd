//! From the samples of an open segment to the payload that is signed.
//!
//! Pure: no clock, no file. A tick without a row is said to be *not polled*; a message stream without
//! messages gives empty columns, which is a statement, not a hole.

use std::iter::Peekable;

use evidence::chunk::{Chunk, ChunkError, Column, Exception, fill_missing};
use evidence::decimal::format_mantissa;
use evidence::entry::PayloadRef;
use evidence::hash::{leaf_hash, root_of};
use evidence::measurement::{MeasurementConfig, Point, Source};
use evidence::quality::Quality;
use evidence::value::Kind;
use thiserror::Error;

use crate::journal::{JournalRow, PackedIter, PackedSample, PackedValue};
use crate::sample::{PointSample, SampleValue};

/// Why samples cannot be sealed. Each is a defect of this program or a damaged journal.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SealError {
    /// A column does not encode.
    #[error("the column of point `{point}` does not encode")]
    Column {
        /// The point's name.
        point: String,
        /// Why.
        #[source]
        source: ChunkError,
    },
    /// More ticks than a segment may have.
    #[error("a segment of {0} ticks is too long")]
    TooLong(u64),
}

/// A payload with what an entry signs of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// The chunks, one behind the other.
    pub bytes: Vec<u8>,
    /// Root, number and length.
    pub signed: PayloadRef,
}

/// One sample on its way into a column.
#[derive(Clone, Copy)]
struct Cell<'a> {
    offset_ms: u32,
    /// None where a tick has no row.
    sample: Option<PackedSample<'a>>,
}

/// One row, read from the front while the points are taken one by one.
struct Cursor<'a> {
    /// Polled streams: the row's tick, counted from the first.
    place: usize,
    /// Messages: milliseconds from the start of the segment.
    offset_ms: u32,
    samples: Peekable<PackedIter<'a>>,
}

impl<'a> Cursor<'a> {
    /// The row's next sample of this point; asked for in the order of the points.
    fn take(&mut self, point: u16) -> Option<PackedSample<'a>> {
        while self
            .samples
            .next_if(|sample| sample.point < point)
            .is_some()
        {}
        self.samples.next_if(|sample| sample.point == point)
    }
}

/// Encodes the samples of ticks `first..end` of one stream, one chunk per point.
///
/// `rows` are in the order of their ticks (and offsets). For polled streams the last row of a tick
/// counts; rows outside the range are ignored. Beside the payload and the rows only one column is in
/// memory at a time.
///
/// # Errors
///
/// [`SealError`].
pub fn payload(
    config: &MeasurementConfig,
    stream: u16,
    first: u64,
    end: u64,
    rows: &[JournalRow],
) -> Result<Payload, SealError> {
    let messages = config.stream(stream).is_some_and(|stream| stream.messages);
    let tick_ms = config.stream(stream).map_or(1000, |stream| stream.tick_ms);
    let count = u16::try_from(end - first).map_err(|_many| SealError::TooLong(end - first))?;
    let mut cursors: Vec<Cursor<'_>> = rows
        .iter()
        .filter(|row| row.tick >= first && row.tick < end)
        .map(|row| {
            let ticks = u32::try_from(row.tick - first).unwrap_or(0);
            Cursor {
                place: usize::try_from(row.tick - first).unwrap_or(usize::MAX),
                offset_ms: ticks
                    .saturating_mul(tick_ms)
                    .saturating_add(row.offset_ms.min(tick_ms - 1)),
                samples: row.samples.iter().peekable(),
            }
        })
        .collect();
    let mut bytes = Vec::new();
    let mut leaves = Vec::new();
    let mut cells = Vec::new();
    for (index, point) in config.points_of(stream) {
        cells.clear();
        if messages {
            message_column(index, &mut cursors, &mut cells);
        } else {
            polled_column(index, count, &mut cursors, &mut cells);
        }
        let chunk = chunk(index, point, messages, &cells)
            .encode()
            .map_err(|source| SealError::Column {
                point: point.name.clone(),
                source,
            })?;
        leaves.push(leaf_hash(&chunk));
        bytes.extend(chunk);
    }
    let signed = PayloadRef {
        root: root_of(&leaves),
        chunks: u64::try_from(leaves.len()).unwrap_or(u64::MAX),
        bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
    };
    Ok(Payload { bytes, signed })
}

/// Makes a sample one that the format accepts: whatever the source delivered, the segment it is part of
/// can be sealed.
///
/// A value that its format cannot have, a text where there is none, or one over 4 KiB becomes
/// *malformed*; a value beside a quality that says there is none is left out; records are put in order.
pub fn make_sealable(config: &MeasurementConfig, stream: u16, sample: &mut PointSample) {
    const LONGEST_TEXT: usize = 4_096;
    const LARGEST_MANTISSA: u64 = 1 << 53;
    let point = config.points.get(usize::from(sample.point));
    let Some(point) = point.filter(|point| point.stream == stream) else {
        // It is not looked for when the stream is sealed.
        return;
    };
    let kind = point.format.kind;
    let fits = match &sample.value {
        SampleValue::Absent => true,
        SampleValue::Int(mantissa) if kind == Kind::Number => {
            mantissa.unsigned_abs() < LARGEST_MANTISSA
        }
        SampleValue::Int(raw) => point.format.is_column_value(*raw),
        SampleValue::Text(text) => match point.source {
            Source::Message { .. } => text.len() <= LONGEST_TEXT,
            Source::Modbus { words, .. } => {
                kind == Kind::Text && text.len() == 2 * usize::from(words)
            }
        },
    };
    if !fits {
        tracing::error!(point.name = %point.name, "A value that this point cannot have is left out");
        *sample = PointSample::absent(sample.point, Quality::MALFORMED, 0);
        return;
    }
    if kind == Kind::Number && matches!(sample.value, SampleValue::Text(_)) {
        sample.flag(Quality::OFF_GRID);
    }
    sample.qualities.retain(|(quality, _)| !quality.is_good());
    sample.qualities.sort_by_key(|(quality, _)| quality.code());
    sample.qualities.dedup_by_key(|(quality, _)| quality.code());
    let none = sample
        .qualities
        .iter()
        .any(|(quality, _)| !quality.has_value());
    if none {
        sample.value = SampleValue::Absent;
    } else if sample.value == SampleValue::Absent {
        sample.qualities.insert(0, (Quality::DROPPED, 0));
    }
}

/// One cell per tick; a tick without a row, or whose row has no sample of the point, was not polled.
fn polled_column<'a>(
    point: u16,
    count: u16,
    cursors: &mut [Cursor<'a>],
    cells: &mut Vec<Cell<'a>>,
) {
    let empty = Cell {
        offset_ms: 0,
        sample: None,
    };
    cells.resize(usize::from(count), empty);
    for cursor in cursors {
        while let Some(sample) = cursor.take(point) {
            if let Some(cell) = cells.get_mut(cursor.place) {
                cell.sample = Some(sample);
            }
        }
    }
}

/// One cell per message, with its offset from the start of the segment.
fn message_column<'a>(point: u16, cursors: &mut [Cursor<'a>], cells: &mut Vec<Cell<'a>>) {
    for cursor in cursors {
        while let Some(sample) = cursor.take(point) {
            cells.push(Cell {
                offset_ms: cursor.offset_ms,
                sample: Some(sample),
            });
        }
    }
}

impl<'a> Cell<'a> {
    fn value(&self) -> PackedValue<'a> {
        self.sample
            .map_or(PackedValue::Absent, |sample| sample.value)
    }

    fn qualities(&self) -> impl Iterator<Item = (Quality, u8)> {
        let not_polled = self.sample.is_none().then_some((Quality::NOT_POLLED, 0));
        let said = self.sample.into_iter().flat_map(PackedSample::qualities);
        not_polled.into_iter().chain(said)
    }
}

fn chunk(index: u16, point: &Point, messages: bool, cells: &[Cell<'_>]) -> Chunk {
    let texts = point.format.kind == Kind::Text
        || cells
            .iter()
            .any(|cell| matches!(cell.value(), PackedValue::Text(_)));
    let column = if texts {
        Column::Texts(fill_texts(
            cells.iter().map(|cell| text(point, cell.value())),
        ))
    } else {
        let values: Vec<Option<i64>> = cells
            .iter()
            .map(|cell| match cell.value() {
                PackedValue::Int(value) => Some(value),
                PackedValue::Text(_) | PackedValue::Absent => None,
            })
            .collect();
        Column::Ints(fill_missing(&values))
    };
    let exceptions = (0_u16..)
        .zip(cells)
        .flat_map(|(sample, cell)| {
            cell.qualities().map(move |(quality, aux)| Exception {
                sample,
                quality,
                aux,
            })
        })
        .collect();
    let offsets_ms = messages.then(|| cells.iter().map(|cell| cell.offset_ms).collect());
    Chunk {
        point: index,
        offsets_ms,
        column,
        exceptions,
    }
}

/// A number beside a text is written on its grid: it reads back as the same mantissa.
fn text(point: &Point, value: PackedValue<'_>) -> Option<Vec<u8>> {
    match value {
        PackedValue::Text(text) => Some(text.to_vec()),
        PackedValue::Int(mantissa) => {
            Some(format_mantissa(i128::from(mantissa), point.decimals).into_bytes())
        }
        PackedValue::Absent => None,
    }
}

/// The rule of [`fill_missing`] for texts.
fn fill_texts(texts: impl Iterator<Item = Option<Vec<u8>>>) -> Vec<Vec<u8>> {
    let texts: Vec<Option<Vec<u8>>> = texts.collect();
    let mut last = texts.iter().flatten().next().cloned().unwrap_or_default();
    texts
        .into_iter()
        .map(|text| {
            if let Some(text) = text {
                last = text;
            }
            last.clone()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use evidence::decimal::Decimal;
    use evidence::entry::Ticks;
    use evidence::measurement::{
        Device, MeasurementConfig, Point, PointKind, Source, Stream, Table,
    };
    use evidence::quality::Quality;
    use evidence::segment::{ConfigInForce, Segment};
    use evidence::value::{Format, Kind, Order};
    use proptest::prelude::{any, prop, prop_assert_eq, prop_oneof, proptest};
    use proptest::strategy::{Just, Strategy};

    use super::{make_sealable, payload};
    use crate::journal::{JournalRow, PackedSamples};
    use crate::sample::{PointSample, SampleValue};

    fn table(kinds: &[Kind]) -> MeasurementConfig {
        let points = (0_u16..).zip(kinds).map(|(index, &kind)| {
            let message = kind == Kind::Number;
            Point {
                name: format!("p{index}"),
                stream: if message { 2 } else { 1 },
                device: 0,
                source: if message {
                    Source::Message {
                        topic: "t".to_owned(),
                        pointer: None,
                    }
                } else {
                    Source::Modbus {
                        table: Table::Holding,
                        address: index * 4,
                        words: 4,
                    }
                },
                format: Format {
                    kind,
                    order: Order::Abcd,
                },
                scale: Decimal::ONE,
                offset: Decimal::ZERO,
                decimals: 2,
                unit: "bar".to_owned(),
                kind: PointKind::Instant,
                sentinels: Vec::new(),
                scale_from: None,
                min: None,
                max: None,
                max_step_per_s: None,
                stale_after_s: message.then_some(60),
            }
        });
        MeasurementConfig {
            streams: vec![
                Stream {
                    id: 1,
                    tick_ms: 1000,
                    first_tick: 0,
                    messages: false,
                },
                Stream {
                    id: 2,
                    tick_ms: 1000,
                    first_tick: 0,
                    messages: true,
                },
            ],
            devices: vec![Device {
                name: "d".to_owned(),
                protocol: "mqtt".to_owned(),
                unit_id: None,
                template: None,
                path: "meter".to_owned(),
            }],
            points: points.collect(),
        }
    }

    const KINDS: [Kind; 9] = [
        Kind::U16,
        Kind::I16,
        Kind::U32,
        Kind::I32,
        Kind::U64,
        Kind::F64,
        Kind::Text,
        Kind::Number,
        Kind::Number,
    ];

    fn sample() -> impl Strategy<Value = PointSample> {
        let value = prop_oneof![
            Just(SampleValue::Absent),
            any::<i64>().prop_map(SampleValue::Int),
            (-70_000_i64..70_000).prop_map(SampleValue::Int),
            prop::collection::vec(any::<u8>(), 0..12).prop_map(SampleValue::Text),
            prop::collection::vec(any::<u8>(), 8).prop_map(SampleValue::Text),
            Just(SampleValue::Text(b"10.155".to_vec())),
        ];
        let quality = (0_u8..64).prop_filter_map("registered", Quality::from_code);
        let qualities = prop::collection::vec((quality, any::<u8>()), 0..3);
        (0_u16..10, value, qualities).prop_map(|(point, value, qualities)| PointSample {
            point,
            value,
            qualities,
        })
    }

    proptest! {
        /// Whatever a source delivers in whatever order, the segment encodes, and the format's own
        /// reader accepts it.
        #[test]
        fn any_samples_can_be_sealed_once_they_are_made_sealable(
            ticks in prop::collection::vec(prop::collection::vec(sample(), 0..12), 0..20),
            skipped in 0_u64..4,
        ) {
            let config = table(&KINDS);
            let end = 100 + skipped + u64::try_from(ticks.len()).unwrap() + 1;
            for stream in [1, 2] {
                let rows: Vec<JournalRow> = (100 + skipped..)
                    .zip(&ticks)
                    .map(|(tick, samples)| {
                        let mut samples = samples.clone();
                        samples.iter_mut().for_each(|sample| make_sealable(&config, stream, sample));
                        let samples = PackedSamples::of(&samples);
                        JournalRow { stream, tick, offset_ms: 3, shift: Some(0), samples }
                    })
                    .collect();
                let payload = payload(&config, stream, 100, end, &rows).unwrap();
                let in_force = Arc::new(ConfigInForce::new(config.clone(), 1));
                let ticks = Ticks { stream, first: 100, count: end - 100 };
                let opened = Segment::open(&in_force, ticks, Some(0), &payload.signed, &payload.bytes);
                let columns = opened.unwrap().columns.len();
                prop_assert_eq!(columns, if stream == 1 { 7 } else { 2 });
            }
        }
    }
}
