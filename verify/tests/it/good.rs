//! Honest bundles are proven, and every count is the one that was put in.

use evidence::control::{Control, approval_message};
use evidence::decimal::Decimal;
use evidence::key::SigningKey;
use evidence::measurement::{Point, Source, Table};
use evidence::value::Format;

use crate::support::{FROM_MS, Files, Gateway, HOUR_MS, Site, TO_MS, solar_day, witnesses};

#[test]
fn a_day_with_everything_that_can_happen_to_an_honest_gateway_is_proven() {
    let site = solar_day();
    let files = Files::new(&site);
    let mut files = files;
    files
        .extra
        .extend(["--gap-limit-percent".into(), "100".into()]);
    let outcome = files.check(&site.spec().write());
    assert_eq!(outcome.exit, 0, "{}\n{}", outcome.failure(), outcome.text);
    println!("{}", outcome.text);
    let log = &outcome.json["logs"][0];
    assert_eq!(log["first"], 20);
    assert_eq!(log["size"], site.gateways[0].size());
    assert_eq!(log["dropped"], 3);
    let stream = &log["streams"][0];
    assert_eq!(stream["expected"], 8_640);
    assert_eq!(stream["gaps"]["power"]["ticks"], 120);
    assert!(
        outcome.text.contains("DATA INTEGRITY: CONFIRMED"),
        "{}",
        outcome.text
    );
    assert!(
        outcome.text.contains("REPORT ARITHMETIC: REPRODUCED"),
        "{}",
        outcome.text
    );
    assert!(outcome.text.contains("This is not a verification opinion."));
}

#[test]
fn a_configuration_too_long_for_its_entry_travels_beside_it_and_approvals_are_told() {
    let witnesses = witnesses();
    let approver = SigningKey::from_seed([200; 32]);
    let mut gateway = Gateway::new("example.com/gw/0001", 1, FROM_MS - HOUR_MS);
    let many = |config: &mut evidence::measurement::MeasurementConfig| {
        for number in 0..60 {
            let mut point = config.points[1].clone();
            point.name = format!("spare.{number}");
            config.points.push(point);
        }
    };
    gateway.configure(many);
    gateway.sample(FROM_MS + 2 * HOUR_MS, &witnesses);
    for approved in [true, false] {
        gateway.configure(|config| {
            many(config);
            config.points[6].decimals = if approved { 7 } else { 8 };
        });
        let index = gateway.size() - 1;
        let leaf = *gateway.leaves.last().unwrap();
        let key = if approved {
            &approver
        } else {
            &SigningKey::from_seed([201; 32])
        };
        let signature = key.sign(&approval_message(&gateway.origin, index, &leaf));
        gateway.control(Control::Approval {
            index,
            leaf,
            key: key.public(),
            signature,
        });
        gateway.sample(gateway.now_ms + 2 * HOUR_MS, &witnesses);
    }
    gateway.sample(TO_MS + HOUR_MS, &witnesses);
    let mut site = Site::new(vec![gateway], witnesses);
    site.close();
    let mut files = Files::new(&site);
    let approver_hex: String = approver
        .public()
        .bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    files.extra.extend(["--approver".to_owned(), approver_hex]);
    let outcome = files.check(&site.spec().write());
    assert_eq!(outcome.exit, 0, "{}", outcome.failure());
    let events = outcome.json["logs"][0]["events"].as_array().unwrap();
    let changes: Vec<_> = events
        .iter()
        .filter(|event| event["changes_values"] == true)
        .collect();
    assert_eq!(changes.len(), 2);
    assert!(changes[0]["approved_by"].is_string() && changes[1]["approved_by"].is_null());
    assert!(
        outcome
            .text
            .contains("decimals of deep.power 7 -> 8 (NOT APPROVED"),
        "{}",
        outcome.text
    );
    let mut without = Files::new(&site);
    without.extra.truncate(4);
    assert_eq!(
        without.check(&site.spec().write()).exit,
        0,
        "both implementations read the body beside the entry"
    );
}

#[test]
fn scale_factors_texts_bit_fields_and_nan_mean_the_same_to_both_implementations() {
    let witnesses = witnesses();
    let mut gateway = Gateway::new("example.com/gw/0001", 1, FROM_MS - HOUR_MS);
    gateway.configure(|config| {
        let instant = |of: &Point, name: &str, format: &str| {
            let format = Format::from_names(format, "CDAB").unwrap();
            Point {
                name: name.to_owned(),
                source: Source::Modbus {
                    table: Table::Holding,
                    address: 200,
                    words: format.words().max(4),
                },
                format,
                scale: Decimal::ONE,
                decimals: 0,
                sentinels: Vec::new(),
                max: None,
                ..of.clone()
            }
        };
        let slow = config.points[5].clone();
        assert_eq!(slow.name, "aux.power");
        let mut factor = instant(&slow, "aux.factor", "i16");
        let mut field = instant(&slow, "aux.field", "bits2-6");
        let digits = instant(&slow, "aux.digits", "bcd64");
        let mut nan = instant(&slow, "aux.nan", "f32");
        nan.sentinels = vec![0x7FC0_0000];
        for (point, words) in [(&mut factor, 1), (&mut field, 1), (&mut nan, 2)] {
            point.source = Source::Modbus {
                table: Table::Holding,
                address: 200,
                words,
            };
        }
        let serial = instant(&slow, "aux.serial", "text");
        let first = u16::try_from(config.points.len()).unwrap();
        config.points[5].scale = Decimal::ONE;
        config.points[5].scale_from = Some(first);
        config.points.extend([factor, field, digits, nan, serial]);
    });
    gateway.sample(TO_MS + HOUR_MS, &witnesses);
    let mut site = Site::new(vec![gateway], witnesses);
    site.close();
    let mut files = Files::new(&site);
    files
        .extra
        .extend(["--gap-limit-percent".into(), "100".into()]);
    let outcome = files.check(&site.spec().write());
    assert_eq!(outcome.exit, 0, "{}\n{}", outcome.failure(), outcome.text);
    // Every reason that decoding can find was found, by both.
    let not_good = &outcome.json["logs"][0]["not_good"];
    for code in ["1", "32", "33", "40", "43"] {
        assert!(not_good[code].as_u64() > Some(0), "{code}: {not_good}");
    }
}
