//! What a gateway posts, and the event that it becomes.

use serde::Deserialize;
use store::LiveRow;

use super::{LiveEvent, LivePoint, SealedTo};
use crate::facts::Facts;
use crate::time;

/// What a gateway posts.
#[derive(Debug, Deserialize)]
struct Post {
    unix_ms: i64,
    points: Vec<PostPoint>,
}

#[derive(Debug, Deserialize)]
struct PostPoint {
    name: String,
    value: Option<String>,
    #[serde(default)]
    unit: String,
    #[serde(default)]
    quality: serde_json::Value,
    tick_unix_ms: Option<i64>,
}

/// The event that tells the state of a log.
pub(super) fn event(row: &LiveRow, facts: &Facts, sealed: Vec<SealedTo>, now_ms: i64) -> LiveEvent {
    let origin = facts.log.origin.clone();
    let post: Option<Post> = match &row.body {
        None => None,
        Some(body) => match serde_json::from_str(body) {
            Ok(post) => Some(post),
            Err(error) => {
                tracing::warn!("live values of {origin} cannot be read: {error}");
                None
            }
        },
    };
    let sent_ms = post.as_ref().map(|post| post.unix_ms);
    let points = post.into_iter().flat_map(|post| post.points);
    LiveEvent {
        log: row.log.log.to_hex(),
        size: row.size,
        version: row.version,
        cosigned: i64::try_from(row.cosigned_s)
            .ok()
            .filter(|s| *s > 0)
            .map(|s| time::utc(s * 1000)),
        sent_ms,
        server_ms: now_ms,
        points: points
            .map(|point| live_point(point, facts, &sealed))
            .collect(),
        sealed,
        origin,
    }
}

fn live_point(point: PostPoint, facts: &Facts, sealed: &[SealedTo]) -> LivePoint {
    let config = facts
        .config()
        .and_then(|config| config.config.point(&point.name));
    let stream = config.map(|(_, sealed)| sealed.stream);
    let reaches = sealed
        .iter()
        .find(|to| Some(to.stream) == stream)
        .and_then(|to| to.to_ms);
    let quality = match point.quality {
        serde_json::Value::String(text) => text,
        serde_json::Value::Null => "good".to_owned(),
        other => other.to_string(),
    };
    LivePoint {
        sealed: point
            .tick_unix_ms
            .zip(reaches)
            .is_some_and(|(at, to)| at < to),
        name: point.name,
        value: point.value,
        unit: point.unit,
        quality,
        time_ms: point.tick_unix_ms,
    }
}
