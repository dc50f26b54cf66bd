//! The command line.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use evidence::chain::Chain;
use evidence::key::VerifyingKey;
use ring::rand::{SecureRandom as _, SystemRandom};
use store::{EnrolmentCode, LogRef, Relay, Store};

use crate::authority::{self, Revoked};
use crate::clock::{Clock, SystemClock};
use crate::code::Code;
use crate::config::{Config, StoreAddress};
use crate::cosigner::Cosigner;
use crate::enrol_file::enrol_file;
use crate::inspect::{Inspected, inspect};
use crate::install::Install;
use crate::tls::TlsFiles;

/// Receives the sealed logs of gateways, checks every entry, stores and cosigns them.
///
/// First time: `init` makes keys and a configuration in a directory, `check` says what the
/// configuration means, `run` serves it, and `enrolment-code` prints what a gateway needs to join.
#[derive(Debug, Parser)]
#[command(name = "fieldseal-collector", version)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves gateways and readers until SIGTERM or Ctrl-C.
    Run {
        /// The configuration file.
        #[arg(default_value = "collector.toml")]
        config: PathBuf,
    },
    /// Checks the configuration and says what `run` would do; opens no store and no port.
    Check {
        /// The configuration file.
        #[arg(default_value = "collector.toml")]
        config: PathBuf,
    },
    /// Makes the cosigner's key (0600), a self-signed certificate and a configuration.
    ///
    /// Nothing that exists is touched. Gateways pin the TLS key, not the certificate, so a
    /// self-signed one (90 days, renewed by `run`) is as good as any. Print the cosigner's public
    /// key into every verifier's policy, and back its private half up apart from the store.
    Init {
        /// The directory for the files.
        #[arg(long, default_value = ".")]
        directory: PathBuf,
        /// The cosigner's name, such as `collector.example.org/w0`; it never changes.
        #[arg(long)]
        name: String,
        /// A name or address that gateways reach this collector by; may be repeated.
        #[arg(long = "host", default_value = "localhost")]
        hosts: Vec<String>,
        /// A certificate of your own (PEM), instead of a self-signed one.
        #[arg(long, requires = "tls_key")]
        tls_certificate: Option<PathBuf>,
        /// Its key (PEM).
        #[arg(long, requires = "tls_certificate")]
        tls_key: Option<PathBuf>,
    },
    /// Prints a code that enrols one gateway, once.
    ///
    /// Carry it to the gateway by a way of its own (`fieldseal-gateway enroll`). Whoever has it may
    /// enrol in the gateway's place until it is used or expires.
    EnrolmentCode {
        /// The configuration file.
        #[arg(long, default_value = "collector.toml")]
        config: PathBuf,
        /// The site that the gateway belongs to; made if it is new.
        #[arg(long)]
        site: String,
        /// For how many days the code is good.
        #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=365))]
        valid_days: u16,
    },
    /// Enrols a gateway whose site has no network, from the request file it wrote.
    ///
    /// The gateway writes it with `fieldseal-gateway enroll CODE --to request.json`; the answer goes
    /// back the same way, for `fieldseal-gateway enroll --from answer.json`. The rules are those of an
    /// enrolment by network: the code must be good, unused, and known to who wrote the request.
    Enrol {
        /// The configuration file.
        #[arg(long, default_value = "collector.toml")]
        config: PathBuf,
        /// The request.
        request: PathBuf,
        /// Where to write the answer; it must not exist. Private until the gateway has taken it in.
        #[arg(long)]
        answer: PathBuf,
    },
    /// Checks the whole store again, entry by entry, as if it came in now; changes nothing.
    ///
    /// Signatures, hashes, payloads, roots, trail notes and hourly aggregates. Takes about a minute
    /// for a gateway-year. Exits with 1 if anything is damaged, and says which entry.
    Verify {
        /// The configuration file.
        #[arg(long, default_value = "collector.toml")]
        config: PathBuf,
    },
    /// Takes in an authority's word that an entry key was stolen; closes the log if that key still counts.
    ///
    /// The file is what `fieldseal-verify revoke` wrote. A closed log takes no new entries; the gateway
    /// is told why and begins a new log. Nothing that is stored changes.
    Revoke {
        /// The configuration file.
        #[arg(long, default_value = "collector.toml")]
        config: PathBuf,
        /// The revocation.
        file: PathBuf,
        /// The public key (64 hex digits) of the authority whose word you take.
        #[arg(long, value_name = "HEX")]
        authority: String,
    },
    /// Writes where a log ends here, for the gateway that takes over from a lost one.
    ///
    /// Carry the file to the new gateway: `fieldseal-gateway init --after-end FILE`.
    LogEnd {
        /// The configuration file.
        #[arg(long, default_value = "collector.toml")]
        config: PathBuf,
        /// The log's name.
        #[arg(long, value_name = "ORIGIN")]
        log: String,
        /// Where to write it; it must not exist.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Writes every control entry of a log into a file, for an authority that is to approve one.
    Controls {
        /// The configuration file.
        #[arg(long, default_value = "collector.toml")]
        config: PathBuf,
        /// The log's name.
        #[arg(long, value_name = "ORIGIN")]
        log: String,
        /// Where to write them; it must not exist.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Lists sites and logs: size, age of the newest cosignature, what is in quarantine.
    Status {
        /// The configuration file.
        #[arg(long, default_value = "collector.toml")]
        config: PathBuf,
    },
}

impl Args {
    /// Runs the command.
    ///
    /// # Errors
    ///
    /// What went wrong, with its causes; `main` prints the chain.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Run { config } => run(&config).await,
            Command::Check { config } => check(&config),
            Command::Init {
                directory,
                name,
                hosts,
                tls_certificate,
                tls_key,
            } => {
                let tls = tls_certificate.zip(tls_key);
                let tls = tls.map(|(certificate, key)| TlsFiles { certificate, key });
                init(&Install {
                    directory,
                    name,
                    hosts,
                    tls,
                })
            }
            Command::EnrolmentCode {
                config,
                site,
                valid_days,
            } => {
                let config = Config::load(&config)?;
                let code = enrolment_code(&config, &site, valid_days, &SystemClock).await?;
                print(&format!("{code}\n"));
                Ok(())
            }
            Command::Enrol {
                config,
                request,
                answer,
            } => enrol(&config, &request, &answer).await,
            Command::Verify { config } => verify(&config).await,
            Command::Revoke {
                config,
                file,
                authority,
            } => revoke(&config, &file, &authority).await,
            Command::LogEnd { config, log, out } => {
                let store = open_store(&config).await?;
                let end = authority::log_end(&store, &log).await;
                store.close().await;
                write_out(&out, end?.encode().as_bytes())
            }
            Command::Controls { config, log, out } => {
                let store = open_store(&config).await?;
                let controls = authority::controls(&store, &log).await;
                store.close().await;
                write_out(&out, &controls?.encode())
            }
            Command::Status { config } => status(&config).await,
        }
    }
}

#[expect(clippy::print_stdout, reason = "the command line's own output")]
fn print(text: &str) {
    print!("{text}");
}

async fn run(path: &Path) -> anyhow::Result<()> {
    let config = Config::load(path)?;
    let listener = std::net::TcpListener::bind(config.listen)
        .with_context(|| format!("listen on {}", config.listen))?;
    crate::serve(&config, listener, Arc::new(SystemClock), stop_signal()?).await?;
    Ok(())
}

/// Ready at SIGTERM or Ctrl-C.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate()).context("wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("wait for Ctrl-C")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn check(path: &Path) -> anyhow::Result<()> {
    use std::fmt::Write as _;

    let config = Config::load(path)?;
    let cosigner = Cosigner::load(&config.cosigner_key_file)?;
    let tls = config.tls.load()?;
    let limits = config.limits;
    let mut text = String::new();
    let store = match &config.store {
        StoreAddress::Url(url) if url.starts_with("sqlite:") => format!("SQLite, {url}"),
        StoreAddress::Url(_) => "PostgreSQL".to_owned(),
        StoreAddress::File(file) => format!("the address in `{}`", file.display()),
    };
    writeln!(text, "listens on       {} (TLS, HTTP/1.1)", config.listen)?;
    writeln!(text, "stores in        {store}")?;
    writeln!(text, "cosigns as       {}", cosigner.vkey())?;
    writeln!(
        text,
        "TLS key          SHA-256 {} (gateways pin it)",
        hex::encode(tls.pin)
    )?;
    writeln!(
        text,
        "accepts          uploads up to {} MiB, {} at once, {} a minute from one log, each within {} s",
        limits.upload_bytes >> 20,
        limits.uploads_at_once,
        limits.uploads_per_minute,
        limits.body_timeout.as_secs()
    )?;
    for witness in &config.witnesses {
        writeln!(
            text,
            "shows logs to    {} every {} s, at {}",
            witness.key,
            witness.interval.as_secs(),
            witness.url
        )?;
    }
    if let Some(timestamp) = &config.timestamp {
        writeln!(
            text,
            "has stamped      each log's newest note every {} h, at {}",
            timestamp.interval.as_secs() / 3600,
            timestamp.url
        )?;
    }
    if config.witnesses.is_empty() {
        writeln!(
            text,
            "shows logs to    nobody: without an independent witness ([[witness]]) every verdict is class 1"
        )?;
    }
    print(&text);
    Ok(())
}

fn init(install: &Install) -> anyhow::Result<()> {
    let installed = install.run(SystemClock.now_ms())?;
    print(&format!(
        "made          {config}\ncosigner key  {vkey}\nTLS key       SHA-256 {pin}\n\n\
         Next: `fieldseal-collector run {config}`, then\n\
         `fieldseal-collector enrolment-code --config {config} --site \"NAME\"` for each gateway.\n",
        config = installed.config.display(),
        vkey = installed.vkey,
        pin = hex::encode(installed.pin),
    ));
    Ok(())
}

/// Makes an enrolment code for a site, which is created if it is new.
///
/// # Errors
///
/// The store's or the certificate's.
pub async fn enrolment_code(
    config: &Config,
    site: &str,
    valid_days: u16,
    clock: &dyn Clock,
) -> anyhow::Result<Code> {
    let mut code = Code {
        id: [0; 4],
        secret: [0; 16],
        pin: config.tls.load()?.pin,
    };
    let random = SystemRandom::new();
    let filled = random
        .fill(&mut code.id)
        .and_then(|()| random.fill(&mut code.secret));
    filled.map_err(|_none| anyhow::anyhow!("the machine gave no randomness"))?;
    let store = Store::open(&config.store.url()?).await?;
    let now_ms = clock.now_ms();
    let site = store.create_site(site, now_ms).await?.id;
    let stored = EnrolmentCode {
        id: code.id_text(),
        site,
        secret: code.secret.to_vec(),
        created_ms: now_ms,
        expires_ms: now_ms + i64::from(valid_days) * 86_400_000,
        used: None,
    };
    store.create_code(&stored).await?;
    store.close().await;
    Ok(code)
}

async fn enrol(config: &Path, request: &Path, answer: &Path) -> anyhow::Result<()> {
    let config = Config::load(config)?;
    // Before anything is enrolled: an answer that cannot be written would be lost with its token.
    anyhow::ensure!(!answer.exists(), "`{}` exists already", answer.display());
    let body = std::fs::read(request).with_context(|| format!("read `{}`", request.display()))?;
    let text = enrol_file(&config, &body, Arc::new(SystemClock)).await?;
    crate::durable::create(answer, text.as_bytes(), 0o600)
        .with_context(|| format!("write `{}`", answer.display()))?;
    print(&format!(
        "Enrolled. Carry {} to the gateway, for\n    fieldseal-gateway enroll --from {}\n",
        answer.display(),
        answer.file_name().unwrap_or_default().to_string_lossy(),
    ));
    Ok(())
}

async fn open_store(config: &Path) -> anyhow::Result<Store> {
    Ok(Store::open(&Config::load(config)?.store.url()?).await?)
}

fn write_out(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    crate::durable::create(path, bytes, 0o644)
        .with_context(|| format!("write `{}`", path.display()))?;
    print(&format!("written to {}\n", path.display()));
    Ok(())
}

async fn revoke(config: &Path, file: &Path, authority: &str) -> anyhow::Result<()> {
    let key = hex::decode(authority)
        .ok()
        .and_then(|bytes| VerifyingKey::from_slice(&bytes).ok())
        .with_context(|| format!("--authority {authority}: not a public key of 64 hex digits"))?;
    let bytes = std::fs::read(file).with_context(|| format!("read `{}`", file.display()))?;
    let config = Config::load(config)?;
    let cosigner = Cosigner::load(&config.cosigner_key_file)?;
    let store = Store::open(&config.store.url()?).await?;
    let taken = authority::revoke(&store, cosigner.vkey(), &bytes, &key).await;
    store.close().await;
    let (revocation, revoked) = taken.with_context(|| format!("`{}`", file.display()))?;
    let id = hex::encode(revocation.key_id);
    print(&match revoked {
        Revoked::Closed => format!(
            "Entry key {id}: log {} takes no new entries here from now on. Its gateway is told to begin a \
             new log.\n",
            revocation.origin
        ),
        Revoked::Kept => format!(
            "Entry key {id}: all that it signed was cosigned here before the theft; log {} goes on.\n",
            revocation.origin
        ),
    });
    Ok(())
}

async fn verify(path: &Path) -> anyhow::Result<()> {
    let config = Config::load(path)?;
    let cosigner = Cosigner::load(&config.cosigner_key_file)?;
    let store = Store::open(&config.store.url()?).await?;
    let mut damaged = 0;
    for site in store.sites().await? {
        for log in store.logs_of_site(site.id).await? {
            let Some(found) = inspect(&store, log.log, cosigner.vkey()).await? else {
                continue;
            };
            let Inspected {
                origin,
                entries,
                trail_notes,
                hours,
                damage,
            } = found;
            let verdict = if damage.is_empty() {
                "as it came in"
            } else {
                "DAMAGED"
            };
            print(&format!(
                "{origin}: {entries} entries, {trail_notes} trail notes, {hours} hourly aggregates: {verdict}\n"
            ));
            for damage in &damage {
                print(&format!("  {damage}\n"));
            }
            damaged += damage.len();
        }
    }
    store.close().await;
    anyhow::ensure!(
        damaged == 0,
        "{damaged} findings; restore the store from a backup"
    );
    Ok(())
}

async fn status(path: &Path) -> anyhow::Result<()> {
    use std::fmt::Write as _;

    let config = Config::load(path)?;
    let store = Store::open(&config.store.url()?).await?;
    let now_s = SystemClock.now_ms() / 1000;
    let mut text = String::new();
    for site in store.sites().await? {
        writeln!(text, "site {}", site.name)?;
        let relays = store.relays_of_site(site.id).await?;
        for log in store.logs_of_site(site.id).await? {
            let age_s = now_s - i64::try_from(log.cosigned_s).unwrap_or(i64::MAX);
            writeln!(text, "  {}", log.origin)?;
            writeln!(
                text,
                "    entries {}, newest cosigned {age_s} s ago",
                log.size
            )?;
            let state = |target: &str| {
                let mut of_log = relays.iter().filter(|(of, _relay)| *of == log.log.log);
                let found = of_log.find(|(_log, relay)| relay.target == target);
                shown(found.map(|(_log, relay)| relay), now_s)
            };
            for witness in &config.witnesses {
                let state = state(&witness.key.to_string());
                writeln!(text, "    witness {}: {state}", witness.name)?;
            }
            if let Some(timestamp) = &config.timestamp {
                let state = state(&crate::relay::target_of(&timestamp.url));
                writeln!(text, "    timestamp: {state}")?;
            }
            for (from, to) in missing_payloads(&store, log.log).await? {
                writeln!(
                    text,
                    "    payload of entries {from} to {to} neither received nor declared dropped"
                )?;
            }
            for refused in store.quarantined(log.log, 5).await? {
                let (seen, code, reason) = (refused.seen, refused.code, refused.reason);
                writeln!(text, "    in quarantine ({seen}x) {code}: {reason}")?;
            }
        }
    }
    if text.is_empty() {
        text.push_str("no site yet; `fieldseal-collector enrolment-code --site NAME` makes one\n");
    }
    print(&text);
    store.close().await;
    Ok(())
}

/// How it stands with one witness or authority, in words.
fn shown(relay: Option<&Relay>, now_s: i64) -> String {
    let Some(relay) = relay else {
        return "not shown yet".to_owned();
    };
    let last = if relay.done_ms == 0 {
        "never signed".to_owned()
    } else {
        let age_s = now_s - relay.done_ms / 1000;
        format!("signed size {}, {age_s} s ago", relay.size)
    };
    match &relay.error {
        None => last,
        Some(error) => format!("{last}; {} attempts failed since: {error}", relay.failures),
    }
}

/// Entries that are here without the readings they sign for.
async fn missing_payloads(store: &Store, log: LogRef) -> anyhow::Result<Vec<(u64, u64)>> {
    let Some(head) = store.head(log).await? else {
        return Ok(Vec::new());
    };
    let chain = Chain::decode(&head.chain)
        .with_context(|| format!("the stored state of log {} cannot be read", head.log.origin))?;
    Ok(chain.undeclared_absent().to_vec())
}
