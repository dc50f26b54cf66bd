//! The gateway's own cost with a collector, and the bytes that its evidence takes.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use evidence::entry::Entry;
use gateway::buffer::LogReader;
use system_tests::processes;

use crate::setup::{Receiver, Size};
use crate::usage::Usage;
use crate::{exact, until_a_whole_segment};

const MEASURED: Duration = Duration::from_secs(60);

/// A case with the bars that it is held against.
pub(crate) struct Case {
    size: Size,
    most_megabytes: f64,
    most_percent: Option<f64>,
    most_bytes_per_reading: Option<f64>,
    most_megabytes_a_month: Option<f64>,
}

pub(crate) const CASES: [Case; 2] = [
    Case {
        size: Size {
            devices: 5,
            registers: 10,
        },
        most_megabytes: 12.0,
        most_percent: None,
        most_bytes_per_reading: Some(1.1),
        most_megabytes_a_month: Some(150.0),
    },
    Case {
        size: Size {
            devices: 50,
            registers: 100,
        },
        most_megabytes: 16.0,
        most_percent: Some(2.3),
        most_bytes_per_reading: None,
        most_megabytes_a_month: None,
    },
];

impl Case {
    pub(crate) async fn measure(&self) -> anyhow::Result<String> {
        let directory = tempfile::tempdir()?;
        let meters = self.size.meters().await?;
        let receiver = Receiver::start(&directory.path().join("collector")).await?;
        let mut gateway = self
            .size
            .gateway(directory.path(), &meters, Some(&receiver))
            .await?;
        until_a_whole_segment().await?;
        let relay = &receiver.relay;
        let id = gateway.id().context("the gateway ended")?;
        let (before, sent, received) = (Usage::of(id)?, relay.sent(), relay.received());
        for meter in &meters {
            drop(meter.take_seen());
        }
        let begun = Instant::now();
        tokio::time::sleep(MEASURED).await;
        let seconds = begun.elapsed().as_secs_f64();
        let after = Usage::of(id)?;
        let (sent, received) = (relay.sent() - sent, relay.received() - received);
        let requests: usize = meters.iter().map(|meter| meter.take_seen().len()).sum();
        ensure!(
            gateway.is_running(),
            "the gateway ended: {}",
            gateway.last()
        );
        gateway.stop().await?;
        let entries = delivered(&receiver.file).await?;
        receiver.program.stop().await?;

        let readings = f64::from(self.size.points()) * seconds;
        let percent = (after.cpu_s - before.cpu_s) / seconds * 100.0;
        let bytes = exact(sent) / readings;
        let mut text = format!(
            "{} points × 1 Hz ({} devices × {} registers), {seconds:.1} s\n",
            self.size.points(),
            self.size.devices,
            self.size.registers
        );
        let per_second = exact(u64::try_from(requests)?) / seconds;
        writeln!(text, "  requests            {per_second:8.1} /s")?;
        writeln!(
            text,
            "  processor           {percent:8.2} % of a core{}",
            bar(percent, self.most_percent)
        )?;
        writeln!(
            text,
            "  resident            {:8.1} MB{}; of it {:.1} MB program and libraries",
            after.resident_mb,
            bar(after.resident_mb, Some(self.most_megabytes)),
            after.files_mb
        )?;
        writeln!(
            text,
            "  resident, highest   {:8.1} MB{}  ({} threads)",
            after.highest_mb,
            bar(after.highest_mb, Some(self.most_megabytes)),
            after.threads
        )?;
        writeln!(
            text,
            "  entries delivered   {entries:8}, from the start to the stop"
        )?;
        let evidence = self
            .evidence_per_reading(&directory.path().join("data/log"))
            .await?;
        writeln!(
            text,
            "  sealed              {evidence:8.2} bytes per reading: entry, payload, checkpoint{}",
            bar(evidence, self.most_bytes_per_reading)
        )?;
        let month = (exact(sent) + exact(received)) / seconds * 30.0 * 86_400.0 / 1e6;
        writeln!(
            text,
            "  on the wire         {bytes:8.2} bytes per reading sent, TLS and idle live lane included; \
             {month:.0} MB a month both ways{}",
            bar(month, self.most_megabytes_a_month)
        )?;
        Ok(text)
    }

    /// Bytes that the newest whole segment costs: the archive keeps them, and so does the wire.
    async fn evidence_per_reading(&self, log: &Path) -> anyhow::Result<f64> {
        let mut reader = LogReader::of_dir(log).await?;
        let end = reader.bounds().1;
        let rows = reader.rows(0, end, u32::MAX, usize::MAX).await?;
        let whole = rows.iter().rev().find_map(|row| {
            let signed = Entry::parse(&row.entry).ok()?;
            let whole = signed.entry.ticks().is_some_and(|ticks| ticks.count == 60);
            let payload = row.payload.as_ref().filter(|_| whole)?;
            Some(row.entry.len() + payload.len() + row.checkpoint.len())
        });
        let bytes = whole.context("no whole segment was sealed")?;
        Ok(exact(u64::try_from(bytes)?) / (f64::from(self.size.points()) * 60.0))
    }
}

/// The entries that a collector holds of the one log it knows.
pub(crate) async fn delivered(file: &str) -> anyhow::Result<u64> {
    let status = processes::done("fieldseal-collector", ["status", "--config", file]).await?;
    let entries = status
        .lines()
        .find_map(|line| line.trim().strip_prefix("entries "));
    let entries = entries.and_then(|rest| rest.split(',').next());
    let entries: u64 = entries.context("no entries")?.parse()?;
    ensure!(entries >= 4, "nothing was forwarded: {status}");
    Ok(entries)
}

/// A figure with its bar: how many times the bar it is.
fn bar(figure: f64, most: Option<f64>) -> String {
    most.map_or_else(String::new, |most| {
        let verdict = if figure <= most { "within" } else { "BEYOND" };
        format!(", {verdict} the bar of {most} ({:.2} ×)", figure / most)
    })
}
