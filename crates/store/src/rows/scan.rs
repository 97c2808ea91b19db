//! A scan of one table: all runs and the rows not committed yet, as one ordered stream of sums.
//!
//! Invariant: rows come in order of bucket and key texts, each bucket and key once. They are compared by one 128-bit
//! word: the bucket above, and below as many key ids as fit 64 bits; further key columns decide only between equal
//! words. Not here: how the sources become one stream (merged).

use std::ops::ControlFlow;
use std::sync::Arc;

use adsum_model::id::Revision;
use adsum_model::symbol::Symbols;
use adsum_model::table::TableRows;
use adsum_model::time::BucketStart;

use super::BATCH_ROWS;
use super::extra::ExtraCursor;
use super::merged::{Merged, Origin};
use super::names::{ScanNames, TableNames, texts_of};
use super::read::RunCursor;
use super::run::{RowsRun, RunTable};
use super::sort::{bits_of, sort_by_number};
use crate::error::StoreError;
use crate::{BucketRange, KeyFilter, ScanRow};

/// Rows that are not in runs.
#[derive(Clone, Copy)]
pub(crate) struct Addition<'a> {
    pub(crate) rows: &'a [&'a TableRows],
    /// What their value columns are.
    pub(crate) columns: &'a [u16],
    pub(crate) symbols: &'a Symbols,
}

/// One table to be scanned.
pub(crate) struct TableScan<'a> {
    pub(crate) name: &'a str,
    /// Key columns.
    pub(crate) width: usize,
    /// The value columns to show.
    pub(crate) columns: &'a [u16],
    /// The runs that have the table, as `names` maps them.
    pub(crate) runs: &'a [(&'a RowsRun, &'a RunTable)],
    pub(crate) names: &'a TableNames,
    pub(crate) range: BucketRange,
    pub(crate) filters: &'a [KeyFilter],
    pub(crate) addition: Option<Addition<'a>>,
}

/// Where each row's word comes from.
#[derive(Clone, Debug)]
pub(super) struct Packing {
    /// Bits of each key column in the word, from its top; columns behind these are compared one by one.
    pub(super) bits: Vec<u32>,
    /// Bits of all of them.
    pub(super) key_bits: u32,
}

impl Packing {
    fn of(names: &ScanNames, width: usize) -> Self {
        let (mut bits, mut sum) = (Vec::with_capacity(width), 0);
        for column in 0..width {
            let of_column = (usize::BITS - names.len(column).leading_zeros()).max(1);
            sum += of_column;
            if sum > 64 {
                break;
            }
            bits.push(of_column);
        }
        let key_bits = bits.iter().sum();
        Self { bits, key_bits }
    }

    /// How far to the left the ids of a column stand in the word, if they do.
    pub(super) fn shift(&self, column: usize) -> Option<u32> {
        (column < self.bits.len()).then(|| u64::BITS - self.bits[..=column].iter().sum::<u32>())
    }

    /// The ids in the word as a number of so many bits: they stand in its upper ones.
    #[inline(always)]
    pub(super) fn key(&self, word: u64) -> u64 {
        word.unbounded_shr(u64::BITS - self.key_bits)
    }
}

/// The word of a bucket, without keys.
pub(super) fn bucket_word(bucket: i64) -> u128 {
    u128::from(bucket as u64 ^ (1 << 63)) << 64
}

/// The bucket of a word, in seconds.
pub(super) fn bucket_of(word: u128) -> i64 {
    ((word >> 64) as u64 ^ (1 << 63)) as i64
}

/// Rows of one source, decoded, as columns.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) words: Vec<u128>,
    pub(super) keys: Vec<Vec<u32>>,
    pub(super) values: Vec<Vec<i64>>,
    pub(super) revisions: Vec<i64>,
    /// How far the least revision lies below.
    pub(super) spreads: Vec<i64>,
    /// The rows in the order of bucket and key, where they stand otherwise.
    pub(super) picks: Vec<u32>,
    /// Whether they stand in that order.
    pub(super) in_order: bool,
    /// For each value column, whether all rows hold one value, and which.
    pub(super) alike: Vec<Option<i64>>,
}

impl Block {
    pub(super) fn new(width: usize, columns: usize) -> Self {
        Self { keys: vec![Vec::new(); width], values: vec![Vec::new(); columns], ..Self::default() }
    }

    pub(super) fn clear(&mut self) {
        self.remove_first(self.words.len());
        self.picks.clear();
    }

    /// Removes the first rows.
    pub(super) fn remove_first(&mut self, count: usize) {
        self.words.drain(..count);
        self.keys.iter_mut().for_each(|column| drop(column.drain(..count)));
        let numbers = self.values.iter_mut().chain([&mut self.revisions, &mut self.spreads]);
        numbers.for_each(|column| drop(column.drain(..count)));
    }

    /// Adds to the row `at` what another row of its bucket and key says of revisions.
    pub(super) fn add_revision(&mut self, at: usize, revision: i64, spread: i64) {
        let least = (self.revisions[at] - self.spreads[at]).min(revision - spread);
        self.revisions[at] = self.revisions[at].max(revision);
        self.spreads[at] = self.revisions[at] - least;
    }

    /// Orders rows of these buckets by bucket; those of one bucket stand in the order of their keys.
    pub(super) fn order(&mut self, (first, last): (i64, i64), spare: &mut Vec<u32>) {
        let is_alike = |column: &Vec<i64>| {
            let (first, rest) = column.split_first()?;
            (*rest == column[..rest.len()]).then_some(*first)
        };
        self.alike.clear();
        self.alike.extend(self.values.iter().map(is_alike));
        self.picks.clear();
        self.picks.extend(0..self.words.len() as u32);
        self.in_order = first >= last;
        if !self.in_order {
            let words = &self.words;
            let behind = |row: &u32| bucket_of(words[*row as usize]).wrapping_sub(first) as u64;
            sort_by_number(&mut self.picks, spare, bits_of(last.wrapping_sub(first) as u64), behind);
        }
    }
}

/// What every source needs to know.
pub(super) struct Spec<'a> {
    pub(super) columns: &'a [u16],
    pub(super) range: BucketRange,
    pub(super) names: &'a ScanNames,
    pub(super) packing: Packing,
    /// For each key column, if it is filtered, which ids pass.
    pub(super) allowed: Vec<Option<Vec<bool>>>,
    /// The ids of the first key column that pass, in order, if it is filtered.
    pub(super) first_allowed: Option<Vec<u32>>,
    pub(super) table: &'a str,
}

impl Spec<'_> {
    /// The sum of two values.
    pub(super) fn sum(&self, a: i64, b: i64) -> Result<i64, StoreError> {
        a.checked_add(b).ok_or_else(|| StoreError::Overflow { table: self.table.to_owned() })
    }

    /// Whether every filter lets a key pass.
    pub(super) fn passes(&self, column: usize, id: u32) -> bool {
        self.allowed[column].as_ref().is_none_or(|a| a[id as usize])
    }
}

impl TableScan<'_> {
    /// Lends the scan's rows as a stream of batches, and the texts behind their ids.
    pub(super) fn rows<R>(
        &self,
        read: impl FnOnce(&mut Merged<'_, '_>, &Arc<ScanNames>) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        let further = self.addition.map(|a| texts_of(a.rows, self.width, a.symbols));
        let own = further.and_then(|texts| self.names.with(&texts));
        let names = own.as_ref().unwrap_or(self.names);
        let spec = self.spec(&names.names)?;
        let runs = self.runs.iter().zip(&names.maps);
        let runs = runs.map(|((run, table), map)| Origin::Run(RunCursor::new(run, table, map, &spec)));
        let addition = self.addition.map(|a| Origin::Extra(ExtraCursor::new(a, self.width, &spec)));
        read(&mut Merged::new(&spec, runs.chain(addition).collect())?, &names.names)
    }

    /// Shows every row until `visit` breaks off.
    pub(crate) fn each(&self, visit: &mut dyn FnMut(&ScanRow<'_>) -> ControlFlow<()>) -> Result<(), StoreError> {
        self.rows(|rows, names| {
            let mut batch = Block::new(self.width, self.columns.len());
            let (mut keys, mut values) = (vec![0; self.width], vec![0; self.columns.len()]);
            while rows.fill(BATCH_ROWS, &mut batch)? {
                for (row, &word) in batch.words.iter().enumerate() {
                    keys.iter_mut().zip(&batch.keys).for_each(|(to, from)| *to = from[row]);
                    values.iter_mut().zip(&batch.values).for_each(|(to, from)| *to = from[row]);
                    let (revision, spread) = (batch.revisions[row], batch.spreads[row]);
                    let shown = visit(&ScanRow {
                        bucket: BucketStart::from_seconds(bucket_of(word)),
                        keys: &keys,
                        values: &values,
                        revision: Revision::new(revision as u64),
                        revision_least: Revision::new((revision - spread) as u64),
                        names,
                    });
                    if shown.is_break() {
                        return Ok(());
                    }
                }
                batch.clear();
            }
            Ok(())
        })
    }

    fn spec<'b>(&'b self, names: &'b ScanNames) -> Result<Spec<'b>, StoreError> {
        let allowed = self.allowed(names)?;
        Ok(Spec {
            columns: self.columns,
            range: self.range,
            names,
            packing: Packing::of(names, self.width),
            first_allowed: self.first_allowed(names, &allowed),
            allowed,
            table: self.name,
        })
    }

    /// The ids of the first key column that pass, if it is filtered.
    fn first_allowed(&self, names: &ScanNames, allowed: &[Option<Vec<bool>>]) -> Option<Vec<u32>> {
        let passes = allowed.first()?.as_ref()?;
        let values = self.filters.iter().filter(|f| f.column == 0).flat_map(|f| &f.allowed);
        let ids = values.filter_map(|value| value.as_ref().map_or(Some(0), |text| names.find(0, text)));
        let mut ids: Vec<u32> = ids.filter(|&id| passes[id as usize]).collect();
        ids.sort_unstable();
        ids.dedup();
        Some(ids)
    }

    fn allowed(&self, names: &ScanNames) -> Result<Vec<Option<Vec<bool>>>, StoreError> {
        let mut allowed: Vec<Option<Vec<bool>>> = vec![None; self.width];
        for filter in self.filters {
            let slot = allowed.get_mut(filter.column).ok_or_else(|| StoreError::Schema {
                table: self.name.to_owned(),
                detail: format!("a filter names key column {} of {}", filter.column, self.width),
            })?;
            let mut passes = vec![false; names.len(filter.column) + 1];
            for value in &filter.allowed {
                let id = value.as_ref().map_or(Some(0), |text| names.find(filter.column, text));
                if let Some(id) = id {
                    passes[id as usize] = true;
                }
            }
            match slot {
                Some(before) => before.iter_mut().zip(&passes).for_each(|(a, b)| *a &= b),
                None => *slot = Some(passes),
            }
        }
        Ok(allowed)
    }
}
