//! What this process has taken so far, as Linux tells it.

use std::time::Duration;

use anyhow::{Context, Result};

/// Ticks of the processor's time a second, as Linux shows them.
const TICKS: u64 = 100;

/// Processor time of all threads, in the program and for it in the system.
pub fn cpu() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name, in parentheses, may hold anything.
    let rest = stat.rsplit_once(')').context("/proc/self/stat reads differently")?.1;
    let ticks: u64 = rest.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 1000 / TICKS))
}

/// A figure of /proc/self/status in megabytes.
pub fn memory_mb(name: &str) -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|l| l.starts_with(name)).context("there is no such figure")?;
    let kb: u64 = line.split_whitespace().nth(1).context("it has no figure")?.parse()?;
    Ok(kb / 1024)
}
