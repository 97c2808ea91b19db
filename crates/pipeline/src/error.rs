//! Why the loop stops. Every one of these ends the process: state on disk is whole, and a restart goes on from it.

use adsum_engine::FoldError;
use adsum_log::LogError;
use adsum_store::StoreError;

/// Why the loop stops.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The store cannot be read or committed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A frame cannot be folded.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// A frame came out of turn: a defect of the caller.
    #[error("frame {got} came where frame {expected} was next")]
    OutOfTurn {
        /// The next frame.
        expected: u64,
        /// The one that came.
        got: u64,
    },
}
