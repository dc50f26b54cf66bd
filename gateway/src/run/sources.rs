//! What feeds the recorder: samplers that follow the axes, and brokers.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::Work;
use crate::clock::Clock;
use crate::sample::{MessageSource, PolledSource};
use crate::timeline::Axes;

/// Polls one stream at the start of each of its ticks.
pub(super) async fn sample(
    mut source: impl PolledSource,
    mut axes: watch::Receiver<Axes>,
    clock: Arc<dyn Clock>,
    sender: mpsc::Sender<Work>,
) {
    let mut last: Option<u64> = None;
    loop {
        let (generation, axis) = {
            let axes = axes.borrow_and_update();
            (axes.generation, axes.streams.get(&source.stream()).copied())
        };
        let Some(axis) = axis else {
            if axes.changed().await.is_err() {
                return;
            }
            continue;
        };
        let now_ms = clock.monotonic_ms();
        let mut tick = axis.tick_at(now_ms) + 1;
        // After a small correction backwards a tick may come round again: it was sampled.
        if let Some(last) = last.filter(|&last| last >= tick && last - tick < 3) {
            tick = last + 1;
        }
        tokio::select! {
            () = clock.sleep_until_monotonic(axis.start_of(tick)) => {}
            changed = axes.changed() => {
                if changed.is_err() {
                    return;
                }
                continue;
            }
        }
        let left_ms = axis.start_of(tick + 1).saturating_sub(clock.monotonic_ms());
        let deadline = Instant::now() + Duration::from_millis(left_ms);
        let samples = source.poll(tick, deadline).await;
        last = Some(tick);
        if sender
            .send(Work::Tick {
                generation,
                tick,
                samples,
            })
            .await
            .is_err()
        {
            return;
        }
    }
}

/// Hands on what one broker delivers.
pub(super) async fn listen(mut source: impl MessageSource, sender: mpsc::Sender<Work>) {
    while let Some(message) = source.next().await {
        if sender.send(Work::Message(message)).await.is_err() {
            return;
        }
    }
}
