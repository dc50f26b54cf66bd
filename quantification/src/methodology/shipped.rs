//! The methodologies that ship with this crate, each a file of `methodologies/`.

use super::Methodology;

macro_rules! shipped {
    ($($id:literal),* $(,)?) => {
        [$((
            $id,
            concat!("methodologies/", $id, ".toml"),
            include_str!(concat!("../../methodologies/", $id, ".toml")),
        )),*]
    };
}

/// Id, path and text.
const SHIPPED: [(&str, &str, &str); 19] = shipped![
    "base_station_efficiency",
    "battery_locomotive",
    "biochar",
    "bioethanol",
    "biogas_power",
    "co2_enhanced_recovery",
    "co2_injection_mass",
    "co2_injection_volume",
    "compressed_biogas",
    "efficiency_by_ratio",
    "flexographic_printing",
    "green_hydrogen",
    "grid_solar",
    "mixed_supply_power",
    "refinery_optimisation",
    "renewable_power",
    "solar_base_station",
    "waste_derived_fuel",
    "waste_to_steam",
];

/// The ids of the methodologies that ship with this crate.
#[must_use]
pub fn shipped_ids() -> Vec<&'static str> {
    SHIPPED.iter().map(|(id, _, _)| *id).collect()
}

/// The text of a shipped methodology's file.
#[must_use]
pub fn shipped_text(id: &str) -> Option<&'static str> {
    SHIPPED
        .iter()
        .find(|(known, _, _)| *known == id)
        .map(|(_, _, text)| *text)
}

/// The shipped methodology of this id.
#[must_use]
pub fn shipped(id: &str) -> Option<Methodology> {
    let (_, file, text) = SHIPPED.iter().find(|(known, _, _)| *known == id)?;
    Some(Methodology::parse(text, file).expect("a shipped methodology is parsed by a test"))
}
