//! The running gateway: samplers and brokers feed the recorder, delivery and live lane follow it.
//!
//! One task owns the recorder; everything else talks to it through one queue. An error of the recorder
//! ends the process: the next start recovers, and recovery is the normal start.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use ring::rand::SecureRandom;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::buffer::BufferError;
use crate::clock::{Clock, SystemClock};
use crate::config::GatewayConfig;
use crate::delivery::Outcome;
use crate::enrol::EnrolError;
use crate::faults::NoFaults;
use crate::last_good;
use crate::live::LiveTable;
use crate::mqtt::{self, MqttError};
use crate::notify::Notifier;
use crate::proxy::Proxy;
use crate::recorder::{Recorder, RecorderError, Settings, Software, Surroundings};
use crate::requests::Inbox;
use crate::restore::RestoreError;
use crate::sample::{Message, TickSamples};
use crate::sampling;
use crate::sampling::field::{Lookout, offers};
use crate::status::Publisher;
use crate::tls::TlsError;
use crate::watch::{Book, BookError};
use crate::{commission, requests};

mod connection;
mod sources;

use connection::{Connection, Target, last_delivery};
use sources::{listen, sample};

/// How long an orderly stop may take before it is given up and said so.
const STOP_DEADLINE: Duration = Duration::from_secs(10);
/// How often the recorder is tended.
const TEND_EVERY: Duration = Duration::from_millis(500);
/// How often the time daemons are asked.
const REFRESH_CLOCK_EVERY: Duration = Duration::from_secs(16);
/// Work that may wait for the recorder; beyond that the sources wait.
const QUEUE: usize = 256;

/// Why the gateway ended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// Recording is impossible.
    #[error(transparent)]
    Recorder(#[from] RecorderError),
    /// The log cannot be read.
    #[error(transparent)]
    Buffer(#[from] BufferError),
    /// The enrolment cannot be used.
    #[error(transparent)]
    Enrolment(#[from] EnrolError),
    /// What is known of the devices cannot be read.
    #[error(transparent)]
    Devices(#[from] BookError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A broker cannot be set up.
    #[error(transparent)]
    Mqtt(#[from] MqttError),
    /// The collector holds more of this log than this device.
    #[error(
        "the collector has {theirs} entries of this log, this device has {ours}: an old copy was \
         restored or the device was cloned. Nothing may be sealed here before the missing entries have been \
         fetched back (`fieldseal-gateway restore`)"
    )]
    Behind {
        /// Entries here.
        ours: u64,
        /// Entries there.
        theirs: u64,
    },
    /// The collector holds another history.
    #[error(
        "the collector holds another history of this log from size {size} on or before: the device \
         was cloned or restored. Keep both and begin a new origin"
    )]
    Forked {
        /// The collector's size.
        size: u64,
    },
    /// What was lost cannot be fetched back.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The stop took too long.
    #[error("the orderly stop took longer than {}s; the next start recovers", STOP_DEADLINE.as_secs())]
    StopTimedOut,
}

/// What the gateway runs in, as values.
#[derive(Debug)]
pub struct Environment {
    /// The time.
    pub clock: Arc<SystemClock>,
    /// The kernel's id of this boot.
    pub os_boot: String,
    /// The running program.
    pub software: Software,
    /// Randomness for jitter and transaction numbers.
    pub random: Arc<dyn SecureRandom + Send + Sync>,
    /// Tells the service manager.
    pub notifier: Notifier,
}

/// What reaches the recorder.
enum Work {
    Tick {
        generation: u64,
        tick: u64,
        samples: TickSamples,
    },
    Message(Message),
}

/// Runs until `shutdown` completes, then seals what is open and closes.
///
/// # Errors
///
/// [`RunError`].
pub async fn run(
    config: GatewayConfig,
    environment: Environment,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let clock: Arc<dyn Clock> = Arc::clone(&environment.clock) as Arc<dyn Clock>;
    environment.clock.refresh().await;
    let settings = || Settings::of(&config, environment.software.clone());
    let around = Surroundings {
        clock: Arc::clone(&clock),
        os_boot: environment.os_boot.clone(),
        faults: Arc::new(NoFaults),
    };
    let target = Target::of(&config);
    let inbox = Inbox::new(&config.data_dir, &around.faults);
    tokio::pin!(shutdown);
    let mut recorder = tokio::select! {
        // Nothing is sampled yet; whatever the start was about to seal the next one does.
        () = &mut shutdown => return Ok(()),
        opened = connection::open(&target, settings, around) => opened?,
    };
    // The commands find these folders made by the gateway, not by whoever asks first. Without them
    // nothing can be asked for, which is no reason not to record.
    let prepared = requests::prepare(&config.data_dir).and(commission::prepare(&config.data_dir));
    if let Err(error) = prepared {
        tracing::error!("The folders for requests and sheets cannot be made: {error}");
    }
    let outcome = Outcome::load(&config.data_dir);
    recorder.acknowledge(*outcome.acknowledged.borrow());
    let live = Arc::new(LiveTable::new(recorder.log().chain().config().cloned()));

    let mut book = Book::open(&config, recorder.reader()).await?;
    let (sender, receiver) = mpsc::channel(QUEUE);
    let mut tasks = JoinSet::new();
    // The sealed table is that of the configuration, and thousands of points are not made twice.
    let sealed = recorder.log().chain().config();
    let table = sealed.map(|sealed| Arc::clone(&sealed.config));
    let table = table.unwrap_or_else(|| Arc::new(config.measurement(|_| 0)));
    let field = sampling::open_through(&config, &table, &*environment.random, book.gates());
    drop(table);
    let offers = offers(&config, &field.lines);
    let proxies: Vec<Proxy> = config
        .proxies
        .iter()
        .zip(offers)
        .map(|(proxy, offers)| Proxy::start(proxy.clone(), offers))
        .collect();
    let lookout = Lookout::new(&config, &field.lines, &proxies);
    let last_good = match recorder.log().chain().config() {
        Some(table) => last_good::registers(recorder.reader(), table).await,
        None => Ok(BTreeMap::new()),
    };
    let last_good = last_good.unwrap_or_else(|error| {
        tracing::warn!("What registers showed before this start cannot be read: {error}");
        BTreeMap::new()
    });
    for mut source in field.streams {
        source.resume(&last_good);
        tasks.spawn(sample(
            source,
            recorder.axes(),
            Arc::clone(&clock),
            sender.clone(),
        ));
    }
    for source in mqtt::start(&config)? {
        tasks.spawn(listen(source, sender.clone()));
    }
    drop(sender);
    let connection = Connection {
        target,
        clock: Arc::clone(&clock),
        random: Arc::clone(&environment.random),
        outcome: outcome.clone(),
        live: Arc::clone(&live),
        released: recorder.released(),
        reader: recorder.reader(),
        log_vkey: recorder.log().identity().vkey(),
    };
    let sending = tokio::spawn(connection.keep());
    let refreshing = tokio::spawn(refresh(Arc::clone(&environment.clock)));
    environment.notifier.ready();
    tracing::info!(
        gateway.origin = %config.origin.as_str(),
        log.size = recorder.log().chain().size(),
        clock = clock.now().status.name(),
        "Recording"
    );

    let publisher = Publisher::new(&config, Arc::clone(&live), outcome.clone()).with(lookout);
    // From here on the sealed table describes the points.
    drop(config);
    let ended = record(
        &mut recorder,
        receiver,
        &inbox,
        &mut book,
        &live,
        &outcome,
        &publisher,
        &environment.notifier,
        &clock,
        shutdown,
    )
    .await;
    environment.notifier.stopping();
    refreshing.abort();
    tasks.shutdown().await;
    ended?;
    book.settle(&mut recorder).await?;
    let size_wanted = recorder.released();
    let stopped = tokio::time::timeout(STOP_DEADLINE, recorder.close()).await;
    stopped.map_err(|_late| RunError::StopTimedOut)??;
    last_delivery(&outcome, &size_wanted).await;
    sending.abort();
    publisher.stopped();
    tracing::info!("Stopped in order");
    Ok(())
}

#[expect(
    clippy::too_many_arguments,
    reason = "the parts of one loop, each with its own owner"
)]
async fn record(
    recorder: &mut Recorder,
    mut receiver: mpsc::Receiver<Work>,
    inbox: &Inbox,
    book: &mut Book,
    live: &LiveTable,
    outcome: &Outcome,
    publisher: &Publisher,
    notifier: &Notifier,
    clock: &Arc<dyn Clock>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let mut tend = tokio::time::interval(TEND_EVERY);
    tend.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut acknowledged = outcome.acknowledged.subscribe();
    let mut freshness = outcome.freshness.subscribe();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => return Ok(()),
            work = receiver.recv() => match work {
                Some(work) => take(recorder, work, live, clock).await?,
                None => return Ok(()),
            },
            _ = tend.tick() => {
                recorder.tend().await?;
                book.settle(recorder).await?;
                inbox.serve(recorder, book).await?;
                publisher.publish(recorder, book, clock);
                notifier.alive();
            }
            Ok(()) = acknowledged.changed() => {
                recorder.acknowledge(*acknowledged.borrow_and_update());
            }
            Ok(()) = freshness.changed() => {
                if let Some(freshness) = *freshness.borrow_and_update() {
                    recorder.set_freshness(freshness);
                }
            }
        }
    }
}

async fn take(
    recorder: &mut Recorder,
    work: Work,
    live: &LiveTable,
    clock: &Arc<dyn Clock>,
) -> Result<(), RunError> {
    match work {
        Work::Tick {
            generation,
            tick,
            samples,
        } => {
            let (current, unix_ms) = {
                let axes = recorder.axes();
                let axes = axes.borrow();
                let axis = axes.streams.get(&samples.stream);
                (axes.generation, axis.and_then(|axis| axis.unix_ms(tick)))
            };
            if current != generation {
                // The clock was placed anew while this was read: it belongs to no tick any more.
                tracing::debug!(tick, "Samples of before a clock event were left out");
                return Ok(());
            }
            live.update(&samples.samples, unix_ms);
            recorder.record(tick, samples).await?;
        }
        Work::Message(message) => {
            let age = Instant::now().saturating_duration_since(message.received);
            let age_ms = u64::try_from(age.as_millis()).unwrap_or(0);
            let received_ms = clock.monotonic_ms().saturating_sub(age_ms);
            let now = clock.now();
            let trusted = recorder
                .axes()
                .borrow()
                .streams
                .values()
                .any(|axis| axis.shift.is_some());
            let unix_ms = trusted
                .then(|| i64::try_from(now.unix_ms.saturating_sub(age_ms)).ok())
                .flatten();
            live.update(&message.samples, unix_ms);
            recorder
                .record_message(message.stream, received_ms, message.samples, message.ack)
                .await?;
        }
    }
    Ok(())
}

async fn refresh(clock: Arc<SystemClock>) {
    loop {
        tokio::time::sleep(REFRESH_CLOCK_EVERY).await;
        clock.refresh().await;
    }
}
