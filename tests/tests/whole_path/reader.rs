//! A reader of the API: reports, bundles, live values.

use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};
use system_tests::gateway_config::ZONE;
use system_tests::plant::machine_clock;

use crate::bed::{Bed, eventually, write};

/// A project and a token for it.
pub(crate) struct Reader {
    pub(crate) project: String,
    token: String,
}

/// The end of the last local day that was over ten minutes ago, and that day's date.
pub(crate) fn last_day() -> (i64, String) {
    let zone = TimeZone::get(ZONE).unwrap();
    let now = Timestamp::from_millisecond(machine_clock()() - 600_000).unwrap();
    let today = now.to_zoned(zone.clone()).date();
    let midnight = today.to_zoned(zone).unwrap().timestamp().as_millisecond();
    (midnight, today.checked_sub(1.days()).unwrap().to_string())
}

/// Today's date where the plant stands.
pub(crate) fn today() -> String {
    let zone = TimeZone::get(ZONE).unwrap();
    let now = Timestamp::from_millisecond(machine_clock()()).unwrap();
    now.to_zoned(zone).date().to_string()
}

impl Reader {
    /// Applies a plan as its operator does, as soon as the collector has what it names.
    pub(crate) async fn of_plan(bed: &Bed, project: &str, plan: &str) -> Self {
        let file = bed.dir.path().join(format!("{project}.plan.toml"));
        write(&file, plan);
        let file = file.display().to_string();
        let mut last = String::new();
        eventually("a plan that applies", async || {
            let command = ["plan", "apply", &file, "--decision", "the test's"];
            match bed.api_command(&command).await {
                Ok(_) => Some(()),
                Err(error) => {
                    let text = error.to_string();
                    if text != last {
                        println!("{text}");
                        last = text;
                    }
                    None
                }
            }
        })
        .await;
        let create = [
            "token", "create", "--label", "test", "--role", "preparer", "--days", "2",
        ];
        let command: Vec<&str> = create.into_iter().chain(["--project", project]).collect();
        let token = bed.api_command(&command).await.unwrap();
        Self {
            project: project.to_owned(),
            token: token.trim().to_owned(),
        }
    }

    fn address(&self, bed: &Bed, rest: &str) -> String {
        format!("{}/v1/projects/{}/{rest}", bed.api().1, self.project)
    }

    async fn json(&self, bed: &Bed, rest: &str) -> Option<Value> {
        let request = bed
            .api()
            .0
            .get(self.address(bed, rest))
            .bearer_auth(&self.token);
        let response = request.send().await.ok()?.error_for_status().ok()?;
        response.json().await.ok()
    }

    /// Asks for a report; the API may die before it is made.
    pub(crate) async fn ask(&self, bed: &Bed, from: &str, to: &str) -> bool {
        let request = bed
            .api()
            .0
            .post(self.address(bed, "reports"))
            .bearer_auth(&self.token);
        let answer = request
            .json(&json!({ "from": from, "to": to }))
            .send()
            .await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// Makes the report of a period and returns its id and itself.
    pub(crate) async fn report(&self, bed: &Bed, from: &str, to: &str) -> (String, Value) {
        let request = bed
            .api()
            .0
            .post(self.address(bed, "reports"))
            .bearer_auth(&self.token);
        let answer = request
            .json(&json!({ "from": from, "to": to }))
            .send()
            .await
            .unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert_eq!(status.as_u16(), 202, "{text}");
        let view: Value = serde_json::from_str(&text).unwrap();
        let id = view["id"].as_str().unwrap().to_owned();
        let mut seen = Value::Null;
        let done = eventually("the report", async || {
            seen = self.json(bed, &format!("reports/{id}")).await?;
            (seen["job"]["state"] != "running").then(|| seen["job"].clone())
        })
        .await;
        assert_eq!(done["state"], "done", "{done}");
        let report = self
            .json(bed, &format!("reports/{id}/report.json"))
            .await
            .unwrap();
        (id, report)
    }

    pub(crate) async fn bundle(&self, bed: &Bed, report: &str) -> Vec<u8> {
        let rest = format!("reports/{report}/bundle.tar");
        let request = bed
            .api()
            .0
            .get(self.address(bed, &rest))
            .bearer_auth(&self.token);
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let bytes = answer.bytes().await.unwrap().to_vec();
        assert!(
            status.is_success(),
            "{status}: {}",
            String::from_utf8_lossy(&bytes)
        );
        bytes
    }

    /// Watches the live values.
    pub(crate) async fn live(&self, bed: &Bed) -> Events {
        let request = bed
            .api()
            .0
            .get(self.address(bed, "live"))
            .bearer_auth(&self.token);
        // The client's time-out is for whole answers; this one never ends by itself.
        let request = request.timeout(Duration::from_secs(290));
        let answer = request.send().await.unwrap().error_for_status().unwrap();
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Events {
            body: Box::pin(answer.bytes_stream()),
            text: String::new(),
        }
    }
}

type Pieces = dyn Stream<Item = reqwest::Result<axum::body::Bytes>> + Send;

/// Server-sent events.
pub(crate) struct Events {
    body: Pin<Box<Pieces>>,
    text: String,
}

impl Events {
    async fn next(&mut self) -> Value {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let data = event.lines().find_map(|line| line.strip_prefix("data: "));
                let found = data.map(|data| serde_json::from_str(data).unwrap());
                self.text = rest.to_owned();
                match found {
                    Some(found) => return found,
                    None => continue,
                }
            }
            let piece = self.body.next().await.expect("the stream goes on").unwrap();
            self.text.push_str(std::str::from_utf8(&piece).unwrap());
        }
    }

    /// Waits until a point shows this value; returns the point.
    pub(crate) async fn shows(&mut self, name: &str, value: &str) -> Value {
        self.until(name, |point| point["value"] == value).await
    }

    /// Waits until a point is as wanted.
    pub(crate) async fn until(&mut self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let waiting = async {
            loop {
                let event = self.next().await;
                let points = event["points"].as_array().unwrap();
                let found = points
                    .iter()
                    .find(|point| point["name"] == name && wanted(point));
                if let Some(point) = found {
                    return point.clone();
                }
            }
        };
        let waited = tokio::time::timeout(system_tests::processes::PATIENCE, waiting).await;
        waited.unwrap_or_else(|_late| panic!("{name} never came as wanted"))
    }
}
