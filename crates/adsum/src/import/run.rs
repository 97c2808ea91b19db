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

use super::read::{Chunk, Chunks, InputError, Source};
use super::records::{Reached, RunRecords, Standing};
use crate::clock;
use crate::commit::{WhenFull, commits};

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

/// How many chunks wait between decoding and appending.
const CHUNKS_WAITING_MAX: usize = 16;
/// How many frames wait between appending and folding.
const FRAMES_WAITING_MAX: usize = 2;
/// How many pieces of memory of each kind wait to be used again at most: as many as frames on their way have rows.
const SPARES_MAX: usize = 256;

/// Memory that goes round: what was used last, and so is still in the caches, is used again first.
struct Pool<T>(Mutex<Vec<T>>);

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self(Mutex::new(Vec::new()))
    }
}

impl<T: Default> Pool<T> {
    fn take(&self) -> T {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn put(&self, spare: T) {
        let mut spares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spares.len() < SPARES_MAX {
            spares.push(spare);
        }
    }
}

/// The memory of a run that goes round.
#[derive(Default)]
struct Spares {
    buffers: Pool<Vec<u8>>,
    /// Without rows.
    decoded: Pool<Decoded>,
    rows: Pool<Rows>,
}

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
    let (done_out, done_in) = sync_channel::<(u64, Done)>(CHUNKS_WAITING_MAX);
    let (frames_out, frames_in) = sync_channel::<Durable>(FRAMES_WAITING_MAX);
    let spares = Spares::default();
    let reading = Mutex::new(Reading::of(&plan, options));
    let stages = Stages { plan: &plan, options };
    let (commits, committer, merger) = commits(WhenFull::Fail);
    let store = pipeline.store().clone();
    pipeline.merge_elsewhere();
    let result = std::thread::scope(|scope| -> Result<()> {
        let committing = thread(scope, "commit", || committer.run(&store))?;
        let merging = thread(scope, "merge", || merger.run(&store))?;
        for _ in 0..options.decoders.max(1) {
            let decoder = Decoder::new(catalog.clone(), campaigns.clone(), secret);
            let (stages, reading, spares, done_out) = (&stages, &reading, &spares, done_out.clone());
            thread(scope, "decode", move || stages.decode(decoder, reading, spares, &done_out))?;
        }
        drop(done_out);
        let appender =
            thread(scope, "append", || stages.append(log, &mut limits, &mut records, done_in, frames_out, &spares))?;
        // The fold runs on this thread. If it fails it stops receiving, and every stage behind it ends.
        let folded = (|| -> Result<()> {
            for frame in frames_in {
                let batches: Vec<&Rows> = frame.batches.iter().collect();
                pipeline.step(&frame.meta, &batches)?;
                commits.after_frame(pipeline, false)?;
                frame.batches.into_iter().for_each(|rows| spares.rows.put(rows));
                progress(frame.text_bytes);
            }
            commits.end(pipeline)
        })();
        drop(commits);
        let appended = appender.join().map_err(|_| anyhow!("the appending thread panicked"))?;
        let committed = committing.join().map_err(|_| anyhow!("the committing thread panicked"))?;
        let merged = merging.join().map_err(|_| anyhow!("the merging thread panicked"))?;
        committed.and(merged).and(folded).and(appended)
    });
    // What is durable stays; the same command goes on from there.
    result?;
    reading.into_inner().unwrap_or_else(PoisonError::into_inner).end()?;
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

/// The files of a run, read one after the other by whoever decodes next.
struct Reading<'a> {
    plan: &'a Plan,
    options: &'a ImportOptions,
    /// The file that is read, and its chunks once it was opened.
    file: usize,
    chunks: Option<Chunks>,
    ticket: u64,
    /// When the frame at hand was begun, and how much is in it.
    received_at: ReceivedAt,
    frame_bytes: usize,
    failed: Option<InputError>,
}

impl<'a> Reading<'a> {
    fn of(plan: &'a Plan, options: &'a ImportOptions) -> Self {
        let received_at = clock::now();
        Self { plan, options, file: 0, chunks: None, ticket: 0, received_at, frame_bytes: 0, failed: None }
    }

    /// The next chunk; none at the end, and behind an error that [`Self::end`] tells.
    fn next(&mut self, buffer: Vec<u8>) -> Option<Task> {
        if self.failed.is_some() {
            return None;
        }
        self.read(buffer).unwrap_or_else(|error| {
            self.failed = Some(error);
            None
        })
    }

    fn read(&mut self, mut buffer: Vec<u8>) -> Result<Option<Task>, InputError> {
        while let Some(source) = self.plan.files.get(self.file) {
            let chunks = match (&mut self.chunks, self.plan.standing.starts[self.file]) {
                (Some(chunks), _) => chunks,
                (None, Some((position, _))) => self.chunks.insert(source.chunks(position, self.options.chunk_bytes)?),
                (None, None) => {
                    self.file += 1;
                    continue;
                }
            };
            let Some(chunk) = chunks.next(std::mem::take(&mut buffer))? else {
                self.chunks = None;
                self.file += 1;
                continue;
            };
            self.frame_bytes += chunk.text.len();
            let frame_ends = chunk.last || chunk.broken || self.frame_bytes >= self.options.frame_bytes;
            let Self { ticket, file, received_at, .. } = *self;
            self.ticket += 1;
            if frame_ends {
                self.frame_bytes = 0;
                self.received_at = clock::now();
            }
            return Ok(Some(Task { ticket, file, chunk, received_at, frame_ends }));
        }
        Ok(None)
    }

    /// What went wrong.
    fn end(self) -> Result<(), InputError> {
        self.failed.map_or(Ok(()), Err)
    }
}

struct Stages<'a> {
    plan: &'a Plan,
    options: &'a ImportOptions,
}

impl Stages<'_> {
    /// Reads a chunk in its turn and decodes it beside others, until there is no more. Who decodes has read the text
    /// just before, so it is in the caches of its core.
    fn decode(
        &self,
        mut decoder: Decoder,
        reading: &Mutex<Reading<'_>>,
        spares: &Spares,
        done: &SyncSender<(u64, Done)>,
    ) {
        loop {
            let buffer = spares.buffers.take();
            let task = reading.lock().unwrap_or_else(PoisonError::into_inner).next(buffer);
            let Some(Task { ticket, file, chunk, received_at, frame_ends }) = task else { return };
            let mut decoded = Decoded { rows: spares.rows.take(), ..spares.decoded.take() };
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
    fn append<L: EventLog>(
        &self,
        log: &mut L,
        limits: &mut Limits,
        records: &mut RunRecords,
        done: Receiver<(u64, Done)>,
        frames: SyncSender<Durable>,
        spares: &Spares,
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
                spares.buffers.put(std::mem::take(&mut chunk.decoded.batch.arena));
                spares.decoded.put(chunk.decoded);
                if !chunk.frame_ends {
                    continue;
                }
                let reached = Reached { position: chunk.position, line: line[chunk.file], finished: chunk.last };
                let progress = records.progress(self.plan.files[chunk.file].identity(), reached, appended_at);
                log.push(&progress.batch).context("the log takes no more")?;
                let appended = log.commit().context("the log takes no more")?;
                limits.settle();
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
