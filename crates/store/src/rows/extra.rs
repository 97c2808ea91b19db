//! Rows in memory as a source of a scan: sorted by reference, added up batch by batch.
//!
//! Invariant: a batch of it holds each bucket and key once, in the scan's order. It holds 16 bytes a row that is
//! shown, never a copy of all values. Rows are dealt out by bucket, then each bucket's are sorted by the packed key.

use std::cmp::Ordering;

use adsum_model::prefetch::fetch;
use adsum_model::symbol::{Symbol, SymbolNames, Symbols};
use adsum_model::table::TableRows;
use adsum_model::time::BucketStart;
use hashbrown::HashMap;

use super::dictionary::Dictionary;
use super::scan::{Addition, Block, Spec, bucket_word};
use super::sort::sort_by_number;
use crate::error::StoreError;

/// Rows that are fetched before they are gathered: they lie all over the memory, and must fit the nearer caches.
const GATHERED_ROWS: usize = 128;

/// A row of a bucket: its packed key, and where it lies.
#[derive(Clone, Copy)]
struct Entry {
    packed: u64,
    part: u32,
    row: u32,
}

/// A symbol whose id does not pass.
const FAILS: u64 = u64::MAX - 1;
/// A symbol that was not met yet.
const UNKNOWN: u64 = u64::MAX;

/// The way from the symbols of one key column to ids, filled as symbols are met.
struct KeyColumn<'a> {
    dictionary: &'a Dictionary,
    /// If it is filtered, which ids pass.
    allowed: Option<&'a [bool]>,
    /// Where its ids stand in the packed key, if they do.
    shift: Option<u32>,
    /// By symbol, the id where it stands in the packed key.
    packed: Vec<u64>,
    ids: Vec<u32>,
}

impl<'a> KeyColumn<'a> {
    fn new(column: usize, spec: &'a Spec<'_>, symbols: usize) -> Self {
        Self {
            dictionary: spec.names.dictionary(column),
            allowed: spec.allowed[column].as_deref(),
            shift: spec.packing.shift(column),
            packed: vec![UNKNOWN; symbols],
            ids: vec![0; symbols],
        }
    }

    /// What [`Self::packed`] holds for a symbol whose text is in the dictionary.
    #[cold]
    fn resolve(&mut self, symbol: Symbol, names: &SymbolNames<'_>) -> u64 {
        let id = names.text(symbol).map_or(0, |text| {
            self.dictionary.find(text).expect("the dictionary was made of these rows' texts among others")
        });
        let passes = self.allowed.is_none_or(|allowed| allowed[id as usize]);
        let packed = self.shift.map_or(0, |shift| u64::from(id) << shift);
        self.ids[symbol.index()] = id;
        self.packed[symbol.index()] = if passes { packed } else { FAILS };
        self.packed[symbol.index()]
    }
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
    /// The rows that come next, and those that add to the row at some place.
    own: Vec<Entry>,
    added: Vec<(usize, Entry)>,
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
            own: Vec::new(),
            added: Vec::new(),
        };
        let symbols = cursor.symbols.len();
        cursor.symbols.read(|names| cursor.collect(spec, symbols, names));
        let (parts, ids, packed) = (cursor.parts, &cursor.ids, spec.packing.bits.len());
        cursor.buckets.sort_unstable_by_key(|b| b.0);
        let mut spare = Vec::new();
        for (_, entries) in &mut cursor.buckets {
            sort_by_number(entries, &mut spare, spec.packing.key_bits, |e| spec.packing.key(e.packed));
            if packed < width {
                entries.chunk_by_mut(|a, b| a.packed == b.packed).for_each(|equal| {
                    equal.sort_by(|a, b| compare_rest(parts, ids, packed, *a, *b));
                });
            }
        }
        cursor
    }

    fn collect(&mut self, spec: &Spec<'_>, symbols: usize, names: &SymbolNames<'_>) {
        let mut columns: Vec<KeyColumn<'_>> =
            (0..self.width).map(|column| KeyColumn::new(column, spec, symbols)).collect();
        let mut places: HashMap<BucketStart, usize> = HashMap::new();
        let mut last = (BucketStart::from_seconds(i64::MIN), usize::MAX);
        for (part, rows) in self.parts.iter().enumerate() {
            for (row, &bucket) in rows.buckets.iter().enumerate() {
                if !spec.range.contains(bucket) {
                    continue;
                }
                let (mut packed, mut passes) = (0, true);
                for (column, &symbol) in columns.iter_mut().zip(rows.key(row)) {
                    let mut bits = column.packed[symbol.index()];
                    if bits >= FAILS {
                        bits = column.resolve(symbol, names);
                        passes &= bits != FAILS;
                    }
                    packed |= bits;
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
        self.ids = columns.into_iter().map(|column| column.ids).collect();
    }

    /// Appends the next rows, each added up, at most `most`; false at the end.
    pub(super) fn fill(&mut self, spec: &Spec<'_>, most: usize, out: &mut Block) -> Result<bool, StoreError> {
        let (packed, start) = (spec.packing.bits.len(), out.words.len());
        self.own.clear();
        self.added.clear();
        while let Some((bucket, entries)) = self.buckets.get(self.bucket) {
            let word = bucket_word(*bucket);
            // The rows of one bucket and key all come in one call: it ends only where another begins.
            let mut last: Option<Entry> = None;
            while let Some(&entry) = entries.get(self.next) {
                let adds = last.is_some_and(|l| {
                    l.packed == entry.packed && compare_rest(self.parts, &self.ids, packed, l, entry).is_eq()
                });
                if adds {
                    self.added.push((out.words.len() - 1, entry));
                } else if self.own.len() == most {
                    break;
                } else {
                    self.own.push(entry);
                    out.words.push(word | u128::from(entry.packed));
                }
                last = Some(entry);
                self.next += 1;
            }
            if self.next < entries.len() {
                break;
            }
            self.bucket += 1;
            self.next = 0;
        }
        let mut values = Vec::with_capacity(GATHERED_ROWS);
        for rows in self.own.chunks(GATHERED_ROWS) {
            self.gather(rows, spec, &mut values, out);
        }
        for &(at, entry) in &self.added {
            self.add(at, entry, spec, out)?;
        }
        Ok(out.words.len() > start)
    }

    /// Appends rows, a column at a time.
    fn gather<'b>(&'b self, rows: &[Entry], spec: &Spec<'_>, values: &mut Vec<&'b [i64]>, out: &mut Block) {
        values.clear();
        values.extend(rows.iter().map(|row| {
            let (part, row) = (self.parts[row.part as usize], row.row as usize);
            let values = part.row_values(row);
            values.first().into_iter().chain(values.last()).for_each(fetch);
            fetch(&part.revisions[row]);
            values
        }));
        for (column, to) in out.keys.iter_mut().enumerate() {
            match spec.packing.shift(column) {
                Some(shift) => {
                    let mask = (1 << spec.packing.bits[column]) - 1;
                    to.extend(rows.iter().map(|row| (row.packed >> shift & mask) as u32));
                }
                None => to.extend(rows.iter().map(|row| id_of(self.parts, &self.ids, *row, column))),
            }
        }
        for (place, to) in self.places.iter().zip(&mut out.values) {
            match *place {
                None => to.resize(to.len() + rows.len(), 0),
                Some(place) => to.extend(values.iter().map(|values| values[place])),
            }
        }
        out.revisions.extend(rows.iter().map(|row| self.revision(*row)));
        out.spreads.resize(out.revisions.len(), 0);
    }

    /// Adds a row to the one that stands at `at`.
    fn add(&self, at: usize, row: Entry, spec: &Spec<'_>, out: &mut Block) -> Result<(), StoreError> {
        let values = self.parts[row.part as usize].row_values(row.row as usize);
        for (place, to) in self.places.iter().zip(&mut out.values) {
            if let Some(place) = place {
                to[at] = spec.sum(to[at], values[*place])?;
            }
        }
        out.add_revision(at, self.revision(row), 0);
        Ok(())
    }

    fn revision(&self, row: Entry) -> i64 {
        self.parts[row.part as usize].revisions[row.row as usize].get() as i64
    }
}

/// The id of a row in a key column.
fn id_of(parts: &[&TableRows], ids: &[Vec<u32>], entry: Entry, column: usize) -> u32 {
    ids[column][parts[entry.part as usize].key(entry.row as usize)[column].index()]
}

/// The order of two rows of one bucket with equal packed keys: by the key columns that did not fit.
fn compare_rest(parts: &[&TableRows], ids: &[Vec<u32>], packed: usize, a: Entry, b: Entry) -> Ordering {
    let id = |entry: Entry, column: usize| id_of(parts, ids, entry, column);
    (packed..ids.len()).map(|c| id(a, c).cmp(&id(b, c))).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
}
