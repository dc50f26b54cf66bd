//! The plan as people read it.

use std::fmt::Write as _;

use super::{Budget, DeviceBudget, Interval, LineBudget, RequestCost, seconds};
use crate::columns::{Side, align, fit, paragraph, wrap};
use crate::config::modicon_text;
use crate::plan::Span;

/// Every line with its requests, what they cost, and whether its intervals can be met.
#[must_use]
pub fn report(budget: &Budget) -> String {
    let mut text = String::new();
    for line in &budget.lines {
        // Writing to a String cannot fail.
        let _infallible = write_line(&mut text, line);
    }
    if budget.lines.is_empty() {
        text.push_str("Nothing is polled: there is no [[modbus]] device.\n");
    }
    fit(&text)
}

fn write_line(out: &mut String, line: &LineBudget) -> std::fmt::Result {
    if !out.is_empty() {
        writeln!(out)?;
    }
    writeln!(out, "Line {}: {}", line.line, line.endpoint)?;
    if line.listens {
        writeln!(out, "  Another master asks on this line; nothing is sent.")?;
        return Ok(());
    }
    let pause = match line.pause_us {
        0 => String::from("no pause"),
        pause => format!("{} ms pause", millis(pause)),
    };
    let answer = millis(line.answer_us);
    let assumed = if line.answer_is_assumed {
        " (assumed; answer_ms of the line sets it)"
    } else {
        ""
    };
    let bus = line.converter.as_ref().map_or(String::new(), |spoken| {
        let assumed = if line.converter_is_assumed {
            " (assumed; baud of the line, with parity and stop_bits, states it)"
        } else {
            ""
        };
        format!("{spoken} behind the converter{assumed}, ")
    });
    let counted = format!("Counted: {bus}{answer} ms until a device answers{assumed}, {pause}.");
    out.push_str(&paragraph(&counted, 2));
    for device in &line.devices {
        write_device(out, device)?;
    }
    writeln!(out)?;
    let rows: Vec<Vec<String>> = line.intervals.iter().map(interval).collect();
    let sides = [
        Side::Left,
        Side::Right,
        Side::Right,
        Side::Right,
        Side::Left,
        Side::Left,
    ];
    for row in align(&rows, &sides) {
        writeln!(out, "  {row}")?;
    }
    if line.recognition_us > 0 {
        let text = format!(
            "Identity and settings: {} s more, behind the values once an hour, before them at every \
             connect, where some values of that tick may then be missing.",
            seconds(line.recognition_us)
        );
        out.push_str(&paragraph(&text, 2));
    }
    writeln!(out, "  load of the line: {:.0} %", line.load_percent)?;
    if !line.remedies.is_empty() {
        let text = format!("Any of these helps: {}.", line.remedies.join("; "));
        out.push_str(&paragraph(&text, 2));
    }
    Ok(())
}

fn write_device(out: &mut String, device: &DeviceBudget) -> std::fmt::Result {
    let DeviceBudget {
        device: name,
        unit_id,
        max_registers,
        max_gap,
        barriers,
        ..
    } = device;
    let about = format!(
        "Device {name}, unit {unit_id} (up to {max_registers} registers a request, holes up to {max_gap})"
    );
    writeln!(out)?;
    out.push_str(&paragraph(&about, 2));
    for barrier in barriers {
        writeln!(out, "    never read: {barrier}")?;
    }
    let head = ["every", "sent as", "in manuals", "count", "holes", "ms"].map(str::to_owned);
    let mut rows = vec![head.to_vec()];
    let requests: Vec<&RequestCost> = device.requests.iter().chain(&device.recognition).collect();
    rows.extend(requests.iter().map(|one| request(one)));
    let sides = [
        Side::Left,
        Side::Left,
        Side::Left,
        Side::Right,
        Side::Right,
        Side::Right,
    ];
    let mut lines = align(&rows, &sides).into_iter();
    for head in lines.by_ref().take(1) {
        writeln!(out, "    {head}")?;
    }
    for (line, request) in lines.zip(requests) {
        writeln!(out, "    {line}")?;
        for names in wrap(&request.points, ",", 11) {
            writeln!(out, "{names}")?;
        }
    }
    Ok(())
}

fn request(request: &RequestCost) -> Vec<String> {
    let Span { table, address, .. } = request.span;
    let last = u16::try_from(request.span.end().saturating_sub(1)).unwrap_or(u16::MAX);
    let (sent, manual) = if request.count == 1 {
        (format!("{address}"), modicon_text(table, address))
    } else {
        let (first, end) = (modicon_text(table, address), modicon_text(table, last));
        (format!("{address}-{last}"), format!("{first}-{end}"))
    };
    vec![
        every(request.every_s),
        format!("{} {sent}", request.table),
        manual,
        request.count.to_string(),
        request.holes.to_string(),
        millis(request.time_us),
    ]
}

fn interval(interval: &Interval) -> Vec<String> {
    let judged = if interval.met { "met" } else { "CANNOT BE MET" };
    let plural = if interval.requests == 1 {
        "request, "
    } else {
        "requests,"
    };
    vec![
        format!("every {}:", every(interval.every_s)),
        format!("{} {plural}", interval.requests),
        format!("{} registers;", interval.registers),
        format!("line busy {} s", seconds(interval.needed_us)),
        format!("of {}:", every(interval.every_s)),
        judged.to_owned(),
    ]
}

/// An hour is written as one: besides points, identity and settings are read so often.
fn every(every_s: u16) -> String {
    match every_s {
        3_600 => String::from("1 h"),
        every_s => format!("{every_s} s"),
    }
}

/// `84.4` of 84 374 µs.
fn millis(micros: u64) -> String {
    let tenths = micros.saturating_add(50) / 100;
    if tenths.is_multiple_of(10) {
        (tenths / 10).to_string()
    } else {
        format!("{}.{}", tenths / 10, tenths % 10)
    }
}
