//! The embedded store: runs and a manifest in one directory.
//!
//! Invariant: what the manifest names is synced before the manifest is, and a reader sees only published states. A
//! failed sync or rename poisons the store: nothing is written to it again before it is opened anew. Files that the
//! manifest does not name are left from a write that never was published, and go at open.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use adsum_disk::{Disk, Open};
use adsum_model::id::{Position, Revision};
use adsum_model::state::{Checkpoint, SmallState};
use adsum_model::symbol::Symbols;
use adsum_model::table::TableSchema;
use adsum_model::time::EventTime;

use crate::dedupe::{self, KeysRun};
use crate::error::StoreError;
use crate::file::{RunKind, RunSeal};
use crate::manifest::{MANIFEST, MANIFEST_NEXT, Manifest, TableRecord, reconcile};
use crate::quarantine::{self, QuarantineRun};
use crate::rows::{self, FrameRange, RowsRun};
use crate::state::{State, check_rows};
use crate::{AggregateStore, Change, Committed, MergePlan, StoreView, TableState, Written, tiers};

/// How a store is kept.
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    /// Runs of about one size that are merged into one; at least 2. Twice as many of rows.
    pub merge_fan_in: usize,
    /// Runs up to this many bytes count as of one size. Of rows an eighth.
    pub merge_base_bytes: u64,
    /// The same for runs of keys; at least 2.
    pub keys_merge_fan_in: usize,
    /// The same for runs of keys, in bytes: as many as a checkpoint writes.
    pub keys_merge_base_bytes: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            merge_fan_in: 4,
            merge_base_bytes: 16 << 20,
            // Measured with bench/dedupe: to ask the filters of more runs costs less than to write records once more.
            keys_merge_fan_in: 8,
            keys_merge_base_bytes: 32 << 20,
        }
    }
}

/// What opening found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// There was no store: it was made now. Whether that may be is for the caller to judge, who knows the log.
    pub fresh: bool,
    /// Files of a write that never was published; they were removed.
    pub removed: Vec<String>,
}

/// What a store takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Runs of dedupe records.
    pub keys_runs: usize,
    /// Dedupe records in them, ended and older ones included.
    pub keys_records: u64,
    /// Runs of rows.
    pub rows_runs: usize,
    /// Runs of quarantine.
    pub quarantine_runs: usize,
    /// Bytes of all runs on the disk.
    pub disk_bytes: u64,
    /// Bytes of filters, directories, indexes and dictionaries in memory.
    pub resident_bytes: u64,
}

/// A store in one directory of a disk. The directory has one owner: who opens it holds the lock file.
pub struct EmbeddedStore {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: StoreOptions,
    symbols: Arc<Symbols>,
    next_id: AtomicU64,
    /// The file whose sync failed, and how.
    poison: OnceLock<(String, String)>,
    state: RwLock<Arc<State>>,
    /// Held while a manifest is written: publications come one after the other.
    publishing: Mutex<()>,
}

/// What an embedded store wrote.
#[derive(Debug)]
pub(crate) enum EmbeddedChange {
    Checkpoint {
        base: Position,
        through: Position,
        revision: Revision,
        dedupe_line: EventTime,
        small: SmallState,
        keys: Option<Arc<KeysRun>>,
        rows: Option<Arc<RowsRun>>,
        quarantine: Option<Arc<QuarantineRun>>,
    },
    Merge {
        plan: MergePlan,
        output: Merged,
    },
}

/// What a merge gave; nothing when all was dropped.
#[derive(Debug)]
pub(crate) enum Merged {
    Keys(Option<Arc<KeysRun>>),
    Rows(Option<Arc<RowsRun>>),
    Quarantine(Option<Arc<QuarantineRun>>),
}

impl EmbeddedStore {
    /// Opens the store in `dir`, or makes it. `symbols` resolves the symbols of rows that are given to it.
    ///
    /// Errors: [`StoreError::Corrupt`] when a file is damaged or missing, [`StoreError::Schema`] when a table of the
    /// same name had another key, [`StoreError::Io`], [`StoreError::Poisoned`].
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: impl Into<PathBuf>,
        schemas: Vec<TableSchema>,
        symbols: Arc<Symbols>,
        options: StoreOptions,
    ) -> Result<(Self, OpenReport), StoreError> {
        let dir = dir.into();
        let of_dir = |e| StoreError::io(&dir.display().to_string(), e);
        disk.create_dir_all(&dir).map_err(of_dir)?;
        let names = disk.list(&dir).map_err(of_dir)?;
        let mut report = OpenReport::default();
        let manifest = if names.iter().any(|n| n == MANIFEST) {
            read_manifest(&*disk, &dir)?
        } else if let Some(run) = names.iter().find(|n| RunKind::id_of(n).is_some()) {
            return Err(StoreError::corrupt(MANIFEST, format!("it is missing, though there is {run}")));
        } else {
            report.fresh = true;
            Manifest { tables: reconcile(&[], &schemas, Position::default())?, ..Manifest::empty() }
        };
        let tables = reconcile(&manifest.tables, &schemas, manifest.through)?;
        let state = open_state(&*disk, &dir, &manifest, tables, &schemas, Arc::clone(&symbols))?;
        if report.fresh {
            // Before any run is made, so that runs without a manifest always mean that it was lost.
            write_manifest(&*disk, &dir, &manifest)?;
        } else {
            // The last owner may have died between renaming the manifest and syncing the directory. Files that only
            // the former manifest names must not go before this one is sure to stay.
            disk.sync_dir(&dir).map_err(|e| StoreError::poisoned(MANIFEST, &e))?;
        }
        let named: Vec<String> = named_files(&manifest);
        for name in names {
            let ours = name == MANIFEST_NEXT || RunKind::id_of(&name).is_some();
            if ours && !named.contains(&name) {
                // It may be gone already, if it was the manifest's forerunner.
                let gone = disk.remove(&dir.join(&name));
                gone.or_else(|e| if e.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(e) })
                    .map_err(|e| StoreError::io(&name, e))?;
                report.removed.push(name);
            }
        }
        let ids = named.iter().chain(&report.removed).filter_map(|n| RunKind::id_of(n));
        let next_id = AtomicU64::new(ids.max().map_or(1, |id| id + 1));
        let store = Self {
            disk,
            dir,
            options,
            symbols,
            next_id,
            poison: OnceLock::new(),
            state: RwLock::new(Arc::new(state)),
            publishing: Mutex::new(()),
        };
        Ok((store, report))
    }

    /// What the present state takes.
    pub fn stats(&self) -> StoreStats {
        let state = self.state();
        StoreStats {
            keys_runs: state.keys.len(),
            keys_records: state.keys.iter().map(|r| r.len()).sum(),
            rows_runs: state.rows.len(),
            quarantine_runs: state.quarantine.len(),
            disk_bytes: state.seals().iter().flatten().map(|s| s.len).sum(),
            resident_bytes: state.keys.iter().map(|r| r.resident_bytes()).sum::<u64>()
                + state.rows.iter().map(|r| r.resident_bytes()).sum::<u64>()
                + state.quarantine.iter().map(|r| r.resident_bytes()).sum::<u64>(),
        }
    }

    fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn check_poison(&self) -> Result<(), StoreError> {
        match self.poison.get() {
            None => Ok(()),
            Some((file, detail)) => Err(StoreError::Poisoned { file: file.clone(), detail: detail.clone() }),
        }
    }

    /// Remembers a failed sync, and removes the runs of `id` after any other failure.
    fn settle<T>(&self, id: u64, result: Result<T, StoreError>) -> Result<T, StoreError> {
        match &result {
            Ok(_) => {}
            Err(StoreError::Poisoned { file, detail }) => {
                // Only the first one is kept: the others follow from it.
                let _ = self.poison.set((file.clone(), detail.clone()));
            }
            Err(_) => RunKind::ALL.iter().for_each(|kind| self.discard(*kind, id)),
        }
        result
    }

    /// Removes a file that nobody needs. If that fails, the next open removes it.
    fn discard(&self, kind: RunKind, id: u64) {
        let _ = self.disk.remove(&self.dir.join(kind.file_name(id)));
    }

    fn new_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    fn sync_dir(&self) -> Result<(), StoreError> {
        self.disk.sync_dir(&self.dir).map_err(|e| StoreError::poisoned("the directory", &e))
    }

    fn write_runs(&self, id: u64, state: &State, checkpoint: &Checkpoint) -> Result<EmbeddedChange, StoreError> {
        let (disk, dir) = (&*self.disk, self.dir.as_path());
        let keys = dedupe::flush(disk, dir, id, &checkpoint.dedupe)?;
        let schemas: Vec<&TableSchema> = state.committed.tables.iter().map(|t| &t.schema).collect();
        let range = FrameRange { from: state.committed.through.seq, to: checkpoint.through.seq };
        let rows = rows::flush(disk, dir, id, range, &schemas, &checkpoint.rows, &self.symbols)?;
        let quarantine = quarantine::flush(disk, dir, id, &checkpoint.quarantined, &checkpoint.released)?;
        if keys.is_some() || rows.is_some() || quarantine.is_some() {
            self.sync_dir()?;
        }
        Ok(EmbeddedChange::Checkpoint {
            base: state.committed.through,
            through: checkpoint.through,
            revision: checkpoint.revision,
            dedupe_line: checkpoint.dedupe_line.max(state.committed.dedupe_line),
            small: checkpoint.small.clone(),
            keys: keys.map(Arc::new),
            rows: rows.map(Arc::new),
            quarantine: quarantine.map(Arc::new),
        })
    }

    fn merge_runs(&self, id: u64, state: &State, plan: &MergePlan) -> Result<Merged, StoreError> {
        let (disk, dir) = (&*self.disk, self.dir.as_path());
        let merged = match plan.kind {
            RunKind::Keys => {
                let inputs = inputs_of(&state.keys, plan, |r| r.seal())?;
                let line = state.committed.dedupe_line;
                Merged::Keys(dedupe::merge(disk, dir, id, inputs, line)?.map(Arc::new))
            }
            RunKind::Rows => {
                let inputs = inputs_of(&state.rows, plan, |r| r.seal())?;
                Merged::Rows(rows::merge(disk, dir, id, inputs)?.map(Arc::new))
            }
            RunKind::Quarantine => {
                let inputs = inputs_of(&state.quarantine, plan, |r| r.seal())?;
                let are_oldest = state.quarantine.first().map(|r| r.seal().id) == plan.inputs.first().copied();
                Merged::Quarantine(quarantine::merge(disk, dir, id, inputs, are_oldest)?.map(Arc::new))
            }
        };
        match &merged {
            Merged::Keys(None) | Merged::Rows(None) | Merged::Quarantine(None) => self.discard(plan.kind, id),
            _ => self.sync_dir()?,
        }
        Ok(merged)
    }

    /// The state after a change, and the runs that it no longer names.
    fn changed(&self, state: &State, change: EmbeddedChange) -> Result<(State, Vec<(RunKind, u64)>), StoreError> {
        let mut committed = state.committed.clone();
        let (mut keys, mut rows) = (state.keys.clone(), state.rows.clone());
        let mut quarantine_runs = state.quarantine.clone();
        let mut dropped = Vec::new();
        match change {
            EmbeddedChange::Checkpoint {
                base,
                through,
                revision,
                dedupe_line,
                small,
                keys: k,
                rows: r,
                quarantine,
            } => {
                if base != committed.through {
                    let detail = format!("a checkpoint upon {base:?}, the store is at {:?}", committed.through);
                    return Err(StoreError::Stale { detail });
                }
                committed = Committed { through, revision, dedupe_line, small, tables: committed.tables };
                keys.extend(k);
                rows.extend(r);
                quarantine_runs.extend(quarantine);
            }
            EmbeddedChange::Merge { plan, output } => {
                match output {
                    Merged::Keys(run) => replace(&mut keys, &plan, run, |r| r.seal())?,
                    Merged::Rows(run) => replace(&mut rows, &plan, run, |r| r.seal())?,
                    Merged::Quarantine(run) => replace(&mut quarantine_runs, &plan, run, |r| r.seal())?,
                }
                dropped.extend(plan.inputs.iter().map(|&id| (plan.kind, id)));
            }
        }
        let symbols = Arc::clone(&self.symbols);
        Ok((State::new(committed, state.tables.clone(), symbols, keys, rows, quarantine_runs), dropped))
    }
}

impl AggregateStore for EmbeddedStore {
    fn view(&self) -> Arc<dyn StoreView> {
        self.state()
    }

    fn write(&self, checkpoint: &Checkpoint) -> Result<Written, StoreError> {
        self.check_poison()?;
        let state = self.state();
        let base = state.committed.through;
        if checkpoint.through.seq < base.seq || checkpoint.through.offset < base.offset {
            let detail = format!("a checkpoint through {:?}, the store is at {base:?}", checkpoint.through);
            return Err(StoreError::Stale { detail });
        }
        check_rows(&state.committed.tables, &checkpoint.rows)?;
        let id = self.new_id();
        let change = self.settle(id, self.write_runs(id, &state, checkpoint))?;
        Ok(Written { change: Change::Embedded(Box::new(change)) })
    }

    fn publish(&self, written: Written) -> Result<(), StoreError> {
        self.check_poison()?;
        let Change::Embedded(change) = written.change else {
            return Err(StoreError::Stale { detail: "another kind of store wrote it".to_owned() });
        };
        let publishing = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        let made = made_runs(&change);
        let published = self.changed(&self.state(), *change).and_then(|(state, dropped)| {
            write_manifest(&*self.disk, &self.dir, &state.manifest())?;
            Ok((state, dropped))
        });
        match published {
            Ok((state, dropped)) => {
                *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
                drop(publishing);
                dropped.into_iter().for_each(|(kind, id)| self.discard(kind, id));
                Ok(())
            }
            Err(error) => {
                if let StoreError::Poisoned { file, detail } = &error {
                    let _ = self.poison.set((file.clone(), detail.clone()));
                } else {
                    made.into_iter().for_each(|(kind, id)| self.discard(kind, id));
                }
                Err(error)
            }
        }
    }

    fn merge_due(&self) -> Option<MergePlan> {
        let state = self.state();
        let line = state.committed.dedupe_line;
        if let Some(ended) = state.keys.iter().find(|run| run.has_ended(line)) {
            return Some(MergePlan { kind: RunKind::Keys, inputs: vec![ended.seal().id] });
        }
        RunKind::ALL.into_iter().zip(state.seals()).find_map(|(kind, seals)| {
            let sizes: Vec<u64> = seals.iter().map(|s| s.len).collect();
            let options = &self.options;
            let (base_bytes, fan_in) = match kind {
                RunKind::Keys => (options.keys_merge_base_bytes, options.keys_merge_fan_in),
                // A run of rows is a tenth of the keys' beside it, and a scan reads of each run only what it needs.
                RunKind::Rows => (options.merge_base_bytes / 8, 2 * options.merge_fan_in),
                RunKind::Quarantine => (options.merge_base_bytes, options.merge_fan_in),
            };
            let due = tiers::due(&sizes, base_bytes, fan_in)?;
            Some(MergePlan { kind, inputs: seals[due].iter().map(|s| s.id).collect() })
        })
    }

    fn merge(&self, plan: &MergePlan) -> Result<Written, StoreError> {
        self.check_poison()?;
        let state = self.state();
        let id = self.new_id();
        let output = self.settle(id, self.merge_runs(id, &state, plan))?;
        let change = EmbeddedChange::Merge { plan: plan.clone(), output };
        Ok(Written { change: Change::Embedded(Box::new(change)) })
    }

    fn hold(&self, with: &mut dyn FnMut(&[String])) -> Result<(), StoreError> {
        // Runs go only after a manifest without them was published.
        let _publishing = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_poison()?;
        let mut names = named_files(&self.state().manifest());
        names.push(MANIFEST.to_owned());
        with(&names);
        Ok(())
    }
}

/// The files that a change made.
fn made_runs(change: &EmbeddedChange) -> Vec<(RunKind, u64)> {
    let (keys, rows, quarantine) = match change {
        EmbeddedChange::Checkpoint { keys, rows, quarantine, .. } => {
            (keys.as_ref(), rows.as_ref(), quarantine.as_ref())
        }
        EmbeddedChange::Merge { output: Merged::Keys(run), .. } => (run.as_ref(), None, None),
        EmbeddedChange::Merge { output: Merged::Rows(run), .. } => (None, run.as_ref(), None),
        EmbeddedChange::Merge { output: Merged::Quarantine(run), .. } => (None, None, run.as_ref()),
    };
    let mut made = Vec::new();
    made.extend(keys.map(|r| (RunKind::Keys, r.seal().id)));
    made.extend(rows.map(|r| (RunKind::Rows, r.seal().id)));
    made.extend(quarantine.map(|r| (RunKind::Quarantine, r.seal().id)));
    made
}

/// Where the inputs of a plan stand: beside one another.
fn place_of<R>(runs: &[R], plan: &MergePlan, seal: impl Fn(&R) -> RunSeal) -> Result<usize, StoreError> {
    let stale = || StoreError::Stale { detail: format!("a merge of runs that are gone: {plan:?}") };
    let first = *plan.inputs.first().ok_or_else(stale)?;
    let at = runs.iter().position(|r| seal(r).id == first).ok_or_else(stale)?;
    let stand = runs[at..].iter().map(|r| seal(r).id).take(plan.inputs.len());
    if stand.eq(plan.inputs.iter().copied()) { Ok(at) } else { Err(stale()) }
}

fn inputs_of<'a, R>(runs: &'a [R], plan: &MergePlan, seal: impl Fn(&R) -> RunSeal) -> Result<&'a [R], StoreError> {
    let at = place_of(runs, plan, seal)?;
    Ok(&runs[at..at + plan.inputs.len()])
}

fn replace<R>(
    runs: &mut Vec<R>,
    plan: &MergePlan,
    output: Option<R>,
    seal: impl Fn(&R) -> RunSeal,
) -> Result<(), StoreError> {
    let at = place_of(runs, plan, seal)?;
    runs.splice(at..at + plan.inputs.len(), output);
    Ok(())
}

fn named_files(manifest: &Manifest) -> Vec<String> {
    let runs = RunKind::ALL.iter().zip(&manifest.runs);
    runs.flat_map(|(kind, seals)| seals.iter().map(|s| kind.file_name(s.id))).collect()
}

fn read_manifest(disk: &dyn Disk, dir: &Path) -> Result<Manifest, StoreError> {
    let of_manifest = |e| StoreError::io(MANIFEST, e);
    let file = disk.open(&dir.join(MANIFEST), Open::Read).map_err(of_manifest)?;
    let len = file.len().map_err(of_manifest)?;
    let mut bytes = vec![0; usize::try_from(len).map_err(|_| StoreError::corrupt(MANIFEST, "it is too long"))?];
    file.read_exact_at(&mut bytes, 0).map_err(of_manifest)?;
    Manifest::decode(&bytes)
}

/// Replaces the manifest. Up to its sync a failure leaves the former one untouched.
fn write_manifest(disk: &dyn Disk, dir: &Path, manifest: &Manifest) -> Result<(), StoreError> {
    let next = dir.join(MANIFEST_NEXT);
    let of_next = |e| StoreError::io(MANIFEST_NEXT, e);
    let poisoned = |e| StoreError::poisoned(MANIFEST, &e);
    let mut file = match disk.open(&next, Open::Create) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            // Left by a publication that found no space.
            disk.remove(&next).map_err(of_next)?;
            disk.open(&next, Open::Create).map_err(of_next)?
        }
        other => other.map_err(of_next)?,
    };
    file.append(&manifest.encode()).map_err(of_next)?;
    file.sync().map_err(poisoned)?;
    drop(file);
    disk.rename(&next, &dir.join(MANIFEST)).map_err(poisoned)?;
    disk.sync_dir(dir).map_err(poisoned)
}

fn open_state(
    disk: &dyn Disk,
    dir: &Path,
    manifest: &Manifest,
    tables: Vec<TableRecord>,
    schemas: &[TableSchema],
    symbols: Arc<Symbols>,
) -> Result<State, StoreError> {
    let [keys, rows, quarantine] = &manifest.runs;
    let keys = keys.iter().map(|&s| KeysRun::open(disk, dir, s).map(Arc::new)).collect::<Result<_, _>>()?;
    let rows: Vec<Arc<RowsRun>> =
        rows.iter().map(|&s| RowsRun::open(disk, dir, s).map(Arc::new)).collect::<Result<_, _>>()?;
    let quarantine =
        quarantine.iter().map(|&s| QuarantineRun::open(disk, dir, s).map(Arc::new)).collect::<Result<_, _>>()?;
    for run in &rows {
        for table in run.tables() {
            if !tables.iter().any(|t| t.name == table.schema.name && t.keys == table.schema.keys) {
                let file = RunKind::Rows.file_name(run.seal().id);
                let detail = format!("its table {} is not one of the manifest's", table.schema.name);
                return Err(StoreError::corrupt(&file, detail));
            }
        }
    }
    let committed = Committed {
        through: manifest.through,
        revision: manifest.revision,
        dedupe_line: manifest.dedupe_line,
        small: manifest.small.clone(),
        tables: table_states(&tables, schemas),
    };
    Ok(State::new(committed, tables, symbols, keys, rows, quarantine))
}

/// The opened tables: `tables` begins with them, each with the schema's columns first.
pub(crate) fn table_states(tables: &[TableRecord], schemas: &[TableSchema]) -> Vec<TableState> {
    let of = |(schema, table): (&TableSchema, &TableRecord)| TableState {
        schema: schema.clone(),
        since: table.since,
        columns_since: table.columns[..schema.columns.len()].iter().map(|c| c.since).collect(),
    };
    schemas.iter().zip(tables).map(of).collect()
}
