//! Enrolment: who knows a code, once; and only with a key that can be held responsible.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use evidence::checkpoint::{Checkpoint, log_vkey, sign_checkpoint};
use evidence::control::Control;
use evidence::cosignature::verify_cosignature;
use evidence::entry::{Body, ControlBody};
use evidence::hash::{Hash, Origin};
use evidence::key::SigningKey;
use evidence::note::Note;
use serde_json::Value;

use crate::bed::{Bed, NOW, Serving, refusal};
use crate::edge::Edge;
use crate::on_both;

async fn post(serving: &Serving, request: &Value) -> (u16, String, String) {
    refusal(
        serving
            .post("/v1/enrol")
            .json(request)
            .send()
            .await
            .unwrap(),
    )
    .await
}

on_both! {
    async fn a_code_enrols_a_log_and_its_genesis_entry_is_cosigned(bed: &Bed) {
        let serving = bed.serve();
        let edge = Edge::enrolled(bed, &serving).await;
        let (log, token) = bed.store.locate(edge.log()).await.unwrap().unwrap();
        assert_eq!(token, evidence::hash::sha256(edge.token.as_bytes()).0);
        let head = bed.store.head(log).await.unwrap().unwrap();
        assert_eq!((head.log.size, head.log.root), (1, edge.root_at(1).0));
        let note = Note::parse(&head.note).unwrap();
        let time = verify_cosignature(&note, &bed.witness).unwrap();
        assert_eq!(time, Some(NOW.unsigned_abs() / 1000));
        serving.stop().await;
    }

    async fn a_code_works_for_one_gateway_and_again_for_the_same(bed: &Bed) {
        let serving = bed.serve();
        let code = bed.code().await;
        let first = Edge::new(&format!("example.com/{}/1", bed.unique));
        assert_eq!(first.enrol(&serving, &code).await.status(), 200);
        let second = Edge::new(&format!("example.com/{}/2", bed.unique));
        let (status, kind, reason) = refusal(second.enrol(&serving, &code).await).await;
        assert_eq!((status, &*kind), (403, "code"));
        assert!(reason.contains("used by another gateway"), "{reason}");
        assert_eq!(bed.store.locate(second.log()).await.unwrap(), None);
        // The first answer was lost, so the gateway asks again and gets a fresh token.
        let again: Value = first.enrol(&serving, &code).await.json().await.unwrap();
        let (_, token) = bed.store.locate(first.log()).await.unwrap().unwrap();
        assert_eq!(token, evidence::hash::sha256(again["token"].as_str().unwrap().as_bytes()).0);
        serving.stop().await;
    }
}

#[test]
fn an_unknown_code_and_a_wrong_secret_are_refused_alike() {
    crate::bed::on_sqlite(async |bed| {
        let serving = bed.serve();
        let edge = Edge::new("example.com/gw/1");
        let mut code = bed.code().await;
        code.secret[0] ^= 1;
        let wrong = post(&serving, &edge.enrolment(&code)).await;
        code.id[0] ^= 1;
        let unknown = post(&serving, &edge.enrolment(&code)).await;
        assert_eq!(wrong, unknown);
        assert_eq!(wrong.0, 403);
        assert_eq!(bed.store.locate(edge.log()).await.unwrap(), None);
        serving.stop().await;
    });
}

#[test]
fn guessing_codes_slows_the_guesser_down_and_nobody_else() {
    crate::bed::on_sqlite(async |bed| {
        let serving = bed.serve();
        let edge = Edge::new("example.com/gw/1");
        let code = bed.code().await;
        // What succeeds costs nothing, however often.
        for _ in 0..70 {
            assert_eq!(edge.enrol(&serving, &code).await.status(), 200);
        }
        let mut guess = edge.enrolment(&code);
        guess["mac"] = "00".repeat(32).into();
        for _ in 0..60 {
            assert_eq!(post(&serving, &guess).await.0, 403);
        }
        let refused = edge.enrol(&serving, &code).await;
        assert_eq!(refused.status(), 429);
        assert_eq!(refused.headers()["retry-after"], "2");
        let (_, _, reason) = refusal(refused).await;
        assert!(reason.contains("127.0.0.1"), "{reason}");
        let url = format!("https://localhost:{}/v1/enrol", serving.address.port());
        let neighbour = crate::bed::client_at(&bed.directory, [127, 0, 0, 2]);
        let request = neighbour.post(url).json(&edge.enrolment(&code));
        assert_eq!(request.send().await.unwrap().status(), 200);
        bed.clock.set(NOW + 1000);
        assert_eq!(edge.enrol(&serving, &code).await.status(), 200);
        serving.stop().await;
    });
}

#[test]
fn an_expired_code_is_refused() {
    crate::bed::on_sqlite(async |bed| {
        let serving = bed.serve();
        let edge = Edge::new("example.com/gw/1");
        let code = bed.code().await;
        bed.clock.set(NOW + 7 * 86_400_000);
        let (status, _, reason) = refusal(edge.enrol(&serving, &code).await).await;
        assert_eq!(status, 403);
        assert!(reason.contains("expired"), "{reason}");
        serving.stop().await;
    });
}

#[test]
fn a_genesis_entry_that_was_altered_or_names_another_key_is_refused() {
    crate::bed::on_sqlite(async |bed| {
        let serving = bed.serve();
        let code = bed.code().await;
        let mac = |entry0: &[u8]| {
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &code.secret);
            hex::encode(ring::hmac::sign(&key, entry0))
        };
        let edge = Edge::new("example.com/gw/1");
        let good = edge.enrolment(&code);

        let mut entry0 = edge.entries[0].0.clone();
        let last = entry0.len() - 1;
        entry0[last] ^= 1;
        let mut altered = good.clone();
        altered["entry0"] = STANDARD.encode(&entry0).into();
        altered["mac"] = mac(&entry0).into();
        let (status, code, _) = post(&serving, &altered).await;
        assert_eq!((status, &*code), (422, "E06"));

        let stranger = SigningKey::from_seed([99; 32]);
        let origin = Origin::parse("example.com/gw/1").unwrap();
        let checkpoint = Checkpoint {
            origin: origin.clone(),
            size: 1,
            root: edge.root_at(1),
        };
        let mut other = good.clone();
        other["log_vkey"] = log_vkey(&origin, &stranger.public()).to_string().into();
        let note = sign_checkpoint(&checkpoint, &stranger).to_bytes();
        other["checkpoint"] = String::from_utf8(note).unwrap().into();
        let (status, code, reason) = post(&serving, &other).await;
        assert_eq!((status, &*code), (422, "E11"), "{reason}");

        let mut root = good.clone();
        root["checkpoint"] = String::from_utf8(edge.note_of(1, Hash([1; 32])))
            .unwrap()
            .into();
        let (status, _, reason) = post(&serving, &root).await;
        assert_eq!(status, 400);
        assert!(
            reason.contains("checkpoint") && reason.contains("root"),
            "{reason}"
        );

        let mut typo = good.clone();
        typo["log_vkeys"] = Value::Null;
        let (status, _, reason) = post(&serving, &typo).await;
        assert_eq!(status, 400);
        assert!(reason.contains("log_vkeys"), "{reason}");

        // None of these used the code up.
        assert_eq!(
            serving
                .post("/v1/enrol")
                .json(&good)
                .send()
                .await
                .unwrap()
                .status(),
            200
        );
        serving.stop().await;
    });
}

#[test]
fn a_key_of_small_order_is_never_enrolled() {
    crate::bed::on_sqlite(async |bed| {
        let serving = bed.serve();
        let code = bed.code().await;
        let edge = Edge::new("example.com/gw/1");
        // The point of order 1: one constant signature verifies every message under it.
        let mut weak = [0; 32];
        weak[0] = 1;
        // In the verifier key.
        let mut request = edge.enrolment(&code);
        let mut typed = vec![1];
        typed.extend_from_slice(&weak);
        let mut hashed = b"example.com/gw/1\n".to_vec();
        hashed.extend_from_slice(&typed);
        let hash = hex::encode(&evidence::hash::sha256(&hashed).0[..4]);
        request["log_vkey"] = format!("example.com/gw/1+{hash}+{}", STANDARD.encode(&typed)).into();
        let (status, _, reason) = post(&serving, &request).await;
        assert_eq!(status, 400);
        assert!(
            reason.contains("log_vkey") && reason.contains("order"),
            "{reason}"
        );
        // In the genesis entry, as the log's key.
        let mut entry =
            edge.chain
                .next_entry(edge.boot, edge.clock, None, genesis_body(&edge, &weak));
        entry.index = 0;
        entry.previous = Hash([0; 32]);
        entry.control = None;
        let entry0 = entry.sign(edge.chain.origin(), &edge.key);
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &code.secret);
        let mut request = edge.enrolment(&code);
        request["entry0"] = STANDARD.encode(&entry0).into();
        request["mac"] = hex::encode(ring::hmac::sign(&key, &entry0)).into();
        let (status, code, reason) = post(&serving, &request).await;
        assert_eq!((status, &*code), (422, "E05"), "{reason}");
        let site = bed.store.sites().await.unwrap()[0].id;
        assert!(bed.store.logs_of_site(site).await.unwrap().is_empty());
        serving.stop().await;
    });
}

/// The genesis body with the log's key replaced, byte for byte.
fn genesis_body(edge: &Edge, key: &[u8; 32]) -> Body {
    let mut bytes = Control::Genesis(edge.genesis()).encode();
    let own = edge.log_key.public();
    let at = bytes
        .windows(32)
        .position(|window| window == own.bytes())
        .unwrap();
    bytes[at..at + 32].copy_from_slice(key);
    Body::Control {
        kind: 1,
        body: ControlBody::Inline(bytes),
    }
}
