//! What was handed to the log: frames of plain entries, as the senders wrote them.
//!
//! Invariant: entry after entry is record after record of the log, so that an entry's place is its offset. Not here:
//! what became of them, which only the oracle and the shipped code say.

/// An entry: one record of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A line of a sender, good or bad.
    Line {
        /// The source's name.
        source: String,
        /// Whether it comes by an import.
        import: bool,
        /// When it was taken in, microseconds since 1970.
        received_at: i64,
        /// What was sent.
        text: String,
    },
    /// Time passes.
    Tick {
        /// The time.
        at: i64,
    },
    /// The metadata changed; the frame's state is the new one.
    Metadata {
        /// Who changed it.
        source: String,
        /// When.
        at: i64,
    },
    /// The collector's clock is in doubt, or no more.
    ClockDoubt {
        /// Whether the doubt begins.
        begun: bool,
        /// When.
        at: i64,
    },
    /// A quarantined event is taken up again.
    Replay {
        /// Its offset.
        target: u64,
    },
    /// A record of an import run itself.
    Import {
        /// Its source.
        source: String,
        /// The run.
        run: String,
        /// What it says.
        mark: ImportMark,
        /// When it was written.
        at: i64,
    },
}

/// What a record of an import run says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportMark {
    /// The run begins.
    Begin,
    /// The lines of this frame end at this line of the file.
    Progress {
        /// Lines of the file so far.
        line: u64,
    },
    /// The run ends.
    End,
}

/// A frame: what became durable at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentFrame {
    /// When it was appended, microseconds since 1970.
    pub appended_at: i64,
    /// Which state of the metadata it was resolved under.
    pub metadata: usize,
    /// Its records.
    pub entries: Vec<Entry>,
}
