//! What people enter: sealed with their identity, by role, once, and never changed.

use evidence::hash::sha256;
use evidence::proof::TlogProof;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use verifier_api::Role;
use verifier_api::project_log::{WriteError, Writer};

use crate::bed::{Bed, PROJECT, PROJECT_LOG, of_project, problem};
use crate::reporting::make_report;

async fn post(bed: &Bed, token: &str, body: &Value) -> Response {
    let request = bed.client.post(bed.url(&of_project("/log")));
    request.bearer_auth(token).json(body).send().await.unwrap()
}

async fn entered(bed: &Bed, token: &str, body: &Value) -> Value {
    let answer = post(bed, token, body).await;
    let status = answer.status();
    let text = answer.text().await.unwrap();
    assert_eq!(status, StatusCode::OK, "{text}");
    serde_json::from_str(&text).unwrap()
}

async fn upload(bed: &Bed, token: &str, content: Vec<u8>) -> Response {
    let request = bed.client.post(bed.url(&of_project("/log/attachments")));
    request
        .bearer_auth(token)
        .body(content)
        .send()
        .await
        .unwrap()
}

fn hand_value(value: &str, sha256: &str) -> Value {
    json!({
        "kind": "hand-value", "subject": "NCV",
        "fields": { "from": "2026-03-01", "to": "2026-03-09", "value": value, "unit": "GJ/t",
            "option": "B", "source": "invoice 12" },
        "attachments": [{ "sha256": sha256, "name": "invoice.pdf" }]
    })
}

fn finding(text: &str) -> Value {
    let fields = json!({ "sort": "CAR", "state": "open", "text": text });
    json!({ "kind": "finding", "subject": "CAR 01", "fields": fields })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_entered_with_its_document_corrected_and_proven() {
    let bed = Bed::new().await;
    bed.apply().await;
    let key = bed.project_log().await;
    let token = bed.token(Role::Preparer, &[PROJECT]).await;
    let invoice = b"an invoice over 43 GJ/t".to_vec();
    let hash = sha256(&invoice).to_hex();
    let early = post(&bed, &token, &hand_value("43.0", &hash)).await;
    let (status, _, detail) = problem(early).await;
    assert_eq!(status, 422);
    assert!(detail.contains("upload it first"), "{detail}");
    let answer: Value = upload(&bed, &token, invoice.clone())
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(answer, json!({ "sha256": hash, "bytes": invoice.len() }));

    let first = entered(&bed, &token, &hand_value("43.0", &hash)).await;
    assert_eq!(first["person"]["name"], format!("preparer of {PROJECT}"));
    assert_eq!(first["person"]["role"], "preparer");
    assert!(
        first["person"]["id"]
            .as_str()
            .unwrap()
            .starts_with("token ")
    );
    let mut corrected = hand_value("42.3", &hash);
    corrected["replaces"] = json!({ "index": first["index"], "reason": "misread" });
    let second = entered(&bed, &token, &corrected).await;
    let (status, _, detail) = problem(post(&bed, &token, &corrected).await).await;
    assert_eq!(status, 422);
    assert!(detail.contains("replaced already"), "{detail}");
    let mut elsewhere = corrected.clone();
    elsewhere["subject"] = "EF".into();
    let (status, ..) = problem(post(&bed, &token, &elsewhere).await).await;
    assert_eq!(status, 422);

    let log = bed.json(&token, &of_project("/log")).await;
    assert_eq!(
        (&log["origin"], &log["vkey"]),
        (&PROJECT_LOG.into(), &key.into())
    );
    // Genesis, the plan's version, and the two values.
    assert_eq!((&log["size"], &log["next"]), (&4.into(), &Value::Null));
    let records = log["records"].as_array().unwrap();
    assert_eq!(records[0]["kind"], "plan-version");
    assert_eq!(records[0]["person"]["name"], "test");
    assert_eq!(records[1]["replaced_by"], second["index"]);
    assert_eq!(records[2]["fields"]["value"], "42.3");
    assert_eq!(
        records[2]["witnessed"], false,
        "no collector has cosigned it yet"
    );
    let page = bed.json(&token, &of_project("/log?after=1&limit=1")).await;
    assert_eq!(
        (&page["records"][0]["index"], &page["next"]),
        (&2.into(), &2.into())
    );

    let proven = bed.json(&token, &of_project("/log/3")).await;
    assert_eq!(proven["record"]["leaf"], second["leaf"]);
    let proof = TlogProof::parse(proven["proof"].as_str().unwrap().as_bytes()).unwrap();
    let leaf = evidence::hash::Hash::from_hex(second["leaf"].as_str().unwrap()).unwrap();
    proof.verify(&leaf).unwrap();
    let (status, ..) = problem(bed.get(&token, &of_project("/log/4")).send().await.unwrap()).await;
    assert_eq!(status, 404);
    let file = of_project(&format!("/log/attachments/{hash}"));
    let file = bed.get(&token, &file).send().await.unwrap();
    assert_eq!(file.headers()["content-disposition"], "attachment");
    assert_eq!(file.bytes().await.unwrap(), invoice);
    bed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_enters_its_own_kinds_and_nobody_says_who_he_is() {
    let bed = Bed::new().await;
    bed.apply().await;
    bed.project_log().await;
    let verifier = bed.token(Role::Verifier, &[PROJECT]).await;
    let preparer = bed.token(Role::Preparer, &[PROJECT]).await;
    let admin = bed.token(Role::Admin, &[PROJECT]).await;
    let found = entered(&bed, &verifier, &finding("the display was not read")).await;
    assert_eq!(found["person"]["role"], "verifier");
    let transition = json!({ "kind": "transition", "subject": "2026-03-09_2026-03-09",
        "fields": { "version": "1", "from": "draft", "to": "submitted" } });
    entered(&bed, &admin, &transition).await;
    let version = json!({ "kind": "plan-version", "subject": PROJECT,
        "fields": { "version": "9", "sha256": "00".repeat(32), "decision": "mine" } });
    for (token, body) in [
        (&preparer, finding("not his to find")),
        (&admin, finding("nor hers")),
        (&preparer, transition.clone()),
        (&verifier, transition.clone()),
        (&admin, version),
    ] {
        let (status, _, detail) = problem(post(&bed, token, &body).await).await;
        assert_eq!(status, 403, "{body}: {detail}");
    }
    let mut with_person = finding("somebody else's");
    with_person["person"] = json!({ "id": "1", "name": "K. Mori", "role": "verifier" });
    let (status, ..) = problem(post(&bed, &verifier, &with_person).await).await;
    assert!(
        [400, 422].contains(&status),
        "a person in the body is refused: {status}"
    );
    let unknown = json!({ "kind": "rumour", "subject": "x", "fields": {} });
    let (status, _, detail) = problem(post(&bed, &admin, &unknown).await).await;
    assert_eq!(status, 400);
    assert!(detail.contains("hand-value"), "{detail}");
    let mut short = finding("x");
    short["fields"].as_object_mut().unwrap().remove("state");
    let (status, _, detail) = problem(post(&bed, &verifier, &short).await).await;
    assert_eq!(status, 422);
    assert!(detail.contains("`state` is missing"), "{detail}");
    let empty = upload(&bed, &preparer, Vec::new()).await;
    assert_eq!(problem(empty).await.0, 400);
    bed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_log_or_its_keys_the_answer_says_what_to_do() {
    let bed = Bed::new().await;
    bed.apply().await;
    let token = bed.token(Role::Verifier, &[PROJECT]).await;
    let (status, _, detail) = problem(post(&bed, &token, &finding("x")).await).await;
    assert_eq!(status, 409);
    assert!(
        detail.contains("fieldseal-verifier-api log init"),
        "{detail}"
    );
    bed.project_log().await;
    let writer = Writer::new(Some(bed.directory.path().join("elsewhere")));
    let origin = evidence::hash::Origin::parse(PROJECT_LOG).unwrap();
    let again = writer
        .init(&bed.store, PROJECT, &origin, bed.clock.now())
        .await;
    assert!(again.unwrap_err().to_string().contains("exists already"));
    let keys = bed.directory.path().join("api/project-logs");
    std::fs::remove_dir_all(keys).unwrap();
    let (status, _, detail) = problem(post(&bed, &token, &finding("x")).await).await;
    assert_eq!(status, 409);
    assert!(detail.contains("restore them"), "{detail}");
    bed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_writers_share_a_log_and_a_new_day_brings_a_new_key() {
    let bed = Bed::new().await;
    bed.apply().await;
    bed.project_log().await;
    let folder = bed.directory.path().join("api");
    let other = Writer::new(Some(folder.clone()));
    let token = bed.token(Role::Verifier, &[PROJECT]).await;
    let mark = |text: &str| {
        let person = evidence::project::Person {
            id: "command line".to_owned(),
            name: "K. Mori".to_owned(),
            role: "admin".to_owned(),
        };
        let fields = [("text", text)];
        let kind = evidence::project::Kind::Annotation;
        evidence::project::Record::enter(kind, "site", person, vec![], None, fields).unwrap()
    };
    let by_other = async |now_ms: i64| {
        let make = |_: &evidence::project::ProjectLog| Ok(mark("seen"));
        other.enter(&bed.store, PROJECT, now_ms, make).await
    };
    // Genesis 0, the plan's version 1, then in turns.
    entered(&bed, &token, &finding("one")).await;
    assert_eq!(by_other(bed.clock.now()).await.unwrap().index, 3);
    assert_eq!(entered(&bed, &token, &finding("two")).await["index"], 4);
    let entry_keys = || {
        let log = std::fs::read_dir(folder.join("project-logs"))
            .unwrap()
            .next();
        let files = std::fs::read_dir(log.unwrap().unwrap().path()).unwrap();
        files
            .filter(|file| {
                let name = file.as_ref().unwrap().file_name();
                name.to_str().unwrap().starts_with("entry-")
            })
            .count()
    };
    assert_eq!(entry_keys(), 1);
    bed.clock.set(bed.clock.now() + 86_400_000);
    assert_eq!(
        by_other(bed.clock.now()).await.unwrap().index,
        6,
        "behind the next key"
    );
    assert_eq!(
        entered(&bed, &token, &finding("three")).await["index"],
        7,
        "one key a day"
    );
    assert_eq!(entry_keys(), 1, "the old one is gone");
    let behind = by_other(bed.clock.now() - 120_000).await;
    assert!(matches!(behind, Err(WriteError::Clock(_))), "{behind:?}");
    bed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_was_made_stands_in_the_log_with_the_hash_of_its_bytes() {
    let bed = Bed::with_readings().await;
    bed.project_log().await;
    let admin = bed.token(Role::Admin, &[PROJECT]).await;
    make_report(&bed, &admin, "2026-03-09", "2026-03-09").await;
    let path = of_project("/reports/2026-03-09_2026-03-09/report.json");
    let report = bed
        .get(&admin, &path)
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    // The job is done before its version is entered: wait for the record.
    let mut record = Value::Null;
    for _ in 0..200 {
        let log = bed.json(&admin, &of_project("/log")).await;
        let records = log["records"].as_array().unwrap();
        let found = records
            .iter()
            .find(|record| record["kind"] == "report-version");
        if let Some(found) = found {
            record = found.clone();
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(record["subject"], "2026-03-09_2026-03-09");
    assert_eq!(record["fields"]["version"], "1");
    assert_eq!(record["fields"]["sha256"], sha256(&report).to_hex());
    assert_eq!(record["person"]["name"], format!("admin of {PROJECT}"));
    bed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_carries_what_was_entered_as_far_as_it_is_cosigned_and_it_is_proven() {
    let bed = Bed::with_readings().await;
    let anchor = evidence::note::Vkey::parse(&bed.project_log().await).unwrap();
    let preparer = bed.token(Role::Preparer, &[PROJECT]).await;
    let invoice = b"an invoice".to_vec();
    upload(&bed, &preparer, invoice.clone()).await;
    let hash = sha256(&invoice);
    entered(&bed, &preparer, &hand_value("43.0", &hash.to_hex())).await;
    make_report(&bed, &preparer, "2026-03-09", "2026-03-09").await;

    // The collector's part: it cosigns the head.
    let key = evidence::key::SigningKey::from_seed([90; 32]);
    let row = bed.store.project_log(PROJECT).await.unwrap().unwrap();
    let head = bed.store.head(row.log).await.unwrap().unwrap();
    let mut note = evidence::note::Note::parse(&head.note).unwrap();
    let second = u64::try_from(bed.clock.now() / 1000).unwrap() + 5;
    let line = evidence::cosignature::cosign(&note.text, "collector.example/w0", &key, second);
    note.signatures.push(line);
    let cosign = store::Cosign {
        log: row.log,
        old_size: 0,
        new_size: head.log.size,
        new_root: head.log.root,
        note: note.to_bytes(),
        cosigned_s: second,
        now_ms: bed.clock.now() + 5_000,
    };
    bed.store.cosign(&cosign).await.unwrap();
    // What comes after it is not in the bundle yet.
    let verifier = bed.token(Role::Verifier, &[PROJECT]).await;
    entered(&bed, &verifier, &finding("later")).await;
    let log = bed.json(&verifier, &of_project("/log")).await;
    assert_eq!(log["witnessed"], head.log.size);
    let records = log["records"].as_array().unwrap();
    assert_eq!(records[1]["witnessed"], true);
    assert_eq!(records.last().unwrap()["witnessed"], false);

    let path = of_project("/reports/2026-03-09_2026-03-09/bundle.tar");
    let bytes = async |token: &str, path: &str| {
        let answer = bed.get(token, path).send().await.unwrap();
        answer.bytes().await.unwrap().to_vec()
    };
    let whole = bytes(&preparer, &path).await;
    let bundle = evidence::bundle::Bundle::read(&whole).unwrap();
    let vkey = evidence::note::Vkey::new(
        "collector.example/w0",
        evidence::note::SignatureKind::Cosignature,
        key.public(),
    );
    let policy = format!("witness W0 {}\nquorum W0\n", vkey.unwrap());
    let trust = evidence::verification::Trust {
        policy: evidence::policy::Policy::parse(&policy).unwrap(),
        collector: Some("W0".to_owned()),
        from_ms: 0,
        to_ms: 1,
        tolerance_ms: 300_000,
        max_delay_s: 86_400,
        approvers: Vec::new(),
        timestamp_roots: None,
        approvals: evidence::verification::Approvals::Reported,
        revocations: Vec::new(),
    };
    let files = bundle.project.as_ref().unwrap();
    let facts =
        evidence::verification::verify_project(&whole, files, &bundle.inputs, &anchor, &trust);
    let facts = facts.unwrap();
    assert_eq!(facts.size, head.log.size);
    let kinds: Vec<&str> = facts
        .records
        .iter()
        .map(|entered| entered.record.kind.name())
        .collect();
    assert_eq!(kinds, ["plan-version", "hand-value", "report-version"]);
    assert_eq!(facts.attachments.len(), 1);
    assert!(facts.attachments[0].present && facts.attachments[0].hash == hash);
    // Whoever is not shown every reading gets the records and no files.
    let less = bytes(&preparer, &format!("{path}?disclosure=C")).await;
    let less = evidence::bundle::Bundle::read(&less).unwrap();
    assert!(less.project.is_some() && less.inputs.is_empty());
    // A transfer that broke goes on inside the attachments.
    let middle = whole.len() - 1_300;
    let rest = bed
        .get(&preparer, &path)
        .header("range", format!("bytes={middle}-"));
    let rest = rest.send().await.unwrap();
    assert_eq!(rest.status(), 206);
    assert_eq!(rest.bytes().await.unwrap(), whole[middle..]);
    bed.end().await;
}
