//! The command line and the configuration file.

use std::path::Path;
use std::process::{Command, Output};

use clap::CommandFactory as _;
use collector::cli::Args;
use collector::config::{Config, StoreAddress};
use collector::install::EXAMPLE;

fn command(arguments: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_fieldseal-collector"));
    program
        .args(arguments)
        .env_remove("RUST_LOG")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_command_line_is_consistent() {
    Args::command().debug_assert();
}

#[test]
fn a_first_installation_is_made_checked_and_gives_out_a_code() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path().to_str().unwrap();
    let config = directory.path().join("collector.toml");
    let config = config.to_str().unwrap();
    let made = command(&[
        "init",
        "--directory",
        here,
        "--name",
        "collector.example/w0",
    ]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    assert!(text(&made.stdout).contains("collector.example/w0+"));
    let again = command(&[
        "init",
        "--directory",
        here,
        "--name",
        "collector.example/w0",
    ]);
    assert_eq!(again.status.code(), Some(1));
    assert!(
        text(&again.stderr).contains("cosigner.key"),
        "{}",
        text(&again.stderr)
    );
    let checked = command(&["check", config]);
    assert!(checked.status.success(), "{}", text(&checked.stderr));
    assert!(text(&checked.stdout).contains("cosigns as       collector.example/w0+"));
    assert!(
        !directory.path().join("central.db").exists(),
        "`check` opens nothing"
    );
    let code = command(&["enrolment-code", "--config", config, "--site", "Site A"]);
    collector::code::Code::parse(text(&code.stdout).trim_end()).unwrap();
    let status = command(&["status", "--config", config]);
    assert!(text(&status.stdout).contains("site Site A"));
}

#[test]
fn a_mistake_in_the_configuration_names_file_line_key_and_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("collector.toml");
    #[expect(clippy::disallowed_methods, reason = "a test's own file")]
    std::fs::write(&path, EXAMPLE.replace("listen =", "lisen =")).unwrap();
    let output = command(&["check", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(64));
    let told = text(&output.stderr);
    for part in ["collector.toml:4:", "`lisen`", "did you mean `listen`?"] {
        assert!(told.contains(part), "{part} is not in: {told}");
    }
}

#[test]
fn every_wrong_value_is_told_at_once() {
    let wrong = EXAMPLE
        .replace("\"[::]:7443\"", "\"everywhere\"")
        .replace("url = \"sqlite:central.db\"", "url = \"mysql:x\"")
        .replace("#upload_mb = 16", "upload_mb = 0")
        .replace("#body_timeout_s = 60", "body_timeout_s = 99999");
    let told = Config::parse(&wrong, Path::new("etc/collector.toml"))
        .unwrap_err()
        .to_string();
    for part in [
        "etc/collector.toml:4: `listen`: `everywhere` is no address with a port",
        "etc/collector.toml:8: `store.url`: must begin with `sqlite:` or `postgres://`",
        "`limits.upload_mb`: must be 1 to 256, not 0",
        "`limits.body_timeout_s`: must be 1 to 3600, not 99999",
    ] {
        assert!(told.contains(part), "{part} is not in: {told}");
    }
    assert_eq!(told.lines().count(), 4, "{told}");
}

#[test]
fn wrong_types_duplicates_and_missing_keys_name_their_line() {
    let cases = [
        (
            EXAMPLE.replace("\"[::]:7443\"", "7443"),
            "collector.toml:4: `listen`",
        ),
        (
            EXAMPLE.replace("#upload_mb = 16", "upload_mb = \"16\""),
            "`limits.upload_mb`",
        ),
        (
            EXAMPLE.replace("[tls]", "[tls]\nkey_file = \"x\""),
            "duplicate key",
        ),
        (
            EXAMPLE.replace("key_file = \"tls.key\"\n", ""),
            "missing field `key_file`",
        ),
        (
            EXAMPLE.replace("#url_file", "url_file"),
            "give `url` or `url_file`, not both",
        ),
        (
            EXAMPLE.replace("url = \"sqlite:central.db\"\n", ""),
            "toml:7: `store`: give `url`",
        ),
    ];
    for (wrong, part) in cases {
        let told = Config::parse(&wrong, Path::new("collector.toml"))
            .unwrap_err()
            .to_string();
        assert!(told.contains(part), "{part} is not in: {told}");
    }
}

#[test]
fn every_option_the_example_shows_is_accepted_with_the_default_it_shows() {
    let path = Path::new("/etc/fieldseal/collector.toml");
    let plain = Config::parse(EXAMPLE, path).unwrap();
    let shown: String = EXAMPLE
        .lines()
        .filter(|line| !line.starts_with("url ="))
        .map(|line| match line.strip_prefix('#') {
            Some(option) if !option.starts_with(' ') => format!("{option}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let all = Config::parse(&shown, path).unwrap();
    assert_eq!(all.limits, plain.limits);
    assert_eq!(
        all.store,
        StoreAddress::File("/etc/fieldseal/store.url".into())
    );
    assert_eq!(
        plain.store,
        StoreAddress::Url("sqlite:/etc/fieldseal/central.db".to_owned())
    );
    assert_eq!(
        plain.cosigner_key_file,
        Path::new("/etc/fieldseal/cosigner.key")
    );
}
