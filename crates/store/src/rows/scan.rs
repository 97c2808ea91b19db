//! The merge of all runs and of rows not committed yet into one ordered stream of sums.
//!
//! Invariant: rows come in order of bucket and key texts, each bucket and key once, its values checked sums. Rows are
//! compared by one 128-bit word: the bucket above, and below as many key ids as fit 64 bits; further key columns
//! decide only between equal words. Memory: one block a source.

use std::cmp::Ordering;
use std::ops::ControlFlow;
use std::sync::Arc;

use adsum_model::id::Revision;
use adsum_model::symbol::Symbols;
use adsum_model::table::TableRows;
use adsum_model::time::BucketStart;

use super::extra::ExtraCursor;
use super::names::{ScanNames, TableNames, texts_of};
use super::read::RunCursor;
use super::run::{RowsRun, RunTable};
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
    /// Bits of each key column in the word; columns behind these are compared one by one.
    pub(super) bits: Vec<u32>,
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
        Self { bits }
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
    /// The rows that are shown.
    pub(super) picks: Vec<u32>,
}

impl Block {
    pub(super) fn new(width: usize, columns: usize) -> Self {
        Self { keys: vec![Vec::new(); width], values: vec![Vec::new(); columns], ..Self::default() }
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

enum Origin<'a> {
    Run(RunCursor<'a>),
    Extra(ExtraCursor<'a>),
}

struct Source<'a> {
    origin: Origin<'a>,
    block: Block,
    at: usize,
    /// The word of the present row; `None` at the end.
    word: Option<u128>,
}

impl<'a> Source<'a> {
    fn new(origin: Origin<'a>, spec: &Spec<'_>) -> Result<Self, StoreError> {
        let block = Block::new(spec.allowed.len(), spec.columns.len());
        let mut source = Self { origin, block, at: 0, word: None };
        source.refill(spec)?;
        Ok(source)
    }

    #[cold]
    fn refill(&mut self, spec: &Spec<'_>) -> Result<(), StoreError> {
        self.at = 0;
        loop {
            let more = match &mut self.origin {
                Origin::Run(cursor) => cursor.fill(spec, &mut self.block)?,
                Origin::Extra(cursor) => cursor.fill(spec, &mut self.block)?,
            };
            self.word = self.block.picks.first().filter(|_| more).map(|&row| self.block.words[row as usize]);
            if !more || self.word.is_some() {
                return Ok(());
            }
        }
    }

    fn advance(&mut self, spec: &Spec<'_>) -> Result<(), StoreError> {
        self.at += 1;
        match self.block.picks.get(self.at) {
            Some(&row) => self.word = Some(self.block.words[row as usize]),
            None => self.refill(spec)?,
        }
        Ok(())
    }

    fn row(&self) -> usize {
        self.block.picks[self.at] as usize
    }

    fn compare_rest(&self, other: &Self, spec: &Spec<'_>) -> Ordering {
        (spec.packing.bits.len()..self.block.keys.len())
            .map(|c| self.block.keys[c][self.row()].cmp(&other.block.keys[c][other.row()]))
            .find(|o| o.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

/// The row that is being shown.
struct Sum {
    word: u128,
    keys: Vec<u32>,
    values: Vec<i64>,
    revision: i64,
    least: i64,
}

impl Sum {
    fn set(&mut self, source: &Source<'_>, word: u128) {
        let row = source.row();
        let block = &source.block;
        self.word = word;
        for (to, from) in self.keys.iter_mut().zip(&block.keys) {
            *to = from[row];
        }
        for (to, from) in self.values.iter_mut().zip(&block.values) {
            *to = from[row];
        }
        self.revision = block.revisions[row];
        self.least = self.revision - block.spreads[row];
    }

    fn add(&mut self, source: &Source<'_>, spec: &Spec<'_>) -> Result<(), StoreError> {
        let row = source.row();
        let block = &source.block;
        for (to, from) in self.values.iter_mut().zip(&block.values) {
            *to = spec.sum(*to, from[row])?;
        }
        self.revision = self.revision.max(block.revisions[row]);
        self.least = self.least.min(block.revisions[row] - block.spreads[row]);
        Ok(())
    }

    fn show(&self, names: &Arc<ScanNames>, visit: &mut dyn FnMut(&ScanRow<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
        visit(&ScanRow {
            bucket: BucketStart::from_seconds(bucket_of(self.word)),
            keys: &self.keys,
            values: &self.values,
            revision: Revision::new(self.revision as u64),
            revision_least: Revision::new(self.least as u64),
            names,
        })
    }
}

impl TableScan<'_> {
    /// Shows every row until `visit` breaks off.
    pub(crate) fn each(&self, visit: &mut dyn FnMut(&ScanRow<'_>) -> ControlFlow<()>) -> Result<(), StoreError> {
        let further = self.addition.map(|a| texts_of(a.rows, self.width, a.symbols));
        let own = further.and_then(|texts| self.names.with(&texts));
        let names = own.as_ref().unwrap_or(self.names);
        let spec = self.spec(&names.names)?;
        let mut sources = Vec::with_capacity(self.runs.len() + 1);
        for ((run, table), map) in self.runs.iter().zip(&names.maps) {
            sources.push(Source::new(Origin::Run(RunCursor::new(run, table, map, &spec)), &spec)?);
        }
        if let Some(addition) = self.addition {
            sources.push(Source::new(Origin::Extra(ExtraCursor::new(addition, self.width, &spec)), &spec)?);
        }
        sources.retain(|s| s.word.is_some());
        self.merge(&spec, sources, &names.names, visit)
    }

    /// Shows the rows of the addition alone, sorted and added up, as blocks of columns.
    pub(super) fn each_block_added(
        &self,
        addition: Addition<'_>,
        visit: &mut dyn FnMut(&Block, &ScanNames) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let names = self.names.with(&texts_of(addition.rows, self.width, addition.symbols));
        let names = names.as_ref().unwrap_or(self.names);
        let spec = self.spec(&names.names)?;
        let mut cursor = ExtraCursor::new(addition, self.width, &spec);
        let mut block = Block::new(self.width, self.columns.len());
        while cursor.fill(&spec, &mut block)? {
            visit(&block, &names.names)?;
        }
        Ok(())
    }

    fn spec<'b>(&'b self, names: &'b ScanNames) -> Result<Spec<'b>, StoreError> {
        Ok(Spec {
            columns: self.columns,
            range: self.range,
            names,
            packing: Packing::of(names, self.width),
            allowed: self.allowed(names)?,
            table: self.name,
        })
    }

    fn merge(
        &self,
        spec: &Spec<'_>,
        mut sources: Vec<Source<'_>>,
        names: &Arc<ScanNames>,
        visit: &mut dyn FnMut(&ScanRow<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut sum =
            Sum { word: 0, keys: vec![0; self.width], values: vec![0; self.columns.len()], revision: 0, least: 0 };
        while let Some((first, word, bound)) = least_two(&sources) {
            let source = &mut sources[first];
            if bound.is_none_or(|b| word < b) {
                // Nobody else has rows before `bound`: this source's pass as they are.
                let mut word = word;
                loop {
                    sum.set(source, word);
                    source.advance(spec)?;
                    if sum.show(names, visit).is_break() {
                        return Ok(());
                    }
                    match source.word {
                        Some(next) if bound.is_none_or(|b| next < b) => word = next,
                        _ => break,
                    }
                }
            } else {
                let least = (first + 1..sources.len())
                    .filter(|&i| sources[i].word == Some(word))
                    .fold(first, |a, b| if sources[b].compare_rest(&sources[a], spec).is_lt() { b } else { a });
                let equal: Vec<usize> = (0..sources.len())
                    .filter(|&i| sources[i].word == Some(word))
                    .filter(|&i| sources[i].compare_rest(&sources[least], spec).is_eq())
                    .collect();
                sum.set(&sources[least], word);
                for &i in &equal {
                    if i != least {
                        sum.add(&sources[i], spec)?;
                    }
                }
                for i in equal {
                    sources[i].advance(spec)?;
                }
                if sum.show(names, visit).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
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

/// The source with the least word, that word, and the least word of all others.
fn least_two(sources: &[Source<'_>]) -> Option<(usize, u128, Option<u128>)> {
    let mut least: Option<(usize, u128)> = None;
    let mut bound: Option<u128> = None;
    for (i, source) in sources.iter().enumerate() {
        let Some(word) = source.word else { continue };
        match least {
            Some((_, l)) if word >= l => bound = Some(bound.map_or(word, |b| b.min(word))),
            _ => {
                bound = least.map(|(_, l)| l).or(bound);
                least = Some((i, word));
            }
        }
    }
    least.map(|(i, word)| (i, word, bound))
}
