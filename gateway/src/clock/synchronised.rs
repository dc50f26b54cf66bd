//! Asks the machine's time daemons whether the system clock is synchronised.
//!
//! The kernel's own answer (`adjtimex`) has no safe binding, so it is read through the programs
//! that read it: `chronyc` (with an error bound), the mark that systemd-timesyncd sets once per
//! boot, and `timedatectl`, which reports the kernel's flag whoever set it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// Set by systemd-timesyncd after the first synchronisation of this boot; `/run` is empty at boot.
const TIMESYNCD_MARK: &str = "/run/systemd/timesync/synchronized";

/// Error assumed where the source states none, in milliseconds.
const ASSUMED_ERROR_MS: u64 = 500;

const PATIENCE: Duration = Duration::from_secs(2);

/// The estimated error of the system clock in milliseconds, or `None` when nobody says that it is
/// synchronised.
pub(super) async fn error_ms() -> Option<u64> {
    if let Some(tracking) = output("chronyc", &["-c", "tracking"]).await
        && let Some(error_ms) = chrony_error_ms(&tracking)
    {
        return Some(error_ms);
    }
    if Path::new(TIMESYNCD_MARK).exists() {
        return Some(ASSUMED_ERROR_MS);
    }
    let flag = output(
        "timedatectl",
        &["show", "--property=NTPSynchronized", "--value"],
    )
    .await?;
    (flag.trim() == "yes").then_some(ASSUMED_ERROR_MS)
}

/// Standard output of a program that ended well within the patience; `None` otherwise.
async fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let run = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, run).await.ok()?.ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Reads `chronyc -c tracking`: 14 fields, root delay in 11, root dispersion in 12 (seconds), leap
/// status last.
///
/// The error is chrony's own bound: |system offset| + root dispersion + root delay / 2.
fn chrony_error_ms(tracking: &str) -> Option<u64> {
    let fields: Vec<&str> = tracking.trim().split(',').collect();
    let leap = *fields.get(13)?;
    if leap == "Not synchronised" {
        return None;
    }
    let seconds = |index: usize| {
        fields
            .get(index)
            .and_then(|field| field.parse::<f64>().ok())
    };
    let error_s = seconds(4)?.abs() + seconds(11)? + seconds(10)? / 2.0;
    if !(0.0..86_400.0).contains(&error_s) {
        return None;
    }
    u64::try_from(Duration::from_secs_f64(error_s).as_millis())
        .ok()
        .map(|ms| ms + 1)
}

#[cfg(test)]
mod tests {
    use super::chrony_error_ms;

    #[test]
    fn chrony_states_its_error() {
        let tracking = "C0A80101,192.168.1.1,3,1700000000.123456789,-0.000120,0.000010,0.000300,\
                        -12.5,0.001,0.05,0.020,0.0015,64.0,Normal";
        assert_eq!(chrony_error_ms(tracking), Some(12));
    }

    #[test]
    fn an_unsynchronised_or_unknown_answer_is_no_trust() {
        let unsynchronised = "00000000,,0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,1.0,1.0,0.0,Not synchronised";
        assert_eq!(chrony_error_ms(unsynchronised), None);
        assert_eq!(chrony_error_ms("506 Cannot talk to daemon"), None);
    }
}
