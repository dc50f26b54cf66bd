//! When others than the gateway may use a line: only in the pauses between its polls.
//!
//! A guest (the proxy's question) is let onto the line when no device of the line is being read, and
//! when the longest it can take is over before the next tick of any stream begins. One guest at a
//! time, and after each the guests rest so long that they have at most their share of the line. So a
//! guest never makes a poll wait, whatever the device does with the guest's question: the bound on
//! what guests cost the gateway's samples is zero, as long as [`Lane::window`] is told truthfully how
//! long they can take.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{MutexGuard, Notify};
use tokio::time::{Instant, sleep_until, timeout_at};

/// The pauses of one line.
#[derive(Debug)]
pub struct Lane {
    state: Mutex<State>,
    changed: Notify,
    turn: tokio::sync::Mutex<()>,
    /// Percent of the time that guests may take.
    share: u32,
}

#[derive(Debug, Default)]
struct State {
    polls: Vec<Poll>,
    rest_until: Option<Instant>,
}

/// One device in one stream.
#[derive(Debug, Clone, Copy, Default)]
struct Poll {
    is_running: bool,
    /// When it must be able to begin again; unknown before it ran the first time.
    due: Option<Instant>,
}

/// A device that is polled on the line.
#[derive(Debug, Clone)]
pub struct Poller {
    lane: Arc<Lane>,
    place: usize,
}

/// A poll in progress; it ends when this is dropped.
#[derive(Debug)]
pub struct Polling<'p>(&'p Poller);

/// The line belongs to a guest until this is dropped.
#[derive(Debug)]
pub struct Window<'l> {
    lane: &'l Lane,
    began: Instant,
    _turn: MutexGuard<'l, ()>,
}

impl Lane {
    /// A line of which guests may take `share` percent of the time, 1 to 100.
    #[must_use]
    pub fn new(share: u8) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            changed: Notify::new(),
            turn: tokio::sync::Mutex::new(()),
            share: u32::from(share).clamp(1, 100),
        })
    }

    /// Makes a device known. From now on guests wait until it was polled once.
    #[must_use]
    pub fn poller(self: &Arc<Self>) -> Poller {
        let place = self.with(|state| {
            state.polls.push(Poll::default());
            state.polls.len() - 1
        });
        Poller {
            lane: Arc::clone(self),
            place,
        }
    }

    /// Waits for a pause of at least `need`, until `until` at the latest.
    pub async fn window(&self, need: Duration, until: Instant) -> Option<Window<'_>> {
        let turn = timeout_at(until, self.turn.lock()).await.ok()?;
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let now = Instant::now();
            let wake = match self.with(|state| state.pause(now, need)) {
                Pause::Now => {
                    return Some(Window {
                        lane: self,
                        began: now,
                        _turn: turn,
                    });
                }
                Pause::At(at) => at.min(until),
                Pause::AfterPoll => until,
            };
            if now >= until {
                return None;
            }
            tokio::select! {
                () = changed => {}
                () = sleep_until(wake) => {}
            }
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        // Never held across an await; every change is whole.
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

enum Pause {
    Now,
    At(Instant),
    AfterPoll,
}

impl State {
    fn pause(&self, now: Instant, need: Duration) -> Pause {
        let fits = |poll: &Poll| !poll.is_running && poll.due.is_some_and(|due| now + need <= due);
        if !self.polls.iter().all(fits) {
            return Pause::AfterPoll;
        }
        match self.rest_until.filter(|&until| until > now) {
            Some(until) => Pause::At(until),
            None => Pause::Now,
        }
    }
}

impl Poller {
    /// Begins a poll; the next one is due at `due`.
    #[must_use]
    pub fn begin(&self, due: Instant) -> Polling<'_> {
        self.set(Poll {
            is_running: true,
            due: Some(due),
        });
        Polling(self)
    }

    fn set(&self, poll: Poll) {
        self.lane.with(|state| {
            if let Some(slot) = state.polls.get_mut(self.place) {
                *slot = poll;
            }
        });
    }
}

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        let Poller { lane, place } = self.0;
        lane.with(|state| {
            if let Some(poll) = state.polls.get_mut(*place) {
                poll.is_running = false;
            }
        });
        lane.changed.notify_waiters();
    }
}

impl Drop for Window<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        let taken = now.saturating_duration_since(self.began);
        let share = self.lane.share;
        let rest = taken * (100 - share) / share;
        self.lane.with(|state| state.rest_until = Some(now + rest));
    }
}

#[cfg(test)]
mod tests {
    use super::{Lane, Pause, Poll, State};
    use std::time::Duration;
    use tokio::time::Instant;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn is_now(state: &State, now: Instant, need: Duration) -> bool {
        matches!(state.pause(now, need), Pause::Now)
    }

    #[test]
    fn a_guest_waits_for_the_first_poll_for_every_poll_to_end_and_for_room_before_the_next() {
        let now = Instant::now();
        let known = |is_running, due| Poll {
            is_running,
            due: Some(now + due),
        };
        let with = |polls: &[Poll]| State {
            polls: polls.to_vec(),
            rest_until: None,
        };
        let idle = known(false, ms(1_000));
        assert!(is_now(&with(&[idle, idle]), now, ms(1_000)));
        assert!(!is_now(&with(&[idle, Poll::default()]), now, ms(1)));
        assert!(!is_now(&with(&[idle, known(true, ms(1_000))]), now, ms(1)));
        assert!(!is_now(&with(&[idle, known(false, ms(300))]), now, ms(301)));
        assert!(
            !is_now(&with(&[idle]), now + ms(1_001), ms(0)),
            "a tick is due"
        );
    }

    #[tokio::test]
    async fn a_guest_gets_the_line_when_the_poll_ends_and_nobody_else_with_it() {
        let lane = Lane::new(100);
        let poller = lane.poller();
        let start = Instant::now();
        assert!(lane.window(ms(1), start + ms(20)).await.is_none());
        let polling = poller.begin(start + ms(60_000));
        assert!(lane.window(ms(1), start + ms(40)).await.is_none());
        let (window, ()) = tokio::join!(lane.window(ms(10), start + ms(50_000)), async {
            tokio::task::yield_now().await;
            drop(polling);
        });
        assert!(window.is_some());
        assert!(
            lane.window(ms(1), Instant::now() + ms(20)).await.is_none(),
            "one at a time"
        );
        drop(window);
        assert!(lane.window(ms(1), Instant::now() + ms(20)).await.is_some());
        assert!(
            lane.window(ms(70_000), Instant::now() + ms(20))
                .await
                .is_none(),
            "it could reach into the next tick"
        );
    }

    #[tokio::test]
    async fn guests_rest_until_they_have_no_more_than_their_share() {
        let lane = Lane::new(25);
        let (start, mut used) = (Instant::now(), Duration::ZERO);
        for _ in 0..5 {
            let window = lane.window(ms(10), start + ms(60_000)).await.unwrap();
            let begun = Instant::now();
            tokio::time::sleep(ms(10)).await;
            used += begun.elapsed();
            drop(window);
        }
        drop(lane.window(ms(1), start + ms(60_000)).await.unwrap());
        assert!(
            start.elapsed() >= used * 4,
            "{used:?} of {:?}",
            start.elapsed()
        );
    }
}
