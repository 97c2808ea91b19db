//! The aggregate store: offsets, dedupe state, table rows and quarantine, committed as one.
//!
//! Invariant: what a [`StoreView`] shows is exactly the state of one published checkpoint, never a mix of two. A
//! checkpoint is written first ([`AggregateStore::write`]: heavy, invisible) and then published
//! ([`AggregateStore::publish`]: the commit point). Two implementations pass one contract suite: [`MemoryStore`] and
//! [`EmbeddedStore`] (files, see `docs/formats/store-v1.md`). Not here: the fold that makes checkpoints, and clocks.

mod bytes;
mod dedupe;
mod embedded;
mod error;
mod file;
mod hash;
mod manifest;
mod memory;
mod quarantine;
mod rows;
mod state;
mod tiers;

use std::ops::ControlFlow;
use std::sync::Arc;

use adsum_model::id::{DedupeKey, Offset, Position, Revision};
use adsum_model::state::{Checkpoint, DedupeRecord, QuarantineEntry, SmallState};
use adsum_model::table::{TableIx, TableRows, TableSchema};
use adsum_model::time::{BucketStart, EventTime};

pub use embedded::{EmbeddedStore, OpenReport, StoreOptions, StoreStats};
pub use error::StoreError;
pub use hash::StateHash;
pub use memory::MemoryStore;
pub use rows::ScanNames;

/// A table as the store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableState {
    /// As the store was opened with it.
    pub schema: TableSchema,
    /// The position from which on it holds every row: 0, or where the store stood when the table was new to it (or
    /// came back). Whoever wants older rows rebuilds them.
    pub since: Position,
    /// The same for each value column, in the schema's order; never before `since`.
    pub columns_since: Vec<Position>,
}

/// What was published last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The next frame to fold.
    pub through: Position,
    /// The revision of the last frame folded.
    pub revision: Revision,
    /// Dedupe records of live sources below it have ended; it never moves back.
    pub dedupe_line: EventTime,
    /// The small state.
    pub small: SmallState,
    /// The tables that the store was opened with, as [`TableIx`] counts them.
    pub tables: Vec<TableState>,
}

/// Buckets from one start (included) to another (not included).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketRange {
    from: BucketStart,
    to: BucketStart,
}

impl BucketRange {
    /// Every bucket.
    pub const ALL: Self = Self { from: BucketStart::from_seconds(i64::MIN), to: BucketStart::from_seconds(i64::MAX) };

    /// The buckets `from <= start < to`; none when `from >= to`.
    pub const fn new(from: BucketStart, to: BucketStart) -> Self {
        Self { from, to }
    }

    /// The first start that is in it.
    pub const fn from(&self) -> BucketStart {
        self.from
    }

    /// The first start behind it.
    pub const fn to(&self) -> BucketStart {
        self.to
    }

    /// Whether a bucket is in it.
    pub fn contains(&self, bucket: BucketStart) -> bool {
        self.from <= bucket && bucket < self.to
    }
}

/// Which rows a scan shows: those whose key column holds one of these values. Several filters must all hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFilter {
    /// The key column's place in the schema.
    pub column: usize,
    /// The values it may hold; `None` is null.
    pub allowed: Vec<Option<String>>,
}

/// One row of a scan: everything that was added to its bucket and key.
#[derive(Clone, Copy, Debug)]
pub struct ScanRow<'a> {
    /// The bucket.
    pub bucket: BucketStart,
    /// The key as ids into `names`: equal texts have equal ids within one scan, and ids order as texts do.
    pub keys: &'a [u32],
    /// The sums, in the order of the opened schema's columns.
    pub values: &'a [i64],
    /// The greatest revision that changed it.
    pub revision: Revision,
    /// The least revision among what was added up here.
    pub revision_least: Revision,
    /// The texts behind `keys`; may be kept beyond the scan.
    pub names: &'a Arc<ScanNames>,
}

/// A checkpoint or a merge that is on the disk and not yet visible. It belongs to the store that wrote it.
#[derive(Debug)]
#[must_use = "nothing is visible before it is published"]
pub struct Written {
    change: Change,
}

#[derive(Debug)]
enum Change {
    Memory(memory::MemoryChange),
    Embedded(Box<embedded::EmbeddedChange>),
}

/// What a store would merge next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergePlan {
    kind: file::RunKind,
    inputs: Vec<u64>,
}

/// One published state, read only. It stays as it is while later ones are published.
pub trait StoreView: Send + Sync {
    /// What was published.
    fn committed(&self) -> &Committed;

    /// For each key its record, into `found` (cleared first): of equal keys the one with the greatest offset; none
    /// for a key that has ended by the committed `dedupe_line`, so that merging changes no answer. Several threads
    /// may call it at once. Errors: [`StoreError::Corrupt`], [`StoreError::Io`].
    fn lookup(&self, keys: &[DedupeKey], found: &mut Vec<Option<DedupeRecord>>) -> Result<(), StoreError>;

    /// For each offset its entry, if it is in quarantine and was not released.
    fn quarantined(&self, offsets: &[Offset]) -> Result<Vec<Option<QuarantineEntry>>, StoreError>;

    /// Entries that were not released, by offset, from the one behind `after` on, at most `limit`.
    fn quarantine_list(&self, after: Option<Offset>, limit: usize) -> Result<Vec<QuarantineEntry>, StoreError>;

    /// Shows the rows of a table in order of bucket and key texts (null first), each bucket and key once, until
    /// `visit` breaks off. `extra` is added in: rows that are not committed yet, with the opened schema's columns.
    /// Errors: [`StoreError::Overflow`] when a sum leaves 64 bits, [`StoreError::Schema`] for a table or an extra
    /// that the store was not opened with, [`StoreError::Corrupt`], [`StoreError::Io`].
    fn scan(
        &self,
        table: TableIx,
        range: BucketRange,
        filters: &[KeyFilter],
        extra: &[&TableRows],
        visit: &mut dyn FnMut(&ScanRow<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError>;

    /// The hash of everything counted: rows of all tables, dedupe keys that have not ended, and quarantine; with
    /// what is `pending` on top, as if it were committed. It depends neither on runs, merges and checkpoints nor on
    /// worker counts: see [`StateHash`].
    fn state_hash(&self, pending: Option<&Checkpoint>) -> Result<StateHash, StoreError>;
}

/// A store. All methods may be called from several threads; publications happen one after the other.
pub trait AggregateStore: Send + Sync {
    /// The present state. Whoever combines it with rows not committed yet takes both at one moment.
    fn view(&self) -> Arc<dyn StoreView>;

    /// Writes what a checkpoint holds, synced, and changes nothing visible. One write at a time; merges may run
    /// beside it. On [`StoreError::Io`] the same checkpoint may be written again.
    fn write(&self, checkpoint: &Checkpoint) -> Result<Written, StoreError>;

    /// The commit point: durable and visible when it returns. On an error nothing became visible here; after
    /// [`StoreError::Poisoned`] only opening again tells whether it became durable.
    fn publish(&self, written: Written) -> Result<(), StoreError>;

    /// What to merge next, if anything; asked again after each publication.
    fn merge_due(&self) -> Option<MergePlan>;

    /// Merges as planned: heavy, invisible until published. It changes no answer, only what it costs.
    fn merge(&self, plan: &MergePlan) -> Result<Written, StoreError>;

    /// Calls `with` with the names of the files that the present state consists of, in the store's directory; until it
    /// returns nothing is published and none of them goes: a copy of them all is a store with this very state. A store
    /// without files names none. [`StoreError::Poisoned`]: nobody knows which files it consists of.
    fn hold(&self, with: &mut dyn FnMut(&[String])) -> Result<(), StoreError>;

    /// What was published last, copied.
    fn committed(&self) -> Committed {
        self.view().committed().clone()
    }

    /// [`StoreView::lookup`] in the present state.
    fn lookup(&self, keys: &[DedupeKey], found: &mut Vec<Option<DedupeRecord>>) -> Result<(), StoreError> {
        self.view().lookup(keys, found)
    }

    /// [`StoreView::quarantined`] in the present state.
    fn quarantined(&self, offsets: &[Offset]) -> Result<Vec<Option<QuarantineEntry>>, StoreError> {
        self.view().quarantined(offsets)
    }

    /// [`StoreView::quarantine_list`] in the present state.
    fn quarantine_list(&self, after: Option<Offset>, limit: usize) -> Result<Vec<QuarantineEntry>, StoreError> {
        self.view().quarantine_list(after, limit)
    }

    /// [`StoreView::scan`] of the present state.
    fn scan(
        &self,
        table: TableIx,
        range: BucketRange,
        filters: &[KeyFilter],
        extra: &[&TableRows],
        visit: &mut dyn FnMut(&ScanRow<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.view().scan(table, range, filters, extra, visit)
    }

    /// [`StoreView::state_hash`] of the present state.
    fn state_hash(&self, pending: Option<&Checkpoint>) -> Result<StateHash, StoreError> {
        self.view().state_hash(pending)
    }
}

/// A store that several owners share: the loop, and whoever merges beside it.
impl<S: AggregateStore + ?Sized> AggregateStore for Arc<S> {
    fn view(&self) -> Arc<dyn StoreView> {
        (**self).view()
    }

    fn write(&self, checkpoint: &Checkpoint) -> Result<Written, StoreError> {
        (**self).write(checkpoint)
    }

    fn publish(&self, written: Written) -> Result<(), StoreError> {
        (**self).publish(written)
    }

    fn merge_due(&self) -> Option<MergePlan> {
        (**self).merge_due()
    }

    fn merge(&self, plan: &MergePlan) -> Result<Written, StoreError> {
        (**self).merge(plan)
    }

    fn hold(&self, with: &mut dyn FnMut(&[String])) -> Result<(), StoreError> {
        (**self).hold(with)
    }
}
