//! One published state of the embedded store: the runs that a manifest names, and the questions to them.
//!
//! Invariant: it never changes. Runs that a later state merged away stay readable as long as a state holds them.

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use adsum_model::id::{DedupeKey, Offset};
use adsum_model::state::{Checkpoint, DedupeRecord, QuarantineEntry};
use adsum_model::symbol::Symbols;
use adsum_model::table::{TableIx, TableRows, TableSchema};
use hashbrown::HashMap;

use crate::dedupe::{self, KeysRun};
use crate::error::StoreError;
use crate::file::RunSeal;
use crate::hash::{StateHash, StateHasher};
use crate::manifest::{Manifest, TableRecord};
use crate::quarantine::{self, QuarantineRun};
use crate::rows::{Addition, RowsRun, RunTable, TableNames, TableScan, union_of};
use crate::{BucketRange, Committed, KeyFilter, ScanRow, StoreView, TableState};

/// Keys asked at once while a state hash looks for what pending records replace.
const LOOKUP_BATCH: usize = 4096;

/// A published state.
pub(crate) struct State {
    pub(crate) committed: Committed,
    /// As the manifest lists them.
    pub(crate) tables: Vec<TableRecord>,
    pub(crate) keys: Vec<Arc<KeysRun>>,
    pub(crate) rows: Vec<Arc<RowsRun>>,
    pub(crate) quarantine: Vec<Arc<QuarantineRun>>,
    pub(crate) symbols: Arc<Symbols>,
    /// By table, made when first needed.
    names: Vec<OnceLock<TableNames>>,
}

impl State {
    /// A state of these runs; `committed.tables` is made from `tables`.
    pub(crate) fn new(
        committed: Committed,
        tables: Vec<TableRecord>,
        symbols: Arc<Symbols>,
        keys: Vec<Arc<KeysRun>>,
        rows: Vec<Arc<RowsRun>>,
        quarantine: Vec<Arc<QuarantineRun>>,
    ) -> Self {
        let names = tables.iter().map(|_| OnceLock::new()).collect();
        Self { committed, tables, keys, rows, quarantine, symbols, names }
    }

    /// What the manifest says of it.
    pub(crate) fn manifest(&self) -> Manifest {
        Manifest {
            through: self.committed.through,
            revision: self.committed.revision,
            dedupe_line: self.committed.dedupe_line,
            small: self.committed.small.clone(),
            tables: self.tables.clone(),
            runs: [
                self.keys.iter().map(|r| r.seal()).collect(),
                self.rows.iter().map(|r| r.seal()).collect(),
                self.quarantine.iter().map(|r| r.seal()).collect(),
            ],
        }
    }

    /// The runs of each kind, oldest first.
    pub(crate) fn seals(&self) -> [Vec<RunSeal>; 3] {
        self.manifest().runs
    }

    fn sources(&self, name: &str) -> Vec<(&RowsRun, &RunTable)> {
        self.rows.iter().filter_map(|run| Some((&**run, run.table(name)?))).collect()
    }

    fn names(&self, table: usize, sources: &[(&RowsRun, &RunTable)]) -> &TableNames {
        self.names[table].get_or_init(|| {
            let tables: Vec<&RunTable> = sources.iter().map(|s| s.1).collect();
            TableNames::of(&tables, self.tables[table].keys.len())
        })
    }

    fn schema(&self, table: TableIx) -> Result<&TableSchema, StoreError> {
        self.committed.tables.get(table.index()).map(|t| &t.schema).ok_or_else(|| StoreError::Schema {
            table: format!("number {}", table.index()),
            detail: "the store was not opened with so many".to_owned(),
        })
    }

    fn hash_rows(&self, hasher: &mut StateHasher, pending: Option<&Checkpoint>) -> Result<(), StoreError> {
        if let Some(pending) = pending {
            check_rows(&self.committed.tables, &pending.rows)?;
        }
        for (index, record) in self.tables.iter().enumerate() {
            let sources = self.sources(&record.name);
            let opened = self.committed.tables.get(index).map(|t| &t.schema);
            let mut columns: Vec<u16> =
                union_of(sources.iter().map(|s| s.1)).into_iter().flat_map(|s| s.columns).collect();
            columns.extend(opened.iter().flat_map(|s| &s.columns));
            columns.sort_unstable();
            columns.dedup();
            let pending: Vec<&TableRows> = pending.and_then(|p| p.rows.get(index)).into_iter().flatten().collect();
            let addition = opened.filter(|_| !pending.is_empty()).map(|schema| Addition {
                rows: &pending,
                columns: &schema.columns,
                symbols: &self.symbols,
            });
            let scan = TableScan {
                name: &record.name,
                width: record.keys.len(),
                columns: &columns,
                runs: &sources,
                names: self.names(index, &sources),
                range: BucketRange::ALL,
                filters: &[],
                addition,
            };
            scan.each(&mut |row| {
                hasher.row(&record.name, &columns, row);
                ControlFlow::Continue(())
            })?;
        }
        Ok(())
    }

    fn hash_keys(&self, hasher: &mut StateHasher, pending: Option<&Checkpoint>) -> Result<(), StoreError> {
        let Some(pending) = pending else {
            return dedupe::each_newest(&self.keys, self.committed.dedupe_line, |r| {
                hasher.record(r);
                Ok(())
            });
        };
        let line = self.committed.dedupe_line.max(pending.dedupe_line);
        dedupe::each_newest(&self.keys, line, |r| {
            hasher.record(r);
            Ok(())
        })?;
        let newest = newest_of(&pending.dedupe);
        let keys: Vec<DedupeKey> = newest.keys().copied().collect();
        let mut found = Vec::new();
        for keys in keys.chunks(LOOKUP_BATCH) {
            dedupe::lookup(&self.keys, line, keys, &mut found)?;
            for (key, before) in keys.iter().zip(&found) {
                let after = &newest[key];
                if before.is_some_and(|b| b.offset > after.offset) {
                    continue;
                }
                if let Some(before) = before {
                    hasher.take_record(before);
                }
                if !dedupe::has_ended(after, line) {
                    hasher.record(after);
                }
            }
        }
        Ok(())
    }

    fn hash_quarantine(&self, hasher: &mut StateHasher, pending: Option<&Checkpoint>) -> Result<(), StoreError> {
        for entry in quarantine::list(&self.quarantine, Offset::ZERO)? {
            hasher.entry(&entry?);
        }
        let marks = pending.map(|p| quarantine::marks_of(&p.quarantined, &p.released)).unwrap_or_default();
        let offsets: Vec<Offset> = marks.iter().map(quarantine::Mark::offset).collect();
        let before = quarantine::find(&self.quarantine, &offsets)?;
        before.iter().flatten().for_each(|entry| hasher.take_entry(entry));
        for mark in marks {
            if let Some(entry) = mark.held() {
                hasher.entry(&entry);
            }
        }
        Ok(())
    }
}

/// Of each key the record with the greatest offset.
pub(crate) fn newest_of(parts: &[Vec<DedupeRecord>]) -> HashMap<DedupeKey, DedupeRecord> {
    let mut newest: HashMap<DedupeKey, DedupeRecord> = HashMap::new();
    for record in parts.iter().flatten() {
        let slot = newest.entry(record.key).or_insert(*record);
        if slot.offset < record.offset {
            *slot = *record;
        }
    }
    newest
}

/// Whether rows are those of the opened tables.
pub(crate) fn check_rows(tables: &[TableState], rows: &[Vec<TableRows>]) -> Result<(), StoreError> {
    for (index, parts) in rows.iter().enumerate() {
        let Some(table) = tables.get(index) else {
            return Err(StoreError::Schema {
                table: format!("number {index}"),
                detail: "the store was not opened with so many".to_owned(),
            });
        };
        check_parts(&table.schema, parts.iter())?;
    }
    Ok(())
}

/// Whether rows have a table's columns.
pub(crate) fn check_parts<'a>(
    schema: &TableSchema,
    parts: impl Iterator<Item = &'a TableRows>,
) -> Result<(), StoreError> {
    for part in parts {
        let rows = part.len();
        let fits = part.key_width == schema.keys.len()
            && part.value_width == schema.columns.len()
            && part.keys.len() == rows * part.key_width
            && part.values.len() == rows * part.value_width
            && part.revisions.len() == rows;
        if !fits {
            return Err(StoreError::Schema {
                table: schema.name.clone(),
                detail: format!(
                    "rows of {} key and {} value columns for {} and {}",
                    part.key_width,
                    part.value_width,
                    schema.keys.len(),
                    schema.columns.len()
                ),
            });
        }
    }
    Ok(())
}

impl StoreView for State {
    fn committed(&self) -> &Committed {
        &self.committed
    }

    fn lookup(&self, keys: &[DedupeKey], found: &mut Vec<Option<DedupeRecord>>) -> Result<(), StoreError> {
        dedupe::lookup(&self.keys, self.committed.dedupe_line, keys, found)
    }

    fn quarantined(&self, offsets: &[Offset]) -> Result<Vec<Option<QuarantineEntry>>, StoreError> {
        quarantine::find(&self.quarantine, offsets)
    }

    fn quarantine_list(&self, after: Option<Offset>, limit: usize) -> Result<Vec<QuarantineEntry>, StoreError> {
        let from = after.map_or(Offset::ZERO, |offset| offset.plus(1));
        quarantine::list(&self.quarantine, from)?.take(limit).collect()
    }

    fn scan(
        &self,
        table: TableIx,
        range: BucketRange,
        filters: &[KeyFilter],
        extra: &[&TableRows],
        visit: &mut dyn FnMut(&ScanRow<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let schema = self.schema(table)?;
        check_parts(schema, extra.iter().copied())?;
        let extra: Vec<&TableRows> = extra.iter().copied().filter(|rows| !rows.is_empty()).collect();
        let sources = self.sources(&schema.name);
        let addition = Addition { rows: &extra, columns: &schema.columns, symbols: &self.symbols };
        let scan = TableScan {
            name: &schema.name,
            width: schema.keys.len(),
            columns: &schema.columns,
            runs: &sources,
            names: self.names(table.index(), &sources),
            range,
            filters,
            addition: (!extra.is_empty()).then_some(addition),
        };
        scan.each(visit)
    }

    fn state_hash(&self, pending: Option<&Checkpoint>) -> Result<StateHash, StoreError> {
        let mut hasher = StateHasher::default();
        self.hash_rows(&mut hasher, pending)?;
        self.hash_keys(&mut hasher, pending)?;
        self.hash_quarantine(&mut hasher, pending)?;
        Ok(hasher.finish())
    }
}
