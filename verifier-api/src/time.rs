//! Instants in addresses and answers: UTC, ISO 8601.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::problem::{Answer, Problem};

/// Writes unix milliseconds as `2026-01-01T00:00:00.000Z`.
pub(crate) fn utc(ms: i64) -> String {
    match Timestamp::from_millisecond(ms) {
        Ok(instant) => instant.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        Err(_out_of_range) => format!("{ms} ms"),
    }
}

/// Reads an instant: `2026-01-01T00:00:00Z` or with an offset. `key` names it in the error.
pub(crate) fn instant(key: &str, text: &str) -> Answer<i64> {
    // A `+` that was not escaped arrives as a space; offsets are the only place it can stand.
    let read = text.replace(' ', "+").parse::<Timestamp>();
    read.map(Timestamp::as_millisecond)
        .map_err(|_not_an_instant| {
            Problem::request(format!(
                "`{key}={text}` is not an instant; write it like 2026-01-01T00:00:00Z"
            ))
        })
}

/// `[from, to)` in unix milliseconds.
pub(crate) fn range(from: &str, to: &str) -> Answer<std::ops::Range<i64>> {
    let (from_ms, to_ms) = (instant("from", from)?, instant("to", to)?);
    if to_ms <= from_ms {
        return Err(Problem::request(format!(
            "`to={to}` is not after `from={from}`"
        )));
    }
    Ok(from_ms..to_ms)
}

/// The day it is in a zone.
pub(crate) fn day(ms: i64, zone: &TimeZone) -> Option<Date> {
    Some(
        Timestamp::from_millisecond(ms)
            .ok()?
            .to_zoned(zone.clone())
            .date(),
    )
}

#[cfg(test)]
mod tests {
    use super::{instant, range, utc};

    #[test]
    fn instants_are_read_with_any_offset_and_written_in_utc() {
        let ms = instant("from", "2026-01-01T07:00:00+07:00").unwrap();
        assert_eq!(utc(ms), "2026-01-01T00:00:00.000Z");
        assert_eq!(instant("from", "2026-01-01T07:00:00 07:00").unwrap(), ms);
        assert_eq!(utc(ms + 5), "2026-01-01T00:00:00.005Z");
        assert_eq!(utc(-1), "1969-12-31T23:59:59.999Z");
        assert!(
            instant("from", "yesterday")
                .unwrap_err()
                .detail()
                .contains("`from=yesterday`")
        );
        assert!(range("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z").is_err());
    }
}
