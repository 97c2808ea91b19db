//! What can go wrong in a store, by what the caller can do about it.
//!
//! Invariant: a variant exists only where callers act differently. Outcomes (an absent key, nothing to merge) are
//! no errors.

use std::io;

/// Why a store refused.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused (no space, no permission). Nothing became visible: the caller may free space and
    /// write the same checkpoint again, or stop.
    #[error("{file}: {source}")]
    Io {
        /// The file's name within the store.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// Bytes are not what was written, or the store's parts do not belong together. The caller must not go on with
    /// it: restore the file from a copy, or rebuild the store from the log.
    #[error("{file} is damaged: {detail}")]
    Corrupt {
        /// The file's name within the store.
        file: String,
        /// What was found.
        detail: String,
    },
    /// A sum left 64 bits. Nothing was changed; the caller must raise an alarm and never serve a wrapped number.
    #[error("a sum in table {table} leaves 64 bits")]
    Overflow {
        /// The table's name.
        table: String,
    },
    /// A sync or rename failed, so that nobody knows what is on the disk. It is never retried: the caller stops
    /// acknowledging and ends the process; the next open tells what is there.
    #[error("{file}: a sync failed, the store must be opened again: {detail}")]
    Poisoned {
        /// The file whose sync failed.
        file: String,
        /// What the system said.
        detail: String,
    },
    /// The caller's tables contradict the store's: the configuration must change (a new name for a new key).
    #[error("table {table}: {detail}")]
    Schema {
        /// The table's name.
        table: String,
        /// What contradicts.
        detail: String,
    },
    /// A bug of the caller: what is to be published was written upon another state than the present one.
    #[error("written upon another state: {detail}")]
    Stale {
        /// Which.
        detail: String,
    },
}

impl StoreError {
    /// Damage found in a file.
    pub(crate) fn corrupt(file: &str, detail: impl Into<String>) -> Self {
        Self::Corrupt { file: file.to_owned(), detail: detail.into() }
    }

    /// A failed call on a file. A file that ends too early is damage, not a failed call.
    pub(crate) fn io(file: &str, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::UnexpectedEof => Self::corrupt(file, "it ends too early"),
            io::ErrorKind::NotFound => Self::corrupt(file, "it is missing"),
            _ => Self::Io { file: file.to_owned(), source },
        }
    }

    /// A failed sync or rename.
    pub(crate) fn poisoned(file: &str, source: &io::Error) -> Self {
        Self::Poisoned { file: file.to_owned(), detail: source.to_string() }
    }
}
