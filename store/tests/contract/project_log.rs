//! Project logs: begun once, cosigned by compare-and-swap, attachments by hash.

use store::{
    Append, Appended, Cosign, LogRef, MOST_ATTACHMENT_BYTES, NewProjectLog, SiteId, StoreError,
};

use crate::bed::{Bed, NOW, append, hash, root_at};
use crate::on_both;

const ORIGIN: &str = "example.com/project/ID009";

/// An append of the writer's own: nobody has cosigned it.
fn written(log: LogRef, old: u64, count: u64) -> Append {
    Append {
        cosigned_s: 0,
        ..append(log, old, count)
    }
}

fn new(project: &str, origin: &str) -> NewProjectLog {
    NewProjectLog {
        project: project.to_owned(),
        origin: origin.to_owned(),
        log_key: [7; 32],
        log_vkey: format!("{origin}+00000000+AQ=="),
        token: [9; 32],
        genesis: written(LogRef::of_project(project, origin), 0, 1),
    }
}

fn cosign(log: LogRef, old: u64, size: u64, second: u64) -> Cosign {
    Cosign {
        log,
        old_size: old,
        new_size: size,
        new_root: root_at(size),
        note: format!("cosigned at {size}, second {second}").into_bytes(),
        cosigned_s: second,
        now_ms: NOW + i64::try_from(second).unwrap(),
    }
}

on_both! {
    async fn a_project_has_one_log_which_reads_and_grows_like_every_other(bed: &Bed) {
        let store = &bed.store;
        assert_eq!(store.project_log("ID009").await.unwrap(), None);
        store.create_project_log(&new("ID009", ORIGIN)).await.unwrap();
        let made = store.project_log("ID009").await.unwrap().unwrap();
        let log = made.log;
        assert_eq!(log, LogRef::of_project("ID009", ORIGIN));
        assert_eq!((&*made.origin, made.created_ms), (ORIGIN, NOW + 1));
        assert_eq!(store.project_logs().await.unwrap(), vec![made]);
        for again in [new("ID009", "example.com/project/other"), new("other", ORIGIN)] {
            let error = store.create_project_log(&again).await.unwrap_err();
            assert!(matches!(error, StoreError::Exists { .. }), "{error}");
        }
        assert_eq!(store.project_log("other").await.unwrap(), None, "nothing is left behind");
        assert_eq!(store.locate(log.log).await.unwrap(), Some((log, [9; 32])));
        assert_eq!(store.sites().await.unwrap(), vec![], "it is no site");
        assert_eq!(bed.append(&written(log, 1, 299)).await, Appended::At(300));
        assert_eq!(bed.append(&written(log, 1, 2)).await, Appended::HeadMoved { size: 300 });
        assert_eq!(store.rows(log, 0..300, 1000, false).await.unwrap().len(), 300);
        assert_eq!(store.hashes(log, 8, 0, 1).await.unwrap().len(), 1, "the first tile is full");
        assert_ne!(SiteId::of_project("ID009"), SiteId::of_name("ID009"));
    }

    async fn a_witness_state_moves_only_from_the_size_that_was_seen_and_never_back(bed: &Bed) {
        let store = &bed.store;
        store.create_project_log(&new("ID009", ORIGIN)).await.unwrap();
        let log = store.project_log("ID009").await.unwrap().unwrap().log;
        let before = store.witnessed(log).await.unwrap().unwrap();
        assert_eq!((before.size, before.cosigned_s, before.note.len()), (0, 0, 0));
        bed.append(&written(log, 1, 4)).await;
        assert_eq!(store.cosign(&cosign(log, 0, 3, 10)).await.unwrap(), Appended::At(3));
        let head = store.head(log).await.unwrap().unwrap();
        assert_eq!(head.note, b"note at 5", "the head has grown since");
        assert_eq!(store.cosign(&cosign(log, 0, 5, 11)).await.unwrap(), Appended::HeadMoved { size: 3 });
        assert_eq!(store.cosign(&cosign(log, 3, 5, 9)).await.unwrap(), Appended::HeadMoved { size: 3 }, "an earlier second");
        assert!(matches!(store.cosign(&cosign(log, 3, 2, 12)).await, Err(StoreError::Misuse(_))));
        assert_eq!(store.cosign(&cosign(log, 3, 5, 12)).await.unwrap(), Appended::At(5));
        // The same size again, a day later: a newer note to pin.
        assert_eq!(store.cosign(&cosign(log, 5, 5, 20)).await.unwrap(), Appended::At(5));
        let now = store.witnessed(log).await.unwrap().unwrap();
        assert_eq!((now.size, &*now.root, now.cosigned_s), (5, &root_at(5)[..], 20));
        assert_eq!(store.head(log).await.unwrap().unwrap().note, b"cosigned at 5, second 20");
        let trail = store.trail_notes_by_size(log, 0, 9).await.unwrap();
        assert_eq!(trail.iter().map(|note| note.size).collect::<Vec<_>>(), [3, 5, 5]);
        let elsewhere = LogRef::of_project("none", ORIGIN);
        assert_eq!(store.witnessed(elsewhere).await.unwrap(), None);
        assert!(matches!(store.cosign(&cosign(elsewhere, 0, 1, 1)).await, Err(StoreError::Absent { .. })));
    }

    async fn an_attachment_is_kept_once_by_its_hash(bed: &Bed) {
        let store = &bed.store;
        store.create_project_log(&new("ID009", ORIGIN)).await.unwrap();
        let log = store.project_log("ID009").await.unwrap().unwrap().log;
        let scan = hash(&[b"scan"]);
        assert_eq!(store.put_attachment(log, b"scan", NOW).await.unwrap(), scan);
        assert_eq!(store.put_attachment(log, b"scan", NOW + 9).await.unwrap(), scan);
        assert_eq!(store.attachment(log, scan).await.unwrap(), Some(b"scan".to_vec()));
        assert_eq!(store.attachment(log, [0; 32]).await.unwrap(), None);
        let lines = store.attachments(log).await.unwrap();
        assert_eq!(lines.len(), 1);
        assert_eq!((lines[0].hash, lines[0].bytes, lines[0].created_ms), (scan, 4, NOW));
        let long = vec![0; MOST_ATTACHMENT_BYTES + 1];
        assert!(matches!(store.put_attachment(log, &long, NOW).await, Err(StoreError::Misuse(_))));
        assert_eq!(store.attachments(LogRef::of_project("other", ORIGIN)).await.unwrap(), vec![]);
    }
}
