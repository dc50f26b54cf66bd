use proptest::prelude::*;

use super::{
    Attachment, Field, Kind, LogState, Person, Record, RecordError, Replaces, Sort, Value,
};
use crate::decimal::Decimal;
use crate::hash::{Hash, sha256};

fn name() -> impl Strategy<Value = String> {
    "[A-Za-zé東0-9][ -~é東]{0,30}"
}

fn decimal() -> impl Strategy<Value = Decimal> {
    (-1_000_000_i64..1_000_000, 0_u8..=15)
        .prop_map(|(mantissa, decimals)| Decimal::new(mantissa, decimals).unwrap())
}

fn hash() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash)
}

fn value(sort: Sort) -> BoxedStrategy<Value> {
    match sort {
        Sort::Text => "[a-zü][ -~ü\n]{0,200}".prop_map(Value::Text).boxed(),
        Sort::Name => name().prop_map(Value::Text).boxed(),
        Sort::Date => (1900_u32..2200, 1_u32..=12, 1_u32..=28)
            .prop_map(|(y, m, d)| Value::Text(format!("{y:04}-{m:02}-{d:02}")))
            .boxed(),
        Sort::Time | Sort::Number => (0_u64..1 << 62).prop_map(Value::Number).boxed(),
        Sort::Decimal => decimal().prop_map(Value::Decimal).boxed(),
        Sort::Hash => hash().prop_map(Value::Hash).boxed(),
        Sort::Word(words) => proptest::sample::select(words)
            .prop_map(|word| Value::Text(word.to_owned()))
            .boxed(),
        Sort::Points => proptest::collection::vec([decimal(), decimal(), decimal()], 1..8)
            .prop_map(Value::Points)
            .boxed(),
        Sort::Logs => {
            proptest::collection::btree_map("[a-z.]{1,9}/gw", (any::<u32>(), hash()), 1..5)
                .prop_map(|logs| {
                    let each = logs.into_iter().map(|(origin, (size, root))| LogState {
                        origin,
                        size: u64::from(size),
                        root,
                    });
                    Value::Logs(each.collect())
                })
                .boxed()
        }
    }
}

fn field(field: Field) -> BoxedStrategy<Option<(&'static str, Value)>> {
    let some = value(field.sort).prop_map(move |value| Some((field.key, value)));
    if field.required {
        some.boxed()
    } else {
        prop_oneof![Just(None), some].boxed()
    }
}

/// Any record that obeys the rules of its fields; some break a rule between two of them.
fn record() -> impl Strategy<Value = Record> {
    proptest::sample::select(Kind::ALL.as_slice()).prop_flat_map(|kind| {
        let fields: Vec<_> = kind.fields().iter().map(|own| field(*own)).collect();
        let attachments = proptest::collection::btree_map(hash(), name(), 1..4);
        let replaces = proptest::option::of((0_u64..1 << 40, hash(), name()));
        (
            name(),
            [name(), name(), name()],
            attachments,
            replaces,
            fields,
        )
            .prop_map(
                move |(subject, [id, person, role], attachments, replaces, fields)| Record {
                    kind,
                    subject,
                    person: Person {
                        id,
                        name: person,
                        role,
                    },
                    attachments: attachments
                        .into_iter()
                        .map(|(hash, name)| Attachment { hash, name })
                        .collect(),
                    replaces: replaces.map(|(index, leaf, reason)| Replaces {
                        index,
                        leaf,
                        reason,
                    }),
                    fields: fields.into_iter().flatten().collect(),
                },
            )
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_and_has_no_other_writing(record in record()) {
        let bytes = record.encode();
        crate::cbor::validate(&bytes).unwrap();
        match Record::decode(record.kind, &bytes) {
            Ok(read) => prop_assert_eq!(read, record),
            Err(error) => {
                prop_assert!(matches!(error, RecordError::Rule(_)), "{}", error);
                prop_assert_eq!(record.check(), Err(error));
            }
        }
    }

    #[test]
    fn what_a_person_reads_can_be_entered_again(record in record()) {
        let texts: Vec<(&str, String)> =
            record.fields.iter().map(|(key, value)| (*key, value.text())).collect();
        let fields = texts.iter().map(|(key, text)| (*key, text.as_str()));
        let entered = Record::enter(
            record.kind,
            &record.subject,
            record.person.clone(),
            record.attachments.clone(),
            record.replaces.clone(),
            fields,
        );
        match record.check() {
            Ok(()) => prop_assert_eq!(entered, Ok(record)),
            Err(error) => prop_assert_eq!(entered, Err(error)),
        }
    }

    #[test]
    fn a_changed_byte_is_refused_or_is_another_record(record in record(), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut bytes = record.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(read) = Record::decode(record.kind, &bytes) {
            prop_assert_ne!(&read, &record);
            prop_assert_eq!(read.encode(), bytes);
        }
    }
}

fn person() -> Person {
    Person {
        id: "token 1".to_owned(),
        name: "R. Sato".to_owned(),
        role: "preparer".to_owned(),
    }
}

fn hand_value(fields: &[(&str, &str)]) -> Result<Record, RecordError> {
    let invoice = Attachment {
        hash: sha256(b"invoice"),
        name: "invoice.pdf".to_owned(),
    };
    let fields = fields.iter().copied();
    Record::enter(
        Kind::HandValue,
        "NCV",
        person(),
        vec![invoice],
        None,
        fields,
    )
}

const GOOD: [(&str, &str); 6] = [
    ("value", "43.0"),
    ("unit", "GJ/t"),
    ("from", "2026-01-01"),
    ("to", "2026-03-31"),
    ("option", "B"),
    ("source", "invoice 12"),
];

#[test]
fn fields_are_entered_in_any_order_and_a_mistake_names_its_field() {
    let record = hand_value(&GOOD).unwrap();
    assert_eq!(
        record.field("value"),
        Some(&Value::Decimal(Decimal::parse("43.0").unwrap()))
    );
    let wrong = |key: &str, text: &str| {
        let mut fields = GOOD;
        for field in &mut fields {
            if field.0 == key {
                field.1 = text;
            }
        }
        hand_value(&fields).unwrap_err().to_string()
    };
    for (key, text) in [
        ("value", "43,0"),
        ("value", "4.3e1"),
        ("unit", " "),
        ("unit", "a\nb"),
        ("from", "2026-02-29"),
        ("to", "2026-1-31"),
        ("option", "D"),
        ("source", ""),
    ] {
        assert!(
            wrong(key, text).contains(&format!("`{key}` must be")),
            "{key} {text}"
        );
    }
    assert_eq!(wrong("to", "2025-12-31"), "`to` is not before `from`");
    assert_eq!(hand_value(&GOOD[1..]), Err(RecordError::Missing("value")));
    let unknown: Vec<_> = GOOD.into_iter().chain([("colour", "red")]).collect();
    assert_eq!(
        hand_value(&unknown),
        Err(RecordError::Unknown("colour".to_owned()))
    );
}

#[test]
fn a_record_without_a_person_or_without_its_document_is_refused() {
    let mut record = hand_value(&GOOD).unwrap();
    record.person.name = " ".to_owned();
    assert!(matches!(
        Record::decode(Kind::HandValue, &record.encode()),
        Err(RecordError::Form { key: "person", .. })
    ));
    record.person = person();
    record.attachments.clear();
    assert!(matches!(record.check(), Err(RecordError::Attachments(_))));
    let twice = Attachment {
        hash: sha256(b"invoice"),
        name: "again.pdf".to_owned(),
    };
    record.attachments = vec![twice.clone(), twice];
    assert!(matches!(record.check(), Err(RecordError::Attachments(_))));
}

#[test]
fn no_own_field_has_the_name_of_a_common_one() {
    for kind in Kind::ALL {
        let keys = super::keys(kind);
        assert!(
            keys.is_sorted_by(|(a, _), (b, _)| (a.len(), a) < (b.len(), b)),
            "{}",
            kind.name()
        );
        assert_eq!(Kind::from_name(kind.name()), Some(kind));
        assert_eq!(Kind::from_number(kind.number()), Some(kind));
    }
    assert_eq!([Kind::from_number(31), Kind::from_number(43)], [None, None]);
}
