//! Whatever bytes it is given, the verifier answers; and no change of a bundle is confirmed.

use std::ops::Range;

use evidence::bundle::{Bundle, FileSpan};

use crate::support::{Files, plain_day};

/// The bytes whose change may go unpunished: what is for people, and trail notes, where a line that names
/// a stranger after the change is ignored, which can only widen a bracket.
fn free(bytes: &[u8]) -> Vec<Range<usize>> {
    let bundle = Bundle::read(&bytes.to_vec()).unwrap();
    let range = |file: &FileSpan| {
        let at = usize::try_from(file.offset).unwrap();
        at..at + usize::try_from(file.size).unwrap()
    };
    let trail = bundle
        .logs
        .iter()
        .flat_map(|log| &log.trail)
        .map(|trail| range(&trail.note));
    [range(&bundle.readme), range(&bundle.plan)]
        .into_iter()
        .chain(trail)
        .collect()
}

/// A small generator of numbers, so that every run tries the same changes.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).unwrap()).unwrap()
    }
}

#[test]
fn no_single_changed_byte_goes_unnoticed_and_none_makes_it_panic() {
    let site = plain_day();
    let mut files = Files::new(&site);
    files.python = false;
    let good = site.spec().write();
    let free = free(&good);
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for round in 0..120 {
        let at = numbers.below(good.len());
        let mut bytes = good.clone();
        bytes[at] ^= 1 << numbers.below(8);
        let outcome = files.rust(&bytes);
        let tolerated = free.iter().any(|range| range.contains(&at));
        assert!(
            outcome.exit >= 2 || tolerated,
            "round {round}: byte {at} of {} changed and exit {}",
            good.len(),
            outcome.exit
        );
    }
}

#[test]
fn cut_grown_and_shuffled_bundles_are_refused_without_a_panic() {
    let site = plain_day();
    let mut files = Files::new(&site);
    files.python = false;
    let good = site.spec().write();
    let free = free(&good);
    let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
    for round in 0..60 {
        let mut bytes = good.clone();
        match round % 4 {
            0 => bytes.truncate(numbers.below(good.len())),
            1 => {
                let at = numbers.below(good.len() / 512) * 512;
                bytes.drain(at..at + 512);
            }
            2 => {
                let at = numbers.below(good.len());
                bytes.insert(at, 7);
            }
            _ => {
                let (from, to) = (
                    numbers.below(good.len() - 600),
                    numbers.below(good.len() - 600),
                );
                let piece = good[from..from + 600].to_vec();
                bytes[to..to + 600].copy_from_slice(&piece);
            }
        }
        let outcome = files.rust(&bytes);
        let changed: Vec<usize> = (0..good.len().min(bytes.len()))
            .filter(|at| good[*at] != bytes[*at])
            .collect();
        let tolerated = good.len() == bytes.len()
            && changed
                .iter()
                .all(|at| free.iter().any(|range| range.contains(at)));
        assert!(
            outcome.exit >= 2 || tolerated,
            "round {round}: exit {}",
            outcome.exit
        );
    }
}
