//! The task that keeps one broker's session.
//!
//! Packet numbers belong to one connection: an acknowledgement given after a reconnect could tell
//! the broker that another message is durable. So each connection has a number, and an
//! acknowledgement of an earlier connection is dropped; the broker delivers that message again.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ring::rand::{SecureRandom as _, SystemRandom};
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, MqttOptions, Packet,
    Publish, QoS, SubAck, SubscribeFilter, SubscribeReasonCode,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tracing::{debug, info, warn};

use super::REQUESTS;
use super::routes::Routes;
use crate::sample::{Ack, Message};

/// The longest pause between two attempts to connect.
const MOST_PAUSE: Duration = Duration::from_secs(60);

/// How long acknowledgements may take to leave at shutdown.
const FAREWELL: Duration = Duration::from_secs(3);

/// How often it is looked whether acknowledgements are still owed at shutdown.
const OWED_AGAIN: Duration = Duration::from_millis(10);

/// Topics that came without being wanted and were unsubscribed; remembered up to this many.
const MOST_STRANGERS: usize = 1_000;

/// Where acknowledgements go, and for which connection.
struct Gate {
    client: AsyncClient,
    connection: u64,
}

struct Session {
    broker: String,
    stream: u16,
    routes: Routes,
    messages: mpsc::Sender<Message>,
    gate: Arc<Mutex<Gate>>,
    started: Instant,
    /// Attempts to connect that failed since the last connection.
    failures: u32,
    strangers: HashSet<String>,
    /// Held by every acknowledgement that is still to be given, and once by the session itself.
    owed: Arc<()>,
}

/// Runs until the receiver of the messages is dropped or closed.
pub(super) async fn run(
    broker: String,
    stream: u16,
    options: MqttOptions,
    routes: Routes,
    messages: mpsc::Sender<Message>,
) {
    let (client, mut events) = AsyncClient::new(options, REQUESTS);
    let gate = Arc::new(Mutex::new(Gate {
        client,
        connection: 0,
    }));
    let started = Instant::now();
    let strangers = HashSet::new();
    let mut session = Session {
        broker,
        stream,
        routes,
        messages,
        gate,
        started,
        failures: 0,
        strangers,
        owed: Arc::new(()),
    };
    let closing = session.messages.clone();
    loop {
        // `poll` must not be dropped half-way through a write, so closing is looked for here and
        // while waiting for the network only through the select below, which ends the connection.
        let event = tokio::select! {
            () = closing.closed() => return session.farewell(&mut events).await,
            event = events.poll() => event,
        };
        match event {
            Ok(event) => session.handle(event).await,
            Err(error) => {
                session.lost(&error, &mut events).await;
                let pause = session.pause();
                tokio::select! {
                    () = closing.closed() => return,
                    () = tokio::time::sleep(pause) => {}
                }
            }
        }
    }
}

impl Session {
    async fn handle(&mut self, event: Event) {
        match event {
            Event::Incoming(Packet::ConnAck(connack)) => self.connected(connack.session_present),
            Event::Incoming(Packet::SubAck(answer)) => self.subscribed(&answer),
            Event::Incoming(Packet::Publish(publish)) => self.publish(publish).await,
            _ => {}
        }
    }

    fn connected(&mut self, session_present: bool) {
        let kept = if session_present {
            "kept our session"
        } else {
            "has no session of ours"
        };
        info!(
            broker.name = self.broker,
            "Connected to broker {}, which {kept}", self.broker
        );
        self.failures = 0;
        // At every connect: a broker that kept the session knows the topics of then, not of now.
        let filters = self.routes.filters();
        let filters: Vec<_> = filters
            .into_iter()
            .map(|filter| SubscribeFilter::new(filter.to_owned(), QoS::AtLeastOnce))
            .collect();
        if let Err(error) = self.gate().client.try_subscribe_many(filters) {
            warn!(
                broker.name = self.broker,
                "Broker {} was not asked for its topics: {error}", self.broker
            );
        }
    }

    /// A refused topic is a message that will never come: said at once, by name.
    fn subscribed(&self, answer: &SubAck) {
        for (filter, code) in self.routes.filters().into_iter().zip(&answer.return_codes) {
            if *code == SubscribeReasonCode::Failure {
                warn!(
                    broker.name = self.broker,
                    "Broker {} refuses topic {filter}: allow the gateway's user to read it",
                    self.broker
                );
            }
        }
    }

    async fn publish(&mut self, publish: Publish) {
        let received = Instant::now();
        let at_ms = u64::try_from((received - self.started).as_millis()).unwrap_or(u64::MAX);
        let ack = self.ack(&publish);
        let Publish {
            topic,
            payload,
            retain,
            ..
        } = publish;
        let samples = self.routes.samples(&topic, &payload, retain, at_ms);
        if samples.is_empty() {
            // A topic of an earlier configuration, still in the session.
            self.stranger(topic);
            return ack.durable();
        }
        if payload.len() > super::MOST_MESSAGE_BYTES {
            let size = payload.len();
            warn!(
                broker.name = self.broker,
                "A message of {size} bytes on {topic} is larger than 1 MiB and counts as malformed"
            );
        }
        let message = Message {
            stream: self.stream,
            received,
            samples,
            ack: Some(ack),
        };
        // The receiver is gone only at shutdown; unacknowledged, the message comes again.
        let _unheard = self.messages.send(message).await;
    }

    fn stranger(&mut self, topic: String) {
        if self.strangers.len() < MOST_STRANGERS && !self.strangers.contains(&topic) {
            info!(
                broker.name = self.broker,
                "No point reads topic {topic}; unsubscribed"
            );
            if let Err(error) = self.gate().client.try_unsubscribe(&topic) {
                debug!("Unsubscribe {topic}: {error}");
            }
            self.strangers.insert(topic);
        }
    }

    /// The acknowledgement of a message of the present connection.
    fn ack(&self, publish: &Publish) -> Ack {
        let (connection, gate) = (self.gate().connection, Arc::clone(&self.gate));
        let owed = Arc::clone(&self.owed);
        let mut receipt = Publish::from_bytes("", publish.qos, Bytes::new());
        receipt.pkid = publish.pkid;
        Ack::new(move || {
            let _until_queued = owed;
            let gate = gate.lock().unwrap_or_else(PoisonError::into_inner);
            if gate.connection != connection {
                return;
            }
            // Cannot be full: it holds more than a broker may have in flight.
            if let Err(error) = gate.client.try_ack(&receipt) {
                debug!("Acknowledge: {error}");
            }
        })
    }

    /// Ends the connection: nothing given for it may be sent on the next.
    async fn lost(&mut self, error: &ConnectionError, events: &mut EventLoop) {
        // Messages read together with the failure still belong to the old connection.
        while let Some(event) = events.state.events.pop_front() {
            if let Event::Incoming(Packet::Publish(publish)) = event {
                self.publish(publish).await;
            }
        }
        {
            let mut gate = self.gate();
            gate.connection += 1;
            // Drops acknowledgements that were queued after the event loop had cleaned up.
            events.clean();
        }
        self.failures = self.failures.saturating_add(1);
        let remedy = remedy(error);
        if self.failures == 1 {
            warn!(
                broker.name = self.broker,
                "Broker {}: {error}{remedy}; trying again", self.broker
            );
        } else {
            debug!(
                broker.name = self.broker,
                "Broker {}: {error}{remedy}", self.broker
            );
        }
        let samples = self.routes.disconnected();
        let message = Message {
            stream: self.stream,
            received: Instant::now(),
            samples,
            ack: None,
        };
        let _unheard = self.messages.send(message).await;
    }

    /// 1, 2, 4 … 60 s, of which a random half is waited, so that many gateways do not return at once.
    fn pause(&self) -> Duration {
        let doubled =
            Duration::from_secs(1 << (self.failures.saturating_sub(1)).min(6)).min(MOST_PAUSE);
        let mut random = [0];
        let part = SystemRandom::new()
            .fill(&mut random)
            .map_or(255, |()| u32::from(random[0]));
        doubled / 2 + doubled / 2 * part / 255
    }

    /// Lets the acknowledgements leave that the recorder gives while it closes, then says goodbye.
    /// The session stays at the broker.
    async fn farewell(&self, events: &mut EventLoop) {
        let leave = async {
            while Arc::strong_count(&self.owed) > 1 && events.network.is_some() {
                // What arrives meanwhile is not handed on: unacknowledged, it comes again.
                let _event = timeout(OWED_AGAIN, events.poll()).await;
            }
            if events.network.is_none() || self.gate().client.try_disconnect().is_err() {
                return;
            }
            // Until the broker closes: closing first, with something unread, would reset the
            // connection and throw away the acknowledgements on their way.
            while events.poll().await.is_ok() {}
        };
        if timeout(FAREWELL, leave).await.is_err() {
            debug!(
                broker.name = self.broker,
                "Broker {} did not take our goodbye", self.broker
            );
        }
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        // Never held across an await; the gate stays consistent whatever panics.
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remedy(error: &ConnectionError) -> &'static str {
    match error {
        ConnectionError::ConnectionRefused(
            ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized,
        ) => " (check user and password_file)",
        ConnectionError::ConnectionRefused(ConnectReturnCode::BadClientId) => " (check client_id)",
        ConnectionError::Tls(_) => " (check host, port and [mqtt.tls])",
        _ => "",
    }
}
