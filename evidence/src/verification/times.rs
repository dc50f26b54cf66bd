//! Between which moments an entry was sealed, and who says so.
//!
//! *Not after*: a cosigned tree that holds the entry existed at the cosignature's time. *Not before*:
//! an entry that pins the hash of a cosigned note was sealed after that note was. Both come from
//! witnesses of the verifier's policy; the gateway's own clock proves nothing.

use std::collections::HashMap;

use super::{Failure, Problem, Trust};
use crate::bundle::{FileSpan, ReadAt, Timestamp, Trail};
use crate::checkpoint::Checkpoint;
use crate::entry::{Freshness, FreshnessKind};
use crate::hash::{Hash, sha256};
use crate::note::{Note, Vkey};
use crate::policy::{Met, Policy};
use crate::timestamp::{Roots, Token};

/// The widths, in seconds, by which brackets are counted: 5 and 70 minutes, a day, a week.
pub const WIDTHS_S: [u64; 4] = [300, 4_200, 86_400, 604_800];

/// What is proven about when one entry was sealed, in unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bracket {
    /// Not before; none when no trusted statement was pinned yet.
    pub after: Option<u64>,
    /// Not after; none when the policy asks for no witness.
    pub before: Option<u64>,
}

/// How the ticks of the period lie in time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TimeFacts {
    /// Measured ticks by width of their bracket: one number per [`WIDTHS_S`], then wider ones.
    pub within: [u64; 5],
    /// Measured ticks with an upper bound only.
    pub no_lower: u64,
    /// Measured ticks without an upper bound.
    pub no_upper: u64,
    /// The widest bracket, seconds.
    pub widest_s: u64,
    /// The longest time between a claimed time and the statement that bounds it, seconds.
    pub latest_s: u64,
    /// Measured ticks per class: 0 gateway only, 1 collector, 2 independent witness.
    pub classes: [u64; 3],
    /// The same in runs of entries, in index order.
    pub runs: Vec<ClassRun>,
    /// Entries that pin a note which is in the bundle and trusted.
    pub pins_trusted: u64,
    /// Entries that pin a statement which is not: it proves nothing.
    pub pins_unknown: u64,
    /// Entries that claim a time outside their bracket.
    pub outside: u64,
    /// Timestamps over trail notes.
    pub timestamps: u64,
    /// Those that an authority of the verifier's own roots made.
    pub timestamps_verified: u64,
    /// Whether the verifier gave roots, so that they were looked into.
    pub timestamps_checked: bool,
    /// Why the first of the others is not among them.
    pub timestamp_error: Option<String>,
    /// Measured ticks that a verified timestamp covers within the largest delay.
    pub stamped: u64,
}

/// Entries one behind the other whose measured ticks have the same assurance class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassRun {
    /// The class.
    pub class: u8,
    /// The first entry.
    pub first: u64,
    /// The last one.
    pub last: u64,
    /// The end of the first one's ticks, unix milliseconds.
    pub from_ms: i64,
    /// The end of the last one's.
    pub to_ms: i64,
}

/// Runs beyond this many are only counted.
const MOST_RUNS: usize = 10_000;

/// What holds for entries below one size and not below the next smaller one.
#[derive(Debug, Clone, Copy)]
struct Step {
    size: u64,
    not_after: Option<u64>,
    /// When an independent witness had vouched and the quorum stood.
    independent: Option<u64>,
    witnessed: bool,
}

/// The notes of one log.
#[derive(Debug)]
pub(super) struct Times {
    /// Ascending by size.
    steps: Vec<Step>,
    /// Sizes and roots that the log signed, ascending, one per size.
    pub(super) roots: Vec<(u64, Hash)>,
    pins: HashMap<Hash, u64>,
    /// Sizes of stamped trees, ascending, each with the earliest time of it and all larger ones.
    stamps: Vec<(u64, u64)>,
    pub(super) cosigned: Vec<(String, u64)>,
    pub(super) quorum_met: u64,
    newest_pin: Option<u64>,
    pub(super) facts: TimeFacts,
    pub(super) first_outside: Option<(u64, i64, String)>,
}

/// What is proven about the time of one entry.
pub(super) struct Judged {
    pub(super) bracket: Bracket,
    /// 0 its own signature only, 1 witnessed, 2 witnessed independently and in time.
    pub(super) class: usize,
    /// How the claimed time lies outside its bracket.
    pub(super) broken: Option<String>,
}

struct Read {
    size: u64,
    root: Hash,
    times: Vec<Option<u64>>,
    hash: Hash,
}

/// Reads a note, checks the log's signature and every cosignature of a witness of the policy.
fn read_note(bytes: &[u8], anchor: &Vkey, policy: &Policy) -> Result<(Read, bool), String> {
    let note = Note::parse(bytes).map_err(|error| error.to_string())?;
    let checkpoint = Checkpoint::open(&note, anchor).map_err(|error| error.to_string())?;
    let quorum = policy.evaluate(&note).map_err(|error| error.to_string())?;
    let times = policy
        .witnesses()
        .iter()
        .map(|(name, _)| {
            quorum
                .valid
                .iter()
                .find(|(by, _)| by == name)
                .map(|(_, time)| *time)
        })
        .collect();
    let read = Read {
        size: checkpoint.size,
        root: checkpoint.root,
        times,
        hash: sha256(bytes),
    };
    Ok((read, quorum.met))
}

impl Times {
    /// Reads and checks all notes; `final_note` is the checkpoint, whose size bounds all others.
    pub(super) fn read(
        source: &dyn ReadAt,
        checkpoint: &FileSpan,
        (trail, timestamps): (&[Trail], &[Timestamp]),
        final_note: &[u8],
        anchor: &Vkey,
        trust: &Trust,
    ) -> Result<(Self, Checkpoint), Failure> {
        let at_checkpoint =
            |problem: Problem| Failure::new(problem).at(&checkpoint.path, checkpoint.offset);
        let (last, met) = read_note(final_note, anchor, &trust.policy)
            .map_err(|error| at_checkpoint(Problem::Checkpoint(error)))?;
        if !met {
            let by: Vec<&str> = trust
                .policy
                .witnesses()
                .iter()
                .zip(&last.times)
                .filter(|(_, time)| time.is_some())
                .map(|((name, _), _)| name.as_str())
                .collect();
            let found = if by.is_empty() {
                "nobody of the policy".to_owned()
            } else {
                by.join(", ")
            };
            return Err(at_checkpoint(Problem::Quorum {
                quorum: trust.policy.describe(),
                found,
            }));
        }
        let checkpoint = Checkpoint {
            origin: crate::hash::Origin::parse(anchor.name())
                .map_err(|error| at_checkpoint(Problem::Checkpoint(error.to_string())))?,
            size: last.size,
            root: last.root,
        };
        let mut notes = Vec::with_capacity(trail.len() + 1);
        let mut quorum_met = 0;
        for file in trail {
            let (note, met) = trail_note(
                source,
                &file.note,
                file.size,
                checkpoint.size,
                anchor,
                trust,
            )?;
            quorum_met += u64::from(met);
            notes.push(note);
        }
        let mut facts = TimeFacts::default();
        let stamps = stamps(source, timestamps, &notes, trust, &mut facts)?;
        // The final note is usually the last trail note too; its times are taken once.
        if !notes.iter().any(|note| note.hash == last.hash) {
            notes.push(last);
            quorum_met += 1;
        }
        let cosigned = trust
            .policy
            .witnesses()
            .iter()
            .enumerate()
            .map(|(i, (name, _))| {
                let count = notes
                    .iter()
                    .filter(|note| note.times.get(i).is_some_and(Option::is_some))
                    .count();
                (name.clone(), u64::try_from(count).unwrap_or(u64::MAX))
            })
            .collect();
        let mut roots: Vec<(u64, Hash)> = Vec::new();
        for note in &notes {
            match roots.last() {
                Some((size, root)) if *size == note.size && *root != note.root => {
                    let problem = Problem::Trail(format!(
                        "two signed trees of size {size} differ: the log is forked"
                    ));
                    return Err(Failure::new(problem));
                }
                Some((size, _)) if *size == note.size => {}
                _ => roots.push((note.size, note.root)),
            }
        }
        let pins = notes
            .iter()
            .filter_map(|note| {
                note.times
                    .iter()
                    .flatten()
                    .min()
                    .map(|time| (note.hash, *time))
            })
            .collect();
        let times = Self {
            steps: steps(&notes, trust),
            roots,
            pins,
            cosigned,
            quorum_met,
            stamps,
            newest_pin: None,
            facts,
            first_outside: None,
        };
        Ok((times, checkpoint))
    }

    /// The size of the largest tree that the policy was met for before a moment: entries below it were
    /// seen by then.
    pub(super) fn covered_before(&self, unix_s: u64) -> u64 {
        self.steps
            .iter()
            .filter(|step| step.not_after.is_some_and(|time| time < unix_s))
            .map(|step| step.size)
            .max()
            .unwrap_or(0)
    }

    /// Takes the freshness of the next entry.
    pub(super) fn pin(&mut self, freshness: Option<&Freshness>) {
        let Some(freshness) = freshness else { return };
        let known = (freshness.kind == FreshnessKind::CosignedNote)
            .then(|| self.pins.get(&freshness.hash))
            .flatten();
        match known {
            Some(time) => {
                self.facts.pins_trusted += 1;
                self.newest_pin = self.newest_pin.max(Some(*time));
            }
            None => self.facts.pins_unknown += 1,
        }
    }

    /// What is proven about when entry `index` was sealed, which claims `claimed_ms`.
    pub(super) fn judge(&self, index: u64, claimed_ms: i64, trust: &Trust) -> Judged {
        let step = self
            .steps
            .get(self.steps.partition_point(|step| step.size <= index));
        let bracket = Bracket {
            after: self.newest_pin,
            before: step.and_then(|step| step.not_after),
        };
        let claimed_s = u64::try_from(claimed_ms.div_euclid(1000)).unwrap_or(0);
        let independent = step
            .and_then(|step| step.independent)
            .is_some_and(|time| time <= claimed_s.saturating_add(trust.max_delay_s));
        let class = if independent {
            2
        } else {
            usize::from(step.is_some_and(|step| step.witnessed))
        };
        let ms = |seconds: u64| {
            i64::try_from(seconds)
                .unwrap_or(i64::MAX / 1000)
                .saturating_mul(1000)
        };
        let broken = match bracket {
            Bracket {
                before: Some(before),
                ..
            } if claimed_ms > ms(before).saturating_add(trust.tolerance_ms) => {
                Some(format!("but witnesses had seen it at {}", utc(ms(before))))
            }
            Bracket {
                after: Some(after), ..
            } if claimed_ms < ms(after).saturating_sub(trust.tolerance_ms) => {
                Some(format!("but it was sealed after {}", utc(ms(after))))
            }
            _ => None,
        };
        Judged {
            bracket,
            class,
            broken,
        }
    }

    /// Holds entry `index` to its bracket: its ticks, data or gap, end at `end_ms`. `measured` of them
    /// are counted in the period.
    pub(super) fn place(&mut self, index: u64, measured: u64, end_ms: i64, trust: &Trust) {
        let Judged {
            bracket,
            class,
            broken,
        } = self.judge(index, end_ms, trust);
        let claimed_s = u64::try_from(end_ms.div_euclid(1000)).unwrap_or(0);
        let facts = &mut self.facts;
        match (bracket.after, bracket.before) {
            (_, None) => facts.no_upper += measured,
            (None, Some(_)) => facts.no_lower += measured,
            (Some(after), Some(before)) => {
                let width = before.saturating_sub(after);
                let slot = WIDTHS_S
                    .iter()
                    .position(|most| width <= *most)
                    .unwrap_or(WIDTHS_S.len());
                if let Some(count) = facts.within.get_mut(slot) {
                    *count += measured;
                }
                if measured > 0 {
                    facts.widest_s = facts.widest_s.max(width);
                }
            }
        }
        if let Some(before) = bracket.before.filter(|_| measured > 0) {
            facts.latest_s = facts.latest_s.max(before.saturating_sub(claimed_s));
        }
        if let Some(count) = facts.classes.get_mut(class) {
            *count += measured;
        }
        let stamp = self.stamps.partition_point(|(size, _)| *size <= index);
        if let Some((_, time)) = self.stamps.get(stamp)
            && *time <= claimed_s.saturating_add(trust.max_delay_s)
        {
            facts.stamped += measured;
        }
        if measured > 0 {
            note_run(&mut facts.runs, class, index, end_ms);
        }
        if let Some(bound) = broken {
            facts.outside += 1;
            self.first_outside.get_or_insert((index, end_ms, bound));
        }
    }
}

fn note_run(runs: &mut Vec<ClassRun>, class: usize, index: u64, end_ms: i64) {
    let class = u8::try_from(class).unwrap_or(0);
    let full = runs.len() >= MOST_RUNS;
    match runs.last_mut() {
        Some(run) if run.class == class => (run.last, run.to_ms) = (index, end_ms),
        _ if full => {}
        _ => runs.push(ClassRun {
            class,
            first: index,
            last: index,
            from_ms: end_ms,
            to_ms: end_ms,
        }),
    }
}

fn trail_note(
    source: &dyn ReadAt,
    file: &FileSpan,
    size: u64,
    most: u64,
    anchor: &Vkey,
    trust: &Trust,
) -> Result<(Read, bool), Failure> {
    let limit = u64::try_from(Note::MAX_BYTES).unwrap_or(u64::MAX);
    let bytes = file.read(source, limit).map_err(Failure::new)?;
    let refuse = |text: String| Failure::new(Problem::Trail(text)).at(&file.path, file.offset);
    let (note, met) = read_note(&bytes, anchor, &trust.policy).map_err(refuse)?;
    if note.size != size {
        return Err(refuse(format!(
            "the file is named {size}, the note states size {}",
            note.size
        )));
    }
    if size > most {
        return Err(refuse(format!(
            "its size {size} is beyond the final checkpoint's {most}"
        )));
    }
    Ok((note, met))
}

/// Reads the timestamps. A verified one over a note says that the note's tree existed at its time; that
/// the tree is this log's is proven where the note's root is reproduced.
fn stamps(
    source: &dyn ReadAt,
    files: &[Timestamp],
    notes: &[Read],
    trust: &Trust,
    facts: &mut TimeFacts,
) -> Result<Vec<(u64, u64)>, Failure> {
    let limit = u64::try_from(Token::MAX_BYTES).unwrap_or(u64::MAX);
    facts.timestamps_checked = trust.timestamp_roots.is_some();
    let mut stamps: Vec<(u64, u64)> = Vec::new();
    for file in files {
        let bytes = file.answer.read(source, limit).map_err(Failure::new)?;
        let Some(note) = notes.get(file.trail) else {
            continue;
        };
        if !bytes
            .windows(32)
            .any(|window| window == note.hash.as_bytes())
        {
            let text = "the timestamp is not over the trail note of its name".to_owned();
            let failure = Failure::new(Problem::Trail(text));
            return Err(failure.at(&file.answer.path, file.answer.offset));
        }
        facts.timestamps += 1;
        let Some(roots) = &trust.timestamp_roots else {
            continue;
        };
        match verified(&bytes, note.hash, roots) {
            Ok(time_s) => {
                facts.timestamps_verified += 1;
                stamps.push((note.size, time_s));
            }
            Err(why) => {
                facts.timestamp_error.get_or_insert(why);
            }
        }
    }
    stamps.sort_unstable();
    let mut earliest = u64::MAX;
    for (_size, time) in stamps.iter_mut().rev() {
        earliest = earliest.min(*time);
        *time = earliest;
    }
    Ok(stamps)
}

/// The time of a timestamp over this hash that an authority under these roots made.
fn verified(answer: &[u8], hash: Hash, roots: &Roots) -> Result<u64, String> {
    let token = Token::parse(answer).map_err(|error| error.to_string())?;
    if token.imprint != hash {
        return Err("the timestamp is over something else".to_owned());
    }
    token.verify(roots).map_err(|error| error.to_string())?;
    Ok(token.time_s)
}

/// For every size, what the notes of that size and larger ones say together.
fn steps(notes: &[Read], trust: &Trust) -> Vec<Step> {
    let policy = &trust.policy;
    let collector = trust.collector.as_deref();
    let mut earliest: Vec<Option<u64>> = vec![None; policy.witnesses().len()];
    let mut by_size: Vec<&Read> = notes.iter().collect();
    by_size.sort_by_key(|note| std::cmp::Reverse(note.size));
    let mut steps: Vec<Step> = Vec::new();
    for note in by_size {
        for (slot, time) in earliest.iter_mut().zip(&note.times) {
            *slot = match (*slot, *time) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        let met = policy.met(&earliest);
        let not_after = if let Met::At(time) = met {
            Some(time)
        } else {
            None
        };
        let outside = policy
            .witnesses()
            .iter()
            .zip(&earliest)
            .filter(|((name, _), _)| collector.is_some_and(|collector| collector != name))
            .filter_map(|(_, time)| *time)
            .min();
        let independent = match (outside, met) {
            (Some(outside), Met::At(time)) => Some(outside.max(time)),
            (Some(outside), Met::Always) => Some(outside),
            _ => None,
        };
        let step = Step {
            size: note.size,
            not_after,
            independent,
            witnessed: earliest.iter().any(Option::is_some),
        };
        match steps.last_mut() {
            Some(last) if last.size == step.size => *last = step,
            _ => steps.push(step),
        }
    }
    steps.reverse();
    steps
}

/// A time for people; unix milliseconds in, `2026-01-01 00:00:00Z` out.
#[must_use]
pub(super) fn utc(ms: i64) -> String {
    let seconds = ms.div_euclid(1000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Howard Hinnant's civil-from-days: the era of 400 years that begins on 1 March.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute) = (second / 3600, second % 3600 / 60);
    format!(
        "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{:02}Z",
        second % 60
    )
}
