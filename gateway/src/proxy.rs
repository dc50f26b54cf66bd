//! A read-only Modbus server, so that the site's own control system shares the meters.
//!
//! A meter often takes one connection, a serial line one master. The proxy lets others read through
//! the gateway: from what the gateway has just polled, or from the device in the pauses between its
//! polls ([`crate::modbus::lane`]). It promises:
//!
//! - Nothing is ever written. What is not a read of functions 1 to 4 is answered with exception 1
//!   and ends in `request`; there is no type by which a write could reach the line.
//! - The gateway's own polls wait for no client, and no client's question counts against a device.
//! - Values of two answers are never joined into one.
//! - Clients cost bounded memory, time and connections, whatever they send.
//!
//! It is plain Modbus TCP: no authentication, no encryption. Who can reach the address and is within
//! `allow` can read every register of the offered devices.
//!
//! A client is told: exception 1 for any other function, 2 and 3 for what cannot be asked or what the
//! device refuses, 6 when the line had no pause (ask again), 10 when the unit is not offered or the
//! device not reached, or can only be read from memory and was not polled; 11 when it is silent.

mod clients;
mod offer;
pub mod request;
mod server;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use crate::config::ProxyConfig;
use clients::Clients;
pub use offer::{Offer, Polled, Room, Served, Source};

/// The offered devices by the unit id that clients use.
pub type Offers = HashMap<u8, Arc<Offer>>;

/// A running proxy; it ends when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    state: Arc<State>,
    task: JoinHandle<()>,
}

/// What is known about a running proxy.
#[derive(Debug)]
pub struct State {
    listen: SocketAddr,
    address: Mutex<Option<SocketAddr>>,
    trouble: Mutex<Option<String>>,
    clients: Arc<Clients>,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    from_memory: AtomicU64,
    from_line: AtomicU64,
    refused: AtomicU64,
    turned_away: AtomicU64,
    malformed: AtomicU64,
    full: AtomicU64,
}

/// What `status` shows of a proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyStatus {
    /// Where it listens.
    pub listen: String,
    /// Why it does not, with the remedy.
    pub trouble: Option<String>,
    /// Connections at present.
    pub clients: usize,
    /// Reads answered without asking the line.
    pub from_memory: u64,
    /// Reads for which the line was asked.
    pub from_line: u64,
    /// Requests refused: writes and other functions, units not offered, impossible reads.
    pub refused: u64,
    /// Connections from addresses that are not allowed.
    pub turned_away: u64,
    /// Connections closed because they were not Modbus TCP.
    pub malformed: u64,
    /// Connections for which there was no place.
    pub full: u64,
}

impl Proxy {
    /// Starts the server; must be called within a runtime.
    #[must_use]
    pub fn start(config: ProxyConfig, offers: Offers) -> Self {
        let state = Arc::new(State {
            listen: config.listen,
            address: Mutex::default(),
            trouble: Mutex::default(),
            clients: Clients::new(usize::from(config.max_clients)),
            counts: Counts::default(),
        });
        let task = tokio::spawn(server::serve(config, offers, Arc::clone(&state)));
        Self { state, task }
    }

    /// What `status` shows; stays true while the proxy runs.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        Arc::clone(&self.state)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Its connections end with it.
        self.task.abort();
    }
}

impl State {
    /// Where it listens, once it does.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `status` shows.
    #[must_use]
    pub fn status(&self) -> ProxyStatus {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        ProxyStatus {
            listen: self.listen.to_string(),
            trouble: trouble.clone(),
            clients: self.clients.count(),
            from_memory: count(&self.counts.from_memory),
            from_line: count(&self.counts.from_line),
            refused: count(&self.counts.refused),
            turned_away: count(&self.counts.turned_away),
            malformed: count(&self.counts.malformed),
            full: count(&self.counts.full),
        }
    }

    fn set_address(&self, address: Option<SocketAddr>) {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner) = address;
    }

    fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}
