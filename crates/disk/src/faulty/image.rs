//! The bytes of one file: as a reader sees them, and as they lie on the platter.
//!
//! Invariant: blocks that are neither dirty nor lost are equal in both. Not here: the file's name.

use std::collections::BTreeSet;

use super::Choices;

/// The unit of a torn write; a power loss may also choose eight of them, a page.
const BLOCK: usize = 512;
const PAGE_BLOCKS: usize = 8;

#[derive(Default)]
pub(super) struct Image {
    seen: Vec<u8>,
    kept: Vec<u8>,
    /// Blocks written since the last sync.
    dirty: BTreeSet<usize>,
    /// Blocks whose sync failed: no later sync writes them, unless they are written again.
    lost: BTreeSet<usize>,
    /// Whether the length changed since the last sync.
    len_dirty: bool,
}

impl Image {
    pub(super) fn durable(bytes: Vec<u8>) -> Self {
        Self { kept: bytes.clone(), seen: bytes, ..Self::default() }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.seen
    }

    fn touch(&mut self, from: usize, to: usize) {
        if from == to {
            return;
        }
        self.len_dirty = true;
        for block in from / BLOCK..=(to - 1) / BLOCK {
            self.dirty.insert(block);
            self.lost.remove(&block);
        }
    }

    pub(super) fn append(&mut self, bytes: &[u8]) {
        let from = self.seen.len();
        self.seen.extend_from_slice(bytes);
        self.touch(from, self.seen.len());
    }

    /// Cuts or stretches the file; says how many bytes became free.
    pub(super) fn truncate(&mut self, len: u64) -> u64 {
        let (before, len) = (self.seen.len(), usize::try_from(len).unwrap_or(usize::MAX));
        self.seen.resize(len, 0);
        self.len_dirty |= before != len;
        if len > before {
            self.touch(before, len);
        } else {
            let end = len.div_ceil(BLOCK);
            self.dirty.retain(|block| *block < end);
            self.lost.retain(|block| *block < end);
        }
        before.saturating_sub(len) as u64
    }

    pub(super) fn sync(&mut self) {
        if self.len_dirty {
            self.kept.resize(self.seen.len(), 0);
            self.len_dirty = false;
        }
        for block in std::mem::take(&mut self.dirty) {
            self.keep(block, usize::MAX);
        }
    }

    /// The blocks count as clean and are not written: a later sync says Ok and does nothing for them.
    pub(super) fn fail_sync(&mut self) {
        self.lost.append(&mut self.dirty);
        self.len_dirty = false;
    }

    /// Writes up to `count` bytes of a block to the platter, as far as both have it.
    fn keep(&mut self, block: usize, count: usize) {
        let start = block * BLOCK;
        let end = (start + BLOCK.min(count)).min(self.seen.len()).min(self.kept.len());
        if start < end {
            self.kept[start..end].copy_from_slice(&self.seen[start..end]);
        }
    }

    pub(super) fn lose_power(&mut self, choices: &mut Choices) {
        let (old, new) = (self.kept.len(), self.seen.len());
        if old != new {
            let len = match choices.below(3) {
                0 => old,
                1 => new,
                // A file that grew may have any length between; a cut either happened or not.
                _ if new > old => old + choices.below((new - old) as u64 + 1) as usize,
                _ => old,
            };
            self.kept.resize(len, 0);
        }
        let blocks: BTreeSet<usize> = self.dirty.union(&self.lost).copied().collect();
        let page = if choices.coin() { PAGE_BLOCKS } else { 1 };
        let mood = choices.below(4);
        let mut fates: Option<(usize, u64)> = None;
        for block in blocks {
            // All of one page share their fate; some crashes keep nearly all, some nearly nothing.
            let fate = match fates {
                Some((group, fate)) if group == block / page => fate,
                _ => match mood {
                    0 => 0,
                    1 => 1,
                    _ => choices.below(3),
                },
            };
            fates = Some((block / page, fate));
            match fate {
                0 => {}
                1 => self.keep(block, usize::MAX),
                _ => {
                    let part = choices.below(BLOCK as u64) as usize;
                    self.keep(block, part);
                }
            }
        }
        self.seen.clone_from(&self.kept);
        self.dirty.clear();
        self.lost.clear();
        self.len_dirty = false;
    }
}
