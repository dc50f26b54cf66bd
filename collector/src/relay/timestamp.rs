//! A daily timestamp (RFC 3161) over the newest trail note of each log.
//!
//! A second leg beside the witnesses, by a body that knows nothing of logs: it proves that a tree existed
//! at a time, not that there is no other. Kept is what verified under the configured roots, so that a
//! wrong authority is noticed on the first day and not at the audit.

use evidence::timestamp::{Roots, Token, request};
use ring::rand::{SecureRandom as _, SystemRandom};
use store::{Log, Relay, Store, StoreError, TimestampToken};

use super::client::{Answered, Peer};
use super::{LEASE_MS, MOST_APART_S, RelayError, next_due, wait_ms};
use crate::clock::Clock;
use crate::config::TimestampConfig;

const QUERY: &str = "application/timestamp-query";

/// An authority with its connection.
#[derive(Debug)]
pub(super) struct Authority {
    peer: Peer,
    roots: Roots,
    /// How the store names it.
    target: String,
    interval_ms: i64,
}

/// The name of an authority among the targets of the relay.
pub(crate) fn target_of(url: &str) -> String {
    format!("timestamp {url}")
}

impl Authority {
    pub(super) fn new(config: &TimestampConfig) -> Result<Self, RelayError> {
        let bad = |why: String| RelayError::RootsFile {
            path: config.roots_file.clone(),
            why,
        };
        let pem = std::fs::read(&config.roots_file).map_err(|error| bad(error.to_string()))?;
        Ok(Self {
            peer: Peer::new(config.url.clone(), config.ca_file.as_deref())?,
            roots: Roots::from_pem(&pem).map_err(|error| bad(error.to_string()))?,
            target: target_of(&config.url),
            interval_ms: i64::try_from(config.interval.as_millis()).unwrap_or(i64::MAX),
        })
    }

    /// Has the newest trail note of a log stamped, if it is due. Returns whether the authority was
    /// silent: the logs behind this one then need not ask it.
    pub(super) async fn stamp(
        &self,
        store: &Store,
        clock: &dyn Clock,
        log: &Log,
        relays: &[Relay],
    ) -> Result<bool, StoreError> {
        let now_ms = clock.now_ms();
        let known = relays.iter().find(|relay| relay.target == self.target);
        if known.is_some_and(|relay| relay.due_ms > now_ms) {
            return Ok(false);
        }
        let Some(kept) = store.newest_trail_note(log.log).await? else {
            return Ok(false);
        };
        let lease = store.claim_relay(log.log, &self.target, now_ms, now_ms + LEASE_MS);
        let Some(relay) = lease.await? else {
            return Ok(false);
        };
        let (stamped, silent) = self.ask(&kept.note, clock).await;
        let now_ms = clock.now_ms();
        let settled = match stamped {
            Ok(token) => {
                let token = TimestampToken {
                    at_ms: now_ms,
                    size: kept.size,
                    note: evidence::hash::sha256(&kept.note).0,
                    token,
                };
                // Kept before it is called done: killed in between, it is stamped again.
                store.keep_timestamp(log.log, &token).await?;
                Relay {
                    size: kept.size,
                    done_ms: now_ms,
                    due_ms: next_due(log.log.log, now_ms, self.interval_ms),
                    failures: 0,
                    error: None,
                    ..relay
                }
            }
            Err(reason) => {
                if relay.error.as_ref() != Some(&reason) {
                    tracing::warn!(log.origin = log.origin, reason, "Not timestamped");
                }
                Relay {
                    due_ms: now_ms + wait_ms(relay.failures, self.interval_ms),
                    failures: relay.failures.saturating_add(1),
                    error: Some(reason),
                    ..relay
                }
            }
        };
        store.settle_relay(log.log, &settled).await?;
        Ok(silent)
    }

    /// The authority's answer over these bytes, verified; or why there is none, and whether it was silent.
    async fn ask(&self, note: &[u8], clock: &dyn Clock) -> (Result<Vec<u8>, String>, bool) {
        let mut nonce = [0; 8];
        if SystemRandom::new().fill(&mut nonce).is_err() {
            return (Err("the machine gave no randomness".to_owned()), false);
        }
        let nonce = u64::from_be_bytes(nonce);
        let answered = self.peer.post("", QUERY, request(note, nonce)).await;
        let silent = matches!(answered, Answered::Silent(_));
        let checked = match answered {
            Answered::Good(answer) => self.check(answer, note, nonce, clock),
            Answered::SizeIs(_) => Err("status 409".to_owned()),
            Answered::Refused { reason, .. }
            | Answered::Later { reason, .. }
            | Answered::Silent(reason) => Err(reason),
        };
        (checked, silent)
    }

    fn check(
        &self,
        answer: Vec<u8>,
        note: &[u8],
        nonce: u64,
        clock: &dyn Clock,
    ) -> Result<Vec<u8>, String> {
        let token = Token::parse(&answer).map_err(|error| error.to_string())?;
        if !token.answers(note, nonce) {
            return Err("the answer is to another request".to_owned());
        }
        token
            .verify(&self.roots)
            .map_err(|error| error.to_string())?;
        let now_s = u64::try_from(clock.now_ms() / 1000).unwrap_or(0);
        if token.time_s.abs_diff(now_s) > MOST_APART_S {
            return Err(format!(
                "it stamped unix second {}, the collector's clock says {now_s}; compare the clocks (`timedatectl`)",
                token.time_s
            ));
        }
        Ok(answer)
    }
}
