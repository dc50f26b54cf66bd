use std::sync::Arc;

use evidence::checkpoint::{Checkpoint, log_vkey, sign_checkpoint};
use evidence::control::{Control, Genesis};
use evidence::entry::{Boot, ClockReading, ClockStatus};
use evidence::hash::Origin;
use evidence::key::SigningKey;
use evidence::note::Note;
use evidence::project::{Kind, Person, ProjectLog, Record};
use store::{Append, LogRef, NewProjectLog, NewRow, Store};

use super::{Projects, Refused};
use crate::clock::ManualClock;
use crate::config::Limits;
use crate::cosigner::Cosigner;
use crate::server::Collector;

const NOW: i64 = 1_767_225_600_000;

struct Bed {
    _directory: tempfile::TempDir,
    collector: Collector,
    clock: ManualClock,
    log: ProjectLog,
    row: Option<store::ProjectLog>,
    log_key: SigningKey,
    entry_key: SigningKey,
}

impl Bed {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", directory.path().join("central.db").display());
        let store = Store::open(&url).await.unwrap();
        let key = directory.path().join("cosigner.key");
        let cosigner = Cosigner::create(&key, "collector.example/w0").unwrap();
        let clock = ManualClock::at(NOW);
        let collector = Collector::new(store, cosigner, Arc::new(clock.clone()), Limits::default());
        let origin = Origin::parse("example.com/project/ID009").unwrap();
        let mut bed = Self {
            _directory: directory,
            collector,
            clock,
            log: ProjectLog::new(origin.clone()),
            row: None,
            log_key: SigningKey::from_seed([2; 32]),
            entry_key: SigningKey::from_seed([1; 32]),
        };
        let genesis = Genesis {
            origin: origin.as_str().to_owned(),
            log_key: bed.log_key.public(),
            entry_key: bed.entry_key.public(),
            software: "test".to_owned(),
        };
        let genesis = bed.seal(Control::Genesis(genesis));
        let vkey = log_vkey(&origin, &bed.log_key.public());
        let new = NewProjectLog {
            project: "ID009".to_owned(),
            origin: origin.as_str().to_owned(),
            log_key: *bed.log_key.public().bytes(),
            log_vkey: vkey.to_string(),
            token: [9; 32],
            genesis,
        };
        bed.collector.store.create_project_log(&new).await.unwrap();
        bed.row = bed.collector.store.project_log("ID009").await.unwrap();
        bed
    }

    fn at() -> LogRef {
        LogRef::of_project("ID009", "example.com/project/ID009")
    }

    fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            origin: self.log.chain().origin().clone(),
            size: self.log.size(),
            root: self.log.chain().root(),
        }
    }

    /// Seals the next entry as the writer does.
    fn seal(&mut self, control: Control) -> Append {
        let old_size = self.log.size();
        let boot = Boot {
            counter: 1,
            id: [1; 8],
            monotonic_ms: old_size,
        };
        let clock = ClockReading {
            unix_ms: u64::try_from(NOW).unwrap(),
            status: ClockStatus::FreeRunning,
            error_ms: 1_000,
        };
        let kind = u16::try_from(control.kind()).unwrap() + 100;
        let (body, payload) = control.into_body();
        let entry = self.log.next_entry(boot, clock, None, body);
        let entry = entry.sign(self.log.chain().origin(), &self.entry_key);
        let entered = self.log.apply(&entry, Some(&payload)).unwrap();
        Append {
            log: Self::at(),
            old_size,
            new_size: old_size + 1,
            new_root: self.log.chain().root().0,
            chain: Vec::new(),
            rows: vec![NewRow {
                index: old_size,
                leaf: entered.leaf.0,
                kind,
                entry,
                payload: (!payload.is_empty()).then_some(payload),
                segment: None,
            }],
            hours: Vec::new(),
            replaced: Vec::new(),
            merge: |_stored, _later| Err("a project log has no hours".to_owned()),
            placements: Vec::new(),
            note: sign_checkpoint(&self.checkpoint(), &self.log_key).to_bytes(),
            cosigned_s: 0,
            trail: false,
            now_ms: NOW,
        }
    }

    fn remark(text: &str) -> Control {
        let person = Person {
            id: "token 1".to_owned(),
            name: "R. Sato".to_owned(),
            role: "admin".to_owned(),
        };
        let fields = [("text", text)];
        let record = Record::enter(Kind::Annotation, "meter", person, vec![], None, fields);
        Control::Record(Box::new(record.unwrap()))
    }

    async fn append(&mut self, change: impl FnOnce(&mut Append)) {
        let mut append = self.seal(Self::remark("seen"));
        change(&mut append);
        self.collector.store.append(&append).await.unwrap();
    }

    async fn look(&self, projects: &mut Projects) -> Result<Option<u64>, Refused> {
        projects
            .one(&self.collector, self.row.as_ref().unwrap())
            .await
    }

    async fn signers(&self) -> Vec<String> {
        let head = self
            .collector
            .store
            .head(Self::at())
            .await
            .unwrap()
            .unwrap();
        let note = Note::parse(&head.note).unwrap();
        note.signatures.into_iter().map(|line| line.name).collect()
    }
}

#[tokio::test]
async fn a_head_that_moved_is_cosigned_once_and_a_log_at_rest_once_a_day() {
    let mut bed = Bed::new().await;
    let mut projects = Projects::default();
    assert_eq!(bed.look(&mut projects).await.unwrap(), Some(1));
    assert_eq!(bed.look(&mut projects).await.unwrap(), None);
    bed.append(|_| {}).await;
    assert_eq!(bed.signers().await, ["example.com/project/ID009"]);
    bed.clock.set(NOW + 5_000);
    assert_eq!(bed.look(&mut projects).await.unwrap(), Some(2));
    assert_eq!(
        bed.signers().await,
        ["example.com/project/ID009", "collector.example/w0"]
    );
    bed.clock.set(NOW + 80_000_000);
    assert_eq!(bed.look(&mut projects).await.unwrap(), None);
    bed.clock.set(NOW + 86_405_000);
    assert_eq!(
        bed.look(&mut projects).await.unwrap(),
        Some(2),
        "a day later"
    );
    let trail = bed
        .collector
        .store
        .trail_notes_by_size(Bed::at(), 0, 9)
        .await;
    let sizes: Vec<u64> = trail.unwrap().iter().map(|note| note.size).collect();
    assert_eq!(sizes, [1, 2, 2]);
    // Another process, which has checked nothing yet, goes on from the store.
    bed.append(|_| {}).await;
    assert_eq!(bed.look(&mut Projects::default()).await.unwrap(), Some(3));
}

#[tokio::test]
async fn an_entry_or_checkpoint_that_breaks_a_rule_is_not_cosigned() {
    let refused = async |change: fn(&mut Append)| {
        let mut bed = Bed::new().await;
        let mut projects = Projects::default();
        bed.look(&mut projects).await.unwrap();
        bed.append(change).await;
        let error = bed.look(&mut projects).await.unwrap_err().to_string();
        let state = bed.collector.store.witnessed(Bed::at()).await.unwrap();
        assert_eq!(state.unwrap().size, 1);
        error
    };
    let entry = refused(|append| *append.rows[0].entry.last_mut().unwrap() ^= 1).await;
    assert!(entry.contains("entry 1: the signature"), "{entry}");
    let note = refused(|append| append.note.truncate(append.note.len() - 9)).await;
    assert!(!note.is_empty());
    let root = refused(|append| {
        let checkpoint = Checkpoint {
            origin: Origin::parse("example.com/project/ID009").unwrap(),
            size: 2,
            root: evidence::hash::sha256(b"another tree"),
        };
        append.note = sign_checkpoint(&checkpoint, &SigningKey::from_seed([2; 32])).to_bytes();
    })
    .await;
    assert!(root.contains("the 2 entries lead to"), "{root}");
    let key = refused(|append| {
        let checkpoint = Checkpoint::parse_body(&Note::parse(&append.note).unwrap().text).unwrap();
        append.note = sign_checkpoint(&checkpoint, &SigningKey::from_seed([77; 32])).to_bytes();
    })
    .await;
    assert!(!key.is_empty());
}

#[tokio::test]
async fn a_history_that_was_rewritten_in_the_store_is_not_cosigned() {
    let mut bed = Bed::new().await;
    let mut projects = Projects::default();
    bed.append(|_| {}).await;
    assert_eq!(bed.look(&mut projects).await.unwrap(), Some(2));
    // Somebody with the store and every key of the writer makes another log of the same name, and
    // says that the collector had seen as much of it.
    let cosigned = bed
        .collector
        .store
        .witnessed(Bed::at())
        .await
        .unwrap()
        .unwrap();
    let mut other = Bed::new().await;
    other.append(|append| append.now_ms += 1).await;
    let forged = other.seal(Bed::remark("rewritten"));
    other.collector.store.append(&forged).await.unwrap();
    let mut state = other
        .collector
        .store
        .witnessed(Bed::at())
        .await
        .unwrap()
        .unwrap();
    state.size = cosigned.size;
    state.root = evidence::hash::sha256(b"the root of before").0.to_vec();
    let vkey = log_vkey(
        &Origin::parse("example.com/project/ID009").unwrap(),
        &other.log_key.public(),
    );
    let row = other.row.clone().unwrap();
    let error = Projects::default()
        .check(&other.collector, &row, &vkey, &state, 3)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("another root than was cosigned"), "{error}");
}
