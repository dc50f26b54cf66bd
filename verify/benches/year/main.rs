//! A synthetic year of 50 points at 1 Hz, written as a bundle, verified and recomputed by the program itself.
//!
//! `cargo bench -p verify`; `FIELDSEAL_BENCH_DAYS=30` for less than a year, `FIELDSEAL_BENCH_DIR` for
//! where the bundle (4.4 MB a day) is written, `FIELDSEAL_BENCH_PYTHON=1` to run the second
//! implementation over it as well. Printed are times, memory, and ratios to what the same machine needs at
//! least: signatures, hashes and decoding of the bundle's own bytes in bare loops in this very run. No plan uses
//! the density of carbon dioxide yet; how many a second one core solves stands apart.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark may panic and prints its result"
)]

mod limit;
mod site;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// The target: a year on two cores.
const MOST_SECONDS_A_YEAR: f64 = 20.0;
const MOST_MEGABYTES: f64 = 256.0;

struct Run {
    seconds: f64,
    megabytes: f64,
    output: String,
    exit: Option<i32>,
}

fn main() {
    let wanted = std::env::var("FIELDSEAL_BENCH_DAYS");
    // `cargo bench` says so; a test run over all targets must not make a year.
    if wanted.is_err() && !std::env::args().any(|argument| argument == "--bench") {
        println!("run `cargo bench -p verify`");
        return;
    }
    let days: u32 = wanted.map_or(365, |days| days.parse().unwrap());
    let kept = tempfile::tempdir().unwrap();
    let dir = std::env::var("FIELDSEAL_BENCH_DIR")
        .map_or_else(|_| kept.path().to_path_buf(), PathBuf::from);
    let begun = Instant::now();
    let made = site::write(&dir, days);
    println!(
        "made: {days} days, {} entries, {} readings, bundle {:.3} GB, {:.3} bytes/reading, in {:.0} s",
        made.entries,
        made.readings,
        gigabytes(made.bytes),
        ratio(made.bytes, made.readings),
        begun.elapsed().as_secs_f64()
    );
    let bundle = dir.join("bundle.tar");
    let limit = limit::measure(&bundle);
    println!(
        "bare limit on one core: {:.1} us an entry = {:.1} signature + {:.1} hashing + {:.1} decoding",
        limit.all(),
        limit.signature,
        limit.hashing,
        limit.decoding
    );
    println!(
        "density of carbon dioxide: {:.2} million samples/s on one core",
        limit::densities() / 1e6
    );
    let share = f64::from(days) / 365.0;
    for threads in [2_u16, 1] {
        let run = verify(&dir, days, threads);
        assert_eq!(run.exit, Some(0), "{}", run.output);
        let seconds =
            |microseconds: f64| microseconds * float(made.entries) / 1e6 / f64::from(threads);
        let (floor, signatures) = (seconds(limit.all()), seconds(limit.signature));
        println!(
            "verified and recomputed, {threads} thread(s): {:.2} s, {:.1} million readings/s, peak {:.0} MB; \
             {:.2} x the bare limit ({floor:.2} s), {:.2} x its signatures alone ({signatures:.2} s)",
            run.seconds,
            float(made.readings) / run.seconds / 1e6,
            run.megabytes,
            run.seconds / floor,
            run.seconds / signatures
        );
        if threads == 2 {
            println!(
                "  bar: {:.2} of {:.1} s ({:.2}), {:.0} of {MOST_MEGABYTES:.0} MB ({:.2})",
                run.seconds,
                MOST_SECONDS_A_YEAR * share,
                run.seconds / (MOST_SECONDS_A_YEAR * share),
                run.megabytes,
                run.megabytes / MOST_MEGABYTES
            );
        }
    }
    if std::env::var_os("FIELDSEAL_BENCH_PYTHON").is_some() {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/fieldseal_verify.py");
        let mut command = Command::new("python3");
        command.arg(script).arg(dir.join("bundle.tar"));
        let run = measure(with_inputs(&mut command, &dir, days));
        assert_eq!(run.exit, Some(0), "{}", run.output);
        println!(
            "second implementation: {:.1} s (bar {:.0} s), peak {:.0} MB",
            run.seconds,
            120.0 * share,
            run.megabytes
        );
    }
}

fn verify(dir: &Path, days: u32, threads: u16) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fieldseal-verify"));
    command
        .arg("bundle")
        .arg(dir.join("bundle.tar"))
        .arg("--threads")
        .arg(threads.to_string());
    measure(with_inputs(&mut command, dir, days))
}

fn with_inputs<'c>(command: &'c mut Command, dir: &Path, days: u32) -> &'c mut Command {
    let (from, to) = site::days(days);
    command
        .arg("--plan")
        .arg(dir.join("plan.toml"))
        .arg("--policy")
        .arg(dir.join("ours.policy"));
    command.args(["--from", &from, "--to", &to])
}

/// Runs a program and watches its memory in /proc until it ends.
fn measure(command: &mut Command) -> Run {
    let begun = Instant::now();
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut out = child.stdout.take().unwrap();
    let (ended, end) = mpsc::channel();
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut text = String::new();
            std::io::Read::read_to_string(&mut out, &mut text).unwrap();
            ended.send(()).unwrap();
            text
        });
        let mut kilobytes = 0_u32;
        while let Err(mpsc::RecvTimeoutError::Timeout) = end.recv_timeout(Duration::from_millis(50))
        {
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            let peak = text.lines().find_map(|line| {
                line.strip_prefix("VmHWM:")?
                    .trim()
                    .strip_suffix(" kB")?
                    .parse()
                    .ok()
            });
            kilobytes = kilobytes.max(peak.unwrap_or(0));
        }
        let exit = child.wait().unwrap().code();
        let seconds = begun.elapsed().as_secs_f64();
        Run {
            seconds,
            megabytes: f64::from(kilobytes) / 1024.0,
            output: reader.join().unwrap(),
            exit,
        }
    })
}

#[expect(clippy::cast_precision_loss, reason = "counts for people")]
fn float(count: u64) -> f64 {
    count as f64
}

fn gigabytes(bytes: u64) -> f64 {
    float(bytes) / 1e9
}

fn ratio(a: u64, b: u64) -> f64 {
    float(a) / float(b)
}
