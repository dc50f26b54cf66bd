//! What a spot check found, as text and as data.

use std::fmt::Write as _;

use evidence::decimal::Decimal;
use evidence::quality::Quality;
use evidence::spot::{Raw, USUAL_BYTES};
use serde_json::{Value, json};

use super::{Outcome, Proven};
use crate::print::number;
use crate::terminal::{harmless, wrapped_from};

/// The form of the JSON.
pub(super) const FORMAT: &str = "fieldseal-spot-check/1";

/// The time of a reading; from a file alone it is a tick, which a clock event may have shifted.
fn time(proven: &Proven) -> String {
    match (proven.at_ms, &proven.meaning) {
        (Some(at_ms), _) => quantification::period::utc(at_ms),
        (None, Some(meaning)) => {
            let from = i64::try_from(proven.reading.tick)
                .ok()
                .and_then(|tick| tick.checked_mul(i64::from(meaning.tick_ms)));
            let offset = proven.reading.offset_ms.map_or(0, i64::from);
            from.and_then(|from| from.checked_add(offset)).map_or_else(
                || format!("tick {}", proven.reading.tick),
                quantification::period::utc,
            )
        }
        (None, None) => format!("tick {}", proven.reading.tick),
    }
}

fn name(proven: &Proven) -> String {
    proven.meaning.as_ref().map_or_else(
        || format!("point {}", proven.reading.point),
        |meaning| meaning.name.clone(),
    )
}

fn value(proven: &Proven) -> String {
    let raw = match &proven.reading.raw {
        Raw::Number(number) => format!("raw {number}"),
        Raw::Text(text) => match std::str::from_utf8(text) {
            Ok(text) if !text.chars().any(char::is_control) => format!("\"{text}\""),
            _ => format!("raw {}", hex::encode(text)),
        },
        Raw::Nothing => "no message".to_owned(),
    };
    let Some(meaning) = &proven.meaning else {
        return raw;
    };
    let value = meaning
        .value
        .and_then(|value| Decimal::new(value, meaning.decimals));
    match (value, &meaning.scaled_by) {
        (Some(value), _) if meaning.unit == "1" => value.to_string(),
        (Some(value), _) => format!("{value} {}", meaning.unit),
        (None, Some(factor)) => format!("{raw}, scaled by {factor}"),
        (None, None) => raw,
    }
}

fn quality(proven: &Proven) -> &'static str {
    let said = proven.reading.said.first().map(|said| said.quality);
    let quality = proven
        .meaning
        .as_ref()
        .map(|meaning| meaning.quality)
        .or(said);
    quality
        .filter(|quality| *quality != Quality::GOOD)
        .map_or("good", Quality::name)
}

pub(super) fn text(outcome: &Outcome) -> String {
    let mut out = String::new();
    let mut line = |text: &str| wrapped_from(&mut out, 0, &harmless(text));
    if outcome.entries > 0 {
        line(&format!(
            "{} entries passed in order, every root reproduced up to the cosigned one",
            number(outcome.entries)
        ));
    }
    if let Some(seed) = &outcome.seed {
        line(&format!(
            "drawn from {} readings with --seed {seed}",
            number(outcome.drawn_from)
        ));
    }
    let rows: Vec<[String; 6]> = outcome
        .proven
        .iter()
        .map(|proven| {
            [
                number(proven.reading.index),
                time(proven),
                name(proven),
                value(proven),
                quality(proven).to_owned(),
                number(u64::try_from(proven.bytes).unwrap_or(u64::MAX)),
            ]
        })
        .collect();
    if !rows.is_empty() {
        line("");
        let heads = ["entry", "time", "point", "value", "quality", "bytes"].map(str::to_owned);
        let widths: Vec<usize> = (0..heads.len())
            .map(|column| {
                let cells = rows.iter().chain([&heads]);
                let length =
                    |row: &[String; 6]| row.get(column).map_or(0, |cell| cell.chars().count());
                cells.map(length).max().unwrap_or(0)
            })
            .collect();
        for row in [&heads].into_iter().chain(&rows) {
            let mut text = String::new();
            for ((cell, width), column) in row.iter().zip(&widths).zip(0..) {
                let right = matches!(column, 0 | 3 | 5);
                let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
                let (left, after) = if right {
                    (&padding, cell)
                } else {
                    (cell, &padding)
                };
                write!(text, "{left}{after}  ").expect("a String takes every write");
            }
            line(text.trim_end());
        }
        line("");
    }
    // In a bundle the whole control chain was checked; two files alone cannot show that.
    let loose = |proven: &&Proven| {
        let meaning = proven.meaning.as_ref();
        outcome.entries == 0 && meaning.is_some_and(|meaning| !meaning.pinned)
    };
    let loose = outcome.proven.iter().filter(loose).count();
    if loose > 0 {
        line(&format!(
            "of {loose} readings, name and scale are those of the last table given; other control \
             entries were sealed between the two, and only the whole bundle shows that none of them is \
             a newer table"
        ));
    }
    let mut folders: Vec<&str> = outcome
        .proven
        .iter()
        .filter_map(|p| p.file.as_deref())
        .collect();
    folders.sort_unstable();
    if let Some(first) = folders.first() {
        let more = folders.len().saturating_sub(1);
        let files = if more == 0 {
            (*first).to_owned()
        } else {
            format!("{first} and {more} more")
        };
        line(&format!("files: {files}"));
    }
    for (_, _, failure) in &outcome.failures {
        line(&format!("FAILED       {failure}"));
    }
    let largest = outcome.proven.iter().map(|proven| proven.bytes).max();
    if let Some(largest) = largest {
        let within = if largest < USUAL_BYTES {
            "below"
        } else {
            "NOT below"
        };
        line(&format!(
            "{} of {} READINGS PROVEN; largest proof {} bytes, {within} {} bytes",
            number(u64::try_from(outcome.proven.len()).unwrap_or(u64::MAX)),
            number(
                u64::try_from(outcome.proven.len() + outcome.failures.len()).unwrap_or(u64::MAX)
            ),
            number(u64::try_from(largest).unwrap_or(u64::MAX)),
            number(u64::try_from(USUAL_BYTES).unwrap_or(u64::MAX)),
        ));
        line(&cosigned(outcome));
    } else {
        line("NO READING PROVEN");
    }
    line(
        "A proven reading is what the gateway sealed. Whether the sensor told the truth is not proven.",
    );
    line("This is not a verification opinion.");
    out
}

/// Who vouched, and until when it must have been sealed.
fn cosigned(outcome: &Outcome) -> String {
    let mut by: Vec<String> = Vec::new();
    for proven in &outcome.proven {
        for (witness, time) in &proven.reading.cosigned {
            let ms = i64::try_from(*time)
                .unwrap_or(i64::MAX / 1000)
                .saturating_mul(1000);
            let text = format!("{witness} at {}", quantification::period::utc(ms));
            if !by.contains(&text) {
                by.push(text);
            }
        }
    }
    if by.is_empty() {
        return "cosigned by nobody: the policy asks for no witness".to_owned();
    }
    format!(
        "quorum \"{}\" met: cosigned by {}",
        outcome.quorum,
        by.join(", ")
    )
}

pub(super) fn json(outcome: &Outcome) -> Value {
    let readings: Vec<Value> = outcome
        .proven
        .iter()
        .map(|proven| {
            let reading = &proven.reading;
            json!({
                "log": proven.origin,
                "entry": reading.index,
                "leaf": reading.leaf.to_hex(),
                "stream": reading.stream,
                "tick": reading.tick,
                "offset_ms": reading.offset_ms,
                "at_ms": proven.at_ms,
                "point": reading.point,
                "name": proven.meaning.as_ref().map(|meaning| &meaning.name),
                "unit": proven.meaning.as_ref().map(|meaning| &meaning.unit),
                "value": proven.meaning.as_ref().and_then(|meaning| {
                    Decimal::new(meaning.value?, meaning.decimals).map(|value| value.to_string())
                }),
                "raw": match &reading.raw {
                    Raw::Number(number) => json!(number),
                    Raw::Text(text) => json!(hex::encode(text)),
                    Raw::Nothing => Value::Null,
                },
                "quality": quality(proven),
                "table_pinned": proven.meaning.as_ref().map(|meaning| meaning.pinned),
                "size": reading.checkpoint.size,
                "root": reading.checkpoint.root.to_hex(),
                "cosigned": reading.cosigned,
                "bytes": proven.bytes,
                "file": proven.file,
            })
        })
        .collect();
    let failures: Vec<Value> = outcome
        .failures
        .iter()
        .map(|(code, exit, text)| json!({ "code": code, "exit": exit, "text": text }))
        .collect();
    json!({
        "format": FORMAT,
        "exit": outcome.exit(),
        "seed": outcome.seed,
        "drawn_from": outcome.drawn_from,
        "entries": outcome.entries,
        "quorum": outcome.quorum,
        "usual_bytes": USUAL_BYTES,
        "readings": readings,
        "failures": failures,
    })
}
