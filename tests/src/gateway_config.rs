//! The configuration of a gateway at this plant and the monitoring plan of its project, as the
//! texts a person would write.
//!
//! Both come from the same register table the servers answer from, so the gateway asks for what
//! the meters show.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::mqtt_publisher::{AMBIENT_TOPIC, GAS_TOPIC};
use crate::registers::{DEVICES, Device, Format, Order, Register, Server, Table};

/// Name of the analyser's point that a plan takes the mass fraction of CO2 from.
pub const CO2_MASS_POINT: &str = "analyser.co2_mass";

/// Where the plant stands, for periods and vintages.
pub const ZONE: &str = "Asia/Jakarta";

/// Which of the plant's values a gateway reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Points {
    /// All of them.
    All,
    /// The counters and the composition that the monitoring plan needs, for a long history at
    /// little volume.
    Plan,
}

/// What differs between one gateway at this plant and another.
#[derive(Debug, Clone)]
pub struct GatewayFile {
    /// The log's origin.
    pub origin: String,
    /// Where the gateway keeps its log, key and state.
    pub data_dir: PathBuf,
    /// The collector, if there is one: `https://…` and a PEM file to trust besides the pinned key.
    pub collector: Option<(String, Option<PathBuf>)>,
    /// Seconds of a segment.
    pub segment_s: u32,
    /// Seconds between polls.
    pub interval_s: u32,
    /// Where the wellpad's and the power house's servers listen.
    pub modbus: [SocketAddr; 2],
    /// Port of the broker on 127.0.0.1.
    pub mqtt_port: u16,
    /// What is read.
    pub points: Points,
    /// `[clock] source`, if not the default: what the operator declares about the machine's time.
    pub clock_source: Option<String>,
}

impl GatewayFile {
    /// Returns the text of `gateway.toml`.
    pub fn text(&self) -> String {
        let mut text = String::from(
            "# A gateway at the simulated CO2 injection site. Written by the simulator.\n\n[gateway]\n",
        );
        text += &format!("origin = {}\n", quoted(&self.origin));
        text += &format!("data_dir = {}\n", quoted_path(&self.data_dir));
        text += &format!("segment_s = {}\n", self.segment_s);
        if let Some((url, ca_file)) = &self.collector {
            text += &format!("\n[collector]\nurl = {}\n", quoted(url));
            if let Some(ca_file) = ca_file {
                text += &format!("ca_file = {}\n", quoted_path(ca_file));
            }
        }
        if let Some(source) = &self.clock_source {
            text += &format!("\n[clock]\nsource = {}\n", quoted(source));
        }
        for device in &DEVICES {
            let registers: Vec<&Register> = device
                .registers
                .iter()
                .filter(|register| self.points == Points::All || is_in_plan(device, register))
                .collect();
            if !registers.is_empty() {
                text += &self.device(device, &registers);
            }
        }
        text += &self.broker();
        text
    }

    fn device(&self, device: &Device, registers: &[&Register]) -> String {
        let [wellpad, powerhouse] = self.modbus;
        let address = match device.server {
            Server::Wellpad => wellpad,
            Server::Powerhouse => powerhouse,
        };
        let path = match device.server {
            Server::Wellpad => "converter",
            Server::Powerhouse => "meter",
        };
        let mut text = format!(
            "\n[[modbus]]\nname = {}\nhost = {}\nport = {}\nunit_id = {}\naddress_base = \"pdu\"\n\
             path = \"{path}\"\n",
            quoted(device.name),
            quoted(&address.ip().to_string()),
            address.port(),
            device.unit_id,
        );
        for register in registers {
            text += &self.point(device, register);
        }
        text
    }

    fn point(&self, device: &Device, register: &Register) -> String {
        let table = match register.table {
            Table::Discrete => "discrete",
            Table::Holding => "holding",
            Table::Input => "input",
        };
        let (kind, scaled) = match register.format {
            Format::Bit => ("bit", false),
            Format::U16 => ("u16", true),
            Format::I16 => ("i16", true),
            Format::U32 => ("u32", true),
            Format::I32 => ("i32", true),
            Format::F32 { .. } => ("f32", false),
        };
        let mut text = format!(
            "\n[[modbus.point]]\nname = {}\ntable = \"{table}\"\naddress = {}\ntype = \"{kind}\"\n",
            quoted(&register.point_name(device)),
            register.address,
        );
        if register.width() == 2 {
            let order = match register.order {
                Order::Abcd => "ABCD",
                Order::Cdab => "CDAB",
            };
            text += &format!("order = \"{order}\"\n");
        }
        if scaled && register.scale != "1" {
            text += &format!("scale = {}\n", quoted(register.scale));
        }
        text += &common(
            register.decimals,
            register.unit,
            register.counter,
            register.max,
        );
        text += &format!("interval_s = {}\n", self.interval_s);
        text
    }

    fn broker(&self) -> String {
        let mut text = format!(
            "\n[[mqtt]]\nname = \"sensors\"\nhost = \"127.0.0.1\"\nport = {}\n",
            self.mqtt_port
        );
        let gas = |name: &str, pointer: &str, unit: &str| {
            format!(
                "\n[[mqtt.point]]\nname = \"{name}\"\ntopic = \"{GAS_TOPIC}\"\n\
                 pointer = \"{pointer}\"\n{}stale_after_s = 600\n",
                common(2, unit, false, Some("100")),
            )
        };
        text += &gas(CO2_MASS_POINT, "/co2_mass_pct", "wt%");
        if self.points == Points::All {
            text += &gas("analyser.co2_mole", "/co2_mol_pct", "mol%");
            text += &gas("analyser.n2_mole", "/n2_mol_pct", "mol%");
            text += &format!(
                "\n[[mqtt.point]]\nname = \"weather.ambient\"\ntopic = \"{AMBIENT_TOPIC}\"\n\
                 {}stale_after_s = 600\n",
                common(2, "°C", false, Some("60")),
            );
        }
        text
    }
}

/// The keys that every point has.
fn common(decimals: u8, unit: &str, counter: bool, max: Option<&str>) -> String {
    let kind = if counter { "register" } else { "instant" };
    let max = max.map(|max| format!("max = {}\n", quoted(max)));
    format!(
        "decimals = {decimals}\nunit = {}\nkind = \"{kind}\"\n{}",
        quoted(unit),
        max.unwrap_or_default()
    )
}

fn is_in_plan(device: &Device, register: &Register) -> bool {
    PLANNED
        .iter()
        .any(|planned| planned.point == register.point_name(device))
}

struct Planned {
    parameter: &'static str,
    member: Option<&'static str>,
    point: &'static str,
    unit: &'static str,
    aggregation: &'static str,
    nameplate: Option<(&'static str, &'static str)>,
    method: &'static str,
}

const PLANNED: [Planned; 6] = [
    Planned {
        parameter: "Q",
        member: Some("well-1"),
        point: "well-1.injected",
        unit: "kg",
        aggregation: "increase",
        nameplate: Some(("12", "t/h")),
        method: "Coriolis mass flow meter, totaliser",
    },
    Planned {
        parameter: "Q",
        member: Some("well-2"),
        point: "well-2.injected",
        unit: "kg",
        aggregation: "increase",
        nameplate: Some(("8", "t/h")),
        method: "Coriolis mass flow meter, totaliser",
    },
    Planned {
        parameter: "C",
        member: Some("well-1"),
        point: CO2_MASS_POINT,
        unit: "wt%",
        aggregation: "mean",
        nameplate: None,
        method: "gas analyser upstream of both wells, wet basis",
    },
    Planned {
        parameter: "C",
        member: Some("well-2"),
        point: CO2_MASS_POINT,
        unit: "wt%",
        aggregation: "mean",
        nameplate: None,
        method: "gas analyser upstream of both wells, wet basis",
    },
    Planned {
        parameter: "EC",
        member: None,
        point: "compressor.import_energy",
        unit: "kWh",
        aggregation: "increase",
        nameplate: Some(("2000", "kW")),
        method: "electricity meter of the compressor, import register",
    },
    Planned {
        parameter: "FC",
        member: Some("diesel"),
        point: "genset.fuel",
        unit: "L",
        aggregation: "increase",
        nameplate: Some(("60", "L/h")),
        method: "fuel counter of the genset",
    },
];

/// Returns the text of `plan.toml` for a project of this plant whose one log is given as origin and
/// verification key.
///
/// A demo plan: every factor is an example, as its `source` says.
pub fn plan_text(id: &str, name: &str, origin: &str, anchor: &str) -> String {
    let mut text = format!(
        "# The monitoring plan of the simulated site. Written by the simulator; its factors are\n\
         # examples and mean nothing.\n\n\
         state = \"demo\"\nmethodology = \"co2_injection_mass\"\nreporting_zone = \"{ZONE}\"\n\n\
         [project]\nid = {}\nname = {}\ncountry = \"Indonesia\"\n\
         participants = [\"Example operator\", \"Example participant\"]\n\n\
         [rounding]\nper = \"vintage\"\nsource = \"example\"\n\n\
         [[logs]]\norigin = {}\nanchor = {}\nsite = \"Simulated wellpad\"\n",
        quoted(id),
        quoted(name),
        quoted(origin),
        quoted(anchor),
    );
    for (number, planned) in PLANNED.iter().enumerate() {
        text += &planned_point(number + 1, planned, origin);
    }
    for (parameter, value, unit, basis) in [
        ("EF_elec", "0.87", "tCO2/MWh", None),
        ("density", "0.84", "kg/L", None),
        ("NCV", "43.0", "GJ/t", Some("net")),
        ("EF_fuel", "74.1", "kgCO2/GJ", Some("net")),
    ] {
        let basis = basis.map(|basis| format!("basis = \"{basis}\"\n"));
        text += &format!(
            "\n[[fixed]]\nparameter = \"{parameter}\"\nvalue = \"{value}\"\nunit = \"{unit}\"\n\
             {}source = \"example\"\n",
            basis.unwrap_or_default(),
        );
    }
    for (name, justification) in [
        ("CO2_E", "no leakage pathway is simulated"),
        ("CO2_FI", "no vent is simulated"),
        ("DF", "no discount in the example"),
    ] {
        text += &format!("\n[[neutral]]\nname = \"{name}\"\njustification = \"{justification}\"\n");
    }
    text
}

fn planned_point(number: usize, planned: &Planned, origin: &str) -> String {
    let mut text = format!(
        "\n[[points]]\nnumber = \"{number}\"\nparameter = \"{}\"\n",
        planned.parameter
    );
    if let Some(member) = planned.member {
        text += &format!("member = \"{member}\"\n");
    }
    text += &format!(
        "sources = [{{ log = {}, point = \"{}\" }}]\nunit = \"{}\"\naggregation = \"{}\"\n\
         method = \"{}\"\n",
        quoted(origin),
        planned.point,
        planned.unit,
        planned.aggregation,
        planned.method,
    );
    if let Some((value, unit)) = planned.nameplate {
        text += &format!("nameplate = {{ value = \"{value}\", unit = \"{unit}\" }}\n");
    }
    text
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(c);
            }
            c if c.is_control() => {
                // Writing to a `String` cannot fail.
                if write!(quoted, "\\u{:04X}", u32::from(c)).is_err() {
                    break;
                }
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn quoted_path(path: &Path) -> String {
    quoted(&path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_survives_what_toml_reads_back() {
        let hard = "a \"b\" \\ \u{7} ü";
        let table: toml::Table = format!("k = {}", quoted(hard)).parse().unwrap();
        assert_eq!(table["k"].as_str(), Some(hard));
    }
}
