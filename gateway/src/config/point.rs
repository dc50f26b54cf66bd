//! What polled points and message points have in common.

use evidence::decimal::{Decimal, MAX_DECIMALS};
use evidence::measurement::{PointKind, Source};
use evidence::unit;
use evidence::value::{Format, Kind, Order};
use toml::Spanned;

use super::problem::not_one_of;
use super::reader::Section;
use super::register::RegisterSpec;
use super::rules::{self, PointRules};

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
    /// The point of the same device that holds the exponent of ten of this point's numbers.
    pub scale_from: Option<String>,
    /// A label: points of a device and interval with the same label are read in one request.
    pub together: Option<String>,
    /// The smallest plausible value.
    pub min: Option<Decimal>,
    /// The largest plausible value.
    pub max: Option<Decimal>,
    /// The largest plausible change per second.
    pub max_step_per_s: Option<Decimal>,
    /// What else the edge judges it by.
    pub rules: PointRules,
    /// Seconds between two polls; `None` for message points.
    pub interval_s: Option<u16>,
    /// Seconds a message's value holds at most; `None` for polled points.
    pub stale_after_s: Option<u32>,
    /// The point of the device's template that states its register, if one does.
    pub from: Option<FromTemplate>,
}

/// What a point owes to its device's template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FromTemplate {
    /// The point's name in the template; of a model `103.W`.
    pub point: String,
    /// Why its register is not confirmed.
    pub unverified: Option<String>,
}

impl PointConfig {
    /// A point that is polled every `interval_s` seconds.
    pub(super) fn polled(register: RegisterSpec, plausible: Plausible, interval_s: u16) -> Self {
        Self {
            source: register.source(),
            name: register.name,
            format: register.format,
            scale: register.scale,
            offset: register.offset,
            decimals: register.decimals,
            unit: register.unit,
            kind: plausible.kind,
            sentinels: register.sentinels,
            scale_from: register.scale_from,
            together: register.together,
            min: plausible.min,
            max: plausible.max,
            max_step_per_s: plausible.max_step_per_s,
            rules: plausible.rules,
            interval_s: Some(interval_s),
            stale_after_s: None,
            from: None,
        }
    }
}

/// What is known of a quantity beside its value: how it behaves and what is plausible.
pub(super) struct Plausible {
    pub(super) kind: PointKind,
    pub(super) min: Option<Decimal>,
    pub(super) max: Option<Decimal>,
    pub(super) max_step_per_s: Option<Decimal>,
    pub(super) rules: PointRules,
}

/// The kinds of points.
const KINDS: [(&str, PointKind); 2] = [
    ("register", PointKind::Register),
    ("instant", PointKind::Instant),
];

/// Reads `decimals`, which must be there.
pub(super) fn decimals(section: &Section<'_, '_>) -> Option<u8> {
    if !section.has("decimals") {
        section.missing(
            "decimals",
            "write how many decimals the value has in its unit, e.g. decimals = 1",
        );
    }
    section.number("decimals", 0..=i128::from(MAX_DECIMALS))
}

/// Reads `unit`, which must be there.
pub(super) fn unit(section: &Section<'_, '_>) -> Option<&'static str> {
    let text = section.required_text("unit", "write a unit symbol, e.g. unit = \"kWh\"")?;
    let known = unit::parse(text.get_ref());
    if known.is_none() {
        let wrong = not_one_of(text.get_ref(), "a unit", unit::SYMBOLS);
        section.report(&text.span(), "unit", wrong);
    }
    known
}

/// What is plausible of a quantity.
#[derive(Default)]
pub(super) struct Bounds {
    min: Option<Decimal>,
    max: Option<Decimal>,
    max_step_per_s: Option<Decimal>,
    rules: PointRules,
}

impl Bounds {
    pub(super) fn of_kind(self, kind: PointKind) -> Plausible {
        Plausible {
            kind,
            min: self.min,
            max: self.max,
            max_step_per_s: self.max_step_per_s,
            rules: self.rules,
        }
    }
}

/// Reads `kind`, `min`, `max` and `max_step_per_s`; the bounds must lie on the grid of `decimals`.
pub(super) fn plausible(section: &Section<'_, '_>, decimals: Option<u8>) -> Option<Plausible> {
    let kind = kind(section);
    let bounds = bounds(section, kind, decimals);
    Some(bounds.of_kind(kind?))
}

/// Reads `kind`, which must be there.
pub(super) fn kind(section: &Section<'_, '_>) -> Option<PointKind> {
    if !section.has("kind") {
        section.missing(
            "kind",
            "write \"register\" for a totaliser or \"instant\" for a momentary value",
        );
    }
    let kind = section.choice("kind", "a kind of point", &KINDS);
    kind.map(Spanned::into_inner)
}

/// Reads `min`, `max`, `max_step_per_s` and the rules of a point of this kind.
pub(super) fn bounds(
    section: &Section<'_, '_>,
    kind: Option<PointKind>,
    decimals: Option<u8>,
) -> Bounds {
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
    let step = step.map(Spanned::into_inner);
    let (rules, step) = rules::read(section, kind, decimals, step);
    for (key, value) in [("min", &min), ("max", &max)] {
        if let Some(decimals) = decimals {
            on_grid(section, key, value.as_ref(), decimals);
        }
    }
    Bounds {
        min: min.map(Spanned::into_inner),
        max: max.map(Spanned::into_inner),
        max_step_per_s: step,
        rules,
    }
}

/// A text point is a momentary value and has neither bounds nor a rating.
pub(super) fn of_text(section: &Section<'_, '_>) -> Plausible {
    for key in ["kind", "min", "max", "max_step_per_s"]
        .into_iter()
        .chain(rules::KEYS)
    {
        if section.has(key) {
            let text = "a text is never a number: leave this key out";
            section.report(&section.place(key), key, text);
        }
    }
    Plausible {
        kind: PointKind::Instant,
        min: None,
        max: None,
        max_step_per_s: None,
        rules: PointRules::default(),
    }
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
