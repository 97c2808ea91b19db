//! Opening a log after whatever happened.
//!
//! Invariant: what was durable is there afterwards, or the log is refused with the place that is damaged. Proof that a
//! frame was durable is a durable position behind it: in a later intact frame header, in a later segment's header, or
//! the store's. Damage that nothing proves is a torn tail: kept aside, then cut. Intact frames that nothing proves are
//! written to a new, synced segment before anyone sees them, for a sync of theirs may have failed and the bytes may be
//! in the page cache only. Each step leaves a log that opens to the same frames. Not here: decoding records.

use std::io;
use std::path::Path;

use adsum_disk::{Disk, Open};
use adsum_model::id::Position;

use crate::LogError;
use crate::dictionary::Gathered;
use crate::embedded::{LastFrame, MakeError, make_segment};
use crate::layout::{
    FRAME_HEADER_BYTES, FrameHeader, SEGMENT_HEADER_BYTES, SegmentHeader, dictionary_payload, is_unfinished,
    next_block, section_crc, segment_name, segment_of_name, torn_name,
};
use crate::reader::{Published, SegmentInfo};
use crate::segment::{Segment, Step, segment_path};

/// What opening found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// How many segments there are.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many bytes were checked.
    pub verified_bytes: u64,
    /// The torn tail that was cut, if there was one.
    pub torn: Option<TornTail>,
    /// How many intact frames were written again because nothing proved that they were durable.
    pub moved_frames: u64,
}

/// Bytes behind the last intact frame, which nothing proves to have been durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment's file name.
    pub segment: String,
    /// Where the damage begins.
    pub at: u64,
    /// How many bytes were cut.
    pub bytes: u64,
    /// What is wrong there.
    pub reason: String,
    /// The name of the file in the log's directory that keeps them.
    pub kept_as: String,
}

/// The last segment as scanned.
struct Scan {
    frames: Vec<FrameHeader>,
    /// Behind the last intact frame.
    end: Position,
    end_bytes: u64,
    /// The greatest durable position named so far.
    proven: Position,
    damage: Option<String>,
}

/// Reads what is there, cuts and moves what must be, and says what the log is.
pub(crate) fn recover(
    disk: &dyn Disk,
    dir: &Path,
    verify_bytes: u64,
    store: Option<Position>,
) -> Result<(Published, Option<LastFrame>, OpenReport), LogError> {
    let dir_error = |e| LogError::io(dir.display().to_string(), e);
    disk.create_dir_all(dir).map_err(dir_error)?;
    let names = disk.list(dir).map_err(dir_error)?;
    for name in names.iter().filter(|name| is_unfinished(name)) {
        disk.remove(&dir.join(name)).map_err(|e| LogError::io(name.clone(), e))?;
    }
    let mut segments = Vec::new();
    for first in names.iter().filter_map(|name| segment_of_name(name)) {
        let segment = Segment::open(disk, dir, first)?;
        segments.push(SegmentInfo { header: segment.header, bytes: segment.len()?, newest: None });
    }
    check_chain(disk, dir, &mut segments)?;
    let store_position = store.unwrap_or_default();
    let mut report = OpenReport { segments: segments.len() as u64, ..OpenReport::default() };
    let Some(last) = segments.last().copied() else {
        if store_position > Position::default() {
            let reason = format!("there is no log, and the store has read frames up to {}", store_position.seq.get());
            return Err(LogError::corrupt(&segment_name(store_position.seq), 0, reason));
        }
        return Ok((Published::default(), None, report));
    };
    let start = segments[0].header.first;
    if store.is_some_and(|store| store.seq < start.seq) {
        let reason = format!("the log begins here, and the store needs it from frame {}", store_position.seq.get());
        return Err(LogError::corrupt(&segment_name(start.seq), 0, reason));
    }
    report.verified_bytes = verify_sealed(disk, dir, &mut segments, verify_bytes)? + last.bytes;
    let segment = Segment::open(disk, dir, last.header.first.seq)?;
    let scan = scan_last(&segment, last.bytes, store)?;
    if let Some(reason) = &scan.damage {
        report.torn = Some(cut_torn(disk, dir, &segment, &scan, last.bytes, reason)?);
    }
    let unproven = scan.frames.partition_point(|frame| frame.position.seq < scan.proven.seq);
    let newest = |frames: &[FrameHeader]| frames.iter().map(|f| f.appended_at).max();
    let info = segments.last_mut().expect("there is a last segment");
    info.bytes = scan.end_bytes;
    info.newest = newest(&scan.frames);
    if unproven < scan.frames.len() {
        let (header, bytes) = move_unproven(disk, dir, &segment, &scan.frames, unproven)?;
        report.moved_frames = (scan.frames.len() - unproven) as u64;
        let moved = SegmentInfo { header, bytes, newest: newest(&scan.frames[unproven..]) };
        if unproven == 0 {
            *info = moved;
        } else {
            info.bytes = header.previous_bytes;
            info.newest = newest(&scan.frames[..unproven]);
            segments.push(moved);
            report.segments += 1;
        }
    }
    report.bytes = segments.iter().map(|s| s.bytes).sum();
    let last_frame = scan.frames.last().map(|frame| LastFrame {
        appended_at: frame.appended_at,
        metadata_revision: frame.metadata_revision,
        records: frame.records,
    });
    Ok((Published { segments, durable: scan.end }, last_frame, report))
}

/// Each segment's header names the one before it and its length. What lies behind that length was moved to the next
/// segment, and the cut that follows had not happened.
fn check_chain(disk: &dyn Disk, dir: &Path, segments: &mut [SegmentInfo]) -> Result<(), LogError> {
    for i in 1..segments.len() {
        let next = segments[i].header;
        let info = &mut segments[i - 1];
        let name = segment_name(info.header.first.seq);
        if next.previous != info.header.first.seq {
            let reason = format!("the segment before it, {}, is missing", segment_name(next.previous));
            return Err(LogError::corrupt(&segment_name(next.first.seq), 0, reason));
        }
        if info.bytes < next.previous_bytes {
            let reason = format!("the segment is cut short: it had {} bytes", next.previous_bytes);
            return Err(LogError::corrupt(&name, info.bytes, reason));
        }
        if info.bytes > next.previous_bytes {
            let (before, behind) =
                (Segment::open(disk, dir, info.header.first.seq)?, Segment::open(disk, dir, next.first.seq)?);
            let mut superseded = before.walk(info.bytes);
            (superseded.at, superseded.expect) = (next.previous_bytes, next.first);
            for mut walk in [superseded, behind.walk(behind.len()?)] {
                if !matches!(walk.verify(&mut Vec::new())?, Step::Frame(_)) {
                    let reason = "what follows the segment's end is not the frame that the next segment begins with";
                    return Err(LogError::corrupt(&name, next.previous_bytes, reason));
                }
            }
            cut(disk, dir, &name, next.previous_bytes)?;
            info.bytes = next.previous_bytes;
        }
    }
    Ok(())
}

/// Cuts a segment, durably.
fn cut(disk: &dyn Disk, dir: &Path, name: &str, bytes: u64) -> Result<(), LogError> {
    let cut = disk.open(&dir.join(name), Open::Write).and_then(|mut file| {
        file.truncate(bytes)?;
        file.sync()
    });
    cut.map_err(|e| LogError::io(name, e))
}

/// Checks the sealed segments from the newest back, until `verify_bytes` were checked; says how many were.
fn verify_sealed(
    disk: &dyn Disk,
    dir: &Path,
    segments: &mut [SegmentInfo],
    verify_bytes: u64,
) -> Result<u64, LogError> {
    let mut verified = 0;
    let mut body = Vec::new();
    for i in (0..segments.len() - 1).rev() {
        if verified >= verify_bytes {
            break;
        }
        let next = segments[i + 1].header.first;
        let info = &mut segments[i];
        let segment = Segment::open(disk, dir, info.header.first.seq)?;
        let mut walk = segment.walk(info.bytes);
        loop {
            match walk.verify(&mut body)? {
                Step::Frame(header) => info.newest = info.newest.max(Some(header.appended_at)),
                Step::Damage(reason) => return Err(segment.corrupt(walk.at, reason)),
                Step::End => break,
            }
        }
        if walk.expect != next {
            return Err(segment.corrupt(walk.at, format!("frame {} must follow", next.seq.get())));
        }
        verified += info.bytes;
    }
    Ok(verified)
}

/// Reads the last segment up to its end or the first damage, and refuses damage to what was durable.
fn scan_last(segment: &Segment, len: u64, store: Option<Position>) -> Result<Scan, LogError> {
    let first = segment.header.first;
    let mut walk = segment.walk(len);
    let mut scan = Scan { frames: Vec::new(), end: first, end_bytes: 0, proven: first, damage: None };
    let mut body = Vec::new();
    loop {
        match walk.verify(&mut body)? {
            Step::Frame(header) => {
                check_store(segment, header.at, header.position, store)?;
                scan.proven = scan.proven.max(header.durable);
                scan.frames.push(header);
            }
            Step::Damage(reason) => {
                if let Some(durable) = segment.search_durable(walk.at, len)? {
                    scan.proven = scan.proven.max(durable);
                }
                scan.damage = Some(reason);
                break;
            }
            Step::End => break,
        }
    }
    (scan.end, scan.end_bytes) = (walk.expect, walk.at);
    check_store(segment, walk.at, scan.end, store)?;
    scan.proven = scan.proven.max(store.unwrap_or_default());
    if scan.proven.seq > scan.end.seq {
        let reason = scan.damage.as_deref().unwrap_or("the log ends here");
        let proven = scan.proven.seq.get();
        return Err(segment.corrupt(walk.at, format!("{reason}, and the frames before {proven} were durable")));
    }
    Ok(scan)
}

/// The store's position must be one of this log's.
fn check_store(segment: &Segment, at: u64, position: Position, store: Option<Position>) -> Result<(), LogError> {
    match store {
        Some(store) if store.seq == position.seq && store.offset != position.offset => {
            let reason = format!("the store expects offset {} here: it belongs to another log", store.offset.get());
            Err(segment.corrupt(at, reason))
        }
        _ => Ok(()),
    }
}

/// Keeps the bytes behind the last intact frame in a file of their own, synced, and then cuts them.
fn cut_torn(
    disk: &dyn Disk,
    dir: &Path,
    segment: &Segment,
    scan: &Scan,
    len: u64,
    reason: &str,
) -> Result<TornTail, LogError> {
    let at = scan.end_bytes;
    let mut tail = vec![0; (len - at) as usize];
    segment.read(&mut tail, at)?;
    let base = torn_name(segment.header.first.seq, at);
    let names = disk.list(dir).map_err(|e| LogError::io(dir.display().to_string(), e))?;
    // The same place can tear again after another crash; what was kept before stays.
    let mut kept_as = base.clone();
    let mut copies = 1;
    while names.contains(&kept_as) {
        copies += 1;
        kept_as = format!("{base}-{copies}");
    }
    let kept = disk.open(&dir.join(&kept_as), Open::Create).and_then(|mut file| {
        file.append(&tail)?;
        file.sync()?;
        disk.sync_dir(dir)
    });
    kept.map_err(|e| LogError::io(kept_as.clone(), e))?;
    cut(disk, dir, &segment.name, at)?;
    Ok(TornTail { segment: segment.name.clone(), at, bytes: len - at, reason: reason.to_owned(), kept_as })
}

/// Writes the frames from `unproven` on to a segment of their own, and then cuts them from theirs.
fn move_unproven(
    disk: &dyn Disk,
    dir: &Path,
    segment: &Segment,
    frames: &[FrameHeader],
    unproven: usize,
) -> Result<(SegmentHeader, u64), LogError> {
    let mut gathered = Gathered::default();
    let mut section = Vec::new();
    for frame in &frames[..unproven] {
        segment.walk(frame.end()).dictionary_section(frame, &mut section)?;
        gather(&mut gathered, frame, &section).map_err(|reason| segment.corrupt(frame.at, reason))?;
    }
    let mut moved = Vec::new();
    let mut body = Vec::new();
    for frame in &frames[unproven..] {
        segment.walk(frame.end()).body(frame, &mut body)?;
        let rewritten = move_frame(frame, &body, &mut gathered, SEGMENT_HEADER_BYTES + moved.len() as u64);
        moved.extend(rewritten.map_err(|reason| segment.corrupt(frame.at, reason))?);
    }
    let first = frames[unproven];
    let header = if unproven == 0 {
        segment.header
    } else {
        SegmentHeader { previous: segment.header.first.seq, previous_bytes: first.at, first: first.position }
    };
    match make_segment(disk, dir, &header, &moved) {
        Ok(_) => {}
        Err(MakeError::Retry(e) | MakeError::Unsynced(e)) if e.kind() == io::ErrorKind::StorageFull => {
            return Err(LogError::Full);
        }
        Err(MakeError::Retry(e) | MakeError::Unsynced(e)) => {
            return Err(LogError::io(segment_path(dir, header.first.seq).display().to_string(), e));
        }
    }
    if unproven > 0 {
        cut(disk, dir, &segment.name, header.previous_bytes)?;
    }
    Ok((header, SEGMENT_HEADER_BYTES + moved.len() as u64))
}

fn gather(gathered: &mut Gathered, frame: &FrameHeader, section: &[u8]) -> Result<(), String> {
    let payload = dictionary_payload(section, frame.binding())?;
    gathered.add(payload).ok_or_else(|| "the dictionary is malformed".to_owned())
}

/// A frame's bytes at another place, with the dictionary entries gathered so far besides its own; the records' bytes
/// stay the same.
fn move_frame(frame: &FrameHeader, body: &[u8], gathered: &mut Gathered, at: u64) -> Result<Vec<u8>, String> {
    let (blocks, section) = body.split_at(frame.blocks_bytes as usize);
    gather(gathered, frame, section)?;
    let payload = std::mem::take(gathered).payload();
    let dictionary_bytes = if payload.is_empty() { 0 } else { payload.len() as u32 + 4 };
    let header = FrameHeader { at, dictionary_bytes, ..*frame };
    let binding = header.binding();
    let mut bytes = Vec::with_capacity(FRAME_HEADER_BYTES + body.len() + payload.len());
    bytes.extend_from_slice(&header.encode());
    let mut pos = 0;
    while let Some(block) = next_block(blocks, &mut pos, frame.binding())? {
        let with_length = &blocks[block.start - 4..block.end];
        bytes.extend_from_slice(with_length);
        bytes.extend_from_slice(&section_crc(binding, with_length).to_le_bytes());
    }
    if !payload.is_empty() {
        bytes.extend_from_slice(&payload);
        bytes.extend_from_slice(&section_crc(binding, &payload).to_le_bytes());
    }
    Ok(bytes)
}
