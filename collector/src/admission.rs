//! Whether an upload may enter: every check of the format, in one place, without I/O.
//!
//! What it works on arrives as values: the bytes, the head, and the stored rows that the upload
//! claims to repeat. What comes out is either everything one transaction must write, or a refusal
//! that names the entry and the rule.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use axum::http::StatusCode;
use evidence::Rejection;
use evidence::aggregate::{HourAggregate, aggregate};
use evidence::chain::{Applied, Chain};
use evidence::checkpoint::{Checkpoint, CheckpointError};
use evidence::control::{Control, Placed};
use evidence::entry::{Body, ClockStatus, Entry as LogEntry};
use evidence::hash::{Hash, Origin};
use evidence::key::VerifyingKey;
use evidence::note::{Note, NoteError, Vkey, VkeyError};
use evidence::segment::{Segment, tick_time};
use evidence::wire::{Record, Upload};
use store::{Append, Head, Hour, HourKey, NewRow, Placement, Row};

use crate::clock::{self, Doubt};
use crate::cosigner::Cosigner;

/// Milliseconds of an hour: trail notes are kept one an hour, aggregates are by hour.
pub(crate) const HOUR_MS: i64 = 3_600_000;
/// Control entries are stored under their control kind plus this.
pub(crate) const CONTROL: u16 = 100;

/// What becomes of an upload.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It may enter: one transaction writes this, after hours that cannot be merged were made again.
    Enters(Box<Append>),
    /// It may enter when the time is certain.
    Doubtful(Doubt),
    /// The store has all of it already; it is answered like the first time.
    Known,
    /// It begins behind our head: the sender resumes at this size.
    SizeIs(u64),
    /// It may never enter.
    Refused(Refusal),
}

/// Why an upload may never enter.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) reason: String,
    /// What goes into quarantine.
    pub(crate) refused: Vec<u8>,
    /// For a fork, what the store holds at the same place.
    pub(crate) held: Option<Vec<u8>>,
}

/// The checkpoint of an upload, its signature verified.
pub(crate) struct Covered {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) note: Note,
    pub(crate) vkey: Vkey,
}

/// How much of a body that is no upload goes into quarantine.
const MOST_UNREADABLE: usize = 64 << 10;

/// Reads the framing.
pub(crate) fn read(body: &[u8]) -> Result<Upload<'_>, Refusal> {
    Upload::decode(body).map_err(|error| Refusal {
        status: StatusCode::BAD_REQUEST,
        code: "upload",
        reason: error.to_string(),
        refused: body.get(..MOST_UNREADABLE).unwrap_or(body).to_owned(),
        held: None,
    })
}

/// Verifies that the log signed the checkpoint of an upload, and that it covers its records.
pub(crate) fn covered(
    upload: &Upload<'_>,
    log_vkey: &str,
) -> Result<Result<Covered, Refusal>, VkeyError> {
    let vkey = Vkey::parse(log_vkey)?;
    let refuse = |status, code, reason: String| {
        Ok(Err(Refusal {
            status,
            code,
            reason,
            refused: upload.note.to_owned(),
            held: None,
        }))
    };
    let opened = Note::parse(upload.note)
        .map_err(CheckpointError::from)
        .and_then(|note| Ok((Checkpoint::open(&note, &vkey)?, note)));
    let (checkpoint, note) = match opened {
        Ok(opened) => opened,
        Err(
            error @ CheckpointError::Note(
                NoteError::NoKnownSignature(_) | NoteError::BadSignature(_),
            ),
        ) => {
            let reason = format!("checkpoint: {error}; this log's key is {vkey}");
            return refuse(StatusCode::FORBIDDEN, "signature", reason);
        }
        Err(error) => {
            return refuse(
                StatusCode::BAD_REQUEST,
                "checkpoint",
                format!("checkpoint: {error}"),
            );
        }
    };
    let count = u64::try_from(upload.records.len()).unwrap_or(u64::MAX);
    if upload.old.checked_add(count) != Some(checkpoint.size) {
        let reason = format!(
            "the checkpoint covers {} entries, the upload leads from {} to {}",
            checkpoint.size,
            upload.old,
            upload.old.saturating_add(count)
        );
        return refuse(StatusCode::BAD_REQUEST, "checkpoint", reason);
    }
    Ok(Ok(Covered {
        checkpoint,
        note,
        vkey,
    }))
}

/// How a repeated record is not what is stored.
#[derive(Debug)]
pub(crate) enum Differs<'a> {
    /// The entry has other bytes: a fork if the log signed them, else damage.
    Entry(Record<'a>, &'a Row),
    /// The entry is the same and its payload is not.
    Payload(Refusal),
}

/// Compares what an upload repeats with what is stored, which must be byte for byte the same.
///
/// `held` are the stored rows from `upload.old` on, as far as both go.
pub(crate) fn repeats<'a>(upload: &Upload<'a>, held: &'a [Row]) -> Result<(), Differs<'a>> {
    for (record, row) in upload.records.iter().zip(held) {
        if record.entry != row.entry {
            return Err(Differs::Entry(*record, row));
        }
        let differs = |(sent, stored): (&[u8], &Vec<u8>)| sent != &stored[..];
        if record
            .payload
            .zip(row.payload.as_ref())
            .is_some_and(differs)
        {
            return Err(Differs::Payload(Refusal {
                status: StatusCode::UNPROCESSABLE_ENTITY,
                code: "payload_differs",
                reason: format!(
                    "entry {} is held here with other payload bytes, which match its signature",
                    row.index
                ),
                refused: alone(upload, row.index, record),
                held: row.payload.clone(),
            }));
        }
    }
    Ok(())
}

/// Whether bytes are an entry of this index that the log itself signed, by any key it ever had.
pub(crate) fn is_signed(bytes: &[u8], index: u64, origin: &Origin, keys: &[VerifyingKey]) -> bool {
    LogEntry::parse(bytes).is_ok_and(|signed| {
        signed.entry.index == index && keys.iter().any(|key| signed.verify(origin, key).is_ok())
    })
}

/// Bytes that nobody signed where another entry is held: they were altered on the way or in the
/// sender's memory. No word about the log; the same entry sent whole is welcome.
pub(crate) fn damaged(upload: &Upload<'_>, record: &Record<'_>, row: &Row) -> Refusal {
    Refusal {
        status: StatusCode::BAD_REQUEST,
        code: "damaged",
        reason: format!(
            "entry {} is held here and was sent with other bytes that no key of this log has signed: it was damaged on the way; send it again",
            row.index
        ),
        refused: alone(upload, row.index, record),
        held: None,
    }
}

/// Two signed entries at one index: whichever of them is right, the log was forked.
pub(crate) fn fork(upload: &Upload<'_>, record: &Record<'_>, row: &Row) -> Refusal {
    Refusal {
        status: StatusCode::UNPROCESSABLE_ENTITY,
        code: "fork",
        reason: format!(
            "entry {} is held here with other bytes and cosigned: the log was forked; the gateway continues under a new origin with a recovery entry",
            row.index
        ),
        refused: alone(upload, row.index, record),
        held: Some(row.entry.clone()),
    }
}

/// A checkpoint that contradicts the root we cosigned at its size.
pub(crate) fn other_root(covered: &Covered, ours: Hash, held: &[u8]) -> Refusal {
    Refusal {
        status: StatusCode::UNPROCESSABLE_ENTITY,
        code: "fork",
        reason: format!(
            "the checkpoint of size {} states root {}, held and cosigned here is {}: the log was forked",
            covered.checkpoint.size,
            covered.checkpoint.root.to_base64(),
            ours.to_base64()
        ),
        refused: covered.note.to_bytes(),
        held: Some(held.to_owned()),
    }
}

/// Applies the new records of an upload to the chain, and makes the append of them.
///
/// The first `head.log.size - upload.old` records are known to repeat what is stored; `chain` is the
/// log's state at the head.
pub(crate) fn admit(
    upload: &Upload<'_>,
    covered: &Covered,
    head: &Head,
    mut chain: Chain,
    cosigner: &Cosigner,
    now_ms: i64,
) -> Verdict {
    let repeated = usize::try_from(head.log.size.saturating_sub(upload.old)).unwrap_or(usize::MAX);
    let fresh = upload.records.get(repeated..).unwrap_or(&[]);
    let mut rows = Vec::with_capacity(fresh.len());
    let mut hours = BTreeMap::new();
    let mut placed: Vec<Placed> = Vec::new();
    let mut newest = None;
    for record in fresh {
        let index = chain.size();
        match chain.apply(record.entry, record.payload) {
            Ok(applied) => {
                if let Some(segment) = &applied.segment {
                    add_hours(&mut hours, segment);
                }
                if let Some(Control::Clock(event)) = &applied.control {
                    placed.extend_from_slice(&event.placed);
                }
                newest = Some((index, applied.entry.clock));
                rows.push(new_row(record, &applied));
            }
            Err(rejection) => {
                return Verdict::Refused(refusal(upload, index, record, &rejection));
            }
        }
    }
    if chain.root() != covered.checkpoint.root {
        return Verdict::Refused(Refusal {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            code: "root",
            reason: format!(
                "the entries lead to root {}, the checkpoint of size {} states {}",
                chain.root().to_base64(),
                covered.checkpoint.size,
                covered.checkpoint.root.to_base64()
            ),
            refused: upload.note.to_owned(),
            held: None,
        });
    }
    let placements = placed
        .iter()
        .map(|placed| placement(placed, &chain))
        .collect();
    // The newest entry alone: a gateway whose clock was ahead for a while gets its entries in with
    // the ones after.
    let ahead = newest.map_or(Ok(()), |(index, sealed)| match sealed.status {
        ClockStatus::Ntp | ClockStatus::Gnss => clock::check_ahead(sealed.unix_ms, index, now_ms),
        ClockStatus::Unset | ClockStatus::FreeRunning => Ok(()),
    });
    let cosigned = ahead.and_then(|()| cosign(covered, head.log.cosigned_s, cosigner, now_ms));
    let (note, cosigned_s) = match cosigned {
        Ok(cosigned) => cosigned,
        Err(doubt) => return Verdict::Doubtful(doubt),
    };
    let append = Append {
        log: head.log.log,
        old_size: head.log.size,
        new_size: chain.size(),
        new_root: chain.root().0,
        chain: chain.encode(),
        rows,
        hours: encode_hours(hours),
        replaced: Vec::new(),
        merge: merge_hours,
        placements,
        note: note.to_bytes(),
        cosigned_s,
        trail: head.trail_ms.div_euclid(HOUR_MS) != now_ms.div_euclid(HOUR_MS),
        now_ms,
    };
    Verdict::Enters(Box::new(append))
}

/// Makes the cosigned note, and the second it states: now, or none.
pub(crate) fn cosign(
    covered: &Covered,
    last_s: u64,
    cosigner: &Cosigner,
    now_ms: i64,
) -> Result<(Note, u64), Doubt> {
    let cosigned_s = clock::second_to_cosign(now_ms, last_s)?;
    // Only the line that was verified: others may be stale, foreign or many.
    let log_line = covered
        .note
        .signatures
        .iter()
        .find(|line| line.claims(&covered.vkey));
    let log_line = log_line
        .cloned()
        .expect("`Checkpoint::open` found the log's signature");
    let note = cosigner.cosign(&covered.note.text, log_line, cosigned_s);
    Ok((note, cosigned_s))
}

/// One entry as the store keeps it.
pub(crate) fn new_row(record: &Record<'_>, applied: &Applied) -> NewRow {
    let entry = &applied.entry;
    let segment = entry.ticks().map(|ticks| store::Segment {
        stream: ticks.stream,
        first_tick: ticks.first,
        ticks: ticks.count,
        time_ms: applied.shift.and_then(|shift| {
            let from = tick_time(ticks.first, shift, applied.tick_ms)?;
            Some((from, tick_time(ticks.end(), shift, applied.tick_ms)?))
        }),
    });
    let payload = entry.payload_ref().and(record.payload).map(<[u8]>::to_vec);
    NewRow {
        index: entry.index,
        leaf: applied.leaf.0,
        kind: new_row_kind(&entry.body),
        entry: record.entry.to_vec(),
        payload,
        segment,
    }
}

/// The kind under which the store keeps an entry.
pub(crate) fn new_row_kind(body: &Body) -> u16 {
    match body {
        Body::Control { kind, .. } => {
            CONTROL.saturating_add(u16::try_from(*kind).unwrap_or(u16::MAX))
        }
        Body::Data { .. } => 1,
        Body::Gap { .. } => 2,
    }
}

fn placement(placed: &Placed, chain: &Chain) -> Placement {
    Placement {
        stream: placed.stream,
        from_index: placed.from,
        to_index: placed.to,
        shift: placed.shift,
        // The chain has refused a clock event that names a stream it does not know.
        tick_ms: chain
            .stream(placed.stream)
            .map_or(0, |stream| stream.tick_ms),
    }
}

/// Aggregates on their way to the store.
pub(crate) type Hours = BTreeMap<HourKey, HourAggregate>;

/// Adds the aggregates of one segment. Merged here, decoded, once per upload: an hour's batch of a
/// gateway touches each stored aggregate once.
pub(crate) fn add_hours(hours: &mut Hours, segment: &Segment) {
    for (key, hour) in aggregate(segment) {
        let key = HourKey {
            stream: key.stream,
            point: key.point,
            hour: key.hour_ms.div_euclid(HOUR_MS),
            config: key.config_index,
        };
        match hours.entry(key) {
            Entry::Occupied(mut held) => held.get_mut().merge(&hour),
            Entry::Vacant(free) => {
                free.insert(hour);
            }
        }
    }
}

pub(crate) fn encode_hours(hours: Hours) -> Vec<Hour> {
    hours
        .into_iter()
        .map(|(key, hour)| Hour {
            key,
            data: hour.encode(),
        })
        .collect()
}

/// Two aggregates of one hour become one.
pub(crate) fn merge_hours(stored: &[u8], later: &[u8]) -> Result<Vec<u8>, String> {
    let read = |bytes| HourAggregate::decode(bytes).map_err(|error| error.to_string());
    let mut merged = read(stored)?;
    merged.merge(&read(later)?);
    Ok(merged.encode())
}

fn refusal(upload: &Upload<'_>, index: u64, record: &Record<'_>, rejection: &Rejection) -> Refusal {
    Refusal {
        status: StatusCode::UNPROCESSABLE_ENTITY,
        code: rejection.code(),
        reason: format!("entry {index}: {rejection}"),
        refused: alone(upload, index, record),
        held: None,
    }
}

/// An upload of one record, the form in which a refused entry is kept.
fn alone(upload: &Upload<'_>, index: u64, record: &Record<'_>) -> Vec<u8> {
    let alone = Upload {
        old: index,
        note: upload.note,
        records: vec![*record],
    };
    alone
        .encode()
        .unwrap_or_else(|_too_large| record.entry.to_vec())
}
