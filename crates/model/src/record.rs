//! Records: what the log keeps, as columns of one batch.
//!
//! A record is a head (kind, source, receivedAt, what the collector stamped) and the fields that it carries, as
//! spans into the batch's arena. Invariant: the fields of one record stand in ascending [`FieldIx`] order, which is
//! the byte order of their names, each at most once; unknown fields stand together in `$extra`.
//! Not here: bytes on disk (adsum-log) and what the engine folds ([`crate::rows`]).

use crate::catalog::{BillableType, FieldIx};
use crate::symbol::Symbol;
use crate::time::ReceivedAt;

/// What a record is. The numbers are part of log format v1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum RecordKind {
    /// An event that passed validation.
    Event = 1,
    /// A line or an event that failed it: `$code`, `$param`, `$raw`.
    Reject = 2,
    /// Time, told to the engine while a source is idle.
    Tick = 3,
    /// A quarantined event taken up again: `$target` is its offset, the fields are its fields.
    Replay = 4,
    /// An import begins: `$run`.
    ImportBegin = 5,
    /// How far an import has come in one file: `$path`, `$size`, `$head`, `$position`, `$line`, `$run`.
    ImportProgress = 6,
    /// An import ends, by its end or an operator's abort: `$run`, `$code`.
    ImportEnd = 7,
    /// A change of the metadata (campaigns, ads, tokens ...): `$code` says which, `$raw` is the change as JSON.
    Metadata = 8,
    /// The collector's clock is in doubt (`$code` is `begun`), or no more (`ended`, `confirmed`).
    ClockDoubt = 9,
}

impl RecordKind {
    /// Every kind of format v1.
    pub const ALL: [Self; 9] = [
        Self::Event,
        Self::Reject,
        Self::Tick,
        Self::Replay,
        Self::ImportBegin,
        Self::ImportProgress,
        Self::ImportEnd,
        Self::Metadata,
        Self::ClockDoubt,
    ];

    /// The kind with this number, if format v1 has one.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|k| *k as u8 == code)
    }
}

/// Which clock a record's source lives by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stream {
    /// Sent as it happens: the rules of future and age hold.
    #[default]
    Live = 0,
    /// An import on its own clock: no rules of future and age, keys that do not expire.
    Import = 1,
}

/// What the collector resolved and decided before the append. The engine trusts it and reads no database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// Live or import.
    pub stream: Stream,
    /// The campaign's billable type as of occurredAt; `None` on records that are no events.
    pub billable: Option<BillableType>,
    /// The campaign's currency as of occurredAt (an ISO 4217 code); null on records that are no events.
    pub currency: Symbol,
    /// The campaign found from adId; null where the sender named one, or none was found.
    pub campaign: Symbol,
    /// Bit i: the value of the catalog's dimension i was over its cardinality limit and counts as `other`.
    pub folded: u64,
}

/// The bit of an event's `$flags` that says that its campaign was out of flight: paused then, or not within its start
/// and end. Such an event counts and is billed.
pub const OUT_OF_FLIGHT_BIT: u64 = 1;

/// A record without its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHead {
    /// What it is.
    pub kind: RecordKind,
    /// The source's name; null on ticks.
    pub source: Symbol,
    /// When the collector took it in.
    pub received_at: ReceivedAt,
    /// What the collector stamped.
    pub stamp: Stamp,
    /// Where its fields begin in [`RecordBatch::spans`].
    pub span_start: u32,
    /// How many fields it has.
    pub span_count: u16,
}

/// How a field's value is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Form {
    /// UTF-8 text: `start`, `len` in the arena.
    Text = 1,
    /// Text that is a canonical lower-case UUID: `start` is an index into [`RecordBatch::uuids`].
    Uuid = 2,
    /// Text held as a [`Symbol`]: `start`.
    Symbol = 3,
    /// An integer from 0 to 2^64 - 1: `start` is its low half, `len` its high half.
    Uint = 4,
    /// A negative integer, two's complement of 64 bits, halves as above.
    Int = 5,
    /// A moment: microseconds since 1970 UTC as i64, halves as above.
    Time = 6,
    /// JSON text, kept as the sender wrote it: `start`, `len` in the arena.
    Json = 7,
    /// Any bytes: `start`, `len` in the arena.
    Bytes = 8,
}

impl Form {
    /// Every form of format v1.
    pub const ALL: [Self; 8] =
        [Self::Text, Self::Uuid, Self::Symbol, Self::Uint, Self::Int, Self::Time, Self::Json, Self::Bytes];
}

/// One field of one record: 12 bytes that point into the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Which field.
    pub field: FieldIx,
    /// How its value is held.
    pub form: Form,
    /// First half of the value, see [`Form`].
    pub start: u32,
    /// Second half of the value, see [`Form`].
    pub len: u32,
}

impl Span {
    /// A span over arena bytes.
    pub fn bytes(field: FieldIx, form: Form, start: usize, len: usize) -> Self {
        debug_assert!(matches!(form, Form::Text | Form::Json | Form::Bytes));
        Self { field, form, start: start as u32, len: len as u32 }
    }

    /// A span that holds 64 bits itself.
    pub fn wide(field: FieldIx, form: Form, value: u64) -> Self {
        debug_assert!(matches!(form, Form::Uint | Form::Int | Form::Time));
        Self { field, form, start: value as u32, len: (value >> 32) as u32 }
    }

    /// A span that holds a symbol.
    pub fn symbol(field: FieldIx, symbol: Symbol) -> Self {
        Self { field, form: Form::Symbol, start: symbol.get(), len: 0 }
    }

    /// The 64 bits of a `Uint`, `Int` or `Time`.
    pub fn as_wide(&self) -> u64 {
        u64::from(self.start) | (u64::from(self.len) << 32)
    }

    /// The symbol of a `Symbol`.
    pub fn as_symbol(&self) -> Symbol {
        Symbol::new(self.start)
    }

    /// The arena range of a `Text`, `Json` or `Bytes`.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.start as usize..self.start as usize + self.len as usize
    }
}

/// Records in log order, as columns.
///
/// The arena of one batch stays below 2^32 bytes: who fills it starts a new batch before that.
#[derive(Clone, Debug, Default)]
pub struct RecordBatch {
    /// Bytes that spans point into.
    pub arena: Vec<u8>,
    /// UUIDs that spans point into.
    pub uuids: Vec<[u8; 16]>,
    /// The fields of all records.
    pub spans: Vec<Span>,
    /// The records.
    pub heads: Vec<RecordHead>,
}

impl RecordBatch {
    /// How many records there are.
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// The fields of one record.
    pub fn fields(&self, head: &RecordHead) -> &[Span] {
        &self.spans[head.span_start as usize..head.span_start as usize + usize::from(head.span_count)]
    }

    /// One field of one record.
    pub fn field(&self, head: &RecordHead, field: FieldIx) -> Option<&Span> {
        self.fields(head).iter().find(|s| s.field == field)
    }

    /// Empties the batch and keeps its memory.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.uuids.clear();
        self.spans.clear();
        self.heads.clear();
    }

    /// Begins a record; its fields follow by [`Self::push`].
    pub fn begin(&mut self, kind: RecordKind, source: Symbol, received_at: ReceivedAt, stamp: Stamp) {
        let span_start = self.spans.len() as u32;
        self.heads.push(RecordHead { kind, source, received_at, stamp, span_start, span_count: 0 });
    }

    /// Adds a field to the record begun last. Fields come in ascending order.
    pub fn push(&mut self, span: Span) {
        self.spans.push(span);
        if let Some(head) = self.heads.last_mut() {
            head.span_count += 1;
        }
    }

    /// Adds text, JSON or bytes to the record begun last.
    pub fn push_bytes(&mut self, field: FieldIx, form: Form, bytes: &[u8]) {
        let start = self.arena.len();
        self.arena.extend_from_slice(bytes);
        self.push(Span::bytes(field, form, start, bytes.len()));
    }
}
