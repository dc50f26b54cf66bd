//! The real server over real TLS sockets, on a SQLite store that holds a hand-made log.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may panic and say what it left out"
)]

mod applying;
mod authorisation;
mod bed;
mod browser;
mod bundling;
mod commands;
mod describing;
mod entering;
mod live;
mod plant;
mod reading;
mod reporting;
