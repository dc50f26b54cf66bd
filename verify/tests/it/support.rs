//! What all tests share: a site, its bundle, and both verifiers run over it.

mod forge;
mod gateway;
mod office;
mod outcome;
mod site;

pub(crate) use gateway::{Cosigner, Gateway, Row};
pub(crate) use office::Office;
pub(crate) use outcome::{Files, Outcome, joined};
pub(crate) use site::{
    DAY, FROM_MS, HOUR_MS, MINUTE_MS, Site, Spec, TO_MS, disclosed, plain_day, solar_day, spec_of,
    specimen_day, two_gateways, witnesses,
};
