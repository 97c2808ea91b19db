//! Stage one of the two-stage aggregation: one shard's partial sums of one table since the last checkpoint.
//!
//! A cell is a run of words: bucket, key, values, revision. Invariant: additions are checked; a sum that would
//! overflow is an error, never a wrapped number. Stage two is the store's: partials of one key add up.

use adsum_model::catalog::{BillableType, Catalog, DimensionIx, MetricKind};
use adsum_model::id::Revision;
use adsum_model::prefetch::fetch;
use adsum_model::rows::{EventRow, RowFlags};
use adsum_model::scattered::{reserve_scattered, scattered};
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
    out_of_flight: usize,
    late: usize,
    /// By event type, what it is billed by.
    billed_by: Vec<Option<BillableType>>,
}

impl Columns {
    /// How many there are.
    pub fn width(&self) -> usize {
        self.width
    }

    pub fn new(catalog: &Catalog) -> Self {
        let of = |kind| catalog.column_of(kind).expect("the column stands in the catalog's table of metrics");
        Self {
            width: catalog.columns().len(),
            spend: of(MetricKind::Spend),
            value: of(MetricKind::Value),
            unpriced: of(MetricKind::Unpriced),
            out_of_flight: of(MetricKind::OutOfFlight),
            late: of(MetricKind::Late),
            billed_by: catalog.event_types().iter().map(|t| t.billed_by).collect(),
        }
    }
}

/// The most words of a key: the bucket, 12 dimensions, and currency or coupon.
const KEY_WORDS_MAX: usize = 8;

type Key = [u64; KEY_WORDS_MAX];

/// The partial sums of one rollup, or of one set of distinct users.
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
    /// For keys of some dimensions and one symbol more, with so many values.
    pub fn new(dimensions: &[DimensionIx], values: usize) -> Self {
        let key_words = 1 + (dimensions.len() + 1).div_ceil(2);
        assert!(key_words <= KEY_WORDS_MAX, "the catalog bounds the dimensions of a set");
        Self {
            dimensions: dimensions.to_vec(),
            key_words,
            cell_words: key_words + values + 1,
            places: vec![0; 1024],
            words: Vec::new(),
            len: 0,
        }
    }

    #[inline]
    fn key(&self, bucket: BucketStart, dimensions: &[Symbol], last: Symbol) -> Key {
        let mut key: Key = [0; KEY_WORDS_MAX];
        key[0] = bucket.seconds() as u64;
        let mut i = 0;
        for d in &self.dimensions {
            key[1 + i / 2] |= u64::from(dimensions[d.index()].get()) << (32 * (i % 2));
            i += 1;
        }
        key[1 + i / 2] |= u64::from(last.get()) << (32 * (i % 2));
        key
    }

    /// Where a cell will be looked for; the cells of a frame are asked for ahead of their turn.
    #[inline]
    pub fn hash(&self, bucket: BucketStart, dimensions: &[Symbol], last: Symbol) -> u64 {
        hash_of(&self.key(bucket, dimensions, last)[..self.key_words])
    }

    /// Asks the processor for the place of a cell that is looked for in a while.
    #[inline]
    pub fn prefetch_place(&self, hash: u64) {
        fetch(&self.places[hash as usize & (self.places.len() - 1)]);
    }

    /// Asks the processor for the cell itself, once its place is at hand.
    #[inline]
    pub fn prefetch_cell(&self, hash: u64) {
        let place = self.places[hash as usize & (self.places.len() - 1)];
        if let Some(cell) = (place as usize).checked_sub(1) {
            let at = cell * self.cell_words;
            fetch(&self.words[at]);
            fetch(&self.words[at + self.cell_words - 1]);
        }
    }

    /// The cell of a bucket, an event's dimensions and one symbol more.
    #[inline]
    fn cell_of(&mut self, key: &Key, hash: u64) -> &mut [u64] {
        let at = self.cell(key, hash);
        &mut self.words[at + self.key_words..at + self.cell_words]
    }

    /// Adds one counted event to a rollup; `late`: it came after its bucket was closed. `hash` is what [`Self::hash`]
    /// says of it.
    #[inline]
    pub fn add(
        &mut self,
        row: &EventRow,
        dimensions: &[Symbol],
        (bucket, late): (BucketStart, bool),
        hash: u64,
        columns: &Columns,
        revision: Revision,
    ) -> Result<(), FoldError> {
        let key = self.key(bucket, dimensions, row.currency);
        let (values, last) = self.cell_of(&key, hash).split_at_mut(columns.width);
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
        if row.flags.has(RowFlags::OUT_OF_FLIGHT) {
            add(columns.out_of_flight, 1)?;
        }
        if late {
            add(columns.late, 1)?;
        }
        last[0] = revision.get();
        Ok(())
    }

    /// Adds one event of a user to a set of distinct users.
    #[inline]
    pub fn add_user(&mut self, dimensions: &[Symbol], window: BucketStart, coupon: Symbol, revision: Revision) {
        let key = self.key(window, dimensions, coupon);
        let hash = hash_of(&key[..self.key_words]);
        let cell = self.cell_of(&key, hash);
        // Events of one coupon: far from 2^63 between two checkpoints, and the store's sums are checked.
        cell[0] += 1;
        cell[1] = revision.get();
    }

    /// Where the words of a key's cell begin; a new cell begins at zero.
    #[inline]
    fn cell(&mut self, key: &Key, hash: u64) -> usize {
        let mut place = hash as usize & (self.places.len() - 1);
        loop {
            match self.places[place] {
                0 => break,
                n => {
                    let at = (n as usize - 1) * self.cell_words;
                    let cell = &self.words[at..at + self.key_words];
                    if cell.iter().zip(key).all(|(a, b)| a == b) {
                        return at;
                    }
                }
            }
            place = (place + 1) & (self.places.len() - 1);
        }
        let at = self.words.len();
        reserve_scattered(&mut self.words, self.cell_words);
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
        self.places = scattered(len, 0);
        for i in 0..self.len {
            let at = i * self.cell_words;
            let mut place = hash_of(&self.words[at..at + self.key_words]) as usize & (len - 1);
            while self.places[place] != 0 {
                place = (place + 1) & (len - 1);
            }
            self.places[place] = i as u32 + 1;
        }
    }

    /// The cells as rows of their table.
    pub fn rows(&self) -> TableRows {
        let symbols = self.dimensions.len() + 1;
        let values = self.cell_words - self.key_words - 1;
        let mut rows = TableRows::new(symbols, values);
        rows.buckets.reserve(self.len);
        rows.keys.reserve(self.len * symbols);
        rows.values.reserve(self.len * values);
        rows.revisions.reserve(self.len);
        self.push_rows(self.words.chunks_exact(self.cell_words), &mut rows);
        rows
    }

    /// The cells of the buckets `from <= start < to` as rows of their table.
    pub fn rows_between(&self, from: BucketStart, to: BucketStart) -> TableRows {
        let mut rows = TableRows::new(self.dimensions.len() + 1, self.cell_words - self.key_words - 1);
        let cells = self.words.chunks_exact(self.cell_words);
        let range = from.seconds()..to.seconds();
        self.push_rows(cells.filter(|cell| range.contains(&(cell[0] as i64))), &mut rows);
        rows
    }

    fn push_rows<'a>(&self, cells: impl Iterator<Item = &'a [u64]>, rows: &mut TableRows) {
        let symbols = self.dimensions.len() + 1;
        for cell in cells {
            rows.buckets.push(BucketStart::from_seconds(cell[0] as i64));
            rows.keys.extend((0..symbols).map(|i| Symbol::new((cell[1 + i / 2] >> (32 * (i % 2))) as u32)));
            rows.values.extend(cell[self.key_words..self.cell_words - 1].iter().map(|v| *v as i64));
            rows.revisions.push(Revision::new(cell[self.cell_words - 1]));
        }
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
fn hash_of(key: &[u64]) -> u64 {
    let mut hash = 0_u64;
    for word in key {
        hash = (hash ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        hash ^= hash >> 32;
    }
    hash
}
