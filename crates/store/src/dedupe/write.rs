//! Writing runs of dedupe records: a flush sorts what a checkpoint holds, a merge brings records already sorted.
//!
//! Invariant: records come to [`KeysWriter`] in ascending order of distinct keys. The flush deals records out by the
//! upper bits of their keys, then sorts small shares: keys are uniform, so that the shares are even.

use std::path::Path;

use adsum_disk::Disk;
use adsum_model::state::DedupeRecord;

use super::filter::Filter;
use super::record::{Packing, Span};
use super::run::{BUCKET_RECORDS, Bucket, DIRECTORY_ENTRY_BYTES, KeysFooter, KeysRun};
use super::share_of;
use crate::error::StoreError;
use crate::file::{RunFile, RunKind, RunWriter};
use adsum_model::prefetch::fetch;

/// Records of a share of the flush's sort, on average: they stay in the second cache.
const SHARE_RECORDS: u64 = 4096;
/// Shares at most: more would cost the address translation more than the sort gains.
const SHARES_MAX: u64 = 2048;
/// How far ahead of their use the flush fetches records.
const FETCH_AHEAD: usize = 16;

/// Writes one run.
pub(super) struct KeysWriter {
    out: RunWriter,
    filter: Filter,
    buckets: Vec<Bucket>,
    bucket_total: u64,
    /// Where the open bucket begins in the writer's buffer.
    bucket_at: usize,
    records: u64,
    span: Span,
    packing: Packing,
}

impl KeysWriter {
    /// For at most `records_max` records that lie within `span`.
    pub(super) fn create(
        disk: &dyn Disk,
        dir: &Path,
        id: u64,
        records_max: u64,
        span: Span,
    ) -> Result<Self, StoreError> {
        let out = RunWriter::create(disk, dir, RunKind::Keys, id)?;
        if u32::try_from(records_max).is_err() {
            return Err(StoreError::Stale { detail: format!("{records_max} records do not fit one run") });
        }
        let bucket_total = records_max.div_ceil(BUCKET_RECORDS).max(1);
        let mut buckets = Vec::with_capacity(bucket_total as usize);
        buckets.push(Bucket::default());
        let bucket_at = out.position() as usize;
        let filter = Filter::sized_for(records_max);
        let packing = Packing::of(&span);
        Ok(Self { out, filter, buckets, bucket_total, bucket_at, records: 0, span, packing })
    }

    /// Adds the record of the next key.
    pub(super) fn push(&mut self, record: &DedupeRecord) -> Result<(), StoreError> {
        let key = record.key.get();
        let bucket = share_of(key, self.bucket_total);
        while self.buckets.len() <= bucket {
            self.close_bucket()?;
            self.buckets.push(Bucket { start: self.records as u32, crc: 0 });
        }
        self.packing.push(record, self.out.buffer());
        self.filter.insert(key);
        self.records += 1;
        Ok(())
    }

    fn close_bucket(&mut self) -> Result<(), StoreError> {
        let crc = crc32fast::hash(&self.out.buffer()[self.bucket_at..]);
        self.buckets.last_mut().expect("one bucket is always open").crc = crc;
        self.out.drain()?;
        self.bucket_at = self.out.buffer().len();
        Ok(())
    }

    /// Ends the run; `None` when it has no records (its file is then the caller's to remove).
    pub(super) fn finish(mut self, disk: &dyn Disk, dir: &Path) -> Result<Option<KeysRun>, StoreError> {
        if self.records == 0 {
            return Ok(None);
        }
        self.close_bucket()?;
        while (self.buckets.len() as u64) < self.bucket_total {
            self.buckets.push(Bucket { start: self.records as u32, crc: crc32fast::hash(&[]) });
        }
        let filter_crc = self.filter.write(&mut self.out)?;
        let mut directory = Vec::with_capacity(self.buckets.len() * DIRECTORY_ENTRY_BYTES);
        for bucket in &self.buckets {
            directory.extend_from_slice(&bucket.start.to_le_bytes());
            directory.extend_from_slice(&bucket.crc.to_le_bytes());
        }
        self.out.put(&directory)?;
        let footer = KeysFooter {
            records: self.records as u32,
            buckets: self.buckets.len() as u32,
            filter_blocks: self.filter.len(),
            filter_crc,
            directory_crc: crc32fast::hash(&directory),
            span: self.span,
        };
        let seal = self.out.finish(&footer.encode())?;
        let (file, _) = RunFile::open(disk, dir, RunKind::Keys, seal)?;
        Ok(Some(KeysRun::opened(file, footer, self.filter, self.buckets)))
    }
}

/// Where a record lies in the checkpoint, and the upper half of its key.
#[derive(Clone, Copy, Default)]
struct Entry {
    upper: u64,
    part: u32,
    row: u32,
}

/// Writes the records of a checkpoint, in any order, as one run; of equal keys the one with the greatest offset.
/// `None` when there are none.
pub(crate) fn flush(
    disk: &dyn Disk,
    dir: &Path,
    id: u64,
    parts: &[Vec<DedupeRecord>],
) -> Result<Option<KeysRun>, StoreError> {
    let total: u64 = parts.iter().map(|p| p.len() as u64).sum();
    if total == 0 {
        return Ok(None);
    }
    let span = parts.iter().flatten().fold(Span::NONE, Span::with);
    if !span.is_storable() {
        return Err(StoreError::Stale { detail: format!("{}: an offset is no offset", RunKind::Keys.file_name(id)) });
    }
    let mut writer = KeysWriter::create(disk, dir, id, total, span)?;
    let record_of = |entry: &Entry| &parts[entry.part as usize][entry.row as usize];
    let (mut entries, share_ends) = deal(parts, total);
    let mut start = 0;
    for end in share_ends {
        let share = &mut entries[start..end];
        start = end;
        // Equal upper halves are all but equal keys: only they look further.
        share.sort_unstable_by(|a, b| {
            a.upper.cmp(&b.upper).then_with(|| {
                let (a, b) = (record_of(a), record_of(b));
                (a.key, a.offset).cmp(&(b.key, b.offset))
            })
        });
        for (i, entry) in share.iter().enumerate() {
            if let Some(ahead) = share.get(i + FETCH_AHEAD) {
                fetch(record_of(ahead));
            }
            let record = record_of(entry);
            let next = share.get(i + 1);
            if next.is_some_and(|n| n.upper == entry.upper && record_of(n).key == record.key) {
                continue;
            }
            writer.push(record)?;
        }
    }
    writer.finish(disk, dir)
}

/// Deals the records out into shares by the upper bits of their keys; returns them and where each share ends.
fn deal(parts: &[Vec<DedupeRecord>], total: u64) -> (Vec<Entry>, Vec<usize>) {
    let shares = (total / SHARE_RECORDS).clamp(1, SHARES_MAX);
    let mut ends = vec![0_usize; shares as usize];
    for record in parts.iter().flatten() {
        ends[share_of(record.key.get(), shares)] += 1;
    }
    let mut sum = 0;
    for end in &mut ends {
        // For now where the share begins: dealing moves it to the end.
        sum += std::mem::replace(end, sum);
    }
    let mut entries = vec![Entry::default(); total as usize];
    for (part, records) in parts.iter().enumerate() {
        for (row, record) in records.iter().enumerate() {
            let key = record.key.get();
            let to = &mut ends[share_of(key, shares)];
            entries[*to] = Entry { upper: (key >> 64) as u64, part: part as u32, row: row as u32 };
            *to += 1;
        }
    }
    (entries, ends)
}
