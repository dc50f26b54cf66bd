//! Mosquitto in a process of its own, with a directory of its own, and a publisher.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// A running broker; stopped when dropped.
pub(crate) struct Broker {
    pub(crate) port: u16,
    pub(crate) dir: TempDir,
    extra: String,
    process: Option<Child>,
}

impl Broker {
    /// A broker that lets everybody in and keeps sessions over a restart.
    pub(crate) fn start() -> Self {
        Self::with(|_| "allow_anonymous true\n".to_owned())
    }

    /// A broker with further lines of configuration, made when its directory is known.
    pub(crate) fn with(extra: impl FnOnce(&Path) -> String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let extra = extra(dir.path());
        let mut broker = Self {
            port,
            dir,
            extra,
            process: None,
        };
        broker.resume();
        broker
    }

    /// Starts it again on the same port with what it had stored.
    pub(crate) fn resume(&mut self) {
        let path = self.dir.path().join("mosquitto.conf");
        let lines = format!(
            "listener {} 127.0.0.1\npersistence true\npersistence_location {}/\nautosave_interval 1\n\
             autosave_on_changes true\nuser root\nlog_type error\n{}",
            self.port,
            self.dir.path().display(),
            self.extra
        );
        std::fs::File::create(&path)
            .unwrap()
            .write_all(lines.as_bytes())
            .unwrap();
        let program = if Path::new("/usr/sbin/mosquitto").exists() {
            "/usr/sbin/mosquitto"
        } else {
            "mosquitto"
        };
        let process = Command::new(program)
            .arg("-c")
            .arg(&path)
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("start {program}: {error}; apt-get install mosquitto"));
        self.process = Some(process);
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "mosquitto does not listen"
            );
            std::thread::yield_now();
        }
    }

    /// Ends it as the system would; it stores its sessions first.
    pub(crate) fn stop(&mut self) {
        let Some(mut process) = self.process.take() else {
            return;
        };
        let pid = process.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        process.wait().unwrap();
    }

    /// A client that publishes with QoS 1.
    pub(crate) fn publisher(&self) -> Publisher {
        Publisher::new(MqttOptions::new("publisher", "127.0.0.1", self.port))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }
}

/// Publishes and waits until the broker has taken the message.
pub(crate) struct Publisher {
    client: AsyncClient,
    taken: tokio::sync::mpsc::UnboundedReceiver<()>,
    task: JoinHandle<()>,
}

impl Publisher {
    pub(crate) fn new(mut options: MqttOptions) -> Self {
        options.set_max_packet_size(1 << 20, 8 << 20);
        let (client, mut events) = AsyncClient::new(options, 10);
        let (sender, taken) = tokio::sync::mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            loop {
                match events.poll().await {
                    Ok(Event::Incoming(Packet::PubAck(_))) if sender.send(()).is_err() => return,
                    Ok(_) => {}
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        });
        Self {
            client,
            taken,
            task,
        }
    }

    pub(crate) async fn publish(&mut self, topic: &str, retain: bool, payload: impl Into<Vec<u8>>) {
        self.client
            .publish(topic, QoS::AtLeastOnce, retain, payload)
            .await
            .unwrap();
        self.taken.recv().await.unwrap();
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.task.abort();
    }
}
