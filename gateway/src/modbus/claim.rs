//! One process of ours at a time speaks on an RTU line.
//!
//! An RTU frame does not say which question it answers: two masters on one line get one another's
//! answers, and some of them fit. The system's own lock of a serial port ends whenever the port is
//! closed, which it is after every failure, and a TCP connection to a converter has none at all. So
//! whoever speaks on such a line claims it before it is opened and keeps the claim for as long as it
//! may ask again: an abstract unix socket that bears the line's name. The system lets one process have
//! it, whoever that process runs as, and takes it back when the process ends, however it ends.
//!
//! Not seen: another machine, another network namespace (a container of its own), other programs, and
//! a converter that is reached at two addresses, if no name resolves to both.

use std::io;
use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::{SocketAddr as Name, UnixDatagram};
use std::path::Path;

use tokio::net::lookup_host;

use crate::config::SerialPort;

/// What every name begins with.
const FAMILY: &str = "fieldseal/line";

/// How much of another process's command line is shown.
const MOST_WORDS: usize = 60;

/// The names of one line that are ours; given back when this is dropped.
#[derive(Debug, Default)]
pub(super) struct Claim {
    held: Vec<Held>,
}

#[derive(Debug)]
struct Held {
    name: String,
    /// The socket that bears the name, and one that says whose it is. Nothing is ever sent.
    _sockets: (UnixDatagram, Option<UnixDatagram>),
}

impl Claim {
    /// Claims a converter at every address its host resolves to; returns the addresses.
    ///
    /// # Errors
    /// The host does not resolve; or another process has the line ([`io::ErrorKind::ResourceBusy`]),
    /// with its name and the remedy.
    pub(super) async fn converter(&mut self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let addresses: Vec<SocketAddr> = lookup_host((host, port)).await?.collect();
        let names = addresses.iter().map(|address| {
            let ip = address.ip().to_canonical();
            format!("{FAMILY}/tcp/{}", SocketAddr::new(ip, port))
        });
        self.take(names.collect(), &format!("{host}:{port}"))?;
        Ok(addresses)
    }

    /// Claims a serial port, under whichever of its names it is opened. A port that is not there is
    /// left to who opens it.
    ///
    /// # Errors
    /// Another process has the line ([`io::ErrorKind::ResourceBusy`]), with its name and the remedy.
    pub(super) fn port(&mut self, port: &SerialPort) -> io::Result<()> {
        let Ok(metadata) = std::fs::metadata(&port.path) else {
            return Ok(());
        };
        let name = format!("{FAMILY}/tty/{:x}", metadata.rdev());
        self.take(vec![name], &port.path.display().to_string())
    }

    /// Takes what is not held yet, then lets go of what is not wanted any more.
    fn take(&mut self, mut names: Vec<String>, place: &str) -> io::Result<()> {
        // In one order everywhere: two that want the same two addresses do not each get one.
        names.sort();
        names.dedup();
        for name in &names {
            if self.held.iter().any(|held| held.name == *name) {
                continue;
            }
            let socket = bind(name).map_err(|error| match error.kind() {
                io::ErrorKind::AddrInUse => taken(name, place),
                _ => error,
            })?;
            // Without it the holder is only not named.
            let badge = bind(&format!("{name}#{}", std::process::id())).ok();
            self.held.push(Held {
                name: name.clone(),
                _sockets: (socket, badge),
            });
        }
        self.held.retain(|held| names.contains(&held.name));
        Ok(())
    }
}

fn bind(name: &str) -> io::Result<UnixDatagram> {
    UnixDatagram::bind_addr(&Name::from_abstract_name(name)?)
}

/// Who has the line, and what to do about it.
fn taken(name: &str, place: &str) -> io::Error {
    let holder = std::fs::read_to_string("/proc/net/unix")
        .ok()
        .and_then(|sockets| holder(&sockets, name));
    let text = match holder {
        Some(process) if process == std::process::id() => format!(
            "{place} is in use under another name of the same line: make it one [[line]], which its \
             devices share"
        ),
        Some(process) => format!(
            "{place} is in use by {} (process {process}). Two masters on an RTU line get one another's \
             answers: let it finish or stop it first (the service: systemctl stop fieldseal-gateway), \
             and start it again afterwards",
            words(process)
        ),
        None => format!(
            "{place} is in use by another fieldseal-gateway. Two masters on an RTU line get one \
             another's answers: let it finish or stop it first"
        ),
    };
    io::Error::new(io::ErrorKind::ResourceBusy, text)
}

/// The process whose badge stands in the system's list of sockets.
fn holder(sockets: &str, name: &str) -> Option<u32> {
    let badge = format!("@{name}#");
    let mut names = sockets.lines().filter_map(|line| line.rsplit(' ').next());
    names.find_map(|found| found.strip_prefix(&badge)?.parse().ok())
}

/// How a process was called: `fieldseal-gateway run`.
fn words(process: u32) -> String {
    let line = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line);
    let mut words = line.split('\0').filter(|word| !word.is_empty());
    let program = words.next().map_or("another program", |program| {
        let name = Path::new(program)
            .file_name()
            .and_then(|name| name.to_str());
        name.unwrap_or(program)
    });
    let all = std::iter::once(program).chain(words);
    let all = all.collect::<Vec<_>>().join(" ");
    // Control characters of another's making do not reach the terminal.
    let shown = all.chars().filter(|letter| !letter.is_control());
    format!("`{}`", shown.take(MOST_WORDS).collect::<String>())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{Claim, holder};
    use crate::config::SerialPort;

    #[tokio::test]
    async fn a_line_is_claimed_by_its_address_whatever_name_leads_there() {
        // Nobody listens there: a claim is a matter of names.
        let port = free_port();
        let mut first = Claim::default();
        first.converter("127.0.0.1", port).await.unwrap();
        // Taken again by who has it: at every opening.
        first.converter("127.0.0.1", port).await.unwrap();
        for other_name in ["127.0.0.1", "::ffff:127.0.0.1", "localhost"] {
            let mut second = Claim::default();
            let error = second.converter(other_name, port).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ResourceBusy, "{other_name}");
            assert!(
                error.to_string().contains("make it one [[line]]"),
                "{error}"
            );
        }
        Claim::default().converter("127.0.0.2", port).await.unwrap();
        Claim::default()
            .converter("127.0.0.1", port + 1)
            .await
            .unwrap();
        // A name that leads elsewhere now: the old address is given back.
        first.converter("127.0.0.2", port).await.unwrap();
        Claim::default().converter("127.0.0.1", port).await.unwrap();
        drop(first);
        Claim::default().converter("127.0.0.2", port).await.unwrap();
    }

    fn free_port() -> u16 {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        // The next one is free as well, or a test of another process is unlucky once in years.
        listener.local_addr().unwrap().port() & !1
    }

    #[test]
    fn a_port_is_claimed_by_the_device_behind_its_names_and_one_that_is_absent_by_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("usb-FTDI-port0");
        std::os::unix::fs::symlink("/dev/ptmx", &link).unwrap();
        let mut first = Claim::default();
        first.port(&SerialPort::new("/dev/ptmx")).unwrap();
        let error = Claim::default().port(&SerialPort::new(&link)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        drop(first);
        Claim::default().port(&SerialPort::new(&link)).unwrap();
        Claim::default()
            .port(&SerialPort::new("/nowhere/tty"))
            .unwrap();
    }

    #[test]
    fn who_has_a_line_is_read_from_the_list_of_sockets() {
        let list = "Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00000000 0002 01 11 @fieldseal/line/tcp/10.0.0.1:4001\n\
            0000000000000000: 00000002 00000000 00000000 0002 01 12 @fieldseal/line/tcp/10.0.0.1:40012#7\n\
            0000000000000000: 00000002 00000000 00000000 0002 01 13 @fieldseal/line/tcp/10.0.0.1:4001#4711\n\
            0000000000000000: 00000002 00000000 00000000 0002 01 14\n";
        let of = |port: u16| holder(list, &format!("fieldseal/line/tcp/10.0.0.1:{port}"));
        assert_eq!(of(4_001), Some(4_711));
        assert_eq!(of(4_002), None);
    }
}
