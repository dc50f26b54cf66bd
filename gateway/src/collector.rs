//! The gateway's end of the connection to its collector: one kept connection, a few requests.

use std::sync::Arc;
use std::time::Duration;

use evidence::hash::Origin;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode};
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::clock::Clock;
use crate::config::CollectorConfig;
use crate::tls::{Pin, TlsError, client_config};

/// The longest answer that is read, in bytes: an acknowledgement is about 2 KiB.
const LONGEST_ANSWER: usize = 1 << 20;

/// What became of a request that was not answered with success.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CollectorError {
    /// No answer: connection, TLS or time-out.
    #[error("the collector cannot be reached: {0}")]
    Unreachable(String),
    /// It asks to come back later.
    #[error("the collector asks to wait (status {status})")]
    Busy {
        /// 408, 429, 503 or another 5xx.
        status: u16,
        /// After this time, if it said so.
        retry_after: Option<Duration>,
    },
    /// It has another number of entries than we thought.
    #[error("the collector has {size} entries")]
    Size {
        /// Its size.
        size: u64,
    },
    /// It refuses for good.
    #[error("the collector refuses (status {status}): {reason}")]
    Refused {
        /// A 4xx other than 408, 409 and 429.
        status: u16,
        /// Its words.
        reason: String,
    },
    /// It answered something that is not an answer.
    #[error("the collector's answer makes no sense: {0}")]
    Nonsense(String),
}

impl CollectorError {
    /// Whether trying again soon can help.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}

/// A client of one collector for one log.
#[derive(Debug, Clone)]
pub struct Collector {
    client: Client,
    url: String,
    log_id: String,
    token: Option<String>,
}

impl Collector {
    /// Prepares a client; connects nothing.
    ///
    /// # Errors
    ///
    /// [`TlsError`].
    pub fn new(
        config: &CollectorConfig,
        origin: &Origin,
        pin: Option<Pin>,
        token: Option<String>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TlsError> {
        let tls = client_config(pin, config.ca_file.as_deref(), clock)?;
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .https_only(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .timeout(Duration::from_secs(60))
            .pool_max_idle_per_host(1)
            .user_agent(concat!("fieldseal-gateway/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| TlsError::Setup(error.to_string()))?;
        let log_id = origin.id().to_hex();
        Ok(Self {
            client,
            url: config.url.clone(),
            log_id,
            token,
        })
    }

    /// Sends bytes or JSON below this log's path and reads a JSON answer.
    ///
    /// # Errors
    ///
    /// [`CollectorError`].
    pub async fn post<T: DeserializeOwned>(
        &self,
        what: &str,
        content_type: &str,
        body: Vec<u8>,
        patience: Duration,
    ) -> Result<T, CollectorError> {
        let url = format!("{}/v1/logs/{}/{what}", self.url, self.log_id);
        self.post_to(&url, content_type, body, patience).await
    }

    /// Sends an enrolment.
    ///
    /// # Errors
    ///
    /// [`CollectorError`].
    pub async fn enrol<T: DeserializeOwned>(&self, body: Vec<u8>) -> Result<T, CollectorError> {
        let url = format!("{}/v1/enrol", self.url);
        self.post_to(&url, "application/json", body, Duration::from_secs(30))
            .await
    }

    async fn post_to<T: DeserializeOwned>(
        &self,
        url: &str,
        content_type: &str,
        body: Vec<u8>,
        patience: Duration,
    ) -> Result<T, CollectorError> {
        let mut request = self
            .client
            .post(url)
            .header(CONTENT_TYPE, content_type)
            .timeout(patience)
            .body(body);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let response = request.send().await.map_err(|error| unreachable(&error))?;
        let bytes = success(response).await?;
        serde_json::from_slice(&bytes).map_err(|error| CollectorError::Nonsense(error.to_string()))
    }

    /// Reads something below this log's open path, e.g. `checkpoint`. `None` when it is not there.
    ///
    /// # Errors
    ///
    /// [`CollectorError`].
    pub async fn get(
        &self,
        what: &str,
        patience: Duration,
    ) -> Result<Option<Vec<u8>>, CollectorError> {
        let url = format!("{}/logs/{}/{what}", self.url, self.log_id);
        let mut request = self.client.get(url).timeout(patience);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let response = request.send().await.map_err(|error| unreachable(&error))?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        success(response).await.map(Some)
    }
}

/// The body of a good answer, or what a bad one means.
async fn success(response: Response) -> Result<Vec<u8>, CollectorError> {
    let status = response.status();
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.trim().parse().ok())
        .map(Duration::from_secs);
    let body = read(response).await?;
    if status.is_success() {
        return Ok(body);
    }
    let text = String::from_utf8_lossy(&body);
    match status.as_u16() {
        409 => match text.trim().parse() {
            Ok(size) => Err(CollectorError::Size { size }),
            Err(_no_number) => Err(CollectorError::Nonsense(String::from("409 without a size"))),
        },
        408 | 429 | 500..=599 => Err(CollectorError::Busy {
            status: status.as_u16(),
            retry_after,
        }),
        400..=499 => Err(CollectorError::Refused {
            status: status.as_u16(),
            reason: reason(&text),
        }),
        other => Err(CollectorError::Nonsense(format!("status {other}"))),
    }
}

async fn read(mut response: Response) -> Result<Vec<u8>, CollectorError> {
    let mut body = Vec::new();
    while let Some(part) = response
        .chunk()
        .await
        .map_err(|error| unreachable(&error))?
    {
        body.extend_from_slice(&part);
        if body.len() > LONGEST_ANSWER {
            return Err(CollectorError::Nonsense(String::from(
                "the answer is larger than 1 MiB",
            )));
        }
    }
    Ok(body)
}

/// The words of a refusal: the fields of a problem document, or the text itself, cut.
fn reason(text: &str) -> String {
    let field = |name: &str| {
        let json: serde_json::Value = serde_json::from_str(text).ok()?;
        json.get(name)?.as_str().map(str::to_owned)
    };
    let words = [
        field("code"),
        field("error"),
        field("title"),
        field("reason"),
        field("detail"),
    ];
    let words: Vec<String> = words.into_iter().flatten().collect();
    let whole = if words.is_empty() {
        text.trim().to_owned()
    } else {
        words.join(": ")
    };
    let printable: String = whole
        .chars()
        .filter(|c| !c.is_control())
        .take(300)
        .collect();
    if printable.is_empty() {
        String::from("no reason given")
    } else {
        printable
    }
}

/// The innermost causes matter most: "certificate", "refused", "timed out".
fn unreachable(error: &reqwest::Error) -> CollectorError {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    CollectorError::Unreachable(text)
}
