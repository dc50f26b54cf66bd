//! The reading side: plain tlog-tiles, so that existing tools can read a log.
//!
//! `checkpoint` and hash tiles are open: they show no reading. Entries and payloads need a token,
//! the gateway's own or one whose projects cover the log's site, and the latter are in the access
//! log that participants see.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use evidence::tiles::{Tile, TileKind, encode_entry_bundle, parse_tile_path};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::Serialize;
use store::{Access, LogId, LogRef, TokenState};

use crate::answer::Answer;
use crate::ingest::bearer;
use crate::server::Collector;

const BINARY: &str = "application/octet-stream";
/// What can never change may be kept for ever.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// The same, for what not everybody may see.
const PRIVATE: &str = "private, max-age=31536000, immutable";

/// `GET /v1/logs/<id>/head`.
#[derive(Debug, Serialize)]
pub(crate) struct HeadAnswer {
    size: u64,
    /// Base64, as in a checkpoint.
    root: String,
}

pub(crate) async fn head(
    State(collector): State<Collector>,
    Path(id): Path<String>,
) -> Result<Json<HeadAnswer>, Answer> {
    let log = collector.find(&id).await?;
    let log = collector
        .store
        .log(log)
        .await?
        .ok_or_else(Answer::unknown_log)?;
    let root = evidence::hash::Hash(log.root).to_base64();
    Ok(Json(HeadAnswer {
        size: log.size,
        root,
    }))
}

pub(crate) async fn checkpoint(
    State(collector): State<Collector>,
    Path(id): Path<String>,
) -> Result<Response, Answer> {
    let log = collector.find(&id).await?;
    let head = collector
        .store
        .head(log)
        .await?
        .ok_or_else(Answer::unknown_log)?;
    Ok(bytes(head.note, "text/plain; charset=utf-8", "no-store"))
}

pub(crate) async fn tile(
    State(collector): State<Collector>,
    Path((id, path)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Answer> {
    let log = collector.find(&id).await?;
    let tile = parse_tile_path(&format!("tile/{path}"))
        .map_err(|error| Answer::bad_request("tile", error.to_string()))?;
    if tile.kind == TileKind::Entries {
        collector
            .admit_reader(log, &headers, &format!("tile/{path}"))
            .await?;
    }
    let size = collector
        .store
        .log(log)
        .await?
        .ok_or_else(Answer::unknown_log)?
        .size;
    let width = if tile.is_partial() { tile.width } else { 256 };
    if tile.width_at(size).is_none_or(|there| there < width) {
        return Err(Answer::not_found(format!(
            "a log of {size} entries has no such tile"
        )));
    }
    match tile.kind {
        TileKind::Hashes(level) => collector.hashes(log, level, tile, width).await,
        TileKind::Entries => collector.entries(log, tile, width).await,
    }
}

pub(crate) async fn payload(
    State(collector): State<Collector>,
    Path((id, index)): Path<(String, u64)>,
    headers: HeaderMap,
) -> Result<Response, Answer> {
    let log = collector.find(&id).await?;
    collector
        .admit_reader(log, &headers, &format!("payload/{index}"))
        .await?;
    let past = index
        .checked_add(1)
        .ok_or_else(|| Answer::not_found("no such entry"))?;
    let row = collector.store.rows(log, index..past, 1, true).await?.pop();
    let row = row.ok_or_else(|| Answer::not_found(format!("there is no entry {index}")))?;
    let payload = row
        .payload
        .ok_or_else(|| Answer::not_found(format!("entry {index} has no payload here")))?;
    Ok(bytes(payload, BINARY, PRIVATE))
}

impl Collector {
    /// Finds a log by the id in an address.
    pub(crate) async fn find(&self, id: &str) -> Result<LogRef, Answer> {
        let id = LogId::from_hex(id).ok_or_else(Answer::unknown_log)?;
        let (log, _token) = self
            .store
            .locate(id)
            .await?
            .ok_or_else(Answer::unknown_log)?;
        Ok(log)
    }

    /// Lets the log's own gateway and people whose projects cover the site read evidence.
    async fn admit_reader(
        &self,
        log: LogRef,
        headers: &HeaderMap,
        what: &str,
    ) -> Result<(), Answer> {
        let given = bearer(headers).ok_or_else(Answer::unauthorised)?;
        let own = self.store.locate(log.log).await?.map(|(_log, token)| token);
        if own == Some(evidence::hash::sha256(given.as_bytes()).0) {
            return Ok(());
        }
        let now_ms = self.clock.now_ms();
        let TokenState::Valid(token) = self.store.check_token(given, now_ms).await? else {
            return Err(Answer::unauthorised());
        };
        if !self.store.token_covers(&token, log.site).await? {
            return Err(Answer::unauthorised());
        }
        let mut nonce = [0; 8];
        SystemRandom::new()
            .fill(&mut nonce)
            .map_err(|_none| Answer::Failed)?;
        let access = Access {
            at_ms: now_ms,
            site: log.site,
            log: Some(log.log),
            who: token.label,
            what: what.to_owned(),
        };
        self.store
            .note_access(&access, i64::from_be_bytes(nonce))
            .await?;
        Ok(())
    }

    async fn hashes(
        &self,
        log: LogRef,
        level: u8,
        tile: Tile,
        width: u16,
    ) -> Result<Response, Answer> {
        let first = tile.index * 256;
        let past = first + u64::from(width);
        // Levels above 56 have no node in any log of at most 2^63 entries: `width_at` said so.
        let hashes = self
            .store
            .hashes(log, level.saturating_mul(8), first, past)
            .await?;
        Ok(bytes(hashes.concat(), BINARY, IMMUTABLE))
    }

    async fn entries(&self, log: LogRef, tile: Tile, width: u16) -> Result<Response, Answer> {
        let first = tile.index * 256;
        let past = first + u64::from(width);
        let rows = self
            .store
            .rows(log, first..past, u32::from(width), false)
            .await?;
        let entries: Vec<&[u8]> = rows.iter().map(|row| &*row.entry).collect();
        let bundle = encode_entry_bundle(&entries).map_err(|error| {
            tracing::error!(log.id = %log.log, %error, "Stored entries do not make a bundle");
            Answer::Failed
        })?;
        Ok(bytes(bundle, BINARY, PRIVATE))
    }
}

fn bytes(body: Vec<u8>, kind: &'static str, cache: &'static str) -> Response {
    let mut response = body.into_response();
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    response
}
