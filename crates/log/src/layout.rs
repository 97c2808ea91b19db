//! The fixed parts of format v1: headers of segments and frames, their checksums, names of files.
//!
//! Invariant: every byte of a header is under its CRC-32, and a frame's header names its own place in the file, so that
//! bytes that a sender chose cannot pass for one. Not here: what lies between headers.

use std::ops::Range;

use adsum_model::id::{FrameSeq, MetadataRevision, Offset, Position};
use adsum_model::time::ReceivedAt;

/// Bytes of a segment's header.
pub(crate) const SEGMENT_HEADER_BYTES: u64 = 48;
/// Bytes of a frame's header.
pub(crate) const FRAME_HEADER_BYTES: usize = 88;
/// The first bytes of a frame.
pub(crate) const FRAME_MAGIC: [u8; 4] = *b"\xadfrm";
const SEGMENT_MAGIC: [u8; 8] = *b"adsumlog";
const VERSION: u32 = 1;
/// How much of a frame's header is known before its records are encoded.
const BINDING_BYTES: usize = 64;

/// The header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// The first frame of the segment before it; its own first frame where there was none.
    pub previous: FrameSeq,
    /// How many bytes of the segment before it belong to the log; 0 where there was none.
    pub previous_bytes: u64,
    /// Where it begins. Everything before is durable.
    pub first: Position,
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// Its place in the segment's file.
    pub at: u64,
    /// Its number and the offset of its first record.
    pub position: Position,
    /// The writer's `now`.
    pub appended_at: ReceivedAt,
    /// The state of the metadata.
    pub metadata_revision: MetadataRevision,
    /// The durable position before it.
    pub durable: Position,
    /// What times are relative to, microseconds since 1970 UTC.
    pub time_base_micros: i64,
    /// How many records it has.
    pub records: u32,
    /// Bytes of its blocks, their lengths and checksums included.
    pub blocks_bytes: u32,
    /// Bytes of its dictionary section, the checksum included; 0 without one.
    pub dictionary_bytes: u32,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

fn position_at(bytes: &[u8], at: usize) -> Position {
    Position { seq: FrameSeq::new(u64_at(bytes, at)), offset: Offset::new(u64_at(bytes, at + 8)) }
}

impl SegmentHeader {
    /// As bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SEGMENT_HEADER_BYTES as usize);
        bytes.extend_from_slice(&SEGMENT_MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        for word in [self.previous.get(), self.previous_bytes, self.first.seq.get(), self.first.offset.get()] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// From its bytes; what is wrong with them otherwise.
    pub(crate) fn decode(bytes: &[u8; SEGMENT_HEADER_BYTES as usize]) -> Result<Self, String> {
        if bytes[..8] != SEGMENT_MAGIC {
            return Err("this is no segment of a log".to_owned());
        }
        if crc32fast::hash(&bytes[..44]) != u32_at(bytes, 44) {
            return Err("the checksum of the segment's header is wrong".to_owned());
        }
        if u32_at(bytes, 8) != VERSION {
            return Err(format!("format version {} is not known", u32_at(bytes, 8)));
        }
        Ok(Self {
            previous: FrameSeq::new(u64_at(bytes, 12)),
            previous_bytes: u64_at(bytes, 20),
            first: position_at(bytes, 28),
        })
    }
}

impl FrameHeader {
    /// As bytes.
    pub(crate) fn encode(&self) -> [u8; FRAME_HEADER_BYTES] {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        bytes[..4].copy_from_slice(&FRAME_MAGIC);
        bytes[4..8].copy_from_slice(&VERSION.to_le_bytes());
        let words = [
            self.at,
            self.position.seq.get(),
            self.position.offset.get(),
            self.appended_at.micros() as u64,
            self.metadata_revision.get(),
            self.durable.seq.get(),
            self.durable.offset.get(),
            self.time_base_micros as u64,
        ];
        for (place, word) in bytes[8..72].chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        let halves = [self.records, self.blocks_bytes, self.dictionary_bytes];
        for (place, half) in bytes[72..84].chunks_exact_mut(4).zip(halves) {
            place.copy_from_slice(&half.to_le_bytes());
        }
        let crc = crc32fast::hash(&bytes[..84]);
        bytes[84..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// From its bytes, found at `at`; what is wrong with them otherwise.
    pub(crate) fn decode(bytes: &[u8; FRAME_HEADER_BYTES], at: u64) -> Result<Self, String> {
        if bytes[..4] != FRAME_MAGIC {
            return Err("no frame begins here".to_owned());
        }
        if crc32fast::hash(&bytes[..84]) != u32_at(bytes, 84) {
            return Err("the checksum of the frame's header is wrong".to_owned());
        }
        if u32_at(bytes, 4) != VERSION {
            return Err(format!("format version {} is not known", u32_at(bytes, 4)));
        }
        let header = Self {
            at: u64_at(bytes, 8),
            position: position_at(bytes, 16),
            appended_at: ReceivedAt::from_micros(u64_at(bytes, 32) as i64),
            metadata_revision: MetadataRevision::new(u64_at(bytes, 40)),
            durable: position_at(bytes, 48),
            time_base_micros: u64_at(bytes, 64) as i64,
            records: u32_at(bytes, 72),
            blocks_bytes: u32_at(bytes, 76),
            dictionary_bytes: u32_at(bytes, 80),
        };
        if header.at != at { Err("the frame belongs to another place".to_owned()) } else { Ok(header) }
    }

    /// What the checksums of the frame's sections begin from: the CRC-32 of the header's first [`BINDING_BYTES`], so
    /// that a section of another frame is damage.
    pub(crate) fn binding(&self) -> u32 {
        crc32fast::hash(&self.encode()[..BINDING_BYTES])
    }

    /// Bytes behind the header.
    pub(crate) fn body_bytes(&self) -> u64 {
        u64::from(self.blocks_bytes) + u64::from(self.dictionary_bytes)
    }

    /// Where the next frame begins.
    pub(crate) fn end(&self) -> u64 {
        self.at + FRAME_HEADER_BYTES as u64 + self.body_bytes()
    }

    /// The position behind it.
    pub(crate) fn next(&self) -> Position {
        Position { seq: self.position.seq.plus(1), offset: self.position.offset.plus(u64::from(self.records)) }
    }
}

/// The CRC-32 of a section of a frame with this binding.
pub(crate) fn section_crc(binding: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(binding);
    hasher.update(bytes);
    hasher.finalize()
}

/// The next block's payload from `pos` on, which moves behind its checksum; `None` at the end.
pub(crate) fn next_block(blocks: &[u8], pos: &mut usize, binding: u32) -> Result<Option<Range<usize>>, String> {
    let start = *pos;
    if start == blocks.len() {
        return Ok(None);
    }
    let broken = || "a block is longer than its frame".to_owned();
    if blocks.len() - start < 8 {
        return Err(broken());
    }
    let payload = start + 4..(start + 4).saturating_add(u32_at(blocks, start) as usize);
    if blocks.len() - 4 < payload.end {
        return Err(broken());
    }
    if section_crc(binding, &blocks[start..payload.end]) != u32_at(blocks, payload.end) {
        return Err("the checksum of a block is wrong".to_owned());
    }
    *pos = payload.end + 4;
    Ok(Some(payload))
}

/// The payload of a dictionary section.
pub(crate) fn dictionary_payload(section: &[u8], binding: u32) -> Result<&[u8], String> {
    match section.len().checked_sub(4) {
        None if section.is_empty() => Ok(section),
        Some(end) if section_crc(binding, &section[..end]) == u32_at(section, end) => Ok(&section[..end]),
        _ => Err("the checksum of the dictionary is wrong".to_owned()),
    }
}

/// Checks the checksums of everything behind a header.
pub(crate) fn check_body(header: &FrameHeader, body: &[u8]) -> Result<(), String> {
    let binding = header.binding();
    let (blocks, dictionary) = body.split_at(header.blocks_bytes as usize);
    let mut pos = 0;
    while next_block(blocks, &mut pos, binding)?.is_some() {}
    dictionary_payload(dictionary, binding).map(|_| ())
}

/// The name of the segment that begins with `first`.
pub(crate) fn segment_name(first: FrameSeq) -> String {
    format!("{:020}.log", first.get())
}

/// The name of a segment while it is being made.
pub(crate) fn unfinished_name(first: FrameSeq) -> String {
    format!("{:020}.tmp", first.get())
}

/// The first frame of the segment of this name; `None` for other files.
pub(crate) fn segment_of_name(name: &str) -> Option<FrameSeq> {
    number(name.strip_suffix(".log")?)
}

/// Whether a file is a segment whose making was cut short.
pub(crate) fn is_unfinished(name: &str) -> bool {
    name.strip_suffix(".tmp").and_then(number).is_some()
}

/// The name of the file that keeps a torn tail.
pub(crate) fn torn_name(first: FrameSeq, at: u64) -> String {
    format!("torn-{:020}-{at}", first.get())
}

fn number(digits: &str) -> Option<FrameSeq> {
    let plain = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
    if plain { digits.parse().ok().map(FrameSeq::new) } else { None }
}
