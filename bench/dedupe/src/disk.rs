//! The real disk with its bytes counted, and one that lets nothing be read twice from memory.
//!
//! Invariant: a cold disk gives up the pages of a file when the file is synced and after every read, so that each
//! look-up waits for the device. Not here: the keys.

use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use adsum_disk::{Disk, DiskFile, Open, RealDisk};
use rustix::fs::{Advice, fadvise};

/// A disk that counts.
#[derive(Clone, Default)]
pub struct Counting {
    /// Whether every look-up waits for the device.
    pub cold: bool,
    /// What was done to runs of keys.
    pub counts: Arc<Counts>,
}

/// What was done to runs of keys.
#[derive(Default)]
pub struct Counts {
    /// Bytes appended.
    pub written: AtomicU64,
    /// Reads of one bucket.
    pub lookups: AtomicU64,
}

/// Look-ups read less than this at a time, merges more.
const LOOKUP_BYTES_MAX: usize = 64 << 10;
/// Pages lie in memory in folios of up to about this many bytes, which go whole or not at all.
const FOLIO_BYTES: u64 = 256 << 10;

struct CountingFile {
    file: Box<dyn DiskFile>,
    /// The same file, to give its pages up by.
    pages: Option<File>,
    counts: Option<Arc<Counts>>,
}

impl Disk for Counting {
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn DiskFile>> {
        let file = RealDisk.open(path, how)?;
        let is_keys = path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"keys-"));
        let pages = if self.cold && is_keys { Some(File::open(path)?) } else { None };
        Ok(Box::new(CountingFile { file, pages, counts: is_keys.then(|| self.counts.clone()) }))
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(dir)
    }
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        RealDisk.create_dir_all(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.sync_dir(dir)
    }
}

impl CountingFile {
    /// Counts a look-up, and gives up the pages that were read.
    fn forget(&self, len: usize, offset: u64) -> io::Result<()> {
        let is_lookup = len < LOOKUP_BYTES_MAX;
        if let Some(counts) = self.counts.as_ref().filter(|_| is_lookup) {
            counts.lookups.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(pages) = &self.pages {
            // A merge reads on and on: what was fetched ahead of it goes with the next part.
            let from = if is_lookup { offset / FOLIO_BYTES * FOLIO_BYTES } else { 0 };
            let to = (offset + len as u64).next_multiple_of(FOLIO_BYTES);
            fadvise(pages, from, NonZeroU64::new(to - from), Advice::DontNeed)?;
        }
        Ok(())
    }
}

impl DiskFile for CountingFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)?;
        self.forget(buf.len(), offset)
    }
    fn read_at_once(&self, buf: &mut [u8], offset: u64) -> io::Result<bool> {
        let is_read = self.file.read_at_once(buf, offset)?;
        if is_read {
            self.forget(buf.len(), offset)?;
        }
        Ok(is_read)
    }
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(counts) = &self.counts {
            counts.written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        self.file.append(bytes)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.file.sync()?;
        if let Some(pages) = &self.pages {
            fadvise(pages, 0, None, Advice::DontNeed)?;
        }
        Ok(())
    }
    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.file.truncate(len)
    }
}

/// Gives up all pages of a file.
pub fn forget(path: &Path) -> io::Result<()> {
    Ok(fadvise(&File::open(path)?, 0, None, Advice::DontNeed)?)
}

/// Whether a page of the file lies in memory already: what a cold disk must find none of. Only a read that does not
/// wait can tell.
pub fn is_in_memory(path: &Path, offset: u64) -> io::Result<bool> {
    use rustix::io::{IoSliceMut, ReadWriteFlags, preadv2};
    let file = File::open(path)?;
    // So that the question fetches nothing around it.
    fadvise(&file, 0, None, Advice::Random)?;
    let mut byte = [0];
    match preadv2(&file, &mut [IoSliceMut::new(&mut byte)], offset, ReadWriteFlags::NOWAIT) {
        Ok(read) => Ok(read == 1),
        Err(e) if e == rustix::io::Errno::AGAIN => Ok(false),
        Err(e) => Err(e.into()),
    }
}
