//! The rules of the edge that are not in the measurement table, in words, as they are sealed.
//!
//! Whoever asks later why a value was flagged finds here what was watched: the registers of identity,
//! settings and status words, and what points are judged by beside their bounds.

use crate::config::{DeviceWatch, GatewayConfig, RegisterSpec};

/// The longest text of one annotation, in bytes.
const MOST: usize = 3_500;

/// One line for each device and point that has such rules.
pub(super) fn lines(config: &GatewayConfig) -> Vec<String> {
    let mut lines = Vec::new();
    for device in &config.modbus {
        let watched = watched(&device.watch);
        if !watched.is_empty() {
            lines.push(format!("{}: {watched}", device.name));
        }
        for point in &device.points {
            let words = point.rules.words();
            if !words.is_empty() {
                lines.push(format!("{}: {words}", point.name));
            }
        }
    }
    lines
}

/// The lines as texts that fit an annotation each.
pub(super) fn parts(lines: &[String]) -> Vec<String> {
    if lines.is_empty() {
        return vec![String::from("rules of the edge: none any more")];
    }
    let mut parts: Vec<String> = Vec::new();
    for line in lines.iter().flat_map(|line| pieces(line)) {
        match parts.last_mut() {
            Some(part) if part.len() + line.len() < MOST => {
                part.push('\n');
                part.push_str(line);
            }
            _ => parts.push(line.to_owned()),
        }
    }
    let count = parts.len();
    (1..)
        .zip(parts)
        .map(|(number, part)| format!("rules of the edge, part {number} of {count}:\n{part}"))
        .collect()
}

/// A line in pieces that fit a text each: a device may have more rules than one annotation holds.
fn pieces(line: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = line;
    while rest.len() > MOST {
        let (piece, after) = rest.split_at(rest.floor_char_boundary(MOST));
        // Between two registers where that is possible.
        let end = piece.rfind("; ").map_or(piece.len(), |place| place + 2);
        let (piece, _) = piece.split_at(end);
        pieces.push(piece);
        rest = rest.get(end..).unwrap_or(after);
    }
    pieces.push(rest);
    pieces
}

fn watched(watch: &DeviceWatch) -> String {
    let registers = watch.registers().map(|(role, watched)| {
        let expected = watched
            .expected
            .as_ref()
            .map_or_else(String::new, |value| format!(" expected {value}"));
        format!("{} {}{expected}", role.name(), register(&watched.register))
    });
    let words = watch.statuses.iter().map(|status| {
        let flags: Vec<String> = status
            .flags
            .iter()
            .map(|flag| {
                let equals = flag
                    .equals
                    .map_or_else(String::new, |equals| format!("={equals:#x}"));
                let quality = flag.quality.map_or("shown", |quality| quality.name());
                format!("{:#x}{equals} {} ({quality})", flag.mask, flag.means)
            })
            .collect();
        let points = if status.points.is_empty() {
            String::from("all points")
        } else {
            status.points.join(" ")
        };
        format!(
            "status {}: {} for {points}",
            register(&status.register),
            flags.join(", ")
        )
    });
    registers.chain(words).collect::<Vec<_>>().join("; ")
}

fn register(register: &RegisterSpec) -> String {
    format!(
        "{} {} {} {} {}",
        register.name,
        register.table.name(),
        register.address,
        register.format.kind.name(),
        register.format.order.name()
    )
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn many_rules_become_several_texts_and_none_is_left_out() {
        let lines: Vec<String> = (0..200)
            .map(|n| format!("point-{n}: {}", "x".repeat(90)))
            .collect();
        let parts = parts(&lines);
        assert!(parts.len() > 1 && parts.iter().all(|part| part.len() < 4_000));
        assert!(parts[0].starts_with(&format!("rules of the edge, part 1 of {}:\n", parts.len())));
        for line in &lines {
            assert!(
                parts
                    .iter()
                    .any(|part| part.lines().any(|told| told == line))
            );
        }
        assert_eq!(super::parts(&[]).len(), 1);
    }

    #[test]
    fn a_device_with_more_rules_than_one_text_holds_is_told_whole() {
        let rules: Vec<String> = (0..150)
            .map(|n| format!("setting débit_{n} holding {n} u16 ABCD"))
            .collect();
        let line = format!("m1: {}", rules.join("; "));
        for line in [line, "é".repeat(10_000)] {
            let parts = parts(std::slice::from_ref(&line));
            assert!(parts.len() > 1 && parts.iter().all(|part| part.len() < 4_000));
            let told: String = parts
                .iter()
                .filter_map(|part| part.split_once('\n').map(|(_, rest)| rest))
                .collect();
            assert_eq!(told.replace('\n', ""), line);
        }
    }
}
