//! What a register says, in words and as it stood on the wire.

use evidence::control::{DeviceReading, DeviceRole};
use evidence::decimal::format_mantissa;
use evidence::measurement::{Point, PointKind};
use evidence::quality::Quality;
use evidence::value::Decoder;

use crate::config::RegisterSpec;
use crate::sample::SampleValue;

/// A register's reading.
#[must_use]
pub fn reading_of(role: DeviceRole, register: &RegisterSpec, value: &SampleValue) -> DeviceReading {
    let (text, words) = match value {
        SampleValue::Int(raw) => {
            let words = register.format.wire_words(*raw);
            (number(register, *raw, &words), words)
        }
        SampleValue::Text(bytes) => {
            let (pairs, _odd) = bytes.as_chunks::<2>();
            let words = pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
            (register.format.characters(bytes), words)
        }
        SampleValue::Absent => (String::from("absent"), Vec::new()),
    };
    DeviceReading {
        role,
        name: register.name.clone(),
        text,
        words,
    }
}

/// What is known of a register that the device refused.
#[must_use]
pub fn refused(role: DeviceRole, register: &RegisterSpec, code: u8) -> DeviceReading {
    DeviceReading {
        role,
        name: register.name.clone(),
        text: format!("refused with exception {code}"),
        words: Vec::new(),
    }
}

fn number(register: &RegisterSpec, raw: i64, words: &[u16]) -> String {
    let hex = || {
        let words: Vec<String> = words.iter().map(|word| format!("{word:04X}")).collect();
        words.join(" ")
    };
    // Without its unit: this is what the site's `expected` is compared with.
    match Decoder::new(&point(register)).value(raw) {
        Ok(mantissa) => format_mantissa(i128::from(mantissa), register.decimals),
        Err(Quality::SENTINEL) => format!("not available ({})", hex()),
        Err(_) => format!("no number ({})", hex()),
    }
}

/// The register as a point, for the one decoder there is.
fn point(register: &RegisterSpec) -> Point {
    Point {
        name: register.name.clone(),
        stream: 0,
        device: 0,
        source: register.source(),
        format: register.format,
        scale: register.scale,
        offset: register.offset,
        decimals: register.decimals,
        unit: register.unit.to_owned(),
        kind: PointKind::Instant,
        sentinels: register.sentinels.clone(),
        scale_from: None,
        min: None,
        max: None,
        max_step_per_s: None,
        stale_after_s: None,
    }
}
