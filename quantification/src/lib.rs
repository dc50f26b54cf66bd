//! From readings to tonnes.
//!
//! Pure: no I/O, no clock, no async.
//!
//! See `README.md` beside this crate for the rules in one place.
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

pub use evidence::hash::Hash;
pub use input::{InputError, Place};
