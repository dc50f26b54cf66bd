//! Bundles of earlier versions, kept for ever: what was proven once must be proven by every later version.
//!
//! Each folder of `testdata/bundles` holds a bundle with the plan and policy it is checked with, the further
//! arguments, and the verdict of the version that made it. Nothing in them is ever changed; a new version of
//! the format adds a folder.

use std::path::{Path, PathBuf};

use evidence::key::SigningKey;
use evidence::statement::{Revocation, Signed, Statement};
use serde_json::{Value, json};

use crate::support::{DAY, FROM_MS, Files, Gateway, HOUR_MS, Site, TO_MS, witnesses};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/bundles")
}

/// What has to come out the same for ever.
fn essence(json: &Value) -> Value {
    let logs: Vec<Value> = json["logs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|log| {
            let keys = [
                "origin",
                "first",
                "size",
                "root",
                "controls",
                "entry_keys",
                "samples",
                "not_good",
                "void_from",
            ];
            keys.iter()
                .map(|key| ((*key).to_owned(), log[*key].clone()))
                .collect::<serde_json::Map<_, _>>()
                .into()
        })
        .collect();
    json!({
        "exit": json["exit"],
        "er": json["report"]["er"],
        "failures": json["failures"].as_array().unwrap().iter().map(|found| found["code"].clone()).collect::<Vec<_>>(),
        "logs": logs,
    })
}

/// Checks a folder with both implementations.
fn check(folder: &Path) -> Value {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let mut files = Files::of(&read("plan.toml"), &read("ours.policy"));
    files.extra.clear();
    for line in read("arguments.txt").lines() {
        let word = match line.strip_prefix("FILE ") {
            Some(name) => {
                files.write(name, read(name).as_bytes());
                files.path(name).display().to_string()
            }
            None => line.to_owned(),
        };
        files.extra.push(word);
    }
    let outcome = files.check(&std::fs::read(folder.join("bundle.tar")).unwrap());
    essence(&outcome.json)
}

#[test]
fn every_bundle_ever_made_has_the_verdict_it_had() {
    let mut seen = 0;
    for item in std::fs::read_dir(folder()).unwrap() {
        let folder = item.unwrap().path();
        let expected: Value =
            serde_json::from_slice(&std::fs::read(folder.join("verdict.json")).unwrap()).unwrap();
        assert_eq!(check(&folder), expected, "{}", folder.display());
        seen += 1;
    }
    assert!(seen >= 2, "the bundles of version 1 are kept for ever");
}

/// Makes the folders of version 1; those that exist are left alone.
#[test]
#[ignore = "run once for a version of the format: `cargo test -p verify --test it -- --ignored makes_the_bundles`"]
#[expect(clippy::disallowed_methods, reason = "test data")]
fn makes_the_bundles_of_version_1() {
    let authority = SigningKey::from_seed([200; 32]);
    let public: String = authority
        .public()
        .bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    for (name, stolen) in [("v1-two-keys", false), ("v1-stolen-key", true)] {
        let folder = folder().join(name);
        if folder.exists() {
            continue;
        }
        let witnesses = witnesses();
        let mut gateway = Gateway::new("example.com/gw/0001", 1, FROM_MS - HOUR_MS);
        gateway.configure(|_| {});
        gateway.sample(FROM_MS + 9 * HOUR_MS, &witnesses);
        let key_id = gateway.chain.entry_key().unwrap().key_id();
        gateway.sample(TO_MS + HOUR_MS, &witnesses);
        let origin = gateway.origin.clone();
        let mut site = Site::new(vec![gateway], witnesses);
        site.close();
        std::fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).unwrap();
        write("bundle.tar", &site.spec().write());
        write("plan.toml", site.plan.as_bytes());
        write("ours.policy", site.policy.as_bytes());
        let mut arguments = format!("--from\n{DAY}\n--to\n{DAY}\n");
        if stolen {
            let statement = Statement::Revocation(Revocation {
                origin,
                key_id,
                since_s: u64::try_from((FROM_MS + 12 * HOUR_MS) / 1_000).unwrap(),
                reason: "the card was copied".to_owned(),
            });
            let signed = Signed::sign(statement, &authority).unwrap();
            write("revoked.txt", &signed.to_bytes());
            arguments += &format!("--approver\n{public}\n--revocation\nFILE revoked.txt\n");
        }
        write("arguments.txt", arguments.as_bytes());
        let verdict = serde_json::to_vec_pretty(&check(&folder)).unwrap();
        write("verdict.json", &verdict);
    }
}
