//! Live values: unsigned, latest wins, marked sealed as soon as their entry is cosigned.
//!
//! One task asks the store every half second what changed and hands it to all who watch, so many
//! watchers cost the store no more than one; while nobody watches it asks nothing. Watching a log is
//! written into the store, so that its gateway posts fast.

mod post;

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use serde::{Deserialize, Serialize};
use store::{LiveRow, LogId, LogRef, Store, Watch};
use tokio::sync::{Notify, broadcast, mpsc};
use tokio_util::sync::CancellationToken;
use utoipa::{IntoParams, ToSchema};

use crate::app::{App, Shared};
use crate::auth::Scope;
use crate::facts::Facts;
use crate::problem::{Answer, Asked, Problem, asked};
use crate::walk;
use post::event;

/// How often the store is asked.
const EVERY: Duration = Duration::from_millis(500);
/// How long a watch lasts beyond its last renewal, and how often it is renewed.
const WATCH_MS: i64 = 30_000;
const RENEW_MS: i64 = 10_000;
/// Clocks of several collectors may differ by so much.
const SKEW_MS: i64 = 5_000;
/// A stream ends after this; the browser comes again, and its token is looked at again.
const STREAM_FOR: Duration = Duration::from_secs(300);

/// The newest state of one log: its live values and how far it is sealed. Replaces the one before.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct LiveEvent {
    /// The log's id.
    pub(crate) log: String,
    pub(crate) origin: String,
    /// Entries stored and cosigned.
    pub(crate) size: u64,
    /// Counts the posts of live values; 0 before the first.
    pub(crate) version: u64,
    /// When the newest checkpoint was cosigned.
    pub(crate) cosigned: Option<String>,
    /// When the gateway sent the values, by its own clock, unix milliseconds.
    pub(crate) sent_ms: Option<i64>,
    /// When this state was read, by the server's clock, unix milliseconds: ages count from here.
    pub(crate) server_ms: i64,
    pub(crate) points: Vec<LivePoint>,
    /// How far each stream is sealed.
    pub(crate) sealed: Vec<SealedTo>,
}

/// The newest value of a point: live, not yet sealed, unless `sealed` says so.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct LivePoint {
    pub(crate) name: String,
    /// Null where there is no value.
    pub(crate) value: Option<String>,
    pub(crate) unit: String,
    pub(crate) quality: String,
    /// The beginning of its tick, or its arrival, unix milliseconds.
    pub(crate) time_ms: Option<i64>,
    /// Whether an entry that covers this moment is cosigned.
    pub(crate) sealed: bool,
}

/// A stream's entries reach to here.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct SealedTo {
    pub(crate) stream: u16,
    /// Unix milliseconds; null while nothing of it has a time.
    pub(crate) to_ms: Option<i64>,
}

/// Fans out what changes.
#[derive(Debug)]
pub(crate) struct Hub {
    sender: broadcast::Sender<Arc<LiveEvent>>,
    state: Mutex<HubState>,
    wake: Notify,
    pub(crate) stop: CancellationToken,
}

#[derive(Debug, Default)]
struct HubState {
    /// How many watch each log.
    watched: BTreeMap<LogRef, usize>,
    /// What is known of each watched log.
    known: HashMap<LogRef, Known>,
    /// Somebody began to watch a log that is not known yet.
    rescan: bool,
}

/// The newest event of a log, and what its control entries say at that size.
#[derive(Debug, Clone)]
struct Known {
    event: Arc<LiveEvent>,
    facts: Arc<Facts>,
}

/// Somebody watches these logs; dropping it ends that.
#[derive(Debug)]
struct Watching {
    app: Shared,
    logs: Vec<LogRef>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut state = self
            .app
            .live
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for log in &self.logs {
            if let Some(count) = state.watched.get_mut(log) {
                *count -= 1;
                if *count == 0 {
                    state.watched.remove(log);
                    state.known.remove(log);
                }
            }
        }
    }
}

impl Hub {
    pub(crate) fn new(stop: CancellationToken) -> Self {
        Self {
            sender: broadcast::Sender::new(256),
            state: Mutex::default(),
            wake: Notify::new(),
            stop,
        }
    }

    fn known(&self, logs: &[LogRef]) -> Vec<Known> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        logs.iter()
            .filter_map(|log| state.known.get(log).cloned())
            .collect()
    }

    fn events(&self, logs: &[LogRef]) -> Vec<Arc<LiveEvent>> {
        self.known(logs)
            .into_iter()
            .map(|known| known.event)
            .collect()
    }
}

fn watch(app: &Shared, logs: &[LogRef]) -> Watching {
    let mut state = app
        .live
        .state
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    for log in logs {
        *state.watched.entry(*log).or_default() += 1;
        state.rescan |= !state.known.contains_key(log);
    }
    app.live.wake.notify_one();
    Watching {
        app: Arc::clone(app),
        logs: logs.to_vec(),
    }
}

/// Follows the store for as long as the server runs.
pub(crate) async fn follow(app: Shared) {
    let mut since_ms = i64::MIN;
    let mut renewed: HashMap<LogRef, i64> = HashMap::new();
    let mut failing = false;
    loop {
        tokio::select! {
            () = app.live.stop.cancelled() => return,
            () = app.live.wake.notified() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
        let (watched, rescan) = {
            let mut state = app
                .live
                .state
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let watched: Vec<LogRef> = state.watched.keys().copied().collect();
            (watched, std::mem::take(&mut state.rescan))
        };
        renewed.retain(|log, _| watched.contains(log));
        if watched.is_empty() {
            since_ms = i64::MIN;
            continue;
        }
        if rescan {
            since_ms = i64::MIN;
        }
        let looked = look(&app, &watched, &mut since_ms, &mut renewed).await;
        match &looked {
            // The next look asks for the same again; it is said once, not twice a second.
            Err(problem) if !failing => tracing::warn!("live values: {}", problem.detail()),
            Ok(()) if failing => tracing::info!("live values flow again"),
            _ => {}
        }
        failing = looked.is_err();
    }
}

async fn look(
    app: &App,
    watched: &[LogRef],
    since_ms: &mut i64,
    renewed: &mut HashMap<LogRef, i64>,
) -> Answer<()> {
    let now_ms = app.now_ms();
    for log in watched {
        if renewed.get(log).is_none_or(|at| now_ms - at >= RENEW_MS) {
            let until_ms = now_ms.saturating_add(WATCH_MS);
            app.store
                .set_watch(Watch {
                    log: *log,
                    until_ms,
                })
                .await?;
            renewed.insert(*log, now_ms);
        }
    }
    let rows = app
        .store
        .live_changed_since(since_ms.saturating_sub(SKEW_MS))
        .await?;
    for row in rows {
        if watched.contains(&row.log) {
            let before = app.live.known(&[row.log]).pop();
            let told = before
                .as_ref()
                .map(|known| (known.event.size, known.event.version));
            if told != Some((row.size, row.version)) {
                let known = state_of(&app.store, &row, before, now_ms).await?;
                let event = Arc::clone(&known.event);
                {
                    let mut state = app
                        .live
                        .state
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner);
                    if state.watched.contains_key(&row.log) {
                        state.known.insert(row.log, known);
                    }
                }
                // Nobody listening is no failure.
                drop(app.live.sender.send(event));
            }
        }
        *since_ms = row.changed_ms.max(*since_ms);
    }
    Ok(())
}

/// The state of a log as a row of the store tells it.
async fn state_of(
    store: &Store,
    row: &LiveRow,
    before: Option<Known>,
    now_ms: i64,
) -> Answer<Known> {
    // Control entries, streams and how far they are sealed change only when the log grows.
    let (facts, sealed) = match before.filter(|before| before.event.size == row.size) {
        Some(before) => (before.facts, before.event.sealed.clone()),
        None => {
            let log = store
                .log(row.log)
                .await?
                .ok_or_else(|| Problem::not_found("log"))?;
            let facts = Facts::load(store, log).await?;
            let sealed = sealed(store, &facts).await?;
            (Arc::new(facts), sealed)
        }
    };
    let event = Arc::new(event(row, &facts, sealed, now_ms));
    Ok(Known { event, facts })
}

async fn sealed(store: &Store, facts: &Facts) -> Answer<Vec<SealedTo>> {
    let mut sealed = Vec::new();
    for stream in facts
        .config()
        .iter()
        .flat_map(|config| &config.config.streams)
    {
        let to_ms = walk::latest(store, facts, stream.id).await?;
        sealed.push(SealedTo {
            stream: stream.id,
            to_ms,
        });
    }
    Ok(sealed)
}

/// Where to go on.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LiveQuery {
    /// The id of the last event seen; browsers send it as the header `Last-Event-ID`.
    last_event_id: Option<String>,
}

/// Live values as server-sent events: one event per change of a log, named `log`, its data a
/// `LiveEvent`. The event id names the state of all logs (`<log>=<size>.<version>,…`); given back as
/// `Last-Event-ID` only what changed since is told. The stream ends after five minutes: come again.
#[utoipa::path(get, path = "/v1/projects/{project}/live", tag = "live",
    params(("project" = String, Path, description = "The project's id"), LiveQuery),
    responses((status = 200, body = LiveEvent, content_type = "text/event-stream"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn live(
    State(app): State<Shared>,
    scope: Scope,
    headers: HeaderMap,
    query: Asked<LiveQuery>,
) -> Answer<Sse<impl futures_util::Stream<Item = Result<Event, Infallible>>>> {
    let query = asked(query)?;
    let header = headers
        .get("last-event-id")
        .and_then(|value| value.to_str().ok());
    let seen = Seen::parse(
        header
            .or(query.last_event_id.as_deref())
            .unwrap_or_default(),
    );
    let logs = scope
        .logs(&app)
        .await?
        .into_iter()
        .map(|log| log.log)
        .collect();
    let (sender, receiver) = mpsc::channel(8);
    tokio::spawn(feed(app, logs, seen, sender));
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()))
}

/// The states that a stream's reader has been told.
#[derive(Debug, Default, PartialEq)]
struct Seen(BTreeMap<String, (u64, u64)>);

impl Seen {
    /// Reads an event id; what is not one is as if nothing was seen.
    fn parse(text: &str) -> Self {
        let pairs = text.split(',').filter_map(|pair| {
            let (log, state) = pair.split_once('=')?;
            let (size, version) = state.split_once('.')?;
            Some((log.to_owned(), (size.parse().ok()?, version.parse().ok()?)))
        });
        Self(pairs.collect())
    }

    /// Takes an event in; `false` if it was told before.
    fn take(&mut self, log: LogId, event: &LiveEvent) -> bool {
        let state = (event.size, event.version);
        self.0.insert(log.to_hex(), state) != Some(state)
    }

    fn id(&self) -> String {
        let pairs = self
            .0
            .iter()
            .map(|(log, (size, version))| format!("{log}={size}.{version}"));
        pairs.collect::<Vec<_>>().join(",")
    }
}

/// Feeds one stream until its reader leaves, the server stops or its time is over.
async fn feed(
    app: Shared,
    logs: Vec<LogRef>,
    mut seen: Seen,
    sender: mpsc::Sender<Result<Event, Infallible>>,
) {
    let ids: BTreeMap<String, LogId> = logs.iter().map(|at| (at.log.to_hex(), at.log)).collect();
    seen.0.retain(|log, _| ids.contains_key(log));
    // Listening begins before the present state is read, so nothing falls between.
    let mut changes = app.live.sender.subscribe();
    let watching = watch(&app, &logs);
    let stop = app.live.stop.clone();
    let ends = tokio::time::sleep(STREAM_FOR);
    tokio::pin!(ends);
    let mut pending: Vec<Arc<LiveEvent>> = Vec::new();
    pending.extend(app.live.events(&logs));
    loop {
        for event in pending.drain(..) {
            let Some(log) = ids.get(&event.log) else {
                continue;
            };
            if !seen.take(*log, &event) {
                continue;
            }
            let told = Event::default()
                .event("log")
                .id(seen.id())
                .json_data(&*event);
            let Ok(told) = told else { continue };
            if sender.send(Ok(told)).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = sender.closed() => break,
            () = stop.cancelled() => break,
            () = &mut ends => break,
            change = changes.recv() => match change {
                Ok(event) => pending.push(event),
                // Too slow for all of it: the newest states are all that matters.
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    pending.extend(app.live.events(&logs));
                }
                Err(broadcast::error::RecvError::Closed) => break,
            },
        }
    }
    drop(watching);
}

#[cfg(test)]
mod tests {
    use super::Seen;

    #[test]
    fn an_event_id_is_read_as_it_was_written_and_nonsense_is_nothing() {
        let seen = Seen::parse("aa=12.3,bb=0.1");
        assert_eq!(seen.id(), "aa=12.3,bb=0.1");
        assert_eq!(Seen::parse("?"), Seen::default());
        assert_eq!(Seen::parse(""), Seen::default());
    }
}
