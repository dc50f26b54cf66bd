//! The lines of a configuration and everybody who uses them.
//!
//! A line that is polled has a link; where a proxy offers one of its devices, also the pauses
//! between its polls and the answers of a short while ago. A line that is listened on has a tap and
//! what it heard. All ends with the last who uses it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ring::rand::SecureRandom;
use serde::{Deserialize, Serialize};

use super::{limits, margin, shared_cap, span, unwatched};
use crate::config::{GatewayConfig, LineConfig, LineMode, ModbusDevice, PointConfig, ProxyConfig};
use crate::modbus::device::Shared;
use crate::modbus::lane::Lane;
use crate::modbus::link::cost_of_silence;
use crate::modbus::listen::decoder::{Decoder, Timing};
use crate::modbus::listen::heard::{Counts, Heard};
use crate::modbus::listen::tap;
use crate::modbus::recent::Recent;
use crate::modbus::{Link, LinkOptions};
use crate::plan::Span;
use crate::proxy::{Offer, Offers, Polled, Proxy, ProxyStatus, Room, Source, State};

/// One line in use.
#[derive(Debug, Clone)]
pub struct Line {
    /// What asks on it; on a line that is listened on, it refuses to.
    pub link: Link,
    /// What is heard on it, where another master polls.
    pub heard: Option<Arc<Heard>>,
    shared: Option<(Arc<Lane>, Arc<Recent>)>,
}

impl Line {
    /// What a device's reader needs to know of guests on its line, if there are any.
    pub(super) fn share(&self) -> Option<Shared> {
        let (lane, recent) = self.shared.as_ref()?;
        Some(Shared {
            poller: lane.poller(),
            recent: Arc::clone(recent),
        })
    }
}

/// The lines, in the order of the configuration, each resting at first. Must be called within a runtime.
pub(super) fn lines(
    config: &GatewayConfig,
    random: &dyn SecureRandom,
    rest: impl Fn(usize) -> Duration,
) -> Vec<Line> {
    (0..)
        .zip(&config.lines)
        .map(|(place, line)| {
            let mut first = [0; 2];
            // Without randomness the transaction numbers start at 0, which costs a little robustness only.
            let first_transaction = random
                .fill(&mut first)
                .map_or(0, |()| u16::from_be_bytes(first));
            let options = LinkOptions::of(line)
                .first_transaction(first_transaction)
                .rest(rest(place));
            let link = Link::start(match shared_cap(config, place) {
                Some(cap) => options.shared(cap),
                None => options,
            });
            let listens = line.mode == LineMode::Listen;
            Line {
                link,
                heard: listens.then(|| listen(config, place, line)),
                shared: share(config, place)
                    .filter(|_| !listens)
                    .map(|percent| (Lane::new(percent), Arc::default())),
            }
        })
        .collect()
}

/// How long a line rests at the start: a gateway that was killed may have asked a moment ago, and a
/// device may answer within twice its timeout.
pub(super) fn rest(config: &GatewayConfig, line: usize) -> Duration {
    let devices = config.modbus.iter().filter(|device| device.line == line);
    2 * devices
        .map(|device| device.timeout)
        .max()
        .unwrap_or_default()
}

/// Percent of a line's time for the clients of proxies: the most that one of them may take. `None`
/// where no proxy offers a device of the line.
fn share(config: &GatewayConfig, line: usize) -> Option<u8> {
    let is_offered = |proxy: &&ProxyConfig| {
        let mut devices = proxy
            .units
            .iter()
            .map(|unit| config.modbus.get(unit.device));
        devices.any(|device| device.is_some_and(|device| device.line == line))
    };
    let offering = config.proxies.iter().filter(is_offered);
    offering.map(|proxy| proxy.share_percent).max()
}

/// Starts to listen on a line.
fn listen(config: &GatewayConfig, place: usize, line: &LineConfig) -> Arc<Heard> {
    let devices = || config.modbus.iter().filter(|device| device.line == place);
    let timeouts: HashMap<u8, Duration> = devices()
        .map(|device| (device.unit_id, device.timeout))
        .collect();
    let longest = timeouts.values().max().copied();
    let timing = Timing::with_timeout(longest.unwrap_or(Duration::from_secs(1)));
    let heard = Heard::new(&line.name);
    tap::start(
        tap::Opener::of(line),
        Decoder::new(timing, timeouts),
        &heard,
    );
    heard
}

/// What each proxy of the configuration offers.
#[must_use]
pub fn offers(config: &GatewayConfig, lines: &[Line]) -> Vec<Offers> {
    let of_proxy = |proxy: &ProxyConfig| {
        let units = proxy.units.iter().filter_map(|unit| {
            let device = config.modbus.get(unit.device)?;
            let offer = offer(config, device, lines.get(device.line)?)?;
            Some((unit.unit_id, Arc::new(offer)))
        });
        units.collect()
    };
    config.proxies.iter().map(of_proxy).collect()
}

fn offer(config: &GatewayConfig, device: &ModbusDevice, line: &Line) -> Option<Offer> {
    let source = match (&line.heard, &line.shared) {
        (Some(heard), _) => Source::Heard(Arc::clone(heard)),
        (None, Some((lane, recent))) => Source::Polled(Polled {
            link: line.link.clone(),
            lane: Arc::clone(lane),
            recent: Arc::clone(recent),
            room: room(config, device),
            silence: Mutex::default(),
        }),
        (None, None) => return None,
    };
    Some(Offer {
        unit: device.unit_id,
        limits: limits(device),
        source,
    })
}

/// How long a client's question may take on a device's line; `None` if the gateway's polls leave no
/// pause that is long enough for the worst case. Then clients read only what the gateway polls.
#[must_use]
pub fn room(config: &GatewayConfig, device: &ModbusDevice) -> Option<Room> {
    let line = config.lines.get(device.line)?;
    let on_line = config
        .modbus
        .iter()
        .filter(|other| other.line == device.line);
    let points = on_line.flat_map(|other| &other.points);
    let shortest = points.filter_map(|point| point.interval_s).min()?;
    let interval = Duration::from_secs(u64::from(shortest));
    let pause = interval.checked_sub(margin(u64::from(shortest) * 1_000))?;
    let room = if line.endpoint.is_rtu() {
        // After a silence an RTU line rests until the device's time is over, and the device itself is
        // left alone for twice that time.
        let timeout = device.timeout;
        Room {
            timeout,
            need: cost_of_silence(line, timeout, timeout) + timeout,
        }
    } else {
        // A TCP connection is closed after a silence; what the next poll pays is to connect again.
        let timeout = device.timeout.min(interval / 4);
        Room {
            timeout,
            need: timeout + line.connect_delay,
        }
    };
    // Half of the pause belongs to the gateway's own polls.
    (room.need <= pause / 2).then_some(room)
}

/// What `status` shows of a line that is listened on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenStatus {
    /// The line.
    pub line: String,
    /// Why nothing is heard at present: the port is not open.
    pub trouble: Option<String>,
    /// What was counted since the start.
    pub counts: Counts,
    /// Points that the other master reads more seldom than they are sealed, or not at all.
    pub seldom: Vec<Seldom>,
    /// What templates would watch and listening cannot, one text for each device.
    #[serde(default)]
    pub unwatched: Vec<String>,
}

/// A point that is not heard at every tick.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seldom {
    /// The point.
    pub point: String,
    /// Between the last two answers, in milliseconds; `None` if it was not heard twice.
    pub heard_every_ms: Option<u64>,
    /// What the configuration wants.
    pub interval_s: u16,
}

/// Looks at lines and proxies for `status`.
#[derive(Debug, Default)]
pub struct Lookout {
    listened: Vec<Listened>,
    proxies: Vec<Arc<State>>,
}

#[derive(Debug)]
struct Listened {
    heard: Arc<Heard>,
    points: Vec<Expected>,
    unwatched: Vec<String>,
}

#[derive(Debug)]
struct Expected {
    point: String,
    unit: u8,
    span: Span,
    interval_s: u16,
}

impl Lookout {
    /// Looks at these lines and proxies.
    #[must_use]
    pub fn new(config: &GatewayConfig, lines: &[Line], proxies: &[Proxy]) -> Self {
        let listened = (0..).zip(lines).filter_map(|(place, line)| {
            let heard = Arc::clone(line.heard.as_ref()?);
            let devices = || config.modbus.iter().filter(|device| device.line == place);
            let points = devices().flat_map(|device| {
                let unit = device.unit_id;
                device
                    .points
                    .iter()
                    .filter_map(move |point| expected(unit, point))
            });
            let unwatched = devices().filter_map(|device| {
                let said = unwatched(config, device)?;
                Some(format!("{}: {said}", device.name))
            });
            Some(Listened {
                heard,
                points: points.collect(),
                unwatched: unwatched.collect(),
            })
        });
        Self {
            listened: listened.collect(),
            proxies: proxies.iter().map(Proxy::state).collect(),
        }
    }

    /// The lines that are listened on.
    #[must_use]
    pub fn listening(&self) -> Vec<ListenStatus> {
        let status = |line: &Listened| ListenStatus {
            line: line.heard.name().to_owned(),
            trouble: line.heard.trouble().map(|why| why.to_string()),
            counts: line.heard.counts(),
            seldom: line
                .points
                .iter()
                .filter_map(|point| seldom(&line.heard, point))
                .collect(),
            unwatched: line.unwatched.clone(),
        };
        self.listened.iter().map(status).collect()
    }

    /// The proxies.
    #[must_use]
    pub fn proxies(&self) -> Vec<ProxyStatus> {
        self.proxies.iter().map(|state| state.status()).collect()
    }
}

fn expected(unit: u8, point: &PointConfig) -> Option<Expected> {
    Some(Expected {
        point: point.name.clone(),
        unit,
        span: span(&point.source)?,
        interval_s: point.interval_s?,
    })
}

/// A master that polls in the gateway's rhythm is never quite in step with it: half an interval more
/// is no complaint.
fn seldom(heard: &Heard, point: &Expected) -> Option<Seldom> {
    let period = heard.period(point.unit, point.span);
    let longest = Duration::from_millis(1_500) * u32::from(point.interval_s);
    let is_often = period.is_some_and(|period| period <= longest);
    (!is_often).then(|| Seldom {
        point: point.point.clone(),
        heard_every_ms: period.and_then(|period| u64::try_from(period.as_millis()).ok()),
        interval_s: point.interval_s,
    })
}
