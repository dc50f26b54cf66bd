//! `mode = "listen"`: another master polls the line, the gateway only hears.
//!
//! - `rtu` says what a piece of the byte stream may be.
//! - [`decoder`] pairs each answer with the question directly before it, or drops it and says why.
//! - [`heard`] keeps what was heard until the tick is over; [`heard::ListenedDevice`] turns it into
//!   the outcomes of a device's points.
//! - [`tap`] owns the receiving half of the port, and nothing else: there is nothing to send with.
//!
//! What listening cannot give: registers that the other master does not read. Identity, settings
//! and status registers are watched only if that master reads them.

pub mod decoder;
pub mod heard;
pub mod rtu;
pub mod tap;
