//! Arguments of `witness`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

const AFTER_HELP: &str = "\
A witness in five steps, on any machine that is on day and night:

  1  fieldseal-verify witness init --directory /var/lib/fieldseal-witness \\
         --name witness.example.org/w1
     prints your witness key, one line. Send it to the operator of the collector
     and to everybody who will verify: it belongs into their policy files.
  2  fieldseal-verify witness log add 'ORIGIN+HASH+KEY' --directory ...
     once per log, with the key line from the log's commissioning record or the
     monitoring plan. Do not take it from the collector.
  3  fieldseal-verify witness run --directory ... --listen 127.0.0.1:7447
     behind your web server, which does TLS; or with --tls-certificate, --tls-key.
     The unit deploy/systemd/fieldseal-witness.service starts it at boot.
  4  Tell the collector's operator the address. It submits each log every hour;
     nothing is asked of you, and you see sizes and hashes, never a reading.
  5  fieldseal-verify witness status --directory ... now and then: an old age
     means that nobody submits; REFUSED means that a log tried to rewrite its past.

Why a log cannot be removed: this program signs only what continues the tree it
has signed before. A log that was removed and added again would begin at 0, and
its operator could have a second history signed. To stop, stop the program.

What must not be lost: witness.db. If it is lost, begin a new witness with a new
name. Never restore an old copy of it. witness.key: keep one copy offline.

The clock must be right (NTP): the time of a signature is its proof. The program
signs nothing with a time before its last signature, nor after the clock was set.";

/// Runs an independent witness: signs that a log only grows, and when.
///
/// Operator and collector together could rewrite a log that nobody else has seen. A witness is run
/// by somebody else. It keeps the size and the root hash of each log it knows and signs a newer one only
/// with a proof that nothing before it was changed. A verifier who requires its signature needs to trust
/// neither of the two.
#[derive(Debug, Clone, Args)]
#[command(after_help = AFTER_HELP)]
pub struct WitnessArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: WitnessAction,
}

/// What to do with a witness.
#[derive(Debug, Clone, Subcommand)]
pub enum WitnessAction {
    /// Makes the key and the empty state of a new witness, once.
    Init {
        /// Where key and state are kept; made if it is absent.
        #[arg(long, value_name = "DIR", default_value = ".")]
        directory: PathBuf,
        /// The witness's name for ever: a host name of yours with a path, without spaces or `+`.
        #[arg(long, value_name = "NAME")]
        name: String,
    },
    /// Answers `POST /add-checkpoint` and `GET /<log id>/checkpoint` until SIGTERM or Ctrl-C.
    Run(RunArgs),
    /// Adds a log, or lists the logs. There is no removal: see `witness --help`.
    Log {
        /// What to do with logs.
        #[command(subcommand)]
        action: LogAction,
    },
    /// Shows each log with size and age of the newest signature, and what was refused.
    Status {
        /// The directory of the witness.
        #[arg(long, value_name = "DIR", default_value = ".")]
        directory: PathBuf,
        /// Print it as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Serves.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// The directory of the witness.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub directory: PathBuf,
    /// Address and port. Without TLS keep it on 127.0.0.1, behind a web server that does TLS.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7447")]
    pub listen: SocketAddr,
    /// Certificate chain in PEM, leaf first; restart the witness after a renewal.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// Its private key in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
    /// Cosignatures per minute for one growing log; as many again for one that does not grow.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=6000))]
    pub per_minute: u32,
}

/// What to do with logs.
#[derive(Debug, Clone, Subcommand)]
pub enum LogAction {
    /// Lets this witness sign for a log. A running witness knows it at once.
    Add {
        /// The log's key line, `origin+hash+key`, from its commissioning record.
        #[arg(value_name = "KEY")]
        key: String,
        /// The log's name, if its key is not named as it.
        #[arg(long, value_name = "ORIGIN")]
        origin: Option<String>,
        /// The directory of the witness.
        #[arg(long, value_name = "DIR", default_value = ".")]
        directory: PathBuf,
    },
    /// Prints the key line of every log.
    List {
        /// The directory of the witness.
        #[arg(long, value_name = "DIR", default_value = ".")]
        directory: PathBuf,
    },
}
