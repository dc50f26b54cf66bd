//! Reads the `[[line]]` tables, and finds the line of each device.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use super::line::{
    Characters, Endpoint, LineConfig, LineMode, Parity, RTU_PAUSE_MS, Rs485, SerialPort, TlsFiles,
};
use super::point;
use super::problem::{did_you_mean, not_one_of};
use super::reader::Section;
use super::serial_names::SerialNames;

/// The speeds a port may have.
const BAUDS: [u32; 11] = [
    1_200, 2_400, 4_800, 9_600, 14_400, 19_200, 28_800, 38_400, 57_600, 76_800, 115_200,
];

/// The lines of a file while it is read.
#[derive(Debug)]
pub(super) struct Lines<'n> {
    names: &'n SerialNames,
    list: Vec<LineConfig>,
    /// Line of the file in which each was written, by name and by what it leads to.
    by_name: HashMap<String, (Option<usize>, usize)>,
    by_address: HashMap<String, usize>,
    units: HashMap<(usize, u8), (String, usize)>,
}

impl<'n> Lines<'n> {
    pub(super) fn new(names: &'n SerialNames) -> Self {
        Self {
            names,
            list: Vec::new(),
            by_name: HashMap::new(),
            by_address: HashMap::new(),
            units: HashMap::new(),
        }
    }

    pub(super) fn into_list(self) -> Vec<LineConfig> {
        self.list
    }

    /// The line at a position.
    pub(super) fn get(&self, line: usize) -> Option<&LineConfig> {
        self.list.get(line)
    }

    /// The line at a position, to be given what its devices need.
    pub(super) fn get_mut(&mut self, line: usize) -> Option<&mut LineConfig> {
        self.list.get_mut(line)
    }

    /// Reads one `[[line]]` table.
    pub(super) fn read(&mut self, section: &Section<'_, '_>) {
        let name = point::name(section);
        let line = line(section, self.names);
        section.finish();
        let Some(name) = name else { return };
        let (at, _) = section.reader.position(name.span().start);
        if let Some((_, first)) = self.by_name.get(name.get_ref()) {
            let text = format!(
                "`{}` is already the name of the line in line {first}; names are unique",
                name.get_ref()
            );
            section.report(&name.span(), "name", text);
            return;
        }
        // A line with mistakes keeps its name, so that its devices are not reported as well.
        let place = line.map(|line| {
            let key = match &line.endpoint {
                Endpoint::Serial(_) => "serial",
                _ => "host",
            };
            let identity = identity(&line.endpoint);
            if let Some(first) = self.by_address.get(&identity) {
                let text = format!(
                    "{} is already the line in line {first} of the file; one port is one line, \
                     which its devices share",
                    line.endpoint.address()
                );
                section.report(&section.place(key), key, text);
            } else {
                self.by_address.insert(identity, at);
            }
            self.list.push(LineConfig {
                name: name.get_ref().clone(),
                ..line
            });
            self.list.len() - 1
        });
        self.by_name.insert(name.into_inner(), (place, at));
    }

    /// The line that a device names, or that its `host` and `port` make.
    pub(super) fn of_device(&mut self, section: &Section<'_, '_>) -> Option<usize> {
        if section.has("line") {
            return self.named(section);
        }
        let host = point::host(
            section,
            "write the device's address, e.g. host = \"192.168.1.20\", or the line it is on, e.g. line = \"bus-1\"",
        );
        let port = section.number_or("port", 1..=65_535, 502);
        let delay = Duration::from_millis(section.number_or("connect_delay_ms", 0..=30_000, 0));
        let answer = answer(section);
        let host = host?;
        let line = LineConfig {
            connect_delay: delay,
            answer,
            ..LineConfig::tcp(host.get_ref(), port)
        };
        if let Some((place, _)) = self.by_name.get(&line.name) {
            let known = place.and_then(|place| self.list.get_mut(place))?;
            known.connect_delay = known.connect_delay.max(delay);
            known.answer = known.answer.max(line.answer);
            return *place;
        }
        if let Some(first) = self.by_address.get(&line.name) {
            let text = format!(
                "{} is the line in line {first} of the file: write its name, line = \"…\", instead of host and port",
                line.name
            );
            section.report(&host.span(), "host", text);
            return None;
        }
        let (at, _) = section.reader.position(host.span().start);
        let place = self.list.len();
        self.by_name.insert(line.name.clone(), (Some(place), at));
        self.list.push(line);
        Some(place)
    }

    fn named(&self, section: &Section<'_, '_>) -> Option<usize> {
        for key in ["host", "port", "connect_delay_ms", "answer_ms"] {
            if section.has(key) {
                let text = format!("belongs to the line: write {key} in its [[line]] table");
                section.report(&section.place(key), key, text);
            }
        }
        let name = section.text("line")?;
        if let Some((place, _)) = self.by_name.get(name.get_ref()) {
            return *place;
        }
        let known: Vec<&str> = self.by_name.keys().map(String::as_str).collect();
        let mut text = format!("no [[line]] has the name `{}`", name.get_ref());
        if let Some(meant) = did_you_mean(name.get_ref(), &known) {
            text.push_str(&format!("; did you mean `{meant}`?"));
        }
        section.report(&name.span(), "line", text);
        None
    }

    /// A unit of a line is one device; on RTU unit 0 is everybody, and nobody answers.
    pub(super) fn unit(&mut self, section: &Section<'_, '_>, line: usize, unit: u8, device: &str) {
        let Some(config) = self.list.get(line) else {
            return;
        };
        let place = section.place("unit_id");
        if unit == 0 && config.endpoint.is_rtu() {
            let text = "0 is a broadcast on RTU, which nobody answers: 1 to 247";
            section.report(&place, "unit_id", text);
        }
        let (at, _) = section.reader.position(section.span.start);
        if let Some((other, first)) = self.units.get(&(line, unit)) {
            let text = format!(
                "unit {unit} of {} is already device `{other}` in line {first}: give one of them its own unit id, or put all points into one device",
                config.name
            );
            section.report(&place, "unit_id", text);
        } else {
            self.units.insert((line, unit), (device.to_owned(), at));
        }
    }
}

/// Two names of one port are one port; a connection is known by host and port, whatever is spoken
/// on it.
fn identity(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Serial(port) => SerialNames::device(&port.path).display().to_string(),
        _ => endpoint.address(),
    }
}

/// `answer_ms`: what was measured, as `read --once` shows it.
fn answer(section: &Section<'_, '_>) -> Option<Duration> {
    let millis = section.number("answer_ms", 0..=10_000)?;
    Some(Duration::from_millis(millis))
}

/// Everything of a line but its name.
fn line(section: &Section<'_, '_>, names: &SerialNames) -> Option<LineConfig> {
    // Known keys all of them, whichever kind of line this turns out to be.
    for key in [
        "port",
        "protocol",
        "tls",
        "baud",
        "parity",
        "stop_bits",
        "data_bits",
        "rs485",
    ] {
        section.has(key);
    }
    let serial = section.has("serial");
    let endpoint = match (serial, section.has("host")) {
        (true, true) => {
            let text = "a line is a serial port or a host, not both: leave one out";
            section.report(&section.place("host"), "host", text);
            None
        }
        (false, false) => {
            section.missing(
                "serial",
                "write where the line leads: serial = \"/dev/serial/by-id/…\" or host = \"192.168.1.20\"",
            );
            None
        }
        (true, false) => serial_port(section, names).map(Endpoint::Serial),
        (false, true) => network(section),
    };
    let modes = [("poll", LineMode::Poll), ("listen", LineMode::Listen)];
    let mode = section.choice("mode", "a mode", &modes);
    let is_network = endpoint.as_ref().is_some_and(|found| !found.is_rtu());
    if let Some(mode) = mode
        .as_ref()
        .filter(|mode| *mode.get_ref() == LineMode::Listen && is_network)
    {
        let text = "only a bus can be listened on, by a serial port or a converter that passes on what \
                    it hears (protocol = \"rtu_over_tcp\"); a Modbus TCP connection carries nothing of others";
        section.report(&mode.span(), "mode", text);
    }
    let default_pause = u64::from(endpoint.as_ref().is_some_and(Endpoint::is_rtu)) * RTU_PAUSE_MS;
    let pause = section.number_or("pause_ms", 0..=10_000, default_pause);
    let delay = section.number_or("connect_delay_ms", 0..=30_000, 0);
    Some(LineConfig {
        mode: mode.map_or(LineMode::Poll, Spanned::into_inner),
        pause: Duration::from_millis(pause),
        connect_delay: Duration::from_millis(delay),
        answer: answer(section),
        converter: match endpoint {
            Some(Endpoint::RtuOverTcp { .. }) => converter(section),
            _ => None,
        },
        ..LineConfig::new(endpoint?)
    })
}

fn network(section: &Section<'_, '_>) -> Option<Endpoint> {
    #[derive(Clone, Copy, PartialEq)]
    enum Protocol {
        Tcp,
        RtuOverTcp,
        Tls,
    }
    let host = point::host(section, "write the address, e.g. host = \"192.168.1.20\"");
    let protocols = [
        ("tcp", Protocol::Tcp),
        ("rtu_over_tcp", Protocol::RtuOverTcp),
        ("tls", Protocol::Tls),
    ];
    let protocol = section
        .choice("protocol", "a protocol", &protocols)
        .map_or(Protocol::Tcp, Spanned::into_inner);
    let of_port = ["data_bits", "rs485", "baud", "parity", "stop_bits"];
    // Of a converter `plan` is told what it speaks.
    let foreign = if protocol == Protocol::RtuOverTcp {
        2
    } else {
        of_port.len()
    };
    for key in of_port.into_iter().take(foreign) {
        if section.has(key) {
            let text = "belongs to a serial port; behind a converter it is set in the converter";
            section.report(&section.place(key), key, text);
        }
    }
    let tls = section.section("tls");
    let standard_port = if protocol == Protocol::Tls { 802 } else { 502 };
    let port = section.number_or("port", 1..=65_535, standard_port);
    let files = match (&tls, protocol) {
        (Some(below), Protocol::Tls) => tls_files(below),
        (None, Protocol::Tls) => {
            section.missing("tls", "add [line.tls] with ca_file, cert_file and key_file");
            None
        }
        (Some(below), _) => {
            let text = "[line.tls] goes with protocol = \"tls\"";
            section.report(&below.span, "tls", text);
            None
        }
        (None, _) => None,
    };
    let host = host?.into_inner();
    Some(match protocol {
        Protocol::Tcp => Endpoint::Tcp { host, port },
        Protocol::RtuOverTcp => Endpoint::RtuOverTcp { host, port },
        Protocol::Tls => Endpoint::Tls {
            host,
            port,
            files: files?,
        },
    })
}

/// What the converter is set to, if the file says it. Nothing but `plan` uses it: the converter itself
/// is not set by us.
fn converter(section: &Section<'_, '_>) -> Option<Characters> {
    if section.has("baud") {
        return Some(characters(section));
    }
    for key in ["parity", "stop_bits"] {
        if section.has(key) {
            let text =
                "says what the converter speaks, for `plan`, together with baud: add baud = …";
            section.report(&section.place(key), key, text);
        }
    }
    None
}

/// `baud`, `parity` and `stop_bits`.
fn characters(section: &Section<'_, '_>) -> Characters {
    let usual = Characters::default();
    let baud = section.number_or("baud", 0..=i128::from(u32::MAX), usual.baud);
    if !BAUDS.contains(&baud) {
        let known = BAUDS.map(|baud| baud.to_string());
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let text = not_one_of(&baud.to_string(), "a speed of serial lines", &known);
        section.report(&section.place("baud"), "baud", text);
    }
    let parities = [
        ("none", Parity::None),
        ("even", Parity::Even),
        ("odd", Parity::Odd),
    ];
    let parity = section.choice("parity", "a parity", &parities);
    Characters {
        baud,
        parity: parity.map_or(usual.parity, Spanned::into_inner),
        stop_bits: section.number_or("stop_bits", 1..=2, usual.stop_bits),
    }
}

/// The specification asks for certificates on both sides, so all three are required.
fn tls_files(section: &Section<'_, '_>) -> Option<TlsFiles> {
    let file = |key, what: &str| {
        section
            .required_text(key, &format!("name the PEM file of {what}"))
            .map(|path| PathBuf::from(path.into_inner()))
    };
    let ca_file = file(
        "ca_file",
        "the authority that signed the device's certificate",
    );
    let cert_file = file("cert_file", "this gateway's certificate");
    let key_file = file("key_file", "the key to cert_file");
    section.finish();
    Some(TlsFiles {
        ca_file: ca_file?,
        cert_file: cert_file?,
        key_file: key_file?,
    })
}

fn serial_port(section: &Section<'_, '_>, names: &SerialNames) -> Option<SerialPort> {
    let path = section.text("serial");
    if let Some(path) = &path
        && let Some(text) = names.advice(Path::new(path.get_ref()))
    {
        section.warn(&path.span(), "serial", text);
    }
    for key in ["port", "protocol", "tls"] {
        if section.has(key) {
            section.report(&section.place(key), key, "belongs to a line with a host");
        }
    }
    let Characters {
        baud,
        parity,
        stop_bits,
    } = characters(section);
    let switches = [("converter", Rs485::Converter), ("kernel", Rs485::Kernel)];
    let rs485 = section.choice("rs485", "a way to switch direction", &switches);
    if let Some(rs485) = rs485
        .as_ref()
        .filter(|rs485| *rs485.get_ref() == Rs485::Kernel)
    {
        let text = "the gateway does not set the driver itself: the device tree or `rs485conf` must have done it";
        section.warn(&rs485.span(), "rs485", text);
    }
    let data_bits: u8 = section.number_or("data_bits", 5..=8, 8);
    if data_bits != 8 {
        let text = "RTU has 8 data bits; 7 belong to Modbus ASCII, which is not spoken here";
        section.report(&section.place("data_bits"), "data_bits", text);
    }
    Some(SerialPort {
        path: PathBuf::from(path?.into_inner()),
        baud,
        parity,
        stop_bits,
        data_bits,
        rs485: rs485.map_or(Rs485::Converter, Spanned::into_inner),
    })
}
