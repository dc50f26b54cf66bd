//! `[[proxy]]`: who else may read the meters through the gateway.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use toml::Spanned;

use super::network::Network;
use super::problem::not_one_of;
use super::reader::Section;

/// A Modbus TCP server that answers reads and refuses everything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Who may connect.
    pub allow: Vec<Network>,
    /// What it offers, ascending by unit id.
    pub units: Vec<OfferedUnit>,
    /// Most connections at a time.
    pub max_clients: u16,
    /// How old an answer may be that costs the line nothing.
    pub max_age: Duration,
    /// Most of a line's time that clients may take, in percent.
    pub share_percent: u8,
    /// After this long without a request a connection is closed.
    pub idle_timeout: Duration,
}

/// One device under the unit id by which clients ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfferedUnit {
    /// The unit id that clients use.
    pub unit_id: u8,
    /// Position in the list of Modbus devices.
    pub device: usize,
}

/// What a proxy must know of a device: its name (unknown if it could not be read) and its unit id.
pub(super) type Known = (Option<String>, u8);

/// Reads every `[[proxy]]` table.
pub(super) fn proxies(root: &Section<'_, '_>, devices: &[Known]) -> Vec<Option<ProxyConfig>> {
    let mut taken: HashMap<SocketAddr, usize> = HashMap::new();
    let sections = root.sections("proxy");
    let read = sections.iter().map(|section| {
        let proxy = proxy(section, devices);
        if let Some(proxy) = &proxy {
            let place = section.place("listen");
            let (line, _) = section.reader.position(place.start);
            if let Some(first) = taken.insert(proxy.listen, line) {
                let text = format!("{} is taken by the proxy in line {first}", proxy.listen);
                section.report(&place, "listen", text);
            }
        }
        proxy
    });
    read.collect()
}

fn proxy(section: &Section<'_, '_>, devices: &[Known]) -> Option<ProxyConfig> {
    let listen = listen(section);
    let allow = allow(section, listen);
    let mut units = Vec::new();
    for name in section.texts("devices") {
        if let Some((device, unit_id)) = find(section, "devices", &name, devices) {
            offer(
                section,
                "devices",
                &name,
                OfferedUnit { unit_id, device },
                &mut units,
            );
        }
    }
    for below in section.sections("unit") {
        let unit_id = below.number("unit_id", 0..=255);
        if !below.has("unit_id") {
            below.missing(
                "unit_id",
                "write the unit id by which clients ask for the device",
            );
        }
        let name = below.required_text("device", "write the name of a [[modbus]] device");
        if let (Some(unit_id), Some(name)) = (unit_id, name)
            && let Some((device, _)) = find(&below, "device", &name, devices)
        {
            offer(
                &below,
                "unit_id",
                &name,
                OfferedUnit { unit_id, device },
                &mut units,
            );
        }
        below.finish();
    }
    if !section.has("devices") && !section.has("unit") {
        section.missing(
            "devices",
            "write what clients may read, e.g. devices = [\"meter-1\"]",
        );
    }
    units.sort_by_key(|unit| unit.unit_id);
    let proxy = ProxyConfig {
        listen: listen?,
        allow,
        units,
        max_clients: section.number_or("max_clients", 1..=1_000, 8),
        max_age: Duration::from_millis(section.number_or("max_age_ms", 0..=60_000, 2_000)),
        share_percent: section.number_or("share_percent", 1..=50, 20),
        idle_timeout: Duration::from_secs(section.number_or("idle_timeout_s", 5..=86_400, 120)),
    };
    section.finish();
    Some(proxy)
}

/// Where to listen: this machine only, unless the file says otherwise.
fn listen(section: &Section<'_, '_>) -> Option<SocketAddr> {
    let Some(text) = section.text("listen") else {
        let default = SocketAddr::from((Ipv4Addr::LOCALHOST, 1_502));
        return (!section.has("listen")).then_some(default);
    };
    let address: Option<SocketAddr> = text.get_ref().parse().ok();
    let address = address.filter(|address| address.port() > 0);
    if address.is_none() {
        let text_of = format!(
            "`{}` is no address with a port; write 127.0.0.1:1502 for this machine only or \
             0.0.0.0:1502 for every network it is in",
            text.get_ref()
        );
        section.report(&text.span(), "listen", text_of);
    }
    address
}

fn allow(section: &Section<'_, '_>, listen: Option<SocketAddr>) -> Vec<Network> {
    if !section.has("allow") {
        if let Some(listen) = listen.filter(|listen| !listen.ip().is_loopback()) {
            let remedy = format!(
                "nobody outside this machine could read from {listen}; write who may, \
                 e.g. allow = [\"192.168.1.0/24\"]"
            );
            section.missing("allow", &remedy);
        }
        return Network::LOOPBACK.to_vec();
    }
    let mut networks = Vec::new();
    for text in section.texts("allow") {
        match Network::parse(text.get_ref()) {
            Ok(network) => networks.push(network),
            Err(error) => section.report(&text.span(), "allow", error),
        }
    }
    networks
}

/// The position and the unit id of a device. Reports a name that no device has, unless a device
/// could not be read at all: then it may be that one.
fn find(
    section: &Section<'_, '_>,
    key: &str,
    name: &Spanned<String>,
    devices: &[Known],
) -> Option<(usize, u8)> {
    let found = devices
        .iter()
        .position(|(known, _)| known.as_deref() == Some(name.get_ref().as_str()));
    let names: Option<Vec<&str>> = devices.iter().map(|(known, _)| known.as_deref()).collect();
    if let (None, Some(names)) = (found, names) {
        let text = not_one_of(name.get_ref(), "a [[modbus]] device", &names);
        section.report(&name.span(), key, text);
    }
    let place = found?;
    devices.get(place).map(|(_, unit)| (place, *unit))
}

fn offer(
    section: &Section<'_, '_>,
    key: &str,
    name: &Spanned<String>,
    unit: OfferedUnit,
    units: &mut Vec<OfferedUnit>,
) {
    if units.iter().any(|other| other.unit_id == unit.unit_id) {
        let text = format!(
            "unit id {} is offered twice; give `{}` one of its own with [[proxy.unit]] unit_id = …, device = …",
            unit.unit_id,
            name.get_ref()
        );
        section.report(&name.span(), key, text);
    } else {
        units.push(unit);
    }
}
