//! The start of the proof: the checkpoint, the notes, the control chain.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::authority::{Configurations, RevocationFacts, approvals, revocations};
use super::partition::Axis;
use super::times::Times;
use super::{Afterwards, Event, Failure, HandOver, LogRole, Problem, Remembered, Trust};
use crate::bundle::{
    BundleLog, Control as ControlFiles, Disclosure, FileSpan, MOST_DISCLOSURE_BYTES, ReadAt,
    parse_range_start,
};
use crate::chain::Chain;
use crate::control::Control;
use crate::entry::{Body, ClockStatus, ControlBody, Entry, MOST_ENTRY_BYTES};
use crate::hash::{Hash, Origin, leaf_hash};
use crate::measurement::MeasurementConfig;
use crate::merkle::CompactRange;
use crate::note::{Note, Vkey};
use crate::proof::TlogProof;

/// The longest control body that is read.
const MOST_BLOB_BYTES: u64 = 16 << 20;

/// The proof of one log, in progress.
#[derive(Debug)]
pub struct LogVerifier<'a> {
    pub(super) files: &'a BundleLog,
    pub(super) trust: &'a Trust,
    pub(super) role: LogRole,
    pub(super) origin: Origin,
    pub(super) chain: Chain,
    pub(super) size: u64,
    pub(super) root: Hash,
    pub(super) first: u64,
    /// All control entries below the size.
    pub(super) controls: Vec<Known>,
    /// The next of them to pass.
    pub(super) next_control: usize,
    pub(super) blobs: HashMap<Hash, Vec<u8>>,
    pub(super) afterwards: Afterwards,
    /// Approved entries and by whom.
    pub(super) approvals: BTreeMap<u64, String>,
    pub(super) configurations: Configurations,
    pub(super) revocations: Vec<RevocationFacts>,
    /// The first entry that is void by one of them: from it on nothing counts.
    pub(super) void_from: Option<u64>,
    /// The streams that were sampled there.
    pub(super) active_at_void: Option<BTreeSet<u16>>,
    pub(super) times: Times,
    pub(super) next_root: usize,
    pub(super) roots_met: u64,
    pub(super) hand_over: Option<HandOver>,
    pub(super) axes: BTreeMap<u16, Axis>,
    /// Streams that were being sampled when the bundle's entries begin.
    pub(super) sampled_at_start: Vec<u16>,
    /// For each of the role's points, what of time its stream covers.
    pub(super) covered: Vec<Option<(i64, i64)>>,
    pub(super) found: Vec<bool>,
    /// Per stream, the role's points it carries under the configuration in force.
    pub(super) carried: BTreeMap<u16, Vec<usize>>,
    /// Streams that carried one of the role's points at any time.
    pub(super) relevant: BTreeSet<u16>,
    pub(super) keys: Vec<KeyUse>,
    pub(super) events: Vec<Event>,
    pub(super) dropped: u64,
    pub(super) entries_read: u64,
    pub(super) payload_read: u64,
    /// How much of `payload.bin` belongs to entries that were stepped over.
    pub(super) payload_placed: u64,
    pub(super) disclosure: Disclosure,
    /// In class B, which points of the table in force are shown.
    pub(super) shown: Option<Arc<Vec<bool>>>,
    /// Checkpoints of this log that the verifier saw before, ascending by size.
    pub(super) remembered: Vec<Remembered>,
}

/// A control entry whose place in the tree is proven.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) index: u64,
    pub(super) leaf: Hash,
    pub(super) control: Control,
    /// The leaf hash of its body, when that is a blob.
    pub(super) blob: Option<Hash>,
    /// The gateway's clock at sealing, unless it was unset.
    pub(super) clock_ms: Option<u64>,
}

/// How long an entry key was in use.
#[derive(Debug)]
pub(super) struct KeyUse {
    pub(super) id: [u8; 8],
    pub(super) clock_ms: Option<(u64, u64)>,
}

impl<'a> LogVerifier<'a> {
    /// Checks 1 to 3: the final checkpoint under the anchor key and the policy, the form of the start
    /// hashes, and the chain of control entries from genesis to the checkpoint's size.
    ///
    /// # Errors
    /// The first [`Failure`].
    pub fn open(
        source: &dyn ReadAt,
        files: &'a BundleLog,
        anchor: &Vkey,
        trust: &'a Trust,
        role: LogRole,
    ) -> Result<Self, Failure> {
        Self::open_named(source, files, anchor, trust, role)
            .map_err(|failure| failure.of_log(anchor.name()))
    }

    fn open_named(
        source: &dyn ReadAt,
        files: &'a BundleLog,
        anchor: &Vkey,
        trust: &'a Trust,
        role: LogRole,
    ) -> Result<Self, Failure> {
        let disclosure = check_texts(source, files, anchor)?;
        let note = files
            .checkpoint
            .read(source, u64::try_from(Note::MAX_BYTES).unwrap_or(u64::MAX))
            .map_err(Failure::new)?;
        let (times, checkpoint) = Times::read(
            source,
            &files.checkpoint,
            (files.trail.as_slice(), files.timestamps.as_slice()),
            &note,
            anchor,
            trust,
        )?;
        let range_start = files
            .range_start
            .read(source, 8_192)
            .map_err(Failure::new)?;
        let start = parse_range_start(&range_start).and_then(|start| {
            if start.size() < checkpoint.size {
                Ok(start)
            } else {
                Err("it begins behind the last entry".to_owned())
            }
        });
        let start = start.map_err(|error| {
            Failure::new(Problem::RangeStart(error))
                .at(&files.range_start.path, files.range_start.offset)
        })?;
        let blobs = read_blobs(source, &files.blobs)?;
        let mut raw: Vec<(u64, Vec<u8>, Option<Hash>)> = Vec::with_capacity(files.controls.len());
        for control in &files.controls {
            let (entry, blob) = proven(source, control, &note)?;
            raw.push((control.index, entry, blob));
        }
        let used = |hash: &Hash| raw.iter().any(|(_, _, blob)| blob.as_ref() == Some(hash));
        if let Some((_, file)) = files.blobs.iter().find(|(hash, _)| !used(hash)) {
            let problem =
                Problem::LeftOver(format!("`{}` is the body of no control entry", file.path));
            return Err(Failure::new(problem).at(&file.path, file.offset));
        }
        let origin = checkpoint.origin;
        let body = |blob: &Option<Hash>| {
            blob.as_ref()
                .and_then(|hash| blobs.get(hash))
                .map(Vec::as_slice)
        };
        let resume = |range: CompactRange| {
            let size = range.size();
            let before = raw.iter().filter(move |(index, _, _)| *index < size);
            Chain::resume(
                origin.clone(),
                range,
                before.map(|(_, entry, blob)| (entry.as_slice(), body(blob))),
            )
            .map_err(|(index, rejection)| {
                // The chain says from where on it looked for the entry that it refused.
                let failure = Failure::new(rejection);
                match files.controls.iter().find(|control| control.index >= index) {
                    Some(control) => failure
                        .of_entry(control.index)
                        .at(&control.entry.path, control.entry.offset),
                    None => failure.of_entry(index),
                }
            })
        };
        // The whole control chain first; its subtree hashes play no part, only its length does.
        let ones = usize::try_from(checkpoint.size.count_ones()).unwrap_or(64);
        let whole = CompactRange::from_parts(checkpoint.size, vec![Hash([0; 32]); ones])
            .map_err(|error| Failure::new(Problem::Checkpoint(error.to_string())))?;
        let end = resume(whole)?;
        if end
            .genesis()
            .is_none_or(|genesis| genesis.log_key != *anchor.key())
        {
            let problem = "the genesis entry names another log key than the anchor".to_owned();
            return Err(Failure::new(Problem::Checkpoint(problem)).of_entry(0));
        }
        let first = start.size();
        let chain = if first == 0 {
            Chain::new(origin.clone())
        } else {
            resume(start)?
        };
        let controls = known(&raw, &blobs)?;
        let approvals = approvals(&origin, &controls, trust);
        let configurations = Configurations::new(&controls, &approvals);
        let revocations = revocations(&origin, &controls, &times, checkpoint.size, trust);
        let void_from = revocations.iter().filter_map(|found| found.void_from).min();
        // A thief's clock event gives nothing its time.
        let valid = |known: &&Known| {
            void_from.is_none_or(|void| known.index < void)
                || !matches!(known.control, Control::Clock(_))
        };
        let afterwards = Afterwards::new(controls.iter().filter(valid).map(|known| &known.control));
        let sampled_at_start = chain
            .streams()
            .filter(|(_, state)| state.active)
            .map(|(id, _)| id)
            .collect();
        let next_control = controls.partition_point(|known| known.index < first);
        let next_root = times.roots.partition_point(|(size, _)| *size <= first);
        let points = role.points.len();
        let mut verifier = Self {
            files,
            trust,
            role,
            origin,
            chain,
            size: checkpoint.size,
            root: checkpoint.root,
            first,
            controls,
            next_control,
            blobs,
            afterwards,
            approvals,
            configurations,
            revocations,
            void_from,
            active_at_void: None,
            times,
            next_root,
            roots_met: 0,
            hand_over: None,
            axes: BTreeMap::new(),
            sampled_at_start,
            covered: vec![None; points],
            found: vec![false; points],
            carried: BTreeMap::new(),
            relevant: BTreeSet::new(),
            keys: Vec::new(),
            events: Vec::new(),
            dropped: 0,
            entries_read: 0,
            payload_read: 0,
            payload_placed: 0,
            disclosure,
            shown: None,
            remembered: Vec::new(),
        };
        if void_from.is_some_and(|void| void <= first) {
            verifier.active_at_void = Some(active_streams(&verifier.chain));
        }
        verifier.take_config();
        Ok(verifier)
    }

    /// The log's name.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The number of entries that will pass.
    #[must_use]
    pub const fn entries(&self) -> u64 {
        self.size - self.first
    }

    /// The hand-over that this log's recovery entry states for the log it continues.
    #[must_use]
    pub fn continues(&self, predecessor: &Origin) -> Option<HandOver> {
        self.controls.iter().find_map(|known| match &known.control {
            Control::Recovery {
                origin,
                last_index,
                last_leaf,
                ..
            } if origin == predecessor.as_str() => Some(HandOver {
                last_index: *last_index,
                last_leaf: *last_leaf,
            }),
            _ => None,
        })
    }

    /// The configurations, by their entries, that stand approved by an accepted authority.
    #[must_use]
    pub fn approved_configurations(&self) -> BTreeSet<u64> {
        self.configurations.approved()
    }

    /// Whether the log has a configuration that no accepted authority approved.
    #[must_use]
    pub fn any_unapproved(&self) -> bool {
        self.configurations.any_unapproved()
    }

    /// Whether an entry is void because its key was stolen.
    pub(super) fn is_void(&self, index: u64) -> bool {
        self.void_from.is_some_and(|void| index >= void)
    }

    /// Ends what counts of this log at an entry; what follows is checked and not counted.
    pub const fn ends_at(&mut self, hand_over: HandOver) {
        self.hand_over = Some(hand_over);
    }

    /// Whether the bundle holds readings of the data entry with this index.
    #[must_use]
    pub fn shows(&self, index: u64) -> bool {
        self.disclosure != Disclosure::Commitments && !self.afterwards.is_dropped(index)
    }

    /// How many points of each stream are shown, by the index of the configuration that says so,
    /// ascending.
    #[must_use]
    pub fn shown_points(&self) -> Vec<(u64, BTreeMap<u16, u64>)> {
        let counts = |config: &MeasurementConfig| {
            let mut counts = BTreeMap::new();
            for (point, shown) in config.points.iter().zip(self.disclosure.shown(config)) {
                *counts.entry(point.stream).or_default() += u64::from(shown);
            }
            counts
        };
        self.controls
            .iter()
            .filter_map(|known| match &known.control {
                Control::Config(config) => Some((known.index, counts(config))),
                _ => None,
            })
            .collect()
    }

    /// What the bundle shows of this log's readings.
    #[must_use]
    pub const fn disclosure(&self) -> &Disclosure {
        &self.disclosure
    }

    /// Finds the plan's points in the configuration in force.
    pub(super) fn take_config(&mut self) {
        let Some(config) = self.chain.config() else {
            return;
        };
        if matches!(self.disclosure, Disclosure::Listed(_)) {
            self.shown = Some(Arc::new(self.disclosure.shown(&config.config)));
        }
        self.carried.clear();
        for (number, name) in self.role.points.iter().enumerate() {
            if let Some((_, point)) = config.config.point(name) {
                self.carried.entry(point.stream).or_default().push(number);
                self.relevant.insert(point.stream);
                if let Some(found) = self.found.get_mut(number) {
                    *found = true;
                }
            }
        }
    }
}

/// The streams of the configuration in force.
pub(super) fn active_streams(chain: &Chain) -> BTreeSet<u16> {
    let active = chain.streams().filter(|(_, state)| state.active);
    active.map(|(id, _)| id).collect()
}

fn check_texts(
    source: &dyn ReadAt,
    files: &BundleLog,
    anchor: &Vkey,
) -> Result<Disclosure, Failure> {
    let contents = |path: &str, offset: u64, problem: &str| {
        let bundle = crate::bundle::BundleError::Contents {
            path: path.to_owned(),
            problem: problem.to_owned(),
        };
        Failure::new(Problem::Bundle(bundle)).at(path, offset)
    };
    let name = files.origin.read(source, 1_024).map_err(Failure::new)?;
    if name != format!("{}\n", anchor.name()).as_bytes()
        || crate::hash::sha256(anchor.name().as_bytes()) != files.id
    {
        return Err(contents(
            &files.origin.path,
            files.origin.offset,
            "it is not the name of the folder's log",
        ));
    }
    let file = &files.disclosure;
    let disclosure = file
        .read(source, MOST_DISCLOSURE_BYTES)
        .map_err(Failure::new)?;
    Disclosure::parse(&disclosure).map_err(|problem| contents(&file.path, file.offset, &problem))
}

pub(super) fn read_blobs(
    source: &dyn ReadAt,
    files: &[(Hash, FileSpan)],
) -> Result<HashMap<Hash, Vec<u8>>, Failure> {
    let mut blobs = HashMap::new();
    for (hash, file) in files {
        let bytes = file.read(source, MOST_BLOB_BYTES).map_err(Failure::new)?;
        if leaf_hash(&bytes) != *hash {
            let problem = Problem::Entry(crate::Rejection::PayloadRootDiffers);
            return Err(Failure::new(problem).at(&file.path, file.offset));
        }
        blobs.insert(*hash, bytes);
    }
    Ok(blobs)
}

/// A control entry whose inclusion in the final checkpoint's tree was checked, and the name of its blob.
fn proven(
    source: &dyn ReadAt,
    files: &ControlFiles,
    note: &[u8],
) -> Result<(Vec<u8>, Option<Hash>), Failure> {
    let refuse = |problem: String| {
        Failure::new(Problem::ControlProof(problem))
            .of_entry(files.index)
            .at(&files.proof.path, files.proof.offset)
    };
    let most = u64::try_from(MOST_ENTRY_BYTES).unwrap_or(u64::MAX);
    let bytes = files.entry.read(source, most).map_err(Failure::new)?;
    let at_entry = |rejection| {
        Failure::new(Problem::Entry(rejection))
            .of_entry(files.index)
            .at(&files.entry.path, files.entry.offset)
    };
    let entry = Entry::parse(&bytes).map_err(at_entry)?.entry;
    let most = u64::try_from(TlogProof::MAX_BYTES).unwrap_or(u64::MAX);
    let proof = files.proof.read(source, most).map_err(Failure::new)?;
    let proof = TlogProof::parse(&proof).map_err(|error| refuse(error.to_string()))?;
    if proof.checkpoint.to_bytes() != note {
        return Err(refuse(
            "it leads to another checkpoint than the bundle's".to_owned(),
        ));
    }
    if proof.index != files.index || entry.index != files.index {
        return Err(refuse(format!("it is about entry {}", proof.index)));
    }
    proof
        .verify(&leaf_hash(&bytes))
        .map_err(|error| refuse(error.to_string()))?;
    let blob = match entry.body {
        Body::Control {
            body: ControlBody::Payload(payload),
            ..
        } => Some(payload.root),
        _ => None,
    };
    Ok((bytes, blob))
}

/// The control entries, read; the chain has accepted every one of them.
fn known(
    raw: &[(u64, Vec<u8>, Option<Hash>)],
    blobs: &HashMap<Hash, Vec<u8>>,
) -> Result<Vec<Known>, Failure> {
    raw.iter()
        .map(|(index, bytes, blob)| {
            let entry = Entry::parse(bytes).map_err(Failure::new)?.entry;
            let Body::Control { kind, body } = entry.body else {
                return Err(Failure::new(Problem::ControlDiffers).of_entry(*index));
            };
            let clock_ms =
                (entry.clock.status != ClockStatus::Unset).then_some(entry.clock.unix_ms);
            let control = match (&body, blob.as_ref().and_then(|hash| blobs.get(hash))) {
                (ControlBody::Inline(bytes), _) | (ControlBody::Payload(_), Some(bytes)) => {
                    Control::decode(kind, bytes)
                }
                (ControlBody::Payload(_), None) => Err(crate::Rejection::PayloadMissing),
            };
            let control = control.map_err(|rejection| Failure::new(rejection).of_entry(*index))?;
            Ok(Known {
                index: *index,
                leaf: leaf_hash(bytes),
                control,
                blob: *blob,
                clock_ms,
            })
        })
        .collect()
}
