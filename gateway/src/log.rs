//! Sealing: an entry is built, signed, checked, committed, read back, checked again, and released.
//!
//! The gateway checks itself with the same state machine as the collector and the verifier
//! (`evidence::chain`), once in memory before the commit and once over what came back from the file.
//! Only then is the new size published to whoever sends.

use std::sync::Arc;

use evidence::chain::Chain;
use evidence::checkpoint::{Checkpoint, sign_checkpoint};
use evidence::control::Control;
use evidence::entry::{
    Body, Boot, ClockReading, ClockStatus, ControlBody, Entry, Freshness, MOST_INLINE_BODY,
    PayloadRef,
};
use evidence::hash::{Hash, leaf_hash};
use evidence::{Rejection, control};
use thiserror::Error;
use tokio::sync::watch;

use crate::buffer::{Buffer, BufferError, Head, Row};
use crate::clock::{Clock, UtcDay};
use crate::faults::{Faults, Step, Strike};
use crate::identity::{Identity, IdentityError};
use crate::journal::{HeadNote, Journal, JournalError};

/// Why nothing was sealed, or it is not known whether it was.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LogError {
    /// The gateway's own check refused what it was about to sign: a defect of this program.
    #[error("entry {index} does not pass our own check: {rejection}; nothing was written")]
    OwnCheck {
        /// Where it would have stood.
        index: u64,
        /// The rule.
        rejection: Rejection,
    },
    /// What came back from the file does not pass the check. It was not released.
    #[error("entry {index} read back from the file does not verify: {why}; it was not released")]
    ReadBack {
        /// Where it stands.
        index: u64,
        /// The rule.
        why: String,
    },
    /// The day file refused.
    #[error(transparent)]
    Buffer(#[from] BufferError),
    /// The key files refused.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// What was sealed.
#[derive(Debug)]
pub struct Sealed {
    /// Position in the log.
    pub index: u64,
    /// Leaf hash.
    pub leaf: Hash,
    /// The journal did not take the note: it has to be replaced. The entry is safe.
    pub journal_failed: Option<JournalError>,
}

/// The log of this gateway, ready to grow. Owned by the recorder.
#[derive(Debug)]
pub struct Log {
    identity: Identity,
    chain: Chain,
    buffer: Buffer,
    /// This run of the program. Its counter is the last sealed one plus one, so that a run which
    /// seals nothing leaves no hole.
    boot: (u64, [u8; 8]),
    clock: Arc<dyn Clock>,
    faults: Arc<dyn Faults>,
    freshness: Option<Freshness>,
    /// The UTC day on which the entry key in force began, by a trusted clock; none when nobody knows.
    key_day: Option<UtcDay>,
    released: watch::Sender<u64>,
    news: Vec<String>,
}

impl Log {
    /// Takes over a checked chain and its buffer. Everything up to the head counts as released: it
    /// may have left in an earlier run.
    #[must_use]
    pub fn new(
        identity: Identity,
        chain: Chain,
        buffer: Buffer,
        boot_id: [u8; 8],
        clock: Arc<dyn Clock>,
        faults: Arc<dyn Faults>,
    ) -> Self {
        let counter = chain.boot().map_or(1, |boot| boot.counter + 1);
        let released = watch::Sender::new(chain.size());
        let boot = (counter, boot_id);
        Self {
            identity,
            chain,
            buffer,
            boot,
            clock,
            faults,
            freshness: None,
            key_day: None,
            released,
            news: Vec::new(),
        }
    }

    /// The state of the log.
    #[must_use]
    pub const fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The files of the log.
    #[must_use]
    pub const fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// The files of the log, for retention.
    pub const fn buffer_mut(&mut self) -> &mut Buffer {
        &mut self.buffer
    }

    /// The keys.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The number of entries that may leave the device.
    #[must_use]
    pub fn released(&self) -> watch::Receiver<u64> {
        self.released.subscribe()
    }

    /// Pins a statement in the entries from now on. The caller has verified it.
    pub const fn set_freshness(&mut self, freshness: Freshness) {
        self.freshness = Some(freshness);
    }

    /// Sentences about files that were set aside since the last call; to be sealed as annotations.
    pub fn take_news(&mut self) -> Vec<String> {
        std::mem::take(&mut self.news)
    }

    /// Finds out on which day the entry key in force began: the day of the entry that named it.
    ///
    /// Without that entry, or if the clock was unset then, the day is unknown and the key is replaced as
    /// soon as the time is known.
    ///
    /// # Errors
    ///
    /// [`LogError`] when the file that holds the entry cannot be read.
    pub async fn find_key_day(&mut self) -> Result<(), LogError> {
        let named_by = self.chain.key_since().saturating_sub(1);
        let row = match self.buffer.reader().row(named_by).await {
            Ok(row) => row,
            Err(BufferError::Missing { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        self.key_day = row
            .and_then(|row| {
                Entry::parse(&row.entry)
                    .ok()
                    .map(|signed| signed.entry.clock)
            })
            .filter(|clock| clock.status != ClockStatus::Unset)
            .map(|clock| UtcDay::of(clock.unix_ms));
        Ok(())
    }

    /// Whether the first entry of a UTC day is about to be sealed with a trusted clock: the entry
    /// key is then replaced first. Late if the device was off or its clock unset.
    #[must_use]
    pub fn rotation_due(&self, now: &ClockReading) -> bool {
        self.chain.size() > 0
            && now.status != ClockStatus::Unset
            && self.key_day != Some(UtcDay::of(now.unix_ms))
    }

    /// Replaces the entry key: the new one is written, named in the log by the old one, and then
    /// takes its place; the old seed is erased.
    ///
    /// # Errors
    ///
    /// [`LogError`]; the next start finishes or undoes what was begun.
    pub async fn rotate(&mut self, journal: &mut Journal) -> Result<Sealed, LogError> {
        let next = self.struck(Step::KeyPrepared, |log| log.identity.prepare_next())?;
        let now = self.clock.now();
        let sealed = self
            .control(journal, &Control::KeyAdd(next.public()), now)
            .await?;
        self.struck(Step::KeySealed, |log| log.identity.erase_replaced())?;
        self.struck(Step::KeyErased, |log| log.identity.take_next(next))?;
        self.key_day = Some(UtcDay::of(now.unix_ms)).filter(|_| now.status != ClockStatus::Unset);
        Ok(sealed)
    }

    /// Does one step of an exchange of keys, as far as the plan of faults lets it.
    fn struck<T>(
        &mut self,
        step: Step,
        work: impl FnOnce(&mut Self) -> Result<T, IdentityError>,
    ) -> Result<T, LogError> {
        let failed = || {
            IdentityError::Files(std::io::Error::other(format!(
                "planned failure at {step:?}"
            )))
        };
        match self.faults.strike(step) {
            Strike::Nothing => Ok(work(self)?),
            Strike::Fail => Err(failed().into()),
            Strike::FailButPersist => work(self)
                .map_err(LogError::from)
                .and_then(|_done| Err(failed().into())),
            Strike::Die => work(self)
                .map_err(LogError::from)
                .and_then(|_done| Err(LogError::Buffer(BufferError::Died(step)))),
        }
    }

    /// Seals a control entry; a body over 8 KiB becomes its payload.
    ///
    /// # Errors
    ///
    /// [`LogError`].
    pub async fn control(
        &mut self,
        journal: &mut Journal,
        control: &Control,
        now: ClockReading,
    ) -> Result<Sealed, LogError> {
        let kind = control.kind();
        if matches!(control, Control::Genesis(_)) && now.status != ClockStatus::Unset {
            self.key_day = Some(UtcDay::of(now.unix_ms));
        }
        let bytes = control.encode();
        if bytes.len() <= MOST_INLINE_BODY {
            let body = Body::Control {
                kind,
                body: ControlBody::Inline(bytes),
            };
            return self.append(journal, body, None, now, None).await;
        }
        let signed = PayloadRef {
            root: leaf_hash(&bytes),
            chunks: 1,
            bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        };
        let body = Body::Control {
            kind,
            body: ControlBody::Payload(signed),
        };
        self.append(journal, body, Some(bytes), now, None).await
    }

    /// Seals one entry. `forget` names a stream and the tick before which its journal rows are now in
    /// the log.
    ///
    /// The steps are those of the format's "write path and recovery"; at each of them the process may
    /// die and the next start finds either the whole entry or the samples in the journal.
    ///
    /// # Errors
    ///
    /// [`LogError`]. After [`BufferError::Full`] nothing was written; after any other error the
    /// caller stops using this value and starts again from the files.
    pub async fn append(
        &mut self,
        journal: &mut Journal,
        body: Body,
        payload: Option<Vec<u8>>,
        now: ClockReading,
        forget: Option<(u16, u64)>,
    ) -> Result<Sealed, LogError> {
        let index = self.chain.size();
        let entry = self.entry(index, body, now);
        let bytes = entry.sign(&self.identity.origin, &self.identity.entry_key);
        let leaf = leaf_hash(&bytes);

        let own_check = |rejection| LogError::OwnCheck { index, rejection };
        let mut next = self.chain.clone();
        next.admit(&bytes, Some(payload.as_deref().unwrap_or_default()))
            .map_err(own_check)?;
        let checkpoint = Checkpoint {
            origin: self.identity.origin.clone(),
            size: next.size(),
            root: next.root(),
        };
        let note = sign_checkpoint(&checkpoint, &self.identity.log_key);
        let root = next.root();
        let row = Row {
            index,
            entry: bytes,
            payload,
            checkpoint: note.to_bytes(),
            range: next.range().clone(),
        };
        // It may hold a new table of thousands of points, and what is read back makes another one.
        drop(next);
        self.die_if(Step::Sealed)?;

        let previous = self.chain.previous().copied();
        let head = previous.map_or(Head::EMPTY, |leaf| Head { size: index, leaf });
        // The clock at this moment, not `now`: a recovered segment names the state it was taken in.
        let day = UtcDay::of(self.clock.now().unix_ms);
        let chain = &self.chain;
        let snapshot = || chain.encode();
        let (stored, said) = self.buffer.append(&row, head, leaf, day, &snapshot).await?;
        self.news.extend(said);
        drop(row);
        self.verify(&stored, root)?;
        let head = HeadNote {
            size: index + 1,
            leaf,
        };
        self.die_if(Step::JournalNote)?;
        let journal_failed = journal.sealed(head, forget).await.err();
        self.die_if(Step::Release)?;
        self.released.send_replace(index + 1);
        Ok(Sealed {
            index,
            leaf,
            journal_failed,
        })
    }

    /// Checks what came back from the file completely and takes it in.
    fn verify(&mut self, stored: &Row, root: Hash) -> Result<(), LogError> {
        let failed = |why: String| LogError::ReadBack {
            index: stored.index,
            why,
        };
        self.chain
            .admit(
                &stored.entry,
                Some(stored.payload.as_deref().unwrap_or_default()),
            )
            .map_err(|rejection| failed(rejection.to_string()))?;
        let note = evidence::note::Note::parse(&stored.checkpoint)
            .map_err(|error| failed(error.to_string()))?;
        let checkpoint = Checkpoint::open(&note, &self.identity.vkey())
            .map_err(|error| failed(error.to_string()))?;
        let same = checkpoint.size == self.chain.size()
            && checkpoint.root == self.chain.root()
            && self.chain.root() == root
            && stored.range == *self.chain.range();
        if same {
            Ok(())
        } else {
            Err(failed(String::from("the checkpoint is of another tree")))
        }
    }

    fn entry(&self, index: u64, body: Body, clock: ClockReading) -> Entry {
        let (counter, id) = self.boot;
        Entry {
            index,
            previous: self.chain.previous().copied().unwrap_or(Hash([0; 32])),
            control: self.chain.control_pin(),
            freshness: self.freshness.filter(|_| index > 0),
            boot: Boot {
                counter,
                id,
                monotonic_ms: self.clock.monotonic_ms(),
            },
            clock,
            body,
        }
    }

    /// Closes the newest file in order.
    ///
    /// # Errors
    ///
    /// [`BufferError`].
    pub async fn close(self) -> Result<(), BufferError> {
        self.buffer.close().await
    }

    fn die_if(&self, step: Step) -> Result<(), LogError> {
        if self.faults.strike(step) == Strike::Die {
            Err(LogError::Buffer(BufferError::Died(step)))
        } else {
            Ok(())
        }
    }
}

impl LogError {
    /// Whether nothing was written for want of room.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        matches!(self, Self::Buffer(BufferError::Full { .. }))
    }
}

/// The genesis entry of a log.
#[must_use]
pub fn genesis(identity: &Identity, software: &str) -> Control {
    Control::Genesis(control::Genesis {
        origin: identity.origin.as_str().to_owned(),
        log_key: identity.log_key.public(),
        entry_key: identity.entry_key.public(),
        software: software.to_owned(),
    })
}
