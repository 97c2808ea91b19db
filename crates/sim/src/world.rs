//! One data directory on a disk that fails: the shipped decoder, limits, log, pipeline and store, wired as the binary
//! wires them.
//!
//! Invariant: what reaches the log goes through [`World::append`], which does what a collector and the loop do, in
//! their order. Not here: when to crash and what to compare (run).

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use adsum_disk::{Disk, FaultyDisk};
use adsum_log::{EmbeddedLog, EventLog, Frame, FrameDraft, LogError, LogOptions, LogView};
use adsum_model::campaigns::Campaigns;
use adsum_model::catalog::{Catalog, RollupIx};
use adsum_model::hash::Secret;
use adsum_model::id::{FrameSeq, MetadataRevision, Offset, Position};
use adsum_model::ledger::{LedgerColumn, LedgerCounts};
use adsum_model::record::{Form, RecordBatch, RecordHead, RecordKind, Span, Stamp, Stream};
use adsum_model::replay::push_replay;
use adsum_model::rows::{Projector, Rows};
use adsum_model::symbol::Symbol;
use adsum_model::table::{TableIx, TableRows};
use adsum_model::time::{ReceivedAt, format_utc, parse_rfc3339};
use adsum_model::wire::{Decoded, Decoder, Intake, record_json};
use adsum_pipeline::{
    CheckpointRules, FrameMeta, Frozen, InLine, LEDGER, Pipeline, PipelineError, merge_all_due, rollup_table, schemas,
};
use adsum_store::{AggregateStore, BucketRange, EmbeddedStore, MemoryStore, StateHash, StoreOptions, Written};
use serde_json::Value;

use crate::picture::{Held, Picture, Sums};
use crate::sent::{Entry, ImportMark, SentFrame};
use crate::setup::Setup;

/// How the process is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Shards.
    pub workers: usize,
    /// When state is committed.
    pub checkpoints: CheckpointRules,
    /// How many frames are folded between what is set apart for a checkpoint and its write, and between that and its
    /// publication, as if another thread committed. 0: the fold commits, in line.
    pub commit_lag: u64,
}

/// A checkpoint that is under way beside the fold.
enum Committing {
    /// Set apart, to be written after so many frames more.
    Frozen(Arc<Frozen>, u64),
    /// Written, to be published after so many frames more.
    Written(Written, u64),
}

/// How log and store are kept; small, so that everything rolls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// Bytes of a segment.
    pub segment_bytes: u64,
    /// Bytes of the log that are checked at opening.
    pub verify_bytes: u64,
    /// Runs that are merged into one.
    pub merge_fan_in: usize,
    /// Runs up to this size count as one.
    pub merge_base_bytes: u64,
}

/// What became of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable, acknowledged and folded.
    Folded,
    /// Nothing of it is in the log; the process lives and it may be sent again.
    Refused(String),
    /// The process ended.
    Died {
        /// Whether the frame was acknowledged before.
        acknowledged: bool,
        /// Why.
        why: String,
    },
}

/// A running process.
pub struct Process<S> {
    log: EmbeddedLog,
    pipeline: Pipeline<S>,
    campaigns: Vec<Arc<Campaigns>>,
    catalog: Arc<Catalog>,
    commit_lag: u64,
    committing: Option<Committing>,
}

fn secret() -> Secret {
    Secret::new(*b"sixteen of bytes")
}

fn at(micros: i64) -> ReceivedAt {
    ReceivedAt::from_micros(micros)
}

impl<S: AggregateStore> Process<S> {
    /// Starts as the binary does: store, log at the store's position, pipeline, recovery.
    pub fn start(
        disk: &FaultyDisk,
        setup: &Setup,
        keeping: &Keeping,
        start: &Start,
        wrap: &dyn Fn(EmbeddedStore) -> S,
    ) -> Result<Self, String> {
        let catalog = Arc::new(Catalog::build(&setup.catalog).map_err(|e| format!("catalog: {e}"))?);
        let campaigns = campaigns(setup, &catalog)?;
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let (fan_in, base_bytes) = (keeping.merge_fan_in, keeping.merge_base_bytes);
        let options = StoreOptions {
            merge_fan_in: fan_in,
            merge_base_bytes: base_bytes,
            keys_merge_fan_in: fan_in,
            keys_merge_base_bytes: base_bytes,
        };
        let symbols = catalog.symbols().clone();
        let (store, _) =
            EmbeddedStore::open(disk.clone(), Path::new("data/store"), schemas(&catalog), symbols, options)
                .map_err(|e| format!("store: {e}"))?;
        let store = wrap(store);
        let committed = store.committed().through;
        let known = (committed != Position::default()).then_some(committed);
        let options = LogOptions {
            segment_bytes: keeping.segment_bytes,
            verify_bytes: keeping.verify_bytes,
            ..LogOptions::default()
        };
        let (log, _) = EmbeddedLog::open(disk, Path::new("data/log"), catalog.clone(), options, known)
            .map_err(|e| format!("log: {e}"))?;
        let mut pipeline = pipeline(&catalog, setup, store, start)?;
        pipeline.recover(&log, secret(), |_| {}).map_err(|e| format!("recovery: {e}"))?;
        Ok(Self { log, pipeline, campaigns, catalog, commit_lag: start.commit_lag, committing: None })
    }

    /// Takes a frame in as a collector does, acknowledges it when it is durable, and folds it. Replays that the
    /// collector refuses (no event, an unknown campaign) are taken out of it.
    pub fn append(&mut self, frame: &mut SentFrame) -> Outcome {
        let decoded = match self.decode(frame) {
            Ok(decoded) => decoded,
            Err(why) => return Outcome::Died { acknowledged: false, why },
        };
        let batches: Vec<&RecordBatch> = decoded.iter().map(|d| &d.batch).collect();
        let draft = FrameDraft {
            appended_at: at(frame.appended_at),
            metadata_revision: MetadataRevision::new(frame.metadata as u64),
            batches: &batches,
        };
        let appended = match self.log.append(&draft) {
            Ok(appended) => appended,
            Err(error @ (LogError::Full | LogError::Io { .. })) => return Outcome::Refused(error.to_string()),
            Err(error) => return Outcome::Died { acknowledged: false, why: error.to_string() },
        };
        let rows: Vec<&Rows> = decoded.iter().map(|d| &d.rows).collect();
        let meta = FrameMeta { seq: appended.seq, appended_at: at(frame.appended_at), base: appended.base };
        let folded = self.pipeline.step(&meta, &rows).and_then(|_| self.commit_if_due());
        match folded {
            Ok(_) => Outcome::Folded,
            Err(error) => Outcome::Died { acknowledged: true, why: error.to_string() },
        }
    }

    /// Commits in line, or a step of a commit beside the fold.
    fn commit_if_due(&mut self) -> Result<(), PipelineError> {
        if self.commit_lag == 0 {
            return self.pipeline.checkpoint_if_due().map(|_| ());
        }
        self.committing = match self.committing.take() {
            None if self.pipeline.is_due() => self.pipeline.freeze().map(|f| Committing::Frozen(f, self.commit_lag)),
            None => None,
            Some(Committing::Frozen(frozen, left)) if left > 0 && !self.pipeline.is_overdue() => {
                Some(Committing::Frozen(frozen, left - 1))
            }
            Some(Committing::Frozen(frozen, _)) => {
                let written = self.pipeline.store().write(&frozen.checkpoint())?;
                // What is to be merged may be merged and published between the two halves of a commit.
                merge_all_due(self.pipeline.store())?;
                Some(Committing::Written(written, self.commit_lag))
            }
            Some(Committing::Written(written, left)) if left > 0 && !self.pipeline.is_overdue() => {
                Some(Committing::Written(written, left - 1))
            }
            Some(Committing::Written(written, _)) => {
                self.pipeline.store().publish(written)?;
                self.pipeline.thaw();
                None
            }
        };
        Ok(())
    }

    fn decode(&mut self, frame: &mut SentFrame) -> Result<Vec<Decoded>, String> {
        let mut limits = self.pipeline.limits().clone();
        let mut decoder = Decoder::new(self.catalog.clone(), self.campaigns[frame.metadata].clone(), secret());
        let mut projector = Projector::new(self.catalog.clone(), secret());
        let mut all = Vec::new();
        let mut sent = Vec::with_capacity(frame.entries.len());
        let mut rest = &frame.entries[..];
        while let Some(first) = rest.first() {
            let mut decoded = Decoded::default();
            let taken = match first {
                Entry::Line { source, import, received_at, .. } => {
                    let (lines, count) = joined(rest);
                    let intake = Intake {
                        source: self.catalog.symbols().intern(source.as_bytes()),
                        stream: if *import { Stream::Import } else { Stream::Live },
                        received_at: at(*received_at),
                    };
                    decoder.decode_lines(lines.into_bytes(), &intake, &mut decoded);
                    limits.admit(&mut decoded);
                    sent.extend_from_slice(&rest[..count]);
                    count
                }
                Entry::Tick { at: now } => {
                    decoded.batch.begin(RecordKind::Tick, Symbol::NULL, at(*now), Stamp::default());
                    sent.push(first.clone());
                    1
                }
                Entry::Metadata { source, at: now } => {
                    let source = self.catalog.symbols().intern(source.as_bytes());
                    decoded.batch.begin(RecordKind::Metadata, source, at(*now), Stamp::default());
                    // Which state it is, stands in the frame.
                    decoded.batch.push_bytes(self.catalog.well_known().raw, Form::Bytes, b"{}");
                    sent.push(first.clone());
                    1
                }
                Entry::ClockDoubt { begun, at: now } => {
                    decoded.batch.begin(RecordKind::ClockDoubt, Symbol::NULL, at(*now), Stamp::default());
                    let code = if *begun { "begun" } else { "ended" };
                    decoded.batch.push_bytes(self.catalog.well_known().code, Form::Text, code.as_bytes());
                    sent.push(first.clone());
                    1
                }
                Entry::Replay { target } => {
                    if self.push_replay(*target, frame.metadata, &mut decoded.batch)? {
                        sent.push(first.clone());
                    }
                    1
                }
                Entry::Import { source, run, mark, at: now } => {
                    self.import_record(source, run, mark, *now, &mut decoded.batch);
                    sent.push(first.clone());
                    1
                }
            };
            if !matches!(first, Entry::Line { .. }) {
                projector.project_batch(&decoded.batch, &mut decoded.rows);
            }
            all.push(decoded);
            rest = &rest[taken..];
        }
        frame.entries = sent;
        Ok(all)
    }

    fn push_replay(&self, target: u64, metadata: usize, batch: &mut RecordBatch) -> Result<bool, String> {
        let target = Offset::new(target);
        let held = self.log.frame_of(target).map_err(|e| format!("the frame of a replay: {e}"))?;
        let head = held.records.heads[(target.get() - held.base.get()) as usize];
        Ok(push_replay(&held.records, &head, target, &self.catalog, &self.campaigns[metadata], batch))
    }

    fn import_record(&self, source: &str, run: &str, mark: &ImportMark, now: i64, batch: &mut RecordBatch) {
        let known = self.catalog.well_known();
        let kind = match mark {
            ImportMark::Begin => RecordKind::ImportBegin,
            ImportMark::Progress { .. } => RecordKind::ImportProgress,
            ImportMark::End => RecordKind::ImportEnd,
        };
        let stamp = Stamp { stream: Stream::Import, ..Stamp::default() };
        batch.begin(kind, self.catalog.symbols().intern(source.as_bytes()), at(now), stamp);
        batch.push_bytes(known.run, Form::Text, run.as_bytes());
        if let ImportMark::Progress { line } = mark {
            batch.push_bytes(known.path, Form::Text, source.as_bytes());
            batch.push(Span::wide(known.size, Form::Uint, 1 << 40));
            batch.push(Span::wide(known.position, Form::Uint, *line));
            batch.push(Span::wide(known.line, Form::Uint, *line));
        }
        batch.spans.sort_by_key(|s| s.field);
    }

    /// Commits what waits.
    pub fn checkpoint(&mut self) -> Result<(), String> {
        let under_way = match self.committing.take() {
            None => Ok(()),
            Some(Committing::Frozen(frozen, _)) => frozen.commit(self.pipeline.store()).map(|()| self.pipeline.thaw()),
            Some(Committing::Written(written, _)) => {
                let published = self.pipeline.store().publish(written).map_err(PipelineError::from);
                published.map(|()| self.pipeline.thaw())
            }
        };
        under_way.map_err(|e| e.to_string())?;
        self.pipeline.checkpoint().map_err(|e| e.to_string())
    }

    /// Closes the log: an empty frame proves the last one.
    pub fn close(&mut self) -> Result<(), String> {
        self.log.close().map_err(|e| e.to_string())
    }

    /// How many frames are durable.
    pub fn frames(&self) -> u64 {
        self.log.durable().seq.get()
    }

    /// The last revision published.
    pub fn revision(&self) -> u64 {
        self.pipeline.revision().get()
    }

    /// The content of the log, a list of records a frame, each as one line of text.
    pub fn log_content(&self) -> Result<Vec<Vec<String>>, String> {
        let mut reader = self.log.read(FrameSeq::ZERO).map_err(|e| e.to_string())?;
        let mut frame = Frame::default();
        let mut all = Vec::new();
        while reader.next(&mut frame).map_err(|e| e.to_string())? {
            let of = |head| as_logged(&frame.records, head, &self.catalog);
            all.push(frame.records.heads.iter().map(of).collect());
        }
        Ok(all)
    }

    /// Why a line was rejected: code and field.
    pub fn reject_detail(&self, offset: u64) -> Result<String, String> {
        let frame = self.log.frame_of(Offset::new(offset)).map_err(|e| e.to_string())?;
        let head = frame.records.heads[(offset - frame.base.get()) as usize];
        let known = self.catalog.well_known();
        let code = frame.records.field(&head, known.code).and_then(|s| self.catalog.symbols().text(s.as_symbol()));
        let param = frame.records.field(&head, known.param);
        let param = param.map(|s| String::from_utf8_lossy(&frame.records.arena[s.range()]).into_owned());
        Ok([code, param].into_iter().flatten().collect::<Vec<_>>().join(" "))
    }

    /// What the process shows now.
    pub fn picture(&self) -> Result<Picture, String> {
        picture(&self.pipeline)
    }

    /// The hash of its state.
    pub fn state_hash(&self) -> Result<StateHash, String> {
        self.pipeline.state_hash().map_err(|e| e.to_string())
    }

    /// Folds the whole log into a store in memory, under another number of workers and other checkpoints.
    pub fn fold_anew(&self, setup: &Setup, start: &Start) -> Result<(StateHash, Picture), String> {
        let store = MemoryStore::new(schemas(&self.catalog), self.catalog.symbols().clone());
        let store = store.map_err(|e| e.to_string())?;
        let mut pipeline = pipeline(&self.catalog, setup, store, start)?;
        pipeline.recover(&self.log, secret(), |_| {}).map_err(|e| e.to_string())?;
        Ok((pipeline.state_hash().map_err(|e| e.to_string())?, picture(&pipeline)?))
    }
}

fn campaigns(setup: &Setup, catalog: &Catalog) -> Result<Vec<Arc<Campaigns>>, String> {
    let build = |m: &crate::setup::Metadata| {
        Campaigns::build(&m.campaigns, &m.default_currency, m.unknown, catalog.symbols()).map(Arc::new)
    };
    setup.metadata.iter().map(build).collect()
}

fn pipeline<S: AggregateStore>(
    catalog: &Arc<Catalog>,
    setup: &Setup,
    store: S,
    start: &Start,
) -> Result<Pipeline<S>, String> {
    let rules = setup.times.rules();
    Pipeline::new(catalog.clone(), store, rules, start.checkpoints, start.workers, Box::new(InLine))
        .map_err(|e| format!("pipeline: {e}"))
}

/// The lines that one intake takes: those of one source, stream and time.
fn joined(entries: &[Entry]) -> (String, usize) {
    let mut text = String::new();
    let mut first = None;
    for (i, entry) in entries.iter().enumerate() {
        let Entry::Line { source, import, received_at, text: line } = entry else { return (text, i) };
        if *first.get_or_insert((source, import, received_at)) != (source, import, received_at) {
            return (text, i);
        }
        text.push_str(line);
        text.push('\n');
    }
    (text, entries.len())
}

/// The sums of a row whose values stand in the order of `names`.
fn sums(names: &[&str], values: &[i64], revision: u64) -> Sums {
    let mut sums = Sums { revision, ..Sums::default() };
    for (name, value) in names.iter().zip(values) {
        sums.add(name, *value, revision);
    }
    sums
}

/// Takes a row: bucket, key, values, revision.
type Visit<'a> = &'a mut dyn FnMut(i64, Vec<Option<String>>, &[i64], u64);

fn picture<S: AggregateStore>(pipeline: &Pipeline<S>) -> Result<Picture, String> {
    let (store, catalog, pending) = (pipeline.store(), pipeline.catalog(), pipeline.pending());
    let mut picture = Picture {
        watermark: pipeline.clocks().watermark().micros(),
        line: pipeline.clocks().line().micros(),
        in_doubt: pipeline.clocks().is_in_doubt(),
        ..Picture::default()
    };
    let rows_of = |table: TableIx, visit: Visit<'_>| {
        let extra: Vec<&TableRows> = pending.rows[table.index()].iter().collect();
        let scanned = store.scan(table, BucketRange::ALL, &[], &extra, &mut |row| {
            let text = |(column, id): (usize, &u32)| row.names.text(column, *id).map(str::to_owned);
            let keys = row.keys.iter().enumerate().map(text).collect();
            visit(row.bucket.seconds(), keys, row.values, row.revision.get());
            ControlFlow::Continue(())
        });
        scanned.map_err(|e| e.to_string())
    };
    let metrics: Vec<&str> = catalog.columns().iter().map(|c| c.name.as_str()).collect();
    for i in 0..catalog.rollups().len() {
        let mut rows = std::collections::BTreeMap::new();
        rows_of(rollup_table(RollupIx::new(i)), &mut |bucket, mut keys, values, revision| {
            let currency = keys.pop().flatten().unwrap_or_default();
            rows.insert((bucket, keys, currency), sums(&metrics, values, revision));
        })?;
        picture.rollups.push(rows);
    }
    let columns: Vec<&str> = LedgerColumn::ALL.iter().map(|c| c.name()).collect();
    let mut imbalances = Vec::new();
    rows_of(LEDGER, &mut |hour, mut keys, values, revision| {
        let source = keys.pop().flatten().unwrap_or_default();
        imbalances.extend(LedgerCounts::from_values(values).imbalances());
        picture.ledger.insert((hour, source), sums(&columns, values, revision));
    })?;
    if !imbalances.is_empty() {
        return Err(format!("the ledger does not balance: {}", imbalances.join("; ")));
    }
    let mut after = None;
    loop {
        let entries = store.quarantine_list(after, 7).map_err(|e| e.to_string())?;
        picture.quarantine.extend(entries.iter().map(held));
        // A list that goes back, of a damaged store, would never end; what it has said so far is wrong enough.
        let Some(last) = entries.last().filter(|last| after.is_none_or(|after| after < last.offset)) else { break };
        after = Some(last.offset);
    }
    picture.quarantine.extend(pending.quarantined.iter().map(held));
    for offset in &pending.released {
        picture.quarantine.remove(&offset.get());
    }
    for file in pipeline.imports().files() {
        picture.imports.insert(file.path.clone(), sums(&columns, &file.figures, 0));
    }
    Ok(picture)
}

fn held(entry: &adsum_model::state::QuarantineEntry) -> (u64, Held) {
    let held = Held { reason: entry.reason.name().to_owned(), received_at: entry.received_at.micros() };
    (entry.offset.get(), held)
}

/// A record of the log as one line of text.
fn as_logged(batch: &RecordBatch, head: &RecordHead, catalog: &Catalog) -> String {
    let known = catalog.well_known();
    let source = catalog.symbols().text(head.source).unwrap_or_default();
    let json = || {
        let value: Value = serde_json::from_slice(&record_json(batch, head, catalog)).unwrap_or_default();
        value.to_string()
    };
    let bytes = |field| {
        let span = batch.field(head, field);
        span.map(|s| String::from_utf8_lossy(&batch.arena[s.range()]).into_owned()).unwrap_or_default()
    };
    let wide = |field| batch.field(head, field).map_or(0, Span::as_wide);
    let stream = head.stamp.stream == Stream::Import;
    let received_at = head.received_at.micros();
    match head.kind {
        RecordKind::Event => line_text("event", &source, stream, received_at, &json()),
        RecordKind::Reject => line_text("reject", &source, stream, received_at, &bytes(known.raw)),
        RecordKind::Tick => format!("tick {received_at}"),
        RecordKind::Replay => {
            line_text(&format!("replay {}", wide(known.target)), &source, stream, received_at, &json())
        }
        RecordKind::ImportBegin => format!("begin {source} {} {received_at}", bytes(known.run)),
        RecordKind::ImportProgress => {
            format!("progress {source} {} {} {received_at}", bytes(known.run), wide(known.line))
        }
        RecordKind::ImportEnd => format!("end {source} {} {received_at}", bytes(known.run)),
        RecordKind::Metadata => format!("metadata {source} {received_at} {}", bytes(known.raw)),
        RecordKind::ClockDoubt => format!("clock doubt {} {received_at}", bytes(known.code)),
    }
}

fn line_text(kind: &str, source: &str, import: bool, received_at: i64, text: &str) -> String {
    format!("{kind} {source} {} {received_at} {text}", if import { "import" } else { "live" })
}

/// The same line of text for what was sent. `sent` is everything sent before, by offset; `is_event` says whether a line
/// passes validation, by the oracle.
pub fn as_sent(entry: &Entry, sent: &[Entry], is_event: bool) -> String {
    match entry {
        Entry::Line { source, import, received_at, text } if is_event => {
            line_text("event", source, *import, *received_at, &kept(text))
        }
        Entry::Line { source, import, received_at, text } => line_text("reject", source, *import, *received_at, text),
        Entry::Tick { at } => format!("tick {at}"),
        Entry::Metadata { source, at } => format!("metadata {source} {at} {{}}"),
        Entry::ClockDoubt { begun, at } => format!("clock doubt {} {at}", if *begun { "begun" } else { "ended" }),
        Entry::Replay { target } => match &sent[*target as usize] {
            Entry::Line { source, import, received_at, text } => {
                line_text(&format!("replay {target}"), source, *import, *received_at, &kept(text))
            }
            other => format!("replay of no event: {other:?}"),
        },
        Entry::Import { source, run, mark, at } => match mark {
            ImportMark::Begin => format!("begin {source} {run} {at}"),
            ImportMark::Progress { line } => format!("progress {source} {run} {line} {at}"),
            ImportMark::End => format!("end {source} {run} {at}"),
        },
    }
}

/// What a record keeps of a line: every field but nulls, the sender's receivedAt under its other name where that is
/// free, one form of time.
fn kept(line: &str) -> String {
    let Ok(Value::Object(mut fields)) = serde_json::from_str(line) else { return line.to_owned() };
    fields.retain(|_, value| !value.is_null());
    if !fields.contains_key("edgeReceivedAt")
        && let Some(received) = fields.remove("receivedAt")
    {
        fields.insert("edgeReceivedAt".to_owned(), received);
    }
    for name in ["occurredAt", "edgeReceivedAt", "receivedAt"] {
        let parsed = fields.get(name).and_then(Value::as_str).and_then(|t| parse_rfc3339(t.as_bytes()).ok());
        if let Some(micros) = parsed {
            fields.insert(name.to_owned(), Value::String(format_utc(micros)));
        }
    }
    Value::Object(fields).to_string()
}
