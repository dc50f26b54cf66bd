use evidence::bundle::{Bundle, ReadAt as _};
use evidence::control::Control;
use evidence::entry::{Body, Entry};
use evidence::hash::Origin;
use evidence::key::SigningKey;

use super::{Bench, expect};

/// The position of a data entry of stream 0 with a stream-0 successor, and one of its payload.
const AT: usize = 40;

/// Signs an entry again after a change, with the key of seed `seed`.
fn resign(bytes: &mut Vec<u8>, origin: &str, seed: u8, change: impl FnOnce(&mut Entry)) {
    let mut entry = Entry::parse(bytes).unwrap().entry;
    change(&mut entry);
    *bytes = entry.sign(
        &Origin::parse(origin).unwrap(),
        &SigningKey::from_seed([seed; 32]),
    );
}

#[test]
fn a_changed_byte_of_an_entry_is_named_with_its_index_and_place() {
    let bench = Bench::new();
    let at = Some(AT as u64);
    let length = bench.spec.logs[0].entries[AT].len();
    for (what, position, code) in [
        ("tag", 0, "E01"),
        ("array head", 1, "E01"),
        ("protected header", 4, "E01"),
        ("key id", 9, "E05"),
        ("unprotected header", 16, "E01"),
        ("map head", 19, "E01"),
        ("previous hash", 40, "E03"),
        ("signature", length - 3, "E06"),
    ] {
        let outcome = bench.refused(what, 2, code, at, |spec| {
            spec.logs[0].entries[AT][position] ^= 1;
        });
        let offset = outcome.json["failures"][0]["offset"].as_u64().unwrap();
        let mut spec = bench.spec.clone();
        spec.logs[0].entries[AT][position] ^= 1;
        let bytes = spec.write();
        let mut there = vec![0; length];
        bytes.read_exact_at(&mut there, offset).unwrap();
        assert_eq!(
            there, spec.logs[0].entries[AT],
            "{what}: the offset is where the entry stands"
        );
    }
    // Every bit counts: what parses is refused by its signature.
    for position in (20..length).step_by(29) {
        let outcome = bench.broken(|spec| spec.logs[0].entries[AT][position] ^= 0x10);
        assert_eq!(outcome.exit, 2, "byte {position}: {}", outcome.failure());
        assert_eq!(
            outcome.json["failures"][0]["index"].as_u64(),
            at,
            "byte {position}: {}",
            outcome.failure()
        );
    }
}

#[test]
fn an_entry_dropped_doubled_or_moved_is_named() {
    let bench = Bench::new();
    bench.refused("dropped", 2, "E02", Some(AT as u64), |spec| {
        drop(spec.logs[0].entries.remove(AT));
    });
    bench.refused("doubled", 2, "E02", Some(AT as u64 + 1), |spec| {
        let entry = spec.logs[0].entries[AT].clone();
        spec.logs[0].entries.insert(AT, entry);
    });
    bench.refused("swapped", 2, "E02", Some(AT as u64), |spec| {
        spec.logs[0].entries.swap(AT, AT + 1);
    });
    bench.refused("first one dropped", 2, "E02", Some(0), |spec| {
        drop(spec.logs[0].entries.remove(0));
    });
    let end = bench.site.gateways[0].size();
    bench.refused("one too many", 2, "V10", Some(end), |spec| {
        let entry = spec.logs[0].entries.last().unwrap().clone();
        spec.logs[0].entries.push(entry);
    });
    bench.refused("last one dropped", 3, "V09", None, |spec| {
        drop(spec.logs[0].entries.pop());
    });
    bench.refused("all dropped", 3, "V09", None, |spec| {
        spec.logs[0].entries.clear();
    });
}

#[test]
fn a_key_signs_only_the_indices_it_is_in_force_for_and_only_in_its_log() {
    let bench = Bench::new();
    let rotation = bench.site.gateways[0]
        .rows
        .iter()
        .position(|row| matches!(row.control, Some(Control::KeyAdd(_))))
        .unwrap();
    let (before, after) = (rotation as u64 - 1, rotation as u64 + 1);
    let origin = "example.com/gw/0001";
    bench.refused("old key on new index", 2, "E05", Some(after), |spec| {
        resign(&mut spec.logs[0].entries[rotation + 1], origin, 2, |_| {});
    });
    bench.refused("new key on old index", 2, "E05", Some(before), |spec| {
        resign(&mut spec.logs[0].entries[rotation - 1], origin, 3, |_| {});
    });
    bench.refused("entry of another log", 2, "E06", Some(before), |spec| {
        resign(
            &mut spec.logs[0].entries[rotation - 1],
            "example.com/gw/0002",
            2,
            |_| {},
        );
    });
    bench.refused(
        "a day's key rewrites a value of that day",
        2,
        "E03",
        Some(AT as u64 + 1),
        |spec| {
            resign(&mut spec.logs[0].entries[AT], origin, 2, |entry| {
                entry.clock.error_ms += 1;
            });
        },
    );
    let last = bench.site.gateways[0]
        .rows
        .iter()
        .rposition(|row| {
            matches!(
                Entry::parse(&row.entry).unwrap().entry.body,
                Body::Data { .. }
            )
        })
        .unwrap();
    bench.refused(
        "the newest key rewrites the last entry",
        2,
        "V08",
        Some(last as u64),
        |spec| {
            resign(&mut spec.logs[0].entries[last], origin, 3, |entry| {
                entry.clock.error_ms += 1;
            });
        },
    );
    bench.refused("a tick later", 2, "E07", Some(AT as u64), |spec| {
        resign(&mut spec.logs[0].entries[AT], origin, 2, |entry| {
            ticks(entry, 1);
        });
    });
    bench.refused("a tick earlier", 2, "E08", Some(AT as u64), |spec| {
        resign(&mut spec.logs[0].entries[AT], origin, 2, |entry| {
            ticks(entry, -1);
        });
    });
    bench.refused("another stream", 2, "E09", Some(AT as u64), |spec| {
        resign(&mut spec.logs[0].entries[AT], origin, 2, |entry| {
            if let Body::Data { ticks, .. } = &mut entry.body {
                ticks.stream = 9;
            }
        });
    });
}

fn ticks(entry: &mut Entry, by: i64) {
    if let Body::Data { ticks, .. } = &mut entry.body {
        ticks.first = ticks.first.checked_add_signed(by).unwrap();
    }
}

#[test]
fn with_every_key_of_the_gateway_a_tick_still_cannot_vanish_nor_an_hour() {
    let mut bench = Bench::new();
    let notes = bench.site.gateways[0].trail.clone();
    let witnesses = std::mem::take(&mut bench.site.witnesses);
    // Whoever also holds the witnesses' keys can link anything, and the ticks still do not add up.
    bench.site.gateways[0].forge(&witnesses, |rows| {
        if let Body::Data { ticks, .. } = &mut rows[AT].0.body {
            ticks.count -= 1;
        }
    });
    let stream = Entry::parse(&bench.site.gateways[0].rows[AT].entry)
        .unwrap()
        .entry
        .ticks()
        .unwrap()
        .stream;
    let next = bench.site.gateways[0]
        .rows
        .iter()
        .skip(AT + 1)
        .position(|row| {
            Entry::parse(&row.entry)
                .unwrap()
                .entry
                .ticks()
                .is_some_and(|ticks| ticks.stream == stream)
        })
        .unwrap()
        + AT
        + 1;
    let end = bench.site.gateways[0].now_ms / 1000 + 30;
    bench.site.checkpoints = vec![bench.site.gateways[0].forged_checkpoint(end, &witnesses)];
    let mut spec = bench.spec.clone();
    relink(&bench, &mut spec);
    let outcome = bench.files.check(&spec.write());
    assert!(
        ["E07", "E17"].contains(&outcome.codes()[0]),
        "{}",
        outcome.failure()
    );
    assert!(
        [Some(AT as u64), Some(next as u64)]
            .contains(&outcome.json["failures"][0]["index"].as_u64())
    );
    // Without the witnesses' keys the notes that they signed give the rewriting away.
    spec.logs[0].parts.trail = notes;
    let outcome = bench.files.check(&spec.write());
    expect(
        &outcome,
        "another history than the witnesses saw",
        2,
        outcome.codes()[0],
        outcome.json["failures"][0]["index"].as_u64(),
    );
    assert!(
        ["V07", "V08", "E17"].contains(&outcome.codes()[0]),
        "{}",
        outcome.failure()
    );
}

/// Puts a forged gateway into a bundle.
fn relink(bench: &Bench, spec: &mut crate::support::Spec) {
    let gateway = &bench.site.gateways[0];
    let log = &mut spec.logs[0];
    log.entries = gateway.rows.iter().map(|row| row.entry.clone()).collect();
    log.parts.checkpoint.clone_from(&bench.site.checkpoints[0]);
    log.parts.trail.clone_from(&gateway.trail);
    for control in &mut log.parts.controls {
        control
            .entry
            .clone_from(&gateway.rows[usize::try_from(control.index).unwrap()].entry);
        control.proof = gateway.proof(control.index, gateway.size());
    }
}

#[test]
fn control_entries_are_all_there_and_are_the_ones_that_were_proven() {
    let bench = Bench::new();
    let rotation = bench.site.gateways[0]
        .rows
        .iter()
        .position(|row| matches!(row.control, Some(Control::KeyAdd(_))))
        .unwrap();
    let last = bench.spec.logs[0].parts.controls.len() - 1;
    assert_eq!(
        bench.spec.logs[0].parts.controls[last].index,
        rotation as u64
    );
    bench.refused("genesis left out", 2, "E04", Some(1), |spec| {
        drop(spec.logs[0].parts.controls.remove(0));
    });
    bench.refused(
        "configuration left out",
        2,
        "E04",
        Some(rotation as u64),
        |spec| drop(spec.logs[0].parts.controls.remove(1)),
    );
    bench.refused(
        "key change left out",
        2,
        "V06",
        Some(rotation as u64),
        |spec| drop(spec.logs[0].parts.controls.pop()),
    );
    bench.refused("a proof for another size", 2, "V05", Some(1), |spec| {
        let gateway = &bench.site.gateways[0];
        spec.logs[0].parts.controls[1].proof = gateway.proof(1, gateway.size() / 2);
    });
    bench.refused(
        "a configuration that was never in the log",
        2,
        "V05",
        Some(1),
        |spec| {
            resign(
                &mut spec.logs[0].parts.controls[1].entry,
                "example.com/gw/0001",
                2,
                |entry| entry.clock.unix_ms += 1,
            );
        },
    );
    bench.refused("a body that nobody names", 2, "V10", None, |spec| {
        spec.logs[0].parts.controls[1].body = Some(b"not a body".to_vec());
    });
    bench.refused("start hashes for another size", 2, "E02", Some(1), |spec| {
        spec.logs[0].parts.start = bench.site.gateways[0].range(1);
    });
    let bytes = bench.spec.write();
    assert!(Bundle::read(&bytes).is_ok());
}
