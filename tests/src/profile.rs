//! A rate that varies over the week and by a little noise, with an exact running total.
//!
//! Everything is integer arithmetic, so the same instant gives the same reading on every platform,
//! a totaliser is the exact integral of its rate, and any instant costs the same to compute: a
//! test may ask for a year in any order. Between hourly knots the rate is linear; the noise comes
//! in pairs of slots of opposite sign, so it never accumulates.

/// One hour in milliseconds.
pub const HOUR_MS: i64 = 3_600_000;
/// How long one noise value lasts. Two slots divide the hour, so a pair never crosses a knot.
pub const SLOT_MS: i64 = 2_000;

const HOURS_A_WEEK: usize = 168;
const WEEK_MS: i64 = 168 * HOUR_MS;

/// A weekly pattern of an hourly rate (units per hour) with bounded noise.
#[derive(Debug, Clone)]
pub struct Profile {
    knots: [i64; HOURS_A_WEEK],
    /// Twice the area below the first `i` hours, in unit-hours.
    twice_area: [i64; HOURS_A_WEEK + 1],
    noise: i64,
    seed: u64,
    zone_ms: i64,
}

impl Profile {
    /// Builds the pattern from the rate at each hour of the local week (hour 0 is Thursday 00:00,
    /// as 1970-01-01 was), a noise amplitude in the same unit, a seed, and the local zone's offset
    /// from UTC.
    ///
    /// The noise is silent in hours whose rate at either end is below its amplitude, so a rate
    /// that is never negative stays so and a machine that stands still reads zero.
    pub fn new(
        rate_at_hour: impl Fn(usize) -> i64,
        noise: i64,
        seed: u64,
        zone_hours: i64,
    ) -> Self {
        let mut knots = [0; HOURS_A_WEEK];
        for (hour, knot) in knots.iter_mut().enumerate() {
            *knot = rate_at_hour(hour);
        }
        let mut twice_area = [0; HOURS_A_WEEK + 1];
        for hour in 0..HOURS_A_WEEK {
            let next = knots[(hour + 1) % HOURS_A_WEEK];
            twice_area[hour + 1] = twice_area[hour] + knots[hour] + next;
        }
        Self {
            knots,
            twice_area,
            noise,
            seed,
            zone_ms: zone_hours * HOUR_MS,
        }
    }

    /// Returns the rate at an instant, in units per hour.
    pub fn rate(&self, unix_ms: i64) -> i64 {
        let at = self.place(unix_ms);
        at.from + (at.to - at.from) * at.into_hour_ms / HOUR_MS + self.noise_rate(unix_ms, &at)
    }

    /// Returns the units that have passed since 1970, rounded down. The difference of two totals
    /// is what passed between them, and it never runs backwards while the rate is not negative.
    pub fn total(&self, unix_ms: i64) -> i64 {
        let at = self.place(unix_ms);
        let hour = i128::from(HOUR_MS);
        let into = i128::from(at.into_hour_ms);
        let twice_weeks = i128::from(at.week) * i128::from(self.twice_area[HOURS_A_WEEK]);
        let twice_hours = twice_weeks + i128::from(self.twice_area[at.hour]);
        let slope = i128::from(at.to - at.from);
        // All terms over 2·hour², so that one division at the end is the only rounding.
        let sum = twice_hours * hour * hour
            + 2 * hour * i128::from(at.from) * into
            + slope * into * into
            + 2 * hour * self.noise_area(unix_ms, &at);
        i64::try_from(sum.div_euclid(2 * hour * hour)).unwrap_or(i64::MAX)
    }

    fn place(&self, unix_ms: i64) -> Place {
        let local = unix_ms + self.zone_ms;
        let into_week = local.rem_euclid(WEEK_MS);
        let hour = usize::try_from(into_week / HOUR_MS).unwrap_or(0);
        Place {
            week: local.div_euclid(WEEK_MS),
            hour,
            into_hour_ms: into_week % HOUR_MS,
            from: self.knots[hour],
            to: self.knots[(hour + 1) % HOURS_A_WEEK],
        }
    }

    /// The noise of the slot pair that an instant lies in: `+n` in its first half, `-n` in its
    /// second.
    fn pair_noise(&self, unix_ms: i64, at: &Place) -> i64 {
        if at.from.min(at.to) < self.noise || self.noise == 0 {
            return 0;
        }
        let pair = unix_ms.div_euclid(2 * SLOT_MS);
        spread(self.seed, pair, self.noise)
    }

    fn noise_rate(&self, unix_ms: i64, at: &Place) -> i64 {
        let noise = self.pair_noise(unix_ms, at);
        if unix_ms.rem_euclid(2 * SLOT_MS) < SLOT_MS {
            noise
        } else {
            -noise
        }
    }

    /// The area below the noise since the pair began; earlier pairs sum to zero.
    fn noise_area(&self, unix_ms: i64, at: &Place) -> i128 {
        let into_pair = unix_ms.rem_euclid(2 * SLOT_MS);
        let height = into_pair.min(2 * SLOT_MS - into_pair);
        i128::from(self.pair_noise(unix_ms, at)) * i128::from(height)
    }
}

struct Place {
    week: i64,
    hour: usize,
    into_hour_ms: i64,
    from: i64,
    to: i64,
}

/// Returns a value in `-amplitude..=amplitude` that depends on seed and position only
/// (splitmix64).
pub fn spread(seed: u64, position: i64, amplitude: i64) -> i64 {
    let mut z = seed ^ position.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    let width = amplitude.unsigned_abs() * 2 + 1;
    i64::try_from(z % width).unwrap_or(0) - amplitude
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daytime(hour: usize) -> i64 {
        match hour % 24 {
            6..=17 => 8_000_000 + i64::try_from(hour).unwrap_or(0) * 1_000,
            _ => 0,
        }
    }

    #[test]
    fn a_total_is_the_sum_of_the_rates_between_two_instants() {
        let profile = Profile::new(daytime, 50_000, 7, 7);
        let start = 1_790_000_000_000;
        let end = start + 3 * HOUR_MS;
        let step = 250;
        let mut integral = 0_i128;
        let mut at = start;
        while at < end {
            integral += i128::from(profile.rate(at)) * i128::from(step);
            at += step;
        }
        let summed = i64::try_from(integral / i128::from(HOUR_MS)).unwrap();
        let advance = profile.total(end) - profile.total(start);
        // The rectangle rule is off by half a step of the slope, no more.
        assert!(
            (advance - summed).abs() <= 1_000,
            "advance {advance}, summed {summed}"
        );
    }

    #[test]
    fn a_total_never_runs_backwards_and_stands_still_at_rate_zero() {
        let profile = Profile::new(daytime, 50_000, 3, 0);
        let mut last = profile.total(0);
        for second in 1..200_000_i64 {
            let at = second * 1_000 + 137;
            let total = profile.total(at);
            assert!(total >= last, "ran backwards at {at}");
            if profile.rate(at - 1_000) == 0 && profile.rate(at) == 0 {
                assert_eq!(total, last, "advanced at rate zero at {at}");
            }
            last = total;
        }
        assert!(last > 0);
    }

    #[test]
    fn the_same_seed_gives_the_same_noise_and_another_seed_another() {
        let first = Profile::new(daytime, 50_000, 1, 0);
        let again = Profile::new(daytime, 50_000, 1, 0);
        let other = Profile::new(daytime, 50_000, 2, 0);
        let noon = 12 * HOUR_MS + 20 * 24 * HOUR_MS;
        let rates = |profile: &Profile| -> Vec<i64> {
            (0..50)
                .map(|slot| profile.rate(noon + slot * SLOT_MS))
                .collect()
        };
        assert_eq!(rates(&first), rates(&again));
        assert_ne!(rates(&first), rates(&other));
    }
}
