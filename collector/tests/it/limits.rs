//! Who may send how much, and what a sender who may not is told.

use std::time::Duration;

use futures_util::stream;
use reqwest::Body;

use crate::bed::{NOW, refusal};
use crate::edge::Edge;

/// A body that never comes: an answer proves that nobody waited for it.
fn endless() -> Body {
    Body::wrap_stream(stream::pending::<Result<Vec<u8>, std::io::Error>>())
}

#[test]
fn an_unknown_log_and_a_wrong_token_are_refused_before_the_body_is_read() {
    crate::bed::on_sqlite(async |bed| {
        let serving = bed.serve();
        let edge = Edge::enrolled(bed, &serving).await;
        let stranger = Edge::new("example.com/stranger");
        for id in [
            stranger.id(),
            "nonsense".to_owned(),
            edge.id().to_uppercase(),
        ] {
            let post = serving
                .post(&format!("/v1/logs/{id}/entries"))
                .bearer_auth(&edge.token);
            let (status, code, reason) = refusal(post.body(endless()).send().await.unwrap()).await;
            assert_eq!((status, &*code), (404, "unknown_log"));
            assert!(reason.contains("enrolment-code"), "{reason}");
        }
        let path = format!("/v1/logs/{}/entries", edge.id());
        for token in [None, Some("wrong")] {
            let post = serving.post(&path).body(endless());
            let post = match token {
                Some(token) => post.bearer_auth(token),
                None => post,
            };
            let (status, code, _) = refusal(post.send().await.unwrap()).await;
            assert_eq!((status, &*code), (401, "token"));
        }
        serving.stop().await;
    });
}

#[test]
fn a_body_too_large_is_refused_whether_announced_or_not() {
    crate::bed::on_sqlite(async |bed| {
        let mut config = bed.config.clone();
        config.limits.upload_bytes = 10_000;
        let serving = bed.serve_with(config);
        let edge = Edge::enrolled(bed, &serving).await;
        let (status, code, reason) = refusal(edge.send(&serving, vec![0; 10_001]).await).await;
        assert_eq!((status, &*code), (413, "too_large"));
        assert!(reason.contains("10000 bytes"), "{reason}");
        let pieces = stream::iter((0..11).map(|_| Ok::<_, std::io::Error>(vec![0; 1000])));
        let post = serving.post(&format!("/v1/logs/{}/entries", edge.id()));
        let post = post
            .bearer_auth(&edge.token)
            .body(Body::wrap_stream(pieces));
        assert_eq!(post.send().await.unwrap().status(), 413);
        serving.stop().await;
    });
}

#[test]
fn a_body_that_does_not_arrive_in_time_is_refused_and_may_come_again() {
    crate::bed::on_sqlite(async |bed| {
        let mut config = bed.config.clone();
        config.limits.body_timeout = Duration::from_millis(100);
        let serving = bed.serve_with(config);
        let edge = Edge::enrolled(bed, &serving).await;
        let post = serving.post(&format!("/v1/logs/{}/entries", edge.id()));
        let response = post
            .bearer_auth(&edge.token)
            .body(endless())
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 408);
        assert_eq!(response.headers()["retry-after"], "5");
        assert_eq!(edge.deliver(&serving, 1, 2).await.size, 2);
        serving.stop().await;
    });
}

#[test]
fn a_log_that_sends_too_often_is_told_when_to_come_back_and_others_go_on() {
    crate::bed::on_sqlite(async |bed| {
        let mut config = bed.config.clone();
        config.limits.uploads_per_minute = 2;
        let serving = bed.serve_with(config);
        let edge = Edge::enrolled(bed, &serving).await;
        let mut other = Edge::new("example.com/other");
        let answer = other.enrol(&serving, &bed.code().await).await;
        let answer: serde_json::Value = answer.json().await.unwrap();
        answer["token"]
            .as_str()
            .unwrap()
            .clone_into(&mut other.token);
        edge.deliver(&serving, 1, 2).await;
        edge.deliver(&serving, 1, 2).await;
        let response = edge.send(&serving, edge.upload(1, 2)).await;
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["retry-after"], "31");
        other.deliver(&serving, 0, 1).await;
        bed.clock.set(NOW + 31_000);
        edge.deliver(&serving, 1, 2).await;
        serving.stop().await;
    });
}
