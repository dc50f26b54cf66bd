//! The demo as a person runs it: its program, its output, Ctrl-C, and a second start.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// A demo whose output is read line by line.
struct Demo {
    child: Child,
    lines: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
    text: String,
}

impl Demo {
    fn start(directory: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_demo"))
            .arg("--directory")
            .arg(directory)
            .args(["--days", "1"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            child,
            lines,
            text: String::new(),
        }
    }

    /// Reads until a line contains `wanted`; a demo that ends before that fails the test.
    async fn until(&mut self, wanted: &str) {
        let read = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                self.text += &line;
                self.text.push('\n');
                if line.contains(wanted) {
                    return true;
                }
            }
            false
        };
        let found = tokio::time::timeout(Duration::from_secs(110), read).await;
        if found != Ok(true) {
            let mut error = String::new();
            if let Some(mut stderr) = self.child.stderr.take() {
                self.child.start_kill().unwrap();
                stderr.read_to_string(&mut error).await.unwrap();
            }
            panic!("`{wanted}` did not come:\n{}\n{error}", self.text);
        }
    }

    async fn ends_well(&mut self) {
        let status = tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await;
        assert!(status.unwrap().unwrap().success(), "{}", self.text);
    }

    /// The number of the entry that the live log was found at.
    fn live_entry(&self) -> u64 {
        let (_, rest) = self.text.split_once("now at entry ").unwrap();
        rest.split('.').next().unwrap().parse().unwrap()
    }
}

#[tokio::test]
async fn the_demo_shows_everything_ends_at_ctrl_c_and_goes_on_at_the_second_start() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = Demo::start(directory.path(), &[]);
    first.until("First live value").await;
    first.until("DATA INTEGRITY: CONFIRMED, class 1").await;
    first.until("REPORT ARITHMETIC: REPRODUCED").await;
    first.until("E15").await;
    first.until("DATA INTEGRITY: NOT CONFIRMED").await;
    first.until("Everything goes on running").await;
    let id = first.child.id().unwrap().to_string();
    let sent = Command::new("kill").args(["-INT", &id]).status().await;
    assert!(sent.unwrap().success());
    first.until("Stopped.").await;
    first.ends_well().await;

    let mut second = Demo::start(directory.path(), &["--once"]);
    second.until("was made by an earlier start").await;
    second.until("DATA INTEGRITY: CONFIRMED, class 1").await;
    second.until("Stopped.").await;
    second.ends_well().await;
    assert!(
        second.live_entry() > first.live_entry(),
        "the live log did not go on: {} then {}",
        first.live_entry(),
        second.live_entry()
    );
}

#[tokio::test]
async fn a_killed_demo_starts_again_and_its_logs_still_verify() {
    let directory = tempfile::tempdir().unwrap();
    let mut killed = Demo::start(directory.path(), &[]);
    killed.until("First live value").await;
    // In the middle of making or delivering the past day.
    killed.child.kill().await.unwrap();
    let mut second = Demo::start(directory.path(), &["--once"]);
    second.until("DATA INTEGRITY: CONFIRMED, class 1").await;
    second.until("Stopped.").await;
    second.ends_well().await;
}
