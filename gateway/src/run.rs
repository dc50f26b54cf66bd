//! The running gateway: samplers and brokers feed the recorder, delivery and live lane follow it.
//!
//! One task owns the recorder; everything else talks to it through one queue. An error of the recorder
//! ends the process: the next start recovers, and recovery is the normal start.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ring::rand::SecureRandom;
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::buffer::{BufferError, LogReader};
use crate::clock::{Clock, SystemClock};
use crate::collector::Collector;
use crate::config::GatewayConfig;
use crate::delivery::{Delivery, DeliveryParts, HeadCheck, Outcome, check_head};
use crate::enrol::{self, EnrolError, Enrolment};
use crate::faults::NoFaults;
use crate::live::{self, LiveTable};
use crate::mqtt::{self, MqttError};
use crate::notify::Notifier;
use crate::recorder::{Recorder, RecorderError, Settings, Software, Surroundings};
use crate::sample::{Message, MessageSource, PolledSource, TickSamples};
use crate::sampling;
use crate::status::Publisher;
use crate::timeline::Axes;
use crate::tls::TlsError;

/// How long an orderly stop may take before it is given up and said so.
const STOP_DEADLINE: Duration = Duration::from_secs(10);
/// How long the last segment may take to the collector after the stop.
const LAST_DELIVERY: Duration = Duration::from_secs(5);
/// How often the recorder is tended.
const TEND_EVERY: Duration = Duration::from_millis(500);
/// How often the time daemons are asked.
const REFRESH_CLOCK_EVERY: Duration = Duration::from_secs(16);
/// How often a missing enrolment is looked for.
const LOOK_FOR_ENROLMENT_MS: u64 = 2_000;
/// How long a failed enrolment rests.
const ENROLMENT_RETRY_MS: u64 = 30_000;
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
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A broker cannot be set up.
    #[error(transparent)]
    Mqtt(#[from] MqttError),
    /// The collector holds more of this log than this device.
    #[error(
        "the collector has {theirs} entries of this log, this device has {ours}: an old copy was \
         restored or the device was cloned. Nothing may be sealed here before `fieldseal-gateway \
         restore` has fetched the missing entries"
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
    Tick { generation: u64, tick: u64, samples: TickSamples },
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
    confirm_head(&config, &clock).await?;
    let settings = Settings::of(&config, environment.software.clone());
    let around = Surroundings {
        clock: Arc::clone(&clock),
        os_boot: environment.os_boot.clone(),
        faults: Arc::new(NoFaults),
    };
    let mut recorder = Recorder::open(settings, around).await?;
    let outcome = Outcome::load(&config.data_dir);
    recorder.acknowledge(*outcome.acknowledged.borrow());
    let live = Arc::new(LiveTable::new(config.measurement(|_| 0)));

    let (sender, receiver) = mpsc::channel(QUEUE);
    let mut tasks = JoinSet::new();
    for source in sampling::start(&config, &*environment.random) {
        tasks.spawn(sample(source, recorder.axes(), Arc::clone(&clock), sender.clone()));
    }
    for source in mqtt::start(&config)? {
        tasks.spawn(listen(source, sender.clone()));
    }
    drop(sender);
    let connection = Connection {
        config: config.clone(),
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

    let publisher = Publisher::new(&config, Arc::clone(&live), outcome.clone());
    let ended = record(
        &mut recorder,
        receiver,
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
    let size_wanted = recorder.released();
    let stopped = tokio::time::timeout(STOP_DEADLINE, recorder.close()).await;
    stopped.map_err(|_late| RunError::StopTimedOut)??;
    last_delivery(&outcome, &size_wanted).await;
    sending.abort();
    publisher.stopped();
    tracing::info!("Stopped in order");
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the parts of one loop, each with its own owner")]
async fn record(
    recorder: &mut Recorder,
    mut receiver: mpsc::Receiver<Work>,
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
                publisher.publish(recorder, clock);
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
        Work::Tick { generation, tick, samples } => {
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
            let trusted = recorder.axes().borrow().streams.values().any(|axis| axis.shift.is_some());
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

/// Polls one stream at the start of each of its ticks.
async fn sample(
    mut source: impl PolledSource,
    mut axes: watch::Receiver<Axes>,
    clock: Arc<dyn Clock>,
    sender: mpsc::Sender<Work>,
) {
    let mut last: Option<u64> = None;
    loop {
        let (generation, axis) = {
            let axes = axes.borrow_and_update();
            (axes.generation, axes.streams.get(&source.stream()).copied())
        };
        let Some(axis) = axis else {
            if axes.changed().await.is_err() {
                return;
            }
            continue;
        };
        let now_ms = clock.monotonic_ms();
        let mut tick = axis.tick_at(now_ms) + 1;
        // After a small correction backwards a tick may come round again: it was sampled.
        if let Some(last) = last.filter(|&last| last >= tick && last - tick < 3) {
            tick = last + 1;
        }
        tokio::select! {
            () = clock.sleep_until_monotonic(axis.start_of(tick)) => {}
            changed = axes.changed() => {
                if changed.is_err() {
                    return;
                }
                continue;
            }
        }
        let left_ms = axis.start_of(tick + 1).saturating_sub(clock.monotonic_ms());
        let deadline = Instant::now() + Duration::from_millis(left_ms);
        let samples = source.poll(tick, deadline).await;
        last = Some(tick);
        if sender.send(Work::Tick { generation, tick, samples }).await.is_err() {
            return;
        }
    }
}

/// Hands on what one broker delivers.
async fn listen(mut source: impl MessageSource, sender: mpsc::Sender<Work>) {
    while let Some(message) = source.next().await {
        if sender.send(Work::Message(message)).await.is_err() {
            return;
        }
    }
}

async fn refresh(clock: Arc<SystemClock>) {
    loop {
        tokio::time::sleep(REFRESH_CLOCK_EVERY).await;
        clock.refresh().await;
    }
}

/// Before anything is sealed: a collector that can be reached must not be ahead of us.
///
/// Not reaching it is the commonest case and no reason to wait: the delivery asks again later.
async fn confirm_head(config: &GatewayConfig, clock: &Arc<dyn Clock>) -> Result<(), RunError> {
    let (Some(collector), Some(enrolment)) =
        (&config.collector, Enrolment::load(&config.data_dir)?)
    else {
        return Ok(());
    };
    let log_dir = config.data_dir.join("log");
    if !log_dir.is_dir() {
        return Ok(());
    }
    let client = Collector::new(
        collector,
        &config.origin,
        enrolment.pin(),
        Some(enrolment.token.clone()),
        Arc::clone(clock),
    )?;
    let mut reader = LogReader::of_dir(&log_dir).await?;
    let ours = reader.bounds().1;
    let witness = enrolment.witness()?;
    let check = check_head(&client, &witness, &mut reader, ours);
    match tokio::time::timeout(Duration::from_secs(5), check).await {
        Ok(Ok(HeadCheck::Same { .. } | HeadCheck::Nothing)) => Ok(()),
        Ok(Ok(HeadCheck::Ahead { size })) => Err(RunError::Behind { ours, theirs: size }),
        Ok(Ok(HeadCheck::Forked { size })) => Err(RunError::Forked { size }),
        Ok(Err(error)) => {
            tracing::warn!("Head unconfirmed, sealing goes on: {error}");
            Ok(())
        }
        Err(_late) => {
            tracing::warn!("Head unconfirmed, sealing goes on: no answer within 5 s");
            Ok(())
        }
    }
}

/// Waits a moment for the last sealed entries to be acknowledged.
async fn last_delivery(outcome: &Outcome, released: &watch::Receiver<u64>) {
    if outcome.snapshot().error.is_some() {
        return;
    }
    let size = *released.borrow();
    let mut acknowledged = outcome.acknowledged.subscribe();
    let wait = acknowledged.wait_for(|&acknowledged| acknowledged >= size);
    if !matches!(tokio::time::timeout(LAST_DELIVERY, wait).await, Ok(Ok(_))) {
        tracing::info!("The newest entries are not acknowledged yet; the next start sends them");
    }
}

/// Everything that talks to the collector, from enrolment on.
struct Connection {
    config: GatewayConfig,
    clock: Arc<dyn Clock>,
    random: Arc<dyn SecureRandom + Send + Sync>,
    outcome: Outcome,
    live: Arc<LiveTable>,
    released: watch::Receiver<u64>,
    reader: LogReader,
    log_vkey: evidence::note::Vkey,
}

impl Connection {
    /// Waits for an enrolment, then delivers for good.
    async fn keep(mut self) {
        let Some(collector) = self.config.collector.clone() else {
            tracing::info!("No [collector] is configured: entries stay on this device");
            return;
        };
        let enrolment = loop {
            let wait_ms = match Enrolment::load(&self.config.data_dir) {
                Ok(Some(enrolment)) => break enrolment,
                Ok(None) if enrol::is_pending(&self.config.data_dir) => {
                    match self.enrol(&collector).await {
                        Ok(enrolment) => break enrolment,
                        Err(error) => {
                            tracing::warn!("{error}");
                            ENROLMENT_RETRY_MS
                        }
                    }
                }
                Ok(None) => LOOK_FOR_ENROLMENT_MS,
                Err(error) => {
                    tracing::error!("{error}");
                    ENROLMENT_RETRY_MS
                }
            };
            self.clock.sleep_until_monotonic(self.clock.monotonic_ms() + wait_ms).await;
        };
        let (client, witness) = match self.client(&collector, &enrolment) {
            Ok(parts) => parts,
            Err(error) => {
                tracing::error!("Nothing can be delivered: {error}");
                return;
            }
        };
        let live = live::run(
            self.live,
            client.clone(),
            self.released.clone(),
            self.outcome.watch_for_s.subscribe(),
            Arc::clone(&self.clock),
        );
        let delivery = Delivery::new(DeliveryParts {
            collector: client,
            origin: self.config.origin.clone(),
            witness,
            reader: self.reader,
            released: self.released,
            outcome: self.outcome,
            data_dir: self.config.data_dir.clone(),
            clock: self.clock,
            random: self.random,
        });
        tokio::join!(live, delivery.run());
    }

    async fn enrol(
        &mut self,
        collector: &crate::config::CollectorConfig,
    ) -> Result<Enrolment, EnrolError> {
        let first = self.reader.row(0).await.map_err(std::io::Error::other)?;
        let first = first.ok_or_else(|| std::io::Error::other("the log has no entry 0"))?;
        let data_dir: PathBuf = self.config.data_dir.clone();
        let clock = Arc::clone(&self.clock);
        enrol::enrol(&data_dir, &self.config.origin, &self.log_vkey, &first, collector, clock).await
    }

    fn client(
        &self,
        collector: &crate::config::CollectorConfig,
        enrolment: &Enrolment,
    ) -> Result<(Collector, evidence::note::Vkey), RunError> {
        let client = Collector::new(
            collector,
            &self.config.origin,
            enrolment.pin(),
            Some(enrolment.token.clone()),
            Arc::clone(&self.clock),
        )?;
        Ok((client, enrolment.witness()?))
    }
}
