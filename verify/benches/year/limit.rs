//! What the checks of a bundle need at least on this machine, now: signatures, hashes and decoding of its own
//! bytes, each in a bare loop on one core, and the density of carbon dioxide, solved for one sample after another.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use evidence::bundle::{Bundle, ReadAt as _};
use evidence::chunk::View;
use evidence::entry::{Body, Entry};
use evidence::hash::{leaf_hash, root_of};
use evidence::key::SigningKey;
use quantification::carbon_dioxide::{State, density};
use verify::file::BundleFile;

/// Enough for a steady figure, few enough to stay in memory.
const ENTRIES: usize = 2_000;

/// Microseconds an entry on one core.
pub(crate) struct Limit {
    pub(crate) signature: f64,
    pub(crate) hashing: f64,
    pub(crate) decoding: f64,
}

impl Limit {
    pub(crate) fn all(&self) -> f64 {
        self.signature + self.hashing + self.decoding
    }
}

/// Measures over the first entries of a bundle.
pub(crate) fn measure(bundle: &Path) -> Limit {
    let file = BundleFile::open(bundle).unwrap();
    let read = Bundle::read(&file).unwrap();
    let log = &read.logs[0];
    let take = |from: u64, length: u64| {
        let mut bytes = vec![0; usize::try_from(length).unwrap()];
        file.read_exact_at(&mut bytes, from).unwrap();
        bytes
    };
    let framed = take(log.entries.offset, log.entries.size.min(2 << 20));
    let (mut entries, mut payloads) = (Vec::new(), Vec::new());
    let mut rest = framed.as_slice();
    let mut at = log.payload.offset;
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length));
        let Some((entry, after)) = after.split_at_checked(length) else {
            break;
        };
        rest = after;
        if let Body::Data { payload, .. } = Entry::parse(entry).unwrap().entry.body {
            entries.push(entry.to_vec());
            payloads.push(take(at, payload.bytes));
            at += payload.bytes;
        }
        if entries.len() == ENTRIES {
            break;
        }
    }
    Limit {
        signature: signature(),
        hashing: each(entries.len(), || {
            for (entry, payload) in entries.iter().zip(&payloads) {
                let mut leaves = Vec::with_capacity(64);
                let mut rest = payload.as_slice();
                while !rest.is_empty() {
                    let (_, used) = View::parse(rest).unwrap();
                    leaves.push(leaf_hash(&rest[..used]));
                    rest = &rest[used..];
                }
                black_box((root_of(&leaves), leaf_hash(entry)));
            }
        }),
        decoding: each(payloads.len(), || {
            let mut values = Vec::new();
            for payload in &payloads {
                let mut rest = payload.as_slice();
                while !rest.is_empty() {
                    let (view, used) = View::parse(rest).unwrap();
                    view.check(&mut values).unwrap();
                    black_box(
                        values
                            .iter()
                            .fold(0_i64, |sum, value| sum.wrapping_add(*value)),
                    );
                    rest = &rest[used..];
                }
            }
        }),
    }
}

/// The best of three, in microseconds for each of so many.
fn each(count: usize, run: impl Fn()) -> f64 {
    let count = f64::from(u32::try_from(count).unwrap());
    let times = (0..3).map(|_| {
        let begun = Instant::now();
        run();
        begun.elapsed().as_secs_f64() * 1e6 / count
    });
    times.fold(f64::INFINITY, f64::min)
}

fn signature() -> f64 {
    let key = SigningKey::from_seed([1; 32]);
    let message = [7; 300];
    let signature = key.sign(&message);
    let public = key.public();
    each(5_000, || {
        for _ in 0..5_000 {
            public.verify(&message, &signature).unwrap();
        }
    })
}

/// Densities a second on one core, over states of an injection well: 8 to 12 MPa, 305 to 325 K.
pub(crate) fn densities() -> f64 {
    let states: Vec<State> = (0..20_000_u32)
        .map(|at| State {
            pressure_pa: 8e6 + f64::from(at % 977) * 4e3,
            temperature_k: 305.0 + f64::from(at % 613) / 31.0,
            pressure_uncertainty_pa: 5e3,
            temperature_uncertainty_k: 0.1,
        })
        .collect();
    let solved = states.iter().filter(|state| density(state).is_ok()).count();
    assert!(solved > states.len() / 2, "only {solved} have one phase");
    let microseconds = each(states.len(), || {
        for state in &states {
            black_box(density(state)).ok();
        }
    });
    1e6 / microseconds
}
