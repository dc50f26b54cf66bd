//! The programs themselves, as processes: started from the target directory, heard, ended.
//!
//! What a program says on standard error is kept, so that a test waits for a sentence instead of
//! sleeping, and a failure shows the last of them. Dropping a [`Program`] kills it.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// How long anything may take before it counts as never coming: a loaded machine is slow, and a
/// test that waits for a value costs nothing while the value comes.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Sentences that a failure shows.
const SHOWN: usize = 15;

/// A running program.
#[derive(Debug)]
pub struct Program {
    name: &'static str,
    child: Child,
    said: watch::Receiver<Vec<String>>,
}

/// Returns the path of one of our programs in the target directory that this program was built in.
///
/// # Errors
///
/// When it is not there, with the command that builds it.
pub fn path(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("find the own program")?;
    // target/debug/deps/test-… or target/debug/program
    let directory = own
        .ancestors()
        .skip(1)
        .find(|directory| !directory.ends_with("deps"))
        .context("the own program is in no directory")?;
    let found = directory.join(name);
    ensure!(
        found.exists(),
        "{} is not there; run `cargo build --workspace --bins` first",
        found.display()
    );
    Ok(found)
}

/// Runs a program that ends by itself; returns its exit code and what it printed.
///
/// # Errors
///
/// When it cannot be started, takes longer than [`PATIENCE`] or dies of a signal.
pub async fn run(
    name: &'static str,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> anyhow::Result<(i32, String, String)> {
    let output = Command::new(path(name)?)
        .args(arguments)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, output)
        .await
        .with_context(|| format!("{name} did not end within {} s", PATIENCE.as_secs()))?
        .with_context(|| format!("start {name}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output
        .status
        .code()
        .with_context(|| format!("{name} died: {}", output.status))?;
    Ok((code, text(&output.stdout), text(&output.stderr)))
}

/// As [`run`], for a program that must succeed; returns what it printed.
///
/// # Errors
///
/// As [`run`], and when its exit code is not 0.
pub async fn done(
    name: &'static str,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> anyhow::Result<String> {
    let (code, printed, complained) = run(name, arguments).await?;
    ensure!(code == 0, "{name} ended with {code}: {printed}{complained}");
    Ok(printed)
}

impl Program {
    /// Starts a program.
    ///
    /// # Errors
    ///
    /// When it is not there or cannot be started.
    pub fn start(
        name: &'static str,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> anyhow::Result<Self> {
        let mut child = Command::new(path(name)?)
            .args(arguments)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        let stderr = child.stderr.take().context("no standard error")?;
        let (sender, said) = watch::channel(Vec::new());
        tokio::spawn(async move {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                sender.send_modify(|said: &mut Vec<String>| said.push(line));
            }
        });
        Ok(Self { name, child, said })
    }

    /// Waits until it has said a line with these words, and returns the line.
    ///
    /// # Errors
    ///
    /// When it ends before, or does not within [`PATIENCE`]; with its last sentences.
    pub async fn hear(&mut self, words: &str) -> anyhow::Result<String> {
        let with_words =
            |said: &Vec<String>| said.iter().find(|line| line.contains(words)).cloned();
        let heard = self.said.wait_for(|said| with_words(said).is_some());
        let found = match tokio::time::timeout(PATIENCE, heard).await {
            Ok(Ok(said)) => with_words(&said),
            Ok(Err(_ended)) => None,
            Err(_late) => None,
        };
        found.with_context(|| format!("{} never said `{words}`: {}", self.name, self.last()))
    }

    /// Its last sentences.
    #[must_use]
    pub fn last(&self) -> String {
        let said = self.said.borrow();
        let skipped = said.len().saturating_sub(SHOWN);
        said.iter()
            .skip(skipped)
            .map(|line| format!("\n    {line}"))
            .collect()
    }

    /// The process id, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends it with SIGKILL, at once, and returns when it is gone.
    ///
    /// # Errors
    ///
    /// When it had ended by itself, which it must not: with its last sentences.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!(
                "{} had ended by itself ({status}): {}",
                self.name,
                self.last()
            );
        }
        self.child.kill().await.context("kill")
    }

    /// Asks it to stop (SIGTERM) and waits for its end.
    ///
    /// # Errors
    ///
    /// When it does not end within [`PATIENCE`], or not well.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let id = self
            .child
            .id()
            .with_context(|| format!("{} had ended by itself: {}", self.name, self.last()))?;
        // The shell's own `kill`: no crate is needed for one signal.
        let asked = Command::new("sh")
            .arg("-c")
            .arg(format!("kill -TERM {id}"))
            .status()
            .await?;
        ensure!(asked.success(), "{} could not be asked to stop", self.name);
        let ended: ExitStatus = tokio::time::timeout(PATIENCE, self.child.wait())
            .await
            .with_context(|| format!("{} does not stop: {}", self.name, self.last()))??;
        ensure!(ended.success(), "{}: {ended}: {}", self.name, self.last());
        Ok(())
    }
}

/// Returns the port behind these words in a line.
///
/// # Errors
///
/// When there is none.
pub fn port_after(words: &str, line: &str) -> anyhow::Result<u16> {
    let (_, rest) = line
        .split_once(words)
        .with_context(|| format!("no `{words}` in `{line}`"))?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits
        .parse()
        .with_context(|| format!("no port in `{line}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_read_from_the_line_that_says_it() {
        let line = r#"{"message":"The collector listens on 127.0.0.1:40123"}"#;
        assert_eq!(port_after("listens on 127.0.0.1:", line).unwrap(), 40_123);
        assert!(port_after("listens on [::]:", line).is_err());
    }

    #[test]
    fn a_program_that_is_not_built_is_named_with_the_remedy() {
        let error = path("fieldseal-nothing").unwrap_err().to_string();
        assert!(error.contains("cargo build --workspace --bins"), "{error}");
    }
}
