//! The pure fold: events in log order become counts, each once.
//!
//! A step has two phases. [`Shard::keys`] says which dedupe keys must be looked up; [`Shard::fold`] takes what was
//! found and folds the frame: future, age, currency, dedupe, window, in that order. Invariant: no I/O, no clock, no
//! thread, no randomness; the result depends on frames and prior records alone, never on the number of shards.
//! Not here: where prior records lie (adsum-store), and who drives the steps (adsum-pipeline).

mod cells;
mod clock;
mod dedupe;
mod fold;
mod unsaved;

pub use clock::{Clocks, Rules, Seen};
pub use fold::{Effects, Ended, FoldError, FrameContext, Lookups, Prior, Shard};
pub use unsaved::{Delta, Unsaved};
