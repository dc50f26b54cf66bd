//! Which device is behind a name, how it is set, and whether somebody answers for it.
//!
//! ```text
//! device reader ──registers read at every connect──► Gate ──flags──► every value of the device
//!                                                     │ ▲
//!                                      statements     ▼ │ confirmations
//!                                          Book (durable) ──► log (control kind 10)
//! ```
//!
//! One [`Gate`] per device is shared by the readers of all its streams and by the [`Book`]. It holds
//! what was read of the device and decides at once, before anything is sealed: a difference flags the
//! values of the very tick that found it. The book seals what the gates found, keeps what is known over
//! restarts, and takes confirmations.
//!
//! What is known is what the log says and nothing else: [`Known`] is the sum of the statements about a
//! device, `devices.json` is a copy of it that spares reading the log back, and a copy that is missing,
//! unreadable or old is made again from the log.

mod book;
mod gate;
mod known;
mod rules;
mod word;

pub use book::{Book, BookError, Waiting};
pub use gate::{Due, Flags, Gate};
pub use known::Known;
pub use word::{reading_of, refused};
