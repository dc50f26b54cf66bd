//! A segment: the decoded samples of one data entry.

use std::sync::Arc;

use crate::chunk::{Chunk, ChunkError, Column, Exception, HEADER_BYTES, View, split};
use crate::entry::{PayloadRef, Ticks};
use crate::hash::{Hash, leaf_hash, root_of};
use crate::measurement::{HOUR_MS, MeasurementConfig, Source};
use crate::quality::Quality;
use crate::rejection::Rejection;
use crate::value::{Decoder, Kind};

/// A configuration that was sealed, with what decoding needs worked out.
#[derive(Debug)]
pub struct ConfigInForce {
    /// The table.
    pub config: Arc<MeasurementConfig>,
    /// The index of the control entry that sealed it.
    pub index: u64,
    decoders: Vec<Decoder>,
}

impl ConfigInForce {
    /// Prepares a checked table.
    #[must_use]
    pub fn new(config: impl Into<Arc<MeasurementConfig>>, index: u64) -> Self {
        let config = config.into();
        let decoders = config.points.iter().map(Decoder::new).collect();
        Self {
            config,
            index,
            decoders,
        }
    }

    /// What decodes the point with this index.
    #[must_use]
    pub fn decoder(&self, point: u16) -> Option<&Decoder> {
        self.decoders.get(usize::from(point))
    }
}

/// The samples of one data entry, decoded with the configuration in force.
#[derive(Debug, Clone)]
pub struct Segment {
    /// The configuration in force.
    pub config: Arc<ConfigInForce>,
    /// The ticks covered.
    pub ticks: Ticks,
    /// The stream's tick length in milliseconds.
    pub tick_ms: u32,
    /// Time = (tick + shift) × tick length; none while nobody knows the time of these ticks.
    pub shift: Option<i64>,
    /// The stream's points, ascending.
    pub columns: Vec<DecodedColumn>,
}

/// The samples of one point in one segment.
#[derive(Debug, Clone)]
pub struct DecodedColumn {
    /// The point's index in the configuration.
    pub point: u16,
    /// One integer per sample: the value is it times `10^-decimals` of the point. Where an exception
    /// names the sample the integer means nothing.
    pub values: Vec<i64>,
    /// The texts, for points and messages that are kept as text.
    pub texts: Option<Vec<Vec<u8>>>,
    /// Messages: milliseconds from the start of the segment, one per sample; none for polled points,
    /// whose sample i belongs to tick i.
    pub offsets_ms: Option<Vec<u32>>,
    /// The samples that are not good, ascending: as sealed, and those whose words are no number.
    pub exceptions: Vec<Exception>,
}

impl DecodedColumn {
    /// The worst that is said of a sample, or good.
    #[must_use]
    pub fn quality(&self, sample: usize) -> Quality {
        let Ok(sample) = u16::try_from(sample) else {
            return Quality::GOOD;
        };
        let start = self
            .exceptions
            .partition_point(|exception| exception.sample < sample);
        self.exceptions
            .get(start)
            .filter(|exception| exception.sample == sample)
            .map_or(Quality::GOOD, |e| e.quality)
    }

    /// The values of the good samples, `None` for the others.
    fn good_values(&self) -> Vec<Option<i64>> {
        let mut values: Vec<Option<i64>> = self.values.iter().copied().map(Some).collect();
        for exception in &self.exceptions {
            if let Some(value) = values.get_mut(usize::from(exception.sample)) {
                *value = None;
            }
        }
        values
    }

    /// Whether every sample is good.
    #[must_use]
    pub const fn all_good(&self) -> bool {
        self.exceptions.is_empty()
    }
}

impl Segment {
    /// The start of the segment in unix milliseconds, or none while it is not placed in time.
    #[must_use]
    pub fn start_ms(&self) -> Option<i64> {
        tick_time(self.ticks.first, self.shift?, self.tick_ms)
    }

    /// The end (exclusive) of the segment in unix milliseconds.
    #[must_use]
    pub fn end_ms(&self) -> Option<i64> {
        tick_time(self.ticks.end(), self.shift?, self.tick_ms)
    }

    /// The time of a sample of a column in unix milliseconds.
    #[must_use]
    pub fn sample_ms(&self, column: &DecodedColumn, sample: usize) -> Option<i64> {
        let start = self.start_ms()?;
        match &column.offsets_ms {
            Some(offsets) => start.checked_add(i64::from(*offsets.get(sample)?)),
            None => {
                start.checked_add(i64::from(self.tick_ms).checked_mul(i64::try_from(sample).ok()?)?)
            }
        }
    }

    /// Checks a payload against what was signed and decodes it.
    ///
    /// # Errors
    /// The [`Rejection`] that names what is wrong.
    pub fn open(
        config: &Arc<ConfigInForce>,
        ticks: Ticks,
        shift: Option<i64>,
        signed: &PayloadRef,
        payload: &[u8],
    ) -> Result<Self, Rejection> {
        Self::open_shown(config, ticks, shift, signed, payload, None)
    }

    /// As [`Self::open`], of a payload of which only some points are shown: `shown` says of each point
    /// of the table whether its chunk stands there, or the chunk's hash. The columns are those shown.
    ///
    /// # Errors
    /// The [`Rejection`] that names what is wrong.
    pub fn open_shown(
        config: &Arc<ConfigInForce>,
        ticks: Ticks,
        shift: Option<i64>,
        signed: &PayloadRef,
        payload: &[u8],
        shown: Option<&[bool]>,
    ) -> Result<Self, Rejection> {
        let mut columns = Vec::new();
        let tick_ms = walk(config, ticks, signed, payload, shown, |column| {
            columns.push(column);
        })?;
        apply_scale_factors(config, &mut columns);
        Ok(Self {
            config: Arc::clone(config),
            ticks,
            tick_ms,
            shift,
            columns,
        })
    }

    /// Checks everything that [`Self::open`] checks and keeps nothing: one column is in memory at a
    /// time.
    ///
    /// # Errors
    /// The [`Rejection`] that names what is wrong.
    pub fn check(
        config: &ConfigInForce,
        ticks: Ticks,
        signed: &PayloadRef,
        payload: &[u8],
    ) -> Result<(), Rejection> {
        walk(config, ticks, signed, payload, None, drop).map(drop)
    }
}

/// Checks a payload, hands over its columns as they are decoded, and returns the tick length. What
/// was handed over counts only if the whole payload is accepted.
fn walk(
    config: &ConfigInForce,
    ticks: Ticks,
    signed: &PayloadRef,
    payload: &[u8],
    shown: Option<&[bool]>,
    mut keep: impl FnMut(DecodedColumn),
) -> Result<u32, Rejection> {
    if shown.is_none() {
        check_length(signed, payload)?;
    }
    let stream = config
        .config
        .stream(ticks.stream)
        .ok_or(Rejection::UnknownStream(ticks.stream))?;
    let mut leaves = Vec::new();
    let mut rest = payload;
    let mut points = config.config.points_of(ticks.stream).peekable();
    let mut failure = None;
    let (mut hidden, mut seen) = (0_u64, 0_u64);
    while !rest.is_empty() {
        if let Some(shown) = shown
            && let Some((next, _)) = points.peek()
            && shown.get(usize::from(*next)) == Some(&false)
        {
            let (hash, after) = rest
                .split_first_chunk::<32>()
                .ok_or(Rejection::Payload(ChunkError::Truncated))?;
            leaves.push(Hash(*hash));
            (rest, hidden) = (after, hidden + 1);
            points.next();
            continue;
        }
        let (view, used) = View::parse(rest).map_err(Rejection::Payload)?;
        let (chunk, after) = rest
            .split_at_checked(used)
            .ok_or(Rejection::Payload(ChunkError::Truncated))?;
        leaves.push(leaf_hash(chunk));
        rest = after;
        seen = seen.saturating_add(u64::try_from(used).unwrap_or(u64::MAX));
        let expected = points.next().map(|(index, _)| index);
        if failure.is_none() {
            // The root is compared first: a changed byte is reported as such, not by its effects.
            match column(config, &ticks, stream.tick_ms, expected, &view) {
                Ok(column) => keep(column),
                Err(rejection) => failure = Some(rejection),
            }
        }
    }
    if root_of(&leaves) != signed.root {
        return Err(Rejection::PayloadRootDiffers);
    }
    if !u64::try_from(leaves.len()).is_ok_and(|found| found == signed.chunks) {
        return Err(Rejection::Payload(ChunkError::PayloadShape));
    }
    if shown.is_some() {
        check_shown_length(signed, seen, hidden)?;
    }
    match failure {
        Some(rejection) => Err(rejection),
        None if points.next().is_some() => Err(Rejection::PointsDiffer(ticks.stream)),
        None => Ok(stream.tick_ms),
    }
}

/// Turns the column values of points with a scale factor into values, each sample with the factor's
/// value in the same sample. Until here such a column holds column values.
fn apply_scale_factors(config: &ConfigInForce, columns: &mut [DecodedColumn]) {
    for place in 0..columns.len() {
        let scaled = columns.get(place).and_then(|column| {
            let decoder = config.decoder(column.point)?;
            Some((decoder, decoder.scale_from()?))
        });
        let Some((decoder, factor)) = scaled else {
            continue;
        };
        // Of the same stream, so it is here; were it not, no value of the point would be good.
        let exponents = columns
            .iter()
            .find(|column| column.point == factor)
            .map(DecodedColumn::good_values)
            .unwrap_or_default();
        if let Some(column) = columns.get_mut(place) {
            let refused = decoder.scaled_column(&mut column.values, &exponents);
            merge(&mut column.exceptions, refused);
        }
    }
}

/// The unix milliseconds of a tick.
#[must_use]
pub fn tick_time(tick: u64, shift: i64, tick_ms: u32) -> Option<i64> {
    i64::try_from(tick)
        .ok()?
        .checked_add(shift)?
        .checked_mul(i64::from(tick_ms))
}

/// Whether ticks are at least one, at most an hour of them, and cross no hour when their time is known.
pub(crate) fn check_shape(
    ticks: &Ticks,
    tick_ms: u32,
    shift: Option<i64>,
) -> Result<(), Rejection> {
    let per_hour = u64::from(HOUR_MS / tick_ms);
    if ticks.count == 0 || ticks.count > per_hour || u16::try_from(ticks.count).is_err() {
        return Err(Rejection::SegmentShape);
    }
    let Some(shift) = shift else { return Ok(()) };
    let first = tick_time(ticks.first, shift, tick_ms).ok_or(Rejection::SegmentShape)?;
    let last = tick_time(ticks.end() - 1, shift, tick_ms).ok_or(Rejection::SegmentShape)?;
    let hour = |ms: i64| ms.div_euclid(i64::from(HOUR_MS));
    if hour(first) == hour(last) {
        Ok(())
    } else {
        Err(Rejection::SegmentShape)
    }
}

fn check_length(signed: &PayloadRef, payload: &[u8]) -> Result<(), Rejection> {
    let found = u64::try_from(payload.len()).unwrap_or(u64::MAX);
    if found == signed.bytes {
        Ok(())
    } else {
        Err(Rejection::PayloadLength {
            expected: signed.bytes,
            found,
        })
    }
}

/// What is shown and the least that hidden chunks can take must fit the signed length.
fn check_shown_length(signed: &PayloadRef, seen: u64, hidden: u64) -> Result<(), Rejection> {
    let least = u64::try_from(HEADER_BYTES).unwrap_or(u64::MAX);
    let found = seen.saturating_add(hidden.saturating_mul(least));
    if found == signed.bytes || hidden > 0 && found < signed.bytes {
        Ok(())
    } else {
        Err(Rejection::PayloadLength {
            expected: signed.bytes,
            found,
        })
    }
}

pub(crate) fn column(
    config: &ConfigInForce,
    ticks: &Ticks,
    tick_ms: u32,
    expected: Option<u16>,
    view: &View<'_>,
) -> Result<DecodedColumn, Rejection> {
    let point_index = view.point;
    let chunk_error = |error| Rejection::Chunk {
        point: point_index,
        error,
    };
    let (Some(decoder), Some(point)) = (
        config.decoder(point_index),
        config.config.points.get(usize::from(point_index)),
    ) else {
        return Err(Rejection::PointsDiffer(ticks.stream));
    };
    if expected != Some(point_index) {
        return Err(Rejection::PointsDiffer(ticks.stream));
    }
    let message = point.format.kind == Kind::Number;
    if message != view.messages {
        return Err(Rejection::WrongCodec(point_index));
    }
    if !message && u64::from(view.count) != ticks.count {
        return Err(Rejection::SamplesDiffer {
            point: point_index,
            expected: ticks.count,
            found: u64::from(view.count),
        });
    }
    let mut values = Vec::new();
    view.check(&mut values).map_err(chunk_error)?;
    let mut exceptions: Vec<Exception> = if view.all_good() {
        Vec::new()
    } else {
        view.exceptions().collect()
    };
    let offsets_ms: Option<Vec<u32>> = view.offsets().map(Iterator::collect);
    if let Some(last) = offsets_ms.as_ref().and_then(|offsets| offsets.last())
        && u64::from(*last) >= ticks.count * u64::from(tick_ms)
    {
        return Err(Rejection::MessageOutside(point_index));
    }
    let texts = match view.texts() {
        None if point.format.kind == Kind::Text => return Err(Rejection::WrongCodec(point_index)),
        None => {
            check_column_values(config, point_index, &values)?;
            if decoder.scale_from().is_none() {
                let refused = decoder.column(&mut values);
                merge(&mut exceptions, refused);
            }
            None
        }
        Some(texts) => {
            let texts: Vec<Vec<u8>> = texts.map(<[u8]>::to_vec).collect();
            values = decode_texts(config, point_index, &texts, &mut exceptions)?;
            Some(texts)
        }
    };
    Ok(DecodedColumn {
        point: point_index,
        values,
        texts,
        offsets_ms,
        exceptions,
    })
}

/// A column value outside its format cannot have been read; only narrow formats can be violated.
fn check_column_values(
    config: &ConfigInForce,
    point: u16,
    values: &[i64],
) -> Result<(), Rejection> {
    let Some(format) = config
        .config
        .points
        .get(usize::from(point))
        .map(|point| point.format)
    else {
        return Err(Rejection::NotAColumnValue(point));
    };
    let (least, most) = values
        .iter()
        .fold((i64::MAX, i64::MIN), |(least, most), &raw| {
            (least.min(raw), most.max(raw))
        });
    if values.is_empty() || (format.is_column_value(least) && format.is_column_value(most)) {
        Ok(())
    } else {
        Err(Rejection::NotAColumnValue(point))
    }
}

/// Texts are the bytes of their registers; only a column without any value holds empty ones.
fn check_text_lengths(
    config: &ConfigInForce,
    point: u16,
    texts: &[Vec<u8>],
    exceptions: &[Exception],
) -> Result<(), Rejection> {
    let source = config.config.points.get(usize::from(point));
    let Some(Source::Modbus { words, .. }) = source.map(|point| &point.source) else {
        return Err(Rejection::WrongCodec(point));
    };
    let mut absent = vec![false; texts.len()];
    for exception in exceptions.iter().filter(|e| !e.quality.has_value()) {
        if let Some(slot) = absent.get_mut(usize::from(exception.sample)) {
            *slot = true;
        }
    }
    let length = if absent.iter().all(|absent| *absent) {
        0
    } else {
        2 * usize::from(*words)
    };
    if texts.iter().all(|text| text.len() == length) {
        Ok(())
    } else {
        Err(Rejection::NotAColumnValue(point))
    }
}

fn decode_texts(
    config: &ConfigInForce,
    point: u16,
    texts: &[Vec<u8>],
    exceptions: &mut Vec<Exception>,
) -> Result<Vec<i64>, Rejection> {
    let wrong = Rejection::WrongCodec(point);
    let (Some(decoder), Some(kind)) = (
        config.decoder(point),
        config
            .config
            .points
            .get(usize::from(point))
            .map(|point| point.format.kind),
    ) else {
        return Err(wrong);
    };
    let mut refused = Vec::new();
    let mut values = Vec::with_capacity(texts.len());
    match kind {
        // Characters are never a number, so they can never count.
        Kind::Text => {
            check_text_lengths(config, point, texts, exceptions)?;
            values.resize(texts.len(), 0);
            refused.extend((0..texts.len()).map(|sample| (sample, Quality::OFF_GRID)));
        }
        // Texts instead of numbers are right only where one of them is off the grid.
        Kind::Number => {
            if !exceptions
                .iter()
                .any(|exception| exception.quality == Quality::OFF_GRID)
            {
                return Err(wrong);
            }
            for (sample, text) in texts.iter().enumerate() {
                values.push(decoder.text(text).unwrap_or_else(|quality| {
                    refused.push((sample, quality));
                    0
                }));
            }
        }
        // Integers whose deltas do not fit codec 1, as eight bytes each; anything codec 1 can pack must be packed.
        _ => {
            for text in texts {
                values.push(i64::from_be_bytes(
                    text.as_slice()
                        .try_into()
                        .map_err(|_length| wrong.clone())?,
                ));
            }
            check_column_values(config, point, &values)?;
            let packed = Chunk {
                point,
                offsets_ms: None,
                column: Column::Ints(values.clone()),
                exceptions: Vec::new(),
            };
            if packed.encode().is_ok_and(|bytes| bytes.first() == Some(&1)) {
                return Err(wrong);
            }
            if decoder.scale_from().is_none() {
                refused = decoder.column(&mut values);
            }
        }
    }
    merge(exceptions, refused);
    Ok(values)
}

/// Adds what decoding refused to what was sealed; a sample already named keeps its sealed records only.
fn merge(exceptions: &mut Vec<Exception>, refused: Vec<(usize, Quality)>) {
    if refused.is_empty() {
        return;
    }
    let sealed = exceptions.len();
    for (sample, quality) in refused {
        let Ok(sample) = u16::try_from(sample) else {
            continue;
        };
        let named = exceptions
            .get(..sealed)
            .is_some_and(|e| e.binary_search_by_key(&sample, |e| e.sample).is_ok());
        if !named {
            exceptions.push(Exception {
                sample,
                quality,
                aux: 0,
            });
        }
    }
    exceptions.sort_unstable();
}

/// Checks a payload's length and root without decoding it, for points that nobody asked about.
///
/// # Errors
/// [`Rejection::PayloadLength`], [`Rejection::PayloadRootDiffers`] or [`Rejection::Payload`].
pub fn check_payload(signed: &PayloadRef, payload: &[u8]) -> Result<(), Rejection> {
    check_length(signed, payload)?;
    let views = split(payload, signed.chunks).map_err(Rejection::Payload)?;
    drop(views);
    if crate::chunk::inner_root(payload).map_err(Rejection::Payload)? == signed.root {
        Ok(())
    } else {
        Err(Rejection::PayloadRootDiffers)
    }
}
