use ring::rand::SystemRandom;

use super::*;
use crate::checkpoint::{log_vkey, sign_checkpoint};
use crate::cosignature::{cosign, verify_cosignature};
use crate::hash::{Origin, leaf_hash, root_of};
use crate::key::SigningKey;
use crate::merkle::{LeafHashes, consistency_proof};
use crate::note::SignatureKind;

const LARGEST: u64 = 40;

fn origin() -> Origin {
    Origin::parse("example.com/gw/0001").unwrap()
}

fn log_key() -> SigningKey {
    SigningKey::from_seed([1; 32])
}

fn known() -> [Vkey; 1] {
    [log_vkey(&origin(), &log_key().public())]
}

/// Leaf hashes of a log; another `history` is another log from leaf 3 on.
fn leaves(history: u8) -> Vec<Hash> {
    (0..LARGEST)
        .map(|i| leaf_hash(&[if i < 3 { 0 } else { history }, u8::try_from(i).unwrap()]))
        .collect()
}

fn checkpoint(history: u8, size: u64) -> Checkpoint {
    Checkpoint {
        origin: origin(),
        size,
        root: root_of(&leaves(history)[..usize::try_from(size).unwrap()]),
    }
}

fn held(history: u8, size: u64) -> Held {
    let Checkpoint { size, root, .. } = checkpoint(history, size);
    Held { size, root }
}

/// What an honest log of this history sends.
fn request(history: u8, old: u64, size: u64) -> Request {
    Request {
        old,
        proof: consistency_proof(&mut LeafHashes(&leaves(history)), old, size).unwrap(),
        note: sign_checkpoint(&checkpoint(history, size), &log_key()),
    }
}

fn status(request: &Request, held: Held) -> u16 {
    let known = known();
    let decided = request
        .authenticate(&known)
        .and_then(|authentic| authentic.decide(held));
    decided.map_or_else(|refusal| refusal.status(), |_accepted| 200)
}

#[test]
fn the_example_of_the_specification_is_read_and_written_back() {
    let body = "old 20852014\n\
        PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n\
        jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n\
        5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=\n\
        /6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=\n\
        \n\
        example.com/behind-the-sofa\n\
        20852163\n\
        CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\
        \n\
        — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
        — example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=\n";
    let request = Request::parse(body.as_bytes()).unwrap();
    assert_eq!((request.old, request.proof.len()), (20_852_014, 4));
    assert_eq!(request.origin(), "example.com/behind-the-sofa");
    assert_eq!(request.to_bytes(), body.as_bytes());
}

#[test]
fn a_malformed_request_is_refused_by_its_line() {
    let good = String::from_utf8(request(0, 3, 7).to_bytes()).unwrap();
    let hash = leaf_hash(b"x").to_base64();
    let many = format!("old 3\n{}", format!("{hash}\n").repeat(64));
    for (body, error) in [
        (String::new(), RequestError::NoCheckpoint),
        ("old 3\n".to_owned(), RequestError::NoCheckpoint),
        (good.replace("old 3", "old 03"), RequestError::OldSize),
        (good.replace("old 3", "old  3"), RequestError::OldSize),
        (good.replace("old 3", "old -3"), RequestError::OldSize),
        (good.replace("old 3", "new 3"), RequestError::OldSize),
        (good.replace("old 3\n", "\n"), RequestError::OldSize),
        (good.replace("old 3\n", "old 3\nx\n"), RequestError::Hash(2)),
        (
            good.replace("old 3\n", &format!("old 3\n{hash} \n")),
            RequestError::Hash(2),
        ),
        (
            good.replace("old 3\n", &many),
            RequestError::TooManyHashes(64 + request(0, 3, 7).proof.len()),
        ),
        (
            good.trim_end().to_owned(),
            RequestError::Note(NoteError::NoFinalNewline),
        ),
        (
            "old 0\n\nx\n".to_owned(),
            RequestError::Note(NoteError::NoSeparator),
        ),
    ] {
        assert_eq!(Request::parse(body.as_bytes()), Err(error), "{body:?}");
    }
    let long = vec![b'a'; Request::MAX_BYTES + 1];
    assert_eq!(
        Request::parse(&long),
        Err(RequestError::TooLarge(long.len()))
    );
    assert_eq!(Request::parse(b"old 0\xff\n\n"), Err(RequestError::NotUtf8));
    assert_eq!(Refusal::from(RequestError::OldSize).status(), 400);
}

#[test]
fn an_honest_log_is_cosigned_from_every_size_to_every_larger_one() {
    for old in 0..=LARGEST {
        for size in old..=LARGEST {
            assert_eq!(
                status(&request(0, old, size), held(0, old)),
                200,
                "{old} to {size}"
            );
        }
    }
    assert_eq!(status(&request(0, 0, 5), Held::nothing()), 200);
}

#[test]
fn two_histories_of_one_log_are_never_both_cosigned() {
    for old in 4..=LARGEST {
        for size in old..=LARGEST {
            // With the proof of either history, or none.
            let mut forged = request(9, old, size);
            assert_eq!(status(&forged, held(0, old)), 422, "{old} to {size}");
            forged.proof = request(0, old, size).proof;
            assert_eq!(status(&forged, held(0, old)), 422, "{old} to {size}");
            forged.proof.clear();
            assert_eq!(status(&forged, held(0, old)), 422, "{old} to {size}");
        }
    }
    let known = known();
    let fork = request(9, 7, 7);
    let refusal = fork.authenticate(&known).unwrap().decide(held(0, 7));
    assert!(matches!(refusal, Err(Refusal::OtherRoot { size: 7, .. })));
}

#[test]
fn an_old_size_that_is_not_the_held_one_is_told_the_held_one_alone() {
    for old in 0..=7 {
        for size in 0..=LARGEST {
            if old == size {
                continue;
            }
            let request = request(0, old, 7);
            let known = known();
            let refusal = request.authenticate(&known).unwrap().decide(held(0, size));
            let refusal = refusal.unwrap_err();
            assert_eq!(refusal.status(), 409);
            assert_eq!(refusal.content_type(), "text/x.tlog.size");
            assert_eq!(refusal.body(), format!("{size}\n"));
            assert_eq!(read_size(refusal.body().as_bytes()), Some(size));
        }
    }
}

#[test]
fn each_rule_of_the_specification_has_its_own_status() {
    let good = request(0, 3, 7);
    // 404 stands before everything that concerns the signature.
    assert_eq!(good.authenticate(&[]).unwrap_err().status(), 404);
    // 403: no known key, and a known key that does not verify.
    let other = [log_vkey(
        &origin(),
        &SigningKey::from_seed([2; 32]).public(),
    )];
    assert_eq!(good.authenticate(&other).unwrap_err().status(), 403);
    let mut altered = good.clone();
    altered.note.signatures[0].bytes[0] ^= 1;
    assert_eq!(status(&altered, held(0, 3)), 403);
    // A bad line of a known key refuses the note though a good one stands beside it.
    let mut both = good.clone();
    both.note.signatures.extend(altered.note.signatures);
    assert_eq!(status(&both, held(0, 3)), 403);
    // 400: an old size beyond the new one, before it is compared with what is held.
    let mut shrinking = request(0, 7, 7);
    shrinking.note = sign_checkpoint(&checkpoint(0, 3), &log_key());
    assert_eq!(status(&shrinking, held(0, 7)), 400);
    assert_eq!(status(&shrinking, held(0, 3)), 400);
    // 422: a proof where none belongs, an altered, a missing and a superfluous hash.
    let mut proof_from_nothing = request(0, 0, 7);
    proof_from_nothing.proof.push(leaf_hash(b"x"));
    assert_eq!(status(&proof_from_nothing, Held::nothing()), 422);
    for change in [
        |proof: &mut Vec<Hash>| proof[0] = leaf_hash(b"x"),
        |proof: &mut Vec<Hash>| proof.truncate(1),
        |proof: &mut Vec<Hash>| proof.push(leaf_hash(b"x")),
    ] {
        let mut wrong = good.clone();
        change(&mut wrong.proof);
        assert_eq!(status(&wrong, held(0, 3)), 422);
    }
    // 422: an empty tree with another root; the right one is cosigned.
    let mut empty = checkpoint(0, 0);
    let mut request = request(0, 0, 0);
    assert_eq!(status(&request, Held::nothing()), 200);
    empty.root = leaf_hash(b"x");
    request.note = sign_checkpoint(&empty, &log_key());
    assert_eq!(status(&request, Held::nothing()), 422);
    // A held log is not empty: 409 comes first.
    assert_eq!(status(&request, held(0, 3)), 409);
}

#[test]
fn a_signed_note_with_extension_lines_is_no_checkpoint_here() {
    let body = format!("{}extension\n", checkpoint(0, 3).body());
    let line = NoteSignature {
        name: origin().to_string(),
        key_hash: known()[0].key_hash(),
        bytes: log_key().sign(body.as_bytes()).to_vec(),
    };
    let request = Request {
        old: 0,
        proof: Vec::new(),
        note: Note {
            text: body,
            signatures: vec![line],
        },
    };
    assert_eq!(status(&request, Held::nothing()), 400);
}

#[test]
fn the_cosigned_note_carries_the_logs_line_and_the_witnesss_and_no_other() {
    let (witness, _line) = Cosigner::generate("witness.example/w1", &SystemRandom::new()).unwrap();
    let (stranger, _line) = Cosigner::generate("stranger", &SystemRandom::new()).unwrap();
    let mut request = request(0, 0, 5);
    let stranger = stranger.cosign(&request.note.text, 1);
    request.note.signatures.insert(0, stranger);
    let known = known();
    let accepted = request
        .authenticate(&known)
        .unwrap()
        .decide(Held::nothing())
        .unwrap();
    assert_eq!(accepted.held(), held(0, 5));
    let (line, note) = accepted.cosign(&witness, 1_767_225_600);
    assert_eq!(
        verify_cosignature(&note, witness.vkey()),
        Ok(Some(1_767_225_600))
    );
    let names: Vec<&str> = note.signatures.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["example.com/gw/0001", "witness.example/w1"]);
    assert_eq!(
        read_cosignature(&request.note, line.to_line().as_bytes(), witness.vkey()),
        Ok((line, 1_767_225_600))
    );
}

#[test]
fn an_answer_is_taken_only_if_the_key_that_was_asked_signed_this_checkpoint() {
    let witness = SigningKey::from_seed([5; 32]);
    let vkey = Vkey::new("w1", SignatureKind::Cosignature, witness.public()).unwrap();
    let note = request(0, 0, 5).note;
    let line = |text: &str, name: &str, time| cosign(text, name, &witness, time).to_line();
    let read = |answer: String| read_cosignature(&note, answer.as_bytes(), &vkey);
    // Lines of strangers are read over; the earliest of several counts.
    let several =
        line(&note.text, "w2", 3) + &line(&note.text, "w1", 9) + &line(&note.text, "w1", 7);
    assert_eq!(read(several).map(|(_line, time)| time), Ok(7));
    assert_eq!(
        read(line(&note.text, "w2", 3)),
        Err(AnswerError::OtherKey("w1".to_owned()))
    );
    let other = request(0, 0, 6).note.text;
    assert_eq!(
        read(line(&other, "w1", 3)),
        Err(NoteError::BadSignature("w1".to_owned()).into())
    );
    let with_text = format!("x\n\n{}", line(&note.text, "w1", 3));
    assert!(matches!(read(with_text), Err(AnswerError::Note(_))));
    assert!(read(String::new()).is_err());
    for size in ["", "5", "05\n", "5\n\n", "9223372036854775808\n", "-1\n"] {
        assert_eq!(read_size(size.as_bytes()), None, "{size:?}");
    }
}
