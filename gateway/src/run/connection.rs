//! Everything that talks to the collector while the gateway runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use evidence::hash::Origin;
use evidence::note::Vkey;
use ring::rand::SecureRandom;
use tokio::sync::watch;

use super::RunError;
use crate::buffer::LogReader;
use crate::clock::Clock;
use crate::collector::Collector;
use crate::config::{CollectorConfig, GatewayConfig};
use crate::delivery::{Delivery, DeliveryParts, HeadCheck, HeadState, Outcome, check_head};
use crate::enrol::{self, EnrolError, Enrolment};
use crate::live::{self, LiveTable};
use crate::recorder::{Recorder, RecorderError, Settings, Surroundings};
use crate::restore::restore;

/// How long the last segment may take to the collector after the stop.
const LAST_DELIVERY: Duration = Duration::from_secs(5);
/// How often a missing enrolment is looked for.
const LOOK_FOR_ENROLMENT_MS: u64 = 2_000;
/// How long a failed enrolment rests.
const ENROLMENT_RETRY_MS: u64 = 30_000;

/// What talking to the collector needs of the configuration. The rest of it, with a description of
/// every point, is dropped once the sources have started.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) origin: Origin,
    pub(super) data_dir: PathBuf,
    pub(super) collector: Option<CollectorConfig>,
}

impl Target {
    pub(super) fn of(config: &GatewayConfig) -> Self {
        Self {
            origin: config.origin.clone(),
            data_dir: config.data_dir.clone(),
            collector: config.collector.clone(),
        }
    }
}

/// Opens the recorder; where this device lost entries, they are fetched back from the collector first.
///
/// `settings` are made when they are needed: with a table of thousands of points nothing is copied.
pub(super) async fn open(
    target: &Target,
    settings: impl Fn() -> Settings,
    around: Surroundings,
) -> Result<Recorder, RunError> {
    let lost: RunError = match confirm_head(target, &around.clock).await {
        Ok(()) => match Recorder::open(settings(), around.clone()).await {
            Ok(recorder) => return Ok(recorder),
            Err(error @ (RecorderError::HeadBehind { .. } | RecorderError::Damaged { .. })) => {
                error.into()
            }
            Err(error) => return Err(error.into()),
        },
        Err(behind @ RunError::Behind { .. }) => behind,
        Err(error) => return Err(error),
    };
    let Some((client, witness)) = client_of(target, &around.clock)? else {
        return Err(lost);
    };
    tracing::error!("{lost}");
    let (before, after) = restore(&settings(), &around, &client, &witness).await?;
    tracing::warn!(
        before,
        after,
        "Fetched the missing entries back from the collector"
    );
    Ok(Recorder::open(settings(), around).await?)
}

/// A connection to the collector, if one is configured and the log is enrolled.
fn client_of(
    target: &Target,
    clock: &Arc<dyn Clock>,
) -> Result<Option<(Collector, Vkey)>, RunError> {
    let (Some(collector), Some(enrolment)) =
        (&target.collector, Enrolment::load(&target.data_dir)?)
    else {
        return Ok(None);
    };
    let token = Some(enrolment.token.clone());
    let (pin, clock) = (enrolment.pin(), Arc::clone(clock));
    let client = Collector::new(collector, &target.origin, pin, token, clock)?;
    Ok(Some((client, enrolment.witness()?)))
}

/// Before anything is sealed: a collector that can be reached must not be ahead of us.
///
/// Not reaching it is the commonest case and no reason to wait: the delivery asks again later.
async fn confirm_head(target: &Target, clock: &Arc<dyn Clock>) -> Result<(), RunError> {
    let Some((client, witness)) = client_of(target, clock)? else {
        return Ok(());
    };
    let log_dir = target.data_dir.join("log");
    if !log_dir.is_dir() {
        return Ok(());
    }
    let mut reader = LogReader::of_dir(&log_dir).await?;
    let ours = reader.bounds().1;
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
pub(super) async fn last_delivery(outcome: &Outcome, released: &watch::Receiver<u64>) {
    let status = outcome.snapshot();
    if status.error.is_some() || status.head != HeadState::Confirmed {
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
pub(super) struct Connection {
    pub(super) target: Target,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn SecureRandom + Send + Sync>,
    pub(super) outcome: Outcome,
    pub(super) live: Arc<LiveTable>,
    pub(super) released: watch::Receiver<u64>,
    pub(super) reader: LogReader,
    pub(super) log_vkey: Vkey,
}

impl Connection {
    /// Waits for an enrolment, then delivers for good.
    pub(super) async fn keep(mut self) {
        let Some(collector) = self.target.collector.clone() else {
            tracing::info!("No [collector] is configured: entries stay on this device");
            return;
        };
        let enrolment = loop {
            let wait_ms = match Enrolment::load(&self.target.data_dir) {
                Ok(Some(enrolment)) => break enrolment,
                Ok(None) if enrol::is_pending(&self.target.data_dir) => {
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
            self.clock
                .sleep_until_monotonic(self.clock.monotonic_ms() + wait_ms)
                .await;
        };
        drop(enrolment);
        let (client, witness) = match client_of(&self.target, &self.clock) {
            Ok(Some(parts)) => parts,
            Ok(None) => return,
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
            origin: self.target.origin.clone(),
            witness,
            independent: self
                .target
                .collector
                .as_ref()
                .map_or_else(Vec::new, |collector| collector.witnesses.clone()),
            reader: self.reader,
            released: self.released,
            outcome: self.outcome,
            data_dir: self.target.data_dir.clone(),
            clock: self.clock,
            random: self.random,
        });
        tokio::join!(live, delivery.run());
    }

    async fn enrol(&mut self, collector: &CollectorConfig) -> Result<Enrolment, EnrolError> {
        let first = self.reader.row(0).await.map_err(std::io::Error::other)?;
        let first = first.ok_or_else(|| std::io::Error::other("the log has no entry 0"))?;
        let data_dir: PathBuf = self.target.data_dir.clone();
        let clock = Arc::clone(&self.clock);
        let turn = enrol::Turn::take(&data_dir).await?;
        enrol::enrol(
            &turn,
            &data_dir,
            &self.target.origin,
            &self.log_vkey,
            &first,
            collector,
            clock,
        )
        .await
    }
}
