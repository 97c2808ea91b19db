//! Reading an embedded log while it is appended to.
//!
//! Invariant: a reader gives out frames below the durable position only, in order, each once. What the writer publishes
//! ([`Shared`]) changes after the disk did, never before. Not here: opening after a crash.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use adsum_disk::Disk;
use adsum_model::catalog::Catalog;
use adsum_model::id::{FrameSeq, Offset, Position};
use adsum_model::time::ReceivedAt;

use crate::decode::decode_frame;
use crate::dictionary::Dictionary;
use crate::layout::{FrameHeader, SEGMENT_HEADER_BYTES, SegmentHeader, dictionary_payload, segment_name};
use crate::segment::{Segment, Step};
use crate::{Frame, FrameReader, LogError, LogView};

/// What is known of a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SegmentInfo {
    pub header: SegmentHeader,
    /// How many bytes of it are durable.
    pub bytes: u64,
    /// The greatest appendedAt of its frames, where that was looked up.
    pub newest: Option<ReceivedAt>,
}

/// What the writer tells the readers.
#[derive(Debug, Default)]
pub(crate) struct Published {
    pub segments: Vec<SegmentInfo>,
    pub durable: Position,
}

impl Published {
    /// The position of the oldest frame kept.
    pub(crate) fn start(&self) -> Position {
        self.segments.first().map_or(self.durable, |s| s.header.first)
    }

    fn out_of_range(&self, asked: String) -> LogError {
        LogError::OutOfRange { asked, start: self.start(), durable: self.durable }
    }
}

/// A view of an embedded log, for any thread.
#[derive(Clone)]
pub(crate) struct EmbeddedView {
    pub disk: Arc<dyn Disk>,
    pub dir: PathBuf,
    pub catalog: Arc<Catalog>,
    pub shared: Arc<Mutex<Published>>,
}

impl EmbeddedView {
    /// What the writer published last.
    pub(crate) fn published(&self) -> MutexGuard<'_, Published> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The segment that holds frame `seq`; `None` where it is not durable yet.
    fn segment_of(&self, seq: FrameSeq) -> Result<Option<SegmentInfo>, LogError> {
        let published = self.published();
        if seq >= published.durable.seq {
            return Ok(None);
        }
        let behind = published.segments.partition_point(|s| s.header.first.seq <= seq);
        match behind.checked_sub(1) {
            Some(i) => Ok(Some(published.segments[i])),
            None => Err(published.out_of_range(format!("frame {}", seq.get()))),
        }
    }
}

impl LogView for EmbeddedView {
    fn durable(&self) -> Position {
        self.published().durable
    }

    fn start(&self) -> Position {
        self.published().start()
    }

    fn read(&self, from: FrameSeq) -> Result<Box<dyn FrameReader>, LogError> {
        let published = self.published();
        if from < published.start().seq || from > published.durable.seq {
            return Err(published.out_of_range(format!("frame {}", from.get())));
        }
        drop(published);
        Ok(Box::new(EmbeddedReader { view: self.clone(), next: from, current: None }))
    }

    fn files(&self, through: FrameSeq) -> Result<Vec<(String, u64)>, LogError> {
        let published = self.published();
        if through > published.durable.seq {
            return Err(published.out_of_range(format!("frame {}", through.get())));
        }
        let kept: Vec<SegmentInfo> =
            published.segments.iter().copied().filter(|s| s.header.first.seq < through).collect();
        drop(published);
        let mut files = Vec::with_capacity(kept.len());
        for (i, info) in kept.iter().enumerate() {
            if i + 1 < kept.len() {
                // Sealed, and the one behind it is needed too: all of it.
                files.push((segment_name(info.header.first.seq), info.bytes));
                continue;
            }
            let segment = Segment::open(self.disk.as_ref(), &self.dir, info.header.first.seq)?;
            let mut walk = segment.walk(info.bytes);
            while walk.expect.seq < through {
                match walk.peek()? {
                    Step::Frame(header) => walk.pass(&header),
                    Step::Damage(reason) => return Err(segment.corrupt(walk.at, reason)),
                    Step::End => break,
                }
            }
            files.push((segment.name.clone(), walk.at));
        }
        Ok(files)
    }

    fn frame_of(&self, offset: Offset) -> Result<Frame, LogError> {
        let published = self.published();
        let behind = published.segments.partition_point(|s| s.header.first.offset <= offset);
        let first = match behind.checked_sub(1) {
            Some(i) if offset < published.durable.offset => published.segments[i].header.first.seq,
            _ => return Err(published.out_of_range(format!("the record at offset {}", offset.get()))),
        };
        drop(published);
        let mut reader = EmbeddedReader { view: self.clone(), next: first, current: None };
        let mut frame = Frame::default();
        reader.advance(|header| header.next().offset <= offset, &mut frame)?;
        Ok(frame)
    }
}

/// Reads one frame after another.
pub(crate) struct EmbeddedReader {
    view: EmbeddedView,
    next: FrameSeq,
    current: Option<Current>,
}

/// The segment that a reader is in.
struct Current {
    segment: Segment,
    at: u64,
    expect: Position,
    dictionary: Dictionary,
    section: Vec<u8>,
}

impl Current {
    /// The next frame's header, which is durable.
    fn header(&self) -> Result<FrameHeader, LogError> {
        let mut walk = self.segment.walk(self.segment.len()?);
        (walk.at, walk.expect) = (self.at, self.expect);
        match walk.peek()? {
            Step::Frame(header) => Ok(header),
            Step::Damage(reason) => Err(self.segment.corrupt(self.at, reason)),
            Step::End => Err(self.segment.corrupt(self.at, "the segment is cut short")),
        }
    }

    /// Goes behind a frame and takes only its dictionary along.
    fn skip(&mut self, header: &FrameHeader, catalog: &Catalog) -> Result<(), LogError> {
        let mut section = std::mem::take(&mut self.section);
        self.segment.walk(header.end()).dictionary_section(header, &mut section)?;
        let added = dictionary_payload(&section, header.binding())
            .and_then(|payload| self.dictionary.add(payload, catalog).ok_or_else(|| "it is malformed".to_owned()));
        self.section = section;
        added.map_err(|reason| self.segment.corrupt(header.at, reason))?;
        self.pass(header);
        Ok(())
    }

    fn pass(&mut self, header: &FrameHeader) {
        self.at = header.end();
        self.expect = header.next();
    }
}

impl EmbeddedReader {
    /// Stands at the next frame: in its segment, with the dictionary of what precedes it.
    fn current(&mut self, info: &SegmentInfo) -> Result<&mut Current, LogError> {
        let first = info.header.first;
        let mut current = match self.current.take() {
            Some(current) if current.segment.header.first == first => current,
            before => {
                let segment = Segment::open(self.view.disk.as_ref(), &self.view.dir, first.seq)?;
                let (mut dictionary, section) = before.map(|c| (c.dictionary, c.section)).unwrap_or_default();
                dictionary.clear();
                Current { segment, at: SEGMENT_HEADER_BYTES, expect: first, dictionary, section }
            }
        };
        while current.expect.seq < self.next {
            let header = current.header()?;
            current.skip(&header, &self.view.catalog)?;
        }
        Ok(self.current.insert(current))
    }

    /// Reads the first frame from the next one on that is not to be skipped; false where it is not durable yet.
    fn advance(&mut self, skip: impl Fn(&FrameHeader) -> bool, frame: &mut Frame) -> Result<bool, LogError> {
        loop {
            let Some(info) = self.view.segment_of(self.next)? else { return Ok(false) };
            let catalog = self.view.catalog.clone();
            let current = self.current(&info)?;
            let outcome = current.header().and_then(|header| {
                if skip(&header) {
                    return current.skip(&header, &catalog).map(|()| (header, false));
                }
                current.segment.walk(header.end()).body(&header, &mut frame.records.arena)?;
                decode_frame(&header, &mut current.dictionary, &catalog, &mut frame.records)
                    .map_err(|reason| current.segment.corrupt(header.at, reason))?;
                current.pass(&header);
                Ok((header, true))
            });
            match outcome {
                Ok((header, read)) => {
                    self.next = header.next().seq;
                    if read {
                        frame.seq = header.position.seq;
                        frame.base = header.position.offset;
                        frame.appended_at = header.appended_at;
                        frame.metadata_revision = header.metadata_revision;
                        frame.bytes = header.end() - header.at;
                        return Ok(true);
                    }
                }
                Err(error) => {
                    // The dictionary may hold a part of the frame's entries: the next try begins the segment anew.
                    self.current = None;
                    return Err(error);
                }
            }
        }
    }
}

impl FrameReader for EmbeddedReader {
    fn next(&mut self, frame: &mut Frame) -> Result<bool, LogError> {
        self.advance(|_| false, frame)
    }
}
