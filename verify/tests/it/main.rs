//! Bundles made as a gateway and a collector make them, verified whole, broken in every known way, and
//! checked by the second implementation in Python as well.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod authorities;
mod devices;
mod disclosed;
mod entered;
mod explained;
mod fetched;
mod good;
mod matrix;
mod mutated;
mod old_bundles;
mod remembered;
mod self_tested;
mod spot;
mod support;
mod tampered;
mod timestamped;
mod told;
mod two_gateways;
mod witness;
