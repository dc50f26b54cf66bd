//! Reads one device's points of one stream.
//!
//! A tick costs a silent device one timeout: after the first request without an answer its other
//! values are not asked for in this tick, and at the next ticks the back-off decides.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use evidence::quality::Quality;
use tokio::time::Instant;

use super::backoff::Permit;
use super::failure::Failure;
use super::frame::{Answer, Request};
use super::lane::Poller;
use super::link::{Link, Reply};
use super::outcome::{Absence, Outcome};
use super::recent::Recent;
use super::register_map::{RegisterMap, Value};
use crate::plan::{Block, Span};

/// One device in one stream.
#[derive(Debug)]
pub struct DeviceReader {
    link: Link,
    unit: u8,
    timeout: Duration,
    map: RegisterMap,
    shared: Option<Shared>,
}

/// What a device's reader tells others who want to use its line.
#[derive(Debug)]
pub struct Shared {
    /// When it polls.
    pub poller: Poller,
    /// What it was answered.
    pub recent: Arc<Recent>,
}

/// The rest of the device is not asked in this tick, for this reason.
struct Stop(Absence);

impl DeviceReader {
    /// Reads the values of `map`, all of the unit `unit` behind `link`; `timeout` is for one request.
    #[must_use]
    pub const fn new(link: Link, unit: u8, timeout: Duration, map: RegisterMap) -> Self {
        Self {
            link,
            unit,
            timeout,
            map,
            shared: None,
        }
    }

    /// Others use the line as well.
    #[must_use]
    pub fn shared(mut self, shared: Option<Shared>) -> Self {
        self.shared = shared;
        self
    }

    /// The device's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.map.device()
    }

    /// How long one answer may take.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The values, in the order of [`DeviceReader::read`]'s outcomes.
    #[must_use]
    pub fn values(&self) -> &[Value] {
        self.map.values()
    }

    /// The requests of the next tick.
    pub fn requests(&self) -> impl Iterator<Item = Span> {
        self.map.requests()
    }

    /// Reads every value once, by `deadline` at the latest; one outcome per value.
    pub async fn read(&mut self, deadline: Instant) -> Vec<Outcome> {
        let poller = self.shared.as_ref().map(|shared| shared.poller.clone());
        let _polling = poller.as_ref().map(|poller| poller.begin(deadline));
        let mut outcomes: Vec<Option<Outcome>> = Vec::new();
        outcomes.resize_with(self.values().len(), || None);
        let read = self.read_into(&mut outcomes, deadline).await;
        let unasked = || match &read {
            Err(Stop(absence)) => Outcome {
                result: Err(absence.clone()),
                round_trip: Duration::ZERO,
            },
            // Cannot happen: who was not stopped has asked for every value.
            Ok(()) => Outcome::absent(Quality::NOT_POLLED, 0, "not asked", Duration::ZERO),
        };
        let outcomes = outcomes.into_iter();
        outcomes
            .map(|outcome| outcome.unwrap_or_else(unasked))
            .collect()
    }

    async fn read_into(
        &mut self,
        outcomes: &mut [Option<Outcome>],
        deadline: Instant,
    ) -> Result<(), Stop> {
        match self.link.permit(self.unit) {
            Permit::Ready => {}
            Permit::Wait => return Err(Stop(Absence::backed_off())),
            Permit::Probe => {
                // A silent device is asked for its cheapest value before the rest.
                if let Some(block) = self.map.cheapest() {
                    let reply = self.ask(block.span, deadline, true).await;
                    self.settle(&block, reply, outcomes)?;
                }
            }
        }
        for group in 0..self.map.group_count() {
            self.read_group(group, deadline, outcomes).await?;
            self.map.rejoin(group);
        }
        Ok(())
    }

    /// Reads a group. A joined request that is refused is taken apart in this very tick, as far as
    /// its time goes, so that the refusal costs no sample.
    async fn read_group(
        &mut self,
        group: usize,
        deadline: Instant,
        outcomes: &mut [Option<Outcome>],
    ) -> Result<(), Stop> {
        // Nearly always: nothing was ever refused, and nothing is copied.
        if let Some(block) = self.map.whole(group) {
            let reply = self.ask(block.span, deadline, false).await;
            if let Ok(Answer::Words(words)) = &reply.result {
                self.decode_all(block, words, reply.round_trip, outcomes);
                return Ok(());
            }
            return self
                .read_parts(group, Some(reply), deadline, outcomes)
                .await;
        }
        self.read_parts(group, None, deadline, outcomes).await
    }

    /// Reads a group request by request; `first` is the reply to the first one if it was asked.
    async fn read_parts(
        &mut self,
        group: usize,
        mut first: Option<Reply>,
        deadline: Instant,
        outcomes: &mut [Option<Outcome>],
    ) -> Result<(), Stop> {
        let mut blocks = VecDeque::from(self.map.blocks(group));
        while let Some(block) = blocks.pop_front() {
            if let [value] = block.values.as_slice()
                && let Some(code) = self.map.known_hole(*value, Instant::now())
            {
                set(
                    outcomes,
                    *value,
                    Outcome::refused(code, true, Duration::ZERO),
                );
                continue;
            }
            let reply = match first.take() {
                Some(reply) => reply,
                None => self.ask(block.span, deadline, false).await,
            };
            match reply.result {
                Ok(Answer::Exception(code @ (2 | 3))) if block.values.len() > 1 => {
                    for part in self.map.part(group, &block, code).into_iter().rev() {
                        blocks.push_front(part);
                    }
                }
                Ok(Answer::Words(_)) => {
                    self.map.answered(group, &block);
                    self.settle(&block, reply, outcomes)?;
                }
                _ => self.settle(&block, reply, outcomes)?,
            }
        }
        Ok(())
    }

    async fn ask(&self, span: Span, deadline: Instant, probe: bool) -> Reply {
        let request = Request {
            unit: self.unit,
            span,
        };
        let reply = self.link.ask(request, self.timeout, deadline, probe).await;
        if let (Some(shared), Ok(answer)) = (&self.shared, &reply.result) {
            shared.recent.keep(request, answer, Instant::now());
        }
        reply
    }

    /// Turns a reply into outcomes.
    fn settle(
        &mut self,
        block: &Block,
        reply: Reply,
        outcomes: &mut [Option<Outcome>],
    ) -> Result<(), Stop> {
        let round_trip = reply.round_trip;
        let alone = block.values.len() == 1;
        match reply.result {
            Ok(Answer::Words(words)) => {
                self.decode_all(block, &words, round_trip, outcomes);
                if let ([value], true) = (block.values.as_slice(), alone) {
                    self.map.found(*value);
                }
                Ok(())
            }
            Ok(Answer::Exception(code)) => {
                let outcome = Outcome::refused(code, alone, round_trip);
                for &value in &block.values {
                    set(outcomes, value, outcome.clone());
                    if alone && matches!(code, 2 | 3) {
                        self.map.refused(value, code, Instant::now());
                    }
                }
                // 10 and 11 come from a serial server whose device is silent.
                if matches!(code, 10 | 11) {
                    Err(Stop(Absence::backed_off()))
                } else {
                    Ok(())
                }
            }
            Err(failure) => {
                let outcome = Outcome {
                    result: Err(Absence::from(&failure)),
                    round_trip,
                };
                block
                    .values
                    .iter()
                    .for_each(|&value| set(outcomes, value, outcome.clone()));
                let rest = if failure.is_unasked() {
                    &failure
                } else {
                    &Failure::BackedOff
                };
                Err(Stop(Absence::from(rest)))
            }
        }
    }

    fn decode_all(
        &self,
        block: &Block,
        words: &[u16],
        round_trip: Duration,
        outcomes: &mut [Option<Outcome>],
    ) {
        for &value in &block.values {
            set(
                outcomes,
                value,
                self.decode(block, value, words, round_trip),
            );
        }
    }

    #[inline]
    fn decode(&self, block: &Block, value: usize, words: &[u16], round_trip: Duration) -> Outcome {
        let decoded = self.map.values().get(value).and_then(|value| {
            let first = usize::from(value.span.address.checked_sub(block.span.address)?);
            let words = words.get(first..first + usize::from(value.span.count))?;
            value.sample(words)
        });
        match decoded {
            Some(decoded) => Outcome {
                result: Ok(decoded),
                round_trip,
            },
            // Cannot happen: an answer has as many words as its block, and a format as many as its span.
            None => Outcome::absent(
                Quality::DROPPED,
                0,
                "the words do not fit the type",
                round_trip,
            ),
        }
    }
}

#[inline]
fn set(outcomes: &mut [Option<Outcome>], value: usize, outcome: Outcome) {
    if let Some(slot) = outcomes.get_mut(value) {
        *slot = Some(outcome);
    }
}
