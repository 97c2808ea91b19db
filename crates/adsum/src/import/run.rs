//! One import run: read, decode side by side, append in order, fold what is durable.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use adsum_log::{EventLog, FrameDraft};
use adsum_model::campaigns::Campaigns;
use adsum_model::catalog::Catalog;
use adsum_model::hash::Secret;
use adsum_model::id::MetadataRevision;
use adsum_model::ledger::LedgerCounts;
use adsum_model::record::{Form, RecordBatch, RecordKind, Span, Stamp, Stream};
use adsum_model::rows::{Projector, Rows};
use adsum_model::state::ImportFile;
use adsum_model::symbol::Symbol;
use adsum_model::time::ReceivedAt;
use adsum_model::wire::{Decoded, Decoder, Intake};
use adsum_pipeline::{FrameMeta, Limits, Pipeline};
use adsum_store::AggregateStore;
use anyhow::{Context, Result, anyhow};

use super::read::{Chunk, Source};
use crate::clock;

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
    run: String,
    source: Symbol,
    source_name: String,
    files: Vec<Source>,
    /// Where each file is gone on from; `None`: it was finished before a kill.
    starts: Vec<Option<(u64, u64)>>,
    resumed: bool,
}

/// Imports `files` and returns when all of them are folded and committed. `progress` hears how many bytes of text
/// were folded.
pub fn run<L: EventLog, S: AggregateStore>(
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
    let mut controls = Controls { projector: Projector::new(catalog.clone(), secret), catalog: catalog.clone() };
    if !plan.resumed {
        let begin = controls.run_record(RecordKind::ImportBegin, &plan);
        append_and_fold(log, pipeline, begin)?;
    }
    let (tasks_out, tasks_in) = sync_channel::<Task>(CHUNKS_WAITING_MAX);
    let (done_out, done_in) = sync_channel::<(u64, Done)>(CHUNKS_WAITING_MAX);
    let (frames_out, frames_in) = sync_channel::<Durable>(FRAMES_WAITING_MAX);
    let (buffers_out, buffers_in) = sync_channel::<Vec<u8>>(64);
    let (spares_out, spares_in) = sync_channel::<Decoded>(64);
    let tasks_in = Mutex::new(tasks_in);
    let spares_in = Mutex::new(spares_in);
    let stages = Stages { plan: &plan, options };
    let result = std::thread::scope(|scope| -> Result<()> {
        let reader = scope.spawn(|| stages.read(tasks_out, buffers_in));
        for _ in 0..options.decoders.max(1) {
            let decoder = Decoder::new(catalog.clone(), campaigns.clone(), secret);
            let (tasks_in, spares_in, done_out) = (&tasks_in, &spares_in, done_out.clone());
            let stages = &stages;
            scope.spawn(move || stages.decode(decoder, tasks_in, spares_in, &done_out));
        }
        drop(done_out);
        let appender = scope
            .spawn(|| stages.append(log, &mut limits, &mut controls, done_in, frames_out, &buffers_out, &spares_out));
        // The fold runs on this thread. If it fails it stops receiving, and every stage behind it ends.
        let folded = (|| -> Result<()> {
            for frame in frames_in {
                let batches: Vec<&Rows> = frame.batches.iter().collect();
                pipeline.step(&frame.meta, &batches)?;
                pipeline.checkpoint_if_due()?;
                progress(frame.text_bytes);
            }
            Ok(())
        })();
        let appended = appender.join().map_err(|_| anyhow!("the appending thread panicked"))?;
        let read = reader.join().map_err(|_| anyhow!("the reading thread panicked"))?;
        folded.and(appended).and(read)
    });
    // What is durable stays; the same command goes on from there.
    result?;
    let figures = figures(pipeline, &plan);
    let end = controls.run_record(RecordKind::ImportEnd, &plan);
    append_and_fold(log, pipeline, end)?;
    pipeline.checkpoint()?;
    Ok(ImportResult { run: plan.run.clone(), figures, resumed: plan.resumed })
}

/// Goes on with a killed run if the files are its files, else begins one.
fn plan<S: AggregateStore>(
    pipeline: &Pipeline<S>,
    catalog: &Catalog,
    files: Vec<Source>,
    source: &str,
) -> Result<Plan> {
    let known: Vec<&ImportFile> = pipeline.imports().of_source(source).collect();
    let state_of = |file: &Source| {
        let found = known.iter().find(|k| (&k.path, k.size, k.head) == (&file.path, file.size, file.head));
        found.filter(|_| file.resumable())
    };
    let covered = files.iter().filter(|f| state_of(f).is_some()).count();
    let resumed = !known.is_empty() && covered == known.len();
    let starts = files
        .iter()
        .map(|file| match state_of(file) {
            Some(state) if state.finished && resumed => None,
            Some(state) if !state.finished => Some((state.position, state.line)),
            _ => Some((0, 0)),
        })
        .collect();
    let run = match known.first() {
        Some(first) if resumed => first.run.clone(),
        _ => {
            let random = u64::from_le_bytes(clock::random::<8>()?);
            format!("im_{:x}_{random:016x}", clock::now().micros())
        }
    };
    Ok(Plan {
        run,
        source: catalog.symbols().intern(source.as_bytes()),
        source_name: source.to_owned(),
        files,
        starts,
        resumed,
    })
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
    decoded: Decoded,
) -> Result<()> {
    let appended_at = clock::now();
    let draft = FrameDraft { appended_at, metadata_revision: MetadataRevision::ZERO, batches: &[&decoded.batch] };
    let appended = log.append(&draft)?;
    let meta = FrameMeta { seq: appended.seq, appended_at, base: appended.base };
    pipeline.step(&meta, &[&decoded.rows])?;
    Ok(())
}

/// Makes the records of a run itself.
struct Controls {
    catalog: Arc<Catalog>,
    projector: Projector,
}

impl Controls {
    fn record(
        &mut self,
        kind: RecordKind,
        plan: &Plan,
        at: ReceivedAt,
        fill: impl FnOnce(&Catalog, &mut RecordBatch),
    ) -> Decoded {
        let mut decoded = Decoded::default();
        let stamp = Stamp { stream: Stream::Import, ..Stamp::default() };
        decoded.batch.begin(kind, plan.source, at, stamp);
        fill(&self.catalog, &mut decoded.batch);
        decoded.batch.spans.sort_by_key(|s| s.field);
        self.projector.project_batch(&decoded.batch, &mut decoded.rows);
        decoded
    }

    fn run_record(&mut self, kind: RecordKind, plan: &Plan) -> Decoded {
        self.record(kind, plan, clock::now(), |catalog, batch| {
            batch.push_bytes(catalog.well_known().run, Form::Text, plan.run.as_bytes());
        })
    }

    fn progress(
        &mut self,
        plan: &Plan,
        file: usize,
        position: u64,
        line: u64,
        finished: bool,
        at: ReceivedAt,
    ) -> Decoded {
        let source = &plan.files[file];
        self.record(RecordKind::ImportProgress, plan, at, |catalog, batch| {
            let known = catalog.well_known();
            batch.push_bytes(known.run, Form::Text, plan.run.as_bytes());
            batch.push_bytes(known.path, Form::Text, source.path.as_bytes());
            batch.push(Span::wide(known.size, Form::Uint, source.size));
            batch.push(Span::wide(known.head, Form::Uint, source.head));
            batch.push(Span::wide(known.position, Form::Uint, position));
            batch.push(Span::wide(known.line, Form::Uint, line));
            if finished {
                batch.push_bytes(known.code, Form::Text, b"finished");
            }
        })
    }
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
            let Some((position, _)) = self.plan.starts[file] else { continue };
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
        spares: &Mutex<Receiver<Decoded>>,
        done: &SyncSender<(u64, Done)>,
    ) {
        loop {
            let task = tasks.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(Task { ticket, file, chunk, received_at, frame_ends }) = task else { return };
            let mut decoded = spares.lock().unwrap_or_else(PoisonError::into_inner).try_recv().unwrap_or_default();
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
        controls: &mut Controls,
        done: Receiver<(u64, Done)>,
        frames: SyncSender<Durable>,
        buffers: &SyncSender<Vec<u8>>,
        spares: &SyncSender<Decoded>,
    ) -> Result<()> {
        let mut waiting: BTreeMap<u64, Done> = BTreeMap::new();
        let mut next = 0;
        let mut frame: Vec<Decoded> = Vec::new();
        let mut frame_bytes = 0;
        let mut line = self.plan.starts.iter().map(|s| s.map_or(0, |(_, line)| line)).collect::<Vec<_>>();
        for (ticket, chunk) in done {
            waiting.insert(ticket, chunk);
            while let Some(mut chunk) = waiting.remove(&next) {
                next += 1;
                limits.admit(&mut chunk.decoded);
                line[chunk.file] += chunk.decoded.batch.len() as u64 + chunk.decoded.blank;
                frame_bytes += chunk.text_bytes;
                frame.push(chunk.decoded);
                if !chunk.frame_ends {
                    continue;
                }
                let appended_at = chunk.received_at;
                let (position, line) = (chunk.position, line[chunk.file]);
                frame.push(controls.progress(self.plan, chunk.file, position, line, chunk.last, appended_at));
                let batches: Vec<&RecordBatch> = frame.iter().map(|d| &d.batch).collect();
                let draft = FrameDraft { appended_at, metadata_revision: self.options.metadata, batches: &batches };
                let appended = log.append(&draft).context("the log takes no more")?;
                let mut rows = Vec::with_capacity(frame.len());
                for mut decoded in frame.drain(..) {
                    rows.push(std::mem::take(&mut decoded.rows));
                    // A full pool of spare memory just lets go of it.
                    let _ = buffers.try_send(std::mem::take(&mut decoded.batch.arena));
                    let _ = spares.try_send(decoded);
                }
                let meta = FrameMeta { seq: appended.seq, appended_at, base: appended.base };
                if frames.send(Durable { meta, batches: rows, text_bytes: frame_bytes as u64 }).is_err() {
                    return Ok(());
                }
                frame_bytes = 0;
            }
        }
        Ok(())
    }
}
