//! One device between its readers and the log.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use evidence::control::{DeviceEvent, DeviceReading, DeviceRole, DeviceStatement};
use evidence::quality::Quality;
use tokio::time::Instant;

use super::known::Known;
use crate::config::{DeviceWatch, is_expected};

/// Settings can be changed by a hand on the device while the connection stands.
const READ_AGAIN: Duration = Duration::from_secs(3_600);
/// After a failure identity and settings are asked for again, later and later.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Shared by the readers of a device and the book. Asking it costs one uncontended lock a tick.
#[derive(Debug)]
pub struct Gate {
    device: String,
    expected: Vec<Expected>,
    /// Whether there is anything to be read at a connect.
    is_watched: bool,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Expected {
    role: DeviceRole,
    name: String,
    value: String,
}

#[derive(Debug)]
struct Inner {
    known: Known,
    /// What `known` and the expectations say of every value.
    standing: Flags,
    /// The connection on which the device was recognised, and when.
    recognised: Option<(u64, Instant)>,
    failures: u32,
    again_at: Option<Instant>,
    trouble: Option<String>,
    unsealed: VecDeque<DeviceStatement>,
    confirmations: u64,
}

/// What is said of every value of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    /// Another device answers.
    pub exchanged: bool,
    /// It was set differently.
    pub changed: bool,
    /// It could not be recognised on this connection.
    pub unchecked: bool,
}

/// When identity and settings are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Not in this tick.
    No,
    /// Before the values: nothing says whose they are, or it has waited for an hour.
    Before,
    /// After the values, in the time they leave: the device was recognised and it is time to look again.
    /// Without that time it waits for the next tick.
    Again,
    /// After the values: it failed before, and the values are recorded, flagged, all the same.
    After,
}

impl Flags {
    /// The qualities to flag with.
    pub fn qualities(self) -> impl Iterator<Item = Quality> {
        [
            (self.exchanged, Quality::DEVICE_EXCHANGED),
            (self.changed, Quality::SETTINGS_CHANGED),
            (self.unchecked, Quality::UNCHECKED),
        ]
        .into_iter()
        .filter_map(|(raised, quality)| raised.then_some(quality))
    }
}

impl Gate {
    /// The gate of a device of which `known` is known from earlier runs.
    #[must_use]
    pub fn new(device: &str, watch: &DeviceWatch, known: Known) -> Self {
        let expected: Vec<Expected> = watch
            .registers()
            .filter_map(|(role, watched)| {
                Some(Expected {
                    role,
                    name: watched.register.name.clone(),
                    value: watched.expected.clone()?,
                })
            })
            .collect();
        let inner = Inner {
            standing: Flags::default(),
            known,
            recognised: None,
            failures: 0,
            again_at: None,
            trouble: None,
            unsealed: VecDeque::new(),
            confirmations: 0,
        };
        let gate = Self {
            device: device.to_owned(),
            expected,
            is_watched: watch.registers().next().is_some(),
            inner: Mutex::new(inner),
        };
        gate.with(|inner| gate.judge(inner));
        gate
    }

    /// The device's name.
    #[must_use]
    pub fn device(&self) -> &str {
        &self.device
    }

    /// When identity and settings are to be read.
    #[must_use]
    pub fn due(&self, now: Instant) -> Due {
        if !self.is_watched {
            return Due::No;
        }
        self.with(|inner| {
            let age = inner
                .recognised
                .map(|(_, at)| now.saturating_duration_since(at));
            let fresh = age.is_some_and(|age| age < READ_AGAIN);
            if fresh || inner.again_at.is_some_and(|at| now < at) {
                Due::No
            } else if inner.failures > 0 {
                Due::After
            } else if age.is_some_and(|age| age < READ_AGAIN * 2) {
                Due::Again
            } else {
                Due::Before
            }
        })
    }

    /// Whether values of this connection are of a device that was recognised on it.
    #[must_use]
    pub fn recognised_on(&self, session: u64) -> bool {
        let known_there = |inner: &mut Inner| inner.recognised.is_some_and(|(on, _)| on == session);
        !self.is_watched || self.with(known_there)
    }

    /// The device did not answer: whoever answers next must be recognised first.
    pub fn lost(&self) {
        if self.is_watched {
            self.with(|inner| inner.recognised = None);
        }
    }

    /// Identity and settings were read, all on one connection.
    pub fn observed(&self, readings: Vec<DeviceReading>, session: u64, now: Instant) {
        self.with(|inner| {
            inner.recognised = Some((session, now));
            (inner.failures, inner.again_at, inner.trouble) = (0, None, None);
            let Some(event) = inner.known.news(&readings) else {
                return;
            };
            inner.known.apply(&event, &readings);
            let statement = DeviceStatement::new(&self.device, event, readings);
            self.judge(inner);
            let words = statement.words();
            if inner.standing == Flags::default() {
                tracing::info!("{words}");
            } else {
                tracing::error!(
                    "{words}. Its values are flagged until it is confirmed: {}",
                    remedy(&self.device)
                );
            }
            inner.unsealed.push_back(statement);
        });
    }

    /// Identity or settings could not be read.
    pub fn failed(&self, why: &str, now: Instant) {
        let first = self.with(|inner| {
            inner.failures = inner.failures.saturating_add(1);
            let doubled = 1_u32 << (inner.failures - 1).min(16);
            let pause = FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE);
            inner.again_at = Some(now + pause);
            inner.trouble = Some(why.to_owned());
            inner.failures == 1
        });
        if first {
            tracing::warn!(
                "Identity and settings of {} cannot be read ({why}); its values are flagged as unchecked",
                self.device
            );
        }
    }

    /// What is said of every value that came on `session` (`None`: on several), and how often somebody has confirmed the
    /// device in this run: values before and after a confirmation do not continue one another.
    #[must_use]
    pub fn flags(&self, session: Option<u64>) -> (Flags, u64) {
        self.with(|inner| {
            let recognised = inner.recognised.is_some_and(|(on, _)| Some(on) == session);
            let unchecked = inner.standing.unchecked || (self.is_watched && !recognised);
            let flags = Flags {
                unchecked,
                ..inner.standing
            };
            (flags, inner.confirmations)
        })
    }

    /// What is said of every value of a device that cannot be asked, and how often it was confirmed in
    /// this run: what was known of it before goes on to be said, and nothing is found out.
    #[must_use]
    pub fn standing(&self) -> (Flags, u64) {
        self.with(|inner| (inner.standing, inner.confirmations))
    }

    /// The oldest statement that is not in the log yet.
    #[must_use]
    pub fn unsealed(&self) -> Option<DeviceStatement> {
        self.with(|inner| inner.unsealed.front().cloned())
    }

    /// The oldest statement is in the log.
    pub fn sealed(&self) {
        self.with(|inner| drop(inner.unsealed.pop_front()));
    }

    /// A person has confirmed these readings.
    pub fn confirmed(&self, event: &DeviceEvent, readings: &[DeviceReading]) {
        self.with(|inner| {
            inner.known.apply(event, readings);
            inner.confirmations += 1;
            self.judge(inner);
        });
    }

    /// What is known now.
    #[must_use]
    pub fn known(&self) -> Known {
        self.with(|inner| inner.known.clone())
    }

    /// What the site expects and the device does not say, in words.
    #[must_use]
    pub fn contradictions(&self) -> Vec<String> {
        self.with(|inner| {
            self.unexpected(&inner.known)
                .map(|(expected, seen)| {
                    format!(
                        "{} is {}, but the configuration expects {}: correct the one that is wrong",
                        expected.name, seen.text, expected.value
                    )
                })
                .collect()
        })
    }

    /// Why identity and settings could not be read when they were last asked for.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.with(|inner| inner.trouble.clone())
    }

    /// Why values are flagged and what to do about it, in words; empty when nothing waits.
    #[must_use]
    pub fn waiting(&self) -> Vec<String> {
        let mut said = self.contradictions();
        self.with(|inner| {
            let known = &inner.known;
            let differences: Vec<String> = known
                .unaccepted()
                .map(|(seen, accepted)| match accepted {
                    Some(accepted) => {
                        format!("{} {}, before {}", seen.name, seen.text, accepted.text)
                    }
                    None => format!("{} {}", seen.name, seen.text),
                })
                .collect();
            let what = if known.exchanged {
                "another device answers"
            } else if known.changed {
                "it was set differently"
            } else if known.is_unread() {
                "a register cannot be read"
            } else if known.doubted {
                "what was known of it is lost"
            } else {
                ""
            };
            if !what.is_empty() {
                let differences = if differences.is_empty() {
                    String::from("it says the same as before again")
                } else {
                    differences.join("; ")
                };
                said.push(format!(
                    "{what} ({differences}); check it, then: {}",
                    remedy(&self.device)
                ));
            }
            if let Some(trouble) = &inner.trouble {
                said.push(format!(
                    "identity and settings cannot be read: {trouble}; values count when they can"
                ));
            }
        });
        said
    }

    fn unexpected<'g>(
        &'g self,
        known: &'g Known,
    ) -> impl Iterator<Item = (&'g Expected, &'g DeviceReading)> {
        self.expected.iter().filter_map(|expected| {
            let seen = known
                .seen
                .iter()
                .find(|seen| seen.role == expected.role && seen.name == expected.name)?;
            (!is_expected(&expected.value, &seen.text)).then_some((expected, seen))
        })
    }

    fn judge(&self, inner: &mut Inner) {
        let unexpected = |role| {
            self.unexpected(&inner.known)
                .any(|(expected, _)| expected.role == role)
        };
        inner.standing = Flags {
            exchanged: inner.known.exchanged || unexpected(DeviceRole::Identity),
            changed: inner.known.changed || unexpected(DeviceRole::Setting),
            unchecked: inner.known.is_unread() || inner.known.doubted,
        };
    }

    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        // A std mutex: never held across an await, and consistent whatever panics.
        act(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The command that ends the flags.
pub(super) fn remedy(device: &str) -> String {
    format!("fieldseal-gateway confirm {device} --person NAME --reason TEXT")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use evidence::control::{DeviceEvent, DeviceRole};
    use tokio::time::Instant;

    use super::super::known::tests::{confirmed, meter};
    use super::{Due, Flags, Gate, Known};
    use crate::config::DeviceWatch;

    /// A gate that watches a serial number and a ratio of which `expected` is stated.
    fn gate(expected: Option<&str>, known: Known) -> Gate {
        let mut gate = Gate::new("m1", &DeviceWatch::default(), known);
        gate.is_watched = true;
        gate.expected.extend(expected.map(|value| super::Expected {
            role: DeviceRole::Identity,
            name: "serial_number".to_owned(),
            value: value.to_owned(),
        }));
        gate
    }

    const GOOD: Flags = Flags {
        exchanged: false,
        changed: false,
        unchecked: false,
    };

    #[test]
    fn no_value_is_good_before_its_device_was_recognised_on_that_connection() {
        let (gate, now) = (gate(None, Known::default()), Instant::now());
        assert_eq!(gate.due(now), Due::Before);
        assert!(gate.flags(Some(1)).0.unchecked);
        gate.observed(meter(1, 100), 1, now);
        assert_eq!((gate.due(now), gate.flags(Some(1)).0), (Due::No, GOOD));
        assert!(gate.flags(Some(2)).0.unchecked, "another connection");
        gate.observed(meter(1, 100), 2, now);
        assert_eq!(gate.flags(Some(2)).0, GOOD);
        gate.lost();
        assert_eq!(gate.due(now), Due::Before);
        assert!(gate.flags(Some(2)).0.unchecked, "silent in between");
    }

    #[test]
    fn settings_are_read_again_after_an_hour_and_a_failure_then_costs_no_value() {
        let (gate, now) = (gate(None, Known::default()), Instant::now());
        gate.observed(meter(1, 100), 1, now);
        let later = now + Duration::from_secs(3_600);
        assert_eq!(gate.due(later), Due::Again, "in the time the values leave");
        let overdue = now + Duration::from_secs(7_200);
        assert_eq!(gate.due(overdue), Due::Before, "they never left any");
        gate.failed("exception 6", later);
        assert_eq!(gate.due(later), Due::No);
        assert_eq!(
            gate.flags(Some(1)).0,
            GOOD,
            "it was recognised on this connection"
        );
        assert_eq!(gate.due(later + Duration::from_secs(5)), Due::After);
        gate.observed(meter(1, 200), 1, later + Duration::from_secs(5));
        assert!(gate.flags(Some(1)).0.changed);
        for _ in 0..50 {
            gate.failed("exception 6", later);
        }
        assert_eq!(gate.due(later + Duration::from_secs(8_000)), Due::After);
    }

    #[test]
    fn an_exchange_is_flagged_from_the_moment_it_is_seen_until_it_is_confirmed() {
        let (gate, now) = (gate(None, Known::default()), Instant::now());
        gate.observed(meter(1, 100), 1, now);
        gate.observed(meter(2, 100), 2, now);
        let (flags, before) = gate.flags(Some(2));
        assert!(flags.exchanged && !flags.changed && !flags.unchecked);
        let said = gate.waiting().join("\n");
        assert!(said.contains("serial_number 2, before 1"), "{said}");
        assert!(said.contains("confirm m1 --person"), "{said}");
        // Restarted in between: what is known comes along.
        let restarted = super::super::gate::tests::gate(None, gate.known());
        restarted.observed(meter(2, 100), 1, now);
        assert!(restarted.flags(Some(1)).0.exchanged);
        assert_eq!(restarted.unsealed(), None, "and is not sealed again");
        gate.confirmed(&confirmed(), &meter(2, 100));
        let (flags, after) = gate.flags(Some(2));
        assert_eq!(flags, GOOD);
        assert!(after > before);
        assert_eq!(gate.waiting(), [""; 0]);
        let events: Vec<DeviceEvent> = std::iter::from_fn(|| {
            let statement = gate.unsealed();
            gate.sealed();
            statement?.event.map(|(event, _)| event)
        })
        .collect();
        assert_eq!(events, [DeviceEvent::Seen, DeviceEvent::Exchanged]);
    }

    #[test]
    fn what_the_site_does_not_expect_is_flagged_from_the_first_value_on() {
        let (gate, now) = (gate(Some("7"), Known::default()), Instant::now());
        gate.observed(meter(1, 100), 1, now);
        assert!(gate.flags(Some(1)).0.exchanged);
        let said = gate.waiting().join("\n");
        assert!(said.contains("the configuration expects 7"), "{said}");
        gate.confirmed(&confirmed(), &meter(1, 100));
        assert!(
            gate.flags(Some(1)).0.exchanged,
            "one of the two is wrong still"
        );
        gate.observed(meter(7, 100), 2, now);
        assert!(
            gate.flags(Some(2)).0.exchanged,
            "another device, not confirmed"
        );
        gate.confirmed(&confirmed(), &meter(7, 100));
        assert_eq!(gate.flags(Some(2)).0, GOOD);
    }
}
