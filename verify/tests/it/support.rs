//! What all tests share: a site, its bundle, and both verifiers run over it.

mod gateway;
mod outcome;
mod site;

pub(crate) use gateway::{Cosigner, Gateway};
pub(crate) use outcome::{Files, Outcome};
pub(crate) use site::{DAY, FROM_MS, HOUR_MS, MINUTE_MS, Site, Spec, SpecLog, TO_MS, solar_day, two_gateways};
