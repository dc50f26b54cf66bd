//! A configuration to begin with: what an engineer gets who knows only which meter it is.
//!
//! What is printed passes `check` as it stands once the origin is set. It guesses nothing that could
//! be wrong without being seen: a port is filled in only when there is no other.

use std::fmt::Write as _;

use crate::columns::wrap;
use crate::config::{
    PlacedModel, SerialNames, Template, TemplatePoint, default_points, modicon_text, point_name,
    template_points,
};

/// What the engineer has said, and what this machine has.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// The log's name; empty: to be filled in.
    pub origin: String,
    /// Leave `[gateway]` out: the part is added to a file that has it.
    pub part: bool,
    /// The device's name; made from the template's when left out.
    pub device: Option<String>,
    /// The unit id; the one ex works when left out.
    pub unit_id: Option<u8>,
    /// Where the device is.
    pub place: Place,
    /// Where its models were found.
    pub models: Vec<PlacedModel>,
    /// Points that are left out, because the device has no value for them.
    pub without: Vec<String>,
    /// What was found about it, for comments.
    pub notes: Vec<String>,
}

/// Where the device is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Place {
    /// Nothing was said: a serial line where the device has one, else its network address.
    #[default]
    Unknown,
    /// On this serial port.
    Serial(SerialPlace),
    /// At this address.
    Network {
        /// Host name or address.
        host: String,
        /// TCP port.
        port: u16,
    },
}

/// A serial port; settings left out are those ex works.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SerialPlace {
    /// The port.
    pub path: String,
    /// Bits a second.
    pub baud: Option<u32>,
    /// `none`, `even` or `odd`.
    pub parity: Option<&'static str>,
    /// 1 or 2.
    pub stop_bits: Option<u8>,
}

/// A name that stands for the port to be filled in.
const NO_PORT: &str = "/dev/serial/by-id/CHANGE-ME";

/// An address that stands for the one to be filled in (RFC 5737: nobody has it).
const NO_HOST: &str = "192.0.2.1";

/// Prints the configuration. `template` names the device's template as the file will.
#[must_use]
pub fn starter(name: &str, template: &Template, wishes: &Wishes, ports: &SerialNames) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _infallible = write(&mut text, name, template, wishes, ports);
    text
}

fn write(
    out: &mut String,
    name: &str,
    template: &Template,
    wishes: &Wishes,
    ports: &SerialNames,
) -> std::fmt::Result {
    comment(out, &template.title);
    comment(out, "");
    comment(
        out,
        &format!(
            "Registers: {}, edition: {}. From: {}.",
            template.document, template.edition, template.source
        ),
    );
    if let Some(why) = &template.unverified {
        comment(
            out,
            &format!("UNVERIFIED: {why}. Compare every value with the display before it counts."),
        );
    }
    for note in &wishes.notes {
        comment(out, note);
    }
    comment(out, "");
    comment(
        out,
        "Next: fieldseal-gateway check, then read --once beside the meter's display, then init. \
         Each takes --config FILE.",
    );
    writeln!(out)?;
    if !wishes.part {
        writeln!(out, "[gateway]")?;
        comment(
            out,
            "The log's name: a host you control / a path. It can never change.",
        );
        writeln!(out, "origin = \"{}\"", wishes.origin)?;
        comment(out, "The log, its keys and its state.");
        writeln!(out, "data_dir = \"/var/lib/fieldseal-gateway\"\n")?;
    }
    let device = wishes
        .device
        .clone()
        .unwrap_or_else(|| device_name(template));
    let on_line = write_line(out, template, wishes, ports, &device)?;
    writeln!(out, "[[modbus]]\nname = \"{device}\"")?;
    match (&on_line, &wishes.place) {
        (Some(line), _) => writeln!(out, "line = \"{line}\"")?,
        (None, Place::Network { host, port }) => {
            writeln!(out, "host = \"{host}\"\nport = {port}")?;
        }
        (None, _) => {
            comment(out, "The device's address on the network.");
            let port = template.tcp_port.unwrap_or(502);
            writeln!(out, "host = \"{NO_HOST}\"\nport = {port}")?;
        }
    }
    if wishes.unit_id.is_none() {
        comment(out, "As it leaves the factory; `scan` finds another one.");
    }
    let unit_id = wishes.unit_id.unwrap_or(template.default_unit_id);
    writeln!(out, "unit_id = {unit_id}\ntemplate = \"{name}\"\n")?;
    for model in &wishes.models {
        writeln!(out, "[[modbus.model]]")?;
        if model.name != model.id.to_string() {
            writeln!(out, "name = \"{}\"", model.name)?;
        }
        let PlacedModel {
            id,
            address,
            length,
            ..
        } = model;
        writeln!(out, "id = {id}\naddress = {address}\nlength = {length}\n")?;
    }
    comment(
        out,
        "What is plausible here is the site's to say, from the nameplate: min, max and max_step_per_s, \
         as texts: max = \"5000\". What is outside is flagged, never altered.",
    );
    writeln!(out)?;
    let mut defaults = default_points(template, &wishes.models);
    defaults.retain(|(from, _)| !wishes.without.contains(from));
    if !wishes.without.is_empty() {
        let without = wishes.without.join(", ");
        comment(
            out,
            &format!("Without a value in this device, and left out: {without}."),
        );
        writeln!(out)?;
    }
    for (from, point) in &defaults {
        write_point(out, &device, from, point)?;
    }
    let further: Vec<String> = template_points(template, &wishes.models)
        .into_iter()
        .map(|(from, _)| from)
        .filter(|from| defaults.iter().all(|(taken, _)| taken != from))
        .collect();
    if !further.is_empty() {
        comment(
            out,
            "Further points of the template, for a [[modbus.point]] with from = …:",
        );
        comment(out, &format!("  {}", further.join(", ")));
    }
    Ok(())
}

/// Writes `[[line]]` and returns its name; `None` for a device on the network.
fn write_line(
    out: &mut String,
    template: &Template,
    wishes: &Wishes,
    ports: &SerialNames,
    device: &str,
) -> Result<Option<String>, std::fmt::Error> {
    let given = match &wishes.place {
        Place::Network { .. } => return Ok(None),
        // What does not begin with a network address has settings to begin with.
        Place::Unknown if template.line.is_none_or(|line| line.baud.is_none()) => return Ok(None),
        Place::Unknown => None,
        Place::Serial(given) => Some(given),
    };
    let name = format!("{device}-bus");
    writeln!(out, "[[line]]\nname = \"{name}\"")?;
    match given {
        Some(given) => writeln!(out, "serial = \"{}\"", given.path)?,
        None => write_found_port(out, ports)?,
    }
    let own = given.is_some_and(|given| {
        given.baud.is_some() && given.parity.is_some() && given.stop_bits.is_some()
    });
    match template.line {
        _ if own => {}
        Some(line) if !line.assumed && line.baud.is_some() => comment(
            out,
            "As it leaves the factory; the meter's display shows what it is set to now.",
        ),
        Some(line) if !line.assumed => comment(
            out,
            "Parity and stop bits are the maker's. The speed is to be tried first: the maker's document \
             does not state it. `scan` finds others.",
        ),
        _ => comment(
            out,
            "To be tried first: the maker's document does not state them. `scan` finds others.",
        ),
    }
    let line = template.line;
    let baud = given
        .and_then(|given| given.baud)
        .or(line.and_then(|line| line.baud));
    let parity = given
        .and_then(|given| given.parity)
        .or(line.map(|line| line.parity));
    let stop = given
        .and_then(|given| given.stop_bits)
        .or(line.map(|line| line.stop_bits));
    writeln!(out, "baud = {}", baud.unwrap_or(9_600))?;
    writeln!(out, "parity = \"{}\"", parity.unwrap_or("none"))?;
    writeln!(out, "stop_bits = {}", stop.unwrap_or(1))?;
    if let Some(pause) = template.limits.pause {
        comment(out, "What the device needs between two requests.");
        writeln!(out, "pause_ms = {}", pause.as_millis())?;
    }
    writeln!(out)?;
    Ok(Some(name))
}

/// The only port there is; with none or several, a name to be replaced.
fn write_found_port(out: &mut String, ports: &SerialNames) -> std::fmt::Result {
    let found = ports.usb_ports();
    match found.as_slice() {
        [only] => {
            comment(out, "The only USB converter that is plugged in.");
            writeln!(out, "serial = \"{}\"", only.name.display())
        }
        [] => {
            comment(
                out,
                "No USB converter is plugged in now: write its name as listed under /dev/serial/by-id.",
            );
            writeln!(out, "serial = \"{NO_PORT}\"")
        }
        several => {
            comment(
                out,
                "Several USB converters are plugged in: write the one that the meter is on.",
            );
            for port in several {
                comment(out, &format!("  serial = \"{}\"", port.name.display()));
            }
            writeln!(out, "serial = \"{NO_PORT}\"")
        }
    }
}

fn write_point(
    out: &mut String,
    device: &str,
    from: &str,
    point: &TemplatePoint,
) -> std::fmt::Result {
    let spec = &point.register.spec;
    writeln!(
        out,
        "[[modbus.point]]\nname = \"{}\"\nfrom = \"{from}\"",
        point_name(device, from)
    )?;
    let mut said = format!(
        "{} {} ({}), {}, {}",
        spec.table.name(),
        spec.address,
        modicon_text(spec.table, spec.address),
        spec.format.kind.name(),
        spec.unit
    );
    if let Some(description) = &point.register.description {
        said.push_str(": ");
        said.push_str(description);
    }
    comment(out, &said);
    if let Some(why) = &point.register.unverified {
        comment(out, &format!("UNVERIFIED: {why}"));
    }
    writeln!(out, "interval_s = 1\n")
}

/// `sdm630` of `eastron-sdm630`.
fn device_name(template: &Template) -> String {
    let name = template.name.split_once('-').map(|(_, device)| device);
    name.unwrap_or(&template.name).to_owned()
}

/// A comment of lines that fit a terminal.
fn comment(out: &mut String, text: &str) {
    let indent = text.len() - text.trim_start().len();
    let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    let lines = wrap(&words, "", 2 + indent);
    if lines.is_empty() {
        out.push_str("#\n");
    }
    for line in lines {
        out.push('#');
        // `wrap` indents by blanks, of which the first is now the mark.
        out.push_str(line.get(1..).unwrap_or_default());
        out.push('\n');
    }
}
