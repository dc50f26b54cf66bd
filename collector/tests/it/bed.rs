//! Where a test lies: a collector that serves, its store, and a client that trusts it.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use collector::cli::enrolment_code;
use collector::code::Code;
use collector::config::{Config, StoreAddress};
use collector::install::Install;
use collector::{Clock as _, ManualClock};
use evidence::note::Vkey;
use reqwest::{Client, RequestBuilder, Response};
use store::Store;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// 2026-01-01T00:00Z.
pub(crate) const NOW: i64 = 1_767_225_600_000;

pub(crate) struct Bed {
    pub(crate) config: Config,
    pub(crate) clock: ManualClock,
    pub(crate) store: Store,
    pub(crate) client: Client,
    pub(crate) witness: Vkey,
    /// Tells the logs of tests in one database apart.
    pub(crate) unique: String,
    pub(crate) directory: PathBuf,
}

pub(crate) struct Serving {
    pub(crate) address: SocketAddr,
    client: Client,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Bed {
    async fn make(directory: &std::path::Path, store: Option<String>) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let install = Install {
            directory: directory.to_owned(),
            name: "collector.example/w0".to_owned(),
            hosts: vec!["localhost".to_owned()],
            tls: None,
        };
        let started = collector::SystemClock.now_ms();
        // The client looks at the certificate's days with the machine's clock.
        let installed = install.run(started).unwrap();
        let mut config = Config::load(&installed.config).unwrap();
        if let Some(url) = store {
            config.store = StoreAddress::Url(url);
        }
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self {
            store: Store::open(&config.store.url().unwrap()).await.unwrap(),
            client: client(directory),
            witness: Vkey::parse(&installed.vkey).unwrap(),
            clock: ManualClock::at(NOW),
            unique: format!("{started}-{}-{count}", std::process::id()),
            directory: directory.to_owned(),
            config,
        }
    }

    /// Starts the real thing on a free port.
    pub(crate) fn serve(&self) -> Serving {
        self.serve_with(self.config.clone())
    }

    pub(crate) fn serve_with(&self, config: Config) -> Serving {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let clock = Arc::new(self.clock.clone());
        let task = tokio::spawn(async move {
            let shutdown = async {
                stopped.await.unwrap_or_default();
            };
            collector::serve(&config, listener, clock, shutdown)
                .await
                .unwrap();
        });
        Serving {
            address,
            client: self.client.clone(),
            stop,
            task,
        }
    }

    pub(crate) async fn code(&self) -> Code {
        let site = format!("Site {}", self.unique);
        enrolment_code(&self.config, &site, 7, &self.clock)
            .await
            .unwrap()
    }
}

impl Serving {
    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(self.url(path))
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(self.url(path))
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }

    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}

/// A client that trusts the certificate in a directory and nothing else.
pub(crate) fn client(directory: &std::path::Path) -> Client {
    client_at(directory, [127, 0, 0, 1])
}

/// The same, from another address of this machine.
pub(crate) fn client_at(directory: &std::path::Path, from: [u8; 4]) -> Client {
    // Installed by the first test of a process; the others find it there.
    let _second = rustls::crypto::ring::default_provider().install_default();
    let pem = std::fs::read(directory.join("tls.crt")).unwrap();
    let certificate = reqwest::Certificate::from_pem(&pem).unwrap();
    Client::builder()
        .tls_certs_only([certificate])
        .local_address(std::net::IpAddr::from(from))
        .no_proxy()
        .build()
        .unwrap()
}

/// The parts of a refusal.
pub(crate) async fn refusal(response: Response) -> (u16, String, String) {
    let status = response.status().as_u16();
    let body: serde_json::Value = response.json().await.unwrap();
    let text = |key: &str| body[key].as_str().unwrap().to_owned();
    (status, text("code"), text("reason"))
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
        test(&Bed::make(directory.path(), None).await).await;
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
        let directory = tempfile::tempdir().unwrap();
        test(&Bed::make(directory.path(), Some(server)).await).await;
    });
}
