//! The state hash: one number for everything counted, however it is laid out.
//!
//! It is the wrapping sum, modulo 2^128, of XXH3-128 over each item's bytes (numbers little endian, a text with its
//! length in 32 bits before it):
//! - a row of any table, summed over all runs, if one of its values is not 0: byte 1, table name, bucket (seconds,
//!   i64), for each key column byte 0 for null or byte 1 and the text, then for each value that is not 0 in order of
//!   column ids the id (u16) and the value (i64). The revision is left out;
//! - the newest record of a dedupe key, unless it has ended by the dedupe line: byte 2, key, content, occurred_at
//!   (microseconds), offset, byte 1 for an import and 0 else. Ended ones are left out, because merges drop them;
//! - an entry of quarantine that was not released: byte 3, offset, byte of the reason, receivedAt (microseconds).
//!
//! Invariant: sums commute, so that neither runs, merges nor checkpoints change it, nor how many workers there were.

use adsum_model::state::{DedupeRecord, QuarantineEntry};
use xxhash_rust::xxh3::xxh3_128;

use crate::ScanRow;
use crate::bytes::put_text;

/// The hash of a state. Equal states have equal hashes; it says nothing of watermarks, sketches and positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StateHash(u128);

impl StateHash {
    /// The number.
    pub const fn get(self) -> u128 {
        self.0
    }
}

impl std::fmt::Display for StateHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Adds up a state hash.
#[derive(Default)]
pub(crate) struct StateHasher {
    sum: u128,
    bytes: Vec<u8>,
}

impl StateHasher {
    /// Adds a row; `columns` are the ids of its values, ascending.
    pub(crate) fn row(&mut self, table: &str, columns: &[u16], row: &ScanRow<'_>) {
        if row.values.iter().all(|&v| v == 0) {
            return;
        }
        self.bytes.clear();
        self.bytes.push(1);
        put_text(&mut self.bytes, table);
        self.bytes.extend_from_slice(&row.bucket.seconds().to_le_bytes());
        for (column, &id) in row.keys.iter().enumerate() {
            match row.names.text(column, id) {
                None => self.bytes.push(0),
                Some(text) => {
                    self.bytes.push(1);
                    put_text(&mut self.bytes, text);
                }
            }
        }
        for (id, value) in columns.iter().zip(row.values).filter(|(_, v)| **v != 0) {
            self.bytes.extend_from_slice(&id.to_le_bytes());
            self.bytes.extend_from_slice(&value.to_le_bytes());
        }
        self.add();
    }

    fn of_record(record: &DedupeRecord) -> u128 {
        let mut bytes = [2; 42];
        bytes[1..17].copy_from_slice(&record.key.get().to_le_bytes());
        bytes[17..25].copy_from_slice(&record.content.get().to_le_bytes());
        bytes[25..33].copy_from_slice(&record.occurred_at.micros().to_le_bytes());
        bytes[33..41].copy_from_slice(&record.offset.get().to_le_bytes());
        bytes[41] = u8::from(record.import);
        xxh3_128(&bytes)
    }

    /// Adds the newest record of a key.
    pub(crate) fn record(&mut self, record: &DedupeRecord) {
        self.sum = self.sum.wrapping_add(Self::of_record(record));
    }

    /// Takes a record out again: a newer one of its key was found.
    pub(crate) fn take_record(&mut self, record: &DedupeRecord) {
        self.sum = self.sum.wrapping_sub(Self::of_record(record));
    }

    fn of_entry(entry: &QuarantineEntry) -> u128 {
        let mut bytes = [3; 18];
        bytes[1..9].copy_from_slice(&entry.offset.get().to_le_bytes());
        bytes[9] = entry.reason as u8;
        bytes[10..].copy_from_slice(&entry.received_at.micros().to_le_bytes());
        xxh3_128(&bytes)
    }

    /// Adds an entry of quarantine.
    pub(crate) fn entry(&mut self, entry: &QuarantineEntry) {
        self.sum = self.sum.wrapping_add(Self::of_entry(entry));
    }

    /// Takes an entry out again: it was released or replaced.
    pub(crate) fn take_entry(&mut self, entry: &QuarantineEntry) {
        self.sum = self.sum.wrapping_sub(Self::of_entry(entry));
    }

    fn add(&mut self) {
        self.sum = self.sum.wrapping_add(xxh3_128(&self.bytes));
    }

    /// The sum.
    pub(crate) fn finish(&self) -> StateHash {
        StateHash(self.sum)
    }
}
