//! The events: the nth key, its content, its time and its place, all functions of n.
//!
//! Invariant: nothing is remembered, so that any record can be checked at any time against what it must be.

use adsum_model::catalog::{BillableType, EventTypeIx};
use adsum_model::id::{ContentHash, DedupeKey, Offset};
use adsum_model::rows::{EventRow, RowFlags, Rows};
use adsum_model::state::DedupeRecord;
use adsum_model::symbol::Symbol;
use adsum_model::time::{EventTime, ReceivedAt};

/// When the first event is received, in microseconds since 1970.
const BEGIN_MICROS: u64 = 1_788_000_000_000_000;
/// 10,000 events a second.
const STEP_MICROS: u64 = 100;
/// How much later than it happened an event is received, at most.
const DELAY_MICROS_MAX: u64 = 60_000_000;

fn mixed(number: u64) -> u64 {
    let z = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The nth of the numbers that one seed draws (splitmix64).
fn drawn(seed: u64, n: u64) -> u64 {
    mixed(seed.wrapping_add(n.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
}

/// What is sent: new keys, and at even intervals one that was new before.
#[derive(Clone, Copy)]
pub struct Events {
    /// Of so many events one is old.
    pub old_every: u64,
    /// What the events have in common.
    pub event_type: EventTypeIx,
    /// Where they come from.
    pub source: Symbol,
    /// Their currency.
    pub currency: Symbol,
}

impl Events {
    /// How many of the first `count` events are new.
    pub fn new_before(&self, count: u64) -> u64 {
        count - count / self.old_every
    }

    /// The record that the nth new event must leave.
    pub fn record(&self, n: u64) -> DedupeRecord {
        let key = u128::from(drawn(1, n)) << 64 | u128::from(drawn(2, n));
        // The last of each group is the old one.
        let offset = n + n / (self.old_every - 1);
        let delay = ((u128::from(drawn(3, n)) * u128::from(DELAY_MICROS_MAX)) >> 64) as u64;
        let micros = (BEGIN_MICROS + offset * STEP_MICROS - delay) / 1000 * 1000;
        DedupeRecord {
            key: DedupeKey::new(key),
            content: ContentHash::new(drawn(4, n)),
            occurred_at: EventTime::from_micros(micros as i64),
            offset: Offset::new(offset),
            import: false,
        }
    }

    /// A key that nobody sends.
    pub fn absent(&self, n: u64) -> DedupeKey {
        DedupeKey::new(u128::from(drawn(5, n)) << 64 | u128::from(drawn(6, n)))
    }

    /// Which new event is sent again by the event at `offset`, or which is sent for the first time.
    fn number_at(&self, offset: u64) -> u64 {
        let new = self.new_before(offset);
        match (offset + 1).is_multiple_of(self.old_every) {
            true => ((u128::from(drawn(7, offset)) * u128::from(new)) >> 64) as u64,
            false => new,
        }
    }

    /// The events from `first` on, `count` of them.
    pub fn rows(&self, first: u64, count: u32, dimensions: usize, rows: &mut Rows) {
        rows.clear();
        rows.records = count;
        rows.dimensions.resize(count as usize * dimensions, Symbol::NULL);
        rows.events.extend((0..count).map(|ordinal| {
            let offset = first + u64::from(ordinal);
            let record = self.record(self.number_at(offset));
            EventRow {
                key: record.key,
                content: record.content,
                occurred_at: record.occurred_at,
                received_at: ReceivedAt::from_micros((BEGIN_MICROS + offset * STEP_MICROS) as i64),
                price_micros: 0,
                value_micros: 0,
                user: 0,
                target: Offset::ZERO,
                ordinal,
                source: self.source,
                currency: self.currency,
                event_type: self.event_type,
                billable: BillableType::Cpm,
                flags: RowFlags::default(),
            }
        }));
    }

    /// When the log had so many events.
    pub fn appended_at(&self, offset: u64) -> ReceivedAt {
        ReceivedAt::from_micros((BEGIN_MICROS + offset * STEP_MICROS) as i64)
    }
}
