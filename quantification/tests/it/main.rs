//! Whole computations: segments in, report out.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod density;
mod entered;
mod examples;
mod gaps;
mod golden;
mod hand_over;
mod inputs;
mod language;
mod mass_by_density;
mod messages;
mod misplaced;
mod plausible;
mod project_types;
mod properties;
mod support;
mod warnings;
mod worked;
mod zones;
