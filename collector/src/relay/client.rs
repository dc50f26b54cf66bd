//! One server that checkpoints are shown to, and what it may answer.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use evidence::witness::read_size;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::RelayError;
use crate::answer::error_chain;

/// The longest answer that is read: signature lines, or a token with its certificates.
const LONGEST_ANSWER: usize = 64 << 10;
/// Characters of a refusal that are kept.
const LONGEST_REASON: usize = 300;

/// A connection to one server, kept open.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    client: Client,
    url: String,
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answered {
    /// 200, with its body.
    Good(Vec<u8>),
    /// 409: it holds this size.
    SizeIs(u64),
    /// Another 4xx: asking the same again is pointless.
    Refused { status: u16, reason: String },
    /// Not now; after so many seconds, if it said so.
    Later {
        after_s: Option<u64>,
        reason: String,
    },
    /// No answer at all.
    Silent(String),
}

impl Peer {
    /// Prepares; connects nothing.
    pub(super) fn new(url: String, ca_file: Option<&Path>) -> Result<Self, RelayError> {
        let mut roots = RootCertStore::empty();
        if let Some(path) = ca_file {
            let bad = |why: String| RelayError::CaFile {
                path: path.to_owned(),
                why,
            };
            let certificates =
                CertificateDer::pem_file_iter(path).map_err(|error| bad(error.to_string()))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| bad(error.to_string()))?;
                roots
                    .add(certificate)
                    .map_err(|error| bad(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(bad("it holds no certificate".to_owned()));
            }
        } else {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| RelayError::Client(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(1)
            .user_agent(concat!("fieldseal-collector/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| RelayError::Client(error_chain(&error)))?;
        Ok(Self { client, url })
    }

    /// Posts a body to a path below the address.
    pub(super) async fn post(&self, path: &str, kind: &str, body: Vec<u8>) -> Answered {
        let request = self
            .client
            .post(format!("{}{path}", self.url))
            .header(CONTENT_TYPE, kind)
            .body(body);
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Answered::Silent(error_chain(&error)),
        };
        let status = response.status();
        let after_s = response.headers().get(RETRY_AFTER);
        let after_s = after_s.and_then(|after| after.to_str().ok()?.parse().ok());
        let body = match read(response).await {
            Ok(body) => body,
            Err(why) => return Answered::Silent(why),
        };
        let words = || {
            let text = String::from_utf8_lossy(&body);
            let text: String = text.trim().chars().take(LONGEST_REASON).collect();
            if text.is_empty() {
                format!("status {status}")
            } else {
                format!("status {}: {text}", status.as_u16())
            }
        };
        match status {
            StatusCode::OK => Answered::Good(body),
            StatusCode::CONFLICT => match read_size(&body) {
                Some(size) => Answered::SizeIs(size),
                None => Answered::Refused {
                    status: 409,
                    reason: "status 409 without a size".to_owned(),
                },
            },
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Answered::Later {
                after_s,
                reason: words(),
            },
            status if status.is_client_error() => Answered::Refused {
                status: status.as_u16(),
                reason: words(),
            },
            _ => Answered::Later {
                after_s,
                reason: words(),
            },
        }
    }
}

async fn read(mut response: Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= LONGEST_ANSWER => {
                body.extend_from_slice(&chunk);
            }
            Ok(Some(_chunk)) => return Err("its answer is longer than 64 KiB".to_owned()),
            Ok(None) => return Ok(body),
            Err(error) => return Err(error_chain(&error)),
        }
    }
}
