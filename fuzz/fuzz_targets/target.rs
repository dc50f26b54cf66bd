//! libFuzzer over one of the targets of `tests/src/fuzz.rs`, named by `FUZZ_TARGET`.
#![no_main]

use std::sync::OnceLock;

#[path = "../../tests/src/fuzz.rs"]
mod fuzz;

/// The target that was asked for.
static TARGET: OnceLock<fuzz::Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: {
        let wanted = std::env::var("FUZZ_TARGET").unwrap_or_default();
        let names: Vec<&str> = fuzz::TARGETS.iter().map(|(name, _)| *name).collect();
        let found = fuzz::TARGETS.iter().find(|(name, _)| *name == wanted);
        let Some((_, target)) = found else {
            eprintln!("FUZZ_TARGET must be one of: {}", names.join(", "));
            std::process::exit(64);
        };
        // The seeds are written where libFuzzer was told to keep its corpus.
        if let Ok(folder) = std::env::var("FUZZ_SEEDS") {
            for (number, seed) in fuzz::seeds().iter().enumerate() {
                std::fs::write(format!("{folder}/seed-{number}"), seed).expect("write a seed");
            }
        }
        drop(TARGET.set(*target));
    },
    |bytes: &[u8]| {
        if let Some(target) = TARGET.get() {
            target(bytes);
        }
    }
);
