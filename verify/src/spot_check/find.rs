//! Finding the readings in a bundle: three passes over the entries, none of which holds a log.
//!
//! The first counts what can be drawn; the second takes the entries in order with every check of the
//! proof that needs it, and checks the chosen ones wholly; the third collects the chosen ones' paths.

use std::collections::BTreeMap;

use anyhow::Context as _;
use evidence::bundle::{Bundle, BundleLog, ReadAt, parse_range_start};
use evidence::entry::{Body, Entry};
use evidence::hash::leaf_hash;
use evidence::merkle::{LeafHashes, inclusion_proof};
use evidence::note::Note;
use evidence::proof::TlogProof;
use evidence::spot::{NO_SAMPLE, Paths, SpotProof, TableProof, chunks_of};
use evidence::verification::{
    Approvals, Failure, Frames, LogRole, LogVerifier, Problem, Task, Trust,
};

use super::draw::{Draw, fresh_seed};
use super::{Outcome, Trusted, nothing};
use crate::Progress;
use crate::args::SpotCheckArgs;

/// How much of `entries.bin` is read at once.
const PIECE_BYTES: usize = 768 << 10;

/// What is to be proven.
#[derive(Debug)]
pub(super) enum Wanted {
    Random { count: u16, seed: String },
    One { point: String, at_ms: i64 },
}

impl Wanted {
    pub(super) fn new(args: &SpotCheckArgs) -> anyhow::Result<Self> {
        if let (Some(point), Some(at)) = (&args.point, &args.at) {
            let at_ms = quantification::period::instant_ms(at).with_context(|| {
                format!("--at {at}: not a time; write it like 2026-02-11T03:14:05Z")
            })?;
            return Ok(Self::One {
                point: point.clone(),
                at_ms,
            });
        }
        let seed = args.seed.clone().map_or_else(fresh_seed, Ok)?;
        Ok(Self::Random {
            count: args.random.unwrap_or(1),
            seed,
        })
    }

    pub(super) fn seed(&self) -> Option<&str> {
        match self {
            Self::Random { seed, .. } => Some(seed),
            Self::One { .. } => None,
        }
    }
}

/// A reading and everything that proves it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) origin: String,
    pub(super) proof: SpotProof,
    /// The entry of the configuration in force and its proof.
    pub(super) table: (u64, TableProof),
    pub(super) at_ms: Option<i64>,
}

/// What is chosen of one log.
enum Choice {
    /// Ascending numbers of readings, counted over the log.
    Numbers(Vec<u64>),
    One {
        point: String,
        at_ms: i64,
    },
}

/// Everything that is wanted, in the order of the log.
///
/// # Errors
/// Outside: the verifier's own files. Inside: the first check that fails.
pub(super) fn find(
    source: &dyn ReadAt,
    bundle: &Bundle,
    trusted: &Trusted,
    wanted: &Wanted,
    outcome: &mut Outcome,
    progress: Progress<'_>,
) -> anyhow::Result<Result<Vec<Found>, Failure>> {
    let trust = Trust {
        policy: trusted.policy.clone(),
        collector: None,
        from_ms: 0,
        to_ms: 0,
        tolerance_ms: 300_000,
        max_delay_s: 86_400,
        approvers: Vec::new(),
        approvals: Approvals::Reported,
        revocations: Vec::new(),
        timestamp_roots: None,
    };
    let mut logs = Vec::new();
    for files in &bundle.logs {
        let name = files.origin.read(source, 1_024).unwrap_or_default();
        let origin = String::from_utf8_lossy(&name).trim_end().to_owned();
        let anchor = trusted.anchor(&origin)?;
        match LogVerifier::open(source, files, anchor, &trust, LogRole::default()) {
            Ok(verifier) => logs.push((origin, files, verifier)),
            Err(failure) => return Ok(Err(failure)),
        }
    }
    let all: u64 = logs.iter().map(|(_, _, verifier)| verifier.entries()).sum();
    let mut counts = Vec::new();
    for (_, files, verifier) in &logs {
        let count = match wanted {
            Wanted::Random { .. } => count(source, files, verifier),
            Wanted::One { .. } => Ok(0),
        };
        match count {
            Ok(count) => counts.push(count),
            Err(failure) => return Ok(Err(failure)),
        }
    }
    outcome.drawn_from = counts.iter().sum();
    let mut choices: Vec<Choice> = match wanted {
        Wanted::One { point, at_ms } => counts
            .iter()
            .map(|_| Choice::One {
                point: point.clone(),
                at_ms: *at_ms,
            })
            .collect(),
        Wanted::Random { .. } if outcome.drawn_from == 0 => {
            let text = "the bundle shows no reading that could be drawn".to_owned();
            return Ok(Err(nothing(text)));
        }
        Wanted::Random { count, seed } => drawn(&counts, *count, seed),
    };
    let (mut found, mut done) = (Vec::new(), 0);
    for ((origin, files, verifier), choice) in logs.into_iter().zip(choices.drain(..)) {
        let mut advanced = || {
            done += 1;
            progress(done, all);
        };
        let of_log = Log {
            source,
            files,
            origin,
        };
        match of_log.find(verifier, &choice, outcome, &mut advanced) {
            Ok(more) => found.extend(more),
            Err(failure) => return Ok(Err(failure)),
        }
    }
    if let (true, Wanted::One { point, at_ms }) = (found.is_empty(), wanted) {
        let at = quantification::period::utc(*at_ms);
        if outcome.failures.is_empty() {
            let text = format!("the bundle shows no reading of point `{point}` at {at}");
            return Ok(Err(nothing(text)));
        }
    }
    Ok(Ok(found))
}

/// The numbers drawn, per log, ascending.
fn drawn(counts: &[u64], count: u16, seed: &str) -> Vec<Choice> {
    let all = counts.iter().sum();
    let mut draw = Draw::new(seed.to_owned());
    let mut numbers: Vec<u64> = (0..count).map(|_| draw.below(all)).collect();
    numbers.sort_unstable();
    let mut begin = 0;
    let own = |count: &u64| {
        let end = begin + count;
        let mine = numbers
            .iter()
            .filter(|number| (begin..end).contains(*number));
        let choice = Choice::Numbers(mine.map(|number| number - begin).collect());
        begin = end;
        choice
    };
    counts.iter().map(own).collect()
}

/// How many readings of a data entry are shown, columns of messages counted like polled ones.
fn weight(entry: &Entry, shown: &[(u64, BTreeMap<u16, u64>)]) -> u64 {
    let Body::Data { ticks, .. } = &entry.body else {
        return 0;
    };
    let before = shown.partition_point(|(config, _)| *config < entry.index);
    let in_force = before.checked_sub(1).and_then(|at| shown.get(at));
    let points = in_force.and_then(|(_, points)| points.get(&ticks.stream));
    ticks.count.saturating_mul(points.copied().unwrap_or(0))
}

/// Hands over every entry of `entries.bin` with its position, without any check of order.
fn each_entry(
    source: &dyn ReadAt,
    files: &BundleLog,
    mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut at = 0;
    while at < files.entries.size {
        let left = usize::try_from(files.entries.size - at).unwrap_or(usize::MAX);
        let mut piece = vec![0; left.min(PIECE_BYTES)];
        let from = files.entries.offset + at;
        source
            .read_exact_at(&mut piece, from)
            .map_err(|error| Failure::new(evidence::bundle::BundleError::Io(error)))?;
        let mut whole = 0;
        for (begin, entry) in Frames::new(&piece, 0) {
            take(entry)?;
            whole = begin + u64::try_from(entry.len()).unwrap_or(u64::MAX);
        }
        if whole == 0 {
            let problem = Problem::LeftOver("entries.bin ends inside an entry".to_owned());
            return Err(Failure::new(problem).at(&files.entries.path, from));
        }
        at += whole;
    }
    Ok(())
}

fn count(
    source: &dyn ReadAt,
    files: &BundleLog,
    verifier: &LogVerifier<'_>,
) -> Result<u64, Failure> {
    let (mut all, shown) = (0_u64, verifier.shown_points());
    each_entry(source, files, |bytes| {
        let entry = Entry::parse(bytes).map_err(Failure::new)?.entry;
        if verifier.shows(entry.index) {
            all = all.saturating_add(weight(&entry, &shown));
        }
        Ok(())
    })?;
    Ok(all)
}

struct Log<'b> {
    source: &'b dyn ReadAt,
    files: &'b BundleLog,
    origin: String,
}

/// A chosen reading before its path to the root is known.
struct Half {
    index: u64,
    proof: SpotProof,
    table: u64,
    at_ms: Option<i64>,
}

impl Log<'_> {
    fn find(
        &self,
        mut verifier: LogVerifier<'_>,
        choice: &Choice,
        outcome: &mut Outcome,
        advanced: &mut dyn FnMut(),
    ) -> Result<Vec<Found>, Failure> {
        let most = u64::try_from(Note::MAX_BYTES).unwrap_or(u64::MAX);
        let note = self
            .files
            .checkpoint
            .read(self.source, most)
            .map_err(Failure::new)?;
        let note = Note::parse(&note)
            .map_err(|error| Failure::new(Problem::Checkpoint(error.to_string())))?;
        let (mut seen, shown) = (0_u64, verifier.shown_points());
        let mut halves = Vec::new();
        loop {
            let (piece, at) = verifier.read_entries(self.source, PIECE_BYTES)?;
            if piece.is_empty() {
                break;
            }
            for (at, bytes) in Frames::new(&piece, at) {
                let mut task = verifier.step(bytes, at)?;
                verifier.place_payload(self.source, &mut task)?;
                advanced();
                outcome.entries += 1;
                let own = if task.has_readings() {
                    weight(task.entry(), &shown)
                } else {
                    0
                };
                let here = self.chosen(&task, choice, seen..seen.saturating_add(own), outcome);
                seen = seen.saturating_add(own);
                if !here.is_empty() {
                    halves.extend(self.prove(&task, bytes, &here, &note)?);
                }
            }
        }
        let (_, failures) = verifier.finish();
        if let Some(failure) = failures.into_iter().next() {
            return Err(failure);
        }
        if halves.is_empty() {
            return Ok(Vec::new());
        }
        self.paths(halves)
    }

    /// The readings of an entry that are wanted: column, and sample or time.
    fn chosen(
        &self,
        task: &Task<'_>,
        choice: &Choice,
        own: std::ops::Range<u64>,
        outcome: &mut Outcome,
    ) -> Vec<Pick> {
        match choice {
            Choice::Numbers(numbers) => {
                let ticks = task.entry().ticks().map_or(1, |ticks| ticks.count.max(1));
                let from = numbers.partition_point(|number| *number < own.start);
                let mine = numbers
                    .iter()
                    .skip(from)
                    .take_while(|number| **number < own.end);
                mine.map(|number| {
                    Pick::Number((number - own.start) / ticks, (number - own.start) % ticks)
                })
                .collect()
            }
            Choice::One { point, at_ms } => {
                let (Some((from, to)), Some(ticks), Some(config)) =
                    (task.span_ms(), task.entry().ticks(), task.config())
                else {
                    return Vec::new();
                };
                let known = config.config.point(point);
                let Some((index, _)) = known.filter(|(_, p)| p.stream == ticks.stream) else {
                    return Vec::new();
                };
                if !(from..to).contains(at_ms) {
                    return Vec::new();
                }
                if task.has_readings() {
                    return vec![Pick::At(index, at_ms - from)];
                }
                let what = match &task.entry().body {
                    Body::Gap { reason, .. } => format!("a declared gap ({})", reason.name()),
                    _ => "a data entry whose readings are not in the bundle".to_owned(),
                };
                let text = format!(
                    "{}: at {} entry {} of the log is {what}",
                    self.origin,
                    quantification::period::utc(*at_ms),
                    task.index
                );
                outcome.fail(&nothing(text));
                Vec::new()
            }
        }
    }

    /// Checks an entry wholly and takes the wanted chunks out of its payload.
    fn prove(
        &self,
        task: &Task<'_>,
        bytes: &[u8],
        picks: &[Pick],
        note: &Note,
    ) -> Result<Vec<Half>, Failure> {
        let length = usize::try_from(task.payload_bytes).unwrap_or(usize::MAX);
        let mut payload = vec![0; length];
        self.source
            .read_exact_at(&mut payload, task.payload_at)
            .map_err(|error| Failure::new(evidence::bundle::BundleError::Io(error)))?;
        let origin = evidence::hash::Origin::parse(&self.origin)
            .map_err(|error| nothing(error.to_string()))?;
        let checked = task.check(&origin, &self.files.entries.path, &payload)?;
        let (Some(segment), Some(config), Some(ticks)) =
            (checked.segment, task.config(), task.entry().ticks())
        else {
            return Ok(Vec::new());
        };
        let pieces = chunks_of(
            &config.config,
            ticks.stream,
            task.shown(),
            task.part(&payload),
        )
        .map_err(|error| nothing(error.to_string()))?;
        let leaves: Vec<_> = pieces.iter().map(|piece| piece.leaf).collect();
        let mut halves = Vec::new();
        for pick in picks {
            let place = match pick {
                Pick::Number(column, _) => {
                    let shown = |place: &usize| {
                        let piece = pieces.get(*place);
                        piece.is_some_and(|piece| piece.chunk.is_some())
                    };
                    let column = usize::try_from(*column).unwrap_or(usize::MAX);
                    (0..pieces.len()).filter(shown).nth(column)
                }
                Pick::At(point, _) => pieces.iter().position(|piece| piece.point == *point),
            };
            let Some((place, piece, chunk)) = place.and_then(|place| {
                let piece = pieces.get(place)?;
                Some((place, piece, piece.chunk?))
            }) else {
                return Err(nothing(format!(
                    "entry {}: the bundle shows only the hash of this point's readings",
                    task.index
                )));
            };
            let column = segment
                .columns
                .iter()
                .find(|column| column.point == piece.point);
            let Some(column) = column else { continue };
            let sample = pick.sample(
                column.values.len(),
                column.offsets_ms.as_deref(),
                task.tick_ms(),
            );
            let position = u64::try_from(place).unwrap_or(u64::MAX);
            let count = u64::try_from(leaves.len()).unwrap_or(u64::MAX);
            let Ok(inner) = inclusion_proof(&mut LeafHashes(&leaves), position, count);
            halves.push(Half {
                index: task.index,
                table: config.index,
                at_ms: if sample == NO_SAMPLE {
                    segment.start_ms()
                } else {
                    segment.sample_ms(column, usize::from(sample))
                },
                proof: SpotProof {
                    entry: bytes.to_vec(),
                    position: u32::try_from(place).unwrap_or(u32::MAX),
                    chunk: chunk.to_vec(),
                    sample,
                    inner,
                    outer: Vec::new(),
                    checkpoint: note.clone(),
                },
            });
        }
        Ok(halves)
    }

    /// The third pass: every chosen entry's path to the final root.
    fn paths(&self, halves: Vec<Half>) -> Result<Vec<Found>, Failure> {
        let start = self
            .files
            .range_start
            .read(self.source, 8_192)
            .map_err(Failure::new)?;
        let start =
            parse_range_start(&start).map_err(|error| Failure::new(Problem::RangeStart(error)))?;
        let mut paths = Paths::new(start, halves.iter().map(|half| half.index));
        each_entry(self.source, self.files, |bytes| {
            paths.append(&leaf_hash(bytes));
            Ok(())
        })?;
        let mut found = Vec::new();
        for mut half in halves {
            half.proof.outer = paths
                .path(half.index)
                .map_err(|error| nothing(error.to_string()))?;
            let table = self.table(half.table)?;
            found.push(Found {
                origin: self.origin.clone(),
                proof: half.proof,
                table: (half.table, table),
                at_ms: half.at_ms,
            });
        }
        Ok(found)
    }

    /// The proof of a configuration entry, from the bundle's `control/`.
    fn table(&self, index: u64) -> Result<TableProof, Failure> {
        let control = self
            .files
            .controls
            .iter()
            .find(|control| control.index == index)
            .ok_or_else(|| Failure::new(Problem::ControlDiffers).of_entry(index))?;
        let most = u64::try_from(TlogProof::MAX_BYTES).unwrap_or(u64::MAX);
        let entry = control
            .entry
            .read(self.source, most)
            .map_err(Failure::new)?;
        let proof = control
            .proof
            .read(self.source, most)
            .map_err(Failure::new)?;
        let proof = TlogProof::parse(&proof)
            .map_err(|error| Failure::new(Problem::ControlProof(error.to_string())))?;
        let signed = Entry::parse(&entry).map_err(Failure::new)?.entry;
        let body = match signed.body {
            Body::Control {
                body: evidence::entry::ControlBody::Payload(payload),
                ..
            } => {
                let blobs = &self.files.blobs;
                let blob = blobs.iter().find(|(hash, _)| *hash == payload.root);
                let blob = blob.ok_or_else(|| Failure::new(Problem::ControlDiffers))?;
                blob.1.read(self.source, 16 << 20).map_err(Failure::new)?
            }
            _ => Vec::new(),
        };
        Ok(TableProof {
            entry,
            body,
            outer: proof.hashes,
            checkpoint: proof.checkpoint,
        })
    }
}

/// Which reading of an entry.
#[derive(Debug)]
enum Pick {
    /// Which of the shown columns, and which sample, as drawn.
    Number(u64, u64),
    /// Point, and milliseconds from the start of the segment.
    At(u16, i64),
}

impl Pick {
    /// The sample of a column with `count` of them; for messages the last one at or before the time.
    fn sample(&self, count: usize, offsets: Option<&[u32]>, tick_ms: u32) -> u16 {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        if count == 0 {
            return NO_SAMPLE;
        }
        let sample = match (self, offsets) {
            (Self::Number(_, sample), _) => sample % count,
            (Self::At(_, after_ms), Some(offsets)) => {
                let before = offsets.partition_point(|offset| i64::from(*offset) <= *after_ms);
                u64::try_from(before.saturating_sub(1)).unwrap_or(0)
            }
            (Self::At(_, after_ms), None) => {
                u64::try_from(after_ms / i64::from(tick_ms.max(1))).unwrap_or(0)
            }
        };
        u16::try_from(sample).unwrap_or(NO_SAMPLE)
    }
}
