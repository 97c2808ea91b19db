//! A blocked bloom filter: which keys are certainly not in a run, for one cache line a question.
//!
//! Invariant: no key that was inserted is denied. 20 bits a key, one block of 64 bytes a key, one bit in each of its
//! eight words: about 0.03 % of absent keys pass. At 16 bits 0.09 % do, and since a key asks some ten runs, half of all
//! buckets were read in vain. The block comes from the key's upper half, in the order of the run, so that a merge fills
//! blocks front to back; the bits come from the lower 48 bits.

use crate::error::StoreError;
use crate::file::{RunFile, RunWriter, WRITE_BUFFER_BYTES};
use adsum_model::prefetch::fetch;

const BITS_PER_KEY: u64 = 20;
/// Bytes of a block.
pub(crate) const BLOCK_BYTES: usize = 64;

#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
struct Block([u64; 8]);

/// The filter of one run.
pub(crate) struct Filter {
    blocks: Vec<Block>,
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Filter").field("blocks", &self.blocks.len()).finish()
    }
}

impl Filter {
    /// An empty one, for at most `keys` keys.
    pub(crate) fn sized_for(keys: u64) -> Self {
        let blocks = (keys * BITS_PER_KEY).div_ceil(BLOCK_BYTES as u64 * 8).max(1);
        Self { blocks: vec![Block::default(); blocks as usize] }
    }

    /// How many blocks.
    pub(crate) fn len(&self) -> u64 {
        self.blocks.len() as u64
    }

    fn block_of(&self, key: u128) -> usize {
        super::share_of(key, self.blocks.len() as u64)
    }

    /// Adds a key.
    pub(crate) fn insert(&mut self, key: u128) {
        let at = self.block_of(key);
        let bits = key as u64;
        for (i, word) in self.blocks[at].0.iter_mut().enumerate() {
            *word |= 1 << ((bits >> (6 * i)) & 63);
        }
    }

    /// Asks the processor to fetch the key's block, and returns which it is.
    pub(crate) fn prefetch(&self, key: u128) -> u32 {
        let at = self.block_of(key);
        fetch(&self.blocks[at]);
        at as u32
    }

    /// Whether the key may be in the run; `block` is what [`Self::prefetch`] returned for it.
    pub(crate) fn may_hold(&self, key: u128, block: u32) -> bool {
        let words = &self.blocks[block as usize].0;
        let bits = key as u64;
        let bit = |i: usize| words[i] >> ((bits >> (6 * i)) & 63);
        // Three words deny 19 of 20 absent keys, so that the branch is foreseen nearly always.
        (bit(0) & bit(1) & bit(2)) & 1 != 0 && (bit(3) & bit(4) & bit(5) & bit(6) & bit(7)) & 1 != 0
    }

    /// Writes the blocks and returns their CRC-32.
    pub(crate) fn write(&self, out: &mut RunWriter) -> Result<u32, StoreError> {
        let mut crc = crc32fast::Hasher::new();
        let mut bytes = Vec::with_capacity(WRITE_BUFFER_BYTES);
        for blocks in self.blocks.chunks(WRITE_BUFFER_BYTES / BLOCK_BYTES) {
            bytes.clear();
            for word in blocks.iter().flat_map(|b| b.0) {
                bytes.extend_from_slice(&word.to_le_bytes());
            }
            crc.update(&bytes);
            out.put(&bytes)?;
        }
        Ok(crc.finalize())
    }

    /// Reads the `count` blocks that begin at `at`.
    pub(crate) fn read(file: &RunFile, at: u64, count: u64, crc: u32) -> Result<Self, StoreError> {
        let mut blocks = Vec::with_capacity(count as usize);
        let mut hasher = crc32fast::Hasher::new();
        let mut bytes = vec![0; WRITE_BUFFER_BYTES];
        let (mut at, end) = (at, at + count * BLOCK_BYTES as u64);
        while at < end {
            let part = &mut bytes[..(end - at).min(WRITE_BUFFER_BYTES as u64) as usize];
            file.read(part, at)?;
            hasher.update(part);
            at += part.len() as u64;
            blocks.extend(part.chunks_exact(BLOCK_BYTES).map(|block| {
                let mut words = [0; 8];
                for (word, bytes) in words.iter_mut().zip(block.chunks_exact(8)) {
                    *word = u64::from_le_bytes(bytes.try_into().expect("chunks of eight bytes"));
                }
                Block(words)
            }));
        }
        if blocks.is_empty() || hasher.finalize() != crc {
            return Err(file.corrupt("its filter does not match its checksum"));
        }
        Ok(Self { blocks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xxhash_rust::xxh3::xxh3_128;

    #[test]
    fn holds_what_was_inserted_and_denies_nearly_all_else() {
        let key = |i: u64| xxh3_128(&i.to_le_bytes());
        let mut filter = Filter::sized_for(100_000);
        (0..100_000).for_each(|i| filter.insert(key(i)));
        let holds = |i: u64| filter.may_hold(key(i), filter.prefetch(key(i)));
        assert!((0..100_000).all(holds));
        let wrong = (100_000..1_100_000).filter(|&i| holds(i)).count();
        assert!(wrong < 500, "{wrong} of a million absent keys pass");
    }
}
