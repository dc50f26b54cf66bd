//! The central schema on SQLite and PostgreSQL: the only SQL of the collector and the verifier API.
//!
//! The unit of everything is one sealed segment; never a row per reading. A log's head row decides:
//! [`Store::append`] compares and swaps it, and segments, hourly aggregates, the cosigned checkpoint
//! and the trail note stand or fall with it in one transaction.
//!
//! What holds for every call, unless its own text says otherwise:
//!
//! - **Durable on return.** A write that returned `Ok` survives a crash of the process, of the
//!   database server and of the machine (SQLite: WAL with `synchronous = FULL`; PostgreSQL: its
//!   own default). A write that returned `Err` changed nothing, with one exception: when the
//!   connection broke during the commit the outcome is unknown, and repeating the call is safe
//!   because every write is idempotent or guarded by the head.
//! - **Consistent.** One call sees one state of the database; two calls may see two.
//! - **Absent is not an error.** Reads answer `None` or an empty list. Only a write that needs the
//!   absent thing returns [`StoreError::Absent`].
//! - **Transient conflicts are retried inside** (40001, 40P01, `SQLITE_BUSY`), for some 10 to 15 s at
//!   most, and then returned as [`StoreError::Busy`].
//! - **Times are unix milliseconds, UTC, given by the caller**; the store reads no clock.
//! - **Cancel safe.** Dropping the future of a write before it returned leaves all or nothing.
//!
//! Every table of logs, segments, aggregates and live values begins with `site_id` in its key, so
//! that the schema shards by site. There is no serial, trigger, advisory lock or `LISTEN`.
//!
//! The private keys of the collector are not here: somebody who can change this database can
//! withhold evidence, but cannot alter it unnoticed, because every entry is signed by its gateway.

#![warn(missing_docs)]

mod access;
mod append;
mod bulk;
mod engine;
mod enrolment;
mod error;
mod hours;
mod ids;
mod live;
mod logs;
mod meta;
mod project_log;
mod projects;
mod quarantine;
mod relay;
mod rows;
mod schema;
mod sites;
mod tiles;
mod timestamps;
mod trail;

pub use access::{Access, Token, TokenState};
pub use append::{Append, Appended, NewRow, Placement};
pub use engine::Store;
pub use enrolment::{Enrol, Enrolled, EnrolmentCode};
pub use error::StoreError;
pub use hours::{Hour, HourKey, Merge};
pub use ids::{LogId, LogRef, SiteId};
pub use live::{LiveRow, Watch};
pub use logs::{Head, Log};
pub use project_log::{
    AttachmentLine, Cosign, MOST_ATTACHMENT_BYTES, NewProjectLog, ProjectLog, Witnessed,
};
pub use projects::{Plan, Project, Report, ReportSummary};
pub use quarantine::{Kept, Quarantined};
pub use relay::Relay;
pub use rows::{Row, Segment};
pub use sites::Site;
pub use timestamps::TimestampToken;
pub use trail::TrailNote;
