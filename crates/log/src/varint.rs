//! Integers in as few bytes as they need: LEB128, and zigzag for signed ones.
//!
//! Invariant: reading takes what writing gave, and an encoding over 64 bits or one cut short is `None`, not a panic.
//! Values below 2^28 go without a branch on their length: ids of strings mix lengths, and a mispredicted branch costs
//! more than the whole computation.

/// The most bytes an integer takes.
pub(crate) const VARINT_BYTES_MAX: usize = 10;

/// Maps small magnitudes of either sign to small numbers.
#[inline(always)]
pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The inverse of [`zigzag`].
#[inline(always)]
pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Writes an integer at the head of `place`; says how many bytes it takes.
#[inline(always)]
pub(crate) fn varint(place: &mut [u8; 16], value: u64) -> usize {
    if value < 1 << 28 {
        let v = value as u32;
        let len = (31 - (v | 1).leading_zeros()) / 7 + 1;
        let spread = (v & 0x7f) | ((v & 0x3f80) << 1) | ((v & 0x1f_c000) << 2) | ((v & 0xfe0_0000) << 3);
        let more = 0x0080_8080_u32 & ((1_u32 << (8 * (len - 1))) - 1);
        place[..4].copy_from_slice(&(spread | more).to_le_bytes());
        len as usize
    } else {
        varint_long(place, value)
    }
}

#[inline(never)]
fn varint_long(place: &mut [u8; 16], mut value: u64) -> usize {
    let mut len = 0;
    while value >= 0x80 {
        place[len] = value as u8 | 0x80;
        len += 1;
        value >>= 7;
    }
    place[len] = value as u8;
    len + 1
}

/// A buffer with room ahead of its end, so that small writes need no growth check.
#[derive(Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
    pos: usize,
}

impl Writer {
    /// Empties it and keeps its memory.
    pub(crate) fn clear(&mut self) {
        self.pos = 0;
    }

    /// How many bytes were written.
    pub(crate) fn len(&self) -> usize {
        self.pos
    }

    /// Makes room for `count` more bytes.
    #[inline(always)]
    pub(crate) fn reserve(&mut self, count: usize) {
        if self.bytes.len() - self.pos < count {
            self.grow(count);
        }
    }

    #[cold]
    fn grow(&mut self, count: usize) {
        let len = (self.pos + count).max(self.bytes.len() * 2).max(4096);
        self.bytes.resize(len, 0);
    }

    /// The room behind what was written: at least what was reserved.
    #[inline(always)]
    pub(crate) fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.pos..]
    }

    /// So many bytes of the room were written.
    #[inline(always)]
    pub(crate) fn advance(&mut self, count: usize) {
        debug_assert!(self.pos + count <= self.bytes.len());
        self.pos += count;
    }

    /// Writes bytes, and makes the room for them.
    #[inline]
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        self.bytes[self.pos..self.pos + bytes.len()].copy_from_slice(bytes);
        self.pos += bytes.len();
    }

    /// Writes an integer, and makes the room for it.
    pub(crate) fn put_varint(&mut self, value: u64) {
        let mut place = [0; 16];
        let len = varint(&mut place, value);
        self.put(&place[..len]);
    }

    /// Writes the count of `bytes` and the bytes.
    #[inline]
    pub(crate) fn put_text(&mut self, bytes: &[u8]) {
        self.put_varint(bytes.len() as u64);
        self.put(bytes);
    }

    /// What was written.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.pos]
    }

    /// What was written, to patch it.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.pos]
    }
}

/// Reads integers and runs of bytes from a slice.
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    pos: usize,
}

impl<'a> Cursor<'a> {
    /// At the first byte.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, pos: 0 }
    }

    /// Where it stands.
    #[inline(always)]
    pub(crate) fn pos(&self) -> usize {
        self.pos
    }

    /// Whether everything was read.
    #[inline(always)]
    pub(crate) fn is_at_end(&self) -> bool {
        self.pos >= self.bytes.len()
    }

    /// Reads an integer.
    #[inline(always)]
    pub(crate) fn varint(&mut self) -> Option<u64> {
        if let Some(four) = self.bytes.get(self.pos..self.pos + 4) {
            let word = u32::from_le_bytes([four[0], four[1], four[2], four[3]]);
            let ends = !word & 0x8080_8080;
            if ends != 0 {
                let bits = ends.trailing_zeros() + 1;
                let word = word & (u32::MAX >> (32 - bits));
                self.pos += (bits / 8) as usize;
                let value =
                    (word & 0x7f) | ((word >> 1) & 0x3f80) | ((word >> 2) & 0x1f_c000) | ((word >> 3) & 0xfe0_0000);
                return Some(u64::from(value));
            }
        }
        self.varint_long()
    }

    #[cold]
    #[inline(never)]
    fn varint_long(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for i in 0..VARINT_BYTES_MAX {
            let byte = *self.bytes.get(self.pos)?;
            self.pos += 1;
            if i == VARINT_BYTES_MAX - 1 && byte > 1 {
                return None;
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// Reads an integer that counts something in memory.
    #[inline(always)]
    pub(crate) fn count(&mut self) -> Option<usize> {
        usize::try_from(self.varint()?).ok()
    }

    /// Reads one byte.
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.pos)?;
        self.pos += 1;
        Some(byte)
    }

    /// Reads `count` bytes.
    #[inline(always)]
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.pos..self.pos.checked_add(count)?)?;
        self.pos += count;
        Some(taken)
    }

    /// Reads 16 bytes.
    #[inline(always)]
    pub(crate) fn sixteen(&mut self) -> Option<[u8; 16]> {
        self.take(16)?.try_into().ok()
    }

    /// Reads a count and so many bytes.
    #[inline(always)]
    pub(crate) fn text(&mut self) -> Option<&'a [u8]> {
        let count = self.count()?;
        self.take(count)
    }

    /// Reads a count and so much UTF-8.
    pub(crate) fn utf8(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.text()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_and_both_ends_of_it() {
        let mut values = vec![0, 1, u64::MAX, u64::MAX - 1];
        for bits in 1..64 {
            values.extend([(1_u64 << bits) - 1, 1 << bits, (1 << bits) + 1]);
        }
        let mut writer = Writer::default();
        for value in &values {
            writer.put_varint(*value);
            writer.put_varint(zigzag(*value as i64));
        }
        let mut cursor = Cursor::new(writer.bytes());
        for value in &values {
            assert_eq!(cursor.varint(), Some(*value));
            assert_eq!(cursor.varint().map(unzigzag), Some(*value as i64));
        }
        assert!(cursor.is_at_end());
    }

    #[test]
    fn what_no_writer_gives_is_none() {
        let cases: &[&[u8]] = &[b"", b"\x80", b"\x80\x80\x80\x80", &[0xff; 10], &[0x80; 11], b"\x05abcd"];
        for bytes in cases {
            assert_eq!(Cursor::new(bytes).text(), None, "{bytes:?}");
        }
    }
}
