//! Appending to project logs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

use evidence::checkpoint::{Checkpoint, sign_checkpoint};
use evidence::control::{Control, Genesis};
use evidence::entry::{Boot, ClockReading, ClockStatus, Freshness, FreshnessKind};
use evidence::hash::{Hash, Origin, sha256};
use evidence::key::SigningKey;
use evidence::note::{Note, Vkey};
use evidence::project::{Kind, LogState, Person, ProjectLog, Record, Value};
use evidence::{Rejection, checkpoint::log_vkey};
use ring::rand::{SecureRandom as _, SystemRandom};
use store::{Append, Appended, LogRef, NewProjectLog, NewRow, Store, StoreError};

use super::keys::{Keys, KeysError};

/// Why something was not entered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The project has no log.
    #[error(
        "project `{0}` has no log yet; `fieldseal-verifier-api log init --project {0} --origin <operator domain>/project/{0}` begins one"
    )]
    NoLog(String),
    /// No place for keys.
    #[error("`data_dir` is not set in verifier-api.toml: the keys of project logs need a folder")]
    NoDataDir,
    /// The keys are elsewhere.
    #[error("the keys of the log are not in {0}: enter it where they are, or restore them")]
    NoKeys(PathBuf),
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The record may not stand there.
    #[error("{0}")]
    Rejected(#[from] Rejection),
    /// The clock is not right.
    #[error(
        "the machine's clock is {0} s behind the log's last entry; check it (`timedatectl`) before anything is sealed"
    )]
    Clock(i64),
    /// What is stored is not what it must be.
    #[error("the stored log: {0}")]
    Damaged(String),
    /// Too many others wrote at the same moment.
    #[error("others wrote at the same moment; try again")]
    Busy,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A record that was entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Its index.
    pub index: u64,
    /// Its leaf hash.
    pub leaf: Hash,
}

/// A log as far as it was read, and what of it the writer needs.
#[derive(Debug, Clone)]
struct Read {
    log: ProjectLog,
    /// When the entry key in force was certified, and when the last entry was sealed, unix milliseconds.
    key_ms: i64,
    last_ms: i64,
    /// Versions of plans and reports that the log holds: kind, subject, version.
    versions: BTreeSet<(Kind, String, u64)>,
}

/// Appends to the logs of all projects.
#[derive(Debug)]
pub struct Writer {
    data_dir: Option<PathBuf>,
    /// This run of the program.
    id: [u8; 8],
    since: Instant,
    /// One append at a time in this process; across processes the store decides.
    read: tokio::sync::Mutex<BTreeMap<String, Read>>,
}

/// A clock may differ between the machines that write one log by so much.
const MOST_BEHIND_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;
const MOST_RACES: u32 = 8;
const PAGE: u32 = 256;

impl Writer {
    /// A writer with its keys in this folder; without one nothing can be entered.
    #[must_use]
    pub fn new(data_dir: Option<PathBuf>) -> Self {
        let mut id = [0; 8];
        // Without randomness the id repeats, which the counter in every entry makes harmless.
        let _filled = SystemRandom::new().fill(&mut id);
        Self {
            data_dir,
            id,
            since: Instant::now(),
            read: tokio::sync::Mutex::default(),
        }
    }

    fn keys(&self, origin: &Origin) -> Result<Keys, WriteError> {
        let folder = self.data_dir.as_ref().ok_or(WriteError::NoDataDir)?;
        Ok(Keys::of(folder, origin))
    }

    /// Begins the log of a project: makes its keys and its first entry. Returns the verification key,
    /// which belongs into the registered plan.
    ///
    /// A crash in between leaves keys that no log names; the next attempt says so.
    ///
    /// # Errors
    /// [`WriteError`]; a project has one log for good.
    pub async fn init(
        &self,
        store: &Store,
        project: &str,
        origin: &Origin,
        now_ms: i64,
    ) -> Result<Vkey, WriteError> {
        if store.project_log(project).await?.is_some() {
            let what = format!("a log of project `{project}`");
            return Err(StoreError::Exists { what }.into());
        }
        let (log_key, entry_key) = self.keys(origin)?.create()?;
        let genesis = Genesis {
            origin: origin.as_str().to_owned(),
            log_key: log_key.public(),
            entry_key: entry_key.public(),
            software: format!("fieldseal-verifier-api {}", env!("CARGO_PKG_VERSION")),
        };
        let at = LogRef::of_project(project, origin.as_str());
        let mut read = Read::new(origin.clone());
        let row = self.seal(
            &mut read,
            Control::Genesis(genesis),
            &entry_key,
            None,
            now_ms,
        )?;
        let vkey = log_vkey(origin, &log_key.public());
        let mut token = [0; 32];
        SystemRandom::new()
            .fill(&mut token)
            .map_err(|_unspecified| KeysError::Random(evidence::key::KeyError::NoRandomness))?;
        let new = NewProjectLog {
            project: project.to_owned(),
            origin: origin.as_str().to_owned(),
            log_key: *log_key.public().bytes(),
            log_vkey: vkey.to_string(),
            token,
            genesis: append(at, &read.log, vec![row], &log_key, now_ms),
        };
        store.create_project_log(&new).await?;
        Ok(vkey)
    }

    /// Enters a record. `make` builds it and is asked again when others were faster: it sees the log.
    ///
    /// # Errors
    /// [`WriteError`]; then nothing was entered.
    pub async fn enter(
        &self,
        store: &Store,
        project: &str,
        now_ms: i64,
        make: impl Fn(&ProjectLog) -> Result<Record, Rejection>,
    ) -> Result<Written, WriteError> {
        let mut all = self.read.lock().await;
        for _attempt in 0..MOST_RACES {
            let known = all.remove(project);
            let (row, mut read) = self.catch_up(store, project, known).await?;
            let record = make(&read.log)?;
            let keys = self.keys(read.log.chain().origin())?;
            if !keys.exist() {
                return Err(WriteError::NoKeys(keys.folder().to_owned()));
            }
            let behind_ms = read.last_ms - now_ms;
            if behind_ms > MOST_BEHIND_MS {
                return Err(WriteError::Clock(behind_ms / 1000));
            }
            read.log.check(&record)?;
            let before = read.clone();
            let pin = freshness(store, &row).await?;
            let old = read
                .log
                .chain()
                .entry_key()
                .map(evidence::key::VerifyingKey::key_id);
            let old = old.ok_or_else(|| WriteError::Damaged("it has no entry key".to_owned()))?;
            let mut key = keys.entry_key(old)?;
            let mut rows = Vec::new();
            let rotated = now_ms.div_euclid(DAY_MS) != read.key_ms.div_euclid(DAY_MS);
            if rotated {
                let next = keys.add_entry_key()?;
                let add = Control::KeyAdd(next.public());
                rows.push(self.seal(&mut read, add, &key, pin, now_ms)?);
                key = next;
            }
            let control = Control::Record(Box::new(record));
            let sealed = self.seal(&mut read, control, &key, pin, now_ms)?;
            let written = Written {
                index: sealed.index,
                leaf: Hash(sealed.leaf),
            };
            rows.push(sealed);
            let next = append(row.log, &read.log, rows, &keys.log_key()?, now_ms);
            let outcome = store.append(&next).await;
            let gone = match &outcome {
                Ok(Appended::At(_)) => old,
                _ => key.public().key_id(),
            };
            match outcome {
                Ok(Appended::At(_)) => {
                    if rotated {
                        keys.forget(gone);
                    }
                    all.insert(project.to_owned(), read);
                    return Ok(written);
                }
                Ok(Appended::HeadMoved { .. }) => {
                    if rotated {
                        keys.forget(gone);
                    }
                    all.insert(project.to_owned(), before);
                }
                // Whether it was committed is unknown, so the new key stays; the log is read again.
                Err(error) => return Err(error.into()),
            }
        }
        Err(WriteError::Busy)
    }

    /// The log as it is stored now, for who reads it.
    pub(crate) async fn log(
        &self,
        store: &Store,
        project: &str,
    ) -> Result<(store::ProjectLog, ProjectLog), WriteError> {
        let mut all = self.read.lock().await;
        let known = all.remove(project);
        let (row, read) = self.catch_up(store, project, known).await?;
        let log = read.log.clone();
        all.insert(project.to_owned(), read);
        Ok((row, log))
    }

    /// Enters the versions of plan and reports that the log does not hold yet: they are made elsewhere,
    /// and a crash in between must not leave one out.
    ///
    /// # Errors
    /// [`WriteError`]; what was entered before it stays.
    pub async fn enter_versions(
        &self,
        store: &Store,
        project: &str,
        now_ms: i64,
    ) -> Result<u64, WriteError> {
        let versions = {
            let mut all = self.read.lock().await;
            let known = all.remove(project);
            let (_row, read) = self.catch_up(store, project, known).await?;
            let versions = read.versions.clone();
            all.insert(project.to_owned(), read);
            versions
        };
        let mut entered = 0;
        for record in made(store, project, &versions).await? {
            let make = |_: &ProjectLog| Ok(record.clone());
            self.enter(store, project, now_ms, make).await?;
            entered += 1;
        }
        Ok(entered)
    }

    async fn catch_up(
        &self,
        store: &Store,
        project: &str,
        known: Option<Read>,
    ) -> Result<(store::ProjectLog, Read), WriteError> {
        let row = store.project_log(project).await?;
        let row = row.ok_or_else(|| WriteError::NoLog(project.to_owned()))?;
        let origin = Origin::parse(&row.origin).map_err(|error| damaged(&error))?;
        let mut read = known.unwrap_or_else(|| Read::new(origin));
        loop {
            let rows = store
                .rows(row.log, read.log.size()..u64::MAX, PAGE, true)
                .await?;
            if rows.is_empty() {
                break;
            }
            for stored in rows {
                let applied = read.apply(&stored.entry, stored.payload.as_deref());
                applied.map_err(|error| damaged(&format!("entry {}: {error}", stored.index)))?;
            }
        }
        Ok((row, read))
    }

    /// Seals one entry behind what was read and takes it in, which checks it.
    fn seal(
        &self,
        read: &mut Read,
        control: Control,
        key: &SigningKey,
        pin: Option<Freshness>,
        now_ms: i64,
    ) -> Result<NewRow, WriteError> {
        let counter = match read.log.chain().boot() {
            None => 1,
            Some(last) if last.id == self.id => last.counter,
            Some(last) => last.counter + 1,
        };
        let boot = Boot {
            counter,
            id: self.id,
            monotonic_ms: u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        let clock = ClockReading {
            unix_ms: u64::try_from(now_ms).unwrap_or(0),
            // How well the machine's clock is kept is not asked; two that write one log may differ by
            // this much before an entry is refused.
            status: ClockStatus::FreeRunning,
            error_ms: MOST_BEHIND_MS.unsigned_abs(),
        };
        let kind = u16::try_from(control.kind())
            .unwrap_or(u16::MAX)
            .saturating_add(100);
        let (body, payload) = control.into_body();
        let entry = read.log.next_entry(boot, clock, pin, body);
        let index = entry.index;
        let entry = entry.sign(read.log.chain().origin(), key);
        let leaf = read.apply(&entry, Some(&payload))?;
        Ok(NewRow {
            index,
            leaf: leaf.0,
            kind,
            entry,
            payload: (!payload.is_empty()).then_some(payload),
            segment: None,
        })
    }
}

impl Read {
    fn new(origin: Origin) -> Self {
        Self {
            log: ProjectLog::new(origin),
            key_ms: 0,
            last_ms: 0,
            versions: BTreeSet::new(),
        }
    }

    fn apply(&mut self, entry: &[u8], payload: Option<&[u8]>) -> Result<Hash, Rejection> {
        let entered = self.log.apply(entry, payload)?;
        self.last_ms = i64::try_from(entered.entry.clock.unix_ms).unwrap_or(i64::MAX);
        match &entered.control {
            Control::Genesis(_) | Control::KeyAdd(_) => self.key_ms = self.last_ms,
            Control::Record(record) => self.versions.extend(version_of(record)),
            _ => {}
        }
        Ok(entered.leaf)
    }
}

fn damaged(error: &dyn std::fmt::Display) -> WriteError {
    WriteError::Damaged(error.to_string())
}

/// The version that a record is about.
fn version_of(record: &Record) -> Option<(Kind, String, u64)> {
    match (record.kind, record.field("version")) {
        (Kind::ReportVersion | Kind::PlanVersion, Some(Value::Number(version))) => {
            Some((record.kind, record.subject.clone(), *version))
        }
        _ => None,
    }
}

/// The newest kept note of the log: its hash proves that what follows was sealed after it.
async fn freshness(
    store: &Store,
    row: &store::ProjectLog,
) -> Result<Option<Freshness>, WriteError> {
    let Some(kept) = store.newest_trail_note(row.log).await? else {
        return Ok(None);
    };
    let vkey = Vkey::parse(&row.log_vkey).map_err(|error| damaged(&error))?;
    let ours = Note::parse(&kept.note).is_ok_and(|note| Checkpoint::open(&note, &vkey).is_ok());
    Ok(ours.then(|| Freshness {
        kind: FreshnessKind::CosignedNote,
        hash: sha256(&kept.note),
    }))
}

fn append(
    log: LogRef,
    read: &ProjectLog,
    rows: Vec<NewRow>,
    log_key: &SigningKey,
    now_ms: i64,
) -> Append {
    let checkpoint = Checkpoint {
        origin: read.chain().origin().clone(),
        size: read.size(),
        root: read.chain().root(),
    };
    let count = u64::try_from(rows.len()).unwrap_or(u64::MAX);
    Append {
        log,
        old_size: checkpoint.size.saturating_sub(count),
        new_size: checkpoint.size,
        new_root: checkpoint.root.0,
        // Read again from its entries: they are few.
        chain: Vec::new(),
        rows,
        hours: Vec::new(),
        replaced: Vec::new(),
        merge: |_stored, _later| Err("a project log has no hours".to_owned()),
        placements: Vec::new(),
        note: sign_checkpoint(&checkpoint, log_key).to_bytes(),
        cosigned_s: 0,
        trail: false,
        now_ms,
    }
}

/// Every version of plan and reports in the store that is not known, oldest first, as a record.
async fn made(
    store: &Store,
    project: &str,
    known: &BTreeSet<(Kind, String, u64)>,
) -> Result<Vec<Record>, WriteError> {
    let person = |name: &str| Person {
        id: "fieldseal-verifier-api".to_owned(),
        name: name.to_owned(),
        role: "entered by the program".to_owned(),
    };
    let record = |kind, subject: &str, by: &str, fields| Record {
        kind,
        subject: subject.to_owned(),
        person: person(by),
        attachments: Vec::new(),
        replaces: None,
        fields,
    };
    let mut records = Vec::new();
    for plan in store.plans(project).await? {
        if known.contains(&(Kind::PlanVersion, project.to_owned(), plan.version)) {
            continue;
        }
        let fields = vec![
            ("version", Value::Number(plan.version)),
            ("sha256", Value::Hash(Hash(plan.hash))),
            ("decision", Value::Text(plan.decision)),
        ];
        records.push(record(Kind::PlanVersion, project, &plan.applied_by, fields));
    }
    let mut reports = store.reports(project, 10_000).await?;
    reports.reverse();
    for summary in reports {
        if known.contains(&(Kind::ReportVersion, summary.id.clone(), summary.version)) {
            continue;
        }
        let report = store
            .report(project, &summary.id, Some(summary.version))
            .await?;
        let Some(report) = report else { continue };
        let pinned: Vec<crate::reports::Pinned> =
            serde_json::from_str(&summary.pinned).map_err(|error| damaged(&error))?;
        let mut logs = Vec::new();
        for pinned in pinned {
            logs.push(LogState {
                origin: pinned.origin,
                size: pinned.size,
                root: Hash::from_hex(&pinned.root).map_err(|error| damaged(&error))?,
            });
        }
        logs.sort_by(|a, b| a.origin.as_bytes().cmp(b.origin.as_bytes()));
        let software = format!("fieldseal-verifier-api {}", env!("CARGO_PKG_VERSION"));
        let fields = vec![
            ("version", Value::Number(summary.version)),
            ("sha256", Value::Hash(sha256(&report.body))),
            ("plan", Value::Hash(Hash(summary.plan_hash))),
            ("logs", Value::Logs(logs)),
            ("software", Value::Text(software)),
        ];
        records.push(record(
            Kind::ReportVersion,
            &summary.id,
            &summary.created_by,
            fields,
        ));
    }
    Ok(records)
}
