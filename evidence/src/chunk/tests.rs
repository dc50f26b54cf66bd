use proptest::prelude::*;

use super::{Chunk, ChunkError, Column, Exception, fill_missing, payload, split};
use crate::quality::Quality;

fn ints(values: &[i64]) -> Chunk {
    Chunk {
        point: 3,
        offsets_ms: None,
        column: Column::Ints(values.to_vec()),
        exceptions: vec![],
    }
}

#[test]
fn a_constant_column_takes_the_header_alone() {
    let bytes = ints(&[42; 60]).encode().unwrap();
    assert_eq!(bytes.len(), super::HEADER_BYTES);
    assert_eq!(Chunk::decode(&bytes).unwrap().0, ints(&[42; 60]));
}

#[test]
fn the_layout_is_the_one_of_the_format() {
    let bytes = ints(&[10, 11, 9, 9]).encode().unwrap();
    // Deltas +1, −2, 0 are 2, 3, 0 in zigzag: two bits each, lowest first.
    assert_eq!(hex(&bytes), "01020300040000000a000000000000000e");
}

fn hex(bytes: &[u8]) -> String {
    crate::hash::to_hex(bytes)
}

#[test]
fn a_delta_of_more_than_56_bits_makes_a_column_of_strings() {
    let wide = ints(&[0, 1 << 60]);
    let bytes = wide.encode().unwrap();
    assert_eq!(bytes[0], 2);
    let (chunk, used) = Chunk::decode(&bytes).unwrap();
    assert_eq!(used, bytes.len());
    assert_eq!(
        chunk.column,
        Column::Texts(vec![vec![0; 8], (1_i64 << 60).to_be_bytes().to_vec()])
    );
}

#[test]
fn a_wider_width_than_needed_stray_bits_and_stray_headers_are_refused() {
    let good = ints(&[10, 11, 9, 9]).encode().unwrap();
    let change = |at: usize, to: u8| {
        let mut bytes = good.clone();
        bytes[at] = to;
        Chunk::decode(&bytes).unwrap_err()
    };
    assert_eq!(change(1, 1), ChunkError::StrayBits);
    let constant = [1, 1, 3, 0, 2, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(
        Chunk::decode(&constant).unwrap_err(),
        ChunkError::WidthNotSmallest(1)
    );
    assert_eq!(change(16, 0x4e), ChunkError::StrayBits);
    assert_eq!(change(0, 9), ChunkError::UnknownCodec(9));
    assert_eq!(change(1, 57), ChunkError::WidthNotSmallest(57));
}

#[test]
fn messages_keep_their_offsets_and_may_be_none() {
    let silent = Chunk {
        point: 0,
        offsets_ms: Some(vec![]),
        column: Column::Ints(vec![]),
        exceptions: vec![],
    };
    let bytes = silent.encode().unwrap();
    assert_eq!(Chunk::decode(&bytes).unwrap(), (silent, bytes.len()));
    let backwards = Chunk {
        point: 0,
        offsets_ms: Some(vec![5, 4]),
        column: Column::Ints(vec![1, 2]),
        exceptions: vec![],
    };
    assert_eq!(backwards.encode(), Err(ChunkError::OffsetsDecrease));
    let texts = Column::Texts(vec![b"0.30000000000000004".to_vec(), b"1".to_vec()]);
    let off_grid = vec![Exception {
        sample: 0,
        quality: Quality::OFF_GRID,
        aux: 0,
    }];
    let texts = Chunk {
        point: 0,
        offsets_ms: Some(vec![0, 999]),
        column: texts,
        exceptions: off_grid,
    };
    let bytes = texts.encode().unwrap();
    assert_eq!(Chunk::decode(&bytes).unwrap(), (texts, bytes.len()));
}

#[test]
fn missing_slots_repeat_their_predecessor_or_the_first_value() {
    assert_eq!(fill_missing(&[None, Some(5), None, Some(7)]), [5, 5, 5, 7]);
    assert_eq!(fill_missing(&[None, None]), [0, 0]);
}

#[test]
fn a_payload_splits_into_exactly_the_signed_chunks() {
    let (bytes, signed) = payload(&[ints(&[1, 2]), ints(&[3, 4])]).unwrap();
    assert_eq!(split(&bytes, signed.chunks).unwrap().len(), 2);
    assert_eq!(split(&bytes, 1).unwrap_err(), ChunkError::PayloadShape);
    assert_eq!(split(&bytes, 3).unwrap_err(), ChunkError::PayloadShape);
    assert_eq!(super::inner_root(&bytes), Ok(signed.root));
}

fn exceptions(count: usize) -> impl Strategy<Value = Vec<Exception>> {
    proptest::collection::btree_set(
        (0..count.max(1), 0..Quality::ALL.len()),
        0..count.min(4) + 1,
    )
    .prop_map(|set| {
        let record = |(sample, code): (usize, usize)| Exception {
            sample: u16::try_from(sample).unwrap(),
            quality: Quality::ALL[code],
            aux: 0,
        };
        set.into_iter().map(record).collect()
    })
}

proptest! {
    #[test]
    fn every_chunk_reads_back_as_it_was_written(
        (values, records) in (1_usize..80).prop_flat_map(|n| (proptest::collection::vec(-1_i64 << 40..1_i64 << 40, n), exceptions(n))),
        shift in 0_u32..40,
    ) {
        let absent = |sample: usize| records.iter().any(|r| usize::from(r.sample) == sample && !r.quality.has_value());
        let slots: Vec<Option<i64>> =
            values.iter().enumerate().map(|(i, value)| (!absent(i)).then_some(value >> shift)).collect();
        let mut chunk = ints(&fill_missing(&slots));
        chunk.exceptions = records;
        let bytes = chunk.encode().unwrap();
        prop_assert_eq!(Chunk::decode(&bytes).unwrap(), (chunk, bytes.len()));
    }

    #[test]
    fn whatever_decodes_encodes_to_the_same_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..64), codec in 1_u8..4, w in 0_u8..6, n in 0_u8..6, e in 0_u8..2) {
        let mut bytes = bytes;
        for (at, to) in [(0, codec), (1, w), (4, n), (5, 0), (6, e), (7, 0)] {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = to;
            }
        }
        if let Ok((chunk, used)) = Chunk::decode(&bytes) {
            // A column of wide integers is read as strings; strings are written as strings.
            prop_assert_eq!(chunk.encode().unwrap(), &bytes[..used]);
        }
    }
}
