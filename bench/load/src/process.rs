//! What another process has used: CPU time and memory.

use std::time::Duration;

use anyhow::Context;

/// The kernel's ticks have this length wherever Linux runs.
const TICK: Duration = Duration::from_millis(10);

/// The peak of a process's resident memory, in MB of 10^6 bytes.
pub fn peak_mb(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("no process {pid}"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("the kernel says nothing of it")?;
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().context("the kernel's figure is no number")?;
    Ok(kib * 1024 / 1_000_000)
}

/// User and system time of a process and its threads so far.
pub fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("no process {pid}"))?;
    // The name, in brackets, may hold spaces.
    let (_, fields) = stat.rsplit_once(')').context("the kernel says nothing of it")?;
    let ticks: u32 = fields.split_ascii_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u32>().ok()).sum();
    Ok(TICK * ticks)
}
