//! The embedded log: segments on a [`Disk`], one writer.
//!
//! Invariant: a frame is durable (written and synced, in a file whose header, name and directory are synced) before
//! `append` returns Ok. A sync that failed poisons the log for ever. Not here: what happens at opening (open).

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use adsum_disk::{Disk, DiskFile, Open};
use adsum_model::catalog::Catalog;
use adsum_model::id::{FrameSeq, MetadataRevision, Offset, Position};
use adsum_model::record::RecordBatch;
use adsum_model::time::ReceivedAt;

use crate::encode::Encoder;
use crate::layout::{FrameHeader, SEGMENT_HEADER_BYTES, SegmentHeader, unfinished_name};
use crate::open::{OpenReport, recover};
use crate::reader::{EmbeddedView, SegmentInfo};
use crate::segment::{Segment, Step, segment_path};
use crate::verify::{Verified, verify_all};
use crate::{Appended, EventLog, Frame, FrameDraft, FrameReader, LogError, LogView};

/// The limits of an embedded log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// From this size on a segment is sealed and the next one begun, in bytes.
    pub segment_bytes: u64,
    /// The largest frame, in bytes; at most [`Self::FRAME_BYTES_LIMIT`].
    pub frame_bytes_max: u64,
    /// At opening, segments are checked byte by byte from the newest back until so many bytes were checked (the last
    /// one always); of older ones only the headers, their lengths and their chain. `verify_all` checks all.
    pub verify_bytes: u64,
}

impl LogOptions {
    /// What [`Self::frame_bytes_max`] is cut to: lengths in a frame have 32 bits, and so have places in an arena.
    pub const FRAME_BYTES_LIMIT: u64 = 1 << 30;

    fn bytes_max(&self) -> u64 {
        self.frame_bytes_max.min(Self::FRAME_BYTES_LIMIT)
    }
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { segment_bytes: 256 << 20, frame_bytes_max: 64 << 20, verify_bytes: 1 << 30 }
    }
}

/// The embedded log.
pub struct EmbeddedLog {
    view: EmbeddedView,
    options: LogOptions,
    encoder: Encoder,
    active: Option<Active>,
    last: Option<LastFrame>,
    poisoned: Option<String>,
}

/// The segment that is appended to.
struct Active {
    file: Box<dyn DiskFile>,
    bytes: u64,
}

/// What a proving frame repeats of the frame that it proves.
#[derive(Clone, Copy)]
pub(crate) struct LastFrame {
    pub appended_at: ReceivedAt,
    pub metadata_revision: MetadataRevision,
    pub records: u32,
}

fn io_error(what: &str, error: io::Error) -> LogError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => LogError::Full,
        _ => LogError::io(what, error),
    }
}

impl EmbeddedLog {
    /// Opens the log in `dir`, or makes an empty one.
    ///
    /// `store_position` is up to where the store has committed: every frame before it was durable, so a log without
    /// them is refused ([`LogError::Corrupt`]). Only a torn tail is cut; it is kept aside and reported. New frames go
    /// to a new segment. [`LogError::Io`] and [`LogError::Full`]: nothing was lost; try again.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        catalog: Arc<Catalog>,
        options: LogOptions,
        store_position: Option<Position>,
    ) -> Result<(Self, OpenReport), LogError> {
        let (published, last, report) = recover(disk.as_ref(), dir, options.verify_bytes, store_position)?;
        let shared = Arc::new(Mutex::new(published));
        let encoder = Encoder::new(catalog.clone());
        let view = EmbeddedView { disk, dir: dir.to_path_buf(), catalog, shared };
        Ok((Self { view, options, encoder, active: None, last, poisoned: None }, report))
    }

    /// Reads and checks every byte of every segment and decodes every record.
    pub fn verify_all(&self) -> Result<Verified, LogError> {
        verify_all(&self.view)
    }

    fn poison(&mut self, what: &str, error: &io::Error) -> LogError {
        let reason = format!("{what}: {error}");
        self.poisoned = Some(reason.clone());
        self.active = None;
        LogError::Poisoned { reason }
    }

    /// Seals the current segment and begins the one that `next` is the first frame of.
    fn begin_segment(&mut self, next: Position) -> Result<(), LogError> {
        let (header, replaces) = {
            let published = self.view.published();
            match published.segments.last() {
                // Made before a crash and never used.
                Some(last) if last.header.first.seq == next.seq => (last.header, true),
                Some(last) => {
                    let previous = last.header.first.seq;
                    (SegmentHeader { previous, previous_bytes: last.bytes, first: next }, false)
                }
                None => (SegmentHeader { previous: next.seq, previous_bytes: 0, first: next }, false),
            }
        };
        let file = match make_segment(self.view.disk.as_ref(), &self.view.dir, &header, &[]) {
            Ok(file) => file,
            Err(MakeError::Retry(error)) => return Err(io_error("a new segment", error)),
            Err(MakeError::Unsynced(error)) => return Err(self.poison("the sync of a new segment", &error)),
        };
        if !replaces {
            let info = SegmentInfo { header, bytes: SEGMENT_HEADER_BYTES, newest: None };
            self.view.published().segments.push(info);
        }
        self.active = Some(Active { file, bytes: SEGMENT_HEADER_BYTES });
        self.encoder.begin_segment();
        Ok(())
    }

    /// The greatest appendedAt of a sealed segment's frames; looked up once.
    fn newest(&self, first: FrameSeq, bytes: u64) -> Result<ReceivedAt, LogError> {
        let segment = Segment::open(self.view.disk.as_ref(), &self.view.dir, first)?;
        let mut walk = segment.walk(bytes);
        let mut newest = ReceivedAt::from_micros(i64::MIN);
        loop {
            match walk.peek()? {
                Step::Frame(header) => {
                    newest = newest.max(header.appended_at);
                    walk.pass(&header);
                }
                Step::Damage(reason) => return Err(segment.corrupt(walk.at, reason)),
                Step::End => return Ok(newest),
            }
        }
    }
}

/// Why a segment could not be made.
pub(crate) enum MakeError {
    /// Nothing happened that a second try would have to know of.
    Retry(io::Error),
    /// A sync failed.
    Unsynced(io::Error),
}

/// Makes a segment under another name, synced, and then gives it its own, synced: a segment is there whole or not at
/// all. It may replace one of the same name.
pub(crate) fn make_segment(
    disk: &dyn Disk,
    dir: &Path,
    header: &SegmentHeader,
    frames: &[u8],
) -> Result<Box<dyn DiskFile>, MakeError> {
    let unfinished = dir.join(unfinished_name(header.first.seq));
    match disk.remove(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(MakeError::Retry(error)),
        _ => {}
    }
    let mut file = disk.open(&unfinished, Open::Create).map_err(MakeError::Retry)?;
    file.append(&header.encode()).map_err(MakeError::Retry)?;
    if !frames.is_empty() {
        file.append(frames).map_err(MakeError::Retry)?;
    }
    file.sync().map_err(MakeError::Unsynced)?;
    disk.rename(&unfinished, &segment_path(dir, header.first.seq)).map_err(MakeError::Retry)?;
    disk.sync_dir(dir).map_err(MakeError::Unsynced)?;
    Ok(file)
}

impl LogView for EmbeddedLog {
    fn durable(&self) -> Position {
        self.view.durable()
    }

    fn start(&self) -> Position {
        self.view.start()
    }

    fn read(&self, from: FrameSeq) -> Result<Box<dyn FrameReader>, LogError> {
        self.view.read(from)
    }

    fn files(&self, through: FrameSeq) -> Result<Vec<(String, u64)>, LogError> {
        self.view.files(through)
    }

    fn frame_of(&self, offset: Offset) -> Result<Frame, LogError> {
        self.view.frame_of(offset)
    }
}

impl EventLog for EmbeddedLog {
    fn begin(&mut self, appended_at: ReceivedAt, metadata_revision: MetadataRevision) -> Result<(), LogError> {
        if let Some(reason) = &self.poisoned {
            return Err(LogError::Poisoned { reason: reason.clone() });
        }
        let durable = self.view.durable();
        if self.active.as_ref().is_none_or(|active| active.bytes >= self.options.segment_bytes) {
            self.begin_segment(durable)?;
        }
        self.encoder.begin(FrameHeader {
            at: self.active.as_ref().expect("a segment was begun").bytes,
            position: durable,
            appended_at,
            metadata_revision,
            durable,
            time_base_micros: 0,
            records: 0,
            blocks_bytes: 0,
            dictionary_bytes: 0,
        });
        Ok(())
    }

    fn push(&mut self, batch: &RecordBatch) -> Result<(), LogError> {
        let pushed = self.encoder.push(batch, self.options.bytes_max());
        pushed.inspect_err(|_| self.encoder.rollback())
    }

    fn commit(&mut self) -> Result<Appended, LogError> {
        let active = self.active.as_mut().expect("a frame was begun");
        let (header, bytes) = match self.encoder.end(self.options.bytes_max()) {
            Ok(encoded) => encoded,
            Err(error) => {
                self.encoder.rollback();
                return Err(error);
            }
        };
        if let Err(error) = active.file.append(bytes) {
            self.encoder.rollback();
            // The part that was written is cut again, durably, before anything is written behind it.
            if let Err(cut) = active.file.truncate(active.bytes).and_then(|()| active.file.sync()) {
                return Err(self.poison("the cut of a half-written frame", &cut));
            }
            return Err(io_error("the append of a frame", error));
        }
        if let Err(error) = active.file.sync() {
            return Err(self.poison("the sync of a frame", &error));
        }
        self.encoder.commit();
        active.bytes = header.end();
        let mut published = self.view.published();
        if let Some(info) = published.segments.last_mut() {
            info.bytes = header.end();
            info.newest = info.newest.max(Some(header.appended_at));
        }
        published.durable = header.next();
        drop(published);
        self.last = Some(LastFrame {
            appended_at: header.appended_at,
            metadata_revision: header.metadata_revision,
            records: header.records,
        });
        Ok(Appended {
            seq: header.position.seq,
            base: header.position.offset,
            records: u64::from(header.records),
            bytes: header.end() - header.at,
        })
    }

    fn trim(&mut self, passed: &[(&str, FrameSeq)], keep_from: ReceivedAt) -> Result<u64, LogError> {
        let Some(passed) = passed.iter().map(|(_, seq)| *seq).min() else { return Ok(0) };
        let mut freed = 0;
        loop {
            let (oldest, next) = match self.view.published().segments[..] {
                [oldest, next, ..] => (oldest, next),
                _ => return Ok(freed),
            };
            if passed < next.header.first.seq {
                return Ok(freed);
            }
            let first = oldest.header.first.seq;
            let newest = match oldest.newest {
                Some(newest) => newest,
                None => self.newest(first, oldest.bytes)?,
            };
            if newest >= keep_from {
                if let Some(info) = self.view.published().segments.first_mut() {
                    info.newest = Some(newest);
                }
                return Ok(freed);
            }
            self.view.published().segments.remove(0);
            if let Err(error) = self.view.disk.remove(&segment_path(&self.view.dir, first)) {
                self.view.published().segments.insert(0, oldest);
                return Err(LogError::io("the removal of a segment", error));
            }
            // Synced one by one: a power loss must not take a younger segment and leave an older one.
            if let Err(error) = self.view.disk.sync_dir(&self.view.dir) {
                return Err(self.poison("the sync of the directory after a removal", &error));
            }
            freed += oldest.bytes;
        }
    }

    fn close(&mut self) -> Result<(), LogError> {
        if let Some(reason) = &self.poisoned {
            return Err(LogError::Poisoned { reason: reason.clone() });
        }
        match self.last {
            Some(LastFrame { appended_at, metadata_revision, records: 1.. }) => {
                self.append(&FrameDraft { appended_at, metadata_revision, batches: &[] }).map(|_| ())
            }
            _ => Ok(()),
        }
    }

    fn view(&self) -> Box<dyn LogView> {
        Box::new(self.view.clone())
    }
}
