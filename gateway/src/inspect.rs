//! `check`: what a configuration would do, in words, without opening anything.

use std::fmt::Write as _;

use evidence::measurement::{MeasurementConfig, PointKind, Source};

use crate::config::{
    GatewayConfig, LineConfig, LineMode, ModbusDevice, MqttBroker, Network, PointConfig, Problem,
    polled_streams,
};
use crate::modbus::link::cost_of_silence;
use crate::modbus::outcome::describe;
use crate::plan::{Block, plan_together};
use crate::sampling::field::room;
use crate::sampling::{limits, read_together, shared_cap, values};

/// Bytes a reading takes when sealed; measured on 50 points at 1 Hz, noise included.
const BYTES_PER_READING: f64 = 1.1;

/// Bytes an entry takes besides its readings.
const BYTES_PER_ENTRY: f64 = 400.0;

/// Returns the report that `check` prints: streams, devices, requests, volume.
#[must_use]
pub fn report(config: &GatewayConfig) -> String {
    let table = config.measurement(|_| 0);
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _infallible = write_report(&mut text, config, &table);
    text
}

fn write_report(
    out: &mut String,
    config: &GatewayConfig,
    table: &MeasurementConfig,
) -> std::fmt::Result {
    for warning in &config.warnings {
        let Problem {
            line, key, text, ..
        } = warning;
        writeln!(out, "Warning: line {line}: {key}: {text}")?;
    }
    writeln!(
        out,
        "Origin {}, data in {}",
        config.origin,
        config.data_dir.display()
    )?;
    match &config.collector {
        Some(collector) => writeln!(out, "Delivers to {}", collector.url)?,
        None => writeln!(out, "Delivers to nobody yet: no [collector]")?,
    }
    let (devices, brokers) = (config.modbus.len(), config.mqtt.len());
    writeln!(
        out,
        "{} points of {devices} Modbus devices and {brokers} brokers",
        table.points.len()
    )?;
    writeln!(out)?;
    for id in polled_streams(config) {
        let points = table.points_of(id).count();
        let requests: usize = (0_u16..)
            .zip(&config.modbus)
            .map(|(index, device)| asked(config, table, index, device, id).len())
            .sum();
        writeln!(
            out,
            "Stream {id}: {points} points every {id} s in {requests} requests"
        )?;
    }
    for stream in table.streams.iter().filter(|stream| stream.messages) {
        writeln!(
            out,
            "Stream {}: {} points from messages",
            stream.id,
            table.points_of(stream.id).count()
        )?;
    }
    for (index, device) in (0_u16..).zip(&config.modbus) {
        write_modbus(out, config, table, index, device)?;
    }
    for broker in &config.mqtt {
        write_mqtt(out, broker)?;
    }
    write_shared(out, config)?;
    writeln!(out)?;
    let megabytes = bytes_per_day(config, table) / 1e6;
    writeln!(
        out,
        "About {megabytes:.1} MB sealed a day, {:.1} GB a year",
        megabytes * 0.365
    )
}

fn write_modbus(
    out: &mut String,
    config: &GatewayConfig,
    table: &MeasurementConfig,
    index: u16,
    device: &ModbusDevice,
) -> std::fmt::Result {
    writeln!(out)?;
    let ModbusDevice {
        name,
        unit_id,
        timeout,
        ..
    } = device;
    let Some(line) = config.lines.get(device.line) else {
        return Ok(());
    };
    writeln!(
        out,
        "Device {name}: {} unit {unit_id}, answers within {} ms",
        line.endpoint,
        timeout.as_millis()
    )?;
    let listens = line.mode == LineMode::Listen;
    if let Some(cap) = shared_cap(config, device.line).filter(|_| !listens) {
        let most = cost_of_silence(line, *timeout, cap).as_millis();
        writeln!(
            out,
            "  shares its line; when it is silent, a question to it costs the others up to {most} ms"
        )?;
    }
    if let Some(template) = &device.template {
        let hash = template.sha256.to_hex();
        let short = hash.get(..12).unwrap_or_default();
        writeln!(
            out,
            "  template {}: {}, SHA-256 {short}…",
            template.name, template.title
        )?;
    }
    for id in polled_streams(config) {
        for block in asked(config, table, index, device, id) {
            let plural = if block.span.is_bits() {
                "bits"
            } else {
                "registers"
            };
            let (what, count) = (describe(block.span), block.span.count);
            writeln!(
                out,
                "  every {id} s: {what}, {count} {plural}, {} values",
                block.values.len()
            )?;
        }
    }
    for point in &device.points {
        write_point(out, point)?;
    }
    Ok(())
}

/// Lines that belong to another master, and those who read through the gateway.
fn write_shared(out: &mut String, config: &GatewayConfig) -> std::fmt::Result {
    let listened = config
        .lines
        .iter()
        .filter(|line| line.mode == LineMode::Listen);
    for LineConfig { name, endpoint, .. } in listened {
        writeln!(
            out,
            "\nLine {name}: {endpoint}, listened on: another master polls it, nothing is ever sent\n  \
             a value is good in ticks in which that master reads it in one answer; `status` says how often\n  \
             identity and settings registers are known only if that master reads them"
        )?;
    }
    for proxy in &config.proxies {
        let allow: Vec<String> = proxy.allow.iter().map(ToString::to_string).collect();
        writeln!(
            out,
            "\nProxy {}: for {}, at most {} clients, answers up to {} ms old",
            proxy.listen,
            allow.join(", "),
            proxy.max_clients,
            proxy.max_age.as_millis()
        )?;
        if !proxy.listen.ip().is_loopback() && !proxy.allow.iter().all(Network::is_loopback) {
            let who = if proxy.allow.iter().any(Network::is_everyone) {
                "ANYBODY who reaches this address"
            } else {
                "whoever has one of these addresses"
            };
            writeln!(
                out,
                "  {who} can read every register, in the clear; nobody can write"
            )?;
        }
        for unit in &proxy.units {
            write_offer(out, config, unit.unit_id, unit.device)?;
        }
    }
    Ok(())
}

fn write_offer(
    out: &mut String,
    config: &GatewayConfig,
    unit_id: u8,
    device: usize,
) -> std::fmt::Result {
    let Some(device) = config.modbus.get(device) else {
        return Ok(());
    };
    let line = config.lines.get(device.line);
    let limit = if line.is_some_and(|line| line.mode == LineMode::Listen) {
        ": what the other master reads"
    } else if room(config, device).is_none() {
        ": only what the gateway polls itself; a lower timeout_ms or a longer interval_s on its \
         line would leave pauses for other registers"
    } else {
        ""
    };
    writeln!(out, "  unit {unit_id} is {}{limit}", device.name)
}

/// The requests of one device in one stream; none where another master asks.
fn asked(
    config: &GatewayConfig,
    table: &MeasurementConfig,
    index: u16,
    device: &ModbusDevice,
    stream: u16,
) -> Vec<Block> {
    let line = config.lines.get(device.line);
    if line.is_some_and(|line| line.mode == LineMode::Listen) {
        return Vec::new();
    }
    blocks(table, index, device, stream)
}

/// The requests of one device in one stream.
pub(crate) fn blocks(
    table: &MeasurementConfig,
    index: u16,
    device: &ModbusDevice,
    stream: u16,
) -> Vec<Block> {
    let values = values(table, index, Some(stream));
    let spans: Vec<_> = values.iter().map(|value| value.span).collect();
    let groups = read_together(table, device, &values);
    plan_together(&spans, &groups, &limits(device))
}

fn write_mqtt(out: &mut String, broker: &MqttBroker) -> std::fmt::Result {
    writeln!(out)?;
    let MqttBroker {
        name,
        host,
        port,
        tls,
        ..
    } = broker;
    let secured = if tls.is_some() {
        "TLS"
    } else {
        "no TLS: anybody on the way can alter values"
    };
    writeln!(out, "Broker {name}: {host}:{port}, {secured}")?;
    broker
        .points
        .iter()
        .try_for_each(|point| write_point(out, point))
}

fn write_point(out: &mut String, point: &PointConfig) -> std::fmt::Result {
    let place = match &point.source {
        Source::Modbus {
            table,
            address,
            words,
        } => {
            let span = crate::plan::Span {
                table: *table,
                address: *address,
                count: u16::from(*words),
            };
            format!(
                "{} {} {}",
                describe(span),
                point.format.kind.name(),
                point.format.order.name()
            )
        }
        Source::Message {
            topic,
            pointer: Some(pointer),
        } => format!("{topic} at {pointer}"),
        Source::Message {
            topic,
            pointer: None,
        } => topic.clone(),
    };
    let kind = match point.kind {
        PointKind::Register => "register",
        PointKind::Instant => "instant",
    };
    let from = point.from.as_ref().map_or_else(String::new, |from| {
        let doubt = from.unverified.as_ref().map_or("", |_| ", unverified");
        format!(" (from {}{doubt})", from.point)
    });
    writeln!(
        out,
        "  point {}: {place}, {} decimals of {}, {kind}{from}",
        point.name, point.decimals, point.unit
    )
}

/// What a day of sealed segments takes; messages are counted as one a second and point.
fn bytes_per_day(config: &GatewayConfig, table: &MeasurementConfig) -> f64 {
    let day = 86_400.0;
    let streams = table.streams.iter().map(|stream| {
        let tick_s = f64::from(stream.tick_ms) / 1_000.0;
        let points =
            f64::from(u32::try_from(table.points_of(stream.id).count()).unwrap_or(u32::MAX));
        let segment_s = f64::from(config.segment_s).max(tick_s);
        day / tick_s * points * BYTES_PER_READING + day / segment_s * BYTES_PER_ENTRY
    });
    streams.sum()
}

#[cfg(test)]
mod tests {
    use crate::config::GatewayConfig;

    #[test]
    fn the_example_is_told_in_words_with_both_notations_of_every_address() {
        let example = include_str!("../examples/gateway.toml");
        let text = super::report(&GatewayConfig::parse("gateway.toml", example).unwrap());
        for expected in [
            "16 points of 5 Modbus devices and 1 brokers",
            "Stream 1: 10 points every 1 s in 5 requests",
            "Stream 10: 2 points every 10 s in 2 requests",
            "every 1 s: holding 100-111 (4x00101-4x00112), 12 registers, 2 values",
            "every 1 s: holding 0-19 (4x00001-4x00020), 20 registers, 3 values",
            "every 1 s: discrete 0 (1x00001), 1 bits, 1 values",
            "when it is silent, a question to it costs the others up to 500 ms",
            "Stream 5: 1 points every 5 s in 0 requests",
            "Line controller-bus: /dev/ttyAMA0, RTU 9600 8E1, listened on",
            "Proxy 0.0.0.0:1502: for 192.168.10.0/24, 192.168.20.7, at most 8 clients, answers up to 2000 ms old",
            "whoever has one of these addresses can read every register, in the clear; nobody can write",
            "unit 1 is power-meter\n",
            "unit 103 is steam-meter: what the other master reads",
            "point wellhead-pressure: site/well-1/pressure at /value, 3 decimals of MPa_a, instant",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
    }
}
