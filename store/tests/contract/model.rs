//! Random appends against a plain list: whatever happens, the store and the list agree.

use proptest::prelude::{Strategy, prop_oneof};
use proptest::test_runner::{Config, TestRunner};

use store::Appended;

use crate::bed::{Bed, append, drop_after, hour, leaf, root_at};

/// One step of a story.
#[derive(Clone, Debug)]
enum Step {
    /// Append rows at the size the list has.
    Append(u64),
    /// Append rows at another size: behind (resent) or ahead.
    AppendAt { off: i64, rows: u64 },
    /// Drop an append after so many polls.
    Drop(u32),
    /// Open the database again.
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..200u64).prop_map(Step::Append),
        2 => ((-5..5i64).prop_filter("another size", |off| *off != 0), 1..20u64)
            .prop_map(|(off, rows)| Step::AppendAt { off, rows }),
        1 => (0..40u32).prop_map(Step::Drop),
        1 => proptest::strategy::Just(Step::Reopen),
    ]
}

async fn tell(bed: &Bed, origin: &str, story: &[Step]) {
    let site = bed
        .store
        .create_site("Site A", crate::bed::NOW)
        .await
        .unwrap()
        .id;
    bed.code(origin, site).await;
    let enrol = crate::bed::enrol(origin, site, origin);
    bed.store.enrol(&enrol).await.unwrap();
    let log = enrol.genesis.log;
    let mut store = bed.store.clone();
    let mut list: Vec<[u8; 32]> = vec![leaf(0)];
    for step in story {
        let size = list.len() as u64;
        let mut mine = match *step {
            Step::Append(rows) => append(log, size, rows),
            Step::AppendAt { off, rows } => append(log, size.saturating_add_signed(off), rows),
            Step::Drop(_) => append(log, size, 10),
            Step::Reopen => {
                store = bed.open_again().await;
                continue;
            }
        };
        mine.hours = vec![hour(0, 0, mine.new_size - mine.old_size)];
        mine.cosigned_s = 1_767_225_600 + mine.new_size.max(size);
        match *step {
            Step::Drop(polls) => {
                let _all_or_nothing = drop_after(polls, store.append(&mine)).await;
                // Which half it was is settled by an append of one row at the same size.
                let mut settling = append(log, size, 1);
                settling.hours = vec![hour(0, 0, 1)];
                let rows = match store.append(&settling).await.unwrap() {
                    Appended::At(_) => 1,
                    Appended::HeadMoved { .. } => 10,
                };
                list.extend((size..size + rows).map(leaf));
            }
            _ => {
                let outcome = store.append(&mine).await.unwrap();
                if mine.old_size == size {
                    assert_eq!(outcome, Appended::At(mine.new_size));
                    list.extend((mine.old_size..mine.new_size).map(leaf));
                } else {
                    assert_eq!(outcome, Appended::HeadMoved { size });
                }
            }
        }
        let size = list.len() as u64;
        let head = store.log(log).await.unwrap().unwrap();
        assert_eq!((head.size, head.root), (size, root_at(size)));
    }
    let leaves = store.hashes(log, 0, 0, 60_000).await.unwrap();
    assert_eq!(leaves, list);
    let full = store.hashes(log, 8, 0, 1000).await.unwrap();
    assert_eq!(full.len(), list.len() / 256);
    let counted = store.hours(log, 3, 0, 0..1).await.unwrap();
    let counted: u64 = counted
        .iter()
        .map(|h| u64::from_be_bytes(h.data[..].try_into().unwrap()))
        .sum();
    assert_eq!(counted, list.len() as u64 - 1);
}

/// Tells 12 stories, one log each; a failing one is printed, shortened.
fn tell_stories(bed: &Bed) {
    let mut runner = TestRunner::new(Config {
        cases: 12,
        failure_persistence: None,
        ..Config::default()
    });
    let number = std::cell::Cell::new(0);
    let stories = proptest::collection::vec(step(), 1..25);
    tokio::task::block_in_place(|| {
        runner
            .run(&stories, |story| {
                number.set(number.get() + 1);
                let origin = format!("model/{}", number.get());
                tokio::runtime::Handle::current().block_on(tell(bed, &origin, &story));
                Ok(())
            })
            .unwrap();
    });
}

#[test]
fn random_appends_on_sqlite_agree_with_a_list() {
    crate::bed::on_sqlite(async |bed| tell_stories(bed));
}

#[test]
fn random_appends_on_postgres_agree_with_a_list() {
    crate::bed::on_postgres(async |bed| tell_stories(bed));
}
