//! The configuration file `gateway.toml`, checked.
//!
//! [`GatewayConfig::load`] returns a configuration in which every value has been judged, alone and
//! against the others, or *every* mistake with its line, key, allowed values and remedy. Nothing is
//! opened or connected. Keys that nobody knows are mistakes.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use evidence::hash::Origin;
use evidence::note::{SignatureKind, Vkey};
use toml::Spanned;

use crate::clock::TimeSource;

mod address;
mod document;
mod kind;
mod line;
mod lines;
mod measurement;
mod modbus;
mod mqtt;
mod network;
mod of_template;
mod order;
mod point;
mod problem;
mod proxy;
mod reader;
mod register;
mod rules;
mod serial_names;
mod template;
mod together;
mod watch;
mod word_flag;

pub use address::{AddressBase, modicon_text, register_address};
use document::Document;
pub use line::{Characters, Endpoint, LineConfig, LineMode, Parity, Rs485, SerialPort, TlsFiles};
pub use measurement::{MESSAGE_STREAMS_FROM, MESSAGE_TICK_MS, polled_streams};
pub use modbus::ModbusDevice;
pub use mqtt::{MqttBroker, MqttTls};
pub use network::Network;
pub use of_template::point_name;
pub use point::{FromTemplate, PointConfig};
pub(crate) use problem::did_you_mean;
pub use problem::{Problem, Problems};
pub use proxy::{OfferedUnit, ProxyConfig};
use reader::{Reader, Section};
pub use register::RegisterSpec;
pub use rules::{DirectionRule, FrozenRule, PointRules};
pub use serial_names::{NamedPort, SerialNames};
pub use template::{
    Barrier, FactoryLine, ModelLayout, PlacedModel, Register, StatusWord, Template, TemplateLimits,
    TemplatePoint, default_points, template_beside, template_identity, template_points,
    template_settings,
};
pub use together::groups as read_together;
pub use watch::{DeviceWatch, WatchedRegister, WatchedWord, is_expected};
pub use word_flag::{WordFlag, bits_of};

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayConfig {
    /// The log's name, for ever.
    pub origin: Origin,
    /// Where the gateway keeps its log, keys and state.
    pub data_dir: PathBuf,
    /// Length of a segment in seconds, 10–300, divides 3600.
    pub segment_s: u32,
    /// How often the journal is synced: what a power cut may cost, in seconds (1–60).
    pub sync_interval_s: u32,
    /// Where time comes from: `[clock] source`.
    pub clock: TimeSource,
    /// Where sealed entries go; `None` = nowhere yet.
    pub collector: Option<CollectorConfig>,
    /// The bounds of the buffer.
    pub buffer: BufferConfig,
    /// The ports and connections that Modbus devices are read on: those of the file first, then
    /// those that a device's `host` and `port` make.
    pub lines: Vec<LineConfig>,
    /// Modbus devices, in the order of the file.
    pub modbus: Vec<ModbusDevice>,
    /// Brokers, in the order of the file.
    pub mqtt: Vec<MqttBroker>,
    /// What works but should be otherwise, for `check` to print.
    pub warnings: Vec<Problem>,
    /// Who else may read the devices, in the order of the file.
    pub proxies: Vec<ProxyConfig>,
}

/// `[collector]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectorConfig {
    /// `https://host[:port]`, without a path.
    pub url: String,
    /// PEM certificates to trust besides the key pinned at enrolment.
    pub ca_file: Option<PathBuf>,
    /// Verifier keys of independent witnesses. With any, only a trail note that one of them cosigned
    /// is pinned as freshness; without, the collector's own cosignature suffices.
    pub witnesses: Vec<Vkey>,
}

/// `[buffer]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BufferConfig {
    /// What happens when the buffer is full.
    pub policy: FullPolicy,
    /// Most megabytes the buffer may take.
    pub max_mb: u64,
    /// Megabytes the buffer leaves free on its file system.
    pub min_free_mb: u64,
    /// Days that acknowledged segments are kept.
    pub keep_days: u32,
}

/// What a full buffer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FullPolicy {
    /// Stop sampling and say so.
    Stop,
    /// Drop the oldest payloads, each as a signed gap.
    DropOldest,
}

/// What stands between an instrument and the gateway.
const PATHS: [(&str, &str); 5] = [
    ("meter", "meter"),
    ("converter", "converter"),
    ("plc", "plc"),
    ("broker", "broker"),
    ("hand", "hand"),
];

/// Why a configuration could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file could not be read.
    #[error("read {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file holds mistakes.
    #[error(transparent)]
    Wrong(#[from] Problems),
}

impl GatewayConfig {
    /// Reads and checks a file. Relative paths in it start from the file's folder.
    ///
    /// # Errors
    /// [`ConfigError`]: the file cannot be read, or every mistake in it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let names = SerialNames::system();
        let mut config = Self::parse_with(&path.display().to_string(), &text, &names)?;
        config.resolve(path.parent().unwrap_or_else(|| Path::new("")));
        Ok(config)
    }

    /// Checks a text; `file` names it in messages. Only templates of the site's own are read besides,
    /// from the folder of `file`.
    ///
    /// # Errors
    /// Every mistake in the text.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problems> {
        Self::parse_with(file, text, &SerialNames::system())
    }

    /// Checks a text; serial ports are looked up in `names`.
    ///
    /// # Errors
    /// Every mistake in the text.
    pub fn parse_with(file: &str, text: &str, names: &SerialNames) -> Result<Self, Problems> {
        let reader = Reader::new(text);
        let folder = Path::new(file).parent().unwrap_or_else(|| Path::new(""));
        let config = match Document::parse(text, &["modbus"]) {
            Ok(document) => read(&document, &document.root(&reader), names, folder),
            // After a syntax error the rest would be judged against a guess.
            Err(errors) => {
                for error in errors {
                    reader.report(&error.span().unwrap_or(0..0), "", error.message());
                }
                None
            }
        };
        let warnings = reader.warnings();
        let list = reader.into_problems();
        match config {
            Some(config) if list.is_empty() => Ok(Self { warnings, ..config }),
            _ => Err(Problems {
                file: file.to_owned(),
                list,
            }),
        }
    }

    fn resolve(&mut self, folder: &Path) {
        let absolute = |path: &mut PathBuf| *path = folder.join(&*path);
        absolute(&mut self.data_dir);
        self.collector
            .iter_mut()
            .filter_map(|collector| collector.ca_file.as_mut())
            .for_each(absolute);
        for line in &mut self.lines {
            if let Endpoint::Tls { files, .. } = &mut line.endpoint {
                absolute(&mut files.ca_file);
                absolute(&mut files.cert_file);
                absolute(&mut files.key_file);
            }
        }
        for broker in &mut self.mqtt {
            broker.password_file.iter_mut().for_each(absolute);
            if let Some(tls) = &mut broker.tls {
                tls.ca_file.iter_mut().for_each(absolute);
                if let Some((cert, key)) = &mut tls.client {
                    absolute(cert);
                    absolute(key);
                }
            }
        }
    }
}

impl fmt::Display for FullPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stop => "stop",
            Self::DropOldest => "drop_oldest",
        })
    }
}

fn read<'t>(
    document: &Document<'t>,
    root: &Section<'_, 't>,
    serial_names: &SerialNames,
    folder: &Path,
) -> Option<GatewayConfig> {
    let gateway = root.section("gateway");
    if gateway.is_none() && !root.has("gateway") {
        root.missing(
            "gateway",
            "begin with [gateway], origin = \"…\", data_dir = \"…\"",
        );
    }
    let general = gateway.map(|section| general(&section));
    let collector = root.section("collector").map(|section| collector(&section));
    let buffer = root
        .section("buffer")
        .map_or_else(BufferConfig::default, |section| buffer(&section));
    let clock = root
        .section("clock")
        .map_or(TimeSource::Auto, |section| clock(&section));
    let mut names = Names::default();
    let mut lines = lines::Lines::new(serial_names);
    for section in root.sections("line") {
        lines.read(&section);
    }
    let modbus = document.each(root, "modbus", |section| {
        modbus::device(section, &mut names, &mut lines, folder)
    });
    let mqtt: Vec<_> = root
        .sections("mqtt")
        .into_iter()
        .map(|section| mqtt::broker(&section, &mut names))
        .collect();
    let known: Vec<_> = modbus
        .iter()
        .map(|device| match device {
            Some(device) => (Some(device.name.clone()), device.unit_id),
            None => (None, 0),
        })
        .collect();
    let proxies = proxy::proxies(root, &known);
    if modbus.is_empty() && mqtt.is_empty() && !root.has("modbus") && !root.has("mqtt") {
        root.missing(
            "modbus",
            "add at least one [[modbus]] or [[mqtt]] table: nothing would be read",
        );
    }
    if names.points.len() > MOST_POINTS {
        root.missing(
            "point",
            "this many points do not fit one gateway: at most 10000",
        );
    }
    root.finish();
    let (origin, data_dir, segment_s, sync_interval_s) = general??;
    Some(GatewayConfig {
        origin,
        data_dir,
        segment_s,
        sync_interval_s,
        clock,
        collector: match collector {
            Some(collector) => Some(collector?),
            None => None,
        },
        buffer,
        lines: lines.into_list(),
        modbus: modbus.into_iter().collect::<Option<_>>()?,
        mqtt: mqtt.into_iter().collect::<Option<_>>()?,
        warnings: Vec::new(),
        proxies: proxies.into_iter().collect::<Option<_>>()?,
    })
}

/// `evidence` refuses a larger measurement table.
const MOST_POINTS: usize = 10_000;

fn general(section: &Section<'_, '_>) -> Option<(Origin, PathBuf, u32, u32)> {
    let remedy = "write the log's name, e.g. origin = \"example.com/gw/0001\"; it can never change";
    let origin = section.required_text("origin", remedy).and_then(|text| {
        Origin::parse(text.get_ref())
            .map_err(|error| section.report(&text.span(), "origin", error.to_string()))
            .ok()
    });
    let remedy = "write where the log is kept, e.g. data_dir = \"/var/lib/fieldseal-gateway\"";
    let data_dir = section.required_text("data_dir", remedy);
    let segment_s: u32 = section.number_or("segment_s", 10..=300, 60);
    if !3_600_u32.is_multiple_of(segment_s) {
        let allowed: Vec<String> = (10..=300_u32)
            .filter(|s| 3_600 % s == 0)
            .map(|s| s.to_string())
            .collect();
        let text = format!(
            "{segment_s} does not divide an hour; allowed: {}",
            allowed.join(", ")
        );
        section.report(&section.place("segment_s"), "segment_s", text);
    }
    let sync_interval_s = section.number_or("sync_interval_s", 1..=60, 10);
    section.finish();
    Some((
        origin?,
        PathBuf::from(data_dir?.into_inner()),
        segment_s,
        sync_interval_s,
    ))
}

fn collector(section: &Section<'_, '_>) -> Option<CollectorConfig> {
    let url = section.required_text(
        "url",
        "write the collector's address, e.g. url = \"https://collector.example.com\"",
    );
    if let Some(url) = &url {
        let host = url
            .get_ref()
            .strip_prefix("https://")
            .map(|rest| rest.strip_suffix('/').unwrap_or(rest));
        let text = match host {
            None => "must begin with https://: readings never travel in the clear",
            Some("") => "has no host: write https://host or https://host:port",
            Some(host) if host.contains(['/', '?', '#', ' ', '@']) => {
                "must be https://host or https://host:port and nothing behind it"
            }
            Some(_) => "",
        };
        if !text.is_empty() {
            section.report(&url.span(), "url", text);
        }
    }
    let ca_file = section
        .text("ca_file")
        .map(|path| PathBuf::from(path.into_inner()));
    let mut witnesses = Vec::new();
    for text in section.texts("witnesses") {
        match Vkey::parse(text.get_ref()) {
            Ok(key) if key.kind() == SignatureKind::Cosignature => witnesses.push(key),
            Ok(_log_key) => section.report(
                &text.span(),
                "witnesses",
                "is a log's key (type 01); a witness's key is of type 04, as its `witness init` printed it",
            ),
            Err(error) => section.report(&text.span(), "witnesses", error.to_string()),
        }
    }
    section.finish();
    Some(CollectorConfig {
        url: url?.into_inner().trim_end_matches('/').to_owned(),
        ca_file,
        witnesses,
    })
}

/// `[clock]`: what the operator declares about this machine's time.
fn clock(section: &Section<'_, '_>) -> TimeSource {
    let sources = [
        ("auto", TimeSource::Auto),
        ("ntp", TimeSource::Ntp),
        ("gnss", TimeSource::Gnss),
        ("rtc", TimeSource::Rtc),
        ("system", TimeSource::TrustSystem),
    ];
    let source = section.choice("source", "a source of time", &sources);
    section.finish();
    source.map_or(TimeSource::Auto, Spanned::into_inner)
}

impl Default for BufferConfig {
    fn default() -> Self {
        Self {
            policy: FullPolicy::Stop,
            max_mb: 8_192,
            min_free_mb: 200,
            keep_days: 400,
        }
    }
}

fn buffer(section: &Section<'_, '_>) -> BufferConfig {
    let default = BufferConfig::default();
    let policies = [
        ("stop", FullPolicy::Stop),
        ("drop_oldest", FullPolicy::DropOldest),
    ];
    let buffer = BufferConfig {
        policy: section
            .choice("policy", "a policy", &policies)
            .map_or(default.policy, Spanned::into_inner),
        max_mb: section.number_or("max_mb", 16..=16_000_000, default.max_mb),
        min_free_mb: section.number_or("min_free_mb", 0..=16_000_000, default.min_free_mb),
        keep_days: section.number_or("keep_days", 0..=36_500, default.keep_days),
    };
    section.finish();
    buffer
}

/// Names seen so far: devices and points must each be unique in the file.
#[derive(Default)]
struct Names {
    devices: HashMap<String, usize>,
    points: HashMap<String, usize>,
}

impl Names {
    fn device(&mut self, section: &Section<'_, '_>, name: &Spanned<String>) {
        Self::unique(
            &mut self.devices,
            section,
            name.get_ref(),
            &name.span(),
            "device",
        );
    }

    fn point(&mut self, section: &Section<'_, '_>, name: &str, span: &Range<usize>) {
        Self::unique(&mut self.points, section, name, span, "point");
    }

    fn unique(
        seen: &mut HashMap<String, usize>,
        section: &Section<'_, '_>,
        name: &str,
        span: &Range<usize>,
        what: &str,
    ) {
        let (line, _) = section.reader.position(span.start);
        if let Some(first) = seen.get(name) {
            let text = format!(
                "`{name}` is already the name of the {what} in line {first}; names are unique"
            );
            section.report(span, "name", text);
        } else {
            seen.insert(name.to_owned(), line);
        }
    }
}
