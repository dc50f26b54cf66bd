//! Timestamps: from a local authority made with `openssl ts`, to what the store keeps and `openssl ts
//! -verify` accepts.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use collector::Clock as _;
use collector::Config;
use collector::config::TimestampConfig;
use evidence::timestamp::{Roots, Token};
use store::{LogRef, Relay};

use crate::bed::{Bed, NOW};
use crate::edge::Edge;

fn openssl(directory: &Path, arguments: &[&str]) {
    let run = Command::new("openssl")
        .current_dir(directory)
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "openssl {arguments:?}: {said}");
}

/// A certificate authority with a timestamp authority below it, in a directory.
#[expect(clippy::disallowed_methods, reason = "a test's own files")]
fn make_authority(directory: &Path, name: &str) {
    std::fs::create_dir(directory).unwrap();
    let config = "[tsa]\ndefault_tsa = one\n[one]\nserial = serial\nsigner_digest = sha256\n\
        default_policy = 1.2.3.4.1\ndigests = sha256\ness_cert_id_alg = sha256\n";
    std::fs::write(directory.join("tsa.cnf"), config).unwrap();
    std::fs::write(directory.join("serial"), "01\n").unwrap();
    let usage = "basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\n\
        extendedKeyUsage=critical,timeStamping\n";
    std::fs::write(directory.join("usage"), usage).unwrap();
    let subject = format!("/CN={name}");
    openssl(
        directory,
        &[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
            "-days",
            "30",
            "-subj",
            &subject,
            "-addext",
            "basicConstraints=critical,CA:TRUE",
        ],
    );
    openssl(
        directory,
        &[
            "req", "-newkey", "rsa:2048", "-nodes", "-keyout", "tsa.key", "-out", "tsa.csr",
            "-subj", "/CN=TSA",
        ],
    );
    openssl(
        directory,
        &[
            "x509",
            "-req",
            "-in",
            "tsa.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-out",
            "tsa.pem",
            "-days",
            "30",
            "-extfile",
            "usage",
        ],
    );
}

struct Authority {
    directory: PathBuf,
    asked: AtomicU32,
}

#[expect(clippy::disallowed_methods, reason = "a test's own files")]
async fn stamp(State(authority): State<Arc<Authority>>, query: Bytes) -> Vec<u8> {
    authority.asked.fetch_add(1, Ordering::SeqCst);
    std::fs::write(authority.directory.join("query.tsq"), &query).unwrap();
    openssl(
        &authority.directory,
        &[
            "ts",
            "-reply",
            "-queryfile",
            "query.tsq",
            "-signer",
            "tsa.pem",
            "-inkey",
            "tsa.key",
            "-config",
            "tsa.cnf",
            "-out",
            "answer.tsr",
        ],
    );
    std::fs::read(authority.directory.join("answer.tsr")).unwrap()
}

async fn serve(directory: PathBuf) -> (Arc<Authority>, String) {
    let authority = Arc::new(Authority {
        directory,
        asked: AtomicU32::new(0),
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/tsr", listener.local_addr().unwrap());
    let router = Router::new()
        .route("/tsr", post(stamp))
        .with_state(Arc::clone(&authority));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (authority, url)
}

async fn until(bed: &Bed, log: LogRef, wanted: impl Fn(&Relay) -> bool) -> Relay {
    for _ in 0..1200 {
        for (of, relay) in bed.store.relays_of_site(log.site).await.unwrap() {
            if of == log.log && wanted(&relay) {
                return relay;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {:?}", bed.store.relays_of_site(log.site).await);
}

fn config(bed: &Bed, url: &str, roots_file: PathBuf) -> Config {
    Config {
        timestamp: Some(TimestampConfig {
            url: url.to_owned(),
            interval: Duration::from_secs(86_400),
            roots_file,
            ca_file: None,
        }),
        ..bed.config.clone()
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test's own files")]
fn the_newest_trail_note_is_stamped_once_a_day_and_openssl_accepts_what_is_kept() {
    crate::bed::on_sqlite(async |bed: &Bed| {
        let directory = bed.directory.join("tsa");
        make_authority(&directory, "Authority");
        let (authority, url) = serve(directory.clone()).await;
        // The authority stamps with the machine's clock.
        bed.clock.set(collector::SystemClock.now_ms());
        let serving = bed.serve_with(config(bed, &url, directory.join("ca.pem")));
        let mut edge = Edge::enrolled(bed, &serving).await;
        edge.seal_data(&[1]);
        edge.deliver(&serving, 1, 3).await;
        let log = bed.store.locate(edge.log()).await.unwrap().unwrap().0;
        let done = until(bed, log, |relay| relay.size > 0).await;
        assert!(done.due_ms > bed.clock.now_ms() && done.due_ms <= bed.clock.now_ms() + 86_400_000);

        let kept = bed
            .store
            .timestamps_by_size(log, 0, u64::MAX)
            .await
            .unwrap();
        assert_eq!(kept.len(), 1);
        let notes = bed
            .store
            .trail_notes_by_size(log, 0, u64::MAX)
            .await
            .unwrap();
        let note = notes
            .iter()
            .find(|note| evidence::hash::sha256(&note.note).0 == kept[0].note);
        let note = note.unwrap();
        assert_eq!(note.size, kept[0].size);
        std::fs::write(directory.join("note"), &note.note).unwrap();
        std::fs::write(directory.join("token.tsr"), &kept[0].token).unwrap();
        openssl(
            &directory,
            &[
                "ts",
                "-verify",
                "-in",
                "token.tsr",
                "-data",
                "note",
                "-CAfile",
                "ca.pem",
            ],
        );
        let roots = Roots::from_pem(&std::fs::read(directory.join("ca.pem")).unwrap()).unwrap();
        let token = Token::parse(&kept[0].token).unwrap();
        assert_eq!(token.verify(&roots), Ok(()));

        // Not before tomorrow; then again.
        assert_eq!(authority.asked.load(Ordering::SeqCst), 1);
        serving.stop().await;
    });
}

#[test]
fn a_stamp_of_an_authority_nobody_trusts_or_at_another_time_is_not_kept() {
    crate::bed::on_sqlite(async |bed: &Bed| {
        let (directory, other) = (bed.directory.join("tsa"), bed.directory.join("other"));
        make_authority(&directory, "Authority");
        make_authority(&other, "Another");
        let (_authority, url) = serve(directory.clone()).await;
        bed.clock.set(collector::SystemClock.now_ms());
        let serving = bed.serve_with(config(bed, &url, other.join("ca.pem")));
        let edge = Edge::enrolled(bed, &serving).await;
        let log = bed.store.locate(edge.log()).await.unwrap().unwrap().0;
        let refused = until(bed, log, |relay| relay.error.is_some()).await;
        let why = refused.error.unwrap();
        assert!(why.contains("certificate"), "{why}");
        serving.stop().await;

        // A collector whose clock is months behind the authority's.
        bed.clock.set(NOW);
        let again = config(bed, &format!("{url}?again"), directory.join("ca.pem"));
        let serving = bed.serve_with(again);
        let refused = until(bed, log, |relay| {
            relay.target.contains("again") && relay.error.is_some()
        });
        let why = refused.await.error.unwrap();
        assert!(why.contains("clock"), "{why}");
        assert_eq!(
            bed.store
                .timestamps_by_size(log, 0, u64::MAX)
                .await
                .unwrap(),
            []
        );
        serving.stop().await;
    });
}
