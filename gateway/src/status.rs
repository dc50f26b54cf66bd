//! What the running gateway says about itself, in a file that `status` reads.
//!
//! `status.json` is replaced every few seconds without waiting for the disk. Reading it disturbs
//! nobody; whether a gateway is running is told by the lock that it holds.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use crate::buffer::{BufferError, LogReader, Space, SpaceLimits};
use crate::clock::{Clock, utc_text};
use crate::config::GatewayConfig;
use crate::delivery::{DeliveryStatus, HeadState, Outcome};
use crate::durable::{self, Access};
use crate::enrol;
use crate::identity::Identity;
use crate::live::{LiveTable, LiveValue};
use crate::modbus::listen::heard::Counts;
use crate::proxy::ProxyStatus;
use crate::recorder::{Recorder, Settings, Software};
use crate::sampling::field::{ListenStatus, Lookout, Seldom};
use crate::watch::{Book, BookError, Waiting};

const FILE: &str = "status.json";
/// How often the file is replaced, in milliseconds.
const PUBLISH_MS: u64 = 3_000;
/// Milliseconds of a day, as a number of which the rate is a fraction.
const DAY_MS: u64 = 86_400_000;

/// Everything `status` shows. `P` is the points: a list for who reads it, the live table itself for
/// the running gateway, which never has them all as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status<P = Vec<LiveValue>> {
    /// The log's name.
    pub origin: String,
    /// The line a verifier records.
    pub vkey: String,
    /// Whether a process records into the directory now.
    pub running: bool,
    /// The program that wrote this.
    pub version: String,
    /// When this was written, by the clock of the device, in unix milliseconds.
    pub written_unix_ms: u64,
    /// The clock's state: `unset`, `free-running`, `NTP`, `NTS/GNSS`.
    pub clock: String,
    /// Its estimated error in milliseconds.
    pub clock_error_ms: u64,
    /// Number of entries in the log.
    pub size: u64,
    /// Root over them, hex.
    pub root: String,
    /// How delivery stands.
    pub delivery: DeliveryStatus,
    /// Whether the log is enrolled at a collector, or waits for the answer.
    pub enrolment: String,
    /// Since when nothing is recorded for want of room, in unix milliseconds.
    pub stalled_since_unix_ms: Option<u64>,
    /// Bytes of the day files.
    pub used_bytes: u64,
    /// Bytes that may still be written.
    pub room_bytes: u64,
    /// Days that fit into the buffer at the present rate, already recorded ones included.
    pub holds_days: Option<u64>,
    /// Samples that came too late for their tick, since the start.
    pub late_samples: u64,
    /// Lines on which another master asks and the gateway listens.
    #[serde(default)]
    pub listening: Vec<ListenStatus>,
    /// Who else reads through the gateway.
    #[serde(default)]
    pub proxies: Vec<ProxyStatus>,
    /// Devices whose values are flagged for what they are or how they are set.
    #[serde(default)]
    pub devices: Vec<Waiting>,
    /// The newest value of every point.
    pub points: P,
}

/// Writes the status of a running gateway.
#[derive(Debug)]
pub struct Publisher {
    path: PathBuf,
    data_dir: PathBuf,
    limits: SpaceLimits,
    live: Arc<LiveTable>,
    outcome: Outcome,
    lookout: Lookout,
    published_ms: AtomicU64,
    /// Monotonic time and bytes used at the first publication: the rate is counted from there.
    beginning: OnceLock<(u64, u64)>,
}

impl Publisher {
    /// Prepares; writes nothing.
    #[must_use]
    pub fn new(config: &GatewayConfig, live: Arc<LiveTable>, outcome: Outcome) -> Self {
        let nobody = Software {
            version: String::new(),
            binary: evidence::hash::Hash::default(),
        };
        Self {
            path: config.data_dir.join(FILE),
            data_dir: config.data_dir.clone(),
            limits: Settings::of(config, nobody).limits,
            live,
            outcome,
            lookout: Lookout::default(),
            published_ms: AtomicU64::new(0),
            beginning: OnceLock::new(),
        }
    }

    /// Tells of these lines and proxies as well.
    #[must_use]
    pub fn with(mut self, lookout: Lookout) -> Self {
        self.lookout = lookout;
        self
    }

    /// Replaces the file if it is old enough.
    pub fn publish(&self, recorder: &Recorder, book: &Book, clock: &Arc<dyn Clock>) {
        let now_ms = clock.monotonic_ms();
        let published_ms = self.published_ms.load(Ordering::Relaxed);
        if published_ms > 0 && now_ms < published_ms + PUBLISH_MS {
            return;
        }
        self.published_ms.store(now_ms, Ordering::Relaxed);
        let state = recorder.status();
        let space = Space::of(&self.data_dir.join("log")).unwrap_or(Space {
            used_bytes: 0,
            free_bytes: 0,
        });
        let (since_ms, used_then) = *self.beginning.get_or_init(|| (now_ms, space.used_bytes));
        let room_bytes = space.room(&self.limits);
        let grown = space.used_bytes.saturating_sub(used_then);
        let status = Status {
            origin: recorder.log().identity().origin.as_str().to_owned(),
            vkey: recorder.log().identity().vkey().to_string(),
            running: true,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            written_unix_ms: state.clock.unix_ms,
            clock: state.clock.status.name().to_owned(),
            clock_error_ms: state.clock.error_ms,
            size: state.size,
            root: state.root.to_hex(),
            delivery: self.outcome.snapshot(),
            enrolment: enrolment_word(&self.data_dir),
            stalled_since_unix_ms: state.stalled_since_ms,
            used_bytes: space.used_bytes,
            room_bytes,
            holds_days: days(grown, now_ms - since_ms, space.used_bytes + room_bytes),
            late_samples: state.late_samples,
            listening: self.lookout.listening(),
            proxies: self.lookout.proxies(),
            devices: book.waiting(),
            points: self.live.values(),
        };
        self.write(&status);
    }

    /// Says in the file that nobody runs any more.
    pub fn stopped(&self) {
        if let Ok(Some(mut status)) = read(&self.data_dir) {
            status.running = false;
            self.write(&status);
        }
    }

    fn write<P: Serialize>(&self, status: &Status<P>) {
        let written = durable::publish_file(&self.path, Access::All, |file| {
            serde_json::to_writer_pretty(file, status).map_err(std::io::Error::other)
        });
        if let Err(error) = written {
            tracing::debug!("The status was not written: {error}");
        }
    }
}

/// Days that `capacity` bytes hold when `grown` bytes came in `elapsed_ms`. `None` before a minute has
/// passed or while nothing grows: the rate is not known yet.
fn days(grown: u64, elapsed_ms: u64, capacity: u64) -> Option<u64> {
    if elapsed_ms < 60_000 || grown == 0 {
        return None;
    }
    let a_day = u128::from(grown) * u128::from(DAY_MS) / u128::from(elapsed_ms);
    u64::try_from(u128::from(capacity) / a_day.max(1)).ok()
}

fn enrolment_word(data_dir: &Path) -> String {
    match enrol::Enrolment::load(data_dir) {
        Ok(Some(enrolment)) => format!("enrolled at {}", enrolment.url),
        Ok(None) if enrol::is_pending(data_dir) => {
            String::from("waiting for the collector's answer")
        }
        Ok(None) => String::from("not enrolled"),
        Err(error) => error.to_string(),
    }
}

fn read(data_dir: &Path) -> std::io::Result<Option<Status>> {
    let Some(bytes) = durable::read_file(&data_dir.join(FILE))? else {
        return Ok(None);
    };
    Ok(serde_json::from_slice(&bytes).ok())
}

/// Whether a process holds the directory.
fn is_running(data_dir: &Path) -> bool {
    let Ok(file) = File::open(data_dir.join("lock")) else {
        return false;
    };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// The status of a data directory, from the running gateway's file or from the log itself.
///
/// Changes nothing and waits for nobody.
///
/// # Errors
///
/// There is no identity, or the log cannot be read.
pub async fn of_dir(config: &GatewayConfig) -> Result<Status, StatusError> {
    let identity = Identity::open(&config.data_dir, &config.origin)?;
    let running = is_running(&config.data_dir);
    if running && let Some(status) = read(&config.data_dir)? {
        // The file is seconds old; an enrolment shows at once.
        let enrolment = enrolment_word(&config.data_dir);
        return Ok(Status {
            running,
            enrolment,
            ..status
        });
    }
    let last = read(&config.data_dir)?;
    let log_dir = config.data_dir.join("log");
    durable::create_dir(&log_dir)?;
    let mut reader = LogReader::of_dir(&log_dir).await?;
    let size = reader.bounds().1;
    let devices = Book::open(config, LogReader::of_dir(&log_dir).await?)
        .await?
        .waiting();
    let root = match size.checked_sub(1) {
        Some(last) => reader.row(last).await?.map(|row| row.range.root()),
        None => None,
    };
    let nobody = Software {
        version: String::new(),
        binary: evidence::hash::Hash::default(),
    };
    let limits = Settings::of(config, nobody).limits;
    let space = Space::of(&log_dir)?;
    let outcome = Outcome::load(&config.data_dir).snapshot();
    Ok(Status {
        origin: config.origin.as_str().to_owned(),
        vkey: identity.vkey().to_string(),
        running,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        written_unix_ms: last.as_ref().map_or(0, |last| last.written_unix_ms),
        clock: last
            .as_ref()
            .map_or_else(|| String::from("unknown"), |last| last.clock.clone()),
        clock_error_ms: last.as_ref().map_or(0, |last| last.clock_error_ms),
        size,
        root: root.unwrap_or_else(evidence::hash::empty_root).to_hex(),
        delivery: outcome,
        enrolment: enrolment_word(&config.data_dir),
        stalled_since_unix_ms: None,
        used_bytes: space.used_bytes,
        room_bytes: space.room(&limits),
        holds_days: last.as_ref().and_then(|last| last.holds_days),
        late_samples: 0,
        listening: Vec::new(),
        proxies: Vec::new(),
        devices,
        points: last.map(|last| last.points).unwrap_or_default(),
    })
}

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StatusError {
    /// No identity.
    #[error(transparent)]
    Identity(#[from] crate::identity::IdentityError),
    /// The log cannot be read.
    #[error(transparent)]
    Buffer(#[from] BufferError),
    /// What is known of the devices cannot be read.
    #[error(transparent)]
    Devices(#[from] BookError),
    /// The file system refused.
    #[error(transparent)]
    Files(#[from] std::io::Error),
}

/// The table that people read.
#[must_use]
pub fn table(status: &Status) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: String| {
        out += &format!("{name:<14} {value}\n");
    };
    line("log", status.origin.clone());
    line("vkey", status.vkey.clone());
    let state = match (status.running, status.stalled_since_unix_ms) {
        (false, _) => String::from("not running"),
        (true, None) => String::from("recording"),
        (true, Some(since)) => format!("STOPPED for want of room since {}", utc_text(since)),
    };
    line("state", state);
    line(
        "clock",
        format!("{}, error about {} ms", status.clock, status.clock_error_ms),
    );
    line("entries", format!("{} (root {})", status.size, status.root));
    let delivery = &status.delivery;
    let waiting = status.size.saturating_sub(delivery.acknowledged);
    let cosigned = delivery.cosigned_unix_s.map_or_else(
        || String::from("never cosigned"),
        |unix_s| format!("last cosigned {}", utc_text(unix_s.saturating_mul(1000))),
    );
    line(
        "acknowledged",
        format!("{} ({waiting} waiting), {cosigned}", delivery.acknowledged),
    );
    line("collector", status.enrolment.clone());
    let head = match delivery.head {
        HeadState::Confirmed => "confirmed by the collector",
        HeadState::Unconfirmed => "unconfirmed",
        HeadState::Ahead => "BEHIND the collector",
        HeadState::Forked => "FORKED from the collector",
    };
    line("head", head.to_owned());
    let holds = status.holds_days.map_or_else(
        || String::from("rate not known yet"),
        |days| format!("holds {days} days at the present rate"),
    );
    let (used, room) = (status.used_bytes / 1_000_000, status.room_bytes / 1_000_000);
    line("buffer", format!("{used} MB used, {room} MB left; {holds}"));
    if let Some(error) = &delivery.error {
        line("delivery", error.clone());
    }
    if status.late_samples > 0 {
        line("late samples", status.late_samples.to_string());
    }
    for (name, text) in listening(&status.listening).chain(proxies(&status.proxies)) {
        line(name, text);
    }
    for device in &status.devices {
        line(&device.device, format!("FLAGGED: {}", device.text));
    }
    for point in &status.points {
        let value = point.value.as_deref().unwrap_or("-");
        line(
            &point.name,
            format!("{value} {} ({})", point.unit, point.quality),
        );
    }
    out
}

/// What is heard on lines that another master polls, and what that master does not give us.
fn listening(lines: &[ListenStatus]) -> impl Iterator<Item = (&'static str, String)> {
    lines.iter().flat_map(|status| {
        let Counts {
            pairs,
            unanswered,
            dropped,
            ref last_dropped,
            noise_bytes,
            ..
        } = status.counts;
        let mut text = match &status.trouble {
            None => format!("{}: {pairs} answers heard", status.line),
            Some(why) => format!("{}: NOT HEARD, {why}", status.line),
        };
        text += &format!(", {unanswered} questions unanswered, {noise_bytes} bytes of noise");
        let why = last_dropped.as_ref().filter(|_| dropped > 0);
        let dropped = why.map(|why| ("", format!("{dropped} pairs dropped, the last: {why}")));
        let seldom = status.seldom.iter().map(|seldom| {
            let Seldom {
                point, interval_s, ..
            } = seldom;
            let heard = match seldom.heard_every_ms {
                Some(ms) => format!("heard every {}.{} s", ms / 1_000, ms % 1_000 / 100),
                None => "not heard twice yet".to_owned(),
            };
            ("", format!("{point}: {heard}, interval_s = {interval_s}"))
        });
        let unwatched = status.unwatched.iter().map(|said| ("", said.clone()));
        std::iter::once(("listening", text))
            .chain(dropped)
            .chain(unwatched)
            .chain(seldom)
    })
}

/// Who reads through the gateway.
fn proxies(proxies: &[ProxyStatus]) -> impl Iterator<Item = (&'static str, String)> {
    proxies.iter().map(|proxy| {
        let ProxyStatus {
            listen,
            clients,
            from_memory,
            from_line,
            refused,
            turned_away,
            ..
        } = proxy;
        let text = match &proxy.trouble {
            Some(trouble) => format!("{listen}: NOT LISTENING, {trouble}"),
            None => format!(
                "{listen}: {clients} clients, {from_memory} reads from memory, {from_line} from the \
                 line, {refused} requests refused, {turned_away} strangers turned away"
            ),
        };
        ("proxy", text)
    })
}

#[cfg(test)]
mod tests {
    use super::days;

    #[test]
    fn the_buffer_is_sized_in_days_at_the_present_rate() {
        // 6 MB a day, 246 MB in all.
        assert_eq!(days(6_000_000, 86_400_000, 246_000_000), Some(41));
        assert_eq!(days(4_167, 60_000, 246_000_000), Some(40));
        assert_eq!(days(4_167, 59_999, 246_000_000), None);
        assert_eq!(days(0, 600_000, 246_000_000), None);
    }
}
