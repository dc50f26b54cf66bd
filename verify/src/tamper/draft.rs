//! A good bundle, where in it one would strike, and a copy of it to be changed.

use std::collections::HashMap;

use evidence::bundle::range_start_text;
use evidence::chunk::View;
use evidence::control::Control;
use evidence::entry::{Body, ClockStatus, ControlBody, Entry};
use evidence::hash::{Hash, Origin, leaf_hash, root_of};
use evidence::key::SigningKey;
use evidence::merkle::CompactRange;
use evidence::note::Note;
use evidence::verification::Afterwards;

use super::archive::{Member, put_together, take_apart};

/// The secret keys behind a bundle: what an attacker may have got hold of.
#[derive(Debug)]
pub struct Keys {
    /// Signs checkpoints.
    pub log: SigningKey,
    /// Sign entries, in any order.
    pub entries: Vec<SigningKey>,
    /// Cosign, by the names in their lines; the first is the collector's.
    pub witnesses: Vec<(String, SigningKey)>,
}

/// A bundle that is proven, and the keys behind its first log.
#[derive(Debug)]
pub struct Good {
    pub(super) keys: Keys,
    pub(super) origin: Origin,
    pub(super) entries: Vec<Entry>,
    /// Tick lengths by stream, in milliseconds.
    ticks_ms: HashMap<u16, u32>,
    draft: Draft,
}

/// A copy to be changed.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    /// All files but `entries.bin` and `payload.bin` of the log, whose contents are empty here.
    pub(super) members: Vec<Member>,
    /// `logs/<id>/`.
    folder: String,
    pub(super) entries: Vec<Vec<u8>>,
    /// One per entry; empty for those that have none in `payload.bin`.
    pub(super) payloads: Vec<Vec<u8>>,
}

impl Good {
    /// Takes a bundle apart. None for what is no bundle, or not that of these keys.
    #[must_use]
    pub fn new(bytes: &[u8], keys: Keys) -> Option<Self> {
        let mut members = take_apart(bytes)?;
        let name = members
            .iter()
            .find(|file| file.path.starts_with("logs/") && file.path.ends_with("/origin"))?;
        let folder = name.path.strip_suffix("origin")?.to_owned();
        let origin = std::str::from_utf8(&name.contents)
            .ok()?
            .strip_suffix('\n')?;
        let origin = Origin::parse(origin).ok()?;
        let body = |root: Hash| {
            let path = format!("{folder}blobs/{root}");
            Some(
                members
                    .iter()
                    .find(|file| file.path == path)?
                    .contents
                    .as_slice(),
            )
        };
        let controls: Vec<Control> = members
            .iter()
            .filter(|file| file.path.starts_with(&folder) && file.path.ends_with(".entry"))
            .filter_map(|file| match Entry::parse(&file.contents).ok()?.entry.body {
                Body::Control {
                    kind,
                    body: ControlBody::Inline(body),
                } => Control::decode(kind, &body).ok(),
                Body::Control {
                    kind,
                    body: ControlBody::Payload(payload),
                } => Control::decode(kind, body(payload.root)?).ok(),
                _ => None,
            })
            .collect();
        let streams = controls.iter().filter_map(|control| match control {
            Control::Config(config) => Some(&config.streams),
            _ => None,
        });
        let ticks_ms = streams
            .flatten()
            .map(|stream| (stream.id, stream.tick_ms))
            .collect();
        let afterwards = Afterwards::new(&controls);
        let mut take = |name: &str| {
            let path = format!("{folder}{name}");
            let file = members.iter_mut().find(|file| file.path == path)?;
            Some(std::mem::take(&mut file.contents))
        };
        let (framed, joined) = (take("entries.bin")?, take("payload.bin")?);
        let (mut entries, mut parsed, mut payloads) = (Vec::new(), Vec::new(), Vec::new());
        let (mut rest, mut left) = (framed.as_slice(), joined.as_slice());
        while let Some((length, after)) = rest.split_first_chunk::<2>() {
            let (bytes, after) =
                after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
            let entry = Entry::parse(bytes).ok()?.entry;
            let length = match &entry.body {
                Body::Data { payload, .. } if !afterwards.is_dropped(entry.index) => {
                    usize::try_from(payload.bytes).ok()?
                }
                _ => 0,
            };
            let (payload, behind) = left.split_at_checked(length)?;
            payloads.push(payload.to_vec());
            entries.push(bytes.to_vec());
            parsed.push(entry);
            (rest, left) = (after, behind);
        }
        (rest.is_empty() && left.is_empty()).then_some(Self {
            keys,
            origin,
            entries: parsed,
            ticks_ms,
            draft: Draft {
                members,
                folder,
                entries,
                payloads,
            },
        })
    }

    pub(super) fn draft(&self) -> Draft {
        self.draft.clone()
    }

    /// The bundle as it was.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.draft.write()
    }

    fn is_data(&self, at: usize) -> bool {
        let sealed = self
            .draft
            .payloads
            .get(at)
            .is_some_and(|payload| !payload.is_empty());
        let timed = |entry: &Entry| entry.clock.status != ClockStatus::Unset;
        sealed
            && self
                .entries
                .get(at)
                .is_some_and(|entry| timed(entry) && matches!(entry.body, Body::Data { .. }))
    }

    /// A data entry well inside, between two others, of the stream with the most chunks; its position.
    pub(super) fn middle(&self) -> Option<usize> {
        let chunks = |entry: &Entry| entry.payload_ref().map_or(0, |payload| payload.chunks);
        let most = self
            .entries
            .iter()
            .filter(|entry| entry.ticks().is_some())
            .map(chunks)
            .max()?;
        (self.entries.len() * 2 / 5..self.entries.len().saturating_sub(2)).find(|at| {
            self.entries
                .get(*at)
                .is_some_and(|entry| chunks(entry) == most)
                && !self.draft.is_noted(at + 1)
                && (at.saturating_sub(1)..=at + 1).all(|at| self.is_data(at))
        })
    }

    /// The entry that names a new entry key.
    pub(super) fn rotation(&self) -> Option<usize> {
        self.control(evidence::control::kind::KEY_ADD, 2)
    }

    /// The first control entry of a kind from position `from` on.
    pub(super) fn control(&self, wanted: u64, from: usize) -> Option<usize> {
        let found =
            self.entries.iter().skip(from).position(
                |entry| matches!(entry.body, Body::Control { kind, .. } if kind == wanted),
            );
        Some(found? + from)
    }

    /// The last data entry whose payload is there.
    pub(super) fn last_data(&self) -> Option<usize> {
        (0..self.entries.len()).rev().find(|at| self.is_data(*at))
    }

    /// A gap entry.
    pub(super) fn gap(&self) -> Option<usize> {
        self.entries
            .iter()
            .position(|entry| matches!(entry.body, Body::Gap { .. }))
    }

    /// How many ticks of a stream are so many seconds.
    pub(super) fn ticks(&self, stream: u16, seconds: u64) -> Option<u64> {
        Some(seconds * 1000 / u64::from(*self.ticks_ms.get(&stream)?))
    }

    /// By how much a stream's time is shifted at an entry, as the newest clock event before it says.
    pub(super) fn shift(&self, at: usize, stream: u16) -> i64 {
        let events = self
            .entries
            .iter()
            .take(at)
            .rev()
            .filter_map(|entry| match &entry.body {
                Body::Control {
                    kind,
                    body: ControlBody::Inline(body),
                } => match Control::decode(*kind, body) {
                    Ok(Control::Clock(event)) => Some(event.shifts),
                    _ => None,
                },
                _ => None,
            });
        let newest = events.into_iter().next().unwrap_or_default();
        newest
            .iter()
            .find(|(of, _)| *of == stream)
            .map_or(0, |(_, shift)| *shift)
    }

    /// The hour of UTC in which the ticks of an entry begin, and how many ticks inside it.
    pub(super) fn hour(&self, at: usize) -> Option<(u64, u64)> {
        let ticks = self.entries.get(at)?.ticks()?;
        let hour = self.ticks(ticks.stream, 3_600)?;
        let position = ticks
            .first
            .checked_add_signed(self.shift(at, ticks.stream))?;
        Some((position / hour, position % hour))
    }

    /// The key with which an entry was signed.
    pub(super) fn key_of(&self, at: usize) -> Option<&SigningKey> {
        let id = Entry::parse(self.draft.entries.get(at)?).ok()?.key_id;
        self.keys
            .entries
            .iter()
            .find(|key| key.public().key_id() == id)
    }

    /// Signs one entry again after a change, with a key, its own if none is given.
    pub(super) fn resigned(
        &self,
        at: usize,
        key: Option<&SigningKey>,
        change: impl FnOnce(&mut Entry),
    ) -> Option<Draft> {
        let mut draft = self.draft();
        let mut entry = self.entries.get(at)?.clone();
        change(&mut entry);
        let key = match key {
            Some(key) => key,
            None => self.key_of(at)?,
        };
        *draft.entries.get_mut(at)? = entry.sign(&self.origin, key);
        Some(draft)
    }

    /// Changes the chunks of one payload and signs its entry again: what holds the day's key may do.
    pub(super) fn rechunked(
        &self,
        at: usize,
        change: impl FnOnce(&mut Vec<Vec<u8>>) -> Option<()>,
    ) -> Option<Draft> {
        let mut chunks = self.chunks(at)?;
        change(&mut chunks)?;
        let leaves: Vec<Hash> = chunks.iter().map(|chunk| leaf_hash(chunk)).collect();
        let payload = chunks.concat();
        let mut draft = self.resigned(at, None, |entry| {
            if let Body::Data {
                payload: signed, ..
            } = &mut entry.body
            {
                signed.root = root_of(&leaves);
                signed.chunks = u64::try_from(chunks.len()).unwrap_or(u64::MAX);
                signed.bytes = u64::try_from(payload.len()).unwrap_or(u64::MAX);
            }
        })?;
        *draft.payloads.get_mut(at)? = payload;
        Some(draft)
    }

    /// The chunks of a payload.
    pub(super) fn chunks(&self, at: usize) -> Option<Vec<Vec<u8>>> {
        let mut chunks = Vec::new();
        let mut rest = self.draft.payloads.get(at)?.as_slice();
        while !rest.is_empty() {
            let (_, used) = View::parse(rest).ok()?;
            let (chunk, after) = rest.split_at_checked(used)?;
            chunks.push(chunk.to_vec());
            rest = after;
        }
        Some(chunks)
    }

    /// The first entry, from the middle on, with a chunk that fits, and the chunk's position.
    pub(super) fn chunk_where(&self, fits: impl Fn(&[u8]) -> bool) -> Option<(usize, usize)> {
        let from = self.middle()?;
        let all = (from..self.entries.len()).chain(0..from);
        // Not where a note states the root: that would be found first.
        all.filter(|at| self.is_data(*at) && !self.draft.is_noted(at + 1))
            .find_map(|at| Some((at, self.chunks(at)?.iter().position(|chunk| fits(chunk))?)))
    }
}

impl Draft {
    /// The bundle. What is wrong with it is in its contents: its headers fit them.
    pub(super) fn write(&self) -> Vec<u8> {
        put_together(&self.blocks())
    }

    /// Its files with their headers, in order.
    pub(super) fn blocks(&self) -> Vec<Vec<u8>> {
        let mut members = self.members.clone();
        for file in &mut members {
            match file.path.strip_prefix(&self.folder) {
                Some("entries.bin") => {
                    for entry in &self.entries {
                        let length = u16::try_from(entry.len()).unwrap_or(u16::MAX);
                        file.contents.extend(length.to_be_bytes());
                        file.contents.extend(entry);
                    }
                }
                Some("payload.bin") => file.contents.extend(self.payloads.concat()),
                _ => {}
            }
        }
        members.iter().map(Member::blocks).collect()
    }

    /// Where a file of the log stands among the files.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        let path = format!("{}{name}", self.folder);
        self.members.iter().position(|file| file.path == path)
    }

    /// The contents of a file of the log.
    pub(super) fn file(&mut self, name: &str) -> Option<&mut Vec<u8>> {
        let at = self.position(name)?;
        Some(&mut self.members.get_mut(at)?.contents)
    }

    /// The contents of a file at the top.
    pub(super) fn top(&mut self, path: &str) -> Option<&mut Vec<u8>> {
        let file = self.members.iter_mut().find(|file| file.path == path)?;
        Some(&mut file.contents)
    }

    /// Takes a file of the log out.
    pub(super) fn without(&mut self, name: &str) -> Option<Member> {
        let at = self.position(name)?;
        Some(self.members.remove(at))
    }

    /// The positions of the trail notes, in order.
    pub(super) fn trail(&self) -> Vec<usize> {
        let folder = format!("{}trail/", self.folder);
        let found = self.members.iter().enumerate();
        found
            .filter(|(_, file)| file.path.starts_with(&folder))
            .map(|(at, _)| at)
            .collect()
    }

    /// Whether a note over so many entries is in the trail.
    fn is_noted(&self, size: usize) -> bool {
        let path = format!("{}trail/{size}-0", self.folder);
        self.members.iter().any(|file| file.path == path)
    }

    /// A trail note in the middle: contents and size.
    pub(super) fn note(&mut self) -> Option<(&mut Vec<u8>, u64)> {
        let trail = self.trail();
        let file = self.members.get_mut(*trail.get(trail.len() / 2)?)?;
        let size = size_of(&file.path)?;
        Some((&mut file.contents, size))
    }

    /// Adds a trail note, behind those of its size.
    pub(super) fn add_note(&mut self, size: u64, note: Vec<u8>) -> Option<()> {
        let trail = self.trail();
        let sizes = trail
            .iter()
            .filter_map(|at| size_of(&self.members.get(*at)?.path));
        let before = sizes.clone().filter(|of| *of <= size).count();
        let same = sizes.filter(|of| *of == size).count();
        let at = match before {
            0 => *trail.first()?,
            before => trail.get(before - 1)? + 1,
        };
        let path = format!("{}trail/{size}-{same}", self.folder);
        self.members.insert(
            at,
            Member {
                path,
                contents: note,
            },
        );
        Some(())
    }

    /// Leaves out all trail notes of sizes above `size`.
    pub(super) fn cut_trail(&mut self, size: u64) {
        let folder = format!("{}trail/", self.folder);
        self.members.retain(|file| {
            !file.path.starts_with(&folder) || size_of(&file.path).is_some_and(|of| of <= size)
        });
    }

    /// Puts other control entries and proofs in the place of all there are.
    pub(super) fn set_controls(&mut self, files: Vec<(String, Vec<u8>)>) -> Option<()> {
        let folder = format!("{}control/", self.folder);
        self.members.retain(|file| !file.path.starts_with(&folder));
        let at = self.position("disclosure")? + 1;
        let made = files.into_iter().map(|(name, contents)| Member {
            path: format!("{}{name}", self.folder),
            contents,
        });
        drop(self.members.splice(at..at, made));
        Some(())
    }

    /// Lets the bundle's entries begin at position `at`, honestly, with the tree before them.
    pub(super) fn begin_at(&mut self, at: usize) -> Option<()> {
        let mut range = CompactRange::new();
        for entry in self.entries.drain(..at) {
            range.append(&leaf_hash(&entry));
        }
        drop(self.payloads.drain(..at));
        *self.file("range-start")? = range_start_text(&range).into_bytes();
        Some(())
    }
}

/// The size in the name of a trail note.
fn size_of(path: &str) -> Option<u64> {
    path.rsplit_once('/')?.1.split_once('-')?.0.parse().ok()
}

/// Changes a note as text and signatures.
pub(super) fn renote(bytes: &mut Vec<u8>, change: impl FnOnce(&mut Note)) -> Option<()> {
    let mut note = Note::parse(bytes).ok()?;
    change(&mut note);
    *bytes = note.to_bytes();
    Some(())
}
