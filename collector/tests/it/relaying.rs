//! The relay to independent witnesses: what they sign is kept, what they refuse is told, and the ingest
//! goes on whatever they do.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use collector::config::WitnessConfig;
use collector::{Clock as _, Config, ManualClock};
use evidence::cosignature::verify_cosignature;
use evidence::cosigner::Cosigner;
use evidence::hash::leaf_hash;
use evidence::note::{Note, Vkey};
use evidence::witness::{Held, Request};
use ring::rand::SystemRandom;
use store::{LogRef, Relay, TrailNote};

use crate::bed::{Bed, NOW};
use crate::edge::Edge;
use crate::on_both;

/// A witness in memory, by the same rules as the real one; and what it does instead of them.
struct Inner {
    cosigner: Cosigner,
    /// The one log it cares for: in one PostgreSQL the collectors of other tests show theirs as well.
    origin: String,
    known: Mutex<Vec<Vkey>>,
    held: Mutex<Held>,
    /// Before anything is decided: answers of other kinds, one per request.
    instead: Mutex<VecDeque<Instead>>,
    asked: Mutex<Vec<u64>>,
    clock: ManualClock,
    ahead_s: u64,
}

enum Instead {
    Later(&'static str),
    /// Cosigned and stored, but the answer is lost.
    Lost,
    Garbage,
    Never,
}

#[derive(Clone)]
struct Witness {
    inner: Arc<Inner>,
    url: String,
}

impl Witness {
    /// A witness of this bed's one log, with a clock that is so much ahead of the collector's.
    async fn start(bed: &Bed, name: &str, ahead_s: u64) -> Self {
        let (cosigner, _line) = Cosigner::generate(name, &SystemRandom::new()).unwrap();
        let inner = Arc::new(Inner {
            cosigner,
            origin: format!("example.com/{}", bed.unique),
            known: Mutex::default(),
            held: Mutex::new(Held::nothing()),
            instead: Mutex::default(),
            asked: Mutex::default(),
            clock: bed.clock.clone(),
            ahead_s,
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/w", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/w/add-checkpoint", post(add_checkpoint))
            .with_state(Arc::clone(&inner));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { inner, url }
    }

    fn config(&self, name: &str) -> WitnessConfig {
        WitnessConfig {
            name: name.to_owned(),
            key: self.inner.cosigner.vkey().clone(),
            url: self.url.clone(),
            interval: Duration::from_secs(60),
            ca_file: None,
        }
    }

    /// Knows the log that an [`Edge`] of this bed will have.
    fn knows(&self, bed: &Bed) {
        let edge = Edge::new(&format!("example.com/{}", bed.unique));
        let key = evidence::checkpoint::log_vkey(edge.chain.origin(), &edge.log_key.public());
        self.inner.known.lock().unwrap().push(key);
    }

    fn instead(&self, instead: Instead) {
        self.inner.instead.lock().unwrap().push_back(instead);
    }

    fn asked(&self) -> Vec<u64> {
        self.inner.asked.lock().unwrap().clone()
    }
}

async fn add_checkpoint(State(witness): State<Arc<Inner>>, body: Bytes) -> Response {
    let request = Request::parse(&body).unwrap();
    if request.origin() != witness.origin {
        return StatusCode::NOT_FOUND.into_response();
    }
    witness.asked.lock().unwrap().push(request.old);
    let instead = witness.instead.lock().unwrap().pop_front();
    match &instead {
        Some(Instead::Later(after)) => {
            let after = [(RETRY_AFTER, *after)];
            return (StatusCode::SERVICE_UNAVAILABLE, after, "later\n").into_response();
        }
        Some(Instead::Garbage) => return "thank you\n".into_response(),
        Some(Instead::Never) => return std::future::pending().await,
        Some(Instead::Lost) | None => {}
    }
    let known = witness.known.lock().unwrap().clone();
    let mut held = witness.held.lock().unwrap();
    match request.authenticate(&known).and_then(|of| of.decide(*held)) {
        Ok(accepted) => {
            *held = accepted.held();
            let now_s = witness.clock.now_ms().unsigned_abs() / 1000;
            let (line, _note) = accepted.cosign(&witness.cosigner, now_s + witness.ahead_s);
            if matches!(instead, Some(Instead::Lost)) {
                return StatusCode::BAD_GATEWAY.into_response();
            }
            line.to_line().into_response()
        }
        Err(refusal) => {
            let status = StatusCode::from_u16(refusal.status()).unwrap();
            let kind = [(CONTENT_TYPE, refusal.content_type())];
            (status, kind, refusal.body()).into_response()
        }
    }
}

fn config(bed: &Bed, witnesses: &[WitnessConfig]) -> Config {
    Config {
        witnesses: witnesses.to_vec(),
        ..bed.config.clone()
    }
}

/// Waits until the relay of a log to a witness is as wanted.
async fn until(
    bed: &Bed,
    log: LogRef,
    witness: &Witness,
    wanted: impl Fn(&Relay) -> bool,
) -> Relay {
    let target = witness.inner.cosigner.vkey().to_string();
    for _ in 0..600 {
        for (of, relay) in bed.store.relays_of_site(log.site).await.unwrap() {
            if of == log.log && relay.target == target && wanted(&relay) {
                return relay;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {:?}", bed.store.relays_of_site(log.site).await);
}

async fn log_of(bed: &Bed, edge: &Edge) -> LogRef {
    bed.store.locate(edge.log()).await.unwrap().unwrap().0
}

async fn newest(bed: &Bed, log: LogRef) -> (u64, Note, TrailNote) {
    let kept = bed.store.newest_trail_note(log).await.unwrap().unwrap();
    (kept.size, Note::parse(&kept.note).unwrap(), kept)
}

on_both! {
    async fn both_witnesses_are_shown_one_checkpoint_and_one_trail_note_carries_all(bed: &Bed) {
        let (one, two) = (Witness::start(bed, "w.test/1", 0).await, Witness::start(bed, "w.test/2", 3).await);
        one.knows(bed);
        two.knows(bed);
        let serving = bed.serve_with(config(bed, &[one.config("W1"), two.config("W2")]));
        let mut edge = Edge::enrolled(bed, &serving).await;
        for value in 0..298 {
            edge.seal_data(&[value]);
        }
        edge.deliver(&serving, 1, 200).await;
        let log = log_of(bed, &edge).await;
        for (at_ms, size, more) in [(61_000, 200, 300), (122_000, 300, 300)] {
            bed.clock.set(NOW + at_ms);
            for witness in [&one, &two] {
                until(bed, log, witness, |relay| relay.size == size).await;
            }
            if more > size {
                edge.deliver(&serving, 200, 300).await;
            }
        }
        let (size, note, kept) = newest(bed, log).await;
        assert_eq!(size, 300);
        let now_s = bed.clock.now_ms().unsigned_abs() / 1000;
        for (key, time) in [
            (&bed.witness, None),
            (one.inner.cosigner.vkey(), Some(now_s)),
            (two.inner.cosigner.vkey(), Some(now_s + 3)),
        ] {
            let found = verify_cosignature(&note, key).unwrap();
            assert!(found.is_some() && (time.is_none() || found == time), "{key}");
        }
        // It goes back with the next acknowledgement, byte for byte.
        edge.seal_data(&[1]);
        let ack = edge.deliver(&serving, 300, 301).await;
        assert_eq!(ack.trail.unwrap().as_bytes(), kept.note);
        serving.stop().await;
    }

    async fn a_witness_that_is_elsewhere_silent_or_wrong_is_asked_again_and_delays_no_upload(bed: &Bed) {
        let witness = Witness::start(bed, "w.test/1", 0).await;
        let serving = bed.serve_with(config(bed, &[witness.config("W1")]));
        let mut edge = Edge::enrolled(bed, &serving).await;
        for value in 0..20 {
            edge.seal_data(&[value]);
        }
        edge.deliver(&serving, 1, 5).await;
        let log = log_of(bed, &edge).await;
        // It does not know the log: the remedy has the log's key in it.
        let unknown = until(bed, log, &witness, |relay| relay.error.is_some()).await;
        let error = unknown.error.unwrap();
        assert!(error.contains("404") && error.contains(&format!("witness log add '{}", edge.chain.origin())), "{error}");
        witness.knows(bed);

        // 503 with Retry-After is kept to.
        witness.instead(Instead::Later("777"));
        bed.clock.set(NOW + 60_001);
        let later = until(bed, log, &witness, |relay| relay.failures == 2).await;
        assert_eq!(later.due_ms, NOW + 60_001 + 777_000);
        // Nonsense is not kept.
        witness.instead(Instead::Garbage);
        bed.clock.set(later.due_ms);
        let nonsense = until(bed, log, &witness, |relay| relay.failures == 3).await;
        assert!(nonsense.error.unwrap().contains("witness's answer"));
        // It signed, and its answer was lost: it is elsewhere now, says so, and signs again.
        witness.instead(Instead::Lost);
        bed.clock.set(nonsense.due_ms);
        let lost = until(bed, log, &witness, |relay| relay.failures == 4).await;
        assert_eq!((lost.size, witness.inner.held.lock().unwrap().size), (0, 5));
        edge.deliver(&serving, 5, 12).await;
        bed.clock.set(lost.due_ms);
        let done = until(bed, log, &witness, |relay| relay.failures == 0).await;
        assert_eq!(done.size, 12);
        assert_eq!(witness.asked().last_chunk(), Some(&[0, 5]));

        // While it never answers, uploads are taken.
        edge.deliver(&serving, 12, 15).await;
        let before = witness.asked().len();
        witness.instead(Instead::Never);
        bed.clock.set(done.due_ms);
        for _ in 0..600 {
            if witness.asked().len() > before {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(witness.asked().len(), before + 1);
        edge.deliver(&serving, 15, 20).await;
        serving.stop().await;
    }

    async fn a_time_that_cannot_be_is_not_kept(bed: &Bed) {
        let witness = Witness::start(bed, "w.test/1", 86_400).await;
        witness.knows(bed);
        let serving = bed.serve_with(config(bed, &[witness.config("W1")]));
        let edge = Edge::enrolled(bed, &serving).await;
        bed.clock.set(NOW + 60_001);
        let log = log_of(bed, &edge).await;
        let ahead = until(bed, log, &witness, |relay| relay.error.as_ref().is_some_and(|e| e.contains("clock"))).await;
        assert_eq!(ahead.size, 0);
        for kept in bed.store.trail_notes_by_size(log, 0, u64::MAX).await.unwrap() {
            let note = Note::parse(&kept.note).unwrap();
            assert_eq!(verify_cosignature(&note, witness.inner.cosigner.vkey()), Ok(None));
        }
        serving.stop().await;
    }

    async fn a_witness_of_another_history_refuses_and_the_operator_is_told(bed: &Bed) {
        let witness = Witness::start(bed, "w.test/1", 0).await;
        witness.knows(bed);
        let serving = bed.serve_with(config(bed, &[witness.config("W1")]));
        let mut edge = Edge::enrolled(bed, &serving).await;
        let log = log_of(bed, &edge).await;
        until(bed, log, &witness, |relay| relay.size == 1).await;
        // What the log's key signed elsewhere meanwhile.
        *witness.inner.held.lock().unwrap() = Held { size: 3, root: leaf_hash(b"another") };
        for value in 0..9 {
            edge.seal_data(&[value]);
        }
        edge.deliver(&serving, 1, 9).await;
        bed.clock.set(NOW + 120_002);
        let refused = until(bed, log, &witness, |relay| relay.error.is_some()).await;
        assert!(refused.error.unwrap().contains("422"));
        assert_eq!(witness.asked().last_chunk(), Some(&[1, 3]));
        serving.stop().await;
    }

    async fn two_collectors_on_one_store_ask_once(bed: &Bed) {
        let witness = Witness::start(bed, "w.test/1", 0).await;
        witness.knows(bed);
        let config = config(bed, &[witness.config("W1")]);
        let (first, second) = (bed.serve_with(config.clone()), bed.serve_with(config));
        let mut edge = Edge::enrolled(bed, &first).await;
        let log = log_of(bed, &edge).await;
        let mut done = until(bed, log, &witness, |relay| relay.size == 1 || relay.error.is_some()).await;
        for size in 2..7_usize {
            edge.seal_data(&[1]);
            edge.deliver(&second, size - 1, size).await;
            bed.clock.set(done.due_ms);
            done = until(bed, log, &witness, |relay| relay.size == size as u64).await;
        }
        let asked = witness.asked();
        let rounds: Vec<u64> = (1..6).collect();
        assert!(asked.ends_with(&rounds), "{asked:?}");
        first.stop().await;
        second.stop().await;
    }
}
