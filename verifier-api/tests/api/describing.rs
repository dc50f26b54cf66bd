//! The OpenAPI document describes exactly the routes there are, and the answers they give.

use std::collections::BTreeSet;

use serde_json::Value;
use verifier_api::{Need, Role, routes};

use crate::bed::{Bed, PROJECT};
use crate::reporting::make_report;

async fn document(bed: &Bed) -> Value {
    let answer = bed
        .client
        .get(bed.url("/v1/openapi.json"))
        .send()
        .await
        .unwrap();
    answer.json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_lists_every_route_and_no_other() {
    let bed = Bed::new().await;
    let document = document(&bed).await;
    assert_eq!(document["openapi"], "3.1.0");
    let mut documented = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            documented.insert((method.to_uppercase(), path.clone()));
        }
    }
    let served: BTreeSet<_> = routes()
        .into_iter()
        .filter(|route| route.path.starts_with("/v1/"))
        .map(|route| (route.method.to_owned(), route.path.to_owned()))
        .collect();
    assert_eq!(documented, served);
    bed.end().await;
}

/// What of `value` does not fit `schema`: the parts of JSON Schema that the document uses.
fn misfits(root: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    if let Some(name) = schema["$ref"].as_str() {
        let target = root
            .pointer(name.strip_prefix('#').unwrap())
            .expect("a reference leads somewhere");
        return misfits(root, target, value, at, found);
    }
    if let Some(one_of) = schema["oneOf"].as_array() {
        let fits = one_of.iter().any(|schema| {
            let mut inner = Vec::new();
            misfits(root, schema, value, at, &mut inner);
            inner.is_empty()
        });
        if !fits {
            found.push(format!("{at}: {value} fits no alternative"));
        }
        return;
    }
    let of_type = |kind: &str| match kind {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        other => panic!("unknown type {other}"),
    };
    let right = match &schema["type"] {
        Value::String(kind) => of_type(kind),
        Value::Array(kinds) => kinds.iter().any(|kind| of_type(kind.as_str().unwrap())),
        _ => true,
    };
    if !right {
        found.push(format!("{at}: {value} is not {}", schema["type"]));
        return;
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        found.push(format!("{at}: {value} is none of {allowed:?}"));
    }
    if let Some(items) = value.as_array() {
        for (number, item) in items.iter().enumerate() {
            misfits(
                root,
                &schema["items"],
                item,
                &format!("{at}/{number}"),
                found,
            );
        }
    }
    let (Some(fields), Some(properties)) = (value.as_object(), schema["properties"].as_object())
    else {
        return;
    };
    for name in schema["required"].as_array().into_iter().flatten() {
        if !fields.contains_key(name.as_str().unwrap()) {
            found.push(format!("{at}: {name} is missing"));
        }
    }
    for (name, field) in fields {
        match properties.get(name) {
            Some(schema) => misfits(root, schema, field, &format!("{at}/{name}"), found),
            None => found.push(format!("{at}: {name} is not documented")),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_fits_its_documented_schema() {
    let bed = Bed::with_readings().await;
    let document = document(&bed).await;
    let token = bed.token(Role::Admin, &[PROJECT]).await;
    bed.project_log().await;
    make_report(&bed, &token, "2026-03-09", "2026-03-09").await;
    let mut checked = 0;
    for route in routes() {
        let documented = &document["paths"][route.path]["get"]["responses"];
        let schema = &documented["200"]["content"]["application/json"]["schema"];
        if route.method != "GET" || schema.is_null() || route.path.ends_with("openapi.json") {
            continue;
        }
        let mut path = route
            .path
            .replace("{project}", PROJECT)
            .replace("{log}", &bed.plant.at.log.to_hex())
            .replace("{index}", "5")
            .replace("{entry}", "1")
            .replace("{report}", "2026-03-09_2026-03-09");
        if path.ends_with("/readings") {
            path += "?point=aux.power&from=2026-03-09T16:00:00Z&to=2026-03-09T16:01:00Z";
        }
        let answer = bed.json(&token, &path).await;
        let mut found = Vec::new();
        misfits(&document, schema, &answer, "", &mut found);
        assert!(found.is_empty(), "{}: {found:#?}", route.path);
        checked += 1;
        if route.need != Need::Open {
            let problem = &document["components"]["schemas"]["Problem"];
            let answer: Value = bed
                .client
                .get(bed.url(&path))
                .send()
                .await
                .unwrap()
                .json()
                .await
                .unwrap();
            misfits(&document, problem, &answer, "", &mut found);
            assert!(found.is_empty(), "{} unauthorised: {found:#?}", route.path);
        }
    }
    assert!(checked >= 12, "only {checked} answers were checked");
    bed.end().await;
}
