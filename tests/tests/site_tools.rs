//! The commands of an engineer on site, as programs beside a meter on the network: scan, probe, plan,
//! `check --live`, commission. Each is judged by what it prints and by its exit code.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use evidence::control::Control;
use evidence::hash::sha256;
use serde_json::Value;
use system_tests::modbus_server::{Fault, Image, ModbusServer};
use system_tests::processes::{self, Program};
use system_tests::registers::Table;

const GATEWAY: &str = "fieldseal-gateway";

const ILLEGAL_ADDRESS: u8 = 2;
const TARGET_DID_NOT_RESPOND: u8 = 0x0B;

/// 230.2 as an IEEE 754 single, then a counter of 1 234 567 as u32 with the low word first, then
/// text; nothing else. Units 3 and 7 are there.
fn image() -> Arc<Image> {
    let words = [0x4366, 0x3333, 0xD687, 0x0012, 0x5344, 0x4D36, 0x3330];
    Arc::new(move |unit, table, start, count| {
        if ![3, 7].contains(&unit) {
            return Err(TARGET_DID_NOT_RESPOND);
        }
        let first = usize::from(start.checked_sub(10).ok_or(ILLEGAL_ADDRESS)?);
        if table != Table::Holding {
            return Err(ILLEGAL_ADDRESS);
        }
        let found = words.get(first..first + usize::from(count));
        found.map(<[u16]>::to_vec).ok_or(ILLEGAL_ADDRESS)
    })
}

async fn meter() -> ModbusServer {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    ModbusServer::start(address, image()).await.unwrap()
}

/// Exit code, what was printed, what was complained.
async fn gateway(words: &[&str]) -> (i32, String, String) {
    processes::run(GATEWAY, words).await.unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a test's own files")]
fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

/// The configuration for unit 3, a segment every 10 s; `more` is appended.
fn configuration(directory: &Path, port: u16, more: &str) -> PathBuf {
    let file = directory.join("gateway.toml");
    let text = format!(
        r#"
[gateway]
origin = "example.com/gw/site-tools"
data_dir = "data"
segment_s = 10
[clock]
source = "system"
[[modbus]]
name = "meter"
host = "127.0.0.1"
port = {port}
unit_id = 3
address_base = "pdu"
timeout_ms = 500
[[modbus.point]]
name = "voltage"
table = "holding"
address = 10
type = "f32"
decimals = 1
unit = "V"
kind = "instant"
[[modbus.point]]
name = "total"
table = "holding"
address = 12
type = "u32"
order = "CDAB"
scale = "0.01"
decimals = 2
unit = "kWh"
kind = "register"
interval_s = 10
{more}"#
    );
    write(&file, &text);
    file
}

fn words<'a>(file: &'a Path, rest: &[&'a str]) -> Vec<&'a str> {
    ["--config", file.to_str().unwrap()]
        .into_iter()
        .chain(rest.iter().copied())
        .collect()
}

fn fits_a_terminal(text: &str) {
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[tokio::test]
async fn a_scan_finds_the_units_behind_a_host_and_an_exception_proves_life() {
    let meter = meter().await;
    let host = meter.address().to_string();
    let (code, found, _) = gateway(&["scan", "--host", &host, "--json"]).await;
    assert_eq!(code, 0, "{found}");
    let report: Value = serde_json::from_str(&found).unwrap();
    let units: Vec<_> = report["found"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["unit_id"].clone())
        .collect();
    assert_eq!(units, [3, 7]);
    let proof = report["found"][0]["proof"].as_str().unwrap();
    assert!(
        proof.contains("exception 2 (illegal data address)"),
        "{proof}"
    );
    assert_eq!(report["complete"], true);
    // Only reads were asked: functions 3 and 4.
    let (code, text, _) = gateway(&["scan", "--host", &host, "--units", "3"]).await;
    assert_eq!(code, 0);
    assert!(text.contains("1 unit found with 1 question."), "{text}");
    fits_a_terminal(&text);

    // Nobody at all: exit 69 and what to look at.
    let (code, _, said) = gateway(&["scan", "--host", &host, "--units", "9"]).await;
    assert_eq!(code, 69);
    assert!(said.contains("nobody answered"), "{said}");
    let closed = meter.address().port();
    meter.stop().await;
    let host = format!("127.0.0.1:{closed}");
    let (code, text, _) = gateway(&["scan", "--host", &host]).await;
    assert_eq!(code, 69);
    assert!(text.contains("connect failed"), "{text}");
}

#[tokio::test]
async fn a_scan_that_is_interrupted_shows_what_was_found_so_far() {
    let meter = meter().await;
    // Every unit but 3 is silent for ever, so the search is long enough to be interrupted.
    for unit in (0..=255).filter(|unit| *unit != 3) {
        meter.set_fault(unit, Some(Fault::Silent));
    }
    let program = processes::path(GATEWAY).unwrap();
    let host = meter.address().to_string();
    let child = tokio::process::Command::new(program)
        .args([
            "scan",
            "--host",
            &host,
            "--full",
            "--timeout-ms",
            "2000",
            "--units",
            "3,4-250",
        ])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let id = child.id().unwrap();
    // Unit 4 is asked when unit 3 was found.
    let asked_on = async {
        loop {
            if meter.take_seen().iter().any(|seen| seen.unit == 4) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(processes::PATIENCE, asked_on)
        .await
        .unwrap();
    let killed = tokio::process::Command::new("sh")
        .args(["-c", &format!("kill -INT {id}")])
        .status()
        .await;
    assert!(killed.unwrap().success());
    let output = child.wait_with_output();
    let output = tokio::time::timeout(processes::PATIENCE, output)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("unit 3 at 127.0.0.1"), "{text}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("given up"));
}

#[tokio::test]
async fn a_probe_shows_every_order_of_every_register_pair() {
    let meter = meter().await;
    let host = meter.address().to_string();
    let line = [
        "probe",
        "--host",
        &host,
        "--unit",
        "3",
        "--address",
        "10",
        "--count",
        "7",
    ];
    let (code, text, _) = gateway(&line).await;
    assert_eq!(code, 0, "{text}");
    fits_a_terminal(&text);
    for expected in [
        "4x00011  4366",
        "230.2",
        "1234567",
        "Text from 4x00015: \"SDM630\"",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    let json = line.into_iter().chain(["--json"]).collect::<Vec<_>>();
    let (_, text, _) = gateway(&json).await;
    let probe: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(probe["orders"][1], "CDAB");
    assert_eq!(probe["registers"][2]["hex"], "D687");
    assert_eq!(probe["registers"][2]["pair"]["u32"][1], 1_234_567);
    assert_eq!(probe["registers"][2]["manual"], "4x00013");

    // A range with a hole is read register by register; the manual's notation names the table.
    let line = [
        "probe",
        "--host",
        &host,
        "--unit",
        "3",
        "--address",
        "4x00015",
        "--count",
        "4",
    ];
    let (code, text, _) = gateway(&line).await;
    assert_eq!(code, 0);
    assert!(text.contains("Each was read alone"), "{text}");
    assert!(text.contains("4x00018  -"), "{text}");

    let wrong = ["probe", "--host", &host, "--unit", "3", "--table", "input"];
    let (code, _, said) = gateway(&wrong).await;
    assert_eq!(code, 1, "{said}");
    let nobody = ["probe", "--host", "127.0.0.1:1", "--unit", "3"];
    let (code, _, said) = gateway(&nobody).await;
    assert_eq!(code, 69, "{said}");
    let (code, _, said) = gateway(&["probe"]).await;
    assert_eq!(code, 64);
    assert!(said.contains("--host or --port"), "{said}");
}

#[tokio::test]
async fn a_probe_of_a_configured_point_shows_its_value_and_its_words() {
    let directory = tempfile::tempdir().unwrap();
    let meter = meter().await;
    let file = configuration(directory.path(), meter.address().port(), "");
    let (code, text, said) = gateway(&words(&file, &["probe", "meter", "total"])).await;
    assert_eq!(code, 0, "{said}");
    assert!(text.contains("total: 12345.67 kWh, good"), "{text}");
    assert!(text.contains("read as u32 CDAB"), "{text}");
    assert!(!text.contains("voltage"), "{text}");
    fits_a_terminal(&text);
    let (code, _, said) = gateway(&words(&file, &["probe", "metre"])).await;
    assert_eq!(code, 64);
    assert!(said.contains("it has: meter"), "{said}");
}

#[tokio::test]
async fn check_live_tells_cables_from_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let meter = meter().await;
    let port = meter.address().port();
    let file = configuration(directory.path(), port, "");
    let (code, text, said) = gateway(&words(&file, &["check", "--live"])).await;
    assert_eq!(code, 0, "{text}{said}");
    assert!(text.contains("Everything answers"), "{text}");
    fits_a_terminal(&text);

    // Outside its nameplate: it disagrees.
    let more = "max = \"1\"\n";
    let file = configuration(directory.path(), port, more);
    let (code, text, _) = gateway(&words(&file, &["check", "--live"])).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("Disagrees: total: out of range"), "{text}");

    // Not there: it is not reachable.
    let second = "[[modbus]]\nname = \"gone\"\nhost = \"127.0.0.1\"\nport = 1\naddress_base = \"pdu\"\n\
                  [[modbus.point]]\nname = \"p\"\ntable = \"holding\"\naddress = 0\ntype = \"u16\"\n\
                  decimals = 0\nunit = \"1\"\nkind = \"instant\"\n";
    let file = configuration(directory.path(), port, second);
    let (code, text, _) = gateway(&words(&file, &["check", "--live", "--json"])).await;
    assert_eq!(code, 69, "{text}");
    let live: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(live["devices"][1]["answered"], false);
}

#[tokio::test]
async fn a_plan_that_cannot_meet_its_interval_is_refused_with_remedies_by_plan_check_and_run() {
    let directory = tempfile::tempdir().unwrap();
    let file = configuration(directory.path(), 502, "");
    let (code, text, _) = gateway(&words(&file, &["plan"])).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("holding 10-11"), "{text}");
    fits_a_terminal(&text);

    // Ten points far apart on a slow line, every second.
    let mut text = String::from(
        "[gateway]\norigin = \"example.com/gw/slow\"\ndata_dir = \"data\"\n\
         [[line]]\nname = \"bus\"\nserial = \"/dev/serial/by-id/some-port\"\nbaud = 1200\n\
         [[modbus]]\nname = \"meter\"\nline = \"bus\"\naddress_base = \"pdu\"\n",
    );
    for point in 0..10 {
        text.push_str(&format!(
            "[[modbus.point]]\nname = \"p{point}\"\ntable = \"input\"\naddress = {}\ntype = \"f32\"\n\
             decimals = 1\nunit = \"V\"\nkind = \"instant\"\n",
            point * 200
        ));
    }
    write(&file, &text);
    for command in ["plan", "check", "run"] {
        let (code, _, said) = gateway(&words(&file, &[command])).await;
        assert_eq!(code, 64, "{command}: {said}");
        // (8 + 9) characters of 10 bits at 1200 baud = 141.7 ms, 20 ms, 30 ms: 1.917 s for ten.
        for expected in [
            "line bus",
            "1.92 s",
            "interval_s = 2",
            "baud = 4800",
            "fewer points",
        ] {
            assert!(said.contains(expected), "{command}: {expected}\n{said}");
        }
    }
    let (_, text, _) = gateway(&words(&file, &["plan", "--json"])).await;
    let plan: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(plan["lines"][0]["intervals"][0]["met"], false);
    assert_eq!(plan["lines"][0]["intervals"][0]["busy_us"], 1_916_660);
}

#[tokio::test]
async fn a_sheet_is_sealed_beside_the_value_of_its_moment_and_fails_when_the_display_disagrees() {
    let directory = tempfile::tempdir().unwrap();
    let meter = meter().await;
    let file = configuration(directory.path(), meter.address().port(), "");
    let photo = directory.path().join("plate.jpg");
    write(&photo, "not really a photo");
    let photo = photo.to_str().unwrap();
    assert_eq!(gateway(&words(&file, &["init"])).await.0, 0);
    // Without a running gateway it says so at once.
    let early = [
        "commission",
        "voltage",
        "--by",
        "R. Sato",
        "--display",
        "230.2",
    ];
    let (code, _, said) = gateway(&words(&file, &early)).await;
    assert_eq!(code, 1);
    assert!(said.contains("the gateway is not running"), "{said}");
    let mut running = Program::start(GATEWAY, words(&file, &["run"])).unwrap();
    // A moment before the first tick is not in the log.
    let has_value = |status: &Value| {
        let points = status["points"].as_array();
        points.is_some_and(|points| points.iter().any(|point| point["value"] == "230.2"))
    };
    let measured = async {
        loop {
            let (_, text, _) = gateway(&words(&file, &["status", "--json"])).await;
            if has_value(&serde_json::from_str(&text).unwrap_or_default()) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(processes::PATIENCE, measured)
        .await
        .unwrap();
    let base = [
        "commission",
        "voltage",
        "--by",
        "R. Sato",
        "--tag",
        "UI-1",
        "--place",
        "panel 3",
    ];
    let stated = [
        "--serial", "4711", "--seal", "A-17", "--seal", "A-18", "--photo", photo,
    ];
    let line: Vec<&str> = base.into_iter().chain(stated).collect();
    let agrees = line
        .iter()
        .copied()
        .chain(["--display", "230.2"])
        .collect::<Vec<_>>();
    let (code, sheet, said) = gateway(&words(&file, &agrees)).await;
    assert_eq!(code, 0, "{sheet}{said}{}", running.last());
    for expected in [
        "UI-1",
        "R. Sato",
        "4711",
        "A-17, A-18",
        "230.2 V, good",
        "AGREES",
        "signed",
    ] {
        assert!(sheet.contains(expected), "{expected}\n{sheet}");
    }

    let wrong = line
        .iter()
        .copied()
        .chain(["--display", "231.2", "--json"])
        .collect::<Vec<_>>();
    let (code, text, said) = gateway(&words(&file, &wrong)).await;
    assert_eq!(code, 1, "{text}{said}");
    assert!(said.contains("differ by 1.0 V, allowed are 0.2"), "{said}");
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["agrees"], false);
    assert!(report["text"].as_str().unwrap().contains("DISAGREES"));
    assert!(running.is_running());
    running.stop().await.unwrap();

    // The log's signature covers text and photo; what is kept beside it is the same.
    let index = report["entry"].as_u64().unwrap();
    let config = gateway::config::GatewayConfig::load(&file).unwrap();
    let log = config.data_dir.join("log");
    let mut reader = gateway::buffer::LogReader::of_dir(&log).await.unwrap();
    let mut chain = evidence::chain::Chain::new(config.origin.clone());
    let mut sealed = None;
    for at in 0..=index {
        let row = reader.row(at).await.unwrap().unwrap();
        sealed = chain
            .apply(&row.entry, row.payload.as_deref())
            .unwrap()
            .control;
    }
    let Some(Control::Commissioning { text, attachments }) = sealed else {
        unreachable!("{sealed:?}")
    };
    assert_eq!(text, report["text"]);
    assert_eq!(attachments, [sha256(b"not really a photo")]);
    let kept = PathBuf::from(report["photos"][0].as_str().unwrap());
    assert_eq!(std::fs::read(kept).unwrap(), b"not really a photo");
    let file = PathBuf::from(report["file"].as_str().unwrap());
    assert!(std::fs::read_to_string(file).unwrap().starts_with(&text));
}
