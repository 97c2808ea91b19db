//! The live state, asked by whoever reads: a handle on the thread that owns the pipeline.
//!
//! A [`Snapshot`] is one moment: a store's view and the rows that were not committed then, so that nothing counts twice
//! or not at all. Invariant: an answer holds every frame that was folded before the question. Not here: the thread
//! itself (process), and what is made of the rows (report).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use adsum_engine::Clocks;
use adsum_model::id::{FrameSeq, Offset, Position, Revision};
use adsum_model::ledger::LedgerCounts;
use adsum_model::state::QuarantineEntry;
use adsum_model::table::{TableIx, TableRows};
use adsum_model::time::{EventTime, ReceivedAt};
use adsum_pipeline::Imports;
use adsum_store::{BucketRange, StoreView};
use crossbeam_channel::{Receiver, Sender, TrySendError};
use tokio::sync::{broadcast, oneshot, watch};

use crate::http::Problem;

/// What a reader needs.
#[derive(Clone, Debug)]
pub struct Want {
    /// The tables whose uncommitted rows are needed.
    pub tables: Vec<TableIx>,
    /// Of those, the buckets.
    pub range: BucketRange,
    /// Whether the uncommitted changes of the quarantine are needed.
    pub quarantine: bool,
}

impl Want {
    /// Only what every snapshot has: view, clocks, imports, revision.
    pub fn nothing() -> Self {
        Self { tables: Vec::new(), range: BucketRange::ALL, quarantine: false }
    }

    /// What the quarantine is read by.
    pub fn of_quarantine() -> Self {
        Self { quarantine: true, ..Self::nothing() }
    }
}

/// One moment of the live state.
#[derive(Clone)]
pub struct Snapshot {
    /// What was committed.
    pub view: Arc<dyn StoreView>,
    /// By table: rows that were not, of the tables and buckets wanted.
    pub pending: Vec<Vec<TableRows>>,
    /// Entries that came into quarantine since the commit, by offset; of one offset the last one stands.
    pub quarantined: Vec<QuarantineEntry>,
    /// Entries that left it since.
    pub released: Vec<Offset>,
    /// The last revision published.
    pub revision: Revision,
    /// The next frame to fold.
    pub through: Position,
    /// Watermarks and the acceptance line.
    pub clocks: Clocks,
    /// How far imports that are not finished have come.
    pub imports: Imports,
    /// Everything that was durable by then is in the snapshot: the wall's time, or the time of the last frame folded
    /// where others wait.
    pub fresh_at: ReceivedAt,
}

/// What the fold of one frame came to, for those who watch.
#[derive(Clone, Debug)]
pub struct Update {
    /// The revision that it published.
    pub revision: Revision,
    /// When the frame was appended.
    pub appended_at: ReceivedAt,
    /// By source: what became of its events and lines.
    pub counts: Vec<(String, LedgerCounts)>,
    /// The watermark, if there is one yet.
    pub complete_through: Option<String>,
}

/// What is done with the names of the files that a commit consists of while none of them goes.
pub type WithFiles = Box<dyn FnMut(&[String]) + Send>;

/// A question to the thread that owns the pipeline.
pub struct Ask {
    pub(crate) want: Want,
    /// Commit what waits first, and hold the store's files while this is done.
    pub(crate) commit: Option<WithFiles>,
    pub(crate) reply: oneshot::Sender<Snapshot>,
}

/// How many questions wait.
const ASKS_WAITING_MAX: usize = 256;
/// How many updates a slow watcher may fall behind before it misses some.
const UPDATES_KEPT: usize = 256;

/// The handle; cheap to clone.
#[derive(Clone)]
pub struct Live {
    asks: Sender<Ask>,
    updates: broadcast::Sender<Arc<Update>>,
    folded: watch::Receiver<FrameSeq>,
    line: Arc<AtomicI64>,
}

/// The other ends, for the thread that owns the pipeline.
pub struct LiveEnds {
    pub(crate) asks: Receiver<Ask>,
    pub(crate) updates: broadcast::Sender<Arc<Update>>,
    pub(crate) folded: watch::Sender<FrameSeq>,
    line: Arc<AtomicI64>,
}

impl Live {
    /// A handle and its other ends; `next` is the next frame to fold, `line` the acceptance line by then.
    pub fn new(next: FrameSeq, line: EventTime) -> (Self, LiveEnds) {
        let (asks_out, asks_in) = crossbeam_channel::bounded(ASKS_WAITING_MAX);
        let (updates, _) = broadcast::channel(UPDATES_KEPT);
        let (folded_out, folded_in) = watch::channel(next);
        let line = Arc::new(AtomicI64::new(line.micros()));
        let live = Self { asks: asks_out, updates: updates.clone(), folded: folded_in, line: line.clone() };
        (live, LiveEnds { asks: asks_in, updates, folded: folded_out, line })
    }

    /// The state at one moment. 503 where too many ask, or the process is stopping.
    pub async fn snapshot(&self, want: Want) -> Result<Snapshot, Problem> {
        self.ask(want, None).await
    }

    /// Commits everything folded and gives that state, in which nothing is pending. `with_files` is called with the
    /// names of the store's files, which stay until it returns; the fold waits for it, so it must be quick.
    pub async fn committed(&self, with_files: WithFiles) -> Result<Snapshot, Problem> {
        let asked = self.ask(Want::nothing(), Some(with_files)).await;
        asked.map_err(|problem| if problem.code == STOPPING { not_committed() } else { problem })
    }

    async fn ask(&self, want: Want, commit: Option<WithFiles>) -> Result<Snapshot, Problem> {
        let (reply, answer) = oneshot::channel();
        match self.asks.try_send(Ask { want, commit, reply }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                return Err(Problem::unavailable("overloaded", "too many questions wait; ask again in a moment"));
            }
            Err(TrySendError::Disconnected(_)) => return Err(stopping()),
        }
        answer.await.map_err(|_| stopping())
    }

    /// Comes back when the frame `seq` is folded: what it held is in every later snapshot.
    pub async fn folded(&self, seq: FrameSeq) -> Result<(), Problem> {
        let mut folded = self.folded.clone();
        folded.wait_for(|next| *next > seq).await.map_err(|_| stopping())?;
        Ok(())
    }

    /// The acceptance line as of the last frame folded: what happened before it will not count.
    pub fn line(&self) -> EventTime {
        EventTime::from_micros(self.line.load(Ordering::Relaxed))
    }

    /// What is folded from now on. A watcher that falls behind misses updates and is told how many.
    pub fn updates(&self) -> broadcast::Receiver<Arc<Update>> {
        self.updates.subscribe()
    }
}

impl LiveEnds {
    /// Says where the acceptance line is.
    pub(crate) fn publish_line(&self, line: EventTime) {
        self.line.store(line.micros(), Ordering::Relaxed);
    }
}

const STOPPING: &str = "stopping";

fn stopping() -> Problem {
    Problem::unavailable(STOPPING, "the process is stopping; ask again in a moment")
}

fn not_committed() -> Problem {
    let detail = "what waits could not be committed: the disk is full, or the process is stopping; ask again later";
    Problem::unavailable("not_committed", detail)
}
