//! What a reading means: the configuration entry it was made under, proven like a reading.

use std::sync::Arc;

use super::{Raw, Reading, SpotError, SpotProof, judge};
use crate::chunk::View;
use crate::control::Control;
use crate::entry::{Body, ControlBody, Entry};
use crate::hash::{Hash, leaf_hash};
use crate::merkle::verify_inclusion;
use crate::note::{Note, Vkey};
use crate::policy::Policy;
use crate::quality::Quality;
use crate::rejection::Rejection;
use crate::segment::{ConfigInForce, column};

/// A configuration entry with its place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableProof {
    /// The control entry's bytes.
    pub entry: Vec<u8>,
    /// The body, when it is too long for the entry; else empty.
    pub body: Vec<u8>,
    /// From the entry to the checkpoint's root.
    pub outer: Vec<Hash>,
    /// The checkpoint with its cosignatures.
    pub checkpoint: Note,
}

/// A reading in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meaning {
    /// The point's name.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// The value is `value` times `10^-decimals`.
    pub decimals: u8,
    /// The value; none for texts, for what is not good, and for a point whose scale factor is another
    /// point's reading.
    pub value: Option<i64>,
    /// What is said of it, by the sealed record or by its words.
    pub quality: Quality,
    /// The stream's tick length, milliseconds.
    pub tick_ms: u32,
    /// Whether the reading's entry names this very table as the latest control entry before it. If
    /// not, other control entries lie between, and nothing here shows that none of them is a table.
    pub pinned: bool,
    /// Whether the value needs the reading of another point: its scale factor.
    pub scaled_by: Option<String>,
}

impl TableProof {
    /// Checks the proof; gives the table and the leaf hash of its entry.
    ///
    /// # Errors
    /// [`SpotError`] names the first link that does not hold.
    pub fn verify(
        &self,
        anchor: &Vkey,
        policy: &Policy,
    ) -> Result<(Arc<ConfigInForce>, Hash), SpotError> {
        let (checkpoint, _) = judge(&self.checkpoint, anchor, policy)?;
        let entry = Entry::parse(&self.entry)?.entry;
        let leaf = leaf_hash(&self.entry);
        let (size, root) = (checkpoint.size, &checkpoint.root);
        verify_inclusion(&leaf, entry.index, size, &self.outer, root).map_err(SpotError::Outer)?;
        let Body::Control { kind, body } = &entry.body else {
            return Err(SpotError::Table("it is no control entry".to_owned()));
        };
        let bytes = match body {
            ControlBody::Inline(bytes) if self.body.is_empty() => bytes,
            ControlBody::Payload(signed) if leaf_hash(&self.body) == signed.root => &self.body,
            ControlBody::Inline(_) => return Err(Rejection::PayloadUnexpected.into()),
            ControlBody::Payload(_) => return Err(Rejection::PayloadRootDiffers.into()),
        };
        match Control::decode(*kind, bytes)? {
            Control::Config(config) => {
                Ok((Arc::new(ConfigInForce::new(config, entry.index)), leaf))
            }
            _ => Err(SpotError::Table("it seals no table of points".to_owned())),
        }
    }
}

impl SpotProof {
    /// Reads a proven sample with a proven table.
    ///
    /// # Errors
    /// [`SpotError::Table`] when the table cannot be the reading's, [`SpotError::Entry`] when the
    /// chunk does not fit it.
    pub fn meaning(
        &self,
        reading: &Reading,
        config: &ConfigInForce,
        leaf: &Hash,
    ) -> Result<Meaning, SpotError> {
        if config.index >= reading.index {
            let problem = format!(
                "the table of entry {} came after the reading in entry {}",
                config.index, reading.index
            );
            return Err(SpotError::Table(problem));
        }
        let entry = Entry::parse(&self.entry)?.entry;
        let (Body::Data { ticks, .. }, Some(point), Some(stream)) = (
            &entry.body,
            config.config.points.get(usize::from(reading.point)),
            config.config.stream(reading.stream),
        ) else {
            let problem = format!("the table has no point {} of that stream", reading.point);
            return Err(SpotError::Table(problem));
        };
        if point.stream != reading.stream {
            let problem = format!("point `{}` is of another stream", point.name);
            return Err(SpotError::Table(problem));
        }
        let (view, _) = View::parse(&self.chunk)?;
        let decoded = column(config, ticks, stream.tick_ms, Some(reading.point), &view)?;
        let at = usize::from(self.sample);
        let quality = decoded.quality(at);
        let factor = point.scale_from.and_then(|factor| {
            let point = config.config.points.get(usize::from(factor))?;
            Some(point.name.clone())
        });
        let is_number = reading.raw != Raw::Nothing && quality == Quality::GOOD;
        let value = decoded
            .values
            .get(at)
            .copied()
            .filter(|_| is_number && factor.is_none());
        Ok(Meaning {
            name: point.name.clone(),
            unit: point.unit.clone(),
            decimals: point.decimals,
            value,
            quality,
            tick_ms: stream.tick_ms,
            pinned: reading.control == Some((config.index, *leaf)),
            scaled_by: factor,
        })
    }
}
