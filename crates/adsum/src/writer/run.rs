//! The writer's thread: takes what waits, stamps the limits, appends, answers.
//!
//! Invariant: a frame holds records that were resolved under one metadata revision, in the order in which they were
//! queued; the cardinality limits have seen exactly what is in the log.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use adsum_log::{EventLog, FrameDraft, LogError};
use adsum_model::catalog::Catalog;
use adsum_model::hash::Secret;
use adsum_model::id::MetadataRevision;
use adsum_model::record::{Form, RecordBatch, RecordKind, Stamp};
use adsum_model::rows::Projector;
use adsum_model::symbol::Symbol;
use adsum_model::time::ReceivedAt;
use adsum_model::wire::Decoded;
use adsum_pipeline::{FrameMeta, Limits};
use anyhow::{Result, anyhow};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use tokio::sync::oneshot;

use super::{Durable, Message, Receipt, Refusal, Spares, Waiting, Work};
use crate::clock::{DoubtChange, IntakeClock, Moment};

/// A frame is closed when the records in it take so many bytes.
const FRAME_BYTES: usize = 8 << 20;
/// How long work is gathered where frames follow each other.
const GATHER: Duration = Duration::from_micros(250);
/// How often a partition without events gets a tick.
const TICK_MICROS: u64 = 1_000_000;

/// What the thread works with.
pub struct WriterParts<L> {
    /// The log; nobody else appends to it.
    pub log: L,
    /// The cardinality limits as of the end of the log.
    pub limits: Limits,
    /// The catalog.
    pub catalog: Arc<Catalog>,
    /// The data directory's secret.
    pub secret: Secret,
    /// The clock that stamps receivedAt.
    pub clock: Arc<IntakeClock>,
    /// The metadata revision to begin with.
    pub metadata: MetadataRevision,
    /// What waits.
    pub(crate) work: Receiver<Message>,
    pub(crate) waiting: Arc<Waiting>,
    /// Where the memory of written records goes.
    pub spares: Arc<Spares>,
    /// Where durable frames go.
    pub frames: Sender<Durable>,
}

/// Appends until it is told to stop, then closes the log. An error is the end of the process: a log that failed
/// takes nothing any more.
pub fn run<L: EventLog>(parts: WriterParts<L>) -> Result<()> {
    let WriterParts { log, mut limits, catalog, secret, clock, metadata, work, waiting, spares, frames } = parts;
    // What they have seen so far is in the log, whatever becomes of the first frame.
    limits.settle();
    let projector = Projector::new(catalog.clone(), secret);
    let now = Moment::now();
    let mut writer = Thread {
        log,
        limits,
        catalog,
        projector,
        clock,
        waiting,
        spares,
        frames,
        metadata,
        ticked_at: now,
        last_works: 0,
        stops: false,
    };
    let mut kept = None;
    while !writer.stops || kept.is_some() {
        let message = match kept.take() {
            Some(work) => Message::Work(work),
            None => match work.recv_timeout(writer.until_tick()) {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) => {
                    writer.tick()?;
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => Message::Stop,
            },
        };
        match message {
            Message::Work(first) => kept = writer.frame(first, &work)?,
            Message::ConfirmClock(reply) => writer.confirm_clock(reply)?,
            Message::Stop => writer.stops = true,
        }
        writer.tick_if_due()?;
    }
    // What was queued before the word to stop is written; what comes now finds no writer.
    while let Ok(message) = work.try_recv() {
        let mut next = match message {
            Message::Work(work) => Some(work),
            Message::ConfirmClock(_) | Message::Stop => None,
        };
        while let Some(first) = next {
            next = writer.frame(first, &work)?;
        }
    }
    Ok(writer.log.close()?)
}

struct Thread<L> {
    log: L,
    limits: Limits,
    catalog: Arc<Catalog>,
    projector: Projector,
    clock: Arc<IntakeClock>,
    waiting: Arc<Waiting>,
    spares: Arc<Spares>,
    frames: Sender<Durable>,
    /// The revision that the last records were resolved under.
    metadata: MetadataRevision,
    /// When time was last told to the engine, by a tick or by events.
    ticked_at: Moment,
    /// Pieces of work in the last frame.
    last_works: usize,
    /// Whether the word to stop has come.
    stops: bool,
}

impl<L: EventLog> Thread<L> {
    fn until_tick(&self) -> Duration {
        Duration::from_micros(TICK_MICROS.saturating_sub(self.ticked_at.elapsed_micros()))
    }

    fn tick_if_due(&mut self) -> Result<()> {
        if self.ticked_at.elapsed_micros() >= TICK_MICROS { self.tick() } else { Ok(()) }
    }

    /// Tells the engine the time, but for a clock that is in doubt.
    fn tick(&mut self) -> Result<()> {
        self.ticked_at = Moment::now();
        let (at, change) = self.clock.frame();
        let mut control = Decoded::default();
        if let Some(change) = change {
            self.doubt(change, at, &mut control.batch);
        }
        if !self.clock.is_in_doubt() {
            control.batch.begin(RecordKind::Tick, Symbol::NULL, at, Stamp::default());
        }
        if control.batch.is_empty() {
            return Ok(());
        }
        self.projector.project_batch(&control.batch, &mut control.rows);
        match self.append(at, self.metadata, vec![control]) {
            // A full disk has no room for time either; the next tick tells it.
            Ok(_) => Ok(()),
            Err(Refusal::Unavailable(_)) => {
                change.into_iter().for_each(|c| self.clock.put_back(c));
                Ok(())
            }
            Err(Refusal::Failed) => Err(anyhow!("the log failed")),
        }
    }

    fn doubt(&self, change: DoubtChange, at: ReceivedAt, batch: &mut RecordBatch) {
        let word: &[u8] = match change {
            DoubtChange::Begun => b"begun",
            DoubtChange::Ended => b"ended",
            DoubtChange::Confirmed => b"confirmed",
        };
        tracing::warn!(change = %String::from_utf8_lossy(word), at = %at, "clock doubt");
        batch.begin(RecordKind::ClockDoubt, Symbol::NULL, at, Stamp::default());
        batch.push_bytes(self.catalog.well_known().code, Form::Text, word);
    }

    /// Makes one frame of `first` and what else waits; gives back what belongs into the next one.
    fn frame(&mut self, first: Work, work: &Receiver<Message>) -> Result<Option<Work>> {
        let metadata = first.metadata;
        self.metadata = metadata;
        self.waiting.oldest_micros.store(first.queued_at.micros(), Ordering::Relaxed);
        // Many send at once: a sync for each few of them, and a wake-up of this thread for each, would cost more than
        // the events. Who sends alone is not held up.
        if self.last_works > 1 && !first.alone && 1 + work.len() < self.last_works {
            std::thread::sleep(GATHER);
        }
        let mut bytes = first.bytes;
        let alone = first.alone;
        let mut works = vec![first];
        let mut kept = None;
        let mut confirm = None;
        while bytes < FRAME_BYTES && !alone {
            match work.try_recv() {
                Ok(Message::Work(next)) if next.metadata == metadata && !next.alone => {
                    bytes += next.bytes;
                    works.push(next);
                }
                Ok(Message::Work(next)) => {
                    kept = Some(next);
                    break;
                }
                Ok(Message::ConfirmClock(reply)) => {
                    confirm = Some(reply);
                    break;
                }
                // This frame is written first.
                Ok(Message::Stop) => {
                    self.stops = true;
                    break;
                }
                Err(_) => break,
            }
        }
        self.waiting.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.last_works = works.len();
        let (at, change) = self.clock.frame();
        let mut parts = Vec::with_capacity(works.len() + 1);
        if let Some(change) = change {
            let mut control = Decoded::default();
            self.doubt(change, at, &mut control.batch);
            self.projector.project_batch(&control.batch, &mut control.rows);
            parts.push(control);
        }
        let mut replies = Vec::with_capacity(works.len());
        let mut offset = parts.iter().map(|p| p.batch.len() as u64).sum::<u64>();
        for work in works {
            replies.push((offset, work.reply));
            offset += work.parts.iter().map(|p| p.batch.len() as u64).sum::<u64>();
            parts.extend(work.parts);
        }
        let result = self.append(at, metadata, parts);
        for (behind, reply) in replies {
            // A client that has gone still has its events counted.
            let _ = reply.send(result.clone().map(|r| Receipt { base: r.base.plus(behind), ..r }));
        }
        // What was queued in the meantime is the oldest when its frame begins, which is at once.
        let oldest = kept.as_ref().map_or(0, |next: &Work| next.queued_at.micros());
        self.waiting.oldest_micros.store(oldest, Ordering::Relaxed);
        if let Some(reply) = confirm {
            self.confirm_clock(reply)?;
        }
        match result {
            Err(Refusal::Failed) => Err(anyhow!("the log failed")),
            Err(Refusal::Unavailable(_)) => {
                change.into_iter().for_each(|c| self.clock.put_back(c));
                Ok(kept)
            }
            Ok(_) => Ok(kept),
        }
    }

    fn confirm_clock(&mut self, reply: oneshot::Sender<Result<bool, Refusal>>) -> Result<()> {
        let was_in_doubt = self.clock.confirm();
        let (at, change) = self.clock.frame();
        let mut result = Ok(was_in_doubt);
        if let Some(change) = change {
            let mut control = Decoded::default();
            self.doubt(change, at, &mut control.batch);
            self.projector.project_batch(&control.batch, &mut control.rows);
            if let Err(refusal) = self.append(at, self.metadata, vec![control]) {
                self.clock.put_back(change);
                result = Err(refusal);
            }
        }
        let failed = result == Err(Refusal::Failed);
        let _ = reply.send(result);
        if failed { Err(anyhow!("the log failed")) } else { Ok(()) }
    }

    /// Appends one frame; when it comes back with a receipt the frame is durable and on its way to the fold.
    fn append(
        &mut self,
        at: ReceivedAt,
        metadata: MetadataRevision,
        mut parts: Vec<Decoded>,
    ) -> Result<Receipt, Refusal> {
        for part in &mut parts {
            self.limits.admit(part);
        }
        let batches: Vec<&RecordBatch> = parts.iter().map(|p| &p.batch).collect();
        let begun = Moment::now();
        let appended =
            match self.log.append(&FrameDraft { appended_at: at, metadata_revision: metadata, batches: &batches }) {
                Ok(appended) => appended,
                Err(LogError::Poisoned { reason }) => {
                    tracing::error!(reason, "the log failed: acknowledging stops, and the process");
                    return Err(Refusal::Failed);
                }
                Err(error) => {
                    // Nothing of it is in the log, so the limits have not seen it.
                    self.limits.undo();
                    self.waiting.refused.store(true, Ordering::Relaxed);
                    metrics::counter!("adsum_log_append_refused_total").increment(1);
                    tracing::error!(%error, "the log refuses a frame");
                    return Err(Refusal::Unavailable(error.to_string()));
                }
            };
        metrics::histogram!("adsum_log_append_seconds").record(begun.elapsed_seconds());
        metrics::counter!("adsum_log_bytes_total").increment(appended.bytes);
        let folded = parts.iter().flat_map(|p| &p.batch.heads).map(|head| head.stamp.folded.count_ones());
        metrics::counter!("adsum_dimension_values_folded_total").increment(folded.map(u64::from).sum());
        self.limits.settle();
        self.waiting.refused.store(false, Ordering::Relaxed);
        let has_events = parts.iter().any(|p| !p.rows.events.is_empty());
        if has_events {
            self.ticked_at = Moment::now();
        }
        let meta = FrameMeta { seq: appended.seq, appended_at: at, base: appended.base };
        let rows = |part: Decoded| {
            self.spares.written(part.batch);
            part.rows
        };
        let batches = parts.into_iter().map(rows).collect();
        // The fold is behind: whoever queues work finds the queue full then. Without a fold the process is ending.
        let _ = self.frames.send(Durable { meta, batches });
        metrics::gauge!("adsum_fold_queue_depth").set(self.frames.len() as u32);
        Ok(Receipt { seq: appended.seq, base: appended.base, appended_at: at })
    }
}
