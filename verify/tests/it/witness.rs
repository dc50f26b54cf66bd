//! The witness over HTTP, as a log sees it: status by status, through restarts, forks and races.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use evidence::checkpoint::{Checkpoint, log_vkey, sign_checkpoint};
use evidence::cosignature::verify_cosignature;
use evidence::hash::{Hash, Origin, leaf_hash, root_of};
use evidence::key::SigningKey;
use evidence::merkle::{LeafHashes, consistency_proof};
use evidence::note::{Note, Vkey};
use evidence::witness::{Request, read_cosignature};
use reqwest::{Client, StatusCode};
use tokio::sync::oneshot;
use verify::witness::clock::ManualClock;
use verify::witness::server::{Settings, serve};
use verify::witness::state::{Added, State, StateError};
use verify::witness::{KEY_FILE, STATE_FILE, key};

const START_S: u64 = 1_767_225_600;

/// A log of 64 leaves; histories are the same up to leaf 3.
struct Log {
    origin: Origin,
    key: SigningKey,
}

impl Log {
    fn new(name: &str) -> Self {
        Self {
            origin: Origin::parse(name).unwrap(),
            key: SigningKey::from_seed([1; 32]),
        }
    }

    fn vkey(&self) -> Vkey {
        log_vkey(&self.origin, &self.key.public())
    }

    fn leaves(history: u8) -> Vec<Hash> {
        (0..64)
            .map(|i| leaf_hash(&[if i < 3 { 0 } else { history }, i]))
            .collect()
    }

    fn request(&self, history: u8, old: u64, size: u64) -> Request {
        let leaves = Self::leaves(history);
        let checkpoint = Checkpoint {
            origin: self.origin.clone(),
            size,
            root: root_of(&leaves[..usize::try_from(size).unwrap()]),
        };
        Request {
            old,
            proof: consistency_proof(&mut LeafHashes(&leaves), old, size).unwrap(),
            note: sign_checkpoint(&checkpoint, &self.key),
        }
    }
}

/// A running witness.
struct Running {
    url: String,
    vkey: Vkey,
    client: Client,
    stop: oneshot::Sender<()>,
    served: tokio::task::JoinHandle<std::io::Result<()>>,
}

async fn new_witness(directory: &Path, logs: &[&Log]) {
    let key = key::create(&directory.join(KEY_FILE), "witness.test/w1").unwrap();
    let state = State::create(&directory.join(STATE_FILE), key.vkey(), 5).await;
    let state = state.unwrap();
    for log in logs {
        let added = state.add_log(&log.origin, &log.vkey(), 6).await.unwrap();
        assert_eq!(added, Added::Log);
    }
    state.close().await;
}

impl Running {
    async fn start(directory: &Path, clock: &ManualClock, per_minute: u32) -> Self {
        let key = key::load(&directory.join(KEY_FILE)).unwrap();
        let state = State::open(&directory.join(STATE_FILE), key.vkey()).await;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let settings = Settings {
            tls: None,
            per_minute,
        };
        // The first one of a process installs it; the others find it there.
        let _second = rustls::crypto::ring::default_provider().install_default();
        let vkey = key.vkey().clone();
        let clock = Arc::new(clock.clone());
        let shutdown = async {
            drop(stopped.await);
        };
        let served = tokio::spawn(serve(
            state.unwrap(),
            key,
            settings,
            listener,
            clock,
            shutdown,
        ));
        Self {
            url,
            vkey,
            client: Client::builder().no_proxy().build().unwrap(),
            stop,
            served,
        }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.served.await.unwrap().unwrap();
    }

    async fn post(&self, body: Vec<u8>) -> (StatusCode, String, String) {
        let url = format!("{}/add-checkpoint", self.url);
        let answer = self.client.post(url).body(body).send().await.unwrap();
        let status = answer.status();
        let kind = answer.headers()["content-type"]
            .to_str()
            .unwrap()
            .to_owned();
        (status, kind, answer.text().await.unwrap())
    }

    async fn ask(&self, request: &Request) -> u16 {
        self.post(request.to_bytes()).await.0.as_u16()
    }

    async fn shown(&self, origin: &Origin) -> Option<Vec<u8>> {
        let url = format!("{}/{}/checkpoint", self.url, origin.id());
        let answer = self.client.get(url).send().await.unwrap();
        match answer.status() {
            StatusCode::OK => Some(answer.bytes().await.unwrap().to_vec()),
            other => {
                assert_eq!(other, StatusCode::NOT_FOUND);
                None
            }
        }
    }
}

fn clock() -> ManualClock {
    ManualClock::at(i64::try_from(START_S).unwrap() * 1000)
}

#[tokio::test]
async fn a_log_gets_from_a_witness_what_the_specification_says() {
    let directory = tempfile::tempdir().unwrap();
    let (log, stranger) = (Log::new("example.com/gw/1"), Log::new("example.com/gw/2"));
    new_witness(directory.path(), &[&log]).await;
    let clock = clock();
    let witness = Running::start(directory.path(), &clock, 600).await;

    assert_eq!(witness.shown(&log.origin).await, None);
    assert_eq!(witness.ask(&stranger.request(0, 0, 3)).await, 404);
    let mut forged = log.request(0, 0, 3);
    forged.note.signatures[0].bytes[9] ^= 1;
    assert_eq!(witness.ask(&forged).await, 403);
    assert_eq!(witness.post(b"old 0\n".to_vec()).await.0, 400);
    assert_eq!(witness.post(vec![b'a'; 100_000]).await.0, 400);
    let (status, kind, body) = witness.post(log.request(0, 5, 9).to_bytes()).await;
    assert_eq!(
        (status.as_u16(), kind.as_str(), body.as_str()),
        (409, "text/x.tlog.size", "0\n")
    );
    assert_eq!(witness.shown(&log.origin).await, None);

    clock.pass(7_000);
    let request = log.request(0, 0, 5);
    let (status, _kind, line) = witness.post(request.to_bytes()).await;
    assert_eq!(status, StatusCode::OK);
    let (line, at_s) = read_cosignature(&request.note, line.as_bytes(), &witness.vkey).unwrap();
    assert_eq!(at_s, START_S + 7);
    let shown = Note::parse(&witness.shown(&log.origin).await.unwrap()).unwrap();
    assert_eq!(shown.text, request.note.text);
    assert_eq!(shown.signatures, [request.note.signatures[0].clone(), line]);
    assert_eq!(
        Checkpoint::open(&shown, &log.vkey()).map(|of| of.size),
        Ok(5)
    );

    assert_eq!(witness.ask(&log.request(0, 5, 3)).await, 400);
    assert_eq!(witness.ask(&log.request(9, 5, 9)).await, 422);
    assert_eq!(witness.ask(&log.request(9, 5, 5)).await, 422);
    assert_eq!(witness.ask(&log.request(0, 5, 9)).await, 200);
    assert_eq!(witness.ask(&log.request(0, 9, 9)).await, 200);
    let get = format!("{}/add-checkpoint", witness.url);
    assert_eq!(witness.client.get(get).send().await.unwrap().status(), 405);
    witness.stop().await;

    // What the log had signed and the witness refused is kept, and told.
    let key = key::load(&directory.path().join(KEY_FILE)).unwrap();
    let state = State::open(&directory.path().join(STATE_FILE), key.vkey()).await;
    let logs = state.unwrap().logs().await.unwrap();
    let reasons: Vec<&str> = logs[0].refused.iter().map(|r| r.reason.as_str()).collect();
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert!(
        reasons
            .iter()
            .any(|why| why.contains("two roots for size 5"))
    );
}

#[tokio::test]
async fn of_two_histories_that_race_one_alone_is_ever_cosigned() {
    let directory = tempfile::tempdir().unwrap();
    let log = Log::new("example.com/gw/1");
    new_witness(directory.path(), &[&log]).await;
    let witness = Arc::new(Running::start(directory.path(), &clock(), 6000).await);
    assert_eq!(witness.ask(&log.request(0, 0, 3)).await, 200);
    let races = (0..60_u64).map(|i| {
        let history = u8::try_from(i % 2).unwrap() + 1;
        let request = log.request(history, 3, 4 + i / 2);
        let witness = Arc::clone(&witness);
        tokio::spawn(async move { (history, witness.ask(&request).await) })
    });
    let mut granted = Vec::new();
    for race in races.collect::<Vec<_>>() {
        match race.await.unwrap() {
            (history, 200) => granted.push(history),
            (_, status) => assert!([409, 422].contains(&status), "{status}"),
        }
    }
    assert_eq!(granted.len(), 1, "one of all that began at size 3");
    let shown = Note::parse(&witness.shown(&log.origin).await.unwrap()).unwrap();
    let size = Checkpoint::parse_body(&shown.text).unwrap().size;
    assert_eq!(shown.text, log.request(granted[0], size, size).note.text);
}

#[tokio::test]
async fn a_witness_that_was_killed_before_its_answer_left_still_knows_what_it_signed() {
    let directory = tempfile::tempdir().unwrap();
    let log = Log::new("example.com/gw/1");
    new_witness(directory.path(), &[&log]).await;
    let path = directory.path().join(STATE_FILE);
    let request = log.request(0, 0, 5);
    {
        // What the server does up to the commit; then the process is gone, and its answer with it.
        let key = key::load(&directory.path().join(KEY_FILE)).unwrap();
        let state = State::open(&path, key.vkey()).await.unwrap();
        let keys = state.keys(request.origin()).await.unwrap();
        state.cosign(&request, &keys, &key, START_S).await.unwrap();
    }
    let witness = Running::start(directory.path(), &clock(), 60).await;
    let (status, _kind, held) = witness.post(request.to_bytes()).await;
    assert_eq!((status.as_u16(), held.as_str()), (409, "5\n"));
    // Another history of that size is refused; the same tree is cosigned again.
    assert_eq!(witness.ask(&log.request(9, 5, 5)).await, 422);
    assert_eq!(witness.ask(&log.request(0, 5, 5)).await, 200);
    assert_eq!(witness.ask(&log.request(0, 5, 8)).await, 200);
    witness.stop().await;
    let witness = Running::start(directory.path(), &clock(), 60).await;
    assert_eq!(witness.ask(&log.request(0, 5, 8)).await, 409);
    assert_eq!(witness.ask(&log.request(0, 8, 20)).await, 200);
    let shown = Note::parse(&witness.shown(&log.origin).await.unwrap()).unwrap();
    assert_eq!(verify_cosignature(&shown, &witness.vkey), Ok(Some(START_S)));
    witness.stop().await;
}

#[tokio::test]
async fn no_time_before_the_last_one_is_signed_and_none_after_the_clock_was_set() {
    let directory = tempfile::tempdir().unwrap();
    let log = Log::new("example.com/gw/1");
    new_witness(directory.path(), &[&log]).await;
    let clock = clock();
    let witness = Running::start(directory.path(), &clock, 60).await;
    assert_eq!(witness.ask(&log.request(0, 0, 5)).await, 200);
    clock.step(-10_000);
    let url = format!("{}/add-checkpoint", witness.url);
    let body = log.request(0, 5, 6).to_bytes();
    let answer = witness.client.post(url).body(body).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "10");
    assert!(answer.text().await.unwrap().contains("before that"));
    clock.pass(10_000);
    assert_eq!(witness.ask(&log.request(0, 5, 6)).await, 200);
    clock.step(3_600_000);
    assert_eq!(witness.ask(&log.request(0, 6, 7)).await, 503);
    clock.step(-3_600_000);
    assert_eq!(witness.ask(&log.request(0, 6, 7)).await, 503);
    witness.stop().await;
    let witness = Running::start(directory.path(), &clock, 60).await;
    assert_eq!(witness.ask(&log.request(0, 6, 7)).await, 200);
    witness.stop().await;
}

#[tokio::test]
async fn a_log_that_asks_too_often_is_told_when_to_come_back_and_others_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let (one, two) = (Log::new("example.com/gw/1"), Log::new("example.com/gw/2"));
    new_witness(directory.path(), &[&one, &two]).await;
    let clock = clock();
    let witness = Running::start(directory.path(), &clock, 3).await;
    for size in 0..3 {
        assert_eq!(witness.ask(&one.request(0, size, size + 1)).await, 200);
    }
    assert_eq!(witness.ask(&one.request(0, 3, 4)).await, 429);
    assert_eq!(witness.ask(&one.request(0, 3, 3)).await, 200);
    assert_eq!(witness.ask(&two.request(0, 0, 4)).await, 200);
    clock.pass(20_000);
    assert_eq!(witness.ask(&one.request(0, 3, 4)).await, 200);
    witness.stop().await;
}

#[tokio::test]
async fn a_state_forgets_no_log_belongs_to_one_key_and_is_never_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let log = Log::new("example.com/gw/1");
    new_witness(directory.path(), &[&log]).await;
    let path = directory.path().join(STATE_FILE);
    let key = key::load(&directory.path().join(KEY_FILE)).unwrap();
    let state = State::open(&path, key.vkey()).await.unwrap();
    let request = log.request(0, 0, 5);
    let keys = state.keys(request.origin()).await.unwrap();
    state.cosign(&request, &keys, &key, START_S).await.unwrap();
    // Added again, it is where it was.
    let again = state.add_log(&log.origin, &log.vkey(), 9).await.unwrap();
    assert_eq!(again, Added::Nothing);
    assert_eq!(state.logs().await.unwrap()[0].size, 5);
    state.close().await;

    let address = format!("sqlite:{}", path.display());
    let shell = sqlx::SqlitePool::connect(&address).await.unwrap();
    for statement in [
        "DELETE FROM logs",
        "UPDATE logs SET size = 4",
        "UPDATE logs SET cosigned_s = 0",
        "UPDATE logs SET root = x'00'",
    ] {
        let error = sqlx::query(statement).execute(&shell).await.unwrap_err();
        assert!(error.to_string().contains("never"), "{error}");
    }
    shell.close().await;

    let other = key::create(&directory.path().join("other.key"), "witness.test/w2").unwrap();
    let error = State::open(&path, other.vkey()).await.unwrap_err();
    assert!(matches!(error, StateError::OtherKey { .. }), "{error}");
    let error = State::create(&path, key.vkey(), 1).await.unwrap_err();
    assert!(matches!(error, StateError::Exists(_)), "{error}");
    let error = State::open(&directory.path().join("lost.db"), key.vkey()).await;
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("must never sign again")
    );
    assert!(!directory.path().join("lost.db").exists());
}
