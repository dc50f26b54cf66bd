//! What must hold at the end, whatever happened: of the log, of the store, of what left, of the bundle.

use std::collections::BTreeMap;

use evidence::chain::{Applied, Chain};
use evidence::entry::{Body, GapReason};
use evidence::segment::tick_time;
use gateway::buffer::Row;
use serde_json::Value;
use store::{LogId, Store};
use system_tests::processes;

use crate::bed::{Bed, Engine, write};
use crate::gateway::Gateway;

/// A gap of a stream: first tick, how many, reason, when it began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) stream: u16,
    pub(crate) ticks: u64,
    pub(crate) reason: GapReason,
    pub(crate) from_ms: i64,
    pub(crate) tick_ms: u32,
}

/// What the log says, after every rule was checked.
pub(crate) struct Whole {
    pub(crate) applied: Vec<Applied>,
    pub(crate) gaps: Vec<Gap>,
}

/// Checks a log from its first entry: rules, and every tick of every stream exactly once.
pub(crate) fn log(gateway: &Gateway, rows: &[Row]) -> Whole {
    let mut chain = Chain::new(gateway.config.origin.clone());
    let mut next: BTreeMap<u16, (u64, Option<i64>)> = BTreeMap::new();
    let mut whole = Whole {
        applied: Vec::new(),
        gaps: Vec::new(),
    };
    for row in rows {
        let applied = chain
            .apply(&row.entry, Some(row.payload.as_deref().unwrap_or_default()))
            .unwrap_or_else(|error| panic!("entry {}: {error}", row.index));
        if let Some(ticks) = applied.entry.ticks() {
            let before = next.insert(ticks.stream, (ticks.end(), applied.shift));
            if let Some((end, _)) = before {
                assert_eq!(
                    end, ticks.first,
                    "entry {}: a tick twice or never",
                    row.index
                );
            }
            if let Body::Gap { reason, .. } = &applied.entry.body {
                let from_ms = applied
                    .shift
                    .and_then(|shift| tick_time(ticks.first, shift, applied.tick_ms));
                whole.gaps.push(Gap {
                    stream: ticks.stream,
                    ticks: ticks.count,
                    reason: *reason,
                    from_ms: from_ms.unwrap_or_default(),
                    tick_ms: applied.tick_ms,
                });
            }
        }
        whole.applied.push(applied);
    }
    assert!(!next.is_empty(), "no stream was ever sampled");
    whole
}

/// Checks that store and gateway hold the same bytes, that the store is as it came in, and that
/// nothing ever left twice with different contents. The gateway has ended.
pub(crate) async fn everywhere(bed: &Bed, gateway: &Gateway) -> Whole {
    let rows = gateway.rows().await;
    let whole = log(gateway, &rows);
    assert!(
        gateway
            .command(&["verify"])
            .await
            .contains("every signature, hash and tick verified")
    );

    let config = collector::Config::load(&bed.collector_file()).unwrap();
    let store = Store::open(&config.store.url().unwrap()).await.unwrap();
    let (log, _token) = store
        .locate(LogId::of_origin(&gateway.origin))
        .await
        .unwrap()
        .unwrap();
    let mut stored = Vec::new();
    while let at = u64::try_from(stored.len()).unwrap()
        && let page = store.rows(log, at..u64::MAX, 500, true).await.unwrap()
        && !page.is_empty()
    {
        stored.extend(page);
    }
    store.close().await;
    assert_eq!(
        stored.len(),
        rows.len(),
        "the store lacks entries, or has some of its own"
    );
    for (ours, theirs) in rows.iter().zip(&stored) {
        assert_eq!(ours.index, theirs.index);
        assert!(ours.entry == theirs.entry, "entry {} differs", ours.index);
        let payload = |payload: &Option<Vec<u8>>| payload.clone().unwrap_or_default();
        assert!(
            payload(&ours.payload) == payload(&theirs.payload),
            "payload {} differs",
            ours.index
        );
    }
    // Other tests of one PostgreSQL server have other cosigners.
    if matches!(bed.engine, Engine::Sqlite) {
        let file = bed.collector_file().display().to_string();
        let said = processes::done("fieldseal-collector", ["verify", "--config", &file])
            .await
            .unwrap();
        let line = format!("{}: {} entries,", gateway.origin, rows.len());
        assert!(
            said.contains(&line) && said.contains("as it came in"),
            "{said}"
        );
    }

    let left = bed.between.left();
    assert!(left.findings.is_empty(), "{:?}", left.findings);
    let path = format!("/v1/logs/{}/entries", gateway.config.origin.id().to_hex());
    for row in &rows {
        // Entry 0 goes with the enrolment.
        let Some(sent) = left.entries.get(&(path.clone(), row.index)) else {
            assert_eq!(row.index, 0, "never left");
            continue;
        };
        assert!(
            sent.0 == row.entry,
            "entry {} left with other bytes",
            row.index
        );
    }
    let beyond = (path.clone(), u64::try_from(rows.len()).unwrap())..=(path, u64::MAX);
    assert_eq!(
        left.entries.range(beyond).next(),
        None,
        "an index left that the log does not have"
    );
    println!(
        "{}: {} entries, {} gaps, {} uploads",
        gateway.origin,
        rows.len(),
        whole.gaps.len(),
        left.uploads
    );
    whole
}

/// What the verifier has on his own disk.
pub(crate) struct Verifier<'a> {
    pub(crate) bed: &'a Bed,
    pub(crate) plan: &'a str,
    pub(crate) gateways: &'a [&'a Gateway],
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
}

impl Verifier<'_> {
    /// Runs the program over a bundle; exit code and verdict. That the log covers a part of the
    /// period only is not what is tested.
    pub(crate) async fn verify(&self, bundle: &[u8]) -> (i32, Value) {
        let path = |name: &str| self.bed.dir.path().join(name).display().to_string();
        let (file, plan, policy) = (
            path("bundle.tar"),
            path("own.plan.toml"),
            path("own.policy"),
        );
        tokio::fs::write(&file, bundle).await.unwrap();
        write(plan.as_ref(), self.plan);
        write(
            policy.as_ref(),
            &format!("witness W0 {}\nquorum W0\n", self.bed.witness),
        );
        let mut line = vec![
            "bundle", &file, "--plan", &plan, "--policy", &policy, "--json",
        ];
        line.extend([
            "--from",
            self.from,
            "--to",
            self.to,
            "--gap-limit-percent",
            "100",
        ]);
        for gateway in self.gateways {
            line.extend(["--anchor", &gateway.vkey]);
        }
        let (code, printed, complained) = processes::run("fieldseal-verify", line).await.unwrap();
        let verdict = serde_json::from_str(&printed);
        (
            code,
            verdict.unwrap_or_else(|error| panic!("{error}: {printed}{complained}")),
        )
    }

    /// As [`Self::verify`], for a bundle that must be proven.
    pub(crate) async fn accept(&self, bundle: &[u8]) -> Value {
        let (code, verdict) = self.verify(bundle).await;
        assert_eq!(code, 0, "{:#}", verdict["failures"]);
        assert_eq!(verdict["report"]["equal"], true);
        assert_eq!(verdict["plan_equal"], true);
        verdict
    }
}
