//! The dedupe records that are not committed yet: a table that only grows until it is taken for a checkpoint.
//!
//! Keys are uniform hashes already, so a place is some of their bits. Invariant: of one key the latest record stands.

use adsum_model::id::DedupeKey;
use adsum_model::prefetch::fetch;
use adsum_model::scattered::scattered;
use adsum_model::state::DedupeRecord;

/// Records since the last checkpoint.
pub(crate) struct Memtable {
    /// Entry number plus one in the low half, 0 in an empty place; some bits of the key in the high half, so that
    /// another key's entry is hardly ever looked at. A power of two long.
    places: Vec<u64>,
    entries: Vec<DedupeRecord>,
}

/// Bits of a key that choose neither its slot nor its place.
#[inline]
fn tag_of(key: DedupeKey) -> u64 {
    (key.get() >> 64) as u64 & 0xFFFF_FFFF
}

impl Default for Memtable {
    fn default() -> Self {
        Self { places: vec![0; 1024], entries: Vec::new() }
    }
}

impl Memtable {
    #[inline]
    fn place_of(&self, key: DedupeKey) -> usize {
        // The top bits choose the slot; these lie below them.
        key.get() as usize & (self.places.len() - 1)
    }

    /// Asks the processor for the place of a key that is looked up soon.
    #[inline]
    pub fn prefetch(&self, key: DedupeKey) {
        fetch(&self.places[self.place_of(key)]);
    }

    /// The record of a key.
    #[inline]
    pub fn find(&self, key: DedupeKey) -> Option<&DedupeRecord> {
        let mut place = self.place_of(key);
        loop {
            match self.places[place] {
                0 => return None,
                n if n >> 32 == tag_of(key) => {
                    let entry = &self.entries[n as u32 as usize - 1];
                    if entry.key == key {
                        return Some(entry);
                    }
                }
                _ => {}
            }
            place = (place + 1) & (self.places.len() - 1);
        }
    }

    /// Adds a record, or puts it in the place of an older one with its key.
    pub fn insert(&mut self, record: DedupeRecord) {
        if (self.entries.len() + 1) * 2 > self.places.len() {
            self.grow();
        }
        let mut place = self.place_of(record.key);
        loop {
            match self.places[place] {
                0 => break,
                n if n >> 32 == tag_of(record.key) && self.entries[n as u32 as usize - 1].key == record.key => {
                    self.entries[n as u32 as usize - 1] = record;
                    return;
                }
                _ => place = (place + 1) & (self.places.len() - 1),
            }
        }
        self.entries.push(record);
        let number = u32::try_from(self.entries.len()).expect("a checkpoint comes long before 2^32 records");
        self.places[place] = tag_of(record.key) << 32 | u64::from(number);
    }

    fn grow(&mut self) {
        let len = self.places.len() * 2;
        self.places = scattered(len, 0);
        for i in 0..self.entries.len() {
            let mut place = self.place_of(self.entries[i].key);
            while self.places[place] != 0 {
                place = (place + 1) & (len - 1);
            }
            self.places[place] = tag_of(self.entries[i].key) << 32 | (i as u64 + 1);
        }
    }

    /// Begins anew, with the table's memory kept.
    pub fn clear(&mut self) {
        self.places.fill(0);
        self.entries.clear();
    }

    /// The records.
    pub fn records(&self) -> &[DedupeRecord] {
        &self.entries
    }
}
