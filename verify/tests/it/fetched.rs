//! Bundles are downloaded through broken connections, and what arrives is what was sent.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use clap::Parser as _;
use serde_json::Value;
use verify::args::{Cli, Command};

/// What the server sends next: each connection takes one of them, the last one stays.
#[derive(Debug, Clone, Copy)]
enum Act {
    /// Everything asked for.
    Whole,
    /// This many bytes, then the connection breaks.
    Break(usize),
    /// Another bundle from now on.
    Changed,
    /// 503.
    Busy,
    /// 403 with a problem document.
    Forbidden,
}

#[derive(Debug)]
struct Server {
    url: String,
    /// The `Range` of every request for the bundle, or nothing.
    ranges: Arc<Mutex<Vec<Option<String>>>>,
}

/// A server of one bundle of `length` bytes that follows a script.
fn serve(length: usize, script: Vec<Act>, states: &'static str) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1/bundle.tar", listener.local_addr().unwrap());
    let ranges = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&ranges);
    std::thread::spawn(move || {
        let (mut script, mut version) = (script.into_iter().peekable(), 0_u8);
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            let (path, range, if_range) = request(&stream);
            if path.ends_with("bundle.sha256") {
                let sha256 = evidence::hash::sha256(&body(length, version)).to_hex();
                let sha256 = if states == "right" {
                    sha256
                } else {
                    "00".repeat(32)
                };
                let json = format!(
                    "{{\"length\":{length},\"sha256\":\"{sha256}\",\"etag\":\"\\\"v{version}\\\"\"}}"
                );
                answer(&stream, "200 OK", "", json.as_bytes(), json.len());
                continue;
            }
            seen.lock().unwrap().push(range.clone());
            let act = if script.len() > 1 {
                script.next()
            } else {
                script.peek().copied()
            };
            let act = act.unwrap();
            version += u8::from(matches!(act, Act::Changed));
            let tag = format!("\"v{version}\"");
            let bytes = body(length, version);
            let from = range
                .filter(|_| if_range.is_none_or(|known| known == tag))
                .and_then(|range| {
                    range
                        .strip_prefix("bytes=")?
                        .strip_suffix('-')?
                        .parse::<usize>()
                        .ok()
                });
            let sent = match act {
                Act::Break(sent) => sent,
                _ => usize::MAX,
            };
            match act {
                Act::Busy => answer(&stream, "503 Service Unavailable", "", b"", 0),
                Act::Forbidden => {
                    let problem = br#"{"detail":"the token has expired"}"#;
                    answer(&stream, "403 Forbidden", "", problem, problem.len());
                }
                _ => {
                    let (status, range, rest) = match from {
                        None => ("200 OK", String::new(), &bytes[..]),
                        Some(from) => {
                            let range =
                                format!("Content-Range: bytes {from}-{}/{length}\r\n", length - 1);
                            ("206 Partial Content", range, &bytes[from..])
                        }
                    };
                    let head = format!("ETag: {tag}\r\n{range}");
                    answer(
                        &stream,
                        status,
                        &head,
                        &rest[..rest.len().min(sent)],
                        rest.len(),
                    );
                }
            }
        }
    });
    Server { url, ranges }
}

fn body(length: usize, version: u8) -> Vec<u8> {
    (0..length)
        .map(|at| u8::try_from((at * 31 + at / 251) % 256).unwrap() ^ version)
        .collect()
}

fn request(stream: &TcpStream) -> (String, Option<String>, Option<String>) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let path = lines.next().unwrap_or_default();
    let path = path.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut range, mut if_range) = (None, None);
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").unwrap();
        match name.to_ascii_lowercase().as_str() {
            "range" => range = Some(value.to_owned()),
            "if-range" => if_range = Some(value.to_owned()),
            "authorization" => assert_eq!(value, "Bearer secret"),
            _ => {}
        }
    }
    (path, range, if_range)
}

fn answer(mut stream: &TcpStream, status: &str, headers: &str, bytes: &[u8], length: usize) {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n"
    );
    // The client may have gone away; that is its business.
    drop(
        stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(bytes)),
    );
    drop(stream.shutdown(std::net::Shutdown::Write));
    drop(stream.read_to_end(&mut Vec::new()));
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let mut token = std::fs::File::create(place.path("token")).unwrap();
        token.write_all(b"secret\n").unwrap();
        place
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn fetch(&self, url: &str, further: &[&str]) -> (u8, Value) {
        let path = |name: &str| self.path(name).display().to_string();
        let (token, out) = (path("token"), path("out.tar"));
        let mut line = vec!["fieldseal-verify", "fetch", url, "--json"];
        line.extend(["--token-file", &token, "--out", &out]);
        line.extend(further);
        let Command::Fetch(args) = Cli::try_parse_from(line).unwrap().command else {
            panic!("another command");
        };
        let mut out = Vec::new();
        let exit = verify::fetch::run(&args, &mut out, &|_, _| {}).unwrap();
        (exit, serde_json::from_slice(&out).unwrap())
    }

    fn got(&self) -> Vec<u8> {
        std::fs::read(self.path("out.tar")).unwrap()
    }
}

const LENGTH: usize = 300_000;

#[test]
fn a_transfer_that_breaks_goes_on_where_it_stopped_and_arrives_whole() {
    let place = Place::new();
    let script = vec![Act::Break(100_000), Act::Busy, Act::Break(1), Act::Whole];
    let server = serve(LENGTH, script, "right");
    let (exit, json) = place.fetch(&server.url, &[]);
    assert_eq!(exit, 0, "{json}");
    assert!(place.got() == body(LENGTH, 0));
    assert_eq!(json["compared"], true);
    let ranges = server.ranges.lock().unwrap().clone();
    assert_eq!(ranges[0], None);
    let later: Vec<usize> = ranges[1..]
        .iter()
        .map(|range| {
            let range = range.as_ref().unwrap().strip_prefix("bytes=").unwrap();
            range.trim_end_matches('-').parse().unwrap()
        })
        .collect();
    assert!(
        later.is_sorted() && later[0] > 0 && later[2] > later[1],
        "{ranges:?}"
    );
    assert!(!place.path("out.tar.part").exists() && !place.path("out.tar.part.json").exists());
    let (exit, json) = place.fetch(&server.url, &[]);
    assert_eq!(exit, 6, "nothing is overwritten: {json}");
}

#[test]
fn a_later_run_goes_on_too_and_a_bundle_that_changed_meanwhile_begins_again() {
    let place = Place::new();
    let server = serve(LENGTH, vec![Act::Break(50_000), Act::Whole], "right");
    let (exit, json) = place.fetch(&server.url, &["--retries", "0"]);
    assert_eq!(exit, 3, "{json}");
    let have = std::fs::metadata(place.path("out.tar.part")).unwrap().len();
    assert!(have > 0 && have <= 50_000);
    let (exit, json) = place.fetch(&server.url, &[]);
    assert_eq!(
        (exit, json["resumed_from"].as_u64()),
        (0, Some(have)),
        "{json}"
    );
    assert!(place.got() == body(LENGTH, 0));

    let place = Place::new();
    let server = serve(
        LENGTH,
        vec![Act::Break(50_000), Act::Changed, Act::Whole],
        "right",
    );
    let (exit, json) = place.fetch(&server.url, &[]);
    assert_eq!(exit, 0, "{json}");
    assert!(
        place.got() == body(LENGTH, 1),
        "never a mixture of two bundles"
    );
    assert_eq!(json["resumed_from"], 0);
}

#[test]
fn a_refusal_and_a_hash_that_differs_are_told() {
    let place = Place::new();
    let server = serve(LENGTH, vec![Act::Forbidden], "right");
    let (exit, json) = place.fetch(&server.url, &[]);
    let error = json["error"].as_str().unwrap();
    assert_eq!(exit, 6);
    assert!(
        error.contains("the token has expired") && error.contains("--token-file"),
        "{error}"
    );
    let server = serve(LENGTH, vec![Act::Whole], "wrong");
    let (exit, json) = place.fetch(&server.url, &[]);
    assert_eq!(
        (exit, json["compared"].clone()),
        (2, Value::Bool(false)),
        "{json}"
    );
    for (url, word) in [
        ("http://example.com/bundle.tar", "https only"),
        ("nonsense", "address"),
    ] {
        let (exit, json) = Place::new().fetch(url, &[]);
        let error = json["error"].as_str().unwrap();
        assert!(exit == 6 && error.contains(word), "{error}");
    }
}

#[test]
fn a_large_bundle_passes_through_little_memory() {
    const PIECE: usize = 1 << 20;
    const PIECES: usize = 400;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/large", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        request(&stream);
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nETag: \"v\"\r\n\r\n",
            PIECE * PIECES
        );
        stream.write_all(head.as_bytes()).unwrap();
        for number in 0..PIECES {
            stream
                .write_all(&[u8::try_from(number % 251).unwrap(); PIECE])
                .unwrap();
        }
    });
    let place = Place::new();
    let path = |name: &str| place.path(name).display().to_string();
    // 200 MB of address space in all, for 400 MB of bundle.
    let script = format!(
        "ulimit -v 200000; exec '{}' fetch '{url}' --token-file '{}' --out '{}'",
        env!("CARGO_BIN_EXE_fieldseal-verify"),
        path("token"),
        path("out.tar")
    );
    let output = std::process::Command::new("sh")
        .arg("-c")
        .arg(script)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let size = std::fs::metadata(place.path("out.tar")).unwrap().len();
    assert_eq!(size, u64::try_from(PIECE * PIECES).unwrap());
}

#[test]
fn nothing_but_the_download_knows_a_client_of_the_network() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![source.clone()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            files += 1;
            let text = std::fs::read_to_string(&path).unwrap();
            let own = path.strip_prefix(&source).unwrap().starts_with("fetch");
            assert!(own || !text.contains("reqwest"), "{}", path.display());
        }
    }
    assert!(files > 10);
}
