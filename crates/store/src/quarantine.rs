//! Quarantine in runs: entries and releases, sorted by offset.
//!
//! Invariant: of one offset the newest run decides; within a checkpoint a release wins over an entry, and a later
//! entry over a former. A release is kept until a merge that includes the oldest run. Memory holds 16 bytes for each
//! 256 entries. Layout: header; blocks of 256 records of 17 bytes (offset, receivedAt, reason; 0 is a release);
//! footer: number of records, then first offset and CRC-32 of each block.

use std::path::Path;
use std::sync::Arc;

use adsum_disk::Disk;
use adsum_model::id::Offset;
use adsum_model::state::{QuarantineEntry, QuarantineReason};
use adsum_model::time::ReceivedAt;

use crate::bytes::Reader;
use crate::error::StoreError;
use crate::file::{HEADER_BYTES, RunFile, RunKind, RunSeal, RunWriter};

const RECORD_BYTES: usize = 17;
const BLOCK_RECORDS: usize = 256;

/// What a run says of an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It is in quarantine.
    Held(QuarantineEntry),
    /// It left.
    Released(Offset),
}

impl Mark {
    pub(crate) fn offset(&self) -> Offset {
        match self {
            Self::Held(entry) => entry.offset,
            Self::Released(offset) => *offset,
        }
    }

    /// The entry, unless it left.
    pub(crate) fn held(self) -> Option<QuarantineEntry> {
        match self {
            Self::Held(entry) => Some(entry),
            Self::Released(_) => None,
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        let (received_at, reason) = match self {
            Self::Held(entry) => (entry.received_at.micros(), entry.reason as u8),
            Self::Released(_) => (0, 0),
        };
        out.extend_from_slice(&self.offset().get().to_le_bytes());
        out.extend_from_slice(&received_at.to_le_bytes());
        out.push(reason);
    }

    fn decode(r: &mut Reader<'_>) -> Option<Self> {
        let (offset, micros, code) = (Offset::new(r.u64()?), r.i64()?, r.u8()?);
        if code == 0 {
            return Some(Self::Released(offset));
        }
        let reason = QuarantineReason::from_code(code)?;
        Some(Self::Held(QuarantineEntry { offset, reason, received_at: ReceivedAt::from_micros(micros) }))
    }
}

/// What a checkpoint says of each offset that it names, by offset.
pub(crate) fn marks_of(entries: &[QuarantineEntry], released: &[Offset]) -> Vec<Mark> {
    let held = entries.iter().map(|&entry| Mark::Held(entry));
    let mut marks: Vec<Mark> = held.chain(released.iter().map(|&offset| Mark::Released(offset))).collect();
    // Stable, so that the last of an offset stands behind the others: releases came last.
    marks.sort_by_key(Mark::offset);
    let last = |i: usize| marks.get(i + 1).is_none_or(|next| next.offset() != marks[i].offset());
    (0..marks.len()).filter(|&i| last(i)).map(|i| marks[i]).collect()
}

#[derive(Clone, Copy, Debug)]
struct BlockEntry {
    first: Offset,
    crc: u32,
}

/// A run that is read.
#[derive(Debug)]
pub(crate) struct QuarantineRun {
    file: RunFile,
    records: usize,
    blocks: Vec<BlockEntry>,
}

impl QuarantineRun {
    /// Opens the run that the manifest names.
    pub(crate) fn open(disk: &dyn Disk, dir: &Path, seal: RunSeal) -> Result<Self, StoreError> {
        let (file, footer) = RunFile::open(disk, dir, RunKind::Quarantine, seal)?;
        let mut reader = Reader::new(&footer);
        let decoded = (|| {
            let records = reader.u32()? as usize;
            let blocks = (0..records.div_ceil(BLOCK_RECORDS))
                .map(|_| Some(BlockEntry { first: Offset::new(reader.u64()?), crc: reader.u32()? }))
                .collect::<Option<Vec<_>>>()?;
            let end = HEADER_BYTES + records as u64 * RECORD_BYTES as u64;
            (reader.is_empty() && end == file.content_end()).then_some((records, blocks))
        })();
        let (records, blocks) = decoded.ok_or_else(|| file.corrupt("its footer does not decode"))?;
        Ok(Self { file, records, blocks })
    }

    /// What the manifest names it by.
    pub(crate) fn seal(&self) -> RunSeal {
        self.file.seal()
    }

    /// Bytes that it holds in memory.
    pub(crate) fn resident_bytes(&self) -> u64 {
        (self.blocks.len() * size_of::<BlockEntry>()) as u64
    }

    fn read_block(&self, block: usize) -> Result<Vec<Mark>, StoreError> {
        let first = block * BLOCK_RECORDS;
        let count = BLOCK_RECORDS.min(self.records - first);
        let at = HEADER_BYTES + (first * RECORD_BYTES) as u64;
        let mut bytes = Vec::new();
        self.file.read_checked(&mut bytes, at, count * RECORD_BYTES, self.blocks[block].crc)?;
        let mut reader = Reader::new(&bytes);
        let marks = (0..count).map(|_| Mark::decode(&mut reader)).collect::<Option<Vec<_>>>();
        marks.ok_or_else(|| self.file.corrupt(format!("block {block} does not decode")))
    }

    /// The block in which an offset would lie.
    fn block_of(&self, offset: Offset) -> Option<usize> {
        self.blocks.partition_point(|b| b.first <= offset).checked_sub(1)
    }
}

fn write(
    disk: &dyn Disk,
    dir: &Path,
    id: u64,
    marks: impl Iterator<Item = Result<Mark, StoreError>>,
) -> Result<Option<QuarantineRun>, StoreError> {
    let mut marks = marks.peekable();
    if marks.peek().is_none() {
        return Ok(None);
    }
    let mut out = RunWriter::create(disk, dir, RunKind::Quarantine, id)?;
    let (mut records, mut index, mut block) = (0_u32, Vec::new(), Vec::new());
    while let Some(mark) = marks.next() {
        let mark = mark?;
        if block.is_empty() {
            index.extend_from_slice(&mark.offset().get().to_le_bytes());
        }
        mark.put(&mut block);
        records += 1;
        if block.len() == BLOCK_RECORDS * RECORD_BYTES || marks.peek().is_none() {
            index.extend_from_slice(&crc32fast::hash(&block).to_le_bytes());
            out.put(&block)?;
            block.clear();
        }
    }
    let mut footer = records.to_le_bytes().to_vec();
    footer.append(&mut index);
    let seal = out.finish(&footer)?;
    QuarantineRun::open(disk, dir, seal).map(Some)
}

/// Writes what a checkpoint says; `None` when it says nothing.
pub(crate) fn flush(
    disk: &dyn Disk,
    dir: &Path,
    id: u64,
    entries: &[QuarantineEntry],
    released: &[Offset],
) -> Result<Option<QuarantineRun>, StoreError> {
    write(disk, dir, id, marks_of(entries, released).into_iter().map(Ok))
}

/// Merges runs (oldest first); releases are dropped when these are the oldest of all. `None` when nothing is left.
pub(crate) fn merge(
    disk: &dyn Disk,
    dir: &Path,
    id: u64,
    runs: &[Arc<QuarantineRun>],
    are_oldest: bool,
) -> Result<Option<QuarantineRun>, StoreError> {
    let marks = Merged::new(runs, Offset::ZERO)?;
    let kept = marks.filter(|mark| !are_oldest || !matches!(mark, Ok(Mark::Released(_))));
    write(disk, dir, id, kept)
}

/// For each offset its entry, if it is in quarantine and did not leave. Offsets near one another read a block once.
pub(crate) fn find(
    runs: &[Arc<QuarantineRun>],
    offsets: &[Offset],
) -> Result<Vec<Option<QuarantineEntry>>, StoreError> {
    let mut read: Vec<(usize, Vec<Mark>)> = vec![(usize::MAX, Vec::new()); runs.len()];
    let mut find_one = |offset: &Offset| {
        for (run, (block_read, marks)) in runs.iter().zip(&mut read).rev() {
            let Some(block) = run.block_of(*offset) else { continue };
            if *block_read != block {
                *marks = run.read_block(block)?;
                *block_read = block;
            }
            if let Ok(at) = marks.binary_search_by_key(offset, Mark::offset) {
                return Ok(marks[at].held());
            }
        }
        Ok(None)
    };
    offsets.iter().map(&mut find_one).collect()
}

/// The entries from an offset on that did not leave, by offset.
pub(crate) fn list(
    runs: &[Arc<QuarantineRun>],
    from: Offset,
) -> Result<impl Iterator<Item = Result<QuarantineEntry, StoreError>>, StoreError> {
    let marks = Merged::new(runs, from)?;
    Ok(marks.filter_map(|mark| mark.map(Mark::held).transpose()))
}

/// Reads one run in order.
struct Stream<'a> {
    run: &'a QuarantineRun,
    next_block: usize,
    marks: std::vec::IntoIter<Mark>,
    head: Option<Mark>,
}

impl Stream<'_> {
    fn advance(&mut self) -> Result<(), StoreError> {
        self.head = self.marks.next();
        if self.head.is_none() && self.next_block < self.run.blocks.len() {
            self.marks = self.run.read_block(self.next_block)?.into_iter();
            self.next_block += 1;
            self.head = self.marks.next();
        }
        Ok(())
    }
}

/// The marks of several runs (oldest first) by offset, each offset once. It ends behind an error.
struct Merged<'a> {
    streams: Vec<Stream<'a>>,
}

impl<'a> Merged<'a> {
    fn new(runs: &'a [Arc<QuarantineRun>], from: Offset) -> Result<Self, StoreError> {
        let mut streams = Vec::with_capacity(runs.len());
        for run in runs {
            let next_block = run.block_of(from).unwrap_or(0);
            let mut stream = Stream { run, next_block, marks: Vec::new().into_iter(), head: None };
            stream.advance()?;
            while stream.head.is_some_and(|h| h.offset() < from) {
                stream.advance()?;
            }
            streams.push(stream);
        }
        Ok(Self { streams })
    }

    fn step(&mut self, offset: Offset) -> Result<Option<Mark>, StoreError> {
        let mut newest = None;
        for stream in &mut self.streams {
            if let Some(mark) = stream.head.filter(|h| h.offset() == offset) {
                newest = Some(mark);
                stream.advance()?;
            }
        }
        Ok(newest)
    }
}

impl Iterator for Merged<'_> {
    type Item = Result<Mark, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let offset = self.streams.iter().filter_map(|s| s.head.map(|h| h.offset())).min()?;
        let step = self.step(offset);
        if step.is_err() {
            self.streams.clear();
        }
        step.transpose()
    }
}
