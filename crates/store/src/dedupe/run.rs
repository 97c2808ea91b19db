//! One run of dedupe records: sorted by key, in buckets by the key's upper bits, a filter and a directory behind.
//!
//! Invariant: the directory has for each bucket its first record and the CRC-32 of its records; filter and directory
//! stay in memory, records are read one bucket at a time. Layout: header, records, filter, directory, footer.

use std::path::Path;

use adsum_disk::Disk;
use adsum_model::prefetch::fetch;
use adsum_model::state::DedupeRecord;
use adsum_model::time::EventTime;

use super::filter::{BLOCK_BYTES, Filter};
use super::record::{Packing, Span};
use super::share_of;
use crate::bytes::Reader;
use crate::error::StoreError;
use crate::file::{HEADER_BYTES, RunFile, RunKind, RunSeal};

/// Bytes of a bucket in the directory.
pub(super) const DIRECTORY_ENTRY_BYTES: usize = 8;
/// Records that a bucket has on average: about 500 bytes. A look-up copies and checks a whole bucket, and its time is
/// mostly that of memory that no cache has; the directory takes half a byte a key.
pub(super) const BUCKET_RECORDS: u64 = 16;

/// A bucket: its first record and the CRC-32 of its records.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    pub(super) start: u32,
    pub(super) crc: u32,
}

/// What the footer of a run says.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeysFooter {
    pub(super) records: u32,
    pub(super) buckets: u32,
    pub(super) filter_blocks: u64,
    pub(super) filter_crc: u32,
    pub(super) directory_crc: u32,
    pub(super) span: Span,
}

impl KeysFooter {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        out.extend_from_slice(&self.records.to_le_bytes());
        out.extend_from_slice(&self.buckets.to_le_bytes());
        out.extend_from_slice(&self.filter_blocks.to_le_bytes());
        out.extend_from_slice(&self.filter_crc.to_le_bytes());
        out.extend_from_slice(&self.directory_crc.to_le_bytes());
        self.span.encode(&mut out);
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut r = Reader::new(bytes);
        let footer = Self {
            records: r.u32()?,
            buckets: r.u32()?,
            filter_blocks: r.u64()?,
            filter_crc: r.u32()?,
            directory_crc: r.u32()?,
            span: Span::decode(&mut r)?,
        };
        r.is_empty().then_some(footer)
    }

    /// Where filter, directory and footer begin; `None` when that leaves 64 bits.
    fn places(&self) -> Option<[u64; 3]> {
        let record_bytes = Packing::of(&self.span).record_bytes() as u64;
        let filter = HEADER_BYTES + u64::from(self.records) * record_bytes;
        let directory = filter.checked_add(self.filter_blocks.checked_mul(BLOCK_BYTES as u64)?)?;
        let end = directory.checked_add(u64::from(self.buckets) * DIRECTORY_ENTRY_BYTES as u64)?;
        Some([filter, directory, end])
    }
}

/// A run that is read.
#[derive(Debug)]
pub(crate) struct KeysRun {
    file: RunFile,
    footer: KeysFooter,
    pub(super) packing: Packing,
    pub(super) filter: Filter,
    buckets: Vec<Bucket>,
}

impl KeysRun {
    /// Opens the run that the manifest names, with its filter and directory.
    pub(crate) fn open(disk: &dyn Disk, dir: &Path, seal: RunSeal) -> Result<Self, StoreError> {
        let (file, footer) = RunFile::open(disk, dir, RunKind::Keys, seal)?;
        let footer = KeysFooter::decode(&footer).ok_or_else(|| file.corrupt("its footer does not decode"))?;
        let [filter_at, directory_at, _] = footer
            .places()
            .filter(|p| p[2] == file.content_end())
            .ok_or_else(|| file.corrupt("its footer contradicts its length"))?;
        let filter = Filter::read(&file, filter_at, footer.filter_blocks, footer.filter_crc)?;
        let mut bytes = Vec::new();
        let len = footer.buckets as usize * DIRECTORY_ENTRY_BYTES;
        file.read_checked(&mut bytes, directory_at, len, footer.directory_crc)?;
        let mut reader = Reader::new(&bytes);
        let buckets: Option<Vec<Bucket>> =
            (0..footer.buckets).map(|_| Some(Bucket { start: reader.u32()?, crc: reader.u32()? })).collect();
        let buckets = buckets
            .filter(|b| !b.is_empty() && b.is_sorted_by_key(|b| b.start))
            .filter(|b| b[0].start == 0 && b[b.len() - 1].start <= footer.records);
        let buckets = buckets.ok_or_else(|| file.corrupt("its directory is not in order"))?;
        Ok(Self::opened(file, footer, filter, buckets))
    }

    /// A run that was just written: filter and directory are still at hand.
    pub(super) fn opened(file: RunFile, footer: KeysFooter, filter: Filter, buckets: Vec<Bucket>) -> Self {
        Self { packing: Packing::of(&footer.span), file, footer, filter, buckets }
    }

    /// What the manifest names it by.
    pub(crate) fn seal(&self) -> RunSeal {
        self.file.seal()
    }

    /// How many records it has.
    pub(crate) fn len(&self) -> u64 {
        u64::from(self.footer.records)
    }

    /// What its records lie within.
    pub(super) fn span(&self) -> &Span {
        &self.footer.span
    }

    /// Bytes that it holds in memory.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.filter.len() * BLOCK_BYTES as u64 + self.buckets.len() as u64 * DIRECTORY_ENTRY_BYTES as u64
    }

    /// Whether every record of it has ended by `line`.
    pub(crate) fn has_ended(&self, line: EventTime) -> bool {
        self.footer.span.has_ended(line)
    }

    /// How many buckets it has.
    pub(super) fn bucket_count(&self) -> usize {
        self.buckets.len()
    }

    fn bucket_end(&self, bucket: usize) -> u32 {
        self.buckets.get(bucket + 1).map_or(self.footer.records, |b| b.start)
    }

    /// Where records lie in the file, and how many bytes they take.
    fn stretch(&self, from: u32, to: u32) -> (u64, usize) {
        let bytes = self.packing.record_bytes();
        (HEADER_BYTES + u64::from(from) * bytes as u64, (to - from) as usize * bytes)
    }

    fn check_bucket(&self, bucket: usize, bytes: &[u8]) -> Result<(), StoreError> {
        if crc32fast::hash(bytes) == self.buckets[bucket].crc {
            Ok(())
        } else {
            Err(self.file.corrupt(format!("bucket {bucket} does not match its checksum")))
        }
    }

    /// Reads the records of the buckets from `first` on, whole buckets up to about `bytes_wanted`, into `buf`, and
    /// returns the first bucket that was not read.
    pub(super) fn read_buckets(
        &self,
        first: usize,
        bytes_wanted: usize,
        buf: &mut Vec<u8>,
    ) -> Result<usize, StoreError> {
        let start = self.buckets[first].start;
        let mut end = first + 1;
        while end < self.buckets.len() && self.stretch(start, self.bucket_end(end)).1 <= bytes_wanted {
            end += 1;
        }
        let (at, len) = self.stretch(start, self.bucket_end(end - 1));
        buf.resize(len, 0);
        self.file.read(buf, at)?;
        let mut rest = buf.as_slice();
        for bucket in first..end {
            let (_, len) = self.stretch(self.buckets[bucket].start, self.bucket_end(bucket));
            let (records, others) = rest.split_at(len);
            self.check_bucket(bucket, records)?;
            rest = others;
        }
        Ok(end)
    }

    /// Asks the processor for a key's place in the directory.
    pub(super) fn prefetch_bucket(&self, key: u128) {
        fetch(&self.buckets[share_of(key, self.buckets.len() as u64)]);
    }

    /// The record of a key, from its bucket on the disk; nothing, and the bucket on its way into memory, if that would
    /// have to wait for the disk.
    pub(super) fn find_at_once(
        &self,
        key: u128,
        buf: &mut Vec<u8>,
    ) -> Result<Option<Option<DedupeRecord>>, StoreError> {
        let bucket = share_of(key, self.buckets.len() as u64);
        let (at, len) = self.stretch(self.buckets[bucket].start, self.bucket_end(bucket));
        buf.resize(len, 0);
        if !self.file.read_at_once(buf, at)? {
            return Ok(None);
        }
        self.check_bucket(bucket, buf)?;
        Ok(Some(self.search(key, buf)))
    }

    /// The record of a key, from its bucket on the disk.
    pub(super) fn find(&self, key: u128, buf: &mut Vec<u8>) -> Result<Option<DedupeRecord>, StoreError> {
        self.read_buckets(share_of(key, self.buckets.len() as u64), 0, buf)?;
        Ok(self.search(key, buf))
    }

    fn search(&self, key: u128, records: &[u8]) -> Option<DedupeRecord> {
        let bytes = self.packing.record_bytes();
        let (mut from, mut to) = (0, records.len() / bytes);
        while from < to {
            let middle = (from + to) / 2;
            let record = &records[middle * bytes..];
            match self.packing.key(record).cmp(&key) {
                std::cmp::Ordering::Less => from = middle + 1,
                std::cmp::Ordering::Greater => to = middle,
                std::cmp::Ordering::Equal => return Some(self.packing.record(record)),
            }
        }
        None
    }
}
