//! The whole path with the real programs as processes over real sockets: from a meter's register to
//! a bundle that the offline verifier accepts, and everything that may happen on the way.
//!
//! The programs are those of the target directory: `cargo build --workspace --bins` first, as
//! `tests/run` does. PostgreSQL is found by `FIELDSEAL_TEST_POSTGRES_URL`; the seed of what is random
//! is printed, and `FIELDSEAL_TEST_SEED` repeats it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may panic, and says what it measured"
)]

mod bed;
mod clocks;
mod faults;
mod gateway;
mod killed;
mod proof;
mod reader;
mod replaced;
mod straight;
mod witnessed;
