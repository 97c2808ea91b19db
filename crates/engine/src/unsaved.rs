//! What a shard holds that no checkpoint has: dedupe records, cells, changes of the quarantine.
//!
//! Invariant: it is a pure sum over the frames folded into it. Set apart for a checkpoint it changes no more, and is
//! still asked until the checkpoint is published; what comes after goes into another one.

use std::sync::Arc;

use adsum_model::catalog::Catalog;
use adsum_model::id::Offset;
use adsum_model::state::{DedupeRecord, QuarantineEntry};
use adsum_model::table::TableRows;
use adsum_model::time::BucketStart;

use crate::cells::{CellTable, Columns};
use crate::dedupe::Memtable;

/// Sums, records and entries since a checkpoint.
pub struct Unsaved {
    pub(crate) memtable: Memtable,
    /// One for each rollup.
    pub(crate) cells: Vec<CellTable>,
    /// One for each set of distinct users, with the length of its windows.
    pub(crate) users: Vec<(i64, CellTable)>,
    /// Changes of the quarantine by events of these slots; `None`: released.
    pub(crate) quarantine: hashbrown::HashMap<Offset, Option<QuarantineEntry>>,
}

/// What a shard's part of a checkpoint is.
#[derive(Debug, Default)]
pub struct Delta {
    /// New dedupe records.
    pub dedupe: Vec<DedupeRecord>,
    /// Rows of each rollup, then of each set of distinct users.
    pub rows: Vec<TableRows>,
}

impl Unsaved {
    pub(crate) fn new(catalog: &Arc<Catalog>, columns: &Columns) -> Self {
        Self {
            memtable: Memtable::default(),
            cells: catalog.rollups().iter().map(|r| CellTable::new(&r.dimensions, columns.width())).collect(),
            users: (catalog.distinct_users().iter())
                .map(|d| (d.window_seconds, CellTable::new(&d.dimensions, 1)))
                .collect(),
            quarantine: hashbrown::HashMap::new(),
        }
    }

    fn tables(&self) -> impl Iterator<Item = &CellTable> {
        self.cells.iter().chain(self.users.iter().map(|(_, cells)| cells))
    }

    /// How many dedupe records and cells there are.
    pub fn size(&self) -> (usize, usize) {
        (self.memtable.records().len(), self.tables().map(CellTable::len).sum())
    }

    /// All of it, copied.
    pub fn delta(&self) -> Delta {
        Delta { dedupe: self.memtable.records().to_vec(), rows: self.tables().map(CellTable::rows).collect() }
    }

    /// The rows of one table (rollups, then sets of distinct users) in the buckets `from <= start < to`, copied.
    pub fn rows_of(&self, table: usize, from: BucketStart, to: BucketStart) -> TableRows {
        self.tables().nth(table).map_or_else(TableRows::default, |cells| cells.rows_between(from, to))
    }

    /// Empties it and keeps its memory.
    pub(crate) fn clear(&mut self) {
        self.memtable.clear();
        self.cells.iter_mut().for_each(CellTable::clear);
        self.users.iter_mut().for_each(|(_, cells)| cells.clear());
        self.quarantine.clear();
    }
}
