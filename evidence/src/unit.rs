//! The closed list of unit symbols that a sealed configuration may name.
//!
//! Only the symbols: both ends must agree on them. What they mean to each other (dimension, factor)
//! is the business of quantification. Conditions are part of a unit where a number is meaningless
//! without them: gauge and absolute pressure differ, and so do normal (0 °C, 101.325 kPa) and
//! standard (60 °F, 1 atm) cubic metres.

/// Every symbol, grouped by quantity.
pub const SYMBOLS: &[&str] = &[
    // a count or a ratio without unit; fractions say of what
    "1",
    "%",
    "ppm",
    "mol/mol",
    "mol%",
    "kg/kg",
    "wt%",
    "m3/m3",
    "vol%",
    "mol/mol_dry",
    "mol%_dry",
    // energy
    "Wh",
    "kWh",
    "MWh",
    "GWh",
    "J",
    "kJ",
    "MJ",
    "GJ",
    "TJ",
    "varh",
    "kvarh",
    "Mvarh",
    "VAh",
    "kVAh",
    "MVAh",
    // power
    "W",
    "kW",
    "MW",
    "GW",
    "var",
    "kvar",
    "Mvar",
    "VA",
    "kVA",
    "MVA",
    // mass and mass flow
    "mg",
    "g",
    "kg",
    "t",
    "kt",
    "g/s",
    "kg/s",
    "kg/min",
    "kg/h",
    "t/h",
    "t/d",
    // volume and volume flow at line, normal and standard conditions
    "L",
    "m3",
    "Nm3",
    "sm3",
    "L/s",
    "L/min",
    "L/h",
    "m3/s",
    "m3/min",
    "m3/h",
    "m3/d",
    "Nm3/s",
    "Nm3/h",
    "Nm3/d",
    "sm3/s",
    "sm3/h",
    "sm3/d",
    // pressure: absolute (_a), gauge (_g), difference (plain)
    "Pa",
    "hPa",
    "kPa",
    "MPa",
    "mbar",
    "bar",
    "psi",
    "Pa_a",
    "hPa_a",
    "kPa_a",
    "MPa_a",
    "mbar_a",
    "bar_a",
    "psi_a",
    "Pa_g",
    "kPa_g",
    "MPa_g",
    "mbar_g",
    "bar_g",
    "psi_g",
    // temperature and temperature difference
    "°C",
    "K",
    "°F",
    "delta_K",
    // density and heating value
    "kg/m3",
    "g/L",
    "MJ/kg",
    "GJ/t",
    "kJ/kg",
    "MJ/Nm3",
    "MJ/sm3",
    // electricity
    "V",
    "kV",
    "mV",
    "A",
    "mA",
    "kA",
    "Hz",
    "kHz",
    // time, length, speed, angle, irradiance
    "ms",
    "s",
    "min",
    "h",
    "d",
    "µm",
    "mm",
    "m",
    "km",
    "mm/s",
    "m/s",
    "1/min",
    "°",
    "W/m2",
    "kWh/m2",
    // emissions
    "tCO2",
    "kgCO2",
    "tCO2/MWh",
    "tCO2/GJ",
    "kgCO2/kWh",
];

/// Returns the list's own copy of `symbol`, or `None` when it is not on the list.
#[must_use]
pub fn parse(symbol: &str) -> Option<&'static str> {
    SYMBOLS.iter().copied().find(|known| *known == symbol)
}

#[cfg(test)]
mod tests {
    use super::{SYMBOLS, parse};

    #[test]
    fn every_symbol_is_listed_once_and_parses_to_itself() {
        let unique: std::collections::HashSet<_> = SYMBOLS.iter().collect();
        assert_eq!(unique.len(), SYMBOLS.len());
        assert!(SYMBOLS.iter().all(|&symbol| parse(symbol) == Some(symbol)));
        assert_eq!(parse("kwh"), None, "symbols are exact: kwh is not kWh");
    }
}
