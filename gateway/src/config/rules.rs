//! What a point's value can plausibly do, beyond its bounds: rules of the edge that flag.
//!
//! | key | rule | flag |
//! |---|---|---|
//! | `nameplate_per_h` | a register advances at most this much an hour: a meter of 100 kW behind a register in kWh has `"100"`. Becomes `max_step_per_s` = nameplate / 3600, rounded up at the ninth decimal | step too large |
//! | `rollover_at` | the first value the register cannot show (`"1000000"`): behind it comes 0 | rollover |
//! | `frozen_after_s` | the value stays exactly what it is for this long | frozen |
//! | `frozen_while`, `frozen_above` | … counted only while this other point of the device is above this | frozen |
//! | `direction` | `"import"`: never below 0, `"export"`: never above | reversed |
//! | `direction_tolerance` | … by more than this | reversed |
//!
//! Sealed with the measurement table are `min`, `max` and `max_step_per_s`; the others are sealed in
//! words, as an annotation, whenever they differ from before.

use evidence::decimal::Decimal;
use evidence::measurement::PointKind;
use toml::Spanned;

use super::point::on_grid;
use super::reader::Section;

/// Every key of these rules.
pub(super) const KEYS: [&str; 7] = [
    "nameplate_per_h",
    "rollover_at",
    "frozen_after_s",
    "frozen_while",
    "frozen_above",
    "direction",
    "direction_tolerance",
];

/// The rules of one point.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PointRules {
    /// The first value that the register cannot show.
    pub rollover_at: Option<Decimal>,
    /// When the value is frozen.
    pub frozen: Option<FrozenRule>,
    /// Which sign it has.
    pub direction: Option<DirectionRule>,
}

/// When a value is frozen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrozenRule {
    /// Seconds without any change.
    pub after_s: u32,
    /// Only the time counts while this point of the same device and interval is above this value.
    pub while_above: Option<(String, Decimal)>,
}

/// Which sign a value has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirectionRule {
    /// Never below zero (import), or never above (export).
    pub is_import: bool,
    /// How far it may be on the other side.
    pub tolerance: Decimal,
}

impl PointRules {
    /// In words, as they are sealed; empty when there are none.
    #[must_use]
    pub fn words(&self) -> String {
        let mut words = Vec::new();
        if let Some(capacity) = self.rollover_at {
            words.push(format!("rolls over at {capacity}"));
        }
        if let Some(frozen) = &self.frozen {
            let condition = frozen
                .while_above
                .as_ref()
                .map_or_else(String::new, |(point, above)| {
                    format!(" while {point} is above {above}")
                });
            words.push(format!("frozen after {} s{condition}", frozen.after_s));
        }
        if let Some(direction) = self.direction {
            let (name, side) = if direction.is_import {
                ("import", "below")
            } else {
                ("export", "above")
            };
            words.push(format!(
                "{name}, reversed when {side} 0 by more than {}",
                direction.tolerance
            ));
        }
        words.join("; ")
    }
}

/// Reads the rules' keys. `step` is `max_step_per_s`; the second value is what it becomes.
pub(super) fn read(
    section: &Section<'_, '_>,
    kind: Option<PointKind>,
    decimals: Option<u8>,
    step: Option<Decimal>,
) -> (PointRules, Option<Decimal>) {
    let is_register = kind == Some(PointKind::Register);
    let rollover_at = section.decimal("rollover_at");
    let nameplate = section.decimal("nameplate_per_h");
    let above = section.decimal("frozen_above");
    let tolerance = section.decimal("direction_tolerance");
    for (key, value) in [
        ("rollover_at", &rollover_at),
        ("nameplate_per_h", &nameplate),
    ] {
        if let Some(value) = value {
            if kind.is_some() && !is_register {
                let text =
                    "is for totalisers (kind = \"register\"); a momentary value has min and max";
                section.report(&value.span(), key, text);
            } else if value.get_ref().mantissa() <= 0 {
                section.report(&value.span(), key, "must be above 0");
            }
        }
    }
    if let Some(decimals) = decimals {
        on_grid(section, "rollover_at", rollover_at.as_ref(), decimals);
        on_grid(section, "direction_tolerance", tolerance.as_ref(), decimals);
    }
    let step = match (step, &nameplate) {
        (Some(_), Some(nameplate)) => {
            let text = "says the same as max_step_per_s in another way; leave one of the two out";
            section.report(&nameplate.span(), "nameplate_per_h", text);
            step
        }
        (None, Some(nameplate)) => per_second(*nameplate.get_ref()),
        (step, None) => step,
    };
    let rules = PointRules {
        rollover_at: rollover_at.map(Spanned::into_inner),
        frozen: frozen(section, above),
        direction: direction(section, tolerance),
    };
    (rules, step)
}

/// An hourly rate a second, rounded up at the ninth decimal: never stricter than the nameplate.
fn per_second(per_h: Decimal) -> Option<Decimal> {
    const DECIMALS: u8 = 9;
    let scale = 10_i128.pow(u32::from(DECIMALS));
    let unit = 10_i128.pow(u32::from(per_h.decimals())) * 3_600;
    let nano = (i128::from(per_h.mantissa()) * scale + unit - 1).div_euclid(unit);
    let (whole, rest) = (nano / scale, nano % scale);
    Decimal::parse(&format!("{whole}.{rest:09}")).ok()
}

fn frozen(section: &Section<'_, '_>, above: Option<Spanned<Decimal>>) -> Option<FrozenRule> {
    let after_s = section.number("frozen_after_s", 10..=604_800);
    let companion = section.text("frozen_while");
    match (&companion, &above) {
        (Some(_), None) if !section.has("frozen_above") => {
            let text = "add frozen_above: above which value of that point this one must move";
            section.report(&section.place("frozen_while"), "frozen_while", text);
        }
        (None, Some(above)) if !section.has("frozen_while") => {
            let text = "add frozen_while: of which point";
            section.report(&above.span(), "frozen_above", text);
        }
        _ => {}
    }
    if after_s.is_none() && companion.is_some() && !section.has("frozen_after_s") {
        let text = "add frozen_after_s: how long this point may stand still";
        section.report(&section.place("frozen_while"), "frozen_while", text);
    }
    Some(FrozenRule {
        after_s: after_s?,
        while_above: companion
            .map(Spanned::into_inner)
            .zip(above.map(Spanned::into_inner)),
    })
}

fn direction(
    section: &Section<'_, '_>,
    tolerance: Option<Spanned<Decimal>>,
) -> Option<DirectionRule> {
    let directions = [("import", true), ("export", false)];
    let is_import = section.choice("direction", "a direction", &directions);
    if let Some(tolerance) = &tolerance {
        if tolerance.get_ref().mantissa() < 0 {
            section.report(
                &tolerance.span(),
                "direction_tolerance",
                "must not be below 0",
            );
        }
        if is_import.is_none() && !section.has("direction") {
            let text = "add direction = \"import\" or \"export\"";
            section.report(&tolerance.span(), "direction_tolerance", text);
        }
    }
    Some(DirectionRule {
        is_import: *is_import?.get_ref(),
        tolerance: tolerance.map_or(Decimal::ZERO, Spanned::into_inner),
    })
}

#[cfg(test)]
mod tests {
    use super::super::problem::Problem;
    use super::super::reader::{Reader, Section};
    use super::{PointRules, read};
    use evidence::decimal::Decimal;
    use evidence::measurement::PointKind;
    use toml::de::DeTable;

    fn parsed(text: &str, kind: PointKind) -> (PointRules, Option<Decimal>, Vec<Problem>) {
        let table = DeTable::parse(text).unwrap();
        let reader = Reader::new(text);
        let section = Section::root(&reader, table.get_ref());
        let step = section
            .decimal("max_step_per_s")
            .map(toml::Spanned::into_inner);
        let (rules, step) = read(&section, Some(kind), Some(1), step);
        section.finish();
        (rules, step, reader.into_problems())
    }

    #[test]
    fn a_nameplate_becomes_a_step_that_is_never_stricter() {
        for (per_h, per_s) in [
            ("3600", "1"),
            ("100", "0.027777778"),
            ("0.9", "0.00025"),
            ("1", "0.000277778"),
        ] {
            let (_, step, problems) = parsed(
                &format!("nameplate_per_h = \"{per_h}\""),
                PointKind::Register,
            );
            assert_eq!(problems, []);
            let wanted = Decimal::parse(per_s).unwrap().on_grid(9);
            assert_eq!(step.unwrap().on_grid(9), wanted, "{per_h}");
        }
    }

    #[test]
    fn the_rules_are_told_in_words_as_they_are_sealed() {
        let text = "rollover_at = \"1000000\"\nfrozen_after_s = 600\nfrozen_while = \"power\"\n\
                    frozen_above = \"50\"\ndirection = \"import\"\ndirection_tolerance = \"0.5\"\n";
        let (rules, _, problems) = parsed(text, PointKind::Register);
        assert_eq!(problems, []);
        assert_eq!(
            rules.words(),
            "rolls over at 1000000; frozen after 600 s while power is above 50; \
             import, reversed when below 0 by more than 0.5"
        );
        assert_eq!(PointRules::default().words(), "");
    }

    #[test]
    fn half_a_rule_is_a_mistake_with_its_remedy() {
        for (text, kind, remedy) in [
            (
                "frozen_while = \"p\"",
                PointKind::Register,
                "add frozen_above",
            ),
            (
                "frozen_while = \"p\"\nfrozen_above = 1",
                PointKind::Register,
                "add frozen_after_s",
            ),
            (
                "frozen_after_s = 60\nfrozen_above = 1",
                PointKind::Register,
                "add frozen_while",
            ),
            (
                "direction_tolerance = 1",
                PointKind::Instant,
                "add direction",
            ),
            ("rollover_at = 10", PointKind::Instant, "for totalisers"),
            ("rollover_at = 0", PointKind::Register, "above 0"),
            ("rollover_at = \"0.05\"", PointKind::Register, "decimals"),
            (
                "nameplate_per_h = 1\nmax_step_per_s = 1",
                PointKind::Register,
                "leave one",
            ),
            ("direction = \"in\"", PointKind::Instant, "import, export"),
        ] {
            let (_, _, problems) = parsed(text, kind);
            let named = problems.iter().any(|problem| problem.text.contains(remedy));
            assert!(named, "{text}: {problems:?}");
        }
    }
}
