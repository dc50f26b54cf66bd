//! Names of serial ports that stay the same.
//!
//! `ttyUSB0` is whichever adapter was found first at boot: after a restart it may be another one,
//! and another meter is read. udev keeps links beside it: `serial/by-id` names the adapter (vendor,
//! model, serial number), `serial/by-path` the socket it is plugged into. Cheap adapters have no
//! serial number: two of them share one name under `by-id`, and only the socket tells them apart.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Where the system keeps its serial ports, usually `/dev`. A value, so that a test can make one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SerialNames {
    dir: PathBuf,
}

/// A port with the name to write into a configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedPort {
    /// The name that stays: by id if that is unique, else by path, else the device itself.
    pub name: PathBuf,
    /// The device it is at present, e.g. `/dev/ttyUSB0`.
    pub device: PathBuf,
}

impl SerialNames {
    /// This machine's.
    #[must_use]
    pub fn system() -> Self {
        Self::in_dir("/dev")
    }

    /// Those of a directory laid out like `/dev`.
    #[must_use]
    pub fn in_dir(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The device behind a name; the name itself if it leads nowhere.
    #[must_use]
    pub fn device(name: &Path) -> PathBuf {
        std::fs::canonicalize(name).unwrap_or_else(|_| name.to_owned())
    }

    /// Every USB port that is plugged in, in the order of its stable name.
    #[must_use]
    pub fn usb_ports(&self) -> Vec<NamedPort> {
        let (by_id, by_path) = (self.links("by-id"), self.links("by-path"));
        let devices: BTreeSet<PathBuf> = by_id
            .iter()
            .chain(&by_path)
            .map(|port| port.device.clone())
            .collect();
        let mut ports: Vec<NamedPort> = devices
            .into_iter()
            .map(|device| NamedPort {
                name: Self::stable(&by_id, &by_path, &device).unwrap_or_else(|| device.clone()),
                device,
            })
            .collect();
        ports.sort();
        ports
    }

    /// What to say about a port's name in a configuration; `None` if it stays the same.
    #[must_use]
    pub fn advice(&self, path: &Path) -> Option<String> {
        let (by_id, by_path) = (self.links("by-id"), self.links("by-path"));
        let device = Self::device(path);
        if path.starts_with(self.dir.join("serial/by-id")) {
            if !device.exists() || Self::ids_are_unique(&by_id, &by_path) {
                return None;
            }
            let name = by_path.iter().find(|port| port.device == device)?;
            return Some(format!(
                "another adapter of this kind has no name of its own under by-id, so this name may mean either; write serial = \"{}\"",
                name.name.display()
            ));
        }
        let name = path.file_name()?.to_str()?;
        let in_dir = path.parent() == Some(self.dir.as_path());
        if !in_dir || !(name.starts_with("ttyUSB") || name.starts_with("ttyACM")) {
            return None;
        }
        let remedy = match Self::stable(&by_id, &by_path, &device) {
            Some(stable) => format!("write serial = \"{}\"", stable.display()),
            None => format!(
                "write its name under {} (the adapter is not plugged in now, or udev does not run)",
                self.dir.join("serial/by-id").display()
            ),
        };
        Some(format!(
            "{name} may be another adapter after the next restart, and another meter would be read; {remedy}"
        ))
    }

    fn stable(by_id: &[NamedPort], by_path: &[NamedPort], device: &Path) -> Option<PathBuf> {
        let of = |list: &[NamedPort]| {
            list.iter()
                .find(|port| port.device == device)
                .map(|port| port.name.clone())
        };
        let (id, path) = (of(by_id), of(by_path));
        if Self::ids_are_unique(by_id, by_path) {
            id.or(path)
        } else {
            path.or(id)
        }
    }

    /// An adapter that has a place but no id lost its id to another of the same name.
    fn ids_are_unique(by_id: &[NamedPort], by_path: &[NamedPort]) -> bool {
        by_path
            .iter()
            .all(|port| by_id.iter().any(|named| named.device == port.device))
    }

    /// The links of one folder, by name. A folder that cannot be read has none.
    fn links(&self, folder: &str) -> Vec<NamedPort> {
        let Ok(entries) = std::fs::read_dir(self.dir.join("serial").join(folder)) else {
            return Vec::new();
        };
        let mut links: Vec<NamedPort> = entries
            .filter_map(Result::ok)
            .filter_map(|entry| {
                let device = std::fs::canonicalize(entry.path()).ok()?;
                Some(NamedPort {
                    name: entry.path(),
                    device,
                })
            })
            .collect();
        links.sort();
        links
    }
}

#[cfg(test)]
mod tests {
    use super::SerialNames;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    /// A `/dev` with these devices and links: (folder, name, device).
    fn dev(links: &[(&str, &str, &str)]) -> (tempfile::TempDir, SerialNames) {
        let dir = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(dir.path()).unwrap();
        for folder in ["by-id", "by-path"] {
            std::fs::create_dir_all(root.join("serial").join(folder)).unwrap();
        }
        for (folder, name, device) in links {
            drop(std::fs::File::create(root.join(device)).unwrap());
            let link = root.join("serial").join(folder).join(name);
            symlink(Path::new("../..").join(device), link).unwrap();
        }
        (dir, SerialNames::in_dir(root))
    }

    #[test]
    fn a_bare_name_is_answered_with_the_name_by_id() {
        let (_dir, names) = dev(&[
            ("by-id", "usb-FTDI_FT232R_A50285BI-if00-port0", "ttyUSB0"),
            ("by-path", "platform-usb-0:1.2:1.0-port0", "ttyUSB0"),
        ]);
        let advice = names.advice(&names.dir.join("ttyUSB0")).unwrap();
        assert!(
            advice.contains("by-id/usb-FTDI_FT232R_A50285BI-if00-port0\""),
            "{advice}"
        );
        let stable = names
            .dir
            .join("serial/by-id/usb-FTDI_FT232R_A50285BI-if00-port0");
        assert_eq!(names.advice(&stable), None);
        assert_eq!(SerialNames::device(&stable), names.dir.join("ttyUSB0"));
        assert_eq!(names.usb_ports()[0].name, stable);
    }

    #[test]
    fn two_adapters_without_serial_numbers_are_told_apart_by_their_sockets() {
        let (_dir, names) = dev(&[
            ("by-path", "platform-usb-0:1.2:1.0-port0", "ttyUSB0"),
            ("by-path", "platform-usb-0:1.3:1.0-port0", "ttyUSB1"),
            ("by-id", "usb-1a86_USB_Serial-if00-port0", "ttyUSB1"),
        ]);
        for (device, socket) in [("ttyUSB0", "0:1.2"), ("ttyUSB1", "0:1.3")] {
            let advice = names.advice(&names.dir.join(device)).unwrap();
            let expected = format!("by-path/platform-usb-{socket}:1.0-port0\"");
            assert!(advice.contains(&expected), "{advice}");
        }
        let shared = names
            .dir
            .join("serial/by-id/usb-1a86_USB_Serial-if00-port0");
        let advice = names.advice(&shared).unwrap();
        assert!(advice.contains("by-path/platform-usb-0:1.3"), "{advice}");
        assert_eq!(names.usb_ports().len(), 2);
    }

    #[test]
    fn a_port_that_is_soldered_on_needs_no_advice_and_an_absent_one_gets_the_folder() {
        let (_dir, names) = dev(&[]);
        assert_eq!(names.advice(&names.dir.join("ttyAMA0")), None);
        let advice = names.advice(&names.dir.join("ttyACM3")).unwrap();
        assert!(advice.contains("not plugged in now"), "{advice}");
        assert_eq!(names.usb_ports(), []);
    }
}
