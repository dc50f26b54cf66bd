//! From sealed readings to tonnes. Pure: no I/O, no clock, no async.
//!
//! [`plan::Plan`] and [`methodology::Methodology`] are read from TOML and joined by
//! [`plan::Plan::bind`]; [`computation::Computation`] is fed the segments of a [`period::Period`] and
//! gives a [`report::Report`].
//!
//! Promises: the same evidence, plan and methodology give the same bytes everywhere, in exact
//! decimals; every number carries its unit, its formula and the entries it rests on; every gap is
//! listed and none is filled; where a rule must choose, it never overstates emission reductions; a
//! mistake in a file is named with line, column and remedy. It does not judge whether a plan or a
//! methodology is the approved one: their hashes stand in the report.
//!
//! ```
//! use quantification::computation::Computation;
//! use quantification::methodology;
//! use quantification::period::date;
//! use quantification::plan::Plan;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let plan = Plan::parse(include_str!("../examples/solar.plan.toml"), "solar.plan.toml")?;
//! let methodology = methodology::shipped(&plan.methodology_id).ok_or("not shipped")?;
//! let bound = plan.bind(&methodology)?;
//! let period = plan.period(date("2026-01-01")?, date("2026-03-31")?)?;
//! let computation = Computation::new(&bound, &period);
//! // for each log of `plan.feeding_order()`: computation.segment(…)? and computation.gap(…)?
//! let report = computation.finish()?;
//! assert_eq!(report.vintages[0].year, 2026);
//! assert_eq!(report.parameters[0].gaps.len(), 1, "nothing was fed: one gap as long as the period");
//! # Ok(())
//! # }
//! ```
//!
//! `README.md` beside this crate states every rule once.

#![warn(missing_docs)]

pub mod carbon_dioxide;
pub mod computation;
pub mod exact;
pub mod formula;
mod input;
pub mod methodology;
pub mod period;
pub mod plan;
pub mod report;
pub mod unit;

pub use input::{InputError, Place};
