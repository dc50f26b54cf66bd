//! A good bundle, broken in one way: each way has its name and its exit code.

mod archive;
mod completeness;
mod entries;
mod notes;
mod payloads;
mod report;
mod times;

use crate::support::{Files, Outcome, Site, Spec, plain_day};

/// A good site with its files, from which every case starts.
struct Bench {
    site: Site,
    spec: Spec,
    files: Files,
}

impl Bench {
    fn new() -> Self {
        let site = plain_day();
        Self {
            spec: site.spec(),
            files: Files::new(&site),
            site,
        }
    }

    /// Breaks a copy of the bundle and verifies it.
    fn broken(&self, change: impl FnOnce(&mut Spec)) -> Outcome {
        let mut spec = self.spec.clone();
        change(&mut spec);
        self.files.check(&spec.write())
    }

    /// Breaks a copy and checks what is said about it.
    fn refused(
        &self,
        what: &str,
        exit: u8,
        code: &str,
        index: Option<u64>,
        change: impl FnOnce(&mut Spec),
    ) -> Outcome {
        let outcome = self.broken(change);
        expect(&outcome, what, exit, code, index);
        outcome
    }
}

fn expect(outcome: &Outcome, what: &str, exit: u8, code: &str, index: Option<u64>) {
    let failure = outcome.failure();
    assert_eq!(outcome.codes().first(), Some(&code), "{what}: {failure}");
    assert_eq!(outcome.exit, exit, "{what}: {failure}");
    assert_eq!(
        outcome.json["failures"][0]["index"].as_u64(),
        index,
        "{what}: {failure}"
    );
    assert!(
        outcome.text.contains(failure),
        "{what}: the text says it too"
    );
    let confirmed = outcome.text.contains("DATA INTEGRITY: CONFIRMED");
    assert_eq!(confirmed, exit == 5, "{what}: {}", outcome.text);
}
