//! The task that owns one `host:port`.
//!
//! Every unit behind it asks through the task's queue, one request at a time, so answers cannot be
//! mixed up. The queue is served by urgency: units that answer before units that are probed, then
//! the earlier end of tick, then the order of arrival. What a silent unit can cost the others is
//! bounded twice: by [`LinkOptions::cap`] for one request, and by leaving each waiting request its
//! share of the tick.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tracing::{debug, info, warn};

use super::backoff::{Backoff, Permit};
use super::connection::{Connection, Failure};
use super::frame::{Answer, Request};

/// What a link needs to know.
#[derive(Debug, Clone)]
pub struct LinkOptions {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Pause between connecting and the first request.
    pub connect_delay: Duration,
    /// Most time one request may take where units share the link; `None` where there is one unit.
    pub cap: Option<Duration>,
    /// The first transaction number, random.
    pub first_transaction: u16,
}

/// How long after its deadline an answer may take from the task to its caller.
pub const GRACE: Duration = Duration::from_millis(5);

/// A request waiting in the queue.
struct Job {
    request: Request,
    timeout: Duration,
    deadline: Instant,
    probe: bool,
    reply: oneshot::Sender<Reply>,
}

/// A request's outcome and how long it took on the wire.
#[derive(Debug)]
pub struct Reply {
    /// The answer.
    pub result: Result<Answer, Failure>,
    /// From sending to the last byte; zero when nothing was sent.
    pub round_trip: Duration,
}

/// A handle to a link's task; the task ends when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct Link {
    queue: mpsc::UnboundedSender<Job>,
    state: Arc<Mutex<State>>,
    name: Arc<str>,
}

#[derive(Debug, Default)]
struct State {
    link: Backoff,
    units: HashMap<u8, Backoff>,
}

impl Link {
    /// Starts the task on the current runtime.
    #[must_use]
    pub fn start(options: LinkOptions) -> (Self, JoinHandle<()>) {
        // Unbounded, but each device waits for its answer before it asks again: the queue holds at
        // most one request per device and stream.
        let (queue, jobs) = mpsc::unbounded_channel();
        let state = Arc::new(Mutex::new(State::default()));
        let name = format!("{}:{}", options.host, options.port).into();
        let task = tokio::spawn(serve(options, jobs));
        (Self { queue, state, name }, task)
    }

    /// `host:port`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a unit may be asked now. [`Permit::Probe`] is granted to one caller at a time, who
    /// must follow it with one call of [`Link::ask`] with `probe`.
    #[must_use]
    pub fn permit(&self, unit: u8) -> Permit {
        let now = Instant::now();
        self.with_state(|state| match state.link.permit(now) {
            Permit::Ready => state.units.entry(unit).or_default().permit(now),
            other => other,
        })
    }

    /// Asks once; returns at most a few milliseconds after `deadline`, whatever the device does.
    pub async fn ask(
        &self,
        request: Request,
        timeout: Duration,
        deadline: Instant,
        probe: bool,
    ) -> Reply {
        let (reply, answered) = oneshot::channel();
        let stopping = || Reply {
            result: Err(Failure::Stopping),
            round_trip: Duration::ZERO,
        };
        if self
            .queue
            .send(Job {
                request,
                timeout,
                deadline,
                probe,
                reply,
            })
            .is_err()
        {
            return stopping();
        }
        // The task keeps the deadline for what it has begun; what it has not begun by then it never
        // will, because it was held up by another unit.
        let reply = match timeout_at(deadline + GRACE, answered).await {
            Ok(reply) => reply.unwrap_or_else(|_ended| stopping()),
            Err(_elapsed) => Reply {
                result: Err(Failure::NotAsked),
                round_trip: Duration::ZERO,
            },
        };
        self.note(request.unit, &reply.result);
        reply
    }

    /// Keeps the back-off states. Only silence and broken connections count as failures: a device
    /// that refuses is alive. A serial server's "target did not respond" is silence.
    fn note(&self, unit: u8, result: &Result<Answer, Failure>) {
        match result {
            Ok(Answer::Exception(code @ (10 | 11))) => {
                self.note_silence(unit, &format_args!("exception {code}"));
            }
            Ok(_) => self.note_answer(unit),
            Err(Failure::NotAsked | Failure::BackedOff | Failure::Stopping) => {}
            Err(failure) if failure.is_connect() => self.note_unreachable(failure),
            Err(failure) => self.note_silence(unit, failure),
        }
    }

    fn note_answer(&self, unit: u8) {
        let failures = self.with_state(|state| {
            let unit = state.units.entry(unit).or_default().answered();
            state.link.answered().saturating_add(unit)
        });
        if failures > 0 {
            let name = self.name();
            info!(
                link.name = name,
                unit.id = unit,
                "Unit {unit} of {name} answers again"
            );
        }
    }

    /// There is a connection, but this unit does not answer on it: its neighbours are not held back.
    fn note_silence(&self, unit: u8, why: &dyn std::fmt::Display) {
        let (pause, failures) = self.with_state(|state| {
            state.link.answered();
            let backoff = state.units.entry(unit).or_default();
            (backoff.failed(Instant::now()), backoff.failures())
        });
        let name = self.name();
        let text = format!("Unit {unit} of {name}: {why}; asked again in {pause:?}");
        if failures == 1 {
            warn!(link.name = name, unit.id = unit, "{text}, then less often");
        } else {
            debug!(link.name = name, unit.id = unit, "{text}");
        }
    }

    fn note_unreachable(&self, failure: &Failure) {
        let (pause, failures) =
            self.with_state(|state| (state.link.failed(Instant::now()), state.link.failures()));
        let cause = std::error::Error::source(failure).map(|cause| format!(": {cause}"));
        let (name, cause) = (self.name(), cause.unwrap_or_default());
        let text = format!("No connection to {name}: {failure}{cause}; tried again in {pause:?}");
        if failures == 1 {
            warn!(link.name = name, "{text}, then less often");
        } else {
            debug!(link.name = name, "{text}");
        }
    }

    fn with_state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        // A std mutex: it is never held across an await, and the state stays consistent whatever panics.
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn serve(options: LinkOptions, mut jobs: mpsc::UnboundedReceiver<Job>) {
    let LinkOptions {
        host,
        port,
        connect_delay,
        cap,
        first_transaction,
    } = options;
    let mut connection = Connection::new(&host, port, connect_delay, first_transaction);
    let mut waiting: Vec<Job> = Vec::new();
    loop {
        if waiting.is_empty() {
            match jobs.recv().await {
                Some(job) => waiting.push(job),
                None => return,
            }
        }
        while let Ok(job) = jobs.try_recv() {
            waiting.push(job);
        }
        let Some(next) = most_urgent(&waiting) else {
            continue;
        };
        let job = waiting.remove(next);
        let reply = answer(&mut connection, &job, cap, &waiting).await;
        if matches!(&reply.result, Err(failure) if failure.is_connect()) {
            // Nobody behind this link can be reached; one attempt a tick has told so.
            for other in waiting.drain(..) {
                let refused = Reply {
                    result: Err(Failure::BackedOff),
                    round_trip: Duration::ZERO,
                };
                let _unheard = other.reply.send(refused);
            }
        }
        // Nobody listens any more when the reader was dropped; the answer is of no use then.
        let _unheard = job.reply.send(reply);
    }
}

/// Units that answer come first; `min_by_key` keeps the order of arrival among equals.
fn most_urgent(waiting: &[Job]) -> Option<usize> {
    let urgency = |job: &Job| (job.probe, job.deadline);
    (0..waiting.len()).min_by_key(|&place| waiting.get(place).map(urgency))
}

async fn answer(
    connection: &mut Connection,
    job: &Job,
    cap: Option<Duration>,
    waiting: &[Job],
) -> Reply {
    let started = Instant::now();
    let left = job.deadline.saturating_duration_since(started);
    if left.is_zero() || job.reply.is_closed() {
        return Reply {
            result: Err(Failure::NotAsked),
            round_trip: Duration::ZERO,
        };
    }
    let rivals = waiting
        .iter()
        .filter(|other| other.deadline <= job.deadline)
        .count();
    let share = left / u32::try_from(rivals).unwrap_or(u32::MAX).saturating_add(1);
    // A request may take more than its share while the others need less than theirs, but never so
    // much that they are left with nothing.
    let fair = if rivals == 0 {
        left
    } else {
        share.max(left / 4)
    };
    let most = job.timeout.min(fair).min(cap.unwrap_or(job.timeout));
    let mut result = connection.ask(job.request, started + most).await;
    let ended = Instant::now();
    // An answer belongs to tick n only if it arrived before n+1.
    if result.is_ok() && ended >= job.deadline {
        result = Err(Failure::Timeout);
    }
    Reply {
        result,
        round_trip: ended - started,
    }
}
