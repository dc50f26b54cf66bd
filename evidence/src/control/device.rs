//! Kind 10: what a device says of itself, and who confirmed it.
//!
//! A value is only as good as the device behind it. The gateway reads a device's identity and
//! settings at every connect and seals them when they are first seen and whenever they differ; from a
//! difference on, its values are flagged until a named person confirms what is there now. These
//! entries alone tell which device was read with which settings at any time.

use super::{MOST_TEXT, cut};
use crate::cbor::{CborError, Fields, Reader, Writer};

/// One statement about a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceStatement {
    /// The device's name in the configuration.
    pub device: String,
    /// What it calls itself, for people.
    pub identity: String,
    /// What happened and what was read; logs of the first gateways have none.
    pub event: Option<(DeviceEvent, Vec<DeviceReading>)>,
}

/// Why the statement was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceEvent {
    /// These readings had no predecessor: they are what later ones are compared with.
    Seen,
    /// Its identity differs from the one before: another device. Its values are flagged from here on.
    Exchanged,
    /// A setting differs from the one before. Its values are flagged from here on.
    Changed,
    /// A person vouches for what is there now; the flags end with this entry.
    Confirmed {
        /// Who.
        person: String,
        /// Why it is right.
        reason: String,
    },
}

/// One register, or several that are one value, as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceReading {
    /// What it tells.
    pub role: DeviceRole,
    /// Its name in template or configuration.
    pub name: String,
    /// The value in words.
    pub text: String,
    /// The registers in the order of the wire; none when the device refused them.
    pub words: Vec<u16>,
}

/// What a reading tells about a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeviceRole {
    /// Which device it is.
    Identity,
    /// What its values mean.
    Setting,
}

/// The longest value of a reading, in bytes, and the most readings of one statement.
const MOST_VALUE: usize = 500;
const MOST_READINGS: usize = 1_000;
/// One request's worth of registers.
const MOST_WORDS: usize = 125;

impl DeviceEvent {
    /// The word that is sealed.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::Exchanged => "exchanged",
            Self::Changed => "changed",
            Self::Confirmed { .. } => "confirmed",
        }
    }
}

impl DeviceRole {
    /// The word that is sealed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Setting => "setting",
        }
    }
}

impl DeviceStatement {
    /// A statement with its readings in the order in which they are sealed, texts cut to what fits.
    #[must_use]
    pub fn new(device: &str, event: DeviceEvent, mut readings: Vec<DeviceReading>) -> Self {
        readings.sort_by(|left, right| (left.role, &left.name).cmp(&(right.role, &right.name)));
        for reading in &mut readings {
            reading.text = cut(&reading.text, MOST_VALUE).to_owned();
        }
        let identity: Vec<String> = readings
            .iter()
            .filter(|reading| reading.role == DeviceRole::Identity)
            .map(|reading| format!("{} {}", reading.name, reading.text))
            .collect();
        let identity = if identity.is_empty() {
            "not read".to_owned()
        } else {
            identity.join(", ")
        };
        Self {
            device: device.to_owned(),
            identity: cut(&identity, MOST_TEXT).to_owned(),
            event: Some((event, readings)),
        }
    }

    /// In words, for people.
    #[must_use]
    pub fn words(&self) -> String {
        let Self {
            device, identity, ..
        } = self;
        let Some((event, readings)) = &self.event else {
            return format!("{device} says it is {identity}");
        };
        let settings: Vec<String> = readings
            .iter()
            .filter(|reading| reading.role == DeviceRole::Setting)
            .map(|reading| format!("{} {}", reading.name, reading.text))
            .collect();
        let settings = if settings.is_empty() {
            String::new()
        } else {
            format!("; settings: {}", settings.join(", "))
        };
        match event {
            DeviceEvent::Seen => format!("{device} says it is {identity}{settings}"),
            DeviceEvent::Exchanged => {
                format!("{device} is another device and says it is {identity}{settings}")
            }
            DeviceEvent::Changed => format!("{device} ({identity}) was set differently{settings}"),
            DeviceEvent::Confirmed { person, reason } => {
                format!("{device} ({identity}) confirmed by {person}: {reason}{settings}")
            }
        }
    }

    pub(super) fn write(&self, w: &mut Writer) {
        let confirmed = match &self.event {
            Some((DeviceEvent::Confirmed { person, reason }, _)) => Some((person, reason)),
            _ => None,
        };
        let pairs =
            2 + 2 * usize::from(self.event.is_some()) + 2 * usize::from(confirmed.is_some());
        w.map(pairs);
        if let Some((event, _)) = &self.event {
            w.text("event").text(event.name());
        }
        w.text("device").text(&self.device);
        if let Some((person, reason)) = confirmed {
            w.text("person").text(person).text("reason").text(reason);
        }
        w.text("identity").text(&self.identity);
        if let Some((_, readings)) = &self.event {
            w.text("readings").array(readings.len());
            for reading in readings {
                let words: Vec<u8> = reading
                    .words
                    .iter()
                    .flat_map(|word| word.to_be_bytes())
                    .collect();
                w.array(4)
                    .text(reading.role.name())
                    .text(&reading.name)
                    .text(&reading.text)
                    .byte_string(&words);
            }
        }
    }

    pub(super) fn read(r: &mut Reader<'_>, fields: &mut Fields) -> Result<Self, CborError> {
        let at = r.offset();
        let word = if fields.optional(r, "event") {
            Some(r.text(MOST_VALUE)?)
        } else {
            None
        };
        fields.required(r, "device")?;
        let device = r.text(MOST_TEXT)?.to_owned();
        let event = match word {
            None => None,
            Some("seen") => Some(DeviceEvent::Seen),
            Some("exchanged") => Some(DeviceEvent::Exchanged),
            Some("changed") => Some(DeviceEvent::Changed),
            Some("confirmed") => {
                fields.required(r, "person")?;
                let person = filled(r)?;
                fields.required(r, "reason")?;
                let reason = filled(r)?;
                Some(DeviceEvent::Confirmed { person, reason })
            }
            Some(_) => return Err(CborError::Range(at)),
        };
        fields.required(r, "identity")?;
        let identity = r.text(MOST_TEXT)?.to_owned();
        let event = match event {
            None => None,
            Some(event) => {
                fields.required(r, "readings")?;
                Some((event, readings(r)?))
            }
        };
        Ok(Self {
            device,
            identity,
            event,
        })
    }
}

/// A text that says something.
fn filled(r: &mut Reader<'_>) -> Result<String, CborError> {
    let at = r.offset();
    let text = r.text(MOST_TEXT)?;
    if text.trim_matches(' ').is_empty() {
        return Err(CborError::Range(at));
    }
    Ok(text.to_owned())
}

/// At least one, ascending by role and name.
fn readings(r: &mut Reader<'_>) -> Result<Vec<DeviceReading>, CborError> {
    let at = r.offset();
    let count = r.array()?;
    if !(1..=MOST_READINGS).contains(&count) {
        return Err(CborError::Range(at));
    }
    let mut readings: Vec<DeviceReading> = Vec::with_capacity(count);
    for _ in 0..count {
        let at = r.offset();
        r.tuple(4)?;
        let role = match r.text(MOST_VALUE)? {
            "identity" => DeviceRole::Identity,
            "setting" => DeviceRole::Setting,
            _ => return Err(CborError::Range(at)),
        };
        let name = r.text(MOST_VALUE)?.to_owned();
        let text = r.text(MOST_VALUE)?.to_owned();
        let (words, odd) = r.bytes()?.as_chunks::<2>();
        let ascending = readings
            .last()
            .is_none_or(|last| (last.role, last.name.as_str()) < (role, name.as_str()));
        if !odd.is_empty() || words.len() > MOST_WORDS || !ascending {
            return Err(CborError::Range(at));
        }
        let words = words.iter().map(|word| u16::from_be_bytes(*word)).collect();
        readings.push(DeviceReading {
            role,
            name,
            text,
            words,
        });
    }
    Ok(readings)
}

#[cfg(test)]
mod tests {
    use super::super::Control;
    use super::{DeviceEvent, DeviceReading, DeviceRole, DeviceStatement};

    fn readings() -> Vec<DeviceReading> {
        let reading = |role, name: &str, text: &str, words: &[u16]| DeviceReading {
            role,
            name: name.to_owned(),
            text: text.to_owned(),
            words: words.to_vec(),
        };
        vec![
            reading(DeviceRole::Setting, "ct_primary", "100", &[100]),
            reading(
                DeviceRole::Identity,
                "serial_number",
                "23456789",
                &[0x165, 0xEC15],
            ),
            reading(
                DeviceRole::Identity,
                "firmware",
                "refused with exception 2",
                &[],
            ),
        ]
    }

    fn events() -> [DeviceEvent; 4] {
        [
            DeviceEvent::Seen,
            DeviceEvent::Exchanged,
            DeviceEvent::Changed,
            DeviceEvent::Confirmed {
                person: "R. Sato".to_owned(),
                reason: "meter exchanged, sheet 12".to_owned(),
            },
        ]
    }

    #[test]
    fn every_statement_reads_back_and_the_short_one_keeps_its_bytes() {
        for event in events() {
            let control = Control::Device(DeviceStatement::new("m1", event, readings()));
            let bytes = control.encode();
            assert_eq!(Control::decode(10, &bytes), Ok(control));
        }
        let short = Control::Device(DeviceStatement {
            device: "m1".to_owned(),
            identity: "x".to_owned(),
            event: None,
        });
        // {"device": "m1", "identity": "x"}: as logs of the first gateways hold it.
        let bytes = hex("a266646576696365626d31686964656e746974796178");
        assert_eq!(short.encode(), bytes);
        assert_eq!(Control::decode(10, &bytes), Ok(short));
    }

    #[test]
    fn the_words_say_who_confirmed_what() {
        let [_, _, changed, confirmed] =
            events().map(|event| DeviceStatement::new("m1", event, readings()).words());
        let identity = "firmware refused with exception 2, serial_number 23456789";
        assert_eq!(
            changed,
            format!("m1 ({identity}) was set differently; settings: ct_primary 100")
        );
        assert_eq!(
            confirmed,
            format!(
                "m1 ({identity}) confirmed by R. Sato: meter exchanged, sheet 12; \
                 settings: ct_primary 100"
            )
        );
    }

    #[test]
    fn what_says_less_than_it_must_is_refused() {
        let confirmed = |person: &str, readings| {
            let event = DeviceEvent::Confirmed {
                person: person.to_owned(),
                reason: "checked".to_owned(),
            };
            let bytes = Control::Device(DeviceStatement::new("m1", event, readings)).encode();
            Control::decode(10, &bytes)
        };
        assert!(confirmed("A", readings()).is_ok());
        assert!(confirmed(" ", readings()).is_err(), "nobody");
        assert!(confirmed("A", Vec::new()).is_err(), "nothing");
        let twice = [readings(), readings()].concat();
        assert!(confirmed("A", twice).is_err(), "twice the same name");
        let mut statement = DeviceStatement::new("m1", DeviceEvent::Seen, readings());
        if let Some((_, readings)) = &mut statement.event {
            readings.reverse();
        }
        let bytes = Control::Device(statement).encode();
        assert!(Control::decode(10, &bytes).is_err(), "in another order");
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(text.get(at..at + 2).unwrap(), 16).unwrap())
            .collect()
    }
}
