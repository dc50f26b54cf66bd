//! Models: parts of a register map that stand elsewhere in every device.
//!
//! SunSpec devices chain models one behind the other; where each begins is found once, at
//! commissioning, and written into the configuration, so that the addresses that are read are the
//! addresses that are sealed. A template states the models' layouts; a device states where they are
//! (`[[modbus.model]]`) and its points name both: `from = "103.W"`.

use evidence::decimal::Decimal;
use evidence::measurement::Table;
use evidence::value::{Format, Kind, Order};

use super::{Register, Template, TemplatePoint};
use crate::config::problem::not_one_of;
use crate::config::reader::{IntegerOrText, Section};
use crate::config::register::{Defaults, Quantity, RegisterSpec};
use crate::sunspec::{Map, Model};

/// The layout of one or several models that differ in nothing that matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelLayout {
    /// The models' ids.
    pub ids: Vec<u16>,
    /// In words.
    pub title: String,
    /// Registers behind id and length.
    pub length: u16,
    /// Its quantities; addresses count from the model's id.
    pub points: Vec<TemplatePoint>,
    /// Its identity registers.
    pub identity: Vec<Register>,
    /// Its settings.
    pub settings: Vec<Register>,
}

/// Where a model stands in a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedModel {
    /// How points name it: its id, or a name of its own where there are several.
    pub name: String,
    /// Its id.
    pub id: u16,
    /// Where its id stands, PDU address.
    pub address: u16,
    /// Registers behind id and length, as the device says.
    pub length: u16,
}

/// Reads a `[[model]]` of a template.
pub(super) fn layout(section: &Section<'_, '_>, defaults: Defaults) -> Option<ModelLayout> {
    let ids: Vec<Option<u16>> = section
        .integers_or_texts("ids")
        .into_iter()
        .map(|id| {
            let number = match id.get_ref() {
                IntegerOrText::Integer(id) => u16::try_from(*id).ok(),
                _ => None,
            };
            if number.is_none() {
                section.report(&id.span(), "ids", "a model's id is 0 to 65535");
            }
            number
        })
        .collect();
    if ids.is_empty() {
        section.missing("ids", "write the models' ids, e.g. ids = [101, 102, 103]");
    }
    let title = section.required_text("title", "say in words what the model is");
    if !section.has("length") {
        section.missing("length", "write how many registers follow id and length");
    }
    let length = section.number("length", 0..=65_533);
    let mut names = Vec::new();
    let points: Vec<_> = section
        .sections("point")
        .into_iter()
        .map(|below| super::point_of(&below, defaults, &mut names))
        .collect();
    let plain = Defaults {
        quantity: Quantity::Plain,
        ..defaults
    };
    let identity = super::registers(section, "identity", plain);
    let settings = super::registers(section, "setting", plain);
    section.finish();
    let layout = ModelLayout {
        ids: ids.into_iter().collect::<Option<_>>()?,
        title: title?.into_inner(),
        length: length?,
        points: points.into_iter().collect::<Option<_>>()?,
        identity: identity?,
        settings: settings?,
    };
    let end = 2 + u32::from(layout.length);
    let specs = layout.points.iter().map(|point| &point.register);
    for register in specs.chain(&layout.identity).chain(&layout.settings) {
        let spec = &register.spec;
        if u32::from(spec.address) + u32::from(spec.words) > end {
            let text = format!("`{}` ends behind the model's {end} registers", spec.name);
            section.report(&section.place("length"), "length", text);
        }
    }
    Some(layout)
}

/// Reads the `[[modbus.model]]` tables of a device.
pub(in crate::config) fn placed(
    section: &Section<'_, '_>,
    template: Option<&Template>,
) -> Vec<PlacedModel> {
    let mut models: Vec<PlacedModel> = Vec::new();
    for below in section.sections("model") {
        let Some(model) = one(&below, template) else {
            continue;
        };
        if models.iter().any(|other| other.name == model.name) {
            let text = format!(
                "model `{}` is there twice: give one of them a name of its own, name = \"{}b\"",
                model.name, model.id
            );
            below.report(&below.place("id"), "id", text);
        }
        models.push(model);
    }
    models
}

fn one(section: &Section<'_, '_>, template: Option<&Template>) -> Option<PlacedModel> {
    for (key, remedy) in [
        ("id", "write the model's id, e.g. id = 103"),
        ("address", "write the PDU address at which its id stands"),
        ("length", "write its length as the device states it"),
    ] {
        if !section.has(key) {
            section.missing(key, remedy);
        }
    }
    let id: Option<u16> = section.number("id", 0..=65_534);
    let address: Option<u16> = section.number("address", 0..=65_533);
    let length: Option<u16> = section.number("length", 0..=65_533);
    let name = section.text("name").map(toml::Spanned::into_inner);
    section.finish();
    let (id, address, length) = (id?, address?, length?);
    if let Some(template) = template
        && template.layout(id).is_none()
    {
        let known: Vec<String> = template
            .models
            .iter()
            .flat_map(|layout| &layout.ids)
            .map(u16::to_string)
            .collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let what = format!("a model of template `{}`", template.name);
        let text = if known.is_empty() {
            format!(
                "template `{}` has no models: leave the table out",
                template.name
            )
        } else {
            not_one_of(&id.to_string(), &what, &known)
        };
        section.report(&section.place("id"), "id", text);
    }
    if u32::from(address) + 2 + u32::from(length) > 0x1_0000 {
        section.report(
            &section.place("length"),
            "length",
            "the model ends beyond 65535",
        );
        return None;
    }
    Some(PlacedModel {
        name: name.unwrap_or_else(|| id.to_string()),
        id,
        address,
        length,
    })
}

/// Every point of a template by the name that `from` takes, at its address in this device. Points
/// behind the length that the device states are left out.
#[must_use]
pub fn points(template: &Template, models: &[PlacedModel]) -> Vec<(String, TemplatePoint)> {
    let plain = template
        .points
        .iter()
        .map(|point| (point.register.spec.name.clone(), point.clone()));
    let placed = models.iter().flat_map(|model| {
        let layout = template.layout(model.id);
        let points = layout.map_or(&[][..], |layout| &layout.points);
        points.iter().filter_map(|point| {
            let register = moved(&point.register, model)?;
            let name = format!("{}.{}", model.name, register.spec.name);
            Some((
                name,
                TemplatePoint {
                    register,
                    ..point.clone()
                },
            ))
        })
    });
    plain.chain(placed).collect()
}

/// The default points, and the scale factors they need.
#[must_use]
pub fn default_points(template: &Template, models: &[PlacedModel]) -> Vec<(String, TemplatePoint)> {
    let all = points(template, models);
    let factors: Vec<String> = all
        .iter()
        .filter(|(_, point)| point.default)
        .filter_map(|(name, point)| Some(beside(name, point.register.spec.scale_from.as_ref()?)))
        .collect();
    all.into_iter()
        .filter(|(name, point)| point.default || factors.contains(name))
        .collect()
}

/// The identity registers of a device: the template's, its models', and the header of every model,
/// which holds id and length and so proves that the addresses still mean what they meant.
#[must_use]
pub fn identity(template: &Template, models: &[PlacedModel]) -> Vec<Register> {
    let mut registers = template.identity.clone();
    for model in models {
        registers.push(header(model));
        let layout = template.layout(model.id);
        let own = layout.map_or(&[][..], |layout| &layout.identity);
        registers.extend(own.iter().filter_map(|register| moved(register, model)));
    }
    registers
}

/// The settings of a device: the template's and its models'.
#[must_use]
pub fn settings(template: &Template, models: &[PlacedModel]) -> Vec<Register> {
    let mut registers = template.settings.clone();
    for model in models {
        let layout = template.layout(model.id);
        let own = layout.map_or(&[][..], |layout| &layout.settings);
        registers.extend(own.iter().filter_map(|register| moved(register, model)));
    }
    registers
}

/// The two registers that begin a model.
fn header(model: &PlacedModel) -> Register {
    let format = Format {
        kind: Kind::U32,
        order: Order::Abcd,
    };
    let spec = RegisterSpec {
        name: format!("model_{}", model.name),
        table: Table::Holding,
        address: model.address,
        words: format.words(),
        format,
        scale: Decimal::ONE,
        offset: Decimal::ZERO,
        decimals: 0,
        unit: "1",
        sentinels: Vec::new(),
        scale_from: None,
        together: None,
    };
    Register {
        spec,
        description: Some("Id and length of the model".to_owned()),
        unverified: None,
    }
}

impl PlacedModel {
    /// The models of a map that a template has a layout for, and what it says of the others.
    #[must_use]
    pub fn of_map(template: &Template, map: &Map) -> (Vec<Self>, Vec<String>) {
        let (mut models, mut notes) = (Vec::<Self>::new(), Vec::new());
        for found in &map.models {
            let Model {
                id,
                address,
                length,
            } = *found;
            let Some(layout) = template.layout(id) else {
                notes.push(format!(
                    "Model {id} at {address} is not in the template and left out."
                ));
                continue;
            };
            if length != layout.length {
                notes.push(format!(
                    "Model {id} at {address} has {length} registers where SunSpec has {}: its points \
                     behind them are left out.",
                    layout.length
                ));
            }
            // 203, 203b, 203c: a device may have several of one kind.
            let same = models.iter().filter(|other| other.id == id).count();
            let letter = u8::try_from(same).ok().filter(|same| *same > 0);
            let letter = letter.map(|same| char::from(b'a'.saturating_add(same)));
            let name = letter.map_or_else(|| id.to_string(), |letter| format!("{id}{letter}"));
            models.push(Self {
                name,
                id,
                address,
                length,
            });
        }
        (models, notes)
    }

    /// What the two registers that begin the model hold as one number.
    #[must_use]
    pub const fn header(&self) -> u32 {
        ((self.id as u32) << 16) | self.length as u32
    }
}

/// A register of a layout where the model stands; `None` when the device's model is too short for it.
fn moved(register: &Register, model: &PlacedModel) -> Option<Register> {
    let spec = &register.spec;
    let end = u32::from(spec.address) + u32::from(spec.words);
    let mut register = register.clone();
    register.spec.address = model.address.checked_add(register.spec.address)?;
    (end <= 2 + u32::from(model.length)).then_some(register)
}

/// The name that `from` takes for a register of the same model.
#[must_use]
pub fn beside(from: &str, register: &str) -> String {
    match from.split_once('.') {
        Some((model, _)) => format!("{model}.{register}"),
        None => register.to_owned(),
    }
}
