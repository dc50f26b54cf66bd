//! The edge daemon: reads meters, seals every reading where it is taken, keeps and forwards it.
//!
//! ```text
//! config ─► sampling, mqtt ─► recorder ─► log (day files) ─► delivery ─► collector
//!             (the field)        │  ▲                           │
//!                             journal  timeline ◄── clock       └─► freshness, acknowledgement
//! ```
//!
//! What it promises, and where:
//!
//! * A killed process loses nothing it had read ([`journal`]); a power cut loses at most
//!   `sync_interval_s`, and the log says so.
//! * A tick that passed is in the log as data or as a declared gap, exactly once ([`recorder`],
//!   [`timeline`]). A poll without an answer is a quality of its sample, never an absence.
//! * No index of the log ever leaves the device with two different contents ([`log`], [`buffer`]):
//!   bytes leave after commit, read-back and verification only, and are resent as they are
//!   ([`delivery`]).
//! * Nothing is forgotten before a verified cosignature acknowledges it; under `drop_oldest` payloads
//!   may go, declared first, entries never.
//! * Without a clock everything goes on ([`clock`]); a later clock event places what was sealed.
//! * Positions that were signed before are never signed again: what this device lost comes back from
//!   the collector ([`restore`]) or another log begins.
//! * Read-only towards the field; no inbound port.
//!
//! What it does not promise: that a meter tells the truth, and anything about readings forged by
//! somebody who is root on the device while they are taken.

pub mod budget;
pub mod buffer;
pub mod check_live;
pub mod checks;
pub mod cli;
pub mod clock;
pub mod collector;
pub mod columns;
pub mod commission;
pub mod config;
pub mod delivery;
pub mod durable;
pub mod enrol;
pub mod faults;
pub mod identity;
pub mod inquiry;
pub mod inspect;
pub mod journal;
pub mod last_good;
pub mod live;
pub mod log;
pub mod modbus;
pub mod mqtt;
pub mod notify;
pub mod plan;
pub mod probe;
pub mod proxy;
mod quarantine;
pub mod read_once;
pub mod recorder;
mod replay;
pub mod requests;
pub mod restore;
pub mod run;
pub mod sample;
pub mod sampling;
pub mod scan;
pub mod seal;
mod sqlite;
pub mod status;
pub mod sunspec;
pub mod templates;
pub mod timeline;
pub mod tls;
pub mod watch;
