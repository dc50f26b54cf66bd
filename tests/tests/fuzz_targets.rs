//! Every fuzz target over its seeds, their mutations, and random bytes, with each test run.

use std::time::{Duration, Instant};

use system_tests::fuzz::{TARGETS, seeds};

/// Inputs for each target, if `FIELDSEAL_FUZZ_ROUNDS` does not say otherwise.
const ROUNDS: u64 = 20_000;

/// A small generator with a fixed beginning, so that a failure comes again (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or(0) % end.max(1)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    /// Changes a byte, a bit, the length, or puts a piece of another seed in.
    fn mutate(&mut self, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let at = self.below(bytes.len() + 1);
        match self.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, self.byte()),
            2 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            3 if at < bytes.len() => bytes[at] = [0, 1, 0x7F, 0x80, 0xFF][self.below(5)],
            4 if at < bytes.len() => drop(bytes.remove(at)),
            _ => {
                let other = &seeds[self.below(seeds.len())];
                let from = self.below(other.len());
                let to = (from + self.below(40)).min(other.len());
                bytes.splice(at..at, other[from..to].iter().copied());
            }
        }
    }
}

#[test]
fn no_decoder_panics_hangs_or_accepts_what_it_would_not_write() {
    let seeds = seeds();
    let rounds = std::env::var("FIELDSEAL_FUZZ_ROUNDS");
    let rounds = rounds.map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    assert!(seeds.len() > 20, "the worked examples are found");
    for (name, target) in TARGETS {
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        let mut slowest = Duration::ZERO;
        let mut run = |bytes: &[u8]| {
            let begun = Instant::now();
            target(bytes);
            slowest = slowest.max(begun.elapsed());
        };
        run(&[]);
        for seed in &seeds {
            run(seed);
            for kind in 0..=20 {
                // Control bodies have their kind in front.
                run(&[&[kind], &seed[..]].concat());
            }
        }
        for round in 0..rounds {
            let mut bytes = if round % 4 == 0 {
                (0..random.below(200)).map(|_| random.byte()).collect()
            } else {
                seeds[random.below(seeds.len())].clone()
            };
            for _ in 0..=random.below(4) {
                random.mutate(&mut bytes, &seeds);
            }
            run(&bytes);
        }
        assert!(slowest < Duration::from_secs(5), "{name} took {slowest:?}");
    }
}
