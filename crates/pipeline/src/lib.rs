//! The loop: frames -> keys -> look-up -> fold -> publish -> checkpoint.
//!
//! The binary and the simulator drive this very loop. Invariant: state is a pure function of frames; it publishes and
//! checkpoints only at frames that all shards finished. It starts no threads: an [`Executor`] may.
//! Not here: who appends to the log, and when.

mod commit;
mod currencies;
mod error;
mod imports;
mod limits;
mod raw;
mod step;
mod tables;

pub use commit::{CheckpointRules, Frozen, Merges, merge_all_due};
pub use error::PipelineError;
pub use imports::Imports;
pub use limits::Limits;
pub use step::{Executor, FrameMeta, InLine, Pipeline, Published, ShardSlot};
pub use tables::{CAMPAIGN_CURRENCIES, DIMENSION_DAYS, LEDGER, distinct_table, rollup_table, schemas};
