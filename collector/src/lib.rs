//! The receiver: mirror of every gateway's log and its first witness.
//!
//! What it promises:
//!
//! - **Nothing unknown enters.** A log exists here only after an enrolment with a single-use code;
//!   everything else is refused before its body is read.
//! - **Nothing unchecked enters.** Every entry passes the same state machine that the gateway and
//!   the offline verifier use (`evidence::chain`), and the checkpoint that covers it must carry the
//!   log's signature over the very root that results.
//! - **One history.** A cosignature leaves only after the transaction that stored what it states,
//!   and that transaction compared and swapped the log's head. Two trees of one origin never both
//!   get one; the second is kept in quarantine beside what is held, as proof.
//! - **All or nothing.** Killed at any moment, the store has an upload with its cosignature, or
//!   nothing of it, and the gateway sends the same bytes again.
//!
//! - **Witnessed by others.** The newest checkpoint of each log is shown to the configured independent
//!   witnesses, and what they sign is kept (`relay`). It delays no upload.
//!
//! What it does not: it reads no meter, judges no value, and trusts no proxy. It is stateless beside
//! its store; several may serve one. Its own key is a file, never in the store. Whoever holds that
//! key *and* a log's keys can make a second history that only an independent witness reveals.
//!
//! Everything arrives as a value: [`serve`] takes the configuration, the listener, the clock and the
//! shutdown, so that tests start the real thing.

pub mod cli;
pub mod clock;
pub mod code;
pub mod config;
pub mod cosigner;
pub mod inspect;
pub mod install;
pub mod tls;

mod admission;
mod answer;
mod authority;
mod durable;
mod enrol;
mod enrol_file;
mod ingest;
mod limits;
mod live;
mod mirror;
mod placing;
mod projects;
mod relay;
mod replay;
mod server;

pub use clock::{Clock, ManualClock, SystemClock};
pub use config::Config;
pub use ingest::Ack;
pub use relay::RelayError;
pub use server::{ServeError, serve};
