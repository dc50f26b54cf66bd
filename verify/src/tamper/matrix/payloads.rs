//! Payloads: bytes that the root covers, and chunks that break the format under a good signature.

use evidence::chunk::{Chunk, Column};

use crate::tamper::Hand::{EntryKey, Nothing};
use crate::tamper::{Good, Hand, Mutation};

const CLASS: &str = "Payloads and chunks";

const fn row(
    name: &'static str,
    hand: Hand,
    code: &'static str,
    make: fn(&Good) -> Option<Vec<u8>>,
) -> Mutation {
    Mutation::refused(CLASS, name, hand, code, make)
}

pub(super) static MATRIX: [Mutation; 42] = [
    row("a bit of a chunk's codec", Nothing, "E16", |good| {
        flip(good, 0)
    }),
    row("a bit of a chunk's point", Nothing, "E15", |good| {
        flip(good, 2)
    }),
    row("a bit of a first value", Nothing, "E15", |good| {
        flip(good, 9)
    }),
    row("a bit of the packed values", Nothing, "E15", |good| {
        flip(good, 18)
    }),
    row("the last byte", Nothing, "E15", |good| {
        let mut draft = good.draft();
        *draft.payloads.get_mut(good.middle()?)?.last_mut()? ^= 1;
        Some(draft.write())
    }),
    row(
        "two payloads of one stream exchanged",
        Nothing,
        "E15",
        |good| {
            let mut draft = good.draft();
            let (at, other) = same_length(good)?;
            draft.payloads.swap(at, other);
            Some(draft.write())
        },
    ),
    row("one payload left out", Nothing, "E16", |good| {
        let mut draft = good.draft();
        draft.payloads.get_mut(good.middle()?)?.clear();
        Some(draft.write())
    }),
    row("all payloads left out", Nothing, "E14", |good| {
        let mut draft = good.draft();
        draft.payloads.clear();
        Some(draft.write())
    }),
    row("a byte less at the end", Nothing, "E14", |good| {
        let mut draft = good.draft();
        draft.payloads.get_mut(good.last_data()?)?.pop()?;
        Some(draft.write())
    }),
    row("a byte too many at the end", Nothing, "V10", |good| {
        let mut draft = good.draft();
        draft.payloads.last_mut()?.push(0);
        Some(draft.write())
    }),
    row("a payload where a gap was signed", Nothing, "E16", |good| {
        let mut draft = good.draft();
        draft.payloads.get_mut(good.gap()?)?.extend([1; 16]);
        Some(draft.write())
    }),
    row("two chunks in the wrong order", EntryKey, "E17", |good| {
        chunks(good, |chunks| (chunks.len() > 1).then(|| chunks.swap(0, 1)))
    }),
    row("a chunk left out", EntryKey, "E17", |good| {
        chunks(good, |chunks| chunks.pop().map(drop))
    }),
    row("a chunk twice", EntryKey, "E17", |good| {
        chunks(good, |chunks| {
            chunks.push(chunks.last()?.clone());
            Some(())
        })
    }),
    row(
        "a chunk of a point that does not exist",
        EntryKey,
        "E17",
        |good| chunk(good, numbers, |chunk| put(chunk, 2, &[99, 0])),
    ),
    row("a byte behind the last chunk", EntryKey, "E16", |good| {
        chunks(good, |chunks| {
            chunks.last_mut()?.push(0);
            Some(())
        })
    }),
    row(
        "more chunks signed than are there",
        EntryKey,
        "E16",
        |good| signed(good, |payload| payload.chunks += 1),
    ),
    row(
        "fewer chunks signed than are there",
        EntryKey,
        "E16",
        |good| signed(good, |payload| payload.chunks -= 1),
    ),
    row(
        "a longer payload signed than is there",
        EntryKey,
        "E16",
        |good| {
            let at = good.middle()?;
            let mut draft = good.resigned(at, None, lengthen)?;
            // The byte more comes from the next payload; that one is short of it.
            draft.payloads.get_mut(at)?.push(1);
            Some(draft.write())
        },
    ),
    row("an unused bit that is 1", EntryKey, "E16", |good| {
        chunk(
            good,
            |chunk| numbers(chunk) && unused_bits(chunk) > 0,
            |chunk| {
                let end = 16 + packed(chunk);
                *chunk.get_mut(end - 1)? |= 0x80;
                Some(())
            },
        )
    }),
    row(
        "values packed wider than they need",
        EntryKey,
        "E16",
        |good| {
            chunk(good, plain, |chunk| {
                let values = column(chunk)?;
                let bits = chunk.get(1)? + 1;
                chunk.truncate(16);
                *chunk.get_mut(1)? = bits;
                pack(&values, bits, chunk);
                Some(())
            })
        },
    ),
    row("57 bits a value", EntryKey, "E16", |good| {
        chunk(good, numbers, |chunk| put(chunk, 1, &[57]))
    }),
    row("a codec that does not exist", EntryKey, "E16", |good| {
        chunk(good, numbers, |chunk| put(chunk, 0, &[4]))
    }),
    row(
        "numbers as byte strings although they would pack",
        EntryKey,
        "E18",
        |good| {
            chunk(good, plain, |chunk| {
                let values = column(chunk)?;
                put(chunk, 0, &[2, 0])?;
                put(chunk, 8, &[0; 8])?;
                chunk.truncate(16);
                for value in values {
                    chunk.extend([8, 0]);
                    chunk.extend(value.to_be_bytes());
                }
                Some(())
            })
        },
    ),
    row(
        "messages where a register was polled",
        EntryKey,
        "E18",
        |good| {
            chunk(good, numbers, |chunk| {
                let count = count(chunk);
                put(chunk, 0, &[3])?;
                drop(chunk.splice(16..16, vec![0; 4 * count]));
                Some(())
            })
        },
    ),
    row("one sample fewer than ticks", EntryKey, "E17", |good| {
        chunk(good, plain, |chunk| {
            let mut made = Chunk::decode(chunk).ok()?.0;
            if let Column::Ints(values) = &mut made.column {
                values.pop()?;
            }
            *chunk = made.encode().ok()?;
            Some(())
        })
    }),
    row("no samples at all", EntryKey, "E16", |good| {
        chunk(good, plain, |chunk| {
            chunk.truncate(16);
            put(chunk, 1, &[0])?;
            put(chunk, 4, &[0, 0])?;
            put(chunk, 8, &[0; 8])
        })
    }),
    row(
        "a value that the register cannot hold",
        EntryKey,
        "E18",
        |good| {
            chunk(
                good,
                |chunk| numbers(chunk) && chunk.get(1).is_some_and(|bits| *bits < 20),
                |chunk| put(chunk, 8, &(-5_000_000_000_i64).to_le_bytes()),
            )
        },
    ),
    row("a sum that leaves 64 bits", EntryKey, "E16", |good| {
        chunk(
            good,
            |chunk| numbers(chunk) && chunk.get(1).is_some_and(|bits| *bits > 2),
            |chunk| put(chunk, 8, &i64::MAX.to_le_bytes()),
        )
    }),
    row("byte strings that end early", EntryKey, "E16", |good| {
        chunk(
            good,
            |chunk| chunk.first() == Some(&2),
            |chunk| chunk.pop().map(drop),
        )
    }),
    row(
        "a first value where byte strings follow",
        EntryKey,
        "E16",
        |good| {
            chunk(
                good,
                |chunk| chunk.first() == Some(&2),
                |chunk| put(chunk, 8, &[1]),
            )
        },
    ),
    row(
        "a column of byte strings of seven bytes",
        EntryKey,
        "E18",
        |good| {
            chunk(
                good,
                |chunk| chunk.first() == Some(&2),
                |chunk| {
                    put(chunk, 16, &[7])?;
                    drop(chunk.drain(18..19));
                    Some(())
                },
            )
        },
    ),
    row("quality records out of order", EntryKey, "E16", |good| {
        chunk(
            good,
            |chunk| records(chunk) > 1,
            |chunk| {
                let end = chunk.len();
                let last = chunk.get(end - 4..)?.to_vec();
                chunk.truncate(end - 4);
                let at = chunk.len() - 4;
                drop(chunk.splice(at..at, last));
                Some(())
            },
        )
    }),
    row("a quality record twice", EntryKey, "E16", |good| {
        chunk(
            good,
            |chunk| records(chunk) > 1,
            |chunk| {
                let end = chunk.len();
                chunk.extend_from_within(end - 4..);
                let more = u16::try_from(records(chunk) + 1).ok()?;
                put(chunk, 6, &more.to_le_bytes())
            },
        )
    }),
    row("a quality that does not exist", EntryKey, "E16", |good| {
        last_record(good, 2, 31)
    }),
    row("a record that says \"good\"", EntryKey, "E16", |good| {
        last_record(good, 2, 0)
    }),
    row(
        "a record of a sample that does not exist",
        EntryKey,
        "E16",
        |good| last_record(good, 1, 0x7F),
    ),
    row("a value in a slot that has none", EntryKey, "E16", |good| {
        chunk(
            good,
            |chunk| {
                // A column whose neighbours differ: its third sample is declared lost, and its words stay.
                numbers(chunk) && records(chunk) == 0 && chunk.get(1).is_some_and(|bits| *bits >= 8)
            },
            |chunk| {
                put(chunk, 6, &[1, 0])?;
                chunk.extend([2, 0, 1, 0]);
                Some(())
            },
        )
    }),
    row("more records than bytes", EntryKey, "E16", |good| {
        chunk(good, numbers, |chunk| put(chunk, 6, &[0xFF, 0xFF]))
    }),
    row(
        "a message behind the end of its segment",
        EntryKey,
        "E17",
        |good| {
            chunk(good, messages, |chunk| {
                let at = 16 + 4 * (count(chunk) - 1);
                put(chunk, at, &3_600_000_u32.to_le_bytes())
            })
        },
    ),
    row("messages whose times go back", EntryKey, "E16", |good| {
        chunk(
            good,
            |chunk| messages(chunk) && count(chunk) > 1,
            |chunk| put(chunk, 16, &3_599_999_u32.to_le_bytes()),
        )
    }),
    row(
        "texts of messages that are all on the grid",
        EntryKey,
        "E18",
        |good| {
            chunk(
                good,
                |chunk| chunk.get(..2) == Some(&[3, 255]) && records(chunk) == 1,
                |chunk| {
                    put(chunk, 6, &[0, 0])?;
                    let end = chunk.len() - 4;
                    chunk.truncate(end);
                    Some(())
                },
            )
        },
    ),
];

fn flip(good: &Good, place: usize) -> Option<Vec<u8>> {
    let mut draft = good.draft();
    *draft.payloads.get_mut(good.middle()?)?.get_mut(place)? ^= 1;
    Some(draft.write())
}

/// Two entries with different payloads of one length.
fn same_length(good: &Good) -> Option<(usize, usize)> {
    let draft = good.draft();
    let at = good.middle()?;
    (at..draft.payloads.len()).find_map(|at| {
        let one = draft.payloads.get(at).filter(|one| !one.is_empty())?;
        let rest = draft.payloads.iter().enumerate().skip(at + 1);
        let (other, _) = rest
            .filter(|(_, two)| two.len() == one.len() && *two != one)
            .find(|(other, _)| same_stream(good, at, *other))?;
        Some((at, other))
    })
}

fn same_stream(good: &Good, at: usize, other: usize) -> bool {
    let stream = |at: usize| Some(good.entries.get(at)?.ticks()?.stream);
    stream(at) == stream(other)
}

fn chunks(good: &Good, change: fn(&mut Vec<Vec<u8>>) -> Option<()>) -> Option<Vec<u8>> {
    Some(good.rechunked(good.middle()?, change)?.write())
}

/// Changes the first chunk that fits and signs its entry again.
fn chunk(
    good: &Good,
    fits: fn(&[u8]) -> bool,
    change: fn(&mut Vec<u8>) -> Option<()>,
) -> Option<Vec<u8>> {
    let (at, number) = good.chunk_where(fits)?;
    let draft = good.rechunked(at, |chunks| change(chunks.get_mut(number)?))?;
    Some(draft.write())
}

fn last_record(good: &Good, place: usize, byte: u8) -> Option<Vec<u8>> {
    let (at, number) = good.chunk_where(|chunk| records(chunk) > 0)?;
    let draft = good.rechunked(at, |chunks| {
        let chunk = chunks.get_mut(number)?;
        let from = chunk.len() - 4;
        put(chunk, from + place, &[byte])
    })?;
    Some(draft.write())
}

fn signed(good: &Good, change: fn(&mut evidence::entry::PayloadRef)) -> Option<Vec<u8>> {
    let draft = good.resigned(good.middle()?, None, |entry| {
        if let evidence::entry::Body::Data { payload, .. } = &mut entry.body {
            change(payload);
        }
    })?;
    Some(draft.write())
}

fn lengthen(entry: &mut evidence::entry::Entry) {
    if let evidence::entry::Body::Data { payload, .. } = &mut entry.body {
        payload.bytes += 1;
    }
}

fn put(chunk: &mut [u8], at: usize, bytes: &[u8]) -> Option<()> {
    chunk.get_mut(at..at + bytes.len())?.copy_from_slice(bytes);
    Some(())
}

fn numbers(chunk: &[u8]) -> bool {
    chunk.first() == Some(&1)
}

/// Numbers of which nothing is said.
fn plain(chunk: &[u8]) -> bool {
    numbers(chunk) && records(chunk) == 0
}

fn column(chunk: &[u8]) -> Option<Vec<i64>> {
    match Chunk::decode(chunk).ok()?.0.column {
        Column::Ints(values) => Some(values),
        Column::Texts(_) => None,
    }
}

/// Packs differences as the format does, in as many bits as one likes.
fn pack(values: &[i64], bits: u8, chunk: &mut Vec<u8>) {
    let (mut pending, mut filled) = (0_u128, 0);
    for pair in values.windows(2) {
        let [before, after] = pair else { continue };
        let delta = after.wrapping_sub(*before);
        let code = (delta << 1) ^ (delta >> 63);
        pending |= u128::from(code.cast_unsigned()) << filled;
        filled += u32::from(bits);
        while filled >= 8 {
            chunk.extend(pending.to_le_bytes().first());
            pending >>= 8;
            filled -= 8;
        }
    }
    if filled > 0 {
        chunk.extend(pending.to_le_bytes().first());
    }
}

fn messages(chunk: &[u8]) -> bool {
    chunk.first() == Some(&3) && count(chunk) > 0
}

fn field(chunk: &[u8], at: usize) -> usize {
    let bytes = chunk
        .get(at..at + 2)
        .and_then(|bytes| bytes.first_chunk::<2>());
    bytes.map_or(0, |bytes| usize::from(u16::from_le_bytes(*bytes)))
}

fn count(chunk: &[u8]) -> usize {
    field(chunk, 4)
}

fn records(chunk: &[u8]) -> usize {
    field(chunk, 6)
}

/// Bytes of packed values of a chunk of numbers.
fn packed(chunk: &[u8]) -> usize {
    bits(chunk).div_ceil(8)
}

fn bits(chunk: &[u8]) -> usize {
    count(chunk).saturating_sub(1) * usize::from(chunk.get(1).copied().unwrap_or(0))
}

fn unused_bits(chunk: &[u8]) -> usize {
    packed(chunk) * 8 - bits(chunk)
}
