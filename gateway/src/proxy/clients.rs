//! The connections of a proxy: how many, who has been idle the longest, how fast each may ask.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

/// A connection that asked nothing for this long gives its place to a new one when all are taken.
const YIELDS_AFTER: Duration = Duration::from_secs(10);

/// Requests a client may send at once, and in a second for good.
const BURST: u32 = 50;

/// The connections.
#[derive(Debug)]
pub(super) struct Clients {
    most: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    clients: HashMap<u64, Client>,
}

#[derive(Debug)]
struct Client {
    last_request: Instant,
    end: Option<AbortHandle>,
}

/// A place taken; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    clients: Arc<Clients>,
    id: u64,
    pace: Pace,
}

impl Clients {
    /// Room for `most` connections.
    #[must_use]
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            open: Mutex::default(),
        })
    }

    /// How many there are.
    #[must_use]
    pub(super) fn count(&self) -> usize {
        self.with(|open| open.clients.len())
    }

    /// A place for a new connection. When all are taken, the one that has been idle the longest is
    /// closed, as the guide to Modbus on TCP has it (V1.0b, 4.2.1), unless all are in use.
    #[must_use]
    pub(super) fn enter(self: &Arc<Self>, now: Instant) -> Option<Place> {
        let id = self.with(|open| {
            if open.clients.len() >= self.most {
                let idlest = open
                    .clients
                    .iter()
                    .min_by_key(|(_, client)| client.last_request);
                let (&id, client) = idlest?;
                if now.saturating_duration_since(client.last_request) < YIELDS_AFTER {
                    return None;
                }
                if let Some(end) = open.clients.remove(&id).and_then(|client| client.end) {
                    end.abort();
                }
            }
            open.next += 1;
            let client = Client {
                last_request: now,
                end: None,
            };
            open.clients.insert(open.next, client);
            Some(open.next)
        })?;
        Some(Place {
            clients: Arc::clone(self),
            id,
            pace: Pace::new(now),
        })
    }

    /// How to end the connection that was given this place.
    pub(super) fn ends_by(&self, id: u64, end: AbortHandle) {
        self.with(|open| {
            if let Some(client) = open.clients.get_mut(&id) {
                client.end = Some(end);
            }
        });
    }

    fn with<T>(&self, change: impl FnOnce(&mut Open) -> T) -> T {
        // Never held across an await; every change is whole.
        change(&mut self.open.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Place {
    /// The number of the place.
    #[must_use]
    pub(super) const fn id(&self) -> u64 {
        self.id
    }

    /// A whole request came; returns when it may be answered.
    pub(super) async fn asked(&mut self) {
        let now = Instant::now();
        self.clients.with(|open| {
            if let Some(client) = open.clients.get_mut(&self.id) {
                client.last_request = now;
            }
        });
        if let Some(until) = self.pace.wait(now) {
            sleep_until(until).await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.clients.with(|open| open.clients.remove(&self.id));
    }
}

/// A bucket of [`BURST`] requests that is full again after a second.
#[derive(Debug)]
struct Pace {
    /// When the bucket will be full.
    full_at: Instant,
}

impl Pace {
    const fn new(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Takes one request; returns until when it has to wait, if at all.
    fn wait(&mut self, now: Instant) -> Option<Instant> {
        let second = Duration::from_secs(1);
        self.full_at = self.full_at.max(now) + second / BURST;
        let start = self.full_at.checked_sub(second)?;
        (start > now).then_some(start)
    }
}

#[cfg(test)]
mod tests {
    use super::{BURST, Clients, Pace, YIELDS_AFTER};
    use std::time::Duration;
    use tokio::time::Instant;

    #[test]
    fn a_client_may_ask_a_burst_at_once_and_then_at_its_pace() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        for _ in 0..BURST {
            assert_eq!(pace.wait(start), None);
        }
        let second = Duration::from_secs(1);
        assert_eq!(pace.wait(start), Some(start + second / BURST));
        assert_eq!(pace.wait(start), Some(start + second / BURST * 2));
        assert_eq!(pace.wait(start + second * 3), None);
    }

    #[test]
    fn a_full_house_closes_the_idlest_connection_but_none_in_use() {
        let clients = Clients::new(2);
        let start = Instant::now();
        let first = clients.enter(start).unwrap();
        let second = clients.enter(start + Duration::from_secs(1)).unwrap();
        assert!(clients.enter(start + Duration::from_secs(9)).is_none());
        let third = clients.enter(start + YIELDS_AFTER).unwrap();
        assert_eq!(clients.count(), 2);
        drop(first);
        assert_eq!(clients.count(), 2, "its place was given away before");
        drop((second, third));
        assert_eq!(clients.count(), 0);
    }
}
