use super::Bench;

/// The entry whose payload is broken; the first two entries are control entries.
const AT: usize = 30;

#[test]
fn a_changed_byte_of_a_payload_is_named_with_its_entry() {
    let bench = Bench::new();
    let index = AT as u64 + 2;
    let length = bench.spec.logs[0].payloads[AT].len();
    for (what, position, codes) in [
        ("codec", 0, ["E16", "E15"]),
        ("point", 2, ["E15", "E15"]),
        ("first value", 9, ["E15", "E15"]),
        ("packed deltas", 20, ["E15", "E15"]),
        ("last byte", length - 1, ["E15", "E16"]),
    ] {
        let outcome = bench.broken(|spec| spec.logs[0].payloads[AT][position] ^= 1);
        assert!(
            codes.contains(&outcome.codes()[0]),
            "{what}: {}",
            outcome.failure()
        );
        assert_eq!(outcome.exit, 2);
        assert_eq!(
            outcome.json["failures"][0]["index"].as_u64(),
            Some(index),
            "{what}"
        );
    }
    for position in (0..length).step_by(41) {
        let outcome = bench.broken(|spec| spec.logs[0].payloads[AT][position] ^= 0x40);
        assert_eq!(outcome.exit, 2, "byte {position}");
        assert_eq!(
            outcome.json["failures"][0]["index"].as_u64(),
            Some(index),
            "byte {position}"
        );
    }
}

#[test]
fn payloads_moved_missing_or_too_many_are_refused() {
    let bench = Bench::new();
    let outcome = bench.broken(|spec| spec.logs[0].payloads.swap(AT, AT + 3));
    assert_eq!(outcome.exit, 2, "swapped: {}", outcome.failure());
    let outcome = bench.broken(|spec| drop(spec.logs[0].payloads.remove(AT)));
    assert_eq!(outcome.exit, 2, "missing: {}", outcome.failure());
    assert!(
        ["E15", "E16"].contains(&outcome.codes()[0]),
        "{}",
        outcome.failure()
    );
    bench.refused("a byte too many", 2, "V10", None, |spec| {
        spec.logs[0].payloads.push(vec![0]);
    });
    let last = bench.spec.logs[0].entries.len() as u64 - 1;
    bench.refused("a byte too few", 2, "E14", Some(last), |spec| {
        spec.logs[0].payloads.last_mut().unwrap().pop();
    });
    bench.refused("none at all", 2, "E14", Some(2), |spec| {
        spec.logs[0].payloads.clear();
    });
}
