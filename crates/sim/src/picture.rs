//! Everything counted, as text: cells, ledger, quarantine and clocks of one position of the log.
//!
//! Invariant: two pictures are equal when the counts are; zeros are left out, so that it does not matter who wrote
//! them. Not here: how it comes about (the oracle, the world).

use std::collections::BTreeMap;

/// A row of a rollup: its bucket (seconds since 1970), the values of its dimensions, its currency.
pub type CellKey = (i64, Vec<Option<String>>, String);

/// Sums by metric, without zeros, and the revision of the last change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sums {
    /// By the metric's name.
    pub metrics: BTreeMap<String, i64>,
    /// The revision.
    pub revision: u64,
}

impl Sums {
    /// Adds to a metric.
    pub fn add(&mut self, metric: &str, amount: i64, revision: u64) {
        let sum = self.metrics.entry(metric.to_owned()).or_default();
        *sum += amount;
        if *sum == 0 {
            self.metrics.remove(metric);
        }
        self.revision = revision;
    }
}

/// An entry of quarantine: its reason's name and when it was received.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Held {
    /// The reason.
    pub reason: String,
    /// When it was received, microseconds since 1970.
    pub received_at: i64,
}

/// Everything counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Picture {
    /// The rows of each rollup.
    pub rollups: Vec<BTreeMap<CellKey, Sums>>,
    /// By hour (seconds since 1970) and source.
    pub ledger: BTreeMap<(i64, String), Sums>,
    /// By offset.
    pub quarantine: BTreeMap<u64, Held>,
    /// By file of an unfinished import run: what became of its lines.
    pub imports: BTreeMap<String, Sums>,
    /// The live watermark, microseconds since 1970; the least number before there is any.
    pub watermark: i64,
    /// The acceptance line.
    pub line: i64,
    /// Whether the collector's clock is in doubt.
    pub in_doubt: bool,
}

impl Picture {
    /// One line of text a fact.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (i, cells) in self.rollups.iter().enumerate() {
            lines.extend(cells.iter().map(|(key, sums)| format!("rollup {i} {key:?} {sums:?}")));
        }
        lines.extend(self.ledger.iter().map(|(key, sums)| format!("ledger {key:?} {sums:?}")));
        lines.extend(self.quarantine.iter().map(|(offset, held)| format!("quarantine {offset} {held:?}")));
        lines.extend(self.imports.iter().map(|(file, sums)| format!("import {file} {:?}", sums.metrics)));
        let doubt = if self.in_doubt { " in doubt" } else { "" };
        lines.push(format!("watermark {} line {}{doubt}", self.watermark, self.line));
        lines
    }

    /// What stands in one and not in the other; empty where they are equal.
    pub fn differences(&self, wanted: &Self) -> Vec<String> {
        if self == wanted {
            return Vec::new();
        }
        let (got, want) = (self.lines(), wanted.lines());
        let missing = want.iter().filter(|l| !got.contains(l)).map(|l| format!("missing: {l}"));
        let extra = got.iter().filter(|l| !want.contains(l)).map(|l| format!("not in the recount: {l}"));
        missing.chain(extra).collect()
    }
}
