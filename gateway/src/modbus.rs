//! Modbus on every kind of line: every answer checked, nothing ever written.
//!
//! - [`frame`] says what may be asked and judges an answer against its question. There is no type
//!   for a write: what cannot be expressed cannot be sent. [`mbap`] and [`rtu`] frame it for TCP and
//!   for serial lines.
//! - `wire` carries the bytes: TCP, TLS ([`security`]), a serial port ([`serial`]).
//! - [`connection`] is one line from question to answer. After any answer that does not match, any
//!   timeout and any error it is closed, and on RTU silent, before the next question: what may still
//!   arrive can no longer be taken for a later answer.
//! - [`link`] lets the units of a line take turns (`turn`) and bounds what a dead one costs.
//! - `claim` keeps other processes of ours off an RTU line.
//! - [`backoff`] decides per link and per unit when a silent device is asked again.
//! - [`listen`] hears a line that another master polls, and cannot send.
//! - [`recognise`] reads a device's identity and settings before its values count.
//! - [`device`] reads one device's points of one stream; [`register_map`] plans its requests and
//!   learns the holes in its registers.

pub mod backoff;
mod claim;
pub mod connection;
pub mod device;
pub mod failure;
pub mod frame;
pub mod lane;
pub mod link;
pub mod listen;
pub mod mbap;
pub mod outcome;
pub mod outcomes;
pub mod recent;
pub mod recognise;
pub mod register_map;
pub mod rtu;
pub mod security;
pub mod serial;
mod turn;
mod wire;

pub use failure::Failure;
pub use link::{Link, LinkOptions};
pub use wire::{Opener, Stream};
