//! `adsum doctor`: is a data directory whole, and do its numbers conserve?

use std::io::{self, Write};

use adsum_log::EventLog;
use adsum_pipeline::LEDGER;
use adsum_store::AggregateStore;
use anyhow::{Result, bail};
use serde_json::json;

use super::Global;
use crate::ledger::Ledger;
use crate::report::Format;
use crate::wire::Make;

/// Runs `adsum doctor`.
pub fn run(global: &Global) -> Result<()> {
    let config = global.config()?;
    let mut home = global.open(&config, Make::Never)?;
    let checked = home.log.verify_all()?;
    let pending = home.pipeline.pending();
    let ledger = Ledger::of(&*home.pipeline.store().view(), &pending.rows[LEDGER.index()])?;
    let hash = home.pipeline.state_hash()?;
    let mut out = io::stdout().lock();
    if global.format(Format::Table) == Format::Table {
        writeln!(
            out,
            "log: {} frames, {} records, {} bytes in {} segments, every byte checked",
            checked.frames, checked.records, checked.bytes, checked.segments
        )?;
        for line in ledger.lines() {
            writeln!(out, "{line}")?;
        }
        writeln!(out, "state hash: {hash}")?;
        writeln!(out, "{}", ledger.verdict())?;
    } else {
        let answer = json!({
            "log": {
                "segments": checked.segments,
                "frames": checked.frames,
                "records": checked.records,
                "bytes": checked.bytes,
            },
            "revision": home.pipeline.revision().to_string(),
            "stateHash": hash.to_string(),
            "ledger": ledger.json(),
            "problems": ledger.problems,
        });
        writeln!(out, "{answer}")?;
    }
    home.log.close()?;
    if ledger.problems.is_empty() {
        return Ok(());
    }
    bail!("the ledger does not balance: {}", ledger.problems.join("; "))
}
