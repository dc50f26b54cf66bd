//! `mode = "listen"`: another master polls the line, the gateway only hears.
//!
//! - `rtu` says what a piece of the byte stream may be.
//! - [`decoder`] pairs each answer with the question directly before it, or drops it and says why.
//! - [`heard`] keeps what was heard until the tick is over; [`heard::ListenedDevice`] turns it into
//!   the outcomes of a device's points.
//! - [`tap`] owns the receiving half of the port, and nothing else: there is nothing to send with.
//!
//! What listening cannot give: registers that the other master does not read. Identity, settings and
//! status registers are not watched: a value is a matter of one answer, but whether a device was
//! recognised is a matter of a connection, and which of its readings another master asks for is not
//! ours to rely on. `gateway.toml` may not promise it (`config::watch`).

pub mod decoder;
pub mod heard;
pub mod rtu;
pub mod tap;
