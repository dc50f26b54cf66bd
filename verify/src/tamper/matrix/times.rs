//! Clocks, and what the times of witnesses prove about them.

use evidence::cosignature::cosign;

use super::keys::{gaps_in_place, move_ticks, set_back, unclaimed};
use crate::tamper::Hand::{Gateway, Witness};
use crate::tamper::forge::{Notes, at_their_times, forged};
use crate::tamper::{Expected, Good, Hand, Mutation};

const CLASS: &str = "Time";

const fn row(
    name: &'static str,
    hand: Hand,
    expected: Expected,
    make: fn(&Good) -> Option<Vec<u8>>,
) -> Mutation {
    Mutation {
        class: CLASS,
        name,
        hand,
        expected,
        make,
    }
}

const MONTH: u64 = 30 * 86_400;

pub(super) static MATRIX: [Mutation; 6] = [
    row(
        "a clock that goes an hour forward, with an honest gap",
        Gateway,
        Expected::Refused("V15"),
        |good| {
            let draft = forged(good, at_their_times(2), |rows| {
                let at = good.middle()?;
                let behind = gaps_in_place(good, rows, at..at)?;
                move_ticks(good, rows.get_mut(behind..)?, 3_600)
            })?;
            Some(draft.write())
        },
    ),
    row(
        "a clock that is set back by an hour, with an honest clock event",
        Gateway,
        Expected::Refused("V15"),
        |good| {
            let draft = forged(good, at_their_times(2), |rows| {
                set_back(good, rows, good.middle()?, 3_600)
            })?;
            Some(draft.write())
        },
    ),
    row(
        "a pinned note of next month",
        Witness,
        Expected::Refused("V15"),
        |good| Some(forged(good, Notes::By(2, |time| time + MONTH), |_| Some(()))?.write()),
    ),
    row(
        "a pinned note of last month",
        Witness,
        Expected::Refused("V15"),
        |good| Some(forged(good, Notes::By(2, |time| time - MONTH), |_| Some(()))?.write()),
    ),
    row(
        "witnesses who sign a month late, and nothing pinned",
        Witness,
        Expected::Shown(
            "class 1 only, no lower bound, the month's delay",
            |verdict| {
                let time = verdict
                    .logs
                    .first()
                    .map(|log| (log.time.no_lower, log.time.latest_s));
                verdict.class == Some(1)
                    && time.is_some_and(|(no_lower, late)| no_lower > 0 && late > MONTH)
            },
        ),
        |good| {
            let mut draft = forged(good, Notes::By(2, |time| time + MONTH), |rows| {
                rows.iter_mut().for_each(|row| row.entry.freshness = None);
                Some(())
            })?;
            unclaimed(&mut draft);
            Some(draft.write())
        },
    ),
    row(
        "one of two witnesses who says an earlier time",
        Witness,
        Expected::Harmless("the quorum's time is the later one"),
        |good| {
            let (name, key) = good.keys.witnesses.last()?;
            super::notes::note_with(good, |note| {
                let line = note.signatures.last()?;
                let time = u64::from_be_bytes(*line.bytes.first_chunk::<8>()?);
                let made = cosign(&note.text, name, key, time - 3_600);
                note.signatures.last_mut().map(|line| *line = made)
            })
        },
    ),
];
