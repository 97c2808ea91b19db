//! Merging runs of dedupe records, as streams.
//!
//! Invariant: of equal keys the greatest offset stays; records that have ended are dropped; everything else is kept
//! byte for byte. Memory: one buffer a run, and the new run's filter and directory.

use std::path::Path;
use std::sync::Arc;

use adsum_disk::Disk;
use adsum_model::state::DedupeRecord;
use adsum_model::time::EventTime;

use super::run::KeysRun;
use super::write::{KeysWriter, ends_at};
use super::{RECORD_BYTES, decode, has_ended, key_of, offset_of};
use crate::error::StoreError;

/// Bytes read from a run at a time.
const READ_BYTES: usize = 1 << 20;

/// Reads a run in order.
struct Stream<'a> {
    run: &'a KeysRun,
    next_bucket: usize,
    buf: Vec<u8>,
    at: usize,
    /// The record that stands first; `None` at the end.
    head: Option<(u128, [u8; RECORD_BYTES])>,
}

impl<'a> Stream<'a> {
    fn new(run: &'a KeysRun) -> Result<Self, StoreError> {
        let mut stream = Self { run, next_bucket: 0, buf: Vec::new(), at: 0, head: None };
        stream.advance()?;
        Ok(stream)
    }

    fn advance(&mut self) -> Result<(), StoreError> {
        while self.at == self.buf.len() && self.next_bucket < self.run.bucket_count() {
            self.next_bucket = self.run.read_buckets(self.next_bucket, READ_BYTES, &mut self.buf)?;
            self.at = 0;
        }
        self.head = self.buf[self.at..].first_chunk::<RECORD_BYTES>().map(|record| (key_of(record), *record));
        if self.head.is_some() {
            self.at += RECORD_BYTES;
        }
        Ok(())
    }
}

fn each_head(
    runs: &[Arc<KeysRun>],
    mut visit: impl FnMut(u128, &[u8; RECORD_BYTES]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut streams = runs.iter().map(|run| Stream::new(run)).collect::<Result<Vec<_>, _>>()?;
    while let Some(key) = streams.iter().filter_map(|s| s.head.map(|h| h.0)).min() {
        let mut newest: Option<[u8; RECORD_BYTES]> = None;
        for stream in &mut streams {
            if let Some((_, record)) = stream.head.filter(|h| h.0 == key) {
                if newest.is_none_or(|n| offset_of(&n) <= offset_of(&record)) {
                    newest = Some(record);
                }
                stream.advance()?;
            }
        }
        if let Some(record) = newest {
            visit(key, &record)?;
        }
    }
    Ok(())
}

/// Shows for each key its newest record, if that has not ended by `line`, in order of keys.
pub(crate) fn each_newest(
    runs: &[Arc<KeysRun>],
    line: EventTime,
    mut visit: impl FnMut(&DedupeRecord),
) -> Result<(), StoreError> {
    each_head(runs, |_, record| {
        let record = decode(record);
        if !has_ended(&record, line) {
            visit(&record);
        }
        Ok(())
    })
}

/// Merges runs (oldest first) into the run `id`; `None` when every record has ended.
pub(crate) fn merge(
    disk: &dyn Disk,
    dir: &Path,
    id: u64,
    runs: &[Arc<KeysRun>],
    line: EventTime,
) -> Result<Option<KeysRun>, StoreError> {
    if runs.iter().all(|run| run.has_ended(line)) {
        return Ok(None);
    }
    let mut writer = KeysWriter::create(disk, dir, id, runs.iter().map(|r| r.len()).sum())?;
    each_head(runs, |key, bytes| {
        let record = decode(bytes);
        if has_ended(&record, line) { Ok(()) } else { writer.push(key, bytes, ends_at(&record)) }
    })?;
    writer.finish(disk, dir)
}
