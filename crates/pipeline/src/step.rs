//! One step of the loop, and the way back after a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use adsum_engine::{Clocks, Effects, Ended, FrameContext, Lookups, Prior, Rules, Seen, Shard};
use adsum_log::{EventLog, Frame};
use adsum_model::catalog::Catalog;
use adsum_model::hash::Secret;
use adsum_model::id::{FrameSeq, Offset, Position, Revision};
use adsum_model::ledger::{LedgerColumn, LedgerCounts};
use adsum_model::rows::{Control, Projector, RowFlags, Rows};
use adsum_model::state::{QuarantineEntry, QuarantineReason};
use adsum_model::symbol::Symbol;
use adsum_model::time::ReceivedAt;
use adsum_store::{AggregateStore, BucketRange};

use crate::commit::{CheckpointRules, Frozen};
use crate::currencies::Currencies;
use crate::error::PipelineError;
use crate::imports::Imports;
use crate::limits::Limits;
use crate::raw::{self, RawEvents};
use crate::tables::CAMPAIGN_CURRENCIES;

/// A frame without its records.
#[derive(Clone, Copy, Debug)]
pub struct FrameMeta {
    /// Its number.
    pub seq: FrameSeq,
    /// When it was appended.
    pub appended_at: ReceivedAt,
    /// The offset of its first record.
    pub base: Offset,
}

/// What a step published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The revision.
    pub revision: Revision,
    /// Events counted by it.
    pub counted: u64,
    /// By source: what became of its records. No source: ticks.
    pub counts: Vec<(Symbol, LedgerCounts)>,
}

/// A shard and what one step needs for it.
pub struct ShardSlot {
    pub(crate) shard: Shard,
    lookups: Lookups,
    prior: Prior,
    result: Option<Result<Effects, PipelineError>>,
}

/// Runs a step's work on every shard and comes back when all have finished.
pub trait Executor {
    /// Calls `work` once for each slot, in any order, on any thread.
    fn each(&self, slots: &mut [ShardSlot], work: &(dyn Fn(&mut ShardSlot) + Sync));
}

/// One shard after the other on the caller's thread.
pub struct InLine;

impl Executor for InLine {
    fn each(&self, slots: &mut [ShardSlot], work: &(dyn Fn(&mut ShardSlot) + Sync)) {
        slots.iter_mut().for_each(work);
    }
}

/// A frame with fewer events is folded on the caller's thread: to wake others takes longer.
const SMALL_FRAME_EVENTS: usize = 1024;

/// The loop's state over a store.
pub struct Pipeline<S> {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) store: S,
    executor: Box<dyn Executor + Send>,
    pub(crate) slots: Vec<ShardSlot>,
    pub(crate) clocks: Clocks,
    pub(crate) imports: Imports,
    pub(crate) limits: Limits,
    pub(crate) currencies: Currencies,
    pub(crate) rules: CheckpointRules,
    pub(crate) through: Position,
    pub(crate) revision: Revision,
    pub(crate) frames_waiting: u64,
    pub(crate) ledger: BTreeMap<(Symbol, i64), (LedgerCounts, Revision)>,
    pub(crate) quarantined: Vec<QuarantineEntry>,
    pub(crate) released: Vec<Offset>,
    /// What a checkpoint is being written of.
    pub(crate) frozen: Option<Arc<Frozen>>,
    raw: Option<RawEvents>,
}

impl<S: AggregateStore> Pipeline<S> {
    /// Over a store, as its last commit left it. `workers` shards share the slots.
    pub fn new(
        catalog: Arc<Catalog>,
        store: S,
        rules: Rules,
        checkpoints: CheckpointRules,
        workers: usize,
        executor: Box<dyn Executor + Send>,
    ) -> Result<Self, PipelineError> {
        let committed = store.committed();
        let mut limits = Limits::new(catalog.clone());
        limits.restore(&store)?;
        let mut currencies = Currencies::default();
        store.scan(CAMPAIGN_CURRENCIES, BucketRange::ALL, &[], &[], &mut |row| {
            let text = |column: usize| row.names.text(column, row.keys[column]);
            if let (Some(campaign), Some(currency)) = (text(0), text(1)) {
                currencies.restore(catalog.symbols(), campaign, currency);
            }
            ControlFlow::Continue(())
        })?;
        let slots = (0..workers.max(1))
            .map(|i| ShardSlot {
                shard: Shard::new(&catalog, i, workers.max(1)),
                lookups: Lookups::default(),
                prior: Prior::default(),
                result: None,
            })
            .collect();
        Ok(Self {
            clocks: Clocks::restore(rules, &committed.small.clocks, committed.small.clock_in_doubt),
            imports: Imports::restore(&committed.small.imports),
            limits,
            currencies,
            rules: checkpoints,
            through: committed.through,
            revision: committed.revision,
            frames_waiting: 0,
            ledger: BTreeMap::new(),
            quarantined: Vec::new(),
            released: Vec::new(),
            frozen: None,
            raw: None,
            catalog,
            store,
            executor,
            slots,
        })
    }

    /// Folds the frames of the log that the store has not committed, and checkpoints as it goes; from then on replays
    /// look keys up in that log. It comes before the first step. `progress` hears after each frame how many records it
    /// had.
    pub fn recover(
        &mut self,
        log: &dyn EventLog,
        secret: Secret,
        mut progress: impl FnMut(u64),
    ) -> Result<(), PipelineError> {
        self.raw = Some(RawEvents::new(log.view(), secret));
        let mut projector = Projector::new(self.catalog.clone(), secret);
        let mut reader = log.read(self.through.seq)?;
        let mut frame = Frame::default();
        let mut rows = Rows::default();
        while reader.next(&mut frame)? {
            projector.project_batch(&frame.records, &mut rows);
            let meta = FrameMeta { seq: frame.seq, appended_at: frame.appended_at, base: frame.base };
            self.step(&meta, &[&rows])?;
            progress(u64::from(rows.records));
            self.checkpoint_if_due()?;
        }
        Ok(())
    }

    /// Folds one durable frame and publishes its revision.
    pub fn step(&mut self, meta: &FrameMeta, batches: &[&Rows]) -> Result<Published, PipelineError> {
        if meta.seq != self.through.seq {
            return Err(PipelineError::OutOfTurn { expected: self.through.seq.get(), got: meta.seq.get() });
        }
        let revision = Revision::of_frame(meta.seq);
        let context = FrameContext {
            appended_at: meta.appended_at,
            revision,
            line: self.clocks.line(),
            watermark: self.clocks.watermark(),
            rules: *self.clocks.rules(),
        };
        let mut bases = Vec::with_capacity(batches.len());
        let mut next = meta.base;
        for batch in batches {
            bases.push(next);
            next = next.plus(u64::from(batch.records));
        }
        let ended = Arc::new(self.ended_keys(meta.seq, batches)?);
        let store = &self.store;
        let small = batches.iter().map(|b| b.events.len()).sum::<usize>() < SMALL_FRAME_EVENTS;
        let executor: &dyn Executor = if small { &InLine } else { &*self.executor };
        executor.each(&mut self.slots, &|slot| {
            slot.result = Some(fold_shard(store, slot, &context, batches, &bases, &ended));
        });
        let mut frame_counts: Vec<(Symbol, LedgerCounts)> = Vec::new();
        let mut seen = Seen::default();
        let mut counted = 0;
        for i in 0..self.slots.len() {
            let Some(result) = self.slots[i].result.take() else { continue };
            let effects = result?;
            seen.merge(&effects.seen);
            counted += effects.counted;
            self.currencies.observe(&effects.currencies);
            for ((source, hour), counts) in &effects.ledger {
                self.add_to_ledger(*source, *hour, counts, revision, &mut frame_counts);
            }
            self.quarantined.extend_from_slice(&effects.quarantined);
            self.released.extend_from_slice(&effects.released);
        }
        let mut progress = Vec::new();
        for (batch, base) in batches.iter().zip(&bases) {
            self.limits.observe(batch);
            for (ordinal, control) in &batch.controls {
                match control {
                    Control::Reject { source, received_at } => {
                        let offset = base.plus(u64::from(*ordinal));
                        let entry =
                            QuarantineEntry { offset, reason: QuarantineReason::Rejected, received_at: *received_at };
                        self.quarantined.push(entry);
                        let mut counts = LedgerCounts::default();
                        counts.add(LedgerColumn::Received, 1);
                        counts.add(LedgerColumn::Rejected, 1);
                        let hour = received_at.seconds() - received_at.seconds().rem_euclid(3600);
                        self.add_to_ledger(*source, hour, &counts, revision, &mut frame_counts);
                    }
                    Control::Tick { at } => {
                        self.clocks.tick(*at);
                        self.add_control(Symbol::NULL, *at, LedgerColumn::Ticks, revision, &mut frame_counts);
                    }
                    Control::ClockDoubt { begun, at } => {
                        self.clocks.doubt(*begun);
                        self.add_control(Symbol::NULL, *at, LedgerColumn::Ticks, revision, &mut frame_counts);
                    }
                    Control::Metadata { source, received_at } => {
                        self.add_control(*source, *received_at, LedgerColumn::Metadata, revision, &mut frame_counts);
                    }
                    Control::ImportBegin { source, run } => {
                        self.imports.begin(source, run);
                        self.clocks.import_begins(source);
                    }
                    Control::ImportProgress { file } => progress.push(file),
                    Control::ImportEnd { source, .. } => {
                        self.imports.end(source);
                        self.clocks.import_ended(source);
                    }
                }
            }
        }
        for file in progress {
            let source = self.catalog.symbols().find(file.source.as_bytes());
            let counts = frame_counts.iter().find(|(s, _)| Some(*s) == source).map(|(_, c)| *c).unwrap_or_default();
            self.imports.progress(file, &counts);
        }
        if let Some(raw) = &mut self.raw {
            raw.observe(batches);
        }
        let symbols = self.catalog.symbols();
        self.clocks.advance(&seen, meta.appended_at, |s| symbols.text(s).unwrap_or_default());
        self.through = Position { seq: meta.seq.plus(1), offset: next };
        self.revision = revision;
        self.frames_waiting += 1;
        Ok(Published { revision, counted, counts: frame_counts })
    }

    /// What the raw events say of the keys of a frame's replays, and of its imports that may meet keys of live
    /// sources. Before there is a line no key has ended.
    fn ended_keys(&mut self, seq: FrameSeq, batches: &[&Rows]) -> Result<Ended, PipelineError> {
        let Some(raw) = self.raw.as_mut().filter(|_| self.clocks.line_is_drawn()) else {
            return Ok(Ended::default());
        };
        let mut keys = BTreeSet::new();
        let mut sources: BTreeMap<Symbol, bool> = BTreeMap::new();
        for row in batches.iter().flat_map(|b| &b.events).filter(|r| !r.flags.has(RowFlags::NO_DEDUPE)) {
            if row.flags.has(RowFlags::REPLAY) {
                keys.insert(row.key);
            } else if row.flags.has(RowFlags::IMPORT) {
                let meets = match sources.get(&row.source) {
                    Some(meets) => *meets,
                    None => raw.may_meet_live(&self.catalog, row.source, seq)?,
                };
                sources.insert(row.source, meets);
                if meets {
                    keys.insert(row.key);
                }
            }
        }
        if keys.is_empty() {
            return Ok(Ended::default());
        }
        let met = raw.find(&self.catalog, &keys, seq)?;
        let offsets: Vec<Offset> = met.iter().map(|m| m.offset).collect();
        let committed = self.store.quarantined(&offsets)?;
        let complete = raw.are_complete();
        let (waiting, released) = self.pending_quarantine();
        let waiting: BTreeSet<Offset> = waiting.iter().map(|e| e.offset).collect();
        let released: BTreeSet<Offset> = released.into_iter().collect();
        let is_held = |i: usize| {
            let offset = offsets[i];
            !released.contains(&offset) && (committed[i].is_some() || waiting.contains(&offset))
        };
        Ok(raw::ended(met, is_held, complete))
    }

    /// A record that is no event has a line of its own in the ledger.
    fn add_control(
        &mut self,
        source: Symbol,
        at: ReceivedAt,
        column: LedgerColumn,
        revision: Revision,
        frame_counts: &mut Vec<(Symbol, LedgerCounts)>,
    ) {
        let mut counts = LedgerCounts::default();
        counts.add(column, 1);
        self.add_to_ledger(source, at.seconds() - at.seconds().rem_euclid(3600), &counts, revision, frame_counts);
    }

    fn add_to_ledger(
        &mut self,
        source: Symbol,
        hour: i64,
        counts: &LedgerCounts,
        revision: Revision,
        frame_counts: &mut Vec<(Symbol, LedgerCounts)>,
    ) {
        let (row, last) = self.ledger.entry((source, hour)).or_default();
        row.merge(counts);
        *last = revision;
        match frame_counts.iter_mut().find(|(s, _)| *s == source) {
            Some((_, all)) => all.merge(counts),
            None => frame_counts.push((source, *counts)),
        }
    }

    /// The store.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The next frame to fold.
    pub fn through(&self) -> Position {
        self.through
    }

    /// The catalog.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// The last revision published.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Watermarks and the acceptance line.
    pub fn clocks(&self) -> &Clocks {
        &self.clocks
    }

    /// How far imports have come.
    pub fn imports(&self) -> &Imports {
        &self.imports
    }

    /// Campaigns, each with a currency that events of it were counted in.
    pub fn campaign_currencies(&self) -> impl Iterator<Item = (Symbol, Symbol)> + '_ {
        self.currencies.pairs()
    }

    /// The cardinality limits as of the last frame folded: who appends goes on from a copy.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}

/// Keys, look-up, fold: the order of one shard's step.
fn fold_shard<S: AggregateStore>(
    store: &S,
    slot: &mut ShardSlot,
    context: &FrameContext,
    batches: &[&Rows],
    bases: &[Offset],
    ended: &Arc<Ended>,
) -> Result<Effects, PipelineError> {
    let ShardSlot { shard, lookups, prior, .. } = slot;
    prior.ended = ended.clone();
    shard.keys(batches, lookups);
    store.lookup(&lookups.keys, &mut prior.records)?;
    prior.quarantine = store.quarantined(&lookups.quarantine)?;
    Ok(shard.fold(context, batches, bases, lookups, prior)?)
}
