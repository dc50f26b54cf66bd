//! Whoever audits the same log again finds out whether it is still the same log.

use evidence::entry::GapReason;
use serde_json::Value;

use crate::support::{FROM_MS, Files, Gateway, HOUR_MS, Site, TO_MS, joined, witnesses};

/// A site whose gateway goes on after the period; the two branches differ in one sealed entry.
fn branch(other: bool, until_ms: i64) -> Site {
    let witnesses = witnesses();
    let mut gateway = Gateway::new("example.com/gw/0001", 1, FROM_MS - HOUR_MS);
    gateway.configure(|_| {});
    gateway.sample(FROM_MS + 5 * HOUR_MS, &witnesses);
    let reason = if other {
        GapReason::Power
    } else {
        GapReason::Operator
    };
    gateway.gap(1, 30, reason);
    gateway.sample(until_ms, &witnesses);
    let mut site = Site::new(vec![gateway], witnesses);
    site.close();
    site
}

fn with_state(site: &Site, state: &std::path::Path) -> Files {
    let mut files = Files::new(site);
    let limit = ["--gap-limit-percent".to_owned(), "100".to_owned()];
    files.extra.extend(limit);
    files.python = false;
    let state = ["--state".to_owned(), state.display().to_string()];
    files.extra.extend(state);
    files
}

fn now(json: &Value) -> Vec<&str> {
    let remembered = json["logs"][0]["remembered"].as_array().unwrap();
    remembered
        .iter()
        .map(|known| known["now"].as_str().unwrap())
        .collect()
}

#[test]
fn a_log_with_another_history_than_last_time_is_a_fork_with_both_notes_and_is_not_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("seen.json");
    let honest = branch(false, TO_MS + HOUR_MS);
    let files = with_state(&honest, &state);
    let bundle = honest.spec().write();
    let first = files.rust(&bundle);
    assert_eq!(first.exit, 0, "{}", first.failure());
    // Asked twice inside, for text and JSON: the second time it is already known.
    assert_eq!(now(&files.rust(&bundle).json), ["continued"]);
    let before = std::fs::read(&state).unwrap();

    // The same keys, the witnesses included, and another history of the same period.
    let other = branch(true, TO_MS + HOUR_MS + 2 * HOUR_MS);
    let forked = with_state(&other, &state).rust(&other.spec().write());
    assert_eq!(
        (forked.exit, forked.codes()),
        (2, vec!["V30"]),
        "{}",
        forked.text
    );
    let fork = &forked.json["forks"][0];
    for note in ["remembered", "found"] {
        let note = fork[note].as_str().unwrap();
        assert!(note.contains("— example.com/gw/0001 "), "{note}");
        assert!(
            forked.text.contains(&joined(note)),
            "both notes are printed whole"
        );
    }
    assert_ne!(fork["remembered"], fork["found"]);
    assert!(
        forked.text.contains("DATA INTEGRITY: NOT CONFIRMED"),
        "{}",
        forked.text
    );
    assert_eq!(
        std::fs::read(&state).unwrap(),
        before,
        "a fork is never remembered as good"
    );
    // Without the state the other history stands: that is why one keeps it.
    let mut alone = Files::new(&other);
    alone
        .extra
        .extend(["--gap-limit-percent".into(), "100".into()]);
    assert_eq!(alone.check(&other.spec().write()).exit, 0);
}

#[test]
fn a_later_bundle_continues_what_was_seen_and_an_older_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("seen.json");
    let short = branch(false, TO_MS + HOUR_MS);
    let long = branch(false, TO_MS + 4 * HOUR_MS);
    for site in [&short, &long] {
        let outcome = with_state(site, &state).rust(&site.spec().write());
        assert_eq!(outcome.exit, 0, "{}", outcome.failure());
    }
    let outcome = with_state(&long, &state).rust(&long.spec().write());
    assert_eq!(now(&outcome.json), ["continued", "continued"]);
    let outcome = with_state(&short, &state).rust(&short.spec().write());
    assert_eq!(
        (outcome.exit, now(&outcome.json)),
        (0, vec!["continued", "older"])
    );
    assert!(outcome.text.contains("OLDER"), "{}", outcome.text);

    // A bundle that begins behind what was seen cannot tell, and says so.
    let mut late = branch(false, TO_MS + 9 * HOUR_MS);
    late.first = vec![late.gateways[0].size() - 20];
    let mut files = with_state(&late, &state);
    files.extra.truncate(0);
    files.extra.extend([
        "--from".into(),
        "2026-01-05".into(),
        "--to".into(),
        "2026-01-05".into(),
    ]);
    files
        .extra
        .extend(["--state".into(), state.display().to_string()]);
    let outcome = files.rust(&late.spec().write());
    assert_eq!(outcome.exit, 3, "the period is not in it");
    assert!(
        now(&outcome.json).contains(&"before"),
        "{:?}",
        now(&outcome.json)
    );
    assert!(outcome.text.contains("not comparable"), "{}", outcome.text);
    let text = std::fs::read_to_string(&state).unwrap();
    assert_eq!(
        text.matches("\"size\"").count(),
        2,
        "only what was proven is remembered: {text}"
    );

    let mut wrong = with_state(&short, &state);
    wrong.write("seen.json", b"{}");
    let path = wrong.path("seen.json").display().to_string();
    *wrong.extra.last_mut().unwrap() = path;
    let outcome = wrong.rust(&short.spec().write());
    assert_eq!(
        (outcome.exit, outcome.text.contains("fieldseal-state/1")),
        (6, true)
    );
}
