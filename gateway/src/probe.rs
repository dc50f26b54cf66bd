//! `probe`: what a device's registers hold, read in every order at once.
//!
//! A manual says "float, address 30001" and leaves open from where it counts and which word comes
//! first. Whoever sees the raw words, both notations of the address and every order side by side,
//! with the meter's display at hand, knows after one look.

use std::fmt::Write as _;
use std::time::Duration;

use evidence::measurement::Table;
use serde::Serialize;

use crate::columns::{Side, align};
use crate::config::modicon_text;
use crate::inquiry::{Inquiry, Unanswered};
use crate::modbus::outcome::describe;
use crate::plan::Span;

/// The names of the orders, as the columns stand.
pub const ORDERS: [&str; 4] = ["ABCD", "CDAB", "BADC", "DCBA"];

/// What a device answered to one look at a range.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Probe {
    /// The unit asked.
    pub unit_id: u8,
    /// What the four numbers of `u32`, `i32` and `f32` stand for.
    pub orders: [&'static str; 4],
    /// `coil`, `discrete`, `input` or `holding`.
    pub table: &'static str,
    /// Every register or bit of the range.
    pub registers: Vec<Register>,
    /// Milliseconds the device took for the whole range, if it answered that.
    pub round_trip_ms: Option<u64>,
    /// Why the range was read register by register, if it was.
    pub refused: Option<String>,
}

/// One register or bit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Register {
    /// As it is sent, counted from 0.
    pub address: u16,
    /// As most manuals count it, from 1 with the table in front: `4x00001`.
    pub manual: String,
    /// The raw word, in hex; absent where the device has no such register.
    pub hex: Option<String>,
    /// What it may mean.
    #[serde(flatten)]
    pub meanings: Option<Meanings>,
}

/// What a word, alone and with the one behind it, may mean.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Meanings {
    /// Alone, bytes as they came (`AB`) and swapped (`BA`).
    pub u16: [u16; 2],
    /// The same, signed.
    pub i16: [i16; 2],
    /// With the next word, in the order of [`ORDERS`].
    pub pair: Option<Pair>,
}

/// What two words may mean, in the order of [`ORDERS`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pair {
    /// Unsigned.
    pub u32: [u32; 4],
    /// Signed.
    pub i32: [i32; 4],
    /// Floating point; `null` in JSON where it is no number.
    pub f32: [f32; 4],
}

impl Pair {
    /// Reads two words in all four orders.
    #[must_use]
    pub fn of(first: u16, second: u16) -> Self {
        let ([a, b], [c, d]) = (first.to_be_bytes(), second.to_be_bytes());
        let orders = [[a, b, c, d], [c, d, a, b], [b, a, d, c], [d, c, b, a]];
        Self {
            u32: orders.map(u32::from_be_bytes),
            i32: orders.map(i32::from_be_bytes),
            f32: orders.map(f32::from_be_bytes),
        }
    }
}

impl Meanings {
    /// Reads a word alone and with the next one, if there is one.
    #[must_use]
    pub fn of(word: u16, next: Option<u16>) -> Self {
        let both = [word.to_be_bytes(), word.to_le_bytes()];
        Self {
            u16: both.map(u16::from_be_bytes),
            i16: both.map(i16::from_be_bytes),
            pair: next.map(|next| Pair::of(word, next)),
        }
    }
}

/// The registers of a range from its words; a missing word is a register the device does not have.
#[must_use]
pub fn registers(span: Span, words: &[Option<u16>]) -> Vec<Register> {
    let word = |place: usize| words.get(place).copied().flatten();
    let addresses = span.address..=u16::MAX;
    addresses
        .zip(0..words.len())
        .map(|(address, place)| {
            let found = word(place);
            Register {
                address,
                manual: modicon_text(span.table, address),
                hex: found.map(|word| {
                    if span.is_bits() {
                        word.to_string()
                    } else {
                        format!("{word:04X}")
                    }
                }),
                meanings: found
                    .filter(|_| !span.is_bits())
                    .map(|word_here| Meanings::of(word_here, word(place + 1))),
            }
        })
        .collect()
}

/// Reads a range: with one request, or register by register where the device refuses the range.
///
/// # Errors
/// The device does not answer, or has not one of the registers.
pub async fn probe(line: &Inquiry, unit: u8, span: Span) -> Result<Probe, Unanswered> {
    let (words, round_trip, refused) = match line.read(unit, span).await {
        Ok((words, took)) => (words.into_iter().map(Some).collect(), Some(took), None),
        Err(refusal @ Unanswered::Refused(2 | 3)) if span.count > 1 => {
            let words: Vec<Option<u16>> = one_by_one(line, unit, span).await?;
            if words.iter().all(Option::is_none) {
                return Err(refusal);
            }
            (words, None, Some(refusal.to_string()))
        }
        Err(why) => return Err(why),
    };
    Ok(Probe {
        unit_id: unit,
        orders: ORDERS,
        table: span.table.name(),
        registers: registers(span, &words),
        round_trip_ms: round_trip.map(millis),
        refused,
    })
}

async fn one_by_one(line: &Inquiry, unit: u8, span: Span) -> Result<Vec<Option<u16>>, Unanswered> {
    let mut words = Vec::new();
    for address in (span.address..=u16::MAX).take(usize::from(span.count)) {
        let single = Span {
            address,
            count: 1,
            ..span
        };
        match line.read(unit, single).await {
            Ok((found, _)) => words.push(found.first().copied()),
            Err(Unanswered::Refused(_)) => words.push(None),
            Err(why) => return Err(why),
        }
    }
    Ok(words)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A probe for people, within 80 columns.
#[must_use]
pub fn table(probe: &Probe, span: Span) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _infallible = write_table(&mut text, probe, span);
    text
}

fn write_table(out: &mut String, probe: &Probe, span: Span) -> std::fmt::Result {
    match (probe.round_trip_ms, &probe.refused) {
        (_, Some(why)) => {
            writeln!(
                out,
                "Unit {} refuses {} in one request: {why}.",
                probe.unit_id,
                describe(span)
            )?;
            writeln!(out, "Each was read alone; - marks what it does not have.")?;
        }
        (took, None) => {
            let took = took.unwrap_or_default();
            writeln!(
                out,
                "Unit {}: {} in {took} ms",
                probe.unit_id,
                describe(span)
            )?;
        }
    }
    writeln!(out)?;
    for line in lines(&probe.registers, span.table) {
        writeln!(out, "{line}")?;
    }
    for (from, letters) in texts(&probe.registers) {
        writeln!(out, "Text from {from}: \"{letters}\"")?;
    }
    Ok(())
}

/// The registers as a table: one row for each way to read them, one column for each order.
#[must_use]
pub fn lines(registers: &[Register], table: Table) -> Vec<String> {
    if matches!(table, Table::Coil | Table::Discrete) {
        let head = ["PDU", "manual", "bit"].map(str::to_owned).to_vec();
        let rows = registers.iter().map(|register| {
            vec![
                register.address.to_string(),
                register.manual.clone(),
                register.hex.clone().unwrap_or_else(|| "-".to_owned()),
            ]
        });
        let rows: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
        return align(&rows, &[Side::Right, Side::Left, Side::Right]);
    }
    let mut head = ["PDU", "manual", "word", "as"].map(str::to_owned).to_vec();
    head.extend(ORDERS.map(str::to_owned));
    let mut rows = vec![head];
    for register in registers {
        rows.extend(rows_of(register));
    }
    let left = [Side::Right, Side::Left, Side::Left, Side::Left];
    let sides: Vec<Side> = left.into_iter().chain([Side::Right; 4]).collect();
    align(&rows, &sides)
}

fn rows_of(register: &Register) -> Vec<Vec<String>> {
    let Register {
        address,
        manual,
        hex,
        meanings,
    } = register;
    let start = |text: String| vec![address.to_string(), manual.clone(), text];
    let Some(meanings) = meanings else {
        return vec![start("-".to_owned())];
    };
    // Alone there are two orders: as it came, and with its bytes swapped.
    let alone = |[as_came, swapped]: [String; 2]| [as_came, String::new(), swapped, String::new()];
    let mut readings: Vec<(&str, [String; 4])> =
        vec![("u16", alone(meanings.u16.map(|value| value.to_string())))];
    if meanings.i16.iter().any(|value| *value < 0) {
        readings.push(("i16", alone(meanings.i16.map(|value| value.to_string()))));
    }
    if let Some(pair) = &meanings.pair {
        readings.push(("u32", pair.u32.map(|value| value.to_string())));
        if pair.i32.iter().any(|value| *value < 0) {
            readings.push(("i32", pair.i32.map(|value| value.to_string())));
        }
        readings.push(("f32", pair.f32.map(float)));
    }
    let mut rows = Vec::new();
    for (place, (name, values)) in readings.into_iter().enumerate() {
        let mut row = if place == 0 {
            start(hex.clone().unwrap_or_default())
        } else {
            vec![String::new(); 3]
        };
        row.push(name.to_owned());
        row.extend(values);
        rows.push(row);
    }
    rows
}

/// At most 11 characters: as few digits as tell the number apart, or four of them and the power of ten.
fn float(value: f32) -> String {
    let plain = value.to_string();
    if plain.len() <= 11 {
        plain.to_lowercase()
    } else if value.abs() >= 0.1 && value.abs() < 1e7 {
        format!("{value:.6}").chars().take(11).collect()
    } else {
        format!("{value:.3e}")
    }
}

/// Runs of at least six letters and figures, two to a register, as identity registers hold them; less
/// is often a number.
fn texts(registers: &[Register]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut run: Option<(String, String)> = None;
    let mut close = |run: &mut Option<(String, String)>| {
        found.extend(run.take().filter(|(_, text)| text.trim().len() >= 6));
    };
    for register in registers {
        let word = register.meanings.as_ref().map(|meanings| meanings.u16[0]);
        let letters = word.map(u16::to_be_bytes).filter(|bytes| {
            bytes
                .iter()
                .all(|byte| byte.is_ascii_graphic() || *byte == b' ')
        });
        match letters {
            Some(bytes) => {
                let (_, text) = run.get_or_insert_with(|| (register.manual.clone(), String::new()));
                text.extend(bytes.map(char::from));
            }
            None => close(&mut run),
        }
    }
    close(&mut run);
    found
}

#[cfg(test)]
mod tests {
    use evidence::measurement::Table;
    use proptest::prelude::{any, prop_assert, proptest};

    use super::{Pair, lines, registers, texts};
    use crate::columns::TERMINAL;
    use crate::plan::Span;

    fn holding(address: u16, count: u16) -> Span {
        Span {
            table: Table::Holding,
            address,
            count,
        }
    }

    #[test]
    fn two_words_are_read_in_all_four_orders() {
        // 230.2 as IEEE 754 single is 43 66 33 33.
        let pair = Pair::of(0x4366, 0x3333);
        assert_eq!(
            pair.u32,
            [0x4366_3333, 0x3333_4366, 0x6643_3333, 0x3333_6643]
        );
        assert_eq!(pair.f32[0].to_string(), "230.2");
        let swapped = Pair::of(0x3333, 0x4366);
        assert_eq!(swapped.f32[1].to_string(), "230.2");
        let bytes = Pair::of(0x6643, 0x3333);
        assert_eq!(bytes.f32[2].to_string(), "230.2");
        let little = Pair::of(0x3333, 0x6643);
        assert_eq!(little.f32[3].to_string(), "230.2");
        assert_eq!(Pair::of(0xFFFF, 0xFFFE).i32[0], -2);
    }

    #[test]
    fn a_table_shows_raw_words_both_addresses_and_every_order() {
        let found = registers(holding(107, 3), &[Some(0x4366), Some(0x3333), None]);
        let text = lines(&found, Table::Holding).join("\n");
        assert_eq!(
            text,
            "\
PDU  manual   word  as         ABCD       CDAB        BADC       DCBA
107  4x00108  4366  u16       17254                  26179
                    u32  1130771251  858997606  1715680051  859006531
                    f32       230.2   4.174e-8    2.305e23   4.177e-8
108  4x00109  3333  u16       13107                  13107
109  4x00110  -"
        );
    }

    #[test]
    fn signed_rows_appear_where_they_say_something_else() {
        let found = registers(holding(0, 2), &[Some(0xFFFF), Some(0xFFFE)]);
        let text = lines(&found, Table::Holding).join("\n");
        for expected in ["i16          -1", "i32          -2", "f32         nan"] {
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn text_in_registers_is_shown_as_text() {
        let found = registers(
            holding(0, 5),
            &[
                Some(0x5344),
                Some(0x4D36),
                Some(0x3330),
                Some(1),
                Some(0x4142),
            ],
        );
        assert_eq!(texts(&found), [("4x00001".to_owned(), "SDM630".to_owned())]);
    }

    proptest! {
        #[test]
        fn every_table_fits_the_terminal(
            words in proptest::collection::vec(any::<Option<u16>>(), 1..20), address in any::<u16>(),
        ) {
            let count = u16::try_from(words.len()).unwrap();
            let found = registers(holding(address, count), &words);
            for line in lines(&found, Table::Holding) {
                prop_assert!(line.chars().count() <= TERMINAL, "{line}");
            }
        }
    }
}
