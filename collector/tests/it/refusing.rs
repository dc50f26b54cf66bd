//! What must never enter: a second history, anything altered, anything of another key.

use evidence::control::Control;
use evidence::hash::Hash;
use evidence::key::SigningKey;
use evidence::wire::{Record, Upload};

use crate::bed::{Bed, refusal};
use crate::checks::{assert_whole, located};
use crate::edge::{Edge, table};
use crate::on_both;

on_both! {
    async fn a_second_history_is_refused_and_kept_beside_the_first(bed: &Bed) {
        let serving = bed.serve();
        let mut edge = Edge::enrolled(bed, &serving).await;
        edge.seal_data(&[1, 2, 3]);
        edge.deliver(&serving, 1, 3).await;
        // The same gateway from an older image: another entry at index 2, rightly signed.
        let mut other = Edge::new(edge.chain.origin().as_str());
        other.token.clone_from(&edge.token);
        other.seal_control(Control::Config(table().into()));
        other.seal_data(&[9, 9, 9]);
        other.seal_data(&[9]);
        let (status, code, reason) = refusal(other.send(&serving, other.upload(1, 4)).await).await;
        assert_eq!((status, &*code), (422, "fork"));
        assert!(reason.contains("entry 2"), "{reason}");
        let kept = bed.store.quarantined(located(bed, &edge).await, 9).await.unwrap();
        assert_eq!(kept.len(), 1);
        let refused = Upload::decode(&kept[0].refused).unwrap();
        assert_eq!((refused.old, refused.records[0].entry), (2, &*other.entries[2].0));
        assert_eq!(kept[0].held.as_ref(), Some(&edge.entries[2].0));
        assert_whole(bed, &edge).await;
        // Nor does a bare checkpoint of the other history get in, whatever its size.
        for size in [3, 2] {
            let note = edge.note_of(size, Hash([5; 32]));
            let upload = Upload { old: size, note: &note, records: Vec::new() }.encode().unwrap();
            let (status, code, _) = refusal(edge.send(&serving, upload).await).await;
            assert_eq!((status, &*code), (422, "fork"));
        }
        serving.stop().await;
    }
}

#[test]
fn a_damaged_byte_in_a_repeated_entry_is_no_fork() {
    crate::bed::on_sqlite(async |bed| {
        let serving = bed.serve();
        let mut edge = Edge::enrolled(bed, &serving).await;
        edge.seal_data(&[1, 2, 3]);
        let first = edge.deliver(&serving, 1, 3).await;
        edge.seal_data(&[4]);
        let log = located(bed, &edge).await;
        let entry = edge.entries[2].0.clone();
        // Under the checkpoint of what is held, and of what comes next.
        for to in [3, 4] {
            for at in [1, entry.len() / 2, entry.len() - 1] {
                edge.entries[2].0[at] ^= 1;
                let changed = edge.entries[2].0.clone();
                edge.entries[2].0.clone_from(&entry);
                let note = edge.note_at(to);
                edge.entries[2].0 = changed;
                let upload = edge.upload_with(1, to, &note);
                edge.entries[2].0.clone_from(&entry);
                let (status, code, reason) = refusal(edge.send(&serving, upload).await).await;
                assert_eq!((status, &*code), (400, "damaged"), "{to} {at}: {reason}");
                assert!(reason.contains("entry 2"), "{reason}");
            }
        }
        let kept = bed.store.quarantined(log, 99).await.unwrap();
        assert!(kept.iter().all(|kept| kept.code == "damaged"));
        // An entry of the log put where another one stands is damage too: it names its own place.
        let moved = [edge.entries[2].clone(), edge.entries[1].clone()];
        let records = moved.iter().map(|(entry, payload)| Record {
            entry,
            payload: Some(payload),
        });
        let note = edge.note_at(3);
        let upload = Upload {
            old: 1,
            note: &note,
            records: records.collect(),
        };
        let response = edge.send(&serving, upload.encode().unwrap()).await;
        assert_eq!(refusal(response).await.1, "damaged");
        // But who signs another root over what is held has forked the log, damaged byte or not.
        edge.entries[2].0[entry.len() - 1] ^= 1;
        let forked = edge.upload_with(1, 3, &edge.note_of(3, Hash([5; 32])));
        edge.entries[2].0.clone_from(&entry);
        let (status, code, reason) = refusal(edge.send(&serving, forked).await).await;
        assert_eq!((status, &*code), (422, "fork"));
        assert!(reason.contains("states root"), "{reason}");
        // The same bytes whole are welcome.
        assert_eq!(edge.deliver(&serving, 1, 3).await, first);
        edge.deliver(&serving, 1, 4).await;
        assert_whole(bed, &edge).await;
        serving.stop().await;
    });
}

/// A wrong upload: what it is, its bytes, and the status, code and words it must be refused with.
type Wrong = (&'static str, Vec<u8>, u16, &'static str, &'static str);

/// An upload of configuration and data with these instead of what was sealed.
fn forged(edge: &Edge, config: &[u8], entry: &[u8], payload: &[u8]) -> Vec<u8> {
    let config = Record {
        entry: &edge.entries[1].0,
        payload: Some(config),
    };
    let data = Record {
        entry,
        payload: Some(payload),
    };
    Upload {
        old: 1,
        note: &edge.note_at(3),
        records: vec![config, data],
    }
    .encode()
    .unwrap()
}

fn wrong_uploads(edge: &mut Edge) -> Vec<Wrong> {
    let good = edge.upload(1, 3);
    let own = std::mem::replace(&mut edge.log_key, SigningKey::from_seed([77; 32]));
    let foreign = edge.upload(1, 3);
    edge.log_key = own;
    let edge = &*edge;
    let changed = |bytes: &[u8], at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1;
        bytes
    };
    let (entry, payload) = &edge.entries[2];
    let other_size = edge.upload_with(1, 3, &edge.note_at(2));
    let other_root = edge.upload_with(1, 3, &edge.note_of(3, Hash([3; 32])));
    let signature = forged(edge, &[], &changed(entry, entry.len() - 1), payload);
    let altered = forged(edge, &[], entry, &changed(payload, 8));
    let surplus = forged(edge, b"surplus", entry, payload);
    vec![
        ("no upload", b"hello".to_vec(), 400, "upload", "FSU1"),
        (
            "cut short",
            good[..good.len() - 1].to_vec(),
            400,
            "upload",
            "ends early",
        ),
        (
            "another key's checkpoint",
            foreign,
            403,
            "signature",
            "no signature by a known key",
        ),
        (
            "the checkpoint of another size",
            other_size,
            400,
            "checkpoint",
            "covers 2 entries",
        ),
        ("another root", other_root, 422, "root", "lead to root"),
        ("an altered signature", signature, 422, "E06", "entry 2"),
        ("an altered payload", altered, 422, "E15", "entry 2"),
        (
            "a payload where none was signed",
            surplus,
            422,
            "E14",
            "entry 1",
        ),
    ]
}

#[test]
fn every_kind_of_wrong_upload_is_refused_by_name_and_changes_nothing() {
    crate::bed::on_sqlite(async |bed| {
        let serving = bed.serve();
        let mut edge = Edge::enrolled(bed, &serving).await;
        edge.seal_data(&[1, 2, 3]);
        let log = located(bed, &edge).await;
        let wrong = wrong_uploads(&mut edge);
        for (count, (what, upload, status, code, words)) in (1..).zip(wrong) {
            let (found, found_code, text) = refusal(edge.send(&serving, upload).await).await;
            assert_eq!((found, &*found_code), (status, code), "{what}: {text}");
            assert!(text.contains(words), "{what}: {text}");
            assert_eq!(bed.store.log(log).await.unwrap().unwrap().size, 1, "{what}");
            let kept = bed.store.quarantined(log, 99).await.unwrap();
            assert_eq!(kept.len(), count, "{what}");
            assert!(
                kept.iter()
                    .any(|kept| kept.code == code && kept.reason == text),
                "{what}"
            );
        }
        // And the good one still enters.
        edge.deliver(&serving, 1, 3).await;
        assert_whole(bed, &edge).await;
        serving.stop().await;
    });
}

#[test]
fn no_single_changed_byte_of_an_upload_gets_in() {
    crate::bed::on_sqlite(async |bed| {
        let mut config = bed.config.clone();
        config.limits.uploads_per_minute = 60_000;
        let serving = bed.serve_with(config);
        let mut edge = Edge::enrolled(bed, &serving).await;
        edge.seal_data(&[1, 2, 3]);
        let log = located(bed, &edge).await;
        let good = edge.upload(1, 3);
        for at in 0..good.len() {
            let mut changed = good.clone();
            changed[at] ^= 1 << (at % 8);
            let response = edge.send(&serving, changed).await;
            let status = response.status().as_u16();
            assert!(
                matches!(status, 400 | 403 | 409 | 422),
                "byte {at}: {status}"
            );
        }
        assert_eq!(bed.store.log(log).await.unwrap().unwrap().size, 1);
        edge.deliver(&serving, 1, 3).await;
        assert_whole(bed, &edge).await;
        serving.stop().await;
    });
}

#[test]
fn a_log_whose_key_was_stolen_takes_no_new_entries_and_says_what_to_do() {
    use evidence::statement::{Controls, LogEnd, Revocation, Signed, Statement};

    crate::bed::on_sqlite(async |bed| {
        let serving = bed.serve();
        let mut edge = Edge::enrolled(bed, &serving).await;
        edge.seal_data(&[1, 2, 3]);
        edge.deliver(&serving, 1, 3).await;
        let config = bed.directory.join("collector.toml").display().to_string();
        let file = |name: &str| bed.directory.join(name).display().to_string();
        let run = |words: &[&str]| {
            let output = std::process::Command::new(env!("CARGO_BIN_EXE_fieldseal-collector"))
                .args(words)
                .args(["--config", &config])
                .output()
                .unwrap();
            let told = [output.stdout, output.stderr].concat();
            (output.status.success(), String::from_utf8(told).unwrap())
        };
        let authority = SigningKey::from_seed([200; 32]);
        let origin = edge.chain.origin().clone();
        let revoke = |key_id, since_s| {
            let statement = Statement::Revocation(Revocation {
                origin: origin.clone(),
                key_id,
                since_s,
                reason: "the card was copied".to_owned(),
            });
            let bytes = Signed::sign(statement, &authority).unwrap().to_bytes();
            #[expect(clippy::disallowed_methods, reason = "a test's own file")]
            std::fs::write(file("revoked.txt"), bytes).unwrap();
            let public = hex::encode(authority.public().bytes());
            run(&["revoke", &file("revoked.txt"), "--authority", &public])
        };
        let (done, told) = run(&[
            "log-end",
            "--log",
            origin.as_str(),
            "--out",
            &file("end.txt"),
        ]);
        assert!(done, "{told}");
        let end = LogEnd::parse(&std::fs::read_to_string(file("end.txt")).unwrap()).unwrap();
        assert_eq!(
            (end.last_index, end.last_leaf),
            (2, *edge.chain.previous().unwrap())
        );
        let out = file("controls.txt");
        let (done, told) = run(&["controls", "--log", origin.as_str(), "--out", &out]);
        assert!(done, "{told}");
        let controls = Controls::parse(&std::fs::read(out).unwrap()).unwrap();
        assert_eq!(controls.check().unwrap().len(), 2);

        let (done, told) = revoke([9; 8], 1);
        assert!(!done && told.contains("never used"), "{told}");
        let in_force = edge.chain.entry_key().unwrap().key_id();
        let (done, told) = revoke(in_force, 1);
        assert!(done && told.contains("takes no new entries"), "{told}");
        edge.seal_data(&[4, 5, 6]);
        let refused = edge.send(&serving, edge.upload(3, 4)).await;
        assert_eq!(refused.status(), 403);
        let text = refused.text().await.unwrap();
        assert!(
            text.contains("revoked") && text.contains("init --after"),
            "{text}"
        );
        // What is stored already is still confirmed.
        let known = edge.send(&serving, edge.upload(1, 3)).await;
        assert_eq!(known.status(), 200);
        serving.stop().await;
    });
}
