//! The stored log read again: when its snapshot is of no use, and when somebody asks for damage.

use collector::inspect::{Inspected, inspect};
use collector::{ManualClock, ServeError};
use evidence::control::{ClockEvent, Control, Placed};
use evidence::entry::{Boot, ClockReading, ClockStatus};
use store::{Append, NewRow};

use crate::bed::{Bed, NOW};
use crate::checks::{assert_whole, located};
use crate::edge::Edge;
use crate::on_both;

async fn inspected(bed: &Bed, edge: &Edge) -> Inspected {
    inspect(&bed.store, located(bed, edge).await, &bed.witness)
        .await
        .unwrap()
        .unwrap()
}

on_both! {
    async fn a_snapshot_of_another_version_is_replaced_by_reading_the_log_again(bed: &Bed) {
        let serving = bed.serve();
        let mut edge = Edge::enrolled(bed, &serving).await;
        edge.seal_data(&[1, 2, 3]);
        let log = located(bed, &edge).await;
        let head = bed.store.head(log).await.unwrap().unwrap();
        let entry = edge.entries[1].0.clone();
        let row = NewRow {
            index: 1,
            leaf: evidence::hash::leaf_hash(&entry).0,
            kind: 102,
            entry,
            payload: None,
            segment: None,
        };
        let append = Append {
            log,
            old_size: 1,
            new_size: 2,
            new_root: edge.root_at(2).0,
            chain: b"a snapshot of another version".to_vec(),
            rows: vec![row],
            hours: Vec::new(),
            replaced: Vec::new(),
            merge: |_stored, _later| Err("there is nothing to merge".to_owned()),
            placements: Vec::new(),
            note: edge.note_at(2),
            cosigned_s: head.log.cosigned_s,
            trail: false,
            now_ms: NOW,
        };
        bed.store.append(&append).await.unwrap();
        edge.deliver(&serving, 2, 3).await;
        assert_whole(bed, &edge).await;
        let head = bed.store.head(log).await.unwrap().unwrap();
        assert_eq!(evidence::chain::Chain::decode(&head.chain).unwrap().size(), 3);
        serving.stop().await;
    }

    async fn a_whole_store_inspects_as_it_came_in(bed: &Bed) {
        let serving = bed.serve();
        let mut edge = Edge::enrolled(bed, &serving).await;
        edge.seal_data(&[10, 11]);
        edge.deliver(&serving, 1, 3).await;
        edge.boot = Boot { counter: 2, id: [2; 8], monotonic_ms: 0 };
        edge.clock = ClockReading { unix_ms: 5, status: ClockStatus::Unset, error_ms: 0 };
        edge.seal_data(&[12, 13, 14]);
        edge.clock = ClockReading {
            unix_ms: (NOW + 7_300_000).unsigned_abs(),
            status: ClockStatus::Ntp,
            error_ms: 5,
        };
        edge.seal_control(Control::Clock(ClockEvent {
            source: ClockStatus::Ntp,
            error_ms: 5,
            shifts: vec![(0, 7200)],
            placed: vec![Placed { stream: 0, from: 3, to: 3, shift: 7200 }],
            note: String::new(),
        }));
        bed.clock.set(NOW + 7_300_000);
        edge.deliver(&serving, 3, 5).await;
        let found = inspected(bed, &edge).await;
        assert_eq!(found.damage, Vec::<String>::new());
        assert_eq!((found.entries, found.trail_notes, found.hours), (5, 2, 2));
        serving.stop().await;
    }
}

#[test]
fn one_altered_byte_on_disk_is_found_and_named() {
    crate::bed::on_sqlite(async |bed| {
        let serving = bed.serve();
        let mut edge = Edge::enrolled(bed, &serving).await;
        for value in 0..20 {
            edge.seal_data(&[value, value + 1, value + 5]);
        }
        edge.deliver(&serving, 1, 22).await;
        serving.stop().await;
        bed.store.close().await;
        let file = bed.directory.join("central.db");
        let whole = std::fs::read(&file).unwrap();
        for (what, needle, found) in [
            ("entry 7", &edge.entries[7].0, "entry 7: "),
            (
                "payload of entry 9",
                &edge.entries[9].1,
                "entry 9: the payload's root",
            ),
        ] {
            // SQLite may have left an older copy of the row in a page; all of them are altered.
            let mut altered = whole.clone();
            let length = needle.len();
            for at in (0..=whole.len() - length).filter(|at| &whole[*at..at + length] == needle) {
                altered[at + length - 1] ^= 1;
            }
            assert_ne!(altered, whole, "{what} is not in the file");
            #[expect(clippy::disallowed_methods, reason = "a test's own file")]
            std::fs::write(&file, altered).unwrap();
            let program = env!("CARGO_BIN_EXE_fieldseal-collector");
            let output = std::process::Command::new(program)
                .arg("verify")
                .arg("--config")
                .arg(bed.directory.join("collector.toml"))
                .output()
                .unwrap();
            assert_eq!(output.status.code(), Some(1), "{what}");
            let told = String::from_utf8(output.stdout).unwrap();
            assert!(
                told.contains("DAMAGED") && told.contains(found),
                "{what}: {told}"
            );
        }
    });
}

#[test]
fn a_clock_that_stands_before_this_program_was_written_cosigns_nothing() {
    crate::bed::on_sqlite(async |bed| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let clock = std::sync::Arc::new(ManualClock::at(5000));
        let refused = collector::serve(&bed.config, listener, clock, std::future::pending())
            .await
            .unwrap_err();
        assert!(matches!(refused, ServeError::Clock(5)));
        assert!(refused.to_string().contains("timedatectl"), "{refused}");
    });
}
