//! The segment reader: any bytes as one or two segments of a log, opened, read, verified and opened again.
//!
//! Where the first bit of an input is set, checksums are trusted, so that what lies behind them is reached. Invariant:
//! the outcome is frames or a refusal, within bounded memory; without that bit no frame is read whose checksums do not
//! hold by a reader of its own, written from docs/formats/log-v1.md. What is read goes into another log and comes back
//! the same, and a second opening finds what the first one left. Not here: which damage is a torn tail
//! (crates/log/tests/log/damage.rs).
#![no_main]

use std::path::Path;
use std::sync::Arc;

use adsum_disk::FaultyDisk;
use adsum_log::{EmbeddedLog, EventLog, Frame, FrameDraft, LogError, LogOptions, LogView, OpenReport};
use adsum_model::catalog::{Catalog, CatalogSpec};
use adsum_model::id::{FrameSeq, Offset, Position};
use adsum_model::record::{Form, RecordBatch, RecordHead};
use adsum_model::symbol::Symbol;
use libfuzzer_sys::fuzz_target;

const DIR: &str = "log";
/// What one input may cost in memory.
const MEMORY_MAX_BYTES: usize = 64 << 20;

const TRUST: u8 = 1;
const STORE: u8 = 2;
const TWO: u8 = 4;

type Opened = Result<(EmbeddedLog, OpenReport), LogError>;

fn open(disk: &FaultyDisk, store: Option<Position>) -> (Arc<Catalog>, Opened) {
    let catalog = Arc::new(Catalog::build(&CatalogSpec::default()).expect("the default catalog"));
    let options = LogOptions::default();
    let opened = EmbeddedLog::open(Arc::new(disk.clone()), Path::new(DIR), catalog.clone(), options, store);
    (catalog, opened)
}

/// All that a record says, in words that need no catalog.
fn words(catalog: &Catalog, batch: &RecordBatch, head: &RecordHead) -> String {
    let text = |symbol: Symbol| catalog.symbols().text(symbol);
    let mut words = format!("{:?} {:?} {}", head.kind, text(head.source), head.received_at.micros());
    let stamp = &head.stamp;
    let (currency, campaign) = (text(stamp.currency), text(stamp.campaign));
    words += &format!("{:?} {:?} {currency:?} {campaign:?} {}", stamp.stream, stamp.billable, stamp.folded);
    for span in batch.fields(head) {
        words += &format!(" {} {:?}=", catalog.field(span.field).name, span.form);
        words += &match span.form {
            Form::Text | Form::Json | Form::Bytes => format!("{:?}", &batch.arena[span.range()]),
            Form::Uuid => format!("{:?}", batch.uuids[span.start as usize]),
            Form::Symbol => format!("{:?}", text(span.as_symbol())),
            Form::Uint | Form::Int | Form::Time => span.as_wide().to_string(),
        };
    }
    words
}

struct Read {
    seq: FrameSeq,
    base: Offset,
    records: Vec<String>,
}

fn read(catalog: &Catalog, log: &dyn LogView) -> Result<(Vec<Read>, Vec<Frame>), LogError> {
    let mut reader = log.read(log.start().seq)?;
    let (mut all, mut frames) = (Vec::new(), Vec::new());
    let mut frame = Frame::default();
    while reader.next(&mut frame)? {
        let records = frame.records.heads.iter().map(|head| words(catalog, &frame.records, head)).collect();
        all.push(Read { seq: frame.seq, base: frame.base, records });
        frames.push(frame.clone());
    }
    Ok((all, frames))
}

/// The frames of a segment whose checksums hold, as the page on the format has it: number, first offset, records.
fn intact(file: &[u8]) -> Vec<(u64, u64, u32)> {
    let u32_at = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().expect("4 bytes"));
    let u64_at = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().expect("8 bytes"));
    let crc = |from: u32, bytes: &[u8]| {
        !bytes.iter().fold(!from, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 })
        })
    };
    let mut frames = Vec::new();
    if file.len() < 48 || file[..8] != *b"adsumlog" || crc(0, &file[..44]) != u32_at(44) {
        return frames;
    }
    let mut at = 48;
    while at + 88 <= file.len() {
        let (records, blocks, section) = (u32_at(at + 72), u32_at(at + 76) as usize, u32_at(at + 80) as usize);
        let end = at + 88 + blocks + section;
        if file[at..at + 4] != *b"\xadfrm" || crc(0, &file[at..at + 84]) != u32_at(at + 84) || end > file.len() {
            break;
        }
        let binding = crc(0, &file[at..at + 64]);
        let holds = |from: usize, to: usize| to >= from + 4 && crc(binding, &file[from..to - 4]) == u32_at(to - 4);
        let (mut block, behind) = (at + 88, at + 88 + blocks);
        while block + 8 <= behind {
            let next = block + 8 + u32_at(block) as usize;
            if next > behind || !holds(block, next) {
                break;
            }
            block = next;
        }
        if block != behind || (section > 0 && !holds(behind, end)) {
            break;
        }
        frames.push((u64_at(at + 16), u64_at(at + 24), records));
        at = end;
    }
    frames
}

/// The name that a segment's own header gives it.
fn name(file: &[u8]) -> String {
    let first = file.get(28..36).map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().expect("8 bytes")));
    format!("{DIR}/{first:020}.log")
}

fn run(control: u8, mut rest: &[u8]) {
    let mut number = |bytes: usize| {
        let (front, behind) = rest.split_at_checked(bytes)?;
        rest = behind;
        Some(front.iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte)))
    };
    let mut store = None;
    if control & STORE != 0 {
        let (Some(seq), Some(offset)) = (number(1), number(1)) else { return };
        store = Some(Position { seq: FrameSeq::new(seq), offset: Offset::new(offset) });
    }
    let mut cut = usize::MAX;
    if control & TWO != 0 {
        let Some(at) = number(2) else { return };
        cut = at as usize;
    }
    let (one, two) = rest.split_at_checked(cut).unwrap_or((rest, &[]));
    let disk = FaultyDisk::new(1);
    for file in [one, two] {
        if !file.is_empty() {
            disk.set_bytes(Path::new(&name(file)), file.to_vec());
        }
    }
    let (catalog, opened) = open(&disk, store);
    let refused = |error: LogError| assert!(matches!(error, LogError::Corrupt { .. }), "{error}");
    let (log, _) = match opened {
        Ok(opened) => opened,
        Err(error) => return refused(error),
    };
    let outcome = read(&catalog, &log);
    let verified = log.verify_all();
    let durable = log.durable();
    drop(log);
    let (all, frames) = match outcome {
        Ok(read) => read,
        Err(error) => {
            assert!(verified.is_err(), "what cannot be read is not verified");
            return refused(error);
        }
    };
    let (again_catalog, again) = open(&disk, store);
    let (again, report) = again.expect("what one opening left, the next one opens");
    assert_eq!((again.durable(), report.torn), (durable, None), "nothing is cut twice");
    let records: usize = all.iter().map(|frame| frame.records.len()).sum();
    let verified = verified.expect("what can be read is verified");
    assert_eq!((verified.frames, verified.records), (all.len() as u64, records as u64));
    if control & TRUST == 0 {
        let intact: Vec<_> = intact(one).into_iter().chain(intact(two)).collect();
        for frame in &all {
            let frame = (frame.seq.get(), frame.base.get(), frame.records.len() as u32);
            assert!(intact.contains(&frame), "frame {frame:?} was read, and its checksums do not hold");
        }
    }
    let (same, _) = read(&again_catalog, &again).expect("what was read once is read again");
    assert_eq!(same.len(), all.len());
    assert!(same.iter().zip(&all).all(|(a, b)| a.records == b.records && (a.seq, a.base) == (b.seq, b.base)));
    let copy = FaultyDisk::new(1);
    let opened = EmbeddedLog::open(Arc::new(copy), Path::new(DIR), catalog.clone(), LogOptions::default(), None);
    let (mut copy, _) = opened.expect("an empty log");
    for frame in &frames {
        let (appended_at, metadata_revision) = (frame.appended_at, frame.metadata_revision);
        let batches = [&frame.records];
        copy.append(&FrameDraft { appended_at, metadata_revision, batches: &batches }).expect("a frame as it was");
    }
    let (copied, _) = read(&catalog, &copy).expect("a log that was just written");
    assert!(copied.iter().map(|f| &f.records).eq(all.iter().map(|f| &f.records)), "a record is not what it was");
}

fuzz_target!(|data: &[u8]| {
    let [control, rest @ ..] = data else { return };
    crc32fast::trust(control & TRUST != 0);
    adsum_fuzz::within(MEMORY_MAX_BYTES, || run(*control, rest));
});
