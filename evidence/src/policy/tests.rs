use std::fmt::Write as _;

use super::*;
use crate::checkpoint::{log_vkey, sign_checkpoint};
use crate::cosignature::cosign;
use crate::hash::{Origin, leaf_hash};
use crate::key::SigningKey;
use crate::note::{NoteSignature, VkeyError};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed([seed; 32])
}

fn witness_vkey(seed: u8) -> Vkey {
    let name = format!("witness.example/{seed}");
    Vkey::new(&name, SignatureKind::Cosignature, key(seed).public()).unwrap()
}

fn origin() -> Origin {
    Origin::parse("example.com/gw/0001").unwrap()
}

fn checkpoint() -> Checkpoint {
    Checkpoint {
        origin: origin(),
        size: 3,
        root: leaf_hash(b"some root"),
    }
}

/// Witnesses W1..=Wn (seeds 1..=n), then `lines`.
fn policy_text(witnesses: u8, lines: &str) -> String {
    let mut text = format!("log {}\n", log_vkey(&origin(), &key(100).public()));
    for seed in 1..=witnesses {
        writeln!(text, "witness W{seed} {}", witness_vkey(seed)).unwrap();
    }
    text + lines
}

fn policy(witnesses: u8, lines: &str) -> Policy {
    Policy::parse(&policy_text(witnesses, lines)).unwrap()
}

/// The log's checkpoint, cosigned by each (seed, time).
fn note(cosigned: &[(u8, u64)]) -> Note {
    let mut note = sign_checkpoint(&checkpoint(), &key(100));
    for (seed, time) in cosigned {
        let name = format!("witness.example/{seed}");
        note.signatures
            .push(cosign(&note.text, &name, &key(*seed), *time));
    }
    note
}

#[test]
fn the_quorum_is_met_at_the_time_of_the_cosignature_that_completes_it() {
    let nested = "group X 2 W1 W2 W3\ngroup Y any W4 W5\ngroup both all X Y\nquorum both\n";
    let policy = policy(5, nested);
    let judge = |cosigned: &[(u8, u64)]| {
        let quorum = policy.evaluate(&note(cosigned)).unwrap();
        (quorum.met, quorum.time)
    };
    assert_eq!(judge(&[]), (false, None));
    assert_eq!(judge(&[(1, 10), (2, 20), (3, 30)]), (false, None));
    assert_eq!(judge(&[(4, 10), (5, 20), (3, 30)]), (false, None));
    assert_eq!(judge(&[(1, 10), (2, 20), (5, 5)]), (true, Some(20)));
    assert_eq!(judge(&[(1, 10), (2, 20), (5, 99)]), (true, Some(99)));
    assert_eq!(
        judge(&[(3, 1), (1, 10), (2, 20), (4, 7), (5, 3)]),
        (true, Some(10))
    );
    // Unknown witnesses change nothing; of two lines of one witness the earlier counts.
    assert_eq!(
        judge(&[(1, 10), (2, 20), (2, 12), (5, 5), (77, 1)]),
        (true, Some(12))
    );
}

#[test]
fn the_answer_names_the_witnesses_of_the_policy_and_the_checkpoint() {
    let quorum = policy(3, "quorum W2\n")
        .evaluate(&note(&[(3, 30), (2, 20)]))
        .unwrap();
    assert_eq!(quorum.checkpoint, checkpoint());
    assert_eq!(quorum.valid, [("W2".to_owned(), 20), ("W3".to_owned(), 30)]);
}

#[test]
fn a_quorum_of_none_is_met_without_witnesses_and_has_no_time() {
    let quorum = policy(1, "quorum none\n")
        .evaluate(&note(&[(1, 10)]))
        .unwrap();
    assert_eq!((quorum.met, quorum.time), (true, None));
    assert_eq!(quorum.valid.len(), 1);
}

#[test]
fn a_quorum_short_by_one_is_not_met() {
    let policy = policy(3, "group g 3 W1 W2 W3\nquorum g\n");
    assert!(!policy.evaluate(&note(&[(1, 1), (3, 1)])).unwrap().met);
    assert!(
        policy
            .evaluate(&note(&[(1, 1), (3, 1), (2, 1)]))
            .unwrap()
            .met
    );
    // The same witness twice is one witness.
    assert!(
        !policy
            .evaluate(&note(&[(1, 1), (3, 1), (3, 2)]))
            .unwrap()
            .met
    );
}

#[test]
fn a_checkpoint_of_another_log_or_without_the_logs_signature_is_refused() {
    let policy = policy(1, "quorum W1\n");
    let mut unsigned = note(&[(1, 10)]);
    unsigned.signatures.remove(0);
    let name = || origin().to_string();
    assert_eq!(
        policy.evaluate(&unsigned),
        Err(EvaluationError::NotSignedByLog(name()))
    );
    unsigned.signatures.clear();
    assert_eq!(
        policy.evaluate(&unsigned),
        Err(EvaluationError::NotSignedByLog(name()))
    );

    let origin = Origin::parse("example.com/gw/0002").unwrap();
    let other = sign_checkpoint(
        &Checkpoint {
            origin,
            ..checkpoint()
        },
        &key(100),
    );
    let unknown = EvaluationError::UnknownLog("example.com/gw/0002".into());
    assert_eq!(policy.evaluate(&other), Err(unknown));

    let mut bad = note(&[(1, 10)]);
    bad.signatures[1].bytes[30] ^= 1;
    let witness = NoteError::BadSignature("witness.example/1".into());
    assert_eq!(policy.evaluate(&bad), Err(EvaluationError::Note(witness)));
}

#[test]
fn the_signature_of_another_log_of_the_policy_does_not_count() {
    let other = Origin::parse("example.com/gw/0002").unwrap();
    let other_vkey = log_vkey(&other, &key(101).public());
    let policy = policy(1, &format!("log {other_vkey}\nquorum W1\n"));
    let mut note = note(&[(1, 10)]);
    note.signatures[0] = NoteSignature {
        name: other.to_string(),
        key_hash: other_vkey.key_hash(),
        bytes: key(101).sign(note.text.as_bytes()).to_vec(),
    };
    note.verify(&[other_vkey]).unwrap();
    let not_signed = EvaluationError::NotSignedByLog(origin().to_string());
    assert_eq!(policy.evaluate(&note), Err(not_signed));
}

#[test]
fn a_policy_without_logs_leaves_the_log_signature_to_the_caller() {
    let text = policy_text(1, "quorum W1\n");
    let (_, without_log) = text.split_once('\n').unwrap();
    let policy = Policy::parse(without_log).unwrap();
    assert!(policy.logs().is_empty());
    assert!(!policy.evaluate(&note(&[])).unwrap().met);
    assert!(policy.evaluate(&note(&[(1, 10)])).unwrap().met);
}

#[test]
fn cosignatures_of_different_sizes_meet_a_quorum_together() {
    let policy = policy(2, "group g all W1 W2\nquorum g\n");
    assert_eq!(policy.met(&[Some(10), None]), Met::Never);
    assert_eq!(policy.met(&[Some(10), Some(70)]), Met::At(70));
    assert_eq!(policy.met(&[]), Met::Never);
}

#[test]
fn the_split_view_number_counts_the_witnesses_that_would_have_to_lie() {
    for (witnesses, lines, number, liars, words) in [
        (0, "quorum none", 0, vec![], "none"),
        (1, "quorum W1", 1, vec!["W1"], "W1"),
        (
            2,
            "group g any W1 W2\nquorum g",
            0,
            vec![],
            "any of (W1, W2)",
        ),
        (
            3,
            "group o any W2 W3\ngroup g all W1 o\nquorum g",
            1,
            vec!["W1"],
            "all of (W1, any of (W2, W3))",
        ),
        (
            3,
            "group g 2 W1 W2 W3\nquorum g",
            1,
            vec!["W1"],
            "2 of (W1, W2, W3)",
        ),
        (
            2,
            "group g all W1 W2\nquorum g",
            2,
            vec!["W1", "W2"],
            "all of (W1, W2)",
        ),
        (
            4,
            "group g 3 W1 W2 W3 W4\nquorum g",
            2,
            vec!["W1", "W2"],
            "3 of (W1, W2, W3, W4)",
        ),
        // The cheap member of a group is the one that is used: the `any` group costs nothing.
        (
            4,
            "group o any W3 W4\ngroup g 2 W1 W2 o\nquorum g",
            0,
            vec![],
            "2 of (W1, W2, any of (W3, W4))",
        ),
    ] {
        let policy = policy(witnesses, lines);
        assert_eq!(policy.split_view_number(), number, "{lines}");
        assert_eq!(policy.split_view_witnesses(), liars, "{lines}");
        assert_eq!(policy.describe(), words);
    }
}

/// All sets of witnesses, as bits, that satisfy the policy.
fn satisfying(policy: &Policy) -> Vec<u32> {
    let n = policy.witnesses().len();
    (0..1_u32 << n)
        .filter(|set| {
            let times: Vec<_> = (0..n).map(|i| (set >> i & 1 == 1).then_some(1)).collect();
            policy.met(&times) != Met::Never
        })
        .collect()
}

#[test]
fn the_split_view_number_equals_the_search_over_all_pairs_of_signer_sets() {
    // Every threshold of a group of groups over 2 + 3 witnesses, one more beside them.
    let mut seen = std::collections::BTreeSet::new();
    for (a, b, top) in (1..=2)
        .flat_map(|a| (1..=3).map(move |b| (a, b)))
        .flat_map(|(a, b)| (1..=3).map(move |top| (a, b, top)))
    {
        let lines = format!(
            "group A {a} W1 W2\ngroup B {b} W3 W4 W5\ngroup top {top} A W6 B\nquorum top\n"
        );
        let policy = policy(6, &lines);
        let sets = satisfying(&policy);
        let smallest = sets
            .iter()
            .flat_map(|one| sets.iter().map(move |two| (one & two).count_ones()))
            .min()
            .unwrap();
        assert_eq!(policy.split_view_number(), smallest, "{lines}");
        // And the named set is one that works: two satisfying sets share only members of it.
        let liars = policy.split_view_witnesses();
        let bits = liars.iter().fold(0, |bits, name| {
            let place = policy
                .witnesses()
                .iter()
                .position(|(n, _)| n == name)
                .unwrap();
            bits | 1_u32 << place
        });
        assert!(
            sets.iter()
                .any(|one| sets.iter().any(|two| one & two & !bits == 0)),
            "{lines}"
        );
        seen.insert(smallest);
    }
    assert!(seen.len() > 3, "the cases differ: {seen:?}");
}

#[test]
fn comments_tabs_urls_and_empty_lines_are_read_over() {
    let text = format!(
        "# ours\n\n \t # indented\n\tlog {} https://log.example/ \n witness\tW {}  https://w.example\nquorum W",
        log_vkey(&origin(), &key(100).public()),
        witness_vkey(1),
    );
    let policy = Policy::parse(&text).unwrap();
    assert_eq!(policy.logs().len(), 1);
    assert_eq!(policy.witnesses(), [("W".to_owned(), witness_vkey(1))]);
}

#[test]
fn a_wrong_line_is_named_with_its_rule() {
    let log = log_vkey(&origin(), &key(100).public()).to_string();
    let taken = |name: &str| LineError::NameTaken(name.into());
    let undefined = |name: &str| LineError::UndefinedName(name.into());
    let threshold = |found: &str| LineError::Threshold {
        found: found.into(),
        members: 2,
    };
    let w9 = witness_vkey(9).to_string();
    let renamed = Vkey::new("other", SignatureKind::Cosignature, key(1).public()).unwrap();
    let log_as_witness = Vkey::new("x", SignatureKind::Cosignature, key(100).public()).unwrap();
    for (line, problem) in [
        (
            "Quorum W1".to_owned(),
            LineError::UnknownKeyword("Quorum".into()),
        ),
        ("log".into(), LineError::Form("log <verifier key> [<url>]")),
        (
            format!("log {w9}"),
            LineError::KindOfKey {
                name: "witness.example/9".into(),
                role: "log",
                found: 4,
                needed: 1,
            },
        ),
        (
            format!("log {log}"),
            LineError::DuplicateKey(origin().to_string()),
        ),
        (
            format!("witness W9 {w9} url more"),
            LineError::Form("witness <name> <verifier key> [<url>]"),
        ),
        (format!("witness W2 {w9}"), taken("W2")),
        (format!("witness none {w9}"), taken("none")),
        (
            format!("witness W9 {renamed}"),
            LineError::DuplicateKey("other".into()),
        ),
        (
            format!("witness W9 {log_as_witness}"),
            LineError::DuplicateKey("x".into()),
        ),
        (
            "witness W9 x+y".into(),
            LineError::Vkey(VkeyError::Malformed("x+y".into())),
        ),
        (
            "group g any".into(),
            LineError::Form("group <name> any|all|<k> <member>..."),
        ),
        ("group g 0 W1 W2".into(), threshold("0")),
        ("group g 3 W1 W2".into(), threshold("3")),
        ("group g 02 W1 W2".into(), threshold("02")),
        ("group g some W1 W2".into(), threshold("some")),
        ("group W1 any W2".into(), taken("W1")),
        ("group g any W1 none".into(), undefined("none")),
        ("group g any g".into(), undefined("g")),
        (
            "group g any W1 W1".into(),
            LineError::MemberTwice("W1".into()),
        ),
        ("quorum W7".into(), undefined("W7")),
        ("quorum W1 W2".into(), LineError::Form("quorum <name>")),
        ("quorum W1\r".into(), LineError::ControlCharacter(b'\r')),
        ("quorum W1\u{7f}".into(), LineError::ControlCharacter(0x7f)),
    ] {
        let error = PolicyError::Line { line: 4, problem };
        assert_eq!(Policy::parse(&policy_text(2, &line)), Err(error), "{line}");
    }
    let at = |line, problem| Err(PolicyError::Line { line, problem });
    let twice = policy_text(1, "quorum W1\nquorum W1\n");
    assert_eq!(Policy::parse(&twice), at(4, LineError::SecondQuorum));
    let member = policy_text(2, "group a any W1\ngroup b any W2 W1\nquorum b\n");
    assert_eq!(
        Policy::parse(&member),
        at(5, LineError::MemberTwice("W1".into()))
    );
    assert_eq!(
        Policy::parse(&policy_text(1, "")),
        Err(PolicyError::NoQuorum)
    );
}

#[test]
fn a_policy_of_more_than_1_mib_or_1024_groups_is_refused() {
    let of = |bytes: usize| "#".repeat(bytes - 12) + "\nquorum none";
    assert!(Policy::parse(&of(1 << 20)).is_ok());
    let bytes = (1 << 20) + 1;
    assert_eq!(Policy::parse(&of(bytes)), Err(PolicyError::TooLarge(bytes)));

    let groups = |count: usize| {
        let lines: String = (1..count)
            .map(|i| format!("group g{i} all g{}\n", i - 1))
            .collect();
        policy_text(1, "group g0 all W1\n") + &lines + "quorum g0\n"
    };
    assert!(Policy::parse(&groups(1024)).is_ok());
    let error = PolicyError::Line {
        line: 1027,
        problem: LineError::TooMany,
    };
    assert_eq!(Policy::parse(&groups(1025)), Err(error));
}

#[test]
fn deeply_nested_groups_are_judged_without_recursion() {
    let mut lines = "group g0 all W1\n".to_owned();
    for i in 1..1000 {
        writeln!(lines, "group g{i} all g{}", i - 1).unwrap();
    }
    lines += "quorum g999\n";
    let policy = policy(1, &lines);
    assert_eq!(policy.met(&[Some(5)]), Met::At(5));
    assert_eq!(policy.split_view_number(), 1);
}
