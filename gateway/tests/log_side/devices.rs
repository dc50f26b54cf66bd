//! What is known of the devices is what the log says: over crashes, restarts and a lost copy.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use evidence::control::{Control, DeviceEvent, DeviceReading, DeviceRole, DeviceStatement};
use gateway::buffer::LogReader;
use gateway::clock::ManualClock;
use gateway::config::GatewayConfig;
use gateway::durable::{self, Access};
use gateway::faults::{Faults, NoFaults, Step};
use gateway::requests::{Inbox, Listener as _, RequestError, Sealed};
use gateway::watch::{Book, Flags};
use tokio::time::Instant;

use crate::requests::{DieOnce, of, request, serve_until};
use crate::support::{MARCH, Site};

/// Only its devices matter here.
fn config(site: &Site) -> GatewayConfig {
    let text = format!(
        r#"
[gateway]
origin = "example.com/gw/0001"
data_dir = "{}"
[[modbus]]
name = "m1"
host = "127.0.0.1"
address_base = "pdu"
[[modbus.point]]
name = "energy"
table = "holding"
address = 0
type = "u32"
decimals = 0
unit = "kWh"
kind = "register"
[[modbus.identity]]
name = "serial_number"
table = "holding"
address = 300
type = "u32"
"#,
        site.dir.path().display()
    );
    GatewayConfig::parse("gateway.toml", &text).unwrap()
}

fn meter(serial: u16) -> Vec<DeviceReading> {
    vec![DeviceReading {
        role: DeviceRole::Identity,
        name: "serial_number".to_owned(),
        text: serial.to_string(),
        words: vec![0, serial],
    }]
}

fn confirmation(serial: u16) -> Control {
    let event = DeviceEvent::Confirmed {
        person: "R. Sato".to_owned(),
        reason: "sheet 12".to_owned(),
    };
    Control::Device(DeviceStatement::new("m1", event, meter(serial)))
}

async fn book(site: &Site) -> Book {
    let reader = LogReader::of_dir(&site.log_dir()).await.unwrap();
    Book::open(&config(site), reader).await.unwrap()
}

/// The flags that a value would get which comes now from the meter `serial`.
fn flags(book: &Book, serial: u16) -> Flags {
    let gate = book.gate("m1").unwrap();
    gate.observed(meter(serial), 1, Instant::now());
    gate.flags(Some(1)).0
}

const GOOD: Flags = Flags {
    exchanged: false,
    changed: false,
    unchecked: false,
};
const EXCHANGED: Flags = Flags {
    exchanged: true,
    ..GOOD
};

async fn events(site: &mut Site) -> Vec<String> {
    let applied = site.whole().await;
    let statements = applied.iter().filter_map(|step| match &step.control {
        Some(Control::Device(statement)) => statement.event.as_ref(),
        _ => None,
    });
    statements
        .map(|(event, readings)| format!("{} {}", event.name(), readings[0].text))
        .collect()
}

#[tokio::test]
async fn an_exchange_is_sealed_once_wherever_the_process_dies_and_flags_until_it_is_confirmed() {
    for step in [
        Step::Sealed,
        Step::Commit,
        Step::Committed,
        Step::JournalNote,
        Step::Release,
    ] {
        let mut site = Site::new(ManualClock::trusted(MARCH + 5_000, 5_000));
        let mut recorder = site.start().await;
        let mut first = book(&site).await;
        assert_eq!(flags(&first, 7), GOOD);
        first.settle(&mut recorder).await.unwrap();
        recorder.close().await.unwrap();
        let faults = Arc::new(DieOnce {
            step,
            done: AtomicBool::new(true),
        });
        site.faults = Arc::clone(&faults) as Arc<dyn Faults>;
        let mut recorder = site.start().await;
        let mut dying = book(&site).await;
        assert_eq!(flags(&dying, 8), EXCHANGED, "{step:?}");
        faults.done.store(false, Ordering::SeqCst);
        assert!(dying.settle(&mut recorder).await.is_err(), "{step:?}");
        drop(recorder);
        site.faults = Arc::new(NoFaults);
        // Seen again after the restart, or taken from the log: once in the log either way.
        let mut recorder = site.start().await;
        let mut again = book(&site).await;
        assert_eq!(flags(&again, 8), EXCHANGED, "{step:?}");
        again.settle(&mut recorder).await.unwrap();
        recorder.close().await.unwrap();
        assert_eq!(
            events(&mut site).await,
            ["seen 7", "exchanged 8"],
            "{step:?}"
        );
        let once_more = book(&site).await;
        assert_eq!(flags(&once_more, 8), EXCHANGED, "a restart clears nothing");
    }
}

#[tokio::test]
async fn a_confirmation_asked_for_by_a_command_ends_the_flags_of_the_running_gateway() {
    let mut site = Site::new(ManualClock::trusted(MARCH + 5_000, 5_000));
    let mut recorder = site.start().await;
    let mut running = book(&site).await;
    assert_eq!(flags(&running, 7), GOOD);
    assert_eq!(flags(&running, 8), EXCHANGED);
    running.settle(&mut recorder).await.unwrap();
    let inbox = Inbox::new(site.dir.path(), &site.faults);
    // What was looked at is no longer what is there.
    let stale = std::pin::pin!(request(of(&site), confirmation(7)));
    let answer = serve_until(stale, &inbox, &mut recorder, &mut running).await;
    assert!(matches!(
        answer.unwrap(),
        Err(RequestError::Refused(why)) if why.contains("confirm again")
    ));
    assert_eq!(flags(&running, 8), EXCHANGED);
    let right = std::pin::pin!(request(of(&site), confirmation(8)));
    let answer = serve_until(right, &inbox, &mut recorder, &mut running).await;
    answer.unwrap().unwrap();
    assert_eq!(flags(&running, 8), GOOD);
    recorder.close().await.unwrap();
    assert_eq!(
        events(&mut site).await,
        ["seen 7", "exchanged 8", "confirmed 8"]
    );
    // Whatever becomes of the copy, the log says the same.
    let copy = site.dir.path().join("devices.json");
    let old = br#"{"upto":0,"devices":{}}"#;
    for damage in [None, Some(b"not json".as_slice()), Some(old.as_slice())] {
        durable::remove_file(&copy).unwrap();
        if let Some(damage) = damage {
            durable::write_file(&copy, damage, Access::All).unwrap();
        }
        let known = book(&site).await;
        assert_eq!(flags(&known, 8), GOOD, "{damage:?}");
        assert_eq!(flags(&known, 7), EXCHANGED, "{damage:?}");
    }
}

#[tokio::test]
async fn a_confirmation_told_again_after_a_crash_does_not_cover_what_came_since() {
    let site = Site::new(ManualClock::trusted(MARCH + 5_000, 5_000));
    let mut recorder = site.start().await;
    let mut running = book(&site).await;
    flags(&running, 7);
    flags(&running, 8);
    running.settle(&mut recorder).await.unwrap();
    let (index, unix_ms) = recorder
        .seal_control(&confirmation(8))
        .await
        .unwrap()
        .unwrap();
    let at = Sealed { index, unix_ms };
    running.sealed(&confirmation(8), at).unwrap();
    assert_eq!(flags(&running, 9), EXCHANGED);
    assert_eq!(flags(&running, 8), EXCHANGED, "there and back");
    running.settle(&mut recorder).await.unwrap();
    running.sealed(&confirmation(8), at).unwrap();
    assert_eq!(flags(&running, 8), EXCHANGED);
}

#[tokio::test]
async fn where_the_log_no_longer_reaches_back_a_person_has_to_confirm() {
    let site = Site::new(ManualClock::trusted(MARCH + 5_000, 5_000));
    let mut recorder = site.start().await;
    let mut running = book(&site).await;
    flags(&running, 7);
    running.settle(&mut recorder).await.unwrap();
    // The next day's file is what is left; the copy is lost.
    site.clock.advance(86_400_000);
    crate::support::seconds(&mut recorder, &site.clock, 12).await;
    recorder.close().await.unwrap();
    let mut days: Vec<_> = std::fs::read_dir(site.log_dir())
        .unwrap()
        .map(|item| item.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "db"))
        .collect();
    days.sort();
    assert!(days.len() > 1, "{days:?}");
    durable::remove_file(&days[0]).unwrap();
    let kept = book(&site).await;
    assert_eq!(flags(&kept, 7), GOOD, "the copy knows");
    durable::remove_file(&site.dir.path().join("devices.json")).unwrap();
    let lost = book(&site).await;
    assert!(flags(&lost, 7).unchecked);
    assert!(
        lost.waiting()[0]
            .text
            .contains("what was known of it is lost")
    );
    // What is read of it from now on tells nothing about before, and neither does a restart.
    let mut recorder = site.start().await;
    let mut running = book(&site).await;
    assert!(flags(&running, 7).unchecked);
    running.settle(&mut recorder).await.unwrap();
    recorder.close().await.unwrap();
    let restarted = book(&site).await;
    assert!(flags(&restarted, 7).unchecked, "a restart clears nothing");
    assert!(restarted.waiting()[0].text.contains("is lost"));
    let mut recorder = site.start().await;
    let mut running = book(&site).await;
    let inbox = Inbox::new(site.dir.path(), &site.faults);
    let asked = std::pin::pin!(request(of(&site), confirmation(7)));
    let answer = serve_until(asked, &inbox, &mut recorder, &mut running).await;
    answer.unwrap().unwrap();
    recorder.close().await.unwrap();
    assert_eq!(flags(&book(&site).await, 7), GOOD);
}
