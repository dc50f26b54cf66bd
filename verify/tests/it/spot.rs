//! Single readings are proven from small files alone, whatever class the bundle has.

use std::path::PathBuf;

use clap::Parser as _;
use evidence::bundle::Disclosure;
use serde_json::Value;
use verify::args::{Cli, Command};

use crate::support::{
    FROM_MS, Files, HOUR_MS, Site, disclosed, plain_day, solar_day, two_gateways,
};

/// Runs the command and gives exit code, JSON and text.
fn run(files: &Files, arguments: &[&str]) -> (u8, Value, String) {
    let once = |json: bool| {
        let mut line = vec!["fieldseal-verify".to_owned(), "spot-check".to_owned()];
        line.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        line.extend(["--policy".to_owned(), shown(files, "ours.policy")]);
        line.extend(json.then(|| "--json".to_owned()));
        let Command::SpotCheck(args) = Cli::try_parse_from(line).unwrap().command else {
            panic!("another command");
        };
        let mut out = Vec::new();
        let exit = verify::spot_check::run(&args, &mut out, &|_, _| {}).unwrap();
        (exit, String::from_utf8(out).unwrap())
    };
    let (exit, json) = once(true);
    let (same, text) = once(false);
    assert_eq!(exit, same, "{text}");
    (exit, serde_json::from_str(&json).unwrap(), text)
}

/// What the second implementation says of proof files.
fn python(files: &Files, anchor: &str, proofs: &[String]) -> Value {
    let python = std::env::var("FIELDSEAL_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/python/fieldseal_reading.py");
    let output = std::process::Command::new(&python)
        .arg(script)
        .args(proofs)
        .args(["--policy", &shown(files, "ours.policy"), "--anchor", anchor])
        .output()
        .unwrap_or_else(|error| {
            panic!("{python} does not start ({error}); set FIELDSEAL_TEST_PYTHON")
        });
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

fn shown(files: &Files, name: &str) -> String {
    files.path(name).display().to_string()
}

fn written(files: &Files, suffix: &str) -> Vec<PathBuf> {
    let folder = std::fs::read_dir(files.path("proofs")).unwrap();
    let mut paths: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == suffix));
    paths.sort();
    paths
}

fn bench(site: &Site, bundle: &[u8]) -> (Files, String, String) {
    let files = Files::new(site);
    files.write("bundle.tar", bundle);
    let (bundle, plan) = (shown(&files, "bundle.tar"), shown(&files, "plan.toml"));
    (files, bundle, plan)
}

#[test]
fn drawn_readings_of_an_eventful_day_are_each_proven_from_a_file_below_2_kb() {
    let site = solar_day();
    let (files, bundle, plan) = bench(&site, &site.spec().write());
    let out = shown(&files, "proofs");
    let draw = [
        "--plan",
        &plan,
        "--random",
        "60",
        "--seed",
        "2026-Q1 audit",
        "--out",
        &out,
    ];
    let (exit, json, text) = run(&files, &[&[bundle.as_str()], &draw[..]].concat());
    assert_eq!(exit, 0, "{text}");
    println!("{text}");
    let readings = json["readings"].as_array().unwrap();
    assert_eq!(readings.len(), 60);
    assert!(json["drawn_from"].as_u64() > Some(10_000));
    let messages = readings
        .iter()
        .filter(|reading| reading["name"] == "temperature");
    assert!(
        messages.count() > 0,
        "messages are drawn like polled readings"
    );
    for reading in readings {
        assert!(reading["at_ms"].is_i64() || reading["stream"].is_u64());
        assert!(reading["name"].is_string() && reading["cosigned"].as_array().unwrap().len() == 2);
    }
    let small = readings.iter().filter(|reading| reading["name"] != "noise");
    assert!(small.clone().count() > 20);
    for reading in small {
        assert!(reading["bytes"].as_u64() < Some(2_048), "{reading}");
    }
    // The same draw again is the same; another seed is another one.
    let (_, again, _) = run(&files, &[&[bundle.as_str()], &draw[..]].concat());
    assert_eq!(json, again);
    let other = ["--plan", &plan, "--random", "60", "--seed", "another"];
    let (_, other, _) = run(&files, &[&[bundle.as_str()], &other[..]].concat());
    assert_ne!(json["readings"], other["readings"]);

    // Every file verifies alone, without the bundle.
    std::fs::remove_file(&bundle).unwrap();
    let anchor = site.gateways[0].vkey().to_string();
    let proofs: Vec<String> = written(&files, "reading")
        .iter()
        .map(|p| p.display().to_string())
        .collect();
    let tables: Vec<String> = written(&files, "table")
        .iter()
        .map(|p| p.display().to_string())
        .collect();
    assert!(proofs.len() > 50 && !tables.is_empty());
    let mut line = vec!["--anchor", &anchor, "--proof"];
    line.extend(proofs.iter().map(String::as_str));
    let (exit, alone, text) = run(&files, &line);
    assert_eq!(exit, 0, "{text}");
    assert_eq!(alone["readings"].as_array().unwrap().len(), proofs.len());
    assert!(
        alone["readings"][0]["name"].is_null(),
        "without a table no name is known"
    );
    line.push("--table");
    line.extend(tables.iter().map(String::as_str));
    let (exit, named, text) = run(&files, &line);
    assert_eq!(exit, 0, "{text}");
    let named = named["readings"].as_array().unwrap();
    // The second implementation says the same of every file.
    let python = python(&files, &anchor, &proofs);
    let theirs = python["readings"].as_array().unwrap();
    assert_eq!(
        (theirs.len(), &python["failures"]),
        (proofs.len(), &serde_json::json!([]))
    );
    for (ours, theirs) in alone["readings"].as_array().unwrap().iter().zip(theirs) {
        for same in [
            "entry",
            "leaf",
            "stream",
            "tick",
            "offset_ms",
            "point",
            "raw",
            "size",
            "root",
            "cosigned",
            "bytes",
        ] {
            assert_eq!(ours[same], theirs[same], "{same}: {theirs}");
        }
    }
    for reading in readings {
        let found = named.iter().find(|named| named["file"] == reading["file"]);
        for same in ["name", "value", "quality", "tick", "entry"] {
            assert_eq!(found.unwrap()[same], reading[same], "{same}");
        }
    }
}

#[test]
fn one_chosen_reading_is_proven_and_what_cannot_be_proven_says_why() {
    let site = solar_day();
    let (files, bundle, plan) = bench(&site, &site.spec().write());
    let out = shown(&files, "proofs");
    let at = |ms: i64| quantification::period::utc(ms);
    let one = |point: &str, ms: i64| {
        let at = at(ms);
        let line = [
            &bundle, "--plan", &plan, "--point", point, "--at", &at, "--out", &out,
        ];
        run(&files, &line.map(|part| part as &str))
    };
    let (exit, json, text) = one("export.energy", FROM_MS + 17_000);
    assert_eq!(exit, 0, "{text}");
    let reading = &json["readings"][0];
    assert_eq!(
        reading["at_ms"],
        FROM_MS + 10_000,
        "the tick that holds the time"
    );
    let tick = (FROM_MS + 10_000) / 10_000;
    assert_eq!(reading["tick"], tick);
    assert!(
        reading["value"].as_str().unwrap().contains('.'),
        "{reading}"
    );
    assert!(
        text.contains("export.energy") && text.contains("kWh"),
        "{text}"
    );
    let (exit, _, text) = one("export.energy", FROM_MS + HOUR_MS + 60_000);
    assert_eq!(exit, 3, "{text}");
    assert!(text.contains("a declared gap (power)"), "{text}");
    let (exit, _, text) = one("nothing.here", FROM_MS);
    assert_eq!(
        (
            exit,
            text.contains("shows no reading of point `nothing.here`")
        ),
        (3, true)
    );
    let (exit, _, text) = run(
        &files,
        &[
            &bundle,
            "--plan",
            &plan,
            "--point",
            "noise",
            "--at",
            "yesterday",
        ],
    );
    assert_eq!((exit, text.contains("write it like")), (6, true), "{text}");
}

#[test]
fn only_what_is_shown_is_drawn_and_a_changed_bundle_or_file_is_refused() {
    let site = plain_day();
    let names = ["export.energy".to_owned()];
    let spec = disclosed(&site, &Disclosure::listed(names).unwrap());
    let (files, bundle, plan) = bench(&site, &spec.write());
    let out = shown(&files, "proofs");
    let draw = [
        &bundle, "--plan", &plan, "--random", "20", "--seed", "s", "--out", &out,
    ];
    let draw: Vec<&str> = draw.iter().map(|part| part as &str).collect();
    let (exit, json, text) = run(&files, &draw);
    assert_eq!(
        (exit, json["readings"].as_array().unwrap().len()),
        (0, 20),
        "{text}"
    );
    for reading in json["readings"].as_array().unwrap() {
        assert_eq!(reading["name"], "export.energy");
    }
    let at = quantification::period::utc(FROM_MS + HOUR_MS);
    let hidden = [&bundle, "--plan", &plan, "--point", "noise", "--at", &at];
    let (exit, _, text) = run(&files, &hidden.map(|part| part as &str));
    assert_eq!((exit, text.contains("only the hash")), (3, true), "{text}");

    let mut broken = spec;
    broken.logs[0].entries[300][40] ^= 1;
    files.write("bundle.tar", &broken.write());
    let (exit, json, _) = run(&files, &draw);
    assert_eq!((exit, json["readings"].as_array().unwrap().len()), (2, 0));
    let nothing = disclosed(&site, &Disclosure::Commitments);
    files.write("bundle.tar", &nothing.write());
    let (exit, _, text) = run(&files, &draw);
    assert_eq!(
        (exit, text.contains("shows no reading")),
        (3, true),
        "{text}"
    );

    files.write("bundle.tar", &site.spec().write());
    let (exit, _, text) = run(&files, &draw);
    assert_eq!(exit, 0, "{text}");
    let anchor = site.gateways[0].vkey().to_string();
    let proof = written(&files, "reading").remove(0);
    let good = std::fs::read(&proof).unwrap();
    for at in [5, 60, 150, good.len() - 300, good.len() - 5] {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        files.write("broken.reading", &bytes);
        let broken = shown(&files, "broken.reading");
        let (exit, json, text) = run(&files, &["--anchor", &anchor, "--proof", &broken]);
        assert_eq!(exit, 2, "byte {at}: {text}");
        let code = json["failures"][0]["code"].as_str().unwrap();
        assert!(code.starts_with('S'), "{code}");
        let theirs = python(&files, &anchor, &[broken]);
        assert_eq!(theirs["failures"][0]["code"], code, "byte {at}: {theirs}");
    }
    let other = crate::support::Gateway::new("example.com/gw/0009", 99, 0)
        .vkey()
        .to_string();
    let (exit, _, text) = run(
        &files,
        &["--anchor", &other, "--proof", &proof.display().to_string()],
    );
    assert_eq!(
        (exit, text.contains("you brought no key for the log")),
        (6, true),
        "{text}"
    );
}

#[test]
fn readings_are_drawn_from_all_logs_of_a_project() {
    let site = two_gateways();
    let (files, bundle, plan) = bench(&site, &site.spec().write());
    let (exit, json, text) = run(
        &files,
        &[&bundle, "--plan", &plan, "--random", "40", "--seed", "x"],
    );
    assert_eq!(exit, 0, "{text}");
    let mut logs: Vec<&str> = json["readings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|reading| reading["log"].as_str().unwrap())
        .collect();
    logs.sort_unstable();
    logs.dedup();
    assert_eq!(logs.len(), 2);
}
