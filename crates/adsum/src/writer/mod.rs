//! The writer: the one thread that appends to the log, and the handle that everybody else has on it.
//!
//! Work that waits together becomes one frame, one group commit. Invariant: a [`Receipt`] is given out only when the
//! frame is durable; a refusal means that nothing of the work is in the log, but for a log that failed, where nobody
//! knows. Not here: what records say (collect, metadata, import), and what becomes of the frame (process).

mod run;
mod spares;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use adsum_model::id::{FrameSeq, MetadataRevision, Offset};
use adsum_model::rows::Rows;
use adsum_model::time::ReceivedAt;
use adsum_model::wire::Decoded;
use adsum_pipeline::FrameMeta;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};
use tokio::sync::oneshot;

pub use run::{WriterParts, run};
pub use spares::Spares;

use crate::clock;
use crate::http::Problem;

/// How many pieces of work wait.
const WORK_WAITING_MAX: usize = 8192;

/// How much waits before and behind the writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueBounds {
    /// Bytes of records that wait for the writer, over all pieces of work.
    pub bytes_max: usize,
    /// Frames that wait between the writer and the fold.
    pub frames_max: usize,
}

impl Default for QueueBounds {
    fn default() -> Self {
        Self { bytes_max: 128 << 20, frames_max: 64 }
    }
}

/// Proof that records are durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The frame that they are in.
    pub seq: FrameSeq,
    /// The offset of the first of them; the others follow it.
    pub base: Offset,
    /// When the frame was appended.
    pub appended_at: ReceivedAt,
}

/// Why records were not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The disk is full, or refuses: nothing of it is in the log. Try again later.
    Unavailable(String),
    /// The log failed, and the process stops: only the next start tells what is in it.
    Failed,
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unavailable(why) => {
                Problem::unavailable("log_unavailable", format!("the log takes nothing at the moment: {why}")).retry_after(5)
            }
            Refusal::Failed => Problem::unavailable(
                "log_failed",
                "the log failed while this was written, and the process stops; send it again: what is in the log already counts once",
            )
            .retry_after(10),
        }
    }
}

/// What waits for the writer.
pub(crate) enum Message {
    /// Records to append, all in one frame.
    Work(Work),
    /// An operator confirms the wall clock.
    ConfirmClock(oneshot::Sender<Result<bool, Refusal>>),
    /// Finish what waits, close the log, end.
    Stop,
}

/// Records to append.
pub(crate) struct Work {
    parts: Vec<Decoded>,
    metadata: MetadataRevision,
    bytes: usize,
    /// When it was queued.
    queued_at: ReceivedAt,
    /// Whether it wants a frame of its own.
    alone: bool,
    reply: oneshot::Sender<Result<Receipt, Refusal>>,
}

/// A durable frame on its way to the fold.
pub struct Durable {
    /// Which frame.
    pub meta: FrameMeta,
    /// Its rows.
    pub batches: Vec<Rows>,
}

/// The handle; cheap to clone.
#[derive(Clone)]
pub struct Writer {
    queue: Sender<Message>,
    waiting: Arc<Waiting>,
    spares: Arc<Spares>,
    bytes_max: usize,
}

/// What waits for the writer, as numbers.
#[derive(Default)]
pub struct Waiting {
    bytes: AtomicUsize,
    /// When the oldest piece of work without an answer was queued, in microseconds since 1970; 0: there is none.
    oldest_micros: AtomicI64,
    /// The last frame was refused by the disk.
    refused: AtomicBool,
    /// The word to stop has been given.
    stops: AtomicBool,
}

impl Waiting {
    /// Work was queued; it is the oldest if there was none.
    fn begin(&self, queued_at: ReceivedAt) {
        let _ = self.oldest_micros.compare_exchange(0, queued_at.micros(), Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// A future of a [`Receipt`].
pub type Appending = oneshot::Receiver<Result<Receipt, Refusal>>;

impl Writer {
    /// Queues records, which will be in one frame, `parts` in order. The work goes on if the answer is dropped.
    /// 503 where too much waits: nothing of it was taken.
    pub fn submit(&self, parts: Vec<Decoded>, metadata: MetadataRevision) -> Result<Appending, Problem> {
        self.put(parts, metadata, false)
    }

    fn put(&self, parts: Vec<Decoded>, metadata: MetadataRevision, alone: bool) -> Result<Appending, Problem> {
        let bytes = parts.iter().map(|p| p.batch.arena.len() + 128 * p.batch.heads.len()).sum();
        let before = self.waiting.bytes.fetch_add(bytes, Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        let queued_at = clock::now();
        let refused = if before > 0 && before + bytes > self.bytes_max {
            Some(overloaded())
        } else {
            // Before the thread can have answered it.
            self.waiting.begin(queued_at);
            match self.queue.try_send(Message::Work(Work { parts, metadata, bytes, queued_at, alone, reply })) {
                Ok(()) => None,
                Err(TrySendError::Full(_)) => Some(overloaded()),
                Err(TrySendError::Disconnected(_)) => Some(stopping()),
            }
        };
        match refused {
            None => Ok(answer),
            Some(problem) => {
                self.waiting.bytes.fetch_sub(bytes, Ordering::Relaxed);
                Err(problem)
            }
        }
    }

    /// Appends records and comes back when they are durable.
    pub async fn append(&self, parts: Vec<Decoded>, metadata: MetadataRevision) -> Result<Receipt, Problem> {
        Ok(self.submit(parts, metadata)?.await.map_err(|_| stopping())??)
    }

    /// The same, in a frame with nothing else: an import's figures are what became of its frames.
    pub async fn append_alone(&self, parts: Vec<Decoded>, metadata: MetadataRevision) -> Result<Receipt, Problem> {
        Ok(self.put(parts, metadata, true)?.await.map_err(|_| stopping())??)
    }

    /// An operator's word that the wall clock is right: ends a doubt. Says whether there was one.
    pub async fn confirm_clock(&self) -> Result<bool, Problem> {
        let (reply, answer) = oneshot::channel();
        self.queue.try_send(Message::ConfirmClock(reply)).map_err(|_| overloaded())?;
        Ok(answer.await.map_err(|_| stopping())??)
    }

    /// Ends the writer when what waits is written.
    pub fn stop(&self) {
        self.waiting.stops.store(true, Ordering::Relaxed);
        // A writer that has ended already needs no word.
        let _ = self.queue.send(Message::Stop);
    }

    /// Memory to decode the next records into.
    pub fn spares(&self) -> &Spares {
        &self.spares
    }

    /// Pieces of work that wait.
    pub fn depth(&self) -> usize {
        self.queue.len()
    }

    /// How long the oldest piece of work has waited for its answer, in microseconds.
    pub fn oldest_age_micros(&self) -> u64 {
        match self.waiting.oldest_micros.load(Ordering::Relaxed) {
            0 => 0,
            queued_at => u64::try_from(clock::now().micros() - queued_at).unwrap_or(0),
        }
    }

    /// Whether the disk refused the last frame, ticks included.
    pub fn is_refused(&self) -> bool {
        self.waiting.refused.load(Ordering::Relaxed)
    }

    /// Bytes of records that wait.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting.bytes.load(Ordering::Relaxed)
    }
}

fn overloaded() -> Problem {
    Problem::unavailable("overloaded", "more waits to be written than may; nothing of this was taken, send it again")
}

fn stopping() -> Problem {
    Problem::unavailable("stopping", "the process is stopping; nobody knows whether this was taken: send it again")
}

/// What is left to do where the writer's thread failed: whoever queues work is refused, until the word to stop comes.
/// A bounded queue keeps what is in it as long as somebody could queue more, and whoever waits for it would wait for ever.
pub struct Refuser {
    work: Receiver<Message>,
    waiting: Arc<Waiting>,
}

/// How often a refuser looks whether it is to stop.
const REFUSER_LOOKS: Duration = Duration::from_millis(50);

impl Refuser {
    /// Refuses until it is told to stop.
    pub fn run(self) {
        loop {
            match self.work.recv_timeout(REFUSER_LOOKS) {
                // Who asked may have gone.
                Ok(Message::Work(work)) => drop(work.reply.send(Err(Refusal::Failed))),
                Ok(Message::ConfirmClock(reply)) => drop(reply.send(Err(Refusal::Failed))),
                Ok(Message::Stop) => {}
                Err(RecvTimeoutError::Timeout) if !self.waiting.stops.load(Ordering::Relaxed) => {}
                Err(_) => return,
            }
        }
    }
}

/// The writer's handle, the queue for its thread, and both ends of the queue of frames.
pub struct Queues {
    /// The handle.
    pub writer: Writer,
    /// What the thread takes from.
    pub(crate) work: Receiver<Message>,
    pub(crate) waiting: Arc<Waiting>,
    /// Takes over where the thread fails.
    pub refuser: Refuser,
    /// Where writer and fold give memory back.
    pub spares: Arc<Spares>,
    /// Where the thread hands frames to.
    pub frames_out: Sender<Durable>,
    /// Where the fold takes them from.
    pub frames_in: Receiver<Durable>,
}

impl Queues {
    /// Empty queues.
    pub fn new(bounds: QueueBounds) -> Self {
        let (queue, work) = crossbeam_channel::bounded(WORK_WAITING_MAX);
        let (frames_out, frames_in) = crossbeam_channel::bounded(bounds.frames_max);
        let waiting = Arc::new(Waiting::default());
        let spares = Arc::new(Spares::new());
        let writer = Writer { queue, waiting: waiting.clone(), spares: spares.clone(), bytes_max: bounds.bytes_max };
        let refuser = Refuser { work: work.clone(), waiting: waiting.clone() };
        Self { writer, work, waiting, refuser, spares, frames_out, frames_in }
    }
}
