//! A gateway at a site without a network: its enrolment travels as two files, and nobody on the way
//! can alter what they say.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};

use evidence::hash::{Origin, sha256};
use gateway::enrol::Enrolment;
use serde_json::Value;
use store::{LogId, Store};
use system_tests::processes;

const GATEWAY: &str = "fieldseal-gateway";
const COLLECTOR: &str = "fieldseal-collector";

struct Site {
    directory: tempfile::TempDir,
}

impl Site {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let site = Self { directory };
        let central = site.path("central");
        std::fs::create_dir(&central).unwrap();
        let line = ["init", "--name", "by-file.test/w0", "--directory"];
        let line = line.into_iter().map(PathBuf::from).chain([central]);
        processes::done(COLLECTOR, line).await.unwrap();
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A gateway that has begun its log and can reach nobody.
    async fn gateway(&self, name: &str) -> PathBuf {
        let file = self.path(&format!("{name}.toml"));
        let text = format!(
            "[gateway]\norigin = \"example.com/{name}\"\ndata_dir = \"{name}\"\n\
             [clock]\nsource = \"system\"\n[collector]\nurl = \"https://nobody.invalid\"\n\
             [[modbus]]\nname = \"m\"\nhost = \"127.0.0.1\"\naddress_base = \"pdu\"\n\
             [[modbus.point]]\nname = \"p\"\ntable = \"holding\"\naddress = 0\ntype = \"u16\"\n\
             decimals = 0\nunit = \"1\"\nkind = \"instant\"\n"
        );
        write(&file, &text);
        gateway(&file, &["init"]).await.unwrap();
        file
    }

    async fn code(&self) -> String {
        let config = self.path("central/collector.toml");
        let config = config.to_str().unwrap();
        let line = ["enrolment-code", "--config", config, "--site", "far away"];
        let said = processes::done(COLLECTOR, line).await.unwrap();
        said.trim().to_owned()
    }

    async fn enrol(&self, request: &Path, answer: &Path) -> anyhow::Result<String> {
        let config = self.path("central/collector.toml");
        let line = ["enrol".as_ref(), "--config".as_ref(), config.as_os_str()];
        let rest = [request.as_os_str(), "--answer".as_ref(), answer.as_os_str()];
        processes::done(COLLECTOR, line.into_iter().chain(rest)).await
    }
}

async fn gateway(file: &Path, words: &[&str]) -> anyhow::Result<String> {
    let line = ["--config", file.to_str().unwrap()];
    processes::done(GATEWAY, line.into_iter().chain(words.iter().copied())).await
}

#[expect(clippy::disallowed_methods, reason = "a test's own files")]
fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

#[tokio::test]
async fn a_log_is_enrolled_by_two_files_and_nobody_on_the_way_can_alter_them() {
    let site = Site::new().await;
    let file = site.gateway("gw-1").await;
    let (request, answer) = (site.path("request.json"), site.path("answer.json"));
    let (to, from) = (request.to_str().unwrap(), answer.to_str().unwrap());
    let code = site.code().await;
    let said = gateway(&file, &["enroll", &code, "--to", to])
        .await
        .unwrap();
    assert!(
        said.contains("fieldseal-collector enrol request.json"),
        "{said}"
    );

    // The secret stays at home.
    let text = std::fs::read_to_string(&request).unwrap();
    assert!(!text.contains(code.split('.').nth(2).unwrap()));
    // A request that was altered on the way is refused, and costs the code nothing.
    let mut other: Value = serde_json::from_str(&text).unwrap();
    other["mac"] = "00".repeat(32).into();
    let altered = site.path("altered.json");
    write(&altered, &other.to_string());
    let refused = site.enrol(&altered, &site.path("never.json")).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("secret does not fit"), "{refused}");
    assert!(!site.path("never.json").exists());

    site.enrol(&request, &answer).await.unwrap();
    let again = site.enrol(&request, &answer).await.unwrap_err().to_string();
    assert!(again.contains("exists already"), "{again}");

    // No field of the answer can be altered, and it is good for this log only.
    let whole = std::fs::read_to_string(&answer).unwrap();
    let fields: Value = serde_json::from_str(&whole).unwrap();
    for field in ["token", "witness_vkey", "log_id", "mac"] {
        let mut other = fields.clone();
        let value = fields[field].as_str().unwrap();
        let first = if value.starts_with('a') { 'b' } else { 'a' };
        other[field] = value
            .chars()
            .skip(1)
            .fold(String::from(first), |mut text, c| {
                text.push(c);
                text
            })
            .into();
        write(&altered, &other.to_string());
        let refused = gateway(&file, &["enroll", "--from", altered.to_str().unwrap()]).await;
        let refused = refused.unwrap_err().to_string();
        assert!(
            refused.contains("no answer to this log's request"),
            "{field}: {refused}"
        );
    }
    let neighbour = site.gateway("gw-2").await;
    let second = site.code().await;
    let theirs = site.path("theirs.json");
    let line = ["enroll", &second, "--to", theirs.to_str().unwrap()];
    gateway(&neighbour, &line).await.unwrap();
    let refused = gateway(&neighbour, &["enroll", "--from", from]).await;
    assert!(refused.unwrap_err().to_string().contains("another code"));

    let said = gateway(&file, &["enroll", "--from", from]).await.unwrap();
    assert!(said.contains("by-file.test/w0+"), "{said}");
    let enrolment = Enrolment::load(&site.path("gw-1")).unwrap().unwrap();
    let store = format!("sqlite:{}", site.path("central/central.db").display());
    let store = Store::open(&store).await.unwrap();
    let log = LogId(Origin::parse("example.com/gw-1").unwrap().id().0);
    let (_, token) = store.locate(log).await.unwrap().unwrap();
    assert_eq!(token, sha256(enrolment.token.as_bytes()).0);
    store.close().await;
    let twice = gateway(&file, &["enroll", "--from", from])
        .await
        .unwrap_err();
    assert!(twice.to_string().contains("enrolled already"), "{twice}");
}

#[tokio::test]
async fn a_file_that_is_no_request_is_named_with_the_command_that_writes_one() {
    let site = Site::new().await;
    let wrong = site.path("wrong.json");
    write(&wrong, "{}");
    let refused = site
        .enrol(&wrong, &site.path("answer.json"))
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("enroll CODE --to FILE"),
        "{refused}"
    );
}
