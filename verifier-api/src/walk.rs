//! Walking a log from the store through the state machine that checks everything.
//!
//! A report and the bundle that proves it rest on the same entries: those of a [`Span`]. The walk
//! begins in the middle of the log, from the control entries before, and ends at a size with a
//! cosigned checkpoint, whose root must come out.

use evidence::chain::{Applied, Chain};
use evidence::checkpoint::Checkpoint;
use evidence::entry::{Body, GapReason};
use evidence::hash::Hash;
use evidence::note::{Note, Vkey};
use evidence::segment::{Segment, tick_time};
use store::{Log, Row, Store};

use crate::app::App;
use crate::facts::{Facts, control_rows};
use crate::nodes;
use crate::problem::{Answer, Problem};

/// Entries before the period's start that are walked too, so that each stream has one that begins
/// before it: segments are at most an hour long.
const BEFORE_MS: i64 = 2 * 3_600_000;
/// Entries fetched at once.
const PAGE: u32 = 256;

/// The entries `[first, size)` of a log, under a cosigned checkpoint of `size`.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) log: Log,
    pub(crate) first: u64,
    pub(crate) size: u64,
    /// The checkpoint's note.
    pub(crate) note: Vec<u8>,
    /// Until when the slowest stream of the newest configuration has entries, if all have some.
    pub(crate) reaches_ms: Option<i64>,
    /// The last entry that counts, where another log of the plan continues this one.
    pub(crate) counts_to: Option<u64>,
}

/// Finds the entries that a period needs. Where another log continues this one, the entry that it
/// names is among them, however late: a verifier checks the hand-over.
pub(crate) async fn span(
    store: &Store,
    log: &Log,
    time_ms: std::ops::Range<i64>,
    counts_to: Option<u64>,
) -> Answer<Span> {
    let (start_ms, end_ms) = (time_ms.start, time_ms.end);
    let head = store.head(log.log).await?;
    let head = head.ok_or_else(|| Problem::not_found("log"))?;
    let facts = Facts::load(store, head.log.clone()).await?;
    let mut streams: Vec<u16> = facts
        .configs()
        .iter()
        .flat_map(|config| config.config.streams.iter().map(|stream| stream.id))
        .collect();
    streams.sort_unstable();
    streams.dedup();

    let mut first: Option<u64> = None;
    let mut needed = Some(counts_to.map_or(0, |last| last.saturating_add(1)));
    for stream in &streams {
        let begins = beginning(store, &facts, *stream, start_ms, end_ms).await?;
        first = first.into_iter().chain(begins).min();
        let after = end_ms..end_ms.saturating_add(BEFORE_MS);
        let found = store
            .segments_between(log.log, *stream, after, None, 1, false)
            .await?;
        needed = needed
            .zip(found.first())
            .map(|(most, row): (u64, &Row)| most.max(row.index + 1));
    }
    let mut span = Span {
        first: first.unwrap_or(head.log.size.saturating_sub(1)),
        size: head.log.size,
        note: head.note,
        reaches_ms: reaches(store, &facts).await?,
        counts_to,
        log: head.log,
    };
    if let Some(needed) = needed.filter(|needed| *needed > span.first) {
        shorten(store, &mut span, needed).await?;
    }
    Ok(span)
}

/// The entry from which on a stream is known for a period: one that begins before the period, or
/// the configuration that brought the stream, if it began inside. None if it has nothing to do with
/// the period.
async fn beginning(
    store: &Store,
    facts: &Facts,
    stream: u16,
    start_ms: i64,
    end_ms: i64,
) -> Answer<Option<u64>> {
    let times = |row: &Row| row.segment.and_then(|segment| segment.time_ms);
    let mut found = None;
    // A narrow look first: it is nearly always enough, and the store sorts little for it.
    for around in [
        start_ms.saturating_sub(BEFORE_MS)..start_ms.saturating_add(1),
        start_ms..end_ms,
    ] {
        let rows = store
            .segments_between(facts.log.log, stream, around, None, 1, false)
            .await?;
        let Some(row) = rows.into_iter().next() else {
            continue;
        };
        if times(&row).is_some_and(|(from, _)| from < start_ms) {
            return Ok(Some(row.index));
        }
        found = Some(row);
        break;
    }
    // Nothing begins shortly before: there was a long gap, or no stream yet.
    let mut end = found.as_ref().map_or(facts.log.size, |row| row.index);
    let least = facts.introduced(stream).unwrap_or(0);
    while end > least {
        let from = end.saturating_sub(PAGE.into()).max(least);
        let rows = store.rows(facts.log.log, from..end, PAGE, false).await?;
        let before = rows.iter().rev().find(|row| {
            let ours = row.segment.is_some_and(|segment| segment.stream == stream);
            ours && times(row).is_some_and(|(from, _)| from < start_ms)
        });
        if let Some(row) = before {
            return Ok(Some(row.index));
        }
        end = from;
    }
    Ok(found.map(|_| least))
}

/// Takes an early kept checkpoint at or after the size needed, unless a later entry still says
/// something about the entries before it. Of those of some days the one with most signatures, of
/// equal ones the earliest: a verifier's policy must be met by it alone.
async fn shorten(store: &Store, span: &mut Span, needed: u64) -> Answer<()> {
    use evidence::control::Control;

    /// Kept are one an hour and one for each independent cosignature.
    const NOTES: usize = 100;
    let signatures = |note: &[u8]| Note::parse(note).map_or(0, |note| note.signatures.len());
    let notes = store
        .trail_notes_by_size(span.log.log, needed, span.size)
        .await?;
    let best = notes
        .into_iter()
        .take(NOTES)
        .rev()
        .max_by_key(|kept| signatures(&kept.note));
    let Some(kept) = best.filter(|kept| signatures(&kept.note) >= signatures(&span.note)) else {
        return Ok(());
    };
    for row in control_rows(store, &span.log, span.size).await? {
        if row.index < kept.size {
            continue;
        }
        let earliest = match crate::facts::decode(&row) {
            Ok(Control::Clock(event)) => event.placed.iter().map(|placed| placed.from).min(),
            Ok(Control::Dropped { from, .. }) => Some(from),
            _ => None,
        };
        if earliest.is_some_and(|from| from < kept.size) {
            return Ok(());
        }
    }
    span.size = kept.size;
    span.note = kept.note;
    Ok(())
}

/// Until when every stream of the newest configuration has entries.
async fn reaches(store: &Store, facts: &Facts) -> Answer<Option<i64>> {
    let Some(config) = facts.config() else {
        return Ok(None);
    };
    let mut least = Some(i64::MAX);
    for stream in &config.config.streams {
        let latest = latest(store, facts, stream.id).await?;
        least = least.zip(latest).map(|(least, latest)| least.min(latest));
    }
    Ok(least.filter(|ms| *ms != i64::MAX))
}

/// The end of a stream's newest entry, found backwards from the head.
pub(crate) async fn latest(store: &Store, facts: &Facts, stream: u16) -> Answer<Option<i64>> {
    let mut end = facts.log.size;
    while end > 0 {
        let start = end.saturating_sub(PAGE.into());
        let rows = store.rows(facts.log.log, start..end, PAGE, false).await?;
        let of_stream = |row: &&Row| row.segment.is_some_and(|segment| segment.stream == stream);
        if let Some(row) = rows.iter().rev().find(of_stream) {
            return Ok(row
                .segment
                .and_then(|segment| segment.time_ms)
                .map(|(_, to)| to));
        }
        end = start;
    }
    Ok(None)
}

/// What a walk meets.
pub(crate) enum Met<'a> {
    /// A data entry with its readings; its shift is filled in where a later entry gave it.
    Segment(&'a Segment),
    /// A gap entry: stream, from, to, reason.
    Gap(u16, i64, i64, &'static str),
}

/// A walk through one span; it owns all it needs and never waits, so it can run on any thread.
#[derive(Debug)]
pub(crate) struct Walker {
    facts: Facts,
    chain: Chain,
    span: Span,
    anchor: Vkey,
}

impl Walker {
    /// Reads the control entries and prepares the walk. `anchor` is the key that the checkpoint must
    /// carry.
    pub(crate) async fn begin(store: &Store, span: &Span, anchor: Vkey) -> Answer<Self> {
        let controls = control_rows(store, &span.log, span.size).await?;
        let range = nodes::range(store, span.log.log, span.first).await?;
        let before = controls.iter().filter(|row| row.index < span.first);
        let before = before.map(|row| (&*row.entry, row.payload.as_deref()));
        let facts = Facts::of_rows(span.log.clone(), &controls)?;
        let chain = Chain::resume(facts.origin.clone(), range, before)
            .map_err(|(index, rejection)| facts.damaged(index, rejection.to_string()))?;
        Ok(Self {
            facts,
            chain,
            span: span.clone(),
            anchor,
        })
    }

    /// Checks the next entries and hands the readings and gaps among them to `each`:
    /// origin, index, leaf hash and what it is.
    pub(crate) fn take<E>(&mut self, rows: &[Row], each: &mut E) -> Answer<()>
    where
        E: FnMut(&str, u64, &Hash, Met<'_>) -> Answer<()>,
    {
        rows.iter().try_for_each(|row| self.take_one(row, each))
    }

    fn take_one<E>(&mut self, row: &Row, each: &mut E) -> Answer<()>
    where
        E: FnMut(&str, u64, &Hash, Met<'_>) -> Answer<()>,
    {
        let facts = &self.facts;
        let applied = self
            .chain
            .apply(&row.entry, row.payload.as_deref())
            .map_err(|rejection| facts.damaged(row.index, rejection.to_string()))?;
        let Applied {
            entry,
            leaf,
            segment,
            shift,
            tick_ms,
            ..
        } = applied;
        let origin = facts.origin.as_str();
        // What a replaced gateway goes on to seal is checked and does not count.
        if self.span.counts_to.is_some_and(|last| row.index > last) {
            return Ok(());
        }
        let dropped = matches!(entry.body, Body::Data { .. }) && facts.is_dropped(row.index);
        if let Some(mut segment) = segment.filter(|_| !dropped) {
            if segment.shift.is_none() {
                segment.shift = facts.placement(segment.ticks.stream, row.index);
            }
            return each(origin, row.index, &leaf, Met::Segment(&segment));
        }
        let (ticks, reason) = match &entry.body {
            Body::Gap { ticks, reason, .. } => (ticks, *reason),
            Body::Data { ticks, .. } if dropped => (ticks, GapReason::Storage),
            _ => return Ok(()),
        };
        let shift = shift.or_else(|| facts.placement(ticks.stream, row.index));
        let times = shift.and_then(|shift| {
            Some((
                tick_time(ticks.first, shift, tick_ms)?,
                tick_time(ticks.end(), shift, tick_ms)?,
            ))
        });
        let Some((from, to)) = times else {
            return Ok(());
        };
        each(
            origin,
            row.index,
            &leaf,
            Met::Gap(ticks.stream, from, to, reason.name()),
        )
    }

    /// Ends the walk: all of it must be what the checkpoint signs.
    pub(crate) fn finish(&self) -> Answer<()> {
        finish(&self.chain, &self.facts, &self.span, &self.anchor)
    }
}

/// The next page of a span's rows, from index `next` on; empty when there are no more.
pub(crate) async fn page(store: &Store, span: &Span, next: u64) -> Answer<Vec<Row>> {
    if next >= span.size {
        return Ok(Vec::new());
    }
    let rows = store
        .rows(span.log.log, next..span.size, PAGE, true)
        .await?;
    if rows.is_empty() {
        let text = format!("log {}: entry {next} is not in the store", span.log.origin);
        return Err(Problem::internal(&text));
    }
    Ok(rows)
}

/// The root that came out must be the one that the log signed and the collector cosigned.
fn finish(chain: &Chain, facts: &Facts, span: &Span, anchor: &Vkey) -> Answer<()> {
    let last = span.size.saturating_sub(1);
    let note = Note::parse(&span.note).map_err(|error| facts.damaged(last, error.to_string()))?;
    let checkpoint = Checkpoint::open(&note, anchor)
        .map_err(|error| facts.damaged(last, format!("its checkpoint: {error}")))?;
    if checkpoint.size != chain.size() || checkpoint.root != chain.root() {
        let why = "the tree of the stored entries is not the one of the cosigned checkpoint";
        return Err(facts.damaged(last, why.to_owned()).into());
    }
    let mut absent = chain.undeclared_absent().iter();
    match absent.find(|(from, to)| !(*from..=*to).all(|index| facts.is_dropped(index))) {
        None => Ok(()),
        Some((from, _)) => {
            let why = "its payload is missing and was not declared dropped";
            Err(facts.damaged(*from, why.to_owned()).into())
        }
    }
}

/// The log of the plan in the store.
pub(crate) async fn planned_log(app: &App, log: &quantification::plan::Log) -> Answer<Log> {
    let missing = || {
        Problem::conflict(format!(
            "the plan's log `{}` is not enrolled yet",
            log.origin
        ))
    };
    let id = store::LogId::of_origin(log.origin.as_str());
    let (at, _token) = app.store.locate(id).await?.ok_or_else(missing)?;
    let stored = app.store.log(at).await?.ok_or_else(missing)?;
    if stored.log_key != *log.anchor.key().bytes() {
        let detail = format!(
            "the log `{}` was enrolled with another key than the plan's anchor {}",
            log.origin, log.anchor
        );
        return Err(Problem::refused(detail));
    }
    Ok(stored)
}
