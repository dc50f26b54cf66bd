//! Uploads from eight gateways at once into one collector, over TLS on this machine, from the
//! client's bytes to the verified answer: checked, stored durably, aggregated, cosigned.
//!
//! `cargo bench -p collector`. PostgreSQL is measured too if `FIELDSEAL_TEST_POSTGRES_URL` names a
//! server. The gateways' side (TLS, reading the answer) runs on the same processors and is counted.

#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]
#![expect(clippy::print_stdout, reason = "a benchmark prints figures for people")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

#[path = "../tests/it/bed.rs"]
#[expect(dead_code, reason = "shared with the tests")]
mod bed;
#[path = "../tests/it/edge.rs"]
#[expect(dead_code, reason = "shared with the tests")]
mod edge;

use std::sync::Arc;
use std::time::Instant;

use evidence::chunk::{self, Chunk, Column};
use evidence::control::Control;
use evidence::entry::{Body, Ticks};
use evidence::measurement::MeasurementConfig;

use crate::bed::{Bed, Serving};
use crate::edge::Edge;

const GATEWAYS: usize = 8;
const POINTS: u16 = 50;
const TICKS: u16 = 60;
const READINGS: usize = POINTS as usize * TICKS as usize;

/// What the design asks of each store, in million readings a second, by entries per upload.
const BARS: [(&str, [(usize, f64); 2]); 2] = [
    ("SQLite", [(1, 3.5), (64, 25.0)]),
    ("PostgreSQL", [(1, 5.0), (64, 30.0)]),
];

fn wide() -> MeasurementConfig {
    let mut table = edge::table();
    let point = table.points[0].clone();
    table.points = (0..POINTS)
        .map(|number| {
            let mut point = point.clone();
            point.name = format!("point {number}");
            point
        })
        .collect();
    table
}

/// Seals a minute of 50 counters that rise by 0 to 7 a second.
fn seal_minute(edge: &mut Edge, minute: i64) {
    let chunks: Vec<Chunk> = (0..POINTS)
        .map(|point| {
            let start = minute * 1000 + i64::from(point);
            let rise = |second: i64| start + second * 7 + (second * i64::from(point)) % 7;
            let column = Column::Ints((0..i64::from(TICKS)).map(rise).collect());
            Chunk {
                point,
                offsets_ms: None,
                column,
                exceptions: Vec::new(),
            }
        })
        .collect();
    let (bytes, payload) = chunk::payload(&chunks).unwrap();
    let ticks = Ticks {
        stream: 0,
        first: edge.next_tick,
        count: TICKS.into(),
    };
    edge.seal(Body::Data { ticks, payload }, bytes);
    edge.next_tick += u64::from(TICKS);
}

/// A gateway with its sealed log, and its uploads of so many entries each, ready to be sent.
async fn gateway(
    bed: &Bed,
    serving: &Serving,
    name: &str,
    uploads: usize,
    entries: usize,
) -> (Edge, Vec<Vec<u8>>) {
    let mut edge = Edge::new(&format!("example.com/{}/{name}", bed.unique));
    let answer = edge.enrol(serving, &bed.code().await).await;
    let answer: serde_json::Value = answer.json().await.unwrap();
    answer["token"]
        .as_str()
        .unwrap()
        .clone_into(&mut edge.token);
    edge.seal_control(Control::Config(wide().into()));
    edge.deliver(serving, 1, 2).await;
    let mut ready = Vec::with_capacity(uploads);
    for upload in 0..uploads {
        let from = edge.entries.len();
        for entry in 0..entries {
            seal_minute(&mut edge, i64::try_from(upload * entries + entry).unwrap());
        }
        // The note of the running chain; `note_at` would hash the whole log each time.
        let note = edge.note_of(edge.chain.size(), edge.chain.root());
        ready.push(edge.upload_with(from, edge.entries.len(), &note));
    }
    (edge, ready)
}

async fn measure(bed: &Bed, store: &str, uploads: usize, entries: usize, bar: f64) {
    let mut config = bed.config.clone();
    config.limits.uploads_per_minute = 1_000_000;
    let serving = Arc::new(bed.serve_with(config));
    let mut gateways = Vec::new();
    for number in 0..GATEWAYS {
        let name = format!("{entries}-{number}");
        gateways.push(gateway(bed, &serving, &name, uploads, entries).await);
    }
    let bytes: usize = gateways
        .iter()
        .flat_map(|(_, ready)| ready)
        .map(Vec::len)
        .sum();
    let started = Instant::now();
    let mut sending = tokio::task::JoinSet::new();
    for (edge, ready) in gateways {
        let serving = Arc::clone(&serving);
        sending.spawn(async move {
            let mut slowest = 0.0_f64;
            for upload in ready {
                let sent = Instant::now();
                let response = edge.send(&serving, upload).await;
                assert_eq!(response.status(), 200);
                response.bytes().await.unwrap();
                slowest = slowest.max(sent.elapsed().as_secs_f64());
            }
            slowest
        });
    }
    let slowest = sending.join_all().await.into_iter().fold(0.0, f64::max);
    let seconds = started.elapsed().as_secs_f64();
    let readings = (GATEWAYS * uploads * entries * READINGS) as f64;
    let rate = readings / seconds / 1e6;
    println!(
        "{store:<10} {entries:>2} segments an upload: {rate:>6.2} M readings/s ({:.2} of the bar {bar}), \
         {:>5.0} uploads/s, {:.2} bytes a reading, slowest answer {:.0} ms",
        rate / bar,
        (GATEWAYS * uploads) as f64 / seconds,
        bytes as f64 / readings,
        slowest * 1000.0
    );
    Arc::into_inner(serving).unwrap().stop().await;
}

fn main() {
    for (store, bars) in BARS {
        let test = async |bed: &Bed| {
            for (entries, bar) in bars {
                let uploads = if entries == 1 { 250 } else { 30 };
                measure(bed, store, uploads, entries, bar).await;
            }
        };
        if store == "SQLite" {
            bed::on_sqlite(test);
        } else if std::env::var("FIELDSEAL_TEST_POSTGRES_URL").is_ok() {
            bed::on_postgres(test);
        } else {
            println!("PostgreSQL left out: FIELDSEAL_TEST_POSTGRES_URL is not set");
        }
    }
}
