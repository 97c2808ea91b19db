//! Merging runs of dedupe records, as streams.
//!
//! Invariant: of equal keys the greatest offset stays; records that have ended are dropped; everything else is kept.
//! Memory: one buffer a run, and the new run's filter and directory.

use std::path::Path;
use std::sync::Arc;

use adsum_disk::Disk;
use adsum_model::state::DedupeRecord;
use adsum_model::time::EventTime;

use super::has_ended;
use super::record::Span;
use super::run::KeysRun;
use super::write::KeysWriter;
use crate::error::StoreError;

/// Bytes read from a run at a time.
const READ_BYTES: usize = 256 << 10;

/// Reads a run in order.
struct Stream<'a> {
    run: &'a KeysRun,
    next_bucket: usize,
    buf: Vec<u8>,
    at: usize,
}

impl<'a> Stream<'a> {
    fn new(run: &'a KeysRun) -> Self {
        Self { run, next_bucket: 0, buf: Vec::new(), at: 0 }
    }

    /// The upper half of the key that stands first; `None` at the end.
    #[inline]
    fn upper(&mut self) -> Result<Option<u64>, StoreError> {
        while self.at == self.buf.len() {
            if self.next_bucket == self.run.bucket_count() {
                return Ok(None);
            }
            self.next_bucket = self.run.read_buckets(self.next_bucket, READ_BYTES, &mut self.buf)?;
            self.at = 0;
        }
        Ok(Some((self.run.packing.key(&self.buf[self.at..]) >> 64) as u64))
    }

    /// The record that stands first.
    #[inline]
    fn record(&self) -> DedupeRecord {
        self.run.packing.record(&self.buf[self.at..])
    }

    #[inline]
    fn advance(&mut self) {
        self.at += self.run.packing.record_bytes();
    }
}

/// Streams side by side, and the upper half of the key that stands first in each.
struct Streams<'a> {
    streams: Vec<Stream<'a>>,
    uppers: Vec<u64>,
}

impl<'a> Streams<'a> {
    fn new(runs: &'a [Arc<KeysRun>]) -> Result<Self, StoreError> {
        let mut all = Self { streams: Vec::new(), uppers: Vec::new() };
        for run in runs {
            let mut stream = Stream::new(run);
            if let Some(upper) = stream.upper()? {
                all.streams.push(stream);
                all.uppers.push(upper);
            }
        }
        Ok(all)
    }

    /// The stream with the least upper half first, and whether another has the same. There must be one.
    #[inline]
    fn least(&self) -> (usize, bool) {
        let (mut at, mut least, mut is_shared) = (0, self.uppers[0], false);
        for (i, &upper) in self.uppers.iter().enumerate().skip(1) {
            is_shared = if upper < least { false } else { is_shared || upper == least };
            at = if upper < least { i } else { at };
            least = least.min(upper);
        }
        (at, is_shared)
    }

    /// Goes on to the next record of a stream, which goes when there is none.
    #[inline]
    fn advance(&mut self, at: usize) -> Result<(), StoreError> {
        self.streams[at].advance();
        match self.streams[at].upper()? {
            Some(upper) => self.uppers[at] = upper,
            None => {
                self.streams.swap_remove(at);
                self.uppers.swap_remove(at);
            }
        }
        Ok(())
    }

    /// Takes the records of the least key out, where several streams may have it, and returns the newest.
    fn take_shared(&mut self, upper: u64) -> Result<DedupeRecord, StoreError> {
        let of_upper = |i: &usize| self.uppers[*i] == upper;
        let newest = (0..self.streams.len()).filter(of_upper).map(|i| self.streams[i].record());
        let newest = newest.min_by_key(|r| (r.key, std::cmp::Reverse(r.offset))).expect("a stream stands at it");
        // From the last on, since a stream that ends gives its place to the last.
        for i in (0..self.streams.len()).rev() {
            if self.uppers[i] == upper && self.streams[i].record().key == newest.key {
                self.advance(i)?;
            }
        }
        Ok(newest)
    }
}

/// Shows for each key its newest record, if that has not ended by `line`, in order of keys.
pub(crate) fn each_newest(
    runs: &[Arc<KeysRun>],
    line: EventTime,
    mut visit: impl FnMut(&DedupeRecord) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut streams = Streams::new(runs)?;
    while !streams.streams.is_empty() {
        let (at, is_shared) = streams.least();
        let record = if is_shared {
            streams.take_shared(streams.uppers[at])?
        } else {
            let record = streams.streams[at].record();
            streams.advance(at)?;
            record
        };
        if !has_ended(&record, line) {
            visit(&record)?;
        }
    }
    Ok(())
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
    let span = runs.iter().fold(Span::NONE, |span, run| span.and(run.span()));
    let mut writer = KeysWriter::create(disk, dir, id, runs.iter().map(|r| r.len()).sum(), span)?;
    each_newest(runs, line, |record| writer.push(record))?;
    writer.finish(disk, dir)
}
