//! The value of a field: in a body, and as people write it.

use super::RecordError;
use super::kind::Sort;
use crate::cbor::{CborError, Reader, Writer};
use crate::decimal::Decimal;
use crate::hash::{Hash, Origin};

/// The value of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// [`Sort::Text`], [`Sort::Name`], [`Sort::Date`], [`Sort::Word`].
    Text(String),
    /// [`Sort::Time`], [`Sort::Number`].
    Number(u64),
    /// [`Sort::Decimal`].
    Decimal(Decimal),
    /// [`Sort::Hash`].
    Hash(Hash),
    /// [`Sort::Points`].
    Points(Vec<[Decimal; 3]>),
    /// [`Sort::Logs`].
    Logs(Vec<LogState>),
}

/// How far a log had come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogState {
    /// The log's name.
    pub origin: String,
    /// Entries.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

/// The longest text.
pub(super) const MOST_TEXT: usize = 4_000;
/// The longest name.
pub(super) const MOST_NAME: usize = 200;
const MOST_POINTS: usize = 100;
const MOST_LOGS: usize = 1_000;

impl Value {
    /// Reads what a person wrote, in the form of [`Sort::form`].
    ///
    /// # Errors
    /// What is wrong, naming the field's key.
    pub fn parse(key: &'static str, sort: Sort, text: &str) -> Result<Self, RecordError> {
        let wrong = || RecordError::Form {
            key,
            form: match sort {
                Sort::Word(words) => words.join(", "),
                other => other.form().to_owned(),
            },
        };
        let decimal = |text: &str| Decimal::parse(text).map_err(|_error| wrong());
        let parts = || text.split([' ', ',']).filter(|part| !part.is_empty());
        let value = match sort {
            Sort::Text | Sort::Name | Sort::Date | Sort::Word(_) => Self::Text(text.to_owned()),
            Sort::Time | Sort::Number => Self::Number(text.parse().map_err(|_error| wrong())?),
            Sort::Decimal => Self::Decimal(decimal(text)?),
            Sort::Hash => Self::Hash(Hash::from_hex(text).map_err(|_error| wrong())?),
            Sort::Points => {
                let point = |part: &str| {
                    let mut numbers = part.split(':').map(decimal);
                    let mut next = || numbers.next().unwrap_or_else(|| Err(wrong()));
                    let point = [next()?, next()?, next()?];
                    match numbers.next() {
                        None => Ok(point),
                        Some(_) => Err(wrong()),
                    }
                };
                Self::Points(parts().map(point).collect::<Result<_, _>>()?)
            }
            Sort::Logs => {
                let state = |part: &str| {
                    let (rest, root) = part.rsplit_once(':')?;
                    let (origin, size) = rest.rsplit_once(':')?;
                    Some(LogState {
                        origin: origin.to_owned(),
                        size: size.parse().ok()?,
                        root: Hash::from_hex(root).ok()?,
                    })
                };
                Self::Logs(
                    parts()
                        .map(|part| state(part).ok_or_else(wrong))
                        .collect::<Result<_, _>>()?,
                )
            }
        };
        if value.fits(sort) {
            Ok(value)
        } else {
            Err(wrong())
        }
    }

    /// As [`Self::parse`] reads it.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string(),
            Self::Decimal(decimal) => decimal.to_string(),
            Self::Hash(hash) => hash.to_hex(),
            Self::Points(points) => {
                let each = points.iter().map(|[a, b, c]| format!("{a}:{b}:{c}"));
                each.collect::<Vec<_>>().join(" ")
            }
            Self::Logs(logs) => {
                let each = logs
                    .iter()
                    .map(|log| format!("{}:{}:{}", log.origin, log.size, log.root));
                each.collect::<Vec<_>>().join(" ")
            }
        }
    }

    /// Whether it obeys the rules of its sort.
    pub(super) fn fits(&self, sort: Sort) -> bool {
        match (self, sort) {
            (Self::Text(text), Sort::Text) => is_text(text),
            (Self::Text(text), Sort::Name) => is_name(text),
            (Self::Text(text), Sort::Date) => is_date(text),
            (Self::Text(text), Sort::Word(words)) => words.contains(&text.as_str()),
            (Self::Number(number), Sort::Time | Sort::Number) => i64::try_from(*number).is_ok(),
            (Self::Decimal(_), Sort::Decimal) | (Self::Hash(_), Sort::Hash) => true,
            (Self::Points(points), Sort::Points) => (1..=MOST_POINTS).contains(&points.len()),
            (Self::Logs(logs), Sort::Logs) => {
                (1..=MOST_LOGS).contains(&logs.len())
                    && logs.iter().all(|log| {
                        Origin::parse(&log.origin).is_ok() && i64::try_from(log.size).is_ok()
                    })
                    && logs.is_sorted_by(|a, b| a.origin.as_bytes() < b.origin.as_bytes())
            }
            _ => false,
        }
    }

    pub(super) fn write(&self, w: &mut Writer) {
        let decimal = |w: &mut Writer, value: &Decimal| {
            w.array(2).int(value.mantissa()).uint(value.decimals());
        };
        match self {
            Self::Text(text) => {
                w.text(text);
            }
            Self::Number(number) => {
                w.uint(*number);
            }
            Self::Decimal(value) => decimal(w, value),
            Self::Hash(hash) => {
                w.byte_string(&hash.0);
            }
            Self::Points(points) => {
                w.array(points.len());
                for point in points {
                    w.array(3);
                    point.iter().for_each(|value| decimal(w, value));
                }
            }
            Self::Logs(logs) => {
                w.array(logs.len());
                for log in logs {
                    w.array(3)
                        .text(&log.origin)
                        .uint(log.size)
                        .byte_string(&log.root.0);
                }
            }
        }
    }

    /// Reads a value of a sort by its form; [`Self::fits`] is the caller's.
    pub(super) fn read(r: &mut Reader<'_>, sort: Sort) -> Result<Self, CborError> {
        Ok(match sort {
            Sort::Text => Self::Text(r.text(MOST_TEXT)?.to_owned()),
            Sort::Name | Sort::Date | Sort::Word(_) => Self::Text(r.text(MOST_NAME)?.to_owned()),
            Sort::Time | Sort::Number => Self::Number(r.uint()?),
            Sort::Decimal => Self::Decimal(read_decimal(r)?),
            Sort::Hash => Self::Hash(Hash(r.array_of()?)),
            Sort::Points => {
                let mut points = Vec::new();
                for _ in 0..counted(r, MOST_POINTS)? {
                    r.tuple(3)?;
                    points.push([read_decimal(r)?, read_decimal(r)?, read_decimal(r)?]);
                }
                Self::Points(points)
            }
            Sort::Logs => {
                let mut logs = Vec::new();
                for _ in 0..counted(r, MOST_LOGS)? {
                    r.tuple(3)?;
                    logs.push(LogState {
                        origin: r.text(MOST_NAME)?.to_owned(),
                        size: r.uint()?,
                        root: Hash(r.array_of()?),
                    });
                }
                Self::Logs(logs)
            }
        })
    }
}

/// The head of an array of at most `most`.
pub(super) fn counted(r: &mut Reader<'_>, most: usize) -> Result<usize, CborError> {
    let at = r.offset();
    let count = r.array()?;
    if count > most {
        return Err(CborError::Range(at));
    }
    Ok(count)
}

fn read_decimal(r: &mut Reader<'_>) -> Result<Decimal, CborError> {
    r.tuple(2)?;
    let mantissa = r.int()?;
    let at = r.offset();
    Decimal::new(mantissa, r.small()?).ok_or(CborError::Range(at))
}

/// One or more lines that say something.
fn is_text(text: &str) -> bool {
    text.len() <= MOST_TEXT
        && !text.trim().is_empty()
        && !text.chars().any(|c| c.is_control() && c != '\n')
}

/// One line that says something.
pub(super) fn is_name(text: &str) -> bool {
    text.len() <= MOST_NAME && !text.trim().is_empty() && !text.chars().any(char::is_control)
}

/// A day of the Gregorian calendar, 1900 to 2199.
fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = bytes else {
        return false;
    };
    let digits = [y1, y2, y3, y4, m1, m2, d1, d2];
    if !digits.iter().all(|digit| digit.is_ascii_digit()) {
        return false;
    }
    let number = |digits: &[&u8]| {
        digits
            .iter()
            .fold(0_u32, |n, digit| n * 10 + u32::from(**digit - b'0'))
    };
    let (year, month, day) = (
        number(&[y1, y2, y3, y4]),
        number(&[m1, m2]),
        number(&[d1, d2]),
    );
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        _ => 0,
    };
    (1900..2200).contains(&year) && (1..=days).contains(&day)
}
