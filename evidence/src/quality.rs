//! The one registry of quality codes.
//!
//! A sample without a quality record is *good*, and only good samples count in a report. Codes 1–31
//! say that there is *no value* (the slot repeats its predecessor and is ignored); codes 32–63 are
//! *flags* on a value whose raw words are kept as they were read.

/// The quality of one sample, as sealed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quality(u8);

macro_rules! registry {
    ($($code:literal $constant:ident $name:literal $meaning:literal),+ $(,)?) => {
        impl Quality {
            $(#[doc = $meaning] pub const $constant: Self = Self($code);)+

            /// Every code that may be sealed, in ascending order.
            pub const ALL: &'static [Self] = &[$(Self($code)),+];

            /// The short name used in reports, tables and the API, e.g. `timeout`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self.0 { $($code => $name,)+ _ => "good" }
            }

            /// One sentence for people.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self.0 { $($code => $meaning,)+ _ => "The value was read and nothing spoke against it." }
            }

            /// The sealed code as a quality, or `None` for a code outside the registry.
            #[must_use]
            pub const fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self($code)),)+ _ => None }
            }
        }
    };
}

registry! {
    1 TIMEOUT "timeout" "The device did not answer within the tick.",
    2 EXCEPTION "exception" "The device answered with a Modbus exception (its code is kept).",
    3 LINK_ERROR "link error" "The connection or the bus failed.",
    4 ILLEGAL_ADDRESS "illegal address" "The device does not have this register.",
    5 NOT_POLLED "not polled" "The gateway came too late for this tick.",
    6 BACKED_OFF "backed off" "The device was silent before and was not asked at this tick.",
    7 DISCONNECTED "disconnected" "From here on the message source was not connected.",
    8 MALFORMED "malformed" "A message came without a usable value.",
    9 DROPPED "dropped" "The sample was lost inside the gateway before it was sealed.",
    32 SENTINEL "sentinel" "The device reported its own \"not available\" value.",
    33 OUT_OF_RANGE "out of range" "The value is outside the declared range or cannot be represented.",
    34 STEP "step too large" "The value changed faster than its rating allows.",
    35 ROLLBACK "counter rollback" "A register that only rises went down.",
    36 FROZEN "frozen" "The value did not move although it should have.",
    37 DEVICE_FAULT "device fault" "The device's own status word reported a fault.",
    38 DEVICE_EXCHANGED "device exchanged" "The device's serial number changed.",
    39 SETTINGS_CHANGED "settings changed" "A watched setting of the device changed and nobody confirmed it yet.",
    40 MAINTENANCE "maintenance" "The value was read during declared maintenance.",
    41 CLOCK_UNTRUSTED "clock untrusted" "The time of the sample is in doubt.",
    42 RETAINED "retained" "A retained message: its age is unknown.",
    43 OFF_GRID "off grid" "The number does not fit the point's declared decimals; its text or words are kept.",
    44 SETTLING "settling" "Read within the settling time after the device returned.",
    45 REVERSED "reversed" "The sign contradicts the declared direction: a current transformer or flow is reversed.",
    46 UNCHECKED "unchecked" "The device's identity, settings or status word could not be read, so nothing vouches for it.",
    47 ROLLOVER "rollover" "The register began anew at its declared capacity; only the first value behind it is flagged.",
}

impl Quality {
    /// No quality record: the sample is good.
    pub const GOOD: Self = Self(0);

    /// The code as sealed; 0 is good and is never written.
    #[must_use]
    pub const fn code(self) -> u8 {
        self.0
    }

    /// Whether the sample counts.
    #[must_use]
    pub const fn is_good(self) -> bool {
        self.0 == 0
    }

    /// Whether the slot holds a value that was read (good or flagged).
    #[must_use]
    pub const fn has_value(self) -> bool {
        self.0 == 0 || self.0 >= 32
    }
}

impl std::fmt::Debug for Quality {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Quality({} {})", self.0, self.name())
    }
}

impl std::fmt::Display for Quality {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Quality;

    #[test]
    fn every_registered_code_round_trips_and_has_a_name_of_its_own() {
        let mut names = std::collections::HashSet::new();
        for &quality in Quality::ALL {
            assert_eq!(Quality::from_code(quality.code()), Some(quality));
            assert!(names.insert(quality.name()), "{quality:?}");
            assert_eq!(quality.has_value(), quality.code() >= 32);
            assert!(!quality.is_good());
        }
        assert_eq!(
            Quality::from_code(0),
            None,
            "good is the absence of a record"
        );
        assert_eq!(Quality::from_code(64), None);
    }
}
