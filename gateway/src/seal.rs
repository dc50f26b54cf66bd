//! From the samples of an open segment to the payload that is signed.
//!
//! Pure: no clock, no file. A tick without a row is said to be *not polled*; a message stream without
//! messages gives empty columns, which is a statement, not a hole.

use std::collections::HashMap;

use evidence::chunk::{Chunk, ChunkError, Column, Exception, fill_missing};
use evidence::decimal::format_mantissa;
use evidence::entry::PayloadRef;
use evidence::hash::{leaf_hash, root_of};
use evidence::measurement::{MeasurementConfig, Point};
use evidence::quality::Quality;
use evidence::value::Kind;
use thiserror::Error;

use crate::journal::JournalRow;
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

/// The cells of each point, by its index.
type Columns<'a> = HashMap<u16, Vec<Cell<'a>>>;

/// One sample on its way into a column.
#[derive(Clone, Copy)]
struct Cell<'a> {
    offset_ms: u32,
    value: Option<&'a SampleValue>,
    qualities: &'a [(Quality, u8)],
}

/// Encodes the samples of ticks `first..end` of one stream, one chunk per point.
///
/// `rows` are in the order of their ticks (and offsets). For polled streams the last row of a tick
/// counts; rows outside the range are ignored.
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
    let rows: Vec<&JournalRow> = rows
        .iter()
        .filter(|row| row.tick >= first && row.tick < end)
        .collect();
    let mut bytes = Vec::new();
    let mut leaves = Vec::new();
    let points: Vec<(u16, &Point)> = config.points_of(stream).collect();
    let mut columns = if messages {
        message_columns(&points, first, tick_ms, &rows)
    } else {
        polled_columns(&points, first, count, &rows)
    };
    for (index, point) in points {
        let cells = columns.remove(&index).unwrap_or_default();
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

/// One cell per point and tick; a tick without a row was not polled.
fn polled_columns<'a>(
    points: &[(u16, &Point)],
    first: u64,
    count: u16,
    rows: &[&'a JournalRow],
) -> Columns<'a> {
    const NOT_POLLED: &[(Quality, u8)] = &[(Quality::NOT_POLLED, 0)];
    let empty = Cell {
        offset_ms: 0,
        value: None,
        qualities: NOT_POLLED,
    };
    let mut columns: Columns<'a> = points
        .iter()
        .map(|(index, _)| (*index, vec![empty; usize::from(count)]))
        .collect();
    for row in rows {
        let place = usize::try_from(row.tick - first).unwrap_or(usize::MAX);
        for sample in &row.samples {
            let column = columns.get_mut(&sample.point);
            if let Some(cell) = column.and_then(|column| column.get_mut(place)) {
                *cell = Cell {
                    offset_ms: 0,
                    value: present(sample),
                    qualities: &sample.qualities,
                };
            }
        }
    }
    columns
}

/// One cell per message and point, with its offset from the start of the segment.
fn message_columns<'a>(
    points: &[(u16, &Point)],
    first: u64,
    tick_ms: u32,
    rows: &[&'a JournalRow],
) -> Columns<'a> {
    let mut columns: Columns<'a> = points
        .iter()
        .map(|(index, _)| (*index, Vec::new()))
        .collect();
    for row in rows {
        let ticks = u32::try_from(row.tick - first).unwrap_or(0);
        let offset_ms = ticks * tick_ms + row.offset_ms.min(tick_ms - 1);
        for sample in &row.samples {
            if let Some(column) = columns.get_mut(&sample.point) {
                let qualities = &sample.qualities;
                column.push(Cell {
                    offset_ms,
                    value: present(sample),
                    qualities,
                });
            }
        }
    }
    columns
}

fn present(sample: &PointSample) -> Option<&SampleValue> {
    Some(&sample.value).filter(|value| **value != SampleValue::Absent)
}

fn chunk(index: u16, point: &Point, messages: bool, cells: &[Cell<'_>]) -> Chunk {
    let texts = point.format.kind == Kind::Text
        || cells
            .iter()
            .any(|cell| matches!(cell.value, Some(SampleValue::Text(_))));
    let column = if texts {
        Column::Texts(fill_texts(cells.iter().map(|cell| text(point, cell.value))))
    } else {
        let values: Vec<Option<i64>> = cells
            .iter()
            .map(|cell| match cell.value {
                Some(SampleValue::Int(value)) => Some(*value),
                _ => None,
            })
            .collect();
        Column::Ints(fill_missing(&values))
    };
    let exceptions = (0_u16..)
        .zip(cells)
        .flat_map(|(sample, cell)| {
            cell.qualities.iter().map(move |&(quality, aux)| Exception {
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
fn text(point: &Point, value: Option<&SampleValue>) -> Option<Vec<u8>> {
    match value? {
        SampleValue::Text(text) => Some(text.clone()),
        SampleValue::Int(mantissa) => {
            Some(format_mantissa(i128::from(*mantissa), point.decimals).into_bytes())
        }
        SampleValue::Absent => None,
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
