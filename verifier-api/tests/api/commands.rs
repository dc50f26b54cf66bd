//! The program itself, as an operator runs it.

use std::path::Path;
use std::process::{Command, Output};

use crate::bed::{Bed, MIDNIGHT, PROJECT, plan_text};
use crate::plant::{ORIGIN, Plant};

fn run(folder: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fieldseal-verifier-api"));
    command.current_dir(folder).args(words).output().unwrap()
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    text(&output.stdout) + &text(&output.stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_gets_from_nothing_to_a_working_token() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    assert!(run(at, &["init"]).status.success());
    let again = run(at, &["init"]);
    assert!(
        !again.status.success() && said(&again).contains("nothing is overwritten"),
        "{}",
        said(&again)
    );
    let key = std::fs::metadata(at.join("tls/key.pem")).unwrap();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777,
        0o600
    );
    let early = run(at, &["check"]);
    assert!(
        !early.status.success() && said(&early).contains("there is no store at"),
        "{}",
        said(&early)
    );
    // What a collector would have written into the store that the configuration names.
    let store = store::Store::open(&format!("sqlite:{}", at.join("central.db").display()))
        .await
        .unwrap();
    let checked = said(&run(at, &["check"]));
    assert!(
        checked.contains("certificate and key fit") && checked.contains("none yet"),
        "{checked}"
    );

    let plant = Plant::enrol(&store, "Solar field", ORIGIN, MIDNIGHT).await;
    let plan = plan_text(&plant);
    let file = |name: &str, text: &str| {
        use std::io::Write as _;
        std::fs::File::create(at.join(name))
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    };
    file("plan.toml", &plan);
    file("wrong.toml", &plan.replace("export.energy", "exprt.energy"));
    let hash = evidence::hash::sha256(plan.as_bytes()).to_hex();
    let wrong = run(at, &["plan", "apply", "wrong.toml", "--decision", "none"]);
    assert!(!wrong.status.success());
    assert!(
        said(&wrong).contains("wrong.toml:") && said(&wrong).contains("did you mean"),
        "{}",
        said(&wrong)
    );
    let dry = said(&run(
        at,
        &["plan", "apply", "plan.toml", "--decision", "d", "--dry-run"],
    ));
    assert!(
        dry.contains(&hash) && dry.contains("checked, not stored"),
        "{dry}"
    );
    assert!(store.projects().await.unwrap().is_empty());
    let applied = said(&run(
        at,
        &["plan", "apply", "plan.toml", "--decision", "JC decision 12"],
    ));
    assert!(
        applied.contains("version 1") && applied.contains(&hash),
        "{applied}"
    );
    assert!(said(&run(at, &["check"])).contains(&format!("plan version 1, {hash}")));

    let create = |extra: &[&str]| {
        let words = [
            "token",
            "create",
            "--label",
            "TPE Example",
            "--role",
            "verifier",
            "--days",
            "90",
        ];
        run(at, &[&words[..], extra].concat())
    };
    let without = create(&[]);
    assert!(
        !without.status.success() && said(&without).contains("needs --project"),
        "{}",
        said(&without)
    );
    let unknown = create(&["--project", "ID_NONE"]);
    assert!(
        said(&unknown).contains("there is no project `ID_NONE`"),
        "{}",
        said(&unknown)
    );
    let made = create(&["--project", PROJECT]);
    let token = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    assert!(token.starts_with("fsv_") && token.len() > 40, "{token}");
    let list = said(&run(at, &["token", "list"]));
    assert!(
        list.contains("TPE Example") && list.contains("until ") && !list.contains(&token),
        "{list}"
    );
    let valid = store.check_token(&token, MIDNIGHT).await.unwrap();
    assert!(matches!(valid, store::TokenState::Valid(_)), "{valid:?}");
    assert!(said(&run(at, &["token", "revoke", "--label", "TPE Example"])).contains("1 revoked"));
    assert_eq!(
        store.check_token(&token, MIDNIGHT).await.unwrap(),
        store::TokenState::Revoked
    );
    assert!(
        !run(at, &["token", "revoke", "--label", "TPE Example"])
            .status
            .success()
    );
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_or_a_missing_file_is_said_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let missing = run(folder.path(), &["run"]);
    assert!(!missing.status.success());
    assert!(
        said(&missing).contains("cannot read verifier-api.toml"),
        "{}",
        said(&missing)
    );
    let bed = Bed::new().await;
    let url = format!("sqlite:{}", folder.path().join("x.db").display());
    store::Store::open(&url).await.unwrap().close().await;
    let text = format!("listen = \"{}\"\nstore = \"sqlite:x.db\"\n", bed.address);
    {
        use std::io::Write as _;
        let mut file = std::fs::File::create(folder.path().join("verifier-api.toml")).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }
    let taken = run(folder.path(), &["run"]);
    assert!(
        said(&taken).contains(&format!("cannot listen on {}", bed.address)),
        "{}",
        said(&taken)
    );
    bed.end().await;
}
