//! The tar: odd paths, doubled and missing files, freedoms of the format.

use crate::tamper::Hand::Nothing;
use crate::tamper::archive::{put_together, summed};
use crate::tamper::{Good, Mutation};

const CLASS: &str = "The archive";

const fn row(name: &'static str, make: fn(&Good) -> Option<Vec<u8>>) -> Mutation {
    Mutation::refused(CLASS, name, Nothing, "V01", make)
}

pub(super) static MATRIX: [Mutation; 36] = [
    row("an empty file", |_| Some(Vec::new())),
    row("two blocks of zeros and nothing else", |_| {
        Some(vec![0; 1024])
    }),
    row("the plan under `../plan.toml`", |good| {
        renamed(good, 1, "../plan.toml")
    }),
    row("the plan under `/plan.toml`", |good| {
        renamed(good, 1, "/plan.toml")
    }),
    row("the plan under `./plan.toml`", |good| {
        renamed(good, 1, "./plan.toml")
    }),
    row("a file that no bundle has", |good| {
        renamed(good, 1, "plan.yaml")
    }),
    row("a name with a space", |good| renamed(good, 1, "plan .toml")),
    row("a file of a log under `..`", |good| {
        let at = good.draft().position("checkpoint")?;
        renamed(good, at, "../checkpoint")
    }),
    row(
        "a file of a log with a leading zero in its number",
        |good| {
            let at = good.draft().position("control/0.entry")?;
            renamed(good, at, "control/00.entry")
        },
    ),
    row("a file twice", |good| {
        let mut blocks = good.draft().blocks();
        let again = blocks.get(1)?.clone();
        blocks.insert(1, again);
        Some(put_together(&blocks))
    }),
    row("the whole log twice", |good| {
        let draft = good.draft();
        let mut blocks = draft.blocks();
        let log = blocks.split_off(draft.position("origin")?);
        Some(put_together(&[blocks, log.clone(), log].concat()))
    }),
    row("two files in the wrong order", |good| {
        let mut blocks = good.draft().blocks();
        (blocks.len() > 2).then(|| blocks.swap(1, 2))?;
        Some(put_together(&blocks))
    }),
    row("payloads in front of the entries", |good| {
        let draft = good.draft();
        let mut blocks = draft.blocks();
        let at = draft.position("entries.bin")?;
        (blocks.len() > at + 1).then(|| blocks.swap(at, at + 1))?;
        Some(put_together(&blocks))
    }),
    row("no README.txt", |good| without(good, 0)),
    row("no plan.toml", |good| without(good, 1)),
    row("no name of the log", |good| lacking(good, "origin")),
    row("no final checkpoint", |good| lacking(good, "checkpoint")),
    row("no start hashes", |good| lacking(good, "range-start")),
    row("no disclosure class", |good| lacking(good, "disclosure")),
    row("a control entry without its proof", |good| {
        lacking(good, "control/0.proof")
    }),
    row("a proof without its control entry", |good| {
        lacking(good, "control/0.entry")
    }),
    row("no entries", |good| lacking(good, "entries.bin")),
    row("no payloads", |good| lacking(good, "payload.bin")),
    row("no log at all", |good| {
        let mut blocks = good.draft().blocks();
        blocks.truncate(good.draft().position("origin")?);
        Some(put_together(&blocks))
    }),
    row("another name of the log", |good| {
        let mut draft = good.draft();
        *draft.file("origin")? = b"example.com/gw/9999\n".to_vec();
        Some(draft.write())
    }),
    row("a disclosure class that does not exist", |good| {
        disclosed(good, "Z\n")
    }),
    row("class B with an empty list of points", |good| {
        disclosed(good, "B\n\n")
    }),
    row("class B with a list out of order", |good| {
        disclosed(good, "B\nsite.power\naux.power\n")
    }),
    Mutation::refused(
        CLASS,
        "class C said of a bundle that shows its readings",
        Nothing,
        "V10",
        |good| disclosed(good, "C\n"),
    ),
    row("a link instead of a file", |good| {
        header(good, |block| block[156] = b'2')
    }),
    row("a mode other than 0644", |good| {
        header(good, |block| block[106] = b'5')
    }),
    row("a date", |good| header(good, |block| block[146] = b'1')),
    row("an owner", |good| header(good, |block| block[265] = b'r')),
    row("a wrong checksum", |good| {
        let mut blocks = good.draft().blocks();
        *blocks.get_mut(1)?.get_mut(150)? ^= 1;
        Some(put_together(&blocks))
    }),
    row("a byte in the padding", |good| {
        let mut blocks = good.draft().blocks();
        *blocks.get_mut(1)?.last_mut()? = 1;
        Some(put_together(&blocks))
    }),
    row("a byte behind the end", |good| {
        let mut bytes = good.bytes();
        bytes.push(0);
        Some(bytes)
    }),
];

fn renamed(good: &Good, at: usize, name: &str) -> Option<Vec<u8>> {
    let mut blocks = good.draft().blocks();
    let block = blocks.get_mut(at)?;
    block.get_mut(..100)?.fill(0);
    for (slot, byte) in block.iter_mut().zip(name.bytes()) {
        *slot = byte;
    }
    summed(block);
    Some(put_together(&blocks))
}

fn without(good: &Good, at: usize) -> Option<Vec<u8>> {
    let mut blocks = good.draft().blocks();
    (at < blocks.len()).then(|| drop(blocks.remove(at)))?;
    Some(put_together(&blocks))
}

fn disclosed(good: &Good, text: &str) -> Option<Vec<u8>> {
    let mut draft = good.draft();
    *draft.file("disclosure")? = text.as_bytes().to_vec();
    Some(draft.write())
}

fn lacking(good: &Good, name: &str) -> Option<Vec<u8>> {
    let mut draft = good.draft();
    drop(draft.without(name)?);
    Some(draft.write())
}

fn header(good: &Good, change: fn(&mut [u8; 512])) -> Option<Vec<u8>> {
    let mut blocks = good.draft().blocks();
    let block = blocks.get_mut(1)?.first_chunk_mut::<512>()?;
    change(block);
    summed(block);
    Some(put_together(&blocks))
}
