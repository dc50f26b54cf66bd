//! The program tries itself on a user's machine and leaves a record that somebody can check.

use std::process::Command;

use serde_json::Value;

#[test]
fn the_self_test_passes_and_leaves_a_dated_record_of_this_very_program() {
    let folder = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_fieldseal-verify");
    let output = Command::new(program)
        .args(["self-test", "--out"])
        .arg(folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}{errors}");
    println!("{text}");
    for words in [
        "SELF-TEST PASSED",
        "Wycheproof",
        "RFC 6962",
        "small-order",
        "tamper: ",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
    let mut kept: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    kept.sort();
    let [json, record] = kept.as_slice() else {
        panic!("a text and a JSON: {kept:?}")
    };
    let record = std::fs::read_to_string(record).unwrap();
    let json: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let cases = json["results"].as_array().unwrap();
    assert_eq!(
        json["cases"].as_u64(),
        Some(u64::try_from(cases.len()).unwrap())
    );
    assert_eq!(json["failed"], 0);
    let tampered = cases
        .iter()
        .filter(|case| case["group"].as_str().unwrap().starts_with("tamper"));
    assert!(tampered.clone().count() > 100);
    let codes: std::collections::BTreeSet<_> = tampered
        .map(|case| case["found"].as_str().unwrap())
        .collect();
    assert!(
        codes.len() > 20,
        "each is refused under its own name: {codes:?}"
    );
    for case in cases {
        assert!(
            record.contains(case["name"].as_str().unwrap()),
            "every case is in the text"
        );
    }
    // The date is this machine's, the hash is this program's.
    let age = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let date = u128::from(json["date_ms"].as_u64().unwrap());
    assert!(age >= date && age - date < 900_000, "{}", json["date"]);
    let own = evidence::hash::sha256(&std::fs::read(program).unwrap()).to_hex();
    assert_eq!(json["machine"]["binary_sha256"], own);
    assert!(record.contains(&own) && record.contains(json["date"].as_str().unwrap()));
}
