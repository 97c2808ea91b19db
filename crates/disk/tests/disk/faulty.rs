//! What the faulty disk loses, keeps and tears: over many seeds each allowed outcome comes up, and no other.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;

use adsum_disk::{Disk, Fault, FaultyDisk, Open};

const SEEDS: u64 = 400;

fn path() -> &'static Path {
    Path::new("d/f")
}

/// A disk with one durable file.
fn with_file(seed: u64, bytes: &[u8]) -> FaultyDisk {
    let disk = FaultyDisk::new(seed);
    disk.set_bytes(path(), bytes.to_vec());
    disk
}

/// The contents of the file after a power loss, over all seeds.
fn after_power_loss(bytes: &[u8], act: impl Fn(&FaultyDisk)) -> BTreeSet<Option<Vec<u8>>> {
    let outcomes = (0..SEEDS).map(|seed| {
        let disk = with_file(seed, bytes);
        act(&disk);
        disk.crash_power();
        disk.bytes(path())
    });
    outcomes.collect()
}

#[test]
fn what_was_synced_stays() {
    let outcomes = after_power_loss(b"old", |disk| {
        let mut file = disk.open(path(), Open::Write).unwrap();
        file.append(&[1; 5000]).unwrap();
        file.truncate(4000).unwrap();
        file.sync().unwrap();
    });
    let want = [b"old".to_vec(), vec![1; 3997]].concat();
    assert_eq!(outcomes, BTreeSet::from([Some(want)]));
}

#[test]
fn what_was_not_synced_is_kept_lost_or_torn_by_blocks() {
    let new = [vec![1; 300], vec![2; 5000]].concat();
    let outcomes =
        after_power_loss(&[1; 300], |disk| disk.open(path(), Open::Write).unwrap().append(&[2; 5000]).unwrap());
    let outcomes: Vec<_> = outcomes.into_iter().map(Option::unwrap).collect();
    for bytes in &outcomes {
        assert!((300..=5300).contains(&bytes.len()));
        assert_eq!(bytes[..300], [1; 300], "bytes that were synced are never torn");
        assert!(bytes[300..].iter().all(|b| *b == 0 || *b == 2));
    }
    let has = |what: &str, test: &dyn Fn(&Vec<u8>) -> bool| assert!(outcomes.iter().any(test), "never {what}");
    has("all of it", &|bytes| *bytes == new);
    has("none of it", &|bytes| bytes.len() == 300);
    has("a part of the length", &|bytes| bytes.len() > 300 && bytes.len() < 5300);
    has("the length without the bytes", &|bytes| bytes.len() == 5300 && bytes[300..].iter().all(|b| *b == 0));
    has("a later block without an earlier one", &|bytes| {
        bytes.len() == 5300 && bytes[1024..1536].iter().all(|b| *b == 0) && bytes[2048..2560] == [2; 512]
    });
    has("a block in part", &|bytes| bytes.len() == 5300 && bytes[1024] == 2 && bytes[1535] == 0);
}

#[test]
fn a_cut_that_was_not_synced_happened_or_not() {
    let outcomes = after_power_loss(b"abcdef", |disk| disk.open(path(), Open::Write).unwrap().truncate(2).unwrap());
    assert_eq!(outcomes, BTreeSet::from([Some(b"ab".to_vec()), Some(b"abcdef".to_vec())]));
}

#[test]
fn names_that_were_not_synced_are_undecided_each_on_its_own() {
    let names = |sync: bool| -> BTreeSet<Vec<String>> {
        let outcomes = (0..SEEDS).map(|seed| {
            let disk = with_file(seed, b"");
            let dir = Path::new("d");
            disk.set_bytes(&dir.join("gone"), Vec::new());
            for name in ["new1", "new2"] {
                disk.open(&dir.join(name), Open::Create).unwrap().sync().unwrap();
            }
            disk.remove(&dir.join("gone")).unwrap();
            disk.rename(path(), &dir.join("moved")).unwrap();
            if sync {
                disk.sync_dir(dir).unwrap();
            }
            disk.crash_power();
            disk.list(dir).unwrap()
        });
        outcomes.collect()
    };
    let undecided = names(false);
    assert_eq!(undecided.len(), 16, "{undecided:?}");
    for list in &undecided {
        assert!(list.contains(&"f".to_owned()) != list.contains(&"moved".to_owned()), "a rename is one step: {list:?}");
    }
    assert_eq!(names(true), BTreeSet::from([["moved", "new1", "new2"].map(str::to_owned).to_vec()]));
}

#[test]
fn a_rename_that_was_not_synced_leaves_the_old_file() {
    let outcomes = after_power_loss(b"old", |disk| {
        let new = Path::new("d/f.tmp");
        let mut file = disk.open(new, Open::Create).unwrap();
        file.append(b"new").unwrap();
        file.sync().unwrap();
        disk.rename(new, path()).unwrap();
    });
    assert_eq!(outcomes, BTreeSet::from([Some(b"old".to_vec()), Some(b"new".to_vec())]));
}

#[test]
fn a_failed_sync_makes_bytes_clean_and_lost() {
    let outcomes = after_power_loss(b"", |disk| {
        let mut file = disk.open(path(), Open::Write).unwrap();
        file.append(&[1; 512]).unwrap();
        disk.fail_at(0, Fault::FailSync);
        assert!(file.sync().is_err());
        file.sync().unwrap();
    });
    assert!(outcomes.contains(&Some(Vec::new())), "the second sync must not help");
    let outcomes = after_power_loss(b"", |disk| {
        let mut file = disk.open(path(), Open::Write).unwrap();
        file.append(&[1; 512]).unwrap();
        disk.fail_at(0, Fault::FailSync);
        assert!(file.sync().is_err());
        file.append(&[2; 512]).unwrap();
        file.sync().unwrap();
    });
    assert!(outcomes.contains(&Some([vec![0; 512], vec![2; 512]].concat())), "a hole before what was synced later");
    for bytes in outcomes {
        assert_eq!(bytes.unwrap()[512..], [2; 512]);
    }
}

#[test]
fn a_dead_process_loses_nothing_and_its_handles() {
    let disk = with_file(1, b"a");
    let mut file = disk.open(path(), Open::Write).unwrap();
    file.append(b"b").unwrap();
    disk.open(Path::new("d/g"), Open::Create).unwrap();
    disk.crash_process();
    assert!(file.append(b"c").is_err() && file.len().is_err() && file.sync().is_err());
    assert_eq!(disk.bytes(path()).unwrap(), b"ab");
    assert_eq!(disk.list(Path::new("d")).unwrap(), ["f", "g"]);
    let lost = (0..SEEDS).any(|seed| {
        let disk = with_file(seed, b"a");
        disk.open(path(), Open::Write).unwrap().append(b"b").unwrap();
        disk.crash_process();
        disk.crash_power();
        disk.bytes(path()).unwrap() == b"a"
    });
    assert!(lost, "what a dead process left unsynced is not durable by that");
}

#[test]
fn faults_strike_once_at_their_kind_of_operation() {
    let faults = [
        Fault::FailSync,
        Fault::FailAppend,
        Fault::FailRename,
        Fault::FailRemove,
        Fault::FailSyncDir,
        Fault::FailTruncate,
        Fault::FailCreate,
        Fault::FailRead,
    ];
    for fault in faults {
        let disk = with_file(1, b"a");
        let dir = Path::new("d");
        // Each operation in turn; which of them failed, and the directory is as before afterwards.
        let run = || {
            let mut file = disk.open(path(), Open::Write).unwrap();
            let made = disk.open(&dir.join("g"), Open::Create).map(drop);
            if made.is_err() {
                disk.open(&dir.join("g"), Open::Create).unwrap();
            }
            let moved = disk.rename(&dir.join("g"), &dir.join("h"));
            if moved.is_err() {
                disk.rename(&dir.join("g"), &dir.join("h")).unwrap();
            }
            let results = [
                file.sync(),
                file.append(b"bc"),
                moved,
                disk.remove(&dir.join("h")),
                disk.sync_dir(dir),
                file.truncate(1),
                made,
                file.read_exact_at(&mut [0], 0),
            ];
            let _ = disk.remove(&dir.join("h"));
            results.map(|r| r.is_err())
        };
        assert_eq!(run(), [false; 8]);
        disk.fail_at(disk.operations(), fault);
        let failed = run();
        assert_eq!(failed.map(usize::from).iter().sum::<usize>(), 1, "{fault:?}: {failed:?}");
        assert!(failed[faults.iter().position(|f| *f == fault).unwrap()], "{fault:?}: {failed:?}");
        assert_eq!(run(), [false; 8], "{fault:?} strikes once");
    }
}

#[test]
fn a_full_disk_takes_what_fits() {
    let disk = with_file(1, b"a");
    let mut file = disk.open(path(), Open::Write).unwrap();
    disk.fail_at(disk.operations(), Fault::FullAfter(3));
    file.append(b"bc").unwrap();
    assert_eq!(file.append(b"def").unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(disk.bytes(path()).unwrap(), b"abcd");
    file.truncate(3).unwrap();
    assert_eq!(file.append(b"ef").unwrap_err().kind(), ErrorKind::StorageFull, "one byte was freed");
    disk.set_space(None);
    file.append(b"g").unwrap();
    assert_eq!(disk.bytes(path()).unwrap(), b"abceg");
}

#[test]
fn a_stopped_machine_does_nothing_more() {
    for stop in 0..4 {
        let disk = with_file(stop, b"a");
        let mut file = disk.open(path(), Open::Write).unwrap();
        disk.fail_at(stop, Fault::Halt);
        let mut steps: [Box<dyn FnMut() -> bool>; 4] = [
            Box::new(|| file.append(b"b").and_then(|()| file.sync()).is_ok()),
            Box::new(|| disk.rename(path(), Path::new("d/g")).is_ok()),
            Box::new(|| disk.sync_dir(Path::new("d")).is_ok()),
            Box::new(|| disk.open(Path::new("d/h"), Open::Create).is_ok()),
        ];
        let done: Vec<bool> = steps.iter_mut().map(|step| step()).collect();
        drop(steps);
        assert!(done.is_sorted_by(|a, b| a >= b) && !done[3], "{done:?}");
        assert!(disk.open(path(), Open::Read).is_err() && disk.create_dir_all(Path::new("x")).is_err());
        disk.crash_power();
        assert!(disk.open(Path::new("d/i"), Open::Create).is_ok());
    }
}

#[test]
fn lying_syncs_keep_nothing() {
    let lost = after_power_loss(b"", |disk| {
        disk.set_lying_sync(true);
        let mut file = disk.open(path(), Open::Write).unwrap();
        file.append(b"x").unwrap();
        file.sync().unwrap();
    });
    assert!(lost.contains(&Some(Vec::new())));
    let lost = after_power_loss(b"", |disk| {
        disk.set_lying_sync_dir(true);
        disk.remove(path()).unwrap();
        disk.sync_dir(Path::new("d")).unwrap();
    });
    assert_eq!(lost, BTreeSet::from([None, Some(Vec::new())]));
}

#[test]
fn a_seed_replays_exactly() {
    let run = |seed| {
        let disk = with_file(seed, &[1; 3000]);
        disk.open(path(), Open::Write).unwrap().append(&[2; 9000]).unwrap();
        disk.crash_power();
        disk.bytes(path())
    };
    assert!((0..50).all(|seed| run(seed) == run(seed)));
    assert!((0..50).any(|seed| run(seed) != run(seed + 1)));
}
