//! The files that an operator installs say what the programs expect.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};
use std::process::Command;

use system_tests::commands;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn units() -> Vec<(PathBuf, String)> {
    let units: Vec<_> = std::fs::read_dir(root().join("deploy/systemd"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (path, text)
        })
        .collect();
    assert_eq!(units.len(), 4);
    units
}

#[test]
fn every_unit_starts_the_program_it_is_named_after_with_that_programs_file() {
    for (path, text) in units() {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let room = name.strip_prefix("fieldseal-").unwrap();
        let start = text
            .lines()
            .find_map(|line| line.strip_prefix("ExecStart="))
            .unwrap();
        let command = start.strip_prefix("/usr/bin/").unwrap();
        if room == "witness" {
            // A command of the verifier, with a directory instead of a file.
            let directory = command.strip_prefix("fieldseal-verify witness run --directory ");
            assert!(
                directory
                    .unwrap()
                    .starts_with("/var/lib/fieldseal-witness "),
                "{start}"
            );
            assert!(text.contains("\nStateDirectory=fieldseal-witness\n"));
            commands::parses(command).unwrap();
            continue;
        }
        assert!(command.starts_with(&format!("{name} ")), "{start}");
        assert!(
            command.contains(&format!("/etc/fieldseal/{room}.toml")),
            "{start}"
        );
        commands::parses(command).unwrap();
        let manifest = std::fs::read_to_string(root().join(room).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let binary = manifest["bin"].as_array().unwrap()[0]["name"].as_str();
        assert_eq!(binary, Some(name));
    }
}

#[test]
fn every_unit_gives_up_what_the_program_does_not_need() {
    for (path, text) in units() {
        for line in [
            "NoNewPrivileges=yes",
            "ProtectSystem=strict",
            "CapabilityBoundingSet=",
            "MemoryDenyWriteExecute=yes",
            "Restart=always",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{}: {line}",
                path.display()
            );
        }
        // systemd's own judgement, where systemd is installed: 0 is tight, 10 is open.
        let judged = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager", "--threshold=20"])
            .arg(&path)
            .output();
        if let Ok(judged) = judged {
            assert!(
                judged.status.success(),
                "{}: exposure above 2.0\n{}{}",
                path.display(),
                String::from_utf8_lossy(&judged.stdout),
                String::from_utf8_lossy(&judged.stderr),
            );
        }
    }
}
