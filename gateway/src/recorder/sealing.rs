//! Entries on their way into the log: room is made, the day's key is changed first.

use evidence::control::Control;
use evidence::entry::{Body, ClockReading};

use super::{Recorder, RecorderError, cut_text, unset};
use crate::journal::Journal;
use crate::log::Sealed;

/// What is to be sealed next.
enum Item<'a> {
    Control(&'a Control),
    Entry {
        body: Body,
        payload: Option<Vec<u8>>,
        forget: Option<(u16, u64)>,
    },
}

impl Recorder {
    /// Seals a control entry; `false` when there is no room.
    pub(super) async fn control(
        &mut self,
        control: &Control,
        now: ClockReading,
    ) -> Result<bool, RecorderError> {
        Ok(self.seal(&Item::Control(control), now).await?.is_some())
    }

    /// Seals a statement that does not come from the samples, and returns its index and time; `None`
    /// while there is no room.
    ///
    /// The caller answers for the body: one that the log's own rules refuse is an error like any other.
    ///
    /// # Errors
    ///
    /// [`RecorderError`]: stop using this recorder and start again.
    pub async fn seal_control(
        &mut self,
        control: &Control,
    ) -> Result<Option<(u64, u64)>, RecorderError> {
        if self.stalled.is_some() {
            return Ok(None);
        }
        let now = self.stamp();
        let index = self.seal(&Item::Control(control), now).await?;
        Ok(index.map(|index| (index, now.unix_ms)))
    }

    /// Seals a data or gap entry; `None` when there is no room.
    pub(super) async fn append(
        &mut self,
        body: Body,
        payload: Option<Vec<u8>>,
        now: ClockReading,
        forget: Option<(u16, u64)>,
    ) -> Result<Option<u64>, RecorderError> {
        if !self.has_room(payload.as_ref().map_or(0, Vec::len))? && !self.make_room().await? {
            self.stall();
            return Ok(None);
        }
        self.seal(
            &Item::Entry {
                body,
                payload,
                forget,
            },
            now,
        )
        .await
    }

    /// Seals one entry, makes room once if there is none, and returns its index.
    async fn seal(
        &mut self,
        item: &Item<'_>,
        now: ClockReading,
    ) -> Result<Option<u64>, RecorderError> {
        let mut made_room = false;
        loop {
            match self.try_seal(item, now).await {
                Ok(index) => return Ok(Some(index)),
                Err(RecorderError::Log(error)) if error.is_full() => {
                    if made_room || !self.make_room().await? {
                        self.stall();
                        return Ok(None);
                    }
                    made_room = true;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn try_seal(&mut self, item: &Item<'_>, now: ClockReading) -> Result<u64, RecorderError> {
        let stolen = match item {
            // Only a key that was replaced can be revoked, and a stolen one must not sign on.
            Item::Control(Control::KeyRevoke { key_id, .. }) => {
                let in_force = self.log.chain().entry_key();
                in_force.is_some_and(|key| key.key_id() == *key_id)
            }
            _ => false,
        };
        if stolen || self.log.rotation_due(&now) {
            let sealed = self.log.rotate(journal(&mut self.journal)?).await?;
            self.take_sealed(sealed).await?;
        }
        let journal = journal(&mut self.journal)?;
        let sealed = match item {
            Item::Control(control) => self.log.control(journal, control, now).await?,
            Item::Entry {
                body,
                payload,
                forget,
            } => {
                self.log
                    .append(journal, body.clone(), payload.clone(), now, *forget)
                    .await?
            }
        };
        let index = sealed.index;
        self.take_sealed(sealed).await?;
        Ok(index)
    }

    pub(super) async fn take_sealed(&mut self, sealed: Sealed) -> Result<(), RecorderError> {
        match sealed.journal_failed {
            None => Ok(()),
            Some(error) => self.replace_journal(&error).await,
        }
    }

    /// Files that were set aside are named in the log.
    pub(super) async fn annotate_news(&mut self) -> Result<(), RecorderError> {
        for text in self.log.take_news() {
            tracing::error!("{text}");
            let size = self.log.chain().size();
            let to = size.saturating_sub(1);
            let text = cut_text(&text, 1_000);
            let annotation = Control::Annotation {
                from: to,
                to,
                text,
                person: None,
            };
            self.control(&annotation, self.stamp()).await?;
        }
        Ok(())
    }

    /// The clock as an entry states it: unset until a clock event has given the axes their time, even
    /// if the time arrived a moment ago.
    pub(super) fn stamp(&self) -> ClockReading {
        let now = self.clock.now();
        if self.timeline.is_trusted() {
            now
        } else {
            unset(now)
        }
    }
}

/// The journal, which is absent only after it could not be replaced.
fn journal(journal: &mut Option<Journal>) -> Result<&mut Journal, RecorderError> {
    journal.as_mut().ok_or_else(|| {
        RecorderError::Files(std::io::Error::other(
            "the journal could not be replaced earlier",
        ))
    })
}
