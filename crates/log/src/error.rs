//! Why a log could not do what it was asked.
//!
//! Invariant: one variant for each thing that a caller does about it.

use std::io;

use adsum_model::id::Position;

/// What went wrong, and what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Nothing was appended. Retry once there is space; answer 503 until then.
    #[error("the disk is full; nothing was appended")]
    Full,
    /// Nothing was appended, or nothing read. It may be retried; at opening, look at the disk.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// A sync, or the cut of a half-written frame, failed: what is on the disk is unknown. Never retry: stop
    /// acknowledging and end the process.
    #[error("the log is poisoned: {reason}; restart to find out what is on the disk")]
    Poisoned {
        /// The failure that did it.
        reason: String,
    },
    /// Bytes that were durable are damaged or missing. Refuse to start; restore them or rebuild from the archive.
    #[error("{segment}, byte {at}: {reason}")]
    Corrupt {
        /// The file's name.
        segment: String,
        /// Where in it.
        at: u64,
        /// What is wrong there.
        reason: String,
    },
    /// A frame over a limit. Split it.
    #[error("a frame of {bytes} bytes or more is over the limit of {bytes_max}")]
    TooLarge {
        /// Its size as far as it was built.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// The frame or record asked for is trimmed or not there yet. Ask within the range.
    #[error("{asked} is outside of the log, which has frames {} to {} (exclusive)", start.seq.get(), durable.seq.get())]
    OutOfRange {
        /// What was asked for.
        asked: String,
        /// The oldest frame kept.
        start: Position,
        /// Behind the last durable frame.
        durable: Position,
    },
}

impl LogError {
    pub(crate) fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self::Io { what: what.into(), source }
    }

    pub(crate) fn corrupt(segment: &str, at: u64, reason: impl Into<String>) -> Self {
        Self::Corrupt { segment: segment.to_owned(), at, reason: reason.into() }
    }
}
