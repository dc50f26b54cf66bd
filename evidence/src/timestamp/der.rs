//! As much of DER as a timestamp needs: definite lengths in their shortest form.

use super::TimestampError;

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTETS: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
/// Primitive `[0]`.
pub(super) const PRIMITIVE_0: u8 = 0x80;
/// Constructed `[0]`.
pub(super) const CONTEXT_0: u8 = 0xa0;
/// Constructed `[1]`.
pub(super) const CONTEXT_1: u8 = 0xa1;

/// The tag of an element, all of it, its value, and what follows it.
type Element<'a> = (u8, &'a [u8], &'a [u8], &'a [u8]);

/// What is left to read of a value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Der<'a>(pub(super) &'a [u8]);

impl<'a> Der<'a> {
    /// Splits the next element off: its tag, all of it, and its value. `None` if it is none.
    fn split(&self) -> Option<Element<'a>> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut value) = rest.split_first()?;
        let length = match first {
            0..=0x7f => usize::from(first),
            0x81..=0x83 => {
                let (digits, after) = value.split_at_checked(usize::from(first - 0x80))?;
                value = after;
                let length = digits
                    .iter()
                    .fold(0, |length, digit| length << 8 | usize::from(*digit));
                // The shortest form only.
                let shortest = match digits.len() {
                    1 => length >= 0x80,
                    n => length >= 1 << (8 * (n - 1)),
                };
                shortest.then_some(length)?
            }
            // 0x80 is the indefinite length of BER.
            0x80 | 0x84..=0xff => return None,
        };
        let (value, rest) = value.split_at_checked(length)?;
        let whole = self.0.get(..self.0.len() - rest.len())?;
        Some((tag, whole, value, rest))
    }

    /// Reads the value of an element with this tag.
    pub(super) fn value(
        &mut self,
        tag: u8,
        what: &'static str,
    ) -> Result<&'a [u8], TimestampError> {
        match self.split() {
            Some((found, _whole, value, rest)) if found == tag => {
                self.0 = rest;
                Ok(value)
            }
            _ => Err(TimestampError::Malformed(what)),
        }
    }

    /// Reads an element with this tag, tag and length included.
    pub(super) fn whole(
        &mut self,
        tag: u8,
        what: &'static str,
    ) -> Result<&'a [u8], TimestampError> {
        let before = *self;
        self.value(tag, what)?;
        let length = before.0.len() - self.0.len();
        before
            .0
            .get(..length)
            .ok_or(TimestampError::Malformed(what))
    }

    /// As [`Self::value`], to read on inside.
    pub(super) fn inside(&mut self, tag: u8, what: &'static str) -> Result<Self, TimestampError> {
        self.value(tag, what).map(Self)
    }

    /// Reads an element if it has this tag.
    pub(super) fn optional(&mut self, tag: u8) -> Option<Self> {
        self.inside(tag, "").ok()
    }

    /// Reads an element that must be exactly this.
    pub(super) fn is(
        &mut self,
        tag: u8,
        value: &[u8],
        what: &'static str,
    ) -> Result<(), TimestampError> {
        if self.value(tag, what)? == value {
            Ok(())
        } else {
            Err(TimestampError::Malformed(what))
        }
    }

    /// Nothing may be left.
    pub(super) fn end(&self, what: &'static str) -> Result<(), TimestampError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(TimestampError::Malformed(what))
        }
    }
}

/// Writes an element of less than 64 KiB.
pub(super) fn write(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let [.., high, low] = length.to_be_bytes();
    let mut element = vec![tag];
    match (high, low) {
        (0, 0..0x80) => element.push(low),
        (0, _) => element.extend([0x81, low]),
        _ => element.extend([0x82, high, low]),
    }
    element.extend(parts.concat());
    element
}

/// `YYYYMMDDHHMMSS[.f…]Z` as Unix seconds, from 1970 on.
pub(super) fn unix_seconds(time: &[u8]) -> Option<u64> {
    let digits = time.strip_suffix(b"Z")?;
    let (whole, fraction) = digits.split_at_checked(14)?;
    let good = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
    let fraction_is_good = match fraction {
        [] => true,
        [b'.', rest @ ..] => !rest.is_empty() && good(rest),
        _ => false,
    };
    if !good(whole) || !fraction_is_good {
        return None;
    }
    let number = |range: std::ops::Range<usize>| {
        let part = whole.get(range)?;
        Some(
            part.iter()
                .fold(0, |n, digit| n * 10 + u64::from(digit - b'0')),
        )
    };
    let (year, month, day) = (number(0..4)?, number(4..6)?, number(6..8)?);
    let (hour, minute, second) = (number(8..10)?, number(10..12)?, number(12..14)?);
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        2 => 28 + u64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if year < 1970 || !(1..=days).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Howard Hinnant's days-from-civil: the year begins on 1 March.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    let days = (era * 146_097 + of_era).checked_sub(719_468)?;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}
