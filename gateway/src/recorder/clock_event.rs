//! Time arrives, or steps: the open segments are closed and the log says where the axes stand now.

use evidence::control::{ClockEvent, Control, Placed};
use evidence::entry::ClockReading;

use super::{OpenSegment, Recorder, RecorderError};
use crate::timeline::{Observation, Timeline};

/// A data or gap entry of this run that was sealed without a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unplaced {
    pub(super) stream: u16,
    pub(super) index: u64,
    /// The shift under which its ticks were taken, for samples that an earlier run took under a
    /// trusted clock; `None` for ticks of this run's axis.
    pub(super) shift: Option<i64>,
}

impl Recorder {
    /// Follows corrections, and seals an event for what is more.
    pub(super) async fn look_at_clock(&mut self) -> Result<(), RecorderError> {
        let now = self.clock.now();
        match self.timeline.observe(&now, self.clock.monotonic_ms()) {
            Observation::Steady => Ok(()),
            Observation::Corrected(moved_ms) => {
                tracing::info!(moved_ms, "The clock was corrected and the ticks follow");
                self.publish_axes();
                Ok(())
            }
            Observation::FirstTime => {
                tracing::info!(status = now.status.name(), "Time is known");
                self.clock_event(now, "time is known").await
            }
            Observation::Stepped(moved_ms) => {
                tracing::warn!(moved_ms, "The clock stepped");
                let note = format!("the clock stepped by {moved_ms} ms");
                self.clock_event(now, &note).await
            }
        }
    }

    pub(super) fn publish_axes(&self) {
        self.axes.send_replace(self.timeline.axes().clone());
    }

    /// Closes all segments, seals the event, and puts every stream on its new place.
    ///
    /// If there is no room, nothing changes and the next look at the clock tries again.
    pub(super) async fn clock_event(
        &mut self,
        now: ClockReading,
        note: &str,
    ) -> Result<(), RecorderError> {
        if self.stalled.is_some() {
            return Ok(());
        }
        let monotonic_ms = self.clock.monotonic_ms();
        for stream in self.open.keys().copied().collect::<Vec<_>>() {
            let Some(axis) = self.timeline.axis(stream).copied() else {
                continue;
            };
            if self.open.get(&stream).is_some_and(|open| open.messages) {
                self.cover(stream, axis.tick_at(monotonic_ms)).await?;
            }
            let (first, end) = self.open.get(&stream).map_or((0, 0), OpenSegment::complete);
            if end > first && !self.close_segment(stream, end).await? {
                return Ok(());
            }
        }
        let event = self.event_from(now, monotonic_ms, note);
        let shifts = event.shifts.clone();
        if !self.control(&Control::Clock(event), now).await? {
            return Ok(());
        }
        self.unplaced.clear();
        self.timeline.trust(&now, monotonic_ms);
        self.place_streams(&shifts);
        Ok(())
    }

    /// The event that puts every active stream's next tick at the first whole tick from now on.
    pub(super) fn event_from(
        &self,
        now: ClockReading,
        monotonic_ms: u64,
        note: &str,
    ) -> ClockEvent {
        let mut shifts = Vec::new();
        let mut placed = Vec::new();
        for (stream, state) in self.log.chain().streams().filter(|(_, state)| state.active) {
            let next = state.next_tick.unwrap_or(0);
            let mut shift = Timeline::shift_from_now(next, state.tick_ms, &now);
            let this_axis = self
                .timeline
                .axis(stream)
                .filter(|axis| axis.shift.is_none())
                .map(|axis| Timeline::shift_of_unset(axis, &now, monotonic_ms));
            if let Some(placing) = this_axis {
                // What is placed must not reach into what follows.
                shift = shift.max(placing);
            }
            placed.extend(self.placements(stream, this_axis));
            shifts.push((stream, shift));
        }
        let note = note.to_owned();
        ClockEvent {
            source: now.status,
            error_ms: now.error_ms,
            shifts,
            placed,
            note,
        }
    }

    /// Index ranges of a stream's unplaced entries with the same shift. Entries of other streams in
    /// between do not matter: a range speaks of one stream.
    fn placements(&self, stream: u16, this_axis: Option<i64>) -> Vec<Placed> {
        let mut placed: Vec<Placed> = Vec::new();
        for entry in self.unplaced.iter().filter(|entry| entry.stream == stream) {
            let Some(shift) = entry.shift.or(this_axis) else {
                continue;
            };
            match placed.last_mut() {
                Some(last) if last.shift == shift => last.to = entry.index,
                _ => placed.push(Placed {
                    stream,
                    from: entry.index,
                    to: entry.index,
                    shift,
                }),
            }
        }
        placed
    }

    /// Puts streams on wall time and begins their segments at the log's next ticks.
    pub(super) fn place_streams(&mut self, shifts: &[(u16, i64)]) {
        for &(stream, shift) in shifts {
            let Some(state) = self.log.chain().stream(stream).copied() else {
                continue;
            };
            self.timeline.place(stream, state.tick_ms, shift);
            self.begin_segment(stream, state.next_tick.unwrap_or(0));
        }
        self.publish_axes();
    }
}
