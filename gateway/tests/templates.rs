//! Every template of the folder: it reads, is embedded, states its doubts, and its register image
//! decodes to the expected values.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use evidence::decimal::format_mantissa;
use evidence::measurement::{Point, PointKind, Source, Table};
use evidence::value::{Decoder, Kind};
use gateway::config::{RegisterSpec as Register, Template};
use gateway::templates;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Image {
    expected: BTreeMap<String, String>,
    registers: Vec<Words>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Words {
    table: String,
    address: u16,
    words: Vec<u16>,
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/templates"))
}

/// The names of the files that end in `ending`.
fn names(ending: &str) -> BTreeSet<String> {
    let files = std::fs::read_dir(folder()).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names
        .filter_map(|name| name.strip_suffix(ending).map(str::to_owned))
        .filter(|name| !name.ends_with(".image"))
        .collect()
}

fn all() -> Vec<Template> {
    let embedded = templates::EMBEDDED.iter();
    embedded
        .map(|(name, text)| Template::parse(&format!("{name}.toml"), text))
        .map(|template| template.unwrap_or_else(|problems| panic!("{problems}")))
        .collect()
}

impl Image {
    fn of(name: &str) -> Self {
        let file = format!("{name}.image.toml");
        let text = std::fs::read_to_string(folder().join(&file));
        let text =
            text.unwrap_or_else(|error| panic!("{file}: {error}: every template has an image"));
        toml::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    fn words(&self, register: &Register) -> Option<Vec<u16>> {
        let cells: BTreeMap<(Table, usize), u16> = self
            .registers
            .iter()
            .flat_map(|part| {
                let table = Table::from_name(&part.table)
                    .unwrap_or_else(|| panic!("`{}` is no table", part.table));
                let first = usize::from(part.address);
                (first..)
                    .zip(&part.words)
                    .map(move |(at, word)| ((table, at), *word))
            })
            .collect();
        let first = usize::from(register.address);
        (first..first + usize::from(register.words))
            .map(|at| cells.get(&(register.table, at)).copied())
            .collect()
    }
}

/// The value as a reading shows it.
fn decoded(register: &Register, words: &[u16]) -> String {
    if register.format.kind == Kind::Text {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        return register.format.characters(&bytes);
    }
    let point = Point {
        name: register.name.clone(),
        stream: 1,
        device: 0,
        source: Source::Modbus {
            table: register.table,
            address: register.address,
            words: register.words,
        },
        format: register.format,
        scale: register.scale,
        offset: register.offset,
        decimals: register.decimals,
        unit: register.unit.to_owned(),
        kind: PointKind::Instant,
        sentinels: register.sentinels.clone(),
        scale_from: None,
        min: None,
        max: None,
        max_step_per_s: None,
        stale_after_s: None,
    };
    let raw = register.format.raw(words).unwrap();
    match Decoder::new(&point).value(raw) {
        Ok(mantissa) => format_mantissa(i128::from(mantissa), register.decimals),
        Err(quality) => quality.name().to_owned(),
    }
}

fn registers(template: &Template) -> Vec<&Register> {
    let points = template.points.iter().map(|point| &point.register.spec);
    let status = template.status.iter().map(|status| &status.register.spec);
    let others = template.identity.iter().chain(&template.settings);
    points
        .chain(others.map(|register| &register.spec))
        .chain(status)
        .collect()
}

#[test]
fn the_embedded_templates_are_the_files_of_the_folder() {
    let embedded: BTreeSet<String> = templates::EMBEDDED
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    assert_eq!(embedded, names(".toml"), "list them in src/templates.rs");
    let listed: Vec<&str> = templates::EMBEDDED.iter().map(|(name, _)| *name).collect();
    assert!(listed.is_sorted(), "{listed:?}");
    for (name, text) in templates::EMBEDDED {
        let file = std::fs::read_to_string(folder().join(format!("{name}.toml"))).unwrap();
        assert_eq!(&file, text, "{name}");
        assert_eq!(
            templates::find(name).unwrap().name,
            *name,
            "the file's name"
        );
    }
}

#[test]
fn an_image_without_a_template_is_found() {
    let templates = names(".toml");
    let images: BTreeSet<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".image.toml").map(str::to_owned))
        .collect();
    assert_eq!(images, templates);
}

#[test]
fn every_register_image_decodes_to_the_values_expected() {
    for template in all() {
        let image = Image::of(&template.name);
        let registers = registers(&template);
        for (name, expected) in &image.expected {
            let place = format!("{}.image.toml: {name}", template.name);
            let register = registers.iter().find(|register| register.name == *name);
            let register = register.unwrap_or_else(|| panic!("{place}: no such register"));
            let words = image.words(register);
            let words =
                words.unwrap_or_else(|| panic!("{place}: its registers are not in the image"));
            assert_eq!(&decoded(register, &words), expected, "{place}");
        }
    }
}

#[test]
fn an_image_covers_the_default_points_the_identity_and_every_type() {
    for template in all() {
        let expected = Image::of(&template.name).expected;
        let defaults = template.points.iter().filter(|point| point.default);
        let wanted = defaults
            .map(|point| &point.register.spec)
            .chain(template.identity.iter().map(|register| &register.spec));
        for register in wanted {
            assert!(
                expected.contains_key(&register.name),
                "{}.image.toml expects no {}",
                template.name,
                register.name
            );
        }
        let layout =
            |register: &Register| (register.format.kind.name(), register.format.order.name());
        let types: BTreeSet<_> = template
            .points
            .iter()
            .map(|point| layout(&point.register.spec))
            .collect();
        let covered: BTreeSet<_> = registers(&template)
            .into_iter()
            .filter(|register| expected.contains_key(&register.name))
            .map(layout)
            .collect();
        let missing: Vec<_> = types.difference(&covered).collect();
        assert!(
            missing.is_empty(),
            "{}.image.toml covers no {missing:?}",
            template.name
        );
    }
}

#[test]
fn every_template_has_default_points_and_an_honest_source() {
    for template in all() {
        let name = &template.name;
        assert!(template.points.iter().any(|point| point.default), "{name}");
        for text in [&template.document, &template.edition, &template.source] {
            assert!(text.trim().chars().count() > 3, "{name}: {text}");
        }
        let why = template.unverified.as_ref();
        assert!(
            why.is_none_or(|why| why.split(' ').count() > 3),
            "{name}: say why"
        );
    }
}
