//! Bundles in every class, whole and in parts: equal requests give equal bytes.

use evidence::bundle::{Bundle, Disclosure};
use reqwest::Response;
use serde_json::Value;
use verifier_api::Role;

use crate::bed::{Bed, PROJECT, of_project, problem};
use crate::reporting::make_report;

const ID: &str = "2026-03-09_2026-03-09";

fn path(query: &str) -> String {
    of_project(&format!("/reports/{ID}/bundle.tar{query}"))
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers()[name].to_str().unwrap()
}

async fn whole(bed: &Bed, token: &str, query: &str) -> (String, Vec<u8>) {
    let answer = bed.get(token, &path(query)).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{query}");
    let (length, tag) = (
        header(&answer, "content-length").to_owned(),
        header(&answer, "etag").to_owned(),
    );
    assert_eq!(header(&answer, "accept-ranges"), "bytes");
    let bytes = answer.bytes().await.unwrap().to_vec();
    assert_eq!(length, bytes.len().to_string());
    (tag, bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_in_parts_is_the_bundle_whatever_the_class_and_the_place_it_broke() {
    let bed = Bed::with_readings().await;
    let token = bed.token(Role::Preparer, &[PROJECT]).await;
    make_report(&bed, &token, "2026-03-09", "2026-03-09").await;
    for query in ["", "?disclosure=B", "?disclosure=C"] {
        let (tag, bytes) = whole(&bed, &token, query).await;
        assert_eq!(
            whole(&bed, &token, query).await,
            (tag.clone(), bytes.clone())
        );
        let length = bytes.len();
        let read = Bundle::read(&bytes).unwrap();
        let places = [
            1,
            511,
            512,
            usize::try_from(read.logs[0].entries.offset).unwrap() + 77,
            usize::try_from(read.logs[0].payload.offset).unwrap() - 1,
            usize::try_from(read.logs[0].payload.offset).unwrap(),
            length / 2,
            length - 1025,
            length - 1,
        ];
        for at in places {
            let range = format!("bytes={at}-");
            let asked = bed.get(&token, &path(query)).header("range", range);
            let answer = asked.header("if-range", &tag).send().await.unwrap();
            assert_eq!(answer.status(), 206, "{query} from {at}");
            let expected = format!("bytes {at}-{}/{length}", length - 1);
            assert_eq!(header(&answer, "content-range"), expected);
            assert_eq!(header(&answer, "etag"), tag);
            assert!(
                answer.bytes().await.unwrap() == bytes[at..],
                "{query} from {at}"
            );
        }
        let asked = bed
            .get(&token, &path(query))
            .header("range", "bytes=1000-2999");
        let middle = asked.send().await.unwrap();
        assert_eq!(header(&middle, "content-length"), "2000");
        assert!(middle.bytes().await.unwrap() == bytes[1000..3000]);

        let hash = of_project(&format!("/reports/{ID}/bundle.sha256{query}"));
        let hash: Value = bed.json(&token, &hash).await;
        assert_eq!(hash["length"], length);
        assert_eq!(hash["sha256"], evidence::hash::sha256(&bytes).to_hex());
        assert_eq!(hash["etag"], tag.as_str());
    }
    // What the caller has is not sent again; other bytes are sent whole; there is nothing behind the end.
    let (tag, bytes) = whole(&bed, &token, "").await;
    let known = bed.get(&token, &path("")).header("if-none-match", &tag);
    assert_eq!(known.send().await.unwrap().status(), 304);
    let stale = bed.get(&token, &path("")).header("range", "bytes=5-");
    let stale = stale
        .header("if-range", "\"something else\"")
        .send()
        .await
        .unwrap();
    assert_eq!(stale.status(), 200);
    assert!(stale.bytes().await.unwrap() == bytes);
    let behind = format!("bytes={}-", bytes.len());
    let behind = bed
        .get(&token, &path(""))
        .header("range", behind)
        .send()
        .await
        .unwrap();
    assert_eq!(behind.status(), 416);
    assert_eq!(
        header(&behind, "content-range"),
        format!("bytes */{}", bytes.len())
    );
    bed.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_or_a_parameter_decides_what_a_bundle_shows() {
    let bed = Bed::with_readings().await;
    let preparer = bed.token(Role::Preparer, &[PROJECT]).await;
    make_report(&bed, &preparer, "2026-03-09", "2026-03-09").await;
    let class = |bytes: &Vec<u8>| {
        let log = &Bundle::read(bytes).unwrap().logs[0];
        let text = log.disclosure.read(bytes, 1 << 20).unwrap();
        Disclosure::parse(&text).unwrap()
    };
    let participant = bed.token(Role::Participant, &[PROJECT]).await;
    for role in [
        Role::Verifier,
        Role::Supervisor,
        Role::Admin,
        Role::Preparer,
    ] {
        let token = bed.token(role, &[PROJECT]).await;
        assert_eq!(class(&whole(&bed, &token, "").await.1), Disclosure::All);
    }
    let planned = ["aux.power", "export.energy"].map(str::to_owned);
    let planned = Disclosure::listed(planned).unwrap();
    let (tag, bytes) = whole(&bed, &participant, "").await;
    assert_eq!(class(&bytes), planned);
    let (all, _) = whole(&bed, &participant, "?disclosure=A").await;
    assert_ne!(tag, all, "other bytes have another tag");
    let (_, one) = whole(&bed, &preparer, "?disclosure=B&points=export.energy").await;
    let listed = Disclosure::listed(["export.energy".to_owned()]).unwrap();
    assert_eq!(class(&one), listed);
    assert!(one != bytes);
    let (_, none) = whole(&bed, &preparer, "?disclosure=C").await;
    let log = &Bundle::read(&none).unwrap().logs[0];
    assert_eq!(
        (class(&none), log.payload.size),
        (Disclosure::Commitments, 0)
    );
    for (query, word) in [
        ("?disclosure=D", "there are A, B and C"),
        ("?points=export.energy", "disclosure=B"),
        ("?disclosure=B&points=export.enrgy", "export.enrgy"),
        ("?disclosure=B&points=", "cannot be listed"),
        ("?disclose=A", "disclose"),
    ] {
        let answer = bed.get(&preparer, &path(query)).send().await.unwrap();
        let (status, _, text) = problem(answer).await;
        assert!(
            status == 400 && text.contains(word),
            "{query}: {status} {text}"
        );
    }
    bed.end().await;
}
