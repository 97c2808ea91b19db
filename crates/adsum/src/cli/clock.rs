//! `adsum clock`: the clock that stamps what a server takes in.

use std::io::{self, Write};

use anyhow::Result;
use serde_json::Value;

use super::Global;
use crate::report::Format;

/// The commands of `clock`.
#[derive(clap::Subcommand)]
pub enum Args {
    /// Say that the server's wall clock is right: it ends a doubt.
    Confirm,
}

/// Runs `adsum clock`.
pub fn run(global: &Global, args: &Args) -> Result<()> {
    let Args::Confirm = args;
    let answer = global.needs_server("clock confirm")?.send_json("POST", "/v1/clock/confirm", &Value::Null)?;
    let mut out = io::stdout().lock();
    if global.format(Format::Table) != Format::Table {
        writeln!(out, "{answer}")?;
    } else if answer["confirmed"] == true {
        writeln!(out, "the clock is confirmed: time goes on by the wall clock")?;
    } else {
        writeln!(out, "the clock was not in doubt")?;
    }
    Ok(())
}
