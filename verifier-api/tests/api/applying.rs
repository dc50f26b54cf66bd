//! Plans: applied once, known by their hash, and refused with file and line.

use verifier_api::{Role, apply};

use crate::bed::{Bed, PROJECT, of_project, plan_text, problem};

#[tokio::test(flavor = "multi_thread")]
async fn an_applied_plan_is_shown_byte_for_byte_with_its_hash() {
    let bed = Bed::new().await;
    let text = plan_text(&bed.plant);
    bed.apply().await;
    let token = bed.token(Role::Verifier, &[PROJECT]).await;
    let plan = bed.json(&token, &of_project("/plan")).await;
    let hash = evidence::hash::sha256(text.as_bytes()).to_hex();
    assert_eq!(
        (&plan["text"], &plan["sha256"]),
        (&text.clone().into(), &hash.clone().into())
    );
    assert_eq!(
        (&plan["version"], &plan["decision"]),
        (&1.into(), &"decision 1".into())
    );
    let file = bed.get(&token, &of_project("/plan.toml"));
    let answer = file.send().await.unwrap();
    let tag = answer.headers()["etag"].clone();
    assert_eq!(tag, format!("\"{hash}\""));
    assert_eq!(answer.text().await.unwrap(), text);
    let known = bed
        .get(&token, &of_project("/plan.toml"))
        .header("if-none-match", tag);
    assert_eq!(known.send().await.unwrap().status(), 304);

    // The same text again is no new version; another text is.
    bed.apply().await;
    let other = text.replace("Demonstration solar plant", "Solar plant");
    let changed = apply::check(&bed.store, &other, "plan.toml", &[])
        .await
        .unwrap();
    let version = apply::store(&bed.store, &other, &changed, "decision 2", "test", 1)
        .await
        .unwrap();
    assert_eq!(version, 2);
    let plan = bed.json(&token, &of_project("/plan")).await;
    assert_eq!(plan["versions"].as_array().unwrap().len(), 2);
    let project = bed.json(&token, &of_project("")).await;
    assert_eq!(
        (&project["name"], &project["sites"][0]),
        (&"Solar plant".into(), &"Solar field".into())
    );
    bed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_does_not_fit_what_was_sealed_is_refused_with_file_and_line() {
    let bed = Bed::new().await;
    let good = plan_text(&bed.plant);
    let anchor = bed.plant.vkey();
    let other_key = {
        let key = evidence::key::SigningKey::from_seed([77; 32]).public();
        let origin = evidence::hash::Origin::parse(crate::plant::ORIGIN).unwrap();
        evidence::checkpoint::log_vkey(&origin, &key).to_string()
    };
    let line = |needle: &str| good.lines().position(|line| line.contains(needle)).unwrap() + 1;
    let cases = [
        (
            "point = \"export.energy\"",
            "point = \"export.enrgy\"",
            line("export.energy"),
            "did you mean `export.energy`?",
        ),
        (
            "unit = \"kW\"",
            "unit = \"MW\"",
            line("unit = \"kW\""),
            "is sealed in `kW`, the plan says `MW`: another unit",
        ),
        (
            "point = \"aux.power\"",
            "point = \"ambient.temperature\"",
            line("unit = \"kW\""),
            "a unit of another kind",
        ),
        (
            anchor.as_str(),
            other_key.as_str(),
            line("anchor"),
            "was enrolled with another key",
        ),
    ];
    for (from, to, line, said) in cases {
        let text = good.replace(from, to);
        let refused = apply::check(&bed.store, &text, "site/plan.toml", &[])
            .await
            .unwrap_err();
        let refused = refused.to_string();
        assert!(
            refused.starts_with(&format!("site/plan.toml:{line}:")),
            "{refused}"
        );
        assert!(refused.contains(said), "{refused}");
    }
    let unknown = good.replace(crate::plant::ORIGIN, "example.com/gw/0009");
    let refused = apply::check(&bed.store, &unknown, "plan.toml", &[])
        .await
        .unwrap_err()
        .to_string();
    // The key names the log too, so the plan itself is refused before the store is asked.
    assert!(refused.starts_with("plan.toml:"), "{refused}");
    bed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_plan_nothing_is_computed_and_the_answer_says_why() {
    let bed = Bed::new().await;
    let project = store::Project {
        id: PROJECT.to_owned(),
        name: "Not registered".to_owned(),
        created_ms: 0,
    };
    bed.store.put_project(&project).await.unwrap();
    bed.store
        .set_project_sites(PROJECT, &[bed.plant.at.site])
        .await
        .unwrap();
    let token = bed.token(Role::Participant, &[PROJECT]).await;
    for path in ["/plan", "/today"] {
        let answer = bed.get(&token, &of_project(path)).send().await.unwrap();
        let (status, _, detail) = problem(answer).await;
        assert_eq!(status, 409);
        assert!(detail.contains("plan apply"), "{detail}");
    }
    let points = bed.json(&token, &of_project("/points")).await;
    assert_eq!(
        points["points"].as_array().unwrap().len(),
        3,
        "what was sealed is shown"
    );
    bed.end().await;
}
