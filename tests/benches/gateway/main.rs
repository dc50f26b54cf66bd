//! What the gateway costs the device it runs on, and what peers cost for the same work.
//!
//!     cargo build --release -p gateway -p collector
//!     cargo bench -p system-tests --bench gateway              # everything, about ten minutes
//!     cargo bench -p system-tests --bench gateway -- cost      # the gateway at 50 and 5,000 points × 1 Hz
//!     cargo bench -p system-tests --bench gateway -- peers     # beside a pymodbus script and collectd
//!
//! Gateway and collector are the release programs as processes of their own, so that the figures
//! are the kernel's about them alone; the meters and a relay that counts bytes are in this one. A
//! measurement begins up to a minute after the start, with the first whole segment.
//!
//! The peers are installed by
//!
//!     apt-get install collectd-core libmodbus5
//!     python3 -m venv venv && venv/bin/pip install pymodbus==3.16.1
//!     export FIELDSEAL_TEST_PYTHON=$PWD/venv/bin/python
//!
//! and left out with a line that says so where they are not.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod cost;
mod peers;
mod relay;
mod setup;
mod usage;

use std::process::ExitCode;
use std::time::Duration;

use system_tests::plant::machine_clock;
use system_tests::processes;

/// Seconds after a full minute in which its segment has certainly been delivered.
const DELIVERED_S: u64 = 5;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!(
            "A benchmark of minutes: run it with `cargo bench -p system-tests --bench gateway`."
        );
        return ExitCode::SUCCESS;
    }
    for program in ["fieldseal-gateway", "fieldseal-collector"] {
        if processes::path(program).is_err() {
            println!("{program} is not built: `cargo build --release -p gateway -p collector`");
            return ExitCode::FAILURE;
        }
    }
    let chosen = |part: &str| {
        let named = |name: &str| arguments.iter().any(|argument| argument == name);
        named(part) || !(named("cost") || named("peers"))
    };
    match measure(chosen("cost"), chosen("peers")).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(cost: bool, peers: bool) -> anyhow::Result<()> {
    if cost {
        for case in &cost::CASES {
            println!("{}", case.measure().await?);
        }
    }
    if peers {
        println!("{}", peers::compare().await?);
    }
    Ok(())
}

/// The segment that begins now is a part of a minute; the next is whole, and its delivery is within
/// what is measured from here on.
async fn until_a_whole_segment() -> anyhow::Result<()> {
    let now_s = u64::try_from(machine_clock()() / 1_000)?;
    let begin_s = (now_s / 60 + 1) * 60 + DELIVERED_S;
    tokio::time::sleep(Duration::from_secs(begin_s - now_s)).await;
    Ok(())
}

/// Counts of a minute are far below 2^53.
fn exact(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}
