//! Live values over server-sent events.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::Response;
use serde_json::{Value, json};
use verifier_api::Role;

use crate::bed::{Bed, PROJECT, of_project};

/// Reads events off a stream.
pub(crate) struct Events {
    answer:
        std::pin::Pin<Box<dyn futures_util::Stream<Item = reqwest::Result<bytes::Bytes>> + Send>>,
    text: String,
}

impl Events {
    fn new(answer: Response) -> Self {
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self {
            answer: Box::pin(answer.bytes_stream()),
            text: String::new(),
        }
    }

    /// The next event of the kind `log`: id and data.
    async fn next(&mut self) -> (String, Value) {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    event
                        .lines()
                        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                };
                let found = field("data").map(|data| {
                    assert_eq!(field("event"), Some("log"));
                    (
                        field("id").unwrap().to_owned(),
                        serde_json::from_str(data).unwrap(),
                    )
                });
                self.text = rest.to_owned();
                match found {
                    Some(found) => return found,
                    None => continue, // a sign of life
                }
            }
            let more = tokio::time::timeout(Duration::from_secs(20), self.answer.next()).await;
            let more = more
                .expect("an event within 20 s")
                .expect("the stream goes on")
                .unwrap();
            self.text.push_str(std::str::from_utf8(&more).unwrap());
        }
    }
}

fn post(seq: u64, at_ms: i64, value: &str) -> String {
    json!({
        "seq": seq, "unix_ms": at_ms + 300,
        "points": [
            { "name": "aux.power", "value": value, "unit": "kW", "quality": "good", "tick_unix_ms": at_ms },
            { "name": "ambient.temperature", "value": null, "unit": "°C", "quality": "timeout", "tick_unix_ms": at_ms },
        ],
    })
    .to_string()
}

async fn listen(bed: &Bed, token: &str, last: Option<&str>) -> Events {
    let mut request = bed.get(token, &of_project("/live"));
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    Events::new(request.send().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_value_turns_sealed_when_its_entry_is_cosigned() {
    let mut bed = Bed::with_readings().await;
    let token = bed.token(Role::Participant, &[PROJECT]).await;
    let mut events = listen(&bed, &token, None).await;
    let (_, first) = events.next().await;
    assert_eq!(
        (&first["size"], &first["version"]),
        (&json!(bed.plant.size()), &json!(0))
    );
    assert_eq!(first["points"], json!([]));
    assert_eq!(
        first["sealed"],
        json!([{ "stream": 0, "to_ms": bed.plant.now_ms() }])
    );

    let at_ms = bed.plant.now_ms();
    bed.store
        .put_live(bed.plant.at, &post(1, at_ms, "12.07"), at_ms + 400)
        .await
        .unwrap();
    let (_, live) = events.next().await;
    assert_eq!(
        live["points"],
        json!([
            { "name": "aux.power", "value": "12.07", "unit": "kW", "quality": "good", "time_ms": at_ms, "sealed": false },
            { "name": "ambient.temperature", "value": null, "unit": "°C", "quality": "timeout", "time_ms": at_ms, "sealed": false },
        ])
    );
    bed.plant.measure(1, &BTreeMap::new());
    let now_ms = bed.plant.now_ms();
    bed.clock.set(now_ms);
    bed.plant.upload(&bed.store, now_ms).await;
    let (_, sealed) = events.next().await;
    assert_eq!(sealed["size"], json!(bed.plant.size()));
    assert_eq!(sealed["points"][0]["sealed"], json!(true));
    bed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_comes_again_is_told_only_what_changed_since() {
    let bed = Bed::with_readings().await;
    let token = bed.token(Role::Supervisor, &[]).await;
    let at_ms = bed.plant.now_ms();
    bed.store
        .put_live(bed.plant.at, &post(1, at_ms, "1.00"), at_ms)
        .await
        .unwrap();
    let mut events = listen(&bed, &token, None).await;
    let (id, first) = events.next().await;
    assert_eq!(first["version"], json!(1));
    assert_eq!(
        id,
        format!("{}={}.1", bed.plant.at.log.to_hex(), bed.plant.size())
    );
    drop(events);

    let mut again = listen(&bed, &token, Some(&id)).await;
    bed.store
        .put_live(bed.plant.at, &post(2, at_ms, "2.00"), at_ms + 1)
        .await
        .unwrap();
    let (_, second) = again.next().await;
    assert_eq!(second["version"], json!(2), "version 1 is not told again");
    bed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watching_tells_the_gateway_to_post_fast() {
    let bed = Bed::with_readings().await;
    assert_eq!(bed.store.watched_until(bed.plant.at).await.unwrap(), 0);
    let token = bed.token(Role::Participant, &[PROJECT]).await;
    let mut events = listen(&bed, &token, None).await;
    events.next().await;
    let until = bed.store.watched_until(bed.plant.at).await.unwrap();
    assert_eq!(until, bed.clock.now() + 30_000);
    bed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_server_ends_its_streams_at_once() {
    let bed = Bed::with_readings().await;
    let token = bed.token(Role::Participant, &[PROJECT]).await;
    let mut events = listen(&bed, &token, None).await;
    events.next().await;
    let began = std::time::Instant::now();
    bed.end().await;
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "the stream held the shutdown back"
    );
}
