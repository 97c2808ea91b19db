//! The conservation ledger: a table of counts by source and hour of receivedAt.
//!
//! Invariant: received = accepted + rejected, accepted = counted + duplicates + quarantined. Replays and ticks have
//! columns of their own. A replay moves one event from `quarantined` to what it then is, in the event's own hour.

use crate::state::QuarantineReason;
use crate::table::TableSchema;

/// A column of the ledger. The ids are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u16)]
pub enum LedgerColumn {
    /// Events and lines taken in.
    Received = 1,
    /// Of those, valid.
    Accepted = 2,
    /// Of those, not valid.
    Rejected = 3,
    /// Accepted and counted.
    Counted = 4,
    /// Accepted, but seen before.
    Duplicates = 5,
    /// Accepted, but not countable: all reasons.
    Quarantined = 6,
    /// Quarantined as too far in the future.
    Future = 7,
    /// Quarantined as too old.
    TooOld = 8,
    /// Quarantined as conflict.
    Conflicts = 9,
    /// Quarantined for their currency.
    ForeignCurrency = 10,
    /// Replay records.
    Replays = 11,
    /// Replays of what is not in quarantine, or was rejected: they change nothing.
    ReplaysRefused = 12,
    /// Of the counted, those of sources whose dedupe is off: nobody can say that they count once.
    WithoutDedupe = 13,
    /// Ticks and the collector's words on its clock; they have no source.
    Ticks = 14,
    /// Changes of the metadata.
    Metadata = 15,
}

impl LedgerColumn {
    /// Every column, in the order of the table.
    pub const ALL: [Self; 15] = [
        Self::Received,
        Self::Accepted,
        Self::Rejected,
        Self::Counted,
        Self::Duplicates,
        Self::Quarantined,
        Self::Future,
        Self::TooOld,
        Self::Conflicts,
        Self::ForeignCurrency,
        Self::Replays,
        Self::ReplaysRefused,
        Self::WithoutDedupe,
        Self::Ticks,
        Self::Metadata,
    ];

    /// Its place in a row.
    pub const fn index(self) -> usize {
        self as usize - 1
    }

    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Counted => "counted",
            Self::Duplicates => "duplicates",
            Self::Quarantined => "quarantined",
            Self::Future => "future",
            Self::TooOld => "tooOld",
            Self::Conflicts => "conflicts",
            Self::ForeignCurrency => "foreignCurrency",
            Self::Replays => "replays",
            Self::ReplaysRefused => "replaysRefused",
            Self::WithoutDedupe => "withoutDedupe",
            Self::Ticks => "ticks",
            Self::Metadata => "metadata",
        }
    }

    /// The column that counts this reason of quarantine.
    pub fn of_reason(reason: QuarantineReason) -> Self {
        match reason {
            QuarantineReason::Future => Self::Future,
            QuarantineReason::TooOld => Self::TooOld,
            QuarantineReason::Conflict => Self::Conflicts,
            QuarantineReason::Currency => Self::ForeignCurrency,
            QuarantineReason::Rejected => Self::Rejected,
        }
    }
}

/// How many columns the ledger has.
pub const LEDGER_COLUMNS: usize = LedgerColumn::ALL.len();

/// One row of the ledger: a count for each column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgerCounts([i64; LEDGER_COLUMNS]);

impl LedgerCounts {
    /// From the columns of a row.
    pub fn from_values(values: &[i64]) -> Self {
        let mut counts = Self::default();
        for (to, from) in counts.0.iter_mut().zip(values) {
            *to = *from;
        }
        counts
    }

    /// The columns, in order.
    pub fn values(&self) -> &[i64; LEDGER_COLUMNS] {
        &self.0
    }

    /// One count.
    pub fn get(&self, column: LedgerColumn) -> i64 {
        self.0[column.index()]
    }

    /// Adds to one count.
    pub fn add(&mut self, column: LedgerColumn, count: i64) {
        self.0[column.index()] += count;
    }

    /// Adds every count of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (to, from) in self.0.iter_mut().zip(&other.0) {
            *to += from;
        }
    }

    /// Adds an event's way into quarantine (`sign` 1) or out of it (-1).
    pub fn quarantine(&mut self, reason: QuarantineReason, sign: i64) {
        self.add(LedgerColumn::Quarantined, sign);
        self.add(LedgerColumn::of_reason(reason), sign);
    }

    /// The equations that do not hold, as text; none when the ledger balances.
    pub fn imbalances(&self) -> Vec<String> {
        use LedgerColumn as C;
        let equations = [
            (C::Received, vec![C::Accepted, C::Rejected]),
            (C::Accepted, vec![C::Counted, C::Duplicates, C::Quarantined]),
            (C::Quarantined, vec![C::Future, C::TooOld, C::Conflicts, C::ForeignCurrency]),
        ];
        equations
            .iter()
            .filter_map(|(sum, parts)| {
                let (left, right) = (self.get(*sum), parts.iter().map(|c| self.get(*c)).sum::<i64>());
                let names: Vec<_> = parts.iter().map(|c| c.name()).collect();
                (left != right).then(|| format!("{} = {left}, but {} = {right}", sum.name(), names.join(" + ")))
            })
            .collect()
    }
}

/// The ledger as a table: its bucket is the hour of receivedAt, its key the source.
pub fn ledger_schema() -> TableSchema {
    TableSchema {
        name: "ledger".to_owned(),
        keys: vec!["source".to_owned()],
        columns: LedgerColumn::ALL.iter().map(|c| *c as u16).collect(),
    }
}
