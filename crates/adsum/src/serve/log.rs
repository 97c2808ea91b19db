//! The log of the process: lines on standard error, for people or as JSON.
//!
//! Invariant: standard output stays for data. Not here: the event log, which has nothing to do with it.

use std::io;

use anyhow::{Context, Result};
use tracing_subscriber::EnvFilter;

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged if nobody says.
const LEVEL: &str = "info";

/// Begins to log; `filter` is a level, or levels by target: `info,adsum::access=warn`.
pub fn begin(format: LogFormat, filter: Option<&str>) -> Result<()> {
    let filter = EnvFilter::try_new(filter.unwrap_or(LEVEL)).context("ADSUM_LOG is no filter of log lines")?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let begun = match format {
        LogFormat::Text => lines.with_ansi(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    begun.map_err(|error| anyhow::anyhow!("cannot log: {error}"))
}
