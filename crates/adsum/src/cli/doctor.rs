//! `adsum doctor`: is a data directory whole, and do its numbers conserve?

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::ControlFlow;

use adsum_log::EventLog;
use adsum_model::ledger::LedgerCounts;
use adsum_pipeline::LEDGER;
use adsum_store::{AggregateStore, BucketRange};
use anyhow::{Result, bail};
use serde_json::{Map, Value, json};

use super::Global;
use crate::report::Format;
use crate::wire::Make;

/// Runs `adsum doctor`.
pub fn run(global: &Global) -> Result<()> {
    let config = global.config()?;
    let mut home = global.open(&config, Make::Never)?;
    let checked = home.log.verify_all()?;
    let pending = home.pipeline.pending();
    let view = home.pipeline.store().view();
    let mut sources: BTreeMap<String, LedgerCounts> = BTreeMap::new();
    let mut problems = Vec::new();
    let extra: Vec<_> = pending.rows[LEDGER.index()].iter().collect();
    view.scan(LEDGER, BucketRange::ALL, &[], &extra, &mut |row| {
        let counts = LedgerCounts::from_values(row.values);
        let source = row.names.text(0, row.keys[0]).unwrap_or_default().to_owned();
        for equation in counts.imbalances() {
            problems.push(format!("source {source}, hour {}: {equation}", row.bucket.seconds()));
        }
        sources.entry(source).or_default().merge(&counts);
        ControlFlow::Continue(())
    })?;
    let hash = home.pipeline.state_hash()?;
    let mut out = io::stdout().lock();
    if global.format(Format::Table) == Format::Table {
        writeln!(
            out,
            "log: {} frames, {} records, {} bytes in {} segments, every byte checked",
            checked.frames, checked.records, checked.bytes, checked.segments
        )?;
        for (source, counts) in &sources {
            let fields: Vec<String> = (adsum_model::ledger::LedgerColumn::ALL.iter())
                .filter(|c| counts.get(**c) != 0)
                .map(|c| format!("{} {}", counts.get(*c), c.name()))
                .collect();
            writeln!(out, "source {source}: {}", fields.join(", "))?;
        }
        writeln!(out, "state hash: {hash}")?;
        writeln!(out, "{}", if problems.is_empty() { "the ledger balances" } else { "THE LEDGER DOES NOT BALANCE" })?;
    } else {
        let ledger: Map<String, Value> = (sources.iter())
            .map(|(source, counts)| {
                let columns = adsum_model::ledger::LedgerColumn::ALL.iter();
                let object: Map<String, Value> =
                    columns.map(|c| (c.name().to_owned(), json!(counts.get(*c)))).collect();
                (source.clone(), Value::Object(object))
            })
            .collect();
        let answer = json!({
            "log": {
                "segments": checked.segments,
                "frames": checked.frames,
                "records": checked.records,
                "bytes": checked.bytes,
            },
            "revision": home.pipeline.revision().to_string(),
            "stateHash": hash.to_string(),
            "ledger": ledger,
            "problems": problems,
        });
        writeln!(out, "{answer}")?;
    }
    home.log.close()?;
    if problems.is_empty() {
        return Ok(());
    }
    bail!("the ledger does not balance: {}", problems.join("; "))
}
