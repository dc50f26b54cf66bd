//! The plant: two CO2 injection wells, a compressor, a diesel genset, a small PV plant, a gas
//! analyser and a weather station near Jakarta time, as a pure function of time.
//!
//! Nothing here knows registers, sockets or clocks: [`Site::state_at`] says what the plant is
//! doing at an instant, `registers` says how its meters show it. All figures are invented.

use crate::profile::{HOUR_MS, Profile, spread};

/// When the plant's totalisers read zero: 2024-02-01T00:00:00+07:00, a Thursday.
pub const COMMISSIONED_UNIX_MS: i64 = 1_706_720_400_000;

const ZONE_HOURS: i64 = 7;

/// The plant's behaviour for one seed.
#[derive(Debug, Clone)]
pub struct Site {
    wells: [Well; 2],
    compressor_w: Profile,
    genset_ml_per_h: Profile,
    pv_w: Profile,
    seed: u64,
}

#[derive(Debug, Clone)]
struct Well {
    flow_g_per_h: Profile,
    /// Wellhead pressure with the well shut in, and what full flow adds.
    closed_kpa: i64,
    rise_kpa: i64,
    full_g_per_h: i64,
}

/// What the plant does at one instant. Integers on the grid the field names, so that a test can
/// compare exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteState {
    /// The instant, milliseconds since 1970 UTC.
    pub unix_ms: i64,
    /// Wells 1 and 2.
    pub wells: [WellState; 2],
    /// Electricity the compressor takes, W.
    pub compressor_w: i64,
    /// Electricity taken since commissioning, Wh.
    pub compressor_wh: i64,
    /// Fuel the genset burns, mL per hour; zero when it stands still.
    pub genset_ml_per_h: i64,
    /// Fuel burnt since commissioning, mL.
    pub genset_ml: i64,
    /// Electricity the PV plant gives, W; zero at night.
    pub pv_w: i64,
    /// Electricity given since commissioning, Wh.
    pub pv_wh: i64,
    /// Composition of the injected stream.
    pub gas: Gas,
    /// Ambient temperature, hundredths of a degree Celsius.
    pub ambient_centi_c: i64,
}

/// One well at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WellState {
    /// Mass flow, grams per hour.
    pub flow_g_per_h: i64,
    /// Mass injected since commissioning, grams.
    pub injected_g: i64,
    /// Wellhead pressure, kPa absolute.
    pub pressure_kpa: i64,
    /// Wellhead temperature, hundredths of a degree Celsius.
    pub temperature_centi_c: i64,
    /// Whether the well is shut in.
    pub shut_in: bool,
}

/// Composition of the injected stream in hundredths of a percent by mole, wet basis; CO2 and N2
/// and water sum to 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gas {
    /// CO2.
    pub co2_centi_pct: i64,
    /// Nitrogen.
    pub n2_centi_pct: i64,
    /// Water.
    pub h2o_centi_pct: i64,
}

impl Gas {
    /// Returns the mass fraction of CO2 in hundredths of a percent, rounded down: the mole
    /// fractions weighted by 44.0095, 28.0134 and 18.0153 g/mol.
    pub fn co2_mass_centi_pct(self) -> i64 {
        let co2 = self.co2_centi_pct * 440_095;
        let all = co2 + self.n2_centi_pct * 280_134 + self.h2o_centi_pct * 180_153;
        co2 * 10_000 / all
    }
}

impl Site {
    /// Builds the plant for a seed. The seed changes the noise, not the shape.
    pub fn new(seed: u64) -> Self {
        let noise_seed = |channel: i64| spread(seed, channel, i64::MAX / 4).cast_unsigned();
        let compressor =
            |hour: usize| 60_000 + (well_1(hour) + well_2(hour)) / 1_000 * 95 / 1_000 * 1_000;
        Self {
            wells: [
                Well {
                    flow_g_per_h: Profile::new(well_1, 60_000, noise_seed(1), ZONE_HOURS),
                    closed_kpa: 7_950,
                    rise_kpa: 1_150,
                    full_g_per_h: 9_000_000,
                },
                Well {
                    flow_g_per_h: Profile::new(well_2, 40_000, noise_seed(2), ZONE_HOURS),
                    closed_kpa: 7_700,
                    rise_kpa: 900,
                    full_g_per_h: 5_000_000,
                },
            ],
            compressor_w: Profile::new(compressor, 6_000, noise_seed(3), ZONE_HOURS),
            genset_ml_per_h: Profile::new(genset, 300, noise_seed(4), ZONE_HOURS),
            pv_w: Profile::new(pv, 1_500, noise_seed(5), ZONE_HOURS),
            seed,
        }
    }

    /// Returns what the plant does at an instant. Pure: the same instant, the same state.
    pub fn state_at(&self, unix_ms: i64) -> SiteState {
        let since =
            |profile: &Profile| profile.total(unix_ms) - profile.total(COMMISSIONED_UNIX_MS);
        let ambient_centi_c = self.ambient_centi_c(unix_ms);
        let [first, second] = &self.wells;
        let well = |well: &Well, channel: i64| {
            let flow = well.flow_g_per_h.rate(unix_ms);
            WellState {
                flow_g_per_h: flow,
                injected_g: since(&well.flow_g_per_h),
                pressure_kpa: well.closed_kpa + well.rise_kpa * flow / well.full_g_per_h,
                // Dense-phase CO2 leaves the after-cooler a few degrees above ambient.
                temperature_centi_c: ambient_centi_c + 620 + self.flutter(channel, unix_ms, 25),
                shut_in: flow == 0,
            }
        };
        let h2o = 3;
        let n2 = 110 + self.slow(20, unix_ms, 25) + self.flutter(21, unix_ms / 5, 4);
        SiteState {
            unix_ms,
            wells: [well(first, 10), well(second, 11)],
            compressor_w: self.compressor_w.rate(unix_ms),
            compressor_wh: since(&self.compressor_w),
            genset_ml_per_h: self.genset_ml_per_h.rate(unix_ms),
            genset_ml: since(&self.genset_ml_per_h),
            pv_w: self.pv_w.rate(unix_ms),
            pv_wh: since(&self.pv_w),
            gas: Gas {
                co2_centi_pct: 10_000 - n2 - h2o,
                n2_centi_pct: n2,
                h2o_centi_pct: h2o,
            },
            ambient_centi_c,
        }
    }

    /// 24 °C before dawn, 33 °C in the afternoon, a little flutter.
    fn ambient_centi_c(&self, unix_ms: i64) -> i64 {
        let local_hour_ms = (unix_ms + ZONE_HOURS * HOUR_MS).rem_euclid(24 * HOUR_MS);
        let from_five = (local_hour_ms - 5 * HOUR_MS).rem_euclid(24 * HOUR_MS);
        // Ten hours up, fourteen down.
        let rise = if from_five < 10 * HOUR_MS {
            900 * from_five / (10 * HOUR_MS)
        } else {
            900 * (24 * HOUR_MS - from_five) / (14 * HOUR_MS)
        };
        2_400 + rise + self.flutter(30, unix_ms, 8)
    }

    /// Noise that changes every two seconds.
    fn flutter(&self, channel: i64, unix_ms: i64, amplitude: i64) -> i64 {
        let slot = unix_ms.div_euclid(crate::profile::SLOT_MS);
        spread(
            self.seed.wrapping_add(channel.cast_unsigned()),
            slot,
            amplitude,
        )
    }

    /// A value drawn each hour and approached linearly.
    fn slow(&self, channel: i64, unix_ms: i64, amplitude: i64) -> i64 {
        let seed = self.seed.wrapping_add(channel.cast_unsigned());
        let hour = unix_ms.div_euclid(HOUR_MS);
        let from = spread(seed, hour, amplitude);
        let to = spread(seed, hour + 1, amplitude);
        from + (to - from) * unix_ms.rem_euclid(HOUR_MS) / HOUR_MS
    }
}

/// Well 1, g/h: steady at about 8 t/h, more at night when the stream is cool.
fn well_1(hour: usize) -> i64 {
    match hour % 24 {
        0..=5 => 8_400_000,
        6..=9 => 8_100_000,
        10..=16 => 7_700_000,
        _ => 8_200_000,
    }
}

/// Well 2, g/h: 4 t/h, shut in for a wireline job on Sundays from 08 to 14 local.
fn well_2(hour: usize) -> i64 {
    // Hour 0 is Thursday 00:00, so Sunday is day 3.
    match (hour / 24, hour % 24) {
        (3, 8..=14) => 0,
        (_, 0..=7) => 4_300_000,
        _ => 4_000_000,
    }
}

/// The genset helps the compressor from dusk until late evening, mL of diesel per hour.
fn genset(hour: usize) -> i64 {
    match hour % 24 {
        18 | 22 => 22_000,
        19..=21 => 31_000,
        _ => 0,
    }
}

/// A 250 kW PV plant, W; dark from 18 to 06 local.
fn pv(hour: usize) -> i64 {
    match hour % 24 {
        7 | 17 => 25_000,
        8 | 16 => 85_000,
        9 | 15 => 140_000,
        10 | 14 => 185_000,
        11 | 13 => 215_000,
        12 => 228_000,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = 24 * HOUR_MS;

    #[test]
    fn the_same_seed_and_instant_give_the_same_plant() {
        let at = COMMISSIONED_UNIX_MS + 40 * DAY_MS + 12_345;
        assert_eq!(Site::new(1).state_at(at), Site::new(1).state_at(at));
        assert_ne!(Site::new(1).state_at(at), Site::new(2).state_at(at));
    }

    #[test]
    fn totalisers_read_zero_at_commissioning_and_a_plausible_month_later() {
        let site = Site::new(9);
        let start = site.state_at(COMMISSIONED_UNIX_MS);
        assert_eq!(
            (
                start.wells[0].injected_g,
                start.compressor_wh,
                start.genset_ml
            ),
            (0, 0, 0)
        );
        let month = site.state_at(COMMISSIONED_UNIX_MS + 30 * DAY_MS);
        let tonnes = |g: i64| g / 1_000_000;
        assert!(
            (5_500..6_100).contains(&tonnes(month.wells[0].injected_g)),
            "{month:?}"
        );
        assert!(
            (2_700..3_100).contains(&tonnes(month.wells[1].injected_g)),
            "{month:?}"
        );
        assert!(
            (500_000..1_500_000).contains(&(month.compressor_wh / 1_000)),
            "{month:?}"
        );
        assert!(
            (3_000..6_000).contains(&(month.genset_ml / 1_000)),
            "{month:?}"
        );
        assert!(
            (30_000..60_000).contains(&(month.pv_wh / 1_000)),
            "{month:?}"
        );
    }

    #[test]
    fn the_pv_plant_is_dark_at_night_and_well_2_is_shut_in_on_sunday() {
        let site = Site::new(4);
        // The third day is a Saturday; 20:00 local.
        let night = site.state_at(COMMISSIONED_UNIX_MS + 2 * DAY_MS + 20 * HOUR_MS);
        assert_eq!(night.pv_w, 0);
        assert!(night.genset_ml_per_h > 0);
        let sunday_noon = site.state_at(COMMISSIONED_UNIX_MS + 3 * DAY_MS + 12 * HOUR_MS);
        assert!(sunday_noon.wells[1].shut_in);
        assert!(!sunday_noon.wells[0].shut_in);
        assert!(sunday_noon.pv_w > 200_000);
    }

    #[test]
    fn the_mass_fraction_of_co2_is_above_its_mole_fraction_when_the_rest_is_lighter() {
        let gas = Gas {
            co2_centi_pct: 9_700,
            n2_centi_pct: 300,
            h2o_centi_pct: 0,
        };
        // 0.97 × 44.0095 / (0.97 × 44.0095 + 0.03 × 28.0134) = 0.980693
        assert_eq!(gas.co2_mass_centi_pct(), 9_806);
    }
}
