use evidence::checkpoint::{Checkpoint, sign_checkpoint};
use evidence::cosignature::cosign;
use evidence::hash::{Hash, Origin};
use evidence::key::SigningKey;
use evidence::note::Note;

use super::Bench;

fn edit(bytes: &mut Vec<u8>, change: impl FnOnce(&mut Note)) {
    let mut note = Note::parse(bytes).unwrap();
    change(&mut note);
    *bytes = note.to_bytes();
}

#[test]
fn the_final_checkpoint_needs_the_log_s_own_key_and_every_witness_of_the_quorum() {
    let bench = Bench::new();
    let end = bench.site.gateways[0].now_ms / 1000 + 30;
    let checkpoint = |change: &dyn Fn(&mut Checkpoint)| {
        let gateway = &bench.site.gateways[0];
        let mut checkpoint = Checkpoint {
            origin: gateway.origin.clone(),
            size: gateway.size(),
            root: *gateway.roots.last().unwrap(),
        };
        change(&mut checkpoint);
        checkpoint
    };
    bench.refused("signed by somebody else", 2, "V02", None, |spec| {
        let mut note = sign_checkpoint(&checkpoint(&|_| {}), &SigningKey::from_seed([77; 32]));
        for witness in &bench.site.witnesses {
            note.signatures.push(cosign(
                &note.text,
                witness.name,
                &witness.key,
                u64::try_from(end).unwrap(),
            ));
        }
        spec.logs[0].parts.checkpoint = note.to_bytes();
    });
    bench.refused("the log's signature altered", 2, "V02", None, |spec| {
        edit(&mut spec.logs[0].parts.checkpoint, |note| {
            note.signatures[0].bytes[5] ^= 1;
        });
    });
    bench.refused("another time in a cosignature", 2, "V02", None, |spec| {
        edit(&mut spec.logs[0].parts.checkpoint, |note| {
            note.signatures[1].bytes[7] ^= 1;
        });
    });
    bench.refused(
        "a cosignature of another log's checkpoint",
        2,
        "V02",
        None,
        |spec| {
            edit(&mut spec.logs[0].parts.checkpoint, |note| {
                let other =
                    checkpoint(&|c| c.origin = Origin::parse("example.com/gw/0009").unwrap());
                let witness = &bench.site.witnesses[1];
                note.signatures[2] = cosign(
                    &other.body(),
                    witness.name,
                    &witness.key,
                    u64::try_from(end).unwrap(),
                );
            });
        },
    );
    bench.refused("one witness short", 4, "V03", None, |spec| {
        edit(&mut spec.logs[0].parts.checkpoint, |note| {
            drop(note.signatures.pop());
        });
    });
    bench.refused("no witness at all", 4, "V03", None, |spec| {
        edit(&mut spec.logs[0].parts.checkpoint, |note| {
            note.signatures.truncate(1);
        });
    });
    let outcome = bench.broken(|spec| {
        edit(&mut spec.logs[0].parts.checkpoint, |note| {
            for seed in 100..114 {
                note.signatures.push(cosign(
                    &note.text,
                    "somebody.example",
                    &SigningKey::from_seed([seed; 32]),
                    1,
                ));
            }
        });
    });
    assert_eq!(
        outcome.exit,
        0,
        "17 signatures, 14 of strangers: {}",
        outcome.failure()
    );
}

#[test]
fn a_trail_note_that_cannot_belong_here_is_refused() {
    let bench = Bench::new();
    let gateway = &bench.site.gateways[0];
    let note = |size: u64, root: Hash| {
        let checkpoint = Checkpoint {
            origin: gateway.origin.clone(),
            size,
            root,
        };
        let mut note = sign_checkpoint(&checkpoint, &gateway.log_key);
        let witness = &bench.site.witnesses[0];
        note.signatures.push(cosign(
            &note.text,
            witness.name,
            &witness.key,
            1_767_550_000,
        ));
        note
    };
    bench.refused("a bad cosignature", 2, "V07", None, |spec| {
        edit(&mut spec.logs[0].parts.trail[3], |note| {
            note.signatures[1].bytes[30] ^= 1;
        });
    });
    bench.refused("not signed by the log", 2, "V07", None, |spec| {
        edit(&mut spec.logs[0].parts.trail[3], |note| {
            drop(note.signatures.remove(0));
        });
    });
    bench.refused("beyond the final checkpoint", 2, "V07", None, |spec| {
        spec.logs[0]
            .parts
            .trail
            .push(note(gateway.size() + 1, Hash([1; 32])).to_bytes());
    });
    bench.refused("a fork", 2, "V07", None, |spec| {
        let size = Checkpoint::parse_body(&Note::parse(&spec.logs[0].parts.trail[3]).unwrap().text)
            .unwrap()
            .size;
        spec.logs[0]
            .parts
            .trail
            .push(note(size, Hash([1; 32])).to_bytes());
    });
    bench.refused("another history", 2, "V08", Some(49), |spec| {
        spec.logs[0]
            .parts
            .trail
            .push(note(50, Hash([1; 32])).to_bytes());
    });
    let outcome = bench.broken(|spec| {
        spec.logs[0]
            .parts
            .trail
            .push(note(50, gateway.roots[50]).to_bytes());
    });
    assert_eq!(outcome.exit, 0, "a note more: {}", outcome.failure());
}
