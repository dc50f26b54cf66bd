//! Beginning in the middle of a log: the control entries give keys, configuration and shifts.

use super::{Chain, control_bytes};
use crate::control::Control;
use crate::entry::{Body, Entry};
use crate::hash::Origin;
use crate::merkle::CompactRange;
use crate::rejection::Rejection;

impl Chain {
    /// The state at `range.size()`, rebuilt from all control entries before it (each with the payload
    /// of a long body). The caller proves that these entries are in the tree and that the range leads
    /// to its root; this checks that they form an unbroken chain of pins and keys.
    ///
    /// The streams' positions, the boot and the previous leaf are unknown until entries are applied.
    ///
    /// # Errors
    /// The index of the control entry that breaks the chain, and why.
    pub fn resume<'a>(
        origin: Origin,
        range: CompactRange,
        controls: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> Result<Self, (u64, Rejection)> {
        let mut chain = Self::new(origin);
        let mut next = 0;
        for (bytes, payload) in controls {
            next = chain
                .replay(bytes, payload, next, range.size())
                .map_err(|rejection| (next, rejection))?;
        }
        if chain.genesis.is_none() && range.size() > 0 {
            return Err((0, Rejection::Genesis));
        }
        for state in chain.streams.values_mut() {
            state.next_tick = None;
        }
        chain.boot_start_unseen = range.size() > 0;
        chain.range = range;
        Ok(chain)
    }

    /// Takes one control entry and returns the lowest index the next one may have.
    fn replay(
        &mut self,
        bytes: &[u8],
        payload: Option<&[u8]>,
        least: u64,
        size: u64,
    ) -> Result<u64, Rejection> {
        let signed = Entry::parse(bytes)?;
        let entry = &signed.entry;
        if entry.index < least || entry.index >= size {
            return Err(Rejection::IndexDiffers {
                expected: least,
                found: entry.index,
            });
        }
        if entry.control != self.control {
            return Err(Rejection::ControlPinDiffers);
        }
        let Body::Control { kind, body } = &entry.body else {
            return Err(Rejection::UnknownControl(0));
        };
        self.check_kind(*kind)?;
        let control = Control::decode(*kind, control_bytes(body, payload)?)?;
        let key = match (&control, self.entry_key) {
            (Control::Genesis(genesis), None)
                if entry.index == 0 && genesis.origin == self.origin.as_str() =>
            {
                genesis.entry_key
            }
            (Control::Genesis(_), _) | (_, None) => return Err(Rejection::Genesis),
            (_, Some(key)) => key,
        };
        if signed.key_id != key.key_id() {
            let hex = |id: &[u8; 8]| crate::hash::to_hex(id);
            return Err(Rejection::KeyNotInForce {
                expected: hex(&key.key_id()),
                found: hex(&signed.key_id),
            });
        }
        signed.verify(&self.origin, &key)?;
        // What a full pass would refuse is refused here too, as far as it needs no data entries.
        match &control {
            Control::KeyRevoke { key_id, .. } if !self.retired_keys.contains(key_id) => {
                return Err(Rejection::Revocation);
            }
            Control::Dropped { from, to, .. } if from > to || *to >= entry.index => {
                return Err(Rejection::DroppedRange);
            }
            Control::Clock(event) => self.check_placed(entry.index, &event.placed)?,
            _ => {}
        }
        self.take_control(entry.index, &control);
        self.control = Some((entry.index, signed.leaf()));
        Ok(entry.index + 1)
    }
}
