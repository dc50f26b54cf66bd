//! The collector over real TLS sockets, with a gateway made by hand; where the store matters, on
//! both engines.
//!
//! PostgreSQL is found by `FIELDSEAL_TEST_POSTGRES_URL`. Without the variable those tests fail,
//! unless `FIELDSEAL_SKIP_POSTGRES=1` says that the half is left out knowingly.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod bed;
mod checks;
mod clocks;
mod commands;
mod edge;
mod enrolling;
mod hours;
mod killed;
mod limits;
mod live;
mod reading;
mod recovering;
mod refusing;
mod relaying;
mod timestamping;
mod uploading;

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
