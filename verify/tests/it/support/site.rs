//! Sites, their plan and policy, and bundles of them.

use std::fmt::Write as _;

use evidence::bundle::{BundleWriter, ControlPart, Disclosure, LogParts, entries_bytes};
use evidence::chain::Chain;
use evidence::control::{
    Control, DeviceEvent, DeviceReading, DeviceRole, DeviceStatement, Placed, approval_message,
};
use evidence::entry::{Body, ClockStatus, Entry, GapReason};
use evidence::key::SigningKey;
use evidence::segment::tick_time;
use evidence::verification::Afterwards;
use quantification::computation::Computation;
use quantification::period::date;
use quantification::plan::Plan;

use super::{Cosigner, Gateway};

/// The period of every test: one day in Makassar (UTC+8).
pub(crate) const DAY: &str = "2026-01-05";
/// Its first instant, 2026-01-04T16:00:00Z, and the first one after it.
pub(crate) const FROM_MS: i64 = 1_767_542_400_000;
pub(crate) const TO_MS: i64 = FROM_MS + 86_400_000;
pub(crate) const HOUR_MS: i64 = 3_600_000;
pub(crate) const MINUTE_MS: i64 = 60_000;

/// Gateways, witnesses, and what the verifier has on his disk.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) gateways: Vec<Gateway>,
    pub(crate) witnesses: Vec<Cosigner>,
    pub(crate) plan: String,
    pub(crate) policy: String,
    /// Of each gateway, the first entry of the bundle.
    pub(crate) first: Vec<u64>,
    /// Of each gateway, the final note.
    pub(crate) checkpoints: Vec<Vec<u8>>,
}

/// A bundle before it is written, to be broken.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    pub(crate) plan: Vec<u8>,
    pub(crate) report: Option<Vec<u8>>,
    pub(crate) logs: Vec<SpecLog>,
}

#[derive(Debug, Clone)]
pub(crate) struct SpecLog {
    pub(crate) parts: LogParts,
    pub(crate) entries: Vec<Vec<u8>>,
    pub(crate) payloads: Vec<Vec<u8>>,
}

impl Spec {
    /// The bundle; lengths follow from the contents, so that only the contents are wrong.
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut writer =
            BundleWriter::begin(Vec::new(), &self.plan, self.report.as_deref()).unwrap();
        let mut logs = self.logs.clone();
        logs.sort_by_key(|log| log.parts.origin.id());
        for log in &mut logs {
            let length = |bytes: &Vec<u8>| u64::try_from(bytes.len()).unwrap();
            log.parts.entries_bytes = entries_bytes(log.entries.iter().map(length));
            log.parts.payload_bytes = log.payloads.iter().map(length).sum();
            writer.log(&log.parts).unwrap();
            log.entries
                .iter()
                .for_each(|entry| writer.entry(entry).unwrap());
            log.payloads
                .iter()
                .for_each(|payload| writer.payload(payload).unwrap());
        }
        writer.finish().unwrap()
    }
}

impl Site {
    pub(crate) fn new(gateways: Vec<Gateway>, witnesses: Vec<Cosigner>) -> Self {
        let plan = plan(&gateways);
        let policy = policy(&witnesses);
        let count = gateways.len();
        Self {
            gateways,
            witnesses,
            plan,
            policy,
            first: vec![0; count],
            checkpoints: Vec::new(),
        }
    }

    /// Takes the final notes, cosigned by all witnesses.
    pub(crate) fn close(&mut self) {
        let witnesses: Vec<&Cosigner> = self.witnesses.iter().collect();
        self.checkpoints = self
            .gateways
            .iter_mut()
            .map(|gateway| gateway.cosign(gateway.now_ms / 1000 + 30, &witnesses))
            .collect();
    }

    /// The bundle over everything from the first entries to the final notes.
    pub(crate) fn spec(&self) -> Spec {
        let logs = self
            .gateways
            .iter()
            .zip(&self.first)
            .zip(&self.checkpoints)
            .map(|((gateway, first), checkpoint)| spec_log(gateway, *first, checkpoint))
            .collect();
        Spec {
            plan: self.plan.clone().into_bytes(),
            report: Some(self.report()),
            logs,
        }
    }

    /// The report as the reader's side makes it: from the very entries of the bundle.
    pub(crate) fn report(&self) -> Vec<u8> {
        let plan = Plan::parse(&self.plan, "plan.toml").unwrap();
        let methodology = quantification::methodology::shipped(&plan.methodology_id).unwrap();
        let bound = plan.bind(&methodology).unwrap();
        let period = plan.period(date(DAY).unwrap(), date(DAY).unwrap()).unwrap();
        let mut computation = Computation::new(&bound, &period);
        for (number, gateway) in self.gateways.iter().enumerate() {
            let last =
                self.gateways
                    .iter()
                    .flat_map(|other| &other.rows)
                    .find_map(|row| match &row.control {
                        Some(Control::Recovery {
                            origin, last_index, ..
                        }) if *origin == gateway.origin.as_str() => Some(*last_index),
                        _ => None,
                    });
            feed(
                &mut computation,
                gateway,
                self.first[number],
                last.unwrap_or(u64::MAX),
            );
        }
        computation.finish().unwrap().to_json()
    }
}

fn feed(computation: &mut Computation<'_>, gateway: &Gateway, first: u64, last: u64) {
    let afterwards = Afterwards::new(gateway.rows.iter().filter_map(|row| row.control.as_ref()));
    let origin = gateway.origin.as_str();
    let mut chain = Chain::new(gateway.origin.clone());
    for (index, row) in (0_u64..).zip(&gateway.rows) {
        let applied = chain.apply(&row.entry, Some(&row.payload)).unwrap();
        let Some(ticks) = applied
            .entry
            .ticks()
            .copied()
            .filter(|_| (first..=last).contains(&index))
        else {
            continue;
        };
        let shift = applied
            .shift
            .or_else(|| afterwards.shift(ticks.stream, index));
        let reason = match &applied.entry.body {
            Body::Gap { reason, .. } => Some(reason.name()),
            _ if afterwards.is_dropped(index) => Some("storage"),
            _ => None,
        };
        match (reason, shift) {
            (Some(reason), Some(shift)) => {
                let time = |tick| tick_time(tick, shift, applied.tick_ms).unwrap();
                computation
                    .gap(
                        origin,
                        index,
                        ticks.stream,
                        time(ticks.first),
                        time(ticks.end()),
                        reason,
                    )
                    .unwrap();
            }
            (Some(_), None) => {}
            (None, _) => {
                let mut segment = applied.segment.unwrap();
                segment.shift = shift;
                computation
                    .segment(origin, index, &applied.leaf, &segment)
                    .unwrap();
            }
        }
    }
}

/// The bundle of a site in another disclosure class.
pub(crate) fn disclosed(site: &Site, disclosure: &Disclosure) -> Spec {
    let mut spec = site.spec();
    for (log, (gateway, first)) in spec
        .logs
        .iter_mut()
        .zip(site.gateways.iter().zip(&site.first))
    {
        let controls = gateway.rows.iter().filter_map(|row| row.control.as_ref());
        let afterwards = Afterwards::new(controls);
        let mut config = None;
        log.payloads.clear();
        log.parts.disclosure = disclosure.clone();
        for (index, row) in (0_u64..).zip(&gateway.rows) {
            if let Some(Control::Config(sealed)) = &row.control {
                config = Some(sealed);
            }
            let entry = Entry::parse(&row.entry).unwrap().entry;
            if let Body::Data { ticks, .. } = &entry.body
                && index >= *first
                && !afterwards.is_dropped(index)
            {
                let part = disclosure.part(config.unwrap(), ticks.stream, &row.payload);
                log.payloads.push(part.unwrap());
            }
        }
    }
    spec
}

/// The only log of a site, as it goes into a bundle.
pub(crate) fn spec_of(site: &Site) -> SpecLog {
    spec_log(&site.gateways[0], site.first[0], &site.checkpoints[0])
}

fn spec_log(gateway: &Gateway, first: u64, checkpoint: &[u8]) -> SpecLog {
    let size = gateway.size();
    let afterwards = Afterwards::new(gateway.rows.iter().filter_map(|row| row.control.as_ref()));
    let controls = (0_u64..)
        .zip(&gateway.rows)
        .filter(|(_, row)| row.control.is_some())
        .map(|(index, row)| ControlPart {
            index,
            entry: row.entry.clone(),
            proof: gateway.proof(index, size),
            body: (!row.payload.is_empty()).then(|| row.payload.clone()),
        })
        .collect();
    let rows = || {
        (0_u64..)
            .zip(&gateway.rows)
            .filter(|(index, _)| *index >= first)
    };
    SpecLog {
        entries: rows().map(|(_, row)| row.entry.clone()).collect(),
        payloads: rows()
            .filter(|(index, row)| {
                let data = matches!(
                    Entry::parse(&row.entry).unwrap().entry.body,
                    Body::Data { .. }
                );
                data && !afterwards.is_dropped(*index)
            })
            .map(|(_, row)| row.payload.clone())
            .collect(),
        parts: LogParts {
            timestamps: Vec::new(),
            origin: gateway.origin.clone(),
            checkpoint: checkpoint.to_vec(),
            start: gateway.range(first),
            controls,
            trail: gateway.trail.clone(),
            entries_bytes: 0,
            payload_bytes: 0,
            disclosure: Disclosure::All,
        },
    }
}

fn plan(gateways: &[Gateway]) -> String {
    let mut text =
        "state = \"demo\"\nmethodology = \"grid_solar\"\nreporting_zone = \"Asia/Makassar\"\n\n\
        [project]\nid = \"T\"\nname = \"test\"\ncountry = \"Indonesia\"\n\n\
        [rounding]\nper = \"vintage\"\nsource = \"example\"\n"
            .to_owned();
    let mut before = None;
    for gateway in gateways {
        let origin = gateway.origin.as_str();
        writeln!(
            text,
            "\n[[logs]]\norigin = \"{origin}\"\nanchor = \"{}\"",
            gateway.vkey()
        )
        .unwrap();
        if let Some(before) = before.replace(origin) {
            writeln!(text, "succeeds = \"{before}\"").unwrap();
        }
    }
    let sources = |point: &str| {
        let each: Vec<String> = gateways
            .iter()
            .map(|gateway| format!("{{ log = \"{}\", point = \"{point}\" }}", gateway.origin))
            .collect();
        each.join(", ")
    };
    writeln!(text, "\n[[points]]\nnumber = \"MP-1\"\nparameter = \"EG\"\nmember = \"revenue\"\nsources = [{}]\nunit = \"kWh\"\naggregation = \"increase\"", sources("export.energy")).unwrap();
    writeln!(text, "\n[[points]]\nnumber = \"MP-2\"\nparameter = \"EC_aux\"\nsources = [{}]\nunit = \"kW\"\naggregation = \"integral\"", sources("aux.power")).unwrap();
    for (name, value) in [("EF_RE", "0.797"), ("EF_BaU", "0.85"), ("EF_grid", "0.797")] {
        writeln!(text, "\n[[fixed]]\nparameter = \"{name}\"\nvalue = \"{value}\"\nunit = \"tCO2/MWh\"\nsource = \"example\"").unwrap();
    }
    for name in ["fuel", "DF"] {
        writeln!(
            text,
            "\n[[neutral]]\nname = \"{name}\"\njustification = \"test\""
        )
        .unwrap();
    }
    text
}

fn policy(witnesses: &[Cosigner]) -> String {
    let mut text = "# ours\n".to_owned();
    for (number, witness) in witnesses.iter().enumerate() {
        writeln!(text, "witness W{number} {}", witness.vkey()).unwrap();
    }
    let names: Vec<String> = (0..witnesses.len())
        .map(|number| format!("W{number}"))
        .collect();
    writeln!(text, "group all all {}\nquorum all", names.join(" ")).unwrap();
    text
}

pub(crate) fn witnesses() -> Vec<Cosigner> {
    vec![
        Cosigner::new("collector.example/w0", 90),
        Cosigner::new("registry.example/w1", 91),
    ]
}

/// One gateway over the period and an hour before and after, to be broken.
pub(crate) fn plain_day() -> Site {
    let witnesses = witnesses();
    let mut gateway = Gateway::new("example.com/gw/0001", 1, FROM_MS - HOUR_MS);
    gateway.configure(|_| {});
    gateway.sample(TO_MS + HOUR_MS, &witnesses);
    let mut site = Site::new(vec![gateway], witnesses);
    site.close();
    site
}

/// One gateway over a day and a bit, with everything that can happen to an honest one.
pub(crate) fn solar_day() -> Site {
    let witnesses = witnesses();
    let mut gateway = Gateway::new("example.com/gw/0001", 1, FROM_MS - 4 * HOUR_MS);
    gateway.configure(|_| {});
    gateway.sample(FROM_MS + HOUR_MS, &witnesses);
    // Power goes, and comes back with the time known: a gap in every stream.
    gateway.reboot(ClockStatus::Ntp);
    gateway.now_ms += 20 * MINUTE_MS;
    gateway.boot.monotonic_ms += 1_000;
    gateway.gap(0, 120, GapReason::Power);
    gateway.gap(1, 20, GapReason::Power);
    gateway.gap(2, 120, GapReason::Power);
    gateway.now_ms += 40 * MINUTE_MS;
    gateway.data(1, 10);
    gateway.sample(FROM_MS + 5 * HOUR_MS, &witnesses);
    // The scale of a point is corrected.
    gateway.configure(|config| config.points[6].decimals = 7);
    gateway.control(Control::Software {
        version: "2".to_owned(),
        binary: evidence::hash::sha256(b"v2"),
    });
    // A meter was exchanged, and somebody says so.
    let exchanged = |event| {
        let serial = DeviceReading {
            role: DeviceRole::Identity,
            name: "serial_number".to_owned(),
            text: "23456789".to_owned(),
            words: vec![0x0165, 0xEC15],
        };
        Control::Device(DeviceStatement::new("meter", event, vec![serial]))
    };
    gateway.control(exchanged(DeviceEvent::Exchanged));
    gateway.control(exchanged(DeviceEvent::Confirmed {
        person: "R. Sato".to_owned(),
        reason: "exchanged at calibration".to_owned(),
    }));
    // The disk fills up; the collector was away: three payloads go.
    let from = gateway.size();
    gateway.sample(FROM_MS + 6 * HOUR_MS, &witnesses);
    gateway.control(Control::Dropped {
        from,
        to: from + 2,
        reason: "no room".to_owned(),
    });
    gateway.sample(FROM_MS + 9 * HOUR_MS, &witnesses);
    // A start without a time: sealed on, placed when NTP answers half an hour later.
    gateway.reboot(ClockStatus::Unset);
    let first_unset = gateway.size();
    gateway.now_ms = 3_600_000;
    gateway.data(0, 60);
    gateway.data(2, 60);
    gateway.data(1, 10);
    let last_unset = gateway.size() - 1;
    gateway.now_ms = FROM_MS + 10 * HOUR_MS;
    // The device had been off for 50 minutes before it started: 300 ticks of 10 s and 50 of 60 s.
    let place = |stream, shift| Placed {
        stream,
        from: first_unset,
        to: last_unset,
        shift,
    };
    gateway.clock_event(vec![place(0, 300), place(1, 50), place(2, 300)]);
    gateway.sample(FROM_MS + 12 * HOUR_MS, &witnesses);
    // The clock is set back by two minutes: those instants come twice.
    gateway.now_ms -= 2 * MINUTE_MS;
    gateway.clock_event(vec![]);
    gateway.now_ms += 2 * MINUTE_MS;
    gateway.data(0, 12);
    gateway.data(1, 2);
    gateway.data(2, 12);
    gateway.sample(FROM_MS + 15 * HOUR_MS, &witnesses);
    // Another start without a time that ends before anybody knew it.
    gateway.reboot(ClockStatus::Unset);
    gateway.now_ms = 7_200_000;
    gateway.data(0, 60);
    gateway.reboot(ClockStatus::Unset);
    gateway.now_ms = FROM_MS + 16 * HOUR_MS;
    gateway.clock_event(vec![]);
    gateway.sample(TO_MS + HOUR_MS, &witnesses);
    let mut site = Site::new(vec![gateway], witnesses);
    site.close();
    site.first = vec![20];
    site
}

/// What `testdata/specimen` holds: a day and two hours at a tick a minute, with everything that the
/// tamper matrix strikes at, from entry 0 on.
pub(crate) fn specimen_day() -> Site {
    let witnesses = witnesses();
    let streams = [0, 1, 2].map(|id| (id, 60_000, 30));
    let mut gateway = Gateway::with_streams(
        "example.com/gw/0001",
        1,
        FROM_MS - HOUR_MS,
        streams,
        30 * MINUTE_MS,
    );
    gateway.configure(|_| {});
    gateway.sample(FROM_MS + HOUR_MS, &witnesses);
    // Too long for its entry.
    gateway.control(Control::Commissioning {
        text: "Photographs of the meters".to_owned(),
        attachments: (0..260_u16)
            .map(|number| evidence::hash::sha256(&number.to_be_bytes()))
            .collect(),
    });
    // Power fails for an hour.
    gateway.reboot(ClockStatus::Ntp);
    gateway.now_ms += HOUR_MS;
    for (stream, ..) in streams {
        gateway.gap(stream, 60, GapReason::Power);
    }
    gateway.sample(FROM_MS + 3 * HOUR_MS, &witnesses);
    // A start without a time, placed an hour later, when NTP answers.
    gateway.reboot(ClockStatus::Unset);
    let from = gateway.size();
    gateway.now_ms = HOUR_MS;
    for (stream, ..) in streams {
        gateway.data(stream, 30);
    }
    gateway.now_ms = FROM_MS + 4 * HOUR_MS;
    let to = gateway.size() - 1;
    gateway.clock_event(
        streams
            .map(|(stream, ..)| Placed {
                stream,
                from,
                to,
                shift: 20,
            })
            .to_vec(),
    );
    let dropped = gateway.size();
    gateway.sample(FROM_MS + 5 * HOUR_MS, &witnesses);
    gateway.control(Control::Dropped {
        from: dropped,
        to: dropped + 1,
        reason: "no room".to_owned(),
    });
    gateway.configure(|config| config.points[6].decimals = 7);
    let index = gateway.size() - 1;
    let leaf = *gateway.leaves.last().unwrap();
    let key = SigningKey::from_seed([92; 32]);
    gateway.control(Control::Approval {
        index,
        leaf,
        key: key.public(),
        signature: key.sign(&approval_message(&gateway.origin, index, &leaf)),
    });
    gateway.sample(TO_MS + HOUR_MS, &witnesses);
    let mut site = Site::new(vec![gateway], witnesses);
    site.close();
    site
}

/// Two gateways, the first replaced at 06:00 of the period by the second, which starts 20 minutes later.
pub(crate) fn two_gateways() -> Site {
    let witnesses = witnesses();
    let mut old = Gateway::new("example.com/gw/0001", 1, FROM_MS - 4 * HOUR_MS);
    old.configure(|_| {});
    old.sample(FROM_MS + 6 * HOUR_MS, &witnesses);
    let (last_index, last_leaf) = (old.size() - 1, *old.leaves.last().unwrap());
    // It goes on for a while on the bench; that no longer counts.
    old.sample(FROM_MS + 8 * HOUR_MS, &witnesses);
    let mut new = Gateway::new(
        "example.com/gw/0002",
        40,
        FROM_MS + 6 * HOUR_MS + 20 * MINUTE_MS,
    );
    new.control(Control::Recovery {
        origin: old.origin.to_string(),
        last_index,
        last_leaf,
        reason: "replaced".to_owned(),
    });
    new.configure(|_| {});
    new.now_ms += 40 * MINUTE_MS;
    new.data(0, 240);
    new.data(1, 40);
    new.data(2, 240);
    new.sample(TO_MS + HOUR_MS, &witnesses);
    let mut site = Site::new(vec![old, new], witnesses);
    site.close();
    site
}
