//! A collector that is down, slow, or answers nonsense: nothing is lost, and delivery resumes.

use std::time::Duration;

use system_tests::between::Fault;
use system_tests::gateway_config::plan_text;

use crate::bed::{Bed, Engine, eventually};
use crate::gateway::{Gateway, MINUTE_MS};
use crate::proof::{self, Verifier};
use crate::reader::{Reader, last_day};

/// Each row is met by one delivery, one after the other; then the answers are good again.
const NONSENSE: [&[Fault]; 3] = [
    &[Fault::ServerError, Fault::Portal, Fault::ForgedCosignature],
    &[Fault::SizeIs(0), Fault::SizeIs(1_000_000), Fault::NotASize],
    &[
        Fault::AnswerLost,
        Fault::CutOff,
        Fault::Slow(Duration::from_secs(3)),
    ],
];

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_down_slow_or_answers_nonsense_costs_nothing() {
    let mut bed = Bed::start(Engine::Sqlite).await;
    let (midnight, day) = last_day();
    let (from_ms, to_ms) = (midnight - 5 * MINUTE_MS, midnight + MINUTE_MS);
    let mut gateway = Gateway::with_past(&bed, "whole-path.test/gw/faults", from_ms, to_ms).await;
    gateway.enrol(&bed).await;
    // The very first uploads meet the first row.
    bed.between.plan(NONSENSE[0].iter().copied());
    gateway.run().await;
    let begun = gateway.sealed().await;
    for row in &NONSENSE[1..] {
        met(&bed, &gateway).await;
        bed.between.plan(row.iter().copied());
    }
    met(&bed, &gateway).await;

    // Nobody listens for ten seconds: a machine that is down.
    bed.between.close();
    bed.kill_collector().await;
    let before = gateway.sealed().await;
    // Not waiting for anything: this is how long it is down.
    tokio::time::sleep(Duration::from_secs(10)).await;
    eventually("a segment sealed meanwhile", async || {
        (gateway.sealed().await > before).then_some(())
    })
    .await;
    bed.start_collector().await;
    bed.between.open_again().unwrap();
    gateway.progress(&bed).await;
    gateway.stop().await;
    gateway.flush().await;

    let whole = proof::everywhere(&bed, &gateway).await;
    for applied in whole.applied.iter().skip(usize::try_from(begun).unwrap()) {
        let ticks = applied.entry.ticks();
        let gap = matches!(applied.entry.body, evidence::entry::Body::Gap { .. });
        assert!(
            !gap,
            "nothing that the collector does makes a gap: {ticks:?}"
        );
    }
    let plan = plan_text("FAULTS", "Faults", &gateway.origin, &gateway.vkey);
    let reader = Reader::of_plan(&bed, "FAULTS", &plan).await;
    let (id, _) = reader.report(&bed, &day, &day).await;
    let bundle = reader.bundle(&bed, &id).await;
    let gateways = [&gateway];
    let verifier = Verifier {
        bed: &bed,
        plan: &plan,
        gateways: &gateways,
        from: &day,
        to: &day,
    };
    verifier.accept(&bundle).await;
    bed.stop_collector().await;
}

/// Waits until every planned fault was met and everything sealed by then has arrived all the same.
async fn met(bed: &Bed, gateway: &Gateway) {
    eventually("an upload for every fault", async || {
        (bed.between.planned() == 0).then_some(())
    })
    .await;
    gateway.progress(bed).await;
}
