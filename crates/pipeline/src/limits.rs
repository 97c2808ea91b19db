//! Cardinality limits: values of a dimension beyond its limit for a UTC day of receivedAt count as `other`.
//!
//! Decided in append order, before the append, and marked in the record; the raw value stays in it. Invariant: the
//! sets are a function of the records appended, so that a restart decides as if there had been none.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use adsum_model::catalog::{Catalog, DimensionIx};
use adsum_model::rows::{EventRow, Rows};
use adsum_model::symbol::Symbol;
use adsum_model::table::TableRows;
use adsum_model::time::{BucketStart, ReceivedAt};
use adsum_model::wire::Decoded;
use adsum_store::{AggregateStore, BucketRange, StoreError};

use crate::tables::DIMENSION_DAYS;

const DAY_SECONDS: i64 = 86_400;
/// How much the remembered days may take. A collector's clock may step back, by a start with a wrong one also by many
/// days, and what those days had seen must be known then; only beyond this the oldest days are forgotten.
const DAYS_BYTES_MAX: usize = 256 << 20;
/// How many days are remembered whatever they take.
const DAYS_KEPT: usize = 3;
/// How many values a start takes back beyond those of the last days: each is a text in memory.
const RESTORED_MAX: usize = 1 << 21;

/// The values of one day: for each dimension a bit a symbol.
#[derive(Clone, Default)]
struct Day {
    bits: Vec<Vec<u64>>,
    counts: Vec<u32>,
}

impl Day {
    fn new(dimensions: usize) -> Self {
        // What is missing and what was folded are never new.
        let known = 1 << Symbol::NULL.index() | 1 << Symbol::OTHER.index();
        Self { bits: vec![vec![known]; dimensions], counts: vec![0; dimensions] }
    }

    #[inline]
    fn has(&self, dimension: usize, symbol: Symbol) -> bool {
        let word = self.bits[dimension].get(symbol.index() / 64);
        word.is_some_and(|word| word >> (symbol.index() % 64) & 1 == 1)
    }

    fn bytes(&self) -> usize {
        self.bits.iter().map(|bits| 8 * bits.len()).sum()
    }

    fn add(&mut self, dimension: usize, symbol: Symbol) {
        let bits = &mut self.bits[dimension];
        let words = symbol.index() / 64 + 1;
        if bits.len() < words {
            bits.resize(words.max(2 * bits.len()), 0);
        }
        bits[symbol.index() / 64] |= 1 << (symbol.index() % 64);
        self.counts[dimension] += 1;
    }

    fn remove(&mut self, dimension: usize, symbol: Symbol) {
        if self.has(dimension, symbol) {
            self.bits[dimension][symbol.index() / 64] &= !(1 << (symbol.index() % 64));
            self.counts[dimension] -= 1;
        }
    }
}

/// What was seen, and how much may be.
#[derive(Clone)]
pub struct Limits {
    catalog: Arc<Catalog>,
    limits: Vec<u32>,
    days: BTreeMap<i64, Day>,
    /// Values seen for the first time since the last checkpoint: day, dimension, value.
    fresh: Vec<(i64, DimensionIx, Symbol)>,
}

impl Limits {
    /// With nothing seen.
    pub fn new(catalog: Arc<Catalog>) -> Self {
        let limits = catalog.dimensions().iter().map(|d| d.limit).collect();
        Self { catalog, limits, days: BTreeMap::new(), fresh: Vec::new() }
    }

    /// Takes back what checkpoints kept: the last days whatever they take, and of those before as many as may be.
    pub(crate) fn restore(&mut self, store: &impl AggregateStore) -> Result<(), StoreError> {
        let mut values: BTreeMap<i64, usize> = BTreeMap::new();
        store.scan(DIMENSION_DAYS, BucketRange::ALL, &[], &[], &mut |row| {
            *values.entry(row.bucket.seconds()).or_default() += 1;
            ControlFlow::Continue(())
        })?;
        let mut all = 0;
        let kept = values.iter().rev().enumerate().take_while(|(i, (_, count))| {
            all += **count;
            *i < DAYS_KEPT || all <= RESTORED_MAX
        });
        let Some((_, (first, _))) = kept.last() else { return Ok(()) };
        let range = BucketRange::new(BucketStart::from_seconds(*first), BucketStart::from_seconds(i64::MAX));
        store.scan(DIMENSION_DAYS, range, &[], &[], &mut |row| {
            let text = |column: usize| row.names.text(column, row.keys[column]);
            if let (Some(dimension), Some(value)) = (text(0), text(1)) {
                self.restore_value(row.bucket, dimension, value);
            }
            ControlFlow::Continue(())
        })
    }

    /// Takes back one value; `dimension` is the id's text.
    fn restore_value(&mut self, day: BucketStart, dimension: &str, value: &str) {
        let id = dimension.parse::<u16>().ok();
        let found = self.catalog.dimensions().iter().position(|d| Some(d.id) == id);
        let Some(dimension) = found else { return };
        let symbol = self.catalog.symbols().intern(value.as_bytes());
        self.day(day.seconds()).add(dimension, symbol);
        self.note_if_full(day.seconds(), dimension);
    }

    fn day(&mut self, start: i64) -> &mut Day {
        let dimensions = self.limits.len();
        if !self.days.contains_key(&start) {
            while self.days.len() >= DAYS_KEPT && self.days.values().map(Day::bytes).sum::<usize>() > DAYS_BYTES_MAX {
                self.days.pop_first();
            }
        }
        self.days.entry(start).or_insert_with(|| Day::new(dimensions))
    }

    /// Folds what is over a limit, in rows and records, and takes in the rest; the rows say then what was new.
    pub fn admit(&mut self, decoded: &mut Decoded) {
        let Decoded { batch, rows, .. } = decoded;
        let width = self.limits.len();
        let mut first_sights = Vec::new();
        let mut start = 0;
        while start < rows.events.len() {
            let (day, end) = self.same_day(&rows.events, start);
            let Self { limits, days, fresh, .. } = self;
            let Some(seen) = days.get_mut(&day) else { break };
            // One dimension after the other: its bits stay at hand.
            for (d, limit) in limits.iter().enumerate() {
                for i in start..end {
                    let value = &mut rows.dimensions[i * width + d];
                    if seen.has(d, *value) {
                        continue;
                    }
                    if seen.counts[d] < *limit {
                        seen.add(d, *value);
                        fresh.push((day, DimensionIx::new(d), *value));
                        first_sights.push((i as u32, DimensionIx::new(d)));
                    } else {
                        *value = Symbol::OTHER;
                        batch.heads[rows.events[i].ordinal as usize].stamp.folded |= 1 << d;
                    }
                }
            }
            start = end;
        }
        rows.first_sights = Some(first_sights);
    }

    /// Takes in the values of rows that were admitted before.
    pub(crate) fn observe(&mut self, rows: &Rows) {
        if let Some(first_sights) = &rows.first_sights {
            for (i, dimension) in first_sights {
                let day = day_of(rows.events[*i as usize].received_at);
                let value = rows.dimensions[*i as usize * self.limits.len() + dimension.index()];
                self.day(day).add(dimension.index(), value);
                self.fresh.push((day, *dimension, value));
            }
            return;
        }
        for (row, values) in rows.events.iter().zip(rows.dimensions.chunks_exact(self.limits.len())) {
            let day = day_of(row.received_at);
            self.day(day);
            let Self { days, fresh, .. } = self;
            let Some(seen) = days.get_mut(&day) else { continue };
            for (d, value) in values.iter().enumerate() {
                if !seen.has(d, *value) {
                    seen.add(d, *value);
                    fresh.push((day, DimensionIx::new(d), *value));
                }
            }
        }
    }

    /// The day of the row at `start`, remembered from now on, and where its rows end.
    fn same_day(&mut self, rows: &[EventRow], start: usize) -> (i64, usize) {
        let day = day_of(rows[start].received_at);
        let same = rows[start..].iter().take_while(|r| day_of(r.received_at) == day).count();
        self.day(day);
        (day, start + same)
    }

    /// The rows of [`crate::DIMENSION_DAYS`] since the last checkpoint.
    pub(crate) fn rows(&self, revision: adsum_model::id::Revision) -> TableRows {
        let mut rows = TableRows::new(2, 1);
        let symbols = self.catalog.symbols();
        for (day, dimension, value) in &self.fresh {
            let id = symbols.intern(self.catalog.dimensions()[dimension.index()].id.to_string().as_bytes());
            rows.push(BucketStart::from_seconds(*day), &[id, *value], &[1], revision);
        }
        rows
    }

    /// Forgets what was first seen since the last [`Self::settle`]: the frame that it was in was refused.
    pub fn undo(&mut self) {
        for (day, dimension, value) in std::mem::take(&mut self.fresh) {
            if let Some(seen) = self.days.get_mut(&day) {
                seen.remove(dimension.index(), value);
            }
        }
    }

    /// What was seen stays seen: it is in the log, or a checkpoint takes it over.
    pub fn settle(&mut self) {
        for (day, dimension, _) in &self.fresh {
            self.note_if_full(*day, dimension.index());
        }
        self.fresh.clear();
    }

    /// Tells decoders of a day that has as many values as it may; all of them are durable.
    fn note_if_full(&self, day: i64, dimension: usize) {
        let seen = self.days.get(&day).map_or(0, |seen| seen.counts[dimension]);
        if seen >= self.limits[dimension] {
            self.catalog.full_days().set(DimensionIx::new(dimension), ReceivedAt::from_micros(day * 1_000_000));
        }
    }
}

fn day_of(at: ReceivedAt) -> i64 {
    let seconds = at.seconds();
    seconds - seconds.rem_euclid(DAY_SECONDS)
}
