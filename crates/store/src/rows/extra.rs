//! Rows in memory as a source of a scan: sorted by reference, added up block by block.
//!
//! Invariant: a block of it holds each bucket and key once, in the scan's order. It holds 16 bytes a row that is
//! shown, never a copy of all values. Rows are dealt out by bucket, then each bucket's are sorted by the packed key.

use std::cmp::Ordering;

use adsum_model::prefetch::fetch;
use adsum_model::symbol::{SymbolNames, Symbols};
use adsum_model::table::TableRows;
use adsum_model::time::BucketStart;
use hashbrown::HashMap;

use super::BLOCK_ROWS;
use super::names::SymbolIds;
use super::scan::{Addition, Block, Spec, bucket_word};
use crate::error::StoreError;

/// How far ahead of their use rows are fetched: they lie all over the memory.
const FETCH_AHEAD: usize = 12;

/// A row of a bucket: its packed key, and where it lies.
#[derive(Clone, Copy)]
struct Entry {
    packed: u64,
    part: u32,
    row: u32,
}

/// Where a scan stands in rows that are not in runs.
pub(super) struct ExtraCursor<'a> {
    parts: &'a [&'a TableRows],
    symbols: &'a Symbols,
    width: usize,
    /// By bucket, in order.
    buckets: Vec<(i64, Vec<Entry>)>,
    bucket: usize,
    next: usize,
    /// The id of each symbol, by key column.
    ids: Vec<Vec<u32>>,
    /// For each column that is shown its place in the rows, if they have it.
    places: Vec<Option<usize>>,
}

impl<'a> ExtraCursor<'a> {
    pub(super) fn new(addition: Addition<'a>, width: usize, spec: &Spec<'_>) -> Self {
        let places = spec.columns.iter().map(|id| addition.columns.iter().position(|c| c == id)).collect();
        let mut cursor = Self {
            parts: addition.rows,
            symbols: addition.symbols,
            width,
            buckets: Vec::new(),
            bucket: 0,
            next: 0,
            ids: Vec::new(),
            places,
        };
        cursor.symbols.read(|names| cursor.collect(spec, names));
        let (parts, ids, packed) = (cursor.parts, &cursor.ids, spec.packing.bits.len());
        cursor.buckets.sort_unstable_by_key(|b| b.0);
        for (_, entries) in &mut cursor.buckets {
            entries.sort_unstable_by(|a, b| {
                a.packed.cmp(&b.packed).then_with(|| compare_rest(parts, ids, packed, *a, *b))
            });
        }
        cursor
    }

    fn collect(&mut self, spec: &Spec<'_>, names: &SymbolNames<'_>) {
        let symbols = self.symbols_len();
        let mut ids: Vec<SymbolIds<'_>> =
            (0..self.width).map(|c| SymbolIds::new(spec.names.dictionary(c), symbols)).collect();
        let mut places: HashMap<BucketStart, usize> = HashMap::new();
        let mut last = (BucketStart::from_seconds(i64::MIN), usize::MAX);
        for (part, rows) in self.parts.iter().enumerate() {
            for (row, &bucket) in rows.buckets.iter().enumerate() {
                if !spec.range.contains(bucket) {
                    continue;
                }
                let (mut packed, mut shift, mut passes) = (0_u64, 64, true);
                for (column, &symbol) in rows.key(row).iter().enumerate() {
                    let id = ids[column].id(symbol, names);
                    passes &= spec.passes(column, id);
                    if let Some(bits) = spec.packing.bits.get(column) {
                        shift -= bits;
                        packed |= u64::from(id) << shift;
                    }
                }
                if !passes {
                    continue;
                }
                if last.0 != bucket || last.1 == usize::MAX {
                    let place = *places.entry(bucket).or_insert_with(|| {
                        self.buckets.push((bucket.seconds(), Vec::new()));
                        self.buckets.len() - 1
                    });
                    last = (bucket, place);
                }
                self.buckets[last.1].1.push(Entry { packed, part: part as u32, row: row as u32 });
            }
        }
        self.ids = ids.into_iter().map(SymbolIds::into_ids).collect();
    }

    /// One more than the greatest symbol of the rows.
    fn symbols_len(&self) -> usize {
        self.parts.iter().flat_map(|p| &p.keys).map(|s| s.index() + 1).max().unwrap_or(1)
    }

    /// Adds up the next block; false at the end.
    pub(super) fn fill(&mut self, spec: &Spec<'_>, block: &mut Block) -> Result<bool, StoreError> {
        block.words.clear();
        block.picks.clear();
        block.keys.iter_mut().for_each(Vec::clear);
        block.values.iter_mut().for_each(Vec::clear);
        block.revisions.clear();
        block.spreads.clear();
        let packed = spec.packing.bits.len();
        let mut last: Option<(i64, Entry)> = None;
        while let Some((bucket, entries)) = self.buckets.get(self.bucket) {
            let Some(&entry) = entries.get(self.next) else {
                self.bucket += 1;
                self.next = 0;
                continue;
            };
            let same = last.is_some_and(|(b, l)| {
                b == *bucket
                    && l.packed == entry.packed
                    && compare_rest(self.parts, &self.ids, packed, l, entry).is_eq()
            });
            if !same && block.words.len() == BLOCK_ROWS {
                break;
            }
            if let Some(ahead) = entries.get(self.next + FETCH_AHEAD) {
                fetch_row(self.parts[ahead.part as usize], ahead.row as usize);
            }
            self.next += 1;
            let rows = self.parts[entry.part as usize];
            let row = entry.row as usize;
            let (values, revision) = (rows.row_values(row), rows.revisions[row].get() as i64);
            if same {
                let at = block.words.len() - 1;
                for (place, to) in self.places.iter().zip(&mut block.values) {
                    if let Some(place) = place {
                        to[at] = spec.sum(to[at], values[*place])?;
                    }
                }
                let least = (block.revisions[at] - block.spreads[at]).min(revision);
                block.revisions[at] = block.revisions[at].max(revision);
                block.spreads[at] = block.revisions[at] - least;
                continue;
            }
            last = Some((*bucket, entry));
            block.picks.push(block.words.len() as u32);
            block.words.push(bucket_word(*bucket) | u128::from(entry.packed));
            for ((to, symbol), ids) in block.keys.iter_mut().zip(rows.key(row)).zip(&self.ids) {
                to.push(ids[symbol.index()]);
            }
            for (place, to) in self.places.iter().zip(&mut block.values) {
                to.push(place.map_or(0, |p| values[p]));
            }
            block.revisions.push(revision);
            block.spreads.push(0);
        }
        Ok(!block.words.is_empty())
    }
}

/// Starts fetching what [`ExtraCursor::fill`] reads of a row.
fn fetch_row(rows: &TableRows, row: usize) {
    rows.key(row).first().into_iter().for_each(fetch);
    rows.row_values(row).first().into_iter().chain(rows.row_values(row).last()).for_each(fetch);
    fetch(&rows.revisions[row]);
}

/// The order of two rows of one bucket with equal packed keys: by the key columns that did not fit.
fn compare_rest(parts: &[&TableRows], ids: &[Vec<u32>], packed: usize, a: Entry, b: Entry) -> Ordering {
    let id =
        |entry: Entry, column: usize| ids[column][parts[entry.part as usize].key(entry.row as usize)[column].index()];
    (packed..ids.len()).map(|c| id(a, c).cmp(&id(b, c))).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
}
