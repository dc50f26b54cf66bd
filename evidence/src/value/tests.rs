use proptest::prelude::*;

use super::{Decoder, Format, Kind, Order, json_mantissa};
use crate::decimal::Decimal;
use crate::measurement::{Point, PointKind, Source, Table};
use crate::quality::Quality;

const ORDERS: [Order; 4] = [Order::Abcd, Order::Cdab, Order::Badc, Order::Dcba];
const KINDS: [Kind; 14] = [
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
    Kind::Bcd64,
    Kind::Bits { low: 4, high: 7 },
    Kind::Bits { low: 0, high: 15 },
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
        scale_from: None,
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

#[test]
fn a_bit_field_is_the_number_of_its_bits_and_can_be_scaled() {
    let value =
        |low, high, raw| Decoder::new(&point(Kind::Bits { low, high }, "0.5", "0", 1)).value(raw);
    assert_eq!(value(4, 7, 0xabcd), Ok(0xc * 5));
    assert_eq!(value(0, 15, 0xffff), Ok(0xffff * 5));
    assert_eq!(value(14, 15, 0x8000), Ok(2 * 5));
}

#[test]
fn sixteen_digits_fit_where_the_number_is_exact() {
    let decoder = Decoder::new(&point(Kind::Bcd64, "1", "0", 0));
    assert_eq!(
        decoder.value(0x0123_4567_8901_2345),
        Ok(123_456_789_012_345)
    );
    let nines = 0x9999_9999_9999_9999_u64.cast_signed();
    assert_eq!(decoder.value(nines), Err(Quality::OUT_OF_RANGE));
}

#[test]
fn a_nan_among_the_sentinels_stands_for_every_nan() {
    let mut single = point(Kind::F32, "1", "0", 3);
    single.sentinels = vec![0x7fc0_0000];
    let decoder = Decoder::new(&single);
    for bits in [0x7fc0_0000_i64, 0x7fa0_0000, 0xffff_ffff, 0x7f80_0001] {
        assert_eq!(decoder.value(bits), Err(Quality::SENTINEL), "{bits:x}");
        assert_eq!(decoder.column(&mut [0, bits]), [(1, Quality::SENTINEL)]);
    }
    let infinity = i64::from(f32::INFINITY.to_bits());
    assert_eq!(decoder.value(infinity), Err(Quality::OUT_OF_RANGE));
    let mut double = point(Kind::F64, "1", "0", 3);
    double.sentinels = vec![f64::NAN.to_bits().cast_signed()];
    assert_eq!(Decoder::new(&double).value(-1), Err(Quality::SENTINEL));
}

#[test]
fn a_value_with_a_scale_factor_is_exact_or_not_good() {
    let mut point = point(Kind::U32, "1", "0", 2);
    point.scale_from = Some(1);
    point.sentinels = vec![0xffff_ffff];
    let decoder = Decoder::new(&point);
    let value = |raw, exponent| decoder.scaled_value(raw, Some(exponent));
    assert_eq!(value(1234, 0), Ok(123_400));
    assert_eq!(value(1234, -2), Ok(1234));
    assert_eq!(value(1230, -3), Ok(123), "a trailing zero is no digit");
    assert_eq!(value(1234, -3), Err(Quality::OFF_GRID));
    assert_eq!(value(0, -10), Ok(0));
    assert_eq!(value(7, 10), Ok(7_000_000_000_000));
    assert_eq!(value(7_000, 10), Ok(7_000_000_000_000_000));
    assert_eq!(value(70_000, 10), Err(Quality::OUT_OF_RANGE));
    for exponent in [-11, 11, -32_768, 32_767] {
        assert_eq!(value(1, exponent), Err(Quality::OUT_OF_RANGE), "{exponent}");
    }
    assert_eq!(value(0xffff_ffff, 0), Err(Quality::SENTINEL));
    assert_eq!(decoder.scaled_value(1, None), Err(Quality::OUT_OF_RANGE));
    // Without its factor the number is nothing: no other way in makes it one.
    assert_eq!(decoder.value(1234), Err(Quality::OUT_OF_RANGE));
    assert_eq!(
        decoder.column(&mut [1, 2]),
        [(0, Quality::OUT_OF_RANGE), (1, Quality::OUT_OF_RANGE)]
    );
}

#[test]
fn characters_are_put_in_order_and_lose_their_padding() {
    let text = |order, bytes: &[u8]| {
        Format {
            kind: Kind::Text,
            order,
        }
        .characters(bytes)
    };
    assert_eq!(text(Order::Abcd, b"SDM630\0\0"), "SDM630");
    assert_eq!(text(Order::Badc, b"DS6M03\0\0"), "SDM630");
    assert_eq!(text(Order::Abcd, b"  A 1   "), "A 1");
    assert_eq!(
        text(Order::Abcd, &[0x4d, 0x69, 0xdf, 0x20]),
        "Mi\u{df}",
        "Latin-1"
    );
    assert_eq!(text(Order::Abcd, "Wh°".as_bytes()), "Wh°", "UTF-8");
    assert_eq!(text(Order::Abcd, b"a\x07\nb"), "a\\u{7}\\nb");
    assert_eq!(text(Order::Abcd, &[0; 8]), "");
    assert_eq!(Format::text_bytes(&[0x5344, 0x4d36]), b"SDM6");
}

#[test]
fn names_of_types_read_back_and_others_are_none() {
    for kind in KINDS.into_iter().chain([Kind::Text, Kind::Number]) {
        assert_eq!(Kind::from_name(&kind.name()), Some(kind));
    }
    for name in [
        "bits7-4", "bits4-4", "bits4-16", "bits04-7", "bits", "bits-", "bits4", "bit16", "bit",
        "U16",
    ] {
        assert_eq!(Kind::from_name(name), None, "{name}");
    }
}

/// The rule itself, in plain floating point: one multiplication, ties to even.
fn float_agrees(format: Format, words: &[u16], x: f64) -> Result<(), TestCaseError> {
    let mut point = point(format.kind, "1", "0", 2);
    point.format = format;
    let scaled = (x * 100.0).round_ties_even();
    let fits = scaled.abs() < 9_007_199_254_740_992.0;
    let expected: Result<i64, Quality> = if fits {
        Ok(format!("{scaled:.0}").parse().unwrap())
    } else {
        Err(Quality::OUT_OF_RANGE)
    };
    prop_assert_eq!(
        Decoder::new(&point).value(format.raw(words).unwrap()),
        expected
    );
    Ok(())
}

/// A float as whole number times a power of two.
fn parts(x: f32) -> (i128, i32) {
    let bits = x.to_bits();
    let (exponent, fraction) = ((bits >> 23) & 0xff, i128::from(bits & 0x7f_ffff));
    let magnitude = if exponent == 0 {
        fraction
    } else {
        fraction | 0x80_0000
    };
    let exponent = i32::try_from(exponent.max(1)).unwrap() - 150;
    (
        if x.is_sign_negative() {
            -magnitude
        } else {
            magnitude
        },
        exponent,
    )
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

    /// Every type and order once more, from the letters of the order and the bytes on the wire.
    #[test]
    fn a_value_is_what_its_bytes_say_in_the_order_of_its_letters(
        words in proptest::array::uniform4(any::<u16>()),
        small in any::<bool>(),
        order in 0..4_usize,
        kind in 0..KINDS.len(),
    ) {
        let (kind, order) = (KINDS[kind], ORDERS[order]);
        let format = Format { kind, order };
        let mut words = words;
        if small {
            words[if matches!(order, Order::Abcd | Order::Badc) { 0 } else { 3 }] = 0;
        }
        let words = &words[..usize::from(format.words())];
        let wire: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        let letters = match (order, wire.len()) {
            (Order::Abcd | Order::Cdab, 2) => "AB",
            (_, 2) => "BA",
            (Order::Abcd, 4) => "ABCD",
            (Order::Cdab, 4) => "CDAB",
            (Order::Badc, 4) => "BADC",
            (Order::Dcba, 4) => "DCBA",
            (Order::Abcd, _) => "ABCDEFGH",
            (Order::Cdab, _) => "GHEFCDAB",
            (Order::Badc, _) => "BADCFEHG",
            (Order::Dcba, _) => "HGFEDCBA",
        };
        let mut value = vec![0_u8; wire.len()];
        for (byte, letter) in wire.iter().zip(letters.bytes()) {
            value[usize::from(letter - b'A')] = *byte;
        }
        let unsigned = value.iter().fold(0_i128, |sum, byte| sum * 256 + i128::from(*byte));
        let hex = format!("{unsigned:x}");
        let exact: Option<i128> = match kind {
            Kind::I16 => Some(i128::from(i16::from_be_bytes(value[..].try_into().unwrap()))),
            Kind::I32 => Some(i128::from(i32::from_be_bytes(value[..].try_into().unwrap()))),
            Kind::I64 => Some(i128::from(i64::from_be_bytes(value[..].try_into().unwrap()))),
            Kind::Bcd16 | Kind::Bcd32 | Kind::Bcd64 => hex.parse().ok(),
            Kind::Bit(bit) => Some(unsigned >> bit & 1),
            Kind::Bits { low, high } => {
                let width = high - low + 1;
                Some((unsigned >> low) % (1 << width))
            }
            Kind::F32 => {
                let x = f32::from_be_bytes(value[..].try_into().unwrap());
                float_agrees(format, words, f64::from(x))?;
                return Ok(());
            }
            Kind::F64 => {
                let x = f64::from_be_bytes(value[..].try_into().unwrap());
                float_agrees(format, words, x)?;
                return Ok(());
            }
            _ => Some(unsigned),
        };
        let (scale, offset, factor, addend) =
            if format.takes_no_scale() { ("1", "0", 100, 0) } else { ("0.25", "-3", 25, -300) };
        let mut point = point(kind, scale, offset, 2);
        point.format = format;
        let expected = exact
            .map(|exact| exact * factor + addend)
            .filter(|mantissa| mantissa.abs() < 1 << 53)
            .map(|mantissa| i64::try_from(mantissa).unwrap())
            .ok_or(Quality::OUT_OF_RANGE);
        prop_assert_eq!(Decoder::new(&point).value(format.raw(words).unwrap()), expected);
    }

    /// The mantissa of a float is the nearest one, up to the rounding of one multiplication.
    #[test]
    fn a_float_becomes_the_nearest_mantissa(x in -1e9_f32..1e9, decimals in 0_u8..6) {
        let decoder = Decoder::new(&point(Kind::F32, "1", "0", decimals));
        let mantissa = i128::from(decoder.value(i64::from(x.to_bits())).unwrap());
        let (whole, exponent) = parts(x);
        prop_assume!(exponent >= -60);
        let exact = whole * 10_i128.pow(u32::from(decimals));
        let (left, right, unit) = if exponent >= 0 {
            (mantissa, exact << exponent, 1)
        } else {
            (mantissa << -exponent, exact, 1_i128 << -exponent)
        };
        let slack = unit / 2 + (right.abs() >> 52) + 1;
        prop_assert!((left - right).abs() <= slack, "{x} {mantissa}");
    }

    #[test]
    fn a_scale_factor_multiplies_exactly(raw in any::<i32>(), zeros in 0_u32..6, exponent in -12_i64..12, decimals in 0_u8..8) {
        let raw = i64::from(raw) * 10_i64.pow(zeros);
        let mut point = point(Kind::I64, "1", "0", decimals);
        point.scale_from = Some(1);
        let found = Decoder::new(&point).scaled_value(raw, Some(exponent));
        // raw × 10^exponent = m × 10^-decimals, both sides times 10^20.
        let side = |number: i64, power: i64| i128::from(number).checked_mul(10_i128.pow(u32::try_from(power + 12).unwrap()));
        match found {
            Ok(mantissa) => {
                prop_assert!(exponent.abs() <= 10);
                prop_assert_eq!(side(raw, exponent), side(mantissa, -i64::from(decimals)));
            }
            Err(Quality::OFF_GRID) => {
                let digits = u32::try_from(-exponent - i64::from(decimals)).unwrap();
                prop_assert!(raw % 10_i64.pow(digits) != 0);
            }
            Err(quality) => {
                prop_assert_eq!(quality, Quality::OUT_OF_RANGE);
                let huge = side(raw, exponent + i64::from(decimals)).is_none_or(|m| m.abs() >= 10_i128.pow(12) << 53);
                prop_assert!(exponent.abs() > 10 || huge);
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
