//! The store in memory: for tests, the simulator and measurements of everything but the disk.
//!
//! Invariant: it answers as the embedded store does, and forgets everything when it goes. A view that is held while
//! something is published keeps its own copy; so hold views briefly.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError, RwLock};

use adsum_model::id::{DedupeKey, Offset, Position, Revision, SLOT_COUNT};
use adsum_model::state::{Checkpoint, DedupeRecord, QuarantineEntry, SmallState};
use adsum_model::symbol::{Symbol, Symbols};
use adsum_model::table::{TableIx, TableRows, TableSchema};
use adsum_model::time::EventTime;
use hashbrown::HashTable;

use crate::dedupe::has_ended;
use crate::embedded::table_states;
use crate::error::StoreError;
use crate::file::RunKind;
use crate::hash::{StateHash, StateHasher};
use crate::manifest::reconcile;
use crate::quarantine::{Mark, marks_of};
use crate::rows::{Addition, TableNames, TableScan};
use crate::state::{check_parts, check_rows, newest_of};
use crate::{AggregateStore, BucketRange, Change, Committed, KeyFilter, MergePlan, ScanRow, StoreView, Written};

/// Rows that may come before everything is added up again, beside as many as there are.
const ROWS_UNMERGED: usize = 1 << 20;

/// A store that keeps everything in memory.
pub struct MemoryStore {
    state: RwLock<Arc<MemoryState>>,
}

#[derive(Clone)]
struct MemoryState {
    committed: Committed,
    symbols: Arc<Symbols>,
    /// By slot.
    keys: Vec<Arc<HashTable<DedupeRecord>>>,
    /// By table; the first part of each is what was merged last.
    rows: Vec<Vec<Arc<TableRows>>>,
    rows_merged: usize,
    quarantine: Arc<BTreeMap<Offset, QuarantineEntry>>,
}

/// What a memory store wrote.
#[derive(Debug)]
pub(crate) enum MemoryChange {
    Checkpoint {
        base: Position,
        through: Position,
        revision: Revision,
        dedupe_line: EventTime,
        small: SmallState,
        dedupe: Vec<DedupeRecord>,
        rows: Vec<Vec<Arc<TableRows>>>,
        marks: Vec<Mark>,
    },
    Merge {
        base: Position,
        rows: Vec<Vec<Arc<TableRows>>>,
    },
}

fn hash_of(key: DedupeKey) -> u64 {
    key.get() as u64
}

impl MemoryStore {
    /// An empty store with these tables. Errors: [`StoreError::Schema`] for schemas that contradict themselves.
    pub fn new(schemas: Vec<TableSchema>, symbols: Arc<Symbols>) -> Result<Self, StoreError> {
        let tables = reconcile(&[], &schemas, Position::default())?;
        let committed = Committed {
            through: Position::default(),
            revision: Revision::ZERO,
            dedupe_line: EventTime::from_micros(i64::MIN),
            small: SmallState::default(),
            tables: table_states(&tables, &schemas),
        };
        let state = MemoryState {
            committed,
            symbols,
            keys: (0..SLOT_COUNT).map(|_| Arc::default()).collect(),
            rows: schemas.iter().map(|_| Vec::new()).collect(),
            rows_merged: 0,
            quarantine: Arc::default(),
        };
        Ok(Self { state: RwLock::new(Arc::new(state)) })
    }

    fn state(&self) -> Arc<MemoryState> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn stale(base: Position, committed: &Committed) -> StoreError {
    StoreError::Stale { detail: format!("upon {base:?}, the store is at {:?}", committed.through) }
}

impl AggregateStore for MemoryStore {
    fn view(&self) -> Arc<dyn StoreView> {
        self.state()
    }

    fn write(&self, checkpoint: &Checkpoint) -> Result<Written, StoreError> {
        let state = self.state();
        let base = state.committed.through;
        if checkpoint.through.seq < base.seq || checkpoint.through.offset < base.offset {
            return Err(stale(checkpoint.through, &state.committed));
        }
        check_rows(&state.committed.tables, &checkpoint.rows)?;
        let parts = |parts: &Vec<TableRows>| {
            parts.iter().filter(|p| !p.is_empty()).map(|p| Arc::new(p.clone())).collect::<Vec<_>>()
        };
        let change = MemoryChange::Checkpoint {
            base,
            through: checkpoint.through,
            revision: checkpoint.revision,
            dedupe_line: checkpoint.dedupe_line.max(state.committed.dedupe_line),
            small: checkpoint.small.clone(),
            dedupe: checkpoint.dedupe.iter().flatten().copied().collect(),
            rows: checkpoint.rows.iter().map(parts).collect(),
            marks: marks_of(&checkpoint.quarantined, &checkpoint.released),
        };
        Ok(Written { change: Change::Memory(change) })
    }

    fn publish(&self, written: Written) -> Result<(), StoreError> {
        let Change::Memory(change) = written.change else {
            return Err(StoreError::Stale { detail: "another kind of store wrote it".to_owned() });
        };
        let mut guard = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let (MemoryChange::Checkpoint { base, .. } | MemoryChange::Merge { base, .. }) = &change;
        if *base != guard.committed.through {
            return Err(stale(*base, &guard.committed));
        }
        Arc::make_mut(&mut guard).apply(change);
        Ok(())
    }

    fn merge_due(&self) -> Option<MergePlan> {
        let state = self.state();
        let rows: usize = state.rows.iter().flatten().map(|p| p.len()).sum();
        (rows > 2 * state.rows_merged + ROWS_UNMERGED).then(|| MergePlan { kind: RunKind::Rows, inputs: Vec::new() })
    }

    fn merge(&self, _plan: &MergePlan) -> Result<Written, StoreError> {
        let state = self.state();
        let rows = (0..state.rows.len()).map(|table| state.merged(table)).collect::<Result<_, _>>()?;
        Ok(Written { change: Change::Memory(MemoryChange::Merge { base: state.committed.through, rows }) })
    }

    fn hold(&self, with: &mut dyn FnMut(&[String])) -> Result<(), StoreError> {
        with(&[]);
        Ok(())
    }
}

impl MemoryState {
    fn apply(&mut self, change: MemoryChange) {
        match change {
            MemoryChange::Checkpoint { through, revision, dedupe_line, small, dedupe, rows, marks, .. } => {
                let tables = std::mem::take(&mut self.committed.tables);
                self.committed = Committed { through, revision, dedupe_line, small, tables };
                dedupe.into_iter().for_each(|record| self.keep(record));
                for (to, from) in self.rows.iter_mut().zip(rows) {
                    to.extend(from);
                }
                if !marks.is_empty() {
                    let quarantine = Arc::make_mut(&mut self.quarantine);
                    for mark in marks {
                        match mark {
                            Mark::Held(entry) => quarantine.insert(entry.offset, entry),
                            Mark::Released(offset) => quarantine.remove(&offset),
                        };
                    }
                }
            }
            MemoryChange::Merge { rows, .. } => {
                self.rows_merged = rows.iter().flatten().map(|p| p.len()).sum();
                self.rows = rows;
                let line = self.committed.dedupe_line;
                for keys in &mut self.keys {
                    Arc::make_mut(keys).retain(|record| !has_ended(record, line));
                }
            }
        }
    }

    fn keep(&mut self, record: DedupeRecord) {
        let keys = Arc::make_mut(&mut self.keys[record.key.slot().index()]);
        let hash = hash_of(record.key);
        match keys.find_mut(hash, |r| r.key == record.key) {
            Some(known) if known.offset > record.offset => {}
            Some(known) => *known = record,
            None => {
                keys.insert_unique(hash, record, |r| hash_of(r.key));
            }
        }
    }

    fn find(&self, key: DedupeKey) -> Option<DedupeRecord> {
        self.keys[key.slot().index()].find(hash_of(key), |r| r.key == key).copied()
    }

    fn schema(&self, table: usize) -> Result<&TableSchema, StoreError> {
        self.committed.tables.get(table).map(|t| &t.schema).ok_or_else(|| StoreError::Schema {
            table: format!("number {table}"),
            detail: "the store was not opened with so many".to_owned(),
        })
    }

    fn each_row(
        &self,
        table: usize,
        columns: &[u16],
        range: BucketRange,
        filters: &[KeyFilter],
        extra: &[&TableRows],
        visit: &mut dyn FnMut(&ScanRow<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let schema = self.schema(table)?;
        check_parts(schema, extra.iter().copied())?;
        let own = self.rows[table].iter().map(|p| &**p);
        let rows: Vec<&TableRows> = own.chain(extra.iter().copied()).filter(|p| !p.is_empty()).collect();
        let scan = TableScan {
            name: &schema.name,
            width: schema.keys.len(),
            columns,
            runs: &[],
            names: &TableNames::of(&[], schema.keys.len()),
            range,
            filters,
            addition: Some(Addition { rows: &rows, columns: &schema.columns, symbols: &self.symbols }),
        };
        scan.each(visit)
    }

    /// All rows of a table, added up.
    fn merged(&self, table: usize) -> Result<Vec<Arc<TableRows>>, StoreError> {
        let schema = self.schema(table)?;
        let mut all = TableRows::new(schema.keys.len(), schema.columns.len());
        let mut symbols: Vec<Vec<Option<Symbol>>> = vec![Vec::new(); schema.keys.len()];
        let mut key = Vec::new();
        self.each_row(table, &schema.columns, BucketRange::ALL, &[], &[], &mut |row| {
            key.clear();
            for (column, &id) in row.keys.iter().enumerate() {
                let known = &mut symbols[column];
                known.resize(known.len().max(id as usize + 1), None);
                let symbol = known[id as usize].get_or_insert_with(|| {
                    row.names.text(column, id).map_or(Symbol::NULL, |text| self.symbols.intern(text.as_bytes()))
                });
                key.push(*symbol);
            }
            all.push(row.bucket, &key, row.values, row.revision);
            ControlFlow::Continue(())
        })?;
        Ok(vec![Arc::new(all)])
    }
}

impl StoreView for MemoryState {
    fn committed(&self) -> &Committed {
        &self.committed
    }

    fn lookup(&self, keys: &[DedupeKey], found: &mut Vec<Option<DedupeRecord>>) -> Result<(), StoreError> {
        let line = self.committed.dedupe_line;
        found.clear();
        found.extend(keys.iter().map(|&key| self.find(key).filter(|record| !has_ended(record, line))));
        Ok(())
    }

    fn quarantined(&self, offsets: &[Offset]) -> Result<Vec<Option<QuarantineEntry>>, StoreError> {
        Ok(offsets.iter().map(|offset| self.quarantine.get(offset).copied()).collect())
    }

    fn quarantine_list(&self, after: Option<Offset>, limit: usize) -> Result<Vec<QuarantineEntry>, StoreError> {
        let from = after.map_or(Offset::ZERO, |offset| offset.plus(1));
        Ok(self.quarantine.range(from..).map(|(_, entry)| *entry).take(limit).collect())
    }

    fn scan(
        &self,
        table: TableIx,
        range: BucketRange,
        filters: &[KeyFilter],
        extra: &[&TableRows],
        visit: &mut dyn FnMut(&ScanRow<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let schema = self.schema(table.index())?;
        self.each_row(table.index(), &schema.columns, range, filters, extra, visit)
    }

    fn state_hash(&self, pending: Option<&Checkpoint>) -> Result<StateHash, StoreError> {
        let mut hasher = StateHasher::default();
        let line = pending.map_or(self.committed.dedupe_line, |p| p.dedupe_line.max(self.committed.dedupe_line));
        if let Some(pending) = pending {
            check_rows(&self.committed.tables, &pending.rows)?;
        }
        for (index, table) in self.committed.tables.iter().enumerate() {
            let mut columns = table.schema.columns.clone();
            columns.sort_unstable();
            let extra: Vec<&TableRows> = pending.and_then(|p| p.rows.get(index)).into_iter().flatten().collect();
            self.each_row(index, &columns, BucketRange::ALL, &[], &extra, &mut |row| {
                hasher.row(&table.schema.name, &columns, row);
                ControlFlow::Continue(())
            })?;
        }
        let newest = pending.map(|p| newest_of(&p.dedupe)).unwrap_or_default();
        let own = self.keys.iter().flat_map(|keys| keys.iter());
        let replaced = |record: &&DedupeRecord| newest.get(&record.key).is_some_and(|n| n.offset >= record.offset);
        let kept = own.filter(|record| !replaced(record));
        let new = newest.values().filter(|n| self.find(n.key).is_none_or(|own| own.offset <= n.offset));
        kept.chain(new).filter(|record| !has_ended(record, line)).for_each(|record| hasher.record(record));
        let mut quarantine = BTreeMap::clone(&self.quarantine);
        for mark in pending.map(|p| marks_of(&p.quarantined, &p.released)).unwrap_or_default() {
            match mark {
                Mark::Held(entry) => quarantine.insert(entry.offset, entry),
                Mark::Released(offset) => quarantine.remove(&offset),
            };
        }
        quarantine.values().for_each(|entry| hasher.entry(entry));
        Ok(hasher.finish())
    }
}
