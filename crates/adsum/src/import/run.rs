//! One import run: read, decode side by side, append in order, fold what is durable.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, Scope, ScopedJoinHandle};

use adsum_log::{EventLog, FrameDraft};
use adsum_model::campaigns::Campaigns;
use adsum_model::catalog::Catalog;
use adsum_model::hash::Secret;
use adsum_model::id::MetadataRevision;
use adsum_model::ledger::LedgerCounts;
use adsum_model::record::Stream;
use adsum_model::rows::Rows;
use adsum_model::state::ImportFile;
use adsum_model::symbol::Symbol;
use adsum_model::time::ReceivedAt;
use adsum_model::wire::{Decoded, Decoder, Intake};
use adsum_pipeline::{FrameMeta, Limits, Pipeline};
use adsum_store::AggregateStore;
use anyhow::{Context, Result, anyhow};

use super::read::{Chunk, Source};
use super::records::{Reached, RunRecords, Standing};
use crate::clock;
use crate::commit::commits;

/// How an import runs.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// The source's name.
    pub source: String,
    /// The state of the metadata that its campaigns are of.
    pub metadata: MetadataRevision,
    /// Bytes of text a thread decodes at a time.
    pub chunk_bytes: usize,
    /// Bytes of text in a frame of the log.
    pub frame_bytes: usize,
    /// Threads that decode.
    pub decoders: usize,
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportResult {
    /// The run.
    pub run: String,
    /// The ledger of the run, parts before a kill included.
    pub figures: LedgerCounts,
    /// Whether it went on with a run that was killed.
    pub resumed: bool,
}

/// How many chunks wait between reading and decoding, and between decoding and appending.
const CHUNKS_WAITING_MAX: usize = 4;
/// How many frames wait between appending and folding.
const FRAMES_WAITING_MAX: usize = 2;
/// How many pieces of memory of each kind go round at most.
const SPARES_MAX: usize = 64;

/// A chunk on its way to a decoder.
struct Task {
    ticket: u64,
    file: usize,
    chunk: Chunk,
    /// When the frame that it goes into was begun: one time for all its lines.
    received_at: ReceivedAt,
    /// Whether the frame ends with it.
    frame_ends: bool,
}

/// A decoded chunk on its way to the appender.
struct Done {
    file: usize,
    text_bytes: usize,
    position: u64,
    last: bool,
    received_at: ReceivedAt,
    frame_ends: bool,
    decoded: Decoded,
}

/// A durable frame on its way to the fold.
struct Durable {
    meta: FrameMeta,
    batches: Vec<Rows>,
    text_bytes: u64,
}

/// What every stage knows of the run.
struct Plan {
    standing: Standing,
    source: Symbol,
    source_name: String,
    files: Vec<Source>,
}

/// Imports `files` and returns when all of them are folded and committed. `progress` hears how many bytes of text
/// were folded.
pub fn run<L: EventLog, S: AggregateStore + Clone>(
    log: &mut L,
    pipeline: &mut Pipeline<S>,
    campaigns: &Arc<Campaigns>,
    secret: Secret,
    files: Vec<Source>,
    options: &ImportOptions,
    progress: &dyn Fn(u64),
) -> Result<ImportResult> {
    let catalog = pipeline.catalog().clone();
    let plan = plan(pipeline, &catalog, files, &options.source)?;
    let mut limits = pipeline.limits().clone();
    let mut records = RunRecords::new(catalog.clone(), secret, plan.source, plan.standing.run.clone());
    if !plan.standing.resumed {
        append_and_fold(log, pipeline, options.metadata, records.begin(clock::now()))?;
    }
    let (tasks_out, tasks_in) = sync_channel::<Task>(CHUNKS_WAITING_MAX);
    let (done_out, done_in) = sync_channel::<(u64, Done)>(CHUNKS_WAITING_MAX);
    let (frames_out, frames_in) = sync_channel::<Durable>(FRAMES_WAITING_MAX);
    let (buffers_out, buffers_in) = sync_channel::<Vec<u8>>(SPARES_MAX);
    let (spares_out, spares_in) = sync_channel::<Decoded>(SPARES_MAX);
    let (rows_out, rows_in) = sync_channel::<Rows>(SPARES_MAX);
    let tasks_in = Mutex::new(tasks_in);
    let spares_in = Mutex::new((spares_in, rows_in));
    let stages = Stages { plan: &plan, options };
    let (commits, committer, merger) = commits();
    let store = pipeline.store().clone();
    pipeline.merge_elsewhere();
    let result = std::thread::scope(|scope| -> Result<()> {
        let committing = thread(scope, "commit", || committer.run(&store))?;
        let merging = thread(scope, "merge", || merger.run(&store))?;
        let reader = thread(scope, "read", || stages.read(tasks_out, buffers_in))?;
        for _ in 0..options.decoders.max(1) {
            let decoder = Decoder::new(catalog.clone(), campaigns.clone(), secret);
            let (tasks_in, spares_in, done_out) = (&tasks_in, &spares_in, done_out.clone());
            let stages = &stages;
            thread(scope, "decode", move || stages.decode(decoder, tasks_in, spares_in, &done_out))?;
        }
        drop(done_out);
        let appender = thread(scope, "append", || {
            stages.append(log, &mut limits, &mut records, done_in, frames_out, &buffers_out, &spares_out)
        })?;
        // The fold runs on this thread. If it fails it stops receiving, and every stage behind it ends.
        let folded = (|| -> Result<()> {
            for frame in frames_in {
                let batches: Vec<&Rows> = frame.batches.iter().collect();
                pipeline.step(&frame.meta, &batches)?;
                commits.after_frame(pipeline, false)?;
                // A full pool of spare memory just lets go of it.
                frame.batches.into_iter().for_each(|rows| drop(rows_out.try_send(rows)));
                progress(frame.text_bytes);
            }
            commits.finish(pipeline)
        })();
        drop(commits);
        let appended = appender.join().map_err(|_| anyhow!("the appending thread panicked"))?;
        let read = reader.join().map_err(|_| anyhow!("the reading thread panicked"))?;
        let committed = committing.join().map_err(|_| anyhow!("the committing thread panicked"))?;
        let merged = merging.join().map_err(|_| anyhow!("the merging thread panicked"))?;
        committed.and(merged).and(folded).and(appended).and(read)
    });
    // What is durable stays; the same command goes on from there.
    result?;
    let figures = figures(pipeline, &plan);
    append_and_fold(log, pipeline, options.metadata, records.end(clock::now()))?;
    pipeline.checkpoint()?;
    Ok(ImportResult { run: plan.standing.run, figures, resumed: plan.standing.resumed })
}

/// Starts a thread of the run under its stage's name.
fn thread<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    run: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>> {
    Builder::new().name(name.to_owned()).spawn_scoped(scope, run).context("a thread cannot be started")
}

/// Goes on with a killed run if the files are its files, else begins one.
fn plan<S: AggregateStore>(
    pipeline: &Pipeline<S>,
    catalog: &Catalog,
    files: Vec<Source>,
    source: &str,
) -> Result<Plan> {
    let known: Vec<&ImportFile> = pipeline.imports().of_source(source).collect();
    let standing = Standing::of(&files, &known)?;
    Ok(Plan { standing, source: catalog.symbols().intern(source.as_bytes()), source_name: source.to_owned(), files })
}

fn figures<S: AggregateStore>(pipeline: &Pipeline<S>, plan: &Plan) -> LedgerCounts {
    let mut sum = LedgerCounts::default();
    for state in pipeline.imports().of_source(&plan.source_name) {
        let mine = plan.files.iter().any(|f| (&f.path, f.size, f.head) == (&state.path, state.size, state.head));
        if mine {
            sum.merge(&LedgerCounts::from_values(&state.figures));
        }
    }
    sum
}

fn append_and_fold<L: EventLog, S: AggregateStore>(
    log: &mut L,
    pipeline: &mut Pipeline<S>,
    metadata_revision: MetadataRevision,
    decoded: Decoded,
) -> Result<()> {
    let appended_at = clock::now();
    let draft = FrameDraft { appended_at, metadata_revision, batches: &[&decoded.batch] };
    let appended = log.append(&draft)?;
    let meta = FrameMeta { seq: appended.seq, appended_at, base: appended.base };
    pipeline.step(&meta, &[&decoded.rows])?;
    Ok(())
}

struct Stages<'a> {
    plan: &'a Plan,
    options: &'a ImportOptions,
}

impl Stages<'_> {
    /// Reads the files one after the other. Ends early, without an error, when nobody decodes any more.
    fn read(&self, tasks: SyncSender<Task>, buffers: Receiver<Vec<u8>>) -> Result<()> {
        let mut ticket = 0;
        let mut received_at = clock::now();
        let mut frame_bytes = 0;
        for (file, source) in self.plan.files.iter().enumerate() {
            let Some((position, _)) = self.plan.standing.starts[file] else { continue };
            let mut chunks = source.chunks(position, self.options.chunk_bytes)?;
            while let Some(chunk) = chunks.next(buffers.try_recv().unwrap_or_default())? {
                frame_bytes += chunk.text.len();
                let frame_ends = chunk.last || chunk.broken || frame_bytes >= self.options.frame_bytes;
                if tasks.send(Task { ticket, file, chunk, received_at, frame_ends }).is_err() {
                    return Ok(());
                }
                ticket += 1;
                if frame_ends {
                    frame_bytes = 0;
                    received_at = clock::now();
                }
            }
        }
        Ok(())
    }

    fn decode(
        &self,
        mut decoder: Decoder,
        tasks: &Mutex<Receiver<Task>>,
        spares: &Mutex<(Receiver<Decoded>, Receiver<Rows>)>,
        done: &SyncSender<(u64, Done)>,
    ) {
        loop {
            let task = tasks.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(Task { ticket, file, chunk, received_at, frame_ends }) = task else { return };
            let mut decoded = {
                let spares = spares.lock().unwrap_or_else(PoisonError::into_inner);
                let rows = spares.1.try_recv().unwrap_or_default();
                Decoded { rows, ..spares.0.try_recv().unwrap_or_default() }
            };
            let text_bytes = chunk.text.len();
            let intake = Intake { source: self.plan.source, stream: Stream::Import, received_at };
            decoder.decode_lines(chunk.text, &intake, &mut decoded);
            let (position, last) = (chunk.position, chunk.last);
            let out = Done { file, text_bytes, position, last, received_at, frame_ends, decoded };
            if done.send((ticket, out)).is_err() {
                return;
            }
        }
    }

    /// Appends decoded chunks in file order, a frame at a time.
    #[allow(clippy::too_many_arguments, reason = "the ends of the queues that this stage stands between")]
    fn append<L: EventLog>(
        &self,
        log: &mut L,
        limits: &mut Limits,
        records: &mut RunRecords,
        done: Receiver<(u64, Done)>,
        frames: SyncSender<Durable>,
        buffers: &SyncSender<Vec<u8>>,
        spares: &SyncSender<Decoded>,
    ) -> Result<()> {
        let mut waiting: BTreeMap<u64, Done> = BTreeMap::new();
        let mut next = 0;
        let mut rows: Vec<Rows> = Vec::new();
        let mut frame_bytes = 0;
        let mut line = self.plan.standing.starts.iter().map(|s| s.map_or(0, |(_, line)| line)).collect::<Vec<_>>();
        for (ticket, chunk) in done {
            waiting.insert(ticket, chunk);
            while let Some(mut chunk) = waiting.remove(&next) {
                next += 1;
                let appended_at = chunk.received_at;
                if rows.is_empty() {
                    log.begin(appended_at, self.options.metadata).context("the log takes no more")?;
                }
                // Encoded at once, while it is in the caches, and its memory goes round.
                limits.admit(&mut chunk.decoded);
                log.push(&chunk.decoded.batch).context("the log takes no more")?;
                line[chunk.file] += chunk.decoded.batch.len() as u64 + chunk.decoded.blank;
                frame_bytes += chunk.text_bytes;
                rows.push(std::mem::take(&mut chunk.decoded.rows));
                // A full pool of spare memory just lets go of it.
                let _ = buffers.try_send(std::mem::take(&mut chunk.decoded.batch.arena));
                let _ = spares.try_send(chunk.decoded);
                if !chunk.frame_ends {
                    continue;
                }
                let reached = Reached { position: chunk.position, line: line[chunk.file], finished: chunk.last };
                let progress = records.progress(self.plan.files[chunk.file].identity(), reached, appended_at);
                log.push(&progress.batch).context("the log takes no more")?;
                let appended = log.commit().context("the log takes no more")?;
                rows.push(progress.rows);
                let meta = FrameMeta { seq: appended.seq, appended_at, base: appended.base };
                let batches = std::mem::take(&mut rows);
                if frames.send(Durable { meta, batches, text_bytes: frame_bytes as u64 }).is_err() {
                    return Ok(());
                }
                frame_bytes = 0;
            }
        }
        Ok(())
    }
}
