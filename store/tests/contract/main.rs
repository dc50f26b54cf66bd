//! One contract, two engines: every test here runs on SQLite and on PostgreSQL.
//!
//! PostgreSQL is found by `FIELDSEAL_TEST_POSTGRES_URL`; each test makes its own schema in that
//! database. Without the variable these tests fail, unless `FIELDSEAL_SKIP_POSTGRES=1` says that
//! the half is left out knowingly.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod appending;
mod bed;
mod enrolling;
mod faults;
mod model;
mod opening;
mod people;
mod project_log;
mod reading;
mod relaying;

/// Makes two tests of one: `on_sqlite::name` and `on_postgres::name`.
macro_rules! on_both {
    ($($(#[$attribute:meta])* async fn $name:ident($bed:ident: &$kind:ident) $body:block)*) => {
        $($(#[$attribute])* async fn $name($bed: &$kind) $body)*

        mod on_sqlite {
            $(#[test] fn $name() { crate::bed::on_sqlite(async |bed| super::$name(bed).await); })*
        }

        mod on_postgres {
            $(#[test] fn $name() { crate::bed::on_postgres(async |bed| super::$name(bed).await); })*
        }
    };
}
pub(crate) use on_both;
