//! `fieldseal-verifier-api log …`

#![expect(clippy::print_stdout, reason = "the commands' own output")]

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;
use evidence::Rejection;
use evidence::hash::{Hash, Origin};
use evidence::project::{Attachment, Kind, Person, ProjectLog, Record, Sort};
use store::{MOST_ATTACHMENT_BYTES, Store};

use super::routes::named;
use super::view::record_of;
use super::writer::Writer;

/// What people enter about a project: sealed with their identity, cosigned by the collector.
#[derive(Debug, Subcommand)]
pub enum LogAction {
    /// Begins the log of a project: makes its keys in `data_dir` and prints the verification key,
    /// which belongs into the plan as `[project_log]`.
    Init {
        /// The project.
        #[arg(long)]
        project: String,
        /// The log's name: `OPERATOR.DOMAIN/project/PROJECT`.
        #[arg(long)]
        origin: String,
    },
    /// Says which kinds of records there are, or which fields a kind has.
    Kinds {
        /// The kind.
        kind: Option<String>,
    },
    /// Enters a record.
    Add {
        /// certificate, exchange, hand-value, document, annotation, finding, transition, method or
        /// period-close; `log kinds` says what each holds.
        kind: String,
        /// The project.
        #[arg(long)]
        project: String,
        /// What it is about.
        #[arg(long)]
        subject: String,
        /// Who enters it, by name.
        #[arg(long)]
        by: String,
        /// A field, several times for several: --set due=2026-12-01
        #[arg(long = "set", value_name = "FIELD=VALUE")]
        fields: Vec<String>,
        /// A file to attach, several times for several.
        #[arg(long = "attach", value_name = "FILE")]
        files: Vec<PathBuf>,
        /// The index of the record that this one corrects.
        #[arg(long, requires = "reason")]
        replaces: Option<u64>,
        /// Why it is corrected.
        #[arg(long, requires = "replaces")]
        reason: Option<String>,
    },
    /// Lists the records of a project.
    List {
        /// The project.
        #[arg(long)]
        project: String,
        /// As JSON, one object a line.
        #[arg(long)]
        json: bool,
    },
}

impl LogAction {
    /// Does it.
    ///
    /// # Errors
    /// What could not be done, and what to do about it.
    pub async fn run(self, store: &Store, writer: &Writer, now_ms: i64) -> anyhow::Result<()> {
        match self {
            Self::Init { project, origin } => init(store, writer, &project, &origin, now_ms).await,
            Self::Kinds { kind } => kinds(kind.as_deref()),
            Self::List { project, json } => list(store, writer, &project, json).await,
            Self::Add {
                kind,
                project,
                subject,
                by,
                fields,
                files,
                replaces,
                reason,
            } => {
                let kind = kind_of(&kind)?;
                anyhow::ensure!(
                    !matches!(kind, Kind::ReportVersion | Kind::PlanVersion),
                    "records of kind `{}` are entered by the program when it makes a version",
                    kind.name()
                );
                let new = New {
                    kind,
                    subject,
                    by,
                    fields,
                    replaces: replaces.zip(reason),
                };
                new.enter(store, writer, &project, &files, now_ms).await
            }
        }
    }
}

fn kind_of(name: &str) -> anyhow::Result<Kind> {
    Kind::from_name(name).with_context(|| {
        let all = Kind::ALL.map(Kind::name).join(", ");
        format!("there is no kind `{name}`; there are: {all}")
    })
}

async fn init(
    store: &Store,
    writer: &Writer,
    project: &str,
    origin: &str,
    now_ms: i64,
) -> anyhow::Result<()> {
    let known = store.projects().await?;
    anyhow::ensure!(
        known.iter().any(|known| known.id == project),
        "there is no project `{project}`; `plan apply` creates one"
    );
    let origin = Origin::parse(origin).with_context(|| format!("--origin {origin}"))?;
    let vkey = writer.init(store, project, &origin, now_ms).await?;
    let entered = writer.enter_versions(store, project, now_ms).await?;
    println!("begun; {entered} versions of plan and reports entered");
    println!("back up the keys in `data_dir` where the store's backups are not");
    println!("into the registered plan:\n");
    println!("[project_log]\norigin = \"{origin}\"\nkey = \"{vkey}\"");
    Ok(())
}

fn kinds(kind: Option<&str>) -> anyhow::Result<()> {
    let Some(kind) = kind else {
        for kind in Kind::ALL {
            println!("{:<16} about {}", kind.name(), kind.subject());
        }
        return Ok(());
    };
    let kind = kind_of(kind)?;
    println!("{}, about {}", kind.name(), kind.subject());
    if kind.needs_attachment() {
        println!("needs an attachment");
    }
    for field in kind.fields() {
        let form = match field.sort {
            Sort::Word(words) => words.join(", "),
            sort => sort.form().to_owned(),
        };
        let may = if field.required {
            ""
        } else {
            " (may be absent)"
        };
        println!(
            "  {:<20} {}{may}\n  {:<20} {form}",
            field.key, field.help, ""
        );
    }
    Ok(())
}

struct New {
    kind: Kind,
    subject: String,
    by: String,
    fields: Vec<String>,
    replaces: Option<(u64, String)>,
}

impl New {
    async fn enter(
        self,
        store: &Store,
        writer: &Writer,
        project: &str,
        files: &[PathBuf],
        now_ms: i64,
    ) -> anyhow::Result<()> {
        let (row, _log) = writer.log(store, project).await?;
        let mut fields = Vec::new();
        for field in &self.fields {
            let pair = field.split_once('=');
            fields.push(pair.with_context(|| format!("--set {field}: write FIELD=VALUE"))?);
        }
        let mut attachments = Vec::new();
        for file in files {
            attachments.push(attach(store, &row, file, now_ms).await?);
        }
        let person = Person {
            id: "command line".to_owned(),
            name: self.by.clone(),
            role: "admin".to_owned(),
        };
        let make = |log: &ProjectLog| {
            let replaces = match &self.replaces {
                None => None,
                Some((index, reason)) => Some(named(log, *index, reason)?),
            };
            let (person, attachments) = (person.clone(), attachments.clone());
            let fields = fields.iter().copied();
            Record::enter(
                self.kind,
                &self.subject,
                person,
                attachments,
                replaces,
                fields,
            )
            .map_err(|error| Rejection::Record {
                kind: self.kind.number(),
                error,
            })
        };
        let written = writer.enter(store, project, now_ms, make).await;
        let written = written.with_context(|| {
            format!(
                "not entered; `log kinds {}` says what it holds",
                self.kind.name()
            )
        })?;
        println!("entered as #{}, leaf {}", written.index, written.leaf);
        Ok(())
    }
}

async fn attach(
    store: &Store,
    row: &store::ProjectLog,
    file: &Path,
    now_ms: i64,
) -> anyhow::Result<Attachment> {
    let shown = file.display();
    let content = std::fs::read(file).with_context(|| format!("cannot read {shown}"))?;
    anyhow::ensure!(
        !content.is_empty() && content.len() <= MOST_ATTACHMENT_BYTES,
        "{shown} has {} bytes; an attachment has 1 to {MOST_ATTACHMENT_BYTES}",
        content.len()
    );
    let name = file.file_name().and_then(|name| name.to_str());
    let name = name.with_context(|| format!("{shown} has a name that is not UTF-8"))?;
    let hash = store.put_attachment(row.log, &content, now_ms).await?;
    Ok(Attachment {
        hash: Hash(hash),
        name: name.to_owned(),
    })
}

async fn list(store: &Store, writer: &Writer, project: &str, json: bool) -> anyhow::Result<()> {
    let (row, log) = writer.log(store, project).await?;
    let witnessed = store
        .witnessed(row.log)
        .await?
        .map_or(0, |state| state.size);
    if !json {
        println!("{}", row.log_vkey);
        println!(
            "{} entries, {witnessed} cosigned by the collector",
            log.size()
        );
    }
    let mut next = 0;
    while next < log.size() {
        let rows = store.rows(row.log, next..log.size(), 256, true).await?;
        anyhow::ensure!(!rows.is_empty(), "entry {next} is not in the store");
        for stored in &rows {
            next = stored.index + 1;
            let failed = |problem: crate::problem::Problem| {
                anyhow::anyhow!("{}", problem.detail().to_owned())
            };
            if json {
                if let Some(view) = super::view::view(&log, stored, witnessed).map_err(failed)? {
                    println!("{}", serde_json::to_string(&view)?);
                }
                continue;
            }
            let Some((record, entered_ms)) = record_of(stored).map_err(failed)? else {
                continue;
            };
            let at = crate::time::utc(i64::try_from(entered_ms).unwrap_or(i64::MAX));
            let replaced = log.known(stored.index).and_then(|known| known.replaced_by);
            let replaced = replaced.map_or_else(String::new, |by| format!("  REPLACED by #{by}"));
            println!(
                "#{:<5} {at}  {} {}{replaced}",
                stored.index,
                record.kind.name(),
                record.subject
            );
            println!(
                "       by {} ({}, {})",
                record.person.name, record.person.role, record.person.id
            );
            for (key, value) in &record.fields {
                println!(
                    "       {key} = {}",
                    value.text().replace('\n', "\n         ")
                );
            }
            for attachment in &record.attachments {
                println!("       attached {} {}", attachment.name, attachment.hash);
            }
            if let Some(replaces) = &record.replaces {
                println!("       corrects #{}: {}", replaces.index, replaces.reason);
            }
        }
    }
    Ok(())
}
