//! Device templates: what a maker's document says about a device, as data.
//!
//! A template is a TOML file read by the same reader as `gateway.toml`, so every mistake in it comes
//! with line, key and remedy. It states facts of the device (registers, limits, factory settings) and
//! where they are from; what a site decides (names, intervals, plausible limits) is none of its
//! business. `gateway/templates/README.md` states every key.
//!
//! Not promised: that a template is right. `verification` says how far it was checked, and the SHA-256
//! of the file's bytes is sealed with every device that uses it.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use evidence::hash::{Hash, sha256};
use evidence::measurement::{PointKind, Table};
use evidence::value::Order;
use toml::Spanned;
use toml::de::DeTable;

use super::address::AddressBase;
use super::problem::Problems;
use super::reader::{Reader, Section};
use super::register::{self, Defaults, Quantity, RegisterSpec, TABLES};
use super::word_flag::{self as flag, WordFlag};
use super::{ConfigError, order, point};

pub(super) mod model;

pub use model::{
    ModelLayout, PlacedModel, beside as template_beside, default_points,
    identity as template_identity, points as template_points, settings as template_settings,
};

/// A device's description, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// Its name; for an embedded one the file's name without `.toml`.
    pub name: String,
    /// The device in words: maker, type.
    pub title: String,
    /// The maker's document.
    pub document: String,
    /// Its edition or date.
    pub edition: String,
    /// How the document was obtained.
    pub source: String,
    /// Why its registers could not be confirmed; `None` when they were.
    pub unverified: Option<String>,
    /// The SHA-256 of the file's bytes.
    pub sha256: Hash,
    /// How the maker writes addresses.
    pub address_base: AddressBase,
    /// The order of values of several registers that state none.
    pub order: Order,
    /// The unit id the device leaves the factory with.
    pub default_unit_id: u8,
    /// Its factory settings on a serial line, if it has one.
    pub line: Option<FactoryLine>,
    /// Its TCP port, if it speaks Modbus TCP itself.
    pub tcp_port: Option<u16>,
    /// What its requests must respect.
    pub limits: TemplateLimits,
    /// The quantities it measures.
    pub points: Vec<TemplatePoint>,
    /// Registers that say which device it is: a change is another device.
    pub identity: Vec<Register>,
    /// Registers that alter what the values mean.
    pub settings: Vec<Register>,
    /// Words in which the device reports its own state.
    pub status: Vec<StatusWord>,
    /// Registers that no request may touch.
    pub barriers: Vec<Barrier>,
    /// Parts that stand elsewhere in every device.
    pub models: Vec<ModelLayout>,
}

/// Serial settings ex works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FactoryLine {
    /// Bits a second; `None`: the document states parity and stop bits only.
    pub baud: Option<u32>,
    /// `none`, `even` or `odd`.
    pub parity: &'static str,
    /// 1 or 2.
    pub stop_bits: u8,
    /// The document does not state them: something to try first, not a fact.
    pub assumed: bool,
}

impl fmt::Display for FactoryLine {
    /// `9600 baud 8N1`, or `8N1` where no speed is stated.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(baud) = self.baud {
            write!(f, "{baud} baud ")?;
        }
        let parity = match self.parity {
            "even" => 'E',
            "odd" => 'O',
            _ => 'N',
        };
        write!(f, "8{parity}{}", self.stop_bits)
    }
}

/// What a device's requests must respect; `None`: nothing is known, the gateway's default holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TemplateLimits {
    /// Most registers in one request.
    pub max_registers: Option<u16>,
    /// Most bits in one request.
    pub max_bits: Option<u16>,
    /// Most undeclared registers read to save a request.
    pub max_gap: Option<u16>,
    /// Silence between two requests on a serial line.
    pub pause: Option<Duration>,
    /// How long an answer may take.
    pub timeout: Option<Duration>,
    /// Pause between connecting and the first request.
    pub connect_delay: Option<Duration>,
}

/// A register and what is said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Register {
    /// Where it is and how its words become a value.
    pub spec: RegisterSpec,
    /// In words.
    pub description: Option<String>,
    /// Why this register is not confirmed.
    pub unverified: Option<String>,
}

/// One quantity of the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplatePoint {
    /// Where and how it is read.
    pub register: Register,
    /// Totaliser or momentary value.
    pub kind: PointKind,
    /// Whether a new configuration begins with it.
    pub default: bool,
}

/// A word in which the device reports its own state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusWord {
    /// Where it is.
    pub register: Register,
    /// What its bits mean.
    pub flags: Vec<WordFlag>,
}

/// Registers, or bits, that no request may touch, the last included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Barrier {
    /// The table.
    pub table: Table,
    /// The first, PDU address.
    pub from: u16,
    /// The last, PDU address.
    pub to: u16,
}

impl Template {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ConfigError`]: the file cannot be read, or every mistake in it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self::parse(&path.display().to_string(), &text)?)
    }

    /// The layout of a model.
    #[must_use]
    pub fn layout(&self, id: u16) -> Option<&ModelLayout> {
        self.models.iter().find(|layout| layout.ids.contains(&id))
    }

    /// Checks a template's text; `file` names it in messages.
    ///
    /// # Errors
    /// Every mistake in the text.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problems> {
        let reader = Reader::new(text);
        let (table, errors) = DeTable::parse_recoverable(text);
        let template = if errors.is_empty() {
            read(&Section::root(&reader, table.get_ref()), text)
        } else {
            for error in errors {
                reader.report(&error.span().unwrap_or(0..0), "", error.message());
            }
            None
        };
        let mut list = reader.into_problems();
        match template {
            Some(template) if list.is_empty() => Ok(template),
            _ => {
                list.dedup();
                Err(Problems {
                    file: file.to_owned(),
                    list,
                })
            }
        }
    }

    /// The point of this name.
    #[must_use]
    pub fn point(&self, name: &str) -> Option<&TemplatePoint> {
        self.points
            .iter()
            .find(|point| point.register.spec.name == name)
    }

    /// Why a point's register is not confirmed, by itself or with the whole template.
    #[must_use]
    pub fn doubt<'t>(&'t self, point: &'t TemplatePoint) -> Option<&'t str> {
        let of_point = point.register.unverified.as_deref();
        of_point.or(self.unverified.as_deref())
    }
}

fn read(root: &Section<'_, '_>, text: &str) -> Option<Template> {
    let head = root.section("template");
    if head.is_none() && !root.has("template") {
        root.missing(
            "template",
            "begin with [template], name = \"maker-type\", title = \"…\"",
        );
    }
    // Without a head the registers are still checked, as far as that goes.
    let defaults = head.as_ref().map_or(NOTHING, defaults);
    let template = head.and_then(|section| head_of(&section, text, defaults));
    let mut names = Vec::new();
    let points: Vec<_> = root
        .sections("point")
        .into_iter()
        .map(|section| point_of(&section, defaults, &mut names))
        .collect();
    let models: Vec<_> = root
        .sections("model")
        .into_iter()
        .map(|section| model::layout(&section, defaults))
        .collect();
    if !root.has("point") && !root.has("model") {
        root.missing("point", "add a [[point]] for each quantity of the device");
    }
    let plain = Defaults {
        quantity: Quantity::Plain,
        ..defaults
    };
    let identity = registers(root, "identity", plain);
    let settings = registers(root, "setting", plain);
    let status: Vec<_> = root
        .sections("status")
        .into_iter()
        .map(|section| status(&section, plain))
        .collect();
    let barriers = barriers(root);
    root.finish();
    Some(Template {
        points: points.into_iter().collect::<Option<_>>()?,
        identity: identity?,
        settings: settings?,
        status: status.into_iter().collect::<Option<_>>()?,
        barriers,
        models: models.into_iter().collect::<Option<_>>()?,
        ..template?
    })
}

/// What the head would state.
const NOTHING: Defaults = Defaults {
    base: None,
    table: None,
    order: Order::Abcd,
    quantity: Quantity::Measured,
};

/// What the head states for all registers.
fn defaults(section: &Section<'_, '_>) -> Defaults {
    let bases = [("pdu", AddressBase::Pdu), ("4x", AddressBase::Modicon)];
    if !section.has("address_base") {
        section.missing(
            "address_base",
            "write \"pdu\" when addresses count from 0 as sent, or \"4x\" for 40001 as printed in many manuals",
        );
    }
    Defaults {
        base: section
            .choice("address_base", "an address base", &bases)
            .map(Spanned::into_inner),
        table: section
            .choice("table", "a table", &TABLES)
            .map(Spanned::into_inner),
        order: order::of_device(section),
        ..NOTHING
    }
}

/// `[template]`, without the registers.
fn head_of(
    section: &Section<'_, '_>,
    text: &str,
    Defaults { base, order, .. }: Defaults,
) -> Option<Template> {
    let required = |key, remedy: &str| {
        let text = section.required_text(key, remedy);
        text.map(Spanned::into_inner)
    };
    let name = point::name(section).map(Spanned::into_inner);
    let title = required(
        "title",
        "write maker and type, e.g. title = \"Eastron SDM630 Modbus V2\"",
    );
    let document = required(
        "document",
        "name the maker's document the registers are from",
    );
    let edition = required(
        "edition",
        "write its edition or date as printed, or \"not stated\"",
    );
    let source = required(
        "source",
        "write where the document was obtained: a URL, or in words",
    );
    let unverified = verification(section);
    let default_unit_id = section.number_or("default_unit_id", 0..=255, 1);
    let tcp_port = section.number("tcp_port", 1..=65_535);
    let line = section
        .section("line")
        .map(|below| factory_line(&below, tcp_port.is_some()));
    if !section.has("line") && !section.has("tcp_port") {
        section.missing(
            "line",
            "add [template.line] with the factory's baud, parity and stop_bits, or tcp_port = 502 for a device on Ethernet",
        );
    }
    let limits = section
        .section("limits")
        .map_or_else(TemplateLimits::default, |below| limits(&below));
    section.finish();
    Some(Template {
        name: name?,
        title: title?,
        document: document?,
        edition: edition?,
        source: source?,
        unverified,
        sha256: sha256(text.as_bytes()),
        address_base: base?,
        order,
        default_unit_id,
        line,
        tcp_port,
        limits,
        points: Vec::new(),
        identity: Vec::new(),
        settings: Vec::new(),
        status: Vec::new(),
        barriers: Vec::new(),
        models: Vec::new(),
    })
}

/// Why the template is not confirmed, if it is not.
fn verification(section: &Section<'_, '_>) -> Option<String> {
    let choices = [("confirmed", true), ("unverified", false)];
    let verification = section.choice("verification", "a verification", &choices);
    if !section.has("verification") {
        section.missing(
            "verification",
            "write \"confirmed\" when every register was compared with the maker's document, \
             else \"unverified\" with unverified_why",
        );
    }
    let confirmed = verification.is_none_or(Spanned::into_inner);
    let why = section.text("unverified_why");
    if confirmed && let Some(why) = &why {
        let text = "belongs to verification = \"unverified\" only; doubts about one register go into its own `unverified`";
        section.report(&why.span(), "unverified_why", text);
    }
    if !confirmed && !section.has("unverified_why") {
        section.missing("unverified_why", "say what could not be confirmed and why");
    }
    why.map(Spanned::into_inner)
}

/// A device that can be reached by `tcp_port` may have a line of no stated speed: a configuration need
/// not begin with it.
fn factory_line(section: &Section<'_, '_>, by_tcp: bool) -> FactoryLine {
    for key in ["baud", "parity", "stop_bits"] {
        let may_lack = key == "baud" && by_tcp;
        if !section.has(key) && !may_lack {
            section.missing(key, "write the device's setting ex works");
        }
    }
    let parities = [("none", "none"), ("even", "even"), ("odd", "odd")];
    let line = FactoryLine {
        baud: section.number("baud", 1_200..=115_200),
        parity: section
            .choice("parity", "a parity", &parities)
            .map_or("none", Spanned::into_inner),
        stop_bits: section.number_or("stop_bits", 1..=2, 1),
        assumed: section.flag("assumed").unwrap_or(false),
    };
    section.finish();
    line
}

fn limits(section: &Section<'_, '_>) -> TemplateLimits {
    let ms = |key, least, most| {
        let number: Option<u64> = section.number(key, least..=most);
        number.map(Duration::from_millis)
    };
    let limits = TemplateLimits {
        max_registers: section.number("max_registers", 4..=125),
        max_bits: section.number("max_bits", 1..=2_000),
        max_gap: section.number("max_gap", 0..=121),
        pause: ms("pause_ms", 0, 10_000),
        timeout: ms("timeout_ms", 10, 60_000),
        connect_delay: ms("connect_delay_ms", 0, 30_000),
    };
    section.finish();
    limits
}

fn point_of(
    section: &Section<'_, '_>,
    defaults: Defaults,
    names: &mut Vec<String>,
) -> Option<TemplatePoint> {
    let register = described(section, defaults);
    unique(section, register.as_ref(), names);
    let kind = if register::is_text(section) {
        Some(PointKind::Instant)
    } else {
        point::kind(section)
    };
    let default = section.flag("default").unwrap_or(false);
    section.finish();
    Some(TemplatePoint {
        register: register?,
        kind: kind?,
        default,
    })
}

/// A register and what is said about it; further keys are the caller's, as is `finish`.
fn described(section: &Section<'_, '_>, defaults: Defaults) -> Option<Register> {
    let spec = register::register(section, defaults);
    let text = |key| section.text(key).map(Spanned::into_inner);
    let (description, unverified) = (text("description"), text("unverified"));
    Some(Register {
        spec: spec?,
        description,
        unverified,
    })
}

/// The registers of an array of tables, each with a name of its own.
fn registers(
    root: &Section<'_, '_>,
    key: &'static str,
    defaults: Defaults,
) -> Option<Vec<Register>> {
    let mut names = Vec::new();
    let read: Vec<_> = root
        .sections(key)
        .into_iter()
        .map(|section| {
            let register = described(&section, defaults);
            unique(&section, register.as_ref(), &mut names);
            section.finish();
            register
        })
        .collect();
    read.into_iter().collect()
}

fn unique(section: &Section<'_, '_>, register: Option<&Register>, names: &mut Vec<String>) {
    let Some(register) = register else { return };
    if names.contains(&register.spec.name) {
        let text = format!("`{}` is there twice; names are unique", register.spec.name);
        section.report(&section.place("name"), "name", text);
    }
    names.push(register.spec.name.clone());
}

fn status(section: &Section<'_, '_>, defaults: Defaults) -> Option<StatusWord> {
    let register = described(section, defaults);
    let spec = register.as_ref().map(|register| &register.spec);
    let flags = flag::of_word(section, spec);
    section.finish();
    Some(StatusWord {
        register: register?,
        flags: flags?,
    })
}

/// Reads the `[[barrier]]` tables of a template or a device.
pub(super) fn barriers(section: &Section<'_, '_>) -> Vec<Barrier> {
    let tables = section.sections("barrier");
    tables.iter().filter_map(barrier).collect()
}

fn barrier(section: &Section<'_, '_>) -> Option<Barrier> {
    for key in ["table", "from", "to"] {
        if !section.has(key) {
            section.missing(
                key,
                "a barrier names its table and its first and last PDU address",
            );
        }
    }
    let table = section.choice("table", "a table", &TABLES);
    let from = section.number("from", 0..=65_535);
    let to = section.number("to", 0..=65_535);
    section.finish();
    let (from, to) = (from?, to?);
    if from > to {
        let text = format!("the last register, {to}, is below the first, {from}");
        section.report(&section.place("to"), "to", text);
        return None;
    }
    Some(Barrier {
        table: table?.into_inner(),
        from,
        to,
    })
}

#[cfg(test)]
mod tests;
