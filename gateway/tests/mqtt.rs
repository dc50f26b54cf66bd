//! The MQTT source against Mosquitto, over real sockets.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use evidence::quality::Quality;
use gateway::config::GatewayConfig;
use gateway::mqtt::{self, MqttStream};
use gateway::read_once::read_once;
use gateway::sample::{Message, MessageSource as _, PointSample, SampleValue};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use ring::rand::SystemRandom;

#[path = "support/broker.rs"]
mod broker;

use broker::Broker;

/// Points: 0 `flow` (plain number), 1 `p` and 2 `t` (two pointers into one message), 3 by pattern.
fn config(port: u16, more: &str) -> GatewayConfig {
    let point = |name: &str, topic: &str, pointer: &str| {
        let pointer = if pointer.is_empty() {
            String::new()
        } else {
            format!("pointer = \"{pointer}\"\n")
        };
        format!(
            "[[mqtt.point]]\nname = \"{name}\"\ntopic = \"{topic}\"\n{pointer}decimals = 2\nunit = \"K\"\nkind = \"instant\"\nstale_after_s = 60\nmax = \"1000\"\n"
        )
    };
    let text = format!(
        "[gateway]\norigin = \"example.com/gw/1\"\ndata_dir = \"/nowhere\"\n[[mqtt]]\nname = \"b\"\nhost = \"localhost\"\nport = {port}\n{more}\n{}{}{}{}",
        point("flow", "site/flow", ""),
        point("p", "site/state", "/p"),
        point("t", "site/state", "/deep/0/t"),
        point("any", "other/+/x", ""),
    );
    GatewayConfig::parse("test", &text).unwrap()
}

fn start(broker: &Broker) -> MqttStream {
    let [stream] = mqtt::start(&config(broker.port, ""))
        .unwrap()
        .try_into()
        .unwrap();
    stream
}

/// The next message that is not a marker of a lost connection.
async fn next(stream: &mut MqttStream) -> Message {
    loop {
        let message = stream.next().await.unwrap();
        if message.ack.is_some() {
            return message;
        }
    }
}

fn one(message: &Message) -> &PointSample {
    let [sample] = message.samples.as_slice() else {
        panic!("{:?}", message.samples)
    };
    sample
}

/// Waits until the source is subscribed: a retained message tells.
async fn subscribed(broker: &Broker) -> MqttStream {
    broker.publisher().publish("other/ready/x", true, "0").await;
    let mut stream = start(broker);
    let message = next(&mut stream).await;
    assert_eq!(one(&message).point, 3);
    message.ack.unwrap().durable();
    stream
}

#[tokio::test]
async fn every_message_is_kept_with_its_digits_and_its_reasons() {
    let broker = Broker::start();
    let mut stream = subscribed(&broker).await;
    let mut publisher = broker.publisher();
    let good = |mantissa| (SampleValue::Int(mantissa), vec![]);
    let text = |digits: &str| {
        (
            SampleValue::Text(digits.as_bytes().to_vec()),
            vec![(Quality::OFF_GRID, 0)],
        )
    };
    let malformed = |detail| (SampleValue::Absent, vec![(Quality::MALFORMED, detail)]);
    let cases = [
        ("21.5", good(2_150)),
        ("21.50", good(2_150)),
        (" -0.25\n", good(-25)),
        ("1.5e1", good(1_500)),
        ("21.503", text("21.503")),
        (
            "1000.01",
            (SampleValue::Int(100_001), vec![(Quality::OUT_OF_RANGE, 0)]),
        ),
        ("on", malformed(3)),
        ("", malformed(3)),
    ];
    // All at once, so that many fall into one tick: none may push out another.
    for (payload, _) in &cases {
        publisher.publish("site/flow", false, *payload).await;
    }
    for (payload, (value, qualities)) in cases {
        let message = next(&mut stream).await;
        let sample = one(&message);
        assert_eq!(
            (sample.point, &sample.value, &sample.qualities),
            (0, &value, &qualities),
            "{payload:?}"
        );
    }
    let state = r#"{"p": 3.25, "deep": [{"t": "300.1"}]}"#;
    for (payload, p, t) in [
        (state, good(325), good(30_010)),
        ("{", malformed(1), malformed(1)),
        ("{}", malformed(2), malformed(2)),
    ] {
        publisher.publish("site/state", false, payload).await;
        let message = next(&mut stream).await;
        let found: Vec<_> = message
            .samples
            .into_iter()
            .map(|sample| (sample.point, (sample.value, sample.qualities)))
            .collect();
        assert_eq!(found, [(1, p), (2, t)], "{payload}");
    }
}

#[tokio::test]
async fn a_retained_message_is_flagged_and_a_new_one_is_not() {
    let broker = Broker::start();
    let mut publisher = broker.publisher();
    publisher.publish("site/flow", true, "20").await;
    let mut stream = start(&broker);
    let message = next(&mut stream).await;
    assert_eq!(one(&message).value, SampleValue::Int(2_000));
    assert_eq!(one(&message).qualities, [(Quality::RETAINED, 0)]);
    publisher.publish("site/flow", true, "21").await;
    let message = next(&mut stream).await;
    assert_eq!(*one(&message), PointSample::good(0, 2_100));
}

#[tokio::test]
async fn what_was_not_acknowledged_comes_again_and_what_was_does_not() {
    let broker = Broker::start();
    let mut stream = subscribed(&broker).await;
    let mut publisher = broker.publisher();
    publisher.publish("site/flow", false, "1").await;
    publisher.publish("site/flow", false, "2").await;
    let first = next(&mut stream).await;
    assert_eq!(one(&first).value, SampleValue::Int(100));
    assert_eq!(one(&next(&mut stream).await).value, SampleValue::Int(200));
    first.ack.unwrap().durable();
    // Stopped between the first message's sync and the second's.
    stream.close().await;
    publisher.publish("site/flow", false, "3").await;
    let mut stream = start(&broker);
    let mut values = Vec::new();
    while values.len() < 2 {
        let message = next(&mut stream).await;
        if one(&message).point == 0 {
            values.push(one(&message).value.clone());
            message.ack.unwrap().durable();
        }
    }
    assert_eq!(values, [SampleValue::Int(200), SampleValue::Int(300)]);
    stream.close().await;
    // Nothing is left: the next message is new.
    publisher.publish("site/flow", false, "4").await;
    let mut stream = start(&broker);
    loop {
        let message = next(&mut stream).await;
        if one(&message).point == 0 {
            assert_eq!(one(&message).value, SampleValue::Int(400));
            break;
        }
    }
}

#[tokio::test]
async fn an_acknowledgement_given_while_closing_still_reaches_the_broker() {
    let broker = Broker::start();
    let mut stream = subscribed(&broker).await;
    let mut publisher = broker.publisher();
    publisher.publish("site/flow", false, "1").await;
    let ack = next(&mut stream).await.ack.unwrap();
    // The recorder stops receiving first and syncs its journal then.
    tokio::join!(stream.close(), async {
        tokio::task::yield_now().await;
        ack.durable();
    });
    publisher.publish("site/flow", false, "2").await;
    let mut stream = start(&broker);
    let mut message = next(&mut stream).await;
    while one(&message).point != 0 {
        message = next(&mut stream).await;
    }
    assert_eq!(
        one(&message).value,
        SampleValue::Int(200),
        "the first was acknowledged"
    );
}

#[tokio::test]
async fn a_lost_broker_is_a_sample_and_an_old_acknowledgement_does_not_reach_the_new_connection() {
    let mut broker = Broker::start();
    let mut stream = subscribed(&broker).await;
    broker.publisher().publish("site/flow", false, "7").await;
    let old = next(&mut stream).await;
    broker.stop();
    let marker = stream.next().await.unwrap();
    assert!(marker.ack.is_none());
    let expected: Vec<_> = (0..4)
        .map(|point| PointSample::absent(point, Quality::DISCONNECTED, 0))
        .collect();
    assert_eq!(marker.samples, expected);
    broker.resume();
    let flow = |message: &Message| one(message).point == 0;
    let mut again = next(&mut stream).await;
    while !flow(&again) {
        again = next(&mut stream).await;
    }
    assert_eq!(one(&again).value, SampleValue::Int(700), "redelivered");
    // Given for the first delivery, after the second: must not acknowledge anything now.
    old.ack.unwrap().durable();
    drop(again);
    stream.close().await;
    let mut stream = start(&broker);
    let mut third = next(&mut stream).await;
    while !flow(&third) {
        third = next(&mut stream).await;
    }
    assert_eq!(one(&third).value, SampleValue::Int(700));
    third.ack.unwrap().durable();
    stream.close().await;
}

#[tokio::test]
async fn a_message_too_large_is_seen_and_the_next_one_still_comes() {
    let broker = Broker::start();
    let mut stream = subscribed(&broker).await;
    let mut publisher = broker.publisher();
    publisher
        .publish("site/flow", false, vec![b'1'; 3 << 20])
        .await;
    publisher.publish("site/flow", false, "5").await;
    assert_eq!(
        one(&next(&mut stream).await).qualities,
        [(Quality::MALFORMED, 4)]
    );
    assert_eq!(one(&next(&mut stream).await).value, SampleValue::Int(500));
}

#[tokio::test]
async fn topics_of_an_earlier_configuration_are_unsubscribed_and_new_ones_are_not_missed() {
    let broker = Broker::start();
    subscribed(&broker).await.close().await;
    // The same session, but the file now names another topic.
    let mut changed = config(broker.port, "");
    changed.mqtt[0].points.remove(0);
    let [mut stream] = <[MqttStream; 1]>::try_from(mqtt::start(&changed).unwrap()).unwrap();
    let mut publisher = broker.publisher();
    // The session still has the old topic; it must not hold up the new ones.
    publisher.publish("site/flow", false, "1").await;
    publisher.publish("site/state", false, r#"{"p":1}"#).await;
    loop {
        let message = next(&mut stream).await;
        if message.samples.len() == 2 {
            assert_eq!(message.samples[0], PointSample::good(0, 100));
            break;
        }
    }
}

#[tokio::test]
async fn a_broker_with_tls_sees_the_gateways_certificate() {
    let file = |dir: &Path, name: &str, text: &str| {
        std::fs::File::create(dir.join(name))
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    };
    let tls_port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let broker = Broker::with(|dir| {
        let named = |name: &str, host: Vec<String>| {
            let mut params = CertificateParams::new(host).unwrap();
            params
                .distinguished_name
                .push(rcgen::DnType::CommonName, name);
            params
        };
        let mut params = named("ca", vec![]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let ca = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        file(dir, "ca.pem", &ca.pem());
        for name in ["server", "client"] {
            let key = KeyPair::generate().unwrap();
            let names = if name == "server" {
                vec!["localhost".to_owned()]
            } else {
                vec![]
            };
            let cert = named(name, names).signed_by(&key, &issuer).unwrap();
            file(dir, &format!("{name}.pem"), &cert.pem());
            file(dir, &format!("{name}.key"), &key.serialize_pem());
        }
        let dir = dir.display();
        format!(
            "allow_anonymous true\nlistener {tls_port} 127.0.0.1\ncafile {dir}/ca.pem\ncertfile {dir}/server.pem\nkeyfile {dir}/server.key\nrequire_certificate true\n"
        )
    });
    let dir = broker.dir.path().display();
    let tls = format!(
        "[mqtt.tls]\nca_file = \"{dir}/ca.pem\"\ncert_file = \"{dir}/client.pem\"\nkey_file = \"{dir}/client.key\"\n"
    );
    let settings = config(tls_port, &tls);
    let [mut stream] = <[MqttStream; 1]>::try_from(mqtt::start(&settings).unwrap()).unwrap();
    broker.publisher().publish("site/flow", true, "9").await;
    assert_eq!(one(&next(&mut stream).await).value, SampleValue::Int(900));
    // Without the certificate there is no way in, and the source says so.
    let bare = config(
        tls_port,
        &format!("[mqtt.tls]\nca_file = \"{dir}/ca.pem\"\n"),
    );
    let [mut refused] = <[MqttStream; 1]>::try_from(mqtt::start(&bare).unwrap()).unwrap();
    assert!(refused.next().await.unwrap().ack.is_none());
    let missing = config(
        tls_port,
        &format!("[mqtt.tls]\nca_file = \"{dir}/none.pem\"\n"),
    );
    let error = mqtt::start(&missing).unwrap_err().to_string();
    assert_eq!(error, format!("broker `b`: read ca_file {dir}/none.pem"));
}

#[tokio::test]
async fn reading_once_tells_which_topics_are_silent() {
    let broker = Broker::start();
    broker.publisher().publish("site/flow", true, "12.3").await;
    let settings = config(broker.port, "");
    let rows = read_once(&settings, Duration::from_secs(1), &SystemRandom::new())
        .await
        .unwrap();
    let lines: Vec<_> = rows
        .iter()
        .map(|row| (row.value.as_deref(), row.quality.as_str()))
        .collect();
    assert_eq!(
        lines,
        [
            (Some("12.30"), "retained"),
            (None, "no message on topic site/state in 1 s"),
            (None, "no message on topic site/state in 1 s"),
            (None, "no message on topic other/+/x in 1 s"),
        ]
    );
}
