//! Reports, today's figures and bundles against a computation made directly.

use std::collections::BTreeMap;
use std::time::Duration;

use evidence::bundle::{Bundle, FileSpan};
use evidence::chain::Chain;
use evidence::control::Control;
use evidence::entry::Body;
use evidence::hash::Origin;
use evidence::segment::tick_time;
use quantification::computation::Computation;
use quantification::methodology::shipped;
use quantification::period;
use quantification::plan::Plan;
use quantification::report::Report;
use serde_json::{Value, json};
use store::LogRef;
use verifier_api::{Role, apply};

use crate::bed::{Bed, PROJECT, of_project, plan_text, problem};
use crate::plant::{ORIGIN, Plant};

const ID: &str = "2026-03-09_2026-03-09";

/// Asks for a report and waits until it is made; returns what the server says of it then.
pub(crate) async fn make_report(bed: &Bed, token: &str, from: &str, to: &str) -> Value {
    let request = bed
        .client
        .post(bed.url(&of_project("/reports")))
        .bearer_auth(token);
    let answer = request
        .json(&json!({ "from": from, "to": to }))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 202);
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    for _ in 0..400 {
        let report = bed.json(token, &location).await;
        if report["job"]["state"] != "running" {
            return report;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("the report was not made within 10 s")
}

/// The same report from all entries of the log, by hand. `placed` is the shift of entries that were
/// sealed without a time.
async fn directly(bed: &Bed, from: &str, to: &str) -> Report {
    directly_placed(bed, from, to, None).await
}

async fn directly_placed(bed: &Bed, from: &str, to: &str, placed: Option<i64>) -> Report {
    let log = (bed.plant.at, ORIGIN, u64::MAX);
    fed(bed, &plan_text(&bed.plant), &[log], (from, to), placed).await
}

/// The report of a plan, fed with these logs, each up to an entry (exclusive).
async fn fed(
    bed: &Bed,
    plan: &str,
    logs: &[(LogRef, &str, u64)],
    (from, to): (&str, &str),
    placed: Option<i64>,
) -> Report {
    let plan = Plan::parse(plan, "plan.toml").unwrap();
    let bound = plan.bind(&shipped("grid_solar").unwrap()).unwrap();
    let day = |text| period::date(text).unwrap();
    let period = bound.plan.period(day(from), day(to)).unwrap();
    let mut computation = Computation::new(&bound, &period);
    for (at, origin, end) in logs {
        let mut chain = Chain::new(Origin::parse(origin).unwrap());
        let rows = bed.store.rows(*at, 0..*end, 10_000, true).await.unwrap();
        for row in rows {
            let applied = chain.apply(&row.entry, row.payload.as_deref()).unwrap();
            if let Some(mut segment) = applied.segment {
                segment.shift = segment.shift.or(placed);
                computation
                    .segment(origin, row.index, &applied.leaf, &segment)
                    .unwrap();
            }
            if let Body::Gap { ticks, reason, .. } = &applied.entry.body {
                let time = |tick| tick_time(tick, applied.shift.unwrap(), applied.tick_ms).unwrap();
                let (from, to) = (time(ticks.first), time(ticks.end()));
                computation
                    .gap(origin, row.index, ticks.stream, from, to, reason.name())
                    .unwrap();
            }
        }
    }
    computation.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_byte_for_byte_what_a_direct_computation_gives() {
    let bed = Bed::with_readings().await;
    let token = bed.token(Role::Preparer, &[PROJECT]).await;
    let made = make_report(&bed, &token, "2026-03-09", "2026-03-09").await;
    assert_eq!(made["job"]["state"], "done", "{made}");
    let line = &made["versions"][0];
    assert_eq!(
        (&line["version"], &line["status"]),
        // Until 23:00 nothing was measured of what costs.
        (&json!(1), &json!("provisional")),
        "{made}"
    );
    let pinned = &line["pinned"][0];
    assert_eq!(
        (&pinned["origin"], &pinned["size"]),
        (&json!(ORIGIN), &json!(bed.plant.size()))
    );

    let path = of_project(&format!("/reports/{ID}/report.json"));
    let answer = bed.get(&token, &path).send().await.unwrap();
    let tag = answer.headers()["etag"].clone();
    let bytes = answer.bytes().await.unwrap();
    let expected = directly(&bed, "2026-03-09", "2026-03-09").await;
    assert_eq!(&*bytes, &*expected.to_json());
    let energy = expected.parameter("EG[revenue]").unwrap();
    assert!(
        energy.value.signum() > 0 && energy.measured.as_ref().unwrap().evidence[0].segments > 0
    );

    let again = bed
        .get(&token, &path)
        .header("if-none-match", tag)
        .send()
        .await
        .unwrap();
    assert_eq!(again.status(), 304);
    bed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_computation_is_a_version_that_never_changes() {
    let mut bed = Bed::with_readings().await;
    let token = bed.token(Role::Preparer, &[PROJECT]).await;
    // The day is not over: provisional, and told why.
    let first = make_report(&bed, &token, "2026-03-10", "2026-03-10").await;
    assert_eq!(first["versions"][0]["status"], "provisional", "{first}");
    let id = "2026-03-10_2026-03-10";
    let file = |version: u64| of_project(&format!("/reports/{id}/report.json?version={version}"));
    let before = bed.json(&token, &file(1)).await;
    let reasons = before["provisional_reasons"].to_string();
    assert!(
        reasons.contains("ends at 2026-03-09T16:15:00Z, before the period does"),
        "{reasons}"
    );
    let file_one = file(1);

    bed.plant.measure(10, &BTreeMap::new());
    let now_ms = bed.plant.now_ms();
    bed.clock.set(now_ms);
    bed.plant.upload(&bed.store, now_ms).await;
    let second = make_report(&bed, &token, "2026-03-10", "2026-03-10").await;
    assert_eq!(second["job"]["version"], 2);
    assert_eq!(second["versions"].as_array().unwrap().len(), 2);
    assert_eq!(bed.json(&token, &file_one).await, before);
    let newest = bed
        .json(&token, &of_project(&format!("/reports/{id}/report.json")))
        .await;
    assert_ne!(newest["totals"]["er"], before["totals"]["er"]);
    bed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_period_that_cannot_be_reported_is_refused_with_the_reason() {
    let bed = Bed::with_readings().await;
    let token = bed.token(Role::Preparer, &[PROJECT]).await;
    for (from, to, status, said) in [
        ("2026-03-09", "2026-3-9", 400, "`2026-3-9` is not a date"),
        ("2026-03-09", "2026-03-08", 422, "before it begins"),
        ("2020-12-31", "2021-01-01", 422, "straddles"),
        ("2027-01-01", "2027-01-31", 422, "in the future"),
    ] {
        let request = bed
            .client
            .post(bed.url(&of_project("/reports")))
            .bearer_auth(&token);
        let answer = request
            .json(&json!({ "from": from, "to": to }))
            .send()
            .await
            .unwrap();
        let (found, _, detail) = problem(answer).await;
        assert_eq!(found, status, "{detail}");
        assert!(detail.contains(said), "{detail}");
    }
    let bad = bed
        .client
        .post(bed.url(&of_project("/reports")))
        .bearer_auth(&token);
    let (status, _, detail) = problem(bad.json(&json!({ "form": 1 })).send().await.unwrap()).await;
    assert_eq!(status, 400);
    assert!(detail.contains("unknown field `form`"), "{detail}");
    let missing = of_project("/reports/2026-01-01_2026-01-31");
    assert_eq!(
        problem(bed.get(&token, &missing).send().await.unwrap())
            .await
            .0,
        404
    );
    bed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_on_evidence_that_does_not_verify_fails_and_names_the_entry() {
    let mut bed = Bed::new().await;
    bed.apply().await;
    bed.plant.measure(65, &BTreeMap::new());
    bed.plant.spoil_payload(30);
    let now_ms = bed.plant.now_ms();
    bed.clock.set(now_ms);
    bed.plant.upload(&bed.store, now_ms).await;
    let token = bed.token(Role::Preparer, &[PROJECT]).await;
    let made = make_report(&bed, &token, "2026-03-09", "2026-03-09").await;
    assert_eq!(made["job"]["state"], "failed", "{made}");
    let detail = made["job"]["problem"]["detail"].as_str().unwrap();
    assert!(
        detail.contains(&format!("entry 30 of log {ORIGIN}")),
        "{detail}"
    );
    assert_eq!(made["versions"], json!([]));
    bed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_holds_the_report_and_exactly_the_entries_it_rests_on() {
    let bed = Bed::with_readings().await;
    let token = bed.token(Role::Preparer, &[PROJECT]).await;
    let made = make_report(&bed, &token, "2026-03-09", "2026-03-09").await;
    let path = of_project(&format!("/reports/{ID}/bundle.tar"));
    let answer = bed.get(&token, &path).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/x-tar");
    assert_eq!(
        answer.headers()["content-disposition"],
        format!("attachment; filename=\"{PROJECT}-{ID}-v1.tar\"")
    );
    let bytes = answer.bytes().await.unwrap().to_vec();
    let bundle = Bundle::read(&bytes).unwrap();
    let report = bed.get(&token, &of_project(&format!("/reports/{ID}/report.json")));
    let report = report.send().await.unwrap().bytes().await.unwrap();
    let span = |span: &FileSpan| span.read(&bytes, 1 << 20).unwrap();
    assert_eq!(span(bundle.report.as_ref().unwrap()), report);
    assert_eq!(span(&bundle.plan), plan_text(&bed.plant).as_bytes());
    let [log] = bundle.logs.as_slice() else {
        panic!("one log")
    };
    let first = made["versions"][0]["pinned"][0]["first"].as_u64().unwrap();
    assert_eq!(
        first, 1,
        "the log began inside the period: its configuration is the beginning"
    );
    let rows = bed
        .store
        .rows(bed.plant.at, first..u64::MAX, 10_000, true)
        .await
        .unwrap();
    let entries: Vec<&[u8]> = rows.iter().map(|row| &*row.entry).collect();
    let entries: Vec<u8> = entries
        .iter()
        .flat_map(|entry| {
            let length = u16::try_from(entry.len()).unwrap().to_be_bytes();
            length.into_iter().chain(entry.iter().copied())
        })
        .collect();
    assert!(span(&log.entries) == entries, "the entries differ");
    let payloads: Vec<u8> = rows
        .iter()
        .filter(|row| row.kind == 1)
        .flat_map(|row| row.payload.clone().unwrap())
        .collect();
    assert!(span(&log.payload) == payloads, "the payloads differ");
    bed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_replaced_within_the_period_is_followed_into_its_successor() {
    const SECOND: &str = "example.com/gw/0002";
    let mut bed = Bed::new().await;
    bed.plant.measure(30, &BTreeMap::new());
    // Ten minutes later another gateway goes on.
    let start_ms = bed.plant.now_ms() + 600_000;
    let mut second = Plant::enrol(&bed.store, "Solar field", SECOND, start_ms).await;
    second.control(Control::Recovery {
        origin: ORIGIN.to_owned(),
        last_index: bed.plant.size() - 1,
        last_leaf: *bed.plant.chain().previous().unwrap(),
        reason: "the first one failed".to_owned(),
    });
    second.measure(30, &BTreeMap::new());
    // What the first one still seals after that is checked, and counts for nothing.
    let handed_over = bed.plant.size();
    bed.plant.measure(3, &BTreeMap::new());
    let now_ms = second.now_ms();
    bed.clock.set(now_ms);
    bed.plant.upload(&bed.store, now_ms).await;
    second.upload(&bed.store, now_ms).await;

    let text = plan_text(&bed.plant);
    let log = format!(
        "[[logs]]\norigin = \"{SECOND}\"\nanchor = \"{}\"\nsucceeds = \"{ORIGIN}\"\nsite = \"solar\"\n\n[[points]]",
        second.vkey()
    );
    let mut text = text.replacen("[[points]]", &log, 1);
    for point in ["export.energy", "aux.power"] {
        let one = format!("{{ log = \"{ORIGIN}\", point = \"{point}\" }}");
        let two = format!("{one}, {{ log = \"{SECOND}\", point = \"{point}\" }}");
        text = text.replace(&one, &two);
    }
    let plan = apply::check(&bed.store, &text, "plan.toml", &[])
        .await
        .unwrap();
    apply::store(&bed.store, &text, &plan, "decision 1", "test", now_ms)
        .await
        .unwrap();

    let token = bed.token(Role::Preparer, &[PROJECT]).await;
    let made = make_report(&bed, &token, "2026-03-09", "2026-03-09").await;
    assert_eq!(made["job"]["state"], "done", "{made}");
    let path = of_project(&format!("/reports/{ID}/report.json"));
    let bytes = bed
        .get(&token, &path)
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    let logs = [
        (bed.plant.at, ORIGIN, handed_over),
        (second.at, SECOND, u64::MAX),
    ];
    let expected = fed(&bed, &text, &logs, ("2026-03-09", "2026-03-09"), None).await;
    assert_eq!(&*bytes, &*expected.to_json());
    let energy = expected.parameter("EG[revenue]").unwrap();
    assert_eq!(energy.measured.as_ref().unwrap().evidence.len(), 2);

    let path = of_project(&format!("/reports/{ID}/bundle.tar"));
    let bytes = bed
        .get(&token, &path)
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap()
        .to_vec();
    let bundle = Bundle::read(&bytes).unwrap();
    assert_eq!(bundle.logs.len(), 2);
    bed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn today_is_what_the_sealed_readings_since_midnight_make() {
    let bed = Bed::with_readings().await;
    let token = bed.token(Role::Participant, &[PROJECT]).await;
    let today = bed.json(&token, &of_project("/today")).await;
    let expected = directly(&bed, "2026-03-10", "2026-03-10").await;
    assert_eq!(today["provisional"], json!(true));
    assert_eq!(
        (&today["day"], &today["zone"]),
        (&json!("2026-03-10"), &json!("Asia/Makassar"))
    );
    assert_eq!(today["from"], "2026-03-09T16:00:00.000Z");
    assert_eq!(today["sealed_to"], "2026-03-09T16:15:00.000Z");
    for (key, value) in [
        ("re", expected.totals.re),
        ("pe", expected.totals.pe_credited),
        ("er", expected.totals.er),
    ] {
        assert_eq!(today[key], value.to_string(), "{key}");
    }
    assert!(expected.totals.er.signum() > 0);
    // One reading that timed out, and the minute without mains.
    let aux = today["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .find(|p| p["name"] == "EC_aux");
    assert_eq!(aux.unwrap()["missing_s"], 70, "{today}");
    bed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readings_sealed_without_a_time_count_where_a_later_clock_event_placed_them() {
    let mut bed = Bed::new().await;
    bed.apply().await;
    bed.plant.measure(70, &BTreeMap::new());
    // Ten minutes pass, then a boot without a clock: the axis goes on from the last tick.
    let first = bed.plant.reboot_without_clock();
    bed.plant.measure(20, &BTreeMap::new());
    let now_ms = bed.plant.now_ms() + 600_000;
    bed.clock.set(now_ms);
    bed.plant.upload(&bed.store, now_ms).await;
    let token = bed.token(Role::Preparer, &[PROJECT]).await;
    let range = "from=2026-03-09T16:20:00Z&to=2026-03-09T16:25:00Z";
    let readings = of_project(&format!("/readings?point=aux.power&{range}"));
    assert_eq!(
        bed.json(&token, &readings).await["readings"],
        json!([]),
        "no time, no place"
    );
    let before = bed.json(&token, &of_project("/today")).await;

    let shift = 60;
    bed.plant.set_clock(first, shift);
    bed.plant.measure(5, &BTreeMap::new());
    let now_ms = now_ms + 60_000;
    bed.clock.set(now_ms);
    bed.plant.upload(&bed.store, now_ms).await;
    let placed = bed.json(&token, &readings).await;
    assert_eq!(placed["readings"].as_array().unwrap().len(), 30);
    assert_eq!(placed["readings"][0]["time"], "2026-03-09T16:20:00.000Z");

    make_report(&bed, &token, "2026-03-10", "2026-03-10").await;
    let path = of_project("/reports/2026-03-10_2026-03-10/report.json");
    let bytes = bed
        .get(&token, &path)
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    let expected = directly_placed(&bed, "2026-03-10", "2026-03-10", Some(shift)).await;
    assert_eq!(&*bytes, &*expected.to_json());
    let after = bed.json(&token, &of_project("/today")).await;
    assert_ne!(before["er"], after["er"]);
    bed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn today_follows_the_log_but_is_not_computed_for_every_watcher() {
    let mut bed = Bed::with_readings().await;
    let token = bed.token(Role::Participant, &[PROJECT]).await;
    let path = of_project("/today");
    let first = bed.json(&token, &path).await;
    bed.plant.measure(5, &BTreeMap::new());
    let now_ms = bed.plant.now_ms();
    bed.plant.upload(&bed.store, now_ms).await;
    assert_eq!(
        bed.json(&token, &path).await,
        first,
        "within seconds the same answer"
    );
    bed.clock.set(now_ms);
    let second = bed.json(&token, &path).await;
    assert_ne!(second["er"], first["er"]);
    assert_eq!(second["sealed_to"], "2026-03-09T16:20:00.000Z");
    bed.end().await;
}
