//! `commission`: what stands at the meter, beside what is sealed of it.
//!
//! A sheet says of one point what a person sees: tag, place, serial number, ratio, range, seals,
//! photos, and the number on the display. Beside the display stands what the log sealed for the same
//! tick, and whether the two agree by the rule of [`Allowance`]. The sheet is sealed as a statement
//! of the log, so its signature covers every word and the hash of every photo. A sheet that disagrees
//! is sealed as well: it says so.

use std::fmt::Write as _;

use evidence::decimal::{Decimal, format_mantissa};
use evidence::hash::Hash;
use evidence::measurement::PointKind;

use crate::clock::utc_text;

mod follow;
mod photos;
mod rule;

pub use follow::{FollowError, Follower, Sealed};
pub use photos::{Photo, folder, keep_photos, prepare};
pub use rule::{Allowance, Comparison, compare};

/// What a person states about one point. Empty texts were not stated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stated {
    /// The tag on the instrument or in the drawings.
    pub tag: String,
    /// Where it is.
    pub place: String,
    /// The serial number on the nameplate.
    pub serial: String,
    /// Current or voltage transformers, pulses.
    pub ratio: String,
    /// What the instrument measures from and to.
    pub range: String,
    /// The numbers of the seals that were found or set.
    pub seals: Vec<String>,
    /// Who looks and states all this.
    pub by: String,
    /// What else is worth saying.
    pub note: String,
}

/// What the configuration and the device say about the point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The log's name.
    pub origin: String,
    /// The point's name.
    pub point: String,
    /// Its unit.
    pub unit: String,
    /// Totaliser or momentary value.
    pub kind: PointKind,
    /// The device and where it is.
    pub device: String,
    /// What is read there and how, in words.
    pub reads: String,
    /// What the device says of itself, as name and value: identity, then settings.
    pub device_says: Vec<(String, String)>,
}

/// The number on the display.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Display {
    /// The number.
    pub value: Decimal,
    /// When it was read, unix milliseconds.
    pub read_ms: u64,
}

/// A sheet and whether it agrees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sheet {
    /// The text that is sealed.
    pub text: String,
    /// The hashes of the photos, in the order of the text.
    pub attachments: Vec<Hash>,
    /// Everything that disagrees; empty if all is well.
    pub disagreements: Vec<String>,
}

/// Writes the sheet.
#[must_use]
pub fn sheet(
    known: &Known,
    stated: &Stated,
    photos: &[Photo],
    display: Display,
    allowance: &Allowance,
    sealed: &Sealed,
) -> Sheet {
    let mut disagreements = Vec::new();
    let comparison = compare(display.value, known.kind, allowance, sealed);
    match &comparison {
        Some(found) if found.agrees => {}
        Some(found) => disagreements.push(format!(
            "display and sealed value differ by {} {}, allowed are {}",
            found.difference, known.unit, found.allowed
        )),
        None => disagreements.push(String::from("there is no sealed number to compare with")),
    }
    if sealed.quality != "good" {
        disagreements.push(format!("the sealed value is flagged: {}", sealed.quality));
    }
    let told = known
        .device_says
        .iter()
        .find(|(name, _)| name == "serial_number");
    if let Some((_, told)) = told
        && !stated.serial.is_empty()
        && !same_serial(told, &stated.serial)
    {
        disagreements.push(format!(
            "the nameplate says serial number {}, the device {told}",
            stated.serial
        ));
    }
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _infallible = write_sheet(
        &mut text,
        known,
        stated,
        photos,
        display,
        allowance,
        sealed,
        comparison.as_ref(),
    );
    let result = if disagreements.is_empty() {
        String::from("AGREES")
    } else {
        format!("DISAGREES: {}", disagreements.join("; "))
    };
    let _infallible = writeln!(text, "{:<15} {result}", "result");
    Sheet {
        text,
        attachments: photos.iter().map(|photo| photo.sha256).collect(),
        disagreements,
    }
}

/// Nameplates print leading zeros and blanks that a register cannot hold.
fn same_serial(told: &str, stated: &str) -> bool {
    let plain = |text: &str| {
        let kept: String = text
            .chars()
            .filter(|letter| letter.is_alphanumeric())
            .collect();
        kept.trim_start_matches('0').to_lowercase()
    };
    plain(told) == plain(stated)
}

#[expect(
    clippy::too_many_arguments,
    reason = "the parts of one sheet, each from another hand"
)]
fn write_sheet(
    out: &mut String,
    known: &Known,
    stated: &Stated,
    photos: &[Photo],
    display: Display,
    allowance: &Allowance,
    sealed: &Sealed,
    comparison: Option<&Comparison>,
) -> std::fmt::Result {
    let unit = &known.unit;
    let mut line = |name: &str, value: &str| {
        let value = if value.is_empty() {
            "not stated"
        } else {
            value
        };
        writeln!(out, "{name:<15} {value}")
    };
    line("commissioning", "sheet 1")?;
    line("log", &known.origin)?;
    line("point", &known.point)?;
    line("device", &known.device)?;
    line("reads", &known.reads)?;
    line("tag", &stated.tag)?;
    line("place", &stated.place)?;
    line("serial number", &stated.serial)?;
    let says = known.device_says.iter();
    let says: Vec<String> = says
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    let says = if says.is_empty() {
        String::from("nothing of itself")
    } else {
        says.join(", ")
    };
    line("device says", &says)?;
    line("ratio", &stated.ratio)?;
    line("range", &stated.range)?;
    line(
        "class",
        &allowance
            .class_percent
            .map_or_else(String::new, |class| format!("{class} %")),
    )?;
    line("seals", &stated.seals.join(", "))?;
    for photo in photos {
        line(
            "photo",
            &format!("{} SHA-256 {}", photo.name, photo.sha256.to_hex()),
        )?;
    }
    line("stated by", &stated.by)?;
    if !stated.note.is_empty() {
        line("note", &stated.note)?;
    }
    line(
        "display",
        &format!(
            "{} {unit}, read {}, resolution {}",
            display.value,
            utc_text(display.read_ms),
            allowance.resolution
        ),
    )?;
    let value = sealed.value.map_or_else(
        || String::from("no value"),
        |value| {
            format!(
                "{} {unit}",
                format_mantissa(i128::from(value), sealed.decimals)
            )
        },
    );
    line(
        "sealed",
        &format!(
            "{value}, {}, tick of {}, entry {}",
            sealed.quality,
            utc_text(sealed.at_ms),
            sealed.index
        ),
    )?;
    if let Some(found) = comparison {
        line(
            "sealed around",
            &format!(
                "{} to {} {unit}, within {} s of the moment",
                found.low,
                found.high,
                sealed.around_ms / 1_000
            ),
        )?;
        line("difference", &format!("{} {unit}", found.difference))?;
        line(
            "allowed",
            &format!("{} {unit}: {}", found.allowed, found.why),
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::same_serial;

    #[test]
    fn a_serial_number_is_the_same_with_the_zeros_and_blanks_of_a_nameplate() {
        assert!(same_serial("1234567", "0123 4567"));
        assert!(same_serial("SN-12ab", "sn12AB"));
        assert!(!same_serial("1234567", "1234568"));
    }
}
