//! kill -9 at any moment: the store has an upload with its cosignature, or nothing of it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use collector::Ack;
use evidence::checkpoint::Checkpoint;
use evidence::cosignature::verify_cosignature;
use evidence::note::Note;

use crate::bed::Bed;
use crate::edge::Edge;

/// The real program on a port that it chose.
struct Process {
    child: Child,
    base: String,
}

impl Process {
    fn start(bed: &Bed) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_fieldseal-collector"))
            .arg("run")
            .arg(bed.directory.join("collector.toml"))
            .env("RUST_LOG", "info")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It says where it listens, then serves; the rest of its words are read to nowhere.
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let port = lines
            .by_ref()
            .map(|line| line.unwrap())
            .find_map(|line| {
                let (_, rest) = line.split_once("listens on 127.0.0.1:")?;
                Some(
                    rest.chars()
                        .take_while(char::is_ascii_digit)
                        .collect::<String>(),
                )
            })
            .expect("the collector says where it listens");
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            base: format!("https://localhost:{port}"),
        }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn killed_at_any_moment_the_log_goes_on_and_every_cosignature_given_is_stored() {
    crate::bed::on_sqlite(async |bed| {
        let config = bed.directory.join("collector.toml");
        let text = std::fs::read_to_string(&config)
            .unwrap()
            .replace("[::]:7443", "127.0.0.1:0");
        #[expect(clippy::disallowed_methods, reason = "a test's own file")]
        std::fs::write(&config, text).unwrap();
        // Enrolled by the same library on the same store, then only the process serves.
        let serving = bed.serve();
        let mut edge = Edge::enrolled(bed, &serving).await;
        serving.stop().await;
        for value in 0..40 {
            edge.seal_data(&[value; 5]);
        }
        let mut acknowledged: Vec<Ack> = Vec::new();
        let mut process = Process::start(bed);
        let mut kills = 0;
        let mut at = 1;
        while at < edge.entries.len() {
            let to = (at + 2).min(edge.entries.len());
            let url = format!("{}/v1/logs/{}/entries", process.base, edge.id());
            let post = bed
                .client
                .post(url)
                .bearer_auth(&edge.token)
                .body(edge.upload(at, to));
            if kills < acknowledged.len().min(9) {
                // Killed while it works on the upload, each time a little later.
                kills += 1;
                let patience = Duration::from_millis(u64::try_from(kills).unwrap());
                let _answered_or_not = tokio::time::timeout(patience, post.send()).await;
                process.kill();
                process = Process::start(bed);
                continue;
            }
            let response = post.send().await.unwrap();
            assert_eq!(response.status(), 200);
            acknowledged.push(response.json().await.unwrap());
            at = to;
        }
        assert_eq!(kills, 9);
        process.kill();
        assert_whole(bed, &edge, &acknowledged).await;
    });
}

/// Every entry is stored as sealed, and every cosignature that left is of a tree that is stored.
async fn assert_whole(bed: &Bed, edge: &Edge, acknowledged: &[Ack]) {
    let log = bed.store.locate(edge.log()).await.unwrap().unwrap().0;
    let rows = bed.store.rows(log, 0..u64::MAX, 1000, true).await.unwrap();
    assert!(
        rows.iter()
            .map(|row| &row.entry)
            .eq(edge.entries.iter().map(|(entry, _)| entry))
    );
    let head = bed.store.head(log).await.unwrap().unwrap();
    assert_eq!(head.log.root, edge.root_at(edge.entries.len()).0);
    let mut last = 0;
    for ack in acknowledged {
        let note = Note::parse(ack.note.as_bytes()).unwrap();
        let time = verify_cosignature(&note, &bed.witness).unwrap().unwrap();
        let size = usize::try_from(ack.size).unwrap();
        let checkpoint = Checkpoint::parse_body(&note.text).unwrap();
        assert_eq!(
            (checkpoint.size, checkpoint.root),
            (ack.size, edge.root_at(size))
        );
        assert!(time >= last, "a cosignature went back in time");
        last = time;
    }
}
