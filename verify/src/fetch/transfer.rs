//! One attempt: ask for what is missing, append what comes, a piece at a time.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use reqwest::header::{
    CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, IF_RANGE, RANGE,
};
use reqwest::{Certificate, Client, Response, StatusCode, Url};
use serde::{Deserialize, Serialize};

use crate::Progress;
use crate::args::FetchArgs;
use crate::durable;

/// Why an attempt ended.
#[derive(Debug)]
pub(super) enum Stop {
    /// Trying again may help.
    Broken(anyhow::Error),
    /// It does not.
    Mistake(anyhow::Error),
}

fn broken(error: impl Into<anyhow::Error>) -> Stop {
    Stop::Broken(error.into())
}

fn mistake(error: impl Into<anyhow::Error>) -> Stop {
    Stop::Mistake(error.into())
}

/// What a part is a part of; beside it as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stated {
    url: String,
    /// The tag of the bytes: another one means other bytes.
    etag: String,
    length: u64,
}

/// The server and how to speak to it.
#[derive(Debug)]
pub(super) struct Server {
    client: Client,
    url: Url,
    token: Option<String>,
}

impl Server {
    pub(super) fn new(args: &FetchArgs) -> anyhow::Result<Self> {
        let url = Url::parse(&args.url).with_context(|| format!("the address {}", args.url))?;
        let loopback = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        if url.scheme() != "https" && !(url.scheme() == "http" && loopback) {
            bail!("{url}: the token goes over https only (http only to this very machine)");
        }
        let token = match &args.token_file {
            None => None,
            Some(path) => {
                let token = crate::inputs::read(path, "the token")?.trim().to_owned();
                let plain = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
                anyhow::ensure!(
                    plain,
                    "{}: it must hold one token and nothing else",
                    path.display()
                );
                Some(token)
            }
        };
        // Another part of the program may have chosen it already; it is the only one there is.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(15))
            .read_timeout(Duration::from_secs(60))
            .user_agent(concat!("fieldseal-verify/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &args.ca_file {
            let pem = std::fs::read(path)
                .with_context(|| format!("cannot read the certificates {}", path.display()))?;
            let certificates = Certificate::from_pem_bundle(&pem)
                .with_context(|| format!("the certificates {}", path.display()))?;
            client = client.tls_certs_only(certificates);
        }
        let client = client.build().context("preparing the connection")?;
        Ok(Self { client, url, token })
    }

    async fn get(&self, url: Url, headers: HeaderMap) -> reqwest::Result<Response> {
        let mut request = self.client.get(url).headers(headers);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        request.send().await
    }

    /// The length and hash that the server states of these very bytes, if it does.
    pub(super) async fn hash_of(&self, stated: &Stated) -> Option<(u64, String)> {
        #[derive(Deserialize)]
        struct Hash {
            length: u64,
            sha256: String,
            etag: String,
        }
        let mut url = self.url.clone();
        let path = url.path().strip_suffix("bundle.tar")?.to_owned() + "bundle.sha256";
        url.set_path(&path);
        // Making it reads the whole bundle once more: the server may take its time.
        let request = self.client.get(url).timeout(Duration::from_secs(1_800));
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let answer = request.send().await.ok()?;
        let hash: Hash = answer.error_for_status().ok()?.json().await.ok()?;
        (hash.etag == stated.etag).then_some((hash.length, hash.sha256))
    }
}

/// What an earlier attempt left: its length and what it is a part of.
fn left_over(part: &Path, url: &Url) -> Option<(u64, Stated)> {
    let text = std::fs::read_to_string(durable::beside(part, ".json")).ok()?;
    let stated: Stated = serde_json::from_str(&text).ok()?;
    let length = std::fs::metadata(part).ok()?.len();
    (stated.url == url.as_str() && length <= stated.length).then_some((length, stated))
}

fn text(answer: &Response, name: HeaderName) -> Option<String> {
    Some(answer.headers().get(name)?.to_str().ok()?.to_owned())
}

/// Asks for what is missing and appends it. Whole, it says what of.
pub(super) async fn attempt(
    server: &Server,
    part: &Path,
    resumed_from: &mut Option<u64>,
    progress: Progress<'_>,
) -> Result<Stated, Stop> {
    let before = left_over(part, &server.url);
    let mut headers = HeaderMap::new();
    if let Some((length, stated)) = &before {
        if *length == stated.length {
            return Ok(stated.clone());
        }
        let range = format!("bytes={length}-").parse().map_err(mistake)?;
        let tag = stated.etag.parse().map_err(mistake)?;
        headers.insert(RANGE, range);
        headers.insert(IF_RANGE, tag);
    }
    let mut answer = server
        .get(server.url.clone(), headers)
        .await
        .map_err(|error| broken(error.without_url()))?;
    let (mut file, mut at, stated) = match (answer.status(), before) {
        (StatusCode::OK, _) => begin(server, part, &answer)?,
        (StatusCode::PARTIAL_CONTENT, Some((length, stated))) => {
            let expected = format!("bytes {length}-{}/{}", stated.length - 1, stated.length);
            let found = text(&answer, CONTENT_RANGE).unwrap_or_default();
            if found != expected || text(&answer, ETAG).as_ref() != Some(&stated.etag) {
                forget(part).map_err(mistake)?;
                let problem = anyhow!("the server went on with `{found}` instead of `{expected}`");
                return Err(broken(problem));
            }
            resumed_from.get_or_insert(length);
            let file = OpenOptions::new().append(true).open(part);
            (file.map_err(mistake)?, length, stated)
        }
        (StatusCode::RANGE_NOT_SATISFIABLE, _) => {
            forget(part).map_err(mistake)?;
            return Err(broken(anyhow!("the bundle is another one by now")));
        }
        (status, _) => return Err(refused(status, answer).await),
    };
    loop {
        match answer.chunk().await {
            Ok(Some(piece)) => {
                at += u64::try_from(piece.len()).unwrap_or(u64::MAX);
                if at > stated.length {
                    forget(part).map_err(mistake)?;
                    return Err(broken(anyhow!("more bytes came than the server stated")));
                }
                file.write_all(&piece).map_err(mistake)?;
                progress(at, stated.length);
            }
            Ok(None) if at == stated.length => {
                file.sync_all().map_err(mistake)?;
                return Ok(stated);
            }
            Ok(None) => {
                let problem = anyhow!("{at} of {} bytes have arrived", stated.length);
                return Err(broken(problem));
            }
            Err(error) => {
                let problem = anyhow!(error.without_url());
                let words = format!("{at} of {} bytes have arrived", stated.length);
                return Err(broken(problem.context(words)));
            }
        }
    }
}

/// A transfer from the first byte: what it is of is on disk before the byte is.
fn begin(server: &Server, part: &Path, answer: &Response) -> Result<(File, u64, Stated), Stop> {
    let length = text(answer, CONTENT_LENGTH).and_then(|length| length.parse().ok());
    let (Some(length), Some(etag)) = (length, text(answer, ETAG)) else {
        let problem =
            "the server states no length or no tag of the bytes; is this the address of a bundle?";
        return Err(mistake(anyhow!(problem)));
    };
    forget(part).map_err(mistake)?;
    let stated = Stated {
        url: server.url.to_string(),
        etag,
        length,
    };
    let file = File::create(part)
        .with_context(|| format!("cannot write {}", part.display()))
        .map_err(mistake)?;
    let json = serde_json::to_vec(&stated).map_err(mistake)?;
    durable::write_file(&durable::beside(part, ".json"), &json).map_err(mistake)?;
    Ok((file, 0, stated))
}

/// Removes what an earlier attempt left.
fn forget(part: &Path) -> std::io::Result<()> {
    for path in [durable::beside(part, ".json"), part.to_owned()] {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// An answer that is no bundle: its own words, and whether trying again may help.
async fn refused(status: StatusCode, answer: Response) -> Stop {
    let body = answer.text().await.unwrap_or_default();
    let detail = serde_json::from_str::<serde_json::Value>(&body)
        .ok()
        .and_then(|problem| Some(problem.get("detail")?.as_str()?.to_owned()));
    let hint = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "; look at --token-file",
        StatusCode::NOT_FOUND => "; look at the address, and whether your token sees this project",
        _ => "",
    };
    let words = detail.map_or_else(String::new, |detail| format!(": {detail}"));
    let problem = anyhow!("the server answers {status}{words}{hint}");
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        broken(problem)
    } else {
        mistake(problem)
    }
}
