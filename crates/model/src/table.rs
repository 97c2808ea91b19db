//! Tables of additive rows: what the engine adds up, the store keeps and reports read.
//!
//! A row is a bucket, a key of strings, values that add, and the revision that changed it last. Rollups are tables,
//! and so is the conservation ledger. Invariant: rows of one table with equal bucket and key add up, in any order;
//! the revision of the sum is the greatest. An addition that overflows is an error, never a wrapped number.

use crate::id::Revision;
use crate::symbol::Symbol;
use crate::time::BucketStart;

/// What a table's rows are made of. A run keeps it, so that it reads without a catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSchema {
    /// Unique name: `rollup:campaignId,country` or `ledger`.
    pub name: String,
    /// Names of the key's columns; each holds text or null.
    pub keys: Vec<String>,
    /// Stable ids of the value columns. An older run may lack some (they count as 0).
    pub columns: Vec<u16>,
}

/// A table's place in the list of schemas that a store was opened with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableIx(u8);

impl TableIx {
    /// From a place in the list.
    pub const fn new(index: usize) -> Self {
        Self(index as u8)
    }

    /// The place in the list.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Additive rows of one table, in no order, as columns. One key may stand in several rows.
#[derive(Clone, Debug, Default)]
pub struct TableRows {
    /// Key columns a row.
    pub key_width: usize,
    /// Value columns a row.
    pub value_width: usize,
    /// The buckets.
    pub buckets: Vec<BucketStart>,
    /// `key_width` symbols a row.
    pub keys: Vec<Symbol>,
    /// `value_width` values a row.
    pub values: Vec<i64>,
    /// The revision of the last frame that changed the row.
    pub revisions: Vec<Revision>,
}

impl TableRows {
    /// No rows yet.
    pub fn new(key_width: usize, value_width: usize) -> Self {
        Self { key_width, value_width, ..Self::default() }
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.buckets.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// Adds a row.
    pub fn push(&mut self, bucket: BucketStart, key: &[Symbol], values: &[i64], revision: Revision) {
        debug_assert_eq!((key.len(), values.len()), (self.key_width, self.value_width));
        self.buckets.push(bucket);
        self.keys.extend_from_slice(key);
        self.values.extend_from_slice(values);
        self.revisions.push(revision);
    }

    /// The key of row `i`.
    pub fn key(&self, i: usize) -> &[Symbol] {
        &self.keys[i * self.key_width..(i + 1) * self.key_width]
    }

    /// The values of row `i`.
    pub fn row_values(&self, i: usize) -> &[i64] {
        &self.values[i * self.value_width..(i + 1) * self.value_width]
    }
}
