//! Entries in another encoding than the one, and single bytes of them.

use evidence::cbor::Writer;

use crate::tamper::Hand::Nothing;
use crate::tamper::{Good, Mutation};

const CLASS: &str = "The bytes of an entry";

const fn row(
    name: &'static str,
    code: &'static str,
    make: fn(&Good) -> Option<Vec<u8>>,
) -> Mutation {
    Mutation::refused(CLASS, name, Nothing, code, make)
}

pub(super) static MATRIX: [Mutation; 36] = [
    row("a bit of the tag", "E01", |good| flip(good, |_| Some(0))),
    row("a bit of the array's head", "E01", |good| {
        flip(good, |_| Some(1))
    }),
    row(
        "a bit of the algorithm in the protected header",
        "E01",
        |good| flip(good, |_| Some(5)),
    ),
    row("a bit of the key id", "E05", |good| {
        flip(good, |_| Some(10))
    }),
    row("a bit of the unprotected header's head", "E01", |good| {
        flip(good, |_| Some(16))
    }),
    row("a bit of the map's head", "E01", |good| {
        flip(good, payload_at)
    }),
    row("a bit of the type", "E01", |good| {
        flip(good, |bytes| Some(payload_at(bytes)? + 2))
    }),
    row("a bit of the index", "E02", |good| {
        flip(good, |bytes| {
            find(bytes, &[0x02, 0x58, 0x20], 0)?.checked_sub(1)
        })
    }),
    row("a bit of the previous entry's hash", "E03", |good| {
        flip(good, |bytes| find(bytes, &[0x02, 0x58, 0x20], 10))
    }),
    row("a bit of the control pin", "E04", |good| {
        flip(good, |bytes| find(bytes, &[0x03, 0x82], 20))
    }),
    row("a bit of the freshness", "E06", |good| {
        flip(good, |bytes| {
            find(bytes, &[0x04, 0x82, 0x01, 0x58, 0x20], 20)
        })
    }),
    row("a bit of the boot id", "E10", |good| {
        flip(good, |bytes| find(bytes, &[0x05, 0x83], 6))
    }),
    row("a bit of the clock", "E06", |good| {
        flip(good, |bytes| find(bytes, &[0x06, 0x83, 0x1b], 10))
    }),
    row("a bit of the payload's root", "E06", |good| {
        flip(good, |bytes| find(bytes, &[0x0c, 0x58, 0x20], 20))
    }),
    row("a bit of the signature", "E06", |good| {
        flip(good, |bytes| bytes.len().checked_sub(30))
    }),
    row("the last bit of the signature", "E06", |good| {
        flip(good, |bytes| bytes.len().checked_sub(1))
    }),
    row("no tag", "E01", |good| {
        cut(good, |bytes| {
            drop(bytes.drain(..1));
            Some(())
        })
    }),
    row("the array in its longer form", "E01", |good| {
        cut(good, |bytes| {
            drop(bytes.splice(1..2, [0x98, 4]));
            Some(())
        })
    }),
    row("an unprotected header that is not empty", "E01", |good| {
        cut(good, |bytes| {
            drop(bytes.splice(16..17, [0xa1, 0x01, 0x00]));
            Some(())
        })
    }),
    row("the payload's length in a longer form", "E01", |good| {
        cut(good, |bytes| {
            let at = payload_at(bytes)?;
            let (head, long) = match *bytes.get(17)? {
                0x58 => (0x59, vec![0, *bytes.get(18)?]),
                _ => (0x5a, vec![0, 0, *bytes.get(18)?, *bytes.get(19)?]),
            };
            drop(bytes.splice(17..at, std::iter::once(head).chain(long)));
            Some(())
        })
    }),
    row("the payload in an indefinite length", "E01", |good| {
        cut(good, |bytes| {
            let at = payload_at(bytes)?;
            let end = bytes.len() - 66;
            bytes.insert(end, 0xff);
            drop(bytes.splice(17..17, [0x5f]));
            (at < end).then_some(())
        })
    }),
    row("a byte behind the entry", "E01", |good| {
        cut(good, |bytes| {
            bytes.push(0);
            Some(())
        })
    }),
    row("a byte less", "E01", |good| {
        cut(good, |bytes| bytes.pop().map(drop))
    }),
    row("a signature of 63 bytes", "E01", |good| {
        cut(good, |bytes| {
            bytes.pop()?;
            let at = bytes.len() - 64;
            *bytes.get_mut(at)? = 63;
            Some(())
        })
    }),
    row("a number that is not in its shortest form", "E01", |good| {
        map(good, |map| {
            drop(map.splice(1..2, [0x18, 0x00]));
            Some(())
        })
    }),
    row("a key of the map twice", "E01", |good| {
        map(good, |map| {
            *map.first_mut()? += 1;
            drop(map.splice(3..3, [0x00, 0x01]));
            Some(())
        })
    }),
    row("two keys of the map out of order", "E01", |good| {
        map(good, |map| {
            // 00 <kind> 01 … becomes 01 <kind> 00 …
            map.swap(1, 3);
            Some(())
        })
    }),
    row("a key that no entry has", "E01", |good| {
        map(good, |map| {
            *map.first_mut()? += 1;
            map.extend([0x18, 0x63, 0x00]);
            Some(())
        })
    }),
    row("a key that this type must not have", "E01", |good| {
        map(good, |map| {
            *map.first_mut()? += 1;
            map.extend([0x0f, 0x01]);
            Some(())
        })
    }),
    row("a required key left out", "E01", |good| {
        map(good, |map| {
            *map.first_mut()? -= 1;
            drop(map.drain(1..3));
            Some(())
        })
    }),
    row("a map of indefinite length", "E01", |good| {
        map(good, |map| {
            *map.first_mut()? = 0xbf;
            map.push(0xff);
            Some(())
        })
    }),
    row("a byte behind the map", "E01", |good| {
        map(good, |map| {
            map.push(0);
            Some(())
        })
    }),
    row("a float instead of a number", "E01", |good| {
        map(good, |map| {
            drop(map.splice(2..3, [0xf9, 0x3c, 0x00]));
            Some(())
        })
    }),
    row("a boolean instead of a number", "E01", |good| {
        map(good, |map| {
            *map.get_mut(2)? = 0xf5;
            Some(())
        })
    }),
    row("the reserved type 4", "E01", |good| {
        map(good, |map| {
            *map.get_mut(2)? = 4;
            Some(())
        })
    }),
    row("stream 0 written out", "E01", |good| {
        map(good, |map| {
            *map.first_mut()? += 1;
            let at = map.windows(2).rposition(|pair| pair == [0x0a, 0x1a])?;
            drop(map.splice(at..at, [0x09, 0x00]));
            Some(())
        })
    }),
];

/// Where the signed map begins.
fn payload_at(bytes: &[u8]) -> Option<usize> {
    Some(match bytes.get(17)? {
        0x58 => 19,
        0x59 => 20,
        _ => return None,
    })
}

/// The place of a byte `ahead` of where a sequence stands in the signed map.
fn find(bytes: &[u8], sequence: &[u8], ahead: usize) -> Option<usize> {
    let from = payload_at(bytes)?;
    let found = bytes
        .get(from..)?
        .windows(sequence.len())
        .position(|part| part == sequence)?;
    Some(from + found + ahead)
}

fn flip(good: &Good, place: fn(&[u8]) -> Option<usize>) -> Option<Vec<u8>> {
    let mut draft = good.draft();
    let entry = draft.entries.get_mut(good.middle()?)?;
    let at = place(entry)?;
    *entry.get_mut(at)? ^= 1;
    Some(draft.write())
}

fn cut(good: &Good, change: fn(&mut Vec<u8>) -> Option<()>) -> Option<Vec<u8>> {
    let mut draft = good.draft();
    change(draft.entries.get_mut(good.middle()?)?)?;
    Some(draft.write())
}

/// Changes the signed map of an entry and leaves its signature.
fn map(good: &Good, change: fn(&mut Vec<u8>) -> Option<()>) -> Option<Vec<u8>> {
    let mut draft = good.draft();
    let entry = draft.entries.get_mut(good.middle()?)?;
    let (from, to) = (payload_at(entry)?, entry.len().checked_sub(66)?);
    let mut map = entry.get(from..to)?.to_vec();
    change(&mut map)?;
    let mut writer = Writer::new();
    writer
        .raw(entry.get(..17)?)
        .byte_string(&map)
        .raw(entry.get(to..)?);
    *entry = writer.into_bytes();
    Some(draft.write())
}
