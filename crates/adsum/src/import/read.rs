//! Reads a file (plain, .gz, .zst, or standard input) as chunks of whole lines.
//!
//! Invariant: the chunks of a file depend on its bytes and the chunk size alone, and every line is one line, however
//! long: of one over [`LINE_BYTES_MAX`] that much is kept, which is rejected as too large, and the rest is passed over.
//! A file that breaks gives its whole lines up to there, then the error.

#![allow(clippy::disallowed_methods, reason = "files of users are read as they are; only log and store go by Disk")]

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

/// The longest line that is held in memory, in bytes.
pub const LINE_BYTES_MAX: usize = 16 << 20;
/// How much of a line that is too long is passed over at a time.
const LINE_STEP_BYTES: u64 = 64 << 10;
/// How much of a file's beginning tells it from another.
const HEAD_BYTES: usize = 1 << 20;

/// A file that cannot be read, or not to its end.
#[derive(Debug)]
pub struct InputError {
    path: String,
    error: io::Error,
    /// Whether lines of it may have been taken in.
    begun: bool,
}

impl std::fmt::Display for InputError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.error)?;
        if self.begun {
            f.write_str(" (the lines before that were taken in; after a repair the same command takes in the rest)")?;
        }
        Ok(())
    }
}

impl std::error::Error for InputError {}

/// A file to import.
#[derive(Clone, Debug)]
pub struct Source {
    /// As given on the command line; `-` is standard input.
    pub path: String,
    /// Its size in bytes; 0 for a stream.
    pub size: u64,
    /// XXH3-64 of its first MiB; 0 for a stream.
    pub head: u64,
    /// Whether it can be read once only: standard input, a pipe, a device.
    stream: bool,
}

impl Source {
    /// Looks at a file.
    pub fn open(path: &Path) -> Result<Self, InputError> {
        let name = path.to_string_lossy().into_owned();
        if name == "-" {
            return Ok(Self { path: name, size: 0, head: 0, stream: true });
        }
        let look = || -> io::Result<Self> {
            let found = std::fs::metadata(path)?;
            if found.is_dir() {
                return Err(io::Error::new(io::ErrorKind::IsADirectory, "is a directory"));
            }
            if !found.is_file() {
                // A look at its head would take from it what is to be imported.
                return Ok(Self { path: name.clone(), size: 0, head: 0, stream: true });
            }
            let mut head = Vec::new();
            let mut file = File::open(path)?;
            (&mut file).take(HEAD_BYTES as u64).read_to_end(&mut head)?;
            Ok(Self { path: name.clone(), size: file.metadata()?.len(), head: xxh3_64(&head), stream: false })
        };
        look().map_err(|error| InputError { path: name.clone(), error, begun: false })
    }

    /// A file that lies with a client, as it told of it.
    pub fn told(path: String, size: u64, head: u64, stream: bool) -> Self {
        Self { path, size, head, stream }
    }

    /// What tells it from other files: path, size and head.
    pub fn identity(&self) -> (&str, u64, u64) {
        (&self.path, self.size, self.head)
    }

    /// Whether it can be gone on with after a kill.
    pub fn resumable(&self) -> bool {
        !self.stream
    }

    /// Its lines from `position` (bytes of text) on.
    pub fn chunks(&self, position: u64, chunk_bytes: usize) -> Result<Chunks, InputError> {
        let text = self.text(position).map_err(|error| self.error(error))?;
        Ok(Chunks { source: self.clone(), text, position, rest: Vec::new(), chunk_bytes, ended: false, failed: None })
    }

    fn error(&self, error: io::Error) -> InputError {
        InputError { path: self.path.clone(), error, begun: true }
    }

    fn text(&self, position: u64) -> io::Result<Box<dyn Read + Send>> {
        if self.path == "-" {
            return Ok(Box::new(io::stdin()));
        }
        let path = PathBuf::from(&self.path);
        let mut file = File::open(&path)?;
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        let compressed = matches!(extension, "gz" | "zst");
        if !compressed && position > 0 {
            file.seek(SeekFrom::Start(position))?;
        }
        let mut text: Box<dyn Read + Send> = match extension {
            "gz" => Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(1 << 18, file))),
            "zst" => Box::new(zstd::stream::read::Decoder::new(file)?),
            _ => Box::new(file),
        };
        if compressed {
            let skipped = io::copy(&mut (&mut text).take(position), &mut io::sink())?;
            if skipped < position {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "shorter than what was read of it before"));
            }
        }
        Ok(text)
    }
}

/// Whole lines of a file.
pub struct Chunk {
    /// The lines.
    pub text: Vec<u8>,
    /// Bytes of the file's text up to the end of this chunk.
    pub position: u64,
    /// Whether the file ends here.
    pub last: bool,
    /// Whether the file cannot be read any further; the next call says why.
    pub broken: bool,
}

/// The chunks of a file.
pub struct Chunks {
    source: Source,
    text: Box<dyn Read + Send>,
    position: u64,
    rest: Vec<u8>,
    chunk_bytes: usize,
    ended: bool,
    failed: Option<io::Error>,
}

impl Chunks {
    /// The next chunk, in `buffer`'s memory; the last one of a file says so and may be empty.
    pub fn next(&mut self, mut buffer: Vec<u8>) -> Result<Option<Chunk>, InputError> {
        if let Some(error) = self.failed.take() {
            self.ended = true;
            return Err(self.source.error(error));
        }
        if self.ended {
            return Ok(None);
        }
        buffer.clear();
        buffer.append(&mut self.rest);
        let mut want = self.chunk_bytes;
        let mut passed_over = 0;
        let cut = loop {
            let missing = want.saturating_sub(buffer.len());
            match (&mut self.text).take(missing as u64).read_to_end(&mut buffer) {
                Ok(read) => self.ended = read < missing,
                Err(error) => self.failed = Some(error),
            }
            if self.ended {
                break buffer.len();
            }
            match memchr_last(&buffer) {
                Some(newline) => break newline + 1,
                None if self.failed.is_some() => break 0,
                None if buffer.len() >= LINE_BYTES_MAX => match self.pass_over_line() {
                    Some(bytes) => {
                        passed_over = bytes + (buffer.len() - LINE_BYTES_MAX) as u64;
                        break LINE_BYTES_MAX;
                    }
                    None => break 0,
                },
                None => want = (buffer.len() * 2).clamp(1, LINE_BYTES_MAX),
            }
        };
        if passed_over == 0 {
            self.rest.extend_from_slice(&buffer[cut..]);
        }
        buffer.truncate(cut);
        let first = self.position == 0;
        self.position += cut as u64 + passed_over;
        if first && buffer.starts_with(b"\xEF\xBB\xBF") {
            // A byte order mark at the head of a file is no part of its first line.
            buffer.drain(..3);
        }
        let broken = self.failed.is_some();
        Ok(Some(Chunk { text: buffer, position: self.position, last: self.ended, broken }))
    }

    /// Reads to the end of the line and says how many bytes that was; none if the file breaks before.
    fn pass_over_line(&mut self) -> Option<u64> {
        let mut passed = 0;
        loop {
            self.rest.clear();
            let read = (&mut self.text).take(LINE_STEP_BYTES).read_to_end(&mut self.rest);
            if let Err(error) = read {
                self.failed = Some(error);
                self.rest.clear();
                return None;
            }
            if let Some(newline) = self.rest.iter().position(|b| *b == b'\n') {
                self.rest.drain(..=newline);
                return Some(passed + newline as u64 + 1);
            }
            passed += self.rest.len() as u64;
            if (self.rest.len() as u64) < LINE_STEP_BYTES {
                self.rest.clear();
                self.ended = true;
                return Some(passed);
            }
        }
    }
}

fn memchr_last(text: &[u8]) -> Option<usize> {
    text.iter().rposition(|b| *b == b'\n')
}
