//! The project log: what people enter, sealed here with their identity.
//!
//! [`Writer`] appends; several processes may write one log, the store's compare-and-swap decides. The
//! keys are files in `data_dir` and nowhere else: made once by `log init`, never by the way. The
//! collector checks and cosigns what was appended; until then an entry is signed and not witnessed.

pub mod commands;
pub(crate) mod keys;
#[expect(unused_qualifications, reason = "utoipa's macro writes paths in full")]
pub(crate) mod routes;
pub(crate) mod view;
mod writer;

pub use writer::{WriteError, Writer};
