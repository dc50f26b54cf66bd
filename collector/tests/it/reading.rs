//! The reading side: tiles for everybody, readings for those who may.

use std::collections::HashMap;

use evidence::checkpoint::{Checkpoint, log_vkey};
use evidence::merkle::{consistency_proof, inclusion_proof, verify_consistency, verify_inclusion};
use evidence::note::Note;
use evidence::tiles::{Tile, TileNodes, decode_entry_bundle, parse_tile};
use serde_json::Value;
use store::Token;

use crate::bed::{Bed, NOW, Serving, refusal};
use crate::edge::Edge;
use crate::on_both;

async fn get(serving: &Serving, path: &str, token: &str) -> (u16, Vec<u8>) {
    let response = serving.get(path).bearer_auth(token).send().await.unwrap();
    (
        response.status().as_u16(),
        response.bytes().await.unwrap().to_vec(),
    )
}

on_both! {
    async fn a_stranger_proves_inclusion_and_consistency_from_open_tiles(bed: &Bed) {
        let serving = bed.serve();
        let mut edge = Edge::enrolled(bed, &serving).await;
        // Over the edge of the first full tile.
        for value in 0..298 {
            edge.seal_data(&[value]);
        }
        edge.deliver(&serving, 1, 200).await;
        edge.deliver(&serving, 200, 300).await;
        let base = format!("/logs/{}", edge.id());
        let text = serving.get(&format!("{base}/checkpoint")).send().await.unwrap();
        assert_eq!(text.headers()["cache-control"], "no-store");
        let note = Note::parse(&text.bytes().await.unwrap()).unwrap();
        let vkey = log_vkey(edge.chain.origin(), &edge.log_key.public());
        let checkpoint = Checkpoint::open(&note, &vkey).unwrap();
        assert_eq!(checkpoint.size, 300);
        // Every tile a proof could need, fetched beforehand: the proof maker asks without waiting.
        let mut tiles = HashMap::new();
        for path in ["tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1"] {
            let response = serving.get(&format!("{base}/{path}")).send().await.unwrap();
            assert_eq!(response.status(), 200, "{path}");
            assert!(response.headers()["cache-control"].to_str().unwrap().contains("immutable"));
            tiles.insert(path.to_owned(), parse_tile(&response.bytes().await.unwrap()).unwrap());
        }
        let mut nodes =
            TileNodes::new(300, |tile: &Tile| tiles.get(&tile.to_string()).cloned().ok_or(()));
        let leaf = evidence::hash::leaf_hash(&edge.entries[270].0);
        let proof = inclusion_proof(&mut nodes, 270, 300).unwrap();
        verify_inclusion(&leaf, 270, 300, &proof, &checkpoint.root).unwrap();
        let proof = consistency_proof(&mut nodes, 200, 300).unwrap();
        verify_consistency(200, 300, &proof, &edge.root_at(200), &checkpoint.root).unwrap();
        let head = serving.get(&format!("/v1/logs/{}/head", edge.id())).send().await.unwrap();
        let head: Value = head.json().await.unwrap();
        assert_eq!(head["size"], 300);
        assert_eq!(head["root"], checkpoint.root.to_base64());
        serving.stop().await;
    }

    async fn entries_and_payloads_are_for_the_gateway_and_for_people_of_the_project(bed: &Bed) {
        let serving = bed.serve();
        let mut edge = Edge::enrolled(bed, &serving).await;
        edge.seal_data(&[1, 2, 3]);
        edge.deliver(&serving, 1, 3).await;
        let log = bed.store.locate(edge.log()).await.unwrap().unwrap().0;
        let project = format!("project {}", bed.unique);
        let secret = format!("token {}", bed.unique);
        let token = Token {
            label: secret.replace("token", "reader"),
            role: "verifier".to_owned(),
            projects: vec![project.clone()],
            created_ms: NOW,
            expires_ms: NOW + 1000,
            revoked_ms: None,
        };
        bed.store.create_token(&secret, &token).await.unwrap();
        let entries = format!("/logs/{}/tile/entries/000.p/3", edge.id());
        let payload = format!("/logs/{}/payload/2", edge.id());
        for path in [&entries, &payload] {
            assert_eq!(refusal(serving.get(path).send().await.unwrap()).await.0, 401);
            assert_eq!(get(&serving, path, &secret).await.0, 401, "not of the project yet");
        }
        bed.store.set_project_sites(&project, &[log.site]).await.unwrap();
        for token in [&edge.token, &secret] {
            let (status, bundle) = get(&serving, &entries, token).await;
            assert_eq!(status, 200);
            let sealed: Vec<&[u8]> = edge.entries.iter().map(|(entry, _)| &**entry).collect();
            assert_eq!(decode_entry_bundle(&bundle).unwrap(), sealed);
            assert_eq!(get(&serving, &payload, token).await, (200, edge.entries[2].1.clone()));
        }
        // People's reads are written down, the gateway's own are not.
        let reads = bed.store.accesses(log.site, 0..i64::MAX, 9).await.unwrap();
        let mut what: Vec<_> = reads.iter().map(|read| (&*read.who, &*read.what)).collect();
        what.sort_unstable();
        let label = &*token.label;
        assert_eq!(what, vec![(label, "payload/2"), (label, "tile/entries/000.p/3")]);
        bed.clock.set(NOW + 1000);
        assert_eq!(get(&serving, &payload, &secret).await.0, 401, "expired");
        serving.stop().await;
    }
}

#[test]
fn what_is_not_there_is_said_so() {
    crate::bed::on_sqlite(async |bed| {
        let serving = bed.serve();
        let edge = Edge::enrolled(bed, &serving).await;
        let base = format!("/logs/{}", edge.id());
        for (path, status) in [
            ("tile/0/000", 404),
            ("tile/0/000.p/2", 404),
            ("tile/1/000.p/1", 404),
            ("tile/63/000.p/1", 404),
            ("tile/64/000", 400),
            ("tile/0/0", 400),
            ("tile/entries/001", 404),
            ("payload/0", 404),
            ("payload/7", 404),
            ("payload/18446744073709551615", 404),
        ] {
            let (found, _) = get(&serving, &format!("{base}/{path}"), &edge.token).await;
            assert_eq!(found, status, "{path}");
        }
        let (status, hash) = get(&serving, &format!("{base}/tile/0/000.p/1"), "").await;
        assert_eq!((status, hash.len()), (200, 32));
        let stranger = Edge::new("example.com/stranger");
        for path in [
            format!("/logs/{}/checkpoint", stranger.id()),
            "/nowhere".to_owned(),
        ] {
            assert_eq!(
                refusal(serving.get(&path).send().await.unwrap()).await.0,
                404
            );
        }
        let health = serving.get("/healthz").send().await.unwrap();
        assert_eq!(
            (health.status().as_u16(), &*health.text().await.unwrap()),
            (200, "ok\n")
        );
        serving.stop().await;
    });
}
