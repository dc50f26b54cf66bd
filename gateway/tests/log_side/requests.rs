//! Statements that commands ask for: sealed once, whoever holds the recorder and wherever it dies.

use std::os::unix::fs::PermissionsExt as _;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use evidence::chain::Applied;
use evidence::control::Control;
use evidence::hash::Origin;
use evidence::key::SigningKey;
use evidence::statement::{Revocation, Signed, Statement};
use gateway::clock::ManualClock;
use gateway::durable::{self, Access};
use gateway::faults::{Faults, NoFaults, Step, Strike};
use gateway::recorder::{Recorder, RecorderError, Settings, Surroundings};
use gateway::requests::{self, Inbox, Listener, RequestError, Sealed};

use crate::support::{MARCH, Site, seconds};

/// No test waits this long when all is well.
const PATIENCE: Duration = Duration::from_secs(30);

/// Dies the first time a step is reached.
#[derive(Debug)]
pub(crate) struct DieOnce {
    pub(crate) step: Step,
    pub(crate) done: AtomicBool,
}

impl Faults for DieOnce {
    fn strike(&self, step: Step) -> Strike {
        if step == self.step && !self.done.swap(true, Ordering::SeqCst) {
            Strike::Die
        } else {
            Strike::Nothing
        }
    }
}

/// Fails the first time a step is reached, with or without effect.
#[derive(Debug)]
struct FailOnce {
    step: Step,
    how: Strike,
    done: AtomicBool,
}

impl Faults for FailOnce {
    fn strike(&self, step: Step) -> Strike {
        if step == self.step && !self.done.swap(true, Ordering::SeqCst) {
            self.how
        } else {
            Strike::Nothing
        }
    }
}

/// The steps of a request, and those of the recorder within it.
const STEPS: [Step; 11] = [
    Step::RequestClaimed,
    Step::RequestIntended,
    Step::Sealed,
    Step::Commit,
    Step::Committed,
    Step::JournalNote,
    Step::Release,
    Step::RequestSealed,
    Step::RequestNoted,
    Step::RequestAnswered,
    Step::RequestForgotten,
];

fn record(text: &str) -> Control {
    Control::Commissioning {
        text: text.to_owned(),
        attachments: Vec::new(),
    }
}

/// The indices at which a statement stands.
fn places(applied: &[Applied], statement: &Control) -> Vec<u64> {
    applied
        .iter()
        .filter(|step| step.control.as_ref() == Some(statement))
        .map(|step| step.entry.index)
        .collect()
}

fn left_in_folder(site: &Site) -> Vec<String> {
    std::fs::read_dir(site.dir.path().join("requests"))
        .unwrap()
        .map(|item| item.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// A command, to be awaited beside whatever else goes on.
async fn ask(site: (Settings, Surroundings), text: &str) -> Result<Sealed, RequestError> {
    let statement = record(text);
    requests::seal(&statement, "a test", &site.0, &site.1, &mut (), PATIENCE).await
}

/// A statement asked for as a command does.
pub(crate) async fn request(
    (settings, around): (Settings, Surroundings),
    statement: Control,
) -> Result<Sealed, RequestError> {
    requests::seal(&statement, "a test", &settings, &around, &mut (), PATIENCE).await
}

pub(crate) fn of(site: &Site) -> (Settings, Surroundings) {
    let around = Surroundings {
        clock: Arc::new(site.clock.clone()),
        os_boot: site.os_boot.clone(),
        faults: Arc::new(NoFaults),
    };
    (site.settings.clone(), around)
}

/// Serves until the command has its answer, or the gateway dies.
pub(crate) async fn serve_until<T>(
    mut command: Pin<&mut impl Future<Output = T>>,
    inbox: &Inbox,
    recorder: &mut Recorder,
    listener: &mut dyn Listener,
) -> Result<T, RecorderError> {
    loop {
        tokio::select! {
            answer = &mut command => return Ok(answer),
            () = tokio::time::sleep(Duration::from_millis(5)) => {}
        }
        inbox.serve(recorder, listener).await?;
    }
}

#[tokio::test]
async fn without_a_gateway_the_command_seals_by_itself() {
    let mut site = Site::new(ManualClock::trusted(MARCH + 5_000, 5_000));
    let mut recorder = site.start().await;
    seconds(&mut recorder, &site.clock, 3).await;
    recorder.close().await.unwrap();
    let sealed = ask(of(&site), "scale checked").await.unwrap();
    let applied = site.whole().await;
    assert_eq!(places(&applied, &record("scale checked")), [sealed.index]);
    let entry = &applied[usize::try_from(sealed.index).unwrap()].entry;
    assert_eq!(entry.clock.unix_ms, sealed.unix_ms);
    assert_eq!(left_in_folder(&site), [""; 0]);
}

#[tokio::test]
async fn while_the_gateway_runs_it_seals_for_the_command() {
    let mut site = Site::new(ManualClock::trusted(MARCH + 5_000, 5_000));
    let mut recorder = site.start().await;
    let inbox = Inbox::new(site.dir.path(), &site.faults);
    let mut sealed = Vec::new();
    // The same words again are another statement: it is asked for after the first was sealed.
    for text in ["first", "second", "first"] {
        let command = pin!(ask(of(&site), text));
        let answer = serve_until(command, &inbox, &mut recorder, &mut ()).await;
        sealed.push(answer.unwrap().unwrap().index);
    }
    seconds(&mut recorder, &site.clock, 3).await;
    recorder.close().await.unwrap();
    let applied = site.whole().await;
    assert_eq!(places(&applied, &record("first")), [sealed[0], sealed[2]]);
    assert_eq!(places(&applied, &record("second")), [sealed[1]]);
    assert_eq!(left_in_folder(&site), [""; 0]);
    let mode = |path: std::path::PathBuf| std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(site.dir.path().join("requests")) & 0o777, 0o700);
}

#[tokio::test]
async fn wherever_the_gateway_dies_a_request_is_sealed_exactly_once_and_answered() {
    let cases = STEPS
        .into_iter()
        .flat_map(|step| [(step, true), (step, false)]);
    for (step, restarted) in cases {
        let mut site = Site::new(ManualClock::trusted(MARCH + 5_000, 5_000));
        // Everything before the request goes without faults.
        site.start().await.close().await.unwrap();
        let faults = Arc::new(DieOnce {
            step,
            done: AtomicBool::new(true),
        });
        site.faults = Arc::clone(&faults) as Arc<dyn Faults>;
        let mut recorder = site.start().await;
        let inbox = Inbox::new(site.dir.path(), &site.faults);
        faults.done.store(false, Ordering::SeqCst);
        let mut command = pin!(ask(of(&site), "checked"));
        let lived = serve_until(command.as_mut(), &inbox, &mut recorder, &mut ()).await;
        drop(recorder);
        let sealed = match lived {
            // The answer may reach the command before the process dies behind it.
            Ok(answer) => answer.unwrap(),
            // The gateway is started again, or the command finds the directory free and finishes by itself.
            Err(_died) if restarted => {
                let mut recorder = site.start().await;
                let answer = serve_until(command, &inbox, &mut recorder, &mut ()).await;
                answer.unwrap().unwrap()
            }
            Err(_died) => command.await.unwrap(),
        };
        assert!(
            faults.done.load(Ordering::SeqCst),
            "{step:?} was never reached"
        );
        let mut recorder = site.start().await;
        inbox.serve(&mut recorder, &mut ()).await.unwrap();
        drop(recorder);
        let applied = site.whole().await;
        assert_eq!(
            places(&applied, &record("checked")),
            [sealed.index],
            "{step:?}"
        );
        assert_eq!(left_in_folder(&site), [""; 0], "{step:?}");
    }
}

/// Puts a request into the folder, as a command does.
fn put(site: &Site, id: &str, text: &str) {
    let body = hex::encode(record(text).encode());
    let request = format!(r#"{{"kind":14,"body":"{body}","words":"{id}"}}"#);
    let folder = requests::prepare(site.dir.path()).unwrap();
    let path = folder.join(format!("{id}.request"));
    durable::write_file(&path, request.as_bytes(), Access::Owner).unwrap();
}

/// What stands in an answer: the id it names and the index of the entry.
fn answer(site: &Site, id: &str) -> Option<(String, u64)> {
    let path = site.dir.path().join(format!("requests/{id}.answer"));
    let answer: serde_json::Value =
        serde_json::from_slice(&durable::read_file(&path).unwrap()?).unwrap();
    let index = answer["outcome"]["Sealed"]["index"].as_u64().unwrap();
    Some((answer["id"].as_str().unwrap().to_owned(), index))
}

/// Serves as the running gateway does, with a restart whenever the recorder gives up, until nothing
/// but answers is left.
async fn settle(site: &Site, mut recorder: Recorder) -> Recorder {
    let inbox = Inbox::new(site.dir.path(), &site.faults);
    let mut left = left_in_folder(site);
    for _ in 0..20 {
        if inbox.serve(&mut recorder, &mut ()).await.is_err() {
            drop(recorder);
            recorder = site.start().await;
        }
        left = left_in_folder(site);
        left.retain(|name| !name.ends_with(".answer"));
        if left.is_empty() {
            break;
        }
    }
    assert_eq!(left, [""; 0], "still there");
    recorder
}

#[tokio::test]
async fn the_same_words_asked_for_twice_at_once_are_two_entries_whatever_fails() {
    let cases = STEPS.into_iter().flat_map(|step| {
        [Strike::Fail, Strike::FailButPersist, Strike::Die].map(|how| (step, how))
    });
    for (step, how) in cases {
        let mut site = Site::new(ManualClock::trusted(MARCH + 5_000, 5_000));
        site.start().await.close().await.unwrap();
        let faults = Arc::new(FailOnce {
            step,
            how,
            done: AtomicBool::new(true),
        });
        site.faults = Arc::clone(&faults) as Arc<dyn Faults>;
        let recorder = site.start().await;
        // Both before the gateway looks: both are of one size of the log.
        put(&site, "b", "checked");
        put(&site, "a", "checked");
        faults.done.store(false, Ordering::SeqCst);
        let mut recorder = settle(&site, recorder).await;
        assert!(faults.done.load(Ordering::SeqCst), "{step:?} not reached");
        // And once more, when the others have long been answered.
        put(&site, "0", "checked");
        recorder = settle(&site, recorder).await;
        recorder.close().await.unwrap();
        let mut answered: Vec<u64> = ["a", "b", "0"]
            .into_iter()
            .map(|id| {
                let (named, index) = answer(&site, id).unwrap();
                assert_eq!(named, id);
                index
            })
            .collect();
        answered.sort_unstable();
        let applied = site.whole().await;
        assert_eq!(
            places(&applied, &record("checked")),
            answered,
            "{step:?} {how:?}"
        );
        answered.dedup();
        assert_eq!(answered.len(), 3, "each its own: {step:?} {how:?}");
    }
}

#[tokio::test]
async fn an_answer_to_another_request_and_a_damaged_note_are_not_believed() {
    let mut site = Site::new(ManualClock::trusted(MARCH + 5_000, 5_000));
    let mut recorder = site.start().await;
    let inbox = Inbox::new(site.dir.path(), &site.faults);
    put(&site, "a", "checked");
    let folder = site.dir.path().join("requests");
    durable::move_file(&folder.join("a.request"), &folder.join("a.claimed")).unwrap();
    durable::write_file(&folder.join("a.note"), b"{", Access::Owner).unwrap();
    let before = recorder.status().size;
    inbox.serve(&mut recorder, &mut ()).await.unwrap();
    assert_eq!(recorder.status().size, before);
    let text = std::fs::read_to_string(folder.join("a.answer")).unwrap();
    assert!(text.contains("nobody can tell whether it was"), "{text}");
    assert_eq!(left_in_folder(&site), ["a.answer"]);

    let other = r#"{"id":"b","outcome":{"Sealed":{"index":1,"unix_ms":1}}}"#;
    let mut command = pin!(ask(of(&site), "mine"));
    let forged = async {
        loop {
            let asked = left_in_folder(&site)
                .into_iter()
                .find_map(|name| name.strip_suffix(".request").map(str::to_owned));
            if let Some(id) = asked {
                let path = folder.join(format!("{id}.answer"));
                return durable::write_file(&path, other.as_bytes(), Access::Owner).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let (answer, ()) = tokio::join!(command.as_mut(), forged);
    let error = answer.unwrap_err().to_string();
    assert!(error.contains("answers another request, b"), "{error}");
    recorder.close().await.unwrap();
    site.whole().await;
}

#[tokio::test]
async fn a_request_that_nobody_takes_is_taken_back() {
    let mut site = Site::new(ManualClock::trusted(MARCH + 5_000, 5_000));
    let recorder = site.start().await;
    let patience = Duration::from_millis(150);
    let (statement, (settings, surroundings)) = (record("never"), of(&site));
    let error = requests::seal(
        &statement,
        "a test",
        &settings,
        &surroundings,
        &mut (),
        patience,
    )
    .await
    .unwrap_err();
    assert!(matches!(error, RequestError::NotTaken(_)), "{error}");
    assert_eq!(left_in_folder(&site), [""; 0]);
    recorder.close().await.unwrap();
    assert_eq!(places(&site.whole().await, &statement), [0_u64; 0]);
}

#[tokio::test]
async fn what_was_taken_but_not_sealed_is_said_to_be_pending_and_comes_later() {
    struct Slow;
    impl Listener for Slow {
        fn sealed(&mut self, _: &Control, _: Sealed) -> std::io::Result<()> {
            Err(std::io::Error::other("the disk is slow today"))
        }
    }
    let mut site = Site::new(ManualClock::trusted(MARCH + 5_000, 5_000));
    let mut recorder = site.start().await;
    let inbox = Inbox::new(site.dir.path(), &site.faults);
    let (statement, (settings, surroundings)) = (record("later"), of(&site));
    let mut nobody = ();
    let command = pin!(requests::seal(
        &statement,
        "a test",
        &settings,
        &surroundings,
        &mut nobody,
        Duration::from_millis(150),
    ));
    let answer = serve_until(command, &inbox, &mut recorder, &mut Slow).await;
    let error = answer.unwrap().unwrap_err();
    assert!(matches!(error, RequestError::NotAnswered(_)), "{error}");
    inbox.serve(&mut recorder, &mut ()).await.unwrap();
    recorder.close().await.unwrap();
    assert_eq!(places(&site.whole().await, &record("later")).len(), 1);
}

#[tokio::test]
async fn a_command_that_cannot_bring_its_request_to_its_end_says_so_instead_of_trying_for_ever() {
    struct Never;
    impl Listener for Never {
        fn sealed(&mut self, _: &Control, _: Sealed) -> std::io::Result<()> {
            Err(std::io::Error::other("the disk is gone"))
        }
    }
    let mut site = Site::new(ManualClock::trusted(MARCH + 5_000, 5_000));
    site.start().await.close().await.unwrap();
    let (settings, around) = of(&site);
    let statement = record("waiting");
    let mut never = Never;
    let asked = requests::seal(
        &statement, "a test", &settings, &around, &mut never, PATIENCE,
    );
    let error = tokio::time::timeout(PATIENCE, asked).await.unwrap();
    let error = error.unwrap_err();
    assert!(matches!(error, RequestError::Waiting), "{error}");
    // The next start brings it to its end, and it is one entry.
    let mut recorder = site.start().await;
    let inbox = Inbox::new(site.dir.path(), &site.faults);
    inbox.serve(&mut recorder, &mut ()).await.unwrap();
    recorder.close().await.unwrap();
    assert_eq!(places(&site.whole().await, &statement).len(), 1);
}

#[tokio::test]
async fn what_may_not_be_sealed_is_refused_in_words_and_the_gateway_goes_on() {
    let mut site = Site::new(ManualClock::trusted(MARCH + 5_000, 5_000));
    let mut recorder = site.start().await;
    let folder = site.dir.path().join("requests");
    durable::create_private_dir(&folder).unwrap();
    let genesis = r#"{"kind":1,"body":"a0","words":"x"}"#;
    let body = r#"{"kind":8,"body":"a0","words":"x"}"#;
    for (name, text, why) in [
        ("a", "no request at all", "does not read"),
        ("b", genesis, "kind 1 are not sealed on request"),
        ("c", body, "body does not read"),
    ] {
        durable::write_file(
            &folder.join(format!("{name}.request")),
            text.as_bytes(),
            Access::Owner,
        )
        .unwrap();
        let before = recorder.status().size;
        let inbox = Inbox::new(site.dir.path(), &site.faults);
        inbox.serve(&mut recorder, &mut ()).await.unwrap();
        let answer = durable::read_file(&folder.join(format!("{name}.answer"))).unwrap();
        let answer = String::from_utf8(answer.unwrap()).unwrap();
        assert!(answer.contains(why), "{answer}");
        assert_eq!(recorder.status().size, before);
    }
    // Nobody fetches these answers: they go after an hour.
    assert_eq!(left_in_folder(&site).len(), 3);
    site.clock
        .set(4_000_000_000_000, evidence::entry::ClockStatus::Ntp);
    let inbox = Inbox::new(site.dir.path(), &site.faults);
    inbox.serve(&mut recorder, &mut ()).await.unwrap();
    assert_eq!(left_in_folder(&site), [""; 0]);
    recorder.close().await.unwrap();
    site.whole().await;
}

#[tokio::test]
async fn a_folder_that_others_may_write_is_not_served() {
    let site = Site::new(ManualClock::trusted(MARCH + 5_000, 5_000));
    let mut recorder = site.start().await;
    let folder = site.dir.path().join("requests");
    durable::create_private_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    let body = hex::encode(record("forged").encode());
    let text = format!(r#"{{"kind":14,"body":"{body}","words":"x"}}"#);
    durable::write_file(&folder.join("a.request"), text.as_bytes(), Access::Owner).unwrap();
    let before = recorder.status().size;
    let inbox = Inbox::new(site.dir.path(), &site.faults);
    inbox.serve(&mut recorder, &mut ()).await.unwrap();
    assert_eq!(recorder.status().size, before);
    assert!(folder.join("a.request").exists());
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
    inbox.serve(&mut recorder, &mut ()).await.unwrap();
    assert_eq!(recorder.status().size, before + 1);
}

#[tokio::test]
async fn one_item_that_cannot_be_taken_keeps_nothing_else_waiting() {
    let mut site = Site::new(ManualClock::trusted(MARCH + 5_000, 5_000));
    let mut recorder = site.start().await;
    let folder = requests::prepare(site.dir.path()).unwrap();
    // The first request cannot be moved where it belongs; the second is no file, nor is the third's claim.
    let body = hex::encode(record("waited").encode());
    let text = format!(r#"{{"kind":14,"body":"{body}","words":"x"}}"#);
    for name in ["a.request", "z.request"] {
        durable::write_file(&folder.join(name), text.as_bytes(), Access::Owner).unwrap();
    }
    for name in ["a.claimed", "b.request", "c.claimed", "d.answer"] {
        std::fs::create_dir(folder.join(name)).unwrap();
    }
    let before = recorder.status().size;
    let inbox = Inbox::new(site.dir.path(), &site.faults);
    inbox.serve(&mut recorder, &mut ()).await.unwrap();
    assert_eq!(recorder.status().size, before + 1);
    let mut left = left_in_folder(&site);
    left.sort();
    let expected = [
        "a.claimed",
        "a.request",
        "b.request",
        "c.claimed",
        "d.answer",
        "z.answer",
    ];
    assert_eq!(left, expected);
    // What stood in the way is removed: the first goes as well.
    std::fs::remove_dir(folder.join("a.claimed")).unwrap();
    inbox.serve(&mut recorder, &mut ()).await.unwrap();
    assert!(folder.join("a.answer").is_file());
    recorder.close().await.unwrap();
    site.whole().await;
}

/// An authority's statement, sealed as the commands do.
fn revoked(origin: &Origin, key_id: [u8; 8]) -> Control {
    let statement = Statement::Revocation(Revocation {
        origin: origin.clone(),
        key_id,
        since_s: MARCH / 1_000,
        reason: "the card was copied".to_owned(),
    });
    Control::from(Signed::sign(statement, &SigningKey::from_seed([200; 32])).unwrap())
}

#[tokio::test]
async fn a_stolen_key_in_force_is_replaced_before_its_revocation_is_sealed() {
    let mut site = Site::new(ManualClock::trusted(MARCH + 5_000, 5_000));
    let mut recorder = site.start().await;
    seconds(&mut recorder, &site.clock, 3).await;
    let stolen = recorder.log().chain().entry_key().unwrap().key_id();
    recorder.close().await.unwrap();
    let origin = site.settings.origin.clone();
    let statement = revoked(&origin, stolen);
    let sealed = request(of(&site), statement.clone()).await.unwrap();
    // Once more: the key is replaced already, and only the statement is sealed.
    let again = request(of(&site), statement.clone()).await.unwrap();
    assert_eq!(again.index, sealed.index + 1);
    let refused = request(of(&site), revoked(&origin, [9; 8])).await;
    assert!(
        matches!(&refused, Err(RequestError::Refused(why)) if why.contains("never used")),
        "{refused:?}"
    );
    let mut recorder = site.start().await;
    seconds(&mut recorder, &site.clock, 12).await;
    recorder.close().await.unwrap();
    let applied = site.whole().await;
    assert_eq!(places(&applied, &statement), [sealed.index, again.index]);
    let before = usize::try_from(sealed.index - 1).unwrap();
    assert!(matches!(applied[before].control, Some(Control::KeyAdd(_))));
}

#[tokio::test]
async fn wherever_the_gateway_dies_a_stolen_key_is_replaced_and_its_revocation_sealed_once() {
    let steps = [
        Step::KeyPrepared,
        Step::KeySealed,
        Step::KeyErased,
        Step::RequestSealed,
    ];
    for step in steps {
        let mut site = Site::new(ManualClock::trusted(MARCH + 5_000, 5_000));
        let mut recorder = site.start().await;
        seconds(&mut recorder, &site.clock, 3).await;
        let stolen = recorder.log().chain().entry_key().unwrap().key_id();
        recorder.close().await.unwrap();
        let statement = revoked(&site.settings.origin.clone(), stolen);
        let (settings, mut around) = of(&site);
        around.faults = Arc::new(DieOnce {
            step,
            done: AtomicBool::new(false),
        });
        let died = request((settings, around), statement.clone()).await;
        assert!(
            matches!(died, Err(RequestError::Unfinished(_))),
            "{step:?}: {died:?}"
        );
        let mut recorder = site.start().await;
        let inbox = Inbox::new(site.dir.path(), &site.faults);
        inbox.serve(&mut recorder, &mut ()).await.unwrap();
        recorder.close().await.unwrap();
        let applied = site.whole().await;
        assert_eq!(places(&applied, &statement).len(), 1, "{step:?}");
        let in_force = applied.iter().rev().find_map(|step| match &step.control {
            Some(Control::KeyAdd(key)) => Some(key.key_id()),
            _ => None,
        });
        assert_ne!(in_force.unwrap(), stolen, "{step:?}");
    }
}

#[tokio::test]
async fn a_remark_speaks_of_entries_that_are_there_and_names_its_person() {
    let mut site = Site::new(ManualClock::trusted(MARCH + 5_000, 5_000));
    let mut recorder = site.start().await;
    seconds(&mut recorder, &site.clock, 3).await;
    recorder.close().await.unwrap();
    let remark = |from, to| Control::Annotation {
        from,
        to,
        text: "the cabinet was open".to_owned(),
        person: Some("R. Sato".to_owned()),
    };
    let sealed = request(of(&site), remark(0, 1)).await.unwrap();
    for (from, to) in [(2, 1), (0, sealed.index + 50)] {
        let refused = request(of(&site), remark(from, to)).await;
        assert!(
            matches!(refused, Err(RequestError::Refused(_))),
            "{refused:?}"
        );
    }
    assert_eq!(places(&site.whole().await, &remark(0, 1)), [sealed.index]);
}
