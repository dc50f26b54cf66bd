//! The raw readings of a point, as CSV and JSON.
//!
//! Every reading is decoded from its signed segment, whose signature and payload root are checked
//! on the way; nothing is rounded, filled or left out. The answer is streamed in pages of segments:
//! its size is bounded by nobody's memory. If a segment does not verify, the answer breaks off with
//! an error of the connection; a transfer that ends well is whole.

mod decode;

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use evidence::measurement::Point;
use serde::{Deserialize, Serialize};
use store::Store;
use tokio::sync::mpsc;
use utoipa::{IntoParams, ToSchema};

use crate::app::Shared;
use crate::auth::{Caller, Scope};
use crate::facts::{Facts, Leg};
use crate::problem::{Answer, Asked, Problem, asked};
use crate::time;
use decode::readings_of;

/// Segments read from the store at once.
const PAGE: u32 = 64;
/// Pages on their way to a slow reader.
const PAGES_AHEAD: usize = 2;

/// Which readings.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReadingsQuery {
    /// The point's name in the log's sealed configuration.
    point: String,
    /// The log (its 64 hexadecimal digits); needed only if several logs have a point of this name.
    log: Option<String>,
    /// The first instant, e.g. `2026-01-01T00:00:00Z`.
    from: String,
    /// The first instant after the range.
    to: String,
    /// `json` (default) or `csv`.
    #[serde(default)]
    format: Format,
    /// Goes on where an answer with `limit` stopped: its `next`.
    after: Option<String>,
    /// Stops at the end of the segment that reaches this many readings; 1 to 1,000,000.
    limit: Option<u32>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    #[default]
    Json,
    Csv,
}

/// The readings of one point, in the order in which they were sealed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Readings {
    point: String,
    /// The log's id.
    log: String,
    origin: String,
    unit: String,
    /// `register` or `instant`.
    kind: String,
    readings: Vec<Reading>,
    /// Give it as `after` to go on; null when the range is complete.
    next: Option<String>,
}

/// One reading.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Reading {
    /// The beginning of the tick, or the arrival of the message, in UTC.
    pub(crate) time: String,
    /// The exact decimal value; null where there is none.
    pub(crate) value: Option<String>,
    /// `good`, or everything that is said against it, joined by `+`; `dropped` where the payload
    /// was declared dropped.
    pub(crate) quality: String,
    /// The register's words as they came over the wire, in hexadecimal; of a message its number
    /// or text. Null where nothing was read.
    pub(crate) raw: Option<String>,
    /// The log entry that seals it.
    pub(crate) entry: u64,
}

const CSV_HEADER: &str = "time_utc,value,unit,quality,raw,entry\r\n";

/// The raw readings of a point.
#[utoipa::path(get, path = "/v1/projects/{project}/readings", tag = "evidence",
    params(("project" = String, Path, description = "The project's id"), ReadingsQuery),
    responses(
        (status = 200, body = Readings, content_type = "application/json",
         description = "The readings; with `format=csv` the same as text/csv with columns time_utc,value,unit,quality,raw,entry"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn readings(
    State(app): State<Shared>,
    caller: Caller,
    scope: Scope,
    query: Asked<ReadingsQuery>,
) -> Answer<Response> {
    let query = asked(query)?;
    let range = time::range(&query.from, &query.to)?;
    if query
        .limit
        .is_some_and(|limit| !(1..=1_000_000).contains(&limit))
    {
        return Err(Problem::request("`limit` is not between 1 and 1,000,000"));
    }
    let after = query.after.as_deref().map(Cursor::parse).transpose()?;
    let facts = find(&app.store, &app, &scope, &query).await?;
    let what = format!(
        "readings of {} from {} to {}",
        query.point, query.from, query.to
    );
    let log = facts.log.log;
    app.note_access(caller.who(), log.site, Some(log), what)
        .await?;

    let legs = facts.legs(&query.point);
    let Some(point) = legs.last().map(|leg| leg.sealed.clone()) else {
        return Err(Problem::not_found("point"));
    };
    let (content_type, name) = match query.format {
        Format::Json => ("application/json", None),
        Format::Csv => ("text/csv; charset=utf-8", Some(file_name(&query.point))),
    };
    let (sender, receiver) = mpsc::channel(PAGES_AHEAD);
    let stream = Streamed {
        store: app.store.clone(),
        facts: Arc::new(facts),
        legs,
        point,
        range,
        after,
        limit: query.limit.map(u64::from),
        format: query.format,
        sender,
    };
    tokio::spawn(stream.run());
    let body = Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(receiver));
    let mut response = ([(header::CONTENT_TYPE, content_type)], body).into_response();
    if let Some(name) = name.and_then(|name| HeaderValue::from_str(&name).ok()) {
        response
            .headers_mut()
            .insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

fn file_name(point: &str) -> String {
    let safe = |c: char| {
        if c.is_ascii_alphanumeric() || "-_.".contains(c) {
            c
        } else {
            '_'
        }
    };
    format!(
        "attachment; filename=\"{}.csv\"",
        point.chars().map(safe).collect::<String>()
    )
}

/// The log that has the point.
async fn find(store: &Store, app: &Shared, scope: &Scope, query: &ReadingsQuery) -> Answer<Facts> {
    let logs = match &query.log {
        Some(id) => vec![scope.log(app, id).await?],
        None => scope.logs(app).await?,
    };
    let mut found: Option<Facts> = None;
    for log in logs {
        let facts = Facts::load(store, log).await?;
        if facts.legs(&query.point).is_empty() {
            continue;
        }
        if found.is_some() {
            let detail = format!(
                "several logs have a point `{}`; name one with `log=`, see /v1/projects/{}/points",
                query.point,
                scope.id()
            );
            return Err(Problem::request(detail));
        }
        found = Some(facts);
    }
    found.ok_or_else(|| Problem::not_found("point"))
}

/// Readings are looked up in windows of time, so that the store sorts little at once. Windows end at
/// full hours, which no segment crosses: each segment lies in one window.
const WINDOW_MS: i64 = 6 * 3_600_000;

/// A place in the answer: after this entry, in the window that begins here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cursor {
    window_ms: i64,
    index: u64,
}

impl Cursor {
    fn parse(text: &str) -> Answer<Self> {
        let parts = text.split_once('.');
        let read = parts.and_then(|(window, index)| {
            let window_ms: i64 = window.parse().ok()?;
            let index = index.parse().ok()?;
            (window_ms % 3_600_000 == 0).then_some(Self { window_ms, index })
        });
        read.ok_or_else(|| {
            Problem::request(format!("`after={text}` is not the `next` of an answer"))
        })
    }
}

/// Everything the streaming task needs, as values.
struct Streamed {
    store: Store,
    facts: Arc<Facts>,
    legs: Vec<Leg>,
    point: Point,
    range: std::ops::Range<i64>,
    after: Option<Cursor>,
    limit: Option<u64>,
    format: Format,
    sender: mpsc::Sender<Result<Bytes, std::io::Error>>,
}

impl Streamed {
    async fn run(self) {
        let failure = match self.write().await {
            Ok(()) => return,
            Err(problem) => problem,
        };
        tracing::warn!(
            "readings of {} broke off: {}",
            self.point.name,
            failure.detail()
        );
        // Breaks the connection, so that nobody takes the part for the whole.
        let broken = std::io::Error::other("the readings broke off");
        drop(self.sender.send(Err(broken)).await);
    }

    /// Hands bytes on; `false` when the reader went away.
    async fn send(&self, bytes: Vec<u8>) -> bool {
        bytes.is_empty() || self.sender.send(Ok(Bytes::from(bytes))).await.is_ok()
    }

    async fn write(&self) -> Answer<()> {
        let mut written = 0_u64;
        if !self.send(self.head()).await {
            return Ok(());
        }
        let mut next = None;
        let mut start = self
            .range
            .start
            .div_euclid(WINDOW_MS)
            .saturating_mul(WINDOW_MS);
        let mut after = None;
        if let Some(cursor) = self.after {
            start = start.max(cursor.window_ms);
            after = Some(cursor.index).filter(|_| start == cursor.window_ms);
        }
        while start < self.range.end && next.is_none() {
            let before = written;
            let stopped = self.window(start, after.take(), &mut written).await?;
            let Some(stopped) = stopped else {
                return Ok(()); // the reader went away
            };
            next = stopped.at;
            start = start.saturating_add(WINDOW_MS);
            if written == before && next.is_none() {
                start = self.skip_empty(start).await?;
            }
        }
        self.send(self.foot(next)).await;
        Ok(())
    }

    /// Writes one window; `None` when the reader went away.
    async fn window(
        &self,
        start: i64,
        after: Option<u64>,
        written: &mut u64,
    ) -> Answer<Option<Stopped>> {
        let time = start.max(self.range.start)..start.saturating_add(WINDOW_MS).min(self.range.end);
        for leg in &self.legs {
            let mut after = after.max(leg.indices.start.checked_sub(1));
            loop {
                let rows = self
                    .store
                    .segments_between(
                        self.facts.log.log,
                        leg.stream,
                        time.clone(),
                        after,
                        PAGE,
                        true,
                    )
                    .await?;
                let mut page = Vec::new();
                let mut at = None;
                for row in rows.iter().filter(|row| row.index < leg.indices.end) {
                    for reading in readings_of(&self.facts, &self.point.name, row, &self.range)? {
                        self.put(&mut page, &reading, *written == 0)?;
                        *written += 1;
                    }
                    if self.limit.is_some_and(|limit| *written >= limit) {
                        let (window_ms, index) = (start, row.index);
                        at = Some(Cursor { window_ms, index });
                        break;
                    }
                }
                if !self.send(page).await {
                    return Ok(None);
                }
                if at.is_some() {
                    return Ok(Some(Stopped { at }));
                }
                match rows.last() {
                    Some(row) if row.index < leg.indices.end => after = Some(row.index),
                    _ => break,
                }
            }
        }
        Ok(Some(Stopped { at: None }))
    }

    /// The first window from `start` on in which a stream of the point has segments; asks for wider
    /// and wider ones, since most of a wide range may be empty.
    async fn skip_empty(&self, mut start: i64) -> Answer<i64> {
        const WIDER: i64 = 4;
        const WIDEST_MS: i64 = WINDOW_MS * 1024;
        let mut width = WINDOW_MS;
        while start < self.range.end {
            let time = start..start.saturating_add(width).min(self.range.end);
            let mut any = false;
            for leg in &self.legs {
                let found = self.store.segments_between(
                    self.facts.log.log,
                    leg.stream,
                    time.clone(),
                    None,
                    1,
                    false,
                );
                any |= !found.await?.is_empty();
            }
            match any {
                true if width == WINDOW_MS => return Ok(start),
                true => width /= WIDER,
                false => {
                    start = start.saturating_add(width);
                    width = width.saturating_mul(WIDER).min(WIDEST_MS);
                }
            }
        }
        Ok(start)
    }

    fn head(&self) -> Vec<u8> {
        if self.format == Format::Csv {
            return CSV_HEADER.as_bytes().to_vec();
        }
        let json = |text: &str| serde_json::Value::from(text).to_string();
        format!(
            "{{\"point\":{},\"log\":{},\"origin\":{},\"unit\":{},\"kind\":\"{}\",\"readings\":[",
            json(&self.point.name),
            json(&self.facts.log.log.log.to_hex()),
            json(&self.facts.log.origin),
            json(&self.point.unit),
            crate::points::kind_name(self.point.kind),
        )
        .into_bytes()
    }

    fn foot(&self, next: Option<Cursor>) -> Vec<u8> {
        match (self.format, next) {
            (Format::Csv, _) => Vec::new(),
            (Format::Json, Some(Cursor { window_ms, index })) => {
                format!("],\"next\":\"{window_ms}.{index}\"}}").into_bytes()
            }
            (Format::Json, None) => b"],\"next\":null}".to_vec(),
        }
    }

    fn put(&self, page: &mut Vec<u8>, reading: &Reading, first: bool) -> Answer<()> {
        if self.format == Format::Json {
            if !first {
                page.push(b',');
            }
            return serde_json::to_writer(page, reading).map_err(|error| Problem::internal(&error));
        }
        let Reading {
            time,
            value,
            quality,
            raw,
            entry,
        } = reading;
        let value = csv_field(value.as_deref().unwrap_or_default());
        let raw = csv_field(raw.as_deref().unwrap_or_default());
        let unit = csv_field(&self.point.unit);
        let line = format!("{time},{value},{unit},{quality},{raw},{entry}\r\n");
        page.extend_from_slice(line.as_bytes());
        Ok(())
    }
}

/// Where a window stopped because the limit was reached, if it did.
struct Stopped {
    at: Option<Cursor>,
}

/// A field as RFC 4180 has it.
fn csv_field(text: &str) -> String {
    if text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
