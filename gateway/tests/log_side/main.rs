//! The log side of the gateway, tested from outside: recording, crashing, restarting, time.
#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(clippy::panic, reason = "a test may panic")]

mod collector;
mod commissioning;
mod crash;
mod delivering;
mod devices;
mod last_good;
mod model;
mod process;
mod recording;
mod requests;
mod restoring;
mod storage;
mod support;
mod time;
