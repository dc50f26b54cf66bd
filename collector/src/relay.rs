//! Relay: the newest checkpoint of every log is shown to the independent witnesses and to a timestamp
//! authority, and what they sign is kept.
//!
//! No trust is needed in this part: a witness signs only what a log signed and what continues what it
//! has seen, and a cosignature is kept only after its own key verified it. It runs beside the ingest and
//! shares nothing with it but the store: a witness that is slow, silent or wrong delays no upload.
//!
//! All witnesses of a log are due at the same moments and are shown the same checkpoint, so that one
//! trail note carries all their lines: a verifier's policy must be met by one note. Whoever could not be
//! reached then is shown that same note again before anything newer.
//!
//! Several collectors may serve one store: each takes a lease of log and witness before it asks
//! ([`store::Store::claim_relay`]), and only one gets it. Killed with a lease, nothing is lost: the lease
//! ends after [`LEASE_MS`], and a witness that had signed by then answers with its size and signs again.

mod client;
mod proof;
mod timestamp;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use evidence::note::{Note, Vkey};
use evidence::witness::{Request, read_cosignature};
use futures_util::future::join_all;
use store::{Log, LogId, LogRef, Relay, SiteId, StoreError, TrailNote};

use crate::answer::error_chain;
use crate::config::{TimestampConfig, WitnessConfig};
use crate::server::Collector;
use client::{Answered, Peer};
use timestamp::Authority;
pub(crate) use timestamp::target_of;

/// How long a log and witness belong to the collector that asks.
const LEASE_MS: i64 = 120_000;
/// How far a witness's time may be from the collector's, in seconds.
const MOST_APART_S: u64 = 600;
/// A log that does not grow is shown again after this.
const IDLE_MS: i64 = 86_400_000;
/// The first wait after a failure; it doubles.
const FIRST_WAIT_MS: i64 = 10_000;
/// The longest wait that a witness may ask for.
const LONGEST_WAIT_MS: i64 = 86_400_000;

/// Why the relay cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// The certificates to trust.
    #[error("`ca_file` `{path}`: {why}")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The certificates of timestamp authorities.
    #[error("`timestamp.roots_file` `{path}`: {why}")]
    RootsFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The HTTP client.
    #[error("the client for witnesses: {0}")]
    Client(String),
}

/// A witness with its connection.
#[derive(Debug)]
struct Witness {
    config: WitnessConfig,
    /// How the store names it.
    target: String,
    interval_ms: i64,
    peer: Peer,
}

/// Shows checkpoints. One per process.
#[derive(Debug)]
pub(crate) struct Relayer {
    collector: Collector,
    witnesses: Vec<Witness>,
    authority: Option<Authority>,
}

/// What came of asking one witness.
enum Asked {
    /// It cosigned this note, which carries its line now.
    Cosigned(Note, u64),
    Failed {
        reason: String,
        /// When to ask again, in milliseconds from now; `None`: by the number of failures.
        wait_ms: Option<i64>,
        silent: bool,
    },
}

impl Relayer {
    pub(crate) fn new(
        collector: Collector,
        witnesses: &[WitnessConfig],
        timestamp: Option<&TimestampConfig>,
    ) -> Result<Self, RelayError> {
        let witnesses = witnesses
            .iter()
            .map(|config| {
                Ok(Witness {
                    target: config.key.to_string(),
                    interval_ms: i64::try_from(config.interval.as_millis()).unwrap_or(i64::MAX),
                    peer: Peer::new(config.url.clone(), config.ca_file.as_deref())?,
                    config: config.clone(),
                })
            })
            .collect::<Result<_, RelayError>>()?;
        Ok(Self {
            collector,
            witnesses,
            authority: timestamp.map(Authority::new).transpose()?,
        })
    }

    /// Never ends. Dropping it at any point loses nothing.
    pub(crate) async fn run(self) {
        let shortest = self
            .witnesses
            .iter()
            .map(|witness| witness.config.interval)
            .min();
        let of_authority = self
            .authority
            .as_ref()
            .map(|_some| Duration::from_secs(600));
        let Some(shortest) = shortest.or(of_authority) else {
            return std::future::pending().await;
        };
        let pause = (shortest / 20).clamp(Duration::from_millis(100), Duration::from_secs(30));
        loop {
            if let Err(error) = self.round().await {
                tracing::warn!(
                    error = error_chain(&error),
                    "The store does not answer; checkpoints are shown to witnesses later"
                );
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Shows every log to every witness for which it is due.
    async fn round(&self) -> Result<(), StoreError> {
        let mut silent = BTreeSet::new();
        let mut authority = self.authority.as_ref();
        let sites = self.collector.store.sites().await?.into_iter();
        let mut sites: Vec<SiteId> = sites.map(|site| site.id).collect();
        // The logs of projects are shown like every other.
        let projects = self.collector.store.project_logs().await?.into_iter();
        sites.extend(projects.map(|log| log.log.site));
        for site in sites {
            let mut known: BTreeMap<LogId, Vec<Relay>> = BTreeMap::new();
            for (log, relay) in self.collector.store.relays_of_site(site).await? {
                known.entry(log).or_default().push(relay);
            }
            for log in self.collector.store.logs_of_site(site).await? {
                let relays = known.remove(&log.log.log).unwrap_or_default();
                self.show(&log, &relays, &mut silent).await?;
                if let Some(asked) = authority {
                    let (store, clock) = (&self.collector.store, &*self.collector.clock);
                    if asked.stamp(store, clock, &log, &relays).await? {
                        authority = None;
                    }
                }
            }
        }
        Ok(())
    }

    /// Shows one log to the witnesses for which it is due, but for those who were silent just now.
    async fn show(
        &self,
        log: &Log,
        relays: &[Relay],
        silent: &mut BTreeSet<usize>,
    ) -> Result<(), StoreError> {
        let (store, now_ms) = (&self.collector.store, self.collector.clock.now_ms());
        if log.size == 0 {
            return Ok(());
        }
        let mut claimed = Vec::new();
        for (at, witness) in self.witnesses.iter().enumerate() {
            let known = relays.iter().find(|relay| relay.target == witness.target);
            let due = known.is_none_or(|relay| relay.due_ms <= now_ms);
            if !due || silent.contains(&at) {
                continue;
            }
            let lease = store.claim_relay(log.log, &witness.target, now_ms, now_ms + LEASE_MS);
            let Some(relay) = lease.await? else { continue };
            let idle = relay.size == log.size && now_ms - relay.done_ms < IDLE_MS;
            if idle && relay.error.is_none() {
                let due_ms = next_due(log.log.log, now_ms, witness.interval_ms);
                store
                    .settle_relay(log.log, &Relay { due_ms, ..relay })
                    .await?;
            } else {
                claimed.push((at, witness, relay));
            }
        }
        if claimed.is_empty() {
            return Ok(());
        }
        let Some(head) = store.head(log.log).await? else {
            return Ok(());
        };
        let Ok(head_note) = Note::parse(&head.note) else {
            return Err(StoreError::Damaged(format!(
                "the note of log {}",
                log.origin
            )));
        };
        let head_note = (head.log.size, head_note);
        let shared = self.shared(log.log, now_ms).await?;
        let asking = claimed.iter().map(|(_at, witness, relay)| {
            self.ask(log, witness, relay.size, shared.as_ref(), &head_note)
        });
        let asked = join_all(asking).await;

        // What was signed is kept before anything is called done: killed in between, it is asked again.
        let mut notes: BTreeMap<u64, Note> = BTreeMap::new();
        for one in &asked {
            if let Asked::Cosigned(note, size) = one {
                let merged = notes.entry(*size).or_insert_with(|| note.clone());
                merged.merge(note);
            }
        }
        for (size, note) in &notes {
            self.keep(log.log, *size, note).await?;
        }
        let now_ms = self.collector.clock.now_ms();
        for ((at, witness, relay), asked) in claimed.into_iter().zip(asked) {
            if matches!(asked, Asked::Failed { silent: true, .. }) {
                silent.insert(at);
            }
            let settled = settled(log, witness, relay, asked, now_ms);
            store.settle_relay(log.log, &settled).await?;
        }
        Ok(())
    }

    /// The newest trail note, if another witness cosigned it lately: it is shown before a newer one.
    async fn shared(&self, log: LogRef, now_ms: i64) -> Result<Option<(u64, Note)>, StoreError> {
        let shortest = self
            .witnesses
            .iter()
            .map(|witness| witness.interval_ms)
            .min();
        let lately = now_ms - shortest.unwrap_or(0) / 2;
        let newest = self.collector.store.newest_trail_note(log).await?;
        Ok(newest
            .filter(|kept| kept.at_ms > lately)
            .and_then(|kept| Some((kept.size, Note::parse(&kept.note).ok()?)))
            .filter(|(_size, note)| self.collector.is_independent(note)))
    }

    /// Asks one witness: from the size that it vouched for last, and once more from the size that it
    /// says it holds.
    async fn ask(
        &self,
        log: &Log,
        witness: &Witness,
        believed: u64,
        shared: Option<&(u64, Note)>,
        head: &(u64, Note),
    ) -> Asked {
        let mut old = believed;
        for _attempt in 0..2 {
            let signed = |note: &Note| {
                note.signatures
                    .iter()
                    .any(|line| line.claims(&witness.config.key))
            };
            let (size, note) = shared
                .filter(|(size, note)| *size >= old && !signed(note))
                .unwrap_or(head);
            if old > *size {
                return failed(format!(
                    "it has cosigned {old} entries, and this store holds {size}: the store was restored from an older copy; gateways send the rest again"
                ));
            }
            let proof = proof::between(&self.collector.store, log.log, old, *size).await;
            let proof = match proof {
                Ok(proof) => proof,
                Err(error) => return failed(error_chain(&error)),
            };
            let request = Request {
                old,
                proof,
                note: note.clone(),
            };
            let body = request.to_bytes();
            match witness
                .peer
                .post("/add-checkpoint", "text/plain; charset=utf-8", body)
                .await
            {
                Answered::Good(answer) => return self.verified(witness, *size, note, &answer),
                Answered::SizeIs(size) => old = size,
                Answered::Refused { status, reason } => {
                    return refused(log, witness, status, &reason);
                }
                Answered::Later { after_s, reason } => {
                    let wait_ms = after_s
                        .map(|after_s| {
                            i64::try_from(after_s.saturating_mul(1000)).unwrap_or(i64::MAX)
                        })
                        .map(|wait_ms| wait_ms.min(LONGEST_WAIT_MS));
                    return Asked::Failed {
                        reason,
                        wait_ms,
                        silent: false,
                    };
                }
                Answered::Silent(reason) => {
                    return Asked::Failed {
                        reason,
                        wait_ms: None,
                        silent: true,
                    };
                }
            }
        }
        failed("it answers every size with another one".to_owned())
    }

    /// Takes a cosignature only if the witness's key made it over what was shown, at a time that can be.
    fn verified(&self, witness: &Witness, size: u64, note: &Note, answer: &[u8]) -> Asked {
        let (line, at_s) = match read_cosignature(note, answer, &witness.config.key) {
            Ok(read) => read,
            Err(error) => return failed(error.to_string()),
        };
        let now_s = u64::try_from(self.collector.clock.now_ms() / 1000).unwrap_or(0);
        if at_s.abs_diff(now_s) > MOST_APART_S {
            return failed(format!(
                "it signed at unix second {at_s}, the collector's clock says {now_s}; compare the clocks (`timedatectl`)"
            ));
        }
        let mut note = note.clone();
        note.signatures.push(line);
        Asked::Cosigned(note, size)
    }

    async fn keep(&self, log: LogRef, size: u64, note: &Note) -> Result<(), StoreError> {
        // What others cosigned of this size before stays with it.
        let mut note = note.clone();
        let store = &self.collector.store;
        for kept in store.trail_notes_by_size(log, size, size).await? {
            if let Ok(kept) = Note::parse(&kept.note) {
                note.merge(&kept);
            }
        }
        let mut kept = TrailNote {
            at_ms: self.collector.clock.now_ms(),
            size,
            note: note.to_bytes(),
        };
        // A note of the same millisecond is another one, of the ingest.
        while !store.keep_trail_note(log, &kept).await? {
            kept.at_ms += 1;
        }
        Ok(())
    }
}

impl Collector {
    /// Whether a kept note carries the line of an independent witness: it was verified when it came.
    pub(crate) fn is_independent(&self, note: &Note) -> bool {
        let lines = &note.signatures;
        let by = |witness: &Vkey| lines.iter().any(|line| line.claims(witness));
        self.witnesses.iter().any(by)
    }
}

fn failed(reason: String) -> Asked {
    Asked::Failed {
        reason,
        wait_ms: None,
        silent: false,
    }
}

/// A refusal with its remedy; nothing changes by asking soon.
fn refused(log: &Log, witness: &Witness, status: u16, reason: &str) -> Asked {
    let remedy = match status {
        404 => format!(
            "; its operator adds the log with `fieldseal-verify witness log add '{}'`",
            log.log_vkey
        ),
        403 => "; it knows another key of this log than we do".to_owned(),
        _ => String::new(),
    };
    if status == 422 {
        tracing::error!(
            log.origin = log.origin,
            witness = witness.config.name,
            reason,
            "A WITNESS HAS SEEN ANOTHER HISTORY of this log than the store holds"
        );
    }
    Asked::Failed {
        reason: format!("{reason}{remedy}"),
        wait_ms: Some(witness.interval_ms),
        silent: false,
    }
}

/// What is written down of an attempt.
fn settled(log: &Log, witness: &Witness, relay: Relay, asked: Asked, now_ms: i64) -> Relay {
    let (origin, name) = (&log.origin, &witness.config.name);
    match asked {
        Asked::Cosigned(_note, size) => {
            if relay.error.is_some() {
                tracing::info!(
                    log.origin = origin,
                    witness = name,
                    "The witness cosigns again"
                );
            }
            tracing::debug!(
                log.origin = origin,
                witness = name,
                log.size = size,
                "Cosigned"
            );
            Relay {
                size,
                done_ms: now_ms,
                due_ms: next_due(log.log.log, now_ms, witness.interval_ms),
                failures: 0,
                error: None,
                ..relay
            }
        }
        Asked::Failed {
            reason, wait_ms, ..
        } => {
            if relay.error.as_ref() != Some(&reason) {
                tracing::warn!(log.origin = origin, witness = name, reason, "Not cosigned");
            }
            let own_ms = self::wait_ms(relay.failures, witness.interval_ms);
            let wait_ms = wait_ms.unwrap_or(own_ms);
            Relay {
                due_ms: now_ms + wait_ms.max(1),
                failures: relay.failures.saturating_add(1),
                error: Some(reason),
                ..relay
            }
        }
    }
}

/// How long to wait after so many failures before this one: doubling, at most the interval.
fn wait_ms(failures: u32, interval_ms: i64) -> i64 {
    (FIRST_WAIT_MS << failures.min(12)).min(interval_ms)
}

/// The next moment of a log: the same for all witnesses with this interval, another one for each log.
fn next_due(log: LogId, now_ms: i64, interval_ms: i64) -> i64 {
    let interval_ms = interval_ms.max(1);
    let [a, b, ..] = log.0;
    let spread = i64::from(u16::from_be_bytes([a, b])) * interval_ms / 65_536;
    let past = (now_ms - spread).div_euclid(interval_ms);
    (past + 1) * interval_ms + spread
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_has_its_own_moment_of_the_hour_and_never_waits_longer_than_one() {
        const HOUR: i64 = 3_600_000;
        let log = |a| LogId([a; 32]);
        assert_eq!(next_due(log(0), 10 * HOUR, HOUR), 11 * HOUR);
        assert_eq!(next_due(log(0), 11 * HOUR - 1, HOUR), 11 * HOUR);
        let half = next_due(log(0x80), 10 * HOUR, HOUR);
        assert!((10 * HOUR + HOUR / 2..10 * HOUR + HOUR / 2 + HOUR / 100).contains(&half));
        for now in (0..3 * HOUR).step_by(77_777) {
            let due = next_due(log(0x80), now, HOUR);
            assert!(due > now && due <= now + HOUR);
            assert_eq!(next_due(log(0x80), due - 1, HOUR), due);
        }
    }
}
