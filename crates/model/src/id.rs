//! Ordinals and keys: where a record lies, which frame published it, which slot owns it.
//!
//! Invariant: each is its own type with a private field, so that an offset is never taken for a sequence.
//! Not here: the ids that senders choose; those are text and live in records.

macro_rules! ordinal {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// The first one.
            pub const ZERO: Self = Self(0);

            /// Wraps a plain number read from a versioned format.
            pub const fn new(value: u64) -> Self {
                Self(value)
            }

            /// The plain number, for a versioned format.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The one `count` places further.
            #[must_use]
            pub const fn plus(self, count: u64) -> Self {
                Self(self.0 + count)
            }
        }
    };
}

ordinal! {
    /// Where one record lies in its log partition: dense, counted in records from 0.
    Offset
}
ordinal! {
    /// The number of a frame (one group commit) in the log: dense, from 0.
    FrameSeq
}
ordinal! {
    /// Which state of the metadata (campaigns, ads) a record was resolved under.
    MetadataRevision
}

/// A data revision: the sequence of the frame that published it, plus one, so that 0 means "nothing yet".
///
/// It only grows, and a crash with a replay gives the same one again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(u64);

impl Revision {
    /// Before anything was published.
    pub const ZERO: Self = Self(0);

    /// Wraps a plain number read from a versioned format.
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The revision that the frame `seq` publishes.
    pub const fn of_frame(seq: FrameSeq) -> Self {
        Self(seq.get() + 1)
    }

    /// The plain number, for a versioned format.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl std::fmt::Display for Revision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rev_{}", self.0)
    }
}

/// Up to where a log was read: the next frame and the offset of its first record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The next frame.
    pub seq: FrameSeq,
    /// The offset that the next record has.
    pub offset: Offset,
}

/// A dedupe key: a 128-bit keyed hash of scope, rule and parts (see [`crate::hash`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DedupeKey(u128);

/// How many fixed slots the work is spread over, whatever the number of workers.
pub const SLOT_COUNT: usize = 64;

impl DedupeKey {
    /// Wraps a hash.
    pub const fn new(value: u128) -> Self {
        Self(value)
    }

    /// The hash.
    pub const fn get(self) -> u128 {
        self.0
    }

    /// The slot that owns this key: its top six bits.
    pub const fn slot(self) -> Slot {
        Slot((self.0 >> 122) as u8)
    }
}

/// One of the [`SLOT_COUNT`] fixed shares of the work; also the salt of the two-stage aggregation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u8);

impl Slot {
    /// As an index below [`SLOT_COUNT`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A 64-bit hash of an event's content, version 1 (see [`crate::hash`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash(u64);

impl ContentHash {
    /// Wraps a hash.
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The hash.
    pub const fn get(self) -> u64 {
        self.0
    }
}
