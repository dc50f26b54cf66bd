//! From a stored row to the readings of one point.

use evidence::chunk::{self, Exception};
use evidence::decimal::format_mantissa;
use evidence::entry::Body as EntryBody;
use evidence::measurement::Point;
use evidence::quality::Quality;
use evidence::segment::{DecodedColumn, Segment, tick_time};
use store::Row;

use super::Reading;
use crate::facts::{Damaged, Facts};
use crate::time;

/// The readings of a point in one stored row that lie in a range of time.
pub(super) fn readings_of(
    facts: &Facts,
    name: &str,
    row: &Row,
    range: &std::ops::Range<i64>,
) -> Result<Vec<Reading>, Damaged> {
    let Some((segment, chunks)) = facts.open(row)? else {
        return dropped(facts, row, range);
    };
    let Some((index, point)) = segment.config.config.point(name) else {
        return Ok(Vec::new());
    };
    let Some(column) = segment.columns.iter().find(|column| column.point == index) else {
        return Ok(Vec::new());
    };
    let raw = raw_column(facts, row, chunks, index, point)?;
    let mut readings = Vec::new();
    for (sample, value) in column.values.iter().enumerate() {
        let Some(ms) = segment.sample_ms(column, sample) else {
            continue;
        };
        if !range.contains(&ms) {
            continue;
        }
        let quality = column.quality(sample);
        let (value, said) = if is_text(point) {
            characters(point, column, sample)
        } else {
            let value = quality
                .is_good()
                .then(|| format_mantissa(i128::from(*value), point.decimals));
            (value, quality_text(&segment, index, sample))
        };
        readings.push(Reading {
            time: time::utc(ms),
            value,
            quality: said,
            raw: raw
                .get(sample)
                .filter(|_| quality.is_good() || quality.has_value())
                .cloned(),
            entry: row.index,
        });
    }
    Ok(readings)
}

/// The characters of a text point and what is said of them. That they are no number (which keeps
/// them out of every sum) goes without saying here.
fn characters(point: &Point, column: &DecodedColumn, sample: usize) -> (Option<String>, String) {
    let said: Vec<&Exception> = column
        .exceptions
        .iter()
        .filter(|said| usize::from(said.sample) == sample && said.quality != Quality::OFF_GRID)
        .collect();
    if !said.is_empty() {
        return (None, words_of(said.into_iter()));
    }
    let bytes = column.texts.as_ref().and_then(|texts| texts.get(sample));
    let value = bytes.map(|bytes| point.format.characters(bytes));
    (value, Quality::GOOD.name().to_owned())
}

/// Everything that is said of a sample.
fn quality_text(segment: &Segment, point: u16, sample: usize) -> String {
    let column = segment.columns.iter().find(|column| column.point == point);
    let said = column.into_iter().flat_map(|column| &column.exceptions);
    words_of(said.filter(|exception| usize::from(exception.sample) == sample))
}

fn words_of<'e>(said: impl Iterator<Item = &'e Exception>) -> String {
    let words: Vec<String> = said
        .map(|exception| match exception.aux {
            0 => exception.quality.name().to_owned(),
            aux => format!("{}:{aux}", exception.quality.name()),
        })
        .collect();
    if words.is_empty() {
        Quality::GOOD.name().to_owned()
    } else {
        words.join("+")
    }
}

/// What was read, before decoding, one text per sample.
fn raw_column(
    facts: &Facts,
    row: &Row,
    chunks: u64,
    index: u16,
    point: &Point,
) -> Result<Vec<String>, Damaged> {
    let damaged = |why: String| facts.damaged(row.index, why);
    let payload = row.payload.as_deref().unwrap_or_default();
    let views = chunk::split(payload, chunks).map_err(|error| damaged(error.to_string()))?;
    let Some(view) = views.iter().find(|view| view.point == index) else {
        return Ok(Vec::new());
    };
    let words = |raw: i64| {
        let words = point.format.wire_words(raw);
        words
            .iter()
            .map(|word| format!("{word:04x}"))
            .collect::<String>()
    };
    if let Some(texts) = view.texts() {
        let text = |bytes: &[u8]| match <[u8; 8]>::try_from(bytes) {
            _ if is_text(point) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            Ok(eight) if !view.messages => words(i64::from_be_bytes(eight)),
            _ => String::from_utf8_lossy(bytes).into_owned(),
        };
        return Ok(texts.map(text).collect());
    }
    let mut values = Vec::new();
    view.check(&mut values)
        .map_err(|error| damaged(error.to_string()))?;
    let decimals = point.decimals;
    Ok(values
        .into_iter()
        .map(|raw| {
            if view.messages {
                format_mantissa(i128::from(raw), decimals)
            } else {
                words(raw)
            }
        })
        .collect())
}

fn is_text(point: &Point) -> bool {
    point.format.kind == evidence::value::Kind::Text
}

/// The ticks of a segment whose payload was declared dropped; other entries have none.
fn dropped(
    facts: &Facts,
    row: &Row,
    range: &std::ops::Range<i64>,
) -> Result<Vec<Reading>, Damaged> {
    let signed = facts.signed(row)?;
    let EntryBody::Data { ticks, .. } = &signed.entry.body else {
        return Ok(Vec::new());
    };
    let config = facts.config_at(row.index);
    let stream = config.and_then(|config| config.config.stream(ticks.stream));
    let shift = facts.shift(ticks.stream, row.index, signed.entry.clock.status);
    let (Some(stream), Some(shift)) = (stream, shift) else {
        return Ok(Vec::new());
    };
    // Of dropped messages not even the number is known: one line stands for the segment.
    let count = if stream.messages { 1 } else { ticks.count };
    let times = (0..count).filter_map(|i| tick_time(ticks.first + i, shift, stream.tick_ms));
    Ok(times
        .filter(|ms| range.contains(ms))
        .map(|ms| Reading {
            time: time::utc(ms),
            value: None,
            quality: Quality::DROPPED.name().to_owned(),
            raw: None,
            entry: row.index,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::{DecodedColumn, Exception, Point, Quality, characters};
    use evidence::decimal::Decimal;
    use evidence::measurement::{PointKind, Source, Table};
    use evidence::value::Format;

    #[test]
    fn a_text_is_shown_as_its_characters_and_its_quality_is_what_was_sealed() {
        let point = Point {
            name: "serial".to_owned(),
            stream: 1,
            device: 0,
            source: Source::Modbus {
                table: Table::Holding,
                address: 0,
                words: 2,
            },
            format: Format::from_names("text", "BADC").unwrap(),
            scale: Decimal::ONE,
            offset: Decimal::ZERO,
            decimals: 0,
            unit: "1".to_owned(),
            kind: PointKind::Instant,
            sentinels: Vec::new(),
            scale_from: None,
            min: None,
            max: None,
            max_step_per_s: None,
            stale_after_s: None,
        };
        let said = |sample, quality| Exception {
            sample,
            quality,
            aux: 0,
        };
        // As decoding leaves it: the first sample is no number, the second was not read.
        let column = DecodedColumn {
            point: 0,
            values: vec![0, 0],
            texts: Some(vec![b"NS1-".to_vec(), b"NS1-".to_vec()]),
            offsets_ms: None,
            exceptions: vec![said(0, Quality::OFF_GRID), said(1, Quality::TIMEOUT)],
        };
        let shown = |sample| characters(&point, &column, sample);
        assert_eq!(shown(0), (Some("SN-1".to_owned()), "good".to_owned()));
        assert_eq!(shown(1), (None, "timeout".to_owned()));
    }
}
