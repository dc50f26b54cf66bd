//! A report from the evidence in the store: the one way from segments to numbers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use quantification::computation::Computation;
use quantification::period::{Period, utc};
use quantification::plan::Bound;
use quantification::report::Report;
use store::Row;
use tokio::sync::mpsc;

use crate::app::App;
use crate::facts::Facts;
use crate::job::Progress;
use crate::problem::{Answer, Problem};
use crate::walk::{self, Met, Span, Walker};

/// Pages of rows on their way to the thread that computes.
const PAGES_AHEAD: usize = 2;

/// The evidence that the report of a period rests on: one span for each log of the plan, in the
/// order of feeding.
pub(crate) async fn spans(app: &App, bound: &Bound, period: &Period) -> Answer<Vec<Span>> {
    let order = bound.plan.feeding_order();
    let mut spans = Vec::new();
    for planned in &order {
        let log = walk::planned_log(app, planned).await?;
        let mut counts_to = None;
        let mut others = order.iter();
        if let Some(next) = others.find(|next| next.succeeds.as_ref() == Some(&planned.origin)) {
            // The successor's recovery entry names the last entry of its predecessor that counts.
            let successor = walk::planned_log(app, next).await?;
            let facts = Facts::load(&app.store, successor).await?;
            counts_to = facts.continues(planned.origin.as_str());
        }
        let time_ms = period.start_ms()..period.end_ms();
        spans.push(walk::span(&app.store, &log, time_ms, counts_to).await?);
    }
    Ok(spans)
}

/// Why the numbers of a period may still change.
pub(crate) fn provisional(spans: &[Span], period: &Period, now_ms: i64) -> Vec<String> {
    let mut reasons = Vec::new();
    if now_ms < period.end_ms() {
        reasons.push(format!("the period ends at {}", utc(period.end_ms())));
    }
    for span in spans {
        let replaced = span.reaches_ms.is_some_and(|ms| ms < period.end_ms())
            && spans.iter().any(|other| {
                other.log.origin != span.log.origin && other.reaches_ms > span.reaches_ms
            });
        match span.reaches_ms {
            Some(ms) if ms >= period.end_ms() || replaced => {}
            Some(ms) => {
                reasons.push(format!(
                    "log {} holds entries until {}",
                    span.log.origin,
                    utc(ms)
                ));
            }
            None => reasons.push(format!("log {} holds no readings yet", span.log.origin)),
        }
    }
    reasons
}

enum Message {
    Log(Box<Walker>),
    Rows(Vec<Row>),
    End,
}

/// Computes a report from spans. Reading and computing run side by side; a page of readings at a
/// time is in memory, whatever the period's length.
pub(crate) async fn compute(
    app: &App,
    bound: Bound,
    period: Period,
    spans: &[Span],
    reasons: Vec<String>,
    progress: &Arc<Progress>,
) -> Answer<Report> {
    let total = spans.iter().map(|span| span.size - span.first).sum();
    progress.total.store(total, Ordering::Relaxed);
    let anchors: Vec<_> = bound
        .plan
        .feeding_order()
        .iter()
        .map(|log| log.anchor.clone())
        .collect();
    let (sender, receiver) = mpsc::channel(PAGES_AHEAD);
    let counted = Arc::clone(progress);
    let computing =
        tokio::task::spawn_blocking(move || run(&bound, &period, reasons, receiver, &counted));
    let reading = async move {
        for (span, anchor) in spans.iter().zip(anchors) {
            let walker = Walker::begin(&app.store, span, anchor).await?;
            // A send fails when the computing side has ended with an error, which it returns.
            if sender.send(Message::Log(Box::new(walker))).await.is_err() {
                return Ok(());
            }
            let mut next = span.first;
            loop {
                let rows = walk::page(&app.store, span, next).await?;
                let Some(last) = rows.last() else { break };
                next = last.index + 1;
                if sender.send(Message::Rows(rows)).await.is_err() {
                    return Ok(());
                }
            }
            if sender.send(Message::End).await.is_err() {
                return Ok(());
            }
        }
        Ok::<_, Problem>(())
    };
    let read = reading.await;
    let computed = computing.await.map_err(|error| Problem::internal(&error))?;
    read.and(computed)
}

fn run(
    bound: &Bound,
    period: &Period,
    reasons: Vec<String>,
    mut messages: mpsc::Receiver<Message>,
    progress: &Progress,
) -> Answer<Report> {
    let refused =
        |error: quantification::computation::ComputationError| Problem::refused(error.to_string());
    let mut computation = Computation::new(bound, period);
    for reason in reasons {
        computation.provisional(reason);
    }
    let mut walker: Option<Box<Walker>> = None;
    let mut each = |origin: &str, index: u64, leaf: &evidence::hash::Hash, met: Met<'_>| {
        match met {
            Met::Segment(segment) => computation.segment(origin, index, leaf, segment),
            Met::Gap(stream, from, to, reason) => {
                computation.gap(origin, index, stream, from, to, reason)
            }
        }
        .map_err(refused)
    };
    while let Some(message) = messages.blocking_recv() {
        match (message, &mut walker) {
            (Message::Log(next), _) => walker = Some(next),
            (Message::Rows(rows), Some(walker)) => {
                walker.take(&rows, &mut each)?;
                let count = u64::try_from(rows.len()).unwrap_or(0);
                progress.done.fetch_add(count, Ordering::Relaxed);
            }
            (Message::End, Some(walker)) => walker.finish()?,
            (Message::Rows(_) | Message::End, None) => {}
        }
    }
    computation.finish().map_err(refused)
}
