//! Raw readings, gaps and entries: exact, in pages, and broken off when something does not verify.

use std::collections::BTreeMap;

use evidence::hash::leaf_hash;
use evidence::proof::TlogProof;
use serde_json::Value;
use verifier_api::Role;

use crate::bed::{Bed, MIDNIGHT, PROJECT, of_project, problem};
use crate::plant::{Plant, TICK_MS, WITNESS, samples};

const MINUTE: &str = "from=2026-03-09T16:00:00Z&to=2026-03-09T16:01:00Z";

/// `value` with `decimals` digits after the point.
fn decimal(value: i64, decimals: usize) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", value.abs(), width = decimals + 1);
    let (whole, part) = digits.split_at(digits.len() - decimals);
    format!("{sign}{whole}.{part}")
}

#[tokio::test(flavor = "multi_thread")]
async fn readings_as_csv_are_exact_with_quality_raw_words_and_entry() {
    let bed = Bed::with_readings().await;
    let token = bed.token(Role::Verifier, &[PROJECT]).await;
    let path = format!("/readings?point=ambient.temperature&format=csv&{MINUTE}");
    let answer = bed.get(&token, &of_project(&path)).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/csv; charset=utf-8");
    let text = answer.text().await.unwrap();
    let midnight_tick = u64::try_from(MIDNIGHT).unwrap() / u64::from(TICK_MS);
    let mut expected = String::from("time_utc,value,unit,quality,raw,entry\r\n");
    for n in 0..6_u64 {
        let time = format!("2026-03-09T16:00:{:02}.000Z", 10 * n);
        let celsius = samples(midnight_tick + n)[2];
        // Sixty segments of the hour before, after genesis and configuration.
        let words = format!("{:04x}", u16::try_from(celsius & 0xffff).unwrap());
        expected += &match n {
            2 => format!("{time},,°C,timeout:2,,62\r\n"),
            _ => format!("{time},{},°C,good,{words},62\r\n", decimal(celsius, 1)),
        };
    }
    assert_eq!(text, expected);
    bed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readings_in_pages_are_the_same_as_all_at_once() {
    let bed = Bed::with_readings().await;
    let token = bed.token(Role::Participant, &[PROJECT]).await;
    let range = "from=2026-03-09T15:30:00Z&to=2026-03-09T16:10:00Z";
    let path = of_project(&format!("/readings?point=export.energy&{range}"));
    let all = bed.json(&token, &path).await;
    assert_eq!(
        (&all["unit"], &all["kind"], &all["next"]),
        (&"kWh".into(), &"register".into(), &Value::Null)
    );
    let all = all["readings"].as_array().unwrap().clone();
    // Forty minutes of six readings, less the minute that the mains were away.
    assert_eq!(all.len(), 40 * 6 - 6);
    let first = (MIDNIGHT - 1_800_000) / i64::from(TICK_MS);
    assert_eq!(
        all[0]["value"],
        decimal(samples(u64::try_from(first).unwrap())[0], 1)
    );

    let mut paged = Vec::new();
    let mut after = String::new();
    loop {
        let page = bed.json(&token, &format!("{path}&limit=50{after}")).await;
        let readings = page["readings"].as_array().unwrap();
        assert!(readings.len() <= 54, "at most to the end of the segment");
        paged.extend(readings.iter().cloned());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(paged, all);
    bed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wide_range_over_years_without_readings_finds_the_few_there_are() {
    let bed = Bed::with_readings().await;
    let token = bed.token(Role::Verifier, &[PROJECT]).await;
    let range = "from=1990-01-01T00:00:00Z&to=2190-01-01T00:00:00Z";
    let path = of_project(&format!("/readings?point=aux.power&{range}"));
    let all = bed.json(&token, &path).await;
    // Seventy-four segments of six.
    assert_eq!(all["readings"].as_array().unwrap().len(), 74 * 6);
    bed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_question_names_what_is_wrong() {
    let bed = Bed::with_readings().await;
    let token = bed.token(Role::Verifier, &[PROJECT]).await;
    for (query, status, said) in [
        (format!("point=nothing&{MINUTE}"), 404, "no such point"),
        (
            "point=aux.power&from=today&to=now".to_owned(),
            400,
            "`from=today` is not an instant",
        ),
        (
            format!("point=aux.power&{MINUTE}&limit=0"),
            400,
            "`limit` is not between",
        ),
        (
            format!("point=aux.power&{MINUTE}&formt=csv"),
            400,
            "unknown field `formt`",
        ),
        (MINUTE.to_owned(), 400, "missing field `point`"),
        (
            format!("point=aux.power&{MINUTE}&after=5"),
            400,
            "`after=5` is not the `next`",
        ),
        (
            format!("point=aux.power&log=00&{MINUTE}"),
            404,
            "no such log",
        ),
    ] {
        let path = of_project(&format!("/readings?{query}"));
        let (found, _, detail) = problem(bed.get(&token, &path).send().await.unwrap()).await;
        assert_eq!(found, status, "{query}: {detail}");
        assert!(detail.contains(said), "{query}: {detail}");
    }
    bed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_that_does_not_verify_breaks_the_transfer() {
    let mut bed = Bed::new().await;
    bed.apply().await;
    bed.plant.measure(65, &BTreeMap::new());
    bed.plant.spoil_payload(64);
    let now_ms = bed.plant.now_ms();
    bed.plant.upload(&bed.store, now_ms).await;
    let token = bed.token(Role::Verifier, &[PROJECT]).await;
    let path = of_project(&format!("/readings?point=aux.power&{MINUTE}"));
    assert_eq!(
        bed.get(&token, &path).send().await.unwrap().status(),
        200,
        "what verifies is shown"
    );
    let wide = "from=2026-03-09T15:00:00Z&to=2026-03-09T17:00:00Z";
    let path = of_project(&format!("/readings?point=aux.power&{wide}"));
    let broken = match bed.get(&token, &path).send().await {
        Ok(answer) => answer.text().await.is_err(),
        Err(_) => true,
    };
    assert!(broken, "a part must not look like the whole");
    bed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gaps_are_listed_with_their_reason_and_entry() {
    let bed = Bed::with_readings().await;
    let token = bed.token(Role::Participant, &[PROJECT]).await;
    let gaps = bed.json(&token, &of_project("/gaps")).await;
    assert_eq!(
        gaps["gaps"],
        serde_json::json!([{
            "log": bed.plant.at.log.to_hex(), "entry": 67, "stream": 0,
            "from": "2026-03-09T16:05:00.000Z", "to": "2026-03-09T16:06:00.000Z",
            "ticks": 6, "reason": "power", "text": "mains failed"
        }])
    );
    let later = of_project("/gaps?from=2026-03-09T16:06:00Z");
    assert_eq!(
        bed.json(&token, &later).await["gaps"],
        serde_json::json!([])
    );
    bed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_entry_comes_with_a_proof_that_leads_to_the_cosigned_root() {
    let bed = Bed::with_readings().await;
    let token = bed.token(Role::Verifier, &[PROJECT]).await;
    let log = bed.plant.at.log.to_hex();
    let key = evidence::note::Vkey::parse(&bed.plant.vkey()).unwrap();
    for index in [0, 1, 2, 40, bed.plant.size() - 1] {
        let path = of_project(&format!("/logs/{log}/entries/{index}"));
        let entry = bed.json(&token, &path).await;
        let bytes = base64(entry["entry"].as_str().unwrap());
        let proof = TlogProof::parse(entry["proof"].as_str().unwrap().as_bytes()).unwrap();
        assert_eq!(proof.index, index);
        let checkpoint = proof.verify(&leaf_hash(&bytes)).unwrap();
        assert_eq!(
            (checkpoint.size, checkpoint.root),
            (bed.plant.size(), bed.plant.chain().root())
        );
        assert!(proof.checkpoint.verify(std::slice::from_ref(&key)).is_ok());
    }
    for index in [
        bed.plant.size().to_string(),
        "x".to_owned(),
        u64::MAX.to_string(),
    ] {
        let path = of_project(&format!("/logs/{log}/entries/{index}"));
        let (status, ..) = problem(bed.get(&token, &path).send().await.unwrap()).await;
        assert_eq!(status, 404, "{index}");
    }
    let logs = bed.json(&token, &of_project("/logs")).await;
    assert_eq!(logs["logs"][0]["witnesses"], serde_json::json!([WITNESS]));
    assert_eq!(logs["logs"][0]["size"], bed.plant.size());
    bed.end().await;
}

fn base64(text: &str) -> Vec<u8> {
    use base64::Engine as _;

    base64::engine::general_purpose::STANDARD
        .decode(text)
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_point_in_two_logs_must_say_which() {
    let bed = Bed::with_readings().await;
    let second = Plant::enrol(&bed.store, "Solar field", "example.com/gw/0002b", MIDNIGHT).await;
    let token = bed.token(Role::Verifier, &[PROJECT]).await;
    let path = of_project(&format!("/readings?point=aux.power&{MINUTE}"));
    let (status, _, detail) = problem(bed.get(&token, &path).send().await.unwrap()).await;
    assert_eq!(status, 400, "{detail}");
    assert!(detail.contains("name one with `log=`"), "{detail}");
    let named = bed
        .json(&token, &format!("{path}&log={}", second.at.log.to_hex()))
        .await;
    assert_eq!(named["readings"], serde_json::json!([]));
    bed.end().await;
}
