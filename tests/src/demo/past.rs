//! The past period: made once, enrolled, delivered, and kept.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use gateway::buffer::LogReader;
use gateway::clock::{Clock, SystemClock, TimeSource};
use gateway::collector::Collector;
use gateway::config::GatewayConfig;
use gateway::delivery::{Delivery, DeliveryParts, Outcome, Progress};
use gateway::enrol::Enrolment;
use gateway::recorder::Software;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use ring::rand::SystemRandom;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::daemons::{Daemons, vkey};
use super::places::{Places, write};
use super::{Options, PAST_PROJECT, SEED, say};
use crate::gateway_config::{Points, ZONE, plan_text};
use crate::history::History;
use crate::plant::machine_clock;
use crate::site::Site;

const ORIGIN: &str = "demo.example/gw/past";
/// The log begins before the period and ends after it, so that both edges are proven.
const BEFORE_MS: i64 = 3_600_000;
const AFTER_MS: i64 = 1_800_000;

/// The past period, with what a verifier needs of it.
#[derive(Debug)]
pub(super) struct Past {
    /// First day, local.
    pub(super) from: String,
    /// Last day, included.
    pub(super) to: String,
    /// The text of the project's plan.
    pub(super) plan: String,
    /// The log's verification key.
    pub(super) vkey: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Made {
    from: String,
    to: String,
}

/// Makes the period unless an earlier start did, and delivers what the collector lacks.
pub(super) async fn prepare(
    options: &Options,
    places: &Places,
    daemons: &Daemons,
) -> anyhow::Result<Past> {
    let directory = places.past();
    let data_dir = directory.join("data");
    let config_file = directory.join("gateway.toml");
    let made_file = directory.join("made.json");
    let text = |data_dir: &Path| {
        let mut file = daemons
            .plant()
            .gateway_file(ORIGIN, data_dir, 10, Points::Plan);
        file.segment_s = 300;
        file.collector = Some((daemons.collector_url().to_owned(), None));
        file.text()
    };
    let made = if made_file.exists() {
        let bytes = std::fs::read(&made_file)?;
        let made: Made = serde_json::from_slice(&bytes).context("past/made.json")?;
        say(&format!(
            "{} to {} was made by an earlier start.",
            made.from, made.to
        ));
        made
    } else {
        let unfinished = directory.join("unfinished");
        if unfinished.exists() {
            std::fs::remove_dir_all(&unfinished)?;
        }
        let made = make(options, &text(&unfinished)).await?;
        // The commit point: from here on the log is never made again.
        #[expect(
            clippy::disallowed_methods,
            reason = "after a power cut the period is made again"
        )]
        std::fs::rename(&unfinished, &data_dir)?;
        write(&made_file, &serde_json::to_vec(&made)?)?;
        made
    };
    write(&config_file, text(&data_dir).as_bytes())?;
    daemons
        .enrol(&config_file, &data_dir, "Simulated wellpad, past")
        .await?;
    let config = GatewayConfig::load(&config_file)?;
    deliver(&config).await?;
    let vkey = vkey(&data_dir, ORIGIN)?;
    Ok(Past {
        plan: plan_text(PAST_PROJECT.0, PAST_PROJECT.1, ORIGIN, &vkey),
        from: made.from,
        to: made.to,
        vkey,
    })
}

async fn make(options: &Options, config: &str) -> anyhow::Result<Made> {
    let config = GatewayConfig::parse("gateway.toml", config)?;
    let (from, to, from_ms, to_ms) = period(options.days, machine_clock()())?;
    say(&format!(
        "{from} to {to}, {} days; five points every 10 s, the composition every minute. The samples \
         enter where\na device's would; nobody outside saw this log grow, so no cosignature is older \
         than now.",
        options.days
    ));
    let history = History {
        config,
        from_ms: u64::try_from(from_ms - BEFORE_MS)?,
        to_ms: u64::try_from(to_ms + AFTER_MS)?,
        publish_every_ms: 60_000,
    };
    let software = Software {
        version: concat!("fieldseal-gateway ", env!("CARGO_PKG_VERSION"), " (demo)").to_owned(),
        binary: evidence::hash::sha256(b"the demo"),
    };
    let begun = Instant::now();
    let mut days = 0_u32;
    let made = history
        .make(&Site::new(SEED), software, |_reached| {
            days += 1;
            if days.is_multiple_of(10) {
                say(&format!("  {days} days …"));
            }
        })
        .await?;
    say(&format!(
        "{} samples sealed in {} entries, in {:.1} s.",
        made.samples,
        made.entries,
        begun.elapsed().as_secs_f64()
    ));
    Ok(Made {
        from: from.to_string(),
        to: to.to_string(),
    })
}

/// The last whole days, local: first and last day, first instant and first instant after.
fn period(days: u16, now_ms: i64) -> anyhow::Result<(Date, Date, i64, i64)> {
    let zone = TimeZone::get(ZONE)?;
    let midnight = |date: Date| -> anyhow::Result<i64> {
        Ok(date.to_zoned(zone.clone())?.timestamp().as_millisecond())
    };
    let now = Timestamp::from_millisecond(now_ms)?;
    let mut after = now.to_zoned(zone.clone()).date();
    // What follows the period must be in the past too.
    if midnight(after)? + AFTER_MS > now_ms {
        after = after.yesterday()?;
    }
    let from = after.checked_sub(i64::from(days).days())?;
    Ok((from, after.yesterday()?, midnight(from)?, midnight(after)?))
}

/// Delivers the log as its gateway would, until everything is cosigned.
async fn deliver(config: &GatewayConfig) -> anyhow::Result<()> {
    let enrolment = Enrolment::load(&config.data_dir)?.context("the past log is not enrolled")?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new(TimeSource::TrustSystem));
    let address = config.collector.as_ref().context("no collector")?;
    let client = Collector::new(
        address,
        &config.origin,
        enrolment.pin(),
        Some(enrolment.token.clone()),
        Arc::clone(&clock),
    )?;
    let reader = LogReader::of_dir(&config.data_dir.join("log")).await?;
    let entries = reader.bounds().1;
    let (_keep, released) = watch::channel(entries);
    let outcome = Outcome::load(&config.data_dir);
    let mut delivery = Delivery::new(DeliveryParts {
        collector: client,
        origin: config.origin.clone(),
        independent: Vec::new(),
        witness: enrolment.witness()?,
        reader,
        released,
        outcome: outcome.clone(),
        data_dir: config.data_dir.clone(),
        clock: Arc::clone(&clock),
        random: Arc::new(SystemRandom::new()),
    });
    let begun = Instant::now();
    loop {
        match delivery.step().await {
            Progress::Idle => break,
            Progress::Sent(_) => {}
            Progress::Wait(ms) => {
                let status = outcome.snapshot();
                if status.refused {
                    anyhow::bail!(
                        "the collector refuses: {}",
                        status.error.unwrap_or_default()
                    );
                }
                clock.sleep_until_monotonic(clock.monotonic_ms() + ms).await;
            }
        }
    }
    say(&format!(
        "Delivered over TLS, every entry checked by the collector, stored and cosigned: {entries} \
         entries, {:.1} s.",
        begun.elapsed().as_secs_f64()
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_period_is_whole_local_days_that_are_over() {
        // 2026-03-10T18:00+07:00
        let now = Timestamp::from_second(1_773_140_400)
            .unwrap()
            .as_millisecond();
        let (from, to, from_ms, to_ms) = period(30, now).unwrap();
        assert_eq!(
            (from.to_string(), to.to_string()),
            ("2026-02-08".into(), "2026-03-09".into())
        );
        assert_eq!(to_ms - from_ms, 30 * 86_400_000);
        assert_eq!((from_ms + 7 * 3_600_000) % 86_400_000, 0);
    }

    #[test]
    fn just_after_midnight_the_period_ends_a_day_earlier() {
        // 2026-03-10T00:10+07:00
        let now = Timestamp::from_second(1_773_076_200)
            .unwrap()
            .as_millisecond();
        let (_, to, _, _) = period(1, now).unwrap();
        assert_eq!(to.to_string(), "2026-03-08");
    }
}
