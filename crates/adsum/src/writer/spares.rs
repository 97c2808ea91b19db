//! Memory of records that were written, on its way back to who reads and decodes the next ones.
//!
//! It is allocated on one thread and let go on another, which is what allocators are slowest at. Invariant: no more is
//! kept than the limits say, and nobody is given much more than he asks for: what waits holds about the bytes that it is
//! counted by. Not here: what is in the memory, which is emptied first.

use adsum_model::record::{RecordBatch, RecordHead, Span};
use adsum_model::rows::{EventRow, Rows};
use adsum_model::symbol::Symbol;
use adsum_model::wire::Decoded;
use crossbeam_channel::{Receiver, Sender, bounded};

/// Pieces up to this size, those of single events, go round apart from larger ones.
const SMALL_BYTES_MAX: usize = 4 << 10;
/// Larger ones are let go.
const LARGE_BYTES_MAX: usize = 1 << 20;
/// How many small ones are kept, of each kind.
const SMALL_KEPT: usize = 1024;
/// How many larger ones are kept, of each kind.
const LARGE_KEPT: usize = 16;
/// A piece so many times larger than what it is wanted for is let go.
const EXCESS_MAX: usize = 4;

/// The memory of every kind.
pub struct Spares {
    texts: Kind<Vec<u8>>,
    records: Kind<RecordBatch>,
    rows: Kind<Rows>,
}

/// The memory of one kind.
struct Kind<T> {
    small: (Sender<T>, Receiver<T>),
    large: (Sender<T>, Receiver<T>),
    /// What a piece takes, in bytes.
    bytes: fn(&T) -> usize,
}

impl<T: Default> Kind<T> {
    fn new(bytes: fn(&T) -> usize) -> Self {
        Self { small: bounded(SMALL_KEPT), large: bounded(LARGE_KEPT), bytes }
    }

    /// A piece for what takes about so many bytes.
    fn take(&self, bytes: usize) -> T {
        let kept = if bytes <= SMALL_BYTES_MAX { &self.small } else { &self.large };
        let fits = |piece: &T| (self.bytes)(piece) <= EXCESS_MAX * bytes.max(SMALL_BYTES_MAX);
        kept.1.try_recv().ok().filter(fits).unwrap_or_default()
    }

    /// Keeps a piece, if there is room.
    fn give(&self, piece: T) {
        // What finds no room is let go.
        let _ = match (self.bytes)(&piece) {
            0..=SMALL_BYTES_MAX => self.small.0.try_send(piece),
            bytes if bytes <= LARGE_BYTES_MAX => self.large.0.try_send(piece),
            _ => return,
        };
    }
}

impl Spares {
    /// None yet.
    pub fn new() -> Self {
        Self { texts: Kind::new(Vec::capacity), records: Kind::new(records_bytes), rows: Kind::new(rows_bytes) }
    }

    /// Empty memory for a text of so many bytes.
    pub fn text(&self, bytes: usize) -> Vec<u8> {
        let mut text = self.texts.take(bytes);
        text.clear();
        text.reserve_exact(bytes);
        text
    }

    /// Memory for what a text of so many bytes is decoded into.
    pub fn decoded(&self, text_bytes: usize) -> Decoded {
        let mut decoded = Decoded { batch: self.records.take(text_bytes), rows: self.rows.take(text_bytes), blank: 0 };
        decoded.clear();
        decoded
    }

    /// Takes back the memory of records that are in the log.
    pub fn written(&self, mut records: RecordBatch) {
        self.texts.give(std::mem::take(&mut records.arena));
        self.records.give(records);
    }

    /// Takes back the memory of rows that were folded.
    pub fn folded(&self, rows: Rows) {
        self.rows.give(rows);
    }
}

fn records_bytes(records: &RecordBatch) -> usize {
    records.arena.capacity()
        + records.uuids.capacity() * size_of::<[u8; 16]>()
        + records.spans.capacity() * size_of::<Span>()
        + records.heads.capacity() * size_of::<RecordHead>()
}

fn rows_bytes(rows: &Rows) -> usize {
    rows.events.capacity() * size_of::<EventRow>() + rows.dimensions.capacity() * size_of::<Symbol>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_back_is_given_out_again_where_it_fits() {
        let with_text = |bytes: usize| RecordBatch { arena: Vec::with_capacity(bytes), ..RecordBatch::default() };
        // bytes of the text that comes back; bytes asked for; whether it is the same memory
        for (back, asked, same) in [
            (400, 300, true),
            (400, 5_000, false),
            (5_000, 300, false),
            (100_000, 90_000, true),
            (100_000, 5_000, false),
            (LARGE_BYTES_MAX, LARGE_BYTES_MAX, true),
            (LARGE_BYTES_MAX + 1, LARGE_BYTES_MAX, false),
        ] {
            let spares = Spares::new();
            let records = with_text(back);
            let place = records.arena.as_ptr();
            // The next piece is not put where the first one was, for that one is not let go before.
            let _kept = (!same).then(|| with_text(back));
            spares.written(records);
            let text = spares.text(asked);
            assert!(text.is_empty() && text.capacity() >= asked, "{back} {asked}");
            if same {
                assert_eq!(text.as_ptr(), place, "{back} {asked}");
            } else {
                assert!(text.capacity() < asked + back, "{back} {asked}");
            }
        }
    }

    #[test]
    fn no_more_is_kept_than_the_limits_say() {
        let spares = Spares::new();
        for bytes in [100, 100_000] {
            for _ in 0..2 * SMALL_KEPT {
                spares.written(RecordBatch { arena: Vec::with_capacity(bytes), ..RecordBatch::default() });
            }
        }
        assert_eq!((spares.texts.small.1.len(), spares.texts.large.1.len()), (SMALL_KEPT, LARGE_KEPT));
    }

    #[test]
    fn memory_comes_back_empty() {
        let spares = Spares::new();
        spares.written(RecordBatch { uuids: vec![[1; 16]], arena: vec![1], ..RecordBatch::default() });
        spares.folded(Rows { records: 1, dimensions: vec![Symbol::OTHER], ..Rows::default() });
        let decoded = spares.decoded(1);
        assert!(decoded.batch.uuids.is_empty() && decoded.rows.dimensions.is_empty() && decoded.rows.records == 0);
        assert!(decoded.batch.uuids.capacity() > 0 && decoded.rows.dimensions.capacity() > 0);
        assert!(spares.text(1).is_empty());
    }
}
