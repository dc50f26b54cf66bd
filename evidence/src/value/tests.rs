use proptest::prelude::*;

use super::{Decoder, Format, Kind, Order, json_mantissa};
use crate::decimal::Decimal;
use crate::measurement::{Point, PointKind, Source, Table};
use crate::quality::Quality;

const ORDERS: [Order; 4] = [Order::Abcd, Order::Cdab, Order::Badc, Order::Dcba];
const KINDS: [Kind; 11] = [
    Kind::U16,
    Kind::I16,
    Kind::U32,
    Kind::I32,
    Kind::U64,
    Kind::I64,
    Kind::F32,
    Kind::F64,
    Kind::Bit(3),
    Kind::Bcd16,
    Kind::Bcd32,
];

fn point(kind: Kind, scale: &str, offset: &str, decimals: u8) -> Point {
    Point {
        name: "p".into(),
        stream: 0,
        device: 0,
        source: if kind == Kind::Number {
            Source::Message {
                topic: "t".into(),
                pointer: None,
            }
        } else {
            Source::Modbus {
                table: Table::Holding,
                address: 0,
                words: 1,
            }
        },
        format: Format {
            kind,
            order: Order::Abcd,
        },
        scale: Decimal::parse(scale).unwrap(),
        offset: Decimal::parse(offset).unwrap(),
        decimals,
        unit: "kWh".into(),
        kind: PointKind::Instant,
        sentinels: vec![],
        min: None,
        max: None,
        max_step_per_s: None,
        stale_after_s: None,
    }
}

#[test]
fn the_four_orders_put_the_same_bytes_where_their_letters_say() {
    let words = [0x4142, 0x4344];
    let raw = |order| {
        Format {
            kind: Kind::U32,
            order,
        }
        .raw(&words)
        .unwrap()
    };
    assert_eq!(raw(Order::Abcd), 0x4142_4344);
    assert_eq!(raw(Order::Cdab), 0x4344_4142);
    assert_eq!(raw(Order::Badc), 0x4241_4443);
    assert_eq!(raw(Order::Dcba), 0x4443_4241);
}

#[test]
fn signed_words_keep_their_sign() {
    assert_eq!(
        Format {
            kind: Kind::I16,
            order: Order::Abcd
        }
        .raw(&[0xffff]),
        Some(-1)
    );
    assert_eq!(
        Format {
            kind: Kind::I32,
            order: Order::Abcd
        }
        .raw(&[0xffff, 0xfffe]),
        Some(-2)
    );
    assert_eq!(
        Format {
            kind: Kind::U16,
            order: Order::Abcd
        }
        .raw(&[1, 2]),
        None,
        "two words are no u16"
    );
}

#[test]
fn scale_and_offset_are_exact() {
    let decoder = Decoder::new(&point(Kind::I16, "0.1", "-40.0", 1));
    assert_eq!(decoder.value(655), Ok(255), "65.5 − 40.0 = 25.5");
    assert_eq!(
        Decoder::new(&point(Kind::U64, "1", "0", 0)).value(-1),
        Err(Quality::OUT_OF_RANGE),
        "2^64 − 1"
    );
    assert_eq!(
        Decoder::new(&point(Kind::Bcd16, "1", "0", 0)).value(0x1234),
        Ok(1234)
    );
    assert_eq!(
        Decoder::new(&point(Kind::Bcd16, "1", "0", 0)).value(0x12a4),
        Err(Quality::OUT_OF_RANGE)
    );
    assert_eq!(
        Decoder::new(&point(Kind::Bit(3), "1", "0", 0)).value(0b1000),
        Ok(1)
    );
}

#[test]
fn floats_round_half_to_even_and_nan_is_no_value() {
    let decoder = Decoder::new(&point(Kind::F32, "1", "0", 0));
    let value = |x: f32| decoder.value(i64::from(x.to_bits()));
    assert_eq!(
        [value(0.5), value(1.5), value(-2.5)],
        [Ok(0), Ok(2), Ok(-2)]
    );
    assert_eq!(value(f32::NAN), Err(Quality::OUT_OF_RANGE));
    assert_eq!(value(f32::INFINITY), Err(Quality::OUT_OF_RANGE));
    assert_eq!(value(1e30), Err(Quality::OUT_OF_RANGE));
}

#[test]
fn a_sentinel_and_a_value_beyond_the_bounds_never_come_out_as_numbers() {
    let mut bounded = point(Kind::U16, "0.1", "0", 1);
    bounded.sentinels = vec![0xffff];
    bounded.max = Some(Decimal::parse("100").unwrap());
    let decoder = Decoder::new(&bounded);
    assert_eq!(decoder.value(0xffff), Err(Quality::SENTINEL));
    assert_eq!(decoder.value(1001), Err(Quality::OUT_OF_RANGE));
    let mut column = vec![1000, 1001, 5, 0xffff];
    assert_eq!(
        decoder.column(&mut column),
        [(1, Quality::OUT_OF_RANGE), (3, Quality::SENTINEL)]
    );
}

#[test]
fn json_numbers_fit_the_grid_exactly_or_not_at_all() {
    let grid = |text: &str| json_mantissa(text.as_bytes(), 3);
    assert_eq!(grid("12.5"), Some(12_500));
    assert_eq!(grid("-1.25e1"), Some(-12_500));
    assert_eq!(grid("125E-1"), Some(12_500));
    assert_eq!(grid("0.0001"), None);
    assert_eq!(grid("0.0010"), Some(1));
    assert_eq!(grid("0"), Some(0));
    assert_eq!(grid("-0.0"), Some(0));
    assert_eq!(grid("9007199254740.991"), Some((1 << 53) - 1));
    assert_eq!(grid("9007199254740.992"), None);
    for no_number in [
        "", "-", "01", "1.", ".5", "+1", "1e", "1e+", "NaN", " 1", "1 ", "0x1", "1e99999",
    ] {
        assert_eq!(grid(no_number), None, "{no_number}");
    }
}

proptest! {
    #[test]
    fn every_word_comes_back_from_its_column_value(words in proptest::array::uniform4(any::<u16>())) {
        for kind in KINDS {
            for order in ORDERS {
                let format = Format { kind, order };
                let words = &words[..usize::from(format.words())];
                let raw = format.raw(words).unwrap();
                prop_assert!(format.is_column_value(raw));
                prop_assert_eq!(format.wire_words(raw), words);
            }
        }
    }

    #[test]
    fn a_column_decodes_as_its_samples_do(
        raws in proptest::collection::vec(any::<i64>(), 0..20),
        narrow in proptest::collection::vec(0_i64..70_000, 0..20),
        kind in 0..KINDS.len(),
        sentinel in 0_i64..70_000,
    ) {
        let no_scale = Format { kind: KINDS[kind], order: Order::Abcd }.takes_no_scale();
        let mut point = point(KINDS[kind], if no_scale { "1" } else { "0.25" }, if no_scale { "0" } else { "-3" }, 2);
        point.sentinels = vec![sentinel];
        point.min = Decimal::parse("-1").ok();
        let decoder = Decoder::new(&point);
        for raws in [raws, narrow] {
            let mut column = raws.clone();
            let refused = decoder.column(&mut column);
            for (sample, raw) in raws.iter().enumerate() {
                match decoder.value(*raw) {
                    Ok(value) => prop_assert_eq!(column[sample], value),
                    Err(quality) => prop_assert!(refused.contains(&(sample, quality))),
                }
            }
        }
    }

    #[test]
    fn the_grid_of_a_json_number_agrees_with_exact_arithmetic(mantissa in -1_000_000_i64..1_000_000, decimals in 0_u8..6, grid in 0_u8..6) {
        let text = crate::decimal::format_mantissa(i128::from(mantissa), decimals);
        let exact = Decimal::new(mantissa, decimals).unwrap().on_grid(grid);
        prop_assert_eq!(json_mantissa(text.as_bytes(), grid), exact);
    }
}
