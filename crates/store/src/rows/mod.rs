//! Rows of tables in runs: sorted by bucket and key, in blocks of columns, with dictionaries of texts.
//!
//! Invariant: rows of equal bucket and key add up, whichever runs they lie in; a sum that leaves 64 bits is an error.
//! Texts, never symbols, are on the disk. A run keeps its tables' schemas, so that one written under fewer columns
//! reads (what it lacks is 0). A run names the frames that it covers, and a merged run covers those of its inputs:
//! to answer as of a revision, add up the runs that end at or before it and refold the log for the frames behind the
//! last of them. A run that spans the revision cannot be taken apart; so whoever wants such answers must keep merges
//! from crossing it. Today everything merges, and only the log answers for the past.

mod block;
mod dictionary;
mod extra;
mod merge;
mod names;
mod read;
mod run;
mod scan;
mod write;

use adsum_model::id::FrameSeq;

pub(crate) use merge::{merge, union_of};
pub use names::ScanNames;
pub(crate) use names::TableNames;
pub(crate) use run::{RowsRun, RunTable};
pub(crate) use scan::{Addition, TableScan};
pub(crate) use write::flush;

/// Rows of a block at most.
pub(crate) const BLOCK_ROWS: usize = 4096;

/// The frames `from <= seq < to` whose rows a run holds. As revisions (a frame's sequence plus one): (from, to].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameRange {
    pub(crate) from: FrameSeq,
    pub(crate) to: FrameSeq,
}
