//! The matrix. One file per place that is struck; each mutation is a few lines over a copy of the bundle.

mod archive;
mod encoding;
mod entries;
mod keys;
mod notes;
mod payloads;
mod proofs;
mod report;
mod times;

use super::Mutation;

/// All of it, class by class.
pub fn matrix() -> impl Iterator<Item = &'static Mutation> {
    let parts: [&'static [Mutation]; 9] = [
        &archive::MATRIX,
        &encoding::MATRIX,
        &entries::MATRIX,
        &payloads::MATRIX,
        &notes::MATRIX,
        &proofs::MATRIX,
        &times::MATRIX,
        &report::MATRIX,
        &keys::MATRIX,
    ];
    parts.into_iter().flatten()
}
