//! Timestamps in a bundle: counted without roots, verified with them, and checked with the command that
//! the bundle's README shows.

use std::path::Path;
use std::process::Command;

use crate::support::{FROM_MS, Files, Gateway, HOUR_MS, Site, Spec, TO_MS, witnesses};

fn openssl(directory: &Path, arguments: &[&str]) {
    let run = Command::new("openssl")
        .current_dir(directory)
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "openssl {arguments:?}: {said}");
}

/// A certificate authority with a timestamp authority below it.
fn make_authority(files: &Files, name: &str) {
    std::fs::create_dir(files.path(name)).unwrap();
    let write = |file: &str, text: &str| files.write(&format!("{name}/{file}"), text.as_bytes());
    write(
        "tsa.cnf",
        "[tsa]\ndefault_tsa = one\n[one]\nserial = serial\nsigner_digest = sha256\n\
        default_policy = 1.2.3.4.1\ndigests = sha256\ness_cert_id_alg = sha256\n",
    );
    write("serial", "01\n");
    write(
        "usage",
        "basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\n\
        extendedKeyUsage=critical,timeStamping\n",
    );
    let directory = files.path(name);
    let key = ["-newkey", "rsa:2048", "-nodes", "-days", "30"];
    let root = [
        "req", "-x509", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Root",
    ];
    let is_ca = ["-addext", "basicConstraints=critical,CA:TRUE"];
    openssl(&directory, &[&root[..], &key, &is_ca].concat());
    let leaf = [
        "req", "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", "/CN=TSA",
    ];
    openssl(&directory, &[&leaf[..], &key[..3]].concat());
    openssl(
        &directory,
        &[
            "x509",
            "-req",
            "-in",
            "tsa.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-out",
            "tsa.pem",
            "-days",
            "30",
            "-extfile",
            "usage",
        ],
    );
}

/// The authority's answer over these bytes.
fn stamp(files: &Files, name: &str, bytes: &[u8]) -> Vec<u8> {
    files.write(&format!("{name}/note"), bytes);
    let directory = files.path(name);
    let query = [
        "ts", "-query", "-data", "note", "-sha256", "-cert", "-out", "q.tsq",
    ];
    openssl(&directory, &query);
    let reply = [
        "ts",
        "-reply",
        "-queryfile",
        "q.tsq",
        "-signer",
        "tsa.pem",
        "-inkey",
        "tsa.key",
        "-config",
        "tsa.cnf",
        "-out",
        "a.tsr",
    ];
    openssl(&directory, &reply);
    std::fs::read(directory.join("a.tsr")).unwrap()
}

/// A day that the collector alone cosigned.
fn day() -> Site {
    let mut witnesses = witnesses();
    witnesses.truncate(1);
    let mut gateway = Gateway::new("example.com/gw/0001", 1, FROM_MS - HOUR_MS);
    gateway.configure(|_| {});
    gateway.sample(TO_MS + HOUR_MS, &witnesses);
    let mut site = Site::new(vec![gateway], witnesses);
    site.close();
    site
}

/// The same, with the final note in the trail and a timestamp over it.
fn stamped(site: &Site, files: &Files) -> Spec {
    let mut spec = site.spec();
    let parts = &mut spec.logs[0].parts;
    let note = parts.checkpoint.clone();
    parts.trail.push(note.clone());
    let token = stamp(files, "authority", &note);
    parts.timestamps = vec![(note, token)];
    spec
}

#[test]
fn a_timestamp_makes_class_1_one_with_an_authority_only_where_it_was_verified() {
    let site = day();
    let mut files = Files::new(&site);
    make_authority(&files, "authority");
    make_authority(&files, "stranger");
    let bundle = stamped(&site, &files).write();

    let outcome = files.check(&bundle);
    assert_eq!(outcome.exit, 0, "{}", outcome.failure());
    assert!(
        outcome.text.contains("1 present, NOT checked"),
        "{}",
        outcome.text
    );
    assert!(
        outcome.text.contains("CONFIRMED, class 1 (witnessed"),
        "{}",
        outcome.text
    );

    // The authority stamps with the machine's clock, the day is another one.
    let with_roots = |files: &mut Files, name: &str| {
        let roots = files.path(name).join("ca.pem").display().to_string();
        let all = [
            "--timestamp-roots".into(),
            roots,
            "--max-delay-h".into(),
            "1000000".into(),
        ];
        files.extra.extend(all);
        // The signature of a timestamp is the first implementation's, and openssl's.
        files.python = false;
    };
    let before = files.extra.clone();
    with_roots(&mut files, "authority");
    let outcome = files.check(&bundle);
    assert_eq!(outcome.exit, 0, "{}", outcome.failure());
    let time = &outcome.json["logs"][0]["time"];
    assert_eq!(time["timestamps_verified"], 1);
    let classes = time["classes"].as_array().unwrap();
    assert_eq!(time["stamped"], classes[1], "every measured tick");
    let said = "CONFIRMED, class 1 with a timestamp authority";
    assert!(outcome.text.contains(said), "{}", outcome.text);

    files.extra = before;
    with_roots(&mut files, "stranger");
    let outcome = files.check(&bundle);
    assert_eq!(outcome.exit, 0, "{}", outcome.failure());
    assert!(outcome.text.contains("0 of 1 verified"), "{}", outcome.text);
    assert!(
        outcome
            .text
            .contains("not verified: the authority's certificate"),
        "{}",
        outcome.text
    );
    assert!(!outcome.text.contains(said), "{}", outcome.text);
}

#[test]
fn a_timestamp_over_another_note_is_refused_by_both() {
    let site = day();
    let files = Files::new(&site);
    make_authority(&files, "authority");
    let mut spec = stamped(&site, &files);
    spec.logs[0].parts.timestamps[0].1 = stamp(&files, "authority", b"another note");
    let outcome = files.check(&spec.write());
    assert_eq!(outcome.codes(), ["V07"], "{}", outcome.failure());
    assert_eq!(outcome.exit, 2);
}

#[test]
fn the_command_in_the_readme_of_a_bundle_checks_a_timestamp() {
    let site = day();
    let files = Files::new(&site);
    make_authority(&files, "authority");
    files.write("THIS.tar", &stamped(&site, &files).write());
    let directory = files.path("out");
    std::fs::create_dir(&directory).unwrap();
    let unpacked = Command::new("tar")
        .current_dir(&directory)
        .args(["xf", "../THIS.tar"])
        .status();
    assert!(unpacked.unwrap().success());
    let readme = std::fs::read_to_string(directory.join("README.txt")).unwrap();
    let line = readme
        .lines()
        .find(|line| line.contains("openssl ts -verify"));
    let log = std::fs::read_dir(directory.join("logs")).unwrap().next();
    let log = log.unwrap().unwrap().path();
    let token = std::fs::read_dir(log.join("time")).unwrap().next();
    let token = token.unwrap().unwrap().file_name().into_string().unwrap();
    let roots = files.path("authority").join("ca.pem").display().to_string();
    let command = line
        .unwrap()
        .replace("NAME", token.strip_suffix(".tsr").unwrap())
        .replace("ROOTS", &roots);
    let run = |command: &str| {
        let run = Command::new("sh")
            .current_dir(&log)
            .args(["-c", command])
            .output();
        run.unwrap().status.success()
    };
    assert!(run(&command), "{command}");
    let note = format!("trail/{}", token.strip_suffix(".tsr").unwrap());
    assert!(!run(&command.replace(&note, "origin")), "over another file");
}
