//! A device whose clock stands in 1970 and whose NTP is blocked, over several boots: its log goes
//! through a real collector, is placed in time later, and is proven.

use std::sync::Arc;

use evidence::entry::ClockStatus;
use evidence::hash::{Hash, Origin};
use gateway::clock::{Clock as _, ManualClock};
use gateway::config::GatewayConfig;
use gateway::faults::NoFaults;
use gateway::identity::Identity;
use gateway::recorder::{Recorder, Settings, Software, Surroundings};
use gateway::sample::{PointSample, TickSamples};

use crate::bed::{Bed, Engine, write};
use crate::gateway::{Gateway, MINUTE_MS};
use crate::proof::{self, Verifier};
use crate::reader::{Reader, last_day};

const ORIGIN: &str = "whole-path.test/gw/1970";
const TICK_S: u64 = 10;

#[tokio::test(flavor = "multi_thread")]
async fn several_boots_without_time_are_delivered_placed_later_and_proven() {
    let mut bed = Bed::start(Engine::Sqlite).await;
    let (midnight, day) = last_day();
    let directory = bed.dir.path().join("timeless");
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join("gateway.toml");
    write(&file, &configuration(&bed));
    let config = GatewayConfig::load(&file).unwrap();
    Identity::create(&config.data_dir, &Origin::parse(ORIGIN).unwrap()).unwrap();
    let gateway = Gateway::existing(ORIGIN, config, file);
    let mut device = Device {
        gateway: &gateway,
        energy: 1_000,
    };

    // Two boots in 1970 that are cut off; what they sealed is delivered before anybody knows when
    // it was.
    for boot in ["one", "two"] {
        let clock = ManualClock::unset(30_000);
        let mut recorder = device.start(&clock, boot).await;
        device.sample(&mut recorder, &clock, 17).await;
        drop(recorder);
    }
    gateway.enrol(&bed).await;
    gateway.flush().await;
    let unplaced = gateway.sealed().await;
    assert_eq!(bed.stored(ORIGIN).await, Some(unplaced));

    // The third boot begins without a time; NTP answers twenty minutes before midnight.
    let clock = ManualClock::unset(30_000);
    let mut recorder = device.start(&clock, "three").await;
    device.sample(&mut recorder, &clock, 25).await;
    let answered_ms = midnight - 20 * MINUTE_MS;
    clock.set(u64::try_from(answered_ms).unwrap(), ClockStatus::Ntp);
    device.sample(&mut recorder, &clock, 6 * 25).await;
    recorder.close().await.unwrap();
    gateway.flush().await;

    let whole = proof::everywhere(&bed, &gateway).await;
    let without: u64 = whole
        .applied
        .iter()
        .filter(|step| step.shift.is_none())
        .filter_map(|step| step.entry.ticks())
        .map(|ticks| ticks.count)
        .sum();
    assert_eq!(without, 17 + 17 + 25, "ticks sealed without a time");

    let plan = plan(&gateway.vkey);
    let reader = Reader::of_plan(&bed, "TIMELESS", &plan).await;
    let (id, report) = reader.report(&bed, &day, &day).await;
    let bundle = reader.bundle(&bed, &id).await;
    let gateways = [&gateway];
    let verifier = Verifier {
        bed: &bed,
        plan: &plan,
        gateways: &gateways,
        from: &day,
        to: &day,
    };
    let verdict = verifier.accept(&bundle).await;
    assert_eq!(verdict["report"]["er"], report["totals"]["er"]);
    let stream = &verdict["logs"][0]["streams"][0];
    // The 25 ticks of the boot in which time came have one; of the 120 of twenty minutes the one
    // under way when it came belongs to neither place of the axis. The boots before have no time, and
    // are not given any.
    assert_eq!(stream["measured"], 25 + 119, "{stream:#}");
    assert_eq!(stream["unplaced"], 17 + 17, "{stream:#}");
    bed.stop_collector().await;
}

/// A meter that the test reads by hand, tick by tick.
struct Device<'a> {
    gateway: &'a Gateway,
    energy: i64,
}

impl Device<'_> {
    async fn start(&self, clock: &ManualClock, boot: &str) -> Recorder {
        let software = Software {
            version: "1970".to_owned(),
            binary: Hash([1; 32]),
        };
        let around = Surroundings {
            clock: Arc::new(clock.clone()),
            os_boot: boot.to_owned(),
            faults: Arc::new(NoFaults),
        };
        Recorder::open(Settings::of(&self.gateway.config, software), around)
            .await
            .unwrap()
    }

    /// Lets so many ticks pass.
    async fn sample(&mut self, recorder: &mut Recorder, clock: &ManualClock, ticks: u64) {
        let stream = u16::try_from(TICK_S).unwrap();
        for _ in 0..ticks {
            let axis = recorder
                .axes()
                .borrow()
                .streams
                .get(&stream)
                .copied()
                .unwrap();
            let tick = axis.tick_at(clock.monotonic_ms());
            clock.advance(TICK_S * 1_000);
            self.energy += 25;
            let samples = vec![
                PointSample::good(0, self.energy),
                PointSample::good(1, 1_200),
            ];
            if recorder.next_tick(stream).is_some_and(|next| tick >= next) {
                recorder
                    .record(tick, TickSamples { stream, samples })
                    .await
                    .unwrap();
            }
            recorder.tend().await.unwrap();
        }
    }
}

fn configuration(bed: &Bed) -> String {
    format!(
        r#"
[gateway]
origin = "{ORIGIN}"
data_dir = "data"
segment_s = 60

[collector]
url = "https://localhost:{}"

[[modbus]]
name = "meter"
host = "127.0.0.1"
address_base = "pdu"

[[modbus.point]]
name = "export.energy"
table = "holding"
address = 0
type = "u32"
scale = "0.1"
decimals = 1
unit = "kWh"
kind = "register"
interval_s = {TICK_S}

[[modbus.point]]
name = "aux.power"
table = "holding"
address = 2
type = "u16"
scale = "0.01"
decimals = 2
unit = "kW"
kind = "instant"
interval_s = {TICK_S}
"#,
        bed.between.port()
    )
}

fn plan(vkey: &str) -> String {
    format!(
        r#"
state = "demo"
methodology = "grid_solar"
reporting_zone = "Asia/Jakarta"

[project]
id = "TIMELESS"
name = "A device without a time"
country = "Indonesia"

[rounding]
per = "vintage"
source = "example"

[[logs]]
origin = "{ORIGIN}"
anchor = "{vkey}"

[[points]]
number = "MP-1"
parameter = "EG"
member = "revenue"
sources = [{{ log = "{ORIGIN}", point = "export.energy" }}]
unit = "kWh"
aggregation = "increase"

[[points]]
number = "MP-2"
parameter = "EC_aux"
sources = [{{ log = "{ORIGIN}", point = "aux.power" }}]
unit = "kW"
aggregation = "integral"

[[fixed]]
parameter = "EF_RE"
value = "0.797"
unit = "tCO2/MWh"
source = "example"

[[fixed]]
parameter = "EF_BaU"
value = "0.85"
unit = "tCO2/MWh"
source = "example"

[[fixed]]
parameter = "EF_grid"
value = "0.797"
unit = "tCO2/MWh"
source = "example"

[[neutral]]
name = "fuel"
justification = "test"

[[neutral]]
name = "DF"
justification = "test"
"#
    )
}
