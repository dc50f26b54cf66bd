//! Tells the service manager that the gateway is ready, alive and stopping (`sd_notify`).
//!
//! *Alive* is only said after the recorder was tended, so a stuck recorder is restarted.

use std::os::unix::net::UnixDatagram;

/// The socket of the service manager, or nobody.
#[derive(Debug)]
pub struct Notifier {
    socket: Option<UnixDatagram>,
}

impl Notifier {
    /// Talks to the socket at this path (`NOTIFY_SOCKET`); an abstract name begins with `@`.
    ///
    /// A socket that cannot be reached counts as nobody: the gateway runs without a service manager.
    #[must_use]
    pub fn new(path: Option<&str>) -> Self {
        let connect = |path: &str| {
            use std::os::linux::net::SocketAddrExt as _;
            let socket = UnixDatagram::unbound()?;
            match path.strip_prefix('@') {
                Some(name) => {
                    let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
                    socket.connect_addr(&address)?;
                }
                None => socket.connect(path)?,
            }
            socket.set_nonblocking(true)?;
            Ok::<_, std::io::Error>(socket)
        };
        Self {
            socket: path.and_then(|path| connect(path).ok()),
        }
    }

    /// Recording has begun.
    pub fn ready(&self) {
        self.say("READY=1");
    }

    /// The recorder was tended.
    pub fn alive(&self) {
        self.say("WATCHDOG=1");
    }

    /// The orderly stop has begun.
    pub fn stopping(&self) {
        self.say("STOPPING=1");
    }

    fn say(&self, text: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(text.as_bytes())
        {
            tracing::debug!("The service manager was not told `{text}`: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::Notifier;

    #[test]
    fn the_service_manager_hears_each_state() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::new(path.to_str());
        notifier.ready();
        notifier.alive();
        notifier.stopping();
        let mut bytes = [0; 64];
        for expected in ["READY=1", "WATCHDOG=1", "STOPPING=1"] {
            let length = manager.recv(&mut bytes).unwrap();
            assert_eq!(&bytes[..length], expected.as_bytes());
        }
        Notifier::new(None).ready();
        Notifier::new(Some("/nonexistent/socket")).ready();
    }
}
