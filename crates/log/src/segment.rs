//! Walks the frames of one segment file.
//!
//! Invariant: a frame is given out only if its header lies where the chain says, with the number and offset that the
//! chain says. Damage is told apart from an error of the disk; what damage means is the caller's to say.

use std::io;
use std::path::{Path, PathBuf};

use adsum_disk::{Disk, DiskFile, Open};
use adsum_model::id::{FrameSeq, Position};

use crate::LogError;
use crate::layout::{
    FRAME_HEADER_BYTES, FRAME_MAGIC, FrameHeader, SEGMENT_HEADER_BYTES, SegmentHeader, check_body, segment_name,
};

/// How much is read at once in the search for headers, in bytes.
const SEARCH_BYTES: usize = 1 << 20;

/// An open segment.
pub(crate) struct Segment {
    pub name: String,
    pub header: SegmentHeader,
    file: Box<dyn DiskFile>,
}

/// The path of the segment that begins with `first`.
pub(crate) fn segment_path(dir: &Path, first: FrameSeq) -> PathBuf {
    dir.join(segment_name(first))
}

impl Segment {
    /// Opens the segment that begins with `first` and checks its header.
    pub(crate) fn open(disk: &dyn Disk, dir: &Path, first: FrameSeq) -> Result<Self, LogError> {
        let name = segment_name(first);
        let file = disk.open(&segment_path(dir, first), Open::Read).map_err(|e| LogError::io(name.clone(), e))?;
        let mut bytes = [0; SEGMENT_HEADER_BYTES as usize];
        let header = match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => SegmentHeader::decode(&bytes).map_err(|reason| LogError::corrupt(&name, 0, reason))?,
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(LogError::corrupt(&name, 0, "the segment's header is cut short"));
            }
            Err(e) => return Err(LogError::io(name, e)),
        };
        if header.first.seq != first {
            return Err(LogError::corrupt(&name, 0, format!("it begins with frame {}", header.first.seq.get())));
        }
        Ok(Self { name, header, file })
    }

    /// Bytes in the file.
    pub(crate) fn len(&self) -> Result<u64, LogError> {
        self.file.len().map_err(|e| LogError::io(self.name.clone(), e))
    }

    /// Reads bytes; that they are there is known.
    pub(crate) fn read(&self, buf: &mut [u8], at: u64) -> Result<(), LogError> {
        self.file.read_exact_at(buf, at).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => LogError::corrupt(&self.name, at, "the segment is cut short"),
            _ => LogError::io(self.name.clone(), e),
        })
    }

    /// Damage of what is known to be durable.
    pub(crate) fn corrupt(&self, at: u64, reason: impl Into<String>) -> LogError {
        LogError::corrupt(&self.name, at, reason)
    }

    /// Begins a walk over the frames in the first `end` bytes.
    pub(crate) fn walk(&self, end: u64) -> Walk<'_> {
        Walk { segment: self, at: SEGMENT_HEADER_BYTES, end, expect: self.header.first }
    }

    /// The greatest durable position that an intact frame header from `from` on names.
    pub(crate) fn search_durable(&self, from: u64, end: u64) -> Result<Option<Position>, LogError> {
        let mut found: Option<Position> = None;
        let mut chunk_at = from;
        let mut chunk = Vec::new();
        while chunk_at + FRAME_HEADER_BYTES as u64 <= end {
            chunk.resize((SEARCH_BYTES + FRAME_HEADER_BYTES).min((end - chunk_at) as usize), 0);
            self.read(&mut chunk, chunk_at)?;
            for i in 0..=chunk.len() - FRAME_HEADER_BYTES {
                if chunk[i..i + 4] != FRAME_MAGIC {
                    continue;
                }
                let bytes = chunk[i..i + FRAME_HEADER_BYTES].try_into().expect("the bytes of a header");
                if let Ok(header) = FrameHeader::decode(bytes, chunk_at + i as u64) {
                    found = found.max(Some(header.durable));
                }
            }
            chunk_at += SEARCH_BYTES as u64 + 1;
        }
        Ok(found)
    }
}

/// Goes from frame to frame.
pub(crate) struct Walk<'a> {
    segment: &'a Segment,
    /// Where the next frame begins.
    pub at: u64,
    end: u64,
    /// What the next frame must be.
    pub expect: Position,
}

/// What stands at the next place of a walk.
pub(crate) enum Step {
    /// An intact header, and a body that lies within the walk.
    Frame(FrameHeader),
    /// No intact frame, and why.
    Damage(String),
    /// The end.
    End,
}

impl Walk<'_> {
    /// Looks at the next frame's header.
    pub(crate) fn peek(&self) -> Result<Step, LogError> {
        if self.at == self.end {
            return Ok(Step::End);
        }
        if self.end - self.at < FRAME_HEADER_BYTES as u64 {
            return Ok(Step::Damage("a frame's header is cut short".to_owned()));
        }
        let mut bytes = [0; FRAME_HEADER_BYTES];
        self.segment.read(&mut bytes, self.at)?;
        let header = match FrameHeader::decode(&bytes, self.at) {
            Ok(header) => header,
            Err(reason) => return Ok(Step::Damage(reason)),
        };
        if header.position != self.expect || header.durable > header.position {
            let reason = format!(
                "frame {} at offset {} stands where frame {} at offset {} must be",
                header.position.seq.get(),
                header.position.offset.get(),
                self.expect.seq.get(),
                self.expect.offset.get()
            );
            return Err(self.segment.corrupt(self.at, reason));
        }
        if header.end() > self.end {
            return Ok(Step::Damage("a frame is cut short".to_owned()));
        }
        Ok(Step::Frame(header))
    }

    /// Reads a frame's body.
    pub(crate) fn body(&self, header: &FrameHeader, body: &mut Vec<u8>) -> Result<(), LogError> {
        body.resize(header.body_bytes() as usize, 0);
        self.segment.read(body, header.at + FRAME_HEADER_BYTES as u64)
    }

    /// Reads only the dictionary section of a frame.
    pub(crate) fn dictionary_section(&self, header: &FrameHeader, section: &mut Vec<u8>) -> Result<(), LogError> {
        section.resize(header.dictionary_bytes as usize, 0);
        self.segment.read(section, header.at + FRAME_HEADER_BYTES as u64 + u64::from(header.blocks_bytes))
    }

    /// Goes behind a frame.
    pub(crate) fn pass(&mut self, header: &FrameHeader) {
        self.at = header.end();
        self.expect = header.next();
    }

    /// Looks at the next frame, checks every byte of it and goes behind it.
    pub(crate) fn verify(&mut self, body: &mut Vec<u8>) -> Result<Step, LogError> {
        let step = self.peek()?;
        if let Step::Frame(header) = &step {
            self.body(header, body)?;
            if let Err(reason) = check_body(header, body) {
                return Ok(Step::Damage(reason));
            }
            self.pass(header);
        }
        Ok(step)
    }
}
