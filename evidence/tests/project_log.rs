//! Which entry may stand next in a project log, and the worked example of FORMAT.md.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use evidence::Rejection;
use evidence::control::{Control, Genesis};
use evidence::entry::{Body, Boot, ClockReading, ClockStatus, Entry};
use evidence::hash::{Hash, Origin, leaf_hash, sha256, to_hex};
use evidence::key::SigningKey;
use evidence::project::{Attachment, Kind, Person, ProjectLog, Record, Replaces};

const FORMAT: &str = include_str!("../FORMAT.md");

fn boot(monotonic_ms: u64) -> Boot {
    Boot {
        counter: 1,
        id: *b"fieldsea",
        monotonic_ms,
    }
}

fn clock(status: ClockStatus) -> ClockReading {
    ClockReading {
        unix_ms: 1_767_225_600_000,
        status,
        error_ms: 1_000,
    }
}

struct Writer {
    log: ProjectLog,
    key: SigningKey,
    entries: Vec<Vec<u8>>,
}

impl Writer {
    fn new() -> Self {
        let origin = Origin::parse("example.com/project/ID009").unwrap();
        let key = SigningKey::from_seed([1; 32]);
        let mut writer = Self {
            log: ProjectLog::new(origin.clone()),
            key,
            entries: Vec::new(),
        };
        let genesis = Genesis {
            origin: origin.as_str().to_owned(),
            log_key: SigningKey::from_seed([2; 32]).public(),
            entry_key: writer.key.public(),
            software: "fieldseal-verifier-api 0.1.0".to_owned(),
        };
        writer.enter(Control::Genesis(genesis)).unwrap();
        writer
    }

    fn seal(&self, body: Body, clock: ClockReading) -> Vec<u8> {
        let entry = self.log.next_entry(boot(500), clock, None, body);
        entry.sign(self.log.chain().origin(), &self.key)
    }

    fn try_at(&mut self, control: Control, clock: ClockReading) -> Result<u64, Rejection> {
        let (body, payload) = control.into_body();
        let bytes = self.seal(body, clock);
        let entered = self.log.apply(&bytes, Some(&payload))?;
        self.entries.push(bytes);
        Ok(entered.entry.index)
    }

    fn enter(&mut self, control: Control) -> Result<u64, Rejection> {
        self.try_at(control, clock(ClockStatus::FreeRunning))
    }

    fn record(&mut self, record: Record) -> Result<u64, Rejection> {
        self.enter(Control::Record(Box::new(record)))
    }

    fn leaf(&self, index: usize) -> Hash {
        leaf_hash(&self.entries[index])
    }
}

fn certificate(subject: &str, due: &str, replaces: Option<Replaces>) -> Record {
    let person = Person {
        id: "token 5f1c".to_owned(),
        name: "R. Sato".to_owned(),
        role: "preparer".to_owned(),
    };
    let scan = Attachment {
        hash: sha256(b"scan of certificate 4711"),
        name: "4711.pdf".to_owned(),
    };
    let fields = [
        ("number", "4711"),
        ("device", "23456789"),
        ("laboratory", "Example Laboratory"),
        ("accreditation", "LP-001"),
        ("standard", "class 0.02 reference meter"),
        ("calibrated", "2025-12-01"),
        ("due", due),
        ("unit", "kW"),
        ("points", "10:0.12:0.01 100:-0.05:0.00"),
        ("uncertainty_percent", "0.04"),
        ("mpe_percent", "0.2"),
    ];
    Record::enter(
        Kind::Certificate,
        subject,
        person,
        vec![scan],
        replaces,
        fields,
    )
    .unwrap()
}

fn example() -> Writer {
    let mut writer = Writer::new();
    writer
        .record(certificate("MP-1", "2026-11-30", None))
        .unwrap();
    let replaces = Replaces {
        index: 1,
        leaf: writer.leaf(1),
        reason: "the due date was mistyped".to_owned(),
    };
    let corrected = certificate("MP-1", "2026-12-01", Some(replaces));
    writer.record(corrected).unwrap();
    writer
}

#[test]
fn the_worked_example_is_what_this_crate_writes() {
    let block = |(index, entry): (usize, &Vec<u8>)| {
        let hex = to_hex(entry);
        let lines = hex.as_bytes().chunks(120);
        let lines: Vec<&str> = lines
            .map(|line| std::str::from_utf8(line).unwrap())
            .collect();
        format!("```text project {index}\n{}\n```", lines.join("\n"))
    };
    let blocks: Vec<String> = example().entries.iter().enumerate().map(block).collect();
    let blocks = blocks.join("\n\n");
    assert!(FORMAT.contains(&blocks), "FORMAT.md must hold:\n{blocks}");
}

#[test]
fn the_table_of_format_md_is_the_one_this_crate_reads_by() {
    for kind in Kind::ALL {
        let mut fields: Vec<String> = Vec::new();
        for field in kind.fields() {
            let optional = if field.required { "" } else { "?" };
            let sort = match field.sort {
                evidence::project::Sort::Word(words) if words.len() < 7 => words.join("\\|"),
                evidence::project::Sort::Word(_) => "state".to_owned(),
                sort => format!("{sort:?}").to_lowercase(),
            };
            fields.push(format!("{optional}{}: {sort}", field.key));
        }
        let row = format!(
            "| {} {} | {} |",
            kind.number(),
            kind.name(),
            fields.join(", ")
        );
        assert!(FORMAT.contains(&row), "FORMAT.md must hold:\n{row}");
    }
}

#[test]
fn a_correction_names_an_entry_of_the_same_kind_and_subject_that_stands() {
    let mut writer = example();
    let replaces = |index: u64, leaf: Hash| {
        Some(Replaces {
            index,
            leaf,
            reason: "again".to_owned(),
        })
    };
    let (first, second) = (writer.leaf(1), writer.leaf(2));
    let before = writer.log.size();
    let mut refused = |record: Record| writer.record(record).unwrap_err();
    assert_eq!(
        refused(certificate("MP-1", "2026-12-02", replaces(1, first))),
        Rejection::ReplacedAlready { index: 1, by: 2 }
    );
    assert_eq!(
        refused(certificate("MP-2", "2026-12-02", replaces(2, second))),
        Rejection::ReplacesOther(2)
    );
    assert_eq!(
        refused(certificate("MP-1", "2026-12-02", replaces(2, first))),
        Rejection::ReplacesUnknown(2)
    );
    assert_eq!(
        refused(certificate("MP-1", "2026-12-02", replaces(3, second))),
        Rejection::ReplacesUnknown(3)
    );
    assert_eq!(
        refused(certificate("MP-1", "2026-12-02", replaces(0, first))),
        Rejection::ReplacesUnknown(0)
    );
    assert_eq!(writer.log.size(), before, "a refused entry changes nothing");
    writer
        .record(certificate("MP-1", "2026-12-02", replaces(2, second)))
        .unwrap();
    assert_eq!(writer.log.known(2).unwrap().replaced_by, Some(3));
}

#[test]
fn a_project_log_holds_keys_and_records_and_nothing_else() {
    let mut writer = Writer::new();
    let note = Control::Annotation {
        from: 0,
        to: 0,
        text: "a gateway's remark".to_owned(),
        person: None,
    };
    assert_eq!(writer.enter(note), Err(Rejection::KindElsewhere(8)));
    let unset = Control::Record(Box::new(certificate("MP-1", "2026-12-01", None)));
    assert_eq!(
        writer.try_at(unset, clock(ClockStatus::Unset)),
        Err(Rejection::ProjectClockUnset)
    );
    let gap = Body::Gap {
        ticks: evidence::entry::Ticks {
            stream: 0,
            first: 0,
            count: 1,
        },
        reason: evidence::entry::GapReason::Operator,
        text: None,
    };
    let gap = writer.seal(gap, clock(ClockStatus::Ntp));
    assert_eq!(
        writer.log.apply(&gap, None).unwrap_err(),
        Rejection::NotInProjectLog
    );
    let next = SigningKey::from_seed([3; 32]);
    writer.enter(Control::KeyAdd(next.public())).unwrap();
    let record = certificate("MP-1", "2026-12-01", None);
    assert!(matches!(
        writer.record(record.clone()),
        Err(Rejection::KeyNotInForce { .. })
    ));
    writer.key = next;
    assert_eq!(writer.record(record), Ok(2));
}

#[test]
fn a_gateway_log_holds_no_record() {
    let writer = example();
    let mut chain = evidence::chain::Chain::new(writer.log.chain().origin().clone());
    chain.apply(&writer.entries[0], None).unwrap();
    assert_eq!(
        chain.apply(&writer.entries[1], None).unwrap_err(),
        Rejection::KindElsewhere(32)
    );
}

#[test]
fn every_changed_byte_of_an_entry_is_refused() {
    let writer = example();
    let mut log = ProjectLog::new(writer.log.chain().origin().clone());
    log.apply(&writer.entries[0], None).unwrap();
    for at in 0..writer.entries[1].len() {
        let mut changed = writer.entries[1].clone();
        changed[at] ^= 1;
        assert!(log.apply(&changed, None).is_err(), "byte {at}");
    }
    assert!(Entry::parse(&writer.entries[1]).is_ok());
    log.apply(&writer.entries[1], None).unwrap();
}
