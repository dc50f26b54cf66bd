//! Somebody on the way between gateways and their collector, who holds the collector's TLS key.
//!
//! Gateways pin that key, so they take this for the collector. Everything that leaves them passes
//! here in the clear: every upload is kept, and an index that ever leaves with other bytes than
//! before is a finding. On request answers are slow, wrong, forged or lost.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use collector::tls::TlsFiles;
use evidence::wire::Upload;
use reqwest::{Certificate, Client};
use tokio::sync::watch;

/// What becomes of one upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// 500, and nothing is passed on.
    ServerError,
    /// 200 with a web page, and nothing is passed on.
    Portal,
    /// 409 with this size, whatever was sent.
    SizeIs(u64),
    /// 409 without a number.
    NotASize,
    /// Passed on; in the answer the cosignature is forged.
    ForgedCosignature,
    /// Passed on; the connection breaks before the answer.
    AnswerLost,
    /// The connection breaks and nothing is passed on.
    CutOff,
    /// Passed on this much later.
    Slow(Duration),
}

/// An entry and its payload; no payload where it was dropped at the edge.
pub type Sent = (Vec<u8>, Option<Vec<u8>>);

/// What left the gateways.
#[derive(Debug, Default)]
pub struct Left {
    /// Entry and payload by (path of the log, index), as first seen.
    pub entries: BTreeMap<(String, u64), Sent>,
    /// Where an index left with other bytes than before, or something left that is no upload.
    pub findings: Vec<String>,
    /// How many uploads left, repeated ones included.
    pub uploads: u64,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    // Std mutexes: held for a few instructions and never across an await.
    upstream: Mutex<u16>,
    faults: Mutex<VecDeque<Fault>>,
    left: Mutex<Left>,
    /// Counts uploads as they arrive.
    arrivals: watch::Sender<u64>,
}

/// The listener. Dropping it closes everything.
#[derive(Debug)]
pub struct Between {
    address: SocketAddr,
    tls: Arc<rustls::ServerConfig>,
    shared: Arc<Shared>,
    handle: Handle<SocketAddr>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Between {
    /// Listens on a free port, with the collector's certificate and key. Where the collector itself
    /// is has to be told ([`Between::lead_to`]).
    ///
    /// # Errors
    ///
    /// When the files cannot be used or no port is free.
    pub fn start(files: &TlsFiles) -> anyhow::Result<Self> {
        let certificate = Certificate::from_pem(&std::fs::read(&files.certificate)?)?;
        let client = Client::builder()
            .tls_certs_only([certificate])
            .no_proxy()
            .timeout(Duration::from_secs(60))
            .build()?;
        let shared = Arc::new(Shared {
            client,
            upstream: Mutex::new(0),
            faults: Mutex::default(),
            left: Mutex::default(),
            arrivals: watch::Sender::new(0),
        });
        let tls = files.load()?.config;
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (address, handle) = serve(free, Arc::clone(&tls), &shared)?;
        Ok(Self {
            address,
            tls,
            shared,
            handle,
        })
    }

    /// The port that gateways are given.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Passes on to the collector on this port from now on.
    pub fn lead_to(&self, port: u16) {
        *locked(&self.shared.upstream) = port;
    }

    /// Refuses connections from now on, as a machine that is down, and ends those there are.
    pub fn close(&self) {
        self.handle.shutdown();
    }

    /// Listens again on the same port.
    ///
    /// # Errors
    ///
    /// When the port cannot be taken again.
    pub fn open_again(&mut self) -> anyhow::Result<()> {
        let served = serve(self.address, Arc::clone(&self.tls), &self.shared)?;
        self.handle = served.1;
        Ok(())
    }

    /// The next uploads meet these faults, one each, in this order.
    pub fn plan(&self, faults: impl IntoIterator<Item = Fault>) {
        locked(&self.shared.faults).extend(faults);
    }

    /// How many planned faults nobody has met yet.
    #[must_use]
    pub fn planned(&self) -> usize {
        locked(&self.shared.faults).len()
    }

    /// Completes when the next upload arrives here, before anything is done with it.
    pub async fn next_upload(&self) {
        // The sender lives as long as `self`: there is always a next one to wait for.
        drop(self.shared.arrivals.subscribe().changed().await);
    }

    /// What left so far.
    pub fn left(&self) -> MutexGuard<'_, Left> {
        locked(&self.shared.left)
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.handle.shutdown();
    }
}

fn serve(
    address: SocketAddr,
    tls: Arc<rustls::ServerConfig>,
    shared: &Arc<Shared>,
) -> anyhow::Result<(SocketAddr, Handle<SocketAddr>)> {
    let listener = TcpListener::bind(address).with_context(|| format!("listen on {address}"))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let handle = Handle::new();
    let server = axum_server::from_tcp_rustls(listener, RustlsConfig::from_config(tls))?
        .handle(handle.clone());
    let app = Router::new()
        .fallback(pass)
        .layer(DefaultBodyLimit::disable())
        .with_state(Arc::clone(shared));
    tokio::spawn(async move {
        if let Err(error) = server.serve(app.into_make_service()).await {
            tracing::warn!(%error, "the one in between stopped");
        }
    });
    Ok((address, handle))
}

async fn pass(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut fault = None;
    if uri.path().ends_with("/entries") {
        locked(&shared.left).take(uri.path(), &body);
        shared.arrivals.send_modify(|arrived| *arrived += 1);
        fault = locked(&shared.faults).pop_front();
    }
    match fault {
        Some(Fault::ServerError) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Some(Fault::Portal) => return "<html>Welcome. Please sign in.</html>".into_response(),
        Some(Fault::NotASize) => return (StatusCode::CONFLICT, "conflict\n").into_response(),
        Some(Fault::SizeIs(size)) => {
            let kind = [(header::CONTENT_TYPE, "text/x.tlog.size")];
            return (StatusCode::CONFLICT, kind, format!("{size}\n")).into_response();
        }
        Some(Fault::CutOff) => return broken(),
        Some(Fault::Slow(by)) => tokio::time::sleep(by).await,
        Some(Fault::ForgedCosignature | Fault::AnswerLost) | None => {}
    }
    let Ok((status, answer_headers, answer)) = forward(&shared, method, &uri, &headers, body).await
    else {
        return broken();
    };
    match fault {
        Some(Fault::AnswerLost) => broken(),
        Some(Fault::ForgedCosignature) => (status, answer_headers, forged(&answer)).into_response(),
        _ => (status, answer_headers, answer).into_response(),
    }
}

async fn forward(
    shared: &Shared,
    method: Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: Bytes,
) -> reqwest::Result<(StatusCode, HeaderMap, Bytes)> {
    let port = *locked(&shared.upstream);
    let url = format!("https://localhost:{port}{uri}");
    let mut request = shared.client.request(method, url).body(body);
    request = request.headers(only(
        headers,
        &[header::AUTHORIZATION, header::CONTENT_TYPE],
    ));
    let response = request.send().await?;
    let status = response.status();
    let kept = only(
        response.headers(),
        &[header::CONTENT_TYPE, header::RETRY_AFTER],
    );
    Ok((status, kept, response.bytes().await?))
}

fn only(headers: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    let pairs = names.iter().filter_map(|name| {
        let value = headers.get(name)?;
        Some((name.clone(), value.clone()))
    });
    pairs.collect()
}

/// An answer that promises more than it brings: the connection breaks.
fn broken() -> Response {
    let cut = futures_util::stream::once(std::future::ready(Err::<Bytes, _>(
        std::io::Error::other("cut"),
    )));
    ([(header::CONTENT_LENGTH, "64")], Body::from_stream(cut)).into_response()
}

/// The answer with one digit of the last signature's base64 changed.
fn forged(answer: &[u8]) -> Vec<u8> {
    let mut text = String::from_utf8_lossy(answer).into_owned();
    // The note is a JSON string: its last signature ends before the last escaped line feed.
    let Some(at) = text.find("\\n\",").map(|end| end.saturating_sub(12)) else {
        return Vec::new();
    };
    let other = if text.get(at..=at) == Some("A") {
        "B"
    } else {
        "A"
    };
    text.replace_range(at..=at, other);
    text.into_bytes()
}

impl Left {
    fn take(&mut self, path: &str, body: &[u8]) {
        self.uploads += 1;
        let upload = match Upload::decode(body) {
            Ok(upload) => upload,
            Err(error) => {
                self.findings
                    .push(format!("{path}: no upload left: {error}"));
                return;
            }
        };
        for (index, record) in (upload.old..).zip(&upload.records) {
            let now = (record.entry.to_vec(), record.payload.map(<[u8]>::to_vec));
            let key = (path.to_owned(), index);
            match self.entries.get(&key) {
                None => {
                    self.entries.insert(key, now);
                }
                Some(before) if *before == now => {}
                Some(_other) => {
                    let finding = format!("{path}: index {index} left with two different contents");
                    self.findings.push(finding);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use evidence::wire::Record;

    use super::*;

    fn upload(old: u64, entries: &[&[u8]]) -> Vec<u8> {
        let records = entries
            .iter()
            .map(|&entry| Record {
                entry,
                payload: Some(b"p"),
            })
            .collect();
        let upload = Upload {
            old,
            note: b"",
            records,
        };
        upload.encode().unwrap()
    }

    #[test]
    fn an_index_that_leaves_with_other_bytes_is_found_and_a_repetition_is_not() {
        let mut left = Left::default();
        left.take("a", &upload(0, &[b"x", b"y"]));
        left.take("a", &upload(1, &[b"y", b"z"]));
        left.take("b", &upload(1, &[b"other log"]));
        assert_eq!((left.findings.len(), left.entries.len()), (0, 4));
        left.take("a", &upload(2, &[b"Z"]));
        assert_eq!(
            left.findings,
            ["a: index 2 left with two different contents"]
        );
    }

    #[test]
    fn a_forged_answer_differs_in_one_digit_of_the_note() {
        let answer = br#"{"size":3,"note":"o\n3\nroot\n\n\u2014 a AAAAAAAAAAAAAAAAAAAAAAAA\n\u2014 w0 BBBBBBBBBBBBBBBBBBBBBBBB\n","trail":null}"#;
        let forged = forged(answer);
        let differing = answer.iter().zip(&forged).filter(|(a, b)| a != b).count();
        assert_eq!((differing, forged.len()), (1, answer.len()));
        assert_eq!(forged.iter().filter(|byte| **byte == b'B').count(), 23);
    }
}
