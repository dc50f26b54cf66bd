//! The live lane: the newest post wins, and its sender learns whether somebody watches.

use serde_json::{Value, json};
use store::Watch;

use crate::bed::{Bed, NOW, refusal};
use crate::edge::Edge;
use crate::on_both;

fn values(seq: u64) -> Value {
    json!({
        "seq": seq,
        "unix_ms": NOW,
        "points": [
            {"name": "energy", "value": "12.34", "unit": "kWh", "quality": 0, "tick_unix_ms": NOW},
            {"name": "power", "value": null, "unit": "kW", "quality": 1, "tick_unix_ms": NOW},
        ],
    })
}

on_both! {
    async fn the_newest_values_reach_the_store_and_the_watchers_reach_the_gateway(bed: &Bed) {
        let serving = bed.serve();
        let edge = Edge::enrolled(bed, &serving).await;
        let log = bed.store.locate(edge.log()).await.unwrap().unwrap().0;
        let post = async |seq| {
            let post = serving.post(&format!("/v1/logs/{}/live", edge.id()));
            let response = post.bearer_auth(&edge.token).json(&values(seq)).send().await.unwrap();
            assert_eq!(response.status(), 200);
            response.json::<Value>().await.unwrap()["watch_for_s"].as_u64().unwrap()
        };
        assert_eq!(post(1).await, 0);
        bed.store.set_watch(Watch { log, until_ms: NOW + 30_500 }).await.unwrap();
        assert_eq!(post(2).await, 30);
        assert_eq!(edge.deliver(&serving, 1, 2).await.watch_for_s, 30);
        let rows = bed.store.live_changed_since(NOW).await.unwrap();
        let row = rows.iter().find(|row| row.log == log).unwrap();
        assert_eq!((row.version, row.size), (2, 2));
        let body: Value = serde_json::from_str(row.body.as_ref().unwrap()).unwrap();
        assert_eq!(body, values(2));
        serving.stop().await;
    }
}

#[test]
fn a_post_that_is_no_list_of_values_is_refused() {
    crate::bed::on_sqlite(async |bed| {
        let serving = bed.serve();
        let edge = Edge::enrolled(bed, &serving).await;
        let path = format!("/v1/logs/{}/live", edge.id());
        let anonymous = serving.post(&path).json(&values(1)).send().await.unwrap();
        assert_eq!(anonymous.status(), 401);
        for wrong in [
            json!({"seq": 1, "unix_ms": 1}),
            json!({"seq": 1, "unix_ms": 1, "points": [{"value": "1"}]}),
            json!({"seq": 1, "unix_ms": 1, "points": [{"name": "a", "value": 1.5}]}),
            json!({"seq": -1, "unix_ms": 1, "points": []}),
        ] {
            let post = serving.post(&path).bearer_auth(&edge.token).json(&wrong);
            let (status, code, _) = refusal(post.send().await.unwrap()).await;
            assert_eq!((status, &*code), (400, "live"), "{wrong}");
        }
        serving.stop().await;
    });
}
