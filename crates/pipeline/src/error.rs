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

impl PipelineError {
    /// Whether the disk is full: nothing became visible, and the same may be tried again when there is space.
    pub fn is_full_disk(&self) -> bool {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        match self {
            Self::Store(StoreError::Io { source, .. }) => matches!(source.kind(), StorageFull | QuotaExceeded),
            _ => false,
        }
    }
}
