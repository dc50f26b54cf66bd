//! The field engineer's page of `gateway/README.md`, walked: every command of it is run as it stands,
//! in its order, beside a meter of pymodbus on a serial line (a pseudo-terminal), and what the page
//! shows is what is printed.
//!
//! What a test machine does not have stands beside it: `sudo` and `systemctl` are small scripts, and
//! absolute paths lead into a temporary directory. The configuration gets segments of 10 s and a clock
//! that is trusted, so that the walk takes a minute and needs no NTP.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::path::{Path, PathBuf};
use std::process::Stdio;

use gateway::enrol::Enrolment;
use system_tests::peers::{python, script};
use system_tests::processes::{self, PATIENCE, Program};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

const PORT: &str = "usb-FTDI_FT232R_USB_UART_A50285BI-if00-port0";
const CODE: &str = "fs1.0a1b2c3d.SECRET.FINGERPRINT";

/// A command of the page, or what it shows of the output of the commands before.
enum Step {
    Run(String),
    Shows(String),
}

/// The `sh` and `text` blocks of the page.
fn steps() -> Vec<Step> {
    let path = project("gateway/README.md");
    let markdown = std::fs::read_to_string(path).unwrap();
    let (_, page) = markdown
        .split_once("## From a meter on a USB stick")
        .unwrap();
    let page = page.split("\n## ").next().unwrap();
    let mut steps = Vec::new();
    let mut block: Option<&str> = None;
    for line in page.lines() {
        match (block, line.strip_prefix("```")) {
            (None, Some(language)) => block = Some(language),
            (Some(_), Some(_)) => block = None,
            (Some("sh"), None) => steps.push(Step::Run(line.to_owned())),
            (Some("text"), None) => steps.push(Step::Shows(line.to_owned())),
            _ => {}
        }
    }
    steps
}

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .join(path)
}

#[expect(clippy::disallowed_methods, reason = "a test's own files")]
fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn executable(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    write(path, &format!("#!/bin/sh\n{text}\n"));
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// The machine of the page: a folder with `/etc`, `/dev` and `/var`, and the commands on its path.
struct Machine {
    root: tempfile::TempDir,
    code: String,
    service: Option<Program>,
    _line: Child,
    _meter: Child,
}

impl Machine {
    async fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        for directory in [
            "dev/serial/by-id",
            "etc/fieldseal",
            "var/lib/fieldseal-gateway",
            "central",
        ] {
            std::fs::create_dir_all(at(directory)).unwrap();
        }
        let config = at("etc/fieldseal/gateway.toml");
        let program = |name| processes::path(name).unwrap().display().to_string();
        executable(
            &at("bin/fieldseal-gateway"),
            &format!(
                "exec {} --config {} \"$@\"",
                program("fieldseal-gateway"),
                config.display()
            ),
        );
        executable(
            &at("bin/fieldseal-collector"),
            &format!("exec {} \"$@\"", program("fieldseal-collector")),
        );
        executable(&at("bin/sudo"), "[ \"$1\" = -u ] && shift 2\nexec \"$@\"");
        executable(
            &at("bin/systemctl"),
            &format!("echo \"$1\" > {}", at("service").display()),
        );

        let near = at(&format!("dev/serial/by-id/{PORT}"));
        let far = at("dev/meter");
        let line = Command::new("socat")
            .arg(format!("pty,raw,echo=0,link={}", near.display()))
            .arg(format!("pty,raw,echo=0,link={}", far.display()))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let both = async {
            while !(near.exists() && far.exists()) {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, both).await.unwrap();
        let mut meter = Command::new(python())
            .arg(script("serial_meter.py"))
            .arg(&far)
            .arg(project("gateway/templates/eastron-sdm630.image.toml"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let output = BufReader::new(meter.stdout.take().unwrap());
        let ready = output.lines().next_line().await.unwrap();
        assert_eq!(
            ready.as_deref(),
            Some("ready"),
            "is pyserial installed? tests/run does it"
        );

        let central = at("central").display().to_string();
        let line_of = ["init", "--name", "page.test/w0", "--directory", &central];
        processes::done("fieldseal-collector", line_of)
            .await
            .unwrap();
        let file = at("central/collector.toml").display().to_string();
        let line_of = ["enrolment-code", "--config", &file, "--site", "switchroom"];
        let code = processes::done("fieldseal-collector", line_of)
            .await
            .unwrap();
        Self {
            code: code.trim().to_owned(),
            root,
            service: None,
            _line: line,
            _meter: meter,
        }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    /// Runs a command of the page and returns what it printed on both outputs.
    async fn run(&mut self, command: &str) -> String {
        let root = self.root.path().display();
        let mut here = command.replace(CODE, &self.code);
        for folder in ["/dev/serial/", "/etc/fieldseal/", "/var/lib/"] {
            here = here.replace(folder, &format!("{root}{folder}"));
        }
        let bin = self.at("bin").display().to_string();
        let output = Command::new("sh")
            .args(["-c", &here])
            .env("PATH", format!("{bin}:{}", std::env::var("PATH").unwrap()))
            .env("NO_COLOR", "1")
            .current_dir(self.root.path())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(PATIENCE, output).await;
        let output = output
            .unwrap_or_else(|_late| panic!("`{command}` does not end"))
            .unwrap();
        let text = [&output.stdout, &output.stderr]
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let text = text.concat();
        assert!(
            output.status.success(),
            "`{command}`: {}\n{text}",
            output.status
        );
        self.adapt();
        self.serve().await;
        text
    }

    /// What the page writes is for a real machine.
    fn adapt(&self) {
        let path = self.at("etc/fieldseal/gateway.toml");
        let Ok(text) = std::fs::read_to_string(&path) else {
            return;
        };
        if text.contains("segment_s") {
            return;
        }
        // The folder that the service may write to, and no other.
        let real = "data_dir = \"/var/lib/fieldseal-gateway\"";
        assert!(text.contains(real), "{text}");
        let data = self.at("var/lib/fieldseal-gateway").display().to_string();
        let here = format!("data_dir = \"{data}\"\nsegment_s = 10\n[clock]\nsource = \"system\"");
        write(&path, &text.replace(real, &here));
    }

    /// Does what `systemctl` was asked for.
    async fn serve(&mut self) {
        let asked = self.at("service");
        let Ok(text) = std::fs::read_to_string(&asked) else {
            return;
        };
        std::fs::remove_file(&asked).unwrap();
        if text.trim() == "restart" {
            self.service.take().unwrap().stop().await.unwrap();
        }
        let config = self.at("etc/fieldseal/gateway.toml").display().to_string();
        let mut program =
            Program::start("fieldseal-gateway", ["--config", &config, "run"]).unwrap();
        program.hear("Recording").await.unwrap();
        self.service = Some(program);
        // A person takes longer than this to look up: until the device was recognised and its values are
        // good.
        let line = ["--config", &config, "status", "--json"];
        let is_good =
            |point: &serde_json::Value| point["value"].is_string() && point["quality"] == "good";
        let has_value = |status: &serde_json::Value| {
            let points = status["points"].as_array();
            points.is_some_and(|points| !points.is_empty() && points.iter().all(is_good))
        };
        let measured = async {
            loop {
                let (_, text, _) = processes::run("fieldseal-gateway", line).await.unwrap();
                if has_value(&serde_json::from_str(&text).unwrap_or_default()) {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        };
        tokio::time::timeout(PATIENCE, measured).await.unwrap();
    }
}

/// Whether a line of the output has the parts of what the page shows, in their order. Blanks count as one.
fn shown(line: &str, output: &str) -> bool {
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let parts: Vec<String> = line.split('…').map(plain).collect();
    output.lines().map(plain).any(|printed| {
        let mut rest = printed.as_str();
        parts
            .iter()
            .all(|part| match rest.split_once(part.as_str()) {
                Some((_, after)) => {
                    rest = after;
                    true
                }
                None => false,
            })
    })
}

#[tokio::test]
async fn the_field_engineers_page_leads_from_a_meter_to_sealed_readings() {
    let mut machine = Machine::start().await;
    let mut output = String::new();
    let mut after_text = true;
    let (mut run, mut compared) = (0, 0);
    for step in steps() {
        match step {
            Step::Run(command) => {
                if after_text {
                    output.clear();
                }
                after_text = false;
                run += 1;
                output.push_str(&machine.run(&command).await);
            }
            Step::Shows(line) => {
                after_text = true;
                compared += 1;
                assert!(
                    shown(&line, &output),
                    "the page shows\n  {line}\nprinted was\n{output}"
                );
            }
        }
    }
    assert!(
        run >= 15 && compared >= 10,
        "{run} commands, {compared} lines compared"
    );
    let enrolled = Enrolment::load(&machine.at("var/lib/fieldseal-gateway")).unwrap();
    assert!(enrolled.is_some());
    machine.service.take().unwrap().stop().await.unwrap();
}

#[test]
fn a_shown_line_needs_its_parts_in_their_order() {
    let output = "total   12345.50  kWh   good\nother";
    assert!(shown("total … kWh … good", output));
    assert!(!shown("good … total", output));
    assert!(!shown("total … bad", output));
}
