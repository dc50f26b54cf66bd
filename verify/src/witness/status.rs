//! `witness status`: what is held, for people and as JSON.

use evidence::note::Vkey;
use quantification::period::utc;
use serde::Serialize;

use super::state::{LogState, State, StateError};

/// What `status` says.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    witness: String,
    logs: Vec<LogReport>,
}

#[derive(Debug, Serialize)]
struct LogReport {
    origin: String,
    size: u64,
    /// Base64, as in a checkpoint.
    root: String,
    /// `null` before the first.
    cosigned_unix_s: Option<u64>,
    age_s: Option<i64>,
    refused: Vec<RefusedReport>,
}

#[derive(Debug, Serialize)]
struct RefusedReport {
    seen: u64,
    last_unix_s: u64,
    reason: String,
}

impl Report {
    pub(super) async fn read(state: &State, vkey: &Vkey, now_s: i64) -> Result<Self, StateError> {
        let logs = state.logs().await?;
        Ok(Self {
            witness: vkey.to_string(),
            logs: logs
                .into_iter()
                .map(|log| LogReport::of(log, now_s))
                .collect(),
        })
    }

    pub(super) fn text(&self) -> String {
        let mut text = format!("witness  {}\n", self.witness);
        if self.logs.is_empty() {
            text.push_str("no log yet; `fieldseal-verify witness log add KEY` adds one\n");
        }
        for log in &self.logs {
            let when = match (log.cosigned_unix_s, log.age_s) {
                (Some(at_s), Some(age_s)) => {
                    format!(
                        "size {}, cosigned {} ({})",
                        log.size,
                        moment(at_s),
                        age(age_s)
                    )
                }
                _ => "never cosigned: nobody has shown a checkpoint yet".to_owned(),
            };
            text.push_str(&format!("\n{}\n  {when}\n", log.origin));
            for refused in &log.refused {
                let (seen, last, reason) =
                    (refused.seen, moment(refused.last_unix_s), &refused.reason);
                text.push_str(&format!("  REFUSED {seen}x, last {last}: {reason}\n"));
            }
        }
        text
    }
}

impl LogReport {
    fn of(log: LogState, now_s: i64) -> Self {
        let cosigned = (log.cosigned_s > 0).then_some(log.cosigned_s);
        Self {
            origin: log.origin,
            size: log.size,
            root: log.root.to_base64(),
            cosigned_unix_s: cosigned,
            age_s: cosigned
                .map(|at_s| now_s.saturating_sub(i64::try_from(at_s).unwrap_or(i64::MAX))),
            refused: log
                .refused
                .into_iter()
                .map(|refused| RefusedReport {
                    seen: refused.seen,
                    last_unix_s: refused.last_s,
                    reason: refused.reason,
                })
                .collect(),
        }
    }
}

fn moment(unix_s: u64) -> String {
    utc(i64::try_from(unix_s).unwrap_or(0).saturating_mul(1000))
}

fn age(s: i64) -> String {
    match s {
        ..0 => "in the future: check the clock".to_owned(),
        0..120 => format!("{s} s ago"),
        120..7200 => format!("{} min ago", s / 60),
        7200..172_800 => format!("{} h ago", s / 3600),
        _ => format!("{} days ago", s / 86_400),
    }
}
