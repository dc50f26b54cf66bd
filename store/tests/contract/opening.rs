//! Opening: empty, again, by many at once, with a schema of somebody else.

use store::{Store, StoreError};

use crate::bed::{Bed, NOW};
use crate::on_both;

on_both! {
    async fn a_database_opened_again_has_what_was_written(bed: &Bed) {
        let site = bed.store.create_site("Site A", NOW).await.unwrap();
        let again = bed.open_again().await;
        assert_eq!(again.sites().await.unwrap(), vec![site.clone()]);
        assert_eq!(again.site(site.id).await.unwrap(), Some(site));
        again.ping().await.unwrap();
        again.close().await;
    }

    async fn a_closed_store_fails_instead_of_hanging(bed: &Bed) {
        let other = bed.open_again().await;
        other.close().await;
        assert!(other.sites().await.is_err());
    }

    async fn a_site_created_twice_is_one_site(bed: &Bed) {
        let first = bed.store.create_site("Site A", NOW).await.unwrap();
        let second = bed.store.create_site("Site A", NOW + 5).await.unwrap();
        assert_eq!(first, second);
        assert!(matches!(
            bed.store.create_site("", NOW).await,
            Err(StoreError::Misuse(_))
        ));
    }

    async fn a_fact_is_replaced_and_an_absent_one_is_none(bed: &Bed) {
        bed.store.put_meta("name", b"one").await.unwrap();
        bed.store.put_meta("name", b"two").await.unwrap();
        assert_eq!(bed.store.meta("name").await.unwrap().as_deref(), Some(&b"two"[..]));
        assert_eq!(bed.store.meta("other").await.unwrap(), None);
    }
}

async fn many_open_one_empty_database_at_once(url: &str) {
    let mut opening = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let url = url.to_owned();
        opening.spawn(async move { Store::open(&url).await });
    }
    while let Some(opened) = opening.join_next().await {
        let store = opened.unwrap().unwrap();
        store.create_site("Site A", NOW).await.unwrap();
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_programs_may_open_one_empty_sqlite_file_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", directory.path().join("central.db").display());
    many_open_one_empty_database_at_once(&url).await;
}

#[test]
fn four_programs_may_open_one_empty_postgres_database_at_once() {
    crate::bed::on_postgres(async |bed| {
        // The bed has opened its schema already: take another one beside it.
        let server = std::env::var("FIELDSEAL_TEST_POSTGRES_URL").unwrap();
        let schema = format!("contract_{}_empty", std::process::id());
        crate::bed::on_server(&server, format!("CREATE SCHEMA {schema}")).await;
        let (address, _) = bed.url.rsplit_once('=').unwrap();
        many_open_one_empty_database_at_once(&format!("{address}={schema}")).await;
        crate::bed::on_server(&server, format!("DROP SCHEMA {schema} CASCADE")).await;
    });
}

#[tokio::test]
async fn an_address_that_cannot_work_is_refused_with_the_remedy() {
    let text = |error: StoreError| error.to_string();
    let unknown = Store::open("mysql://root:secret@db/x")
        .await
        .map_err(text)
        .unwrap_err();
    assert!(
        unknown.contains("must begin with `sqlite:` or `postgres://`"),
        "{unknown}"
    );
    assert!(!unknown.contains("secret"), "{unknown}");
    let memory = Store::open("sqlite::memory:")
        .await
        .map_err(text)
        .unwrap_err();
    assert!(memory.contains("name a file"), "{memory}");
    let absent = Store::open("sqlite:/no/such/directory/a.db")
        .await
        .map_err(text)
        .unwrap_err();
    assert!(absent.contains("mkdir -p /no/such/directory"), "{absent}");
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("central.db");
    let url = format!("sqlite:{}", path.display());
    Store::open(&url).await.unwrap().close().await;
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    sqlx::query("INSERT INTO schema_history (version, digest) VALUES (999, 'x')")
        .execute(&pool)
        .await
        .unwrap();
    let newer = Store::open(&url).await.unwrap_err().to_string();
    assert!(newer.contains("start a newer program"), "{newer}");
    sqlx::query("DELETE FROM schema_history WHERE version = 999")
        .execute(&pool)
        .await
        .unwrap();
    sqlx::query("UPDATE schema_history SET digest = 'x'")
        .execute(&pool)
        .await
        .unwrap();
    let edited = Store::open(&url).await.unwrap_err().to_string();
    assert!(
        edited.contains("is not this program's migration 1"),
        "{edited}"
    );
}
