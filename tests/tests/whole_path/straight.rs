//! Nothing goes wrong: from `init` to a bundle that verifies, and to one that must not.

use std::time::{Duration, Instant};

use evidence::entry::Body;
use system_tests::gateway_config::plan_text;

use crate::bed::{Bed, Engine};
use crate::gateway::{Gateway, MINUTE_MS};
use crate::proof::{self, Verifier};
use crate::reader::{Reader, last_day, today};

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_goes_from_a_meters_register_to_a_checked_report() {
    let mut bed = Bed::start(Engine::Sqlite).await;

    // A new gateway, by its own commands only.
    let mut gateway = Gateway::init(&bed, "whole-path.test/gw/new").await;
    gateway.enrol(&bed).await;
    gateway.run().await;
    let plan = plan_text("NEW", "A new gateway", &gateway.origin, &gateway.vkey);
    let reader = Reader::of_plan(&bed, "NEW", &plan).await;
    live_within_seconds(&bed, &reader).await;

    // Another has measured the end of the last whole day already.
    let (midnight, day) = last_day();
    let from_ms = midnight - 10 * MINUTE_MS;
    let origin = "whole-path.test/gw/old";
    let mut old = Gateway::with_past(&bed, origin, from_ms, midnight + MINUTE_MS).await;
    old.enrol(&bed).await;
    old.run().await;
    let old_plan = plan_text("OLD", "An old gateway", &old.origin, &old.vkey);
    let old_reader = Reader::of_plan(&bed, "OLD", &old_plan).await;
    old.progress(&bed).await;

    let (id, report) = old_reader.report(&bed, &day, &day).await;
    assert!(report["totals"]["re"].is_string(), "{report}");
    let bundle = old_reader.bundle(&bed, &id).await;
    let verifier = Verifier {
        bed: &bed,
        plan: &old_plan,
        gateways: &[&old],
        from: &day,
        to: &day,
    };
    let verdict = verifier.accept(&bundle).await;
    let log = &verdict["logs"][0];
    assert_eq!(log["origin"], old.origin.as_str());
    assert_eq!(verdict["class"], 1, "nobody but the collector vouched");
    altered_byte_is_named(&old, &verifier, bundle).await;

    // The new gateway's day is not over: everything stands, and that it is not over is said.
    let day = today();
    let (id, report) = reader.report(&bed, &day, &day).await;
    assert!(report["provisional"].as_bool().unwrap_or(true), "{report}");
    // The log goes on meanwhile; what the report is pinned to stays.
    gateway.progress(&bed).await;
    let bundle = reader.bundle(&bed, &id).await;
    let verifier = Verifier {
        bed: &bed,
        plan: &plan,
        gateways: &[&gateway],
        from: &day,
        to: &day,
    };
    let (code, verdict) = verifier.verify(&bundle).await;
    assert_eq!(code, 3, "{verdict:#}");
    let failures = verdict["failures"].as_array().unwrap();
    // V12: a stream ends before the period does.
    assert!(
        failures.iter().all(|failure| failure["code"] == "V12"),
        "{failures:#?}"
    );

    for gateway in [&mut gateway, &mut old] {
        gateway.stop().await;
        gateway.flush().await;
        proof::everywhere(&bed, gateway).await;
    }
    bed.stop_collector().await;
}

/// A changed register is in the browser's event within five seconds, once somebody watches.
async fn live_within_seconds(bed: &Bed, reader: &Reader) {
    const POINT: &str = "well-1.pressure";

    let mut events = reader.live(bed).await;
    // The gateway hears with its next post that somebody watches, and posts fast from then on.
    bed.meters.turn_pressure(7_321);
    events.shows(POINT, "7.321").await;
    let mut seconds = Vec::new();
    for kpa in [7_400_u16, 7_500, 7_600, 7_700, 7_800] {
        // Meters change when they like: not always just after a post has left.
        tokio::time::sleep(Duration::from_millis(u64::from(kpa % 1_000))).await;
        bed.meters.turn_pressure(kpa);
        let turned = Instant::now();
        let shown = format!("{}.{:03}", kpa / 1_000, kpa % 1_000);
        let point = events.shows(POINT, &shown).await;
        assert_eq!(
            (&point["unit"], &point["quality"]),
            (&"MPa_a".into(), &"good".into())
        );
        seconds.push(turned.elapsed().as_secs_f64());
    }
    println!("from the register to the event: {seconds:.2?} s");
    seconds.sort_by(f64::total_cmp);
    assert!(seconds[2] <= 5.0, "{seconds:?}");
    // And the value turns sealed when its entry is cosigned.
    events.until(POINT, |point| point["sealed"] == true).await;
}

/// One byte of one reading is changed: the verifier names the entry that it belongs to.
async fn altered_byte_is_named(gateway: &Gateway, verifier: &Verifier<'_>, mut bundle: Vec<u8>) {
    let (start, size) = member(&bundle, "payload.bin");
    let wanted = size / 2;
    let mut passed = 0;
    let first = verifier.accept(&bundle).await["logs"][0]["first"]
        .as_u64()
        .unwrap();
    let mut entry = None;
    for (row, applied) in gateway
        .rows()
        .await
        .iter()
        .zip(proof::log(gateway, &gateway.rows().await).applied)
    {
        if row.index < first || !matches!(applied.entry.body, Body::Data { .. }) {
            continue;
        }
        passed += row.payload.as_ref().unwrap().len();
        if passed > wanted {
            entry = Some(row.index);
            break;
        }
    }
    bundle[start + wanted] ^= 1;
    let (code, verdict) = verifier.verify(&bundle).await;
    assert_eq!(code, 2, "{verdict:#}");
    let failure = &verdict["failures"][0];
    assert_eq!(failure["index"].as_u64(), entry, "{failure:#}");
    println!("altered: {failure}");
}

/// Where a member of a tar begins, found by the end of its name, and its size.
fn member(tar: &[u8], wanted: &str) -> (usize, usize) {
    let mut at = 0;
    loop {
        let header = &tar[at..at + 512];
        let name = String::from_utf8_lossy(&header[..100])
            .trim_end_matches('\0')
            .to_owned();
        assert!(!name.is_empty(), "no {wanted} in the bundle");
        let octal = std::str::from_utf8(&header[124..135]).unwrap();
        let size = usize::from_str_radix(octal.trim_matches(['\0', ' ']), 8).unwrap();
        if name.ends_with(wanted) {
            return (at + 512, size);
        }
        at += 512 + size.div_ceil(512) * 512;
    }
}
