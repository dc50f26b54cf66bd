//! Where a test lies: a fresh database, and the small material that the tests share.

use std::sync::atomic::{AtomicU64, Ordering};

use store::{
    Append, Appended, Enrol, Enrolled, EnrolmentCode, Hour, HourKey, LogId, LogRef, NewRow,
    Segment, SiteId, Store,
};

/// 2026-01-01T00:00Z.
pub(crate) const NOW: i64 = 1_767_225_600_000;

pub(crate) struct Bed {
    pub(crate) store: Store,
    /// Opens the same database again, as another process would.
    pub(crate) url: String,
}

impl Bed {
    pub(crate) async fn open_again(&self) -> Store {
        Store::open(&self.url).await.unwrap()
    }

    /// Makes a site and a log with its genesis entry.
    pub(crate) async fn log(&self, origin: &str) -> LogRef {
        let site = self.store.create_site("Site A", NOW).await.unwrap().id;
        self.code("c0de0001", site).await;
        let enrol = enrol("c0de0001", site, origin);
        let outcome = self.store.enrol(&enrol).await.unwrap();
        assert_eq!(outcome, Enrolled::New(enrol.genesis.log));
        enrol.genesis.log
    }

    pub(crate) async fn code(&self, id: &str, site: SiteId) {
        let code = EnrolmentCode {
            id: id.to_owned(),
            site,
            secret: b"secret".to_vec(),
            created_ms: NOW,
            expires_ms: NOW + 1000,
            used: None,
        };
        self.store.create_code(&code).await.unwrap();
    }

    pub(crate) async fn append(&self, append: &Append) -> Appended {
        self.store.append(append).await.unwrap()
    }

    pub(crate) async fn size(&self, log: LogRef) -> u64 {
        self.store.log(log).await.unwrap().unwrap().size
    }
}

pub(crate) fn enrol(code: &str, site: SiteId, origin: &str) -> Enrol {
    let log = LogRef {
        site,
        log: LogId::of_origin(origin),
    };
    Enrol {
        code_id: code.to_owned(),
        origin: origin.to_owned(),
        log_key: [7; 32],
        log_vkey: format!("{origin}+00000000+AQ=="),
        token: [1; 32],
        genesis: append(log, 0, 1),
    }
}

/// An append of `count` rows at `old` whose bytes tell their index.
pub(crate) fn append(log: LogRef, old: u64, count: u64) -> Append {
    let new = old + count;
    Append {
        log,
        old_size: old,
        new_size: new,
        new_root: root_at(new),
        chain: format!("chain at {new}").into_bytes(),
        rows: (old..new).map(row).collect(),
        hours: Vec::new(),
        replaced: Vec::new(),
        merge: add,
        placements: Vec::new(),
        note: format!("note at {new}").into_bytes(),
        cosigned_s: 1_767_225_600 + new,
        trail: false,
        now_ms: NOW + i64::try_from(new).unwrap(),
    }
}

pub(crate) fn root_at(size: u64) -> [u8; 32] {
    let mut root = [0; 32];
    root[..8].copy_from_slice(&size.to_be_bytes());
    root
}

/// A row: control entry at 0, one-minute segments of stream 3 after it.
pub(crate) fn row(index: u64) -> NewRow {
    let from = NOW + 60_000 * i64::try_from(index).unwrap();
    NewRow {
        index,
        leaf: leaf(index),
        kind: if index == 0 { 101 } else { 1 },
        entry: format!("entry {index}").into_bytes(),
        payload: (index > 0).then(|| format!("payload {index}").into_bytes()),
        segment: (index > 0).then(|| Segment {
            stream: 3,
            first_tick: 60 * index,
            ticks: 60,
            time_ms: Some((from, from + 60_000)),
        }),
    }
}

pub(crate) fn leaf(index: u64) -> [u8; 32] {
    hash(&[b"\0leaf ", &index.to_be_bytes()])
}

pub(crate) fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for part in parts {
        context.update(part);
    }
    context.finish().as_ref().try_into().unwrap()
}

pub(crate) fn hour(point: u16, hour: i64, value: u64) -> Hour {
    Hour {
        key: HourKey {
            stream: 3,
            point,
            hour,
            config: 0,
        },
        data: value.to_be_bytes().to_vec(),
    }
}

/// The merge of these tests: two big-endian numbers are added.
pub(crate) fn add(stored: &[u8], later: &[u8]) -> Result<Vec<u8>, String> {
    let number = |bytes: &[u8]| {
        <[u8; 8]>::try_from(bytes)
            .map(u64::from_be_bytes)
            .map_err(|error| error.to_string())
    };
    Ok((number(stored)? + number(later)?).to_be_bytes().to_vec())
}

fn run(test: impl AsyncFnOnce()) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(test());
}

pub(crate) fn on_sqlite(test: impl AsyncFnOnce(&Bed)) {
    run(async || {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", directory.path().join("central.db").display());
        let bed = Bed {
            store: Store::open(&url).await.unwrap(),
            url,
        };
        test(&bed).await;
        bed.store.close().await;
    });
}

pub(crate) fn on_postgres(test: impl AsyncFnOnce(&Bed)) {
    let Ok(server) = std::env::var("FIELDSEAL_TEST_POSTGRES_URL") else {
        assert!(
            std::env::var("FIELDSEAL_SKIP_POSTGRES").is_ok_and(|skip| skip == "1"),
            "FIELDSEAL_TEST_POSTGRES_URL is not set: run tests/run, which starts a server, or set \
             FIELDSEAL_SKIP_POSTGRES=1 to leave the PostgreSQL half out"
        );
        #[expect(clippy::print_stdout, reason = "what is left out is said")]
        {
            println!("SKIPPED on PostgreSQL, because FIELDSEAL_SKIP_POSTGRES=1");
        }
        return;
    };
    run(async || {
        let schema = fresh_schema(&server).await;
        let join = if server.contains('?') { '&' } else { '?' };
        let url = format!("{server}{join}options[search_path]={schema}");
        let bed = Bed {
            store: Store::open(&url).await.unwrap(),
            url,
        };
        test(&bed).await;
        bed.store.close().await;
        // Left standing when a test fails, so that one can look into it.
        on_server(&server, format!("DROP SCHEMA {schema} CASCADE")).await;
    });
}

async fn fresh_schema(server: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let schema = format!(
        "contract_{}_{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    );
    on_server(server, format!("DROP SCHEMA IF EXISTS {schema} CASCADE")).await;
    on_server(server, format!("CREATE SCHEMA {schema}")).await;
    schema
}

pub(crate) async fn on_server(url: &str, sql: String) {
    use sqlx::Connection as _;

    let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

/// Drops a future after this many polls, as a program that dies in the middle; `None` if it was
/// not done by then. Polls, not time: a timer has milliseconds, a commit takes microseconds.
pub(crate) async fn drop_after<T>(polls: u32, future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    let mut polled = 0;
    std::future::poll_fn(|context| {
        if polled == polls {
            return std::task::Poll::Ready(None);
        }
        polled += 1;
        match future.as_mut().poll(context) {
            std::task::Poll::Pending if polled == polls => std::task::Poll::Ready(None),
            poll => poll.map(Some),
        }
    })
    .await
}
