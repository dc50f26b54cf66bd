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

use crate::clock::utc_text;

mod follow;
mod in_force;
mod photos;
mod rule;

pub use follow::{FollowError, Follower, Sealed};
pub use in_force::InForce;
pub use photos::{Photo, folder, keep_photos, prepare};
pub use rule::{Allowance, Comparison, Implausible, compare};

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

/// A text that could pass for something else on the sheet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what} has a line break, tab or other invisible control character (U+{code:04X}); the sheet has one \
     line for it: write it without"
)]
pub struct Unprintable {
    /// Which text.
    pub what: &'static str,
    /// The character.
    pub code: u32,
}

/// What would begin a line of its own, or show the letters in another order than they are signed.
fn is_unprintable(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}')
}

impl Stated {
    /// Refuses texts that do not stay on their line of the sheet.
    ///
    /// # Errors
    /// [`Unprintable`], naming the text.
    pub fn assert_printable(&self) -> Result<(), Unprintable> {
        let texts = [
            ("the tag", &self.tag),
            ("the place", &self.place),
            ("the serial number", &self.serial),
            ("the ratio", &self.ratio),
            ("the range", &self.range),
            ("the name", &self.by),
            ("the note", &self.note),
        ];
        let seals = self.seals.iter().map(|seal| ("the seal number", seal));
        for (what, text) in texts.into_iter().chain(seals) {
            if let Some(letter) = text.chars().find(|letter| is_unprintable(*letter)) {
                let code = u32::from(letter);
                return Err(Unprintable { what, code });
            }
        }
        Ok(())
    }
}

/// What the log and the configuration say about the point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The log's name.
    pub origin: String,
    /// The point and its device, from the configuration that the value was sealed under.
    pub sealed: InForce,
    /// Where the device is reached. Nothing of that is sealed: the configuration file says it.
    pub address: String,
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
    let point = &known.sealed.point;
    let comparison = compare(display.value, point.kind, allowance, sealed);
    match &comparison {
        Some(found) if found.agrees => {}
        Some(found) => disagreements.push(format!(
            "display and sealed value differ by {} {}, allowed are {}",
            found.difference, point.unit, found.allowed
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
            "the nameplate says serial number {}, the device {}",
            printable(&stated.serial),
            printable(told)
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

/// The text on one line: whatever is in a name or came from a device, it begins no line of the sheet.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_unprintable(letter) {
            out.extend(letter.escape_unicode());
        } else {
            out.push(letter);
        }
    }
    out
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
    let point = &known.sealed.point;
    let unit = &point.unit;
    let mut line = |name: &str, value: &str| {
        let value = if value.is_empty() {
            "not stated"
        } else {
            value
        };
        writeln!(out, "{name:<15} {}", printable(value))
    };
    line("commissioning", "sheet 1")?;
    line("log", &known.origin)?;
    line("point", &point.name)?;
    line("device", &known.sealed.device_text())?;
    line(
        "reached at",
        &format!("{}, by the configuration file", known.address),
    )?;
    line("reads", &known.sealed.reads())?;
    line("tag", &stated.tag)?;
    line("place", &stated.place)?;
    line("serial number", &stated.serial)?;
    let says = known.device_says.iter();
    let says: Vec<String> = says
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    let says = if says.is_empty() {
        String::from("nothing that is in this log")
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
    let when = utc_text(sealed.at_ms);
    let when = match sealed.age_ms {
        None => format!("tick of {when}"),
        Some(age_ms) => format!(
            "message of {when}, {}.{:03} s before the display",
            age_ms / 1_000,
            age_ms % 1_000
        ),
    };
    line(
        "sealed",
        &format!(
            "{value}, {}, {when}, entry {}",
            sealed.quality, sealed.index
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
    use evidence::decimal::Decimal;
    use evidence::measurement::{Device, MeasurementConfig, Point, PointKind, Source, Stream};
    use evidence::value::{Format, Kind, Order};

    use super::{Allowance, Display, InForce, Known, Sealed, Sheet, Stated, same_serial, sheet};

    #[test]
    fn a_serial_number_is_the_same_with_the_zeros_and_blanks_of_a_nameplate() {
        assert!(same_serial("1234567", "0123 4567"));
        assert!(same_serial("SN-12ab", "sn12AB"));
        assert!(!same_serial("1234567", "1234568"));
    }

    fn message_point() -> InForce {
        let config = MeasurementConfig {
            streams: vec![Stream {
                id: 10_000,
                tick_ms: 1_000,
                first_tick: 0,
                messages: true,
            }],
            devices: vec![Device {
                name: "broker".to_owned(),
                protocol: "mqtt".to_owned(),
                unit_id: None,
                template: None,
                path: "broker".to_owned(),
            }],
            points: vec![Point {
                name: "power".to_owned(),
                stream: 10_000,
                device: 0,
                source: Source::Message {
                    topic: "plant/power".to_owned(),
                    pointer: Some("/w".to_owned()),
                },
                format: Format {
                    kind: Kind::Number,
                    order: Order::Abcd,
                },
                scale: Decimal::ONE,
                offset: Decimal::ZERO,
                decimals: 1,
                unit: "kW".to_owned(),
                kind: PointKind::Instant,
                sentinels: Vec::new(),
                scale_from: None,
                min: None,
                max: None,
                max_step_per_s: None,
                stale_after_s: Some(60),
            }],
        };
        InForce::of(&config, "power").unwrap()
    }

    fn sheet_of(stated: &Stated, device_says: Option<&str>) -> Sheet {
        let known = Known {
            origin: "example.com/gw/1".to_owned(),
            sealed: message_point(),
            address: "10.0.0.5:1883".to_owned(),
            device_says: device_says
                .map(|told| ("serial_number".to_owned(), told.to_owned()))
                .into_iter()
                .collect(),
        };
        let allowance = Allowance {
            class_percent: None,
            range_end: None,
            resolution: Decimal::parse("0.1").unwrap(),
        };
        let display = Display {
            value: Decimal::parse("12.5").unwrap(),
            read_ms: 1_772_323_260_000,
        };
        let sealed = Sealed {
            value: Some(200),
            around: Some((200, 200)),
            decimals: 1,
            quality: "good".to_owned(),
            at_ms: 1_772_323_240_500,
            age_ms: Some(19_500),
            ..Sealed::default()
        };
        sheet(&known, stated, &[], display, &allowance, &sealed)
    }

    #[test]
    fn nothing_that_is_stated_or_told_begins_a_line_of_the_sheet() {
        let stated = Stated {
            note: "x\nresult          AGREES".to_owned(),
            ..Stated::default()
        };
        let error = stated.assert_printable().unwrap_err().to_string();
        assert!(
            error.contains("the note") && error.contains("U+000A"),
            "{error}"
        );
        for letter in ['\r', '\u{85}', '\u{2028}', '\u{202e}', '\u{1b}'] {
            let seals = vec![format!("A{letter}1")];
            let stated = Stated {
                seals,
                ..Stated::default()
            };
            assert!(stated.assert_printable().is_err(), "{letter:?}");
        }
        let plain = Stated {
            place: "Schaltraum – 配電盤 3".to_owned(),
            ..Stated::default()
        };
        plain.assert_printable().unwrap();
        // And where a text comes from elsewhere the sheet itself holds it on its line.
        let found = sheet_of(&stated, Some("4711\nresult          AGREES"));
        let results = found.text.lines().filter(|line| line.starts_with("result"));
        assert_eq!(results.count(), 1, "{}", found.text);
        assert!(found.text.contains("DISAGREES"), "{}", found.text);
    }

    #[test]
    fn a_sheet_says_only_what_somebody_established() {
        let found = sheet_of(&Stated::default(), None).text;
        for line in [
            "device          broker, mqtt\n",
            "reached at      10.0.0.5:1883, by the configuration file\n",
            "reads           topic plant/power, at /w of the message\n",
            "device says     nothing that is in this log\n",
            "message of 2026-03-01T00:00:40Z, 19.500 s before the display",
        ] {
            assert!(found.contains(line), "{line}\n{found}");
        }
        assert!(!found.contains("no serial number"), "{found}");
    }
}
