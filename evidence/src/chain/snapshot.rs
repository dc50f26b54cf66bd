//! The chain's state as bytes, so that a receiver continues without reading the log again.
//!
//! A snapshot is trusted like the store that keeps it; it is never part of the evidence.

use std::sync::Arc;

use super::{Chain, StreamState};
use crate::cbor::{CborError, Reader, Writer};
use crate::control::{Control, kind};
use crate::entry::Boot;
use crate::hash::{Hash, Origin};
use crate::key::VerifyingKey;
use crate::measurement::{MeasurementConfig, PointKind};
use crate::merkle::CompactRange;
use crate::segment::ConfigInForce;

/// Why bytes are not a snapshot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// Not the CBOR expected.
    #[error("the snapshot cannot be read: {0}")]
    Cbor(#[from] CborError),
    /// A part that is not valid by itself.
    #[error("the snapshot's {0} is not valid")]
    Part(&'static str),
}

const VERSION: u64 = 1;

fn optional<T>(w: &mut Writer, value: Option<T>, write: impl FnOnce(&mut Writer, T)) {
    match value {
        Some(value) => write(w, value),
        None => {
            w.null();
        }
    }
}

fn read_optional<T>(
    r: &mut Reader<'_>,
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, SnapshotError>,
) -> Result<Option<T>, SnapshotError> {
    if r.null() {
        Ok(None)
    } else {
        read(r).map(Some)
    }
}

fn pairs(w: &mut Writer, ranges: &[(u64, u64)]) {
    w.array(ranges.len());
    for (from, to) in ranges {
        w.array(2).uint(*from).uint(*to);
    }
}

impl Chain {
    /// The state as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.array(16)
            .uint(VERSION)
            .text(self.origin.as_str())
            .uint(self.size());
        w.array(self.range.hashes().len());
        for hash in self.range.hashes() {
            w.byte_string(&hash.0);
        }
        optional(&mut w, self.previous, |w, leaf| {
            w.byte_string(&leaf.0);
        });
        optional(&mut w, self.control, |w, (index, leaf)| {
            w.array(2).uint(index).byte_string(&leaf.0);
        });
        let genesis = self
            .genesis
            .clone()
            .map(|genesis| Control::Genesis(genesis).encode());
        optional(&mut w, genesis, |w, body| {
            w.byte_string(&body);
        });
        optional(&mut w, self.entry_key, |w, key| {
            w.byte_string(key.bytes());
        });
        w.uint(self.key_since).array(self.retired_keys.len());
        for key in &self.retired_keys {
            w.byte_string(key);
        }
        optional(&mut w, self.config.as_ref(), |w, config| {
            w.array(2)
                .uint(config.index)
                .byte_string(&config.config.encode());
        });
        w.array(self.streams.len());
        for (id, state) in &self.streams {
            w.array(5)
                .uint(*id)
                .int(state.shift)
                .uint(state.tick_ms)
                .boolean(state.active);
            optional(&mut w, state.next_tick, |w, tick| {
                w.uint(tick);
            });
        }
        w.array(self.point_kinds.len());
        for (name, kind) in &*self.point_kinds {
            w.array(2).text(name).boolean(*kind == PointKind::Register);
        }
        optional(&mut w, self.boot, |w, boot| {
            w.array(3)
                .uint(boot.counter)
                .byte_string(&boot.id)
                .uint(boot.monotonic_ms);
        });
        w.array(3)
            .boolean(self.clock_lost)
            .boolean(self.boot_start_unseen);
        optional(&mut w, self.unset_since, |w, index| {
            w.uint(index);
        });
        pairs(&mut w, &self.absent);
        w.into_bytes()
    }

    /// The state of a snapshot.
    ///
    /// # Errors
    /// [`SnapshotError`] when the bytes are not one.
    pub fn decode(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let r = &mut Reader::new(bytes);
        r.tuple(16)?;
        if r.uint()? != VERSION {
            return Err(SnapshotError::Part("version"));
        }
        let origin =
            Origin::parse(r.text(1_000)?).map_err(|_invalid| SnapshotError::Part("origin"))?;
        let mut chain = Self::new(origin);
        let size = r.uint()?;
        let hashes = (0..r.array()?)
            .map(|_| r.array_of().map(Hash))
            .collect::<Result<_, _>>()?;
        chain.range = CompactRange::from_parts(size, hashes)
            .map_err(|_invalid| SnapshotError::Part("range"))?;
        chain.previous = read_optional(r, |r| Ok(Hash(r.array_of()?)))?;
        chain.control = read_optional(r, |r| {
            r.tuple(2)?;
            Ok((r.uint()?, Hash(r.array_of()?)))
        })?;
        chain.genesis = read_optional(r, |r| match Control::decode(kind::GENESIS, r.bytes()?) {
            Ok(Control::Genesis(genesis)) => Ok(genesis),
            _ => Err(SnapshotError::Part("genesis")),
        })?;
        chain.entry_key = read_optional(r, |r| {
            VerifyingKey::from_bytes(&r.array_of()?)
                .map_err(|_refused| SnapshotError::Part("entry key"))
        })?;
        chain.key_since = r.uint()?;
        chain.retired_keys = (0..r.array()?)
            .map(|_| r.array_of())
            .collect::<Result<_, _>>()?;
        chain.config = read_optional(r, |r| {
            r.tuple(2)?;
            let index = r.uint()?;
            let config = MeasurementConfig::decode(r.bytes()?)
                .map_err(|_invalid| SnapshotError::Part("configuration"))?;
            Ok(Arc::new(ConfigInForce::new(config, index)))
        })?;
        for _stream in 0..r.array()? {
            r.tuple(5)?;
            let id = r.small()?;
            let state = StreamState {
                shift: r.int()?,
                tick_ms: r.small()?,
                active: r.boolean()?,
                next_tick: read_optional(r, |r| Ok(r.uint()?))?,
            };
            chain.streams.insert(id, state);
        }
        let point_kinds = Arc::make_mut(&mut chain.point_kinds);
        for _point in 0..r.array()? {
            r.tuple(2)?;
            let name = r.text(1_000)?.to_owned();
            point_kinds.insert(
                name,
                if r.boolean()? {
                    PointKind::Register
                } else {
                    PointKind::Instant
                },
            );
        }
        chain.boot = read_optional(r, |r| {
            r.tuple(3)?;
            Ok(Boot {
                counter: r.uint()?,
                id: r.array_of()?,
                monotonic_ms: r.uint()?,
            })
        })?;
        r.tuple(3)?;
        chain.clock_lost = r.boolean()?;
        chain.boot_start_unseen = r.boolean()?;
        chain.unset_since = read_optional(r, |r| Ok(r.uint()?))?;
        for _range in 0..r.array()? {
            r.tuple(2)?;
            chain.absent.push((r.uint()?, r.uint()?));
        }
        r.end()?;
        Ok(chain)
    }
}
