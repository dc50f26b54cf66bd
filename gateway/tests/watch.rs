//! A device behind its name: exchanged, set differently, faulty, unreadable; and confirmed.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::sync::Arc;
use std::time::Duration;

use evidence::control::{DeviceEvent, DeviceStatement};
use evidence::quality::Quality;
use gateway::config::GatewayConfig;
use gateway::read_once::read_once;
use gateway::sample::{PolledSource as _, SampleValue, TickSamples};
use gateway::sampling::{self, PolledStream};
use gateway::watch::Gate;
use ring::rand::SystemRandom;
use tokio::time::Instant;

#[path = "support/settable.rs"]
mod settable;

use settable::Settable;

/// Long enough for an answer on a busy machine; no test waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(20);

const ENERGY: u16 = 10;
const STATUS: u16 = 14;
const SERIAL: u16 = 300;
const RATIO: u16 = 400;

/// A meter with two points, a serial number, a ratio and a status word.
fn config(port: u16, timeout_ms: u16, more: &str) -> GatewayConfig {
    let text = format!(
        r#"
[gateway]
origin = "example.com/gw/1"
data_dir = "/nowhere"
[[modbus]]
name = "m1"
host = "127.0.0.1"
port = {port}
address_base = "pdu"
timeout_ms = {timeout_ms}
{more}
[[modbus.point]]
name = "energy"
table = "holding"
address = {ENERGY}
type = "u32"
decimals = 0
unit = "kWh"
kind = "register"
[[modbus.point]]
name = "power"
table = "holding"
address = 12
type = "u16"
decimals = 0
unit = "kW"
kind = "instant"
[[modbus.identity]]
name = "serial_number"
table = "holding"
address = {SERIAL}
type = "u32"
[[modbus.setting]]
name = "ct_primary"
table = "holding"
address = {RATIO}
type = "u16"
[[modbus.status]]
name = "device_status"
table = "holding"
address = {STATUS}
type = "u16"
points = ["energy"]
[[modbus.status.flag]]
mask = 0x0003
equals = 0x0002
means = "totaliser stopped"
quality = "device_fault"
[[modbus.status.flag]]
mask = 0x8000
means = "battery low"
"#
    );
    GatewayConfig::parse("gateway.toml", &text).unwrap_or_else(|problems| panic!("{problems}"))
}

struct Site {
    meter: Settable,
    stream: PolledStream,
    gate: Arc<Gate>,
    tick: u64,
}

impl Site {
    fn new(meter: Settable, timeout_ms: u16, more: &str) -> Self {
        meter.put(ENERGY + 1, 1_000);
        meter.put(SERIAL + 1, 7);
        meter.put(RATIO, 100);
        let config = config(meter.port, timeout_ms, more);
        let gates = sampling::new_gates(&config);
        let table = config.measurement(|_| 0);
        let stream = sampling::open_through(&config, &table, &SystemRandom::new(), &gates)
            .streams
            .pop()
            .unwrap();
        Self {
            meter,
            stream,
            gate: Arc::clone(&gates[0]),
            tick: 0,
        }
    }

    async fn start() -> Self {
        Self::new(Settable::start().await, 20_000, "")
    }

    async fn poll(&mut self) -> TickSamples {
        self.tick += 1;
        self.stream.poll(self.tick, Instant::now() + PATIENCE).await
    }

    /// What is said of energy and power; both were read.
    async fn said(&mut self) -> [Vec<Quality>; 2] {
        let samples = self.poll().await.samples;
        [0, 1].map(|point: usize| {
            assert!(
                matches!(samples[point].value, SampleValue::Int(_)),
                "{:?}",
                samples[point]
            );
            let qualities = samples[point].qualities.iter();
            qualities.map(|&(quality, _)| quality).collect()
        })
    }

    fn events(&self) -> Vec<DeviceStatement> {
        std::iter::from_fn(|| {
            let statement = self.gate.unsealed()?;
            self.gate.sealed();
            Some(statement)
        })
        .collect()
    }

    fn confirm(&self) {
        let event = DeviceEvent::Confirmed {
            person: "R. Sato".to_owned(),
            reason: "sheet 12".to_owned(),
        };
        self.gate.confirmed(&event, &self.gate.known().seen);
    }
}

const GOOD: [Vec<Quality>; 2] = [Vec::new(), Vec::new()];

fn both(quality: Quality) -> [Vec<Quality>; 2] {
    [vec![quality], vec![quality]]
}

fn names(events: &[DeviceStatement]) -> Vec<&'static str> {
    events
        .iter()
        .filter_map(|statement| statement.event.as_ref())
        .map(|(event, _)| event.name())
        .collect()
}

#[tokio::test]
async fn a_meter_exchanged_behind_its_unit_id_is_flagged_from_its_first_value_until_confirmed() {
    let mut site = Site::start().await;
    assert_eq!(site.said().await, GOOD);
    assert!(
        site.meter.was_asked(SERIAL),
        "read before the first value counts"
    );
    assert_eq!(site.said().await, GOOD);
    assert!(
        !site.meter.was_asked(SERIAL),
        "and not again on the same connection"
    );
    // Another meter, with another register: it would have earned ten thousand.
    site.meter.put(SERIAL + 1, 8);
    site.meter.put(ENERGY + 1, 11_000);
    site.meter.hang_up();
    assert_eq!(site.said().await, both(Quality::DEVICE_EXCHANGED));
    assert_eq!(site.said().await, both(Quality::DEVICE_EXCHANGED));
    let events = site.events();
    assert_eq!(names(&events), ["seen", "exchanged"]);
    assert!(events[1].words().contains("serial_number 8"));
    site.confirm();
    assert_eq!(site.said().await, GOOD);
    // The first meter comes back.
    site.meter.put(SERIAL + 1, 7);
    site.meter.put(ENERGY + 1, 1_001);
    site.meter.hang_up();
    assert_eq!(site.said().await[0], [Quality::DEVICE_EXCHANGED]);
    site.confirm();
    assert_eq!(
        site.said().await,
        GOOD,
        "after a confirmation the register begins anew and is no rollback"
    );
}

#[tokio::test]
async fn a_ratio_changed_by_a_hand_on_the_meter_is_flagged_until_confirmed() {
    let mut site = Site::start().await;
    assert_eq!(site.said().await, GOOD);
    site.meter.put(RATIO, 200);
    site.meter.hang_up();
    assert_eq!(site.said().await, both(Quality::SETTINGS_CHANGED));
    // Set back: still nobody has said what was measured in between.
    site.meter.put(RATIO, 100);
    site.meter.hang_up();
    assert_eq!(site.said().await, both(Quality::SETTINGS_CHANGED));
    assert_eq!(names(&site.events()), ["seen", "changed", "changed"]);
    site.confirm();
    assert_eq!(site.said().await, GOOD);
}

#[tokio::test]
async fn a_status_word_flags_the_points_it_speaks_of_in_the_same_tick() {
    let mut site = Site::start().await;
    assert_eq!(site.said().await, GOOD);
    site.meter.put(STATUS, 0x0002);
    assert_eq!(site.said().await, [vec![Quality::DEVICE_FAULT], Vec::new()]);
    site.meter.put(STATUS, 0x8003);
    assert_eq!(
        site.said().await,
        GOOD,
        "another value of the same bits, and one shown only"
    );
    assert_eq!(site.stream.request_count(), 1, "read with the values");
    // A status word that cannot be read vouches for nothing.
    site.meter.holes.lock().unwrap().insert(STATUS);
    assert_eq!(site.said().await, [vec![Quality::UNCHECKED], Vec::new()]);
}

#[tokio::test]
async fn a_flag_of_a_field_of_bits_is_looked_for_in_that_field() {
    let meter = Settable::start().await;
    let text = format!(
        "[gateway]\norigin = \"example.com/gw/1\"\ndata_dir = \"/nowhere\"\n[[modbus]]\nname = \"m1\"\n\
         host = \"127.0.0.1\"\nport = {}\naddress_base = \"pdu\"\ntimeout_ms = 20000\n[[modbus.point]]\n\
         name = \"power\"\ntable = \"holding\"\naddress = 12\ntype = \"u16\"\ndecimals = 0\nunit = \"kW\"\n\
         kind = \"instant\"\n[[modbus.status]]\nname = \"failure\"\ntable = \"holding\"\naddress = {STATUS}\n\
         type = \"bit3\"\n[[modbus.status.flag]]\nmask = 1\nmeans = \"sensor failure\"\nquality = \"device_fault\"\n\
         [[modbus.status]]\nname = \"state\"\ntable = \"holding\"\naddress = {STATUS}\ntype = \"bits8-9\"\n\
         [[modbus.status.flag]]\nmask = 3\nequals = 2\nmeans = \"starting\"\nquality = \"settling\"\n",
        meter.port
    );
    let config = GatewayConfig::parse("gateway.toml", &text).unwrap();
    let mut stream = sampling::start(&config, &SystemRandom::new())
        .pop()
        .unwrap();
    for (tick, word, expected) in [
        (1, 0x0000, vec![]),
        (2, 0x0008, vec![Quality::DEVICE_FAULT]),
        (3, 0x0001, vec![]),
        (4, 0x0200, vec![Quality::SETTLING]),
        (5, 0x0300, vec![]),
        (6, 0x0208, vec![Quality::DEVICE_FAULT, Quality::SETTLING]),
    ] {
        meter.put(STATUS, word);
        let samples = stream.poll(tick, Instant::now() + PATIENCE).await.samples;
        let mut found: Vec<Quality> = samples[0]
            .qualities
            .iter()
            .map(|(found, _)| *found)
            .collect();
        found.sort();
        assert_eq!(found, expected, "{word:#06x}");
    }
}

#[tokio::test]
async fn who_reads_once_is_told_what_is_wrong_with_the_line_and_not_that_nothing_was_asked() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let rows = read_once(&config(port, 500, ""), PATIENCE, &SystemRandom::new())
        .await
        .unwrap();
    assert_eq!(rows.len(), 2);
    for row in rows {
        assert!(row.quality.contains("link error"), "{row:?}");
        assert!(!row.quality.contains("backed off"), "{row:?}");
    }
}

#[tokio::test]
async fn a_register_stands_still_beside_a_power_that_has_a_scale_factor() {
    let meter = Settable::start().await;
    let point = |name: &str, address: u16, more: &str| {
        format!(
            "[[modbus.point]]\nname = \"{name}\"\ntable = \"holding\"\naddress = {address}\ntype = \"i16\"\n{more}\n"
        )
    };
    let text = format!(
        "[gateway]\norigin = \"example.com/gw/1\"\ndata_dir = \"/nowhere\"\n[[modbus]]\nname = \"m1\"\n\
         host = \"127.0.0.1\"\nport = {}\naddress_base = \"pdu\"\ntimeout_ms = 20000\n{}{}{}",
        meter.port,
        point(
            "energy",
            10,
            "decimals = 0\nunit = \"kWh\"\nkind = \"register\"\nfrozen_after_s = 10\n\
             frozen_while = \"power\"\nfrozen_above = \"50\""
        ),
        point(
            "power",
            11,
            "decimals = 1\nunit = \"W\"\nkind = \"instant\"\nscale_from = \"factor\""
        ),
        point(
            "factor",
            12,
            "decimals = 0\nunit = \"1\"\nkind = \"instant\""
        ),
    );
    let config =
        GatewayConfig::parse("gateway.toml", &text).unwrap_or_else(|problems| panic!("{problems}"));
    let mut stream = sampling::start(&config, &SystemRandom::new())
        .pop()
        .unwrap();
    meter.put(10, 7);
    // 5.1 W, then 51 W: only the factor tells.
    let mut frozen = Vec::new();
    for tick in 1..=30 {
        meter.put(11, 51);
        meter.put(12, if tick <= 15 { u16::MAX } else { 0 });
        let samples = stream.poll(tick, Instant::now() + PATIENCE).await.samples;
        if !samples[0].is_good() {
            frozen.push(tick);
        }
    }
    assert_eq!(frozen, (25..=30).collect::<Vec<u64>>());
}

#[tokio::test]
async fn what_the_site_expects_is_compared_with_the_first_answer() {
    let meter = Settable::start().await;
    let mut site = Site::new(meter, 20_000, "serial = \"9\"");
    assert_eq!(site.said().await, both(Quality::DEVICE_EXCHANGED));
    let said = site.gate.waiting().join("\n");
    assert!(
        said.contains("serial_number is 7, but the configuration expects 9"),
        "{said}"
    );
}

#[tokio::test]
async fn a_serial_number_that_the_device_refuses_waits_for_a_person() {
    let meter = Settable::start().await;
    meter.holes.lock().unwrap().insert(SERIAL);
    let mut site = Site::new(meter, 20_000, "");
    assert_eq!(site.said().await, both(Quality::UNCHECKED));
    let said = site.gate.waiting().join("\n");
    assert!(
        said.contains("serial_number refused with exception 2"),
        "{said}"
    );
    site.confirm();
    assert_eq!(site.said().await, GOOD);
}

#[tokio::test]
async fn a_device_silent_about_its_identity_is_recorded_all_the_same_but_counts_for_nothing() {
    let meter = Settable::start().await;
    meter.mute.lock().unwrap().insert(SERIAL);
    // The silence is waited for, so it has to be short.
    let mut site = Site::new(meter, 100, "");
    let mut recorded = 0;
    let until = Instant::now() + PATIENCE;
    while recorded < 2 {
        assert!(Instant::now() < until, "never recorded");
        let samples = site.poll().await.samples;
        if matches!(samples[0].value, SampleValue::Int(_)) {
            assert_eq!(samples[0].qualities, [(Quality::UNCHECKED, 0)]);
            recorded += 1;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(site.gate.waiting().join("\n").contains("cannot be read"));
    assert_eq!(site.events(), []);
}
