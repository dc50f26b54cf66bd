//! What must hold after every step.

use collector::Ack;
use evidence::cosignature::verify_cosignature;
use evidence::note::Note;
use store::LogRef;

use crate::bed::Bed;
use crate::edge::Edge;

pub(crate) fn cosigned_s(bed: &Bed, ack: &Ack) -> u64 {
    let note = Note::parse(ack.note.as_bytes()).unwrap();
    verify_cosignature(&note, &bed.witness).unwrap().unwrap()
}

pub(crate) async fn located(bed: &Bed, edge: &Edge) -> LogRef {
    bed.store.locate(edge.log()).await.unwrap().unwrap().0
}

/// Everything the store has of the log is what the gateway sealed, and is cosigned.
pub(crate) async fn assert_whole(bed: &Bed, edge: &Edge) {
    let log = located(bed, edge).await;
    let head = bed.store.head(log).await.unwrap().unwrap();
    let count = usize::try_from(head.log.size).unwrap();
    assert_eq!(head.log.root, edge.root_at(count).0);
    let rows = bed
        .store
        .rows(log, 0..u64::MAX, 10_000, true)
        .await
        .unwrap();
    assert_eq!(rows.len(), count);
    for (row, (entry, payload)) in rows.iter().zip(&edge.entries) {
        assert_eq!(&row.entry, entry);
        assert_eq!(row.payload.as_deref().unwrap_or_default(), payload);
    }
    let note = Note::parse(&head.note).unwrap();
    assert_eq!(
        verify_cosignature(&note, &bed.witness).unwrap(),
        Some(head.log.cosigned_s)
    );
}
