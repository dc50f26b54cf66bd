//! What is watched of a device beside its points: identity, settings, status words.
//!
//! ```toml
//! [[modbus.identity]]              # read at every connect; a change is another device
//! name = "serial_number"
//! table = "holding"
//! address = 0xFC00
//! type = "u32"
//! expected = "23456789"            # may be left out; so may `serial = "23456789"` of the device
//! [[modbus.setting]]               # read at every connect and hourly; a change must be confirmed
//! name = "ct_primary"
//! …
//! [[modbus.status]]                # read with the values, in the same tick
//! name = "device_status"
//! …
//! points = ["energy"]              # whom it speaks of; without it, every point of the device
//! [[modbus.status.flag]]
//! mask = 0x0001                    # raised when a bit of it is set; with `equals`, when they all are so
//! means = "measuring tube empty"
//! quality = "device_fault"         # left out when it is only shown
//! ```

use std::collections::HashSet;

use evidence::control::DeviceRole;
use evidence::decimal::Decimal;
use toml::Spanned;

use super::problem::not_one_of;
use super::reader::{IntegerOrText, Section};
use super::register::{self, Defaults, Quantity, RegisterSpec};
use super::template::{PlacedModel, Register, StatusWord, Template, model};
use super::word_flag::{self, WordFlag};

/// What is watched of one device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceWatch {
    /// Registers that say which device it is.
    pub identities: Vec<WatchedRegister>,
    /// Registers that alter what its values mean.
    pub settings: Vec<WatchedRegister>,
    /// Words in which it reports its own state.
    pub statuses: Vec<WatchedWord>,
}

/// A register whose value should stay what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedRegister {
    /// Where it is and how it reads.
    pub register: RegisterSpec,
    /// What it must hold, where the site states it.
    pub expected: Option<String>,
}

/// A word in which a device reports its own state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedWord {
    /// Where it is.
    pub register: RegisterSpec,
    /// What its bits mean.
    pub flags: Vec<WordFlag>,
    /// The points it speaks of; empty: all of the device.
    pub points: Vec<String>,
}

impl DeviceWatch {
    /// What a template watches, with the models that stand in the device.
    #[must_use]
    pub fn of_template(template: &Template, models: &[PlacedModel]) -> Self {
        let watched = |registers: Vec<Register>| {
            registers
                .into_iter()
                .map(|register| WatchedRegister {
                    register: register.spec,
                    expected: None,
                })
                .collect()
        };
        let mut identities: Vec<WatchedRegister> = watched(model::identity(template, models));
        for model in models {
            // Where the site says a model stands, its head must say the same.
            let name = format!("model_{}", model.name);
            let head = identities
                .iter_mut()
                .find(|watched| watched.register.name == name);
            if let Some(head) = head {
                head.expected = Some(model.header().to_string());
            }
        }
        Self {
            identities,
            settings: watched(model::settings(template, models)),
            statuses: template
                .status
                .iter()
                .map(WatchedWord::of_template)
                .collect(),
        }
    }

    /// Whether nothing is watched.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.identities.is_empty() && self.settings.is_empty() && self.statuses.is_empty()
    }

    /// The names of everything that is watched, status words last.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let registers = self.registers().map(|(_, watched)| &watched.register);
        let words = self.statuses.iter().map(|word| &word.register);
        let names = registers.chain(words);
        names.map(|register| register.name.as_str()).collect()
    }

    /// Identity and settings with their roles.
    pub fn registers(&self) -> impl Iterator<Item = (DeviceRole, &WatchedRegister)> {
        let identities = self
            .identities
            .iter()
            .map(|watched| (DeviceRole::Identity, watched));
        identities.chain(
            self.settings
                .iter()
                .map(|watched| (DeviceRole::Setting, watched)),
        )
    }

    /// Adds what a template watches; what the site wrote under the same name wins.
    pub fn add(&mut self, template: Self) {
        let known = |list: &[WatchedRegister], name: &str| {
            list.iter().any(|watched| watched.register.name == name)
        };
        for watched in template.identities {
            if !known(&self.identities, &watched.register.name) {
                self.identities.push(watched);
            }
        }
        for watched in template.settings {
            if !known(&self.settings, &watched.register.name) {
                self.settings.push(watched);
            }
        }
        for status in template.statuses {
            let same = |own: &WatchedWord| own.register.name == status.register.name;
            if !self.statuses.iter().any(same) {
                self.statuses.push(status);
            }
        }
    }
}

impl WatchedWord {
    fn of_template(word: &StatusWord) -> Self {
        Self {
            register: word.register.spec.clone(),
            flags: word.flags.clone(),
            points: Vec::new(),
        }
    }
}

/// Whether what was read is what the site expects: the same words, or the same number.
#[must_use]
pub fn is_expected(expected: &str, read: &str) -> bool {
    if expected == read {
        return true;
    }
    let number = |text: &str| {
        let decimal = Decimal::parse(text).ok()?;
        decimal.on_grid(evidence::decimal::MAX_DECIMALS)
    };
    matches!((number(expected), number(read)), (Some(left), Some(right)) if left == right)
}

/// Reads `serial`, `[[identity]]`, `[[setting]]` and `[[status]]` of a device or a template.
///
/// `template` is what the device's template watches: an identity or setting that only names one of
/// them states what is expected of it. `points` are the device's points, which status words may name;
/// a template has none to name.
pub(super) fn read(
    section: &Section<'_, '_>,
    defaults: Defaults,
    template: Option<&DeviceWatch>,
    points: Option<&[&str]>,
) -> Option<DeviceWatch> {
    let defaults = Defaults {
        quantity: Quantity::Plain,
        ..defaults
    };
    let none = Vec::new();
    let of_template = template.map_or(&none, |template| &template.identities);
    let mut identities = registers(section, "identity", defaults, of_template);
    let of_template = template.map_or(&none, |template| &template.settings);
    let settings = registers(section, "setting", defaults, of_template);
    if let Some(serial) = section.text("serial") {
        let of_template = template.map_or(&none, |template| &template.identities);
        serial_number(section, &serial, &mut identities, of_template);
    }
    let mut statuses = Some(Vec::new());
    let mut names = HashSet::new();
    for below in section.sections("status") {
        let status = status(&below, defaults, points, &mut names);
        statuses = statuses.zip(status).map(|(mut list, status)| {
            list.push(status);
            list
        });
    }
    Some(DeviceWatch {
        identities: identities?,
        settings: settings?,
        statuses: statuses?,
    })
}

/// Judges a device whose line is only listened on: nothing can be asked there, so what the site wrote
/// down to be watched would be promised and never done. What a template brings along is a warning: the
/// site did not ask for it, and cannot have it.
pub(super) fn unheard(section: &Section<'_, '_>, template: Option<&DeviceWatch>) {
    for key in ["serial", "identity", "setting", "status"] {
        if section.has(key) {
            let text = "cannot be watched on a line with mode = \"listen\": nothing is ever asked there, so \
                        no value would be flagged; leave it out and compare by hand, or poll the device";
            section.report(&section.place(key), key, text);
        }
    }
    let watched = template.map(DeviceWatch::names).unwrap_or_default();
    if !watched.is_empty() {
        let text = format!(
            "on a line with mode = \"listen\" nothing is asked, so {} of this template are not read: no \
             value is flagged when the device is exchanged, set differently or reports a fault",
            watched.join(", ")
        );
        section.warn(&section.place("template"), "template", text);
    }
}

fn registers(
    section: &Section<'_, '_>,
    key: &'static str,
    defaults: Defaults,
    of_template: &[WatchedRegister],
) -> Option<Vec<WatchedRegister>> {
    let mut found = Some(Vec::new());
    let mut names = HashSet::new();
    for below in section.sections(key) {
        let watched = watched(&below, defaults, of_template);
        below.finish();
        if let Some(watched) = &watched {
            unique(&below, &mut names, &watched.register.name);
        }
        found = found.zip(watched).map(|(mut list, watched)| {
            list.push(watched);
            list
        });
    }
    found
}

fn watched(
    section: &Section<'_, '_>,
    defaults: Defaults,
    of_template: &[WatchedRegister],
) -> Option<WatchedRegister> {
    let expected = section
        .has("expected")
        .then(|| section.integer_or_text("expected"))
        .flatten()
        .map(|written| match written.into_inner() {
            IntegerOrText::Integer(number) | IntegerOrText::Hex(number) => number.to_string(),
            IntegerOrText::Text(text) => text,
        });
    let named = section.text("name").and_then(|name| {
        of_template
            .iter()
            .find(|watched| watched.register.name == *name.get_ref())
    });
    if let Some(known) = named
        && !section.has("address")
    {
        return Some(WatchedRegister {
            expected,
            ..known.clone()
        });
    }
    Some(WatchedRegister {
        register: register::register(section, defaults)?,
        expected,
    })
}

/// `serial = "…"` is short for what is expected of the identity `serial_number`.
fn serial_number(
    section: &Section<'_, '_>,
    serial: &Spanned<String>,
    identities: &mut Option<Vec<WatchedRegister>>,
    of_template: &[WatchedRegister],
) {
    let Some(identities) = identities else { return };
    let is_serial = |watched: &&mut WatchedRegister| watched.register.name == "serial_number";
    if let Some(own) = identities.iter_mut().find(is_serial) {
        own.expected = Some(serial.get_ref().clone());
        return;
    }
    let known = of_template
        .iter()
        .find(|watched| watched.register.name == "serial_number");
    match known {
        Some(known) => identities.push(WatchedRegister {
            expected: Some(serial.get_ref().clone()),
            ..known.clone()
        }),
        None => section.report(
            &serial.span(),
            "serial",
            "no register tells the serial number of this device: add [[modbus.identity]] with \
             name = \"serial_number\", or a template that has it",
        ),
    }
}

fn status(
    section: &Section<'_, '_>,
    defaults: Defaults,
    known: Option<&[&str]>,
    names: &mut HashSet<String>,
) -> Option<WatchedWord> {
    let register = register::register(section, defaults);
    let mut points = Vec::new();
    for point in section.texts("points") {
        if !known.is_some_and(|known| known.contains(&point.get_ref().as_str())) {
            let what = "a point of this device";
            let text = not_one_of(point.get_ref(), what, known.unwrap_or_default());
            section.report(&point.span(), "points", text);
        }
        points.push(point.into_inner());
    }
    let flags = word_flag::of_word(section, register.as_ref());
    section.finish();
    let register = register?;
    unique(section, names, &register.name);
    Some(WatchedWord {
        register,
        flags: flags?,
        points,
    })
}

fn unique(section: &Section<'_, '_>, names: &mut HashSet<String>, name: &str) {
    if !names.insert(name.to_owned()) {
        let text = format!("`{name}` is there twice; names are unique among their kind");
        section.report(&section.place("name"), "name", text);
    }
}

#[cfg(test)]
mod tests {
    use super::super::address::AddressBase;
    use super::super::problem::Problem;
    use super::super::reader::{Reader, Section};
    use super::super::register::{Defaults, Quantity};
    use super::{DeviceWatch, is_expected, read};
    use evidence::quality::Quality;
    use evidence::value::Order;
    use toml::de::DeTable;

    fn parsed(text: &str, template: Option<&DeviceWatch>) -> (Option<DeviceWatch>, Vec<Problem>) {
        let table = DeTable::parse(text).unwrap();
        let reader = Reader::new(text);
        let section = Section::root(&reader, table.get_ref());
        let defaults = Defaults {
            base: Some(AddressBase::Pdu),
            table: None,
            order: Order::Abcd,
            quantity: Quantity::Measured,
        };
        let found = read(&section, defaults, template, Some(&["energy"]));
        section.finish();
        (found, reader.into_problems())
    }

    const WHOLE: &str = r#"
serial = "23456789"
[[identity]]
name = "serial_number"
table = "holding"
address = 10
type = "u32"
[[setting]]
name = "ct_primary"
table = "holding"
address = 20
type = "u16"
expected = 100
[[status]]
name = "device_status"
table = "input"
address = 5
type = "u16"
points = ["energy"]
[[status.flag]]
mask = 0x0003
equals = 0x0002
means = "tube empty"
quality = "device_fault"
[[status.flag]]
mask = 0x8000
means = "service due"
"#;

    #[test]
    fn identity_settings_and_status_words_are_read_with_what_is_expected() {
        let (found, problems) = parsed(WHOLE, None);
        assert_eq!(problems, []);
        let found = found.unwrap();
        assert_eq!(found.identities[0].expected.as_deref(), Some("23456789"));
        assert_eq!(found.settings[0].expected.as_deref(), Some("100"));
        let status = &found.statuses[0];
        assert_eq!(status.points, ["energy"]);
        let raised = |word| {
            let flags = status.flags.iter();
            flags
                .filter(|flag| flag.is_raised(word))
                .map(|flag| flag.quality)
                .collect::<Vec<_>>()
        };
        assert_eq!(raised(0x0002), [Some(Quality::DEVICE_FAULT)]);
        assert_eq!(raised(0x0003), [], "equals means all bits of the mask");
        assert_eq!(raised(0x8000), [None], "a flag that is only shown");
    }

    #[test]
    fn what_a_template_watches_may_be_named_to_say_what_is_expected() {
        let (template, _) = parsed(WHOLE, None);
        let template = template.unwrap();
        let site = "serial = \"7\"\n[[setting]]\nname = \"ct_primary\"\nexpected = \"200\"\n";
        let (own, problems) = parsed(site, Some(&template));
        assert_eq!(problems, []);
        let mut own = own.unwrap();
        own.add(template.clone());
        assert_eq!(own.identities.len(), 1);
        assert_eq!(own.identities[0].register, template.identities[0].register);
        assert_eq!(own.identities[0].expected.as_deref(), Some("7"));
        assert_eq!(own.settings[0].expected.as_deref(), Some("200"));
        assert_eq!(own.statuses, template.statuses);
    }

    #[test]
    fn mistakes_are_named_with_their_remedy() {
        let wrong = WHOLE
            .replace("serial_number", "type_code")
            .replace("equals = 0x0002", "equals = 0x0004")
            .replace("quality = \"device_fault\"", "quality = \"broken\"");
        let twice =
            "[[setting]]\nname = \"a\"\ntable = \"input\"\naddress = 1\ntype = \"u16\"\n".repeat(2);
        let (_, mut problems) = parsed(&wrong, None);
        problems.extend(parsed(&twice, None).1);
        let found: Vec<(&str, &str)> = problems
            .iter()
            .map(|problem| (problem.key.as_str(), problem.text.as_str()))
            .collect();
        for (key, part) in [
            ("serial", "add [[modbus.identity]]"),
            ("status.flag.equals", "outside of mask"),
            ("status.flag.quality", "allowed: device_fault"),
            ("setting.name", "twice"),
        ] {
            let named = found
                .iter()
                .any(|(k, text)| *k == key && text.contains(part));
            assert!(named, "{key} {part}: {found:?}");
        }
    }

    #[test]
    fn numbers_are_expected_by_value_and_texts_by_letter() {
        assert!(is_expected("100", "100.0"));
        assert!(is_expected("AB-12", "AB-12"));
        assert!(!is_expected("AB-12", "ab-12"));
        assert!(!is_expected("100", "101"));
    }
}
