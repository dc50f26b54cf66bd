//! Whose turn it is on a line.
//!
//! Who has the turn owns the line and does the exchange itself: no task stands between the caller
//! and the socket. A turn that ends, in whatever way (its owner was cancelled, or panicked), hands
//! the line to the most urgent of those who wait. Nobody waits while the line is free.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};

use super::connection::Connection;

/// The line, or the queue for it.
#[derive(Debug)]
pub(super) struct Turns {
    queue: Mutex<Queue>,
    /// Whether several units ask here. Then a tick's requests are all heard before one of them is
    /// chosen; alone, the first to come is served at once.
    shared: bool,
}

#[derive(Debug)]
struct Queue {
    /// `None` while somebody has the turn.
    line: Option<Box<Connection>>,
    /// In the order of arrival.
    waiting: Vec<Waiter>,
}

/// What decides who is next: the gateway before its guests, units that answer before units that are
/// probed, then the earlier end of tick, then arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Urgency {
    pub(super) guest: bool,
    pub(super) probe: bool,
    pub(super) deadline: Instant,
}

#[derive(Debug)]
struct Waiter {
    urgency: Urgency,
    unit: u8,
    /// Answered with the turn, or dropped, which is a refusal.
    sender: oneshot::Sender<Turn>,
}

/// The line is ours until this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Arc<Turns>,
    line: Option<Box<Connection>>,
}

/// Why there was no turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoTurn {
    /// Others had it until the deadline.
    Late,
    /// [`Turns::refuse`] said no.
    Refused,
}

impl Turns {
    pub(super) fn new(line: Connection, shared: bool) -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::new(Queue {
                line: Some(Box::new(line)),
                waiting: Vec::new(),
            }),
            shared,
        })
    }

    /// Waits for the turn until `give_up`.
    pub(super) async fn take(
        self: &Arc<Self>,
        unit: u8,
        urgency: Urgency,
        give_up: Instant,
    ) -> Result<Turn, NoTurn> {
        let receiver = {
            let mut queue = self.lock();
            if !self.shared
                && let Some(line) = queue.line.take()
            {
                return Ok(self.turn(line));
            }
            let (sender, receiver) = oneshot::channel();
            queue.waiting.push(Waiter {
                urgency,
                unit,
                sender,
            });
            receiver
        };
        if self.shared {
            yield_now().await;
            self.hand_on(None);
        }
        match timeout_at(give_up, receiver).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_refused)) => Err(NoTurn::Refused),
            Err(_elapsed) => Err(NoTurn::Late),
        }
    }

    /// How many wait whose tick ends no later than `deadline`.
    pub(super) fn rivals(&self, deadline: Instant) -> usize {
        let queue = self.lock();
        let waiting = queue.waiting.iter();
        waiting
            .filter(|waiter| !waiter.sender.is_closed() && waiter.urgency.deadline <= deadline)
            .count()
    }

    /// Sends away those who wait and are meant.
    pub(super) fn refuse(&self, meant: impl Fn(u8, Urgency) -> bool) {
        let mut queue = self.lock();
        queue
            .waiting
            .retain(|waiter| !meant(waiter.unit, waiter.urgency));
    }

    /// Gives the line, returned now or free, to the most urgent of those who wait.
    fn hand_on(self: &Arc<Self>, returned: Option<Box<Connection>>) {
        let mut queue = self.lock();
        let Some(mut line) = returned.or_else(|| queue.line.take()) else {
            return;
        };
        queue.waiting.retain(|waiter| !waiter.sender.is_closed());
        while let Some(next) = most_urgent(&queue.waiting) {
            let waiter = queue.waiting.remove(next);
            match waiter.sender.send(self.turn(line)) {
                Ok(()) => return,
                // Gave up in this very moment. The turn must not hand itself on: we hold the lock.
                Err(mut turn) => match turn.line.take() {
                    Some(unused) => line = unused,
                    None => return,
                },
            }
        }
        queue.line = Some(line);
    }

    fn turn(self: &Arc<Self>, line: Box<Connection>) -> Turn {
        Turn {
            turns: Arc::clone(self),
            line: Some(line),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Never held across an await, and consistent whatever panics.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `min_by_key` keeps the order of arrival among equals.
fn most_urgent(waiting: &[Waiter]) -> Option<usize> {
    (0..waiting.len()).min_by_key(|&place| waiting.get(place).map(|waiter| waiter.urgency))
}

impl Turn {
    /// The line.
    pub(super) fn line(&mut self) -> Option<&mut Connection> {
        self.line.as_deref_mut()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(line) = self.line.take() {
            self.turns.hand_on(Some(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{NoTurn, Turn, Turns, Urgency};
    use crate::config::LineConfig;
    use crate::modbus::connection::Connection;
    use crate::modbus::wire::Place;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::time::Instant;

    fn turns(shared: bool) -> Arc<Turns> {
        let line = LineConfig::tcp("nowhere", 502);
        let place = Place::Endpoint(line.endpoint.clone());
        Turns::new(Connection::new(&line, place, 0, Duration::ZERO), shared)
    }

    fn urgency(probe: bool, seconds: u64) -> Urgency {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        Urgency {
            guest: false,
            probe,
            deadline,
        }
    }

    async fn take(turns: &Arc<Turns>, unit: u8, urgency: Urgency) -> Result<Turn, NoTurn> {
        turns.take(unit, urgency, urgency.deadline).await
    }

    #[tokio::test]
    async fn units_that_answer_come_before_probes_and_the_earlier_tick_before_the_later() {
        let turns = turns(true);
        let order = std::sync::Mutex::new(Vec::new());
        let one = async |unit: u8, urgency: Urgency| {
            let _turn = take(&turns, unit, urgency).await.unwrap();
            order.lock().unwrap().push(unit);
        };
        tokio::join!(
            one(1, urgency(true, 2)),
            one(2, urgency(false, 9)),
            one(3, urgency(false, 5)),
            one(4, urgency(false, 9)),
        );
        assert_eq!(*order.lock().unwrap(), [3, 2, 4, 1]);
    }

    #[tokio::test]
    async fn the_turn_goes_on_when_its_owner_or_the_next_one_is_cancelled() {
        let turns = turns(false);
        let first = take(&turns, 1, urgency(false, 20)).await.unwrap();
        let next = tokio::spawn({
            let turns = Arc::clone(&turns);
            async move { take(&turns, 2, urgency(false, 20)).await.is_ok() }
        });
        let last = tokio::spawn({
            let turns = Arc::clone(&turns);
            async move { take(&turns, 3, urgency(false, 30)).await.is_ok() }
        });
        while turns.rivals(Instant::now() + Duration::from_secs(99)) < 2 {
            tokio::task::yield_now().await;
        }
        // The line is handed to the next one, who is cancelled before it can take it.
        drop(first);
        next.abort();
        assert!(last.await.unwrap());
        assert!(take(&turns, 4, urgency(false, 20)).await.is_ok());
    }

    #[tokio::test]
    async fn who_waits_too_long_or_is_sent_away_has_no_turn_and_costs_nothing() {
        let turns = turns(false);
        let held = take(&turns, 1, urgency(false, 9)).await.unwrap();
        let late = take(&turns, 2, urgency(false, 0)).await;
        assert_eq!(late.unwrap_err(), NoTurn::Late);
        let refused = take(&turns, 3, urgency(false, 20));
        let refusing = async {
            turns.refuse(|unit, _| unit == 3);
        };
        assert_eq!(
            tokio::join!(refused, refusing).0.unwrap_err(),
            NoTurn::Refused
        );
        drop(held);
        assert!(take(&turns, 4, urgency(false, 20)).await.is_ok());
    }
}
