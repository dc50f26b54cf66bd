//! The tamper matrix through both verifiers: every mutation is refused by name, and by the same name.

use std::path::Path;

use evidence::key::SigningKey;
use serde_json::Value;
use verify::tamper::{Expected, Good, Keys, Mutation, matrix, specimen, table};
use verify::verdict::Verdict;

use crate::support::{Files, Site, plain_day, specimen_day};

/// Where the specimen is kept.
const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/specimen");

fn keys() -> Keys {
    let key = |seed: u8| SigningKey::from_seed([seed; 32]);
    let witness = |name: &str, seed| (name.to_owned(), key(seed));
    Keys {
        log: key(1),
        entries: (2..8).map(key).collect(),
        witnesses: vec![
            witness("collector.example/w0", 90),
            witness("registry.example/w1", 91),
        ],
    }
}

/// Headers and contents of the files of an archive that were sealed: not the texts, nor the report.
fn sealed(bundle: &[u8]) -> &[u8] {
    let at = bundle
        .windows(7)
        .position(|part| part == b"origin\0")
        .unwrap();
    &bundle[at..]
}

#[test]
fn the_specimen_holds_what_this_format_seals_and_is_kept() {
    let site = specimen_day();
    let made = site.spec().write();
    if std::env::var_os("FIELDSEAL_WRITE_SPECIMEN").is_some() {
        write("bundle.tar", &made);
        write("plan.toml", site.plan.as_bytes());
        write("ours.policy", site.policy.as_bytes());
    }
    let kept = std::fs::read(Path::new(KEPT).join("bundle.tar")).unwrap();
    assert!(
        sealed(&made) == sealed(&kept),
        "a change here is a change of the format; FIELDSEAL_WRITE_SPECIMEN=1 writes it anew"
    );
    let specimen = specimen().unwrap();
    assert_eq!(specimen.good.bytes(), kept, "taken apart and put together");
    let verdict = specimen.verify(&kept, 2);
    assert_eq!(verdict.exit, 0, "{:?}", first(&verdict));
    assert!(verdict.report.equal && verdict.plan_equal);
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test's own data, when asked for"
)]
fn write(name: &str, bytes: &[u8]) {
    std::fs::create_dir_all(KEPT).unwrap();
    std::fs::write(Path::new(KEPT).join(name), bytes).unwrap();
}

fn first(verdict: &Verdict) -> Option<&str> {
    verdict
        .failures
        .first()
        .map(|failure| failure.text.as_str())
}

/// Runs mutations through both verifiers; what is not as expected, and what the two say otherwise.
fn wrong(site: &Site, good: &Good, rust: impl Fn(&[u8]) -> Verdict, both: bool) -> String {
    let mut files = Files::new(site);
    files
        .extra
        .extend(["--gap-limit-percent".to_owned(), "100".to_owned()]);
    // Whose approvals the specimen's own verifier counts.
    let approver = SigningKey::from_seed([92; 32]).public();
    files.extra.extend([
        "--approver".to_owned(),
        evidence::hash::to_hex(approver.bytes()),
    ]);
    let mut made: Vec<(&Mutation, Vec<u8>)> = Vec::new();
    let mut wrong = String::new();
    for mutation in matrix() {
        match mutation.apply(good) {
            Some(bytes) if bytes != good.bytes() => made.push((mutation, bytes)),
            Some(_) => wrong.push_str(&format!("{mutation:?}: changes nothing\n")),
            None if both => wrong.push_str(&format!("{mutation:?}: cannot be made\n")),
            None => {}
        }
    }
    let bundles: Vec<Vec<u8>> = made.iter().map(|(_, bytes)| bytes.clone()).collect();
    let python = if both {
        files.python_all(&bundles, &[])
    } else {
        Vec::new()
    };
    for (number, (mutation, bytes)) in made.iter().enumerate() {
        let ours = rust(bytes);
        if !mutation.expected.is_met(&ours, good) {
            wrong.push_str(&format!(
                "{mutation:?}: expected {}, was {} {:?}\n",
                mutation.expected.words(),
                ours.exit,
                first(&ours)
            ));
        }
        let Some(theirs) = python.get(number) else {
            continue;
        };
        let failure = &theirs["failures"][0];
        let code = ours.failures.first().map(|failure| failure.code);
        let index = ours.failures.first().and_then(|failure| failure.index);
        let refused = matches!(mutation.expected, Expected::Refused(_));
        let same = failure["code"].as_str() == code
            && failure["index"].as_u64() == index
            && theirs["exit"].as_u64() == Some(u64::from(ours.exit));
        let differs = if refused {
            None
        } else {
            differing_count(&ours, theirs)
        };
        if let Some(differs) = &differs {
            wrong.push_str(&format!("{mutation:?}: {differs}\n"));
        }
        if !same {
            wrong.push_str(&format!(
                "{mutation:?}: Rust says {} {:?}, Python {} {} {}\n",
                ours.exit,
                first(&ours),
                theirs["exit"],
                failure,
                theirs["error"]
            ));
        }
    }
    assert!(made.len() > 100, "only {} could be made", made.len());
    wrong
}

/// The first fact about a log that the two do not say alike.
fn differing_count(ours: &Verdict, theirs: &Value) -> Option<String> {
    let ours = serde_json::to_value(ours).unwrap();
    let logs = theirs["logs"].as_array().unwrap();
    logs.iter().enumerate().find_map(|(number, log)| {
        let mut facts = log.as_object().unwrap().iter();
        facts.find_map(|(key, value)| {
            let ours = &ours["logs"][number][key];
            (ours != value).then(|| format!("{key}: Rust says {ours}, Python {value}"))
        })
    })
}

#[test]
fn every_mutation_of_the_specimen_comes_out_as_listed_and_both_verifiers_say_the_same() {
    let specimen = specimen().unwrap();
    let site = specimen_day();
    let wrong = wrong(
        &site,
        &specimen.good,
        |bytes| specimen.verify(bytes, 2),
        true,
    );
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn every_mutation_of_a_day_of_ten_second_ticks_comes_out_as_listed_too() {
    let site = plain_day();
    let bundle = site.spec().write();
    let good = Good::new(&bundle, keys()).unwrap();
    assert_eq!(good.bytes(), bundle);
    // The same gateway's name and key, so that the specimen's plan binds it.
    let specimen = specimen().unwrap();
    let wrong = wrong(&site, &good, |bytes| specimen.verify(bytes, 2), false);
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn the_table_for_people_is_the_matrix() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/TAMPER.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (before, rest) = text.split_once("<!-- matrix -->\n").unwrap();
    let (kept, after) = rest.split_once("<!-- end of matrix -->\n").unwrap();
    let made = table();
    if std::env::var_os("FIELDSEAL_WRITE_TAMPER").is_some() {
        write_table(
            path,
            &format!("{before}<!-- matrix -->\n{made}<!-- end of matrix -->\n{after}"),
        );
        return;
    }
    assert!(
        kept == made,
        "FIELDSEAL_WRITE_TAMPER=1 writes the table anew:\n{made}"
    );
}

#[expect(
    clippy::disallowed_methods,
    reason = "a document of this room, when asked for"
)]
fn write_table(path: &str, text: &str) {
    std::fs::write(path, text).unwrap();
}

/// A small generator of numbers, so that every run tries the same changes.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).unwrap()).unwrap()
    }
}

#[test]
fn random_changes_get_the_same_name_and_entry_from_both_verifiers() {
    let specimen = specimen().unwrap();
    let good = specimen.good.bytes();
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    // Where a byte of a file is, not padding or header: those are all V01. The report's cells that are no
    // sums are the first implementation's alone.
    let bundle = evidence::bundle::Bundle::read(&good).unwrap();
    let log = &bundle.logs[0];
    let mut files = vec![
        &log.origin,
        &log.checkpoint,
        &log.range_start,
        &log.disclosure,
    ];
    for _ in 0..6 {
        // Most of the bytes that matter are in these two.
        files.extend([&log.entries, &log.payload]);
    }
    files.extend(
        log.controls
            .iter()
            .flat_map(|control| [&control.entry, &control.proof]),
    );
    files.extend(log.blobs.iter().map(|(_, file)| file));
    files.extend(log.trail.iter().map(|trail| &trail.note));
    let changed: Vec<Vec<u8>> = (0..160)
        .map(|round| {
            let file = files[numbers.below(files.len())];
            let size = usize::try_from(file.size).unwrap();
            let at = usize::try_from(file.offset).unwrap() + numbers.below(size);
            let mut bytes = good.clone();
            match round % 4 {
                0 => bytes[at] = u8::try_from(numbers.below(256)).unwrap(),
                1 => bytes.swap(at, at.saturating_sub(numbers.below(40))),
                _ => bytes[at] ^= 1 << numbers.below(8),
            }
            bytes
        })
        .collect();
    let mut verifier = Files::new(&specimen_day());
    verifier
        .extra
        .extend(["--gap-limit-percent".to_owned(), "100".to_owned()]);
    let python = verifier.python_all(&changed, &[]);
    let mut told = String::new();
    let mut codes = std::collections::BTreeSet::new();
    for (bytes, theirs) in changed.iter().zip(python) {
        let ours = specimen.verify(bytes, 2);
        let failure = ours.failures.first();
        let code = failure.map(|failure| failure.code);
        codes.extend(code);
        let same = theirs["failures"][0]["code"].as_str() == code
            && theirs["failures"][0]["index"].as_u64() == failure.and_then(|failure| failure.index)
            && theirs["exit"].as_u64() == Some(u64::from(ours.exit));
        if !same {
            told.push_str(&format!(
                "Rust: {} {:?}\nPython: {} {} {}\n",
                ours.exit,
                first(&ours),
                theirs["exit"],
                theirs["failures"][0],
                theirs["error"]
            ));
        }
    }
    assert!(told.is_empty(), "\n{told}");
    assert!(codes.len() > 6, "many kinds of failures: {codes:?}");
}

#[test]
fn the_second_implementation_judges_the_published_vectors_as_published() {
    let python = std::env::var("FIELDSEAL_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let here = env!("CARGO_MANIFEST_DIR");
    let output = std::process::Command::new(python)
        .arg(format!("{here}/tests/it/vectors.py"))
        .arg(format!("{here}/python"))
        .arg(format!("{here}/../evidence/testdata/rfc6962/proofs.json"))
        .output()
        .unwrap();
    let told: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(
        told,
        serde_json::json!({ "right": 6, "wrong": 92, "notes_refused": 7, "small_order_refused": 14 })
    );
}
