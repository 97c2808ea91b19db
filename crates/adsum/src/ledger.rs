//! The conservation ledger by source, summed over its hours, and whether its equations hold.
//!
//! Invariant: each hour is checked by itself, so that two errors cannot cancel out in the sum. Not here: the ledger's
//! columns and equations (adsum-model).

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use adsum_model::ledger::{LedgerColumn, LedgerCounts};
use adsum_model::table::TableRows;
use adsum_pipeline::LEDGER;
use adsum_store::{BucketRange, StoreView};
use anyhow::Result;
use serde_json::{Map, Value, json};

/// The ledger of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// By source, what became of its events and lines; no source: ticks.
    pub sources: BTreeMap<String, LedgerCounts>,
    /// The equations that do not hold, as sentences.
    pub problems: Vec<String>,
}

impl Ledger {
    /// What a view holds, with rows that are not committed yet.
    pub fn of(view: &dyn StoreView, pending: &[TableRows]) -> Result<Self> {
        let mut ledger = Self::default();
        let extra: Vec<&TableRows> = pending.iter().collect();
        view.scan(LEDGER, BucketRange::ALL, &[], &extra, &mut |row| {
            let counts = LedgerCounts::from_values(row.values);
            let source = row.names.text(0, row.keys[0]).unwrap_or_default().to_owned();
            for equation in counts.imbalances() {
                ledger.problems.push(format!("source {source}, hour {}: {equation}", row.bucket.seconds()));
            }
            ledger.sources.entry(source).or_default().merge(&counts);
            ControlFlow::Continue(())
        })?;
        Ok(ledger)
    }

    /// As an object of sources.
    pub fn json(&self) -> Value {
        let of = |counts: &LedgerCounts| -> Map<String, Value> {
            LedgerColumn::ALL.iter().map(|c| (c.name().to_owned(), json!(counts.get(*c)))).collect()
        };
        self.sources.iter().map(|(source, counts)| (source.clone(), Value::Object(of(counts)))).collect()
    }

    /// One line a source, for people.
    pub fn lines(&self) -> Vec<String> {
        let line = |(source, counts): (&String, &LedgerCounts)| {
            let fields: Vec<String> = (LedgerColumn::ALL.iter())
                .filter(|c| counts.get(**c) != 0)
                .map(|c| format!("{} {}", counts.get(*c), c.name()))
                .collect();
            format!("source {source}: {}", fields.join(", "))
        };
        self.sources.iter().map(line).collect()
    }

    /// Whether it balances, for people.
    pub fn verdict(&self) -> &'static str {
        if self.problems.is_empty() { "the ledger balances" } else { "THE LEDGER DOES NOT BALANCE" }
    }
}
