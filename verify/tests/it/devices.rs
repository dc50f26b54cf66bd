//! Statements about devices (kind 10): both implementations accept and refuse the same bodies.

use std::io::Write as _;
use std::process::{Command, Stdio};

use evidence::control::{Control, DeviceEvent, DeviceReading, DeviceRole, DeviceStatement};

fn reading(role: DeviceRole, name: &str, words: &[u16]) -> DeviceReading {
    DeviceReading {
        role,
        name: name.to_owned(),
        text: words.len().to_string(),
        words: words.to_vec(),
    }
}

fn confirmed(person: &str, reason: &str) -> DeviceEvent {
    DeviceEvent::Confirmed {
        person: person.to_owned(),
        reason: reason.to_owned(),
    }
}

#[test]
fn both_implementations_judge_a_device_statement_alike() {
    let serial = || reading(DeviceRole::Identity, "serial_number", &[1, 2]);
    let ratio = || reading(DeviceRole::Setting, "ct_primary", &[100]);
    let refused = || reading(DeviceRole::Setting, "firmware", &[]);
    let mut backwards = DeviceStatement::new("m", DeviceEvent::Seen, vec![serial(), ratio()]);
    if let Some((_, readings)) = &mut backwards.event {
        readings.reverse();
    }
    let of = |event, readings| DeviceStatement::new("m", event, readings);
    let many = vec![0; 126];
    let cases = [
        (
            true,
            of(DeviceEvent::Seen, vec![serial(), ratio(), refused()]),
        ),
        (true, of(DeviceEvent::Exchanged, vec![serial()])),
        (true, of(DeviceEvent::Changed, vec![ratio()])),
        (true, of(confirmed("佐藤", "sheet 12"), vec![serial()])),
        (
            true,
            DeviceStatement {
                event: None,
                ..of(DeviceEvent::Seen, vec![serial()])
            },
        ),
        (false, of(DeviceEvent::Seen, Vec::new())),
        (false, of(DeviceEvent::Seen, vec![serial(), serial()])),
        (false, backwards),
        (false, of(confirmed("", "sheet 12"), vec![serial()])),
        (false, of(confirmed("A", "  "), vec![serial()])),
        (
            false,
            of(
                DeviceEvent::Seen,
                vec![reading(DeviceRole::Setting, "x", &many)],
            ),
        ),
    ];
    let mut bodies: Vec<(bool, Vec<u8>)> = cases
        .into_iter()
        .map(|(good, statement)| (good, Control::Device(statement).encode()))
        .collect();
    // Every byte of a good one changed in one bit.
    let good = bodies[3].1.clone();
    for at in 0..good.len() {
        let mut changed = good.clone();
        changed[at] ^= 0x02;
        bodies.push((Control::decode(10, &changed).is_ok(), changed));
    }
    let lines: String = bodies.iter().map(|(_, body)| hex_of(body) + "\n").collect();
    let python = std::env::var("FIELDSEAL_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = "import sys\n\
                  sys.path.insert(0, sys.argv[1])\n\
                  from fieldseal.entries import control_body\n\
                  from fieldseal.failures import Failure\n\
                  for line in sys.stdin:\n    \
                      try:\n        \
                          control_body(10, bytes.fromhex(line)); print('good')\n    \
                      except Failure:\n        \
                          print('refused')\n";
    let mut child = Command::new(&python)
        .args(["-c", script, concat!(env!("CARGO_MANIFEST_DIR"), "/python")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("start {python}: {error}; set FIELDSEAL_TEST_PYTHON"));
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(lines.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said.lines().count(), bodies.len());
    for ((good, body), said) in bodies.iter().zip(said.lines()) {
        let ours = Control::decode(10, body);
        assert_eq!(ours.is_ok(), *good, "{} {ours:?}", hex_of(body));
        assert_eq!(said == "good", *good, "{} {ours:?}", hex_of(body));
    }
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
