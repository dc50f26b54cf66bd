//! The demo: a simulated site, a gateway, a collector and the API as tasks that talk over real
//! sockets; then a past month, its report, its bundle, and what becomes of an altered byte.
//!
//! Everything it keeps is in one directory. A second start goes on where the first stopped; deleting
//! the directory begins anew.

mod api;
mod daemons;
mod past;
mod places;
mod proof;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context as _;
use clap::Parser;
use tokio_util::sync::CancellationToken;
use verifier_api::Role;

use api::Api;
use daemons::Daemons;
use places::Places;

use crate::plant::machine_clock;

/// Project whose values are live.
const LIVE_PROJECT: (&str, &str) = ("DEMO-LIVE", "Simulated CO2 injection, live");
/// Project of the past period.
const PAST_PROJECT: (&str, &str) = ("DEMO-PAST", "Simulated CO2 injection, a past period");
/// Seed of the plant: the same at every start, or its counters would jump.
const SEED: u64 = 2026;

/// Starts a simulated CO2 injection site and the whole of Fieldseal around it.
#[derive(Debug, Clone, Parser)]
#[command(name = "demo", max_term_width = 100)]
pub struct Options {
    /// Where everything is kept; delete it to begin anew.
    #[arg(long, default_value = "demo-data")]
    pub directory: PathBuf,
    /// Days of the past period.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=365))]
    pub days: u16,
    /// Port of the API and its pages; without it 8443, or a free one where that is taken.
    #[arg(long)]
    pub port: Option<u16>,
    /// Ends after the last step instead of waiting for Ctrl-C.
    #[arg(long)]
    pub once: bool,
}

/// Runs until `stop` is cancelled (or, with `once`, until everything was shown), then stops every
/// part in order.
///
/// # Errors
///
/// The first step that failed, with its causes. What had been started is stopped first.
pub async fn run(options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    let begun = Instant::now();
    let begun_ms = machine_clock()();
    let places = Places::open(&options.directory, options.port)?;
    say(&format!(
        "Everything is kept in {}; delete it to begin anew.",
        places.root().display()
    ));
    let daemons = Daemons::start(&places).await?;
    let shown = tokio::select! {
        shown = show(&options, &places, &daemons, (begun, begun_ms)) => shown,
        () = stop.cancelled() => Ok(()),
    };
    if shown.is_ok() && !options.once && !stop.is_cancelled() {
        say("\nEverything goes on running. Ctrl-C stops it; another start goes on from there.");
        tokio::select! {
            () = stop.cancelled() => {}
            failed = daemons.failed() => say(&format!("A part stopped by itself: {failed}")),
        }
    }
    say(
        "\nStopping: the gateway seals what is open, then the API, the collector and the plant end.",
    );
    let stopped = daemons.stop().await;
    shown?;
    stopped?;
    say("Stopped.");
    Ok(())
}

async fn show(
    options: &Options,
    places: &Places,
    daemons: &Daemons,
    (begun, begun_ms): (Instant, i64),
) -> anyhow::Result<()> {
    heading("1. A live site");
    say(&format!(
        "Five meters answer over Modbus TCP, a gas analyser and a thermometer publish through \
         Mosquitto.\nThe gateway polls every 2 s, seals every 10 s, and delivers over TLS to the \
         collector, which\nchecks, stores and cosigns. Its log is `{}`, now at entry {}.",
        daemons::LIVE_ORIGIN,
        daemons.live_entries(),
    ));
    let live = daemons.live_plan();
    daemons
        .apply(&live, "demonstration")
        .await
        .context("apply the live project's plan")?;
    // The person reads everything, as the implementation entity would; reports are a preparer's.
    let token = daemons.token(Role::Supervisor, &[]).await?;
    let api = Api::new(places, daemons.api_port(), &token)?;
    say(&format!(
        "\n    watch:  https://localhost:{}/projects/{}\n    token:  {token}\n\n\
         The certificate is self-signed: the browser asks once. The page shows each value, its age, \
         and\nwhether it is sealed yet; and today's reductions, provisional.",
        daemons.api_port(),
        LIVE_PROJECT.0,
    ));
    let seen = api.first_live_value(LIVE_PROJECT.0, begun_ms).await?;
    say(&format!(
        "First live value, {:.1} s after the start: {} = {} {}, measured {:.1} s before it was \
         here.",
        begun.elapsed().as_secs_f64(),
        seen.name,
        seen.value,
        seen.unit,
        seen.age_s,
    ));

    heading("2. A past period, made by the same gateway code with the clock as a value");
    let past = past::prepare(options, places, daemons).await?;
    daemons
        .apply(&past.plan, "demonstration")
        .await
        .context("apply the past project's plan")?;
    let preparing = daemons.token(Role::Preparer, &[PAST_PROJECT.0]).await?;
    let api = Api::new(places, daemons.api_port(), &preparing)?;

    heading("3. The monitoring report");
    let report = api.report(PAST_PROJECT.0, &past.from, &past.to).await?;
    say(&report.summary);
    say(&format!(
        "\n    report: https://localhost:{}/projects/{}",
        daemons.api_port(),
        PAST_PROJECT.0,
    ));

    heading("4. The evidence bundle, verified offline");
    let bundle = places.proof().join("bundle.tar");
    let bytes = api.bundle(PAST_PROJECT.0, &report.id, &bundle).await?;
    say(&format!(
        "{bytes} bytes in {}. The verifier brings the plan, the log's key and the witness policy from \
         his\nown disk; the bundle is trusted in nothing.\n",
        bundle.display()
    ));
    proof::verify_and_alter(places, &past, &daemons.cosigner_vkey(), &bundle).await
}

#[expect(clippy::print_stdout, reason = "the demo speaks to a person")]
fn say(text: &str) {
    println!("{text}");
}

fn heading(text: &str) {
    say(&format!("\n── {text} ──\n"));
}
