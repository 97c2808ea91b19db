//! Commits beside the fold: a thread that writes checkpoints, and one that merges what they leave.
//!
//! The fold sets a checkpoint apart and goes on; it waits only when twice as much as a checkpoint holds has come
//! meanwhile, so memory stays bounded. Invariant: checkpoints are published in order, one at a time, and each is asked
//! from memory until it is. A full disk ends an import; a server's checkpoint waits for space, while its log refuses
//! events and its answers go on. Not here: what is in a checkpoint (adsum-pipeline).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use adsum_pipeline::{Frozen, Pipeline};
use adsum_store::{AggregateStore, StoreView};
use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, RecvError, RecvTimeoutError, Sender, TryRecvError};

use crate::clock::Moment;

/// What a committer does when the disk is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// It fails: somebody is there to make space and begin again.
    Fail,
    /// It tries again until there is space, or the fold ends.
    Wait,
}

/// How often a full disk is tried again, and whoever waits for the committer looks whether it is full.
const FULL_AGAIN: Duration = Duration::from_millis(500);

/// What the fold and the committer know of each other.
#[derive(Default)]
struct Known {
    /// The committer waits for space.
    full: AtomicBool,
    /// The fold has come to its end: nobody waits for space any more.
    ending: AtomicBool,
}

/// The fold's ends: a checkpoint on its way to the disk, and the word that it is there.
pub struct Commits {
    frozen: Sender<Arc<Frozen>>,
    committed: Receiver<()>,
    known: Arc<Known>,
}

/// The thread that commits what the fold sets apart.
pub struct Committer {
    frozen: Receiver<Arc<Frozen>>,
    committed: Sender<()>,
    /// Told after each checkpoint: there may be something to merge.
    merges: Sender<()>,
    when_full: WhenFull,
    known: Arc<Known>,
}

/// The thread that merges.
pub struct Merger {
    due: Receiver<()>,
    when_full: WhenFull,
}

/// The ends of the fold and both threads.
pub fn commits(when_full: WhenFull) -> (Commits, Committer, Merger) {
    let (frozen_out, frozen_in) = crossbeam_channel::bounded(1);
    let (committed_out, committed_in) = crossbeam_channel::bounded(1);
    let (merges_out, merges_in) = crossbeam_channel::bounded(1);
    let known = Arc::new(Known::default());
    let commits = Commits { frozen: frozen_out, committed: committed_in, known: known.clone() };
    let committer = Committer { frozen: frozen_in, committed: committed_out, merges: merges_out, when_full, known };
    (commits, committer, Merger { due: merges_in, when_full })
}

impl Commits {
    /// Sets a checkpoint apart if one is due, or if `anyway` and something waits; says whether it did. Waits where the
    /// committer is behind.
    pub fn after_frame<S: AggregateStore>(&self, pipeline: &mut Pipeline<S>, anyway: bool) -> Result<bool> {
        if pipeline.is_frozen() {
            match self.committed.try_recv() {
                Err(TryRecvError::Empty) if !pipeline.is_overdue() => return Ok(false),
                // Where the disk is full little more can come, for the log is on it too: answers go on.
                Err(TryRecvError::Empty) if !self.wait(pipeline)? => return Ok(false),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => self.committed(pipeline, Err(RecvError))?,
                Ok(()) => self.committed(pipeline, Ok(()))?,
            }
        }
        if !anyway && !pipeline.is_due() {
            return Ok(false);
        }
        let Some(frozen) = pipeline.freeze() else { return Ok(false) };
        self.frozen.send(frozen).context("the committing thread has ended")?;
        Ok(true)
    }

    /// Waits until what is frozen is on the disk; false where the disk is full.
    fn wait<S: AggregateStore>(&self, pipeline: &mut Pipeline<S>) -> Result<bool> {
        loop {
            let word = match self.committed.recv_timeout(FULL_AGAIN) {
                Err(RecvTimeoutError::Timeout) if self.known.full.load(Ordering::Relaxed) => return Ok(false),
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => Err(RecvError),
                Ok(()) => Ok(()),
            };
            self.committed(pipeline, word)?;
            return Ok(true);
        }
    }

    /// Where the committer's words come in; each goes to [`Self::committed`].
    pub fn words(&self) -> &Receiver<()> {
        &self.committed
    }

    /// A checkpoint is on the disk, or the committer has failed.
    pub fn committed<S: AggregateStore>(&self, pipeline: &mut Pipeline<S>, word: Result<(), RecvError>) -> Result<()> {
        word.context("the committing thread has ended")?;
        pipeline.thaw();
        Ok(())
    }

    /// The store as of one moment, which with what the pipeline still holds is everything, once.
    pub fn view<S: AggregateStore>(&self, pipeline: &mut Pipeline<S>) -> Result<Arc<dyn StoreView>> {
        let view = pipeline.store().view();
        if pipeline.is_frozen_in(view.as_ref()) {
            // Published: the committer's word is on its way.
            self.committed(pipeline, self.committed.recv())?;
        }
        Ok(view)
    }

    /// Commits everything that waits and comes back when it is on the disk; false where the disk is full, and then
    /// what waits is told from memory as before.
    pub fn finish<S: AggregateStore>(&self, pipeline: &mut Pipeline<S>) -> Result<bool> {
        if pipeline.is_frozen() && !self.wait(pipeline)? {
            return Ok(false);
        }
        match pipeline.freeze() {
            None => Ok(true),
            Some(frozen) => {
                self.frozen.send(frozen).context("the committing thread has ended")?;
                self.wait(pipeline)
            }
        }
    }

    /// The last words: commits everything that waits. A full disk is an error: the log has it all.
    pub fn end<S: AggregateStore>(&self, pipeline: &mut Pipeline<S>) -> Result<()> {
        self.known.ending.store(true, Ordering::Relaxed);
        while !self.finish(pipeline)? {}
        Ok(())
    }
}

impl Committer {
    /// Commits until the fold has ended. An error is the end of the process.
    pub fn run(self, store: &dyn AggregateStore) -> Result<()> {
        for frozen in &self.frozen {
            let begun = Moment::now();
            while let Err(error) = frozen.commit(store) {
                let waits = self.when_full == WhenFull::Wait && !self.known.ending.load(Ordering::Relaxed);
                if !error.is_full_disk() || !waits {
                    return Err(error).context("a checkpoint failed");
                }
                if !self.known.full.swap(true, Ordering::Relaxed) {
                    tracing::error!(%error, "a checkpoint waits for space on the disk");
                }
                std::thread::sleep(FULL_AGAIN);
            }
            self.known.full.store(false, Ordering::Relaxed);
            drop(frozen);
            metrics::histogram!("adsum_checkpoint_seconds").record(begun.elapsed_seconds());
            // The fold may have failed meanwhile; one word is enough for whatever is to be merged.
            let _ = self.committed.send(());
            let _ = self.merges.try_send(());
        }
        Ok(())
    }
}

impl Merger {
    /// Merges what checkpoints leave, until nobody commits any more.
    pub fn run(self, store: &dyn AggregateStore) -> Result<()> {
        for () in &self.due {
            let begun = Moment::now();
            match adsum_pipeline::merge_all_due(store) {
                // Nothing is lost but tidiness: the next checkpoint asks again.
                Err(error) if error.is_full_disk() && self.when_full == WhenFull::Wait => {
                    tracing::error!(%error, "a merge waits for space on the disk");
                }
                merged => merged.context("a merge failed")?,
            }
            metrics::histogram!("adsum_merge_seconds").record(begun.elapsed_seconds());
        }
        Ok(())
    }
}
