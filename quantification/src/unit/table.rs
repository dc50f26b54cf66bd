//! The known symbols. Factors are exact: decimals, or quotients of decimals.

use super::{Dimension, Unit};
use crate::exact::{Exact, Ratio};

const fn dimension(mass: i8, length: i8, time: i8) -> Dimension {
    Dimension([mass, length, time, 0, 0, 0, 0, 0])
}

const NONE: Dimension = Dimension::NONE;
const MASS: Dimension = Dimension::MASS;
const LENGTH: Dimension = dimension(0, 1, 0);
const AREA: Dimension = dimension(0, 2, 0);
const VOLUME: Dimension = dimension(0, 3, 0);
const TIME: Dimension = Dimension::TIME;
const ENERGY: Dimension = dimension(1, 2, -2);
const POWER: Dimension = dimension(1, 2, -3);
const PRESSURE: Dimension = dimension(1, -1, -2);
const TEMPERATURE: Dimension = Dimension([0, 0, 0, 1, 0, 0, 0, 0]);
const CURRENT: Dimension = Dimension([0, 0, 0, 0, 1, 0, 0, 0]);
const VOLTAGE: Dimension = Dimension([1, 2, -3, 0, -1, 0, 0, 0]);
const NORMAL: Dimension = Dimension([0, 0, 0, 0, 0, 0, 1, 0]);
const STANDARD: Dimension = Dimension([0, 0, 0, 0, 0, 0, 0, 1]);
const CO2: Dimension = Dimension::CO2;

/// Symbol, dimension, factor numerator, factor denominator, offset in base units, kind.
type Row = (
    &'static str,
    Dimension,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    // ratios: the kind says of what
    ("1", NONE, "1", "1", "0", ""), ("fraction", NONE, "1", "1", "0", ""), ("%", NONE, "0.01", "1", "0", ""),
    ("ppm", NONE, "0.000001", "1", "0", ""),
    ("kg/kg", NONE, "1", "1", "0", "mass fraction"), ("wt%", NONE, "0.01", "1", "0", "mass fraction"),
    ("mol/mol", NONE, "1", "1", "0", "wet mole fraction"), ("mol%", NONE, "0.01", "1", "0", "wet mole fraction"),
    ("mol/mol_dry", NONE, "1", "1", "0", "dry mole fraction"), ("mol%_dry", NONE, "0.01", "1", "0", "dry mole fraction"),
    ("m3/m3", NONE, "1", "1", "0", "volume fraction"), ("vol%", NONE, "0.01", "1", "0", "volume fraction"),
    ("°", NONE, "1", "1", "0", "angle in degrees"),
    // energy
    ("J", ENERGY, "1", "1", "0", ""), ("kJ", ENERGY, "1000", "1", "0", ""), ("MJ", ENERGY, "1000000", "1", "0", ""),
    ("GJ", ENERGY, "1000000000", "1", "0", ""), ("TJ", ENERGY, "1000000000000", "1", "0", ""),
    ("Wh", ENERGY, "3600", "1", "0", ""), ("kWh", ENERGY, "3600000", "1", "0", ""),
    ("MWh", ENERGY, "3600000000", "1", "0", ""), ("GWh", ENERGY, "3600000000000", "1", "0", ""),
    ("varh", ENERGY, "3600", "1", "0", "reactive"), ("kvarh", ENERGY, "3600000", "1", "0", "reactive"),
    ("Mvarh", ENERGY, "3600000000", "1", "0", "reactive"),
    ("VAh", ENERGY, "3600", "1", "0", "apparent"), ("kVAh", ENERGY, "3600000", "1", "0", "apparent"),
    ("MVAh", ENERGY, "3600000000", "1", "0", "apparent"),
    // power
    ("W", POWER, "1", "1", "0", ""), ("kW", POWER, "1000", "1", "0", ""), ("MW", POWER, "1000000", "1", "0", ""),
    ("GW", POWER, "1000000000", "1", "0", ""),
    ("var", POWER, "1", "1", "0", "reactive"), ("kvar", POWER, "1000", "1", "0", "reactive"),
    ("Mvar", POWER, "1000000", "1", "0", "reactive"),
    ("VA", POWER, "1", "1", "0", "apparent"), ("kVA", POWER, "1000", "1", "0", "apparent"),
    ("MVA", POWER, "1000000", "1", "0", "apparent"),
    // mass and CO2
    ("mg", MASS, "0.000001", "1", "0", ""), ("g", MASS, "0.001", "1", "0", ""), ("kg", MASS, "1", "1", "0", ""),
    ("t", MASS, "1000", "1", "0", ""), ("kt", MASS, "1000000", "1", "0", ""),
    ("kgCO2", CO2, "1", "1", "0", ""), ("tCO2", CO2, "1000", "1", "0", ""), ("gCO2", CO2, "0.001", "1", "0", ""),
    // volume: line, normal, standard
    ("L", VOLUME, "0.001", "1", "0", ""), ("m3", VOLUME, "1", "1", "0", ""),
    ("Nm3", NORMAL, "1", "1", "0", ""), ("sm3", STANDARD, "1", "1", "0", ""),
    // pressure
    ("Pa", PRESSURE, "1", "1", "0", ""), ("hPa", PRESSURE, "100", "1", "0", ""), ("kPa", PRESSURE, "1000", "1", "0", ""),
    ("MPa", PRESSURE, "1000000", "1", "0", ""), ("mbar", PRESSURE, "100", "1", "0", ""),
    ("bar", PRESSURE, "100000", "1", "0", ""), ("psi", PRESSURE, "4.4482216152605", "0.00064516", "0", ""),
    // temperature
    ("K", TEMPERATURE, "1", "1", "0", ""), ("delta_K", TEMPERATURE, "1", "1", "0", "difference"),
    ("°C", TEMPERATURE, "1", "1", "273.15", ""),
    // K = (°F + 459.67) × 5/9; the offset 255.3722… does not terminate, see `whole`.
    ("°F", TEMPERATURE, "5", "9", "fahrenheit", ""),
    // electricity
    ("A", CURRENT, "1", "1", "0", ""), ("mA", CURRENT, "0.001", "1", "0", ""), ("kA", CURRENT, "1000", "1", "0", ""),
    ("V", VOLTAGE, "1", "1", "0", ""), ("mV", VOLTAGE, "0.001", "1", "0", ""), ("kV", VOLTAGE, "1000", "1", "0", ""),
    ("Hz", dimension(0, 0, -1), "1", "1", "0", ""), ("kHz", dimension(0, 0, -1), "1000", "1", "0", ""),
    // time and length
    ("ms", TIME, "0.001", "1", "0", ""), ("s", TIME, "1", "1", "0", ""), ("min", TIME, "60", "1", "0", ""),
    ("h", TIME, "3600", "1", "0", ""), ("d", TIME, "86400", "1", "0", ""),
    ("µm", LENGTH, "0.000001", "1", "0", ""), ("mm", LENGTH, "0.001", "1", "0", ""), ("m", LENGTH, "1", "1", "0", ""),
    ("km", LENGTH, "1000", "1", "0", ""), ("m2", AREA, "1", "1", "0", ""),
];

/// The unit of a symbol that stands in the table, or of a pressure with its reference.
pub(super) fn whole(symbol: &str) -> Option<Unit> {
    if let Some(row) = ROWS.iter().find(|row| row.0 == symbol) {
        return Some(build(symbol, row, row.5));
    }
    let (base, kind) = match symbol.rsplit_once('_')? {
        (base, "a") => (base, "absolute pressure"),
        (base, "g") => (base, "gauge pressure"),
        _ => return None,
    };
    let row = ROWS.iter().find(|row| row.0 == base && row.1 == PRESSURE)?;
    Some(build(symbol, row, kind))
}

fn build(symbol: &str, row: &Row, kind: &'static str) -> Unit {
    let number = |text: &str| Exact::parse(text).expect("a decimal of the table");
    let factor = Ratio::new(number(row.2), number(row.3)).expect("a factor of the table");
    let offset = match row.4 {
        "fahrenheit" => factor.apply(number("459.67")).expect("459.67 × 5/9 fits"),
        text => number(text),
    };
    Unit {
        symbol: symbol.to_owned(),
        dimension: row.1,
        factor,
        offset,
        kind,
    }
}

/// The known symbol nearest to `symbol`, for "did you mean".
pub(super) fn nearest(symbol: &str) -> Option<String> {
    const MORE: [&str; 8] = [
        "kg/L", "t/m3", "kgCO2/GJ", "tCO2/MWh", "tCO2/TJ", "GJ/t", "GJ/L", "MJ/kg",
    ];
    let known = ROWS
        .iter()
        .map(|row| row.0)
        .chain(evidence::unit::SYMBOLS.iter().copied())
        .chain(MORE);
    crate::input::nearest(symbol, known).map(str::to_owned)
}
