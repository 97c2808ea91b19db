//! The thread that owns the pipeline while the service runs, and the threads of one frame's shards.
//!
//! Invariant: frames are folded in the order in which they were appended, and between two of them questions are
//! answered: an answer holds every frame folded before. Not here: the loop itself (adsum-pipeline).

use std::sync::Arc;

use adsum_model::id::Offset;
use adsum_model::ledger::{LedgerColumn, LedgerCounts};
use adsum_pipeline::{Executor, Pipeline, ShardSlot};
use adsum_store::AggregateStore;
use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, never, select};

use crate::clock::{self, Moment};
use crate::commit::Commits;
use crate::live::{Ask, LiveEnds, Snapshot, Update};
use crate::writer::{Durable, Spares};

/// One thread a shard for the time of a frame; the caller's thread takes the first.
pub struct Threads;

impl Executor for Threads {
    fn each(&self, slots: &mut [ShardSlot], work: &(dyn Fn(&mut ShardSlot) + Sync)) {
        let Some((first, rest)) = slots.split_first_mut() else { return };
        std::thread::scope(|scope| {
            for slot in rest {
                scope.spawn(move || work(slot));
            }
            work(first);
        });
    }
}

/// So long events wait for a checkpoint at most: it bounds the replay after a crash.
const CHECKPOINT_MICROS: u64 = 30_000_000;

/// The thread's state.
pub struct Fold<S> {
    pipeline: Pipeline<S>,
    frames: Receiver<Durable>,
    spares: Arc<Spares>,
    ends: LiveEnds,
    /// To the thread that commits, and back.
    commits: Commits,
    checkpointed_at: Moment,
    /// The time of the last frame folded.
    folded_at: adsum_model::time::ReceivedAt,
}

impl<S: AggregateStore> Fold<S> {
    /// Over a pipeline that has folded everything durable.
    pub fn new(
        pipeline: Pipeline<S>,
        frames: Receiver<Durable>,
        spares: Arc<Spares>,
        ends: LiveEnds,
        commits: Commits,
    ) -> Self {
        Self { pipeline, frames, spares, ends, commits, checkpointed_at: Moment::now(), folded_at: clock::now() }
    }

    /// Folds and answers until the writer has ended, then commits what waits. An error is the end of the process: the
    /// log has everything, and the next start folds it again.
    pub fn run(mut self) -> Result<()> {
        let (frames, mut asks) = (self.frames.clone(), self.ends.asks.clone());
        let committed = self.commits.words().clone();
        loop {
            select! {
                recv(frames) -> frame => match frame {
                    Ok(frame) => {
                        self.frame(&frame)?;
                        frame.batches.into_iter().for_each(|rows| self.spares.folded(rows));
                    }
                    Err(_) => break,
                },
                recv(asks) -> ask => match ask {
                    Ok(ask) => self.answer(ask)?,
                    // Nobody can ask any more, and a closed queue would be ready at once, again and again.
                    Err(_) => asks = never(),
                },
                recv(committed) -> word => self.commits.committed(&mut self.pipeline, word)?,
            }
        }
        self.commits.end(&mut self.pipeline)
    }

    fn frame(&mut self, frame: &Durable) -> Result<()> {
        let begun = Moment::now();
        let batches: Vec<_> = frame.batches.iter().collect();
        let published = self.pipeline.step(&frame.meta, &batches)?;
        self.folded_at = frame.meta.appended_at;
        metrics::histogram!("adsum_fold_seconds").record(begun.elapsed_seconds());
        metrics::gauge!("adsum_fold_queue_depth").set(self.frames.len() as u32);
        metrics::gauge!("adsum_questions_queue_depth").set(self.ends.asks.len() as u32);
        // What waits is younger than the frame that was folded just now.
        let behind = clock::now().micros() - frame.meta.appended_at.micros();
        let oldest = if self.frames.is_empty() { 0 } else { behind.max(0) };
        metrics::gauge!("adsum_fold_oldest_seconds").set(clock::seconds(oldest));
        let received = frame.batches.iter().flat_map(|b| b.events.first()).map(|row| row.received_at).min();
        if let Some(received) = received {
            let micros = (clock::now().micros() - received.micros()).max(0);
            metrics::histogram!("adsum_receipt_to_visible_seconds").record(clock::seconds(micros));
        }
        let symbols = self.pipeline.catalog().symbols();
        let counts: Vec<(String, LedgerCounts)> =
            published.counts.iter().map(|(s, c)| (symbols.text(*s).unwrap_or_default(), *c)).collect();
        count(&counts);
        let watermark = self.pipeline.clocks().watermark();
        let update = Update {
            revision: published.revision,
            appended_at: frame.meta.appended_at,
            counts,
            complete_through: (watermark.micros() > i64::MIN).then(|| watermark.to_string()),
        };
        self.ends.publish_line(self.pipeline.clocks().line());
        self.ends.folded.send_replace(frame.meta.seq.plus(1));
        // Nobody may be watching.
        let _ = self.ends.updates.send(Arc::new(update));
        let old = self.checkpointed_at.elapsed_micros() > CHECKPOINT_MICROS && self.pipeline.has_events_waiting();
        if self.commits.after_frame(&mut self.pipeline, old)? {
            self.checkpointed_at = Moment::now();
        }
        Ok(())
    }

    fn answer(&mut self, ask: Ask) -> Result<()> {
        if let Some(mut with_files) = ask.commit {
            if !self.commits.finish(&mut self.pipeline)? {
                // The disk is full: who asked sees that there is no answer.
                return Ok(());
            }
            self.pipeline.store().hold(&mut *with_files).context("the store cannot be copied")?;
        }
        let view = self.commits.view(&mut self.pipeline)?;
        let pipeline = &self.pipeline;
        let mut pending = vec![Vec::new(); view.committed().tables.len()];
        for table in &ask.want.tables {
            pending[table.index()] = pipeline.pending_rows(*table, ask.want.range);
        }
        let (quarantined, released): (Vec<_>, Vec<Offset>) = match ask.want.quarantine {
            true => pipeline.pending_quarantine(),
            false => (Vec::new(), Vec::new()),
        };
        let snapshot = Snapshot {
            view,
            pending,
            quarantined,
            released,
            revision: pipeline.revision(),
            through: pipeline.through(),
            clocks: pipeline.clocks().clone(),
            imports: pipeline.imports().clone(),
            fresh_at: if self.frames.is_empty() { clock::now() } else { self.folded_at },
        };
        // Who asked may have gone.
        let _ = ask.reply.send(snapshot);
        Ok(())
    }
}

/// Counts what became of a frame's events. What left quarantine is counted apart, for a counter only grows.
fn count(counts: &[(String, LedgerCounts)]) {
    let sum = |column| counts.iter().map(|(_, c)| c.get(column)).sum::<i64>();
    let grow = |name, by: i64| metrics::counter!(name).increment(u64::try_from(by).unwrap_or(0));
    grow("adsum_events_received_total", sum(LedgerColumn::Received));
    grow("adsum_events_accepted_total", sum(LedgerColumn::Accepted));
    grow("adsum_events_rejected_total", sum(LedgerColumn::Rejected));
    grow("adsum_events_counted_total", sum(LedgerColumn::Counted));
    grow("adsum_events_duplicate_total", sum(LedgerColumn::Duplicates));
    grow("adsum_events_quarantined_total", sum(LedgerColumn::Quarantined));
    grow("adsum_events_released_total", -sum(LedgerColumn::Quarantined));
}
