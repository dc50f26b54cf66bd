//! Opening a serial port, and saying why it cannot be opened.
//!
//! Not tried on hardware: what parity and stop bits do on a wire. The tests look at the settings
//! that are asked for and run the frames over pseudo-terminals, which have no wire.
//!
//! The direction of an RS-485 pair is switched by the converter or by the kernel's driver
//! ([`Rs485`]); the gateway sends and receives and does not touch RTS.
//!
//! [`Rs485`]: crate::config::Rs485

use std::io;

use tokio_serial::{
    DataBits, FlowControl, Parity as Bit, SerialPortBuilder, SerialStream, StopBits,
};

use crate::config::{Parity, SerialNames, SerialPort};

/// What is asked of the operating system for a port.
#[must_use]
pub fn builder(port: &SerialPort) -> SerialPortBuilder {
    tokio_serial::new(port.path.to_string_lossy(), port.baud)
        .data_bits(match port.data_bits {
            5 => DataBits::Five,
            6 => DataBits::Six,
            7 => DataBits::Seven,
            _ => DataBits::Eight,
        })
        .parity(match port.parity {
            Parity::None => Bit::None,
            Parity::Even => Bit::Even,
            Parity::Odd => Bit::Odd,
        })
        .stop_bits(if port.stop_bits == 2 {
            StopBits::Two
        } else {
            StopBits::One
        })
        .flow_control(FlowControl::None)
        // Two masters on one wire garble one another: whoever opens it next is refused.
        .exclusive(true)
}

/// Opens a port for us alone.
///
/// # Errors
/// What the system said, and what to do about it.
pub(super) fn open(port: &SerialPort) -> io::Result<SerialStream> {
    SerialStream::open(&builder(port)).map_err(|error| {
        let error = io::Error::from(error);
        let text = explain(port, &error, &SerialNames::system());
        io::Error::new(error.kind(), text)
    })
}

/// An open error in words, with the remedy.
fn explain(port: &SerialPort, error: &io::Error, names: &SerialNames) -> String {
    let path = port.path.display();
    let busy = error.kind() == io::ErrorKind::ResourceBusy
        || error.kind() == io::ErrorKind::WouldBlock
        || error.to_string().to_lowercase().contains("busy");
    if busy || is_locked(error) {
        return format!(
            "{path} is in use by another program (a second gateway, ModemManager, a terminal): `fuser -v {path}` names it"
        );
    }
    if error.kind() == io::ErrorKind::PermissionDenied {
        return format!(
            "{path}: permission denied; run it with sudo, or put the user that runs it into the group `dialout` \
             (`sudo usermod -aG dialout USER`, which holds from the next login on)"
        );
    }
    if !port.path.exists() {
        let found: Vec<String> = names
            .usb_ports()
            .iter()
            .map(|port| port.name.display().to_string())
            .collect();
        let found = if found.is_empty() {
            "no USB serial adapter is plugged in".to_owned()
        } else {
            format!("plugged in: {}", found.join(", "))
        };
        return format!("{path} does not exist; {found}");
    }
    format!("{path}: {error}")
}

/// The library reports a held lock as "no device" with the text of the lock call.
fn is_locked(error: &io::Error) -> bool {
    let text = error.to_string().to_lowercase();
    text.contains("lock") || text.contains("temporarily unavailable")
}

#[cfg(test)]
mod tests {
    use super::{builder, explain, open};
    use crate::config::{Parity, SerialNames, SerialPort};
    use std::io;

    #[test]
    fn the_settings_of_the_file_are_what_the_system_is_asked_for() {
        for (parity, stop_bits, expected) in [
            (Parity::None, 1, ["parity: None", "stop_bits: One"]),
            (Parity::Even, 1, ["parity: Even", "stop_bits: One"]),
            (Parity::Odd, 2, ["parity: Odd", "stop_bits: Two"]),
        ] {
            let port = SerialPort {
                baud: 19_200,
                parity,
                stop_bits,
                ..SerialPort::new("/dev/ttyUSB7")
            };
            // The builder shows its settings in no other way.
            let asked = format!("{:?}", builder(&port));
            for expected in expected.iter().chain(&[
                "path: \"/dev/ttyUSB7\"",
                "baud_rate: 19200",
                "data_bits: Eight",
                "flow_control: None",
                "exclusive: true",
            ]) {
                assert!(asked.contains(expected), "{expected} in {asked}");
            }
        }
    }

    #[test]
    fn what_stands_in_the_way_of_a_port_is_said_with_its_remedy() {
        let none = SerialNames::in_dir("/nowhere");
        let port = SerialPort::new("/nowhere/ttyUSB0");
        let text = |kind: io::ErrorKind| explain(&port, &io::Error::from(kind), &none);
        assert!(text(io::ErrorKind::PermissionDenied).contains("dialout"));
        assert!(text(io::ErrorKind::ResourceBusy).contains("fuser -v /nowhere/ttyUSB0"));
        assert!(text(io::ErrorKind::NotFound).contains("does not exist; no USB serial adapter"));
    }

    #[tokio::test]
    async fn a_port_that_is_not_there_is_an_error_in_words() {
        let error = open(&SerialPort::new("/nowhere/ttyUSB0")).unwrap_err();
        assert!(error.to_string().contains("does not exist"), "{error}");
    }
}
