//! The frame that every run file shares: a header, content, a footer that says where everything lies, a trailer.
//!
//! Invariant: the manifest names a run's length and its footer's CRC-32, and the footer holds a CRC-32 of everything
//! between it and the header; the header and the trailer have one right form. So no byte of a run is unprotected.
//! Not here: what the content is.

use std::path::Path;

use adsum_disk::{Disk, DiskFile, Open};

use crate::error::StoreError;

/// What a run file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RunKind {
    /// Dedupe records.
    Keys,
    /// Rows of tables.
    Rows,
    /// Quarantine entries and releases.
    Quarantine,
}

impl RunKind {
    /// In the order of the manifest.
    pub(crate) const ALL: [Self; 3] = [Self::Keys, Self::Rows, Self::Quarantine];

    fn stem(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Rows => "rows",
            Self::Quarantine => "quarantine",
        }
    }

    fn magic(self) -> &'static [u8; 8] {
        match self {
            Self::Keys => b"adsumkey",
            Self::Rows => b"adsumrow",
            Self::Quarantine => b"adsumqua",
        }
    }

    /// The name of the run `id`.
    pub(crate) fn file_name(self, id: u64) -> String {
        format!("{}-{id:016x}.run", self.stem())
    }

    /// The run's number, if `name` is a name that this crate gives.
    pub(crate) fn id_of(name: &str) -> Option<u64> {
        let (stem, rest) = name.split_once('-')?;
        RunKind::ALL.iter().find(|k| k.stem() == stem)?;
        u64::from_str_radix(rest.strip_suffix(".run")?, 16).ok()
    }
}

/// Bytes before the content and behind the footer.
pub(crate) const HEADER_BYTES: u64 = 16;
const TRAILER_BYTES: u64 = 16;
const VERSION: u32 = 1;
/// Bytes gathered before one append.
pub(crate) const WRITE_BUFFER_BYTES: usize = 1 << 20;

/// What the manifest keeps of a run, so that another file in its place is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunSeal {
    /// The run's number.
    pub(crate) id: u64,
    /// The file's length in bytes.
    pub(crate) len: u64,
    /// The footer's length in bytes.
    pub(crate) footer_len: u32,
    /// The footer's CRC-32.
    pub(crate) footer_crc: u32,
}

fn header(kind: RunKind) -> [u8; HEADER_BYTES as usize] {
    let mut bytes = [0; HEADER_BYTES as usize];
    bytes[..8].copy_from_slice(kind.magic());
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes
}

fn trailer(kind: RunKind, footer_len: u32, footer_crc: u32) -> [u8; TRAILER_BYTES as usize] {
    let mut bytes = [0; TRAILER_BYTES as usize];
    bytes[..4].copy_from_slice(&footer_len.to_le_bytes());
    bytes[4..8].copy_from_slice(&footer_crc.to_le_bytes());
    bytes[8..].copy_from_slice(kind.magic());
    bytes
}

/// Writes a run, front to back.
pub(crate) struct RunWriter {
    kind: RunKind,
    id: u64,
    name: String,
    file: Box<dyn DiskFile>,
    buffer: Vec<u8>,
    flushed: u64,
}

impl RunWriter {
    /// Makes the file of the run `id`.
    pub(crate) fn create(disk: &dyn Disk, dir: &Path, kind: RunKind, id: u64) -> Result<Self, StoreError> {
        let name = kind.file_name(id);
        let file = disk.open(&dir.join(&name), Open::Create).map_err(|e| StoreError::io(&name, e))?;
        let mut buffer = Vec::with_capacity(WRITE_BUFFER_BYTES + (1 << 16));
        buffer.extend_from_slice(&header(kind));
        Ok(Self { kind, id, name, file, buffer, flushed: 0 })
    }

    /// Where the next byte will lie.
    pub(crate) fn position(&self) -> u64 {
        self.flushed + self.buffer.len() as u64
    }

    /// Lends the buffer for bytes to be added; [`Self::drain`] must follow.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Appends to the file what was gathered, once it is much.
    pub(crate) fn drain(&mut self) -> Result<(), StoreError> {
        if self.buffer.len() >= WRITE_BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    /// Adds bytes.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.buffer.extend_from_slice(bytes);
        self.drain()
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.file.append(&self.buffer).map_err(|e| StoreError::io(&self.name, e))?;
        self.flushed += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Ends the file and syncs it; the directory is the caller's to sync. A failed sync is
    /// [`StoreError::Poisoned`].
    pub(crate) fn finish(mut self, footer: &[u8]) -> Result<RunSeal, StoreError> {
        let footer_len = u32::try_from(footer.len()).map_err(|_| StoreError::corrupt(&self.name, "footer too long"))?;
        let footer_crc = crc32fast::hash(footer);
        self.buffer.extend_from_slice(footer);
        self.buffer.extend_from_slice(&trailer(self.kind, footer_len, footer_crc));
        self.flush()?;
        self.file.sync().map_err(|e| StoreError::poisoned(&self.name, &e))?;
        Ok(RunSeal { id: self.id, len: self.flushed, footer_len, footer_crc })
    }
}

/// A run that is read.
pub(crate) struct RunFile {
    name: String,
    file: Box<dyn DiskFile>,
    seal: RunSeal,
}

impl std::fmt::Debug for RunFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunFile").field("name", &self.name).field("len", &self.seal.len).finish()
    }
}

impl RunFile {
    /// Opens the run that the seal names and returns its footer, both checked against the seal.
    pub(crate) fn open(
        disk: &dyn Disk,
        dir: &Path,
        kind: RunKind,
        seal: RunSeal,
    ) -> Result<(Self, Vec<u8>), StoreError> {
        let name = kind.file_name(seal.id);
        let file = disk.open(&dir.join(&name), Open::Read).map_err(|e| StoreError::io(&name, e))?;
        let run = Self { name, file, seal };
        let len = run.file.len().map_err(|e| StoreError::io(&run.name, e))?;
        if len != seal.len {
            return Err(run.corrupt(format!("it has {len} bytes, the manifest names {}", seal.len)));
        }
        let frame = HEADER_BYTES + u64::from(seal.footer_len) + TRAILER_BYTES;
        if len < frame {
            return Err(run.corrupt("it is shorter than its own frame"));
        }
        let mut head = [0; HEADER_BYTES as usize];
        run.read(&mut head, 0)?;
        if head != header(kind) {
            return Err(run.corrupt("its header is not that of this kind and version"));
        }
        let mut end = vec![0; seal.footer_len as usize + TRAILER_BYTES as usize];
        run.read(&mut end, run.content_end())?;
        let tail = end.split_off(seal.footer_len as usize);
        if tail != trailer(kind, seal.footer_len, seal.footer_crc) || crc32fast::hash(&end) != seal.footer_crc {
            return Err(run.corrupt("its footer is not the one that the manifest names"));
        }
        Ok((run, end))
    }

    /// The seal it was opened with.
    pub(crate) fn seal(&self) -> RunSeal {
        self.seal
    }

    /// Where the content ends.
    pub(crate) fn content_end(&self) -> u64 {
        self.seal.len - TRAILER_BYTES - u64::from(self.seal.footer_len)
    }

    /// Fills `buf` from `at`.
    pub(crate) fn read(&self, buf: &mut [u8], at: u64) -> Result<(), StoreError> {
        self.file.read_exact_at(buf, at).map_err(|e| StoreError::io(&self.name, e))
    }

    /// Fills `buf` from `at` if that needs no waiting for the disk, and says whether it did; else the disk is asked
    /// to fetch the bytes.
    pub(crate) fn read_at_once(&self, buf: &mut [u8], at: u64) -> Result<bool, StoreError> {
        self.file.read_at_once(buf, at).map_err(|e| StoreError::io(&self.name, e))
    }

    /// Reads `len` bytes from `at` into `buf` and compares their CRC-32.
    pub(crate) fn read_checked(&self, buf: &mut Vec<u8>, at: u64, len: usize, crc: u32) -> Result<(), StoreError> {
        buf.resize(len, 0);
        self.read(buf, at)?;
        self.check(buf, at, crc)
    }

    /// Compares the CRC-32 of bytes that were read from `at`.
    pub(crate) fn check(&self, bytes: &[u8], at: u64, crc: u32) -> Result<(), StoreError> {
        if crc32fast::hash(bytes) == crc {
            Ok(())
        } else {
            Err(self.corrupt(format!("the {} bytes from {at} do not match their checksum", bytes.len())))
        }
    }

    /// Damage in this file.
    pub(crate) fn corrupt(&self, detail: impl Into<String>) -> StoreError {
        StoreError::corrupt(&self.name, detail)
    }
}
