//! What every log does, whatever it is made of.

use std::sync::Arc;

use adsum_disk::{FaultyDisk, RealDisk};
use adsum_log::{EmbeddedLog, EventLog, Frame, FrameDraft, LogError, LogOptions, LogView, MemoryLog};
use adsum_model::catalog::Catalog;
use adsum_model::id::{FrameSeq, MetadataRevision, Offset, Position};

use crate::sample::{Random, Record, SMALL, append, batch_of, catalog, now, open, read_all, records_of};

/// One clause of the contract.
type Clause = fn(&mut dyn EventLog, &Catalog);

const CLAUSES: &[(&str, Clause)] = &[
    ("an empty log", empty),
    ("what was appended is read", appended_is_read),
    ("a reader follows the writer", reader_follows),
    ("several batches are one frame", several_batches),
    ("a record by its offset", record_by_offset),
    ("out of range", out_of_range),
    ("trimming", trimming),
    ("closing proves the last frame once", closing),
];

fn empty(log: &mut dyn EventLog, catalog: &Catalog) {
    assert_eq!((log.start(), log.durable()), (Position::default(), Position::default()));
    assert_eq!(read_all(log, catalog, FrameSeq::ZERO).unwrap(), []);
    log.close().unwrap();
    assert_eq!(log.durable(), Position::default(), "there is nothing to prove");
}

fn appended_is_read(log: &mut dyn EventLog, catalog: &Catalog) {
    let mut random = Random(1);
    let mut want = Vec::new();
    let mut position = Position::default();
    for i in 0..40 {
        let records = Record::samples(&mut random, i % 13);
        let appended = append(log, catalog, i as i64, &records).unwrap();
        assert_eq!((appended.seq, appended.base), (position.seq, position.offset));
        assert_eq!(appended.records, records.len() as u64);
        position = Position { seq: position.seq.plus(1), offset: position.offset.plus(appended.records) };
        assert_eq!(log.durable(), position);
        want.push((appended.seq, appended.base, records));
    }
    assert_eq!(read_all(log, catalog, FrameSeq::ZERO).unwrap(), want);
    for from in 0..=40 {
        assert_eq!(read_all(log, catalog, FrameSeq::new(from)).unwrap(), want[from as usize..]);
    }
    assert_eq!(read_all(log.view().as_ref(), catalog, FrameSeq::new(7)).unwrap(), want[7..]);
}

fn reader_follows(log: &mut dyn EventLog, catalog: &Catalog) {
    let mut random = Random(2);
    let mut reader = log.read(FrameSeq::ZERO).unwrap();
    let mut frame = Frame::default();
    for i in 0..30 {
        assert!(!reader.next(&mut frame).unwrap());
        let records = Record::samples(&mut random, 6);
        let appended = append(log, catalog, i, &records).unwrap();
        assert!(reader.next(&mut frame).unwrap());
        assert_eq!((frame.seq, frame.base, frame.bytes), (appended.seq, appended.base, appended.bytes));
        assert_eq!((frame.appended_at, frame.metadata_revision), (now(i), MetadataRevision::new(i as u64)));
        assert_eq!(records_of(catalog, &frame), records);
    }
    let view = log.view();
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut reader = view.read(FrameSeq::new(30)).unwrap();
            let mut frame = Frame::default();
            let mut seqs = Vec::new();
            while seqs.len() < 50 {
                if reader.next(&mut frame).unwrap() {
                    assert_eq!(frame.records.len(), 3);
                    seqs.push(frame.seq.get());
                }
            }
            seqs
        });
        for i in 0..50 {
            append(log, catalog, i, &Record::samples(&mut random, 3)).unwrap();
        }
        assert_eq!(reading.join().unwrap(), (30..80).collect::<Vec<u64>>());
    });
}

fn several_batches(log: &mut dyn EventLog, catalog: &Catalog) {
    let mut random = Random(3);
    let records = Record::samples(&mut random, 60);
    let batches: Vec<_> = records.chunks(7).map(|some| batch_of(catalog, some)).collect();
    let batches: Vec<_> = batches.iter().collect();
    let draft = FrameDraft { appended_at: now(0), metadata_revision: MetadataRevision::ZERO, batches: &batches };
    assert_eq!(log.append(&draft).unwrap().records, 60);
    assert_eq!(read_all(log, catalog, FrameSeq::ZERO).unwrap(), [(FrameSeq::ZERO, Offset::ZERO, records)]);
}

fn record_by_offset(log: &mut dyn EventLog, catalog: &Catalog) {
    let mut random = Random(4);
    let mut all = Vec::new();
    for i in 0..20 {
        let records = Record::samples(&mut random, i % 5);
        append(log, catalog, i as i64, &records).unwrap();
        all.extend(records);
    }
    for (offset, record) in all.iter().enumerate() {
        let frame = log.frame_of(Offset::new(offset as u64)).unwrap();
        let in_frame = offset - frame.base.get() as usize;
        assert_eq!(&records_of(catalog, &frame)[in_frame], record);
    }
    let behind = log.frame_of(Offset::new(all.len() as u64));
    assert!(matches!(behind, Err(LogError::OutOfRange { .. })), "{behind:?}");
}

fn out_of_range(log: &mut dyn EventLog, catalog: &Catalog) {
    append(log, catalog, 0, &[]).unwrap();
    assert!(log.read(FrameSeq::new(1)).is_ok());
    let error = log.read(FrameSeq::new(2)).err().unwrap();
    assert!(matches!(error, LogError::OutOfRange { .. }), "{error}");
}

fn trimming(log: &mut dyn EventLog, catalog: &Catalog) {
    let mut random = Random(5);
    for i in 0..60 {
        append(log, catalog, i, &Record::samples(&mut random, 8)).unwrap();
    }
    let all = read_all(log, catalog, FrameSeq::ZERO).unwrap();
    let mut follower = log.read(FrameSeq::ZERO).unwrap();
    let seq = FrameSeq::new;
    assert_eq!(log.trim(&[], now(100)).unwrap(), 0, "no consumer: nothing may go");
    assert_eq!(log.trim(&[("store", seq(60)), ("archive", seq(0))], now(100)).unwrap(), 0, "the archive is behind");
    assert_eq!(log.trim(&[("store", seq(60))], now(0)).unwrap(), 0, "all are young");
    assert_eq!(log.start(), Position::default());
    let freed = log.trim(&[("store", seq(40)), ("archive", seq(50))], now(30)).unwrap();
    let start = log.start().seq.get();
    assert!(freed > 0 && (1..=30).contains(&start), "{freed} bytes, starts at {start}");
    assert_eq!(log.start().offset, Offset::new(start * 8));
    assert_eq!(read_all(log, catalog, seq(start)).unwrap(), all[start as usize..]);
    let gone = [log.read(seq(start - 1)).err().unwrap(), log.frame_of(Offset::ZERO).err().unwrap()];
    let ended = follower.next(&mut Frame::default()).unwrap_err();
    for error in gone.into_iter().chain([ended]) {
        assert!(matches!(error, LogError::OutOfRange { .. }), "{error}");
    }
    append(log, catalog, 61, &[]).unwrap();
    assert_eq!(log.durable().seq, seq(61));
}

fn closing(log: &mut dyn EventLog, catalog: &Catalog) {
    append(log, catalog, 0, &Record::samples(&mut Random(6), 3)).unwrap();
    log.close().unwrap();
    assert_eq!(log.durable(), Position { seq: FrameSeq::new(2), offset: Offset::new(3) });
    log.close().unwrap();
    assert_eq!(log.durable().seq, FrameSeq::new(2), "an empty frame needs no proof");
    let frames = read_all(log, catalog, FrameSeq::new(1)).unwrap();
    assert_eq!(frames, [(FrameSeq::new(1), Offset::new(3), Vec::new())]);
}

fn check(mut make: impl FnMut(Arc<Catalog>) -> Box<dyn EventLog>) {
    for (name, clause) in CLAUSES {
        let catalog = catalog();
        eprintln!("{name}");
        clause(make(catalog.clone()).as_mut(), &catalog);
    }
}

#[test]
fn memory() {
    check(|_| Box::new(MemoryLog::new()));
}

#[test]
fn embedded() {
    check(|catalog| Box::new(open(&FaultyDisk::new(1), &catalog, SMALL, None).unwrap().0));
}

#[test]
fn embedded_on_a_real_disk() {
    let dir = std::env::temp_dir().join(format!("adsum-log-contract-{}", std::process::id()));
    let mut count = 0;
    check(|catalog| {
        count += 1;
        let dir = dir.join(count.to_string());
        let log = EmbeddedLog::open(Arc::new(RealDisk), &dir, catalog, SMALL, None).unwrap().0;
        Box::new(log)
    });
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
#[allow(clippy::disallowed_methods, reason = "the copy is made as a backup makes it")]
fn a_copy_of_the_files_up_to_a_frame_is_a_log_that_ends_there() {
    let dirs = tempfile::tempdir().unwrap();
    let catalog = catalog();
    let from = dirs.path().join("from");
    let (mut log, _) = EmbeddedLog::open(Arc::new(RealDisk), &from, catalog.clone(), SMALL, None).unwrap();
    let mut random = Random(9);
    for i in 0..60 {
        append(&mut log, &catalog, i, &Record::samples(&mut random, 8)).unwrap();
    }
    let all = read_all(&log, &catalog, FrameSeq::ZERO).unwrap();
    for through in 0..=60 {
        let to = dirs.path().join(through.to_string());
        std::fs::create_dir(&to).unwrap();
        for (name, bytes) in log.view().files(FrameSeq::new(through)).unwrap() {
            let file = std::fs::read(from.join(&name)).unwrap();
            std::fs::write(to.join(&name), &file[..bytes as usize]).unwrap();
        }
        let (copy, report) = EmbeddedLog::open(Arc::new(RealDisk), &to, catalog.clone(), SMALL, None).unwrap();
        assert_eq!(report.torn, None, "{through}");
        assert_eq!(read_all(&copy, &catalog, FrameSeq::ZERO).unwrap(), all[..through as usize], "{through}");
    }
    let behind = log.files(FrameSeq::new(61));
    assert!(matches!(behind, Err(LogError::OutOfRange { .. })), "{behind:?}");
}

#[test]
fn a_log_goes_on_after_it_was_opened_again() {
    let disk = FaultyDisk::new(1);
    let catalog = catalog();
    let mut random = Random(7);
    let mut want = Vec::new();
    for life in 0..12 {
        // Another process has other symbols.
        let catalog = crate::sample::catalog();
        let store = (life % 3 == 1).then(|| Position {
            seq: FrameSeq::new(want.len() as u64),
            offset: Offset::new(want.iter().map(|(_, _, r): &(_, _, Vec<Record>)| r.len() as u64).sum()),
        });
        let (mut log, report) = open(&disk, &catalog, SMALL, store).unwrap();
        let proven = want.is_empty() || store.is_some();
        assert_eq!((report.torn, report.moved_frames), (None, u64::from(!proven)), "life {life}");
        for i in 0..life {
            let records = Record::samples(&mut random, 4);
            let appended = append(&mut log, &catalog, i, &records).unwrap();
            want.push((appended.seq, appended.base, records));
        }
        assert_eq!(read_all(&log, &catalog, FrameSeq::ZERO).unwrap(), want);
        assert_eq!(log.verify_all().unwrap().frames, want.len() as u64);
        if life % 2 == 1 {
            log.close().unwrap();
            let durable = log.durable();
            let empty = Position { seq: FrameSeq::new(durable.seq.get() - 1), ..durable };
            want.push((empty.seq, empty.offset, Vec::new()));
        }
    }
    let (log, _) = open(&disk, &catalog, LogOptions::default(), None).unwrap();
    assert_eq!(read_all(&log, &catalog, FrameSeq::ZERO).unwrap(), want);
}

#[test]
fn a_frame_over_the_limit_is_refused_and_leaves_no_trace() {
    let catalog = catalog();
    let options = LogOptions { frame_bytes_max: 1500, ..SMALL };
    let (mut log, _) = open(&FaultyDisk::new(1), &catalog, options, None).unwrap();
    let mut random = Random(8);
    let records = Record::samples(&mut random, 5);
    for i in 0..9 {
        let error = append(&mut log, &catalog, i, &Record::samples(&mut random, 200)).unwrap_err();
        assert!(matches!(error, LogError::TooLarge { bytes_max: 1500, .. }), "{error}");
        append(&mut log, &catalog, i, &records).unwrap();
    }
    for (_, _, got) in read_all(&log, &catalog, FrameSeq::ZERO).unwrap() {
        assert_eq!(got, records);
    }
    assert_eq!(log.verify_all().unwrap().frames, 9);
}
