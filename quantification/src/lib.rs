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
//! `README.md` beside this crate states every rule once.

#![warn(missing_docs)]

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
