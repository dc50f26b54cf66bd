//! Every template of the folder: it reads, is embedded, states its doubts, and its register image
//! decodes to the expected values.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use evidence::decimal::format_mantissa;
use evidence::measurement::{Point, PointKind, Source, Table};
use evidence::quality::Quality;
use evidence::value::{Decoder, Kind};
use gateway::cli;
use gateway::config::{
    GatewayConfig, PlacedModel, RegisterSpec as Register, Template, bits_of, default_points,
    template_identity, template_points, template_settings,
};
use gateway::notify::Notifier;
use gateway::plan::plan;
use gateway::read_once::read_once;
use gateway::sampling::{limits, values};
use gateway::sunspec::Walk;
use gateway::templates;
use ring::rand::SystemRandom;
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Image {
    expected: BTreeMap<String, String>,
    /// What the status words say, in the words of their flags.
    #[serde(default)]
    raised: BTreeMap<String, Vec<String>>,
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
        self.cells(register.table, register.address, register.words.into())
    }

    fn cells(&self, table: Table, first: u16, count: u16) -> Option<Vec<u16>> {
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
        let first = usize::from(first);
        (first..first + usize::from(count))
            .map(|at| cells.get(&(table, at)).copied())
            .collect()
    }

    /// Where the template's models stand, found in the image as in a device.
    fn models(&self, template: &Template) -> Vec<PlacedModel> {
        if template.models.is_empty() {
            return Vec::new();
        }
        let mut walk = Walk::default();
        while let Some(span) = walk.question() {
            walk.answer(self.cells(span.table, span.address, span.count).as_deref());
        }
        PlacedModel::of_map(template, &walk.map().expect("the image has a map")).0
    }
}

/// The value as a reading shows it.
fn decoded(register: &Register, words: &[u16], exponent: Option<i64>) -> String {
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
        scale_from: register.scale_from.as_ref().map(|_| 0),
        min: None,
        max: None,
        max_step_per_s: None,
        stale_after_s: None,
    };
    let raw = register.format.raw(words).unwrap();
    let decoder = Decoder::new(&point);
    let value = if register.scale_from.is_some() {
        decoder.scaled_value(raw, exponent)
    } else {
        decoder.value(raw)
    };
    match value {
        Ok(mantissa) => format_mantissa(i128::from(mantissa), register.decimals),
        Err(quality) => quality.name().to_owned(),
    }
}

/// Every register of a device with these models; those of a model by the names that `from` takes.
fn registers(template: &Template, models: &[PlacedModel]) -> Vec<Register> {
    let named = |(name, register)| Register { name, ..register };
    let points = template_points(template, models)
        .into_iter()
        .map(|(name, point)| named((name, point.register.spec)));
    let status = template
        .status
        .iter()
        .map(|status| status.register.spec.clone());
    let identity = template_identity(template, models);
    let others = identity
        .into_iter()
        .chain(template_settings(template, models));
    points
        .chain(others.map(|register| register.spec))
        .chain(status)
        .collect()
}

/// The exponent that a value's scale factor holds.
fn exponent(register: &Register, all: &[Register], image: &Image) -> Option<i64> {
    let factor = register.scale_from.as_ref()?;
    let name = match register.name.split_once('.') {
        Some((model, _)) => format!("{model}.{factor}"),
        None => factor.clone(),
    };
    let factor = all.iter().find(|other| other.name == name)?;
    factor.format.raw(&image.words(factor)?)
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
        let registers = registers(&template, &image.models(&template));
        for (name, expected) in &image.expected {
            let place = format!("{}.image.toml: {name}", template.name);
            let register = registers.iter().find(|register| register.name == *name);
            let register = register.unwrap_or_else(|| panic!("{place}: no such register"));
            let words = image.words(register);
            let words =
                words.unwrap_or_else(|| panic!("{place}: its registers are not in the image"));
            let exponent = exponent(register, &registers, &image);
            assert_eq!(&decoded(register, &words, exponent), expected, "{place}");
        }
    }
}

#[test]
fn every_status_word_of_an_image_raises_the_flags_expected() {
    for template in all() {
        let image = Image::of(&template.name);
        let mut said = BTreeMap::new();
        for status in &template.status {
            let spec = &status.register.spec;
            let words = image.words(spec);
            let words = words.unwrap_or_else(|| {
                panic!("{}.image.toml: {} is not in it", template.name, spec.name)
            });
            let word = bits_of(spec.format.kind, spec.format.raw(&words).unwrap());
            let raised = status.flags.iter().filter(|flag| flag.is_raised(word));
            let means = raised.map(|flag| flag.means.clone()).collect();
            said.insert(spec.name.clone(), means);
        }
        assert_eq!(said, image.raised, "{}.image.toml: raised", template.name);
    }
}

#[test]
fn an_image_covers_the_default_points_the_identity_and_every_type() {
    for template in all() {
        let image = Image::of(&template.name);
        let models = image.models(&template);
        let expected = &image.expected;
        let defaults = default_points(&template, &models);
        let identity = template_identity(&template, &models);
        let names = defaults.into_iter().map(|(name, _)| name);
        for name in names.chain(identity.into_iter().map(|register| register.spec.name)) {
            assert!(
                expected.contains_key(&name),
                "{}.image.toml expects no {name}",
                template.name
            );
        }
        let layout =
            |register: &Register| (register.format.kind.name(), register.format.order.name());
        let registers = registers(&template, &models);
        let points = template_points(&template, &models);
        let types: BTreeSet<_> = points
            .iter()
            .map(|(_, point)| layout(&point.register.spec))
            .collect();
        let covered: BTreeSet<_> = registers
            .iter()
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
        let own = template.points.iter();
        let of_models = template.models.iter().flat_map(|layout| &layout.points);
        assert!(own.chain(of_models).any(|point| point.default), "{name}");
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

/// A configuration that reads every point of a template that its image expects.
fn config(template: &Template, image: &Image, port: u16) -> GatewayConfig {
    let name = &template.name;
    let mut text = format!(
        "[gateway]\norigin = \"example.com/gw/1\"\ndata_dir = \"/nowhere\"\n[[modbus]]\nname = \"d\"\n\
         host = \"127.0.0.1\"\nport = {port}\ntemplate = \"{name}\"\ntimeout_ms = 20000\n"
    );
    let models = image.models(template);
    for model in &models {
        let PlacedModel {
            name,
            id,
            address,
            length,
        } = model;
        text.push_str(&format!(
            "[[modbus.model]]\nname = \"{name}\"\nid = {id}\naddress = {address}\nlength = {length}\n"
        ));
    }
    let points = template_points(template, &models);
    let factors: Vec<String> = points
        .iter()
        .filter(|(from, _)| image.expected.contains_key(from))
        .filter_map(|(from, point)| {
            let factor = point.register.spec.scale_from.as_ref()?;
            Some(
                from.split_once('.')
                    .map_or(factor.clone(), |(model, _)| format!("{model}.{factor}")),
            )
        })
        .collect();
    for (from, _) in points {
        if image.expected.contains_key(&from) || factors.contains(&from) {
            text.push_str(&format!(
                "[[modbus.point]]\nname = \"{from}\"\nfrom = \"{from}\"\n"
            ));
        }
    }
    GatewayConfig::parse("gateway.toml", &text).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn no_request_of_a_template_is_longer_than_the_device_allows_or_touches_a_barrier() {
    for template in all() {
        let config = config(&template, &Image::of(&template.name), 502);
        let device = &config.modbus[0];
        let table = config.measurement(|_| 0);
        table.validate().unwrap();
        let limits = limits(device);
        let spans: Vec<_> = values(&table, 0, None)
            .iter()
            .map(|value| value.span)
            .collect();
        for block in plan(&spans, &limits) {
            let most = if block.span.is_bits() {
                limits.bits
            } else {
                limits.registers
            };
            assert!(block.span.count <= most, "{}: {block:?}", template.name);
            let barred = template.barriers.iter().any(|barrier| {
                barrier.table == block.span.table
                    && block.span.address <= barrier.to
                    && u32::from(barrier.from) < block.span.end()
            });
            assert!(!barred, "{}: {block:?}", template.name);
        }
    }
}

/// Answers Modbus TCP from an image; registers that are not in it are refused with exception 2.
async fn serve(listener: TcpListener, image: Image) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut question = [0; 12];
        while stream.read_exact(&mut question).await.is_ok() {
            let [t0, t1, _, _, _, _, unit, function, a0, a1, c0, c1] = question;
            let (address, count) = (u16::from_be_bytes([a0, a1]), u16::from_be_bytes([c0, c1]));
            let table = match function {
                1 => Table::Coil,
                2 => Table::Discrete,
                3 => Table::Holding,
                _ => Table::Input,
            };
            let body = match image.cells(table, address, count) {
                None => vec![function | 0x80, 2],
                Some(words) => {
                    let data: Vec<u8> = if function < 3 {
                        words
                            .chunks(8)
                            .map(|bits| {
                                bits.iter()
                                    .rev()
                                    .fold(0, |byte, bit| byte << 1 | u8::from(*bit != 0))
                            })
                            .collect()
                    } else {
                        words.iter().flat_map(|word| word.to_be_bytes()).collect()
                    };
                    let length = u8::try_from(data.len()).unwrap();
                    [vec![function, length], data].concat()
                }
            };
            let length = u16::try_from(body.len() + 1).unwrap().to_be_bytes();
            let head = vec![t0, t1, 0, 0, length[0], length[1], unit];
            stream.write_all(&[head, body].concat()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn read_over_a_connection_every_template_gives_the_values_expected() {
    for template in all() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let image = Image::of(&template.name);
        let config = config(&template, &image, port);
        let server = tokio::spawn(serve(listener, Image::of(&template.name)));
        let rows = read_once(&config, Duration::ZERO, &SystemRandom::new())
            .await
            .unwrap();
        server.abort();
        for row in rows {
            let Some(expected) = image.expected.get(&row.point) else {
                continue;
            };
            let place = format!("{}: {}: {row:?}", template.name, row.point);
            match Quality::ALL
                .iter()
                .find(|quality| quality.name() == expected)
            {
                Some(quality) => assert_eq!(row.quality, quality.name(), "{place}"),
                None => assert_eq!(row.value.as_ref(), Some(expected), "{place}"),
            }
        }
    }
}

/// What the command line prints.
async fn command(arguments: &[&str]) -> Result<String, (String, u8)> {
    let arguments = ["fieldseal-gateway"]
        .iter()
        .chain(arguments)
        .map(Into::into);
    let cli = cli::parse(arguments).unwrap();
    let printed = cli::execute(cli, Notifier::new(None), std::future::pending::<()>).await;
    printed.map_err(|failure| (failure.text, failure.code))
}

#[tokio::test]
async fn a_sunspec_device_is_asked_where_its_models_stand_and_what_is_printed_reads_it() {
    let image = Image::of("sunspec");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let server = tokio::spawn(serve(listener, Image::of("sunspec")));
    let text = command(&[
        "config",
        "template",
        "sunspec",
        "--host",
        &host,
        "--unit",
        "1",
        "--origin",
        "example.com/gw/1",
        "--device",
        "inverter",
        "--timeout-ms",
        "20000",
    ])
    .await
    .unwrap();
    assert!(
        text.contains(
            "# Found at 40000: Example Works Inverter 10, version 1.4.2, serial number SN"
        ),
        "{text}"
    );
    let config = GatewayConfig::parse("gateway.toml", &text).unwrap();
    let addresses: Vec<_> = config.modbus[0]
        .models
        .iter()
        .map(|m| (m.id, m.address))
        .collect();
    assert_eq!(
        addresses,
        [
            (1, 40_002),
            (103, 40_070),
            (203, 40_122),
            (113, 40_229),
            (213, 40_291)
        ]
    );
    let rows = read_once(&config, Duration::ZERO, &SystemRandom::new())
        .await
        .unwrap();
    let value = |point: &str| {
        let row = rows.iter().find(|row| row.point == point);
        row.unwrap_or_else(|| panic!("{point}\n{text}"))
            .value
            .clone()
    };
    assert_eq!(
        value("inverter-103-w").as_ref(),
        image.expected.get("103.W")
    );
    assert_eq!(
        value("inverter-203-totwhimp").as_ref(),
        image.expected.get("203.TotWhImp")
    );
    server.abort();
}

#[tokio::test]
async fn a_value_that_the_device_does_not_have_is_left_out_with_its_scale_factor() {
    let mut image = Image::of("sunspec");
    // The power of model 103 stands at 40070 + 14, its factor behind it.
    image.registers[0].words[84] = 0x8000;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let server = tokio::spawn(serve(listener, image));
    let arguments = [
        "config",
        "template",
        "sunspec",
        "--host",
        &host,
        "--origin",
        "example.com/gw/1",
    ];
    let text = command(&arguments).await.unwrap();
    let config = GatewayConfig::parse("gateway.toml", &text).unwrap();
    let from = |name: &str| {
        let mut points = config.modbus[0].points.iter();
        points.any(|point| point.from.as_ref().is_some_and(|from| from.point == name))
    };
    assert!(!from("103.W") && !from("103.W_SF"), "{text}");
    assert!(
        from("103.WH") && from("103.WH_SF") && from("203.W") && from("203.W_SF"),
        "{text}"
    );
    assert!(text.contains("left out: 103.W, 103.W_SF."), "{text}");
    server.abort();
}

#[tokio::test]
async fn a_device_without_a_map_and_a_line_without_a_device_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let empty = Image {
        raised: BTreeMap::new(),
        expected: BTreeMap::new(),
        registers: Vec::new(),
    };
    let server = tokio::spawn(serve(listener, empty));
    let (text, code) = command(&["config", "template", "sunspec", "--host", &host])
        .await
        .unwrap_err();
    assert!(
        text.contains("has no SunSpec map at 40000, 0, 50000"),
        "{text}"
    );
    assert_eq!(code, 1);
    server.abort();
    drop(server.await);
    let (text, code) = command(&["config", "template", "sunspec", "--host", &host])
        .await
        .unwrap_err();
    assert_eq!(code, 69, "{text}");
    let (text, code) = command(&["config", "template", "sunspec"])
        .await
        .unwrap_err();
    assert!(text.contains("--host HOST or --port PORT"), "{text}");
    assert_eq!(code, 64);
}

#[tokio::test]
async fn config_template_needs_no_configuration_file() {
    let list = command(&["--config", "/nowhere/gateway.toml", "config", "template"])
        .await
        .unwrap();
    assert!(
        list.contains("eastron-sdm630") && list.contains("sunspec"),
        "{list}"
    );
    let shown = command(&["config", "template", "eastron-sdm630", "--show"])
        .await
        .unwrap();
    assert!(shown.contains("3x00073"), "{shown}");
    let (text, code) = command(&["config", "template", "eastron-sdm360"])
        .await
        .unwrap_err();
    assert!(text.contains("did you mean `eastron-sdm630`?"), "{text}");
    assert_eq!(code, 64);
    let made = command(&[
        "config",
        "template",
        "eastron-sdm630",
        "--origin",
        "example.com/gw/1",
    ])
    .await
    .unwrap();
    GatewayConfig::parse("gateway.toml", &made).unwrap();
}
