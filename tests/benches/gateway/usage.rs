//! What the kernel says of a process: processor time and memory.

use std::time::Instant;

use anyhow::Context as _;

/// Clock ticks per second in `/proc/PID/stat`: the same on every Linux that Rust runs on.
const USER_HZ: f64 = 100.0;

/// What the kernel says of a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// Processor time used so far, in seconds.
    pub(crate) cpu_s: f64,
    /// Memory in use now, in 10^6 bytes.
    pub(crate) resident_mb: f64,
    /// The most memory that was ever in use, in 10^6 bytes.
    pub(crate) highest_mb: f64,
    /// The part of the memory in use that is program and libraries, which the kernel can drop.
    pub(crate) files_mb: f64,
    /// When this was so.
    pub(crate) at: Instant,
    /// Threads.
    pub(crate) threads: u64,
}

impl Usage {
    pub(crate) fn of(id: u32) -> anyhow::Result<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
        // The name in parentheses may hold spaces; the fields after it do not.
        let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat")?;
        let field = |number: usize| -> anyhow::Result<f64> {
            let text = fields.split_whitespace().nth(number - 3);
            text.context("/proc/PID/stat is short")?
                .parse()
                .context("/proc/PID/stat")
        };
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = |name: &str| -> anyhow::Result<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let text = line.and_then(|line| line.split_whitespace().next());
            text.with_context(|| format!("no {name} of {id}"))?
                .parse()
                .context("status")
        };
        let threads = line("Threads:")?;
        Ok(Self {
            cpu_s: (field(14)? + field(15)?) / USER_HZ,
            resident_mb: line("VmRSS:")? * 1_024.0 / 1e6,
            highest_mb: line("VmHWM:")? * 1_024.0 / 1e6,
            files_mb: line("RssFile:")? * 1_024.0 / 1e6,
            at: Instant::now(),
            threads: format!("{threads:.0}").parse()?,
        })
    }
}
