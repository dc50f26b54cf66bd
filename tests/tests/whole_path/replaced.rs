//! A gateway is replaced in the middle of the period: one plan, one bundle, both proven.

use std::sync::Arc;

use evidence::chain::Chain;
use evidence::control::Control;
use evidence::hash::leaf_hash;
use gateway::buffer::Buffer;
use gateway::clock::{Clock as _, ManualClock};
use gateway::faults::NoFaults;
use gateway::identity::Identity;
use gateway::journal::Journal;
use gateway::log::Log;
use system_tests::gateway_config::plan_text;

use crate::bed::{Bed, Engine};
use crate::gateway::{Gateway, MINUTE_MS};
use crate::proof::{self, Verifier};
use crate::reader::{Reader, last_day};

const OLD: &str = "whole-path.test/gw/replaced";
const NEW: &str = "whole-path.test/gw/successor";

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_replaced_in_the_middle_of_the_period_is_proven_with_its_successor() {
    let mut bed = Bed::start(Engine::Sqlite).await;
    let (midnight, day) = last_day();
    let replaced_ms = midnight - 6 * MINUTE_MS;
    let old = Gateway::with_past(&bed, OLD, replaced_ms - 6 * MINUTE_MS, replaced_ms).await;
    // Two minutes of work on the cabinet.
    let (from_ms, to_ms) = (replaced_ms + 2 * MINUTE_MS, midnight + MINUTE_MS);
    let new = Gateway::with_past(&bed, NEW, from_ms, to_ms).await;
    name_predecessor(&old, &new, to_ms).await;
    for gateway in [&old, &new] {
        gateway.enrol(&bed).await;
        gateway.flush().await;
    }
    let plan = plan(&old, &new);
    let reader = Reader::of_plan(&bed, "REPLACED", &plan).await;
    let (id, report) = reader.report(&bed, &day, &day).await;
    let bundle = reader.bundle(&bed, &id).await;
    let gateways = [&old, &new];
    let verifier = Verifier {
        bed: &bed,
        plan: &plan,
        gateways: &gateways,
        from: &day,
        to: &day,
    };
    let verdict = verifier.accept(&bundle).await;
    assert_eq!(verdict["logs"].as_array().unwrap().len(), 2);
    let hand_overs = verdict["hand_overs"].as_array().unwrap();
    assert!(!hand_overs.is_empty());
    for hand_over in hand_overs {
        assert_eq!(
            (&hand_over["from"], &hand_over["to"]),
            (&OLD.into(), &NEW.into())
        );
        assert_eq!(hand_over["sealed"], true, "{hand_over}");
        assert_eq!(
            hand_over["ends_ms"].as_i64().unwrap(),
            replaced_ms,
            "{hand_over}"
        );
        assert_eq!(
            hand_over["begins_ms"].as_i64().unwrap(),
            from_ms,
            "{hand_over}"
        );
    }
    assert_eq!(verdict["report"]["er"], report["totals"]["er"]);
    for gateway in gateways {
        proof::everywhere(&bed, gateway).await;
    }

    // Half a bundle, as a broken download leaves it, is not taken for one of the two logs.
    let (code, verdict) = verifier.verify(&bundle[..bundle.len() / 2]).await;
    assert!(matches!(code, 2 | 3), "{code}: {:#}", verdict["failures"]);
    bed.stop_collector().await;
}

/// Seals in the successor's log where the predecessor's ends, with the gateway's own log writer.
async fn name_predecessor(old: &Gateway, new: &Gateway, now_ms: i64) {
    let last = old.rows().await.pop().unwrap();
    let recovery = Control::Recovery {
        origin: old.origin.clone(),
        last_index: last.index,
        last_leaf: leaf_hash(&last.entry),
        reason: "replaced".to_owned(),
    };
    let mut chain = Chain::new(new.config.origin.clone());
    for row in new.rows().await {
        chain
            .apply(&row.entry, Some(row.payload.as_deref().unwrap_or_default()))
            .unwrap();
    }
    let data_dir = &new.config.data_dir;
    let quarantine = data_dir.join("quarantine");
    let (mut journal, said) = Journal::open(data_dir, &quarantine).await.unwrap();
    assert_eq!(said, None);
    let opened = Buffer::open(
        &data_dir.join("log"),
        &quarantine,
        1 << 30,
        Arc::new(NoFaults),
    )
    .await
    .unwrap();
    let mut identity = Identity::open(data_dir, &new.config.origin).unwrap();
    identity.settle(chain.entry_key().unwrap()).unwrap();
    let clock = Arc::new(ManualClock::trusted(
        u64::try_from(now_ms).unwrap(),
        600_000,
    ));
    let now = clock.now();
    let mut log = Log::new(
        identity,
        chain,
        opened.buffer,
        [9; 8],
        clock,
        Arc::new(NoFaults),
    );
    log.control(&mut journal, &recovery, now).await.unwrap();
    log.close().await.unwrap();
    journal.close().await.unwrap();
}

/// The plan of one gateway, with both logs where it names one.
fn plan(old: &Gateway, new: &Gateway) -> String {
    let text = plan_text("REPLACED", "A replaced gateway", &old.origin, &old.vkey);
    let log = format!(
        "\n[[logs]]\norigin = \"{NEW}\"\nanchor = \"{}\"\nsucceeds = \"{OLD}\"\n",
        new.vkey
    );
    let mut plan = String::new();
    for line in text.lines() {
        match line
            .strip_prefix("sources = [")
            .and_then(|rest| rest.strip_suffix(']'))
        {
            Some(source) => {
                plan += &format!("sources = [{source}, {}]\n", source.replace(OLD, NEW));
            }
            None => plan += &format!("{line}\n"),
        }
        if line.starts_with("site = ") {
            plan += &log;
        }
    }
    plan
}
