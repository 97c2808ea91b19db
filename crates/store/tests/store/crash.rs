//! Power loss, death and failing calls at every operation of a store's life.

use std::sync::Arc;

use adsum_disk::{Disk, Fault, FaultyDisk};
use adsum_model::state::Checkpoint;
use adsum_model::symbol::Symbols;
use adsum_store::{AggregateStore, EmbeddedStore, StoreError};

use crate::contract::{commit, merge_all, open};
use crate::oracle::{Drawer, Oracle};

/// Checkpoints, and what a store holds after each: before all, after the first, and so on.
struct Script {
    checkpoints: Vec<Checkpoint>,
    states: Vec<Oracle>,
    symbols: Arc<Symbols>,
}

impl Script {
    fn new(seed: u64) -> Self {
        let symbols = Arc::new(Symbols::default());
        let mut drawer = Drawer::new(seed, Arc::clone(&symbols));
        let (mut checkpoints, mut states) = (Vec::new(), vec![Oracle::new()]);
        for _ in 0..6 {
            let checkpoint = drawer.checkpoint(12);
            let mut state = states.last().unwrap().clone();
            state.apply(&checkpoint, &symbols);
            states.push(state);
            checkpoints.push(checkpoint);
        }
        Self { checkpoints, states, symbols }
    }

    fn position_of(&self, store: &EmbeddedStore) -> usize {
        let through = store.committed().through;
        self.states.iter().position(|s| s.through == through).expect("no checkpoint ends there")
    }

    /// Goes on from where the store stands; says how many checkpoints were published before an error.
    fn run(&self, store: &EmbeddedStore) -> (usize, Result<(), StoreError>) {
        let mut done = self.position_of(store);
        let result = (|| {
            for checkpoint in &self.checkpoints[done..] {
                commit(store, checkpoint)?;
                done += 1;
                merge_all(store)?;
            }
            Ok(())
        })();
        (done, result)
    }

    fn check_state(&self, store: &EmbeddedStore, what: &str) -> usize {
        let at = self.position_of(store);
        assert_eq!(store.state_hash(None).unwrap().get(), self.states[at].state_hash(), "{what}: at {at}");
        assert_eq!(store.committed().small, self.states[at].small, "{what}");
        at
    }
}

/// How the machine ends after the fault.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Power,
    Process,
}

/// Which calls say Ok and do nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lies {
    None,
    Sync,
    SyncDir,
}

/// Strikes at one operation; says which to strike at next, if the script did not end before this one.
fn strike(
    script: &Script,
    seed: u64,
    operation: u64,
    fault: Fault,
    end: End,
    lies: Lies,
) -> Result<Option<u64>, String> {
    let what = format!("seed {seed}, {fault:?} at operation {operation}, then {end:?}");
    let disk = FaultyDisk::new(seed);
    disk.set_lying_sync(lies == Lies::Sync);
    disk.set_lying_sync_dir(lies == Lies::SyncDir);
    disk.fail_at(operation, fault);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut acknowledged = 0;
    let mut next = operation + 1;
    if let Ok(store) = open(Arc::clone(&shared), &script.symbols) {
        let (done, result) = script.run(&store);
        acknowledged = done;
        if result.is_ok() && disk.operations() <= operation {
            return Ok(None);
        }
        if result.is_err() && fault != Fault::Halt {
            // The operations up to the one that failed are of other kinds: the fault would strike there again.
            next = next.max(disk.operations());
        }
        if matches!(result, Err(StoreError::Poisoned { .. })) {
            let again = store.write(&Checkpoint { through: store.committed().through, ..Checkpoint::default() });
            assert!(matches!(again, Err(StoreError::Poisoned { .. })), "{what}: nothing is written after {result:?}");
        }
        assert_eq!(script.check_state_if_readable(&store, &disk, done), Some(done), "{what}: what it shows");
    }
    disk.clear_faults();
    disk.set_space(None);
    match end {
        End::Power => disk.crash_power(),
        End::Process => disk.crash_process(),
    }
    let store = open(Arc::clone(&shared), &script.symbols).map_err(|e| format!("{what}: {e}"))?;
    let at = script.position_of(&store);
    if at < acknowledged || at > acknowledged + 1 {
        return Err(format!("{what}: {acknowledged} published, {at} found"));
    }
    if store.state_hash(None).map_err(|e| format!("{what}: {e}"))?.get() != script.states[at].state_hash() {
        return Err(format!("{what}: a mix at {at}"));
    }
    // What was found must last, and the store must go on from it.
    disk.crash_power();
    let store = open(shared, &script.symbols).map_err(|e| format!("{what}, then power again: {e}"))?;
    assert_eq!(script.check_state(&store, &what), at, "{what}: what a start shows stays");
    let (done, result) = script.run(&store);
    result.map_err(|e| format!("{what}, going on: {e}"))?;
    assert_eq!(done, script.checkpoints.len());
    script.check_state(&store, &what);
    Ok(Some(next))
}

impl Script {
    /// What a store shows after an error; a machine that has stopped shows nothing.
    fn check_state_if_readable(&self, store: &EmbeddedStore, disk: &FaultyDisk, done: usize) -> Option<usize> {
        disk.clear_faults();
        match store.state_hash(None) {
            Ok(hash) if hash.get() == self.states[done].state_hash() => Some(self.position_of(store)),
            Ok(_) => None,
            Err(_) => Some(done),
        }
    }
}

fn every_operation(seed: u64, fault: Fault, end: End) -> u64 {
    let script = Script::new(seed);
    let (mut operation, mut cases) = (0, 0);
    while let Some(next) = strike(&script, seed, operation, fault, end, Lies::None).unwrap() {
        operation = next;
        cases += 1;
    }
    cases
}

#[test]
fn a_stop_at_every_operation() {
    let mut operations = 0;
    for seed in 0..5 {
        operations += every_operation(seed, Fault::Halt, End::Power);
        operations += every_operation(seed, Fault::Halt, End::Process);
    }
    assert!(operations > 1000, "only {operations} cases");
}

#[test]
fn every_failing_call() {
    for fault in [
        Fault::FailSync,
        Fault::FailAppend,
        Fault::FailRename,
        Fault::FailRemove,
        Fault::FailSyncDir,
        Fault::FailCreate,
        Fault::FullAfter(0),
        Fault::FullAfter(700),
    ] {
        for seed in 0..2 {
            let cases = every_operation(seed, fault, End::Power);
            assert!(cases > 5, "{fault:?}: only {cases} cases");
            every_operation(seed, fault, End::Process);
        }
    }
}

#[test]
fn the_test_notices_syncs_that_lie() {
    for lies in [Lies::Sync, Lies::SyncDir] {
        let found = (0..40).any(|seed| {
            let script = Script::new(seed);
            (0..200).any(|operation| {
                let strike = || strike(&script, seed, operation, Fault::Halt, End::Power, lies);
                !matches!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(strike)), Ok(Ok(_)))
            })
        });
        assert!(found, "{lies:?}");
    }
}

#[test]
fn a_full_disk_loses_nothing_and_may_be_tried_again() {
    let script = Script::new(3);
    let disk = FaultyDisk::new(3);
    let store = open(Arc::new(disk.clone()), &script.symbols).unwrap();
    for (i, checkpoint) in script.checkpoints.iter().enumerate() {
        for space in [0, 10, 500, 1500] {
            disk.set_space(Some(space));
            match commit(&store, checkpoint) {
                Err(StoreError::Io { source, .. }) => assert_eq!(source.kind(), std::io::ErrorKind::StorageFull),
                other => panic!("with {space} bytes left: {other:?}"),
            }
            assert_eq!(script.check_state(&store, "full"), i);
        }
        disk.set_space(None);
        commit(&store, checkpoint).unwrap();
        assert_eq!(script.check_state(&store, "space again"), i + 1);
    }
    let left = disk.paths().len();
    let stats = store.stats();
    assert_eq!(left, stats.keys_runs + stats.rows_runs + stats.quarantine_runs + 1, "no file is left behind");
}
