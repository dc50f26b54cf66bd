//! What is known about a device's registers: which requests read them, and where the holes are.
//!
//! A device that refuses a joined request (exception 2 or 3) has the request taken apart: first
//! at the undeclared registers in it, which are the likeliest to be missing, then by halves, until
//! every value was answered or refused alone. Then the values that exist are joined again without
//! touching undeclared registers. What is refused alone is a hole, and asked for again only now and
//! then. With one hole among n values this takes about 2 log2 n requests, all in the same tick as
//! far as its time goes.
//!
//! A device that is starting may refuse everything, or refuse once what it answers ever after. So a
//! group of which every value was refused teaches nothing, and a request that was taken apart is
//! asked for whole again when the device returns from a failure, and now and then.
//!
//! Values that belong together (a number and its scale factor) are one *item*. Blocks hold items, and
//! wherever a value is said to be read alone here, that is the item, never one of its values without
//! the others.

use std::time::Duration;

use evidence::value::{Format, Kind};
use tokio::time::Instant;
use tracing::{info, warn};

use super::frame::exception_text;
use super::outcome::describe;
use super::outcomes::Field;
use crate::plan::{Block, Item, Limits, Span, plan, together};
use crate::sample::SampleValue;

/// How long a refused value is left alone before it is asked for again.
const HOLE_AGAIN: Duration = Duration::from_secs(600);

/// Added, with every time in a row that all values of a group were refused, to the pause before it is
/// taken apart again. Meanwhile only the joined request is asked for.
const BARREN_STEP: Duration = Duration::from_secs(2);

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

impl Value {
    /// What is sealed of the value's words; `None` if they are not as many as its type has.
    #[must_use]
    pub fn sample(&self, words: &[u16]) -> Option<SampleValue> {
        if self.format.kind == Kind::Text {
            return Some(SampleValue::Text(Format::text_bytes(words)));
        }
        self.format.raw(words).map(SampleValue::Int)
    }
}

/// Where a request's values lie in its answer.
fn fields(values: &[Value], items: &[Item], block: &Block) -> impl Iterator<Item = Field> {
    members(items, &block.values).filter_map(|place| {
        let value = values.get(place)?;
        Some(Field::new(place, value.span, value.format, block.span))
    })
}

/// The values that these of `items` consist of.
fn members(items: &[Item], places: &[usize]) -> impl Iterator<Item = usize> {
    let found = places.iter().filter_map(|&item| items.get(item));
    found.flat_map(|item| item.values.iter().copied())
}

/// The requests for one device's values, as far as they have been learned.
#[derive(Debug)]
pub struct RegisterMap {
    device: String,
    limits: Limits,
    values: Vec<Value>,
    items: Vec<Item>,
    groups: Vec<Group>,
    /// By item.
    verdicts: Vec<Verdict>,
}

/// Items that are read with one request, or once were.
#[derive(Debug)]
struct Group {
    stage: Stage,
    /// The request that was planned first.
    whole: Block,
    /// The values that it answers, and where.
    fields: Vec<Field>,
    blocks: Vec<Block>,
    /// Joined requests that the device refused.
    refused: Vec<Span>,
    /// How often in a row taking it apart found no value at all, and when that may be tried again.
    barren: u32,
    part_again: Option<Instant>,
    /// When the whole request is tried again; only once settled.
    whole_again: Option<Instant>,
    /// How often in a row that was met with silence.
    silent: u32,
}

/// How far a group has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// One request, holes included.
    Joined,
    /// The request was refused: its parts are asked for, to find out which values exist.
    Parted,
    /// What was found out holds.
    Settled,
}

/// What taking a request apart has shown of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Nothing yet.
    Unknown,
    /// It was answered, alone or with others.
    Present,
    /// It was refused alone with this exception code; asked for again then.
    Hole { code: u8, again: Instant },
}

impl RegisterMap {
    /// Plans the requests for `values`; `device` names it in messages.
    #[must_use]
    pub fn new(device: &str, limits: Limits, values: Vec<Value>) -> Self {
        Self::grouped(device, limits, values, &[])
    }

    /// As [`Self::new`]; the values that carry one number in `groups` are always read in one request.
    #[must_use]
    pub fn grouped(device: &str, limits: Limits, values: Vec<Value>, groups: &[usize]) -> Self {
        let spans: Vec<Span> = values.iter().map(|value| value.span).collect();
        let items = together(&spans, groups);
        let spans: Vec<Span> = items.iter().map(|item| item.span).collect();
        let group = |whole: Block| Group {
            stage: Stage::Joined,
            blocks: vec![whole.clone()],
            fields: fields(&values, &items, &whole).collect(),
            whole,
            refused: Vec::new(),
            barren: 0,
            part_again: None,
            whole_again: None,
            silent: 0,
        };
        let groups = plan(&spans, &limits).into_iter().map(group).collect();
        let verdicts = vec![Verdict::Unknown; items.len()];
        Self {
            device: device.to_owned(),
            limits,
            values,
            items,
            groups,
            verdicts,
        }
    }

    /// The positions (in [`Self::values`]) of the values that a request answers.
    pub fn values_of(&self, block: &Block) -> impl Iterator<Item = usize> {
        members(&self.items, &block.values)
    }

    /// As [`Self::values_of`], with where they lie in the answer.
    pub fn fields_of(&self, block: &Block) -> impl Iterator<Item = Field> {
        fields(&self.values, &self.items, block)
    }

    /// As [`Self::fields_of`] for the request that was planned first for a group.
    #[must_use]
    pub fn whole_fields(&self, group: usize) -> &[Field] {
        let found = self.groups.get(group);
        found.map_or(&[], |found| found.fields.as_slice())
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

    /// The one request of a group of several values that is not known to be refused.
    #[must_use]
    pub fn whole(&self, group: usize) -> Option<&Block> {
        let found = self.groups.get(group)?;
        let whole = found.stage == Stage::Joined && found.whole.values.len() > 1;
        whole.then_some(&found.whole)
    }

    /// The joined request of a group that was taken apart, once it is time to try it again.
    #[must_use]
    pub fn whole_again(&self, group: usize, now: Instant) -> Option<&Block> {
        let found = self.groups.get(group)?;
        let due = found.whole_again.is_some_and(|again| again <= now);
        (found.stage == Stage::Settled && due).then_some(&found.whole)
    }

    /// The joined request was answered: it is the one request of its group, as at the beginning.
    pub fn whole_answered(&mut self, group: usize) {
        let Some(found) = self.groups.get_mut(group) else {
            return;
        };
        if found.stage == Stage::Joined && found.barren == 0 {
            return;
        }
        let (device, whole) = (&self.device, describe(found.whole.span));
        info!(
            device.name = device,
            "Device {device} answers {whole} in one request again"
        );
        (found.barren, found.part_again) = (0, None);
        self.forget(group);
    }

    /// The joined request was tried again in vain; `silent` if there was no answer at all. Silence
    /// costs the values of its tick, so each makes the next try come later, up to a day.
    pub fn whole_refused(&mut self, group: usize, silent: bool, now: Instant) {
        if let Some(found) = self.groups.get_mut(group) {
            found.silent = if silent {
                found.silent.saturating_add(1).min(7)
            } else {
                0
            };
            found.whole_again = Some(now + HOLE_AGAIN * (1 << found.silent));
        }
    }

    /// The device was silent and is back: it may be another one, or have been starting when it
    /// refused. What was taken apart is tried whole, except where that itself was met with silence.
    pub fn returned(&mut self, now: Instant) {
        for group in &mut self.groups {
            if group.stage == Stage::Settled && group.silent == 0 {
                group.whole_again = Some(now);
            }
        }
    }

    /// Whether a refused request of the group is to be taken apart now.
    #[must_use]
    pub fn may_part(&self, group: usize, now: Instant) -> bool {
        let found = self.groups.get(group).and_then(|found| found.part_again);
        found.is_none_or(|again| again <= now)
    }

    /// The requests of a group. While it is taken apart, those not judged yet come first: a slow
    /// device may need several ticks for them.
    #[must_use]
    pub fn blocks(&self, group: usize) -> Vec<Block> {
        let Some(group) = self.groups.get(group) else {
            return Vec::new();
        };
        let mut blocks = group.blocks.clone();
        if group.stage == Stage::Parted {
            blocks.sort_by_key(|block| block.values.iter().any(|&item| self.is_judged(item)));
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
        let known = (0..self.items.len()).filter(|&item| !self.is_hole(item));
        let cheapest = known.min_by_key(|&item| self.items.get(item).map(|found| found.span.count));
        self.joined(&[cheapest.unwrap_or(0)])
    }

    /// The exception code of an item that was refused a short while ago.
    #[must_use]
    pub fn known_hole(&self, item: usize, now: Instant) -> Option<u8> {
        match self.verdicts.get(item) {
            Some(&Verdict::Hole { code, again }) if now < again => Some(code),
            _ => None,
        }
    }

    /// An item that was asked for alone was answered.
    pub fn found(&mut self, item: usize) {
        self.judge(item, Verdict::Present);
    }

    /// An item that was asked for alone was refused with exception 2 or 3.
    pub fn refused(&mut self, item: usize, code: u8, now: Instant) {
        self.judge(
            item,
            Verdict::Hole {
                code,
                again: now + HOLE_AGAIN,
            },
        );
    }

    /// A request of the group was answered: while the group is taken apart, this shows what exists.
    pub fn answered(&mut self, group: usize, block: &Block) {
        if self
            .groups
            .get(group)
            .is_some_and(|found| found.stage == Stage::Parted)
        {
            for &item in &block.values {
                self.judge(item, Verdict::Present);
            }
        }
    }

    /// A joined request of the group was refused: from now on in parts, which are returned. What was
    /// known of its values is in doubt.
    pub fn part(&mut self, group: usize, refused: &Block, code: u8) -> Vec<Block> {
        let mut parts = self.joined_without_holes(&refused.values);
        if parts.len() < 2 {
            let (low, high) = refused.values.split_at(refused.values.len() / 2);
            parts = [low, high]
                .into_iter()
                .filter_map(|half| self.joined(half))
                .collect();
        }
        let count = self.values_of(refused).count();
        let Some(found) = self.groups.get_mut(group) else {
            return Vec::new();
        };
        let begins = found.stage != Stage::Parted;
        found.stage = Stage::Parted;
        if begins && found.barren == 0 {
            let (device, reason) = (&self.device, exception_text(code));
            let whole = describe(refused.span);
            warn!(
                device.name = device,
                "Device {device} refuses {whole} in one request ({reason}); it is taken apart to find which of its {count} values exist"
            );
        }
        found.refused.push(refused.span);
        found.blocks.retain(|block| block != refused);
        found.blocks.extend(parts.iter().cloned());
        for &item in &refused.values {
            self.judge(item, Verdict::Unknown);
        }
        parts
    }

    /// Once every value of a parted group is known to exist or not, joins those that exist. If none
    /// does, nothing was learned: a device that is starting refuses everything.
    pub fn rejoin(&mut self, group: usize, now: Instant) {
        let Some(found) = self.groups.get(group) else {
            return;
        };
        let whole = &found.whole;
        if found.stage == Stage::Joined && whole.values.len() > 1 {
            return;
        }
        if whole.values.iter().all(|&item| self.is_hole(item)) {
            self.learn_nothing(group, now);
            return;
        }
        let settled = whole.values.iter().all(|&item| self.is_judged(item));
        if found.stage == Stage::Joined && settled {
            self.whole_answered(group);
            return;
        }
        if found.stage != Stage::Parted || !settled {
            return;
        }
        let (missing, present): (Vec<usize>, Vec<usize>) =
            whole.values.iter().partition(|&&item| self.is_hole(item));
        let joined = self.joined_without_holes(&present);
        let too_long = joined
            .iter()
            .any(|block| found.refused.contains(&block.span));
        let mut blocks = if too_long {
            // No hole explains a refusal: the request was too long for the device. Its parts were not.
            let parts = found.blocks.iter();
            parts
                .filter(|block| block.values.iter().any(|&item| !self.is_hole(item)))
                .cloned()
                .collect()
        } else {
            joined
        };
        let of = self.values_of(whole).count();
        let (device, requests) = (&self.device, blocks.len());
        if missing.is_empty() {
            let whole = describe(whole.span);
            info!(
                device.name = device,
                "Device {device} answers all {of} values of {whole} in {requests} requests; \
                 lower max_gap or max_registers to begin so"
            );
        } else {
            let names = self.names(&missing);
            warn!(
                device.name = device,
                "Device {device} has no register for {names}; the other values take {requests} requests"
            );
        }
        blocks.extend(missing.iter().filter_map(|&item| self.joined(&[item])));
        if let Some(found) = self.groups.get_mut(group) {
            (found.stage, found.blocks) = (Stage::Settled, blocks);
            (found.barren, found.part_again) = (0, None);
            found.whole_again = Some(now + HOLE_AGAIN * (1 << found.silent));
        }
    }

    /// Every value of the group was refused.
    fn learn_nothing(&mut self, group: usize, now: Instant) {
        let Some(found) = self.groups.get_mut(group) else {
            return;
        };
        found.barren = found.barren.saturating_add(1);
        let pause = BARREN_STEP * found.barren.saturating_sub(1).min(150);
        found.part_again = Some(now + pause);
        if found.barren == 1 {
            let (device, whole) = (&self.device, describe(found.whole.span));
            warn!(
                device.name = device,
                "Device {device} refuses every value of {whole}; that says nothing about single ones, \
                 so it is asked for again at every tick"
            );
        }
        self.forget(group);
    }

    /// Back to the one request that was planned first.
    fn forget(&mut self, group: usize) {
        let Some(found) = self.groups.get_mut(group) else {
            return;
        };
        found.stage = Stage::Joined;
        found.blocks = vec![found.whole.clone()];
        found.refused.clear();
        (found.whole_again, found.silent) = (None, 0);
        for &item in &found.whole.values {
            if let Some(slot) = self.verdicts.get_mut(item) {
                *slot = Verdict::Unknown;
            }
        }
    }

    fn joined_without_holes(&self, present: &[usize]) -> Vec<Block> {
        let found = present.iter().filter_map(|&item| self.items.get(item));
        let spans: Vec<Span> = found.map(|item| item.span).collect();
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

    /// One request for these items, whatever lies between them.
    fn joined(&self, items: &[usize]) -> Option<Block> {
        let spans = items
            .iter()
            .filter_map(|&item| self.items.get(item).map(|found| found.span));
        let first = spans.clone().min_by_key(|span| span.address)?;
        let end = spans.map(Span::end).max()?;
        let count = u16::try_from(end.checked_sub(u32::from(first.address))?).ok()?;
        Some(Block {
            span: Span { count, ..first },
            values: items.to_vec(),
        })
    }

    fn names(&self, items: &[usize]) -> String {
        let found = members(&self.items, items).filter_map(|value| self.values.get(value));
        let names: Vec<String> = found
            .map(|value| format!("{} at {}", value.name, describe(value.span)))
            .collect();
        names.join(", ")
    }

    fn is_hole(&self, item: usize) -> bool {
        matches!(self.verdicts.get(item), Some(Verdict::Hole { .. }))
    }

    fn is_judged(&self, item: usize) -> bool {
        self.verdicts
            .get(item)
            .is_some_and(|verdict| *verdict != Verdict::Unknown)
    }

    fn judge(&mut self, item: usize, verdict: Verdict) {
        if let Some(slot) = self.verdicts.get_mut(item) {
            *slot = verdict;
        }
    }
}

#[cfg(test)]
mod tests;
