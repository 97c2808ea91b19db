//! Commits beside the fold: a thread that writes checkpoints, and one that merges what they leave.
//!
//! The fold sets a checkpoint apart and goes on; it waits only when twice as much as a checkpoint holds has come
//! meanwhile, so memory stays bounded. Invariant: checkpoints are published in order, one at a time, and each is asked
//! from memory until it is. Not here: what is in them (adsum-pipeline).

use std::sync::Arc;

use adsum_pipeline::{Frozen, Pipeline};
use adsum_store::{AggregateStore, StoreView};
use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, RecvError, Sender, TryRecvError};

use crate::clock::Moment;

/// The fold's ends: a checkpoint on its way to the disk, and the word that it is there.
pub struct Commits {
    frozen: Sender<Arc<Frozen>>,
    committed: Receiver<()>,
}

/// The thread that commits what the fold sets apart.
pub struct Committer {
    frozen: Receiver<Arc<Frozen>>,
    committed: Sender<()>,
    /// Told after each checkpoint: there may be something to merge.
    merges: Sender<()>,
}

/// The thread that merges.
pub struct Merger {
    due: Receiver<()>,
}

/// The ends of the fold and both threads.
pub fn commits() -> (Commits, Committer, Merger) {
    let (frozen_out, frozen_in) = crossbeam_channel::bounded(1);
    let (committed_out, committed_in) = crossbeam_channel::bounded(1);
    let (merges_out, merges_in) = crossbeam_channel::bounded(1);
    let committer = Committer { frozen: frozen_in, committed: committed_out, merges: merges_out };
    (Commits { frozen: frozen_out, committed: committed_in }, committer, Merger { due: merges_in })
}

impl Commits {
    /// Sets a checkpoint apart if one is due, or if `anyway` and something waits; says whether it did. Waits where the
    /// committer is behind.
    pub fn after_frame<S: AggregateStore>(&self, pipeline: &mut Pipeline<S>, anyway: bool) -> Result<bool> {
        if pipeline.is_frozen() {
            let word = match self.committed.try_recv() {
                Err(TryRecvError::Empty) if !pipeline.is_overdue() => return Ok(false),
                Err(TryRecvError::Empty) => self.committed.recv(),
                Err(TryRecvError::Disconnected) => Err(RecvError),
                Ok(()) => Ok(()),
            };
            self.committed(pipeline, word)?;
        }
        if !anyway && !pipeline.is_due() {
            return Ok(false);
        }
        let Some(frozen) = pipeline.freeze() else { return Ok(false) };
        self.frozen.send(frozen).context("the committing thread has ended")?;
        Ok(true)
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

    /// Commits everything that waits and comes back when it is on the disk.
    pub fn finish<S: AggregateStore>(&self, pipeline: &mut Pipeline<S>) -> Result<()> {
        if pipeline.is_frozen() {
            self.committed(pipeline, self.committed.recv())?;
        }
        if let Some(frozen) = pipeline.freeze() {
            self.frozen.send(frozen).context("the committing thread has ended")?;
            self.committed(pipeline, self.committed.recv())?;
        }
        Ok(())
    }
}

impl Committer {
    /// Commits until the fold has ended. An error is the end of the process.
    pub fn run(self, store: &dyn AggregateStore) -> Result<()> {
        for frozen in &self.frozen {
            let begun = Moment::now();
            frozen.commit(store).context("a checkpoint failed")?;
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
            adsum_pipeline::merge_all_due(store).context("a merge failed")?;
            metrics::histogram!("adsum_merge_seconds").record(begun.elapsed_seconds());
        }
        Ok(())
    }
}
