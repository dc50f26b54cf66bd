//! Modbus/TCP Security: a TLS line against a server that demands a certificate.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use evidence::measurement::Table;
use gateway::config::{Endpoint, GatewayConfig, LineConfig, TlsFiles};
use gateway::durable::{Access, write_file};
use gateway::modbus::frame::{Answer, Request};
use gateway::modbus::{Failure, Link, LinkOptions};
use gateway::plan::Span;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::crypto::ring::default_provider;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

const PATIENCE: Duration = Duration::from_secs(20);

/// Writes an authority NAME.pem and a certificate of it for each name below it.
fn authority(dir: &Path, name: &str, below: &[&str]) {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let write = |file: String, text: String| {
        write_file(&dir.join(file), text.as_bytes(), Access::All).unwrap();
    };
    write(format!("{name}.pem"), certificate.pem());
    for below in below {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        write(format!("{below}.pem"), certificate.pem());
        write(format!("{below}.key"), key.serialize_pem());
    }
}

/// A device behind TLS that takes clients of the authority `site` and answers every question with
/// the registers' own addresses. Returns its port.
async fn device(dir: &Path) -> u16 {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(dir.join("site.pem")).unwrap())
        .unwrap();
    let provider = Arc::new(default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .unwrap();
    let chain = vec![CertificateDer::from_pem_file(dir.join("device.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(dir.join("device.key")).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut question = [0; 12];
            while stream.read_exact(&mut question).await.is_ok() {
                let [t0, t1, _, _, _, _, unit, function, a0, a1, _, count] = question;
                let first = u16::from_be_bytes([a0, a1]);
                let bytes = count * 2;
                let mut answer = vec![t0, t1, 0, 0, 0, bytes + 3, unit, function, bytes];
                answer.extend((first..first + u16::from(count)).flat_map(u16::to_be_bytes));
                stream.write_all(&answer).await.unwrap();
            }
        }
    });
    port
}

fn line(dir: &Path, port: u16, ca: &str, ours: &str) -> LineConfig {
    let files = TlsFiles {
        ca_file: dir.join(format!("{ca}.pem")),
        cert_file: dir.join(format!("{ours}.pem")),
        key_file: dir.join(format!("{ours}.key")),
    };
    LineConfig::new(Endpoint::Tls {
        host: "localhost".to_owned(),
        port,
        files,
    })
}

async fn ask(line: &LineConfig) -> Result<Answer, Failure> {
    let span = Span {
        table: Table::Holding,
        address: 40,
        count: 3,
    };
    let request = Request { unit: 1, span };
    Link::start(LinkOptions::of(line))
        .ask(request, PATIENCE, Instant::now() + PATIENCE, false)
        .await
        .result
}

/// The whole story of a failure.
fn story(failure: &Failure) -> String {
    assert!(
        failure.is_connect(),
        "the link failed, not a unit: {failure:?}"
    );
    let cause = std::error::Error::source(failure).unwrap();
    format!("{failure}: {cause}")
}

#[tokio::test]
async fn only_the_right_certificates_on_both_sides_open_a_secure_line() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    authority(dir, "site", &["device", "gateway"]);
    authority(dir, "other", &["stranger"]);
    let port = device(dir).await;

    let right = line(dir, port, "site", "gateway");
    assert_eq!(ask(&right).await.unwrap(), Answer::Words(vec![40, 41, 42]));

    // The device's certificate does not come from the authority we trust.
    let failure = ask(&line(dir, port, "other", "gateway")).await.unwrap_err();
    assert!(story(&failure).contains("UnknownIssuer"), "{failure:?}");

    // Ours does not come from the one the device trusts: it says so with its first words.
    let failure = ask(&line(dir, port, "site", "stranger")).await.unwrap_err();
    assert!(
        story(&failure).contains("no secure connection"),
        "{failure:?}"
    );

    // Without a certificate of ours there is no question at all.
    let failure = ask(&line(dir, port, "site", "nobody")).await.unwrap_err();
    assert!(story(&failure).contains("cert_file"), "{failure:?}");
}

#[test]
fn a_secure_line_is_written_with_its_three_files_and_has_port_802() {
    let with = |tls: &str| {
        GatewayConfig::parse(
            "test",
            &format!(
                "[gateway]\norigin = \"example.com/gw/1\"\ndata_dir = \"/nowhere\"\n\
                 [[line]]\nname = \"safe\"\nhost = \"meter.lan\"\nprotocol = \"tls\"\n{tls}\
                 [[modbus]]\nname = \"m\"\nline = \"safe\"\naddress_base = \"pdu\"\n\
                 [[modbus.point]]\nname = \"p\"\ntable = \"holding\"\naddress = 1\ntype = \"u16\"\ndecimals = 0\nunit = \"1\"\nkind = \"instant\"\n"
            ),
        )
    };
    let config =
        with("[line.tls]\nca_file = \"ca\"\ncert_file = \"c\"\nkey_file = \"k\"\n").unwrap();
    let Endpoint::Tls { port, files, .. } = &config.lines[0].endpoint else {
        panic!("{:?}", config.lines)
    };
    assert_eq!((*port, files.ca_file.as_path()), (802, Path::new("ca")));
    assert_eq!(config.measurement(|_| 0).devices[0].protocol, "modbus-tls");
    let text = with("").unwrap_err().to_string();
    assert!(text.contains("line.tls: missing; add [line.tls]"), "{text}");
    let text = with("[line.tls]\nca_file = \"ca\"\n")
        .unwrap_err()
        .to_string();
    assert!(text.contains("line.tls.cert_file: missing"), "{text}");
}
