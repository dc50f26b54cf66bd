//! Modbus TCP: one task per `host:port`, every answer checked, nothing ever written.
//!
//! - [`frame`] says what may be asked and judges an answer against its question. There is no type
//!   for a write: what cannot be expressed cannot be sent.
//! - `guard` stands between `tokio-modbus`, which speaks the protocol, and the socket: only the
//!   question in flight goes out, only a whole answer with every field right comes in.
//! - [`connection`] is one TCP connection. After any answer that does not match, any timeout and any
//!   error it is closed; what may still arrive on it can no longer be taken for a later answer.
//! - [`link`] is the task that owns the connection; the requests of all units behind one `host:port`
//!   queue there.
//! - [`backoff`] decides per link and per unit when a silent device is asked again.
//! - [`device`] reads one device's points of one stream; [`register_map`] plans its requests and
//!   learns the holes in its registers.

pub mod backoff;
pub mod connection;
pub mod device;
pub mod frame;
mod guard;
pub mod link;
pub mod outcome;
pub mod register_map;

pub use connection::Failure;
pub use link::{Link, LinkOptions};
