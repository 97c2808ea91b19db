//! Defects made on purpose: the tests of the tests.
//!
//! Each breaks one promise from outside of the shipped code: by a disk that lies, by a store that leaves something out
//! of a commit, or by a loop that swaps two steps. Invariant: the simulator finds every one of them. Not here: defects
//! in the shipped code itself.

use std::sync::{Arc, Mutex, PoisonError};

use adsum_model::catalog::RollupIx;
use adsum_model::state::Checkpoint;
use adsum_model::time::EventTime;
use adsum_pipeline::rollup_table;
use adsum_store::{AggregateStore, EmbeddedStore, MergePlan, StoreError, StoreView, Written};

/// A defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// The disk's `sync` does nothing.
    LyingSync,
    /// The disk's `sync_dir` does nothing.
    LyingSyncDir,
    /// An event is acknowledged before it is appended.
    AcknowledgeFirst,
    /// The values that count towards cardinality limits are forgotten at every frame.
    ForgetLimits,
    /// A commit leaves the dedupe records out.
    DropDedupe,
    /// A commit leaves out what was released from quarantine.
    DropReleased,
    /// A commit leaves out what came into quarantine.
    DropQuarantined,
    /// A commit leaves the cells out.
    DropCells,
    /// A commit forgets clocks and positions of imports.
    DropSmallState,
    /// Position and offsets are committed one checkpoint ahead of what the frames before them changed.
    PositionFirst,
    /// Dedupe keys end before their time.
    EndKeysEarly,
}

impl Sabotage {
    /// Every defect.
    pub const ALL: [Self; 11] = [
        Self::LyingSync,
        Self::LyingSyncDir,
        Self::AcknowledgeFirst,
        Self::ForgetLimits,
        Self::DropDedupe,
        Self::DropReleased,
        Self::DropQuarantined,
        Self::DropCells,
        Self::DropSmallState,
        Self::PositionFirst,
        Self::EndKeysEarly,
    ];

    /// Whether it lies in the store's commit.
    pub fn is_in_commit(self) -> bool {
        !matches!(self, Self::LyingSync | Self::LyingSyncDir | Self::AcknowledgeFirst | Self::ForgetLimits)
    }
}

/// A store whose commits leave something out.
pub struct SabotagedStore {
    inner: EmbeddedStore,
    sabotage: Sabotage,
    /// What was held back: with [`Sabotage::PositionFirst`] it comes one commit later.
    behind: Mutex<Checkpoint>,
}

impl SabotagedStore {
    /// Around a sound store.
    pub fn new(inner: EmbeddedStore, sabotage: Sabotage) -> Self {
        Self { inner, sabotage, behind: Mutex::new(Checkpoint::default()) }
    }
}

fn copy(checkpoint: &Checkpoint) -> Checkpoint {
    Checkpoint {
        through: checkpoint.through,
        revision: checkpoint.revision,
        dedupe: checkpoint.dedupe.clone(),
        dedupe_line: checkpoint.dedupe_line,
        rows: checkpoint.rows.clone(),
        quarantined: checkpoint.quarantined.clone(),
        released: checkpoint.released.clone(),
        small: checkpoint.small.clone(),
    }
}

impl AggregateStore for SabotagedStore {
    fn view(&self) -> Arc<dyn StoreView> {
        self.inner.view()
    }

    fn write(&self, checkpoint: &Checkpoint) -> Result<Written, StoreError> {
        let mut bad = copy(checkpoint);
        match self.sabotage {
            Sabotage::DropDedupe => bad.dedupe.clear(),
            Sabotage::DropReleased => bad.released.clear(),
            Sabotage::DropQuarantined => bad.quarantined.clear(),
            Sabotage::DropCells => {
                let first = rollup_table(RollupIx::new(0)).index();
                bad.rows.iter_mut().skip(first).for_each(Vec::clear);
            }
            Sabotage::DropSmallState => bad.small = adsum_model::state::SmallState::default(),
            Sabotage::EndKeysEarly => {
                bad.dedupe_line = EventTime::from_micros(bad.dedupe_line.micros().saturating_add(20_000_000));
            }
            Sabotage::PositionFirst => {
                let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::swap(&mut bad, &mut *behind);
                bad.through = checkpoint.through;
                bad.revision = checkpoint.revision;
                bad.dedupe_line = checkpoint.dedupe_line;
                bad.small = checkpoint.small.clone();
                if bad.rows.is_empty() {
                    bad.rows = checkpoint.rows.iter().map(|_| Vec::new()).collect();
                }
            }
            Sabotage::LyingSync | Sabotage::LyingSyncDir | Sabotage::AcknowledgeFirst | Sabotage::ForgetLimits => {}
        }
        self.inner.write(&bad)
    }

    fn publish(&self, written: Written) -> Result<(), StoreError> {
        self.inner.publish(written)
    }

    fn merge_due(&self) -> Option<MergePlan> {
        self.inner.merge_due()
    }

    fn merge(&self, plan: &MergePlan) -> Result<Written, StoreError> {
        self.inner.merge(plan)
    }

    fn hold(&self, with: &mut dyn FnMut(&[String])) -> Result<(), StoreError> {
        self.inner.hold(with)
    }
}
