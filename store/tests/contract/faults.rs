//! Both halves of a crash, and others in the way.

use store::{Appended, Store, StoreError};

use crate::bed::{Bed, append, drop_after, hour};
use crate::on_both;

on_both! {
    async fn an_append_dropped_at_any_moment_leaves_all_or_nothing(bed: &Bed) {
        let log = bed.log("example.com/gw/1").await;
        let (mut undone, mut done) = (0, 0);
        // From before the first statement to behind the commit.
        for polls in 0..60 {
            let old = bed.size(log).await;
            let mut mine = append(log, old, 30);
            mine.hours = vec![hour(1, 10, 30)];
            let answered = drop_after(polls, bed.store.append(&mine)).await.is_some();
            // A commit that was under way may still land. Another append at the same size settles
            // it: it waits for the dropped one, and then one of the two has won.
            let mut settling = append(log, old, 1);
            settling.hours = vec![hour(1, 10, 1)];
            match bed.append(&settling).await {
                Appended::At(size) => {
                    assert!(!answered && size == old + 1);
                    undone += 1;
                }
                Appended::HeadMoved { size } => {
                    assert_eq!(size, old + 30);
                    done += 1;
                }
            }
            let size = bed.size(log).await;
            let rows = bed.store.rows(log, 0..u64::MAX, 10_000, false).await.unwrap();
            assert!(rows.iter().map(|row| row.index).eq(0..size));
            let hours = bed.store.hours(log, 3, 1, 10..11).await.unwrap();
            assert_eq!(hours, vec![hour(1, 10, size - 1)]);
        }
        assert!(undone > 0, "no append was dropped early enough to prove anything");
        assert!(done > 0, "no append was dropped late enough to prove anything");
    }

    async fn after_a_dropped_append_the_next_one_succeeds(bed: &Bed) {
        let log = bed.log("example.com/gw/1").await;
        assert!(drop_after(2, bed.store.append(&append(log, 1, 1))).await.is_none());
        // On a busy machine the engine may have been at its commit already: then that one counts.
        let outcome = match bed.append(&append(log, 1, 2)).await {
            Appended::HeadMoved { size: 2 } => bed.append(&append(log, 2, 1)).await,
            other => other,
        };
        assert_eq!(outcome, Appended::At(3));
    }
}

/// Holds the write lock of a SQLite file from outside, as another process would.
async fn hold_the_lock(url: &str) -> sqlx::SqliteConnection {
    use sqlx::Connection as _;

    let mut holder = sqlx::SqliteConnection::connect(url).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE")
        .execute(&mut holder)
        .await
        .unwrap();
    holder
}

#[test]
fn an_append_waits_while_another_process_writes_the_sqlite_file() {
    crate::bed::on_sqlite(async |bed| {
        let log = bed.log("example.com/gw/1").await;
        let mut holder = hold_the_lock(&bed.url).await;
        let store = bed.store.clone();
        let waiting = tokio::spawn(async move { store.append(&append(log, 1, 1)).await });
        // The lock is held until readers have answered a few times, so the append meets it.
        for _ in 0..20 {
            assert_eq!(bed.size(log).await, 1);
        }
        assert!(!waiting.is_finished());
        sqlx::raw_sql("ROLLBACK")
            .execute(&mut holder)
            .await
            .unwrap();
        assert_eq!(waiting.await.unwrap().unwrap(), Appended::At(2));
    });
}

#[test]
fn a_lock_that_is_never_let_go_ends_in_busy_and_not_in_waiting_for_ever() {
    crate::bed::on_sqlite(async |bed| {
        let log = bed.log("example.com/gw/1").await;
        let mut holder = hold_the_lock(&bed.url).await;
        let refused = bed.store.append(&append(log, 1, 1)).await.unwrap_err();
        assert!(matches!(refused, StoreError::Busy { .. }), "{refused}");
        assert!(refused.is_transient());
        sqlx::raw_sql("ROLLBACK")
            .execute(&mut holder)
            .await
            .unwrap();
        assert_eq!(bed.append(&append(log, 1, 1)).await, Appended::At(2));
    });
}

#[test]
fn a_deadlock_on_postgres_is_retried_until_it_passes() {
    use sqlx::Connection as _;

    crate::bed::on_postgres(async |bed| {
        let log = bed.log("example.com/gw/1").await;
        let mut first = append(log, 1, 1);
        first.hours = vec![hour(1, 10, 1)];
        bed.append(&first).await;
        // Somebody else takes the aggregate first and wants the head second; the append goes the
        // other way round. PostgreSQL ends one of the two with 40P01.
        let mut other = sqlx::PgConnection::connect(&bed.url).await.unwrap();
        sqlx::raw_sql("SET deadlock_timeout = '10s'; BEGIN; UPDATE hours SET data = data")
            .execute(&mut other)
            .await
            .unwrap();
        let store = bed.store.clone();
        let mut second = append(log, 2, 1);
        second.hours = vec![hour(1, 10, 1)];
        let appending = tokio::spawn(async move { store.append(&second).await });
        // The head's lock is held by the append once this cannot get it without waiting.
        loop {
            let mut probe = sqlx::PgConnection::connect(&bed.url).await.unwrap();
            let held = sqlx::query("SELECT 1 FROM logs FOR UPDATE NOWAIT")
                .execute(&mut probe)
                .await;
            probe.close().await.unwrap();
            if held.is_err() {
                break;
            }
        }
        // Waits for the append, which waits for us: its server finds the deadlock after 1 s (ours
        // would only after 10) and aborts it. Then we get the head, finish, and it tries again.
        sqlx::raw_sql("UPDATE logs SET trail_ms = trail_ms; COMMIT")
            .execute(&mut other)
            .await
            .unwrap();
        assert_eq!(appending.await.unwrap().unwrap(), Appended::At(3));
        let hours = bed.store.hours(log, 3, 1, 10..11).await.unwrap();
        assert_eq!(hours, vec![hour(1, 10, 2)]);
    });
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_that_says_where() {
    // Port 9 of this machine: nobody listens.
    let error = Store::open("postgres://nobody@127.0.0.1:9/none")
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Address { .. }));
    assert!(
        error
            .to_string()
            .contains("postgres://nobody@127.0.0.1:9/none"),
        "{error}"
    );
}
