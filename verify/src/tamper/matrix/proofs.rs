//! Control entries, their proofs and long bodies, and the start hashes.

use evidence::control::kind;
use evidence::hash::{Hash, leaf_hash};
use evidence::merkle::{LeafHashes, inclusion_proof};
use evidence::proof::TlogProof;

use crate::tamper::Hand::{EntryKey, Nothing};
use crate::tamper::draft::Draft;
use crate::tamper::{Good, Hand, Mutation};

const CLASS: &str = "Control entries, proofs, start hashes";

const fn row(
    name: &'static str,
    hand: Hand,
    code: &'static str,
    make: fn(&Good) -> Option<Vec<u8>>,
) -> Mutation {
    Mutation::refused(CLASS, name, hand, code, make)
}

pub(super) static MATRIX: [Mutation; 21] = [
    row("genesis left out of control/", Nothing, "E04", |good| {
        gone(good, |_| Some(0))
    }),
    row(
        "a configuration left out of control/",
        Nothing,
        "E04",
        |good| gone(good, |good| good.control(kind::CONFIG, 0)),
    ),
    row(
        "the last change of keys left out of control/",
        Nothing,
        "V06",
        |good| gone(good, last_control),
    ),
    row(
        "an entry of control/ changed by a bit",
        Nothing,
        "V05",
        |good| {
            control(good, |bytes| {
                let end = bytes.len();
                *bytes.get_mut(end - 3)? ^= 1;
                Some(())
            })
        },
    ),
    row(
        "an entry of control/ made again with another time",
        EntryKey,
        "V05",
        |good| {
            let at = good.control(kind::CONFIG, 0)?;
            let made = good
                .resigned(at, None, |entry| entry.clock.unix_ms += 1)?
                .entries
                .get(at)?
                .clone();
            let mut draft = good.draft();
            *draft.file(&format!("control/{at}.entry"))? = made;
            Some(draft.write())
        },
    ),
    row("a data entry in control/", Nothing, "V05", |good| {
        let data = good.draft().entries.get(good.middle()?)?.clone();
        let mut draft = good.draft();
        *draft.file("control/1.entry")? = data;
        Some(draft.write())
    }),
    row(
        "an entry of control/ longer than any entry",
        Nothing,
        "V01",
        |good| {
            control(good, |bytes| {
                bytes.resize(70_000, 0);
                Some(())
            })
        },
    ),
    row("a hash of a proof altered", Nothing, "V05", |good| {
        proof(good, |proof| {
            proof.hashes.first_mut()?.0[0] ^= 1;
            Some(())
        })
    }),
    row("a hash of a proof left out", Nothing, "V05", |good| {
        proof(good, |proof| proof.hashes.pop().map(drop))
    }),
    row("a hash too many in a proof", Nothing, "V05", |good| {
        proof(good, |proof| {
            proof.hashes.push(Hash([0; 32]));
            Some(())
        })
    }),
    row("64 hashes in a proof", Nothing, "V05", |good| {
        proof(good, |proof| {
            proof.hashes.resize(64, Hash([0; 32]));
            Some(())
        })
    }),
    row("a proof for another size", Nothing, "V05", |good| {
        let mut draft = good.draft();
        let leaves: Vec<Hash> = draft.entries.iter().map(|entry| leaf_hash(entry)).collect();
        let half = u64::try_from(leaves.len() / 2).ok()?;
        let bytes = draft.file("control/1.proof")?;
        let mut made = TlogProof::parse(bytes).ok()?;
        let Ok(hashes) = inclusion_proof(&mut LeafHashes(&leaves), 1, half);
        made.hashes = hashes;
        *bytes = made.to_bytes();
        Some(draft.write())
    }),
    row("a proof for another index", Nothing, "V05", |good| {
        proof(good, |proof| {
            proof.index += 1;
            Some(())
        })
    }),
    row(
        "a proof that leads to an older checkpoint",
        Nothing,
        "V05",
        |good| {
            let mut draft = good.draft();
            let older = evidence::note::Note::parse(draft.note()?.0).ok()?;
            let bytes = draft.file("control/1.proof")?;
            let mut made = TlogProof::parse(bytes).ok()?;
            made.checkpoint = older;
            *bytes = made.to_bytes();
            Some(draft.write())
        },
    ),
    row("a proof file of another version", Nothing, "V05", |good| {
        let mut draft = good.draft();
        let bytes = draft.file("control/1.proof")?;
        let text = String::from_utf8(bytes.clone()).ok()?;
        *bytes = text.replacen("@v1", "@v2", 1).into_bytes();
        Some(draft.write())
    }),
    row("a long body that nobody names", Nothing, "V10", |good| {
        let mut draft = good.draft();
        let body = b"not a body".to_vec();
        let path = format!("blobs/{}", leaf_hash(&body));
        insert_blob(&mut draft, &path, body)?;
        Some(draft.write())
    }),
    row(
        "a long body that is not what its name says",
        Nothing,
        "E15",
        |good| {
            let mut draft = good.draft();
            let at = draft
                .members
                .iter()
                .position(|file| file.path.contains("/blobs/"))?;
            *draft.members.get_mut(at)?.contents.first_mut()? ^= 1;
            Some(draft.write())
        },
    ),
    row("a long body left out", Nothing, "E14", |good| {
        let mut draft = good.draft();
        let at = draft
            .members
            .iter()
            .position(|file| file.path.contains("/blobs/"))?;
        drop(draft.members.remove(at));
        Some(draft.write())
    }),
    row("start hashes of a later entry", Nothing, "E02", |good| {
        start(good, |draft, at| {
            let mut other = draft.clone();
            other.begin_at(at)?;
            let text = other.file("range-start")?.clone();
            *draft.file("range-start")? = text;
            Some(())
        })
    }),
    row("wrong start hashes", Nothing, "V08", |good| {
        start(good, |draft, at| {
            draft.begin_at(at)?;
            let text = draft.file("range-start")?;
            let end = text.len();
            let byte = text.get_mut(end - 20)?;
            *byte = if *byte == b'A' { b'B' } else { b'A' };
            Some(())
        })
    }),
    row("too few start hashes", Nothing, "V04", |good| {
        start(good, |draft, at| {
            draft.begin_at(at)?;
            let text = draft.file("range-start")?;
            let end = text.len();
            text.truncate(end - 45);
            Some(())
        })
    }),
];

fn gone(good: &Good, place: fn(&Good) -> Option<usize>) -> Option<Vec<u8>> {
    let at = place(good)?;
    let mut draft = good.draft();
    drop(draft.without(&format!("control/{at}.entry"))?);
    drop(draft.without(&format!("control/{at}.proof"))?);
    Some(draft.write())
}

fn last_control(good: &Good) -> Option<usize> {
    good.entries
        .iter()
        .rposition(|entry| matches!(entry.body, evidence::entry::Body::Control { .. }))
}

fn control(good: &Good, change: fn(&mut Vec<u8>) -> Option<()>) -> Option<Vec<u8>> {
    let mut draft = good.draft();
    change(draft.file("control/1.entry")?)?;
    Some(draft.write())
}

fn proof(good: &Good, change: fn(&mut TlogProof) -> Option<()>) -> Option<Vec<u8>> {
    let mut draft = good.draft();
    let bytes = draft.file("control/1.proof")?;
    let mut proof = TlogProof::parse(bytes).ok()?;
    change(&mut proof)?;
    *bytes = proof.to_bytes();
    Some(draft.write())
}

fn start(good: &Good, change: fn(&mut Draft, usize) -> Option<()>) -> Option<Vec<u8>> {
    let mut draft = good.draft();
    // Early enough that the entries still reach back to the period, and not a power of two.
    change(&mut draft, 7)?;
    Some(draft.write())
}

fn insert_blob(draft: &mut Draft, path: &str, contents: Vec<u8>) -> Option<()> {
    let first = *draft.trail().first()?;
    let folder = draft
        .members
        .get(first)?
        .path
        .split("trail/")
        .next()?
        .to_owned();
    let path = format!("{folder}{path}");
    let blobs = draft.members.iter().enumerate();
    let at = blobs
        .filter(|(_, file)| file.path.contains("/blobs/") && file.path > path)
        .map(|(at, _)| at)
        .next()
        .unwrap_or(first);
    draft
        .members
        .insert(at, crate::tamper::archive::Member { path, contents });
    Some(())
}
