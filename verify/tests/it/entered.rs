//! What people entered: proven as it was entered, and refused by name when it is changed afterwards.

use evidence::control::Control;
use evidence::entry::{Body, ControlBody, Entry};
use evidence::project::{Record, Value};
use serde_json::Value as Json;

use crate::support::{FROM_MS, Files, HOUR_MS, Office, Outcome, Site, Spec, plain_day};

/// A site whose plan names a project log, and the log.
struct Bench {
    site: Site,
    spec: Spec,
    office: Office,
    files: Files,
}

/// Index: 0 genesis, 1 certificate, 2 hand value, 3 its correction, 4 next key, 5 a remark, 6 a finding
/// with its body beside it; cosigned at 2, 4 and 7.
fn bench() -> Bench {
    let mut site = plain_day();
    let mut office = Office::new(FROM_MS);
    let (w0, w1) = (&site.witnesses[0], &site.witnesses[1]);
    office.certificate();
    office.cosign(&[w0, w1]);
    office.now_ms += HOUR_MS;
    let value = office.hand_value("43.0", None);
    office.hand_value("42.3", Some((value, "misread the invoice")));
    office.cosign(&[w0, w1]);
    office.now_ms += HOUR_MS;
    office.rotate();
    office.remark("the fence was repaired");
    office.finding();
    office.cosign(&[w0, w1]);
    site.plan.push_str(&office.plan_lines());
    Bench {
        spec: site.spec(),
        files: Files::new(&site),
        site,
        office,
    }
}

impl Bench {
    fn check(&self, change: impl FnOnce(&mut Office)) -> Outcome {
        let mut office = self.office.clone();
        change(&mut office);
        self.files.check(&self.spec.write_with(&office))
    }

    fn refused(
        &self,
        what: &str,
        exit: u8,
        code: &str,
        index: Option<u64>,
        change: impl FnOnce(&mut Office),
    ) {
        let outcome = self.check(change);
        let failure = outcome.failure();
        assert_eq!(outcome.codes().first(), Some(&code), "{what}: {failure}");
        assert_eq!(outcome.exit, exit, "{what}: {failure}");
        assert_eq!(
            outcome.json["failures"][0]["index"].as_u64(),
            index,
            "{what}: {failure}"
        );
        assert_eq!(
            outcome.json["failures"][0]["log"], "example.com/project/T",
            "{what}"
        );
        assert!(
            outcome.text.contains("DATA INTEGRITY: NOT CONFIRMED"),
            "{what}"
        );
        assert!(
            outcome.text.contains("nothing of it is confirmed"),
            "{what}: {}",
            outcome.text
        );
    }
}

/// Changes the record of an entry whose body stands in it.
fn edit(entry: &mut Entry, change: impl FnOnce(&mut Record)) {
    let Body::Control {
        kind,
        body: ControlBody::Inline(bytes),
    } = &entry.body
    else {
        panic!("a record with its body inside");
    };
    let Ok(Control::Record(mut record)) = Control::decode(*kind, bytes) else {
        panic!("a record");
    };
    change(&mut record);
    entry.body = Control::Record(record).into_body().0;
}

fn set(record: &mut Record, key: &str, text: &str) {
    let field = record
        .kind
        .fields()
        .iter()
        .find(|field| field.key == key)
        .unwrap();
    let value = Value::parse(field.key, field.sort, text).unwrap();
    for (known, old) in &mut record.fields {
        if *known == key {
            *old = value.clone();
        }
    }
}

fn person(record: &mut Record) {
    record.person.name = "K. Mori".to_owned();
}

#[test]
fn what_was_entered_is_told_with_person_time_correction_and_attachment() {
    let bench = bench();
    let outcome = bench.check(|office| {
        office
            .inputs
            .retain(|content| content != b"invoice over 43.0");
    });
    let told = &outcome.json["project_log"];
    assert_eq!(outcome.exit, 0, "{}\n{}", outcome.failure(), outcome.text);
    assert_eq!(told["checked"], true);
    assert_eq!(
        (told["size"].as_u64(), told["roots"].as_u64()),
        (Some(7), Some(3))
    );
    assert_eq!(
        (told["entry_keys"].as_u64(), told["quorum_met"].as_u64()),
        (Some(2), Some(3))
    );
    let records = told["records"].as_array().unwrap();
    let indices: Vec<u64> = records
        .iter()
        .filter_map(|record| record["index"].as_u64())
        .collect();
    assert_eq!(indices, [1, 2, 3, 5, 6]);
    assert_eq!(records[1]["replaced_by"], 3);
    assert_eq!(records[1]["fields"]["value"], "43.0");
    assert_eq!(records[2]["fields"]["value"], "42.3");
    assert_eq!(records[2]["replaces"][1], "misread the invoice");
    assert_eq!(records[0]["after_s"], Json::Null, "nothing was pinned yet");
    let entered_s = records[2]["entered_ms"].as_u64().unwrap() / 1000;
    assert!(records[2]["after_s"].as_u64().unwrap() < entered_s);
    assert_eq!(records[2]["before_s"].as_u64(), Some(entered_s + 20));
    assert_eq!(records[2]["class"], 2);
    let present: Vec<bool> = told["attachments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|attachment| attachment["present"].as_bool().unwrap())
        .collect();
    assert_eq!(present.iter().filter(|present| !**present).count(), 1);
    for text in [
        "by R. Sato (preparer, token 5f1c)",
        "REPLACED by #3, shown as it was entered",
        "corrects #2: misread the invoice",
        "not in the bundle: declared by its hash only",
        "in the bundle, the file that was entered",
    ] {
        assert!(outcome.text.contains(text), "{text}\n{}", outcome.text);
    }
    // The second implementation finds the same.
    let theirs = &bench.files.python(&[])["project_log"];
    for (key, value) in theirs.as_object().unwrap() {
        if key == "records" {
            let theirs = value.as_array().unwrap();
            assert_eq!(records.len(), theirs.len());
            for (ours, theirs) in records.iter().zip(theirs) {
                for (key, value) in theirs.as_object().unwrap() {
                    assert_eq!(&ours[key], value, "{key} of {ours}");
                }
                assert!(theirs.as_object().unwrap().len() >= 10);
            }
        } else {
            assert_eq!(&told[key], value, "{key}");
        }
    }
    assert!(theirs.as_object().unwrap().len() >= 10);
}

#[test]
fn without_a_project_log_the_verdict_says_that_nothing_entered_is_witnessed() {
    let site = plain_day();
    let files = Files::new(&site);
    let outcome = files.check(&site.spec().write());
    assert_eq!(outcome.exit, 0);
    assert!(
        outcome
            .text
            .contains("NOT WITNESSED: your plan names no [project_log];"),
        "{}",
        outcome.text
    );
    // A log that the plan does not know proves nothing, whatever is in it.
    let mut office = bench().office;
    office.entries[2][30] ^= 1;
    let outcome = files.check(&site.spec().write_with(&office));
    assert_eq!(outcome.exit, 0, "{}", outcome.failure());
    assert!(
        outcome
            .text
            .contains("without its key in your plan it proves nothing"),
        "{}",
        outcome.text
    );
    // A log that the plan names must be there.
    let bench = bench();
    let outcome = bench.files.check(&bench.site.spec().write());
    assert_eq!(
        (outcome.exit, outcome.codes()),
        (3, vec!["V41"]),
        "{}",
        outcome.failure()
    );
}

#[test]
fn a_record_changed_without_a_key_fails_its_signature() {
    let bench = bench();
    for (what, change) in [
        (
            "a hand value",
            (|record| set(record, "value", "44.0")) as fn(&mut Record),
        ),
        ("its person", person),
        ("its period", |record| set(record, "to", "2026-01-06")),
        ("its document", |record| {
            record.attachments[0].name = "other.pdf".to_owned();
        }),
    ] {
        bench.refused(what, 2, "E06", Some(2), |office| {
            office.sign_one(2, 99, |entry| edit(entry, change));
            // The forger has no key: he leaves the name of the key that is in force.
            let old = bench.office.entries[2].clone();
            let entry = &mut office.entries[2];
            entry[8..16].copy_from_slice(&old[8..16]);
        });
    }
    bench.refused("a body beside its entry", 2, "E14", Some(6), |office| {
        // The writer names a body by its hash, so a changed one is another file.
        office.bodies[0][2_000] ^= 1;
    });
}

#[test]
fn a_record_changed_with_todays_key_breaks_the_chain_or_the_witnessed_root() {
    let bench = bench();
    let changed = |office: &mut Office| {
        office.sign_one(2, 151, |entry| {
            edit(entry, |record| set(record, "value", "44.0"));
        });
    };
    bench.refused("one entry", 2, "V08", Some(3), |office| {
        office.sign_one(3, 151, |entry| {
            edit(entry, |record| set(record, "value", "44.0"));
        });
    });
    bench.refused("the link after it", 2, "E03", Some(3), changed);
    bench.refused(
        "every link, the correction included",
        2,
        "E30",
        Some(3),
        |office| {
            office.forge(|entries| edit(&mut entries[2], person));
        },
    );
    bench.refused("every link", 2, "V08", Some(6), |office| {
        office.forge(|entries| edit(&mut entries[5], person));
    });
    bench.refused("an entry left out", 2, "E02", Some(3), |office| {
        drop(office.entries.remove(3));
    });
    bench.refused(
        "an entry left out and linked again",
        2,
        "V08",
        Some(3),
        |office| {
            office.forge(|entries| drop(entries.remove(3)));
        },
    );
    bench.refused("the last entry left out", 3, "V09", None, |office| {
        drop(office.entries.pop());
    });
    bench.refused("an entry put in", 2, "E02", Some(3), |office| {
        let again = office.entries[2].clone();
        office.entries.insert(3, again);
    });
    bench.refused("an entry put in and linked", 2, "V08", Some(3), |office| {
        office.forge(|entries| {
            let mut remark = entries[5].clone();
            remark.boot.monotonic_ms = 1;
            entries.insert(2, remark);
            for entry in entries.iter_mut().skip(2) {
                if let Body::Control { kind: 34, .. } = &entry.body {
                    edit(entry, |record| record.replaces = None);
                }
            }
        });
    });
    bench.refused("an entry behind the last", 2, "V10", Some(7), |office| {
        office.remark("later");
    });
}

#[test]
fn whoever_holds_every_key_of_the_centre_still_needs_the_witnesses() {
    let bench = bench();
    let forged = |office: &mut Office| office.forge(|entries| edit(&mut entries[5], person));
    let (w0, w1) = (&bench.site.witnesses[0], &bench.site.witnesses[1]);
    bench.refused("one witness short", 4, "V03", None, |office| {
        forged(office);
        office.sign_again(&[w0]);
    });
    bench.refused("a fork beside the kept note", 2, "V07", None, |office| {
        forged(office);
        office.sign_again(&[w0, w1]);
    });
    bench.refused(
        "a claimed time before a pinned statement",
        4,
        "V15",
        Some(5),
        |office| {
            office.forge(|entries| entries[5].clock.unix_ms -= 8 * 3_600_000);
            office.trail.pop();
            office.sign_again(&[w0, w1]);
        },
    );
    bench.refused(
        "a claimed time after the witnesses saw it",
        4,
        "V15",
        Some(5),
        |office| {
            office.forge(|entries| entries[5].clock.unix_ms += 3_600_000);
            office.trail.pop();
            office.sign_again(&[w0, w1]);
        },
    );
    // With everybody together nothing can be found, as the threat model says.
    let all = bench.check(|office| {
        forged(office);
        office.trail.pop();
        office.sign_again(&[w0, w1]);
    });
    assert_eq!(all.exit, 0, "{}", all.failure());
}

#[test]
fn an_attachment_that_was_swapped_is_refused() {
    let bench = bench();
    let mut bundle = bench.spec.write_with(&bench.office);
    let scan = b"scan of 4711";
    let at = bundle
        .windows(512)
        .position(|block| {
            block.starts_with(scan) && block[scan.len()..].iter().all(|byte| *byte == 0)
        })
        .unwrap();
    bundle[at] ^= 1;
    let outcome = bench.files.check(&bundle);
    assert_eq!(
        (outcome.exit, outcome.codes()),
        (2, vec!["V40"]),
        "{}",
        outcome.failure()
    );
    bench.refused("a file under its own hash", 2, "V42", None, |office| {
        office.inputs[0] = b"scan of 4712".to_vec();
    });
}
