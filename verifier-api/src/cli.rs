//! The command line.

#![expect(clippy::print_stdout, reason = "the commands' own output")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use crate::clock::{Clock as _, SystemClock};
use crate::config::{Config, EXAMPLE};
use crate::project_log::commands::LogAction;
use crate::project_log::{WriteError, Writer};
use crate::role::Role;
use crate::tokens::NewToken;
use crate::{Settings, apply, tokens};

/// The reader's side of Fieldseal: HTTP API, live values, reports, evidence bundles.
///
/// A first start:
///   fieldseal-verifier-api init                         writes verifier-api.toml and a test certificate
///   fieldseal-verifier-api plan apply plan.toml --decision "JC decision 12, 2026-03-01"
///   fieldseal-verifier-api token create --label "TPE Example" --role verifier --project ID009 --days 90
///   fieldseal-verifier-api log init --project ID009 --origin example.com/project/ID009
///   fieldseal-verifier-api check                        reads everything that `run` would use
///   fieldseal-verifier-api run
#[derive(Debug, Parser)]
#[command(name = "fieldseal-verifier-api", version, verbatim_doc_comment)]
pub struct Command {
    /// The configuration file.
    #[arg(
        long,
        global = true,
        default_value = "verifier-api.toml",
        value_name = "FILE"
    )]
    config: PathBuf,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Serves until it is told to stop (Ctrl-C or SIGTERM).
    Run,
    /// Reads the configuration and opens what it names, without serving.
    Check,
    /// Writes an example configuration, and a certificate to try things with.
    Init {
        /// Names or addresses that the test certificate is for.
        #[arg(long = "name", default_values = ["localhost", "127.0.0.1"], value_name = "NAME")]
        names: Vec<String>,
    },
    /// Brings a project's monitoring plan into the store.
    #[command(subcommand)]
    Plan(PlanAction),
    /// Makes, lists and revokes access tokens.
    #[command(subcommand)]
    Token(TokenAction),
    /// The project log: certificates, values, findings and whatever else people enter.
    #[command(subcommand)]
    Log(LogAction),
}

#[derive(Debug, Subcommand)]
enum PlanAction {
    /// Checks a plan against its methodology and against what the gateways sealed, and stores it as
    /// the project's next version. Prints the hash that stands in the registered document.
    Apply {
        /// The plan.
        file: PathBuf,
        /// The decision that approved it, e.g. "JC decision 12, 2026-03-01".
        #[arg(long)]
        decision: String,
        /// Who applies it.
        #[arg(long, default_value = "command line")]
        by: String,
        /// Checks only.
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Subcommand)]
enum TokenAction {
    /// Makes a token and prints it, once: it is stored as a hash only.
    Create {
        /// Whose it is; lists and the access log show it.
        #[arg(long)]
        label: String,
        /// admin, supervisor, preparer, participant or verifier.
        #[arg(long, value_parser = role)]
        role: Role,
        /// A project it may see; several times for several. Only admin and supervisor may go
        /// without, which means all.
        #[arg(long = "project", value_name = "ID")]
        projects: Vec<String>,
        /// How long it is good, 1 to 1100.
        #[arg(long)]
        days: u32,
    },
    /// Lists all tokens, without what would let anybody use them.
    List,
    /// Revokes every token of a label, at once.
    Revoke {
        /// The label.
        #[arg(long)]
        label: String,
    },
}

fn role(text: &str) -> Result<Role, String> {
    Role::from_name(text).ok_or_else(|| {
        let all = Role::ALL.map(Role::name).join(", ");
        format!("allowed: {all}")
    })
}

impl Command {
    /// Does what the command line says.
    ///
    /// # Errors
    /// What could not be done, and what to do about it.
    pub async fn run(self) -> anyhow::Result<()> {
        if let Action::Init { names } = &self.action {
            return init(&self.config, names);
        }
        let config = Config::load(&self.config)?;
        store_is_there(&config)?;
        match self.action {
            Action::Init { .. } => Ok(()),
            Action::Run => run(&config).await,
            Action::Check => check(&config).await,
            Action::Plan(action) => plan(&config, action).await,
            Action::Token(action) => token(&config, action).await,
            Action::Log(action) => log(&config, action).await,
        }
    }
}

/// Opening a store that is not there would make an empty one, beside the collector's.
fn store_is_there(config: &Config) -> anyhow::Result<()> {
    let Some(path) = config.store.strip_prefix("sqlite:") else {
        return Ok(());
    };
    anyhow::ensure!(
        Path::new(path).exists(),
        "there is no store at {path}; the collector makes it at its first start: \
         start it, or correct `store`"
    );
    Ok(())
}

async fn run(config: &Config) -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_unset| tracing_subscriber::EnvFilter::new("info")),
        )
        .with_writer(std::io::stderr)
        .init();
    let settings = Settings::open(config).await?;
    let listener = TcpListener::bind(config.listen)
        .with_context(|| format!("cannot listen on {}", config.listen))?;
    let scheme = if config.tls.is_some() {
        "https"
    } else {
        "http"
    };
    tracing::info!(
        "serving {scheme}://{}/ from {}",
        listener.local_addr()?,
        settings.store.engine_name()
    );
    let store = settings.store.clone();
    let served = crate::serve(settings, listener, Arc::new(SystemClock), stop_signal()).await;
    store.close().await;
    served
}

async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};

    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        // Without a handler SIGTERM ends the process at once, which is safe: nothing is half done.
        return drop(tokio::signal::ctrl_c().await);
    };
    tokio::select! {
        _pressed = tokio::signal::ctrl_c() => {}
        _told = terminate.recv() => {}
    }
    tracing::info!("stopping");
}

async fn check(config: &Config) -> anyhow::Result<()> {
    let settings = Settings::open(config).await?;
    println!("listen   {}", config.listen);
    println!(
        "TLS      {}",
        if settings.tls.is_some() {
            "certificate and key fit"
        } else {
            "none: loopback only"
        }
    );
    println!("store    {} answers", settings.store.engine_name());
    let projects = settings.store.projects().await?;
    for project in &projects {
        let plan = settings.store.newest_plan(&project.id).await?;
        let plan = plan.map_or_else(
            || "no plan yet".to_owned(),
            |plan| format!("plan version {}, {}", plan.version, hex::encode(plan.hash)),
        );
        println!("project  {} ({}): {plan}", project.id, project.name);
    }
    if projects.is_empty() {
        println!("project  none yet: `plan apply` brings one");
    }
    settings.store.close().await;
    Ok(())
}

fn init(config: &Path, names: &[String]) -> anyhow::Result<()> {
    let folder = config.parent().unwrap_or_else(|| Path::new(""));
    let tls = folder.join("tls");
    std::fs::create_dir_all(&tls).with_context(|| format!("cannot make {}", tls.display()))?;
    let made = rcgen::generate_simple_self_signed(names.to_vec()).context("certificate")?;
    new_file(&tls.join("cert.pem"), &made.cert.pem(), false)?;
    new_file(
        &tls.join("key.pem"),
        &made.signing_key.serialize_pem(),
        true,
    )?;
    new_file(config, EXAMPLE, false)?;
    println!(
        "wrote {}, and in {} a self-signed certificate for {}",
        config.display(),
        tls.display(),
        names.join(", ")
    );
    println!("next: set `store` to the collector's, then `fieldseal-verifier-api check`");
    Ok(())
}

/// Writes a file that must not be there yet; a secret one is for its owner only from the beginning.
fn new_file(path: &Path, text: &str, secret: bool) -> anyhow::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    let mode = if secret { 0o600 } else { 0o644 };
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .with_context(|| format!("cannot write {}; nothing is overwritten", path.display()))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
        .with_context(|| format!("cannot write {}", path.display()))
}

async fn plan(config: &Config, action: PlanAction) -> anyhow::Result<()> {
    let PlanAction::Apply {
        file,
        decision,
        by,
        dry_run,
    } = action;
    let settings = Settings::open(config).await?;
    let name = file.display().to_string();
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {name}"))?;
    let plan = apply::check(&settings.store, &text, &name, &settings.methodologies).await?;
    println!("project      {} ({})", plan.project.id, plan.project.name);
    println!("methodology  {}", plan.methodology_id);
    println!("SHA-256      {}", plan.hash());
    if dry_run {
        println!("checked, not stored");
    } else {
        let now_ms = SystemClock.now_ms();
        let version = apply::store(&settings.store, &text, &plan, &decision, &by, now_ms).await?;
        println!("stored as    version {version}");
        let project = &plan.project.id;
        let writer = Writer::new(settings.data_dir.clone());
        match writer
            .enter_versions(&settings.store, project, now_ms)
            .await
        {
            Ok(0) => {}
            Ok(_) => println!("entered      into the project log"),
            Err(WriteError::NoLog(_)) => {
                println!("project log  none yet: `log init` begins one");
            }
            Err(error) => {
                return Err(error).context(
                    "the plan is stored, but not in the project log; it is entered with the next version",
                );
            }
        }
    }
    settings.store.close().await;
    Ok(())
}

async fn log(config: &Config, action: LogAction) -> anyhow::Result<()> {
    let settings = Settings::open(config).await?;
    let writer = Writer::new(settings.data_dir.clone());
    let done = action
        .run(&settings.store, &writer, SystemClock.now_ms())
        .await;
    settings.store.close().await;
    done
}

async fn token(config: &Config, action: TokenAction) -> anyhow::Result<()> {
    let settings = Settings::open(config).await?;
    let (store, now_ms) = (&settings.store, SystemClock.now_ms());
    match action {
        TokenAction::Create {
            label,
            role,
            projects,
            days,
        } => {
            let new = NewToken {
                label,
                role,
                projects,
                days,
            };
            println!("{}", tokens::create(store, &new, now_ms).await?);
        }
        TokenAction::List => {
            for token in store.tokens().await? {
                let state = match token.revoked_ms {
                    Some(at) => format!("revoked {}", crate::time::utc(at)),
                    None if token.expires_ms <= now_ms => "expired".to_owned(),
                    None => format!("until {}", crate::time::utc(token.expires_ms)),
                };
                let projects = if token.projects.is_empty() {
                    "all".to_owned()
                } else {
                    token.projects.join(",")
                };
                println!(
                    "{:<24} {:<12} {:<24} {state}",
                    token.label, token.role, projects
                );
            }
        }
        TokenAction::Revoke { label } => {
            let revoked = store.revoke_tokens(&label, now_ms).await?;
            anyhow::ensure!(
                revoked > 0,
                "no token of `{label}` is good; `token list` shows all"
            );
            println!("{revoked} revoked");
        }
    }
    settings.store.close().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Command;

    #[test]
    fn the_command_line_is_consistent() {
        Command::command().debug_assert();
    }
}
