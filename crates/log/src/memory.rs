//! The log in memory: frames as they were handed over.
//!
//! Invariant: it behaves as the embedded one as long as the process lives; the contract suite holds both to it. "Durable"
//! means here until the process ends. Not here: any limit but the caller's trimming.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use adsum_model::id::{FrameSeq, MetadataRevision, Offset, Position};
use adsum_model::record::{RecordBatch, Span};
use adsum_model::time::ReceivedAt;

use crate::{Appended, EventLog, Frame, FrameDraft, FrameReader, LogError, LogView};

#[derive(Default)]
struct Frames {
    kept: VecDeque<Arc<Frame>>,
    durable: Position,
}

impl Frames {
    fn start(&self) -> Position {
        self.kept.front().map_or(self.durable, |f| Position { seq: f.seq, offset: f.base })
    }

    fn out_of_range(&self, asked: String) -> LogError {
        LogError::OutOfRange { asked, start: self.start(), durable: self.durable }
    }
}

/// The log in memory.
#[derive(Clone, Default)]
pub struct MemoryLog {
    frames: Arc<Mutex<Frames>>,
    /// The frame that is being filled.
    begun: Frame,
}

impl MemoryLog {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    fn frames(&self) -> MutexGuard<'_, Frames> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds the records of `batch` behind those of `all`.
fn add_batch(all: &mut RecordBatch, batch: &RecordBatch) {
    use adsum_model::record::Form;
    let (arena, uuids, spans) = (all.arena.len() as u32, all.uuids.len() as u32, all.spans.len() as u32);
    all.arena.extend_from_slice(&batch.arena);
    all.uuids.extend_from_slice(&batch.uuids);
    all.spans.extend(batch.spans.iter().map(|span| match span.form {
        Form::Text | Form::Json | Form::Bytes => Span { start: span.start + arena, ..*span },
        // What a decoder left in the second half means nothing outside of its batch.
        Form::Uuid => Span { start: span.start + uuids, len: 0, ..*span },
        Form::Symbol | Form::Uint | Form::Int | Form::Time => *span,
    }));
    all.heads.extend(batch.heads.iter().map(|head| {
        let mut head = *head;
        head.span_start += spans;
        head
    }));
}

impl LogView for MemoryLog {
    fn durable(&self) -> Position {
        self.frames().durable
    }

    fn start(&self) -> Position {
        self.frames().start()
    }

    fn read(&self, from: FrameSeq) -> Result<Box<dyn FrameReader>, LogError> {
        let frames = self.frames();
        if from < frames.start().seq || from > frames.durable.seq {
            return Err(frames.out_of_range(format!("frame {}", from.get())));
        }
        Ok(Box::new(MemoryReader { log: self.clone(), next: from }))
    }

    fn files(&self, _through: FrameSeq) -> Result<Vec<(String, u64)>, LogError> {
        Ok(Vec::new())
    }

    fn frame_of(&self, offset: Offset) -> Result<Frame, LogError> {
        let frames = self.frames();
        let behind = frames.kept.partition_point(|f| f.base <= offset);
        match behind.checked_sub(1) {
            Some(i) if offset < frames.durable.offset => Ok(Frame::clone(&frames.kept[i])),
            _ => Err(frames.out_of_range(format!("the record at offset {}", offset.get()))),
        }
    }
}

impl EventLog for MemoryLog {
    fn begin(&mut self, appended_at: ReceivedAt, metadata_revision: MetadataRevision) -> Result<(), LogError> {
        self.begun = Frame { appended_at, metadata_revision, ..Frame::default() };
        Ok(())
    }

    fn push(&mut self, batch: &RecordBatch) -> Result<(), LogError> {
        add_batch(&mut self.begun.records, batch);
        Ok(())
    }

    fn commit(&mut self) -> Result<Appended, LogError> {
        let begun = std::mem::take(&mut self.begun);
        let records = &begun.records;
        let bytes = (records.arena.len() + 16 * records.uuids.len() + size_of_val(records.spans.as_slice())) as u64;
        let count = records.len() as u64;
        let mut frames = self.frames();
        let Position { seq, offset: base } = frames.durable;
        frames.kept.push_back(Arc::new(Frame { seq, base, bytes, ..begun }));
        frames.durable = Position { seq: seq.plus(1), offset: base.plus(count) };
        Ok(Appended { seq, base, records: count, bytes })
    }

    fn trim(&mut self, passed: &[(&str, FrameSeq)], keep_from: ReceivedAt) -> Result<u64, LogError> {
        let Some(passed) = passed.iter().map(|(_, seq)| *seq).min() else { return Ok(0) };
        let mut frames = self.frames();
        let mut freed = 0;
        while let Some(oldest) = frames.kept.front()
            && oldest.seq < passed
            && oldest.appended_at < keep_from
        {
            freed += oldest.bytes;
            frames.kept.pop_front();
        }
        Ok(freed)
    }

    fn close(&mut self) -> Result<(), LogError> {
        let last = self.frames().kept.back().map(|f| (f.appended_at, f.metadata_revision, f.records.is_empty()));
        match last {
            Some((appended_at, metadata_revision, false)) => {
                self.append(&FrameDraft { appended_at, metadata_revision, batches: &[] }).map(|_| ())
            }
            _ => Ok(()),
        }
    }

    fn view(&self) -> Box<dyn LogView> {
        Box::new(self.clone())
    }
}

struct MemoryReader {
    log: MemoryLog,
    next: FrameSeq,
}

impl FrameReader for MemoryReader {
    fn next(&mut self, frame: &mut Frame) -> Result<bool, LogError> {
        let frames = self.log.frames();
        if self.next >= frames.durable.seq {
            return Ok(false);
        }
        let start = frames.start().seq;
        let found = match self.next.get().checked_sub(start.get()) {
            Some(i) => frames.kept[i as usize].clone(),
            None => return Err(frames.out_of_range(format!("frame {}", self.next.get()))),
        };
        drop(frames);
        frame.seq = found.seq;
        frame.appended_at = found.appended_at;
        frame.metadata_revision = found.metadata_revision;
        frame.base = found.base;
        frame.bytes = found.bytes;
        frame.records.clone_from(&found.records);
        self.next = found.seq.plus(1);
        Ok(true)
    }
}
