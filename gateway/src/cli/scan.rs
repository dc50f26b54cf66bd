//! `scan`: who answers.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use clap::Args;

use super::given_line::host_and_port;
use super::{Failure, json};
use crate::columns::paragraph;
use crate::config::SerialNames;
use crate::scan::{Extent, Found, Hosts, Port, Progress, Report, network, serial};

/// What `scan` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ScanArgs {
    /// A serial port, best by its name under /dev/serial/by-id.
    #[arg(long, value_name = "PORT", conflicts_with = "host")]
    port: Option<PathBuf>,
    /// A host, or HOST:PORT; may be given several times.
    #[arg(long, value_name = "HOST[:PORT]")]
    host: Vec<String>,
    /// The TCP ports to try where none is given with the host.
    #[arg(long, value_delimiter = ',', default_value = "502,802,1502")]
    ports: Vec<u16>,
    /// The hosts are converters that pass RTU frames through.
    #[arg(long, requires = "host")]
    rtu_over_tcp: bool,
    /// The settings and unit ids that most devices have (this is the default).
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// All settings and all unit ids: an hour for a serial port on which nobody answers.
    #[arg(long)]
    full: bool,
    /// Only these unit ids, e.g. 1-10,247.
    #[arg(long, value_parser = units)]
    units: Option<Units>,
    /// How long a device may take to answer.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(20..=10_000))]
    timeout_ms: u64,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  Which settings and unit id does the meter on the USB converter have?
    ls /dev/serial/by-id/
    fieldseal-gateway scan --port /dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A50285BI-if00-port0
  Who is at two addresses?
    fieldseal-gateway scan --host 192.168.1.30 --host 192.168.1.31

Only reads are asked. A serial port, or a converter with --rtu-over-tcp, must not be in use: stop
a gateway that polls it first, or you are told which process has it. The search of a serial port
ends with the settings at which somebody answers, as all units of a bus share them. Stop bits do not
show in an answer: without --full only one is tried, and a device that is set to two mostly answers
as well; what its menu says counts. Ctrl-C ends the search and shows what was found.";

/// Unit ids as written on the command line.
#[derive(Debug, Clone)]
struct Units(Vec<u8>);

fn units(text: &str) -> Result<Units, String> {
    let mut units = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| {
            text.trim()
                .parse::<u8>()
                .map_err(|_bad| format!("`{part}` is no unit id; write e.g. 1-10,247"))
        };
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(format!("`{part}` runs backwards"));
        }
        units.extend(
            (first..=last)
                .filter(|unit| !units.contains(unit))
                .collect::<Vec<_>>(),
        );
    }
    Ok(Units(units))
}

pub(super) async fn execute(
    args: ScanArgs,
    shutdown: impl Future<Output = ()>,
) -> Result<String, Failure> {
    if args.port.is_none() && args.host.is_empty() {
        return Err(Failure::usage(nowhere()));
    }
    let on_port = args.port.is_some();
    let extent = if args.full {
        Extent::Full
    } else {
        Extent::Quick
    };
    let timeout = Duration::from_millis(args.timeout_ms);
    let units = args.units.as_ref().map(|units| units.0.clone());
    let shown = Shown::new();
    let watcher = |progress: &Progress| shown.tell(progress);
    let mut report = Report::default();
    // Given up or not, what was found until then stands in the report.
    let given_up = if let Some(path) = args.port {
        let port = Port {
            path,
            extent,
            units,
            timeout,
        };
        tokio::select! {
            () = serial(&port, &mut report, &watcher) => false,
            () = shutdown => true,
        }
    } else {
        let hosts = Hosts {
            places: places(&args.host, &args.ports)?,
            rtu_over_tcp: args.rtu_over_tcp,
            extent,
            units,
            timeout,
        };
        tokio::select! {
            () = network(&hosts, &mut report, &watcher) => false,
            () = shutdown => true,
        }
    };
    shown.clear();
    let text = if args.json {
        json(&report)?
    } else {
        told(&report)
    };
    if given_up {
        let why = "the search was given up before everything was asked";
        return Err(Failure::new(why).after(text));
    }
    if !report.complete {
        // The port cannot be opened, or another process has the line; the last note says why.
        let why = report.notes.pop().unwrap_or_default();
        return Err(Failure::unavailable(why).after(text));
    }
    if report.found.is_empty() {
        let why = if on_port {
            "nobody answered. Check power, wiring (A and B may be swapped) and the settings in the \
             meter's menu; --full tries every setting and unit id"
        } else {
            "nobody answered. Check addresses, cables and whether Modbus is switched on in the device; \
             --full asks every unit id, --ports other ports"
        };
        return Err(Failure::unavailable(why).after(text));
    }
    Ok(text)
}

/// What to say when nothing was said: the ports there are.
fn nowhere() -> String {
    let ports = SerialNames::system().usb_ports();
    let ports: Vec<String> = ports
        .iter()
        .map(|port| port.name.display().to_string())
        .collect();
    let plugged = if ports.is_empty() {
        String::from("no USB serial converter is plugged in")
    } else {
        format!("plugged in: {}", ports.join(", "))
    };
    format!("say where: --port PORT for a serial line ({plugged}), or --host HOST")
}

fn places(hosts: &[String], ports: &[u16]) -> Result<Vec<(String, u16)>, Failure> {
    let mut places = Vec::new();
    for text in hosts {
        // 0 stands for "no port was written": it is no port of anybody.
        match host_and_port(text, 0)? {
            (host, 0) => places.extend(ports.iter().map(|port| (host.clone(), *port))),
            place => places.push(place),
        }
    }
    places.dedup();
    Ok(places)
}

/// The result for people.
fn told(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    for found in &report.found {
        let _infallible = write_found(&mut text, found);
    }
    for note in &report.notes {
        text.push_str(&paragraph(note, 0));
    }
    let (asked, count) = (report.asked, report.found.len());
    let plural = if count == 1 { "unit" } else { "units" };
    let questions = if asked == 1 { "question" } else { "questions" };
    let _infallible = writeln!(text, "{count} {plural} found with {asked} {questions}.");
    text
}

fn write_found(out: &mut String, found: &Found) -> std::fmt::Result {
    let Found {
        line,
        options,
        unit_id,
        proof,
        answered_in_ms,
        sunspec,
        like,
    } = found;
    writeln!(out, "unit {unit_id} at {line}")?;
    writeln!(out, "  {proof} after {answered_in_ms} ms")?;
    if let Some(map) = sunspec {
        let models: Vec<String> = map
            .models
            .iter()
            .map(|model| model.id.to_string())
            .collect();
        let says = &map.common;
        let said = format!(
            "SunSpec at {}: {} {}, serial {}, models {}",
            map.base,
            says.manufacturer,
            says.model,
            says.serial_number,
            models.join(" ")
        );
        out.push_str(&paragraph(&said, 2));
    }
    for like in like {
        writeln!(
            out,
            "  answers like {}: {}",
            like.template,
            like.identity.join(", ")
        )?;
        if let Some(factory) = &like.factory {
            let assumed = if like.factory_is_assumed {
                " is assumed, its maker's document does not state it"
            } else {
                " as its maker states"
            };
            writeln!(out, "    leaves the factory with: {factory}{assumed}")?;
        }
    }
    // To be copied, so in one line however long.
    match like.first() {
        Some(like) => writeln!(
            out,
            "  Next: fieldseal-gateway config template {} {options} --origin HOST/NAME",
            like.template
        ),
        None if sunspec.is_some() => writeln!(
            out,
            "  Next: fieldseal-gateway config template sunspec {options} --origin HOST/NAME"
        ),
        None => writeln!(out, "  Its registers: fieldseal-gateway probe {options}"),
    }
}

/// The progress line: rewritten in place on a terminal, a line every ten seconds elsewhere.
struct Shown {
    started: Instant,
    terminal: bool,
    last: Mutex<Option<Instant>>,
}

impl Shown {
    fn new() -> Self {
        Self {
            started: Instant::now(),
            terminal: std::io::stderr().is_terminal(),
            last: Mutex::new(None),
        }
    }

    fn tell(&self, progress: &Progress) {
        let every = if self.terminal {
            Duration::from_millis(100)
        } else {
            Duration::from_secs(10)
        };
        let now = Instant::now();
        {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if now.duration_since(last.unwrap_or(self.started)) < every {
                return;
            }
            *last = Some(now);
        }
        let line = line(progress, now.duration_since(self.started));
        let mut stderr = std::io::stderr().lock();
        // Nothing can be done about a closed terminal.
        drop(if self.terminal {
            write!(stderr, "\r\x1b[K{line}").and_then(|()| stderr.flush())
        } else {
            writeln!(stderr, "{line}")
        });
    }

    fn clear(&self) {
        if self.terminal {
            let mut stderr = std::io::stderr().lock();
            drop(write!(stderr, "\r\x1b[K").and_then(|()| stderr.flush()));
        }
    }
}

/// `12 of 121 asked, 1 found, about 32 s left; /dev/ttyUSB0, RTU 9600 8N1, unit 5`, cut to a terminal.
fn line(progress: &Progress, elapsed: Duration) -> String {
    let Progress {
        done,
        of,
        found,
        now,
    } = progress;
    let left = of.saturating_sub(*done);
    let each = elapsed / u32::try_from((*done).max(1)).unwrap_or(u32::MAX);
    let left = each.saturating_mul(u32::try_from(left).unwrap_or(u32::MAX));
    let left = match left.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds.div_ceil(60)),
    };
    let line = format!("{done} of {of} asked, {found} found, at most {left} left; {now}");
    line.chars().take(79).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Progress, line, places, units};

    #[test]
    fn unit_ids_are_written_as_ranges() {
        assert_eq!(units("1-3,247,2").unwrap().0, [1, 2, 3, 247]);
        for wrong in ["", "3-1", "256", "a", "1-"] {
            assert!(units(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_host_with_a_port_is_asked_there_only() {
        let hosts = ["a".to_owned(), "b:1502".to_owned()];
        let expected = [("a", 502), ("a", 802), ("b", 1_502)];
        let expected = expected.map(|(host, port)| (host.to_owned(), port));
        assert_eq!(places(&hosts, &[502, 802]).unwrap(), expected);
    }

    #[test]
    fn progress_says_how_long_it_still_takes_and_fits_a_terminal() {
        let progress = Progress {
            done: 10,
            of: 110,
            found: 1,
            now: "/dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A50285BI-if00-port0".to_owned(),
        };
        let text = line(&progress, Duration::from_secs(3));
        assert!(
            text.starts_with("10 of 110 asked, 1 found, at most 30 s left"),
            "{text}"
        );
        assert_eq!(text.chars().count(), 79);
        let text = line(&progress, Duration::from_secs(30));
        assert!(text.contains("at most 5 min left"), "{text}");
    }
}
