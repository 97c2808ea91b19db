//! Checkpoints: what waits is set apart, written, published and then forgotten.
//!
//! Invariant: a checkpoint holds what the frames before its position changed since the last one, whole; until it is
//! published everything in it is still asked here, so folding may go on beside the write. Not here: which thread
//! writes.

use std::sync::Arc;

use adsum_engine::Unsaved;
use adsum_model::id::Offset;
use adsum_model::ledger::LEDGER_COLUMNS;
use adsum_model::state::{Checkpoint, QuarantineEntry, SmallState};
use adsum_model::table::{TableIx, TableRows};
use adsum_model::time::BucketStart;
use adsum_store::{AggregateStore, BucketRange, StateHash, StoreView};

use crate::error::PipelineError;
use crate::step::Pipeline;
use crate::tables::{CAMPAIGN_CURRENCIES, DIMENSION_DAYS, LEDGER, shard_table};

/// When a checkpoint is due: at the first frame after which either is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointRules {
    /// Dedupe records waiting.
    pub records_max: usize,
    /// Cells waiting.
    pub cells_max: usize,
    /// Frames since the last one: it bounds the replay after a crash.
    pub frames_max: u64,
    /// Who merges what checkpoints leave.
    pub merges: Merges,
}

impl Default for CheckpointRules {
    fn default() -> Self {
        // Twice as much is held at times: what is frozen, and what comes meanwhile.
        Self { records_max: 1 << 19, cells_max: 1 << 19, frames_max: 4096, merges: Merges::default() }
    }
}

/// Who merges the runs that checkpoints leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Merges {
    /// Each checkpoint merges what is due before it comes back.
    #[default]
    WithCheckpoints,
    /// Somebody else does, on another thread, by [`merge_all_due`].
    Elsewhere,
}

/// Merges until nothing is due.
pub fn merge_all_due(store: &dyn AggregateStore) -> Result<(), PipelineError> {
    while let Some(plan) = store.merge_due() {
        let merged = store.merge(&plan)?;
        store.publish(merged)?;
    }
    Ok(())
}

/// What a checkpoint will hold, set apart from what comes after it.
pub struct Frozen {
    shards: Vec<Arc<Unsaved>>,
    /// All but the shards' parts.
    rest: Checkpoint,
}

impl Frozen {
    /// The checkpoint: heavy, for it copies the shards' records and cells.
    pub fn checkpoint(&self) -> Checkpoint {
        let mut checkpoint = self.rest.clone();
        for shard in &self.shards {
            add_shard(&mut checkpoint, shard);
        }
        checkpoint
    }

    /// Writes and publishes it. After an error nothing of it may be relied on: on a full disk it may be tried again,
    /// else the process ends, and the next start folds the log again.
    pub fn commit(&self, store: &dyn AggregateStore) -> Result<(), PipelineError> {
        let written = store.write(&self.checkpoint())?;
        store.publish(written)?;
        Ok(())
    }
}

fn add_shard(checkpoint: &mut Checkpoint, shard: &Unsaved) {
    let delta = shard.delta();
    checkpoint.dedupe.push(delta.dedupe);
    for (i, rows) in delta.rows.into_iter().enumerate() {
        checkpoint.rows[shard_table(i).index()].push(rows);
    }
}

impl<S: AggregateStore> Pipeline<S> {
    /// Whether enough waits for a checkpoint.
    pub fn is_due(&self) -> bool {
        self.is_due_by(1)
    }

    /// Whether twice as much waits: whoever writes checkpoints beside the fold is behind, and is waited for.
    pub fn is_overdue(&self) -> bool {
        self.is_due_by(2)
    }

    fn is_due_by(&self, times: usize) -> bool {
        let (records, cells) = self.slots.iter().map(|s| s.shard.pending()).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        records >= self.rules.records_max.saturating_mul(times)
            || cells >= self.rules.cells_max.saturating_mul(times)
            || self.frames_waiting >= self.rules.frames_max.saturating_mul(times as u64)
    }

    /// From now on another thread merges, by [`merge_all_due`].
    pub fn merge_elsewhere(&mut self) {
        self.rules.merges = Merges::Elsewhere;
    }

    /// Checkpoints if enough waits.
    pub fn checkpoint_if_due(&mut self) -> Result<bool, PipelineError> {
        let due = self.is_due();
        if due {
            self.checkpoint()?;
        }
        Ok(due)
    }

    /// Commits dedupe records, cells, ledger, quarantine, clocks and position as one, then merges what is due.
    pub fn checkpoint(&mut self) -> Result<(), PipelineError> {
        let Some(frozen) = self.freeze() else { return Ok(()) };
        frozen.commit(&self.store)?;
        drop(frozen);
        self.thaw();
        if self.rules.merges == Merges::WithCheckpoints {
            merge_all_due(&self.store)?;
        }
        Ok(())
    }

    /// Sets apart what waits, to be committed beside the fold; [`Self::thaw`] follows when it is. Nothing where
    /// nothing waits. One at a time: another is frozen when the former was thawed.
    pub fn freeze(&mut self) -> Option<Arc<Frozen>> {
        assert!(self.frozen.is_none(), "the former checkpoint was not thawed");
        if self.frames_waiting == 0 {
            return None;
        }
        let rest = self.unsaved_but_shards();
        let shards = self.slots.iter_mut().map(|s| s.shard.freeze()).collect();
        self.ledger.clear();
        self.quarantined.clear();
        self.released.clear();
        self.limits.settle();
        self.currencies.committed();
        self.frames_waiting = 0;
        let frozen = Arc::new(Frozen { shards, rest });
        self.frozen = Some(frozen.clone());
        Some(frozen)
    }

    /// What was frozen is published: the store tells it from now on.
    pub fn thaw(&mut self) {
        self.frozen = None;
        self.slots.iter_mut().for_each(|s| s.shard.thaw());
    }

    /// Whether a checkpoint is frozen and not yet thawed.
    pub fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    /// Whether what is frozen is already published in this view: it is to be thawed before both are told, for together
    /// they would tell it twice.
    pub fn is_frozen_in(&self, view: &dyn StoreView) -> bool {
        self.frozen.as_ref().is_some_and(|frozen| frozen.rest.through == view.committed().through)
    }

    /// The ledger since the last freeze.
    fn ledger_rows(&self) -> TableRows {
        let mut ledger = TableRows::new(1, LEDGER_COLUMNS);
        for ((source, hour), (counts, revision)) in &self.ledger {
            ledger.push(BucketStart::from_seconds(*hour), &[*source], counts.values(), *revision);
        }
        ledger
    }

    /// What came since the last freeze, but for the shards' parts.
    fn unsaved_but_shards(&self) -> Checkpoint {
        let ledger = self.ledger_rows();
        let days = self.limits.rows(self.revision);
        let currencies = self.currencies.rows(self.revision);
        let shards = self.catalog.rollups().len() + self.catalog.distinct_users().len();
        let shards = std::iter::repeat_with(Vec::new).take(shards);
        Checkpoint {
            through: self.through,
            revision: self.revision,
            dedupe: Vec::new(),
            dedupe_line: self.clocks.line(),
            rows: [vec![ledger], vec![days], vec![currencies]].into_iter().chain(shards).collect(),
            quarantined: self.quarantined.clone(),
            released: self.released.clone(),
            small: SmallState {
                clocks: self.clocks.states(),
                imports: self.imports.files().to_vec(),
                clock_in_doubt: self.clocks.is_in_doubt(),
            },
        }
    }

    /// Everything that the store does not have yet, copied, as one checkpoint.
    pub fn pending(&self) -> Checkpoint {
        let mut checkpoint = self.unsaved_but_shards();
        if let Some(frozen) = &self.frozen {
            for (rows, before) in checkpoint.rows.iter_mut().zip(&frozen.rest.rows) {
                rows.extend(before.iter().cloned());
            }
            (checkpoint.quarantined, checkpoint.released) = self.pending_quarantine();
        }
        for shard in self.slots.iter().flat_map(|slot| slot.shard.unsaved()) {
            add_shard(&mut checkpoint, shard);
        }
        checkpoint
    }

    /// Of what the store does not have yet the rows of one table and some buckets, copied: reports read them beside
    /// the store.
    pub fn pending_rows(&self, table: TableIx, range: BucketRange) -> Vec<TableRows> {
        match table {
            LEDGER | DIMENSION_DAYS | CAMPAIGN_CURRENCIES => {
                let now = match table {
                    LEDGER => self.ledger_rows(),
                    DIMENSION_DAYS => self.limits.rows(self.revision),
                    _ => self.currencies.rows(self.revision),
                };
                let mut rows = vec![now];
                rows.extend(self.frozen.iter().flat_map(|f| f.rest.rows[table.index()].iter().cloned()));
                rows
            }
            _ => {
                let index = table.index() - shard_table(0).index();
                let unsaved = self.slots.iter().flat_map(|s| s.shard.unsaved());
                unsaved.map(|u| u.rows_of(index, range.from(), range.to())).collect()
            }
        }
    }

    /// Entries that came into quarantine, in order, and those that left it, which the store does not know yet.
    pub fn pending_quarantine(&self) -> (Vec<QuarantineEntry>, Vec<Offset>) {
        let frozen = self.frozen.as_ref().map(|f| &f.rest);
        let mut quarantined = frozen.map_or_else(Vec::new, |rest| rest.quarantined.clone());
        let mut released = frozen.map_or_else(Vec::new, |rest| rest.released.clone());
        quarantined.extend_from_slice(&self.quarantined);
        released.extend_from_slice(&self.released);
        (quarantined, released)
    }

    /// Whether anything but the passing of time waits for a checkpoint.
    pub fn has_events_waiting(&self) -> bool {
        !self.quarantined.is_empty() || self.slots.iter().any(|s| s.shard.pending() != (0, 0))
    }

    /// The hash of the whole state: cells, ledger, dedupe keys and quarantine.
    pub fn state_hash(&self) -> Result<StateHash, PipelineError> {
        Ok(self.store.state_hash(Some(&self.pending()))?)
    }
}
