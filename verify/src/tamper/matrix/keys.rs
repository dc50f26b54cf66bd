//! Attackers with keys in hand: what each key buys, and what nothing can find.

use std::ops::Range;
use std::sync::Arc;

use evidence::control::{ClockEvent, Control, approval_message, kind};
use evidence::entry::{Body, ClockStatus, ControlBody, Entry, GapReason, Ticks};
use evidence::hash::leaf_hash;
use evidence::key::SigningKey;

use crate::tamper::Hand::{
    EntryKey, EntryKeys, Everybody, Gateway, GatewayAndCollector, LogKey, Nothing, Witness,
};
use crate::tamper::draft::Draft;
use crate::tamper::forge::{Notes, Row, at_their_times, forged};
use crate::tamper::{Expected, Good, Hand, Mutation};
use crate::verdict::Verdict;

const HOUR: &str = "An hour taken away";
const VALUE: &str = "A reading rewritten";
const CONFIG: &str = "A configuration changed";
const FORK: &str = "Another history";

const fn row(
    class: &'static str,
    name: &'static str,
    hand: Hand,
    expected: Expected,
    make: fn(&Good) -> Option<Vec<u8>>,
) -> Mutation {
    Mutation {
        class,
        name,
        hand,
        expected,
        make,
    }
}

const fn refused(code: &'static str) -> Expected {
    Expected::Refused(code)
}

pub(super) static MATRIX: [Mutation; 30] = [
    row(
        HOUR,
        "linked and signed anew, ticks as they were",
        EntryKeys,
        refused("E07"),
        |good| Some(forged(good, Notes::None, |rows| cut(good, rows).map(drop))?.write()),
    ),
    row(
        HOUR,
        "linked and signed anew, later ticks moved up",
        EntryKeys,
        refused("V08"),
        |good| Some(forged(good, Notes::None, |rows| cut_and_close(good, rows))?.write()),
    ),
    row(
        HOUR,
        "the same, and the trail of notes withheld",
        EntryKeys,
        refused("V09"),
        |good| {
            let mut draft = forged(good, Notes::None, |rows| cut_and_close(good, rows))?;
            draft.cut_trail(0);
            Some(draft.write())
        },
    ),
    row(
        HOUR,
        "the same, filled up to the signed size",
        EntryKeys,
        refused("V08"),
        |good| {
            let all = good.entries.len();
            let mut draft = forged(good, Notes::None, |rows| {
                cut_and_close(good, rows)?;
                while rows.len() < all {
                    let mut last = rows
                        .iter()
                        .rfind(|row| row.entry.ticks().is_some())?
                        .clone();
                    let ticks = *last.entry.ticks()?;
                    last.was = all - 1;
                    last.payload.clear();
                    last.entry.body = gap(Ticks {
                        first: ticks.end(),
                        count: 1,
                        ..ticks
                    });
                    last.entry.boot.monotonic_ms = rows.last()?.entry.boot.monotonic_ms;
                    rows.push(last);
                }
                Some(())
            })?;
            draft.cut_trail(0);
            Some(draft.write())
        },
    ),
    row(
        HOUR,
        "under a new checkpoint that no witness signed",
        Gateway,
        refused("V03"),
        |good| Some(forged(good, at_their_times(0), |rows| cut_and_close(good, rows))?.write()),
    ),
    row(
        HOUR,
        "under a new checkpoint with the collector's cosignature",
        GatewayAndCollector,
        refused("V03"),
        |good| Some(forged(good, at_their_times(1), |rows| cut_and_close(good, rows))?.write()),
    ),
    row(
        HOUR,
        "under new checkpoints with all cosignatures at their old times",
        Everybody,
        refused("V15"),
        |good| {
            let mut draft = forged(good, at_their_times(2), |rows| cut_and_close(good, rows))?;
            unclaimed(&mut draft);
            Some(draft.write())
        },
    ),
    row(
        HOUR,
        "the hour said to be a gap",
        Everybody,
        Expected::Shown("a gap \"operator\" of an hour more", |verdict| {
            operator_ticks(verdict) >= 60
        }),
        |good| {
            let mut draft = forged(good, at_their_times(2), |rows| {
                let range = cut(good, rows)?;
                gaps_in_place(good, rows, range.start..range.start).map(drop)
            })?;
            unclaimed(&mut draft);
            Some(draft.write())
        },
    ),
    row(
        HOUR,
        "the payloads from it on left out, without a word in the log",
        Nothing,
        refused("E14"),
        |good| {
            let mut draft = good.draft();
            draft.payloads.truncate(hour(good)?.start);
            Some(draft.write())
        },
    ),
    row(
        VALUE,
        "one entry signed anew",
        EntryKey,
        refused("E03"),
        |good| {
            Some(
                good.rechunked(good.middle()?, |chunks| raise(chunks))?
                    .write(),
            )
        },
    ),
    row(
        VALUE,
        "all entries behind it linked and signed anew",
        EntryKeys,
        refused("V08"),
        |good| Some(forged(good, Notes::None, |rows| rewrite(good, rows))?.write()),
    ),
    row(
        VALUE,
        "the same, and the trail of notes withheld",
        EntryKeys,
        refused("V08"),
        |good| {
            let mut draft = forged(good, Notes::None, |rows| rewrite(good, rows))?;
            draft.cut_trail(0);
            Some(draft.write())
        },
    ),
    row(
        VALUE,
        "under a new checkpoint that no witness signed",
        Gateway,
        refused("V03"),
        |good| Some(forged(good, at_their_times(0), |rows| rewrite(good, rows))?.write()),
    ),
    row(
        VALUE,
        "under a new checkpoint with the collector's cosignature",
        GatewayAndCollector,
        refused("V03"),
        |good| Some(forged(good, at_their_times(1), |rows| rewrite(good, rows))?.write()),
    ),
    row(
        VALUE,
        "under the final checkpoint's own cosignatures",
        Gateway,
        refused("V02"),
        |good| {
            let old = evidence::note::Note::parse(good.draft().file("checkpoint")?).ok()?;
            let mut draft = forged(good, at_their_times(0), |rows| rewrite(good, rows))?;
            crate::tamper::draft::renote(draft.file("checkpoint")?, |note| {
                note.signatures.extend(old.signatures.into_iter().skip(1));
            })?;
            Some(draft.write())
        },
    ),
    row(
        VALUE,
        "by everybody together, the report as it was",
        Everybody,
        refused("V21"),
        |good| Some(forged(good, at_their_times(2), |rows| rewrite(good, rows))?.write()),
    ),
    row(
        VALUE,
        "by everybody together, and a report made from it",
        Everybody,
        Expected::Undetectable,
        |good| {
            let mut draft = forged(good, at_their_times(2), |rows| rewrite(good, rows))?;
            unclaimed(&mut draft);
            Some(draft.write())
        },
    ),
    row(
        CONFIG,
        "in the entries only",
        EntryKey,
        refused("V06"),
        |good| {
            let at = good.control(kind::CONFIG, 2)?;
            Some(
                good.resigned(at, None, |entry| rescale(entry).unwrap_or_default())?
                    .write(),
            )
        },
    ),
    row(
        CONFIG,
        "in the entries and in control/",
        EntryKey,
        refused("V05"),
        |good| {
            let at = good.control(kind::CONFIG, 2)?;
            let mut draft = good.resigned(at, None, |entry| rescale(entry).unwrap_or_default())?;
            let entry = draft.entries.get(at)?.clone();
            *draft.file(&format!("control/{at}.entry"))? = entry;
            Some(draft.write())
        },
    ),
    row(
        CONFIG,
        "and everything behind it signed anew",
        EntryKeys,
        refused("V06"),
        |good| Some(forged(good, Notes::None, |rows| rescale_rows(good, rows))?.write()),
    ),
    row(
        CONFIG,
        "under a new checkpoint",
        Gateway,
        refused("V03"),
        |good| Some(forged(good, at_their_times(0), |rows| rescale_rows(good, rows))?.write()),
    ),
    row(
        CONFIG,
        "while the gateway was in the operator's hands, so that all witnesses saw it so",
        Gateway,
        Expected::Shown(
            "a change of values that nobody whom you named approved",
            unapproved,
        ),
        |good| {
            let mut draft = forged(good, at_their_times(2), |rows| rescale_rows(good, rows))?;
            unclaimed(&mut draft);
            Some(draft.write())
        },
    ),
    row(
        CONFIG,
        "its approval signed by somebody else",
        Gateway,
        Expected::Shown(
            "a change of values that nobody whom you named approved",
            unapproved,
        ),
        |good| {
            let mut draft = forged(good, at_their_times(2), |rows| {
                reapprove(good, rows, &SigningKey::from_seed([0x55; 32]), 0)
            })?;
            unclaimed(&mut draft);
            Some(draft.write())
        },
    ),
    row(
        CONFIG,
        "an approval of another entry",
        Gateway,
        Expected::Shown(
            "a change of values that nobody whom you named approved",
            unapproved,
        ),
        |good| {
            let mut draft = forged(good, at_their_times(2), |rows| {
                reapprove(good, rows, &SigningKey::from_seed([92; 32]), 1)
            })?;
            unclaimed(&mut draft);
            Some(draft.write())
        },
    ),
    row(
        FORK,
        "a checkpoint over a shorter log",
        LogKey,
        refused("V03"),
        |good| {
            alone(good, |checkpoint, good| {
                checkpoint.size -= 6;
                checkpoint.root = super::notes::root_at(good, checkpoint.size)?;
                Some(())
            })
        },
    ),
    row(
        FORK,
        "a checkpoint over a longer log than there is",
        LogKey,
        refused("V03"),
        |good| {
            alone(good, |checkpoint, _| {
                checkpoint.size += 6;
                Some(())
            })
        },
    ),
    row(
        FORK,
        "a witness's signature under a checkpoint that the log did not sign",
        Witness,
        refused("V02"),
        |good| {
            let (name, key) = good.keys.witnesses.first()?;
            let mut checkpoint = super::notes::checkpoint(good)?;
            checkpoint.root.0[0] ^= 1;
            super::notes::note_with(good, |note| {
                note.text = checkpoint.body();
                let time = u64::from_be_bytes(*note.signatures.get(1)?.bytes.first_chunk::<8>()?);
                let made = evidence::cosignature::cosign(&note.text, name, key, time);
                note.signatures.get_mut(1).map(|line| *line = made)
            })
        },
    ),
    row(
        FORK,
        "a log that the plan does not name, beside the planned one",
        Nothing,
        refused("V18"),
        |good| other_log(good, true),
    ),
    row(
        FORK,
        "another log in place of the planned one",
        Nothing,
        refused("V18"),
        |good| other_log(good, false),
    ),
    row(
        FORK,
        "another log under the planned one's name",
        Gateway,
        refused("V02"),
        |good| {
            // Everything is made again by another gateway, which has another log key.
            let mut draft = good.draft();
            let checkpoint = super::notes::checkpoint(good)?;
            let stranger = SigningKey::from_seed([0x55; 32]);
            *draft.file("checkpoint")? =
                evidence::checkpoint::sign_checkpoint(&checkpoint, &stranger).to_bytes();
            Some(draft.write())
        },
    ),
];

/// The positions of the entries of the middle's hour; control entries among them stay.
pub(super) fn hour(good: &Good) -> Option<Range<usize>> {
    let middle = good.middle()?;
    let hour = good.hour(middle)?.0;
    let inside = |at: &usize| good.hour(*at).is_some_and(|(of, _)| of == hour);
    let first = (0..good.entries.len()).find(inside)?;
    let last = (0..good.entries.len()).rfind(inside)?;
    let whole = (first..=last).all(|at| good.entries.get(at).is_some_and(|e| e.ticks().is_some()));
    whole.then_some(first..last + 1)
}

/// Takes the hour out.
fn cut(good: &Good, rows: &mut Vec<Row>) -> Option<Range<usize>> {
    let range = hour(good)?;
    drop(rows.drain(range.clone()));
    Some(range)
}

/// Takes the hour out and lets what follows come an hour earlier.
fn cut_and_close(good: &Good, rows: &mut Vec<Row>) -> Option<()> {
    let range = cut(good, rows)?;
    move_ticks(good, rows.get_mut(range.start..)?, -3_600)
}

/// Moves the ticks of entries by seconds.
pub(super) fn move_ticks(good: &Good, rows: &mut [Row], seconds: i64) -> Option<()> {
    for row in rows {
        if let Body::Data { ticks, .. } | Body::Gap { ticks, .. } = &mut row.entry.body {
            let by = good.ticks(ticks.stream, seconds.unsigned_abs())?;
            ticks.first = if seconds < 0 {
                ticks.first.checked_sub(by)?
            } else {
                ticks.first.checked_add(by)?
            };
        }
    }
    Some(())
}

fn gap(ticks: Ticks) -> Body {
    Body::Gap {
        ticks,
        reason: GapReason::Operator,
        text: None,
    }
}

/// Puts a gap of an hour for every stream in the place of rows; each begins where its stream stands.
/// Gives the position behind them.
pub(super) fn gaps_in_place(
    good: &Good,
    rows: &mut Vec<Row>,
    range: Range<usize>,
) -> Option<usize> {
    let behind = rows.get(range.start)?.clone();
    let mut streams: Vec<u16> = rows
        .iter()
        .filter_map(|row| Some(row.entry.ticks()?.stream))
        .collect();
    streams.sort_unstable();
    streams.dedup();
    let before = rows.get(..range.start)?;
    let mut made = Vec::new();
    for stream in streams {
        let of = |row: &&Row| {
            row.entry
                .ticks()
                .is_some_and(|ticks| ticks.stream == stream)
        };
        let first = before.iter().rfind(of)?.entry.ticks()?.end();
        let count = good.ticks(stream, 3_600)?;
        let mut entry = behind.entry.clone();
        entry.boot = before.last()?.entry.boot;
        entry.body = gap(Ticks {
            stream,
            first,
            count,
        });
        made.push(Row {
            entry,
            payload: Vec::new(),
            was: behind.was,
        });
    }
    let behind = range.start + made.len();
    drop(rows.splice(range, made));
    Some(behind)
}

/// Puts a clock event in front of a row: from there on the time is earlier by so many seconds.
pub(super) fn set_back(good: &Good, rows: &mut Vec<Row>, at: usize, seconds: u64) -> Option<()> {
    let mut known: Vec<u16> = rows
        .iter()
        .filter_map(|row| Some(row.entry.ticks()?.stream))
        .collect();
    known.sort_unstable();
    known.dedup();
    let event = ClockEvent {
        source: ClockStatus::Ntp,
        error_ms: 5,
        shifts: known
            .into_iter()
            .map(|stream| {
                let back = i64::try_from(good.ticks(stream, seconds)?).ok()?;
                Some((stream, good.shift(at, stream) - back))
            })
            .collect::<Option<_>>()?,
        placed: Vec::new(),
        note: "set by hand".to_owned(),
    };
    let behind = rows.get(at)?;
    let mut entry = behind.entry.clone();
    entry.boot = rows.get(at - 1)?.entry.boot;
    entry.body = Control::Clock(event).into_body().0;
    let made = Row {
        entry,
        payload: Vec::new(),
        was: behind.was,
    };
    rows.insert(at, made);
    Some(())
}

/// Raises the first value of the first column, and so all values of the segment, by one unit.
fn raise(chunks: &mut [Vec<u8>]) -> Option<()> {
    let chunk = chunks
        .first_mut()
        .filter(|chunk| chunk.first() == Some(&1))?;
    let first = chunk.get_mut(8)?;
    *first = first.wrapping_add(1);
    Some(())
}

/// Raises the first column of every stream for an hour.
fn rewrite(good: &Good, rows: &mut [Row]) -> Option<()> {
    for at in hour(good)? {
        if let Some(draft) = good.rechunked(at, |chunks| raise(chunks)) {
            let row = rows.get_mut(at)?;
            row.entry = Entry::parse(draft.entries.get(at)?).ok()?.entry;
            row.payload.clone_from(draft.payloads.get(at)?);
        }
    }
    Some(())
}

/// Another scale for the first point that has decimals to spare.
fn rescale(entry: &mut Entry) -> Option<()> {
    let Body::Control {
        body: ControlBody::Inline(body),
        ..
    } = &mut entry.body
    else {
        return None;
    };
    let Ok(Control::Config(mut config)) = Control::decode(kind::CONFIG, body) else {
        return None;
    };
    let point = Arc::make_mut(&mut config)
        .points
        .iter_mut()
        .find(|point| point.scale.to_string() == "0.1")?;
    point.scale = evidence::decimal::Decimal::parse("0.2").ok()?;
    *body = Control::Config(config).encode();
    Some(())
}

fn rescale_rows(good: &Good, rows: &mut [Row]) -> Option<()> {
    rescale(&mut rows.get_mut(good.control(kind::CONFIG, 2)?)?.entry)
}

/// Another signature in the approval, or one about an entry before.
fn reapprove(good: &Good, rows: &mut [Row], by: &SigningKey, back: u64) -> Option<()> {
    let row = rows.get_mut(good.control(kind::APPROVAL, 0)?)?;
    let Body::Control {
        body: ControlBody::Inline(body),
        ..
    } = &mut row.entry.body
    else {
        return None;
    };
    let Ok(Control::Approval { index, .. }) = Control::decode(kind::APPROVAL, body) else {
        return None;
    };
    let index = index.checked_sub(back)?;
    let leaf = leaf_hash(good.draft().entries.get(usize::try_from(index).ok()?)?);
    let signature = by.sign(&approval_message(&good.origin, index, &leaf));
    let key = by.public();
    *body = Control::Approval {
        index,
        leaf,
        key,
        signature,
    }
    .encode();
    Some(())
}

/// Leaves the report out: whoever forges makes another one.
pub(super) fn unclaimed(draft: &mut Draft) {
    draft
        .members
        .retain(|file| file.path != "report/report.json");
}

fn operator_ticks(verdict: &Verdict) -> u64 {
    let streams = verdict.logs.iter().flat_map(|log| &log.streams);
    let gaps = streams.filter_map(|stream| stream.gaps.get("operator"));
    gaps.map(|gap| gap.ticks).max().unwrap_or(0)
}

fn unapproved(verdict: &Verdict) -> bool {
    let mut events = verdict.logs.iter().flat_map(|log| &log.events);
    events.any(|event| event.changes_values && event.approved_by.is_none())
}

/// The final note replaced by one that the log signed and nobody else.
fn alone(
    good: &Good,
    change: fn(&mut evidence::checkpoint::Checkpoint, &Good) -> Option<()>,
) -> Option<Vec<u8>> {
    let mut draft = good.draft();
    let mut checkpoint = super::notes::checkpoint(good)?;
    change(&mut checkpoint, good)?;
    *draft.file("checkpoint")? =
        evidence::checkpoint::sign_checkpoint(&checkpoint, &good.keys.log).to_bytes();
    Some(draft.write())
}

/// The log under a name that the plan does not have.
fn other_log(good: &Good, beside: bool) -> Option<Vec<u8>> {
    let mut draft = good.draft();
    let name = "example.com/gw/9999";
    let theirs = evidence::hash::Origin::parse(name).ok()?.id();
    let from = draft.position("origin")?;
    let mut blocks = draft.blocks();
    let ours = blocks.split_off(from);
    *draft.file("origin")? = format!("{name}\n").into_bytes();
    let mine = good.origin.id();
    for file in &mut draft.members {
        file.path = file.path.replace(&mine.to_hex(), &theirs.to_hex());
    }
    let (entries, payloads) = (
        std::mem::take(&mut draft.entries),
        std::mem::take(&mut draft.payloads),
    );
    drop((entries, payloads));
    let other = draft.blocks().split_off(from);
    let logs = match (beside, mine < theirs) {
        (false, _) => other,
        (true, true) => [ours, other].concat(),
        (true, false) => [other, ours].concat(),
    };
    Some(crate::tamper::archive::put_together(
        &[blocks, logs].concat(),
    ))
}
