//! What polled points and message points have in common.

use std::ops::Range;

use evidence::decimal::{Decimal, MAX_DECIMALS};
use evidence::measurement::{PointKind, Source};
use evidence::unit;
use evidence::value::{Format, Kind, Order};
use toml::Spanned;

use super::problem::not_one_of;
use super::reader::Section;

/// One quantity, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointConfig {
    /// The name, unique in the file.
    pub name: String,
    /// Where it is read.
    pub source: Source,
    /// The layout of its words; `number` for messages.
    pub format: Format,
    /// Multiplies the number read.
    pub scale: Decimal,
    /// Added after scaling.
    pub offset: Decimal,
    /// Decimals of the value, 0–15.
    pub decimals: u8,
    /// The unit's symbol.
    pub unit: &'static str,
    /// Totaliser or momentary value.
    pub kind: PointKind,
    /// Column values that mean "not available".
    pub sentinels: Vec<i64>,
    /// The smallest plausible value.
    pub min: Option<Decimal>,
    /// The largest plausible value.
    pub max: Option<Decimal>,
    /// The largest plausible change per second.
    pub max_step_per_s: Option<Decimal>,
    /// Seconds between two polls; `None` for message points.
    pub interval_s: Option<u16>,
    /// Seconds a message's value holds at most; `None` for polled points.
    pub stale_after_s: Option<u32>,
}

/// The keys every point has.
pub(super) struct Common {
    pub(super) name: String,
    pub(super) name_span: Range<usize>,
    pub(super) decimals: u8,
    pub(super) unit: &'static str,
    pub(super) kind: PointKind,
    pub(super) min: Option<Decimal>,
    pub(super) max: Option<Decimal>,
    pub(super) max_step_per_s: Option<Decimal>,
}

/// Reads the common keys; `None` when one that cannot be replaced is missing or wrong.
pub(super) fn common(section: &Section<'_, '_>) -> Option<Common> {
    let name = name(section);
    let decimals = section.number("decimals", 0..=i128::from(MAX_DECIMALS));
    if !section.has("decimals") {
        section.missing(
            "decimals",
            "write how many decimals the value has in its unit, e.g. decimals = 1",
        );
    }
    let unit = section.required_text("unit", "write a unit symbol, e.g. unit = \"kWh\"");
    let unit = unit.and_then(|text| {
        let known = unit::parse(text.get_ref());
        if known.is_none() {
            let place = text.span();
            section.report(
                &place,
                "unit",
                not_one_of(text.get_ref(), "a unit", unit::SYMBOLS),
            );
        }
        known
    });
    if !section.has("kind") {
        section.missing(
            "kind",
            "write \"register\" for a totaliser or \"instant\" for a momentary value",
        );
    }
    let kinds = [
        ("register", PointKind::Register),
        ("instant", PointKind::Instant),
    ];
    let kind = section.choice("kind", "a kind of point", &kinds);
    let (min, max) = (section.decimal("min"), section.decimal("max"));
    let step = section.decimal("max_step_per_s");
    if let (Some(min), Some(max)) = (&min, &max)
        && compare(*min.get_ref(), *max.get_ref()).is_gt()
    {
        section.report(
            &max.span(),
            "max",
            format!("max {} is below min {}", max.get_ref(), min.get_ref()),
        );
    }
    if let Some(step) = step.as_ref().filter(|step| step.get_ref().mantissa() <= 0) {
        section.report(&step.span(), "max_step_per_s", "must be above 0");
    }
    let decimals = decimals?;
    for (key, value) in [("min", &min), ("max", &max)] {
        on_grid(section, key, value.as_ref(), decimals);
    }
    let (name, kind) = (name?, kind?);
    Some(Common {
        name_span: name.span(),
        name: name.into_inner(),
        decimals,
        unit: unit?,
        kind: kind.into_inner(),
        min: min.map(Spanned::into_inner),
        max: max.map(Spanned::into_inner),
        max_step_per_s: step.map(Spanned::into_inner),
    })
}

/// Reads `name`: 1–64 characters without space or control character.
pub(super) fn name(section: &Section<'_, '_>) -> Option<Spanned<String>> {
    let name =
        section.required_text("name", "give it a name of its own, e.g. name = \"meter-1\"")?;
    let fits = name.get_ref().chars().count() <= 64
        && !name
            .get_ref()
            .chars()
            .any(|letter| letter.is_whitespace() || letter.is_control());
    if !fits {
        section.report(
            &name.span(),
            "name",
            "a name has 1 to 64 characters and no spaces",
        );
        return None;
    }
    Some(name)
}

/// Reads `host`: a name or an address, without scheme and port.
pub(super) fn host(section: &Section<'_, '_>, remedy: &str) -> Option<Spanned<String>> {
    let host = section.required_text("host", remedy)?;
    let text = host.get_ref();
    let with_port = text.matches(':').count() == 1 || text.contains('[');
    let problem = if text.contains("://") || text.contains('/') {
        "only the name or address: leave out the scheme and the path"
    } else if with_port {
        "only the name or address: write the port as port = …"
    } else if text
        .chars()
        .any(|letter| letter.is_whitespace() || letter.is_control())
    {
        "a host name has no spaces"
    } else {
        return Some(host);
    };
    section.report(&host.span(), "host", problem);
    None
}

/// Reports a decimal that has more decimals than the point.
pub(super) fn on_grid(
    section: &Section<'_, '_>,
    key: &str,
    value: Option<&Spanned<Decimal>>,
    decimals: u8,
) {
    let Some(value) = value else { return };
    let decimal = *value.get_ref();
    if decimal.on_grid(decimals).is_some() {
        return;
    }
    let needed = (decimals..=MAX_DECIMALS).find(|&more| decimal.on_grid(more).is_some());
    let text = match needed {
        Some(needed) if needed > decimals => format!(
            "{decimal} needs {needed} decimals, but the point has decimals = {decimals}; \
             set decimals = {needed} or more"
        ),
        _ => format!("{decimal} is too large for a value with {decimals} decimals"),
    };
    section.report(&value.span(), key, text);
}

/// Compares two decimals by value.
fn compare(left: Decimal, right: Decimal) -> std::cmp::Ordering {
    let grid = left.decimals().max(right.decimals());
    let scaled = |value: Decimal| {
        i128::from(value.mantissa()) * 10_i128.pow(u32::from(grid - value.decimals()))
    };
    scaled(left).cmp(&scaled(right))
}

/// The layout of message numbers.
pub(super) const NUMBER: Format = Format {
    kind: Kind::Number,
    order: Order::Abcd,
};
