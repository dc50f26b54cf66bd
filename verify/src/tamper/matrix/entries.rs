//! Entries left out, doubled, moved, or signed by the wrong key.

use std::ops::Range;

use evidence::control::kind;
use evidence::entry::{Body, ClockStatus, Entry, Freshness, FreshnessKind};
use evidence::hash::{Hash, Origin, leaf_hash};
use evidence::key::SigningKey;

use super::keys::hour;
use crate::tamper::Hand::{EntryKey, EntryKeys, Nothing};
use crate::tamper::draft::Draft;
use crate::tamper::{Good, Hand, Mutation};

const CLASS: &str = "Entries and their order";

const fn row(
    name: &'static str,
    hand: Hand,
    code: &'static str,
    make: fn(&Good) -> Option<Vec<u8>>,
) -> Mutation {
    Mutation::refused(CLASS, name, hand, code, make)
}

pub(super) static MATRIX: [Mutation; 41] = [
    row("one left out", Nothing, "E02", |good| {
        draft(good, |draft, at| remove(draft, at..at + 1))
    }),
    row("one twice", Nothing, "E02", |good| {
        draft(good, |draft, at| {
            draft.entries.insert(at, draft.entries.get(at)?.clone());
            draft.payloads.insert(at, draft.payloads.get(at)?.clone());
            Some(())
        })
    }),
    row("two exchanged", Nothing, "E02", |good| {
        draft(good, |draft, at| {
            draft.entries.swap(at, at + 1);
            draft.payloads.swap(at, at + 1);
            Some(())
        })
    }),
    row("the first one left out", Nothing, "E02", |good| {
        draft(good, |draft, _| remove(draft, 0..1))
    }),
    row("the last one left out", Nothing, "V09", |good| {
        draft(good, |draft, _| {
            let end = draft.entries.len();
            remove(draft, end - 1..end)
        })
    }),
    row("all left out", Nothing, "V09", |good| {
        draft(good, |draft, _| {
            let end = draft.entries.len();
            remove(draft, 0..end)
        })
    }),
    row("one more at the end", Nothing, "V10", |good| {
        draft(good, |draft, _| {
            draft.entries.push(draft.entries.last()?.clone());
            Some(())
        })
    }),
    row("the last one cut by a byte", Nothing, "V10", |good| {
        // The file is one byte shorter: it ends inside its last entry.
        let mut draft = good.draft();
        let mut joined = framed(&draft.entries);
        joined.pop()?;
        draft.entries.clear();
        *draft.file("entries.bin")? = joined;
        Some(draft.write())
    }),
    row("an empty entry", Nothing, "E01", |good| {
        draft(good, |draft, at| {
            draft.entries.get_mut(at)?.clear();
            Some(())
        })
    }),
    row("an hour left out", Nothing, "E02", |good| {
        let mut draft = good.draft();
        remove(&mut draft, hour(good)?)?;
        Some(draft.write())
    }),
    row(
        "an hour left out and what follows numbered anew, without its signatures",
        Nothing,
        "E06",
        |good| {
            let mut draft = good.draft();
            let hour = hour(good)?;
            remove(&mut draft, hour.clone())?;
            renumber(good, &mut draft, hour)?;
            Some(draft.write())
        },
    ),
    row(
        "the first hour left out, with honest start hashes",
        Nothing,
        "V11",
        |good| {
            let mut draft = good.draft();
            draft.begin_at(hour(good)?.end)?;
            Some(draft.write())
        },
    ),
    row(
        "the last hours left out, with an older checkpoint that the witnesses signed",
        Nothing,
        "V12",
        super::notes::truncated,
    ),
    row(
        "the old key on an entry after its successor was named",
        EntryKeys,
        "E05",
        |good| {
            let at = good.rotation()?;
            Some(
                good.resigned(at + 1, Some(good.key_of(at)?), |_| {})?
                    .write(),
            )
        },
    ),
    row(
        "the new key on an entry before it was named",
        EntryKeys,
        "E05",
        |good| {
            let at = good.rotation()?;
            Some(
                good.resigned(at - 1, Some(good.key_of(at + 1)?), |_| {})?
                    .write(),
            )
        },
    ),
    row(
        "the new key on the entry that names it",
        EntryKeys,
        "E05",
        |good| {
            let at = good.rotation()?;
            Some(
                good.resigned(at, Some(good.key_of(at + 1)?), |_| {})?
                    .write(),
            )
        },
    ),
    row("a stranger's key", Nothing, "E05", |good| {
        let stranger = SigningKey::from_seed([0x55; 32]);
        Some(
            good.resigned(good.middle()?, Some(&stranger), |_| {})?
                .write(),
        )
    }),
    row(
        "a stranger's signature under the right key id",
        Nothing,
        "E06",
        |good| {
            let at = good.middle()?;
            let stranger = SigningKey::from_seed([0x55; 32]);
            let mut draft = good.resigned(at, Some(&stranger), |_| {})?;
            let right = good.draft().entries.get(at)?.get(3..16)?.to_vec();
            draft
                .entries
                .get_mut(at)?
                .get_mut(3..16)?
                .copy_from_slice(&right);
            Some(draft.write())
        },
    ),
    row(
        "an entry of another gateway with the same key",
        EntryKey,
        "E06",
        |good| {
            let at = good.middle()?;
            let mut draft = good.draft();
            let other = Origin::parse("example.com/gw/9999").ok()?;
            *draft.entries.get_mut(at)? = good.entries.get(at)?.sign(&other, good.key_of(at)?);
            Some(draft.write())
        },
    ),
    row(
        "an entry of yesterday in today's place",
        EntryKey,
        "E02",
        |good| {
            draft(good, |draft, at| {
                *draft.entries.get_mut(at)? = draft.entries.get(at / 2)?.clone();
                *draft.payloads.get_mut(at)? = draft.payloads.get(at / 2)?.clone();
                Some(())
            })
        },
    ),
    row(
        "the samples of another entry under this one's place",
        EntryKey,
        "E03",
        |good| {
            let at = good.middle()?;
            let other = (at + 1..good.entries.len())
                .find(|other| stream(good, *other) == stream(good, at))?;
            let signed = *good.entries.get(other)?.payload_ref()?;
            let mut draft = good.resigned(at, None, |entry| {
                if let Body::Data { payload, .. } = &mut entry.body {
                    *payload = signed;
                }
            })?;
            *draft.payloads.get_mut(at)? = draft.payloads.get(other)?.clone();
            Some(draft.write())
        },
    ),
    row("a changed value", EntryKey, "E03", |good| {
        let at = good.middle()?;
        Some(
            good.rechunked(at, |chunks| {
                // The first value of the first column, by one unit.
                *chunks.first_mut()?.get_mut(8)? ^= 1;
                Some(())
            })?
            .write(),
        )
    }),
    row(
        "a changed value of the last entry",
        EntryKey,
        "V08",
        |good| {
            let at = good.last_data()?;
            Some(
                good.rechunked(at, |chunks| {
                    *chunks.first_mut()?.get_mut(8)? ^= 1;
                    Some(())
                })?
                .write(),
            )
        },
    ),
    row("the other stream's number", EntryKey, "E09", |good| {
        change(good, |entry| {
            if let Body::Data { ticks, .. } = &mut entry.body {
                ticks.stream = 9;
            }
        })
    }),
    row("a tick left out before an entry", EntryKey, "E07", |good| {
        change(good, |entry| shift(entry, 1))
    }),
    row("a tick twice", EntryKey, "E08", |good| {
        change(good, |entry| shift(entry, -1))
    }),
    row("an entry of no ticks", EntryKey, "E09", |good| {
        change(good, |entry| count(entry, 0))
    }),
    row("a segment of more than an hour", EntryKey, "E09", |good| {
        let at = good.middle()?;
        let hour = good.ticks(stream(good, at)?, 3_600)?;
        Some(
            good.resigned(at, None, |entry| count(entry, hour + 1))?
                .write(),
        )
    }),
    row("a segment across an hour", EntryKey, "E09", |good| {
        let late = |at: &usize| good.hour(*at).is_some_and(|(_, inside)| inside > 0);
        let at = (good.middle()?..good.last_data()?).find(late)?;
        let hour = good.ticks(stream(good, at)?, 3_600)?;
        Some(good.resigned(at, None, |entry| count(entry, hour))?.write())
    }),
    row("a gap that ends one tick early", EntryKey, "E03", |good| {
        let length = good.entries.get(good.gap()?)?.ticks()?.count;
        Some(
            good.resigned(good.gap()?, None, |entry| count(entry, length - 1))?
                .write(),
        )
    }),
    row(
        "a gap that begins one tick early",
        EntryKey,
        "E08",
        |good| {
            Some(
                good.resigned(good.gap()?, None, |entry| shift(entry, -1))?
                    .write(),
            )
        },
    ),
    row("an unknown freshness", EntryKey, "E12", |good| {
        // Kind 1 becomes 9; the entry keeps its length, so only the kind is wrong.
        let at = good.middle()?;
        let mut draft = good.draft();
        let entry = draft.entries.get_mut(at)?;
        let place = entry
            .windows(5)
            .position(|part| part == [0x04, 0x82, 0x01, 0x58, 0x20])?;
        *entry.get_mut(place + 2)? = 9;
        Some(draft.write())
    }),
    row("a freshness that nobody stated", EntryKey, "E03", |good| {
        change(good, |entry| {
            entry.freshness = Some(Freshness {
                kind: FreshnessKind::CosignedNote,
                hash: Hash([7; 32]),
            });
        })
    }),
    row("the boot counter one less", EntryKey, "E10", |good| {
        change(good, |entry| entry.boot.counter -= 1)
    }),
    row(
        "another boot id without another counter",
        EntryKey,
        "E10",
        |good| change(good, |entry| entry.boot.id = [0xEE; 8]),
    ),
    row("monotonic time that goes back", EntryKey, "E10", |good| {
        change(good, |entry| entry.boot.monotonic_ms = 1)
    }),
    row(
        "a control pin to the control entry before the last",
        EntryKey,
        "E04",
        |good| {
            let first = good.entries.get(1)?.control;
            Some(
                good.resigned(good.middle()?, None, |entry| entry.control = first)?
                    .write(),
            )
        },
    ),
    row("a second genesis entry", EntryKey, "E02", |good| {
        draft(good, |draft, at| {
            *draft.entries.get_mut(at)? = draft.entries.first()?.clone();
            draft.payloads.get_mut(at)?.clear();
            Some(())
        })
    }),
    row(
        "a clock that is unset and yet knows the time of the next entry",
        EntryKey,
        "E03",
        |good| {
            change(good, |entry| {
                entry.clock.status = ClockStatus::Unset;
            })
        },
    ),
    row(
        "the configuration of another day in its place",
        EntryKey,
        "V05",
        |good| {
            let at = good.control(kind::CONFIG, 2)?;
            let first = good.control(kind::CONFIG, 0)?;
            let mut draft = good.draft();
            let other = draft.entries.get(first)?.clone();
            let index = good.entries.get(at)?.index;
            *draft.file(&format!("control/{index}.entry"))? = other;
            Some(draft.write())
        },
    ),
    row(
        "the configuration left out of the entries",
        Nothing,
        "E02",
        |good| {
            draft_at(
                good,
                |good| good.control(kind::CONFIG, 2),
                |draft, at| remove(draft, at..at + 1),
            )
        },
    ),
];

fn draft(good: &Good, change: fn(&mut Draft, usize) -> Option<()>) -> Option<Vec<u8>> {
    draft_at(good, Good::middle, change)
}

fn draft_at(
    good: &Good,
    place: fn(&Good) -> Option<usize>,
    change: fn(&mut Draft, usize) -> Option<()>,
) -> Option<Vec<u8>> {
    let mut draft = good.draft();
    change(&mut draft, place(good)?)?;
    Some(draft.write())
}

fn change(good: &Good, change: fn(&mut Entry)) -> Option<Vec<u8>> {
    Some(good.resigned(good.middle()?, None, change)?.write())
}

fn remove(draft: &mut Draft, range: Range<usize>) -> Option<()> {
    (range.end <= draft.entries.len()).then(|| {
        drop(draft.entries.drain(range.clone()));
        drop(draft.payloads.drain(range));
    })
}

/// Gives what follows the removed entries its new index, previous hash and ticks; key id and signature stay.
fn renumber(good: &Good, draft: &mut Draft, removed: Range<usize>) -> Option<()> {
    let nobody = SigningKey::from_seed([0x55; 32]);
    let mut previous = leaf_hash(draft.entries.get(removed.start - 1)?);
    for at in removed.start..draft.entries.len() {
        let mut entry = good.entries.get(at + removed.len())?.clone();
        entry.index = u64::try_from(at).ok()?;
        entry.previous = previous;
        if let Body::Data { ticks, .. } | Body::Gap { ticks, .. } = &mut entry.body {
            ticks.first = ticks.first.checked_sub(good.ticks(ticks.stream, 3_600)?)?;
        }
        let old = draft.entries.get_mut(at)?;
        let mut bytes = entry.sign(&good.origin, &nobody);
        let (length, end) = (bytes.len(), old.len());
        bytes.get_mut(3..16)?.copy_from_slice(old.get(3..16)?);
        bytes
            .get_mut(length - 64..)?
            .copy_from_slice(old.get(end - 64..)?);
        previous = leaf_hash(&bytes);
        *old = bytes;
    }
    Some(())
}

fn framed(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        bytes.extend(u16::try_from(entry.len()).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend(entry);
    }
    bytes
}

fn stream(good: &Good, at: usize) -> Option<u16> {
    Some(good.entries.get(at)?.ticks()?.stream)
}

fn shift(entry: &mut Entry, by: i64) {
    if let Body::Data { ticks, .. } | Body::Gap { ticks, .. } = &mut entry.body {
        ticks.first = ticks.first.saturating_add_signed(by);
    }
}

fn count(entry: &mut Entry, count: u64) {
    if let Body::Data { ticks, .. } | Body::Gap { ticks, .. } = &mut entry.body {
        ticks.count = count;
    }
}
