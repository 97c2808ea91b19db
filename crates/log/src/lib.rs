//! The event log: one totally ordered sequence of frames, each a group of records that became durable together.
//!
//! Two implementations of [`EventLog`], chosen by the caller: [`MemoryLog`] for tests and figures without a disk, and
//! [`EmbeddedLog`], segments on a [`adsum_disk::Disk`]. Invariant: `append` returns when the frame is durable, and a
//! durable frame is read again, record by record and field by field, or the log refuses. The bytes are described in
//! `docs/formats/log-v1.md`. Not here: who may append when (the binary's writer thread) and what records mean.

mod decode;
mod dictionary;
mod embedded;
mod encode;
mod error;
mod extra;
mod layout;
mod memory;
mod open;
mod reader;
mod segment;
mod varint;
mod verify;

use adsum_model::id::{FrameSeq, MetadataRevision, Offset, Position};
use adsum_model::record::RecordBatch;
use adsum_model::time::ReceivedAt;

pub use embedded::{EmbeddedLog, LogOptions};
pub use error::LogError;
pub use memory::MemoryLog;
pub use open::{OpenReport, TornTail};
pub use verify::Verified;

/// A frame that is to be appended.
#[derive(Clone, Copy)]
pub struct FrameDraft<'a> {
    /// The writer's `now`.
    pub appended_at: ReceivedAt,
    /// The state of the metadata that its records were resolved under.
    pub metadata_revision: MetadataRevision,
    /// Its records, in order.
    pub batches: &'a [&'a RecordBatch],
}

/// A frame that became durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its number.
    pub seq: FrameSeq,
    /// The offset of its first record.
    pub base: Offset,
    /// How many records it has.
    pub records: u64,
    /// What it takes in the log, in bytes.
    pub bytes: u64,
}

/// A frame as read.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    /// Its number.
    pub seq: FrameSeq,
    /// The writer's `now` when it was appended.
    pub appended_at: ReceivedAt,
    /// The state of the metadata that its records were resolved under.
    pub metadata_revision: MetadataRevision,
    /// The offset of its first record.
    pub base: Offset,
    /// What it takes in the log, in bytes.
    pub bytes: u64,
    /// Its records.
    pub records: RecordBatch,
}

/// What can be asked of a log while another thread appends to it.
pub trait LogView: Send + Sync {
    /// The position behind the last durable frame.
    fn durable(&self) -> Position;

    /// The position of the oldest frame that is kept.
    fn start(&self) -> Position;

    /// Reads frames in order from `from` on. `from` may be the durable position itself: then the first frame is the
    /// next to be appended. [`LogError::OutOfRange`] where it is trimmed or not there yet.
    fn read(&self, from: FrameSeq) -> Result<Box<dyn FrameReader>, LogError>;

    /// The files, in the log's directory, that hold the frames kept before `through`, oldest first, and how many bytes
    /// of each: a copy of so much is a log that ends there. A log without files names none.
    fn files(&self, through: FrameSeq) -> Result<Vec<(String, u64)>, LogError>;

    /// The frame that holds the record at `offset`, to show it.
    fn frame_of(&self, offset: Offset) -> Result<Frame, LogError>;
}

/// A log with one writer.
pub trait EventLog: LogView {
    /// Begins a frame at the writer's `now`, its records resolved under this state of the metadata. What was begun
    /// before and not committed is forgotten.
    fn begin(&mut self, appended_at: ReceivedAt, metadata_revision: MetadataRevision) -> Result<(), LogError>;

    /// Adds records to the frame that was begun, which takes nothing of `batch` along. After an error the frame is
    /// forgotten; [`LogError::TooLarge`]: split it.
    fn push(&mut self, batch: &RecordBatch) -> Result<(), LogError>;

    /// Appends the frame that was begun and returns when it is durable. Without any records it still proves the one
    /// before it.
    ///
    /// [`LogError::Full`] and [`LogError::Io`]: nothing of it is in the log; it may be appended again.
    /// [`LogError::TooLarge`]: split it. [`LogError::Poisoned`]: nobody knows whether it is in the log, and nothing can
    /// be appended any more; stop the process and open the log again.
    fn commit(&mut self) -> Result<Appended, LogError>;

    /// Begins, fills and commits a frame whose records are all there.
    fn append(&mut self, draft: &FrameDraft<'_>) -> Result<Appended, LogError> {
        self.begin(draft.appended_at, draft.metadata_revision)?;
        for batch in draft.batches {
            self.push(batch)?;
        }
        self.commit()
    }

    /// Removes the oldest frames that every consumer has passed and that were appended before `keep_from`: whole
    /// sealed segments of an embedded log. `passed` names each consumer and the next frame that it will read; without
    /// consumers nothing is removed. Says how many bytes became free.
    fn trim(&mut self, passed: &[(&str, FrameSeq)], keep_from: ReceivedAt) -> Result<u64, LogError>;

    /// Appends an empty frame where the last one has records, so that damage to it cannot pass for a torn tail.
    /// Explicit, for a drop could only hide a failure. Appending may go on afterwards.
    fn close(&mut self) -> Result<(), LogError>;

    /// A view for other threads.
    fn view(&self) -> Box<dyn LogView>;
}

/// Reads frames in order, each once.
pub trait FrameReader: Send {
    /// Reads the next durable frame into `frame`, reusing its memory; false where there is none yet. After an error
    /// the frame's content is undefined, and the same frame is tried again.
    fn next(&mut self, frame: &mut Frame) -> Result<bool, LogError>;
}
