//! The page in a real browser, driven over the `DevTools` protocol on a pair of pipes.
//!
//! Set `FIELDSEAL_SKIP_CHROMIUM=1` to leave this out; `FIELDSEAL_SCREENSHOTS=<folder>` keeps what
//! was seen.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};
use verifier_api::Role;

use crate::bed::{Bed, PROJECT};
use crate::reporting::make_report;

/// A headless browser with one page.
struct Browser {
    child: Child,
    to: File,
    from: BufReader<File>,
    number: u64,
    session: Option<String>,
    /// What the page complained about.
    complaints: Vec<String>,
    _profile: tempfile::TempDir,
}

fn program() -> Option<&'static str> {
    let found = |name: &&str| {
        let mut asked = Command::new(name);
        asked
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        asked.status().is_ok_and(|status| status.success())
    };
    ["chromium", "google-chrome"]
        .into_iter()
        .find(|name| found(name))
}

impl Browser {
    /// Starts the browser; `None` if the test is to be left out.
    fn start() -> Option<Self> {
        if std::env::var("FIELDSEAL_SKIP_CHROMIUM").is_ok_and(|skip| skip == "1") {
            println!("SKIPPED, because FIELDSEAL_SKIP_CHROMIUM=1");
            return None;
        }
        let program = program().expect(
            "no chromium: tests/run installs it; FIELDSEAL_SKIP_CHROMIUM=1 leaves this test out",
        );
        let profile = tempfile::tempdir().unwrap();
        let pipe = |name: &str| -> PathBuf {
            let path = profile.path().join(name);
            assert!(
                Command::new("mkfifo")
                    .arg(&path)
                    .status()
                    .unwrap()
                    .success()
            );
            path
        };
        let (to, from) = (pipe("to"), pipe("from"));
        let command = format!(
            "exec {program} --headless --no-sandbox --disable-gpu --disable-quic --no-first-run \
             --disable-background-networking --disable-component-update --disable-sync \
             --disable-dev-shm-usage --ignore-certificate-errors --hide-scrollbars \
             --user-data-dir='{}' --remote-debugging-pipe 3<'{}' 4>'{}'",
            profile.path().join("data").display(),
            to.display(),
            from.display()
        );
        let child = Command::new("sh")
            .args(["-c", &command])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // The shell opens its ends in this order; each opening waits for the other side.
        let to = File::options().write(true).open(to).unwrap();
        let from = BufReader::new(File::open(from).unwrap());
        let mut browser = Self {
            child,
            to,
            from,
            number: 0,
            session: None,
            complaints: Vec::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", &attach);
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Runtime.enable", "Log.enable", "Page.enable"] {
            browser.call(domain, &json!({}));
        }
        Some(browser)
    }

    /// Calls a method and returns its result; events on the way are looked at for complaints.
    fn call(&mut self, method: &str, params: &Value) -> Value {
        self.number += 1;
        let mut message = json!({ "id": self.number, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).unwrap();
        loop {
            let mut answer = Vec::new();
            self.from.read_until(0, &mut answer).unwrap();
            assert_eq!(answer.pop(), Some(0), "the browser went away");
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            if answer["id"] == self.number {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
            self.listen(&answer);
        }
    }

    fn listen(&mut self, event: &Value) {
        let params = &event["params"];
        let complaint = match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => &params["exceptionDetails"],
            Some("Runtime.consoleAPICalled") if params["type"] == "error" => &params["args"],
            Some("Log.entryAdded") if params["entry"]["level"] == "error" => &params["entry"],
            _ => return,
        };
        self.complaints.push(complaint.to_string());
    }

    fn evaluate(&mut self, expression: &str) -> Value {
        let asked =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", &asked);
        assert!(
            answer["exceptionDetails"].is_null(),
            "{expression}: {answer}"
        );
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true on the page; a page that is just changing counts as no.
    fn wait(&mut self, expression: &str) {
        let began = Instant::now();
        let safe =
            format!("(() => {{ try {{ return !!({expression}); }} catch {{ return false; }} }})()");
        while self.evaluate(&safe) != true {
            let text = "document.body ? document.body.innerText : ''";
            assert!(
                began.elapsed() < Duration::from_secs(25),
                "not true within 25 s: {expression}\n{}\n{:?}",
                self.evaluate(text),
                self.complaints
            );
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    fn size(&mut self, width: u32, height: u32, mobile: bool, dark: bool) {
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile });
        self.call("Emulation.setDeviceMetricsOverride", &metrics);
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", &media);
    }

    /// Keeps what is seen, whole page, if a folder was named.
    fn picture(&mut self, name: &str) {
        let Ok(folder) = std::env::var("FIELDSEAL_SCREENSHOTS") else {
            return;
        };
        let taken = self.call(
            "Page.captureScreenshot",
            &json!({ "captureBeyondViewport": true }),
        );
        let data = taken["data"].as_str().unwrap();
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(data)
            .unwrap();
        let path = Path::new(&folder).join(format!("{name}.png"));
        let mut file = File::create(path).unwrap();
        file.write_all(&bytes).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may be gone already; then there is nothing to end.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn post(seq: u64, at_ms: i64, power: &str) -> String {
    let point = |name: &str, value: Value, unit: &str, quality: &str| json!({ "name": name, "value": value, "unit": unit, "quality": quality, "tick_unix_ms": at_ms });
    json!({
        "seq": seq, "unix_ms": at_ms + 300,
        "points": [
            point("export.energy", json!("120034.5"), "kWh", "good"),
            point("aux.power", json!(power), "kW", "good"),
            point("ambient.temperature", Value::Null, "°C", "timeout"),
        ],
    })
    .to_string()
}

/// The text of the state badge of a point.
fn badge(point: &str) -> String {
    format!("document.querySelector('tr[data-name=\"{point}\"] .badge').textContent")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_a_value_live_and_then_sealed_without_a_complaint() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let mut bed = Bed::with_readings().await;
    let token = bed.token(Role::Preparer, &[PROJECT]).await;
    make_report(&bed, &token, "2026-03-09", "2026-03-09").await;
    browser.size(1000, 1400, false, false);

    // A link carries the token behind `#`; the page exchanges it for a session and leads on.
    browser.call(
        "Page.navigate",
        &json!({ "url": bed.url(&format!("/login#{token}")) }),
    );
    browser.wait("document.querySelector('h1').textContent === 'Demonstration solar plant'");
    browser.wait("document.getElementById('connection').textContent.startsWith('Connected')");
    browser.wait("document.getElementById('today-er').textContent !== '–'");
    assert_eq!(
        browser.evaluate("document.cookie"),
        "",
        "the session is not for scripts"
    );

    // Within five seconds of the post the value is on the page, marked as not sealed.
    let at_ms = bed.plant.now_ms();
    let began = Instant::now();
    bed.store
        .put_live(bed.plant.at, &post(1, at_ms, "12.07"), at_ms + 400)
        .await
        .unwrap();
    let value = "document.querySelector('tr[data-name=\"aux.power\"] .reading').textContent";
    browser.wait(&format!("{value} === '12.07'"));
    let took = began.elapsed();
    println!(
        "a posted value was on the page after {} ms",
        took.as_millis()
    );
    assert!(took < Duration::from_secs(5));
    assert_eq!(
        browser.evaluate(&badge("aux.power")),
        "live, not yet sealed"
    );
    assert_eq!(
        browser.evaluate(&badge("ambient.temperature")),
        "timeout · live, not yet sealed"
    );
    browser.wait("document.querySelector('#plot path.sealed') && document.querySelector('#plot path.live, #plot circle.live')");
    browser.picture("desk");

    // Its entry is cosigned: the same value turns sealed, and so does the chart.
    bed.plant.measure(1, &BTreeMap::new());
    let now_ms = bed.plant.now_ms();
    bed.clock.set(now_ms);
    bed.plant.upload(&bed.store, now_ms).await;
    browser.wait(&format!("{} === 'sealed'", badge("aux.power")));
    browser.wait("!document.querySelector('#plot path.live')");

    // The other language, a phone, the dark.
    browser.evaluate("document.querySelector('nav a[hreflang=ja]').click()");
    browser.wait("document.documentElement.lang === 'ja' && document.getElementById('connection').textContent.startsWith('接続中')");
    browser.wait(&format!("{} === '封印済み'", badge("aux.power")));
    browser.size(390, 1800, true, true);
    let wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth";
    assert_eq!(
        browser.evaluate(wide),
        false,
        "a phone must not scroll sideways"
    );
    browser.wait("document.querySelector('#plot path')");
    browser.picture("phone");

    // A keyboard reaches every point.
    browser
        .evaluate("document.querySelector('tr[data-name=\"ambient.temperature\"] .pick').focus()");
    for kind in ["keyDown", "keyUp"] {
        let enter = json!({ "type": kind, "key": "Enter", "code": "Enter", "text": "\r", "windowsVirtualKeyCode": 13 });
        browser.call("Input.dispatchKeyEvent", &enter);
    }
    browser.wait(
        "document.getElementById('chart-name').textContent.startsWith('ambient.temperature')",
    );
    assert!(browser.complaints.is_empty(), "{:#?}", browser.complaints);
    drop(browser);
    bed.end().await;
}
