use super::*;
use crate::hash::leaf_hash;
use crate::merkle::{LeafHashes, consistency_proof, inclusion_proof};

fn tile(kind: TileKind, index: u64, width: u16) -> Tile {
    Tile { kind, index, width }
}

#[test]
fn paths_are_those_of_the_specification() {
    let hashes = TileKind::Hashes;
    for (tile, path) in [
        (tile(hashes(0), 1_234_067, 256), "tile/0/x001/x234/067"),
        (tile(hashes(0), 0, 256), "tile/0/000"),
        (tile(hashes(0), 273, 112), "tile/0/273.p/112"),
        (tile(hashes(1), 1_000, 17), "tile/1/x001/000.p/17"),
        (tile(hashes(63), 999, 1), "tile/63/999.p/1"),
        (tile(TileKind::Entries, 5, 255), "tile/entries/005.p/255"),
        (
            tile(TileKind::Entries, 1_000_000, 256),
            "tile/entries/x001/x000/000",
        ),
        (
            tile(hashes(0), u64::MAX, 256),
            "tile/0/x018/x446/x744/x073/x709/x551/615",
        ),
    ] {
        assert_eq!(tile.to_string(), path);
        assert_eq!(parse_tile_path(path), Ok(tile));
    }
    assert_eq!(tile_path(0, 273, 112), "tile/0/273.p/112");
    assert_eq!(entries_path(5, 256), "tile/entries/005");
}

#[test]
fn a_path_in_another_form_is_refused() {
    for path in [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "/tile/0/000",
        "tile/0/000/",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000",
        "tile/0/x000/000",
        "tile/0/001/000",
        "tile/0/x001/x000",
        "tile/0/+01",
        "tile/0/x001/../000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/000.p/1/",
        "tile/entry/000",
        "tile/0/x018/x446/x744/x073/x709/x551/616",
    ] {
        assert_eq!(parse_tile_path(path), Err(TileError::Path(path.to_owned())));
    }
}

#[test]
fn a_log_of_70000_entries_has_the_tiles_the_specification_counts() {
    let width = |level, index| tile(TileKind::Hashes(level), index, 256).width_at(70_000);
    assert_eq!(width(0, 272), Some(256));
    assert_eq!(width(0, 273), Some(112));
    assert_eq!(width(0, 274), None);
    assert_eq!(width(1, 0), Some(256));
    assert_eq!(width(1, 1), Some(17));
    assert_eq!(width(2, 0), Some(1));
    assert_eq!(width(3, 0), None);
    assert_eq!(width(63, 0), None);
    assert_eq!(
        tile(TileKind::Entries, 273, 256).width_at(70_000),
        Some(112)
    );
    assert_eq!(tile(TileKind::Hashes(1), 0, 256).width_at(256), Some(1));
    assert_eq!(tile(TileKind::Entries, 0, 256).width_at(0), None);
}

#[test]
fn proofs_read_from_tiles_equal_those_read_from_leaves() {
    let leaves: Vec<Hash> = (0..700_u32).map(|i| leaf_hash(&i.to_be_bytes())).collect();
    for size in [1, 255, 256, 257, 600, 700] {
        let stored = |tile: &Tile| {
            let TileKind::Hashes(level) = tile.kind else {
                return Err("not a hash tile");
            };
            let bytes = read_tile(&mut LeafHashes(&leaves), level, tile.index, tile.width).unwrap();
            Ok(parse_tile(&bytes).unwrap())
        };
        let mut tiles = TileNodes::new(size, stored);
        for index in [0, 1, 254, 255, 256, 511, 599, 699] {
            assert_eq!(
                inclusion_proof(&mut tiles, index, size).unwrap(),
                inclusion_proof(&mut LeafHashes(&leaves), index, size).unwrap()
            );
            assert_eq!(
                consistency_proof(&mut tiles, index, size).unwrap(),
                consistency_proof(&mut LeafHashes(&leaves), index, size).unwrap()
            );
        }
        assert_eq!(
            tiles.node(0, size),
            Err(TileNodeError::Missing {
                level: 0,
                index: size
            })
        );
    }
}

#[test]
fn an_entry_bundle_is_read_as_it_was_written() {
    let long = vec![7_u8; MAX_ENTRY_BYTES];
    let entries: [&[u8]; 4] = [b"", b"a", &long, b"end"];
    let bytes = encode_entry_bundle(&entries).unwrap();
    assert_eq!(bytes.get(..5), Some(&[0, 0, 0, 1, b'a'][..]));
    assert_eq!(decode_entry_bundle(&bytes).unwrap(), entries);
    for cut in [1, 4, 10, bytes.len() - 1] {
        assert!(matches!(
            decode_entry_bundle(&bytes[..cut]),
            Err(TileError::BundleCut { .. })
        ));
    }
}

#[test]
fn a_bundle_of_no_entry_of_257_or_of_a_long_entry_is_refused() {
    assert_eq!(encode_entry_bundle(&[]), Err(TileError::BundleCount(0)));
    assert_eq!(decode_entry_bundle(&[]), Err(TileError::BundleCount(0)));
    assert_eq!(
        encode_entry_bundle(&[&b"x"[..]; 257]),
        Err(TileError::BundleCount(257))
    );
    assert_eq!(
        decode_entry_bundle(&[0; 514]),
        Err(TileError::BundleCount(257))
    );
    assert_eq!(decode_entry_bundle(&[0; 512]).unwrap().len(), 256);
    let long = vec![0; MAX_ENTRY_BYTES + 1];
    let too_long = TileError::EntryTooLong {
        position: 1,
        bytes: 65_536,
    };
    assert_eq!(encode_entry_bundle(&[b"x", &long]), Err(too_long));
}

#[test]
fn a_hash_tile_has_1_to_256_whole_hashes() {
    for bytes in [0, 31, 33, 257 * 32] {
        assert_eq!(
            parse_tile(&vec![0; bytes]),
            Err(TileError::TileLength(bytes))
        );
    }
    assert_eq!(parse_tile(&[0; 8192]).unwrap().len(), 256);
}
