//! What is committed as one: dedupe records, table rows, quarantine, clocks and the positions of imports.
//!
//! Invariant: a [`Checkpoint`] holds everything that the frames before its position changed since the last one, so
//! that a store with it and the log behind it is the whole state. Not here: how a store keeps it.

use crate::id::{ContentHash, DedupeKey, Offset, Position, Revision};
use crate::table::TableRows;
use crate::time::{EventTime, ReceivedAt};

/// The first event of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DedupeRecord {
    /// The key.
    pub key: DedupeKey,
    /// Its content: tells a duplicate from a conflict.
    pub content: ContentHash,
    /// When it happened: the key ends when this lies below the line that judges a newcomer.
    pub occurred_at: EventTime,
    /// Where it lies in the log.
    pub offset: Offset,
    /// Whether it came by an import: such a key never ends.
    pub import: bool,
}

/// Why an accepted event does not count, or a line was rejected. The numbers are part of the store's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum QuarantineReason {
    /// Further in the future than allowed.
    Future = 1,
    /// Below the acceptance line.
    TooOld = 2,
    /// The key of a counted event with other content.
    Conflict = 3,
    /// In another currency than its campaign's.
    Currency = 4,
    /// Failed validation: listed, never replayed, not part of `quarantined`.
    Rejected = 5,
}

impl QuarantineReason {
    /// Every reason.
    pub const ALL: [Self; 5] = [Self::Future, Self::TooOld, Self::Conflict, Self::Currency, Self::Rejected];

    /// Its name in API and ledger.
    pub fn name(self) -> &'static str {
        match self {
            Self::Future => "future",
            Self::TooOld => "too_old",
            Self::Conflict => "conflict",
            Self::Currency => "foreign_currency",
            Self::Rejected => "rejected",
        }
    }

    /// The reason with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|r| *r as u8 == code)
    }
}

/// One entry of the quarantine; its record lies in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuarantineEntry {
    /// Where the record lies; also the entry's id (`qr_<offset>`).
    pub offset: Offset,
    /// Why.
    pub reason: QuarantineReason,
    /// When it was received: the hour of the ledger in which it stands.
    pub received_at: ReceivedAt,
}

/// The clock of the live partition, or of one import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClockState {
    /// The import's source; `None` is the live partition.
    pub import: Option<String>,
    /// The watermark.
    pub watermark: EventTime,
    /// The acceptance line. Imports have none: the least time.
    pub line: EventTime,
}

/// How far a file of an unfinished import run was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportFile {
    /// The run that it belongs to.
    pub run: String,
    /// The source that it was imported as.
    pub source: String,
    /// Its path as given.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// XXH3-64 of its first MiB.
    pub head: u64,
    /// Bytes of its text (after decompression) that are in the log.
    pub position: u64,
    /// Lines of it that are in the log.
    pub line: u64,
    /// Whether it was read to its end.
    pub finished: bool,
    /// What became of its lines so far, as [`crate::ledger::LedgerColumn`] orders them.
    pub figures: Vec<i64>,
}

/// The state that is small enough to be written whole with every checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SmallState {
    /// The clocks.
    pub clocks: Vec<ClockState>,
    /// Files of import runs that are not finished.
    pub imports: Vec<ImportFile>,
    /// Whether the collector's clock is in doubt.
    pub clock_in_doubt: bool,
}

/// What the frames before `through` changed since the last checkpoint.
#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    /// The next frame to fold.
    pub through: Position,
    /// The revision of the last frame folded.
    pub revision: Revision,
    /// New dedupe records, in any order; of one key the one with the greatest offset stands.
    pub dedupe: Vec<Vec<DedupeRecord>>,
    /// Dedupe records of live sources that lie below this line have ended and may be dropped.
    pub dedupe_line: EventTime,
    /// Rows to add, by table (as the store's schemas).
    pub rows: Vec<Vec<TableRows>>,
    /// Entries that came into quarantine.
    pub quarantined: Vec<QuarantineEntry>,
    /// Entries that left it by a replay.
    pub released: Vec<Offset>,
    /// The small state, whole.
    pub small: SmallState,
}
