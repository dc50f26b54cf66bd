//! The Debian package and the folder for a USB stick, made from a program that is already built.
//!
//! Compiling for another architecture is left out: it takes minutes. `deploy/package/build arm64` is the
//! same script.
#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(
    clippy::disallowed_methods,
    reason = "what a test writes need not survive a crash"
)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use system_tests::processes;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn done(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// Packs `program` for amd64 into a folder of its own; returns the folder that goes on the stick.
fn packed(scratch: &Path, program: &Path) -> PathBuf {
    let built = Command::new(root().join("deploy/package/build"))
        .arg("--binary")
        .arg(program)
        .arg("amd64")
        .env("CARGO_TARGET_DIR", scratch)
        .output()
        .unwrap();
    done(&built);
    scratch.join("package/usb")
}

/// A program named `name` in `folder` that runs `script`.
fn stand_in(folder: &Path, name: &str, script: &str) {
    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn the_package_brings_a_program_that_runs_its_unit_and_its_documents() {
    let scratch = tempfile::tempdir().unwrap();
    let usb = packed(
        scratch.path(),
        &processes::path("fieldseal-gateway").unwrap(),
    );
    let version = env!("CARGO_PKG_VERSION");
    let package = usb.join(format!("fieldseal-gateway_{version}_amd64.deb"));
    let field = |name: &str| {
        let asked = Command::new("dpkg-deb")
            .arg("-f")
            .arg(&package)
            .arg(name)
            .output();
        done(&asked.unwrap()).trim().to_owned()
    };
    assert_eq!(field("Package"), "fieldseal-gateway");
    assert_eq!(field("Architecture"), "amd64");
    assert_eq!(field("Version"), version);

    let unpacked = scratch.path().join("unpacked");
    let extract = |what: &str, to: &Path| {
        let made = Command::new("dpkg-deb")
            .arg(what)
            .arg(&package)
            .arg(to)
            .output();
        done(&made.unwrap());
    };
    extract("-x", &unpacked);
    let said = Command::new(unpacked.join("usr/bin/fieldseal-gateway"))
        .arg("--version")
        .output()
        .unwrap();
    assert_eq!(done(&said), format!("fieldseal-gateway {version}\n"));
    for file in [
        "lib/systemd/system/fieldseal-gateway.service",
        "usr/share/doc/fieldseal-gateway/OPERATIONS.md",
        "usr/share/doc/fieldseal-gateway/examples/gateway.toml",
    ] {
        assert!(unpacked.join(file).is_file(), "{file}");
    }
    // A configuration of the site is never overwritten by an upgrade: none is brought.
    assert_eq!(
        std::fs::read_dir(unpacked.join("etc/fieldseal"))
            .unwrap()
            .count(),
        0
    );
    let control = scratch.path().join("control");
    extract("-e", &control);
    for script in ["postinst", "prerm", "postrm"] {
        done(
            &Command::new("sh")
                .arg("-n")
                .arg(control.join(script))
                .output()
                .unwrap(),
        );
    }
}

#[test]
fn the_stick_installs_this_devices_package_and_refuses_a_damaged_or_a_foreign_one() {
    let scratch = tempfile::tempdir().unwrap();
    let tools = scratch.path().join("tools");
    std::fs::create_dir(&tools).unwrap();
    stand_in(&tools, "fieldseal-gateway", "echo installed");
    let usb = packed(scratch.path(), &tools.join("fieldseal-gateway"));

    // Root and dpkg are played, so that the test changes nothing on this machine.
    stand_in(&tools, "id", "echo 0");
    let dpkg = |arch: &str| {
        stand_in(
            &tools,
            "dpkg",
            &format!("[ \"$1\" = --print-architecture ] && echo {arch} || echo \"$@\""),
        );
    };
    let install = || {
        let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
        Command::new("sh")
            .arg(usb.join("install"))
            .env("PATH", path)
            .output()
            .unwrap()
    };
    dpkg("amd64");
    let said = done(&install());
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        said,
        format!("--install fieldseal-gateway_{version}_amd64.deb\ninstalled\n")
    );

    dpkg("riscv64");
    let refused = install();
    assert!(!refused.status.success());
    let why = text(&refused.stderr);
    assert!(why.contains("architecture (riscv64)"), "{why}");

    dpkg("amd64");
    let package = usb.join(format!("fieldseal-gateway_{version}_amd64.deb"));
    let mut bytes = std::fs::read(&package).unwrap();
    bytes.truncate(bytes.len() / 2);
    std::fs::write(&package, bytes).unwrap();
    let refused = install();
    assert!(!refused.status.success());
    let why = text(&refused.stderr);
    assert!(why.contains("copy the folder again"), "{why}");
    assert!(!text(&refused.stdout).contains("--install"));
}
