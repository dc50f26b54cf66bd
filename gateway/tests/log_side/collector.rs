//! A collector for tests: real HTTPS on a free port, admission by the same state machine, and moods.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum_server::tls_rustls::RustlsConfig;
use evidence::chain::Chain;
use evidence::checkpoint::Checkpoint;
use evidence::cosignature::cosign;
use evidence::hash::{Hash, Origin, sha256};
use evidence::key::SigningKey;
use evidence::note::{Note, SignatureKind, Vkey};
use evidence::wire::Upload;
use gateway::config::CollectorConfig;
use gateway::tls::Pin;
use rcgen::{CertificateParams, KeyPair, PublicKeyData as _};

pub(crate) const TOKEN: &str = "token-of-the-test";
const NAME: &str = "collector.test/w0";

/// How the collector answers next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// As it should.
    Good,
    /// 503 with Retry-After: 7.
    Busy,
    /// 403 with a reason.
    Refuses,
    /// Stores, but answers with rubbish.
    Nonsense,
    /// Stores, but the answer is lost.
    AnswerLost,
    /// Cosigns with another key of the same name.
    WrongKey,
    /// Acknowledges a checkpoint that was not sent.
    OtherCheckpoint,
    /// Adds a trail note that its key did not sign.
    BadTrail,
}

pub(crate) struct Inner {
    pub(crate) mood: Mood,
    pub(crate) chain: Chain,
    pub(crate) entries: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    pub(crate) uploads: u32,
    pub(crate) enrolments: Vec<serde_json::Value>,
    pub(crate) live: Vec<serde_json::Value>,
    pub(crate) watch_for_s: u32,
    pub(crate) trail: Option<String>,
    note: Option<String>,
    key: SigningKey,
}

/// A running collector.
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    pub(crate) pin: Pin,
    pub(crate) witness: Vkey,
    pub(crate) origin: Origin,
    inner: Arc<Mutex<Inner>>,
}

impl Collector {
    /// Starts serving; within a runtime.
    pub(crate) fn start(origin: &Origin) -> Self {
        let key = SigningKey::from_seed([42; 32]);
        let witness = Vkey::new(NAME, SignatureKind::Cosignature, key.public()).unwrap();
        let inner = Arc::new(Mutex::new(Inner {
            mood: Mood::Good,
            chain: Chain::new(origin.clone()),
            entries: Vec::new(),
            uploads: 0,
            enrolments: Vec::new(),
            live: Vec::new(),
            watch_for_s: 0,
            trail: None,
            note: None,
            key,
        }));
        let app = Router::new()
            .route("/v1/enrol", post(enrol))
            .route("/v1/logs/{id}/entries", post(entries))
            .route("/v1/logs/{id}/live", post(live))
            .route("/logs/{id}/checkpoint", get(checkpoint))
            .route("/logs/{id}/tile/entries/{*bundle}", get(bundle))
            .route("/logs/{id}/payload/{index}", get(payload))
            .with_state(Arc::clone(&inner));
        let tls_key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(&tls_key).unwrap();
        let pin = Pin(sha256(&tls_key.subject_public_key_info()).0);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(tls_key.serialize_der());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.into())
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let config = RustlsConfig::from_config(Arc::new(config));
        let server = axum_server::from_tcp_rustls(listener, config).unwrap();
        tokio::spawn(server.serve(app.into_make_service()));
        Self {
            address,
            pin,
            witness,
            origin: origin.clone(),
            inner,
        }
    }

    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub(crate) fn set(&self, mood: Mood) {
        self.inner().mood = mood;
    }

    pub(crate) fn config(&self) -> CollectorConfig {
        CollectorConfig {
            url: format!("https://localhost:{}", self.address.port()),
            ca_file: None,
            witnesses: Vec::new(),
        }
    }

    /// A code for this collector.
    pub(crate) fn code(&self) -> String {
        use base64::Engine as _;
        let pin = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(self.pin.0);
        format!("fs1.0a1b2c3d.000102030405060708090a0b0c0d0e0f.{pin}")
    }

    /// Forgets everything above `size`, as a collector restored from a backup.
    pub(crate) fn roll_back(&self, size: u64) {
        let mut inner = self.inner();
        let kept: Vec<_> = inner
            .entries
            .drain(..)
            .take(usize::try_from(size).unwrap())
            .collect();
        inner.chain = Chain::new(self.origin.clone());
        for (entry, payload) in &kept {
            inner.chain.apply(entry, payload.as_deref()).unwrap();
        }
        inner.entries = kept;
        inner.note = None;
    }
}

impl Inner {
    /// The newest note that this collector cosigned.
    pub(crate) fn note_text(&self) -> String {
        self.note.clone().unwrap()
    }
}

type Shared = State<Arc<Mutex<Inner>>>;

async fn entries(
    State(inner): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut guard = inner.lock().unwrap();
    let inner = &mut *guard;
    inner.uploads += 1;
    assert_eq!(id, inner.chain.origin().id().to_hex());
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    assert_eq!(token, Some(format!("Bearer {TOKEN}").as_str()));
    match inner.mood {
        Mood::Busy => {
            return (
                StatusCode::SERVICE_UNAVAILABLE,
                [(header::RETRY_AFTER, "7")],
            )
                .into_response();
        }
        Mood::Refuses => {
            let body = r#"{"error":"E_SITE","reason":"this log belongs to no site","code":"E31"}"#;
            return (StatusCode::FORBIDDEN, body).into_response();
        }
        _ => {}
    }
    let upload = Upload::decode(&body).unwrap();
    if upload.old != inner.chain.size() {
        let size = format!("{}\n", inner.chain.size());
        return (
            StatusCode::CONFLICT,
            [(header::CONTENT_TYPE, "text/x.tlog.size")],
            size,
        )
            .into_response();
    }
    for record in &upload.records {
        inner.chain.apply(record.entry, record.payload).unwrap();
        inner
            .entries
            .push((record.entry.to_vec(), record.payload.map(<[u8]>::to_vec)));
    }
    let mut note = Note::parse(upload.note).unwrap();
    let sent = Checkpoint::parse_body(&note.text).unwrap();
    assert_eq!(
        (sent.size, sent.root),
        (inner.chain.size(), inner.chain.root())
    );
    note.signatures
        .push(cosign(&note.text, NAME, &inner.key, 1_772_323_300));
    inner.note = Some(String::from_utf8(note.to_bytes()).unwrap());
    let other = SigningKey::from_seed([43; 32]);
    let mut trail = inner.trail.clone();
    match inner.mood {
        Mood::Nonsense => return "<html>welcome to our portal</html>".into_response(),
        Mood::AnswerLost => return StatusCode::GATEWAY_TIMEOUT.into_response(),
        Mood::WrongKey => {
            let mut forged = cosign(&note.text, NAME, &other, 1_772_323_300);
            // It claims our key hash: the signature itself has to be looked at.
            forged.key_hash = note.signatures.last().unwrap().key_hash;
            note.signatures.pop();
            note.signatures.push(forged);
        }
        Mood::OtherCheckpoint => {
            let older = Checkpoint {
                origin: sent.origin,
                size: sent.size,
                root: Hash([1; 32]),
            };
            note.text = older.body();
            note.signatures = vec![cosign(&note.text, NAME, &inner.key, 1_772_323_300)];
        }
        Mood::BadTrail => {
            let mut forged = note.clone();
            forged.signatures = vec![cosign("other text\n", NAME, &inner.key, 1_772_323_300)];
            trail = Some(String::from_utf8(forged.to_bytes()).unwrap());
        }
        _ => {}
    }
    let ack = serde_json::json!({
        "size": inner.chain.size(),
        "note": String::from_utf8(note.to_bytes()).unwrap(),
        "trail": trail,
        "watch_for_s": inner.watch_for_s,
    });
    ack.to_string().into_response()
}

async fn enrol(State(inner): Shared, body: Bytes) -> Response {
    let (mood, witness) = {
        let mut inner = inner.lock().unwrap();
        inner
            .enrolments
            .push(serde_json::from_slice(&body).unwrap());
        let witness = Vkey::new(NAME, SignatureKind::Cosignature, inner.key.public()).unwrap();
        (inner.mood, witness)
    };
    match mood {
        Mood::AnswerLost => StatusCode::GATEWAY_TIMEOUT.into_response(),
        Mood::Refuses => {
            (StatusCode::FORBIDDEN, r#"{"code":"E11","reason":"used"}"#).into_response()
        }
        _ => {
            let answer = serde_json::json!({
                "token": TOKEN,
                "witness_vkey": witness.to_string(),
                "log_id": "x",
            });
            answer.to_string().into_response()
        }
    }
}

async fn live(State(inner): Shared, body: Bytes) -> Response {
    let mut inner = inner.lock().unwrap();
    inner.live.push(serde_json::from_slice(&body).unwrap());
    serde_json::json!({ "watch_for_s": inner.watch_for_s })
        .to_string()
        .into_response()
}

async fn bundle(State(inner): Shared, Path((_, path)): Path<(String, String)>) -> Response {
    let tile = evidence::tiles::parse_tile_path(&format!("tile/entries/{path}")).unwrap();
    let inner = inner.lock().unwrap();
    let first = usize::try_from(tile.index * 256).unwrap();
    let width = if tile.is_partial() {
        usize::from(tile.width)
    } else {
        256
    };
    let entries: Vec<&[u8]> = inner.entries[first..first + width]
        .iter()
        .map(|(entry, _)| entry.as_slice())
        .collect();
    evidence::tiles::encode_entry_bundle(&entries)
        .unwrap()
        .into_response()
}

async fn payload(State(inner): Shared, Path((_, index)): Path<(String, usize)>) -> Response {
    match inner.lock().unwrap().entries[index].1.clone() {
        Some(payload) => payload.into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn checkpoint(State(inner): Shared) -> Response {
    let note = inner.lock().unwrap().note.clone();
    match note {
        Some(note) => note.into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Waits until `condition` holds; fails after half a minute.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "never came true: {what}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
