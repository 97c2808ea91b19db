//! Power loss, dying processes, failing syncs and full disks: an acknowledged frame is never lost, and the tests can
//! fail: a disk whose syncs lie is found out.

use adsum_disk::{Fault, FaultyDisk};
use adsum_log::{EventLog, LogError, LogView};
use adsum_model::id::{FrameSeq, Offset};

use crate::sample::{Random, Record, SMALL, append, catalog, open, read_all};

type Frames = Vec<(FrameSeq, Offset, Vec<Record>)>;

/// How many frames each history appends.
const FRAMES: i64 = 14;

/// What a writer knows when its machine stops.
#[derive(Default)]
struct Known {
    acknowledged: Frames,
    /// The frame whose append did not return Ok.
    in_flight: Option<Vec<Record>>,
}

/// Opens the log, checks what it shows, and appends until the end or the first error. What was shown once stays.
fn append_some(disk: &FaultyDisk, random: &mut Random, known: &mut Known, count: i64) -> Result<(), String> {
    let catalog = catalog();
    let Ok((mut log, _)) = open(disk, &catalog, SMALL, None) else { return Ok(()) };
    let shown = read_all(&log, &catalog, FrameSeq::ZERO);
    check(known, &shown)?;
    *known = Known { acknowledged: shown.map_err(|e| e.to_string())?, in_flight: None };
    for i in 0..count {
        let records = Record::samples(random, 3);
        match append(&mut log, &catalog, i, &records) {
            Ok(appended) => known.acknowledged.push((appended.seq, appended.base, records)),
            Err(_) => {
                known.in_flight = Some(records);
                return Ok(());
            }
        }
    }
    Ok(())
}

/// What the log holds now, or the error of opening or reading it.
fn content(disk: &FaultyDisk) -> Result<Frames, LogError> {
    let catalog = catalog();
    let (log, _) = open(disk, &catalog, SMALL, None)?;
    read_all(&log, &catalog, FrameSeq::ZERO)
}

/// Whether everything acknowledged is there, and nothing else but the frame in flight.
fn check(known: &Known, content: &Result<Frames, LogError>) -> Result<(), String> {
    let content = content.as_ref().map_err(|e| format!("refused: {e}"))?;
    let count = known.acknowledged.len();
    if content.len() < count || content[..count] != known.acknowledged[..] {
        return Err(format!("{} of {count} acknowledged frames are there", content.len()));
    }
    match (&content[count..], &known.in_flight) {
        ([], _) => Ok(()),
        ([(_, _, records)], Some(in_flight)) if records == in_flight => Ok(()),
        (more, _) => Err(format!("{} frames are there that nobody wrote so", more.len())),
    }
}

/// A history: append, stop at operation `stop`, lose power, open (and stop in that, and lose power again), append again
/// and lose power once more.
fn history(seed: u64, stop: u64, lie: impl Fn(&FaultyDisk)) -> Result<(), String> {
    let disk = FaultyDisk::new(seed);
    lie(&disk);
    let mut random = Random(seed);
    let mut known = Known::default();
    disk.fail_at(stop, Fault::Halt);
    append_some(&disk, &mut random, &mut known, FRAMES)?;
    disk.clear_faults();
    disk.crash_power();
    if !seed.is_multiple_of(3) {
        // A stop somewhere in the recovery, which is a few operations long.
        disk.fail_at(disk.operations() + random.below(8), Fault::Halt);
        let _ = content(&disk);
        disk.clear_faults();
        if seed % 3 == 1 {
            disk.crash_power();
        } else {
            disk.crash_process();
        }
    }
    append_some(&disk, &mut random, &mut known, seed as i64 % 4)?;
    disk.crash_power();
    append_some(&disk, &mut random, &mut known, 3)?;
    disk.crash_process();
    check(&known, &content(&disk))
}

fn operations_of_a_history() -> u64 {
    let disk = FaultyDisk::new(0);
    append_some(&disk, &mut Random(0), &mut Known::default(), FRAMES).unwrap();
    disk.operations()
}

#[test]
fn power_loss_at_every_operation() {
    let operations = operations_of_a_history();
    assert!(operations > 40, "{operations} operations");
    for stop in 0..=operations {
        for seed in 0..12 {
            let outcome = history(seed, stop, |_| {});
            assert_eq!(outcome, Ok(()), "seed {seed}, stopped at operation {stop}");
        }
    }
}

#[test]
fn lying_syncs_are_found_out() {
    let caught = |lie: fn(&FaultyDisk)| (0..200).find(|seed| history(*seed, 20 + seed % 30, lie).is_err());
    assert!(caught(|disk| disk.set_lying_sync(true)).is_some(), "a log without fsync passes");
    assert!(caught(|disk| disk.set_lying_sync_dir(true)).is_some(), "a log without a directory fsync passes");
}

#[test]
fn a_failed_sync_poisons() {
    for at in 0..operations_of_a_history() {
        for fault in [Fault::FailSync, Fault::FailSyncDir] {
            let disk = FaultyDisk::new(at);
            let catalog = catalog();
            let mut random = Random(at);
            let mut known = Known::default();
            disk.fail_at(at, fault);
            let (mut log, _) = open(&disk, &catalog, SMALL, None).unwrap();
            let mut poisoned = false;
            for i in 0..FRAMES + 4 {
                let records = Record::samples(&mut random, 3);
                match append(&mut log, &catalog, i, &records) {
                    Ok(appended) => {
                        assert!(!poisoned, "an append after a failed sync");
                        known.acknowledged.push((appended.seq, appended.base, records));
                    }
                    Err(LogError::Poisoned { .. }) => {
                        known.in_flight.get_or_insert(records);
                        poisoned = true;
                    }
                    Err(other) => panic!("{other}"),
                }
            }
            // A directory is synced only when a segment begins.
            if poisoned {
                assert!(matches!(log.close(), Err(LogError::Poisoned { .. })));
                assert_eq!(log.durable().seq.get(), known.acknowledged.len() as u64);
            } else {
                assert_eq!(fault, Fault::FailSyncDir);
            }
            // The process ends and begins again: what it then shows survives a power loss, although a sync of the same
            // bytes said that they could not be written.
            disk.clear_faults();
            disk.crash_process();
            let shown = content(&disk);
            assert_eq!(check(&known, &shown), Ok(()), "{fault:?} at {at}");
            disk.crash_power();
            let known = Known { acknowledged: shown.unwrap(), in_flight: None };
            assert_eq!(check(&known, &content(&disk)), Ok(()), "{fault:?} at {at}, after a power loss");
        }
    }
}

#[test]
fn a_full_disk_and_failing_writes_are_retryable() {
    let faults: &[(Fault, bool)] = &[
        (Fault::FullAfter(0), true),
        (Fault::FullAfter(30), true),
        (Fault::FullAfter(200), true),
        (Fault::FailAppend, false),
        (Fault::FailCreate, false),
        (Fault::FailRename, false),
    ];
    for at in 0..operations_of_a_history() {
        for (fault, full) in faults {
            let disk = FaultyDisk::new(at);
            let catalog = catalog();
            let mut random = Random(at);
            let mut want = Frames::new();
            let (mut log, _) = open(&disk, &catalog, SMALL, None).unwrap();
            disk.fail_at(at, *fault);
            let mut refused = 0;
            for i in 0..FRAMES + 4 {
                let records = Record::samples(&mut random, 3);
                let appended = loop {
                    match append(&mut log, &catalog, i, &records) {
                        Ok(appended) => break appended,
                        Err(LogError::Full) if *full => {}
                        Err(LogError::Io { .. }) if !full => {}
                        Err(other) => panic!("{fault:?} at {at}: {other}"),
                    }
                    refused += 1;
                    if refused == 3 || !full {
                        disk.set_space(None);
                    }
                };
                want.push((appended.seq, appended.base, records));
                assert_eq!(read_all(&log, &catalog, FrameSeq::ZERO).unwrap().len(), want.len());
            }
            assert_eq!(read_all(&log, &catalog, FrameSeq::ZERO).unwrap(), want, "{fault:?} at {at}");
            drop(log);
            disk.clear_faults();
            disk.crash_power();
            assert_eq!(content(&disk).unwrap(), want, "{fault:?} at {at}, after a power loss");
        }
    }
}

#[test]
fn a_failed_cut_poisons() {
    for cut in [Fault::FailTruncate, Fault::FailSync] {
        let disk = FaultyDisk::new(1);
        let catalog = catalog();
        let (mut log, _) = open(&disk, &catalog, SMALL, None).unwrap();
        let records = Record::samples(&mut Random(1), 3);
        append(&mut log, &catalog, 0, &records).unwrap();
        disk.fail_at(disk.operations(), Fault::FailAppend);
        disk.fail_at(disk.operations(), cut);
        for _ in 0..2 {
            let error = append(&mut log, &catalog, 1, &records).unwrap_err();
            assert!(matches!(error, LogError::Poisoned { .. }), "{cut:?}: {error}");
        }
        disk.crash_process();
        assert_eq!(content(&disk).unwrap().len(), 1);
    }
}

#[test]
fn trimming_leaves_no_gap_at_any_power_loss() {
    let catalog = catalog();
    for stop in 0..12 {
        for seed in 0..20 {
            let disk = FaultyDisk::new(seed);
            let mut known = Known::default();
            append_some(&disk, &mut Random(seed), &mut known, 30).unwrap();
            let (mut log, _) = open(&disk, &catalog, SMALL, None).unwrap();
            let before = log.durable();
            disk.fail_at(disk.operations() + stop, Fault::Halt);
            let _ = log.trim(&[("store", before.seq)], crate::sample::now(1000));
            disk.clear_faults();
            disk.crash_power();
            let (log, _) =
                open(&disk, &catalog, SMALL, None).unwrap_or_else(|e| panic!("stop {stop}, seed {seed}: {e}"));
            assert_eq!(log.durable(), before);
            let start = log.start().seq;
            let rest = read_all(&log, &catalog, start).unwrap();
            assert_eq!(rest[..], known.acknowledged[start.get() as usize..]);
        }
    }
}
