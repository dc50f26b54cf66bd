//! The bytes of a bundle from any place on, in a few pages of memory.
//!
//! Everything small is made again for every request and cut to the window asked for; entries and
//! payloads are fetched from the page in which the window begins.

use std::io::Write;

use axum::body::Bytes;
use evidence::bundle::{BundleError, BundleWriter, Disclosure, entries_bytes};
use evidence::entry::{Body as EntryBody, Entry};
use ring::digest::{Context, SHA256};
use store::{Row, Store};
use tokio::sync::mpsc;

use super::LogPart;
use super::entered::Entered;
use crate::facts::Facts;
use crate::problem::{Answer, Problem};

/// Entries fetched at once.
const PAGE: u32 = 256;

/// Where a page of rows begins in `entries.bin` and `payload.bin`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    index: u64,
    entries: u64,
    payload: u64,
}

/// Lengths of a log's files, and where its pages begin.
#[derive(Debug)]
pub(super) struct Extent {
    pub(super) entries: u64,
    pub(super) payload: u64,
    marks: Vec<Mark>,
}

/// What stands for the payload of an entry: as the disclosure says, nothing for what was dropped.
fn part(facts: &Facts, disclosure: &Disclosure, row: &Row) -> Answer<Option<Vec<u8>>> {
    let damaged = |why: &str| facts.damaged(row.index, why.to_owned());
    let signed =
        Entry::parse(&row.entry).map_err(|error| facts.damaged(row.index, error.to_string()))?;
    let EntryBody::Data { ticks, .. } = &signed.entry.body else {
        return Ok(None);
    };
    if facts.is_dropped(row.index) || *disclosure == Disclosure::Commitments {
        return Ok(None);
    }
    let Some(payload) = &row.payload else {
        return Err(damaged("its payload is missing and was not declared dropped").into());
    };
    if *disclosure == Disclosure::All {
        return Ok(Some(payload.clone()));
    }
    let config = facts
        .config_at(row.index)
        .ok_or_else(|| damaged("no configuration is in force"))?;
    let part = disclosure.part(&config.config, ticks.stream, payload);
    let part = part.map_err(|error| facts.damaged(row.index, error.to_string()))?;
    Ok(Some(part))
}

/// The length of [`part`], without the payload where the signed length says it.
fn part_bytes(facts: &Facts, disclosure: &Disclosure, row: &Row) -> Answer<u64> {
    if matches!(disclosure, Disclosure::Listed(_)) {
        let part = part(facts, disclosure, row)?;
        return Ok(part.map_or(0, |part| u64::try_from(part.len()).unwrap_or(u64::MAX)));
    }
    let signed =
        Entry::parse(&row.entry).map_err(|error| facts.damaged(row.index, error.to_string()))?;
    Ok(match &signed.entry.body {
        EntryBody::Data { payload, .. }
            if *disclosure == Disclosure::All && !facts.is_dropped(row.index) =>
        {
            payload.bytes
        }
        _ => 0,
    })
}

/// The lengths of `entries.bin` and `payload.bin`, which a tar states before their contents.
pub(super) async fn extent(
    store: &Store,
    facts: &Facts,
    disclosure: &Disclosure,
    indices: std::ops::Range<u64>,
) -> Answer<Extent> {
    let mut extent = Extent {
        entries: 0,
        payload: 0,
        marks: Vec::new(),
    };
    let payloads = matches!(disclosure, Disclosure::Listed(_));
    let mut next = indices.start;
    while next < indices.end {
        extent.marks.push(Mark {
            index: next,
            entries: extent.entries,
            payload: extent.payload,
        });
        let rows = page(store, facts, next..indices.end, payloads).await?;
        for row in &rows {
            let length = u64::try_from(row.entry.len()).unwrap_or(u64::MAX);
            extent.entries = extent.entries.saturating_add(entries_bytes([length]));
            let part = part_bytes(facts, disclosure, row)?;
            extent.payload = extent.payload.saturating_add(part);
            next = row.index + 1;
        }
    }
    Ok(extent)
}

async fn page(
    store: &Store,
    facts: &Facts,
    indices: std::ops::Range<u64>,
    payloads: bool,
) -> Answer<Vec<Row>> {
    let first = indices.start;
    let rows = store.rows(facts.log.log, indices, PAGE, payloads).await?;
    if rows.is_empty() {
        return Err(facts
            .damaged(first, "it is not in the store".to_owned())
            .into());
    }
    Ok(rows)
}

/// What stands before and behind the logs.
#[derive(Debug)]
pub(super) struct Front {
    pub(super) plan: String,
    pub(super) report: Vec<u8>,
    pub(super) entered: Option<Entered>,
}

fn failed(error: &BundleError) -> Problem {
    Problem::internal(&crate::problem::chain_text(error))
}

/// Takes a bundle's bytes for its length and its tag.
struct Measure {
    hash: Context,
    length: u64,
}

impl Write for Measure {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.hash.update(bytes);
        self.length = self
            .length
            .saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The length of the whole bundle, and a tag that names its bytes: the hash of everything but entries
/// and readings, which the roots in there and the disclosure determine.
pub(super) fn measure(front: &Front, logs: &[LogPart]) -> Answer<(u64, String)> {
    let sink = Measure {
        hash: Context::new(&SHA256),
        length: 0,
    };
    let measured = || -> Result<Measure, BundleError> {
        let mut writer = BundleWriter::begin(sink, front.plan.as_bytes(), Some(&front.report))?;
        for log in logs {
            let (entries, payload) = (log.extent.entries, log.extent.payload);
            writer.log(&log.parts)?;
            writer.leave_out_entries(entries)?;
            writer.leave_out_payload(payload)?;
            let length = &mut writer.sink().length;
            *length = length.saturating_add(entries).saturating_add(payload);
        }
        if let Some(entered) = &front.entered {
            writer.project(&entered.parts)?;
            for (hash, bytes) in &entered.inputs {
                writer.leave_out_input(hash, *bytes)?;
                let length = &mut writer.sink().length;
                *length = length.saturating_add(*bytes);
            }
        }
        writer.finish()
    };
    let measure = measured().map_err(|error| failed(&error))?;
    let tag = format!("\"{}\"", hex::encode(measure.hash.finish()));
    Ok((measure.length, tag))
}

/// The part of the bytes that was asked for.
#[derive(Debug)]
struct Window {
    out: Vec<u8>,
    skip: u64,
    left: u64,
}

impl Window {
    /// Passes over bytes that are not even made, as many as it may.
    const fn pass(&mut self, bytes: u64) {
        self.skip = self.skip.saturating_sub(bytes);
    }
}

impl Write for Window {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let begin = self.skip.min(length);
        self.skip -= begin;
        let end = length.min(begin.saturating_add(self.left));
        self.left -= end - begin;
        let at = |at: u64| usize::try_from(at).unwrap_or(bytes.len());
        let piece = bytes.get(at(begin)..at(end)).unwrap_or_default();
        self.out.extend_from_slice(piece);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub(super) type Sender = mpsc::Sender<Result<Bytes, std::io::Error>>;
type Writer = BundleWriter<Window>;

/// Hands on what was written so far; `false` when the reader has what he wanted or went away.
async fn flush(writer: &mut Writer, sender: &Sender) -> bool {
    let window = writer.sink();
    let bytes = std::mem::take(&mut window.out);
    let more = window.left > 0;
    (bytes.is_empty() || sender.send(Ok(Bytes::from(bytes))).await.is_ok()) && more
}

/// Sends the bytes of `window`: those from its start on, up to its end.
pub(super) async fn write(
    store: &Store,
    front: &Front,
    logs: &[LogPart],
    window: std::ops::Range<u64>,
    sender: &Sender,
) -> Answer<()> {
    let sink = Window {
        out: Vec::new(),
        skip: window.start,
        left: window.end.saturating_sub(window.start),
    };
    let mut writer = BundleWriter::begin(sink, front.plan.as_bytes(), Some(&front.report))
        .map_err(|error| failed(&error))?;
    for log in logs {
        writer.log(&log.parts).map_err(|error| failed(&error))?;
        for payloads in [false, true] {
            if payloads {
                writer.end_entries().map_err(|error| failed(&error))?;
            }
            if !flush(&mut writer, sender).await {
                return Ok(());
            }
            let mut next = begin(&mut writer, log, payloads)?;
            while next < log.indices.end {
                let rows = page(store, &log.facts, next..log.indices.end, payloads).await?;
                for row in &rows {
                    next = row.index + 1;
                    put(&mut writer, log, row, payloads)?;
                }
                if !flush(&mut writer, sender).await {
                    return Ok(());
                }
            }
        }
    }
    if let Some(entered) = &front.entered {
        let written = writer.project(&entered.parts);
        written.map_err(|error| failed(&error))?;
        for (hash, _) in &entered.inputs {
            if !flush(&mut writer, sender).await {
                return Ok(());
            }
            let gone = || Problem::internal(&format!("attachment {hash} is gone"));
            let content = store.attachment(entered.at, hash.0).await?;
            let written = writer.input(&content.ok_or_else(gone)?);
            written.map_err(|error| failed(&error))?;
        }
    }
    let rest = writer.finish().map_err(|error| failed(&error))?;
    // A reader that went away needs no end.
    drop(sender.send(Ok(Bytes::from(rest.out))).await);
    Ok(())
}

/// The first entry whose bytes of this file are wanted; what lies before is left out unmade.
fn begin(writer: &mut Writer, log: &LogPart, payloads: bool) -> Answer<u64> {
    let of = |mark: &Mark| if payloads { mark.payload } else { mark.entries };
    let whole = if payloads {
        log.extent.payload
    } else {
        log.extent.entries
    };
    let skip = writer.sink().skip;
    let (index, bytes) = if skip >= whole {
        (log.indices.end, whole)
    } else {
        let before = log.extent.marks.partition_point(|mark| of(mark) <= skip);
        let mark = before
            .checked_sub(1)
            .and_then(|at| log.extent.marks.get(at));
        mark.map_or((log.indices.start, 0), |mark| (mark.index, of(mark)))
    };
    let left_out = if payloads {
        writer.leave_out_payload(bytes)
    } else {
        writer.leave_out_entries(bytes)
    };
    left_out.map_err(|error| failed(&error))?;
    writer.sink().pass(bytes);
    Ok(index)
}

fn put(writer: &mut Writer, log: &LogPart, row: &Row, payloads: bool) -> Answer<()> {
    if !payloads {
        return writer.entry(&row.entry).map_err(|error| failed(&error));
    }
    match part(&log.facts, &log.parts.disclosure, row)? {
        Some(part) => writer.payload(&part).map_err(|error| failed(&error)),
        None => Ok(()),
    }
}
