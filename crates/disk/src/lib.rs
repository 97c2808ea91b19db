//! The small synchronous file-system trait through which log and store reach the disk.
//!
//! Invariant: nothing is durable before `sync` (a file's bytes) and `sync_dir` (a name made, moved or removed).
//! Two implementations: [`RealDisk`], and [`FaultyDisk`] for the proofs, which forgets what was not synced.

mod faulty;
mod real;

use std::io;
use std::path::Path;

pub use faulty::{Fault, FaultyDisk};
pub use real::RealDisk;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// It exists and is read.
    Read,
    /// It exists and is read and written.
    Write,
    /// It is made now; an existing one is an error of kind `AlreadyExists`.
    Create,
}

/// A disk: names, and files behind them.
///
/// Errors are those of the operating system. A failed `sync` may have lost the bytes for good: it is never retried.
pub trait Disk: Send + Sync {
    /// Opens a file.
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn DiskFile>>;
    /// The names (not paths) in a directory, sorted. Directories are not listed.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Makes a directory and its parents, durably.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Gives a file a new name in the same directory, replacing what stood there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file's name.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names of a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Bytes in it.
    fn len(&self) -> io::Result<u64>;
    /// Whether there are none.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Fills `buf` from `offset`; too few bytes are an error of kind `UnexpectedEof`.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;
    /// Fills `buf` from `offset` if the bytes lie in memory, and says whether it did. If not, it asks the disk to
    /// fetch them and does not wait, so that the disk works on many such questions at one time; what `buf` then holds
    /// means nothing. A disk that cannot tell reads.
    fn read_at_once(&self, buf: &mut [u8], offset: u64) -> io::Result<bool> {
        self.read_exact_at(buf, offset).map(|()| true)
    }
    /// Writes all of `bytes` behind the last byte.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes length and bytes durable (fdatasync).
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file to `len` bytes.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
}
