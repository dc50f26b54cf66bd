//! The demo as a client of the API, over TLS like any other.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures_util::StreamExt as _;
use reqwest::{Certificate, Client, StatusCode};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use super::places::Places;
use crate::plant::machine_clock;

/// A client with a token.
pub(super) struct Api {
    client: Client,
    base: String,
    token: String,
}

/// A live value as it arrived.
pub(super) struct LiveValue {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) unit: String,
    /// Seconds from the beginning of its tick until it was here.
    pub(super) age_s: f64,
}

/// A report that is stored.
pub(super) struct StoredReport {
    pub(super) id: String,
    /// Its figures in words.
    pub(super) summary: String,
}

impl Api {
    pub(super) fn new(places: &Places, port: u16, token: &str) -> anyhow::Result<Self> {
        let certificate = std::fs::read(places.api().join("cert.pem"))?;
        let client = Client::builder()
            .tls_certs_only([Certificate::from_pem(&certificate)?])
            .build()?;
        Ok(Self {
            client,
            base: format!("https://localhost:{port}"),
            token: token.to_owned(),
        })
    }

    fn address(&self, project: &str, rest: &str) -> String {
        format!("{}/v1/projects/{project}/{rest}", self.base)
    }

    async fn get(&self, url: &str) -> anyhow::Result<reqwest::Response> {
        let response = self.client.get(url).bearer_auth(&self.token).send().await?;
        checked(response).await
    }

    /// Watches the live events until one carries a good value measured after an instant: what an
    /// earlier start left behind does not count.
    pub(super) async fn first_live_value(
        &self,
        project: &str,
        after_ms: i64,
    ) -> anyhow::Result<LiveValue> {
        let watch = async {
            let response = self.get(&self.address(project, "live")).await?;
            let mut body = response.bytes_stream();
            let mut text = String::new();
            while let Some(piece) = body.next().await {
                text += &String::from_utf8_lossy(&piece?);
                while let Some((event, rest)) = text.split_once("\n\n") {
                    let found = value_of(event, after_ms);
                    text = rest.to_owned();
                    if let Some(found) = found {
                        return Ok(found);
                    }
                }
            }
            bail!("the stream of live values ended")
        };
        tokio::time::timeout(Duration::from_secs(60), watch)
            .await
            .context("no live value within 60 s")?
    }

    /// Asks for the report of a period and waits for it.
    pub(super) async fn report(
        &self,
        project: &str,
        from: &str,
        to: &str,
    ) -> anyhow::Result<StoredReport> {
        let asked = self
            .client
            .post(self.address(project, "reports"))
            .bearer_auth(&self.token)
            .json(&json!({ "from": from, "to": to }))
            .send()
            .await?;
        let mut view: Value = checked(asked).await?.json().await?;
        let id = view["id"]
            .as_str()
            .context("the report has no id")?
            .to_owned();
        let url = self.address(project, &format!("reports/{id}"));
        let version = loop {
            match view["job"]["state"].as_str() {
                Some("done") => break view["job"]["version"].clone(),
                Some("failed") => bail!("the report failed: {}", view["job"]["problem"]),
                _ => tokio::time::sleep(Duration::from_millis(200)).await,
            }
            view = self.get(&url).await?.json().await?;
        };
        let report: Value = self
            .get(&format!("{url}/report.json"))
            .await?
            .json()
            .await?;
        Ok(StoredReport {
            id,
            summary: summary(&report, from, to, &version),
        })
    }

    /// Downloads a report's bundle and returns its size.
    pub(super) async fn bundle(
        &self,
        project: &str,
        report: &str,
        file: &Path,
    ) -> anyhow::Result<u64> {
        let url = self.address(project, &format!("reports/{report}/bundle.tar"));
        let mut body = self.get(&url).await?.bytes_stream();
        let mut out = tokio::fs::File::create(file).await?;
        let mut bytes = 0;
        while let Some(piece) = body.next().await {
            let piece = piece.context("the bundle broke off")?;
            bytes += u64::try_from(piece.len())?;
            out.write_all(&piece).await?;
        }
        out.flush().await?;
        Ok(bytes)
    }
}

async fn checked(response: reqwest::Response) -> anyhow::Result<reqwest::Response> {
    let status = response.status();
    if status.is_success() || status == StatusCode::ACCEPTED {
        return Ok(response);
    }
    let url = response.url().clone();
    bail!("{url} answered {status}: {}", response.text().await?)
}

/// The first good value of an event that is new, if it carries one.
fn value_of(event: &str, after_ms: i64) -> Option<LiveValue> {
    let data: String = event
        .lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .collect();
    let event: Value = serde_json::from_str(&data).ok()?;
    let point = event["points"].as_array()?.iter().find(|point| {
        let is_new = point["time_ms"].as_i64().is_some_and(|at| at > after_ms);
        is_new && point["value"].is_string() && point["quality"] == "good"
    })?;
    let measured_ms = point["time_ms"].as_i64()?;
    let age_ms = u32::try_from(machine_clock()() - measured_ms).unwrap_or(0);
    Some(LiveValue {
        name: point["name"].as_str()?.to_owned(),
        value: point["value"].as_str()?.to_owned(),
        unit: point["unit"].as_str()?.to_owned(),
        age_s: f64::from(age_ms) / 1_000.0,
    })
}

fn summary(report: &Value, from: &str, to: &str, version: &Value) -> String {
    let plain = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let totals = &report["totals"];
    format!(
        "{from} to {to}, version {version}:\n\
         \x20   reference emissions   {} tCO2\n\
         \x20   project emissions     {} tCO2\n\
         \x20   emission reductions   {} tCO2, credited {} whole tonnes\n\
         The factors are examples: a demo plan accepts them, a registered one does not.",
        plain(&totals["re"]),
        plain(&totals["pe"]),
        plain(&totals["er"]),
        plain(&report["rounding"]["er"]),
    )
}
