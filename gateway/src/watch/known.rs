//! What is known of one device: the sum of the statements about it.

use evidence::control::{DeviceEvent, DeviceReading, DeviceRole};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Known {
    /// What values are compared with: seen first, or confirmed by a person.
    pub accepted: Vec<DeviceReading>,
    /// What was read last.
    pub seen: Vec<DeviceReading>,
    /// Another device, and nobody has confirmed it yet.
    pub exchanged: bool,
    /// Another setting, and nobody has confirmed it yet.
    pub changed: bool,
    /// Earlier statements may be missing: nobody can say whether this is the same device.
    pub doubted: bool,
}

impl Known {
    /// What readings say that is not known yet; `None` when they say the same as before.
    #[must_use]
    pub fn news(&self, readings: &[DeviceReading]) -> Option<DeviceEvent> {
        let differs = |role| {
            readings.iter().any(|now| {
                // A register that was not watched for a while is compared with what it was before: the
                // device may have been exchanged meanwhile.
                let before = find(&self.seen, now).or_else(|| find(&self.accepted, now));
                now.role == role && before.is_some_and(|before| !same(before, now))
            })
        };
        if differs(DeviceRole::Identity) {
            return Some(DeviceEvent::Exchanged);
        }
        if differs(DeviceRole::Setting) {
            return Some(DeviceEvent::Changed);
        }
        let as_before = readings.len() == self.seen.len()
            && readings.iter().all(|now| find(&self.seen, now).is_some());
        (!as_before).then_some(DeviceEvent::Seen)
    }

    /// Takes a statement in. The order of the log is the order of the calls.
    pub fn apply(&mut self, event: &DeviceEvent, readings: &[DeviceReading]) {
        match event {
            DeviceEvent::Seen => {
                // What was refused tells nothing: a person has to accept that the device has it not.
                let first = readings
                    .iter()
                    .filter(|now| !now.words.is_empty() && find(&self.accepted, now).is_none());
                let first: Vec<DeviceReading> = first.cloned().collect();
                self.accepted.extend(first);
            }
            DeviceEvent::Exchanged => self.exchanged = true,
            DeviceEvent::Changed => self.changed = true,
            DeviceEvent::Confirmed { .. } => {
                self.accepted = readings.to_vec();
                // A device that changed once more since is not what was confirmed.
                if self.is(readings) {
                    (self.exchanged, self.changed, self.doubted) = (false, false, false);
                }
                return;
            }
        }
        self.seen = readings.to_vec();
    }

    /// Whether a person has to say something before values count.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.exchanged || self.changed || self.doubted || self.is_unread()
    }

    /// Whether these are the readings of what is there now.
    #[must_use]
    pub fn is(&self, readings: &[DeviceReading]) -> bool {
        readings.len() == self.seen.len()
            && readings
                .iter()
                .all(|reading| find(&self.seen, reading).is_some_and(|seen| same(seen, reading)))
    }

    /// What was read and is not what is accepted, with the accepted reading if there is one.
    pub fn unaccepted(&self) -> impl Iterator<Item = (&DeviceReading, Option<&DeviceReading>)> {
        self.seen.iter().filter_map(|seen| {
            let accepted = find(&self.accepted, seen);
            let agrees = accepted.is_some_and(|accepted| same(accepted, seen));
            (!agrees).then_some((seen, accepted))
        })
    }

    /// Whether something was never read, and nobody accepted that.
    #[must_use]
    pub fn is_unread(&self) -> bool {
        self.seen
            .iter()
            .any(|seen| seen.words.is_empty() && find(&self.accepted, seen).is_none())
    }
}

/// Registers tell, not their reading: a corrected decimal is no other device.
fn same(left: &DeviceReading, right: &DeviceReading) -> bool {
    left.words == right.words && (!left.words.is_empty() || left.text == right.text)
}

fn find<'r>(list: &'r [DeviceReading], like: &DeviceReading) -> Option<&'r DeviceReading> {
    list.iter()
        .find(|reading| reading.role == like.role && reading.name == like.name)
}

#[cfg(test)]
pub(super) mod tests {
    use evidence::control::{DeviceEvent, DeviceReading, DeviceRole};

    use super::Known;

    pub(in crate::watch) fn reading(role: DeviceRole, name: &str, word: u16) -> DeviceReading {
        DeviceReading {
            role,
            name: name.to_owned(),
            text: word.to_string(),
            words: vec![word],
        }
    }

    pub(in crate::watch) fn meter(serial: u16, ratio: u16) -> Vec<DeviceReading> {
        vec![
            reading(DeviceRole::Identity, "serial_number", serial),
            reading(DeviceRole::Setting, "ct_primary", ratio),
        ]
    }

    pub(in crate::watch) fn confirmed() -> DeviceEvent {
        DeviceEvent::Confirmed {
            person: "R. Sato".to_owned(),
            reason: "sheet 12".to_owned(),
        }
    }

    fn read(known: &mut Known, readings: &[DeviceReading]) -> Option<DeviceEvent> {
        let news = known.news(readings);
        if let Some(event) = &news {
            known.apply(event, readings);
        }
        news
    }

    #[test]
    fn a_device_is_taken_as_it_is_first_seen_and_every_difference_waits_for_a_person() {
        let mut known = Known::default();
        assert_eq!(read(&mut known, &meter(1, 100)), Some(DeviceEvent::Seen));
        assert_eq!(read(&mut known, &meter(1, 100)), None);
        assert_eq!(read(&mut known, &meter(1, 200)), Some(DeviceEvent::Changed));
        assert!(known.changed && !known.exchanged);
        // Set back by the same hand: it was different in between, and nobody has said why.
        assert_eq!(read(&mut known, &meter(1, 100)), Some(DeviceEvent::Changed));
        assert!(known.changed);
        assert_eq!(
            read(&mut known, &meter(2, 100)),
            Some(DeviceEvent::Exchanged)
        );
        known.apply(&confirmed(), &meter(2, 100));
        assert!(!known.exchanged && !known.changed);
        assert_eq!(read(&mut known, &meter(2, 100)), None);
    }

    #[test]
    fn a_confirmation_of_what_is_no_longer_there_confirms_nothing() {
        let mut known = Known::default();
        read(&mut known, &meter(1, 100));
        read(&mut known, &meter(2, 100));
        read(&mut known, &meter(3, 100));
        known.apply(&confirmed(), &meter(2, 100));
        assert!(known.exchanged);
    }

    #[test]
    fn a_register_that_is_watched_from_now_on_is_no_change_but_clears_none_either() {
        let mut known = Known::default();
        read(&mut known, &meter(1, 100));
        read(&mut known, &meter(1, 200));
        let mut more = meter(1, 200);
        more.push(reading(DeviceRole::Setting, "wiring", 3));
        assert_eq!(read(&mut known, &more), Some(DeviceEvent::Seen));
        assert!(known.changed, "the ratio still waits");
        more.pop();
        more.push(reading(DeviceRole::Setting, "wiring", 2));
        assert_eq!(read(&mut known, &more), Some(DeviceEvent::Changed));
    }

    #[test]
    fn a_register_that_was_not_watched_for_a_while_is_compared_with_what_it_was() {
        let mut known = Known::default();
        read(&mut known, &meter(1, 100));
        let ratio = [meter(1, 100)[1].clone()];
        assert_eq!(read(&mut known, &ratio), Some(DeviceEvent::Seen));
        let mut same = known.clone();
        assert_eq!(read(&mut same, &meter(1, 100)), Some(DeviceEvent::Seen));
        assert!(!same.waits());
        // Exchanged while the serial number was left out of the configuration.
        assert_eq!(
            read(&mut known, &meter(2, 100)),
            Some(DeviceEvent::Exchanged)
        );
        assert!(known.exchanged);
    }

    #[test]
    fn a_register_that_the_device_refuses_waits_for_a_person_as_well() {
        let mut known = Known::default();
        let mut refused = meter(1, 100);
        refused[0].words.clear();
        read(&mut known, &refused);
        assert!(known.is_unread());
        known.apply(&confirmed(), &refused);
        assert!(!known.is_unread());
        // Then it answers after all: that is another device.
        assert_eq!(
            read(&mut known, &meter(1, 100)),
            Some(DeviceEvent::Exchanged)
        );
    }

    #[test]
    fn another_way_to_read_the_same_registers_is_no_change() {
        let mut known = Known::default();
        read(&mut known, &meter(1, 100));
        let mut corrected = meter(1, 100);
        corrected[1].text = "10.0".to_owned();
        assert_eq!(read(&mut known, &corrected), None);
    }
}
