//! Checks a whole log, byte by byte.
//!
//! Invariant: Ok means that every checksum agrees, the chain has no gap and every record decodes. It changes nothing.

use adsum_model::record::RecordBatch;

use crate::LogError;
use crate::decode::decode_frame;
use crate::dictionary::Dictionary;
use crate::reader::EmbeddedView;
use crate::segment::{Segment, Step};

/// What was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Segments.
    pub segments: u64,
    /// Frames in them.
    pub frames: u64,
    /// Records in those.
    pub records: u64,
    /// Bytes of all.
    pub bytes: u64,
}

pub(crate) fn verify_all(view: &EmbeddedView) -> Result<Verified, LogError> {
    let (segments, durable) = {
        let published = view.published();
        (published.segments.clone(), published.durable)
    };
    let mut verified = Verified::default();
    let mut dictionary = Dictionary::default();
    let mut batch = RecordBatch::default();
    for (i, info) in segments.iter().enumerate() {
        let segment = Segment::open(view.disk.as_ref(), &view.dir, info.header.first.seq)?;
        dictionary.clear();
        let mut walk = segment.walk(info.bytes);
        loop {
            match walk.peek()? {
                Step::Frame(header) => {
                    walk.body(&header, &mut batch.arena)?;
                    decode_frame(&header, &mut dictionary, &view.catalog, &mut batch)
                        .map_err(|reason| segment.corrupt(header.at, reason))?;
                    verified.frames += 1;
                    verified.records += batch.len() as u64;
                    walk.pass(&header);
                }
                Step::Damage(reason) => return Err(segment.corrupt(walk.at, reason)),
                Step::End => break,
            }
        }
        let next = segments.get(i + 1).map_or(durable, |s| s.header.first);
        if walk.expect != next {
            return Err(segment.corrupt(walk.at, format!("frame {} must follow", next.seq.get())));
        }
        verified.segments += 1;
        verified.bytes += info.bytes;
    }
    Ok(verified)
}
