//! Short texts, found by comparing them as one number instead of byte by byte.
//!
//! Most values and names that a line holds have 1 to 16 bytes, or are UUIDs, which are 16 bytes too. Invariant: two
//! [`Short`]s are equal exactly when their texts are. Not here: what a text stands for; a table keeps plain numbers.

use crate::prefetch::fetch;
use crate::scattered::scattered;
use crate::wire::parse_uuid;

/// The length of a UUID's text in bytes.
pub(crate) const UUID_TEXT_BYTES: usize = 36;

/// Text of 1 to 16 bytes, or a canonical UUID, the first byte lowest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Short {
    value: u128,
    len: u32,
}

/// By length, the bytes of a 16-byte load that belong to the text.
const MASKS: [u128; 17] = {
    let mut masks = [0; 17];
    let mut len = 1;
    while len < 17 {
        masks[len] = u128::MAX >> (128 - 8 * len);
        len += 1;
    }
    masks
};

impl Short {
    /// `text[start..end]`, unless it is empty or longer than 16 bytes.
    #[inline(always)]
    pub fn of(text: &[u8], start: usize, end: usize) -> Option<Self> {
        let len = end - start;
        if len.wrapping_sub(1) >= 16 {
            return None;
        }
        // The usual text has 16 bytes of the line behind its beginning, so one load and a mask read it.
        let value = match text.get(start..).and_then(|rest| rest.first_chunk::<16>()) {
            Some(bytes) => u128::from_le_bytes(*bytes) & MASKS[len],
            None => text[start..end].iter().rev().fold(0, |value, &b| (value << 8) | u128::from(b)),
        };
        Some(Self { value, len: len as u32 })
    }

    /// Any text, unless it is empty, or longer and no UUID.
    pub fn of_text(text: &[u8]) -> Option<Self> {
        match text.try_into().ok().and_then(parse_uuid) {
            Some(uuid) => Some(Self::of_uuid(uuid)),
            None => Self::of(text, 0, text.len()),
        }
    }

    /// The first `len` of 16 bytes; none of none.
    #[inline(always)]
    pub fn of_load(bytes: &[u8; 16], len: usize) -> Option<Self> {
        if len == 0 {
            return None;
        }
        Some(Self { value: u128::from_le_bytes(*bytes) & MASKS.get(len)?, len: len as u32 })
    }

    /// The text of a UUID: no other has its length.
    #[inline(always)]
    pub fn of_uuid(uuid: [u8; 16]) -> Self {
        Self { value: u128::from_le_bytes(uuid), len: UUID_TEXT_BYTES as u32 }
    }

    /// The text's length in bytes.
    #[inline(always)]
    pub fn len(self) -> usize {
        self.len as usize
    }

    /// Its place in tables.
    #[inline(always)]
    pub fn hash(self) -> u64 {
        // Both halves of a full product: every bit of the value reaches every bit of the place.
        let low = self.value as u64 ^ 0x9E37_79B9_7F4A_7C15;
        let high = (self.value >> 64) as u64 ^ 0xC2B2_AE3D_27D4_EB4F ^ u64::from(self.len);
        let product = u128::from(low) * u128::from(high);
        product as u64 ^ (product >> 64) as u64
    }
}

/// A number and a word for each of many short texts: open addressing, at most half full.
pub(crate) struct ShortTable {
    /// A power of two of them.
    entries: Vec<Entry>,
    len: usize,
}

/// A text and what is kept for it, in half a cache line. A length of 0 marks an empty place.
#[derive(Clone, Copy, Default)]
#[repr(align(32))]
struct Entry {
    value: u128,
    len: u32,
    number: u32,
    word: u64,
}

impl Entry {
    fn text(self) -> Short {
        Short { value: self.value, len: self.len }
    }
}

impl ShortTable {
    /// An empty table with places for `capacity` texts, a power of two.
    pub fn new(capacity: usize) -> Self {
        Self { entries: scattered(capacity * 2, Entry::default()), len: 0 }
    }

    /// The number and the word kept for a text of this hash.
    #[inline(always)]
    pub fn get(&self, text: Short, hash: u64) -> Option<(u32, u64)> {
        let mask = self.entries.len().wrapping_sub(1);
        let mut place = hash as usize & mask;
        loop {
            let found = self.entries.get(place)?;
            if found.value == text.value && found.len == text.len {
                return Some((found.number, found.word));
            }
            if found.len == 0 {
                return None;
            }
            place = (place + 1) & mask;
        }
    }

    /// Asks the processor for the place of a text of this hash that is looked up soon.
    #[inline(always)]
    pub fn prefetch(&self, hash: u64) {
        if let Some(place) = self.entries.get(hash as usize & self.entries.len().wrapping_sub(1)) {
            fetch(place);
        }
    }

    /// Keeps a number and a word for a text that the table does not have.
    pub fn insert(&mut self, text: Short, number: u32, word: u64) {
        if self.len * 2 >= self.entries.len() {
            let grown = scattered(self.entries.len() * 2, Entry::default());
            let old = std::mem::replace(&mut self.entries, grown);
            for entry in old.into_iter().filter(|entry| entry.len > 0) {
                self.place(entry);
            }
        }
        self.place(Entry { value: text.value, len: text.len, number, word });
        self.len += 1;
    }

    fn place(&mut self, entry: Entry) {
        let mask = self.entries.len() - 1;
        let mut place = entry.text().hash() as usize & mask;
        while self.entries[place].len > 0 {
            place = (place + 1) & mask;
        }
        self.entries[place] = entry;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_of_a_line_is_found_and_no_other() {
        let line: Vec<u8> = (0..200_u8).map(|i| i.wrapping_mul(37) % 5 + b'a').collect();
        let mut table = ShortTable::new(8);
        let mut kept = std::collections::HashMap::new();
        for start in 0..line.len() {
            for end in start..=(start + 20).min(line.len()) {
                let bytes = &line[start..end];
                let Some(text) = Short::of(&line, start, end) else {
                    assert!(bytes.is_empty() || bytes.len() > 16, "{bytes:?}");
                    continue;
                };
                assert_eq!(Short::of(bytes, 0, bytes.len()), Some(text), "the surroundings do not matter");
                assert_eq!(
                    table.get(text, text.hash()),
                    kept.get(bytes).map(|n: &u32| (*n, u64::from(*n) << 40)),
                    "{bytes:?}"
                );
                if !kept.contains_key(bytes) {
                    let number = kept.len() as u32;
                    table.insert(text, number, u64::from(number) << 40);
                    kept.insert(bytes.to_vec(), number);
                }
            }
        }
    }

    #[test]
    fn zero_bytes_and_lengths_tell_texts_apart() {
        let texts: [&[u8]; 4] = [b"a", b"a\0", b"\0", b"\0\0"];
        for (i, a) in texts.iter().enumerate() {
            for (j, b) in texts.iter().enumerate() {
                assert_eq!(Short::of(a, 0, a.len()) == Short::of(b, 0, b.len()), i == j, "{a:?} {b:?}");
            }
        }
    }
}
