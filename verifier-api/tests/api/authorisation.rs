//! Every route × every role × own and other project, and what else a token can be.

use reqwest::{Method, Response};
use serde_json::json;
use verifier_api::{Need, Role, Route, routes};

use crate::bed::{Bed, PROJECT, of_project, problem};
use crate::plant::Plant;
use crate::reporting::make_report;

/// The path with things that exist.
fn filled(route: &Route, bed: &Bed) -> String {
    let path = route
        .path
        .replace("{project}", PROJECT)
        .replace("{log}", &bed.plant.at.log.to_hex())
        .replace("{index}", "3")
        .replace("{entry}", "1")
        .replace("{report}", "2026-03-09_2026-03-09")
        .replace("{name}", "page.css");
    if path.ends_with("/readings") {
        return format!("{path}?point=aux.power&from=2026-03-09T16:00:00Z&to=2026-03-09T16:01:00Z");
    }
    path
}

async fn send(bed: &Bed, route: &Route, token: Option<&str>) -> Response {
    let method = Method::from_bytes(route.method.as_bytes()).unwrap();
    let mut request = bed
        .client
        .request(method.clone(), bed.url(&filled(route, bed)));
    if method == Method::POST {
        request = request.json(&json!({ "from": "2026-03-09", "to": "2026-03-09" }));
    }
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    request.send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_admits_exactly_the_roles_it_names_on_their_own_project() {
    let bed = Bed::with_readings().await;
    let other = Plant::enrol(&bed.store, "Elsewhere", "example.com/gw/elsewhere", 0).await;
    let project = store::Project {
        id: "ID_OTHER".to_owned(),
        name: "Another".to_owned(),
        created_ms: 0,
    };
    bed.store.put_project(&project).await.unwrap();
    bed.store
        .set_project_sites("ID_OTHER", &[other.at.site])
        .await
        .unwrap();
    let admin = bed.token(Role::Admin, &[]).await;
    make_report(&bed, &admin, "2026-03-09", "2026-03-09").await;

    for role in Role::ALL {
        let own = bed.token(role, &[PROJECT]).await;
        let elsewhere = bed.token(role, &["ID_OTHER"]).await;
        for route in routes() {
            let what = format!("{} {} as {}", route.method, route.path, role.name());
            if route.need == Need::Open {
                continue;
            }
            let status = send(&bed, &route, None).await.status().as_u16();
            assert_eq!(status, 401, "{what} without a token");
            let status = send(&bed, &route, Some(&own)).await.status().as_u16();
            if role.may(route.need) {
                assert!([200, 202, 409].contains(&status), "{what}: {status}");
            } else {
                assert_eq!(status, 403, "{what}");
            }
            if route.path.contains("{project}") {
                let status = send(&bed, &route, Some(&elsewhere)).await.status().as_u16();
                assert_eq!(status, 404, "{what} of another project");
            }
        }
    }
    bed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_of_others_answers_like_one_that_does_not_exist() {
    let bed = Bed::with_readings().await;
    let none = store::Project {
        id: "ID_OTHER".to_owned(),
        name: "Another".to_owned(),
        created_ms: 0,
    };
    bed.store.put_project(&none).await.unwrap();
    let token = bed.token(Role::Verifier, &["ID_OTHER"]).await;
    let others = bed
        .get(&token, &of_project("/points"))
        .send()
        .await
        .unwrap();
    let missing = bed
        .get(&token, "/v1/projects/NO_SUCH/points")
        .send()
        .await
        .unwrap();
    assert_eq!(problem(others).await, problem(missing).await);

    // A log of another project is not found under one's own, even by its id.
    let log = bed.plant.at.log.to_hex();
    let path = format!("/v1/projects/ID_OTHER/logs/{log}/entries/0");
    let (status, ..) = problem(bed.get(&token, &path).send().await.unwrap()).await;
    assert_eq!(status, 404);
    bed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_expired_and_revoked_tokens_get_the_same_answer() {
    let bed = Bed::with_readings().await;
    let expired = bed.token(Role::Verifier, &[PROJECT]).await;
    bed.clock.set(bed.clock.now() + 31 * 86_400_000);
    let revoked = bed.token(Role::Supervisor, &[]).await;
    let good = bed.token(Role::Preparer, &[PROJECT]).await;
    bed.store
        .revoke_tokens("supervisor of ", bed.clock.now())
        .await
        .unwrap();
    let mut answers = Vec::new();
    for token in ["fsv_nonsense", &expired, &revoked] {
        let answer = bed.get(token, "/v1/session").send().await.unwrap();
        assert_eq!(
            answer.headers()["www-authenticate"],
            "Bearer realm=\"fieldseal\""
        );
        answers.push(problem(answer).await);
    }
    assert_eq!(answers[0].0, 401);
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:?}"
    );
    let who = bed.json(&good, "/v1/session").await;
    assert_eq!(
        (&who["role"], &who["projects"][0]),
        (&json!("preparer"), &json!(PROJECT))
    );
    bed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_signs_in_with_a_cookie_that_ends_with_its_token() {
    let bed = Bed::with_readings().await;
    let token = bed.token(Role::Preparer, &[PROJECT]).await;
    let login = |token: String, origin: String| {
        let form = format!("token={token}");
        let request = bed.client.post(bed.url("/login")).body(form);
        request.header("origin", origin).send()
    };
    let own = bed.url("");
    let refused = login(token.clone(), "https://evil.example".to_owned())
        .await
        .unwrap();
    assert_eq!(
        refused.status(),
        403,
        "another site cannot sign somebody in"
    );
    let wrong = login("fsv_wrong".to_owned(), own.clone()).await.unwrap();
    assert_eq!(wrong.status(), 401);
    assert!(wrong.headers().get("set-cookie").is_none());

    let right = login(token, own.clone()).await.unwrap();
    assert_eq!(right.status(), 303);
    let cookie = right.headers()["set-cookie"].to_str().unwrap().to_owned();
    for part in [
        "__Host-fieldseal=",
        "HttpOnly",
        "SameSite=Strict",
        "Secure",
        "Path=/",
    ] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let page = |path: &str| {
        bed.client
            .get(bed.url(path))
            .header("cookie", &cookie)
            .send()
    };
    assert_eq!(page("/v1/session").await.unwrap().status(), 200);
    let home = page("/").await.unwrap();
    assert_eq!(home.headers()["location"], format!("/projects/{PROJECT}"));

    // Whoever came for a page is led to it after signing in.
    let page_path = format!("/projects/{PROJECT}");
    let stranger = bed.client.get(bed.url(&page_path)).send().await.unwrap();
    assert_eq!(
        stranger.headers()["location"],
        format!("/login?next={page_path}")
    );

    // A change with the cookie alone, as a foreign page would send it, is refused.
    let change = |origin: String| {
        let request = bed.client.post(bed.url(&of_project("/reports")));
        let request = request.header("cookie", &cookie).header("origin", origin);
        request
            .json(&json!({ "from": "2026-03-09", "to": "2026-03-09" }))
            .send()
    };
    assert_eq!(
        change("https://evil.example".to_owned())
            .await
            .unwrap()
            .status(),
        403
    );
    assert_eq!(change(own).await.unwrap().status(), 202);

    // Revoking the token ends the session at once.
    let label = format!("preparer of {PROJECT}");
    bed.store
        .revoke_tokens(&label, bed.clock.now())
        .await
        .unwrap();
    assert_eq!(page("/v1/session").await.unwrap().status(), 401);
    assert_eq!(page("/").await.unwrap().headers()["location"], "/login");
    bed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_forbids_foreign_scripts_frames_and_guessing() {
    let bed = Bed::new().await;
    for path in ["/login", "/v1/projects", "/assets/page.js", "/nothing/here"] {
        let answer = bed.client.get(bed.url(path)).send().await.unwrap();
        let headers = answer.headers().clone();
        let csp = headers["content-security-policy"].to_str().unwrap();
        assert!(
            csp.starts_with("default-src 'none'; script-src 'self';"),
            "{csp}"
        );
        assert!(!csp.contains("unsafe"), "{csp}");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert!(headers.contains_key("strict-transport-security"));
        assert!(headers.contains_key("cache-control"));
    }
    let (status, kind, _) =
        problem(bed.client.get(bed.url("/nothing")).send().await.unwrap()).await;
    assert_eq!(
        (status, kind.as_str()),
        (404, "urn:fieldseal:problem:not-found")
    );
    let (status, ..) = problem(bed.client.post(bed.url("/v1/health")).send().await.unwrap()).await;
    assert_eq!(status, 405);
    bed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_read_of_evidence_is_in_the_access_log() {
    let bed = Bed::with_readings().await;
    let reader = bed.token(Role::Verifier, &[PROJECT]).await;
    let participant = bed.token(Role::Participant, &[PROJECT]).await;
    let admin = bed.token(Role::Admin, &[PROJECT]).await;
    make_report(&bed, &admin, "2026-03-09", "2026-03-09").await;
    let log = bed.plant.at.log.to_hex();
    for path in [
        "/readings?point=aux.power&from=2026-03-09T16:00:00Z&to=2026-03-09T16:01:00Z".to_owned(),
        format!("/logs/{log}/entries/3"),
        "/gaps".to_owned(),
        "/reports/2026-03-09_2026-03-09/report.json".to_owned(),
        "/reports/2026-03-09_2026-03-09/bundle.tar".to_owned(),
    ] {
        let answer = bed.get(&reader, &of_project(&path)).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
    }
    let list = bed.json(&participant, &of_project("/accesses")).await;
    let label = format!("verifier of {PROJECT}");
    let of_reader = list["accesses"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|a| a["who"] == *label);
    let mut read: Vec<&str> = of_reader
        .map(|access| access["what"].as_str().unwrap())
        .collect();
    read.sort_unstable();
    assert_eq!(
        read,
        [
            "bundle of report 2026-03-09_2026-03-09 version 1, class A",
            "entry 3",
            "gaps",
            "readings of aux.power from 2026-03-09T16:00:00Z to 2026-03-09T16:01:00Z",
            "report 2026-03-09_2026-03-09 version 1",
        ]
    );
    bed.end().await;
}
