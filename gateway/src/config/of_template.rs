//! `template = "…"` of a device and `from = "…"` of its points.
//!
//! What the template states about a register is taken as it is: a site that must read it otherwise
//! writes a template of its own, so that what is sealed with the template's hash is what was read.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use evidence::measurement::Source;
use toml::Spanned;

use super::Names;
use super::line::{Endpoint, LineConfig};
use super::modbus::{ModbusDevice, interval};
use super::point::{self, Bounds, FromTemplate, PointConfig};
use super::problem::not_one_of;
use super::reader::Section;
use super::template::model::{self, PlacedModel};
use super::template::{Barrier, Template, TemplateLimits, TemplatePoint};
use super::watch::DeviceWatch;

/// The template of a device, if it names one.
pub(super) struct Chosen {
    template: Option<Arc<Template>>,
    /// A template is named: what it would have stated is not reported as missing.
    named: bool,
    /// Where its models stand.
    models: Vec<PlacedModel>,
}

/// What a point's own table must leave to the template.
const FACTS: [&str; 14] = [
    "table",
    "address",
    "type",
    "words",
    "order",
    "scale",
    "offset",
    "decimals",
    "unit",
    "kind",
    "sentinels",
    "scale_from",
    "together",
    "description",
];

impl Chosen {
    /// Reads `template` and `[[modbus.model]]`; own template files lie beside the configuration.
    pub(super) fn of(section: &Section<'_, '_>, folder: &Path) -> Self {
        let name = section.text("template");
        let template = name.as_ref().and_then(|name| find(section, name, folder));
        let models = model::placed(section, template.as_ref());
        if name.is_none() && section.has("model") {
            let text = "models belong to a template: add template = \"sunspec\"";
            section.report(&section.place("model"), "model", text);
        }
        Self {
            template: template.map(Arc::new),
            named: name.is_some(),
            models,
        }
    }

    /// The template, if one is named and can be used.
    pub(super) fn get(&self) -> Option<&Template> {
        self.template.as_deref()
    }

    /// What the template watches of the device.
    pub(super) fn watch(&self) -> Option<DeviceWatch> {
        let template = self.get()?;
        Some(DeviceWatch::of_template(template, &self.models))
    }

    /// Whether a template is named at all.
    pub(super) const fn is_named(&self) -> bool {
        self.named
    }

    /// A limit: the site's, which may be stricter than the template's, or the template's, or the default.
    pub(super) fn limit(
        &self,
        section: &Section<'_, '_>,
        key: &'static str,
        limits: std::ops::RangeInclusive<i128>,
        of_template: impl Fn(&TemplateLimits) -> Option<u16>,
        default: u16,
    ) -> u16 {
        let of_template = self
            .get()
            .and_then(|template| of_template(&template.limits));
        let own: Option<u16> = section.number(key, limits);
        if let (Some(own), Some(most)) = (own, of_template)
            && own > most
        {
            let name = self.get().map_or("", |template| &template.name);
            let text =
                format!("template `{name}` says at most {most}; lower it, or leave the key out");
            section.report(&section.place(key), key, text);
        }
        own.or(of_template).unwrap_or(default)
    }

    /// How long an answer may take.
    pub(super) fn timeout(&self, section: &Section<'_, '_>) -> Duration {
        let own = section.number("timeout_ms", 10..=60_000);
        let of_template = self.get().and_then(|template| template.limits.timeout);
        own.map(Duration::from_millis)
            .or(of_template)
            .unwrap_or(Duration::from_secs(1))
    }

    /// The line must leave the device the silence it needs.
    pub(super) fn pause(&self, section: &Section<'_, '_>, line: Option<&LineConfig>) {
        let (Some(template), Some(line)) = (self.get(), line) else {
            return;
        };
        let Some(needed) = template.limits.pause else {
            return;
        };
        if line.endpoint.is_rtu() && line.pause < needed {
            let text = format!(
                "template `{}` wants {} ms between requests: write pause_ms = {} in the [[line]] table of `{}`",
                template.name,
                needed.as_millis(),
                needed.as_millis(),
                line.name
            );
            section.report(&section.place("template"), "template", text);
        }
    }

    /// The pause after connecting that the device needs: a line that the device made itself gets it, one
    /// of its own table must have it. A serial port is not connected to.
    pub(super) fn connect_delay(&self, section: &Section<'_, '_>, line: &mut LineConfig) {
        let Some(template) = self.get() else { return };
        let needed = template.limits.connect_delay.unwrap_or_default();
        if matches!(line.endpoint, Endpoint::Serial(_)) || line.connect_delay >= needed {
            return;
        }
        if !section.has("line") {
            line.connect_delay = needed;
            return;
        }
        let text = format!(
            "template `{}` wants {} ms after connecting: write connect_delay_ms = {} in the [[line]] table of `{}`",
            template.name,
            needed.as_millis(),
            needed.as_millis(),
            line.name
        );
        section.report(&section.place("template"), "template", text);
    }

    /// Reads a `[[modbus.point]]` with `from`.
    pub(super) fn point(
        &self,
        section: &Section<'_, '_>,
        names: &mut Names,
    ) -> Option<PointConfig> {
        let name = point::name(section);
        if let Some(name) = &name {
            names.point(section, name.get_ref(), &name.span());
        }
        for key in FACTS {
            if section.has(key) {
                let text = "comes from the template and cannot be changed here: leave it out, or describe \
                            the device in a template of its own (template = \"my-meter.toml\")";
                section.report(&section.place(key), key, text);
            }
        }
        let from = section.text("from");
        let found = from.as_ref().and_then(|from| self.look_up(section, from));
        let decimals = found.as_ref().map(|point| point.register.spec.decimals);
        let kind = found.as_ref().map(|point| point.kind);
        let bounds = point::bounds(section, kind, decimals);
        let interval = interval(section);
        section.finish();
        let (found, from) = (found?, from?.into_inner());
        Some(self.polled(found, name?.into_inner(), from, bounds, interval?))
    }

    /// The default points under their own names behind the device's.
    pub(super) fn default_points(
        &self,
        section: &Section<'_, '_>,
        device: &str,
        names: &mut Names,
    ) -> Vec<PointConfig> {
        let choice = section.choice("points", "a choice of points", &[("default", ())]);
        let Some(choice) = choice else {
            return Vec::new();
        };
        let Some(template) = self.get() else {
            if !self.named {
                let text = "only a template has default points: add template = \"…\"";
                section.report(&choice.span(), "points", text);
            }
            return Vec::new();
        };
        let Some(interval) = interval(section) else {
            return Vec::new();
        };
        let mut points = Vec::new();
        for (from, point) in model::default_points(template, &self.models) {
            let name = point_name(device, &from);
            names.point(section, &name, &choice.span());
            if name.chars().count() > 64 {
                let text =
                    format!("`{name}` is longer than 64 characters: shorten the device's name");
                section.report(&choice.span(), "points", text);
            }
            points.push(self.polled(point, name, from, Bounds::default(), interval));
        }
        points
    }

    fn polled(
        &self,
        found: TemplatePoint,
        name: String,
        from: String,
        bounds: Bounds,
        interval_s: u16,
    ) -> PointConfig {
        let unverified = self
            .get()
            .and_then(|template| template.doubt(&found))
            .map(str::to_owned);
        let mut register = found.register.spec;
        register.name = name;
        let plausible = bounds.of_kind(found.kind);
        PointConfig {
            from: Some(FromTemplate {
                point: from,
                unverified,
            }),
            ..PointConfig::polled(register, plausible, interval_s)
        }
    }

    fn look_up(&self, section: &Section<'_, '_>, from: &Spanned<String>) -> Option<TemplatePoint> {
        let Some(template) = self.get() else {
            if !self.named {
                let text = "names a point of a template, but the device has none: add template = \"…\" \
                            to its [[modbus]] table";
                section.report(&from.span(), "from", text);
            }
            return None;
        };
        let points = model::points(template, &self.models);
        let found = points
            .iter()
            .find(|(name, _)| name == from.get_ref())
            .map(|(_, point)| point.clone());
        if found.is_none() {
            let known: Vec<&str> = points.iter().map(|(name, _)| name.as_str()).collect();
            let what = format!("a point of template `{}`", template.name);
            let text = if known.is_empty() {
                "the device has no models yet: `fieldseal-gateway config template sunspec --host …` finds \
                 them and prints their [[modbus.model]] tables"
                    .to_owned()
            } else {
                not_one_of(from.get_ref(), &what, &known)
            };
            section.report(&from.span(), "from", text);
        }
        found
    }

    /// Says what nobody has confirmed.
    fn warn(&self, section: &Section<'_, '_>, device: &ModbusDevice) {
        let Some(template) = self.get() else { return };
        if let Some(why) = &template.unverified {
            let text = format!(
                "the registers of `{}` are unverified: {why}; compare every value with the display before \
                 it counts",
                template.name
            );
            section.warn(&section.place("template"), "template", text);
            return;
        }
        for point in &device.points {
            if let Some(FromTemplate {
                point: from,
                unverified: Some(why),
            }) = &point.from
            {
                let text = format!(
                    "`{from}` of `{}` is unverified: {why}; compare `{}` with the display before it counts",
                    template.name, point.name
                );
                section.warn(&section.place("template"), "template", text);
            }
        }
    }

    /// Completes a device from its template.
    pub(super) fn complete(&self, section: &Section<'_, '_>, device: &mut ModbusDevice) {
        device.template.clone_from(&self.template);
        device.models.clone_from(&self.models);
        if let Some(template) = self.get() {
            device.barriers.extend(&template.barriers);
        }
        self.warn(section, device);
        barred(section, device);
    }
}

/// Replaces the template's names of scale factors by those that their points have here.
pub(super) fn name_factors(points: &mut [(&Section<'_, '_>, PointConfig)]) {
    let by_from: Vec<(String, String)> = points
        .iter()
        .filter_map(|(_, point)| Some((point.from.as_ref()?.point.clone(), point.name.clone())))
        .collect();
    for (section, point) in points {
        let (Some(from), Some(factor)) = (&point.from, &mut point.scale_from) else {
            continue;
        };
        let wanted = model::beside(&from.point, factor);
        if let Some((_, name)) = by_from.iter().find(|(from, _)| *from == wanted) {
            factor.clone_from(name);
        } else {
            let text = format!(
                "`{}` is multiplied by the scale factor `{wanted}`: add a [[modbus.point]] with \
                 from = \"{wanted}\"",
                from.point
            );
            section.report(&section.place("from"), "from", text);
            // Reported once, here.
            point.scale_from = None;
        }
    }
}

/// A point may not lie where no request may go.
fn barred(section: &Section<'_, '_>, device: &ModbusDevice) {
    for point in &device.points {
        let Source::Modbus {
            table,
            address,
            words,
        } = point.source
        else {
            continue;
        };
        let last = u32::from(address) + u32::from(words.max(1)) - 1;
        let inside = |barrier: &&Barrier| {
            barrier.table == table && address <= barrier.to && last >= u32::from(barrier.from)
        };
        if let Some(barrier) = device.barriers.iter().find(inside) {
            let text = format!(
                "point `{}` lies in the barrier {} {} to {}, which no request may touch",
                point.name,
                table.name(),
                barrier.from,
                barrier.to
            );
            section.report(&section.place("point"), "point", text);
        }
    }
}

/// `device-total-active-power`.
#[must_use]
pub fn point_name(device: &str, from: &str) -> String {
    let plain = from.replace(['_', '.'], "-").to_lowercase();
    format!("{device}-{plain}")
}

/// An embedded template, or a file of the site's own.
fn find(section: &Section<'_, '_>, name: &Spanned<String>, folder: &Path) -> Option<Template> {
    let report = |text: String| section.report(&name.span(), "template", text);
    let written = name.get_ref();
    let own = Path::new(written);
    if own.extension().is_none_or(|ending| ending != "toml") {
        let found = crate::templates::find(written);
        if found.is_none() {
            let known: Vec<&str> = crate::templates::names().collect();
            let mut text = not_one_of(written, "a template of this program", &known);
            text.push_str("; a file of your own ends in .toml");
            report(text);
        }
        return found;
    }
    match Template::load(&folder.join(own)) {
        Ok(template) => Some(template),
        Err(super::ConfigError::Unreadable { path, source }) => {
            report(format!("cannot read `{}`: {source}", path.display()));
            None
        }
        Err(super::ConfigError::Wrong(problems)) => {
            for problem in problems.to_string().lines() {
                report(problem.to_owned());
            }
            None
        }
    }
}
