//! What a bundle and the program say about themselves is true when somebody tries it.

use std::process::Command;

use clap::CommandFactory as _;
use evidence::bundle::README;

use crate::support::{Files, plain_day};

#[test]
fn the_commands_of_a_bundle_s_readme_check_the_log_s_signature_with_ordinary_tools() {
    if Command::new("openssl").arg("version").output().is_err() {
        println!("skipped: openssl is not installed (Debian: apt-get install openssl)");
        return;
    }
    let site = plain_day();
    let files = Files::new(&site);
    files.write("THIS.tar", &site.spec().write());
    let parts: Vec<&str> = README.split("-----\n").collect();
    let [_, commands, _] = parts.as_slice() else {
        panic!("the commands stand between two lines of five strokes")
    };
    assert!(commands.lines().count() > 20);
    let run = |key: &str| {
        let script = format!(
            "set -e\n{}\n",
            commands.replace("'KEY'", &format!("'{key}'"))
        );
        let output = Command::new("sh")
            .arg("-c")
            .arg(script)
            .current_dir(files.path("."))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), said)
    };
    let (good, said) = run(&site.gateways[0].vkey().to_string());
    assert!(good, "{said}");
    assert!(
        said.contains(&site.gateways[0].origin.id().to_hex()),
        "{said}"
    );
    assert!(said.contains("Signature Verified Successfully"), "{said}");
    let entries = format!("Root Reproduced over {} entries", site.gateways[0].size());
    assert!(said.contains(&entries), "{said}");
    let (good, said) = run(&crate::support::Gateway::new("example.com/gw/0001", 99, 0)
        .vkey()
        .to_string());
    assert!(!good, "another key: {said}");
    // One bit of one entry, and a bundle that begins in the middle of the log.
    let mut broken = site.spec();
    broken.logs[0].entries[300][40] ^= 1;
    files.write("THIS.tar", &broken.write());
    let (_, said) = run(&site.gateways[0].vkey().to_string());
    assert!(said.contains("ROOT DIFFERS"), "{said}");
    let mut late = plain_day();
    late.first = vec![101];
    files.write("THIS.tar", &late.spec().write());
    let (_, said) = run(&site.gateways[0].vkey().to_string());
    assert!(said.contains(&entries), "{said}");
}

#[test]
fn the_command_line_is_whole_and_its_help_teaches_how_to_use_it() {
    verify::args::Cli::command().debug_assert();
    let output = Command::new(env!("CARGO_BIN_EXE_fieldseal-verify"))
        .args(["bundle", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    for needed in [
        "--plan",
        "--policy",
        "--anchor",
        "--collector",
        "--json",
        "Exit codes",
        "quorum both",
        "your own copy",
    ] {
        assert!(help.contains(needed), "{needed}: {help}");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_fieldseal-verify"))
        .args(["bundle", "x.tar"])
        .output()
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(6),
        "missing arguments are a mistake of input"
    );
}

#[test]
fn the_program_prints_what_the_library_found_and_exits_with_its_code() {
    let site = plain_day();
    let files = Files::new(&site);
    let mut spec = site.spec();
    let run = |bytes: &[u8]| {
        files.write("bundle.tar", bytes);
        let output = Command::new(env!("CARGO_BIN_EXE_fieldseal-verify"))
            .arg("bundle")
            .arg(files.path("bundle.tar"))
            .arg("--plan")
            .arg(files.path("plan.toml"))
            .arg("--policy")
            .arg(files.path("ours.policy"))
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let (code, text) = run(&spec.write());
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("DATA INTEGRITY: CONFIRMED"), "{text}");
    spec.logs[0].payloads[5][20] ^= 1;
    let (code, text) = run(&spec.write());
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("FAILED") && text.contains("E15") && text.contains("entry 7"),
        "{text}"
    );
}

#[test]
fn the_second_implementation_says_the_same_on_one_processor_and_on_several() {
    let site = plain_day();
    let files = Files::new(&site);
    let mut spec = site.spec();
    for broken in [false, true] {
        if broken {
            spec.logs[0].payloads[200][20] ^= 1;
            spec.logs[0].entries[300][50] ^= 1;
        }
        files.write("bundle.tar", &spec.write());
        let [one, three] = ["1", "3"].map(|processes| {
            let mut json = files.python(&["--processes", processes]);
            json["seconds"] = 0.into();
            json
        });
        assert_eq!(one, three);
        assert_eq!(one["exit"], if broken { 2 } else { 0 }, "{one}");
        assert_eq!(
            broken,
            one["failures"][0]["code"] == "E15",
            "the lower entry is named: {one}"
        );
    }
}
