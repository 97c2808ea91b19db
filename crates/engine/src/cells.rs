//! Stage one of the two-stage aggregation: one shard's partial sums of one rollup since the last checkpoint.
//!
//! A cell is a run of words: bucket, key, values, revision. Invariant: additions are checked; a sum that would
//! overflow is an error, never a wrapped number. Stage two is the store's: partials of one key add up.

use adsum_model::catalog::{BillableType, Catalog, DimensionIx, MetricKind, RollupDef};
use adsum_model::id::Revision;
use adsum_model::rows::{EventRow, RowFlags};
use adsum_model::symbol::Symbol;
use adsum_model::table::TableRows;
use adsum_model::time::BucketStart;

use crate::fold::FoldError;

/// Which columns an event adds to: derived from the catalog once.
#[derive(Clone, Debug)]
pub(crate) struct Columns {
    width: usize,
    spend: usize,
    value: usize,
    unpriced: usize,
    /// By event type, what it is billed by.
    billed_by: Vec<Option<BillableType>>,
}

impl Columns {
    pub fn new(catalog: &Catalog) -> Self {
        let of = |kind| catalog.column_of(kind).expect("the column stands in the catalog's table of metrics");
        Self {
            width: catalog.columns().len(),
            spend: of(MetricKind::Spend),
            value: of(MetricKind::Value),
            unpriced: of(MetricKind::Unpriced),
            billed_by: catalog.event_types().iter().map(|t| t.billed_by).collect(),
        }
    }
}

/// Words that a cell's key takes: the bucket, and two symbols a word.
fn key_words(symbols: usize) -> usize {
    1 + symbols.div_ceil(2)
}

/// The most words of a key: a rollup has at most 12 dimensions, and the currency.
const KEY_WORDS_MAX: usize = 8;

/// The partial sums of one rollup.
pub(crate) struct CellTable {
    dimensions: Vec<DimensionIx>,
    key_words: usize,
    cell_words: usize,
    /// Cell number plus one; 0 is an empty place. A power of two long.
    places: Vec<u32>,
    words: Vec<u64>,
    len: usize,
}

impl CellTable {
    pub fn new(rollup: &RollupDef, columns: &Columns) -> Self {
        let key_words = key_words(rollup.dimensions.len() + 1);
        assert!(key_words <= KEY_WORDS_MAX, "the catalog bounds the dimensions of a rollup");
        Self {
            dimensions: rollup.dimensions.clone(),
            key_words,
            cell_words: key_words + columns.width + 1,
            places: vec![0; 1024],
            words: Vec::new(),
            len: 0,
        }
    }

    /// Adds one counted event.
    #[inline]
    pub fn add(
        &mut self,
        row: &EventRow,
        dimensions: &[Symbol],
        bucket: BucketStart,
        columns: &Columns,
        revision: Revision,
    ) -> Result<(), FoldError> {
        let mut key = [0_u64; KEY_WORDS_MAX];
        key[0] = bucket.seconds() as u64;
        let mut i = 0;
        for d in &self.dimensions {
            key[1 + i / 2] |= u64::from(dimensions[d.index()].get()) << (32 * (i % 2));
            i += 1;
        }
        key[1 + i / 2] |= u64::from(row.currency.get()) << (32 * (i % 2));
        let at = self.cell(&key);
        let cell = &mut self.words[at + self.key_words..at + self.cell_words];
        let (values, last) = cell.split_at_mut(columns.width);
        let mut add = |column: usize, amount: u64| -> Result<(), FoldError> {
            let amount = i64::try_from(amount).map_err(|_| FoldError::Overflow)?;
            let sum = (values[column] as i64).checked_add(amount).ok_or(FoldError::Overflow)?;
            values[column] = sum as u64;
            Ok(())
        };
        add(row.event_type.index(), 1)?;
        if columns.billed_by[row.event_type.index()] == Some(row.billable) {
            add(columns.spend, row.price_micros)?;
            add(columns.unpriced, u64::from(!row.flags.has(RowFlags::PRICED)))?;
        }
        if row.value_micros != 0 {
            add(columns.value, row.value_micros)?;
        }
        last[0] = revision.get();
        Ok(())
    }

    /// Where the words of a key's cell begin; a new cell begins at zero.
    #[inline]
    fn cell(&mut self, key: &[u64; KEY_WORDS_MAX]) -> usize {
        let mut place = place_of(&key[..self.key_words], self.places.len());
        loop {
            match self.places[place] {
                0 => break,
                n => {
                    let at = (n as usize - 1) * self.cell_words;
                    if self.words[at..at + self.key_words] == key[..self.key_words] {
                        return at;
                    }
                }
            }
            place = (place + 1) & (self.places.len() - 1);
        }
        let at = self.words.len();
        self.words.extend_from_slice(&key[..self.key_words]);
        self.words.resize(at + self.cell_words, 0);
        self.len += 1;
        self.places[place] = u32::try_from(self.len).expect("a checkpoint comes long before 2^32 cells");
        if self.len * 2 > self.places.len() {
            self.grow();
        }
        at
    }

    fn grow(&mut self) {
        let len = self.places.len() * 2;
        self.places.clear();
        self.places.resize(len, 0);
        for i in 0..self.len {
            let at = i * self.cell_words;
            let mut place = place_of(&self.words[at..at + self.key_words], len);
            while self.places[place] != 0 {
                place = (place + 1) & (len - 1);
            }
            self.places[place] = i as u32 + 1;
        }
    }

    /// The cells as rows of the rollup's table.
    pub fn rows(&self) -> TableRows {
        let symbols = self.dimensions.len() + 1;
        let values = self.cell_words - self.key_words - 1;
        let mut rows = TableRows::new(symbols, values);
        rows.buckets.reserve(self.len);
        rows.keys.reserve(self.len * symbols);
        rows.values.reserve(self.len * values);
        rows.revisions.reserve(self.len);
        for cell in self.words.chunks_exact(self.cell_words) {
            rows.buckets.push(BucketStart::from_seconds(cell[0] as i64));
            rows.keys.extend((0..symbols).map(|i| Symbol::new((cell[1 + i / 2] >> (32 * (i % 2))) as u32)));
            rows.values.extend(cell[self.key_words..self.cell_words - 1].iter().map(|v| *v as i64));
            rows.revisions.push(Revision::new(cell[self.cell_words - 1]));
        }
        rows
    }

    /// Begins anew, with the table's memory kept.
    pub fn clear(&mut self) {
        self.places.fill(0);
        self.words.clear();
        self.len = 0;
    }

    /// How many cells there are.
    pub fn len(&self) -> usize {
        self.len
    }
}

#[inline]
fn place_of(key: &[u64], places: usize) -> usize {
    let mut hash = 0_u64;
    for word in key {
        hash = (hash ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        hash ^= hash >> 32;
    }
    hash as usize & (places - 1)
}

