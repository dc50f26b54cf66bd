//! `POST /v1/logs/<id>/live`: the newest values, unsigned, best effort, never evidence.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::answer::Answer;
use crate::server::Collector;

/// The parts of a post that readers rely on; everything else passes through.
#[derive(Deserialize)]
struct Post {
    #[serde(rename = "seq")]
    _seq: u64,
    #[serde(rename = "unix_ms")]
    _unix_ms: i64,
    points: Vec<Point>,
}

#[derive(Deserialize)]
struct Point {
    #[serde(rename = "name")]
    _name: String,
    #[serde(rename = "value")]
    _value: Option<String>,
    #[serde(rename = "quality")]
    _quality: Option<IgnoredAny>,
}

/// The answer to a post.
#[derive(Debug, Serialize)]
pub(crate) struct Watching {
    /// For so many seconds somebody watches; post fast for as long.
    watch_for_s: u32,
}

/// 5,000 points at some 200 bytes.
const MOST_BYTES: usize = 1 << 20;
const MOST_POINTS: usize = 5000;

pub(crate) async fn post(
    State(collector): State<Collector>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Watching>, Answer> {
    let log = collector.authenticate(&id, &headers).await?;
    let now_ms = collector.clock.now_ms();
    collector
        .live_rates
        .take(log.log, now_ms)
        .map_err(Answer::too_many)?;
    let body = collector.read_body(&headers, body, MOST_BYTES).await?;
    let wrong = |why: String| Answer::bad_request("live", format!("live values: {why}"));
    let post: Post = serde_json::from_slice(&body).map_err(|error| wrong(error.to_string()))?;
    if post.points.len() > MOST_POINTS {
        let found = post.points.len();
        return Err(wrong(format!(
            "{found} points; at most {MOST_POINTS} at once"
        )));
    }
    let text = std::str::from_utf8(&body).map_err(|error| wrong(error.to_string()))?;
    collector.store.put_live(log, text, now_ms).await?;
    Ok(Json(Watching {
        watch_for_s: collector.watch_for_s(log, now_ms).await?,
    }))
}
