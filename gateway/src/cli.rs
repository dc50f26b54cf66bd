//! The command line: every command in words, and what each prints.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use evidence::chain::Chain;
use evidence::control::Control;
use evidence::hash::{Hash, sha256};
use ring::rand::SystemRandom;

use crate::buffer::LogReader;
use crate::clock::{Clock, SystemClock};
use crate::collector::Collector;
use crate::config::{ConfigError, GatewayConfig};
use crate::enrol::{self, Enrolment};
use crate::faults::NoFaults;
use crate::identity::Identity;
use crate::journal::Journal;
use crate::notify::Notifier;
use crate::recorder::{Recorder, Settings, Software, Surroundings};
use crate::run::{Environment, run};
use crate::{durable, inspect, read_once, restore, status};

/// Usage or configuration is wrong (sysexits `EX_USAGE`).
pub const EXIT_USAGE: u8 = 64;

/// Reads meters, seals every reading where it is taken, keeps and forwards it.
///
/// A new device, in order: write gateway.toml, `check` it, `init` once, `read --once` to see every
/// value, `run`, and `enroll CODE` when the collector's operator has given you a code.
#[derive(Debug, Parser)]
#[command(name = "fieldseal-gateway", version, max_term_width = 100)]
pub struct Cli {
    /// The configuration file.
    #[arg(
        long,
        short,
        global = true,
        default_value = "/etc/fieldseal/gateway.toml"
    )]
    pub config: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Records and delivers until it is stopped (SIGTERM or Ctrl-C).
    Run,
    /// Makes the keys of a new log and seals its first entry. Once per device, never again.
    ///
    /// Prints the vkey line, which belongs into the commissioning sheet and the monitoring plan: it is
    /// what a verifier will trust.
    Init {
        /// The data directory of a log that cannot be continued and that this one takes over from.
        #[arg(long, value_name = "OLD_DATA_DIR")]
        after: Option<PathBuf>,
    },
    /// Introduces this log to the collector with the single-use code that its operator printed.
    ///
    /// Without a code, asks again with the one that is still waiting for its answer.
    Enroll {
        /// fs1.ID.SECRET.FINGERPRINT
        code: Option<String>,
    },
    /// Checks the configuration file and says what would be read; opens and connects nothing.
    Check,
    /// Shows log, clock, buffer, delivery and the newest values, without disturbing the gateway.
    Status {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Reads the devices and shows every point with all that is known about it.
    Read {
        /// Once, then ends. (Continuous reading is what `run` does.)
        #[arg(long, required = true)]
        once: bool,
        /// How long to wait for messages, in seconds.
        #[arg(long, default_value_t = 30)]
        wait_s: u64,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Fetches back from the collector what this device lost of its own log. `run` does this by itself.
    Restore,
    /// Verifies this device's own log, entry by entry, as a verifier would.
    Verify,
}

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    /// What to tell the user.
    pub text: String,
    /// The exit code.
    pub code: u8,
}

impl Failure {
    fn of(error: &dyn std::error::Error) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text = format!("{text}: {cause_text}");
            }
            source = cause.source();
        }
        Self { text, code: 1 }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::of(&error)
    }
}

/// Reads the arguments; on a mistake prints clap's words and returns the exit code.
///
/// # Errors
///
/// 0 after `--help` and `--version`, 64 after a mistake.
pub fn parse(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Cli, ExitCode> {
    Cli::try_parse_from(arguments).map_err(|error| {
        // Nothing can be done about a closed terminal.
        drop(error.print());
        if error.use_stderr() {
            ExitCode::from(EXIT_USAGE)
        } else {
            ExitCode::SUCCESS
        }
    })
}

/// Loads the configuration, or says every mistake in it.
///
/// # Errors
///
/// [`Failure`] with exit code 64.
pub fn load(cli: &Cli) -> Result<GatewayConfig, Failure> {
    GatewayConfig::load(&cli.config).map_err(|error| {
        let text = match error {
            ConfigError::Unreadable { path, source } => format!(
                "cannot read `{}`: {source}; name the file with --config FILE",
                path.display()
            ),
            wrong => wrong.to_string(),
        };
        Failure {
            text,
            code: EXIT_USAGE,
        }
    })
}

/// Carries a command out and returns what it prints.
///
/// # Errors
///
/// [`Failure`].
pub async fn execute(
    cli: Cli,
    notifier: Notifier,
    shutdown: impl Future<Output = ()>,
) -> Result<String, Failure> {
    let config = load(&cli)?;
    match cli.command {
        Command::Run => {
            let environment = environment(&config, notifier);
            run(config, environment, shutdown).await?;
            Ok(String::new())
        }
        Command::Init { after } => init(&config, after.as_deref()).await,
        Command::Enroll { code } => enroll(&config, code.as_deref()).await,
        Command::Check => Ok(inspect::report(&config)),
        Command::Status { json } => {
            let status = status::of_dir(&config).await?;
            if json {
                let text = serde_json::to_string_pretty(&status)?;
                Ok(format!("{text}\n"))
            } else {
                Ok(status::table(&status))
            }
        }
        Command::Read {
            once: _,
            wait_s,
            json,
        } => {
            let wait = Duration::from_secs(wait_s);
            let rows = read_once::read_once(&config, wait, &SystemRandom::new()).await?;
            if json {
                let text = serde_json::to_string_pretty(&rows)?;
                Ok(format!("{text}\n"))
            } else {
                Ok(read_once::table(&rows))
            }
        }
        Command::Restore => restore(&config).await,
        Command::Verify => verify(&config).await,
    }
}

fn environment(config: &GatewayConfig, notifier: Notifier) -> Environment {
    Environment {
        clock: Arc::new(SystemClock::new(config.clock)),
        os_boot: os_boot(),
        software: software(),
        random: Arc::new(SystemRandom::new()),
        notifier,
    }
}

/// The kernel's id of this boot; constant where there is none, so that every restart counts as the
/// death of the process.
fn os_boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map_or_else(|_none| String::from("unknown"), |id| id.trim().to_owned())
}

/// This program: its version and the hash of its file.
fn software() -> Software {
    let binary = std::env::current_exe().and_then(|path| hash_of(&path));
    Software {
        version: format!("fieldseal-gateway {}", env!("CARGO_PKG_VERSION")),
        binary: binary.unwrap_or_else(|_unreadable| Hash::default()),
    }
}

/// The hash of a file, read in pieces: the program is larger than what it needs to run.
fn hash_of(path: &Path) -> std::io::Result<Hash> {
    use std::io::Read as _;

    let mut file = std::fs::File::open(path)?;
    let mut hashing = ring::digest::Context::new(&ring::digest::SHA256);
    let mut piece = vec![0; 64 << 10];
    while let count @ 1.. = file.read(&mut piece)? {
        hashing.update(piece.get(..count).unwrap_or_default());
    }
    let mut hash = Hash::default();
    hash.0.copy_from_slice(hashing.finish().as_ref());
    Ok(hash)
}

async fn init(config: &GatewayConfig, after: Option<&Path>) -> Result<String, Failure> {
    let predecessor = match after {
        Some(old) => Some(predecessor(old).await?),
        None => None,
    };
    let clock: Arc<SystemClock> = Arc::new(SystemClock::new(config.clock));
    clock.refresh().await;
    let identity = match Identity::create(&config.data_dir, &config.origin) {
        Ok(identity) => identity,
        // Keys without an entry: an `init` that was interrupted is finished.
        Err(error) => match LogReader::of_dir(&config.data_dir.join("log")).await {
            Ok(reader) if reader.bounds().1 > 0 => return Err(error.into()),
            Ok(_) | Err(_) => Identity::open(&config.data_dir, &config.origin)?,
        },
    };
    let vkey = identity.vkey().to_string();
    drop(identity);
    let around = Surroundings {
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        os_boot: os_boot(),
        faults: Arc::new(NoFaults),
    };
    let settings = Settings::of(config, software());
    Recorder::begin_log(settings, around, predecessor).await?;
    let fingerprint = sha256(vkey.as_bytes()).to_hex();
    Ok(format!(
        "A new log was begun in {}.\n\n\
         origin       {}\n\
         vkey         {vkey}\n\
         fingerprint  {fingerprint}\n\n\
         Write the vkey line into the commissioning sheet and the monitoring plan: it is what a \
         verifier trusts,\nand it must not reach him through the collector. The fingerprint is the \
         SHA-256 of that line, for the label.\n\
         The keys under {} never leave this device.\n",
        config.data_dir.display(),
        config.origin.as_str(),
        config.data_dir.join("keys").display(),
    ))
}

/// What the journal of an abandoned log says about its end.
async fn predecessor(old: &Path) -> Result<Control, Failure> {
    let name = durable::read_file(&old.join("keys").join("origin"))?;
    let text = || {
        format!(
            "`{}` holds no log that could be continued from",
            old.display()
        )
    };
    let name = name.ok_or_else(|| Failure {
        text: text(),
        code: EXIT_USAGE,
    })?;
    let (mut journal, _said) = Journal::open(old, &old.join("quarantine")).await?;
    let head = journal.head().await?;
    let head = head.ok_or_else(|| Failure {
        text: text(),
        code: EXIT_USAGE,
    })?;
    journal.close().await?;
    Ok(Control::Recovery {
        origin: String::from_utf8_lossy(&name).trim_end().to_owned(),
        last_index: head.size.saturating_sub(1),
        last_leaf: head.leaf,
        reason: String::from("the predecessor could not be continued"),
    })
}

async fn restore(config: &GatewayConfig) -> Result<String, Failure> {
    let (Some(collector), Some(enrolment)) =
        (&config.collector, Enrolment::load(&config.data_dir)?)
    else {
        let text = "this log is not enrolled: there is nowhere to fetch anything from";
        return Err(Failure {
            text: String::from(text),
            code: 1,
        });
    };
    let clock: Arc<SystemClock> = Arc::new(SystemClock::new(config.clock));
    clock.refresh().await;
    let clock = clock as Arc<dyn Clock>;
    let token = Some(enrolment.token.clone());
    let (pin, origin) = (enrolment.pin(), &config.origin);
    let client = Collector::new(collector, origin, pin, token, Arc::clone(&clock))?;
    let around = Surroundings {
        clock,
        os_boot: os_boot(),
        faults: Arc::new(NoFaults),
    };
    let settings = Settings::of(config, software());
    let witness = enrolment.witness()?;
    let (before, after) = restore::restore(&settings, &around, &client, &witness).await?;
    Ok(format!(
        "The log had {before} entries and has {after} now, each verified. `run` goes on there.\n"
    ))
}

async fn enroll(config: &GatewayConfig, code: Option<&str>) -> Result<String, Failure> {
    let Some(collector) = &config.collector else {
        return Err(Failure {
            text: String::from(
                "the configuration names no collector; add [collector] with url = \"https://…\"",
            ),
            code: EXIT_USAGE,
        });
    };
    if let Some(code) = code {
        enrol::keep_code(&config.data_dir, code)?;
    }
    let identity = Identity::open(&config.data_dir, &config.origin)?;
    let mut reader = LogReader::of_dir(&config.data_dir.join("log")).await?;
    let Some(first) = reader.row(0).await? else {
        return Err(Failure {
            text: String::from("the log is empty; run `init` first"),
            code: 1,
        });
    };
    let clock: Arc<SystemClock> = Arc::new(SystemClock::new(config.clock));
    clock.refresh().await;
    // A running gateway may have been faster with the same code; the answer is the same.
    let enrolment = match Enrolment::load(&config.data_dir)? {
        Some(enrolment) => enrolment,
        None => {
            enrol::enrol(
                &config.data_dir,
                &config.origin,
                &identity.vkey(),
                &first,
                collector,
                clock as Arc<dyn Clock>,
            )
            .await?
        }
    };
    Ok(format!(
        "Enrolled at {}.\nIts cosigning key is\n{}\nA running gateway begins to deliver within \
         seconds.\n",
        enrolment.url, enrolment.witness_vkey
    ))
}

/// Reads the log from its oldest file and checks every rule.
async fn verify(config: &GatewayConfig) -> Result<String, Failure> {
    let log_dir = config.data_dir.join("log");
    let mut reader = LogReader::of_dir(&log_dir).await?;
    let (first, end) = reader.bounds();
    let mut chain = match reader.beginning().await? {
        Some(state) if first > 0 => Chain::decode(&state)?,
        _ => Chain::new(config.origin.clone()),
    };
    let mut samples = 0_u64;
    while chain.size() < end {
        for row in reader.rows(chain.size(), end, 1_000, 8 << 20).await? {
            let applied = chain
                .apply(&row.entry, row.payload.as_deref())
                .map_err(|rejection| Failure {
                    text: format!("entry {} does not verify: {rejection}", row.index),
                    code: 1,
                })?;
            if let Some(segment) = applied.segment {
                let columns = segment.columns.iter().map(|column| column.values.len());
                samples += u64::try_from(columns.sum::<usize>()).unwrap_or(u64::MAX);
            }
        }
    }
    Ok(format!(
        "log          {}\nentries      {first}..{end}, every signature, hash and tick verified\n\
         samples      {samples}\nroot         {}\n",
        config.origin.as_str(),
        chain.root().to_base64(),
    ))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Cli;

    #[test]
    fn a_file_is_hashed_in_pieces_as_it_is_as_a_whole() {
        let path = std::env::current_exe().unwrap();
        let whole = evidence::hash::sha256(&std::fs::read(&path).unwrap());
        assert_eq!(super::hash_of(&path).unwrap(), whole);
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
