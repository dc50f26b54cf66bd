//! The final checkpoint, the trail, and who signed them.

use evidence::checkpoint::{Checkpoint, sign_checkpoint};
use evidence::cosignature::cosign;
use evidence::hash::{Hash, Origin, leaf_hash};
use evidence::key::SigningKey;
use evidence::merkle::{CompactRange, LeafHashes, inclusion_proof};
use evidence::note::{Note, NoteSignature};
use evidence::proof::TlogProof;

use crate::tamper::Hand::{LogKey, Nothing, Witness};
use crate::tamper::draft::{Draft, renote};
use crate::tamper::{Expected, Good, Hand, Mutation};

const CLASS: &str = "Checkpoints and cosignatures";

const fn row(
    name: &'static str,
    hand: Hand,
    code: &'static str,
    make: fn(&Good) -> Option<Vec<u8>>,
) -> Mutation {
    Mutation::refused(CLASS, name, hand, code, make)
}

const fn harmless(
    name: &'static str,
    hand: Hand,
    why: &'static str,
    make: fn(&Good) -> Option<Vec<u8>>,
) -> Mutation {
    Mutation {
        class: CLASS,
        name,
        hand,
        expected: Expected::Harmless(why),
        make,
    }
}

pub(super) static MATRIX: [Mutation; 39] = [
    row("the log's signature altered", Nothing, "V02", |good| {
        note(good, |note| flip(&mut note.signatures, 0, 9))
    }),
    row("a cosignature altered", Nothing, "V02", |good| {
        note(good, |note| flip(&mut note.signatures, 1, 20))
    }),
    row("another time in a cosignature", Nothing, "V02", |good| {
        note(good, |note| flip(&mut note.signatures, 1, 7))
    }),
    row(
        "a time in the far future in a cosignature",
        Nothing,
        "V02",
        |good| {
            note(good, |note| {
                note.signatures
                    .get_mut(1)?
                    .bytes
                    .first_mut()
                    .map(|byte| *byte = 0x7F)
            })
        },
    ),
    row(
        "a time beyond 63 bits in a cosignature",
        Nothing,
        "V02",
        |good| {
            note(good, |note| {
                note.signatures
                    .get_mut(1)?
                    .bytes
                    .first_mut()
                    .map(|byte| *byte = 0x80)
            })
        },
    ),
    row("a cosignature one byte short", Nothing, "V02", |good| {
        note(good, |note| {
            note.signatures.get_mut(1)?.bytes.pop().map(drop)
        })
    }),
    row(
        "a cosignature of another checkpoint",
        Nothing,
        "V02",
        |good| {
            let mut draft = good.draft();
            let older = Note::parse(draft.note()?.0).ok()?.signatures;
            renote(draft.file("checkpoint")?, |note| {
                for line in &mut note.signatures {
                    if let Some(old) = older
                        .iter()
                        .find(|old| old.name == line.name && old.bytes.len() == 72)
                    {
                        line.bytes.clone_from(&old.bytes);
                    }
                }
            })?;
            Some(draft.write())
        },
    ),
    row(
        "a cosignature of another log's checkpoint",
        Witness,
        "V02",
        |good| {
            let (name, key) = good.keys.witnesses.last()?;
            let mut checkpoint = checkpoint(good)?;
            checkpoint.origin = Origin::parse("example.com/gw/9999").ok()?;
            let line = cosign(&checkpoint.body(), name, key, 1_767_650_000);
            note_with(good, move |note| {
                *note.signatures.last_mut()? = line;
                Some(())
            })
        },
    ),
    row(
        "one witness of the quorum missing",
        Nothing,
        "V03",
        |good| note(good, |note| note.signatures.pop().map(drop)),
    ),
    row("no witness", Nothing, "V03", |good| {
        note(good, |note| {
            note.signatures.truncate(1);
            Some(())
        })
    }),
    row("one witness twice instead of two", Witness, "V03", |good| {
        note(good, |note| {
            let first = note.signatures.get(1)?.clone();
            note.signatures.last_mut().map(|last| *last = first)
        })
    }),
    row("no signature of the log", Nothing, "V02", |good| {
        note(good, |note| {
            drop(note.signatures.remove(0));
            Some(())
        })
    }),
    row("no signatures", Nothing, "V02", |good| {
        text(good, |text| {
            text.truncate(text.find("\n\n")? + 2);
            Some(())
        })
    }),
    row("only a stranger's signature", Nothing, "V02", |good| {
        note(good, |note| {
            note.signatures = vec![stranger(&note.text, 0)];
            Some(())
        })
    }),
    row(
        "the log's name under a stranger's key",
        Nothing,
        "V02",
        |good| {
            let checkpoint = checkpoint(good)?;
            note_with(good, move |note| {
                let theirs = sign_checkpoint(&checkpoint, &SigningKey::from_seed([0x55; 32]));
                *note.signatures.first_mut()? = theirs.signatures.into_iter().next()?;
                Some(())
            })
        },
    ),
    harmless(
        "14 strangers' signatures more, 17 in all",
        Nothing,
        "unknown signers are ignored",
        |good| {
            note(good, |note| {
                for number in 0..14 {
                    note.signatures.push(stranger(&note.text, number));
                }
                Some(())
            })
        },
    ),
    row("65 signatures", Nothing, "V02", |good| {
        note(good, |note| {
            for number in 0..62 {
                note.signatures.push(stranger(&note.text, number));
            }
            Some(())
        })
    }),
    row("carriage returns", Nothing, "V02", |good| {
        text(good, |text| replaced(text, "\n", "\r\n"))
    }),
    row("no newline at the end", Nothing, "V02", |good| {
        text(good, |text| text.pop().map(drop))
    }),
    row(
        "no empty line before the signatures",
        Nothing,
        "V02",
        |good| text(good, |text| replaced(text, "\n\n", "\n")),
    ),
    row(
        "an empty line behind the signatures",
        Nothing,
        "V02",
        |good| {
            text(good, |text| {
                text.push('\n');
                Some(())
            })
        },
    ),
    row("a hyphen instead of the dash", Nothing, "V02", |good| {
        text(good, |text| replaced(text, "— ", "- "))
    }),
    row("a signature line of two spaces", Nothing, "V02", |good| {
        text(good, |text| replaced(text, "— ", "—  "))
    }),
    row(
        "a signature in base64 without padding",
        Nothing,
        "V02",
        |good| text(good, |text| replaced(text, "=", "")),
    ),
    row("a size with a leading zero", LogKey, "V02", |good| {
        retext(good, |lines| {
            format!("{}\n0{}\n{}\n", lines.0, lines.1, lines.2)
        })
    }),
    row("a size with a sign", LogKey, "V02", |good| {
        retext(good, |lines| {
            format!("{}\n+{}\n{}\n", lines.0, lines.1, lines.2)
        })
    }),
    row("a size beyond 63 bits", LogKey, "V02", |good| {
        retext(good, |lines| {
            format!("{}\n9223372036854775808\n{}\n", lines.0, lines.2)
        })
    }),
    row("an extension line", LogKey, "V02", |good| {
        retext(good, |lines| {
            format!("{}\n{}\n{}\nmore\n", lines.0, lines.1, lines.2)
        })
    }),
    row("a root of 31 bytes", LogKey, "V02", |good| {
        retext(good, |lines| {
            format!("{}\n{}\n{}\n", lines.0, lines.1, "A".repeat(41) + "A=")
        })
    }),
    row("the name of another log", LogKey, "V02", |good| {
        retext(good, |lines| {
            format!("example.com/gw/9999\n{}\n{}\n", lines.1, lines.2)
        })
    }),
    row("a checkpoint of nothing", LogKey, "V02", |good| {
        retext(good, |lines| format!("{}\n0\n{}\n", lines.0, lines.2))
    }),
    row(
        "a trail note with a bad cosignature",
        Nothing,
        "V07",
        |good| trail(good, |note| flip(&mut note.signatures, 1, 20)),
    ),
    row(
        "a trail note that the log did not sign",
        Nothing,
        "V07",
        |good| {
            trail(good, |note| {
                drop(note.signatures.remove(0));
                Some(())
            })
        },
    ),
    row(
        "a trail note under another size's name",
        Nothing,
        "V07",
        |good| {
            let mut draft = good.draft();
            let (bytes, size) = draft.note()?;
            let bytes = bytes.clone();
            draft.add_note(size + 1, bytes)?;
            Some(draft.write())
        },
    ),
    row(
        "a fork: two signed roots of one size",
        LogKey,
        "V07",
        |good| {
            let mut draft = good.draft();
            let (_, size) = draft.note()?;
            draft.add_note(size, signed(good, size, Hash([1; 32])))?;
            Some(draft.write())
        },
    ),
    row(
        "a fork of a size that nobody else saw",
        LogKey,
        "V08",
        |good| {
            let mut draft = good.draft();
            let (_, size) = draft.note()?;
            draft.add_note(size - 1, signed(good, size - 1, Hash([1; 32])))?;
            Some(draft.write())
        },
    ),
    row(
        "a trail note beyond the final checkpoint",
        LogKey,
        "V07",
        |good| {
            let mut draft = good.draft();
            let size = checkpoint(good)?.size + 1;
            draft.add_note(size, signed(good, size, Hash([1; 32])))?;
            Some(draft.write())
        },
    ),
    harmless(
        "the trail notes of one hour left out",
        Nothing,
        "brackets only get wider",
        |good| {
            let mut draft = good.draft();
            let trail = draft.trail();
            let at = *trail.get(trail.len() / 2)?;
            drop(draft.members.remove(at));
            Some(draft.write())
        },
    ),
    row("another log's key in genesis", Nothing, "V05", |good| {
        let mut draft = good.draft();
        let entry = draft.file("control/0.entry")?;
        let at = entry.windows(7).position(|part| part == b"log_key")? + 20;
        *entry.get_mut(at)? ^= 1;
        Some(draft.write())
    }),
];

/// The final checkpoint.
pub(super) fn checkpoint(good: &Good) -> Option<Checkpoint> {
    let note = Note::parse(good.draft().file("checkpoint")?).ok()?;
    Checkpoint::parse_body(&note.text).ok()
}

fn signed(good: &Good, size: u64, root: Hash) -> Vec<u8> {
    let checkpoint = Checkpoint {
        origin: good.origin.clone(),
        size,
        root,
    };
    sign_checkpoint(&checkpoint, &good.keys.log).to_bytes()
}

/// Changes the final note, which the control proofs carry along.
fn note(good: &Good, change: fn(&mut Note) -> Option<()>) -> Option<Vec<u8>> {
    note_with(good, change)
}

pub(super) fn note_with(
    good: &Good,
    change: impl FnOnce(&mut Note) -> Option<()>,
) -> Option<Vec<u8>> {
    let mut draft = good.draft();
    let mut done = None;
    renote(draft.file("checkpoint")?, |note| done = change(note))?;
    done?;
    // A note that no proof file can carry is refused where it stands.
    let _unreadable = carried(&mut draft);
    Some(draft.write())
}

fn text(good: &Good, change: fn(&mut String) -> Option<()>) -> Option<Vec<u8>> {
    let mut draft = good.draft();
    let bytes = draft.file("checkpoint")?;
    let mut text = String::from_utf8(bytes.clone()).ok()?;
    change(&mut text)?;
    *bytes = text.into_bytes();
    Some(draft.write())
}

/// Another text under the log's key and the old cosignatures' keys.
fn retext(good: &Good, change: fn((&str, &str, &str)) -> String) -> Option<Vec<u8>> {
    let mut draft = good.draft();
    let note = Note::parse(draft.file("checkpoint")?).ok()?;
    let mut lines = note.text.lines();
    let text = change((lines.next()?, lines.next()?, lines.next()?));
    let mut made = sign_checkpoint(&checkpoint(good)?, &good.keys.log);
    made.text = text;
    if let Some(line) = made.signatures.first_mut() {
        line.bytes = good.keys.log.sign(made.text.as_bytes()).to_vec();
    }
    for (name, key) in &good.keys.witnesses {
        made.signatures
            .push(cosign(&made.text, name, key, 1_767_650_000));
    }
    *draft.file("checkpoint")? = made.to_bytes();
    Some(draft.write())
}

fn trail(good: &Good, change: fn(&mut Note) -> Option<()>) -> Option<Vec<u8>> {
    let mut draft = good.draft();
    let mut done = None;
    renote(draft.note()?.0, |note| done = change(note))?;
    done?;
    Some(draft.write())
}

/// Puts the final note into the control proofs, as whoever made the bundle would have.
fn carried(draft: &mut Draft) -> Option<()> {
    let note = Note::parse(draft.file("checkpoint")?).ok()?;
    for file in draft
        .members
        .iter_mut()
        .filter(|file| file.path.ends_with(".proof"))
    {
        let mut proof = TlogProof::parse(&file.contents).ok()?;
        proof.checkpoint = note.clone();
        file.contents = proof.to_bytes();
    }
    Some(())
}

/// The bundle as it was some hours ago, which the witnesses signed: shorter, and true as far as it goes.
pub(super) fn truncated(good: &Good) -> Option<Vec<u8>> {
    let mut draft = good.draft();
    let all = good.keys.witnesses.len() + 1;
    // The newest note that everybody signed and that ends before the last eighth of the entries.
    let limit = u64::try_from(draft.entries.len() * 7 / 8).ok()?;
    let (size, checkpoint) = draft.trail().into_iter().rev().find_map(|at| {
        let bytes = &draft.members.get(at)?.contents;
        let note = Note::parse(bytes).ok()?;
        let size = Checkpoint::parse_body(&note.text).ok()?.size;
        (size < limit && note.signatures.len() == all).then(|| (size, bytes.clone()))
    })?;
    let keep = usize::try_from(size).ok()?;
    draft.entries.truncate(keep);
    draft.payloads.truncate(keep);
    draft.cut_trail(size);
    let leaves: Vec<Hash> = draft.entries.iter().map(|entry| leaf_hash(entry)).collect();
    draft.file("checkpoint")?.clone_from(&checkpoint);
    let note = Note::parse(&checkpoint).ok()?;
    for at in 0..good.entries.len() {
        let index = u64::try_from(at).ok()?;
        if draft.position(&format!("control/{index}.entry")).is_none() {
            continue;
        }
        if index >= size {
            drop(draft.without(&format!("control/{index}.entry"))?);
            drop(draft.without(&format!("control/{index}.proof"))?);
            continue;
        }
        let Ok(hashes) = inclusion_proof(&mut LeafHashes(&leaves), index, size);
        let proof = TlogProof {
            extra: None,
            index,
            hashes,
            checkpoint: note.clone(),
        };
        *draft.file(&format!("control/{index}.proof"))? = proof.to_bytes();
    }
    Some(draft.write())
}

/// The root over the first entries.
pub(super) fn root_at(good: &Good, size: u64) -> Option<Hash> {
    let mut range = CompactRange::new();
    for entry in good
        .draft()
        .entries
        .iter()
        .take(usize::try_from(size).ok()?)
    {
        range.append(&leaf_hash(entry));
    }
    Some(range.root())
}

fn flip(lines: &mut [NoteSignature], line: usize, byte: usize) -> Option<()> {
    *lines.get_mut(line)?.bytes.get_mut(byte)? ^= 1;
    Some(())
}

fn stranger(text: &str, number: u8) -> NoteSignature {
    let key = SigningKey::from_seed([number.wrapping_add(0x60); 32]);
    cosign(text, "somebody.example", &key, 1_767_650_000)
}

fn replaced(text: &mut String, from: &str, to: &str) -> Option<()> {
    let before = text.clone();
    *text = text.replace(from, to);
    (*text != before).then_some(())
}
