//! Reads one device's points of one stream, and what is watched of the device beside them.
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
use super::outcomes::Outcomes;
use super::recent::Recent;
use super::recognise::{Verdict, Watching};
use super::register_map::{RegisterMap, Value};
use crate::plan::{Block, Span};
use crate::watch::Due;

/// One device in one stream.
#[derive(Debug)]
pub struct DeviceReader {
    link: Link,
    unit: u8,
    timeout: Duration,
    /// The points, and behind them the status words.
    map: RegisterMap,
    points: usize,
    watching: Option<Box<Watching>>,
    sessions: Sessions,
    verdict: Verdict,
    shared: Option<Shared>,
    /// It could not be reached at its last tick.
    lost: bool,
    pace: Box<Pace>,
    /// What the last reading gave, by value of the map; its memory is used again and again.
    outcomes: Outcomes,
}

/// How fast a device is, to know whether a request more fits into a tick.
#[derive(Debug, Clone, Copy, Default)]
struct Pace {
    /// What the last complete reading took.
    reading: Duration,
    /// Its longest request.
    longest: Duration,
    /// The longest request of the present reading.
    present: Duration,
    /// A joined request was tried again in this reading.
    retried: bool,
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
pub(super) struct Stop(Absence);

/// The connections on which the answers of a tick came.
#[derive(Debug, Clone, Copy, Default)]
enum Sessions {
    #[default]
    None,
    One(u64),
    Several,
}

impl DeviceReader {
    /// Reads the values of `map`, all of the unit `unit` behind `link`; `timeout` is for one request.
    #[must_use]
    pub fn new(link: Link, unit: u8, timeout: Duration, map: RegisterMap) -> Self {
        Self {
            link,
            unit,
            timeout,
            points: map.values().len(),
            map,
            shared: None,
            watching: None,
            sessions: Sessions::None,
            verdict: Verdict::default(),
            lost: false,
            pace: Box::default(),
            outcomes: Outcomes::default(),
        }
    }

    /// Others use the line as well.
    #[must_use]
    pub fn shared(mut self, shared: Option<Shared>) -> Self {
        self.shared = shared;
        self
    }

    /// Watches the device as well. The last values of the map are `watching`'s status words.
    #[must_use]
    pub fn watching(mut self, watching: Watching) -> Self {
        let words = watching.status_values().count();
        self.points = self.map.values().len().saturating_sub(words);
        self.watching = Some(Box::new(watching));
        self
    }

    /// Reads other registers of the same device.
    pub(super) fn beside(&self, map: RegisterMap) -> Self {
        Self::new(self.link.clone(), self.unit, self.timeout, map)
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

    /// The points' values, in the order of [`DeviceReader::outcomes`].
    #[must_use]
    pub fn values(&self) -> &[Value] {
        self.map.values().get(..self.points).unwrap_or_default()
    }

    /// What the last [`DeviceReader::read`] gave, one outcome per value. Empty before the first, and
    /// while one that was cancelled has not been repeated.
    #[must_use]
    pub fn outcomes(&self) -> &[Outcome] {
        let outcomes = self.outcomes.as_slice();
        outcomes.get(..self.points).unwrap_or_default()
    }

    /// What the watch says of the values of the last [`DeviceReader::read`].
    #[must_use]
    pub const fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// The connection on which all answers of the last reading came.
    pub(super) const fn session(&self) -> Option<u64> {
        match self.sessions {
            Sessions::One(session) => Some(session),
            Sessions::None | Sessions::Several => None,
        }
    }

    /// The requests of the next tick.
    pub fn requests(&self) -> impl Iterator<Item = Span> {
        self.map.requests()
    }

    /// Reads every value once, by `deadline` at the latest; one outcome per value. What is watched
    /// of the device is read as well and judged: [`DeviceReader::verdict`].
    pub async fn read(&mut self, deadline: Instant) -> &[Outcome] {
        let poller = self.shared.as_ref().map(|shared| shared.poller.clone());
        let _polling = poller.as_ref().map(|poller| poller.begin(deadline));
        let mut outcomes = self.begin();
        let read = self.read_into(&mut outcomes, deadline).await;
        // Busy with others until the end of the tick says nothing about the device.
        if let Err(Stop(absence)) = &read
            && absence.quality != Quality::NOT_POLLED
        {
            self.lost = true;
            if let Some(watching) = &self.watching {
                watching.gate().lost();
            }
        }
        outcomes.settle(read.as_ref().err().map(|Stop(why)| why));
        self.outcomes = outcomes;
        let session = self.session();
        if let Some(watching) = &mut self.watching {
            let words = self.outcomes.as_slice().get(self.points..);
            self.verdict = watching.judge(session, words.unwrap_or_default());
        }
        self.outcomes()
    }

    /// As many outcomes as the map has values, of a reading that has asked for nothing yet.
    fn begin(&mut self) -> Outcomes {
        self.sessions = Sessions::None;
        let mut outcomes = std::mem::take(&mut self.outcomes);
        outcomes.begin(self.map.values().len());
        outcomes
    }

    /// Reads every value of the map without asking whether the device may be asked, and says whether
    /// the rest of the tick is lost to it.
    pub(super) async fn read_all(&mut self, deadline: Instant) -> (&[Outcome], Result<(), Stop>) {
        let mut outcomes = self.begin();
        let read = self.read_groups(&mut outcomes, deadline).await;
        outcomes.settle(read.as_ref().err().map(|Stop(why)| why));
        self.outcomes = outcomes;
        (self.outcomes.as_slice(), read)
    }

    async fn read_into(&mut self, outcomes: &mut Outcomes, deadline: Instant) -> Result<(), Stop> {
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
        self.recognise(Due::Before, deadline).await?;
        if std::mem::take(&mut self.lost) {
            self.map.returned(Instant::now());
        }
        self.read_groups(outcomes, deadline).await?;
        if let (Some(session), Some(watching)) = (self.session(), &self.watching)
            && !watching.gate().recognised_on(session)
        {
            // The connection was replaced without a failure: an idle one that the device had closed.
            watching.gate().lost();
            self.recognise(Due::Before, deadline).await?;
        }
        self.recognise(Due::Again, deadline).await?;
        self.recognise(Due::After, deadline).await
    }

    /// Reads identity and settings if it is time for it.
    async fn recognise(&self, when: Due, deadline: Instant) -> Result<(), Stop> {
        match &self.watching {
            Some(watching) if watching.gate().due(Instant::now()) == when => {
                watching.recognise(self, when, deadline).await
            }
            _ => Ok(()),
        }
    }

    async fn read_groups(
        &mut self,
        outcomes: &mut Outcomes,
        deadline: Instant,
    ) -> Result<(), Stop> {
        let begun = Instant::now();
        (self.pace.present, self.pace.retried) = (Duration::ZERO, false);
        for group in 0..self.map.group_count() {
            self.read_group(group, begun, deadline, outcomes).await?;
            if self.map.whole(group).is_none() {
                self.map.rejoin(group, Instant::now());
            }
        }
        (self.pace.reading, self.pace.longest) = (begun.elapsed(), self.pace.present);
        Ok(())
    }

    /// Reads a group. A joined request that is refused is taken apart in this very tick, as far as
    /// its time goes, so that the refusal costs no sample.
    async fn read_group(
        &mut self,
        group: usize,
        begun: Instant,
        deadline: Instant,
        outcomes: &mut Outcomes,
    ) -> Result<(), Stop> {
        // Nearly always: nothing was ever refused, and nothing is copied.
        let whole = self.map.whole(group).map(|block| block.span);
        if let Some(span) = whole {
            let reply = self.ask(span, deadline, false).await;
            if let Ok(Answer::Words(words)) = &reply.result {
                let fields = self.map.whole_fields(group).iter().copied();
                outcomes.decode(fields, words, reply.round_trip);
                self.map.whole_answered(group);
                return Ok(());
            }
            if let (&Ok(Answer::Exception(code @ (2 | 3))), Some(block)) =
                (&reply.result, self.map.whole(group))
                && !self.map.may_part(group, Instant::now())
            {
                // All its values were refused alone a moment ago, more than once.
                let outcome = Outcome::refused(code, false, reply.round_trip);
                self.set_all(block, outcomes, &outcome);
                return Ok(());
            }
            return self
                .read_parts(group, Some(reply), deadline, outcomes)
                .await;
        }
        // At most one a tick, and only if the parts fit into the tick behind its refusal.
        let fits = begun + self.pace.reading + self.pace.longest * 2 <= deadline;
        if fits
            && !self.pace.retried
            && let Some(whole) = self.map.whole_again(group, Instant::now()).cloned()
        {
            self.pace.retried = true;
            return self.read_again(group, &whole, deadline, outcomes).await;
        }
        self.read_parts(group, None, deadline, outcomes).await
    }

    /// Tries the joined request of a group that was taken apart; if it is refused, the parts are read.
    async fn read_again(
        &mut self,
        group: usize,
        whole: &Block,
        deadline: Instant,
        outcomes: &mut Outcomes,
    ) -> Result<(), Stop> {
        let reply = self.ask(whole.span, deadline, false).await;
        let silent = match &reply.result {
            Ok(Answer::Words(words)) => {
                outcomes.decode(self.map.fields_of(whole), words, reply.round_trip);
                self.map.whole_answered(group);
                return Ok(());
            }
            // Nothing was sent: it is tried at the next tick.
            Err(failure) if failure.is_unasked() => return self.settle(whole, reply, outcomes),
            // 10 and 11 come from a serial server whose device is silent.
            Ok(Answer::Exception(code)) => matches!(code, 10 | 11),
            Err(_) => true,
        };
        self.map.whole_refused(group, silent, Instant::now());
        if silent {
            return self.settle(whole, reply, outcomes);
        }
        self.read_parts(group, None, deadline, outcomes).await
    }

    /// Reads a group request by request; `first` is the reply to the first one if it was asked.
    async fn read_parts(
        &mut self,
        group: usize,
        mut first: Option<Reply>,
        deadline: Instant,
        outcomes: &mut Outcomes,
    ) -> Result<(), Stop> {
        let mut blocks = VecDeque::from(self.map.blocks(group));
        while let Some(block) = blocks.pop_front() {
            if let [item] = block.values.as_slice()
                && let Some(code) = self.map.known_hole(*item, Instant::now())
            {
                let outcome = Outcome::refused(code, self.is_one_value(&block), Duration::ZERO);
                self.set_all(&block, outcomes, &outcome);
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

    async fn ask(&mut self, span: Span, deadline: Instant, probe: bool) -> Reply {
        let request = Request {
            unit: self.unit,
            span,
        };
        let reply = self.link.ask(request, self.timeout, deadline, probe).await;
        self.pace.present = self.pace.present.max(reply.round_trip);
        if let (Some(shared), Ok(answer)) = (&self.shared, &reply.result) {
            shared.recent.keep(request, answer, Instant::now());
        }
        if reply.result.is_ok() {
            self.sessions = match self.sessions {
                Sessions::None => Sessions::One(reply.session),
                Sessions::One(session) if session == reply.session => self.sessions,
                Sessions::One(_) | Sessions::Several => Sessions::Several,
            };
        }
        reply
    }

    /// Turns a reply into outcomes.
    fn settle(&mut self, block: &Block, reply: Reply, outcomes: &mut Outcomes) -> Result<(), Stop> {
        let round_trip = reply.round_trip;
        match reply.result {
            Ok(Answer::Words(words)) => {
                outcomes.decode(self.map.fields_of(block), &words, round_trip);
                if let [item] = block.values.as_slice() {
                    self.map.found(*item);
                }
                Ok(())
            }
            Ok(Answer::Exception(code)) => {
                let outcome = Outcome::refused(code, self.is_one_value(block), round_trip);
                self.set_all(block, outcomes, &outcome);
                if let [item] = block.values.as_slice()
                    && matches!(code, 2 | 3)
                {
                    self.map.refused(*item, code, Instant::now());
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
                self.set_all(block, outcomes, &outcome);
                let rest = if failure.is_unasked() {
                    &failure
                } else {
                    &Failure::BackedOff
                };
                Err(Stop(Absence::from(rest)))
            }
        }
    }

    /// Whether a refusal says which value does not exist: of values that are read together nobody
    /// can tell.
    fn is_one_value(&self, block: &Block) -> bool {
        self.map.values_of(block).count() == 1
    }

    fn set_all(&self, block: &Block, outcomes: &mut Outcomes, outcome: &Outcome) {
        for value in self.map.values_of(block) {
            outcomes.tell(value, outcome.clone());
        }
    }
}
