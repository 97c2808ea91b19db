//! Rows of tables in runs: in stripes of neighbouring buckets, each in blocks of columns, with dictionaries of texts.
//!
//! Within a stripe rows stand by key, then by bucket: who asks for one campaign reads a block or two a stripe, however
//! long the range, and who asks for all sorts a stripe by bucket as it reads it.
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
mod merged;
mod names;
mod read;
mod run;
mod scan;
mod sort;
mod write;

use adsum_model::id::FrameSeq;

pub(crate) use merge::{merge, union_of};
pub use names::ScanNames;
pub(crate) use names::TableNames;
pub(crate) use run::{RowsRun, RunTable};
pub(crate) use scan::{Addition, TableScan};
pub(crate) use write::flush;

/// Rows of a block at most. Small, for it is read whole by whoever wants one row of it.
pub(crate) const BLOCK_ROWS: usize = 512;
/// Rows of a stripe at most: a scan holds one a run.
pub(crate) const STRIPE_ROWS: usize = 32 << 10;
/// Rows of a stripe of one bucket: such stripes follow one another in the order of a scan, so they need not be large.
pub(crate) const SINGLE_ROWS: usize = 4096;
/// Rows that a scan adds up before it shows them.
pub(crate) const BATCH_ROWS: usize = 4096;

/// The frames `from <= seq < to` whose rows a run holds. As revisions (a frame's sequence plus one): (from, to].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameRange {
    pub(crate) from: FrameSeq,
    pub(crate) to: FrameSeq,
}
