//! Approvals and revocations: what an authority signs at its desk, and what both verifiers make of it.

use std::path::PathBuf;

use clap::Parser as _;
use evidence::control::Control;
use evidence::statement::{Controls, Signed, Statement};
use verify::approve::{approve, revoke};
use verify::args::{Cli, Command};

use crate::support::{
    Cosigner, FROM_MS, Files, Gateway, HOUR_MS, MINUTE_MS, Site, TO_MS, witnesses,
};

/// An authority with its key in a file.
struct Authority {
    dir: tempfile::TempDir,
    public: String,
}

impl Authority {
    fn new() -> Self {
        let mut authority = Self {
            dir: tempfile::tempdir().unwrap(),
            public: String::new(),
        };
        let key = authority.path("authority.key");
        let said = run(&["approve", "keygen", "--key", &key]).unwrap();
        let public = said
            .lines()
            .find_map(|line| line.strip_prefix("public key"));
        public.unwrap().trim().clone_into(&mut authority.public);
        authority
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn path(&self, name: &str) -> String {
        self.file(name).display().to_string()
    }

    /// The control entries of a gateway as its command writes them.
    fn controls(&self, gateway: &Gateway) -> String {
        let entries = gateway.rows.iter().filter(|row| row.control.is_some());
        let entries = entries
            .map(|row| {
                let body = (!row.payload.is_empty()).then(|| row.payload.clone());
                (row.entry.clone(), body)
            })
            .collect();
        let controls = Controls {
            origin: gateway.origin.clone(),
            entries,
        };
        let path = self.path("controls.txt");
        write(&path, &controls.encode());
        path
    }

    /// Signs the newest entry, and seals the approval.
    fn approve(&self, gateway: &mut Gateway) -> String {
        let controls = self.controls(gateway);
        let index = gateway.size() - 1;
        let name = format!(
            "approval-{}.txt",
            std::fs::read_dir(&self.dir).unwrap().count()
        );
        let out = self.path(&name);
        let key = self.path("authority.key");
        let (entry, vkey) = (index.to_string(), gateway.vkey().to_string());
        let said = run(&[
            "approve", "sign", &controls, "--entry", &entry, "--key", &key, "--out", &out,
            "--anchor", &vkey,
        ])
        .unwrap();
        let signed = Signed::parse(&std::fs::read(out).unwrap()).unwrap();
        gateway.control(Control::from(signed));
        said
    }

    /// A revocation of the key that is in force now.
    fn revoke(&self, gateway: &Gateway, key_id: [u8; 8], since_ms: i64) -> (String, Signed) {
        let out = self.path(&format!("revoked-{}.txt", gateway.size()));
        let key = self.path("authority.key");
        let (log, id) = (gateway.origin.to_string(), hex(&key_id));
        let since = quantification::period::utc(since_ms).replace(' ', "T");
        run(&[
            "revoke",
            "--log",
            &log,
            "--key-id",
            &id,
            "--since",
            &since,
            "--reason",
            "the card was copied",
            "--key",
            &key,
            "--out",
            &out,
        ])
        .unwrap();
        let signed = Signed::parse(&std::fs::read(&out).unwrap()).unwrap();
        (out, signed)
    }

    /// The verifier's files, with this authority named.
    fn named(&self, site: &Site) -> Files {
        let mut files = Files::new(site);
        files
            .extra
            .extend(["--approver".to_owned(), self.public.clone()]);
        files
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[expect(clippy::disallowed_methods, reason = "a test's own file")]
fn write(path: &str, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}

/// Carries out a command as the program does.
fn run(words: &[&str]) -> anyhow::Result<String> {
    let line = ["fieldseal-verify"].iter().chain(words);
    let command = Cli::try_parse_from(line).unwrap().command;
    if let Command::Approve(command) = command {
        return approve(&command);
    }
    let Command::Revoke(args) = command else {
        panic!("{words:?} is another command now");
    };
    revoke(&args)
}

fn key_in_force(gateway: &Gateway) -> [u8; 8] {
    gateway.chain.entry_key().unwrap().key_id()
}

/// A gateway that runs from an hour before the period on.
fn begun() -> (Gateway, Vec<Cosigner>) {
    let mut gateway = Gateway::new("example.com/gw/0001", 1, FROM_MS - HOUR_MS);
    gateway.configure(|_| {});
    (gateway, witnesses())
}

fn closed(gateways: Vec<Gateway>, witnesses: Vec<Cosigner>) -> Site {
    let mut site = Site::new(gateways, witnesses);
    site.close();
    site
}

#[test]
fn what_witnesses_saw_before_the_theft_stays_good_and_everything_later_is_void() {
    let authority = Authority::new();
    let (mut gateway, witnesses) = begun();
    gateway.sample(FROM_MS + 9 * HOUR_MS, &witnesses);
    let stolen = key_in_force(&gateway);
    gateway.sample(FROM_MS + 12 * HOUR_MS, &witnesses);
    // The key was changed at UTC midnight, 8 h into the period, and again a day later.
    gateway.sample(TO_MS + HOUR_MS, &witnesses);
    let theft_ms = FROM_MS + 12 * HOUR_MS + 30 * MINUTE_MS;
    let (file, _) = authority.revoke(&gateway, stolen, theft_ms);
    let site = closed(vec![gateway], witnesses);
    let bundle = site.spec().write();

    let honest = authority.named(&site).check(&bundle);
    assert_eq!(honest.exit, 0, "{}", honest.failure());
    let mut files = authority.named(&site);
    files
        .extra
        .extend(["--revocation".to_owned(), file.clone()]);
    let outcome = files.check(&bundle);
    assert_eq!(
        (outcome.exit, outcome.codes()[0]),
        (2, "V23"),
        "{}",
        outcome.failure()
    );
    let log = &outcome.json["logs"][0];
    let void = log["void_from"].as_u64().unwrap();
    // The last note that met the quorum before the theft covers two hours: both witnesses sign at 12:00.
    let covered = site.gateways[0]
        .trail
        .iter()
        .filter_map(|note| {
            let note = evidence::note::Note::parse(note).unwrap();
            let size = evidence::checkpoint::Checkpoint::parse_body(&note.text)
                .unwrap()
                .size;
            let signed_s = note
                .signatures
                .iter()
                .skip(1)
                .map(|line| i64::from_be_bytes(line.bytes[..8].try_into().unwrap()));
            let met = note.signatures.len() == 3 && signed_s.max().unwrap() * 1000 < theft_ms;
            met.then_some(size)
        })
        .max()
        .unwrap();
    assert_eq!(void, covered);
    assert!(
        outcome.text.contains("the card was copied"),
        "{}",
        outcome.text
    );
    let text = &outcome.text;
    assert!(
        text.contains(&format!("everything from entry #{void} on is void")),
        "{text}"
    );

    // The same statement by a stranger is a mistake of whoever brings it.
    let mut strange = Files::new(&site);
    strange.extra.extend(["--revocation".to_owned(), file]);
    assert_eq!(strange.check(&bundle).exit, 6);
}

#[test]
fn a_key_that_was_replaced_before_the_theft_takes_nothing_with_it() {
    let authority = Authority::new();
    let (mut gateway, witnesses) = begun();
    let old = key_in_force(&gateway);
    gateway.sample(FROM_MS + 12 * HOUR_MS, &witnesses);
    assert_ne!(old, key_in_force(&gateway));
    // Found on a discarded card after it had been replaced; the gateway seals the statement.
    let (_, signed) = authority.revoke(&gateway, old, FROM_MS + 11 * HOUR_MS);
    gateway.control(Control::from(signed));
    gateway.sample(TO_MS + HOUR_MS, &witnesses);
    let site = closed(vec![gateway], witnesses);
    let bundle = site.spec().write();
    let outcome = authority.named(&site).check(&bundle);
    assert_eq!(outcome.exit, 0, "{}", outcome.failure());
    let found = &outcome.json["logs"][0]["revocations"][0];
    assert_eq!(
        (&found["accepted"], &found["known"]),
        (&true.into(), &true.into())
    );
    assert!(found["void_from"].is_null());
    assert!(
        outcome.text.contains("so nothing is void"),
        "{}",
        outcome.text
    );
    // To somebody who does not know the authority it is a remark.
    let outcome = Files::new(&site).check(&bundle);
    assert_eq!(outcome.exit, 0, "{}", outcome.failure());
    assert_eq!(outcome.json["logs"][0]["revocations"][0]["accepted"], false);
    assert!(
        outcome.text.contains("no authority you named"),
        "{}",
        outcome.text
    );
}

#[test]
fn a_revocation_sealed_by_the_gateway_itself_makes_void_what_follows_the_theft() {
    let authority = Authority::new();
    let (mut gateway, witnesses) = begun();
    gateway.sample(FROM_MS + 12 * HOUR_MS, &witnesses);
    let stolen = key_in_force(&gateway);
    let (_, signed) = authority.revoke(&gateway, stolen, FROM_MS + 11 * HOUR_MS);
    gateway.rotate();
    gateway.control(Control::from(signed));
    gateway.sample(TO_MS + HOUR_MS, &witnesses);
    let site = closed(vec![gateway], witnesses);
    let outcome = authority.named(&site).check(&site.spec().write());
    assert_eq!(
        (outcome.exit, outcome.codes()[0]),
        (2, "V23"),
        "the key that replaced it was named by the stolen one: {}",
        outcome.failure()
    );
}

#[test]
fn a_log_whose_key_was_stolen_is_proven_up_to_the_theft_with_the_log_that_goes_on() {
    let authority = Authority::new();
    let (mut old, witnesses) = begun();
    old.sample(FROM_MS + 12 * HOUR_MS, &witnesses);
    let stolen = key_in_force(&old);
    let (last_index, last_leaf) = (old.size() - 1, *old.leaves.last().unwrap());
    // The thief goes on with both keys, and gets it cosigned.
    old.sample(FROM_MS + 15 * HOUR_MS, &witnesses);
    let (file, _) = authority.revoke(&old, stolen, FROM_MS + 12 * HOUR_MS + MINUTE_MS);
    let mut new = Gateway::new("example.com/gw/0002", 40, FROM_MS + 12 * HOUR_MS);
    new.control(Control::Recovery {
        origin: old.origin.to_string(),
        last_index,
        last_leaf,
        reason: "the entry key was stolen".to_owned(),
    });
    new.configure(|_| {});
    new.sample(TO_MS + HOUR_MS, &witnesses);
    let site = closed(vec![old, new], witnesses);
    let mut files = authority.named(&site);
    files.extra.extend(["--revocation".to_owned(), file]);
    let outcome = files.check(&site.spec().write());
    assert_eq!(outcome.exit, 0, "{}\n{}", outcome.failure(), outcome.text);
    assert_eq!(outcome.json["logs"][0]["void_from"], last_index + 1);
}

#[test]
fn what_a_thief_says_of_earlier_entries_is_void_too() {
    let authority = Authority::new();
    let (mut gateway, witnesses) = begun();
    gateway.sample(FROM_MS + 9 * HOUR_MS, &witnesses);
    let stolen = key_in_force(&gateway);
    gateway.sample(FROM_MS + 10 * HOUR_MS, &witnesses);
    let (file, _) = authority.revoke(&gateway, stolen, FROM_MS + 10 * HOUR_MS + MINUTE_MS);
    // Stopping the log and beginning another configuration is what the thief does with it.
    gateway.configure(|config| config.points[6].decimals = 7);
    gateway.sample(TO_MS + HOUR_MS, &witnesses);
    let site = closed(vec![gateway], witnesses);
    let mut files = authority.named(&site);
    files.extra.extend(["--revocation".to_owned(), file]);
    let outcome = files.check(&site.spec().write());
    assert_eq!(
        (outcome.exit, outcome.codes()[0]),
        (2, "V23"),
        "{}",
        outcome.failure()
    );
    let log = &outcome.json["logs"][0];
    let void = log["void_from"].as_u64().unwrap();
    let events = log["events"].as_array().unwrap();
    assert!(
        events
            .iter()
            .all(|event| event["index"].as_u64().unwrap() < void),
        "{events:#?}"
    );
    for found in log["unapproved"].as_array().unwrap() {
        assert!(found["index"].as_u64().unwrap() < void);
    }
}

/// A day in which the unit of a point changes at noon; with an approval of each configuration or not.
fn changed(authority: &Authority, first: bool, second: bool) -> (Site, Vec<String>) {
    let (mut gateway, witnesses) = begun();
    let mut said = Vec::new();
    if first {
        said.push(authority.approve(&mut gateway));
    }
    gateway.sample(FROM_MS + 12 * HOUR_MS, &witnesses);
    gateway.configure(|config| config.points[6].decimals = 7);
    if second {
        said.push(authority.approve(&mut gateway));
    }
    gateway.sample(TO_MS + HOUR_MS, &witnesses);
    (closed(vec![gateway], witnesses), said)
}

#[test]
fn an_unapproved_configuration_is_told_or_refused_as_the_verifier_wishes() {
    let authority = Authority::new();
    for (first, second, unapproved) in [(true, true, 0), (true, false, 1), (false, true, 1)] {
        let (site, _) = changed(&authority, first, second);
        let bundle = site.spec().write();
        let reported = authority.named(&site).check(&bundle);
        assert_eq!(reported.exit, 0, "{}", reported.failure());
        let found = reported.json["logs"][0]["unapproved"].as_array().unwrap();
        assert_eq!(found.len(), unapproved, "{found:?}");
        let only = &reported.json["report"]["approved_only"];
        assert_eq!(only.is_null(), unapproved == 0, "{only}");
        if unapproved > 0 {
            assert_ne!(only["er"], reported.json["report"]["er"]);
            assert!(found[0]["ticks"].as_u64() > Some(4_000), "{found:?}");
            assert!(
                reported.text.contains("NOT APPROVED since 2026-01-"),
                "{}",
                reported.text
            );
            let counting = "counting approved configurations only";
            assert!(reported.text.contains(counting), "{}", reported.text);
        }
        let mut files = authority.named(&site);
        files
            .extra
            .extend(["--approvals".to_owned(), "required".to_owned()]);
        let required = files.check(&bundle);
        let expected = if unapproved == 0 {
            (0, None)
        } else {
            (4, Some("V24"))
        };
        assert_eq!(
            (required.exit, required.codes().first().copied()),
            expected,
            "{}",
            required.failure()
        );
    }
}

#[test]
fn an_approver_reads_in_words_what_changes_and_cannot_be_shown_another_before() {
    let authority = Authority::new();
    let (site, said) = changed(&authority, true, true);
    assert!(said[0].contains("export.energy = "), "{}", said[0]);
    assert!(
        said[1].contains("decimals of deep.power 6 -> 7"),
        "{}",
        said[1]
    );
    let controls = authority.controls(&site.gateways[0]);
    let shown = run(&["approve", "show", &controls]).unwrap();
    assert_eq!(
        shown
            .matches(&format!("approved by {}", authority.public))
            .count(),
        2
    );
    assert!(
        shown.contains(&site.gateways[0].vkey().to_string()),
        "{shown}"
    );

    // Another first configuration in front of the same change does not lead to it.
    let mut other = Gateway::new("example.com/gw/0001", 1, FROM_MS - HOUR_MS);
    other.configure(|config| config.points[6].decimals = 7);
    let text = std::fs::read_to_string(&controls).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    authority.controls(&other);
    let forged = std::fs::read_to_string(authority.file("controls.txt")).unwrap();
    let forged: Vec<&str> = forged.lines().collect();
    lines[3] = forged[3];
    let path = authority.path("forged.txt");
    write(&path, (lines.join("\n") + "\n").as_bytes());
    let refused = run(&["approve", "show", &path]).unwrap_err();
    assert!(
        format!("{refused:#}").contains("does not follow"),
        "{refused:#}"
    );

    // And no other version of the file is guessed at.
    write(&path, text.replace("controls/v1", "controls/v2").as_bytes());
    let refused = format!("{:#}", run(&["approve", "show", &path]).unwrap_err());
    assert!(refused.contains("fieldseal/controls/v1"), "{refused}");
}

#[test]
fn a_statement_is_never_written_over_a_file_and_a_key_of_another_version_is_refused() {
    let authority = Authority::new();
    let key = authority.path("authority.key");
    let again = run(&["approve", "keygen", "--key", &key]).unwrap_err();
    assert!(format!("{again:#}").contains("cannot create"), "{again:#}");
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(&key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = std::fs::read_to_string(&key).unwrap();
    write(&key, text.replace("/v1", "/v2").as_bytes());
    let out = authority.path("out.txt");
    let words = [
        "revoke",
        "--log",
        "example.com/gw/1",
        "--key-id",
        "0011223344556677",
        "--since",
        "2026-03-03T08:00:00Z",
        "--reason",
        "x",
        "--key",
        &key,
        "--out",
        &out,
    ];
    let refused = format!("{:#}", run(&words).unwrap_err());
    assert!(refused.contains("fieldseal/authority-key/v1"), "{refused}");
    write(&key, text.as_bytes());
    run(&words).unwrap();
    let signed = Signed::parse(&std::fs::read(&out).unwrap()).unwrap();
    assert!(matches!(signed.statement, Statement::Revocation(_)));
}
