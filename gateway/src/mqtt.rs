//! The MQTT source: nothing is acknowledged before it is durable, nothing is taken for newer than it is.
//!
//! One task per broker. The session is persistent and the client id stable, so the broker keeps
//! messages of QoS 1 while the gateway is away. Every message is handed on with an acknowledgement
//! that the recorder gives after its journal was synced; a crash before that means the message comes
//! again. Topics are subscribed at every connect. Retained messages are flagged: their age is
//! unknown. A lost connection is itself a sample (`DISCONNECTED`), so that silence has a reason.

use std::path::{Path, PathBuf};
use std::time::Duration;

use evidence::measurement::MeasurementConfig;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rumqttc::{MqttOptions, TlsConfiguration, Transport};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::config::{GatewayConfig, MESSAGE_STREAMS_FROM, MqttBroker};
use crate::sample::{Message, MessageSource};

pub mod payload;
mod routes;
mod session;
mod tls;

use routes::Routes;

/// Messages above this size are malformed by definition: no meter sends a megabyte for a number.
pub const MOST_MESSAGE_BYTES: usize = 1 << 20;

/// What is accepted from the wire, so that a message that is too large can be seen, named and
/// acknowledged instead of breaking the connection again and again.
const MOST_PACKET_BYTES: usize = 16 << 20;

/// Messages that may wait for the recorder; beyond that the broker is left waiting.
const QUEUE: usize = 1_024;

/// Acknowledgements that may wait for the connection: a broker cannot have more messages in flight.
const REQUESTS: usize = 70_000;

/// Why a broker's settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MqttError {
    /// A file named in the configuration cannot be read.
    #[error("broker `{broker}`: read {key} {path}")]
    Unreadable {
        /// The broker's name.
        broker: String,
        /// The key in the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A certificate or key cannot be used.
    #[error("broker `{broker}`: {key} {path}: {problem}")]
    Unusable {
        /// The broker's name.
        broker: String,
        /// The key in the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// The messages of one broker.
#[derive(Debug)]
pub struct MqttStream {
    id: u16,
    name: String,
    messages: mpsc::Receiver<Message>,
    task: Option<JoinHandle<()>>,
}

/// Starts one task per broker and returns the message streams in the order of the file.
///
/// # Errors
/// A password, certificate or key file that cannot be read or used. A broker that cannot be reached
/// is no error: the task goes on trying.
pub fn start(config: &GatewayConfig) -> Result<Vec<MqttStream>, MqttError> {
    start_with(config, |broker| options(config, broker))
}

/// Like [`start`], for a single look: a session of its own that the broker forgets, so that a
/// gateway running beside it keeps its session and its messages.
///
/// # Errors
/// As [`start`].
pub fn start_once(config: &GatewayConfig) -> Result<Vec<MqttStream>, MqttError> {
    start_with(config, |broker| {
        let mut options = options(config, broker)?;
        options.set_client_id(format!(
            "{}-once-{}",
            options.client_id(),
            std::process::id()
        ));
        options.set_clean_session(true);
        Ok(options)
    })
}

fn start_with(
    config: &GatewayConfig,
    options: impl Fn(&MqttBroker) -> Result<MqttOptions, MqttError>,
) -> Result<Vec<MqttStream>, MqttError> {
    let table = config.measurement(|_| 0);
    // Every file is read before the first task starts.
    let prepared: Vec<_> = (MESSAGE_STREAMS_FROM..)
        .zip(&config.mqtt)
        .map(|(id, broker)| Ok((id, broker, options(broker)?)))
        .collect::<Result<_, MqttError>>()?;
    Ok(prepared
        .into_iter()
        .map(|(id, broker, options)| stream(id, broker, options, &table))
        .collect())
}

fn stream(
    id: u16,
    broker: &MqttBroker,
    options: MqttOptions,
    table: &MeasurementConfig,
) -> MqttStream {
    let (sender, messages) = mpsc::channel(QUEUE);
    let routes = Routes::new(id, table);
    let task = tokio::spawn(session::run(
        broker.name.clone(),
        id,
        options,
        routes,
        sender,
    ));
    MqttStream {
        id,
        name: broker.name.clone(),
        messages,
        task: Some(task),
    }
}

impl MqttStream {
    /// The broker's name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl MessageSource for MqttStream {
    fn stream(&self) -> u16 {
        self.id
    }

    fn next(&mut self) -> BoxFuture<'_, Option<Message>> {
        self.messages.recv().boxed()
    }

    fn close(&mut self) -> BoxFuture<'_, ()> {
        self.messages.close();
        let task = self.task.take();
        async move {
            // What is still queued was not recorded: unacknowledged, it comes again.
            while self.messages.recv().await.is_some() {}
            if let Some(task) = task {
                // The task ends by itself; a panic in it was already reported by the runtime.
                let _ended = tokio::time::timeout(Duration::from_secs(5), task).await;
            }
        }
        .boxed()
    }
}

fn options(config: &GatewayConfig, broker: &MqttBroker) -> Result<MqttOptions, MqttError> {
    let id = broker
        .client_id
        .clone()
        .unwrap_or_else(|| client_id(config, broker));
    let mut options = MqttOptions::new(id, &broker.host, broker.port);
    options
        .set_clean_session(false)
        .set_manual_acks(true)
        .set_keep_alive(broker.keep_alive)
        .set_max_packet_size(MOST_PACKET_BYTES, 64 << 10);
    if let Some(user) = &broker.user {
        let password = match &broker.password_file {
            Some(path) => password(broker, path)?,
            None => String::new(),
        };
        options.set_credentials(user, password);
    }
    if let Some(settings) = &broker.tls {
        let client = tls::client_config(&broker.name, settings)?;
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(client)));
    }
    Ok(options)
}

/// Stable for ever: from the log's name and the broker's, so a restored gateway finds its session.
fn client_id(config: &GatewayConfig, broker: &MqttBroker) -> String {
    let origin = config.origin.id().to_hex();
    let short: String = origin.chars().take(12).collect();
    format!("fieldseal-{short}-{}", broker.name)
}

fn password(broker: &MqttBroker, path: &Path) -> Result<String, MqttError> {
    let text = std::fs::read_to_string(path).map_err(|source| MqttError::Unreadable {
        broker: broker.name.clone(),
        key: "password_file",
        path: path.to_owned(),
        source,
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
