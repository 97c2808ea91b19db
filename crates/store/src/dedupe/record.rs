//! A dedupe record as a run holds it: key and content whole, place and time in as few bits as the run needs.
//!
//! Invariant: what was packed comes back. A run's footer names the least and the greatest time and offset, so that a
//! record holds only how far above the least it lies; times that are all whole milliseconds or seconds are counted in
//! those. Keys and contents are hashes: they have no shorter form. Not here: checksums.

use adsum_model::id::{ContentHash, DedupeKey, Offset};
use adsum_model::state::DedupeRecord;
use adsum_model::time::EventTime;

use crate::bytes::Reader;

/// Bytes of key and content.
const HASH_BYTES: usize = 24;

/// What times are counted in, as a power of 1,000 of microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum TimeUnit {
    Micros = 0,
    Millis = 1,
    Seconds = 2,
}

impl TimeUnit {
    fn of(micros: i64) -> Self {
        match micros {
            t if t % 1_000 != 0 => Self::Micros,
            t if t % 1_000_000 != 0 => Self::Millis,
            _ => Self::Seconds,
        }
    }

    /// How many whole ones; by constants, since dividing by a variable takes several times as long.
    fn count(self, micros: u64) -> u64 {
        match self {
            Self::Micros => micros,
            Self::Millis => micros / 1_000,
            Self::Seconds => micros / 1_000_000,
        }
    }

    fn micros(self) -> u64 {
        [1, 1_000, 1_000_000][self as usize]
    }
}

/// What the records of a run lie within.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    time_least: i64,
    time_greatest: i64,
    unit: TimeUnit,
    offset_least: u64,
    offset_greatest: u64,
    has_imports: bool,
}

impl Span {
    /// That of no record.
    pub(super) const NONE: Self = Self {
        time_least: i64::MAX,
        time_greatest: i64::MIN,
        unit: TimeUnit::Seconds,
        offset_least: u64::MAX,
        offset_greatest: 0,
        has_imports: false,
    };

    /// With a record.
    #[inline]
    pub(super) fn with(self, record: &DedupeRecord) -> Self {
        let (time, offset) = (record.occurred_at.micros(), record.offset.get());
        self.and(&Self {
            time_least: time,
            time_greatest: time,
            unit: if self.unit == TimeUnit::Micros { self.unit } else { TimeUnit::of(time) },
            offset_least: offset,
            offset_greatest: offset,
            has_imports: record.import,
        })
    }

    /// What the records of both lie within.
    pub(super) fn and(self, other: &Self) -> Self {
        Self {
            time_least: self.time_least.min(other.time_least),
            time_greatest: self.time_greatest.max(other.time_greatest),
            unit: self.unit.min(other.unit),
            offset_least: self.offset_least.min(other.offset_least),
            offset_greatest: self.offset_greatest.max(other.offset_greatest),
            has_imports: self.has_imports || other.has_imports,
        }
    }

    /// Whether its offsets leave room for the import's bit.
    pub(super) fn is_storable(&self) -> bool {
        self.offset_greatest >> 63 == 0
    }

    /// Whether every record has ended by `line`: an import's never does.
    pub(super) fn has_ended(&self, line: EventTime) -> bool {
        !self.has_imports && self.time_greatest < line.micros()
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.time_least.to_le_bytes());
        out.extend_from_slice(&self.time_greatest.to_le_bytes());
        out.extend_from_slice(&self.offset_least.to_le_bytes());
        out.extend_from_slice(&self.offset_greatest.to_le_bytes());
        out.extend_from_slice(&[self.unit as u8, u8::from(self.has_imports)]);
    }

    /// `None` for what no run has.
    pub(super) fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let [time_least, time_greatest] = [reader.i64()?, reader.i64()?];
        let [offset_least, offset_greatest] = [reader.u64()?, reader.u64()?];
        let unit = match reader.u8()? {
            0 => TimeUnit::Micros,
            1 => TimeUnit::Millis,
            2 => TimeUnit::Seconds,
            _ => return None,
        };
        let has_imports = match reader.u8()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let span = Self { time_least, time_greatest, unit, offset_least, offset_greatest, has_imports };
        let is_in_order = time_least <= time_greatest && offset_least <= offset_greatest;
        (is_in_order && span.is_storable()).then_some(span)
    }
}

/// How the records of a run are packed: a function of its span.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packing {
    time_least: i64,
    unit: TimeUnit,
    offset_least: u64,
    /// Bits of the offset above the least; the import's bit lies below them, the time above.
    offset_bits: u32,
    /// All bits of offset, import and time.
    mask: u128,
    /// Bytes of those.
    place_bytes: usize,
}

fn bits(value: u64) -> u32 {
    u64::BITS - value.leading_zeros()
}

impl Packing {
    pub(super) fn of(span: &Span) -> Self {
        let offset_bits = bits(span.offset_greatest.saturating_sub(span.offset_least));
        let time_bits = bits(span.unit.count(span.time_greatest.wrapping_sub(span.time_least) as u64));
        let place_bits = offset_bits + 1 + time_bits;
        Self {
            time_least: span.time_least,
            unit: span.unit,
            offset_least: span.offset_least,
            offset_bits,
            mask: u128::MAX >> (u128::BITS - place_bits),
            place_bytes: place_bits.div_ceil(8) as usize,
        }
    }

    /// Bytes of a record.
    #[inline]
    pub(super) fn record_bytes(&self) -> usize {
        self.place_bytes + HASH_BYTES
    }

    /// Adds a record that lies within the span.
    #[inline]
    pub(super) fn push(&self, record: &DedupeRecord, out: &mut Vec<u8>) {
        let time = self.unit.count(record.occurred_at.micros().wrapping_sub(self.time_least) as u64);
        let offset = record.offset.get() - self.offset_least;
        let place = (u128::from(time) << self.offset_bits | u128::from(offset)) << 1 | u128::from(record.import);
        let hashes = out.len() + self.place_bytes;
        // Whole and then cut, since copies of a length known beforehand are but a few instructions.
        out.extend_from_slice(&place.to_le_bytes());
        out.truncate(hashes);
        out.extend_from_slice(&record.content.get().to_le_bytes());
        out.extend_from_slice(&record.key.get().to_be_bytes());
    }

    /// The key of the record that begins there.
    #[inline]
    pub(super) fn key(&self, bytes: &[u8]) -> u128 {
        let at = self.place_bytes + 8;
        u128::from_be_bytes(bytes[at..at + 16].try_into().expect("sixteen bytes"))
    }

    /// The record that begins there.
    #[inline]
    pub(super) fn record(&self, bytes: &[u8]) -> DedupeRecord {
        let at = self.place_bytes;
        // Hashes follow, so that there are always sixteen bytes.
        let place = u128::from_le_bytes(bytes[..16].try_into().expect("sixteen bytes")) & self.mask;
        let offset = (place >> 1) as u64 & !(u64::MAX << self.offset_bits);
        let time = (place >> 1 >> self.offset_bits) as u64;
        DedupeRecord {
            key: DedupeKey::new(self.key(bytes)),
            content: ContentHash::new(u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))),
            occurred_at: EventTime::from_micros(
                self.time_least.wrapping_add(time.wrapping_mul(self.unit.micros()) as i64),
            ),
            offset: Offset::new(self.offset_least.wrapping_add(offset)),
            import: place & 1 != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: u128, time: i64, offset: u64, import: bool) -> DedupeRecord {
        DedupeRecord {
            key: DedupeKey::new(key),
            content: ContentHash::new(!(key as u64)),
            occurred_at: EventTime::from_micros(time),
            offset: Offset::new(offset),
            import,
        }
    }

    #[test]
    fn table_of_spans() {
        let greatest = (1 << 63) - 1;
        // Times and offsets of a run, and how many bytes offset, import and time take.
        let cases: &[(&[i64], &[u64], usize)] = &[
            (&[0], &[0], 1),
            (&[5], &[greatest], 1),
            (&[1_000, 256_000], &[7, 7], 2),
            (&[1_000, 128_000], &[7, 7], 1),
            (&[1_000, 128_001], &[7, 7], 3),
            (&[-3_000_000, 60_000_000], &[100, 101], 1),
            (&[i64::MIN, i64::MAX], &[0, greatest], 16),
            (&[i64::MIN, i64::MAX], &[3, 3], 9),
            (&[0, 3_600_000_000_000], &[1 << 40, (1 << 40) + 100_000_000], 7),
            (&[0, 3_600_001_000_000, 1_000], &[1 << 40, (1 << 40) + 100_000_000], 8),
        ];
        for &(times, offsets, bytes) in cases {
            let records: Vec<DedupeRecord> = (times.iter())
                .flat_map(|&t| offsets.iter().flat_map(move |&o| [false, true].map(|i| record(u128::MAX / 3, t, o, i))))
                .collect();
            let span = records.iter().fold(Span::NONE, Span::with);
            let packing = Packing::of(&span);
            assert_eq!(packing.record_bytes() - HASH_BYTES, bytes, "{times:?} {offsets:?}");
            let mut out = Vec::new();
            records.iter().for_each(|r| packing.push(r, &mut out));
            let back: Vec<DedupeRecord> = out.chunks(packing.record_bytes()).map(|b| packing.record(b)).collect();
            assert_eq!(back, records);
            let mut footer = Vec::new();
            span.encode(&mut footer);
            assert_eq!(Span::decode(&mut Reader::new(&footer)), Some(span));
            assert!(!span.has_ended(EventTime::from_micros(i64::MAX)), "imports never end");
        }
    }

    #[test]
    fn a_span_ends_with_its_last_record() {
        let span = Span::NONE.with(&record(1, 5, 1, false)).with(&record(2, 9, 2, false));
        assert!(!span.has_ended(EventTime::from_micros(9)));
        assert!(span.has_ended(EventTime::from_micros(10)));
    }
}
