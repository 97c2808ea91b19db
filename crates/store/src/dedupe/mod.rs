//! The dedupe index: which keys were counted, in runs sorted by key with a filter before each.
//!
//! Invariant: of equal keys the record with the greatest offset wins, and runs are in the order of the log, so that
//! the newest run that holds a key answers for it. An import's record is always the last of its key, because it never
//! ends; so dropping ended records uncovers none that has not ended. Memory holds filters (20 bits a key) and
//! directories (4 bits a key), never records. Keys are uniformly distributed hashes: others would be found
//! as rightly, but not as fast.

mod filter;
mod lookup;
mod merge;
mod record;
mod run;
mod write;

use adsum_model::state::DedupeRecord;
use adsum_model::time::EventTime;

pub(crate) use lookup::lookup;
pub(crate) use merge::{each_newest, merge};
pub(crate) use run::KeysRun;
pub(crate) use write::flush;

/// Whether a record no longer answers: below the line, and not of an import.
pub(crate) fn has_ended(record: &DedupeRecord, line: EventTime) -> bool {
    !record.import && record.occurred_at < line
}

/// The place of a key among `count` equal shares of all keys: by its upper half.
fn share_of(key: u128, count: u64) -> usize {
    let upper = (key >> 64) as u64;
    ((u128::from(upper) * u128::from(count)) >> 64) as usize
}
