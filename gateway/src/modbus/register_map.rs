//! What is known about a device's registers: which requests read them, and where the holes are.
//!
//! A device that refuses a joined request (exception 2 or 3) is asked for each of its values alone,
//! once; then those that exist are joined again without touching undeclared registers. What is
//! refused alone is a hole, and asked for again only now and then.

use std::time::Duration;

use evidence::value::Format;
use tokio::time::Instant;
use tracing::{info, warn};

use super::frame::exception_text;
use super::outcome::describe;
use crate::plan::{Block, Limits, Span, plan};

/// How long a refused value is left alone before it is asked for again.
const HOLE_AGAIN: Duration = Duration::from_secs(600);

/// One value of a device.
#[derive(Debug, Clone)]
pub struct Value {
    /// The point's position in the measurement table.
    pub point: u16,
    /// The point's name, for messages.
    pub name: String,
    /// Where it lies.
    pub span: Span,
    /// How its words become a column value.
    pub format: Format,
}

/// The requests for one device's values, as far as they have been learned.
#[derive(Debug)]
pub struct RegisterMap {
    device: String,
    limits: Limits,
    values: Vec<Value>,
    groups: Vec<Group>,
    verdicts: Vec<Verdict>,
}

/// Values that are read with one request, or once were.
#[derive(Debug)]
struct Group {
    stage: Stage,
    /// The request that was planned first.
    whole: Block,
    blocks: Vec<Block>,
}

/// How far a group has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// One request, holes included.
    Joined,
    /// The request was refused: every value is asked for alone, to find out which exist.
    Parted,
    /// The values that exist, joined without holes.
    Declared,
    /// That was refused as well: one request per value.
    Alone,
}

/// What asking for a value alone has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Not asked for alone yet.
    Unknown,
    /// It was answered.
    Present,
    /// It was refused with this exception code; asked for again then.
    Hole { code: u8, again: Instant },
}

impl RegisterMap {
    /// Plans the requests for `values`; `device` names it in messages.
    #[must_use]
    pub fn new(device: &str, limits: Limits, values: Vec<Value>) -> Self {
        let spans: Vec<Span> = values.iter().map(|value| value.span).collect();
        let group = |whole: Block| Group {
            stage: Stage::Joined,
            blocks: vec![whole.clone()],
            whole,
        };
        let groups = plan(&spans, &limits).into_iter().map(group).collect();
        let verdicts = vec![Verdict::Unknown; values.len()];
        Self {
            device: device.to_owned(),
            limits,
            values,
            groups,
            verdicts,
        }
    }

    /// The device's name.
    #[must_use]
    pub fn device(&self) -> &str {
        &self.device
    }

    /// The values, in the order they were given.
    #[must_use]
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// How many groups there are; each is read by itself.
    #[must_use]
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// The requests of a group. While its values are being asked for alone, those not judged yet
    /// come first: a slow device may need several ticks for them.
    #[must_use]
    pub fn blocks(&self, group: usize) -> Vec<Block> {
        let Some(group) = self.groups.get(group) else {
            return Vec::new();
        };
        let mut blocks = group.blocks.clone();
        if group.stage == Stage::Parted {
            blocks.sort_by_key(|block| block.values.iter().any(|&value| self.is_judged(value)));
        }
        blocks
    }

    /// All requests of the next tick, known holes included.
    pub fn requests(&self) -> impl Iterator<Item = Span> {
        self.groups
            .iter()
            .flat_map(|group| group.blocks.iter().map(|block| block.span))
    }

    /// The cheapest request that the device should answer if it is alive.
    #[must_use]
    pub fn cheapest(&self) -> Option<Block> {
        let known = (0..self.values.len()).filter(|&value| !self.is_hole(value));
        let cheapest =
            known.min_by_key(|&value| self.values.get(value).map(|found| found.span.count));
        self.alone(cheapest.unwrap_or(0))
    }

    /// The exception code of a value that was refused a short while ago.
    #[must_use]
    pub fn known_hole(&self, value: usize, now: Instant) -> Option<u8> {
        match self.verdicts.get(value) {
            Some(&Verdict::Hole { code, again }) if now < again => Some(code),
            _ => None,
        }
    }

    /// A value that was asked for alone was answered.
    pub fn found(&mut self, value: usize) {
        self.judge(value, Verdict::Present);
    }

    /// A value that was asked for alone was refused with exception 2 or 3.
    pub fn refused(&mut self, value: usize, code: u8, now: Instant) {
        self.judge(
            value,
            Verdict::Hole {
                code,
                again: now + HOLE_AGAIN,
            },
        );
    }

    /// A joined request of the group was refused: from now on each value alone.
    pub fn part(&mut self, group: usize, code: u8) {
        let Some(found) = self.groups.get(group) else {
            return;
        };
        let stage = if found.stage == Stage::Joined {
            Stage::Parted
        } else {
            Stage::Alone
        };
        let (device, reason) = (&self.device, exception_text(code));
        let (whole, count) = (describe(found.whole.span), found.whole.values.len());
        warn!(
            device.name = device,
            "Device {device} refuses {whole} in one request ({reason}); its {count} values are read one by one"
        );
        let blocks = self.each_alone(&found.whole.values);
        self.replace(group, stage, blocks);
    }

    /// Once every value of a parted group was asked for alone, joins those that exist.
    pub fn rejoin(&mut self, group: usize) {
        let Some(found) = self.groups.get(group) else {
            return;
        };
        let whole = found.whole.clone();
        let settled = whole.values.iter().all(|&value| self.is_judged(value));
        if found.stage != Stage::Parted || !settled {
            return;
        }
        let (missing, present): (Vec<usize>, Vec<usize>) =
            whole.values.iter().partition(|&&value| self.is_hole(value));
        let mut stage = Stage::Declared;
        let mut blocks = self.joined_without_holes(&present);
        if blocks.iter().any(|block| block.span == whole.span) {
            // No hole explains the refusal: the request was too long for the device.
            stage = Stage::Alone;
            blocks = self.each_alone(&present);
        }
        let (device, of, now) = (&self.device, whole.values.len(), blocks.len());
        if missing.is_empty() {
            let whole = describe(whole.span);
            info!(
                device.name = device,
                "Device {device} answers all {of} values of {whole} in {now} requests; \
                 lower max_gap or max_registers to begin so"
            );
        } else {
            let names = self.names(&missing);
            warn!(
                device.name = device,
                "Device {device} has no register for {names}; the other values take {now} requests"
            );
        }
        blocks.extend(self.each_alone(&missing));
        self.replace(group, stage, blocks);
    }

    fn joined_without_holes(&self, present: &[usize]) -> Vec<Block> {
        let found = present.iter().filter_map(|&value| self.values.get(value));
        let spans: Vec<Span> = found.map(|value| value.span).collect();
        let mut blocks = plan(
            &spans,
            &Limits {
                gap: 0,
                ..self.limits.clone()
            },
        );
        for block in &mut blocks {
            block.values = block
                .values
                .iter()
                .filter_map(|&at| present.get(at).copied())
                .collect();
        }
        blocks
    }

    fn each_alone(&self, values: &[usize]) -> Vec<Block> {
        values
            .iter()
            .filter_map(|&value| self.alone(value))
            .collect()
    }

    fn alone(&self, value: usize) -> Option<Block> {
        self.values.get(value).map(|found| Block {
            span: found.span,
            values: vec![value],
        })
    }

    fn replace(&mut self, group: usize, stage: Stage, blocks: Vec<Block>) {
        if let Some(group) = self.groups.get_mut(group) {
            (group.stage, group.blocks) = (stage, blocks);
        }
    }

    fn names(&self, values: &[usize]) -> String {
        let found = values.iter().filter_map(|&value| self.values.get(value));
        let names: Vec<String> = found
            .map(|value| format!("{} at {}", value.name, describe(value.span)))
            .collect();
        names.join(", ")
    }

    fn is_hole(&self, value: usize) -> bool {
        matches!(self.verdicts.get(value), Some(Verdict::Hole { .. }))
    }

    fn is_judged(&self, value: usize) -> bool {
        self.verdicts
            .get(value)
            .is_some_and(|verdict| *verdict != Verdict::Unknown)
    }

    fn judge(&mut self, value: usize, verdict: Verdict) {
        if let Some(slot) = self.verdicts.get_mut(value) {
            *slot = verdict;
        }
    }
}
