//! `POST /v1/logs/<id>/entries`: from a gateway's bytes to a cosigned checkpoint.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH};
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use evidence::hash::Origin;
use evidence::note::Note;
use evidence::wire::{Record, Upload};
use serde::{Deserialize, Serialize};
use store::{Appended, Head, LogId, LogRef, Row};

use crate::admission::{self, Covered, Differs, Refusal, Verdict};
use crate::answer::{Answer, error_chain};
use crate::authority;
use crate::placing;
use crate::replay::{self, ReplayError};
use crate::server::Collector;

/// The answer to an accepted upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Entries stored and cosigned.
    pub size: u64,
    /// The checkpoint of that size with the collector's cosignature.
    pub note: String,
    /// The newest trail note, whose hash the gateway may pin as freshness.
    pub trail: Option<String>,
    /// For so many seconds somebody watches live values; 0 if nobody does.
    pub watch_for_s: u32,
}

/// How often an upload is looked at again because the head moved meanwhile. One gateway sends one
/// upload at a time, so this many in a row means that something else is wrong.
const MOST_RACES: u32 = 5;
/// Trail notes looked at for one with an independent cosignature: some hours' worth.
const TRAIL_NOTES: u32 = 8;
/// Rows compared per page when an upload repeats what is stored.
const PAGE: u32 = 256;

pub(crate) async fn entries(
    State(collector): State<Collector>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Ack>, Answer> {
    // In this order: who it is, whether it may, and only then its bytes.
    let log = collector.authenticate(&id, &headers).await?;
    collector
        .rates
        .take(log.log, collector.clock.now_ms())
        .map_err(Answer::too_many)?;
    let _permit = collector
        .uploads
        .try_acquire()
        .map_err(|_full| Answer::busy(2, "too many uploads at this moment"))?;
    let body = collector
        .read_body(&headers, body, collector.limits.upload_bytes)
        .await?;
    for _attempt in 0..MOST_RACES {
        if let Some(ack) = collector.take_in(log, &body).await? {
            return Ok(Json(ack));
        }
    }
    Err(Answer::busy(2, "the log's head keeps moving"))
}

impl Collector {
    /// Finds a log by the id in the address, if the bearer token is its gateway's.
    pub(crate) async fn authenticate(
        &self,
        id: &str,
        headers: &HeaderMap,
    ) -> Result<LogRef, Answer> {
        let id = LogId::from_hex(id).ok_or_else(Answer::unknown_log)?;
        let (log, token) = self
            .store
            .locate(id)
            .await?
            .ok_or_else(Answer::unknown_log)?;
        let given = bearer(headers).ok_or_else(Answer::unauthorised)?;
        // Hashes are compared: how long that takes tells nothing about the token.
        if evidence::hash::sha256(given.as_bytes()).0 != token {
            return Err(Answer::unauthorised());
        }
        Ok(log)
    }

    /// Reads a body within its limit and time.
    pub(crate) async fn read_body(
        &self,
        headers: &HeaderMap,
        body: Body,
        most: usize,
    ) -> Result<Bytes, Answer> {
        let too_large = || {
            let reason = format!("at most {most} bytes at once; send fewer entries per upload");
            Answer::refused(StatusCode::PAYLOAD_TOO_LARGE, "too_large", reason)
        };
        let announced = headers
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok());
        let announced = announced.and_then(|length| length.parse::<usize>().ok());
        if announced.is_some_and(|announced| announced > most) {
            return Err(too_large());
        }
        let reading = tokio::time::timeout(self.limits.body_timeout, to_bytes(body, most));
        match reading.await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) if error_chain(&error).contains("length limit exceeded") => {
                Err(too_large())
            }
            // The connection broke: nobody reads the answer.
            Ok(Err(_broken)) => Err(Answer::bad_request("body", "the body broke off")),
            Err(_elapsed) => Err(Answer::Later {
                status: StatusCode::REQUEST_TIMEOUT,
                after_s: 5,
                reason: "the body took too long; send fewer entries per upload".to_owned(),
            }),
        }
    }

    /// Takes an upload in once; `None` if the head moved in between and it must be looked at again.
    async fn take_in(&self, log: LogRef, body: &Bytes) -> Result<Option<Ack>, Answer> {
        let head = self
            .store
            .head(log)
            .await?
            .ok_or_else(Answer::unknown_log)?;
        let now_ms = self.clock.now_ms();
        let verdict = match self.judge(body, &head, now_ms).await? {
            Ok(verdict) => verdict,
            Err(refusal) => Verdict::Refused(refusal),
        };
        match verdict {
            Verdict::SizeIs(size) => Err(Answer::SizeIs(size)),
            Verdict::Refused(refusal) => Err(self.put_away(&head, refusal, now_ms).await?),
            Verdict::Known => Ok(Some(
                self.ack(log, head.log.size, &head.note, now_ms).await?,
            )),
            Verdict::Doubtful(doubt) => Err(doubt.answer(&head.log.origin)),
            Verdict::Enters(mut append) => {
                // A stolen key signs no further entry in here; repeating what is stored stays welcome.
                if let Some(reason) = self.store.meta(&authority::closed_name(log)).await? {
                    let reason = String::from_utf8_lossy(&reason).into_owned();
                    return Err(Answer::refused(StatusCode::FORBIDDEN, "revoked", reason));
                }
                // After the time was taken: a step before it is seen here.
                self.watch
                    .check(&*self.clock)
                    .map_err(|doubt| doubt.answer(&head.log.origin))?;
                placing::settle(&self.store, &mut append).await?;
                // The commit point. Before it nothing of this upload exists: killed here, the
                // gateway gets no answer and sends the same bytes again. The transaction compares
                // and swaps the head, so of two uploads at this size only one commits, whichever
                // collector took it; and it carries the cosigned note, so the store never holds
                // entries without the cosignature or a cosignature without its entries. After it,
                // killed before the answer leaves, the gateway sends again, every byte is found
                // equal to what is stored, and it gets the stored note: the same cosignature.
                match self.store.append(&append).await? {
                    Appended::HeadMoved { .. } => Ok(None),
                    Appended::At(size) => {
                        tracing::debug!(
                            log.origin = head.log.origin,
                            log.size = size,
                            log.entries = append.rows.len(),
                            "Stored and cosigned an upload"
                        );
                        Ok(Some(self.ack(log, size, &append.note, now_ms).await?))
                    }
                }
            }
        }
    }

    /// Reads what the upload repeats, and judges it. The inner error is a refusal too.
    async fn judge(
        &self,
        body: &Bytes,
        head: &Head,
        now_ms: i64,
    ) -> Result<Result<Verdict, Refusal>, Answer> {
        let upload = match admission::read(body) {
            Ok(upload) => upload,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let covered = admission::covered(&upload, &head.log.log_vkey);
        let covered = match covered.map_err(|error| broken(head, &error))? {
            Ok(covered) => covered,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let (old, new, size) = (upload.old, covered.checkpoint.size, head.log.size);
        if old > size {
            return Ok(Ok(Verdict::SizeIs(size)));
        }
        let mut at = old;
        while at < size.min(new) {
            let held: Vec<Row> = self
                .store
                .rows(head.log.log, at..size.min(new), PAGE, true)
                .await?;
            let skip = usize::try_from(at - old).unwrap_or(usize::MAX);
            let rest = upload.records.get(skip..).unwrap_or(&[]).to_vec();
            let part = Upload {
                old: at,
                note: upload.note,
                records: rest,
            };
            match admission::repeats(&part, &held) {
                Ok(()) => {}
                Err(Differs::Payload(refusal)) => return Ok(Err(refusal)),
                Err(Differs::Entry(record, row)) => {
                    let refusal = self.differs(&part, &covered, head, &record, row).await?;
                    return Ok(Err(refusal));
                }
            }
            at = match held.last() {
                Some(row) => row.index + 1,
                None => return Err(broken(head, &"rows below the head are missing")),
            };
        }
        if new <= size {
            let ours = placing::root_at(&self.store, head.log.log, new).await?;
            if ours != covered.checkpoint.root {
                return Ok(Err(admission::other_root(&covered, ours, &head.note)));
            }
            // Asked about less than we have, and sent nothing that we could confirm: resume.
            let asked_nothing = upload.records.is_empty() && new < size;
            return Ok(Ok(if asked_nothing {
                Verdict::SizeIs(size)
            } else {
                Verdict::Known
            }));
        }
        let chain = match replay::chain_at(&self.store, head).await {
            Ok(chain) => chain,
            Err(ReplayError::Store(error)) => return Err(error.into()),
            Err(error) => return Err(broken(head, &error)),
        };
        // Signatures and decoding take milliseconds of processor time: not on the I/O threads.
        let (body, state, cosigner) = (body.clone(), head.clone(), Arc::clone(&self.cosigner));
        let judging = tokio::task::spawn_blocking(move || match admission::read(&body) {
            Ok(upload) => admission::admit(&upload, &covered, &state, chain, &cosigner, now_ms),
            Err(refusal) => Verdict::Refused(refusal),
        });
        judging.await.map(Ok).map_err(|panicked| {
            tracing::error!(error = %panicked, "The check of an upload died");
            Answer::Failed
        })
    }

    /// What an entry is that differs from the held one: of a fork only if the log signed it, or
    /// signed another root over what is held; a damaged byte proves nothing.
    async fn differs(
        &self,
        upload: &Upload<'_>,
        covered: &Covered,
        head: &Head,
        record: &Record<'_>,
        row: &Row,
    ) -> Result<Refusal, Answer> {
        let origin = Origin::parse(&head.log.origin).map_err(|error| broken(head, &error))?;
        let keys = placing::entry_keys(&self.store, head.log.log).await?;
        if admission::is_signed(record.entry, row.index, &origin, &keys) {
            return Ok(admission::fork(upload, record, row));
        }
        if covered.checkpoint.size <= head.log.size {
            let ours = placing::root_at(&self.store, head.log.log, covered.checkpoint.size).await?;
            if ours != covered.checkpoint.root {
                return Ok(admission::other_root(covered, ours, &head.note));
            }
        }
        Ok(admission::damaged(upload, record, row))
    }

    /// Puts refused material away and makes the answer of it.
    async fn put_away(&self, head: &Head, refusal: Refusal, now_ms: i64) -> Result<Answer, Answer> {
        let Refusal {
            status,
            code,
            reason,
            refused,
            held,
        } = refusal;
        let log = head.log.log;
        let kept = self
            .store
            .quarantine(log, now_ms, code, &reason, &refused, held.as_deref())
            .await?;
        if code == "fork" {
            tracing::error!(
                log.origin = head.log.origin, log.size = head.log.size, refusal.code = code,
                refusal.reason = reason, quarantine.kept = ?kept,
                "A log was forked: both entries are in quarantine"
            );
        } else {
            tracing::warn!(
                log.origin = head.log.origin, log.size = head.log.size, refusal.code = code,
                refusal.reason = reason, quarantine.kept = ?kept,
                "Refused an upload"
            );
        }
        Ok(Answer::refused(status, code, reason))
    }

    async fn ack(&self, log: LogRef, size: u64, note: &[u8], now_ms: i64) -> Result<Ack, Answer> {
        let text = |note: &[u8]| String::from_utf8_lossy(note).into_owned();
        // Of the newest ones that which an independent witness cosigned, if there is one: the gateway pins
        // it, and what our key alone has signed we could have made in advance.
        let mut newest = self.store.newest_trail_notes(log, TRAIL_NOTES).await?;
        let independent = newest.iter().position(|trail| {
            Note::parse(&trail.note).is_ok_and(|note| self.is_independent(&note))
        });
        newest.truncate(independent.unwrap_or(0) + 1);
        let trail = newest.pop();
        Ok(Ack {
            size,
            note: text(note),
            trail: trail.map(|trail| text(&trail.note)),
            watch_for_s: self.watch_for_s(log, now_ms).await?,
        })
    }

    /// For how long somebody still watches.
    pub(crate) async fn watch_for_s(&self, log: LogRef, now_ms: i64) -> Result<u32, Answer> {
        let left_ms = self.store.watched_until(log).await? - now_ms;
        Ok(u32::try_from((left_ms / 1000).max(0)).unwrap_or(u32::MAX))
    }
}

/// The bearer token of a request.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers
        .get(AUTHORIZATION)?
        .to_str()
        .ok()?
        .strip_prefix("Bearer ")
}

/// What the store holds does not fit itself. Nothing is cosigned on such ground.
fn broken(head: &Head, error: &dyn std::fmt::Display) -> Answer {
    tracing::error!(
        log.origin = head.log.origin,
        log.size = head.log.size,
        error = %error,
        "The stored state of a log is damaged; restore it from a backup"
    );
    Answer::Failed
}
