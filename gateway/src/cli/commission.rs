//! `commission`: a sheet for one point, asked for or given, compared, sealed and printed.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use evidence::control::Control;
use evidence::decimal::Decimal;
use evidence::entry::ClockStatus;
use evidence::hash::sha256;
use evidence::measurement::PointKind;
use serde::Serialize;

use super::surroundings::{around, clock, software};
use super::{Failure, json};
use crate::buffer::LogReader;
use crate::clock::{Clock, utc_text};
use crate::commission::{
    Allowance, Display, Follower, InForce, Known, Photo, Sheet, Stated, folder, keep_photos, sheet,
};
use crate::config::{GatewayConfig, PointConfig};
use crate::durable::{self, Access};
use crate::recorder::Settings;
use crate::watch::Book;
use crate::{requests, status};

/// What `commission` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CommissionArgs {
    /// The point, as the configuration names it.
    point: String,
    /// The tag on the instrument or in the drawings.
    #[arg(long)]
    tag: Option<String>,
    /// Where the instrument is.
    #[arg(long)]
    place: Option<String>,
    /// The serial number on the nameplate.
    #[arg(long)]
    serial: Option<String>,
    /// The ratio of transformers or pulses, e.g. 200/5 A.
    #[arg(long)]
    ratio: Option<String>,
    /// What the instrument measures from and to, in the point's unit, e.g. 0..250.
    #[arg(long, value_name = "LOW..HIGH")]
    range: Option<String>,
    /// The accuracy class of the nameplate, in percent.
    #[arg(long, value_name = "PERCENT")]
    class: Option<String>,
    /// The smallest step of the display; the last digit typed if left out.
    #[arg(long)]
    resolution: Option<String>,
    /// The number of a seal found or set; may be given several times.
    #[arg(long)]
    seal: Vec<String>,
    /// A photo; may be given several times. Its hash is sealed, the photo kept beside the log.
    #[arg(long, value_name = "FILE")]
    photo: Vec<PathBuf>,
    /// What else is worth saying.
    #[arg(long)]
    note: Option<String>,
    /// Your name.
    #[arg(long)]
    by: Option<String>,
    /// The number on the display at this moment. Without it every question is asked on the terminal.
    #[arg(long, requires = "by", allow_hyphen_values = true)]
    display: Option<String>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  Answer the questions, in front of the meter, while the gateway runs:
    fieldseal-gateway commission energy-import
  Or state everything at once:
    fieldseal-gateway commission energy-import --by \"R. Sato\" --tag EQ-101 \\
        --place \"switchroom, panel 3\" --serial 12345 --seal A-0017 --photo meter.jpg \\
        --display 1234.5

The number on the display is put beside what the log sealed within 2 s of the moment (or within a tick,
if that is longer). They agree if the difference is at most one step of the display and one of the
sealed value; for a momentary value the class comes on top, of the range's end if --range is given,
else of the number displayed. A totaliser's display and register are one count: no class is granted.
Of a point that comes in messages it is the last one before the moment, and the sheet says its age.
A class is at most 10 %; a resolution coarser than the last digit typed is taken only if the number is
a multiple of it and a hundred times as large.
The sheet is sealed whatever the result; it exits with 1 if something disagrees.";

pub(super) async fn execute(
    config: &GatewayConfig,
    args: &CommissionArgs,
) -> Result<String, Failure> {
    let place = Place::of(config, &args.point)?;
    // Whoever else writes here shuts the gateway out of its own folders.
    requests::assert_owner(&config.data_dir)?;
    // Asked for before anybody has to answer questions.
    let status = status::of_dir(config).await?;
    if !status.running {
        return Err(Failure::new(
            "the gateway is not running, so nothing is sealed that the display could be compared with; \
             start it (`run`) and ask again",
        ));
    }
    if status.clock == ClockStatus::Unset.name() {
        return Err(Failure::new(
            "the gateway's clock is unset, so nobody can say which tick this moment is; wait until it has \
             the time, `status` shows it",
        ));
    }
    let messages = place.file.messages;
    let mut follower =
        Follower::of(&config.data_dir, &config.origin, &args.point, messages).await?;
    let in_force = follower.in_force()?;
    place.assert_in_force(&in_force)?;
    let clock = clock(config).await;
    let Entered {
        stated,
        allowance,
        display,
        photos,
    } = entered(args, place.point, &*clock).await?;
    let photos = keep_photos(&config.data_dir, &photos)?;
    let interval = u64::from(place.point.interval_s.unwrap_or(1));
    let patience = Duration::from_secs(2 * interval + 2 * u64::from(config.segment_s) + 30);
    say(&format!(
        "Waiting until the gateway has sealed this moment (segments of {} s)…\n",
        config.segment_s
    ));
    let sealed = follower.sealed_at(display.read_ms, patience).await?;
    // Taken up anew while the questions were answered?
    let in_force = follower.in_force()?;
    place.assert_in_force(&in_force)?;
    let known = Known {
        origin: config.origin.as_str().to_owned(),
        device_says: device_says(config, &in_force.device.name).await?,
        sealed: in_force,
        address: place.address.clone(),
    };
    let sheet = sheet(&known, &stated, &photos, display, &allowance, &sealed);
    let control = Control::Commissioning {
        text: sheet.text.clone(),
        attachments: sheet.attachments.clone(),
    };
    let settings = Settings::of(config, software());
    let words = format!("the commissioning sheet of {}", args.point);
    let at = requests::seal(
        &control,
        &words,
        &settings,
        &around(clock),
        &mut (),
        requests::PATIENCE,
    )
    .await?;
    let signed = format!(
        "{}{:<15} as entry {} of this log at {}\n{:<15} {} (SHA-256 of the lines above \"signed\")\n",
        sheet.text,
        "signed",
        at.index,
        utc_text(at.unix_ms),
        "text",
        sha256(sheet.text.as_bytes()).to_hex(),
    );
    let file = keep_sheet(config, &args.point, at.index, &signed)?;
    told(args, sheet, at, &signed, file, photos)
}

/// What the log knows of the device.
async fn device_says(
    config: &GatewayConfig,
    device: &str,
) -> Result<Vec<(String, String)>, Failure> {
    let reader = LogReader::of_dir(&config.data_dir.join("log")).await?;
    let book = Book::open(config, reader).await?;
    let seen = book.gate(device).map(|gate| gate.known().seen);
    let seen = seen.unwrap_or_default().into_iter();
    Ok(seen.map(|reading| (reading.name, reading.text)).collect())
}

/// What is printed, and whether it is a failure.
fn told(
    args: &CommissionArgs,
    sheet: Sheet,
    at: requests::Sealed,
    signed: &str,
    file: PathBuf,
    photos: Vec<Photo>,
) -> Result<String, Failure> {
    #[derive(Serialize)]
    struct Report {
        entry: u64,
        unix_ms: u64,
        agrees: bool,
        disagreements: Vec<String>,
        text: String,
        file: PathBuf,
        photos: Vec<PathBuf>,
    }
    let disagreements = sheet.disagreements.clone();
    let text = if args.json {
        json(&Report {
            entry: at.index,
            unix_ms: at.unix_ms,
            agrees: disagreements.is_empty(),
            disagreements: sheet.disagreements,
            text: sheet.text,
            file,
            photos: photos.into_iter().map(|photo| photo.kept).collect(),
        })?
    } else {
        format!("{signed}\nThe sheet is in {}.\n", file.display())
    };
    if disagreements.is_empty() {
        return Ok(text);
    }
    Err(Failure::new(disagreements.join("; ")).after(text))
}

fn keep_sheet(
    config: &GatewayConfig,
    point: &str,
    index: u64,
    text: &str,
) -> std::io::Result<PathBuf> {
    let folder = folder(&config.data_dir);
    durable::create_dir(&folder)?;
    let safe = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let point: String = point
        .chars()
        .map(|c| if safe(c) { c } else { '-' })
        .collect();
    let path = folder.join(format!("{index:08}-{point}.txt"));
    durable::write_file(&path, text.as_bytes(), Access::All)?;
    Ok(path)
}

/// The point in the configuration file.
struct Place<'c> {
    point: &'c PointConfig,
    /// How its device is reached.
    address: String,
    /// What the file would have sealed of it.
    file: InForce,
}

impl<'c> Place<'c> {
    fn of(config: &'c GatewayConfig, name: &str) -> Result<Self, Failure> {
        let modbus = config.modbus.iter().flat_map(|device| {
            let line = config.lines.get(device.line);
            let line = line.map_or_else(String::new, |line| line.endpoint.to_string());
            let points = device.points.iter();
            points.map(move |point| (point, line.clone()))
        });
        let mqtt = config.mqtt.iter().flat_map(|broker| {
            let address = format!("{}:{}", broker.host, broker.port);
            let points = broker.points.iter();
            points.map(move |point| (point, address.clone()))
        });
        let all: Vec<_> = modbus.chain(mqtt).collect();
        let names: Vec<&str> = all.iter().map(|(point, ..)| point.name.as_str()).collect();
        let found = all.iter().find(|(point, ..)| point.name == name).cloned();
        let file = InForce::of(&config.measurement(|_stream| 0), name);
        let (Some((point, address)), Some(file)) = (found, file) else {
            return Err(Failure::usage(format!(
                "the configuration has no point `{name}`; it has: {}",
                names.join(", ")
            )));
        };
        Ok(Self {
            point,
            address,
            file,
        })
    }

    /// Refuses while the file describes the point otherwise than the log: the questions and the sheet
    /// would be about two different things.
    fn assert_in_force(&self, sealed: &InForce) -> Result<(), Failure> {
        let differences = sealed.differences(&self.file);
        if differences.is_empty() {
            return Ok(());
        }
        Err(Failure::new(format!(
            "the gateway records {} by another configuration than the file (it differs in: {}); restart \
             the gateway so that it takes the file up, then ask again",
            self.point.name,
            differences.join(", ")
        )))
    }
}

/// Everything a person enters.
struct Entered {
    stated: Stated,
    allowance: Allowance,
    display: Display,
    photos: Vec<PathBuf>,
}

async fn entered(
    args: &CommissionArgs,
    point: &PointConfig,
    clock: &dyn Clock,
) -> Result<Entered, Failure> {
    let given = |text: &Option<String>| text.clone().unwrap_or_default();
    let mut stated = Stated {
        tag: given(&args.tag),
        place: given(&args.place),
        serial: given(&args.serial),
        ratio: given(&args.ratio),
        range: given(&args.range),
        seals: args.seal.clone(),
        by: given(&args.by),
        note: given(&args.note),
    };
    let mut photos = args.photo.clone();
    let mut class = given(&args.class);
    let (read_ms, shown) = match &args.display {
        Some(shown) => (clock.now().unix_ms, shown.clone()),
        None => {
            say(&format!(
                "Commissioning {} ({}). Enter keeps what stands in brackets.\n\n",
                point.name, point.unit
            ));
            ask("Your name", &mut stated.by).await?;
            ask("Tag", &mut stated.tag).await?;
            ask("Place", &mut stated.place).await?;
            ask("Serial number on the nameplate", &mut stated.serial).await?;
            ask("Ratio (transformers, pulses)", &mut stated.ratio).await?;
            ask("Range, LOW..HIGH", &mut stated.range).await?;
            if point.kind == PointKind::Instant {
                ask("Class in percent", &mut class).await?;
            }
            let mut seals = stated.seals.join(", ");
            ask("Seal numbers, with commas", &mut seals).await?;
            stated.seals = list(&seals);
            let names = photos.iter().map(|photo| photo.display().to_string());
            let mut names = names.collect::<Vec<_>>().join(", ");
            ask("Photo files, with commas", &mut names).await?;
            photos = list(&names).into_iter().map(PathBuf::from).collect();
            ask("Note", &mut stated.note).await?;
            let mut ready = String::from("now");
            ask(
                "Look at the display and press Enter at that moment",
                &mut ready,
            )
            .await?;
            let read_ms = clock.now().unix_ms;
            let mut shown = String::new();
            ask("What did it show", &mut shown).await?;
            (read_ms, shown)
        }
    };
    let value = number("the display", &shown)?;
    let resolution = match &args.resolution {
        Some(step) => number("--resolution", step)?,
        None => Decimal::new(1, value.decimals()).unwrap_or(Decimal::ONE),
    };
    let class = (!class.is_empty()).then(|| number("the class", &class));
    let allowance = Allowance {
        class_percent: class.transpose()?,
        range_end: range_end(&stated.range)?,
        resolution,
    };
    let usage = |text: String| Failure::usage(text);
    stated
        .assert_printable()
        .map_err(|error| usage(error.to_string()))?;
    allowance
        .assert_plausible(value)
        .map_err(|error| usage(error.to_string()))?;
    Ok(Entered {
        allowance,
        stated,
        display: Display { value, read_ms },
        photos,
    })
}

fn number(what: &str, text: &str) -> Result<Decimal, Failure> {
    Decimal::parse(text.trim()).map_err(|error| Failure::usage(format!("{what}: {error}")))
}

/// The larger end of `LOW..HIGH`.
fn range_end(text: &str) -> Result<Option<Decimal>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    let Some((low, high)) = text.split_once("..") else {
        let text = format!("the range `{text}` is not LOW..HIGH, e.g. 0..250");
        return Err(Failure::usage(text));
    };
    number("the range", low)?;
    number("the range", high).map(Some)
}

fn list(text: &str) -> Vec<String> {
    let parts = text.split(',').map(str::trim);
    parts
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Asks one question; an empty answer keeps what was there.
async fn ask(question: &str, answer: &mut String) -> Result<(), Failure> {
    if answer.is_empty() {
        say(&format!("{question}: "));
    } else {
        say(&format!("{question} [{answer}]: "));
    }
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin()
            .read_line(&mut line)
            .map(|count| (count, line))
    });
    let (count, line) = read.await??;
    if count == 0 {
        return Err(Failure::usage(
            "the input ended before every question was answered; state the rest with flags, \
             `commission --help` shows them",
        ));
    }
    let line = line.trim();
    if !line.is_empty() {
        line.clone_into(answer);
    }
    Ok(())
}

/// To standard error, so that what is printed in the end is the sheet alone.
fn say(text: &str) {
    let mut stderr = std::io::stderr().lock();
    // Nothing can be done about a closed terminal.
    drop(
        stderr
            .write_all(text.as_bytes())
            .and_then(|()| stderr.flush()),
    );
}

#[cfg(test)]
mod tests {
    use super::{list, range_end};

    #[test]
    fn a_range_is_written_with_two_dots() {
        assert_eq!(range_end("0..250").unwrap().unwrap().to_string(), "250");
        assert_eq!(range_end("-20..60.5").unwrap().unwrap().to_string(), "60.5");
        assert_eq!(range_end("").unwrap(), None);
        for wrong in ["250", "0..", "a..b", "0-250"] {
            assert!(range_end(wrong).is_err(), "{wrong}");
        }
        assert_eq!(list(" A1, ,B2 "), ["A1", "B2"]);
    }
}
