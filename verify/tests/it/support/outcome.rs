//! Both verifiers over one bundle, on files as a person would have them.

use std::path::PathBuf;
use std::process::Command;

use clap::Parser as _;
use serde_json::Value;

use super::{DAY, Site};

/// The verifier's own files.
#[derive(Debug)]
pub(crate) struct Files {
    dir: tempfile::TempDir,
    /// Further arguments.
    pub(crate) extra: Vec<String>,
    pub(crate) python: bool,
}

/// What came out.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) exit: u8,
    pub(crate) json: Value,
    /// The text, its lines joined again: where they are broken is not what a test is about.
    pub(crate) text: String,
}

impl Files {
    pub(crate) fn new(site: &Site) -> Self {
        Self::of(&site.plan, &site.policy)
    }

    /// The files of somebody with this plan and policy.
    pub(crate) fn of(plan: &str, policy: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("plan.toml"), plan.as_bytes());
        write(&dir.path().join("ours.policy"), policy.as_bytes());
        Self {
            dir,
            extra: vec!["--from".into(), DAY.into(), "--to".into(), DAY.into()],
            python: true,
        }
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        write(&self.path(name), bytes);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn arguments(&self) -> Vec<String> {
        self.arguments_for("bundle.tar")
    }

    fn arguments_for(&self, bundle: &str) -> Vec<String> {
        let path = |name: &str| self.path(name).display().to_string();
        let mut arguments = vec![
            path(bundle),
            "--plan".into(),
            path("plan.toml"),
            "--policy".into(),
            path("ours.policy"),
        ];
        arguments.extend(self.extra.iter().cloned());
        arguments
    }

    /// Runs the program's own entry point over a bundle.
    pub(crate) fn rust(&self, bundle: &[u8]) -> Outcome {
        self.write("bundle.tar", bundle);
        let run = |json: bool| {
            let mut line = vec!["fieldseal-verify".to_owned(), "bundle".to_owned()];
            line.extend(self.arguments());
            line.extend(json.then(|| "--json".to_owned()));
            let verify::args::Command::Bundle(args) =
                verify::args::Cli::try_parse_from(line).unwrap().command
            else {
                panic!("`bundle` is another command");
            };
            let mut out = Vec::new();
            let exit = verify::run(&args, &mut out, &|_, _| {}).unwrap();
            (exit, String::from_utf8(out).unwrap())
        };
        let (exit, json) = run(true);
        let (same, text) = run(false);
        assert_eq!(exit, same);
        Outcome {
            exit,
            json: serde_json::from_str(&json).unwrap(),
            text: joined(&text),
        }
    }

    /// Runs both implementations and compares everything that both can say.
    pub(crate) fn check(&self, bundle: &[u8]) -> Outcome {
        let rust = self.rust(bundle);
        if self.python {
            self.compare(&rust);
        }
        rust
    }

    /// What the second implementation prints about the bundle written last.
    pub(crate) fn python(&self, further: &[&str]) -> Value {
        let python =
            std::env::var("FIELDSEAL_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/python/fieldseal_verify.py");
        let output = Command::new(&python)
            .arg(script)
            .args(self.arguments())
            .arg("--json")
            .args(further)
            .output()
            .unwrap_or_else(|error| {
                panic!("{python} does not start ({error}); set FIELDSEAL_TEST_PYTHON")
            });
        let shown = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        let json: Value = serde_json::from_str(&shown)
            .unwrap_or_else(|error| panic!("{error}: {shown} {stderr}"));
        assert_eq!(
            json["exit"].as_i64(),
            output.status.code().map(i64::from),
            "{shown}"
        );
        json
    }

    /// What the second implementation says about many bundles, in one process.
    pub(crate) fn python_all(&self, bundles: &[Vec<u8>], further: &[&str]) -> Vec<Value> {
        let mut lines = String::new();
        for (number, bundle) in bundles.iter().enumerate() {
            let name = format!("{number}.tar");
            self.write(&name, bundle);
            let mut arguments = self.arguments_for(&name);
            arguments.extend(further.iter().map(|argument| (*argument).to_owned()));
            lines.push_str(&serde_json::to_string(&arguments).unwrap());
            lines.push('\n');
        }
        self.write("arguments.jsonl", lines.as_bytes());
        let python =
            std::env::var("FIELDSEAL_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let output = Command::new(&python)
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/python/fieldseal_verify.py"
            ))
            .arg("--batch")
            .arg(self.path("arguments.jsonl"))
            .output()
            .unwrap_or_else(|error| {
                panic!("{python} does not start ({error}); set FIELDSEAL_TEST_PYTHON")
            });
        let shown = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        let verdicts: Vec<Value> = shown
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(verdicts.len(), bundles.len(), "{stderr}");
        verdicts
    }

    fn compare(&self, rust: &Outcome) {
        let json = self.python(&[]);
        let code = |value: &Value| value["failures"][0]["code"].clone();
        let index = |value: &Value| value["failures"][0]["index"].clone();
        let told = format!(
            "rust: {}\npython: {}",
            rust.json["failures"], json["failures"]
        );
        assert_eq!(code(&rust.json), code(&json), "the first failure\n{told}");
        assert_eq!(index(&rust.json), index(&json), "its entry\n{told}");
        // A report that needs more than sums is only recomputed in full by the first implementation.
        if rust.exit != 5 {
            assert_eq!(
                json["exit"].as_u64(),
                Some(u64::from(rust.exit)),
                "exit codes\n{told}"
            );
        }
        if rust.exit > 1 {
            return;
        }
        assert_eq!(rust.json["bundle_sha256"], json["bundle_sha256"]);
        let logs = rust.json["logs"].as_array().unwrap();
        assert_eq!(logs.len(), json["logs"].as_array().unwrap().len());
        for (ours, theirs) in logs.iter().zip(json["logs"].as_array().unwrap()) {
            for (key, value) in theirs.as_object().unwrap() {
                assert_eq!(&ours[key], value, "{key} of {}", ours["origin"]);
            }
            let compared = theirs.as_object().unwrap().len();
            assert!(
                compared >= 15,
                "the second implementation says too little: {compared}"
            );
        }
    }
}

/// The words of a text, each with one space between.
pub(crate) fn joined(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[expect(clippy::disallowed_methods, reason = "a test's own scratch file")]
fn write(path: &std::path::Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}

impl Outcome {
    /// The codes of all failures.
    pub(crate) fn codes(&self) -> Vec<&str> {
        self.json["failures"]
            .as_array()
            .unwrap()
            .iter()
            .map(|failure| failure["code"].as_str().unwrap())
            .collect()
    }

    pub(crate) fn failure(&self) -> &str {
        self.json["failures"][0]["text"]
            .as_str()
            .unwrap_or("no failure")
    }
}
