//! The dedupe index: which keys were counted, in runs sorted by key with a filter before each.
//!
//! Invariant: of equal keys the record with the greatest offset wins, and runs are in the order of the log, so that
//! the newest run that holds a key answers for it. An import's record is always the last of its key, because it never
//! ends; so dropping ended records uncovers none that has not ended. Memory holds filters (16 bits a key) and
//! directories (about 0.1 bytes a key), never records. Keys are uniformly distributed hashes: others would be found
//! as rightly, but not as fast.

mod filter;
mod lookup;
mod merge;
mod run;
mod write;

use adsum_model::id::{ContentHash, DedupeKey, Offset};
use adsum_model::state::DedupeRecord;
use adsum_model::time::EventTime;

use crate::error::StoreError;

pub(crate) use lookup::lookup;
pub(crate) use merge::{each_newest, merge};
pub(crate) use run::KeysRun;
pub(crate) use write::flush;

/// Bytes of a record in a run.
pub(crate) const RECORD_BYTES: usize = 40;
const IMPORT_BIT: u64 = 1 << 63;

/// Whether a record no longer answers: below the line, and not of an import.
pub(crate) fn has_ended(record: &DedupeRecord, line: EventTime) -> bool {
    !record.import && record.occurred_at < line
}

/// A record as a run holds it: the key big endian, so that bytes order as keys do.
fn encode(record: &DedupeRecord) -> [u8; RECORD_BYTES] {
    let mut bytes = [0; RECORD_BYTES];
    bytes[..16].copy_from_slice(&record.key.get().to_be_bytes());
    bytes[16..24].copy_from_slice(&record.content.get().to_le_bytes());
    bytes[24..32].copy_from_slice(&record.occurred_at.micros().to_le_bytes());
    let place = record.offset.get() | if record.import { IMPORT_BIT } else { 0 };
    bytes[32..].copy_from_slice(&place.to_le_bytes());
    bytes
}

fn word(bytes: &[u8; RECORD_BYTES], at: usize) -> [u8; 8] {
    bytes[at..at + 8].try_into().expect("eight bytes within a record")
}

fn key_of(bytes: &[u8; RECORD_BYTES]) -> u128 {
    u128::from_be_bytes(bytes[..16].try_into().expect("sixteen bytes within a record"))
}

fn offset_of(bytes: &[u8; RECORD_BYTES]) -> u64 {
    u64::from_le_bytes(word(bytes, 32)) & !IMPORT_BIT
}

fn decode(bytes: &[u8; RECORD_BYTES]) -> DedupeRecord {
    let place = u64::from_le_bytes(word(bytes, 32));
    DedupeRecord {
        key: DedupeKey::new(key_of(bytes)),
        content: ContentHash::new(u64::from_le_bytes(word(bytes, 16))),
        occurred_at: EventTime::from_micros(i64::from_le_bytes(word(bytes, 24))),
        offset: Offset::new(place & !IMPORT_BIT),
        import: place & IMPORT_BIT != 0,
    }
}

/// The place of a key among `count` equal shares of all keys: by its upper half.
fn share_of(key: u128, count: u64) -> usize {
    let upper = (key >> 64) as u64;
    ((u128::from(upper) * u128::from(count)) >> 64) as usize
}

/// An offset that does not leave room for the import bit cannot be stored.
fn check_offset(record: &DedupeRecord, file: &str) -> Result<(), StoreError> {
    if record.offset.get() & IMPORT_BIT == 0 {
        Ok(())
    } else {
        Err(StoreError::Stale { detail: format!("{file}: offset {} is no offset", record.offset.get()) })
    }
}
